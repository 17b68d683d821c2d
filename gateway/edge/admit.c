/* admit: see admit.h. */
#include "edge/admit.h"

#include "base/mem.h"
#include "edge/handoff.h"
#include "http/http_req.h"
#include "http/http_resp.h"

static void refuse(struct http_req *req, unsigned status, struct span text)
{
    http_resp_text(req->resp, status, text);
}

static void not_found(struct http_req *req)
{
    refuse(req, 404, SPAN_LIT("Not found.\n"));
}

/* The Origin that a session was opened with is the only one that may go on with it: a client-made
 * session id is no secret. 0 = the request has none. */
static uint64_t origin_hash(const struct admit *admit, const struct http_req *req)
{
    struct span origin = http_req_field(req, SPAN_LIT("origin"));
    return origin.ptr != NULL ? hash_bytes(&admit->kit->table_key, origin) | 1 : 0;
}

static bool is_own_origin(struct session *session, uint64_t hash)
{
    if (hash != 0 && session->origin_hash == 0) {
        session->origin_hash = hash;
    }
    return hash == 0 || hash == session->origin_hash;
}

struct admission {
    struct admit *admit;
    struct http_req *req;
    const struct mount *mount;
    const struct dialect_route *route;
    const struct transport_opts *transport;
    struct span sid;
};

static struct session *create_session(const struct admission *a)
{
    struct admit *admit = a->admit;
    bool is_named = a->route->has_session_id;
    const struct dialect_ops *dialect =
        a->route->speaks != NULL ? a->route->speaks : a->mount->dialect;
    const struct session_birth birth = {
        .kit = admit->kit,
        .opts = &a->mount->session,
        .dialect = dialect,
        .uplink = &bind_uplink_ops,
        .registry = is_named ? &admit->registries[a->mount->index] : NULL,
        .all = &admit->sessions,
        .sid = is_named ? a->sid : SPAN_NONE,
        .must_wait = a->mount->must_accept,
    };
    struct session *session = NULL;
    if (session_create(&birth, &session) != ERR_OK) {
        return NULL;
    }
    session->origin_hash = origin_hash(admit, a->req);
    if (bind_session(admit->binds, session, a->mount, a->transport, a->sid, a->req) != ERR_OK) {
        admit->kit->counters.out_of_memory++;
        session_close(session, 1011, SPAN_LIT("Out of memory"));
        return NULL;
    }
    return session;
}

static struct session *find_session(const struct admission *a)
{
    if (!a->route->has_session_id) {
        return NULL;
    }
    return registry_find(&a->admit->registries[a->mount->index], a->sid);
}

static void admit_transport(const struct admission *a)
{
    /* Before anything that depends on the session, or on what only its worker knows. */
    unsigned owner = 0;
    if (a->route->has_session_id && handoff_ask(a->admit->kit, a->sid, &owner) == HANDOFF_MOVE) {
        http_resp_move(a->req->resp, owner);
        return;
    }
    if (a->transport->ops->check != NULL &&
        a->transport->ops->check(a->req, a->transport) != ERR_OK) {
        return;
    }
    struct session *session = find_session(a);
    if (session != NULL && !is_own_origin(session, origin_hash(a->admit, a->req))) {
        not_found(a->req);
        return;
    }
    if (session == NULL) {
        if (a->route->must_exist) {
            not_found(a->req);
            return;
        }
        if (a->admit->is_draining) {
            http_resp_close_after(a->req->resp);
            refuse(a->req, 503, SPAN_LIT("The server is shutting down.\n"));
            return;
        }
        session = create_session(a);
        if (session == NULL) {
            refuse(a->req, 503, SPAN_LIT("Out of memory.\n"));
            return;
        }
    }
    if (a->transport->ops->open(a->req, a->transport, session) != ERR_OK &&
        session->carrier == NULL && session_is_duplex(session)) {
        session_close(session, 1011, SPAN_LIT("Out of memory"));
    }
}

void admit_request(void *ctx, struct http_req *req)
{
    struct admit *admit = ctx;
    struct span suffix = SPAN_NONE;
    const struct mount *mount = router_find(admit->router, req->target.path, &suffix);
    if (mount == NULL) {
        if (admit->other == NULL || !admit->other(admit->other_ctx, req)) {
            not_found(req);
        }
        return;
    }
    struct route route;
    mount->dialect->classify(mount->dialect_opts, req, suffix, &route);
    if (route.kind == ROUTE_NOT_FOUND) {
        not_found(req);
        return;
    }
    enum cors_verdict verdict =
        route.is_embedded ? cors_check_embedded(&mount->cors, req) : cors_check(&mount->cors, req);
    if (!route.skips_origin && verdict == CORS_REFUSED) {
        refuse(req, 403, SPAN_LIT("This Origin is not on the list of the mount.\n"));
        return;
    }
    if (route.kind == ROUTE_PAGE) {
        mount->dialect->page(mount->dialect_opts, &route, req, admit->kit);
        return;
    }
    const struct admission a = {.admit = admit,
                                .req = req,
                                .mount = mount,
                                .route = &mount->dialect->routes[route.index],
                                .transport = &mount->transports[route.index],
                                .sid = route.sid};
    if (a.transport->ops == NULL) {
        not_found(req);
        return;
    }
    admit_transport(&a);
}

enum err admit_init(struct admit *admit, struct kit *kit, const struct router *router,
                    struct binds *binds)
{
    *admit = (struct admit){.kit = kit, .router = router, .binds = binds};
    LIST_INIT(&admit->sessions);
    admit->registries =
        mem_new(router->n_mounts != 0 ? router->n_mounts : 1, sizeof *admit->registries);
    if (admit->registries == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < router->n_mounts; i++) {
        registry_init(&admit->registries[i], kit->table_key);
    }
    return ERR_OK;
}

void admit_fini(struct admit *admit)
{
    while (!LIST_EMPTY(&admit->sessions)) {
        session_abort(LIST_FIRST(&admit->sessions));
    }
    for (size_t i = 0; i < admit->router->n_mounts; i++) {
        registry_fini(&admit->registries[i]);
    }
    mem_free(admit->registries);
}

void admit_close_all(struct admit *admit, unsigned code, struct span reason)
{
    struct session *session = LIST_FIRST(&admit->sessions);
    while (session != NULL) {
        struct session *following = LIST_NEXT(session, all);
        session_close(session, code, reason);
        session = following;
    }
}
