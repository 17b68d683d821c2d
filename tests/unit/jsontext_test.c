/*
 * jsontext: quoting against a naive twin at every alignment; the scanner as text (JSON beside the
 * tokens it gives, or the fault); each limit at it and one over. Inputs lie in blocks of exactly
 * their size, so that the sanitizer sees a read one byte too far.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "harness/test.h"

enum {
    ROOM = 1 << 20
};

static struct span exact_copy(struct span text)
{
    char *copy = malloc(text.len != 0 ? text.len : 1);
    assert_non_null(copy);
    if (text.len != 0) {
        memcpy(copy, text.ptr, text.len);
    }
    return span_of(copy, text.len);
}

static void free_copy(struct span copy)
{
    char *bytes;
    memcpy(&bytes, &copy.ptr, sizeof bytes);
    free(bytes);
}

/* ---- quoting ---- */

static void quote_table(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        unsigned style;
        const char *want;
    } cases[] = {
        {"empty", SPAN_LIT_INIT(""), JSON_PLAIN, "\"\""},
        {"plain", SPAN_LIT_INIT("hello, w\xc3\xb6rld"), JSON_PLAIN, "\"hello, w\xc3\xb6rld\""},
        {"quote", SPAN_LIT_INIT("a\"b"), JSON_PLAIN, "\"a\\\"b\""},
        {"backslash", SPAN_LIT_INIT("a\\b"), JSON_PLAIN, "\"a\\\\b\""},
        {"slash stays", SPAN_LIT_INIT("</a>"), JSON_PLAIN, "\"</a>\""},
        {"short forms", SPAN_LIT_INIT("\b\t\n\f\r"), JSON_PLAIN, "\"\\b\\t\\n\\f\\r\""},
        {"nul", SPAN_LIT_INIT("\0"), JSON_PLAIN, "\"\\u0000\""},
        {"lower case", SPAN_LIT_INIT("\x0b\x1f"), JSON_PLAIN, "\"\\u000b\\u001f\""},
        {"del stays", SPAN_LIT_INIT("\x7f"), JSON_SOCKJS | JSON_SCRIPT, "\"\x7f\""},
        {"json in json", SPAN_LIT_INIT("{\"a\":[\"b\"]}"), JSON_SOCKJS,
         "\"{\\\"a\\\":[\\\"b\\\"]}\""},
        {"line separators, plain", SPAN_LIT_INIT("\xe2\x80\xa8\xe2\x80\xa9"), JSON_PLAIN,
         "\"\xe2\x80\xa8\xe2\x80\xa9\""},
        {"line separators, script", SPAN_LIT_INIT("\xe2\x80\xa8\xe2\x80\xa9"), JSON_SCRIPT,
         "\"\\u2028\\u2029\""},
        {"zero width, script", SPAN_LIT_INIT("\xe2\x80\x8c"), JSON_SCRIPT, "\"\xe2\x80\x8c\""},
        {"zero width, sockjs", SPAN_LIT_INIT("\xe2\x80\x8c"), JSON_SOCKJS, "\"\\u200c\""},
        {"before it, sockjs", SPAN_LIT_INIT("\xe2\x80\x8b"), JSON_SOCKJS, "\"\xe2\x80\x8b\""},
        {"ffff, sockjs", SPAN_LIT_INIT("\xef\xbf\xbf\xef\xbf\xaf"), JSON_SOCKJS,
         "\"\\uffff\xef\xbf\xaf\""},
        {"beyond ffff, sockjs", SPAN_LIT_INIT("\xf0\x9f\x98\x80"), JSON_SOCKJS,
         "\"\xf0\x9f\x98\x80\""},
        {"less, sockjs", SPAN_LIT_INIT("<"), JSON_SOCKJS, "\"<\""},
        {"less, script", SPAN_LIT_INIT("</script>"), JSON_SCRIPT, "\"\\u003c/script>\""},
        {"both", SPAN_LIT_INIT("<\xe2\x80\xa8\xe2\x80\x8c"), JSON_SOCKJS | JSON_SCRIPT,
         "\"\\u003c\\u2028\\u200c\""},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct buf out;
        buf_init(&out, ROOM);
        assert_int_equal(json_quote(&out, cases[i].in, cases[i].style), ERR_OK);
        check_span(cases[i].name, buf_span(&out), span_str(cases[i].want));
        buf_fini(&out);
    }
}

