/*
 * compose: turns a config snapshot into what each room wants pushed down; the only lists of
 * dialects, transports and mounts. Immutable and shared by all workers. Threads: made by the
 * supervisor, read by all.
 */
#ifndef POSTERN_SERVER_COMPOSE_H
#define POSTERN_SERVER_COMPOSE_H

#include "base/err.h"
#include "edge/bind.h"
#include "edge/router.h"
#include "http/http_conn.h"

struct config;
struct sockjs_opts;
struct ws_deflate_opts;

struct composed {
    const struct config *config;
    struct router router;
    struct mount *mounts;
    struct sockjs_opts *sockjs;      /* one for each mount */
    struct ws_deflate_opts *deflate; /* likewise */
    size_t deflate_bytes;            /* of each worker's streams; 0 = no mount compresses */
    uint32_t *handler_uids;          /* of handlers.users */
    struct http_opts http;
    struct binds_opts binds;
    uint32_t write_timeout_ms;
    struct buf flash_policy;
    struct http_preface flash; /* of the connections of flash.listen */
};

/* `config` must outlive it. ERR_NOMEM. */
enum err compose_create(const struct config *config, struct composed **out) MUST_CHECK;
void compose_destroy(struct composed *composed);

#endif
