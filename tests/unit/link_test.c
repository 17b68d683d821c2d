/* link: the handler protocol from the gateway's side over a scripted connection: handshake,
 * numbers, window, handles, BATCH, limits, silence, and what a hostile handler may send. */
#include <stdio.h>

#include "backend/link.h"
#include "base/log.h"
#include "harness/record.h"
#include "harness/scripted_io.h"

enum {
    TIMEOUT_MS = 15000,
    MAX_FRAME = 100 << 10,
    WINDOW = 1000,
};

#define HELLO "HELLO 1 2\n{}\n"
#define WELCOME                                                                                    \
    "WELCOME 1 130\n{\"server\":\"postern/9.9\",\"max_frame\":102400,\"features\":[\"batch\","     \
    "\"redelivery\",\"state\"],\"workers\":2,\"window\":1000,\"timeout_ms\":15000}\n"

struct slot {
    struct link_owner owner;
    const char *name;
};

/* What bind would be: a slot is a name. */
static struct rig rig;
static struct scripted peer;
static struct conn *conn;
static struct link *the_link; /* NULL when gone */
static struct record owner;
static struct link_opts opts;

static void on_ready(void *ctx, struct link *link)
{
    assert_ptr_equal(ctx, &owner);
    (void)link;
    record_add(&owner, "ready");
}

static void on_room(void *ctx, struct link *link)
{
    (void)ctx;
    (void)link;
    record_add(&owner, "room");
}

static void on_drain(void *ctx, struct link *link)
{
    (void)ctx;
    assert_false(link_serves(link, SPAN_LIT("/")));
    record_add(&owner, "drain");
}

static void on_done(void *ctx, struct link *link, unsigned source, uint32_t tag)
{
    assert_ptr_equal(ctx, &owner);
    assert_ptr_equal(link, the_link);
    record_add(&owner, "done:%u:%u", source, tag);
}

static void on_gone(void *ctx, struct link *link)
{
    (void)ctx;
    assert_ptr_equal(link, the_link);
    the_link = NULL;
    record_add(&owner, "gone");
}

static const struct link_ops ops = {
    .on_ready = on_ready,
    .on_room = on_room,
    .on_drain = on_drain,
    .on_done = on_done,
    .on_gone = on_gone,
};

static const char *name_of(struct link_owner *slot)
{
    return CONTAINER_OF(slot, struct slot, owner)->name;
}

static void on_verb(struct link_owner *slot, const struct link_verb *verb)
{
    record_add(&owner, "%s:%s", name_of(slot), link_verb_name(verb->id));
    for (unsigned i = 1; i < verb->n_args; i++) {
        record_add(&owner, "%.*s", SPAN_FMT(verb->args[i]));
    }
    size_t shown = verb->payload.len < 100 ? verb->payload.len : 0;
    record_add(&owner, "(%.*s)", (int)shown, verb->payload.ptr);
}

static void on_open_acked(struct link_owner *slot)
{
    record_add(&owner, "%s:acked", name_of(slot));
}

static void on_left(struct link_owner *slot)
{
    record_add(&owner, "%s:left", name_of(slot));
}

static void on_idle(struct link_owner *slot)
{
    record_add(&owner, "%s:idle", name_of(slot));
}

static void on_undone(struct link_owner *slot, const struct undone_message *message)
{
    record_add(&owner, "%s:undone:%llu:%c(%.*s)", name_of(slot),
               (unsigned long long)message->sequence, message->is_text ? 't' : 'b',
               (int)(message->data.len < 100 ? message->data.len : 0), message->data.ptr);
}

static void on_orphan(struct link_owner *slot)
{
    record_add(&owner, "%s:orphan", name_of(slot));
}

static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_idle = on_idle,
    .on_undone = on_undone,
    .on_orphan = on_orphan,
};

/* As a relay's: the copies are kept elsewhere. */
static const struct link_slot_ops relay_slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_orphan = on_orphan,
};

static struct slot slots[] = {
    {{&slot_ops}, "a"}, {{&slot_ops}, "b"}, {{&slot_ops}, "c"}, {{&relay_slot_ops}, "d"}};

static void connect_link(void)
{
    conn = scripted_conn(&rig, &peer);
    assert_int_equal(link_create(&rig.kit, conn, &opts, &ops, &owner, &the_link), ERR_OK);
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    memset(&owner, 0, sizeof owner);
    rig_start(&rig);
    opts = (struct link_opts){.max_frame_bytes = MAX_FRAME,
                              .window_bytes = WINDOW,
                              .timeout_ms = TIMEOUT_MS,
                              .n_workers = 2,
                              .version = "9.9"};
    connect_link();
    return 0;
}

static void disconnect_link(void)
{
    conn_end_all(rig.loop);
    rig_turn(&rig);
    assert_null(the_link);
    assert_int_equal(peer.n_closes, 1);
    scripted_fini(&peer);
}

static int tear_down(void **state)
{
    (void)state;
    disconnect_link();
    assert_true(rig.kit.counters.links_open == 0);
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
    rig_stop(&rig);
    return 0;
}

static void say_span(struct span bytes)
{
    scripted_feed(&peer, bytes);
    while (!scripted_is_read_out(&peer)) {
        conn_poke(conn);
    }
    rig_turn(&rig);
}

static void say(const char *text)
{
    say_span(span_str(text));
}

