/* relay: the sessions of one worker at the handler of another. Two kits and loops in one thread,
 * real socketpairs between them, real bindings and links on both sides, scripted handlers. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/relay.h"
#include "base/log.h"
#include "dialect/raw.h"
#include "edge/bind.h"
#include "edge/router.h"
#include "harness/fake_carrier.h"
#include "harness/frames.h"
#include "harness/scripted_io.h"
#include "http/http_req.h"

enum {
    N_WORKERS = 2,
    FAR = 0, /* where handler 0 is linked */
    NEAR = 1,
    N_HANDLERS = 3,
    N_SESSIONS = 4,
    GRACE_MS = 30000,
    TIMEOUT_MS = 15000,
    WINDOW = 4 << 20,
    PENDING = 100 << 10,
    HARD_BYTES = 8 << 20,
    SOFT_BYTES = 1000,
    MANY_ROUNDS = 60, /* more turns than anything here takes */
};

struct handler {
    struct scripted io;
    struct conn *conn;
    unsigned worker;
};

static struct rig rigs[N_WORKERS];
static struct binds binds[N_WORKERS];
static struct binds_opts opts[N_WORKERS];
static struct session_opts session_opts;
static struct session_list all[N_WORKERS];
static struct handler handlers[N_HANDLERS];
static struct record heard;
static struct record carriers; /* what all clients heard */
static struct session *sessions[N_SESSIONS];
static struct fake_carrier c[N_SESSIONS];
static struct mount mount;

enum on_spread {
    SPREAD_SERVE,
    SPREAD_REFUSE, /* as a worker that cannot take it */
    SPREAD_KEEP,   /* the test is the near end, by near_fd */
};
static enum on_spread on_spread;
static unsigned n_spreads;
static int near_fd;
static uint64_t passed_ms;

/* -- workers ----------------------------------------------------------------------------------- */

static void spread(void *ctx, unsigned worker, int fd)
{
    assert_ptr_equal(ctx, &binds[1 - worker]);
    n_spreads++;
    if (on_spread == SPREAD_REFUSE) {
        assert_int_equal(close(fd), 0);
        return;
    }
    if (on_spread == SPREAD_KEEP) {
        near_fd = fd;
        return;
    }
    static const struct conn_opts conn_opts = {.write_timeout_ms = 1000};
    static const struct conn_peer peer = {.family = AF_UNIX};
    struct conn *conn = NULL;
    assert_int_equal(
        conn_create(rigs[worker].loop, fd, &conn_io_plain, NULL, &conn_opts, &peer, &conn), ERR_OK);
    binds_accept_relay(&binds[worker], conn);
}

static void start_worker(unsigned id)
{
    kit_init(&rigs[id].kit, id, N_WORKERS, (struct hash_key){1, 2}, kit_clock_ms());
    assert_int_equal(loop_create(&rigs[id].kit, &rigs[id].loop), ERR_OK);
    LIST_INIT(&all[id]);
    opts[id] = (struct binds_opts){.link = {.max_frame_bytes = 1 << 20,
                                            .window_bytes = WINDOW,
                                            .timeout_ms = TIMEOUT_MS,
                                            .n_workers = N_WORKERS,
                                            .version = "t"},
                                   .grace_ms = GRACE_MS,
                                   .pending_bytes = PENDING,
                                   .write_timeout_ms = TIMEOUT_MS};
    binds_init(&binds[id], &rigs[id].kit, &opts[id]);
    binds[id].spread = spread;
    binds[id].hooks_ctx = &binds[id];
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    memset(handlers, 0, sizeof handlers);
    heard.len = 0;
    carriers.len = 0;
    on_spread = SPREAD_SERVE;
    n_spreads = 0;
    near_fd = -1;
    passed_ms = 0;
    mount = (struct mount){.path = SPAN_LIT("/chat"), .dialect = &raw_dialect};
    session_opts = (struct session_opts){.heartbeat_ms = 10000000,
                                         .pong_timeout_ms = 10000,
                                         .disconnect_delay_ms = 5000,
                                         .accept_timeout_ms = 10000,
                                         .queue_hard_bytes = HARD_BYTES,
                                         .queue_soft_bytes = SOFT_BYTES,
                                         .queue_soft_time_ms = 1000000};
    for (unsigned i = 0; i < N_WORKERS; i++) {
        start_worker(i);
    }
    return 0;
}

/* A turn of one worker, without a wait. */
static void turn(unsigned worker)
{
    loop_run_once(rigs[worker].loop, false);
}

/* Turns of all workers until nothing is left to do. */
static void pump(void)
{
    for (int i = 0; i < MANY_ROUNDS; i++) {
        turn(FAR);
        turn(NEAR);
    }
}

static void stop_worker(unsigned id)
{
    struct rig *rig = &rigs[id];
    binds_fini(&binds[id]);
    while (!LIST_EMPTY(&all[id])) {
        session_abort(LIST_FIRST(&all[id]));
    }
    conn_end_all(rig->loop);
    rig_turn(rig);
    assert_true(TAILQ_EMPTY(&binds[id].waiting));
    assert_true(TAILQ_EMPTY(&binds[id].blocked));
    assert_true(rig->kit.counters.sessions_open == 0);
    assert_true(rig->kit.counters.links_open == 0);
    assert_true(rig->kit.counters.relays_open == 0);
    assert_true(rig->kit.counters.connections_open == 0);
    assert_true(timers_next_ms(&rig->kit.timers) == TIMERS_NONE);
    rig_stop(rig);
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_WORKERS; i++) {
        stop_worker(i);
    }
    for (int i = 0; i < N_HANDLERS; i++) {
        if (handlers[i].conn != NULL) {
            assert_int_equal(handlers[i].io.n_closes, 1);
            scripted_fini(&handlers[i].io);
        }
    }
    if (near_fd >= 0) {
        (void)close(near_fd);
    }
    return 0;
}

/* Time passes on the link's worker only. Each turn of a loop reads the real clock again, but a
 * timer that was run is never run for an earlier time: so what has passed before passes again. */
static void pass(uint64_t ms)
{
    passed_ms += ms;
    rig_pass(&rigs[FAR], passed_ms);
    pump();
}

/* The near end of the relay: the first link of its worker that is one. */
static struct link *near_link(void)
{
    struct link *link = NULL;
    TAILQ_FOREACH (link, &binds[NEAR].links, next) {
        if (link->opts->is_relay) {
            return link;
        }
    }
    return NULL;
}

static struct link *far_link(void)
{
    return TAILQ_FIRST(&binds[FAR].links);
}

