/*
 * ws_deflate: the negotiation of permessage-deflate (RFC 7692 section 7.1) as pure functions over a
 * parsed head. The streams are in ws_inflate and ws_compress.
 *
 * All Sec-WebSocket-Extensions lines of a request are one list of offers (RFC 6455 9.1), judged one
 * by one in the client's order; the first acceptable one is taken. An offer is declined whole, and
 * never fails the handshake, for: another extension, an unknown parameter, a parameter twice, a
 * value on *_no_context_takeover, server_max_window_bits without a value, a window that is not
 * exactly one of 8 to 15 in decimal, and server_max_window_bits=8, which zlib cannot compress with.
 * A line that is no list by the grammar fails it (RFC 6455 9.1: MUST). Two leniencies, both
 * harmless: nothing behind '=' counts as a bad value, and what a quoted string holds need not be a
 * token. Names are compared with case.
 *
 * Linear in the bytes of the fields, which http1_head has bounded; nothing is allocated. Pure; any
 * thread. Fuzz target: tests/fuzz/ws_deflate_fuzz.c.
 */
#ifndef POSTERN_WIRE_WS_DEFLATE_H
#define POSTERN_WIRE_WS_DEFLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/http1_head.h"

enum {
    WS_DEFLATE_MIN_BITS = 9, /* of a window that zlib compresses with */
    WS_DEFLATE_MAX_BITS = 15,
    WS_DEFLATE_ANSWER_BYTES = 160,
};

/* What a mount allows. Immutable; outlives the sessions. */
struct ws_deflate_opts {
    bool allow_takeover;      /* the window may be kept from message to message */
    uint8_t max_window_bits;  /* 9..15: of our window, and of the client's where it lets us ask */
    uint8_t level;            /* zlib's, 1..9 */
    uint32_t threshold_bytes; /* messages below it are not compressed */
};

/* What was agreed for one WebSocket. "server": what we send. All zero: no compression. */
struct ws_deflate_terms {
    bool is_on;
    bool server_takeover;
    bool client_takeover;
    bool names_server_bits; /* the answer has server_max_window_bits: it was asked for */
    uint8_t server_bits;    /* 9..15 */
    uint8_t client_bits;    /* 8..15; in the answer when below 15, since then it was offered */
};

/* Judges the offers of `head`. `opts` NULL: nothing is acceptable, but the grammar counts. ERR_OK:
 * `terms` says what was agreed, perhaps nothing. ERR_SYNTAX: refuse the handshake with 400. */
enum err ws_deflate_negotiate(const struct http1_head *head, const struct ws_deflate_opts *opts,
                              struct ws_deflate_terms *terms) MUST_CHECK;

/* Writes the value of our Sec-WebSocket-Extensions (terms->is_on); returns its size. Takeovers may
 * be taken out of `terms` before: the answer may forbid them unasked (7.1.1). */
size_t ws_deflate_answer(const struct ws_deflate_terms *terms, char out[WS_DEFLATE_ANSWER_BYTES]);

#endif
