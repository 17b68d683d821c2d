/*
 * conn: see conn.h. Life of a connection:
 *
 *   OPEN --conn_close--> FLUSHING --all sent, FIN--> DRAINING --peer's FIN, limit or timer--> DEAD
 *     \______________ conn_abort, error, stall, conn_detach __________________________________/
 *
 * In DEAD the descriptor is closed, or not ours any more, and the memory waits for the turn's end.
 */
#include "net/conn.h"

#include <poll.h>

#include "base/kit.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/peers.h"

enum conn_state {
    OPEN,
    FLUSHING, /* closed by the owner; output still leaves */
    DRAINING, /* FIN sent; input is discarded so that the kernel sends no RST */
    DEAD,
};

/* What the event is armed for. */
enum {
    WATCH_NONE = 0,
    WATCH_READ = 1,
    WATCH_WRITE = 2,
    WATCH_HANGUP = 4, /* paused, or behind a FIN: only a reset or hang-up, edge-triggered */
};

/* -- watching the descriptor ------------------------------------------------------------------ */

static void on_event(evutil_socket_t fd, short what, void *ctx);

static struct kit *kit_of(const struct conn *conn)
{
    return loop_kit(conn->loop);
}

static bool is_reading(const struct conn *conn)
{
    return conn->state == OPEN && !conn->is_paused && !conn->is_eof;
}

/* Arms the event for what the state needs. Returns false when the kernel refuses. */
static bool watch(struct conn *conn)
{
    uint8_t want = WATCH_NONE;
    if (conn->state != DEAD) {
        bool reads = conn->state == DRAINING || is_reading(conn);
        want |= reads ? WATCH_READ : WATCH_HANGUP;
        bool has_output = buf_len(&conn->out) != 0 || (conn->io_wants_write && reads);
        if (has_output && conn->state != DRAINING) {
            want |= WATCH_WRITE;
        }
    }
    if (want == conn->watching || conn->fd < 0) {
        return true;
    }
    if (conn->watching != WATCH_NONE) {
        (void)event_del(&conn->event);
    }
    conn->watching = want;
    if (want == WATCH_NONE) {
        return true;
    }
    short flags = EV_PERSIST;
    if (want & WATCH_READ) {
        flags |= EV_READ;
    }
    if (want & WATCH_HANGUP) {
        /* Edge-triggered: unread bytes must not wake us again and again, and libevent reports a
         * reset as EV_READ, so EV_CLOSED alone would spin on it. */
        flags |= EV_READ | EV_CLOSED | EV_ET;
    }
    if (want & WATCH_WRITE) {
        flags |= EV_WRITE;
    }
    return event_assign(&conn->event, loop_base(conn->loop), conn->fd, flags, on_event, conn) ==
               0 &&
           event_add(&conn->event, NULL) == 0;
}

static void reap(struct turn_task *task)
{
    struct conn *conn = CONTAINER_OF(task, struct conn, task);
    buf_fini(&conn->out); /* what a producer that had not heard yet has added since */
    mem_free(conn);
}

static void leave_loop(struct conn *conn)
{
    struct kit *kit = kit_of(conn);
    conn->state = DEAD;
    (void)watch(conn);
    timer_cancel(&kit->timers, &conn->timer);
    turn_cancel(&kit->turn, TURN_WRITE, &conn->task);
    conn->owner = NULL;
    LIST_REMOVE(conn, all);
    kit->counters.connections_open--;
    turn_schedule(&kit->turn, TURN_REAP, &conn->task, reap);
}

/* A stream cut in its middle ends by RST: a FIN would make it look whole, and what the kernel has
 * taken for a peer that reads nothing would stay there for minutes after the close. */
