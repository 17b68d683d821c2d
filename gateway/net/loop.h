/*
 * loop: the event loop of one worker: libevent underneath, turns on top.
 *
 * A turn: wait for descriptors or the next deadline, run their callbacks, fire due timers, then the
 * turn's end (base/turn.h). libevent 2.1 has no hook after a dispatch, so the loop is
 * event_base_loop(EVLOOP_ONCE) in our own `while`. The base is created without locks and has one
 * libevent timer: all deadlines live in kit->timers. Also owns the receive scratch that all
 * connections of the worker share. Threads: everything is for the owning worker's thread, but
 * loop_stop may come from any callback of it.
 */
#ifndef POSTERN_NET_LOOP_H
#define POSTERN_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/kit.h"

struct conn;
struct event_base;
struct loop;

LIST_HEAD(conn_list, conn);

enum {
    LOOP_LOOKAHEAD_BYTES = 64 << 10, /* the most that a connection may leave unconsumed */
    LOOP_READ_BYTES = 64 << 10,      /* the most that one read takes */
};

/* `kit` must outlive the loop. ERR_NOMEM; ERR_IO when the kernel gives no epoll. */
enum err loop_create(struct kit *kit, struct loop **out) MUST_CHECK;
/* All events must be gone. Runs what is left of the turn first. */
void loop_destroy(struct loop *loop);

/* Runs turns until loop_stop. */
void loop_run(struct loop *loop);
/* One turn; `may_wait` = block until something happens. For tests. */
void loop_run_once(struct loop *loop, bool may_wait);
/* loop_run returns after the present turn. */
void loop_stop(struct loop *loop);

/* Every descriptor callback calls this first: the wait may have been long, and kit->now_ms is read
 * once a turn. */
void loop_touch_clock(struct loop *loop);

/* Every connection of the worker; kept by net/conn. */
struct conn_list *loop_conns(struct loop *loop);
struct kit *loop_kit(struct loop *loop);
struct event_base *loop_base(struct loop *loop);
/* LOOP_LOOKAHEAD_BYTES + LOOP_READ_BYTES of room for one read at a time; its content is gone after
 * the callback. */
char *loop_scratch(struct loop *loop);

#endif
