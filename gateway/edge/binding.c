/* binding: one session's place at the handlers; see bind.h. Three sources feed a link, in this
 * order: what another link had not finished (`again`), what waits (`pending`), what comes.
 *
 *   WAITING --OPEN--> bound: NONE <--> BLOCKED, LEAVING --MOVED--> MOVED --acknowledged--> WAITING
 *      \________________ the link died, out of any place __________/
 */
#include "base/jsontext.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/dialect.h"
#include "core/session.h"
#include "core/transport.h"
#include "edge/bind_internal.h"
#include "edge/open_info.h"
#include "edge/router.h"
#include "http/http_req.h"
#include "wire/ws_handshake.h"

enum {
    CLOSE_TOO_BIG = 1009,
    CLOSE_INTERNAL = 1011,
    CLOSE_TRY_AGAIN = 1013,
    ENDED_LEAST_BYTES = 512, /* what is left of an ended session costs at least so much */
};

/* -- places ----------------------------------------------------------------------------------- */

static bool has_list(unsigned place)
{
    return place == PLACE_WAITING || place == PLACE_BLOCKED || place == PLACE_LEAVING;
}

static struct binding_list *list_of(struct binds *binds, unsigned place)
{
    return place == PLACE_WAITING   ? &binds->waiting
           : place == PLACE_BLOCKED ? &binds->blocked
                                    : &binds->leaving;
}

static void release_held(struct binding *b)
{
    b->binds->ended_bytes -= b->held_bytes;
    b->held_bytes = 0;
}

void binding_move_to(struct binding *b, enum binding_place place)
{
    if (b->place == place) {
        return;
    }
    if (has_list(b->place)) {
        TAILQ_REMOVE(list_of(b->binds, b->place), b, next);
    }
    b->place = (uint8_t)place;
    if (has_list(place)) {
        TAILQ_INSERT_TAIL(list_of(b->binds, place), b, next);
    }
    release_held(b);
}

/* Messages go to the link at once. */
static bool is_open(const struct binding *b)
{
    return b->link != NULL && b->place <= PLACE_LEAVING && !b->is_undecided;
}

static bool has_again(const struct binding *b)
{
    return b->again != NULL && undone_bytes(&b->again->messages) != 0;
}

static bool has_nothing_to_tell(const struct binding *b)
{
    return sendq_is_empty(&b->pending) && !has_again(b);
}

static void drop_messages(struct binding *b)
{
    sendq_drop(&b->pending, b->pending.n_messages);
    if (b->again != NULL) {
        undone_fini(&b->again->messages);
        undone_fini(&b->again->returned);
        b->again->n_links = 0;
    }
}

/* Whether this one is to be handed over alone. */
static bool has_suspect(const struct binding *b)
{
    return has_again(b) && b->again->n_links >= BINDS_SUSPECT_FROM;
}

/* The next one may be tried. */
static void end_trial(struct binding *b)
{
    if (b->binds->tried == b) {
        b->binds->tried = NULL;
        if (!b->binds->is_over) {
            binds_schedule_settling(b->binds);
        }
    }
}

void binding_destroy(struct binding *b)
{
    binding_move_to(b, PLACE_NONE);
    end_trial(b);
    drop_messages(b);
    mem_free(b->again);
    sendq_fini(&b->pending);
    mem_free(b->info);
    mem_free(b->subprotocol);
    mem_free(b->state);
    mem_free(b->close_reason);
    mem_free(b);
}

/* The session has ended, and all that came before is handed over. on_left follows. */
static void say_end(struct binding *b)
{
    binding_move_to(b, PLACE_NONE);
    link_deliver_close(b->link, b->handle, b->close_code, span_str(b->close_reason));
}

static size_t left_bytes(const struct binding *b)
{
    return ENDED_LEAST_BYTES + sendq_bytes(&b->pending) +
           (b->again != NULL ? undone_bytes(&b->again->messages) : 0) +
           (b->state != NULL ? b->state->len : 0);
}

/* What ended sessions have left waits within a bound of its own: they are not held back by the
 * number of connections. */
static void hold_ended(struct binding *b)
{
    struct binds *binds = b->binds;
    release_held(b);
    size_t bytes = left_bytes(b);
    if (!binds->is_over && binds->ended_bytes + bytes <= BINDS_MAX_ENDED_BYTES) {
        b->held_bytes = (uint32_t)bytes;
        binds->ended_bytes += bytes;
        return;
    }
    binds->kit->counters.ends_untold += !binds->is_over;
    if (b->link == NULL) {
        binding_destroy(b);
        return;
    }
    drop_messages(b);
    if (b->place != PLACE_MOVED) {
        say_end(b);
    }
}