static void reset_if_cut(const struct conn *conn)
{
    if (conn->fd >= 0 && buf_len(&conn->out) != 0) {
        const struct linger none = {.l_onoff = 1};
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
}

static void die(struct conn *conn)
{
    if (conn->state == DEAD) {
        return;
    }
    leave_loop(conn);
    reset_if_cut(conn);
    conn->io->close(conn);
    if (conn->peers != NULL) {
        peers_leave(conn->peers, &conn->peer);
    }
    buf_fini(&conn->in);
    buf_fini(&conn->out);
}

static void fail(struct conn *conn, enum err why)
{
    void *owner = conn->state == OPEN ? conn->owner : NULL;
    const struct octets_ops *ops = conn->ops;
    die(conn);
    if (owner != NULL) {
        ops->on_gone(owner, why);
    }
}

/* -- writing ---------------------------------------------------------------------------------- */

static void on_timer(struct timer *timer);
static void schedule(struct conn *conn);

static void arm_stall(struct conn *conn)
{
    if (!timer_is_armed(&conn->timer)) {
        conn->stall_mark = conn->n_written;
        timer_arm(&kit_of(conn)->timers, &conn->timer,
                  kit_of(conn)->now_ms + conn->write_timeout_ms);
    }
}

static void start_drain(struct conn *conn)
{
    conn->io->shutdown(conn);
    if (conn->is_eof) {
        die(conn);
        return;
    }
    conn->state = DRAINING;
    buf_fini(&conn->in);
    timer_arm(&kit_of(conn)->timers, &conn->timer, kit_of(conn)->now_ms + CONN_DRAIN_MS);
    if (!watch(conn)) {
        die(conn);
    }
}

/* Nobody reads any more. What the peer had said before is there to be read: reading goes on until
 * there is no more of it, and not longer, since this peer may have closed one direction only. */
static void fail_writing(struct conn *conn)
{
    if (!conn->reads_to_end || conn->state != OPEN || conn->is_eof) {
        fail(conn, ERR_IO);
        return;
    }
    conn->is_unwritable = true;
    buf_fini(&conn->out);
    timer_cancel(&kit_of(conn)->timers, &conn->timer);
    schedule(conn);
    if (!watch(conn)) {
        fail(conn, ERR_NOMEM);
    }
}

/* Sends what the kernel takes. */
static void flush(struct conn *conn)
{
    while (buf_len(&conn->out) != 0) {
        struct span bytes = buf_span(&conn->out);
        ssize_t n = conn->io->write(conn, bytes.ptr, bytes.len);
        if (n > 0) {
            conn->n_written += (uint64_t)n;
            buf_consume(&conn->out, (size_t)n);
        }
        bool is_short = n > 0 && (size_t)n < bytes.len;
        if (n > 0 && (!is_short || conn->io->writes_records)) {
            continue;
        }
        if (n == CONN_IO_AGAIN || is_short) { /* a short write means full: asking costs a syscall */
            arm_stall(conn);
            if (!watch(conn)) {
                fail(conn, ERR_NOMEM);
            }
            return;
        }
        fail_writing(conn);
        return;
    }
    buf_trim(&conn->out);
    timer_cancel(&kit_of(conn)->timers, &conn->timer);
    if (conn->state == FLUSHING) {
        start_drain(conn);
        return;
    }
    if (!watch(conn)) {
        fail(conn, ERR_NOMEM);
        return;
    }
    if (conn->wants_drained) {
        conn->wants_drained = false;
        conn->ops->on_drained(conn->owner);
    }
}

static void on_timer(struct timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    if (conn->state == DRAINING) {
        die(conn);
        return;
    }
    /* A slow peer is served as long as it keeps up the least rate over the whole period. */
    uint64_t taken = conn->n_written - conn->stall_mark;
    uint64_t least = (uint64_t)CONN_MIN_RATE_BYTES_PER_S * conn->write_timeout_ms / 1000;
    if (taken >= least) {
        arm_stall(conn);
        return;
    }
    fail(conn, ERR_TIMEOUT);
}

/* -- reading ---------------------------------------------------------------------------------- */

/* Gives `len` bytes, which lie in the scratch, to the owner and keeps what it leaves. */
static void deliver(struct conn *conn, char *bytes, size_t len)
{
    const struct octets_ops *ops = conn->ops;
    const void *owner = conn->owner;
    size_t consumed = ops->on_data(conn->owner, bytes, len);
    if (conn->state != OPEN) {
        return;
    }
    ASSERT(consumed <= len);
    size_t rest = len - consumed;
    if (rest > LOOP_LOOKAHEAD_BYTES && !conn->is_paused) {
        /* An owner that neither consumes nor pauses would make us read for ever. */
        fail(conn, ERR_LIMIT);
        return;
    }
    buf_clear(&conn->in);
    if (rest == 0) {
        buf_trim(&conn->in);
    } else if (buf_append(&conn->in, bytes + consumed, rest) != ERR_OK) {
        kit_of(conn)->counters.out_of_memory++;
        fail(conn, ERR_NOMEM);
    } else if (conn->ops != ops || conn->owner != owner) {
        conn_redeliver(conn); /* the stream was upgraded: what follows is for the new owner */
    }
}

/* Moves kept bytes to the front of the scratch; returns how many. */
static size_t load_kept(struct conn *conn, char *scratch)
{
    struct span kept = buf_span(&conn->in);
    if (kept.len != 0) {
        memcpy(scratch, kept.ptr, kept.len);
    }
    return kept.len;
}

static void discard(struct conn *conn)
{
    char *scratch = loop_scratch(conn->loop);
    ssize_t n = conn->io->read(conn, scratch, LOOP_READ_BYTES);
    if (n == CONN_IO_AGAIN) {
        return;
    }
    if (n > 0) {
        conn->n_drained += (uint32_t)n;
    }
    if (n <= 0 || conn->n_drained >= CONN_DRAIN_BYTES) {
        die(conn);
    }
}

static bool has_pending(const struct conn *conn)
{
    return conn->io->has_pending != NULL && conn->io->has_pending(conn);
}

static void read_once(struct conn *conn)
{
    char *scratch = loop_scratch(conn->loop);
    size_t kept = load_kept(conn, scratch);
    ASSERT(kept <= LOOP_LOOKAHEAD_BYTES); /* more is left by a paused owner only */
    ssize_t n = conn->io->read(conn, scratch + kept, LOOP_READ_BYTES);
    if (n > 0) {
        deliver(conn, scratch, kept + (size_t)n);
        if (is_reading(conn) && has_pending(conn)) {
            conn_redeliver(conn);
        } else if (UNLIKELY(conn->is_unwritable) && is_reading(conn)) {
            schedule(conn); /* to its end */
        }
    } else if (n == CONN_IO_EOF) {
        conn->is_eof = true;
        if (!watch(conn)) {
            fail(conn, ERR_NOMEM);
            return;
        }
        conn->ops->on_eof(conn->owner);
    } else if (n == CONN_IO_ERROR || conn->is_unwritable) {
        fail(conn, ERR_IO);
    } else if (!watch(conn)) { /* a TLS handshake may have to write before it can read */
        fail(conn, ERR_NOMEM);
    }
}

static void deliver_kept(struct conn *conn)
{
    conn->has_unread = false;
    if (conn->is_paused || buf_len(&conn->in) == 0) {
        return;
    }
    char *scratch = loop_scratch(conn->loop);
    size_t kept = load_kept(conn, scratch);
    deliver(conn, scratch, kept);
}

static void read_more(struct conn *conn)
{
    /* The turn may have ended before its redelivery (TURN_MAX_ROUNDS). The order of the bytes would
     * bear that, but not the scratch: an owner that was paused may have left more than the look-
     * ahead, and there is no room for a read behind that. */
    if (conn->has_unread) {
        deliver_kept(conn);
    }
    /* What was left to a new owner comes at the turn's end: a FIN may not overtake it. */
    if (is_reading(conn) && !conn->has_unread) {
        read_once(conn);
    }
}

/* Not reading, and something happened: a reset or hang-up (nothing can be sent any more), or only
 * bytes or a FIN, which wait until reading goes on? */
static void check_hangup(struct conn *conn)
{
    struct pollfd look = {.fd = conn->fd}; /* POLLERR and POLLHUP are always told */
    if (conn->fd >= 0 && !conn->reads_to_end && poll(&look, 1, 0) > 0) {
        fail(conn, ERR_IO);
    }
}

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    struct conn *conn = ctx;
    loop_touch_clock(conn->loop);
    if (what & EV_WRITE && conn->io_wants_write) {
        what |= EV_READ;
    }
    if (what & EV_WRITE && conn->state != DEAD && buf_len(&conn->out) != 0) {
        flush(conn);
    }
    if (!(what & (EV_READ | EV_CLOSED))) {
        return;
    }
    if (conn->state == DRAINING) {
        discard(conn);
    } else if (is_reading(conn)) {
        read_more(conn);
    } else if (conn->state != DEAD) {
        check_hangup(conn);
    }
}

