/*
 * config: from text to a checked snapshot. See config.h.
 *
 *     text -> jsonc (tree with places) -> walk (each key by the field table) -> checks across
 * fields
 *
 * Nothing stops at the first problem but text that is not well-formed. The walk begins from a
 * config that already has every default; a key that stands in the file replaces its member.
 */
#include "server/config.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/config_loader.h"
#include "server/config_value.h"

enum {
    PATH_BYTES = 64, /* "mounts[255].disconnect_delay"; a longer key is unknown anyway */
    READ_BYTES = 16384,
};

/* ---- defaults ---- */

/* One default, through the parser that also reads the file. False: out of memory. */
static bool apply_default(const struct config_field *field, void *part)
{
    struct buf out;
    buf_init(&out, CONFIG_REPORT_MAX_BYTES);
    struct config_report report = {
        .name = field->path, .text = span_str(field->fallback), .out = &out};
    struct jsonc doc;
    enum err e = jsonc_parse(&doc, &report);
    bool is_set = false;
    if (e == ERR_OK) {
        struct config_target target = {field, part, field->path};
        is_set = config_value_set(&target, &doc, &doc.nodes[0], &report);
        jsonc_fini(&doc);
    }
    ASSERT(report.n_problems == 0); /* a default in the table that its own row refuses */
    buf_fini(&out);
    return is_set;
}

static bool apply_defaults(enum config_part kind, void *part)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        const struct config_field *field = &config_fields[i];
        if (field->part == kind && field->fallback != NULL && !apply_default(field, part)) {
            return false;
        }
    }
    return true;
}

static void clear_part(enum config_part kind, void *part)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        if (config_fields[i].part == kind) {
            config_value_clear(&config_fields[i], part);
        }
    }
}

struct config *config_create_default(void)
{
    struct config *config = MEM_NEW(struct config);
    if (config != NULL && !apply_defaults(CONFIG_PART_TOP, config)) {
        config_destroy(config);
        config = NULL;
    }
    return config;
}

void config_destroy(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < config->n_mounts; i++) {
        clear_part(CONFIG_PART_MOUNT, &config->mounts[i]);
    }
    clear_part(CONFIG_PART_TOP, config);
    mem_free(config->mounts);
    mem_free(config);
}

/* ---- unknown keys ---- */

/* The keys that the object may have, "a, b, c"; and the nearest to the one asked for. */
static void list_keys(const char *prefix, struct config_nearest *nearest, char *out, size_t room)
{
    size_t n = 0;
    bool is_top = prefix[0] == '\0';
    out[0] = '\0';
    for (size_t i = 0; i < config_n_fields; i++) {
        struct span key = config_field_key_in(i, prefix);
        if (key.len == 0 || n >= room) {
            continue;
        }
        config_nearest_offer(nearest, key);
        int put = snprintf(out + n, room - n, "%s%.*s", n != 0 ? ", " : "", SPAN_FMT(key));
        n += put > 0 ? (size_t)put : 0;
    }
    if (is_top) {
        config_nearest_offer(nearest, SPAN_LIT("$schema"));
    }
}

/* Whether a field has this name in another object: the key stands on the wrong level. */
static bool hint_elsewhere(struct span name, char hint[CONFIG_HINT_BYTES])
{
    for (size_t i = 0; i < config_n_fields; i++) {
        const char *path = config_fields[i].path;
        if (!span_eq(config_field_name(&config_fields[i]), name)) {
            continue;
        }
        if (name.len == strlen(path)) {
            (void)snprintf(hint, CONFIG_HINT_BYTES, "it belongs to the top level");
        } else {
            (void)snprintf(hint, CONFIG_HINT_BYTES, "it belongs into \"%.*s\"",
                           (int)strcspn(path, ".["), path);
        }
        return true;
    }
    return false;
}

