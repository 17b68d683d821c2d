/* worker_mail: what a worker gets from outside: clients and handlers from its listeners, and what
 * other workers send: moved connections, dealt links, ends of relays. See worker_internal.h. */
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/peers.h"
#include "net/tls.h"
#include "server/config.h"
#include "server/worker_internal.h"

/* -- clients ---------------------------------------------------------------------------------- */

static void complain(struct worker *w, enum err why)
{
    w->refusals_to_report++;
    if (w->refusal_logged_ms != 0 && w->kit.now_ms - w->refusal_logged_ms < 1000) {
        return;
    }
    LOG(LOG_WARN, "connections refused", "n=%llu why=%s", (unsigned long long)w->refusals_to_report,
        why == ERR_LIMIT ? "limits.connections_per_address" : "limits.connections");
    w->refusal_logged_ms = w->kit.now_ms;
    w->refusals_to_report = 0;
}

/* Whether there is room for one more; else `fd` is closed and the client may try again. These are
 * the caps that keep the daemon alive. */
static bool admit_client(struct worker *w, int fd, const struct conn_peer *peer)
{
    enum err e = peers_enter(w->peers, peer);
    if (e == ERR_OK) {
        return true;
    }
    (void)close(fd);
    w->kit.counters.connections_refused++;
    complain(w, e);
    return false;
}

/* `preface`: see http_conn_create_with_preface. */
static void serve_client(struct worker *w, int fd, const struct conn_io *io, void *io_state,
                         const struct conn_peer *peer, const struct http_preface *preface)
{
    struct conn *conn = NULL;
    const struct conn_opts opts = {.write_timeout_ms = w->composed->write_timeout_ms,
                                   .peers = w->peers};
    if (conn_create(w->loop, fd, io, io_state, &opts, peer, &conn) == ERR_OK) {
        (void)!http_conn_create_with_preface(&w->http, conn, preface);
    }
}

void worker_on_client(void *ctx, int fd, const struct conn_peer *peer)
{
    struct worker *w = ctx;
    if (admit_client(w, fd, peer)) {
        serve_client(w, fd, &conn_io_plain, NULL, peer, NULL);
    }
}

void worker_on_flash_client(void *ctx, int fd, const struct conn_peer *peer)
{
    struct worker *w = ctx;
    if (admit_client(w, fd, peer)) {
        serve_client(w, fd, &conn_io_plain, NULL, peer, &w->composed->flash);
    }
}

void worker_on_tls_client(void *ctx, int fd, const struct conn_peer *peer)
{
    struct worker *w = ctx;
    if (!admit_client(w, fd, peer)) {
        return;
    }
    void *io_state = tls_accept(w->tls[w->kit.id], fd);
    if (io_state == NULL) {
        w->kit.counters.out_of_memory++;
        peers_leave(w->peers, peer);
        (void)close(fd);
        return;
    }
    serve_client(w, fd, &conn_io_tls, io_state, peer, NULL);
}

/* -- moved connections ------------------------------------------------------------------------ */

struct moved_letter {
    struct letter letter;
    struct conn_parcel parcel;
};

static void open_moved(struct letter *letter, void *ctx)
{
    struct worker *w = ctx;
    struct moved_letter *moved = CONTAINER_OF(letter, struct moved_letter, letter);
    struct conn *conn = NULL;
    if (conn_adopt(w->loop, &moved->parcel, &conn) == ERR_OK) {
        (void)!http_conn_create(&w->http, conn);
    }
    mem_free(moved);
}

static void burn_moved(struct letter *letter)
{
    struct moved_letter *moved = CONTAINER_OF(letter, struct moved_letter, letter);
    conn_parcel_drop(&moved->parcel);
    mem_free(moved);
}

void worker_move(void *ctx, struct conn_parcel *parcel, unsigned to)
{
    struct worker *w = ctx;
    struct moved_letter *moved = MEM_NEW(struct moved_letter);
    if (moved == NULL) {
        w->kit.counters.out_of_memory++;
        conn_parcel_drop(parcel);
        return;
    }
    moved->letter.open = open_moved;
    moved->letter.burn = burn_moved;
    moved->parcel = *parcel;
    mailbox_post(w->all[to]->mailbox, &moved->letter);
}

/* -- links and relays ------------------------------------------------------------------------- */

typedef void accept_conn_fn(struct binds *binds, struct conn *conn);

/* A descriptor for the binds of another worker. */
struct link_letter {
    struct letter letter;
    int fd;
    accept_conn_fn *accept;
};

/* Gives the stream `fd` to the worker's binds. False: no memory, and it is closed. */
static bool serve_link(struct worker *w, int fd, accept_conn_fn *accept_conn)
{
    static const struct conn_peer peer = {.family = AF_UNIX};
    struct conn *conn = NULL;
    const struct conn_opts opts = {.write_timeout_ms = w->composed->binds.write_timeout_ms};
    if (conn_create(w->loop, fd, &conn_io_plain, NULL, &opts, &peer, &conn) != ERR_OK) {
        return false;
    }
    accept_conn(&w->binds, conn);
    return true;
}

static void open_link(struct letter *letter, void *ctx)
{
    struct worker *w = ctx;
    struct link_letter *dealt = CONTAINER_OF(letter, struct link_letter, letter);
    bool is_handler = dealt->accept == binds_accept;
    if (!serve_link(w, dealt->fd, dealt->accept) && is_handler) {
        worker_on_unlinked(w);
    }
    mem_free(dealt);
}

static void burn_link(struct letter *letter)
{
    struct link_letter *dealt = CONTAINER_OF(letter, struct link_letter, letter);
    (void)close(dealt->fd);
    mem_free(dealt);
}

/* False: no memory, and `fd` is closed. */
static bool send_link(struct worker *w, unsigned to, int fd, accept_conn_fn *accept_conn)
{
    struct link_letter *dealt = MEM_NEW(struct link_letter);
    if (dealt == NULL) {
        w->kit.counters.out_of_memory++;
        (void)close(fd);
        return false;
    }
    dealt->letter.open = open_link;
    dealt->letter.burn = burn_link;
    dealt->fd = fd;
    dealt->accept = accept_conn;
    mailbox_post(w->all[to]->mailbox, &dealt->letter);
    return true;
}

static unsigned with_fewest_links(const struct worker *w)
{
    unsigned best = 0;
    for (unsigned i = 1; i < w->kit.n_workers; i++) {
        if (atomic_load_explicit(&w->all[i]->n_links, memory_order_relaxed) <
            atomic_load_explicit(&w->all[best]->n_links, memory_order_relaxed)) {
            best = i;
        }
    }
    return best;
}

void worker_on_handler(void *ctx, int fd, const struct conn_peer *peer)
{
    (void)peer;
    struct worker *w = ctx;
    unsigned to = with_fewest_links(w);
    atomic_fetch_add_explicit(&w->all[to]->n_links, 1, memory_order_relaxed);
    if (!send_link(w, to, fd, binds_accept)) {
        worker_on_unlinked(w->all[to]);
    }
}

void worker_on_unlinked(void *ctx)
{
    struct worker *w = ctx;
    atomic_fetch_sub_explicit(&w->n_links, 1, memory_order_relaxed);
}

void worker_spread(void *ctx, unsigned to, int fd)
{
    (void)send_link(ctx, to, fd, binds_accept_relay); /* else the far end sees the end at once */
}
