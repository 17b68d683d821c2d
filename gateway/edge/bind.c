/* bind: see bind.h. */
#include "edge/bind.h"

#include "base/jsontext.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/dialect.h"
#include "core/sendq.h"
#include "core/session.h"
#include "core/transport.h"
#include "edge/open_info.h"
#include "edge/router.h"
#include "http/http_req.h"
#include "net/conn.h"
#include "wire/ws_handshake.h"

enum {
    CLOSE_TOO_BIG = 1009,
    CLOSE_INTERNAL = 1011,
    CLOSE_TRY_AGAIN = 1013,
};

enum binding_place {
    PLACE_NONE,    /* bound, nothing waits */
    PLACE_WAITING, /* in binds->waiting */
    PLACE_BLOCKED, /* in binds->blocked */
};

struct binding {
    struct link_owner owner; /* of a slot of `link` */
    struct binds *binds;
    struct session
        *session;         /* NULL: it has ended, and only what waits is still to be handed over */
    struct link *link;    /* NULL while waiting */
    struct sendq pending; /* messages that wait for a link or for room */
    char *info;           /* of open_info_write, or its brief part; NUL-ended */
    char *subprotocol;    /* that the client speaks; NULL = none */
    struct span mount;    /* of the mount, which outlives the session */
    uint64_t sequence;    /* of the last message handed to a link: stable over links */
    uint64_t waiting_since_ms;
    uint32_t handle;
    uint32_t brief_len;  /* of info: what a resumed OPEN repeats */
    uint8_t place;       /* enum binding_place */
    bool was_opened;     /* a handler has acknowledged its OPEN, and let it in: the next OPEN says
                            resumed */
    bool is_undecided;   /* the handler has not let the client in yet: its messages wait */
    bool wants_settled;  /* the session is to hear when all is finished */
    bool is_slow;        /* the client does not keep up: the handler was told PAUSE */
    uint16_t close_code; /* with session == NULL, likewise the reason */
    char *close_reason;  /* NULL = empty */
    TAILQ_ENTRY(binding) next;
};

/* -- lists ------------------------------------------------------------------------------------ */

static struct binding_list *list_of(struct binds *binds, enum binding_place place)
{
    return place == PLACE_WAITING ? &binds->waiting : &binds->blocked;
}

static void move_to(struct binding *b, enum binding_place place)
{
    if (b->place == place) {
        return;
    }
    if (b->place != PLACE_NONE) {
        TAILQ_REMOVE(list_of(b->binds, b->place), b, next);
    }
    b->place = (uint8_t)place;
    if (place != PLACE_NONE) {
        TAILQ_INSERT_TAIL(list_of(b->binds, place), b, next);
    }
}

static void arm_grace(struct binds *binds)
{
    struct binding *first = TAILQ_FIRST(&binds->waiting);
    if (first == NULL) {
        timer_cancel(&binds->kit->timers, &binds->grace);
    } else {
        timer_arm(&binds->kit->timers, &binds->grace,
                  first->waiting_since_ms + binds->opts->grace_ms);
    }
}

static void start_waiting(struct binding *b)
{
    b->link = NULL;
    b->waiting_since_ms = b->binds->kit->now_ms;
    move_to(b, PLACE_WAITING);
    if (!timer_is_armed(&b->binds->grace)) {
        arm_grace(b->binds);
    }
}

static void on_grace_over(struct timer *timer)
{
    struct binds *binds = CONTAINER_OF(timer, struct binds, grace);
    struct binding *b = TAILQ_FIRST(&binds->waiting);
    while (b != NULL && b->waiting_since_ms + binds->opts->grace_ms <= binds->kit->now_ms) {
        session_close(b->session, CLOSE_TRY_AGAIN, SPAN_LIT("No handler"));
        b = TAILQ_FIRST(&binds->waiting);
    }
    arm_grace(binds);
}

/* -- binding to a link ------------------------------------------------------------------------ */