static void at_turn_end(struct turn_task *task)
{
    struct conn *conn = CONTAINER_OF(task, struct conn, task);
    if (conn->has_failed) {
        fail(conn, ERR_NOMEM);
        return;
    }
    if (conn->has_unread && conn->state == OPEN) {
        deliver_kept(conn);
        if (is_reading(conn) && !conn->has_unread && has_pending(conn)) {
            read_once(conn);
        }
    }
    if (UNLIKELY(conn->is_unwritable) && is_reading(conn) && !conn->has_unread) {
        read_once(conn);
    }
    if (conn->state == FLUSHING || (conn->state == OPEN && buf_len(&conn->out) != 0)) {
        if (!(conn->watching & WATCH_WRITE)) {
            flush(conn);
        }
    }
}

static void schedule(struct conn *conn)
{
    turn_schedule(&kit_of(conn)->turn, TURN_WRITE, &conn->task, at_turn_end);
}

/* -- interface -------------------------------------------------------------------------------- */

static size_t owner_missing_data(void *owner, char *bytes, size_t len)
{
    (void)owner;
    (void)bytes;
    return len;
}

static void owner_missing(void *owner)
{
    (void)owner;
}

static void owner_missing_gone(void *owner, enum err why)
{
    (void)owner;
    (void)why;
}

