/* turn: order of the stages, rescheduling, cancelling, the bound of rounds, reaping last and once.
 */
#include "base/err.h"
#include "base/turn.h"
#include "harness/test.h"

struct step {
    struct turn_task task;
    char letter;
    int n_left; /* times it schedules `follower` in `stage` */
    enum turn_stage stage;
    struct step *follower;
};

static struct turn turn;
static char record[256];
static size_t n_record;

static void run(struct turn_task *task)
{
    struct step *step = CONTAINER_OF(task, struct step, task);
    assert_false(turn_is_scheduled(task));
    assert_true(n_record < sizeof record - 1);
    record[n_record++] = step->letter;
    record[n_record] = '\0';
    if (step->n_left > 0) {
        step->n_left--;
        turn_schedule(&turn, step->stage, &step->follower->task, run);
    }
}

static void start(void)
{
    turn_init(&turn);
    n_record = 0;
    record[0] = '\0';
}

static void stages_run_in_order_and_fifo(void **state)
{
    (void)state;
    start();
    struct step r = {.letter = 'r'}, w = {.letter = 'w'}, s = {.letter = 's'}, t = {.letter = 't'};
    assert_true(turn_is_idle(&turn));
    turn_schedule(&turn, TURN_REAP, &r.task, run);
    turn_schedule(&turn, TURN_WRITE, &w.task, run);
    turn_schedule(&turn, TURN_SESSION, &s.task, run);
    turn_schedule(&turn, TURN_SESSION, &t.task, run);
    assert_false(turn_is_idle(&turn));
    turn_end(&turn);
    assert_string_equal(record, "stwr");
    assert_true(turn_is_idle(&turn));
    turn_end(&turn);
    assert_string_equal(record, "stwr");
}

static void a_task_scheduled_twice_runs_once(void **state)
{
    (void)state;
    start();
    struct step s = {.letter = 's'};
    turn_schedule(&turn, TURN_SESSION, &s.task, run);
    turn_schedule(&turn, TURN_SESSION, &s.task, run);
    turn_schedule(&turn, TURN_WRITE, &s.task, run);
    assert_true(turn_is_scheduled(&s.task));
    turn_end(&turn);
    assert_string_equal(record, "s");
    turn_schedule(&turn, TURN_WRITE, &s.task, run);
    turn_end(&turn);
    assert_string_equal(record, "ss");
}

static void a_cancelled_task_does_not_run(void **state)
{
    (void)state;
    start();
    struct step a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    turn_cancel(&turn, TURN_SESSION, &a.task);
    turn_schedule(&turn, TURN_SESSION, &a.task, run);
    turn_schedule(&turn, TURN_SESSION, &b.task, run);
    turn_schedule(&turn, TURN_SESSION, &c.task, run);
    turn_cancel(&turn, TURN_SESSION, &b.task);
    assert_false(turn_is_scheduled(&b.task));
    turn_end(&turn);
    assert_string_equal(record, "ac");
    turn_schedule(&turn, TURN_SESSION, &b.task, run);
    turn_cancel(&turn, TURN_SESSION, &b.task);
    assert_true(turn_is_idle(&turn));
    turn_schedule(&turn, TURN_SESSION, &c.task, run); /* the tail pointer survived the removal */
    turn_end(&turn);
    assert_string_equal(record, "acc");
}

static struct step *victim;

static void cancel_victim(struct turn_task *task)
{
    (void)task;
    turn_cancel(&turn, TURN_WRITE, &victim->task);
}

static void a_task_may_cancel_one_that_waits(void **state)
{
    (void)state;
    start();
    struct step killer = {.letter = 'k'}, w = {.letter = 'w'}, x = {.letter = 'x'};
    victim = &w;
    turn_schedule(&turn, TURN_WRITE, &killer.task, cancel_victim);
    turn_schedule(&turn, TURN_WRITE, &w.task, run);
    turn_schedule(&turn, TURN_WRITE, &x.task, run);
    turn_end(&turn);
    assert_string_equal(record, "x");
    assert_true(turn_is_idle(&turn));
}

static void work_for_an_earlier_stage_gets_another_round(void **state)
{
    (void)state;
    start();
    struct step s = {.letter = 's'};
    struct step w = {.letter = 'w', .n_left = 1, .stage = TURN_SESSION, .follower = &s};
    struct step r = {.letter = 'r'};
    turn_schedule(&turn, TURN_REAP, &r.task, run);
    turn_schedule(&turn, TURN_WRITE, &w.task, run);
    turn_end(&turn);
    assert_string_equal(record, "wsr");
}

static void work_for_a_later_stage_runs_in_the_same_round(void **state)
{
    (void)state;
    start();
    struct step r = {.letter = 'r'};
    struct step w = {.letter = 'w', .n_left = 1, .stage = TURN_REAP, .follower = &r};
    struct step s = {.letter = 's', .n_left = 1, .stage = TURN_WRITE, .follower = &w};
    turn_schedule(&turn, TURN_SESSION, &s.task, run);
    turn_end(&turn);
    assert_string_equal(record, "swr");
    assert_true(turn_is_idle(&turn));
}

static void rounds_are_bounded_and_the_rest_waits(void **state)
{
    (void)state;
    /* One that needs exactly the rounds there are, and one that needs one more. */
    for (int extra = 0; extra < 2; extra++) {
        start();
        struct step s = {.letter = 's', .n_left = TURN_MAX_ROUNDS - 1 + extra};
        s.stage = TURN_SESSION;
        s.follower = &s;
        struct step r = {.letter = 'r'}, cancelled = {.letter = 'c'};
        turn_schedule(&turn, TURN_SESSION, &cancelled.task, run);
        turn_cancel(&turn, TURN_SESSION, &cancelled.task); /* must not count for a round */
        turn_schedule(&turn, TURN_SESSION, &s.task, run);
        turn_schedule(&turn, TURN_REAP, &r.task, run);
        turn_end(&turn);
        assert_string_equal(record, "ssssssssr");
        assert_int_equal(turn_is_idle(&turn), extra == 0);
        turn_end(&turn);
        assert_string_equal(record, extra == 0 ? "ssssssssr" : "ssssssssrs");
        assert_true(turn_is_idle(&turn));
    }
}

static void what_reaping_schedules_waits_for_the_next_turn(void **state)
{
    (void)state;
    start();
    struct step next = {.letter = 'n'}, s = {.letter = 's'};
    struct step q = {.letter = 'q', .n_left = 1, .stage = TURN_SESSION, .follower = &s};
    struct step r = {.letter = 'r', .n_left = 1, .stage = TURN_REAP, .follower = &next};
    turn_schedule(&turn, TURN_REAP, &r.task, run);
    turn_schedule(&turn, TURN_REAP, &q.task, run);
    turn_end(&turn);
    assert_string_equal(record, "rq");
    assert_false(turn_is_idle(&turn));
    turn_end(&turn);
    assert_string_equal(record, "rqsn");
    assert_true(turn_is_idle(&turn));
}

static void a_task_is_small(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct turn_task), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_run_in_order_and_fifo),
        cmocka_unit_test(a_task_scheduled_twice_runs_once),
        cmocka_unit_test(a_cancelled_task_does_not_run),
        cmocka_unit_test(a_task_may_cancel_one_that_waits),
        cmocka_unit_test(work_for_an_earlier_stage_gets_another_round),
        cmocka_unit_test(work_for_a_later_stage_runs_in_the_same_round),
        cmocka_unit_test(rounds_are_bounded_and_the_rest_waits),
        cmocka_unit_test(what_reaping_schedules_waits_for_the_next_turn),
        cmocka_unit_test(a_task_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
