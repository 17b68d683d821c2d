/*
 * conn: what the owner is given and what leaves, over a scripted peer and a clock set by hand; then
 * over real sockets what only the kernel can tell: resets, hang-ups, FINs, and that none of them
 * makes the loop spin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/scripted_io.h"
#include "harness/test.h"
#include "harness/transcript.h"
#include "net/conn.h"
#include "net/loop.h"

/* -- an owner that writes down what it hears ----------------------------------------------------
 */

struct tap {
    struct conn *conn;
    struct transcript said;
    size_t leave; /* of each delivery so many bytes are left */
    bool counts;  /* write down the length, not the bytes */
    bool upcases; /* change the bytes in place */
    void (*in_data)(struct tap *tap);
    void (*in_eof)(struct tap *tap);
    void (*in_drained)(struct tap *tap);
    void (*in_gone)(struct tap *tap);
};

static void call(void (*then)(struct tap *tap), struct tap *tap)
{
    if (then != NULL) {
        then(tap);
    }
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct tap *tap = owner;
    size_t used = tap->leave < len ? len - tap->leave : 0;
    if (tap->counts) {
        transcript_add(&tap->said, "data[%zu] ", len);
    } else {
        transcript_add(&tap->said, "data(");
        transcript_bytes(&tap->said, span_of(bytes, len));
        transcript_add(&tap->said, ") ");
    }
    for (size_t i = 0; i < len && tap->upcases; i++) {
        bytes[i] = bytes[i] >= 'a' ? (char)(bytes[i] - 'a' + 'A') : bytes[i];
    }
    call(tap->in_data, tap);
    return used;
}

static void on_eof(void *owner)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "eof ");
    call(tap->in_eof, tap);
}

static void on_drained(void *owner)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "drained ");
    call(tap->in_drained, tap);
}

static void on_gone(void *owner, enum err why)
{
    struct tap *tap = owner;
    transcript_add(&tap->said, "gone(%s) ", err_name(why));
    call(tap->in_gone, tap);
}

static const struct octets_ops tap_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

static void heard(struct tap *tap, const char *want)
{
    assert_string_equal(transcript_text(&tap->said), want);
    transcript_clear(&tap->said);
}

static void close_it(struct tap *tap)
{
    conn_close(tap->conn);
}

static void abort_it(struct tap *tap)
{
    conn_abort(tap->conn);
}

static void pause_it(struct tap *tap)
{
    conn_pause(tap->conn);
}

static void write_it(struct tap *tap)
{
    assert_int_equal(conn_write(tap->conn, SPAN_LIT("answer")), ERR_OK);
}

/* -- the stage: one scripted connection with a tap ----------------------------------------------
 */

static struct rig rig;
static struct scripted peer;
static struct tap tap;
static struct tap heir; /* who may own it next */
static struct conn *conn;

static int start(void **state)
{
    (void)state;
    rig_start(&rig);
    conn = scripted_conn(&rig, &peer);
    tap = (struct tap){.conn = conn};
    conn_set_owner(conn, &tap_ops, &tap);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    conn_end_all(rig.loop);
    rig_turn(&rig);
    assert_int_equal(rig.kit.counters.connections_open, 0);
    assert_int_equal(peer.n_closes, 1);
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
    rig_stop(&rig);
    scripted_fini(&peer);
    transcript_free(&tap.said);
    transcript_free(&heir.said);
    return 0;
}

static void feed(const char *text)
{
    scripted_feed(&peer, span_str(text));
}

/* `n` bytes of the alphabet. */
static void feed_many(size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (char)('a' + i % 26);
    }
    scripted_feed(&peer, span_of(bytes, n));
    free(bytes);
}

static void poke(void)
{
    conn_poke(conn);
    rig_turn(&rig);
}

static void write_many(size_t n)
{
    char *bytes = calloc(1, n);
    assert_non_null(bytes);
    assert_int_equal(conn_write(conn, span_of(bytes, n)), ERR_OK);
    free(bytes);
}

static void wrote(const char *want)
{
    check_span("written", scripted_written(&peer), span_str(want));
}

static bool is_dead(void)
{
    return peer.n_closes == 1;
}

/* -- reading ------------------------------------------------------------------------------------
 */

static void leftover_comes_again_in_front(void **state)
{
    (void)state;
    tap.leave = 2;
    feed("abcde");
    poke();
    heard(&tap, "data(abcde) ");
    feed("fg");
    poke();
    heard(&tap, "data(defg) ");
    tap.leave = 0;
    feed("h");
    poke();
    heard(&tap, "data(fgh) ");
    feed("i");
    poke();
    heard(&tap, "data(i) ");
}

static void bytes_changed_in_place_stay_changed(void **state)
{
    (void)state;
    tap.upcases = true;
    tap.leave = 2;
    feed("abcd");
    poke();
    feed("ef");
    poke();
    heard(&tap, "data(abcd) data(CDef) ");
}

static void nothing_to_read_calls_nobody(void **state)
{
    (void)state;
    scripted_feed_again(&peer);
    feed("a");
    poke();
    heard(&tap, "");
    poke();
    heard(&tap, "data(a) ");
}

static void redelivery_comes_at_the_turns_end_and_once(void **state)
{
    (void)state;
    tap.leave = 3;
    feed("abcde");
    poke();
    heard(&tap, "data(abcde) ");
    conn_redeliver(conn);
    conn_redeliver(conn);
    heard(&tap, "");
    rig_turn(&rig);
    heard(&tap, "data(cde) ");
    rig_turn(&rig);
    heard(&tap, "");
    tap.leave = 0;
    conn_redeliver(conn);
    rig_turn(&rig);
    heard(&tap, "data(cde) ");
    conn_redeliver(conn);
    rig_turn(&rig);
    heard(&tap, "");
}

