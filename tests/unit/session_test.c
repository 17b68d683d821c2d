/* session: its table of states, carriers of each behaviour, bounds, timers, and ends from inside
 * every callback; fake carrier, fake uplink, a clock set by hand, the real SockJS and raw frames.
 */
#include <string.h>

#include "base/log.h"
#include "core/dialect.h"
#include "core/registry.h"
#include "core/session.h"
#include "dialect/raw.h"
#include "dialect/sockjs.h"
#include "harness/fake_carrier.h"
#include "harness/fake_kit.h"
#include "harness/fake_uplink.h"

enum {
    HEARTBEAT_MS = 25000,
    PONG_MS = 10000,
    DELAY_MS = 5000,
    ACCEPT_MS = 8000,
    SOFT_BYTES = 1000,
    HARD_BYTES = 4000,
    SOFT_MS = 3000,
};

/* One session, its surroundings, and more carriers than any test needs. */
struct fixture {
    struct kit kit;
    struct registry registry;
    struct session_list all;
    struct session_opts opts;
    struct fake_uplink uplink;
    struct session *session;
    struct record carriers; /* what all of them heard */
    struct fake_carrier c[4];
};

static struct fixture fx;

static int set_up(void **state)
{
    (void)state;
    memset(&fx, 0, sizeof fx);
    fake_kit_init(&fx.kit);
    registry_init(&fx.registry, fx.kit.table_key);
    LIST_INIT(&fx.all);
    fx.opts = (struct session_opts){.heartbeat_ms = HEARTBEAT_MS,
                                    .pong_timeout_ms = PONG_MS,
                                    .disconnect_delay_ms = DELAY_MS,
                                    .accept_timeout_ms = ACCEPT_MS,
                                    .queue_hard_bytes = HARD_BYTES,
                                    .queue_soft_bytes = SOFT_BYTES,
                                    .queue_soft_time_ms = SOFT_MS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    while (!LIST_EMPTY(&fx.all)) {
        session_abort(LIST_FIRST(&fx.all));
    }
    assert_true(fx.registry.by_sid.n_nodes == 0);
    assert_true(fx.kit.counters.sessions_open == 0);
    assert_true(fx.kit.counters.sessions_opened == fx.kit.counters.sessions_closed);
    assert_true(fx.session == NULL || fx.uplink.is_closed);
    registry_fini(&fx.registry);
    fake_kit_fini(&fx.kit);
    return 0;
}

enum kind {
    NAMED = 0,  /* registered under a session id, as every HTTP transport's */
    DUPLEX = 1, /* a WebSocket: cannot be named */
    WAITS = 2,  /* accept mode */
};

static void open_as(const struct dialect_ops *dialect, unsigned kind)
{
    const struct session_birth birth = {.kit = &fx.kit,
                                        .opts = &fx.opts,
                                        .dialect = dialect,
                                        .uplink = &fake_uplink_ops,
                                        .registry = kind & DUPLEX ? NULL : &fx.registry,
                                        .all = &fx.all,
                                        .sid = kind & DUPLEX ? SPAN_NONE : SPAN_LIT("sid"),
                                        .must_wait = (kind & WAITS) != 0};
    assert_int_equal(session_create(&birth, &fx.session), ERR_OK);
    fx.session->binding = &fx.uplink;
}

static void open_session(unsigned kind)
{
    open_as(&sockjs_dialect, kind);
}

static void attach(int i, const struct transport_ops *ops)
{
    fake_carrier_attach(&fx.c[i], ops, fx.session, &fx.carriers);
}

/* A session with its first carrier, after the turn in which it began. */
static void open_on(const struct transport_ops *ops)
{
    open_session(ops == &fake_duplex ? DUPLEX : NAMED);
    attach(0, ops);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "o");
}

static enum err send_text(const char *text)
{
    const struct message message = {span_str(text), true};
    return session_send(fx.session, &message);
}

static void must_send(const char *text)
{
    assert_int_equal(send_text(text), ERR_OK);
}

/* A message of which `n` fill the queue to `n * bytes` exactly. */
static enum err send_bytes(size_t bytes)
{
    static char text[HARD_BYTES * 2];
    memset(text, 'x', sizeof text);
    const struct message message = {span_of(text, bytes - SENDQ_RECORD_BYTES), true};
    return session_send(fx.session, &message);
}

static enum err receive(const char *text)
{
    const char *why = NULL;
    return session_receive(fx.session, span_str(text), true, &why);
}

static void pass(uint64_t ms)
{
    fake_kit_pass(&fx.kit, ms);
}

static bool is_alive(void)
{
    return !LIST_EMPTY(&fx.all);
}

static void close_it(void)
{
    session_close(fx.session, 3000, SPAN_LIT("Go away!"));
}

/* -- out ------------------------------------------------------------------------------------- */

static void a_poll_takes_everything_of_the_turn_as_one_frame(void **state)
{
    (void)state;
    open_on(&fake_poll); /* the hello has used up the first poll */
    attach(1, &fake_poll);
    must_send("a");
    must_send("b");
    CHECK_RECORD(&fx.carriers, "");
    must_send("c");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\",\"b\",\"c\"]");
    assert_true(fx.c[1].is_over);
    assert_null(fx.session->carrier);
}

static void what_comes_between_polls_waits(void **state)
{
    (void)state;
    open_on(&fake_poll);
    must_send("a");
    pass(1000);
    must_send("b");
    fake_kit_turn(&fx.kit);
    attach(1, &fake_poll);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\",\"b\"]");
    attach(2, &fake_poll);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "");
    assert_false(fx.c[2].is_over);
}

static void a_stream_gets_a_frame_a_turn_and_one_hello(void **state)
{
    (void)state;
    open_on(&fake_stream);
    must_send("a");
    must_send("b");
    fake_kit_turn(&fx.kit);
    must_send("c");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\",\"b\"] a[\"c\"]");
    fake_carrier_detach(&fx.c[0], DETACH_ENDED, 0, "");
    attach(1, &fake_stream);
    must_send("d");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"d\"]");
}