static bool twin_escapes(uint32_t c, unsigned style)
{
    bool script = c == '<' || c == 0x2028 || c == 0x2029;
    bool sockjs = (c >= 0x200C && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) ||
                  (c >= 0x2060 && c <= 0x206F) || (c >= 0xFFF0 && c <= 0xFFFF);
    return c < 0x20 || c == '"' || c == '\\' || ((style & JSON_SCRIPT) != 0 && script) ||
           ((style & JSON_SOCKJS) != 0 && sockjs);
}

/* Writes one character as JSON, by the words of the header; returns the length. */
static size_t twin_put(char *out, uint32_t c, unsigned style)
{
    static const char controls[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    if (!twin_escapes(c, style)) {
        return utf8_put(out, c);
    }
    const char *at = c != 0 && c < 0x80 ? strchr(controls, (int)c) : NULL;
    if (at != NULL) {
        out[0] = '\\';
        out[1] = letters[at - controls];
        return 2;
    }
    return (size_t)sprintf(out, "\\u%04x", c);
}

static void check_quote(const uint32_t *characters, size_t n, unsigned style)
{
    char in[4 * 200];
    char want[6 * 200 + 3];
    size_t n_in = 0;
    size_t n_want = 0;
    want[n_want++] = '"';
    for (size_t i = 0; i < n; i++) {
        n_in += utf8_put(in + n_in, characters[i]);
        n_want += twin_put(want + n_want, characters[i], style);
    }
    want[n_want++] = '"';
    struct span text = exact_copy(span_of(in, n_in));
    struct buf out;
    buf_init(&out, n_want);
    assert_int_equal(json_quote(&out, text, style), ERR_OK);
    check_span("twin", buf_span(&out), span_of(want, n_want));
    buf_fini(&out);
    free_copy(text);
}

static void quote_agrees_with_twin_for_every_character(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c += c < 0x10800 ? 1 : 0x101) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        const uint32_t text[] = {c, 'x', c};
        check_quote(text, N_OF(text), c % 4);
        check_quote(text, 1, JSON_SOCKJS | JSON_SCRIPT);
        check_quote(text, 1, JSON_SOCKJS);
    }
}

static void quote_agrees_with_twin_at_every_place(void **state)
{
    (void)state;
    static const uint32_t specials[] = {'"', '\n', 1, '<', 0x2028, 0x200F, 0xFFF0, 0x2020, 0xF000};
    uint32_t text[70];
    for (size_t n = 1; n <= N_OF(text); n++) {
        for (size_t at = 0; at < n; at++) {
            for (size_t i = 0; i < n; i++) {
                text[i] = 'a' + (uint32_t)i % 26;
            }
            text[at] = specials[(at + n) % N_OF(specials)];
            check_quote(text, n, JSON_SOCKJS | JSON_SCRIPT);
        }
    }
}

static void quote_agrees_with_twin_on_random_text(void **state)
{
    (void)state;
    static const uint32_t often[] = {'"', '\\', '\n', 0, 0x1F, 0x7F, '<', 0x2028, 0x2065, 0xFFFD};
    struct test_random random = {77};
    for (int round = 0; round < 20000; round++) {
        uint32_t text[100];
        size_t n = test_below(&random, N_OF(text)) + 1;
        size_t density = test_below(&random, 20) + 1;
        for (size_t i = 0; i < n; i++) {
            text[i] = test_below(&random, density) == 0 ? often[test_below(&random, N_OF(often))]
                                                        : 'a' + (uint32_t)test_below(&random, 26);
        }
        check_quote(text, n, (unsigned)test_below(&random, 4));
    }
}

