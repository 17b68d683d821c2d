/*
 * move_threads: connections between workers as the server has them: a thread, a loop, a mailbox and
 * an http_server each, and parcels in letters. Plain and TLS, requests that go to and fro, several
 * clients at once, letters that nobody opens. Meant for ThreadSanitizer too.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/kit.h"
#include "base/mem.h"
#include "base/rand.h"
#include "harness/test.h"
#include "harness/tls_client.h"
#include "http/http_conn.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/peers.h"
#include "net/tls.h"

enum {
    N_WORKERS = 2,
    N_CLIENTS = 4,
    N_REQUESTS = 60, /* of each client */
    PATIENCE_S = 60, /* how long a client waits before it calls the test failed */
};

/* -- workers ------------------------------------------------------------------------------------
 */

struct worker {
    struct kit kit;
    struct loop *loop;
    struct mailbox *mailbox;
    struct http_server http;
    struct tls_server *tls;
    pthread_t thread;
    bool runs;
};

static struct worker workers[N_WORKERS];
static struct peers *peers;
static struct tls_files files;
static struct conn_io one_request_io; /* TLS that reads a request at a time: the rest is pending */

struct moving {
    struct letter letter;
    struct conn_parcel parcel;
};

static void open_moving(struct letter *letter, void *ctx)
{
    struct worker *w = ctx;
    struct moving *moving = CONTAINER_OF(letter, struct moving, letter);
    struct conn *conn = NULL;
    if (conn_adopt(w->loop, &moving->parcel, &conn) == ERR_OK) {
        (void)!http_conn_create(&w->http, conn);
    }
    free(moving);
}

static void burn_moving(struct letter *letter)
{
    struct moving *moving = CONTAINER_OF(letter, struct moving, letter);
    conn_parcel_drop(&moving->parcel);
    free(moving);
}

static void on_move(void *ctx, struct conn_parcel *parcel, unsigned worker)
{
    (void)ctx;
    struct moving *moving = malloc(sizeof *moving);
    if (moving == NULL) {
        abort();
    }
    *moving = (struct moving){{.open = open_moving, .burn = burn_moving}, *parcel};
    mailbox_post(workers[worker].mailbox, &moving->letter);
}

/* A new connection, and the end, come as letters too. */
struct errand {
    struct letter letter;
    int fd; /* -1: stop */
    bool is_tls;
};

static const struct conn_peer address = {.family = AF_INET6};

static void open_errand(struct letter *letter, void *ctx)
{
    struct worker *w = ctx;
    struct errand *errand = CONTAINER_OF(letter, struct errand, letter);
    const struct conn_opts opts = {.write_timeout_ms = 30000, .peers = peers};
    struct conn *conn = NULL;
    if (errand->fd < 0) {
        loop_stop(w->loop);
    } else if (peers_enter(peers, &address) != ERR_OK) {
        abort();
    } else {
        void *ssl = errand->is_tls ? tls_accept(w->tls, errand->fd) : NULL;
        const struct conn_io *io = errand->is_tls ? &one_request_io : &conn_io_plain;
        if (conn_create(w->loop, errand->fd, io, ssl, &opts, &address, &conn) == ERR_OK) {
            (void)!http_conn_create(&w->http, conn);
        }
    }
    free(errand);
}

static void burn_errand(struct letter *letter)
{
    struct errand *errand = CONTAINER_OF(letter, struct errand, letter);
    if (errand->fd >= 0) {
        (void)close(errand->fd);
    }
    free(errand);
}

static void send_errand(unsigned worker, int fd, bool is_tls)
{
    struct errand *errand = malloc(sizeof *errand);
    if (errand == NULL) {
        abort();
    }
    *errand = (struct errand){{.open = open_errand, .burn = burn_errand}, fd, is_tls};
    mailbox_post(workers[worker].mailbox, &errand->letter);
}

