/*
 * websocket_internal: what the rooms of the WebSocket share. Private to this folder.
 *
 *   websocket_open.c     the handshake, up to the carrier's birth
 *   websocket.c          the carrier: frames out, octets in, and the memory's end
 *   websocket_message.c  data on the way in: pieces become messages, under a deadline
 *   websocket_deflate.c  permessage-deflate, where it was agreed
 *   websocket_pong.c     pings answered, now or when there is room
 *   websocket_close.c    every end that says a Close, the closing handshake, a FIN without it
 */
#ifndef POSTERN_TRANSPORTS_WEBSOCKET_INTERNAL_H
#define POSTERN_TRANSPORTS_WEBSOCKET_INTERNAL_H

#include "base/kit.h"
#include "base/octets.h"
#include "core/session.h"
#include "core/transport.h"
#include "transports/websocket.h"
#include "wire/ws_frame.h"

struct closing;
struct deflating;
struct http_octets;
struct http_req;
struct http_resp;
struct late_pong;
struct opening;
struct partial;

/*
 *   OPENING --ACCEPT--> OPEN --our Close--> CLOSING --the peer's Close, or time over--> OVER
 *       |                | \--the peer's FIN--> HALF_CLOSED --all was said, or time over--/
 *       |                | \---a defect--------> FAILING ------all was said, or time over--/
 *       \__ refused _____|___ the peer's Close, a defect, the connection lost ___________/
 */
enum websocket_state {
    WEBSOCKET_OPENING,     /* the handshake's answer waits for the handler: `opening` is there */
    WEBSOCKET_OPEN,        /* `late_pong` may be there */
    WEBSOCKET_HALF_CLOSED, /* the peer's FIN came without a Close: what its messages cause still
                            * goes out; `closing` is there */
    WEBSOCKET_FAILING,     /* the peer broke the rules: nothing of it is read any more, and what its
                            * earlier messages cause still goes out; `closing` is there */
    WEBSOCKET_CLOSING,     /* our Close is out, the peer's is awaited: `closing` is there */
    WEBSOCKET_OVER,        /* the stream is given back; memory goes at the turn's end */
};

struct websocket {
    struct carrier base;
    struct http_octets *octets; /* NULL before OPEN, and when OVER */
    struct kit *kit;
    const struct transport_opts *opts;
    struct ws_parser parser;
    struct turn_task reap;
    struct partial *partial;     /* of what the peer has begun and not finished; else NULL */
    struct deflating *deflating; /* permessage-deflate was agreed; else NULL */
    union {                      /* what only one state has */
        struct opening *opening;
        struct late_pong *late_pong;
        struct closing *closing;
    };
    uint32_t pong_bytes; /* of the unsent output, at most so much is pongs */
    uint8_t state;       /* enum websocket_state */
    bool is_paused;
};

static inline struct websocket *websocket_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct websocket, base);
}

/* -- websocket.c ------------------------------------------------------------------------------ */

extern const struct octets_ops websocket_stream_ops;

/* Puts one frame of any kind into the output. False: no memory, which is counted; nothing was put.
 */
bool websocket_put_frame(struct websocket *ws, enum ws_opcode opcode, struct span payload);
/* transport_ops.pause. */
void websocket_pause(struct carrier *carrier, bool is_paused);
/* Leaves a state and frees what only it had. */
void websocket_move(struct websocket *ws, enum websocket_state to);
/* The stream is closed or gone: memory goes at the turn's end. */
void websocket_release(struct websocket *ws);
/* Lets go of the session, if there is one still, and tells it why. */
void websocket_tell_session(struct websocket *ws, enum detach_why why, unsigned code,
                            struct span reason);

/* -- websocket_message.c ---------------------------------------------------------------------- */

/* A piece of a message: every WS_EVENT_DATA goes through here. May end the WebSocket. */
void websocket_take_data(struct websocket *ws, const struct ws_event *event);
/* After a read: something is unfinished, or was before. `is_new`: something else than before. No
 * later byte moves the deadline, nor does a control frame inside of a message. */
