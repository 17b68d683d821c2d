/* transports/hixie76: from the 101 that comes before the nonce to the closing frames, over scripted
 * connections. What the codec refuses byte for byte is in hixie76_test.c. */
#include "harness/mount_rig.h"
#include "transports/hixie76.h"

#define HEAD                                                                                       \
    " HTTP/1.1\r\nHost: h:80\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"                     \
    "Origin: http://a.example\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"                     \
    "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"
#define SWITCHED(url)                                                                              \
    "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"   \
    "Sec-WebSocket-Origin: http://a.example\r\nSec-WebSocket-Location: " url "\r\n\r\n"
#define NONCE  "^n:ds[4U"
#define ANSWER "8jKS'y:G*Co,Wxa-" /* to both, from the draft */

#define SOCKJS "/echo/000/s/websocket"
#define RAW    "/echo/websocket"

static struct mount_rig rig;

static int set_up(void **state)
{
    (void)state;
    mount_start(&rig);
    rig.transports[SOCKJS_WEBSOCKET].hixie76 = true;
    rig.transports[SOCKJS_RAW_WEBSOCKET].hixie76 = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mount_stop(&rig);
    return 0;
}

static void start_anew(void)
{
    (void)tear_down(NULL);
    (void)set_up(NULL);
}

#define SAY(i, literal)   mount_say(&rig, i, SPAN_LIT(literal))
#define HEARD(i, literal) check_span(__func__, mount_heard(&rig, i), SPAN_LIT(literal))
#define TOLD(want)        CHECK_RECORD(&rig.uplinks[0].record, want)

static void connect_sockjs(void)
{
    SAY(0, "GET " SOCKJS HEAD NONCE);
    HEARD(0, SWITCHED("ws://h:80" SOCKJS) ANSWER "\0o\xff");
}

static void connect_raw(void)
{
    SAY(0, "GET " RAW HEAD NONCE);
    HEARD(0, SWITCHED("ws://h:80" RAW) ANSWER);
}

static bool has_ended(int i)
{
    return rig.clients[i].io.n_shutdowns == 1;
}

/* -- opening ----------------------------------------------------------------------------------- */

static void the_head_leaves_before_the_nonce_comes(void **state)
{
    (void)state;
    SAY(0, "GET " SOCKJS HEAD);
    HEARD(0, SWITCHED("ws://h:80" SOCKJS));
    SAY(0, "^n:ds[4");
    HEARD(0, "");
    SAY(0, "U");
    HEARD(0, ANSWER "\0o\xff");
    SAY(0, "\0[\"x\"]\xff");
    TOLD("(x)");
    assert_true(rig.rig.kit.counters.websocket_upgrades == 1);
}

static void the_location_is_the_url_as_the_client_sees_it(void **state)
{
    (void)state;
    SAY(0, "GET " RAW "?a=b%20?" HEAD);
    HEARD(0, SWITCHED("ws://h:80" RAW "?a=b%20?"));
    SAY(1, "GET " RAW "?" HEAD);
    HEARD(1, SWITCHED("ws://h:80" RAW "?"));
    SAY(2, "GET http://other:81" RAW HEAD);
    HEARD(2, SWITCHED("ws://other:81" RAW));
}

static void without_an_origin_none_is_said(void **state)
{
    (void)state;
    SAY(0, "GET " RAW " HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
           "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n");
    HEARD(0, "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: "
             "Upgrade\r\nSec-WebSocket-Location: ws://h" RAW "\r\n\r\n");
}

