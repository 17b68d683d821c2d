/*
 * fake_kit: a worker's kit whose clock is set by hand: no test of a deadline waits for one.
 */
#ifndef POSTERN_HARNESS_FAKE_KIT_H
#define POSTERN_HARNESS_FAKE_KIT_H

#include "base/kit.h"
#include "harness/test.h"

enum {
    FAKE_START_MS = 1000000,
};

static inline void fake_kit_init(struct kit *kit)
{
    kit_init(kit, 0, 1, (struct hash_key){1, 2}, FAKE_START_MS);
}

/* The end of the present loop turn, and of those that it asks for. */
static inline void fake_kit_turn(struct kit *kit)
{
    do {
        turn_end(&kit->turn);
    } while (!turn_is_idle(&kit->turn));
}

/* The next turn comes `ms` later: due timers fire, then its end. */
static inline void fake_kit_pass(struct kit *kit, uint64_t ms)
{
    kit->now_ms += ms;
    timers_run(&kit->timers, kit->now_ms);
    fake_kit_turn(kit);
}

/* Nothing may be left that could call into freed memory. */
static inline void fake_kit_fini(struct kit *kit)
{
    fake_kit_turn(kit);
    assert_true(timers_next_ms(&kit->timers) == TIMERS_NONE);
    kit_fini(kit);
}

#endif
