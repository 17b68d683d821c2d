/* http_req: fields and cookies of a parsed head, and the peer as text. */
#include <arpa/inet.h>
#include <stdio.h>

#include "harness/test.h"
#include "http/http_req.h"
#include "net/conn.h"

static const struct http1_limits limits = {4096, 2048, 100}; /* no more than `bytes` holds */
static struct http1_head head;
static char bytes[4096];

/* A request with these field lines (each with CRLF). Its slices point into `bytes`. */
static struct http_req request(const char *lines)
{
    struct http1_fault fault = {0};
    uint32_t scanned = 0;
    size_t used = 0;
    int n = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    assert_true(n > 0 && (size_t)n < sizeof bytes);
    assert_int_equal(
        http1_request_parse(span_of(bytes, (size_t)n), &limits, &scanned, &head, &used, &fault),
        ERR_OK);
    return (struct http_req){.head = &head};
}

static void fields(void **state)
{
    (void)state;
    struct http_req req = request("X-One:  a b \r\nx-two: 2\r\nX-ONE: again\r\nEmpty:\r\n");
    check_span("trimmed", http_req_field(&req, SPAN_LIT("X-One")), SPAN_LIT("a b"));
    check_span("any case, the first", http_req_field(&req, SPAN_LIT("x-oNe")), SPAN_LIT("a b"));
    check_span("another", http_req_field(&req, SPAN_LIT("X-Two")), SPAN_LIT("2"));
    assert_null(http_req_field(&req, SPAN_LIT("X-On")).ptr);
    assert_null(http_req_field(&req, SPAN_LIT("X-One-")).ptr);
    /* Empty is there, missing is not. */
    assert_non_null(http_req_field(&req, SPAN_LIT("empty")).ptr);
    assert_int_equal(http_req_field(&req, SPAN_LIT("empty")).len, 0);
}

static void cookies(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        const char *want; /* of the cookie "id"; NULL = none */
    } cases[] = {
        {"", NULL},
        {"Cookie: id=7\r\n", "7"},
        {"cookie: id=7\r\n", "7"},
        {"Cookie: a=1; id=7; b=2\r\n", "7"},
        {"Cookie: a=1;id=7;b=2\r\n", "7"},
        {"Cookie: a=1 ;\t id=7 \r\n", "7"},
        {"Cookie: id=7; id=8\r\n", "7"},
        {"Cookie: a=1\r\nCookie: id=7\r\n", "7"},
        {"Cookie: id=\r\n", ""},
        {"Cookie: id=a=b\r\n", "a=b"},
        {"Cookie: id=\"q\"\r\n", "\"q\""},
        {"Cookie: ID=7\r\n", NULL}, /* names are case-sensitive */
        {"Cookie: xid=7\r\n", NULL},
        {"Cookie: idx=7\r\n", NULL},
        {"Cookie: id\r\n", NULL},
        {"Cookie: x=id=7\r\n", NULL},
        {"Cookie: =7\r\n", NULL},
        {"Cookie:\r\n", NULL},
        {"Cookie: ;;; ;\r\n", NULL},
        {"Cookie: ;;id=7;;\r\n", "7"},
        {"Cookies: id=7\r\n", NULL},
        {"X: id=7\r\n", NULL},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct http_req req = request(cases[i].lines);
        struct span got = http_req_cookie(&req, SPAN_LIT("id"));
        CHECK_INT(cases[i].lines, got.ptr == NULL, cases[i].want == NULL);
        check_span(cases[i].lines, got, span_str(cases[i].want));
    }
}

static void peers(void **state)
{
    (void)state;
    static const struct {
        uint16_t family;
        uint16_t port;
        const char *address; /* as IPv6, also for AF_INET */
        const char *want;
    } cases[] = {
        {AF_INET, 4711, "::ffff:192.0.2.1", "192.0.2.1:4711"},
        {AF_INET, 0, "::ffff:255.255.255.255", "255.255.255.255:0"},
        {AF_INET6, 65535, "2001:db8::1", "[2001:db8::1]:65535"},
        {AF_INET6, 1, "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1"},
        {AF_UNIX, 0, "::", "unix"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct conn_peer peer = {.family = cases[i].family, .port = cases[i].port};
        struct http_req req = {.peer = &peer};
        char text[HTTP_PEER_TEXT_BYTES];
        assert_int_equal(inet_pton(AF_INET6, cases[i].address, &peer.address), 1);
        assert_ptr_equal(http_req_peer_text(&req, text), text);
        check_span(cases[i].address, span_str(text), span_str(cases[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(cookies),
        cmocka_unit_test(peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
