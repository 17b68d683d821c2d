/*
 * link: one handler link over a scripted connection, with bytes of the handler's and calls of the
 * owner's, moved by a byte code as in mount_fuzz.c: a letter and its arguments, of which only the
 * low four bits count.
 *
 *   a N ...    N bytes of the handler's          h S F    PAUSE, RESUME; or wants to know it idle
 *   b          HELLO                             i T      time passes
 *   c F        ACK or DONE of what was sent      j N      the handler reads N * 64 bytes
 *   d S F      MSG, KICK, ... for slot S         k        a cut: the turn ends here
 *   e S        the owner opens slot S            l F      FIN or reset
 *   f S N      the owner delivers N * 32 bytes   m        the owner fails the link, or says DRAIN
 *   g S        the owner closes slot S, or with  n ..     a BATCH of the next three d
 *              S from 8 on moves slot S - 8      o N      a MSG of N * 4500 bytes
 *
 * What must hold: verbs come for slots that have not left, and whole; each slot leaves when its
 * last delivery is acknowledged, or is orphaned at the end, once; what was not acknowledged is
 * given back then, and in order; room is told of only after it was missed; the window is kept;
 * numbers have no gap; a link ends by its deadlines. What is heard and said does not depend on how
 * reads are cut.
 */
#include <stdint.h>

#include "backend/link.h"
#include "base/log.h"
#include "base/text.h"
#include "harness/scripted_io.h"
#include "harness/transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N_SLOTS = 8,
    TIMEOUT_MS = 15000,
    WINDOW_BYTES = 1000,
    MAX_FRAME_BYTES = LINK_LEAST_MAX_FRAME_BYTES,
    MAX_STEPS = 200,
    MAX_WAITS = 64,
    MAX_VERB_BYTES = 256,
    MAX_SINGLE_BYTES = 1024, /* more is cut into larger pieces than single bytes */
};

struct play;

/* What bind would be. */
struct slot {
    struct link_owner owner;
    struct play *play;
    bool is_owner;
    bool is_open; /* its last delivery was not made */
    uint32_t handle;
    uint64_t open_number;
    uint64_t sequence;
    uint64_t last_returned; /* sequence of what was given back */
    unsigned n_returned;
};

struct play {
    struct rig rig; /* kept over runs */
    struct scripted peer;
    struct conn *conn;
    struct link *link; /* NULL when gone */
    struct slot slots[N_SLOTS];
    struct transcript said; /* what the owner heard */
    bool has_missed_room;
    bool was_ready;
    bool is_wild;     /* bytes of the fuzzer's went in: frames may begin anywhere */
    unsigned n_verbs; /* that the owner heard */
};

static void must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

/* -- the owner -------------------------------------------------------------------------------- */

static void on_ready(void *ctx, struct link *link)
{
    struct play *p = ctx;
    must(link == p->link && !p->was_ready, "a link is ready once");
    p->was_ready = true;
    transcript_add(&p->said, "ready ");
}

static struct slot *slot_of(struct link_owner *owner)
{
    return CONTAINER_OF(owner, struct slot, owner);
}

static void on_verb(struct link_owner *owner, const struct link_verb *verb)
{
    const struct slot *s = slot_of(owner);
    struct play *p = s->play;
    must(p->link != NULL && p->was_ready && s->is_owner, "verbs come for slots with an owner");
    must(verb->id == LINK_MSG || verb->id == LINK_ACCEPT || verb->id == LINK_REJECT ||
             verb->id == LINK_KICK || verb->id == LINK_STATE,
         "only verbs for sessions come");
    must(verb->payload.len <= MAX_FRAME_BYTES, "payloads are bounded");
    if (verb->id == LINK_MSG && span_eq(verb->args[1], SPAN_LIT("t"))) {
        must(utf8_is_valid(verb->payload), "text is UTF-8");
    }
    p->n_verbs++;
    transcript_add(&p->said, "%d:%s(", (int)(s - p->slots), link_verb_name(verb->id));
    transcript_bytes(&p->said, verb->payload);
    transcript_add(&p->said, ") ");
}

static void on_open_acked(struct link_owner *owner)
{
    const struct slot *s = slot_of(owner);
    struct play *p = s->play;
    must(s->is_owner, "acknowledged OPENs are told to owners");
    transcript_add(&p->said, "%d:acked ", (int)(s - p->slots));
}