static void unknown_key(const struct config_loader *ld, const struct config_scope *scope,
                        const struct jsonc_node *node)
{
    char keys[CONFIG_HINT_BYTES - 32];
    char hint[CONFIG_HINT_BYTES];
    char quoted[CONFIG_QUOTE_BYTES];
    struct span name = span_str(node->item->string);
    struct config_nearest nearest;
    config_nearest_begin(&nearest, name);
    list_keys(scope->prefix, &nearest, keys, sizeof keys);
    bool is_elsewhere = hint_elsewhere(name, hint);
    if (!is_elsewhere && nearest.name != NULL) {
        (void)snprintf(hint, sizeof hint, "did you mean \"%.*s\"?", (int)nearest.name_len,
                       nearest.name);
    } else if (!is_elsewhere) {
        (void)snprintf(hint, sizeof hint, "known are %s", keys);
    }
    struct span raw = span_of(ld->report->text.ptr + node->key.at, node->key.len);
    size_t label_len = strlen(scope->label);
    config_problem(ld->report, node->key, hint, "unknown key %s %s%.*s", config_quote(raw, quoted),
                   label_len != 0 ? "in " : "at the top level",
                   label_len != 0 ? (int)label_len - 1 : 0, scope->label);
}

/* ---- the walk ---- */

static void read_object(struct config_loader *ld, const struct config_scope *scope);

static void read_field(struct config_loader *ld, const struct config_scope *scope,
                       const struct config_field *field, const struct jsonc_node *node)
{
    char label[PATH_BYTES];
    struct span name = config_field_name(field);
    (void)snprintf(label, sizeof label, "%s%.*s", scope->label, SPAN_FMT(name));
    struct config_target target = {field, scope->part, label};
    size_t i = (size_t)(field - config_fields);
    ld->given[i] = node;
    ld->is_refused[i] = !config_value_set(&target, &ld->doc, node, ld->report);
}

static void read_section(struct config_loader *ld, const char *prefix,
                         const struct jsonc_node *node)
{
    if (!cJSON_IsObject(node->item)) {
        config_problem(ld->report, node->value, "", "%.*s must be an object: { ... }",
                       (int)strlen(prefix) - 1, prefix);
        return;
    }
    struct config_scope scope = {prefix, prefix, ld->config, node};
    read_object(ld, &scope);
}

static void forget_mount(struct config_loader *ld)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        if (config_fields[i].part == CONFIG_PART_MOUNT) {
            ld->given[i] = NULL;
            ld->is_refused[i] = false;
        }
    }
}

static void read_mount(struct config_loader *ld, const struct jsonc_node *node)
{
    struct config *config = ld->config;
    size_t i = config->n_mounts++;
    if (!apply_defaults(CONFIG_PART_MOUNT, &config->mounts[i])) {
        ld->report->err = ERR_NOMEM;
        return;
    }
    if (!cJSON_IsObject(node->item)) {
        config_problem(ld->report, node->value, "", "mounts[%zu] must be an object: { ... }", i);
        return;
    }
    char label[PATH_BYTES];
    (void)snprintf(label, sizeof label, "mounts[%zu].", i);
    struct config_scope scope = {"mounts[].", label, &config->mounts[i], node};
    forget_mount(ld);
    read_object(ld, &scope);
    config_check_mount(ld, &scope);
}

static void read_mounts(struct config_loader *ld, const struct jsonc_node *node)
{
    if (!cJSON_IsArray(node->item)) {
        config_problem(ld->report, node->value, "", "mounts must be a list: [ {...}, ... ]");
        return;
    }
    size_t n = jsonc_count(&ld->doc, node);
    if (n == 0 || ld->config->mounts != NULL) {
        return; /* config_check complains; or the key stands twice and jsonc has said so */
    }
    if (n > CONFIG_MAX_MOUNTS) {
        config_problem(ld->report, node->value, "", "mounts has %zu mounts: allowed are %d", n,
                       CONFIG_MAX_MOUNTS);
        return;
    }
    ld->config->mounts = mem_new(n, sizeof *ld->config->mounts);
    if (ld->config->mounts == NULL) {
        ld->report->err = ERR_NOMEM;
        return;
    }
    const struct jsonc_node *mount = jsonc_first(&ld->doc, node);
    for (; mount != NULL && ld->report->err == ERR_OK; mount = jsonc_next(&ld->doc, mount)) {
        read_mount(ld, mount);
    }
}

