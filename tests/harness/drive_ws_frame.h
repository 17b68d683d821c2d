/* drive_ws_frame: ws_parse for feed.h: a stream of frames up to a fault. */
#ifndef POSTERN_HARNESS_DRIVE_WS_FRAME_H
#define POSTERN_HARNESS_DRIVE_WS_FRAME_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/ws_frame.h"

struct drive_ws {
    struct ws_limits limits;
    struct ws_parser parser;
    struct transcript transcript;
    struct transcript message; /* pieces of the open one; how they were cut must not show */
    bool is_open;
};

static inline void drive_ws_start(void *ctx)
{
    struct drive_ws *d = ctx;

    d->parser = (struct ws_parser){0};
    d->is_open = false;
    transcript_clear(&d->transcript);
    transcript_clear(&d->message);
}

static inline void drive_ws_data(struct drive_ws *d, const struct ws_event *event)
{
    if (event->is_first == d->is_open) {
        abort(); /* is_first exactly once, at the front */
    }
    d->is_open = !event->is_last;
    transcript_bytes(&d->message, event->payload);
    if (event->is_last) {
        transcript_add(&d->transcript, "%s%s[", event->opcode == WS_TEXT ? "text" : "binary",
                       event->is_compressed ? "z" : "");
        struct span all = span_of(transcript_text(&d->message), d->message.len);
        memcpy(transcript_room(&d->transcript, all.len), all.ptr, all.len + 1);
        d->transcript.len += all.len;
        transcript_add(&d->transcript, "] ");
        transcript_clear(&d->message);
    }
}

static inline void drive_ws_control(struct drive_ws *d, const struct ws_event *event)
{
    struct transcript *t = &d->transcript;

    if (event->opcode == WS_CLOSE) {
        transcript_add(t, "close[%u ", event->close_code);
        transcript_bytes(t, event->close_reason);
    } else {
        transcript_add(t, event->opcode == WS_PING ? "ping[" : "pong[");
        transcript_bytes(t, event->payload);
    }
    transcript_add(t, "] ");
}

static inline size_t drive_ws_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_ws *d = ctx;
    struct ws_fault fault = {0, NULL};
    struct ws_event event;
    size_t at = 0;

    for (;;) {
        size_t n = 0;
        enum err e = ws_parse(&d->parser, &d->limits, bytes + at, len - at, &n, &event, &fault);
        if (e != ERR_OK) {
            transcript_add(&d->transcript, "!%u %s", fault.close_code, fault.why);
            *stop = true;
            return at;
        }
        at += n;
        if (event.type == WS_EVENT_NONE) {
            if (len - at >= WS_MAX_LOOKAHEAD) {
                abort(); /* at most an unfinished control frame is left */
            }
            return at;
        }
        if (event.type == WS_EVENT_DATA) {
            drive_ws_data(d, &event);
        } else {
            drive_ws_control(d, &event);
        }
    }
}

static inline const char *drive_ws_text(void *ctx)
{
    struct drive_ws *d = ctx;

    return transcript_text(&d->transcript);
}

static inline struct feed drive_ws_feed(struct drive_ws *d)
{
    return (struct feed){d, drive_ws_start, drive_ws_take, drive_ws_text};
}

#endif
