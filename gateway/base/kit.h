/*
 * kit: the tools of one worker, handed down to every object it owns; there is no hidden state.
 *
 * `now_ms` is the monotonic clock as read at the start of the loop turn (tests set it by hand).
 * Threads: one worker; only `id`, `n_workers` and `owner_key` are the same for all, for ever.
 */
#ifndef POSTERN_BASE_KIT_H
#define POSTERN_BASE_KIT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/counters.h"
#include "base/hmap.h"
#include "base/rand.h"
#include "base/timers.h"
#include "base/turn.h"

struct ws_deflate_pool;

enum {
    KIT_SCRATCH_MAX_BYTES = 64 << 20,
    KIT_DRESS_MAX_BYTES = 6 * KIT_SCRATCH_MAX_BYTES, /* a frame of nothing but `<` as \u003c */
};

struct kit {
    uint64_t now_ms;
    struct timers timers;
    struct turn turn;
    struct counters counters;
    struct buf encode_scratch; /* for one encode at a time: valid until the worker's next encode */
    struct buf decode_scratch; /* likewise for one decode; not held across a call to another room */
    struct buf dress_scratch;  /* likewise for a frame that a transport escapes */
    struct rand rand;
    struct hash_key table_key; /* of this worker's own tables */
    struct hash_key owner_key; /* of the owner rule: the same in every worker of the process */
    struct ws_deflate_pool *deflate_pool; /* of wire; NULL where no mount compresses */
    unsigned id;                          /* 0..n_workers-1 */
    unsigned n_workers;                   /* >= 1 */
};

/* `owner_key` is drawn once by the supervisor. */
void kit_init(struct kit *kit, unsigned id, unsigned n_workers, struct hash_key owner_key,
              uint64_t now_ms);
void kit_fini(struct kit *kit);
/* CLOCK_MONOTONIC in milliseconds: a step of the wall clock changes no deadline. */
uint64_t kit_clock_ms(void);

#endif
