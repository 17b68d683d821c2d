/* mem: zeroed blocks, the overflow check, and the bounded free list. */
#include "base/mem.h"
#include "harness/test.h"

#if MEM_IS_WATCHED
#include <sanitizer/asan_interface.h>
#endif

/* The sanitizer's allocator ends the process where calloc must return NULL, unless told otherwise.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

struct object {
    void *first; /* where the pool keeps its link */
    unsigned char rest[40];
};

static bool is_zeroed(const void *block, size_t n)
{
    const unsigned char *bytes = block;
    size_t i = 0;
    while (i < n && bytes[i] == 0) {
        i++;
    }
    return i == n;
}

static void fresh_memory_is_zero(void **state)
{
    (void)state;
    struct object *o = MEM_NEW(struct object);
    assert_non_null(o);
    assert_true(is_zeroed(o, sizeof *o));
    mem_free(o);
    mem_free(NULL);
}

static void a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    /* volatile: the compiler would warn of what this test is about. */
    volatile size_t huge = SIZE_MAX / 2 + 2;
    assert_null(mem_new(huge, 2));
    assert_null(mem_new(2, huge));
}

static void resize_keeps_the_content(void **state)
{
    (void)state;
    char *block = mem_resize(NULL, sizeof "abcd");
    assert_non_null(block);
    memcpy(block, "abcd", sizeof "abcd");
    block = mem_resize(block, 4000);
    assert_non_null(block);
    assert_string_equal(block, "abcd");
    mem_free(block);
}

static void copied_strings_end_in_nul(void **state)
{
    (void)state;
    char *copy = mem_copy_string("abcdef", 3);
    assert_string_equal(copy, "abc");
    mem_free(copy);
    copy = mem_copy_string(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
}

/* A pool with its list, which it has not where the sanitizer is. */
static struct mem_pool listing_pool(unsigned max_free)
{
    struct mem_pool pool;
    mem_pool_init(&pool, sizeof(struct object), max_free);
    pool.max_free = max_free;
    return pool;
}

static void the_pool_hands_out_zeroed_blocks_again(void **state)
{
    (void)state;
    struct mem_pool pool = listing_pool(2);
    struct object *a = mem_pool_get(&pool);
    assert_non_null(a);
    assert_true(is_zeroed(a, sizeof *a));
    memset(a, 0xFF, sizeof *a);
    mem_pool_put(&pool, a);
    assert_int_equal(pool.n_free, 1);
    struct object *again = mem_pool_get(&pool);
    assert_ptr_equal(again, a);
    assert_int_equal(pool.n_free, 0);
    assert_true(is_zeroed(again, sizeof *again));
    mem_pool_put(&pool, again);
    mem_pool_fini(&pool);
    assert_int_equal(pool.n_free, 0);
}

static void the_pool_keeps_no_more_than_its_bound(void **state)
{
    (void)state;
    struct mem_pool pool = listing_pool(2);
    void *blocks[4];
    for (size_t i = 0; i < N_OF(blocks); i++) {
        blocks[i] = mem_pool_get(&pool);
        assert_non_null(blocks[i]);
    }
    static const unsigned want[] = {1, 2, 2};
    for (size_t i = 0; i < N_OF(want); i++) {
        mem_pool_put(&pool, blocks[i]);
        assert_int_equal(pool.n_free, want[i]);
    }
    mem_pool_fini(&pool);
    mem_free(blocks[3]); /* one handed out may outlive the pool */
}

static void a_pool_without_list_is_the_heap(void **state)
{
    (void)state;
    struct mem_pool pool;
    mem_pool_init(&pool, sizeof(void *), 0);
    mem_pool_put(&pool, mem_pool_get(&pool));
    assert_int_equal(pool.n_free, 0);
    assert_null(pool.free_list);
    mem_pool_fini(&pool);
}

static void the_sanitizer_sees_a_late_use(void **state)
{
    (void)state;
#if MEM_IS_WATCHED
    struct mem_pool pool;
    mem_pool_init(&pool, sizeof(struct object), 2);
    struct object *o = mem_pool_get(&pool);
    assert_non_null(o);
    volatile uintptr_t address = (uintptr_t)o; /* or the compiler says what this test is about */
    mem_pool_put(&pool, o);
    assert_true(__asan_address_is_poisoned((void *)address));
    mem_pool_fini(&pool);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_is_zero),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(resize_keeps_the_content),
        cmocka_unit_test(copied_strings_end_in_nul),
        cmocka_unit_test(the_pool_hands_out_zeroed_blocks_again),
        cmocka_unit_test(the_pool_keeps_no_more_than_its_bound),
        cmocka_unit_test(a_pool_without_list_is_the_heap),
        cmocka_unit_test(the_sanitizer_sees_a_late_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
