/* handoff: see handoff.h. */
#include "edge/handoff.h"

#include "core/sid.h"

enum handoff_verdict handoff_ask(const struct kit *kit, struct span sid, unsigned *owner)
{
    *owner = sid_owner(kit, sid);
    return *owner == kit->id ? HANDOFF_LOCAL : HANDOFF_MOVE;
}