/* A relay costs its messages a second hop. */
static bool is_better(const struct link *link, const struct link *best)
{
    if (link->opts->is_relay != best->opts->is_relay) {
        return best->opts->is_relay;
    }
    return link->n_sessions < best->n_sessions;
}

static struct link *choose(struct binds *binds, struct span mount)
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

static void free_binding(struct binding *b)
{
    mem_free(b->info);
    mem_free(b->subprotocol);
    mem_free(b->close_reason);
    mem_free(b);
}

static void destroy(struct binding *b)
{
    move_to(b, PLACE_NONE);
    sendq_fini(&b->pending);
    free_binding(b);
}

/* The session has ended, and the handler has or will never have what came before. */
static void end(struct binding *b)
{
    if (b->link != NULL) {
        link_deliver_close(b->link, b->handle, b->close_code, span_str(b->close_reason));
    }
    destroy(b);
}

/* A message that cannot be handed over, and so cannot be passed over either. */
static void give_up(struct binding *b, enum err e)
{
    sendq_drop(&b->pending, b->pending.n_messages);
    if (b->session == NULL) {
        end(b);
        return;
    }
    if (e == ERR_LIMIT) {
        session_close(b->session, CLOSE_TOO_BIG, SPAN_LIT("Message larger than the handler takes"));
        return;
    }
    b->binds->kit->counters.out_of_memory++;
    session_close(b->session, CLOSE_INTERNAL, SPAN_LIT("Out of memory"));
}

/* Whether the handler has finished all that the client said. One that was never let in is owed
 * nothing. */
static bool is_settled(struct binding *b)
{
    bool has_waiting = !sendq_is_empty(&b->pending) && !b->is_undecided;
    b->wants_settled = has_waiting || (b->link != NULL && !link_settle(b->link, b->handle));
    return !b->wants_settled;
}

/* Hands over what waits, as far as there is room. The binding may be gone afterwards. */
static void drain(struct binding *b)
{
    struct message message;
    if (b->is_undecided) {
        return; /* comes again with the ACCEPT */
    }
    while (sendq_peek(&b->pending, &message, 1) == 1) {
        enum err e =
            link_deliver_msg(b->link, b->handle, b->sequence + 1, message.is_text, message.data);
        if (e == ERR_AGAIN) {
            move_to(b, PLACE_BLOCKED);
            return;
        }
        if (e != ERR_OK) {
            give_up(b, e);
            return;
        }
        b->sequence++;
        sendq_drop(&b->pending, 1);
    }
    if (b->session == NULL) {
        end(b);
        return;
    }
    move_to(b, PLACE_NONE);
    session_pause_input(b->session, false);
    if (UNLIKELY(b->wants_settled) && is_settled(b)) {
        session_settled(b->session);
    }
}

/* Offers the session to a link. ERR_AGAIN: none, or no room. */
static enum err offer(struct binding *b)
{
    struct link *link = choose(b->binds, b->mount);
    if (link == NULL) {
        return ERR_AGAIN;
    }
    struct buf *json = &b->binds->kit->encode_scratch;
    buf_clear(json);
    enum err e = buf_append(json, b->info, strlen(b->info));
    if (e == ERR_OK) {
        e = open_info_finish(json, span_str(b->subprotocol), b->was_opened);
    }
    if (e == ERR_OK) {
        e = link_deliver_open(link, &b->owner, buf_span(json), &b->handle);
    }
    b->binds->has_refused_offer |= e == ERR_AGAIN;
    if (e != ERR_OK) {
        return e;
    }
    b->link = link;
    move_to(b, PLACE_NONE);
    if (b->is_slow) {
        link_tell_writable(link, b->handle, false);
    }
    drain(b);
    return ERR_OK;
}

/* Offers everything that waits, in order, until there is no room. */
static void offer_waiting(struct binds *binds)
{
    binds->has_refused_offer = false;
    struct binding *b = TAILQ_FIRST(&binds->waiting);
    while (b != NULL) {
        struct binding *following = TAILQ_NEXT(b, next);
        enum err e = offer(b);
        if (e != ERR_OK && e != ERR_AGAIN) {
            give_up(b, ERR_NOMEM);
        }
        b = following;
    }
    arm_grace(binds);
}

