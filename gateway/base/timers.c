/*
 * timers: the wheel behind every deadline of a worker. See timers.h.
 *
 * A timer lies at the level of the highest digit (base 64) in which its deadline and the clock
 * differ, in the slot of that digit of its deadline. From this follow the invariants that make all
 * of it O(1):
 *   - a used slot of level 0 is at or after the clock's digit, of levels 1 to 3 strictly after it,
 * and all of them lie in the same turn of their level as the clock;
 *   - so the first used slot of the lowest used level is the earliest event of the whole wheel.
 * Level 4 alone goes round: it also keeps what is more than a turn away, and a slot that is not
 * ahead of the clock in this turn belongs to the next one. timers_run first moves everything due
 * into one list in order, then sets the clock, then fires: what a callback arms is placed against
 * the final clock and can neither be lost nor fire in the same call.
 */
#include "base/timers.h"

#include <stddef.h>

enum {
    DIGIT_BITS = 6,
    DIGIT_MASK = TIMERS_SLOTS - 1,
    LAST_LEVEL = TIMERS_LEVELS - 1,
};

void timers_init(struct timers *timers, uint64_t now_ms)
{
    *timers = (struct timers){.now_ms = now_ms};
}

void timer_init(struct timer *timer, timer_fn *on_expire)
{
    *timer = (struct timer){.deadline_ms = TIMERS_NONE, .on_expire = on_expire};
}

static unsigned digit_of(uint64_t ms, unsigned level)
{
    return (unsigned)(ms >> (level * DIGIT_BITS)) & DIGIT_MASK;
}

/* Puts a timer that is in no list where its deadline belongs; the past counts as now. */
static void place(struct timers *timers, struct timer *timer)
{
    uint64_t at = timer->deadline_ms > timers->now_ms ? timer->deadline_ms : timers->now_ms;
    uint64_t difference = (at ^ timers->now_ms) | DIGIT_MASK;
    unsigned level = (unsigned)(63 - __builtin_clzll(difference)) / DIGIT_BITS;
    if (level > LAST_LEVEL) {
        level = LAST_LEVEL;
    }
    unsigned index = digit_of(at, level);
    timer->level = (uint8_t)level;
    timer->index = (uint8_t)index;
    timers->used[level] |= UINT64_C(1) << index;
    LIST_INSERT_HEAD(&timers->slots[level][index], timer, slot);
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
    if (!timer_is_armed(timer)) {
        return;
    }
    LIST_REMOVE(timer, slot);
    timer->deadline_ms = TIMERS_NONE;
    /* A timer that is due already lies in the list of timers_run; the test is right for it too. */
    if (LIST_EMPTY(&timers->slots[timer->level][timer->index])) {
        timers->used[timer->level] &= ~(UINT64_C(1) << timer->index);
    }
}

void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ms)
{
    timer_cancel(timers, timer);
    if (deadline_ms != TIMERS_NONE) {
        timer->deadline_ms = deadline_ms;
        place(timers, timer);
    }
}

/* The earliest used slot: its level and index, and when it begins. */
struct event {
    uint64_t at_ms;
    unsigned level;
    unsigned index;
};

static struct event event_at(const struct timers *timers, unsigned level, unsigned index)
{
    unsigned shift = level * DIGIT_BITS;
    uint64_t turn = timers->now_ms >> (shift + DIGIT_BITS);
    return (struct event){(turn << DIGIT_BITS | index) << shift, level, index};
}

static struct event last_level_event(const struct timers *timers)
{
    uint64_t used = timers->used[LAST_LEVEL];
    unsigned digit = digit_of(timers->now_ms, LAST_LEVEL);
    /* Two shifts, because digit + 1 may be 64. */
    uint64_t ahead = used >> digit >> 1;
    if (ahead != 0) {
        return event_at(timers, LAST_LEVEL, digit + 1 + (unsigned)__builtin_ctzll(ahead));
    }
    struct event next_turn = event_at(timers, LAST_LEVEL, (unsigned)__builtin_ctzll(used));
    next_turn.at_ms += UINT64_C(1) << (TIMERS_LEVELS * DIGIT_BITS);
    return next_turn;
}

static struct event first_event(const struct timers *timers)
{
    for (unsigned level = 0; level < LAST_LEVEL; level++) {
        if (timers->used[level] != 0) {
            return event_at(timers, level, (unsigned)__builtin_ctzll(timers->used[level]));
        }
    }
    if (timers->used[LAST_LEVEL] != 0) {
        return last_level_event(timers);
    }
    return (struct event){.at_ms = TIMERS_NONE};
}

uint64_t timers_next_ms(const struct timers *timers)
{
    return first_event(timers).at_ms;
}

/* Sorts one slot down: into lower levels, or (what is due) behind `tail`. Returns the new tail. */
static struct timer **empty_slot(struct timers *timers, struct event event, struct timer **tail)
{
    struct timer_slot *slot = &timers->slots[event.level][event.index];
    struct timer *next = LIST_FIRST(slot);
    LIST_INIT(slot);
    timers->used[event.level] &= ~(UINT64_C(1) << event.index);
    while (next != NULL) {
        struct timer *timer = next;
        next = LIST_NEXT(timer, slot);
        if (event.level != 0) {
            place(timers, timer);
            continue;
        }
        /* Appends to a LIST, which sys/queue.h has no macro for. */
        timer->slot.le_prev = tail;
        timer->slot.le_next = NULL;
        *tail = timer;
        tail = &timer->slot.le_next;
    }
    return tail;
}

void timers_run(struct timers *timers, uint64_t now_ms)
{
    if (now_ms < timers->now_ms || now_ms == TIMERS_NONE) {
        now_ms = timers->now_ms;
    }
    struct timer_slot due = LIST_HEAD_INITIALIZER(due);
    struct timer **tail = &LIST_FIRST(&due);
    struct event event = first_event(timers);
    while (event.at_ms <= now_ms) {
        timers->now_ms = event.at_ms;
        tail = empty_slot(timers, event, tail);
        event = first_event(timers);
    }
    timers->now_ms = now_ms;
    while (!LIST_EMPTY(&due)) {
        struct timer *timer = LIST_FIRST(&due);
        LIST_REMOVE(timer, slot);
        timer->deadline_ms = TIMERS_NONE;
        timer->on_expire(timer);
    }
}
