/* relay: see relay.h. This file is the traffic of one relay; relay_set.c makes and ends them. */
#include <stdio.h>

#include "backend/relay_internal.h"
#include "base/jsontext.h"
#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

enum {
    GATHER_FROM_BYTES = 32 << 10, /* a frame larger than this is gathered here, not in the conn */
    MAX_HELD_BYTES = 256 << 10,   /* one read with what was left before it; a frame comes on top */
    HIGH_WATER_BYTES = 256 << 10, /* of output: above it the handler is not read */
    CLOSE_LOST = 1006,            /* what the handler hears when the near end is gone */
};

/* -- ends ------------------------------------------------------------------------------------- */

static void reap(struct turn_task *task)
{
    struct relay *relay = CONTAINER_OF(task, struct relay, reap);
    buf_fini(&relay->held);
    mem_free(relay->slots);
    mem_free(relay);
}

/* The slots are gone from the link. Closes our end behind all that the near one has to hear. */
static void end(struct relay *relay)
{
    relay->is_over = true;
    relay->kit->counters.relays_open--;
    turn_cancel(&relay->kit->turn, TURN_SESSION, &relay->tell_done);
    conn_close(relay->conn);
    turn_schedule(&relay->kit->turn, TURN_REAP, &relay->reap, reap);
}

/* The near end is gone, or must go, while the link lives on. */
static void lose(struct relay *relay)
{
    struct link *link = relay->link;
    LOG(LOG_DEBUG, "relay ended", "handler=%s to=%u", link->name != NULL ? link->name : "-",
        relay->worker);
    for (uint32_t i = 0; i < relay->n_slots; i++) {
        struct relay_slot *slot = relay->slots[i];
        if (slot == NULL) {
            continue;
        }
        if (!slot->is_closed) {
            link_deliver_close(link, slot->handle, CLOSE_LOST, SPAN_NONE);
        }
        link_forget_owner(link, slot->handle);
        mem_free(slot);
    }
    link_forget_source(link, relay->worker + 1);
    if (relay->holds_link) {
        link_resume(link);
    }
    relays_lost(relay->set, relay->worker);
    end(relay);
}

/* For what happens inside a call of the link: the relay ends at the turn's end. */
static void break_off(struct relay *relay)
{
    relay->kit->counters.out_of_memory++;
    relay->is_broken = true;
    conn_fail(relay->conn);
}

/* -- from the handler to the near end --------------------------------------------------------- */

/* After something was appended to the output. */
static void wrote(struct relay *relay)
{
    conn_wrote(relay->conn);
    if (UNLIKELY(buf_len(conn_out(relay->conn)) >= HIGH_WATER_BYTES) && !relay->holds_link &&
        conn_room(relay->conn) == 0) {
        relay->holds_link = true;
        link_pause(relay->link);
    }
}

static void on_drained(void *owner)
{
    struct relay *relay = owner;
    if (relay->holds_link) {
        relay->holds_link = false;
        link_resume(relay->link);
    }
}

static void on_verb(struct link_owner *owner, const struct link_verb *verb)
{
    struct relay_slot *slot = CONTAINER_OF(owner, struct relay_slot, owner);
    struct relay *relay = slot->relay;
    if (relay->is_broken) {
        return; /* nothing may follow what was lost */
    }
    if (link_put_forward(conn_out(relay->conn), verb, slot->near_handle) != ERR_OK) {
        break_off(relay);
        return;
    }
    wrote(relay);
}

static void on_open_acked(struct link_owner *owner)
{
    (void)owner; /* the near link learns it from the DONE of its own number */
}

/* The handler has acknowledged CLOSE or MOVED, or is gone. Before the near link can hear of that
 * and give its handle out again. */
static void forget(struct link_owner *owner)
{
    struct relay_slot *slot = CONTAINER_OF(owner, struct relay_slot, owner);
    slot->relay->slots[slot->near_handle - 1] = NULL;
    mem_free(slot);
}

/* The near link keeps the copies, and moves its sessions when it hears DRAIN. */
static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = forget,
    .on_orphan = forget,
};

static void put_done(struct relay *relay)
{
    char line[LINK_MAX_LINE_BYTES] = "DONE";
    size_t len = 4;
    for (unsigned i = 0; i < relay->n_ranges; i++) {
        const struct range *range = &relay->done[i];
        int n = snprintf(line + len, sizeof line - len,
                         range->first == range->last ? " %llu" : " %llu-%llu",
                         (unsigned long long)range->first, (unsigned long long)range->last);
        len += (size_t)n;
    }
    relay->n_ranges = 0;
    if (relay->is_broken) {
        return;
    }
    if (link_put(conn_out(relay->conn), line, NULL, 0, SPAN_NONE) != ERR_OK) {
        break_off(relay);
        return;
    }
    wrote(relay);
}

