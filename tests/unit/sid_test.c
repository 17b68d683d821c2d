/* sid: the owner rule gives the same answer in every worker, and spreads the load. */
#include <stdio.h>

#include "core/sid.h"
#include "harness/test.h"

enum {
    N_WORKERS = 8,
    N_IDS = 8000,
};

static void start(struct kit *kit, unsigned id, unsigned n_workers)
{
    kit_init(kit, id, n_workers, (struct hash_key){11, 12}, 1000);
}

static struct span sid_at(int i, char out[16])
{
    return span_of(out, (size_t)snprintf(out, 16, "%03d/abc%d", i % 1000, i));
}

static void every_worker_names_the_same_owner(void **state)
{
    (void)state;
    static struct kit kits[N_WORKERS];
    for (unsigned w = 0; w < N_WORKERS; w++) {
        start(&kits[w], w, N_WORKERS);
    }
    for (int i = 0; i < 1000; i++) {
        char text[16];
        unsigned owner = sid_owner(&kits[0], sid_at(i, text));
        assert_true(owner < N_WORKERS);
        for (unsigned w = 1; w < N_WORKERS; w++) {
            assert_int_equal(sid_owner(&kits[w], sid_at(i, text)), owner);
        }
    }
}

static void owners_are_spread(void **state)
{
    (void)state;
    static struct kit kit;
    int n_owned[N_WORKERS] = {0};
    start(&kit, 0, N_WORKERS);
    for (int i = 0; i < N_IDS; i++) {
        char text[16];
        n_owned[sid_owner(&kit, sid_at(i, text))]++;
    }
    for (int w = 0; w < N_WORKERS; w++) {
        /* 1000 each; the keys are fixed, so this holds always or never. */
        assert_in_range(n_owned[w], 850, 1150);
    }
}

static void the_key_decides(void **state)
{
    (void)state;
    static struct kit one;
    static struct kit two;
    start(&one, 0, N_WORKERS);
    start(&two, 0, N_WORKERS);
    two.owner_key.k0++;
    int n_moved = 0;
    for (int i = 0; i < 1000; i++) {
        char text[16];
        struct span sid = sid_at(i, text);
        n_moved += sid_owner(&one, sid) != sid_owner(&two, sid);
    }
    assert_true(n_moved > 700); /* 7 of 8 */
}

static void one_worker_owns_all(void **state)
{
    (void)state;
    static struct kit kit;
    start(&kit, 0, 1);
    assert_int_equal(sid_owner(&kit, SPAN_LIT("any")), 0);
    assert_int_equal(sid_owner(&kit, SPAN_NONE), 0);
}

static void public_ids_print_as_16_digits(void **state)
{
    (void)state;
    static const struct {
        uint64_t id;
        const char *want;
    } cases[] = {
        {0, "0000000000000000"},
        {1, "0000000000000001"},
        {0x0123456789abcdef, "0123456789abcdef"},
        {UINT64_MAX, "ffffffffffffffff"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char got[SID_PUBLIC_CHARS];
        sid_print_public(cases[i].id, got);
        check_span(cases[i].want, span_of(got, sizeof got), span_str(cases[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_names_the_same_owner),
        cmocka_unit_test(owners_are_spread),
        cmocka_unit_test(the_key_decides),
        cmocka_unit_test(one_worker_owns_all),
        cmocka_unit_test(public_ids_print_as_16_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