static void quote_appends_all_or_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        size_t n_quoted;
    } cases[] = {
        {"empty", SPAN_LIT_INIT(""), 2},
        {"plain", SPAN_LIT_INIT("0123456789abcdefg"), 19},
        {"escapes", SPAN_LIT_INIT("0123456789\x01\"abcdef"), 26},
        {"shrinks nowhere", SPAN_LIT_INIT("\xe2\x80\xa8"), 8},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        for (size_t lacking = 0; lacking < 2; lacking++) {
            struct buf out;
            buf_init(&out, 3 + cases[i].n_quoted - lacking);
            assert_int_equal(buf_append_span(&out, SPAN_LIT("pre")), ERR_OK);
            enum err e = json_quote(&out, cases[i].in, JSON_SOCKJS);
            CHECK_INT(cases[i].name, e, lacking != 0 ? ERR_LIMIT : ERR_OK);
            CHECK_INT(cases[i].name, buf_len(&out), lacking != 0 ? 3 : 3 + cases[i].n_quoted);
            buf_fini(&out);
        }
    }
}

/* ---- scanning ---- */

/* Writes the tokens of `in`, or what is wrong with it, to `out`:
 *     [ ] { }  k"key"  "string"  n(number)  true false null  done  syntax@offset  limit@offset
 * An e in front of a quote: has escapes. */
static void transcribe(struct span in, struct buf *out)
{
    static const char *const before[] = {"[", "]", "{", "}", "k\"", "\"", "n(", "", "", "", "done"};
    static const char *const after[] = {"", "", "", "", "\"", "\"", ")", "", "", "", ""};
    struct json_scan scan;
    json_scan_init(&scan, in);
    for (;;) {
        struct json_token token;
        struct fault fault = {0, NULL};
        enum err e = json_next(&scan, &token, &fault);
        if (e != ERR_OK) {
            assert_non_null(fault.why);
            assert_true(fault.offset <= in.len);
            assert_int_equal(buf_printf(out, "%s@%zu", err_name(e), fault.offset), ERR_OK);
            return;
        }
        bool is_bracket = token.type <= JSON_OBJECT_END;
        assert_int_equal(buf_printf(out, "%s%s%.*s%s", token.has_escapes ? "e" : "",
                                    before[token.type], is_bracket ? 0 : (int)token.raw.len,
                                    token.raw.ptr, after[token.type]),
                         ERR_OK);
        if (is_bracket) {
            assert_int_equal(token.raw.len, 1);
            assert_int_equal(token.raw.ptr[0], before[token.type][0]);
        }
        if (token.type == JSON_DONE) {
            return;
        }
        assert_int_equal(buf_append_char(out, ' '), ERR_OK);
    }
}

struct scan_case {
    struct span in;
    const char *want;
};

static void check_scan(const struct scan_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct span in = exact_copy(cases[i].in);
        struct buf out;
        buf_init(&out, ROOM);
        transcribe(in, &out);
        check_span(cases[i].in.ptr, buf_span(&out), span_str(cases[i].want));
        buf_fini(&out);
        free_copy(in);
    }
}

#define CASE(in, want)                                                                             \
    {                                                                                              \
        SPAN_LIT_INIT(in), want                                                                    \
    }

static void good_texts(void **state)
{
    (void)state;
    static const struct scan_case cases[] = {
        CASE("null", "null done"),
        CASE(" true ", "true done"),
        CASE("\t\r\n false\n", "false done"),
        CASE("\"\"", "\"\" done"),
        CASE("[]", "[ ] done"),
        CASE("{}", "{ } done"),
        CASE(" [ ] ", "[ ] done"),
        CASE(" { } ", "{ } done"),
        CASE("[1,2]", "[ n(1) n(2) ] done"),
        CASE("[[],[[]],{}]", "[ [ ] [ [ ] ] { } ] done"),
        CASE("{\"a\":1}", "{ k\"a\" n(1) } done"),
        CASE("{ \"a\" : [ 1 , {\"b\":null} ] , \"\":true }",
             "{ k\"a\" [ n(1) { k\"b\" null } ] k\"\" true } done"),
        CASE("{\"a\":1,\"a\":2}", "{ k\"a\" n(1) k\"a\" n(2) } done"),
        CASE("[\"a\",{\"k\":\"v\"},\"b\"]", "[ \"a\" { k\"k\" \"v\" } \"b\" ] done"),
    };
    check_scan(cases, N_OF(cases));
}

