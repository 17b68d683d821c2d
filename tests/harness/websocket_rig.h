/*
 * websocket_rig: clients of a mount_rig that speak WebSocket, frame by frame, and what they heard
 * as words: "text(hi) pong() close(1000 why)". One rig and one record for each test program.
 */
#ifndef POSTERN_HARNESS_WEBSOCKET_RIG_H
#define POSTERN_HARNESS_WEBSOCKET_RIG_H

#include "harness/mount_rig.h"
#include "wire/ws_frame.h"

#define UPGRADE                                                                                    \
    " HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"            \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

enum {
    FIN = 0x80,
};

static struct mount_rig rig;
static struct record frames;

static inline int set_up(void **state)
{
    (void)state;
    frames.len = 0;
    mount_start(&rig);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    mount_stop(&rig);
    return 0;
}

/* Appends a masked frame to `out`; returns its size. */
static inline size_t put_frame(char *out, unsigned first, struct span payload)
{
    static const char mask[4] = {0x12, (char)0xfe, 0x45, 0x07};
    size_t n = ws_put_head(out, (enum ws_opcode)(first & 15), 0, payload.len);
    out[0] = (char)first;
    out[1] = (char)(out[1] | 0x80);
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < payload.len; i++) {
        out[n + i] = (char)(payload.ptr[i] ^ mask[i % 4]);
    }
    return n + payload.len;
}

static inline void say_frame(int i, unsigned first, struct span payload)
{
    static char bytes[MOUNT_MAX_MESSAGE_BYTES * 2];
    struct span rest = span_of(bytes, put_frame(bytes, first, payload));
    while (rest.len != 0) {
        size_t n = rest.len < 60000 ? rest.len : 60000;
        mount_say(&rig, i, span_of(rest.ptr, n));
        rest = span_skip(rest, n);
    }
}

static inline void say_text(int i, const char *text)
{
    say_frame(i, FIN | WS_TEXT, span_str(text));
}

static inline void say_close(int i, unsigned code, const char *reason)
{
    char payload[WS_MAX_CONTROL_PAYLOAD];
    size_t n = ws_put_close(payload, (uint16_t)code, span_str(reason));
    say_frame(i, FIN | WS_CLOSE, span_of(payload, n));
}

static inline size_t length_of(struct span *in)
{
    size_t len = (unsigned char)in->ptr[1];
    size_t n_more = len == 126 ? 2 : len == 127 ? 8 : 0;
    assert_true(len < 128); /* a server does not mask */
    if (n_more != 0) {
        len = 0;
        for (size_t i = 0; i < n_more; i++) {
            len = len << 8 | (unsigned char)in->ptr[2 + i];
        }
    }
    *in = span_skip(*in, 2 + n_more);
    assert_true(len <= in->len);
    return len;
}

/* Adds what client `i` heard to `frames`. */
static inline void read_frames(int i)
{
    static const char *const names[16] = {[WS_TEXT] = "text",
                                          [WS_BINARY] = "binary",
                                          [WS_CLOSE] = "close",
                                          [WS_PING] = "ping",
                                          [WS_PONG] = "pong"};
    struct span in = mount_heard(&rig, i);
    while (in.len != 0) {
        unsigned first = (unsigned char)in.ptr[0];
        const char *name = names[first & 15];
        assert_true((first & 0xf0) == FIN && name != NULL);
        size_t len = length_of(&in);
        if ((first & 15) == WS_CLOSE && len >= 2) {
            record_add(&frames, "close(%u %.*s)",
                       (unsigned)(unsigned char)in.ptr[0] << 8 | (unsigned char)in.ptr[1],
                       (int)len - 2, in.ptr + 2);
        } else if (len > 100) {
            record_add(&frames, "%s(%zu bytes)", name, len);
        } else {
            record_add(&frames, "%s(%.*s)", name, (int)len, in.ptr);
        }
        in = span_skip(in, len);
    }
}

#define HEARD(i, want)                                                                             \
    do {                                                                                           \
        read_frames(i);                                                                            \
        CHECK_RECORD(&frames, want);                                                               \
    } while (0)
#define TOLD(want) CHECK_RECORD(&rig.uplinks[0].record, want)

static inline void connect_raw(int i)
{
    mount_say(&rig, i, SPAN_LIT("GET /echo/websocket?x=1" UPGRADE));
    check_span("raw", mount_heard(&rig, i), SPAN_LIT(SWITCHED));
}

static inline void connect_sockjs(int i)
{
    mount_say(&rig, i, SPAN_LIT("GET /echo/000/s/websocket" UPGRADE));
    check_span("sockjs", mount_heard(&rig, i), SPAN_LIT(SWITCHED "\x81\x01o"));
}

static inline bool has_ended(int i)
{
    return rig.clients[i].io.n_shutdowns == 1;
}

#endif
