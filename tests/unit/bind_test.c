/* bind: sessions and handlers find each other, lose each other and find each other again; order,
 * bounds and ends on the way. Real sessions on fake carriers, real links on scripted connections.
 */
#include <stdio.h>

#include "base/log.h"
#include "dialect/raw.h"
#include "edge/bind_internal.h"
#include "edge/router.h"
#include "harness/fake_carrier.h"
#include "harness/frames.h"
#include "harness/scripted_io.h"
#include "http/http_req.h"

enum {
    N_HANDLERS = 3,
    N_SESSIONS = 4,
    GRACE_MS = 30000,
    TIMEOUT_MS = 15000,
    ACCEPT_MS = 10000,
    WINDOW = 4096,
    NARROW_WINDOW = 300, /* full with two OPENs */
    PENDING = 200,
    HARD_BYTES = 4000,
    SOFT_BYTES = 1000,
};

struct handler {
    struct scripted io;
    struct conn *conn;
};

static struct rig rig;
static struct binds binds;
static struct binds_opts opts;
static struct session_opts session_opts;
static struct session_list all;
static struct handler handlers[N_HANDLERS];
static struct record heard;    /* what a handler heard, for the checks */
static struct record carriers; /* what all clients heard */
static struct session *sessions[N_SESSIONS];
static struct fake_carrier c[N_SESSIONS];
static struct mount mount;
static struct transport_opts transport;
static const char *offered;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    rig_start(&rig);
    memset(handlers, 0, sizeof handlers);
    heard.len = 0;
    carriers.len = 0;
    LIST_INIT(&all);
    mount = (struct mount){.path = SPAN_LIT("/chat"), .dialect = &raw_dialect};
    transport = (struct transport_opts){.ops = &fake_duplex};
    offered = "";
    opts = (struct binds_opts){.link = {.max_frame_bytes = 1 << 20,
                                        .window_bytes = WINDOW,
                                        .timeout_ms = TIMEOUT_MS,
                                        .n_workers = 1,
                                        .version = "t"},
                               .grace_ms = GRACE_MS,
                               .pending_bytes = PENDING,
                               .write_timeout_ms = TIMEOUT_MS};
    session_opts = (struct session_opts){.heartbeat_ms = 10000000,
                                         .pong_timeout_ms = 10000,
                                         .disconnect_delay_ms = 5000,
                                         .accept_timeout_ms = ACCEPT_MS,
                                         .queue_hard_bytes = HARD_BYTES,
                                         .queue_soft_bytes = SOFT_BYTES,
                                         .queue_soft_time_ms = 10000};
    binds_init(&binds, &rig.kit, &opts);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    binds_fini(&binds); /* the worker ends links first */
    while (!LIST_EMPTY(&all)) {
        session_abort(LIST_FIRST(&all));
    }
    conn_end_all(rig.loop);
    rig_turn(&rig);
    assert_true(binds.ended_bytes == 0);
    assert_null(binds.tried);
    assert_true(TAILQ_EMPTY(&binds.waiting));
    assert_true(TAILQ_EMPTY(&binds.blocked));
    assert_true(rig.kit.counters.sessions_open == 0);
    assert_true(rig.kit.counters.links_open == 0);
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
    for (int i = 0; i < N_HANDLERS; i++) {
        if (handlers[i].conn != NULL) {
            assert_int_equal(handlers[i].io.n_closes, 1);
            scripted_fini(&handlers[i].io);
        }
    }
    rig_stop(&rig);
    return 0;
}

/* -- handlers ---------------------------------------------------------------------------------- */

static void say(int i, const char *text)
{
    scripted_feed(&handlers[i].io, span_str(text));
    conn_poke(handlers[i].conn);
    rig_turn(&rig);
}

static void read_frames(int i)
{
    rig_turn(&rig);
    record_frames(&heard, scripted_written(&handlers[i].io));
    scripted_forget_written(&handlers[i].io);
}

#define HEARD(i, want)                                                                             \
    do {                                                                                           \
        read_frames(i);                                                                            \
        CHECK_RECORD(&heard, want);                                                                \
    } while (0)

static void connect_as(int i, const char *hello)
{
    handlers[i].conn = scripted_conn(&rig, &handlers[i].io);
    binds_accept(&binds, handlers[i].conn);
    say(i, hello);
}

static void connect_handler(int i)
{
    connect_as(i, "HELLO 1 2\n{}\n");
}

static void kill_handler(int i)
{
    scripted_feed_eof(&handlers[i].io);
    conn_poke(handlers[i].conn);
    rig_turn(&rig);
}

/* -- sessions ---------------------------------------------------------------------------------- */

/* What a test has put into `mount`, `transport` and `offered` before counts. */
static void open_session(int i)
{
    static struct http1_head head;
    static const struct conn_peer peer = {.family = AF_UNIX};
    head.n_fields = 2;
    head.fields[0] = (struct http1_field){SPAN_LIT("User-Agent"), SPAN_LIT("t")};
    head.fields[1] = (struct http1_field){SPAN_LIT("Sec-WebSocket-Protocol"), span_str(offered)};
    const struct http_req req = {
        .head = &head, .target = {.path = SPAN_LIT("/chat/x")}, .peer = &peer};
    const struct session_birth birth = {.kit = &rig.kit,
                                        .opts = &session_opts,
                                        .dialect = &raw_dialect,
                                        .uplink = &bind_uplink_ops,
                                        .all = &all,
                                        .must_wait = mount.must_accept};
    assert_int_equal(session_create(&birth, &sessions[i]), ERR_OK);
    assert_int_equal(bind_session(&binds, sessions[i], &mount, &transport, SPAN_NONE, &req),
                     ERR_OK);
    fake_carrier_attach(&c[i], transport.ops, sessions[i], &carriers);
    rig_turn(&rig);
}

