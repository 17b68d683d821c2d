/* link: see link.h. This file is the life of a link and what it reads; link_out.c is what it
 * delivers. */
#include "backend/link.h"

#include <stdarg.h>
#include <stdio.h>

#include "backend/link_internal.h"
#include "base/kit.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/conn.h"

enum {
    PARTIAL_FROM_BYTES = 32 << 10, /* a frame larger than this is gathered here, not in the conn */
    MAX_SENTENCE_BYTES = 512,
};

static const char *name_of(const struct link *link)
{
    return link->name != NULL ? link->name : "-";
}

/* Operators hear of handlers; how workers share them is our own affair. */
static enum log_level level_of(const struct link *link)
{
    return link->opts->is_relay ? LOG_DEBUG : LOG_INFO;
}

static uint64_t *gauge_of(struct link *link)
{
    struct counters *counters = &link->kit->counters;
    return link->opts->is_relay ? &counters->relays_open : &counters->links_open;
}

/* -- end -------------------------------------------------------------------------------------- */

static void reap(struct turn_task *task)
{
    struct link *link = CONTAINER_OF(task, struct link, reap);
    link_out_fini(link);
    buf_fini(&link->partial);
    while (link->n_mounts != 0) {
        mem_free(link->mounts[--link->n_mounts]);
    }
    mem_free(link->name);
    mem_free(link);
}

/* The connection is closed or gone already. */
static void end(struct link *link)
{
    if (link->is_gone) {
        return;
    }
    link->is_gone = true;
    LOG(level_of(link), "handler link ended", "handler=%s sessions=%u", name_of(link),
        link->n_sessions);
    timer_cancel(&link->kit->timers, &link->timer);
    (*gauge_of(link))--;
    link_return_undone(link);
    for (uint32_t i = 0; i < link->n_slots; i++) {
        struct link_owner *owner = link->slots[i].owner;
        link->slots[i].owner = NULL;
        if (owner != NULL) {
            owner->ops->on_orphan(owner);
        }
    }
    link->n_sessions = 0;
    link->ops->on_gone(link->ctx, link);
    turn_schedule(&link->kit->turn, TURN_REAP, &link->reap, reap);
}

