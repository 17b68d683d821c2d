/*
 * ws_stream: one zlib stream of a ws_deflate_pool. Private to gateway/wire: no other room sees
 * zlib. Threads: the owning worker.
 */
#ifndef POSTERN_WIRE_WS_STREAM_H
#define POSTERN_WIRE_WS_STREAM_H

#include <stdint.h>
#define ZLIB_CONST /* input is const */
#include <zlib.h>

#include "wire/ws_deflate_pool.h"

enum {
    WS_STREAM_MAX_WINDOW_BYTES = 1 << WS_DEFLATE_MAX_BITS
};

/* Streams of one kind do the same work. */
struct ws_stream_kind {
    bool is_deflate;     /* else inflate */
    uint8_t window_bits; /* 9..15 */
    uint8_t level;       /* deflate only */
};

struct ws_stream {
    z_stream z;
    struct ws_deflate_pool *pool;
    size_t bytes;   /* of the heap */
    size_t counted; /* of the budget: at least `bytes` */
    struct ws_stream_kind kind;
};

/* A stream as good as new, for one message. ERR_LIMIT: the budget is used up. ERR_NOMEM. */
enum err ws_stream_borrow(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                          struct ws_stream **out) MUST_CHECK;
/* It may be idle in the pool then, or be freed. */
void ws_stream_give_back(struct ws_stream *stream);

/* Sets memory aside for a stream that stays; then a stream is made of it, which cannot fail for the
 * budget. ERR_NOMEM. */
void ws_stream_reserve(struct ws_deflate_pool *pool, struct ws_stream_kind kind);
enum err ws_stream_make(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                        struct ws_stream **out) MUST_CHECK;
/* Ends both; `stream` NULL: it was never made. */
void ws_stream_end_reserved(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                            struct ws_stream *stream);

/* Counts other bytes in the budget; idle streams make room. False: it is used up. */
bool ws_stream_count(struct ws_deflate_pool *pool, size_t bytes) MUST_CHECK;
void ws_stream_uncount(struct ws_deflate_pool *pool, size_t bytes);

/* WS_DEFLATE_STEP_BYTES, valid until any other stream of the worker inflates. */
char *ws_stream_scratch(struct ws_deflate_pool *pool);
/* WS_STREAM_MAX_WINDOW_BYTES, valid during the call. */
char *ws_stream_window_scratch(struct ws_deflate_pool *pool);

#endif
