/* listener: see listener.h. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"

struct listener {
    struct event event;
    struct loop *loop;
    int fd;
    listener_accept_fn *on_accept;
    void *ctx;
    struct timer pause; /* armed while accepting rests */
    uint64_t logged_ms; /* when the last complaint was logged: once a second is enough */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
};

/* -- addresses -------------------------------------------------------------------------------- */

static bool parse_port(struct span digits, uint16_t *port)
{
    unsigned value = 0;
    if (digits.len == 0 || digits.len > 5) {
        return false;
    }
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(digits.ptr[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* Splits at the last colon; an address without one is a bare port. */
static bool parse_address(struct span text, union address *out, socklen_t *len)
{
    size_t colon = text.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':') {
            colon = i;
        }
    }
    struct span host = colon < text.len ? span_of(text.ptr, colon) : SPAN_LIT("0.0.0.0");
    struct span digits = colon < text.len ? span_skip(text, colon + 1) : text;
    uint16_t port = 0;
    char host_text[INET6_ADDRSTRLEN];
    if (!parse_port(digits, &port)) {
        return false;
    }
    bool is_v6 = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_v6) {
        host = span_of(host.ptr + 1, host.len - 2);
    }
    if (host.len >= sizeof host_text || span_find(host, '\0') != host.len) {
        return false;
    }
    memcpy(host_text, host.ptr, host.len);
    host_text[host.len] = '\0';
    memset(out, 0, sizeof *out);
    if (is_v6) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *len = sizeof out->v6;
        return inet_pton(AF_INET6, host_text, &out->v6.sin6_addr) == 1;
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    *len = sizeof out->v4;
    return inet_pton(AF_INET, host_text, &out->v4.sin_addr) == 1;
}

static enum err bind_error(void)
{
    switch (errno) {
    case EADDRINUSE:
        return ERR_BUSY;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

static enum err close_with(int fd, enum err e)
{
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return e;
}

/* How a TCP socket takes part in sharing its port. */
enum share {
    SHARE_NOT,
    SHARE_FIRST, /* bound alone, so that a foreign listener is noticed; then open to ours */
    SHARE_NEXT,
};

static bool bind_and_listen(int sock, const union address *addr, socklen_t len, enum share share)
{
    int on = 1;
    (void)setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->any.sa_family == AF_INET6) {
        (void)setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (share == SHARE_NEXT && setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return false;
    }
    if (bind(sock, &addr->any, len) != 0) {
        return false;
    }
    if (share == SHARE_FIRST && setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return false;
    }
    return listen(sock, LISTENER_BACKLOG) == 0;
}

static enum err open_tcp(const union address *addr, socklen_t len, enum share share, int *fd)
{
    int sock = socket(addr->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        return ERR_IO;
    }
    if (!bind_and_listen(sock, addr, len, share)) {
        return close_with(sock, bind_error());
    }
    *fd = sock;
    return ERR_OK;
}

enum err listener_bind_tcp(struct span address, int *fds, unsigned n)
{
    union address addr;
    socklen_t len = 0;
    if (!parse_address(address, &addr, &len)) {
        errno = EINVAL;
        return ERR_CONFIG;
    }
    enum err e = open_tcp(&addr, len, n == 1 ? SHARE_NOT : SHARE_FIRST, &fds[0]);
    if (e != ERR_OK) {
        return e;
    }
    socklen_t bound_len = sizeof addr;
    if (getsockname(fds[0], &addr.any, &bound_len) != 0) { /* port 0 has become one */
        return close_with(fds[0], ERR_IO);
    }
    for (unsigned i = 1; i < n; i++) {
        e = open_tcp(&addr, len, SHARE_NEXT, &fds[i]);
        if (e != ERR_OK) {
            while (i != 0) {
                (void)close_with(fds[--i], e);
            }
            return e;
        }
    }
    return ERR_OK;
}

/* Removes the file of a socket that nobody listens on. ERR_OK: the path is free now. */
static enum err clear_stale_socket(const union address *addr)
{
    struct stat info;
    if (lstat(addr->local.sun_path, &info) != 0) {
        return errno == ENOENT ? ERR_OK : bind_error();
    }
    if (!S_ISSOCK(info.st_mode)) {
        errno = EEXIST;
        return ERR_CONFIG;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return ERR_IO;
    }
    bool is_dead = connect(probe, &addr->any, sizeof addr->local) != 0 && errno == ECONNREFUSED;
    (void)close(probe);
    if (!is_dead) {
        errno = EADDRINUSE;
        return ERR_BUSY;
    }
    return unlink(addr->local.sun_path) == 0 || errno == ENOENT ? ERR_OK : bind_error();
}

enum err listener_bind_unix(const char *path, unsigned mode, int *fd)
{
    union address addr;
    memset(&addr, 0, sizeof addr);
    addr.local.sun_family = AF_UNIX;
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof addr.local.sun_path) {
        errno = ENAMETOOLONG;
        return ERR_CONFIG;
    }
    memcpy(addr.local.sun_path, path, len);
    enum err e = clear_stale_socket(&addr);
    if (e != ERR_OK) {
        return e;
    }
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        return ERR_IO;
    }
    /* fchmod before bind decides the mode of the file from its first moment. */
    if (fchmod(sock, (mode_t)mode) != 0 || bind(sock, &addr.any, sizeof addr.local) != 0 ||
        chmod(path, (mode_t)mode) != 0 || listen(sock, LISTENER_BACKLOG) != 0) {
        return close_with(sock, bind_error());
    }
    *fd = sock;
    return ERR_OK;
}

