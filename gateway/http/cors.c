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

enum cors_verdict cors_check(const struct cors_policy *policy, const struct http_req *req)
{
    struct span origin = http_req_field(req, SPAN_LIT("origin"));
    if (origin.ptr == NULL) {
        return CORS_NO_ORIGIN;
    }
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
