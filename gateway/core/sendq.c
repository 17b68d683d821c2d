/* sendq: see sendq.h. A record is {uint32 length, uint32 is_text} and the payload, unaligned. */
#include "core/sendq.h"

#include <string.h>

struct record {
    uint32_t len;
    uint32_t is_text;
};

_Static_assert(sizeof(struct record) == SENDQ_RECORD_BYTES, "the bound counts the header");

void sendq_init(struct sendq *queue, size_t hard_bytes)
{
    buf_init(&queue->records, hard_bytes);
    queue->n_messages = 0;
}

void sendq_fini(struct sendq *queue)
{
    buf_fini(&queue->records);
    queue->n_messages = 0;
}

enum err sendq_push(struct sendq *queue, const struct message *message)
{
    size_t need = sizeof(struct record) + message->data.len;
    if (message->data.len > UINT32_MAX || need > buf_room(&queue->records)) {
        return ERR_LIMIT;
    }
    char *to = buf_reserve(&queue->records, need);
    if (to == NULL) {
        return ERR_NOMEM;
    }
    struct record record = {(uint32_t)message->data.len, message->is_text};
    memcpy(to, &record, sizeof record);
    if (message->data.len != 0) {
        memcpy(to + sizeof record, message->data.ptr, message->data.len);
    }
    buf_commit(&queue->records, need);
    queue->n_messages++;
    return ERR_OK;
}

/* Reads the record at the front of `rest` and steps over it. */
static struct message next_record(struct span *rest)
{
    struct record record;
    ASSERT(rest->len >= sizeof record);
    memcpy(&record, rest->ptr, sizeof record);
    *rest = span_skip(*rest, sizeof record);
    ASSERT(rest->len >= record.len);
    struct message message = {span_of(rest->ptr, record.len), record.is_text != 0};
    *rest = span_skip(*rest, record.len);
    return message;
}

size_t sendq_peek(const struct sendq *queue, struct message *out, size_t max)
{
    struct span rest = buf_span(&queue->records);
    size_t n = 0;
    while (n < max && rest.len != 0) {
        out[n++] = next_record(&rest);
    }
    return n;
}

void sendq_drop(struct sendq *queue, size_t n)
{
    ASSERT(n <= queue->n_messages);
    struct span rest = buf_span(&queue->records);
    size_t before = rest.len;
    for (size_t i = 0; i < n; i++) {
        (void)next_record(&rest);
    }
    buf_consume(&queue->records, before - rest.len);
    queue->n_messages -= (uint32_t)n;
    buf_trim(&queue->records);
}
