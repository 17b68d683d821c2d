/*
 * ws_inflate and ws_compress: the first byte chooses window, takeover and type, the second one the
 * length of the first message; what follows is two compressed messages. No step and no message is
 * over its limit, every stream goes back to the pool, and with the full window the result does not
 * depend on the cut. Then the same bytes are messages to send: what ws_compress makes of them
 * inflates to them.
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/drive_ws_inflate.h"
#include "wire/ws_compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MAX_INFLATED_BYTES = 40000, /* a few steps */
    BUDGET_BYTES = 400 << 10,   /* of which three quarters have room for the two windows */
};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A smaller window than the sender used is noticed sooner or later, depending on the cut. */
static void play_inflate(struct drive_inflate *drive, struct span in)
{
    struct feed feed = drive_inflate_feed(drive);

    for (int late = 0; late < 2 && in.len != 0; late++) {
        drive->has_late_end = late != 0;
        if (drive->terms.client_bits == WS_DEFLATE_MAX_BITS) {
            feed_must_agree(&feed, in);
        } else {
            (void)feed_pieces(&feed, in, in.len, 1);
            (void)feed_pieces(&feed, in, 1, 3);
        }
    }
    drive_inflate_end(drive);
}

static void must_come_back(struct ws_inflate *inflate, struct span in, struct span want)
{
    struct ws_event event = {.opcode = WS_BINARY, .is_last = true};
    struct ws_fault fault;
    enum err e = ERR_AGAIN;

    while (e == ERR_AGAIN) {
        struct span out;
        e = ws_inflate_step(inflate, &event, &in, &out, &fault);
        must((e == ERR_OK || e == ERR_AGAIN) && out.len <= want.len);
        must(span_eq(out, span_of(want.ptr, out.len)));
        want = span_skip(want, out.len);
    }
    must(want.len == 0);
}

static void play_roundtrip(const struct drive_inflate *drive, struct span in)
{
    struct ws_compress compress;
    struct ws_inflate inflate;

    ws_compress_init(&compress, drive->pool, &drive->terms, 6);
    ws_inflate_init(&inflate, drive->pool, &drive->terms, in.len);
    for (size_t i = 0; i < drive->n_messages; i++) {
        struct span message = span_of(in.ptr, drive->lens[i]);
        size_t room = ws_compress_room(&compress, message.len);
        char *out = feed_alloc(room);
        size_t n = ws_compress(&compress, message, out, room);
        if (n != 0) {
            must_come_back(&inflate, span_of(out, n), message);
        }
        free(out);
        in = span_skip(in, message.len);
    }
    ws_compress_fini(&compress);
    ws_inflate_fini(&inflate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct span in = span_of((const char *)data + 2, size - 2);
    uint8_t bits = (uint8_t)(9 + data[0] % 7);
    bool has_takeover = (data[0] & 0x40) != 0;
    size_t first = data[1] < in.len ? data[1] : in.len;
    struct drive_inflate drive = {
        .terms = {.is_on = true,
                  .server_takeover = has_takeover,
                  .client_takeover = has_takeover,
                  .server_bits = bits,
                  .client_bits = bits},
        .max_bytes = MAX_INFLATED_BYTES,
        .opcode = (data[0] & 0x80) != 0 ? WS_TEXT : WS_BINARY,
        .lens = {first, in.len - first},
        .n_messages = 2,
    };
    must(ws_deflate_pool_create(BUDGET_BYTES, &drive.pool) == ERR_OK);
    play_inflate(&drive, in);
    play_roundtrip(&drive, in);
    ws_deflate_pool_destroy(drive.pool);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
    return 0;
}
