/* assets: see assets.h. */
#include "server/assets.h"

#include "http/http_file.h"
#include "http/http_req.h"
#include "http/http_resp.h"

/* NULL: there is none of this path. */
static const struct asset *find(struct span path)
{
    for (const struct asset *asset = assets; asset->path != NULL; asset++) {
        if (span_eq(span_str(asset->path), path)) {
            return asset;
        }
    }
    return NULL;
}

static struct span bytes_of(const struct asset *asset)
{
    return span_of((const char *)asset->bytes, asset->len);
}

struct span assets_sockjs_client(void)
{
    return bytes_of(find(SPAN_LIT("/postern/sockjs.min.js")));
}

bool assets_serve(void *ctx, struct http_req *req)
{
    const struct asset *asset = find(req->target.path);
    if (asset == NULL || (asset->is_demo && ctx == NULL)) {
        return false;
    }
    if (req->head->method != HTTP_GET && req->head->method != HTTP_HEAD) {
        http_resp_start(req->resp, 405);
        http_resp_fields(req->resp, SPAN_LIT("Allow: GET, HEAD\r\n"));
        http_resp_finish(req->resp, SPAN_NONE);
        return true;
    }
    struct span bytes = bytes_of(asset);
    http_file_answer(req, span_str(asset->content_type),
                     SPAN_LIT("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"),
                     &bytes, 1);
    return true;
}