static void bad_structure(void **state)
{
    (void)state;
    static const struct scan_case cases[] = {
        CASE("", "syntax@0"),
        CASE("  ", "syntax@2"),
        CASE("\xef\xbb\xbf[]", "syntax@0"),
        CASE("[", "[ syntax@1"),
        CASE("{", "{ syntax@1"),
        CASE("]", "syntax@0"),
        CASE("}", "syntax@0"),
        CASE(",", "syntax@0"),
        CASE(":", "syntax@0"),
        CASE("[}", "[ syntax@1"),
        CASE("{]", "{ syntax@1"),
        CASE("[1}", "[ n(1) syntax@2"),
        CASE("{\"a\":1]", "{ k\"a\" n(1) syntax@6"),
        CASE("[[1]}", "[ [ n(1) ] syntax@4"),
        CASE("[1,]", "[ n(1) syntax@3"),
        CASE("[,1]", "[ syntax@1"),
        CASE("[1,,2]", "[ n(1) syntax@3"),
        CASE("[1 2]", "[ n(1) syntax@3"),
        CASE("[1", "[ n(1) syntax@2"),
        CASE("[1,", "[ n(1) syntax@3"),
        CASE("{\"a\"}", "{ syntax@4"),
        CASE("{\"a\"", "{ syntax@4"),
        CASE("{\"a\":}", "{ k\"a\" syntax@5"),
        CASE("{\"a\":", "{ k\"a\" syntax@5"),
        CASE("{\"a\":1,}", "{ k\"a\" n(1) syntax@7"),
        CASE("{,}", "{ syntax@1"),
        CASE("{1:2}", "{ syntax@1"),
        CASE("{a:2}", "{ syntax@1"),
        CASE("{'a':2}", "{ syntax@1"),
        CASE("{\"a\" 1}", "{ syntax@5"),
        CASE("[\"a\":1]", "[ \"a\" syntax@4"),
        CASE("1 2", "n(1) syntax@2"),
        CASE("[] []", "[ ] syntax@3"),
        CASE("[]]", "[ ] syntax@2"),
        CASE("{},", "{ } syntax@2"),
        CASE("\"a\" \"b\"", "\"a\" syntax@4"),
        CASE("1\0", "n(1) syntax@1"),
        CASE("\0", "syntax@0"),
        CASE("[1\f]", "[ n(1) syntax@2"),
        CASE("\x0b"
             "1",
             "syntax@0"),
        CASE("\xc2\xa0"
             "1",
             "syntax@0"),
        CASE("/**/1", "syntax@0"),
        CASE("1//", "n(1) syntax@1"),
        CASE("tru", "syntax@0"),
        CASE("True", "syntax@0"),
        CASE("truex", "true syntax@4"),
        CASE("nul", "syntax@0"),
        CASE("fals ", "syntax@0"),
        CASE("NaN", "syntax@0"),
        CASE("Infinity", "syntax@0"),
        CASE("undefined", "syntax@0"),
    };
    check_scan(cases, N_OF(cases));
}

