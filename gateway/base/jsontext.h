/*
 * jsontext: JSON as text: quoting, and a strict pull scanner that never reformats what it passes.
 *
 * cJSON is for configuration only: it loses 64-bit integers, cuts strings at \u0000, refuses lone
 * surrogates and takes bad UTF-8. Payload goes through here instead. The scanner is RFC 8259 to the
 * letter plus limits (threat model row 10): it allocates nothing and returns slices of its input.
 * Pure; any thread.
 */
#ifndef POSTERN_BASE_JSONTEXT_H
#define POSTERN_BASE_JSONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* How json_quote writes a string; a bit mask. Always escaped: `"`, `\`, U+0000-001F (short forms \b
 * \t \n \f \r, else \u00xx in lower case). */
enum json_style {
    JSON_PLAIN = 0,
    JSON_SOCKJS = 1, /* also \uxxxx for U+200C-200F, 2028-202F, 2060-206F, FFF0-FFFF (requirements
                      * of the SockJS protocol, lower-case hex) */
    JSON_SCRIPT = 2, /* also `<` as \u003c and U+2028/2029: safe inside <script> and in a JS
                      * string */
};

/* Appends `text` (valid UTF-8) as a JSON string with its quotes. ERR_LIMIT, ERR_NOMEM: nothing
 * appended. */
enum err json_quote(struct buf *out, struct span text, unsigned style) MUST_CHECK;

enum {
    JSON_MAX_DEPTH = 32, /* nested arrays and objects; deeper = ERR_LIMIT (stack of a reader) */
    JSON_MAX_ELEMENTS = 10000,  /* values in one text; more = ERR_LIMIT (work per byte) */
    JSON_MAX_NUMBER_CHARS = 64, /* a longer number = ERR_LIMIT (quadratic converters downstream) */
};

enum json_type {
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_KEY,    /* raw = the text between the quotes */
    JSON_STRING, /* raw = the text between the quotes, escapes as they came */
    JSON_NUMBER, /* raw = the number as it came */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_DONE, /* one whole value was read and only white space is left */
};

struct json_token {
    enum json_type type;
    bool has_escapes; /* of a key or string: json_unescape has work to do */
    struct span raw;  /* slice of the input; for a begin/end token its one character */
};

struct json_scan {
    struct span in;
    size_t at;           /* offset of the next byte */
    uint32_t n_elements; /* values seen */
    uint32_t is_object;  /* bit d = depth d is an object (depth <= 32) */
    uint8_t depth;
    uint8_t expect; /* private: what may come next */
};

void json_scan_init(struct json_scan *scan, struct span in);
/* The next token. ERR_OK; ERR_SYNTAX with `fault` (also: text after the value, bad UTF-8 in a
 * string); ERR_LIMIT with `fault`. After an error or JSON_DONE do not call again. */
enum err json_next(struct json_scan *scan, struct json_token *token,
                   struct fault *fault) MUST_CHECK;
/* Reads over the rest of the array or object whose BEGIN token was just returned, to its END. */
enum err json_skip(struct json_scan *scan, struct fault *fault) MUST_CHECK;

/* Decodes the escapes of a scanned string or key: `out` has room for raw.len bytes (the result
 * never grows) and may be raw.ptr. Surrogate pairs become one character, a lone surrogate becomes
 * U+FFFD. Returns the length. */
size_t json_unescape(struct span raw, char *out);

#endif
