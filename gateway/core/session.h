/*
 * session: one client's conversation; it outlives its carriers.
 *
 *     CONNECTING --accepted--> OPEN --closed by either side--> CLOSING --linger over--> CLOSED
 *          \_______________________ refused, lost ________________/
 *
 * CONNECTING: the handler decides (mount option `accept`); the client has not been told that it is
 * open, and hears none of what was queued if it never will be. CLOSING: the uplink knows (every end
 * begins here, before the uplink is told, so that it may close or abort from inside any call);
 * queued messages go out before the goodbye, and every later receiver gets the same goodbye until
 * the linger timer ends. CLOSED: out of every table, memory goes at the turn's end.
 *
 * Out: session_send encodes straight into a DUPLEX carrier with room (no queue, no allocation); all
 * else is queued and drained at the turn's end, so that a poll or chunk takes everything of the
 * turn. In: session_receive -> dialect decode -> session_deliver -> uplink. Bounds:
 * `queue_hard_bytes` (policy: close or drop the oldest), `queue_soft_bytes` (the uplink is told;
 * above it for `queue_soft_time_ms` without a break: the policy, in state OPEN). One timer serves
 * heartbeat (while attached), disconnect delay (while not), accept, and the soft bound's time. Core
 * includes base only: the session is tested without a socket. Threads: the owning worker.
 */
#ifndef POSTERN_CORE_SESSION_H
#define POSTERN_CORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/hmap.h"
#include "base/kit.h"
#include "core/frame.h"
#include "core/sendq.h"
#include "core/sid.h"

struct carrier;
struct dialect_ops;
struct registry;
struct uplink_ops;

enum session_state {
    SESSION_CONNECTING,
    SESSION_OPEN,
    SESSION_CLOSING,
    SESSION_CLOSED,
};

enum session_slow_policy {
    SESSION_SLOW_CLOSE,
    SESSION_SLOW_DROP_OLDEST,
};

/* What a mount pushes down. Immutable; outlives the session. */
struct session_opts {
    uint32_t heartbeat_ms; /* idle time after which the client hears a heartbeat; default 25000 */
    uint32_t
        pong_timeout_ms; /* CAP_SELF_PING: an unanswered ping ends the session; default 10000 */
    uint32_t disconnect_delay_ms; /* life without a receiver; default 5000 */
    uint32_t accept_timeout_ms;   /* CONNECTING for so long = close 1013; default 10000 */
    size_t queue_hard_bytes;      /* default 256 KiB, at least twice the largest message */
    size_t queue_soft_bytes;      /* default 64 KiB */
    uint32_t queue_soft_time_ms;  /* default 10000 */
    enum session_slow_policy slow_policy;
};

/* Somebody who holds a pointer to a session across loop turns; `session` becomes NULL when it ends.
 */
struct session_ref {
    LIST_ENTRY(session_ref) next;
    struct session *session;
    /* The session takes input again, or has ended (session == NULL). May be NULL. The ref is then
     * off the list when ended. */
    void (*on_change)(struct session_ref *ref);
};

struct session {
    /* per message */
    struct carrier *carrier; /* NULL between receivers */
    const struct dialect_ops *dialect;
    const struct uplink_ops *uplink;
    void *binding;
    struct sendq queue;
    struct kit *kit;
    const struct session_opts *opts;
    uint64_t last_write_ms;
    uint8_t state; /* enum session_state; changed by session.c's move() only */
    bool said_hello;
    bool is_unwritable;   /* the uplink was told writable = false */
    bool is_input_paused; /* the uplink holds enough */
    bool awaits_pong;
    bool was_lost; /* ended by a lost carrier: later receivers hear the dialect's lost_code */
    uint16_t close_code;
    /* per request */
    struct turn_task task; /* drain, later reap */
    struct timer timer;
    uint64_t
        due_ms; /* of heartbeat, pong, disconnect, accept or linger; the timer may be earlier */
    LIST_HEAD(session_refs, session_ref) refs;
    struct hnode node;         /* in `registry` under the sid */
    struct registry *registry; /* NULL: no second request can name it (WebSocket) */
    LIST_ENTRY(session) all;   /* in the worker's list */
    /* at open and close */
    uint64_t
        origin_hash; /* of the first Origin that a request of this session carried; 0 = none yet */
    uint64_t public_id;
    uint64_t opened_ms;
    uint64_t n_in, n_out; /* messages, for the log line at the end */
    char *close_reason;   /* NULL = empty */
    const char *last_transport;
    uint32_t soft_since_ms; /* low half of the clock when the queue rose above the soft bound */
    uint32_t pong_left_ms;  /* while input is paused: what is left of the pong's time */
    uint8_t sid_len;
    char sid[];
};

