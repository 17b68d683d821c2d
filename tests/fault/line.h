/* line: one connection of a client, plain or TLS, that never blocks. */
#ifndef POSTERN_FAULT_LINE_H
#define POSTERN_FAULT_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "fault/stage.h"

enum {
    LINE_IN_BYTES = 1 << 18
};

struct line {
    int fd;       /* while is_open */
    void *ssl;    /* SSL, or NULL */
    bool is_open; /* a zeroed one is not */
    bool is_over; /* the other side has ended it, or it was never open */
    size_t n_in;
    char in[LINE_IN_BYTES];
};

enum line_result {
    LINE_DONE,
    LINE_AGAIN, /* let the world turn, then again */
    LINE_LOST,
};

/* For TLS lines; once in the process. */
bool line_init(void);
void line_fini_all(void);

/* Connects; LINE_AGAIN: line_shake until it is not. */
enum line_result line_open(struct line *line, struct stage *stage, enum stage_door door);
enum line_result line_shake(struct line *line);
/* Sends from the front of `bytes`, which it moves on. */
enum line_result line_send(struct line *line, struct span *bytes);
/* Reads what is there. */
void line_pump(struct line *line);
void line_consume(struct line *line, size_t n);
/* May be called twice. */
void line_close(struct line *line);

static inline struct span line_in(const struct line *line)
{
    return span_of(line->in, line->n_in);
}

#endif
