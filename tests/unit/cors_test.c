/* cors: the verdict for each policy and Origin, and the fields of answers and preflights. */
#include <stdio.h>

#include "harness/test.h"
#include "http/cors.h"

static const struct http1_limits limits = {16384, 8192, 100};
static struct http1_head head;
static char bytes[16384];

static struct http_req request(const char *lines)
{
    struct http1_fault fault = {0};
    uint32_t scanned = 0;
    size_t used = 0;
    int n = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\n%s\r\n", lines);
    assert_true(n > 0 && (size_t)n < sizeof bytes);
    assert_int_equal(
        http1_request_parse(span_of(bytes, (size_t)n), &limits, &scanned, &head, &used, &fault),
        ERR_OK);
    return (struct http_req){.head = &head};
}

static const char *const listed[] = {"https://app.example", "https://other.example:8443"};
static const char *const with_null[] = {"null"};

static const struct cors_policy same = {.same_origin = true};
static const struct cors_policy list = {.origins = listed, .n_origins = 2};
static const struct cors_policy both = {.same_origin = true, .origins = listed, .n_origins = 2};
static const struct cors_policy null_too = {.origins = with_null, .n_origins = 1};
static const struct cors_policy any = {.any = true};
static const char *const but[] = {"*", "!http://denied.example", "!null"};
static const char *const twice[] = {"http://a.example", "!http://a.example"};
static const struct cors_policy any_but = {.any = true, .origins = but, .n_origins = 3};
static const struct cors_policy same_but = {.same_origin = true, .origins = twice, .n_origins = 2};
static const struct cors_policy none = {.any = false};

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const struct cors_policy *policy;
        const char *host;
        const char *origin; /* NULL = no field */
        enum cors_verdict want;
    } cases[] = {
        {"no origin", &none, "a.example", NULL, CORS_NO_ORIGIN},
        {"no origin, any", &any, "a.example", NULL, CORS_NO_ORIGIN},
        {"nothing is allowed", &none, "a.example", "http://a.example", CORS_REFUSED},

        {"same", &same, "a.example", "http://a.example", CORS_ALLOWED},
        {"same behind TLS", &same, "a.example", "https://a.example", CORS_ALLOWED},
        {"same with port", &same, "a.example:8080", "http://a.example:8080", CORS_ALLOWED},
        {"same in other case", &same, "A.Example", "http://a.example", CORS_ALLOWED},
        {"same IPv6", &same, "[::1]:80", "http://[::1]:80", CORS_ALLOWED},
        {"other port", &same, "a.example:8080", "http://a.example:8081", CORS_REFUSED},
        {"port missing", &same, "a.example:8080", "http://a.example", CORS_REFUSED},
        {"other host", &same, "a.example", "http://b.example", CORS_REFUSED},
        {"longer host", &same, "a.example", "http://a.example.evil", CORS_REFUSED},
        {"host as user", &same, "a.example", "http://a.example@evil", CORS_REFUSED},
        {"longer in front", &same, "a.example", "http://xa.example", CORS_REFUSED},
        {"with a path", &same, "a.example", "http://a.example/", CORS_REFUSED},
        {"other scheme", &same, "a.example", "ftp://a.example", CORS_REFUSED},
        {"scheme in capitals", &same, "a.example", "HTTP://a.example", CORS_REFUSED},
        {"no scheme", &same, "a.example", "a.example", CORS_REFUSED},
        {"scheme only", &same, "a.example", "http://", CORS_REFUSED},
        {"null is not same", &same, "null", "null", CORS_REFUSED},
        {"empty is not same", &same, "a.example", "", CORS_REFUSED},

        {"listed", &list, "a.example", "https://app.example", CORS_ALLOWED},
        {"listed second", &list, "a.example", "https://other.example:8443", CORS_ALLOWED},
        {"listed with other scheme", &list, "a.example", "http://app.example", CORS_REFUSED},
        {"listed with port", &list, "a.example", "https://app.example:443", CORS_REFUSED},
        {"listed, cut", &list, "a.example", "https://app.exampl", CORS_REFUSED},
        {"listed, and more", &list, "a.example", "https://app.example.evil", CORS_REFUSED},
        {"two in one", &list, "a.example", "https://app.example https://evil", CORS_REFUSED},
        {"same but not listed", &list, "a.example", "https://a.example", CORS_REFUSED},
        {"null is not listed", &list, "a.example", "null", CORS_REFUSED},
        {"empty is not listed", &list, "a.example", "", CORS_REFUSED},
        {"listed or same: same", &both, "a.example", "https://a.example", CORS_ALLOWED},
        {"listed or same: listed", &both, "a.example", "https://app.example", CORS_ALLOWED},
        {"listed or same: neither", &both, "a.example", "https://evil", CORS_REFUSED},

        {"null when it is named", &null_too, "a.example", "null", CORS_ALLOWED},
        {"Null is another", &null_too, "a.example", "Null", CORS_REFUSED},
        {"any", &any, "a.example", "https://evil", CORS_ALLOWED},
        {"any, null", &any, "a.example", "null", CORS_ALLOWED},

        {"any but it", &any_but, "a.example", "http://denied.example", CORS_REFUSED},
        {"any but it, with other scheme", &any_but, "a", "https://denied.example", CORS_ALLOWED},
        {"any but it, with a port", &any_but, "a", "http://denied.example:8080", CORS_ALLOWED},
        {"any but it, cut", &any_but, "a.example", "http://denied.exampl", CORS_ALLOWED},
        {"any but it, with its mark", &any_but, "a", "!http://denied.example", CORS_ALLOWED},
        {"any but it: another", &any_but, "a.example", "https://evil", CORS_ALLOWED},
        {"any but null", &any_but, "a.example", "null", CORS_REFUSED},
        {"any but it: no origin", &any_but, "a.example", NULL, CORS_NO_ORIGIN},
        {"listed and refused", &same_but, "b.example", "http://a.example", CORS_REFUSED},
        {"same and refused", &same_but, "a.example", "http://a.example", CORS_REFUSED},
        {"same, another refused", &same_but, "b.example", "http://b.example", CORS_ALLOWED},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char lines[256];
        int n = cases[i].origin != NULL
                    ? snprintf(lines, sizeof lines, "Host: %s\r\nOrigin: %s\r\n", cases[i].host,
                               cases[i].origin)
                    : snprintf(lines, sizeof lines, "Host: %s\r\n", cases[i].host);
        assert_true(n > 0 && (size_t)n < sizeof lines);
        struct http_req req = request(lines);
        CHECK_INT(cases[i].name, cors_check(cases[i].policy, &req), cases[i].want);
    }
}

