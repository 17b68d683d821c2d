/* ws_inflate: see ws_inflate.h. */
#include "wire/ws_inflate.h"

#include "base/text.h"
#include "wire/ws_stream.h"

enum {
    MAX_FEED_BYTES = 1 << 20, /* zlib counts in unsigned int */
    FREE_FINALS = 16,
    BYTES_PER_FINAL = 256,
    IS_BETWEEN_BLOCKS = 128, /* of z_stream.data_type */
    N_UNUSED_BITS = 63,
};

/* What the sender's flush ended with, and what it did not send (7.2.1). */
static const struct span tail = SPAN_LIT_INIT("\x00\x00\xff\xff");

static struct ws_stream_kind kind_of(const struct ws_inflate *reader)
{
    return (struct ws_stream_kind){false, reader->window_bits, 0};
}

void ws_inflate_init(struct ws_inflate *reader, struct ws_deflate_pool *pool,
                     const struct ws_deflate_terms *terms, uint64_t max_bytes)
{
    /* A client that says 8 may well use 9: zlib of old did. */
    uint8_t bits =
        terms->client_bits < WS_DEFLATE_MIN_BITS ? WS_DEFLATE_MIN_BITS : terms->client_bits;
    *reader = (struct ws_inflate){.pool = pool,
                                  .max_bytes = max_bytes,
                                  .window_bits = bits,
                                  .keeps_window = terms->client_takeover};
    if (reader->keeps_window) {
        ws_stream_reserve(pool, kind_of(reader));
    }
}

void ws_inflate_fini(struct ws_inflate *reader)
{
    if (reader->keeps_window) {
        ws_stream_end_reserved(reader->pool, kind_of(reader), reader->stream);
    } else if (reader->stream != NULL) {
        ws_stream_give_back(reader->stream);
    }
    reader->stream = NULL;
    ws_stream_uncount(reader->pool, reader->held_bytes);
    reader->held_bytes = 0;
}

static enum err refuse(struct ws_fault *fault, enum err e, uint16_t close_code, const char *why)
{
    *fault = (struct ws_fault){close_code, why};
    return e;
}

static enum err need_stream(struct ws_inflate *reader, struct ws_fault *fault)
{
    if (LIKELY(reader->stream != NULL)) {
        return ERR_OK;
    }
    enum err e = reader->keeps_window
                     ? ws_stream_make(reader->pool, kind_of(reader), &reader->stream)
                     : ws_stream_borrow(reader->pool, kind_of(reader), &reader->stream);
    if (e == ERR_LIMIT) {
        return refuse(fault, e, WS_CLOSE_TRY_AGAIN, "No memory for compressed messages now");
    }
    return e == ERR_OK ? e : refuse(fault, e, WS_CLOSE_INTERNAL, "Out of memory");
}

/* The caller keeps `out` until the message is whole. */
static enum err hold(struct ws_inflate *reader, struct span out, struct ws_fault *fault)
{
    if (!ws_stream_count(reader->pool, out.len)) {
        return refuse(fault, ERR_LIMIT, WS_CLOSE_TRY_AGAIN,
                      "No memory for compressed messages now");
    }
    reader->held_bytes += out.len;
    return ERR_OK;
}

/* Behind a final block: a new stream with the old window. zlib has one call for it, but not a
 * public one. */
static enum err go_on_behind_final(struct ws_inflate *reader, struct ws_fault *fault)
{
    z_stream *z = &reader->stream->z;
    Bytef *window = (Bytef *)ws_stream_window_scratch(reader->pool);
    uInt n = 0;
    reader->n_finals++;
    if (reader->n_finals > FREE_FINALS + reader->in_bytes / BYTES_PER_FINAL) {
        return refuse(fault, ERR_DENIED, WS_CLOSE_POLICY, "Too many final blocks");
    }
    if (inflateGetDictionary(z, window, &n) != Z_OK || inflateReset(z) != Z_OK ||
        (n != 0 && inflateSetDictionary(z, window, n) != Z_OK)) {
        return refuse(fault, ERR_NOMEM, WS_CLOSE_INTERNAL, "Out of memory");
    }
    reader->has_begun = false;
    return ERR_OK;
}

/* The next bytes for zlib; none: the piece, and with the last one the tail, are used up. */
static struct span next_source(const struct ws_inflate *reader, struct span in, bool is_last)
{
    if (in.len != 0) {
        return span_of(in.ptr, in.len < MAX_FEED_BYTES ? in.len : MAX_FEED_BYTES);
    }
    return is_last && reader->has_begun ? span_skip(tail, reader->n_tail) : SPAN_NONE;
}

static void note_used(struct ws_inflate *reader, struct span *in, size_t n)
{
    if (n == 0) {
        return;
    }
    if (in->len != 0) {
        *in = span_skip(*in, n);
        reader->in_bytes += n;
    } else {
        reader->n_tail = (uint8_t)(reader->n_tail + n);
    }
    reader->has_begun = true;
}

