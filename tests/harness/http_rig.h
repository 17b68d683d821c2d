/*
 * http_rig: one whole HTTP connection over a scripted peer, and a handler that does by path what
 * handlers do: answer at once, later, in a stream, behind a body, by an upgrade, or not at all.
 *
 *   /text /empty /pieces /204 /304 /429    answered at once          /close    and the connection
 * ends /stream    streamed whole              /ticks    streamed bit by bit, by http_rig_settle
 *   /later     pending until http_rig_settle                         /abort    cut
 *   /body      echoes a body of at most HTTP_RIG_BODY_BYTES          /body-later    pending behind
 * it /early     asks for the body and answers without it              /body-watch    watched too
 *   /up        101, then an echo in capitals                         /up-later    likewise, later
 *   /big       100,000 bytes at once       all others: 404
 *
 * Each exchange is a heap block that is freed in the call that ends it, so the sanitizer sees a
 * second call; one that is never ended is left in `exchanges`. No cmocka: the fuzz target uses it.
 */
#ifndef POSTERN_HARNESS_HTTP_RIG_H
#define POSTERN_HARNESS_HTTP_RIG_H

#include "harness/feed.h"
#include "harness/scripted_io.h"
#include "harness/transcript.h"
#include "http/http_conn.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"

enum {
    HTTP_RIG_BODY_BYTES = 16,
    HTTP_RIG_BIG_BYTES = 100000,
    HTTP_RIG_HEAD_MS = 10000,
    HTTP_RIG_BODY_MS = 25000,
    HTTP_RIG_IDLE_MS = 75000,
    HTTP_RIG_MIN_RATE = 4096,
};

struct http_rig;

struct exchange {
    LIST_ENTRY(exchange) all;
    struct http_rig *h;
    struct http_resp *resp;
    struct http_octets *octets; /* after an upgrade */
    bool is_pending;            /* http_rig_settle shall end it */
    bool is_stream;
    bool is_upgrade;
    unsigned n_ticks;
};

struct http_rig {
    struct rig rig;
    struct scripted peer;
    struct conn *conn; /* dangling once the peer's n_closes is 1 */
    struct http_server server;
    const struct http_preface *preface; /* of its connections; may be NULL */
    struct transcript said;             /* what the handler has heard */
    struct transcript text;             /* for http_rig_text */
    LIST_HEAD(, exchange) exchanges;
};

/* -- the handler --------------------------------------------------------------------------------
 */

static inline void exchange_end(struct exchange *x)
{
    LIST_REMOVE(x, all);
    free(x);
}

static inline void exchange_gone(void *ctx)
{
    struct exchange *x = ctx;
    transcript_add(&x->h->said, "gone ");
    exchange_end(x);
}

static inline void exchange_room(void *ctx)
{
    struct exchange *x = ctx;
    transcript_add(&x->h->said, "room ");
}

static const struct http_watch exchange_watch = {
    .on_room = exchange_room,
    .on_gone = exchange_gone,
};

static inline void exchange_text(struct exchange *x, unsigned status, struct span body)
{
    struct http_resp *resp = x->resp;
    exchange_end(x);
    http_resp_text(resp, status, body);
}

static inline size_t exchange_on_data(void *owner, char *bytes, size_t len)
{
    struct exchange *x = owner;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = bytes[i] >= 'a' && bytes[i] <= 'z' ? (char)(bytes[i] - 'a' + 'A') : bytes[i];
    }
    if (buf_append(http_octets_out(x->octets), bytes, len) != ERR_OK) {
        abort();
    }
    http_octets_wrote(x->octets);
    return len;
}

static inline void exchange_on_eof(void *owner)
{
    struct exchange *x = owner;
    http_octets_close(x->octets);
    exchange_gone(x);
}

static inline void exchange_on_drained(void *owner)
{
    (void)owner;
}

static inline void exchange_on_gone(void *owner, enum err why)
{
    (void)why;
    exchange_gone(owner);
}

static const struct octets_ops exchange_octets_ops = {
    .on_data = exchange_on_data,
    .on_eof = exchange_on_eof,
    .on_drained = exchange_on_drained,
    .on_gone = exchange_on_gone,
};

