/*
 * jsontext: the scanner against a slow validator written from the grammar of RFC 8259, and for each
 * string: quoting what unescaping gave scans again and unescapes to the same.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- the slow validator: recursive, a byte at a time, no limits but the stack's ---- */

struct slow {
    const uint8_t *at, *end;
    unsigned n_values;
    bool is_over_limit; /* a limit of the scanner's was passed on the way */
};

enum {
    SLOW_MAX_DEPTH = 2000
};

static bool slow_value(struct slow *s, unsigned depth);

static int slow_peek(const struct slow *s)
{
    return s->at != s->end ? *s->at : -1;
}

static bool slow_take(struct slow *s, const char *set)
{
    int c = slow_peek(s);
    if (c <= 0 || strchr(set, c) == NULL) {
        return false;
    }
    s->at++;
    return true;
}

static void slow_blanks(struct slow *s)
{
    while (slow_take(s, " \t\r\n")) {
    }
}

static bool slow_digits(struct slow *s)
{
    bool any = false;
    while (slow_take(s, "0123456789")) {
        any = true;
    }
    return any;
}

static bool slow_number(struct slow *s)
{
    const uint8_t *begin = s->at;
    (void)slow_take(s, "-");
    if (!slow_take(s, "0") && !slow_digits(s)) {
        return false;
    }
    if (slow_take(s, ".") && !slow_digits(s)) {
        return false;
    }
    if (slow_take(s, "eE")) {
        (void)slow_take(s, "+-");
        if (!slow_digits(s)) {
            return false;
        }
    }
    s->is_over_limit = s->is_over_limit || s->at - begin > JSON_MAX_NUMBER_CHARS;
    return true;
}

/* One character above U+007F, decoded and judged by arithmetic. */
static bool slow_utf8(struct slow *s)
{
    uint8_t c = *s->at++;
    unsigned n = c >= 0xC0 && c < 0xE0   ? 1
                 : c >= 0xE0 && c < 0xF0 ? 2
                 : c >= 0xF0 && c < 0xF8 ? 3
                                         : 0;
    if (n == 0) {
        return false;
    }
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint32_t code_point = c & (0x3FU >> n);
    for (unsigned i = 0; i < n; i++) {
        int next = slow_peek(s);
        if (next < 0x80 || next > 0xBF) {
            return false;
        }
        code_point = code_point << 6 | ((uint32_t)next & 0x3F);
        s->at++;
    }
    bool is_surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    return code_point >= smallest[n] && code_point <= 0x10FFFF && !is_surrogate;
}

static bool slow_escape(struct slow *s)
{
    if (slow_take(s, "\"\\/bfnrt")) {
        return true;
    }
    if (!slow_take(s, "u")) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!slow_take(s, "0123456789abcdefABCDEF")) {
            return false;
        }
    }
    return true;
}

static bool slow_string(struct slow *s)
{
    if (!slow_take(s, "\"")) {
        return false;
    }
    for (;;) {
        int c = slow_peek(s);
        bool is_good = true;
        if (c < 0x20) {
            return false;
        }
        if (c >= 0x80) {
            is_good = slow_utf8(s);
        } else {
            s->at++;
            if (c == '"') {
                return true;
            }
            is_good = c != '\\' || slow_escape(s);
        }
        if (!is_good) {
            return false;
        }
    }
}

static bool slow_member(struct slow *s, bool is_object, unsigned depth)
{
    if (is_object) {
        slow_blanks(s);
        if (!slow_string(s)) {
            return false;
        }
        slow_blanks(s);
        if (!slow_take(s, ":")) {
            return false;
        }
    }
    return slow_value(s, depth);
}

static bool slow_container(struct slow *s, bool is_object, unsigned depth)
{
    const char *end = is_object ? "}" : "]";
    s->is_over_limit = s->is_over_limit || depth > JSON_MAX_DEPTH;
    if (depth > SLOW_MAX_DEPTH) {
        return false;
    }
    slow_blanks(s);
    if (slow_take(s, end)) {
        return true;
    }
    do {
        if (!slow_member(s, is_object, depth)) {
            return false;
        }
    } while (slow_take(s, ","));
    return slow_take(s, end);
}