static void the_first_offer_that_the_mount_knows_is_chosen(void **state)
{
    (void)state;
    static const char *const known[] = {"chat", "echo.v1"};
    static const struct {
        const char *offers;
        const char *chosen; /* NULL = none */
    } cases[] = {
        {"echo.v1, chat", "echo.v1"},
        {"x, chat", "chat"},
        {"x", NULL},
        {"Chat", NULL},
    };
    rig.transports[SOCKJS_RAW_WEBSOCKET].subprotocols = known;
    rig.transports[SOCKJS_RAW_WEBSOCKET].n_subprotocols = N_OF(known);
    for (int i = 0; i < (int)N_OF(cases); i++) {
        char text[512];
        char want[64];
        int n = snprintf(text, sizeof text, "GET " RAW " HTTP/1.1\r\nSec-WebSocket-Protocol: %s%s",
                         cases[i].offers, strchr(HEAD, '\r'));
        mount_say(&rig, i, span_of(text, (size_t)n));
        (void)snprintf(want, sizeof want, "\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                       cases[i].chosen != NULL ? cases[i].chosen : "");
        const char *heard = mount_heard(&rig, i).ptr;
        bool is_said = strstr(heard, "Sec-WebSocket-Protocol") != NULL;
        CHECK(cases[i].offers, strncmp(heard, "HTTP/1.1 101 ", 13) == 0);
        CHECK(cases[i].offers, is_said == (cases[i].chosen != NULL));
        CHECK(cases[i].offers, !is_said || strstr(heard, want) != NULL);
    }
}

static void the_handler_accepts_behind_the_answer(void **state)
{
    (void)state;
    rig.must_wait = true;
    SAY(0, "GET " RAW HEAD NONCE "\0early\xff");
    HEARD(0, SWITCHED("ws://h:80" RAW) ANSWER);
    mount_send(&rig, 0, "hi");
    rig_turn(&rig.rig);
    HEARD(0, "");
    session_accept(rig.sessions[0], SPAN_NONE);
    rig_turn(&rig.rig);
    HEARD(0, "\0hi\xff");
    SAY(1, "GET " SOCKJS HEAD); /* before the nonce */
    session_accept(rig.sessions[1], SPAN_NONE);
    rig_turn(&rig.rig);
    (void)mount_heard(&rig, 1);
    SAY(1, NONCE);
    HEARD(1, ANSWER "\0o\xff");
}

static void wrong_keys_are_400_and_the_end(void **state)
{
    (void)state;
    SAY(0, "GET " RAW " HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key1: 12\r\nSec-WebSocket-Key2: 1 2\r\n\r\n" NONCE);
    HEARD(0, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
             "Content-Type: text/plain; charset=UTF-8\r\nContent-Length: 82\r\n\r\n"
             "One Sec-WebSocket-Key1 and -Key2 are needed, with a number that its blanks divide.");
    assert_true(has_ended(0));
    assert_int_equal(rig.n_sessions, 0);
}

static void where_it_is_off_there_is_no_version(void **state)
{
    (void)state;
    rig.transports[SOCKJS_RAW_WEBSOCKET].hixie76 = false;
    SAY(0, "GET " RAW HEAD);
    CHECK("400", span_starts_with(mount_heard(&rig, 0), SPAN_LIT("HTTP/1.1 400 ")));
    assert_int_equal(rig.n_sessions, 0);
}

static void rfc_6455_goes_on_beside_it(void **state)
{
    (void)state;
    SAY(0, "GET " RAW " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
           "\x81\x82\0\0\0\0hi");
    CHECK("101", span_starts_with(mount_heard(&rig, 0), SPAN_LIT("HTTP/1.1 101 Switching ")));
    TOLD("(hi)");
}

static void what_is_sent_meanwhile_comes_behind_the_answer(void **state)
{
    (void)state;
    SAY(0, "GET " SOCKJS HEAD);
    (void)mount_heard(&rig, 0);
    mount_send(&rig, 0, "a");
    mount_send(&rig, 0, "b");
    rig_turn(&rig.rig);
    HEARD(0, "");
    SAY(0, NONCE);
    HEARD(0, ANSWER "\0o\xff\0a[\"a\",\"b\"]\xff");
}

static void a_close_meanwhile_is_said_behind_the_answer(void **state)
{
    (void)state;
    SAY(0, "GET " SOCKJS HEAD);
    (void)mount_heard(&rig, 0);
    session_close(rig.sessions[0], 3000, SPAN_LIT("Go away!"));
    rig_turn(&rig.rig);
    HEARD(0, "");
    TOLD("<closed 3000 Go away!>");
    SAY(0, NONCE);
    HEARD(0, ANSWER "\0o\xff\0c[3000,\"Go away!\"]\xff\xff\0");
    SAY(0, "\xff\0");
    assert_true(has_ended(0));
}

static void a_nonce_that_does_not_come(void **state)
{
    (void)state;
    SAY(0, "GET " SOCKJS HEAD);
    (void)mount_heard(&rig, 0);
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 2);
    SAY(0, "1234567"); /* does not move the deadline */
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 2 - 1);
    TOLD("");
    rig_pass(&rig.rig, 1);
    TOLD("<closed 1006 No nonce came>");
    assert_true(has_ended(0));
    assert_true(LIST_EMPTY(&rig.all));
}