static void start_waiting(struct binding *b)
{
    b->link = NULL;
    b->waiting_since_ms = b->binds->kit->now_ms;
    binding_move_to(b, PLACE_WAITING);
    if (!timer_is_armed(&b->binds->grace)) {
        binds_arm_grace(b->binds);
    }
    if (b->session == NULL) {
        hold_ended(b);
    }
}

void binding_time_out(struct binding *b)
{
    b->binds->kit->counters.ends_untold += b->was_offered || b->session == NULL;
    if (b->session == NULL) {
        binding_destroy(b);
        return;
    }
    drop_messages(b);
    b->was_offered = false; /* no handler in all this time: none is to hear of its end */
    session_close(b->session, CLOSE_TRY_AGAIN, SPAN_LIT("No handler"));
}

/* -- handing over ----------------------------------------------------------------------------- */

void binding_give_up(struct binding *b, enum err why)
{
    drop_messages(b);
    if (b->session == NULL) {
        if (b->link != NULL) {
            say_end(b);
        } else {
            binding_destroy(b);
        }
        return;
    }
    if (why == ERR_LIMIT) {
        session_close(b->session, CLOSE_TOO_BIG, SPAN_LIT("Message larger than the handler takes"));
        return;
    }
    b->binds->kit->counters.out_of_memory++;
    session_close(b->session, CLOSE_INTERNAL, SPAN_LIT("Out of memory"));
}

/* ERR_AGAIN: no room, or a suspect is to be finished first, and on_idle tells. */
static enum err hand_over_again(struct binding *b)
{
    struct undone_message message;
    while (has_again(b)) {
        bool is_suspect = has_suspect(b);
        (void)undone_front(&b->again->messages, &message);
        enum err e = link_deliver_msg(b->link, b->handle, &message, true);
        if (e != ERR_OK) {
            return e;
        }
        undone_drop(&b->again->messages);
        if (is_suspect) {
            link_watch_idle(b->link, b->handle);
            binding_move_to(b, PLACE_TRIED);
            return ERR_AGAIN;
        }
    }
    if (b->again != NULL) {
        undone_trim(&b->again->messages);
    }
    return ERR_OK;
}

static enum err hand_over_pending(struct binding *b)
{
    struct message message;
    while (sendq_peek(&b->pending, &message, 1) == 1) {
        const struct undone_message next = {b->sequence + 1, message.data, message.is_text};
        enum err e = link_deliver_msg(b->link, b->handle, &next, false);
        if (e != ERR_OK) {
            return e;
        }
        b->sequence++;
        sendq_drop(&b->pending, 1);
    }
    return ERR_OK;
}

/* Whether the handler has finished all that the client said. One that was never let in is owed
 * nothing. */
static bool settle(void *binding)
{
    struct binding *b = binding;
    bool is_waiting = !has_nothing_to_tell(b) && !b->is_undecided;
    b->wants_settled = is_waiting || (b->link != NULL && !link_is_idle(b->link, b->handle));
    if (b->wants_settled && b->link != NULL) {
        link_watch_idle(b->link, b->handle);
    }
    return !b->wants_settled;
}

/* Its session may have ended afterwards. */
static void tell_settled(struct binding *b)
{
    if (UNLIKELY(b->wants_settled) && b->session != NULL && settle(b)) {
        session_settled(b->session);
    }
}

void binding_drain(struct binding *b)
{
    if (b->is_undecided) {
        return; /* comes again with the ACCEPT */
    }
    enum err e = hand_over_again(b);
    if (e == ERR_OK) {
        e = hand_over_pending(b);
    }
    if (e == ERR_AGAIN) {
        if (b->place != PLACE_TRIED) {
            binding_move_to(b, PLACE_BLOCKED);
        }
        if (b->session == NULL) {
            hold_ended(b);
        }
        return;
    }
    if (e != ERR_OK) {
        binding_give_up(b, e);
        return;
    }
    if (b->session == NULL) {
        say_end(b);
        return;
    }
    binding_move_to(b, PLACE_NONE);
    session_pause_input(b->session, false);
    tell_settled(b);
}

static struct span state_of(const struct binding *b)
{
    return b->state != NULL ? span_of(b->state->bytes, b->state->len) : SPAN_NONE;
}

