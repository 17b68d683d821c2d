/* sendq: a naive twin (an array of copies) in random operations, and the bound at it and one over.
 */
#include <string.h>

#include "core/sendq.h"
#include "harness/test.h"

enum {
    TWIN_MAX = 64,
    TWIN_BYTES = 40,
    HARD_BYTES = 600,
};

struct twin_message {
    char bytes[TWIN_BYTES];
    size_t len;
    bool is_text;
};

struct twin {
    struct twin_message messages[TWIN_MAX * 2];
    size_t n;
};

static struct message view(const struct twin_message *m)
{
    return (struct message){span_of(m->bytes, m->len), m->is_text};
}

static size_t twin_bytes(const struct twin *twin)
{
    size_t sum = 0;
    for (size_t i = 0; i < twin->n; i++) {
        sum += twin->messages[i].len + SENDQ_RECORD_BYTES;
    }
    return sum;
}

static void must_be_equal(const struct sendq *queue, const struct twin *twin)
{
    struct message got[TWIN_MAX * 2];
    assert_int_equal(queue->n_messages, twin->n);
    assert_int_equal(sendq_bytes(queue), twin_bytes(twin));
    assert_int_equal(sendq_is_empty(queue), twin->n == 0);
    assert_int_equal(sendq_peek(queue, got, N_OF(got)), twin->n);
    for (size_t i = 0; i < twin->n; i++) {
        struct message want = view(&twin->messages[i]);
        assert_true(span_eq(got[i].data, want.data));
        assert_int_equal(got[i].is_text, want.is_text);
    }
}

static void push_random(struct sendq *queue, struct twin *twin, struct test_random *random)
{
    struct twin_message m = {.len = test_below(random, TWIN_BYTES + 1),
                             .is_text = test_below(random, 2) != 0};
    for (size_t i = 0; i < m.len; i++) {
        m.bytes[i] = (char)test_random(random);
    }
    struct message message = view(&m);
    enum err e = sendq_push(queue, &message);
    bool fits = twin_bytes(twin) + m.len + SENDQ_RECORD_BYTES <= HARD_BYTES;
    assert_int_equal(e, fits ? ERR_OK : ERR_LIMIT);
    if (fits) {
        twin->messages[twin->n++] = m;
    }
}

static void drop_random(struct sendq *queue, struct twin *twin, struct test_random *random)
{
    size_t n = test_below(random, twin->n + 1);
    sendq_drop(queue, n);
    twin->n -= n;
    memmove(twin->messages, twin->messages + n, twin->n * sizeof twin->messages[0]);
}

static void it_equals_a_naive_twin(void **state)
{
    (void)state;
    struct test_random random = {20260101};
    static struct twin twin;
    struct sendq queue;
    sendq_init(&queue, HARD_BYTES);
    for (int i = 0; i < 20000; i++) {
        if (test_below(&random, 3) != 0) {
            push_random(&queue, &twin, &random);
        } else {
            drop_random(&queue, &twin, &random);
        }
        must_be_equal(&queue, &twin);
    }
    sendq_fini(&queue);
    assert_true(sendq_is_empty(&queue));
}

static void the_bound_counts_payload_and_header(void **state)
{
    (void)state;
    char bytes[101] = {0};
    const struct message fits = {span_of(bytes, 100 - SENDQ_RECORD_BYTES), true};
    const struct message over = {span_of(bytes, 101 - SENDQ_RECORD_BYTES), true};
    const struct message empty = {SPAN_NONE, false};
    struct sendq queue;
    sendq_init(&queue, 100);
    assert_int_equal(sendq_push(&queue, &over), ERR_LIMIT);
    assert_true(sendq_is_empty(&queue));
    assert_int_equal(sendq_push(&queue, &fits), ERR_OK);
    assert_int_equal(sendq_bytes(&queue), 100);
    assert_int_equal(sendq_push(&queue, &empty), ERR_LIMIT);
    assert_int_equal(queue.n_messages, 1);
    sendq_drop(&queue, 1);
    /* A flood of empty messages is bounded too. */
    size_t n = 0;
    while (sendq_push(&queue, &empty) == ERR_OK) {
        n++;
    }
    assert_int_equal(n, 100 / SENDQ_RECORD_BYTES);
    sendq_fini(&queue);
}

static void a_peek_takes_at_most_what_is_asked(void **state)
{
    (void)state;
    struct sendq queue;
    struct message got[2];
    sendq_init(&queue, 1000);
    assert_int_equal(sendq_peek(&queue, got, 2), 0);
    for (int i = 0; i < 3; i++) {
        const char c = (char)('a' + i);
        const struct message m = {span_of(&c, 1), true};
        assert_int_equal(sendq_push(&queue, &m), ERR_OK);
    }
    assert_int_equal(sendq_peek(&queue, got, 0), 0);
    assert_int_equal(sendq_peek(&queue, got, 2), 2);
    check_span("second", got[1].data, SPAN_LIT("b"));
    assert_int_equal(sendq_peek(&queue, got, 2), 2);
    check_span("still there", got[0].data, SPAN_LIT("a"));
    sendq_fini(&queue);
}

static void an_empty_queue_holds_no_storage(void **state)
{
    (void)state;
    struct sendq queue;
    const struct message m = {SPAN_LIT("x"), true};
    sendq_init(&queue, 1000);
    assert_null(queue.records.data);
    assert_int_equal(sendq_push(&queue, &m), ERR_OK);
    assert_non_null(queue.records.data);
    sendq_drop(&queue, 1);
    assert_null(queue.records.data);
    sendq_drop(&queue, 0);
    assert_int_equal(sendq_push(&queue, &m), ERR_OK); /* and is usable again */
    sendq_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_equals_a_naive_twin),
        cmocka_unit_test(the_bound_counts_payload_and_header),
        cmocka_unit_test(a_peek_takes_at_most_what_is_asked),
        cmocka_unit_test(an_empty_queue_holds_no_storage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
