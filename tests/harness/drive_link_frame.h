/* drive_link_frame: link_frame_parse for feed.h: a stream of frames up to a fault. */
#ifndef POSTERN_HARNESS_DRIVE_LINK_FRAME_H
#define POSTERN_HARNESS_DRIVE_LINK_FRAME_H

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/link_frame.h"

struct drive_link {
    uint64_t max_payload;
    size_t n_taken;
    struct link_verb verb;
    struct transcript transcript;
};

static inline void drive_link_start(void *ctx)
{
    struct drive_link *d = ctx;

    d->n_taken = 0;
    transcript_clear(&d->transcript);
}

/* VERB(word,args...)[payload] */
static inline void drive_link_print(struct transcript *t, const struct link_verb *verb)
{
    transcript_add(t, "%s(", link_verb_name(verb->id));
    transcript_bytes(t, verb->word);
    for (size_t i = 0; i < verb->n_args; i++) {
        transcript_add(t, ",");
        transcript_bytes(t, verb->args[i]);
    }
    transcript_add(t, ")[");
    transcript_bytes(t, verb->payload);
    transcript_add(t, "] ");
}

static inline size_t drive_link_take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive_link *d = ctx;
    struct fault fault = {0, NULL};
    size_t at = 0;

    while (at < len) {
        size_t n = 0;
        size_t needed = 0;
        enum err e = link_frame_parse(span_of(bytes + at, len - at), d->max_payload, &d->verb, &n,
                                      &needed, &fault);
        if (e == ERR_AGAIN) {
            if (n != 0 || (needed != 0 && needed <= len - at)) {
                abort(); /* it needs more than there is */
            }
            return at;
        }
        if (e != ERR_OK) {
            transcript_add(&d->transcript, "!%s %s @%zu", err_name(e), fault.why,
                           d->n_taken + fault.offset);
            *stop = true;
            return at;
        }
        drive_link_print(&d->transcript, &d->verb);
        at += n;
        d->n_taken += n;
    }
    return at;
}

static inline const char *drive_link_text(void *ctx)
{
    struct drive_link *d = ctx;

    return transcript_text(&d->transcript);
}

static inline struct feed drive_link_feed(struct drive_link *d)
{
    return (struct feed){d, drive_link_start, drive_link_take, drive_link_text};
}

#endif