/* GETs that may lack an Origin: by what else the browser says. */
static void verdicts_on_what_pages_embed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const struct cors_policy *policy;
        const char *fields; /* besides Host: a.example */
        enum cors_verdict want;
    } cases[] = {
        {"nothing is known", &same, "", CORS_NO_ORIGIN},
        {"nothing is known, nothing allowed", &none, "", CORS_NO_ORIGIN},
        {"nothing is asked for any", &any,
         "Sec-Fetch-Site: cross-site\r\nReferer: https://evil/\r\n", CORS_NO_ORIGIN},
        {"any, with an Origin", &any, "Origin: https://evil\r\n", CORS_ALLOWED},
        {"an Origin decides", &same,
         "Origin: https://evil\r\nSec-Fetch-Site: same-origin\r\nReferer: https://a.example/\r\n",
         CORS_REFUSED},
        {"a good Origin decides", &same,
         "Origin: https://a.example\r\nSec-Fetch-Site: cross-site\r\n", CORS_ALLOWED},

        {"same origin", &same, "Sec-Fetch-Site: same-origin\r\n", CORS_ALLOWED},
        {"same origin is not listed", &list, "Sec-Fetch-Site: same-origin\r\n", CORS_REFUSED},
        {"same origin by its name", &list,
         "Sec-Fetch-Site: same-origin\r\nReferer: https://app.example/\r\n", CORS_ALLOWED},
        {"typed in", &list, "Sec-Fetch-Site: none\r\n", CORS_ALLOWED},
        {"same site is another origin", &same, "Sec-Fetch-Site: same-site\r\n", CORS_REFUSED},
        {"cross site", &same, "Sec-Fetch-Site: cross-site\r\n", CORS_REFUSED},
        {"cross site, listed", &list,
         "Sec-Fetch-Site: cross-site\r\nReferer: https://app.example/page?x=1\r\n", CORS_ALLOWED},
        {"cross site, not listed", &list,
         "Sec-Fetch-Site: cross-site\r\nReferer: https://evil/https://app.example/\r\n",
         CORS_REFUSED},
        {"an unknown word", &same, "Sec-Fetch-Site: Same-Origin\r\n", CORS_REFUSED},

        {"old browser, same", &same, "Referer: http://a.example/x\r\n", CORS_ALLOWED},
        {"old browser, no path", &same, "Referer: http://a.example\r\n", CORS_ALLOWED},
        {"old browser, listed", &list, "Referer: https://other.example:8443/\r\n", CORS_ALLOWED},
        {"old browser, other", &both, "Referer: https://evil/\r\n", CORS_REFUSED},
        {"old browser, longer host", &same, "Referer: http://a.example.evil/\r\n", CORS_REFUSED},
        {"old browser, host as user", &same, "Referer: http://a.example@evil/\r\n", CORS_REFUSED},
        {"old browser, no URL", &same, "Referer: a.example\r\n", CORS_REFUSED},
        {"old browser, a cut URL", &same, "Referer: http:/\r\n", CORS_REFUSED},
        {"old browser, only a colon", &same, "Referer: :\r\n", CORS_REFUSED},
        {"old browser, empty", &same, "Referer:\r\n", CORS_NO_ORIGIN},

        {"any but it: it", &any_but, "Referer: http://denied.example/x\r\n", CORS_REFUSED},
        {"any but it: another", &any_but,
         "Sec-Fetch-Site: cross-site\r\nReferer: https://evil/\r\n", CORS_ALLOWED},
        {"any but it: hidden", &any_but, "Sec-Fetch-Site: cross-site\r\n", CORS_NO_ORIGIN},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char lines[256];
        (void)snprintf(lines, sizeof lines, "Host: a.example\r\n%s", cases[i].fields);
        struct http_req req = request(lines);
        CHECK_INT(cases[i].name, cors_check_embedded(cases[i].policy, &req), cases[i].want);
    }
}

