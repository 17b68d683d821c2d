/*
 * hmap: an intrusive hash map from byte strings to objects that embed a `struct hnode`.
 *
 * Chained, power-of-two buckets, doubled at load 1, keyed SipHash-1-3 so that a peer who chooses
 * keys cannot choose collisions. Growth that fails for memory leaves the map correct, only slower.
 * Threads: one worker.
 */
#ifndef POSTERN_BASE_HMAP_H
#define POSTERN_BASE_HMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

/* SipHash-1-3 of `bytes` under `key`. */
uint64_t hash_bytes(const struct hash_key *key, struct span bytes);

struct hnode {
    struct hnode *next;
    uint64_t hash;
};

/* The key of the object that embeds `node`; called only for nodes of equal hash. */
typedef struct span hmap_key_fn(const struct hnode *node);

struct hmap {
    struct hnode **buckets;
    size_t n_buckets; /* 0 or a power of two */
    size_t n_nodes;
    struct hash_key key;
    hmap_key_fn *key_of;
};

/* Allocates nothing until the first insert. */
void hmap_init(struct hmap *map, struct hash_key key, hmap_key_fn *key_of);
/* Frees the buckets; the objects stay their owners'. */
void hmap_fini(struct hmap *map);
struct hnode *hmap_find(const struct hmap *map, struct span key);
/* `key` must be what key_of(node) returns, and not in the map. ERR_NOMEM only for the first
 * insert. */
enum err hmap_insert(struct hmap *map, struct hnode *node, struct span key) MUST_CHECK;
/* `node` must be in the map. */
void hmap_remove(struct hmap *map, struct hnode *node);
/* Visits every node; `visit` may remove (and free) the node that it is given, and no other. */
void hmap_each(struct hmap *map, void (*visit)(struct hnode *node, void *ctx), void *ctx);

#endif
