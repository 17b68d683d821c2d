/* inbound: see inbound.h. The session may end while the body is on its way: a session_ref tells. */
#include "transports/inbound.h"

#include "base/kit.h"
#include "base/mem.h"
#include "core/session.h"
#include "http/http_req.h"
#include "http/http_resp.h"

struct inbound {
    struct session_ref ref;
    struct http_resp *resp; /* NULL once answered or gone */
    struct kit *kit;
    const struct transport_opts *opts;
    struct turn_task task;     /* the held payload is tried again; later freeing */
    char *fields;              /* variable field lines of the answer */
    costume_unwrap_fn *unwrap; /* NULL: the body is the payload */
    char *held; /* the payload, while the session's input is paused, or when it was unwrapped */
    size_t held_len;
};

static void reap(struct turn_task *task)
{
    struct inbound *in = CONTAINER_OF(task, struct inbound, task);
    mem_free(in->fields);
    mem_free(in->held);
    mem_free(in);
}

static void release(struct inbound *in)
{
    in->resp = NULL;
    session_release(&in->ref);
    turn_cancel(&in->kit->turn, TURN_SESSION, &in->task);
    turn_schedule(&in->kit->turn, TURN_REAP, &in->task, reap);
}

static void answer(struct inbound *in, unsigned status, struct span body)
{
    struct http_resp *resp = in->resp;
    http_resp_start(resp, status);
    http_resp_fields(resp, in->opts->costume->fields);
    http_resp_fields(resp, span_str(in->fields));
    release(in);
    http_resp_finish(resp, body);
}

static void take(struct inbound *in, struct span body)
{
    const char *why = NULL;
    enum err e = session_receive(in->ref.session, body, true, &why);
    switch ((unsigned)e) {
    case ERR_OK:
    case ERR_GONE: /* closing: the receiving side tells the client so */
        answer(in, in->opts->costume->inbound_status, in->opts->costume->inbound_body);
        break;
    case ERR_NOMEM:
        in->kit->counters.out_of_memory++;
        answer(in, 503, SPAN_LIT("Out of memory."));
        break;
    case ERR_LIMIT:
        answer(in, 413, span_str(why));
        break;
    default:
        answer(in, 500, span_str(why));
        break;
    }
}

static void try_held(struct turn_task *task)
{
    struct inbound *in = CONTAINER_OF(task, struct inbound, task);
    if (in->ref.session == NULL) {
        answer(in, 404, SPAN_NONE);
    } else if (!in->ref.session->is_input_paused) {
        take(in, span_of(in->held, in->held_len));
    }
}

/* The session takes input again or has ended: look at the turn's end, not inside its call. */
static void on_change(struct session_ref *ref)
{
    struct inbound *in = CONTAINER_OF(ref, struct inbound, ref);
    if (in->held != NULL && in->resp != NULL) {
        turn_schedule(&in->kit->turn, TURN_SESSION, &in->task, try_held);
    }
}

/* Keeps the payload, and takes it if the session does now. */
static void hold(struct inbound *in, struct span body)
{
    in->held = mem_copy_string(body.ptr, body.len);
    if (in->held == NULL) {
        in->kit->counters.out_of_memory++;
        answer(in, 503, SPAN_LIT("Out of memory."));
        return;
    }
    in->held_len = in->unwrap != NULL ? in->unwrap(in->held, body.len) : body.len;
    try_held(&in->task);
}

static void on_body(void *ctx, enum err e, struct span body)
{
    struct inbound *in = ctx;
    if (e != ERR_OK) {
        release(in);
    } else if (in->ref.session == NULL) {
        answer(in, 404, SPAN_NONE);
    } else if (in->unwrap != NULL || in->ref.session->is_input_paused) {
        hold(in, body);
    } else {
        take(in, body);
    }
}

static void on_gone(void *ctx)
{
    struct inbound *in = ctx;
    if (in->resp != NULL) {
        release(in);
    }
}

static const struct http_watch watch = {.on_gone = on_gone};

enum err inbound_open(struct http_req *req, const struct transport_opts *opts,
                      struct session *session)
{
    struct kit *kit = session->kit;
    struct buf *scratch = &kit->encode_scratch;
    struct inbound *in = MEM_NEW(struct inbound);
    buf_clear(scratch);
    enum err e = in == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK && opts->dress != NULL) {
        e = opts->dress(opts->dress_ctx, req, scratch);
    }
    if (e == ERR_OK) {
        struct span fields = buf_span(scratch);
        in->fields = mem_copy_string(fields.ptr, fields.len);
        e = in->fields == NULL ? ERR_NOMEM : ERR_OK;
    }
    if (e != ERR_OK) {
        kit->counters.out_of_memory++;
        mem_free(in);
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return ERR_NOMEM;
    }
    in->resp = req->resp;
    in->kit = kit;
    in->opts = opts;
    if (opts->costume->unwrapper != NULL) {
        in->unwrap = opts->costume->unwrapper(req);
    }
    in->ref.on_change = on_change;
    session_hold(session, &in->ref);
    http_resp_watch(req->resp, &watch, in);
    http_resp_read_body(req->resp, opts->max_message_bytes, on_body, in);
    return ERR_OK;
}
