/* text: tables, every split of every UTF-8 case, and a naive twin for UTF-8 and base64. */
#include <stdio.h>

#include "base/text.h"
#include "harness/test.h"

/* ---- UTF-8 ---- */

struct utf8_case {
    const char *name;
    struct span in;
    bool is_valid;
};

static const struct utf8_case utf8_cases[] = {
    {"empty", SPAN_LIT_INIT(""), true},
    {"ascii", SPAN_LIT_INIT("hello"), true},
    {"nul", SPAN_LIT_INIT("\0"), true},
    {"last of 1 byte", SPAN_LIT_INIT("\x7f"), true},
    {"first of 2", SPAN_LIT_INIT("\xc2\x80"), true},
    {"last of 2", SPAN_LIT_INIT("\xdf\xbf"), true},
    {"first of 3", SPAN_LIT_INIT("\xe0\xa0\x80"), true},
    {"last of 3", SPAN_LIT_INIT("\xef\xbf\xbf"), true},
    {"before the surrogates", SPAN_LIT_INIT("\xed\x9f\xbf"), true},
    {"after the surrogates", SPAN_LIT_INIT("\xee\x80\x80"), true},
    {"first of 4", SPAN_LIT_INIT("\xf0\x90\x80\x80"), true},
    {"last of 4", SPAN_LIT_INIT("\xf4\x8f\xbf\xbf"), true},
    {"16 ascii, then 2 bytes", SPAN_LIT_INIT("0123456789abcdef\xc3\xa9"), true},
    {"2 bytes over the 16th", SPAN_LIT_INIT("0123456789abcde\xc3\xa9xyz0123456789abcdef"), true},
    {"bare tail", SPAN_LIT_INIT("\x80"), false},
    {"overlong 2, c0", SPAN_LIT_INIT("\xc0\x80"), false},
    {"overlong 2, c1", SPAN_LIT_INIT("\xc1\xbf"), false},
    {"overlong 3", SPAN_LIT_INIT("\xe0\x9f\xbf"), false},
    {"overlong 4", SPAN_LIT_INIT("\xf0\x8f\xbf\xbf"), false},
    {"first surrogate", SPAN_LIT_INIT("\xed\xa0\x80"), false},
    {"last surrogate", SPAN_LIT_INIT("\xed\xbf\xbf"), false},
    {"above the last", SPAN_LIT_INIT("\xf4\x90\x80\x80"), false},
    {"f5", SPAN_LIT_INIT("\xf5\x80\x80\x80"), false},
    {"ff", SPAN_LIT_INIT("\xff"), false},
    {"cut 2", SPAN_LIT_INIT("\xc2"), false},
    {"cut 3", SPAN_LIT_INIT("\xe1\x80"), false},
    {"cut 4", SPAN_LIT_INIT("\xf1\x80\x80"), false},
    {"ascii in a character", SPAN_LIT_INIT("\xe1\x80z"), false},
    {"bad after 16", SPAN_LIT_INIT("0123456789abcdef\xff"), false},
    {"bad before 16", SPAN_LIT_INIT("\xff\x30\x31\x32\x33\x34\x35\x36\x37\x38\x39"), false},
    {"good after bad", SPAN_LIT_INIT("\xff then 0123456789 good \xc3\xa9"), false},
};

static void utf8_table_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(utf8_cases); i++) {
        const struct utf8_case *c = &utf8_cases[i];
        CHECK_INT(c->name, utf8_is_valid(c->in), c->is_valid);
        for (size_t at = 0; at <= c->in.len; at++) {
            uint8_t s = utf8_feed(UTF8_ACCEPT, span_of(c->in.ptr, at));
            s = utf8_feed(s, span_skip(c->in, at));
            CHECK_INT(c->name, s == UTF8_ACCEPT, c->is_valid);
        }
        uint8_t s = UTF8_ACCEPT;
        for (size_t at = 0; at < c->in.len; at++) {
            s = utf8_feed(s, span_of(c->in.ptr + at, 1));
        }
        CHECK_INT(c->name, s == UTF8_ACCEPT, c->is_valid);
    }
}

static void utf8_fails_at_the_first_impossible_byte(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        size_t at; /* index of the byte that must give REJECT */
    } cases[] = {
        {"e0 9f", SPAN_LIT_INIT("\xe0\x9f\xbf"), 1}, {"ed a0", SPAN_LIT_INIT("\xed\xa0\x80"), 1},
        {"f0 8f", SPAN_LIT_INIT("\xf0\x8f\xbf"), 1}, {"f4 90", SPAN_LIT_INIT("\xf4\x90\x80"), 1},
        {"c0", SPAN_LIT_INIT("a\xc0\x80"), 1},       {"f5", SPAN_LIT_INIT("\xf5"), 0},
        {"late", SPAN_LIT_INIT("\xf1\x80\x80 "), 3},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        uint8_t s = UTF8_ACCEPT;
        for (size_t at = 0; at < cases[i].in.len; at++) {
            s = utf8_feed(s, span_of(cases[i].in.ptr + at, 1));
            CHECK_INT(cases[i].name, s == UTF8_REJECT, at >= cases[i].at);
        }
        assert_int_equal(utf8_feed(s, SPAN_LIT("good")), UTF8_REJECT);
        assert_int_equal(utf8_feed(s, SPAN_NONE), UTF8_REJECT);
    }
}

