/* sockjs: frames byte for byte, what is decoded and what is refused, every URL rule, and the pages
 * that are answered before a session exists. */
#include "base/jsontext.h"
#include "harness/mount_rig.h"

#define NOT_CACHED "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"

/* -- encode ------------------------------------------------------------------------------------ */

static void frames_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span messages[4];
        size_t n;
        const char *want;
    } cases[] = {
        {"one", {SPAN_LIT_INIT("x")}, 1, "a[\"x\"]"},
        {"empty message", {SPAN_LIT_INIT("")}, 1, "a[\"\"]"},
        {"several",
         {SPAN_LIT_INIT("a"), SPAN_LIT_INIT(""), SPAN_LIT_INIT("c d")},
         3,
         "a[\"a\",\"\",\"c d\"]"},
        {"short escapes", {SPAN_LIT_INIT("\"\\/\b\f\n\r\t")}, 1, "a[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]"},
        {"NUL and control bytes",
         {SPAN_LIT_INIT("\0\x01\x1f\x7f")},
         1,
         "a[\"\\u0000\\u0001\\u001f\x7f\"]"},
        {"200b..2010",
         {SPAN_LIT_INIT("\u200b\u200c\u200f\u2010")},
         1,
         "a[\"\u200b\\u200c\\u200f\u2010\"]"},
        {"2027..2030",
         {SPAN_LIT_INIT("\u2027\u2028\u202f\u2030")},
         1,
         "a[\"\u2027\\u2028\\u202f\u2030\"]"},
        {"205f..2070",
         {SPAN_LIT_INIT("\u205f\u2060\u206f\u2070")},
         1,
         "a[\"\u205f\\u2060\\u206f\u2070\"]"},
        {"ffef..ffff", {SPAN_LIT_INIT("\uffef\ufff0\uffff")}, 1, "a[\"\uffef\\ufff0\\uffff\"]"},
        {"beyond the first plane", {SPAN_LIT_INIT("\U0001f600")}, 1, "a[\"\U0001f600\"]"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct message messages[4];
        struct buf scratch;
        struct frame frame;
        for (size_t k = 0; k < cases[i].n; k++) {
            messages[k] = (struct message){cases[i].messages[k], true};
        }
        buf_init(&scratch, 4096);
        assert_int_equal(sockjs_dialect.encode(messages, cases[i].n, 0, &scratch, &frame), ERR_OK);
        check_span(cases[i].name, frame.bytes, span_str(cases[i].want));
        assert_true(frame.is_text);
        buf_fini(&scratch);
    }
}

static void an_encoder_without_room_fails(void **state)
{
    (void)state;
    const struct message message = {SPAN_LIT("0123456789"), true};
    struct frame frame;
    for (size_t max = 1; max <= 15; max++) {
        struct buf scratch;
        buf_init(&scratch, max);
        enum err e = sockjs_dialect.encode(&message, 1, 0, &scratch, &frame);
        assert_int_equal(e, max < 15 ? ERR_LIMIT : ERR_OK);
        buf_fini(&scratch);
    }
}

static void the_short_frames(void **state)
{
    (void)state;
    struct frame frame;
    assert_true(sockjs_dialect.hello(&frame));
    check_span("hello", frame.bytes, SPAN_LIT("o"));
    assert_true(sockjs_dialect.beat(&frame));
    check_span("beat", frame.bytes, SPAN_LIT("h"));
}

static void the_goodbye(void **state)
{
    (void)state;
    struct buf scratch;
    struct frame frame;
    unsigned transport_code = 0;
    buf_init(&scratch, 64);
    assert_true(
        sockjs_dialect.bye(3000, SPAN_LIT("Go \"away\"!"), &scratch, &frame, &transport_code));
    check_span("reason", frame.bytes, SPAN_LIT("c[3000,\"Go \\\"away\\\"!\"]"));
    assert_int_equal(transport_code, 1000); /* the WebSocket below it just ends */
    buf_clear(&scratch);
    assert_true(sockjs_dialect.bye(1000, SPAN_NONE, &scratch, &frame, &transport_code));
    check_span("no reason", frame.bytes, SPAN_LIT("c[1000,\"\"]"));
    buf_fini(&scratch);
    buf_init(&scratch, 8);
    assert_true(sockjs_dialect.bye(3000, SPAN_LIT("Go away!"), &scratch, &frame, &transport_code));
    check_span("no memory", frame.bytes, SPAN_LIT("c[1011,\"\"]"));
    buf_fini(&scratch);
}

/* -- decode ------------------------------------------------------------------------------------ */

#define BROKEN     "Broken JSON encoding."
#define NO_PAYLOAD "Payload expected."

static struct mount_rig rig;

