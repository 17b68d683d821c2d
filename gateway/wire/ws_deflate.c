/*
 * ws_deflate: see ws_deflate.h. A line is read with a cursor, `rest`, over
 *
 *   extension-list  = 1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )
 *
 * with blanks around the marks and with empty items (RFC 9110 5.6.1.2). The whole line is read even
 * when an offer was taken: whether the handshake fails does not depend on what we like.
 */
#include "wire/ws_deflate.h"

#include <stdio.h>

#include "wire/http1_chars.h"

enum {
    VALUE_CHARS = 2, /* no value that we know is longer */
    LEAST_OFFERED_BITS = 8,
};

/* What stands behind a parameter's '='. */
struct value {
    bool is_given;
    size_t len;             /* unescaped */
    char text[VALUE_CHARS]; /* its first ones */
};

enum param {
    SERVER_NO_TAKEOVER = 1 << 0,
    CLIENT_NO_TAKEOVER = 1 << 1,
    SERVER_BITS = 1 << 2,
    CLIENT_BITS = 1 << 3,
};

static const struct {
    struct span name;
    enum param param;
} params[] = {
    {SPAN_LIT_INIT("server_no_context_takeover"), SERVER_NO_TAKEOVER},
    {SPAN_LIT_INIT("client_no_context_takeover"), CLIENT_NO_TAKEOVER},
    {SPAN_LIT_INIT("server_max_window_bits"), SERVER_BITS},
    {SPAN_LIT_INIT("client_max_window_bits"), CLIENT_BITS},
};

struct offer {
    bool is_declined;
    unsigned seen;       /* bits of enum param */
    uint8_t server_bits; /* with SERVER_BITS */
    uint8_t client_bits; /* with CLIENT_BITS; 15 when it stood without a value */
};

/* -- the grammar ------------------------------------------------------------------------------ */

static void skip_blanks(struct span *rest)
{
    while (rest->len != 0 && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t')) {
        *rest = span_skip(*rest, 1);
    }
}

/* Blanks, then `mark`: consumed if it is there. */
static bool take_mark(struct span *rest, char mark)
{
    skip_blanks(rest);
    if (rest->len == 0 || rest->ptr[0] != mark) {
        return false;
    }
    *rest = span_skip(*rest, 1);
    return true;
}

/* Blanks, then as much of a token as there is, perhaps nothing. */
static struct span take_token(struct span *rest)
{
    size_t n = 0;
    skip_blanks(rest);
    while (n < rest->len && http1_char_is(rest->ptr[n], HTTP1_CHAR_TOKEN)) {
        n++;
    }
    struct span token = span_of(rest->ptr, n);
    *rest = span_skip(*rest, n);
    return token;
}

static void add_to_value(struct value *value, char c)
{
    if (value->len < VALUE_CHARS) {
        value->text[value->len] = c;
    }
    value->len++;
}

/* The rest of a quoted-string, behind its first quote. False: it has no end. */
static bool take_quoted(struct span *rest, struct value *value)
{
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (c == '"') {
            *rest = span_skip(*rest, i + 1);
            return true;
        }
        if (c == '\\' && ++i < rest->len) {
            c = rest->ptr[i];
        }
        add_to_value(value, c);
    }
    return false;
}

static bool take_value(struct span *rest, struct value *value)
{
    *value = (struct value){.is_given = take_mark(rest, '=')};
    if (!value->is_given) {
        return true;
    }
    if (take_mark(rest, '"')) {
        return take_quoted(rest, value);
    }
    struct span token = take_token(rest);
    for (size_t i = 0; i < token.len; i++) {
        add_to_value(value, token.ptr[i]);
    }
    return true;
}

/* -- one offer -------------------------------------------------------------------------------- */

/* 8 to 15, as written without sign, zero or fraction; else 0. */
static uint8_t window_of(const struct value *value)
{
    if (value->len == 1 && (value->text[0] == '8' || value->text[0] == '9')) {
        return (uint8_t)(value->text[0] - '0');
    }
    if (value->len == 2 && value->text[0] == '1' && value->text[1] >= '0' &&
        value->text[1] <= '5') {
        return (uint8_t)(10 + value->text[1] - '0');
    }
    return 0;
}

static bool note_known(struct offer *offer, enum param param, const struct value *value)
{
    bool is_again = (offer->seen & param) != 0;
    offer->seen |= param;
    if (is_again) {
        return false;
    }
    switch (param) {
    case SERVER_BITS:
        offer->server_bits = window_of(value);
        return offer->server_bits >= WS_DEFLATE_MIN_BITS;
    case CLIENT_BITS:
        offer->client_bits = value->is_given ? window_of(value) : WS_DEFLATE_MAX_BITS;
        return offer->client_bits >= LEAST_OFFERED_BITS;
    case SERVER_NO_TAKEOVER:
    case CLIENT_NO_TAKEOVER:
        break;
    }
    return !value->is_given;
}

