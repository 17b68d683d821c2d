/* hixie76: see hixie76.h. Opening and the way out come first, then the ends, then the way in. */
#include "transports/hixie76.h"

#include "base/kit.h"
#include "base/mem.h"
#include "core/session.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/websocket.h"
#include "wire/hixie76.h"

enum hixie76_state {
    AWAITS_NONCE, /* the 101 is out */
    OPEN,
    CLOSING, /* our closing frame is out and the peer's is awaited */
};

struct hixie76 {
    struct carrier base;
    struct http_octets *octets; /* NULL once closed */
    struct kit *kit;
    const struct transport_opts *opts;
    struct hixie76_keys keys;
    struct hixie76_parser parser;
    struct turn_task reap;
    struct timer timer; /* the deadline of the nonce, a message or the peer's closing frame */
    uint64_t start_ms;  /* of the message: its first byte, later by the time that we did not read */
    uint64_t paused_ms; /* while we do not read: since when */
    struct buf held;    /* AWAITS_NONCE: frames to go out behind our answer */
    struct buf message; /* a message so far, when it comes in pieces */
    uint8_t state;      /* enum hixie76_state */
    bool is_finished;   /* AWAITS_NONCE: a closing frame goes out behind what is held */
    bool is_paused;
    bool has_partial; /* a frame has begun: its deadline runs, unless paused */
};

static struct hixie76 *hixie76_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct hixie76, base);
}

/* -- ends ------------------------------------------------------------------------------------- */

static void reap(struct turn_task *task)
{
    struct hixie76 *h = CONTAINER_OF(task, struct hixie76, reap);
    buf_fini(&h->held);
    buf_fini(&h->message);
    mem_free(h);
}

/* The stream is closed or gone: memory goes at the turn's end. */
static void release(struct hixie76 *h)
{
    timer_cancel(&h->kit->timers, &h->timer);
    h->octets = NULL;
    turn_schedule(&h->kit->turn, TURN_REAP, &h->reap, reap);
}

static void tell_session(struct hixie76 *h, enum detach_why why, unsigned code, struct span reason)
{
    struct session *session = h->base.session;
    h->base.session = NULL;
    if (session != NULL) {
        session_detach(session, why, code, reason);
    }
}

/* FIN and a bounded drain, so that what was sent is not destroyed by a reset. */
static void end_stream(struct hixie76 *h)
{
    http_octets_close(h->octets);
    release(h);
}

static void lose(struct hixie76 *h, struct span reason)
{
    http_octets_abort(h->octets);
    release(h);
    tell_session(h, DETACH_LOST, 0, reason);
}

static void abort_carrier(struct carrier *carrier)
{
    struct hixie76 *h = hixie76_of(carrier);
    if (h->octets != NULL) {
        http_octets_abort(h->octets);
        release(h);
    }
}

/* -- out -------------------------------------------------------------------------------------- */

/* False: no memory, which is counted; nothing was put. */
static bool put(struct hixie76 *h, struct span bytes)
{
    if (buf_append_span(http_octets_out(h->octets), bytes) != ERR_OK) {
        h->kit->counters.out_of_memory++;
        return false;
    }
    http_octets_wrote(h->octets);
    return true;
}

static bool put_text(struct hixie76 *h, struct span text)
{
    struct buf *out = h->state == AWAITS_NONCE ? &h->held : http_octets_out(h->octets);
    char *to = buf_reserve(out, text.len + HIXIE76_FRAME_BYTES);
    if (UNLIKELY(to == NULL)) {
        h->kit->counters.out_of_memory++;
        return false;
    }
    to[0] = HIXIE76_TEXT_BEGIN;
    if (text.len != 0) {
        memcpy(to + 1, text.ptr, text.len);
    }
    to[1 + text.len] = HIXIE76_TEXT_END;
    buf_commit(out, text.len + HIXIE76_FRAME_BYTES);
    if (h->state != AWAITS_NONCE) {
        http_octets_wrote(h->octets);
    }
    return true;
}

