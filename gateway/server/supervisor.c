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
#include "net/peers.h"
#include "net/tls.h"
#include "server/compose.h"
#include "server/config.h"
#include "server/worker.h"

enum {
    MAX_LISTENERS = 16,        /* of each kind */
    RESERVED_DESCRIPTORS = 32, /* never for clients: handlers, their relays, files */
    RESERVED_PER_WORKER = 16,  /* likewise: loop, mailbox, relays; its listeners come on top */
};

/* The sockets of one list of addresses. */
struct listen_set {
    int *fds; /* address by address, for each one socket per worker; -1 = the worker's now */
    size_t n; /* addresses */
};

struct supervisor {
    const struct config *config;
    struct composed *composed;
    struct peers *peers;
    unsigned n_workers;
    struct worker **workers; /* n_workers; NULL = not created */
    struct listen_set plain;
    struct listen_set tls;
    struct listen_set flash;
    struct tls_server **tls_servers; /* n_workers, or NULL without TLS */
    int handlers_fd;
    unsigned n_started;
    atomic_uint n_ended;
    pid_t pid;
};

static void complain(const char *what, const char *where, enum err why, const char *hint)
{
    (void)fprintf(stderr, "posternd: cannot %s %s: %s\n          %s\n", what, where,
                  why == ERR_CONFIG ? "not a usable address" : strerror(errno), hint);
}

static bool say_no_memory(void)
{
    (void)fprintf(stderr, "posternd: out of memory at start\n");
    return false;
}

static bool bind_list(const struct supervisor *s, const struct config_strings *list,
                      struct listen_set *set)
{
    if (list->n > MAX_LISTENERS) {
        (void)fprintf(stderr, "posternd: at most %d addresses to listen on\n", MAX_LISTENERS);
        return false;
    }
    set->fds = mem_new(list->n + 1, s->n_workers * sizeof *set->fds);
    if (set->fds == NULL) {
        return say_no_memory();
    }
    for (; set->n < list->n; set->n++) {
        const char *address = list->items[set->n];
        enum err e =
            listener_bind_tcp(span_str(address), &set->fds[set->n * s->n_workers], s->n_workers);
        if (e != ERR_OK) {
            complain("listen on", address, e,
                     "choose another with --listen or \"listen\" in the config file; "
                     "ports below 1024 need the right to bind them");
            return false;
        }
    }
    return true;
}

static bool bind_clients(struct supervisor *s)
{
    return bind_list(s, &s->config->listen, &s->plain) &&
           bind_list(s, &s->config->tls_listen, &s->tls) &&
           bind_list(s, &s->config->flash_listen, &s->flash);
}

/* The sockets of one worker: it closes them from now on. */
static void take_fds(const struct supervisor *s, struct listen_set *set, unsigned worker,
                     int out[MAX_LISTENERS])
{
    for (size_t i = 0; i < set->n; i++) {
        int *fd = &set->fds[i * s->n_workers + worker];
        out[i] = *fd;
        *fd = -1;
    }
}

static void close_set(const struct supervisor *s, struct listen_set *set)
{
    for (size_t i = 0; i < set->n * s->n_workers; i++) {
        if (set->fds[i] >= 0) {
            (void)close(set->fds[i]);
        }
    }
    mem_free(set->fds);
}

static bool load_tls(struct supervisor *s)
{
    struct rand rand = {0};
    struct tls_ticket_keys keys;
    char why[TLS_WHY_BYTES];
    if (s->config->tls_listen.n == 0) {
        return true;
    }
    s->tls_servers = mem_new(s->n_workers, sizeof(struct tls_server *));
    if (s->tls_servers == NULL) {
        return say_no_memory();
    }
    rand_bytes(&rand, keys.bytes, sizeof keys.bytes);
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (tls_server_create(s->config->tls_cert, s->config->tls_key, &keys, &s->tls_servers[i],
                              why) != ERR_OK) {
            (void)fprintf(
                stderr,
                "posternd: %s\n          see \"tls.cert\" and \"tls.key\" in the config file\n",
                why);
            return false;
        }
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

/* 10,000 sessions need 10,000 descriptors, and the soft limit is 1,024 on most systems. Returns the
 * limit. */
static uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return UINT64_MAX;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
            LOG(LOG_INFO, "descriptor limit raised", "from=%llu to=%llu",
                (unsigned long long)before, (unsigned long long)limit.rlim_cur);
        } else {
            limit.rlim_cur = before;
        }
    }
    return limit.rlim_cur;
}

/* Clients may not take the descriptors that handlers, relays and files need: a daemon that cannot
 * accept its handler any more serves nobody. */
static bool create_peers(struct supervisor *s, uint64_t n_descriptors)
{
    struct peers_limits limits = {.max_total = s->config->max_connections,
                                  .max_per_address =
                                      (uint32_t)s->config->max_connections_per_address};
    uint64_t n_listeners =
        s->config->listen.n + s->config->tls_listen.n + s->config->flash_listen.n;
    uint64_t reserve = RESERVED_DESCRIPTORS + s->n_workers * (RESERVED_PER_WORKER + n_listeners);
    if (reserve > n_descriptors / 2) {
        reserve = n_descriptors / 2;
    }
    if (limits.max_total > n_descriptors - reserve) {
        limits.max_total = n_descriptors - reserve;
        LOG(LOG_INFO, "fewer clients than limits.connections",
            "clients=%llu descriptors=%llu hint=\"raise LimitNOFILE (ulimit -n)\"",
            (unsigned long long)limits.max_total, (unsigned long long)n_descriptors);
    }
    return peers_create(&limits, &s->peers) == ERR_OK || say_no_memory();
}

