/*
 * http_conn: a whole connection over a scripted peer (harness/http_rig.h).
 *
 * The input is a play: 0xff and the byte behind it are an event (a cut, an answer, time, the peer's
 * end or reset, a peer that stops reading or reads on, the worker's end), all else is bytes. Then
 * every pending answer is given and time passes until the connection is closed. It is played with
 * the cuts, without them if there are any, and (one input in 16) byte by byte.
 *
 * What must hold: what is answered does not depend on the cuts; what is held is bounded; a
 * connection always has a deadline, and it comes; whoever waits is told of the end once; nothing is
 * left over. The loop is made once, so that a run costs no system call.
 */
#include <stdint.h>

#include "base/log.h"
#include "harness/http_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MARK = 0xff,
    MAX_BYTES = 8192,
    MAX_SINGLE_BYTES = 1024, /* of an input that is played byte by byte */
    MAX_HELD_BYTES = MAX_BYTES,
    MAX_UNSENT_BYTES = CONN_HIGH_WATER_BYTES + HTTP_RIG_BIG_BYTES + MAX_BYTES,
    MAX_WAITS = 64,
    MAX_LIFE_MS = HTTP_RIG_IDLE_MS + HTTP_RIG_HEAD_MS + HTTP_RIG_BODY_MS +
                  SCRIPTED_WRITE_TIMEOUT_MS + CONN_DRAIN_MS + 5000,
};

enum cutting {
    CUT_AS_SAID,
    CUT_NOWHERE,
    CUT_EVERYWHERE,
};

/* A reset came over output: how much of it had got through is the network's secret. */
static bool is_output_lost;

static void must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

static void check_bounds(const struct http_rig *h)
{
    if (!http_rig_is_dead(h)) {
        must(buf_len(&h->conn->in) <= MAX_HELD_BYTES, "unread bytes are bounded");
        must(buf_len(&h->conn->out) <= MAX_UNSENT_BYTES, "unsent bytes are bounded");
    }
}

/* Returns false at the worker's end. */
static bool happen(struct http_rig *h, uint8_t event)
{
    static const unsigned waits_ms[] = {1, 1000, HTTP_RIG_HEAD_MS, HTTP_RIG_IDLE_MS};
    switch (event & 7) {
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
        is_output_lost = is_output_lost || buf_len(&h->conn->out) != 0;
        scripted_feed_error(&h->peer);
        break;
    case 5:
        h->peer.write_room = event >> 3;
        break;
    case 6:
        h->peer.write_room = SIZE_MAX;
        break;
    case 7:
        conn_end_all(h->rig.loop);
        return false;
    default:
        break;
    }
    http_rig_run(h);
    return true;
}

static void feed_cut(struct http_rig *h, struct span bytes, enum cutting cutting)
{
    size_t step = cutting == CUT_EVERYWHERE ? 1 : bytes.len;
    for (; bytes.len != 0; bytes = span_skip(bytes, step)) {
        http_rig_feed(h, span_of(bytes.ptr, step));
        check_bounds(h);
    }
}

/* Whether any bytes are cut: else one play tells all. */
static bool play(struct http_rig *h, struct span in, enum cutting cutting)
{
    static char held[MAX_BYTES];
    size_t n_held = 0;
    bool goes_on = true;
    bool has_cut = false;
    while (in.len != 0 && goes_on && !http_rig_is_dead(h)) {
        size_t n = span_find(in, (char)MARK);
        memcpy(held + n_held, in.ptr, n);
        n_held += n;
        in = span_skip(in, n);
        uint8_t event = in.len >= 2 ? (uint8_t)in.ptr[1] : 0;
        bool is_cut = (event & 7) == 0;
        in = span_skip(in, in.len >= 2 ? 2 : in.len);
        has_cut |= is_cut && in.len != 0 && n_held != 0;
        if (is_cut && cutting == CUT_NOWHERE && in.len != 0) {
            continue;
        }
        feed_cut(h, span_of(held, n_held), cutting);
        n_held = 0;
        goes_on = is_cut || happen(h, event);
    }
    return has_cut;
}

/* Nobody has a deadline while a handler thinks, or for an upgraded stream: that is the handler's
 * side, which now does its part. */
static void let_handlers_end(struct http_rig *h)
{
    http_rig_settle(h);
    struct exchange *x = LIST_FIRST(&h->exchanges);
    if (x != NULL && x->octets != NULL) {
        http_octets_close(x->octets);
        exchange_end(x);
        rig_turn(&h->rig);
    }
}

static void wait_for_the_end(struct http_rig *h)
{
    uint64_t start_ms = h->rig.kit.now_ms;
    for (int i = 0; i < MAX_WAITS && !http_rig_is_dead(h); i++) {
        let_handlers_end(h);
        uint64_t next_ms = timers_next_ms(&h->rig.kit.timers);
        must(http_rig_is_dead(h) || next_ms != TIMERS_NONE, "a connection has a deadline");
        if (next_ms != TIMERS_NONE) {
            rig_pass(&h->rig, next_ms > h->rig.kit.now_ms ? next_ms - h->rig.kit.now_ms : 0);
        }
    }
    must(http_rig_is_dead(h), "deadlines end a connection");
    must(h->rig.kit.now_ms - start_ms <= MAX_LIFE_MS, "deadlines do not add up without end");
}

/* The outcome, valid until the next run. */
static const char *run(struct http_rig *h, struct span in, enum cutting cutting, bool *has_cut)
{
    transcript_clear(&h->said);
    http_rig_open(h);
    *has_cut = play(h, in, cutting);
    wait_for_the_end(h);
    (void)http_rig_text(h);
    http_rig_close(h);
    rig_reset(&h->rig);
    return transcript_text(&h->text);
}

static bool is_played_byte_by_byte(struct span in)
{
    static const struct hash_key key = {5, 6};
    return in.len <= MAX_SINGLE_BYTES && hash_bytes(&key, in) % 16 == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_preface preface = {SPAN_LIT_INIT("<ask/>\0"), SPAN_LIT_INIT("told")};
    static struct http_rig h = {.preface = &preface};
    static struct transcript want;
    struct span in = span_of((const char *)data, size < MAX_BYTES ? size : MAX_BYTES);

    if (h.rig.loop == NULL) {
        log_set_level(LOG_ERROR);
        rig_start(&h.rig);
        rig_reset(&h.rig);
    }
    bool has_cut = false;
    is_output_lost = false;
    const char *text = run(&h, in, CUT_AS_SAID, &has_cut);
    transcript_clear(&want);
    memcpy(transcript_room(&want, h.text.len), text, h.text.len + 1);
    want.len = h.text.len;
    /* What a handler aborts takes earlier answers with it, unless a cut had let them out. */
    bool is_cut_off = is_output_lost || strstr(text, "/abort ") != NULL;
    int first = has_cut ? CUT_NOWHERE : CUT_EVERYWHERE;
    int last = is_played_byte_by_byte(in) ? CUT_EVERYWHERE : CUT_NOWHERE;
    for (int cutting = first; cutting <= last && !is_cut_off; cutting++) {
        text = run(&h, in, (enum cutting)cutting, &has_cut);
        if (h.text.len != want.len || memcmp(text, want.text, want.len) != 0) {
            (void)fprintf(stderr, "cut differently (%d):\n  %s\nas said:\n  %s\n", cutting, text,
                          want.text);
            abort();
        }
    }
    return 0;
}
