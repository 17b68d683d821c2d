/* load_link: see load_link.h. */
#include "load_link.h"

#include "load_tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
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
    SSL_free(link->tls);
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

static ssize_t write_some(const struct load_link *link, const void *data, size_t n)
{
    return link->tls != NULL ? load_tls_write(link->tls, data, n)
                             : send(link->fd, data, n, MSG_NOSIGNAL);
}

/* TCP is connected: on with TLS, at the end of which the link is. */
static bool shake_hands(struct load *load, struct load_link *link)
{
    bool wants_out = false;
    if (link->tls == NULL && (link->tls = load_tls_open(load->tls_context, link->fd)) == NULL) {
        return false;
    }
    int done = load_tls_handshake(link->tls, &wants_out);
    link->is_connecting = done == 0;
    return done >= 0 &&
           (wants_out == link->wants_out || watch(load, link, EPOLL_CTL_MOD, wants_out));
}

static bool go_on_connecting(struct load *load, struct load_link *link)
{
    int error = 0;
    socklen_t n = sizeof error;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        errno = error != 0 ? error : errno;
        return false;
    }
    if (load->tls_context != NULL) {
        return shake_hands(load, link);
    }
    link->is_connecting = false;
    return true;
}

bool load_link_on_writable(struct load *load, struct load_link *link)
{
    if (link->is_connecting && !go_on_connecting(load, link)) {
        return false;
    }
    if (link->is_connecting) {
        return true;
    }
    if (link->out.n > 0) {
        ssize_t sent = write_some(link, bytes_data(&link->out), link->out.n);
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
        sent = write_some(link, data, n);
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
    if (link->is_connecting) {
        return LOAD_LINK_NOTHING; /* what came belongs to the handshake */
    }
    if (kept >= load->rx_bytes) {
        errno = EMSGSIZE;
        return LOAD_LINK_BROKEN;
    }
    size_t room = load->rx_bytes - kept;
    ssize_t n = link->tls != NULL ? load_tls_read(link->tls, load->rx + kept, room)
                                  : recv(link->fd, load->rx + kept, room, 0);
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

bool load_link_has_more(const struct load_link *link)
{
    return link->tls != NULL && SSL_pending(link->tls) > 0;
}

void load_link_keep(struct load_link *link, struct slice rest)
{
    bytes_append(&link->in, rest.at, rest.n);
}
