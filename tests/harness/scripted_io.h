/*
 * scripted_io: a connection whose peer is a script, and the kit and loop under it with a clock that
 * is set by hand. No descriptor, no wait: conn_poke stands for readiness, rig_turn for the turn's
 * end, rig_pass for time.
 *
 * Reading gives the fed pieces one by one, then AGAIN for ever, or an end or an error that was fed.
 * Writing takes what `write_room` and `max_per_write` allow and records it. Header only, all static
 * inline: whoever includes it links postern_net. No cmocka here: the fuzz target uses it too.
 */
#ifndef POSTERN_HARNESS_SCRIPTED_IO_H
#define POSTERN_HARNESS_SCRIPTED_IO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/kit.h"
#include "net/conn.h"
#include "net/loop.h"

/* -- kit and loop -------------------------------------------------------------------------------
 */

enum {
    RIG_START_MS = 1000000
};

struct rig {
    struct kit kit;
    struct loop *loop;
};

static inline void rig_start_at(struct rig *rig, uint64_t now_ms)
{
    kit_init(&rig->kit, 0, 1, (struct hash_key){1, 2}, now_ms);
    if (loop_create(&rig->kit, &rig->loop) != ERR_OK) {
        abort();
    }
}

static inline void rig_start(struct rig *rig)
{
    rig_start_at(rig, RIG_START_MS);
}

static inline void rig_stop(struct rig *rig)
{
    loop_destroy(rig->loop);
    kit_fini(&rig->kit);
}

/* Makes a rig as good as new without a new loop, which costs more than a whole short connection:
 * for fuzz targets. Nothing of one input may show in the next, so the random numbers begin again,
 * and the process ends if anything is left that could. */
static inline void rig_reset(struct rig *rig)
{
    struct kit *kit = &rig->kit;
    if (!turn_is_idle(&kit->turn) || timers_next_ms(&kit->timers) != TIMERS_NONE ||
        !LIST_EMPTY(loop_conns(rig->loop)) || kit->counters.connections_open != 0 ||
        kit->counters.sessions_open != 0 || kit->counters.links_open != 0) {
        (void)fprintf(stderr, "left over: a task, timer, connection, session or link\n");
        abort();
    }
    kit->now_ms = RIG_START_MS;
    timers_init(&kit->timers, kit->now_ms);
    kit->counters = (struct counters){0};
    buf_fini(&kit->encode_scratch);
    buf_fini(&kit->decode_scratch);
    buf_fini(&kit->dress_scratch);
    kit->table_key = (struct hash_key){3, 4};
    for (size_t i = 0; i < sizeof kit->rand.pool; i++) {
        kit->rand.pool[i] = (uint8_t)(i * i / 7 + i * 167); /* ids must differ all the same */
    }
    kit->rand.left = sizeof kit->rand.pool;
}

/* Ends the turn; also what TURN_MAX_ROUNDS has left of it. */
static inline void rig_turn(struct rig *rig)
{
    do {
        turn_end(&rig->kit.turn);
    } while (!turn_is_idle(&rig->kit.turn));
}

/* Lets `ms` pass, then a turn with the timers that are due. */
static inline void rig_pass(struct rig *rig, uint64_t ms)
{
    rig->kit.now_ms += ms;
    timers_run(&rig->kit.timers, rig->kit.now_ms);
    rig_turn(rig);
}

/* -- the scripted peer --------------------------------------------------------------------------
 */

struct scripted_piece {
    STAILQ_ENTRY(scripted_piece) next;
    ssize_t result; /* CONN_IO_EOF, CONN_IO_AGAIN or CONN_IO_ERROR; else the bytes below */
    size_t len;
    size_t at; /* how much of it was read */
    char bytes[];
};

struct scripted {
    STAILQ_HEAD(, scripted_piece) pieces; /* what reads will give */
    char *written;                        /* all that was written; free with scripted_fini */
    size_t n_written;
    size_t cap;
    size_t write_room;    /* bytes that are still taken; then AGAIN */
    size_t max_per_write; /* at most so much in one call */
    bool is_write_broken; /* writes give ERROR */
    unsigned n_reads;
    unsigned n_writes;
    unsigned n_shutdowns;
    unsigned n_closes;
};

static inline void scripted_init(struct scripted *s)
{
    *s = (struct scripted){.write_room = SIZE_MAX, .max_per_write = SIZE_MAX};
    STAILQ_INIT(&s->pieces);
}

static inline void scripted_drop_piece(struct scripted *s)
{
    struct scripted_piece *piece = STAILQ_FIRST(&s->pieces);
    STAILQ_REMOVE_HEAD(&s->pieces, next);
    free(piece);
}

static inline void scripted_fini(struct scripted *s)
{
    while (!STAILQ_EMPTY(&s->pieces)) {
        scripted_drop_piece(s);
    }
    free(s->written);
    s->written = NULL;
}

