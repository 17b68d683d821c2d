/*
 * ws_frame: see ws_frame.h. One call of ws_parse is one step:
 *
 *   between frames   read a header. Incomplete: nothing is consumed. Control: whole or nothing.
 *                    Data: consumed, and its payload begins.
 *   in a data frame  unmask and check the piece that is there, hand it out.
 *
 * What a header says is judged from its first bytes on, each part as soon as it is there, so that a
 * doubtful peer is told before it has sent the payload. The hot path is a whole text message in one
 * frame: one header, one ws_unmask, one utf8_feed.
 */
#include "wire/ws_frame.h"

#include "base/text.h"

enum {
    BIT_FIN = 0x80,
    BIT_RSV1 = 0x40,
    BITS_RSV23 = 0x30,
    BITS_OPCODE = 0x0f,
    BIT_CONTROL = 0x08, /* of the opcode */
    BIT_MASK = 0x80,
    BITS_LENGTH = 0x7f,
    LENGTH_16 = 126, /* a 16-bit length follows */
    LENGTH_64 = 127, /* a 64-bit length follows */
    MASK_BYTES = 4,
    MAX_CLOSE_CODE = 4999,
};

/* Idle connections are counted in bytes; this one is kept for each. */
_Static_assert(sizeof(struct ws_parser) <= 40, "ws_parser has grown");

struct head {
    uint64_t len;
    size_t bytes; /* size of the header with its key */
    uint8_t opcode;
    bool is_fin;
    bool has_rsv1;
    uint8_t mask[MASK_BYTES];
};

static enum err refuse(struct ws_fault *fault, uint16_t close_code, const char *why)
{
    *fault = (struct ws_fault){close_code, why};
    return ERR_PROTO;
}

static uint8_t byte_at(const char *bytes, size_t i)
{
    return (uint8_t)bytes[i];
}

/* ---- the header ---- */

static enum err check_control(const struct head *head, struct ws_fault *fault)
{
    if (head->opcode > WS_PONG) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "an unknown opcode");
    }
    if (!head->is_fin) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a control frame in fragments");
    }
    if (head->has_rsv1) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "RSV1 on a control frame");
    }
    return head->len <= WS_MAX_CONTROL_PAYLOAD
               ? ERR_OK
               : refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a control frame over 125 bytes");
}

static enum err check_data(const struct ws_parser *parser, const struct ws_limits *limits,
                           const struct head *head, struct ws_fault *fault)
{
    bool is_first = head->opcode != WS_CONTINUATION;

    if (head->opcode > WS_BINARY) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "an unknown opcode");
    }
    if (is_first != (parser->opcode == 0)) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR,
                      is_first ? "a new message inside another" : "a continuation of nothing");
    }
    if (head->has_rsv1 && !(limits->allow_rsv1 && is_first)) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "RSV1 without a meaning here");
    }
    return ERR_OK;
}

/* The two bytes that every frame has. The length in `head` is the 7-bit one after this. */
static enum err check_first_bytes(const struct ws_parser *parser, const struct ws_limits *limits,
                                  const char *bytes, struct head *head, struct ws_fault *fault)
{
    uint8_t first = byte_at(bytes, 0);
    uint8_t second = byte_at(bytes, 1);

    head->opcode = first & BITS_OPCODE;
    head->is_fin = (first & BIT_FIN) != 0;
    head->has_rsv1 = (first & BIT_RSV1) != 0;
    head->len = second & BITS_LENGTH;
    if (UNLIKELY((first & BITS_RSV23) != 0)) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "RSV2 or RSV3 is set");
    }
    if (UNLIKELY((second & BIT_MASK) == 0)) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a frame of a client is not masked");
    }
    return (head->opcode & BIT_CONTROL) != 0 ? check_control(head, fault)
                                             : check_data(parser, limits, head, fault);
}

static uint64_t read_big_endian(const char *bytes, size_t n)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        value = value << 8 | byte_at(bytes, i);
    }
    return value;
}

/* The extended length behind the first two bytes. RFC 6455 5.2: minimal, top bit clear. */
static enum err read_long_length(const char *bytes, size_t len, struct head *head,
                                 struct ws_fault *fault)
{
    bool is_64 = head->len == LENGTH_64;
    size_t n = is_64 ? 8 : 2;

    if (len < 2 + n) {
        return ERR_AGAIN;
    }
    head->len = read_big_endian(bytes + 2, n);
    head->bytes += n;
    if (head->len >> 63 != 0) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "the top bit of a length is set");
    }
    if (head->len < (is_64 ? 65536U : LENGTH_16)) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a length is longer than needed");
    }
    return ERR_OK;
}

