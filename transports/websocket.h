/*
 * websocket: the DUPLEX transport over an RFC 6455 upgrade. One carrier per connection, 112 bytes
 * plus what exists only while a message is incomplete. Deadlines: a message, first byte of its
 * first frame's head to last byte, must be whole within `message_timeout_ms` plus its payload /
 * `min_rate_bytes_per_s` (1008); not counting the time that it is paused. Threads: the owning
 * worker.
 */
#ifndef POSTERN_TRANSPORTS_WEBSOCKET_H
#define POSTERN_TRANSPORTS_WEBSOCKET_H

#include "core/transport.h"

enum {
    WEBSOCKET_CLOSE_TIMEOUT_MS = 5000,  /* how long a peer may take to answer our Close */
    WEBSOCKET_MAX_PONG_BYTES = 8 << 10, /* pongs waiting for a peer that pings and does not read */
};

extern const struct transport_ops websocket_transport;

#endif
