/*
 * transport: the interface between a session and whatever carries it to the client.
 *
 * A *transport* is one const `transport_ops`; four behaviours cover all of them:
 *   DUPLEX  both directions on one carrier (WebSocket)        STREAM  one endless answer
 *   POLL    one answer, one frame                             INBOUND a request that brings
 * messages A *carrier* is one live answer or WebSocket that serves a session now. A *costume* is
 * how a transport dresses a frame in HTTP; most transports differ only in it. Upward a carrier
 * calls exactly four things: session_attach, session_receive, session_flushed, session_detach. N
 * transports + M dialects, never N x M: a transport knows no dialect. Threads: the owning worker.
 */
#ifndef POSTERN_CORE_TRANSPORT_H
#define POSTERN_CORE_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/frame.h"

struct http_req;
struct kit;
struct session;
struct ws_deflate_opts;

enum transport_behaviour {
    TRANSPORT_DUPLEX,
    TRANSPORT_STREAM,
    TRANSPORT_POLL,
    TRANSPORT_INBOUND,
};

/* What a dialect may rely on when it encodes. */
enum transport_caps {
    CAP_MANY_FRAMES = 1 << 0, /* any number of frames on one carrier */
    CAP_BINARY = 1 << 1,      /* a frame may be binary */
    CAP_CLOSE_CODE = 1 << 2,  /* finish() itself tells the client code and reason */
    CAP_SELF_PING = 1 << 3,   /* ping() makes the peer answer: no heartbeat frame is needed */
};

/* Appends a frame as the costume shows it. ERR_LIMIT, ERR_NOMEM. */
typedef enum err costume_escape_fn(struct buf *out, struct span frame);
/* Moves the payload in `body` to its front; returns its length, 0 when there is none. */
typedef size_t costume_unwrap_fn(char *body, size_t len);

/* How a STREAM or POLL answer, or the answer to an INBOUND request, looks on the wire. */
struct costume {
    struct span fields;        /* constant field lines, e.g. Content-Type, each with CRLF */
    struct span prelude[2];    /* STREAM: the first chunk, outside of the response limit */
    struct span pre[2], post;  /* around each frame */
    costume_escape_fn *escape; /* NULL: a frame is shown as it is */
    /* The request names a callback, which the transport's `check` has judged. It stands between the
     * parts of `prelude` and of `pre`, each where the second part is not empty. */
    bool has_callback;
    unsigned inbound_status; /* INBOUND: of a request whose messages were taken: 200 or 204 */
    struct span inbound_body;
    /* INBOUND: how the payload lies in the body of this request; NULL, or returns NULL: it is the
     * body. */
    costume_unwrap_fn *(*unwrapper)(const struct http_req *req);
};

struct transport_ops;

/* What a mount pushes down to one of its transports. Immutable; outlives the sessions. */
struct transport_opts {
    const struct transport_ops *ops; /* the transport that these belong to */
    const struct costume *costume;
    uint64_t
        response_limit_bytes; /* STREAM ends after the frame that reaches it; prelude not counted */
    uint64_t max_message_bytes; /* of one message, or one request body */
    uint32_t max_fragments;     /* frames of one WebSocket message */
    /* DUPLEX: a message must be whole in so long, plus its bytes / min_rate; default 25000. */
    uint32_t message_timeout_ms;
    uint32_t min_rate_bytes_per_s; /* > 0; default 4096 */
    /* DUPLEX: the subprotocols that the mount knows; the client's first offer among them is chosen
     * (RFC 6455 4.2.2). */
    const char *const *subprotocols;
    size_t n_subprotocols;
    bool hixie76; /* websocket: also takes the handshake of draft-hixie-thewebsocketprotocol-76 */
    /* DUPLEX: permessage-deflate (wire/ws_deflate.h); NULL = never. Else the kit has its pool. */
    const struct ws_deflate_opts *deflate;
    /* Appends the variable field lines of an answer (CORS, caching, cookies); `dress_ctx` is the
     * mount's. May be NULL. */
    enum err (*dress)(const void *dress_ctx, const struct http_req *req, struct buf *fields);
    const void *dress_ctx;
};

enum finish_why {
    FINISH_POLLED,  /* the one answer was given */
    FINISH_RECYCLE, /* the response limit: come again */
    FINISH_BYE,     /* the session ended: code and reason are its close */
};

struct carrier;

struct transport_ops {
    const char *name; /* the word used in URLs, logs and metrics */
    enum transport_behaviour behaviour;
    unsigned caps;

    /* Checks the request before a session exists; answers it itself when it is not acceptable. NULL
     * = nothing to check. ERR_OK: go on with open. */
    enum err (*check)(struct http_req *req, const struct transport_opts *opts);
    /* Takes over the answer, sends head and prelude, and calls session_attach. Whatever fails is
     * answered here (ERR_NOMEM: the request got 503 and no carrier exists). For INBOUND: reads the
     * body into session_receive and answers. */
    enum err (*open)(struct http_req *req, const struct transport_opts *opts,
                     struct session *session);
    /* The handler lets in a client that waits for its handshake's answer, because its session was
     * CONNECTING in open and its dialect says handshake_opens: answers it now. `subprotocol` is the
     * handler's choice; empty = the mount's. ERR_PROTO: the client did not offer it; the handshake
     * waits on, for finish. Calls nothing of the session. NULL: no handshake ever waits. */
    enum err (*accepted)(struct carrier *carrier, struct span subprotocol);
    /* A session_settle that said no says yes. NULL: it is never called. */
    void (*settled)(struct carrier *carrier);
    /* Dresses and queues one frame. May call session_detach (a poll is answered, a stream reached
     * its limit). */
    void (*write)(struct carrier *carrier, const struct frame *frame);
    /* Bytes that should still be written; 0 = session_flushed will be called when there is room
     * again. */
    size_t (*room)(struct carrier *carrier);
    /* Makes the peer answer, so that a dead one is noticed (CAP_SELF_PING); else NULL. */
    void (*ping)(struct carrier *carrier);
    /* DUPLEX: stops or goes on with reading from the peer; else NULL. */
    void (*pause)(struct carrier *carrier, bool is_paused);
    /* Polite end; the carrier is gone for its session, session_detach is not called. `code`,
     * `reason`: for FINISH_BYE. A handshake that waits is refused. */
    void (*finish)(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason);
    /* Ends the carrier at once; session_detach is not called. */
    void (*abort)(struct carrier *carrier);
};

/* First member of every transport's carrier. */
struct carrier {
    const struct transport_ops *ops;
    struct session *session; /* NULL once detached */
};

#endif
