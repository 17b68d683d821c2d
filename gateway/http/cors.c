/* cors: see cors.h. */
#include "http/cors.h"

/* scheme://host of the request itself, compared with an Origin. The scheme is what the Origin says:
 * behind a TLS proxy the request looks like http while the page is https, and a page of the same
 * host under the other scheme is no more foreign than the proxy makes it. */
static bool is_same_origin(const struct http_req *req, struct span origin)
{
    struct span host = req->head->host;
    if (host.len == 0) {
        return false;
    }
    struct span rest = origin;
    if (span_starts_with(rest, SPAN_LIT("http://"))) {
        rest = span_skip(rest, 7);
    } else if (span_starts_with(rest, SPAN_LIT("https://"))) {
        rest = span_skip(rest, 8);
    } else {
        return false;
    }
    return span_eq_nocase(rest, host);
}

static enum cors_verdict judge(const struct cors_policy *policy, const struct http_req *req,
                               struct span origin)
{
    bool is_listed = false;
    for (size_t i = 0; i < policy->n_origins; i++) {
        struct span entry = span_str(policy->origins[i]);
        bool is_refusal = span_starts_with(entry, SPAN_LIT("!"));
        if (span_eq(span_skip(entry, is_refusal ? 1 : 0), origin)) {
            if (is_refusal) {
                return CORS_REFUSED;
            }
            is_listed = true;
        }
    }
    if (is_listed || policy->any || (policy->same_origin && is_same_origin(req, origin))) {
        return CORS_ALLOWED;
    }
    return CORS_REFUSED;
}

enum cors_verdict cors_check(const struct cors_policy *policy, const struct http_req *req)
{
    struct span origin = http_req_field(req, SPAN_LIT("origin"));
    return origin.ptr == NULL ? CORS_NO_ORIGIN : judge(policy, req, origin);
}

/* "https://app.example" of "https://app.example/page?x"; what is no such URL stays whole. */
static struct span origin_of(struct span url)
{
    struct span rest = url;
    size_t colon = span_find(rest, ':');
    if (url.len - colon < 3 || memcmp(url.ptr + colon, "://", 3) != 0) {
        return url;
    }
    rest = span_skip(url, colon + 3);
    return span_of(url.ptr, colon + 3 + span_find(rest, '/'));
}

static bool has_refusal(const struct cors_policy *policy)
{
    for (size_t i = 0; i < policy->n_origins; i++) {
        if (policy->origins[i][0] == '!') {
            return true;
        }
    }
    return false;
}

enum cors_verdict cors_check_embedded(const struct cors_policy *policy, const struct http_req *req)
{
    enum cors_verdict verdict = cors_check(policy, req);
    if (verdict != CORS_NO_ORIGIN || (policy->any && !has_refusal(policy))) {
        return verdict;
    }
    struct span site = http_req_field(req, SPAN_LIT("sec-fetch-site"));
    if (span_eq(site, SPAN_LIT("none")) || /* typed in by the user: no page has asked for it */
        (policy->same_origin && span_eq(site, SPAN_LIT("same-origin")))) {
        return CORS_ALLOWED;
    }
    struct span referer = http_req_field(req, SPAN_LIT("referer"));
    if (referer.len != 0) {
        return judge(policy, req, origin_of(referer));
    }
    return site.len != 0 && !policy->any ? CORS_REFUSED : CORS_NO_ORIGIN;
}

/* "null" and "same-origin" are no sources of a policy. */
static bool is_source(struct span origin)
{
    return span_starts_with(origin, SPAN_LIT("http://")) ||
           span_starts_with(origin, SPAN_LIT("https://"));
}

enum err cors_put_ancestors(struct buf *out, const struct cors_policy *policy)
{
    enum err e = ERR_OK;
    bool has_one = policy->same_origin;
    if (policy->same_origin) {
        e = buf_append_span(out, SPAN_LIT(" 'self'"));
    }
    for (size_t i = 0; i < policy->n_origins && e == ERR_OK; i++) {
        struct span origin = span_str(policy->origins[i]);
        if (is_source(origin)) {
            e = buf_printf(out, " %.*s", SPAN_FMT(origin));
            has_one = true;
        }
    }
    return e == ERR_OK && !has_one ? buf_append_span(out, SPAN_LIT(" 'none'")) : e;
}

enum err cors_put(struct buf *fields, const struct cors_policy *policy, const struct http_req *req)
{
    struct span origin = http_req_field(req, SPAN_LIT("origin"));
    if (origin.len != 0) {
        return buf_printf(fields,
                          "Access-Control-Allow-Origin: %.*s\r\n"
                          "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
                          SPAN_FMT(origin));
    }
    if (policy->any) {
        return buf_append_span(fields,
                               SPAN_LIT("Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"));
    }
    return buf_append_span(fields, SPAN_LIT("Vary: Origin\r\n"));
}

enum err cors_put_preflight(struct buf *fields, const struct http_req *req, struct span methods)
{
    enum err e = buf_printf(fields,
                            "Access-Control-Allow-Methods: %.*s\r\n"
                            "Access-Control-Max-Age: 31536000\r\n",
                            SPAN_FMT(methods));
    struct span asked = http_req_field(req, SPAN_LIT("access-control-request-headers"));
    if (e == ERR_OK && asked.len != 0) {
        e = buf_printf(fields, "Access-Control-Allow-Headers: %.*s\r\n", SPAN_FMT(asked));
    }
    return e;
}
