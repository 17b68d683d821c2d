/* rand: the pool's borders, wiping, the alphabet, and distributions coarse enough never to fail by
 * chance. */
#include "base/rand.h"
#include "harness/test.h"

static bool is_zeroed(const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && bytes[i] == 0) {
        i++;
    }
    return i == n;
}

static void all_bytes_are_filled_and_no_more(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 16, 255, 256, 257, 1000};
    for (size_t i = 0; i < N_OF(sizes); i++) {
        struct rand r = {.left = 0};
        uint8_t touched[1001] = {0};
        uint8_t out[1001];
        /* A byte that is zero 12 times in a row by chance: once in 2^96 runs. */
        for (int round = 0; round < 12; round++) {
            memset(out, 0, sizeof out);
            rand_bytes(&r, out, sizes[i]);
            for (size_t k = 0; k < sizeof out; k++) {
                touched[k] |= out[k];
            }
        }
        for (size_t k = 0; k < sizeof out; k++) {
            assert_int_equal(touched[k] != 0, k < sizes[i]);
        }
    }
}

static void used_bytes_are_wiped(void **state)
{
    (void)state;
    struct rand r = {.left = 0};
    uint8_t out[100];
    rand_bytes(&r, out, sizeof out);
    assert_int_equal(r.left, sizeof r.pool - sizeof out);
    assert_true(is_zeroed(r.pool, sizeof out));
    assert_false(is_zeroed(r.pool + sizeof out, sizeof r.pool - sizeof out));
    rand_bytes(&r, out, sizeof out);
    rand_bytes(&r, out, 56);
    assert_int_equal(r.left, 0);
    assert_true(is_zeroed(r.pool, sizeof r.pool));
    rand_bytes(&r, out, 1);
    assert_int_equal(r.left, sizeof r.pool - 1);
}

static void below_is_in_range_and_reaches_all(void **state)
{
    (void)state;
    static const uint32_t bounds[] = {1, 2, 3, 7, 10};
    struct rand r = {.left = 0};
    for (size_t i = 0; i < N_OF(bounds); i++) {
        unsigned n_seen[10] = {0};
        for (int k = 0; k < 10000; k++) {
            uint32_t value = rand_below(&r, bounds[i]);
            assert_true(value < bounds[i]);
            n_seen[value]++;
        }
        for (uint32_t v = 0; v < bounds[i]; v++) {
            /* A mean of at least 1000; half of it is over 15 standard deviations away. */
            assert_true(n_seen[v] > 10000 / bounds[i] / 2);
        }
    }
}

static void below_is_fair_where_a_remainder_alone_is_not(void **state)
{
    (void)state;
    /* 2^32 mod bound is a third of 2^32: without the second draw half of all results are < 2^32
     * / 3. */
    const uint32_t bound = 0xAAAAAAAB;
    struct rand r = {.left = 0};
    unsigned n_low = 0;
    for (int k = 0; k < 40000; k++) {
        n_low += rand_below(&r, bound) < 0x55555555;
    }
    assert_in_range(n_low, 19000, 21000); /* fair: 20000 +- 100; unfair: 26667 */
}

static void ids_use_the_whole_alphabet_and_differ(void **state)
{
    (void)state;
    enum {
        N_IDS = 2000
    };
    static char ids[N_IDS][RAND_ID_CHARS + 1];
    unsigned n_seen[256] = {0};
    struct rand r = {.left = 0};
    for (size_t i = 0; i < N_IDS; i++) {
        ids[i][RAND_ID_CHARS] = '!';
        rand_id(&r, ids[i]);
        assert_int_equal(ids[i][RAND_ID_CHARS], '!');
        for (size_t k = 0; k < RAND_ID_CHARS; k++) {
            n_seen[(uint8_t)ids[i][k]]++;
        }
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(ids[i], ids[k], RAND_ID_CHARS);
        }
    }
    for (unsigned c = 0; c < 256; c++) {
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool is_in = is_letter || (c >= '0' && c <= '9') || c == '-' || c == '_';
        assert_int_equal(n_seen[c] != 0, is_in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_are_filled_and_no_more),
        cmocka_unit_test(used_bytes_are_wiped),
        cmocka_unit_test(below_is_in_range_and_reaches_all),
        cmocka_unit_test(below_is_fair_where_a_remainder_alone_is_not),
        cmocka_unit_test(ids_use_the_whole_alphabet_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