static void check_heard(const char *file, int line, const char *want)
{
    rig_turn(&rig);
    struct span got = scripted_written(&peer);
    if (!span_eq(got, span_str(want))) {
        print_error("got  %.*s\nwant %s\n", (int)got.len, got.ptr != NULL ? got.ptr : "", want);
        _fail(file, line);
    }
    scripted_forget_written(&peer);
}

#define HEARD(want) check_heard(__FILE__, __LINE__, want)
#define TOLD(want)  CHECK_RECORD(&owner, want)

/* The link ended with this ERROR, a sentence and FIN; its owner was told `told`. */
static void check_refused(const char *file, int line, const char *code, const char *told)
{
    char want[64];
    rig_turn(&rig);
    struct span got = scripted_written(&peer);
    (void)snprintf(want, sizeof want, "ERROR %s ", code);
    if (!span_starts_with(got, span_str(want)) || got.ptr[got.len - 1] != '\n' ||
        got.len < strlen(want) + 20 || peer.n_shutdowns != 1) {
        print_error("got  %.*s\nwant %s\n", (int)got.len, got.ptr != NULL ? got.ptr : "", want);
        _fail(file, line);
    }
    check_record(&owner, told, file, line);
    assert_null(the_link);
    scripted_forget_written(&peer);
}

#define REFUSED(code, told) check_refused(__FILE__, __LINE__, code, told)

static void shake_hands(void)
{
    say(HELLO);
    HEARD(WELCOME);
    TOLD("ready");
}

/* `name`: "a", "b" or "c"; or "d", whose deliveries may be tagged. */
static uint32_t open_slot(const char *name)
{
    uint32_t handle = 0;
    struct link_owner *slot = &slots[name[0] - 'a'].owner;
    assert_int_equal(link_deliver_open(the_link, slot, SPAN_LIT("{}"), &handle), ERR_OK);
    return handle;
}

static enum err deliver_span(uint32_t handle, uint64_t sequence, struct span bytes)
{
    const struct undone_message message = {sequence, bytes, true};
    return link_deliver_msg(the_link, handle, &message, false);
}

static enum err deliver(uint32_t handle, const char *text)
{
    return deliver_span(handle, 7, span_str(text));
}

/* -- handshake --------------------------------------------------------------------------------- */

static void a_good_hello_is_welcomed(void **state)
{
    (void)state;
    assert_false(link_serves(the_link, SPAN_LIT("/chat")));
    shake_hands();
    assert_true(link_serves(the_link, SPAN_LIT("/chat")));
    assert_true(link_serves(the_link, SPAN_LIT("/")));
}

static void hello_may_name_mounts_and_unknown_keys(void **state)
{
    (void)state;
    const char json[] = "{\"x\":{\"y\":[1,{}]},\"client\":\"c\",\"mounts\":[\"/a\",\"/\\u0062\"],"
                        "\"app\":\"n\\u000a\",\"z\":null}";
    char hello[256];
    (void)snprintf(hello, sizeof hello, "HELLO 1 %zu\n%s\n", sizeof json - 1, json);
    say(hello);
    HEARD(WELCOME);
    assert_true(link_serves(the_link, SPAN_LIT("/a")));
    assert_true(link_serves(the_link, SPAN_LIT("/b")));
    assert_false(link_serves(the_link, SPAN_LIT("/")));
    assert_false(link_serves(the_link, SPAN_LIT("/ab")));
    assert_null(strchr(the_link->name, '\n')); /* it goes into log lines */
    owner.len = 0;
}

static void a_star_serves_every_mount(void **state)
{
    (void)state;
    say("HELLO 1 22\n{\"mounts\":[\"/a\",\"*\"] }\n");
    HEARD(WELCOME);
    assert_true(link_serves(the_link, SPAN_LIT("/other")));
    TOLD("ready");
}

static void names_of_mounts_are_counted(void **state)
{
    (void)state;
    for (int n = LINK_MAX_MOUNTS; n <= LINK_MAX_MOUNTS + 1; n++) {
        char json[LINK_MAX_MOUNTS * 5 + 64] = "{\"mounts\":[\"/\"";
        char hello[sizeof json + 32];
        size_t len = strlen(json);
        for (int i = 1; i < n; i++) {
            len += (size_t)snprintf(json + len, sizeof json - len, ",\"/\"");
        }
        (void)snprintf(json + len, sizeof json - len, "]}");
        (void)snprintf(hello, sizeof hello, "HELLO 1 %zu\n%s\n", strlen(json), json);
        say(hello);
        if (n == LINK_MAX_MOUNTS) {
            HEARD(WELCOME);
            TOLD("ready");
            disconnect_link();
            connect_link();
            owner.len = 0;
        } else {
            REFUSED("bad-frame", "gone");
        }
    }
}

static void the_smaller_max_frame_counts(void **state)
{
    (void)state;
    say("HELLO 1 19\n{\"max_frame\":65536}\n");
    struct span got = scripted_written(&peer);
    assert_non_null(memmem(got.ptr, got.len, "\"max_frame\":65536,", 18));
    scripted_forget_written(&peer);
    uint32_t handle = open_slot("a");
    static char bytes[65537];
    memset(bytes, 'x', sizeof bytes);
    opts.window_bytes = 1 << 20;
    assert_int_equal(deliver_span(handle, 1, span_of(bytes, 65537)), ERR_LIMIT);
    assert_int_equal(deliver_span(handle, 1, span_of(bytes, 65536)), ERR_OK);
    rig_turn(&rig);
    scripted_forget_written(&peer);
    owner.len = 0;
    say("MSG 1 b 65537\n");
    REFUSED("too-big", "a:undone:1:t() a:orphan gone");
}

