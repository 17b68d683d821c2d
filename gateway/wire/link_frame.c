/*
 * link_frame: see link_frame.h. One pass over the line finds its words; the length is read from the
 * last one; the payload is only measured. The caller keeps what is not whole and comes again, so an
 * unfinished line is read again from its start: at most 1,024 bytes, from a handler that we start.
 */
#include "wire/link_frame.h"

#include "base/text.h"

/* "MSG number handle sequence kind LENGTH\n", each word at its longest. */
enum {
    MSG_LINE_BYTES = 4 + (DECIMAL_MAX_CHARS + 1) * 4 + LINK_MAX_KIND_CHARS + 1 + 1
};

_Static_assert(LINK_MAX_ARGS <= UINT8_MAX, "n_args is one byte");

static const char *const verb_names[] = {
#define X(name) #name,
    LINK_VERB_MAP(X)
#undef X
};

const char *link_verb_name(enum link_verb_id id)
{
    return (unsigned)id < LINK_UNKNOWN ? verb_names[id] : "?";
}

/* ---- reading ---- */

static enum link_verb_id verb_of_4(const char *word)
{
    if (memcmp(word, "DONE", 4) == 0) {
        return LINK_DONE;
    }
    if (memcmp(word, "OPEN", 4) == 0) {
        return LINK_OPEN;
    }
    if (memcmp(word, "KICK", 4) == 0) {
        return LINK_KICK;
    }
    if (memcmp(word, "PING", 4) == 0) {
        return LINK_PING;
    }
    return memcmp(word, "PONG", 4) == 0 ? LINK_PONG : LINK_UNKNOWN;
}

static enum link_verb_id verb_of_5(const char *word)
{
    if (memcmp(word, "BATCH", 5) == 0) {
        return LINK_BATCH;
    }
    if (memcmp(word, "CLOSE", 5) == 0) {
        return LINK_CLOSE;
    }
    if (memcmp(word, "STATE", 5) == 0) {
        return LINK_STATE;
    }
    if (memcmp(word, "PAUSE", 5) == 0) {
        return LINK_PAUSE;
    }
    if (memcmp(word, "HELLO", 5) == 0) {
        return LINK_HELLO;
    }
    if (memcmp(word, "ERROR", 5) == 0) {
        return LINK_ERROR;
    }
    if (memcmp(word, "DRAIN", 5) == 0) {
        return LINK_DRAIN;
    }
    return memcmp(word, "MOVED", 5) == 0 ? LINK_MOVED : LINK_UNKNOWN;
}

static enum link_verb_id verb_of_6(const char *word)
{
    if (memcmp(word, "ACCEPT", 6) == 0) {
        return LINK_ACCEPT;
    }
    if (memcmp(word, "REJECT", 6) == 0) {
        return LINK_REJECT;
    }
    return memcmp(word, "RESUME", 6) == 0 ? LINK_RESUME : LINK_UNKNOWN;
}

static enum link_verb_id verb_of(struct span word)
{
    switch (word.len) {
    case 3:
        if (LIKELY(memcmp(word.ptr, "MSG", 3) == 0)) {
            return LINK_MSG;
        }
        return memcmp(word.ptr, "ACK", 3) == 0 ? LINK_ACK : LINK_UNKNOWN;
    case 4:
        return verb_of_4(word.ptr);
    case 5:
        return verb_of_5(word.ptr);
    case 6:
        return verb_of_6(word.ptr);
    case 7:
        return memcmp(word.ptr, "WELCOME", 7) == 0 ? LINK_WELCOME : LINK_UNKNOWN;
    default:
        return LINK_UNKNOWN;
    }
}

static enum err refuse(struct fault *fault, size_t offset, const char *why)
{
    *fault = (struct fault){offset, why};
    return ERR_SYNTAX;
}

/* Decimal digits without leading zeros and with a value <= max: ERR_SYNTAX for other bytes,
 * ERR_LIMIT above. One form for each number keeps transcripts comparable byte by byte. */
