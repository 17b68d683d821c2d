/*
 * feed: the same bytes whole, byte by byte and cut at every place. A parser must not notice, so the
 * transcripts of all ways must be equal.
 *
 * It stands in for a connection: bytes that the parser leaves come again in front of the next ones,
 * in storage of exactly their size that is new each time, so that the sanitizer sees a slice kept
 * too long and a read one byte too far. No cmocka here: the fuzz targets use it too.
 */
#ifndef POSTERN_HARNESS_FEED_H
#define POSTERN_HARNESS_FEED_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

struct feed {
    void *ctx;
    /* A new parser and an empty transcript. */
    void (*start)(void *ctx);
    /* Takes what it can from `bytes` (and may change them); returns how many are used up. Sets
     * *stop when it wants no more: an error, or the end. */
    size_t (*take)(void *ctx, char *bytes, size_t len, bool *stop);
    /* The transcript so far; valid until the next start. */
    const char *(*text)(void *ctx);
};

static inline char *feed_alloc(size_t n)
{
    char *bytes = malloc(n != 0 ? n : 1);

    if (bytes == NULL) {
        abort();
    }
    return bytes;
}

static inline void feed_copy(char *to, const char *from, size_t n)
{
    if (n != 0) {
        memcpy(to, from, n);
    }
}

/* Feeds `in` in a first piece of `first` bytes and then pieces of `step` bytes (both >= 1). */
static inline const char *feed_pieces(const struct feed *feed, struct span in, size_t first,
                                      size_t step)
{
    char *held = NULL;
    size_t n_held = 0;
    bool stop = false;

    feed->start(feed->ctx);
    for (size_t at = 0; at < in.len && !stop;) {
        size_t n = at == 0 ? first : step;
        n = n < in.len - at ? n : in.len - at;
        char *bytes = feed_alloc(n_held + n);
        feed_copy(bytes, held, n_held);
        feed_copy(bytes + n_held, in.ptr + at, n);
        free(held);
        at += n;
        size_t used = feed->take(feed->ctx, bytes, n_held + n, &stop);
        n_held = n_held + n - used;
        held = feed_alloc(n_held);
        feed_copy(held, bytes + used, n_held);
        free(bytes);
    }
    free(held);
    return feed->text(feed->ctx);
}

/* Compares one way with the transcript `whole`; tells on stderr how they differ. */
static inline bool feed_agrees(const struct feed *feed, struct span in, const char *whole,
                               size_t first, size_t step)
{
    const char *text = feed_pieces(feed, in, first, step);

    if (strcmp(text, whole) == 0) {
        return true;
    }
    (void)fprintf(stderr, "first piece %zu, then %zu:\n  %s\nwhole:\n  %s\n", first, step, text,
                  whole);
    return false;
}

static inline char *feed_whole(const struct feed *feed, struct span in)
{
    const char *text = feed_pieces(feed, in, in.len != 0 ? in.len : 1, 1);
    size_t size = strlen(text) + 1;
    char *whole = feed_alloc(size);

    memcpy(whole, text, size);
    return whole;
}

enum {
    FEED_EVERY_SPLIT_BYTES = 2048, /* above it, most splits are passed over */
    FEED_SPLIT_STRIDE = 101,
    FEED_SPLIT_EDGE = 16,
    FEED_FUZZ_BYTEWISE_BYTES = 400, /* it costs the square of the input */
};

/* All ways. Returns the transcript of the whole (the caller frees it), or NULL when a way differs.
 */
static inline char *feed_every_way(const struct feed *feed, struct span in)
{
    char *whole = feed_whole(feed, in);
    bool agrees = feed_agrees(feed, in, whole, 1, 1);

    for (size_t cut = 1; agrees && cut < in.len; cut++) {
        bool is_edge = cut < FEED_SPLIT_EDGE || in.len - cut < FEED_SPLIT_EDGE;
        if (in.len <= FEED_EVERY_SPLIT_BYTES || is_edge || cut % FEED_SPLIT_STRIDE == 0) {
            agrees = feed_agrees(feed, in, whole, cut, in.len);
        }
    }
    for (size_t step = 2; agrees && step <= 7 && step < in.len; step++) {
        agrees = feed_agrees(feed, in, whole, step, step);
    }
    if (!agrees) {
        free(whole);
        return NULL;
    }
    return whole;
}

/* For fuzz targets: whole, byte by byte (short inputs), and two ways that the bytes themselves
 * choose. Ends the process on a difference. */
static inline void feed_must_agree(const struct feed *feed, struct span in)
{
    char *whole = feed_whole(feed, in);
    size_t hash = 5381;

    for (size_t i = 0; i < in.len; i++) {
        hash = hash * 33 ^ (unsigned char)in.ptr[i];
    }
    bool agrees = in.len > FEED_FUZZ_BYTEWISE_BYTES || feed_agrees(feed, in, whole, 1, 1);
    if (agrees && in.len > 1) {
        agrees = feed_agrees(feed, in, whole, 1 + hash % in.len, in.len) &&
                 feed_agrees(feed, in, whole, 1 + hash / 7 % in.len, 1 + hash % 13);
    }
    free(whole);
    if (!agrees) {
        abort();
    }
}

#endif
