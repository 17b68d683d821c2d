/* stage: see stage.h. */
#include "fault/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/kit.h"
#include "fault/fault.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/peers.h"
#include "net/tls.h"
#include "server/compose.h"
#include "server/config.h"
#include "server/worker.h"

enum {
    QUIET_TURNS = 2,   /* turns without progress before the clock goes on */
    MAX_TURNS = 20000, /* of one wait: a loop that spins is a hang */
    TCP_REST_US = 500, /* the kernel may deliver over the loopback a little later */
    LEAST_PASS_MS = 1,
    MOST_PASS_MS = 500,
};

/* -- home ------------------------------------------------------------------------------------- */

static bool write_pem(const char *path, EVP_PKEY *key, X509 *certificate)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    int good = certificate != NULL ? PEM_write_X509(file, certificate)
                                   : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    return fclose(file) == 0 && good == 1;
}

static bool make_certificate(const struct stage_home *home)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    bool is_good = key != NULL && x509 != NULL;
    if (is_good) {
        X509_NAME *name = X509_get_subject_name(x509);
        (void)ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
        (void)X509_gmtime_adj(X509_getm_notBefore(x509), 0);
        (void)X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
        (void)X509_set_pubkey(x509, key);
        (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                         (const unsigned char *)"localhost", -1, -1, 0);
        (void)X509_set_issuer_name(x509, name);
        is_good = X509_sign(x509, key, EVP_sha256()) != 0 && write_pem(home->key, key, NULL) &&
                  write_pem(home->cert, key, x509);
    }
    X509_free(x509);
    EVP_PKEY_free(key);
    return is_good;
}

bool stage_home_create(struct stage_home *home)
{
    (void)snprintf(home->folder, sizeof home->folder, "/tmp/postern-fault-XXXXXX");
    if (mkdtemp(home->folder) == NULL) {
        return false;
    }
    (void)snprintf(home->handlers, sizeof home->handlers, "%s/handlers", home->folder);
    (void)snprintf(home->plain, sizeof home->plain, "%s/plain", home->folder);
    (void)snprintf(home->tls, sizeof home->tls, "%s/tls", home->folder);
    (void)snprintf(home->cert, sizeof home->cert, "%s/cert.pem", home->folder);
    (void)snprintf(home->key, sizeof home->key, "%s/key.pem", home->folder);
    return make_certificate(home);
}

void stage_home_destroy(const struct stage_home *home)
{
    (void)unlink(home->handlers);
    (void)unlink(home->plain);
    (void)unlink(home->tls);
    (void)unlink(home->cert);
    (void)unlink(home->key);
    (void)rmdir(home->folder);
}

/* -- start ------------------------------------------------------------------------------------ */

static const char config_text[] =
    "{\"listen\": \"127.0.0.1:0\", \"handlers\": {\"socket\": \"handlers.sock\"},\n"
    " \"log\": {\"level\": \"error\"}, \"mounts\": [\n"
    "  {\"path\": \"/s\", \"origins\": [\"*\"], \"cookie\": true, \"dialects\": [\"sockjs\", "
    "\"raw\"]},\n"
    "  {\"path\": \"/z\", \"origins\": [\"*\"], \"dialects\": [\"sockjs\", \"raw\"], "
    "\"deflate\": true, "
    "\"deflate_takeover\": true, \"deflate_threshold\": 0},\n"
    "  {\"path\": \"/wait\", \"origins\": [\"*\"], \"accept\": \"handler\", "
    "\"subprotocols\": [\"test\"]}]}";

static enum err load_config(struct stage *s)
{
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    enum err e = config_parse("fault", span_str(config_text), NULL, &s->config, &report);
    if (e == ERR_CONFIG && !fault_has_struck()) {
        (void)printf("%.*s\n", SPAN_FMT(buf_span(&report)));
    }
    buf_fini(&report);
    return e;
}

static enum err load_tls(struct stage *s)
{
    static const struct tls_ticket_keys keys = {{1}};
    char why[TLS_WHY_BYTES];
    return tls_server_create(s->home->cert, s->home->key, &keys, &s->tls, why);
}

static enum err start_worker(struct stage *s)
{
    int plain[2] = {-1, -1};
    int tls = -1;
    int handlers = -1;
    enum err e = listener_bind_unix(s->home->handlers, 0600, &handlers);
    if (e == ERR_OK) {
        e = listener_bind_unix(s->home->plain, 0600, &plain[0]);
    }
    if (e == ERR_OK) {
        e = listener_bind_tcp(SPAN_LIT("127.0.0.1:0"), &plain[1], 1);
    }
    if (e == ERR_OK && s->tls != NULL) {
        e = listener_bind_unix(s->home->tls, 0600, &tls);
    }
    if (e != ERR_OK) {
        const int all[] = {plain[0], plain[1], tls, handlers};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            if (all[i] >= 0) {
                (void)close(all[i]);
            }
        }
        return e;
    }
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;
    (void)getsockname(plain[1], (struct sockaddr *)&addr, &len);
    s->port = ntohs(addr.sin_port);
    const struct worker_birth birth = {.n_workers = 1,
                                       .all = &s->worker,
                                       .peers = s->peers,
                                       .composed = s->composed,
                                       .listen_fds = plain,
                                       .n_listen_fds = 2,
                                       .tls_fds = &tls,
                                       .n_tls_fds = s->tls != NULL,
                                       .tls = s->tls != NULL ? &s->tls : NULL,
                                       .handlers_fd = handlers};
    return worker_create(&birth, &s->worker);
}

