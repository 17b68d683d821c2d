/*
 * hixie76: keys, events and faults. The first byte says which: a head, whose answer does not depend
 * on where its bytes lie and which is only accepted with what it needs; or frames, where nothing
 * depends on the cut (the driver checks that first and last pieces come in pairs).
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/drive_hixie76.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span only(const struct http1_head *head, const char *name)
{
    const struct http1_field *field = http1_field_only(head, span_str(name));

    if (field == NULL) {
        abort();
    }
    return field->value;
}

/* By other means: the digits of a key are its number times its blanks. */
static void number_must_be(struct span key, uint32_t number)
{
    uint64_t digits = 0;
    uint64_t n_blanks = 0;

    for (size_t i = 0; i < key.len; i++) {
        n_blanks += key.ptr[i] == ' ';
        digits = key.ptr[i] >= '0' && key.ptr[i] <= '9' ? digits * 10 + (uint64_t)key.ptr[i] - '0'
                                                        : digits;
    }
    if (n_blanks == 0 || digits != number * n_blanks) {
        abort();
    }
}

static void check_head(struct span in)
{
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    static struct http1_head head;
    struct http1_fault fault;
    struct hixie76_handshake out;
    const char *why = NULL;
    uint32_t scanned = 0;
    size_t n = 0;

    if (http1_request_parse(in, &limits, &scanned, &head, &n, &fault) != ERR_OK) {
        return;
    }
    if (hixie76_check(&head, &out, &why) != ERR_OK) {
        if (why == NULL) {
            abort();
        }
        return;
    }
    if (head.method != HTTP_GET || head.minor != 1 || !head.has_upgrade) {
        abort();
    }
    number_must_be(only(&head, "sec-websocket-key1"), out.keys.numbers[0]);
    number_must_be(only(&head, "sec-websocket-key2"), out.keys.numbers[1]);
}

static void check_frames(struct span in)
{
    struct drive_hixie76 drive = {.max_message_bytes = 300};
    struct feed feed = drive_hixie76_feed(&drive);

    feed_must_agree(&feed, in);
    drive.max_message_bytes = UINT64_MAX;
    feed_must_agree(&feed, in);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);

    if (size != 0 && data[0] == 'G') {
        check_head(in);
    } else {
        check_frames(in);
    }
    return 0;
}