static void bad_hellos(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *code;
    } cases[] = {
        {"ACK 1 0\n\n", "bad-verb"},
        {"WHATEVER 1 0\n\n", "bad-verb"},
        {"BATCH 0\n\n", "bad-verb"},
        {"HELLO 2\n{}\n", "bad-verb"},
        {"HELLO 1 2 2\n{}\n", "bad-verb"},
        {"HELLO 2 2\n{}\n", "version"},
        {"HELLO 01 2\n{}\n", "version"},
        {"HELLO 1 0\n\n", "bad-frame"},
        {"HELLO 1 2\n[]\n", "bad-frame"},
        {"HELLO 1 3\n{}x\n", "bad-frame"},
        {"HELLO 1 1\n{\n", "bad-frame"},
        {"HELLO 1 12\n{\"mounts\":1}\n", "bad-frame"},
        {"HELLO 1 14\n{\"mounts\":[1]}\n", "bad-frame"},
        {"HELLO 1 19\n{\"max_frame\":65535}\n", "bad-frame"},
        {"HELLO 1 18\n{\"max_frame\":-1.5}\n", "bad-frame"},
        {"HELLO 1 17\n{\"max_frame\":\"x\"}\n", "bad-frame"},
        {"GET / HTTP/1.1\r\n", "bad-frame"},
        {"\n", "bad-frame"},
        {"\x16\x03\x01", "bad-frame"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        say(cases[i].text);
        struct span got = scripted_written(&peer);
        char want[64];
        (void)snprintf(want, sizeof want, "ERROR %s ", cases[i].code);
        CHECK(cases[i].text, span_starts_with(got, span_str(want)));
        TOLD("gone");
        disconnect_link();
        connect_link();
    }
    assert_true(rig.kit.counters.link_errors == N_OF(cases));
}

static void a_late_hello_is_too_late(void **state)
{
    (void)state;
    rig_pass(&rig, TIMEOUT_MS - 1);
    say("HEL"); /* a dripped byte gives no more time */
    HEARD("");
    rig_pass(&rig, 1);
    REFUSED("timeout", "gone");
}

static void a_second_hello_is_refused(void **state)
{
    (void)state;
    shake_hands();
    say(HELLO);
    REFUSED("bad-verb", "gone");
}

static void every_split_of_the_hello_is_the_same(void **state)
{
    (void)state;
    const struct span hello = SPAN_LIT(HELLO);
    for (size_t cut = 1; cut < hello.len; cut++) {
        say_span(span_of(hello.ptr, cut));
        HEARD("");
        say_span(span_skip(hello, cut));
        HEARD(WELCOME);
        TOLD("ready");
        disconnect_link();
        TOLD("gone");
        connect_link();
    }
}

/* -- deliveries -------------------------------------------------------------------------------- */

static void deliveries_are_numbered_from_1(void **state)
{
    (void)state;
    shake_hands();
    uint32_t a = open_slot("a");
    uint32_t b = open_slot("b");
    assert_int_equal(a, 1);
    assert_int_equal(b, 2);
    const struct undone_message binary = {1, SPAN_LIT("x\ny"), false};
    assert_int_equal(link_deliver_msg(the_link, b, &binary, false), ERR_OK);
    link_tell_writable(the_link, a, false);
    assert_int_equal(deliver(a, ""), ERR_OK);
    link_tell_writable(the_link, a, true);
    link_deliver_close(the_link, b, 1001, SPAN_LIT("left"));
    HEARD("OPEN 1 1 2\n{}\nOPEN 2 2 2\n{}\nMSG 3 2 1 b 3\nx\ny\nPAUSE 1 0\n\n"
          "MSG 4 1 7 t 0\n\nRESUME 1 0\n\nCLOSE 5 2 1001 4\nleft\n");
    assert_int_equal(the_link->n_sessions, 1);
}

/* Fills the window with one delivery. */
static void fill_window(uint32_t handle)
{
    static char bytes[WINDOW];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(deliver_span(handle, 1, span_of(bytes, WINDOW)), ERR_OK);
    rig_turn(&rig);
    scripted_forget_written(&peer);
}

static void a_full_window_waits_for_the_ack(void **state)
{
    (void)state;
    shake_hands();
    uint32_t handle = open_slot("a"); /* number 1 */
    fill_window(handle);              /* 2, larger than what was left: one always goes */
    assert_int_equal(deliver(handle, "y"), ERR_AGAIN);
    uint32_t other = 0;
    assert_int_equal(link_deliver_open(the_link, &slots[1].owner, SPAN_LIT("{}"), &other),
                     ERR_AGAIN);
    HEARD("");
    TOLD("");
    say("ACK 1 0\n\n"); /* not enough */
    TOLD("a:acked");
    say("ACK 2 0\n\n");
    TOLD("room");
    assert_int_equal(deliver(handle, "y"), ERR_OK);
    HEARD("MSG 3 1 7 t 1\ny\n");
    say("ACK 3 0\n\n");
    TOLD(""); /* nobody had asked */
}

