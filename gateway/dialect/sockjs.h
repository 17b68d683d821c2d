/*
 * sockjs: the SockJS protocol 0.3.3: frames `o` `h` `a[...]` `c[code,"reason"]`, the URLs below a
 * base, and what is answered before a session exists (greeting, info, iframe page and its script,
 * preflights).
 * Threads: the owning worker; the functions are pure apart from the answers they write.
 */
#ifndef POSTERN_DIALECT_SOCKJS_H
#define POSTERN_DIALECT_SOCKJS_H

#include "core/dialect.h"
#include "http/cors.h"

/* Index into sockjs_dialect.routes and bit in sockjs_opts.enabled. */
enum sockjs_route {
    SOCKJS_WEBSOCKET,
    SOCKJS_XHR_STREAMING,
    SOCKJS_XHR,
    SOCKJS_XHR_SEND,
    SOCKJS_EVENTSOURCE,
    SOCKJS_HTMLFILE,
    SOCKJS_JSONP,
    SOCKJS_JSONP_SEND,
    SOCKJS_RAW_WEBSOCKET,
    SOCKJS_N_ROUTES
};

/* What a mount pushes down; outlives its sessions. */
struct sockjs_opts {
    const struct cors_policy *cors;
    unsigned enabled;       /* bits of enum sockjs_route; a disabled transport is 404 */
    bool has_iframe;        /* the iframe page, which other sites' pages embed */
    bool cookie_needed;     /* set JSESSIONID, for balancers that stick to it */
    const char *script_url; /* of the iframe page's client; empty = `client` */
    struct span path;       /* of the mount, "" for the root */
    struct span client;     /* the client's script, served at PATH/sockjs.min.js; empty = 404 */
};

extern const struct dialect_ops sockjs_dialect;

/* transport_opts.dress of the HTTP transports; `opts` is the struct sockjs_opts. */
enum err sockjs_dress(const void *opts, const struct http_req *req, struct buf *fields);

#endif