static void a_client_that_leaves_before_its_nonce(void **state)
{
    (void)state;
    SAY(0, "GET " SOCKJS HEAD "1234");
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection ended without a closing frame>");
    SAY(1, "GET " SOCKJS HEAD "1234");
    scripted_feed_error(&rig.clients[1].io);
    conn_poke(rig.clients[1].conn);
    rig_turn(&rig.rig);
    CHECK_RECORD(&rig.uplinks[1].record, "<closed 1006 Connection lost>");
}

static void a_pause_does_not_keep_the_nonce(void **state)
{
    (void)state;
    SAY(0, "GET " RAW HEAD);
    (void)mount_heard(&rig, 0);
    session_pause_input(rig.sessions[0], true);
    SAY(0, NONCE "\0a\xff");
    HEARD(0, ANSWER);
    TOLD("");
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("(a)");
}

/* -- messages ---------------------------------------------------------------------------------- */

static void messages_are_echoed(void **state)
{
    (void)state;
    connect_raw();
    mount_echo(&rig, 0);
    SAY(0, "\0hi\xff\0\xff\0\xc3\xa5\xff");
    HEARD(0, "\0hi\xff\0\xff\0\xc3\xa5\xff");
    TOLD("(hi) () (\u00e5)");
}

static void every_split_is_the_same(void **state)
{
    (void)state;
    static const char bytes[] = NONCE "\0[\"a\"]\xff\0\xff\0[\"b\",\"c\"]\xff\xff\0";
    size_t n = sizeof bytes - 1;
    for (size_t step = 1; step <= n; step++) {
        SAY(0, "GET " SOCKJS HEAD);
        for (size_t at = 0; at < n; at += step) {
            mount_say(&rig, 0, span_of(bytes + at, step < n - at ? step : n - at));
        }
        HEARD(0, SWITCHED("ws://h:80" SOCKJS) ANSWER "\0o\xff\xff\0");
        TOLD("(a) (b) (c) <closed 1005 >");
        assert_true(has_ended(0));
        start_anew();
    }
}

static void a_large_message_comes_in_many_reads(void **state)
{
    (void)state;
    static char text[MOUNT_MAX_MESSAGE_BYTES];
    memset(text, 'x', sizeof text);
    connect_raw();
    SAY(0, "\0");
    mount_say(&rig, 0, span_of(text, 40000));
    mount_say(&rig, 0, span_of(text, 30000));
    SAY(0, "\xff\0y\xff");
    TOLD("(70000 bytes) (y)");
}

static void a_binary_message_ends_the_session(void **state)
{
    (void)state;
    const struct message binary = {SPAN_LIT("\xff"), false};
    connect_raw();
    assert_int_equal(session_send(rig.sessions[0], &binary), ERR_PROTO);
    rig_turn(&rig.rig);
    TOLD("<closed 1003 The client takes no binary messages>");
    HEARD(0, "\xff\0");
    start_anew();
    SAY(0, "GET " RAW HEAD); /* queued before the nonce has come */
    (void)mount_heard(&rig, 0);
    mount_send(&rig, 0, "text");
    assert_int_equal(session_send(rig.sessions[0], &binary), ERR_OK);
    SAY(0, NONCE);
    TOLD("<closed 1003 The client takes no binary messages>");
    HEARD(0, ANSWER "\0text\xff\xff\0");
}

static void heartbeats_are_frames(void **state)
{
    (void)state;
    connect_sockjs();
    for (int i = 0; i < 3; i++) {
        rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
        HEARD(0, "\0h\xff");
    }
    TOLD(""); /* nobody waits for a pong */
}