static void a_stream_that_ends_inside_a_drain_leaves_the_rest(void **state)
{
    (void)state;
    open_as(&raw_dialect, NAMED); /* one message a frame */
    attach(0, &fake_stream);
    fx.c[0].n_frames = 2;
    must_send("a");
    must_send("b");
    must_send("c");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a b");
    attach(1, &fake_poll);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "c");
}

static void a_duplex_with_room_is_written_at_once_and_without_a_queue(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    must_send("a");
    CHECK_RECORD(&fx.carriers, "a[\"a\"]");
    must_send("b");
    CHECK_RECORD(&fx.carriers, "a[\"b\"]");
    assert_null(fx.session->queue.records.data); /* no storage was ever needed */
    assert_true(fx.session->n_out == 2);
    assert_true(fx.kit.counters.messages_out == 2);
    assert_true(fx.kit.counters.bytes_out == 2);
}

static void without_room_messages_queue_and_drain_in_order(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 1;
    must_send("a");
    must_send("b");
    must_send("c");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\"]");
    fx.c[0].n_room = SIZE_MAX;
    must_send("d"); /* may not overtake */
    CHECK_RECORD(&fx.carriers, "");
    session_flushed(fx.session);
    CHECK_RECORD(&fx.carriers, "a[\"b\",\"c\",\"d\"]");
    must_send("e");
    CHECK_RECORD(&fx.carriers, "a[\"e\"]");
}

static void raw_messages_go_one_a_frame_as_the_room_allows(void **state)
{
    (void)state;
    open_as(&raw_dialect, DUPLEX);
    attach(0, &fake_duplex);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "");
    fx.c[0].n_room = 0;
    const struct message binary = {SPAN_LIT("b"), false};
    must_send("a");
    assert_int_equal(session_send(fx.session, &binary), ERR_OK);
    must_send("c");
    fx.c[0].n_room = 2;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.carriers, "a bin:b");
    fx.c[0].n_room = 2;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.carriers, "c");
}

/* -- receivers ------------------------------------------------------------------------------- */

static void a_second_receiver_hears_the_conflict_and_the_first_lives_on(void **state)
{
    (void)state;
    open_on(&fake_stream);
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[2010,\"Another connection still open\"] "
                               "<finish 1000 Another connection still open>");
    assert_ptr_equal(fx.session->carrier, &fx.c[0].base);
    must_send("a");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\"]");
    CHECK_RECORD(&fx.uplink.record, "");
}

static void a_lost_carrier_ends_it_and_later_receivers_hear_so(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fake_carrier_detach(&fx.c[0], DETACH_LOST, 0, "reset");
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 reset>");
    for (int i = 1; i < 3; i++) {
        attach(i, &fake_poll);
        CHECK_RECORD(&fx.carriers, "c[1002,\"Connection interrupted\"] "
                                   "<finish 1000 Connection interrupted>");
    }
    assert_int_equal(send_text("late"), ERR_GONE);
    pass(DELAY_MS - 1);
    assert_ptr_equal(registry_find(&fx.registry, SPAN_LIT("sid")), fx.session);
    pass(1);
    assert_null(registry_find(&fx.registry, SPAN_LIT("sid")));
    assert_false(is_alive());
}

static void a_lost_carrier_before_the_hello_leaves_nothing(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_poll);
    fake_carrier_detach(&fx.c[0], DETACH_LOST, 0, "");
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 Connection lost>");
    assert_null(registry_find(&fx.registry, SPAN_LIT("sid")));
}

static void a_lost_duplex_is_gone_at_once(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fake_carrier_detach(&fx.c[0], DETACH_LOST, 0, "");
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 Connection lost>");
    assert_false(is_alive());
}

static void the_peers_goodbye_reaches_the_uplink(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fake_carrier_detach(&fx.c[0], DETACH_BYE, 4321, "enough");
    CHECK_RECORD(&fx.uplink.record, "<closed 4321 enough>");
    CHECK_RECORD(&fx.carriers, "");
    assert_false(is_alive());
}

/* -- close ----------------------------------------------------------------------------------- */

static void queued_messages_go_before_the_goodbye(void **state)
{
    (void)state;
    open_on(&fake_stream);
    must_send("a");
    close_it();
    CHECK_RECORD(&fx.uplink.record, "<closed 3000 Go away!>");
    assert_int_equal(send_text("late"), ERR_GONE);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "a[\"a\"] c[3000,\"Go away!\"] <finish 1000 Go away!>");
    close_it();
    session_accept(fx.session, SPAN_NONE);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.uplink.record, "");
}

static void a_poll_gets_the_messages_and_the_next_one_the_goodbye(void **state)
{
    (void)state;
    open_on(&fake_poll);
    must_send("a");
    close_it();
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "a[\"a\"]");
    for (int i = 2; i < 4; i++) {
        attach(i, &fake_poll);
        CHECK_RECORD(&fx.carriers, "c[3000,\"Go away!\"] <finish 1000 Go away!>");
    }
    pass(DELAY_MS);
    assert_false(is_alive());
}

static void a_second_receiver_of_a_closing_session_hears_the_same_goodbye(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    must_send("a");
    close_it();
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers,
                 ""); /* the first has no room yet, and is not the session's business */
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[3000,\"Go away!\"] <finish 1000 Go away!>");
    fx.c[0].n_room = SIZE_MAX;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.carriers, "a[\"a\"] c[3000,\"Go away!\"] <finish 1000 Go away!>");
}

static void a_closed_duplex_without_room_says_goodbye_after_what_is_queued(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    must_send("a");
    close_it();
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "");
    fx.c[0].n_room = 1;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.carriers, "a[\"a\"] c[3000,\"Go away!\"] <finish 1000 Go away!>");
    fake_kit_turn(&fx.kit);
    assert_false(is_alive());
}

