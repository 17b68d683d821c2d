/* load_link: see load_link.h. */
#include "load_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void load_link_init(struct load_link *link, struct load_user *user)
{
    *link = (struct load_link){.fd = -1, .user = user};
}

void load_link_close(struct load_link *link)
{
    if (link->fd >= 0) {
        (void)close(link->fd);
    }
    bytes_fini(&link->in);
    bytes_fini(&link->out);
    load_link_init(link, link->user);
}

static bool watch(struct load *load, struct load_link *link, int operation, bool wants_out)
{
    struct epoll_event event = {
        .events = EPOLLIN | (wants_out ? (uint32_t)EPOLLOUT : 0U),
        .data.ptr = link,
    };
    link->wants_out = wants_out;
    return epoll_ctl(load->epoll_fd, operation, link->fd, &event) == 0;
}

/* A port range holds about 28,000 connections to one server port; each address has its own. The
 * port is chosen at connect(), when the whole four-tuple is known. */
static bool bind_source(const struct load *load, const struct load_link *link)
{
    int on = 1;
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + link->user->number % load->opts.sources),
    };
    return setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
           bind(link->fd, (const struct sockaddr *)&source, sizeof source) == 0;
}

bool load_link_open(struct load *load, struct load_link *link)
{
    int on = 1;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0 || setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        (load->opts.sources > 1 && !bind_source(load, link))) {
        return false;
    }
    const struct sockaddr_in *server = &load->opts.server;
    if (connect(link->fd, (const struct sockaddr *)server, sizeof *server) != 0 &&
        errno != EINPROGRESS) {
        return false;
    }
    link->is_connecting = true;
    return watch(load, link, EPOLL_CTL_ADD, true);
}

bool load_link_on_writable(struct load *load, struct load_link *link)
{
    if (link->is_connecting) {
        int error = 0;
        socklen_t n = sizeof error;
        if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
            errno = error != 0 ? error : errno;
            return false;
        }
        link->is_connecting = false;
    }
    if (link->out.n > 0) {
        ssize_t sent = send(link->fd, bytes_data(&link->out), link->out.n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        bytes_consume(&link->out, sent > 0 ? (size_t)sent : 0);
    }
    if (link->out.n > 0) {
        return true;
    }
    bytes_fini(&link->out);
    return !link->wants_out || watch(load, link, EPOLL_CTL_MOD, false);
}

bool load_link_write(struct load *load, struct load_link *link, const void *data, size_t n)
{
    ssize_t sent = 0;
    if (link->out.n == 0) {
        sent = send(link->fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent == n) {
        return true;
    }
    bytes_append(&link->out, (const char *)data + sent, n - (size_t)sent);
    return link->wants_out || watch(load, link, EPOLL_CTL_MOD, true);
}

enum load_link_got load_link_read(struct load *load, struct load_link *link, struct slice *got)
{
    size_t kept = link->in.n;
    if (kept >= load->rx_bytes) {
        errno = EMSGSIZE;
        return LOAD_LINK_BROKEN;
    }
    ssize_t n = recv(link->fd, load->rx + kept, load->rx_bytes - kept, 0);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? LOAD_LINK_NOTHING : LOAD_LINK_BROKEN;
    }
    if (n == 0) {
        return LOAD_LINK_EOF;
    }
    if (kept > 0) {
        memcpy(load->rx, bytes_data(&link->in), kept);
        bytes_fini(&link->in);
    }
    *got = (struct slice){load->rx, kept + (size_t)n};
    return LOAD_LINK_DATA;
}

void load_link_keep(struct load_link *link, struct slice rest)
{
    bytes_append(&link->in, rest.at, rest.n);
}
