/*
 * websocket: the DUPLEX transport over an RFC 6455 upgrade. One carrier per connection, 120 bytes
 * plus what exists only while a message is incomplete, and 96 where permessage-deflate was agreed.
 * Deadlines: a message, first byte of its first frame's head to last byte, must be whole within
 * `message_timeout_ms` plus its payload / `min_rate_bytes_per_s` (1008); not counting the time that
 * it is paused. Threads: the owning worker.
 */
#ifndef POSTERN_TRANSPORTS_WEBSOCKET_H
#define POSTERN_TRANSPORTS_WEBSOCKET_H

#include "core/transport.h"

enum {
    WEBSOCKET_CLOSE_TIMEOUT_MS = 5000, /* how long a peer may take to answer our Close */
    /* A peer that has ended its side without a Close may still read what its messages cause: until
     * nothing was sent for so long, at most for the other; then Close 1002. For its session the end
     * is 1006 (RFC 6455 7.1.5), then or as soon as it turns out that the peer is gone altogether.
     */
    WEBSOCKET_EOF_QUIET_MS = 1000,
    WEBSOCKET_EOF_MAX_MS = 5000,
    /* How long the Close for a defect waits for the answers to what came before the defect. */
    WEBSOCKET_FAIL_MAX_MS = 1000,
    WEBSOCKET_MAX_PONG_BYTES = 8 << 10, /* pongs waiting for a peer that pings and does not read */
};

extern const struct transport_ops websocket_transport;

#endif
