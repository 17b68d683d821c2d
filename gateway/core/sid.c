/* sid: see sid.h. */
#include "core/sid.h"

unsigned sid_owner(const struct kit *kit, struct span sid)
{
    if (kit->n_workers == 1) {
        return 0;
    }
    return (unsigned)(hash_bytes(&kit->owner_key, sid) % kit->n_workers);
}

void sid_print_public(uint64_t public_id, char out[SID_PUBLIC_CHARS])
{
    for (int i = 0; i < SID_PUBLIC_CHARS; i++) {
        out[i] = "0123456789abcdef"[(public_id >> (60 - 4 * i)) & 15];
    }
}
