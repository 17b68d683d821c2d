/*
 * limit: what the kernel asks for an echo. A bare epoll WebSocket server: one recv and one send
 * for each readable connection and nothing else; with --hop every message makes the way to a
 * second process and back, batched per loop turn, as a gateway with a handler has to do it. No
 * sessions, timers, limits, logs or origins: a gateway's figure over this one says what those cost.
 *
 *   postern-limit --port P [--hop]      prints READY P pids=A[,B], ends on SIGTERM
 *
 * One thread a process. Loop turn: clients are read, each answered at once (or queued for the hop),
 * then the hop is written once; its answers are read in one piece and sent to the clients.
 */
#include "limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS_MAX 1024
#define BACKLOG    4096

static volatile sig_atomic_t is_ending;

static void on_sigterm(int signal_number)
{
    (void)signal_number;
    is_ending = 1;
}

static void free_bytes(struct bytes **bytes)
{
    if (*bytes != NULL) {
        bytes_fini(*bytes);
        free(*bytes);
        *bytes = NULL;
    }
}

static void keep_bytes(struct bytes **bytes, const void *from, size_t n)
{
    struct bytes *kept = *bytes != NULL ? *bytes : bytes_calloc(1, sizeof *kept);
    bytes_append(kept, from, n);
    *bytes = kept;
}

void limit_close(struct limit *limit, int fd)
{
    struct limit_conn *conn = &limit->conns[fd];
    free_bytes(&conn->rest);
    free_bytes(&conn->out);
    *conn = (struct limit_conn){.generation = (uint16_t)(conn->generation + 1)};
    (void)close(fd);
}

/* A connection that does not take its answers is not read either. */
static bool watch(struct limit *limit, int fd, int operation, bool wants_out)
{
    struct epoll_event event = {.events = wants_out ? EPOLLOUT : EPOLLIN, .data.fd = fd};
    if (operation == EPOLL_CTL_MOD && limit->conns[fd].wants_out == wants_out) {
        return true;
    }
    limit->conns[fd].wants_out = wants_out;
    return epoll_ctl(limit->epoll_fd, operation, fd, &event) == 0;
}

void limit_send(struct limit *limit, int fd)
{
    struct bytes *tx = &limit->tx;
    if (tx->n == 0) {
        return;
    }
    struct limit_conn *conn = &limit->conns[fd];
    ssize_t sent = 0;
    if (conn->out == NULL) {
        sent = send(fd, bytes_data(tx), tx->n, MSG_NOSIGNAL);
    }
    bool is_broken = sent < 0 && errno != EAGAIN && errno != EINTR;
    bytes_consume(tx, sent > 0 ? (size_t)sent : 0);
    if (tx->n > 0) {
        keep_bytes(&conn->out, bytes_data(tx), tx->n);
        bytes_consume(tx, tx->n);
    }
    if (is_broken || !watch(limit, fd, EPOLL_CTL_MOD, conn->out != NULL)) {
        limit_close(limit, fd);
    }
}

static void on_writable(struct limit *limit, int fd)
{
    struct limit_conn *conn = &limit->conns[fd];
    if (conn->out != NULL) {
        ssize_t sent = send(fd, bytes_data(conn->out), conn->out->n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            limit_close(limit, fd);
            return;
        }
        bytes_consume(conn->out, sent > 0 ? (size_t)sent : 0);
        if (conn->out->n > 0) {
            return;
        }
        free_bytes(&conn->out);
    }
    if (conn->is_closing || !watch(limit, fd, EPOLL_CTL_MOD, false)) {
        limit_close(limit, fd);
    }
}

static void on_readable(struct limit *limit, int fd)
{
    struct limit_conn *conn = &limit->conns[fd];
    size_t kept = conn->rest != NULL ? conn->rest->n : 0;
    ssize_t n = recv(fd, limit->rx + kept, LIMIT_RX_BYTES - kept, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            limit_close(limit, fd);
        }
        return;
    }
    if (kept > 0) {
        memcpy(limit->rx, bytes_data(conn->rest), kept);
        free_bytes(&conn->rest);
    }
    size_t whole = kept + (size_t)n;
    size_t taken = limit_ws_take(limit, fd, limit->rx, whole);
    if (taken < whole && !conn->is_closing) {
        keep_bytes(&conn->rest, limit->rx + taken, whole - taken);
    }
    limit_send(limit, fd);
    if (conn->is_used && conn->is_closing && conn->out == NULL) {
        limit_close(limit, fd);
    }
}

static void accept_all(struct limit *limit)
{
    int on = 1;
    int fd = -1;
    while ((fd = accept4(limit->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if ((unsigned)fd >= limit->n_conns) {
            (void)close(fd);
            continue;
        }
        limit->conns[fd].is_used = true;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
            !watch(limit, fd, EPOLL_CTL_ADD, false)) {
            limit_close(limit, fd);
        }
    }
}

static bool on_hop_event(struct limit *limit, uint32_t events)
{
    bool is_alive = true;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        is_alive = limit_hop_on_readable(limit);
    }
    return is_alive && limit_hop_flush(limit);
}