static void the_window_is_exact(void **state)
{
    (void)state;
    shake_hands();
    uint32_t handle = open_slot("a");
    const size_t open_bytes = sizeof "OPEN 1 1 2\n{}\n" - 1;
    const size_t head = sizeof "MSG 2 1 7 t 100\n\n" - 1;
    static char text[WINDOW];
    memset(text, 'x', sizeof text);
    /* One byte short of the window: another one still goes. */
    struct span most = span_of(text, WINDOW - open_bytes - head - 1);
    assert_int_equal(deliver_span(handle, 7, most), ERR_OK);
    assert_true(the_link->unacked_bytes == WINDOW - 1);
    assert_int_equal(deliver(handle, "y"), ERR_OK);
    assert_int_equal(deliver(handle, "z"), ERR_AGAIN);
    say("DONE 1-3 0\n\n");
    assert_true(the_link->unacked_bytes == 0);
    most = span_of(text, WINDOW - head);
    assert_int_equal(deliver_span(handle, 7, most), ERR_OK);
    assert_true(the_link->unacked_bytes == WINDOW);
    assert_int_equal(deliver(handle, "z"), ERR_AGAIN);
    owner.len = 0;
}

static void a_close_is_never_held_up(void **state)
{
    (void)state;
    shake_hands();
    uint32_t handle = open_slot("a");
    fill_window(handle);
    link_deliver_close(the_link, handle, 1000, SPAN_NONE);
    HEARD("CLOSE 3 1 1000 0\n\n");
}

static void a_full_socket_waits_too(void **state)
{
    (void)state;
    opts.window_bytes = 1 << 20;
    say(HELLO);
    owner.len = 0;
    uint32_t handle = open_slot("a");
    rig_turn(&rig);
    peer.write_room = 0;
    static char bytes[CONN_HIGH_WATER_BYTES];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(deliver_span(handle, 1, span_of(bytes, sizeof bytes)), ERR_OK);
    assert_int_equal(deliver(handle, "y"), ERR_AGAIN);
    rig_turn(&rig);
    TOLD("");
    peer.write_room = SIZE_MAX;
    conn_poke(conn);
    TOLD("room");
    assert_int_equal(deliver(handle, "y"), ERR_OK);
}

static void done_in_any_order_and_ranges(void **state)
{
    (void)state;
    shake_hands();
    uint32_t handle = open_slot("a");
    for (int i = 2; i <= 9; i++) {
        assert_int_equal(deliver(handle, "x"), ERR_OK);
    }
    say("DONE 9 3-5 0\n\n");
    assert_true(the_link->first_unacked == 1);
    say("DONE 4 0\n\n"); /* twice is harmless */
    say("ACK 2 0\n\n");
    TOLD("a:acked");
    assert_true(the_link->first_unacked == 6);
    say("DONE 0\n\nACK 1 0\n\n"); /* an empty list, and an old one */
    say("DONE 6-8 0\n\n");
    assert_true(the_link->first_unacked == 10);
    assert_true(the_link->unacked_bytes == 0);
    say("ACK 9 0\n\n");
    TOLD("");
}

static void the_ring_grows_with_what_is_in_flight(void **state)
{
    (void)state;
    enum {
        N = 1000
    };
    opts.window_bytes = 1 << 20;
    say(HELLO);
    uint32_t handle = open_slot("a");
    for (int i = 2; i <= N; i++) {
        assert_int_equal(deliver(handle, "x"), ERR_OK);
    }
    say("DONE 500-1000 0\n\n");
    for (int i = N + 1; i <= 2 * N; i++) {
        assert_int_equal(deliver(handle, "x"), ERR_OK);
    }
    say("ACK 499 0\n\n");
    assert_true(the_link->first_unacked == N + 1);
    say("ACK 2000 0\n\n");
    assert_true(the_link->unacked_bytes == 0);
    owner.len = 0;
}

static void acknowledging_what_was_never_sent(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "ACK 2 0\n\n",
        "ACK 0 0\n\n",
        "ACK 1-1 0\n\n",
        "ACK x 0\n\n",
        "ACK 0\n\n",
        "ACK 1 1 0\n\n",
        "ACK 99999999999999999999 0\n\n",
        "DONE 2 0\n\n",
        "DONE 0 0\n\n",
        "DONE 1 2 0\n\n",
        "DONE 1-2 0\n\n",
        "DONE 1-18446744073709551615 0\n\n",
        "DONE 1- 0\n\n",
        "DONE -1 0\n\n",
        "DONE 1-1-1 0\n\n",
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        shake_hands();
        (void)open_slot("a");
        HEARD("OPEN 1 1 2\n{}\n");
        say(cases[i]);
        CHECK(cases[i], span_starts_with(scripted_written(&peer), SPAN_LIT("ERROR bad-verb ")));
        TOLD("a:orphan gone");
        disconnect_link();
        connect_link();
    }
}

