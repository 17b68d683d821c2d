/*
 * text: UTF-8, base64 and decimal numbers; pure functions over spans. Any thread.
 */
#ifndef POSTERN_BASE_TEXT_H
#define POSTERN_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

/* UTF-8 by RFC 3629 (no surrogates, no overlong forms, up to U+10FFFF), resumable at every byte.
 * A zeroed state accepts; feed pieces in order; the text is whole when the state is UTF8_ACCEPT. */
enum {
    UTF8_ACCEPT = 0,
    UTF8_REJECT = 1,
};
/* Feeds `piece`; returns the new state: UTF8_ACCEPT, UTF8_REJECT (sticky) or another value = inside
 * a character. Fails at the first byte that no valid text can have. */
uint8_t utf8_feed(uint8_t state, struct span piece);
/* Whether `text` is valid and whole. */
bool utf8_is_valid(struct span text);
/* Writes the UTF-8 form of `code_point` (0..0x10FFFF, surrogates become U+FFFD) to out;
 * returns 1..4. */
size_t utf8_put(char out[4], uint32_t code_point);

/* Base64 by RFC 4648 section 4, padded. `out` has room for base64_len(in.len) bytes; returns
 * that. */
static inline size_t base64_len(size_t n)
{
    return (n + 2) / 3 * 4;
}
size_t base64_encode(struct span in, char *out);
/* Strict: length a multiple of 4, padding only at the end, unused bits zero, no blanks. `out` has
 * room for in.len / 4 * 3 bytes and may be in.ptr. ERR_SYNTAX else. */
enum err base64_decode(struct span in, char *out, size_t *out_len) MUST_CHECK;

/* 1*DIGIT with a value <= max; ERR_SYNTAX for anything else, ERR_LIMIT above max (checked before
 * any arithmetic can overflow). Leading zeros are allowed; more than 20 digits are ERR_LIMIT. */
enum err decimal_parse(struct span digits, uint64_t max, uint64_t *value) MUST_CHECK;
enum {
    DECIMAL_MAX_CHARS = 20
};
/* Writes the digits of `value`; returns 1..20. */
size_t decimal_put(char out[DECIMAL_MAX_CHARS], uint64_t value);

#endif
