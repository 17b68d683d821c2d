/*
 * ws_handshake: over a head that came whole and one that came in pieces (other storage) the answer
 * is the same; what was accepted has a GET, the fields it needs, an answer of base64 only, and
 * subprotocols that are different tokens and lie in the fields in their order.
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/feed.h"
#include "harness/transcript.h"
#include "wire/ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct drive {
    uint32_t scanned;
    struct http1_head head;
    struct transcript transcript;
};

static void start(void *ctx)
{
    struct drive *d = ctx;

    d->scanned = 0;
    transcript_clear(&d->transcript);
}

static void must_be_complete(const struct http1_head *head, const struct ws_handshake *out)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    bool is_good = span_eq(head->method_name, SPAN_LIT("GET")) && head->minor == 1 &&
                   head->has_upgrade &&
                   http1_field_find(head, SPAN_LIT("Sec-WebSocket-Key")) != NULL;

    for (size_t i = 0; i < sizeof out->accept; i++) {
        is_good = is_good && out->accept[i] != '\0' && strchr(digits, out->accept[i]) != NULL;
    }
    if (!is_good) {
        abort();
    }
}

static void must_be_offers(const struct http1_head *head, const struct ws_subprotocols *offers)
{
    static const char *const names[] = {"chat", "superchat"};
    bool is_good = offers->n <= WS_MAX_SUBPROTOCOLS;

    for (size_t i = 0; is_good && i < offers->n; i++) {
        is_good = http1_is_token(offers->names[i]) &&
                  (i == 0 || offers->names[i - 1].ptr < offers->names[i].ptr);
        for (size_t j = 0; j < i; j++) {
            is_good = is_good && !span_eq(offers->names[i], offers->names[j]);
        }
        /* The naive reader, but for what it makes of case. */
        is_good =
            is_good && http1_list_has(head, SPAN_LIT("Sec-WebSocket-Protocol"), offers->names[i]);
    }
    struct span chosen = ws_subprotocols_choose(offers, names, 2);
    if (!is_good || (chosen.len != 0 && !span_eq(chosen, SPAN_LIT("chat")) &&
                     !span_eq(chosen, SPAN_LIT("superchat")))) {
        abort();
    }
}

static size_t take(void *ctx, char *bytes, size_t len, bool *stop)
{
    struct drive *d = ctx;
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct http1_fault fault;
    struct ws_handshake out;
    unsigned status = 0;
    const char *why = NULL;
    size_t n = 0;

    enum err e =
        http1_request_parse(span_of(bytes, len), &limits, &d->scanned, &d->head, &n, &fault);
    *stop = e != ERR_AGAIN;
    if (e != ERR_OK) {
        return 0;
    }
    if (ws_handshake_check(&d->head, &out, &status, &why) == ERR_OK) {
        must_be_complete(&d->head, &out);
        must_be_offers(&d->head, &out.offers);
        transcript_bytes(&d->transcript, span_of(out.accept, sizeof out.accept));
        for (size_t i = 0; i < out.offers.n; i++) {
            transcript_bytes(&d->transcript, out.offers.names[i]);
        }
    } else {
        transcript_add(&d->transcript, "%u %s", status, why);
    }
    return n;
}

static const char *text(void *ctx)
{
    struct drive *d = ctx;

    return transcript_text(&d->transcript);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct drive drive = {.scanned = 0};
    struct feed feed = {&drive, start, take, text};

    feed_must_agree(&feed, span_of((const char *)data, size));
    transcript_free(&drive.transcript);
    return 0;
}