static void a_peer_that_never_reads_its_goodbye_is_cut(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    must_send("a");
    close_it();
    pass(DELAY_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    pass(1);
    CHECK_RECORD(&fx.carriers, "<abort>");
    assert_false(is_alive());
}

static void a_carrier_lost_while_closing_changes_nothing_for_the_uplink(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    must_send("a");
    close_it();
    fake_carrier_detach(&fx.c[0], DETACH_LOST, 0, "");
    CHECK_RECORD(&fx.uplink.record, "<closed 3000 Go away!>");
    attach(1, &fake_stream);
    CHECK_RECORD(&fx.carriers, "a[\"a\"] c[3000,\"Go away!\"] <finish 1000 Go away!>");
    pass(DELAY_MS);
    assert_false(is_alive());

    memset(&fx.uplink, 0, sizeof fx.uplink);
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    must_send("a");
    close_it();
    fake_carrier_detach(&fx.c[0], DETACH_BYE, 1000, "");
    CHECK_RECORD(&fx.uplink.record, "<closed 3000 Go away!>");
    assert_false(is_alive());
}

static void raw_tells_code_and_reason_by_the_transport(void **state)
{
    (void)state;
    open_as(&raw_dialect, DUPLEX);
    attach(0, &fake_duplex);
    close_it();
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "<finish 3000 Go away!>");
    assert_false(is_alive());
}

static void a_session_closed_before_any_carrier_says_so_to_the_first(void **state)
{
    (void)state;
    open_session(NAMED);
    close_it();
    fake_kit_turn(&fx.kit);
    attach(0, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[3000,\"Go away!\"] <finish 1000 Go away!>"); /* and no hello */
}

/* -- timers ---------------------------------------------------------------------------------- */

static void life_without_a_receiver_ends_after_the_delay(void **state)
{
    (void)state;
    open_session(NAMED);
    pass(DELAY_MS - 1);
    attach(0, &fake_poll); /* takes the hello and ends: the delay starts anew, here */
    CHECK_RECORD(&fx.carriers, "o");
    pass(DELAY_MS - 1);
    assert_int_equal(receive("[\"x\"]"), ERR_OK); /* a send does not renew it */
    must_send("y");
    CHECK_RECORD(&fx.uplink.record, "(x)");
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 Session timed out>");
    assert_false(is_alive());
}

static void the_delay_starts_at_the_end_of_the_receiver(void **state)
{
    (void)state;
    open_on(&fake_stream);
    pass(DELAY_MS * 2);
    fake_carrier_detach(&fx.c[0], DETACH_ENDED, 0, "");
    pass(DELAY_MS - 1);
    CHECK_RECORD(&fx.uplink.record, "");
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 Session timed out>");
}

static void idle_receivers_hear_heartbeats_again_and_again(void **state)
{
    (void)state;
    open_on(&fake_stream);
    pass(HEARTBEAT_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    pass(1);
    CHECK_RECORD(&fx.carriers, "h");
    pass(HEARTBEAT_MS);
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "h h");
    fake_carrier_detach(&fx.c[0], DETACH_ENDED, 0, "");
    attach(1, &fake_poll);
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "h"); /* ends the poll */
    assert_true(fx.c[1].is_over);
    pass(DELAY_MS);
    assert_false(is_alive());
}

static void busy_receivers_hear_no_heartbeat(void **state)
{
    (void)state;
    open_on(&fake_stream);
    for (int i = 0; i < 4; i++) {
        pass(HEARTBEAT_MS - 1);
        must_send("x");
        fake_kit_turn(&fx.kit);
        CHECK_RECORD(&fx.carriers, "a[\"x\"]");
    }
    pass(HEARTBEAT_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    pass(1);
    CHECK_RECORD(&fx.carriers, "h");
}

static void a_receiver_without_room_hears_none_until_it_has(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "");
    fx.c[0].n_room = 1;
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "h");
}

static void a_ping_that_is_answered_is_repeated(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    for (int i = 0; i < 3; i++) {
        pass(HEARTBEAT_MS);
        CHECK_RECORD(&fx.carriers, "<ping>");
        session_alive(fx.session);
    }
    pass(PONG_MS);
    assert_true(is_alive());
}

static void any_input_counts_as_a_sign_of_life(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "<ping>");
    assert_int_equal(receive("[]"), ERR_OK);
    pass(PONG_MS);
    assert_true(is_alive());
}

static void a_missing_pong_ends_it(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    pass(HEARTBEAT_MS);
    pass(PONG_MS - 1);
    CHECK_RECORD(&fx.carriers, "<ping>");
    pass(1);
    CHECK_RECORD(&fx.carriers, "<abort>");
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 No pong>");
    assert_false(is_alive());
}

static void the_pong_deadline_stands_still_while_we_do_not_read(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    pass(HEARTBEAT_MS);
    session_pause_input(fx.session, true);
    CHECK_RECORD(&fx.carriers, "<ping> <pause>");
    pass(PONG_MS);
    pass(HEARTBEAT_MS - PONG_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    session_pause_input(fx.session, false); /* the pong may lie in the kernel: time to read it */
    CHECK_RECORD(&fx.carriers, "<resume>");
    pass(PONG_MS - 1);
    assert_true(is_alive());
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 No pong>");
}

static void of_the_pong_deadline_the_rest_is_left_after_a_pause(void **state)
{
    (void)state;
    enum {
        SPENT_MS = 4000
    };
    open_on(&fake_duplex);
    pass(HEARTBEAT_MS);
    for (int i = 0; i < 2; i++) {
        pass(SPENT_MS);
        session_pause_input(fx.session, true);
        pass(HEARTBEAT_MS * 3);
        session_pause_input(fx.session, false);
    }
    pass(PONG_MS - 2 * SPENT_MS - 1);
    assert_true(is_alive());
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 No pong>");
}

static void a_ping_sent_while_we_do_not_read_has_all_of_its_time(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    session_pause_input(fx.session, true);
    pass(HEARTBEAT_MS);
    pass(HEARTBEAT_MS);
    CHECK_RECORD(&fx.carriers, "<pause> <ping> <ping>"); /* proxies on the way count idle time */
    session_pause_input(fx.session, false);
    pass(PONG_MS - 1);
    assert_true(is_alive());
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1006 No pong>");
}

/* Behind so much output a peer could neither see the ping nor answer in time. */
static void a_peer_without_room_is_not_pinged(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    pass(HEARTBEAT_MS);
    pass(PONG_MS);
    CHECK_RECORD(&fx.carriers, "");
    fx.c[0].n_room = SIZE_MAX;
    pass(HEARTBEAT_MS - PONG_MS);
    CHECK_RECORD(&fx.carriers, "<ping>");
}

/* -- accept mode ----------------------------------------------------------------------------- */

static void the_hello_comes_after_the_accept(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_stream);
    must_send("early");
    pass(ACCEPT_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    session_accept(fx.session, SPAN_NONE);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "o a[\"early\"]");
    session_accept(fx.session, SPAN_NONE);
    fake_kit_turn(&fx.kit);
    pass(1);
    CHECK_RECORD(&fx.carriers, "");
    CHECK_RECORD(&fx.uplink.record, "");
}

