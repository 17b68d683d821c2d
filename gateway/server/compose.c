/* compose: see compose.h. */
#include "server/compose.h"

#include "base/mem.h"
#include "dialect/raw.h"
#include "dialect/sockjs.h"
#include "server/assets.h"
#include "server/config.h"
#include "server/flash_policy.h"
#include "server/users.h"
#include "transports/eventsource.h"
#include "transports/htmlfile.h"
#include "transports/jsonp.h"
#include "transports/websocket.h"
#include "transports/xhr.h"
#include "wire/ws_deflate.h"

enum {
    PONG_TIMEOUT_MS = 10000,
    ACCEPT_TIMEOUT_MS = 10000,
    MAX_FRAGMENTS = 65536 + 1, /* and the empty one with which some end a message */
    LEAST_MAX_FRAME_BYTES = 1 << 20,
    DEFLATE_LEVEL = 6, /* zlib's own */
};

/* Which transport serves a route of the SockJS dialect, and how it looks there. */
static const struct {
    const struct transport_ops *ops;
    const struct costume *costume;
    unsigned config_bits; /* enum config_transport: on where the mount has one of them */
} sockjs_transports[SOCKJS_N_ROUTES] = {
    [SOCKJS_WEBSOCKET] = {&websocket_transport, NULL, CONFIG_WEBSOCKET},
    [SOCKJS_XHR_STREAMING] = {&xhr_streaming_transport, &xhr_streaming_costume,
                              CONFIG_XHR_STREAMING},
    [SOCKJS_XHR] = {&xhr_transport, &xhr_costume, CONFIG_XHR},
    [SOCKJS_XHR_SEND] = {&xhr_send_transport, &xhr_send_costume,
                         CONFIG_XHR_STREAMING | CONFIG_XHR | CONFIG_EVENTSOURCE | CONFIG_HTMLFILE},
    [SOCKJS_EVENTSOURCE] = {&eventsource_transport, &eventsource_costume, CONFIG_EVENTSOURCE},
    [SOCKJS_HTMLFILE] = {&htmlfile_transport, &htmlfile_costume, CONFIG_HTMLFILE},
    [SOCKJS_JSONP] = {&jsonp_transport, &jsonp_costume, CONFIG_JSONP},
    [SOCKJS_JSONP_SEND] = {&jsonp_send_transport, &jsonp_send_costume, CONFIG_JSONP},
    [SOCKJS_RAW_WEBSOCKET] = {&websocket_transport, NULL, CONFIG_WEBSOCKET},
};

static void compose_cors(const struct config_strings *list, struct cors_policy *out)
{
    for (size_t i = 0; i < list->n; i++) {
        struct span origin = span_str(list->items[i]);
        out->any = out->any || span_eq(origin, SPAN_LIT("*"));
        out->same_origin = out->same_origin || span_eq(origin, SPAN_LIT("same-origin"));
    }
    out->origins = (const char *const *)list->items;
    out->n_origins = list->n;
}

static void compose_session(const struct config_mount *from, struct session_opts *out)
{
    *out = (struct session_opts){
        .heartbeat_ms = (uint32_t)from->heartbeat_ms,
        .pong_timeout_ms = PONG_TIMEOUT_MS,
        .disconnect_delay_ms = (uint32_t)from->disconnect_delay_ms,
        .accept_timeout_ms = ACCEPT_TIMEOUT_MS,
        .queue_hard_bytes = from->queue_hard_bytes,
        .queue_soft_bytes = from->queue_soft_bytes,
        .queue_soft_time_ms = (uint32_t)from->queue_soft_time_ms,
        .slow_policy = from->slow_policy == CONFIG_SLOW_DROP_OLDEST ? SESSION_SLOW_DROP_OLDEST
                                                                    : SESSION_SLOW_CLOSE,
    };
}

static struct transport_opts opts_of_route(const struct config *config,
                                           const struct config_mount *from, unsigned route,
                                           const struct sockjs_opts *sockjs,
                                           const struct ws_deflate_opts *deflate)
{
    return (struct transport_opts){
        .ops = sockjs_transports[route].ops,
        .costume = sockjs_transports[route].costume,
        .response_limit_bytes = from->response_limit_bytes,
        .max_message_bytes = from->max_message_bytes,
        .max_fragments = MAX_FRAGMENTS,
        .message_timeout_ms = (uint32_t)config->message_timeout_ms,
        .min_rate_bytes_per_s = (uint32_t)config->min_rate_bytes,
        .subprotocols = (const char *const *)from->subprotocols.items,
        .n_subprotocols = from->subprotocols.n,
        .hixie76 = from->hixie76,
        .deflate = from->deflate ? deflate : NULL,
        .dress = sockjs_dress,
        .dress_ctx = sockjs,
    };
}

