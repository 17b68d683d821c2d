/* supervisor: see supervisor.h. */
#include "server/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "net/listener.h"
#include "net/tls.h"
#include "server/compose.h"
#include "server/config.h"
#include "server/worker.h"

enum {
    MAX_LISTENERS = 16
};

struct supervisor {
    const struct config *config;
    struct composed *composed;
    struct worker **workers;
    unsigned n_workers; /* started */
    int listen_fds[MAX_LISTENERS];
    unsigned n_listen_fds;
    int tls_fds[MAX_LISTENERS];
    unsigned n_tls_fds;
    struct tls_server *tls;
    int handlers_fd;
    atomic_uint n_ended;
    pid_t pid;
};

static void complain(const char *what, const char *where, enum err why, const char *hint)
{
    (void)fprintf(stderr, "posternd: cannot %s %s: %s\n          %s\n", what, where,
                  why == ERR_CONFIG ? "not a usable address" : strerror(errno), hint);
}

static bool bind_list(const struct config_strings *list, int fds[MAX_LISTENERS], unsigned *n)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *address = list->items[i];
        if (*n == MAX_LISTENERS) {
            (void)fprintf(stderr, "posternd: at most %d addresses to listen on\n", MAX_LISTENERS);
            return false;
        }
        enum err e = listener_bind_tcp(span_str(address), &fds[*n], 1);
        if (e != ERR_OK) {
            complain("listen on", address, e,
                     "choose another with --listen or \"listen\" in the config file; "
                     "ports below 1024 need the right to bind them");
            return false;
        }
        (*n)++;
    }
    return true;
}

static bool bind_clients(struct supervisor *s)
{
    return bind_list(&s->config->listen, s->listen_fds, &s->n_listen_fds) &&
           bind_list(&s->config->tls_listen, s->tls_fds, &s->n_tls_fds);
}

static bool load_tls(struct supervisor *s)
{
    struct rand rand = {0};
    struct tls_ticket_keys keys;
    char why[TLS_WHY_BYTES];
    if (s->config->tls_listen.n == 0) {
        return true;
    }
    rand_bytes(&rand, keys.bytes, sizeof keys.bytes);
    if (tls_server_create(s->config->tls_cert, s->config->tls_key, &keys, &s->tls, why) != ERR_OK) {
        (void)fprintf(
            stderr, "posternd: %s\n          see \"tls.cert\" and \"tls.key\" in the config file\n",
            why);
        return false;
    }
    return true;
}

static bool bind_handlers(struct supervisor *s)
{
    const char *path = s->config->handlers_socket;
    enum err e = listener_bind_unix(path, s->config->handlers_mode, &s->handlers_fd);
    if (e != ERR_OK) {
        complain("make the handler socket", path, e,
                 e == ERR_BUSY
                     ? "another process listens there; end it, or choose another path with "
                       "--handlers or \"handlers.socket\""
                     : "choose another path with --handlers or \"handlers.socket\"; its "
                       "folder must exist and be writable");
        return false;
    }
    return true;
}

/* 10,000 sessions need 10,000 descriptors, and the soft limit is 1,024 on most systems. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
            LOG(LOG_INFO, "descriptor limit raised", "from=%llu to=%llu",
                (unsigned long long)before, (unsigned long long)limit.rlim_cur);
        }
    }
}

static void on_worker_ended(void *ctx)
{
    struct supervisor *s = ctx;
    atomic_fetch_add(&s->n_ended, 1);
    (void)kill(s->pid, SIGCHLD); /* wakes wait_for_end; SIGCHLD is blocked and only waited for */
}