static void accepted_without_a_receiver_it_waits_for_one(void **state)
{
    (void)state;
    open_session(WAITS);
    pass(ACCEPT_MS - 1);
    session_accept(fx.session, SPAN_NONE);
    pass(DELAY_MS - 1);
    attach(0, &fake_poll);
    CHECK_RECORD(&fx.carriers, "o");
}

static void nobody_accepts_in_time(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_poll);
    pass(ACCEPT_MS - 1);
    CHECK_RECORD(&fx.carriers, "");
    pass(1);
    CHECK_RECORD(&fx.carriers, "c[1013,\"No handler accepted the session\"] "
                               "<finish 1000 No handler accepted the session>");
    CHECK_RECORD(&fx.uplink.record, "<closed 1013 No handler accepted the session>");
}

static void a_reject_comes_without_a_hello(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_stream);
    close_it();
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "c[3000,\"Go away!\"] <finish 1000 Go away!>");
}

static void what_was_sent_before_a_reject_is_for_nobody(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_stream);
    must_send("early");
    close_it();
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "c[3000,\"Go away!\"] <finish 1000 Go away!>");
}

static enum err take_accept(struct carrier *carrier, struct span subprotocol)
{
    struct fake_carrier *fake = fake_of(carrier);
    record_add(fake->record, "<accepted %.*s>", SPAN_FMT(subprotocol));
    return subprotocol.len != 0 ? ERR_PROTO : ERR_OK;
}

static void open_waiting(const struct dialect_ops *dialect)
{
    static struct transport_ops duplex;
    duplex = fake_duplex;
    duplex.accepted = take_accept;
    log_set_level(LOG_ERROR);
    open_as(dialect, DUPLEX | WAITS);
    attach(0, &duplex);
}

static void a_handshake_that_opens_waits_for_the_accept(void **state)
{
    (void)state;
    open_waiting(&raw_dialect);
    must_send("early");
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "");
    session_accept(fx.session, SPAN_NONE);
    session_accept(fx.session, SPAN_LIT("late")); /* nothing is asked any more */
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "<accepted > early");
}

static void a_choice_that_the_carrier_refuses_is_1011(void **state)
{
    (void)state;
    open_waiting(&raw_dialect);
    session_accept(fx.session, SPAN_LIT("nope"));
    session_accept(fx.session, SPAN_NONE);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.carriers, "<accepted nope> <finish 1011 Subprotocol was not offered>");
    CHECK_RECORD(&fx.uplink.record, "<closed 1011 Subprotocol was not offered>");
}

static void a_dialect_with_a_hello_asks_no_carrier(void **state)
{
    (void)state;
    open_waiting(&sockjs_dialect);
    session_accept(fx.session, SPAN_LIT("nope"));
    CHECK_RECORD(&fx.carriers, "o");
}

static void a_second_receiver_while_connecting_is_a_conflict_too(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_poll);
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[2010,\"Another connection still open\"] "
                               "<finish 1000 Another connection still open>");
    session_accept(fx.session, SPAN_NONE);
    CHECK_RECORD(&fx.carriers, "o");
}

/* -- bounds ---------------------------------------------------------------------------------- */

static void the_soft_bound_tells_the_uplink(void **state)
{
    (void)state;
    open_as(&raw_dialect, NAMED);
    attach(0, &fake_stream);
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(SOFT_BYTES / 2), ERR_OK);
    assert_int_equal(send_bytes(SOFT_BYTES / 2), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, ""); /* at the bound */
    assert_int_equal(send_bytes(SENDQ_RECORD_BYTES + 1), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, "<unwritable>");
    assert_int_equal(send_bytes(SENDQ_RECORD_BYTES + 1), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, ""); /* once */
    fx.c[0].n_room = 1;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.uplink.record, ""); /* 518 bytes: not well below */
    fx.c[0].n_room = 1;
    session_flushed(fx.session);
    CHECK_RECORD(&fx.uplink.record, "<writable>");
}

static void the_soft_bound_holds_while_connecting(void **state)
{
    (void)state;
    open_session(WAITS);
    assert_int_equal(send_bytes(SOFT_BYTES + 1), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, "<unwritable>");
    session_accept(fx.session, SPAN_NONE);
    attach(0, &fake_stream);
    fake_kit_turn(&fx.kit);
    CHECK_RECORD(&fx.uplink.record, "<writable>");
}

static void at_the_hard_bound_a_slow_client_is_closed(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(HARD_BYTES), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, "<unwritable>");
    assert_int_equal(send_bytes(SENDQ_RECORD_BYTES), ERR_LIMIT);
    CHECK_RECORD(&fx.uplink.record, "<closed 1008 Slow consumer>");
    CHECK_RECORD(&fx.carriers, "c[1008,\"Slow consumer\"] <finish 1000 Slow consumer>");
    assert_int_equal(send_text("late"), ERR_GONE);
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[1008,\"Slow consumer\"] <finish 1000 Slow consumer>");
    assert_true(fx.kit.counters.slow_consumers == 1);
    pass(DELAY_MS);
    assert_false(is_alive());
}

static void at_the_hard_bound_between_polls_the_queue_still_goes_out(void **state)
{
    (void)state;
    open_on(&fake_poll);
    must_send("a");
    assert_int_equal(send_bytes(HARD_BYTES), ERR_LIMIT);
    attach(1, &fake_poll);
    CHECK_RECORD(&fx.carriers, "a[\"a\"]");
    attach(2, &fake_poll);
    CHECK_RECORD(&fx.carriers, "c[1008,\"Slow consumer\"] <finish 1000 Slow consumer>");
}

static void a_slow_duplex_is_gone_at_once(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(HARD_BYTES + 1), ERR_LIMIT);
    CHECK_RECORD(&fx.carriers, "c[1008,\"Slow consumer\"] <finish 1000 Slow consumer>");
    assert_false(is_alive());
}

