/*
 * config_check: what only shows across keys: required ones, values that bound each other, doubles.
 *
 * Called by config.c when every key has been read. A default that would clash with a value of the
 * user follows it silently; two values of the user that clash are a problem.
 */
#include <cjson/cJSON.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/config_loader.h"
#include "server/config_value.h"
#include "server/flash_policy.h"
#include "server/users.h"

enum {
    LABEL_BYTES = 64,
    LEAST_DEFLATE_BYTES = 512 << 10, /* streams of the largest window, both ways */
};

static size_t index_of(const char *path)
{
    const struct config_field *field = config_field_find(path);
    ASSERT(field != NULL);
    return (size_t)(field - config_fields);
}

/* Where the value stands in the file, NULL when it does not. */
static const struct jsonc_node *given(const struct config_loader *ld, const char *path)
{
    return ld->given[index_of(path)];
}

static bool is_refused(const struct config_loader *ld, const char *path)
{
    return ld->is_refused[index_of(path)];
}

/* `add` is what to write into the object at `place`. */
static void missing_key(const struct config_loader *ld, struct config_place place,
                        const char *label, const char *add, const char *option)
{
    char hint[CONFIG_HINT_BYTES];
    (void)snprintf(hint, sizeof hint, "add %s%s%s", add, option != NULL ? ", or give " : "",
                   option != NULL ? option : "");
    config_problem(ld->report, place, hint, "%s is missing", label);
}

static void check_mount_path(struct config_loader *ld, const struct config_scope *scope)
{
    const struct config *config = ld->config;
    const struct config_mount *mount = scope->part;
    const struct jsonc_node *node = given(ld, "mounts[].path");
    if (node == NULL) {
        char label[LABEL_BYTES];
        (void)snprintf(label, sizeof label, "%spath", scope->label);
        missing_key(ld, scope->node->value, label, "\"path\": \"/echo\"", NULL);
        return;
    }
    for (size_t i = 0; mount->path != NULL && &config->mounts[i] != mount; i++) {
        if (config->mounts[i].path != NULL && strcmp(config->mounts[i].path, mount->path) == 0) {
            config_problem(ld->report, node->value, "each mount needs its own path",
                           "%spath is the same as that of mounts[%zu]", scope->label, i);
            return;
        }
    }
}

static void check_mount_queues(struct config_loader *ld, const struct config_scope *scope)
{
    struct config_mount *mount = scope->part;
    const struct jsonc_node *hard = given(ld, "mounts[].queue_hard");
    const struct jsonc_node *soft = given(ld, "mounts[].queue_soft");
    if (is_refused(ld, "mounts[].queue_hard") || is_refused(ld, "mounts[].queue_soft") ||
        is_refused(ld, "mounts[].max_message")) {
        return;
    }
    char number[CONFIG_NUMBER_BYTES];
    char hint[CONFIG_HINT_BYTES];
    uint64_t least = 2 * mount->max_message_bytes;
    if (mount->queue_hard_bytes < least && hard != NULL) {
        (void)config_format_number(CONFIG_TYPE_SIZE, least, number);
        (void)snprintf(hint, sizeof hint, "write at least \"%s\" or lower max_message", number);
        config_problem(ld->report, hard->value, hint,
                       "%squeue_hard must be at least twice max_message: %s", scope->label, number);
        return;
    }
    if (mount->queue_hard_bytes < least) {
        mount->queue_hard_bytes = least;
    }
    if (mount->queue_soft_bytes > mount->queue_hard_bytes && soft != NULL) {
        (void)config_format_number(CONFIG_TYPE_SIZE, mount->queue_hard_bytes, number);
        (void)snprintf(hint, sizeof hint, "write at most \"%s\" or raise queue_hard", number);
        config_problem(ld->report, soft->value, hint, "%squeue_soft is above queue_hard: %s",
                       scope->label, number);
    } else if (soft == NULL && mount->queue_soft_bytes > mount->queue_hard_bytes / 2) {
        /* A handler that is told to pause must still have room for what it is sending. */
        mount->queue_soft_bytes = mount->queue_hard_bytes / 2;
    }
}

