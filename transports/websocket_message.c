/*
 * websocket_message: see websocket_internal.h. A message that arrives in one piece is passed on
 * from the receive buffer; only a split one is gathered, in a buffer that grows with what came, and
 * has a deadline. The same holds for what a compressed message inflates to, step by step.
 */
#include "base/mem.h"
#include "transports/websocket_internal.h"

/* A message, or the head of a frame, of which a part has come. Exists only then: an idle WebSocket
 * does not pay for it, and a message in one piece starts no timer. */
struct partial {
    struct websocket *ws;
    struct timer timer;
    uint64_t start_ms;  /* when its first byte came, later by the time that we did not read */
    uint64_t paused_ms; /* while we do not read: since when */
    struct buf message; /* the payload so far */
};

void websocket_drop_partial(struct websocket *ws)
{
    if (ws->partial != NULL) {
        timer_cancel(&ws->kit->timers, &ws->partial->timer);
        buf_fini(&ws->partial->message);
        mem_free(ws->partial);
        ws->partial = NULL;
    }
}

void websocket_stop_partial(struct websocket *ws)
{
    if (ws->partial != NULL) {
        timer_cancel(&ws->kit->timers, &ws->partial->timer);
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

void websocket_pause_partial(struct websocket *ws, bool is_paused)
{
    struct partial *partial = ws->partial;
    if (is_paused) {
        partial->paused_ms = ws->kit->now_ms;
        websocket_stop_partial(ws);
    } else {
        partial->start_ms += ws->kit->now_ms - partial->paused_ms;
        arm_partial(ws);
    }
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
            websocket_fail(ws, WS_CLOSE_INTERNAL, "Out of memory");
        } else {
            websocket_fail(ws, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INVALID_DATA, why);
        }
    }
}

static void on_partial_timeout(struct timer *timer)
{
    struct websocket *ws = CONTAINER_OF(timer, struct partial, timer)->ws;
    if (ws->kit->now_ms < partial_due_ms(ws)) {
        arm_partial(ws); /* what came meanwhile has earned it more */
    } else {
        websocket_fail(ws, WS_CLOSE_POLICY, "Message came too slowly");
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

void websocket_note_partial(struct websocket *ws, bool is_partial, bool is_new)
{
    if (!is_partial || ws->state != WEBSOCKET_OPEN) {
        websocket_drop_partial(ws);
        return;
    }
    struct partial *partial = need_partial(ws);
    if (partial == NULL) {
        websocket_fail(ws, WS_CLOSE_INTERNAL, "Out of memory");
        return;
    }
    if (is_new) {
        partial->start_ms = ws->kit->now_ms;
    }
    if (!ws->is_paused && (is_new || !timer_is_armed(&partial->timer))) {
        arm_partial(ws);
    }
}

/* The next bytes of a message, as its reader gets them; `is_end`: it is whole with them. */
static void take_bytes(struct websocket *ws, struct span bytes, bool is_text, bool is_end)
{
    if (LIKELY(is_end && (ws->partial == NULL || buf_len(&ws->partial->message) == 0))) {
        receive(ws, bytes, is_text);
        return;
    }
    struct partial *partial = need_partial(ws);
    enum err e = partial != NULL ? buf_append_span(&partial->message, bytes) : ERR_NOMEM;
    if (e != ERR_OK) {
        websocket_fail(ws, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INTERNAL, err_text(e));
        return;
    }
    if (is_end) {
        receive(ws, buf_span(&partial->message), is_text);
        buf_fini(&partial->message);
    } else if (ws->base.session != NULL) {
        session_alive(ws->base.session); /* inside of a frame it cannot answer a ping */
    }
}

static void take_compressed(struct websocket *ws, const struct ws_event *event)
{
    struct span in = event->payload;
    enum err e = ERR_AGAIN;
    while (e == ERR_AGAIN && ws->state == WEBSOCKET_OPEN) {
        struct span out;
        e = websocket_inflate(ws, event, &in, &out);
        if (e == ERR_OK || e == ERR_AGAIN) {
            take_bytes(ws, out, event->opcode == WS_TEXT, e == ERR_OK && event->is_last);
        }
    }
}

void websocket_take_data(struct websocket *ws, const struct ws_event *event)
{
    if (ws->state == WEBSOCKET_CLOSING) {
        return; /* sent before the peer saw our Close: nobody is there to take it */
    }
    if (UNLIKELY(event->is_compressed)) {
        take_compressed(ws, event);
    } else {
        take_bytes(ws, event->payload, event->opcode == WS_TEXT, event->is_last);
    }
}
