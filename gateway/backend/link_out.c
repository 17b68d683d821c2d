/* link_out: the deliveries of a link: slots, numbers, window. See link.h. */
#include "backend/link_internal.h"
#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

enum {
    KEPT_SLACK_BYTES = 64 << 10, /* of the dead that are always borne */
    REST_MS = 1000,              /* a relay's storage, from when it was emptied */
};

/* -- slots ------------------------------------------------------------------------------------ */

struct link_slot *link_slot_of(struct link *link, uint64_t handle)
{
    return handle >= 1 && handle <= link->n_slots ? &link->slots[handle - 1] : NULL;
}

static enum err take_slot(struct link *link, struct link_owner *owner, uint32_t *handle)
{
    if (link->free_slot != 0) {
        *handle = link->free_slot;
        link->free_slot = link->slots[*handle - 1].next_free;
    } else {
        if (link->n_slots == LINK_MAX_HANDLES) {
            return ERR_LIMIT;
        }
        if (link->n_slots == link->cap_slots) {
            uint32_t cap = link->cap_slots != 0 ? link->cap_slots * 2 : 64;
            struct link_slot *slots = mem_resize(link->slots, cap * sizeof *slots);
            if (slots == NULL) {
                return ERR_NOMEM;
            }
            link->slots = slots;
            link->cap_slots = cap;
        }
        *handle = ++link->n_slots;
    }
    link->slots[*handle - 1] = (struct link_slot){.owner = owner, .open_number = link->next_number};
    link->n_sessions++;
    return ERR_OK;
}

static void free_slot(struct link *link, uint32_t handle)
{
    struct link_slot *slot = &link->slots[handle - 1];
    /* What is still unacknowledged under this handle is nobody's any more: see is_of_slot. */
    *slot = (struct link_slot){.open_number = link->next_number, .next_free = link->free_slot};
    link->free_slot = handle;
}

/* -- numbers and window ----------------------------------------------------------------------- */

static struct link_delivery *delivery_of(struct link *link, uint64_t number)
{
    return &link->deliveries[number & (link->n_ring - 1)];
}

static bool grow_ring(struct link *link)
{
    uint32_t n = link->n_ring != 0 ? link->n_ring * 2 : 64;
    struct link_delivery *ring = mem_new(n, sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint64_t i = link->first_unacked; i < link->next_number; i++) {
        ring[i & (n - 1)] = *delivery_of(link, i);
    }
    mem_free(link->deliveries);
    link->deliveries = ring;
    link->n_ring = n;
    return true;
}

/* Room in the ring for one more; false = out of memory. */
static bool reserve_number(struct link *link)
{
    return link->next_number - link->first_unacked < link->n_ring || grow_ring(link);
}

static struct link_delivery *count_delivery(struct link *link, enum link_verb_id verb,
                                            uint32_t handle, size_t bytes)
{
    struct link_delivery *delivery = delivery_of(link, link->next_number);
    *delivery =
        (struct link_delivery){.bytes = (uint32_t)bytes, .handle = handle, .verb = (uint8_t)verb};
    link->next_number++;
    link->unacked_bytes += bytes;
    link->slots[handle - 1].n_undone++;
    conn_wrote(link->conn);
    return delivery;
}

static bool has_room(struct link *link)
{
    bool is_in_window = link->unacked_bytes < link->opts->window_bytes &&
                        link->next_number - link->first_unacked < LINK_MAX_SPREAD;
    if (!link->is_broken && is_in_window && conn_room(link->conn) != 0) {
        return true;
    }
    link->wants_room = true;
    return false;
}

void link_check_room(struct link *link)
{
    if (link->wants_room && !link->is_gone && has_room(link)) {
        link->wants_room = false;
        link->ops->on_room(link->ctx, link);
    }
}

bool link_was_sent(const struct link *link, uint64_t first, uint64_t last)
{
    return first >= 1 && first <= last && last < link->next_number;
}

/* -- copies ----------------------------------------------------------------------------------- */

struct living {
    struct link *link;
    uint64_t number; /* of the delivery whose copy was asked for last */
};

static bool is_living(void *ctx)
{
    struct living *living = ctx;
    struct link_delivery *delivery = NULL;
    do {
        delivery = delivery_of(living->link, living->number++);
    } while (!delivery->is_kept);
    delivery->is_kept = !delivery->is_done;
    return delivery->is_kept;
}

/* The copies of the dead cost at most as much as those of the living, the ring, and a little: an
 * old delivery that is never finished does not hold on to all that came after it. What is walked
 * here is paid for by as many bytes that have died. */