static void pause_holds_everything_back(void **state)
{
    (void)state;
    tap.leave = 1;
    feed("ab");
    poke();
    conn_pause(conn);
    heard(&tap, "data(ab) ");
    unsigned n_reads = peer.n_reads;
    feed("cd");
    poke();
    conn_redeliver(conn);
    rig_turn(&rig);
    heard(&tap, "");
    assert_int_equal(peer.n_reads, n_reads);
    conn_resume(conn);
    heard(&tap, "");
    rig_turn(&rig);
    heard(&tap, "data(b) ");
    poke();
    heard(&tap, "data(bcd) ");
}

static void pause_inside_on_data_keeps_the_rest(void **state)
{
    (void)state;
    tap.leave = 2;
    tap.in_data = pause_it;
    feed("abcd");
    feed("ef");
    poke();
    poke();
    heard(&tap, "data(abcd) ");
    tap.in_data = NULL;
    tap.leave = 0;
    conn_resume(conn);
    poke();
    heard(&tap, "data(cd) data(ef) ");
}

/* The scratch has room for one read behind LOOP_LOOKAHEAD_BYTES only, and a paused owner may leave
 * more: what is kept must be delivered before the descriptor is read again. */
static void what_a_paused_owner_left_is_delivered_before_the_next_read(void **state)
{
    (void)state;
    tap.counts = true;
    tap.leave = SIZE_MAX;
    feed_many(LOOP_READ_BYTES);
    poke();
    tap.in_data = pause_it;
    feed_many(LOOP_READ_BYTES);
    poke();
    heard(&tap, "data[65536] data[131072] ");
    tap.in_data = NULL;
    tap.leave = 1;
    feed_many(LOOP_READ_BYTES);
    conn_resume(conn);
    conn_poke(conn);
    heard(&tap, "data[131072] data[65537] ");
}

static void an_owner_that_does_not_take_ends_the_connection(void **state)
{
    (void)state;
    tap.counts = true;
    tap.leave = SIZE_MAX;
    feed_many(LOOP_LOOKAHEAD_BYTES);
    poke();
    heard(&tap, "data[65536] ");
    assert_false(is_dead());
    feed("x");
    poke();
    heard(&tap, "data[65537] gone(limit) ");
    assert_true(is_dead());
}

static void eof_comes_behind_all_bytes(void **state)
{
    (void)state;
    tap.leave = 1;
    feed("ab");
    scripted_feed_eof(&peer);
    poke();
    conn_redeliver(conn); /* a turn that ended early: the event comes before the redelivery */
    tap.leave = 0;
    conn_poke(conn);
    heard(&tap, "data(ab) data(b) eof ");
    poke();
    heard(&tap, "");
}

static void writing_works_behind_eof(void **state)
{
    (void)state;
    tap.in_eof = write_it;
    scripted_feed_eof(&peer);
    poke();
    heard(&tap, "eof ");
    wrote("answer");
}

static void read_error_ends_it(void **state)
{
    (void)state;
    feed("a");
    scripted_feed_error(&peer);
    poke();
    assert_int_equal(conn_write(conn, SPAN_LIT("lost")), ERR_OK);
    conn_poke(conn);
    heard(&tap, "data(a) gone(io) ");
    assert_true(is_dead());
}

/* -- owners -------------------------------------------------------------------------------------
 */

static void hand_over(struct tap *from)
{
    heir.conn = from->conn;
    conn_set_owner(from->conn, &tap_ops, &heir);
}

static void new_owner_gets_what_the_old_one_left(void **state)
{
    (void)state;
    tap.leave = 3;
    tap.in_data = hand_over;
    feed("upgraderest"); /* "est" is left */
    conn_poke(conn);
    heard(&tap, "data(upgraderest) ");
    heard(&heir, "");
    rig_turn(&rig);
    heard(&heir, "data(est) ");
    scripted_feed_eof(&peer);
    poke();
    heard(&tap, "");
    heard(&heir, "eof ");
}

static void new_owner_outside_on_data_gets_what_was_kept(void **state)
{
    (void)state;
    tap.leave = 3;
    feed("abcde");
    poke();
    hand_over(&tap);
    rig_turn(&rig);
    heard(&tap, "data(abcde) ");
    heard(&heir, "data(cde) ");
}

/* The owner had paused and, resumed, hands over with bytes left, while a FIN waits to be read. */
static void hand_over_before_a_fin(void)
{
    tap.leave = SIZE_MAX;
    tap.in_data = pause_it;
    feed("upgraderest");
    conn_poke(conn);
    scripted_feed_eof(&peer);
    tap.leave = 3;
    tap.in_data = hand_over;
    conn_resume(conn);
}

static void a_fin_does_not_overtake_what_the_old_owner_left(void **state)
{
    (void)state;
    hand_over_before_a_fin();
    conn_poke(conn); /* readiness comes before the turn's end */
    heard(&tap, "data(upgraderest) data(upgraderest) ");
    heard(&heir, "");
    rig_turn(&rig);
    heard(&heir, "data(est) ");
    poke();
    heard(&heir, "eof ");
}

static void without_owner_bytes_are_discarded(void **state)
{
    (void)state;
    struct scripted other;
    struct conn *lone = scripted_conn(&rig, &other);
    scripted_feed(&other, SPAN_LIT("abc"));
    conn_poke(lone);
    scripted_feed_error(&other);
    conn_poke(lone);
    assert_int_equal(other.n_closes, 1);
    rig_turn(&rig);
    scripted_fini(&other);
}

