/*
 * load_tls: the client's end of TLS 1.3 on a non-blocking socket, under load_link. One context for
 * all connections; no certificate is verified and no session kept, so every handshake is a full
 * one. Buffers are given back when empty: ten thousand idle clients fit on a small machine.
 */
#ifndef POSTERN_BENCH_LOAD_TLS_H
#define POSTERN_BENCH_LOAD_TLS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* NULL, with a sentence on stderr, when the library cannot do it. Ignores SIGPIPE from here on, as
 * the library writes with write(2). The caller ends it with SSL_CTX_free(), which takes NULL. */
SSL_CTX *load_tls_create(void);

/* TLS on a connected socket, which stays the caller's; ended with SSL_free(). NULL with errno. */
SSL *load_tls_open(SSL_CTX *context, int fd);

/* One step of the handshake: 1 at its end, 0 while it waits (*wants_out: for room to write), -1
 * with errno. */
int load_tls_handshake(SSL *tls, bool *wants_out);

/* As send(2) and recv(2) on a non-blocking socket: perhaps fewer bytes than asked for, or -1 with
 * EAGAIN. What a write left must be offered again from its first byte on. A read takes all that is
 * there and fits. */
ssize_t load_tls_write(SSL *tls, const void *data, size_t n);
ssize_t load_tls_read(SSL *tls, void *to, size_t n);

#endif
