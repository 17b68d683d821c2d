/*
 * jsontext: JSON as text, for every message in and out. See jsontext.h.
 *
 * Both halves spend their time looking for the next byte that is not plain, so both stand on one
 * primitive: block_mask, which marks the special bytes of 16 at once. json_quote measures first and
 * writes second: the room is then exact, failure appends nothing, and text without escapes (most of
 * it) is one memcpy. The scanner is a loop over `expect`, the grammar's only state besides the
 * stack of bits that says which open containers are objects; nothing recurses.
 */
#include "base/jsontext.h"

#include "base/text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    BLOCK_BYTES = 16
};

/* Three byte values that are special besides `"`, `\` and control bytes; unused ones repeat `"`. */
struct specials {
    uint8_t extra[3];
};

#ifdef __SSE2__
static inline __m128i eq_byte(__m128i block, uint8_t c)
{
    return _mm_cmpeq_epi8(block, _mm_set1_epi8((char)c));
}

static inline unsigned full_block_mask(const char *at, const struct specials *set)
{
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
    __m128i always = _mm_or_si128(eq_byte(block, '"'), eq_byte(block, '\\'));
    __m128i extra = _mm_or_si128(eq_byte(block, set->extra[0]), eq_byte(block, set->extra[1]));
    extra = _mm_or_si128(extra, eq_byte(block, set->extra[2]));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(control, always), extra));
}
#else
static inline bool is_special(uint8_t c, const struct specials *set)
{
    return c < 0x20 || c == '"' || c == '\\' || c == set->extra[0] || c == set->extra[1] ||
           c == set->extra[2];
}

static inline unsigned full_block_mask(const char *at, const struct specials *set)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < BLOCK_BYTES; i++) {
        mask |= (unsigned)is_special((uint8_t)at[i], set) << i;
    }
    return mask;
}
#endif

