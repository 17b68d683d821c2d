/*
 * rand: random bytes and ids from the kernel's CSPRNG (getrandom), read 256 bytes at a time per
 * worker. Used bytes are wiped. A zeroed state is ready for use; it must not be used on both sides
 * of a fork. Threads: a `struct rand` belongs to one worker.
 */
#ifndef POSTERN_BASE_RAND_H
#define POSTERN_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint8_t pool[256];
    uint16_t left; /* unused bytes at the end of pool */
};

/* Fills `out`. getrandom cannot fail after boot with these sizes; if it does, the process aborts,
 * because every id that followed would be guessable. */
void rand_bytes(struct rand *rand, void *out, size_t n);
uint32_t rand_u32(struct rand *rand);
/* Uniform in 0..bound-1; bound >= 1. */
uint32_t rand_below(struct rand *rand, uint32_t bound);
enum {
    RAND_ID_CHARS = 22
};
/* Writes 22 characters of [A-Za-z0-9_-] (132 bits) and no NUL. */
void rand_id(struct rand *rand, char out[RAND_ID_CHARS]);

#endif
