/* worker_internal: what worker.c (life) and worker_mail.c (what comes in, and what goes from worker
 * to worker) share. Private to this folder. */
#ifndef POSTERN_SERVER_WORKER_INTERNAL_H
#define POSTERN_SERVER_WORKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/kit.h"
#include "edge/admit.h"
#include "edge/bind.h"
#include "http/http_conn.h"
#include "net/listener.h"
#include "net/mailbox.h"
#include "server/worker.h"

enum {
    WORKER_MAX_LISTENERS = 48,
};

struct worker {
    struct kit kit;
    struct loop *loop;
    struct mailbox *mailbox;
    const struct composed *composed;
    struct worker *const *all;
    struct peers *peers;
    struct http_server http;
    struct binds binds;
    struct admit admit;
    struct listener *listeners[WORKER_MAX_LISTENERS];
    unsigned n_listeners;
    struct listener *handlers;
    struct tls_server *const *tls;
    atomic_uint n_links;         /* dealt to this worker and alive; worker 0 looks for the least */
    uint64_t refusal_logged_ms;  /* once a second is enough */
    uint64_t refusals_to_report; /* since then */
    struct letter stop_letter;   /* in the mailbox while is_stop_posted */
    atomic_bool is_stop_posted;
    atomic_uint_fast64_t stop_drain_ms; /* of the last worker_stop */
    struct timer drain;
    uint64_t drain_start_ms;
    uint64_t drain_end_ms;
    bool is_draining;
    bool has_thread;
    pthread_t thread;
    void (*on_ended)(void *ctx);
    void *ctx;
};

/* listener_accept_fn of the client listeners; `ctx` is the worker. */
void worker_on_client(void *ctx, int fd, const struct conn_peer *peer);
void worker_on_tls_client(void *ctx, int fd, const struct conn_peer *peer);
void worker_on_flash_client(void *ctx, int fd, const struct conn_peer *peer);
/* Of the handler socket: the link goes to the worker that has the fewest. */
void worker_on_handler(void *ctx, int fd, const struct conn_peer *peer);

/* http_server.on_move: sends the connection to its session's worker. */
void worker_move(void *ctx, struct conn_parcel *parcel, unsigned to);
/* binds.spread: sends the near end of a relay to worker `to`. */
void worker_spread(void *ctx, unsigned to, int fd);
/* binds.on_unlinked: a link of this worker has ended. */
void worker_on_unlinked(void *ctx);

#endif