/* Up to 16 bytes without a call: most runs (between two escapes, or a whole key) are that short. */
static inline void put_short(char *to, const char *from, size_t n)
{
    uint64_t first, last;
    if (n >= 8) {
        memcpy(&first, from, 8);
        memcpy(&last, from + n - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + n - 8, &last, 8);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

static inline char *put_run(char *to, const char *from, size_t n)
{
    if (n <= BLOCK_BYTES) {
        put_short(to, from, n);
    } else {
        memcpy(to, from, n);
    }
    return to + n;
}

/* Walks the special bytes of a text in order. */
struct hunt {
    const char *next_block; /* everything before it is in `mask` or done */
    const char *end;
    unsigned mask; /* specials not yet reported among the 16 bytes before next_block */
    struct specials set;
};

static inline struct hunt hunt_in(struct span text, struct specials set)
{
    return (struct hunt){text.ptr, text.ptr + text.len, 0, set};
}

/* The rest is shorter than a block: it is marked in a copy, lest bytes behind the text are read. */
static inline void hunt_in_rest(struct hunt *hunt)
{
    char block[BLOCK_BYTES] = {0};
    size_t rest = (size_t)(hunt->end - hunt->next_block);
    put_short(block + BLOCK_BYTES - rest, hunt->next_block, rest);
    unsigned is_text = 0xFFFFU << (BLOCK_BYTES - rest) & 0xFFFFU;
    hunt->mask = full_block_mask(block, &hunt->set) & is_text;
    hunt->next_block = hunt->end;
}

/* The next special byte, or the end of the text. */
static inline const char *hunt_next(struct hunt *hunt)
{
    while (hunt->mask == 0) {
        if (hunt->end - hunt->next_block >= BLOCK_BYTES) {
            hunt->mask = full_block_mask(hunt->next_block, &hunt->set);
            hunt->next_block += BLOCK_BYTES;
        } else if (hunt->next_block != hunt->end) {
            hunt_in_rest(hunt);
        } else {
            return hunt->end;
        }
    }
    const char *at = hunt->next_block - (BLOCK_BYTES - __builtin_ctz(hunt->mask));
    hunt->mask &= hunt->mask - 1;
    return at;
}

/* ---- quoting ---- */

static struct specials specials_of(unsigned style)
{
    struct specials set = {{'"', '"', '"'}};
    if ((style & (JSON_SOCKJS | JSON_SCRIPT)) != 0) {
        set.extra[0] = 0xE2; /* U+2000 to 2FFF */
    }
    if ((style & JSON_SOCKJS) != 0) {
        set.extra[1] = 0xEF; /* U+F000 to FFFF */
    }
    if ((style & JSON_SCRIPT) != 0) {
        set.extra[2] = '<';
    }
    return set;
}

static bool is_escaped_by(unsigned style, uint32_t c)
{
    if ((style & JSON_SCRIPT) != 0 && (c == 0x2028 || c == 0x2029)) {
        return true;
    }
    return (style & JSON_SOCKJS) != 0 &&
           ((c >= 0x200C && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) ||
            (c >= 0x2060 && c <= 0x206F) || (c >= 0xFFF0 && c <= 0xFFFF));
}

/* What follows the backslash in the escape of an ASCII character; 0: it has only the \u form. */
static const char short_forms[128] = {
    ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\t'] = 't',
    ['\n'] = 'n', ['\f'] = 'f',  ['\r'] = 'r',
};

/* The character of three bytes at `at` if `style` escapes it, else 0. */
static uint32_t wide_escape_at(const char *at, const char *end, unsigned style)
{
    if (end - at < 3) {
        return 0;
    }
    uint32_t c =
        ((uint8_t)at[0] & 0x0FU) << 12 | ((uint8_t)at[1] & 0x3FU) << 6 | ((uint8_t)at[2] & 0x3FU);
    return is_escaped_by(style, c) ? c : 0;
}

/* Bytes that the escapes of `text` add. */
static size_t escapes_cost(struct span text, unsigned style, struct specials set)
{
    struct hunt hunt = hunt_in(text, set);
    size_t cost = 0;
    for (const char *at; (at = hunt_next(&hunt)) != hunt.end;) {
        uint8_t c = (uint8_t)*at;
        if (c < 0x80) {
            cost += short_forms[c] != 0 ? 1 : 5;
        } else if (wide_escape_at(at, hunt.end, style) != 0) {
            cost += 3;
        }
    }
    return cost;
}

static char *put_hex_escape(char *to, uint32_t c)
{
    static const char hex[] = "0123456789abcdef";
    const char text[6] = {'\\',       'u', hex[c >> 12 & 15], hex[c >> 8 & 15], hex[c >> 4 & 15],
                          hex[c & 15]};
    memcpy(to, text, sizeof text);
    return to + sizeof text;
}

static char *write_escaped(char *to, struct span text, unsigned style, struct specials set)
{
    struct hunt hunt = hunt_in(text, set);
    const char *from = text.ptr;
    for (const char *at; (at = hunt_next(&hunt)) != hunt.end;) {
        uint8_t c = (uint8_t)*at;
        uint32_t wide = c < 0x80 ? 0 : wide_escape_at(at, hunt.end, style);
        if (c >= 0x80 && wide == 0) {
            continue; /* a neighbour of what is escaped: part of the run */
        }
        to = put_run(to, from, (size_t)(at - from));
        if (wide != 0) {
            to = put_hex_escape(to, wide);
            from = at + 3;
            continue;
        }
        from = at + 1;
        if (short_forms[c] != 0) {
            *to++ = '\\';
            *to++ = short_forms[c];
        } else {
            to = put_hex_escape(to, c);
        }
    }
    return put_run(to, from, (size_t)(hunt.end - from));
}

enum err json_quote(struct buf *out, struct span text, unsigned style)
{
    if (text.len == 0) {
        return buf_append(out, "\"\"", 2);
    }
    struct specials set = specials_of(style);
    size_t cost = escapes_cost(text, style, set);
    size_t n = text.len + cost + 2;
    char *to = buf_reserve(out, n);
    if (UNLIKELY(to == NULL)) {
        return n > buf_room(out) ? ERR_LIMIT : ERR_NOMEM;
    }
    *to++ = '"';
    if (cost == 0) {
        memcpy(to, text.ptr, text.len);
        to += text.len;
    } else {
        to = write_escaped(to, text, style, set);
    }
    *to = '"';
    buf_commit(out, n);
    return ERR_OK;
}

/* ---- scanning ---- */

/* What may come next; `scan->expect`. */
enum {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* after [ */
    EXPECT_KEY,          /* after , in an object */
    EXPECT_KEY_OR_END,   /* after { */
    EXPECT_COMMA_OR_END, /* after a value in a container */
    EXPECT_NOTHING,      /* after the outermost value */
};

void json_scan_init(struct json_scan *scan, struct span in)
{
    *scan = (struct json_scan){.in = in, .expect = EXPECT_VALUE};
}

static enum err fail(enum err e, struct fault *fault, size_t offset, const char *why)
{
    *fault = (struct fault){offset, why};
    return e;
}

/* The byte at `at`, or -1 at the end. */
static inline int peek(const struct json_scan *scan, size_t at)
{
    return at < scan->in.len ? (uint8_t)scan->in.ptr[at] : -1;
}

static inline int skip_blanks(struct json_scan *scan)
{
    for (;; scan->at++) {
        int c = peek(scan, scan->at);
        if (LIKELY(c > ' ') || (c != ' ' && c != '\n' && c != '\t' && c != '\r')) {
            return c;
        }
    }
}

static inline bool in_object(const struct json_scan *scan)
{
    return scan->depth != 0 && (scan->is_object >> (scan->depth - 1) & 1) != 0;
}

static void set_token(struct json_scan *scan, struct json_token *token, enum json_type type,
                      size_t n)
{
    *token = (struct json_token){.type = type, .raw = {scan->in.ptr + scan->at, n}};
    scan->at += n;
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The length of the escape at `at` (a backslash), or 0. */
static size_t escape_len(const struct json_scan *scan, size_t at)
{
    switch (peek(scan, at + 1)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        break;
    default:
        return 0;
    }
    for (size_t i = 2; i < 6; i++) {
        if (hex_value(peek(scan, at + i)) < 0) {
            return 0;
        }
    }
    return 6;
}

/* The offset of the first byte that makes `raw` bad UTF-8, its length if it only ends too early. */
static size_t bad_utf8_at(struct span raw)
{
    uint8_t state = UTF8_ACCEPT;
    size_t i = 0;
    for (; i < raw.len; i++) {
        state = utf8_feed(state, span_of(raw.ptr + i, 1));
        if (state == UTF8_REJECT) {
            break;
        }
    }
    return i;
}

/* The offset of the quote that ends the string whose content begins at `begin`. */
static enum err find_quote(const struct json_scan *scan, size_t begin, size_t *end,
                           bool *has_escapes, struct fault *fault)
{
    struct hunt hunt = hunt_in(span_skip(scan->in, begin), (struct specials){{'"', '"', '"'}});
    size_t done = begin; /* what lies before it is part of an escape already read */
    *has_escapes = false;
    for (;;) {
        const char *special = hunt_next(&hunt);
        size_t at = (size_t)(special - scan->in.ptr);
        if (special == hunt.end) {
            return fail(ERR_SYNTAX, fault, at, "string without end");
        }
        if (at < done) {
            continue;
        }
        if (*special == '"') {
            *end = at;
            return ERR_OK;
        }
        if (*special != '\\') {
            return fail(ERR_SYNTAX, fault, at, "control character in a string");
        }
        size_t n = escape_len(scan, at);
        if (n == 0) {
            return fail(ERR_SYNTAX, fault, at, "bad escape in a string");
        }
        *has_escapes = true;
        done = at + n;
    }
}

/* The string whose opening quote is at scan->at. */
static enum err read_string(struct json_scan *scan, struct json_token *token, enum json_type type,
                            struct fault *fault)
{
    size_t begin = scan->at + 1;
    size_t end = 0;
    bool has_escapes = false;
    enum err e = find_quote(scan, begin, &end, &has_escapes, fault);
    if (e != ERR_OK) {
        return e;
    }
    struct span raw = span_of(scan->in.ptr + begin, end - begin);
    if (UNLIKELY(!utf8_is_valid(raw))) {
        return fail(ERR_SYNTAX, fault, begin + bad_utf8_at(raw), "bad UTF-8 in a string");
    }
    *token = (struct json_token){.type = type, .has_escapes = has_escapes, .raw = raw};
    scan->at = end + 1;
    return ERR_OK;
}

static size_t skip_digits(const struct json_scan *scan, size_t at)
{
    for (;; at++) {
        int c = peek(scan, at);
        if (c < '0' || c > '9') {
            return at;
        }
    }
}

/* The end of the number at scan->at, or scan->at when it is none. */
static size_t number_end(const struct json_scan *scan)
{
    size_t at = scan->at + (peek(scan, scan->at) == '-');
    size_t digits = at;
    at = peek(scan, at) == '0' ? at + 1 : skip_digits(scan, at);
    if (at == digits) {
        return scan->at;
    }
    if (peek(scan, at) == '.') {
        digits = at + 1;
        at = skip_digits(scan, digits);
        if (at == digits) {
            return scan->at;
        }
    }
    int c = peek(scan, at);
    if (c == 'e' || c == 'E') {
        c = peek(scan, at + 1);
        digits = at + 1 + (c == '+' || c == '-');
        at = skip_digits(scan, digits);
        if (at == digits) {
            return scan->at;
        }
    }
    return at;
}

static enum err read_number(struct json_scan *scan, struct json_token *token, struct fault *fault)
{
    size_t n = number_end(scan) - scan->at;
    if (n == 0) {
        return fail(ERR_SYNTAX, fault, scan->at, "bad number");
    }
    if (n > JSON_MAX_NUMBER_CHARS) {
        return fail(ERR_LIMIT, fault, scan->at, "number too long");
    }
    set_token(scan, token, JSON_NUMBER, n);
    return ERR_OK;
}

static enum err read_word(struct json_scan *scan, struct json_token *token, struct span word,
                          enum json_type type, struct fault *fault)
{
    if (!span_starts_with(span_skip(scan->in, scan->at), word)) {
        return fail(ERR_SYNTAX, fault, scan->at, "value expected");
    }
    set_token(scan, token, type, word.len);
    return ERR_OK;
}

static void end_value(struct json_scan *scan)
{
    scan->expect = scan->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
}

static enum err read_begin(struct json_scan *scan, struct json_token *token, bool is_object,
                           struct fault *fault)
{
    if (scan->depth == JSON_MAX_DEPTH) {
        return fail(ERR_LIMIT, fault, scan->at, "nested too deep");
    }
    uint32_t bit = UINT32_C(1) << scan->depth;
    scan->is_object = is_object ? scan->is_object | bit : scan->is_object & ~bit;
    scan->depth++;
    scan->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    set_token(scan, token, is_object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN, 1);
    return ERR_OK;
}

static enum err read_end(struct json_scan *scan, int c, struct json_token *token,
                         struct fault *fault)
{
    bool is_object = in_object(scan);
    if (c != (is_object ? '}' : ']')) {
        return fail(ERR_SYNTAX, fault, scan->at,
                    is_object ? "',' or '}' expected" : "',' or ']' expected");
    }
    set_token(scan, token, is_object ? JSON_OBJECT_END : JSON_ARRAY_END, 1);
    scan->depth--;
    end_value(scan);
    return ERR_OK;
}

static enum err read_key(struct json_scan *scan, int c, struct json_token *token,
                         struct fault *fault)
{
    if (c != '"') {
        return fail(ERR_SYNTAX, fault, scan->at, "key expected");
    }
    enum err e = read_string(scan, token, JSON_KEY, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (skip_blanks(scan) != ':') {
        return fail(ERR_SYNTAX, fault, scan->at, "':' expected");
    }
    scan->at++;
    scan->expect = EXPECT_VALUE;
    return ERR_OK;
}

static enum err read_scalar(struct json_scan *scan, int c, struct json_token *token,
                            struct fault *fault)
{
    switch (c) {
    case '"':
        return read_string(scan, token, JSON_STRING, fault);
    case 't':
        return read_word(scan, token, SPAN_LIT("true"), JSON_TRUE, fault);
    case 'f':
        return read_word(scan, token, SPAN_LIT("false"), JSON_FALSE, fault);
    case 'n':
        return read_word(scan, token, SPAN_LIT("null"), JSON_NULL, fault);
    default:
        if (c == '-' || (c >= '0' && c <= '9')) {
            return read_number(scan, token, fault);
        }
        return fail(ERR_SYNTAX, fault, scan->at, "value expected");
    }
}

static enum err read_value(struct json_scan *scan, int c, struct json_token *token,
                           struct fault *fault)
{
    if (scan->n_elements == JSON_MAX_ELEMENTS) {
        return fail(ERR_LIMIT, fault, scan->at, "too many values");
    }
    scan->n_elements++;
    if (c == '[' || c == '{') {
        return read_begin(scan, token, c == '{', fault);
    }
    enum err e = read_scalar(scan, c, token, fault);
    end_value(scan);
    return e;
}

enum err json_next(struct json_scan *scan, struct json_token *token, struct fault *fault)
{
    int c = skip_blanks(scan);
    unsigned expect = scan->expect;
    if (expect == EXPECT_NOTHING) {
        if (c >= 0) {
            return fail(ERR_SYNTAX, fault, scan->at, "text after the value");
        }
        set_token(scan, token, JSON_DONE, 0);
        return ERR_OK;
    }
    if (expect == EXPECT_COMMA_OR_END) {
        if (c != ',') {
            return read_end(scan, c, token, fault);
        }
        scan->at++;
        c = skip_blanks(scan);
        expect = in_object(scan) ? EXPECT_KEY : EXPECT_VALUE;
    }
    if ((expect == EXPECT_KEY_OR_END && c == '}') || (expect == EXPECT_VALUE_OR_END && c == ']')) {
        return read_end(scan, c, token, fault);
    }
    if (expect == EXPECT_KEY || expect == EXPECT_KEY_OR_END) {
        return read_key(scan, c, token, fault);
    }
    return read_value(scan, c, token, fault);
}

enum err json_skip(struct json_scan *scan, struct fault *fault)
{
    unsigned outside = scan->depth - 1U;
    struct json_token token;
    enum err e = ERR_OK;
    while (e == ERR_OK && scan->depth != outside) {
        e = json_next(scan, &token, fault);
    }
    return e;
}

/* ---- unescaping ---- */

enum {
    NO_UNIT = -1
};

/* The UTF-16 unit of the \uxxxx at the start of `s`, or NO_UNIT. */
static int unit_at(struct span s)
{
    if (s.len < 6 || s.ptr[0] != '\\' || s.ptr[1] != 'u') {
        return NO_UNIT;
    }
    int unit = 0;
    for (size_t i = 2; i < 6; i++) {
        int digit = hex_value((uint8_t)s.ptr[i]);
        if (digit < 0) {
            return NO_UNIT;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static char short_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 't':
        return '\t';
    case 'n':
        return '\n';
    case 'f':
        return '\f';
    case 'r':
        return '\r';
    default:
        return c;
    }
}

/* Decodes the escape at the start of `s`; returns the bytes read, adds those written to *n. */
static size_t unescape_one(struct span s, char *out, size_t *n)
{
    int unit = unit_at(s);
    if (unit == NO_UNIT) {
        /* A backslash alone cannot be in scanned text; it must not lead past the end either. */
        size_t n_read = s.len > 1 ? 2 : 1;
        out[(*n)++] = short_escape(s.ptr[n_read - 1]);
        return n_read;
    }
    if ((unit & 0xFC00) == 0xD800) {
        int low = unit_at(span_skip(s, 6));
        if (low != NO_UNIT && (low & 0xFC00) == 0xDC00) {
            uint32_t c = 0x10000U + ((uint32_t)(unit & 0x3FF) << 10 | (uint32_t)(low & 0x3FF));
            *n += utf8_put(out + *n, c);
            return 12;
        }
    }
    *n += utf8_put(out + *n, (uint32_t)unit);
    return 6;
}

/* Moves the bytes before the next backslash to `out` (which may be raw.ptr); returns how many. */
static size_t move_run(struct span raw, char *out)
{
    enum {
        SHORT_RUN = 16
    }; /* for which two calls cost more than a loop */
    size_t n = 0;
    for (; n < raw.len && n < SHORT_RUN; n++) {
        if (raw.ptr[n] == '\\') {
            return n;
        }
        out[n] = raw.ptr[n];
    }
    struct span rest = span_skip(raw, n);
    size_t n_rest = span_find(rest, '\\');
    memmove(out + n, rest.ptr, n_rest);
    return n + n_rest;
}

size_t json_unescape(struct span raw, char *out)
{
    size_t n = 0;
    while (raw.len != 0) {
        size_t run = move_run(raw, out + n);
        n += run;
        raw = span_skip(raw, run);
        if (raw.len != 0) {
            raw = span_skip(raw, unescape_one(raw, out, &n));
        }
    }
    return n;
}