static void a_quiet_raw_session_lives(void **state)
{
    (void)state;
    connect_raw();
    rig_pass(&rig.rig, 10 * MOUNT_HEARTBEAT_MS);
    HEARD(0, "");
    SAY(0, "\0x\xff");
    TOLD("(x)");
}

static void messages_wait_for_room_in_order(void **state)
{
    (void)state;
    static char text[CONN_HIGH_WATER_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    connect_raw();
    rig.clients[0].io.write_room = 0;
    mount_send(&rig, 0, text);
    mount_send(&rig, 0, "b");
    rig_turn(&rig.rig);
    assert_int_equal(rig.sessions[0]->queue.n_messages, 1);
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    assert_int_equal(mount_heard(&rig, 0).len, sizeof text - 1 + 2 + 3);
}

static void pause_inside(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_pause_input(fake->ctx, true);
}

static void a_pause_inside_a_read_keeps_the_rest(void **state)
{
    (void)state;
    connect_raw();
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = pause_inside;
    SAY(0, "\0a\xff\0b\xff\0c");
    TOLD("(a)");
    rig_pass(&rig.rig, 10 * MOUNT_MESSAGE_MS); /* no deadline of the peer runs */
    rig.uplinks[0].on_message = NULL;
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("(b)");
    SAY(0, "\xff");
    TOLD("(c)");
}

/* -- ends -------------------------------------------------------------------------------------- */

static void defects_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span bytes;
        const char *told;
    } cases[] = {
        {"bad UTF-8", SPAN_LIT_INIT("\0\xc0\xaf\xff"), "<closed 1007 a text message is not UTF-8>"},
        {"a frame of RFC 6455", SPAN_LIT_INIT("\x81\x82\0\0\0\0hi"),
         "<closed 1002 a frame is not text>"},
        {"a length", SPAN_LIT_INIT("\x80\x80\x80"), "<closed 1002 a frame is not text>"},
        {"0xFF with a length", SPAN_LIT_INIT("\xff\x05"), "<closed 1002 a frame has a length>"},
        {"broken JSON", SPAN_LIT_INIT("\0[\"a\xff"), "<closed 1007 Broken JSON encoding.>"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        connect_sockjs();
        mount_say(&rig, 0, cases[i].bytes);
        check_span(cases[i].name, mount_heard(&rig, 0), SPAN_LIT("\xff\0"));
        TOLD(cases[i].told);
        CHECK(cases[i].name, has_ended(0) && LIST_EMPTY(&rig.all));
        start_anew();
    }
}

static void a_message_over_the_limit_is_1009(void **state)
{
    (void)state;
    static char text[MOUNT_MAX_MESSAGE_BYTES];
    memset(text, 'x', sizeof text);
    connect_raw();
    SAY(0, "\0");
    mount_say(&rig, 0, span_of(text, 40000));
    mount_say(&rig, 0, span_of(text, 30000));
    TOLD("");
    SAY(0, "x");
    TOLD("<closed 1009 the message is over the limit>");
    HEARD(0, "\xff\0");
    assert_true(has_ended(0));
}

static void our_close_waits_for_the_peers(void **state)
{
    (void)state;
    connect_sockjs();
    session_close(rig.sessions[0], 4001, SPAN_LIT("why"));
    rig_turn(&rig.rig);
    HEARD(0, "\0c[4001,\"why\"]\xff\xff\0");
    TOLD("<closed 4001 why>");
    SAY(0, "\0[\"late\"]\xff");
    assert_false(has_ended(0));
    SAY(0, "\xff\0");
    assert_true(has_ended(0));
    HEARD(0, "");
}

static void our_close_waits_no_longer_than_five_seconds(void **state)
{
    (void)state;
    connect_sockjs();
    SAY(0, "\0[\"be"); /* what it had begun has no deadline any more */
    session_pause_input(rig.sessions[0], true);
    session_close(rig.sessions[0], 4001, SPAN_LIT("why"));
    rig_turn(&rig.rig);
    rig_pass(&rig.rig, WEBSOCKET_CLOSE_TIMEOUT_MS - 1);
    assert_false(has_ended(0));
    rig_pass(&rig.rig, 1);
    assert_true(has_ended(0));
}

