/*
 * ws_deflate_pool: the zlib streams of one worker, within a budget of memory; and the scratch that
 * all of them inflate into.
 *
 * Without context takeover a stream is on loan for one message and then idle here, so that 10,000
 * quiet sessions share a few. With it a stream stays with its WebSocket, and its memory is set
 * aside at the handshake, up to three quarters of the budget: a session that was promised a window
 * gets it, and enough is left for the others. Every stream is counted with what zlib says that it
 * takes (zconf.h), or with what it really took where that is more; idle ones make room first. zlib
 * gets its memory from base/mem. Threads: the owning worker.
 */
#ifndef POSTERN_WIRE_WS_DEFLATE_POOL_H
#define POSTERN_WIRE_WS_DEFLATE_POOL_H

#include <stddef.h>

#include "base/err.h"
#include "wire/ws_deflate.h"

struct ws_deflate_pool;

enum {
    WS_DEFLATE_STEP_BYTES = 16 << 10, /* inflated at once at most */
    WS_DEFLATE_MAX_IDLE = 16,         /* streams that wait for their next message */
};

/* `budget_bytes`: of all streams together; the pool itself takes 50 KiB besides. ERR_NOMEM. */
enum err ws_deflate_pool_create(size_t budget_bytes, struct ws_deflate_pool **out) MUST_CHECK;
/* Every ws_inflate and ws_compress must have ended. NULL is allowed. */
void ws_deflate_pool_destroy(struct ws_deflate_pool *pool);

/* At the handshake: takes the takeovers out of `terms` when the budget has no room for streams that
 * stay. Follow with ws_inflate_init and ws_compress_init, which set their part aside. */
void ws_deflate_pool_fit(const struct ws_deflate_pool *pool, struct ws_deflate_terms *terms);

/* What the streams on loan, set aside and idle count. */
size_t ws_deflate_pool_used_bytes(const struct ws_deflate_pool *pool);

#endif
