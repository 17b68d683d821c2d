/*
 * hixie76: the WebSocket of 2010, draft-hixie-thewebsocketprotocol-76, as pure functions: its
 * opening handshake over a parsed head, the answer to its challenge, and its frames, sans I/O.
 *
 *   message:  0x00, UTF-8, 0xFF        closing handshake: 0xFF 0x00, from either side
 *
 * There are no lengths, no binary, no pings and no codes. The frames with a length that the draft
 * leaves to the future (first byte 0x80 to 0xFE, or 0xFF with anything but 0x00) and the other
 * sentinel frames (0x01 to 0x7F) are refused: no client ever sent one, and a length in 7-bit groups
 * has no end. Text is handed out in the pieces in which it came and checked as UTF-8 piece by
 * piece. Threads: any. Fuzz target: tests/fuzz/hixie76_fuzz.c.
 */
#ifndef POSTERN_WIRE_HIXIE76_H
#define POSTERN_WIRE_HIXIE76_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/http1_head.h"
#include "wire/ws_frame.h"
#include "wire/ws_handshake.h"

enum {
    HIXIE76_NONCE_BYTES = 8,   /* what the client sends behind the head */
    HIXIE76_ANSWER_BYTES = 16, /* what it wants to see behind ours */
    HIXIE76_FRAME_BYTES = 2,   /* around a message */
};

#define HIXIE76_TEXT_BEGIN '\x00'
#define HIXIE76_TEXT_END   '\xff'
#define HIXIE76_CLOSE      SPAN_LIT("\xff\0")

/* Whether the head asks for this protocol: it has Sec-WebSocket-Key1 and -Key2, and no
 * Sec-WebSocket-Version. */
bool hixie76_is_asked(const struct http1_head *head);

/* What the two keys of a head stand for. */
struct hixie76_keys {
    uint32_t numbers[2];
};

struct hixie76_handshake {
    struct hixie76_keys keys;
    struct ws_subprotocols offers;
};

/* Checks a request for an upgrade to this protocol (section 5.2): what ws_handshake_check_upgrade
 * wants, one Sec-WebSocket-Key1 and one -Key2 with a number each, and subprotocols as RFC 6455 has
 * them. ERR_OK: `out` is filled. Else ERR_PROTO, to be answered with 400, and *why, a constant
 * sentence for the body and the log. */
enum err hixie76_check(const struct http1_head *head, struct hixie76_handshake *out,
                       const char **why) MUST_CHECK;
/* The number of one key: its digits, read as one number of at most 32 bits, divided by its blanks.
 * ERR_PROTO: no digit, no blank, a number too large, or one that the blanks do not divide. */
enum err hixie76_key_number(struct span key, uint32_t *out) MUST_CHECK;
/* The MD5 of both numbers, big-endian, and the nonce. */
void hixie76_answer(const struct hixie76_keys *keys, const char nonce[HIXIE76_NONCE_BYTES],
                    char out[HIXIE76_ANSWER_BYTES]);

/* State between reads. A zeroed one is a new connection. */
struct hixie76_parser {
    uint64_t message_bytes; /* of the message that is open, so far */
    uint8_t state;          /* private */
    uint8_t utf8;
};

enum hixie76_event_type {
    HIXIE76_EVENT_NONE, /* all is consumed: read more */
    HIXIE76_EVENT_TEXT, /* a piece of a message, perhaps empty */
    HIXIE76_EVENT_CLOSE,
};

struct hixie76_event {
    enum hixie76_event_type type;
    bool is_first;       /* TEXT: first piece of a message */
    bool is_last;        /* TEXT: the message is whole with this piece */
    struct span payload; /* inside the input; valid as long as the input */
};

/* Reads from `in` until an event or its end. *consumed: bytes used up; call again with the rest
 * until HIXIE76_EVENT_NONE, which leaves nothing. What follows a closing frame is consumed and
 * gives no event. ERR_PROTO: `fault` says which close code the session ends with (1002, 1007, or
 * 1009 for a message of more than `max_message_bytes`); do not call again. */
enum err hixie76_parse(struct hixie76_parser *parser, uint64_t max_message_bytes, struct span in,
                       size_t *consumed, struct hixie76_event *event,
                       struct ws_fault *fault) MUST_CHECK;
/* Whether a frame has begun and not ended. */
bool hixie76_is_in_frame(const struct hixie76_parser *parser);

#endif