static void client_says(int i, const char *text)
{
    const char *why = NULL;
    assert_int_equal(session_receive(sessions[i], span_str(text), true, &why), ERR_OK);
}

/* A message of `n` bytes. */
static void client_says_much(int i, size_t n)
{
    static char text[1 << 17];
    const char *why = NULL;
    memset(text, 'x', sizeof text);
    (void)!session_receive(sessions[i], span_of(text, n), true, &why);
}

static void client_leaves(int i)
{
    fake_carrier_detach(&c[i], DETACH_BYE, 1001, "left");
    rig_turn(&rig);
}

/* -- finding each other ------------------------------------------------------------------------ */

static void a_session_is_offered_at_once(void **state)
{
    (void)state;
    assert_false(binds_has_handler(&binds, mount.path));
    connect_handler(0);
    assert_true(binds_has_handler(&binds, mount.path));
    open_session(0);
    HEARD(0, "OPEN 1 1 {new+headers}");
    client_says(0, "hi");
    HEARD(0, "MSG 2 1 1 t {hi}");
    say(0, "MSG 1 t 2\nho\nMSG 1 b 1\n!\n");
    CHECK_RECORD(&carriers, "ho bin:!");
    client_leaves(0);
    HEARD(0, "CLOSE 3 1 1001 {left}");
}

static void or_waits_until_a_handler_comes(void **state)
{
    (void)state;
    open_session(0);
    open_session(1);
    client_says(0, "a");
    client_says(1, "b");
    client_says(0, "c");
    rig_pass(&rig, GRACE_MS - 1);
    connect_handler(0);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {a} MSG 3 1 2 t {c} "
             "OPEN 4 2 {new+headers} MSG 5 2 1 t {b}");
    rig_pass(&rig, 1);
    CHECK_RECORD(&carriers, "");
    client_says(1, "d");
    read_frames(0); /* a PING is due about now */
    assert_non_null(strstr(heard.text, "MSG 6 2 2 t {d}"));
    heard.len = 0;
}

static void but_not_for_longer_than_the_grace(void **state)
{
    (void)state;
    open_session(0);
    rig_pass(&rig, 1000);
    open_session(1);
    rig_pass(&rig, GRACE_MS - 1001);
    CHECK_RECORD(&carriers, "");
    rig_pass(&rig, 1);
    CHECK_RECORD(&carriers, "<finish 1013 No handler>");
    rig_pass(&rig, 999);
    CHECK_RECORD(&carriers, "");
    rig_pass(&rig, 1);
    CHECK_RECORD(&carriers, "<finish 1013 No handler>");
    assert_true(LIST_EMPTY(&all));
}

static void a_client_that_leaves_without_a_word_was_never_there(void **state)
{
    (void)state;
    open_session(0);
    client_leaves(0);
    assert_true(binds.ended_bytes == 0);
    connect_handler(0);
    HEARD(0, "");
}

static void what_it_said_is_heard_although_it_left(void **state)
{
    (void)state;
    open_session(0);
    client_says(0, "a");
    client_says(0, "b");
    client_leaves(0);
    assert_true(LIST_EMPTY(&all));
    assert_true(binds.ended_bytes != 0);
    connect_handler(0);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {a} MSG 3 1 2 t {b} CLOSE 4 1 1001 {left}");
    assert_true(binds.ended_bytes == 0);
    assert_true(rig.kit.counters.ends_untold == 0);
}

static void handlers_serve_the_mounts_that_they_name(void **state)
{
    (void)state;
    connect_as(0, "HELLO 1 21\n{\"mounts\":[\"/other\"]}\n");
    assert_false(binds_has_handler(&binds, mount.path));
    open_session(0);
    HEARD(0, "");
    connect_as(1, "HELLO 1 20\n{\"mounts\":[\"/chat\"]}\n");
    HEARD(1, "OPEN 1 1 {new+headers}");
}

static void sessions_go_to_the_link_with_the_fewest(void **state)
{
    (void)state;
    connect_handler(0);
    connect_handler(1);
    open_session(0);
    open_session(1);
    open_session(2);
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    HEARD(1, "OPEN 1 1 {new+headers}");
    client_leaves(0);
    client_leaves(2);
    open_session(3);
    HEARD(0, "CLOSE 3 1 1001 {left} CLOSE 4 2 1001 {left} OPEN 5 3 {new+headers}");
}

static void a_draining_handler_gets_no_more(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    HEARD(0, "OPEN 1 1 {new+headers}");
    say(0, "DRAIN 0\n\n");
    assert_false(binds_has_handler(&binds, mount.path));
    open_session(1);
    client_says(0, "old");
    HEARD(0, "MSG 2 1 1 t {old}");
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers}");
}

/* -- losing each other ------------------------------------------------------------------------- */

static void a_dead_link_leaves_its_sessions_to_another(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says(0, "one");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {one}");
    say(0, "ACK 2 0\n\n");
    connect_handler(1);
    kill_handler(0);
    HEARD(1, "OPEN 1 1 {resumed}");
    client_says(0, "two");
    HEARD(1, "MSG 2 1 2 t {two}"); /* the session's own count goes on */
    say(1, "MSG 1 t 4\nback\n");
    CHECK_RECORD(&carriers, "back");
}

