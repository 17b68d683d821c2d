/*
 * peers: see peers.h.
 *
 * Why no address can get above its limit: an enter first adds to all counters of the address and
 * only then looks at them. Of those that hold a place together, the one that added last has seen
 * what all of them added (sequentially consistent order), in every row.
 */
#include "net/peers.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "base/hmap.h"
#include "base/mem.h"
#include "base/rand.h"
#include "net/conn.h"

struct peers {
    struct peers_limits limits;
    struct hash_key key;
    atomic_uint_fast64_t total;
    atomic_uint rows[PEERS_ROWS][PEERS_COLUMNS];
};

enum err peers_create(const struct peers_limits *limits, struct peers **out)
{
    struct peers *peers = MEM_NEW(struct peers);
    if (peers == NULL) {
        return ERR_NOMEM;
    }
    struct rand rand = {.left = 0};
    rand_bytes(&rand, &peers->key, sizeof peers->key);
    peers->limits = *limits;
    *out = peers;
    return ERR_OK;
}

void peers_destroy(struct peers *peers)
{
    mem_free(peers);
}

/* What one subscriber has one of. IPv4 lies behind a constant prefix, so its /64 says nothing. */
static struct span name_of(const struct conn_peer *peer)
{
    const char *bytes = (const char *)peer->address.s6_addr;
    return IN6_IS_ADDR_V4MAPPED(&peer->address) ? span_of(bytes + 12, 4) : span_of(bytes, 8);
}

static bool is_counted_by_address(const struct peers *peers, const struct conn_peer *peer)
{
    return peers->limits.max_per_address != 0 && peer->family != AF_UNIX;
}

static atomic_uint *counter_of(struct peers *peers, unsigned row, uint64_t hash)
{
    return &peers->rows[row][(hash >> (16 * row)) % PEERS_COLUMNS];
}

static void leave_address(struct peers *peers, uint64_t hash)
{
    for (unsigned row = 0; row < PEERS_ROWS; row++) {
        (void)atomic_fetch_sub(counter_of(peers, row, hash), 1);
    }
}

static enum err enter_address(struct peers *peers, uint64_t hash)
{
    for (unsigned row = 0; row < PEERS_ROWS; row++) {
        (void)atomic_fetch_add(counter_of(peers, row, hash), 1);
    }
    for (unsigned row = 0; row < PEERS_ROWS; row++) {
        if (atomic_load(counter_of(peers, row, hash)) <= peers->limits.max_per_address) {
            return ERR_OK;
        }
    }
    leave_address(peers, hash);
    return ERR_LIMIT;
}

static enum err enter_total(struct peers *peers)
{
    uint_fast64_t total = atomic_load(&peers->total);
    do {
        if (peers->limits.max_total != 0 && total >= peers->limits.max_total) {
            return ERR_BUSY;
        }
    } while (!atomic_compare_exchange_weak(&peers->total, &total, total + 1));
    return ERR_OK;
}

enum err peers_enter(struct peers *peers, const struct conn_peer *peer)
{
    enum err e = enter_total(peers);
    if (e == ERR_OK && is_counted_by_address(peers, peer)) {
        e = enter_address(peers, hash_bytes(&peers->key, name_of(peer)));
        if (e != ERR_OK) {
            (void)atomic_fetch_sub(&peers->total, 1);
        }
    }
    return e;
}

void peers_leave(struct peers *peers, const struct conn_peer *peer)
{
    if (is_counted_by_address(peers, peer)) {
        leave_address(peers, hash_bytes(&peers->key, name_of(peer)));
    }
    uint_fast64_t before = atomic_fetch_sub(&peers->total, 1);
    ASSERT(before != 0);
}

uint64_t peers_total(const struct peers *peers)
{
    return atomic_load(&peers->total);
}