static void write_frame(struct carrier *carrier, const struct frame *frame)
{
    struct hixie76 *h = hixie76_of(carrier);
    ASSERT(frame->is_text); /* there is no CAP_BINARY */
    if (h->octets != NULL && !put_text(h, frame->bytes)) {
        lose(h, SPAN_LIT("Out of memory"));
    }
}

static size_t room(struct carrier *carrier)
{
    struct hixie76 *h = hixie76_of(carrier);
    return h->octets != NULL && h->state != AWAITS_NONCE ? http_octets_room(h->octets) : 0;
}

/* The closing handshake from our side (section 5.3): the FIN waits for the peer's closing frame. */
static void start_closing(struct hixie76 *h)
{
    (void)put(h, HIXIE76_CLOSE);
    h->state = CLOSING;
    h->is_paused = false;
    h->has_partial = false;
    http_octets_resume(h->octets); /* a paused one must still read the peer's */
    timer_arm(&h->kit->timers, &h->timer, h->kit->now_ms + WEBSOCKET_CLOSE_TIMEOUT_MS);
}

static void finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason)
{
    struct hixie76 *h = hixie76_of(carrier);
    (void)why;
    (void)code;
    (void)reason;
    if (h->octets == NULL || h->state == CLOSING) {
        return;
    }
    if (h->state == AWAITS_NONCE) {
        h->is_finished = true;
    } else {
        start_closing(h);
    }
}

/* A defect of the peer: the closing frame, FIN, and the session hears the code. */
static void fail(struct hixie76 *h, unsigned code, const char *why)
{
    (void)put(h, HIXIE76_CLOSE);
    end_stream(h);
    tell_session(h, DETACH_BYE, code, span_str(why));
}

/* -- deadlines -------------------------------------------------------------------------------- */

/* Until when the message that has begun must be whole. */
static uint64_t message_due_ms(const struct hixie76 *h)
{
    uint64_t earned_ms = h->parser.message_bytes * 1000 / h->opts->min_rate_bytes_per_s;
    return h->start_ms + h->opts->message_timeout_ms + earned_ms;
}

static void on_timer(struct timer *timer)
{
    struct hixie76 *h = CONTAINER_OF(timer, struct hixie76, timer);
    switch ((enum hixie76_state)h->state) {
    case AWAITS_NONCE:
        end_stream(h);
        tell_session(h, DETACH_LOST, 0, SPAN_LIT("No nonce came"));
        break;
    case OPEN:
        if (h->kit->now_ms < message_due_ms(h)) {
            timer_arm(&h->kit->timers, &h->timer, message_due_ms(h));
        } else {
            fail(h, WS_CLOSE_POLICY, "Message came too slowly");
        }
        break;
    case CLOSING:
        end_stream(h);
        break;
    }
}

/* After a read; `is_new`: what is unfinished now began in it. No later byte moves the deadline. */
static void note_partial(struct hixie76 *h, bool is_new)
{
    bool had_partial = h->has_partial;
    h->has_partial = hixie76_is_in_frame(&h->parser);
    if (!h->has_partial) {
        timer_cancel(&h->kit->timers, &h->timer);
        return;
    }
    if (is_new || !had_partial) {
        h->start_ms = h->kit->now_ms;
        h->paused_ms = h->kit->now_ms;
        if (!h->is_paused) {
            timer_arm(&h->kit->timers, &h->timer, message_due_ms(h));
        }
    }
}

/* The peer's deadline stands still while we are the ones not reading; the nonce is read always. */
static void pause_carrier(struct carrier *carrier, bool is_paused)
{
    struct hixie76 *h = hixie76_of(carrier);
    bool was_paused = h->is_paused;
    h->is_paused = is_paused;
    if (h->octets == NULL || h->state == AWAITS_NONCE || was_paused == is_paused) {
        return;
    }
    if (is_paused) {
        h->paused_ms = h->kit->now_ms;
        timer_cancel(&h->kit->timers, &h->timer);
        http_octets_pause(h->octets);
        return;
    }
    if (h->has_partial) {
        h->start_ms += h->kit->now_ms - h->paused_ms;
        timer_arm(&h->kit->timers, &h->timer, message_due_ms(h));
    }
    http_octets_resume(h->octets);
}

