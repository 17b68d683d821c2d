/*
 * load: the load generator. One thread, one epoll; see load.h for its parts and README.md for what
 * the figures mean.
 *
 * Every wait has an end: opening must go forward within OPEN_STALL_S, the other phases have their
 * time, and echoes still missing DRAIN_S after the last message was sent are lost.
 */
#include "load.h"

#include "load_report.h"
#include "load_tls.h"
#include "load_user.h"
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define OPEN_STALL_S 10.0
#define DRAIN_S      5.0
#define TICK_MS      20
#define RATE_TICK_MS 1
#define EVENTS_MAX   1024
#define RX_LEAST     ((size_t)1 << 20)

uint64_t load_now_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t seconds_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static void raise_descriptor_limit(const struct load_opts *opts)
{
    struct rlimit limit = {0};
    bool is_xhr = opts->transport == LOAD_XHR || opts->transport == LOAD_XHR_STREAMING;
    unsigned needed = opts->connections * (is_xhr && !opts->is_idle ? 2 : 1) + 16;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < needed) {
        (void)fprintf(stderr, "postern-load: %u descriptors are needed, the limit is %llu\n",
                      needed, (unsigned long long)limit.rlim_cur);
    }
}

static bool set_up(struct load *load)
{
    const struct load_opts *opts = &load->opts;
    raise_descriptor_limit(opts);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll_fd < 0 || getrandom(&load->run_id, sizeof load->run_id, 0) < 0) {
        perror("postern-load: epoll_create1 or getrandom");
        return false;
    }
    if (opts->wants_tls && (load->tls_context = load_tls_create()) == NULL) {
        return false;
    }
    load->carrier =
        opts->transport == LOAD_RAW_WS || opts->transport == LOAD_SOCKJS_WS ? &load_ws : &load_xhr;
    load_echo_format_init(&load->format, opts);
    /* A server may put all of a session's messages into one frame, after which comes the next. */
    load->tx_bytes = (size_t)opts->inflight * load->format.wire_bytes + LOAD_TX_SPARE;
    load->rx_bytes = 4 * load->tx_bytes > RX_LEAST ? 4 * load->tx_bytes : RX_LEAST;
    load->tx = bytes_calloc(load->tx_bytes, 1);
    load->rx = bytes_calloc(load->rx_bytes + 1, 1);
    load->users = bytes_calloc(opts->connections, sizeof *load->users);
    for (unsigned i = 0; i < opts->connections; i++) {
        load_user_init(load, &load->users[i], i);
    }
    return true;
}

static void tear_down(struct load *load)
{
    for (unsigned i = 0; i < load->opts.connections; i++) {
        load_user_fini(&load->users[i]);
    }
    load_echo_format_fini(&load->format);
    free(load->users);
    free(load->tx);
    free(load->rx);
    SSL_CTX_free(load->tls_context);
    (void)close(load->epoll_fd);
}

/* The first session opens alone: see step_first(). */
static void start_some(struct load *load)
{
    unsigned most = load->is_first_open ? load->opts.connections : 1;
    while (load->n_started < most &&
           load->n_started - load->n_open - load->n_failed < load->opts.opening_max) {
        load_user_start(load, &load->users[load->n_started++]);
    }
}

static void enter(struct load *load, enum load_phase phase, double seconds)
{
    load->phase = phase;
    load->phase_end_ns = load_now_ns() + seconds_ns(seconds);
}

/* "Before" is read with one session open: what a server sets up once, at its first client, is not
 * growth per session. */
static bool step_first(struct load *load)
{
    if (load->is_first_open || load->n_open == 0) {
        return true;
    }
    load->is_first_open = true;
    return load_report_read(load, &load->before);
}

