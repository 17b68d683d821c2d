/*
 * dialect: the interface between a session and the encoding that its client speaks (SockJS, raw
 * WebSocket, later Engine.IO, Socket.IO, native). Pure functions over spans plus the request-facing
 * half: which URLs there are and what is answered before a session exists. A dialect knows no
 * transport. Threads: the owning worker.
 */
#ifndef POSTERN_CORE_DIALECT_H
#define POSTERN_CORE_DIALECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/frame.h"

struct http_req;
struct kit;
struct session;

struct dialect_ops;

/* One URL ending that leads to a transport. */
struct dialect_route {
    const struct dialect_ops
        *speaks;           /* the session's dialect; NULL = the one that has this route */
    const char *transport; /* name in the mount's transport table */
    bool has_session_id;   /* the session can be named by a later request: it is registered */
    bool must_exist; /* an unknown session id is 404 instead of a new session (sending URLs) */
};

enum route_kind {
    ROUTE_NOT_FOUND, /* 404 of the mount */
    ROUTE_PAGE,      /* answered by dialect_ops.page: info, greeting, preflight, 405 ... */
    ROUTE_TRANSPORT, /* routes[index], session id `sid` */
};

/* What a request means to the dialect. */
struct route {
    enum route_kind kind;
    unsigned
        index; /* ROUTE_TRANSPORT: into dialect_ops.routes; ROUTE_PAGE: the dialect's own number */
    struct span sid;   /* bytes of the request */
    const char *allow; /* for a page that answers 405 or a preflight: the methods */
    bool skips_origin; /* not subject to the mount's origin list (greeting) */
    /* A GET that a foreign page can make without an Origin field (script, iframe, EventSource):
     * what else tells where it comes from is looked at. */
    bool is_embedded;
};

struct dialect_ops {
    const char *name;
    const struct dialect_route *routes;
    size_t n_routes;
    bool joins_messages;    /* encode takes several messages; else exactly one at a time */
    bool handshake_opens;   /* a WebSocket's 101 tells the client that it is open: it waits for the
                               handler's ACCEPT where the mount does */
    bool lost_carrier_ends; /* a carrier lost by the network ends the session: nothing can be
                               repeated */
    unsigned conflict_code; /* what a second receiver is told while one is attached */
    const char *conflict_reason;
    unsigned lost_code; /* what a later receiver is told after a carrier was lost */
    const char *lost_reason;

    /* Reads the URL (the path behind the mount's prefix: empty or beginning with '/') and the
     * method. `opts` is the mount's options for this dialect. */
    void (*classify)(const void *opts, const struct http_req *req, struct span suffix,
                     struct route *out);
    /* Answers a ROUTE_PAGE. */
    void (*page)(const void *opts, const struct route *route, struct http_req *req,
                 struct kit *kit);

    /* The first frame of a session (SockJS `o`); false = the dialect has none. */
    bool (*hello)(struct frame *out);
    /* Joins n >= 1 messages into one frame, in `scratch` or, for a single one, in place. `caps` of
     * the carrier. ERR_NOMEM; ERR_PROTO: the carrier cannot take it (binary without CAP_BINARY). */
    enum err (*encode)(const struct message *messages, size_t n, unsigned caps, struct buf *scratch,
                       struct frame *out);
    /* Reads what the client sent and calls session_deliver for each message, all or none.
     * ERR_SYNTAX, or ERR_LIMIT for too many at once, with *why, a sentence for the client (SockJS:
     * the body of the 500 or 413). */
    enum err (*decode)(struct session *session, struct span in, bool is_text, struct buf *scratch,
                       const char **why);
    /* The heartbeat frame; false = none. */
    bool (*beat)(struct frame *out);
    /* The frame that tells the client code and reason; false = none (the transport tells). For
     * CAP_CLOSE_CODE transports *transport_code says which code the transport itself sends. */
    bool (*bye)(unsigned code, struct span reason, struct buf *scratch, struct frame *out,
                unsigned *transport_code);
};

#endif
