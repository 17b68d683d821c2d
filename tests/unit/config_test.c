/* config: defaults, every limit at and one over, values as they are read, overrides, files, the
 * manual. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/test.h"
#include "server/config.h"
#include "server/config_fields.h"

#define MINIMAL                                                                                    \
    "\"listen\": \"8080\", \"handlers\": {\"socket\": \"s\"}, \"mounts\": [{\"path\": \"/a\"}]"

static const char minimal[] = "{" MINIMAL "}";

/* The parsed config, or NULL with the report printed. */
static struct config *parse(const char *text, const struct config_overrides *overrides)
{
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    enum err e = config_parse("t.json", span_str(text), overrides, &config, &out);
    assert_int_equal(e == ERR_OK, config != NULL);
    assert_int_equal(e == ERR_OK, buf_len(&out) == 0);
    if (e != ERR_OK) {
        print_message("%.*s", SPAN_FMT(buf_span(&out)));
    }
    buf_fini(&out);
    return config;
}

static bool is_accepted(const char *text)
{
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    enum err e = config_parse("t.json", span_str(text), NULL, &config, &out);
    config_destroy(config);
    buf_fini(&out);
    return e == ERR_OK;
}

/* ---- values ---- */

static void check_default_mount(const struct config_mount *mount)
{
    assert_int_equal(mount->dialects, CONFIG_SOCKJS);
    assert_int_equal(mount->transports,
                     CONFIG_WEBSOCKET | CONFIG_XHR_STREAMING | CONFIG_XHR | CONFIG_EVENTSOURCE);
    assert_int_equal(mount->origins.n, 1);
    assert_string_equal(mount->origins.items[0], "same-origin");
    assert_int_equal(mount->heartbeat_ms, 25000);
    assert_int_equal(mount->disconnect_delay_ms, 5000);
    assert_int_equal(mount->response_limit_bytes, 128 << 10);
    assert_int_equal(mount->max_message_bytes, 1 << 20);
    assert_int_equal(mount->queue_hard_bytes, 2 << 20); /* 256k, raised to two messages */
    assert_int_equal(mount->queue_soft_bytes, 64 << 10);
    assert_int_equal(mount->queue_soft_time_ms, 10000);
    assert_int_equal(mount->slow_policy, CONFIG_SLOW_CLOSE);
    assert_int_equal(mount->accept, CONFIG_ACCEPT_AT_ONCE);
    assert_false(mount->cookie_needed);
    assert_false(mount->deflate || mount->deflate_takeover || mount->secrets);
    assert_int_equal(mount->deflate_threshold_bytes, 512);
    assert_int_equal(mount->deflate_window, 12);
    assert_false(mount->hixie76);
    assert_string_equal(mount->sockjs_url, "");
}

static void check_default_top(const struct config *config)
{
    assert_int_equal(config->log_level, LOG_INFO);
    assert_int_equal(config->drain_ms, 3000);
    assert_false(config->demo);
    assert_int_equal(config->handlers_mode, 0660);
    assert_int_equal(config->handlers_users.n, 0);
    assert_int_equal(config->handlers_grace_ms, 30000);
    assert_int_equal(config->handlers_timeout_ms, 15000);
    assert_int_equal(config->handlers_window_bytes, 4 << 20);
    assert_int_equal(config->handlers_pending_bytes, 64 << 10);
    assert_int_equal(config->max_connections, 100000);
    assert_int_equal(config->max_connections_per_address, 0);
    assert_int_equal(config->head_bytes, 16 << 10);
    assert_int_equal(config->url_bytes, 8 << 10);
    assert_int_equal(config->header_fields, 100);
    assert_int_equal(config->head_timeout_ms, 10000);
    assert_int_equal(config->body_timeout_ms, 25000);
    assert_int_equal(config->message_timeout_ms, 25000);
    assert_int_equal(config->min_rate_bytes, 4 << 10);
    assert_int_equal(config->keepalive_timeout_ms, 75000);
    assert_int_equal(config->write_timeout_ms, 30000);
    assert_int_equal(config->deflate_memory_bytes, 64 << 20);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *config = config_create_default();
    assert_non_null(config);
    check_default_top(config);
    assert_null(config->handlers_socket);
    assert_int_equal(config->listen.n, 0);
    assert_int_equal(config->n_mounts, 0);
    config_destroy(config);

    config = parse(minimal, NULL);
    assert_non_null(config);
    check_default_top(config);
    assert_int_equal(config->listen.n, 1);
    assert_string_equal(config->listen.items[0], "8080");
    assert_string_equal(config->handlers_socket, "s");
    assert_int_equal(config->n_mounts, 1);
    assert_string_equal(config->mounts[0].path, "/a");
    check_default_mount(&config->mounts[0]);
    config_destroy(config);
}

