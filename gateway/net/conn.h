/*
 * conn: one byte stream to a peer: descriptor, I/O functions, what is unread and what is unsent.
 *
 *   read:  into the worker's scratch; the owner consumes from the front; the rest is kept here
 *   write: gathered, and sent once at the turn's end (cork); EV_WRITE only after a short write
 *
 * All I/O goes through `conn_io` (plain here; TLS and a scripted one for tests and fuzzing fit the
 * same slot). An idle connection holds one libevent event and no buffers. A connection ends by
 * conn_close (polite: output flushed, FIN, then a bounded drain, so that no RST destroys what the
 * peer has not read) or conn_abort; memory goes at the end of the turn. One that ends before all of
 * its output has left ends by RST, so that nobody takes the part for the whole. Reading can be
 * paused; even then a reset or a hang-up is noticed, while a FIN waits behind the bytes that came
 * before it.
 * Deadlines: a peer that takes less than CONN_MIN_RATE of what waits for it within the write
 * timeout is cut.
 *
 * A connection can move to another worker: conn_detach makes a parcel of it, plain data that any
 * thread may hold, and conn_adopt a connection again. Bytes that were read and not consumed travel,
 * in the parcel or inside the SSL; an end of the stream that was seen does not need to, for whoever
 * reads next sees it again. Threads: the owning worker; a parcel belongs to whoever holds it.
 */
#ifndef POSTERN_NET_CONN_H
#define POSTERN_NET_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/octets.h"
#include "base/span.h"
#include "base/timers.h"
#include "base/turn.h"

struct conn;
struct loop;
struct peers;

enum {
    CONN_HIGH_WATER_BYTES = 64 << 10, /* above it conn_room is 0 and producers should stop */
    CONN_OUT_MAX_BYTES = 256 << 20,   /* nothing may gather more unsent output than this */
    CONN_MIN_RATE_BYTES_PER_S = 1024, /* slower readers are stalled peers (write stall, row 8) */
    CONN_DRAIN_MS = 2000,             /* how long a closed connection waits for the peer's FIN */
    CONN_DRAIN_BYTES = 1 << 20,       /* and how much it discards meanwhile */
};

/* What conn_io functions return besides a count. */
enum {
    CONN_IO_EOF = 0,
    CONN_IO_AGAIN = -1,
    CONN_IO_ERROR = -2,
};

struct conn_io {
    const char *name;
    ssize_t (*read)(struct conn *conn, char *bytes, size_t len);
    ssize_t (*write)(struct conn *conn, const char *bytes, size_t len);
    bool is_tls;         /* what the peer sends and gets is encrypted */
    bool writes_records; /* a write may take less than all without being blocked (TLS) */
    /* Whether bytes were taken from the descriptor that read has not given yet: no event will tell
     * of them. NULL = never. */
    bool (*has_pending)(const struct conn *conn);
    void (*shutdown)(struct conn *conn); /* end our sending side */
    void (*close)(struct conn *conn);    /* release everything; called once */
};

/* Plain read(2) and write(2) on conn->fd. */
extern const struct conn_io conn_io_plain;

/* Address of the peer in one form; unix sockets have family AF_UNIX and no address. */
struct conn_peer {
    struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
    uint16_t family; /* AF_INET, AF_INET6 or AF_UNIX */
};

struct conn {
    struct event event;
    const struct conn_io *io;
    void *io_state; /* of the conn_io (an SSL) */
    const struct octets_ops *ops;
    void *owner;
    struct loop *loop;
    LIST_ENTRY(conn) all;
    struct peers *peers; /* where it is counted; NULL = nowhere */
    struct buf in;       /* unconsumed bytes between reads; without storage while empty */
    struct buf out;      /* unsent bytes; without storage while empty */
    struct turn_task task;
    struct timer timer;  /* write stall; after conn_close the drain */
    uint64_t n_written;  /* bytes that the kernel has taken, ever */
    uint64_t stall_mark; /* n_written when the timer was armed */
    uint32_t write_timeout_ms;
    int fd;
    uint32_t n_drained;  /* bytes discarded after conn_close */
    uint8_t state;       /* enum conn_state, private */
    uint8_t watching;    /* private: what the event is armed for */
    bool io_wants_write; /* set by the conn_io: reading goes on when it can write (TLS) */
    bool is_paused;
    bool is_eof;        /* the peer's FIN was delivered */
    bool wants_drained; /* tell when the output is empty */
    bool has_unread;    /* resumed with bytes left in `in`: deliver them at the turn's end */
    bool has_failed;    /* conn_fail: ends at the turn's end */
    bool was_moved;     /* came by conn_adopt */
    bool reads_to_end;  /* see conn_read_to_end */
    bool is_unwritable; /* with it: writing has failed, and the rest is being read */
    struct conn_peer peer;
};