/* A list of nothing but refusals would let nobody in. */
static void check_mount_origins(struct config_loader *ld, const struct config_scope *scope)
{
    const struct config_strings *origins = &((const struct config_mount *)scope->part)->origins;
    const struct jsonc_node *node = given(ld, "mounts[].origins");
    if (node == NULL || is_refused(ld, "mounts[].origins")) {
        return;
    }
    for (size_t i = 0; i < origins->n; i++) {
        if (origins->items[i][0] != '!') {
            return;
        }
    }
    config_problem(ld->report, node->value, "add \"*\" to let all others in",
                   "%sorigins only refuses", scope->label);
}

/* JSONP and htmlfile carry no Origin, so that only what a page can't forge, but hide, tells whose
 * they are: on by default only where that does not matter. */
static void set_default_transports(const struct config_loader *ld, const struct config_scope *scope)
{
    struct config_mount *mount = scope->part;
    for (size_t i = 0; i < mount->origins.n && given(ld, "mounts[].transports") == NULL; i++) {
        if (strcmp(mount->origins.items[i], "*") == 0) {
            mount->transports |= CONFIG_HTMLFILE | CONFIG_JSONP;
        }
    }
}

static void check_mount_secrets(struct config_loader *ld, const struct config_scope *scope)
{
    const struct config_mount *mount = scope->part;
    const struct jsonc_node *deflate = given(ld, "mounts[].deflate");
    if (mount->deflate && mount->secrets && deflate != NULL) {
        config_problem(ld->report, deflate->value,
                       "set one of the two to false, or move the secrets to a mount of their own",
                       "%sdeflate with secrets: sizes of compressed messages tell what is in them "
                       "(CRIME, BREACH)",
                       scope->label);
    }
}

void config_check_mount(struct config_loader *ld, const struct config_scope *scope)
{
    check_mount_path(ld, scope);
    check_mount_origins(ld, scope);
    check_mount_queues(ld, scope);
    set_default_transports(ld, scope);
    check_mount_secrets(ld, scope);
}

static void check_url_limit(struct config_loader *ld)
{
    struct config *config = ld->config;
    if (config->url_bytes <= config->head_bytes || is_refused(ld, "limits.head") ||
        is_refused(ld, "limits.url")) {
        return;
    }
    const struct jsonc_node *url = given(ld, "limits.url");
    if (url == NULL) {
        config->url_bytes = config->head_bytes;
        return;
    }
    char number[CONFIG_NUMBER_BYTES];
    char hint[CONFIG_HINT_BYTES];
    (void)config_format_number(CONFIG_TYPE_SIZE, config->head_bytes, number);
    (void)snprintf(hint, sizeof hint, "write at most \"%s\" or raise limits.head", number);
    config_problem(ld->report, url->value, hint, "limits.url is above limits.head: %s", number);
}

/* Each worker's share must do for one message of the largest mount, inflated. */
static void check_deflate_memory(struct config_loader *ld)
{
    struct config *config = ld->config;
    const struct jsonc_node *memory = given(ld, "limits.deflate_memory");
    uint64_t most = 0;
    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct config_mount *mount = &config->mounts[i];
        if (mount->deflate && mount->max_message_bytes > most) {
            most = mount->max_message_bytes;
        }
    }
    uint64_t least = config->workers * (most + LEAST_DEFLATE_BYTES);
    if (most == 0 || config->deflate_memory_bytes >= least ||
        is_refused(ld, "limits.deflate_memory")) {
        return;
    }
    if (memory == NULL) {
        config->deflate_memory_bytes = least;
        return;
    }
    char number[CONFIG_NUMBER_BYTES];
    char hint[CONFIG_HINT_BYTES];
    (void)config_format_number(CONFIG_TYPE_SIZE, least, number);
    (void)snprintf(hint, sizeof hint, "write at least \"%s\" or lower max_message", number);
    config_problem(ld->report, memory->value, hint,
                   "limits.deflate_memory has no room for a largest message in each worker: %s",
                   number);
}

