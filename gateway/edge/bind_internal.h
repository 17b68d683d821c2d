/* bind_internal: what bind.c, the links of a worker, and binding.c, one session's place at them,
 * share. Private to this folder. */
#ifndef POSTERN_EDGE_BIND_INTERNAL_H
#define POSTERN_EDGE_BIND_INTERNAL_H

#include "backend/undone.h"
#include "core/sendq.h"
#include "edge/bind.h"

enum binding_place {
    PLACE_NONE,    /* bound, nothing waits; or there is no link, and the session is about to end */
    PLACE_LEAVING, /* likewise bound, and in binds->leaving */
    PLACE_WAITING, /* in binds->waiting */
    PLACE_BLOCKED, /* in binds->blocked */
    PLACE_MOVED,   /* MOVED is not acknowledged yet: what comes waits for the next link */
    PLACE_TRIED,   /* is binds->tried, and its suspect is at the handler: all else waits */
};

/* What a handler had not finished when its link ended. */
struct again {
    struct undone messages;
    struct undone returned; /* while a link ends: from it, ahead of `messages` */
    uint64_t suspect;       /* sequence of the first one */
    unsigned n_links;       /* that had it and ended with it unfinished, one after another */
};

/* What a handler left for the next one. */
struct handler_state {
    size_t len;
    char bytes[];
};

struct binding {
    struct link_owner owner; /* of a slot of `link` */
    struct binds *binds;
    struct session *session; /* NULL: it has ended, and what is left is still to be handed over */
    struct link *link;       /* NULL while waiting */
    struct again *again;     /* comes before `pending`; NULL until a link has died with something */
    struct sendq pending;    /* messages that wait for a link or for room */
    char *info;              /* of open_info_write, or its brief part; NUL-ended */
    char *subprotocol;       /* that the client speaks; NULL = none */
    struct handler_state *state; /* NULL = none */
    struct span mount;           /* of the mount, which outlives the session */
    uint64_t sequence;           /* of the last message handed to a link: stable over links */
    uint64_t waiting_since_ms;
    uint32_t handle;
    uint32_t brief_len;  /* of info: what a resumed OPEN repeats */
    uint8_t place;       /* enum binding_place */
    bool was_offered;    /* a handler may know of it */
    bool was_opened;     /* a handler has acknowledged its OPEN, and let it in: the next OPEN says
                            resumed */
    bool is_undecided;   /* the handler has not let the client in yet: its messages wait */
    bool wants_settled;  /* the session is to hear when all is finished */
    bool lost_memory;    /* a message that is to come again could not be kept */
    bool is_slow;        /* the client does not keep up: the handler was told PAUSE */
    uint16_t close_code; /* with session == NULL, likewise the reason */
    uint32_t held_bytes; /* with session == NULL: what it counts in ended_bytes */
    char *close_reason;  /* NULL = empty */
    TAILQ_ENTRY(binding) next;
};

/* A link that serves `mount` and takes sessions; NULL = none. */
struct link *binds_choose(struct binds *binds, struct span mount);
/* Arms the timer for the first that waits. */
void binds_arm_grace(struct binds *binds);
/* At the turn's end: binding_leave for all that are PLACE_LEAVING, binding_pass_trial for the one
 * that is tried, and offers to those that were refused one. */
void binds_schedule_settling(struct binds *binds);

void binding_move_to(struct binding *b, enum binding_place place);
/* Offers it to a link. ERR_AGAIN: none, or no room. */
enum err binding_offer(struct binding *b);
/* Hands over what waits, as far as there is room, then the session's end if it has ended. */
void binding_drain(struct binding *b);
/* It cannot be served: closes the session, or forgets what is left of it. */
void binding_give_up(struct binding *b, enum err why);
/* The time to wait for a handler is over. */
void binding_time_out(struct binding *b);
/* Leaves a link that drains for another one, if there is one and still nothing in flight. */
void binding_leave(struct binding *b);
/* If the handler has finished its suspect: it was none, and the session goes on. */
void binding_pass_trial(struct binding *b);
/* Only for what is left of sessions that have ended. */
void binding_destroy(struct binding *b);

#endif
