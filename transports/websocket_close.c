/* websocket_close: see websocket_internal.h. */
#include "base/mem.h"
#include "http/http_octets.h"
#include "transports/websocket_internal.h"

/* Exists only while an end is on its way, so that an open WebSocket does not pay for it. */
struct closing {
    struct websocket *ws;
    struct timer timer;
    uint64_t due_ms; /* HALF_CLOSED: the latest end */
    const char *why; /* FAILING: for the Close, a constant */
    unsigned code;   /* likewise */
};

void websocket_drop_closing(struct websocket *ws)
{
    timer_cancel(&ws->kit->timers, &ws->closing->timer);
    mem_free(ws->closing);
    ws->closing = NULL;
}

void websocket_end_stream(struct websocket *ws)
{
    http_octets_close(ws->octets);
    websocket_release(ws);
}

static void put_close(struct websocket *ws, unsigned code, struct span reason)
{
    char payload[WS_MAX_CONTROL_PAYLOAD];
    size_t n = ws_put_close(payload, (uint16_t)code, reason);
    (void)websocket_put_frame(ws, WS_CLOSE, span_of(payload, n));
}

/* The last word: the peer's Close has come, or what it sends cannot be read any further. */
static void close_with(struct websocket *ws, unsigned code, struct span reason)
{
    put_close(ws, code, reason);
    websocket_end_stream(ws);
}

/* Enters CLOSING, HALF_CLOSED or FAILING. False: out of memory. */
static bool start_end(struct websocket *ws, enum websocket_state to,
                      void (*on_timeout)(struct timer *timer), uint32_t timeout_ms)
{
    struct closing *closing = MEM_NEW(struct closing);
    if (closing == NULL) {
        ws->kit->counters.out_of_memory++;
        return false;
    }
    websocket_move(ws, to);
    closing->ws = ws;
    ws->closing = closing;
    timer_init(&closing->timer, on_timeout);
    timer_arm(&ws->kit->timers, &closing->timer, ws->kit->now_ms + timeout_ms);
    return true;
}

static void on_close_timeout(struct timer *timer)
{
    websocket_end_stream(CONTAINER_OF(timer, struct closing, timer)->ws);
}

/* The closing handshake from our side (RFC 6455 7.1.2): the FIN waits for the peer's Close. Firefox
 * drops frames that it has not yet handed to the page when the FIN comes right behind them. */
static void start_closing(struct websocket *ws, unsigned code, struct span reason)
{
    put_close(ws, code, reason);
    websocket_pause(&ws->base, false); /* a paused one must still read the peer's Close */
    websocket_stop_partial(ws);
    if (!start_end(ws, WEBSOCKET_CLOSING, on_close_timeout, WEBSOCKET_CLOSE_TIMEOUT_MS)) {
        websocket_end_stream(ws);
    }
}

void websocket_finish(struct carrier *carrier, enum finish_why why, unsigned code,
                      struct span reason)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->state == WEBSOCKET_OPENING) {
        websocket_refuse(ws, code, reason);
        return;
    }
    if (why != FINISH_BYE || !ws_close_code_is_valid(code)) {
        code = code == 1006 ? WS_CLOSE_GOING_AWAY : WS_CLOSE_NORMAL;
    }
    if (ws->state == WEBSOCKET_OPEN) {
        start_closing(ws, code, reason);
    } else if (ws->state == WEBSOCKET_HALF_CLOSED) {
        close_with(ws, code, reason); /* no Close can come back */
    } else if (ws->state == WEBSOCKET_FAILING) {
        close_with(ws, ws->closing->code, span_str(ws->closing->why));
    }
}

/* -- a defect of the peer --------------------------------------------------------------------- */

static void end_failing(struct websocket *ws, unsigned code, const char *why)
{
    close_with(ws, code, span_str(why));
    websocket_tell_session(ws, DETACH_BYE, code, span_str(why));
}

static void on_fail_timeout(struct timer *timer)
{
    const struct closing *closing = CONTAINER_OF(timer, struct closing, timer);
    end_failing(closing->ws, closing->code, closing->why);
}

void websocket_settled(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->state == WEBSOCKET_FAILING) {
        end_failing(ws, ws->closing->code, ws->closing->why);
    }
}

void websocket_fail(struct websocket *ws, unsigned code, const char *why)
{
    struct session *session = ws->base.session;
    bool has_answers = ws->state == WEBSOCKET_OPEN && session != NULL && !session_settle(session);
    if (!has_answers || !start_end(ws, WEBSOCKET_FAILING, on_fail_timeout, WEBSOCKET_FAIL_MAX_MS)) {
        end_failing(ws, code, why);
        return;
    }
    websocket_stop_partial(ws);
    ws->closing->code = code;
    ws->closing->why = why;
}

void websocket_lose(struct websocket *ws, struct span reason)
{
    http_octets_abort(ws->octets);
    websocket_release(ws);
    websocket_tell_session(ws, DETACH_LOST, 0, reason);
}

void websocket_take_close(struct websocket *ws, const struct ws_event *event)
{
    if (ws->state == WEBSOCKET_CLOSING) {
        websocket_end_stream(ws); /* the answer to ours */
        return;
    }
    close_with(ws, event->close_code, SPAN_NONE); /* its code goes back to it */
    websocket_tell_session(ws, DETACH_BYE, event->close_code, event->close_reason);
}

/* -- a FIN without a Close -------------------------------------------------------------------- */

static const char eof_reason[] = "Connection ended without a Close frame";

static void end_half_closed(struct websocket *ws)
{
    close_with(ws, WS_CLOSE_PROTOCOL_ERROR, span_str(eof_reason));
    websocket_tell_session(ws, DETACH_LOST, 0, span_str(eof_reason));
}

static void arm_half_closed(struct websocket *ws)
{
    uint64_t quiet_ms = ws->kit->now_ms + WEBSOCKET_EOF_QUIET_MS;
    uint64_t due_ms = ws->closing->due_ms;
    timer_arm(&ws->kit->timers, &ws->closing->timer, quiet_ms < due_ms ? quiet_ms : due_ms);
}

static void on_half_closed_timeout(struct timer *timer)
{
    struct closing *closing = CONTAINER_OF(timer, struct closing, timer);
    struct websocket *ws = closing->ws;
    if (ws->kit->now_ms < closing->due_ms && !http_octets_is_drained(ws->octets)) {
        arm_half_closed(ws); /* it reads slowly, and what is queued behind that is its own too */
    } else {
        end_half_closed(ws);
    }
}

void websocket_stretch_half_close(struct websocket *ws)
{
    arm_half_closed(ws);
}

void websocket_take_eof(struct websocket *ws)
{
    if (ws->state == WEBSOCKET_CLOSING) {
        websocket_end_stream(ws);
        return;
    }
    if (ws->state == WEBSOCKET_FAILING) {
        return; /* it may still read */
    }
    websocket_send_late_pong(ws);
    if (ws->state == WEBSOCKET_OVER) {
        return; /* no memory for that */
    }
    websocket_drop_partial(ws); /* it will never be whole */
    if (!start_end(ws, WEBSOCKET_HALF_CLOSED, on_half_closed_timeout, WEBSOCKET_EOF_QUIET_MS)) {
        end_half_closed(ws);
        return;
    }
    ws->closing->due_ms = ws->kit->now_ms + WEBSOCKET_EOF_MAX_MS;
    /* Who has closed its socket altogether answers this by a reset: then nobody reads any more, and
     * the session need not wait to hear so. */
    if (!websocket_put_frame(ws, WS_PING, SPAN_NONE)) {
        websocket_lose(ws, SPAN_LIT("Out of memory"));
    }
}
