/* relay_internal: what relay.c, the traffic of one relay, and relay_set.c, the relays of one link,
 * share. Private to this folder. */
#ifndef POSTERN_BACKEND_RELAY_INTERNAL_H
#define POSTERN_BACKEND_RELAY_INTERNAL_H

#include <stdbool.h>

#include "backend/link.h"
#include "backend/relay.h"
#include "base/buf.h"
#include "base/timers.h"
#include "base/turn.h"

enum {
    RELAY_MAX_RANGES = 23, /* of one DONE: each may take 42 bytes of its line */
};

struct range {
    uint64_t first;
    uint64_t last;
};

/* A session of the near worker. */
struct relay_slot {
    struct link_owner owner; /* of a slot of the real link */
    struct relay *relay;
    uint32_t near_handle;
    uint32_t handle; /* on the real link */
    bool is_closed;  /* CLOSE or MOVED was delivered: only what the handler says last may come */
};

struct relay {
    struct relays *set;
    struct link *link; /* the real one */
    struct kit *kit;
    struct conn *conn; /* our end of the pair */
    unsigned worker;   /* of the near end */
    bool is_blocked;   /* the link had no room: `held` waits, and the pair is not read */
    bool holds_link;   /* the near worker does not keep up: the link is not read */
    bool is_broken;    /* out of memory: ends at the turn's end */
    bool is_over;
    uint64_t n_taken; /* near number of the delivery that was taken last */
    struct buf held;  /* frames that wait for room, or the one that is being gathered */
    size_t held_needed;
    struct relay_slot **slots; /* near handle - 1 */
    uint32_t n_slots;
    unsigned n_ranges;
    struct range
        done[RELAY_MAX_RANGES]; /* near numbers that the handler has finished in this turn */
    struct turn_task tell_done;
    struct turn_task reap;
};

/* The relays of one link. */
struct relays {
    struct link *link;
    struct kit *kit;
    relay_spread_fn *spread;
    void *ctx;
    struct timer retry;
    unsigned next_turn;
    bool is_ending;     /* the gateway is */
    struct relay *to[]; /* by worker; NULL for our own, and where one is to be made */
};

/* Serves the near sessions of `worker` by `conn`, our end of a pair, which it owns from now on,
 * also when this fails. Says HELLO. NULL when out of memory. */
struct relay *relay_create(struct relays *set, unsigned worker, struct conn *conn) MUST_CHECK;
/* The link has ended and told the owners of its slots: says what is left to say, then EOF. */
void relay_end(struct relay *relay);
/* Passes the handler's DRAIN on. */
void relay_tell_drain(struct relay *relay);

/* From a relay that ends while the link lives on: it must be forgotten, and made anew. */
void relays_lost(struct relays *relays, unsigned worker);

#endif
