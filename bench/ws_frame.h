/*
 * ws_frame: the frame head of RFC 6455 section 5.2, both ways. Used by the load generator (which
 * masks) and by the limit server (which unmasks); neither may share code with the gateway, or a
 * mistake in that code would agree with itself.
 */
#ifndef POSTERN_BENCH_WS_FRAME_H
#define POSTERN_BENCH_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WS_FRAME_HEAD_MAX 14
#define WS_FRAME_FIN      0x80U

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

struct ws_frame {
    uint8_t first; /* FIN, RSV and opcode as they came */
    bool is_masked;
    uint8_t key[4];
    size_t head_bytes;
    uint64_t payload_bytes;
};

/* Reads a head; false while more bytes are needed. The payload begins head_bytes further. */
bool ws_frame_read(const uint8_t *at, size_t n, struct ws_frame *frame);

/* Writes a head of at most WS_FRAME_HEAD_MAX bytes; key NULL means unmasked. Returns its length. */
size_t ws_frame_write(uint8_t *to, uint8_t first, uint64_t payload_bytes, const uint8_t *key);

/* XORs n bytes with the key from its beginning, in place. Alignment of `at` does not matter. */
void ws_frame_mask(uint8_t *at, size_t n, const uint8_t key[4]);

#endif
