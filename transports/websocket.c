/*
 * websocket: see websocket.h. The engine takes octets in and gives octets out (wire/ws_frame); here
 * the events become messages of the session. A message that arrives in one piece is passed on from
 * the receive buffer; only a split one is gathered, in a buffer that grows with what came, and has
 * a deadline.
 */
#include "transports/websocket.h"

#include "base/kit.h"
#include "base/mem.h"
#include "core/session.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "wire/ws_frame.h"
#include "wire/ws_handshake.h"

struct websocket {
    struct carrier base;
    struct http_octets *octets; /* NULL once closed */
    struct kit *kit;
    const struct transport_opts *opts;
    struct ws_parser parser;
    struct turn_task reap;
    struct partial *partial; /* of what the peer has begun and not finished; else NULL */
    struct closing *closing; /* our Close is out and the peer's is awaited; else NULL */
    uint32_t pong_bytes;     /* of the unsent output, at most so much is pongs */
    bool is_paused;
};

/* Exists only while the closing handshake runs, so that an open WebSocket does not pay for it. */
struct closing {
    struct websocket *ws;
    struct timer timer;
};

/* A message, or the head of a frame, of which a part has come. Exists only then: an idle WebSocket
 * does not pay for it, and a message in one piece starts no timer. */
struct partial {
    struct websocket *ws;
    struct timer timer;
    uint64_t start_ms;  /* when its first byte came, later by the time that we did not read */
    uint64_t paused_ms; /* while we do not read: since when */
    struct buf message; /* the payload so far */
};

static struct websocket *websocket_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct websocket, base);
}

static void drop_partial(struct websocket *ws)
{
    if (ws->partial != NULL) {
        timer_cancel(&ws->kit->timers, &ws->partial->timer);
        buf_fini(&ws->partial->message);
        mem_free(ws->partial);
        ws->partial = NULL;
    }
}

static void reap(struct turn_task *task)
{
    struct websocket *ws = CONTAINER_OF(task, struct websocket, reap);
    drop_partial(ws);
    mem_free(ws);
}

/* The deadline of what is unfinished is over; its bytes may be in use up the stack. */
static void stop_partial(struct websocket *ws)
{
    if (ws->partial != NULL) {
        timer_cancel(&ws->kit->timers, &ws->partial->timer);
    }
}

/* The stream is closed or gone: memory goes at the turn's end. */
static void release(struct websocket *ws)
{
    stop_partial(ws);
    if (ws->closing != NULL) {
        timer_cancel(&ws->kit->timers, &ws->closing->timer);
        mem_free(ws->closing);
        ws->closing = NULL;
    }
    ws->octets = NULL;
    turn_schedule(&ws->kit->turn, TURN_REAP, &ws->reap, reap);
}

static void tell_session(struct websocket *ws, enum detach_why why, unsigned code,
                         struct span reason)
{
    struct session *session = ws->base.session;
    ws->base.session = NULL;
    if (session != NULL) {
        session_detach(session, why, code, reason);
    }
}

/* -- out -------------------------------------------------------------------------------------- */

static bool put_frame(struct websocket *ws, enum ws_opcode opcode, struct span payload)
{
    struct buf *out = http_octets_out(ws->octets);
    char *to = buf_reserve(out, WS_MAX_HEAD_BYTES + payload.len);
    if (UNLIKELY(to == NULL)) {
        ws->kit->counters.out_of_memory++;
        return false;
    }
    size_t n = ws_put_head(to, opcode, 0, payload.len);
    if (payload.len != 0) {
        memcpy(to + n, payload.ptr, payload.len);
    }
    buf_commit(out, n + payload.len);
    http_octets_wrote(ws->octets);
    return true;
}

static void lose(struct websocket *ws, struct span reason)
{
    http_octets_abort(ws->octets);
    release(ws);
    tell_session(ws, DETACH_LOST, 0, reason);
}

static void write_frame(struct carrier *carrier, const struct frame *frame)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets != NULL && !put_frame(ws, frame->is_text ? WS_TEXT : WS_BINARY, frame->bytes)) {
        lose(ws, SPAN_LIT("Out of memory"));
    }
}

static size_t room(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    return ws->octets != NULL ? http_octets_room(ws->octets) : 0;
}

