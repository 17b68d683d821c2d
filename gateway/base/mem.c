/* mem: checked allocation and per-worker free lists. See mem.h. */
#include "base/mem.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

void mem_return_large_blocks(void)
{
#ifdef __GLIBC__
    /* glibc starts with the same value, but raises it to the size of any larger block that is
     * freed, up to 32 MiB; setting it ends that. */
    (void)mallopt(M_MMAP_THRESHOLD, MEM_LARGE_BYTES);
#endif
}

void *mem_new(size_t n, size_t size)
{
    return calloc(n, size); /* calloc checks n * size itself */
}

void *mem_resize(void *block, size_t n)
{
    return realloc(block, n);
}

void mem_free(void *block)
{
    free(block);
}

char *mem_copy_string(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        if (len != 0) {
            memcpy(copy, bytes, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

void mem_pool_init(struct mem_pool *pool, size_t object_bytes, unsigned max_free)
{
    ASSERT(object_bytes >= sizeof(void *));
    *pool =
        (struct mem_pool){.object_bytes = object_bytes, .max_free = MEM_IS_WATCHED ? 0 : max_free};
}

void mem_pool_fini(struct mem_pool *pool)
{
    while (pool->free_list != NULL) {
        void *block = pool->free_list;
        memcpy(&pool->free_list, block, sizeof pool->free_list);
        free(block);
    }
    pool->n_free = 0;
}

void *mem_pool_get(struct mem_pool *pool)
{
    if (pool->free_list == NULL) {
        return calloc(1, pool->object_bytes);
    }
    void *block = pool->free_list;
    memcpy(&pool->free_list, block, sizeof pool->free_list);
    pool->n_free--;
    memset(block, 0, pool->object_bytes);
    return block;
}

void mem_pool_put(struct mem_pool *pool, void *block)
{
    if (pool->n_free >= pool->max_free) {
        free(block);
        return;
    }
    memcpy(block, &pool->free_list, sizeof pool->free_list);
    pool->free_list = block;
    pool->n_free++;
}
