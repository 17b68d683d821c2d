/* hixie76: see hixie76.h. The sections are those of draft-hixie-thewebsocketprotocol-76. */
/* MD5_Init and its kin cannot fail, as said of SHA1_Init in ws_handshake.c. The draft wants MD5,
 * and nothing is kept secret by it. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "wire/hixie76.h"

#include <openssl/md5.h>

#include "base/text.h"

enum state {
    BETWEEN_FRAMES,
    IN_TEXT,
    IN_CLOSE, /* 0xFF has come */
    CLOSED,
};

/* ---- handshake ---- */

bool hixie76_is_asked(const struct http1_head *head)
{
    return http1_field_find(head, SPAN_LIT("sec-websocket-key1")) != NULL &&
           http1_field_find(head, SPAN_LIT("sec-websocket-key2")) != NULL &&
           http1_field_find(head, SPAN_LIT("sec-websocket-version")) == NULL;
}

enum err hixie76_key_number(struct span key, uint32_t *out)
{
    uint64_t number = 0;
    uint32_t n_digits = 0;
    uint32_t n_blanks = 0;

    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (c == ' ') {
            n_blanks++;
        } else if (c >= '0' && c <= '9') {
            n_digits++;
            number = number * 10 + (uint64_t)(c - '0');
        }
        if (number > UINT32_MAX) {
            return ERR_PROTO;
        }
    }
    if (n_digits == 0 || n_blanks == 0 || number % n_blanks != 0) {
        return ERR_PROTO;
    }
    *out = (uint32_t)(number / n_blanks);
    return ERR_OK;
}

enum err hixie76_check(const struct http1_head *head, struct hixie76_handshake *out,
                       const char **why)
{
    static const struct span names[] = {SPAN_LIT_INIT("sec-websocket-key1"),
                                        SPAN_LIT_INIT("sec-websocket-key2")};
    unsigned status = 0;
    enum err e = ws_handshake_check_upgrade(head, &status, why);
    if (e != ERR_OK) {
        return e;
    }
    for (size_t i = 0; i < 2; i++) {
        const struct http1_field *key = http1_field_only(head, names[i]);
        if (key == NULL || hixie76_key_number(key->value, &out->keys.numbers[i]) != ERR_OK) {
            *why = "One Sec-WebSocket-Key1 and -Key2 are needed, with a number that its blanks "
                   "divide.";
            return ERR_PROTO;
        }
    }
    if (ws_subprotocols_read(head, &out->offers) != ERR_OK) {
        *why = "Sec-WebSocket-Protocol is a list of different tokens.";
        return ERR_PROTO;
    }
    return ERR_OK;
}

static void put_big_endian(unsigned char out[4], uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (unsigned char)(value >> (24 - 8 * i));
    }
}

void hixie76_answer(const struct hixie76_keys *keys, const char nonce[HIXIE76_NONCE_BYTES],
                    char out[HIXIE76_ANSWER_BYTES])
{
    MD5_CTX md5;
    unsigned char numbers[8];
    put_big_endian(numbers, keys->numbers[0]);
    put_big_endian(numbers + 4, keys->numbers[1]);
    (void)MD5_Init(&md5);
    (void)MD5_Update(&md5, numbers, sizeof numbers);
    (void)MD5_Update(&md5, nonce, HIXIE76_NONCE_BYTES);
    (void)MD5_Final((unsigned char *)out, &md5);
}

/* ---- frames ---- */

static enum err refuse(struct ws_fault *fault, unsigned code, const char *why)
{
    *fault = (struct ws_fault){(uint16_t)code, why};
    return ERR_PROTO;
}

/* The first byte of a frame. */
static enum err begin_frame(struct hixie76_parser *parser, char type, struct ws_fault *fault)
{
    if (type == HIXIE76_TEXT_BEGIN) {
        parser->state = IN_TEXT;
        parser->message_bytes = 0;
        parser->utf8 = UTF8_ACCEPT;
        return ERR_OK;
    }
    if (type == HIXIE76_CLOSE.ptr[0]) {
        parser->state = IN_CLOSE;
        return ERR_OK;
    }
    return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a frame is not text");
}

/* The next piece of a message: `in` is not empty, and may go on with other frames. */
static enum err take_text(struct hixie76_parser *parser, uint64_t max_bytes, struct span in,
                          size_t *consumed, struct hixie76_event *event, struct ws_fault *fault)
{
    /* No valid UTF-8 has a byte 0xFF in it. */
    size_t n = span_find(in, HIXIE76_TEXT_END);
    bool is_last = n != in.len;
    uint64_t room = max_bytes - parser->message_bytes;
    bool is_too_big = n > room;
    if (is_too_big) { /* which fault it is must not depend on the cut: the first one in the text */
        n = (size_t)room;
        is_last = false;
    }
    *event = (struct hixie76_event){.type = HIXIE76_EVENT_TEXT,
                                    .is_first = parser->message_bytes == 0,
                                    .is_last = is_last,
                                    .payload = span_of(in.ptr, n)};
    parser->message_bytes += n;
    parser->utf8 = utf8_feed(parser->utf8, event->payload);
    if (parser->utf8 == UTF8_REJECT || (is_last && parser->utf8 != UTF8_ACCEPT)) {
        return refuse(fault, WS_CLOSE_INVALID_DATA, "a text message is not UTF-8");
    }
    if (is_too_big) {
        return refuse(fault, WS_CLOSE_TOO_BIG, "the message is over the limit");
    }
    if (is_last) {
        parser->state = BETWEEN_FRAMES;
    }
    *consumed += n + (is_last ? 1 : 0);
    return ERR_OK;
}

enum err hixie76_parse(struct hixie76_parser *parser, uint64_t max_message_bytes, struct span in,
                       size_t *consumed, struct hixie76_event *event, struct ws_fault *fault)
{
    *consumed = 0;
    *event = (struct hixie76_event){.type = HIXIE76_EVENT_NONE};
    while (*consumed < in.len) {
        struct span rest = span_skip(in, *consumed);
        switch ((enum state)parser->state) {
        case IN_TEXT:
            return take_text(parser, max_message_bytes, rest, consumed, event, fault);
        case BETWEEN_FRAMES:
            if (begin_frame(parser, rest.ptr[0], fault) != ERR_OK) {
                return ERR_PROTO;
            }
            *consumed += 1;
            break;
        case IN_CLOSE:
            if (rest.ptr[0] != HIXIE76_CLOSE.ptr[1]) {
                return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a frame has a length");
            }
            parser->state = CLOSED;
            *consumed = in.len;
            event->type = HIXIE76_EVENT_CLOSE;
            return ERR_OK;
        case CLOSED:
            *consumed = in.len;
            break;
        }
    }
    return ERR_OK;
}

bool hixie76_is_in_frame(const struct hixie76_parser *parser)
{
    return parser->state == IN_TEXT || parser->state == IN_CLOSE;
}