static void note_param(struct offer *offer, struct span name, const struct value *value)
{
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (span_eq(name, params[i].name)) {
            offer->is_declined = !note_known(offer, params[i].param, value) || offer->is_declined;
            return;
        }
    }
    offer->is_declined = true;
}

/* One item of the list. False: not by the grammar. */
static bool take_offer(struct span *rest, struct offer *offer)
{
    struct span name = take_token(rest);
    *offer = (struct offer){.is_declined = !span_eq(name, SPAN_LIT("permessage-deflate"))};
    if (name.len == 0) {
        return false;
    }
    while (take_mark(rest, ';')) {
        struct value value;
        struct span param = take_token(rest);
        if (param.len == 0 || !take_value(rest, &value)) {
            return false;
        }
        note_param(offer, param, &value);
    }
    skip_blanks(rest);
    return rest->len == 0 || rest->ptr[0] == ',';
}

static uint8_t least(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* Without client_max_window_bits in the offer the client's window is what it likes: 15. */
static struct ws_deflate_terms agree(const struct offer *offer, const struct ws_deflate_opts *opts)
{
    struct ws_deflate_terms terms = {
        .is_on = true,
        .server_takeover = opts->allow_takeover && (offer->seen & SERVER_NO_TAKEOVER) == 0,
        .client_takeover = opts->allow_takeover && (offer->seen & CLIENT_NO_TAKEOVER) == 0,
        .names_server_bits = (offer->seen & SERVER_BITS) != 0,
        .server_bits = opts->max_window_bits,
        .client_bits = WS_DEFLATE_MAX_BITS,
    };
    if (terms.names_server_bits) {
        terms.server_bits = least(offer->server_bits, opts->max_window_bits);
    }
    if ((offer->seen & CLIENT_BITS) != 0) {
        terms.client_bits = least(offer->client_bits, opts->max_window_bits);
    }
    return terms;
}

static bool take_line(struct span rest, const struct ws_deflate_opts *opts,
                      struct ws_deflate_terms *terms)
{
    for (;;) {
        while (take_mark(&rest, ',')) { /* the mark before an item, and empty items */
        }
        if (rest.len == 0) {
            return true;
        }
        struct offer offer;
        if (!take_offer(&rest, &offer)) {
            return false;
        }
        if (opts != NULL && !terms->is_on && !offer.is_declined) {
            *terms = agree(&offer, opts);
        }
    }
}

enum err ws_deflate_negotiate(const struct http1_head *head, const struct ws_deflate_opts *opts,
                              struct ws_deflate_terms *terms)
{
    *terms = (struct ws_deflate_terms){.is_on = false};
    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct http1_field *field = &head->fields[i];
        if (span_eq_nocase(field->name, SPAN_LIT("sec-websocket-extensions")) &&
            !take_line(field->value, opts, terms)) {
            return ERR_SYNTAX;
        }
    }
    return ERR_OK;
}

/* -- our answer ------------------------------------------------------------------------------- */

static void add(char out[WS_DEFLATE_ANSWER_BYTES], size_t *len, struct span text)
{
    ASSERT(text.len <= WS_DEFLATE_ANSWER_BYTES - *len);
    memcpy(out + *len, text.ptr, text.len);
    *len += text.len;
}

static void add_bits(char out[WS_DEFLATE_ANSWER_BYTES], size_t *len, struct span text,
                     unsigned bits)
{
    char digits[4];
    int n = snprintf(digits, sizeof digits, "%u", bits);
    add(out, len, text);
    add(out, len, span_of(digits, (size_t)n));
}

size_t ws_deflate_answer(const struct ws_deflate_terms *terms, char out[WS_DEFLATE_ANSWER_BYTES])
{
    size_t len = 0;
    add(out, &len, SPAN_LIT("permessage-deflate"));
    if (!terms->server_takeover) {
        add(out, &len, SPAN_LIT("; server_no_context_takeover"));
    }
    if (!terms->client_takeover) {
        add(out, &len, SPAN_LIT("; client_no_context_takeover"));
    }
    if (terms->names_server_bits) {
        add_bits(out, &len, SPAN_LIT("; server_max_window_bits="), terms->server_bits);
    }
    if (terms->client_bits < WS_DEFLATE_MAX_BITS) {
        add_bits(out, &len, SPAN_LIT("; client_max_window_bits="), terms->client_bits);
    }
    return len;
}