static void or_its_oldest_messages_are_dropped(void **state)
{
    (void)state;
    fx.opts.slow_policy = SESSION_SLOW_DROP_OLDEST;
    open_on(&fake_poll);
    must_send("first");
    must_send("second");
    assert_int_equal(send_bytes(HARD_BYTES - SENDQ_RECORD_BYTES - 6), ERR_OK);
    struct message left[3];
    assert_int_equal(sendq_peek(&fx.session->queue, left, 3), 2);
    assert_true(span_eq(left[0].data, SPAN_LIT("second")));
    assert_int_equal(sendq_bytes(&fx.session->queue), HARD_BYTES);
    must_send("third");
    assert_int_equal(sendq_peek(&fx.session->queue, left, 3), 2);
    assert_true(span_eq(left[1].data, SPAN_LIT("third")));
    CHECK_RECORD(&fx.uplink.record, "<unwritable>"); /* told once, at the large one */
    attach(1, &fake_poll);
    fake_kit_turn(&fx.kit);
    fx.carriers.len = 0;
    assert_int_equal(send_bytes(HARD_BYTES + 1), ERR_LIMIT); /* can never fit */
    CHECK_RECORD(&fx.uplink.record, "<writable> <closed 1008 Slow consumer>");
}

/* -- the soft bound's time ------------------------------------------------------------------- */

static void rise_above_soft(void)
{
    assert_int_equal(send_bytes(SOFT_BYTES / 2), ERR_OK);
    assert_int_equal(send_bytes(SOFT_BYTES / 2 + 1), ERR_OK);
}

static void too_long_above_the_soft_bound_it_is_closed(void **state)
{
    (void)state;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    rise_above_soft();
    pass(SOFT_MS - 1);
    assert_int_equal(send_bytes(100), ERR_OK); /* above already: does not begin anew */
    assert_true(is_alive());
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<unwritable> <closed 1008 Slow consumer>");
    CHECK_RECORD(&fx.carriers, "c[1008,\"Slow consumer\"] <finish 1000 Slow consumer>");
    assert_true(fx.kit.counters.slow_consumers == 1);
    assert_false(is_alive());
}

static void leaving_the_soft_bound_begins_its_time_anew(void **state)
{
    (void)state;
    open_as(&raw_dialect, NAMED);
    attach(0, &fake_stream);
    fx.c[0].n_room = 0;
    for (int i = 0; i < 3; i++) {
        rise_above_soft();
        pass(SOFT_MS - 1);
        fx.c[0].n_room = 1;
        session_flushed(fx.session); /* one of the two: below soft, and not told writable */
        fx.c[0].n_room = 0;
        pass(SOFT_MS);
        assert_true(is_alive());
        fx.c[0].n_room = SIZE_MAX;
        session_flushed(fx.session);
        fx.c[0].n_room = 0;
    }
    CHECK_RECORD(&fx.uplink.record,
                 "<unwritable> <writable> <unwritable> <writable> <unwritable> <writable>");
}

static void at_the_soft_bound_time_does_not_run(void **state)
{
    (void)state;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(SOFT_BYTES), ERR_OK);
    pass(10 * SOFT_MS);
    assert_true(is_alive());
}

static void too_long_above_it_the_oldest_are_dropped_down_to_it(void **state)
{
    (void)state;
    fx.opts.slow_policy = SESSION_SLOW_DROP_OLDEST;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    for (int i = 0; i < 7; i++) {
        assert_int_equal(send_bytes(SOFT_BYTES / 4), ERR_OK);
    }
    pass(SOFT_MS);
    assert_int_equal(sendq_bytes(&fx.session->queue), SOFT_BYTES);
    CHECK_RECORD(&fx.uplink.record, "<unwritable>"); /* what is left still waits */
    assert_int_equal(send_bytes(SOFT_BYTES + 1), ERR_OK);
    pass(SOFT_MS);
    CHECK_RECORD(&fx.uplink.record, "<writable>"); /* the large one went too */
    assert_true(sendq_is_empty(&fx.session->queue));
    assert_true(is_alive());
}

static void the_soft_bound_waits_for_the_accept(void **state)
{
    (void)state;
    open_session(WAITS);
    rise_above_soft();
    pass(SOFT_MS * 2);
    assert_true(is_alive());
    session_accept(fx.session, SPAN_NONE);
    pass(SOFT_MS - 1);
    CHECK_RECORD(&fx.uplink.record, "<unwritable>");
    pass(1);
    CHECK_RECORD(&fx.uplink.record, "<closed 1008 Slow consumer>");
}

/* The timer that serves them all forgets none. */
static void the_soft_bound_leaves_the_other_deadlines_alone(void **state)
{
    (void)state;
    fx.opts.slow_policy = SESSION_SLOW_DROP_OLDEST;
    open_on(&fake_stream);
    pass(HEARTBEAT_MS - SOFT_MS - 1);
    fx.c[0].n_room = 0;
    rise_above_soft();
    pass(SOFT_MS);
    fx.c[0].n_room = SIZE_MAX;
    CHECK_RECORD(&fx.carriers, "");
    pass(1);
    CHECK_RECORD(&fx.carriers, "h");
    fake_carrier_detach(&fx.c[0], DETACH_ENDED, 0, "");
    rise_above_soft();
    pass(DELAY_MS - 1);
    assert_true(is_alive());
    pass(1);
    assert_false(is_alive());
}

static void abort_it_when_writable(struct fake_uplink *fake, bool is_writable)
{
    (void)fake;
    if (is_writable) {
        session_abort(fx.session);
    }
}

static void ended_inside_the_relief_of_its_queue(void **state)
{
    (void)state;
    fx.opts.slow_policy = SESSION_SLOW_DROP_OLDEST;
    fx.uplink.on_writable = abort_it_when_writable;
    open_on(&fake_duplex);
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(SOFT_BYTES + 1), ERR_OK);
    pass(SOFT_MS);
    assert_false(is_alive());
}