/* Between conn_create and conn_set_owner. */
static const struct octets_ops no_owner_ops = {
    .on_data = owner_missing_data,
    .on_eof = owner_missing,
    .on_drained = owner_missing,
    .on_gone = owner_missing_gone,
};

/* Makes a connection of the parcel, which is empty afterwards in any case. */
static enum err unpack(struct loop *loop, struct conn_parcel *parcel, struct conn **out)
{
    struct conn *conn = MEM_NEW(struct conn);
    struct kit *kit = loop_kit(loop);
    if (conn == NULL) {
        kit->counters.out_of_memory++;
        conn_parcel_drop(parcel);
        return ERR_NOMEM;
    }
    conn->io = parcel->io;
    conn->io_state = parcel->io_state;
    conn->io_wants_write = parcel->io_wants_write;
    conn->ops = &no_owner_ops;
    conn->loop = loop;
    conn->fd = parcel->fd;
    conn->write_timeout_ms = parcel->write_timeout_ms;
    conn->peer = parcel->peer;
    conn->peers = parcel->peers;
    conn->in = parcel->in;
    *parcel = (struct conn_parcel){.fd = -1};
    buf_init(&conn->out, CONN_OUT_MAX_BYTES);
    timer_init(&conn->timer, on_timer);
    LIST_INSERT_HEAD(loop_conns(loop), conn, all);
    kit->counters.connections_open++;
    if (!watch(conn)) {
        die(conn);
        return ERR_IO;
    }
    *out = conn;
    return ERR_OK;
}

enum err conn_create(struct loop *loop, int fd, const struct conn_io *io, void *io_state,
                     const struct conn_opts *opts, const struct conn_peer *peer, struct conn **out)
{
    struct conn_parcel parcel = {.fd = fd,
                                 .write_timeout_ms = opts->write_timeout_ms,
                                 .io = io,
                                 .io_state = io_state,
                                 .peers = opts->peers,
                                 .peer = *peer};
    buf_init(&parcel.in, LOOP_LOOKAHEAD_BYTES + LOOP_READ_BYTES);
    return unpack(loop, &parcel, out);
}

enum err conn_adopt(struct loop *loop, struct conn_parcel *parcel, struct conn **out)
{
    enum err e = unpack(loop, parcel, out);
    if (e == ERR_OK) {
        (*out)->was_moved = true;
        loop_kit(loop)->counters.connections_moved++;
        /* No event tells of what was read elsewhere, nor of what lies decrypted in an SSL. */
        conn_redeliver(*out);
    }
    return e;
}

