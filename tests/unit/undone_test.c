/* undone: a queue of messages in chunks, against a twin that keeps each in an array. */
#include "backend/undone.h"
#include "harness/test.h"

enum {
    MOST = 64,
    MAX_BYTES = 7000, /* a few fill a chunk */
};

struct twin {
    struct undone_message messages[MOST];
    char bytes[MOST][MAX_BYTES];
    size_t n;
};

static void twin_push(struct twin *twin, const struct undone_message *message)
{
    memcpy(twin->bytes[twin->n], message->data.ptr, message->data.len);
    twin->messages[twin->n] = *message;
    twin->n++;
}

static void twin_remove(struct twin *twin, size_t i)
{
    for (twin->n--; i < twin->n; i++) {
        twin->messages[i] = twin->messages[i + 1];
        memcpy(twin->bytes[i], twin->bytes[i + 1], MAX_BYTES);
    }
}

static void check_front(const struct undone *queue, const struct twin *twin)
{
    struct undone_message got;
    bool is_there = undone_front(queue, &got);
    assert_int_equal(is_there, twin->n != 0);
    assert_int_equal(undone_bytes(queue) == 0, twin->n == 0);
    if (is_there) {
        assert_true(got.sequence == twin->messages[0].sequence);
        assert_int_equal(got.is_text, twin->messages[0].is_text);
        check_span("front", got.data, span_of(twin->bytes[0], twin->messages[0].data.len));
    }
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct undone queue;
    struct undone_message got;
    undone_init(&queue, 1 << 20);
    assert_false(undone_front(&queue, &got));
    const struct undone_message messages[] = {
        {UINT64_MAX, SPAN_LIT("text"), true},
        {0, SPAN_NONE, false},
        {7, SPAN_LIT("\0\n"), false},
    };
    for (size_t i = 0; i < N_OF(messages); i++) {
        assert_int_equal(undone_push(&queue, &messages[i]), ERR_OK);
    }
    for (size_t i = 0; i < N_OF(messages); i++) {
        assert_true(undone_front(&queue, &got));
        assert_true(got.sequence == messages[i].sequence);
        assert_int_equal(got.is_text, messages[i].is_text);
        check_span("data", got.data, messages[i].data);
        undone_drop(&queue);
    }
    assert_false(undone_front(&queue, &got));
    undone_fini(&queue);
}

static void a_full_queue_takes_nothing_of_it(void **state)
{
    (void)state;
    struct undone queue;
    struct undone_message got;
    undone_init(&queue, 40); /* a header has 16 */
    const struct undone_message first = {1, SPAN_LIT("12345678"), true};
    const struct undone_message second = {2, SPAN_LIT("1"), true};
    assert_int_equal(undone_push(&queue, &first), ERR_OK);
    assert_int_equal(undone_push(&queue, &second), ERR_LIMIT);
    assert_int_equal(undone_bytes(&queue), 24);
    assert_true(undone_front(&queue, &got));
    check_span("data", got.data, first.data);
    undone_fini(&queue);
}

static void push_bytes(struct undone *queue, uint64_t sequence, size_t len)
{
    static char bytes[2 * UNDONE_MOST_CHUNK_BYTES];
    const struct undone_message message = {sequence, span_of(bytes, len), true};
    assert_int_equal(undone_push(queue, &message), ERR_OK);
}

static void storage_is_given_back_when_it_is_empty(void **state)
{
    (void)state;
    struct undone queue;
    undone_init(&queue, UINT64_MAX);
    assert_false(undone_has_storage(&queue));
    push_bytes(&queue, 1, 5000);
    push_bytes(&queue, 2, 5000);
    undone_drop(&queue);
    undone_trim(&queue);
    assert_true(undone_has_storage(&queue));
    undone_drop(&queue);
    assert_true(undone_has_storage(&queue));
    undone_trim(&queue);
    assert_false(undone_has_storage(&queue));
    undone_fini(&queue);
}

