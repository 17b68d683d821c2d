/* conn_plain: the conn_io of a bare descriptor. See conn.h. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

static ssize_t plain_result(ssize_t n)
{
    if (n >= 0) {
        return n;
    }
    return errno == EAGAIN || errno == EINTR ? CONN_IO_AGAIN : CONN_IO_ERROR;
}

static ssize_t plain_read(struct conn *conn, char *bytes, size_t len)
{
    return plain_result(recv(conn->fd, bytes, len, 0));
}

static ssize_t plain_write(struct conn *conn, const char *bytes, size_t len)
{
    return plain_result(send(conn->fd, bytes, len, MSG_NOSIGNAL));
}

static void plain_shutdown(struct conn *conn)
{
    (void)shutdown(conn->fd, SHUT_WR);
}

static void plain_close(struct conn *conn)
{
    (void)close(conn->fd);
}

const struct conn_io conn_io_plain = {
    .name = "plain",
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_shutdown,
    .close = plain_close,
};