static void more_messages_than_one_batch_go_out_in_order(void **state)
{
    (void)state;
    enum {
        N = 600
    };
    char got[N * 2 + 1] = "";
    fx.opts.queue_hard_bytes = 1 << 20;
    open_as(&raw_dialect, NAMED);
    for (int i = 0; i < N; i++) {
        const char text[2] = {(char)('a' + i % 26), '\0'};
        must_send(text);
    }
    attach(0, &fake_stream);
    fake_kit_turn(&fx.kit);
    for (int i = 0; i < N; i++) {
        got[2 * i] = (char)('a' + i % 26);
        got[2 * i + 1] = i + 1 < N ? ' ' : '\0';
    }
    CHECK_RECORD(&fx.carriers, got);
}

/* -- input ----------------------------------------------------------------------------------- */

struct watch {
    struct session_ref ref;
    int n_calls;
    void (*then)(struct watch *watch);
};

static void on_change(struct session_ref *ref)
{
    struct watch *watch = CONTAINER_OF(ref, struct watch, ref);
    watch->n_calls++;
    if (watch->then != NULL) {
        watch->then(watch);
    }
}

static void paused_input_pauses_the_carrier_and_its_successors(void **state)
{
    (void)state;
    struct watch watch = {.ref.on_change = on_change};
    open_on(&fake_duplex);
    session_hold(fx.session, &watch.ref);
    session_pause_input(fx.session, true);
    session_pause_input(fx.session, true);
    CHECK_RECORD(&fx.carriers, "<pause>");
    assert_int_equal(watch.n_calls, 0);
    session_pause_input(fx.session, false);
    session_pause_input(fx.session, false);
    CHECK_RECORD(&fx.carriers, "<resume>");
    assert_int_equal(watch.n_calls, 1);
    session_release(&watch.ref);
    session_release(&watch.ref);
    session_pause_input(fx.session, true);
    session_pause_input(fx.session, false);
    assert_int_equal(watch.n_calls, 1);
}

static void a_carrier_that_comes_while_input_is_paused_is_paused(void **state)
{
    (void)state;
    open_session(DUPLEX);
    session_pause_input(fx.session, true);
    attach(0, &fake_duplex);
    CHECK_RECORD(&fx.carriers, "<pause> o");
}

static void a_ref_hears_the_end_and_is_off_the_list(void **state)
{
    (void)state;
    struct watch watch = {.ref.on_change = on_change};
    struct session_ref silent = {0};
    open_session(NAMED);
    session_hold(fx.session, &watch.ref);
    session_hold(fx.session, &silent);
    pass(DELAY_MS);
    assert_int_equal(watch.n_calls, 1);
    assert_null(watch.ref.session);
    assert_null(silent.session);
    session_release(&watch.ref);
}

/* A POST that is held while the input is paused must be answered when the session closes, not when
 * the linger is over. */
static void closing_lets_go_of_held_input(void **state)
{
    (void)state;
    struct watch watch = {.ref.on_change = on_change};
    open_on(&fake_duplex);
    session_hold(fx.session, &watch.ref);
    session_pause_input(fx.session, true);
    CHECK_RECORD(&fx.carriers, "<pause>");
    fx.c[0].n_room = 0;
    must_send("x");
    close_it();
    assert_int_equal(watch.n_calls, 1);
    assert_ptr_equal(watch.ref.session, fx.session);
    assert_false(fx.session->is_input_paused);
    CHECK_RECORD(&fx.carriers, "<resume>"); /* the peer's own Close is to be seen */
    session_pause_input(fx.session, true);
    assert_false(fx.session->is_input_paused);
    assert_int_equal(receive("[\"late\"]"), ERR_GONE);
    CHECK_RECORD(&fx.uplink.record, "<closed 3000 Go away!>");
    session_release(&watch.ref);
}

static struct watch other_watch;

static void release_other(struct watch *watch)
{
    (void)watch;
    session_release(&other_watch.ref);
}

static void abort_it(void)
{
    session_abort(fx.session);
}

static void abort_from_watch(struct watch *watch)
{
    (void)watch;
    if (watch->n_calls == 1) {
        abort_it();
    }
}

static void a_ref_may_release_another_or_end_the_session(void **state)
{
    (void)state;
    struct watch watch = {.ref.on_change = on_change, .then = release_other};
    other_watch = (struct watch){.ref.on_change = on_change};
    open_session(NAMED);
    session_hold(fx.session, &other_watch.ref);
    session_hold(fx.session, &watch.ref); /* called first */
    session_pause_input(fx.session, true);
    session_pause_input(fx.session, false);
    assert_int_equal(watch.n_calls, 1);
    assert_int_equal(other_watch.n_calls, 0);

    watch.then = abort_from_watch;
    watch.n_calls = 0;
    session_hold(fx.session, &other_watch.ref);
    session_release(&watch.ref);
    session_hold(fx.session, &watch.ref);
    session_pause_input(fx.session, true);
    session_pause_input(fx.session, false);
    assert_int_equal(watch.n_calls, 2);
    assert_int_equal(other_watch.n_calls, 1); /* the end, once */
    assert_null(other_watch.ref.session);
}

static void bad_input_is_the_transports_business(void **state)
{
    (void)state;
    open_on(&fake_stream);
    assert_int_equal(receive("[\"a\","), ERR_SYNTAX);
    assert_int_equal(receive("[\"a\",\"b\"]"), ERR_OK);
    CHECK_RECORD(&fx.uplink.record, "(a) (b)");
    assert_true(fx.session->n_in == 2 && fx.kit.counters.bytes_in == 2);
}

/* -- ends from inside every callback ----------------------------------------------------------- */

static void (*const ends[])(void) = {close_it, abort_it};

static void end_in_message(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    (*(void (**)(void))fake->ctx)();
}

static void end_in_writable(struct fake_uplink *fake, bool is_writable)
{
    (void)is_writable;
    (*(void (**)(void))fake->ctx)();
}

static void end_in_closed(struct fake_uplink *fake)
{
    (*(void (**)(void))fake->ctx)();
}

static void end_in_write(struct fake_carrier *fake)
{
    fake->on_write = NULL;
    (*(void (**)(void))fake->ctx)();
}

/* A fresh session on a carrier of `ops`, whose end the uplink will cause by ends[i]. */
static void open_for_end(const struct transport_ops *ops, size_t i)
{
    memset(&fx.uplink, 0, sizeof fx.uplink);
    fx.carriers.len = 0;
    fx.uplink.ctx = (void *)(uintptr_t)&ends[i];
    open_session(ops == &fake_duplex ? DUPLEX : NAMED);
    attach(0, ops);
    fake_kit_turn(&fx.kit);
}

