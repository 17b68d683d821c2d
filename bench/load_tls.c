/* load_tls: see load_tls.h. */
#include "load_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>

SSL_CTX *load_tls_create(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        (void)fputs("postern-load: TLS cannot be set up\n", stderr);
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* A FIN without a goodbye is an end: HTTP and WebSocket know whether something is missing. */
    (void)SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return context;
}

SSL *load_tls_open(SSL_CTX *context, int fd)
{
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1) {
        SSL_free(tls);
        errno = ENOMEM;
        return NULL;
    }
    SSL_set_connect_state(tls);
    return tls;
}

/* What a call that did not succeed means, in the words of the socket calls: EAGAIN to wait, 0 for
 * the peer's end, any other for a failure. */
static int error_of(const SSL *tls, int result)
{
    int system_error = errno;
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return system_error != 0 ? system_error : ECONNRESET;
    default:
        return EPROTO;
    }
}

int load_tls_handshake(SSL *tls, bool *wants_out)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls);
    *wants_out = SSL_want_write(tls);
    if (result == 1) {
        return 1;
    }
    int error = error_of(tls, result);
    errno = error != 0 ? error : ECONNRESET;
    return error == EAGAIN ? 0 : -1;
}

ssize_t load_tls_write(SSL *tls, const void *data, size_t n)
{
    size_t total = 0;
    while (total < n) {
        size_t written = 0;
        ERR_clear_error();
        int result = SSL_write_ex(tls, (const char *)data + total, n - total, &written);
        if (result != 1) {
            int error = error_of(tls, result);
            errno = error != 0 ? error : EPIPE;
            return total > 0 && error == EAGAIN ? (ssize_t)total : -1;
        }
        total += written;
    }
    return (ssize_t)total;
}

ssize_t load_tls_read(SSL *tls, void *to, size_t n)
{
    size_t total = 0;
    while (total < n) {
        size_t got = 0;
        ERR_clear_error();
        int result = SSL_read_ex(tls, (char *)to + total, n - total, &got);
        if (result != 1) {
            int error = error_of(tls, result);
            if (total > 0 || error == 0) {
                break; /* an end behind bytes is told by the next read: the socket stays readable */
            }
            errno = error;
            return -1;
        }
        total += got;
    }
    return (ssize_t)total;
}
