/*
 * http_conn_internal: the struct that http_conn.c (reading) and http_resp.c (answering) share.
 * Private to this folder. A `struct http_resp *` is the same object seen from above.
 */
#ifndef POSTERN_HTTP_HTTP_CONN_INTERNAL_H
#define POSTERN_HTTP_HTTP_CONN_INTERNAL_H

#include "base/buf.h"
#include "base/timers.h"
#include "base/turn.h"
#include "http/http_conn.h"
#include "http/http_resp.h"
#include "net/conn.h"
#include "wire/http1_body.h"

enum http_input {
    INPUT_IDLE,    /* between requests */
    INPUT_HEAD,    /* some bytes of a head are there */
    INPUT_REQUEST, /* on_request runs: nobody has asked for the body yet */
    INPUT_MOVING,  /* http_resp_move: the head lies unread; goes when the output has left */
    INPUT_BODY,    /* collecting for on_body */
    INPUT_DRAIN,   /* reading over a body that nobody wants */
    INPUT_DONE,    /* the request is read whole */
};

enum http_answer {
    ANSWER_NONE,
    ANSWER_HEAD,   /* started: fields may follow */
    ANSWER_STREAM, /* chunks may follow */
    ANSWER_DONE,
};

struct http_conn {
    struct http_server *server;
    struct conn *conn;
    struct timer timer;                 /* the deadline of the input phase */
    struct turn_task task;              /* at the turn's end: moving; freeing */
    const struct http_preface *preface; /* until the first bytes show that they are not it */
    const struct http_watch *watch;
    void *watch_ctx;
    http_body_fn *on_body;
    void *on_body_ctx;
    struct http1_body body;
    struct buf content; /* body bytes gathered over several reads */
    uint64_t phase_start_ms;
    uint64_t n_body_bytes;
    uint32_t scanned;
    unsigned move_to; /* while INPUT_MOVING: the worker */
    uint8_t input;    /* enum http_input */
    uint8_t answer;   /* enum http_answer */
    uint8_t minor;
    uint16_t status;
    bool keep_alive;
    bool is_head_method;
    bool expects_100;
    bool is_chunked;
    bool is_reading; /* inside on_data: completion is noticed there, not by recursion */
    bool is_over;    /* closed, gone or upgraded: memory waits for the turn's end */
    bool is_paused;
    bool has_failed; /* out of memory while answering */
    bool was_moved;  /* for this request: it may not move again */
};

static inline struct http_conn *http_conn_of(struct http_resp *resp)
{
    return (struct http_conn *)(void *)resp;
}

static inline struct http_resp *http_resp_of(struct http_conn *hc)
{
    return (struct http_resp *)(void *)hc;
}

/* Whether the unread body is worth reading over for the sake of the connection. A client that waits
 * for 100 Continue may or may not send it after a final answer: the stream would be ambiguous. */
bool http_conn_can_drain(const struct http_conn *hc);
/* The answer is complete: next request or close. */
void http_conn_answered(struct http_conn *hc);
/* The answer cannot be completed (memory): ends the connection at once and tells whoever waits. */
void http_conn_lose(struct http_conn *hc);
/* Goes to worker hc->move_to as soon as the output has left, at the turn's end at the earliest. */
void http_conn_move(struct http_conn *hc);
/* Lets go of the connection object (closed or handed over) and frees `hc` at the turn's end. */
void http_conn_release(struct http_conn *hc);
/* Answers `status` with `why` and closes: the request stream cannot be trusted any more. */
void http_conn_refuse(struct http_conn *hc, unsigned status, struct span why);

#endif
