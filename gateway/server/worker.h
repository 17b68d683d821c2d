/*
 * worker: one thread with its own loop, tables and timers. Workers share nothing but the composed
 * config (read-only) and the count of clients by address (net/peers), and speak by mailbox: a
 * connection whose request belongs to a session of another worker is sent there, and so are the
 * handler links that worker 0 accepts and deals out. Threads: created and joined by the supervisor;
 * the rest runs on its own thread.
 */
#ifndef POSTERN_SERVER_WORKER_H
#define POSTERN_SERVER_WORKER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/hmap.h"
#include "server/compose.h"

struct loop;
struct peers;
struct tls_server;
struct worker;

struct worker_birth {
    unsigned id;
    unsigned n_workers;
    struct worker *const *all; /* n_workers; complete before the first one is started */
    struct hash_key owner_key;
    const struct composed *composed;
    struct peers *peers;   /* outlives all workers */
    const int *listen_fds; /* owned by the worker from now on, also on failure */
    unsigned n_listen_fds;
    const int *tls_fds; /* likewise; spoken by TLS */
    unsigned n_tls_fds;
    const int *flash_fds; /* likewise; plain, and policy requests of Flash players are answered */
    unsigned n_flash_fds;
    struct tls_server *const *tls; /* one for each worker; NULL without TLS; outlive all workers */
    int handlers_fd;               /* -1: another worker accepts handlers and deals them out */
    /* Called once, on the worker's thread, when its loop has ended. */
    void (*on_ended)(void *ctx);
    void *ctx;
};

enum err worker_create(const struct worker_birth *birth, struct worker **out) MUST_CHECK;
enum err worker_start(struct worker *worker) MUST_CHECK;
/* Of a worker that is never started: a test turns its loop by hand. */
struct loop *worker_loop(const struct worker *worker);
/* From any thread: stop accepting, say goodbye to the sessions, end within `drain_ms`. A second
 * call with 0 ends at once. */
void worker_stop(struct worker *worker, uint64_t drain_ms);
/* Waits for the thread, if it was started. Others may still send letters to this worker. */
void worker_join(struct worker *worker);
/* Frees everything. All workers must have been joined. */
void worker_destroy(struct worker *worker);

#endif