static void bury_dead(struct link *link)
{
    uint64_t n_spread = link->next_number - link->first_unacked;
    uint64_t bearable =
        link->unacked_bytes + n_spread * sizeof *link->deliveries + KEPT_SLACK_BYTES;
    if (link->kept_dead_bytes > bearable) {
        struct living living = {link, link->first_unacked};
        undone_filter(&link->kept, is_living, &living);
        link->kept_dead_bytes = 0;
    }
}

void link_let_rest(struct link *link)
{
    bool is_resting = undone_bytes(&link->kept) == 0 && buf_len(&link->partial) == 0;
    if (UNLIKELY(link->opts->is_relay) && is_resting && !timer_is_armed(&link->timer) &&
        (undone_has_storage(&link->kept) || link->partial.cap != 0)) {
        timer_arm(&link->kit->timers, &link->timer, link->kit->now_ms + REST_MS);
    }
}

/* -- acknowledgements ------------------------------------------------------------------------- */

/* Whether delivery `number` was for the session that has the slot now. A handler that acknowledges
 * CLOSE before what came ahead of it frees the handle for the next one. */
static bool is_of_slot(const struct link_slot *slot, uint64_t number)
{
    return number >= slot->open_number;
}

static void tell_idle(struct link_slot *slot)
{
    slot->wants_idle = false;
    if (slot->owner != NULL && slot->owner->ops->on_idle != NULL) {
        slot->owner->ops->on_idle(slot->owner);
    }
}

static void finish(struct link *link, uint64_t number)
{
    struct link_delivery delivery = *delivery_of(link, number);
    struct link_slot *slot = &link->slots[delivery.handle - 1];
    struct link_owner *owner = slot->owner;
    delivery_of(link, number)->is_done = true;
    link->unacked_bytes -= delivery.bytes;
    link->kept_dead_bytes += delivery.is_kept ? delivery.bytes : 0;
    if (UNLIKELY(delivery.source != 0)) {
        link->ops->on_done(link->ctx, link, delivery.source, delivery.tag);
    }
    if (!is_of_slot(slot, number)) {
        return;
    }
    slot->n_undone--;
    if (delivery.verb == LINK_CLOSE || delivery.verb == LINK_MOVED) {
        free_slot(link, delivery.handle);
        if (owner != NULL) {
            owner->ops->on_left(owner);
        }
        return;
    }
    if (delivery.verb == LINK_OPEN && owner != NULL) {
        owner->ops->on_open_acked(owner);
    }
    if (UNLIKELY(link->is_draining || slot->wants_idle) && slot->n_undone == 0) {
        tell_idle(slot);
    }
}

bool link_acknowledge(struct link *link, uint64_t first, uint64_t last)
{
    if (!link_was_sent(link, first, last)) {
        return false;
    }
    for (uint64_t i = first < link->first_unacked ? link->first_unacked : first; i <= last; i++) {
        if (!delivery_of(link, i)->is_done) {
            finish(link, i);
        }
    }
    while (link->first_unacked < link->next_number &&
           delivery_of(link, link->first_unacked)->is_done) {
        const struct link_delivery *delivery = delivery_of(link, link->first_unacked++);
        if (delivery->is_kept) {
            undone_drop_bytes(&link->kept, delivery->kept_bytes);
            link->kept_dead_bytes -= delivery->bytes;
        }
    }
    bury_dead(link);
    link_let_rest(link);
    return true;
}

bool link_is_idle(const struct link *link, uint32_t handle)
{
    return link->slots[handle - 1].n_undone == 0;
}

void link_watch_idle(struct link *link, uint32_t handle)
{
    link->slots[handle - 1].wants_idle = true;
}

void link_tell_idle(struct link *link)
{
    for (uint32_t i = 0; link->is_draining && i < link->n_slots; i++) {
        if (link->slots[i].owner != NULL && link->slots[i].n_undone == 0) {
            tell_idle(&link->slots[i]);
        }
    }
}

void link_return_undone(struct link *link)
{
    for (uint64_t i = link->first_unacked; i < link->next_number; i++) {
        const struct link_delivery *delivery = delivery_of(link, i);
        if (!delivery->is_kept) {
            continue;
        }
        struct undone_message message;
        const struct link_slot *slot = &link->slots[delivery->handle - 1];
        bool is_there = undone_front(&link->kept, &message);
        ASSERT(is_there);
        if (!delivery->is_done && slot->owner != NULL && is_of_slot(slot, i)) {
            slot->owner->ops->on_undone(slot->owner, &message);
        }
        undone_drop(&link->kept);
    }
}

/* -- deliveries ------------------------------------------------------------------------------- */

