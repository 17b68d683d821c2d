/* ws_frame: see ws_frame.h. No state, no allocation. */
#include "ws_frame.h"

#include <string.h>

static uint64_t read_big_endian(const uint8_t *at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

bool ws_frame_read(const uint8_t *at, size_t n, struct ws_frame *frame)
{
    if (n < 2) {
        return false;
    }
    uint8_t length = at[1] & 0x7f;
    size_t extra = length == 127 ? 8 : length == 126 ? 2 : 0;
    frame->first = at[0];
    frame->is_masked = (at[1] & 0x80) != 0;
    frame->head_bytes = 2 + extra + (frame->is_masked ? 4 : 0);
    if (n < frame->head_bytes) {
        return false;
    }
    frame->payload_bytes = extra == 0 ? length : read_big_endian(at + 2, extra);
    if (frame->is_masked) {
        memcpy(frame->key, at + 2 + extra, sizeof frame->key);
    }
    return true;
}

size_t ws_frame_write(uint8_t *to, uint8_t first, uint64_t payload_bytes, const uint8_t *key)
{
    uint8_t mask_bit = key != NULL ? 0x80 : 0;
    size_t extra = payload_bytes < 126 ? 0 : payload_bytes <= UINT16_MAX ? 2 : 8;

    to[0] = first;
    to[1] = (uint8_t)(mask_bit | (extra == 0 ? payload_bytes : extra == 2 ? 126 : 127));
    for (size_t i = 0; i < extra; i++) {
        to[2 + i] = (uint8_t)(payload_bytes >> 8 * (extra - 1 - i));
    }
    if (key != NULL) {
        memcpy(to + 2 + extra, key, 4);
    }
    return 2 + extra + (key != NULL ? 4U : 0U);
}

/* Eight bytes a step: at 1 KiB messages a byte loop would be a visible share of the limit. */
void ws_frame_mask(uint8_t *at, size_t n, const uint8_t key[4])
{
    uint32_t narrow = 0;
    memcpy(&narrow, key, sizeof narrow);
    uint64_t wide = (uint64_t)narrow << 32 | narrow;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, sizeof word);
        word ^= wide;
        memcpy(at + i, &word, sizeof word);
    }
    for (; i < n; i++) {
        at[i] ^= key[i & 3];
    }
}