static void tagged_deliveries_tell_when_they_are_finished(void **state)
{
    (void)state;
    shake_hands();
    uint32_t handle = open_slot("d"); /* number 1 */
    link_tag_last(the_link, 3, 70);
    assert_int_equal(deliver(handle, "x"), ERR_OK); /* 2 has no tag */
    for (uint32_t tag = 71; tag <= 73; tag++) {     /* 3 to 5 */
        assert_int_equal(deliver(handle, "y"), ERR_OK);
        link_tag_last(the_link, tag == 72 ? 4 : 3, tag);
    }
    link_deliver_close(the_link, handle, 1000, SPAN_NONE); /* 6 */
    link_tag_last(the_link, 3, 74);
    say("DONE 5 0\n\nACK 2 0\n\n");
    TOLD("done:3:73 done:3:70 d:acked");
    link_forget_source(the_link, 3);
    say("ACK 6 0\n\nACK 6 0\n\n");
    TOLD("done:4:72 d:left");
}

static void a_slot_is_idle_when_all_of_it_is_acknowledged(void **state)
{
    (void)state;
    shake_hands();
    uint32_t a = open_slot("a"); /* number 1 */
    uint32_t b = open_slot("b");
    say("ACK 2 0\n\n");
    TOLD("a:acked b:acked");
    assert_true(link_is_idle(the_link, a));
    assert_int_equal(deliver(a, "x"), ERR_OK); /* 3 */
    assert_int_equal(deliver(b, "x"), ERR_OK);
    assert_int_equal(deliver(a, "y"), ERR_OK); /* 5 */
    assert_false(link_is_idle(the_link, a));
    link_watch_idle(the_link, a);
    say("DONE 5 0\n\nDONE 4 0\n\n");
    TOLD("");
    say("DONE 3 0\n\n");
    TOLD("a:idle");
    assert_int_equal(deliver(a, "z"), ERR_OK);
    say("ACK 6 0\n\n"); /* it was told once */
    TOLD("");
    assert_true(link_is_idle(the_link, a));
}

/* The handle is given out again while a message of its former session is unacknowledged. */
static void a_slot_is_idle_for_its_own_deliveries(void **state)
{
    (void)state;
    shake_hands();
    assert_int_equal(open_slot("a"), 1);
    assert_int_equal(deliver(1, "x"), ERR_OK); /* 2 */
    link_deliver_close(the_link, 1, 1000, SPAN_NONE);
    say("DONE 3 0\n\n");
    TOLD("a:left");
    assert_int_equal(open_slot("b"), 1);       /* 4 */
    assert_int_equal(deliver(1, "y"), ERR_OK); /* 5 */
    assert_false(link_is_idle(the_link, 1));
    link_watch_idle(the_link, 1);
    say("DONE 1-2 0\n\nDONE 5 0\n\n");
    TOLD("");
    say("DONE 4 0\n\n");
    TOLD("b:acked b:idle");
}

/* Who cannot be told, as here without a socket, is nobody on the list. */
static void only_users_on_the_list_may_be_handlers(void **state)
{
    (void)state;
    static const uint32_t uids[] = {0, 33};
    opts.uids = uids;
    opts.n_uids = 2;
    say(HELLO);
    REFUSED("denied", "gone");
}

/* -- handles ----------------------------------------------------------------------------------- */

static void a_handle_is_free_when_its_close_is_acknowledged(void **state)
{
    (void)state;
    shake_hands();
    assert_int_equal(open_slot("a"), 1); /* number 1 */
    link_deliver_close(the_link, 1, 1000, SPAN_NONE);
    assert_int_equal(open_slot("b"), 2); /* 3: the close is not acknowledged */
    say("DONE 2 0\n\n");
    TOLD("a:left");
    assert_int_equal(open_slot("c"), 1); /* 4 */
    /* The OPEN of `a` is acknowledged late: that says nothing of `c`, which has its handle now. */
    say("DONE 1 0\n\n");
    TOLD("");
    say("MSG 1 t 2\nhi\nDONE 4 0\n\n");
    TOLD("c:MSG t (hi) c:acked");
}

static void verbs_for_a_closed_session_are_dropped_and_counted(void **state)
{
    (void)state;
    shake_hands();
    uint32_t a = open_slot("a");
    (void)open_slot("b");
    link_deliver_close(the_link, a, 1000, SPAN_NONE);
    say("STATE 1 1\nx\nMSG 2 t 1\ny\n"); /* its owner may still want to know */
    TOLD("a:STATE (x) b:MSG t (y)");
    link_forget_owner(the_link, a);
    say("MSG 1 t 2\nhi\nACCEPT 1 0\n\nKICK 1 3000 0\n\nSTATE 1 1\nx\nMSG 2 t 1\ny\n");
    TOLD("b:MSG t (y)");
    say("ACK 3 0\n\nMSG 1 t 1\nz\n"); /* also when the handle is free again */
    TOLD("b:acked");
    assert_true(rig.kit.counters.stale_verbs == 5);
}

static void handles_never_given_out_are_an_error(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "MSG 2 t 0\n\n",  "MSG 0 t 0\n\n",     "MSG 4294967297 t 0\n\n",
        "ACCEPT 2 0\n\n", "KICK 2 3000 0\n\n", "REJECT 2 3000 0\n\n",
        "STATE 2 0\n\n",  "MSG -1 t 0\n\n",    "MSG one t 0\n\n",
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        shake_hands();
        (void)open_slot("a");
        HEARD("OPEN 1 1 2\n{}\n");
        say(cases[i]);
        CHECK(cases[i], span_starts_with(scripted_written(&peer), SPAN_LIT("ERROR bad-handle ")));
        TOLD("a:orphan gone");
        disconnect_link();
        connect_link();
    }
}

/* -- verbs ------------------------------------------------------------------------------------- */