/* -- handlers ---------------------------------------------------------------------------------- */

static void feed(int i, struct span bytes)
{
    scripted_feed(&handlers[i].io, bytes);
    while (!scripted_is_read_out(&handlers[i].io) && !handlers[i].conn->is_paused) {
        conn_poke(handlers[i].conn);
    }
}

static void say(int i, const char *text)
{
    feed(i, span_str(text));
    pump();
}

static void read_frames(int i)
{
    pump();
    record_frames(&heard, scripted_written(&handlers[i].io));
    scripted_forget_written(&handlers[i].io);
}

#define HEARD(i, want)                                                                             \
    do {                                                                                           \
        read_frames(i);                                                                            \
        CHECK_RECORD(&heard, want);                                                                \
    } while (0)

static void connect_saying(int i, unsigned worker, const char *json)
{
    char hello[256];
    (void)snprintf(hello, sizeof hello, "HELLO 1 %zu\n%s\n", strlen(json), json);
    handlers[i].worker = worker;
    handlers[i].conn = scripted_conn(&rigs[worker], &handlers[i].io);
    binds_accept(&binds[worker], handlers[i].conn);
    say(i, hello);
}

static void connect_handler(int i, unsigned worker)
{
    connect_saying(i, worker, "{}");
}

static void kill_handler(int i)
{
    scripted_feed_eof(&handlers[i].io);
    while (handlers[i].io.n_closes == 0) {
        conn_poke(handlers[i].conn);
        rig_turn(&rigs[handlers[i].worker]);
    }
    pump();
}

/* -- sessions ---------------------------------------------------------------------------------- */

/* As fake_duplex, but long messages show their length and their first byte only. */
static void brief_write(struct carrier *carrier, const struct frame *frame)
{
    if (frame->bytes.len <= 60) {
        fake_write(carrier, frame);
    } else {
        record_add(&carriers, "%c*%zu", frame->bytes.ptr[0], frame->bytes.len);
    }
}

static enum err (*accepted)(struct carrier *carrier, struct span subprotocol);

static void open_session(int i, unsigned worker)
{
    static struct transport_ops brief_duplex;
    const struct transport_opts transport = {.ops = &brief_duplex};
    static struct http1_head head;
    static const struct conn_peer peer = {.family = AF_UNIX};
    brief_duplex = fake_duplex;
    brief_duplex.write = brief_write;
    brief_duplex.accepted = accepted;
    head.n_fields = 1;
    head.fields[0] = (struct http1_field){SPAN_LIT("User-Agent"), SPAN_LIT("t")};
    const struct http_req req = {
        .head = &head, .target = {.path = SPAN_LIT("/chat/x")}, .peer = &peer};
    const struct session_birth birth = {.kit = &rigs[worker].kit,
                                        .opts = &session_opts,
                                        .dialect = &raw_dialect,
                                        .uplink = &bind_uplink_ops,
                                        .all = &all[worker],
                                        .must_wait = mount.must_accept};
    assert_int_equal(session_create(&birth, &sessions[i]), ERR_OK);
    assert_int_equal(bind_session(&binds[worker], sessions[i], &mount, &transport, SPAN_NONE, &req),
                     ERR_OK);
    fake_carrier_attach(&c[i], &brief_duplex, sessions[i], &carriers);
    pump();
}

static void client_says(int i, const char *text)
{
    const char *why = NULL;
    assert_int_equal(session_receive(sessions[i], span_str(text), true, &why), ERR_OK);
}

/* A message of `n` bytes, all of them `fill`. */
static void client_says_much(int i, char fill, size_t n)
{
    static char text[1 << 20];
    const char *why = NULL;
    assert_true(n <= sizeof text);
    memset(text, fill, n);
    assert_int_equal(session_receive(sessions[i], span_of(text, n), true, &why), ERR_OK);
}

static void client_leaves(int i)
{
    fake_carrier_detach(&c[i], DETACH_BYE, 1001, "left");
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

/* A handler on one worker, a session on the other. */
static void start(void)
{
    connect_handler(0, FAR);
    open_session(0, NEAR);
    HEARD(0, "OPEN 1 1 {new+headers}");
}

/* -- both ways --------------------------------------------------------------------------------- */

static void messages_go_both_ways(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_false(binds_has_handler(&binds[NEAR], mount.path));
    start();
    assert_true(binds_has_handler(&binds[NEAR], mount.path));
    client_says(0, "hi");
    client_says(0, "");
    assert_int_equal(session_receive(sessions[0], span_of("\0\xff\n", 3), false, &why), ERR_OK);
    assert_int_equal(session_receive(sessions[0], SPAN_NONE, false, &why), ERR_OK);
    pump();
    const struct span written = scripted_written(&handlers[0].io);
    const struct span want =
        SPAN_LIT("MSG 2 1 1 t 2\nhi\nMSG 3 1 2 t 0\n\nMSG 4 1 3 b 3\n\0\xff\n\nMSG 5 1 4 b 0\n\n");
    check_span("to the handler", written, want);
    scripted_forget_written(&handlers[0].io);
    say(0, "MSG 1 t 2\nho\nMSG 1 t 0\n\nMSG 1 b 1\n\n\nMSG 1 b 0\n\n");
    CHECK_RECORD(&carriers, "ho  bin:\n bin:");
    client_leaves(0);
    HEARD(0, "CLOSE 6 1 1001 {left}");
}

static void kick_reaches_the_session(void **state)
{
    (void)state;
    start();
    say(0, "BATCH 47\nMSG 1 t 3\nbye\nKICK 1 4000 6\nenough\nMSG 1 t 1\n?\n\n");
    CHECK_RECORD(&carriers, "bye <finish 4000 enough>");
    HEARD(0, "CLOSE 2 1 4000 {enough}");
    say(0, "STATE 1 1\nx\nMSG 1 t 1\n!\n"); /* cross, and are dropped */
    assert_int_equal(handlers[0].io.n_closes, 0);
}

static void accept_and_reject_reach_the_session(void **state)
{
    (void)state;
    mount.must_accept = true;
    connect_handler(0, FAR);
    open_session(0, NEAR);
    open_session(1, NEAR);
    say(0, "MSG 1 t 5\nearly\nSTATE 1 2\n{}\n");
    CHECK_RECORD(&carriers, "");
    say(0, "ACCEPT 1 0\n\nREJECT 2 3001 2\nno\n");
    CHECK_RECORD(&carriers, "early <finish 3001 no>");
}

static enum err take_accept(struct carrier *carrier, struct span subprotocol)
{
    record_add(fake_of(carrier)->record, "<accepted %.*s>", SPAN_FMT(subprotocol));
    return ERR_OK;
}

static void a_handlers_choice_of_a_subprotocol_comes_along(void **state)
{
    (void)state;
    mount.must_accept = true;
    accepted = take_accept;
    connect_handler(0, FAR);
    open_session(0, NEAR);
    say(0, "ACCEPT 1 7\necho.v1\n");
    CHECK_RECORD(&carriers, "<accepted echo.v1>");
    accepted = NULL;
}

static void numbers_and_handles_are_the_links_own(void **state)
{
    (void)state;
    connect_handler(0, FAR);
    open_session(0, FAR);
    open_session(1, NEAR);
    open_session(2, FAR);
    client_says(1, "near");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} OPEN 3 3 {new+headers} "
             "MSG 4 2 1 t {near}");
    client_says(0, "far");
    HEARD(0, "MSG 5 1 1 t {far}");
    say(0, "MSG 2 t 1\nn\nMSG 1 t 1\nf\nMSG 3 t 1\ng\n");
    CHECK_RECORD(&carriers, "f g n"); /* the near worker hears it a turn later */
    assert_int_equal(far_link()->n_sessions, 3);
    assert_int_equal(near_link()->n_sessions, 1);
}

