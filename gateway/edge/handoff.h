/*
 * handoff: whose is it? A request that names a session belongs to the worker that owns the session
 * id; elsewhere its connection must be moved there first. Today every process has one worker, so
 * the answer is always LOCAL; the rule and the question stand here so that nothing else has to
 * know. Threads: the asking worker.
 */
#ifndef POSTERN_EDGE_HANDOFF_H
#define POSTERN_EDGE_HANDOFF_H

#include "base/kit.h"
#include "base/span.h"

enum handoff_verdict {
    HANDOFF_LOCAL, /* serve it here */
    HANDOFF_MOVE,  /* *owner is the worker that must have the connection */
};

enum handoff_verdict handoff_ask(const struct kit *kit, struct span sid, unsigned *owner);

#endif