/* -- writing ------------------------------------------------------------------------------------
 */

static void writes_of_a_turn_are_one_write(void **state)
{
    (void)state;
    assert_int_equal(conn_write(conn, SPAN_LIT("one ")), ERR_OK);
    assert_int_equal(conn_write(conn, SPAN_LIT("two ")), ERR_OK);
    assert_int_equal(buf_append_span(conn_out(conn), SPAN_LIT("three")), ERR_OK);
    conn_wrote(conn);
    assert_int_equal(peer.n_writes, 0);
    rig_turn(&rig);
    wrote("one two three");
    assert_int_equal(peer.n_writes, 1);
    assert_int_equal(conn->n_written, 13);
    assert_null(conn_out(conn)->data); /* an idle connection holds no storage */
}

static void short_writes_go_on_in_order(void **state)
{
    (void)state;
    peer.max_per_write = 3;
    assert_int_equal(conn_write(conn, SPAN_LIT("abcdefgh")), ERR_OK);
    rig_turn(&rig);
    wrote("abc");
    conn_poke(conn);
    wrote("abcdef");
    assert_int_equal(conn_write(conn, SPAN_LIT("ij")), ERR_OK);
    conn_poke(conn);
    conn_poke(conn);
    wrote("abcdefghij");
    assert_int_equal(buf_len(conn_out(conn)), 0);
}

/* A conn_io like that of TLS: it writes records, may hold decrypted bytes that no event tells of,
 * and may have to write before it can read. */
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

static void records_leave_in_one_turn(void **state)
{
    (void)state;
    speak_records();
    peer.max_per_write = 3;
    assert_int_equal(conn_write(conn, SPAN_LIT("abcdefgh")), ERR_OK);
    rig_turn(&rig);
    wrote("abcdefgh");
    assert_int_equal(peer.n_writes, 3);
}

static void pending_bytes_need_no_event(void **state)
{
    (void)state;
    speak_records();
    scripted_feed(&peer, SPAN_LIT("a"));
    scripted_feed(&peer, SPAN_LIT("b"));
    scripted_feed(&peer, SPAN_LIT("c"));
    conn_poke(conn);
    heard(&tap, "data(a) ");
    rig_turn(&rig);
    heard(&tap, "data(b) data(c) ");
}

static void pending_bytes_come_on_resume(void **state)
{
    (void)state;
    speak_records();
    conn_pause(conn);
    scripted_feed(&peer, SPAN_LIT("a"));
    rig_turn(&rig);
    heard(&tap, "");
    conn_resume(conn);
    rig_turn(&rig);
    heard(&tap, "data(a) ");
}

static void a_pending_fin_does_not_overtake_what_the_old_owner_left(void **state)
{
    (void)state;
    speak_records();
    hand_over_before_a_fin();
    rig_turn(&rig);
    heard(&heir, "data(est) eof ");
}

static void write_error_ends_it(void **state)
{
    (void)state;
    peer.is_write_broken = true;
    assert_int_equal(conn_write(conn, SPAN_LIT("a")), ERR_OK);
    heard(&tap, "");
    rig_turn(&rig);
    heard(&tap, "gone(io) ");
    assert_true(is_dead());
}

static void who_reads_to_the_end_bears_a_write_error(void **state)
{
    (void)state;
    conn_read_to_end(conn);
    peer.is_write_broken = true;
    feed("last words");
    feed(", and more");
    tap.in_data = write_it; /* fails again */
    assert_int_equal(conn_write(conn, SPAN_LIT("a")), ERR_OK);
    rig_turn(&rig);
    heard(&tap, "data(last words) data(, and more) gone(io) "); /* not an end, but no more of it */
    assert_true(is_dead());
}

static void a_pause_puts_that_off(void **state)
{
    (void)state;
    conn_read_to_end(conn);
    conn_pause(conn);
    peer.is_write_broken = true;
    feed("last words");
    scripted_feed_eof(&peer);
    assert_int_equal(conn_write(conn, SPAN_LIT("a")), ERR_OK);
    rig_turn(&rig);
    heard(&tap, "");
    assert_int_equal(buf_len(conn_out(conn)), 0);
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
    conn_resume(conn);
    rig_turn(&rig);
    heard(&tap, "data(last words) eof ");
}

static void also_one_from_inside(void **state)
{
    (void)state;
    conn_read_to_end(conn);
    peer.is_write_broken = true;
    tap.in_data = pause_it;
    tap.leave = 3;
    feed("last words");
    assert_int_equal(conn_write(conn, SPAN_LIT("a")), ERR_OK);
    rig_turn(&rig);
    heard(&tap, "data(last words) ");
    tap.in_data = NULL;
    tap.leave = 0;
    conn_resume(conn);
    rig_turn(&rig);
    heard(&tap, "data(rds) gone(io) ");
}

/* What is left of a goodbye goes nowhere, and there is nobody to read for. */
static void a_write_error_ends_its_close_all_the_same(void **state)
{
    (void)state;
    conn_read_to_end(conn);
    peer.is_write_broken = true;
    assert_int_equal(conn_write(conn, SPAN_LIT("a")), ERR_OK);
    conn_close(conn);
    rig_turn(&rig);
    heard(&tap, "");
    assert_true(is_dead());
}