static enum err feed(struct ws_inflate *reader, struct span source, struct span *in,
                     struct ws_fault *fault)
{
    z_stream *z = &reader->stream->z;
    z->next_in = (const Bytef *)source.ptr;
    z->avail_in = (uInt)source.len;
    int result = inflate(z, Z_SYNC_FLUSH);
    note_used(reader, in, source.len - z->avail_in);
    switch (result) {
    case Z_OK:
        reader->is_at_boundary =
            (z->data_type & (IS_BETWEEN_BLOCKS | N_UNUSED_BITS)) == IS_BETWEEN_BLOCKS;
        return ERR_OK;
    case Z_BUF_ERROR: /* there was nothing to do */
        return ERR_OK;
    case Z_STREAM_END:
        return go_on_behind_final(reader, fault);
    case Z_MEM_ERROR:
        return refuse(fault, ERR_NOMEM, WS_CLOSE_INTERNAL, "Out of memory");
    default:
        return refuse(fault, ERR_SYNTAX, WS_CLOSE_INVALID_DATA, "Message is not DEFLATE data");
    }
}

/* Until the step is full (ERR_AGAIN) or the input is used up. */
static enum err run(struct ws_inflate *reader, bool is_last, struct span *in,
                    struct ws_fault *fault)
{
    for (;;) {
        struct span source = next_source(reader, *in, is_last);
        if (source.len == 0 && !reader->has_more) {
            return ERR_OK;
        }
        reader->has_more = false;
        enum err e = feed(reader, source, in, fault);
        if (e != ERR_OK) {
            return e;
        }
        if (reader->stream->z.avail_out == 0) {
            reader->has_more = true;
            return ERR_AGAIN;
        }
    }
}

/* One byte over the limit is enough to know. */
static uInt step_room(const struct ws_inflate *reader)
{
    uint64_t left = reader->max_bytes - reader->out_bytes;
    return left < WS_DEFLATE_STEP_BYTES ? (uInt)left + 1 : WS_DEFLATE_STEP_BYTES;
}

static enum err check_step(struct ws_inflate *reader, bool is_text, struct span out,
                           struct ws_fault *fault)
{
    reader->out_bytes += out.len;
    if (is_text) {
        reader->utf8 = utf8_feed(reader->utf8, out);
        if (UNLIKELY(reader->utf8 == UTF8_REJECT)) {
            return refuse(fault, ERR_SYNTAX, WS_CLOSE_INVALID_DATA, "Text message is not UTF-8");
        }
    }
    return LIKELY(reader->out_bytes <= reader->max_bytes)
               ? ERR_OK
               : refuse(fault, ERR_LIMIT, WS_CLOSE_TOO_BIG, "Inflated message is over the limit");
}

/* The message is used up: is it whole? Then all is as before the next one. */
static enum err end_message(struct ws_inflate *reader, struct ws_fault *fault)
{
    if (reader->has_begun && !reader->is_at_boundary) {
        return refuse(fault, ERR_SYNTAX, WS_CLOSE_INVALID_DATA, "DEFLATE data is cut short");
    }
    if (reader->utf8 != UTF8_ACCEPT) {
        return refuse(fault, ERR_SYNTAX, WS_CLOSE_INVALID_DATA, "Text message is not UTF-8");
    }
    if (!reader->keeps_window) {
        ws_stream_give_back(reader->stream);
        reader->stream = NULL;
    }
    ws_stream_uncount(reader->pool, reader->held_bytes);
    reader->held_bytes = 0;
    reader->in_bytes = 0;
    reader->out_bytes = 0;
    reader->n_finals = 0;
    reader->n_tail = 0;
    reader->has_begun = false;
    return ERR_OK;
}

enum err ws_inflate_step(struct ws_inflate *reader, const struct ws_event *event, struct span *in,
                         struct span *out, struct ws_fault *fault)
{
    *out = SPAN_NONE;
    enum err e = need_stream(reader, fault);
    if (UNLIKELY(e != ERR_OK)) {
        return e;
    }
    char *scratch = ws_stream_scratch(reader->pool);
    z_stream *z = &reader->stream->z;
    uInt room = step_room(reader);
    z->next_out = (Bytef *)scratch;
    z->avail_out = room;
    e = run(reader, event->is_last, in, fault);
    *out = span_of(scratch, room - z->avail_out);
    /* First what stands first in the message: the fault may not depend on how it was cut. */
    enum err checked = check_step(reader, event->opcode == WS_TEXT, *out, fault);
    if (UNLIKELY(checked != ERR_OK)) {
        return checked;
    }
    if (e == ERR_OK && event->is_last) {
        return end_message(reader, fault);
    }
    checked = e == ERR_OK || e == ERR_AGAIN ? hold(reader, *out, fault) : e;
    return checked == ERR_OK ? e : checked;
}