static void on_tell_done(struct turn_task *task)
{
    put_done(CONTAINER_OF(task, struct relay, tell_done));
}

void relays_on_done(struct relays *relays, unsigned source, uint32_t tag)
{
    struct relay *relay = relays->to[source - 1];
    /* `tag` is the low half of a number that was taken not long ago. */
    uint64_t number = relay->n_taken - (uint32_t)((uint32_t)relay->n_taken - tag);
    if (relay->n_ranges != 0 && relay->done[relay->n_ranges - 1].last + 1 == number) {
        relay->done[relay->n_ranges - 1].last = number;
        return;
    }
    if (relay->n_ranges == RELAY_MAX_RANGES) {
        put_done(relay);
    }
    relay->done[relay->n_ranges++] = (struct range){number, number};
    turn_schedule(&relay->kit->turn, TURN_SESSION, &relay->tell_done, on_tell_done);
}

/* -- from the near end to the handler --------------------------------------------------------- */

/* ERR_PROTO: a frame that the near link cannot have written. */
static enum err arg(const struct link_verb *verb, unsigned i, uint64_t max, uint64_t *value)
{
    return i < verb->n_args && link_arg_u64(verb->args[i], max, value) == ERR_OK ? ERR_OK
                                                                                 : ERR_PROTO;
}

/* NULL: there is no such session, or its last delivery was made. */
static struct relay_slot *slot_of(const struct relay *relay, const struct link_verb *verb,
                                  unsigned i)
{
    uint64_t handle = 0;
    if (arg(verb, i, relay->n_slots, &handle) != ERR_OK || handle == 0) {
        return NULL;
    }
    struct relay_slot *slot = relay->slots[handle - 1];
    return slot != NULL && !slot->is_closed ? slot : NULL;
}

static bool grow_slots(struct relay *relay, uint32_t handle)
{
    uint32_t n = relay->n_slots != 0 ? relay->n_slots : 64;
    while (n < handle) {
        n *= 2;
    }
    if (n == relay->n_slots) {
        return true;
    }
    struct relay_slot **slots = mem_resize(relay->slots, n * sizeof(struct relay_slot *));
    if (slots == NULL) {
        return false;
    }
    memset(slots + relay->n_slots, 0, (n - relay->n_slots) * sizeof(struct relay_slot *));
    relay->slots = slots;
    relay->n_slots = n;
    return true;
}

static enum err take_open(struct relay *relay, const struct link_verb *verb)
{
    uint64_t handle = 0;
    if (arg(verb, 1, LINK_MAX_HANDLES, &handle) != ERR_OK || handle == 0 || verb->n_args != 2) {
        return ERR_PROTO;
    }
    if (!grow_slots(relay, (uint32_t)handle)) {
        return ERR_NOMEM;
    }
    if (relay->slots[handle - 1] != NULL) {
        return ERR_PROTO;
    }
    struct relay_slot *slot = MEM_NEW(struct relay_slot);
    if (slot == NULL) {
        return ERR_NOMEM;
    }
    *slot =
        (struct relay_slot){.owner = {&slot_ops}, .relay = relay, .near_handle = (uint32_t)handle};
    enum err e = link_deliver_open(relay->link, &slot->owner, verb->payload, &slot->handle);
    if (e != ERR_OK) {
        mem_free(slot);
        return e;
    }
    relay->slots[handle - 1] = slot;
    return ERR_OK;
}

static enum err take_msg(struct relay *relay, const struct link_verb *verb)
{
    uint64_t sequence = 0;
    const struct relay_slot *slot = slot_of(relay, verb, 1);
    if (UNLIKELY(slot == NULL || verb->n_args < 4 || verb->args[3].len != 1 ||
                 arg(verb, 2, UINT64_MAX, &sequence) != ERR_OK)) {
        return ERR_PROTO;
    }
    const struct undone_message message = {sequence, verb->payload, verb->args[3].ptr[0] == 't'};
    return link_deliver_msg(relay->link, slot->handle, &message, verb->n_args > 4);
}