static inline void scripted_add(struct scripted *s, ssize_t result, struct span bytes)
{
    struct scripted_piece *piece = malloc(sizeof *piece + bytes.len);
    if (piece == NULL) {
        abort();
    }
    *piece = (struct scripted_piece){.result = result, .len = bytes.len};
    if (bytes.len != 0) {
        memcpy(piece->bytes, bytes.ptr, bytes.len);
    }
    STAILQ_INSERT_TAIL(&s->pieces, piece, next);
}

/* One later read gives these bytes (not empty), or as many of them as it has room for. */
static inline void scripted_feed(struct scripted *s, struct span bytes)
{
    scripted_add(s, 1, bytes);
}

/* One later read gives AGAIN; all further ones EOF; all further ones ERROR. */
static inline void scripted_feed_again(struct scripted *s)
{
    scripted_add(s, CONN_IO_AGAIN, SPAN_NONE);
}

static inline void scripted_feed_eof(struct scripted *s)
{
    scripted_add(s, CONN_IO_EOF, SPAN_NONE);
}

static inline void scripted_feed_error(struct scripted *s)
{
    scripted_add(s, CONN_IO_ERROR, SPAN_NONE);
}

static inline bool scripted_is_read_out(const struct scripted *s)
{
    return STAILQ_EMPTY(&s->pieces);
}

static inline struct span scripted_written(const struct scripted *s)
{
    return span_of(s->written, s->n_written);
}

static inline void scripted_forget_written(struct scripted *s)
{
    s->n_written = 0;
}

/* Behind the bytes lie some that were never sent, so that a reader that goes too far shows. */
static inline void scripted_spoil(char *bytes, size_t len)
{
    memset(bytes, 0xee, len < 64 ? len : 64);
}

static inline ssize_t scripted_read(struct conn *conn, char *bytes, size_t len)
{
    struct scripted *s = conn->io_state;
    struct scripted_piece *piece = STAILQ_FIRST(&s->pieces);
    s->n_reads++;
    if (piece == NULL) {
        return CONN_IO_AGAIN;
    }
    if (piece->len == 0) {
        ssize_t result = piece->result;
        if (result == CONN_IO_AGAIN) {
            scripted_drop_piece(s);
        }
        return result;
    }
    size_t n = piece->len - piece->at < len ? piece->len - piece->at : len;
    memcpy(bytes, piece->bytes + piece->at, n);
    scripted_spoil(bytes + n, len - n);
    piece->at += n;
    if (piece->at == piece->len) {
        scripted_drop_piece(s);
    }
    return (ssize_t)n;
}

static inline void scripted_record(struct scripted *s, const char *bytes, size_t n)
{
    if (s->cap - s->n_written < n) {
        s->cap = (s->cap + n) * 2;
        s->written = realloc(s->written, s->cap);
        if (s->written == NULL) {
            abort();
        }
    }
    memcpy(s->written + s->n_written, bytes, n);
    s->n_written += n;
}

static inline ssize_t scripted_write(struct conn *conn, const char *bytes, size_t len)
{
    struct scripted *s = conn->io_state;
    size_t n = len < s->max_per_write ? len : s->max_per_write;
    n = n < s->write_room ? n : s->write_room;
    s->n_writes++;
    if (s->n_shutdowns != 0) {
        abort(); /* bytes behind our FIN would be lost without a word */
    }
    if (s->is_write_broken) {
        return CONN_IO_ERROR;
    }
    if (n == 0) {
        return CONN_IO_AGAIN;
    }
    if (s->write_room != SIZE_MAX) {
        s->write_room -= n;
    }
    scripted_record(s, bytes, n);
    return (ssize_t)n;
}

static inline void scripted_shutdown(struct conn *conn)
{
    struct scripted *s = conn->io_state;
    s->n_shutdowns++;
}

static inline void scripted_close(struct conn *conn)
{
    struct scripted *s = conn->io_state;
    s->n_closes++;
}

static const struct conn_io scripted_io = {
    .name = "scripted",
    .read = scripted_read,
    .write = scripted_write,
    .shutdown = scripted_shutdown,
    .close = scripted_close,
};

enum {
    SCRIPTED_WRITE_TIMEOUT_MS = 10000
};

static inline struct conn *scripted_conn(struct rig *rig, struct scripted *s)
{
    static const struct conn_opts opts = {.write_timeout_ms = SCRIPTED_WRITE_TIMEOUT_MS};
    static const struct conn_peer peer = {.family = AF_UNIX};
    struct conn *conn = NULL;
    scripted_init(s);
    if (conn_create(rig->loop, -1, &scripted_io, s, &opts, &peer, &conn) != ERR_OK) {
        abort();
    }
    return conn;
}

#endif
