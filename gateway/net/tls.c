/* tls: see tls.h. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

struct tls_server {
    OSSL_LIB_CTX *library;
    SSL_CTX *context;
};

/* -- I/O -------------------------------------------------------------------------------------- */

static SSL *ssl_of(const struct conn *conn)
{
    return conn->io_state;
}

/* What an SSL call that did not succeed means for the connection. */
static ssize_t result_of(struct conn *conn, int returned)
{
    switch (SSL_get_error(ssl_of(conn), returned)) {
    case SSL_ERROR_WANT_READ:
        conn->io_wants_write = false;
        return CONN_IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        conn->io_wants_write = true;
        return CONN_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return CONN_IO_EOF;
    default:
        return CONN_IO_ERROR;
    }
}

static ssize_t tls_read(struct conn *conn, char *bytes, size_t len)
{
    size_t n = 0;
    ERR_clear_error(); /* a stale entry of another connection would be taken for this one's */
    int returned = SSL_read_ex(ssl_of(conn), bytes, len, &n);
    if (returned != 1) {
        return result_of(conn, returned);
    }
    conn->io_wants_write = false;
    return (ssize_t)n;
}

static ssize_t tls_write(struct conn *conn, const char *bytes, size_t len)
{
    size_t n = 0;
    ERR_clear_error();
    int returned = SSL_write_ex(ssl_of(conn), bytes, len, &n);
    if (returned != 1) {
        ssize_t result = result_of(conn, returned);
        return result == CONN_IO_EOF ? CONN_IO_ERROR : result;
    }
    conn->io_wants_write = false;
    return (ssize_t)n;
}

/* Bytes that OpenSSL has decrypted already: no descriptor event will tell of them. */
static bool tls_has_pending(const struct conn *conn)
{
    return SSL_pending(ssl_of(conn)) > 0;
}

static void tls_shutdown(struct conn *conn)
{
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_of(conn))) {
        (void)SSL_shutdown(ssl_of(conn)); /* our close_notify; the peer's is not waited for */
    }
    (void)shutdown(conn->fd, SHUT_WR);
}

static void tls_close(struct conn *conn)
{
    SSL_free(conn->io_state);
    (void)close(conn->fd);
}

const struct conn_io conn_io_tls = {
    .name = "tls",
    .read = tls_read,
    .write = tls_write,
    .is_tls = true,
    .writes_records = true,
    .has_pending = tls_has_pending,
    .shutdown = tls_shutdown,
    .close = tls_close,
};

/* -- contexts --------------------------------------------------------------------------------- */

static void say_why(char why[TLS_WHY_BYTES], const char *what, const char *path)
{
    char reason[160];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    (void)snprintf(why, TLS_WHY_BYTES, "%s %s: %s", what, path, reason);
}

/* Only HTTP/1.1 is spoken here; a client that offers nothing we know goes on without ALPN. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *ctx)
{
    (void)ssl;
    (void)ctx;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_up_context(SSL_CTX *context, const struct tls_ticket_keys *keys)
{
    static const unsigned char session_id_context[] = "postern";
    struct tls_ticket_keys copy = *keys; /* the macro wants it writable */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Tickets carry the sessions; a server-side cache would be one more lock and more memory. */
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_session_id_context(context, session_id_context,
                                          sizeof session_id_context - 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_keys(context, copy.bytes, sizeof copy.bytes) == 1;
}

static enum err load(struct tls_server *server, const char *cert_path, const char *key_path,
                     char why[TLS_WHY_BYTES])
{
    if (SSL_CTX_use_certificate_chain_file(server->context, cert_path) != 1) {
        say_why(why, "cannot use the certificate", cert_path);
        return ERR_CONFIG;
    }
    if (SSL_CTX_use_PrivateKey_file(server->context, key_path, SSL_FILETYPE_PEM) != 1) {
        say_why(why, "cannot use the key", key_path);
        return ERR_CONFIG;
    }
    if (SSL_CTX_check_private_key(server->context) != 1) {
        say_why(why, "the key does not belong to the certificate:", key_path);
        return ERR_CONFIG;
    }
    return ERR_OK;
}

/* OpenSSL makes all methods of a kind (MACs, KDFs...) when the first of them is asked for. One for
 * which there is no memory just then is passed over and never made again: handshakes that need it
 * would fail until the process ends. So the kinds are made here, and what TLS 1.2 and 1.3 cannot
 * do without must be among them, else the start has failed. */
#define FETCH_ALL(kind, library, ...)                                                              \
    do {                                                                                           \
        static const char *const names[] = {__VA_ARGS__};                                          \
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {                              \
            EVP_##kind *method = EVP_##kind##_fetch(library, names[i], NULL);                      \
            if (method == NULL) {                                                                  \
                return false;                                                                      \
            }                                                                                      \
            EVP_##kind##_free(method);                                                             \
        }                                                                                          \
    } while (0)

static bool make_methods(OSSL_LIB_CTX *library)
{
    unsigned char byte = 0;
    FETCH_ALL(MD, library, "SHA1", "SHA256", "SHA384", "SHA512");
    FETCH_ALL(CIPHER, library, "AES-128-GCM", "AES-256-GCM", "AES-128-CBC", "AES-256-CBC",
              "AES-256-CTR");
    FETCH_ALL(MAC, library, "HMAC");
    FETCH_ALL(KDF, library, "HKDF", "TLS13-KDF", "TLS1-PRF");
    FETCH_ALL(KEYMGMT, library, "X25519", "EC", "RSA", "RSA-PSS", "HMAC");
    FETCH_ALL(KEYEXCH, library, "X25519", "ECDH");
    FETCH_ALL(SIGNATURE, library, "ECDSA", "RSA", "HMAC");
    FETCH_ALL(RAND, library, "CTR-DRBG", "SEED-SRC");
    return RAND_bytes_ex(library, &byte, 1, 0) == 1 &&
           RAND_priv_bytes_ex(library, &byte, 1, 0) == 1;
}

enum err tls_server_create(const char *cert_path, const char *key_path,
                           const struct tls_ticket_keys *keys, struct tls_server **out,
                           char why[TLS_WHY_BYTES])
{
    struct tls_server *server = MEM_NEW(struct tls_server);
    (void)snprintf(why, TLS_WHY_BYTES, "out of memory");
    if (server == NULL) {
        return ERR_NOMEM;
    }
    ERR_clear_error();
    enum err e = ERR_NOMEM;
    server->library = OSSL_LIB_CTX_new();
    if (server->library != NULL && make_methods(server->library)) {
        server->context = SSL_CTX_new_ex(server->library, NULL, TLS_server_method());
    }
    if (server->context != NULL && set_up_context(server->context, keys)) {
        e = load(server, cert_path, key_path, why);
    }
    if (e != ERR_OK) {
        tls_server_destroy(server);
        return e;
    }
    *out = server;
    return ERR_OK;
}

void tls_server_destroy(struct tls_server *server)
{
    SSL_CTX_free(server->context);
    OSSL_LIB_CTX_free(server->library);
    mem_free(server);
}

void *tls_accept(struct tls_server *server, int fd)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(server->context);
    if (ssl == NULL) {
        return NULL;
    }
    if (SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

void tls_thread_stop(struct tls_server *server)
{
    OPENSSL_thread_stop_ex(server->library);
}
