/* websocket_close: see websocket_internal.h. */
#include "base/mem.h"
#include "http/http_octets.h"
#include "transports/websocket_internal.h"

/* Exists only while the closing handshake runs, so that an open WebSocket does not pay for it. */
struct closing {
    struct websocket *ws;
    struct timer timer;
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
    struct closing *closing = MEM_NEW(struct closing);
    if (closing == NULL) {
        ws->kit->counters.out_of_memory++;
        websocket_end_stream(ws);
        return;
    }
    closing->ws = ws;
    ws->closing = closing;
    ws->state = WEBSOCKET_CLOSING;
    timer_init(&closing->timer, on_close_timeout);
    timer_arm(&ws->kit->timers, &closing->timer, ws->kit->now_ms + WEBSOCKET_CLOSE_TIMEOUT_MS);
}

void websocket_finish(struct carrier *carrier, enum finish_why why, unsigned code,
                      struct span reason)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->state == WEBSOCKET_OPENING) {
        websocket_refuse(ws, code, reason);
        return;
    }
    if (ws->state != WEBSOCKET_OPEN) {
        return;
    }
    if (why != FINISH_BYE || !ws_close_code_is_valid(code)) {
        code = code == 1006 ? WS_CLOSE_GOING_AWAY : WS_CLOSE_NORMAL;
    }
    start_closing(ws, code, reason);
}

void websocket_fail(struct websocket *ws, unsigned code, const char *why)
{
    close_with(ws, code, span_str(why));
    websocket_tell_session(ws, DETACH_BYE, code, span_str(why));
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
