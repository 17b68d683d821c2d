/*
 * limit: the bare echo server that everything else is compared with; see limit.c.
 *
 *   limit.c       options, sockets, the epoll loop, sending
 *   limit_ws.c    handshake and frames of one connection
 *   limit_hop.c   the second process and the batched way to it and back
 */
#ifndef POSTERN_BENCH_LIMIT_H
#define POSTERN_BENCH_LIMIT_H

#include "bytes.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LIMIT_CONNS_MAX   (1U << 20) /* descriptors; the hop's ids carry them in 20 bits */
#define LIMIT_PAYLOAD_MAX (1U << 20)
#define LIMIT_RX_BYTES    ((size_t)4 << 20)

struct limit_conn {
    bool is_used;
    bool is_raised;  /* the handshake is over */
    bool is_closing; /* close when what is queued has left */
    bool wants_out;
    uint16_t generation; /* tells a message of the descriptor's last owner apart */
    struct bytes *rest;  /* an incomplete unit at the end of the last read, or NULL */
    struct bytes *out;   /* what a short write left, or NULL */
};

struct limit {
    int epoll_fd;
    int listen_fd;
    int hop_fd; /* -1: echo here */
    pid_t hop_pid;
    unsigned n_conns; /* descriptors there can be */
    uint8_t *rx;
    struct bytes tx;     /* replies of the connection in hand */
    struct bytes to_hop; /* messages of this turn */
    bool hop_wants_out;
    uint8_t *hop_rx; /* answers of the second process */
    size_t hop_kept; /* bytes of an incomplete one at its front */

    struct limit_conn conns[LIMIT_CONNS_MAX]; /* by descriptor; untouched pages cost nothing */
};

/* --- limit.c --- */

/* Sends what is in limit->tx on the connection, keeping what does not fit, and empties it. */
void limit_send(struct limit *limit, int fd);
void limit_close(struct limit *limit, int fd);

/* --- limit_ws.c --- */

/* Takes what it can from the n bytes; returns how many. Replies go to limit->tx. */
size_t limit_ws_take(struct limit *limit, int fd, uint8_t *at, size_t n);

/* --- limit_hop.c --- */

/* Starts the second process. To be called before anything is watched: it inherits no descriptor. */
bool limit_hop_start(struct limit *limit);

/* Queues a frame for the second process. */
void limit_hop_put(struct limit *limit, int fd, uint8_t first, const uint8_t *at, size_t n);

/* One write with everything queued. False when the second process is gone. */
bool limit_hop_flush(struct limit *limit);

/* One read, then one write to each connection that has an answer in it. */
bool limit_hop_on_readable(struct limit *limit);

/* Is so much queued that clients have to wait? */
bool limit_hop_is_full(const struct limit *limit);

#endif
