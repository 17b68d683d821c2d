/* relay_set: the relays of one link: making them, again where one was lost, and ending them. See
 * relay.h. */
#include <sys/socket.h>
#include <unistd.h>

#include "backend/relay_internal.h"
#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

/* A pair of which `*conn` is our end. */
static enum err make_pair(struct relays *relays, struct conn **conn, int *near_fd)
{
    static const struct conn_peer peer = {.family = AF_UNIX};
    static const struct conn_opts opts = {.write_timeout_ms = RELAY_WRITE_TIMEOUT_MS};
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        return ERR_IO;
    }
    enum err e =
        conn_create(relays->link->conn->loop, fds[0], &conn_io_plain, NULL, &opts, &peer, conn);
    if (e != ERR_OK) {
        (void)close(fds[1]);
        return e;
    }
    *near_fd = fds[1];
    return ERR_OK;
}

static enum err make(struct relays *relays, unsigned worker)
{
    struct conn *conn = NULL;
    int near_fd = -1;
    enum err e = make_pair(relays, &conn, &near_fd);
    if (e != ERR_OK) {
        return e;
    }
    struct relay *relay = relay_create(relays, worker, conn);
    if (relay == NULL) {
        relays->kit->counters.out_of_memory++;
        (void)close(near_fd);
        return ERR_NOMEM;
    }
    relays->to[worker] = relay;
    relays->spread(relays->ctx, worker, near_fd);
    return ERR_OK;
}

static void retry_later(struct relays *relays)
{
    if (!relays->is_ending && !timer_is_armed(&relays->retry)) {
        timer_arm(&relays->kit->timers, &relays->retry, relays->kit->now_ms + RELAY_RETRY_MS);
    }
}

void relays_lost(struct relays *relays, unsigned worker)
{
    relays->to[worker] = NULL;
    retry_later(relays);
}

static void make_missing(struct relays *relays)
{
    for (unsigned i = 0; i < relays->kit->n_workers; i++) {
        if (i == relays->kit->id || relays->to[i] != NULL) {
            continue;
        }
        enum err e = make(relays, i);
        if (e != ERR_OK) {
            LOG(LOG_WARN, "no relay to another worker", "to=%u why=%s retry_ms=%d", i, err_name(e),
                RELAY_RETRY_MS);
            retry_later(relays);
        }
    }
}

static void on_retry(struct timer *timer)
{
    struct relays *relays = CONTAINER_OF(timer, struct relays, retry);
    if (!relays->link->is_draining) {
        make_missing(relays);
    }
}

struct relays *relays_create(struct link *link, relay_spread_fn *spread, void *ctx)
{
    unsigned n = link->kit->n_workers;
    struct relays *relays = mem_new(1, sizeof *relays + n * sizeof(struct relay *));
    if (relays == NULL) {
        link->kit->counters.out_of_memory++;
        return NULL;
    }
    relays->link = link;
    relays->kit = link->kit;
    relays->spread = spread;
    relays->ctx = ctx;
    timer_init(&relays->retry, on_retry);
    make_missing(relays);
    return relays;
}

void relays_destroy(struct relays *relays)
{
    if (relays == NULL) {
        return;
    }
    for (unsigned i = 0; i < relays->kit->n_workers; i++) {
        if (relays->to[i] != NULL) {
            relay_end(relays->to[i]);
        }
    }
    timer_cancel(&relays->kit->timers, &relays->retry);
    mem_free(relays);
}

unsigned relays_next_turn(struct relays *relays)
{
    relays->next_turn = (relays->next_turn + 1) % relays->kit->n_workers;
    return relays->next_turn;
}

void relays_drain(struct relays *relays)
{
    for (unsigned i = 0; i < relays->kit->n_workers; i++) {
        if (relays->to[i] != NULL) {
            relay_tell_drain(relays->to[i]);
        }
    }
}

void relays_stop_retrying(struct relays *relays)
{
    relays->is_ending = true;
    timer_cancel(&relays->kit->timers, &relays->retry);
}

void relay_prepare_near(struct conn *conn)
{
    conn->write_timeout_ms = RELAY_WRITE_TIMEOUT_MS;
}