static void a_handle_is_given_out_again_when_its_close_is_finished(void **state)
{
    (void)state;
    start();
    client_leaves(0);
    HEARD(0, "CLOSE 2 1 1001 {left}");
    open_session(1, NEAR);
    HEARD(0, "OPEN 3 2 {new+headers}");
    say(0, "DONE 2 0\n\n");
    open_session(2, NEAR);
    client_says(2, "x");
    HEARD(0, "OPEN 4 1 {new+headers} MSG 5 1 1 t {x}");
    assert_int_equal(near_link()->n_slots, 2); /* there it was free again too */
    say(0, "MSG 1 t 1\ny\nMSG 2 t 1\nz\n");
    CHECK_RECORD(&carriers, "y z");
}

static void a_message_of_a_mebibyte_passes(void **state)
{
    (void)state;
    static char text[(1 << 20) + 64];
    start();
    client_says(0, "before");
    client_says_much(0, 'm', 1 << 20);
    client_says(0, "after");
    HEARD(0, "MSG 2 1 1 t {before} MSG 3 1 2 t {mmm} MSG 4 1 3 t {after}");
    size_t head = (size_t)snprintf(text, sizeof text, "MSG 1 t %d\n", 1 << 20);
    memset(text + head, 'h', 1 << 20);
    memcpy(text + head + (1 << 20), "\nMSG 1 t 2\nhi\n", 14);
    feed(0, span_of(text, head + (1 << 20) + 14));
    pump();
    CHECK_RECORD(&carriers, "h*1048576 hi");
}

static void a_slow_client_pauses_the_handler(void **state)
{
    (void)state;
    start();
    c[0].n_room = 0;
    char text[SOFT_BYTES + 64];
    (void)snprintf(text, sizeof text, "MSG 1 t %d\n%0*d\n", SOFT_BYTES, SOFT_BYTES, 7);
    say(0, text);
    HEARD(0, "PAUSE 1 {}");
    c[0].n_room = SIZE_MAX;
    session_flushed(sessions[0]);
    HEARD(0, "RESUME 1 {}");
    carriers.len = 0;
}

/* -- acknowledging ----------------------------------------------------------------------------- */

static void what_the_handler_finishes_frees_the_near_window(void **state)
{
    (void)state;
    start();
    for (int i = 2; i <= 4; i++) {
        client_says(0, "x");
    }
    pump();
    assert_true(near_link()->first_unacked == 1);
    say(0, "ACK 2 0\n\n");
    assert_true(near_link()->first_unacked == 3);
    say(0, "DONE 4 0\n\n");
    assert_true(near_link()->first_unacked == 3);
    say(0, "DONE 3 3-4 0\n\nACK 4 0\n\n");
    assert_true(near_link()->first_unacked == 5);
    assert_true(near_link()->unacked_bytes == 0);
    assert_true(far_link()->unacked_bytes == 0);
}

/* More ranges than one DONE holds, with those of other sessions between. */
static void finished_out_of_order(void **state)
{
    enum {
        N = 100
    };
    (void)state;
    char text[2 * N * 16];
    size_t len = 0;
    start();
    open_session(1, FAR);
    for (int i = 0; i < N; i++) {
        client_says(0, "near");
        pump();
        client_says(1, "far");
    }
    pump();
    /* On the link the near ones are 3, 5, 7...; 1 and 2 are the OPENs. */
    for (int i = 0; i < N; i += 2) {
        len += (size_t)snprintf(text + len, sizeof text - len, "DONE %d 0\n\n", 3 + 2 * i);
    }
    say(0, text);
    assert_true(near_link()->first_unacked == 1);
    for (uint64_t i = 2; i <= N + 1; i++) {
        assert_int_equal(near_link()->deliveries[i & (near_link()->n_ring - 1)].is_done,
                         i % 2 == 0);
    }
    say(0, "ACK 202 0\n\n");
    assert_true(near_link()->first_unacked == N + 2);
    assert_true(near_link()->unacked_bytes == 0);
}

static void what_a_dead_handler_had_not_finished_comes_again(void **state)
{
    (void)state;
    start();
    client_says(0, "one");
    client_says(0, "two");
    client_says(0, "three");
    HEARD(0, "MSG 2 1 1 t {one} MSG 3 1 2 t {two} MSG 4 1 3 t {three}");
    say(0, "STATE 1 3\nabc\nDONE 1 3 0\n\n");
    client_says(0, "four"); /* on its way */
    kill_handler(0);
    client_says(0, "five");
    connect_handler(1, FAR);
    HEARD(1, "OPEN 1 1 {resumed+YWJj} MSG 2 1 1 t again {one} MSG 3 1 3 t again {three} "
             "MSG 4 1 4 t again {four} MSG 5 1 5 t {five}");
}

/* Also its CLOSE, and the STATE that its handler left after that. */
static void the_end_of_a_session_outlives_its_handler(void **state)
{
    (void)state;
    start();
    client_says(0, "last words");
    client_leaves(0);
    HEARD(0, "MSG 2 1 1 t {last words} CLOSE 3 1 1001 {left}");
    say(0, "STATE 1 3\nabc\nACK 1 0\n\n");
    kill_handler(0);
    connect_handler(1, FAR);
    HEARD(1, "OPEN 1 1 {resumed+YWJj} MSG 2 1 1 t again {last words} CLOSE 3 1 1001 {left}");
    say(1, "ACK 3 0\n\n");
    assert_true(binds[NEAR].ended_bytes == 0);
    open_session(1, NEAR);
    HEARD(1, "OPEN 4 1 {new+headers}"); /* on both sides the handle is free again */
    assert_int_equal(near_link()->n_slots, 1);
}

