/* router: see router.h. Mounts are few: a walk is faster than a tree. */
#include "edge/router.h"

static bool owns(struct span prefix, struct span path)
{
    return span_starts_with(path, prefix) &&
           (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

const struct mount *router_find(const struct router *router, struct span path, struct span *suffix)
{
    const struct mount *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < router->n_mounts; i++) {
        const struct mount *mount = &router->mounts[i];
        struct span prefix = mount->path;
        if (span_eq(prefix, SPAN_LIT("/"))) {
            prefix.len = 0;
        }
        if (owns(prefix, path) && (best == NULL || prefix.len > best_len)) {
            best = mount;
            best_len = prefix.len;
        }
    }
    if (best != NULL) {
        *suffix = span_skip(path, best_len);
    }
    return best;
}
