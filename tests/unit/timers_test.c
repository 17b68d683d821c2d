/* timers: a fake clock, the named cases, and a naive twin (an array of deadlines) in random
 * operations. */
#include "base/err.h"
#include "base/timers.h"
#include "harness/test.h"

enum {
    MS_OF_DAY = 86400000,
    MAX_FIRED = 4096,
};

/* What fired, in order. */
struct probe {
    struct timer timer;
    int id;
    void (*then)(struct probe *probe);
};

static struct timers wheel;
static int fired[MAX_FIRED];
static size_t n_fired;

static void on_expire(struct timer *timer)
{
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    assert_false(timer_is_armed(timer));
    assert_true(n_fired < MAX_FIRED);
    fired[n_fired++] = probe->id;
    if (probe->then != NULL) {
        probe->then(probe);
    }
}

static void probe_init(struct probe *probe, int id)
{
    timer_init(&probe->timer, on_expire);
    probe->id = id;
    probe->then = NULL;
}

static void start(uint64_t now_ms)
{
    timers_init(&wheel, now_ms);
    n_fired = 0;
}

static void a_timer_fires_at_its_deadline_and_once(void **state)
{
    (void)state;
    /* One case for each level of the wheel, its edges, and beyond the last. */
    static const uint64_t delays[] = {
        0,
        1,
        2,
        63,
        64,
        65,
        4095,
        4096,
        4097,
        262143,
        262144,
        16777215,
        16777216,
        1073741823,
        1073741824,
        UINT64_C(20) * MS_OF_DAY,
        UINT64_C(400) * MS_OF_DAY,
    };
    static const uint64_t starts[] = {0, 1, 63, 64, 4095, 1000003, 1073741823, UINT64_C(1) << 41};
    for (size_t s = 0; s < N_OF(starts); s++) {
        for (size_t i = 0; i < N_OF(delays); i++) {
            start(starts[s]);
            struct probe p;
            probe_init(&p, 1);
            uint64_t deadline = starts[s] + delays[i];
            timer_arm(&wheel, &p.timer, deadline);
            assert_true(timer_is_armed(&p.timer));
            assert_true(timers_next_ms(&wheel) <= deadline);
            if (delays[i] != 0) {
                timers_run(&wheel, deadline - 1);
                assert_int_equal(n_fired, 0);
                assert_true(timer_is_armed(&p.timer));
            }
            timers_run(&wheel, deadline);
            assert_int_equal(n_fired, 1);
            assert_false(timer_is_armed(&p.timer));
            assert_true(timers_next_ms(&wheel) == TIMERS_NONE);
            timers_run(&wheel, deadline + 5000);
            assert_int_equal(n_fired, 1);
        }
    }
}

static void following_next_ms_reaches_a_far_deadline_in_few_steps(void **state)
{
    (void)state;
    start(12345);
    struct probe p;
    probe_init(&p, 1);
    uint64_t deadline = 12345 + UINT64_C(30) * MS_OF_DAY + 17;
    timer_arm(&wheel, &p.timer, deadline);
    int n_steps = 0;
    while (n_fired == 0) {
        uint64_t next = timers_next_ms(&wheel);
        assert_true(next <= deadline);
        assert_true(next > wheel.now_ms);
        timers_run(&wheel, next);
        assert_true(++n_steps < 20);
    }
    assert_true(wheel.now_ms == deadline);
}

static void order_is_by_deadline(void **state)
{
    (void)state;
    static const uint64_t deadlines[] = {70000, 5, 300000, 64, 4100, 63, 20000000, 6, 4095, 128};
    static const int want[] = {1, 7, 5, 3, 9, 8, 4, 0, 2, 6};
    start(0);
    struct probe p[N_OF(deadlines)];
    for (size_t i = 0; i < N_OF(deadlines); i++) {
        probe_init(&p[i], (int)i);
        timer_arm(&wheel, &p[i].timer, deadlines[i]);
    }
    timers_run(&wheel, UINT64_C(1) << 40);
    assert_int_equal(n_fired, N_OF(want));
    assert_memory_equal(fired, want, sizeof want);
}