static void room_ends_at_the_high_water_mark(void **state)
{
    (void)state;
    write_many(CONN_HIGH_WATER_BYTES - 1);
    assert_int_equal(conn_room(conn), 1);
    rig_turn(&rig);
    heard(&tap, ""); /* nobody was told to wait */
    write_many(CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_room(conn), 0);
    peer.write_room = CONN_HIGH_WATER_BYTES - 1;
    rig_turn(&rig);
    heard(&tap, "");
    peer.write_room = 1;
    conn_poke(conn);
    heard(&tap, "drained ");
    assert_int_equal(conn_room(conn), CONN_HIGH_WATER_BYTES);
    write_many(1);
    rig_turn(&rig);
    heard(&tap, ""); /* asked for once, told once */
}

static void refill(struct tap *t)
{
    t->in_drained = NULL;
    write_many(CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_room(conn), 0);
}

static void a_producer_may_refill_inside_on_drained(void **state)
{
    (void)state;
    tap.in_drained = refill;
    write_many(CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_room(conn), 0);
    rig_turn(&rig);
    heard(&tap, "drained drained ");
    assert_int_equal(peer.n_written, 2 * CONN_HIGH_WATER_BYTES);
}

/* -- write stall --------------------------------------------------------------------------------
 */

enum {
    LEAST_BYTES = CONN_MIN_RATE_BYTES_PER_S * SCRIPTED_WRITE_TIMEOUT_MS / 1000
};

static void a_peer_that_takes_nothing_is_cut_at_the_deadline(void **state)
{
    (void)state;
    peer.write_room = 0;
    write_many(10);
    rig_turn(&rig);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS - 1);
    heard(&tap, "");
    assert_false(is_dead());
    rig_pass(&rig, 1);
    heard(&tap, "gone(timeout) ");
    assert_true(is_dead());
}

static void dripped_bytes_do_not_move_the_deadline(void **state)
{
    (void)state;
    peer.write_room = 0;
    write_many(LEAST_BYTES + 100);
    rig_turn(&rig);
    for (int i = 0; i < 9; i++) {
        peer.write_room = 1;
        conn_poke(conn);
        rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS / 10);
    }
    heard(&tap, "");
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS / 10);
    heard(&tap, "gone(timeout) ");
}

static void stall_after_taking(size_t n_taken, const char *want)
{
    peer.write_room = 0;
    write_many(3 * LEAST_BYTES);
    rig_turn(&rig);
    peer.write_room = n_taken;
    conn_poke(conn);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&tap, want);
}

static void the_least_rate_is_enough(void **state)
{
    (void)state;
    stall_after_taking(LEAST_BYTES, "");
    /* The next period is judged by itself. */
    peer.write_room = LEAST_BYTES - 1;
    conn_poke(conn);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&tap, "gone(timeout) ");
}

static void one_byte_below_the_least_rate_is_not(void **state)
{
    (void)state;
    stall_after_taking(LEAST_BYTES - 1, "gone(timeout) ");
}

static void emptied_output_ends_the_stall(void **state)
{
    (void)state;
    peer.write_room = 0;
    write_many(10);
    rig_turn(&rig);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS - 1);
    peer.write_room = SIZE_MAX;
    conn_poke(conn);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&tap, "");
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
}

/* -- ends ---------------------------------------------------------------------------------------
 */

static void polite_close_flushes_ends_and_waits_for_the_peer(void **state)
{
    (void)state;
    assert_int_equal(conn_write(conn, SPAN_LIT("bye")), ERR_OK);
    conn_close(conn);
    assert_int_equal(peer.n_shutdowns, 0);
    rig_turn(&rig);
    wrote("bye");
    assert_int_equal(peer.n_shutdowns, 1);
    assert_false(is_dead());
    feed("unread");
    poke();
    assert_false(is_dead());
    scripted_feed_eof(&peer);
    poke();
    assert_true(is_dead());
    heard(&tap, "");
}

static void polite_close_of_a_blocked_connection_ends_by_the_stall(void **state)
{
    (void)state;
    peer.write_room = 2;
    assert_int_equal(conn_write(conn, SPAN_LIT("bye")), ERR_OK);
    conn_close(conn);
    rig_turn(&rig);
    assert_int_equal(peer.n_shutdowns, 0);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS - 1);
    assert_false(is_dead());
    rig_pass(&rig, 1);
    assert_true(is_dead());
    heard(&tap, "");
}

static void the_drain_is_bounded_in_time(void **state)
{
    (void)state;
    conn_close(conn);
    rig_turn(&rig);
    for (int i = 0; i < 10; i++) {
        feed("drip");
        poke();
        rig_pass(&rig, CONN_DRAIN_MS / 10 - 1);
    }
    assert_false(is_dead());
    rig_pass(&rig, 10);
    assert_true(is_dead());
}

static void the_drain_is_bounded_in_bytes(void **state)
{
    (void)state;
    conn_close(conn);
    rig_turn(&rig);
    feed_many(CONN_DRAIN_BYTES - 1);
    while (!scripted_is_read_out(&peer)) {
        poke();
    }
    assert_false(is_dead());
    feed("x");
    poke();
    assert_true(is_dead());
}

static void a_drain_ends_at_an_error(void **state)
{
    (void)state;
    conn_close(conn);
    rig_turn(&rig);
    scripted_feed_error(&peer);
    poke();
    assert_true(is_dead());
    heard(&tap, "");
}

static void behind_the_peers_fin_close_needs_no_drain(void **state)
{
    (void)state;
    scripted_feed_eof(&peer);
    poke();
    assert_int_equal(conn_write(conn, SPAN_LIT("bye")), ERR_OK);
    conn_close(conn);
    rig_turn(&rig);
    wrote("bye");
    assert_true(is_dead());
    heard(&tap, "eof ");
}