static void or_they_wait_for_one(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    say(0, "ACK 2 0\n\n");
    kill_handler(0);
    client_says(1, "while nobody listened");
    rig_pass(&rig, GRACE_MS - 1);
    CHECK_RECORD(&carriers, "");
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed} OPEN 2 2 {resumed} MSG 3 2 1 t {while nobody listened}");
    kill_handler(1);
    rig_pass(&rig, GRACE_MS); /* the grace counts anew */
    CHECK_RECORD(&carriers, "<finish 1013 No handler> <finish 1013 No handler>");
}

/* Its handler may never have seen it: the next one gets all that the first would have got. */
static void an_open_that_was_not_acknowledged_is_repeated_whole(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    say(0, "DONE 2 0\n\n");
    kill_handler(0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers} OPEN 2 2 {resumed}");
}

static void the_new_handler_hears_of_a_slow_client(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    c[0].n_room = 0;
    HEARD(0, "OPEN 1 1 {new+headers}");
    char text[SOFT_BYTES + 64];
    (void)snprintf(text, sizeof text, "ACK 1 0\n\nMSG 1 t %d\n%0*d\n", SOFT_BYTES, SOFT_BYTES, 7);
    say(0, text);
    HEARD(0, "PAUSE 1 {}");
    kill_handler(0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed} PAUSE 1 {}");
    c[0].n_room = SIZE_MAX;
    session_flushed(sessions[0]);
    HEARD(1, "RESUME 1 {}");
    carriers.len = 0;
}

static void a_whole_batch_of_a_dying_handler_counts(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    scripted_feed(&handlers[0].io,
                  SPAN_LIT("BATCH 22\nMSG 1 t 2\nhi\nACK 1 0\n\n\nBATCH 22\nMSG 1 t"));
    kill_handler(0);
    conn_poke(handlers[0].conn);
    CHECK_RECORD(&carriers, "hi");
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed}");
}

/* -- again ------------------------------------------------------------------------------------- */

static void what_a_dead_handler_had_not_finished_comes_again(void **state)
{
    (void)state;
    const char *why = NULL;
    connect_handler(0);
    open_session(0);
    client_says(0, "one");
    client_says(0, "two");
    assert_int_equal(session_receive(sessions[0], SPAN_LIT("\x01"), false, &why), ERR_OK);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {one} MSG 3 1 2 t {two} MSG 4 1 3 b {\x01}");
    say(0, "ACK 2 0\n\n");
    kill_handler(0);
    client_says(0, "while nobody listened");
    connect_handler(1);
    client_says(0, "new");
    HEARD(1, "OPEN 1 1 {resumed} MSG 2 1 2 t again {two} MSG 3 1 3 b again {\x01} "
             "MSG 4 1 4 t {while nobody listened} MSG 5 1 5 t {new}");
    say(1, "DONE 1-2 4 0\n\n");
    kill_handler(1);
    connect_handler(2);
    HEARD(2, "OPEN 1 1 {resumed} MSG 2 1 3 b again {\x01} MSG 3 1 5 t again {new}");
}

/* The next one had taken only a part of it again when it died as well. */
static void what_was_to_come_again_keeps_its_order(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    read_frames(0);
    heard.len = 0;
    say(0, "ACK 1 0\n\n");
    client_says(0, "a");
    client_says_much(0, 250);
    client_says(0, "c");
    client_says(0, "d");
    opts.link.window_bytes = NARROW_WINDOW;
    kill_handler(0);
    client_says(0, "e");
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed} MSG 2 1 1 t again {a} MSG 3 1 2 t again {xxx}");
    say(1, "DONE 2 0\n\n");
    HEARD(1, "");
    kill_handler(1);
    client_says(0, "f");
    opts.link.window_bytes = WINDOW;
    connect_handler(2);
    HEARD(2, "OPEN 1 1 {resumed} MSG 2 1 2 t again {xxx} MSG 3 1 3 t again {c} "
             "MSG 4 1 4 t again {d} MSG 5 1 5 t {e} MSG 6 1 6 t {f}");
}

static void the_state_goes_to_the_next_handler(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    open_session(2);
    say(0, "STATE 1 3\nold\nSTATE 2 1\nx\nSTATE 1 3\nabc\nACK 2 0\n\n"
           "STATE 2 0\n\nSTATE 3 4\n\xff\n\"}\n"); /* any bytes; of an OPEN not acknowledged, too */
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} OPEN 3 3 {new+headers}");
    kill_handler(0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed+YWJj} OPEN 2 2 {resumed} OPEN 3 3 {new+headers+/woifQ==}");
    say(1, "STATE 1 6\nlonger\n"); /* not acknowledged: it counts all the same */
    kill_handler(1);
    connect_handler(2);
    HEARD(2, "OPEN 1 1 {resumed+bG9uZ2Vy} OPEN 2 2 {resumed} OPEN 3 3 {new+headers+/woifQ==}");
}

static void the_end_of_a_session_outlives_its_handler(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_says(0, "last");
    client_says(0, "words");
    say(0, "ACK 3 0\n\n");
    client_leaves(0);
    say(0, "KICK 2 3000 2\nno\n"); /* the handler knows, but has not finished with it */
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} MSG 3 1 1 t {last} "
             "MSG 4 1 2 t {words} CLOSE 5 1 1001 {left} CLOSE 6 2 3000 {no}");
    say(0, "STATE 1 1\n1\n"); /* of the words before */
    assert_true(LIST_EMPTY(&all));
    kill_handler(0);
    assert_true(binds.ended_bytes != 0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {resumed+MQ==} MSG 2 1 2 t again {words} CLOSE 3 1 1001 {left} "
             "OPEN 4 2 {resumed} CLOSE 5 2 3000 {no}");
    say(1, "ACK 5 0\n\n");
    kill_handler(1);
    connect_handler(2);
    HEARD(2, "");
    assert_true(binds.ended_bytes == 0);
    assert_true(rig.kit.counters.ends_untold == 0);
    carriers.len = 0;
}

