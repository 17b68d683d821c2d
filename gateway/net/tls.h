/*
 * tls: TLS 1.2 and 1.3 on the same path as plain connections: a conn_io whose io_state is an SSL.
 *
 * Each worker has its own OpenSSL library context, so that handshakes of different workers share no
 * lock, and one SSL_CTX per certificate in it. The ticket keys are the same in all, so that a
 * client resumes on whichever worker it lands. An SSL keeps the context it was born with when its
 * connection moves to another worker: the contexts live until every worker has been joined.
 * Buffers of idle connections are released (SSL_MODE_RELEASE_BUFFERS), writes may be partial,
 * renegotiation, compression and 0-RTT are off, ALPN answers http/1.1.
 * The handshake runs inside the first reads and writes; the owner's head deadline covers it.
 * Threads: tls_server_create and _destroy by the supervisor, the rest by the owning worker.
 */
#ifndef POSTERN_NET_TLS_H
#define POSTERN_NET_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/conn.h"

struct tls_server;

/* What all workers' contexts have in common. Drawn once per process, rotated by a later version. */
struct tls_ticket_keys {
    uint8_t bytes[80]; /* name, HMAC and AES keys in the layout of SSL_CTX_set_tlsext_ticket_keys */
};

enum {
    TLS_WHY_BYTES = 256
};

/* Loads the certificate chain and the key (PEM files). ERR_CONFIG: `why` says which file and what
 * is wrong with it; ERR_NOMEM. */
enum err tls_server_create(const char *cert_path, const char *key_path,
                           const struct tls_ticket_keys *keys, struct tls_server **out,
                           char why[TLS_WHY_BYTES]) MUST_CHECK;
/* After every worker was joined: connections may have moved. */
void tls_server_destroy(struct tls_server *server);

/* The io_state for an accepted `fd`, for conn_create with conn_io_tls; NULL when out of memory. */
void *tls_accept(struct tls_server *server, int fd) MUST_CHECK;

extern const struct conn_io conn_io_tls;

/* For the end of a worker's thread: frees what OpenSSL keeps per thread for `server`. What it keeps
 * for others, whose connections came by moving, goes when the thread exits. */
void tls_thread_stop(struct tls_server *server);

#endif