static void numbers(void **state)
{
    (void)state;
    static const struct scan_case cases[] = {
        CASE("0", "n(0) done"),
        CASE("-0", "n(-0) done"),
        CASE("9007199254740993", "n(9007199254740993) done"),
        CASE("1.5", "n(1.5) done"),
        CASE("0.0", "n(0.0) done"),
        CASE("1e5", "n(1e5) done"),
        CASE("1E+05", "n(1E+05) done"),
        CASE("-12.34e-56", "n(-12.34e-56) done"),
        CASE("0e0", "n(0e0) done"),
        CASE("[1,2.5e1]", "[ n(1) n(2.5e1) ] done"),
        CASE("01", "n(0) syntax@1"),
        CASE("-01", "n(-0) syntax@2"),
        CASE("00", "n(0) syntax@1"),
        CASE("-", "syntax@0"),
        CASE("-a", "syntax@0"),
        CASE("--1", "syntax@0"),
        CASE("+1", "syntax@0"),
        CASE(".5", "syntax@0"),
        CASE("-.5", "syntax@0"),
        CASE("1.", "syntax@0"),
        CASE("1.e5", "syntax@0"),
        CASE("1.]", "syntax@0"),
        CASE("1e", "syntax@0"),
        CASE("1e+", "syntax@0"),
        CASE("1e-x", "syntax@0"),
        CASE("1.5.5", "n(1.5) syntax@3"),
        CASE("1e5e5", "n(1e5) syntax@3"),
        CASE("0x10", "n(0) syntax@1"),
        CASE("1_000", "n(1) syntax@1"),
        CASE("-Infinity", "syntax@0"),
    };
    check_scan(cases, N_OF(cases));
}

static void strings(void **state)
{
    (void)state;
    static const struct scan_case cases[] = {
        CASE("\"plain / text\x7f\"", "\"plain / text\x7f\" done"),
        CASE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "e\"\\\"\\\\\\/\\b\\f\\n\\r\\t\" done"),
        CASE("\"\\u0041\\uABCD\\uabcd\"", "e\"\\u0041\\uABCD\\uabcd\" done"),
        CASE("\"\\ud800\"", "e\"\\ud800\" done"),
        CASE("\"\\udc00\\ud800\"", "e\"\\udc00\\ud800\" done"),
        CASE("\"\\u0000\"", "e\"\\u0000\" done"),
        CASE("{\"k\\n\":\"v\"}", "{ ek\"k\\n\" \"v\" } done"),
        CASE("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
             "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\" done"),
        CASE("\"0123456789abcdef\\\"0123456789abcdef\"",
             "e\"0123456789abcdef\\\"0123456789abcdef\" done"),
        CASE("\"0123456789abcd\\\\\"", "e\"0123456789abcd\\\\\" done"),
        CASE("\"", "syntax@1"),
        CASE("\"abc", "syntax@4"),
        CASE("\"0123456789abcdefgh", "syntax@19"),
        CASE("\"\\\"", "syntax@3"),
        CASE("\"\\", "syntax@1"),
        CASE("\"a\\x\"", "syntax@2"),
        CASE("\"\\'\"", "syntax@1"),
        CASE("\"\\U0041\"", "syntax@1"),
        CASE("\"\\\0\"", "syntax@1"),
        CASE("\"\\u\"", "syntax@1"),
        CASE("\"\\u004\"", "syntax@1"),
        CASE("\"\\u00g1\"", "syntax@1"),
        CASE("\"\\u004", "syntax@1"),
        CASE("\"\\u 041\"", "syntax@1"),
        CASE("\"a\nb\"", "syntax@2"),
        CASE("\"a\tb\"", "syntax@2"),
        CASE("\"a\0b\"", "syntax@2"),
        CASE("\"a\x1f\"", "syntax@2"),
        CASE("\"a\xff\"", "syntax@2"),
        CASE("\"a\xc3\"", "syntax@3"),
        CASE("\"a\xc3\\n\"", "syntax@3"),
        CASE("\"\xed\xa0\x80\"", "syntax@2"),
        CASE("\"\xc0\x80\"", "syntax@1"),
        CASE("\"0123456789abcdef\x80\"", "syntax@17"),
        CASE("{\"\xff\":1}", "{ syntax@2"),
        CASE("'a'", "syntax@0"),
    };
    check_scan(cases, N_OF(cases));
}

/* ---- limits ---- */

