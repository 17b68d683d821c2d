/*
 * websocket: see websocket.h. The engine takes octets in and gives octets out (wire/ws_frame); here
 * the events become messages of the session. A message that arrives in one piece is passed on from
 * the receive buffer; only a split one is gathered, in a buffer that grows with what came.
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
    struct buf message; /* pieces of an unfinished message */
    struct turn_task reap;
    bool is_paused;
};

static struct websocket *websocket_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct websocket, base);
}

static void reap(struct turn_task *task)
{
    struct websocket *ws = CONTAINER_OF(task, struct websocket, reap);
    buf_fini(&ws->message);
    mem_free(ws);
}

/* The stream is closed or gone: memory goes at the turn's end. */
static void release(struct websocket *ws)
{
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

/* Close frame, then FIN and a bounded drain, so that the frame is not destroyed by a reset. */
static void close_with(struct websocket *ws, unsigned code, struct span reason)
{
    char payload[WS_MAX_CONTROL_PAYLOAD];
    size_t n = ws_put_close(payload, (uint16_t)code, reason);
    (void)put_frame(ws, WS_CLOSE, span_of(payload, n));
    http_octets_close(ws->octets);
    release(ws);
}

static void finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets == NULL) {
        return;
    }
    if (why != FINISH_BYE || !ws_close_code_is_valid(code)) {
        code = code == 1006 ? WS_CLOSE_GOING_AWAY : WS_CLOSE_NORMAL;
    }
    close_with(ws, code, reason);
}

static void abort_carrier(struct carrier *carrier)
{
    struct websocket *ws = websocket_of(carrier);
    if (ws->octets != NULL) {
        http_octets_abort(ws->octets);
        release(ws);
    }
}

static void pause_carrier(struct carrier *carrier, bool is_paused)
{
    struct websocket *ws = websocket_of(carrier);
    ws->is_paused = is_paused;
    if (ws->octets == NULL) {
        return;
    }
    if (is_paused) {
        http_octets_pause(ws->octets);
    } else {
        http_octets_resume(ws->octets);
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
        fail(ws, e == ERR_NOMEM ? WS_CLOSE_INTERNAL : WS_CLOSE_INVALID_DATA,
             why != NULL ? why : "Out of memory");
    }
}

static void take_data(struct websocket *ws, const struct ws_event *event)
{
    bool is_text = event->opcode == WS_TEXT;
    if (LIKELY(event->is_first && event->is_last)) {
        receive(ws, event->payload, is_text);
        return;
    }
    enum err e = buf_append_span(&ws->message, event->payload);
    if (e != ERR_OK) {
        fail(ws, e == ERR_LIMIT ? WS_CLOSE_TOO_BIG : WS_CLOSE_INTERNAL, err_text(e));
        return;
    }
    if (event->is_last) {
        receive(ws, buf_span(&ws->message), is_text);
        buf_fini(&ws->message);
    }
}

static void take_control(struct websocket *ws, const struct ws_event *event)
{
    switch ((unsigned)event->opcode) {
    case WS_PING:
        if (buf_len(http_octets_out(ws->octets)) < WEBSOCKET_MAX_PONG_BYTES &&
            !put_frame(ws, WS_PONG, event->payload)) {
            lose(ws, SPAN_LIT("Out of memory"));
        }
        break;
    case WS_PONG:
        if (ws->base.session != NULL) {
            session_alive(ws->base.session);
        }
        break;
    default: /* the peer's Close: its code goes back to it */
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
    while (ws->octets != NULL && !ws->is_paused) {
        struct ws_event event;
        struct ws_fault fault;
        size_t n = 0;
        enum err e = ws_parse(&ws->parser, &limits, bytes + used, len - used, &n, &event, &fault);
        if (UNLIKELY(e != ERR_OK)) {
            fail(ws, fault.close_code, fault.why);
            return len;
        }
        used += n;
        if (event.type == WS_EVENT_DATA) {
            take_data(ws, &event);
        } else if (event.type == WS_EVENT_CONTROL) {
            take_control(ws, &event);
        } else {
            break;
        }
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
    buf_init(&ws->message, opts->max_message_bytes);
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