static void test_every_value(void **state)
{
    (void)state;
    struct config *config = parse(
        "{\"$schema\": {\"any\": 1}, \"listen\": [\"127.0.0.1:0\", \"[::1]:65535\"],\n"
        "\"workers\": 256, \"drain\": 0, \"demo\": true, \"log\": {\"level\": \"error\"},\n"
        "\"flash\": {\"listen\": \"843\", \"domains\": [\"a.example\", \"*.b.example\"], "
        "\"ports\": \"8000-8099\"},\n"
        "\"handlers\": {\"socket\": \"./a b\", \"mode\": \"777\", \"grace\": \"0s\",\n"
        "  \"users\": [\"root\", \"4711\"]},\n"
        "\"mounts\": [{\"path\": \"/\", \"dialects\": [\"raw\", \"sockjs\"],\n"
        "  \"transports\": \"xhr\", \"origins\": [\"*\", \"null\", \"https://a.example:8443\"],\n"
        "  \"heartbeat\": \"1500ms\", \"response_limit\": 1, \"max_message\": \"2k\",\n"
        "  \"queue_hard\": 4096, \"slow_policy\": \"drop-oldest\", \"accept\": \"handler\",\n"
        "  \"cookie\": true, \"hixie76\": true, \"sockjs_url\": "
        "\"https://cdn.example/a.js?v=1\"},\n"
        "  {\"path\": \"/b/c\", \"queue_hard\": \"2m\"},\n"
        "  {\"path\": \"/d\", \"deflate\": true, \"deflate_takeover\": true,\n"
        "   \"deflate_window\": 15, \"deflate_threshold\": 0}]}",
        NULL);
    assert_non_null(config);
    assert_int_equal(config->listen.n, 2);
    assert_string_equal(config->listen.items[1], "[::1]:65535");
    assert_string_equal(config->flash_listen.items[0], "843");
    assert_string_equal(config->flash_domains.items[1], "*.b.example");
    assert_string_equal(config->flash_ports.items[0], "8000-8099");
    assert_int_equal(config->workers, 256);
    assert_int_equal(config->drain_ms, 0);
    assert_true(config->demo);
    assert_int_equal(config->log_level, LOG_ERROR);
    assert_string_equal(config->handlers_socket, "./a b");
    assert_int_equal(config->handlers_mode, 0777);
    assert_int_equal(config->handlers_users.n, 2);
    assert_string_equal(config->handlers_users.items[1], "4711");
    assert_int_equal(config->handlers_grace_ms, 0);
    const struct config_mount *mount = &config->mounts[0];
    assert_int_equal(mount->dialects, CONFIG_SOCKJS | CONFIG_RAW);
    assert_int_equal(mount->transports, CONFIG_XHR);
    assert_int_equal(mount->origins.n, 3);
    assert_string_equal(mount->origins.items[2], "https://a.example:8443");
    assert_int_equal(mount->heartbeat_ms, 1500);
    assert_int_equal(mount->response_limit_bytes, 1);
    assert_int_equal(mount->max_message_bytes, 2048);
    assert_int_equal(mount->queue_hard_bytes, 4096); /* twice max_message: at the limit */
    assert_int_equal(mount->queue_soft_bytes, 2048); /* the default, lowered to half */
    assert_int_equal(mount->slow_policy, CONFIG_SLOW_DROP_OLDEST);
    assert_int_equal(mount->accept, CONFIG_ACCEPT_HANDLER);
    assert_true(mount->cookie_needed);
    assert_true(mount->hixie76);
    assert_string_equal(mount->sockjs_url, "https://cdn.example/a.js?v=1");
    check_default_mount(&config->mounts[1]);
    mount = &config->mounts[2];
    assert_true(mount->deflate && mount->deflate_takeover);
    assert_int_equal(mount->deflate_window, 15);
    assert_int_equal(mount->deflate_threshold_bytes, 0);
    /* 256 workers with a message of 1m and 512k each */
    assert_int_equal(config->deflate_memory_bytes, 384 << 20);
    config_destroy(config);
}

