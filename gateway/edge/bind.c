/* bind: see bind.h. This file is the links of a worker and who waits for one; binding.c is one
 * session's place at them. */
#include "base/log.h"
#include "core/session.h"
#include "edge/bind_internal.h"
#include "net/conn.h"

/* -- who waits -------------------------------------------------------------------------------- */

void binds_arm_grace(struct binds *binds)
{
    struct binding *first = TAILQ_FIRST(&binds->waiting);
    if (first == NULL) {
        timer_cancel(&binds->kit->timers, &binds->grace);
    } else {
        timer_arm(&binds->kit->timers, &binds->grace,
                  first->waiting_since_ms + binds->opts->grace_ms);
    }
}

static void on_grace_over(struct timer *timer)
{
    struct binds *binds = CONTAINER_OF(timer, struct binds, grace);
    struct binding *b = TAILQ_FIRST(&binds->waiting);
    while (b != NULL && b->waiting_since_ms + binds->opts->grace_ms <= binds->kit->now_ms) {
        binding_time_out(b);
        b = TAILQ_FIRST(&binds->waiting);
    }
    binds_arm_grace(binds);
}

/* Offers everything that waits, in order, until there is no room. */
static void offer_waiting(struct binds *binds)
{
    binds->has_refused_offer = false;
    struct binding *b = TAILQ_FIRST(&binds->waiting);
    while (b != NULL) {
        struct binding *following = TAILQ_NEXT(b, next);
        enum err e = binding_offer(b);
        if (e != ERR_OK && e != ERR_AGAIN) {
            binding_give_up(b, ERR_NOMEM);
        }
        b = following;
    }
    binds_arm_grace(binds);
}

static void on_settle(struct turn_task *task)
{
    struct binds *binds = CONTAINER_OF(task, struct binds, settle);
    if (binds->tried != NULL) {
        binding_pass_trial(binds->tried);
    }
    while (!TAILQ_EMPTY(&binds->leaving)) {
        binding_leave(TAILQ_FIRST(&binds->leaving));
    }
    if (binds->has_refused_offer) {
        offer_waiting(binds);
    }
}

void binds_schedule_settling(struct binds *binds)
{
    turn_schedule(&binds->kit->turn, TURN_SESSION, &binds->settle, on_settle);
}

/* -- links ------------------------------------------------------------------------------------ */

/* A relay costs its messages a second hop. */
static bool is_better(const struct link *link, const struct link *best)
{
    if (link->opts->is_relay != best->opts->is_relay) {
        return best->opts->is_relay;
    }
    return link->n_sessions < best->n_sessions;
}

struct link *binds_choose(struct binds *binds, struct span mount)
{
    struct link *best = NULL;
    struct link *link = NULL;
    TAILQ_FOREACH (link, &binds->links, next) {
        if (link_serves(link, mount) && (best == NULL || is_better(link, best))) {
            best = link;
        }
    }
    return best;
}

/* Where a link drains, those that have nothing in flight may go to another one now. */
static void offer_idle(struct binds *binds)
{
    struct link *link = NULL;
    TAILQ_FOREACH (link, &binds->links, next) {
        link_tell_idle(link);
    }
}

static void on_ready(void *ctx, struct link *link)
{
    struct binds *binds = ctx;
    offer_waiting(binds);
    offer_idle(binds);
    if (binds->spread != NULL && binds->kit->n_workers > 1 && !link->opts->is_relay) {
        link->relays = relays_create(link, binds->spread, binds->hooks_ctx);
        if (link->relays != NULL && binds->is_draining) {
            relays_stop_retrying(link->relays);
        }
    }
}

static void on_drain(void *ctx, struct link *link)
{
    (void)ctx;
    if (link->relays != NULL) {
        relays_drain(link->relays);
    }
    link_tell_idle(link);
}

static void on_done(void *ctx, struct link *link, unsigned source, uint32_t tag)
{
    (void)ctx;
    relays_on_done(link->relays, source, tag);
}

