/* ws_compress: what it makes is read by zlib itself, and a message that gains nothing goes as it
 * is. */
#include <stdlib.h>
#include <zlib.h>

#include "harness/test.h"
#include "wire/ws_compress.h"

enum {
    BUDGET_BYTES = 1 << 20,
    MAX_BYTES = 100000,
};

static struct ws_deflate_pool *pool;

static int set_up(void **state)
{
    (void)state;
    return ws_deflate_pool_create(BUDGET_BYTES, &pool) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ws_deflate_pool_destroy(pool);
    return 0;
}

static struct ws_deflate_terms terms_of(unsigned bits, bool has_takeover)
{
    return (struct ws_deflate_terms){.is_on = true,
                                     .server_takeover = has_takeover,
                                     .server_bits = (uint8_t)bits,
                                     .client_bits = 15};
}

/* The message's payload in storage of exactly the room; *len 0: as it is. The caller frees it. */
static char *pack(struct ws_compress *compress, struct span message, size_t *len)
{
    size_t room = ws_compress_room(compress, message.len);
    char *out = malloc(room);
    assert_non_null(out);
    *len = ws_compress(compress, message, out, room);
    assert_true(*len <= room);
    return out;
}

/* The peer: plain zlib with a window of `bits`. */
static void start_peer(z_stream *z, unsigned bits)
{
    *z = (z_stream){.zalloc = NULL};
    assert_int_equal(inflateInit2(z, -(int)bits), Z_OK);
}

static void peer_must_read(z_stream *z, struct span payload, struct span want)
{
    static char in[MAX_BYTES * 2];
    static char got[MAX_BYTES + 1];
    memcpy(in, payload.ptr, payload.len);
    memcpy(in + payload.len, "\x00\x00\xff\xff", 4);
    z->next_in = (Bytef *)in;
    z->avail_in = (uInt)payload.len + 4;
    z->next_out = (Bytef *)got;
    z->avail_out = sizeof got;
    assert_int_equal(inflate(z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(z->avail_in, 0);
    assert_true(span_eq(span_of(got, sizeof got - z->avail_out), want));
}

/* Mostly words, sometimes noise. */
static size_t make_message(char *bytes, struct test_random *random)
{
    static const char *const words[] = {"{\"id\":", "\"name\"", "true,", "1234", "[]", "\n"};
    size_t len = 1 + test_below(random, test_below(random, 8) == 0 ? MAX_BYTES - 32 : 600);
    bool is_noise = test_below(random, 5) == 0;
    for (size_t i = 0; i < len;) {
        const char *word = words[test_below(random, N_OF(words))];
        size_t n = is_noise ? 1 : strlen(word);
        if (is_noise) {
            bytes[i] = (char)test_random(random);
        } else {
            memcpy(bytes + i, word, n);
        }
        i += n;
    }
    return len;
}

static void zlib_reads_every_window(void **state)
{
    static char bytes[MAX_BYTES];
    struct test_random random = {99};
    (void)state;
    for (unsigned round = 0; round < 7 * 2 * 3; round++) {
        unsigned bits = 9 + round % 7;
        struct ws_deflate_terms terms = terms_of(bits, round / 7 % 2);
        struct ws_compress compress;
        z_stream peer;
        size_t n_packed = 0;
        start_peer(&peer, bits);
        ws_compress_init(&compress, pool, &terms, (uint8_t)(1 + round / 14 * 4));
        for (int i = 0; i < 40; i++) {
            struct span message = span_of(bytes, make_message(bytes, &random));
            size_t len;
            char *out = pack(&compress, message, &len);
            if (len != 0) {
                peer_must_read(&peer, span_of(out, len), message);
                n_packed++;
            }
            assert_true(terms.server_takeover || len < message.len);
            free(out);
            if (!terms.server_takeover) {
                assert_int_equal(inflateReset(&peer), Z_OK);
            }
        }
        assert_true(n_packed > 10);
        ws_compress_fini(&compress);
        (void)inflateEnd(&peer);
    }
}

static void what_does_not_shrink_goes_as_it_is(void **state)
{
    static char noise[MAX_BYTES];
    struct test_random random = {5};
    struct ws_deflate_terms terms = terms_of(15, false);
    struct ws_compress compress;
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (char)test_random(&random);
    }
    const struct span messages[] = {SPAN_LIT(""), SPAN_LIT("a"), SPAN_LIT("Hello"),
                                    span_of(noise, 1000), span_of(noise, sizeof noise)};
    ws_compress_init(&compress, pool, &terms, 6);
    for (size_t i = 0; i < N_OF(messages); i++) {
        free(pack(&compress, messages[i], &len));
        assert_int_equal(len, 0);
    }
    ws_compress_fini(&compress);
}

static void takeover_gains_by_what_was_sent(void **state)
{
    struct ws_deflate_terms terms = terms_of(15, true);
    struct ws_compress compress;
    size_t len;
    (void)state;
    ws_compress_init(&compress, pool, &terms, 6);
    free(pack(&compress, SPAN_LIT("Hello"), &len));
    assert_int_equal(len, 7); /* bigger, and worth it */
    char *out = pack(&compress, SPAN_LIT("Hello"), &len);
    check_span("again", span_of(out, len), SPAN_LIT("\xf2\x00\x11\x00\x00"));
    free(out);
    free(pack(&compress, SPAN_LIT(""), &len));
    assert_int_equal(len, 0);
    ws_compress_fini(&compress);
}

/* A message that does not fit was seen by the compressor and never by the peer. */
static void a_dropped_window_is_not_referred_to(void **state)
{
    struct ws_deflate_terms terms = terms_of(15, true);
    struct ws_compress compress;
    z_stream peer;
    char out[64];
    char *second;
    size_t len;
    (void)state;
    start_peer(&peer, 15);
    ws_compress_init(&compress, pool, &terms, 6);
    assert_int_equal(ws_compress(&compress, SPAN_LIT("0123456789abcdefghijkl"), out, 12), 0);
    second = pack(&compress, SPAN_LIT("0123456789abcdefghijkl"), &len);
    assert_true(len != 0);
    peer_must_read(&peer, span_of(second, len), SPAN_LIT("0123456789abcdefghijkl"));
    free(second);
    ws_compress_fini(&compress);
    (void)inflateEnd(&peer);
}

static void without_a_stream_it_goes_as_it_is(void **state)
{
    static char bytes[1000];
    struct ws_deflate_pool *tiny = NULL;
    struct ws_deflate_terms terms = terms_of(12, false);
    struct ws_compress compress;
    char out[1200];
    (void)state;
    assert_int_equal(ws_deflate_pool_create(1000, &tiny), ERR_OK);
    ws_compress_init(&compress, tiny, &terms, 6);
    assert_int_equal(ws_compress(&compress, span_of(bytes, sizeof bytes), out, sizeof out), 0);
    ws_compress_fini(&compress);
    ws_deflate_pool_destroy(tiny);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(zlib_reads_every_window),           TEST(what_does_not_shrink_goes_as_it_is),
        TEST(takeover_gains_by_what_was_sent),   TEST(a_dropped_window_is_not_referred_to),
        TEST(without_a_stream_it_goes_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