static void compose_mount(const struct config *config, unsigned index, struct mount *mount,
                          struct sockjs_opts *sockjs, struct ws_deflate_opts *deflate)
{
    const struct config_mount *from = &config->mounts[index];
    mount->path = span_str(from->path);
    mount->index = index;
    mount->dialect = &sockjs_dialect;
    mount->dialect_opts = sockjs;
    mount->must_accept = from->accept == CONFIG_ACCEPT_HANDLER;
    compose_cors(&from->origins, &mount->cors);
    compose_session(from, &mount->session);
    *sockjs = (struct sockjs_opts){
        .cors = &mount->cors,
        .has_iframe = mount->cors.any || (from->transports & CONFIG_IFRAME) != 0,
        .cookie_needed = from->cookie_needed,
        .script_url = from->sockjs_url,
        .path = span_eq(mount->path, SPAN_LIT("/")) ? SPAN_NONE : mount->path,
        .client = assets_sockjs_client(),
    };
    *deflate = (struct ws_deflate_opts){.allow_takeover = from->deflate_takeover,
                                        .max_window_bits = (uint8_t)from->deflate_window,
                                        .level = DEFLATE_LEVEL,
                                        .threshold_bytes = (uint32_t)from->deflate_threshold_bytes};
    if (!(from->dialects & CONFIG_SOCKJS)) {
        mount->dialect = &raw_dialect;
        mount->transports[0] = opts_of_route(config, from, SOCKJS_RAW_WEBSOCKET, sockjs, deflate);
        return;
    }
    for (unsigned i = 0; i < SOCKJS_N_ROUTES; i++) {
        if (from->transports & sockjs_transports[i].config_bits) {
            sockjs->enabled |= 1U << i;
            mount->transports[i] = opts_of_route(config, from, i, sockjs, deflate);
        }
    }
}

/* Their ids; one who is gone since the config was checked stands for nobody. NULL: no memory. */
static uint32_t *find_users(const struct config_strings *users)
{
    uint32_t *uids = mem_new(users->n != 0 ? users->n : 1, sizeof *uids);
    for (size_t i = 0; uids != NULL && i < users->n; i++) {
        uids[i] = UINT32_MAX;
        (void)users_find(users->items[i], &uids[i]);
    }
    return uids;
}

enum err compose_create(const struct config *config, struct composed **out)
{
    struct composed *c = MEM_NEW(struct composed);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    size_t n = config->n_mounts != 0 ? config->n_mounts : 1;
    c->config = config;
    c->mounts = mem_new(n, sizeof *c->mounts);
    c->sockjs = mem_new(n, sizeof *c->sockjs);
    buf_init(&c->flash_policy, FLASH_POLICY_MAX_BYTES);
    c->deflate = mem_new(n, sizeof *c->deflate);
    c->handler_uids = find_users(&config->handlers_users);
    if (c->mounts == NULL || c->sockjs == NULL || c->deflate == NULL || c->handler_uids == NULL ||
        (config->flash_listen.n != 0 && flash_policy_put(config, &c->flash_policy) != ERR_OK)) {
        compose_destroy(c);
        return ERR_NOMEM;
    }
    uint64_t max_frame = LEAST_MAX_FRAME_BYTES;
    for (size_t i = 0; i < config->n_mounts; i++) {
        compose_mount(config, (unsigned)i, &c->mounts[i], &c->sockjs[i], &c->deflate[i]);
        if (config->mounts[i].deflate) {
            c->deflate_bytes = config->deflate_memory_bytes / config->workers;
        }
        if (config->mounts[i].max_message_bytes > max_frame) {
            max_frame = config->mounts[i].max_message_bytes;
        }
    }
    c->router = (struct router){c->mounts, config->n_mounts};
    c->http = (struct http_opts){
        .limits = {(uint32_t)config->head_bytes, (uint32_t)config->url_bytes,
                   (uint16_t)config->header_fields},
        .head_timeout_ms = (uint32_t)config->head_timeout_ms,
        .body_timeout_ms = (uint32_t)config->body_timeout_ms,
        .keepalive_timeout_ms = (uint32_t)config->keepalive_timeout_ms,
        .min_rate_bytes_per_s = (uint32_t)config->min_rate_bytes,
    };
    c->write_timeout_ms = (uint32_t)config->write_timeout_ms;
    c->binds = (struct binds_opts){
        .link = {.max_frame_bytes = max_frame,
                 .window_bytes = config->handlers_window_bytes,
                 .timeout_ms = (uint32_t)config->handlers_timeout_ms,
                 .uids = c->handler_uids,
                 .n_uids = config->handlers_users.n,
                 .n_workers = config->workers,
                 .version = POSTERN_VERSION},
        .grace_ms = (uint32_t)config->handlers_grace_ms,
        .pending_bytes = config->handlers_pending_bytes,
        .write_timeout_ms = (uint32_t)config->handlers_timeout_ms,
    };
    c->flash = (struct http_preface){FLASH_POLICY_REQUEST, buf_span(&c->flash_policy)};
    *out = c;
    return ERR_OK;
}

void compose_destroy(struct composed *composed)
{
    mem_free(composed->mounts);
    mem_free(composed->sockjs);
    mem_free(composed->handler_uids);
    buf_fini(&composed->flash_policy);
    mem_free(composed->deflate);
    mem_free(composed);
}
