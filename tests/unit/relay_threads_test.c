/* relay between two real threads: a session on one worker, the handler's link on the other, and an
 * echo handler on a thread of its own. For ThreadSanitizer above all; what it checks is that every
 * message comes back once and in order, and that both workers end. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/relay.h"
#include "base/log.h"
#include "base/mem.h"
#include "dialect/raw.h"
#include "edge/bind.h"
#include "edge/router.h"
#include "harness/fake_carrier.h"
#include "http/http_req.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/mailbox.h"

enum {
    N_WORKERS = 2,
    FAR = 0,
    NEAR = 1,
    N_MESSAGES = 5000,
    N_IN_FLIGHT = 50,
    ANSWER_MS = 60000,
};

struct worker {
    struct kit kit;
    struct loop *loop;
    struct mailbox *mailbox;
    struct binds binds;
    struct binds_opts opts;
    struct session_list all;
    pthread_t thread;
};

static struct worker workers[N_WORKERS];
static atomic_int n_back; /* messages that the client got back in order */
static atomic_bool is_wrong;

/* -- letters ----------------------------------------------------------------------------------- */

struct order {
    struct letter letter;
    void (*run)(struct worker *w, int fd);
    int fd;
};

static void open_order(struct letter *letter, void *ctx)
{
    struct order *order = CONTAINER_OF(letter, struct order, letter);
    order->run(ctx, order->fd);
    mem_free(order);
}

static void burn_order(struct letter *letter)
{
    struct order *order = CONTAINER_OF(letter, struct order, letter);
    if (order->fd >= 0) {
        (void)close(order->fd);
    }
    mem_free(order);
}

static void post(struct worker *to, void (*run)(struct worker *w, int fd), int fd)
{
    struct order *order = MEM_NEW(struct order);
    ASSERT(order != NULL);
    *order =
        (struct order){.letter = {.open = open_order, .burn = burn_order}, .run = run, .fd = fd};
    mailbox_post(to->mailbox, &order->letter);
}

static struct conn *conn_of(struct worker *w, int fd)
{
    static const struct conn_opts opts = {.write_timeout_ms = 10000};
    static const struct conn_peer peer = {.family = AF_UNIX};
    struct conn *conn = NULL;
    ASSERT(conn_create(w->loop, fd, &conn_io_plain, NULL, &opts, &peer, &conn) == ERR_OK);
    return conn;
}

static void accept_handler(struct worker *w, int fd)
{
    binds_accept(&w->binds, conn_of(w, fd));
}

static void accept_relay(struct worker *w, int fd)
{
    binds_accept_relay(&w->binds, conn_of(w, fd));
}

static void stop(struct worker *w, int fd)
{
    (void)fd;
    loop_stop(w->loop);
}

static void spread(void *ctx, unsigned worker, int fd)
{
    (void)ctx;
    post(&workers[worker], accept_relay, fd);
}

/* -- the client -------------------------------------------------------------------------------- */

static struct mount mount;
static struct session *session;
static struct fake_carrier carrier;
static struct transport_ops transport;
static int n_said;

static void say_next(void)
{
    char text[32];
    const char *why = NULL;
    int n = snprintf(text, sizeof text, "message %d", n_said);
    n_said++;
    if (session_receive(session, span_of(text, (size_t)n), true, &why) != ERR_OK) {
        atomic_store(&is_wrong, true);
    }
}

static void on_write(struct carrier *to, const struct frame *frame)
{
    (void)to;
    char want[32];
    int n = snprintf(want, sizeof want, "message %d", atomic_load(&n_back));
    if (!span_eq(frame->bytes, span_of(want, (size_t)n))) {
        atomic_store(&is_wrong, true);
    }
    atomic_fetch_add(&n_back, 1);
    if (n_said < N_MESSAGES) {
        say_next();
    }
}

static void ignore_pause(struct carrier *to, bool is_paused)
{
    (void)to;
    (void)is_paused;
}

static void open_session(struct worker *w, int fd)
{
    static const struct session_opts opts = {.heartbeat_ms = 10000000,
                                             .pong_timeout_ms = 10000,
                                             .disconnect_delay_ms = 5000,
                                             .queue_hard_bytes = 1 << 20,
                                             .queue_soft_bytes = 1 << 20,
                                             .queue_soft_time_ms = 10000};
    static struct http1_head head;
    static const struct conn_peer peer = {.family = AF_UNIX};
    (void)fd;
    const struct http_req req = {.head = &head, .target = {.path = SPAN_LIT("/x")}, .peer = &peer};
    const struct session_birth birth = {.kit = &w->kit,
                                        .opts = &opts,
                                        .dialect = &raw_dialect,
                                        .uplink = &bind_uplink_ops,
                                        .all = &w->all};
    mount = (struct mount){.path = SPAN_LIT("/chat"), .dialect = &raw_dialect};
    transport = fake_duplex;
    transport.write = on_write;
    transport.pause = ignore_pause;
    const struct transport_opts transport_opts = {.ops = &transport};
    ASSERT(session_create(&birth, &session) == ERR_OK);
    ASSERT(bind_session(&w->binds, session, &mount, &transport_opts, SPAN_NONE, &req) == ERR_OK);
    fake_carrier_attach(&carrier, &transport, session, NULL);
    for (int i = 0; i < N_IN_FLIGHT; i++) {
        say_next();
    }
}

