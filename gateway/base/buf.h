/*
 * buf: a growable run of bytes with a ceiling that is named at init (curl's dynbuf taught us that).
 *
 * Bytes are appended at the end and consumed at the front:   0 <= start <= end <= cap <= max
 * All zero but `max` is the legal empty state, without storage; it costs 24 bytes. Storage grows by
 * doubling with the data that really came, never with a length that a peer declared.
 * Threads: belongs to its owner's worker.
 */
#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct buf {
    char *data;
    uint32_t start; /* first byte not yet consumed */
    uint32_t end;   /* one past the last byte */
    uint32_t cap;   /* bytes of storage */
    uint32_t max;   /* ceiling for end - start, in bytes */
};

/* `max_bytes`: 1 to 2^31; the buffer never holds more. No allocation. */
void buf_init(struct buf *b, size_t max_bytes);
/* Frees the storage; the buffer is then empty and usable again with the same ceiling. */
void buf_fini(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return (size_t)(b->end - b->start);
}

/* The bytes held; valid until the next call that appends, consumes or frees. */
static inline struct span buf_span(const struct buf *b)
{
    /* NULL + 0 is undefined in C; compilers make one instruction of this all the same. */
    return (struct span){b->start != 0 ? b->data + b->start : b->data, buf_len(b)};
}

/* Bytes that can still be appended before the ceiling. */
static inline size_t buf_room(const struct buf *b)
{
    return (size_t)b->max - buf_len(b);
}

/* Makes room for `n` bytes at the end and returns where they go; NULL at the ceiling or without
 * memory (nothing changes then). Follow with buf_commit of at most n. */
char *buf_reserve(struct buf *b, size_t n) MUST_CHECK;

static inline void buf_commit(struct buf *b, size_t n)
{
    b->end += (uint32_t)n;
}

/* Each appends whole or not at all: ERR_LIMIT at the ceiling, ERR_NOMEM. */
enum err buf_append(struct buf *b, const void *bytes, size_t n) MUST_CHECK;
enum err buf_append_span(struct buf *b, struct span s) MUST_CHECK;
enum err buf_append_char(struct buf *b, char c) MUST_CHECK;
enum err buf_append_u64(struct buf *b, uint64_t value) MUST_CHECK; /* decimal digits */
enum err buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* Drops `n` bytes (n <= buf_len) from the front. Storage stays. */
void buf_consume(struct buf *b, size_t n);
/* Empties the buffer; storage stays. */
static inline void buf_clear(struct buf *b)
{
    b->start = 0;
    b->end = 0;
}
/* Cuts the content to its first `len` bytes (len <= buf_len): takes back what was appended
 * since. */
static inline void buf_truncate(struct buf *b, size_t len)
{
    b->end = b->start + (uint32_t)len;
}
/* Frees the storage if nothing is held: an idle owner costs no heap. */
void buf_trim(struct buf *b);

#endif
