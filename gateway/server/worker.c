/* worker: see worker.h. */
#include "server/worker.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/tls.h"
#include "server/assets.h"
#include "server/config.h"
#include "server/worker_internal.h"
#include "wire/ws_deflate_pool.h"

enum {
    GOODBYE_LOOK_MS = 20,   /* how often a draining worker looks whether it is done */
    GOODBYE_LEAST_MS = 100, /* what was said last must reach the kernel's buffers */
};

static void stop_listening(struct worker *w)
{
    while (w->n_listeners != 0) {
        listener_destroy(w->listeners[--w->n_listeners]);
    }
    if (w->handlers != NULL) {
        listener_destroy(w->handlers);
        w->handlers = NULL;
    }
}

/* -- stopping --------------------------------------------------------------------------------- */

static bool has_carriers(const struct worker *w)
{
    const struct session *session = NULL;
    LIST_FOREACH (session, &w->admit.sessions, all) {
        if (session->carrier != NULL) {
            return true;
        }
    }
    return false;
}

static void on_drain_look(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, drain);
    uint64_t now_ms = w->kit.now_ms;
    bool is_done = !has_carriers(w) && now_ms - w->drain_start_ms >= GOODBYE_LEAST_MS;
    if (is_done || now_ms >= w->drain_end_ms) {
        loop_stop(w->loop);
    } else {
        timer_arm(&w->kit.timers, timer, now_ms + GOODBYE_LOOK_MS);
    }
}

static void open_stop(struct letter *letter, void *ctx)
{
    struct worker *w = ctx;
    (void)letter;
    /* First: whoever asks again from now on needs another letter. */
    atomic_store(&w->is_stop_posted, false);
    w->drain_end_ms = w->kit.now_ms + atomic_load(&w->stop_drain_ms);
    if (!w->is_draining) {
        w->is_draining = true;
        w->drain_start_ms = w->kit.now_ms;
        stop_listening(w);
        w->admit.is_draining = true;
        binds_drain(&w->binds);
        admit_close_all(&w->admit, 1012, SPAN_LIT("Service restart"));
    }
    timer_arm(&w->kit.timers, &w->drain, w->kit.now_ms + 1);
}

static void burn_stop(struct letter *letter)
{
    (void)letter; /* a part of the worker */
}

/* The letter is the worker's own, since memory may be short just when it is told to end. */
void worker_stop(struct worker *w, uint64_t drain_ms)
{
    atomic_store(&w->stop_drain_ms, drain_ms);
    if (!atomic_exchange(&w->is_stop_posted, true)) {
        w->stop_letter.open = open_stop;
        w->stop_letter.burn = burn_stop;
        mailbox_post(w->mailbox, &w->stop_letter);
    }
}

/* -- life ------------------------------------------------------------------------------------- */

/* Listens on all of `fds`; after a failure the rest is closed. */
static enum err listen_on_fds(struct worker *w, const int *fds, unsigned n,
                              listener_accept_fn *on_accept)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        if (e != ERR_OK || w->n_listeners == WORKER_MAX_LISTENERS) {
            (void)close(fds[i]);
            e = e != ERR_OK ? e : ERR_LIMIT;
            continue;
        }
        e = listener_create(w->loop, fds[i], on_accept, w, &w->listeners[w->n_listeners]);
        if (e == ERR_OK) {
            w->n_listeners++;
        }
    }
    return e;
}

static enum err listen_on(struct worker *w, const struct worker_birth *birth)
{
    enum err plain = listen_on_fds(w, birth->listen_fds, birth->n_listen_fds, worker_on_client);
    enum err e = listen_on_fds(w, birth->tls_fds, birth->n_tls_fds, worker_on_tls_client);
    enum err flash = listen_on_fds(w, birth->flash_fds, birth->n_flash_fds, worker_on_flash_client);
    e = plain != ERR_OK ? plain : e;
    e = e != ERR_OK ? e : flash;
    if (birth->handlers_fd >= 0) {
        if (e != ERR_OK) {
            (void)close(birth->handlers_fd);
        } else {
            e = listener_create(w->loop, birth->handlers_fd, worker_on_handler, w, &w->handlers);
        }
    }
    return e;
}