static inline enum err read_decimal(struct span digits, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;

    bool has_leading_zero = digits.len > 1 && digits.ptr[0] == '0';
    if (UNLIKELY(digits.len == 0 || digits.len > DECIMAL_MAX_CHARS || has_leading_zero)) {
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(unsigned char)digits.ptr[i] - '0';
        if (UNLIKELY(digit > 9)) {
            return ERR_SYNTAX;
        }
        if (UNLIKELY(sum > (UINT64_MAX - digit) / 10)) {
            return ERR_LIMIT;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return sum <= max ? ERR_OK : ERR_LIMIT;
}

static enum err bad_line_byte(const char *at, const char *line, char c, struct fault *fault)
{
    size_t offset = (size_t)(at - line);

    if (c == '\r') {
        return refuse(fault, offset, "the line has a CR; it must end in LF alone");
    }
    return refuse(fault, offset, "the line has a byte that is not visible ASCII");
}

/* Finds the words. *length is the last one, *line_len the size of the line with its LF; 0 before.
 */
static enum err read_line(struct span in, struct link_verb *verb, struct span *length,
                          size_t *line_len, struct fault *fault)
{
    const char *line = in.ptr;
    const char *end = line + (in.len < LINK_MAX_LINE_BYTES ? in.len : LINK_MAX_LINE_BYTES);
    const char *word = line;
    size_t n_words = 0;

    for (const char *at = line; at != end; at++) {
        unsigned char c = (unsigned char)*at;
        if (LIKELY(c > ' ' && c < 0x7f)) {
            continue;
        }
        if (UNLIKELY(c != ' ' && c != '\n')) {
            return bad_line_byte(at, line, *at, fault);
        }
        if (UNLIKELY(at == word)) {
            return refuse(fault, (size_t)(at - line), "words must have exactly one blank between");
        }
        if (c == '\n') {
            *length = span_of(word, (size_t)(at - word));
            *line_len = (size_t)(at - line) + 1;
            break;
        }
        if (n_words == 0) {
            verb->word = span_of(word, (size_t)(at - word));
        } else if (LIKELY(n_words <= LINK_MAX_ARGS)) {
            verb->args[n_words - 1] = span_of(word, (size_t)(at - word));
        } else {
            return refuse(fault, (size_t)(word - line), "the line has too many words");
        }
        n_words++;
        word = at + 1;
    }
    if (UNLIKELY(*line_len == 0)) {
        return in.len < LINK_MAX_LINE_BYTES
                   ? ERR_AGAIN
                   : refuse(fault, LINK_MAX_LINE_BYTES, "the line is over 1024 bytes");
    }
    if (UNLIKELY(n_words == 0)) {
        return refuse(fault, 0, "the line must end in the payload's length");
    }
    verb->n_args = (uint8_t)(n_words - 1);
    return ERR_OK;
}

/* The last word: a sentence for each way to get it wrong. */
static enum err read_length(struct span word, size_t offset, uint64_t max, size_t *length,
                            struct fault *fault)
{
    uint64_t value = 0;
    /* What a frame's size can count; a configured limit is far below. */
    uint64_t ceiling = SIZE_MAX - LINK_MAX_LINE_BYTES - 1;

    enum err e = read_decimal(word, max < ceiling ? max : ceiling, &value);
    *length = (size_t)value;
    if (LIKELY(e == ERR_OK)) {
        return ERR_OK;
    }
    *fault = (struct fault){offset, e == ERR_LIMIT
                                        ? "the payload's length is over the limit of this link"
                                        : "the last word must be the payload's length in digits"};
    return e;
}

enum err link_frame_parse(struct span in, uint64_t max_payload, struct link_verb *verb,
                          size_t *consumed, size_t *needed, struct fault *fault)
{
    struct span word;
    size_t line_len = 0;
    size_t length;

    *consumed = 0;
    *needed = 0;
    enum err e = read_line(in, verb, &word, &line_len, fault);
    if (e != ERR_OK) {
        return e;
    }
    e = read_length(word, (size_t)(word.ptr - in.ptr), max_payload, &length, fault);
    if (UNLIKELY(e != ERR_OK)) {
        return e;
    }
    size_t total = line_len + length + 1;
    if (in.len < total) {
        *needed = total;
        return ERR_AGAIN;
    }
    if (UNLIKELY(in.ptr[total - 1] != '\n')) {
        return refuse(fault, total - 1, "no LF behind the payload; is its length in bytes right?");
    }
    verb->id = verb_of(verb->word);
    verb->payload = span_of(in.ptr + line_len, length);
    *consumed = total;
    return ERR_OK;
}

enum err link_arg_u64(struct span arg, uint64_t max, uint64_t *value)
{
    return read_decimal(arg, max, value) == ERR_OK ? ERR_OK : ERR_SYNTAX;
}

/* ---- writing ---- */

static enum err put_frame(struct buf *out, struct span line, struct span payload)
{
    size_t total = line.len + payload.len + 1;

    char *to = buf_reserve(out, total);
    if (UNLIKELY(to == NULL)) {
        return total > buf_room(out) ? ERR_LIMIT : ERR_NOMEM;
    }
    memcpy(to, line.ptr, line.len);
    if (payload.len != 0) {
        memcpy(to + line.len, payload.ptr, payload.len);
    }
    to[total - 1] = '\n';
    buf_commit(out, total);
    return ERR_OK;
}

/* Writes the digits of `value` so that they end before `at`; returns where they begin. Lines are
 * built from their end: digits come out in that order, so nothing is moved. */
static char *put_digits(char *at, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";

    while (value >= 100) {
        at -= 2;
        memcpy(at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(at, pairs + value * 2, 2);
        return at;
    }
    *--at = (char)('0' + value);
    return at;
}

/* " value" before `at`. */
static char *put_number(char *at, uint64_t value)
{
    at = put_digits(at, value);
    *--at = ' ';
    return at;
}

enum err link_put(struct buf *out, const char *word, const uint64_t *args, size_t n_args,
                  struct span payload)
{
    char line[LINK_MAX_LINE_BYTES];
    char *end = line + sizeof line;
    struct span name = span_str(word);

    if (n_args > LINK_MAX_ARGS) {
        return ERR_LIMIT;
    }
    char *at = end;
    *--at = '\n';
    at = put_number(at, payload.len);
    for (size_t i = n_args; i > 0; i--) {
        if (at - line < 1 + DECIMAL_MAX_CHARS) {
            return ERR_LIMIT;
        }
        at = put_number(at, args[i - 1]);
    }
    if ((size_t)(at - line) < name.len) {
        return ERR_LIMIT;
    }
    at -= name.len;
    memcpy(at, name.ptr, name.len);
    return put_frame(out, span_of(at, (size_t)(end - at)), payload);
}

enum err link_put_msg(struct buf *out, uint64_t number, uint32_t handle, uint64_t sequence,
                      struct span kind, struct span payload)
{
    char line[MSG_LINE_BYTES];
    char *end = line + sizeof line;

    char *at = end;
    *--at = '\n';
    at = put_number(at, payload.len);
    at -= kind.len;
    memcpy(at, kind.ptr, kind.len);
    *--at = ' ';
    at = put_number(at, sequence);
    at = put_number(at, handle);
    at = put_number(at, number);
    at -= 3;
    at[0] = 'M';
    at[1] = 'S';
    at[2] = 'G';
    return put_frame(out, span_of(at, (size_t)(end - at)), payload);
}

enum err link_put_forward(struct buf *out, const struct link_verb *verb, uint64_t first)
{
    char number[1 + DECIMAL_MAX_CHARS];
    char *end = number + sizeof number;
    const char *digits = put_number(end, first);
    /* The rest of the line, the payload and its LF lie in one piece. */
    const char *rest = verb->args[0].ptr + verb->args[0].len;
    size_t n_digits = (size_t)(end - digits);
    size_t n_rest = (size_t)(verb->payload.ptr + verb->payload.len + 1 - rest);
    size_t total = verb->word.len + n_digits + n_rest;

    char *to = buf_reserve(out, total);
    if (UNLIKELY(to == NULL)) {
        return total > buf_room(out) ? ERR_LIMIT : ERR_NOMEM;
    }
    memcpy(to, verb->word.ptr, verb->word.len);
    memcpy(to + verb->word.len, digits, n_digits);
    memcpy(to + verb->word.len + n_digits, rest, n_rest);
    buf_commit(out, total);
    return ERR_OK;
}