static void on_worker_ended(void *ctx)
{
    struct supervisor *s = ctx;
    atomic_fetch_add(&s->n_ended, 1);
    (void)kill(s->pid, SIGCHLD); /* wakes wait_for_end; SIGCHLD is blocked and only waited for */
}

static enum err create_worker(struct supervisor *s, unsigned id, struct hash_key owner_key)
{
    int plain_fds[MAX_LISTENERS];
    int tls_fds[MAX_LISTENERS];
    int flash_fds[MAX_LISTENERS];
    take_fds(s, &s->plain, id, plain_fds);
    take_fds(s, &s->tls, id, tls_fds);
    take_fds(s, &s->flash, id, flash_fds);
    const struct worker_birth birth = {.id = id,
                                       .n_workers = s->n_workers,
                                       .all = s->workers,
                                       .owner_key = owner_key,
                                       .composed = s->composed,
                                       .peers = s->peers,
                                       .listen_fds = plain_fds,
                                       .n_listen_fds = (unsigned)s->plain.n,
                                       .tls_fds = tls_fds,
                                       .n_tls_fds = (unsigned)s->tls.n,
                                       .flash_fds = flash_fds,
                                       .n_flash_fds = (unsigned)s->flash.n,
                                       .tls = s->tls_servers,
                                       .handlers_fd = id == 0 ? s->handlers_fd : -1,
                                       .on_ended = on_worker_ended,
                                       .ctx = s};
    if (id == 0) {
        s->handlers_fd = -1; /* the worker's now */
    }
    return worker_create(&birth, &s->workers[id]);
}

static bool start_workers(struct supervisor *s)
{
    struct rand rand = {0};
    struct hash_key owner_key;
    rand_bytes(&rand, &owner_key, sizeof owner_key);
    s->workers = mem_new(s->n_workers, sizeof(struct worker *));
    enum err e = s->workers == NULL ? ERR_NOMEM : ERR_OK;
    for (unsigned i = 0; i < s->n_workers && e == ERR_OK; i++) {
        e = create_worker(s, i, owner_key);
    }
    /* Each may write to any other from its first turn on. */
    while (s->n_started < s->n_workers && e == ERR_OK) {
        e = worker_start(s->workers[s->n_started]);
        s->n_started += e == ERR_OK;
    }
    if (e != ERR_OK) {
        (void)fprintf(stderr, "posternd: cannot start %u workers: %s\n", s->n_workers, err_text(e));
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

static void stop_workers(struct supervisor *s, uint64_t drain_ms)
{
    for (unsigned i = 0; i < s->n_started; i++) {
        worker_stop(s->workers[i], drain_ms);
    }
}

static void wait_for_end(struct supervisor *s, const sigset_t *set)
{
    bool is_stopping = false;
    while (atomic_load(&s->n_ended) < s->n_started) {
        int sig = sigwaitinfo(set, NULL);
        if (sig == SIGHUP) {
            LOG(LOG_WARN, "SIGHUP ignored", "hint=\"this version reads its config at start only\"");
        } else if (sig == SIGTERM || sig == SIGQUIT || sig == SIGINT) {
            uint64_t drain_ms = is_stopping || sig == SIGINT ? 0 : s->config->drain_ms;
            LOG(LOG_INFO, "stopping", "drain_ms=%llu", (unsigned long long)drain_ms);
            is_stopping = true;
            stop_workers(s, drain_ms);
        }
    }
}

/* All are joined before the first is freed: letters may be on the way to it, and connections that
 * were born with its TLS context may be anywhere. */
static void end_workers(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_started; i++) {
        worker_join(s->workers[i]);
    }
    for (unsigned i = 0; s->workers != NULL && i < s->n_workers; i++) {
        if (s->workers[i] != NULL) {
            worker_destroy(s->workers[i]);
        }
    }
    mem_free(s->workers);
}

static void clean_up(struct supervisor *s)
{
    end_workers(s);
    close_set(s, &s->plain);
    close_set(s, &s->tls);
    close_set(s, &s->flash);
    if (s->handlers_fd >= 0) {
        (void)close(s->handlers_fd);
    }
    for (unsigned i = 0; s->tls_servers != NULL && i < s->n_workers; i++) {
        if (s->tls_servers[i] != NULL) {
            tls_server_destroy(s->tls_servers[i]);
        }
    }
    mem_free(s->tls_servers);
    if (s->peers != NULL) {
        peers_destroy(s->peers);
    }
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
    struct supervisor s = {
        .config = config, .n_workers = config->workers, .handlers_fd = -1, .pid = getpid()};
    sigset_t set;
    mem_return_large_blocks();
    block_signals(&set);
    log_set_level(config->log_level);
    uint64_t n_descriptors = raise_descriptor_limit();
    bool has_socket = false;
    int code = 1;
    if (compose_create(config, &s.composed) != ERR_OK) {
        (void)say_no_memory();
    } else if (create_peers(&s, n_descriptors) && load_tls(&s) && bind_clients(&s) &&
               (has_socket = bind_handlers(&s)) && start_workers(&s)) {
        LOG(LOG_INFO, "ready", "listen=%s tls=%s handlers=%s mounts=%zu workers=%u",
            first_of(&config->listen), first_of(&config->tls_listen), config->handlers_socket,
            config->n_mounts, s.n_workers);
        if (on_ready != NULL) {
            on_ready(config);
        }
        wait_for_end(&s, &set);
        code = 0;
    }
    stop_workers(&s, 0); /* those that were started before one could not be */
    clean_up(&s);
    if (has_socket) {
        (void)unlink(config->handlers_socket);
    }
    return code;
}
