/*
 * http1_head: the head of an HTTP/1 request, strictly by RFC 9112 and RFC 9110: whatever is
 * ambiguous is refused, because a request that two hops read differently is an attack (threat model
 * rows 1 to 3).
 *
 * The head is parsed in one pass when its last byte is there; until then http1_request_parse only
 * looks at the new bytes for the blank line, so dripped bytes cost linear time. The result is
 * slices of the input.
 *
 * Refused with 400: bare CR or LF anywhere, NUL and other control bytes in a value (HTAB is
 * allowed), obs-fold, white space before the colon, an empty or non-token field name, a request
 * line with other than single blanks, leading white space before the first field, HTTP/1.1 without
 * exactly one valid Host, HTTP/1.0 with two or a malformed one, Content-Length that is not 1*DIGIT
 * or differs or repeats in any form (also "5, 5"), Transfer-Encoding together with Content-Length,
 * or in HTTP/1.0, or twice, or other than exactly "chunked" (501 for a well-formed other coding
 * that ends in chunked), an odd version ("HTTP/1.2" and up to 1.9 are served as 1.1; "HTTP/2.0" and
 * other majors 505; not of that form 400).
 *
 * One empty line (CRLF) before the request line is skipped (RFC 9112 2.2), no more; it counts in
 * head_bytes. Limits: 414 for the target, 431 for the head and the number of fields, 501 for a
 * method over 32 bytes. The answer never depends on how the bytes were split: what comes first in
 * the bytes is told first.
 *
 * Pure; any thread. Fuzz target: tests/fuzz/http1_head_fuzz.c.
 */
#ifndef POSTERN_WIRE_HTTP1_HEAD_H
#define POSTERN_WIRE_HTTP1_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum {
    HTTP1_MAX_FIELDS = 100, /* the array below; limits.max_fields may be lower */
};

struct http1_limits {
    uint32_t max_head_bytes;   /* all up to the blank line; default 16384 (size bomb, row 10) */
    uint32_t max_target_bytes; /* default 8192 */
    uint16_t max_fields;       /* default 100, at most HTTP1_MAX_FIELDS */
};

#define HTTP1_LIMITS_DEFAULT ((struct http1_limits){16384, 8192, 100})

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_CONNECT,
    HTTP_TRACE,
    HTTP_PATCH,
    HTTP_OTHER, /* a valid token that we do not know; `method_name` has it */
};

struct http1_field {
    struct span name;  /* a token, case as sent */
    struct span value; /* OWS trimmed; may be empty; obs-text (>= 0x80) passes */
};

enum http1_framing {
    HTTP1_BODY_NONE,   /* neither field: no body */
    HTTP1_BODY_LENGTH, /* content_length bytes (may be 0) */
    HTTP1_BODY_CHUNKED,
};

struct http1_head {
    enum http_method method;
    struct span method_name;
    struct span target;
    uint8_t minor;    /* 0 or 1 */
    bool keep_alive;  /* Connection and version say the connection goes on (RFC 9112 9.3) */
    bool expects_100; /* Expect: 100-continue (HTTP/1.1 only); another expectation is 417 */
    bool has_upgrade; /* Connection lists "upgrade" and Upgrade is there (HTTP/1.1 only) */
    enum http1_framing framing;
    uint64_t content_length; /* with HTTP1_BODY_LENGTH; up to INT64_MAX, so sums do not wrap */
    struct span host;        /* value of Host, empty when HTTP/1.0 sent none */
    uint16_t n_fields;
    struct http1_field fields[HTTP1_MAX_FIELDS];
};

struct http1_fault {
    uint16_t status; /* 400, 414, 417, 431, 501 or 505 */
    size_t offset;
    const char *why; /* for the log */
};

/* Parses a request head at the start of `in`.
 * `scanned`: in/out, 0 for a new request; how far earlier calls looked. The same bytes must be in
 * front again, and `limits` the same. ERR_OK sets it to 0 for the next request. ERR_OK: `head` is
 * filled, *head_bytes is its size with the blank line. ERR_AGAIN: more bytes needed. ERR_SYNTAX or
 * ERR_LIMIT: `fault` says what to answer; the connection must then close. Refuses as early as the
 * bytes allow: an over-long head at the limit, not at its end; a bad first byte of the method at
 * once. */
enum err http1_request_parse(struct span in, const struct http1_limits *limits, uint32_t *scanned,
                             struct http1_head *head, size_t *head_bytes,
                             struct http1_fault *fault) MUST_CHECK;

/* The first field of this name (ASCII case folded); NULL when there is none. */
const struct http1_field *http1_field_find(const struct http1_head *head, struct span name);
/* The field of this name; NULL when there is none, or more than one. */
const struct http1_field *http1_field_only(const struct http1_head *head, struct span name);
/* Whether a comma list (all fields of the name are one list) has the token, case folded. */
bool http1_list_has(const struct http1_head *head, struct span name, struct span token);
/* Walks one comma list: set *rest, call until false; items trimmed, empty ones passed over.
 * Quoted strings are not known: a comma in one is a comma. */
bool http1_list_next(struct span *rest, struct span *item);
/* Whether `s` is a non-empty token of RFC 9110 5.6.2. */
bool http1_is_token(struct span s);

#endif
