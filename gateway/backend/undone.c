/* undone: see undone.h. A record is a header, unaligned, and the data; it lies in one chunk. */
#include "backend/undone.h"

#include <string.h>

#include "base/mem.h"

struct record {
    uint64_t sequence;
    uint32_t len;
    uint32_t is_text;
};

_Static_assert(sizeof(struct record) == UNDONE_RECORD_BYTES, "as undone.h says");

struct undone_chunk {
    TAILQ_ENTRY(undone_chunk) next;
    size_t start; /* of the first record in `bytes` */
    size_t end;
    size_t cap;
    char bytes[];
};

void undone_init(struct undone *queue, uint64_t max_bytes)
{
    *queue = (struct undone){.max_bytes = max_bytes};
    TAILQ_INIT(&queue->chunks);
    TAILQ_INIT(&queue->spares);
}

static void free_chunks(struct undone_chunks *chunks)
{
    while (!TAILQ_EMPTY(chunks)) {
        struct undone_chunk *chunk = TAILQ_FIRST(chunks);
        TAILQ_REMOVE(chunks, chunk, next);
        mem_free(chunk);
    }
}

void undone_fini(struct undone *queue)
{
    free_chunks(&queue->chunks);
    free_chunks(&queue->spares);
    queue->n_bytes = 0;
}

/* Each twice as large as the one before it. NULL: no memory. */
static struct undone_chunk *make_chunk(const struct undone_chunk *last, size_t need)
{
    size_t cap = last != NULL ? last->cap * 2 : UNDONE_LEAST_CHUNK_BYTES;
    cap = cap < UNDONE_MOST_CHUNK_BYTES ? cap : UNDONE_MOST_CHUNK_BYTES;
    cap = cap > need ? cap : need;
    struct undone_chunk *chunk = mem_resize(NULL, sizeof *chunk + cap);
    if (chunk != NULL) {
        *chunk = (struct undone_chunk){.cap = cap};
    }
    return chunk;
}

/* `chunk`, the first one, is empty. All that are kept for later are of one size; the one that was
 * emptied last is filled next: the caches still have it. */
static void put_aside(struct undone *queue, struct undone_chunk *chunk)
{
    TAILQ_REMOVE(&queue->chunks, chunk, next);
    if (chunk->cap == UNDONE_MOST_CHUNK_BYTES) {
        TAILQ_INSERT_HEAD(&queue->spares, chunk, next);
    } else {
        mem_free(chunk);
    }
}

/* The chunk at the end, with room for `need` more. */
static struct undone_chunk *reserve(struct undone *queue, size_t need)
{
    struct undone_chunk *last = TAILQ_LAST(&queue->chunks, undone_chunks);
    if (last != NULL && last->cap - last->end >= need) {
        return last;
    }
    struct undone_chunk *chunk = TAILQ_FIRST(&queue->spares);
    if (chunk != NULL && chunk->cap >= need) {
        TAILQ_REMOVE(&queue->spares, chunk, next);
    } else {
        chunk = make_chunk(last, need);
    }
    if (last != NULL && last->end == 0) { /* the only one, and too small */
        put_aside(queue, last);
    }
    if (chunk != NULL) {
        TAILQ_INSERT_TAIL(&queue->chunks, chunk, next);
    }
    return chunk;
}

enum err undone_push(struct undone *queue, const struct undone_message *message)
{
    const struct record record = {message->sequence, (uint32_t)message->data.len, message->is_text};
    size_t need = sizeof record + message->data.len;
    if (queue->n_bytes + need > queue->max_bytes) {
        return ERR_LIMIT;
    }
    struct undone_chunk *chunk = reserve(queue, need);
    if (chunk == NULL) {
        return ERR_NOMEM;
    }
    char *to = chunk->bytes + chunk->end;
    memcpy(to, &record, sizeof record);
    if (message->data.len != 0) {
        memcpy(to + sizeof record, message->data.ptr, message->data.len);
    }
    chunk->end += need;
    queue->n_bytes += need;
    return ERR_OK;
}

/* Reads the record at offset `at`; returns its size. */
static size_t read_record(const struct undone_chunk *chunk, size_t at, struct undone_message *out)
{
    struct record record;
    ASSERT(chunk->end - at >= sizeof record);
    memcpy(&record, chunk->bytes + at, sizeof record);
    ASSERT(chunk->end - at - sizeof record >= record.len);
    *out = (struct undone_message){record.sequence,
                                   span_of(chunk->bytes + at + sizeof record, record.len),
                                   record.is_text != 0};
    return sizeof record + record.len;
}

bool undone_front(const struct undone *queue, struct undone_message *out)
{
    const struct undone_chunk *first = TAILQ_FIRST(&queue->chunks);
    if (queue->n_bytes == 0) {
        return false;
    }
    (void)read_record(first, first->start, out);
    return true;
}

void undone_drop(struct undone *queue)
{
    struct undone_message first;
    bool is_there = undone_front(queue, &first);
    ASSERT(is_there);
    undone_drop_bytes(queue, UNDONE_RECORD_BYTES + first.data.len);
}

void undone_drop_bytes(struct undone *queue, size_t size)
{
    struct undone_chunk *first = TAILQ_FIRST(&queue->chunks);
    ASSERT(first != NULL && first->end - first->start >= size);
    first->start += size;
    queue->n_bytes -= size;
    if (first->start == first->end) {
        first->start = 0;
        first->end = 0;
        if (TAILQ_NEXT(first, next) != NULL) {
            put_aside(queue, first);
        }
    }
}

/* Returns the bytes that were dropped. */
static size_t filter_chunk(struct undone_chunk *chunk, bool (*keeps)(void *ctx), void *ctx)
{
    size_t to = chunk->start;
    size_t size = 0;
    for (size_t at = chunk->start; at < chunk->end; at += size) {
        struct undone_message message;
        size = read_record(chunk, at, &message);
        if (keeps(ctx)) {
            memmove(chunk->bytes + to, chunk->bytes + at, size);
            to += size;
        }
    }
    size_t n_dropped = chunk->end - to;
    chunk->end = to;
    return n_dropped;
}

void undone_filter(struct undone *queue, bool (*keeps)(void *ctx), void *ctx)
{
    struct undone_chunk *following = NULL;
    for (struct undone_chunk *chunk = TAILQ_FIRST(&queue->chunks); chunk != NULL;
         chunk = following) {
        following = TAILQ_NEXT(chunk, next);
        queue->n_bytes -= filter_chunk(chunk, keeps, ctx);
        if (chunk->start == chunk->end) {
            TAILQ_REMOVE(&queue->chunks, chunk, next);
            mem_free(chunk);
        }
    }
}

void undone_append(struct undone *queue, struct undone *from)
{
    undone_trim(queue);
    undone_trim(from);
    TAILQ_CONCAT(&queue->chunks, &from->chunks, next);
    queue->n_bytes += from->n_bytes;
    from->n_bytes = 0;
}

void undone_trim(struct undone *queue)
{
    free_chunks(&queue->spares);
    if (queue->n_bytes == 0) {
        free_chunks(&queue->chunks);
    }
}

bool undone_has_storage(const struct undone *queue)
{
    return !TAILQ_EMPTY(&queue->chunks) || !TAILQ_EMPTY(&queue->spares);
}