static void close_twice_and_abort_twice_are_harmless(void **state)
{
    (void)state;
    conn_close(conn);
    conn_close(conn);
    rig_turn(&rig);
    conn_close(conn);
    rig_turn(&rig);
    assert_int_equal(peer.n_shutdowns, 1);
    conn_abort(conn);
    conn_abort(conn);
    conn_close(conn);
    assert_int_equal(peer.n_closes, 1);
}

/* What may still happen to a connection after its owner has let go. */
static void stir(void)
{
    feed("late");
    conn_poke(conn);
    conn_redeliver(conn);
    conn_resume(conn);
    conn_pause(conn);
}

static void nobody_is_called_behind_close(void **state)
{
    (void)state;
    tap.leave = 1;
    feed("ab");
    poke();
    heard(&tap, "data(ab) ");
    write_many(CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_room(conn), 0);
    conn_redeliver(conn);
    conn_close(conn);
    stir();
    rig_turn(&rig);
    scripted_feed_eof(&peer);
    conn_poke(conn);
    conn_poke(conn);
    heard(&tap, "");
    assert_true(is_dead());
}

static void nobody_is_called_behind_abort(void **state)
{
    (void)state;
    tap.leave = 1;
    feed("ab");
    poke();
    heard(&tap, "data(ab) ");
    write_many(CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_room(conn), 0);
    conn_redeliver(conn);
    conn_abort(conn);
    assert_true(is_dead());
    stir();
    /* Into the void, and no leak. */
    (void)!conn_write(conn, SPAN_LIT("lost"));
    conn_wrote(conn);
    rig_turn(&rig);
    heard(&tap, "");
    assert_int_equal(peer.n_writes, 0);
}

struct ending {
    const char *name;
    struct tap how;
    const char *want;
    bool at_once; /* nothing is left at the end of the turn */
};

static void end_inside(const struct ending *ending)
{
    struct scripted other;
    struct conn *c = scripted_conn(&rig, &other);
    struct tap t = ending->how;
    t.conn = c;
    t.leave = 1;
    conn_set_owner(c, &tap_ops, &t);
    char *bytes = calloc(1, CONN_HIGH_WATER_BYTES);
    assert_int_equal(conn_write(c, span_of(bytes, CONN_HIGH_WATER_BYTES)), ERR_OK);
    free(bytes);
    assert_int_equal(conn_room(c), 0);
    scripted_feed(&other, SPAN_LIT("ab"));
    scripted_feed_eof(&other);
    other.write_room = 0;
    conn_poke(c);
    other.write_room = SIZE_MAX;
    conn_poke(c);
    conn_poke(c); /* its memory lives until the turn's end, whatever happened */
    rig_turn(&rig);
    CHECK_INT(ending->name, other.n_closes, ending->at_once ? 1 : 0);
    check_span(ending->name, span_str(transcript_text(&t.said)), span_str(ending->want));
    if (!ending->at_once) {
        conn_abort(c);
        rig_turn(&rig);
    }
    scripted_fini(&other);
    transcript_free(&t.said);
}

static void ending_inside_a_callback(void **state)
{
    (void)state;
    static const struct ending cases[] = {
        {"abort in data", {.in_data = abort_it}, "data(ab) ", true},
        {"abort in eof", {.in_eof = abort_it}, "data(ab) drained eof ", true},
        {"abort in drained", {.in_drained = abort_it}, "data(ab) drained ", true},
        {"close in data", {.in_data = close_it}, "data(ab) ", true},
        {"close in eof", {.in_eof = close_it}, "data(ab) drained eof ", true},
        {"close in drained", {.in_drained = close_it}, "data(ab) drained ", false},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        end_inside(&cases[i]);
    }
}

static void ending_inside_on_gone_is_harmless(void **state)
{
    (void)state;
    tap.in_gone = abort_it;
    scripted_feed_error(&peer);
    poke();
    heard(&tap, "gone(io) ");
}

static void closing_inside_on_gone_is_harmless(void **state)
{
    (void)state;
    tap.in_gone = close_it;
    peer.write_room = 0;
    write_many(1);
    rig_turn(&rig);
    rig_pass(&rig, SCRIPTED_WRITE_TIMEOUT_MS);
    heard(&tap, "gone(timeout) ");
}

static void ending_all_tells_owners_and_stops_drains(void **state)
{
    (void)state;
    struct scripted other;
    struct conn *draining = scripted_conn(&rig, &other);
    conn_close(draining);
    rig_turn(&rig);
    assert_int_equal(other.n_closes, 0);
    assert_int_equal(rig.kit.counters.connections_open, 2);
    conn_end_all(rig.loop);
    assert_int_equal(other.n_closes, 1);
    assert_int_equal(rig.kit.counters.connections_open, 0);
    heard(&tap, "gone(gone) ");
    rig_turn(&rig);
    scripted_fini(&other);
}

static void a_failure_inside_an_owner_is_told_at_the_turns_end(void **state)
{
    (void)state;
    conn_fail(conn);
    heard(&tap, "");
    rig_turn(&rig);
    heard(&tap, "gone(nomem) ");
    assert_true(is_dead());
}

/* -- real sockets -------------------------------------------------------------------------------
 */

enum {
    LOOK_MS = 30,       /* how long a loop is watched for a spin */
    MAX_IDLE_TURNS = 8, /* an idle loop needs the deadline's turn and perhaps a few more */
};

struct pair {
    struct rig rig;
    struct conn *conn;
    struct tap tap;
    int peer;
};

