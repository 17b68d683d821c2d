/* turn: see turn.h. */
#include "base/turn.h"

#include <stddef.h>

void turn_init(struct turn *turn)
{
    for (int i = 0; i < TURN_STAGES; i++) {
        STAILQ_INIT(&turn->queues[i]);
        turn->n_queued[i] = 0;
    }
}

void turn_schedule(struct turn *turn, enum turn_stage stage, struct turn_task *task, turn_fn *run)
{
    if (task->run == NULL) {
        task->run = run;
        STAILQ_INSERT_TAIL(&turn->queues[stage], task, next);
        turn->n_queued[stage]++;
    }
}

void turn_cancel(struct turn *turn, enum turn_stage stage, struct turn_task *task)
{
    if (task->run == NULL) {
        return;
    }
    STAILQ_REMOVE(&turn->queues[stage], task, turn_task, next);
    task->run = NULL;
    turn->n_queued[stage]--;
}

/* Runs as many tasks as are queued now; those scheduled meanwhile wait for the next round. */
static void run_stage(struct turn *turn, enum turn_stage stage)
{
    struct turn_queue *queue = &turn->queues[stage];
    for (unsigned left = turn->n_queued[stage]; left != 0 && !STAILQ_EMPTY(queue); left--) {
        struct turn_task *task = STAILQ_FIRST(queue);
        STAILQ_REMOVE_HEAD(queue, next);
        turn->n_queued[stage]--;
        turn_fn *run = task->run;
        task->run = NULL;
        run(task);
    }
}

void turn_end(struct turn *turn)
{
    for (int round = 0; round < TURN_MAX_ROUNDS; round++) {
        if (STAILQ_EMPTY(&turn->queues[TURN_SESSION]) && STAILQ_EMPTY(&turn->queues[TURN_WRITE])) {
            break;
        }
        run_stage(turn, TURN_SESSION);
        run_stage(turn, TURN_WRITE);
    }
    run_stage(turn, TURN_REAP);
}

bool turn_is_idle(const struct turn *turn)
{
    for (int i = 0; i < TURN_STAGES; i++) {
        if (!STAILQ_EMPTY(&turn->queues[i])) {
            return false;
        }
    }
    return true;
}
