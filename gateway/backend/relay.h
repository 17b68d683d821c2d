/*
 * relay: how the sessions of other workers reach a handler whose link lives on this one.
 *
 *      session's worker ("near")            |        link's worker ("far")
 *   binding <-> link (is_relay) <== socketpair ==> relay <-> slots of the link <-> handler
 *
 * A relay speaks the handler protocol itself, in the place of the handler. So the near end is an
 * ordinary link, and bind, numbers, window and offering again are the same code for both kinds; the
 * kernel's buffers are the backpressure, EOF is the end, and what a turn has produced is one write.
 * Here deliveries of the near end become deliveries of the real link, with its handles and numbers;
 * verbs of the handler go back byte for byte but for the handle, and what it has finished goes back
 * as one DONE at the turn's end, behind the replies. That DONE cannot arrive without what was said
 * before it, as the pair loses nothing and its end is read last: a BATCH needs no wrapping.
 *
 * Where the link has no room, what has been read waits here (`held`, at most one read and one
 * frame), and the pair is not read. Nothing overtakes, a CLOSE neither. Where the near worker does
 * not keep up, the handler's link is not read.
 *
 * Ends: the link's end closes its relays, which the near ends see as EOF. When a near end goes, its
 * sessions are closed at the handler and the relay is made anew after RELAY_RETRY_MS. The near end
 * is code of ours, but its bytes reach no ASSERT: a frame that cannot be ends that relay.
 *
 * Called by edge/bind. Threads: all of this is of the far worker; `spread` carries a descriptor to
 * another one and must not block.
 */
#ifndef POSTERN_BACKEND_RELAY_H
#define POSTERN_BACKEND_RELAY_H

#include <stdint.h>

#include "base/err.h"

struct conn;
struct kit;
struct link;
struct relays;

enum {
    RELAY_RETRY_MS = 1000, /* between the end of a relay, or a failure to make it, and the next */
    /* A near end waits for the handler's window, and a far end for the near worker: both as long as
     * the link lives, whose own timeouts judge the handler. */
    RELAY_WRITE_TIMEOUT_MS = INT32_MAX,
};

/* Gives `worker` (0..n_workers-1, never this one) its end of a relay: `fd`, non-blocking, is the
 * callee's from now on. Where that worker cannot take it, closing `fd` is answer enough. */
typedef void relay_spread_fn(void *ctx, unsigned worker, int fd);

/* Makes a relay of `link`, which is ready, to each other worker of its kit. What cannot be made now
 * is made later. NULL when out of memory. */
struct relays *relays_create(struct link *link, relay_spread_fn *spread, void *ctx) MUST_CHECK;
/* The link has ended and told all owners of its slots: ends the relays. NULL is allowed. */
void relays_destroy(struct relays *relays);

/* Which worker's sessions come first at the room that there is now: each in its turn. */
unsigned relays_next_turn(struct relays *relays);
/* The link has room: what `worker` has waiting goes on, until there is none again. */
void relays_on_room(struct relays *relays, unsigned worker);
/* link_ops.on_done. */
void relays_on_done(struct relays *relays, unsigned source, uint32_t tag);
/* The handler takes no new sessions: says so to the near ends. */
void relays_drain(struct relays *relays);
/* The gateway is about to end: no relay is made anew. */
void relays_stop_retrying(struct relays *relays);

/* For the near end: what its connection must be like. */
void relay_prepare_near(struct conn *conn);

#endif
