/*
 * router: path prefix -> mount; a pure table. A mount owns whole path segments (`/ws` is not
 * `/ws-small`), the longest prefix wins, and paths are compared as sent. Built by server/compose,
 * shared by all workers, immutable.
 */
#ifndef POSTERN_EDGE_ROUTER_H
#define POSTERN_EDGE_ROUTER_H

#include "base/span.h"
#include "core/dialect.h"
#include "core/session.h"
#include "core/transport.h"
#include "http/cors.h"

enum {
    MOUNT_MAX_ROUTES = 16
};

struct mount {
    struct span path; /* "/echo"; "/" is the empty prefix */
    unsigned index;   /* 0..n_mounts-1: per-worker tables are indexed by it */
    const struct dialect_ops *dialect;
    const void *dialect_opts;
    struct transport_opts
        transports[MOUNT_MAX_ROUTES]; /* parallel to dialect->routes; ops NULL = off */
    struct session_opts session;
    struct cors_policy cors;
    bool must_accept; /* sessions wait for the handler's ACCEPT */
};

struct router {
    const struct mount *mounts;
    size_t n_mounts;
};

/* The mount of `path`, and the rest of the path behind its prefix; NULL when none has it. */
const struct mount *router_find(const struct router *router, struct span path, struct span *suffix);

#endif
