/* open_info: see open_info.h. Field values may hold any byte above 0x1f: what is not UTF-8 is left
 * out. */
#include "edge/open_info.h"

#include "base/jsontext.h"
#include "base/text.h"
#include "core/sid.h"
#include "http/http_req.h"

/* Fields that a handler may see by default; cookies only where the mount says so (a later option).
 */
static const struct span visible[] = {
    SPAN_LIT_INIT("user-agent"),
    SPAN_LIT_INIT("accept-language"),
    SPAN_LIT_INIT("x-forwarded-for"),
    SPAN_LIT_INIT("x-request-id"),
    SPAN_LIT_INIT("traceparent"),
    SPAN_LIT_INIT("referer"),
    SPAN_LIT_INIT("host"),
};

static enum err put_pair(struct buf *out, const char *before, struct span value)
{
    enum err e = buf_append_span(out, span_str(before));
    return e == ERR_OK ? json_quote(out, utf8_is_valid(value) ? value : SPAN_NONE, JSON_PLAIN) : e;
}

static enum err put_headers(const struct http_req *req, struct buf *out)
{
    bool is_first = true;
    enum err e = buf_append_span(out, SPAN_LIT(",\"headers\":{"));
    for (size_t i = 0; i < sizeof visible / sizeof visible[0] && e == ERR_OK; i++) {
        struct span value = http_req_field(req, visible[i]);
        if (value.ptr == NULL || !utf8_is_valid(value)) {
            continue;
        }
        e = put_pair(out, is_first ? "" : ",", visible[i]);
        if (e == ERR_OK) {
            e = put_pair(out, ":", value);
        }
        is_first = false;
    }
    return e == ERR_OK ? buf_append_char(out, '}') : e;
}

enum err open_info_write(const struct open_info *info, const struct http_req *req, struct buf *out,
                         size_t *brief_len)
{
    char id[SID_PUBLIC_CHARS];
    char peer[HTTP_PEER_TEXT_BYTES];
    size_t start = buf_len(out);
    sid_print_public(info->public_id, id);
    const struct {
        const char *before;
        struct span value;
    } pairs[] = {
        {"{\"id\":", span_of(id, sizeof id)},
        {",\"mount\":", info->mount},
        {",\"path\":", req->target.path},
        {",\"query\":", req->target.query},
        {",\"dialect\":", span_str(info->dialect)},
        {",\"transport\":", span_str(info->transport)},
        {",\"remote\":", span_str(http_req_peer_text(req, peer))},
        {",\"origin\":", http_req_field(req, SPAN_LIT("origin"))},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        enum err e = put_pair(out, pairs[i].before, pairs[i].value);
        if (e != ERR_OK) {
            return e;
        }
    }
    *brief_len = buf_len(out) - start;
    return put_headers(req, out);
}