static void is_over_soon(void)
{
    fake_kit_turn(&fx.kit);
    pass(DELAY_MS);
    assert_true(fx.uplink.is_closed);
    assert_false(is_alive());
}

static const struct transport_ops *const behaviours[] = {&fake_duplex, &fake_stream, &fake_poll};

static void ended_inside_message(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_OF(behaviours); b++) {
        for (size_t i = 0; i < N_OF(ends); i++) {
            open_for_end(behaviours[b], i);
            fx.uplink.on_message = end_in_message;
            assert_int_equal(receive("[\"a\",\"b\\n\"]"), ERR_OK);
            CHECK_RECORD(&fx.uplink.record, i == 0 ? "(a) <closed 3000 Go away!>"
                                                   : "(a) <closed 1001 Server shutting down>");
            is_over_soon();
        }
    }
}

static void ended_inside_writable(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_OF(behaviours); b++) {
        for (size_t i = 0; i < N_OF(ends); i++) {
            open_for_end(behaviours[b], i);
            fx.uplink.on_writable = end_in_writable;
            if (fx.session->carrier != NULL) {
                fx.c[0].n_room = 0;
            }
            (void)!send_bytes(SOFT_BYTES + 1); /* false */
            is_over_soon();

            open_for_end(behaviours[b], i);
            if (fx.session->carrier != NULL) {
                fx.c[0].n_room = 0;
            }
            (void)!send_bytes(SOFT_BYTES + 1);
            fx.uplink.on_writable = end_in_writable;
            if (fx.session->carrier != NULL) {
                fx.c[0].n_room = SIZE_MAX;
                session_flushed(fx.session); /* true */
            } else {
                attach(1, behaviours[b]);
            }
            is_over_soon();
        }
    }
}

static void end_by_close(void)
{
    session_close(fx.session, 4000, SPAN_LIT("first"));
}

static void end_by_loss(void)
{
    fake_carrier_detach(&fx.c[0], DETACH_LOST, 0, "first");
}

static void end_by_goodbye(void)
{
    fake_carrier_detach(&fx.c[0], DETACH_BYE, 4000, "first");
}

static void end_by_limit(void)
{
    fx.c[0].n_room = 0;
    assert_int_equal(send_bytes(HARD_BYTES + 1), ERR_LIMIT);
}

static void end_by_silence(void)
{
    pass(HEARTBEAT_MS);
    pass(PONG_MS);
}

static void ended_again_inside_closed(void **state)
{
    (void)state;
    static const struct {
        void (*first)(void);
        const struct transport_ops *ops;
        const char *want;
    } cases[] = {
        {end_by_close, &fake_duplex, "<closed 4000 first>"},
        {end_by_close, &fake_stream, "<closed 4000 first>"},
        {end_by_loss, &fake_duplex, "<closed 1006 first>"},
        {end_by_loss, &fake_stream, "<closed 1006 first>"},
        {end_by_goodbye, &fake_duplex, "<closed 4000 first>"},
        {end_by_limit, &fake_duplex, "<closed 1008 Slow consumer>"},
        {end_by_limit, &fake_stream, "<closed 1008 Slow consumer>"},
        {end_by_silence, &fake_duplex, "<closed 1006 No pong>"},
        {abort_it, &fake_duplex, "<closed 1001 Server shutting down>"},
        {abort_it, &fake_stream, "<closed 1001 Server shutting down>"},
    };
    for (size_t c = 0; c < N_OF(cases); c++) {
        for (size_t i = 0; i < N_OF(ends); i++) {
            open_for_end(cases[c].ops, i);
            fx.uplink.on_closed = end_in_closed;
            cases[c].first();
            CHECK_RECORD(&fx.uplink.record, cases[c].want);
            is_over_soon();
        }
    }
}

static void ended_inside_closed_by_the_delay(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(ends); i++) {
        open_for_end(&fake_poll, i);
        fx.uplink.on_closed = end_in_closed;
        pass(DELAY_MS);
        CHECK_RECORD(&fx.uplink.record, "<closed 1006 Session timed out>");
        assert_false(is_alive());
    }
}

static void ended_inside_write(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_OF(behaviours); b++) {
        for (size_t i = 0; i < N_OF(ends); i++) {
            open_for_end(behaviours[b], i);
            if (behaviours[b] == &fake_poll) {
                attach(0, &fake_poll);
            }
            fx.c[0].on_write = end_in_write;
            fx.c[0].ctx = (void *)(uintptr_t)&ends[i];
            (void)!send_text("a");
            fake_kit_turn(&fx.kit);
            is_over_soon();
        }
    }
}

static void ended_inside_the_hello(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(ends); i++) {
        memset(&fx.uplink, 0, sizeof fx.uplink);
        open_session(NAMED);
        fx.c[0] = (struct fake_carrier){.base = {&fake_stream, fx.session},
                                        .record = &fx.carriers,
                                        .n_room = SIZE_MAX,
                                        .n_frames = SIZE_MAX,
                                        .on_write = end_in_write,
                                        .ctx = (void *)(uintptr_t)&ends[i]};
        session_attach(fx.session, &fx.c[0].base);
        is_over_soon();
        CHECK_RECORD(&fx.carriers,
                     i == 0 ? "o c[3000,\"Go away!\"] <finish 1000 Go away!>" : "o <abort>");
    }
}

static void aborted_in_every_state(void **state)
{
    (void)state;
    open_session(WAITS);
    attach(0, &fake_poll);
    abort_it();
    CHECK_RECORD(&fx.carriers, "<abort>");
    abort_it(); /* CLOSED: nothing more, memory still there until the turn's end */
    fake_kit_turn(&fx.kit);
    assert_false(is_alive());

    memset(&fx.uplink, 0, sizeof fx.uplink);
    open_on(&fake_duplex);
    abort_it();
    CHECK_RECORD(&fx.uplink.record, "<closed 1001 Server shutting down>");

    memset(&fx.uplink, 0, sizeof fx.uplink);
    fx.carriers.len = 0;
    open_on(&fake_stream);
    fx.c[0].n_room = 0;
    must_send("x");
    close_it();
    abort_it();
    CHECK_RECORD(&fx.carriers, "<abort>");
    CHECK_RECORD(&fx.uplink.record, "<closed 3000 Go away!>");
}