enum err binding_offer(struct binding *b)
{
    struct binds *binds = b->binds;
    struct link *link = binds_choose(binds, b->mount);
    if (link == NULL) {
        return ERR_AGAIN;
    }
    if (has_suspect(b) && binds->tried != NULL) {
        binds->has_refused_offer = true;
        return ERR_AGAIN;
    }
    struct buf *json = &binds->kit->encode_scratch;
    buf_clear(json);
    enum err e = buf_append(json, b->info, strlen(b->info));
    if (e == ERR_OK) {
        const struct open_info_rest rest = {.subprotocol = span_str(b->subprotocol),
                                            .is_resumed = b->was_opened,
                                            .state = state_of(b)};
        e = open_info_finish(json, &rest);
    }
    if (e == ERR_OK) {
        e = link_deliver_open(link, &b->owner, buf_span(json), &b->handle);
    }
    binds->has_refused_offer |= e == ERR_AGAIN;
    if (e != ERR_OK) {
        return e;
    }
    b->link = link;
    if (has_suspect(b)) {
        binds->tried = b;
    }
    b->was_offered = true;
    binding_move_to(b, PLACE_NONE);
    if (b->is_slow) {
        link_tell_writable(link, b->handle, false);
    }
    binding_drain(b);
    return ERR_OK;
}

/* -- from the link ---------------------------------------------------------------------------- */

static unsigned code_of(const struct link_verb *verb)
{
    uint64_t code = 0;
    (void)!link_arg_u64(verb->args[1], 4999, &code);
    return (unsigned)code;
}

/* False: no memory. */
static bool keep_state(struct binding *b, struct span bytes)
{
    struct handler_state *state = b->state;
    if (state == NULL || state->len != bytes.len) {
        state = bytes.len != 0 ? mem_new(1, sizeof *state + bytes.len) : NULL;
        if (state == NULL && bytes.len != 0) {
            return false;
        }
        mem_free(b->state);
        b->state = state;
    }
    if (state != NULL) {
        state->len = bytes.len;
        memcpy(state->bytes, bytes.ptr, bytes.len);
    }
    return true;
}

static void take_state(struct binding *b, struct span bytes)
{
    if (keep_state(b, bytes)) {
        return;
    }
    if (b->session != NULL) {
        binding_give_up(b, ERR_NOMEM); /* the next handler would be told an old one */
    } else {
        b->binds->kit->counters.out_of_memory++;
    }
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
        binding_give_up(b, ERR_NOMEM);
        return;
    }
    session_accept(session, subprotocol);
    if (session->state == SESSION_OPEN) {
        b->is_undecided = false;
        note_opened(b);
        binding_drain(b);
    }
}

static void on_verb(struct link_owner *owner, const struct link_verb *verb)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (verb->id == LINK_STATE) { /* also of an ended session, whose messages come again */
        take_state(b, verb->payload);
        return;
    }
    if (b->session == NULL) {
        b->binds->kit->counters.stale_verbs++; /* normal: it crossed the session's end */
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
    default: /* KICK, REJECT */
        session_close(b->session, code_of(verb), verb->payload);
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

static void on_left(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (b->place == PLACE_MOVED) {
        b->binds->has_refused_offer = true;
        binds_schedule_settling(b->binds);
        start_waiting(b);
    } else {
        binding_destroy(b);
    }
}

static void on_idle(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (b->place == PLACE_TRIED) {
        binds_schedule_settling(b->binds);
        return;
    }
    if (b->session != NULL && b->place == PLACE_NONE && b->link->is_draining) {
        binding_move_to(b, PLACE_LEAVING);
        binds_schedule_settling(b->binds);
    }
    tell_settled(b);
}

void binding_leave(struct binding *b)
{
    binding_move_to(b, PLACE_NONE);
    if (link_is_idle(b->link, b->handle) && binds_choose(b->binds, b->mount) != NULL) {
        binding_move_to(b, PLACE_MOVED);
        link_deliver_moved(b->link, b->handle);
    } /* else when it is, or when there is one */
}

void binding_pass_trial(struct binding *b)
{
    if (b->place == PLACE_TRIED && link_is_idle(b->link, b->handle)) {
        b->again->n_links = 0;
        binding_move_to(b, PLACE_NONE);
        end_trial(b);
        binding_drain(b);
        if (link_is_idle(b->link, b->handle)) {
            on_idle(&b->owner); /* of a link that drains: there was nothing else to hand over */
        }
    }
}

static void on_undone(struct link_owner *owner, const struct undone_message *message)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    if (b->again == NULL) {
        b->again = MEM_NEW(struct again);
        if (b->again != NULL) {
            undone_init(&b->again->messages, UINT64_MAX); /* the windows of links bound them */
            undone_init(&b->again->returned, UINT64_MAX);
        }
    }
    if (b->again == NULL || undone_push(&b->again->returned, message) != ERR_OK) {
        b->lost_memory = true;
    }
}

