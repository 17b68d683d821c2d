/* raw: see raw.h. */
#include "dialect/raw.h"

#include "core/session.h"
#include "core/transport.h"
#include "http/http_req.h"
#include "http/http_resp.h"

/* The one URL: the mount's own path. */
static void classify(const void *opts, const struct http_req *req, struct span suffix,
                     struct route *out)
{
    (void)opts;
    *out = (struct route){.kind = ROUTE_NOT_FOUND};
    if (suffix.len == 0 || span_eq(suffix, SPAN_LIT("/"))) {
        out->kind = req->head->method == HTTP_GET ? ROUTE_TRANSPORT : ROUTE_PAGE;
    }
}

/* Only another method than GET leads here. */
static void page(const void *opts, const struct route *route, struct http_req *req, struct kit *kit)
{
    (void)opts;
    (void)route;
    (void)kit;
    http_resp_start(req->resp, 405);
    http_resp_fields(req->resp, SPAN_LIT("Allow: GET\r\n"));
    http_resp_finish(req->resp, SPAN_NONE);
}

static bool no_frame(struct frame *out)
{
    (void)out;
    return false;
}

static enum err encode(const struct message *messages, size_t n, unsigned caps, struct buf *scratch,
                       struct frame *out)
{
    (void)scratch;
    ASSERT(n == 1);
    if (!messages[0].is_text && !(caps & CAP_BINARY)) {
        return ERR_PROTO;
    }
    *out = (struct frame){messages[0].data, messages[0].is_text};
    return ERR_OK;
}

static enum err decode(struct session *session, struct span in, bool is_text, struct buf *scratch,
                       const char **why)
{
    (void)scratch;
    (void)why;
    struct message message = {in, is_text};
    session_deliver(session, &message);
    return ERR_OK;
}

static bool bye(unsigned code, struct span reason, struct buf *scratch, struct frame *out,
                unsigned *transport_code)
{
    (void)reason;
    (void)scratch;
    (void)out;
    *transport_code = code;
    return false;
}

static const struct dialect_route routes[] = {
    {.transport = "websocket"},
};

const struct dialect_ops raw_dialect = {
    .name = "raw",
    .routes = routes,
    .n_routes = sizeof routes / sizeof routes[0],
    .handshake_opens = true,
    .lost_carrier_ends = true,
    .conflict_code = 1008,
    .conflict_reason = "Another connection still open",
    .lost_code = 1001,
    .lost_reason = "Connection interrupted",
    .classify = classify,
    .page = page,
    .hello = no_frame,
    .encode = encode,
    .decode = decode,
    .beat = no_frame,
    .bye = bye,
};
