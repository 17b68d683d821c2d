/* websocket_close: a peer that ends its side without a Close (a half-closed connection): what its
 * messages cause still reaches it, within bounds, and then it is told why it ends. */
#include "harness/websocket_rig.h"

#define LOST "<closed 1006 Connection ended without a Close frame>"
#define BYE  "close(1002 Connection ended without a Close frame)"

static void every_answer_still_comes(void **state)
{
    (void)state;
    connect_raw(0);
    say_text(0, "first");
    say_text(0, "last");
    mount_leave(&rig, 0);
    TOLD("(first) (last)");
    HEARD(0, "ping()"); /* whether anybody reads at all */
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS - 1);
    mount_send(&rig, 0, "to the first");
    rig_turn(&rig.rig);
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS - 1);
    mount_send(&rig, 0, "to the last");
    rig_turn(&rig.rig);
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS - 1);
    HEARD(0, "text(to the first) text(to the last)");
    TOLD("");
    rig_pass(&rig.rig, 1);
    HEARD(0, BYE);
    TOLD(LOST);
    assert_true(has_ended(0));
}

static void a_handler_that_never_stops_is_cut(void **state)
{
    (void)state;
    connect_raw(0);
    mount_leave(&rig, 0);
    for (int i = 0; i < WEBSOCKET_EOF_MAX_MS / 500 - 1; i++) {
        rig_pass(&rig.rig, 500);
        mount_send(&rig, 0, "tick");
        rig_turn(&rig.rig);
    }
    rig_pass(&rig.rig, 499);
    TOLD("");
    rig_pass(&rig.rig, 1);
    TOLD(LOST);
    assert_true(has_ended(0));
}

/* What waits in the queue behind a full connection is an answer too. */
static void a_slow_reader_gets_what_is_queued(void **state)
{
    (void)state;
    static char text[CONN_HIGH_WATER_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    mount_send(&rig, 0, text);
    mount_send(&rig, 0, "queued");
    mount_leave(&rig, 0);
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS * 3);
    TOLD("");
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    HEARD(0, "text(65536 bytes) ping() text(queued)");
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS);
    HEARD(0, BYE);
    TOLD(LOST);
}

static void but_not_for_ever(void **state)
{
    (void)state;
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    mount_send(&rig, 0, "unread");
    mount_leave(&rig, 0);
    rig_pass(&rig.rig, WEBSOCKET_EOF_MAX_MS - 1);
    TOLD("");
    rig_pass(&rig.rig, 1);
    TOLD(LOST);
}

/* The gateway's own connection is read no more: a FIN lies behind what was sent before it. */
static void a_fin_waits_behind_messages_that_wait(void **state)
{
    (void)state;
    connect_raw(0);
    mount_echo(&rig, 0);
    session_pause_input(rig.sessions[0], true);
    say_text(0, "one");
    say_text(0, "two");
    mount_leave(&rig, 0);
    rig_pass(&rig.rig, 20000);
    TOLD("");
    session_pause_input(rig.sessions[0], false);
    for (int i = 0; i < 4; i++) {
        conn_poke(rig.clients[0].conn);
        rig_turn(&rig.rig);
    }
    TOLD("(one) (two)");
    HEARD(0, "text(one) text(two) ping()");
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS);
    HEARD(0, BYE);
    TOLD(LOST);
}

static void half_a_message_is_dropped(void **state)
{
    (void)state;
    connect_raw(0);
    say_frame(0, WS_TEXT, SPAN_LIT("begun"));
    mount_say(&rig, 0, SPAN_LIT("\x80"));
    mount_leave(&rig, 0);
    session_pause_input(rig.sessions[0], true);
    session_pause_input(rig.sessions[0], false);
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS);
    HEARD(0, "ping() " BYE);
    TOLD(LOST);
}

static void a_peer_that_is_gone_altogether_is_lost_at_once(void **state)
{
    (void)state;
    connect_raw(0);
    rig.clients[0].io.is_write_broken = true; /* what the ping meets */
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection lost>");
    assert_int_equal(rig.clients[0].io.n_closes, 1);
}

static void the_handler_may_end_it(void **state)
{
    (void)state;
    connect_raw(0);
    mount_leave(&rig, 0);
    session_close(rig.sessions[0], 4000, SPAN_LIT("done"));
    rig_turn(&rig.rig);
    HEARD(0, "ping() close(4000 done)");
    TOLD("<closed 4000 done>");
    assert_true(has_ended(0)); /* no Close can come back */
    connect_raw(1);
    mount_leave(&rig, 1);
    session_abort(rig.sessions[1]);
    CHECK_RECORD(&rig.uplinks[1].record, "<closed 1001 Server shutting down>");
}

static void a_fin_while_closing_ends_it(void **state)
{
    (void)state;
    connect_raw(0);
    session_close(rig.sessions[0], 4000, SPAN_LIT("done"));
    rig_turn(&rig.rig);
    HEARD(0, "close(4000 done)");
    assert_false(has_ended(0));
    mount_leave(&rig, 0);
    HEARD(0, "");
    assert_int_equal(rig.clients[0].io.n_closes, 1);
    TOLD("<closed 4000 done>");
}

static void a_late_pong_comes_before_the_end(void **state)
{
    (void)state;
    char payload[WS_MAX_CONTROL_PAYLOAD];
    memset(payload, 'p', sizeof payload);
    connect_raw(0);
    rig.clients[0].io.write_room = 0;
    for (int i = 0; i < 66; i++) {
        say_frame(0, FIN | WS_PING, span_of(payload, sizeof payload));
    }
    mount_leave(&rig, 0);
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    assert_int_equal(mount_heard(&rig, 0).len, 65 * 127 + 2);
    rig_pass(&rig.rig, WEBSOCKET_EOF_QUIET_MS);
    HEARD(0, BYE);
    TOLD(LOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_answer_still_comes),
        TEST(a_handler_that_never_stops_is_cut),
        TEST(a_slow_reader_gets_what_is_queued),
        TEST(but_not_for_ever),
        TEST(a_fin_waits_behind_messages_that_wait),
        TEST(half_a_message_is_dropped),
        TEST(a_peer_that_is_gone_altogether_is_lost_at_once),
        TEST(the_handler_may_end_it),
        TEST(a_fin_while_closing_ends_it),
        TEST(a_late_pong_comes_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