static inline void exchange_upgrade(struct exchange *x)
{
    http_resp_start(x->resp, 101);
    http_resp_field(x->resp, SPAN_LIT("Upgrade"), SPAN_LIT("echo"));
    x->octets = http_resp_upgrade(x->resp);
    x->resp = NULL;
    x->is_pending = false;
    http_octets_set_owner(x->octets, &exchange_octets_ops, x);
}

static inline void exchange_stream(struct exchange *x, struct span bytes)
{
    const struct span pieces[] = {SPAN_LIT("<"), bytes, SPAN_LIT(">")};
    http_resp_chunk(x->resp, pieces, 3);
}

static inline void exchange_start_stream(struct exchange *x)
{
    http_resp_start(x->resp, 200);
    http_resp_stream(x->resp);
}

static inline void exchange_stream_whole(struct exchange *x)
{
    struct http_resp *resp = x->resp;
    exchange_start_stream(x);
    exchange_stream(x, SPAN_LIT("one"));
    exchange_stream(x, SPAN_LIT("fifteen bytes"));
    http_resp_chunk(resp, NULL, 0); /* must not look like the last chunk */
    exchange_end(x);
    http_resp_end(resp);
}

static inline void exchange_pieces(struct exchange *x)
{
    const struct span pieces[] = {SPAN_LIT("a"), SPAN_NONE, SPAN_LIT("bc")};
    struct http_resp *resp = x->resp;
    exchange_end(x);
    http_resp_start(resp, 200);
    http_resp_finish_pieces(resp, pieces, 3);
}

static inline void exchange_finish(struct exchange *x, unsigned status, struct span body)
{
    struct http_resp *resp = x->resp;
    exchange_end(x);
    http_resp_start(resp, status);
    http_resp_finish(resp, body);
}

static inline void exchange_on_body(void *ctx, enum err e, struct span body)
{
    struct exchange *x = ctx;
    if (e != ERR_OK) {
        transcript_add(&x->h->said, "void(%s) ", err_name(e));
        exchange_end(x);
        return;
    }
    transcript_add(&x->h->said, "body(");
    transcript_bytes(&x->h->said, body);
    transcript_add(&x->h->said, ") ");
    if (!x->is_pending) {
        exchange_finish(x, 200, body);
    }
}

static inline void exchange_early(struct exchange *x)
{
    struct http_rig *h = x->h;
    http_resp_read_body(x->resp, HTTP_RIG_BODY_BYTES, exchange_on_body, x);
    /* Unless the body was empty, or refused: then it has ended. */
    if (LIST_FIRST(&h->exchanges) == x) {
        exchange_finish(x, 200, SPAN_LIT("early"));
    }
}

static inline void exchange_read(struct exchange *x, bool is_watched, bool is_pending)
{
    x->is_pending = is_pending;
    if (is_watched) {
        http_resp_watch(x->resp, &exchange_watch, x);
    }
    http_resp_read_body(x->resp, HTTP_RIG_BODY_BYTES, exchange_on_body, x);
}

static inline void exchange_wait(struct exchange *x)
{
    x->is_pending = true;
    http_resp_watch(x->resp, &exchange_watch, x);
}

static inline bool path_is(struct span path, const char *name)
{
    return span_eq(path, span_str(name));
}

static inline bool exchange_answer_now(struct exchange *x, struct span path)
{
    static char big[HTTP_RIG_BIG_BYTES];
    if (path_is(path, "/text")) {
        exchange_text(x, 200, SPAN_LIT("hello\n"));
    } else if (path_is(path, "/empty")) {
        exchange_finish(x, 200, SPAN_NONE);
    } else if (path_is(path, "/pieces")) {
        exchange_pieces(x);
    } else if (path_is(path, "/204")) {
        exchange_finish(x, 204, SPAN_LIT("never sent"));
    } else if (path_is(path, "/304")) {
        exchange_finish(x, 304, SPAN_LIT("never sent"));
    } else if (path_is(path, "/429")) {
        exchange_finish(x, 429, SPAN_NONE);
    } else if (path_is(path, "/close")) {
        http_resp_close_after(x->resp);
        exchange_text(x, 200, SPAN_LIT("bye\n"));
    } else if (path_is(path, "/big")) {
        if (big[0] == 0) {
            memset(big, 'b', sizeof big);
        }
        exchange_finish(x, 200, span_of(big, sizeof big));
    } else {
        return false;
    }
    return true;
}