static void verbs_reach_their_slot(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    (void)open_slot("b");
    say("ACCEPT 2 0\n\nMSG 1 t 2\nhi\nMSG 2 b 2\n\xff\xfe\nREJECT 1 3000 3\nbye\n"
        "KICK 2 4999 0\n\nKICK 2 1000 0\n\nSTATE 1 5\nstate\nPONG 3\nabc\nLATER 1 2 3\nabc\n");
    TOLD("b:ACCEPT () a:MSG t (hi) b:MSG b (\xff\xfe) a:REJECT 3000 (bye) b:KICK 4999 () "
         "b:KICK 1000 () a:STATE (state)");
    assert_non_null(the_link);
}

static void bad_verbs(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *code;
    } cases[] = {
        {"MSG 1 0\n\n", "bad-verb"},
        {"MSG 1 t t 0\n\n", "bad-verb"},
        {"MSG 1 x 0\n\n", "bad-verb"},
        {"MSG 1 T 0\n\n", "bad-verb"},
        {"MSG 1 t 1\n\xff\n", "bad-frame"},
        {"MSG 1 t 3\n\xed\xa0\x80\n", "bad-frame"},
        {"MSG 1 t 1\n\xc3\n", "bad-frame"},
        {"KICK 1 0\n\n", "bad-verb"},
        {"KICK 1 999 0\n\n", "bad-verb"},
        {"KICK 1 1001 0\n\n", "bad-verb"},
        {"KICK 1 1006 0\n\n", "bad-verb"},
        {"KICK 1 2999 0\n\n", "bad-verb"},
        {"KICK 1 5000 0\n\n", "bad-verb"},
        {"REJECT 1 1002 0\n\n", "bad-verb"},
        {"KICK 1 3000 1\n\xff\n", "bad-frame"},
        {"ACCEPT 1 2 0\n\n", "bad-verb"},
        {"ACCEPT 0\n\n", "bad-verb"},
        {"STATE 1 1 0\n\n", "bad-verb"},
        {"OPEN 1 1 0\n\n", "bad-verb"},
        {"CLOSE 1 1 1000 0\n\n", "bad-verb"},
        {"WELCOME 1 0\n\n", "bad-verb"},
        {"PING 0\n\n", "bad-verb"},
        {"PAUSE 1 0\n\n", "bad-verb"},
        {"MSG 1 t  0\n\n", "bad-frame"},
        {"MSG 1 t -1\n\n", "bad-frame"},
        {"MSG 1 t 2\nhi!", "bad-frame"},
        {"garbage\n", "bad-frame"},
        {"BATCH 3\nxyz\n", "bad-batch"},
        {"BATCH 8\nACK 2 0\n\n", "bad-batch"},
        {"BATCH 8\nPONG 0\n\n\n", "bad-batch"},
        {"BATCH 9\nDRAIN 0\n\n\n", "bad-batch"},
        {"BATCH 9\nBATCH 0\n\n\n", "bad-batch"},
        {"BATCH 12\nHELLO 1 2\n{}\n", "bad-batch"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        shake_hands();
        (void)open_slot("a");
        HEARD("OPEN 1 1 2\n{}\n");
        say(cases[i].text);
        char want[64];
        (void)snprintf(want, sizeof want, "ERROR %s ", cases[i].code);
        struct span got = scripted_written(&peer);
        if (!span_starts_with(got, span_str(want))) {
            print_error("got %.*s\n", (int)got.len, got.ptr != NULL ? got.ptr : "");
        }
        CHECK(cases[i].text, span_starts_with(got, span_str(want)));
        TOLD("a:orphan gone");
        disconnect_link();
        connect_link();
    }
}

/* "VERB LENGTH\n" + bytes + "\n" with a payload of `n` x. */
static void say_padded(const char *verb, size_t n)
{
    static char text[MAX_FRAME + 2048];
    int head = snprintf(text, sizeof text, "%s %zu\n", verb, n);
    assert_true(n + (size_t)head + 1 < sizeof text);
    memset(text + head, 'x', n);
    text[(size_t)head + n] = '\n';
    say_span(span_of(text, (size_t)head + n + 1));
}

static void limits_hold_at_the_limit_and_one_over(void **state)
{
    (void)state;
    static const struct {
        const char *verb;
        size_t max;
        const char *told;
    } cases[] = {
        {"KICK 1 3000", LINK_MAX_REASON_BYTES, "a:KICK 3000 ()"},
        {"REJECT 1 3000", LINK_MAX_REASON_BYTES, "a:REJECT 3000 ()"},
        {"STATE 1", LINK_MAX_STATE_BYTES, "a:STATE ()"},
        {"MSG 1 t", MAX_FRAME, "a:MSG t ()"},
        {"MSG 1 b", MAX_FRAME, "a:MSG b ()"},
        {"UNKNOWN", MAX_FRAME, ""},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        shake_hands();
        (void)open_slot("a");
        HEARD("OPEN 1 1 2\n{}\n");
        say_padded(cases[i].verb, cases[i].max);
        TOLD(cases[i].told);
        assert_non_null(the_link);
        say_padded(cases[i].verb, cases[i].max + 1);
        REFUSED("too-big", "a:orphan gone");
        disconnect_link();
        connect_link();
    }
}

