/*
 * http1_body: see http1_body.h. A machine over bytes:
 *
 *   SIZE -> (EXT) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                       | size 0
 *                       v
 *   TRAILER -> NAME -> VALUE -> VALUE_LF -> TRAILER ... -> END_LF -> DONE
 *
 * A body by length is DATA alone, with `is_chunked` told by the state DATA_LENGTH. Nothing is
 * stored; content is handed out as slices of what came in.
 */
#include "wire/http1_body.h"

#include "wire/http1_chars.h"

enum {
    MAX_SIZE_DIGITS = 15
}; /* 60 bits: no shift can overflow (nginx CVE-2013-2028) */

enum state {
    STATE_DONE,        /* nothing more belongs to this message */
    STATE_FAILED,      /* refused; stays so */
    STATE_DATA_LENGTH, /* content of a body by length */
    STATE_SIZE,        /* hex digits of a chunk size */
    STATE_EXT,         /* a chunk extension, read over */
    STATE_SIZE_LF,     /* the LF of the size line */
    STATE_DATA,        /* content of a chunk */
    STATE_DATA_CR,     /* the CR behind a chunk */
    STATE_DATA_LF,     /* its LF */
    STATE_TRAILER,     /* first byte of a trailer line or of the last, blank one */
    STATE_NAME,        /* inside a trailer's name */
    STATE_VALUE,       /* inside its value */
    STATE_VALUE_LF,    /* the LF of a trailer line */
    STATE_END_LF,      /* the LF of the blank line */
};

enum err http1_body_init(struct http1_body *body, enum http1_framing framing,
                         uint64_t content_length, uint64_t max_bytes)
{
    *body = (struct http1_body){.max = max_bytes, .state = STATE_DONE};
    switch (framing) {
    case HTTP1_BODY_NONE:
        break;
    case HTTP1_BODY_CHUNKED:
        body->state = STATE_SIZE;
        break;
    case HTTP1_BODY_LENGTH:
        if (content_length > max_bytes) {
            body->state = STATE_FAILED;
            return ERR_LIMIT;
        }
        body->left = content_length;
        body->state = content_length != 0 ? STATE_DATA_LENGTH : STATE_DONE;
        break;
    }
    return ERR_OK;
}

bool http1_body_is_done(const struct http1_body *body)
{
    return body->state == STATE_DONE;
}

static enum err refuse(struct fault *fault, const char *why)
{
    fault->why = why;
    return ERR_SYNTAX;
}

