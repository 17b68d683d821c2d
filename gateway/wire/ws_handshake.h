/*
 * ws_handshake: the opening handshake of RFC 6455 section 4.2 as pure functions over a parsed head.
 * Linear in the size of the head. Threads: any. Fuzz target: tests/fuzz/ws_handshake_fuzz.c.
 */
#ifndef POSTERN_WIRE_WS_HANDSHAKE_H
#define POSTERN_WIRE_WS_HANDSHAKE_H

#include "base/err.h"
#include "wire/http1_head.h"

enum {
    WS_ACCEPT_CHARS = 28,
    WS_MAX_SUBPROTOCOLS = 32, /* offered by one request; unique is tested each against each */
};

/* What a client offers in Sec-WebSocket-Protocol: unique tokens in its order of preference, all
 * field lines one list (RFC 6455 11.3.4). Slices of the head. */
struct ws_subprotocols {
    size_t n;
    struct span names[WS_MAX_SUBPROTOCOLS];
};

struct ws_handshake {
    char accept[WS_ACCEPT_CHARS]; /* value of Sec-WebSocket-Accept */
    struct ws_subprotocols offers;
};

/* The part of the check that no version of the protocol differs in: a GET of HTTP/1.1 without a
 * body, whose Upgrade has "websocket" and Connection the token "upgrade". Results as below; *status
 * is 400 or 405. */
enum err ws_handshake_check_upgrade(const struct http1_head *head, unsigned *status,
                                    const char **why) MUST_CHECK;

/* Checks a GET request for an RFC 6455 upgrade: HTTP/1.1, no body, Upgrade has "websocket",
 * Connection the token "upgrade", both well-formed lists over all their field lines, one
 * Sec-WebSocket-Version, one Sec-WebSocket-Key of 16 bytes in base64, subprotocols as above. In
 * this order, so that a client of another version hears of that and not of a key that it does not
 * know. ERR_OK: `out` is filled. Else ERR_PROTO and *status: 400, 405 for another method than GET
 * (answer with `Allow: GET`), or 426 for a version other than 13 (answer with
 * `Sec-WebSocket-Version: 13`); *why a constant sentence for the body and the log. */
enum err ws_handshake_check(const struct http1_head *head, struct ws_handshake *out,
                            unsigned *status, const char **why) MUST_CHECK;

/* Reads the offers alone. ERR_SYNTAX: one is no token, or comes twice; ERR_LIMIT: too many. */
enum err ws_subprotocols_read(const struct http1_head *head,
                              struct ws_subprotocols *out) MUST_CHECK;
/* The first offer that is one of `names` (case counts: RFC 6455 1.9), as a slice of `names`; empty
 * when there is none. */
struct span ws_subprotocols_choose(const struct ws_subprotocols *offers, const char *const *names,
                                   size_t n_names);

#endif
