/* open_info: see open_info.h. Field values may hold any byte above 0x1f: what is not UTF-8 is left
 * out. */
#include "edge/open_info.h"

#include "base/jsontext.h"
#include "base/text.h"
#include "core/sid.h"
#include "http/http_req.h"
#include "wire/ws_handshake.h"

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

struct pair {
    const char *before;
    struct span value;
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

static enum err put_offers(const struct ws_subprotocols *offers, struct buf *out)
{
    enum err e = buf_append_span(out, SPAN_LIT(",\"subprotocols\":["));
    for (size_t i = 0; offers != NULL && i < offers->n && e == ERR_OK; i++) {
        e = put_pair(out, i == 0 ? "" : ",", offers->names[i]);
    }
    return e == ERR_OK ? buf_append_char(out, ']') : e;
}

/* The path as sent, but without the session id: whoever has that can read the session. */
static enum err put_path(struct buf *out, struct span path, struct span sid)
{
    if (sid.len == 0) {
        return put_pair(out, ",\"path\":", path);
    }
    ASSERT(sid.ptr >= path.ptr && sid.ptr + sid.len <= path.ptr + path.len);
    size_t before = (size_t)(sid.ptr - path.ptr);
    struct buf clean;
    buf_init(&clean, path.len + 1);
    enum err e = buf_append(&clean, path.ptr, before);
    if (e == ERR_OK) {
        e = buf_append_char(&clean, '-');
    }
    if (e == ERR_OK) {
        e = buf_append_span(&clean, span_skip(path, before + sid.len));
    }
    if (e == ERR_OK) {
        e = put_pair(out, ",\"path\":", buf_span(&clean));
    }
    buf_fini(&clean);
    return e;
}

/* The address alone: "192.0.2.7:4711" and "[2001:db8::1]:4711" without brackets and port. */
static struct span address_of(const char *peer)
{
    struct span all = span_str(peer);
    const char *colon = strrchr(peer, ':');
    if (colon == NULL) {
        return all;
    }
    struct span host = span_of(peer, (size_t)(colon - peer));
    return host.ptr[0] == '[' ? span_of(host.ptr + 1, host.len - 2) : host;
}

static enum err put_pairs(struct buf *out, const struct pair *pairs, size_t n)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = put_pair(out, pairs[i].before, pairs[i].value);
    }
    return e;
}

enum err open_info_write(const struct open_info *info, const struct http_req *req, struct buf *out,
                         size_t *brief_len)
{
    char id[SID_PUBLIC_CHARS];
    char peer[HTTP_PEER_TEXT_BYTES];
    size_t start = buf_len(out);
    sid_print_public(info->public_id, id);
    const struct pair first[] = {
        {"{\"id\":", span_of(id, sizeof id)},
        {",\"mount\":", info->mount},
    };
    const struct pair rest[] = {
        {",\"query\":", req->target.query},
        {",\"dialect\":", span_str(info->dialect)},
        {",\"transport\":", span_str(info->transport)},
        {",\"remote\":", address_of(http_req_peer_text(req, peer))},
        {",\"origin\":", http_req_field(req, SPAN_LIT("origin"))},
    };
    enum err e = put_pairs(out, first, sizeof first / sizeof first[0]);
    if (e == ERR_OK) {
        e = put_path(out, req->target.path, info->sid);
    }
    if (e == ERR_OK) {
        e = put_pairs(out, rest, sizeof rest / sizeof rest[0]);
    }
    if (e != ERR_OK) {
        return e;
    }
    *brief_len = buf_len(out) - start;
    e = put_offers(info->offers, out);
    return e == ERR_OK ? put_headers(req, out) : e;
}

static enum err put_state(struct buf *out, struct span state)
{
    enum err e = buf_append_span(out, SPAN_LIT(",\"state\":\""));
    if (e != ERR_OK) {
        return e;
    }
    char *to = buf_reserve(out, base64_len(state.len));
    if (to == NULL) {
        return ERR_NOMEM;
    }
    buf_commit(out, base64_encode(state, to));
    return buf_append_char(out, '"');
}

enum err open_info_finish(struct buf *out, const struct open_info_rest *rest)
{
    enum err e = put_pair(out, ",\"subprotocol\":", rest->subprotocol);
    if (e == ERR_OK) {
        e = buf_append_span(out, rest->is_resumed ? SPAN_LIT(",\"resumed\":true")
                                                  : SPAN_LIT(",\"resumed\":false"));
    }
    if (e == ERR_OK && rest->state.len != 0) {
        e = put_state(out, rest->state);
    }
    return e == ERR_OK ? buf_append_char(out, '}') : e;
}
