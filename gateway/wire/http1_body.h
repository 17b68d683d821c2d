/*
 * http1_body: a message body as a decoder from wire bytes to content bytes, incremental at every
 * byte.
 *
 * Chunked coding strictly by RFC 9112 7.1: CRLF only, 1 to 15 hex digits before any arithmetic,
 * chunk lines up to 256 bytes (extensions are read over, white space before them is refused),
 * trailers up to 4 KiB are checked for form and dropped (never merged into the head). Content is
 * counted against a limit while it comes, for both framings. Pure; any thread. Fuzz target:
 * tests/fuzz/http1_body_fuzz.c (whole against every split).
 */
#ifndef POSTERN_WIRE_HTTP1_BODY_H
#define POSTERN_WIRE_HTTP1_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/http1_head.h"

enum {
    HTTP1_MAX_CHUNK_LINE_BYTES = 256, /* size + extensions (row 2: endless extensions) */
    HTTP1_MAX_TRAILER_BYTES = 4096,
};

struct http1_body {
    uint64_t left;    /* content bytes left in the body (LENGTH) or in this chunk (CHUNKED) */
    uint64_t max;     /* content bytes still allowed */
    uint16_t line;    /* bytes seen of the present chunk line or of all trailers */
    uint8_t state;    /* private */
    uint8_t n_digits; /* hex digits of the present size */
};

/* `framing` and `content_length` from the head; `max_bytes` = limit on content (UINT64_MAX: none).
 * ERR_LIMIT when the declared length is over it already (answer 413). */
enum err http1_body_init(struct http1_body *body, enum http1_framing framing,
                         uint64_t content_length, uint64_t max_bytes) MUST_CHECK;
bool http1_body_is_done(const struct http1_body *body);
/* Takes bytes from the front of `in`: *consumed of them; *content is a slice of `in` (may be
 * empty). Call again with the rest while it makes progress and is not done; when `in` is used up
 * and the body not done, wait for more. ERR_OK; ERR_SYNTAX with `fault` (400 and close); ERR_LIMIT
 * (413). After an error it stays refused. `fault` counts from the start of `in`. */
enum err http1_body_feed(struct http1_body *body, struct span in, size_t *consumed,
                         struct span *content, struct fault *fault) MUST_CHECK;

#endif
