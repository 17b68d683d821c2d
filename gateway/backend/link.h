/*
 * link: one unix-socket connection to a handler process, speaking handlers/PROTOCOL.md from the
 * gateway's side.
 *
 *   GREETING --HELLO--> READY --DRAIN--> READY (no new sessions) --ERROR, EOF, silence--> gone
 *
 * A link is an epoch: handles and delivery numbers live and die with it. Handles index a table of
 * *slots*, each with an owner: a binding of edge/bind, or the place of another worker's session
 * (backend/relay). Deliveries (OPEN, MSG, CLOSE) are numbered from 1 and count against the window
 * until the handler acknowledges them; a full window, or a full socket, makes link_* answer
 * ERR_AGAIN and on_room tell later. Until then the link keeps a copy of each message, and gives
 * those that are left to their owners when it ends, to be delivered again by another link. A BATCH
 * is checked whole before its first verb applies. A malformed frame gives ERROR with a sentence and
 * ends this link, never a session. With link_opts.is_relay the peer is not a handler but the relay
 * of one in another worker. Threads: the owning worker.
 */
#ifndef POSTERN_BACKEND_LINK_H
#define POSTERN_BACKEND_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backend/undone.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/timers.h"
#include "base/turn.h"
#include "wire/link_frame.h"

struct conn;
struct kit;
struct link;
struct link_owner;
struct relays;

enum {
    LINK_MAX_STATE_BYTES = 4096,
    LINK_MAX_REASON_BYTES = 123,            /* what a WebSocket Close frame holds */
    LINK_LEAST_MAX_FRAME_BYTES = 64 << 10,  /* any OPEN must fit */
    LINK_DEFAULT_MAX_FRAME_BYTES = 1 << 20, /* of a HELLO that does not say */
    LINK_MAX_MOUNTS = 64,                   /* names in one HELLO */
    LINK_MAX_HANDLES = 1 << 24,             /* sessions of one link */
    LINK_MAX_SPREAD = 1 << 20, /* deliveries from the oldest unfinished one on: 16 MiB of ring */
};

/* What the layer above (edge/bind) gives for the link as a whole. */
struct link_ops {
    /* HELLO was good: the link takes sessions. */
    void (*on_ready)(void *ctx, struct link *link);
    /* Window and socket have room again after an ERR_AGAIN. */
    void (*on_room)(void *ctx, struct link *link);
    /* The handler said DRAIN: link_serves is false from now on. */
    void (*on_drain)(void *ctx, struct link *link);
    /* The handler has finished a delivery that link_tag_last had marked. */
    void (*on_done)(void *ctx, struct link *link, unsigned source, uint32_t tag);
    /* The link has ended. Every living slot's owner was told on_orphan before. The link must be
     * forgotten. */
    void (*on_gone)(void *ctx, struct link *link);
};

/* What the owner of one slot gives. None of them may end the link or another slot's owner. */
struct link_slot_ops {
    /* MSG, ACCEPT, REJECT, KICK or STATE; its form is checked. May also come between CLOSE or MOVED
     * and on_left: of a handler that had not read it yet, or that leaves a last STATE. */
    void (*on_verb)(struct link_owner *owner, const struct link_verb *verb);
    /* The handler has acknowledged the OPEN. */
    void (*on_open_acked)(struct link_owner *owner);
    /* The handler has acknowledged the CLOSE (or the MOVED): the slot is no longer the owner's. */
    void (*on_left)(struct link_owner *owner);
    /* Everything that was delivered to this session is acknowledged. Told once after each
     * link_watch_idle, and always where the link takes no new sessions: then it is the time to move
     * this one (link_deliver_moved), at the turn's end. */
    void (*on_idle)(struct link_owner *owner);
    /* The link is about to end: a message that its handler has not acknowledged, in order. NULL:
     * the owner keeps its own copies; on_left and on_idle may be NULL then, too. */
    void (*on_undone)(struct link_owner *owner, const struct undone_message *message);
    /* The link has ended. */
    void (*on_orphan)(struct link_owner *owner);
};

/* Embedded in whatever owns a slot. */
struct link_owner {
    const struct link_slot_ops *ops;
};

struct link_opts {
    uint64_t
        max_frame_bytes; /* payload either way: 1 MiB, or the largest message limit of the mounts */
    uint64_t window_bytes; /* unacknowledged deliveries in flight; default 4 MiB */
    uint32_t timeout_ms;   /* silence of a handler that was pinged; default 15000 */
    const uint32_t *uids;  /* users that may be handlers; none: whoever can connect */
    size_t n_uids;
    unsigned n_workers;  /* told in WELCOME */
    const char *version; /* likewise */
    bool is_relay; /* the peer is a relay in this process: no handler to count, to ping or to log */
};

/* A delivery that is not acknowledged yet. 16 bytes: a window of small messages holds many. */
struct link_delivery {
    uint32_t bytes;
    uint32_t handle;
    union {
        uint32_t tag;        /* with source != 0: what on_done says */
        uint32_t kept_bytes; /* with is_kept: of the record in `kept` of the link */
    };
    uint16_t source; /* 0: nobody wants to hear of its acknowledgement */
    uint8_t verb;    /* enum link_verb_id */
    bool is_done : 1;
    bool is_kept : 1; /* `kept` of the link has its copy: never with a source */
};