static void a_draining_handler_hands_the_sessions_of_all_workers_over(void **state)
{
    (void)state;
    connect_handler(0, FAR);
    open_session(0, FAR);
    open_session(1, NEAR);
    open_session(2, NEAR);
    client_says(2, "in flight");
    HEARD(0, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers} OPEN 3 3 {new+headers} "
             "MSG 4 3 1 t {in flight}");
    say(0, "ACK 3 0\n\n");
    connect_handler(1, NEAR);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "MOVED 5 1 {} MOVED 6 2 {}");
    client_says(1, "meanwhile");
    HEARD(1, "");
    say(0, "MSG 2 t 8\none more\nSTATE 2 3\nabc\nACK 5 0\n\n");
    CHECK_RECORD(&carriers, "one more");
    HEARD(0, "MOVED 7 3 {}");
    read_frames(1);
    assert_int_equal(count_of(heard.text, "OPEN"), 1); /* of the far one */
    heard.len = 0;
    say(0, "ACK 7 0\n\n");
    HEARD(1, "OPEN 2 2 {resumed+YWJj} MSG 3 2 1 t {meanwhile} OPEN 4 3 {resumed}");
    kill_handler(0);
    HEARD(1, "");
    CHECK_RECORD(&carriers, "");
}

static void or_dies_while_it_does(void **state)
{
    (void)state;
    start();
    say(0, "ACK 1 0\n\n");
    connect_handler(1, NEAR);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "MOVED 2 1 {}");
    kill_handler(0);
    HEARD(1, "OPEN 1 1 {resumed}");
}

/* The relay of a session that moves is lost: nothing more is said of it to the old handler. */
static void a_near_end_may_go_while_a_session_moves(void **state)
{
    (void)state;
    start();
    open_session(1, NEAR);
    HEARD(0, "OPEN 2 2 {new+headers}");
    say(0, "ACK 1 0\n\n");
    connect_handler(1, NEAR);
    say(0, "DRAIN 0\n\n");
    HEARD(0, "MOVED 3 1 {}");
    link_close(near_link());
    HEARD(0, "CLOSE 4 2 1006 {}");
    HEARD(1, "OPEN 1 1 {resumed} OPEN 2 2 {new+headers}");
    say(0, "MSG 1 t 4\nlate\nACK 4 0\n\n");
    CHECK_RECORD(&carriers, "");
}

static void a_reply_and_its_acknowledgement_outlive_the_handler(void **state)
{
    (void)state;
    start();
    connect_handler(1, FAR);
    feed(0, SPAN_LIT("BATCH 23\nMSG 1 t 3\nend\nACK 1 0\n\n\n"));
    kill_handler(0);
    CHECK_RECORD(&carriers, "end");
    HEARD(1, "OPEN 1 1 {resumed}");
}

/* -- backpressure ------------------------------------------------------------------------------ */

/* Reads what the handler heard and checks that the session's messages come in order. Returns the
 * sequence of the last one. */
static uint64_t expect_in_order(uint64_t sequence, uint64_t *number)
{
    struct span rest = scripted_written(&handlers[0].io);
    while (rest.len != 0) {
        struct link_verb verb;
        struct fault fault = {0};
        size_t used = 0;
        size_t needed = 0;
        uint64_t got = 0;
        assert_int_equal(link_frame_parse(rest, 1 << 20, &verb, &used, &needed, &fault), ERR_OK);
        assert_int_equal(link_arg_u64(verb.args[0], UINT64_MAX, number), ERR_OK);
        if (verb.id == LINK_MSG) {
            assert_int_equal(link_arg_u64(verb.args[2], UINT64_MAX, &got), ERR_OK);
            assert_true(got == ++sequence);
            assert_int_equal(verb.payload.ptr[0], 'a' + (int)((got - 1) % 26));
        } else {
            assert_int_equal(verb.id, LINK_CLOSE);
        }
        rest = span_skip(rest, used);
    }
    scripted_forget_written(&handlers[0].io);
    return sequence;
}

static void a_full_link_holds_the_near_session_up_and_nothing_is_lost(void **state)
{
    enum {
        MESSAGE_BYTES = 40 << 10
    };
    (void)state;
    uint64_t sent = 0;
    uint64_t number = 0;
    opts[FAR].link.window_bytes = 1000;
    start();
    /* Window, relay, pair and output fill up; then messages wait in the binding. */
    while (sent < 100 && carriers.len == 0) {
        client_says_much(0, (char)('a' + sent % 26), MESSAGE_BYTES);
        sent++;
        pump();
    }
    CHECK_RECORD(&carriers, "<pause>");
    assert_true(sent > 5);
    client_says_much(0, (char)('a' + sent % 26), 10);
    sent++;
    client_leaves(0); /* its CLOSE waits behind all of that */
    uint64_t got = expect_in_order(0, &number);
    assert_true(got == 1);
    while (got < sent) {
        char ack[64];
        (void)snprintf(ack, sizeof ack, "ACK %llu 0\n\n", (unsigned long long)number);
        say(0, ack);
        uint64_t before = got;
        got = expect_in_order(got, &number);
        assert_true(got > before);
    }
    assert_true(number == sent + 2); /* the CLOSE, which needs no room, came with the last one */
    char ack[64];
    (void)snprintf(ack, sizeof ack, "ACK %llu 0\n\n", (unsigned long long)number);
    say(0, ack);
    assert_true(near_link()->first_unacked == near_link()->next_number);
    assert_int_equal(far_link()->n_sessions, 0);
    assert_int_equal(near_link()->n_sessions, 0);
}

/* Small frames, cut anywhere by the reads: the one that has no room comes first again. */
static void many_small_messages_wait_in_order(void **state)
{
    enum {
        N = 20000
    };
    (void)state;
    uint64_t number = 0;
    opts[FAR].link.window_bytes = 30 << 10;
    opts[NEAR].pending_bytes = 8 << 20;
    start();
    for (int i = 0; i < N; i++) {
        client_says_much(0, (char)('a' + i % 26), 1 + (size_t)i % 37);
        if (i % 100 == 0) {
            turn(NEAR);
        }
    }
    pump();
    uint64_t got = expect_in_order(0, &number);
    assert_true(got < N);
    for (int i = 0; i < 1000 && got < N; i++) {
        char ack[64];
        (void)snprintf(ack, sizeof ack, "ACK %llu 0\n\n", (unsigned long long)number);
        feed(0, span_str(ack));
        for (int k = 0; k < 5; k++) {
            turn(FAR);
            turn(NEAR);
        }
        got = expect_in_order(got, &number);
    }
    assert_true(got == N);
}