static int set_up(void **state)
{
    (void)state;
    mount_start(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mount_stop(&rig);
    return 0;
}

static struct session *session_of(bool is_duplex)
{
    const struct route route = {.kind = ROUTE_TRANSPORT,
                                .index = is_duplex ? SOCKJS_WEBSOCKET : SOCKJS_XHR,
                                .sid = SPAN_LIT("abc")};
    return mount_session(&rig, &route);
}

/* `want`: what the uplink heard; `why` NULL = ERR_OK. On a POST and on a WebSocket. */
static const struct decode_case {
    const char *name;
    struct span in;
    const char *want_post, *why_post;
    const char *want_frame, *why_frame;
} decode_cases[] = {
    {"array of one", SPAN_LIT_INIT("[\"a\"]"), "(a)", NULL, "(a)", NULL},
    {"array of three", SPAN_LIT_INIT("[\"a\",\"\",\"c\"]"), "(a) () (c)", NULL, "(a) () (c)", NULL},
    {"blanks around", SPAN_LIT_INIT(" [ \"a\" , \"b\" ]\r\n\t"), "(a) (b)", NULL, "(a) (b)", NULL},
    {"empty array", SPAN_LIT_INIT("[]"), "", NULL, "", NULL},
    {"nothing", SPAN_LIT_INIT(""), "", NO_PAYLOAD, "", NULL},
    {"only blanks", SPAN_LIT_INIT("  "), "", BROKEN, "", BROKEN},
    {"a bare string", SPAN_LIT_INIT("\"a\\n\""), "", NO_PAYLOAD, "(a\n)", NULL},
    {"escapes", SPAN_LIT_INIT("[\"\\\"\\\\\\/\\u0041\\u00e9\"]"), "(\"\\/A\u00e9)", NULL,
     "(\"\\/A\u00e9)", NULL},
    {"a pair of surrogates", SPAN_LIT_INIT("[\"\\ud83d\\ude00\"]"), "(\U0001f600)", NULL,
     "(\U0001f600)", NULL},
    {"a high one alone", SPAN_LIT_INIT("[\"x\\ud83dy\"]"), "(x\ufffdy)", NULL, "(x\ufffdy)", NULL},
    {"a low one alone", SPAN_LIT_INIT("[\"\\ude00\",\"b\"]"), "(\ufffd) (b)", NULL, "(\ufffd) (b)",
     NULL},
    {"two high ones", SPAN_LIT_INIT("[\"\\ud83d\\ud83d\\ude00\"]"), "(\ufffd\U0001f600)", NULL,
     "(\ufffd\U0001f600)", NULL},
    {"raw UTF-8", SPAN_LIT_INIT("[\"\u00e9\u2028\"]"), "(\u00e9\u2028)", NULL, "(\u00e9\u2028)",
     NULL},
    {"not JSON", SPAN_LIT_INIT("x"), "", BROKEN, "", BROKEN},
    {"cut off", SPAN_LIT_INIT("[\"a\""), "", BROKEN, "", BROKEN},
    {"cut off in a string", SPAN_LIT_INIT("[\"a"), "", BROKEN, "", BROKEN},
    {"all or nothing", SPAN_LIT_INIT("[\"a\",\"b\",]"), "", BROKEN, "", BROKEN},
    {"all or nothing with one", SPAN_LIT_INIT("[\"a\",\"b"), "", BROKEN, "", BROKEN},
    {"text behind", SPAN_LIT_INIT("[\"a\"]x"), "", BROKEN, "", BROKEN},
    {"text behind a string", SPAN_LIT_INIT("\"a\" \"b\""), "", BROKEN, "", BROKEN},
    {"a number inside", SPAN_LIT_INIT("[\"a\",1]"), "", BROKEN, "", BROKEN},
    {"null inside", SPAN_LIT_INIT("[null]"), "", BROKEN, "", BROKEN},
    {"nested array", SPAN_LIT_INIT("[[\"a\"]]"), "", BROKEN, "", BROKEN},
    {"nested object", SPAN_LIT_INIT("[{\"a\":\"b\"}]"), "", BROKEN, "", BROKEN},
    {"an object", SPAN_LIT_INIT("{\"a\":\"b\"}"), "", NO_PAYLOAD, "", NO_PAYLOAD},
    {"a broken object", SPAN_LIT_INIT("{\"a\":}"), "", BROKEN, "", BROKEN},
    {"a number", SPAN_LIT_INIT("17"), "", NO_PAYLOAD, "", NO_PAYLOAD},
    {"true", SPAN_LIT_INIT("true"), "", NO_PAYLOAD, "", NO_PAYLOAD},
    {"bad UTF-8", SPAN_LIT_INIT("[\"\xff\"]"), "", BROKEN, "", BROKEN},
    {"a raw surrogate", SPAN_LIT_INIT("[\"\xed\xa0\x80\"]"), "", BROKEN, "", BROKEN},
    {"a raw control byte", SPAN_LIT_INIT("[\"a\nb\"]"), "", BROKEN, "", BROKEN},
    {"a NUL byte", SPAN_LIT_INIT("[\"a\0b\"]"), "", BROKEN, "", BROKEN},
    {"bad escape", SPAN_LIT_INIT("[\"\\x41\"]"), "", BROKEN, "", BROKEN},
};

static void decode_as(const struct decode_case *c, bool is_duplex, const char *want,
                      const char *want_why)
{
    const char *why = NULL;
    mount_start(&rig);
    struct session *session = session_of(is_duplex);
    /* A copy of just this size: the sanitizer sees a read beyond it. */
    char *in = malloc(c->in.len + (c->in.len == 0));
    assert_non_null(in);
    memcpy(in, c->in.ptr, c->in.len);
    enum err e = session_receive(session, span_of(in, c->in.len), true, &why);
    free(in);
    CHECK_INT(c->name, e, want_why != NULL ? ERR_SYNTAX : ERR_OK);
    if (want_why != NULL) {
        check_span(c->name, span_str(why), span_str(want_why));
    }
    struct record *record = &rig.uplinks[0].record;
    check_span(c->name, span_of(record->text, record->len), span_str(want));
    mount_stop(&rig);
}

static void input_is_decoded_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(decode_cases); i++) {
        const struct decode_case *c = &decode_cases[i];
        decode_as(c, false, c->want_post, c->why_post);
        decode_as(c, true, c->want_frame, c->why_frame);
    }
}