/* The second process is behind: nobody is read until it has caught up. */
static bool wait_for_hop(struct limit *limit)
{
    while (limit_hop_is_full(limit) && !is_ending) {
        struct pollfd hop = {.fd = limit->hop_fd, .events = POLLIN | POLLOUT};
        sigset_t unblocked;
        (void)sigemptyset(&unblocked);
        if (ppoll(&hop, 1, NULL, &unblocked) < 0) {
            continue; /* a signal */
        }
        bool can_read = (hop.revents & ~POLLOUT) != 0;
        if (!on_hop_event(limit, can_read ? (uint32_t)EPOLLIN : (uint32_t)EPOLLOUT)) {
            return false;
        }
    }
    return true;
}

static bool on_event(struct limit *limit, const struct epoll_event *event)
{
    int fd = event->data.fd;
    if (fd == limit->listen_fd) {
        accept_all(limit);
    } else if (fd == limit->hop_fd) {
        return on_hop_event(limit, event->events);
    } else if (limit->conns[fd].is_used) {
        if (limit->conns[fd].wants_out) {
            on_writable(limit, fd);
        } else {
            on_readable(limit, fd);
        }
    }
    return true;
}

/* Until SIGTERM. False when something essential has failed. */
static bool serve(struct limit *limit)
{
    static struct epoll_event events[EVENTS_MAX];
    sigset_t unblocked;
    (void)sigemptyset(&unblocked);
    while (!is_ending) {
        /* SIGTERM is let in here only: none is lost between the look and the wait. */
        int n = epoll_pwait(limit->epoll_fd, events, EVENTS_MAX, -1, &unblocked);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        for (int i = 0; i < n; i++) {
            if (!on_event(limit, &events[i])) {
                return false;
            }
        }
        if (limit->hop_fd >= 0 && !(limit_hop_flush(limit) && wait_for_hop(limit))) {
            return false;
        }
    }
    return true;
}

static bool listen_on(struct limit *limit, uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    limit->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return limit->listen_fd >= 0 &&
           setsockopt(limit->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(limit->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
           listen(limit->listen_fd, BACKLOG) == 0;
}

/* Descriptors to the hard limit, SIGTERM blocked but in epoll_pwait. */
static bool prepare_process(struct limit *limit)
{
    struct rlimit files = {0};
    struct sigaction action = {.sa_handler = on_sigterm};
    sigset_t blocked;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return false;
    }
    files.rlim_cur = files.rlim_max;
    limit->n_conns = files.rlim_cur < LIMIT_CONNS_MAX ? (unsigned)files.rlim_cur : LIMIT_CONNS_MAX;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 && sigaction(SIGTERM, &action, NULL) == 0 &&
           sigaction(SIGINT, &action, NULL) == 0 && sigemptyset(&blocked) == 0 &&
           sigaddset(&blocked, SIGTERM) == 0 && sigaddset(&blocked, SIGINT) == 0 &&
           sigprocmask(SIG_BLOCK, &blocked, NULL) == 0;
}

static bool watch_fd(const struct limit *limit, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd < 0 || epoll_ctl(limit->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool start(struct limit *limit, uint16_t port, bool has_hop)
{
    if (!prepare_process(limit) || (has_hop && !limit_hop_start(limit)) ||
        !listen_on(limit, port)) {
        return false;
    }
    limit->rx = bytes_calloc(LIMIT_RX_BYTES, 1);
    limit->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (limit->epoll_fd < 0 || !watch_fd(limit, limit->listen_fd) ||
        !watch_fd(limit, limit->hop_fd)) {
        return false;
    }
    printf("READY %u pids=%d", port, (int)getpid());
    if (has_hop) {
        printf(",%d", (int)limit->hop_pid);
    }
    printf("\n");
    return fflush(stdout) == 0;
}

/* Closing the hop ends the second process. */
static void finish(struct limit *limit)
{
    if (limit->hop_fd >= 0) {
        (void)close(limit->hop_fd);
        (void)waitpid(limit->hop_pid, NULL, 0);
    }
    for (unsigned fd = 0; fd < limit->n_conns; fd++) {
        if (limit->conns[fd].is_used) {
            limit_close(limit, (int)fd);
        }
    }
    bytes_fini(&limit->tx);
    bytes_fini(&limit->to_hop);
    free(limit->rx);
    free(limit->hop_rx);
}

static bool parse_args(int argc, char **argv, uint16_t *port, bool *has_hop)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--hop") == 0) {
            *has_hop = true;
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            unsigned long number = strtoul(argv[++i], NULL, 10);
            *port = number <= UINT16_MAX ? (uint16_t)number : 0;
        } else {
            return false;
        }
    }
    return *port != 0;
}

int main(int argc, char **argv)
{
    uint16_t port = 0;
    bool has_hop = false;
    if (!parse_args(argc, argv, &port, &has_hop)) {
        (void)fputs("usage: postern-limit --port P [--hop]\n", stderr);
        return 2;
    }
    struct limit *limit = bytes_calloc(1, sizeof *limit);
    limit->hop_fd = -1;
    bool is_good = start(limit, port, has_hop) && serve(limit);
    if (!is_good) {
        (void)fprintf(stderr, "postern-limit: %s\n", strerror(errno));
    }
    finish(limit);
    free(limit);
    return is_good ? 0 : 1;
}