/* 0 to 15, or 16. */
static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c = span_lower_char(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* The size is whole: is that much allowed? Nothing waits or grows by it. */
static enum err end_size(struct http1_body *body, uint8_t next, struct fault *fault)
{
    if (body->n_digits == 0) {
        return refuse(fault, "a chunk size without digits");
    }
    if (body->left > body->max) {
        fault->why = "the content is over the limit";
        return ERR_LIMIT;
    }
    body->max -= body->left;
    body->state = next;
    return ERR_OK;
}

static enum err take_size_byte(struct http1_body *body, char c, struct fault *fault)
{
    unsigned digit = hex_value(c);

    if (digit < 16) {
        if (body->n_digits == MAX_SIZE_DIGITS) {
            return refuse(fault, "a chunk size of more than 15 digits");
        }
        body->n_digits++;
        body->left = body->left << 4 | digit;
        return ERR_OK;
    }
    if (c == '\r') {
        return end_size(body, STATE_SIZE_LF, fault);
    }
    /* No blanks before ';' either: RFC 9112 7.1.1 calls them bad, and hops differ about them. */
    if (c == ';') {
        return end_size(body, STATE_EXT, fault);
    }
    return refuse(fault, "a chunk size is not hex digits and CRLF");
}

static enum err take_ext_byte(struct http1_body *body, char c, struct fault *fault)
{
    if (c == '\r') {
        body->state = STATE_SIZE_LF;
        return ERR_OK;
    }
    /* An LF alone here ends the line for some parsers and not for others. */
    return http1_char_is(c, HTTP1_CHAR_TEXT) ? ERR_OK
                                             : refuse(fault, "a control byte in a chunk extension");
}

/* Size lines: `line` counts what is before the CR. */
static enum err take_chunk_line_byte(struct http1_body *body, char c, struct fault *fault)
{
    if (body->state == STATE_SIZE_LF) {
        if (c != '\n') {
            return refuse(fault, "CR without LF behind a chunk size");
        }
        body->state = body->left != 0 ? STATE_DATA : STATE_TRAILER;
        body->line = 0;
        body->n_digits = 0;
        return ERR_OK;
    }
    if (c != '\r' && ++body->line > HTTP1_MAX_CHUNK_LINE_BYTES) {
        return refuse(fault, "a chunk line is over the limit");
    }
    return body->state == STATE_SIZE ? take_size_byte(body, c, fault)
                                     : take_ext_byte(body, c, fault);
}

static enum err take_trailer_start(struct http1_body *body, char c, struct fault *fault)
{
    if (c == '\r') {
        body->state = STATE_END_LF;
        return ERR_OK;
    }
    if (!http1_char_is(c, HTTP1_CHAR_TOKEN)) {
        return refuse(fault, "a trailer line does not begin with a name");
    }
    body->state = STATE_NAME;
    return ERR_OK;
}

static enum err take_trailer_name(struct http1_body *body, char c, struct fault *fault)
{
    if (c == ':') {
        body->state = STATE_VALUE;
        return ERR_OK;
    }
    return http1_char_is(c, HTTP1_CHAR_TOKEN)
               ? ERR_OK
               : refuse(fault, "a trailer name is not a token and a colon");
}

static enum err take_trailer_value(struct http1_body *body, char c, struct fault *fault)
{
    if (c == '\r') {
        body->state = STATE_VALUE_LF;
        return ERR_OK;
    }
    return http1_char_is(c, HTTP1_CHAR_TEXT) ? ERR_OK
                                             : refuse(fault, "a control byte in a trailer");
}

/* The LF behind a chunk, a trailer or the end. */
static enum err take_lf(struct http1_body *body, char c, uint8_t next, struct fault *fault)
{
    if (c != '\n') {
        return refuse(fault, "CR without LF");
    }
    body->state = next;
    return ERR_OK;
}

/* `line` counts every byte of the trailers; the blank line is not theirs. */
static enum err take_trailer_byte(struct http1_body *body, char c, struct fault *fault)
{
    if (body->state == STATE_END_LF) {
        return take_lf(body, c, STATE_DONE, fault);
    }
    bool is_blank_line = body->state == STATE_TRAILER && c == '\r';
    if (!is_blank_line && ++body->line > HTTP1_MAX_TRAILER_BYTES) {
        return refuse(fault, "the trailers are over the limit");
    }
    switch (body->state) {
    case STATE_TRAILER:
        return take_trailer_start(body, c, fault);
    case STATE_NAME:
        return take_trailer_name(body, c, fault);
    case STATE_VALUE:
        return take_trailer_value(body, c, fault);
    default:
        return take_lf(body, c, STATE_TRAILER, fault);
    }
}

static enum err take_byte(struct http1_body *body, char c, struct fault *fault)
{
    switch (body->state) {
    case STATE_SIZE:
    case STATE_EXT:
    case STATE_SIZE_LF:
        return take_chunk_line_byte(body, c, fault);
    case STATE_DATA_CR:
        if (c != '\r') {
            return refuse(fault, "a chunk is longer than its size");
        }
        body->state = STATE_DATA_LF;
        return ERR_OK;
    case STATE_DATA_LF:
        return take_lf(body, c, STATE_SIZE, fault);
    default:
        return take_trailer_byte(body, c, fault);
    }
}

static bool is_data(const struct http1_body *body)
{
    return body->state == STATE_DATA || body->state == STATE_DATA_LENGTH;
}

static struct span take_data(struct http1_body *body, struct span in)
{
    size_t n = body->left < in.len ? (size_t)body->left : in.len;

    body->left -= n;
    if (body->left == 0) {
        body->state = body->state == STATE_DATA ? STATE_DATA_CR : STATE_DONE;
    }
    return span_of(in.ptr, n);
}

enum err http1_body_feed(struct http1_body *body, struct span in, size_t *consumed,
                         struct span *content, struct fault *fault)
{
    size_t at = 0;

    *consumed = 0;
    *content = SPAN_NONE;
    if (body->state == STATE_FAILED) {
        return refuse(fault, "the body was refused before");
    }
    while (at < in.len && body->state != STATE_DONE) {
        if (is_data(body)) {
            *content = take_data(body, span_skip(in, at));
            at += content->len;
            break;
        }
        enum err e = take_byte(body, in.ptr[at], fault);
        if (e != ERR_OK) {
            body->state = STATE_FAILED;
            fault->offset = at;
            return e;
        }
        at++;
    }
    *consumed = at;
    return ERR_OK;
}
