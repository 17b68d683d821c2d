/* assets: see assets.h. */
#include "server/assets.h"

#include <stdio.h>

#include "base/hmap.h"
#include "http/http_req.h"
#include "http/http_resp.h"

static void answer(struct http_req *req, const struct asset *asset)
{
    static const struct hash_key key = {0x706f737465726e31, 0x6173736574733031};
    struct span bytes = span_of((const char *)asset->bytes, asset->len);
    char etag[24];
    (void)snprintf(etag, sizeof etag, "\"%016llx\"", (unsigned long long)hash_bytes(&key, bytes));
    bool is_same = span_eq(http_req_field(req, SPAN_LIT("if-none-match")), span_str(etag));
    http_resp_start(req->resp, is_same ? 304 : 200);
    http_resp_field(req->resp, SPAN_LIT("ETag"), span_str(etag));
    http_resp_fields(req->resp, SPAN_LIT("Cache-Control: no-cache\r\n"
                                         "X-Content-Type-Options: nosniff\r\n"));
    if (!is_same) {
        http_resp_field(req->resp, SPAN_LIT("Content-Type"), span_str(asset->content_type));
    }
    http_resp_finish(req->resp, is_same ? SPAN_NONE : bytes);
}

bool assets_serve(void *ctx, struct http_req *req)
{
    for (const struct asset *asset = assets; asset->path != NULL; asset++) {
        if ((asset->is_demo && ctx == NULL) || !span_eq(span_str(asset->path), req->target.path)) {
            continue;
        }
        if (req->head->method != HTTP_GET && req->head->method != HTTP_HEAD) {
            http_resp_start(req->resp, 405);
            http_resp_fields(req->resp, SPAN_LIT("Allow: GET, HEAD\r\n"));
            http_resp_finish(req->resp, SPAN_NONE);
        } else {
            answer(req, asset);
        }
        return true;
    }
    return false;
}