static size_t heard_len;

static void note_len(struct fake_uplink *fake, const struct message *message)
{
    heard_len = message->data.len;
    fake->record.len = 0;
}

static void a_coded_nul_is_a_character(void **state)
{
    (void)state;
    const char *why = NULL;
    struct session *session = session_of(false);
    rig.uplinks[0].on_message = note_len;
    assert_int_equal(session_receive(session, SPAN_LIT("[\"a\\u0000b\"]"), true, &why), ERR_OK);
    assert_int_equal(heard_len, 3);
}

/* `n` opening brackets are refused whatever `n` is; none may reach the stack of a reader. */
static void depth_and_number_of_elements_are_bounded(void **state)
{
    (void)state;
    const char *why = NULL;
    struct session *session = session_of(false);
    rig.uplinks[0].on_message = note_len;
    static char in[JSON_MAX_ELEMENTS * 3 + 16];
    for (size_t n = JSON_MAX_DEPTH; n <= JSON_MAX_DEPTH + 1; n++) {
        memset(in, '[', n);
        memset(in + n, ']', n);
        assert_int_equal(session_receive(session, span_of(in, 2 * n), true, &why), ERR_SYNTAX);
        assert_string_equal(why, BROKEN);
    }
    /* The array is a value too. */
    for (size_t n = JSON_MAX_ELEMENTS - 1; n <= JSON_MAX_ELEMENTS; n++) {
        uint64_t before = session->n_in;
        in[0] = '[';
        for (size_t i = 0; i < n; i++) {
            memcpy(in + 1 + 3 * i, "\"\",", 3);
        }
        in[3 * n] = ']';
        enum err e = session_receive(session, span_of(in, 3 * n + 1), true, &why);
        bool fits = n == JSON_MAX_ELEMENTS - 1;
        assert_int_equal(e, fits ? ERR_OK : ERR_LIMIT);
        assert_true(fits || strcmp(why, "Too many messages in one payload.") == 0);
        assert_true(session->n_in - before == (fits ? n : 0));
    }
}

/* -- URLs -------------------------------------------------------------------------------------- */