/* -- from the link ---------------------------------------------------------------------------- */

static void on_ready(void *ctx, struct link *link)
{
    struct binds *binds = ctx;
    offer_waiting(binds);
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
            drain(b);
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

static unsigned code_of(const struct link_verb *verb)
{
    uint64_t code = 0;
    (void)!link_arg_u64(verb->args[1], 4999, &code);
    return (unsigned)code;
}

/* A handler has seen the OPEN. Headers and cookies were for the first one only; an OPEN that its
 * handler may never have seen is repeated whole. */
static void note_opened(struct binding *b)
{
    b->was_opened = true;
    if (b->info[b->brief_len] != '\0') {
        b->info[b->brief_len] = '\0';
        char *brief = mem_resize(b->info, b->brief_len + 1);
        if (brief != NULL) {
            b->info = brief;
        }
    }
}

/* What the next OPEN will name. Only a token can have been offered; the session judges the rest. */
static bool keep_subprotocol(struct binding *b, struct span name)
{
    if (!http1_is_token(name)) {
        return true;
    }
    char *copy = mem_copy_string(name.ptr, name.len);
    if (copy == NULL) {
        return false;
    }
    mem_free(b->subprotocol);
    b->subprotocol = copy;
    return true;
}

/* The client is let in. It may be gone afterwards, with its binding. */
static void take_accept(struct binding *b, struct span subprotocol)
{
    struct session *session = b->session;
    if (session->state != SESSION_CONNECTING) {
        return;
    }
    if (session->dialect->handshake_opens && !keep_subprotocol(b, subprotocol)) {
        give_up(b, ERR_NOMEM);
        return;
    }
    session_accept(session, subprotocol);
    if (session->state == SESSION_OPEN) {
        b->is_undecided = false;
        note_opened(b);
        drain(b);
    }
}

static void on_verb(struct link_owner *owner, const struct link_verb *verb)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (b->session == NULL) {
        b->binds->kit->counters.stale_verbs++; /* it crosses the CLOSE that waits behind messages */
        return;
    }
    switch ((unsigned)verb->id) {
    case LINK_MSG: {
        struct message message = {verb->payload, verb->args[1].ptr[0] == 't'};
        (void)!session_send(b->session,
                            &message); /* a full or closing session has dealt with itself */
        break;
    }
    case LINK_ACCEPT:
        take_accept(b, verb->payload);
        break;
    case LINK_KICK:
    case LINK_REJECT:
        session_close(b->session, code_of(verb), verb->payload);
        break;
    default: /* STATE: kept from the version on that hands it over */
        break;
    }
}

static void on_open_acked(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (!b->is_undecided) { /* else the next handler must decide, and know what this one knew */
        note_opened(b);
    }
}

static void on_settled(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (b->session != NULL && is_settled(b)) {
        session_settled(b->session);
    }
}

static void on_orphan(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    b->link = NULL;
    if (b->session == NULL) {
        destroy(b); /* nobody would open it again for the sake of its last words */
    } else {
        start_waiting(b);
    }
}

static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_settled = on_settled,
    .on_orphan = on_orphan,
};

/* -- from the session ------------------------------------------------------------------------- */

static void message(void *binding, const struct message *m)
{
    struct binding *b = binding;
    if (LIKELY(b->link != NULL && sendq_is_empty(&b->pending) && !b->is_undecided)) {
        enum err e = link_deliver_msg(b->link, b->handle, b->sequence + 1, m->is_text, m->data);
        if (LIKELY(e == ERR_OK)) {
            b->sequence++;
            return;
        }
        if (e != ERR_AGAIN) {
            give_up(b, e);
            return;
        }
        move_to(b, PLACE_BLOCKED);
    }
    if (sendq_push(&b->pending, m) != ERR_OK) {
        give_up(b, ERR_NOMEM);
        return;
    }
    if (sendq_bytes(&b->pending) >= b->binds->opts->pending_bytes) {
        session_pause_input(b->session, true);
    }
}

