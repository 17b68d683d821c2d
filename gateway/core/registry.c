/* registry: see registry.h. */
#include "core/registry.h"

#include "core/session.h"

static struct span sid_of(const struct hnode *node)
{
    const struct session *session =
        (const struct session *)(const void *)((const char *)node - offsetof(struct session, node));
    return session_sid(session);
}

void registry_init(struct registry *registry, struct hash_key key)
{
    hmap_init(&registry->by_sid, key, sid_of);
}

void registry_fini(struct registry *registry)
{
    hmap_fini(&registry->by_sid);
}

struct session *registry_find(const struct registry *registry, struct span sid)
{
    struct hnode *node = hmap_find(&registry->by_sid, sid);
    return node != NULL ? CONTAINER_OF(node, struct session, node) : NULL;
}

enum err registry_add(struct registry *registry, struct session *session)
{
    return hmap_insert(&registry->by_sid, &session->node, session_sid(session));
}

void registry_remove(struct registry *registry, struct session *session)
{
    hmap_remove(&registry->by_sid, &session->node);
}