static const struct url_case {
    enum http_method method;
    const char *suffix;
    const char *want; /* "404", "page", "405 GET", "preflight ...", or transport and session id */
} url_cases[] = {
    {HTTP_GET, "", "page"},
    {HTTP_GET, "/", "page"},
    {HTTP_HEAD, "", "page"},
    {HTTP_POST, "", "405 GET"},
    {HTTP_GET, "//", "404"},
    {HTTP_GET, "///", "404"},
    {HTTP_GET, "/a", "404"},
    {HTTP_GET, "/a/a", "404"},
    {HTTP_GET, "/a/a/", "404"},
    {HTTP_GET, "/a/", "404"},
    {HTTP_GET, "/info", "page"},
    {HTTP_GET, "/info/", "page"},
    {HTTP_GET, "/info//", "404"},
    {HTTP_GET, "/Info", "404"},
    {HTTP_GET, "/infox", "404"},
    {HTTP_OPTIONS, "/info", "preflight OPTIONS, GET"},
    {HTTP_POST, "/info", "405 OPTIONS, GET"},
    {HTTP_OTHER, "/info", "405 OPTIONS, GET"},
    {HTTP_GET, "/iframe.html", "page"},
    {HTTP_GET, "/iframe-a.html", "page"},
    {HTTP_GET, "/iframe-0.1.2-abc_d.html", "page"},
    {HTTP_GET, "/iframe0.html", "page"},
    {HTTP_GET, "/iframe..html", "page"},
    {HTTP_POST, "/iframe.html", "405 GET"},
    {HTTP_GET, "/iframe", "404"},
    {HTTP_GET, "/iframe.htm", "404"},
    {HTTP_GET, "/iframehtml", "404"},
    {HTTP_GET, "/IFRAME.HTML", "404"},
    {HTTP_GET, "/iframe.HTML", "404"},
    {HTTP_GET, "/iframe-A.html", "404"},
    {HTTP_GET, "/iframe-/.html", "404"},
    {HTTP_GET, "/iframe-%20.html", "404"},
    {HTTP_GET, "/iframe.html/", "404"},
    {HTTP_POST, "/000/abc/xhr", "xhr abc"},
    {HTTP_POST, "/000/abc/xhr/", "xhr abc"},
    {HTTP_POST, "/000/abc/xhr//", "404"},
    {HTTP_POST, "/000/abc/xhr/x", "404"},
    {HTTP_POST, "/000/abc/XHR", "404"},
    {HTTP_POST, "/000/abc/xhr_", "404"},
    {HTTP_POST, "/any%20_/a%2fb_/xhr_streaming", "xhr_streaming a%2fb_"},
    {HTTP_POST, "/000/abc/xhr_send", "xhr_send abc"},
    {HTTP_OPTIONS, "/000/abc/xhr", "preflight OPTIONS, POST"},
    {HTTP_OPTIONS, "/000/abc/xhr_streaming", "preflight OPTIONS, POST"},
    {HTTP_OPTIONS, "/000/abc/xhr_send", "preflight OPTIONS, POST"},
    {HTTP_GET, "/000/abc/xhr", "405 OPTIONS, POST"},
    {HTTP_HEAD, "/000/abc/xhr_streaming", "405 OPTIONS, POST"},
    {HTTP_PUT, "/000/abc/xhr_send", "405 OPTIONS, POST"},
    {HTTP_GET, "/000/abc/websocket", "websocket abc"},
    {HTTP_GET, "/000/abc/websocket/", "websocket abc"},
    {HTTP_POST, "/000/abc/websocket", "405 GET"},
    {HTTP_OPTIONS, "/000/abc/websocket", "405 GET"},
    {HTTP_GET, "/websocket", "websocket "},
    {HTTP_GET, "/websocket/", "websocket "},
    {HTTP_GET, "/websocket//", "404"},
    {HTTP_POST, "/websocket", "405 GET"},
    {HTTP_POST, "//abc/xhr", "404"},
    {HTTP_POST, "/000//xhr", "404"},
    {HTTP_POST, "/000/abc//xhr", "404"},
    {HTTP_POST, "/000/abc/", "404"},
    {HTTP_POST, "/0.0/abc/xhr", "404"},
    {HTTP_POST, "/000/a.c/xhr", "404"},
    {HTTP_GET, "/000/a.c/xhr", "404"},
    {HTTP_POST, "/./abc/xhr", "404"},
    {HTTP_POST, "/000/../xhr", "404"},
    {HTTP_POST, "/000/a%00c/xhr", "404"},
    {HTTP_GET, "/000/a%00c/websocket", "404"},
    {HTTP_POST, "/0%0a/abc/xhr", "404"},
    {HTTP_POST, "/000/%0D/xhr", "404"},
    {HTTP_POST, "/000/a%1f/xhr", "404"},
    {HTTP_POST, "/000/a%1F/xhr", "404"},
    {HTTP_POST, "/000/a%7f/xhr", "404"},
    {HTTP_POST, "/000/a%7F/xhr", "404"},
    {HTTP_POST, "/000/a%20/xhr", "xhr a%20"},
    {HTTP_POST, "/000/a%7e/xhr", "xhr a%7e"},
    {HTTP_POST, "/000/a%80/xhr", "xhr a%80"},
    {HTTP_POST, "/000/a%0/xhr", "xhr a%0"}, /* no coded byte: judged as sent */
    {HTTP_GET, "/000/abc/eventsource", "eventsource abc"},
    {HTTP_GET, "/000/abc/eventsource/", "eventsource abc"},
    {HTTP_GET, "/000/abc/eventsource//", "404"},
    {HTTP_GET, "/000/a.c/eventsource", "404"},
    {HTTP_GET, "/000/a%00c/eventsource", "404"},
    {HTTP_GET, "/000/abc/EventSource", "404"},
    {HTTP_HEAD, "/000/abc/eventsource", "405 GET"},
    {HTTP_POST, "/000/abc/eventsource", "405 GET"},
    {HTTP_OPTIONS, "/000/abc/eventsource", "405 GET"},
    {HTTP_GET, "/000/abc/htmlfile", "htmlfile abc"},
    {HTTP_GET, "/000/abc/htmlfile/", "htmlfile abc"},
    {HTTP_GET, "/000//htmlfile", "404"},
    {HTTP_POST, "/000/abc/htmlfile", "405 GET"},
    {HTTP_OPTIONS, "/000/abc/htmlfile", "405 GET"},
    {HTTP_GET, "/000/abc/jsonp", "jsonp abc"},
    {HTTP_GET, "/000/abc/jsonp/", "jsonp abc"},
    {HTTP_GET, "/000/abc%0d/jsonp", "404"},
    {HTTP_HEAD, "/000/abc/jsonp", "405 GET"},
    {HTTP_POST, "/000/abc/jsonp", "405 GET"},
    {HTTP_OPTIONS, "/000/abc/jsonp", "405 GET"},
    {HTTP_POST, "/000/abc/jsonp_send", "jsonp_send abc"},
    {HTTP_POST, "/000/abc/jsonp_send/", "jsonp_send abc"},
    {HTTP_POST, "/000/a.c/jsonp_send", "404"},
    {HTTP_GET, "/000/abc/jsonp_send", "405 POST"},
    {HTTP_OPTIONS, "/000/abc/jsonp_send", "405 POST"},
    {HTTP_POST, "/000/abc/jsonp_", "404"},
    {HTTP_GET, "/sockjs.min.js", "page"},
    {HTTP_HEAD, "/sockjs.min.js", "page"},
    {HTTP_POST, "/sockjs.min.js", "405 GET"},
    {HTTP_GET, "/sockjs.min.js/", "404"},
    {HTTP_GET, "/sockjs.js", "404"},
};

