/*
 * ws_compress: the sending side of permessage-deflate (RFC 7692 7.2.1): one message at a time,
 * whole.
 *
 * A message that does not get smaller goes as it is, without RSV1, which the extension allows for
 * every message by itself. With takeover it may get a little bigger, as its successors gain by it;
 * if it gets much bigger, its window is dropped, for the client will not have seen it. No stream to
 * be had is no error either: such a message goes as it is. Threads: the owning worker.
 */
#ifndef POSTERN_WIRE_WS_COMPRESS_H
#define POSTERN_WIRE_WS_COMPRESS_H

#include "base/span.h"
#include "wire/ws_deflate_pool.h"

struct ws_compress {
    struct ws_deflate_pool *pool;
    struct ws_stream *stream; /* with takeover, from the first message on; else NULL */
    uint8_t window_bits;      /* 9..15 */
    uint8_t level;
    bool keeps_window; /* context takeover */
};

/* The pool outlives it. */
void ws_compress_init(struct ws_compress *writer, struct ws_deflate_pool *pool,
                      const struct ws_deflate_terms *terms, uint8_t level);
void ws_compress_fini(struct ws_compress *writer);

/* Bytes to have at `out` for a message of `len` bytes; at least `len`. */
size_t ws_compress_room(const struct ws_compress *writer, size_t len);
/* Writes the payload of the compressed message (FIN and RSV1 set) and returns its size; 0: send
 * `message` as it is. `room`: of ws_compress_room. */
size_t ws_compress(struct ws_compress *writer, struct span message, char *out, size_t room);

#endif
