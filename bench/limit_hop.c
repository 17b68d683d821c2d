/*
 * limit_hop: the price of a handler in a second process, paid as cheaply as it can be.
 *
 *   front  --- {id, length}payload {id, length}payload ... --->  back
 *   front  <-- the same, each record copied by the back -------  back
 *
 * Everything a loop turn produced goes in ONE write each way. id is generation << 20 | descriptor;
 * length has the frame's first byte in its upper eight bits. The back blocks; the front does not,
 * and stops reading clients while much is queued, so neither can wait for the other for ever.
 */
#include "limit.h"
#include "ws_frame.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOP_BUFFER            ((size_t)4 << 20)
#define HOP_FULL              ((size_t)8 << 20)
#define FD_BITS               20
#define ID_OF(generation, fd) ((uint32_t)((generation)&0xfffU) << FD_BITS | (uint32_t)(fd))
#define LENGTH_BITS           24

struct hop_head {
    uint32_t id;
    uint32_t length;
};

_Static_assert(LIMIT_PAYLOAD_MAX < 1U << LENGTH_BITS, "a length fits");
_Static_assert(LIMIT_PAYLOAD_MAX + sizeof(struct hop_head) < HOP_BUFFER, "a record fits");

static bool write_all(int fd, const uint8_t *at, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        at += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* Copies the whole records of the n bytes to `to`; returns how many bytes they are. The copy is
 * what an echoing handler would do with each message. */
static size_t answer_records(const uint8_t *at, size_t n, uint8_t *to)
{
    size_t taken = 0;
    while (n - taken >= sizeof(struct hop_head)) {
        struct hop_head head;
        memcpy(&head, at + taken, sizeof head);
        size_t n_record = sizeof head + (head.length & ((1U << LENGTH_BITS) - 1));
        if (n - taken < n_record) {
            break;
        }
        memcpy(to + taken, &head, sizeof head);
        memcpy(to + taken + sizeof head, at + taken + sizeof head, n_record - sizeof head);
        taken += n_record;
    }
    return taken;
}

/* The second process: until the first one is gone. */
static _Noreturn void serve_back(int fd)
{
    uint8_t *rx = bytes_calloc(HOP_BUFFER, 1);
    uint8_t *tx = bytes_calloc(HOP_BUFFER, 1);
    size_t kept = 0;
    ssize_t n = 0;
    while ((n = recv(fd, rx + kept, HOP_BUFFER - kept, 0)) > 0 || (n < 0 && errno == EINTR)) {
        kept += n > 0 ? (size_t)n : 0;
        size_t taken = answer_records(rx, kept, tx);
        if (!write_all(fd, tx, taken)) {
            break;
        }
        kept -= taken;
        memmove(rx, rx + taken, kept);
    }
    free(rx);
    free(tx);
    _exit(0);
}

bool limit_hop_start(struct limit *limit)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    pid_t front = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        /* SIGTERM may reach the whole group: the front decides when this ends, by closing. */
        (void)signal(SIGTERM, SIG_IGN);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(pair[0]);
        if (getppid() != front) {
            _exit(0);
        }
        serve_back(pair[1]);
    }
    (void)close(pair[1]);
    limit->hop_rx = bytes_calloc(HOP_BUFFER, 1);
    limit->hop_fd = pair[0];
    limit->hop_pid = pid;
    return pid > 0;
}

void limit_hop_put(struct limit *limit, int fd, uint8_t first, const uint8_t *at, size_t n)
{
    const struct hop_head head = {
        .id = ID_OF(limit->conns[fd].generation, fd),
        .length = (uint32_t)first << LENGTH_BITS | (uint32_t)n,
    };
    bytes_append(&limit->to_hop, &head, sizeof head);
    bytes_append(&limit->to_hop, at, n);
}

bool limit_hop_flush(struct limit *limit)
{
    if (limit->to_hop.n == 0) {
        return true;
    }
    ssize_t sent = send(limit->hop_fd, bytes_data(&limit->to_hop), limit->to_hop.n,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    bytes_consume(&limit->to_hop, sent > 0 ? (size_t)sent : 0);
    bool wants_out = limit->to_hop.n > 0;
    if (wants_out != limit->hop_wants_out) {
        struct epoll_event event = {
            .events = EPOLLIN | (wants_out ? (uint32_t)EPOLLOUT : 0U),
            .data.fd = limit->hop_fd,
        };
        limit->hop_wants_out = wants_out;
        return epoll_ctl(limit->epoll_fd, EPOLL_CTL_MOD, limit->hop_fd, &event) == 0;
    }
    return true;
}

bool limit_hop_is_full(const struct limit *limit)
{
    return limit->to_hop.n > HOP_FULL;
}

/* The connection of an id, or -1 when it is gone. */
static int fd_of(const struct limit *limit, uint32_t id)
{
    int fd = (int)(id & (LIMIT_CONNS_MAX - 1));
    const struct limit_conn *conn = &limit->conns[fd];
    return conn->is_used && !conn->is_closing && ID_OF(conn->generation, fd) == id ? fd : -1;
}

/* Answers of one connection stand together, as they were read together: each run of them is one
 * write. Returns how many bytes were whole records. */
static size_t deliver(struct limit *limit, const uint8_t *at, size_t n)
{
    size_t taken = 0;
    uint32_t run_id = 0;
    int run_fd = -1;
    while (n - taken >= sizeof(struct hop_head)) {
        struct hop_head head;
        uint8_t frame_head[WS_FRAME_HEAD_MAX];
        memcpy(&head, at + taken, sizeof head);
        size_t n_payload = head.length & ((1U << LENGTH_BITS) - 1);
        if (n - taken - sizeof head < n_payload) {
            break;
        }
        if (head.id != run_id) {
            limit_send(limit, run_fd);
            run_id = head.id;
            run_fd = fd_of(limit, head.id);
        }
        if (run_fd >= 0) {
            uint8_t first = (uint8_t)(head.length >> LENGTH_BITS);
            bytes_append(&limit->tx, frame_head,
                         ws_frame_write(frame_head, first, n_payload, NULL));
            bytes_append(&limit->tx, at + taken + sizeof head, n_payload);
        }
        taken += sizeof head + n_payload;
    }
    limit_send(limit, run_fd);
    return taken;
}

bool limit_hop_on_readable(struct limit *limit)
{
    uint8_t *rx = limit->hop_rx;
    ssize_t n =
        recv(limit->hop_fd, rx + limit->hop_kept, HOP_BUFFER - limit->hop_kept, MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    limit->hop_kept += (size_t)n;
    size_t taken = deliver(limit, rx, limit->hop_kept);
    limit->hop_kept -= taken;
    memmove(rx, rx + taken, limit->hop_kept);
    return true;
}
