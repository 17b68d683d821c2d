/*
 * hmap: the hash against foreign vectors, a naive twin under random operations, removal while
 * visiting, growth without memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "harness/test.h"

/* The map itself, compiled into this program with an allocator that can be told to fail. */
static bool is_out_of_memory;

static void *failing_mem_new(size_t n, size_t size)
{
    return is_out_of_memory ? NULL : mem_new(n, size);
}

#define mem_new failing_mem_new
#include "base/hmap.c" /* NOLINT(bugprone-suspicious-include): see above */
#undef mem_new

/* Computed with CPython, whose hash(bytes) is SipHash-1-3, under PYTHONHASHSEED 0, 1 and 42. */
static void hash_agrees_with_another_implementation(void **state)
{
    (void)state;
    char counting[63];
    for (size_t i = 0; i < sizeof counting; i++) {
        counting[i] = (char)i;
    }
    const struct span texts[] = {
        SPAN_LIT("a"),
        SPAN_LIT("abcdefg"),
        SPAN_LIT("abcdefgh"),
        SPAN_LIT("abcdefghi"),
        SPAN_LIT("session/0123456789abcdef"),
        {counting, sizeof counting},
    };
    static const struct {
        struct hash_key key;
        uint64_t want[N_OF(texts)];
    } vectors[] = {
        {{0, 0},
         {0x407448d2b89b1813, 0x6db12aae9070f506, 0x3f7b849c0b8e35ea, 0xf89b34a3d11eb6e5,
          0xcdd4439b57e4d17b, 0x385d3e39e5f37359}},
        {{0xaed66ce184be2329, 0xebe9bbf1f1499052},
         {0xd6300bc9f7cc0e73, 0x2cc75771f0205010, 0xfd3011ff3947e7f4, 0x6d3c39f07e99250c,
          0xc67f91f65b4aee8c, 0x542052345bc68274}},
        {{0xdc504fd368cd90af, 0xb920bb9ffe99e9c1},
         {0xfe4a47335692551e, 0x13162120b6bf06ed, 0xb441be6d79f21056, 0xad255ab35982cc7f,
          0x82db5db1c57eb80b, 0x06e24d6f0d014c37}},
    };
    for (size_t v = 0; v < N_OF(vectors); v++) {
        for (size_t i = 0; i < N_OF(texts); i++) {
            assert_true(hash_bytes(&vectors[v].key, texts[i]) == vectors[v].want[i]);
        }
    }
    assert_true(hash_bytes(&vectors[0].key, SPAN_NONE) ==
                hash_bytes(&vectors[0].key, SPAN_LIT("")));
}

struct item {
    struct hnode node;
    char name[16];
    size_t name_len;
    bool is_in; /* the twin */
    unsigned n_visits;
};

static const struct hash_key test_key = {1, 2};

static struct span key_of(const struct hnode *node)
{
    const struct item *item = (const struct item *)(const void *)node;
    return span_of(item->name, item->name_len);
}

static struct span item_key(const struct item *item)
{
    return key_of(&item->node);
}

static void name_item(struct item *item, unsigned number)
{
    *item = (struct item){.is_in = false};
    item->name_len = (size_t)snprintf(item->name, sizeof item->name, "n%u", number);
}

static void an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct hmap map;
    hmap_init(&map, test_key, key_of);
    assert_null(map.buckets);
    assert_null(hmap_find(&map, SPAN_LIT("a")));
    assert_null(hmap_find(&map, SPAN_NONE));
    hmap_each(&map, NULL, NULL);
    hmap_fini(&map);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    static const struct span keys[] = {
        SPAN_LIT_INIT(""),  SPAN_LIT_INIT("\0"),   SPAN_LIT_INIT("\0\0"),
        SPAN_LIT_INIT("a"), SPAN_LIT_INIT("a\0"),  SPAN_LIT_INIT("aaaaaaaa"),
        SPAN_LIT_INIT("A"), SPAN_LIT_INIT("\xff"), SPAN_LIT_INIT("aaaaaaaa\0"),
    };
    struct item items[N_OF(keys)];
    struct hmap map;
    hmap_init(&map, test_key, key_of);
    for (size_t i = 0; i < N_OF(keys); i++) {
        items[i] = (struct item){.name_len = keys[i].len};
        memcpy(items[i].name, keys[i].ptr, keys[i].len);
        assert_int_equal(hmap_insert(&map, &items[i].node, keys[i]), ERR_OK);
    }
    for (size_t i = 0; i < N_OF(keys); i++) {
        assert_ptr_equal(hmap_find(&map, keys[i]), &items[i].node);
    }
    assert_null(hmap_find(&map, SPAN_LIT("\0\0\0")));
    hmap_fini(&map);
}

enum {
    N_ITEMS = 500
};