static inline bool exchange_answer_in_steps(struct exchange *x, struct span path)
{
    if (path_is(path, "/stream")) {
        exchange_stream_whole(x);
    } else if (path_is(path, "/ticks")) {
        x->is_stream = true;
        exchange_wait(x);
        exchange_start_stream(x);
    } else if (path_is(path, "/later")) {
        exchange_wait(x);
    } else if (path_is(path, "/body")) {
        exchange_read(x, false, false);
    } else if (path_is(path, "/body-watch")) {
        exchange_read(x, true, false);
    } else if (path_is(path, "/body-later")) {
        exchange_read(x, true, true);
    } else if (path_is(path, "/early")) {
        exchange_early(x);
    } else if (path_is(path, "/up")) {
        exchange_upgrade(x);
    } else if (path_is(path, "/up-later")) {
        x->is_upgrade = true;
        exchange_wait(x);
    } else if (path_is(path, "/abort")) {
        struct http_resp *resp = x->resp;
        exchange_end(x);
        http_resp_abort(resp);
    } else {
        return false;
    }
    return true;
}

static inline void http_rig_on_request(void *ctx, struct http_req *req)
{
    struct http_rig *h = ctx;
    struct exchange *x = calloc(1, sizeof *x);
    if (x == NULL) {
        abort();
    }
    x->h = h;
    x->resp = req->resp;
    LIST_INSERT_HEAD(&h->exchanges, x, all);
    transcript_bytes(&h->said, req->head->method_name);
    transcript_bytes(&h->said, req->target.path);
    transcript_add(&h->said, " ");
    if (!exchange_answer_now(x, req->target.path) &&
        !exchange_answer_in_steps(x, req->target.path)) {
        exchange_text(x, 404, SPAN_LIT("nothing\n"));
    }
}

/* -- the connection -----------------------------------------------------------------------------
 */

/* A new connection of a rig whose kit and loop are there. */
static inline void http_rig_open(struct http_rig *h)
{
    static const struct http_opts opts = {
        .limits = {16384, 8192, 100},
        .head_timeout_ms = HTTP_RIG_HEAD_MS,
        .body_timeout_ms = HTTP_RIG_BODY_MS,
        .keepalive_timeout_ms = HTTP_RIG_IDLE_MS,
        .min_rate_bytes_per_s = HTTP_RIG_MIN_RATE,
    };
    LIST_INIT(&h->exchanges);
    http_server_init(&h->server, &h->rig.kit, &opts, http_rig_on_request, h);
    h->conn = scripted_conn(&h->rig, &h->peer);
    if (http_conn_create_with_preface(&h->server, h->conn, h->preface) != ERR_OK) {
        abort();
    }
}

static inline void http_rig_start(struct http_rig *h)
{
    rig_start(&h->rig);
    http_rig_open(h);
}

/* Ends the process unless everyone has been told of the end and everything was given back. */
static inline void http_rig_close(struct http_rig *h)
{
    conn_end_all(h->rig.loop);
    rig_turn(&h->rig);
    if (!LIST_EMPTY(&h->exchanges) || h->peer.n_closes != 1 ||
        h->rig.kit.counters.connections_open != 0 ||
        timers_next_ms(&h->rig.kit.timers) != TIMERS_NONE) {
        (void)fprintf(stderr, "left over at the end: an exchange, a descriptor or a timer\n");
        abort();
    }
    http_server_fini(&h->server);
    scripted_fini(&h->peer);
}

static inline void http_rig_stop(struct http_rig *h)
{
    http_rig_close(h);
    rig_stop(&h->rig);
}

static inline void http_rig_free(struct http_rig *h)
{
    transcript_free(&h->said);
    transcript_free(&h->text);
}

static inline bool http_rig_is_dead(const struct http_rig *h)
{
    return h->peer.n_closes != 0;
}

/* Readiness until nothing is read any more (all of it, or reading is paused for good), each in a
 * turn. */