/* -- in --------------------------------------------------------------------------------------- */

static void take_nonce(struct hixie76 *h, const char *nonce)
{
    char answer[HIXIE76_ANSWER_BYTES];
    hixie76_answer(&h->keys, nonce, answer);
    timer_cancel(&h->kit->timers, &h->timer);
    if (!put(h, span_of(answer, sizeof answer)) || !put(h, buf_span(&h->held))) {
        lose(h, SPAN_LIT("Out of memory"));
        return;
    }
    buf_fini(&h->held);
    h->state = OPEN;
    if (h->is_finished) {
        start_closing(h);
        return;
    }
    if (h->is_paused) {
        http_octets_pause(h->octets);
    }
    if (h->base.session != NULL) {
        session_flushed(h->base.session);
    }
}

static void receive(struct hixie76 *h, struct span text)
{
    const char *why = NULL;
    if (h->base.session == NULL) {
        return;
    }
    enum err e = session_receive(h->base.session, text, true, &why);
    if (UNLIKELY(e != ERR_OK && e != ERR_GONE && h->octets != NULL)) {
        if (e == ERR_NOMEM || why == NULL) {
            fail(h, WS_CLOSE_INTERNAL, "Out of memory");
        } else {
            fail(h, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INVALID_DATA, why);
        }
    }
}

static void take_text(struct hixie76 *h, const struct hixie76_event *event)
{
    if (h->state == CLOSING) {
        return; /* sent before the peer saw our closing frame: nobody is there to take it */
    }
    if (LIKELY(event->is_first && event->is_last)) {
        receive(h, event->payload);
        return;
    }
    enum err e = buf_append_span(&h->message, event->payload);
    if (e != ERR_OK) {
        h->kit->counters.out_of_memory++; /* the parser has seen to the limit */
        fail(h, WS_CLOSE_INTERNAL, "Out of memory");
        return;
    }
    if (event->is_last) {
        receive(h, buf_span(&h->message));
        buf_fini(&h->message);
    }
}

static void take_close(struct hixie76 *h)
{
    if (h->state != CLOSING) {
        (void)put(h, HIXIE76_CLOSE);
    }
    end_stream(h);
    tell_session(h, DETACH_BYE, WS_CLOSE_NO_STATUS, SPAN_NONE);
}

/* Reads frames while it may. Returns how many bytes it used. */
static size_t take_frames(struct hixie76 *h, struct span in)
{
    size_t used = 0;
    bool has_ended = false; /* a message: what is unfinished now began after it */
    while (h->octets != NULL && !h->is_paused) {
        struct hixie76_event event;
        struct ws_fault fault;
        size_t n = 0;
        if (hixie76_parse(&h->parser, h->opts->max_message_bytes, span_skip(in, used), &n, &event,
                          &fault) != ERR_OK) {
            if (h->state == CLOSING) {
                end_stream(h);
            } else {
                fail(h, fault.close_code, fault.why);
            }
            break;
        }
        used += n;
        if (event.type == HIXIE76_EVENT_TEXT) {
            has_ended = has_ended || event.is_last;
            take_text(h, &event);
        } else if (event.type == HIXIE76_EVENT_CLOSE) {
            take_close(h);
        } else {
            break;
        }
    }
    if (h->octets != NULL && h->state == OPEN) {
        note_partial(h, has_ended);
    }
    return used;
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct hixie76 *h = owner;
    size_t used = 0;
    if (h->state == AWAITS_NONCE) {
        if (len < HIXIE76_NONCE_BYTES) {
            return 0;
        }
        take_nonce(h, bytes);
        used = HIXIE76_NONCE_BYTES;
    }
    used += take_frames(h, span_of(bytes + used, len - used));
    return h->octets != NULL ? used : len;
}

static void on_eof(void *owner)
{
    struct hixie76 *h = owner;
    end_stream(h);
    tell_session(h, DETACH_LOST, 0, SPAN_LIT("Connection ended without a closing frame"));
}

static void on_drained(void *owner)
{
    struct hixie76 *h = owner;
    if (h->base.session != NULL) {
        session_flushed(h->base.session);
    }
}