static void room_goes_to_each_worker_in_its_turn(void **state)
{
    (void)state;
    opts[FAR].link.window_bytes = 1000;
    opts[FAR].pending_bytes = opts[NEAR].pending_bytes = 1 << 20;
    start(); /* handle 1 */
    open_session(1, FAR);
    HEARD(0, "OPEN 2 2 {new+headers}");
    for (int i = 0; i < 10; i++) {
        client_says_much(0, 'n', 1000);
        client_says_much(1, 'f', 1000);
    }
    read_frames(0);
    for (int number = 3; number <= 12; number++) { /* each fills the window */
        char ack[64];
        (void)snprintf(ack, sizeof ack, "ACK %d 0\n\n", number);
        say(0, ack);
        read_frames(0);
    }
    assert_int_equal(count_of(heard.text, "MSG"), 11);
    assert_in_range(count_of(heard.text, "{nnn}"), 5, 6);
    heard.len = 0;
}

static void a_busy_near_worker_stops_the_reading_of_the_handler(void **state)
{
    enum {
        N = 40,
        MESSAGE_BYTES = 60000
    };
    (void)state;
    static char text[MESSAGE_BYTES + 64];
    start();
    size_t head = (size_t)snprintf(text, sizeof text, "MSG 1 t %d\n", MESSAGE_BYTES);
    memset(text + head, 'x', MESSAGE_BYTES);
    text[head + MESSAGE_BYTES] = '\n';
    for (int i = 0; i < N; i++) {
        scripted_feed(&handlers[0].io, span_of(text, head + MESSAGE_BYTES + 1));
        conn_poke(handlers[0].conn);
        turn(FAR);
    }
    assert_true(handlers[0].conn->is_paused);
    rig_pass(&rigs[FAR], 10 * TIMEOUT_MS); /* it is we who do not read: nobody is late */
    rig_pass(&rigs[FAR], 10 * TIMEOUT_MS);
    assert_int_equal(handlers[0].io.n_shutdowns, 0);
    for (int i = 0; i < N; i++) {
        turn(NEAR);
        turn(FAR);
        conn_poke(handlers[0].conn);
    }
    pump();
    assert_false(handlers[0].conn->is_paused);
    carriers.text[carriers.len] = '\0';
    assert_int_equal(count_of(carriers.text, "x*60000"), N);
    carriers.len = 0;
}

/* -- choosing ---------------------------------------------------------------------------------- */

static void the_workers_own_link_comes_before_a_relay(void **state)
{
    (void)state;
    start();
    connect_handler(1, NEAR);
    open_session(1, NEAR);
    open_session(2, NEAR);
    HEARD(1, "OPEN 1 1 {new+headers} OPEN 2 2 {new+headers}");
    HEARD(0, "");
    client_says(0, "stays"); /* a session is not moved */
    HEARD(0, "MSG 2 1 1 t {stays}");
    open_session(3, FAR);
    HEARD(0, "OPEN 3 2 {new+headers}");
}

static void mounts_and_max_frame_are_the_handlers(void **state)
{
    (void)state;
    connect_saying(0, FAR, "{\"app\":\"a\\\"b\",\"mounts\":[\"/x\\\"y\"],\"max_frame\":70000}");
    open_session(0, NEAR);
    HEARD(0, "");
    assert_true(near_link()->max_frame_bytes == 70000);
    assert_true(link_serves(near_link(), SPAN_LIT("/x\"y")));
    connect_saying(1, FAR, "{\"mounts\":[\"/chat\"],\"max_frame\":65536}");
    HEARD(1, "OPEN 1 1 {new+headers}");
    client_says_much(0, 'x', 65537);
    pump();
    CHECK_RECORD(&carriers, "<finish 1009 Message larger than the handler takes>");
    HEARD(1, "CLOSE 2 1 1009 {Message larger than the handler takes}");
}

static void a_draining_handler_gets_no_more(void **state)
{
    (void)state;
    start();
    say(0, "DRAIN 0\n\n");
    assert_false(binds_has_handler(&binds[NEAR], mount.path));
    open_session(1, NEAR);
    client_says(0, "old");
    HEARD(0, "MSG 2 1 1 t {old}");
    link_close(near_link());
    HEARD(0, "CLOSE 3 1 1006 {}");
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 1); /* what for? */
}

static void a_draining_gateway_tells_the_handler_once(void **state)
{
    (void)state;
    start();
    binds_drain(&binds[NEAR]);
    HEARD(0, "");
    binds_drain(&binds[FAR]);
    HEARD(0, "DRAIN {}");
    link_close(near_link());
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 1);
    HEARD(0, "CLOSE 2 1 1006 {}");
}

/* -- ends -------------------------------------------------------------------------------------- */

static void a_dead_handler_leaves_the_sessions_of_all_workers_to_another(void **state)
{
    (void)state;
    connect_handler(0, FAR);
    open_session(0, FAR);
    open_session(1, NEAR);
    client_says(1, "one");
    pump();
    say(0, "ACK 3 0\n\n");
    connect_handler(1, NEAR);
    kill_handler(0);
    read_frames(1);
    assert_int_equal(count_of(heard.text, "{resumed}"), 2);
    heard.len = 0;
    client_says(1, "two");
    read_frames(1);
    heard.text[heard.len] = '\0';
    assert_non_null(strstr(heard.text, " 2 t {two}")); /* the session's own count goes on */
    heard.len = 0;
    client_says(0, "from the other worker");
    read_frames(1);
    heard.text[heard.len] = '\0';
    assert_non_null(strstr(heard.text, " 1 t {from the other worker}"));
    heard.len = 0;
    CHECK_RECORD(&carriers, "");
    assert_int_equal(rigs[NEAR].kit.counters.relays_open, 1);
    assert_int_equal(rigs[NEAR].kit.counters.links_open, 1);
}

static void the_near_session_waits_for_another_handler(void **state)
{
    (void)state;
    start();
    say(0, "ACK 1 0\n\n");
    kill_handler(0);
    client_says(0, "while nobody listened");
    pump();
    connect_handler(1, FAR);
    HEARD(1, "OPEN 1 1 {resumed} MSG 2 1 1 t {while nobody listened}");
}

