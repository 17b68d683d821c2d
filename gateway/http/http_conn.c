/* http_conn: see http_conn.h. The reading side; http_resp.c is the answering side. */
#include "http/http_conn.h"

#include "base/kit.h"
#include "base/log.h"
#include "http/http_conn_internal.h"
#include "http/http_req.h"
#include "net/conn.h"

static struct kit *kit_of(const struct http_conn *hc)
{
    return hc->server->kit;
}

static void set_deadline(struct http_conn *hc, uint32_t timeout_ms)
{
    hc->phase_start_ms = kit_of(hc)->now_ms;
    timer_arm(&kit_of(hc)->timers, &hc->timer, hc->phase_start_ms + timeout_ms);
}

static void clear_deadline(struct http_conn *hc)
{
    timer_cancel(&kit_of(hc)->timers, &hc->timer);
}

/* -- ends ------------------------------------------------------------------------------------- */

static void reap(struct turn_task *task)
{
    struct http_conn *hc = CONTAINER_OF(task, struct http_conn, task);
    buf_fini(&hc->content);
    mem_pool_put(&hc->server->pool, hc);
}

void http_conn_release(struct http_conn *hc)
{
    if (!hc->is_over) {
        hc->is_over = true;
        clear_deadline(hc);
        turn_cancel(&kit_of(hc)->turn, TURN_WRITE, &hc->task); /* of moving */
        turn_schedule(&kit_of(hc)->turn, TURN_REAP, &hc->task, reap);
    }
}

/* Who hears that an exchange is void: one of the two, and once, for it may free itself then. */
struct waiter {
    http_body_fn *on_body;
    void *body_ctx;
    const struct http_watch *watch;
    void *watch_ctx;
};

static struct waiter take_waiter(struct http_conn *hc)
{
    struct waiter waiter = {hc->on_body, hc->on_body_ctx, hc->watch, hc->watch_ctx};
    hc->on_body = NULL;
    hc->watch = NULL;
    return waiter;
}

static void tell_void(const struct waiter *waiter)
{
    if (waiter->on_body != NULL) {
        waiter->on_body(waiter->body_ctx, ERR_GONE, SPAN_NONE);
    } else if (waiter->watch != NULL) {
        waiter->watch->on_gone(waiter->watch_ctx);
    }
}

/* The peer cannot be answered any more: tell whoever waits. */
static void tell_gone(struct http_conn *hc)
{
    struct waiter waiter = take_waiter(hc);
    http_conn_release(hc);
    tell_void(&waiter);
}

void http_conn_lose(struct http_conn *hc)
{
    conn_abort(hc->conn);
    tell_gone(hc);
}

static void close_politely(struct http_conn *hc)
{
    conn_close(hc->conn);
    http_conn_release(hc);
}

void http_conn_refuse(struct http_conn *hc, unsigned status, struct span why)
{
    if (hc->is_over) {
        return;
    }
    kit_of(hc)->counters.requests_refused++;
    hc->keep_alive = false;
    hc->input = INPUT_DONE;
    /* The body may be half read, or read over behind an answer that is still pending. */
    struct waiter waiter = take_waiter(hc);
    if (hc->answer == ANSWER_NONE) {
        http_resp_text(http_resp_of(hc), status, why);
    } else {
        close_politely(hc);
    }
    tell_void(&waiter);
}

/* -- body ------------------------------------------------------------------------------------- */

static void body_done(struct http_conn *hc, struct span content)
{
    http_body_fn *on_body = hc->on_body;
    hc->on_body = NULL;
    hc->input = INPUT_DONE;
    clear_deadline(hc);
    if (on_body != NULL) {
        on_body(hc->on_body_ctx, ERR_OK, content);
    }
    buf_fini(&hc->content);
}

/* Takes body bytes from the front of `in`; returns how many. */
static size_t take_body(struct http_conn *hc, struct span in)
{
    size_t used = 0;
    while (!http1_body_is_done(&hc->body) && used < in.len) {
        size_t n = 0;
        struct span content = SPAN_NONE;
        struct fault fault = {0};
        enum err e = http1_body_feed(&hc->body, span_skip(in, used), &n, &content, &fault);
        if (e != ERR_OK) {
            bool is_big = e == ERR_LIMIT;
            http_conn_refuse(hc, is_big ? 413 : 400,
                             is_big
                                 ? SPAN_LIT("The request body is larger than this server allows.\n")
                                 : SPAN_LIT("The chunked request body is malformed.\n"));
            return in.len;
        }
        used += n;
        hc->n_body_bytes += content.len; /* the framing of tiny chunks earns no time */
        bool is_whole = http1_body_is_done(&hc->body) && buf_len(&hc->content) == 0;
        if (hc->input == INPUT_BODY && is_whole) {
            body_done(hc, content); /* came in one piece: no copy */
            return used;
        }
        if (hc->input == INPUT_BODY && buf_append_span(&hc->content, content) != ERR_OK) {
            kit_of(hc)->counters.out_of_memory++;
            http_conn_refuse(hc, 503, SPAN_LIT("Out of memory.\n"));
            return in.len;
        }
        if (n == 0) {
            break;
        }
    }
    if (http1_body_is_done(&hc->body) && hc->input != INPUT_DONE) {
        body_done(hc, buf_span(&hc->content));
    }
    return used;
}