static enum err take_close(struct relay *relay, const struct link_verb *verb)
{
    uint64_t code = 0;
    struct relay_slot *slot = slot_of(relay, verb, 1);
    if (slot == NULL || arg(verb, 2, UINT16_MAX, &code) != ERR_OK || verb->n_args != 3) {
        return ERR_PROTO;
    }
    link_deliver_close(relay->link, slot->handle, (unsigned)code, verb->payload);
    slot->is_closed = true;
    return ERR_OK;
}

static enum err take_moved(struct relay *relay, const struct link_verb *verb)
{
    struct relay_slot *slot = slot_of(relay, verb, 1);
    if (slot == NULL || verb->n_args != 2) {
        return ERR_PROTO;
    }
    link_deliver_moved(relay->link, slot->handle);
    slot->is_closed = true;
    return ERR_OK;
}

static enum err take_delivery(struct relay *relay, const struct link_verb *verb)
{
    uint64_t number = 0;
    if (arg(verb, 0, UINT64_MAX, &number) != ERR_OK || number != relay->n_taken + 1) {
        return ERR_PROTO;
    }
    enum err e = verb->id == LINK_MSG     ? take_msg(relay, verb)
                 : verb->id == LINK_OPEN  ? take_open(relay, verb)
                 : verb->id == LINK_CLOSE ? take_close(relay, verb)
                                          : take_moved(relay, verb);
    if (e == ERR_OK) {
        relay->n_taken++;
        if (!relay->link->is_broken) { /* else it ends before the handler could acknowledge */
            link_tag_last(relay->link, relay->worker + 1, (uint32_t)number);
        }
    }
    return e;
}

/* ERR_AGAIN: the link has no room; the verb must come again. */
static enum err take_verb(struct relay *relay, const struct link_verb *verb)
{
    switch ((unsigned)verb->id) {
    case LINK_MSG:
    case LINK_OPEN:
    case LINK_CLOSE:
    case LINK_MOVED:
        return take_delivery(relay, verb);
    case LINK_PAUSE:
    case LINK_RESUME: {
        const struct relay_slot *slot = slot_of(relay, verb, 0);
        if (slot == NULL) {
            return ERR_PROTO;
        }
        link_tell_writable(relay->link, slot->handle, verb->id == LINK_RESUME);
        return ERR_OK;
    }
    case LINK_WELCOME: /* says nothing that we did not know */
    case LINK_ERROR:   /* was logged there; EOF follows */
        return ERR_OK;
    default:
        return ERR_PROTO;
    }
}

/* One frame at the start of `in`. ERR_AGAIN with is_blocked: no room; else it is incomplete, and
 * *needed as in link_frame_parse. Any other error has ended the relay. */
static enum err take_frame(struct relay *relay, struct span in, size_t *used, size_t *needed)
{
    struct link_verb verb;
    struct fault fault = {0};
    verb.id = LINK_UNKNOWN; /* for the log; the rest is large */
    enum err e = link_frame_parse(in, relay->link->max_frame_bytes, &verb, used, needed, &fault);
    if (e == ERR_AGAIN) {
        return e;
    }
    if (e == ERR_OK) {
        e = take_verb(relay, &verb);
        relay->is_blocked = e == ERR_AGAIN;
    }
    if (UNLIKELY(e != ERR_OK)) {
        *used = 0;
        if (e == ERR_NOMEM) {
            relay->kit->counters.out_of_memory++;
        } else if (e != ERR_AGAIN) {
            LOG(LOG_ERROR, "relay got a frame that cannot be", "from=%u verb=%s why=%s",
                relay->worker, link_verb_name(verb.id), fault.why != NULL ? fault.why : "-");
        }
        if (e != ERR_AGAIN) {
            lose(relay);
        }
    }
    return e;
}

/* Takes the frames in `held`, until one has no room or is incomplete. */
static void take_held(struct relay *relay)
{
    relay->held_needed = 0;
    while (buf_len(&relay->held) != 0) {
        size_t used = 0;
        if (take_frame(relay, buf_span(&relay->held), &used, &relay->held_needed) != ERR_OK) {
            return;
        }
        buf_consume(&relay->held, used);
    }
    buf_trim(&relay->held);
}

static void hold(struct relay *relay, struct span bytes)
{
    if (buf_append_span(&relay->held, bytes) != ERR_OK) {
        relay->kit->counters.out_of_memory++;
        lose(relay);
    }
}

/* Adds to the frame that is being gathered: to the end of its line, then to its own end. Returns
 * bytes taken. */
