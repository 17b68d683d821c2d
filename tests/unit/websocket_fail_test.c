/* websocket_close: a peer that breaks the rules is closed behind the answers to what it said
 * before, within a bound. */
#include "harness/websocket_rig.h"

#define BYE      "close(1002 a frame of a client is not masked)"
#define TOLD_BYE "<closed 1002 a frame of a client is not masked>"

/* Client 0 has said "hi", which its handler works on, and then something that is no frame of a
 * client. */
static void break_the_rules(void)
{
    connect_raw(0);
    rig.uplinks[0].is_behind = true;
    say_text(0, "hi");
    mount_say(&rig, 0, SPAN_LIT("\x81\x01?"));
    TOLD("(hi)");
    HEARD(0, "");
}

static void the_close_waits_for_the_answers(void **state)
{
    (void)state;
    break_the_rules();
    mount_send(&rig, 0, "ho");
    session_settled(rig.sessions[0]);
    rig_turn(&rig.rig);
    HEARD(0, "text(ho) " BYE);
    TOLD(TOLD_BYE);
    assert_true(has_ended(0));
}

static void but_not_for_ever(void **state)
{
    (void)state;
    break_the_rules();
    rig_pass(&rig.rig, WEBSOCKET_FAIL_MAX_MS - 1);
    TOLD("");
    rig_pass(&rig.rig, 1);
    HEARD(0, BYE);
    TOLD(TOLD_BYE);
}

static void nothing_is_read_meanwhile(void **state)
{
    (void)state;
    static char rubbish[60000];
    break_the_rules();
    say_text(0, "more");
    say_frame(0, FIN | WS_PING, SPAN_LIT("p"));
    say_close(0, 1000, "bye");
    for (int i = 0; i < 10; i++) {
        mount_say(&rig, 0, span_of(rubbish, sizeof rubbish));
    }
    mount_leave(&rig, 0);
    TOLD("");
    HEARD(0, "");
    session_settled(rig.sessions[0]);
    rig_turn(&rig.rig);
    HEARD(0, BYE);
    TOLD(TOLD_BYE);
}

static void a_connection_that_breaks_is_lost(void **state)
{
    (void)state;
    break_the_rules();
    rig.clients[0].io.is_write_broken = true;
    mount_send(&rig, 0, "ho");
    rig_turn(&rig.rig);
    TOLD("<closed 1006 Connection lost>");
}

static void the_handler_may_end_it(void **state)
{
    (void)state;
    break_the_rules();
    session_close(rig.sessions[0], 4000, SPAN_LIT("done"));
    rig_turn(&rig.rig);
    HEARD(0, BYE);
    TOLD("<closed 4000 done>");
    assert_true(has_ended(0));
}

static void the_worker_may_end_it(void **state)
{
    (void)state;
    break_the_rules();
    session_abort(rig.sessions[0]);
    TOLD("<closed 1001 Server shutting down>");
}

static void half_a_message_before_the_defect_is_dropped(void **state)
{
    (void)state;
    connect_raw(0);
    rig.uplinks[0].is_behind = true;
    say_text(0, "hi");
    say_frame(0, WS_TEXT, SPAN_LIT("begun"));
    say_frame(0, FIN | WS_TEXT, SPAN_LIT("no continuation"));
    TOLD("(hi)");
    session_pause_input(rig.sessions[0], true);
    session_pause_input(rig.sessions[0], false);
    session_settled(rig.sessions[0]);
    rig_turn(&rig.rig);
    HEARD(0, "close(1002 a new message inside another)");
    TOLD("<closed 1002 a new message inside another>");
}

static void what_a_dialect_cannot_read_waits_too(void **state)
{
    (void)state;
    connect_sockjs(0);
    rig.uplinks[0].is_behind = true;
    say_text(0, "[\"hi\"]");
    say_text(0, "[\"");
    say_text(0, "[\"not read\"]");
    TOLD("(hi)");
    mount_send(&rig, 0, "ho");
    session_settled(rig.sessions[0]);
    rig_turn(&rig.rig);
    HEARD(0, "text(a[\"ho\"]) close(1007 Broken JSON encoding.)");
    TOLD("<closed 1007 Broken JSON encoding.>");
}

static void who_is_owed_nothing_is_closed_at_once(void **state)
{
    (void)state;
    connect_raw(0);
    mount_say(&rig, 0, SPAN_LIT("\x81\x01?"));
    HEARD(0, BYE);
    TOLD(TOLD_BYE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_close_waits_for_the_answers),
        TEST(but_not_for_ever),
        TEST(nothing_is_read_meanwhile),
        TEST(a_connection_that_breaks_is_lost),
        TEST(the_handler_may_end_it),
        TEST(the_worker_may_end_it),
        TEST(half_a_message_before_the_defect_is_dropped),
        TEST(what_a_dialect_cannot_read_waits_too),
        TEST(who_is_owed_nothing_is_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