static void release(struct stage *s)
{
    if (s->worker != NULL) {
        worker_destroy(s->worker);
    }
    if (s->tls != NULL) {
        tls_server_destroy(s->tls);
    }
    if (s->peers != NULL) {
        ASSERT(peers_total(s->peers) == 0); /* whoever was counted in has left */
        peers_destroy(s->peers);
    }
    if (s->composed != NULL) {
        compose_destroy(s->composed);
    }
    config_destroy(s->config);
}

enum err stage_open(struct stage *s, const struct stage_home *home, bool has_tls, bool is_inside)
{
    *s = (struct stage){.home = home};
    if (is_inside) {
        fault_enter();
    }
    enum err e = load_config(s);
    if (e == ERR_OK) {
        e = compose_create(s->config, &s->composed);
    }
    if (e == ERR_OK) {
        e = peers_create(&(struct peers_limits){.max_total = 1000}, &s->peers);
    }
    if (e == ERR_OK && has_tls) {
        e = load_tls(s);
    }
    if (e == ERR_OK) {
        e = start_worker(s);
    }
    if (e != ERR_OK) {
        release(s);
    }
    fault_leave();
    if (e == ERR_OK) {
        s->loop = worker_loop(s->worker);
        handler_init(&s->handler, home->handlers);
        stage_grant(s);
    }
    return e;
}

void stage_close(struct stage *s, bool is_inside)
{
    if (is_inside) {
        fault_enter();
    }
    release(s);
    fault_leave();
    handler_fini(&s->handler);
}

/* -- turns ------------------------------------------------------------------------------------ */

void stage_grant(struct stage *s)
{
    s->n_turns = 0;
    s->strike_end_ms = fault_now_ms() + STAGE_STRIKE_MS;
    s->budget_end_ms = fault_now_ms() + STAGE_BUDGET_MS;
}

/* Nothing moves: on to the next deadline, in steps that leave the failure its time. */
static void pass_time(struct stage *s)
{
    uint64_t now_ms = fault_now_ms();
    uint64_t next_ms = timers_next_ms(&loop_kit(s->loop)->timers);
    uint64_t wait_ms = next_ms > now_ms ? next_ms - now_ms : LEAST_PASS_MS;
    fault_pass_ms(wait_ms < MOST_PASS_MS ? wait_ms : MOST_PASS_MS);
}

bool stage_step(struct stage *s)
{
    uint64_t before = fault_progress();
    s->n_turns++;
    for (int i = 0; i < QUIET_TURNS && fault_progress() == before; i++) {
        fault_enter();
        loop_run_once(s->loop, false);
        fault_leave();
        handler_pump(&s->handler);
    }
    if (fault_progress() == before && s->progress == before) {
        if (s->has_tcp) {
            (void)usleep(TCP_REST_US);
        }
        pass_time(s);
        if (fault_now_ms() >= s->strike_end_ms) {
            fault_lift();
        }
    }
    s->progress = fault_progress();
    return fault_now_ms() < s->budget_end_ms && s->n_turns < MAX_TURNS;
}

bool stage_until(struct stage *s, bool (*condition)(const struct stage *s))
{
    stage_grant(s);
    while (!condition(s)) {
        if (!stage_step(s)) {
            return condition(s);
        }
    }
    return true;
}

static const struct counters *counters_of(const struct stage *s)
{
    return &loop_kit(s->loop)->counters;
}

bool stage_is_quiet(const struct stage *s)
{
    const struct counters *c = counters_of(s);
    return c->sessions_open == 0 && c->connections_open == c->links_open &&
           c->links_open == s->handler.is_linked && s->handler.n_open == 0;
}

bool stage_is_empty(const struct stage *s)
{
    const struct counters *c = counters_of(s);
    return c->sessions_open == 0 && c->connections_open == 0 && c->links_open == 0;
}

bool stage_has_no_link(const struct stage *s)
{
    return counters_of(s)->links_open == 0;
}

/* -- clients ---------------------------------------------------------------------------------- */

static int connect_to(int family, const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, addr, len) != 0 && errno != EINPROGRESS) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int stage_connect(struct stage *s, enum stage_door door)
{
    if (door == STAGE_TCP) {
        s->has_tcp = true;
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(s->port)};
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = connect_to(AF_INET, (struct sockaddr *)&addr, sizeof addr);
        /* Ends with a reset, so that thousands of runs leave no port in TIME_WAIT. */
        const struct linger linger = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        return fd;
    }
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s",
                   door == STAGE_TLS ? s->home->tls : s->home->plain);
    return connect_to(AF_UNIX, (struct sockaddr *)&addr, sizeof addr);
}