/* "BATCH LENGTH\n" + frames + "\n" */
static void say_batch(const char *frames)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "BATCH %zu\n%s\n", strlen(frames), frames);
    assert_true(n > 0 && (size_t)n < sizeof text);
    say(text);
}

static void a_batch_applies_in_order(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    say_batch("ACCEPT 1 0\n\nMSG 1 t 2\nhi\nNEW 1\n?\nSTATE 1 1\ns\nACK 1 0\n\nDONE 1 0\n\n");
    TOLD("a:ACCEPT () a:MSG t (hi) a:STATE (s) a:acked");
    say_batch("");
    TOLD("");
    assert_non_null(the_link);
}

static void a_bad_last_frame_applies_nothing_of_the_batch(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "MSG 2 t 1\nx\n", "ACK 2 0\n\n",    "MSG 1 t 1\n\xff\n", "KICK 1 1006 0\n\n",
        "PONG 0\n\n",     "MSG 1 t 2\nx\n", "MSG 1 t 1\nx",
    };
    for (size_t i = 0; i < N_OF(bad); i++) {
        char frames[128];
        shake_hands();
        (void)open_slot("a");
        HEARD("OPEN 1 1 2\n{}\n");
        (void)snprintf(frames, sizeof frames, "MSG 1 t 2\nhi\nACK 1 0\n\n%s", bad[i]);
        say_batch(frames);
        CHECK(bad[i], span_starts_with(scripted_written(&peer), SPAN_LIT("ERROR bad-")));
        TOLD("a:orphan gone");
        disconnect_link();
        connect_link();
    }
}

static void a_batch_drops_verbs_of_closed_sessions_and_goes_on(void **state)
{
    (void)state;
    shake_hands();
    uint32_t a = open_slot("a");
    (void)open_slot("b");
    link_deliver_close(the_link, a, 1000, SPAN_NONE);
    say_batch("MSG 2 t 1\ny\nACK 3 0\n\nMSG 1 t 1\nz\nMSG 2 t 1\n!\n");
    TOLD("b:MSG t (y) a:acked b:acked a:left b:MSG t (!)");
    assert_true(rig.kit.counters.stale_verbs == 1);
}

static void frames_come_in_any_pieces(void **state)
{
    (void)state;
    static const char text[] =
        "MSG 1 t 2\nhi\nBATCH 22\nMSG 1 t 2\nyo\nACK 1 0\n\n\nKICK 1 3000 0\n\n";
    for (size_t step = 1; step < sizeof text; step++) {
        shake_hands();
        (void)open_slot("a");
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t left = sizeof text - 1 - at;
            say_span(span_of(text + at, step < left ? step : left));
        }
        TOLD("a:MSG t (hi) a:MSG t (yo) a:acked a:KICK 3000 ()");
        disconnect_link();
        TOLD("a:orphan gone");
        connect_link();
    }
}

static void a_large_frame_comes_over_many_reads(void **state)
{
    (void)state;
    static char text[MAX_FRAME + 64];
    for (size_t step = 1000; step <= 100000; step *= 10) {
        shake_hands();
        (void)open_slot("a");
        int head = snprintf(text, sizeof text, "MSG 1 t %d\n", MAX_FRAME);
        memset(text + head, 'x', MAX_FRAME);
        memcpy(text + head + MAX_FRAME, "\nMSG 1 t 2\nhi\n", 14);
        size_t total = (size_t)head + MAX_FRAME + 14;
        for (size_t at = 0; at < total; at += step) {
            say_span(span_of(text + at, step < total - at ? step : total - at));
        }
        TOLD("a:MSG t () a:MSG t (hi)");
        assert_int_equal(buf_len(&the_link->partial), 0);
        rig_pass(&rig, TIMEOUT_MS);
        assert_null(the_link->partial.data); /* given back at rest */
        disconnect_link();
        owner.len = 0;
        connect_link();
    }
}

/* -- ends -------------------------------------------------------------------------------------- */

static void silence_is_answered_by_ping_and_more_of_it_by_the_end(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    HEARD("OPEN 1 1 2\n{}\n");
    rig_pass(&rig, TIMEOUT_MS);
    HEARD("PING 0\n\n");
    say("PONG 0\n\n");
    rig_pass(&rig, TIMEOUT_MS / 2 - 1);
    HEARD("");
    rig_pass(&rig, 1);
    HEARD("PING 0\n\n");
    rig_pass(&rig, TIMEOUT_MS - 1); /* all of the time counts from the PING */
    HEARD("");
    TOLD("");
    rig_pass(&rig, 1);
    REFUSED("timeout", "a:orphan gone");
}

static void any_bytes_are_a_sign_of_life(void **state)
{
    (void)state;
    shake_hands();
    rig_pass(&rig, TIMEOUT_MS);
    HEARD("PING 0\n\n");
    rig_pass(&rig, TIMEOUT_MS - 1);
    say("A");
    rig_pass(&rig, 1);
    HEARD("");
    assert_non_null(the_link);
}

