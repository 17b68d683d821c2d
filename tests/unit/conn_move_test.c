/*
 * conn_move: a connection goes from one loop to another. What was read and not consumed, in the
 * connection or in its I/O, comes without an event; the old loop knows nothing of it any more; the
 * descriptor and the place among the peers are given back once, whatever happens on the way.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "harness/scripted_io.h"
#include "harness/transcript.h"
#include "net/peers.h"

/* The connection itself, compiled into this program with an allocator that can be told to fail. */
static bool is_out_of_memory;

static void *failing_mem_new(size_t n, size_t size)
{
    return is_out_of_memory ? NULL : mem_new(n, size);
}

#define mem_new failing_mem_new
#include "net/conn.c" /* NOLINT(bugprone-suspicious-include): see above */
#undef mem_new

#include "harness/test.h" /* behind conn.c, for cmocka makes a macro of `fail` */

/* -- the stage: two loops, a connection on the first --------------------------------------------
 */

struct tap {
    struct transcript said;
    size_t leave; /* of each delivery so many bytes are left */
    bool counts;  /* write down the length, not the bytes */
    struct conn *pauses;
    struct conn *detaches; /* in on_drained, into `parcel` */
};

static struct rig from, to;
static struct scripted peer;
static struct tap old_tap, new_tap;
static struct conn *conn;
static struct conn *moved;
static struct conn_parcel parcel;
static struct peers *peers;
static const struct conn_peer address = {.family = AF_INET6, .port = 4711};

static size_t tap_on_data(void *owner, char *bytes, size_t len)
{
    struct tap *tap = owner;
    if (tap->counts) {
        transcript_add(&tap->said, "data[%zu] ", len);
    } else {
        transcript_add(&tap->said, "data(");
        transcript_bytes(&tap->said, span_of(bytes, len));
        transcript_add(&tap->said, ") ");
    }
    if (tap->pauses != NULL) {
        conn_pause(tap->pauses);
    }
    return tap->leave < len ? len - tap->leave : 0;
}

static void tap_on_eof(void *owner)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "eof ");
}

static void tap_on_drained(void *owner)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "drained ");
    if (tap->detaches != NULL) {
        assert_int_equal(conn_detach(tap->detaches, &parcel), ERR_OK);
    }
}

static void tap_on_gone(void *owner, enum err why)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "gone(%s) ", err_name(why));
}

static const struct octets_ops tap_ops = {
    .on_data = tap_on_data,
    .on_eof = tap_on_eof,
    .on_drained = tap_on_drained,
    .on_gone = tap_on_gone,
};

static void heard(struct tap *tap, const char *want)
{
    assert_string_equal(transcript_text(&tap->said), want);
    transcript_clear(&tap->said);
}

static void open_on(int fd, const struct conn_io *io, void *io_state)
{
    const struct peers_limits limits = {10, 1};
    assert_int_equal(peers_create(&limits, &peers), ERR_OK);
    assert_int_equal(peers_enter(peers, &address), ERR_OK);
    const struct conn_opts opts = {SCRIPTED_WRITE_TIMEOUT_MS, peers};
    assert_int_equal(conn_create(from.loop, fd, io, io_state, &opts, &address, &conn), ERR_OK);
    old_tap = (struct tap){.leave = 0};
    new_tap = (struct tap){.leave = 0};
    conn_set_owner(conn, &tap_ops, &old_tap);
    moved = NULL;
}

static int start(void **state)
{
    (void)state;
    rig_start(&from);
    rig_start(&to);
    scripted_init(&peer);
    open_on(-1, &scripted_io, &peer);
    return 0;
}

static int stop_loops(void **state)
{
    (void)state;
    conn_end_all(from.loop);
    conn_end_all(to.loop);
    rig_turn(&from);
    rig_turn(&to);
    assert_int_equal(from.kit.counters.connections_open, 0);
    assert_int_equal(to.kit.counters.connections_open, 0);
    assert_true(timers_next_ms(&from.kit.timers) == TIMERS_NONE);
    assert_true(timers_next_ms(&to.kit.timers) == TIMERS_NONE);
    assert_int_equal(peers_total(peers), 0);
    assert_int_equal(peers_enter(peers, &address), ERR_OK); /* the place of the address is free */
    peers_destroy(peers);
    rig_stop(&from);
    rig_stop(&to);
    transcript_free(&old_tap.said);
    transcript_free(&new_tap.said);
    return 0;
}

static int stop(void **state)
{
    (void)stop_loops(state);
    assert_int_equal(peer.n_closes, 1);
    scripted_fini(&peer);
    return 0;
}

static void feed(const char *text)
{
    scripted_feed(&peer, span_str(text));
}

static void poke(void)
{
    conn_poke(conn);
    rig_turn(&from);
}

