/*
 * test: what every unit test includes: cmocka with what it needs, and a few checks that say which
 * case of a table failed.
 */
#ifndef POSTERN_TEST_H
#define POSTERN_TEST_H

/* cmocka.h wants these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/span.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Both fail with the name of the case unless what they are given holds. */
#define CHECK(name, condition)     check_that(name, condition, #condition)
#define CHECK_INT(name, got, want) check_int(name, (long long)(got), (long long)(want), #got)

static inline void check_that(const char *name, bool holds, const char *what)
{
    if (!holds) {
        print_error("case \"%s\": not so: %s\n", name, what);
        fail();
    }
}

static inline void check_int(const char *name, long long got, long long want, const char *what)
{
    if (got != want) {
        print_error("case \"%s\": %s is %lld, want %lld\n", name, what, got, want);
        fail();
    }
}

static inline void check_span(const char *name, struct span got, struct span want)
{
    if (!span_eq(got, want)) {
        print_error("case \"%s\": got \"%.*s\", want \"%.*s\"\n", name, (int)got.len,
                    got.ptr != NULL ? got.ptr : "", (int)want.len,
                    want.ptr != NULL ? want.ptr : "");
        fail();
    }
}

/* Random operations must be the same in every run: a failure is repeated by running again. */
struct test_random {
    uint64_t state; /* not 0 */
};

static inline uint64_t test_random(struct test_random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

/* 0..bound-1 */
static inline size_t test_below(struct test_random *random, size_t bound)
{
    return (size_t)(test_random(random) >> 11) % bound;
}

#endif