/* -- accepting -------------------------------------------------------------------------------- */

static void peer_of(const union address *addr, struct conn_peer *peer)
{
    memset(peer, 0, sizeof *peer);
    peer->family = addr->any.sa_family;
    if (addr->any.sa_family == AF_INET) {
        peer->address.s6_addr[10] = 0xff;
        peer->address.s6_addr[11] = 0xff;
        memcpy(peer->address.s6_addr + 12, &addr->v4.sin_addr, 4);
        peer->port = ntohs(addr->v4.sin_port);
    } else if (addr->any.sa_family == AF_INET6) {
        peer->address = addr->v6.sin6_addr;
        peer->port = ntohs(addr->v6.sin6_port);
    }
}

static void rest(struct listener *listener, int error)
{
    struct kit *kit = loop_kit(listener->loop);
    if (kit->now_ms - listener->logged_ms >= 1000) {
        listener->logged_ms = kit->now_ms;
        LOG(LOG_ERROR, "cannot accept connections, pausing",
            "error=\"%s\" hint=\"raise LimitNOFILE "
            "or lower limits.connections\"",
            strerror(error));
    }
    (void)event_del(&listener->event);
    timer_arm(&kit->timers, &listener->pause, kit->now_ms + LISTENER_PAUSE_MS);
}

static void on_pause_over(struct timer *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, pause);
    struct kit *kit = loop_kit(listener->loop);
    if (event_add(&listener->event, NULL) != 0) {
        timer_arm(&kit->timers, &listener->pause, kit->now_ms + LISTENER_PAUSE_MS);
    }
}

/* The connection ended before it was accepted, or there is none: the listener itself is well. Linux
 * also hands on network errors of the new connection (accept(2)). */
static bool is_passing(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall rule */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct listener *listener = ctx;
    loop_touch_clock(listener->loop);
    for (int i = 0; i < LISTENER_BATCH; i++) {
        union address addr;
        socklen_t len = sizeof addr;
        memset(&addr, 0, sizeof addr.any);
        int client = accept4(fd, &addr.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            /* What does not pass (EMFILE, ENFILE, ENOBUFS, ENOMEM, anything unknown) would come
             * again at once. */
            if (!is_passing(errno)) {
                rest(listener, errno);
            }
            return;
        }
        if (addr.any.sa_family != AF_UNIX) {
            int on = 1;
            (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        struct conn_peer peer;
        peer_of(&addr, &peer);
        loop_kit(listener->loop)->counters.connections_accepted++;
        listener->on_accept(listener->ctx, client, &peer);
    }
}

enum err listener_create(struct loop *loop, int fd, listener_accept_fn *on_accept, void *ctx,
                         struct listener **out)
{
    struct listener *listener = MEM_NEW(struct listener);
    if (listener == NULL) {
        return close_with(fd, ERR_NOMEM);
    }
    listener->loop = loop;
    listener->fd = fd;
    listener->on_accept = on_accept;
    listener->ctx = ctx;
    timer_init(&listener->pause, on_pause_over);
    if (event_assign(&listener->event, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable,
                     listener) != 0 ||
        event_add(&listener->event, NULL) != 0) {
        mem_free(listener);
        return close_with(fd, ERR_IO);
    }
    *out = listener;
    return ERR_OK;
}

void listener_destroy(struct listener *listener)
{
    timer_cancel(&loop_kit(listener->loop)->timers, &listener->pause);
    (void)event_del(&listener->event);
    (void)close(listener->fd);
    mem_free(listener);
}
