/*
 * ws_handshake: the opening handshake of RFC 6455 section 4.2 as pure functions over a parsed head.
 * Threads: any.
 */
#ifndef POSTERN_WIRE_WS_HANDSHAKE_H
#define POSTERN_WIRE_WS_HANDSHAKE_H

#include "base/err.h"
#include "wire/http1_head.h"

enum {
    WS_ACCEPT_CHARS = 28
};

struct ws_handshake {
    char accept[WS_ACCEPT_CHARS]; /* value of Sec-WebSocket-Accept */
};

/* Checks a GET request for an RFC 6455 upgrade: HTTP/1.1, no body, Upgrade has the token
 * "websocket", Connection the token "upgrade", one Sec-WebSocket-Key of 16 bytes in base64, one
 * Sec-WebSocket-Version. ERR_OK: `out` is filled. Else ERR_PROTO and *status: 400, or 426 for a
 * version other than 13 (answer with `Sec-WebSocket-Version: 13`), *why a constant sentence for the
 * body and the log. */
enum err ws_handshake_check(const struct http1_head *head, struct ws_handshake *out,
                            unsigned *status, const char **why) MUST_CHECK;

#endif