void http_resp_read_body(struct http_resp *resp, uint64_t max_bytes, http_body_fn *on_body,
                         void *ctx)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->input == INPUT_REQUEST && on_body != NULL);
    hc->on_body = on_body;
    hc->on_body_ctx = ctx;
    hc->input = INPUT_BODY;
    if (http1_body_is_done(&hc->body)) {
        body_done(hc, SPAN_NONE);
        return;
    }
    if (hc->body.left > max_bytes) {
        http_conn_refuse(hc, 413,
                         SPAN_LIT("The request body is larger than this server allows.\n"));
        return;
    }
    hc->body.max = max_bytes;
    buf_fini(&hc->content);
    buf_init(&hc->content, max_bytes + 1 < (1U << 31) ? max_bytes + 1 : (1U << 31));
    set_deadline(hc, hc->server->opts.body_timeout_ms);
    if (hc->expects_100) {
        hc->expects_100 = false; /* from now on the body is sure to come */
        if (conn_write(hc->conn, SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n")) != ERR_OK) {
            http_conn_refuse(hc, 503, SPAN_LIT("Out of memory.\n"));
        }
    }
}

bool http_conn_can_drain(const struct http_conn *hc)
{
    return http1_body_is_done(&hc->body) ||
           (!hc->expects_100 && hc->body.left <= HTTP_DRAIN_BODY_BYTES);
}

/* Nobody asked for the body: read over it so that the connection can go on, unless that is not
 * worth it. */
static void drain_body(struct http_conn *hc)
{
    if (http1_body_is_done(&hc->body) || !http_conn_can_drain(hc)) {
        hc->keep_alive = hc->keep_alive && http1_body_is_done(&hc->body);
        hc->input = INPUT_DONE;
        return;
    }
    hc->body.max = HTTP_DRAIN_BODY_BYTES;
    hc->input = INPUT_DRAIN;
    set_deadline(hc, hc->server->opts.body_timeout_ms);
}

/* -- head ------------------------------------------------------------------------------------- */

static void reset_request(struct http_conn *hc)
{
    hc->scanned = 0;
    hc->answer = ANSWER_NONE;
    hc->input = INPUT_IDLE;
    hc->minor = 1; /* for a refusal before the version is known */
    hc->was_moved = false;
    hc->is_head_method = false;
    hc->n_body_bytes = 0;
    hc->watch = NULL;
    hc->on_body = NULL;
}

static void refuse_head(struct http_conn *hc, const struct http1_fault *fault)
{
    char quoted[LOG_QUOTED_BYTES];
    LOG(LOG_DEBUG, "request refused", "status=%u why=%s", fault->status,
        log_quoted(span_str(fault->why), quoted));
    http_conn_refuse(hc, fault->status, span_str(fault->why));
}

/* Hands a whole head to the handler. Returns false when the connection moves: another worker will
 * parse it again, and count it. */
static bool dispatch(struct http_conn *hc, struct http_req *req)
{
    const struct http1_head *head = req->head;
    clear_deadline(hc);
    hc->minor = head->minor;
    hc->keep_alive = head->keep_alive;
    hc->is_head_method = head->method == HTTP_HEAD;
    hc->expects_100 = head->expects_100;
    hc->input = INPUT_REQUEST;
    if (http1_body_init(&hc->body, head->framing, head->content_length, UINT64_MAX) != ERR_OK) {
        http_conn_refuse(hc, 413, SPAN_LIT("The request body is too large.\n"));
        return true;
    }
    hc->server->on_request(hc->server->ctx, req);
    if (hc->input == INPUT_MOVING) {
        return false;
    }
    kit_of(hc)->counters.requests++;
    if (!hc->is_over && hc->input == INPUT_REQUEST) {
        drain_body(hc);
    }
    return true;
}

/* RFC 9112 2.2: an empty line before a request is no part of it. Old clients send one behind a
 * body; the connection is still idle then. */
static bool is_stray_line(struct span in)
{
    return span_starts_with(SPAN_LIT("\r\n"), in);
}