/* Scans to the end; returns the result of the last call. */
static enum err scan_all(struct span in, struct fault *fault)
{
    struct json_scan scan;
    struct json_token token = {.type = JSON_NULL};
    json_scan_init(&scan, in);
    enum err e = ERR_OK;
    while (e == ERR_OK && token.type != JSON_DONE) {
        e = json_next(&scan, &token, fault);
    }
    return e;
}

static void depth_at_the_limit_and_one_over(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {{"[", "1", "]"}, {"{\"k\":", "1", "}"}};
    for (size_t p = 0; p < N_OF(pairs); p++) {
        for (int extra = 0; extra < 2; extra++) {
            struct buf text;
            buf_init(&text, ROOM);
            for (int i = 0; i < JSON_MAX_DEPTH + extra; i++) {
                assert_int_equal(buf_append_span(&text, span_str(pairs[p][0])), ERR_OK);
            }
            assert_int_equal(buf_append_span(&text, span_str(pairs[p][1])), ERR_OK);
            for (int i = 0; i < JSON_MAX_DEPTH + extra; i++) {
                assert_int_equal(buf_append_span(&text, span_str(pairs[p][2])), ERR_OK);
            }
            struct fault fault = {0, NULL};
            assert_int_equal(scan_all(buf_span(&text), &fault), extra ? ERR_LIMIT : ERR_OK);
            if (extra != 0) {
                assert_int_equal(fault.offset, JSON_MAX_DEPTH * strlen(pairs[p][0]));
            }
            buf_fini(&text);
        }
    }
}

static void elements_at_the_limit_and_one_over(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct buf text;
        buf_init(&text, ROOM);
        /* The array counts too; keys do not. */
        assert_int_equal(buf_append_span(&text, SPAN_LIT("[{\"k\":0}")), ERR_OK);
        for (size_t i = 3; i < JSON_MAX_ELEMENTS + extra; i++) {
            assert_int_equal(buf_append_span(&text, SPAN_LIT(",0")), ERR_OK);
        }
        assert_int_equal(buf_append_char(&text, ']'), ERR_OK);
        struct fault fault = {0, NULL};
        assert_int_equal(scan_all(buf_span(&text), &fault), extra != 0 ? ERR_LIMIT : ERR_OK);
        buf_fini(&text);
    }
}

static void number_length_at_the_limit_and_one_over(void **state)
{
    (void)state;
    char digits[JSON_MAX_NUMBER_CHARS + 1];
    memset(digits, '7', sizeof digits);
    struct fault fault = {0, NULL};
    assert_int_equal(scan_all(span_of(digits, JSON_MAX_NUMBER_CHARS), &fault), ERR_OK);
    assert_int_equal(scan_all(span_of(digits, JSON_MAX_NUMBER_CHARS + 1), &fault), ERR_LIMIT);
    assert_int_equal(fault.offset, 0);
}

/* ---- skipping ---- */

static void skip_reads_to_the_end_of_its_container(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        enum err want;
        unsigned n_before; /* tokens read before the skip; the last of them is a BEGIN */
        enum json_type next;
    } cases[] = {
        {"[[1,{\"a\":[2]},3],4]", ERR_OK, 2, JSON_NUMBER},
        {"[[],4]", ERR_OK, 2, JSON_NUMBER},
        {"[[1],[2],4]", ERR_OK, 2, JSON_ARRAY_BEGIN},
        {"{\"a\":{\"b\":{}},\"c\":1}", ERR_OK, 3, JSON_KEY},
        {"[1,2]", ERR_OK, 1, JSON_DONE},
        {"[{\"a\":[}]", ERR_SYNTAX, 2, JSON_DONE},
        {"[[1,2", ERR_SYNTAX, 2, JSON_DONE},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct json_scan scan;
        struct json_token token;
        struct fault fault = {0, NULL};
        json_scan_init(&scan, span_str(cases[i].in));
        for (unsigned k = 0; k < cases[i].n_before; k++) {
            CHECK_INT(cases[i].in, json_next(&scan, &token, &fault), ERR_OK);
        }
        CHECK_INT(cases[i].in, json_skip(&scan, &fault), cases[i].want);
        if (cases[i].want == ERR_OK) {
            CHECK_INT(cases[i].in, json_next(&scan, &token, &fault), ERR_OK);
            CHECK_INT(cases[i].in, token.type, cases[i].next);
        }
    }
}