static bool step_open(struct load *load, uint64_t now_ns)
{
    if (!step_first(load)) {
        return false;
    }
    start_some(load);
    if (load->n_failed > 0) {
        (void)fputs("postern-load: not every session could be opened\n", stderr);
        return false;
    }
    if (load->n_open < load->opts.connections) {
        bool is_stuck = now_ns > load->progress_ns + seconds_ns(OPEN_STALL_S);
        if (is_stuck) {
            (void)fprintf(stderr, "postern-load: %u of %u sessions open, no more for %.0f s\n",
                          load->n_open, load->opts.connections, OPEN_STALL_S);
        }
        return !is_stuck;
    }
    if (!load_report_read(load, &load->opened)) {
        return false;
    }
    if (load->opts.is_idle) {
        load->started = load->opened;
        enter(load, LOAD_SETTLE, load->opts.settle_s);
        return true;
    }
    enter(load, LOAD_WARMUP, load->opts.warmup_s);
    load->echo_ns = load_now_ns();
    for (unsigned i = 0; i < load->opts.connections; i++) {
        load_user_mark(load, &load->users[i]);
    }
    return true;
}

static bool is_drained(const struct load *load)
{
    for (unsigned i = 0; i < load->opts.connections; i++) {
        if (load->users[i].state == LOAD_USER_OPEN && load->users[i].book.n > 0) {
            return false;
        }
    }
    return true;
}

/* Goes on to the next phase when this one's time is over. False ends the run at once. */
static bool step(struct load *load)
{
    uint64_t now_ns = load_now_ns();
    bool is_over = now_ns >= load->phase_end_ns;
    switch (load->phase) {
    case LOAD_OPEN:
        return step_open(load, now_ns);
    case LOAD_WARMUP:
        if (is_over) {
            enter(load, LOAD_MEASURE, load->opts.duration_s);
            return load_report_read(load, &load->started);
        }
        break;
    case LOAD_MEASURE:
        if (is_over) {
            enter(load, LOAD_DRAIN, DRAIN_S);
            return load_report_read(load, &load->ended);
        }
        break;
    case LOAD_DRAIN:
        if (is_over || is_drained(load)) {
            load->phase = LOAD_DONE;
        }
        break;
    case LOAD_SETTLE:
        if (is_over) {
            load->phase = LOAD_DONE;
            return load_report_read(load, &load->ended);
        }
        break;
    case LOAD_DONE:
        break;
    }
    if (load->n_failed == load->opts.connections) {
        (void)fputs("postern-load: every session has failed\n", stderr);
        return false;
    }
    return true;
}

/* With a rate: grants what has come due, one message a session in turn. What a session cannot send
 * yet, because its echoes are not back, it may send later. */
static void grant(struct load *load)
{
    if (load->phase != LOAD_WARMUP && load->phase != LOAD_MEASURE) {
        return;
    }
    double passed_s = (double)(load_now_ns() - load->echo_ns) / 1e9;
    uint64_t due = (uint64_t)(passed_s * load->opts.rate);
    for (; load->n_granted < due; load->n_granted++) {
        struct load_user *user = &load->users[load->n_granted % load->opts.connections];
        user->n_granted++;
        load_user_mark(load, user);
    }
}

static bool run(struct load *load)
{
    static struct epoll_event events[EVENTS_MAX];
    if (!load_report_read(load, &load->before)) {
        return false;
    }
    load->progress_ns = load_now_ns();
    while (load->phase != LOAD_DONE) {
        if (!step(load)) {
            return false;
        }
        grant(load);
        load_user_flush_marked(load);
        int n = epoll_wait(load->epoll_fd, events, EVENTS_MAX,
                           load->opts.rate != 0 ? RATE_TICK_MS : TICK_MS);
        if (n < 0 && errno != EINTR) {
            perror("postern-load: epoll_wait");
            return false;
        }
        for (int i = 0; i < n; i++) {
            load_user_on_event(load, events[i].data.ptr, events[i].events);
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct load load;
    if (!load_opts_parse(&load.opts, argc, argv)) {
        return 2;
    }
    if (!set_up(&load)) {
        return 1;
    }
    bool is_good = run(&load);
    if (is_good) {
        is_good = load_report_print(&load);
        if (!load.opts.is_idle && load.n_total == 0) {
            (void)fputs("postern-load: nothing came back\n", stderr);
            is_good = false;
        }
    }
    tear_down(&load);
    return is_good ? 0 : 1;
}