static void our_close_reads_the_answer_of_a_paused_peer(void **state)
{
    (void)state;
    const struct message binary = {SPAN_LIT("\xff"), false};
    connect_raw();
    session_pause_input(rig.sessions[0], true);
    assert_int_equal(session_send(rig.sessions[0], &binary), ERR_PROTO);
    rig_turn(&rig.rig);
    SAY(0, "\xff\0");
    assert_true(has_ended(0));
    TOLD("<closed 1003 The client takes no binary messages>");
}

static void a_defect_after_our_close_ends_it(void **state)
{
    (void)state;
    connect_sockjs();
    session_close(rig.sessions[0], 4001, SPAN_LIT("why"));
    rig_turn(&rig.rig);
    (void)mount_heard(&rig, 0);
    SAY(0, "\x80");
    HEARD(0, "");
    assert_true(has_ended(0));
}

static void a_message_that_drips_in_is_cut(void **state)
{
    (void)state;
    connect_raw();
    SAY(0, "\0");
    for (int i = 0; i < 9; i++) {
        rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 10);
        SAY(0, "x");
    }
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 10 + 9 - 1); /* 9 bytes have earned 9 ms */
    TOLD("");
    rig_pass(&rig.rig, 1);
    TOLD("<closed 1008 Message came too slowly>");
    HEARD(0, "\xff\0");
}

static void a_pause_stops_the_clock_of_a_message(void **state)
{
    (void)state;
    connect_raw();
    SAY(0, "\0abc");
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS - 1000);
    session_pause_input(rig.sessions[0], true);
    rig_pass(&rig.rig, 10 * MOUNT_MESSAGE_MS);
    session_pause_input(rig.sessions[0], false);
    rig_pass(&rig.rig, 1000);
    TOLD("");
    SAY(0, "\xff\0d");
    TOLD("(abc)");
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS); /* the next one has its own time */
    TOLD("");
    rig_pass(&rig.rig, 1);
    TOLD("<closed 1008 Message came too slowly>");
}

static void half_a_closing_frame_is_cut_too(void **state)
{
    (void)state;
    connect_raw();
    SAY(0, "\xff");
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS);
    TOLD("<closed 1008 Message came too slowly>");
}

static void a_peer_that_ends_without_a_closing_frame(void **state)
{
    (void)state;
    connect_raw();
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection ended without a closing frame>");
    assert_true(has_ended(0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_head_leaves_before_the_nonce_comes),
        TEST(the_location_is_the_url_as_the_client_sees_it),
        TEST(without_an_origin_none_is_said),
        TEST(the_first_offer_that_the_mount_knows_is_chosen),
        TEST(the_handler_accepts_behind_the_answer),
        TEST(wrong_keys_are_400_and_the_end),
        TEST(where_it_is_off_there_is_no_version),
        TEST(rfc_6455_goes_on_beside_it),
        TEST(what_is_sent_meanwhile_comes_behind_the_answer),
        TEST(a_close_meanwhile_is_said_behind_the_answer),
        TEST(a_nonce_that_does_not_come),
        TEST(a_client_that_leaves_before_its_nonce),
        TEST(a_pause_does_not_keep_the_nonce),
        TEST(messages_are_echoed),
        TEST(every_split_is_the_same),
        TEST(a_large_message_comes_in_many_reads),
        TEST(a_binary_message_ends_the_session),
        TEST(heartbeats_are_frames),
        TEST(a_quiet_raw_session_lives),
        TEST(messages_wait_for_room_in_order),
        TEST(a_pause_inside_a_read_keeps_the_rest),
        TEST(defects_end_the_connection),
        TEST(a_message_over_the_limit_is_1009),
        TEST(our_close_waits_for_the_peers),
        TEST(our_close_waits_no_longer_than_five_seconds),
        TEST(our_close_reads_the_answer_of_a_paused_peer),
        TEST(a_defect_after_our_close_ends_it),
        TEST(a_message_that_drips_in_is_cut),
        TEST(a_pause_stops_the_clock_of_a_message),
        TEST(half_a_closing_frame_is_cut_too),
        TEST(a_peer_that_ends_without_a_closing_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
