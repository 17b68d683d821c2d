/*
 * text: what every room needs of characters: UTF-8, base64, decimal numbers. See text.h.
 *
 * utf8_feed sees every text message, so it has two gears: ASCII is skipped 16 (or 8) bytes at a
 * time, and only what is left goes through an automaton. The automaton packs, for each byte, the
 * successor of every state into one 64-bit row, six bits a state: a step is a load and a shift, no
 * branch.
 */
#include "base/text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* States of the automaton beside UTF8_ACCEPT and UTF8_REJECT: what the next byte must be. */
enum {
    TAIL_1 = 2, /* 80..BF, then done */
    TAIL_2,     /* 80..BF, then TAIL_1 */
    TAIL_3,     /* 80..BF, then TAIL_2 */
    AFTER_E0,   /* A0..BF (less is overlong), then TAIL_1 */
    AFTER_ED,   /* 80..9F (more is a surrogate), then TAIL_1 */
    AFTER_F0,   /* 90..BF (less is overlong), then TAIL_2 */
    AFTER_F4,   /* 80..8F (more is above U+10FFFF), then TAIL_2 */
    STATE_BITS = 6,
    STATE_MASK = 63,
    /* Inside the loop a state is the shift that selects its bits of a row. */
    ACCEPT_SHIFT = UTF8_ACCEPT * STATE_BITS,
    REJECT_SHIFT = UTF8_REJECT * STATE_BITS,
};

#define GO(from, to) ((uint64_t)((to)*STATE_BITS) << ((from)*STATE_BITS))
#define ROW(accept, tail_1, tail_2, tail_3, e0, ed, f0, f4)                                        \
    (GO(UTF8_ACCEPT, accept) | GO(UTF8_REJECT, UTF8_REJECT) | GO(TAIL_1, tail_1) |                 \
     GO(TAIL_2, tail_2) | GO(TAIL_3, tail_3) | GO(AFTER_E0, e0) | GO(AFTER_ED, ed) |               \
     GO(AFTER_F0, f0) | GO(AFTER_F4, f4))
/* A byte that can only begin a character, and one that can only continue it. */
#define HEAD(accept)         ROW(accept, NO, NO, NO, NO, NO, NO, NO)
#define TAIL(e0, ed, f0, f4) ROW(NO, UTF8_ACCEPT, TAIL_1, TAIL_2, e0, ed, f0, f4)
#define NO                   UTF8_REJECT

#define TIMES_2(x)  x, x
#define TIMES_3(x)  x, x, x
#define TIMES_4(x)  TIMES_2(x), TIMES_2(x)
#define TIMES_8(x)  TIMES_4(x), TIMES_4(x)
#define TIMES_16(x) TIMES_8(x), TIMES_8(x)
#define TIMES_32(x) TIMES_16(x), TIMES_16(x)
#define TIMES_64(x) TIMES_32(x), TIMES_32(x)

static const uint64_t rows[256] = {
    TIMES_64(HEAD(UTF8_ACCEPT)),
    TIMES_64(HEAD(UTF8_ACCEPT)),            /* 00..7F */
    TIMES_16(TAIL(NO, TAIL_1, NO, TAIL_2)), /* 80..8F */
    TIMES_16(TAIL(NO, TAIL_1, TAIL_2, NO)), /* 90..9F */
    TIMES_32(TAIL(TAIL_1, NO, TAIL_2, NO)), /* A0..BF */
    TIMES_2(HEAD(NO)),                      /* C0, C1: overlong */
    TIMES_2(HEAD(TAIL_1)),
    TIMES_4(HEAD(TAIL_1)),
    TIMES_8(HEAD(TAIL_1)),
    TIMES_16(HEAD(TAIL_1)), /* C2..DF */
    HEAD(AFTER_E0),
    TIMES_4(HEAD(TAIL_2)),
    TIMES_8(HEAD(TAIL_2)), /* E1..EC */
    HEAD(AFTER_ED),
    TIMES_2(HEAD(TAIL_2)), /* EE, EF */
    HEAD(AFTER_F0),
    TIMES_3(HEAD(TAIL_3)), /* F1..F3 */
    HEAD(AFTER_F4),
    TIMES_3(HEAD(NO)),
    TIMES_8(HEAD(NO)), /* F5..FF */
};

static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        unsigned high =
            (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)at));
        if (high != 0) {
            return at + __builtin_ctz(high);
        }
    }
#endif
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    while (at != end && *at < 0x80) {
        at++;
    }
    return at;
}

uint8_t utf8_feed(uint8_t state, struct span piece)
{
    if (piece.len == 0) {
        return state;
    }
    const uint8_t *at = (const uint8_t *)piece.ptr;
    const uint8_t *end = at + piece.len;
    uint64_t s = (uint64_t)state * STATE_BITS;
    for (;;) {
        if (s == ACCEPT_SHIFT) {
            at = skip_ascii(at, end);
        }
        if (at == end || s == REJECT_SHIFT) {
            return (uint8_t)(s / STATE_BITS);
        }
        do {
            s = (rows[*at++] >> s) & STATE_MASK;
        } while (at != end && (*at >= 0x80 || s > REJECT_SHIFT));
    }
}

