/* websocket_open: subprotocols, and handshakes that wait for the handler: what the client hears,
 * that nothing of it is read before, and every way in which the waiting can end. */
#include "harness/websocket_rig.h"

#define OFFERS "Sec-WebSocket-Protocol: chat, x.v2\r\nSec-WebSocket-Protocol: echo.v1\r\n"
#define FIELDS                                                                                     \
    " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" OFFERS                 \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define REFUSED(line, more, length, body)                                                          \
    "HTTP/1.1 " line "\r\n" more                                                                   \
    "Content-Type: text/plain; charset=UTF-8\r\nContent-Length: " length "\r\n\r\n" body

static const char *const spoken[] = {"echo.v1", "chat"};

/* The 101 with `field`, a whole line or nothing. */
static void check_switched(int i, const char *field)
{
    char want[512];
    size_t len = sizeof SWITCHED - 1 - 2;
    (void)snprintf(want, sizeof want, "%.*s%s\r\n", (int)len, SWITCHED, field);
    check_span(field, mount_heard(&rig, i), span_str(want));
}

static void speak(size_t n)
{
    rig.transports[SOCKJS_RAW_WEBSOCKET].subprotocols = spoken;
    rig.transports[SOCKJS_RAW_WEBSOCKET].n_subprotocols = n;
    rig.transports[SOCKJS_WEBSOCKET].subprotocols = spoken;
    rig.transports[SOCKJS_WEBSOCKET].n_subprotocols = n;
}

/* A raw WebSocket whose handshake waits, with a message right behind its request. */
static void ask(int i)
{
    char bytes[1024];
    struct span request = SPAN_LIT("GET /echo/websocket" FIELDS);
    rig.must_wait = true;
    memcpy(bytes, request.ptr, request.len);
    size_t n = request.len + put_frame(bytes + request.len, FIN | WS_TEXT, SPAN_LIT("early"));
    mount_say(&rig, i, span_of(bytes, n));
}

static void accept_as(int i, struct span subprotocol)
{
    session_accept(rig.sessions[i], subprotocol);
    rig_turn(&rig.rig);
}

/* -- subprotocols ------------------------------------------------------------------------------ */

static void the_first_offer_that_is_spoken_is_chosen(void **state)
{
    (void)state;
    static const char *const fields[] = {"", "Sec-WebSocket-Protocol: echo.v1\r\n",
                                         "Sec-WebSocket-Protocol: chat\r\n"};
    for (int n = 0; n < 3; n++) {
        speak((size_t)n);
        mount_say(&rig, n, SPAN_LIT("GET /echo/websocket" FIELDS));
        check_switched(n, fields[n]);
    }
    mount_say(&rig, 3, SPAN_LIT("GET /echo/websocket" UPGRADE));
    check_switched(3, ""); /* none was offered */
}