static void on_room(void *ctx, struct link *link)
{
    struct play *p = ctx;
    must(link == p->link && p->has_missed_room, "room is told of after it was missed");
    p->has_missed_room = false;
}

static void on_left(struct link_owner *owner)
{
    struct slot *s = slot_of(owner);
    must(s->is_owner && !s->is_open, "a slot leaves once, after its last delivery");
    s->is_owner = false;
    transcript_add(&s->play->said, "%d:left ", (int)(s - s->play->slots));
}

static void on_idle(struct link_owner *owner)
{
    struct slot *s = slot_of(owner);
    must(s->is_owner && link_is_idle(s->play->link, s->handle), "an idle slot has an owner");
    transcript_add(&s->play->said, "%d:idle ", (int)(s - s->play->slots));
}

/* What the handler has got, and not acknowledged. */
static unsigned n_undone(const struct link *link, const struct slot *s)
{
    unsigned n = 0;
    for (uint64_t i = link->first_unacked; i < link->next_number; i++) {
        const struct link_delivery *d = &link->deliveries[i & (link->n_ring - 1)];
        n += d->verb == LINK_MSG && !d->is_done && d->handle == s->handle && i > s->open_number;
    }
    return n;
}

static void on_undone(struct link_owner *owner, const struct undone_message *message)
{
    struct slot *s = slot_of(owner);
    must(s->is_owner && s->play->link != NULL, "messages are given back to owners");
    must(message->sequence > s->last_returned && message->sequence <= s->sequence,
         "messages are given back once, and in order");
    must(message->data.len == 0 ||
             memcmp(message->data.ptr, &message->sequence, sizeof message->sequence) == 0,
         "they are what they were");
    s->last_returned = message->sequence;
    s->n_returned++;
}

static void on_orphan(struct link_owner *owner)
{
    struct slot *s = slot_of(owner);
    must(s->is_owner, "a slot is orphaned once");
    must(s->n_returned == n_undone(s->play->link, s),
         "all that was not acknowledged was given back");
    s->is_open = false;
    s->is_owner = false;
}

static void on_gone(void *ctx, struct link *link)
{
    struct play *p = ctx;
    must(link == p->link, "a link is gone once");
    for (int i = 0; i < N_SLOTS; i++) {
        must(!p->slots[i].is_owner, "every slot was orphaned");
    }
    p->link = NULL;
    transcript_add(&p->said, "gone ");
}

static void on_drain(void *ctx, struct link *link)
{
    struct play *p = ctx;
    must(link == p->link && p->was_ready, "a ready link drains");
    transcript_add(&p->said, "drain ");
}

static void on_done(void *ctx, struct link *link, unsigned source, uint32_t tag)
{
    (void)ctx;
    (void)link;
    (void)source;
    (void)tag;
    must(false, "nothing was tagged");
}

static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_idle = on_idle,
    .on_undone = on_undone,
    .on_orphan = on_orphan,
};

static const struct link_ops ops = {
    .on_ready = on_ready,
    .on_room = on_room,
    .on_drain = on_drain,
    .on_done = on_done,
    .on_gone = on_gone,
};

/* -- steps ------------------------------------------------------------------------------------ */

struct script {
    struct span rest;
};

static unsigned take(struct script *s)
{
    unsigned byte = s->rest.len != 0 ? (unsigned char)s->rest.ptr[0] : 0;
    s->rest = span_skip(s->rest, s->rest.len != 0 ? 1 : 0);
    return byte;
}

static unsigned take_below(struct script *s, unsigned bound)
{
    return take(s) % 16 % bound;
}

static void turn(struct play *p)
{
    bool goes_on = true;
    while (goes_on && p->peer.n_closes == 0) {
        unsigned n_reads = p->peer.n_reads;
        size_t n_written = p->peer.n_written;
        conn_poke(p->conn);
        rig_turn(&p->rig);
        bool has_moved = p->peer.n_reads != n_reads || p->peer.n_written != n_written;
        goes_on = has_moved && !scripted_is_read_out(&p->peer);
    }
}

