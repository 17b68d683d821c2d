/*
 * turn: work put off to the end of the loop turn: flush once, free last.
 *
 * Everything that many events of a turn would do many times (a session's drain, a link's or a
 * connection's write) is done once, in this order of stages, and what was closed is freed only
 * after all of that: nothing is freed inside a callback chain that it is part of. A task may
 * schedule tasks of any stage; the stages are then run again, at most TURN_MAX_ROUNDS times before
 * the loop looks at its descriptors again (turn_is_idle says whether something is left). Reaping
 * comes last and once. Threads: one worker.
 */
#ifndef POSTERN_BASE_TURN_H
#define POSTERN_BASE_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

enum turn_stage {
    TURN_SESSION, /* sessions drain into their carriers */
    TURN_WRITE,   /* connections and links write what the turn gathered */
    TURN_REAP,    /* closed objects are freed */
    TURN_STAGES
};

enum {
    TURN_MAX_ROUNDS = 8
};

struct turn_task;
typedef void turn_fn(struct turn_task *task);

/* Embedded in its owner; 16 bytes. `run` is NULL while not scheduled. */
struct turn_task {
    STAILQ_ENTRY(turn_task) next;
    turn_fn *run;
};

STAILQ_HEAD(turn_queue, turn_task);

struct turn {
    struct turn_queue queues[TURN_STAGES];
    unsigned n_queued[TURN_STAGES];
};

void turn_init(struct turn *turn);
/* Schedules `run(task)` once; a task that is scheduled already stays where it is. `task` must live
 * until it has run or was cancelled. A zeroed task is not scheduled. */
void turn_schedule(struct turn *turn, enum turn_stage stage, struct turn_task *task, turn_fn *run);
/* No effect when not scheduled. O(tasks of the stage): for teardown, not for the hot path. */
void turn_cancel(struct turn *turn, enum turn_stage stage, struct turn_task *task);
static inline bool turn_is_scheduled(const struct turn_task *task)
{
    return task->run != NULL;
}
void turn_end(struct turn *turn);
bool turn_is_idle(const struct turn *turn);

#endif