/* ---- limits, for each row of the field table ---- */

/* A whole config with one key set to `value`, which is JSON text. */
static void write_config(const struct config_field *field, const char *value, char *out,
                         size_t room)
{
    struct span name = config_field_name(field);
    /* The other bounds of a queue must not hide the range that is tested. */
    bool is_hard = span_eq(name, SPAN_LIT("queue_hard"));
    bool is_soft = span_eq(name, SPAN_LIT("queue_soft"));
    bool is_url = span_eq(name, SPAN_LIT("url"));
    const char *mount_extra = is_hard ? ", \"max_message\": 1" : "";
    mount_extra = is_soft ? ", \"queue_hard\": \"1g\"" : mount_extra;
    const char *limits_extra = is_url ? "\"head\": \"64k\", " : "";
    char key[128];
    (void)snprintf(key, sizeof key, "\"%s\": %s", name.ptr, value);
    bool is_mount = field->part == CONFIG_PART_MOUNT;
    bool is_handlers = strncmp(field->path, "handlers.", 9) == 0;
    bool is_limits = strncmp(field->path, "limits.", 7) == 0;
    bool is_top = !is_mount && !is_handlers && !is_limits;
    (void)snprintf(out, room,
                   "{\"listen\": \"80\", %s%s \"handlers\": {\"socket\": \"s\"%s%s},"
                   "\"limits\": {%s%s}, \"mounts\": [{\"path\": \"/a\"%s%s%s}]}",
                   is_top ? key : "", is_top ? "," : "", is_handlers ? "," : "",
                   is_handlers ? key : "", limits_extra, is_limits ? key : "", mount_extra,
                   is_mount ? "," : "", is_mount ? key : "");
}

static void check_bound(const struct config_field *field, uint64_t value, bool want)
{
    char text[1024];
    char number[64];
    const char *format = "%llu";
    if (field->type == CONFIG_TYPE_DURATION) {
        format = "\"%llums\"";
    } else if (field->type == CONFIG_TYPE_MODE) {
        format = "\"%04llo\"";
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(number, sizeof number, format, (unsigned long long)value);
#pragma GCC diagnostic pop
    write_config(field, number, text, sizeof text);
    if (is_accepted(text) != want) {
        print_error("%s\n", text);
        CHECK(field->path, false);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    unsigned n_checked = 0;
    for (size_t i = 0; i < config_n_fields; i++) {
        const struct config_field *field = &config_fields[i];
        if (field->max == 0) {
            continue;
        }
        check_bound(field, field->min, true);
        check_bound(field, field->max, true);
        check_bound(field, field->max + 1, false);
        if (field->min != 0) {
            check_bound(field, field->min - 1, false);
        }
        n_checked++;
    }
    assert_int_equal(n_checked, 28);
}

static void test_strings_at_limit(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        char text[1024];
        char path[512];
        memset(path, 's', sizeof path);
        path[CONFIG_MAX_SOCKET_PATH + extra] = '\0';
        (void)snprintf(text, sizeof text,
                       "{\"listen\": \"80\", \"demo\": true, \"handlers\": {\"socket\": \"%s\"}}",
                       path);
        assert_int_equal(is_accepted(text), extra == 0);
        memset(path, 's', sizeof path);
        path[0] = '/';
        path[CONFIG_MAX_MOUNT_PATH + extra] = '\0';
        (void)snprintf(text, sizeof text,
                       "{\"listen\": \"80\", \"handlers\": {\"socket\": \"s\"},"
                       "\"mounts\": [{\"path\": \"%s\"}]}",
                       path);
        assert_int_equal(is_accepted(text), extra == 0);
    }
}

static void test_mounts_at_limit(void **state)
{
    (void)state;
    for (unsigned n = CONFIG_MAX_MOUNTS; n <= CONFIG_MAX_MOUNTS + 1; n++) {
        static char text[CONFIG_MAX_MOUNTS * 32];
        size_t len = (size_t)snprintf(text, sizeof text,
                                      "{\"listen\": \"80\", \"handlers\": {\"socket\": \"s\"},"
                                      "\"mounts\": [");
        for (unsigned i = 0; i < n; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "{\"path\": \"/%u\"},", i);
        }
        (void)snprintf(text + len, sizeof text - len, "]}");
        assert_int_equal(is_accepted(text), n == CONFIG_MAX_MOUNTS);
    }
}

