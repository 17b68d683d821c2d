/*
 * answer: what the STREAM and POLL behaviours share: a carrier that is one HTTP answer. The costume
 * says how it looks. Threads: the owning worker.
 */
#ifndef POSTERN_TRANSPORTS_ANSWER_H
#define POSTERN_TRANSPORTS_ANSWER_H

#include "core/transport.h"

/* Behaviours to build transport_ops from; each named transport is these functions and a costume. */
enum err stream_open(struct http_req *req, const struct transport_opts *opts,
                     struct session *session);
void stream_write(struct carrier *carrier, const struct frame *frame);
size_t stream_room(struct carrier *carrier);
void stream_finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason);

enum err poll_open(struct http_req *req, const struct transport_opts *opts,
                   struct session *session);
void poll_write(struct carrier *carrier, const struct frame *frame);
size_t poll_room(struct carrier *carrier);
void poll_finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason);

void answer_abort(struct carrier *carrier);

#endif
