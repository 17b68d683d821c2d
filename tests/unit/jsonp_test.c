/* jsonp: answers that call the page's function, and messages that come in forms. What all polls and
 * sends share is tested in xhr_test.c. */
#include "harness/mount_rig.h"

#define FIELDS                                                                                     \
    "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"              \
    "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"
#define SCRIPT                                                                                     \
    "Content-Type: application/javascript; charset=UTF-8\r\n"                                      \
    "X-Content-Type-Options: nosniff\r\n" FIELDS
#define POLLED(length, body) "HTTP/1.1 200 OK\r\n" SCRIPT "Content-Length: " length "\r\n\r\n" body
#define PLAIN                "Content-Type: text/plain; charset=UTF-8\r\n"
#define TAKEN                "HTTP/1.1 200 OK\r\n" PLAIN FIELDS "Content-Length: 2\r\n\r\nok"
#define BAD(fields, length, why)                                                                   \
    "HTTP/1.1 500 Internal Server Error\r\n" PLAIN fields "Content-Length: " length "\r\n\r\n" why
#define NO_PAYLOAD BAD(FIELDS, "17", "Payload expected.")
#define BROKEN     BAD(FIELDS, "21", "Broken JSON encoding.")
#define FORM       "application/x-www-form-urlencoded"

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

#define HEARD(i, want) check_span(__func__, mount_heard(&rig, i), span_str(want))
#define TOLD(want)     CHECK_RECORD(&rig.uplinks[0].record, want)

static void poll(int i)
{
    mount_get(&rig, i, "/0/sid/jsonp?c=%63b");
}

/* `type` NULL: no Content-Type. */
static void post(int i, const char *type, struct span body)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "POST /echo/0/sid/jsonp_send?i=a1 HTTP/1.1\r\nHost: h\r\n%s%s%s"
                     "Content-Length: %zu\r\n\r\n%.*s",
                     type != NULL ? "Content-Type: " : "", type != NULL ? type : "",
                     type != NULL ? "\r\n" : "", body.len, SPAN_FMT(body));
    assert_true(n > 0 && (size_t)n < sizeof text);
    mount_say(&rig, i, span_of(text, (size_t)n));
}

static void open_by_poll(void)
{
    poll(0);
    HEARD(0, POLLED("14", "/**/cb(\"o\");\r\n"));
}

/* -- polling ----------------------------------------------------------------------------------- */

static void a_poll_calls_back(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    mount_send(&rig, 0, "a");
    mount_send(&rig, 0, "</script>");
    rig_turn(&rig.rig);
    HEARD(0, POLLED("40", "/**/cb(\"a[\\\"a\\\",\\\"\\u003c/script>\\\"]\");\r\n"));
}

/* The request is long gone when the frame comes, and others have been asked since. */
static void each_poll_has_its_own_callback(void **state)
{
    (void)state;
    open_by_poll();
    mount_get(&rig, 0, "/0/sid/jsonp?c=first");
    mount_get(&rig, 1, "/0/sid/jsonp?callback=second");
    HEARD(1, POLLED("58", "/**/second(\"c[2010,\\\"Another connection still open\\\"]\");\r\n"));
    mount_get(&rig, 1, "/0/other/jsonp?c=third");
    HEARD(1, POLLED("17", "/**/third(\"o\");\r\n"));
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, POLLED("17", "/**/first(\"h\");\r\n"));
}

static void a_closed_session_says_so(void **state)
{
    (void)state;
    open_by_poll();
    session_close(rig.sessions[0], 3000, SPAN_LIT("Go away!"));
    for (int i = 0; i < 2; i++) {
        poll(0);
        HEARD(0, POLLED("33", "/**/cb(\"c[3000,\\\"Go away!\\\"]\");\r\n"));
    }
}