static struct pair pair;
static struct timer look;
static bool is_over;

static void tcp_pair(int fds[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&addr, len), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(fds[0] >= 0);
    assert_int_equal(close(listener), 0);
}

static void pair_on(int fds[2])
{
    static const struct conn_opts opts = {.write_timeout_ms = 30000};
    static const struct conn_peer nobody = {.family = AF_UNIX};
    pair = (struct pair){.peer = fds[1]};
    rig_start_at(&pair.rig, kit_clock_ms());
    assert_int_equal(
        conn_create(pair.rig.loop, fds[0], &conn_io_plain, NULL, &opts, &nobody, &pair.conn),
        ERR_OK);
    pair.tap.conn = pair.conn;
    conn_set_owner(pair.conn, &tap_ops, &pair.tap);
}

static int start_tcp(void **state)
{
    (void)state;
    int fds[2];
    tcp_pair(fds);
    pair_on(fds);
    return 0;
}

static int start_unix(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    pair_on(fds);
    return 0;
}

static void close_peer(void)
{
    if (pair.peer >= 0) {
        assert_int_equal(close(pair.peer), 0);
        pair.peer = -1;
    }
}

static int stop_pair(void **state)
{
    (void)state;
    conn_end_all(pair.rig.loop);
    rig_turn(&pair.rig);
    assert_int_equal(pair.rig.kit.counters.connections_open, 0);
    rig_stop(&pair.rig);
    close_peer();
    transcript_free(&pair.tap.said);
    return 0;
}

static void peer_sends(const char *text)
{
    assert_int_equal(send(pair.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void reset_by_peer(void)
{
    const struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(pair.peer, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close_peer();
}

static void on_look(struct timer *timer)
{
    (void)timer;
    is_over = true;
}

/* Runs the loop, waiting, for LOOK_MS; returns the turns that took. Few: it slept. */
static unsigned turns(void)
{
    unsigned n = 0;
    timer_init(&look, on_look);
    is_over = false;
    timer_arm(&pair.rig.kit.timers, &look, kit_clock_ms() + LOOK_MS);
    while (!is_over) {
        loop_run_once(pair.rig.loop, true);
        n++;
    }
    return n;
}

static void stays_calm(void)
{
    assert_in_range(turns(), 1, MAX_IDLE_TURNS);
}

static void plain_io_reads_and_writes(void **state)
{
    (void)state;
    char bytes[16];
    pair.tap.in_data = write_it;
    peer_sends("ask");
    stays_calm();
    heard(&pair.tap, "data(ask) ");
    assert_int_equal(recv(pair.peer, bytes, sizeof bytes, MSG_DONTWAIT), 6);
    conn_close(pair.conn);
    stays_calm();
    assert_int_equal(recv(pair.peer, bytes, sizeof bytes, MSG_DONTWAIT), 0);
    int fd = pair.conn->fd;
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close_peer();
    stays_calm();
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void fin_comes_behind_the_data(void **state)
{
    (void)state;
    peer_sends("last words");
    assert_int_equal(shutdown(pair.peer, SHUT_WR), 0);
    stays_calm();
    heard(&pair.tap, "data(last words) eof ");
    stays_calm(); /* half-closed and idle */
}

/* Whoever still writes to a peer that has closed altogether must hear that nobody reads. */
static void a_reset_behind_a_fin_is_noticed(void **state)
{
    (void)state;
    close_peer();
    stays_calm();
    heard(&pair.tap, "eof ");
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("?")), ERR_OK);
    stays_calm();
    heard(&pair.tap, "gone(io) ");
}

static void fin_while_paused_waits_for_the_data(void **state)
{
    (void)state;
    conn_pause(pair.conn);
    peer_sends("last words");
    assert_int_equal(shutdown(pair.peer, SHUT_WR), 0);
    stays_calm();
    heard(&pair.tap, "");
    conn_resume(pair.conn);
    stays_calm();
    heard(&pair.tap, "data(last words) eof ");
}

static void unread_bytes_while_paused_do_not_spin(void **state)
{
    (void)state;
    peer_sends("before");
    conn_pause(pair.conn);
    stays_calm();
    peer_sends("after");
    stays_calm();
    heard(&pair.tap, "");
    conn_resume(pair.conn);
    stays_calm();
    heard(&pair.tap, "data(beforeafter) ");
}

static void a_reset_is_noticed(void **state)
{
    (void)state;
    peer_sends("lost?");
    stays_calm();
    reset_by_peer();
    stays_calm();
    heard(&pair.tap, "data(lost?) gone(io) ");
}

static void a_reset_while_paused_is_noticed(void **state)
{
    (void)state;
    conn_pause(pair.conn);
    peer_sends("unread");
    stays_calm();
    reset_by_peer();
    stays_calm();
    heard(&pair.tap, "gone(io) ");
}

static void a_reset_before_the_pause_is_noticed(void **state)
{
    (void)state;
    reset_by_peer();
    conn_pause(pair.conn);
    stays_calm();
    heard(&pair.tap, "gone(io) ");
}

static void a_hang_up_while_paused_is_noticed(void **state)
{
    (void)state;
    conn_pause(pair.conn);
    stays_calm();
    close_peer();
    stays_calm();
    heard(&pair.tap, "gone(io) ");
}

/* More than the sockets' buffers take. */
static void block_output(void)
{
    char *bytes = calloc(1, 8 << 20);
    assert_non_null(bytes);
    assert_int_equal(conn_write(pair.conn, span_of(bytes, 8 << 20)), ERR_OK);
    free(bytes);
    stays_calm();
    assert_true(buf_len(conn_out(pair.conn)) != 0);
}

static void a_blocked_writer_does_not_spin(void **state)
{
    (void)state;
    block_output();
    stays_calm();
    conn_pause(pair.conn);
    peer_sends("unread");
    stays_calm();
    heard(&pair.tap, "");
}

/* What the peer sends now is not read any more: it must not wake us again and again. */
static void a_blocked_close_does_not_spin(void **state)
{
    (void)state;
    block_output();
    conn_close(pair.conn);
    peer_sends("and I go on sending");
    stays_calm();
    heard(&pair.tap, "");
}

static void a_blocked_writer_goes_on_when_the_peer_reads(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    block_output();
    assert_int_equal(conn_room(pair.conn), 0);
    conn_pause(pair.conn); /* edge-triggered: the writable edge must not be lost */
    size_t n_read = 0;
    for (int i = 0; i < 200 && n_read < 8 << 20; i++) {
        ssize_t n = recv(pair.peer, bytes, sizeof bytes, MSG_DONTWAIT);
        n_read += n > 0 ? (size_t)n : 0;
        loop_run_once(pair.rig.loop, false);
    }
    assert_int_equal(n_read, 8 << 20);
    heard(&pair.tap, "drained ");
}

/* The error that a peer hears, which reads nothing more; 0 = a FIN or nothing. */
static int error_at_peer(void)
{
    int error = 0;
    socklen_t len = sizeof error;
    assert_int_equal(getsockopt(pair.peer, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error;
}

static void a_stream_cut_in_its_middle_ends_by_reset(void **state)
{
    (void)state;
    block_output();
    conn_abort(pair.conn);
    assert_int_equal(error_at_peer(), ECONNRESET);
}

static void a_stream_that_has_left_whole_ends_by_fin(void **state)
{
    (void)state;
    char bytes[8];
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("whole")), ERR_OK);
    stays_calm();
    conn_abort(pair.conn);
    assert_int_equal(error_at_peer(), 0);
    assert_int_equal(recv(pair.peer, bytes, sizeof bytes, 0), 5);
    assert_int_equal(recv(pair.peer, bytes, sizeof bytes, 0), 0);
}

static void a_write_into_a_hung_up_socket_ends_it(void **state)
{
    (void)state;
    conn_pause(pair.conn);
    close_peer();
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("x")), ERR_OK);
    stays_calm();
    heard(&pair.tap, "gone(io) ");
}

/* -- a killed peer is read to its end -----------------------------------------------------------
 */

static void fill_peer(void)
{
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("unread")), ERR_OK);
    stays_calm();
}