enum err conn_detach(struct conn *conn, struct conn_parcel *out)
{
    if (conn->state != OPEN || conn->has_failed) {
        return ERR_GONE;
    }
    ASSERT(buf_len(&conn->out) == 0);
    leave_loop(conn);
    *out = (struct conn_parcel){.fd = conn->fd,
                                .write_timeout_ms = conn->write_timeout_ms,
                                .io = conn->io,
                                .io_state = conn->io_state,
                                .io_wants_write = conn->io_wants_write,
                                .peers = conn->peers,
                                .in = conn->in,
                                .peer = conn->peer};
    buf_init(&conn->in, 1);
    return ERR_OK;
}

void conn_parcel_drop(struct conn_parcel *parcel)
{
    struct conn stand_in = {.fd = parcel->fd, .io_state = parcel->io_state};
    parcel->io->close(&stand_in);
    if (parcel->peers != NULL) {
        peers_leave(parcel->peers, &parcel->peer);
    }
    buf_fini(&parcel->in);
    *parcel = (struct conn_parcel){.fd = -1};
}

void conn_set_owner(struct conn *conn, const struct octets_ops *ops, void *owner)
{
    conn->ops = ops;
    conn->owner = owner;
    if (buf_len(&conn->in) != 0) {
        conn_redeliver(conn);
    }
}

void conn_redeliver(struct conn *conn)
{
    conn->has_unread = true;
    schedule(conn);
}

enum err conn_write(struct conn *conn, struct span bytes)
{
    enum err e = buf_append_span(&conn->out, bytes);
    if (e == ERR_OK) {
        schedule(conn);
    }
    return e;
}

struct buf *conn_out(struct conn *conn)
{
    return &conn->out;
}

void conn_wrote(struct conn *conn)
{
    schedule(conn);
}

void conn_read_to_end(struct conn *conn)
{
    conn->reads_to_end = true;
}

bool conn_peer_uid(const struct conn *conn, uint32_t *uid)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    if (conn->fd < 0 || getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        peer.pid == 0) { /* not a unix socket's */
        return false;
    }
    *uid = peer.uid;
    return true;
}

size_t conn_room(struct conn *conn)
{
    size_t len = buf_len(&conn->out);
    if (len < CONN_HIGH_WATER_BYTES) {
        return CONN_HIGH_WATER_BYTES - len;
    }
    conn->wants_drained = true;
    return 0;
}

bool conn_is_drained(struct conn *conn)
{
    conn->wants_drained = conn->wants_drained || buf_len(&conn->out) != 0;
    return buf_len(&conn->out) == 0;
}

void conn_hold(struct conn *conn)
{
    if (conn->state == OPEN) {
        conn->is_paused = true;
    }
}

void conn_pause(struct conn *conn)
{
    if (conn->state == OPEN) {
        conn->is_paused = true;
        if (!watch(conn)) {
            conn_fail(conn); /* called from the owner, which may not be called back from here */
        }
    }
}

void conn_resume(struct conn *conn)
{
    if (conn->is_paused && conn->state == OPEN) {
        conn->is_paused = false;
        conn->has_unread = buf_len(&conn->in) != 0 || has_pending(conn);
        if (conn->has_unread || conn->is_unwritable) {
            schedule(conn);
        }
        if (!watch(conn)) {
            conn_fail(conn);
        }
    }
}

void conn_close(struct conn *conn)
{
    if (conn->state != OPEN) {
        return;
    }
    conn->state = FLUSHING;
    conn->owner = NULL;
    schedule(conn);
    /* Where the output is blocked the turn's end changes nothing, and bytes that nobody reads any
     * more would wake us again and again. */
    if (conn->watching & WATCH_WRITE && !watch(conn)) {
        conn_fail(conn);
    }
}

void conn_fail(struct conn *conn)
{
    conn->has_failed = true;
    schedule(conn);
}

void conn_abort(struct conn *conn)
{
    die(conn);
}

void conn_end_all(struct loop *loop)
{
    while (!LIST_EMPTY(loop_conns(loop))) {
        fail(LIST_FIRST(loop_conns(loop)), ERR_GONE);
    }
}

void conn_poke(struct conn *conn)
{
    on_event(-1, EV_READ | EV_WRITE, conn);
}