/* The status of the page that really is given, and the methods that it names. */
static const char *page_of(enum http_method method, struct span suffix, char out[512])
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT", [HTTP_OPTIONS] = "OPTIONS", [HTTP_OTHER] = "BREW"};
    char request[512];
    int n = snprintf(request, sizeof request, "%s /echo%.*s HTTP/1.1\r\nHost: h\r\n\r\n",
                     names[method], SPAN_FMT(suffix));
    mount_say(&rig, 0, span_of(request, (size_t)n));
    const char *answer = mount_heard(&rig, 0).ptr;
    if (strncmp(answer, "HTTP/1.1 200 ", 13) == 0) {
        return "page";
    }
    const char *allow = strstr(answer, "\r\nAllow: ");
    const char *methods = strstr(answer, "-Methods: ");
    const char *list = allow != NULL ? allow + 9 : methods != NULL ? methods + 10 : "?";
    bool is_preflight = allow == NULL && strncmp(answer, "HTTP/1.1 204 ", 13) == 0;
    bool is_refused = allow != NULL && strncmp(answer, "HTTP/1.1 405 ", 13) == 0;
    (void)snprintf(out, 512, "%s %.*s",
                   is_preflight ? "preflight"
                   : is_refused ? "405"
                                : "?",
                   (int)strcspn(list, "\r"), list);
    return out;
}

static const char *classified(enum http_method method, struct span suffix, char out[512])
{
    const struct http1_head head = {.method = method};
    const struct http_req req = {.head = &head};
    struct route route;
    sockjs_dialect.classify(&rig.sockjs, &req, suffix, &route);
    if (route.kind == ROUTE_PAGE) {
        return page_of(method, suffix, out);
    }
    if (route.kind == ROUTE_NOT_FOUND) {
        return "404";
    }
    (void)snprintf(out, 512, "%s %.*s", sockjs_dialect.routes[route.index].transport,
                   (int)route.sid.len, route.sid.len != 0 ? route.sid.ptr : "");
    return out;
}

static void urls_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(url_cases); i++) {
        const struct url_case *c = &url_cases[i];
        char got[512];
        check_span(c->suffix, span_str(classified(c->method, span_str(c->suffix), got)),
                   span_str(c->want));
    }
}

