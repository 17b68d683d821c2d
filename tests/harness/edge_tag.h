/*
 * edge_tag: messages that can be told apart: a mark, who sent it, its number, and a keyed hash of
 * both, so that no byte of a fuzzer's is taken for one. `@` marks a handler's, `#` a client's.
 */
#ifndef POSTERN_HARNESS_EDGE_TAG_H
#define POSTERN_HARNESS_EDGE_TAG_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hmap.h"
#include "base/span.h"

enum {
    EDGE_TAG_CHARS = 13
};

static inline void edge_put_hex(char *out, uint64_t value, int n_digits)
{
    for (int i = 0; i < n_digits; i++) {
        out[i] = "0123456789abcdef"[(value >> (4 * (n_digits - 1 - i))) & 15];
    }
}

static inline void edge_put_tag(char out[EDGE_TAG_CHARS + 1], char mark, unsigned who, unsigned n)
{
    static const struct hash_key key = {0x706f7374, 0x65726e21};
    out[0] = mark;
    edge_put_hex(out + 1, who, 2);
    edge_put_hex(out + 3, n, 2);
    edge_put_hex(out + 5, hash_bytes(&key, span_of(out, 5)), 8);
    out[EDGE_TAG_CHARS] = '\0';
}

static inline unsigned edge_hex(const char *chars)
{
    char text[3] = {chars[0], chars[1], '\0'};
    return (unsigned)strtoul(text, NULL, 16);
}

/* Whether a tag stands at the front of `s`. */
static inline bool edge_read_tag(struct span s, char mark, unsigned *who, unsigned *n)
{
    char want[EDGE_TAG_CHARS + 1];
    if (s.len < EDGE_TAG_CHARS || s.ptr[0] != mark) {
        return false;
    }
    *who = edge_hex(s.ptr + 1);
    *n = edge_hex(s.ptr + 3);
    edge_put_tag(want, mark, *who, *n);
    return memcmp(s.ptr, want, EDGE_TAG_CHARS) == 0;
}

#endif