LIST_HEAD(session_list, session);

/* Everything a new session needs. `sid` is copied; empty for sessions that are not registered. */
struct session_birth {
    struct kit *kit;
    const struct session_opts *opts;
    const struct dialect_ops *dialect;
    const struct uplink_ops *uplink;
    struct registry *registry; /* NULL = not registered */
    struct session_list *all;
    struct span sid;
    bool must_wait; /* start in CONNECTING */
};

/* ERR_NOMEM; ERR_LIMIT for an over-long sid. Set `binding` right after (before any carrier). */
enum err session_create(const struct session_birth *birth, struct session **out) MUST_CHECK;

/* -- for carriers ----------------------------------------------------------------------------- */

/* `carrier` is ready to write. It is attached, or told at once why not (conflict, closed) and
 * finished. */
void session_attach(struct session *session, struct carrier *carrier);
/* What the client sent, to be decoded. ERR_SYNTAX, or ERR_LIMIT for too many messages at once, with
 * *why (the session lives on: the transport decides); ERR_GONE: it is closing, the input is
 * dropped. */
enum err session_receive(struct session *session, struct span in, bool is_text,
                         const char **why) MUST_CHECK;
/* The carrier has room again. */
void session_flushed(struct session *session);

enum detach_why {
    DETACH_ENDED, /* the answer was completed by us: the client comes again */
    DETACH_LOST,  /* the network, or the peer without a goodbye */
    DETACH_BYE,   /* the peer said goodbye: code and reason are its words */
};
/* The carrier is gone (and has let go of the session already). */
void session_detach(struct session *session, enum detach_why why, unsigned code,
                    struct span reason);
/* Whether all that the client said is finished by the handler, and what it caused was sent here. If
 * not, the carrier's `settled` follows once, unless it is let go before. */
bool session_settle(struct session *session);
/* The peer gave a sign of life: a pong, or a piece of a message. */
void session_alive(struct session *session);

/* -- for dialects ----------------------------------------------------------------------------- */

void session_deliver(struct session *session, const struct message *message);

/* -- for the uplink --------------------------------------------------------------------------- */

/* Queues or writes one message. ERR_GONE: closing (a normal crossing). ERR_LIMIT: the session was
 * closed because it could not take more. ERR_NOMEM, ERR_PROTO (a binary message for a carrier
 * without them): likewise. */
enum err session_send(struct session *session, const struct message *message) MUST_CHECK;
/* uplink_ops.settle has become true. */
void session_settled(struct session *session);
/* CONNECTING -> OPEN; in every other state nothing happens. `subprotocol`: the handler's choice for
 * a carrier whose handshake waits (transport.h, accepted), else not looked at; empty = the mount's.
 * One that the client did not offer ends the session with 1011. */
void session_accept(struct session *session, struct span subprotocol);
/* Ends the session with a goodbye to the client; calls uplink closed (once). A closed one is left
 * as it is. */
void session_close(struct session *session, unsigned code, struct span reason);
/* Ends the session in every state, without a goodbye, for the end of a worker. */
void session_abort(struct session *session);
/* While paused the client's input waits (the connection is not read, a POST is held). */
void session_pause_input(struct session *session, bool is_paused);

/* -- references ------------------------------------------------------------------------------- */

void session_hold(struct session *session, struct session_ref *ref);
void session_release(struct session_ref *ref);

/* One WebSocket is its whole life: no second request can name it. */
static inline bool session_is_duplex(const struct session *session)
{
    return session->registry == NULL;
}

static inline struct span session_sid(const struct session *session)
{
    return (struct span){session->sid, session->sid_len};
}

#endif