static void on_gone(void *owner, enum err why)
{
    struct hixie76 *h = owner;
    release(h);
    tell_session(h, DETACH_LOST, 0,
                 why == ERR_TIMEOUT ? SPAN_LIT("Client did not read")
                                    : SPAN_LIT("Connection lost"));
}

static const struct octets_ops stream_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

/* -- opening ---------------------------------------------------------------------------------- */

bool hixie76_is_wanted(const struct http_req *req, const struct transport_opts *opts)
{
    return opts->hixie76 && hixie76_is_asked(req->head);
}

static enum err check(struct http_req *req, const struct transport_opts *opts)
{
    (void)opts;
    struct hixie76_handshake handshake;
    const char *why = NULL;
    enum err e = hixie76_check(req->head, &handshake, &why);
    if (e != ERR_OK) {
        http_resp_close_after(req->resp); /* the nonce behind the head is no request */
        http_resp_text(req->resp, 400, span_str(why));
    }
    return e;
}

/* The URL as the client sees it, with which it compares. */
static void put_location(const struct http_req *req)
{
    const struct url_target *target = &req->target;
    bool is_absolute = target->form == URL_ABSOLUTE;
    const struct span pieces[] = {
        SPAN_LIT("Sec-WebSocket-Location: "),
        req->is_tls ? SPAN_LIT("wss://") : SPAN_LIT("ws://"),
        is_absolute ? target->authority : req->head->host,
        target->path,
        target->has_query ? SPAN_LIT("?") : SPAN_NONE,
        target->query,
        SPAN_LIT("\r\n"),
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        http_resp_fields(req->resp, pieces[i]);
    }
}

static struct http_octets *switch_protocols(const struct http_req *req, struct span subprotocol)
{
    struct span origin = http_req_field(req, SPAN_LIT("origin"));
    http_resp_start_switching(req->resp, SPAN_LIT("WebSocket Protocol Handshake"));
    http_resp_fields(req->resp, SPAN_LIT("Upgrade: WebSocket\r\nConnection: Upgrade\r\n"));
    if (origin.ptr != NULL) {
        http_resp_field(req->resp, SPAN_LIT("Sec-WebSocket-Origin"), origin);
    }
    put_location(req);
    if (subprotocol.len != 0) {
        http_resp_field(req->resp, SPAN_LIT("Sec-WebSocket-Protocol"), subprotocol);
    }
    return http_resp_upgrade(req->resp);
}

static enum err open_carrier(struct http_req *req, const struct transport_opts *opts,
                             struct session *session)
{
    struct hixie76 *h = MEM_NEW(struct hixie76);
    if (h == NULL) {
        session->kit->counters.out_of_memory++;
        http_resp_close_after(req->resp);
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return ERR_NOMEM;
    }
    struct hixie76_handshake handshake;
    const char *why = NULL;
    enum err e = hixie76_check(req->head, &handshake, &why);
    ASSERT(e == ERR_OK); /* check() has passed */
    h->base = (struct carrier){&hixie76_transport, session};
    h->kit = session->kit;
    h->opts = opts;
    h->keys = handshake.keys;
    buf_init(&h->held, HIXIE76_MAX_HELD_BYTES);
    buf_init(&h->message, opts->max_message_bytes);
    timer_init(&h->timer, on_timer);
    timer_arm(&h->kit->timers, &h->timer, h->kit->now_ms + opts->message_timeout_ms);
    h->octets = switch_protocols(
        req, ws_subprotocols_choose(&handshake.offers, opts->subprotocols, opts->n_subprotocols));
    http_octets_set_owner(h->octets, &stream_ops, h);
    h->kit->counters.websocket_upgrades++;
    session_attach(session, &h->base);
    return ERR_OK;
}

const struct transport_ops hixie76_transport = {
    .name = "hixie76",
    .behaviour = TRANSPORT_DUPLEX,
    .caps = CAP_MANY_FRAMES,
    .check = check,
    .open = open_carrier,
    .write = write_frame,
    .room = room,
    .pause = pause_carrier,
    .finish = finish,
    .abort = abort_carrier,
};