void websocket_note_partial(struct websocket *ws, bool is_partial, bool is_new);
/* The peer's deadline stands still while we are the ones not reading. */
void websocket_pause_partial(struct websocket *ws, bool is_paused);
/* The deadline of what is unfinished is over; its bytes may be in use up the stack. */
void websocket_stop_partial(struct websocket *ws);
/* Frees what is unfinished. */
void websocket_drop_partial(struct websocket *ws);

/* -- websocket_deflate.c ---------------------------------------------------------------------- */

/* Whether the offers can be read (see ws_deflate). ERR_SYNTAX: refuse the handshake with 400. */
enum err websocket_deflate_check(const struct http_req *req,
                                 const struct transport_opts *opts) MUST_CHECK;
/* Agrees to permessage-deflate, if the client offers it, the mount allows it, and there is memory:
 * then ws->deflating is set. Before the 101. */
void websocket_deflate_open(struct websocket *ws, const struct http_req *req);
/* Our Sec-WebSocket-Extensions, if there are any. */
void websocket_deflate_answer(const struct websocket *ws, struct http_resp *resp);
/* Frees what was agreed, and gives the streams back. */
void websocket_drop_deflating(struct websocket *ws);
/* Bytes of a compressed message on the wire: what does not get smaller gets a little bigger. */
uint64_t websocket_max_compressed_bytes(const struct transport_opts *opts);
/* websocket_put_frame for a data message: compressed, where it is worth it. */
bool websocket_put_message(struct websocket *ws, enum ws_opcode opcode, struct span payload);
/* ws_inflate_step; a fault has ended the WebSocket. */
enum err websocket_inflate(struct websocket *ws, const struct ws_event *event, struct span *in,
                           struct span *out) MUST_CHECK;

/* -- websocket_close.c ------------------------------------------------------------------------ */

/* A defect of the peer: tells it, then the session, both as soon as the handler has finished what
 * the peer had said before. `why`: a constant. */
void websocket_fail(struct websocket *ws, unsigned code, const char *why);
/* The peer's Close has come, whole and valid. */
void websocket_take_close(struct websocket *ws, const struct ws_event *event);
/* FIN and a bounded drain, so that what was sent is not destroyed by a reset. */
void websocket_end_stream(struct websocket *ws);
/* Ends at once without a word, for want of memory. */
void websocket_lose(struct websocket *ws, struct span reason);
/* transport_ops.finish. */
void websocket_finish(struct carrier *carrier, enum finish_why why, unsigned code,
                      struct span reason);
/* The peer's FIN has come without a Close before it. */
void websocket_take_eof(struct websocket *ws);
/* HALF_CLOSED: something was sent, so more may follow. */
void websocket_stretch_half_close(struct websocket *ws);
/* transport_ops.settled. */
void websocket_settled(struct carrier *carrier);
/* HALF_CLOSED, FAILING, CLOSING: frees what the end holds. */
void websocket_drop_closing(struct websocket *ws);

/* -- websocket_pong.c ------------------------------------------------------------------------- */

void websocket_answer_ping(struct websocket *ws, struct span payload);
/* The output is empty. */
void websocket_send_late_pong(struct websocket *ws);
/* OPEN: frees the ping that was not answered, if there is one. */
void websocket_drop_late_pong(struct websocket *ws);

/* -- websocket_open.c ------------------------------------------------------------------------- */

/* transport_ops.check, .open and .accepted. */
enum err websocket_check(struct http_req *req, const struct transport_opts *opts);
enum err websocket_open(struct http_req *req, const struct transport_opts *opts,
                        struct session *session);
enum err websocket_accepted(struct carrier *carrier, struct span subprotocol);
/* OPENING: answers the handshake with an error of HTTP: 403 with `reason` for what a handler
 * decided (1000, 3000 and above), 500 for 1011, else 503. */
void websocket_refuse(struct websocket *ws, unsigned code, struct span reason);
/* OPENING: ends the connection without an answer. */
void websocket_abort_opening(struct websocket *ws);
/* OPENING: frees what the waiting handshake holds. */
void websocket_drop_opening(struct websocket *ws);

#endif