/* Some of it is there. */
static void begin_head(struct http_conn *hc)
{
    if (hc->input == INPUT_IDLE) {
        hc->input = INPUT_HEAD;
        set_deadline(hc, hc->server->opts.head_timeout_ms);
    }
}

/* Parses a head at the start of `in` and dispatches it. Returns the bytes used, 0 = more are
 * needed. */
static size_t take_head(struct http_conn *hc, struct span in)
{
    struct http_server *server = hc->server;
    struct http1_head *head = &server->head;
    struct http1_fault fault = {0};
    size_t head_bytes = 0;
    enum err e =
        http1_request_parse(in, &server->opts.limits, &hc->scanned, head, &head_bytes, &fault);
    if (e == ERR_AGAIN) {
        if (!is_stray_line(in)) {
            begin_head(hc);
        }
        return 0;
    }
    struct http_req req = {.head = head,
                           .peer = &hc->conn->peer,
                           .is_tls = hc->conn->io->is_tls,
                           .resp = http_resp_of(hc)};
    struct fault target_fault = {0};
    if (e == ERR_OK &&
        url_split(head->method_name, head->target, &req.target, &target_fault) != ERR_OK) {
        fault = (struct http1_fault){400, target_fault.offset, target_fault.why};
        e = ERR_SYNTAX;
    }
    if (e != ERR_OK) {
        refuse_head(hc, &fault);
        return in.len;
    }
    return dispatch(hc, &req) ? head_bytes : 0;
}

/* -- another protocol ------------------------------------------------------------------------- */

/* Whether the first bytes of the connection are, or may become, the preface's request. */
static bool may_be_preface(struct http_conn *hc, struct span in)
{
    if (hc->preface == NULL) {
        return false;
    }
    struct span request = hc->preface->request;
    size_t n = in.len < request.len ? in.len : request.len;
    if (memcmp(in.ptr, request.ptr, n) != 0) {
        hc->preface = NULL;
    }
    return hc->preface != NULL;
}

/* Returns the bytes used, 0 = more are needed. */
static size_t take_preface(struct http_conn *hc, struct span in)
{
    if (in.len < hc->preface->request.len) {
        begin_head(hc);
        return 0;
    }
    if (conn_write(hc->conn, hc->preface->answer) != ERR_OK) {
        kit_of(hc)->counters.out_of_memory++;
    }
    close_politely(hc);
    return in.len;
}

/* -- connection ------------------------------------------------------------------------------- */

static bool is_complete(const struct http_conn *hc)
{
    return hc->input == INPUT_DONE && hc->answer == ANSWER_DONE;
}

/* Both sides of an exchange are done: make ready for the next one. Returns false when that was the
 * last. */
static bool next_request(struct http_conn *hc)
{
    if (!hc->keep_alive) {
        close_politely(hc);
        return false;
    }
    reset_request(hc);
    set_deadline(hc, hc->server->opts.keepalive_timeout_ms);
    return true;
}

/* Answers that the peer does not read must not pile up: 64 KiB of tiny pipelined requests may ask
 * for a thousand times as much. Its write stall is the deadline meanwhile. */
static void wait_for_room(struct http_conn *hc)
{
    hc->is_paused = true;
    conn_pause(hc->conn);
    clear_deadline(hc);
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct http_conn *hc = owner;
    size_t used = 0;
    hc->is_reading = true;
    while (!hc->is_over && used < len) {
        struct span rest = span_of(bytes + used, len - used);
        size_t n = 0;
        if (hc->input == INPUT_IDLE && conn_room(hc->conn) == 0) {
            wait_for_room(hc);
        } else if (hc->input == INPUT_IDLE || hc->input == INPUT_HEAD) {
            n = may_be_preface(hc, rest) ? take_preface(hc, rest) : take_head(hc, rest);
        } else if (hc->input == INPUT_BODY || hc->input == INPUT_DRAIN) {
            n = take_body(hc, rest);
        } else if (rest.len > HTTP_PIPELINE_BYTES) {
            hc->is_paused = true;
            conn_pause(hc->conn);
        }
        used += n;
        if (!hc->is_over && is_complete(hc)) {
            if (!next_request(hc)) {
                used = len;
            }
        } else if (n == 0) {
            break;
        }
    }
    hc->is_reading = false;
    return used;
}

/* What lies unread is kept in the connection by the time of the turn's end, when it goes, or when
 * earlier answers have left, under their write stall. on_gone tells of one that cannot go. */
