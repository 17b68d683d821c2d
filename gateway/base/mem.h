/*
 * mem: the only door to the heap: sizes are multiplied with an overflow check, fresh memory
 * is zero.
 *
 * A failed allocation gives NULL and costs the caller one connection, never the process. Fixed-size
 * objects that come and go with connections use a per-worker `mem_pool` (a bounded free list).
 * Under AddressSanitizer a pool is the heap alone: a block on a list looks alive, so a late use of
 * it would pass unseen. Threads: the allocator is any-thread, a pool belongs to one worker.
 */
#ifndef POSTERN_BASE_MEM_H
#define POSTERN_BASE_MEM_H

#include <stddef.h>

#include "base/err.h"

/* gcc and clang say in different ways that AddressSanitizer is on. */
#if defined(__SANITIZE_ADDRESS__)
#define MEM_IS_WATCHED 1
#elif defined(__has_feature)
#define MEM_IS_WATCHED __has_feature(address_sanitizer)
#else
#define MEM_IS_WATCHED 0
#endif

enum {
    MEM_LARGE_BYTES = 128 << 10
};

/* Blocks from MEM_LARGE_BYTES on go back to the system when they are freed, also once such blocks
 * have been in use: an attack by peers that do not read fills buffers once, and the process would
 * keep that memory for good. Once, before any thread starts. */
void mem_return_large_blocks(void);

/* Zeroed memory for n objects of `size` bytes; NULL when out of memory or n * size overflows. */
void *mem_new(size_t n, size_t size) MUST_CHECK;
/* As realloc for `n` bytes (n > 0); on failure NULL, and the old block lives on. */
void *mem_resize(void *block, size_t n) MUST_CHECK;
/* NULL is allowed. */
void mem_free(void *block);
/* A NUL-ended copy of `len` bytes; NULL when out of memory. Free with mem_free. */
char *mem_copy_string(const char *bytes, size_t len) MUST_CHECK;

#define MEM_NEW(type) ((type *)mem_new(1, sizeof(type)))

/* A bounded free list of blocks of one size. */
struct mem_pool {
    void *free_list;     /* linked through the first word of each free block */
    size_t object_bytes; /* size of every block, >= sizeof(void *) */
    unsigned n_free;     /* blocks on the list */
    unsigned max_free;   /* above this, blocks go back to the heap; 0 with MEM_IS_WATCHED */
};

void mem_pool_init(struct mem_pool *pool, size_t object_bytes, unsigned max_free);
/* Frees the listed blocks; blocks handed out stay the caller's and may still be given to
 * mem_free. */
void mem_pool_fini(struct mem_pool *pool);
/* A zeroed block, or NULL when out of memory. */
void *mem_pool_get(struct mem_pool *pool) MUST_CHECK;
void mem_pool_put(struct mem_pool *pool, void *block);

#endif