/* By arithmetic on the decoded number instead of tables. */
static bool naive_is_valid(const uint8_t *in, size_t len)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < len;) {
        size_t n = in[i] < 0x80 ? 1 : in[i] >> 5 == 6 ? 2 : in[i] >> 4 == 14 ? 3 : 4;
        if ((n == 4 && in[i] >> 3 != 30) || n > len - i) {
            return false;
        }
        uint32_t c = n == 1 ? in[i] : in[i] & (0x7FU >> n);
        for (size_t k = 1; k < n; k++) {
            if (in[i + k] >> 6 != 2) {
                return false;
            }
            c = c << 6 | (in[i + k] & 0x3FU);
        }
        if (c < smallest[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
            return false;
        }
        i += n;
    }
    return true;
}

static void check_all_lengths(const uint8_t in[4])
{
    for (size_t n = 1; n <= 4; n++) {
        assert_int_equal(utf8_is_valid(span_of((const char *)in, n)), naive_is_valid(in, n));
    }
}

static void utf8_agrees_with_twin_on_all_short_sequences(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0};
    for (unsigned two = 0; two < 0x10000; two++) {
        for (size_t i = 0; i < N_OF(edges) * N_OF(edges); i++) {
            const uint8_t in[4] = {(uint8_t)(two >> 8), (uint8_t)two, edges[i % N_OF(edges)],
                                   edges[i / N_OF(edges)]};
            check_all_lengths(in);
        }
    }
}

static void utf8_agrees_with_twin_on_random_text(void **state)
{
    (void)state;
    struct test_random random = {7};
    size_t n_valid = 0;
    for (int round = 0; round < 20000; round++) {
        char text[80];
        size_t len = 0;
        while (len < 60) {
            uint32_t c = test_below(&random, 4) != 0 ? (uint32_t)test_below(&random, 0x80)
                                                     : (uint32_t)test_below(&random, 0x110000);
            len += utf8_put(text + len, c);
        }
        if (test_below(&random, 2) != 0) {
            text[test_below(&random, len)] = (char)test_random(&random);
        }
        bool want = naive_is_valid((const uint8_t *)text, len);
        n_valid += want;
        assert_int_equal(utf8_is_valid(span_of(text, len)), want);
        size_t cut = test_below(&random, len);
        uint8_t s = utf8_feed(UTF8_ACCEPT, span_of(text, cut));
        s = utf8_feed(s, span_of(text + cut, len - cut));
        assert_int_equal(s == UTF8_ACCEPT, want);
    }
    assert_in_range(n_valid, 10000, 19999);
}

static void utf8_put_writes_what_utf8_feed_accepts(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char out[4];
        size_t n = utf8_put(out, c);
        size_t want = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        assert_int_equal(n, want);
        assert_true(naive_is_valid((const uint8_t *)out, n));
    }
    char out[4];
    assert_int_equal(utf8_put(out, 0x20AC), 3);
    assert_memory_equal(out, "\xe2\x82\xac", 3);
    assert_int_equal(utf8_put(out, 0x1F600), 4);
    assert_memory_equal(out, "\xf0\x9f\x98\x80", 4);
    assert_int_equal(utf8_put(out, 0xD800), 3);
    assert_memory_equal(out, "\xef\xbf\xbd", 3);
    assert_int_equal(utf8_put(out, 0xDFFF), 3);
    assert_memory_equal(out, "\xef\xbf\xbd", 3);
}

/* ---- base64 ---- */

static void base64_knows_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const struct {
        struct span bytes, text;
    } cases[] = {
        {SPAN_LIT_INIT(""), SPAN_LIT_INIT("")},
        {SPAN_LIT_INIT("f"), SPAN_LIT_INIT("Zg==")},
        {SPAN_LIT_INIT("fo"), SPAN_LIT_INIT("Zm8=")},
        {SPAN_LIT_INIT("foo"), SPAN_LIT_INIT("Zm9v")},
        {SPAN_LIT_INIT("foob"), SPAN_LIT_INIT("Zm9vYg==")},
        {SPAN_LIT_INIT("fooba"), SPAN_LIT_INIT("Zm9vYmE=")},
        {SPAN_LIT_INIT("foobar"), SPAN_LIT_INIT("Zm9vYmFy")},
        {SPAN_LIT_INIT("\xfb\xff\xbf"), SPAN_LIT_INIT("+/+/")},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char out[16];
        size_t n = base64_encode(cases[i].bytes, out);
        assert_int_equal(n, base64_len(cases[i].bytes.len));
        check_span(cases[i].text.ptr, span_of(out, n), cases[i].text);
        assert_int_equal(base64_decode(cases[i].text, out, &n), ERR_OK);
        check_span(cases[i].text.ptr, span_of(out, n), cases[i].bytes);
    }
}

