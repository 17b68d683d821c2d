/*
 * bind: sessions <-> handlers. Implements uplink_ops over the worker's links.
 *
 * A *binding* is one session's place at the handlers:
 *
 *   WAITING --a link that serves the mount--> BOUND --link died--> WAITING
 *   WAITING --grace over--> close 1013
 *
 * While WAITING, or while the link's window is full, the client's messages wait here, bounded; at
 * the bound the session's input is paused (its TCP window closes, its POST waits). So do the
 * messages of a session that the handler has not let in yet; if it never does, they are dropped.
 * Links of this
 * worker are chosen before those that reach another worker's handler by a relay (backend/relay),
 * and among equals the one with the least sessions. When a link dies, its sessions are offered to
 * the links that are left or come back, with `resumed` in OPEN if a handler had acknowledged one,
 * and with the STATE that it left; then comes what it had not finished, then what came in
 * meanwhile: nothing is lost when a handler is killed. A session that has ended leaves its binding
 * behind until a handler has acknowledged all of it, CLOSE too. A link that drains hands its
 * sessions over, each when it has nothing in flight: its handler hears MOVED, has the last word
 * (STATE) until it acknowledges that, and then the next handler hears OPEN.
 *
 * A message that ends each handler that gets it would end them all, and take with it the sessions
 * whose messages were only in flight at the same time. So those that two links in a row had and did
 * not finish are *suspects*: of a worker's suspects one at a time is handed over, alone for its
 * session, until the handler has finished it (and it was none), or it was the last one's end, too:
 * after BINDS_MAX_REDELIVERIES its session is closed. Threads: the owning worker.
 */
#ifndef POSTERN_EDGE_BIND_H
#define POSTERN_EDGE_BIND_H

#include <stdint.h>
#include <sys/queue.h>

#include "backend/link.h"
#include "backend/relay.h"
#include "base/err.h"
#include "base/kit.h"
#include "core/uplink.h"

struct binding;
struct http_req;
struct mount;
struct session;
struct transport_opts;

TAILQ_HEAD(link_list, link);
TAILQ_HEAD(binding_list, binding);

enum {
    /* What all ended sessions of a worker have left that no handler could be handed yet: more is
     * forgotten. Answers clients that say something and leave, again and again. */
    BINDS_MAX_ENDED_BYTES = 32 << 20,
    /* A message that was delivered again so often, and never finished: its session is closed. */
    BINDS_MAX_REDELIVERIES = 3,
    BINDS_SUSPECT_FROM = 2, /* links that had a message and did not finish it */
};

struct binds_opts {
    struct link_opts link;
    uint32_t grace_ms; /* a session waits so long for a handler; default 30000 */
    uint64_t
        pending_bytes; /* messages of one session that wait for a handler; then its input pauses */
    uint32_t write_timeout_ms; /* a handler that does not read for so long loses its link */
};

/* One per worker. */
struct binds {
    struct kit *kit;
    const struct binds_opts *opts;
    struct link_opts relay_opts; /* of links whose peer is a relay */
    /* Set by the server where there are several workers: hands the other end of a relay to one of
     * them, which calls binds_accept_relay. */
    relay_spread_fn *spread;
    /* Likewise: a link that binds_accept was given has ended, or could not be made. */
    void (*on_unlinked)(void *ctx);
    void *hooks_ctx;
    struct link_list links;
    struct binding_list waiting; /* WAITING, in order of time */
    struct binding_list blocked; /* BOUND with messages that found no room */
    struct binding_list leaving; /* BOUND to a link that drains, nothing in flight */
    struct binding *tried;       /* whose suspect is handed over, or next to be; NULL = none */
    struct turn_task settle;     /* of these two, at the turn's end */
    uint64_t ended_bytes;        /* what ended sessions have left that waits */
    bool is_draining;
    bool is_over;           /* no handler will come any more */
    bool has_refused_offer; /* some that wait found a link, but no room at it, or not their turn */
    struct timer grace;     /* of the first that waits */
};

void binds_init(struct binds *binds, struct kit *kit, const struct binds_opts *opts);
/* Closes all links. The sessions must be gone. */
void binds_fini(struct binds *binds);
/* A handler has connected. Takes `conn`. */
void binds_accept(struct binds *binds, struct conn *conn);
/* Another worker has spread a handler of its own to us. Takes `conn`, our end of the pair. */
void binds_accept_relay(struct binds *binds, struct conn *conn);
/* Tells every handler that no further sessions will come. */
void binds_drain(struct binds *binds);
/* Whether a handler for `mount` is linked now. */
bool binds_has_handler(const struct binds *binds, struct span mount);

extern const struct uplink_ops bind_uplink_ops;

/* Gives `session` a binding (session->binding) and offers it to a handler. The OPEN says what `req`
 * said: its allowed fields are copied now. `transport`: which serves it, whose check the request
 * has passed. `sid`: the session id in its path, which nobody behind us may see; may be empty.
 * ERR_NOMEM. */
enum err bind_session(struct binds *binds, struct session *session, const struct mount *mount,
                      const struct transport_opts *transport, struct span sid,
                      const struct http_req *req) MUST_CHECK;

#endif
