/* drive_hixie76: hixie76_parse for feed.h: a stream of frames up to a fault. */
#ifndef POSTERN_HARNESS_DRIVE_HIXIE76_H
#define POSTERN_HARNESS_DRIVE_HIXIE76_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/hixie76.h"

struct drive_hixie76 {
    uint64_t max_message_bytes;
    struct hixie76_parser parser;
    struct transcript transcript;
    struct transcript message; /* pieces of the open one; how they were cut must not show */
    bool is_open;
    bool is_closed;
};

static inline void drive_hixie76_start(void *ctx)
{
    struct drive_hixie76 *d = ctx;

    d->parser = (struct hixie76_parser){0};
    d->is_open = false;
    d->is_closed = false;
    transcript_clear(&d->transcript);
    transcript_clear(&d->message);
}

static inline void drive_hixie76_text(struct drive_hixie76 *d, const struct hixie76_event *event)
{
    if (event->is_first == d->is_open || d->is_closed) {
        abort(); /* is_first exactly once, at the front, and nothing behind a closing frame */
    }
    d->is_open = !event->is_last;
    transcript_bytes(&d->message, event->payload);
    if (event->is_last) {
        transcript_add(&d->transcript, "[");
        struct span all = span_of(transcript_text(&d->message), d->message.len);
        memcpy(transcript_room(&d->transcript, all.len), all.ptr, all.len);
        d->transcript.len += all.len;
        transcript_add(&d->transcript, "] ");
        transcript_clear(&d->message);
    }
}

static inline size_t drive_hixie76_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_hixie76 *d = ctx;
    struct ws_fault fault = {0, NULL};
    struct hixie76_event event;
    size_t at = 0;

    for (;;) {
        size_t n = 0;
        if (hixie76_parse(&d->parser, d->max_message_bytes, span_of(bytes + at, len - at), &n,
                          &event, &fault) != ERR_OK) {
            transcript_add(&d->transcript, "!%u %s", fault.close_code, fault.why);
            *stop = true;
            return at;
        }
        at += n;
        if (event.type == HIXIE76_EVENT_NONE) {
            if (at != len) {
                abort(); /* nothing is ever left waiting */
            }
            return at;
        }
        if (event.type == HIXIE76_EVENT_TEXT) {
            drive_hixie76_text(d, &event);
        } else {
            transcript_add(&d->transcript, "close");
            d->is_closed = true;
        }
    }
}

static inline const char *drive_hixie76_said(void *ctx)
{
    struct drive_hixie76 *d = ctx;

    return transcript_text(&d->transcript);
}

static inline struct feed drive_hixie76_feed(struct drive_hixie76 *d)
{
    return (struct feed){d, drive_hixie76_start, drive_hixie76_take, drive_hixie76_said};
}

#endif
