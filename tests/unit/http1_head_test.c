/* http1_head: what is refused, what is accepted, each limit at the limit and one over. */
#include <stdio.h>

#include "harness/drive_http1_head.h"
#include "harness/test.h"
#include "harness/wire_test.h"
#include "wire/http1_head.h"

/* A request with Host whose other lines are `fields`. */
#define REQ(fields)    "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define REQ_10(fields) "GET / HTTP/1.0\r\n" fields "\r\n"

struct head_case {
    const char *name;
    struct span in;
    const char *want;
};

#define CASE(name, in, want)                                                                       \
    {                                                                                              \
        name, SPAN_LIT_INIT(in), want                                                              \
    }

static void check_table(const struct head_case *cases, size_t n, bool exactly)
{
    struct drive_head drive = {.limits = HTTP1_LIMITS_DEFAULT};
    struct feed feed = drive_head_feed(&drive);

    for (size_t i = 0; i < n; i++) {
        wire_check(&feed, cases[i].name, cases[i].in, cases[i].want, exactly);
    }
    transcript_free(&drive.transcript);
}

static void refuses_bad_request_lines(void **state)
{
    static const struct head_case cases[] = {
        CASE("TLS hello", "\x16", "400 the method"),
        CASE("NUL first", "\0", "400 the method"),
        CASE("blank first", " GET / HTTP/1.1\r\n", "400 the method"),
        CASE("tab in the method", "GE\tT", "400 the method"),
        CASE("separator in the method", "GET(", "400 the method"),
        CASE("high byte in the method", "G\xc3\x84T", "400 the method"),
        CASE("method only", "GET\r\n", "400 the method"),
        CASE("CR first", "\rG", "400 the method"),
        CASE("LF first", "\nGET / HTTP/1.1\r\n\r\n", "400 the method"),
        CASE("two empty lines first", "\r\n\r\n", "400 the method"),
        CASE("method of 33 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", "501 the method"),
        CASE("no version", "GET /\r\n\r\n", "400 the request line"),
        CASE("HTTP/0.9 with a blank", "GET / \r\n\r\n", "400 the request line"),
        CASE("no target", "GET  HTTP/1.1\r\n\r\n", "400 the request line"),
        CASE("two blanks before the target", "GET  / HTTP/1.1\r\n\r\n", "400 the request line"),
        CASE("two blanks behind the target", "GET /  HTTP/1.1\r\n\r\n", "400 the request line"),
        CASE("blank behind the version", "GET / HTTP/1.1 \r\n\r\n", "400 the request line"),
        CASE("blank in the target", "GET /a b HTTP/1.1\r\n\r\n", "400 the request line"),
        CASE("tab for a blank", "GET\t/ HTTP/1.1\r\n\r\n", "400 the method"),
        CASE("tab for the second blank", "GET /\tHTTP/1.1\r\n\r\n", "400 the target"),
        CASE("tab in the target", "GET /\ta HTTP/1.1\r\n\r\n", "400 the target"),
        CASE("high byte in the target", "GET /\xc3\xa9 HTTP/1.1\r\n\r\n", "400 the target"),
        CASE("DEL in the target", "GET /\x7f HTTP/1.1\r\n\r\n", "400 a control byte"),
        CASE("lower-case version", "GET / http/1.1\r\n\r\n", "400 the request line"),
        CASE("mixed-case version", "GET / Http/1.1\r\n\r\n", "400 the request line"),
        CASE("version without minor", "GET / HTTP/1\r\n\r\n", "400 the request line"),
        CASE("version with an empty minor", "GET / HTTP/1.\r\n\r\n", "400 the request line"),
        CASE("two-digit minor", "GET / HTTP/1.10\r\n\r\n", "400 the request line"),
        CASE("two-digit major", "GET / HTTP/11.1\r\n\r\n", "400 the request line"),
        CASE("comma in the version", "GET / HTTP/1,1\r\n\r\n", "400 the request line"),
        CASE("letter in the version", "GET / HTTP/1.x\r\n\r\n", "400 the request line"),
        CASE("other protocol", "GET / HTTQ/1.1\r\n\r\n", "400 the request line"),
        CASE("sign in the version", "GET / HTTP/+.1\r\n\r\n", "400 the request line"),
        CASE("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 "),
        CASE("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 "),
        CASE("HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", "505 "),
        CASE("HTTP/9.1", "GET / HTTP/9.1\r\n\r\n", "505 "),
        CASE("LF alone behind the request line", "GET / HTTP/1.1\nHost: a\r\n", "400 LF without"),
        CASE("CR alone in the request line", "GET / HTTP/1.1\rHost: a\r\n", "400 CR without"),
        CASE("two CR", "GET / HTTP/1.1\r\r\n", "400 CR without"),
    };
    (void)state;
    check_table(cases, N_OF(cases), false);
}