static void on_body(void *ctx, enum err e, struct span body)
{
    if (e == ERR_OK) {
        http_resp_start(ctx, 200);
        http_resp_finish(ctx, body);
    }
}

/* "/W": worker W answers with what it got. */
static void on_request(void *ctx, struct http_req *req)
{
    struct worker *w = ctx;
    unsigned owner = (unsigned)(req->target.path.ptr[1] - '0');
    if (owner != w->kit.id) {
        http_resp_move(req->resp, owner);
    } else {
        http_resp_read_body(req->resp, 1000, on_body, req->resp);
    }
}

#define HEAD_OF(worker)                                                                            \
    "POST /" worker " HTTP/1.1\r\nHost: a\r\nContent-Length: " BODY_LEN "\r\n\r\n"
#define BODY_LEN "06"

enum {
    BODY_BYTES = 6,
    REQUEST_BYTES = sizeof HEAD_OF("0") - 1 + BODY_BYTES, /* all are of one length */
};

/* One request a read, so that what is pipelined behind it stays inside the SSL. */
static ssize_t read_one_request(struct conn *conn, char *bytes, size_t len)
{
    return conn_io_tls.read(conn, bytes, len < REQUEST_BYTES ? len : REQUEST_BYTES);
}

static void start_worker(unsigned id, const struct tls_ticket_keys *keys)
{
    static const struct http_opts opts = {.limits = {16384, 8192, 100},
                                          .head_timeout_ms = 60000,
                                          .body_timeout_ms = 60000,
                                          .keepalive_timeout_ms = 60000,
                                          .min_rate_bytes_per_s = 1};
    struct worker *w = &workers[id];
    char why[TLS_WHY_BYTES];
    *w = (struct worker){.runs = false};
    kit_init(&w->kit, id, N_WORKERS, (struct hash_key){1, 2}, kit_clock_ms());
    http_server_init(&w->http, &w->kit, &opts, on_request, w);
    w->http.on_move = on_move;
    assert_int_equal(loop_create(&w->kit, &w->loop), ERR_OK);
    assert_int_equal(mailbox_create(w->loop, w, &w->mailbox), ERR_OK);
    assert_int_equal(tls_server_create(files.cert, files.key, keys, &w->tls, why), ERR_OK);
}

static void *run(void *ctx)
{
    struct worker *w = ctx;
    loop_run(w->loop);
    tls_thread_stop(w->tls);
    return NULL;
}

static void run_worker(unsigned id)
{
    assert_int_equal(pthread_create(&workers[id].thread, NULL, run, &workers[id]), 0);
    workers[id].runs = true;
}

static int start(void **state)
{
    (void)state;
    struct tls_ticket_keys keys;
    struct rand rand = {.left = 0};
    const struct peers_limits limits = {0, N_CLIENTS};
    rand_bytes(&rand, &keys, sizeof keys);
    tls_files_make(&files);
    one_request_io = conn_io_tls;
    one_request_io.read = read_one_request;
    assert_int_equal(peers_create(&limits, &peers), ERR_OK);
    for (unsigned i = 0; i < N_WORKERS; i++) {
        start_worker(i, &keys);
    }
    return 0;
}

static void join_workers(void)
{
    for (unsigned i = 0; i < N_WORKERS; i++) {
        if (workers[i].runs) {
            send_errand(i, -1, false);
            assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
            workers[i].runs = false;
        }
    }
}

static int stop(void **state)
{
    (void)state;
    join_workers();
    for (unsigned i = 0; i < N_WORKERS; i++) {
        conn_end_all(workers[i].loop);
        mailbox_destroy(workers[i].mailbox);
        loop_destroy(workers[i].loop);
        assert_int_equal(workers[i].kit.counters.connections_open, 0);
        http_server_fini(&workers[i].http);
        kit_fini(&workers[i].kit);
    }
    for (unsigned i = 0; i < N_WORKERS; i++) {
        tls_server_destroy(workers[i].tls); /* SSLs of the one ended on the other */
    }
    assert_int_equal(peers_total(peers), 0);
    peers_destroy(peers);
    tls_files_remove(&files);
    return 0;
}

