/*
 * loop: turns, the one clock reading in each, deadlines that end the wait, and what is left at the
 * end. Real time: waits of some milliseconds; nothing asserts that something was quick.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/scripted_io.h"
#include "harness/test.h"
#include "net/loop.h"

static struct rig rig;

/* libevent's heap. */
static bool has_no_memory;

static void *allocate(size_t n)
{
    return has_no_memory ? NULL : malloc(n);
}

static void *reallocate(void *block, size_t n)
{
    return has_no_memory ? NULL : realloc(block, n);
}

static int start(void **state)
{
    (void)state;
    rig_start_at(&rig, kit_clock_ms());
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

struct alarm {
    struct timer timer;
    uint64_t at_ms; /* kit->now_ms when it fired, 0 = not yet */
    bool stops;
};

static void on_alarm(struct timer *timer)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    alarm->at_ms = rig.kit.now_ms;
    if (alarm->stops) {
        loop_stop(rig.loop);
    }
}

static uint64_t arm(struct alarm *alarm, uint64_t in_ms)
{
    uint64_t at_ms = kit_clock_ms() + in_ms;
    timer_init(&alarm->timer, on_alarm);
    timer_arm(&rig.kit.timers, &alarm->timer, at_ms);
    return at_ms;
}

static void a_deadline_ends_the_wait_and_is_never_early(void **state)
{
    (void)state;
    struct alarm soon = {.stops = true};
    uint64_t at_ms = arm(&soon, 15);
    loop_run(rig.loop);
    assert_true(soon.at_ms >= at_ms);
}

static void an_earlier_deadline_moves_the_wake_up_forward(void **state)
{
    (void)state;
    struct alarm late = {.stops = true};
    struct alarm soon = {.stops = true};
    (void)arm(&late, 3600 * 1000);
    loop_run_once(rig.loop, false); /* the wake-up is armed for an hour ahead */
    (void)arm(&soon, 5);
    loop_run(rig.loop);
    assert_true(soon.at_ms != 0);
    assert_int_equal(late.at_ms, 0);
    timer_cancel(&rig.kit.timers, &late.timer);
}

static void a_cancelled_deadline_costs_empty_turns_only(void **state)
{
    (void)state;
    struct alarm none = {.stops = true};
    struct alarm last = {.stops = true};
    (void)arm(&none, 5);
    loop_run_once(rig.loop, false);
    timer_cancel(&rig.kit.timers, &none.timer);
    (void)arm(&last, 20);
    unsigned n_turns = 0;
    while (last.at_ms == 0) {
        loop_run_once(rig.loop, true);
        n_turns++;
    }
    assert_int_equal(none.at_ms, 0);
    assert_in_range(n_turns, 2, 12); /* no spin up to it */
}

static void on_nothing(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
}