static void refuses_bad_fields(void **state)
{
    static const struct head_case cases[] = {
        CASE("obs-fold with blank", REQ("A: b\r\n c\r\n"), "400 a field line begins with white"),
        CASE("obs-fold with tab", REQ("A: b\r\n\tc\r\n"), "400 a field line begins with white"),
        CASE("blank before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
             "400 a field line begins with white"),
        CASE("line of blanks", REQ("  \r\n"), "400 a field line begins with white"),
        CASE("blank before the colon", REQ("A : b\r\n"), "400 a field line is not token"),
        CASE("tab before the colon", REQ("A\t: b\r\n"), "400 a field line is not token"),
        CASE("length with a blank before the colon", REQ("Content-Length : 5\r\n"),
             "400 a field line is not token"),
        CASE("empty name", REQ(": b\r\n"), "400 an empty field name"),
        CASE("no colon", REQ("Abc\r\n"), "400 a field line is not token"),
        CASE("slash in the name", REQ("A/b: c\r\n"), "400 a field line is not token"),
        CASE("high byte in the name", REQ("\xc3\x84: c\r\n"), "400 a field line is not token"),
        CASE("quote in the name", REQ("\"a\": c\r\n"), "400 a field line is not token"),
        CASE("NUL in the name", REQ("A\0b: c\r\n"), "400 a control byte"),
        CASE("NUL in a value", REQ("A: b\0c\r\n"), "400 a control byte"),
        CASE("NUL at the end of a value", REQ("A: b\0\r\n"), "400 a control byte"),
        CASE("backspace in a value", REQ("A: b\bc\r\n"), "400 a control byte"),
        CASE("escape in a value", REQ("A: \x1b[1m\r\n"), "400 a control byte"),
        CASE("DEL in a value", REQ("A: \x7f\r\n"), "400 a control byte"),
        CASE("vertical tab in a value", REQ("A: \v\r\n"), "400 a control byte"),
        CASE("CR alone in a value", REQ("A: b\rc\r\n"), "400 CR without"),
        CASE("LF alone in a value", REQ("A: b\nc\r\n"), "400 LF without"),
        CASE("LF alone ends a field", REQ("A: b\nTransfer-Encoding: chunked\r\n"),
             "400 LF without"),
        CASE("LF LF ends the head", "GET / HTTP/1.1\r\nHost: a\n\n", "400 LF without"),
        CASE("CRLF LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", "400 LF without"),
        CASE("CRLF CR x", "GET / HTTP/1.1\r\nHost: a\r\n\rx", "400 CR without"),
        CASE("LF CR", "GET / HTTP/1.1\r\nHost: a\n\r", "400 LF without"),
    };
    (void)state;
    check_table(cases, N_OF(cases), false);
}