static void writable(void *binding, bool is_writable)
{
    struct binding *b = binding;
    b->is_slow = !is_writable;
    if (b->link != NULL) {
        link_tell_writable(b->link, b->handle, is_writable);
    }
}

static bool settle(void *binding)
{
    return is_settled(binding);
}

static void closed(void *binding, unsigned code, struct span reason)
{
    struct binding *b = binding;
    if (b->is_undecided) {
        sendq_drop(&b->pending, b->pending.n_messages);
    }
    b->is_undecided = false;
    b->session = NULL;
    b->close_code = (uint16_t)code;
    b->close_reason = reason.len != 0 ? mem_copy_string(reason.ptr, reason.len) : NULL;
    /* What the client said before it left waits for room in the window: CLOSE comes behind it. */
    if (b->link == NULL || sendq_is_empty(&b->pending)) {
        end(b);
    }
}

const struct uplink_ops bind_uplink_ops = {
    .message = message,
    .writable = writable,
    .settle = settle,
    .closed = closed,
};

/* -- interface -------------------------------------------------------------------------------- */

/* Writes what the OPEN will say. */
static enum err describe(struct binding *b, const struct transport_opts *transport, struct span sid,
                         const struct http_req *req)
{
    struct ws_subprotocols offers = {.n = 0};
    if (transport->ops->behaviour == TRANSPORT_DUPLEX) {
        (void)!ws_subprotocols_read(req->head, &offers); /* it is good, else none */
    }
    struct span chosen =
        ws_subprotocols_choose(&offers, transport->subprotocols, transport->n_subprotocols);
    const struct open_info info = {.public_id = b->session->public_id,
                                   .mount = b->mount,
                                   .dialect = b->session->dialect->name,
                                   .transport = transport->ops->name,
                                   .sid = sid,
                                   .offers = &offers};
    struct buf *scratch = &b->binds->kit->encode_scratch;
    size_t brief_len = 0;
    buf_clear(scratch);
    enum err e = open_info_write(&info, req, scratch, &brief_len);
    if (e != ERR_OK) {
        return e;
    }
    struct span text = buf_span(scratch);
    b->info = mem_copy_string(text.ptr, text.len);
    b->brief_len = (uint32_t)brief_len;
    return b->info != NULL && keep_subprotocol(b, chosen) ? ERR_OK : ERR_NOMEM;
}

enum err bind_session(struct binds *binds, struct session *session, const struct mount *mount,
                      const struct transport_opts *transport, struct span sid,
                      const struct http_req *req)
{
    struct binding *b = MEM_NEW(struct binding);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    b->owner.ops = &slot_ops;
    b->binds = binds;
    b->session = session;
    b->mount = mount->path;
    b->is_undecided = session->state == SESSION_CONNECTING;
    if (describe(b, transport, sid, req) != ERR_OK) {
        free_binding(b);
        return ERR_NOMEM;
    }
    /* The bound is where the input pauses; what one request had decoded by then still fits. */
    sendq_init(&b->pending, 1U << 31);
    session->binding = b;
    enum err e = offer(b);
    if (e == ERR_AGAIN) {
        start_waiting(b);
    } else if (e != ERR_OK) {
        session->binding = NULL;
        free_binding(b);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void binds_init(struct binds *binds, struct kit *kit, const struct binds_opts *opts)
{
    *binds = (struct binds){.kit = kit, .opts = opts};
    binds->relay_opts = opts->link;
    binds->relay_opts.is_relay = true;
    TAILQ_INIT(&binds->links);
    TAILQ_INIT(&binds->waiting);
    TAILQ_INIT(&binds->blocked);
    timer_init(&binds->grace, on_grace_over);
}

void binds_fini(struct binds *binds)
{
    while (!TAILQ_EMPTY(&binds->links)) {
        link_close(TAILQ_FIRST(&binds->links));
    }
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
