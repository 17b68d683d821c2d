/*
 * url: request targets (RFC 9112 3.2), percent-coding, queries and forms
 * (application/x-www-form-urlencoded).
 *
 * Routing works on the bytes as sent: nothing here normalises, collapses slashes or decodes a path.
 * Pure; any thread. Fuzz target: tests/fuzz/url_fuzz.c.
 */
#ifndef POSTERN_WIRE_URL_H
#define POSTERN_WIRE_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

enum url_form {
    URL_ORIGIN,    /* /path?query */
    URL_ABSOLUTE,  /* http://authority/path?query (to proxies; servers take it, RFC 9112 3.2.2) */
    URL_AUTHORITY, /* host:port, CONNECT only */
    URL_ASTERISK,  /* *, OPTIONS only */
};

struct url_target {
    enum url_form form;
    struct span authority; /* ABSOLUTE and AUTHORITY, else empty */
    struct span path;      /* begins with '/', or empty for AUTHORITY and ASTERISK; raw bytes */
    struct span query;     /* after '?', without it; raw bytes */
    bool has_query;        /* "/a?" has an empty one, "/a" has none */
};

/* Splits `target` for method `method` ("CONNECT" and "OPTIONS" matter). ERR_SYNTAX with `fault`
 * for: empty, a byte outside visible ASCII (0x21-0x7e), '#' (`"<>\^`{|}`, which no URI has either,
 * are let through: browsers send them), a form that the method does not allow, a scheme other than
 * http or https. An absolute form with no path has path "/". */
enum err url_split(struct span method, struct span target, struct url_target *out,
                   struct fault *fault) MUST_CHECK;

/* Whether `host` is a valid Host field value / authority: reg-name, IPv4 or [IPv6], optional :port
 * of 1..65535, no userinfo (RFC 9110 7.2). The empty value is not. */
bool url_is_valid_authority(struct span host);

/* Percent-decodes `in` to `out` (room for in.len; may be in.ptr). `plus_is_blank`: form rules. A
 * '%' not followed by two hex digits: ERR_SYNTAX. */
enum err url_decode(struct span in, bool plus_is_blank, char *out, size_t *out_len) MUST_CHECK;

/* Walks "a=1&b&c=": set *rest to the query, call until false. Name and value are raw slices; a pair
 * without '=' has an empty value; empty pairs ("&&") are passed over. */
bool url_query_next(struct span *rest, struct span *name, struct span *value);
/* The raw value of the first pair with this raw name; false when there is none. */
bool url_query_find(struct span query, struct span name, struct span *value);

#endif