static bool slow_word(struct slow *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) {
        return false;
    }
    s->at += n;
    return true;
}

static bool slow_value(struct slow *s, unsigned depth)
{
    bool is_good;
    slow_blanks(s);
    s->n_values++;
    s->is_over_limit = s->is_over_limit || s->n_values > JSON_MAX_ELEMENTS;
    if (slow_take(s, "[")) {
        is_good = slow_container(s, false, depth + 1);
    } else if (slow_take(s, "{")) {
        is_good = slow_container(s, true, depth + 1);
    } else if (slow_peek(s) == '"') {
        is_good = slow_string(s);
    } else {
        is_good =
            slow_word(s, "true") || slow_word(s, "false") || slow_word(s, "null") || slow_number(s);
    }
    slow_blanks(s);
    return is_good;
}

/* ---- the oracle for strings ---- */

static char *new_bytes(size_t n)
{
    char *bytes = malloc(n != 0 ? n : 1);
    require(bytes != NULL);
    return bytes;
}

static void check_round_trip(struct span plain, unsigned style)
{
    struct buf quoted;
    buf_init(&quoted, plain.len * 6 + 2);
    require(json_quote(&quoted, plain, style) == ERR_OK);
    struct json_scan scan;
    struct json_token token;
    struct fault fault;
    json_scan_init(&scan, buf_span(&quoted));
    require(json_next(&scan, &token, &fault) == ERR_OK);
    require(token.type == JSON_STRING);
    require(token.raw.len == buf_len(&quoted) - 2);
    char *again = new_bytes(token.raw.len);
    size_t n = json_unescape(token.raw, again);
    require(span_eq(span_of(again, n), plain));
    require(token.has_escapes == (token.raw.len != n));
    require(json_next(&scan, &token, &fault) == ERR_OK);
    require(token.type == JSON_DONE);
    free(again);
    buf_fini(&quoted);
}

static void check_string(const struct json_token *token)
{
    char *plain = new_bytes(token->raw.len);
    size_t n = json_unescape(token->raw, plain);
    require(n <= token->raw.len);
    require(token->has_escapes == (n != token->raw.len));
    require(utf8_is_valid(span_of(plain, n)));
    for (unsigned style = 0; style < 4; style++) {
        check_round_trip(span_of(plain, n), style);
    }
    free(plain);
}

/* Every token lies in the input, after the one before. Returns the last result. */
static enum err scan_all(struct span in)
{
    struct json_scan scan;
    struct json_token token = {.type = JSON_NULL};
    const char *done = in.ptr;
    enum err e = ERR_OK;
    json_scan_init(&scan, in);
    while (token.type != JSON_DONE) {
        struct fault fault = {SIZE_MAX, NULL};
        e = json_next(&scan, &token, &fault);
        if (e != ERR_OK) {
            require(fault.why != NULL && fault.offset <= in.len);
            break;
        }
        require(token.raw.ptr >= done && token.raw.len <= in.len);
        done = token.raw.ptr + token.raw.len;
        require(done <= in.ptr + in.len);
        if (token.type == JSON_STRING || token.type == JSON_KEY) {
            check_string(&token);
        }
    }
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of exactly this size: the sanitizer sees a read one byte too far. */
    char *copy = new_bytes(size);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    enum err e = scan_all(span_of(copy, size));
    struct slow slow = {.at = data, .end = data + size};
    bool is_good = slow_value(&slow, 0) && slow.at == slow.end;
    if (e == ERR_LIMIT || slow.is_over_limit) {
        require(slow.is_over_limit && e != ERR_OK);
    } else {
        require(e == (is_good ? ERR_OK : ERR_SYNTAX));
    }
    /* As payload: any valid text can be quoted. */
    if (utf8_is_valid(span_of(copy, size))) {
        check_round_trip(span_of(copy, size), size % 4);
    }
    free(copy);
    return 0;
}