static void a_deadline_needs_no_memory(void **state)
{
    (void)state;
    struct alarm soon = {.stops = true};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    /* Something to wait for: without any event the loop does not sleep. */
    struct event *event = event_new(loop_base(rig.loop), fds[0], EV_READ, on_nothing, NULL);
    assert_int_equal(event_add(event, NULL), 0);
    has_no_memory = true;
    uint64_t at_ms = arm(&soon, 15);
    loop_run(rig.loop); /* would hang here */
    has_no_memory = false;
    assert_true(soon.at_ms >= at_ms);
    event_free(event);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

static void without_waiting_a_turn_ends_at_once(void **state)
{
    (void)state;
    struct alarm late = {.stops = false};
    (void)arm(&late, 3600 * 1000);
    loop_run_once(rig.loop, false); /* would hang here */
    assert_int_equal(late.at_ms, 0);
    timer_cancel(&rig.kit.timers, &late.timer);
}

/* -- the turn's end -----------------------------------------------------------------------------
 */

struct step {
    struct turn_task task;
    unsigned n_runs;
    unsigned n_more; /* schedules itself so many times again */
};

static void on_step(struct turn_task *task)
{
    struct step *step = CONTAINER_OF(task, struct step, task);
    step->n_runs++;
    if (step->n_more != 0) {
        step->n_more--;
        turn_schedule(&rig.kit.turn, TURN_SESSION, task, on_step);
    }
}

static void what_a_turn_leaves_keeps_the_next_from_waiting(void **state)
{
    (void)state;
    struct step step = {.n_more = TURN_MAX_ROUNDS};
    struct alarm late = {.stops = false};
    (void)arm(&late, 3600 * 1000);
    turn_schedule(&rig.kit.turn, TURN_SESSION, &step.task, on_step);
    loop_run_once(rig.loop, true); /* would hang here */
    assert_int_equal(step.n_runs, TURN_MAX_ROUNDS);
    assert_false(turn_is_idle(&rig.kit.turn));
    loop_run_once(rig.loop, true); /* or here */
    assert_int_equal(step.n_runs, TURN_MAX_ROUNDS + 1);
    timer_cancel(&rig.kit.timers, &late.timer);
}

static void on_timer_schedule(struct timer *timer)
{
    (void)timer;
    static struct step step;
    step = (struct step){.n_more = 0};
    turn_schedule(&rig.kit.turn, TURN_REAP, &step.task, on_step);
}

static void timers_run_before_the_turns_end(void **state)
{
    (void)state;
    struct timer timer;
    timer_init(&timer, on_timer_schedule);
    timer_arm(&rig.kit.timers, &timer, kit_clock_ms());
    loop_run_once(rig.loop, true);
    assert_true(turn_is_idle(&rig.kit.turn));
    assert_false(timer_is_armed(&timer));
}

static void destroying_runs_what_is_left_of_the_turn(void **state)
{
    (void)state;
    struct step step = {.n_more = 3 * TURN_MAX_ROUNDS};
    rig_start_at(&rig, kit_clock_ms());
    turn_schedule(&rig.kit.turn, TURN_SESSION, &step.task, on_step);
    rig_stop(&rig);
    assert_int_equal(step.n_runs, 3 * TURN_MAX_ROUNDS + 1);
}

static void stop_ends_the_present_run_only(void **state)
{
    (void)state;
    struct alarm first = {.stops = true};
    struct alarm second = {.stops = true};
    (void)arm(&first, 0);
    loop_run(rig.loop);
    assert_true(first.at_ms != 0);
    (void)arm(&second, 0);
    loop_run(rig.loop);
    assert_true(second.at_ms != 0);
}

/* -- the clock ----------------------------------------------------------------------------------
 */

static uint64_t seen_ms;

static void on_ready(evutil_socket_t fd, short what, void *ctx)
{
    char byte;
    (void)what;
    (void)ctx;
    assert_int_equal(read(fd, &byte, 1), 1);
    loop_touch_clock(rig.loop);
    seen_ms = rig.kit.now_ms;
    /* A second reading in the same turn must not move it. */
    rig.kit.now_ms = seen_ms + 12345;
    loop_touch_clock(rig.loop);
    assert_true(rig.kit.now_ms == seen_ms + 12345);
}

static void the_clock_is_read_once_a_turn_when_it_is_needed(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct event *event =
        event_new(loop_base(rig.loop), fds[0], EV_READ | EV_PERSIST, on_ready, NULL);
    assert_int_equal(event_add(event, NULL), 0);
    for (int i = 0; i < 2; i++) {
        rig.kit.now_ms = 1; /* as if the wait had been long */
        uint64_t before_ms = kit_clock_ms();
        assert_int_equal(write(fds[1], "x", 1), 1);
        loop_run_once(rig.loop, true);
        assert_true(seen_ms >= before_ms);
        assert_true(rig.kit.now_ms >= before_ms && rig.kit.now_ms < before_ms + 12345);
    }
    event_free(event);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

static void between_turns_the_clock_is_the_last_turns(void **state)
{
    (void)state;
    loop_run_once(rig.loop, false);
    rig.kit.now_ms = 7;
    loop_touch_clock(rig.loop);
    assert_int_equal(rig.kit.now_ms, 7);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOOP(a_deadline_ends_the_wait_and_is_never_early),
        ON_LOOP(an_earlier_deadline_moves_the_wake_up_forward),
        ON_LOOP(a_cancelled_deadline_costs_empty_turns_only),
        ON_LOOP(a_deadline_needs_no_memory),
        ON_LOOP(without_waiting_a_turn_ends_at_once),
        ON_LOOP(what_a_turn_leaves_keeps_the_next_from_waiting),
        ON_LOOP(timers_run_before_the_turns_end),
        cmocka_unit_test(destroying_runs_what_is_left_of_the_turn),
        ON_LOOP(stop_ends_the_present_run_only),
        ON_LOOP(the_clock_is_read_once_a_turn_when_it_is_needed),
        ON_LOOP(between_turns_the_clock_is_the_last_turns),
    };
    event_set_mem_functions(allocate, reallocate, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
