/* websocket: the whole path from the upgrade to the closing handshake over a scripted connection;
 * messages in every form, a peer's defects, backpressure both ways. */
#include <malloc.h>

#include "harness/websocket_rig.h"

/* -- opening ----------------------------------------------------------------------------------- */

static void the_handshake_is_exact(void **state)
{
    (void)state;
    connect_sockjs(0);
    connect_sockjs(1); /* the same session id is another session */
    connect_raw(2);
    assert_int_equal(rig.n_sessions, 3);
    assert_true(rig.rig.kit.counters.websocket_upgrades == 3);
}

static void bad_handshakes_are_answered(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *status;
    } cases[] = {
        {"GET /echo/websocket HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
        {"GET /echo/0/s/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", "400"},
        {"GET /echo/0/s/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: "
         "Upgrade\r\n\r\n",
         "400"},
        {"GET /echo/0/s/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade"
         "\r\nSec-WebSocket-Version: 12\r\n\r\n",
         "426"},
        {"GET /echo/0/s/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade"
         "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
         "400"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char want[64];
        mount_say(&rig, 0, span_str(cases[i].request));
        (void)snprintf(want, sizeof want, "HTTP/1.1 %s ", cases[i].status);
        struct span got = mount_heard(&rig, 0);
        CHECK(cases[i].request, span_starts_with(got, span_str(want)));
        bool has_version =
            memmem(got.ptr, got.len, "\r\nSec-WebSocket-Version: 13\r\n", 29) != NULL;
        CHECK(cases[i].request, has_version == (cases[i].status[1] == '2'));
    }
    assert_int_equal(rig.n_sessions, 0);
}

static void frames_behind_the_upgrade_are_not_lost(void **state)
{
    (void)state;
    char bytes[1024];
    size_t n = sizeof "GET /echo/websocket" UPGRADE - 1;
    memcpy(bytes, "GET /echo/websocket" UPGRADE, n);
    n += put_frame(bytes + n, FIN | WS_TEXT, SPAN_LIT("early"));
    mount_say(&rig, 0, span_of(bytes, n));
    TOLD("(early)");
    check_span("only the head", mount_heard(&rig, 0), SPAN_LIT(SWITCHED));
}

/* -- messages ---------------------------------------------------------------------------------- */

static void messages_are_echoed(void **state)
{
    (void)state;
    connect_raw(0);
    mount_echo(&rig, 0);
    say_text(0, "hi");
    say_frame(0, FIN | WS_BINARY, SPAN_LIT("\xff\xfe"));
    say_text(0, "");
    say_text(0, "\uffff");
    HEARD(0, "text(hi) binary(\xff\xfe) text() text(\uffff)");
    TOLD("(hi) bin(\xff\xfe) () (\uffff)");
}

static void sockjs_messages_are_arrays_or_strings(void **state)
{
    (void)state;
    connect_sockjs(0);
    mount_echo(&rig, 0);
    say_text(0, "[\"a\",\"b\"]");
    say_text(0, "\"c\"");
    say_text(0, "");
    say_text(0, "[]");
    HEARD(0, "text(a[\"a\"]) text(a[\"b\"]) text(a[\"c\"])");
    rig.uplinks[0].record.len = 0;
}

static void a_fragmented_message_has_a_ping_in_it(void **state)
{
    (void)state;
    connect_raw(0);
    say_frame(0, WS_TEXT, SPAN_LIT("one "));
    say_frame(0, FIN | WS_PING, SPAN_LIT("p"));
    say_frame(0, WS_CONTINUATION, SPAN_NONE);
    say_frame(0, WS_CONTINUATION, SPAN_LIT("two \xc3"));
    TOLD("");
    say_frame(0, FIN | WS_CONTINUATION, SPAN_LIT("\xa9"));
    TOLD("(one two \u00e9)");
    HEARD(0, "pong(p)");
    say_text(0, "next");
    TOLD("(next)");
}

static void every_split_is_the_same(void **state)
{
    (void)state;
    char bytes[256];
    size_t n = put_frame(bytes, FIN | WS_TEXT, SPAN_LIT("hello"));
    n += put_frame(bytes + n, WS_TEXT, SPAN_LIT("wo"));
    n += put_frame(bytes + n, FIN | WS_PING, SPAN_LIT("?"));
    n += put_frame(bytes + n, FIN | WS_CONTINUATION, SPAN_LIT("rld"));
    n += put_frame(bytes + n, FIN | WS_CLOSE,
                   SPAN_LIT("\x03\xe8"
                            "bye"));
    for (size_t step = 1; step <= n; step++) {
        connect_raw(0);
        for (size_t at = 0; at < n; at += step) {
            mount_say(&rig, 0, span_of(bytes + at, step < n - at ? step : n - at));
        }
        TOLD("(hello) (world) <closed 1000 bye>");
        HEARD(0, "pong(?) close(1000 )");
        assert_true(has_ended(0));
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void a_large_message_comes_in_many_reads(void **state)
{
    (void)state;
    static char text[MOUNT_MAX_MESSAGE_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    connect_raw(0);
    say_text(0, text);
    TOLD("(70000 bytes)");
    for (int i = 0; i < 7; i++) {
        say_frame(0,
                  i == 0  ? WS_TEXT
                  : i < 6 ? WS_CONTINUATION
                          : FIN | WS_CONTINUATION,
                  span_of(text, MOUNT_MAX_MESSAGE_BYTES / 7));
    }
    TOLD("(70000 bytes)");
}

/* -- the peer's defects ------------------------------------------------------------------------ */

/* The peer is told by a Close frame and FIN, the uplink by the same code. */
static void check_failed(const char *name, unsigned code)
{
    char want[32];
    read_frames(0);
    (void)snprintf(want, sizeof want, "close(%u ", code);
    frames.text[frames.len] = '\0';
    CHECK(name, strncmp(frames.text, want, strlen(want)) == 0);
    CHECK(name, has_ended(0));
    frames.len = 0;
    (void)snprintf(want, sizeof want, "<closed %u ", code);
    struct record *record = &rig.uplinks[0].record;
    record->text[record->len] = '\0';
    CHECK(name, strncmp(record->text, want, strlen(want)) == 0);
    CHECK(name, LIST_EMPTY(&rig.all));
    mount_stop(&rig);
    mount_start(&rig);
}

static void defects_end_the_connection_with_their_code(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span bytes;
        unsigned code;
    } cases[] = {
        {"unmasked", SPAN_LIT_INIT("\x81\x02hi"), 1002},
        {"RSV1 without a compression", SPAN_LIT_INIT("\xc1\x80\0\0\0\0"), 1002},
        {"RSV3", SPAN_LIT_INIT("\x91\x80\0\0\0\0"), 1002},
        {"unknown opcode", SPAN_LIT_INIT("\x83\x80\0\0\0\0"), 1002},
        {"unknown control opcode", SPAN_LIT_INIT("\x8b\x80\0\0\0\0"), 1002},
        {"a continuation of nothing", SPAN_LIT_INIT("\x80\x80\0\0\0\0"), 1002},
        {"a message in a message", SPAN_LIT_INIT("\x01\x80\0\0\0\0\x81\x80\0\0\0\0"), 1002},
        {"a fragmented ping", SPAN_LIT_INIT("\x09\x80\0\0\0\0"), 1002},
        {"a ping of 126", SPAN_LIT_INIT("\x89\xfe\0\x7e\0\0\0\0"), 1002},
        {"a long form of a short length", SPAN_LIT_INIT("\x81\xfe\0\x05\0\0\0\0hello"), 1002},
        {"bad UTF-8", SPAN_LIT_INIT("\x81\x81\0\0\0\0\xff"), 1007},
        {"UTF-8 cut off", SPAN_LIT_INIT("\x81\x81\0\0\0\0\xc3"), 1007},
        {"bad UTF-8 early", SPAN_LIT_INIT("\x01\x82\0\0\0\0\xc0\xaf"), 1007},
        {"a surrogate", SPAN_LIT_INIT("\x81\x83\0\0\0\0\xed\xa0\x80"), 1007},
        {"a close of one byte", SPAN_LIT_INIT("\x88\x81\0\0\0\0\x03"), 1002},
        {"a close with 1005", SPAN_LIT_INIT("\x88\x82\0\0\0\0\x03\xed"), 1002},
        {"a close with bad UTF-8", SPAN_LIT_INIT("\x88\x83\0\0\0\0\x03\xe8\xff"), 1007},
        {"declared too big", SPAN_LIT_INIT("\x82\xff\0\0\0\0\0\x01\x11\x71\0\0\0\0"), 1009},
        {"top bit", SPAN_LIT_INIT("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), 1002},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        connect_raw(0);
        mount_say(&rig, 0, cases[i].bytes);
        check_failed(cases[i].name, cases[i].code);
    }
}

static void a_message_over_the_limit_is_1009(void **state)
{
    (void)state;
    static char text[MOUNT_MAX_MESSAGE_BYTES];
    connect_raw(0);
    memset(text, 'x', sizeof text);
    say_frame(0, WS_BINARY, span_of(text, sizeof text));
    say_frame(0, WS_CONTINUATION, SPAN_NONE);
    HEARD(0, "");
    say_frame(0, FIN | WS_CONTINUATION, SPAN_LIT("x")); /* one over, in pieces */
    check_failed("in pieces", 1009);
    connect_raw(0);
    for (int i = 0; i < MOUNT_MAX_FRAGMENTS; i++) {
        say_frame(0, i == 0 ? WS_TEXT : WS_CONTINUATION, SPAN_LIT("x"));
    }
    HEARD(0, "");
    say_frame(0, FIN | WS_CONTINUATION, SPAN_LIT("x"));
    check_failed("too many pieces", 1009);
}

static void bad_sockjs_ends_the_connection(void **state)
{
    (void)state;
    static const char *const bad[] = {"[\"a\"", "{}", "[1]", "x"};
    for (size_t i = 0; i < N_OF(bad); i++) {
        connect_sockjs(0);
        say_text(0, bad[i]);
        check_failed(bad[i], 1007);
    }
}

static void too_many_messages_in_one_are_1009(void **state)
{
    (void)state;
    static char text[3 * 10000 + 2] = "[";
    for (int i = 0; i < 10000; i++) {
        memcpy(text + 1 + 3 * i, "\"\",", 3);
    }
    text[3 * 10000] = ']';
    connect_sockjs(0);
    say_text(0, text);
    check_failed("10000 messages", 1009);
}

/* -- closing ----------------------------------------------------------------------------------- */

static void the_peers_close_goes_back_and_up(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        const char *reason;
        const char *heard;
        const char *told;
    } cases[] = {
        {1000, "", "close(1000 )", "<closed 1000 >"},
        {1001, "away", "close(1001 )", "<closed 1001 away>"},
        {3000, "r", "close(3000 )", "<closed 3000 r>"},
        {4999, "\u00e9", "close(4999 )", "<closed 4999 \u00e9>"},
        {1005, "", "close()", "<closed 1005 >"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        connect_raw(0);
        say_close(0, cases[i].code, cases[i].reason);
        HEARD(0, cases[i].heard);
        TOLD(cases[i].told);
        assert_true(has_ended(0));
        say_text(0, "late");
        HEARD(0, "");
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void our_close_waits_for_the_peers(void **state)
{
    (void)state;
    connect_raw(0);
    session_close(rig.sessions[0], 4001, SPAN_LIT("why"));
    rig_turn(&rig.rig);
    HEARD(0, "close(4001 why)");
    TOLD("<closed 4001 why>");
    assert_false(has_ended(0));
    say_text(0, "on its way");
    say_frame(0, FIN | WS_PING, SPAN_NONE);
    HEARD(0, "");
    say_close(0, 4001, "");
    HEARD(0, "");
    assert_true(has_ended(0));
}

static void but_not_for_ever(void **state)
{
    (void)state;
    connect_sockjs(0);
    session_close(rig.sessions[0], 3000, SPAN_LIT("Go away!"));
    rig_turn(&rig.rig);
    HEARD(0, "text(c[3000,\"Go away!\"]) close(1000 Go away!)");
    rig_pass(&rig.rig, WEBSOCKET_CLOSE_TIMEOUT_MS - 1);
    assert_false(has_ended(0));
    rig_pass(&rig.rig, 1);
    assert_true(has_ended(0));
}

static void rubbish_or_loss_while_closing_ends_it(void **state)
{
    (void)state;
    connect_raw(0);
    connect_raw(1);
    session_close(rig.sessions[0], 1000, SPAN_NONE);
    session_close(rig.sessions[1], 1000, SPAN_NONE);
    rig_turn(&rig.rig);
    HEARD(0, "close(1000 )");
    mount_say(&rig, 0, SPAN_LIT("\x81\x02hi"));
    HEARD(0, "");
    assert_true(has_ended(0));
    mount_leave(&rig, 1);
    assert_true(has_ended(1));
    rig_pass(&rig.rig, WEBSOCKET_CLOSE_TIMEOUT_MS);
}

static void codes_that_may_not_be_sent_are_replaced(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        const char *heard;
    } cases[] = {{1006, "close(1001 )"}, {1005, "close(1000 )"}, {999, "close(1000 )"},
                 {2999, "close(1000 )"}, {1013, "close(1013 )"}, {5000, "close(1000 )"}};
    for (size_t i = 0; i < N_OF(cases); i++) {
        connect_raw(0);
        session_close(rig.sessions[0], cases[i].code, SPAN_NONE);
        rig_turn(&rig.rig);
        HEARD(0, cases[i].heard);
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    (void)state;
    char reason[WS_MAX_CLOSE_REASON + 2] = "";
    memset(reason, 'x', WS_MAX_CLOSE_REASON - 1);
    memcpy(reason + WS_MAX_CLOSE_REASON - 1, "\xc3\xa9", 3);
    connect_raw(0);
    session_close(rig.sessions[0], 1000, span_str(reason));
    rig_turn(&rig.rig);
    struct span got = mount_heard(&rig, 0);
    assert_int_equal(got.len, 2 + 2 + WS_MAX_CLOSE_REASON - 1);
    assert_true(got.ptr[got.len - 1] == 'x');
}

static void a_connection_without_a_goodbye_is_lost(void **state)
{
    (void)state;
    connect_raw(0);
    scripted_feed_error(&rig.clients[0].io);
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    TOLD("<closed 1006 Connection lost>");
}

static void close_inside_message(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_close(fake->ctx, 4000, SPAN_LIT("enough"));
}

static void abort_inside_message(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_abort(fake->ctx);
}

static void a_session_may_end_inside_its_message(void **state)
{
    (void)state;
    char bytes[64];
    size_t n = put_frame(bytes, WS_TEXT, SPAN_LIT("a"));
    n += put_frame(bytes + n, FIN | WS_CONTINUATION, SPAN_LIT("b"));
    n += put_frame(bytes + n, FIN | WS_TEXT, SPAN_LIT("c"));
    connect_raw(0);
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = close_inside_message;
    mount_say(&rig, 0, span_of(bytes, n));
    TOLD("(ab) <closed 4000 enough>");
    HEARD(0, "close(4000 enough)");
    connect_raw(1);
    rig.uplinks[1].ctx = rig.sessions[1];
    rig.uplinks[1].on_message = abort_inside_message;
    mount_say(&rig, 1, span_of(bytes, n));
    CHECK_RECORD(&rig.uplinks[1].record, "(ab) <closed 1001 Server shutting down>");
    assert_int_equal(rig.clients[1].io.n_closes, 1);
}

/* -- pings ------------------------------------------------------------------------------------- */

static void an_idle_peer_is_pinged_and_must_answer(void **state)
{
    (void)state;
    connect_sockjs(0);
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "ping()");
    say_frame(0, FIN | WS_PONG, SPAN_NONE);
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "ping()");
    rig_pass(&rig.rig, MOUNT_PONG_MS);
    TOLD("<closed 1006 No pong>");
    assert_int_equal(rig.clients[0].io.n_closes, 1);
}

static void every_ping_of_a_burst_is_answered(void **state)
{
    (void)state;
    static char bytes[64 * 140];
    char payload[WS_MAX_CONTROL_PAYLOAD];
    size_t n = 0;
    memset(payload, 'p', sizeof payload);
    for (int i = 0; i < 64; i++) {
        n += put_frame(bytes + n, FIN | WS_PING, span_of(payload, sizeof payload));
    }
    connect_raw(0);
    mount_say(&rig, 0, span_of(bytes, n));
    assert_int_equal(mount_heard(&rig, 0).len, 64 * 127);
}

static void reads_on(void)
{
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
}

static void a_peer_that_pings_and_does_not_read_is_bounded(void **state)
{
    (void)state;
    char payload[WS_MAX_CONTROL_PAYLOAD];
    memset(payload, 'p', sizeof payload);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    for (int i = 0; i < 1000; i++) {
        say_frame(0, FIN | WS_PING, span_of(payload, sizeof payload));
    }
    memset(payload, 'n', sizeof payload);
    say_frame(0, FIN | WS_PING, span_of(payload, sizeof payload));
    size_t waiting = buf_len(conn_out(rig.clients[0].conn));
    assert_in_range(waiting, WEBSOCKET_MAX_PONG_BYTES - 126, WEBSOCKET_MAX_PONG_BYTES);
    reads_on();
    struct span heard = mount_heard(&rig, 0);
    assert_int_equal(heard.len, waiting + 127);
    check_span("the newest wins", span_skip(heard, waiting + 2), span_of(payload, sizeof payload));
    say_frame(0, FIN | WS_PING, SPAN_LIT("again"));
    HEARD(0, "pong(again)");
}

/* A short ping may still find room where a long one did not: then the long one is old. */
static void a_ping_that_finds_room_outdates_the_late_one(void **state)
{
    (void)state;
    char payload[WS_MAX_CONTROL_PAYLOAD];
    memset(payload, 'p', sizeof payload);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    for (int i = 0; i < 65; i++) {
        say_frame(0, FIN | WS_PING, span_of(payload, sizeof payload));
    }
    say_frame(0, FIN | WS_PING, SPAN_LIT("short"));
    reads_on();
    assert_int_equal(mount_heard(&rig, 0).len, 64 * 127 + 7);
}

/* The ends of a WebSocket that owes a pong. */
static void a_late_pong_is_forgotten_with_its_connection(void **state)
{
    (void)state;
    char payload[WS_MAX_CONTROL_PAYLOAD];
    memset(payload, 'p', sizeof payload);
    for (int i = 0; i < 3; i++) {
        connect_raw(i);
        rig.clients[i].io.write_room = 0;
        for (int k = 0; k < 66; k++) {
            say_frame(i, FIN | WS_PING, span_of(payload, sizeof payload));
        }
    }
    session_close(rig.sessions[0], 4000, SPAN_LIT("enough"));
    session_abort(rig.sessions[1]);
    say_close(2, 1000, "");
    for (int i = 0; i < 3; i += 2) {
        rig.clients[i].io.write_room = SIZE_MAX;
        conn_poke(rig.clients[i].conn);
        rig_turn(&rig.rig);
        struct span heard = mount_heard(&rig, i);
        assert_true(heard.len < 64 * 127 + 20); /* its Close is the last word */
    }
}

/* What waits are our messages, not its pongs: the peer is slow and alive, and must hear so. */
static void a_slow_reader_still_gets_its_pong(void **state)
{
    (void)state;
    static char text[20001];
    memset(text, 'x', sizeof text - 1);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    mount_send(&rig, 0, text);
    rig_turn(&rig.rig);
    say_frame(0, FIN | WS_PING, SPAN_LIT("alive?"));
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    HEARD(0, "text(20000 bytes) pong(alive?)");
}

/* -- backpressure ------------------------------------------------------------------------------ */

static void messages_wait_for_room_in_order(void **state)
{
    (void)state;
    static char text[CONN_HIGH_WATER_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    mount_send(&rig, 0, text);
    mount_send(&rig, 0, "b");
    mount_send(&rig, 0, text);
    mount_send(&rig, 0, "c");
    rig_turn(&rig.rig);
    TOLD("<unwritable>");
    assert_int_equal(rig.sessions[0]->queue.n_messages, 3);
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    HEARD(0, "text(65536 bytes) text(b) text(65536 bytes) text(c)");
    TOLD("<writable>");
}

static void a_paused_peer_is_not_read_and_order_is_kept(void **state)
{
    (void)state;
    char bytes[256];
    size_t n = 0;
    connect_raw(0);
    rig.uplinks[0].ctx = rig.sessions[0];
    for (char c = 'a'; c <= 'e'; c++) {
        n += put_frame(bytes + n, FIN | WS_TEXT, span_of(&c, 1));
    }
    session_pause_input(rig.sessions[0], true);
    mount_say(&rig, 0, span_of(bytes, n));
    TOLD("");
    session_pause_input(rig.sessions[0], false);
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    TOLD("(a) (b) (c) (d) (e)");
}

static void pause_inside(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_pause_input(fake->ctx, true);
}

static void a_pause_inside_a_read_keeps_the_rest(void **state)
{
    (void)state;
    char bytes[256];
    size_t n = 0;
    connect_raw(0);
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = pause_inside;
    for (char c = 'a'; c <= 'c'; c++) {
        n += put_frame(bytes + n, FIN | WS_TEXT, span_of(&c, 1));
    }
    mount_say(&rig, 0, span_of(bytes, n));
    TOLD("(a)");
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("(b)");
    rig.uplinks[0].on_message = NULL;
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("(c)");
}

/* -- the deadline of a message ----------------------------------------------------------------- */

#define TOO_SLOW "close(1008 Message came too slowly)"

static void say_bytes(const char *bytes, size_t n)
{
    mount_say(&rig, 0, span_of(bytes, n));
}

static void must_live(void)
{
    assert_int_equal(rig.clients[0].io.n_shutdowns + rig.clients[0].io.n_closes, 0);
}

/* Alive for `ms`, and told with the next millisecond. */
static void is_cut_after(uint64_t ms)
{
    rig_pass(&rig.rig, ms);
    must_live();
    (void)mount_heard(&rig, 0);
    rig_pass(&rig.rig, 1);
    HEARD(0, TOO_SLOW);
    TOLD("<closed 1008 Message came too slowly>");
    assert_true(has_ended(0));
    rig_pass(&rig.rig, 1000000);
}

static void a_head_that_drips_in_is_cut(void **state)
{
    (void)state;
    char bytes[32];
    size_t n = put_frame(bytes, FIN | WS_BINARY, SPAN_LIT("0123456789"));
    connect_raw(0);
    say_bytes(bytes, 1);
    for (size_t i = 1; i < 10 && i < n; i++) {
        rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 10);
        say_bytes(bytes + i, 1);
        must_live();
    }
    is_cut_after(MOUNT_MESSAGE_MS / 10 + 4 - 1); /* 4 bytes of payload have earned 4 ms */
}

static void fragments_and_pings_do_not_move_the_deadline(void **state)
{
    (void)state;
    connect_raw(0);
    say_frame(0, WS_TEXT, SPAN_NONE);
    for (int i = 0; i < 9; i++) {
        rig_pass(&rig.rig, MOUNT_MESSAGE_MS / 10);
        say_frame(0, FIN | WS_PING, SPAN_NONE);
        say_frame(0, WS_CONTINUATION, SPAN_NONE);
        HEARD(0, "pong()");
    }
    is_cut_after(MOUNT_MESSAGE_MS / 10 - 1);
}

static void half_a_ping_is_cut_too(void **state)
{
    (void)state;
    connect_raw(0);
    say_bytes("\x89\x85", 2);
    is_cut_after(MOUNT_MESSAGE_MS - 1);
}

static void payload_earns_time_at_the_least_rate(void **state)
{
    (void)state;
    static const char zeros[3 * MOUNT_MIN_RATE];
    static char bytes[sizeof zeros + 32];
    size_t n = put_frame(bytes, FIN | WS_BINARY, span_of(zeros, sizeof zeros));
    connect_raw(0);
    say_bytes(bytes, n - 1);
    is_cut_after(MOUNT_MESSAGE_MS + 3000 - 2);
}

static void pass_with_pongs(uint64_t ms)
{
    rig_pass(&rig.rig, ms);
    session_alive(rig.sessions[0]);
}

/* A busy peer: each read ends within a message, and each message is whole soon. */
static void each_message_has_its_own_deadline(void **state)
{
    (void)state;
    char bytes[64];
    size_t n = put_frame(bytes, FIN | WS_TEXT, SPAN_LIT("abc"));
    n += put_frame(bytes + n, FIN | WS_PING, SPAN_NONE);
    connect_raw(0);
    say_bytes(bytes, 1);
    for (int i = 0; i < 20; i++) {
        pass_with_pongs(MOUNT_MESSAGE_MS - 1);
        say_bytes(bytes + 1, n - 6);
        TOLD("(abc)"); /* the first byte of a ping is left */
        pass_with_pongs(MOUNT_MESSAGE_MS - 1);
        bytes[n] = bytes[0]; /* of the next round */
        say_bytes(bytes + n - 5, 6);
        (void)mount_heard(&rig, 0);
        must_live();
    }
    is_cut_after(MOUNT_MESSAGE_MS - 1);
}

/* What an earlier one has earned is no loan for the next. */
static void a_short_message_behind_a_long_one(void **state)
{
    (void)state;
    static const char zeros[20000];
    static char bytes[sizeof zeros + 32];
    size_t n = put_frame(bytes, FIN | WS_BINARY, span_of(zeros, sizeof zeros));
    connect_raw(0);
    say_bytes(bytes, n - 1);
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS); /* now it has until 20 s more */
    must_live();
    bytes[n] = (char)0x82;
    say_bytes(bytes + n - 1, 2);
    TOLD("bin(20000 bytes)");
    is_cut_after(MOUNT_MESSAGE_MS - 1);
}

static void the_deadline_stands_still_while_we_do_not_read(void **state)
{
    (void)state;
    enum {
        SPENT_MS = 4000
    };
    connect_raw(0);
    say_frame(0, WS_TEXT, SPAN_NONE);
    for (int i = 0; i < 3; i++) {
        rig_pass(&rig.rig, SPENT_MS);
        session_pause_input(rig.sessions[0], true);
        rig_pass(&rig.rig, MOUNT_MESSAGE_MS * 4);
        must_live();
        session_pause_input(rig.sessions[0], false);
        session_alive(rig.sessions[0]); /* of the pings */
        rig_turn(&rig.rig);
        (void)mount_heard(&rig, 0);
    }
    is_cut_after(MOUNT_MESSAGE_MS - 3 * SPENT_MS - 1);
}

static void what_we_have_not_looked_at_is_not_late(void **state)
{
    (void)state;
    char bytes[64];
    connect_raw(0);
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = pause_inside;
    size_t n = put_frame(bytes, FIN | WS_TEXT, SPAN_LIT("a"));
    bytes[n] = (char)0x81;
    say_bytes(bytes, n + 1);
    TOLD("(a)");
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS + 1);
    must_live();
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    is_cut_after(MOUNT_MESSAGE_MS - 1);
}

/* The hot path: no timer and no memory but the session's own. */
static void a_whole_message_starts_no_timer(void **state)
{
    (void)state;
    connect_raw(0);
    uint64_t heartbeat_ms = timers_next_ms(&rig.rig.kit.timers);
    say_text(0, "hi");
    assert_true(timers_next_ms(&rig.rig.kit.timers) == heartbeat_ms);
    say_frame(0, WS_TEXT, SPAN_LIT("a"));
    assert_true(timers_next_ms(&rig.rig.kit.timers) < heartbeat_ms);
    say_frame(0, FIN | WS_CONTINUATION, SPAN_LIT("b"));
    assert_true(timers_next_ms(&rig.rig.kit.timers) == heartbeat_ms);
    TOLD("(hi) (ab)");
}

static void our_close_ends_the_deadline(void **state)
{
    (void)state;
    connect_raw(0);
    say_frame(0, WS_TEXT, SPAN_NONE);
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS - 1);
    session_close(rig.sessions[0], 4001, SPAN_LIT("why"));
    rig_turn(&rig.rig);
    rig_pass(&rig.rig, WEBSOCKET_CLOSE_TIMEOUT_MS - 1);
    say_frame(0, WS_CONTINUATION, SPAN_LIT("x"));
    HEARD(0, "close(4001 why)");
    assert_false(has_ended(0));
    rig_pass(&rig.rig, 1);
    assert_true(has_ended(0));
    HEARD(0, ""); /* one Close is enough */
}

/* The loop comes late: both are due in one run of the timers, and the first ends it. */
static void a_deadline_that_comes_behind_the_end(void **state)
{
    (void)state;
    connect_raw(0);
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS + MOUNT_PONG_MS - MOUNT_MESSAGE_MS + 1);
    say_frame(0, WS_TEXT, SPAN_NONE);
    rig_pass(&rig.rig, MOUNT_MESSAGE_MS - MOUNT_PONG_MS - 1);
    HEARD(0, "ping()");
    rig_pass(&rig.rig, MOUNT_PONG_MS + 10);
    TOLD("<closed 1006 No pong>");
}

/* It cannot answer in the middle of a frame. */
static void a_peer_that_sends_a_large_message_needs_no_pong(void **state)
{
    (void)state;
    static const char zeros[50000];
    static char bytes[sizeof zeros + 32];
    size_t n = put_frame(bytes, FIN | WS_BINARY, span_of(zeros, sizeof zeros));
    connect_raw(0);
    say_bytes(bytes, 40000); /* has until 55 s */
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "ping()");
    say_bytes(bytes + 40000, 1);
    rig_pass(&rig.rig, MOUNT_PONG_MS);
    must_live();
    say_bytes(bytes + 40001, n - 40001);
    TOLD("bin(50000 bytes)");
}

