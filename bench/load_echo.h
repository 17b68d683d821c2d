/*
 * load_echo: the messages of a session and the book that is kept of them.
 *
 * A message is fixed-width text, so that it can be stamped out of a template without formatting:
 *
 *   0000042.000000000017.abcdefghijk...     connection, sequence, filler up to the size
 *
 * The book is a ring of what is under way, oldest first. An echo below the next number that is not
 * in it was here before (duplicated); one that was never sent or differs in a byte is changed; one
 * that comes after a later one was overtaken; what is in the ring at the end is lost.
 * Used by load_user and the transports (load_ws, load_xhr).
 */
#ifndef POSTERN_BENCH_LOAD_ECHO_H
#define POSTERN_BENCH_LOAD_ECHO_H

#include "load_opts.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_ECHO_MIN_BYTES 21

/* How a message looks on the wire; one for all sessions. */
struct load_echo_format {
    uint8_t *wire; /* frame head, brackets and text: everything but the two numbers */
    size_t wire_bytes;
    size_t text_at;
    uint8_t key[4]; /* XORed over the text from text_at on; zero on HTTP */
    char *text;     /* the text in clear, for the comparison */
    size_t text_bytes;
};

struct load_echo_flight {
    uint64_t sequence;
    uint64_t sent_ns;
};

struct load_echo_book {
    struct load_echo_flight *ring;
    unsigned room;
    unsigned head;
    unsigned n; /* under way */
    uint64_t next_sequence;
    uint64_t highest; /* sequence that has come back */
    uint64_t n_duplicate;
    uint64_t n_overtaken; /* came after a later one */
    uint64_t n_changed;   /* bytes differ from what was sent */
};

void load_echo_format_init(struct load_echo_format *format, const struct load_opts *opts);
void load_echo_format_fini(struct load_echo_format *format);

void load_echo_book_init(struct load_echo_book *book, unsigned inflight);
void load_echo_book_fini(struct load_echo_book *book);

/* Writes the next message of connection `number` and books it as sent now; format->wire_bytes. */
void load_echo_send(struct load_echo_book *book, const struct load_echo_format *format,
                    uint32_t number, uint64_t now_ns, uint8_t *to);

/* Checks an echo. True when it was under way and is unchanged; then *sent_ns says since when. */
bool load_echo_take(struct load_echo_book *book, const struct load_echo_format *format,
                    uint32_t number, const char *text, size_t n, uint64_t *sent_ns);

#endif
