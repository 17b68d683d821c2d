/*
 * http_req: a parsed request as the floors above see it: a view, valid only during on_request.
 * Threads: the owning worker.
 */
#ifndef POSTERN_HTTP_HTTP_REQ_H
#define POSTERN_HTTP_HTTP_REQ_H

#include "base/span.h"
#include "wire/http1_head.h"
#include "wire/url.h"

struct conn_peer;
struct http_resp;

struct http_req {
    const struct http1_head *head;
    struct url_target target; /* raw path and query */
    const struct conn_peer *peer;
    bool is_tls; /* it came by TLS, as seen from here: not what a proxy in front speaks */
    struct http_resp *resp; /* where the answer goes; lives until the answer is finished */
};

/* The value of the first field of this name, trimmed; SPAN_NONE (ptr NULL) when there is none. */
struct span http_req_field(const struct http_req *req, struct span name);
/* The value of the cookie `name` (RFC 6265 5.4), as sent; SPAN_NONE when there is none. */
struct span http_req_cookie(const struct http_req *req, struct span name);

enum {
    HTTP_PEER_TEXT_BYTES = 64
};
/* "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix"; returns out. */
const char *http_req_peer_text(const struct http_req *req, char out[HTTP_PEER_TEXT_BYTES]);

#endif