static void a_paused_link_is_not_read_and_has_time(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    HEARD("OPEN 1 1 2\n{}\n");
    rig_pass(&rig, TIMEOUT_MS);
    HEARD("PING 0\n\n");
    link_pause(the_link);
    link_pause(the_link);
    scripted_feed(&peer, SPAN_LIT("PONG 0\n\nMSG 1 t 1\nx\n"));
    conn_poke(conn);
    rig_pass(&rig, 3 * TIMEOUT_MS);
    link_resume(the_link);
    conn_poke(conn);
    TOLD("");
    link_resume(the_link);
    conn_poke(conn);
    TOLD("a:MSG t (x)");
    rig_pass(&rig, TIMEOUT_MS); /* from now on it counts again */
    HEARD("PING 0\n\n");
    rig_pass(&rig, TIMEOUT_MS);
    REFUSED("timeout", "a:orphan gone");
}

static void the_link_to_a_relay_is_not_timed_or_counted(void **state)
{
    (void)state;
    disconnect_link();
    owner.len = 0;
    opts.is_relay = true;
    connect_link();
    assert_true(rig.kit.counters.links_open == 0);
    assert_true(rig.kit.counters.relays_open == 1);
    rig_pass(&rig, 2 * TIMEOUT_MS);
    shake_hands();
    rig_pass(&rig, 10 * TIMEOUT_MS);
    HEARD("");
    disconnect_link();
    TOLD("gone");
    assert_true(rig.kit.counters.relays_open == 0);
    opts.is_relay = false;
    connect_link();
}

static void a_draining_link_gets_no_new_sessions(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    say("DRAIN 0\n\nMSG 1 t 1\nx\n");
    assert_false(link_serves(the_link, SPAN_LIT("/a")));
    TOLD("drain a:MSG t (x)");
    assert_int_equal(deliver(1, "y"), ERR_OK); /* the old ones go on */
}

static void an_error_of_the_handler_ends_the_link_quietly(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    HEARD("OPEN 1 1 2\n{}\n");
    say("ERROR bad-frame 4\nwhat\nMSG 1 t 1\nx\n");
    HEARD("");
    TOLD("a:orphan gone");
}

static void end_of_file_orphans_all_slots_once(void **state)
{
    (void)state;
    shake_hands();
    (void)open_slot("a");
    uint32_t b = open_slot("b");
    (void)open_slot("c");
    link_deliver_close(the_link, b, 1000, SPAN_NONE);
    scripted_feed(&peer, SPAN_LIT("MSG 1 t 4\nlast\nMSG 1 t 9\ncut"));
    scripted_feed_eof(&peer);
    conn_poke(conn);
    conn_poke(conn);
    TOLD("a:MSG t (last) a:orphan b:orphan c:orphan gone");
}

static void without_memory_the_link_ends_after_the_call(void **state)
{
    (void)state;
    shake_hands();
    uint32_t a = open_slot("a");
    rig_turn(&rig);
    conn_out(conn)->max = (uint32_t)buf_len(conn_out(conn)) + 1; /* as if the heap were empty */
    link_deliver_close(the_link, a, 1000, SPAN_NONE);
    TOLD("");
    assert_non_null(the_link);
    assert_false(link_serves(the_link, SPAN_LIT("/")));
    uint32_t b = 0;
    assert_int_equal(link_deliver_open(the_link, &slots[1].owner, SPAN_LIT("{}"), &b), ERR_AGAIN);
    rig_pass(&rig, 0);
    TOLD("a:orphan gone");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_hello_is_welcomed),
        TEST(hello_may_name_mounts_and_unknown_keys),
        TEST(a_star_serves_every_mount),
        TEST(names_of_mounts_are_counted),
        TEST(the_smaller_max_frame_counts),
        TEST(bad_hellos),
        TEST(a_late_hello_is_too_late),
        TEST(a_second_hello_is_refused),
        TEST(every_split_of_the_hello_is_the_same),
        TEST(deliveries_are_numbered_from_1),
        TEST(a_full_window_waits_for_the_ack),
        TEST(the_window_is_exact),
        TEST(a_close_is_never_held_up),
        TEST(a_full_socket_waits_too),
        TEST(done_in_any_order_and_ranges),
        TEST(the_ring_grows_with_what_is_in_flight),
        TEST(acknowledging_what_was_never_sent),
        TEST(tagged_deliveries_tell_when_they_are_finished),
        TEST(only_users_on_the_list_may_be_handlers),
        TEST(a_slot_is_idle_when_all_of_it_is_acknowledged),
        TEST(a_slot_is_idle_for_its_own_deliveries),
        TEST(a_handle_is_free_when_its_close_is_acknowledged),
        TEST(verbs_for_a_closed_session_are_dropped_and_counted),
        TEST(handles_never_given_out_are_an_error),
        TEST(verbs_reach_their_slot),
        TEST(bad_verbs),
        TEST(limits_hold_at_the_limit_and_one_over),
        TEST(a_batch_applies_in_order),
        TEST(a_bad_last_frame_applies_nothing_of_the_batch),
        TEST(a_batch_drops_verbs_of_closed_sessions_and_goes_on),
        TEST(frames_come_in_any_pieces),
        TEST(a_large_frame_comes_over_many_reads),
        TEST(silence_is_answered_by_ping_and_more_of_it_by_the_end),
        TEST(any_bytes_are_a_sign_of_life),
        TEST(a_paused_link_is_not_read_and_has_time),
        TEST(the_link_to_a_relay_is_not_timed_or_counted),
        TEST(a_draining_link_gets_no_new_sessions),
        TEST(an_error_of_the_handler_ends_the_link_quietly),
        TEST(end_of_file_orphans_all_slots_once),
        TEST(without_memory_the_link_ends_after_the_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