/* Limits by the header alone, compared without a sum that could wrap. */
static enum err check_limits(const struct ws_parser *parser, const struct ws_limits *limits,
                             const struct head *head, struct ws_fault *fault)
{
    bool is_compressed = head->opcode == WS_CONTINUATION ? parser->is_compressed : head->has_rsv1;
    uint64_t max_bytes = is_compressed ? limits->max_compressed_bytes : limits->max_message_bytes;

    if (parser->message_bytes > max_bytes || head->len > max_bytes - parser->message_bytes) {
        return refuse(fault, WS_CLOSE_TOO_BIG, "the message is over the limit");
    }
    return parser->n_fragments < limits->max_fragments
               ? ERR_OK
               : refuse(fault, WS_CLOSE_TOO_BIG, "the message has too many fragments");
}

/* ERR_AGAIN: what is there is good so far, but the header is not whole. */
static enum err read_head(const struct ws_parser *parser, const struct ws_limits *limits,
                          const char *bytes, size_t len, struct head *head, struct ws_fault *fault)
{
    if (len < 2) {
        return ERR_AGAIN;
    }
    enum err e = check_first_bytes(parser, limits, bytes, head, fault);
    head->bytes = 2;
    if (e == ERR_OK && head->len >= LENGTH_16) {
        e = read_long_length(bytes, len, head, fault);
    }
    if (e == ERR_OK && (head->opcode & BIT_CONTROL) == 0) {
        e = check_limits(parser, limits, head, fault);
    }
    if (UNLIKELY(e != ERR_OK)) {
        return e;
    }
    if (len < head->bytes + MASK_BYTES) {
        return ERR_AGAIN;
    }
    memcpy(head->mask, bytes + head->bytes, MASK_BYTES);
    head->bytes += MASK_BYTES;
    return ERR_OK;
}

/* ---- control frames ---- */

static enum err read_close(struct ws_parser *parser, struct ws_event *event, struct ws_fault *fault)
{
    struct span payload = event->payload;

    event->close_code = WS_CLOSE_NO_STATUS;
    event->close_reason = SPAN_NONE;
    if (payload.len == 1) {
        return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a Close with half a code");
    }
    if (payload.len >= 2) {
        event->close_code = (uint16_t)read_big_endian(payload.ptr, 2);
        event->close_reason = span_skip(payload, 2);
        if (!ws_close_code_is_valid(event->close_code)) {
            return refuse(fault, WS_CLOSE_PROTOCOL_ERROR, "a Close code that is not for the wire");
        }
        if (!utf8_is_valid(event->close_reason)) {
            return refuse(fault, WS_CLOSE_INVALID_DATA, "a Close reason is not UTF-8");
        }
    }
    parser->is_closed = true;
    return ERR_OK;
}

/* Whole or not at all: what is left unconsumed is left masked too. */
static enum err take_control(struct ws_parser *parser, struct head *head, char *bytes, size_t len,
                             size_t *consumed, struct ws_event *event, struct ws_fault *fault)
{
    size_t payload_len = (size_t)head->len;

    if (len - head->bytes < payload_len) {
        return ERR_OK;
    }
    char *payload = bytes + head->bytes;
    ws_unmask(payload, payload_len, head->mask);
    event->type = WS_EVENT_CONTROL;
    event->opcode = (enum ws_opcode)head->opcode;
    event->payload = span_of(payload, payload_len);
    *consumed = head->bytes + payload_len;
    return head->opcode == WS_CLOSE ? read_close(parser, event, fault) : ERR_OK;
}

/* ---- data frames ---- */

static void begin_data(struct ws_parser *parser, const struct head *head)
{
    if (head->opcode != WS_CONTINUATION) {
        parser->opcode = head->opcode;
        parser->is_compressed = head->has_rsv1;
    }
    parser->in_frame = true;
    parser->is_fin = head->is_fin;
    parser->left = head->len;
    parser->message_bytes += head->len;
    parser->n_fragments++;
    memcpy(parser->mask, head->mask, sizeof parser->mask);
}

static void end_message(struct ws_parser *parser)
{
    parser->opcode = 0;
    parser->utf8 = UTF8_ACCEPT;
    parser->message_bytes = 0;
    parser->n_fragments = 0;
}

static enum err check_text(struct ws_parser *parser, struct span piece, bool is_last,
                           struct ws_fault *fault)
{
    parser->utf8 = utf8_feed(parser->utf8, piece);
    if (UNLIKELY(parser->utf8 == UTF8_REJECT || (is_last && parser->utf8 != UTF8_ACCEPT))) {
        return refuse(fault, WS_CLOSE_INVALID_DATA, "a text message is not UTF-8");
    }
    return ERR_OK;
}