static void a_near_end_that_goes_is_replaced(void **state)
{
    (void)state;
    start();
    open_session(1, FAR);
    HEARD(0, "OPEN 2 2 {new+headers}");
    client_says(0, "in flight");
    pump();
    link_close(near_link());
    HEARD(0, "MSG 3 1 1 t {in flight} CLOSE 4 1 1006 {}");
    say(0, "ACK 4 0\n\nMSG 2 t 2\nup\n"); /* the acknowledgement is for nobody */
    CHECK_RECORD(&carriers, "up");
    pass(1); /* and what the real clock adds */
    assert_null(near_link());
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 2);
    /* No acknowledgement had reached it, nor anything that would have been said before. */
    HEARD(0, "OPEN 5 1 {new+headers} MSG 6 1 1 t again {in flight}");
    say(0, "ACK 6 0\n\nMSG 1 t 4\nback\n");
    CHECK_RECORD(&carriers, "back");
    assert_true(near_link()->unacked_bytes == 0);
}

/* Acknowledgements of what the first relay delivered say nothing of the second one's numbers. */
static void late_acknowledgements_are_not_for_the_next_relay(void **state)
{
    (void)state;
    start();
    client_says(0, "old");
    pump();
    link_close(near_link());
    HEARD(0, "MSG 2 1 1 t {old} CLOSE 3 1 1006 {}");
    pass(RELAY_RETRY_MS);
    HEARD(0, "OPEN 4 2 {new+headers} MSG 5 2 1 t again {old}");
    say(0, "ACK 3 0\n\n");
    assert_true(near_link()->first_unacked == 1);
    say(0, "ACK 4 0\n\n");
    assert_true(near_link()->first_unacked == 2);
}

static void a_worker_that_refuses_is_asked_again(void **state)
{
    (void)state;
    on_spread = SPREAD_REFUSE;
    connect_handler(0, FAR);
    open_session(0, NEAR);
    HEARD(0, "");
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 2);
    on_spread = SPREAD_SERVE;
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 3);
    HEARD(0, "OPEN 1 1 {new+headers}");
}

static void without_descriptors_it_is_tried_again(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    connect_handler(0, FAR);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(n_spreads, 0);
    open_session(0, NEAR);
    open_session(1, FAR); /* its own worker does without */
    HEARD(0, "OPEN 1 1 {new+headers}");
    pass(RELAY_RETRY_MS);
    assert_int_equal(n_spreads, 1);
    HEARD(0, "OPEN 2 2 {new+headers}");
}

static void a_bad_batch_ends_the_link_and_its_relays_once(void **state)
{
    (void)state;
    start();
    say(0, "BATCH 26\nMSG 1 t 2\nhi\nMSG 1 x 2\nho\n\n");
    read_frames(0);
    assert_true(strncmp(heard.text, "ERROR bad-verb", 14) == 0);
    heard.len = 0;
    CHECK_RECORD(&carriers, ""); /* nothing of it applied */
    assert_null(near_link());
    assert_true(rigs[FAR].kit.counters.link_errors == 1);
    assert_true(rigs[NEAR].kit.counters.link_errors == 0);
    connect_handler(1, FAR);
    HEARD(1, "OPEN 1 1 {new+headers}");
}

static void only_handlers_are_counted_as_links(void **state)
{
    (void)state;
    start();
    assert_true(rigs[FAR].kit.counters.links_open == 1);
    assert_true(rigs[FAR].kit.counters.relays_open == 1);
    assert_true(rigs[NEAR].kit.counters.links_open == 0);
    assert_true(rigs[NEAR].kit.counters.relays_open == 1);
    assert_true(rigs[NEAR].kit.counters.connections_open == 1);
}

/* -- what cannot come -------------------------------------------------------------------------- */

/* The near end of a relay, which may have to be waited for. */
static int take_near_fd(void)
{
    if (near_fd < 0) {
        pass(RELAY_RETRY_MS);
    }
    int fd = near_fd;
    near_fd = -1;
    assert_true(fd >= 0);
    return fd;
}

static void frames_that_cannot_be_end_the_relay_only(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "OPEN 2 1 2\n{}\n",
        "OPEN 1 0 2\n{}\n",
        "OPEN 1 99999999 2\n{}\n",
        "OPEN 1 2\n{}\n",
        "OPEN 1 1 2\n{}\nOPEN 2 1 2\n{}\n",
        "OPEN 1 1 2\n{}\nMSG 3 1 1 t 0\n\n",
        "OPEN 1 1 2\n{}\nMSG 2 2 1 t 0\n\n",
        "OPEN 1 1 2\n{}\nMSG 2 65 1 t 0\n\n",
        "OPEN 1 1 2\n{}\nMSG 2 1 x t 0\n\n",
        "OPEN 1 1 2\n{}\nMSG 2 1 1 0\n\n",
        "OPEN 1 1 2\n{}\nCLOSE 2 1 99999 0\n\n",
        "OPEN 1 1 2\n{}\nCLOSE 2 1 1000 0\n\nCLOSE 3 1 1000 0\n\n",
        "OPEN 1 1 2\n{}\nMOVED 2 1 0\n\nMSG 3 1 1 t 0\n\n",
        "OPEN 1 1 2\n{}\nMOVED 2 1 0\n\nOPEN 3 1 2\n{}\n",
        "OPEN 1 1 2\n{}\nMOVED 2 1 1000 0\n\n",
        "OPEN 1 1 2\n{}\nMOVED 2 1 0\n\nPAUSE 1 0\n\n",
        "MSG 1 1 1 t 0\n\n",
        "PAUSE 1 0\n\n",
        "PAUSE 0\n\n",
        "HELLO 1 2\n{}\n",
        "BATCH 0\n\n",
        "MSG 1 1 1 t 9999999\n",
        "garbage\n",
        "\n",
    };
    char sink[1024];
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* each case is logged as an error */
    on_spread = SPREAD_KEEP;
    connect_handler(0, FAR);
    for (size_t i = 0; i < N_OF(cases); i++) {
        int fd = take_near_fd();
        CHECK_INT(cases[i], n_spreads, i + 1);
        CHECK(cases[i], recv(fd, sink, sizeof sink, 0) > 5);
        CHECK(cases[i], memcmp(sink, "HELLO", 5) == 0);
        CHECK(cases[i], send(fd, cases[i], strlen(cases[i]), 0) > 0);
        pump();
        CHECK_INT(cases[i], recv(fd, sink, sizeof sink, 0), 0); /* EOF */
        (void)close(fd);
        CHECK_INT(cases[i], far_link()->n_sessions, 0);
        CHECK_INT(cases[i], handlers[0].io.n_shutdowns, 0);
    }
    scripted_forget_written(&handlers[0].io);
    (void)close(take_near_fd());
    on_spread = SPREAD_SERVE;
    pump();
    pass(RELAY_RETRY_MS);
    open_session(0, NEAR);
    read_frames(0);
    assert_int_equal(count_of(heard.text, "{new+headers}"), 1);
    heard.len = 0;
}

