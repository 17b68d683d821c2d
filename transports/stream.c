/*
 * stream: the behaviour STREAM: one endless answer; every frame is one HTTP chunk (the SockJS suite
 * reads chunk by chunk), and the answer ends after the frame that reaches the response limit, so
 * that no proxy or browser gathers it for ever. The session goes on with the next request.
 */
#include "transports/answer_internal.h"

enum err stream_open(struct http_req *req, const struct transport_opts *opts,
                     struct session *session)
{
    const struct transport_ops *ops = opts->ops;
    struct answer *answer = answer_create(ops, req, opts, session);
    const struct costume *costume = opts->costume;
    struct span fields = SPAN_NONE;
    if (answer == NULL) {
        return ERR_NOMEM;
    }
    if (!answer_dress_head(answer->kit, opts, req, &fields)) {
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        answer_release(answer);
        return ERR_NOMEM;
    }
    answer->left_bytes = opts->response_limit_bytes;
    http_resp_start(req->resp, 200);
    http_resp_fields(req->resp, costume->fields);
    http_resp_fields(req->resp, fields);
    http_resp_stream(req->resp);
    const struct span prelude[] = {costume->prelude[0], answer_callback(answer, costume->prelude),
                                   costume->prelude[1]};
    http_resp_chunk(req->resp, prelude, 3);
    return answer_attach(answer, session);
}

/* False: what was not sent yet never will be. */
static bool end(struct answer *answer)
{
    struct http_resp *resp = answer->resp;
    answer_release(answer);
    return http_resp_end(resp);
}

void stream_write(struct carrier *carrier, const struct frame *frame)
{
    struct answer *answer = answer_of(carrier);
    if (answer->resp == NULL) {
        return;
    }
    struct span pieces[ANSWER_FRAME_PIECES];
    if (!answer_dress_frame(answer, frame->bytes, pieces)) {
        return;
    }
    http_resp_chunk(answer->resp, pieces, ANSWER_FRAME_PIECES);
    if (answer->resp == NULL) {
        return; /* out of memory: the connection is gone, and the session knows */
    }
    uint64_t n = 0;
    for (size_t i = 0; i < ANSWER_FRAME_PIECES; i++) {
        n += pieces[i].len;
    }
    if (n < answer->left_bytes) {
        answer->left_bytes -= n;
        return;
    }
    bool is_whole = end(answer);
    answer_detach(answer, is_whole ? DETACH_ENDED : DETACH_LOST);
}

size_t stream_room(struct carrier *carrier)
{
    struct answer *answer = answer_of(carrier);
    return answer->resp != NULL ? http_resp_room(answer->resp) : 0;
}

void stream_finish(struct carrier *carrier, enum finish_why why, unsigned code, struct span reason)
{
    (void)why;
    (void)code;
    (void)reason;
    struct answer *answer = answer_of(carrier);
    if (answer->resp != NULL) {
        (void)end(answer);
    }
}
