/*
 * load_ws: raw WebSocket and SockJS over WebSocket. Called through struct load_carrier.
 *
 * The mask and the Sec-WebSocket-Key are constants (the key is the example of RFC 6455 section
 * 1.3, which names its answer): random ones would cost the client time and tell nothing more.
 */
#include "load_link.h"
#include "load_user.h"
#include "ws_frame.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONTROL_MAX 125

static const char accept_wanted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
static const uint8_t control_key[4] = {0x11, 0x22, 0x33, 0x44};

static bool send_upgrade(struct load *load, struct load_user *user)
{
    char below[64] = "";
    char request[1024];
    if (load->opts.transport == LOAD_SOCKJS_WS) {
        (void)snprintf(below, sizeof below, "/%03u/%08x%07u/websocket", user->number % 1000,
                       load->run_id, user->number);
    }
    int n = snprintf(request, sizeof request,
                     "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\n%s\r\n",
                     load->opts.path, below, load->opts.host,
                     load->opts.wants_deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                              : "");
    user->is_asked = true;
    return load_link_write(load, &user->down, request, (size_t)n);
}

static void flush(struct load *load, struct load_user *user)
{
    struct load_link *link = &user->down;
    size_t n = 0;
    if (link->is_connecting || link->out.n > 0) {
        return; /* the socket speaks up when it can take more */
    }
    if (!user->is_asked) {
        if (!send_upgrade(load, user)) {
            load_user_fail(load, user, "cannot send the upgrade: %s", strerror(errno));
        }
        return;
    }
    if (user->pong.n > 0) {
        n = user->pong.n <= LOAD_TX_SPARE ? user->pong.n : 0;
        memcpy(load->tx, bytes_data(&user->pong), n);
        bytes_fini(&user->pong);
    }
    uint64_t now_ns = load_now_ns();
    for (unsigned due = load_user_due(load, user); due > 0; due--) {
        load_echo_send(&user->book, &load->format, user->number, now_ns, load->tx + n);
        n += load->format.wire_bytes;
    }
    if (n > 0 && !load_link_write(load, link, load->tx, n)) {
        load_user_fail(load, user, "cannot send: %s", strerror(errno));
    }
}

static void on_upgrade_answer(struct load *load, struct load_user *user, struct slice *in)
{
    struct slice head = {0};
    struct slice value = {0};
    enum http_in_event event = http_in_next(&user->down_http, in, &head);
    if (event == HTTP_IN_MORE) {
        return;
    }
    if (event == HTTP_IN_BAD) {
        load_user_fail(load, user, "the answer to the upgrade is not HTTP");
    } else if (user->down_http.status != 101) {
        load_user_fail(load, user, "the upgrade was answered %d", user->down_http.status);
    } else if (!http_in_field(head, "sec-websocket-accept", &value) ||
               value.n < sizeof accept_wanted - 1 ||
               memcmp(value.at, accept_wanted, sizeof accept_wanted - 1) != 0) {
        load_user_fail(load, user, "the 101 has a wrong Sec-WebSocket-Accept");
    } else if (load->opts.wants_deflate &&
               !http_in_field(head, "sec-websocket-extensions", &value)) {
        load_user_fail(load, user, "the 101 does not agree to permessage-deflate");
    } else {
        user->is_raised = true;
        if (load->opts.transport == LOAD_RAW_WS) {
            load_user_opened(load, user);
        }
    }
}

static void owe_pong(struct load *load, struct load_user *user, struct slice payload)
{
    uint8_t frame[WS_FRAME_HEAD_MAX + CONTROL_MAX];
    if (payload.n > CONTROL_MAX) {
        load_user_fail(load, user, "a ping of %zu bytes", payload.n);
        return;
    }
    size_t head = ws_frame_write(frame, WS_FRAME_FIN | WS_PONG, payload.n, control_key);
    memcpy(frame + head, payload.at, payload.n);
    ws_frame_mask(frame + head, payload.n, control_key);
    bytes_append(&user->pong, frame, head + payload.n);
}

static void on_frame(struct load *load, struct load_user *user, uint8_t first, struct slice payload)
{
    switch (first) {
    case WS_FRAME_FIN | WS_TEXT:
        if (load->opts.transport == LOAD_RAW_WS) {
            load_user_on_message(load, user, payload.at, payload.n);
        } else {
            load_user_on_sockjs(load, user, payload);
        }
        break;
    case WS_FRAME_FIN | WS_PING:
        owe_pong(load, user, payload);
        break;
    case WS_FRAME_FIN | WS_PONG:
        break;
    case WS_FRAME_FIN | WS_CLOSE:
        load_user_fail(load, user, "close frame, code %d",
                       payload.n < 2 ? 0 : (uint8_t)payload.at[0] << 8 | (uint8_t)payload.at[1]);
        break;
    default: /* also fragments: no server measured has a reason to send any */
        load_user_fail(load, user, "an unexpected frame, first byte 0x%02x", first);
        break;
    }
}

static void on_bytes(struct load *load, struct load_user *user, struct load_link *link,
                     struct slice *in)
{
    (void)link;
    if (!user->is_raised) {
        on_upgrade_answer(load, user, in);
    }
    while (user->is_raised && user->state != LOAD_USER_FAILED) {
        struct ws_frame frame;
        if (!ws_frame_read((const uint8_t *)in->at, in->n, &frame) ||
            in->n - frame.head_bytes < frame.payload_bytes) {
            break;
        }
        struct slice payload = {in->at + frame.head_bytes, (size_t)frame.payload_bytes};
        in->at = payload.at + payload.n;
        in->n -= frame.head_bytes + payload.n;
        if (frame.is_masked) {
            load_user_fail(load, user, "the server masked a frame");
            break;
        }
        on_frame(load, user, frame.first, payload);
    }
}

static void on_eof(struct load *load, struct load_user *user, struct load_link *link)
{
    (void)link;
    load_user_fail(load, user, "the server closed the connection%s",
                   user->is_raised ? "" : " before the 101");
}

const struct load_carrier load_ws = {
    .flush = flush,
    .on_bytes = on_bytes,
    .on_eof = on_eof,
};
