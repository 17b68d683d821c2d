/* link_hello: reads the JSON object of HELLO with the pull scanner; unknown keys are passed over.
 */
#include "backend/link_internal.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

struct hello {
    struct json_scan scan;
    struct json_token token;
    struct fault fault;
};

static bool next(struct hello *hello)
{
    return json_next(&hello->scan, &hello->token, &hello->fault) == ERR_OK;
}

static char *copy_text(struct span raw)
{
    char *text = mem_copy_string(raw.ptr, raw.len);
    if (text != NULL) {
        text[json_unescape(raw, text)] = '\0';
    }
    return text;
}

/* Steps over a value whose first token is the present one. */
static bool skip_value(struct hello *hello)
{
    if (hello->token.type == JSON_ARRAY_BEGIN || hello->token.type == JSON_OBJECT_BEGIN) {
        return json_skip(&hello->scan, &hello->fault) == ERR_OK;
    }
    return true;
}

static bool read_mounts(struct link *link, struct hello *hello, const char **why)
{
    *why = "\"mounts\" must be an array of mount paths, e.g. [\"/chat\"]";
    if (hello->token.type != JSON_ARRAY_BEGIN) {
        return false;
    }
    bool serves_all = false;
    for (;;) {
        if (!next(hello)) {
            return false;
        }
        if (hello->token.type == JSON_ARRAY_END) {
            break;
        }
        if (hello->token.type != JSON_STRING || link->n_mounts == LINK_MAX_MOUNTS) {
            return false;
        }
        serves_all = serves_all || span_eq(hello->token.raw, SPAN_LIT("*"));
        char *mount = copy_text(hello->token.raw);
        if (mount == NULL) {
            *why = "the gateway is out of memory";
            return false;
        }
        link->mounts[link->n_mounts++] = mount;
    }
    if (serves_all) {
        while (link->n_mounts != 0) {
            mem_free(link->mounts[--link->n_mounts]);
        }
    }
    return true;
}

/* A name of the handler's choice, in a form that a log line can hold. */
static bool set_name(struct link *link, struct span raw)
{
    char quoted[LOG_QUOTED_BYTES];
    (void)log_quoted(raw, quoted);
    mem_free(link->name);
    link->name = mem_copy_string(quoted, strlen(quoted));
    return link->name != NULL;
}

static bool read_max_frame(struct link *link, struct span digits, const char **why)
{
    uint64_t value = 0;
    *why = "\"max_frame\" must be a whole number of bytes, at least 65536";
    if (decimal_parse(digits, UINT64_MAX, &value) != ERR_OK || value < LINK_LEAST_MAX_FRAME_BYTES) {
        return false;
    }
    uint64_t ours = link->opts->max_frame_bytes;
    link->max_frame_bytes = value < ours ? value : ours;
    return true;
}

static bool read_member(struct link *link, struct hello *hello, struct span key, const char **why)
{
    if (!next(hello)) {
        return false;
    }
    if (span_eq(key, SPAN_LIT("mounts"))) {
        return read_mounts(link, hello, why);
    }
    bool is_name =
        span_eq(key, SPAN_LIT("app")) || (span_eq(key, SPAN_LIT("client")) && link->name == NULL);
    if (is_name && hello->token.type == JSON_STRING) {
        return set_name(link, hello->token.raw);
    }
    if (span_eq(key, SPAN_LIT("max_frame"))) {
        return hello->token.type == JSON_NUMBER && read_max_frame(link, hello->token.raw, why);
    }
    return skip_value(hello);
}

bool link_read_hello(struct link *link, struct span json, const char **why)
{
    struct hello hello;
    *why = "the payload of HELLO must be a JSON object, e.g. {\"app\":\"chat\"}";
    if (link->max_frame_bytes > LINK_DEFAULT_MAX_FRAME_BYTES) {
        link->max_frame_bytes = LINK_DEFAULT_MAX_FRAME_BYTES; /* unless a key below says more */
    }
    json_scan_init(&hello.scan, json);
    if (!next(&hello) || hello.token.type != JSON_OBJECT_BEGIN) {
        return false;
    }
    while (next(&hello)) {
        if (hello.token.type == JSON_OBJECT_END) {
            return next(&hello); /* JSON_DONE: nothing may follow */
        }
        if (hello.token.type != JSON_KEY || !read_member(link, &hello, hello.token.raw, why)) {
            return false;
        }
    }
    return false;
}