/* At the ends of chunks: of the least, of the most, and of those that are larger than any other. */
static void messages_of_every_size_fit(void **state)
{
    (void)state;
    static const size_t around[] = {UNDONE_LEAST_CHUNK_BYTES, UNDONE_MOST_CHUNK_BYTES};
    struct undone queue;
    undone_init(&queue, UINT64_MAX);
    for (size_t i = 0; i < N_OF(around); i++) {
        for (size_t len = around[i] - 20; len < around[i] + 5; len++) {
            struct undone_message got;
            push_bytes(&queue, 1, 3);
            undone_drop(&queue); /* leaves a chunk that is empty and too small */
            push_bytes(&queue, 2, len);
            push_bytes(&queue, 3, len);
            for (uint64_t sequence = 2; sequence <= 3; sequence++) {
                assert_true(undone_front(&queue, &got));
                assert_true(got.sequence == sequence);
                assert_int_equal(got.data.len, len);
                undone_drop(&queue);
            }
            assert_false(undone_front(&queue, &got));
            undone_trim(&queue);
        }
    }
    undone_fini(&queue);
}

static void one_queue_behind_another(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 16; n++) { /* each with nothing, a few and many, and storage or not */
        struct undone queue;
        struct undone from;
        struct undone_message got;
        undone_init(&queue, UINT64_MAX);
        undone_init(&from, UINT64_MAX);
        uint64_t sequence = 0;
        for (unsigned i = 0; i < n % 4 * 100; i++) {
            push_bytes(&queue, ++sequence, 100);
        }
        for (unsigned i = 0; i < n / 4 * 100; i++) {
            push_bytes(&from, ++sequence, 100);
        }
        undone_append(&queue, &from);
        assert_false(undone_front(&from, &got));
        push_bytes(&queue, ++sequence, 1);
        push_bytes(&from, 1, 1); /* it can be used again */
        for (uint64_t i = 1; i <= sequence; i++) {
            assert_true(undone_front(&queue, &got));
            assert_true(got.sequence == i);
            undone_drop(&queue);
        }
        assert_true(undone_bytes(&queue) == 0);
        undone_append(&queue, &from);
        assert_true(undone_front(&queue, &got));
        undone_fini(&queue);
        undone_fini(&from);
    }
}

/* Which ones undone_filter is to keep, and how many it has asked for. */
struct choice {
    bool keeps[MOST];
    size_t n_asked;
};

static bool keeps(void *ctx)
{
    struct choice *choice = ctx;
    return choice->keeps[choice->n_asked++];
}

static void filter_both(struct undone *queue, struct twin *twin, struct test_random *random)
{
    struct choice choice = {.n_asked = 0};
    size_t n = twin->n;
    size_t bound = 1 + test_below(random, 4);
    for (size_t i = n; i > 0; i--) {
        choice.keeps[i - 1] = test_below(random, 4) < bound;
        if (!choice.keeps[i - 1]) {
            twin_remove(twin, i - 1);
        }
    }
    undone_filter(queue, keeps, &choice);
    assert_int_equal(choice.n_asked, n); /* of each one, once */
}

static void whatever_is_done_it_is_as_its_twin(void **state)
{
    (void)state;
    static struct twin twin;
    static char bytes[MAX_BYTES];
    struct undone queue;
    struct test_random random = {88172645463325252ULL};
    undone_init(&queue, 1 << 20);
    for (uint64_t i = 0; i < 50000; i++) {
        size_t what = test_below(&random, 100);
        size_t len = test_below(&random, test_below(&random, 4) == 0 ? MAX_BYTES : 8);
        if (what < 50 && twin.n < MOST) {
            memset(bytes, (int)(i & 0xff), len);
            const struct undone_message message = {i, span_of(bytes, len), (what & 1) != 0};
            assert_int_equal(undone_push(&queue, &message), ERR_OK);
            twin_push(&twin, &message);
        } else if (what < 98 && twin.n != 0) {
            undone_drop(&queue);
            twin_remove(&twin, 0);
        } else if (what == 98) {
            filter_both(&queue, &twin, &random);
        } else if (what == 99) {
            undone_trim(&queue);
        }
        check_front(&queue, &twin);
    }
    while (twin.n != 0) {
        check_front(&queue, &twin);
        undone_drop(&queue);
        twin_remove(&twin, 0);
    }
    undone_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(a_full_queue_takes_nothing_of_it),
        cmocka_unit_test(storage_is_given_back_when_it_is_empty),
        cmocka_unit_test(messages_of_every_size_fit),
        cmocka_unit_test(one_queue_behind_another),
        cmocka_unit_test(whatever_is_done_it_is_as_its_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
