/*
 * ws_inflate: the receiving side of permessage-deflate (RFC 7692 7.2.2), sans I/O: the pieces of
 * compressed messages in, inflated bytes out in steps of at most 16 KiB.
 *
 * Each step is judged at once: text as UTF-8 (1007 at the first bad byte, long before the message's
 * end), and the sum against the limit (1009), so that a bomb costs one step beyond it. Any blocks
 * are taken, also final ones (BFINAL): behind one the next begins, and may still refer back. Since
 * that costs a copy of the window, final blocks must be worth it: 16 and one for each 256 bytes;
 * more is 1008. What is no DEFLATE data or ends inside a block is 1007; a message without any byte,
 * and one that ends with a final block and without the empty one that should follow, are let pass;
 * so is a distance beyond the agreed window where it lies within one step (zlib's way; else 1007).
 * Without takeover a stream is on loan from the first piece to the last; when the budget has none,
 * the WebSocket must end (1013), as this message cannot be read and the next may not overtake it.
 * What is inflated before a message's end is gathered by the caller, and counts in the budget until
 * then: a kilobyte on the wire may not pin a megabyte each on many sessions. (1013 too.)
 * Threads: the owning worker. Fuzz target: tests/fuzz/ws_inflate_fuzz.c.
 */
#ifndef POSTERN_WIRE_WS_INFLATE_H
#define POSTERN_WIRE_WS_INFLATE_H

#include "wire/ws_deflate_pool.h"
#include "wire/ws_frame.h"

struct ws_inflate {
    struct ws_deflate_pool *pool;
    struct ws_stream *stream; /* NULL: on the first use one is borrowed or made */
    uint64_t max_bytes;
    uint64_t in_bytes;   /* of the present message, compressed, so far */
    uint64_t out_bytes;  /* inflated */
    size_t held_bytes;   /* of it, handed out before the end: counted in the pool's budget */
    uint32_t n_finals;   /* final blocks of it */
    uint8_t window_bits; /* of the stream, 9..15 */
    uint8_t utf8;
    uint8_t n_tail;      /* of the four bytes that the sender left out: how many are fed */
    bool keeps_window;   /* context takeover: the stream stays */
    bool has_begun;      /* something was read since the message's begin, or its last final block */
    bool is_at_boundary; /* between two blocks, on a byte */
    bool has_more;       /* the last step was full */
};

/* `max_bytes`: of an inflated message. The pool outlives it. */
void ws_inflate_init(struct ws_inflate *reader, struct ws_deflate_pool *pool,
                     const struct ws_deflate_terms *terms, uint64_t max_bytes);
void ws_inflate_fini(struct ws_inflate *reader);

/* Inflates from `in`, which is what is left of event->payload (a WS_EVENT_DATA, compressed) and is
 * moved on. *out: the next bytes of the message, perhaps none, valid until any ws_inflate_step of
 * the worker. ERR_AGAIN: call again with the same event. ERR_OK: the piece is used up, and with
 * event->is_last the message is whole. Else `fault` says which Close to send: ERR_SYNTAX (1007),
 * ERR_DENIED (1008), ERR_LIMIT (1009 or 1013), ERR_NOMEM (1011); do not call again. */
enum err ws_inflate_step(struct ws_inflate *reader, const struct ws_event *event, struct span *in,
                         struct span *out, struct ws_fault *fault) MUST_CHECK;

#endif
