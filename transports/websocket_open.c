/*
 * websocket_open: see websocket_internal.h. Where the dialect's handshake_opens and the session
 * waits for its handler, the answer waits too: nothing of the client is read meanwhile, and a
 * refusal is an answer of HTTP.
 */
#include "base/mem.h"
#include "core/dialect.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/hixie76.h"
#include "transports/websocket_internal.h"
#include "wire/ws_handshake.h"

enum err websocket_check(struct http_req *req, const struct transport_opts *opts)
{
    if (hixie76_is_wanted(req, opts)) {
        return hixie76_transport.check(req, opts);
    }
    struct ws_handshake handshake;
    unsigned status = 0;
    const char *why = NULL;
    enum err e = ws_handshake_check(req->head, &handshake, &status, &why);
    if (e == ERR_OK && websocket_deflate_check(req, opts) != ERR_OK) {
        e = ERR_PROTO;
        status = 400;
        why = "Sec-WebSocket-Extensions is malformed.";
    }
    if (e == ERR_OK) {
        return ERR_OK;
    }
    http_resp_start(req->resp, status);
    if (status == 426) {
        http_resp_fields(req->resp,
                         SPAN_LIT("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"));
    }
    if (status == 405) {
        http_resp_fields(req->resp, SPAN_LIT("Allow: GET\r\n"));
    }
    http_resp_fields(req->resp, SPAN_LIT("Content-Type: text/plain; charset=UTF-8\r\n"));
    http_resp_finish(req->resp, span_str(why));
    return e;
}

/* A handshake that waits for the handler. Exists only then: an open WebSocket does not pay for it.
 */
struct opening {
    struct http_resp *resp;
    struct span choice; /* the mount's, a slice of its options; empty = none */
    char accept[WS_ACCEPT_CHARS];
    struct span offers; /* comma-separated, behind this struct */
};

void websocket_drop_opening(struct websocket *ws)
{
    mem_free(ws->opening);
    ws->opening = NULL;
}

/* The peer went away before the handler decided. */
static void on_opening_gone(void *ctx)
{
    struct websocket *ws = ctx;
    websocket_release(ws);
    websocket_tell_session(ws, DETACH_LOST, 0, SPAN_LIT("Connection lost"));
}

static const struct http_watch opening_watch = {.on_gone = on_opening_gone};

/* Keeps of the request what its answer will need: the head is gone when this turn ends. */
static struct opening *keep_opening(struct http_resp *resp, const struct ws_handshake *handshake,
                                    struct span choice)
{
    size_t len = 0;
    for (size_t i = 0; i < handshake->offers.n; i++) {
        len += handshake->offers.names[i].len + 1;
    }
    struct opening *opening = mem_new(1, sizeof *opening + len);
    if (opening == NULL) {
        return NULL;
    }
    opening->resp = resp;
    opening->choice = choice;
    memcpy(opening->accept, handshake->accept, WS_ACCEPT_CHARS);
    char *at = (char *)(opening + 1);
    opening->offers = span_of(at, len);
    for (size_t i = 0; i < handshake->offers.n; i++) {
        struct span name = handshake->offers.names[i];
        memcpy(at, name.ptr, name.len);
        at[name.len] = ',';
        at += name.len + 1;
    }
    return opening;
}

static bool was_offered(struct span offers, struct span name)
{
    struct span offer;
    while (http1_list_next(&offers, &offer)) {
        if (span_eq(offer, name)) {
            return true;
        }
    }
    return false;
}

/* The 101. */
static void switch_protocols(struct websocket *ws, struct http_resp *resp, const char *accept,
                             struct span subprotocol)
{
    http_resp_start(resp, 101);
    http_resp_fields(resp, SPAN_LIT("Upgrade: websocket\r\nConnection: Upgrade\r\n"));
    http_resp_field(resp, SPAN_LIT("Sec-WebSocket-Accept"), span_of(accept, WS_ACCEPT_CHARS));
    if (subprotocol.len != 0) {
        http_resp_field(resp, SPAN_LIT("Sec-WebSocket-Protocol"), subprotocol);
    }
    websocket_deflate_answer(ws, resp);
    ws->octets = http_resp_upgrade(resp);
    ws->state = WEBSOCKET_OPEN;
    http_octets_set_owner(ws->octets, &websocket_stream_ops, ws);
    ws->kit->counters.websocket_upgrades++;
}

static enum err out_of_memory(struct kit *kit, struct http_resp *resp)
{
    kit->counters.out_of_memory++;
    http_resp_text(resp, 503, SPAN_LIT("Out of memory.\n"));
    return ERR_NOMEM;
}

enum err websocket_open(struct http_req *req, const struct transport_opts *opts,
                        struct session *session)
{
    if (hixie76_is_wanted(req, opts)) {
        return hixie76_transport.open(req, opts, session);
    }
    struct ws_handshake handshake;
    unsigned status = 0;
    const char *why = NULL;
    enum err e = ws_handshake_check(req->head, &handshake, &status, &why);
    ASSERT(e == ERR_OK); /* check() has passed */
    struct websocket *ws = MEM_NEW(struct websocket);
    if (ws == NULL) {
        return out_of_memory(session->kit, req->resp);
    }
    struct span choice =
        ws_subprotocols_choose(&handshake.offers, opts->subprotocols, opts->n_subprotocols);
    ws->base = (struct carrier){&websocket_transport, session};
    ws->kit = session->kit;
    ws->opts = opts;
    websocket_deflate_open(ws, req);
    if (session->state == SESSION_CONNECTING && session->dialect->handshake_opens) {
        ws->state = WEBSOCKET_OPENING;
        ws->opening = keep_opening(req->resp, &handshake, choice);
        if (ws->opening == NULL) {
            websocket_drop_deflating(ws);
            mem_free(ws);
            return out_of_memory(session->kit, req->resp);
        }
        http_resp_watch(req->resp, &opening_watch, ws);
    } else {
        switch_protocols(ws, req->resp, handshake.accept, choice);
    }
    session_attach(session, &ws->base);
    return ERR_OK;
}

enum err websocket_accepted(struct carrier *carrier, struct span subprotocol)
{
    struct websocket *ws = websocket_of(carrier);
    struct opening *opening = ws->opening;
    ASSERT(ws->state == WEBSOCKET_OPENING);
    if (subprotocol.len != 0 && !was_offered(opening->offers, subprotocol)) {
        return ERR_PROTO;
    }
    ws->opening = NULL;
    switch_protocols(ws, opening->resp, opening->accept,
                     subprotocol.len != 0 ? subprotocol : opening->choice);
    mem_free(opening);
    if (ws->is_paused) {
        http_octets_pause(ws->octets);
    }
    return ERR_OK;
}

static unsigned status_of(unsigned code)
{
    if (code == WS_CLOSE_NORMAL || code >= 3000) {
        return 403;
    }
    return code == WS_CLOSE_INTERNAL ? 500 : 503;
}

void websocket_refuse(struct websocket *ws, unsigned code, struct span reason)
{
    struct http_resp *resp = ws->opening->resp;
    unsigned status = status_of(code);
    websocket_release(ws);
    if (status != 403) {
        http_resp_close_after(resp); /* better luck with another worker, or another server */
    }
    http_resp_text(resp, status, reason);
}

void websocket_abort_opening(struct websocket *ws)
{
    http_resp_abort(ws->opening->resp);
    websocket_release(ws);
}
