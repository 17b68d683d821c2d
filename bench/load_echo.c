/* load_echo: see load_echo.h. */
#include "load_echo.h"

#include "bytes.h"
#include "ws_frame.h"
#include <stdlib.h>
#include <string.h>

#define NUMBER_DIGITS   7
#define SEQUENCE_AT     (NUMBER_DIGITS + 1)
#define SEQUENCE_DIGITS 12

_Static_assert(SEQUENCE_AT + SEQUENCE_DIGITS + 1 == LOAD_ECHO_MIN_BYTES, "the two numbers fit");

/* Constant, as a client's mask protects proxies, not this measurement; not zero, as a server might
 * then find nothing to unmask. */
static const uint8_t mask_key[4] = {0x37, 0xfa, 0x21, 0x3d};

static void write_digits(char *to, unsigned digits, uint64_t value)
{
    while (digits > 0) {
        to[--digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* False when a byte is no digit. */
static bool read_digits(const char *at, unsigned digits, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < digits; i++) {
        unsigned digit = (unsigned)at[i] - '0';
        if (digit > 9) {
            return false;
        }
        *value = *value * 10 + digit;
    }
    return true;
}

static char *make_text(size_t n)
{
    char *text = bytes_calloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[NUMBER_DIGITS] = '.';
    text[LOAD_ECHO_MIN_BYTES - 1] = '.';
    return text;
}

void load_echo_format_init(struct load_echo_format *format, const struct load_opts *opts)
{
    bool is_ws = opts->transport == LOAD_RAW_WS || opts->transport == LOAD_SOCKJS_WS;
    const char *before = opts->transport == LOAD_RAW_WS      ? ""
                         : opts->transport == LOAD_SOCKJS_WS ? "[\""
                                                             : "\"";
    const char *after = opts->transport == LOAD_RAW_WS      ? ""
                        : opts->transport == LOAD_SOCKJS_WS ? "\"]"
                                                            : "\",";
    size_t n_before = strlen(before);
    size_t n_after = strlen(after);
    size_t n = opts->size_bytes;
    size_t n_head = 0;

    format->text = make_text(n);
    format->text_bytes = n;
    format->wire = bytes_calloc(WS_FRAME_HEAD_MAX + n_before + n + n_after, 1);
    if (is_ws) {
        n_head =
            ws_frame_write(format->wire, WS_FRAME_FIN | WS_TEXT, n_before + n + n_after, mask_key);
    }
    format->text_at = n_head + n_before;
    format->wire_bytes = format->text_at + n + n_after;
    memcpy(format->wire + n_head, before, n_before);
    memcpy(format->wire + format->text_at, format->text, n);
    memcpy(format->wire + format->text_at + n, after, n_after);
    if (is_ws) {
        ws_frame_mask(format->wire + n_head, format->wire_bytes - n_head, mask_key);
    }
    for (size_t i = 0; i < sizeof format->key; i++) {
        format->key[i] = is_ws ? mask_key[(n_before + i) % 4] : 0;
    }
}

void load_echo_format_fini(struct load_echo_format *format)
{
    free(format->wire);
    free(format->text);
}

void load_echo_book_init(struct load_echo_book *book, unsigned inflight)
{
    *book = (struct load_echo_book){.room = inflight};
    book->ring = bytes_calloc(inflight, sizeof *book->ring);
}

void load_echo_book_fini(struct load_echo_book *book)
{
    free(book->ring);
    book->ring = NULL;
}

static struct load_echo_flight *flight_at(struct load_echo_book *book, unsigned i)
{
    unsigned at = book->head + i;
    return &book->ring[at < book->room ? at : at - book->room];
}

void load_echo_send(struct load_echo_book *book, const struct load_echo_format *format,
                    uint32_t number, uint64_t now_ns, uint8_t *to)
{
    char digits[LOAD_ECHO_MIN_BYTES];
    uint64_t sequence = book->next_sequence++;
    *flight_at(book, book->n++) = (struct load_echo_flight){sequence, now_ns};

    write_digits(digits, NUMBER_DIGITS, number);
    digits[NUMBER_DIGITS] = '.';
    write_digits(digits + SEQUENCE_AT, SEQUENCE_DIGITS, sequence);
    digits[LOAD_ECHO_MIN_BYTES - 1] = '.';
    memcpy(to, format->wire, format->wire_bytes);
    uint8_t *text = to + format->text_at;
    for (unsigned i = 0; i < LOAD_ECHO_MIN_BYTES; i++) {
        text[i] = (uint8_t)digits[i] ^ format->key[i & 3];
    }
}

/* Connection number, dots and filler: everything but the sequence, which it reads. */
static bool is_own_text(const struct load_echo_format *format, uint32_t number, const char *text,
                        size_t n, uint64_t *sequence)
{
    uint64_t owner = 0;
    return n == format->text_bytes && read_digits(text, NUMBER_DIGITS, &owner) && owner == number &&
           text[NUMBER_DIGITS] == '.' &&
           read_digits(text + SEQUENCE_AT, SEQUENCE_DIGITS, sequence) &&
           memcmp(text + LOAD_ECHO_MIN_BYTES - 1, format->text + LOAD_ECHO_MIN_BYTES - 1,
                  n - LOAD_ECHO_MIN_BYTES + 1) == 0;
}

/* Takes entry i out, closing the gap from the front so that the others keep their order. */
static void remove_flight(struct load_echo_book *book, unsigned i)
{
    for (; i > 0; i--) {
        *flight_at(book, i) = *flight_at(book, i - 1);
    }
    book->head = book->head + 1 < book->room ? book->head + 1 : 0;
    book->n--;
}

bool load_echo_take(struct load_echo_book *book, const struct load_echo_format *format,
                    uint32_t number, const char *text, size_t n, uint64_t *sent_ns)
{
    uint64_t sequence = 0;
    if (!is_own_text(format, number, text, n, &sequence)) {
        book->n_changed++;
        return false;
    }
    for (unsigned i = 0; i < book->n; i++) {
        struct load_echo_flight *flight = flight_at(book, i);
        if (flight->sequence == sequence) {
            *sent_ns = flight->sent_ns;
            book->n_overtaken += sequence < book->highest;
            book->highest = sequence > book->highest ? sequence : book->highest;
            remove_flight(book, i);
            return true;
        }
    }
    if (sequence < book->next_sequence) {
        book->n_duplicate++;
    } else {
        book->n_changed++;
    }
    return false;
}
