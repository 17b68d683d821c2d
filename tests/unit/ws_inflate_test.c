/* ws_inflate: the examples of RFC 7692 7.2.3, all that zlib can make, and all that breaks. */
#include "wire/ws_inflate.h"

#define ZLIB_CONST
#include <zlib.h>

#include "harness/drive_ws_inflate.h"
#include "harness/wire_test.h"

#define PIECE(literal) SPAN_LIT_INIT(literal)

enum {
    BUDGET_BYTES = 1 << 20,
    BIG_BYTES = 200000,
};

static const struct ws_deflate_terms takeover = {
    .is_on = true, .client_takeover = true, .client_bits = 15, .server_bits = 15};
static const struct ws_deflate_terms no_takeover = {
    .is_on = true, .client_bits = 15, .server_bits = 15};

static struct drive_inflate drive;

static int set_up(void **state)
{
    (void)state;
    drive = (struct drive_inflate){.terms = takeover, .max_bytes = 1 << 20, .opcode = WS_TEXT};
    return ws_deflate_pool_create(BUDGET_BYTES, &drive.pool) == ERR_OK ? 0 : -1;
}

/* Every stream was given back, or the pool's end fails. */
static int tear_down(void **state)
{
    (void)state;
    drive_inflate_end(&drive);
    ws_deflate_pool_destroy(drive.pool);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
    return 0;
}

/* `messages` one behind the other, cut at every place, with and without an empty frame at the end
 * of each. */
static void check(const char *name, const struct span *messages, size_t n, const char *want)
{
    struct feed feed = drive_inflate_feed(&drive);
    char *bytes = NULL;
    size_t len = 0;

    drive.n_messages = 0;
    for (size_t i = 0; i < n; i++) {
        drive.lens[drive.n_messages++] = messages[i].len;
        bytes = realloc(bytes, len + messages[i].len + 1);
        assert_non_null(bytes);
        memcpy(bytes + len, messages[i].ptr, messages[i].len);
        len += messages[i].len;
    }
    for (int late = 0; late < 2; late++) {
        drive.has_late_end = late;
        wire_check(&feed, name, span_of(bytes, len), want, true);
    }
    free(bytes);
}

struct example {
    const char *name;
    struct span messages[4]; /* up to the first without bytes */
    const char *want;
};

static void check_examples(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t n_messages = 0;
        while (n_messages < 4 && examples[i].messages[n_messages].ptr != NULL) {
            n_messages++;
        }
        check(examples[i].name, examples[i].messages, n_messages, examples[i].want);
    }
}

#define HELLO "\xf2\x48\xcd\xc9\xc9\x07\x00"

