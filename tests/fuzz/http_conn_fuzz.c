/*
 * http_conn: a whole connection over a scripted peer (harness/http_rig.h).
 *
 * First as a play: 0xff and the byte behind it are an event (a cut, an answer, time, the end, a
 * reset, a peer that stops reading or reads on), all else is bytes; what is left at the end is an
 * abort, so is any second word to a handler. Then the bytes alone, cut in several ways: what is
 * answered must not depend on the cuts.
 */
#include <stdint.h>

#include "harness/http_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MARK = 0xff,
    MAX_BYTES = 8192, /* of the second part: it costs several runs */
};

static void happen(struct http_rig *h, uint8_t event)
{
    static const unsigned waits_ms[] = {1, 1000, HTTP_RIG_HEAD_MS, HTTP_RIG_IDLE_MS};
    switch (event & 7) {
    case 0:
        break; /* a cut */
    case 1:
        (void)http_rig_settle_one(h);
        break;
    case 2:
        rig_pass(&h->rig, waits_ms[event >> 3 & 3]);
        break;
    case 3:
        scripted_feed_eof(&h->peer);
        break;
    case 4:
        scripted_feed_error(&h->peer);
        break;
    case 5:
        h->peer.write_room = event >> 3;
        break;
    case 6:
        h->peer.write_room = SIZE_MAX;
        break;
    default:
        scripted_feed_again(&h->peer);
        break;
    }
    if (!http_rig_is_dead(h)) {
        conn_poke(h->conn);
        rig_turn(&h->rig);
    }
}

static void play(struct span in)
{
    struct http_rig h = {.rig.loop = NULL};
    http_rig_start(&h);
    while (in.len != 0 && !http_rig_is_dead(&h)) {
        size_t n = span_find(in, (char)MARK);
        http_rig_feed(&h, span_of(in.ptr, n));
        in = span_skip(in, n);
        if (in.len >= 2) {
            happen(&h, (uint8_t)in.ptr[1]);
        }
        in = span_skip(in, in.len >= 2 ? 2 : in.len);
    }
    http_rig_stop(&h);
    http_rig_free(&h);
}

/* Without the events. Returns the length. */
static size_t take_bytes(struct span in, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        if ((uint8_t)in.ptr[i] == MARK) {
            i++;
        } else {
            out[n++] = in.ptr[i];
        }
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char bytes[MAX_BYTES];
    struct span in = span_of((const char *)data, size < MAX_BYTES ? size : MAX_BYTES);
    struct http_rig h = {.rig.loop = NULL};
    struct feed feed = http_rig_feeder(&h);

    play(in);
    feed_must_agree(&feed, span_of(bytes, take_bytes(in, bytes)));
    http_rig_stop(&h);
    http_rig_free(&h);
    return 0;
}
