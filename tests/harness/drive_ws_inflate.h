/* drive_ws_inflate: ws_inflate for feed.h: compressed messages one behind the other, up to a
 * fault. */
#ifndef POSTERN_HARNESS_DRIVE_WS_INFLATE_H
#define POSTERN_HARNESS_DRIVE_WS_INFLATE_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/ws_inflate.h"

enum {
    DRIVE_INFLATE_MAX_MESSAGES = 8,
};

struct drive_inflate {
    struct ws_deflate_pool *pool;
    struct ws_deflate_terms terms;
    uint64_t max_bytes;
    enum ws_opcode opcode;
    bool has_late_end; /* the last frame of each message is an empty one */
    size_t lens[DRIVE_INFLATE_MAX_MESSAGES];
    size_t n_messages;

    struct ws_inflate inflate;
    bool is_open; /* `inflate` was begun */
    size_t at;    /* the present message */
    size_t left;  /* of its bytes */
    struct transcript transcript;
    struct transcript message;
};

static inline void drive_inflate_end(struct drive_inflate *d)
{
    if (d->is_open) {
        ws_inflate_fini(&d->inflate);
        d->is_open = false;
    }
}

static inline void drive_inflate_start(void *ctx)
{
    struct drive_inflate *d = ctx;

    drive_inflate_end(d);
    ws_inflate_init(&d->inflate, d->pool, &d->terms, d->max_bytes);
    d->is_open = true;
    d->at = 0;
    d->left = d->n_messages != 0 ? d->lens[0] : 0;
    transcript_clear(&d->transcript);
    transcript_clear(&d->message);
}

/* False: a fault. */
static inline bool drive_inflate_event(struct drive_inflate *d, struct span payload, bool is_last)
{
    struct ws_event event = {.opcode = d->opcode, .is_last = is_last, .is_compressed = true};
    struct ws_fault fault = {0, NULL};
    struct span out = SPAN_NONE;
    uint64_t before = d->inflate.out_bytes;
    enum err e = ERR_AGAIN;

    while (e == ERR_AGAIN) {
        e = ws_inflate_step(&d->inflate, &event, &payload, &out, &fault);
        if (out.len > WS_DEFLATE_STEP_BYTES || d->inflate.out_bytes > d->max_bytes + 1 ||
            (e == ERR_AGAIN && d->inflate.out_bytes == before)) {
            abort(); /* too much, or for ever */
        }
        before = d->inflate.out_bytes;
        transcript_bytes(&d->message, out);
    }
    if (e != ERR_OK) {
        transcript_add(&d->transcript, "!%u %s", fault.close_code, fault.why);
        return false;
    }
    if (payload.len != 0) {
        abort();
    }
    if (is_last) {
        struct span all = span_of(transcript_text(&d->message), d->message.len);
        memcpy(transcript_room(&d->transcript, all.len), all.ptr, all.len + 1);
        d->transcript.len += all.len;
        transcript_add(&d->transcript, ". ");
        transcript_clear(&d->message);
    }
    return true;
}

static inline size_t drive_inflate_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_inflate *d = ctx;
    size_t used = 0;

    while (!*stop && used < len && d->at < d->n_messages) {
        size_t n = d->left < len - used ? d->left : len - used;
        d->left -= n;
        bool is_end = d->left == 0;
        *stop = !drive_inflate_event(d, span_of(bytes + used, n), is_end && !d->has_late_end) ||
                (is_end && d->has_late_end && !drive_inflate_event(d, SPAN_NONE, true));
        used += n;
        if (is_end && ++d->at < d->n_messages) {
            d->left = d->lens[d->at];
        }
    }
    return len;
}

static inline const char *drive_inflate_text(void *ctx)
{
    return transcript_text(&((struct drive_inflate *)ctx)->transcript);
}

static inline struct feed drive_inflate_feed(struct drive_inflate *d)
{
    return (struct feed){d, drive_inflate_start, drive_inflate_take, drive_inflate_text};
}

#endif