static void http_1_0_is_told_of_the_end(void **state)
{
    (void)state;
    mount_say(&rig, 0, SPAN_LIT("GET /echo/0/sid/jsonp?c=x HTTP/1.0\r\n\r\n"));
    HEARD(0, "HTTP/1.1 200 OK\r\nConnection: close\r\n" SCRIPT
             "Content-Length: 13\r\n\r\n/**/x(\"o\");\r\n");
    assert_int_equal(rig.clients[0].io.n_shutdowns, 1);
}

static void without_a_good_callback_there_is_no_session(void **state)
{
    (void)state;
    mount_get(&rig, 0, "/0/sid/jsonp");
    HEARD(0, BAD("", "29", "\"callback\" parameter required"));
    mount_get(&rig, 0, "/0/sid/jsonp?c=abc%28");
    HEARD(0, BAD("", "28", "invalid \"callback\" parameter"));
    assert_int_equal(rig.n_sessions, 0);
}

static void a_frame_that_cannot_be_quoted_is_lost(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    buf_fini(&rig.rig.kit.dress_scratch);
    buf_init(&rig.rig.kit.dress_scratch, 2);
    mount_send(&rig, 0, "a");
    rig_turn(&rig.rig);
    HEARD(0, "");
    TOLD("<closed 1006 Connection lost>");
    assert_int_equal(rig.rig.kit.counters.out_of_memory, 1);
}

/* -- sending ----------------------------------------------------------------------------------- */

static void bodies_are_forms_or_the_payload(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *type;
        const char *body;
        const char *want;
        const char *told;
    } cases[] = {
        {"form", FORM, "d=%5B%22x%22%5D", TAKEN, "(x)"},
        {"form, not coded", FORM, "d=[\"x\"]", TAKEN, "(x)"},
        {"form with a charset", FORM "; charset=UTF-8", "d=%5B%22x%22%5D", TAKEN, "(x)"},
        {"form in capitals", "Application/X-WWW-Form-Urlencoded ;a=b", "d=[%22x%22]", TAKEN, "(x)"},
        {"among others", FORM, "a=1&dd=2&d=%5B%22x%22%5D&d=3&e", TAKEN, "(x)"},
        {"plus is a blank", FORM, "d=%5B%22a+b%2Bc%22%5D", TAKEN, "(a b+c)"},
        {"UTF-8", FORM, "d=%5B%22%C3%A9%f0%9f%98%80%22%5D", TAKEN, "(\u00e9\U0001f600)"},
        {"coded twice", FORM, "d=%5B%22%252B%22%5D", TAKEN, "(%2B)"},
        {"a lone surrogate", FORM, "d=%5B%22%5Cud800%22%5D", TAKEN, "(\ufffd)"},
        {"several", FORM, "d=%5B%22a%22%2C%22b%22%5D", TAKEN, "(a) (b)"},
        {"no message", FORM, "d=%5B%5D", TAKEN, ""},
        {"cut JSON", FORM, "d=%5B%22x", BROKEN, ""},
        {"bad UTF-8", FORM, "d=%5B%22%ff%22%5D", BROKEN, ""},
        {"NUL", FORM, "d=%5B%22%00%22%5D", BROKEN, ""},
        {"no array", FORM, "d=%22x%22", NO_PAYLOAD, ""},
        {"empty field", FORM, "d=", NO_PAYLOAD, ""},
        {"field without value", FORM, "d", NO_PAYLOAD, ""},
        {"another field", FORM, "p=p", NO_PAYLOAD, ""},
        {"name in capitals", FORM, "D=%5B%22x%22%5D", NO_PAYLOAD, ""},
        {"empty", FORM, "", NO_PAYLOAD, ""},
        {"bad code", FORM, "d=%5B%22x%22%5", NO_PAYLOAD, ""},
        {"bad code in front", FORM, "d=%zz[\"x\"]", NO_PAYLOAD, ""},
        {"JSON sent as a form", FORM, "[\"x\"]", NO_PAYLOAD, ""},
        {"text is not decoded", "text/plain", "[\"%61+b\"]", TAKEN, "(%61+b)"},
        {"text with a charset", "text/plain; charset=UTF-8", "[\"x\"]", TAKEN, "(x)"},
        {"a form sent as text", "text/plain", "d=%5B%22x%22%5D", BROKEN, ""},
        {"empty text", "text/plain", "", NO_PAYLOAD, ""},
        {"another type", "application/json", "[\"x\"]", TAKEN, "(x)"},
        {"a type that only begins so", FORM "2", "[\"x\"]", TAKEN, "(x)"},
        {"an empty type", "", "[\"x\"]", TAKEN, "(x)"},
        {"no type", NULL, "[\"x\"]", TAKEN, "(x)"},
    };
    open_by_poll();
    for (size_t i = 0; i < N_OF(cases); i++) {
        post(1, cases[i].type, span_str(cases[i].body));
        check_span(cases[i].name, mount_heard(&rig, 1), span_str(cases[i].want));
        struct record *record = &rig.uplinks[0].record;
        check_span(cases[i].name, span_of(record->text, record->len), span_str(cases[i].told));
        record->len = 0;
    }
}