bool utf8_is_valid(struct span text)
{
    return utf8_feed(UTF8_ACCEPT, text) == UTF8_ACCEPT;
}

static char tail_byte(uint32_t bits)
{
    return (char)(uint8_t)(0x80 | (bits & 0x3F));
}

size_t utf8_put(char out[4], uint32_t code_point)
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = tail_byte(code_point);
        return 2;
    }
    if (code_point < 0x10000) {
        uint32_t c = code_point >= 0xD800 && code_point <= 0xDFFF ? 0xFFFD : code_point;
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = tail_byte(c >> 6);
        out[2] = tail_byte(c);
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = tail_byte(code_point >> 12);
    out[2] = tail_byte(code_point >> 6);
    out[3] = tail_byte(code_point);
    return 4;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(struct span in, char *out)
{
    const uint8_t *from = (const uint8_t *)in.ptr;
    char *to = out;
    size_t left = in.len;
    for (; left >= 3; left -= 3, from += 3, to += 4) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        to[0] = base64_digits[bits >> 18];
        to[1] = base64_digits[bits >> 12 & 63];
        to[2] = base64_digits[bits >> 6 & 63];
        to[3] = base64_digits[bits & 63];
    }
    if (left != 0) {
        uint32_t bits = (uint32_t)from[0] << 16 | (left == 2 ? (uint32_t)from[1] << 8 : 0);
        to[0] = base64_digits[bits >> 18];
        to[1] = base64_digits[bits >> 12 & 63];
        to[2] = '=';
        to[3] = '=';
        if (left == 2) {
            to[2] = base64_digits[bits >> 6 & 63];
        }
        to += 4;
    }
    return (size_t)(to - out);
}

/* The value of a digit plus one; 0 for any other byte. */
static const uint8_t base64_values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* All bits above the low six are set when `c` is no digit, so that one test covers many. */
static uint32_t base64_value(uint8_t c)
{
    return (uint32_t)base64_values[c] - 1;
}

/* The last four characters; the only place where padding may be. */
static enum err decode_last(const uint8_t *from, char *to, size_t *n)
{
    size_t n_padding = from[3] != '=' ? 0 : from[2] != '=' ? 1 : 2;
    uint32_t third = n_padding == 2 ? 0 : base64_value(from[2]);
    uint32_t fourth = n_padding != 0 ? 0 : base64_value(from[3]);
    uint32_t first = base64_value(from[0]);
    uint32_t second = base64_value(from[1]);
    if ((first | second | third | fourth) > 63) {
        return ERR_SYNTAX;
    }
    uint32_t bits = first << 18 | second << 12 | third << 6 | fourth;
    uint32_t unused = n_padding == 0 ? 0 : n_padding == 1 ? 0xFF : 0xFFFF;
    if ((bits & unused) != 0) {
        return ERR_SYNTAX;
    }
    *n = 3 - n_padding;
    for (size_t i = 0; i < *n; i++) {
        to[i] = (char)(bits >> (16 - 8 * i));
    }
    return ERR_OK;
}

enum err base64_decode(struct span in, char *out, size_t *out_len)
{
    *out_len = 0;
    if (in.len % 4 != 0) {
        return ERR_SYNTAX;
    }
    if (in.len == 0) {
        return ERR_OK;
    }
    const uint8_t *from = (const uint8_t *)in.ptr;
    const uint8_t *last = from + in.len - 4;
    char *to = out;
    for (; from != last; from += 4, to += 3) {
        uint32_t first = base64_value(from[0]);
        uint32_t second = base64_value(from[1]);
        uint32_t third = base64_value(from[2]);
        uint32_t fourth = base64_value(from[3]);
        if (UNLIKELY((first | second | third | fourth) > 63)) {
            return ERR_SYNTAX;
        }
        uint32_t bits = first << 18 | second << 12 | third << 6 | fourth;
        to[0] = (char)(bits >> 16);
        to[1] = (char)(bits >> 8);
        to[2] = (char)bits;
    }
    size_t n = 0;
    enum err e = decode_last(last, to, &n);
    if (e == ERR_OK) {
        *out_len = (size_t)(to - out) + n;
    }
    return e;
}

static bool is_all_digits(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
    }
    return s.len != 0;
}

enum err decimal_parse(struct span digits, uint64_t max, uint64_t *value)
{
    if (!is_all_digits(digits)) {
        return ERR_SYNTAX;
    }
    if (digits.len > DECIMAL_MAX_CHARS) {
        return ERR_LIMIT;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < digits.len; i++) {
        uint64_t digit = (uint64_t)(digits.ptr[i] - '0');
        if (sum > max / 10 || digit > max - sum * 10) {
            return ERR_LIMIT;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return ERR_OK;
}

size_t decimal_put(char out[DECIMAL_MAX_CHARS], uint64_t value)
{
    char digits[DECIMAL_MAX_CHARS];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}