/* A worker that comes to nothing before it listens owns the descriptors all the same. */
static void close_fds(const struct worker_birth *birth)
{
    for (unsigned i = 0; i < birth->n_listen_fds; i++) {
        (void)close(birth->listen_fds[i]);
    }
    for (unsigned i = 0; i < birth->n_tls_fds; i++) {
        (void)close(birth->tls_fds[i]);
    }
    for (unsigned i = 0; i < birth->n_flash_fds; i++) {
        (void)close(birth->flash_fds[i]);
    }
    if (birth->handlers_fd >= 0) {
        (void)close(birth->handlers_fd);
    }
}

static enum err create_deflate_pool(struct worker *w)
{
    size_t bytes = w->composed->deflate_bytes;
    return bytes != 0 ? ws_deflate_pool_create(bytes, &w->kit.deflate_pool) : ERR_OK;
}

enum err worker_create(const struct worker_birth *birth, struct worker **out)
{
    struct worker *w = MEM_NEW(struct worker);
    if (w == NULL) {
        close_fds(birth);
        return ERR_NOMEM;
    }
    w->composed = birth->composed;
    w->all = birth->all;
    w->peers = birth->peers;
    w->on_ended = birth->on_ended;
    w->ctx = birth->ctx;
    w->tls = birth->tls;
    kit_init(&w->kit, birth->id, birth->n_workers, birth->owner_key, kit_clock_ms());
    timer_init(&w->drain, on_drain_look);
    binds_init(&w->binds, &w->kit, &birth->composed->binds);
    w->binds.spread = worker_spread;
    w->binds.on_unlinked = worker_on_unlinked;
    w->binds.hooks_ctx = w;
    enum err e = create_deflate_pool(w);
    if (e == ERR_OK) {
        e = admit_init(&w->admit, &w->kit, &birth->composed->router, &w->binds);
    }
    if (e == ERR_OK) {
        w->admit.other = assets_serve;
        w->admit.other_ctx = birth->composed->config->demo ? w : NULL;
        http_server_init(&w->http, &w->kit, &birth->composed->http, admit_request, &w->admit);
        w->http.on_move = worker_move;
        w->http.move_ctx = w;
        e = loop_create(&w->kit, &w->loop);
    }
    if (e == ERR_OK) {
        e = mailbox_create(w->loop, w, &w->mailbox);
    }
    if (e == ERR_OK) {
        e = listen_on(w, birth);
    } else {
        close_fds(birth);
    }
    if (e != ERR_OK) {
        worker_destroy(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

static void *run(void *ctx)
{
    struct worker *w = ctx;
    loop_run(w->loop);
    /* Connections born on any worker may have been served here. */
    for (unsigned i = 0; w->tls != NULL && i < w->kit.n_workers; i++) {
        tls_thread_stop(w->tls[i]);
    }
    w->on_ended(w->ctx);
    return NULL;
}

enum err worker_start(struct worker *w)
{
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        return ERR_IO;
    }
    w->has_thread = true;
    return ERR_OK;
}

struct loop *worker_loop(const struct worker *w)
{
    return w->loop;
}

void worker_join(struct worker *w)
{
    if (w->has_thread) {
        (void)pthread_join(w->thread, NULL);
        w->has_thread = false;
    }
}

void worker_destroy(struct worker *w)
{
    if (w->loop != NULL) {
        stop_listening(w);
        timer_cancel(&w->kit.timers, &w->drain);
        conn_end_all(w->loop);
        if (w->mailbox != NULL) {
            mailbox_destroy(w->mailbox);
        }
    }
    if (w->admit.registries != NULL) {
        binds_fini(&w->binds);
        admit_fini(&w->admit);
    }
    if (w->loop != NULL) {
        loop_destroy(w->loop); /* runs what the ends above put off, first of all the frees */
    }
    http_server_fini(&w->http);
    ws_deflate_pool_destroy(w->kit.deflate_pool);
    kit_fini(&w->kit);
    mem_free(w);
}
