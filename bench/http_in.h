/*
 * http_in: HTTP/1.1 responses, read piece by piece. A pull parser: the caller has bytes in hand and
 * asks for the next event; what cannot be judged yet stays unconsumed and is offered again with
 * more behind it. Heads and chunk-size lines are taken whole, bodies as they come.
 *
 *   HEAD --> LENGTH / TO_EOF / CHUNK_SIZE <-> CHUNK_DATA --> TRAILER --> END --> HEAD ...
 */
#ifndef POSTERN_BENCH_HTTP_IN_H
#define POSTERN_BENCH_HTTP_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_IN_HEAD_MAX 65536

enum http_in_state {
    HTTP_IN_HEAD,
    HTTP_IN_LENGTH,     /* `left` bytes of body to come */
    HTTP_IN_CHUNK_SIZE, /* a hexadecimal line is next */
    HTTP_IN_CHUNK_DATA, /* `left` bytes of this chunk to come */
    HTTP_IN_CHUNK_CRLF, /* the line end behind a chunk */
    HTTP_IN_TRAILER,    /* lines up to an empty one */
    HTTP_IN_TO_EOF,     /* neither length nor chunks: the body ends with the connection */
    HTTP_IN_END,        /* the response is whole, END not yet told */
};

enum http_in_event {
    HTTP_IN_MORE, /* nothing to tell before more bytes come */
    HTTP_IN_GOT_HEAD,
    HTTP_IN_GOT_BODY,
    HTTP_IN_GOT_END,
    HTTP_IN_BAD,
};

struct slice {
    const char *at;
    size_t n;
};

struct http_in {
    enum http_in_state state;
    int status;
    bool will_close; /* the peer said Connection: close, or is HTTP/1.0 */
    bool is_chunked;
    bool has_length;
    uint64_t left;
};

/* Next event of `*in`, which moves past what was consumed. *part is the head with its empty line
 * at GOT_HEAD, a piece of the body at GOT_BODY; it points into the caller's bytes. */
enum http_in_event http_in_next(struct http_in *http, struct slice *in, struct slice *part);

/* The connection ended: is this a proper end of the response under way? */
bool http_in_may_end(const struct http_in *http);

/* Value of a field of a head that http_in_next() gave; false when absent. Name in lower case. */
bool http_in_field(struct slice head, const char *name, struct slice *value);

/* Does the slice hold the word, without regard to case? */
bool http_in_has_word(struct slice value, const char *word);

#endif
