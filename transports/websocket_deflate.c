/* websocket_deflate: see websocket_internal.h. */
#include "base/mem.h"
#include "http/http_octets.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/websocket_internal.h"
#include "wire/ws_compress.h"
#include "wire/ws_inflate.h"

enum {
    FIRST_BIT_RSV1 = 0x40,
    /* What DEFLATE adds at most to data that it cannot make smaller, with the worst of settings. */
    EXPANSION_DIVISOR = 8,
    LEAST_EXPANSION_BYTES = 64,
};

/* Exists only where permessage-deflate was agreed, so that others do not pay for it. Of its streams
 * nothing exists before the first compressed message. */
struct deflating {
    struct ws_deflate_terms terms;
    struct ws_inflate inflate;
    struct ws_compress compress;
};

enum err websocket_deflate_check(const struct http_req *req, const struct transport_opts *opts)
{
    struct ws_deflate_terms terms;
    return ws_deflate_negotiate(req->head, opts->deflate, &terms);
}

void websocket_deflate_open(struct websocket *ws, const struct http_req *req)
{
    const struct ws_deflate_opts *opts = ws->opts->deflate;
    struct ws_deflate_pool *pool = ws->kit->deflate_pool;
    struct ws_deflate_terms terms;
    if (opts == NULL || ws_deflate_negotiate(req->head, opts, &terms) != ERR_OK || !terms.is_on) {
        return;
    }
    ws->deflating = MEM_NEW(struct deflating);
    if (ws->deflating == NULL) {
        return; /* it does without */
    }
    ws_deflate_pool_fit(pool, &terms);
    ws->deflating->terms = terms;
    ws_inflate_init(&ws->deflating->inflate, pool, &terms, ws->opts->max_message_bytes);
    ws_compress_init(&ws->deflating->compress, pool, &terms, opts->level);
    ws->kit->counters.deflate_upgrades++;
}

void websocket_deflate_answer(const struct websocket *ws, struct http_resp *resp)
{
    char answer[WS_DEFLATE_ANSWER_BYTES];
    if (ws->deflating != NULL) {
        size_t n = ws_deflate_answer(&ws->deflating->terms, answer);
        http_resp_field(resp, SPAN_LIT("Sec-WebSocket-Extensions"), span_of(answer, n));
    }
}

void websocket_drop_deflating(struct websocket *ws)
{
    if (ws->deflating != NULL) {
        ws_inflate_fini(&ws->deflating->inflate);
        ws_compress_fini(&ws->deflating->compress);
        mem_free(ws->deflating);
        ws->deflating = NULL;
    }
}

uint64_t websocket_max_compressed_bytes(const struct transport_opts *opts)
{
    return opts->max_message_bytes + opts->max_message_bytes / EXPANSION_DIVISOR +
           LEAST_EXPANSION_BYTES;
}

/* False: it goes as it is. The payload is written behind the longest head, then moved up to its
 * own. */
static bool put_compressed(struct websocket *ws, enum ws_opcode opcode, struct span payload)
{
    struct ws_compress *compress = &ws->deflating->compress;
    struct buf *out = http_octets_out(ws->octets);
    size_t room = ws_compress_room(compress, payload.len);
    char *to = buf_reserve(out, WS_MAX_HEAD_BYTES + room);
    if (to == NULL) {
        return false;
    }
    size_t len = ws_compress(compress, payload, to + WS_MAX_HEAD_BYTES, room);
    if (len == 0) {
        return false;
    }
    size_t n = ws_put_head(to, opcode, FIRST_BIT_RSV1, len);
    memmove(to + n, to + WS_MAX_HEAD_BYTES, len);
    buf_commit(out, n + len);
    http_octets_wrote(ws->octets);
    return true;
}

bool websocket_put_message(struct websocket *ws, enum ws_opcode opcode, struct span payload)
{
    if (ws->deflating != NULL && payload.len >= ws->opts->deflate->threshold_bytes &&
        put_compressed(ws, opcode, payload)) {
        return true;
    }
    return websocket_put_frame(ws, opcode, payload);
}

enum err websocket_inflate(struct websocket *ws, const struct ws_event *event, struct span *in,
                           struct span *out)
{
    struct ws_fault fault;
    enum err e = ws_inflate_step(&ws->deflating->inflate, event, in, out, &fault);
    if (LIKELY(e == ERR_OK || e == ERR_AGAIN)) {
        return e;
    }
    if (e == ERR_NOMEM) {
        ws->kit->counters.out_of_memory++;
    } else if (fault.close_code == WS_CLOSE_TRY_AGAIN) {
        ws->kit->counters.deflate_starved++;
    }
    websocket_fail(ws, fault.close_code, fault.why);
    return e;
}
