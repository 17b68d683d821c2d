/* script: see script.h. */
#include "transports/script.h"

#include "base/jsontext.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "wire/url.h"

enum {
    CODED_MAX_BYTES = 3 * SCRIPT_CALLBACK_MAX_BYTES, /* each character as %XX */
};

static const char required[] = "\"callback\" parameter required";
static const char invalid[] = "invalid \"callback\" parameter";

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

const char *script_callback_read(struct span query, struct script_callback *out)
{
    struct span value = SPAN_NONE;
    char decoded[CODED_MAX_BYTES];
    size_t len = 0;
    *out = (struct script_callback){.len = 0};
    bool is_there = url_query_find(query, SPAN_LIT("c"), &value) ||
                    url_query_find(query, SPAN_LIT("callback"), &value);
    if (!is_there || value.len == 0) {
        return required;
    }
    if (value.len > sizeof decoded || url_decode(value, true, decoded, &len) != ERR_OK ||
        len > SCRIPT_CALLBACK_MAX_BYTES) {
        return invalid;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(decoded[i])) {
            return invalid;
        }
    }
    memcpy(out->text, decoded, len);
    out->len = (uint8_t)len;
    return NULL;
}

enum err script_check(struct http_req *req, const struct transport_opts *opts)
{
    struct script_callback callback;
    const char *why = script_callback_read(req->target.query, &callback);
    (void)opts;
    if (why == NULL) {
        return ERR_OK;
    }
    http_resp_text(req->resp, 500, span_str(why));
    return ERR_SYNTAX;
}

enum err script_quote(struct buf *out, struct span frame)
{
    return json_quote(out, frame, JSON_SCRIPT);
}
