/* kit: see kit.h. */
#include "base/kit.h"

#include <time.h>

void kit_init(struct kit *kit, unsigned id, unsigned n_workers, struct hash_key owner_key,
              uint64_t now_ms)
{
    *kit = (struct kit){.now_ms = now_ms, .id = id, .n_workers = n_workers, .owner_key = owner_key};
    timers_init(&kit->timers, now_ms);
    turn_init(&kit->turn);
    buf_init(&kit->encode_scratch, KIT_SCRATCH_MAX_BYTES);
    buf_init(&kit->decode_scratch, KIT_SCRATCH_MAX_BYTES);
    buf_init(&kit->dress_scratch, KIT_DRESS_MAX_BYTES);
    rand_bytes(&kit->rand, &kit->table_key, sizeof kit->table_key);
}

void kit_fini(struct kit *kit)
{
    buf_fini(&kit->encode_scratch);
    buf_fini(&kit->decode_scratch);
    buf_fini(&kit->dress_scratch);
}

uint64_t kit_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}