/* Those of this worker that wait for room: in order of blocking, until there is none again. */
static void use_room(struct binds *binds, const struct link *link)
{
    struct binding *following = NULL;
    for (struct binding *b = TAILQ_FIRST(&binds->blocked); b != NULL; b = following) {
        following = TAILQ_NEXT(b, next);
        if (b->link == link && !link->wants_room) {
            binding_drain(b);
        }
    }
    if (binds->has_refused_offer) {
        offer_waiting(binds);
    }
}

static void on_room(void *ctx, struct link *link)
{
    struct binds *binds = ctx;
    if (link->relays == NULL) {
        use_room(binds, link);
        return;
    }
    /* Whoever comes first may use up all the room: each worker in its turn. */
    unsigned n = binds->kit->n_workers;
    unsigned first = relays_next_turn(link->relays);
    for (unsigned i = 0; i < n && !link->wants_room; i++) {
        unsigned worker = (first + i) % n;
        if (worker == binds->kit->id) {
            use_room(binds, link);
        } else {
            relays_on_room(link->relays, worker);
        }
    }
}

static void tell_unlinked(const struct binds *binds, const struct link_opts *opts)
{
    if (!opts->is_relay && binds->on_unlinked != NULL) {
        binds->on_unlinked(binds->hooks_ctx);
    }
}

static void on_gone(void *ctx, struct link *link)
{
    struct binds *binds = ctx;
    TAILQ_REMOVE(&binds->links, link, next);
    relays_destroy(link->relays);
    link->relays = NULL;
    tell_unlinked(binds, link->opts);
    offer_waiting(binds);
}

static const struct link_ops link_owner_ops = {
    .on_ready = on_ready,
    .on_room = on_room,
    .on_drain = on_drain,
    .on_done = on_done,
    .on_gone = on_gone,
};

/* -- interface -------------------------------------------------------------------------------- */

void binds_init(struct binds *binds, struct kit *kit, const struct binds_opts *opts)
{
    *binds = (struct binds){.kit = kit, .opts = opts};
    binds->relay_opts = opts->link;
    binds->relay_opts.is_relay = true;
    TAILQ_INIT(&binds->links);
    TAILQ_INIT(&binds->waiting);
    TAILQ_INIT(&binds->blocked);
    TAILQ_INIT(&binds->leaving);
    timer_init(&binds->grace, on_grace_over);
}

/* What waits with a living session goes when that ends: see hold_ended of binding.c. */
void binds_fini(struct binds *binds)
{
    binds->is_over = true;
    while (!TAILQ_EMPTY(&binds->links)) {
        link_close(TAILQ_FIRST(&binds->links));
    }
    struct binding *following = NULL;
    for (struct binding *b = TAILQ_FIRST(&binds->waiting); b != NULL; b = following) {
        following = TAILQ_NEXT(b, next);
        if (b->session == NULL) {
            binding_destroy(b);
        }
    }
    turn_cancel(&binds->kit->turn, TURN_SESSION, &binds->settle);
    timer_cancel(&binds->kit->timers, &binds->grace);
}

static void accept_with(struct binds *binds, struct conn *conn, const struct link_opts *opts)
{
    struct link *link = NULL;
    if (link_create(binds->kit, conn, opts, &link_owner_ops, binds, &link) == ERR_OK) {
        TAILQ_INSERT_TAIL(&binds->links, link, next);
    } else {
        tell_unlinked(binds, opts);
    }
}

void binds_accept(struct binds *binds, struct conn *conn)
{
    accept_with(binds, conn, &binds->opts->link);
}

void binds_accept_relay(struct binds *binds, struct conn *conn)
{
    relay_prepare_near(conn);
    accept_with(binds, conn, &binds->relay_opts);
}

void binds_drain(struct binds *binds)
{
    struct link *link = NULL;
    binds->is_draining = true;
    TAILQ_FOREACH (link, &binds->links, next) {
        if (link->is_ready && !link->opts->is_relay) { /* its own worker tells the handler */
            link_tell_drain(link);
        }
        if (link->relays != NULL) {
            relays_stop_retrying(link->relays);
        }
    }
}

bool binds_has_handler(const struct binds *binds, struct span mount)
{
    struct link *link = NULL;
    TAILQ_FOREACH (link, &binds->links, next) {
        if (link_serves(link, mount)) {
            return true;
        }
    }
    return false;
}
