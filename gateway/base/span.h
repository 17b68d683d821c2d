/*
 * span: a borrowed view of bytes, {pointer, length}. It owns nothing, need not end in NUL, and may
 * hold any byte. Whoever hands one out says until when it is valid. Pure; any thread.
 */
#ifndef POSTERN_BASE_SPAN_H
#define POSTERN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *ptr;
    size_t len;
};

/* A span of a string literal, without its NUL. */
#define SPAN_LIT(literal) ((struct span){("" literal), sizeof(literal) - 1})
/* It would spread the braces of an initializer over four lines. */
/* clang-format off */
#define SPAN_LIT_INIT(literal) {("" literal), sizeof(literal) - 1}
/* clang-format on */
#define SPAN_NONE ((struct span){NULL, 0})
/* For printf("%.*s", SPAN_FMT(s)). */
#define SPAN_FMT(s) (int)(s).len, (s).ptr

static inline struct span span_of(const char *ptr, size_t len)
{
    return (struct span){ptr, len};
}

/* The bytes of a C string before its NUL; NULL gives the empty span. */
static inline struct span span_str(const char *string)
{
    return (struct span){string, string != NULL ? strlen(string) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char span_lower_char(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c + ('a' - 'A'));
    }
    return c;
}

/* Equal when ASCII letters are folded; other bytes as they are. */
static inline bool span_eq_nocase(struct span a, struct span b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (span_lower_char(a.ptr[i]) != span_lower_char(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

static inline bool span_starts_with(struct span s, struct span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Drops the first `n` bytes; n must be <= s.len. */
static inline struct span span_skip(struct span s, size_t n)
{
    /* The empty span may be NULL, and NULL + 0 is undefined in C; this costs no instruction. */
    return (struct span){n != 0 ? s.ptr + n : s.ptr, s.len - n};
}

/* Index of the first `c`, or s.len when there is none. */
static inline size_t span_find(struct span s, char c)
{
    const char *at = s.len != 0 ? memchr(s.ptr, c, s.len) : NULL;
    return at != NULL ? (size_t)(at - s.ptr) : s.len;
}

/* Without spaces and tabs (OWS of RFC 9110 5.6.3) at both ends. */
static inline struct span span_trim(struct span s)
{
    while (s.len != 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = span_skip(s, 1);
    }
    while (s.len != 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

#endif