static void session_ids_have_a_limit(void **state)
{
    (void)state;
    char url[256];
    char want[256];
    char got[512];
    for (int n = SID_MAX_BYTES; n <= SID_MAX_BYTES + 1; n++) {
        (void)snprintf(url, sizeof url, "/0/%0*d/xhr", n, 7);
        (void)snprintf(want, sizeof want, "xhr %0*d", n, 7);
        const char *is = classified(HTTP_POST, span_str(url), got);
        assert_string_equal(is, n == SID_MAX_BYTES ? want : "404");
    }
}

static void what_is_off_is_not_found(void **state)
{
    (void)state;
    static const char *const urls[SOCKJS_N_ROUTES] = {[SOCKJS_WEBSOCKET] = "/0/s/websocket",
                                                      [SOCKJS_XHR_STREAMING] = "/0/s/xhr_streaming",
                                                      [SOCKJS_XHR] = "/0/s/xhr",
                                                      [SOCKJS_XHR_SEND] = "/0/s/xhr_send",
                                                      [SOCKJS_EVENTSOURCE] = "/0/s/eventsource",
                                                      [SOCKJS_HTMLFILE] = "/0/s/htmlfile",
                                                      [SOCKJS_JSONP] = "/0/s/jsonp",
                                                      [SOCKJS_JSONP_SEND] = "/0/s/jsonp_send",
                                                      [SOCKJS_RAW_WEBSOCKET] = "/websocket"};
    static const enum http_method methods[] = {HTTP_GET, HTTP_POST, HTTP_OPTIONS};
    char got[512];
    for (unsigned off = 0; off < SOCKJS_N_ROUTES; off++) {
        rig.sockjs.enabled = ((1U << SOCKJS_N_ROUTES) - 1) & ~(1U << off);
        for (unsigned i = 0; i < SOCKJS_N_ROUTES; i++) {
            for (size_t k = 0; k < N_OF(methods); k++) {
                const char *is = classified(methods[k], span_str(urls[i]), got);
                CHECK(urls[i], (strcmp(is, "404") == 0) == (i == off));
            }
        }
    }
}

static void the_iframe_page_can_be_off(void **state)
{
    (void)state;
    char got[512];
    rig.sockjs.has_iframe = false;
    assert_string_equal(classified(HTTP_GET, SPAN_LIT("/iframe.html"), got), "404");
}

static void the_client_can_be_missing(void **state)
{
    (void)state;
    char got[512];
    rig.sockjs.client = SPAN_NONE;
    assert_string_equal(classified(HTTP_GET, SPAN_LIT("/sockjs.min.js"), got), "404");
}

static void urls_are_told_by_how_pages_ask_for_them(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *url;
        bool skips_origin, is_embedded;
    } cases[] = {
        {HTTP_GET, "", true, false},
        {HTTP_GET, "/", true, false},
        {HTTP_GET, "/sockjs.min.js", true, false},
        {HTTP_GET, "/info", false, false},
        {HTTP_GET, "/iframe.html", false, true},
        {HTTP_GET, "/0/s/eventsource", false, true},
        {HTTP_GET, "/0/s/htmlfile", false, true},
        {HTTP_GET, "/0/s/jsonp", false, true},
        {HTTP_POST, "/0/s/jsonp_send", false, false},
        {HTTP_POST, "/0/s/xhr", false, false},
        {HTTP_GET, "/0/s/websocket", false, false},
        {HTTP_GET, "/websocket", false, false},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        const struct http1_head head = {.method = cases[i].method};
        const struct http_req req = {.head = &head};
        struct route route;
        sockjs_dialect.classify(&rig.sockjs, &req, span_str(cases[i].url), &route);
        CHECK(cases[i].url, route.skips_origin == cases[i].skips_origin);
        CHECK(cases[i].url, route.is_embedded == cases[i].is_embedded);
    }
}

/* -- pages ------------------------------------------------------------------------------------- */

static void ask(const char *request)
{
    mount_say(&rig, 0, span_str(request));
}

