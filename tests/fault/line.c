/* line: see line.h. */
#include "fault/line.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_CTX *context;

bool line_init(void)
{
    context = SSL_CTX_new(TLS_client_method());
    return context != NULL;
}

void line_fini_all(void)
{
    SSL_CTX_free(context);
}

static enum line_result why(const struct line *line, int returned)
{
    int error = SSL_get_error(line->ssl, returned);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? LINE_AGAIN : LINE_LOST;
}

enum line_result line_open(struct line *line, struct stage *stage, enum stage_door door)
{
    line->ssl = NULL;
    line->n_in = 0;
    line->fd = stage_connect(stage, door);
    line->is_open = line->fd >= 0;
    line->is_over = !line->is_open;
    if (!line->is_open) {
        return LINE_LOST;
    }
    if (door != STAGE_TLS) {
        return LINE_DONE;
    }
    line->ssl = SSL_new(context);
    (void)SSL_set_fd(line->ssl, line->fd);
    SSL_set_connect_state(line->ssl);
    return line_shake(line);
}

enum line_result line_shake(struct line *line)
{
    ERR_clear_error();
    int returned = SSL_do_handshake(line->ssl);
    return returned == 1 ? LINE_DONE : why(line, returned);
}

static enum line_result send_some(struct line *line, struct span bytes, size_t *n)
{
    if (line->ssl != NULL) {
        ERR_clear_error();
        int returned = SSL_write_ex(line->ssl, bytes.ptr, bytes.len, n);
        return returned == 1 ? LINE_DONE : why(line, returned);
    }
    ssize_t sent = send(line->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN || errno == ENOTCONN ? LINE_AGAIN : LINE_LOST;
    }
    *n = (size_t)sent;
    return LINE_DONE;
}

enum line_result line_send(struct line *line, struct span *bytes)
{
    while (bytes->len != 0) {
        size_t n = 0;
        if (line->is_over) {
            return LINE_LOST;
        }
        enum line_result result = send_some(line, *bytes, &n);
        if (result != LINE_DONE) {
            return result;
        }
        *bytes = span_skip(*bytes, n);
    }
    return LINE_DONE;
}

static enum line_result read_some(struct line *line, size_t *n)
{
    char *to = line->in + line->n_in;
    size_t room = sizeof line->in - line->n_in;
    if (line->ssl != NULL) {
        ERR_clear_error();
        int returned = SSL_read_ex(line->ssl, to, room, n);
        return returned == 1 ? LINE_DONE : why(line, returned);
    }
    ssize_t got = recv(line->fd, to, room, 0);
    if (got < 0) {
        return errno == EAGAIN ? LINE_AGAIN : LINE_LOST;
    }
    *n = (size_t)got;
    return got != 0 ? LINE_DONE : LINE_LOST;
}

void line_pump(struct line *line)
{
    enum line_result result = LINE_DONE;
    while (line->is_open && !line->is_over && line->n_in < sizeof line->in && result == LINE_DONE) {
        size_t n = 0;
        result = read_some(line, &n);
        line->n_in += n;
        line->is_over = result == LINE_LOST;
    }
}

void line_consume(struct line *line, size_t n)
{
    memmove(line->in, line->in + n, line->n_in - n);
    line->n_in -= n;
}

void line_close(struct line *line)
{
    SSL_free(line->ssl);
    line->ssl = NULL;
    if (line->is_open) {
        (void)close(line->fd);
    }
    line->is_open = false;
    line->is_over = true;
}
