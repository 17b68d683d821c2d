/*
 * peers: how many connections the process has, and how many of one address; the caps on both.
 *
 * Besides mailboxes this is the only state that workers share, and there is no lock in it: one
 * atomic total, and a count-min sketch of atomics, PEERS_ROWS rows of PEERS_COLUMNS counters, in
 * which an address has one counter a row, chosen by a SipHash whose key is drawn at create.
 *
 *   address --hash--> row 0: | 0 | 3 | 0 | 1 |...     its count is the least of its counters:
 *                     row 1: | 2 | 0 | 0 | 2 |...     collisions only ever add to a counter
 *
 * So an address may be refused early when others share its counters in every row (nobody without
 * the key can arrange that), but never gets above its limit; and the table never grows, however
 * many addresses come. IPv4 is counted by address, IPv6 by /64, which is what one subscriber has.
 * Unix sockets count for the total only. Threads: any, all calls but create and destroy.
 */
#ifndef POSTERN_NET_PEERS_H
#define POSTERN_NET_PEERS_H

#include <stdint.h>

#include "base/err.h"

struct conn_peer;
struct peers;

enum {
    PEERS_ROWS = 2,
    PEERS_COLUMNS = 1 << 16, /* with both rows 512 KiB */
};

struct peers_limits {
    uint64_t max_total;       /* connections of the process; 0 = no limit */
    uint32_t max_per_address; /* connections of one address; 0 = no limit */
};

/* ERR_NOMEM. */
enum err peers_create(const struct peers_limits *limits, struct peers **out) MUST_CHECK;
/* After everyone that entered has left or does not matter any more. */
void peers_destroy(struct peers *peers);

/* Counts a connection of `peer` in. ERR_BUSY: the process has max_total; ERR_LIMIT: the address has
 * max_per_address; then nothing was counted. Of several that come for the last place at the same
 * moment all may be refused. */
enum err peers_enter(struct peers *peers, const struct conn_peer *peer) MUST_CHECK;
/* Once for each peers_enter that gave ERR_OK, with the same address. */
void peers_leave(struct peers *peers, const struct conn_peer *peer);
/* Connections counted in now. */
uint64_t peers_total(const struct peers *peers);

#endif
