/* answer_internal: the carrier that is one HTTP answer; shared by answer.c, stream.c and poll.c
 * only. */
#ifndef POSTERN_TRANSPORTS_ANSWER_INTERNAL_H
#define POSTERN_TRANSPORTS_ANSWER_INTERNAL_H

#include "base/kit.h"
#include "core/session.h"
#include "core/transport.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/answer.h"
#include "transports/script.h"

enum {
    ANSWER_FRAME_PIECES = 5, /* pre, callback, pre, the frame, post */
};

struct answer {
    struct carrier base;
    struct http_resp *resp; /* NULL once answered or gone */
    struct kit *kit;
    const struct transport_opts *opts;
    struct turn_task reap;
    uint64_t left_bytes; /* STREAM: of the response limit */
    char *fields;        /* POLL: the variable field lines, kept until the answer; NULL = none */
    struct script_callback callback; /* empty unless the costume has one */
};

static inline struct answer *answer_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct answer, base);
}

/* A carrier for `req`, watching for the peer's end, not yet attached; NULL: the request was
 * answered 503. */
struct answer *answer_create(const struct transport_ops *ops, struct http_req *req,
                             const struct transport_opts *opts, struct session *session);
/* Renders the mount's variable field lines into the worker's scratch; false = out of memory. */
bool answer_dress_head(struct kit *kit, const struct transport_opts *opts,
                       const struct http_req *req, struct span *fields);
/* The callback where it belongs between these parts of the costume, else nothing. */
struct span answer_callback(const struct answer *answer, const struct span parts[2]);
/* `frame` in its costume: valid until the worker dresses the next. False: out of memory, the
 * carrier was aborted and has let go of its session. */
bool answer_dress_frame(struct answer *answer, struct span frame,
                        struct span pieces[ANSWER_FRAME_PIECES]) MUST_CHECK;
/* Attaches it to `session`. ERR_NOMEM: the connection was lost while the head was written. */
enum err answer_attach(struct answer *answer, struct session *session) MUST_CHECK;
/* The answer is complete or void: the carrier may not touch it again; memory goes at the turn's
 * end. */
void answer_release(struct answer *answer);
/* Lets go of the session, if it is still attached, and tells it why. */
void answer_detach(struct answer *answer, enum detach_why why);

#endif