static void but_not_without_end(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_leaves(0);
    kill_handler(0);
    rig_pass(&rig, GRACE_MS);
    assert_true(rig.kit.counters.ends_untold == 2);
    assert_true(binds.ended_bytes == 0);
    connect_handler(1);
    HEARD(1, ""); /* nor of the one that was closed for want of a handler */
    carriers.len = 0;
}

static void ended_sessions_that_wait_are_bounded(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_says(0, "a");
    client_says(1, "b");
    kill_handler(0);
    binds.ended_bytes = BINDS_MAX_ENDED_BYTES - 1000; /* as if of many others */
    client_leaves(0);
    assert_true(rig.kit.counters.ends_untold == 0);
    client_leaves(1);
    assert_true(rig.kit.counters.ends_untold == 1);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {a} CLOSE 3 1 1001 {left}");
    binds.ended_bytes -= BINDS_MAX_ENDED_BYTES - 1000;
}

/* Those whose link has no room for their last words count as well: they are not said then. */
static void also_behind_a_full_window(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says_much(0, WINDOW);
    client_says(0, "last");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {xxx}");
    binds.ended_bytes = BINDS_MAX_ENDED_BYTES;
    client_leaves(0);
    HEARD(0, "CLOSE 3 1 1001 {left}");
    assert_true(rig.kit.counters.ends_untold == 1);
    binds.ended_bytes = 0;
    open_session(1);
    say(0, "ACK 3 0\n\n");
    HEARD(0, "OPEN 4 1 {new+headers}");
}

static void without_memory_for_it_the_session_ends(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says(0, "a");
    kill_handler(0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {a}");
    struct binding *b = sessions[0]->binding;
    b->again->returned.max_bytes = 8; /* as if the heap were empty */
    kill_handler(1);
    rig_turn(&rig);
    CHECK_RECORD(&carriers, "<finish 1011 Out of memory>");
    assert_true(rig.kit.counters.out_of_memory == 1);
    connect_handler(2);
    HEARD(2, "OPEN 1 1 {new+headers} CLOSE 2 1 1011 {Out of memory}");
}

/* -- poison ------------------------------------------------------------------------------------ */

/* As each handler that got it died: `n` in a row. */
static void kill_handlers(int n)
{
    for (int i = 0; i < n; i++) {
        if (handlers[0].conn != NULL) {
            scripted_fini(&handlers[0].io);
        }
        connect_handler(0);
        read_frames(0);
        heard.len = 0;
        kill_handler(0);
    }
}

static void connect_anew(void)
{
    scripted_fini(&handlers[0].io);
    connect_handler(0);
}

static void finish_all(void)
{
    char ack[64];
    const struct link *link = TAILQ_FIRST(&binds.links);
    (void)snprintf(ack, sizeof ack, "ACK %llu 0\n\n", (unsigned long long)link->next_number - 1);
    read_frames(0);
    heard.len = 0;
    say(0, ack);
}

/* A handler that finishes what it is handed at once, but for this. */
static void serve_until_poison(void)
{
    for (int i = 0; i < 100; i++) {
        read_frames(0);
        heard.text[heard.len] = '\0';
        if (strstr(heard.text, "{poison}") != NULL) {
            heard.len = 0;
            kill_handler(0);
            return;
        }
        finish_all();
    }
    fail_msg("it did not come");
}

static void a_message_that_ends_every_handler_ends_its_session(void **state)
{
    (void)state;
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* it is logged */
    open_session(0);
    client_says(0, "poison");
    client_says(0, "behind it");
    kill_handlers(BINDS_MAX_REDELIVERIES);
    CHECK_RECORD(&carriers, "");
    connect_anew();
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {poison}"); /* alone */
    kill_handler(0);
    rig_turn(&rig);
    CHECK_RECORD(&carriers, "<finish 1011 A message could not be handled>");
    connect_anew();
    HEARD(0, "OPEN 1 1 {new+headers} CLOSE 2 1 1011 {A message could not be handled}");
}

static void an_ended_session_is_given_up_too(void **state)
{
    (void)state;
    log_set_level((enum log_level)(LOG_ERROR + 1));
    open_session(0);
    client_says(0, "poison");
    client_leaves(0);
    kill_handlers(BINDS_MAX_REDELIVERIES + 1);
    connect_anew();
    HEARD(0, "OPEN 1 1 {new+headers} CLOSE 2 1 1001 {left}");
}

/* Whatever is first in the order in which they are offered: only one is to blame. */
static void those_who_were_only_there_go_on(void **state)
{
    (void)state;
    log_set_level((enum log_level)(LOG_ERROR + 1));
    for (int i = 0; i < N_SESSIONS; i++) {
        open_session(i);
        client_says(i, i == 1 ? "poison" : "harmless");
        client_says(i, "more");
    }
    kill_handlers(BINDS_SUSPECT_FROM);
    connect_anew(); /* one at a time, alone for its session */
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {harmless}");
    client_says(0, "new");
    HEARD(0, "");
    say(0, "ACK 2 0\n\n");
    HEARD(0, "MSG 3 1 2 t again {more} MSG 4 1 3 t {new} "
             "OPEN 5 2 {new+headers} MSG 6 2 1 t again {poison}");
    kill_handler(0);
    connect_anew();
    CHECK_RECORD(&carriers, "");
    serve_until_poison();
    rig_turn(&rig);
    CHECK_RECORD(&carriers, "<finish 1011 A message could not be handled>");
    connect_anew();
    finish_all();
    HEARD(0, ""); /* the others had finished all of theirs */
}

static void a_handler_that_was_not_handed_it_does_not_count(void **state)
{
    (void)state;
    open_session(0);
    client_says(0, "innocent");
    kill_handlers(1);
    opts.link.window_bytes = 1; /* full with its OPEN */
    for (int i = 0; i < 2 * BINDS_MAX_REDELIVERIES; i++) {
        connect_anew();
        HEARD(0, "OPEN 1 1 {new+headers}");
        kill_handler(0);
    }
    opts.link.window_bytes = WINDOW;
    connect_anew();
    client_says(0, "new");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {innocent} MSG 3 1 2 t {new}");
    CHECK_RECORD(&carriers, "");
}

/* -- planned restart --------------------------------------------------------------------------- */

static void a_draining_handler_hands_its_sessions_over(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_says(1, "in flight");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} MSG 3 2 1 t {in flight}");
    say(0, "ACK 2 0\n\n");
    connect_handler(1);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "MOVED 4 1 {}"); /* the other one has something in flight */
    HEARD(1, "");             /* and the old handler has the last word */
    client_says(0, "meanwhile");
    say(0, "BATCH 53\nMSG 1 t 8\none more\nSTATE 1 3\nabc\nDONE 4 0\n\nDONE 3 0\n\n\n");
    CHECK_RECORD(&carriers, "one more");
    HEARD(0, "MOVED 5 2 {}");
    HEARD(1, "OPEN 1 1 {resumed+YWJj} MSG 2 1 1 t {meanwhile}");
    say(0, "MSG 1 t 4\nlate\n");
    assert_true(rig.kit.counters.stale_verbs == 1);
    kill_handler(0);
    HEARD(1, "OPEN 3 2 {resumed}");
    CHECK_RECORD(&carriers, "");
}

