/*
 * cors: which origins may use a mount, and the header fields that say so (the CORS part of the
 * WHATWG Fetch standard; requirements of SockJS and threat model row 13).
 *
 * The list is applied to every transport request and to WebSocket upgrades alike: leaving a CORS
 * field out does not stop a "simple" cross-site POST, a 403 does. Pure over a request; the owning
 * worker.
 */
#ifndef POSTERN_HTTP_CORS_H
#define POSTERN_HTTP_CORS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/span.h"
#include "http/http_req.h"

struct cors_policy {
    bool any;         /* "*": every origin, also "null" */
    bool same_origin; /* an Origin equal to scheme://Host of the request */
    /* Exact values, e.g. "https://app.example" or "null"; one with a '!' before it is refused,
     * whatever else allows it. The words for many may stand among them: no browser sends one. */
    const char *const *origins;
    size_t n_origins;
};

enum cors_verdict {
    CORS_NO_ORIGIN, /* the request has none: not a cross-origin fetch, or a GET that never carries
                       one */
    CORS_ALLOWED,
    CORS_REFUSED, /* answer 403 and no CORS field */
};

enum cors_verdict cors_check(const struct cors_policy *policy, const struct http_req *req);

/* The same for a GET that a page can make without an Origin: by <script>, <iframe>, or an
 * EventSource of its own origin. Where the list is not only `*`, Sec-Fetch-Site and the origin of
 * Referer stand in for it; a page can hide the second, but forge neither. With none of the three it
 * is CORS_NO_ORIGIN: an old browser, or none, and as long as no handler sees a cookie there is
 * nothing to steal. */
enum cors_verdict cors_check_embedded(const struct cors_policy *policy, const struct http_req *req);

/* Appends the sources of Content-Security-Policy's frame-ancestors that the list stands for, each
 * with a blank before it: `'none'` where no page may. Not for a list with `*`. */
enum err cors_put_ancestors(struct buf *out, const struct cors_policy *policy) MUST_CHECK;

/* Appends the field lines of an answer that is not a refusal: Origin sent -> that very value with
 * Allow-Credentials; not sent -> `*`, but only where the list is `*`; Vary always. ERR_NOMEM. */
enum err cors_put(struct buf *fields, const struct cors_policy *policy,
                  const struct http_req *req) MUST_CHECK;
/* The further lines of an answer to a preflight; `methods` e.g. "OPTIONS, POST". */
enum err cors_put_preflight(struct buf *fields, const struct http_req *req,
                            struct span methods) MUST_CHECK;

#endif
