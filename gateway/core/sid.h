/*
 * sid: session ids and the owner rule. A session lives on one worker for life:
 *     owner = SipHash(process key, sid) mod workers
 * Only sessions that a second request can name are hashed. Pure; any thread.
 */
#ifndef POSTERN_CORE_SID_H
#define POSTERN_CORE_SID_H

#include <stdbool.h>

#include "base/kit.h"
#include "base/span.h"

enum {
    SID_MAX_BYTES = 128,   /* of an id that a client made (threat model row 15) */
    SID_PUBLIC_CHARS = 16, /* of the id that handlers and logs see */
};

/* The worker that owns `sid`, 0..n_workers-1. */
unsigned sid_owner(const struct kit *kit, struct span sid);
/* The printed form of a public id: 16 lower-case hex digits. */
void sid_print_public(uint64_t public_id, char out[SID_PUBLIC_CHARS]);

#endif
