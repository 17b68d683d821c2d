/*
 * limit_ws: RFC 6455 as far as an echo needs it. Data frames go back as they came, FIN and opcode
 * unchanged, so that a fragmented message is echoed fragment by fragment. Text is not checked to
 * be UTF-8 and paths are not looked at: this is the floor under a server, not a server.
 */
#include "limit.h"
#include "ws_frame.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX  16384
#define KEY_BYTES 24

static void refuse(struct limit *limit, int fd)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    bytes_append(&limit->tx, answer, sizeof answer - 1);
    limit->conns[fd].is_closing = true;
}

static void accept_upgrade(struct limit *limit, int fd, const char *key)
{
    static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Accept: ";
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char joined[KEY_BYTES + sizeof guid - 1];
    unsigned char digest[SHA_DIGEST_LENGTH];
    unsigned char text[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1];

    memcpy(joined, key, KEY_BYTES);
    memcpy(joined + KEY_BYTES, guid, sizeof guid - 1);
    (void)SHA1(joined, sizeof joined, digest);
    int n = EVP_EncodeBlock(text, digest, sizeof digest);
    bytes_append(&limit->tx, head, sizeof head - 1);
    bytes_append(&limit->tx, text, (size_t)n);
    bytes_append(&limit->tx, "\r\n\r\n", 4);
    limit->conns[fd].is_raised = true;
}

/* Value of Sec-WebSocket-Key in the n bytes of a head, or NULL. */
static const char *find_key(const char *head, size_t n)
{
    static const char name[] = "\r\nsec-websocket-key:";
    const size_t n_name = sizeof name - 1;
    for (size_t i = 0; i + n_name + 1 + KEY_BYTES < n; i++) {
        if (head[i] == '\r' && strncasecmp(head + i, name, n_name) == 0) {
            const char *value = head + i + n_name;
            value += *value == ' ';
            return value[KEY_BYTES] == '\r' ? value : NULL;
        }
    }
    return NULL;
}

static size_t take_handshake(struct limit *limit, int fd, const uint8_t *at, size_t n)
{
    const char *end = memmem(at, n, "\r\n\r\n", 4);
    if (end == NULL) {
        if (n > HEAD_MAX) {
            refuse(limit, fd);
        }
        return 0;
    }
    size_t n_head = (size_t)(end - (const char *)at) + 4;
    const char *key = find_key((const char *)at, n_head);
    if (key == NULL) {
        refuse(limit, fd);
    } else {
        accept_upgrade(limit, fd, key);
    }
    return n_head;
}

static void put_frame(struct limit *limit, uint8_t first, const uint8_t *payload, size_t n)
{
    uint8_t head[WS_FRAME_HEAD_MAX];
    bytes_append(&limit->tx, head, ws_frame_write(head, first, n, NULL));
    bytes_append(&limit->tx, payload, n);
}

static void close_with(struct limit *limit, int fd, unsigned code)
{
    const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    put_frame(limit, WS_FRAME_FIN | WS_CLOSE, payload, sizeof payload);
    limit->conns[fd].is_closing = true;
}

static void on_frame(struct limit *limit, int fd, uint8_t first, const uint8_t *payload, size_t n)
{
    switch (first & 0x7fU) {
    case WS_CONTINUATION:
    case WS_TEXT:
    case WS_BINARY:
        if (limit->hop_fd >= 0) {
            limit_hop_put(limit, fd, first, payload, n);
        } else {
            put_frame(limit, first, payload, n);
        }
        break;
    case WS_PING:
        put_frame(limit, WS_FRAME_FIN | WS_PONG, payload, n);
        break;
    case WS_PONG:
        break;
    case WS_CLOSE:
        put_frame(limit, WS_FRAME_FIN | WS_CLOSE, payload, n);
        limit->conns[fd].is_closing = true;
        break;
    default: /* reserved bits or opcodes */
        close_with(limit, fd, 1002);
        break;
    }
}

/* One frame; 0 while it is incomplete. */
static size_t take_frame(struct limit *limit, int fd, uint8_t *at, size_t n)
{
    struct ws_frame frame;
    if (!ws_frame_read(at, n, &frame)) {
        return 0;
    }
    bool is_control = (frame.first & 0x08U) != 0;
    if (!frame.is_masked || (is_control && (frame.payload_bytes > 125 || frame.first < 0x80U))) {
        close_with(limit, fd, 1002);
        return 0;
    }
    if (frame.payload_bytes > LIMIT_PAYLOAD_MAX) {
        close_with(limit, fd, 1009);
        return 0;
    }
    if (n - frame.head_bytes < frame.payload_bytes) {
        return 0;
    }
    uint8_t *payload = at + frame.head_bytes;
    ws_frame_mask(payload, (size_t)frame.payload_bytes, frame.key);
    on_frame(limit, fd, frame.first, payload, (size_t)frame.payload_bytes);
    return frame.head_bytes + (size_t)frame.payload_bytes;
}

size_t limit_ws_take(struct limit *limit, int fd, uint8_t *at, size_t n)
{
    const struct limit_conn *conn = &limit->conns[fd];
    size_t taken = 0;
    while (taken < n && !conn->is_closing) {
        size_t step = conn->is_raised ? take_frame(limit, fd, at + taken, n - taken)
                                      : take_handshake(limit, fd, at + taken, n - taken);
        if (step == 0) {
            break;
        }
        taken += step;
    }
    return taken;
}