/* The handler's bytes: in one piece, or one by one. */
static void say(struct play *p, struct span bytes, bool is_single)
{
    size_t step = !is_single ? bytes.len : bytes.len < MAX_SINGLE_BYTES ? 1 : 997;
    while (bytes.len != 0 && p->peer.n_closes == 0) {
        size_t n = step < bytes.len ? step : bytes.len;
        scripted_feed(&p->peer, span_of(bytes.ptr, n));
        bytes = span_skip(bytes, n);
        turn(p);
    }
}

static size_t put_verb(struct script *s, char out[MAX_VERB_BYTES])
{
    static const struct {
        const char *word;
        const char *more;
        const char *payload;
    } verbs[] = {
        {"MSG", " t", "hello"}, {"MSG", " b", "\xff\xfe"},  {"MSG", " t", "\xff"},
        {"KICK", " 3000", ""},  {"REJECT", " 1000", "why"}, {"ACCEPT", "", ""},
        {"STATE", "", "{}"},    {"KICK", " 999", ""},       {"FUTURE", "", "x"},
    };
    unsigned slot = take_below(s, N_SLOTS + 1);
    unsigned form = take_below(s, sizeof verbs / sizeof verbs[0]);
    int n = snprintf(out, MAX_VERB_BYTES, "%s %u%s %zu\n%s\n", verbs[form].word, slot + 1,
                     verbs[form].more, strlen(verbs[form].payload), verbs[form].payload);
    return (size_t)n;
}

static size_t put_batch(struct script *s, char out[4 * MAX_VERB_BYTES])
{
    char frames[3 * MAX_VERB_BYTES];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        n += put_verb(s, frames + n);
    }
    return (size_t)snprintf(out, 4 * MAX_VERB_BYTES, "BATCH %zu\n%.*s\n", n, (int)n, frames);
}

static void say_batch(struct play *p, struct span batch, bool is_single)
{
    unsigned n_verbs = p->n_verbs;
    bool was_linked = p->link != NULL;
    say(p, batch, is_single);
    must(!was_linked || p->link != NULL || p->is_wild || p->n_verbs == n_verbs,
         "nothing of a bad BATCH is applied");
}

static size_t put_ack(struct play *p, struct script *s, char out[MAX_VERB_BYTES])
{
    unsigned form = take_below(s, 4);
    unsigned long long last = p->link != NULL ? p->link->next_number - 1 : 0;
    if (form == 0) {
        return (size_t)snprintf(out, MAX_VERB_BYTES, "ACK %llu 0\n\n", last);
    }
    if (form == 1) {
        return (size_t)snprintf(out, MAX_VERB_BYTES, "DONE %llu 0\n\n", last);
    }
    if (form == 2) {
        return (size_t)snprintf(out, MAX_VERB_BYTES, "DONE 1 %llu 0\n\n", (last + 1) / 2);
    }
    return (size_t)snprintf(out, MAX_VERB_BYTES, "DONE 1-%llu 0\n\n", last);
}

static void miss(struct play *p, enum err e)
{
    p->has_missed_room |= e == ERR_AGAIN;
    must(e == ERR_OK || e == ERR_AGAIN, "there is memory");
}

/* A frame too large to wait in the connection, and up to one that is too large at all. */
static void say_large(struct play *p, struct script *s, bool is_single)
{
    static char bytes[16 * 4500 + MAX_VERB_BYTES];
    size_t len = take_below(s, 16) * (size_t)4500;
    int n = snprintf(bytes, MAX_VERB_BYTES, "MSG 1 b %zu\n", len);
    memset(bytes + n, 'y', len);
    bytes[(size_t)n + len] = '\n';
    say(p, span_of(bytes, (size_t)n + len + 1), is_single);
}

static void own_open(struct play *p, struct slot *slot)
{
    slot->open_number = p->link->next_number;
    slot->sequence = 0;
    enum err e = link_deliver_open(p->link, &slot->owner, SPAN_LIT("{}"), &slot->handle);
    slot->is_open = e == ERR_OK;
    slot->is_owner = e == ERR_OK;
    miss(p, e);
}

static void own_deliver(struct play *p, struct slot *slot, unsigned n)
{
    static char payload[16 * 32];
    slot->sequence++;
    memcpy(payload, &slot->sequence, sizeof slot->sequence);
    const struct undone_message message = {slot->sequence, span_of(payload, (size_t)n * 32), n & 1};
    miss(p, link_deliver_msg(p->link, slot->handle, &message, n & 2));
}