static void base64_refuses_what_is_not_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
    } cases[] = {
        {"one", SPAN_LIT_INIT("Z")},
        {"unpadded", SPAN_LIT_INIT("Zg")},
        {"half padded", SPAN_LIT_INIT("Zg=")},
        {"three pads", SPAN_LIT_INIT("Z===")},
        {"only pads", SPAN_LIT_INIT("====")},
        {"pad in front", SPAN_LIT_INIT("=g==")},
        {"digit after pad", SPAN_LIT_INIT("Zg=A")},
        {"pad in the middle", SPAN_LIT_INIT("Zg==Zg==")},
        {"unused bits, two pads", SPAN_LIT_INIT("Zh==")},
        {"unused bits, one pad", SPAN_LIT_INIT("Zm9=")},
        {"blank", SPAN_LIT_INIT("Zm 9")},
        {"newline", SPAN_LIT_INIT("Zm9v\nZm9")},
        {"url alphabet -", SPAN_LIT_INIT("-_-_")},
        {"nul", SPAN_LIT_INIT("Zm9\0")},
        {"high byte", SPAN_LIT_INIT("Zm9\xff")},
        {"bad in a full group", SPAN_LIT_INIT("Zm*vZm9v")},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char out[16];
        size_t n = 99;
        CHECK_INT(cases[i].name, base64_decode(cases[i].in, out, &n), ERR_SYNTAX);
        CHECK_INT(cases[i].name, n, 0);
    }
}

static void base64_comes_back_also_in_place(void **state)
{
    (void)state;
    struct test_random random = {3};
    for (size_t len = 0; len < 200; len++) {
        char bytes[200];
        char text[(200 + 2) / 3 * 4];
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)test_random(&random);
        }
        size_t n = base64_encode(span_of(bytes, len), text);
        assert_int_equal(n, base64_len(len));
        assert_int_equal(base64_decode(span_of(text, n), text, &n), ERR_OK);
        check_span("in place", span_of(text, n), span_of(bytes, len));
    }
}

/* ---- decimal ---- */

static void decimal_table(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        uint64_t max;
        enum err want;
        uint64_t value;
    } cases[] = {
        {"0", 0, ERR_OK, 0},
        {"1", 0, ERR_LIMIT, 0},
        {"007", 7, ERR_OK, 7},
        {"65535", 65535, ERR_OK, 65535},
        {"65536", 65535, ERR_LIMIT, 0},
        {"18446744073709551615", UINT64_MAX, ERR_OK, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, ERR_LIMIT, 0},
        {"99999999999999999999", UINT64_MAX, ERR_LIMIT, 0},
        {"00000000000000000001", 1, ERR_OK, 1},
        {"000000000000000000001", 1, ERR_LIMIT, 0},
        {"", 9, ERR_SYNTAX, 0},
        {"-1", 9, ERR_SYNTAX, 0},
        {"+1", 9, ERR_SYNTAX, 0},
        {" 1", 9, ERR_SYNTAX, 0},
        {"1 ", 9, ERR_SYNTAX, 0},
        {"0x1", 9, ERR_SYNTAX, 0},
        {"1/", 9, ERR_SYNTAX, 0},
        {"1:", 9, ERR_SYNTAX, 0},
        {"99999999999999999999x", 9, ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        uint64_t value = 0;
        CHECK_INT(cases[i].in, decimal_parse(span_str(cases[i].in), cases[i].max, &value),
                  cases[i].want);
        CHECK(cases[i].in, value == cases[i].value);
    }
}

static void decimal_put_agrees_with_printf(void **state)
{
    (void)state;
    struct test_random random = {11};
    for (int i = 0; i < 10000; i++) {
        uint64_t value = i == 0 ? 0 : i == 1 ? UINT64_MAX : test_random(&random) >> (i % 64);
        char want[32];
        int n_want = snprintf(want, sizeof want, "%llu", (unsigned long long)value);
        char got[DECIMAL_MAX_CHARS];
        size_t n = decimal_put(got, value);
        check_span("decimal_put", span_of(got, n), span_of(want, (size_t)n_want));
        uint64_t back = 0;
        assert_int_equal(decimal_parse(span_of(got, n), UINT64_MAX, &back), ERR_OK);
        assert_true(back == value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_table_at_every_split),
        cmocka_unit_test(utf8_fails_at_the_first_impossible_byte),
        cmocka_unit_test(utf8_agrees_with_twin_on_all_short_sequences),
        cmocka_unit_test(utf8_agrees_with_twin_on_random_text),
        cmocka_unit_test(utf8_put_writes_what_utf8_feed_accepts),
        cmocka_unit_test(base64_knows_the_vectors_of_rfc_4648),
        cmocka_unit_test(base64_refuses_what_is_not_canonical),
        cmocka_unit_test(base64_comes_back_also_in_place),
        cmocka_unit_test(decimal_table),
        cmocka_unit_test(decimal_put_agrees_with_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