static void or_keeps_them_until_there_is_another(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    say(0, "ACK 1 0\n\nDRAIN 0\n\n");
    client_says(0, "old");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {old}");
    say(0, "ACK 2 0\n\n");
    HEARD(0, "");
    connect_as(1, "HELLO 1 21\n{\"mounts\":[\"/other\"]}\n");
    HEARD(0, "");
    connect_handler(2);
    HEARD(0, "MOVED 3 1 {}");
    say(0, "ACK 3 0\n\n");
    HEARD(2, "OPEN 1 1 {resumed}");
}

static void a_session_that_moves_may_end(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    open_session(2);
    say(0, "ACK 3 0\n\n");
    connect_handler(1);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} OPEN 3 3 {new+headers} "
             "MOVED 4 1 {} MOVED 5 2 {} MOVED 6 3 {}");
    client_leaves(0);
    client_says(1, "bye");
    client_leaves(1);
    say(0, "KICK 3 3000 2\nno\n");
    CHECK_RECORD(&carriers, "<finish 3000 no>");
    HEARD(0, "");
    HEARD(1, "");
    say(0, "ACK 6 0\n\n");
    HEARD(1, "OPEN 1 1 {resumed} CLOSE 2 1 1001 {left} "
             "OPEN 3 2 {resumed} MSG 4 2 1 t {bye} CLOSE 5 2 1001 {left} "
             "OPEN 6 3 {resumed} CLOSE 7 3 3000 {no}");
}

static void the_client_of_a_session_that_moves_may_be_slow(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    say(0, "ACK 1 0\n\n");
    connect_handler(1);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "OPEN 1 1 {new+headers} MOVED 2 1 {}");
    c[0].n_room = 0;
    char text[SOFT_BYTES + 64];
    (void)snprintf(text, sizeof text, "MSG 1 t %d\n%0*d\n", SOFT_BYTES, SOFT_BYTES, 7);
    say(0, text);
    HEARD(0, ""); /* nothing follows MOVED */
    say(0, "ACK 2 0\n\n");
    HEARD(1, "OPEN 1 1 {resumed} PAUSE 1 {}");
    carriers.len = 0;
}

static void a_handler_may_die_while_it_hands_over(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    say(0, "ACK 1 0\n\n");
    connect_handler(1);
    say(0, "DRAIN 0\n\n");
    client_says(0, "meanwhile");
    kill_handler(0);
    HEARD(1, "OPEN 1 1 {resumed} MSG 2 1 1 t {meanwhile}");
}

/* What was on its way when the handler said DRAIN goes first. */
static void a_message_in_the_same_turn_keeps_the_session(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    say(0, "ACK 1 0\n\n");
    connect_handler(1);
    scripted_feed(&handlers[0].io, SPAN_LIT("DRAIN 0\n\n"));
    conn_poke(handlers[0].conn);
    client_says(0, "x");
    rig_turn(&rig);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {x}");
    say(0, "ACK 2 0\n\n");
    HEARD(0, "MOVED 3 1 {}");
}

/* -- bounds ------------------------------------------------------------------------------------ */

static void a_full_pending_queue_pauses_the_client(void **state)
{
    (void)state;
    open_session(0);
    client_says_much(0, PENDING - SENDQ_RECORD_BYTES - 1);
    CHECK_RECORD(&carriers, ""); /* one below the bound */
    client_says(0, "");
    CHECK_RECORD(&carriers, "<pause>");
    client_says(0, "decoded together"); /* what one request brought is still taken */
    connect_handler(0);
    CHECK_RECORD(&carriers, "<resume>");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {xxx} MSG 3 1 2 t {} "
             "MSG 4 1 3 t {decoded together}");
}

