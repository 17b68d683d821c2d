/*
 * websocket: see websocket.h. The engine takes octets in and gives octets out (wire/ws_frame); here
 * its control frames are answered, and its data go to websocket_message.
 */
#include "base/mem.h"
#include "http/http_octets.h"
#include "transports/websocket_internal.h"

/* Idle connections are counted in bytes: so many fill what malloc gives. */
_Static_assert(sizeof(struct websocket) <= 120, "struct websocket has grown");

static void reap(struct turn_task *task)
{
    struct websocket *ws = CONTAINER_OF(task, struct websocket, reap);
    websocket_drop_partial(ws);
    websocket_drop_deflating(ws);
    mem_free(ws);
}

void websocket_move(struct websocket *ws, enum websocket_state to)
{
    switch ((enum websocket_state)ws->state) {
    case WEBSOCKET_OPENING:
        websocket_drop_opening(ws);
        break;
    case WEBSOCKET_OPEN:
        websocket_drop_late_pong(ws);
        break;
    case WEBSOCKET_HALF_CLOSED:
    case WEBSOCKET_FAILING:
    case WEBSOCKET_CLOSING:
        websocket_drop_closing(ws);
        break;
    case WEBSOCKET_OVER:
        ASSERT(false);
    }
    ws->state = (uint8_t)to;
}

void websocket_release(struct websocket *ws)
{
    websocket_stop_partial(ws);
    websocket_move(ws, WEBSOCKET_OVER);
    ws->octets = NULL;
    turn_schedule(&ws->kit->turn, TURN_REAP, &ws->reap, reap);
}

void websocket_tell_session(struct websocket *ws, enum detach_why why, unsigned code,
                            struct span reason)
{
    struct session *session = ws->base.session;
    ws->base.session = NULL;
    if (session != NULL) {
        session_detach(session, why, code, reason);
    }
}

/* -- out -------------------------------------------------------------------------------------- */

bool websocket_put_frame(struct websocket *ws, enum ws_opcode opcode, struct span payload)
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

/* Every data frame that we send goes through here. */
static void write_frame(struct carrier *carrier, const struct frame *frame)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets == NULL) {
        return;
    }
    if (!websocket_put_message(ws, frame->is_text ? WS_TEXT : WS_BINARY, frame->bytes)) {
        websocket_lose(ws, SPAN_LIT("Out of memory"));
    } else if (UNLIKELY(ws->state == WEBSOCKET_HALF_CLOSED)) {
        websocket_stretch_half_close(ws);
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
    if (ws->octets != NULL && !websocket_put_frame(ws, WS_PING, SPAN_NONE)) {
        websocket_lose(ws, SPAN_LIT("Out of memory"));
    }
}

void websocket_pause(struct carrier *carrier, bool is_paused)
{
    struct websocket *ws = websocket_of(carrier);
    bool was_paused = ws->is_paused;
    ws->is_paused = is_paused;
    if (ws->octets == NULL) {
        return;
    }
    if (ws->partial != NULL && was_paused != is_paused) {
        websocket_pause_partial(ws, is_paused);
    }
    if (is_paused) {
        http_octets_pause(ws->octets);
    } else {
        http_octets_resume(ws->octets);
    }
}

static void abort_carrier(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->state == WEBSOCKET_OPENING) {
        websocket_abort_opening(ws);
    } else if (ws->state != WEBSOCKET_OVER) {
        http_octets_abort(ws->octets);
        websocket_release(ws);
    }
}

/* -- in --------------------------------------------------------------------------------------- */

static void take_control(struct websocket *ws, const struct ws_event *event)
{
    switch ((unsigned)event->opcode) {
    case WS_PING:
        websocket_answer_ping(ws, event->payload);
        break;
    case WS_PONG:
        if (ws->base.session != NULL) {
            session_alive(ws->base.session);
        }
        break;
    default:
        websocket_take_close(ws, event);
        break;
    }
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct websocket *ws = owner;
    const struct ws_limits limits = {.max_message_bytes = ws->opts->max_message_bytes,
                                     .max_fragments = ws->opts->max_fragments,
                                     .allow_rsv1 = ws->deflating != NULL,
                                     .max_compressed_bytes =
                                         websocket_max_compressed_bytes(ws->opts)};
    size_t used = 0;
    bool has_ended = false; /* something: what is unfinished now began after it */
    if (UNLIKELY(ws->state == WEBSOCKET_FAILING)) {
        return len;
    }
    while (ws->octets != NULL && !ws->is_paused && ws->state != WEBSOCKET_FAILING) {
        struct ws_event event;
        struct ws_fault fault;
        size_t n = 0;
        enum err e = ws_parse(&ws->parser, &limits, bytes + used, len - used, &n, &event, &fault);
        if (UNLIKELY(e != ERR_OK)) {
            if (ws->state == WEBSOCKET_CLOSING) {
                websocket_end_stream(ws);
            } else {
                websocket_fail(ws, fault.close_code, fault.why);
            }
            return len;
        }
        used += n;
        if (event.type == WS_EVENT_DATA) {
            has_ended = has_ended || event.is_last;
            websocket_take_data(ws, &event);
        } else if (event.type == WS_EVENT_CONTROL) {
            has_ended = has_ended || ws->parser.opcode == 0;
            take_control(ws, &event);
        } else {
            break;
        }
    }
    if (ws->octets == NULL || ws->state == WEBSOCKET_FAILING) {
        return len;
    }
    bool is_partial = ws->parser.opcode != 0 || used < len;
    if (UNLIKELY(is_partial || ws->partial != NULL)) {
        websocket_note_partial(ws, is_partial, has_ended);
    }
    return ws->octets != NULL ? used : len;
}

static void on_eof(void *owner)
{
    websocket_take_eof(owner);
}

static void on_drained(void *owner)
{
    struct websocket *ws = owner;
    websocket_send_late_pong(ws);
    if (ws->base.session != NULL) {
        session_flushed(ws->base.session);
    }
}

static void on_gone(void *owner, enum err why)
{
    struct websocket *ws = owner;
    websocket_release(ws);
    websocket_tell_session(ws, DETACH_LOST, 0,
                           why == ERR_TIMEOUT ? SPAN_LIT("Client did not read")
                                              : SPAN_LIT("Connection lost"));
}

const struct octets_ops websocket_stream_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

const struct transport_ops websocket_transport = {
    .name = "websocket",
    .behaviour = TRANSPORT_DUPLEX,
    .caps = CAP_MANY_FRAMES | CAP_BINARY | CAP_CLOSE_CODE | CAP_SELF_PING,
    .check = websocket_check,
    .open = websocket_open,
    .accepted = websocket_accepted,
    .settled = websocket_settled,
    .write = write_frame,
    .room = room,
    .ping = ping,
    .pause = websocket_pause,
    .finish = websocket_finish,
    .abort = abort_carrier,
};
