/* link_frame: frames and faults do not depend on the cut, at a low and at no limit of the payload.
 */
#include <stdint.h>

#include "harness/drive_link_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct drive_link drive = {.max_payload = 32};
    struct feed feed = drive_link_feed(&drive);
    struct span in = span_of((const char *)data, size);

    feed_must_agree(&feed, in);
    drive.max_payload = UINT64_MAX;
    feed_must_agree(&feed, in);
    transcript_free(&drive.transcript);
    return 0;
}
