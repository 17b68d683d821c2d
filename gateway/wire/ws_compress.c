/* ws_compress: see ws_compress.h. */
#include "wire/ws_compress.h"

#include "wire/ws_stream.h"

enum {
    TAIL_BYTES = 4, /* 00 00 ff ff: each flush ends with it, and it is not sent */
    LEAST_GROWTH_BYTES = 64,
    GROWTH_DIVISOR = 64,
};

static struct ws_stream_kind kind_of(const struct ws_compress *writer)
{
    return (struct ws_stream_kind){true, writer->window_bits, writer->level};
}

void ws_compress_init(struct ws_compress *writer, struct ws_deflate_pool *pool,
                      const struct ws_deflate_terms *terms, uint8_t level)
{
    *writer = (struct ws_compress){.pool = pool,
                                   .window_bits = terms->server_bits,
                                   .level = level,
                                   .keeps_window = terms->server_takeover};
    if (writer->keeps_window) {
        ws_stream_reserve(pool, kind_of(writer));
    }
}

void ws_compress_fini(struct ws_compress *writer)
{
    if (writer->keeps_window) {
        ws_stream_end_reserved(writer->pool, kind_of(writer), writer->stream);
        writer->stream = NULL;
    }
}

size_t ws_compress_room(const struct ws_compress *writer, size_t len)
{
    size_t growth = writer->keeps_window ? LEAST_GROWTH_BYTES + len / GROWTH_DIVISOR : 0;
    return len + growth + TAIL_BYTES;
}

/* ERR_LIMIT: it does not fit. */
static enum err deflate_whole(z_stream *z, struct span message, char *out, size_t room, size_t *len)
{
    z->next_in = (const Bytef *)message.ptr;
    z->avail_in = (uInt)message.len;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    int result = deflate(z, Z_SYNC_FLUSH);
    size_t n = room - z->avail_out;
    /* With room left the flush is complete, tail and all (zlib.h). */
    if (result != Z_OK || z->avail_out == 0 || n <= TAIL_BYTES) {
        return ERR_LIMIT;
    }
    *len = n - TAIL_BYTES;
    return ERR_OK;
}

static enum err need_stream(struct ws_compress *writer, struct ws_stream **out)
{
    if (!writer->keeps_window) {
        return ws_stream_borrow(writer->pool, kind_of(writer), out);
    }
    if (writer->stream == NULL) {
        enum err e = ws_stream_make(writer->pool, kind_of(writer), &writer->stream);
        if (e != ERR_OK) {
            return e;
        }
    }
    *out = writer->stream;
    return ERR_OK;
}

size_t ws_compress(struct ws_compress *writer, struct span message, char *out, size_t room)
{
    struct ws_stream *stream = NULL;
    size_t len = 0;
    /* An empty one would be no smaller, and zlib refuses to flush nothing twice. */
    if (message.len == 0 || need_stream(writer, &stream) != ERR_OK) {
        return 0;
    }
    enum err e = deflate_whole(&stream->z, message, out, room, &len);
    if (!writer->keeps_window) {
        ws_stream_give_back(stream);
        return e == ERR_OK && len < message.len ? len : 0;
    }
    if (e != ERR_OK) {
        (void)deflateReset(&stream->z);
    }
    return len;
}
