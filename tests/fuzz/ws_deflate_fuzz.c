/*
 * ws_deflate: the input is the lines of Sec-WebSocket-Extensions, each ended by LF. What is agreed
 * keeps to the bounds of both sides; the grammar alone decides about a refusal; and lines mean the
 * same as one line with commas in between (RFC 6455 9.1), from storage of exactly their size.
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/feed.h"
#include "wire/ws_deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void must_keep_bounds(const struct ws_deflate_terms *terms,
                             const struct ws_deflate_opts *opts)
{
    char answer[WS_DEFLATE_ANSWER_BYTES];

    if (!terms->is_on) {
        return;
    }
    must(terms->server_bits >= WS_DEFLATE_MIN_BITS && terms->server_bits <= opts->max_window_bits);
    must(terms->client_bits >= 8 && terms->client_bits <= WS_DEFLATE_MAX_BITS);
    must(opts->allow_takeover || !(terms->server_takeover || terms->client_takeover));
    size_t n = ws_deflate_answer(terms, answer);
    must(span_starts_with(span_of(answer, n), SPAN_LIT("permessage-deflate")));
}

static size_t split(struct span lines, struct http1_head *head)
{
    head->n_fields = 0;
    while (lines.len != 0 && head->n_fields < HTTP1_MAX_FIELDS) {
        size_t n = span_find(lines, '\n');
        head->fields[head->n_fields++] =
            (struct http1_field){SPAN_LIT("Sec-WebSocket-Extensions"), span_of(lines.ptr, n)};
        lines = span_skip(lines, n < lines.len ? n + 1 : n);
    }
    return lines.len;
}

static void join(char *bytes, size_t size, struct http1_head *head)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = bytes[i] == '\n' ? ',' : bytes[i];
    }
    head->n_fields = 1;
    head->fields[0].value = span_of(bytes, size);
}

static void play(char *bytes, size_t size, const struct ws_deflate_opts *opts)
{
    static struct http1_head head;
    struct ws_deflate_terms terms;
    struct ws_deflate_terms other;

    size_t n_left = split(span_of(bytes, size), &head);
    enum err e = ws_deflate_negotiate(&head, opts, &terms);
    must(e == ERR_OK || e == ERR_SYNTAX);
    must(ws_deflate_negotiate(&head, NULL, &other) == e && !other.is_on);
    must_keep_bounds(&terms, opts);
    if (e == ERR_OK && n_left == 0) {
        join(bytes, size, &head);
        must(ws_deflate_negotiate(&head, opts, &other) == ERR_OK);
        must(other.is_on == terms.is_on && other.server_bits == terms.server_bits &&
             other.client_bits == terms.client_bits &&
             other.server_takeover == terms.server_takeover &&
             other.client_takeover == terms.client_takeover);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_deflate_opts all[] = {
        {.allow_takeover = true, .max_window_bits = 15, .level = 6},
        {.allow_takeover = false, .max_window_bits = 10, .level = 6},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char *bytes = feed_alloc(size);
        feed_copy(bytes, (const char *)data, size);
        play(bytes, size, &all[i]);
        free(bytes);
    }
    return 0;
}