static void read_key(struct config_loader *ld, const struct config_scope *scope,
                     const struct jsonc_node *node)
{
    const char *key = node->item->string;
    char path[PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s%s", scope->prefix, key);
    bool is_name =
        len > 0 && (size_t)len + sizeof "[]." < sizeof path && strpbrk(key, ".[") == NULL;
    const struct config_field *field = is_name ? config_field_find(path) : NULL;
    if (field != NULL) {
        read_field(ld, scope, field, node);
        return;
    }
    if (is_name) {
        char *end = path + len;
        (void)snprintf(end, sizeof path - (size_t)len, "[].");
        if (config_field_has_prefix(path)) {
            read_mounts(ld, node);
            return;
        }
        (void)snprintf(end, sizeof path - (size_t)len, ".");
        if (config_field_has_prefix(path)) {
            read_section(ld, path, node);
            return;
        }
    }
    unknown_key(ld, scope, node);
}

static void read_object(struct config_loader *ld, const struct config_scope *scope)
{
    const struct jsonc_node *node = jsonc_first(&ld->doc, scope->node);
    for (; node != NULL && ld->report->err == ERR_OK; node = jsonc_next(&ld->doc, node)) {
        bool is_top = scope->prefix[0] == '\0';
        if (is_top && strcmp(node->item->string, "$schema") == 0) {
            continue; /* for editors */
        }
        read_key(ld, scope, node);
    }
}

/* ---- the whole ---- */

static void load(struct config_loader *ld)
{
    const struct jsonc_node *root = &ld->doc.nodes[0];
    if (!cJSON_IsObject(root->item)) {
        config_problem(ld->report, root->value, "", "a config must be an object: { ... }");
        return;
    }
    struct config_scope top = {"", "", ld->config, root};
    read_object(ld, &top);
    if (ld->report->err == ERR_OK) {
        config_check_top(ld);
    }
}

enum err config_parse(const char *name, struct span text, const struct config_overrides *overrides,
                      struct config **out, struct buf *report_out)
{
    struct config_report report = {.name = name, .out = report_out, .text = text};
    if (text.ptr == NULL) {
        report.text = SPAN_LIT("");
    }
    struct config_loader ld = {.overrides = overrides, .report = &report};
    *out = NULL;
    enum err e = jsonc_parse(&ld.doc, &report);
    if (e == ERR_OK) {
        ld.config = config_create_default();
        if (ld.config != NULL) {
            load(&ld);
        }
        e = ld.config != NULL ? report.err : ERR_NOMEM;
        jsonc_fini(&ld.doc);
    }
    config_report_end(&report);
    if (e != ERR_NOMEM) {
        e = report.err; /* a problem that could not be written down */
    }
    if (e == ERR_OK && report.n_problems != 0) {
        e = ERR_CONFIG;
    }
    if (e != ERR_OK) {
        config_destroy(ld.config);
        return e;
    }
    *out = ld.config;
    return ERR_OK;
}

/* Reads up to one byte more than a config may have; that one makes config_parse complain. */
static enum err read_whole(int fd, struct buf *text)
{
    for (;;) {
        size_t room = buf_room(text) < READ_BYTES ? buf_room(text) : READ_BYTES;
        if (room == 0) {
            return ERR_OK;
        }
        char *to = buf_reserve(text, room);
        if (to == NULL) {
            return ERR_NOMEM;
        }
        ssize_t n = read(fd, to, room);
        if (n == 0) {
            return ERR_OK;
        }
        if (n > 0) {
            buf_commit(text, (size_t)n);
        } else if (errno != EINTR) {
            return ERR_IO;
        }
    }
}

static enum err read_file(const char *path, struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return ERR_IO;
    }
    enum err e = read_whole(fd, text);
    int why = errno;
    (void)close(fd);
    errno = why;
    return e;
}

static enum err fail_read(const char *path, int why, struct buf *out)
{
    const char *hint = "check the path given with --config";
    if (why == EACCES) {
        hint = "the user that posternd runs as must be allowed to read it";
    }
    struct config_report report = {.name = path, .out = out};
    config_problem_plain(&report, path, hint, "can't be read: %s", strerror(why));
    return report.err != ERR_OK ? report.err : ERR_CONFIG;
}

enum err config_load(const char *path, const struct config_overrides *overrides,
                     struct config **out, struct buf *report)
{
    *out = NULL;
    if (path == NULL) {
        bool is_demo = overrides != NULL && overrides->demo;
        struct span text =
            is_demo ? SPAN_LIT("{}") : SPAN_LIT("{\"mounts\": [{\"path\": \"/sockjs\"}]}");
        return config_parse(NULL, text, overrides, out, report);
    }
    struct buf text;
    buf_init(&text, JSONC_MAX_BYTES + 1);
    enum err e = read_file(path, &text);
    if (e == ERR_OK) {
        e = config_parse(path, buf_span(&text), overrides, out, report);
    } else if (e == ERR_IO) {
        e = fail_read(path, errno, report);
    }
    buf_fini(&text);
    return e;
}