/* The element before element i that names the same address, or i. */
static size_t find_same_listen(const struct config_loader *ld, const struct jsonc_node *list,
                               const struct jsonc_node *node, size_t i)
{
    const struct jsonc_node *other = jsonc_first(&ld->doc, list);
    for (size_t j = 0; j < i; j++, other = jsonc_next(&ld->doc, other)) {
        if (cJSON_IsString(other->item) &&
            config_listen_is_same(other->item->valuestring, node->item->valuestring)) {
            return j;
        }
    }
    return i;
}

/* Looks at the file's list, not at the config's: others of its addresses may have been refused. */
static void check_listen(const struct config_loader *ld)
{
    const struct jsonc_node *list = given(ld, "listen");
    const struct jsonc_node *node = list != NULL ? jsonc_first(&ld->doc, list) : NULL;
    for (size_t i = 0; node != NULL; i++, node = jsonc_next(&ld->doc, node)) {
        size_t same = cJSON_IsString(node->item) ? find_same_listen(ld, list, node, i) : i;
        if (same != i) {
            config_problem(ld->report, node->value, "remove one of the two",
                           "listen[%zu] is the same address as listen[%zu]", i, same);
        }
    }
}

static void missing_top_key(const struct config_loader *ld, const struct config_field *field)
{
    char section[LABEL_BYTES];
    char add[CONFIG_HINT_BYTES - LABEL_BYTES];
    const struct jsonc_node *root = &ld->doc.nodes[0];
    struct span key = config_field_name(field);
    bool is_top = key.ptr == field->path;
    (void)snprintf(section, sizeof section, "%.*s", (int)strcspn(field->path, "."), field->path);
    const struct jsonc_node *node = is_top ? NULL : jsonc_find(&ld->doc, root, section);
    if (node != NULL && !cJSON_IsObject(node->item)) {
        return; /* its type was complained about */
    }
    bool with_section = !is_top && node == NULL;
    if (with_section) {
        (void)snprintf(add, sizeof add, "\"%s\": {\"%s\": %s}", section, key.ptr, field->example);
    } else {
        (void)snprintf(add, sizeof add, "\"%s\": %s", key.ptr, field->example);
    }
    missing_key(ld, node != NULL ? node->value : root->value, field->path, add, field->option);
}

static const char *override_of(const struct config_loader *ld, const struct config_field *field)
{
    if (ld->overrides == NULL || field->option == NULL) {
        return NULL;
    }
    return strcmp(field->option, "--listen") == 0 ? ld->overrides->listen
                                                  : ld->overrides->handlers_socket;
}

/* Required keys of the top part, from the file or the command line. */
static void check_required(struct config_loader *ld)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        const struct config_field *field = &config_fields[i];
        if (field->part != CONFIG_PART_TOP || field->fallback != NULL) {
            continue;
        }
        const char *value = override_of(ld, field);
        if (value == NULL && field->offset == offsetof(struct config, listen) &&
            ld->config->tls_listen.n != 0) {
            continue; /* TLS only */
        }
        if (value != NULL) {
            struct config_target target = {field, ld->config, field->path};
            (void)config_value_set_option(&target, field->option, value, ld->report);
        } else if (ld->given[i] == NULL) {
            missing_top_key(ld, field);
        }
    }
}