static void refuses_bad_hosts(void **state)
{
    static const struct head_case cases[] = {
        CASE("no Host", "GET / HTTP/1.1\r\n\r\n", "400 HTTP/1.1 without Host"),
        CASE("no Host in 1.2", "GET / HTTP/1.2\r\n\r\n", "400 HTTP/1.1 without Host"),
        CASE("no Host, absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", "400 HTTP/1.1 without"),
        CASE("two Hosts", REQ("Host: b\r\n"), "400 more than one Host"),
        CASE("the same Host twice", REQ("host: a\r\n"), "400 more than one Host"),
        CASE("two Hosts in 1.0", REQ_10("Host: a\r\nHOST: a\r\n"), "400 more than one Host"),
        CASE("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 Host is not valid"),
        CASE("blank Host", "GET / HTTP/1.1\r\nHost: \t \r\n\r\n", "400 Host is not valid"),
        CASE("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 Host is not valid"),
        CASE("Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 Host is not valid"),
        CASE("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 Host is not valid"),
        CASE("Host with a bad port", "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n",
             "400 Host is not valid"),
        CASE("malformed Host in 1.0", REQ_10("Host: a b\r\n"), "400 Host is not valid"),
        CASE("empty Host in 1.0", REQ_10("Host:\r\n"), "400 Host is not valid"),
    };
    (void)state;
    check_table(cases, N_OF(cases), false);
}

static void refuses_doubtful_framing(void **state)
{
    static const struct head_case cases[] = {
        CASE("CL.TE", REQ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "400 Transfer"),
        CASE("TE.CL", REQ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "400 Transfer"),
        CASE("TE and CL 0", REQ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
             "400 Transfer"),
        CASE("other TE and CL", REQ("Transfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n"),
             "400 Transfer"),
        CASE("two lengths", REQ("Content-Length: 5\r\nContent-Length: 6\r\n"), "400 more than"),
        CASE("the same length twice", REQ("Content-Length: 5\r\ncontent-length: 5\r\n"),
             "400 more than one Content-Length"),
        CASE("length list", REQ("Content-Length: 5, 5\r\n"), "400 Content-Length"),
        CASE("length list of two", REQ("Content-Length: 5,6\r\n"), "400 Content-Length"),
        CASE("length with plus", REQ("Content-Length: +5\r\n"), "400 Content-Length"),
        CASE("length with minus", REQ("Content-Length: -5\r\n"), "400 Content-Length"),
        CASE("hex length", REQ("Content-Length: 0x5\r\n"), "400 Content-Length"),
        CASE("fraction", REQ("Content-Length: 5.0\r\n"), "400 Content-Length"),
        CASE("exponent", REQ("Content-Length: 5e1\r\n"), "400 Content-Length"),
        CASE("empty length", REQ("Content-Length:\r\n"), "400 Content-Length"),
        CASE("blank length", REQ("Content-Length:   \r\n"), "400 Content-Length"),
        CASE("length with a word", REQ("Content-Length: 5 bytes\r\n"), "400 Content-Length"),
        CASE("length with blanks inside", REQ("Content-Length: 1 2\r\n"), "400 Content-Length"),
        CASE("quoted length", REQ("Content-Length: \"5\"\r\n"), "400 Content-Length"),
        CASE("length 2^63", REQ("Content-Length: 9223372036854775808\r\n"), "400 Content-Length"),
        CASE("length 2^64", REQ("Content-Length: 18446744073709551616\r\n"), "400 Content-Length"),
        CASE("length 2^64+5", REQ("Content-Length: 18446744073709551621\r\n"), "400 Content-Leng"),
        CASE("length of 40 digits",
             REQ("Content-Length: 0000000000000000000000000000000000000005"
                 "\r\n"),
             "400 Content-Length"),
        CASE("chunked twice in a list", REQ("Transfer-Encoding: chunked, chunked\r\n"),
             "400 a Transfer-Encoding other"),
        CASE("chunked twice", REQ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
             "400 more than one Transfer"),
        CASE("gzip then chunked in two fields",
             REQ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
             "400 more than one Transfer"),
        CASE("gzip, chunked", REQ("Transfer-Encoding: gzip, chunked\r\n"), "501 "),
        CASE("gzip;q=1, chunked", REQ("Transfer-Encoding: gzip;q=1,chunked\r\n"), "501 "),
        CASE("identity, chunked", REQ("Transfer-Encoding: identity, chunked\r\n"), "501 "),
        CASE("chunked, gzip", REQ("Transfer-Encoding: chunked, gzip\r\n"), "400 a Transfer"),
        CASE("chunked, identity", REQ("Transfer-Encoding: chunked, identity\r\n"), "400 a Tran"),
        CASE("gzip alone", REQ("Transfer-Encoding: gzip\r\n"), "400 a Transfer"),
        CASE("identity alone", REQ("Transfer-Encoding: identity\r\n"), "400 a Transfer"),
        CASE("empty coding", REQ("Transfer-Encoding:\r\n"), "400 a Transfer"),
        CASE("comma before chunked", REQ("Transfer-Encoding: ,chunked\r\n"), "400 a Transfer"),
        CASE("comma behind chunked", REQ("Transfer-Encoding: chunked,\r\n"), "400 a Transfer"),
        CASE("chunked with a parameter", REQ("Transfer-Encoding: chunked;a=b\r\n"), "400 a Tran"),
        CASE("quoted chunked", REQ("Transfer-Encoding: \"chunked\"\r\n"), "400 a Transfer"),
        CASE("xchunked", REQ("Transfer-Encoding: xchunked\r\n"), "400 a Transfer"),
        CASE("chunked with a blank inside", REQ("Transfer-Encoding: chun ked\r\n"), "400 a Tran"),
        CASE("non-token coding, chunked", REQ("Transfer-Encoding: g(zip, chunked\r\n"),
             "400 a Transfer"),
        CASE("vertical tab before chunked", REQ("Transfer-Encoding: \vchunked\r\n"),
             "400 a control byte"),
        CASE("chunked in 1.0", REQ_10("Transfer-Encoding: chunked\r\n"),
             "400 Transfer-Encoding in"),
        CASE("other expectation", REQ("Expect: 200-ok\r\n"), "417 "),
        CASE("two expectations", REQ("Expect: 100-continue, x\r\n"), "417 "),
    };
    (void)state;
    check_table(cases, N_OF(cases), false);
}

