/*
 * blob: one immutable payload with many readers (a broadcast, a message that waits in a queue).
 *
 * Reference counted with an atomic counter, because readers live on several workers; the bytes are
 * written once, before the first blob_ref by another. Threads: any.
 */
#ifndef POSTERN_BASE_BLOB_H
#define POSTERN_BASE_BLOB_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/span.h"

struct blob {
    atomic_uint refs;
    size_t len;
    char bytes[];
};

/* A blob with one reference and a copy of `content`; NULL when out of memory. */
struct blob *blob_create(struct span content) MUST_CHECK;
/* A blob with one reference and `len` bytes for the caller to fill before sharing it. */
struct blob *blob_create_blank(size_t len) MUST_CHECK;
struct blob *blob_ref(struct blob *blob);
/* Frees at the last reference. NULL is allowed. */
void blob_unref(struct blob *blob);

static inline struct span blob_span(const struct blob *blob)
{
    return (struct span){blob->bytes, blob->len};
}

#endif