static inline void http_rig_run(struct http_rig *h)
{
    for (bool goes_on = true; goes_on && !http_rig_is_dead(h);) {
        unsigned n_reads = h->peer.n_reads;
        size_t n_written = h->peer.n_written;
        conn_poke(h->conn);
        rig_turn(&h->rig);
        bool has_moved = h->peer.n_reads != n_reads || h->peer.n_written != n_written;
        goes_on = has_moved && !scripted_is_read_out(&h->peer);
    }
}

static inline void http_rig_feed(struct http_rig *h, struct span bytes)
{
    if (bytes.len != 0 && !http_rig_is_dead(h)) {
        scripted_feed(&h->peer, bytes);
        http_rig_run(h);
    }
}

/* One step of the oldest exchange that is pending: a tick of a stream, or its end. */
static inline bool http_rig_step(struct http_rig *h)
{
    struct exchange *x = LIST_FIRST(&h->exchanges);
    if (x == NULL || !x->is_pending) {
        return false;
    }
    if (x->is_stream && x->n_ticks++ < 2) {
        exchange_stream(x, SPAN_LIT("tick"));
    } else if (x->is_stream) {
        struct http_resp *resp = x->resp;
        exchange_end(x);
        http_resp_end(resp);
    } else if (x->is_upgrade) {
        exchange_upgrade(x);
    } else {
        exchange_text(x, 200, SPAN_LIT("later\n"));
    }
    return true;
}

static inline bool http_rig_settle_one(struct http_rig *h)
{
    if (!http_rig_step(h)) {
        return false;
    }
    rig_turn(&h->rig);
    http_rig_run(h);
    return true;
}

static inline void http_rig_settle(struct http_rig *h)
{
    while (http_rig_settle_one(h)) {
    }
}

/* -- as text ------------------------------------------------------------------------------------
 */

/* Length of a Date line at the front of `s`, 0 for anything else. Its time is not ours to know. */
static inline size_t http_rig_date_len(struct span s)
{
    size_t len = sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1;
    bool is_date = s.len >= len && span_starts_with(s, SPAN_LIT("Date: ")) &&
                   span_eq(span_of(s.ptr + len - 6, 6), SPAN_LIT(" GMT\r\n"));
    return is_date ? len : 0;
}

/* What was sent without Date lines, then what the handler heard and how the connection stands:
 * open, fin (ours was sent), dead (cut). Valid until the next call. */
static inline const char *http_rig_text(struct http_rig *h)
{
    struct span rest = scripted_written(&h->peer);
    transcript_clear(&h->text);
    while (rest.len != 0) {
        const char *date = memmem(rest.ptr + 1, rest.len - 1, "Date: ", 6);
        size_t n_date = http_rig_date_len(rest);
        size_t n = date != NULL ? (size_t)(date - rest.ptr) : rest.len;
        struct span kept = span_skip(span_of(rest.ptr, n), n_date < n ? n_date : n);
        if (kept.len != 0) {
            memcpy(transcript_room(&h->text, kept.len), kept.ptr, kept.len);
            h->text.len += kept.len;
        }
        rest = span_skip(rest, n);
    }
    const char *end = h->peer.n_shutdowns != 0 ? "fin" : http_rig_is_dead(h) ? "dead" : "open";
    struct span said = span_str(transcript_text(&h->said));
    char *to = transcript_room(&h->text, said.len + 8);
    int n = sprintf(to, "|%s|%s", transcript_text(&h->said), end);
    h->text.len += (size_t)n;
    return h->text.text;
}

/* -- for feed.h ---------------------------------------------------------------------------------
 */

static inline void http_rig_feed_start(void *ctx)
{
    struct http_rig *h = ctx;
    if (h->rig.loop != NULL) {
        http_rig_stop(h);
    }
    transcript_clear(&h->said);
    http_rig_start(h);
}

static inline size_t http_rig_feed_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    (void)stop;
    http_rig_feed(ctx, span_of(bytes, len));
    return len;
}

static inline const char *http_rig_feed_text(void *ctx)
{
    http_rig_settle(ctx);
    return http_rig_text(ctx);
}

/* A zeroed rig is to be given; afterwards http_rig_stop and http_rig_free. */
static inline struct feed http_rig_feeder(struct http_rig *h)
{
    return (struct feed){h, http_rig_feed_start, http_rig_feed_take, http_rig_feed_text};
}

#endif