static void ping(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets != NULL && !put_frame(ws, WS_PING, SPAN_NONE)) {
        lose(ws, SPAN_LIT("Out of memory"));
    }
}

/* Until when what has begun must be whole: heads of frames earn no time, only payload does. */
static uint64_t partial_due_ms(const struct websocket *ws)
{
    uint64_t earned_ms =
        (ws->parser.message_bytes - ws->parser.left) * 1000 / ws->opts->min_rate_bytes_per_s;
    return ws->partial->start_ms + ws->opts->message_timeout_ms + earned_ms;
}

static void arm_partial(struct websocket *ws)
{
    timer_arm(&ws->kit->timers, &ws->partial->timer, partial_due_ms(ws));
}

/* The peer's deadline stands still while we are the ones not reading. */
static void pause_partial(struct websocket *ws, bool is_paused)
{
    struct partial *partial = ws->partial;
    if (is_paused) {
        partial->paused_ms = ws->kit->now_ms;
        stop_partial(ws);
    } else {
        partial->start_ms += ws->kit->now_ms - partial->paused_ms;
        arm_partial(ws);
    }
}

static void pause_carrier(struct carrier *carrier, bool is_paused)
{
    struct websocket *ws = websocket_of(carrier);
    bool was_paused = ws->is_paused;
    ws->is_paused = is_paused;
    if (ws->octets == NULL) {
        return;
    }
    if (ws->partial != NULL && was_paused != is_paused) {
        pause_partial(ws, is_paused);
    }
    if (is_paused) {
        http_octets_pause(ws->octets);
    } else {
        http_octets_resume(ws->octets);
    }
}

/* FIN and a bounded drain, so that what was sent is not destroyed by a reset. */
static void end_stream(struct websocket *ws)
{
    http_octets_close(ws->octets);
    release(ws);
}

static void put_close(struct websocket *ws, unsigned code, struct span reason)
{
    char payload[WS_MAX_CONTROL_PAYLOAD];
    size_t n = ws_put_close(payload, (uint16_t)code, reason);
    (void)put_frame(ws, WS_CLOSE, span_of(payload, n));
}

/* The last word: the peer's Close has come, or what it sends cannot be read any further. */
static void close_with(struct websocket *ws, unsigned code, struct span reason)
{
    put_close(ws, code, reason);
    end_stream(ws);
}

static void on_close_timeout(struct timer *timer)
{
    end_stream(CONTAINER_OF(timer, struct closing, timer)->ws);
}

/* The closing handshake from our side (RFC 6455 7.1.2): the FIN waits for the peer's Close. Firefox
 * drops frames that it has not yet handed to the page when the FIN comes right behind them. */
static void start_closing(struct websocket *ws, unsigned code, struct span reason)
{
    put_close(ws, code, reason);
    pause_carrier(&ws->base, false); /* a paused one must still read the peer's Close */
    stop_partial(ws);
    ws->closing = MEM_NEW(struct closing);
    if (ws->closing == NULL) {
        end_stream(ws);
        return;
    }
    ws->closing->ws = ws;
    timer_init(&ws->closing->timer, on_close_timeout);
    timer_arm(&ws->kit->timers, &ws->closing->timer, ws->kit->now_ms + WEBSOCKET_CLOSE_TIMEOUT_MS);
}

static void finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets == NULL || ws->closing != NULL) {
        return;
    }
    if (why != FINISH_BYE || !ws_close_code_is_valid(code)) {
        code = code == 1006 ? WS_CLOSE_GOING_AWAY : WS_CLOSE_NORMAL;
    }
    start_closing(ws, code, reason);
}

static void abort_carrier(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets != NULL) {
        http_octets_abort(ws->octets);
        release(ws);
    }
}

/* -- in --------------------------------------------------------------------------------------- */

/* A defect of the peer: tell it, then the session. */
static void fail(struct websocket *ws, unsigned code, const char *why)
{
    close_with(ws, code, span_str(why));
    tell_session(ws, DETACH_BYE, code, span_str(why));
}

static void receive(struct websocket *ws, struct span payload, bool is_text)
{
    const char *why = NULL;
    if (ws->base.session == NULL) {
        return;
    }
    enum err e = session_receive(ws->base.session, payload, is_text, &why);
    if (UNLIKELY(e != ERR_OK && e != ERR_GONE && ws->octets != NULL)) {
        if (e == ERR_NOMEM || why == NULL) {
            fail(ws, WS_CLOSE_INTERNAL, "Out of memory");
        } else {
            fail(ws, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INVALID_DATA, why);
        }
    }
}

