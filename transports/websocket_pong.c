/*
 * websocket_pong: see websocket_internal.h. RFC 6455 5.5.3 wants a pong for every ping, and allows
 * one for the newest alone where they outrun us. So each is answered while the pongs that wait stay
 * within a bound; beyond it the newest ping is kept, and answered when what waits has left. Pongs
 * are counted apart from messages: a client that reads slowly what we send it still gets its
 * answer, while one that pings and does not read at all fills no more than the bound.
 */
#include "base/mem.h"
#include "http/http_octets.h"
#include "transports/websocket_internal.h"

/* The newest ping that found no room. Exists only then. */
struct late_pong {
    size_t len;
    char payload[WS_MAX_CONTROL_PAYLOAD];
};

void websocket_drop_late_pong(struct websocket *ws)
{
    mem_free(ws->late_pong);
    ws->late_pong = NULL;
}

static bool has_room(struct websocket *ws, size_t len)
{
    size_t queued = buf_len(http_octets_out(ws->octets));
    if (ws->pong_bytes > queued) {
        ws->pong_bytes = (uint32_t)queued;
    }
    return ws->pong_bytes + WS_LEAST_HEAD_BYTES + len <= WEBSOCKET_MAX_PONG_BYTES;
}

static void put_pong(struct websocket *ws, struct span payload)
{
    if (!websocket_put_frame(ws, WS_PONG, payload)) {
        websocket_lose(ws, SPAN_LIT("Out of memory"));
        return;
    }
    ws->pong_bytes += (uint32_t)(WS_LEAST_HEAD_BYTES + payload.len);
}

static void keep_late(struct websocket *ws, struct span payload)
{
    if (ws->late_pong == NULL) {
        ws->late_pong = MEM_NEW(struct late_pong);
    }
    if (ws->late_pong == NULL) {
        ws->kit->counters.out_of_memory++;
        websocket_lose(ws, SPAN_LIT("Out of memory"));
        return;
    }
    ws->late_pong->len = payload.len;
    if (payload.len != 0) {
        memcpy(ws->late_pong->payload, payload.ptr, payload.len);
    }
    (void)http_octets_is_drained(ws->octets); /* websocket_send_late_pong comes when it is */
}

void websocket_answer_ping(struct websocket *ws, struct span payload)
{
    if (ws->state != WEBSOCKET_OPEN) {
        return;
    }
    if (has_room(ws, payload.len)) {
        websocket_drop_late_pong(ws);
        put_pong(ws, payload);
    } else {
        keep_late(ws, payload);
    }
}

void websocket_send_late_pong(struct websocket *ws)
{
    if (ws->state == WEBSOCKET_OPEN && ws->late_pong != NULL) {
        struct late_pong *late = ws->late_pong;
        ws->late_pong = NULL;
        put_pong(ws, span_of(late->payload, late->len));
        mem_free(late);
    }
}