/* The link had the first of these, and ended. */
static void count_link(struct again *again)
{
    struct undone_message first;
    if (undone_front(&again->returned, &first)) {
        again->n_links = again->suspect == first.sequence ? again->n_links + 1 : 1;
        again->suspect = first.sequence;
    }
}

/* Ahead of what an earlier link had left, which has not been handed over again yet. */
static void merge_returned(struct again *again)
{
    undone_append(&again->returned, &again->messages);
    undone_append(&again->messages, &again->returned);
}

/* It ended every handler that got it. */
static void give_up_suspect(struct binding *b)
{
    LOG(LOG_ERROR, "message given up: every handler that got it has died",
        "mount=%.*s sequence=%llu handlers=%u", SPAN_FMT(b->mount),
        (unsigned long long)b->again->suspect, b->again->n_links);
    drop_messages(b);
    if (b->session != NULL) {
        session_close(b->session, CLOSE_INTERNAL, SPAN_LIT("A message could not be handled"));
    } else {
        start_waiting(b);
    }
}

static void on_orphan(struct link_owner *owner)
{
    struct binding *b = CONTAINER_OF(owner, struct binding, owner);
    b->link = NULL;
    binding_move_to(b, PLACE_NONE);
    end_trial(b);
    if (b->again != NULL) {
        count_link(b->again);
        merge_returned(b->again);
    }
    if (b->lost_memory) {
        b->lost_memory = false;
        binding_give_up(b, ERR_NOMEM);
    } else if (has_suspect(b) && b->again->n_links > BINDS_MAX_REDELIVERIES) {
        give_up_suspect(b);
    } else {
        start_waiting(b);
    }
}

static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_idle = on_idle,
    .on_undone = on_undone,
    .on_orphan = on_orphan,
};

/* -- from the session ------------------------------------------------------------------------- */

static void message(void *binding, const struct message *m)
{
    struct binding *b = binding;
    if (LIKELY(is_open(b))) {
        const struct undone_message next = {b->sequence + 1, m->data, m->is_text};
        enum err e = link_deliver_msg(b->link, b->handle, &next, false);
        if (LIKELY(e == ERR_OK)) {
            b->sequence++;
            return;
        }
        if (e != ERR_AGAIN) {
            binding_give_up(b, e);
            return;
        }
        binding_move_to(b, PLACE_BLOCKED);
    }
    if (sendq_push(&b->pending, m) != ERR_OK) {
        binding_give_up(b, ERR_NOMEM);
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
    if (b->link != NULL && b->place != PLACE_MOVED) {
        link_tell_writable(b->link, b->handle, is_writable);
    }
}

static void closed(void *binding, unsigned code, struct span reason)
{
    struct binding *b = binding;
    if (b->is_undecided) {
        drop_messages(b);
    }
    b->is_undecided = false;
    b->session = NULL;
    b->close_code = (uint16_t)code;
    b->close_reason = reason.len != 0 ? mem_copy_string(reason.ptr, reason.len) : NULL;
    bool is_all_told = has_nothing_to_tell(b);
    if (b->link == NULL && is_all_told && !b->was_offered) {
        binding_destroy(b); /* no handler has ever heard of it */
    } else if (b->link != NULL && is_all_told && b->place != PLACE_MOVED) {
        say_end(b);
    } else if (b->link == NULL && b->place != PLACE_WAITING) {
        start_waiting(b);
    } else {
        hold_ended(b); /* CLOSE comes behind what the client said before it left */
    }
}

const struct uplink_ops bind_uplink_ops = {
    .message = message,
    .writable = writable,
    .settle = settle,
    .closed = closed,
};

/* -- birth ------------------------------------------------------------------------------------ */

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
        binding_destroy(b);
        return ERR_NOMEM;
    }
    /* The bound is where the input pauses; what one request had decoded by then still fits. */
    sendq_init(&b->pending, 1U << 31);
    session->binding = b;
    enum err e = binding_offer(b);
    if (e == ERR_AGAIN) {
        start_waiting(b);
    } else if (e != ERR_OK) {
        session->binding = NULL;
        binding_destroy(b);
        return ERR_NOMEM;
    }
    return ERR_OK;
}