/* -- many small things ------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void);
static size_t heap_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static size_t heap_bytes(void)
{
    return mallinfo2().uordblks;
}
#endif

static void tiny_fragments_hold_at_most_twice_their_bytes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 64};
    for (size_t i = 0; i < N_OF(sizes); i++) {
        char bytes[128];
        connect_raw(0);
        rig.transports[SOCKJS_RAW_WEBSOCKET].max_fragments = 65536;
        size_t before = heap_bytes();
        size_t n_wire = 0;
        for (int j = 0; j < 1000; j++) {
            char zeros[64] = {0};
            size_t n =
                put_frame(bytes, j == 0 ? WS_BINARY : WS_CONTINUATION, span_of(zeros, sizes[i]));
            n_wire += n;
            say_bytes(bytes, n);
            CHECK("held", heap_bytes() - before <= 2 * n_wire + 4096);
        }
        must_live();
        mount_stop(&rig);
        mount_start(&rig);
    }
}

/* However much a head declares, only what has come is held. */
static void a_declared_length_holds_nothing(void **state)
{
    (void)state;
    connect_raw(0);
    size_t before = heap_bytes();
    say_bytes("\x82\xff\0\0\0\0\0\x01\x11\x70\0\0\0\0x", 15); /* 70000 bytes, one of them */
    CHECK("held", heap_bytes() - before <= 2 * 15 + 4096);
    must_live();
}

