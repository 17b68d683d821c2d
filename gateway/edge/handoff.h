/*
 * handoff: whose is it? A request that names a session belongs to the worker that owns the session
 * id (core/sid). Asked by every other worker, admit moves the connection there (http_resp_move):
 * head, body and what is pipelined behind go unread, and the owner parses the request again and
 * asks again. All workers answer alike, so a request moves once at most. Sessions that no second
 * request can name (one WebSocket) are not asked about: they live where they were accepted.
 * Threads: the asking worker.
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