static void a_full_window_blocks_and_keeps_the_order(void **state)
{
    (void)state;
    opts.link.window_bytes = NARROW_WINDOW;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_says_much(0, WINDOW);
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}"); /* the OPENs filled it already */
    client_says(0, "b");
    client_says(1, "c");
    client_says(0, "d");
    HEARD(0, "");
    CHECK_RECORD(&carriers, "<pause>");
    say(0, "ACK 2 0\n\n");
    HEARD(0, "MSG 3 1 1 t {xxx}"); /* large: the rest waits again */
    CHECK_RECORD(&carriers, "");
    say(0, "ACK 3 0\n\n");
    HEARD(0, "MSG 4 1 2 t {b} MSG 5 1 3 t {d} MSG 6 2 1 t {c}");
    CHECK_RECORD(&carriers, "<resume>");
    client_says(0, "e");
    HEARD(0, "MSG 7 1 4 t {e}");
}

/* The socket has taken a part, so there is room, but those who wait have not been told yet. */
static void nothing_overtakes_what_waits_for_the_socket(void **state)
{
    (void)state;
    opts.link.window_bytes = 1 << 20;
    connect_handler(0);
    open_session(0);
    HEARD(0, "OPEN 1 1 {new+headers}");
    handlers[0].io.write_room = 0;
    client_says_much(0, CONN_HIGH_WATER_BYTES);
    client_says(0, "b");
    rig_turn(&rig);
    handlers[0].io.write_room = CONN_HIGH_WATER_BYTES / 2;
    conn_poke(handlers[0].conn);
    client_says(0, "c");
    handlers[0].io.write_room = SIZE_MAX;
    conn_poke(handlers[0].conn);
    HEARD(0, "MSG 2 1 1 t {xxx} MSG 3 1 2 t {b} MSG 4 1 3 t {c}");
}

static void a_session_without_room_for_its_open_waits(void **state)
{
    (void)state;
    opts.link.window_bytes = NARROW_WINDOW;
    connect_handler(0);
    open_session(0);
    open_session(1);
    open_session(2);
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    say(0, "ACK 1 0\n\n");
    HEARD(0, "OPEN 3 3 {new+headers}");
}

static void the_last_words_of_a_client_come_before_its_close(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says_much(0, WINDOW);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {xxx}");
    client_says(0, "last");
    client_says(0, "words");
    client_leaves(0);
    HEARD(0, "");
    assert_true(LIST_EMPTY(&all));
    say(0, "MSG 1 t 2\nhi\nKICK 1 3000 0\n\n"); /* cross, and are dropped */
    assert_true(rig.kit.counters.stale_verbs == 2);
    say(0, "ACK 2 0\n\n");
    HEARD(0, "MSG 3 1 2 t {last} MSG 4 1 3 t {words} CLOSE 5 1 1001 {left}");
    say(0, "ACK 5 0\n\n");
    open_session(1);
    HEARD(0, "OPEN 6 1 {new+headers}");
}

static void last_words_outlive_their_link(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says_much(0, WINDOW);
    client_says(0, "last");
    client_leaves(0);
    kill_handler(0);
    opts.link.window_bytes = 1 << 20;
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers} MSG 2 1 1 t again {xxx} MSG 3 1 2 t {last} "
             "CLOSE 4 1 1001 {left}");
}

static void a_session_is_settled_when_its_handler_has_finished(void **state)
{
    (void)state;
    open_session(0);
    assert_true(session_settle(sessions[0])); /* nothing was said */
    client_says(0, "to whom?");
    assert_false(session_settle(sessions[0]));
    connect_handler(0);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {to whom?}");
    say(0, "MSG 1 t 2\nhi\nACK 1 0\n\n");
    CHECK_RECORD(&carriers, "hi");
    say(0, "ACK 2 0\n\n");
    CHECK_RECORD(&carriers, "<settled>");
    assert_true(session_settle(sessions[0]));
    session_close(sessions[0], 1000, SPAN_NONE);
    assert_true(session_settle(sessions[0]));
    rig_turn(&rig);
    CHECK_RECORD(&carriers, "<finish 1000 >");
}

static void messages_without_room_are_not_settled(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says_much(0, WINDOW);
    client_says(0, "blocked");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {xxx}");
    assert_false(session_settle(sessions[0]));
    say(0, "ACK 2 0\n\n");
    HEARD(0, "MSG 3 1 2 t {blocked}");
    CHECK_RECORD(&carriers, "");
    say(0, "ACK 3 0\n\n");
    CHECK_RECORD(&carriers, "<settled>");
}

/* What the carrier does on hearing it, inside the acknowledgement. */
static void a_settled_session_may_end(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    client_says(0, "hi");
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {hi}");
    assert_false(session_settle(sessions[0]));
    c[0].ends_when_settled = true;
    say(0, "ACK 2 0\n\n");
    HEARD(0, "CLOSE 3 1 1002 {settled}");
    CHECK_RECORD(&carriers, "<settled>");
    assert_true(LIST_EMPTY(&all));
}