static void frames_come_in_any_pieces(void **state)
{
    (void)state;
    static const char text[] = "WELCOME 1 2\n{}\nOPEN 1 7 2\n{}\nMSG 2 7 1 t 2\nhi\nPAUSE 7 0\n\n"
                               "CLOSE 3 7 1000 3\nbye\nNEWS 0\n\n";
    on_spread = SPREAD_KEEP;
    connect_handler(0, FAR);
    size_t len = strlen(text) - strlen("NEWS 0\n\n");
    for (size_t step = 1; step <= len; step += step < 16 ? 1 : 16) {
        int fd = take_near_fd();
        for (size_t at = 0; at < len; at += step) {
            size_t n = step < len - at ? step : len - at;
            assert_int_equal(send(fd, text + at, n, 0), n);
            turn(FAR);
        }
        read_frames(0);
        heard.text[heard.len] = '\0';
        assert_non_null(strstr(heard.text, "{hi} PAUSE"));
        assert_non_null(strstr(heard.text, " 1000 {bye}"));
        heard.len = 0;
        (void)close(fd);
        pump();
    }
}

/* -- memory ------------------------------------------------------------------------------------ */

static struct conn *far_end(void)
{
    return LIST_FIRST(loop_conns(rigs[FAR].loop)); /* made last */
}

static void a_relay_that_cannot_be_written_is_made_anew(void **state)
{
    (void)state;
    start();
    assert_int_equal(far_end()->peer.family, AF_UNIX);
    assert_true(far_end()->fd >= 0);
    conn_out(far_end())->max = 10; /* as if the heap were empty */
    say(0, "MSG 1 t 9\nis lost..\n");
    HEARD(0, "CLOSE 2 1 1006 {}");
    assert_null(near_link());
    pass(RELAY_RETRY_MS);
    HEARD(0, "OPEN 3 2 {new+headers}");
    say(0, "MSG 2 t 2\nhi\n");
    CHECK_RECORD(&carriers, "hi");
}

static void a_near_link_that_cannot_be_written_is_made_anew(void **state)
{
    (void)state;
    start();
    open_session(1, NEAR);
    HEARD(0, "OPEN 2 2 {new+headers}");
    say(0, "ACK 2 0\n\n");
    conn_out(near_link()->conn)->max = 10;
    client_leaves(0); /* its CLOSE cannot be written */
    rig_pass(&rigs[NEAR], 0);
    pump();
    HEARD(0, "CLOSE 3 1 1006 {} CLOSE 4 2 1006 {}");
    pass(RELAY_RETRY_MS);
    HEARD(0, "OPEN 5 3 {resumed} CLOSE 6 3 1001 {left} OPEN 7 4 {resumed}");
}

/* -- churn ------------------------------------------------------------------------------------- */

enum {
    MOST_TWINS = 1000,
    MOST_SAID = 1000, /* by one session */
};

/* A session as the handler knows it. */
struct twin_session {
    char id[16];
    bool was_seen[MOST_SAID]; /* by sequence */
    bool is_done[MOST_SAID];
    bool is_over; /* CLOSE came, and no other OPEN since */
};

struct todo {
    uint64_t number;
    struct twin_session *session;
    uint64_t sequence; /* 0 = not a message */
};

/* What a correct gateway may say to the handler, kept as simply as can be. */
struct twin {
    struct twin_session sessions[MOST_TWINS];
    size_t n_sessions;
    struct twin_session *open[64]; /* by handle */
    uint64_t sequence[64];         /* of the last MSG */
    uint64_t last;                 /* delivery number */
    struct todo todo[4096];        /* not acknowledged */
    size_t n_todo;
    unsigned n_seen; /* messages, each once */
    unsigned n_again;
    struct buf out;
};

static struct twin_session *twin_session_of(struct twin *twin, struct span json)
{
    const char *id = json.ptr + sizeof "{\"id\":\"" - 1;
    for (size_t i = 0; i < twin->n_sessions; i++) {
        if (memcmp(twin->sessions[i].id, id, sizeof twin->sessions[i].id) == 0) {
            return &twin->sessions[i];
        }
    }
    assert_true(twin->n_sessions < MOST_TWINS);
    struct twin_session *session = &twin->sessions[twin->n_sessions++];
    memcpy(session->id, id, sizeof session->id);
    return session;
}

/* In order; again only if it says so; and passed over only if it was finished. */
static void twin_takes_msg(struct twin *twin, const struct link_verb *verb, uint64_t handle)
{
    struct twin_session *session = twin->open[handle];
    uint64_t sequence = 0;
    /* The client numbers its messages itself, too. */
    assert_int_equal(link_arg_u64(verb->args[2], MOST_SAID - 1, &sequence), ERR_OK);
    char want[32];
    int n = snprintf(want, sizeof want, "%llu", (unsigned long long)sequence);
    check_span("payload", verb->payload, span_of(want, (size_t)n));
    assert_true(sequence > twin->sequence[handle]);
    for (uint64_t i = twin->sequence[handle] + 1; i < sequence; i++) {
        assert_true(session->is_done[i]);
    }
    bool is_again = verb->n_args == 5;
    assert_true(is_again || !session->was_seen[sequence]);
    twin->n_seen += !session->was_seen[sequence];
    twin->n_again += is_again;
    session->was_seen[sequence] = true;
    twin->sequence[handle] = sequence;
    twin->todo[twin->n_todo - 1].sequence = sequence;
}

static void twin_takes(struct twin *twin, const struct link_verb *verb)
{
    uint64_t number = 0;
    uint64_t handle = 0;
    if (verb->id != LINK_OPEN && verb->id != LINK_MSG && verb->id != LINK_CLOSE) {
        return;
    }
    assert_int_equal(link_arg_u64(verb->args[0], UINT64_MAX, &number), ERR_OK);
    assert_int_equal(link_arg_u64(verb->args[1], N_OF(twin->open) - 1, &handle), ERR_OK);
    assert_true(number == ++twin->last);
    assert_true(twin->n_todo < N_OF(twin->todo));
    assert_int_equal(twin->open[handle] != NULL, verb->id != LINK_OPEN);
    if (verb->id == LINK_OPEN) {
        twin->open[handle] = twin_session_of(twin, verb->payload);
        twin->open[handle]->is_over = false;
        twin->sequence[handle] = 0;
    }
    twin->todo[twin->n_todo++] = (struct todo){.number = number, .session = twin->open[handle]};
    if (verb->id == LINK_MSG) {
        twin_takes_msg(twin, verb, handle);
    } else if (verb->id == LINK_CLOSE) {
        twin->open[handle]->is_over = true;
        twin->open[handle] = NULL;
    }
}

