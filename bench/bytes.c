/* bytes: see bytes.h. */
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die_of_memory(void)
{
    (void)fputs("bench: out of memory\n", stderr);
    exit(1);
}

void *bytes_calloc(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (memory == NULL) {
        die_of_memory();
    }
    return memory;
}

/* Makes room behind the queue: first by moving it to the front, then by doubling. */
static void make_room(struct bytes *bytes, size_t n)
{
    if (bytes->begin > 0) {
        memmove(bytes->memory, bytes->memory + bytes->begin, bytes->n);
        bytes->begin = 0;
    }
    if (bytes->room - bytes->n < n) {
        size_t room = bytes->room * 2 < bytes->n + n ? bytes->n + n : bytes->room * 2;
        char *memory = realloc(bytes->memory, room);
        if (memory == NULL) {
            die_of_memory();
        }
        bytes->memory = memory;
        bytes->room = room;
    }
}

void bytes_append(struct bytes *bytes, const void *from, size_t n)
{
    if (n == 0) {
        return;
    }
    if (bytes->room - bytes->begin - bytes->n < n) {
        make_room(bytes, n);
    }
    memcpy(bytes->memory + bytes->begin + bytes->n, from, n);
    bytes->n += n;
}

char *bytes_data(const struct bytes *bytes)
{
    return bytes->memory + bytes->begin;
}

void bytes_consume(struct bytes *bytes, size_t n)
{
    bytes->n -= n;
    bytes->begin = bytes->n > 0 ? bytes->begin + n : 0;
}

void bytes_fini(struct bytes *bytes)
{
    free(bytes->memory);
    *bytes = (struct bytes){0};
}