void link_fail(struct link *link, const char *code, const char *format, ...)
{
    if (link->is_gone) {
        return;
    }
    char sentence[MAX_SENTENCE_BYTES];
    char quoted[LOG_QUOTED_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    struct span text = span_of(sentence, n < 0 ? 0 : strnlen(sentence, sizeof sentence));
    LOG(LOG_WARN, "handler link refused", "handler=%s code=%s why=%s", name_of(link), code,
        log_quoted(text, quoted));
    link->kit->counters.link_errors++;
    char word[64];
    (void)snprintf(word, sizeof word, "ERROR %s", code);
    if (link_put(conn_out(link->conn), word, NULL, 0, text) == ERR_OK) {
        conn_wrote(link->conn);
    }
    conn_close(link->conn);
    end(link);
}

void link_break(struct link *link)
{
    link->kit->counters.out_of_memory++;
    if (!link->is_gone) {
        link->is_broken = true;
        timer_arm(&link->kit->timers, &link->timer, link->kit->now_ms);
    }
}

void link_close(struct link *link)
{
    if (!link->is_gone) {
        conn_close(link->conn);
        end(link);
    }
}

/* -- verbs ------------------------------------------------------------------------------------ */

static bool is_close_code(uint64_t code)
{
    return code == 1000 || (code >= 3000 && code <= 4999);
}

static bool has_args(struct link *link, const struct link_verb *verb, unsigned n)
{
    if (verb->n_args == n) {
        return true;
    }
    link_fail(link, "bad-verb",
              "%s takes %u argument(s) before the length, %u came; see PROTOCOL.md",
              link_verb_name(verb->id), n, verb->n_args);
    return false;
}

static bool check_handle(struct link *link, const struct link_verb *verb)
{
    uint64_t handle = 0;
    if (link_arg_u64(verb->args[0], UINT32_MAX, &handle) == ERR_OK &&
        link_slot_of(link, handle) != NULL) {
        return true;
    }
    link_fail(link, "bad-handle",
              "%s names the handle %.*s, which this link was never given by OPEN",
              link_verb_name(verb->id), (int)(verb->args[0].len < 40 ? verb->args[0].len : 40),
              verb->args[0].ptr);
    return false;
}

static bool check_msg(struct link *link, const struct link_verb *verb)
{
    if (!has_args(link, verb, 2) || !check_handle(link, verb)) {
        return false;
    }
    bool is_text = span_eq(verb->args[1], SPAN_LIT("t"));
    if (!is_text && !span_eq(verb->args[1], SPAN_LIT("b"))) {
        link_fail(link, "bad-verb", "the kind of MSG is t (text) or b (binary), not \"%.*s\"",
                  (int)(verb->args[1].len < 16 ? verb->args[1].len : 16), verb->args[1].ptr);
        return false;
    }
    if (is_text && !utf8_is_valid(verb->payload)) {
        link_fail(link, "bad-frame",
                  "MSG of kind t is not valid UTF-8; send binary data with kind b");
        return false;
    }
    return true;
}

static bool check_coded(struct link *link, const struct link_verb *verb)
{
    uint64_t code = 0;
    if (!has_args(link, verb, 2) || !check_handle(link, verb)) {
        return false;
    }
    if (link_arg_u64(verb->args[1], 4999, &code) != ERR_OK || !is_close_code(code)) {
        link_fail(link, "bad-verb", "%s needs a close code of 1000 or 3000 to 4999",
                  link_verb_name(verb->id));
        return false;
    }
    if (verb->payload.len > LINK_MAX_REASON_BYTES) {
        link_fail(link, "too-big", "a reason holds at most %d bytes, %zu came",
                  LINK_MAX_REASON_BYTES, verb->payload.len);
        return false;
    }
    if (!utf8_is_valid(verb->payload)) {
        link_fail(link, "bad-frame", "the reason of %s is not valid UTF-8",
                  link_verb_name(verb->id));
        return false;
    }
    return true;
}

static bool read_range(struct span arg, uint64_t *first, uint64_t *last)
{
    size_t dash = span_find(arg, '-');
    if (link_arg_u64(span_of(arg.ptr, dash), UINT64_MAX, first) != ERR_OK) {
        return false;
    }
    *last = *first;
    return dash == arg.len || link_arg_u64(span_skip(arg, dash + 1), UINT64_MAX, last) == ERR_OK;
}

/* ACK n and DONE n[-m]...: `apply` false only checks. */
static bool acknowledge(struct link *link, const struct link_verb *verb, bool apply)
{
    for (unsigned i = 0; i < verb->n_args; i++) {
        uint64_t first = 0;
        uint64_t last = 0;
        bool is_good = read_range(verb->args[i], &first, &last);
        if (verb->id == LINK_ACK) {
            is_good = is_good && span_find(verb->args[i], '-') == verb->args[i].len;
            first = 1;
        }
        if (!is_good || !link_was_sent(link, first, last)) {
            link_fail(link, "bad-verb",
                      "%s names a delivery that was never sent: %.*s; the last one is %llu",
                      link_verb_name(verb->id),
                      (int)(verb->args[i].len < 40 ? verb->args[i].len : 40), verb->args[i].ptr,
                      (unsigned long long)(link->next_number - 1));
            return false;
        }
        if (apply) {
            (void)link_acknowledge(link, first, last);
        }
    }
    return true;
}

/* Whether the verb may be applied; else the link has failed. `misplaced`: the code for a verb that
 * may not come here at all. */
static bool check_verb(struct link *link, const struct link_verb *verb, const char *misplaced)
{
    switch (verb->id) {
    case LINK_MSG:
        return check_msg(link, verb);
    case LINK_KICK:
    case LINK_REJECT:
        return check_coded(link, verb);
    case LINK_ACCEPT:
        return has_args(link, verb, 1) && check_handle(link, verb);
    case LINK_STATE:
        if (verb->payload.len > LINK_MAX_STATE_BYTES) {
            link_fail(link, "too-big", "STATE holds at most %d bytes, %zu came",
                      LINK_MAX_STATE_BYTES, verb->payload.len);
            return false;
        }
        return has_args(link, verb, 1) && check_handle(link, verb);
    case LINK_ACK:
        return has_args(link, verb, 1) && acknowledge(link, verb, false);
    case LINK_DONE:
        return acknowledge(link, verb, false);
    case LINK_HELLO:
    case LINK_WELCOME:
    case LINK_ERROR:
    case LINK_OPEN:
    case LINK_CLOSE:
    case LINK_MOVED:
    case LINK_BATCH:
    case LINK_PAUSE:
    case LINK_RESUME:
    case LINK_PING:
    case LINK_PONG:
    case LINK_DRAIN:
        link_fail(link, misplaced, "%s cannot come here", link_verb_name(verb->id));
        return false;
    case LINK_UNKNOWN:
        break; /* of a later version: passed over */
    }
    return true;
}

static void apply_verb(struct link *link, const struct link_verb *verb)
{
    if (verb->id == LINK_ACK || verb->id == LINK_DONE) {
        (void)acknowledge(link, verb, true);
        return;
    }
    if (verb->id == LINK_UNKNOWN) {
        return;
    }
    uint64_t handle = 0;
    (void)!link_arg_u64(verb->args[0], UINT32_MAX, &handle);
    struct link_slot *slot = link_slot_of(link, handle);
    if (slot->owner == NULL) {
        link->kit->counters.stale_verbs++; /* normal: it crossed a CLOSE */
        return;
    }
    slot->owner->ops->on_verb(slot->owner, verb);
}

/* Two passes: nothing of a BATCH applies unless all of it is good. */
static void take_batch(struct link *link, struct span frames)
{
    for (int pass = 0; pass < 2; pass++) {
        struct span rest = frames;
        while (rest.len != 0 && !link->is_gone) {
            struct link_verb verb;
            struct fault fault = {0};
            size_t used = 0;
            size_t needed = 0;
            if (link_frame_parse(rest, link->max_frame_bytes, &verb, &used, &needed, &fault) !=
                ERR_OK) {
                link_fail(link, "bad-batch", "frame at byte %zu of the BATCH: %s",
                          frames.len - rest.len,
                          fault.why != NULL ? fault.why : "it is cut off by the end of the BATCH");
                return;
            }
            if (pass == 1) {
                apply_verb(link, &verb);
            } else if (!check_verb(link, &verb, "bad-batch")) {
                return;
            }
            rest = span_skip(rest, used);
        }
    }
}

static void send_welcome(struct link *link)
{
    char json[256];
    int n = snprintf(json, sizeof json,
                     "{\"server\":\"postern/%s\",\"max_frame\":%llu,"
                     "\"features\":[\"batch\",\"redelivery\",\"state\"],\"workers\":%u,"
                     "\"window\":%llu,\"timeout_ms\":%u}",
                     link->opts->version, (unsigned long long)link->max_frame_bytes,
                     link->opts->n_workers, (unsigned long long)link->opts->window_bytes,
                     link->opts->timeout_ms);
    const uint64_t version = 1;
    if (link_put(conn_out(link->conn), "WELCOME", &version, 1, span_of(json, (size_t)n)) !=
        ERR_OK) {
        link_fail(link, "internal", "the gateway is out of memory");
        return;
    }
    conn_wrote(link->conn);
}

/* Whether the user at the other end may be a handler; else the link has failed. */
static bool check_user(struct link *link)
{
    const struct link_opts *opts = link->opts;
    uint32_t uid = 0;
    if (opts->n_uids == 0 || opts->is_relay) {
        return true;
    }
    bool is_known = conn_peer_uid(link->conn, &uid);
    for (size_t i = 0; is_known && i < opts->n_uids; i++) {
        if (opts->uids[i] == uid) {
            return true;
        }
    }
    link_fail(
        link, "denied",
        "this process runs as the user with id %u, which may not be a handler here; run it as "
        "another one, or add this one to handlers.users in the gateway's config",
        uid);
    return false;
}

static void take_hello(struct link *link, const struct link_verb *verb)
{
    const char *why = NULL;
    if (verb->id != LINK_HELLO || verb->n_args != 1) {
        link_fail(link, "bad-verb",
                  "the first frame of a handler is \"HELLO 1 LENGTH\" with a JSON object");
        return;
    }
    if (!span_eq(verb->args[0], SPAN_LIT("1"))) {
        link_fail(link, "version",
                  "this gateway speaks version 1 of the handler protocol, not %.*s",
                  (int)(verb->args[0].len < 16 ? verb->args[0].len : 16), verb->args[0].ptr);
        return;
    }
    if (!check_user(link)) {
        return;
    }
    if (!link_read_hello(link, verb->payload, &why)) {
        link_fail(link, "bad-frame", "%s", why);
        return;
    }
    link->is_ready = true;
    send_welcome(link);
    if (!link->is_gone) {
        LOG(level_of(link), "handler linked", "handler=%s mounts=%u", name_of(link),
            link->n_mounts);
        link->ops->on_ready(link->ctx, link);
    }
}

static void take_verb(struct link *link, const struct link_verb *verb)
{
    if (!link->is_ready) {
        take_hello(link, verb);
        return;
    }
    switch ((unsigned)verb->id) {
    case LINK_BATCH:
        take_batch(link, verb->payload);
        break;
    case LINK_PONG:
        break; /* any bytes are a sign of life */
    case LINK_DRAIN:
        link->is_draining = true;
        link->ops->on_drain(link->ctx, link);
        break;
    case LINK_ERROR: {
        char quoted[LOG_QUOTED_BYTES];
        LOG(LOG_WARN, "handler reports an error", "handler=%s why=%s", name_of(link),
            log_quoted(verb->payload, quoted));
        link_close(link);
        break;
    }
    default:
        if (check_verb(link, verb, "bad-verb")) {
            apply_verb(link, verb);
        }
        break;
    }
}

/* -- connection ------------------------------------------------------------------------------- */

/* Parses one frame at the start of `in`. Returns bytes used; 0 = incomplete, *needed says how much
 * it will be. */
static size_t take_frame(struct link *link, struct span in, size_t *needed)
{
    struct link_verb verb;
    struct fault fault = {0};
    size_t used = 0;
    *needed = 0;
    enum err e = link_frame_parse(in, link->max_frame_bytes, &verb, &used, needed, &fault);
    if (e == ERR_OK) {
        take_verb(link, &verb);
        return used;
    }
    if (e != ERR_AGAIN) {
        link_fail(link, e == ERR_LIMIT ? "too-big" : "bad-frame", "%s", fault.why);
    }
    return 0;
}

/* Adds to the large frame that is being gathered. Returns bytes taken. */
static size_t gather(struct link *link, struct span in)
{
    size_t missing = link->partial_needed - buf_len(&link->partial);
    size_t n = in.len < missing ? in.len : missing;
    if (buf_append(&link->partial, in.ptr, n) != ERR_OK) {
        link->kit->counters.out_of_memory++;
        link_fail(link, "internal", "the gateway is out of memory");
        return in.len;
    }
    if (n == missing) {
        size_t needed = 0;
        (void)take_frame(link, buf_span(&link->partial), &needed);
        buf_clear(&link->partial);
        link->partial_needed = 0;
        link_let_rest(link);
    }
    return n;
}

static size_t on_data(void *owner, char *bytes, size_t len)
{
    struct link *link = owner;
    size_t used = 0;
    link->heard_ms = link->kit->now_ms;
    if (link->was_pinged && !link->is_broken) {
        link->was_pinged = false;
        timer_arm(&link->kit->timers, &link->timer, link->heard_ms + link->opts->timeout_ms / 2);
    }
    while (used < len && !link->is_gone) {
        struct span rest = span_of(bytes + used, len - used);
        if (link->partial_needed != 0) {
            used += gather(link, rest);
            continue;
        }
        size_t needed = 0;
        size_t n = take_frame(link, rest, &needed);
        used += n;
        if (n == 0 && needed > PARTIAL_FROM_BYTES) {
            link->partial_needed = needed;
        } else if (n == 0) {
            break;
        }
    }
    if (!link->is_gone) {
        link_check_room(link);
    }
    return link->is_gone ? len : used;
}

static void on_eof(void *owner)
{
    struct link *link = owner;
    conn_close(link->conn);
    end(link);
}

static void on_drained(void *owner)
{
    link_check_room(owner);
}

static void on_gone(void *owner, enum err why)
{
    (void)why;
    end(owner);
}

static const struct octets_ops conn_owner_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

static void on_timer(struct timer *timer)
{
    struct link *link = CONTAINER_OF(timer, struct link, timer);
    uint64_t now_ms = link->kit->now_ms;
    uint32_t timeout_ms = link->opts->timeout_ms;
    if (link->is_broken) {
        link_fail(link, "internal", "the gateway is out of memory");
        return;
    }
    undone_trim(&link->kept);
    buf_trim(&link->partial);
    if (link->opts->is_relay) {
        return;
    }
    if (link->n_pauses != 0) {
        timer_arm(&link->kit->timers, timer, now_ms + timeout_ms / 2);
        return;
    }
    if (!link->is_ready) {
        link_fail(link, "timeout", "no HELLO came in time; it is the first frame of a handler");
        return;
    }
    /* The handler has the whole time from the PING on. */
    if (link->was_pinged && now_ms - link->pinged_ms >= timeout_ms) {
        link_fail(link, "timeout", "no PONG in %u ms; answer PING with PONG also while busy",
                  timeout_ms);
        return;
    }
    if (!link->was_pinged && now_ms - link->heard_ms >= timeout_ms / 2) {
        link->was_pinged = true;
        link->pinged_ms = now_ms;
        if (link_put(conn_out(link->conn), "PING", NULL, 0, SPAN_NONE) == ERR_OK) {
            conn_wrote(link->conn);
        }
    }
    uint64_t due_ms =
        link->was_pinged ? link->pinged_ms + timeout_ms : link->heard_ms + timeout_ms / 2;
    timer_arm(&link->kit->timers, timer, due_ms > now_ms ? due_ms : now_ms + 1);
}

void link_pause(struct link *link)
{
    if (link->n_pauses++ == 0) {
        conn_pause(link->conn);
    }
}

void link_resume(struct link *link)
{
    if (--link->n_pauses == 0 && !link->is_gone) {
        link->was_pinged = false; /* the answer may lie unread */
        link->heard_ms = link->kit->now_ms;
        conn_resume(link->conn);
    }
}

enum err link_create(struct kit *kit, struct conn *conn, const struct link_opts *opts,
                     const struct link_ops *ops, void *ctx, struct link **out)
{
    struct link *link = MEM_NEW(struct link);
    if (link == NULL) {
        kit->counters.out_of_memory++;
        conn_abort(conn);
        return ERR_NOMEM;
    }
    link->conn = conn;
    link->kit = kit;
    link->ops = ops;
    link->ctx = ctx;
    link->opts = opts;
    link->next_number = 1;
    link->first_unacked = 1;
    link->heard_ms = kit->now_ms;
    link->max_frame_bytes = opts->max_frame_bytes;
    buf_init(&link->partial, opts->max_frame_bytes + LINK_MAX_LINE_BYTES + 1);
    undone_init(&link->kept, UINT64_MAX); /* the window bounds it */
    timer_init(&link->timer, on_timer);
    if (!opts->is_relay) { /* the far worker may be busy for long, but it lives as long as we do */
        timer_arm(&kit->timers, &link->timer, kit->now_ms + opts->timeout_ms);
    }
    conn_set_owner(conn, &conn_owner_ops, link);
    conn_read_to_end(conn); /* a BATCH that has come whole counts */
    (*gauge_of(link))++;
    *out = link;
    return ERR_OK;
}

bool link_serves(const struct link *link, struct span mount)
{
    if (!link->is_ready || link->is_draining || link->is_broken || link->is_gone) {
        return false;
    }
    for (unsigned i = 0; i < link->n_mounts; i++) {
        if (span_eq(span_str(link->mounts[i]), mount)) {
            return true;
        }
    }
    return link->n_mounts == 0;
}
