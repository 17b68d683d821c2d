/*
 * tls_client: a certificate made on the spot, and the client's side of TLS over a descriptor. For
 * tests of net/tls and of what runs above it; whoever includes it links OpenSSL.
 */
#ifndef POSTERN_HARNESS_TLS_CLIENT_H
#define POSTERN_HARNESS_TLS_CLIENT_H

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TLS_FILES_PATH_BYTES = 64
};

/* PEM files in a folder of their own. */
struct tls_files {
    char folder[TLS_FILES_PATH_BYTES];
    char cert[TLS_FILES_PATH_BYTES + 16];
    char key[TLS_FILES_PATH_BYTES + 16];
};

static inline void tls_files_need(bool holds)
{
    if (!holds) {
        (void)fprintf(stderr, "cannot make a certificate\n");
        abort();
    }
}

static inline X509 *tls_files_sign(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    tls_files_need(cert != NULL);
    X509_NAME *name = X509_get_subject_name(cert);
    const unsigned char host[] = "localhost";
    tls_files_need(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0) == 1 &&
                   X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
                   X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
                   X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL &&
                   X509_sign(cert, key, EVP_sha256()) != 0);
    return cert;
}

static inline void tls_files_make(struct tls_files *files)
{
    (void)snprintf(files->folder, sizeof files->folder, "/tmp/postern-tls-XXXXXX");
    tls_files_need(mkdtemp(files->folder) != NULL);
    (void)snprintf(files->cert, sizeof files->cert, "%s/cert.pem", files->folder);
    (void)snprintf(files->key, sizeof files->key, "%s/key.pem", files->folder);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    tls_files_need(key != NULL);
    X509 *cert = tls_files_sign(key);
    FILE *cert_file = fopen(files->cert, "w");
    FILE *key_file = fopen(files->key, "w");
    tls_files_need(cert_file != NULL && key_file != NULL && PEM_write_X509(cert_file, cert) == 1 &&
                   PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                   fclose(cert_file) == 0 && fclose(key_file) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void tls_files_remove(const struct tls_files *files)
{
    (void)unlink(files->cert);
    (void)unlink(files->key);
    (void)rmdir(files->folder);
}

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
};

/* `version`: TLS1_2_VERSION or TLS1_3_VERSION. The handshake comes with SSL_connect or the first
 * SSL_write. The descriptor stays the caller's. */
static inline void tls_client_init(struct tls_client *client, int fd, int version)
{
    client->context = SSL_CTX_new(TLS_client_method());
    tls_files_need(client->context != NULL &&
                   SSL_CTX_set_min_proto_version(client->context, version) == 1 &&
                   SSL_CTX_set_max_proto_version(client->context, version) == 1);
    client->ssl = SSL_new(client->context);
    tls_files_need(client->ssl != NULL && SSL_set_fd(client->ssl, fd) == 1);
    SSL_set_connect_state(client->ssl);
}

static inline void tls_client_fini(struct tls_client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
}

#endif
