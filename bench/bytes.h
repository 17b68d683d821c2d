/*
 * bytes: a growable queue of bytes. Per-connection ones are given back with bytes_fini() when they
 * are empty, so that ten thousand idle connections cost no buffers; hot ones keep their memory.
 * Running out of memory ends the program: a bench has no plan B.
 */
#ifndef POSTERN_BENCH_BYTES_H
#define POSTERN_BENCH_BYTES_H

#include <stddef.h>

struct bytes {
    char *memory;
    size_t begin; /* the first byte queued */
    size_t n;
    size_t room;
};

void bytes_append(struct bytes *bytes, const void *from, size_t n);

/* The n bytes queued, good until the next append. */
char *bytes_data(const struct bytes *bytes);

/* Drops the first n bytes and moves nothing; memory stays. */
void bytes_consume(struct bytes *bytes, size_t n);

void bytes_fini(struct bytes *bytes);

/* calloc that prints a sentence and exits instead of returning NULL. */
void *bytes_calloc(size_t n, size_t size) __attribute__((returns_nonnull));

#endif