static void without_host_nothing_is_same(void **state)
{
    (void)state;
    struct http_req req = request("Host: a\r\nOrigin: http://\r\n");
    head.host = SPAN_NONE; /* HTTP/1.0 */
    assert_int_equal(cors_check(&same, &req), CORS_REFUSED);
}

/* -- fields -------------------------------------------------------------------------------------
 */

static struct buf out;

static void put(const char *name, enum err e, const char *want)
{
    CHECK_INT(name, e, ERR_OK);
    check_span(name, buf_span(&out), span_str(want));
    buf_fini(&out);
}

static void fields_of_answers(void **state)
{
    (void)state;
    buf_init(&out, 65536);
    struct http_req req = request("Host: a\r\n");
    put("no origin, list", cors_put(&out, &list, &req), "Vary: Origin\r\n");
    put("no origin, any", cors_put(&out, &any, &req),
        "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n");
    put("no origin, any but one", cors_put(&out, &any_but, &req),
        "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n");
    req = request("Host: a\r\nOrigin: https://app.example\r\n");
    static const char echoed[] = "Access-Control-Allow-Origin: https://app.example\r\n"
                                 "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n";
    put("list", cors_put(&out, &list, &req), echoed);
    put("any", cors_put(&out, &any, &req), echoed);
    put("any but one", cors_put(&out, &any_but, &req), echoed);
    req = request("Host: a\r\nOrigin: null\r\n");
    put("null", cors_put(&out, &null_too, &req),
        "Access-Control-Allow-Origin: null\r\n"
        "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n");
}