static void accepts_good_heads(void **state)
{
    static const struct head_case cases[] = {
        CASE("smallest 1.1", REQ(""), "0:GET / 1.1 keep none host{a} 1 Host: a| (27)"),
        CASE("smallest 1.0", "GET / HTTP/1.0\r\n\r\n", "0:GET / 1.0 close none host{} 0 (18)"),
        CASE("one empty line first", "\r\nGET / HTTP/1.0\r\n\r\n",
             "0:GET / 1.0 close none host{} 0 (20)"),
        CASE("more behind the head", REQ("") "GET",
             "0:GET / 1.1 keep none host{a} 1 Host: a| (27)"),
        CASE("HTTP/1.9 is 1.1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
             "0:GET / 1.1 keep none host{a} 1 Host: a| (27)"),
        CASE("blanks and tabs around a value", REQ("A: \t b \t c \t\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| A: b \\x09 c| (41)"),
        CASE("no blank, empty value, obs-text", REQ("A:b\r\nC:\r\nD: \xe9\r\n"),
             "0:GET / 1.1 keep none host{a} 4 Host: a| A: b| C: | D: \\xe9| (42)"),
        CASE("every token character", REQ("!#$%&'*+-.^_`|~09AZaz: x\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| !#$%&'*+-.^_`|~09AZaz: x| (53)"),
        CASE("colons in a value", REQ("A: b:c: d\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| A: b:c: d| (38)"),
        CASE("names as long as those that matter",
             REQ_10("Date: a\r\nCookie: b\r\nReferer: c\r\n"
                    "User-Agent: d\r\nAccept-Charset: e\r\n"
                    "If-Modified-Sinc: f\r\n"
                    "If-Modified-Since: g\r\n"),
             "0:GET / 1.0 close none host{} 7 Date: a| Cookie: b| Referer: c| User-Agent: d| "
             "Accept-Charset: e| If-Modified-Sinc: f| If-Modified-Since: g| (127)"),
        CASE("length 0", REQ("Content-Length: 0\r\n"),
             "0:GET / 1.1 keep length=0 host{a} 2 Host: a| Content-Length: 0| (46)"),
        CASE("length with zeros first", REQ("Content-Length: 005\r\n"),
             "0:GET / 1.1 keep length=5 host{a} 2 Host: a| Content-Length: 005| (48)"),
        CASE("greatest length", REQ("Content-Length: 9223372036854775807\r\n"),
             "0:GET / 1.1 keep length=9223372036854775807 host{a} 2 Host: a| "
             "Content-Length: 9223372036854775807| (64)"),
        CASE("chunked", REQ("transfer-ENCODING: Chunked\r\n"),
             "0:GET / 1.1 keep chunked host{a} 2 Host: a| transfer-ENCODING: Chunked| (55)"),
        CASE("close", REQ("Connection: close\r\n"),
             "0:GET / 1.1 close none host{a} 2 Host: a| Connection: close| (46)"),
        CASE(
            "close in a list", REQ("Connection: keep-alive ,\t, CLOSE\r\n"),
            "0:GET / 1.1 close none host{a} 2 Host: a| Connection: keep-alive ,\\x09, CLOSE| (61)"),
        CASE("closed is not close", REQ("Connection: closed\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| Connection: closed| (47)"),
        CASE("keep-alive in 1.0", REQ_10("Connection: Keep-Alive\r\n"),
             "0:GET / 1.0 keep none host{} 1 Connection: Keep-Alive| (42)"),
        CASE("keep-alive and close in 1.0",
             REQ_10("Connection: keep-alive\r\nConnection: close\r\n"),
             "0:GET / 1.0 close none host{} 2 Connection: keep-alive| Connection: close| (61)"),
        CASE("upgrade", REQ("Upgrade: x\r\nConnection: keep-alive, Upgrade\r\n"),
             "0:GET / 1.1 keep upgrade none host{a} 3 Host: a| Upgrade: x| "
             "Connection: keep-alive, Upgrade| (72)"),
        CASE("Upgrade without Connection", REQ("Upgrade: x\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| Upgrade: x| (39)"),
        CASE("Connection: upgrade alone", REQ("Connection: upgrade\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| Connection: upgrade| (48)"),
        CASE("upgrade in 1.0", REQ_10("Upgrade: x\r\nConnection: upgrade\r\n"),
             "0:GET / 1.0 close none host{} 2 Upgrade: x| Connection: upgrade| (51)"),
        CASE("expect", REQ("Expect: 100-Continue\r\n"),
             "0:GET / 1.1 keep 100 none host{a} 2 Host: a| Expect: 100-Continue| (49)"),
        CASE("expect in 1.0", REQ_10("Expect: 100-continue\r\n"),
             "0:GET / 1.0 close none host{} 1 Expect: 100-continue| (40)"),
        CASE("empty expect", REQ("Expect:\r\n"),
             "0:GET / 1.1 keep none host{a} 2 Host: a| Expect: | (36)"),
        CASE("Host with a port", "GET / HTTP/1.1\r\nHost: [::1]:8080 \r\n\r\n",
             "0:GET / 1.1 keep none host{[::1]:8080} 1 Host: [::1]:8080| (37)"),
        CASE("target as sent", "GET //a/../%2f;x?\"<>\\^`{|}# HTTP/1.0\r\n\r\n",
             "0:GET //a/../%2f;x?\"<>\\x5c^`{|}# 1.0 close none host{} 0 (40)"),
        CASE("not whole", "GET / HTTP/1.1\r\nHost: a\r\n\r", "more"),
        CASE("first CR only", "\r", "more"),
        CASE("first empty line only", "\r\n", "more"),
        CASE("method of 32 bytes, not whole", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "more"),
    };
    (void)state;
    check_table(cases, N_OF(cases), true);
}

static void knows_methods(void **state)
{
    static const struct {
        const char *name;
        enum http_method want;
    } cases[] = {
        {"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},
        {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
        {"DELETE", HTTP_DELETE},   {"OPTIONS", HTTP_OPTIONS},
        {"CONNECT", HTTP_CONNECT}, {"TRACE", HTTP_TRACE},
        {"PATCH", HTTP_PATCH},     {"get", HTTP_OTHER},
        {"GETS", HTTP_OTHER},      {"QUERY", HTTP_OTHER},
        {"PROPFIND", HTTP_OTHER},  {"MKCOL", HTTP_OTHER},
        {"LOCK", HTTP_OTHER},      {"ACL", HTTP_OTHER},
        {"REPORT", HTTP_OTHER},    {"OPTIONs", HTTP_OTHER},
        {"!", HTTP_OTHER},         {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", HTTP_OTHER},
    };
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct http1_head head;
    struct http1_fault fault;
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        char text[128];
        uint32_t scanned = 0;
        size_t n = 0;
        int len = snprintf(text, sizeof text, "%s * HTTP/1.0\r\n\r\n", cases[i].name);
        assert_int_equal(
            http1_request_parse(span_of(text, (size_t)len), &limits, &scanned, &head, &n, &fault),
            ERR_OK);
        assert_int_equal(head.method, cases[i].want);
        assert_true(span_eq(head.method_name, span_str(cases[i].name)));
    }
}

/* `n` times 'a' between two texts; static storage. */
static struct span with_run(const char *before, size_t n, const char *after)
{
    static char text[32768];
    size_t len = strlen(before);

    assert_true(len + n + strlen(after) < sizeof text);
    feed_copy(text, before, len);
    memset(text + len, 'a', n);
    feed_copy(text + len + n, after, strlen(after) + 1);
    return span_of(text, len + n + strlen(after));
}

static void limits_the_target(void **state)
{
    struct drive_head drive = {.limits = {16384, 20, 100}};
    struct feed feed = drive_head_feed(&drive);
    (void)state;
    wire_check(&feed, "at", with_run("GET /", 19, " HTTP/1.0\r\n\r\n"), "0:GET /aaa", false);
    wire_check(&feed, "one over", with_run("GET /", 20, " HTTP/1.0\r\n\r\n"), "414 ", false);
    wire_check(&feed, "one over, the end not there", with_run("GET /", 20, ""), "414 ", false);
    wire_check(&feed, "at, the end not there", with_run("GET /", 19, ""), "more", true);
    wire_check(&feed, "CR at the first byte over", with_run("GET /", 19, "\r\n\r\n"),
               "400 the request line", false);
    wire_check(&feed, "wrong before it is too long", with_run("GET /\x01", 30, ""), "400 a control",
               false);
    wire_check(&feed, "too long before it is wrong", with_run("GET /", 30, "\n"), "414 ", false);
    wire_check(&feed, "long method", with_run("OPTIONS /", 20, " HTTP/1.0\r\n\r\n"), "414 ", false);
    wire_check(&feed, "behind an empty line", with_run("\r\nGET /", 19, " HTTP/1.0\r\n\r\n"),
               "0:GET /aaa", false);
    wire_check(&feed, "over behind an empty line", with_run("\r\nGET /", 20, " HTTP/1.0\r\n\r\n"),
               "414 ", false);
    wire_check(&feed, "long fields are no target",
               with_run("GET / HTTP/1.0\r\nA: ", 100, "\r\n\r\n"), "0:GET /", false);
    transcript_free(&drive.transcript);
}

static void limits_the_target_by_default(void **state)
{
    struct drive_head drive = {.limits = HTTP1_LIMITS_DEFAULT};
    struct feed feed = drive_head_feed(&drive);
    (void)state;
    wire_check(&feed, "8192", with_run("GET /", 8191, " HTTP/1.0\r\n\r\n"), "0:GET /aaa", false);
    wire_check(&feed, "8193", with_run("GET /", 8192, " HTTP/1.0\r\n\r\n"), "414 ", false);
    transcript_free(&drive.transcript);
}

static void limits_the_head(void **state)
{
    struct drive_head drive = {.limits = {64, 8192, 100}};
    struct feed feed = drive_head_feed(&drive);
    (void)state;
    wire_check(&feed, "at", with_run("GET / HTTP/1.0\r\nA: ", 41, "\r\n\r\n"), "0:GET", false);
    wire_check(&feed, "one over", with_run("GET / HTTP/1.0\r\nA: ", 42, "\r\n\r\n"), "431 ", false);
    wire_check(&feed, "at with an empty line",
               with_run("\r\nGET / HTTP/1.0\r\nA: ", 39, "\r\n\r\n"), "0:GET", false);
    wire_check(&feed, "over with an empty line",
               with_run("\r\nGET / HTTP/1.0\r\nA: ", 40, "\r\n\r\n"), "431 ", false);
    wire_check(&feed, "at the limit, without its end", with_run("GET / HTTP/1.0\r\nA: ", 45, ""),
               "431 ", false);
    wire_check(&feed, "one below, without its end", with_run("GET / HTTP/1.0\r\nA: ", 44, ""),
               "more", true);
    wire_check(&feed, "wrong behind the limit", with_run("GET / HTTP/1.0\r\nA: ", 45, "\n"), "431 ",
               false);
    transcript_free(&drive.transcript);
}

static void limits_the_fields(void **state)
{
    struct drive_head drive = {.limits = {16384, 8192, 2}};
    struct feed feed = drive_head_feed(&drive);
    char text[HTTP1_MAX_FIELDS * 8 + 64];
    (void)state;
    wire_check(&feed, "at", SPAN_LIT(REQ("B: c\r\n")), "0:GET", false);
    wire_check(&feed, "one over", SPAN_LIT(REQ("B: c\r\nD: e\r\n")), "431 too many", false);
    drive.limits = HTTP1_LIMITS_DEFAULT;
    for (int extra = 0; extra <= 1; extra++) {
        int n = snprintf(text, sizeof text, "GET / HTTP/1.0\r\n");
        for (int i = 0; i < HTTP1_MAX_FIELDS + extra; i++) {
            n += snprintf(text + n, sizeof text - (size_t)n, "A: b\r\n");
        }
        n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
        wire_check(&feed, extra == 0 ? "100" : "101", span_of(text, (size_t)n),
                   extra == 0 ? "0:GET" : "431 too many", false);
    }
    transcript_free(&drive.transcript);
}

/* A limit above the array must not write behind it. */
static void never_exceeds_the_array(void **state)
{
    struct drive_head drive = {.limits = {16384, 8192, 5000}};
    struct feed feed = drive_head_feed(&drive);
    char text[(HTTP1_MAX_FIELDS + 1) * 6 + 64];
    (void)state;
    int n = snprintf(text, sizeof text, "GET / HTTP/1.0\r\n");
    for (int i = 0; i <= HTTP1_MAX_FIELDS; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "A: b\r\n");
    }
    n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
    wire_check(&feed, "101", span_of(text, (size_t)n), "431 too many", false);
    transcript_free(&drive.transcript);
}

/* Row 11: each byte is looked at once, however many calls there are. `scanned` shows it. */
static void scans_each_byte_once(void **state)
{
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct span in = with_run("GET / HTTP/1.0\r\nA: ", 1000, "\r\n\r\n");
    struct http1_head head;
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;
    (void)state;
    assert_int_equal(http1_request_parse(SPAN_NONE, &limits, &scanned, &head, &n, &fault),
                     ERR_AGAIN);
    for (size_t len = 4; len < in.len; len++) {
        assert_int_equal(
            http1_request_parse(span_of(in.ptr, len), &limits, &scanned, &head, &n, &fault),
            ERR_AGAIN);
        assert_true(scanned + 1 >= len); /* a CR waits for its LF */
    }
    assert_int_equal(http1_request_parse(in, &limits, &scanned, &head, &n, &fault), ERR_OK);
    assert_int_equal(n, in.len);
    assert_int_equal(scanned, 0); /* ready for the next request */
}

static void finds_fields_and_tokens(void **state)
{
    static const char text[] =
        REQ("X-A: one\r\nx-a: two\r\nConnection: a,, b\r\nCONNECTION: c;d\r\n");
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct http1_head head;
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;
    (void)state;
    assert_int_equal(
        http1_request_parse(span_of(text, sizeof text - 1), &limits, &scanned, &head, &n, &fault),
        ERR_OK);
    const struct http1_field *field = http1_field_find(&head, SPAN_LIT("x-A"));
    assert_non_null(field);
    assert_true(span_eq(field->value, SPAN_LIT("one")));
    assert_null(http1_field_find(&head, SPAN_LIT("x-")));
    assert_null(http1_field_find(&head, SPAN_LIT("x-ab")));
    assert_true(http1_list_has(&head, SPAN_LIT("connection"), SPAN_LIT("A")));
    assert_true(http1_list_has(&head, SPAN_LIT("connection"), SPAN_LIT("b")));
    assert_true(http1_list_has(&head, SPAN_LIT("connection"), SPAN_LIT("c;d")));
    assert_false(http1_list_has(&head, SPAN_LIT("connection"), SPAN_LIT("c")));
    assert_false(http1_list_has(&head, SPAN_LIT("connection"), SPAN_LIT("")));
    assert_false(http1_list_has(&head, SPAN_LIT("host"), SPAN_LIT("b")));
}

static void walks_lists(void **state)
{
    static const struct {
        const char *in;
        const char *want; /* items, each with a bar behind */
    } cases[] = {
        {"", ""},           {",", ""},
        {" , \t,", ""},     {"a", "a|"},
        {"a,b", "a|b|"},    {" a , b ", "a|b|"},
        {",a,,b,", "a|b|"}, {"a b\t,c", "a b|c|"},
        {"a\t", "a|"},      {"a=\"b,c\"", "a=\"b|c\"|"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span rest = span_str(cases[i].in);
        struct span item;
        struct transcript t = {NULL, 0, 0};
        while (http1_list_next(&rest, &item)) {
            transcript_bytes(&t, item);
            transcript_add(&t, "|");
        }
        assert_string_equal(transcript_text(&t), cases[i].want);
        transcript_free(&t);
    }
}

/* Against RFC 9110 5.6.2 spelled out, for every byte. */
static void knows_tokens(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    (void)state;
    assert_false(http1_is_token(SPAN_NONE));
    for (int c = 0; c < 256; c++) {
        char text[2] = {'a', (char)c};
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool want = is_alnum || (c != 0 && strchr(others, c) != NULL);
        assert_int_equal(http1_is_token(span_of(text, 2)), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_request_lines),
        cmocka_unit_test(refuses_bad_fields),
        cmocka_unit_test(refuses_bad_hosts),
        cmocka_unit_test(refuses_doubtful_framing),
        cmocka_unit_test(accepts_good_heads),
        cmocka_unit_test(knows_methods),
        cmocka_unit_test(limits_the_target),
        cmocka_unit_test(limits_the_target_by_default),
        cmocka_unit_test(limits_the_head),
        cmocka_unit_test(limits_the_fields),
        cmocka_unit_test(never_exceeds_the_array),
        cmocka_unit_test(scans_each_byte_once),
        cmocka_unit_test(finds_fields_and_tokens),
        cmocka_unit_test(walks_lists),
        cmocka_unit_test(knows_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