static size_t gather(struct relay *relay, struct span in)
{
    size_t n = relay->held_needed != 0 ? relay->held_needed - buf_len(&relay->held)
                                       : span_find(in, '\n') + 1;
    n = n < in.len ? n : in.len;
    hold(relay, span_of(in.ptr, n));
    if (!relay->is_over && buf_len(&relay->held) >= relay->held_needed) {
        take_held(relay);
    }
    return n;
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct relay *relay = owner;
    size_t at = 0;
    while (at < len && !relay->is_over && !relay->is_blocked) {
        struct span rest = span_of(bytes + at, len - at);
        if (buf_len(&relay->held) != 0) {
            at += gather(relay, rest);
            continue;
        }
        size_t used = 0;
        size_t needed = 0;
        if (take_frame(relay, rest, &used, &needed) == ERR_OK) {
            at += used;
        } else if (!relay->is_over && !relay->is_blocked && needed > GATHER_FROM_BYTES) {
            relay->held_needed = needed;
            hold(relay, rest);
            return len;
        } else {
            break;
        }
    }
    if (relay->is_blocked && !relay->is_over) {
        hold(relay, span_of(bytes + at, len - at));
        if (!relay->is_over) {
            conn_pause(relay->conn);
        }
        return len;
    }
    return relay->is_over ? len : at;
}

static void on_eof(void *owner)
{
    lose(owner);
}

static void on_gone(void *owner, enum err why)
{
    (void)why;
    lose(owner);
}

static const struct octets_ops conn_owner_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

void relays_on_room(struct relays *relays, unsigned worker)
{
    struct relay *relay = relays->to[worker];
    if (relay == NULL || !relay->is_blocked) {
        return;
    }
    relay->is_blocked = false;
    take_held(relay);
    if (!relay->is_over && !relay->is_blocked) {
        conn_resume(relay->conn);
    }
}

/* -- interface -------------------------------------------------------------------------------- */

/* What the handler said of itself, as far as the near link must know it. */
static enum err put_hello(struct relay *relay)
{
    const struct link *link = relay->link;
    struct buf *json = &relay->kit->encode_scratch;
    struct span name = span_str(link->name);
    if (name.len >= 2) { /* it is quoted for the log */
        name = span_of(name.ptr + 1, name.len - 2);
    }
    buf_clear(json);
    enum err e =
        buf_printf(json, "{\"max_frame\":%llu,\"app\":", (unsigned long long)link->max_frame_bytes);
    if (e == ERR_OK) {
        e = json_quote(json, name, JSON_PLAIN);
    }
    for (unsigned i = 0; i < link->n_mounts && e == ERR_OK; i++) {
        e = buf_append_span(json, i == 0 ? SPAN_LIT(",\"mounts\":[") : SPAN_LIT(","));
        if (e == ERR_OK) {
            e = json_quote(json, span_str(link->mounts[i]), JSON_PLAIN);
        }
    }
    if (e == ERR_OK) {
        e = buf_append_span(json, link->n_mounts != 0 ? SPAN_LIT("]}") : SPAN_LIT("}"));
    }
    const uint64_t version = 1;
    if (e == ERR_OK) {
        e = link_put(conn_out(relay->conn), "HELLO", &version, 1, buf_span(json));
    }
    if (e == ERR_OK) {
        conn_wrote(relay->conn);
    }
    return e;
}

struct relay *relay_create(struct relays *set, unsigned worker, struct conn *conn)
{
    struct relay *relay = MEM_NEW(struct relay);
    if (relay == NULL) {
        conn_abort(conn);
        return NULL;
    }
    relay->set = set;
    relay->link = set->link;
    relay->kit = set->kit;
    relay->conn = conn;
    relay->worker = worker;
    buf_init(&relay->held, MAX_HELD_BYTES + LINK_MAX_LINE_BYTES + set->link->max_frame_bytes);
    if (put_hello(relay) != ERR_OK) {
        conn_abort(conn);
        mem_free(relay);
        return NULL;
    }
    conn_set_owner(conn, &conn_owner_ops, relay);
    relay->kit->counters.relays_open++;
    return relay;
}

void relay_end(struct relay *relay)
{
    if (relay->n_ranges != 0) {
        put_done(relay); /* what a dying handler had finished counts */
    }
    end(relay);
}

void relay_tell_drain(struct relay *relay)
{
    if (relay->is_broken) {
        return;
    }
    if (link_put(conn_out(relay->conn), "DRAIN", NULL, 0, SPAN_NONE) != ERR_OK) {
        break_off(relay);
        return;
    }
    wrote(relay);
}