/* The next piece of the frame's payload: `len` bytes are there, perhaps of later frames too. */
static enum err take_data(struct ws_parser *parser, char *bytes, size_t len, size_t *consumed,
                          struct ws_event *event, struct ws_fault *fault)
{
    size_t n = parser->left < len ? (size_t)parser->left : len;

    if (n == 0 && parser->left != 0) {
        return ERR_OK;
    }
    event->type = WS_EVENT_DATA;
    event->opcode = (enum ws_opcode)parser->opcode;
    /* message_bytes counts frames whole: it equals `left` before the first piece and never later.
     */
    event->is_first = parser->n_fragments == 1 && parser->left == parser->message_bytes;
    event->is_compressed = parser->is_compressed;
    event->payload = span_of(bytes, n);
    ws_unmask(bytes, n, parser->mask);
    *consumed += n;
    parser->left -= n;
    parser->in_frame = parser->left != 0;
    event->is_last = parser->left == 0 && parser->is_fin;
    if (parser->opcode == WS_TEXT && !parser->is_compressed) {
        enum err e = check_text(parser, event->payload, event->is_last, fault);
        if (UNLIKELY(e != ERR_OK)) {
            return e;
        }
    }
    if (event->is_last) {
        end_message(parser);
    }
    return ERR_OK;
}

enum err ws_parse(struct ws_parser *parser, const struct ws_limits *limits, char *bytes, size_t len,
                  size_t *consumed, struct ws_event *event, struct ws_fault *fault)
{
    *consumed = 0;
    event->type = WS_EVENT_NONE;
    if (UNLIKELY(parser->is_closed)) {
        *consumed = len;
        return ERR_OK;
    }
    if (!parser->in_frame) {
        struct head head;
        enum err e = read_head(parser, limits, bytes, len, &head, fault);
        if (e != ERR_OK) {
            return e == ERR_AGAIN ? ERR_OK : e;
        }
        if ((head.opcode & BIT_CONTROL) != 0) {
            return take_control(parser, &head, bytes, len, consumed, event, fault);
        }
        begin_data(parser, &head);
        *consumed = head.bytes;
    }
    return take_data(parser, bytes + *consumed, len - *consumed, consumed, event, fault);
}

/* ---- what we send ---- */

static void write_big_endian(char *out, uint64_t value, size_t n)
{
    for (size_t i = n; i > 0; i--) {
        out[i - 1] = (char)(value & 0xff);
        value >>= 8;
    }
}

size_t ws_put_head(char out[WS_MAX_HEAD_BYTES], enum ws_opcode opcode, uint8_t first_bits,
                   uint64_t len)
{
    out[0] = (char)(BIT_FIN | first_bits | (uint8_t)opcode);
    if (len < LENGTH_16) {
        out[1] = (char)len;
        return 2;
    }
    if (len < 65536) {
        out[1] = LENGTH_16;
        write_big_endian(out + 2, len, 2);
        return 4;
    }
    out[1] = LENGTH_64;
    write_big_endian(out + 2, len, 8);
    return WS_MAX_HEAD_BYTES;
}

size_t ws_put_close(char out[WS_MAX_CONTROL_PAYLOAD], uint16_t code, struct span reason)
{
    if (code == WS_CLOSE_NO_STATUS) {
        return 0;
    }
    write_big_endian(out, code, 2);
    size_t n = reason.len;
    if (n > WS_MAX_CLOSE_REASON) {
        n = WS_MAX_CLOSE_REASON;
        while (n > 0 && (byte_at(reason.ptr, n) & 0xc0) == 0x80) {
            n--;
        }
    }
    if (n != 0) {
        memcpy(out + 2, reason.ptr, n);
    }
    return 2 + n;
}

bool ws_close_code_is_valid(unsigned code)
{
    /* 1004 is reserved; 1005, 1006 and 1015 name what never was a Close frame. */
    if (code >= 1000 && code <= 1014) {
        return code < 1004 || code > 1006;
    }
    return code >= 3000 && code <= MAX_CLOSE_CODE;
}

void ws_unmask(char *bytes, size_t len, uint8_t mask[4])
{
    uint8_t twice[2 * MASK_BYTES];
    uint64_t key;
    size_t i = 0;

    memcpy(twice, mask, MASK_BYTES);
    memcpy(twice + MASK_BYTES, mask, MASK_BYTES);
    memcpy(&key, twice, sizeof key);
    for (; i + sizeof key <= len; i += sizeof key) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        word ^= key;
        memcpy(bytes + i, &word, sizeof word);
    }
    for (; i < len; i++) {
        bytes[i] = (char)((uint8_t)bytes[i] ^ mask[i % MASK_BYTES]);
    }
    memcpy(mask, twice + len % MASK_BYTES, MASK_BYTES);
}