/* -- clients ------------------------------------------------------------------------------------
 */

struct client {
    pthread_t thread;
    unsigned id;
    int fd;
    int tls_version; /* 0 = plain */
    bool is_right;
    struct tls_client tls;
    char got[N_REQUESTS * 256];
    size_t n_got;
};

static struct client clients[N_CLIENTS];

static void connect_client(struct client *client, unsigned worker)
{
    int fds[2];
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    client->fd = fds[1];
    client->n_got = 0;
    if (client->tls_version != 0) {
        tls_client_init(&client->tls, client->fd, client->tls_version);
    }
    send_errand(worker, fds[0], client->tls_version != 0);
}

static void disconnect_client(struct client *client)
{
    if (client->tls_version != 0) {
        tls_client_fini(&client->tls);
    }
    (void)close(client->fd);
}

static bool client_send(struct client *client, const char *bytes, size_t len)
{
    if (client->tls_version != 0) {
        return SSL_write(client->tls.ssl, bytes, (int)len) == (int)len;
    }
    return send(client->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Reads until `n` answers are there. */
static bool client_receive(struct client *client, unsigned n)
{
    for (;;) {
        unsigned n_there = 0;
        client->got[client->n_got] = '\0';
        for (const char *at = client->got; (at = strstr(at, "\r\n\r\n")) != NULL; at++) {
            n_there += strlen(at) >= 4 + BODY_BYTES;
        }
        if (n_there >= n) {
            return true;
        }
        char *to = client->got + client->n_got;
        size_t room = sizeof client->got - 1 - client->n_got;
        ssize_t len = client->tls_version != 0 ? SSL_read(client->tls.ssl, to, (int)room)
                                               : recv(client->fd, to, room, 0);
        if (len <= 0) {
            return false;
        }
        client->n_got += (size_t)len;
    }
}

/* Whether the bodies are those of requests `first` to `first + n - 1`, in order. */
static bool has_bodies(const struct client *client, unsigned first, unsigned n)
{
    const char *at = client->got;
    char want[16];
    for (unsigned i = first; i < first + n; i++) {
        at = strstr(at, "\r\n\r\n");
        (void)snprintf(want, sizeof want, "\r\n\r\n%u:%04u", client->id, i);
        if (at == NULL || strncmp(at, want, 4 + BODY_BYTES) != 0) {
            return false;
        }
        at += 4;
    }
    return true;
}

static size_t put_request(char *out, size_t room, unsigned worker, unsigned client, unsigned i)
{
    int n = snprintf(out, room, HEAD_OF("%u") "%u:%04u", worker, client, i);
    if (n != REQUEST_BYTES) {
        abort();
    }
    return (size_t)n;
}

/* Requests for both workers in turn and at random: one at a time, in bundles, and cut in two. */
static bool ask_all(struct client *client)
{
    char text[N_REQUESTS * 80];
    struct test_random random = {client->id + 1};
    for (unsigned i = 0; i < N_REQUESTS;) {
        unsigned n = (unsigned)test_below(&random, 5) + 1;
        n = n < N_REQUESTS - i ? n : N_REQUESTS - i;
        size_t len = 0;
        for (unsigned k = 0; k < n; k++) {
            unsigned worker = (unsigned)test_below(&random, N_WORKERS);
            len += put_request(text + len, sizeof text - len, worker, client->id, i + k);
        }
        size_t cut = test_below(&random, 2) == 0 ? len : test_below(&random, len - 1) + 1;
        client->n_got = 0;
        if (!client_send(client, text, cut) ||
            (cut != len && !client_send(client, text + cut, len - cut)) ||
            !client_receive(client, n) || !has_bodies(client, i, n)) {
            return false;
        }
        i += n;
    }
    return true;
}

static void *be_client(void *ctx)
{
    struct client *client = ctx;
    client->is_right = ask_all(client);
    return NULL;
}

/* -- tests --------------------------------------------------------------------------------------
 */

static void ask_for_all(int tls_version)
{
    for (unsigned i = 0; i < N_WORKERS; i++) {
        run_worker(i);
    }
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        clients[i] = (struct client){.id = i, .tls_version = tls_version};
        connect_client(&clients[i], i % N_WORKERS);
        assert_int_equal(pthread_create(&clients[i].thread, NULL, be_client, &clients[i]), 0);
    }
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_true(clients[i].is_right);
        disconnect_client(&clients[i]);
    }
    join_workers();
    uint64_t n_requests = 0;
    for (unsigned i = 0; i < N_WORKERS; i++) {
        n_requests += workers[i].kit.counters.requests;
        assert_in_range(workers[i].kit.counters.connections_moved, 1, N_CLIENTS * N_REQUESTS);
    }
    assert_true(n_requests == N_CLIENTS * N_REQUESTS);
}