static void frame_ancestors(void **state)
{
    (void)state;
    static const char *const words[] = {"same-origin", "null"};
    static const struct cors_policy only_words = {
        .same_origin = true, .origins = words, .n_origins = 2};
    buf_init(&out, 65536);
    put("same", cors_put_ancestors(&out, &same), " 'self'");
    put("words", cors_put_ancestors(&out, &only_words), " 'self'");
    put("list", cors_put_ancestors(&out, &list), " https://app.example https://other.example:8443");
    put("both", cors_put_ancestors(&out, &both),
        " 'self' https://app.example https://other.example:8443");
    put("null only", cors_put_ancestors(&out, &null_too), " 'none'");
    put("none", cors_put_ancestors(&out, &none), " 'none'");
    buf_init(&out, 30); /* room for the first two */
    assert_int_equal(cors_put_ancestors(&out, &both), ERR_LIMIT);
    buf_fini(&out);
}

static void fields_of_preflights(void **state)
{
    (void)state;
    buf_init(&out, 65536);
    struct http_req req = request("Host: a\r\n");
    put("nothing asked", cors_put_preflight(&out, &req, SPAN_LIT("OPTIONS, POST")),
        "Access-Control-Allow-Methods: OPTIONS, POST\r\nAccess-Control-Max-Age: 31536000\r\n");
    req = request("Host: a\r\nAccess-Control-Request-Headers: x-a, x-b\r\n");
    put("asked", cors_put_preflight(&out, &req, SPAN_LIT("OPTIONS, GET")),
        "Access-Control-Allow-Methods: OPTIONS, GET\r\nAccess-Control-Max-Age: 31536000\r\n"
        "Access-Control-Allow-Headers: x-a, x-b\r\n");
    req = request("Host: a\r\nAccess-Control-Request-Headers:\r\n");
    put("asked for none", cors_put_preflight(&out, &req, SPAN_LIT("GET")),
        "Access-Control-Allow-Methods: GET\r\nAccess-Control-Max-Age: 31536000\r\n");
}

static void a_long_origin_comes_back_whole(void **state)
{
    (void)state;
    static char lines[9000];
    static char want[9000];
    static char host[8001];
    memset(host, 'h', sizeof host - 1);
    (void)snprintf(lines, sizeof lines, "Host: a\r\nOrigin: http://%s\r\n", host);
    (void)snprintf(want, sizeof want,
                   "Access-Control-Allow-Origin: http://%s\r\n"
                   "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
                   host);
    buf_init(&out, 65536);
    struct http_req req = request(lines);
    put("long", cors_put(&out, &any, &req), want);
}

static void without_room_it_is_an_error(void **state)
{
    (void)state;
    struct http_req req =
        request("Host: a\r\nOrigin: http://a\r\nAccess-Control-Request-Headers: x\r\n");
    buf_init(&out, 20);
    assert_int_equal(cors_put(&out, &any, &req), ERR_LIMIT);
    buf_init(&out, 100); /* room for the first two lines */
    assert_int_equal(cors_put_preflight(&out, &req, SPAN_LIT("GET")), ERR_LIMIT);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(verdicts_on_what_pages_embed),
        cmocka_unit_test(without_host_nothing_is_same),
        cmocka_unit_test(fields_of_answers),
        cmocka_unit_test(frame_ancestors),
        cmocka_unit_test(fields_of_preflights),
        cmocka_unit_test(a_long_origin_comes_back_whole),
        cmocka_unit_test(without_room_it_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
