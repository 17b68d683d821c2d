/* poll: the behaviour POLL: the answer waits for one frame, is given whole with its length, and
 * ends. */
#include "base/mem.h"
#include "transports/answer_internal.h"

enum err poll_open(struct http_req *req, const struct transport_opts *opts, struct session *session)
{
    struct answer *answer = answer_create(opts->ops, req, opts, session);
    struct span fields = SPAN_NONE;
    if (answer == NULL) {
        return ERR_NOMEM;
    }
    bool is_dressed = answer_dress_head(answer->kit, opts, req, &fields);
    if (is_dressed && fields.len != 0) {
        /* The request is gone when the frame comes: keep what its answer must say. */
        answer->fields = mem_copy_string(fields.ptr, fields.len);
        is_dressed = answer->fields != NULL;
    }
    if (!is_dressed) {
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        answer_release(answer);
        return ERR_NOMEM;
    }
    return answer_attach(answer, session);
}

/* False: it did not leave, and never will. */
static bool give(struct answer *answer, const struct span *pieces, size_t n)
{
    struct http_resp *resp = answer->resp;
    http_resp_start(resp, 200);
    http_resp_fields(resp, answer->opts->costume->fields);
    http_resp_fields(resp, span_str(answer->fields));
    answer_release(answer);
    return http_resp_finish_pieces(resp, pieces, n);
}

void poll_write(struct carrier *carrier, const struct frame *frame)
{
    struct answer *answer = answer_of(carrier);
    if (answer->resp == NULL) {
        return;
    }
    struct span pieces[ANSWER_FRAME_PIECES];
    if (!answer_dress_frame(answer, frame->bytes, pieces)) {
        return;
    }
    bool is_given = give(answer, pieces, ANSWER_FRAME_PIECES);
    answer_detach(answer, is_given ? DETACH_ENDED : DETACH_LOST);
}

size_t poll_room(struct carrier *carrier)
{
    return answer_of(carrier)->resp != NULL ? SIZE_MAX : 0;
}

void poll_finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason)
{
    (void)why;
    (void)code;
    (void)reason;
    struct answer *answer = answer_of(carrier);
    if (answer->resp != NULL) {
        (void)give(answer, NULL, 0);
    }
}