static void the_past_fires_at_the_next_run(void **state)
{
    (void)state;
    start(1000);
    struct probe p;
    probe_init(&p, 1);
    timer_arm(&wheel, &p.timer, 10);
    assert_true(timers_next_ms(&wheel) == 1000);
    timers_run(&wheel, 1000);
    assert_int_equal(n_fired, 1);
    timer_arm(&wheel, &p.timer, 1000);
    timers_run(&wheel, 1000);
    assert_int_equal(n_fired, 2);
}

static void the_clock_never_goes_back(void **state)
{
    (void)state;
    start(1000);
    timers_run(&wheel, 500);
    assert_true(wheel.now_ms == 1000);
    struct probe p;
    probe_init(&p, 1);
    timer_arm(&wheel, &p.timer, 1100);
    timers_run(&wheel, TIMERS_NONE);
    assert_true(wheel.now_ms == 1000);
    assert_int_equal(n_fired, 0);
}

static void cancel_and_rearm_move_it(void **state)
{
    (void)state;
    start(0);
    struct probe p, q;
    probe_init(&p, 1);
    probe_init(&q, 2);
    timer_cancel(&wheel, &p.timer);
    timer_arm(&wheel, &p.timer, 100);
    timer_arm(&wheel, &q.timer, 101);
    timer_cancel(&wheel, &p.timer);
    assert_false(timer_is_armed(&p.timer));
    timer_arm(&wheel, &q.timer, 5000);
    timers_run(&wheel, 4999);
    assert_int_equal(n_fired, 0);
    timer_arm(&wheel, &q.timer, 4999 + 3);
    timers_run(&wheel, 5001);
    assert_int_equal(n_fired, 0);
    timers_run(&wheel, 5002);
    assert_int_equal(n_fired, 1);
    timer_arm(&wheel, &q.timer, 6000);
    timer_arm(&wheel, &q.timer, TIMERS_NONE);
    assert_false(timer_is_armed(&q.timer));
    assert_true(timers_next_ms(&wheel) == TIMERS_NONE);
}

static struct probe *other;

static void then_rearm_now(struct probe *probe)
{
    timer_arm(&wheel, &probe->timer, wheel.now_ms);
}

static void then_rearm_soon(struct probe *probe)
{
    timer_arm(&wheel, &probe->timer, wheel.now_ms + 10);
}

static void then_cancel_other(struct probe *probe)
{
    (void)probe;
    timer_cancel(&wheel, &other->timer);
}

static void then_delay_other(struct probe *probe)
{
    (void)probe;
    timer_arm(&wheel, &other->timer, wheel.now_ms + 50);
}

static void a_callback_may_rearm_itself(void **state)
{
    (void)state;
    start(0);
    struct probe p;
    probe_init(&p, 1);
    p.then = then_rearm_now;
    timer_arm(&wheel, &p.timer, 10);
    timers_run(&wheel, 1000);
    assert_int_equal(n_fired, 1); /* not again in the same call, or it would never end */
    assert_true(timers_next_ms(&wheel) == 1000);
    timers_run(&wheel, 1000);
    assert_int_equal(n_fired, 2);
    p.then = then_rearm_soon;
    timers_run(&wheel, 1000);
    timers_run(&wheel, 1009);
    assert_int_equal(n_fired, 3);
    timers_run(&wheel, 1010);
    assert_int_equal(n_fired, 4);
}

static void a_callback_may_cancel_or_delay_one_that_is_due(void **state)
{
    (void)state;
    start(0);
    struct probe p, q;
    probe_init(&p, 1);
    probe_init(&q, 2);
    other = &q;
    p.then = then_cancel_other;
    timer_arm(&wheel, &p.timer, 10);
    timer_arm(&wheel, &q.timer, 11);
    timers_run(&wheel, 100);
    assert_int_equal(n_fired, 1);
    assert_false(timer_is_armed(&q.timer));
    assert_true(timers_next_ms(&wheel) == TIMERS_NONE);

    p.then = then_delay_other;
    timer_arm(&wheel, &p.timer, 110);
    timer_arm(&wheel, &q.timer, 111);
    timers_run(&wheel, 200);
    assert_int_equal(n_fired, 2);
    timers_run(&wheel, 249);
    assert_int_equal(n_fired, 2);
    timers_run(&wheel, 250);
    assert_int_equal(n_fired, 3);
    assert_int_equal(fired[2], 2);
}