static void random_operations_agree_with_the_twin(void **state)
{
    (void)state;
    static struct item items[N_ITEMS];
    struct test_random random = {5};
    struct hmap map;
    hmap_init(&map, test_key, key_of);
    size_t n_in = 0;
    for (unsigned i = 0; i < N_ITEMS; i++) {
        name_item(&items[i], i);
    }
    for (int round = 0; round < 100000; round++) {
        /* The range changes, so that the map is full and nearly empty in turn. */
        struct item *item = &items[test_below(&random, N_ITEMS)];
        bool wants_more = round / 5000 % 2 == 0;
        bool insert = test_below(&random, 10) < (wants_more ? 7 : 3);
        struct hnode *found = hmap_find(&map, item_key(item));
        assert_ptr_equal(found, item->is_in ? &item->node : NULL);
        if (insert && !item->is_in) {
            assert_int_equal(hmap_insert(&map, &item->node, item_key(item)), ERR_OK);
            item->is_in = true;
            n_in++;
        } else if (!insert && item->is_in) {
            hmap_remove(&map, &item->node);
            item->is_in = false;
            n_in--;
        }
        assert_int_equal(map.n_nodes, n_in);
        assert_true(map.n_nodes <= map.n_buckets);
    }
    for (size_t i = 0; i < N_ITEMS; i++) {
        struct hnode *found = hmap_find(&map, item_key(&items[i]));
        assert_ptr_equal(found, items[i].is_in ? &items[i].node : NULL);
    }
    hmap_fini(&map);
}

static void count_visit(struct hnode *node, void *ctx)
{
    (void)ctx;
    ((struct item *)(void *)node)->n_visits++;
}

/* Removes and frees every node whose number is odd. */
static void remove_odd(struct hnode *node, void *ctx)
{
    struct item *item = (struct item *)(void *)node;
    if ((item->name[item->name_len - 1] - '0') % 2 != 0) {
        hmap_remove(ctx, node);
        free(item);
    }
}

static void free_all(struct hnode *node, void *ctx)
{
    hmap_remove(ctx, node);
    free(node);
}

static void each_visits_all_once_and_may_remove(void **state)
{
    (void)state;
    enum {
        N = 300
    };
    struct hmap map;
    hmap_init(&map, test_key, key_of);
    for (unsigned i = 0; i < N; i++) {
        struct item *item = malloc(sizeof *item);
        assert_non_null(item);
        name_item(item, i);
        assert_int_equal(hmap_insert(&map, &item->node, item_key(item)), ERR_OK);
    }
    hmap_each(&map, remove_odd, &map);
    assert_int_equal(map.n_nodes, N / 2);
    hmap_each(&map, count_visit, NULL);
    for (unsigned i = 0; i < N; i++) {
        struct item probe;
        name_item(&probe, i);
        struct hnode *node = hmap_find(&map, item_key(&probe));
        assert_int_equal(node != NULL, i % 2 == 0);
        if (node != NULL) {
            assert_int_equal(((struct item *)(void *)node)->n_visits, 1);
        }
    }
    hmap_each(&map, free_all, &map);
    assert_int_equal(map.n_nodes, 0);
    hmap_fini(&map);
}

static void growth_without_memory_only_slows(void **state)
{
    (void)state;
    static struct item items[N_ITEMS];
    struct hmap map;
    hmap_init(&map, test_key, key_of);
    for (unsigned i = 0; i < N_ITEMS; i++) {
        name_item(&items[i], i);
    }
    is_out_of_memory = true;
    assert_int_equal(hmap_insert(&map, &items[0].node, item_key(&items[0])), ERR_NOMEM);
    assert_null(hmap_find(&map, item_key(&items[0])));
    is_out_of_memory = false;
    assert_int_equal(hmap_insert(&map, &items[0].node, item_key(&items[0])), ERR_OK);
    size_t n_buckets = map.n_buckets;
    is_out_of_memory = true;
    for (size_t i = 1; i < N_ITEMS - 1; i++) {
        assert_int_equal(hmap_insert(&map, &items[i].node, item_key(&items[i])), ERR_OK);
    }
    assert_int_equal(map.n_buckets, n_buckets);
    is_out_of_memory = false;
    size_t last = N_ITEMS - 1;
    assert_int_equal(hmap_insert(&map, &items[last].node, item_key(&items[last])), ERR_OK);
    assert_int_equal(map.n_buckets, 2 * n_buckets);
    for (size_t i = 0; i < N_ITEMS; i++) {
        assert_ptr_equal(hmap_find(&map, item_key(&items[i])), &items[i].node);
    }
    hmap_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_agrees_with_another_implementation),
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(random_operations_agree_with_the_twin),
        cmocka_unit_test(each_visits_all_once_and_may_remove),
        cmocka_unit_test(growth_without_memory_only_slows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
