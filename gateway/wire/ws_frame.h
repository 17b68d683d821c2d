/*
 * ws_frame: the RFC 6455 frame layer of a server, sans I/O: bytes in, events out; and the encoder.
 *
 * The header is checked once, whole, before any payload: mask bit, RSV bits, opcode, fragmentation
 * order, FIN and 125 on control frames, minimal length, top bit, limits. Nothing is allocated and
 * nothing waits for a declared length. Payload is unmasked in place in the receive buffer and
 * handed out in the pieces in which it came; text is checked as UTF-8 piece by piece and fails
 * inside a frame. Control frames may lie between fragments. An unfinished header or control frame
 * (at most WS_MAX_LOOKAHEAD bytes) is left unconsumed. Pure; any thread. Fuzz target:
 * tests/fuzz/ws_frame_fuzz.c.
 */
#ifndef POSTERN_WIRE_WS_FRAME_H
#define POSTERN_WIRE_WS_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xa,
};

/* Close codes of RFC 6455 7.4.1 that we send or name. */
enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NO_STATUS = 1005, /* never on the wire: the peer's Close had no body */
    WS_CLOSE_ABNORMAL = 1006,  /* never on the wire: no Close came */
    WS_CLOSE_INVALID_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_AGAIN = 1013,
};

enum {
    WS_MAX_CONTROL_PAYLOAD = 125,
    WS_MAX_LOOKAHEAD = 14 + WS_MAX_CONTROL_PAYLOAD,
    WS_MAX_HEAD_BYTES = 10,  /* of a frame that we send (unmasked) */
    WS_LEAST_HEAD_BYTES = 2, /* likewise: of every control frame */
    WS_MAX_CLOSE_REASON = 123,
};

struct ws_limits {
    uint64_t max_message_bytes; /* over it: 1009 from the header alone */
    uint32_t max_fragments;     /* frames of one message; over it: 1009 (memory per tiny frame) */
    /* permessage-deflate was negotiated: RSV1 may be set on the first frame of a message, which is
     * compressed then: its text is checked after inflating, by another room. */
    bool allow_rsv1;
    uint64_t max_compressed_bytes; /* of such a message, on the wire */
};

/* State between reads; 40 bytes or less. A zeroed one is a new connection. */
struct ws_parser {
    uint64_t left;          /* payload bytes of the present data frame still to come */
    uint64_t message_bytes; /* payload bytes of the present message, over all its frames */
    uint32_t n_fragments;
    uint8_t mask[4]; /* rotated to the next payload byte */
    uint8_t opcode;  /* of the present message: WS_TEXT or WS_BINARY; 0 = none is open */
    uint8_t utf8;
    bool in_frame;
    bool is_fin;        /* of the present data frame */
    bool is_compressed; /* RSV1 was set on the first frame */
    bool is_closed;     /* a Close was seen: everything after it is discarded */
};

enum ws_event_type {
    WS_EVENT_NONE,    /* everything usable was consumed: read more */
    WS_EVENT_DATA,    /* a piece of a data message */
    WS_EVENT_CONTROL, /* a whole ping, pong or close */
};

struct ws_event {
    enum ws_event_type type;
    enum ws_opcode opcode; /* DATA: WS_TEXT or WS_BINARY of the message; CONTROL: which */
    bool is_first;         /* DATA: first piece of a message */
    bool is_last;          /* DATA: the message is whole with this piece (which may be empty) */
    bool is_compressed;    /* DATA */
    struct span payload;   /* unmasked, inside the input; valid as long as the input */
    uint16_t close_code;   /* CONTROL WS_CLOSE: the code, or WS_CLOSE_NO_STATUS */
    struct span close_reason;
};

struct ws_fault {
    uint16_t close_code; /* what to send: 1002, 1007 or 1009 */
    const char *why;
};

/* Reads from `bytes` (which is changed: unmasked in place) until an event or the end of what is
 * usable. *consumed: bytes used up; call again with the rest until WS_EVENT_NONE (then fewer than
 * WS_MAX_LOOKAHEAD are left). A piece may be empty: an empty frame gives one. ERR_PROTO: `fault`
 * says which close code to send; do not call again. */
enum err ws_parse(struct ws_parser *parser, const struct ws_limits *limits, char *bytes, size_t len,
                  size_t *consumed, struct ws_event *event, struct ws_fault *fault) MUST_CHECK;

/* Writes an unmasked, final frame head for a payload of `len` bytes; returns its size (2, 4 or 10).
 * `first_bits`: 0, or 0x40 for RSV1. */
size_t ws_put_head(char out[WS_MAX_HEAD_BYTES], enum ws_opcode opcode, uint8_t first_bits,
                   uint64_t len);
/* Writes the payload of a Close frame: code and reason, cut at 123 bytes on a character boundary;
 * code WS_CLOSE_NO_STATUS gives an empty payload. Returns its size, 0..125. */
size_t ws_put_close(char out[WS_MAX_CONTROL_PAYLOAD], uint16_t code, struct span reason);
/* Whether a peer or an application may send `code` in a Close frame (RFC 6455 7.4). */
bool ws_close_code_is_valid(unsigned code);

/* XORs `len` bytes with the key rotated to its first byte, 8 bytes at a time; rotates `mask` on. */
void ws_unmask(char *bytes, size_t len, uint8_t mask[4]);

#endif
