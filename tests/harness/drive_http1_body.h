/* drive_http1_body: http1_body_feed for feed.h: one body, then stop. */
#ifndef POSTERN_HARNESS_DRIVE_HTTP1_BODY_H
#define POSTERN_HARNESS_DRIVE_HTTP1_BODY_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/http1_body.h"

struct drive_body {
    enum http1_framing framing;
    uint64_t content_length;
    uint64_t max_bytes;
    size_t n_taken;
    struct http1_body body;
    struct transcript transcript;
};

static inline void drive_body_start(void *ctx)
{
    struct drive_body *d = ctx;

    transcript_clear(&d->transcript);
    d->n_taken = 0;
    if (http1_body_init(&d->body, d->framing, d->content_length, d->max_bytes) != ERR_OK) {
        transcript_add(&d->transcript, "!limit at once");
    }
}

/* The content, then "." when it is whole with the size of all, or "!" and the error. */
static inline size_t drive_body_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_body *d = ctx;
    struct fault fault = {0, NULL};
    struct span content;
    size_t at = 0;

    while (at < len && !http1_body_is_done(&d->body)) {
        size_t n = 0;
        enum err e = http1_body_feed(&d->body, span_of(bytes + at, len - at), &n, &content, &fault);
        if (e != ERR_OK) {
            transcript_add(&d->transcript, "!%s %s @%zu", err_name(e), fault.why,
                           d->n_taken + fault.offset);
            *stop = true;
            return at;
        }
        if (n == 0) {
            abort(); /* it must make progress */
        }
        transcript_bytes(&d->transcript, content);
        at += n;
        d->n_taken += n;
    }
    if (http1_body_is_done(&d->body)) {
        transcript_add(&d->transcript, ".(%zu)", d->n_taken);
        *stop = true;
    }
    return at;
}

static inline const char *drive_body_text(void *ctx)
{
    struct drive_body *d = ctx;

    return transcript_text(&d->transcript);
}

static inline struct feed drive_body_feed(struct drive_body *d)
{
    return (struct feed){d, drive_body_start, drive_body_take, drive_body_text};
}

#endif
