/*
 * jsonc: JSON with comments and trailing commas, with the place of every key and value.
 *
 * Three steps over a copy of the text: comments and trailing commas are blanked in place (offsets
 * stay true), an own strict scanner checks every byte and records where each key and value stands,
 * then cJSON parses the same bytes and its nodes are tied to ours. The scanner accepts less than
 * cJSON, so cJSON only ever sees well-formed text of bounded depth (it recurses) and never explains
 * an error. Called by config.c; pure apart from the heap; any thread.
 */
#ifndef POSTERN_SERVER_JSONC_H
#define POSTERN_SERVER_JSONC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "server/config_report.h"

enum {
    JSONC_MAX_BYTES = 1 << 20,
    JSONC_MAX_DEPTH = 32,        /* nested arrays and objects: our stack and that of cJSON */
    JSONC_MAX_VALUES = 16384,    /* values in one text: the search for double keys is quadratic */
    JSONC_MAX_NUMBER_BYTES = 63, /* cJSON cuts longer numbers silently */
};

struct cJSON;

struct jsonc_node {
    const struct cJSON *item;  /* the value: its type, and its string with escapes decoded */
    struct config_place key;   /* with its quotes; len 0 when there is none */
    struct config_place value; /* strings with their quotes; of an array or object the bracket */
    uint32_t first_child;      /* index into nodes, 0 = none */
    uint32_t next;             /* the next in the same array or object, 0 = none */
};

struct jsonc {
    struct cJSON *root;
    struct jsonc_node *nodes; /* nodes[0] is the whole value */
    size_t n_nodes;
    size_t cap_nodes;
};

/* Parses report->text. ERR_OK: `doc` is whole, jsonc_fini it; there may still be problems in the
 * report (a key that stands twice), so that the caller can look for more. ERR_CONFIG: not
 * well-formed, the report says where, nothing to free. ERR_NOMEM: nothing to free. */
enum err jsonc_parse(struct jsonc *doc, struct config_report *report) MUST_CHECK;
void jsonc_fini(struct jsonc *doc);

/* NULL at the end. Valid until jsonc_fini. */
static inline const struct jsonc_node *jsonc_first(const struct jsonc *doc,
                                                   const struct jsonc_node *parent)
{
    return parent->first_child != 0 ? &doc->nodes[parent->first_child] : NULL;
}

static inline const struct jsonc_node *jsonc_next(const struct jsonc *doc,
                                                  const struct jsonc_node *node)
{
    return node->next != 0 ? &doc->nodes[node->next] : NULL;
}

/* How many children an array or object has. */
size_t jsonc_count(const struct jsonc *doc, const struct jsonc_node *parent);
/* The child of an object with this key; NULL when there is none. */
const struct jsonc_node *jsonc_find(const struct jsonc *doc, const struct jsonc_node *object,
                                    const char *key);

#endif
