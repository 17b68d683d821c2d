/* websocket_open: see websocket_internal.h. */
#include "base/mem.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/websocket_internal.h"
#include "wire/ws_handshake.h"

enum err websocket_check(struct http_req *req, const struct transport_opts *opts)
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
    if (status == 405) {
        http_resp_fields(req->resp, SPAN_LIT("Allow: GET\r\n"));
    }
    http_resp_fields(req->resp, SPAN_LIT("Content-Type: text/plain; charset=UTF-8\r\n"));
    http_resp_finish(req->resp, span_str(why));
    return e;
}

enum err websocket_open(struct http_req *req, const struct transport_opts *opts,
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
    http_octets_set_owner(ws->octets, &websocket_stream_ops, ws);
    ws->kit->counters.websocket_upgrades++;
    session_attach(session, &ws->base);
    return ERR_OK;
}