static void plain_connections_go_to_and_fro(void **state)
{
    (void)state;
    ask_for_all(0);
}

static void tls13_connections_go_to_and_fro(void **state)
{
    (void)state;
    ask_for_all(TLS1_3_VERSION);
}

static void tls12_connections_go_to_and_fro(void **state)
{
    (void)state;
    ask_for_all(TLS1_2_VERSION);
}

/* Both workers by hand, in this thread, as far as they go. */
static void both_run(void)
{
    for (int i = 0; i < 20; i++) {
        loop_run_once(workers[0].loop, false);
        loop_run_once(workers[1].loop, false);
    }
}

/* The client's handshake, with the workers' turns in between. */
static void greet(struct client *client)
{
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 20 && SSL_connect(client->tls.ssl) != 1; i++) {
        both_run();
    }
    assert_true(SSL_is_init_finished(client->tls.ssl));
    both_run();
}

/* The second request never raises an event: when the first moves it has been taken from the
 * descriptor, and lies decrypted in the SSL. */
static void what_lies_in_the_ssl_is_served(void **state)
{
    (void)state;
    struct client *client = &clients[0];
    char text[256];
    *client = (struct client){.tls_version = TLS1_3_VERSION};
    connect_client(client, 0);
    greet(client);
    size_t len = put_request(text, sizeof text, 1, 0, 0);
    len += put_request(text + len, sizeof text - len, 1, 0, 1);
    assert_true(client_send(client, text, len)); /* one record */
    both_run();
    assert_true(client_receive(client, 2));
    assert_true(has_bodies(client, 0, 2));
    assert_int_equal(workers[1].kit.counters.requests, 2);
    assert_int_equal(workers[1].kit.counters.connections_moved, 1);
    disconnect_client(client);
}

/* A worker that ends with letters unread closes what is in them. */
static void connections_on_the_way_end_with_the_mailbox(void **state)
{
    (void)state;
    struct client *client = &clients[0];
    char text[256];
    char byte = 0;
    *client = (struct client){.tls_version = 0};
    connect_client(client, 0);
    assert_true(client_send(client, text, put_request(text, sizeof text, 1, 0, 0)));
    for (int i = 0; i < 3; i++) {
        loop_run_once(workers[0].loop, false);
    }
    assert_int_equal(workers[0].kit.counters.connections_open, 0);
    assert_int_equal(peers_total(peers), 1);
    (void)stop(NULL);
    assert_int_equal(recv(client->fd, &byte, 1, 0), 0);
    disconnect_client(client);
    (void)start(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(plain_connections_go_to_and_fro),
        TEST(tls13_connections_go_to_and_fro),
        TEST(tls12_connections_go_to_and_fro),
        TEST(what_lies_in_the_ssl_is_served),
        TEST(connections_on_the_way_end_with_the_mailbox),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the supervisor does: OpenSSL writes with write(2) */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