struct conn_opts {
    /* A peer that takes next to nothing for so long is cut; default 30000. */
    uint32_t write_timeout_ms;
    /* Where the caller has counted the connection (peers_enter): left once, when it ends, also when
     * conn_create fails. NULL = not counted. */
    struct peers *peers;
};

/* A connection between two workers. */
struct conn_parcel {
    int fd;
    uint32_t write_timeout_ms;
    const struct conn_io *io;
    void *io_state;
    struct peers *peers;
    struct buf in; /* read from the peer and not consumed */
    struct conn_peer peer;
    bool io_wants_write;
};

/* Takes over `fd` (non-blocking; closed with the connection, also when this fails). `io_state`
 * belongs to `io`. fd = -1: a scripted connection; nothing is registered and tests call conn_poke.
 * ERR_NOMEM, ERR_IO. */
enum err conn_create(struct loop *loop, int fd, const struct conn_io *io, void *io_state,
                     const struct conn_opts *opts, const struct conn_peer *peer,
                     struct conn **out) MUST_CHECK;
/* Sets or changes who is called. What the old owner has left unconsumed (HTTP -> WebSocket), also
 * by the on_data that this is called from, goes to the new one at the turn's end. */
void conn_set_owner(struct conn *conn, const struct octets_ops *ops, void *owner);
/* Delivers unconsumed bytes again at the turn's end, without waiting for new ones (pipelined
 * requests). */
void conn_redeliver(struct conn *conn);

/* Queues bytes for the turn's end. ERR_LIMIT or ERR_NOMEM: nothing was queued; the stream is then
 * useless: abort. */
enum err conn_write(struct conn *conn, struct span bytes) MUST_CHECK;
/* The output buffer itself, for encoders that append straight into it; call conn_wrote afterwards.
 */
struct buf *conn_out(struct conn *conn);
void conn_wrote(struct conn *conn);
/* The user that the process at the other end of a unix socket ran as when it connected; false where
 * that is not known. */
bool conn_peer_uid(const struct conn *conn, uint32_t *uid);
/* Bytes that a producer should still add before it waits for on_drained; 0 arms on_drained. */
size_t conn_room(struct conn *conn);
/* Whether nothing waits to be sent; if something does, arms on_drained. */
bool conn_is_drained(struct conn *conn);

/* From now on a connection that can no longer be written to is still read, also after a pause:
 * on_data for what the peer had said, then on_eof or on_gone. For unix sockets, where all that a
 * killed peer has sent can be read at once. */
void conn_read_to_end(struct conn *conn);

/* While paused on_data is not called; a reset still gives on_gone, as it does behind on_eof. */
void conn_pause(struct conn *conn);
/* As conn_pause for the rest of this turn, but without asking the kernel, for who will have
 * detached the connection by then; who has not must call conn_pause or conn_resume. */
void conn_hold(struct conn *conn);
void conn_resume(struct conn *conn);

/* Ends the stream after what is queued: flush, FIN, bounded drain. The owner is not called any
 * more. */
void conn_close(struct conn *conn);
/* Ends it now. The owner is not called any more. */
void conn_abort(struct conn *conn);
/* Ends it as if by the peer, for a failure in the owner's own call chain (memory): who owns it at
 * the turn's end gets on_gone(ERR_NOMEM). */
void conn_fail(struct conn *conn);

/* Takes it out of its loop into `out`; the descriptor stays open, the owner is not called any more
 * and `conn` is dead. All output must have left (conn_is_drained). Not from inside on_data: what it
 * leaves is not kept yet; paused or not makes no difference. ERR_GONE: it has ended, or has failed
 * and on_gone comes at the turn's end; `out` is untouched. */
enum err conn_detach(struct conn *conn, struct conn_parcel *out) MUST_CHECK;
/* Makes a connection of what is in `parcel`, which is empty afterwards, also when this fails (the
 * descriptor is then closed). It reads, and what came along is delivered at the turn's end without
 * waiting for the descriptor. ERR_NOMEM, ERR_IO. */
enum err conn_adopt(struct loop *loop, struct conn_parcel *parcel, struct conn **out) MUST_CHECK;
/* Closes what nobody will adopt. Any thread. */
void conn_parcel_drop(struct conn_parcel *parcel);

/* Ends every connection of the loop as if its peer had gone: owners get on_gone. For the end of a
 * worker. */
void conn_end_all(struct loop *loop);

/* Runs the read and write side once as if the descriptor were ready (scripted connections). */
void conn_poke(struct conn *conn);

#endif
