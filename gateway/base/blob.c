/*
 * blob: one copy of a payload for as many queues as hold it. See blob.h.
 */
#include "base/blob.h"

#include <stdint.h>

#include "base/mem.h"

struct blob *blob_create_blank(size_t len)
{
    if (len > SIZE_MAX - sizeof(struct blob)) {
        return NULL;
    }
    /* Not mem_new: zeroing what is about to be written over would cost a broadcast twice. */
    struct blob *blob = mem_resize(NULL, sizeof *blob + len);
    if (blob != NULL) {
        atomic_init(&blob->refs, 1);
        blob->len = len;
    }
    return blob;
}

struct blob *blob_create(struct span content)
{
    struct blob *blob = blob_create_blank(content.len);
    if (blob != NULL && content.len != 0) {
        memcpy(blob->bytes, content.ptr, content.len);
    }
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    unsigned before = atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    ASSERT(before != 0);
    return blob;
}

void blob_unref(struct blob *blob)
{
    if (blob == NULL) {
        return;
    }
    /* Release: this reader's loads come before the free; acquire: the freer sees all of them. */
    unsigned before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    ASSERT(before != 0);
    if (before == 1) {
        mem_free(blob);
    }
}
