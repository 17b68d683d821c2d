/* ws_deflate_pool: streams are shared, counted, bounded, and set aside where they stay. */
#include "harness/test.h"
#include "wire/ws_compress.h"
#include "wire/ws_deflate_pool.h"
#include "wire/ws_inflate.h"

enum {
    /* What zconf.h says of windows of 12 bits. */
    INFLATE_12_BYTES = (4 + 7) << 10,
    DEFLATE_12_BYTES = (16 + 16 + 6) << 10,
};

static const struct ws_deflate_terms shared = {.is_on = true, .server_bits = 12, .client_bits = 12};
static const struct ws_deflate_terms staying = {.is_on = true,
                                                .server_takeover = true,
                                                .client_takeover = true,
                                                .server_bits = 12,
                                                .client_bits = 12};

static struct ws_deflate_pool *pool;

static void start(size_t budget_bytes)
{
    assert_int_equal(ws_deflate_pool_create(budget_bytes, &pool), ERR_OK);
}

static void stop(void)
{
    ws_deflate_pool_destroy(pool);
    pool = NULL;
}

/* Compresses one message with a window and a level. */
static bool compresses(unsigned bits, unsigned level)
{
    static char plain[500];
    char out[600];
    struct ws_compress compress;
    struct ws_deflate_terms terms = shared;
    terms.server_bits = (uint8_t)bits;
    ws_compress_init(&compress, pool, &terms, (uint8_t)level);
    size_t n = ws_compress(&compress, span_of(plain, sizeof plain), out, sizeof out);
    ws_compress_fini(&compress);
    return n != 0;
}

static void streams_of_one_kind_are_shared(void **state)
{
    (void)state;
    start(1 << 20);
    assert_int_equal(ws_deflate_pool_used_bytes(pool), 0);
    for (int i = 0; i < 10; i++) {
        assert_true(compresses(12, 6));
    }
    assert_int_equal(ws_deflate_pool_used_bytes(pool), DEFLATE_12_BYTES);
    assert_true(compresses(12, 1));
    assert_int_equal(ws_deflate_pool_used_bytes(pool), 2 * DEFLATE_12_BYTES);
    stop();
}

static void idle_streams_are_bounded(void **state)
{
    (void)state;
    start(100 << 20);
    for (unsigned bits = 9; bits <= 15; bits++) {
        for (unsigned level = 1; level <= 9; level++) {
            assert_true(compresses(bits, level));
        }
    }
    assert_true(ws_deflate_pool_used_bytes(pool) <= WS_DEFLATE_MAX_IDLE * (262U << 10));
    stop();
}

static void idle_streams_make_room(void **state)
{
    (void)state;
    start(DEFLATE_12_BYTES + 1000);
    assert_true(compresses(12, 6));
    assert_true(compresses(12, 1));
    assert_true(compresses(9, 1));
    assert_true(ws_deflate_pool_used_bytes(pool) <= DEFLATE_12_BYTES + 1000);
    assert_false(compresses(13, 1));
    assert_true(compresses(12, 6));
    stop();
}

static void what_stays_is_set_aside(void **state)
{
    struct ws_deflate_terms terms = staying;
    struct ws_inflate inflate;
    struct ws_compress compress;
    (void)state;
    start((INFLATE_12_BYTES + DEFLATE_12_BYTES) * 2);
    ws_deflate_pool_fit(pool, &terms);
    assert_true(terms.server_takeover && terms.client_takeover);
    ws_inflate_init(&inflate, pool, &terms, 1000);
    ws_compress_init(&compress, pool, &terms, 6);
    assert_int_equal(ws_deflate_pool_used_bytes(pool), INFLATE_12_BYTES + DEFLATE_12_BYTES);
    ws_deflate_pool_fit(pool, &terms);
    assert_false(terms.server_takeover || terms.client_takeover); /* a second one is too much */
    assert_true(compresses(12, 6));                               /* what is shared is not */
    char out[200];
    assert_int_equal(ws_compress(&compress, SPAN_LIT("Hello"), out, sizeof out), 7);
    struct ws_event event = {.opcode = WS_TEXT, .is_last = true};
    struct ws_fault fault;
    struct span in = span_of(out, 7);
    struct span got;
    assert_int_equal(ws_inflate_step(&inflate, &event, &in, &got, &fault), ERR_OK);
    check_span("echo", got, SPAN_LIT("Hello"));
    assert_int_equal(ws_deflate_pool_used_bytes(pool), INFLATE_12_BYTES + 2 * DEFLATE_12_BYTES);
    ws_inflate_fini(&inflate);
    ws_compress_fini(&compress);
    assert_int_equal(ws_deflate_pool_used_bytes(pool), DEFLATE_12_BYTES);
    stop();
}

/* Idle streams count nothing when a takeover is asked for, and give way to it. */
static void idle_streams_do_not_cost_a_takeover(void **state)
{
    struct ws_deflate_terms terms = staying;
    struct ws_compress compress;
    (void)state;
    start((INFLATE_12_BYTES + DEFLATE_12_BYTES) * 3 / 2);
    assert_true(compresses(12, 6));
    ws_deflate_pool_fit(pool, &terms);
    assert_true(terms.server_takeover);
    ws_compress_init(&compress, pool, &terms, 6);
    assert_int_equal(ws_deflate_pool_used_bytes(pool), DEFLATE_12_BYTES);
    ws_compress_fini(&compress);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_of_one_kind_are_shared),
        cmocka_unit_test(idle_streams_are_bounded),
        cmocka_unit_test(idle_streams_make_room),
        cmocka_unit_test(what_stays_is_set_aside),
        cmocka_unit_test(idle_streams_do_not_cost_a_takeover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