/* Bytes that the peer had not read make its end a reset. */
static void what_a_killed_peer_said_is_read(void **state)
{
    (void)state;
    for (int is_reset = 0; is_reset <= 1; is_reset++) {
        if (is_reset) {
            assert_int_equal(stop_pair(state), 0);
            assert_int_equal(start_unix(state), 0);
        }
        conn_read_to_end(pair.conn);
        if (is_reset) {
            fill_peer();
        }
        peer_sends("last words");
        close_peer();
        assert_int_equal(conn_write(pair.conn, SPAN_LIT("too late")), ERR_OK);
        rig_turn(&pair.rig); /* the write fails ahead of the read */
        heard(&pair.tap, is_reset ? "data(last words) gone(io) " : "data(last words) eof ");
    }
}

static void a_reset_ends_it_behind_the_data(void **state)
{
    (void)state;
    conn_read_to_end(pair.conn);
    fill_peer();
    peer_sends("last words");
    close_peer();
    stays_calm();
    heard(&pair.tap, "data(last words) gone(io) ");
}

static void also_when_it_was_killed_in_a_pause(void **state)
{
    (void)state;
    conn_read_to_end(pair.conn);
    conn_pause(pair.conn);
    peer_sends("last words");
    stays_calm();
    close_peer();
    stays_calm(); /* a hang-up that waits must not spin */
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("too late")), ERR_OK);
    stays_calm();
    heard(&pair.tap, "");
    conn_resume(pair.conn);
    stays_calm();
    heard(&pair.tap, "data(last words) eof ");
}

static void or_while_it_took_nothing(void **state)
{
    (void)state;
    conn_read_to_end(pair.conn);
    block_output();
    assert_int_equal(conn_room(pair.conn), 0);
    peer_sends("last words");
    close_peer();
    stays_calm();
    heard(&pair.tap, "data(last words) gone(io) ");
}

static void more_than_one_read_of_it(void **state)
{
    (void)state;
    static char bytes[150 << 10];
    memset(bytes, 'x', sizeof bytes);
    conn_read_to_end(pair.conn);
    ssize_t n = send(pair.peer, bytes, sizeof bytes, MSG_NOSIGNAL);
    assert_true(n > LOOP_READ_BYTES);
    close_peer();
    pair.tap.in_data = write_it; /* each answer fails */
    pair.tap.counts = true;
    stays_calm();
    size_t total = 0;
    const char *at = transcript_text(&pair.tap.said);
    for (at = strchr(at, '['); at != NULL; at = strchr(at + 1, '[')) {
        total += strtoul(at + 1, NULL, 10);
    }
    assert_int_equal(total, n);
    assert_non_null(strstr(transcript_text(&pair.tap.said), "eof "));
}

/* It may have closed that direction only: there is no end to wait for. */
static void a_peer_that_does_not_read_is_not_waited_for(void **state)
{
    (void)state;
    conn_read_to_end(pair.conn);
    assert_int_equal(shutdown(pair.peer, SHUT_RD), 0);
    peer_sends("words");
    assert_int_equal(conn_write(pair.conn, SPAN_LIT("x")), ERR_OK);
    stays_calm();
    heard(&pair.tap, "data(words) gone(io) ");
}