static void on_partial_timeout(struct timer *timer)
{
    struct websocket *ws = CONTAINER_OF(timer, struct partial, timer)->ws;
    if (ws->kit->now_ms < partial_due_ms(ws)) {
        arm_partial(ws); /* what came meanwhile has earned it more */
    } else {
        fail(ws, WS_CLOSE_POLICY, "Message came too slowly");
    }
}

/* The one that is there or a new one, which begins now. NULL: out of memory. */
static struct partial *need_partial(struct websocket *ws)
{
    if (ws->partial == NULL) {
        ws->partial = MEM_NEW(struct partial);
        if (ws->partial == NULL) {
            ws->kit->counters.out_of_memory++;
            return NULL;
        }
        ws->partial->ws = ws;
        ws->partial->start_ms = ws->kit->now_ms;
        ws->partial->paused_ms = ws->kit->now_ms;
        timer_init(&ws->partial->timer, on_partial_timeout);
        buf_init(&ws->partial->message, ws->opts->max_message_bytes);
    }
    return ws->partial;
}

/* After a read: something is unfinished, or was before. `is_new`: something else than before. No
 * later byte moves the deadline, nor does a control frame inside of a message. */
static void note_partial(struct websocket *ws, bool is_partial, bool is_new)
{
    if (!is_partial || ws->closing != NULL) {
        drop_partial(ws);
        return;
    }
    struct partial *partial = need_partial(ws);
    if (partial == NULL) {
        fail(ws, WS_CLOSE_INTERNAL, "Out of memory");
        return;
    }
    if (is_new) {
        partial->start_ms = ws->kit->now_ms;
    }
    if (!ws->is_paused && (is_new || !timer_is_armed(&partial->timer))) {
        arm_partial(ws);
    }
}

static void take_data(struct websocket *ws, const struct ws_event *event)
{
    if (ws->closing != NULL) {
        return; /* sent before the peer saw our Close: nobody is there to take it */
    }
    bool is_text = event->opcode == WS_TEXT;
    if (LIKELY(event->is_first && event->is_last)) {
        receive(ws, event->payload, is_text);
        return;
    }
    struct partial *partial = need_partial(ws);
    enum err e = partial != NULL ? buf_append_span(&partial->message, event->payload) : ERR_NOMEM;
    if (e != ERR_OK) {
        fail(ws, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INTERNAL, err_text(e));
        return;
    }
    if (event->is_last) {
        receive(ws, buf_span(&partial->message), is_text);
        buf_fini(&partial->message);
    } else if (ws->base.session != NULL) {
        session_alive(ws->base.session); /* inside of a frame it cannot answer a ping */
    }
}

/* Pongs are counted apart: a client that reads slowly what we send it still gets its answer, while
 * one that pings and does not read at all fills no more than the bound. */
static void answer_ping(struct websocket *ws, struct span payload)
{
    size_t queued = buf_len(http_octets_out(ws->octets));
    if (ws->pong_bytes > queued) {
        ws->pong_bytes = (uint32_t)queued;
    }
    if (ws->closing != NULL || ws->pong_bytes >= WEBSOCKET_MAX_PONG_BYTES) {
        return;
    }
    if (!put_frame(ws, WS_PONG, payload)) {
        lose(ws, SPAN_LIT("Out of memory"));
        return;
    }
    ws->pong_bytes += (uint32_t)(buf_len(http_octets_out(ws->octets)) - queued);
}