/* The limit is judged where a head passes it, also while a message is on its way. */
static void the_limit_does_not_wait_for_the_message(void **state)
{
    (void)state;
    static const char zeros[60000];
    connect_raw(0);
    say_frame(0, WS_BINARY, span_of(zeros, sizeof zeros));
    HEARD(0, "");
    mount_say(&rig, 0, SPAN_LIT("\x80\xfe\x27\x11")); /* 10001 more */
    HEARD(0, "close(1009 the message is over the limit)");
    assert_true(has_ended(0));
    TOLD("<closed 1009 the message is over the limit>");
}

static void a_peer_that_never_reads_is_bounded(void **state)
{
    (void)state;
    static char text[10001];
    const struct message message = {span_of(text, sizeof text - 1), true};
    memset(text, 'x', sizeof text - 1);
    connect_raw(0);
    size_t before = heap_bytes();
    rig.clients[0].io.write_room = 0;
    enum err e = ERR_OK;
    for (int i = 0; i < 10000 && e == ERR_OK; i++) {
        e = session_send(rig.sessions[0], &message);
        rig_turn(&rig.rig);
    }
    assert_int_equal(e, ERR_LIMIT);
    /* The queue, at twice its bytes while it grows, and the connection's output likewise. */
    assert_true(heap_bytes() - before < 2 * ((1 << 20) + CONN_HIGH_WATER_BYTES + sizeof text));
    CHECK_RECORD(&rig.uplinks[0].record, "<unwritable> <closed 1008 Slow consumer>");
}