static void detach(void)
{
    assert_int_equal(conn_detach(conn, &parcel), ERR_OK);
    assert_int_equal(from.kit.counters.connections_open, 0);
    rig_turn(&from); /* frees it */
    assert_int_equal(peer.n_closes, 0);
    assert_int_equal(peers_total(peers), 1);
}

static void adopt(void)
{
    assert_int_equal(conn_adopt(to.loop, &parcel, &moved), ERR_OK);
    conn_set_owner(moved, &tap_ops, &new_tap);
}

/* -- what travels -------------------------------------------------------------------------------
 */

static void unread_bytes_come_without_an_event(void **state)
{
    (void)state;
    old_tap.leave = 3;
    feed("abcde");
    poke();
    detach();
    adopt();
    heard(&new_tap, "");
    rig_turn(&to);
    heard(&new_tap, "data(cde) ");
    feed("fg");
    conn_poke(moved);
    heard(&new_tap, "data(fg) ");
    heard(&old_tap, "data(abcde) ");
}

static void the_parcel_is_empty_after_adopting(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    poke();
    detach();
    assert_int_equal(parcel.in.end - parcel.in.start, 1);
    adopt();
    assert_int_equal(parcel.fd, -1);
    assert_null(parcel.in.data);
    assert_null(parcel.peers);
}

static void counters_and_facts_follow_it(void **state)
{
    (void)state;
    assert_int_equal(from.kit.counters.connections_open, 1);
    conn->io_wants_write = true;
    detach();
    adopt();
    assert_true(moved->io_wants_write);
    assert_int_equal(to.kit.counters.connections_open, 1);
    assert_int_equal(to.kit.counters.connections_moved, 1);
    assert_int_equal(from.kit.counters.connections_moved, 0);
    assert_int_equal(moved->peer.port, address.port);
    assert_int_equal(moved->write_timeout_ms, SCRIPTED_WRITE_TIMEOUT_MS);
}

static void nothing_to_bring_calls_nobody(void **state)
{
    (void)state;
    detach();
    adopt();
    rig_turn(&to);
    heard(&new_tap, "");
    assert_int_equal(peer.n_reads, 0);
}

/* As an SSL that has decrypted more than was read. */
static bool has_more(const struct conn *of)
{
    return !scripted_is_read_out(of->io_state);
}

static struct conn_io record_io;

static void speak_records(void)
{
    record_io = scripted_io;
    record_io.writes_records = true;
    record_io.has_pending = has_more;
    conn->io = &record_io;
}

static void bytes_pending_in_the_io_come_without_an_event(void **state)
{
    (void)state;
    speak_records();
    feed("a");
    feed("b");
    detach();
    adopt();
    rig_turn(&to);
    heard(&new_tap, "data(a) data(b) ");
}

static void unread_bytes_come_before_those_in_the_io(void **state)
{
    (void)state;
    old_tap.leave = 2;
    old_tap.pauses = conn;
    feed("abc");
    poke();
    speak_records();
    feed("d");
    feed("e");
    detach();
    adopt();
    rig_turn(&to);
    heard(&new_tap, "data(bc) data(d) data(e) ");
}

/* More than a reader may leave: a paused one may, and nobody is paused on the other side. */
static void all_that_a_paused_owner_left_travels(void **state)
{
    (void)state;
    char *bytes = calloc(1, LOOP_READ_BYTES);
    assert_non_null(bytes);
    old_tap = (struct tap){.counts = true, .leave = SIZE_MAX};
    scripted_feed(&peer, span_of(bytes, LOOP_READ_BYTES));
    poke();
    old_tap.pauses = conn;
    scripted_feed(&peer, span_of(bytes, LOOP_READ_BYTES));
    poke();
    heard(&old_tap, "data[65536] data[131072] ");
    detach();
    new_tap.counts = true;
    adopt();
    feed("x");
    conn_poke(moved); /* the event may come before the turn's end */
    heard(&new_tap, "data[131072] data[1] ");
    free(bytes);
}

static void an_end_that_was_seen_is_seen_again(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    scripted_feed_eof(&peer);
    poke();
    poke();
    heard(&old_tap, "data(ab) eof ");
    detach();
    adopt();
    rig_turn(&to);
    conn_poke(moved);
    heard(&new_tap, "data(b) eof ");
}

static void nobody_needs_to_own_it(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    poke();
    detach();
    assert_int_equal(conn_adopt(to.loop, &parcel, &moved), ERR_OK);
    rig_turn(&to);
    scripted_feed_error(&peer);
    conn_poke(moved);
    assert_int_equal(peer.n_closes, 1);
}

static void it_writes_and_stalls_on_the_new_loop(void **state)
{
    (void)state;
    detach();
    adopt();
    assert_int_equal(conn_write(moved, SPAN_LIT("hello")), ERR_OK);
    peer.write_room = 2;
    rig_turn(&to);
    rig_pass(&from, 2 * SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&new_tap, "");
    rig_pass(&to, SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&new_tap, "gone(timeout) ");
    check_span("written", scripted_written(&peer), SPAN_LIT("he"));
}

