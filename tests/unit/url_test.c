/* url: targets by form and method, authorities, percent-coding, queries. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/test.h"
#include "wire/url.h"

static void splits_targets(void **state)
{
    static const struct {
        const char *method;
        const char *in;
        enum url_form form;
        const char *authority;
        const char *path;
        const char *query; /* NULL: none */
    } cases[] = {
        {"GET", "/", URL_ORIGIN, "", "/", NULL},
        {"GET", "/a?", URL_ORIGIN, "", "/a", ""},
        {"GET", "/a?b=c&d", URL_ORIGIN, "", "/a", "b=c&d"},
        {"GET", "/a?b?c/d", URL_ORIGIN, "", "/a", "b?c/d"},
        {"GET", "?a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "//a/../b//%2f%00;p", URL_ORIGIN, "", "//a/../b//%2f%00;p", NULL},
        {"GET", "/\"<>\\^`{|}", URL_ORIGIN, "", "/\"<>\\^`{|}", NULL},
        {"GET", "/http://b/", URL_ORIGIN, "", "/http://b/", NULL},
        {"OPTIONS", "/a", URL_ORIGIN, "", "/a", NULL},
        {"GET", "http://a/b?c", URL_ABSOLUTE, "a", "/b", "c"},
        {"GET", "HTTPS://A:443/b", URL_ABSOLUTE, "A:443", "/b", NULL},
        {"GET", "http://a", URL_ABSOLUTE, "a", "/", NULL},
        {"GET", "http://a?b/c", URL_ABSOLUTE, "a", "/", "b/c"},
        {"OPTIONS", "http://a:80", URL_ABSOLUTE, "a:80", "/", NULL},
        {"GET", "http://[::1]:80/?", URL_ABSOLUTE, "[::1]:80", "/", ""},
        {"CONNECT", "a:443", URL_AUTHORITY, "a:443", "", NULL},
        {"CONNECT", "[::1]:443", URL_AUTHORITY, "[::1]:443", "", NULL},
        {"OPTIONS", "*", URL_ASTERISK, "", "", NULL},
        /* refused: no path */
        {"GET", "", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "*", URL_ORIGIN, NULL, NULL, NULL},
        {"options", "*", URL_ORIGIN, NULL, NULL, NULL},
        {"OPTIONS", "**", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "a:443", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "a/b", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/a#b", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "#", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/a b", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/a\tb", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/\x7f", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/\x80", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "/\x01", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "ws://a/", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "ftp://a/", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "file:///etc", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http:/a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http:a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http://", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http:///a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http://?a", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http://u@a/", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http://a:/b", URL_ORIGIN, NULL, NULL, NULL},
        {"GET", "http://a\\b/", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", "a", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", "/", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", "*", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", "http://a:443", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", "a:443/", URL_ORIGIN, NULL, NULL, NULL},
        {"CONNECT", ":443", URL_ORIGIN, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        const char *name = cases[i].in;
        struct url_target out;
        struct fault fault = {0, NULL};
        enum err e = url_split(span_str(cases[i].method), span_str(name), &out, &fault);
        CHECK_INT(name, e, cases[i].path != NULL ? ERR_OK : ERR_SYNTAX);
        if (e != ERR_OK) {
            CHECK(name, fault.why != NULL);
            continue;
        }
        CHECK_INT(name, out.form, cases[i].form);
        check_span(name, out.authority, span_str(cases[i].authority));
        check_span(name, out.path, span_str(cases[i].path));
        CHECK_INT(name, out.has_query, cases[i].query != NULL);
        check_span(name, out.query, span_str(cases[i].query));
    }
}

static void refuses_nul_in_a_target(void **state)
{
    struct url_target out;
    struct fault fault = {0, NULL};
    (void)state;
    assert_int_equal(url_split(SPAN_LIT("GET"), SPAN_LIT("/a\0b"), &out, &fault), ERR_SYNTAX);
    assert_int_equal(fault.offset, 2);
}

static void judges_authorities(void **state)
{
    static const struct {
        struct span in;
        bool want;
    } cases[] = {
        {SPAN_LIT_INIT("a"), true},
        {SPAN_LIT_INIT("example.org."), true},
        {SPAN_LIT_INIT("a_b-c~1"), true},
        {SPAN_LIT_INIT("a:1"), true},
        {SPAN_LIT_INIT("a:65535"), true},
        {SPAN_LIT_INIT("a:00080"), true},
        {SPAN_LIT_INIT("127.0.0.1:80"), true},
        {SPAN_LIT_INIT("999.0.0.1"), true}, /* a reg-name by RFC 3986 */
        {SPAN_LIT_INIT("%41%2d"), true},
        {SPAN_LIT_INIT("!$&'()*+,;="), true},
        {SPAN_LIT_INIT("[::]"), true},
        {SPAN_LIT_INIT("[2001:db8::1]:443"), true},
        {SPAN_LIT_INIT("[::ffff:127.0.0.1]"), true},
        {SPAN_LIT_INIT("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"), true},
        {SPAN_LIT_INIT(""), false},
        {SPAN_LIT_INIT(":80"), false},
        {SPAN_LIT_INIT("a:"), false},
        {SPAN_LIT_INIT("a:0"), false},
        {SPAN_LIT_INIT("a:65536"), false},
        {SPAN_LIT_INIT("a:000080"), false},
        {SPAN_LIT_INIT("a:4294967376"), false},
        {SPAN_LIT_INIT("a:+80"), false},
        {SPAN_LIT_INIT("a:80a"), false},
        {SPAN_LIT_INIT("a:b"), false},
        {SPAN_LIT_INIT("a:1:2"), false},
        {SPAN_LIT_INIT("::1"), false},
        {SPAN_LIT_INIT("u@a"), false},
        {SPAN_LIT_INIT("u:p@a"), false},
        {SPAN_LIT_INIT("a/b"), false},
        {SPAN_LIT_INIT("a?b"), false},
        {SPAN_LIT_INIT("a#b"), false},
        {SPAN_LIT_INIT("a b"), false},
        {SPAN_LIT_INIT(" a"), false},
        {SPAN_LIT_INIT("a\0"), false},
        {SPAN_LIT_INIT("a\x7f"), false},
        {SPAN_LIT_INIT("\xc3\xa4"), false},
        {SPAN_LIT_INIT("a\"b"), false},
        {SPAN_LIT_INIT("a<b"), false},
        {SPAN_LIT_INIT("a|b"), false},
        {SPAN_LIT_INIT("%"), false},
        {SPAN_LIT_INIT("%4"), false},
        {SPAN_LIT_INIT("%4g"), false},
        {SPAN_LIT_INIT("%%41"), false},
        {SPAN_LIT_INIT("["), false},
        {SPAN_LIT_INIT("[]"), false},
        {SPAN_LIT_INIT("[::1"), false},
        {SPAN_LIT_INIT("[::1]x"), false},
        {SPAN_LIT_INIT("[::1]80"), false},
        {SPAN_LIT_INIT("[::1]:"), false},
        {SPAN_LIT_INIT("[::1%eth0]"), false},
        {SPAN_LIT_INIT("[::1%25eth0]"), false},
        {SPAN_LIT_INIT("[127.0.0.1]"), false},
        {SPAN_LIT_INIT("[v1.a]"), false},
        {SPAN_LIT_INIT("[::1\0]"), false},
        {SPAN_LIT_INIT("[[::1]]"), false},
        {SPAN_LIT_INIT("a[::1]"), false},
        {SPAN_LIT_INIT("[0000:0000:0000:0000:0000:0000:255.255.255.2555]"), false},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        CHECK_INT(cases[i].in.ptr, url_is_valid_authority(cases[i].in), cases[i].want);
    }
    assert_false(url_is_valid_authority(SPAN_NONE));
}

static void decodes(void **state)
{
    static const struct {
        const char *in;
        bool plus_is_blank;
        struct span want; /* ptr NULL: refused */
    } cases[] = {
        {"", false, SPAN_LIT_INIT("")},
        {"abc", false, SPAN_LIT_INIT("abc")},
        {"%41%5a%5A", false, SPAN_LIT_INIT("AZZ")},
        {"%00", false, SPAN_LIT_INIT("\0")},
        {"%ff%FE", false, SPAN_LIT_INIT("\xff\xfe")},
        {"a%20b+c", false, SPAN_LIT_INIT("a b+c")},
        {"a%20b+c%2B", true, SPAN_LIT_INIT("a b c+")},
        {"%2541", false, SPAN_LIT_INIT("%41")}, /* once, never twice */
        {"%%", false, {NULL, 0}},
        {"%", false, {NULL, 0}},
        {"a%4", false, {NULL, 0}},
        {"%4g", false, {NULL, 0}},
        {"%g4", false, {NULL, 0}},
        {"% 4", false, {NULL, 0}},
        {"%+4", true, {NULL, 0}},
        {"%u0041", false, {NULL, 0}},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span in = span_str(cases[i].in);
        /* Exactly the room that is promised, so that the sanitizer sees one byte too many. */
        char *apart = malloc(in.len + 1);
        char *in_place = malloc(in.len + 1);
        size_t n = 0;
        size_t n_in_place = 0;
        assert_non_null(apart);
        assert_non_null(in_place);
        memcpy(in_place, in.ptr, in.len);
        enum err e = url_decode(in, cases[i].plus_is_blank, apart, &n);
        CHECK_INT(in.ptr, e, cases[i].want.ptr != NULL ? ERR_OK : ERR_SYNTAX);
        CHECK_INT(
            in.ptr,
            url_decode(span_of(in_place, in.len), cases[i].plus_is_blank, in_place, &n_in_place),
            e);
        if (e == ERR_OK) {
            check_span(in.ptr, span_of(apart, n), cases[i].want);
            check_span(in.ptr, span_of(in_place, n_in_place), cases[i].want);
        }
        free(apart);
        free(in_place);
    }
}

static void walks_queries(void **state)
{
    static const struct {
        const char *in;
        const char *want; /* name>value| of each */
    } cases[] = {
        {"", ""},
        {"&", ""},
        {"&&&", ""},
        {"a", "a>|"},
        {"a=", "a>|"},
        {"a=1", "a>1|"},
        {"a=1&b&c=", "a>1|b>|c>|"},
        {"&&a=1&&b&", "a>1|b>|"},
        {"=", ">|"},
        {"=x&y", ">x|y>|"},
        {"a=b=c", "a>b=c|"},
        {"a%26=%3d+", "a%26>%3d+|"},
        {"a;b=c", "a;b>c|"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span rest = span_str(cases[i].in);
        struct span name;
        struct span value;
        char text[128];
        size_t n = 0;
        while (url_query_next(&rest, &name, &value)) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%.*s>%.*s|", SPAN_FMT(name),
                                  SPAN_FMT(value));
        }
        check_span(cases[i].in, span_of(text, n), span_str(cases[i].want));
    }
}

static void finds_in_queries(void **state)
{
    struct span query = SPAN_LIT("ab=1&a=2&a=3&c&A=4&=5");
    struct span value;
    (void)state;
    assert_true(url_query_find(query, SPAN_LIT("a"), &value));
    check_span("the first", value, SPAN_LIT("2"));
    assert_true(url_query_find(query, SPAN_LIT("c"), &value));
    check_span("without =", value, SPAN_LIT(""));
    assert_true(url_query_find(query, SPAN_LIT(""), &value));
    check_span("without name", value, SPAN_LIT("5"));
    assert_false(url_query_find(query, SPAN_LIT("b"), &value));
    assert_false(url_query_find(SPAN_NONE, SPAN_LIT("a"), &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_targets),     cmocka_unit_test(refuses_nul_in_a_target),
        cmocka_unit_test(judges_authorities), cmocka_unit_test(decodes),
        cmocka_unit_test(walks_queries),      cmocka_unit_test(finds_in_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
