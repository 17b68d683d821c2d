/*
 * ws_frame: events and faults do not depend on the cut, with and without permessage-deflate. The
 * driver also checks that first and last pieces come in pairs and that nothing big is left waiting.
 */
#include <stdint.h>

#include "harness/drive_ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct drive_ws drive = {.limits = {.max_message_bytes = 300, .max_fragments = 5}};
    struct feed feed = drive_ws_feed(&drive);
    struct span in = span_of((const char *)data, size);

    feed_must_agree(&feed, in);
    drive.limits.allow_rsv1 = true;
    drive.limits.max_compressed_bytes = 200;
    drive.limits.max_message_bytes = UINT64_MAX;
    feed_must_agree(&feed, in);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
    return 0;
}