struct link_slot {
    struct link_owner *owner; /* NULL: free, or forgotten while CLOSE awaits its acknowledgement */
    uint64_t open_number;     /* the OPEN that its owner got; older deliveries may still be
                               * unacknowledged when the handle is given out again */
    union {
        uint32_t n_undone;  /* deliveries that are not acknowledged */
        uint32_t next_free; /* of a free slot: as free_slot of the link */
    };
    bool wants_idle; /* link_watch_idle */
};

struct link {
    struct conn *conn;
    struct kit *kit;
    const struct link_ops *ops;
    void *ctx;
    const struct link_opts *opts;
    /* out */
    uint64_t next_number;   /* of the next delivery; from 1 */
    uint64_t first_unacked; /* == next_number when all are acknowledged */
    uint64_t unacked_bytes;
    struct link_delivery *deliveries; /* ring: number & (n_ring - 1) */
    uint32_t n_ring;
    struct undone kept; /* copies of the messages from first_unacked on, but for the dead */
    uint64_t
        kept_dead_bytes; /* of deliveries with a copy that are finished, behind one that is not */
    bool wants_room;     /* somebody got ERR_AGAIN */
    /* in */
    struct buf partial; /* of a frame that is larger than one read */
    size_t partial_needed;
    /* slots */
    struct link_slot *slots; /* handle - 1 */
    uint32_t n_slots;        /* ever issued */
    uint32_t cap_slots;
    uint32_t free_slot;  /* index + 1 of the first free slot; 0 = none */
    uint32_t n_sessions; /* opened, and neither closed nor moved */
    /* life */
    struct timer timer;
    struct turn_task reap;
    uint64_t heard_ms;  /* last bytes from the handler */
    uint64_t pinged_ms; /* with was_pinged */
    bool is_ready;
    bool is_draining;
    bool was_pinged;
    bool is_broken; /* out of memory while writing: ends before the next turn */
    bool is_gone;
    unsigned n_pauses;        /* calls of link_pause that wait for their link_resume */
    struct relays *relays;    /* of the layer above: NULL where no other worker uses this link */
    char *name;               /* "app" of HELLO, quoted for logs; NULL before */
    uint64_t max_frame_bytes; /* of this link: ours, or less where HELLO asks for less */
    char *mounts[LINK_MAX_MOUNTS];
    unsigned n_mounts;      /* 0 = every mount */
    TAILQ_ENTRY(link) next; /* of the pool */
};

/* Serves `conn`, which it owns from now on, also when this fails. `opts` and `ops` outlive the
 * link. */
enum err link_create(struct kit *kit, struct conn *conn, const struct link_opts *opts,
                     const struct link_ops *ops, void *ctx, struct link **out) MUST_CHECK;
/* Sends `ERROR code` with a sentence for the handler's author, then ends the link (on_orphan,
 * on_gone). */
void link_fail(struct link *link, const char *code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Ends it without a word (shutdown). */
void link_close(struct link *link);

bool link_serves(const struct link *link, struct span mount);
/* Whether everything that was delivered under `handle` is acknowledged. */
bool link_is_idle(const struct link *link, uint32_t handle);
/* on_idle, once, when it is. */
void link_watch_idle(struct link *link, uint32_t handle);
/* If it drains: on_idle for every session that is. */
void link_tell_idle(struct link *link);

/* Deliveries; none of them ends the link inside the call. ERR_AGAIN: no room now, on_room will
 * tell; ERR_NOMEM; ERR_LIMIT: too many handles, or a payload over the link's max_frame. */
enum err link_deliver_open(struct link *link, struct link_owner *owner, struct span json,
                           uint32_t *handle) MUST_CHECK;
/* `is_again`: another link has delivered it before, and its handler may have seen it. */
enum err link_deliver_msg(struct link *link, uint32_t handle, const struct undone_message *message,
                          bool is_again) MUST_CHECK;
/* The last delivery for this handle, and always accepted: a session's end is not held up by a full
 * window. on_left follows, or on_orphan. */
void link_deliver_close(struct link *link, uint32_t handle, unsigned code, struct span reason);
/* Likewise, for a session that another handler takes over: MOVED. */
void link_deliver_moved(struct link *link, uint32_t handle);
/* After one of these two: the owner will hear of its slot no more. */
void link_forget_owner(struct link *link, uint32_t handle);
/* Marks the delivery that was made last, to an owner without on_undone: its acknowledgement gives
 * on_done(source, tag). `source` from 1. After a link_deliver_close only if the link is not
 * is_broken. */
void link_tag_last(struct link *link, unsigned source, uint32_t tag);
/* No on_done for `source` any more. O(deliveries in flight). */
void link_forget_source(struct link *link, unsigned source);
/* Says DRAIN: no further OPEN will come. */
void link_tell_drain(struct link *link);
/* PAUSE or RESUME. */
void link_tell_writable(struct link *link, uint32_t handle, bool is_writable);

/* Reads nothing from the handler until as many calls of link_resume; what was read already still
 * applies. The handler's time to answer a PING stands still meanwhile. */
void link_pause(struct link *link);
void link_resume(struct link *link);

#endif
