/*
 * hixie76: the DUPLEX transport over the WebSocket of 2010 (wire/hixie76), for clients that never
 * learned RFC 6455. The WebSocket's routes hand over requests of this kind where the mount's
 * `hixie76` is on.
 *
 *   AWAITS_NONCE --8 bytes--> OPEN --our 0xFF 0x00--> CLOSING
 *
 * The 101 leaves before the nonce has come, for there are proxies that hold what follows a head
 * until they have seen the answer. Until then the carrier has no room, and what the session writes
 * all the same (its hello, its goodbye) is held. It carries text only and has no pings and no close
 * codes, so dialects send their heartbeat and goodbye frames; a handler's binary message ends the
 * session with 1003. The 101 waits for no handler's ACCEPT: the subprotocol is the mount's choice.
 * Deadlines: the nonce, and each message, must come as a message of RFC 6455 must; the peer's
 * closing frame within WEBSOCKET_CLOSE_TIMEOUT_MS of ours. Threads: the owning worker.
 */
#ifndef POSTERN_TRANSPORTS_HIXIE76_H
#define POSTERN_TRANSPORTS_HIXIE76_H

#include "core/transport.h"

enum {
    HIXIE76_MAX_HELD_BYTES = 64 << 10, /* hello and goodbye that wait for the nonce */
};

/* Whether the request is one for this transport, and the mount takes it. */
bool hixie76_is_wanted(const struct http_req *req, const struct transport_opts *opts);

extern const struct transport_ops hixie76_transport;

#endif