/* Every field's row is in order: a name of its own, help, and a default or an example. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_n_fields; i++) {
        const struct config_field *field = &config_fields[i];
        CHECK(field->path, config_field_find(field->path) == field);
        CHECK(field->path, field->help != NULL && strchr(field->help, '|') == NULL);
        CHECK(field->path, (field->fallback != NULL) != (field->example != NULL));
        CHECK(field->path, field->min <= field->max);
    }
    assert_null(config_field_find("mounts[]"));
}

/* Whoever sets a limit must know what for. */
static void test_limits_name_their_attack(void **state)
{
    (void)state;
    static const char *const bounds[] = {"handlers.window",           "handlers.pending",
                                         "mounts[].disconnect_delay", "mounts[].max_message",
                                         "mounts[].queue_hard",       "mounts[].queue_soft",
                                         "mounts[].response_limit",   "mounts[].queue_soft_time"};
    for (size_t i = 0; i < config_n_fields; i++) {
        const struct config_field *field = &config_fields[i];
        bool is_bound = strncmp(field->path, "limits.", 7) == 0;
        for (size_t j = 0; j < N_OF(bounds); j++) {
            is_bound = is_bound || strcmp(field->path, bounds[j]) == 0;
        }
        CHECK(field->path, !is_bound || strstr(field->help, "Answers ") != NULL);
    }
}

/* ---- workers ---- */

static unsigned workers_of(const char *value)
{
    char text[256];
    (void)snprintf(text, sizeof text, "{%s%s%s" MINIMAL "}",
                   value[0] != '\0' ? "\"workers\": " : "", value, value[0] != '\0' ? ", " : "");
    struct config *config = parse(text, NULL);
    assert_non_null(config);
    unsigned workers = config->workers;
    config_destroy(config);
    return workers;
}