/* -- the old side -------------------------------------------------------------------------------
 */

static void what_is_still_to_come_on_the_old_side_is_void(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    poke();
    heard(&old_tap, "data(ab) ");
    conn_redeliver(conn);
    assert_int_equal(conn_detach(conn, &parcel), ERR_OK);
    conn_redeliver(conn);
    conn_resume(conn);
    conn_close(conn);
    conn_abort(conn);
    (void)!conn_write(conn, SPAN_LIT("lost"));
    conn_poke(conn);
    conn_end_all(from.loop);
    rig_turn(&from);
    heard(&old_tap, "");
    assert_int_equal(peer.n_closes, 0);
    adopt();
    rig_turn(&to);
    heard(&new_tap, "data(b) ");
    check_span("written", scripted_written(&peer), SPAN_NONE);
}

static void it_may_go_when_its_output_has_left(void **state)
{
    (void)state;
    peer.write_room = 2;
    assert_true(conn_is_drained(conn));
    assert_int_equal(conn_write(conn, SPAN_LIT("hello")), ERR_OK);
    assert_false(conn_is_drained(conn));
    old_tap.detaches = conn;
    rig_turn(&from);
    heard(&old_tap, "");
    peer.write_room = SIZE_MAX;
    feed("for the new side");
    conn_poke(conn); /* writable and readable at once */
    heard(&old_tap, "drained ");
    rig_turn(&from);
    adopt();
    conn_poke(moved);
    heard(&new_tap, "data(for the new side) ");
    check_span("written", scripted_written(&peer), SPAN_LIT("hello"));
}

static void what_has_failed_does_not_move(void **state)
{
    (void)state;
    conn_fail(conn);
    assert_int_equal(conn_detach(conn, &parcel), ERR_GONE);
    rig_turn(&from);
    heard(&old_tap, "gone(nomem) ");
}

static void what_has_ended_does_not_move(void **state)
{
    (void)state;
    conn_close(conn);
    assert_int_equal(conn_detach(conn, &parcel), ERR_GONE);
    conn_abort(conn);
    assert_int_equal(conn_detach(conn, &parcel), ERR_GONE);
}

/* -- ends on the way ----------------------------------------------------------------------------
 */

static void a_parcel_that_nobody_adopts_is_closed(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    poke();
    detach();
    conn_parcel_drop(&parcel);
    assert_int_equal(peer.n_closes, 1);
    assert_int_equal(peers_total(peers), 0);
}

static void without_memory_it_is_closed(void **state)
{
    (void)state;
    old_tap.leave = 1;
    feed("ab");
    poke();
    detach();
    is_out_of_memory = true;
    assert_int_equal(conn_adopt(to.loop, &parcel, &moved), ERR_NOMEM);
    is_out_of_memory = false;
    assert_int_equal(peer.n_closes, 1);
    assert_int_equal(peers_total(peers), 0);
    assert_int_equal(to.kit.counters.out_of_memory, 1);
    assert_int_equal(to.kit.counters.connections_moved, 0);
}

static void a_connection_that_is_not_made_leaves_its_place(void **state)
{
    (void)state;
    const struct conn_peer other = {.family = AF_UNIX};
    const struct conn_opts opts = {SCRIPTED_WRITE_TIMEOUT_MS, peers};
    struct conn *none = NULL;
    struct scripted script;
    scripted_init(&script);
    assert_int_equal(peers_enter(peers, &other), ERR_OK);
    is_out_of_memory = true;
    assert_int_equal(conn_create(from.loop, -1, &scripted_io, &script, &opts, &other, &none),
                     ERR_NOMEM);
    is_out_of_memory = false;
    assert_int_equal(script.n_closes, 1);
    assert_int_equal(peers_total(peers), 1);
    assert_int_equal(peers_enter(peers, &other), ERR_OK);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* epoll refuses it */
    assert_int_equal(conn_create(from.loop, fd, &conn_io_plain, NULL, &opts, &other, &none),
                     ERR_IO);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(peers_total(peers), 1);
}

static void the_place_is_kept_until_the_drain_is_over(void **state)
{
    (void)state;
    conn_close(conn);
    rig_turn(&from);
    assert_int_equal(peers_total(peers), 1);
    rig_pass(&from, CONN_DRAIN_MS);
    assert_int_equal(peers_total(peers), 0);
}

/* -- real sockets -------------------------------------------------------------------------------
 */

static int far_end;

static int start_socket(void **state)
{
    (void)state;
    int fds[2];
    rig_start_at(&from, kit_clock_ms());
    rig_start_at(&to, kit_clock_ms());
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    open_on(fds[0], &conn_io_plain, NULL);
    far_end = fds[1];
    return 0;
}