static void a_message_over_max_frame_ends_its_session_only(void **state)
{
    (void)state;
    opts.link.window_bytes = 1 << 20;
    connect_as(0, "HELLO 1 19\n{\"max_frame\":65536}\n");
    open_session(0);
    open_session(1);
    client_says_much(0, 65536);
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} MSG 3 1 1 t {xxx}");
    client_says_much(0, 65537);
    rig_turn(&rig);
    CHECK_RECORD(&carriers, "<finish 1009 Message larger than the handler takes>");
    HEARD(0, "CLOSE 4 1 1009 {Message larger than the handler takes}");
    client_says(1, "hi");
    HEARD(0, "MSG 5 2 1 t {hi}");
}

static void a_large_message_that_waited_is_over_the_next_links_limit(void **state)
{
    (void)state;
    opts.pending_bytes = 1 << 20;
    open_session(0);
    client_says(0, "small");
    client_says_much(0, 65537);
    connect_as(0, "HELLO 1 19\n{\"max_frame\":65536}\n");
    rig_turn(&rig);
    HEARD(0, "OPEN 1 1 {new+headers} MSG 2 1 1 t {small} "
             "CLOSE 3 1 1009 {Message larger than the handler takes}");
    CHECK_RECORD(&carriers, "<finish 1009 Message larger than the handler takes>");
}

static void a_slow_client_pauses_its_handler(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    HEARD(0, "OPEN 1 1 {new+headers}");
    c[0].n_room = 0;
    char text[SOFT_BYTES + 64];
    (void)snprintf(text, sizeof text, "MSG 1 t %d\n%0*d\n", SOFT_BYTES, SOFT_BYTES, 7);
    say(0, text);
    HEARD(0, "PAUSE 1 {}");
    c[0].n_room = SIZE_MAX;
    session_flushed(sessions[0]);
    HEARD(0, "RESUME 1 {}");
    c[0].n_room = 0;
    for (int i = 0; i < HARD_BYTES / SOFT_BYTES; i++) {
        say(0, text);
    }
    HEARD(0, "PAUSE 1 {} CLOSE 2 1 1008 {Slow consumer}");
    carriers.len = 0;
}

/* -- verbs ------------------------------------------------------------------------------------- */

static void kick_ends_the_session_with_code_and_reason(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    say(0, "BATCH 47\nMSG 1 t 3\nbye\nKICK 1 4000 6\nenough\nMSG 1 t 1\n?\n\n");
    CHECK_RECORD(&carriers, "bye <finish 4000 enough>");
    HEARD(0, "OPEN 1 1 {new+headers} CLOSE 2 1 4000 {enough}");
    assert_true(rig.kit.counters.stale_verbs == 1);
}

static void accept_and_reject_decide_where_the_mount_waits(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_session(0);
    open_session(1);
    open_session(2);
    say(0, "ACK 2 0\n\nMSG 1 t 5\nearly\n");
    CHECK_RECORD(&carriers, "");
    say(0, "ACCEPT 1 0\n\nACCEPT 1 0\n\nREJECT 2 3001 2\nno\n");
    CHECK_RECORD(&carriers, "early <finish 3001 no>");
    rig_pass(&rig, ACCEPT_MS);
    CHECK_RECORD(&carriers, "<finish 1013 No handler accepted the session>");
}

static void messages_wait_for_the_accept(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_session(0);
    open_session(1);
    client_says(0, "early");
    client_says(1, "for nobody");
    say(0, "ACK 2 0\n\n");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    say(0, "ACCEPT 1 0\n\nREJECT 2 3001 2\nno\n");
    HEARD(0, "MSG 3 1 1 t {early} CLOSE 4 2 3001 {no}");
    client_says(0, "later");
    HEARD(0, "MSG 5 1 2 t {later}");
    CHECK_RECORD(&carriers, "<finish 3001 no>");
}

static void too_many_of_them_pause_the_input(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_session(0);
    client_says_much(0, PENDING);
    CHECK_RECORD(&carriers, "<pause>");
    say(0, "ACCEPT 1 0\n\n");
    CHECK_RECORD(&carriers, "<resume>");
}

/* Who has not been let in is new to the next handler, whatever the last one acknowledged. */
static void an_undecided_session_is_offered_whole_again(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_session(0);
    client_says(0, "early");
    say(0, "ACK 1 0\n\n");
    kill_handler(0);
    connect_handler(1);
    HEARD(1, "OPEN 1 1 {new+headers}");
    say(1, "ACCEPT 1 0\n\n");
    HEARD(1, "MSG 2 1 1 t {early}");
    kill_handler(1);
    connect_handler(2);
    HEARD(2, "OPEN 1 1 {resumed} MSG 2 1 1 t again {early}");
}

/* Handler `i` has got an OPEN with this in it. */
static void check_open(int i, const char *want)
{
    rig_turn(&rig);
    struct span wrote = scripted_written(&handlers[i].io);
    CHECK(want, memmem(wrote.ptr, wrote.len, want, strlen(want)) != NULL);
    scripted_forget_written(&handlers[i].io);
}

static enum err take_any_accept(struct carrier *carrier, struct span subprotocol)
{
    record_add(fake_of(carrier)->record, "<accepted %.*s>", SPAN_FMT(subprotocol));
    return span_eq(subprotocol, SPAN_LIT("z")) ? ERR_PROTO : ERR_OK;
}

static void open_offering(int i)
{
    static const char *const names[] = {"b", "c"};
    static struct transport_ops duplex;
    duplex = fake_duplex;
    duplex.accepted = take_any_accept;
    transport = (struct transport_opts){.ops = &duplex, .subprotocols = names, .n_subprotocols = 2};
    offered = "a, b";
    open_session(i);
}

