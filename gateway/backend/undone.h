/*
 * undone: messages that were handed to a handler and are not acknowledged, in order of delivery.
 *
 * A link keeps the copies of what its handler has not finished, and gives them back to the sessions
 * when it ends; there they wait, with the numbers that they had, to be delivered again. Records lie
 * one behind another in chunks, which go from the front of the queue to its end: a message costs
 * one copy, and an allocation only while the queue grows. Used by backend/link and edge/bind.
 * Threads: the owning worker.
 */
#ifndef POSTERN_BACKEND_UNDONE_H
#define POSTERN_BACKEND_UNDONE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/span.h"

enum {
    UNDONE_LEAST_CHUNK_BYTES = 512, /* a session's, of which there may be many */
    UNDONE_MOST_CHUNK_BYTES = 64 << 10,
    UNDONE_RECORD_BYTES = 16, /* that a message takes besides its data */
};

TAILQ_HEAD(undone_chunks, undone_chunk);

struct undone {
    struct undone_chunks chunks;
    struct undone_chunks spares; /* were emptied, until undone_trim */
    uint64_t n_bytes;            /* of records */
    uint64_t max_bytes;          /* likewise */
};

struct undone_message {
    uint64_t sequence; /* the session's own count of messages, stable over links */
    struct span data;  /* valid until the queue changes; less than 4 GiB */
    bool is_text;
};

/* Holds at most `max_bytes`, records included. */
void undone_init(struct undone *queue, uint64_t max_bytes);
void undone_fini(struct undone *queue);

static inline uint64_t undone_bytes(const struct undone *queue)
{
    return queue->n_bytes;
}

/* Copies `message` to the end. ERR_NOMEM; ERR_LIMIT. */
enum err undone_push(struct undone *queue, const struct undone_message *message) MUST_CHECK;
/* The first one; false = there is none. */
bool undone_front(const struct undone *queue, struct undone_message *out);
/* Drops the first one, which must be there. */
void undone_drop(struct undone *queue);
/* Likewise, for who knows the size of its record: it was not looked at for long, and is cold. */
void undone_drop_bytes(struct undone *queue, size_t size);
/* Asks `keeps` of each one, in order, and drops those that it refuses. Allocates nothing. */
void undone_filter(struct undone *queue, bool (*keeps)(void *ctx), void *ctx);
/* All of `from`, which is empty afterwards, comes behind what is there. Copies nothing. */
void undone_append(struct undone *queue, struct undone *from);
/* Gives back the storage that holds nothing. */
void undone_trim(struct undone *queue);
/* Whether there is any storage. */
bool undone_has_storage(const struct undone *queue);

#endif