static bool start_workers(struct supervisor *s)
{
    struct rand rand = {0};
    struct hash_key owner_key;
    rand_bytes(&rand, &owner_key, sizeof owner_key);
    struct worker_birth birth = {.n_workers = COMPOSE_WORKERS,
                                 .owner_key = owner_key,
                                 .composed = s->composed,
                                 .listen_fds = s->listen_fds,
                                 .n_listen_fds = s->n_listen_fds,
                                 .tls_fds = s->tls_fds,
                                 .n_tls_fds = s->n_tls_fds,
                                 .tls = s->tls,
                                 .handlers_fd = s->handlers_fd,
                                 .on_ended = on_worker_ended,
                                 .ctx = s};
    s->workers = mem_new(birth.n_workers, sizeof(struct worker *));
    enum err e = s->workers == NULL ? ERR_NOMEM : worker_create(&birth, &s->workers[0]);
    s->n_listen_fds = 0; /* the worker's now */
    s->n_tls_fds = 0;
    s->handlers_fd = -1;
    if (e == ERR_OK) {
        s->n_workers = 1;
        e = worker_start(s->workers[0]);
    }
    if (e != ERR_OK) {
        (void)fprintf(stderr, "posternd: cannot start a worker: %s\n", err_text(e));
        return false;
    }
    return true;
}

static void block_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGQUIT);
    (void)sigaddset(set, SIGHUP);
    (void)sigaddset(set, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void wait_for_end(struct supervisor *s, const sigset_t *set)
{
    bool is_stopping = false;
    while (atomic_load(&s->n_ended) < s->n_workers) {
        int sig = sigwaitinfo(set, NULL);
        if (sig == SIGHUP) {
            LOG(LOG_WARN, "SIGHUP ignored", "hint=\"this version reads its config at start only\"");
        } else if (sig == SIGTERM || sig == SIGQUIT || sig == SIGINT) {
            uint64_t drain_ms = is_stopping || sig == SIGINT ? 0 : s->config->drain_ms;
            LOG(LOG_INFO, "stopping", "drain_ms=%llu", (unsigned long long)drain_ms);
            is_stopping = true;
            for (unsigned i = 0; i < s->n_workers; i++) {
                worker_stop(s->workers[i], drain_ms);
            }
        }
    }
}

static void clean_up(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        worker_destroy(s->workers[i]);
    }
    for (unsigned i = 0; i < s->n_listen_fds; i++) {
        (void)close(s->listen_fds[i]);
    }
    for (unsigned i = 0; i < s->n_tls_fds; i++) {
        (void)close(s->tls_fds[i]);
    }
    if (s->handlers_fd >= 0) {
        (void)close(s->handlers_fd);
    }
    if (s->tls != NULL) {
        tls_server_destroy(
            s->tls); /* after every worker: an SSL keeps the context it was born with */
    }
    mem_free(s->workers);
    if (s->composed != NULL) {
        compose_destroy(s->composed);
    }
}

static const char *first_of(const struct config_strings *list)
{
    return list->n != 0 ? list->items[0] : "-";
}

int supervisor_run(const struct config *config, void (*on_ready)(const struct config *config))
{
    struct supervisor s = {.config = config, .handlers_fd = -1, .pid = getpid()};
    sigset_t set;
    block_signals(&set);
    log_set_level(config->log_level);
    raise_descriptor_limit();
    bool has_socket = false;
    int code = 1;
    if (compose_create(config, &s.composed) != ERR_OK) {
        (void)fprintf(stderr, "posternd: out of memory at start\n");
    } else if (load_tls(&s) && bind_clients(&s) && (has_socket = bind_handlers(&s)) &&
               start_workers(&s)) {
        LOG(LOG_INFO, "ready", "listen=%s tls=%s handlers=%s mounts=%zu workers=%u",
            first_of(&config->listen), first_of(&config->tls_listen), config->handlers_socket,
            config->n_mounts, s.n_workers);
        if (config->workers > COMPOSE_WORKERS) {
            LOG(LOG_WARN, "one worker is started",
                "workers=%u hint=\"more come with a later version\"", config->workers);
        }
        if (on_ready != NULL) {
            on_ready(config);
        }
        wait_for_end(&s, &set);
        code = 0;
    }
    clean_up(&s);
    if (has_socket) {
        (void)unlink(config->handlers_socket);
    }
    return code;
}
