/* drive_http1_head: http1_request_parse for feed.h: one request head, then stop. */
#ifndef POSTERN_HARNESS_DRIVE_HTTP1_HEAD_H
#define POSTERN_HARNESS_DRIVE_HTTP1_HEAD_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/http1_head.h"

struct drive_head {
    struct http1_limits limits;
    uint32_t scanned;
    struct http1_head head;
    struct transcript transcript;
};

static inline void drive_head_start(void *ctx)
{
    struct drive_head *d = ctx;

    d->scanned = 0;
    transcript_clear(&d->transcript);
}

/* method target 1.minor keep|close [100] [upgrade] body host{..} n name: value| ... */
static inline void drive_head_print(struct transcript *t, const struct http1_head *head)
{
    transcript_add(t, "%d:", (int)head->method);
    transcript_bytes(t, head->method_name);
    transcript_add(t, " ");
    transcript_bytes(t, head->target);
    transcript_add(t, " 1.%u %s%s%s ", head->minor, head->keep_alive ? "keep" : "close",
                   head->expects_100 ? " 100" : "", head->has_upgrade ? " upgrade" : "");
    if (head->framing == HTTP1_BODY_LENGTH) {
        transcript_add(t, "length=%llu", (unsigned long long)head->content_length);
    } else {
        transcript_add(t, "%s", head->framing == HTTP1_BODY_NONE ? "none" : "chunked");
    }
    transcript_add(t, " host{");
    transcript_bytes(t, head->host);
    transcript_add(t, "} %u", head->n_fields);
    for (size_t i = 0; i < head->n_fields; i++) {
        transcript_add(t, " ");
        transcript_bytes(t, head->fields[i].name);
        transcript_add(t, ": ");
        transcript_bytes(t, head->fields[i].value);
        transcript_add(t, "|");
    }
}

static inline size_t drive_head_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_head *d = ctx;
    struct http1_fault fault = {.why = NULL};
    size_t n = 0;

    enum err e =
        http1_request_parse(span_of(bytes, len), &d->limits, &d->scanned, &d->head, &n, &fault);
    if (e == ERR_AGAIN) {
        return 0;
    }
    *stop = true;
    if (e == ERR_OK) {
        drive_head_print(&d->transcript, &d->head);
        transcript_add(&d->transcript, " (%zu)", n);
        return n;
    }
    transcript_add(&d->transcript, "%u %s @%zu %s", fault.status, fault.why, fault.offset,
                   err_name(e));
    return 0;
}

static inline const char *drive_head_text(void *ctx)
{
    struct drive_head *d = ctx;

    return d->transcript.len != 0 ? d->transcript.text : "more";
}

static inline struct feed drive_head_feed(struct drive_head *d)
{
    return (struct feed){d, drive_head_start, drive_head_take, drive_head_text};
}

#endif
