/* wire_test: how the tests of gateway/wire judge a case: every way agrees, and says what is wanted.
 */
#ifndef POSTERN_HARNESS_WIRE_TEST_H
#define POSTERN_HARNESS_WIRE_TEST_H

#include <stdlib.h>
#include <string.h>

#include "harness/feed.h"
#include "harness/test.h"

/* The transcript of `in`, which must be the same every way, begins with `want`; is it when
 * `exactly`. */
static inline void wire_check(const struct feed *feed, const char *name, struct span in,
                              const char *want, bool exactly)
{
    char *got = feed_every_way(feed, in);

    if (got == NULL) {
        fail_msg("%s: the way of feeding changes the result", name);
        return;
    }
    bool is_good = exactly ? strcmp(got, want) == 0 : strncmp(got, want, strlen(want)) == 0;
    if (!is_good) {
        print_error("%s:\n  got  %s\n  want %s\n", name, got, want);
    }
    free(got);
    assert_true(is_good);
}

#endif
