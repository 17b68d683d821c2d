/* buf: see buf.h. Growth doubles from 256 bytes; the front gap is reclaimed before growing. */
#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"

enum {
    FIRST_CAP_BYTES = 256,
    SHORT_PRINTF_BYTES = 512,
};

void buf_init(struct buf *b, size_t max_bytes)
{
    ASSERT(max_bytes > 0 && max_bytes <= (1U << 31));
    *b = (struct buf){.max = (uint32_t)max_bytes};
}

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

static void move_to_front(struct buf *b)
{
    size_t len = buf_len(b);
    if (len != 0) {
        memmove(b->data, b->data + b->start, len);
    }
    b->start = 0;
    b->end = (uint32_t)len;
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap != 0 ? b->cap : FIRST_CAP_BYTES;
    while (cap < need) {
        cap *= 2;
    }
    if (cap > b->max) {
        cap = b->max;
    }
    char *data = mem_resize(b->data, cap);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->cap = (uint32_t)cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (LIKELY(b->cap - b->end >= n && n != 0)) {
        if (LIKELY(n <= buf_room(b))) {
            return b->data + b->end;
        }
        return NULL;
    }
    if (n > buf_room(b)) {
        return NULL;
    }
    size_t need = buf_len(b) + n;
    /* Moving is free of surprise only while the gap is at least as large as what is moved. */
    if (b->start != 0 && (need <= b->cap / 2 || need > b->max - b->start)) {
        move_to_front(b);
    }
    if (b->cap - b->end < n || b->data == NULL) {
        size_t want = (size_t)b->end + n;
        if (!grow(b, want > 0 ? want : 1)) {
            return NULL;
        }
    }
    return b->data + b->end;
}

static enum err why_not(const struct buf *b, size_t n)
{
    return n > buf_room(b) ? ERR_LIMIT : ERR_NOMEM;
}

enum err buf_append(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0) {
        return ERR_OK;
    }
    char *to = buf_reserve(b, n);
    if (UNLIKELY(to == NULL)) {
        return why_not(b, n);
    }
    memcpy(to, bytes, n);
    buf_commit(b, n);
    return ERR_OK;
}

enum err buf_append_span(struct buf *b, struct span s)
{
    return buf_append(b, s.ptr, s.len);
}

enum err buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

enum err buf_append_u64(struct buf *b, uint64_t value)
{
    char digits[DECIMAL_MAX_CHARS];
    return buf_append(b, digits, decimal_put(digits, value));
}

/* vsnprintf ends its text with a NUL, for which there is no room when the text ends at the ceiling:
 * so it is formatted elsewhere and appended without. */
static enum err PRINTF_LIKE(3, 0)
    append_long(struct buf *b, size_t n, const char *format, va_list args)
{
    if (n > buf_room(b)) {
        return ERR_LIMIT;
    }
    char *text = mem_new(n + 1, 1);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    (void)vsnprintf(text, n + 1, format, args);
    enum err e = buf_append(b, text, n);
    mem_free(text);
    return e;
}

enum err buf_printf(struct buf *b, const char *format, ...)
{
    char text[SHORT_PRINTF_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) {
        return ERR_INTERNAL;
    }
    if ((size_t)n < sizeof text) {
        return buf_append(b, text, (size_t)n);
    }
    va_start(args, format);
    enum err e = append_long(b, (size_t)n, format, args);
    va_end(args);
    return e;
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= buf_len(b));
    b->start += (uint32_t)n;
    if (b->start == b->end) {
        b->start = 0;
        b->end = 0;
    }
}

void buf_trim(struct buf *b)
{
    if (b->start == b->end && b->data != NULL) {
        buf_fini(b);
    }
}
