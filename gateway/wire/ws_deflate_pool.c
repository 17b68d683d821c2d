/* ws_deflate_pool: see ws_deflate_pool.h and ws_stream.h. */
#include "wire/ws_deflate_pool.h"

#include "base/mem.h"
#include "wire/ws_stream.h"

enum {
    LEAST_MEM_LEVEL = 3,           /* below, zlib gets slow and compresses badly */
    INFLATE_STATE_BYTES = 7 << 10, /* zconf.h: "about 7 kilobytes" */
    DEFLATE_STATE_BYTES = 6 << 10, /* zconf.h: "a few kilobytes" */
};

struct ws_deflate_pool {
    size_t budget_bytes;
    size_t used_bytes;
    struct ws_stream *idle[WS_DEFLATE_MAX_IDLE]; /* the one that waits longest first */
    size_t n_idle;
    char scratch[WS_DEFLATE_STEP_BYTES];
    char window[WS_STREAM_MAX_WINDOW_BYTES];
};

/* -- one stream ------------------------------------------------------------------------------- */

/* zlib's own pairs: window 15 and memLevel 8, and each step less of both. */
static int mem_level(unsigned window_bits)
{
    int level = (int)window_bits - 7;
    return level < LEAST_MEM_LEVEL ? LEAST_MEM_LEVEL : level;
}

static size_t cost(struct ws_stream_kind kind)
{
    size_t window = (size_t)1 << kind.window_bits;
    if (!kind.is_deflate) {
        return window + INFLATE_STATE_BYTES;
    }
    return 4 * window + ((size_t)512 << mem_level(kind.window_bits)) + DEFLATE_STATE_BYTES;
}

static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
    struct ws_stream *stream = opaque;
    void *block = mem_new(n, size);
    if (block != NULL) {
        stream->bytes += (size_t)n * size;
    }
    if (stream->bytes > stream->counted) {
        stream->pool->used_bytes += stream->bytes - stream->counted;
        stream->counted = stream->bytes;
    }
    return block;
}

/* zlib frees only what it takes with it when the stream ends. */
static void z_free(void *opaque, void *block)
{
    (void)opaque;
    mem_free(block);
}

static int init(struct ws_stream *stream)
{
    int bits = -(int)stream->kind.window_bits; /* negative: without zlib's own head and checksum */
    stream->z.zalloc = z_alloc;
    stream->z.zfree = z_free;
    stream->z.opaque = stream;
    if (!stream->kind.is_deflate) {
        return inflateInit2(&stream->z, bits);
    }
    return deflateInit2(&stream->z, stream->kind.level, Z_DEFLATED, bits,
                        mem_level(stream->kind.window_bits), Z_DEFAULT_STRATEGY);
}

enum err ws_stream_make(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                        struct ws_stream **out)
{
    struct ws_stream *stream = MEM_NEW(struct ws_stream);
    if (stream == NULL) {
        return ERR_NOMEM;
    }
    stream->pool = pool;
    stream->kind = kind;
    stream->counted = cost(kind);
    if (init(stream) != Z_OK) {
        pool->used_bytes -= stream->counted - cost(kind);
        mem_free(stream);
        return ERR_NOMEM;
    }
    *out = stream;
    return ERR_OK;
}

static void end(struct ws_stream *stream)
{
    stream->pool->used_bytes -= stream->counted;
    (void)(stream->kind.is_deflate ? deflateEnd(&stream->z) : inflateEnd(&stream->z));
    mem_free(stream);
}

/* -- loans ------------------------------------------------------------------------------------ */

static struct ws_stream *remove_idle(struct ws_deflate_pool *pool, size_t i)
{
    struct ws_stream *stream = pool->idle[i];
    pool->n_idle--;
    for (; i < pool->n_idle; i++) {
        pool->idle[i] = pool->idle[i + 1];
    }
    return stream;
}

