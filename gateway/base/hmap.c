/*
 * hmap: how sessions, connections and channels are found by name. See hmap.h.
 *
 * The keys come from peers, so the hash is keyed: SipHash with one compression and three
 * finalization rounds, enough for a table whose order nobody can observe. Nodes keep their full
 * hash: growth moves them without reading a key, and a chain is walked by comparing integers.
 */
#include "base/hmap.h"

#include "base/mem.h"

enum {
    FIRST_BUCKETS = 16
};

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 = rotate_left(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t little_endian(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

/* The last 0..7 bytes, and the length in the top byte: a text and its zero-padded form differ. */
static inline uint64_t last_word(const char *at, size_t n, size_t len)
{
    uint64_t word = (uint64_t)len << 56;
    for (size_t i = 0; i < n; i++) {
        word |= (uint64_t)(uint8_t)at[i] << (8 * i);
    }
    return word;
}

uint64_t hash_bytes(const struct hash_key *key, struct span bytes)
{
    struct sip s = {
        key->k0 ^ UINT64_C(0x736f6d6570736575), /* "somepseudorandomlygeneratedbytes" */
        key->k1 ^ UINT64_C(0x646f72616e646f6d),
        key->k0 ^ UINT64_C(0x6c7967656e657261),
        key->k1 ^ UINT64_C(0x7465646279746573),
    };
    const char *at = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        sip_word(&s, little_endian(word));
    }
    sip_word(&s, last_word(at, left, bytes.len));
    s.v2 ^= 0xFF;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void hmap_init(struct hmap *map, struct hash_key key, hmap_key_fn *key_of)
{
    *map = (struct hmap){.key = key, .key_of = key_of};
}

void hmap_fini(struct hmap *map)
{
    mem_free(map->buckets);
    map->buckets = NULL;
    map->n_buckets = 0;
    map->n_nodes = 0;
}

static inline struct hnode **bucket_of(const struct hmap *map, uint64_t hash)
{
    return &map->buckets[hash & (map->n_buckets - 1)];
}

struct hnode *hmap_find(const struct hmap *map, struct span key)
{
    if (map->n_nodes == 0) {
        return NULL;
    }
    uint64_t hash = hash_bytes(&map->key, key);
    struct hnode *node = *bucket_of(map, hash);
    while (node != NULL && (node->hash != hash || !span_eq(map->key_of(node), key))) {
        node = node->next;
    }
    return node;
}

static inline void link_node(struct hmap *map, struct hnode *node)
{
    struct hnode **bucket = bucket_of(map, node->hash);
    node->next = *bucket;
    *bucket = node;
}

/* False when out of memory; the map is then as it was. */
static bool grow(struct hmap *map)
{
    struct hnode **old = map->buckets;
    size_t n_old = map->n_buckets;
    size_t n_new = n_old != 0 ? n_old * 2 : FIRST_BUCKETS;
    struct hnode **buckets = mem_new(n_new, sizeof(struct hnode *));
    if (buckets == NULL) {
        return false;
    }
    map->buckets = buckets;
    map->n_buckets = n_new;
    for (size_t i = 0; i < n_old; i++) {
        struct hnode *next;
        for (struct hnode *node = old[i]; node != NULL; node = next) {
            next = node->next;
            link_node(map, node);
        }
    }
    mem_free(old);
    return true;
}

enum err hmap_insert(struct hmap *map, struct hnode *node, struct span key)
{
    if (map->n_nodes >= map->n_buckets && !grow(map) && map->n_buckets == 0) {
        return ERR_NOMEM;
    }
    node->hash = hash_bytes(&map->key, key);
    link_node(map, node);
    map->n_nodes++;
    return ERR_OK;
}

void hmap_remove(struct hmap *map, struct hnode *node)
{
    struct hnode **link = bucket_of(map, node->hash);
    while (*link != node) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->n_nodes--;
}

void hmap_each(struct hmap *map, void (*visit)(struct hnode *node, void *ctx), void *ctx)
{
    for (size_t i = 0; i < map->n_buckets; i++) {
        struct hnode *next;
        for (struct hnode *node = map->buckets[i]; node != NULL; node = next) {
            next = node->next;
            visit(node, ctx);
        }
    }
}