/* ---- unescaping ---- */

static void unescape_table(void **state)
{
    (void)state;
    static const struct {
        struct span in, want;
    } cases[] = {
        {SPAN_LIT_INIT(""), SPAN_LIT_INIT("")},
        {SPAN_LIT_INIT("plain"), SPAN_LIT_INIT("plain")},
        {SPAN_LIT_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), SPAN_LIT_INIT("\"\\/\b\f\n\r\t")},
        {SPAN_LIT_INIT("a\\u0041z"), SPAN_LIT_INIT("aAz")},
        {SPAN_LIT_INIT("\\u0000"), SPAN_LIT_INIT("\0")},
        {SPAN_LIT_INIT("\\u00e9\\u20AC"), SPAN_LIT_INIT("\xc3\xa9\xe2\x82\xac")},
        {SPAN_LIT_INIT("\\ud83d\\ude00"), SPAN_LIT_INIT("\xf0\x9f\x98\x80")},
        {SPAN_LIT_INIT("\\uD800\\uDC00"), SPAN_LIT_INIT("\xf0\x90\x80\x80")},
        {SPAN_LIT_INIT("\\udbff\\udfff"), SPAN_LIT_INIT("\xf4\x8f\xbf\xbf")},
        {SPAN_LIT_INIT("\\ud83d"), SPAN_LIT_INIT("\xef\xbf\xbd")},
        {SPAN_LIT_INIT("\\ude00"), SPAN_LIT_INIT("\xef\xbf\xbd")},
        {SPAN_LIT_INIT("\\ud83dx"), SPAN_LIT_INIT("\xef\xbf\xbdx")},
        {SPAN_LIT_INIT("\\ud83d\\n"), SPAN_LIT_INIT("\xef\xbf\xbd\n")},
        {SPAN_LIT_INIT("\\ud83d\\u0041"), SPAN_LIT_INIT("\xef\xbf\xbd"
                                                        "A")},
        {SPAN_LIT_INIT("\\ud83d\\ud83d\\ude00"), SPAN_LIT_INIT("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {SPAN_LIT_INIT("\\ude00\\ud83d"), SPAN_LIT_INIT("\xef\xbf\xbd\xef\xbf\xbd")},
        {SPAN_LIT_INIT("\\\\u0041"), SPAN_LIT_INIT("\\u0041")},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span in = exact_copy(cases[i].in);
        struct span out = exact_copy(cases[i].in);
        char *to;
        memcpy(&to, &out.ptr, sizeof to);
        check_span(in.len != 0 ? cases[i].in.ptr : "", span_of(to, json_unescape(in, to)),
                   cases[i].want);
        memcpy(to, cases[i].in.ptr, cases[i].in.len);
        check_span("in place", span_of(to, json_unescape(out, to)), cases[i].want);
        free_copy(in);
        free_copy(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quote_table),
        cmocka_unit_test(quote_agrees_with_twin_for_every_character),
        cmocka_unit_test(quote_agrees_with_twin_at_every_place),
        cmocka_unit_test(quote_agrees_with_twin_on_random_text),
        cmocka_unit_test(quote_appends_all_or_nothing),
        cmocka_unit_test(good_texts),
        cmocka_unit_test(bad_structure),
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(depth_at_the_limit_and_one_over),
        cmocka_unit_test(elements_at_the_limit_and_one_over),
        cmocka_unit_test(number_length_at_the_limit_and_one_over),
        cmocka_unit_test(skip_reads_to_the_end_of_its_container),
        cmocka_unit_test(unescape_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
