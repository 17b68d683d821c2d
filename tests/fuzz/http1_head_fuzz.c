/*
 * http1_head: the answer does not depend on the cut; what was accepted, written anew from its
 * parts, is accepted as the same request (requirement of a proxy: one meaning only).
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/drive_http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct transcript *t, struct span s)
{
    char *to = transcript_room(t, s.len);

    feed_copy(to, s.ptr, s.len);
    to[s.len] = '\0';
    t->len += s.len;
}

static void write_anew(const struct http1_head *head, struct transcript *out)
{
    add(out, head->method_name);
    add(out, SPAN_LIT(" "));
    add(out, head->target);
    add(out, head->minor == 0 ? SPAN_LIT(" HTTP/1.0\r\n") : SPAN_LIT(" HTTP/1.1\r\n"));
    for (size_t i = 0; i < head->n_fields; i++) {
        add(out, head->fields[i].name);
        add(out, SPAN_LIT(": "));
        add(out, head->fields[i].value);
        add(out, SPAN_LIT("\r\n"));
    }
    add(out, SPAN_LIT("\r\n"));
}

/* The new text may be longer ("a:b" has become "a: b"), so its limit is wider. */
static void must_mean_the_same(const struct http1_head *head)
{
    static const struct http1_limits wide = {1 << 20, 1 << 20, HTTP1_MAX_FIELDS};
    struct transcript text = {NULL, 0, 0};
    struct transcript first = {NULL, 0, 0};
    struct transcript second = {NULL, 0, 0};
    struct http1_head again;
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;

    write_anew(head, &text);
    if (http1_request_parse(span_of(text.text, text.len), &wide, &scanned, &again, &n, &fault) !=
            ERR_OK ||
        n != text.len) {
        abort();
    }
    drive_head_print(&first, head);
    drive_head_print(&second, &again);
    if (strcmp(first.text, second.text) != 0) {
        abort();
    }
    transcript_free(&text);
    transcript_free(&first);
    transcript_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Low limits, so that small inputs reach them. */
    struct drive_head drive = {.limits = {600, 60, 8}};
    struct feed feed = drive_head_feed(&drive);
    struct span in = span_of((const char *)data, size);
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;

    feed_must_agree(&feed, in);
    if (http1_request_parse(in, &drive.limits, &scanned, &drive.head, &n, &fault) == ERR_OK) {
        must_mean_the_same(&drive.head);
    }
    transcript_free(&drive.transcript);
    return 0;
}
