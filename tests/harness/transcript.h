/*
 * transcript: what a parser said, as text, so that two runs compare with strcmp and a failed test
 * shows what happened. Ends the process when memory ends. For tests and fuzz targets only.
 */
#ifndef POSTERN_HARNESS_TRANSCRIPT_H
#define POSTERN_HARNESS_TRANSCRIPT_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"

struct transcript {
    char *text; /* NUL at the end; NULL when empty */
    size_t len;
    size_t cap;
};

static inline void transcript_clear(struct transcript *t)
{
    t->len = 0;
    if (t->text != NULL) {
        t->text[0] = '\0';
    }
}

static inline void transcript_free(struct transcript *t)
{
    free(t->text);
    *t = (struct transcript){NULL, 0, 0};
}

static inline const char *transcript_text(const struct transcript *t)
{
    return t->text != NULL ? t->text : "";
}

static inline char *transcript_room(struct transcript *t, size_t n)
{
    if (t->text == NULL || t->cap - t->len < n + 1) {
        t->cap = (t->cap + n + 1) * 2;
        t->text = realloc(t->text, t->cap);
        if (t->text == NULL) {
            abort();
        }
    }
    return t->text + t->len;
}

PRINTF_LIKE(2, 3)
static inline void transcript_add(struct transcript *t, const char *format, ...)
{
    va_list args;
    char piece[512];

    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof piece) {
        abort();
    }
    memcpy(transcript_room(t, (size_t)n), piece, (size_t)n + 1);
    t->len += (size_t)n;
}

/* Printable bytes as they are, others and the backslash as \xHH. */
static inline void transcript_bytes(struct transcript *t, struct span s)
{
    static const char hex[] = "0123456789abcdef";

    char *to = transcript_room(t, s.len * 4);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = 'x';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to = '\0';
    t->len = (size_t)(to - t->text);
}

#endif
