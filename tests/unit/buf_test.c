/* buf: the ceiling at it and one over, where bytes move, and a naive twin under random operations.
 */
#include "base/buf.h"
#include "harness/test.h"

#define OK(call) assert_int_equal((call), ERR_OK)

static void an_empty_buffer_owns_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_null(b.data);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_room(&b), 10);
    check_span("empty", buf_span(&b), SPAN_NONE);
    assert_int_equal(sizeof b, 24);
    OK(buf_append(&b, NULL, 0));
    assert_null(b.data);
    buf_consume(&b, 0);
    buf_trim(&b);
    buf_fini(&b);
}

static void the_ceiling_holds_at_it_and_refuses_one_over(void **state)
{
    (void)state;
    static const char bytes[2001];
    static const size_t ceilings[] = {1, 2, 255, 256, 257, 2000};
    for (size_t i = 0; i < N_OF(ceilings); i++) {
        size_t max = ceilings[i];
        struct buf b;
        buf_init(&b, max);
        assert_int_equal(buf_append(&b, bytes, max + 1), ERR_LIMIT);
        assert_int_equal(buf_len(&b), 0);
        OK(buf_append(&b, bytes, max));
        assert_int_equal(buf_room(&b), 0);
        assert_int_equal(buf_append_char(&b, 'x'), ERR_LIMIT);
        assert_null(buf_reserve(&b, 1));
        assert_int_equal(buf_append_u64(&b, 7), ERR_LIMIT);
        assert_int_equal(buf_printf(&b, "%d", 7), ERR_LIMIT);
        OK(buf_append(&b, bytes, 0));
        assert_int_equal(buf_len(&b), max);
        assert_true(b.cap <= max);
        buf_consume(&b, 1);
        OK(buf_append_char(&b, 'x'));
        assert_int_equal(buf_span(&b).ptr[max - 1], 'x');
        assert_true(b.cap <= max);
        buf_fini(&b);
    }
}

static void refused_appends_change_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    OK(buf_append_span(&b, SPAN_LIT("abcdef")));
    assert_int_equal(buf_append_span(&b, SPAN_LIT("ghi")), ERR_LIMIT);
    assert_int_equal(buf_append_u64(&b, 123), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "%s", "ghi"), ERR_LIMIT);
    assert_int_equal(buf_append(&b, "x", SIZE_MAX), ERR_LIMIT);
    check_span("unchanged", buf_span(&b), SPAN_LIT("abcdef"));
    buf_fini(&b);
}

static void printf_fills_to_the_ceiling(void **state)
{
    (void)state;
    /* Around the size that is formatted on the stack, too. */
    static const size_t sizes[] = {1, 5, 510, 511, 512, 513, 3000};
    static char text[3001];
    memset(text, 'p', sizeof text - 1);
    for (size_t i = 0; i < N_OF(sizes); i++) {
        int n = (int)sizes[i];
        struct buf b;
        buf_init(&b, sizes[i]);
        assert_int_equal(buf_printf(&b, "%.*s", n + (i + 1 != N_OF(sizes)), text),
                         i + 1 != N_OF(sizes) ? ERR_LIMIT : ERR_OK);
        buf_clear(&b);
        OK(buf_printf(&b, "%.*s", n, text));
        check_span("printf", buf_span(&b), span_of(text, sizes[i]));
        buf_fini(&b);
    }
}

static void numbers_are_appended_in_decimal(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    OK(buf_append_u64(&b, 0));
    OK(buf_append_char(&b, ' '));
    OK(buf_append_u64(&b, UINT64_MAX));
    OK(buf_printf(&b, " %d%%", -5));
    check_span("numbers", buf_span(&b), SPAN_LIT("0 18446744073709551615 -5%"));
    buf_fini(&b);
}

static void trim_and_fini_give_the_storage_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    OK(buf_append_span(&b, SPAN_LIT("abc")));
    buf_trim(&b);
    assert_non_null(b.data);
    buf_consume(&b, 3);
    assert_non_null(b.data);
    buf_trim(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    OK(buf_append_span(&b, SPAN_LIT("again")));
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(buf_room(&b), 100);
}

static void truncate_takes_back_what_was_appended(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    OK(buf_append_span(&b, SPAN_LIT("xxabc")));
    buf_consume(&b, 2);
    size_t mark = buf_len(&b);
    OK(buf_append_span(&b, SPAN_LIT("def")));
    buf_truncate(&b, mark);
    check_span("truncated", buf_span(&b), SPAN_LIT("abc"));
    buf_fini(&b);
}

static void reserve_of_nothing_is_not_null(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1);
    assert_non_null(buf_reserve(&b, 0));
    OK(buf_append_char(&b, 'x'));
    assert_non_null(buf_reserve(&b, 0));
    buf_fini(&b);
}

enum {
    TWIN_MAX = 1000
};

static void random_operations_agree_with_the_twin(void **state)
{
    (void)state;
    struct test_random random = {99};
    char twin[TWIN_MAX];
    size_t n_twin = 0;
    size_t n_refused = 0;
    struct buf b;
    buf_init(&b, TWIN_MAX);
    for (int round = 0; round < 50000; round++) {
        char piece[300];
        size_t n = test_below(&random, sizeof piece);
        size_t choice = test_below(&random, 100);
        if (choice < 55) {
            memset(piece, (char)('a' + round % 26), n);
            enum err e = buf_append(&b, piece, n);
            assert_int_equal(e, n <= TWIN_MAX - n_twin ? ERR_OK : ERR_LIMIT);
            if (e == ERR_OK) {
                memcpy(twin + n_twin, piece, n);
                n_twin += n;
            } else {
                n_refused++;
            }
        } else if (choice < 97) {
            n = n < n_twin ? n : n_twin;
            buf_consume(&b, n);
            n_twin -= n;
            memmove(twin, twin + n, n_twin);
        } else if (choice < 99) {
            n_twin = test_below(&random, n_twin + 1);
            buf_truncate(&b, n_twin);
        } else {
            buf_clear(&b);
            buf_trim(&b);
            n_twin = 0;
        }
        check_span("twin", buf_span(&b), span_of(twin, n_twin));
        assert_true(b.start <= b.end && b.end <= b.cap && b.cap <= b.max);
    }
    assert_true(n_refused > 1000);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_owns_nothing),
        cmocka_unit_test(the_ceiling_holds_at_it_and_refuses_one_over),
        cmocka_unit_test(refused_appends_change_nothing),
        cmocka_unit_test(printf_fills_to_the_ceiling),
        cmocka_unit_test(numbers_are_appended_in_decimal),
        cmocka_unit_test(trim_and_fini_give_the_storage_back),
        cmocka_unit_test(truncate_takes_back_what_was_appended),
        cmocka_unit_test(reserve_of_nothing_is_not_null),
        cmocka_unit_test(random_operations_agree_with_the_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
