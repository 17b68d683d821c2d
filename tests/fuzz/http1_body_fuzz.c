/*
 * http1_body: content, end and error do not depend on the cut, for chunks and for a body by length;
 * never more content than the limit.
 */
#include <stdint.h>

#include "harness/drive_http1_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct drive_body drive = {.framing = HTTP1_BODY_CHUNKED, .max_bytes = 64};
    struct feed feed = drive_body_feed(&drive);
    struct span in = span_of((const char *)data, size);

    feed_must_agree(&feed, in);
    drive.max_bytes = UINT64_MAX;
    feed_must_agree(&feed, in);
    drive.framing = HTTP1_BODY_LENGTH;
    drive.content_length = size / 2;
    feed_must_agree(&feed, in);
    transcript_free(&drive.transcript);
    return 0;
}
