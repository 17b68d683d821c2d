/*
 * link_frame: the handler protocol's frame, `VERB arg... LENGTH\n` + LENGTH bytes + `\n`
 * (handlers/PROTOCOL.md).
 *
 * One reading rule for every verb: the last word of the line is the byte count. The line is at most
 * 1,024 bytes; words are separated by exactly one blank and consist of visible ASCII. Unknown verbs
 * parse like all others (LINK_UNKNOWN) and are skipped by the caller. Payload is raw bytes,
 * untouched. Pure; any thread. Fuzz target: tests/fuzz/link_frame_fuzz.c.
 */
#ifndef POSTERN_WIRE_LINK_FRAME_H
#define POSTERN_WIRE_LINK_FRAME_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* X(NAME), with the direction (H = handler, G = gateway) and the arguments before the length. */
#define LINK_VERB_MAP(X)                                                                           \
    X(HELLO)   /* H>G version */                                                                   \
    X(WELCOME) /* G>H version */                                                                   \
    X(ERROR)   /* both: code */                                                                    \
    X(OPEN)    /* G>H number handle */                                                             \
    X(ACCEPT)  /* H>G handle */                                                                    \
    X(REJECT)  /* H>G handle code */                                                               \
    X(MSG)     /* G>H number handle sequence t|b [again] ; H>G handle t|b */                       \
    X(CLOSE)   /* G>H number handle code */                                                        \
    X(MOVED)   /* G>H number handle */                                                             \
    X(KICK)    /* H>G handle code */                                                               \
    X(STATE)   /* H>G handle */                                                                    \
    X(ACK)     /* H>G number */                                                                    \
    X(DONE)    /* H>G number[-number]... */                                                        \
    X(BATCH)   /* H>G */                                                                           \
    X(PAUSE)   /* G>H handle */                                                                    \
    X(RESUME)  /* G>H handle */                                                                    \
    X(PING)    /* G>H */                                                                           \
    X(PONG)    /* H>G */                                                                           \
    X(DRAIN)   /* both */

enum link_verb_id {
#define X(name) LINK_##name,
    LINK_VERB_MAP(X)
#undef X
    LINK_UNKNOWN
};

/* "MSG" for LINK_MSG; "?" for LINK_UNKNOWN. */
const char *link_verb_name(enum link_verb_id id);

enum {
    LINK_MAX_LINE_BYTES = 1024, /* with its LF */
    LINK_MAX_ARGS = 64,
    LINK_MAX_KIND_CHARS = 8,
};

struct link_verb {
    enum link_verb_id id;
    struct span word; /* the verb as it came */
    uint8_t n_args;   /* without verb and length */
    struct span args[LINK_MAX_ARGS];
    struct span payload;
};

/* Reads one frame at the start of `in`. ERR_OK: `verb` (slices of `in`) and *consumed. ERR_AGAIN:
 * incomplete; *needed is the size of the whole frame, or 0 while the line is not whole. ERR_SYNTAX
 * / ERR_LIMIT (payload over `max_payload`): `fault` has a sentence that tells the handler's author
 * what is wrong. */
enum err link_frame_parse(struct span in, uint64_t max_payload, struct link_verb *verb,
                          size_t *consumed, size_t *needed, struct fault *fault) MUST_CHECK;

/* A numeric argument: decimal without leading zeros, <= max; ERR_SYNTAX else. */
enum err link_arg_u64(struct span arg, uint64_t max, uint64_t *value) MUST_CHECK;

/* Appends `word arg... LENGTH\n payload \n`, whole or not at all. */
enum err link_put(struct buf *out, const char *word, const uint64_t *args, size_t n_args,
                  struct span payload) MUST_CHECK;
/* The hot one: `MSG number handle sequence KIND LENGTH\n` payload `\n`. `kind`: "t" or "b", with
 * " again" behind it for a message that was delivered before; at most LINK_MAX_KIND_CHARS. */
enum err link_put_msg(struct buf *out, uint64_t number, uint32_t handle, uint64_t sequence,
                      struct span kind, struct span payload) MUST_CHECK;
/* The frame that was parsed into `verb`, whose bytes are still there, with `first` in place of its
 * first argument; all else byte for byte. n_args >= 1. */
enum err link_put_forward(struct buf *out, const struct link_verb *verb, uint64_t first) MUST_CHECK;

#endif
