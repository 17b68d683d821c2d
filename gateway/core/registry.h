/*
 * registry: this worker's sessions of one mount by session id. Threads: the owning worker.
 */
#ifndef POSTERN_CORE_REGISTRY_H
#define POSTERN_CORE_REGISTRY_H

#include "base/err.h"
#include "base/hmap.h"
#include "base/span.h"

struct session;

struct registry {
    struct hmap by_sid;
};

void registry_init(struct registry *registry, struct hash_key key);
/* The sessions must be gone. */
void registry_fini(struct registry *registry);
/* NULL when there is none. */
struct session *registry_find(const struct registry *registry, struct span sid);
enum err registry_add(struct registry *registry, struct session *session) MUST_CHECK;
void registry_remove(struct registry *registry, struct session *session);

#endif
