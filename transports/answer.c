/* answer: see answer.h and answer_internal.h. */
#include "transports/answer.h"

#include "base/mem.h"
#include "transports/answer_internal.h"

static void reap(struct turn_task *task)
{
    struct answer *answer = CONTAINER_OF(task, struct answer, reap);
    mem_free(answer->fields);
    mem_free(answer);
}

void answer_release(struct answer *answer)
{
    answer->resp = NULL;
    turn_schedule(&answer->kit->turn, TURN_REAP, &answer->reap, reap);
}

void answer_detach(struct answer *answer, enum detach_why why)
{
    struct session *session = answer->base.session;
    answer->base.session = NULL;
    if (session != NULL) {
        session_detach(session, why, 0, SPAN_NONE);
    }
}

static void on_room(void *ctx)
{
    struct answer *answer = ctx;
    if (answer->base.session != NULL) {
        session_flushed(answer->base.session);
    }
}

static void on_gone(void *ctx)
{
    struct answer *answer = ctx;
    answer_release(answer);
    answer_detach(answer, DETACH_LOST);
}

static const struct http_watch watch = {
    .on_room = on_room,
    .on_gone = on_gone,
};

bool answer_dress_head(struct kit *kit, const struct transport_opts *opts,
                       const struct http_req *req, struct span *fields)
{
    struct buf *scratch = &kit->encode_scratch;
    buf_clear(scratch);
    if (opts->dress != NULL && opts->dress(opts->dress_ctx, req, scratch) != ERR_OK) {
        kit->counters.out_of_memory++;
        return false;
    }
    *fields = buf_span(scratch);
    return true;
}

struct span answer_callback(const struct answer *answer, const struct span parts[2])
{
    return parts[1].len != 0 ? span_of(answer->callback.text, answer->callback.len) : SPAN_NONE;
}

bool answer_dress_frame(struct answer *answer, struct span frame,
                        struct span pieces[ANSWER_FRAME_PIECES])
{
    const struct costume *costume = answer->opts->costume;
    struct buf *scratch = &answer->kit->dress_scratch;
    buf_clear(scratch);
    if (costume->escape != NULL && costume->escape(scratch, frame) != ERR_OK) {
        answer->kit->counters.out_of_memory++;
        answer_abort(&answer->base);
        answer_detach(answer, DETACH_LOST);
        return false;
    }
    pieces[0] = costume->pre[0];
    pieces[1] = answer_callback(answer, costume->pre);
    pieces[2] = costume->pre[1];
    pieces[3] = costume->escape != NULL ? buf_span(scratch) : frame;
    pieces[4] = costume->post;
    return true;
}

struct answer *answer_create(const struct transport_ops *ops, struct http_req *req,
                             const struct transport_opts *opts, struct session *session)
{
    struct answer *answer = MEM_NEW(struct answer);
    if (answer == NULL) {
        session->kit->counters.out_of_memory++;
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return NULL;
    }
    answer->base = (struct carrier){ops, NULL};
    answer->resp = req->resp;
    answer->kit = session->kit;
    answer->opts = opts;
    if (opts->costume->has_callback) {
        (void)script_callback_read(req->target.query, &answer->callback);
    }
    http_resp_watch(req->resp, &watch, answer);
    return answer;
}

enum err answer_attach(struct answer *answer, struct session *session)
{
    if (answer->resp == NULL) {
        return ERR_NOMEM;
    }
    answer->base.session = session;
    session_attach(session, &answer->base);
    return ERR_OK;
}

void answer_abort(struct carrier *carrier)
{
    struct answer *answer = answer_of(carrier);
    if (answer->resp != NULL) {
        http_resp_abort(answer->resp);
        answer_release(answer);
    }
}
