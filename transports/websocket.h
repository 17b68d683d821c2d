/*
 * websocket: the DUPLEX transport over an RFC 6455 upgrade. One carrier per connection, 120 bytes
 * plus buffers that exist only while a message is incomplete. Threads: the owning worker.
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