static void the_examples_of_the_rfc(void **state)
{
    static const struct example examples[] = {
        {"one block", {PIECE(HELLO)}, "Hello. "},
        {"the window stays", {PIECE(HELLO), PIECE("\xf2\x00\x11\x00\x00")}, "Hello. Hello. "},
        {"no compression", {PIECE("\x00\x05\x00\xfa\xffHello\x00")}, "Hello. "},
        {"a final block", {PIECE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")}, "Hello. "},
        {"two blocks", {PIECE("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")}, "Hello. "},
        {"an empty message", {PIECE("\x00")}, ". "},
        {"empty ones between",
         {PIECE("\x00"), PIECE(HELLO), PIECE("\x00"), PIECE("\xf2\x00\x11\x00\x00")},
         ". Hello. . Hello. "},
    };
    (void)state;
    check_examples(examples, N_OF(examples));
}

static void final_blocks_end_nothing(void **state)
{
    static const struct example examples[] = {
        {"the window stays",
         {PIECE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), PIECE("\xf2\x00\x11\x00\x00")},
         "Hello. Hello. "},
        {"inside of a message",
         {PIECE("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00")},
         "HelloHello. "},
        {"without the empty block behind it",
         {PIECE("\xf3\x48\xcd\xc9\xc9\x07\x00"), PIECE("\xf3\x00\x11\x00"), PIECE(HELLO)},
         "Hello. Hello. Hello. "},
        {"nothing at all", {PIECE("\x03\x00")}, ". "},
    };
    (void)state;
    check_examples(examples, N_OF(examples));
}

static void what_is_broken_is_refused(void **state)
{
    static const struct example examples[] = {
        {"block type 3", {PIECE("\x07")}, "!1007 Message is not DEFLATE data"},
        {"stored length",
         {PIECE("\x00\x05\x00\xfa\xfeHello\x00")},
         "!1007 Message is not DEFLATE data"},
        {"distance too far back",
         {PIECE("\xf2\x00\x11\x00\x00")},
         "!1007 Message is not DEFLATE data"},
        {"behind a final block",
         {PIECE("\xf3\x48\xcd\xc9\xc9\x07\x00\x07")},
         "!1007 Message is not DEFLATE data"},
        {"the tail is there", {PIECE(HELLO "\x00\x00\xff\xff")}, "!1007 DEFLATE data is cut short"},
        /* The bytes that the sender left out are taken for the missing ones. */
        {"stored, cut", {PIECE("\x00\x64\x00\x9b\xffHello")}, "!1007 Text message is not UTF-8"},
        {"fixed codes, cut", {PIECE("\xf2\x48\xcd\xc9")}, "!1007 DEFLATE data is cut short"},
        {"a length, cut", {PIECE("\x00\x05")}, "!1007 Message is not DEFLATE data"},
        {"second message",
         {PIECE(HELLO), PIECE("\x07")},
         "Hello. !1007 Message is not DEFLATE data"},
        {"not UTF-8", {PIECE("\x00\x01\x00\xfe\xff\xff\x00")}, "!1007 Text message is not UTF-8"},
        {"half a character",
         {PIECE("\x00\x01\x00\xfe\xff\xc3\x00")},
         "!1007 Text message is not UTF-8"},
        {"a character over two messages",
         {PIECE("\x00\x01\x00\xfe\xff\xc3\x00"), PIECE("\x00\x01\x00\xfe\xff\xa9\x00")},
         "!1007 Text message is not UTF-8"},
        {"a character over two blocks",
         {PIECE("\x00\x01\x00\xfe\xff\xc3\x00\x01\x00\xfe\xff\xa9\x00")},
         "\\xc3\\xa9. "},
    };
    (void)state;
    check_examples(examples, N_OF(examples));
    drive.opcode = WS_BINARY;
    check("cut", (struct span[]){PIECE("\x00\x64\x00\x9b\xffHello")}, 1,
          "!1007 DEFLATE data is cut short");
    check("binary", (struct span[]){PIECE("\x00\x01\x00\xfe\xff\xff\x00")}, 1, "\\xff. ");
    drive.terms = no_takeover;
    check("no window", (struct span[]){PIECE(HELLO), PIECE("\xf2\x00\x11\x00\x00")}, 2,
          "Hello. !1007 Message is not DEFLATE data");
}

/* -- what zlib makes --------------------------------------------------------------------------- */

static void start_deflate(z_stream *z, int level, int bits)
{
    *z = (z_stream){.zalloc = NULL};
    assert_int_equal(deflateInit2(z, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

/* Returns the bytes made; the tail of a flush is cut off. */
static size_t deflate_message(z_stream *z, struct span in, int flush, char *out, size_t room)
{
    z->next_in = (const Bytef *)in.ptr;
    z->avail_in = (uInt)in.len;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    int result = deflate(z, flush);
    assert_true(result == Z_OK || result == Z_STREAM_END);
    assert_true(z->avail_out != 0);
    return room - z->avail_out - (flush == Z_FINISH ? 0 : 4);
}

/* Text that has near and far repetitions. */
static void fill(char *bytes, size_t len, struct test_random *random)
{
    for (size_t i = 0; i < len;) {
        size_t n = 1 + test_below(random, 200);
        size_t back = test_below(random, 40000);
        for (size_t j = 0; j < n && i < len; j++, i++) {
            bytes[i] = back < i ? bytes[i - 1 - back] : (char)('a' + test_below(random, 26));
        }
    }
}

/* Takes a whole message in pieces of `step` bytes; wants `want`. */
static void must_inflate(struct ws_inflate *inflate, struct span in, size_t step, struct span want)
{
    bool is_done = false;
    while (!is_done) {
        size_t n = step < in.len ? step : in.len;
        struct ws_event event = {.opcode = WS_TEXT, .is_last = n == in.len};
        struct span piece = span_of(in.ptr, n);
        enum err e = ERR_AGAIN;
        while (e == ERR_AGAIN) {
            struct span out;
            struct ws_fault fault;
            e = ws_inflate_step(inflate, &event, &piece, &out, &fault);
            assert_true(e == ERR_OK || e == ERR_AGAIN);
            assert_true(out.len <= want.len);
            assert_true(span_eq(out, span_of(want.ptr, out.len)));
            want = span_skip(want, out.len);
        }
        in = span_skip(in, n);
        is_done = event.is_last;
    }
    assert_int_equal(want.len, 0);
}

static void every_window_and_level_of_zlib(void **state)
{
    static char plain[BIG_BYTES];
    static char packed[BIG_BYTES * 2];
    struct test_random random = {42};
    (void)state;
    fill(plain, sizeof plain, &random);
    for (int round = 0; round < 7 * 5 * 2; round++) {
        static const int levels[] = {0, 1, 5, 6, 9};
        z_stream z;
        struct ws_inflate inflate;
        struct ws_deflate_terms terms = round % 2 ? takeover : no_takeover;
        terms.client_bits = (uint8_t)(9 + round / 2 % 7);
        start_deflate(&z, levels[round / 14], terms.client_bits);
        ws_inflate_init(&inflate, drive.pool, &terms, BIG_BYTES);
        for (int i = 0; i < 6; i++) {
            size_t from = test_below(&random, BIG_BYTES / 2);
            size_t len = i == 3 ? BIG_BYTES / 2 : 1 + test_below(&random, 3000);
            struct span message = span_of(plain + from, len);
            size_t n = deflate_message(&z, message, Z_SYNC_FLUSH, packed, sizeof packed);
            must_inflate(&inflate, span_of(packed, n), 1 + test_below(&random, n), message);
            if (!terms.client_takeover) {
                assert_int_equal(deflateReset(&z), Z_OK);
            }
        }
        ws_inflate_fini(&inflate);
        (void)deflateEnd(&z);
    }
}

/* A sender without a flush ends each message with a final block, and may refer back all the same.
 */
static void a_window_of_32_kib_survives_final_blocks(void **state)
{
    static char plain[BIG_BYTES];
    static char packed[BIG_BYTES];
    struct test_random random = {7};
    struct ws_inflate inflate;
    z_stream z;
    (void)state;
    fill(plain, sizeof plain, &random);
    ws_inflate_init(&inflate, drive.pool, &takeover, BIG_BYTES);
    start_deflate(&z, 9, 15);
    for (size_t at = 0, len = 20000; at + len <= BIG_BYTES; at += len) {
        size_t window = at < 32768 ? at : 32768;
        assert_int_equal(deflateReset(&z), Z_OK);
        if (at != 0) {
            assert_int_equal(
                deflateSetDictionary(&z, (const Bytef *)plain + at - window, (uInt)window), Z_OK);
        }
        struct span message = span_of(plain + at, len);
        size_t n = deflate_message(&z, message, Z_FINISH, packed, sizeof packed - 1);
        packed[n++] = 0;
        must_inflate(&inflate, span_of(packed, n), 1000, message);
    }
    (void)deflateEnd(&z);
    ws_inflate_fini(&inflate);
}

/* -- bounds ------------------------------------------------------------------------------------ */

/* One step of a message of `len` bytes that all come at once. */
static enum err step(struct ws_inflate *inflate, struct span in, bool is_last, struct span *out,
                     struct ws_fault *fault)
{
    struct ws_event event = {.opcode = WS_TEXT, .is_last = is_last};
    return ws_inflate_step(inflate, &event, &in, out, fault);
}

static void a_bomb_costs_one_step(void **state)
{
    static char plain[64 << 20];
    static char packed[1 << 17];
    struct ws_inflate inflate;
    struct ws_fault fault = {0, NULL};
    struct span out;
    z_stream z;
    (void)state;
    start_deflate(&z, 9, 15);
    size_t n =
        deflate_message(&z, span_of(plain, sizeof plain), Z_SYNC_FLUSH, packed, sizeof packed);
    (void)deflateEnd(&z);
    ws_inflate_init(&inflate, drive.pool, &no_takeover, 1000);
    assert_int_equal(step(&inflate, span_of(packed, n), true, &out, &fault), ERR_LIMIT);
    assert_int_equal(fault.close_code, WS_CLOSE_TOO_BIG);
    assert_int_equal(inflate.out_bytes, 1001);
    ws_inflate_fini(&inflate);
}

static void the_limit_is_exact(void **state)
{
    (void)state;
    drive.max_bytes = 5;
    check("5 of 5", (struct span[]){PIECE(HELLO), PIECE(HELLO)}, 2, "Hello. Hello. ");
    drive.max_bytes = 4;
    check("5 of 4", (struct span[]){PIECE(HELLO)}, 1, "!1009 Inflated message is over the limit");
}

static void bad_text_fails_long_before_its_end(void **state)
{
    static char plain[BIG_BYTES];
    static char packed[BIG_BYTES];
    struct ws_inflate inflate;
    struct ws_fault fault = {0, NULL};
    struct span out;
    z_stream z;
    (void)state;
    memset(plain, 'a', sizeof plain);
    plain[20000] = '\xff';
    start_deflate(&z, 6, 15);
    size_t n =
        deflate_message(&z, span_of(plain, sizeof plain), Z_SYNC_FLUSH, packed, sizeof packed);
    (void)deflateEnd(&z);
    ws_inflate_init(&inflate, drive.pool, &no_takeover, BIG_BYTES);
    struct ws_event event = {.opcode = WS_TEXT, .is_last = false};
    struct span in = span_of(packed, n / 2);
    assert_int_equal(ws_inflate_step(&inflate, &event, &in, &out, &fault), ERR_AGAIN);
    assert_int_equal(ws_inflate_step(&inflate, &event, &in, &out, &fault), ERR_SYNTAX);
    assert_int_equal(fault.close_code, WS_CLOSE_INVALID_DATA);
    assert_true(inflate.out_bytes == (uint64_t)2 * WS_DEFLATE_STEP_BYTES);
    ws_inflate_fini(&inflate);
}

/* Each final block costs a copy of the window. */
static void final_blocks_are_counted(void **state)
{
    char packed[100];
    struct ws_inflate inflate;
    struct ws_fault fault = {0, NULL};
    struct span out;
    (void)state;
    for (size_t i = 0; i < sizeof packed; i += 2) {
        memcpy(packed + i, "\x03\x00", 2);
    }
    ws_inflate_init(&inflate, drive.pool, &takeover, BIG_BYTES);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(step(&inflate, span_of(packed, 32), true, &out, &fault), ERR_OK);
    }
    assert_int_equal(step(&inflate, span_of(packed, 34), true, &out, &fault), ERR_DENIED);
    assert_int_equal(fault.close_code, WS_CLOSE_POLICY);
    ws_inflate_fini(&inflate);
}

static void the_budget_ends_a_message_with_1013(void **state)
{
    struct ws_inflate inflates[40];
    struct ws_fault fault = {0, NULL};
    struct span out;
    size_t n = 0;
    (void)state;
    for (; n < N_OF(inflates); n++) {
        ws_inflate_init(&inflates[n], drive.pool, &no_takeover, BIG_BYTES);
        enum err e = step(&inflates[n], SPAN_LIT("\xf2"), false, &out, &fault);
        if (e != ERR_OK) {
            assert_int_equal(e, ERR_LIMIT);
            break;
        }
    }
    assert_int_equal(fault.close_code, WS_CLOSE_TRY_AGAIN);
    assert_true(n == BUDGET_BYTES / ((32 + 7) << 10));
    /* One message ends, and the next finds its stream. */
    assert_int_equal(step(&inflates[0], SPAN_LIT("\x48\xcd\xc9\xc9\x07\x00"), true, &out, &fault),
                     ERR_OK);
    check_span("first", out, SPAN_LIT("Hello"));
    assert_int_equal(step(&inflates[n], SPAN_LIT(HELLO), true, &out, &fault), ERR_OK);
    for (size_t i = 0; i <= n; i++) {
        ws_inflate_fini(&inflates[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_examples_of_the_rfc),
        TEST(final_blocks_end_nothing),
        TEST(what_is_broken_is_refused),
        TEST(every_window_and_level_of_zlib),
        TEST(a_window_of_32_kib_survives_final_blocks),
        TEST(a_bomb_costs_one_step),
        TEST(the_limit_is_exact),
        TEST(bad_text_fails_long_before_its_end),
        TEST(final_blocks_are_counted),
        TEST(the_budget_ends_a_message_with_1013),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