static void a_handler_hears_of_subprotocols(void **state)
{
    (void)state;
    connect_handler(0);
    open_offering(0);
    check_open(0, "\"subprotocols\":[\"a\",\"b\"],\"headers\":{\"user-agent\":\"t\"},"
                  "\"subprotocol\":\"b\",\"resumed\":false}");
    say(0, "ACCEPT 1 1\na\nACK 1 0\n\n"); /* the client was let in before */
    CHECK_RECORD(&carriers, "");
    kill_handler(0);
    connect_handler(1);
    check_open(1, "\"origin\":\"\",\"subprotocol\":\"b\",\"resumed\":true}");
}

static void a_handlers_choice_is_kept(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_offering(0);
    say(0, "ACCEPT 1 1\na\nACK 1 0\n\n");
    CHECK_RECORD(&carriers, "<accepted a>");
    kill_handler(0);
    connect_handler(1);
    check_open(1, "\"subprotocol\":\"a\",\"resumed\":true}");
    open_offering(1);
    say(1, "ACCEPT 2 0\n\nACK 2 0\n\n");
    CHECK_RECORD(&carriers, "<accepted >");
    kill_handler(1);
    connect_handler(2);
    check_open(2, "\"subprotocol\":\"b\",\"resumed\":true}");
}

/* The link lives on. */
static void a_choice_that_was_not_offered_ends_the_session(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0);
    open_offering(0);
    HEARD(0, "OPEN 1 1 {new+headers}");
    say(0, "ACCEPT 1 1\nz\n");
    CHECK_RECORD(&carriers, "<accepted z> <finish 1011 Subprotocol was not offered>");
    HEARD(0, "CLOSE 2 1 1011 {Subprotocol was not offered}");
    open_offering(1);
    HEARD(0, "OPEN 3 2 {new+headers}");
}

/* -- memory ------------------------------------------------------------------------------------ */

static void a_link_that_cannot_be_written_loses_its_sessions_to_another(void **state)
{
    (void)state;
    connect_handler(0);
    open_session(0);
    open_session(1);
    say(0, "ACK 2 0\n\n");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    connect_handler(1);
    handlers[0].io.write_room = 0;
    client_says(1, "in the buffer");
    conn_out(handlers[0].conn)->max = 40; /* as if the heap were empty */
    client_leaves(0);                     /* its CLOSE cannot be written */
    rig_pass(&rig, 0);
    HEARD(1, "OPEN 1 1 {resumed} CLOSE 2 1 1001 {left} "
             "OPEN 3 2 {resumed} MSG 4 2 1 t again {in the buffer}");
    client_says(1, "goes on");
    HEARD(1, "MSG 5 2 2 t {goes on}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_offered_at_once),
        TEST(or_waits_until_a_handler_comes),
        TEST(but_not_for_longer_than_the_grace),
        TEST(a_client_that_leaves_without_a_word_was_never_there),
        TEST(what_it_said_is_heard_although_it_left),
        TEST(handlers_serve_the_mounts_that_they_name),
        TEST(sessions_go_to_the_link_with_the_fewest),
        TEST(a_draining_handler_gets_no_more),
        TEST(a_dead_link_leaves_its_sessions_to_another),
        TEST(or_they_wait_for_one),
        TEST(an_open_that_was_not_acknowledged_is_repeated_whole),
        TEST(the_new_handler_hears_of_a_slow_client),
        TEST(a_whole_batch_of_a_dying_handler_counts),
        TEST(what_a_dead_handler_had_not_finished_comes_again),
        TEST(what_was_to_come_again_keeps_its_order),
        TEST(the_state_goes_to_the_next_handler),
        TEST(the_end_of_a_session_outlives_its_handler),
        TEST(but_not_without_end),
        TEST(ended_sessions_that_wait_are_bounded),
        TEST(also_behind_a_full_window),
        TEST(without_memory_for_it_the_session_ends),
        TEST(a_message_that_ends_every_handler_ends_its_session),
        TEST(an_ended_session_is_given_up_too),
        TEST(those_who_were_only_there_go_on),
        TEST(a_handler_that_was_not_handed_it_does_not_count),
        TEST(a_draining_handler_hands_its_sessions_over),
        TEST(or_keeps_them_until_there_is_another),
        TEST(a_session_that_moves_may_end),
        TEST(the_client_of_a_session_that_moves_may_be_slow),
        TEST(a_handler_may_die_while_it_hands_over),
        TEST(a_message_in_the_same_turn_keeps_the_session),
        TEST(a_full_pending_queue_pauses_the_client),
        TEST(a_full_window_blocks_and_keeps_the_order),
        TEST(nothing_overtakes_what_waits_for_the_socket),
        TEST(a_session_without_room_for_its_open_waits),
        TEST(the_last_words_of_a_client_come_before_its_close),
        TEST(last_words_outlive_their_link),
        TEST(a_session_is_settled_when_its_handler_has_finished),
        TEST(messages_without_room_are_not_settled),
        TEST(a_settled_session_may_end),
        TEST(a_message_over_max_frame_ends_its_session_only),
        TEST(a_large_message_that_waited_is_over_the_next_links_limit),
        TEST(a_slow_client_pauses_its_handler),
        TEST(kick_ends_the_session_with_code_and_reason),
        TEST(accept_and_reject_decide_where_the_mount_waits),
        TEST(messages_wait_for_the_accept),
        TEST(too_many_of_them_pause_the_input),
        TEST(an_undecided_session_is_offered_whole_again),
        TEST(a_handler_hears_of_subprotocols),
        TEST(a_handlers_choice_is_kept),
        TEST(a_choice_that_was_not_offered_ends_the_session),
        TEST(a_link_that_cannot_be_written_loses_its_sessions_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