static void check_mounts(struct config_loader *ld)
{
    const struct jsonc_node *root = &ld->doc.nodes[0];
    const struct jsonc_node *node = jsonc_find(&ld->doc, root, "mounts");
    if (ld->config->n_mounts != 0 || ld->config->demo) {
        return;
    }
    if (node == NULL) {
        config_problem(ld->report, root->value, "add \"mounts\": [{\"path\": \"/echo\"}]",
                       "mounts is missing");
    } else if (cJSON_IsArray(node->item)) {
        config_problem(ld->report, node->value, "write [{\"path\": \"/echo\"}]",
                       "mounts must have at least one mount");
    }
}

static void check_tls(struct config_loader *ld)
{
    static const struct {
        const char *path;
        const char *add;
    } files[] = {
        {"tls.cert", "\"cert\": \"/etc/postern/cert.pem\""},
        {"tls.key", "\"key\": \"/etc/postern/key.pem\""},
    };
    const char *const values[] = {ld->config->tls_cert, ld->config->tls_key};
    const struct jsonc_node *listen = given(ld, "tls.listen");
    for (size_t i = 0; listen != NULL && i < sizeof files / sizeof files[0]; i++) {
        if (values[i] != NULL && values[i][0] == '\0' && !is_refused(ld, files[i].path)) {
            missing_key(ld, listen->value, files[i].path, files[i].add, NULL);
        }
    }
}

static void check_users(struct config_loader *ld)
{
    const struct config_strings *users = &ld->config->handlers_users;
    const struct jsonc_node *node = given(ld, "handlers.users");
    for (size_t i = 0; node != NULL && i < users->n; i++) {
        uint32_t uid = 0;
        if (!users_find(users->items[i], &uid)) {
            config_problem(ld->report, node->value, "make it, or give the id of one (`id -u NAME`)",
                           "handlers.users: this system has no user \"%s\"", users->items[i]);
        }
    }
}

static void check_flash(struct config_loader *ld)
{
    const struct config *config = ld->config;
    const struct jsonc_node *listen = given(ld, "flash.listen");
    if (config->flash_listen.n == 0 || is_refused(ld, "flash.domains") ||
        is_refused(ld, "flash.ports") || is_refused(ld, "listen")) {
        return;
    }
    if (config->flash_domains.n == 0) {
        missing_key(ld, listen->value, "flash.domains", "\"domains\": [\"www.example.com\"]", NULL);
        return;
    }
    if (!flash_policy_has_ports(config)) {
        missing_key(ld, listen->value, "flash.ports", "\"ports\": [\"8080\"]", NULL);
        return;
    }
    struct buf policy;
    buf_init(&policy, FLASH_POLICY_MAX_BYTES);
    if (flash_policy_put(config, &policy) == ERR_LIMIT) {
        config_problem(ld->report, given(ld, "flash.domains")->value,
                       "write \"*.a.example\" for the hosts of a domain, and ranges of ports",
                       "flash.domains makes a policy of over 20000 bytes, which players refuse");
    }
    buf_fini(&policy);
}

/* The cores that the process may run on (taskset, a container's cpuset), 1 to CONFIG_MAX_WORKERS.
 */
static unsigned count_cores(void)
{
    cpu_set_t cores;
    long n = 0;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0) {
        n = CPU_COUNT(&cores);
    } else { /* more than CPU_SETSIZE of them */
        n = sysconf(_SC_NPROCESSORS_ONLN);
    }
    if (n < 1) {
        return 1;
    }
    return n < CONFIG_MAX_WORKERS ? (unsigned)n : CONFIG_MAX_WORKERS;
}

void config_check_top(struct config_loader *ld)
{
    if (ld->config->workers == CONFIG_WORKERS_AUTO) {
        ld->config->workers = count_cores();
    }
    check_listen(ld);
    if (ld->overrides != NULL && ld->overrides->demo) {
        ld->config->demo = true;
    }
    check_required(ld);
    check_mounts(ld);
    check_tls(ld);
    check_users(ld);
    check_flash(ld);
    check_url_limit(ld);
    check_deflate_memory(ld);
}