/* Others are served between two reads of one who sends without end. */
static void a_flood_has_its_share_of_a_turn(void **state)
{
    (void)state;
    static char bytes[6 * LOOP_READ_BYTES];
    static const char ping[] = "\x89\x80\0\0\0";
    for (size_t i = 0; i < sizeof bytes; i += 6) {
        memcpy(bytes + i, ping, 6);
    }
    connect_raw(0);
    mount_say(&rig, 0, span_of(bytes, sizeof bytes));
    const struct scripted_piece *piece = STAILQ_FIRST(&rig.clients[0].io.pieces);
    assert_non_null(piece);
    assert_in_range(piece->at, 1, LOOP_READ_BYTES);
    (void)mount_heard(&rig, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_handshake_is_exact),
        TEST(bad_handshakes_are_answered),
        TEST(frames_behind_the_upgrade_are_not_lost),
        TEST(messages_are_echoed),
        TEST(sockjs_messages_are_arrays_or_strings),
        TEST(a_fragmented_message_has_a_ping_in_it),
        TEST(every_split_is_the_same),
        TEST(a_large_message_comes_in_many_reads),
        TEST(defects_end_the_connection_with_their_code),
        TEST(a_message_over_the_limit_is_1009),
        TEST(bad_sockjs_ends_the_connection),
        TEST(too_many_messages_in_one_are_1009),
        TEST(the_peers_close_goes_back_and_up),
        TEST(our_close_waits_for_the_peers),
        TEST(but_not_for_ever),
        TEST(rubbish_or_loss_while_closing_ends_it),
        TEST(codes_that_may_not_be_sent_are_replaced),
        TEST(a_long_reason_is_cut_between_characters),
        TEST(a_connection_without_a_goodbye_is_lost),
        TEST(a_session_may_end_inside_its_message),
        TEST(an_idle_peer_is_pinged_and_must_answer),
        TEST(every_ping_of_a_burst_is_answered),
        TEST(a_peer_that_pings_and_does_not_read_is_bounded),
        TEST(a_ping_that_finds_room_outdates_the_late_one),
        TEST(a_late_pong_is_forgotten_with_its_connection),
        TEST(a_slow_reader_still_gets_its_pong),
        TEST(messages_wait_for_room_in_order),
        TEST(a_paused_peer_is_not_read_and_order_is_kept),
        TEST(a_pause_inside_a_read_keeps_the_rest),
        TEST(a_head_that_drips_in_is_cut),
        TEST(fragments_and_pings_do_not_move_the_deadline),
        TEST(half_a_ping_is_cut_too),
        TEST(payload_earns_time_at_the_least_rate),
        TEST(each_message_has_its_own_deadline),
        TEST(a_short_message_behind_a_long_one),
        TEST(the_deadline_stands_still_while_we_do_not_read),
        TEST(what_we_have_not_looked_at_is_not_late),
        TEST(a_whole_message_starts_no_timer),
        TEST(our_close_ends_the_deadline),
        TEST(a_deadline_that_comes_behind_the_end),
        TEST(a_peer_that_sends_a_large_message_needs_no_pong),
        TEST(tiny_fragments_hold_at_most_twice_their_bytes),
        TEST(a_declared_length_holds_nothing),
        TEST(the_limit_does_not_wait_for_the_message),
        TEST(a_peer_that_never_reads_is_bounded),
        TEST(a_flood_has_its_share_of_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