bool ws_stream_count(struct ws_deflate_pool *pool, size_t bytes)
{
    while (pool->used_bytes + bytes > pool->budget_bytes && pool->n_idle != 0) {
        end(remove_idle(pool, 0));
    }
    if (pool->used_bytes + bytes > pool->budget_bytes) {
        return false;
    }
    pool->used_bytes += bytes;
    return true;
}

void ws_stream_uncount(struct ws_deflate_pool *pool, size_t bytes)
{
    pool->used_bytes -= bytes;
}

static bool is_same_kind(struct ws_stream_kind a, struct ws_stream_kind b)
{
    return a.is_deflate == b.is_deflate && a.window_bits == b.window_bits && a.level == b.level;
}

enum err ws_stream_borrow(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                          struct ws_stream **out)
{
    for (size_t i = pool->n_idle; i > 0; i--) {
        if (is_same_kind(pool->idle[i - 1]->kind, kind)) {
            *out = remove_idle(pool, i - 1);
            return ERR_OK;
        }
    }
    if (!ws_stream_count(pool, cost(kind))) {
        return ERR_LIMIT;
    }
    enum err e = ws_stream_make(pool, kind, out);
    if (e != ERR_OK) {
        pool->used_bytes -= cost(kind);
    }
    return e;
}

void ws_stream_give_back(struct ws_stream *stream)
{
    struct ws_deflate_pool *pool = stream->pool;
    int result = stream->kind.is_deflate ? deflateReset(&stream->z) : inflateReset(&stream->z);
    if (result != Z_OK) {
        end(stream);
        return;
    }
    if (pool->n_idle == WS_DEFLATE_MAX_IDLE) {
        end(remove_idle(pool, 0));
    }
    pool->idle[pool->n_idle++] = stream;
}

/* -- streams that stay ------------------------------------------------------------------------ */

void ws_stream_reserve(struct ws_deflate_pool *pool, struct ws_stream_kind kind)
{
    if (!ws_stream_count(pool, cost(kind))) {
        pool->used_bytes += cost(kind); /* ws_deflate_pool_fit was not asked */
    }
}

void ws_stream_end_reserved(struct ws_deflate_pool *pool, struct ws_stream_kind kind,
                            struct ws_stream *stream)
{
    if (stream != NULL) {
        end(stream);
    } else {
        pool->used_bytes -= cost(kind);
    }
}

void ws_deflate_pool_fit(const struct ws_deflate_pool *pool, struct ws_deflate_terms *terms)
{
    size_t bytes = pool->used_bytes;
    for (size_t i = 0; i < pool->n_idle; i++) {
        bytes -= pool->idle[i]->counted;
    }
    if (terms->server_takeover) {
        bytes += cost((struct ws_stream_kind){true, terms->server_bits, 0});
    }
    if (terms->client_takeover) {
        bytes += cost((struct ws_stream_kind){false, terms->client_bits, 0});
    }
    if (bytes > pool->budget_bytes / 4 * 3) {
        terms->server_takeover = false;
        terms->client_takeover = false;
    }
}

/* -- the pool --------------------------------------------------------------------------------- */

enum err ws_deflate_pool_create(size_t budget_bytes, struct ws_deflate_pool **out)
{
    struct ws_deflate_pool *pool = MEM_NEW(struct ws_deflate_pool);
    if (pool == NULL) {
        return ERR_NOMEM;
    }
    pool->budget_bytes = budget_bytes;
    *out = pool;
    return ERR_OK;
}

void ws_deflate_pool_destroy(struct ws_deflate_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (pool->n_idle != 0) {
        end(remove_idle(pool, pool->n_idle - 1));
    }
    ASSERT(pool->used_bytes == 0);
    mem_free(pool);
}

size_t ws_deflate_pool_used_bytes(const struct ws_deflate_pool *pool)
{
    return pool->used_bytes;
}

char *ws_stream_scratch(struct ws_deflate_pool *pool)
{
    return pool->scratch;
}

char *ws_stream_window_scratch(struct ws_deflate_pool *pool)
{
    return pool->window;
}
