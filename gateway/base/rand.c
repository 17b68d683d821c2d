/*
 * rand: every id, key and mask that must not be guessed. See rand.h.
 *
 * The kernel is asked for 256 bytes at a time: a system call per id would cost more than the id.
 */
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

static void ask_kernel(uint8_t *out, size_t n)
{
    while (n != 0) {
        ssize_t got = getrandom(out, n, 0);
        ASSERT(got >= 0 || errno == EINTR);
        if (got > 0) {
            out += got;
            n -= (size_t)got;
        }
    }
}

void rand_bytes(struct rand *rand, void *out, size_t n)
{
    if (n > sizeof rand->pool) {
        ask_kernel(out, n);
        return;
    }
    if (n > rand->left) {
        ask_kernel(rand->pool, sizeof rand->pool);
        rand->left = sizeof rand->pool;
    }
    uint8_t *from = rand->pool + sizeof rand->pool - rand->left;
    memcpy(out, from, n);
    /* What was given out is some session's secret: it must not be found in a core dump. */
    explicit_bzero(from, n);
    rand->left = (uint16_t)(rand->left - n);
}

uint32_t rand_u32(struct rand *rand)
{
    uint32_t value;
    rand_bytes(rand, &value, sizeof value);
    return value;
}

uint32_t rand_below(struct rand *rand, uint32_t bound)
{
    ASSERT(bound != 0);
    /* 2^32 mod bound: the values below it would favour small results, so they are drawn again. */
    uint32_t n_unfair = (0U - bound) % bound;
    uint32_t value = rand_u32(rand);
    while (value < n_unfair) {
        value = rand_u32(rand);
    }
    return value % bound;
}

void rand_id(struct rand *rand, char out[RAND_ID_CHARS])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[RAND_ID_CHARS];
    rand_bytes(rand, bytes, sizeof bytes);
    for (size_t i = 0; i < RAND_ID_CHARS; i++) {
        out[i] = alphabet[bytes[i] & 63];
    }
    explicit_bzero(bytes, sizeof bytes);
}