static void a_form_may_come_in_pieces(void **state)
{
    (void)state;
    open_by_poll();
    mount_say(&rig, 1,
              SPAN_LIT("POST /echo/0/sid/jsonp_send HTTP/1.1\r\nHost: h\r\nContent-Type: " FORM
                       "\r\nContent-Length: 15\r\n\r\nd=%5B%22"));
    HEARD(1, "");
    mount_say(&rig, 1, SPAN_LIT("x%22%5D"));
    HEARD(1, TAKEN);
    TOLD("(x)");
}

static void a_form_is_held_while_the_backend_is_full(void **state)
{
    (void)state;
    open_by_poll();
    session_pause_input(rig.sessions[0], true);
    post(1, FORM, SPAN_LIT("d=%5B%22x%22%5D"));
    HEARD(1, "");
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    HEARD(1, TAKEN);
    TOLD("(x)");
}

static void close_it(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_close(fake->ctx, 3000, SPAN_LIT("x"));
}

static void a_form_may_end_its_session(void **state)
{
    (void)state;
    open_by_poll();
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = close_it;
    post(1, FORM, SPAN_LIT("d=%5B%22a%22%2C%22b%22%5D"));
    HEARD(1, TAKEN);
    TOLD("(a) <closed 3000 x>");
}

static void a_form_over_the_limit_is_refused(void **state)
{
    (void)state;
    open_by_poll();
    rig.transports[SOCKJS_JSONP_SEND].max_message_bytes = 14;
    post(1, FORM, SPAN_LIT("d=%5B%22x%22%5D"));
    struct span got = mount_heard(&rig, 1);
    assert_true(span_starts_with(got, SPAN_LIT("HTTP/1.1 413 ")));
    TOLD("");
}

static void an_unknown_session_is_404(void **state)
{
    (void)state;
    post(1, FORM, SPAN_LIT("d=%5B%22x%22%5D"));
    struct span got = mount_heard(&rig, 1);
    assert_true(span_starts_with(got, SPAN_LIT("HTTP/1.1 404 ")));
    assert_int_equal(rig.n_sessions, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_poll_calls_back),
        TEST(each_poll_has_its_own_callback),
        TEST(a_closed_session_says_so),
        TEST(http_1_0_is_told_of_the_end),
        TEST(without_a_good_callback_there_is_no_session),
        TEST(a_frame_that_cannot_be_quoted_is_lost),
        TEST(bodies_are_forms_or_the_payload),
        TEST(a_form_may_come_in_pieces),
        TEST(a_form_is_held_while_the_backend_is_full),
        TEST(a_form_may_end_its_session),
        TEST(a_form_over_the_limit_is_refused),
        TEST(an_unknown_session_is_404),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
