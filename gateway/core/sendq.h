/*
 * sendq: messages on their way to one client, in order, bounded in bytes.
 *
 * Records lie one behind another in a single buffer (length, kind, payload), so a queued message
 * costs no allocation of its own and an empty queue holds no storage. Each record counts its
 * payload plus SENDQ_RECORD_BYTES, so a flood of empty messages is bounded as well. Threads: the
 * owning worker.
 */
#ifndef POSTERN_CORE_SENDQ_H
#define POSTERN_CORE_SENDQ_H

#include <stdint.h>

#include "base/buf.h"
#include "core/frame.h"

enum {
    SENDQ_RECORD_BYTES = 8
};

struct sendq {
    struct buf records;
    uint32_t n_messages;
};

/* `hard_bytes`: the queue never holds more. */
void sendq_init(struct sendq *queue, size_t hard_bytes);
void sendq_fini(struct sendq *queue);

static inline size_t sendq_bytes(const struct sendq *queue)
{
    return buf_len(&queue->records);
}

static inline bool sendq_is_empty(const struct sendq *queue)
{
    return queue->n_messages == 0;
}

/* Copies the message to the end. ERR_LIMIT: it would pass the bound; ERR_NOMEM. Nothing changes
 * then. */
enum err sendq_push(struct sendq *queue, const struct message *message) MUST_CHECK;
/* Views of the first messages, at most `max`; valid until the queue changes. Returns how many. */
size_t sendq_peek(const struct sendq *queue, struct message *out, size_t max);
/* Drops the first `n` messages (n <= n_messages); storage of an empty queue is freed. */
void sendq_drop(struct sendq *queue, size_t n);

#endif