enum err link_deliver_open(struct link *link, struct link_owner *owner, struct span json,
                           uint32_t *handle)
{
    if (!has_room(link)) {
        return ERR_AGAIN;
    }
    if (!reserve_number(link)) {
        return ERR_NOMEM;
    }
    enum err e = take_slot(link, owner, handle);
    if (e != ERR_OK) {
        return e;
    }
    struct buf *out = conn_out(link->conn);
    size_t before = buf_len(out);
    const uint64_t args[] = {link->next_number, *handle};
    e = link_put(out, "OPEN", args, 2, json);
    if (e != ERR_OK) {
        free_slot(link, *handle);
        link->n_sessions--;
        return ERR_NOMEM;
    }
    (void)count_delivery(link, LINK_OPEN, *handle, buf_len(out) - before);
    return ERR_OK;
}

enum err link_deliver_msg(struct link *link, uint32_t handle, const struct undone_message *message,
                          bool is_again)
{
    static const struct span kinds[2][2] = {
        {SPAN_LIT_INIT("b"), SPAN_LIT_INIT("b again")},
        {SPAN_LIT_INIT("t"), SPAN_LIT_INIT("t again")},
    };
    if (UNLIKELY(message->data.len > link->max_frame_bytes)) {
        return ERR_LIMIT;
    }
    if (UNLIKELY(!has_room(link))) {
        return ERR_AGAIN;
    }
    if (UNLIKELY(!reserve_number(link))) {
        return ERR_NOMEM;
    }
    struct buf *out = conn_out(link->conn);
    size_t before = buf_len(out);
    bool is_kept = link->slots[handle - 1].owner->ops->on_undone != NULL;
    if (link_put_msg(out, link->next_number, handle, message->sequence,
                     kinds[message->is_text][is_again], message->data) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (is_kept && undone_push(&link->kept, message) != ERR_OK) {
        buf_truncate(out, before);
        return ERR_NOMEM;
    }
    struct link_delivery *delivery = count_delivery(link, LINK_MSG, handle, buf_len(out) - before);
    delivery->is_kept = is_kept;
    delivery->kept_bytes = UNDONE_RECORD_BYTES + (uint32_t)message->data.len;
    return ERR_OK;
}

static void deliver_last(struct link *link, enum link_verb_id verb, const uint64_t *args,
                         size_t n_args, struct span payload)
{
    uint32_t handle = (uint32_t)args[1];
    link->n_sessions--;
    struct buf *out = conn_out(link->conn);
    size_t before = buf_len(out);
    if (!reserve_number(link) ||
        link_put(out, link_verb_name(verb), args, n_args, payload) != ERR_OK) {
        link_break(link); /* the handler would keep a dead session for ever: better a new link */
        return;
    }
    (void)count_delivery(link, verb, handle, buf_len(out) - before);
}

void link_deliver_close(struct link *link, uint32_t handle, unsigned code, struct span reason)
{
    const uint64_t args[] = {link->next_number, handle, code};
    deliver_last(link, LINK_CLOSE, args, 3, reason);
}

void link_deliver_moved(struct link *link, uint32_t handle)
{
    const uint64_t args[] = {link->next_number, handle};
    deliver_last(link, LINK_MOVED, args, 2, SPAN_NONE);
}

void link_forget_owner(struct link *link, uint32_t handle)
{
    link->slots[handle - 1].owner = NULL;
}

void link_tag_last(struct link *link, unsigned source, uint32_t tag)
{
    struct link_delivery *delivery = delivery_of(link, link->next_number - 1);
    ASSERT(!delivery->is_kept);
    delivery->source = (uint16_t)source;
    delivery->tag = tag;
}

void link_forget_source(struct link *link, unsigned source)
{
    for (uint64_t i = link->first_unacked; i < link->next_number; i++) {
        if (delivery_of(link, i)->source == source) {
            delivery_of(link, i)->source = 0;
        }
    }
}

void link_tell_drain(struct link *link)
{
    if (link_put(conn_out(link->conn), "DRAIN", NULL, 0, SPAN_NONE) == ERR_OK) {
        conn_wrote(link->conn);
    }
}

void link_tell_writable(struct link *link, uint32_t handle, bool is_writable)
{
    const uint64_t args[] = {handle};
    if (link_put(conn_out(link->conn), is_writable ? "RESUME" : "PAUSE", args, 1, SPAN_NONE) !=
        ERR_OK) {
        link_break(link);
        return;
    }
    conn_wrote(link->conn);
}

void link_out_fini(struct link *link)
{
    mem_free(link->deliveries);
    mem_free(link->slots);
    undone_fini(&link->kept);
}