static void close_session(struct worker *w, int fd)
{
    (void)w;
    (void)fd;
    fake_carrier_detach(&carrier, DETACH_BYE, 1001, "left");
}

/* -- workers ----------------------------------------------------------------------------------- */

static void *run(void *ctx)
{
    struct worker *w = ctx;
    loop_run(w->loop);
    return NULL;
}

static void start_worker(unsigned id)
{
    struct worker *w = &workers[id];
    kit_init(&w->kit, id, N_WORKERS, (struct hash_key){1, 2}, kit_clock_ms());
    assert_int_equal(loop_create(&w->kit, &w->loop), ERR_OK);
    assert_int_equal(mailbox_create(w->loop, w, &w->mailbox), ERR_OK);
    w->opts = (struct binds_opts){.link = {.max_frame_bytes = 1 << 20,
                                           .window_bytes = 2000,
                                           .timeout_ms = 15000,
                                           .n_workers = N_WORKERS,
                                           .version = "t"},
                                  .grace_ms = 30000,
                                  .pending_bytes = 1 << 20,
                                  .write_timeout_ms = 15000};
    LIST_INIT(&w->all);
    binds_init(&w->binds, &w->kit, &w->opts);
    w->binds.spread = spread;
}

static void stop_worker(unsigned id)
{
    struct worker *w = &workers[id];
    conn_end_all(w->loop);
    mailbox_destroy(w->mailbox);
    binds_fini(&w->binds);
    loop_destroy(w->loop);
    assert_true(LIST_EMPTY(&w->all));
    assert_true(w->kit.counters.links_open == 0);
    assert_true(w->kit.counters.relays_open == 0);
    kit_fini(&w->kit);
}

/* -- the handler ------------------------------------------------------------------------------- */

struct handler {
    int fd;
    struct buf in;
    struct buf out;
    unsigned n_closes;
};

/* Answers what is in `in`, all with one acknowledgement. */
static void answer(struct handler *h)
{
    struct link_verb verb;
    struct fault fault = {0};
    size_t used = 0;
    size_t needed = 0;
    uint64_t number = 0;
    while (buf_len(&h->in) != 0 &&
           link_frame_parse(buf_span(&h->in), 1 << 20, &verb, &used, &needed, &fault) == ERR_OK) {
        if (verb.id == LINK_OPEN || verb.id == LINK_MSG || verb.id == LINK_CLOSE) {
            assert_int_equal(link_arg_u64(verb.args[0], UINT64_MAX, &number), ERR_OK);
        }
        if (verb.id == LINK_MSG) {
            assert_int_equal(buf_printf(&h->out, "MSG %.*s t %zu\n%.*s\n", SPAN_FMT(verb.args[1]),
                                        verb.payload.len, SPAN_FMT(verb.payload)),
                             ERR_OK);
        }
        h->n_closes += verb.id == LINK_CLOSE;
        buf_consume(&h->in, used);
    }
    if (number != 0) {
        assert_int_equal(link_put(&h->out, "ACK", &number, 1, SPAN_NONE), ERR_OK);
    }
}

/* One read, its answers, one write; or a short wait for nothing. */
static void serve(struct handler *h)
{
    struct pollfd look = {.fd = h->fd, .events = POLLIN};
    if (poll(&look, 1, 10) == 0) {
        return;
    }
    char *to = buf_reserve(&h->in, 4096);
    assert_non_null(to);
    ssize_t n = recv(h->fd, to, 4096, 0);
    assert_true(n > 0);
    buf_commit(&h->in, (size_t)n);
    answer(h);
    struct span out = buf_span(&h->out);
    if (out.len != 0) {
        assert_int_equal(send(h->fd, out.ptr, out.len, 0), out.len);
    }
    buf_clear(&h->out);
}

static void every_message_comes_back_from_the_other_thread(void **state)
{
    (void)state;
    int fds[2];
    struct handler h = {0};
    log_set_level(LOG_ERROR);
    buf_init(&h.in, 1 << 20);
    buf_init(&h.out, 1 << 20);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(evutil_make_socket_nonblocking(fds[0]), 0);
    h.fd = fds[1];
    for (unsigned i = 0; i < N_WORKERS; i++) {
        start_worker(i);
    }
    for (unsigned i = 0; i < N_WORKERS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    post(&workers[NEAR], open_session, -1); /* waits for a handler */
    post(&workers[FAR], accept_handler, fds[0]);
    assert_int_equal(send(h.fd, "HELLO 1 2\n{}\n", 13, 0), 13);
    uint64_t end_ms = kit_clock_ms() + ANSWER_MS;
    while (atomic_load(&n_back) < N_MESSAGES && !atomic_load(&is_wrong)) {
        assert_true(kit_clock_ms() < end_ms);
        serve(&h);
    }
    assert_false(atomic_load(&is_wrong));
    post(&workers[NEAR], close_session, -1);
    while (h.n_closes == 0) {
        assert_true(kit_clock_ms() < end_ms);
        serve(&h);
    }
    for (unsigned i = 0; i < N_WORKERS; i++) {
        post(&workers[i], stop, -1);
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    for (unsigned i = 0; i < N_WORKERS; i++) {
        stop_worker(i);
    }
    assert_int_equal(atomic_load(&n_back), N_MESSAGES);
    assert_int_equal(close(h.fd), 0);
    buf_fini(&h.in);
    buf_fini(&h.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_from_the_other_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