static void move_when_drained(struct http_conn *hc)
{
    struct http_server *server = hc->server;
    struct conn_parcel parcel;
    if (conn_is_drained(hc->conn) && conn_detach(hc->conn, &parcel) == ERR_OK) {
        unsigned worker = hc->move_to;
        http_conn_release(hc);
        server->on_move(server->move_ctx, &parcel, worker);
    }
}

static void at_turn_end(struct turn_task *task)
{
    struct http_conn *hc = CONTAINER_OF(task, struct http_conn, task);
    move_when_drained(hc);
    if (!hc->is_over) {
        conn_pause(hc->conn);
    }
}

void http_conn_move(struct http_conn *hc)
{
    hc->input = INPUT_MOVING;
    hc->is_paused = true;
    conn_hold(hc->conn); /* it is nearly always gone by the end of this turn */
    turn_schedule(&kit_of(hc)->turn, TURN_WRITE, &hc->task, at_turn_end);
}

static void resume(struct http_conn *hc)
{
    if (hc->is_paused) {
        hc->is_paused = false;
        conn_resume(hc->conn);
    }
}

void http_conn_answered(struct http_conn *hc)
{
    if (hc->input == INPUT_BODY && !hc->is_over) {
        /* Answered without waiting for the body: nobody may be called with it any more. */
        hc->on_body = NULL;
        buf_fini(&hc->content);
        drain_body(hc);
    }
    if (hc->is_over || hc->is_reading || !is_complete(hc)) {
        return;
    }
    if (next_request(hc)) {
        resume(hc);
        conn_redeliver(hc->conn);
    }
}

static void on_eof(void *owner)
{
    struct http_conn *hc = owner;
    conn_close(hc->conn);
    tell_gone(hc);
}

static void on_drained(void *owner)
{
    struct http_conn *hc = owner;
    if (hc->input == INPUT_IDLE && hc->is_paused) {
        set_deadline(hc, hc->server->opts.keepalive_timeout_ms);
        resume(hc);
    } else if (hc->input == INPUT_MOVING) {
        move_when_drained(hc);
    } else if (hc->watch != NULL && hc->watch->on_room != NULL) {
        hc->watch->on_room(hc->watch_ctx);
    }
}

static void on_gone(void *owner, enum err why)
{
    (void)why;
    tell_gone(owner);
}

static const struct octets_ops http_octets_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

static void on_deadline(struct timer *timer)
{
    struct http_conn *hc = CONTAINER_OF(timer, struct http_conn, timer);
    const struct http_opts *opts = &hc->server->opts;
    switch ((enum http_input)hc->input) {
    case INPUT_BODY:
    case INPUT_DRAIN: {
        uint64_t earned_ms = hc->n_body_bytes * 1000 / opts->min_rate_bytes_per_s;
        uint64_t deadline_ms = hc->phase_start_ms + opts->body_timeout_ms + earned_ms;
        if (kit_of(hc)->now_ms < deadline_ms) {
            timer_arm(&kit_of(hc)->timers, &hc->timer, deadline_ms);
            return;
        }
        http_conn_refuse(hc, 408, SPAN_LIT("The request body came too slowly.\n"));
        return;
    }
    case INPUT_HEAD:
        http_conn_refuse(hc, 408, SPAN_LIT("The request head came too slowly.\n"));
        return;
    case INPUT_IDLE:
    case INPUT_REQUEST:
    case INPUT_MOVING:
    case INPUT_DONE:
        break;
    }
    close_politely(hc);
}

enum err http_conn_create(struct http_server *server, struct conn *conn)
{
    return http_conn_create_with_preface(server, conn, NULL);
}

enum err http_conn_create_with_preface(struct http_server *server, struct conn *conn,
                                       const struct http_preface *preface)
{
    struct http_conn *hc = mem_pool_get(&server->pool);
    if (hc == NULL) {
        server->kit->counters.out_of_memory++;
        conn_abort(conn);
        return ERR_NOMEM;
    }
    hc->server = server;
    hc->conn = conn;
    hc->preface = preface;
    timer_init(&hc->timer, on_deadline);
    buf_init(&hc->content, 1);
    reset_request(hc);
    hc->was_moved = conn->was_moved;
    set_deadline(hc, server->opts.head_timeout_ms);
    conn_set_owner(conn, &http_octets_ops, hc);
    return ERR_OK;
}

void http_server_init(struct http_server *server, struct kit *kit, const struct http_opts *opts,
                      void (*on_request)(void *ctx, struct http_req *req), void *ctx)
{
    *server = (struct http_server){.kit = kit, .opts = *opts, .on_request = on_request, .ctx = ctx};
    mem_pool_init(&server->pool, sizeof(struct http_conn), 1024);
}

void http_server_fini(struct http_server *server)
{
    mem_pool_fini(&server->pool);
}