static void the_greeting_page(void **state)
{
    (void)state;
    ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_HEARD(&rig, 0,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n"
                "Content-Length: 19\r\n\r\nWelcome to SockJS!\n");
    ask("POST /echo/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    CHECK_HEARD(&rig, 0,
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n");
}

/* Reads the entropy off the end of an answer and cuts it away. */
static unsigned long long cut_entropy(struct span *text)
{
    static const char key[] = "\"entropy\":";
    char *at = memmem(text->ptr, text->len, key, sizeof key - 1);
    assert_non_null(at);
    char *end = NULL;
    unsigned long long entropy = strtoull(at + sizeof key - 1, &end, 10);
    assert_string_equal(end, "}");
    text->len = (size_t)(at - text->ptr);
    return entropy;
}

static void check_info(const char *request, const char *fields, const char *body)
{
    ask(request);
    struct span got = mount_heard(&rig, 0);
    unsigned long long entropy = cut_entropy(&got);
    assert_true(entropy <= UINT32_MAX);
    char want[1024];
    (void)snprintf(want, sizeof want,
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\n" NOT_CACHED
                   "%sContent-Length: %d\r\n\r\n%s",
                   fields, (int)strlen(body) + snprintf(NULL, 0, "\"entropy\":%llu}", entropy),
                   body);
    check_span(request, got, span_str(want));
}

static void the_info_page(void **state)
{
    (void)state;
    rig.sockjs.cookie_needed = false;
    check_info("GET /echo/info?x=1 HTTP/1.1\r\nHost: h\r\n\r\n",
               "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n",
               "{\"websocket\":true,\"origins\":[\"*:*\"],\"cookie_needed\":false,");
    rig.sockjs.cookie_needed = true; /* and yet no cookie here */
    rig.sockjs.enabled &= ~(1U << SOCKJS_WEBSOCKET);
    check_info("GET /echo/info HTTP/1.1\r\nHost: h\r\nOrigin: null\r\nCookie: JSESSIONID=x\r\n\r\n",
               "Access-Control-Allow-Origin: null\r\nAccess-Control-Allow-Credentials: true\r\n"
               "Vary: Origin\r\n",
               "{\"websocket\":false,\"origins\":[\"*:*\"],\"cookie_needed\":true,");
}

static void entropy_is_new_each_time(void **state)
{
    (void)state;
    ask("GET /echo/info HTTP/1.1\r\nHost: h\r\n\r\n");
    struct span first = mount_heard(&rig, 0);
    unsigned long long one = cut_entropy(&first);
    ask("GET /echo/info HTTP/1.1\r\nHost: h\r\n\r\n");
    struct span second = mount_heard(&rig, 0);
    assert_true(cut_entropy(&second) != one);
}

/* Cuts the value of Expires, which is a date. */
static void check_without_expires(const char *want)
{
    struct span got = mount_heard(&rig, 0);
    char *at = memmem(got.ptr, got.len, "Expires: ", 9);
    assert_non_null(at);
    char *end = strstr(at, "\r\n");
    assert_non_null(end);
    assert_true(end - at == 9 + 29 && strncmp(end - 4, " GMT", 4) == 0);
    memmove(at + 9, end, strlen(end) + 1);
    check_span("page", span_str(got.ptr), span_str(want));
}

static void preflights(void **state)
{
    (void)state;
    ask("OPTIONS /echo/0/s/xhr HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\n"
        "Access-Control-Request-Headers: a, b\r\n\r\n");
    check_without_expires("HTTP/1.1 204 No Content\r\nCache-Control: public, max-age=31536000\r\n"
                          "Expires: \r\nAccess-Control-Allow-Origin: http://a\r\n"
                          "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
                          "Access-Control-Allow-Methods: OPTIONS, POST\r\n"
                          "Access-Control-Max-Age: 31536000\r\n"
                          "Access-Control-Allow-Headers: a, b\r\n\r\n");
    ask("OPTIONS /echo/info HTTP/1.1\r\nHost: h\r\nAccess-Control-Request-Headers:\r\n\r\n");
    check_without_expires("HTTP/1.1 204 No Content\r\nCache-Control: public, max-age=31536000\r\n"
                          "Expires: \r\nAccess-Control-Allow-Origin: *\r\nVary: Origin\r\n"
                          "Access-Control-Allow-Methods: OPTIONS, GET\r\n"
                          "Access-Control-Max-Age: 31536000\r\n\r\n");
    assert_int_equal(rig.n_sessions, 0);
}

static void a_wrong_method_is_told_what_is_allowed(void **state)
{
    (void)state;
    ask("GET /echo/0/s/xhr HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_HEARD(&rig, 0,
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: OPTIONS, POST\r\n"
                "Content-Length: 0\r\n\r\n");
}

static void the_iframe_page(void **state)
{
    (void)state;
    static const char body[] =
        "<!DOCTYPE html>\n<html>\n<head>\n"
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
        "  <script src=\"/sockjs.js\"></script>\n"
        "  <script>\n    document.domain = document.domain;\n"
        "    SockJS.bootstrap_iframe();\n  </script>\n"
        "</head>\n<body>\n  <h2>Don't panic!</h2>\n"
        "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n"
        "</body>\n</html>";
    rig.sockjs.cookie_needed = true;
    ask("GET /echo/iframe-1.html?t=x HTTP/1.1\r\nHost: h\r\n\r\n");
    char etag[64] = "";
    const char *written = rig.clients[0].io.written;
    assert_int_equal(sscanf(strstr(written, "ETag: "), "ETag: %63s", etag), 1);
    assert_true(etag[0] == '"' && etag[strlen(etag) - 1] == '"');
    char want[2048];
    (void)snprintf(want, sizeof want,
                   "HTTP/1.1 200 OK\r\nETag: %s\r\n"
                   "Cache-Control: public, max-age=31536000\r\nExpires: \r\n"
                   "Content-Type: text/html; charset=UTF-8\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   etag, sizeof body - 1, body);
    check_without_expires(want);
    char request[256];
    (void)snprintf(request, sizeof request,
                   "GET /echo/iframe.html HTTP/1.1\r\nHost: h\r\nIf-None-Match: %s\r\n\r\n", etag);
    ask(request);
    (void)snprintf(want, sizeof want,
                   "HTTP/1.1 304 Not Modified\r\nETag: %s\r\n"
                   "Cache-Control: public, max-age=31536000\r\nExpires: \r\n\r\n",
                   etag);
    check_without_expires(want);
}

/* Whether the answer to a GET of `path` has `text`. */
static bool answer_has(const char *path, const char *text)
{
    mount_get(&rig, 0, path);
    return strstr(mount_heard(&rig, 0).ptr, text) != NULL;
}

static void the_iframe_page_of_a_list_says_who_may_embed_it(void **state)
{
    (void)state;
    static const char *const listed[] = {"same-origin", "null", "https://a.example:8443"};
    rig.cors = (struct cors_policy){.same_origin = true, .origins = listed, .n_origins = 3};
    assert_true(answer_has("/iframe.html",
                           "\r\nCache-Control: no-cache\r\nContent-Security-Policy: "
                           "frame-ancestors 'self' https://a.example:8443\r\n"));
    assert_false(answer_has("/iframe.html", "Expires"));
    rig.cors = (struct cors_policy){.origins = listed + 1, .n_origins = 1};
    assert_true(answer_has("/iframe.html", "frame-ancestors 'none'\r\n"));
    rig.cors = (struct cors_policy){.any = true};
    assert_false(answer_has("/iframe.html", "Content-Security-Policy"));
}

static void the_iframe_page_loads_the_client_from_below_the_mount(void **state)
{
    (void)state;
    rig.sockjs.script_url = "";
    rig.sockjs.path = SPAN_LIT("/echo");
    assert_true(answer_has("/iframe.html", "<script src=\"/echo/sockjs.min.js\"></script>"));
    rig.sockjs.path = SPAN_NONE; /* a mount at the root */
    assert_true(answer_has("/iframe.html", "<script src=\"/sockjs.min.js\"></script>"));
}

static void the_client_is_served_with_a_tag(void **state)
{
    (void)state;
    char etag[64] = "";
    char text[512];
    ask("GET /echo/sockjs.min.js HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\n\r\n");
    const char *at = strstr(rig.clients[0].io.written, "ETag: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "ETag: %63s", etag), 1);
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 200 OK\r\nETag: %s\r\nCache-Control: no-cache\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "Content-Type: text/javascript; charset=UTF-8\r\n"
                   "Content-Length: 10\r\n\r\nvar SockJS",
                   etag);
    CHECK_HEARD(&rig, 0, text);
    (void)snprintf(text, sizeof text,
                   "GET /echo/sockjs.min.js HTTP/1.1\r\nHost: h\r\nIf-None-Match: W/%s\r\n\r\n",
                   etag);
    ask(text);
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 304 Not Modified\r\nETag: %s\r\nCache-Control: no-cache\r\n"
                   "X-Content-Type-Options: nosniff\r\n\r\n",
                   etag);
    CHECK_HEARD(&rig, 0, text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_exact),
        cmocka_unit_test(an_encoder_without_room_fails),
        cmocka_unit_test(the_short_frames),
        cmocka_unit_test(the_goodbye),
        cmocka_unit_test(input_is_decoded_all_or_nothing),
        TEST(a_coded_nul_is_a_character),
        TEST(depth_and_number_of_elements_are_bounded),
        TEST(urls_are_told_apart),
        TEST(session_ids_have_a_limit),
        TEST(what_is_off_is_not_found),
        TEST(the_iframe_page_can_be_off),
        TEST(the_client_can_be_missing),
        TEST(urls_are_told_by_how_pages_ask_for_them),
        TEST(the_greeting_page),
        TEST(the_info_page),
        TEST(entropy_is_new_each_time),
        TEST(preflights),
        TEST(a_wrong_method_is_told_what_is_allowed),
        TEST(the_iframe_page),
        TEST(the_iframe_page_of_a_list_says_who_may_embed_it),
        TEST(the_iframe_page_loads_the_client_from_below_the_mount),
        TEST(the_client_is_served_with_a_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