static void take_control(struct websocket *ws, const struct ws_event *event)
{
    switch ((unsigned)event->opcode) {
    case WS_PING:
        answer_ping(ws, event->payload);
        break;
    case WS_PONG:
        if (ws->base.session != NULL) {
            session_alive(ws->base.session);
        }
        break;
    default: /* the peer's Close: the answer to ours, or its code goes back to it */
        if (ws->closing != NULL) {
            end_stream(ws);
            break;
        }
        close_with(ws, event->close_code, SPAN_NONE);
        tell_session(ws, DETACH_BYE, event->close_code, event->close_reason);
        break;
    }
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct websocket *ws = owner;
    const struct ws_limits limits = {.max_message_bytes = ws->opts->max_message_bytes,
                                     .max_fragments = ws->opts->max_fragments};
    size_t used = 0;
    bool has_ended = false; /* something: what is unfinished now began after it */
    while (ws->octets != NULL && !ws->is_paused) {
        struct ws_event event;
        struct ws_fault fault;
        size_t n = 0;
        enum err e = ws_parse(&ws->parser, &limits, bytes + used, len - used, &n, &event, &fault);
        if (UNLIKELY(e != ERR_OK)) {
            if (ws->closing != NULL) {
                end_stream(ws);
            } else {
                fail(ws, fault.close_code, fault.why);
            }
            return len;
        }
        used += n;
        if (event.type == WS_EVENT_DATA) {
            has_ended = has_ended || event.is_last;
            take_data(ws, &event);
        } else if (event.type == WS_EVENT_CONTROL) {
            has_ended = has_ended || ws->parser.opcode == 0;
            take_control(ws, &event);
        } else {
            break;
        }
    }
    if (ws->octets == NULL) {
        return len;
    }
    bool is_partial = ws->parser.opcode != 0 || used < len;
    if (UNLIKELY(is_partial || ws->partial != NULL)) {
        note_partial(ws, is_partial, has_ended);
    }
    return ws->octets != NULL ? used : len;
}

static void on_eof(void *owner)
{
    struct websocket *ws = owner;
    http_octets_close(ws->octets);
    release(ws);
    tell_session(ws, DETACH_LOST, 0, SPAN_LIT("Connection ended without a Close frame"));
}

static void on_drained(void *owner)
{
    struct websocket *ws = owner;
    if (ws->base.session != NULL) {
        session_flushed(ws->base.session);
    }
}

static void on_gone(void *owner, enum err why)
{
    struct websocket *ws = owner;
    release(ws);
    tell_session(ws, DETACH_LOST, 0,
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

static enum err check(struct http_req *req, const struct transport_opts *opts)
{
    (void)opts;
    struct ws_handshake handshake;
    unsigned status = 0;
    const char *why = NULL;
    enum err e = ws_handshake_check(req->head, &handshake, &status, &why);
    if (e == ERR_OK) {
        return ERR_OK;
    }
    http_resp_start(req->resp, status);
    if (status == 426) {
        http_resp_fields(req->resp,
                         SPAN_LIT("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"));
    }
    http_resp_fields(req->resp, SPAN_LIT("Content-Type: text/plain; charset=UTF-8\r\n"));
    http_resp_finish(req->resp, span_str(why));
    return e;
}

static enum err open_carrier(struct http_req *req, const struct transport_opts *opts,
                             struct session *session)
{
    struct ws_handshake handshake;
    unsigned status = 0;
    const char *why = NULL;
    enum err e = ws_handshake_check(req->head, &handshake, &status, &why);
    ASSERT(e == ERR_OK); /* check() has passed */
    struct websocket *ws = MEM_NEW(struct websocket);
    if (ws == NULL) {
        session->kit->counters.out_of_memory++;
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return ERR_NOMEM;
    }
    ws->base = (struct carrier){&websocket_transport, session};
    ws->kit = session->kit;
    ws->opts = opts;
    http_resp_start(req->resp, 101);
    http_resp_fields(req->resp, SPAN_LIT("Upgrade: websocket\r\nConnection: Upgrade\r\n"));
    http_resp_field(req->resp, SPAN_LIT("Sec-WebSocket-Accept"),
                    span_of(handshake.accept, WS_ACCEPT_CHARS));
    ws->octets = http_resp_upgrade(req->resp);
    http_octets_set_owner(ws->octets, &stream_ops, ws);
    ws->kit->counters.websocket_upgrades++;
    session_attach(session, &ws->base);
    return ERR_OK;
}

const struct transport_ops websocket_transport = {
    .name = "websocket",
    .behaviour = TRANSPORT_DUPLEX,
    .caps = CAP_MANY_FRAMES | CAP_BINARY | CAP_CLOSE_CODE | CAP_SELF_PING,
    .check = check,
    .open = open_carrier,
    .write = write_frame,
    .room = room,
    .ping = ping,
    .pause = pause_carrier,
    .finish = finish,
    .abort = abort_carrier,
};