static void a_descriptor_that_cannot_be_watched_is_an_end(void **state)
{
    (void)state;
    int fd = pair.conn->fd;
    int copy = dup(fd);
    assert_int_equal(close(fd), 0); /* now epoll refuses it */
    conn_pause(pair.conn);
    heard(&pair.tap, "");
    loop_run_once(pair.rig.loop, false);
    heard(&pair.tap, "gone(nomem) ");
    assert_int_equal(close(copy), 0);
}

#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, start, stop)
#define ON_TCP(test)   cmocka_unit_test_setup_teardown(test, start_tcp, stop_pair)
#define ON_UNIX(test)  cmocka_unit_test_setup_teardown(test, start_unix, stop_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPTED(leftover_comes_again_in_front),
        SCRIPTED(bytes_changed_in_place_stay_changed),
        SCRIPTED(nothing_to_read_calls_nobody),
        SCRIPTED(redelivery_comes_at_the_turns_end_and_once),
        SCRIPTED(pause_holds_everything_back),
        SCRIPTED(pause_inside_on_data_keeps_the_rest),
        SCRIPTED(what_a_paused_owner_left_is_delivered_before_the_next_read),
        SCRIPTED(an_owner_that_does_not_take_ends_the_connection),
        SCRIPTED(eof_comes_behind_all_bytes),
        SCRIPTED(writing_works_behind_eof),
        SCRIPTED(read_error_ends_it),
        SCRIPTED(new_owner_gets_what_the_old_one_left),
        SCRIPTED(new_owner_outside_on_data_gets_what_was_kept),
        SCRIPTED(a_fin_does_not_overtake_what_the_old_owner_left),
        SCRIPTED(without_owner_bytes_are_discarded),
        SCRIPTED(writes_of_a_turn_are_one_write),
        SCRIPTED(short_writes_go_on_in_order),
        SCRIPTED(records_leave_in_one_turn),
        SCRIPTED(pending_bytes_need_no_event),
        SCRIPTED(pending_bytes_come_on_resume),
        SCRIPTED(a_pending_fin_does_not_overtake_what_the_old_owner_left),
        SCRIPTED(write_error_ends_it),
        SCRIPTED(who_reads_to_the_end_bears_a_write_error),
        SCRIPTED(a_pause_puts_that_off),
        SCRIPTED(also_one_from_inside),
        SCRIPTED(a_write_error_ends_its_close_all_the_same),
        SCRIPTED(room_ends_at_the_high_water_mark),
        SCRIPTED(a_producer_may_refill_inside_on_drained),
        SCRIPTED(a_peer_that_takes_nothing_is_cut_at_the_deadline),
        SCRIPTED(dripped_bytes_do_not_move_the_deadline),
        SCRIPTED(the_least_rate_is_enough),
        SCRIPTED(one_byte_below_the_least_rate_is_not),
        SCRIPTED(emptied_output_ends_the_stall),
        SCRIPTED(polite_close_flushes_ends_and_waits_for_the_peer),
        SCRIPTED(polite_close_of_a_blocked_connection_ends_by_the_stall),
        SCRIPTED(the_drain_is_bounded_in_time),
        SCRIPTED(the_drain_is_bounded_in_bytes),
        SCRIPTED(a_drain_ends_at_an_error),
        SCRIPTED(behind_the_peers_fin_close_needs_no_drain),
        SCRIPTED(close_twice_and_abort_twice_are_harmless),
        SCRIPTED(nobody_is_called_behind_close),
        SCRIPTED(nobody_is_called_behind_abort),
        SCRIPTED(ending_inside_a_callback),
        SCRIPTED(ending_inside_on_gone_is_harmless),
        SCRIPTED(closing_inside_on_gone_is_harmless),
        SCRIPTED(ending_all_tells_owners_and_stops_drains),
        SCRIPTED(a_failure_inside_an_owner_is_told_at_the_turns_end),
        ON_TCP(plain_io_reads_and_writes),
        ON_TCP(fin_comes_behind_the_data),
        ON_TCP(a_reset_behind_a_fin_is_noticed),
        ON_TCP(fin_while_paused_waits_for_the_data),
        ON_TCP(unread_bytes_while_paused_do_not_spin),
        ON_TCP(a_reset_is_noticed),
        ON_TCP(a_reset_while_paused_is_noticed),
        ON_TCP(a_reset_before_the_pause_is_noticed),
        ON_UNIX(a_hang_up_while_paused_is_noticed),
        ON_TCP(a_blocked_writer_does_not_spin),
        ON_TCP(a_blocked_close_does_not_spin),
        ON_TCP(a_blocked_writer_goes_on_when_the_peer_reads),
        ON_TCP(a_stream_cut_in_its_middle_ends_by_reset),
        ON_TCP(a_stream_that_has_left_whole_ends_by_fin),
        ON_UNIX(a_write_into_a_hung_up_socket_ends_it),
        ON_UNIX(what_a_killed_peer_said_is_read),
        ON_UNIX(a_reset_ends_it_behind_the_data),
        ON_UNIX(also_when_it_was_killed_in_a_pause),
        ON_UNIX(or_while_it_took_nothing),
        ON_UNIX(more_than_one_read_of_it),
        ON_UNIX(a_peer_that_does_not_read_is_not_waited_for),
        ON_TCP(a_descriptor_that_cannot_be_watched_is_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
