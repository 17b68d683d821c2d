/*
 * timers: every deadline of a worker, in one hierarchical timing wheel with 1 ms slots.
 *
 * Five levels of 64 slots (64 ms, 4 s, 4.4 min, 4.7 h, 12.4 days) with a bitmap of used slots each,
 * so that arming, cancelling and finding the next deadline are O(1) whatever the number of timers.
 * Deadlines are absolute milliseconds of the injected monotonic clock: never rounded, never early.
 * A deadline beyond the last level is kept in it and placed again when the wheel comes round.
 * The clock only moves by timers_run, so tests drive it by hand. Threads: one worker.
 */
#ifndef POSTERN_BASE_TIMERS_H
#define POSTERN_BASE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define TIMERS_NONE UINT64_MAX

enum {
    TIMERS_LEVELS = 5,
    TIMERS_SLOTS = 64,
};

struct timer;
typedef void timer_fn(struct timer *timer);

/* Embedded in its owner; 40 bytes. Zero-filled + timer_init = not armed. */
struct timer {
    LIST_ENTRY(timer) slot;
    uint64_t deadline_ms; /* TIMERS_NONE when not armed */
    timer_fn *on_expire; /* called with the timer disarmed; may arm or cancel any timer, or free its
                          * owner */
    uint8_t level;       /* where it lies, for O(1) removal from the bitmap */
    uint8_t index;
};

LIST_HEAD(timer_slot, timer);

struct timers {
    uint64_t now_ms; /* as of the last timers_run: all that was due then has fired */
    uint64_t used[TIMERS_LEVELS];
    struct timer_slot slots[TIMERS_LEVELS][TIMERS_SLOTS];
};

void timers_init(struct timers *timers, uint64_t now_ms);
void timer_init(struct timer *timer, timer_fn *on_expire);
/* (Re)arms for `deadline_ms`; a deadline in the past fires at the next timers_run,
 * TIMERS_NONE only cancels. */
void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ms);
/* No effect when not armed. */
void timer_cancel(struct timers *timers, struct timer *timer);
static inline bool timer_is_armed(const struct timer *timer)
{
    return timer->deadline_ms != TIMERS_NONE;
}
/* The earliest time at which timers_run has something to do (a deadline, or a slot to sort down),
 * or TIMERS_NONE. Never later than the earliest deadline that is ahead; with one that is not,
 * now. */
uint64_t timers_next_ms(const struct timers *timers);
/* Moves the clock to `now_ms` (never back) and fires every timer whose deadline is <= now_ms, in
 * order of deadline (those already past when they were armed: together, as of the clock of then).
 * What a callback arms fires in the next call at the earliest. */
void timers_run(struct timers *timers, uint64_t now_ms);

#endif