/* Hears all, finishes about one of `n_kept` deliveries, in any order. */
static void twin_serves(struct twin *twin, struct test_random *random, size_t n_kept)
{
    struct span rest = scripted_written(&handlers[0].io);
    while (rest.len != 0) {
        struct link_verb verb;
        struct fault fault = {0};
        size_t used = 0;
        size_t needed = 0;
        assert_int_equal(link_frame_parse(rest, 1 << 20, &verb, &used, &needed, &fault), ERR_OK);
        twin_takes(twin, &verb);
        rest = span_skip(rest, used);
    }
    scripted_forget_written(&handlers[0].io);
    buf_clear(&twin->out);
    for (size_t i = twin->n_todo; i > 0; i--) {
        if (test_below(random, n_kept) == 0) {
            struct todo todo = twin->todo[i - 1];
            assert_int_equal(link_put(&twin->out, "DONE", &todo.number, 1, SPAN_NONE), ERR_OK);
            todo.session->is_done[todo.sequence] = true;
            twin->todo[i - 1] = twin->todo[--twin->n_todo];
        }
    }
    if (buf_len(&twin->out) != 0) {
        feed(0, buf_span(&twin->out));
    }
}

static void churn_step(struct test_random *random, unsigned *said, unsigned *n_said)
{
    size_t i = test_below(random, N_SESSIONS);
    switch (test_below(random, 40)) {
    case 0:
        if (sessions[i] != NULL) {
            client_leaves((int)i);
            sessions[i] = NULL;
        }
        break;
    case 1:
        if (test_below(random, 20) == 0 && near_link() != NULL) {
            link_close(near_link());
        }
        break;
    case 2:
        pass(RELAY_RETRY_MS / 4);
        break;
    default:
        if (sessions[i] == NULL) {
            open_session((int)i, (unsigned)test_below(random, N_WORKERS));
            said[i] = 0;
        } else {
            char text[32];
            (void)snprintf(text, sizeof text, "%u", ++said[i]);
            (*n_said)++;
            client_says((int)i, text);
        }
        break;
    }
    turn((unsigned)test_below(random, N_WORKERS));
}

static void whatever_happens_the_handler_hears_what_it_should(void **state)
{
    (void)state;
    static struct twin twin;
    struct test_random random = {88172645463325252ULL};
    unsigned said[N_SESSIONS] = {0};
    unsigned n_said = 0;
    memset(&twin, 0, sizeof twin);
    memset(sessions, 0, sizeof sessions);
    buf_init(&twin.out, 1 << 20);
    opts[FAR].link.window_bytes = 600;
    opts[FAR].link.timeout_ms = 1U << 30; /* time jumps */
    connect_handler(0, FAR);
    for (int i = 0; i < 6000; i++) {
        churn_step(&random, said, &n_said);
        twin_serves(&twin, &random, 8);
        carriers.len = 0;
    }
    for (size_t i = 0; i < N_SESSIONS; i++) {
        if (sessions[i] != NULL) {
            client_leaves((int)i);
        }
    }
    for (int i = 0; i < 200; i++) {
        turn(NEAR);
        turn(FAR);
        twin_serves(&twin, &random, 1);
    }
    for (size_t i = 0; i < twin.n_sessions; i++) {
        assert_true(twin.sessions[i].is_over);
    }
    assert_int_equal(twin.n_seen, n_said); /* nothing was lost */
    assert_in_range(twin.n_again, 10, 10000);
    assert_int_equal(far_link()->n_sessions, 0);
    assert_true(far_link()->unacked_bytes == 0);
    assert_true(near_link() == NULL || near_link()->unacked_bytes == 0);
    assert_true(twin.last > 3000);
    assert_in_range(n_spreads, 3, 50);
    buf_fini(&twin.out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_go_both_ways),
        TEST(kick_reaches_the_session),
        TEST(accept_and_reject_reach_the_session),
        TEST(a_handlers_choice_of_a_subprotocol_comes_along),
        TEST(numbers_and_handles_are_the_links_own),
        TEST(a_handle_is_given_out_again_when_its_close_is_finished),
        TEST(a_message_of_a_mebibyte_passes),
        TEST(a_slow_client_pauses_the_handler),
        TEST(what_the_handler_finishes_frees_the_near_window),
        TEST(finished_out_of_order),
        TEST(what_a_dead_handler_had_not_finished_comes_again),
        TEST(the_end_of_a_session_outlives_its_handler),
        TEST(a_draining_handler_hands_the_sessions_of_all_workers_over),
        TEST(or_dies_while_it_does),
        TEST(a_near_end_may_go_while_a_session_moves),
        TEST(a_reply_and_its_acknowledgement_outlive_the_handler),
        TEST(a_full_link_holds_the_near_session_up_and_nothing_is_lost),
        TEST(many_small_messages_wait_in_order),
        TEST(room_goes_to_each_worker_in_its_turn),
        TEST(a_busy_near_worker_stops_the_reading_of_the_handler),
        TEST(the_workers_own_link_comes_before_a_relay),
        TEST(mounts_and_max_frame_are_the_handlers),
        TEST(a_draining_handler_gets_no_more),
        TEST(a_draining_gateway_tells_the_handler_once),
        TEST(a_dead_handler_leaves_the_sessions_of_all_workers_to_another),
        TEST(the_near_session_waits_for_another_handler),
        TEST(a_near_end_that_goes_is_replaced),
        TEST(late_acknowledgements_are_not_for_the_next_relay),
        TEST(a_worker_that_refuses_is_asked_again),
        TEST(without_descriptors_it_is_tried_again),
        TEST(a_bad_batch_ends_the_link_and_its_relays_once),
        TEST(only_handlers_are_counted_as_links),
        TEST(frames_that_cannot_be_end_the_relay_only),
        TEST(frames_come_in_any_pieces),
        TEST(a_relay_that_cannot_be_written_is_made_anew),
        TEST(a_near_link_that_cannot_be_written_is_made_anew),
        TEST(whatever_happens_the_handler_hears_what_it_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
