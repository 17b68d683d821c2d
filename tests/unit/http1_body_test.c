/* http1_body: content by length and in chunks; what is refused; each limit at the limit and over.
 */
#include <stdio.h>

#include "harness/drive_http1_body.h"
#include "harness/test.h"
#include "harness/wire_test.h"
#include "wire/http1_body.h"

struct body_case {
    const char *name;
    struct span in;
    const char *want;
};

#define CASE(name, in, want)                                                                       \
    {                                                                                              \
        name, SPAN_LIT_INIT(in), want                                                              \
    }

static void check_chunked(const struct body_case *cases, size_t n, uint64_t max_bytes, bool exactly)
{
    struct drive_body drive = {.framing = HTTP1_BODY_CHUNKED, .max_bytes = max_bytes};
    struct feed feed = drive_body_feed(&drive);

    for (size_t i = 0; i < n; i++) {
        wire_check(&feed, cases[i].name, cases[i].in, cases[i].want, exactly);
    }
    transcript_free(&drive.transcript);
}

static void takes_chunks(void **state)
{
    static const struct body_case cases[] = {
        CASE("nothing", "0\r\n\r\n", ".(5)"),
        CASE("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello.(15)"),
        CASE("two chunks", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc.(18)"),
        CASE("hex in both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
             "01234567890123456789a.(36)"),
        CASE("zeros first", "0005\r\nhello\r\n0000\r\n\r\n", "hello.(21)"),
        CASE("15 digits", "000000000000005\r\nhello\r\n0\r\n\r\n", "hello.(29)"),
        CASE("15 zeros", "000000000000000\r\n\r\n", ".(19)"),
        CASE("CRLF in content", "4\r\n\r\n0\r\r\n0\r\n\r\n", "\\x0d\\x0a0\\x0d.(14)"),
        CASE("extensions", "5;a\r\nhello\r\n0; b=\"c;\t\xff\"\r\n\r\n", "hello.(27)"),
        CASE("empty extension", "1;\r\na\r\n0;\r\n\r\n", "a.(13)"),
        CASE("trailers", "0\r\nA: b\r\nC:\r\n\r\n", ".(15)"),
        CASE("trailer that means framing", "0\r\nContent-Length: 5\r\n\r\n", ".(24)"),
        CASE("bytes behind", "1\r\na\r\n0\r\n\r\nGET /", "a.(11)"),
        CASE("not whole", "5\r\nhel", "hel"),
        CASE("the last LF is missing", "1\r\na\r\n0\r\n\r", "a"),
    };
    (void)state;
    check_chunked(cases, N_OF(cases), UINT64_MAX, true);
}

static void refuses_bad_chunks(void **state)
{
    static const struct body_case cases[] = {
        CASE("no digits", "\r\n", "!syntax a chunk size without"),
        CASE("no digits, extension", ";a\r\n", "!syntax a chunk size without"),
        CASE("plus", "+5\r\n", "!syntax a chunk size is not"),
        CASE("minus", "-5\r\n", "!syntax a chunk size is not"),
        CASE("0x", "0x5\r\n", "!syntax a chunk size is not"),
        CASE("g", "g\r\n", "!syntax a chunk size is not"),
        CASE("blank before", " 5\r\n", "!syntax a chunk size is not"),
        CASE("blank behind", "5 \r\n", "!syntax a chunk size is not"),
        CASE("tab before the extension", "5\t;a\r\n", "!syntax a chunk size is not"),
        CASE("LF alone", "5\nhello", "!syntax a chunk size is not"),
        CASE("CR alone", "5\rhello", "!syntax CR without LF behind a chunk"),
        CASE("NUL", "5\0\r\n", "!syntax a chunk size is not"),
        CASE("list", "5,5\r\n", "!syntax a chunk size is not"),
        CASE("16 digits", "0000000000000005\r\n", "!syntax a chunk size of more"),
        CASE("17 digits, wrapping to 5", "10000000000000005\r\n", "!syntax a chunk size of more"),
        CASE("LF in an extension", "5;a\nhello\r\n", "!syntax a control byte in a chunk"),
        CASE("NUL in an extension", "5;a\0\r\n", "!syntax a control byte in a chunk"),
        CASE("CR in an extension", "5;a\rb\r\n", "!syntax CR without LF behind a chunk"),
        CASE("chunk longer than its size", "2\r\nabc\r\n", "ab!syntax a chunk is longer"),
        CASE("chunk shorter than its size", "4\r\nabc\r\n0\r\n",
             "abc\\x0d!syntax a chunk is longer"),
        CASE("LF alone behind a chunk", "1\r\na\n0\r\n\r\n", "a!syntax a chunk is longer"),
        CASE("CR alone behind a chunk", "1\r\na\r0\r\n\r\n", "a!syntax CR without LF"),
        CASE("nothing behind a chunk", "1\r\na1\r\nb\r\n", "a!syntax a chunk is longer"),
        CASE("LF alone at the end", "0\r\n\n", "!syntax a trailer line does not begin"),
        CASE("CR alone at the end", "0\r\n\rx", "!syntax CR without LF"),
        CASE("trailer without name", "0\r\n: b\r\n\r\n", "!syntax a trailer line does not begin"),
        CASE("trailer begins with a blank", "0\r\n A: b\r\n\r\n", "!syntax a trailer line does"),
        CASE("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "!syntax a trailer line does not begin"),
        CASE("trailer without colon", "0\r\nA\r\n\r\n", "!syntax a trailer name is not"),
        CASE("blank before the colon", "0\r\nA : b\r\n\r\n", "!syntax a trailer name is not"),
        CASE("NUL in a trailer", "0\r\nA: \0\r\n\r\n", "!syntax a control byte in a trailer"),
        CASE("LF alone in a trailer", "0\r\nA: b\nC: d\r\n\r\n", "!syntax a control byte in a tr"),
        CASE("CR alone in a trailer", "0\r\nA: b\rC: d\r\n\r\n", "!syntax CR without LF"),
        CASE("a request for a trailer", "0\r\nGET / HTTP/1.1\r\n", "!syntax a trailer name is not"),
    };
    (void)state;
    check_chunked(cases, N_OF(cases), UINT64_MAX, false);
}

static void limits_chunked_content(void **state)
{
    static const struct body_case cases[] = {
        CASE("at", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde.(20)"),
        CASE("one over in one", "6\r\nabcdef\r\n", "!limit the content is over the limit @1"),
        CASE("one over in the sum", "3\r\nabc\r\n3\r\n",
             "abc!limit the content is over the limit @9"),
        CASE("greatest size", "fffffffffffffff\r\n", "!limit the content is over the limit @15"),
        CASE("told by the size, before its line ends", "6;",
             "!limit the content is over the limit @1"),
    };
    (void)state;
    check_chunked(cases, N_OF(cases), 5, true);
}

static void allows_endless_content_without_limit(void **state)
{
    static const struct body_case cases[] = {
        CASE("greatest size", "fffffffffffffff\r\nabc", "abc"),
    };
    (void)state;
    check_chunked(cases, N_OF(cases), UINT64_MAX, true);
}

static void takes_bodies_by_length(void **state)
{
    static const struct {
        const char *name;
        enum http1_framing framing;
        uint64_t length;
        uint64_t max;
        struct span in;
        const char *want;
    } cases[] = {
        {"none", HTTP1_BODY_NONE, 0, 0, SPAN_LIT_INIT("GET /"), ".(0)"},
        {"none ignores a length", HTTP1_BODY_NONE, 9, 0, SPAN_LIT_INIT("GET /"), ".(0)"},
        {"0", HTTP1_BODY_LENGTH, 0, 0, SPAN_LIT_INIT("GET /"), ".(0)"},
        {"5", HTTP1_BODY_LENGTH, 5, 5, SPAN_LIT_INIT("hello"), "hello.(5)"},
        {"5 and more behind", HTTP1_BODY_LENGTH, 5, 9, SPAN_LIT_INIT("helloGET"), "hello.(5)"},
        {"5, not whole", HTTP1_BODY_LENGTH, 5, 9, SPAN_LIT_INIT("hell"), "hell"},
        {"greatest", HTTP1_BODY_LENGTH, INT64_MAX, UINT64_MAX, SPAN_LIT_INIT("ab"), "ab"},
    };
    struct drive_body drive = {.framing = HTTP1_BODY_NONE};
    struct feed feed = drive_body_feed(&drive);
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        drive.framing = cases[i].framing;
        drive.content_length = cases[i].length;
        drive.max_bytes = cases[i].max;
        wire_check(&feed, cases[i].name, cases[i].in, cases[i].want, true);
    }
    transcript_free(&drive.transcript);
}

static void refuses_a_length_over_the_limit(void **state)
{
    struct http1_body body;
    (void)state;
    assert_int_equal(http1_body_init(&body, HTTP1_BODY_LENGTH, 10, 10), ERR_OK);
    assert_int_equal(http1_body_init(&body, HTTP1_BODY_LENGTH, 11, 10), ERR_LIMIT);
    assert_int_equal(http1_body_init(&body, HTTP1_BODY_LENGTH, UINT64_MAX, 10), ERR_LIMIT);
    assert_false(http1_body_is_done(&body)); /* a refused body is not a finished one */
}

static void stays_refused(void **state)
{
    struct http1_body body;
    struct fault fault = {0, NULL};
    struct span content;
    size_t n = 0;
    (void)state;
    assert_int_equal(http1_body_init(&body, HTTP1_BODY_CHUNKED, 0, 100), ERR_OK);
    assert_int_equal(http1_body_feed(&body, SPAN_LIT("0x"), &n, &content, &fault), ERR_SYNTAX);
    assert_int_equal(fault.offset, 1);
    assert_int_equal(http1_body_feed(&body, SPAN_LIT("0\r\n\r\n"), &n, &content, &fault),
                     ERR_SYNTAX);
    assert_int_equal(n, 0);
    assert_false(http1_body_is_done(&body));
}

/* before, `n` times 'x', after. */
static void check_run(const char *name, const char *before, size_t n, const char *after,
                      const char *want)
{
    struct drive_body drive = {.framing = HTTP1_BODY_CHUNKED, .max_bytes = 100};
    struct feed feed = drive_body_feed(&drive);
    char text[HTTP1_MAX_TRAILER_BYTES + 128];

    size_t len = strlen(before);
    assert_true(len + n + strlen(after) < sizeof text);
    feed_copy(text, before, len);
    memset(text + len, 'x', n);
    feed_copy(text + len + n, after, strlen(after) + 1);
    wire_check(&feed, name, span_of(text, len + n + strlen(after)), want, false);
    transcript_free(&drive.transcript);
}

static void limits_chunk_lines_and_trailers(void **state)
{
    (void)state;
    check_run("line at 256", "1;", 254, "\r\na\r\n0\r\n\r\n", "a.");
    check_run("line at 257", "1;", 255, "\r\na\r\n0\r\n\r\n", "!syntax a chunk line is over");
    check_run("line at 257, no end", "1;", 255, "", "!syntax a chunk line is over");
    check_run("a full line for each chunk", "1;xxxx\r\na\r\n0;", 254, "\r\n\r\n", "a.");
    check_run("trailers at 4096", "0\r\nA: b\r\nC: ", 4096 - 11, "\r\n\r\n", ".(");
    check_run("trailers at 4097", "0\r\nA: b\r\nC: ", 4097 - 11, "\r\n\r\n",
              "!syntax the trailers are over");
    check_run("trailer name without end", "0\r\n", 4097, "", "!syntax the trailers are over");
}

/* Row 11: chunks of one byte cost linear time and give each byte once. */
static void takes_many_tiny_chunks(void **state)
{
    enum {
        N = 300
    };
    char text[N * 6 + 6];
    char want[N + 32];
    struct drive_body drive = {.framing = HTTP1_BODY_CHUNKED, .max_bytes = N};
    struct feed feed = drive_body_feed(&drive);
    (void)state;
    for (size_t i = 0; i < N; i++) {
        feed_copy(text + i * 6, "1\r\nz\r\n", 6);
    }
    feed_copy(text + (size_t)N * 6, "0\r\n\r\n", 5);
    memset(want, 'z', N);
    (void)snprintf(want + N, sizeof want - N, ".(%d)", N * 6 + 5);
    wire_check(&feed, "tiny", span_of(text, (size_t)N * 6 + 5), want, true);
    transcript_free(&drive.transcript);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_chunks),
        cmocka_unit_test(refuses_bad_chunks),
        cmocka_unit_test(limits_chunked_content),
        cmocka_unit_test(allows_endless_content_without_limit),
        cmocka_unit_test(takes_bodies_by_length),
        cmocka_unit_test(refuses_a_length_over_the_limit),
        cmocka_unit_test(stays_refused),
        cmocka_unit_test(limits_chunk_lines_and_trailers),
        cmocka_unit_test(takes_many_tiny_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