/* "auto" follows what the process may use, not what the machine has. */
static void test_workers_follow_the_cores(void **state)
{
    (void)state;
    cpu_set_t all;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    unsigned n = (unsigned)CPU_COUNT(&all);
    unsigned want = n < CONFIG_MAX_WORKERS ? n : CONFIG_MAX_WORKERS;
    assert_int_equal(workers_of(""), want);
    assert_int_equal(workers_of("\"auto\""), want);
    assert_int_equal(workers_of("3"), 3);
    size_t first = 0;
    while (!CPU_ISSET(first, &all)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(workers_of("\"auto\""), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* Those that carry no Origin are on by default only where any may come. */
static void test_default_transports_follow_the_origins(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        unsigned want;
    } cases[] = {
        {"\"origins\": \"*\"", CONFIG_WEBSOCKET | CONFIG_XHR_STREAMING | CONFIG_XHR |
                                   CONFIG_EVENTSOURCE | CONFIG_HTMLFILE | CONFIG_JSONP},
        {"\"origins\": [\"https://a.example\", \"*\"], \"transports\": [\"xhr\"]", CONFIG_XHR},
        {"\"transports\": [\"jsonp\", \"iframe\"]", CONFIG_JSONP | CONFIG_IFRAME},
        {"\"origins\": \"https://a.example\"",
         CONFIG_WEBSOCKET | CONFIG_XHR_STREAMING | CONFIG_XHR | CONFIG_EVENTSOURCE},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       "{\"listen\": \"80\", \"handlers\": {\"socket\": \"s\"}, \"mounts\": "
                       "[{\"path\": \"/a\", %s}]}",
                       cases[i].keys);
        struct config *config = parse(text, NULL);
        assert_non_null(config);
        CHECK_INT(cases[i].keys, config->mounts[0].transports, cases[i].want);
        config_destroy(config);
    }
}

/* ---- the command line ---- */

static void test_overrides(void **state)
{
    (void)state;
    struct config_overrides overrides = {.listen = "[::1]:9", .handlers_socket = "./app.sock"};
    struct config *config = parse(minimal, &overrides);
    assert_non_null(config);
    assert_int_equal(config->listen.n, 1);
    assert_string_equal(config->listen.items[0], "[::1]:9");
    assert_string_equal(config->handlers_socket, "./app.sock");
    assert_false(config->demo);
    config_destroy(config);

    overrides.demo = true;
    config = parse("{}", &overrides);
    assert_non_null(config);
    assert_true(config->demo);
    assert_int_equal(config->n_mounts, 0);
    config_destroy(config);
}

static void check_report(enum err e, struct buf *out, const char *want)
{
    assert_int_equal(e, ERR_CONFIG);
    check_span("report", buf_span(out), span_str(want));
    buf_fini(out);
}

static void test_no_file(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config_overrides overrides = {.listen = "8080", .handlers_socket = "./app.sock"};
    struct config *config = NULL;
    assert_int_equal(config_load(NULL, &overrides, &config, &out), ERR_OK);
    assert_int_equal(config->n_mounts, 1);
    assert_string_equal(config->mounts[0].path, "/sockjs");
    config_destroy(config);

    overrides = (struct config_overrides){.listen = "80 80", .demo = true};
    check_report(config_load(NULL, &overrides, &config, &out), &out,
                 "--listen: \"80 80\" is no address to listen on: allowed are \"IPV4:PORT\", "
                 "\"[IPV6]:PORT\" and \"PORT\" (all of IPv4); write e.g. \"127.0.0.1:8080\"\n"
                 "command line: handlers.socket is missing; add \"handlers\": {\"socket\": "
                 "\"/run/postern/handlers.sock\"}, or give --handlers\n");
    assert_null(config);
}

/* ---- files ---- */

static void source_path(const char *name, char *out, size_t room)
{
    const char *root = getenv("POSTERN_SOURCE_DIR");
    if (root == NULL) {
        fail_msg("%s", "set POSTERN_SOURCE_DIR to the source tree (ctest does)");
    }
    (void)snprintf(out, room, "%s/%s", root, name);
}

static void test_shipped_config(void **state)
{
    (void)state;
    char path[4096];
    source_path("config/postern.json", path, sizeof path);
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    enum err e = config_load(path, NULL, &config, &out);
    check_span("report", buf_span(&out), SPAN_LIT(""));
    assert_int_equal(e, ERR_OK);
    assert_string_equal(config->listen.items[0], "127.0.0.1:8080");
    assert_string_equal(config->handlers_socket, "/run/postern/handlers.sock");
    assert_int_equal(config->n_mounts, 1);
    assert_string_equal(config->mounts[0].path, "/echo");
    config_destroy(config);
    buf_fini(&out);
}

static void test_unreadable(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    check_report(config_load("/nowhere/t.json", NULL, &config, &out), &out,
                 "/nowhere/t.json: can't be read: No such file or directory; check the path given "
                 "with --config\n");
    check_report(config_load("/", NULL, &config, &out), &out,
                 "/: can't be read: Is a directory; check the path given with --config\n");
}

/* One byte more than a config may have. */
static void test_too_large_file(void **state)
{
    (void)state;
    char path[] = "/tmp/postern_config_test_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
    (void)close(fd);
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    enum err e = config_load(path, NULL, &config, &out);
    (void)unlink(path);
    char want[128];
    (void)snprintf(want, sizeof want, "%s: larger than 1048576 bytes: this is no config file\n",
                   path);
    check_report(e, &out, want);
}

/* The rows of docs/CONFIG.md are those of the field table. */
static void test_manual(void **state)
{
    (void)state;
    char path[4096];
    source_path("docs/CONFIG.md", path, sizeof path);
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    const char *table = strstr(text, "| Key | Type |");
    assert_non_null(table);
    struct buf want;
    buf_init(&want, sizeof text);
    assert_int_equal(config_describe_fields(&want), ERR_OK);
    check_span("docs/CONFIG.md", span_str(table), buf_span(&want));
    buf_fini(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_value),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_strings_at_limit),
        cmocka_unit_test(test_mounts_at_limit),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_limits_name_their_attack),
        cmocka_unit_test(test_workers_follow_the_cores),
        cmocka_unit_test(test_default_transports_follow_the_origins),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_shipped_config),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_too_large_file),
        cmocka_unit_test(test_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