/* ---- the twin ---- */

enum {
    N_PROBES = 200
};

static struct probe probes[N_PROBES];
static uint64_t twin[N_PROBES]; /* deadlines; TIMERS_NONE = not armed */

static uint64_t random_delay(struct test_random *random)
{
    /* As often short as long: all levels and beyond. */
    return test_random(random) >> (64 - 1 - test_below(random, 33));
}

static uint64_t twin_earliest(void)
{
    uint64_t earliest = TIMERS_NONE;
    for (int i = 0; i < N_PROBES; i++) {
        earliest = twin[i] < earliest ? twin[i] : earliest;
    }
    return earliest;
}

/* Checks that exactly the due ones fired, in order of what was due when (`before` = clock until
 * now). */
static void check_run(uint64_t before, uint64_t now)
{
    uint64_t last = 0;
    for (size_t k = 0; k < n_fired; k++) {
        uint64_t deadline = twin[fired[k]];
        assert_true(deadline <= now);
        uint64_t effective = deadline > before ? deadline : before;
        assert_true(effective >= last);
        last = effective;
        twin[fired[k]] = TIMERS_NONE;
    }
    assert_true(twin_earliest() > now);
}

static void check_next(void)
{
    uint64_t earliest = twin_earliest();
    uint64_t next = timers_next_ms(&wheel);
    if (earliest == TIMERS_NONE) {
        assert_true(next == TIMERS_NONE);
    } else {
        assert_true(next >= wheel.now_ms);
        assert_true(next <= (earliest > wheel.now_ms ? earliest : wheel.now_ms));
    }
}

static void random_operations_agree_with_the_twin(void **state)
{
    (void)state;
    struct test_random random = {20261122};
    start(987654321);
    size_t n_total = 0;
    for (int i = 0; i < N_PROBES; i++) {
        probe_init(&probes[i], i);
        twin[i] = TIMERS_NONE;
    }
    for (int round = 0; round < 100000; round++) {
        size_t i = test_below(&random, N_PROBES);
        size_t choice = test_below(&random, 10);
        if (choice < 6) {
            uint64_t early = test_below(&random, 8) == 0 ? 50 : 0;
            twin[i] = wheel.now_ms + random_delay(&random) - early;
            timer_arm(&wheel, &probes[i].timer, twin[i]);
        } else if (choice < 8) {
            twin[i] = TIMERS_NONE;
            timer_cancel(&wheel, &probes[i].timer);
        } else {
            uint64_t before = wheel.now_ms;
            uint64_t next = timers_next_ms(&wheel);
            bool follow = choice == 8 && next != TIMERS_NONE;
            uint64_t now = follow ? next : before + (random_delay(&random) >> 4);
            n_fired = 0;
            timers_run(&wheel, now);
            n_total += n_fired;
            check_run(before, now);
        }
        check_next();
        assert_int_equal(timer_is_armed(&probes[i].timer), twin[i] != TIMERS_NONE);
    }
    assert_true(n_total > 10000);
}

static void a_timer_is_small(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct timer), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_at_its_deadline_and_once),
        cmocka_unit_test(following_next_ms_reaches_a_far_deadline_in_few_steps),
        cmocka_unit_test(order_is_by_deadline),
        cmocka_unit_test(the_past_fires_at_the_next_run),
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(cancel_and_rearm_move_it),
        cmocka_unit_test(a_callback_may_rearm_itself),
        cmocka_unit_test(a_callback_may_cancel_or_delay_one_that_is_due),
        cmocka_unit_test(random_operations_agree_with_the_twin),
        cmocka_unit_test(a_timer_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
