/*
 * open_info: the JSON object of an OPEN: what a handler learns of a new session
 * (handlers/PROTOCOL.md). A bearer session id never appears in it. Pure; the owning worker.
 */
#ifndef POSTERN_EDGE_OPEN_INFO_H
#define POSTERN_EDGE_OPEN_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct http_req;
struct ws_subprotocols;

struct open_info {
    uint64_t public_id;
    struct span mount;
    const char *dialect;
    const char *transport;
    struct span sid; /* a slice of the request's path: "-" is written in its place; may be empty */
    const struct ws_subprotocols *offers; /* of a WebSocket's client; NULL = none */
};

/* Appends the object without its closing brace, and without what may change over its life
 * (open_info_finish). The first *brief_len bytes are the part that a resumed OPEN repeats:
 * everything but the subprotocols offered and the header fields. ERR_NOMEM, ERR_LIMIT. */
enum err open_info_write(const struct open_info *info, const struct http_req *req, struct buf *out,
                         size_t *brief_len) MUST_CHECK;
/* What may change over its life. */
struct open_info_rest {
    struct span subprotocol; /* that is spoken; empty = none */
    bool is_resumed;
    struct span state; /* what a handler has left, any bytes: shown in base64; empty = none */
};

/* Appends the rest, and the brace. ERR_NOMEM, ERR_LIMIT. */
enum err open_info_finish(struct buf *out, const struct open_info_rest *rest) MUST_CHECK;

#endif