static int stop_socket(void **state)
{
    if (far_end >= 0) {
        assert_int_equal(close(far_end), 0);
    }
    return stop_loops(state);
}

static void peer_sends(const char *text)
{
    assert_int_equal(send(far_end, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void both_run(void)
{
    for (int i = 0; i < 3; i++) {
        loop_run_once(from.loop, false);
        loop_run_once(to.loop, false);
    }
}

static void move_socket(void)
{
    assert_int_equal(conn_detach(conn, &parcel), ERR_OK);
    adopt();
}

static void only_the_new_loop_hears_of_the_descriptor(void **state)
{
    (void)state;
    char bytes[8];
    peer_sends("before");
    both_run();
    peer_sends("meanwhile");
    move_socket();
    both_run();
    peer_sends("after");
    both_run();
    heard(&old_tap, "data(before) ");
    heard(&new_tap, "data(meanwhile) data(after) ");
    assert_int_equal(conn_write(moved, SPAN_LIT("answer")), ERR_OK);
    both_run();
    assert_int_equal(recv(far_end, bytes, sizeof bytes, MSG_DONTWAIT), 6);
}

static void a_fin_behind_the_bytes_is_read_on_the_new_loop(void **state)
{
    (void)state;
    old_tap.leave = 2;
    old_tap.pauses = conn;
    peer_sends("abc");
    assert_int_equal(shutdown(far_end, SHUT_WR), 0);
    both_run();
    move_socket();
    both_run();
    heard(&old_tap, "data(abc) ");
    heard(&new_tap, "data(bc) eof ");
}

static void a_hang_up_is_noticed_by_the_new_loop(void **state)
{
    (void)state;
    move_socket();
    both_run();
    conn_pause(moved);
    assert_int_equal(close(far_end), 0);
    far_end = -1;
    both_run();
    heard(&old_tap, "");
    heard(&new_tap, "gone(io) ");
}

static void it_may_come_back(void **state)
{
    (void)state;
    move_socket();
    peer_sends("there");
    both_run();
    assert_int_equal(conn_detach(moved, &parcel), ERR_OK);
    assert_int_equal(conn_adopt(from.loop, &parcel, &conn), ERR_OK);
    conn_set_owner(conn, &tap_ops, &old_tap);
    peer_sends("and back");
    both_run();
    heard(&new_tap, "data(there) ");
    heard(&old_tap, "data(and back) ");
    assert_int_equal(from.kit.counters.connections_moved, 1);
}

static void a_descriptor_that_cannot_be_watched_is_closed(void **state)
{
    (void)state;
    assert_int_equal(conn_detach(conn, &parcel), ERR_OK);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup3(fd, parcel.fd, O_CLOEXEC), parcel.fd); /* epoll refuses it */
    assert_int_equal(close(fd), 0);
    fd = parcel.fd;
    assert_int_equal(conn_adopt(to.loop, &parcel, &moved), ERR_IO);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(peers_total(peers), 0);
    assert_int_equal(to.kit.counters.connections_moved, 0);
}

#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, start, stop)
#define ON_UNIX(test)  cmocka_unit_test_setup_teardown(test, start_socket, stop_socket)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPTED(unread_bytes_come_without_an_event),
        SCRIPTED(the_parcel_is_empty_after_adopting),
        SCRIPTED(counters_and_facts_follow_it),
        SCRIPTED(nothing_to_bring_calls_nobody),
        SCRIPTED(bytes_pending_in_the_io_come_without_an_event),
        SCRIPTED(unread_bytes_come_before_those_in_the_io),
        SCRIPTED(all_that_a_paused_owner_left_travels),
        SCRIPTED(an_end_that_was_seen_is_seen_again),
        SCRIPTED(nobody_needs_to_own_it),
        SCRIPTED(it_writes_and_stalls_on_the_new_loop),
        SCRIPTED(what_is_still_to_come_on_the_old_side_is_void),
        SCRIPTED(it_may_go_when_its_output_has_left),
        SCRIPTED(what_has_failed_does_not_move),
        SCRIPTED(what_has_ended_does_not_move),
        SCRIPTED(a_parcel_that_nobody_adopts_is_closed),
        SCRIPTED(without_memory_it_is_closed),
        SCRIPTED(a_connection_that_is_not_made_leaves_its_place),
        SCRIPTED(the_place_is_kept_until_the_drain_is_over),
        ON_UNIX(only_the_new_loop_hears_of_the_descriptor),
        ON_UNIX(a_fin_behind_the_bytes_is_read_on_the_new_loop),
        ON_UNIX(a_hang_up_is_noticed_by_the_new_loop),
        ON_UNIX(it_may_come_back),
        ON_UNIX(a_descriptor_that_cannot_be_watched_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