static void a_malformed_offer_is_refused(void **state)
{
    (void)state;
    mount_say(&rig, 0,
              SPAN_LIT("GET /echo/websocket HTTP/1.1\r\nSec-WebSocket-Protocol: a,\"b\"\r\nHost: "
                       "h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
                       "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    CHECK_HEARD(&rig, 0,
                REFUSED("400 Bad Request", "", "53",
                        "Sec-WebSocket-Protocol is a list of different tokens."));
    assert_int_equal(rig.n_sessions, 0);
}

/* -- waiting ----------------------------------------------------------------------------------- */

static void nothing_is_said_or_read_before_the_accept(void **state)
{
    (void)state;
    speak(2);
    ask(0);
    rig_pass(&rig.rig, 9999);
    mount_send(&rig, 0, "queued");
    CHECK_HEARD(&rig, 0, "");
    TOLD("");
    accept_as(0, SPAN_NONE);
    struct span heard = mount_heard(&rig, 0);
    assert_true(span_starts_with(heard, SPAN_LIT("HTTP/1.1 101 ")));
    check_span("behind the head", span_skip(heard, heard.len - 12),
               SPAN_LIT("\r\n\r\n\x81\x06queued"));
    TOLD("(early)");
}

static void what_the_client_said_meanwhile_comes_then(void **state)
{
    (void)state;
    ask(0);
    say_text(0, "later");
    TOLD("");
    accept_as(0, SPAN_NONE);
    check_switched(0, "");
    TOLD("(early) (later)");
    mount_echo(&rig, 0);
    say_text(0, "hi");
    HEARD(0, "text(hi)");
    TOLD("(hi)");
}

static void the_handler_may_choose_any_offer(void **state)
{
    (void)state;
    speak(1);
    ask(0);
    accept_as(0, SPAN_LIT("x.v2")); /* which the mount does not know */
    check_switched(0, "Sec-WebSocket-Protocol: x.v2\r\n");
    TOLD("(early)");
}

static void but_no_other(void **state)
{
    (void)state;
    static const char *const names[] = {"chat2", "cha", "Chat", "chat,x.v2", ",", "chat\r\nX: y"};
    for (size_t i = 0; i < N_OF(names); i++) {
        ask(0);
        accept_as(0, span_str(names[i]));
        CHECK_HEARD(&rig, 0,
                    REFUSED("500 Internal Server Error", "Connection: close\r\n", "27",
                            "Subprotocol was not offered"));
        TOLD("<closed 1011 Subprotocol was not offered>");
        assert_true(has_ended(0));
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void a_reject_is_an_answer(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        const char *reason;
        const char *want;
    } cases[] = {
        {4001, "Sign in first", REFUSED("403 Forbidden", "", "13", "Sign in first")},
        {1000, "", REFUSED("403 Forbidden", "", "0", "")},
        {1011, "Out of memory",
         REFUSED("500 Internal Server Error", "Connection: close\r\n", "13", "Out of memory")},
        {1012, "Service restart",
         REFUSED("503 Service Unavailable", "Connection: close\r\n", "15", "Service restart")},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        rig.must_wait = true;
        mount_say(&rig, 0, SPAN_LIT("GET /echo/websocket" FIELDS));
        mount_send(&rig, 0, "for nobody");
        session_close(rig.sessions[0], cases[i].code, span_str(cases[i].reason));
        rig_turn(&rig.rig);
        check_span(cases[i].want, mount_heard(&rig, 0), span_str(cases[i].want));
        rig.uplinks[0].record.len = 0;
        assert_true(LIST_EMPTY(&rig.all));
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void nobody_decides_in_time(void **state)
{
    (void)state;
    ask(0);
    rig_pass(&rig.rig, 10000);
    CHECK_HEARD(&rig, 0,
                REFUSED("503 Service Unavailable", "Connection: close\r\n", "31",
                        "No handler accepted the session"));
    TOLD("<closed 1013 No handler accepted the session>");
}

/* The peer of a refused handshake may go on with HTTP. */
static void a_refused_connection_goes_on(void **state)
{
    (void)state;
    rig.must_wait = true;
    mount_say(&rig, 0, SPAN_LIT("GET /echo/websocket" FIELDS));
    session_close(rig.sessions[0], 3000, SPAN_LIT("No"));
    rig_turn(&rig.rig);
    CHECK_HEARD(&rig, 0, REFUSED("403 Forbidden", "", "2", "No"));
    mount_say(&rig, 0, SPAN_LIT("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(span_starts_with(mount_heard(&rig, 0), SPAN_LIT("HTTP/1.1 200 OK\r\n")));
    TOLD("<closed 3000 No>");
}

static void the_client_does_not_wait(void **state)
{
    (void)state;
    ask(0);
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection lost>");
    assert_true(LIST_EMPTY(&rig.all));
}

static void our_end_comes_first(void **state)
{
    (void)state;
    ask(0);
    session_abort(rig.sessions[0]);
    assert_int_equal(rig.clients[0].io.n_closes, 1);
    rig_turn(&rig.rig);
    CHECK_HEARD(&rig, 0, "");
    TOLD("<closed 1001 Server shutting down>");
}

static void a_pause_from_before_holds(void **state)
{
    (void)state;
    ask(0);
    session_pause_input(rig.sessions[0], true);
    accept_as(0, SPAN_NONE);
    check_switched(0, "");
    TOLD("");
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("(early)");
}

static void a_sockjs_client_is_told_by_its_hello(void **state)
{
    (void)state;
    speak(2);
    rig.must_wait = true;
    mount_say(&rig, 0, SPAN_LIT("GET /echo/000/s/websocket" FIELDS));
    check_switched(0, "Sec-WebSocket-Protocol: chat\r\n");
    accept_as(0, SPAN_LIT("nonsense"));
    HEARD(0, "text(o)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_offer_that_is_spoken_is_chosen),
        TEST(a_malformed_offer_is_refused),
        TEST(nothing_is_said_or_read_before_the_accept),
        TEST(what_the_client_said_meanwhile_comes_then),
        TEST(the_handler_may_choose_any_offer),
        TEST(but_no_other),
        TEST(a_reject_is_an_answer),
        TEST(nobody_decides_in_time),
        TEST(a_refused_connection_goes_on),
        TEST(the_client_does_not_wait),
        TEST(our_end_comes_first),
        TEST(a_pause_from_before_holds),
        TEST(a_sockjs_client_is_told_by_its_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