/* -- birth ----------------------------------------------------------------------------------- */

static void a_session_id_has_a_limit(void **state)
{
    (void)state;
    char sid[SID_MAX_BYTES + 1];
    memset(sid, 's', sizeof sid);
    struct session_birth birth = {.kit = &fx.kit,
                                  .opts = &fx.opts,
                                  .dialect = &sockjs_dialect,
                                  .uplink = &fake_uplink_ops,
                                  .registry = &fx.registry,
                                  .all = &fx.all,
                                  .sid = span_of(sid, SID_MAX_BYTES + 1)};
    struct session *session = NULL;
    assert_int_equal(session_create(&birth, &session), ERR_LIMIT);
    birth.sid.len = SID_MAX_BYTES;
    assert_int_equal(session_create(&birth, &session), ERR_OK);
    assert_true(span_eq(session_sid(session), birth.sid));
    assert_ptr_equal(registry_find(&fx.registry, birth.sid), session);
}

static void a_session_without_a_binding_ends_quietly(void **state)
{
    (void)state;
    open_session(NAMED);
    fx.session->binding = NULL;
    assert_int_equal(receive("[\"x\"]"), ERR_OK);
    close_it();
    pass(DELAY_MS);
    assert_false(is_alive());
    fx.session = NULL;
}

static void an_idle_session_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct session) <= 280);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_poll_takes_everything_of_the_turn_as_one_frame),
        TEST(what_comes_between_polls_waits),
        TEST(a_stream_gets_a_frame_a_turn_and_one_hello),
        TEST(a_stream_that_ends_inside_a_drain_leaves_the_rest),
        TEST(a_duplex_with_room_is_written_at_once_and_without_a_queue),
        TEST(without_room_messages_queue_and_drain_in_order),
        TEST(raw_messages_go_one_a_frame_as_the_room_allows),
        TEST(a_second_receiver_hears_the_conflict_and_the_first_lives_on),
        TEST(a_lost_carrier_ends_it_and_later_receivers_hear_so),
        TEST(a_lost_carrier_before_the_hello_leaves_nothing),
        TEST(a_lost_duplex_is_gone_at_once),
        TEST(the_peers_goodbye_reaches_the_uplink),
        TEST(queued_messages_go_before_the_goodbye),
        TEST(a_poll_gets_the_messages_and_the_next_one_the_goodbye),
        TEST(a_second_receiver_of_a_closing_session_hears_the_same_goodbye),
        TEST(a_closed_duplex_without_room_says_goodbye_after_what_is_queued),
        TEST(a_peer_that_never_reads_its_goodbye_is_cut),
        TEST(a_carrier_lost_while_closing_changes_nothing_for_the_uplink),
        TEST(raw_tells_code_and_reason_by_the_transport),
        TEST(a_session_closed_before_any_carrier_says_so_to_the_first),
        TEST(life_without_a_receiver_ends_after_the_delay),
        TEST(the_delay_starts_at_the_end_of_the_receiver),
        TEST(idle_receivers_hear_heartbeats_again_and_again),
        TEST(busy_receivers_hear_no_heartbeat),
        TEST(a_receiver_without_room_hears_none_until_it_has),
        TEST(a_ping_that_is_answered_is_repeated),
        TEST(any_input_counts_as_a_sign_of_life),
        TEST(a_missing_pong_ends_it),
        TEST(the_pong_deadline_stands_still_while_we_do_not_read),
        TEST(of_the_pong_deadline_the_rest_is_left_after_a_pause),
        TEST(a_ping_sent_while_we_do_not_read_has_all_of_its_time),
        TEST(a_peer_without_room_is_not_pinged),
        TEST(the_hello_comes_after_the_accept),
        TEST(accepted_without_a_receiver_it_waits_for_one),
        TEST(nobody_accepts_in_time),
        TEST(a_reject_comes_without_a_hello),
        TEST(what_was_sent_before_a_reject_is_for_nobody),
        TEST(a_handshake_that_opens_waits_for_the_accept),
        TEST(a_choice_that_the_carrier_refuses_is_1011),
        TEST(a_dialect_with_a_hello_asks_no_carrier),
        TEST(a_second_receiver_while_connecting_is_a_conflict_too),
        TEST(the_soft_bound_tells_the_uplink),
        TEST(the_soft_bound_holds_while_connecting),
        TEST(at_the_hard_bound_a_slow_client_is_closed),
        TEST(at_the_hard_bound_between_polls_the_queue_still_goes_out),
        TEST(a_slow_duplex_is_gone_at_once),
        TEST(or_its_oldest_messages_are_dropped),
        TEST(too_long_above_the_soft_bound_it_is_closed),
        TEST(leaving_the_soft_bound_begins_its_time_anew),
        TEST(at_the_soft_bound_time_does_not_run),
        TEST(too_long_above_it_the_oldest_are_dropped_down_to_it),
        TEST(the_soft_bound_waits_for_the_accept),
        TEST(the_soft_bound_leaves_the_other_deadlines_alone),
        TEST(ended_inside_the_relief_of_its_queue),
        TEST(more_messages_than_one_batch_go_out_in_order),
        TEST(paused_input_pauses_the_carrier_and_its_successors),
        TEST(a_carrier_that_comes_while_input_is_paused_is_paused),
        TEST(a_ref_hears_the_end_and_is_off_the_list),
        TEST(closing_lets_go_of_held_input),
        TEST(a_ref_may_release_another_or_end_the_session),
        TEST(bad_input_is_the_transports_business),
        TEST(ended_inside_message),
        TEST(ended_inside_writable),
        TEST(ended_again_inside_closed),
        TEST(ended_inside_closed_by_the_delay),
        TEST(ended_inside_write),
        TEST(ended_inside_the_hello),
        TEST(aborted_in_every_state),
        TEST(a_session_id_has_a_limit),
        TEST(a_session_without_a_binding_ends_quietly),
        TEST(an_idle_session_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