static void own_close(struct play *p, struct slot *slot, bool is_moved)
{
    slot->is_open = false;
    if (is_moved) {
        link_deliver_moved(p->link, slot->handle);
    } else {
        link_deliver_close(p->link, slot->handle, 1000, SPAN_LIT("bye"));
    }
}

static void own(struct play *p, struct script *s, unsigned what)
{
    unsigned which = take_below(s, 2 * N_SLOTS);
    struct slot *slot = &p->slots[which % N_SLOTS];
    unsigned n = what == 6 || what == 8 ? take_below(s, 16) : 0;
    if (p->link == NULL || !p->was_ready || (what == 5 ? slot->is_owner : !slot->is_open)) {
        return;
    }
    if (what == 5) {
        own_open(p, slot);
    } else if (what == 6) {
        own_deliver(p, slot, n);
    } else if (what == 7) {
        own_close(p, slot, which >= N_SLOTS);
    } else if (n & 2) {
        link_watch_idle(p->link, slot->handle);
    } else {
        link_tell_writable(p->link, slot->handle, n & 1);
    }
}

static void end_by_owner(struct play *p, struct script *s)
{
    bool is_fail = take(s) & 1;
    if (p->link == NULL) {
        return;
    }
    if (is_fail) {
        link_fail(p->link, "internal", "the %s", "owner says so");
    } else {
        link_tell_drain(p->link);
    }
}

static void move_peer(struct play *p, struct script *s, unsigned what)
{
    static const unsigned waits_ms[] = {1, 1000, TIMEOUT_MS / 2, TIMEOUT_MS};
    unsigned n = take_below(s, 16);
    if (what == 9) {
        rig_pass(&p->rig, waits_ms[n % 4]);
    } else if (what == 10) {
        p->peer.write_room = n == 15 ? SIZE_MAX : (size_t)n * 64;
    } else if (what == 12 && n % 2 == 0) {
        scripted_feed_eof(&p->peer);
    } else if (what == 12) {
        scripted_feed_error(&p->peer);
    }
}

static void step(struct play *p, struct script *s, bool is_single)
{
    char out[4 * MAX_VERB_BYTES];
    unsigned what = take_below(s, 16);
    size_t len = 0;
    switch (what) {
    case 1:
        len = take(s);
        len = len < s->rest.len ? len : s->rest.len;
        p->is_wild = true;
        say(p, span_of(s->rest.ptr, len), is_single);
        s->rest = span_skip(s->rest, len);
        break;
    case 2:
        say(p, SPAN_LIT("HELLO 1 2\n{}\n"), is_single);
        break;
    case 3:
        len = put_ack(p, s, out);
        say(p, span_of(out, len), is_single);
        break;
    case 4:
        len = put_verb(s, out);
        say(p, span_of(out, len), is_single);
        break;
    case 14:
        len = put_batch(s, out);
        say_batch(p, span_of(out, len), is_single);
        break;
    case 15:
        say_large(p, s, is_single);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        own(p, s, what);
        break;
    case 13:
        end_by_owner(p, s);
        break;
    case 11:
        rig_turn(&p->rig);
        break;
    default:
        move_peer(p, s, what);
        break;
    }
    turn(p);
}

/* -- a run ------------------------------------------------------------------------------------ */

/* Slots whose CLOSE or MOVED is not acknowledged. */
static uint32_t n_closing(const struct link *link)
{
    uint32_t n = 0;
    for (uint64_t i = link->first_unacked; i < link->next_number; i++) {
        const struct link_delivery *d = &link->deliveries[i & (link->n_ring - 1)];
        n += (d->verb == LINK_CLOSE || d->verb == LINK_MOVED) && !d->is_done;
    }
    return n;
}

static uint32_t n_free(const struct link *link)
{
    uint32_t n = 0;
    for (uint32_t i = link->free_slot; i != 0; i = link->slots[i - 1].next_free) {
        n++;
    }
    return n;
}

