/*
 * http1_chars: the byte classes of RFC 9110 section 5.6 as one table, shared by the parsers of head
 * and body. Private to gateway/wire. The table lives in http1_head.c. Pure; any thread.
 */
#ifndef POSTERN_WIRE_HTTP1_CHARS_H
#define POSTERN_WIRE_HTTP1_CHARS_H

#include <stdbool.h>

enum {
    HTTP1_CHAR_TOKEN = 1,   /* tchar: names and methods */
    HTTP1_CHAR_VISIBLE = 2, /* 0x21 to 0x7e: targets */
    HTTP1_CHAR_TEXT = 4,    /* field values: visible, SP, HTAB, obs-text; no other control byte */
};

extern const unsigned char http1_char_class[256];

static inline bool http1_char_is(char c, unsigned classes)
{
    return (http1_char_class[(unsigned char)c] & classes) != 0;
}

#endif
