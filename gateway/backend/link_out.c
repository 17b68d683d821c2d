/* link_out: the deliveries of a link: slots, numbers, window. See link.h. */
#include "backend/link_internal.h"
#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

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
    link->slots[*handle - 1] =
        (struct link_slot){.owner = owner, .open_number = (uint32_t)link->next_number};
    link->n_sessions++;
    return ERR_OK;
}

static void free_slot(struct link *link, uint32_t handle)
{
    struct link_slot *slot = &link->slots[handle - 1];
    /* What is still unacknowledged under this handle is nobody's any more: see is_of_slot. */
    *slot = (struct link_slot){.next_free = link->free_slot,
                               .open_number = (uint32_t)link->next_number};
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

static void count_delivery(struct link *link, enum link_verb_id verb, uint32_t handle, size_t bytes)
{
    *delivery_of(link, link->next_number) =
        (struct link_delivery){.bytes = (uint32_t)bytes, .handle = handle, .verb = (uint8_t)verb};
    link->next_number++;
    link->unacked_bytes += bytes;
    link->slots[handle - 1].n_undone++;
    conn_wrote(link->conn);
}

static bool has_room(struct link *link)
{
    if (!link->is_broken && link->unacked_bytes < link->opts->window_bytes &&
        conn_room(link->conn) != 0) {
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

/* Whether delivery `number` was for the session that has the slot now. A handler that acknowledges
 * CLOSE before what came ahead of it frees the handle for the next one. */
static bool is_of_slot(const struct link_slot *slot, uint64_t number)
{
    return (uint32_t)((uint32_t)number - slot->open_number) < 1U << 31;
}

/* Calls back at the end only: what is called may deliver, and so move both tables. */
static void finish(struct link *link, uint64_t number)
{
    const struct link_delivery delivery = *delivery_of(link, number);
    struct link_slot *slot = &link->slots[delivery.handle - 1];
    delivery_of(link, number)->is_done = true;
    link->unacked_bytes -= delivery.bytes;
    if (UNLIKELY(delivery.source != 0)) {
        link->ops->on_done(link->ctx, link, delivery.source, delivery.tag);
    }
    if (!is_of_slot(slot, number)) {
        return;
    }
    if (delivery.verb == LINK_CLOSE) {
        free_slot(link, delivery.handle);
        return;
    }
    struct link_owner *owner = slot->owner;
    bool is_settled = --slot->n_undone == 0 && slot->wants_settled;
    if (delivery.verb == LINK_OPEN && owner != NULL) {
        owner->ops->on_open_acked(owner);
    }
    if (UNLIKELY(is_settled) && owner != NULL) {
        slot->wants_settled = false;
        owner->ops->on_settled(owner);
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
        link->first_unacked++;
    }
    return true;
}

bool link_settle(struct link *link, uint32_t handle)
{
    struct link_slot *slot = link_slot_of(link, handle);
    ASSERT(slot != NULL && slot->owner != NULL);
    slot->wants_settled = slot->n_undone != 0;
    return !slot->wants_settled;
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
    count_delivery(link, LINK_OPEN, *handle, buf_len(out) - before);
    return ERR_OK;
}

enum err link_deliver_msg(struct link *link, uint32_t handle, uint64_t sequence, bool is_text,
                          struct span payload)
{
    if (UNLIKELY(payload.len > link->max_frame_bytes)) {
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
    if (link_put_msg(out, link->next_number, handle, sequence, is_text ? 't' : 'b', payload) !=
        ERR_OK) {
        return ERR_NOMEM;
    }
    count_delivery(link, LINK_MSG, handle, buf_len(out) - before);
    return ERR_OK;
}

void link_deliver_close(struct link *link, uint32_t handle, unsigned code, struct span reason)
{
    struct link_slot *slot = link_slot_of(link, handle);
    ASSERT(slot != NULL && slot->owner != NULL);
    slot->owner = NULL;
    link->n_sessions--;
    struct buf *out = conn_out(link->conn);
    size_t before = buf_len(out);
    const uint64_t args[] = {link->next_number, handle, code};
    if (!reserve_number(link) || link_put(out, "CLOSE", args, 3, reason) != ERR_OK) {
        link_break(link); /* the handler would keep a dead session for ever: better a new link */
        return;
    }
    count_delivery(link, LINK_CLOSE, handle, buf_len(out) - before);
}

void link_tag_last(struct link *link, unsigned source, uint32_t tag)
{
    struct link_delivery *delivery = delivery_of(link, link->next_number - 1);
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
}