static void check_link(const struct play *p)
{
    uint32_t n_open = 0;
    for (int i = 0; i < N_SLOTS; i++) {
        n_open += p->slots[i].is_open;
    }
    if (p->link != NULL) {
        must(p->link->n_sessions == n_open, "open slots are counted");
        must(n_open + n_closing(p->link) + n_free(p->link) == p->link->n_slots,
             "a slot is open, closing or free");
        must(buf_len(&p->link->partial) <= MAX_FRAME_BYTES + LINK_MAX_LINE_BYTES + 1,
             "a gathered frame is bounded");
    } else {
        must(n_open == 0, "a link that is gone has no slots");
    }
}

/* Deliveries are numbered from 1, and the window is passed by one delivery at most (CLOSE, which
 * is never refused, apart). */
static void check_said(const struct play *p)
{
    struct span rest = scripted_written(&p->peer);
    uint64_t n_deliveries = 0;
    while (rest.len != 0) {
        struct link_verb verb;
        struct fault fault = {0};
        size_t used = 0;
        size_t needed = 0;
        enum err e = link_frame_parse(rest, MAX_FRAME_BYTES, &verb, &used, &needed, &fault);
        if (e == ERR_AGAIN) {
            return; /* cut off by the end */
        }
        must(e == ERR_OK, "the gateway's frames are frames");
        if (verb.id == LINK_OPEN || verb.id == LINK_MSG || verb.id == LINK_CLOSE ||
            verb.id == LINK_MOVED) {
            uint64_t number = 0;
            must(link_arg_u64(verb.args[0], UINT64_MAX, &number) == ERR_OK, "numbers are numbers");
            must(number == ++n_deliveries, "delivery numbers have no gap");
        }
        rest = span_skip(rest, used);
        must(verb.id != LINK_ERROR || rest.len == 0, "nothing follows ERROR");
    }
}

static void wait_for_the_end(struct play *p)
{
    p->peer.write_room = SIZE_MAX;
    for (int i = 0; i < MAX_WAITS && p->peer.n_closes == 0; i++) {
        turn(p);
        uint64_t next_ms = timers_next_ms(&p->rig.kit.timers);
        must(p->peer.n_closes != 0 || next_ms != TIMERS_NONE, "a link has a deadline");
        if (next_ms != TIMERS_NONE) {
            rig_pass(&p->rig, next_ms > p->rig.kit.now_ms ? next_ms - p->rig.kit.now_ms : 0);
        }
    }
    must(p->link == NULL && p->peer.n_closes == 1, "a silent handler's link ends");
}

/* Leaves what was heard and said in `text`. */
static void run(struct play *p, struct span in, bool is_single, struct transcript *text)
{
    static const struct link_opts opts = {.max_frame_bytes = MAX_FRAME_BYTES,
                                          .window_bytes = WINDOW_BYTES,
                                          .timeout_ms = TIMEOUT_MS,
                                          .n_workers = 1,
                                          .version = "0"};
    struct script s = {in};
    for (unsigned i = 0; i < N_SLOTS; i++) {
        p->slots[i] = (struct slot){.owner = {&slot_ops}, .play = p};
    }
    p->has_missed_room = false;
    p->was_ready = false;
    p->is_wild = false;
    p->n_verbs = 0;
    transcript_clear(&p->said);
    p->conn = scripted_conn(&p->rig, &p->peer);
    must(link_create(&p->rig.kit, p->conn, &opts, &ops, p, &p->link) == ERR_OK, "there is memory");
    for (int i = 0; i < MAX_STEPS && s.rest.len != 0; i++) {
        step(p, &s, is_single);
        check_link(p);
    }
    wait_for_the_end(p);
    check_said(p);
    transcript_clear(text);
    transcript_bytes(text, scripted_written(&p->peer));
    transcript_bytes(text, span_str(transcript_text(&p->said)));
    scripted_fini(&p->peer);
    rig_reset(&p->rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play p;
    static struct transcript whole;
    static struct transcript single;
    struct span in = span_of((const char *)data, size);

    if (p.rig.loop == NULL) {
        log_set_level(LOG_ERROR);
        rig_start(&p.rig);
        rig_reset(&p.rig);
    }
    run(&p, in, false, &whole);
    run(&p, in, true, &single);
    if (strcmp(transcript_text(&whole), transcript_text(&single)) != 0) {
        (void)fprintf(stderr, "whole:\n  %s\nbyte by byte:\n  %s\n", transcript_text(&whole),
                      transcript_text(&single));
        abort();
    }
    return 0;
}
