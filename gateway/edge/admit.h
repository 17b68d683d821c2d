/*
 * admit: a request comes in: which mount, may it, whose session, on which transport.
 * A list of short checks; every refusal is answered here. Threads: the owning worker.
 */
#ifndef POSTERN_EDGE_ADMIT_H
#define POSTERN_EDGE_ADMIT_H

#include "base/kit.h"
#include "core/registry.h"
#include "core/session.h"
#include "edge/bind.h"
#include "edge/router.h"

struct http_req;

/* One per worker. */
struct admit {
    struct kit *kit;
    const struct router *router;
    struct binds *binds;
    struct registry *registries;  /* one for each mount, by index */
    struct session_list sessions; /* all of this worker */
    bool is_draining;             /* no new sessions */
    /* Serves what no mount owns; true = answered. May be NULL (404). */
    bool (*other)(void *ctx, struct http_req *req);
    void *other_ctx;
};

enum err admit_init(struct admit *admit, struct kit *kit, const struct router *router,
                    struct binds *binds) MUST_CHECK;
/* Ends what sessions are left. */
void admit_fini(struct admit *admit);
/* http_server.on_request; `ctx` is the struct admit. */
void admit_request(void *ctx, struct http_req *req);
/* Ends every session with its dialect's goodbye. */
void admit_close_all(struct admit *admit, unsigned code, struct span reason);

#endif
