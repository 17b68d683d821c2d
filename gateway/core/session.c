/* session: see session.h. */
#include "core/session.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/dialect.h"
#include "core/registry.h"
#include "core/transport.h"
#include "core/uplink.h"

enum {
    ENCODE_BATCH = 512, /* messages joined into one frame at most; the rest goes into the next */
    CLOSE_TRY_AGAIN = 1013,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_UNSUPPORTED = 1003,
    CLOSE_ABNORMAL = 1006,
    CLOSE_POLICY = 1008,
    CLOSE_INTERNAL = 1011,
};

static void move(struct session *s, enum session_state to)
{
    static const bool legal[4][4] = {
        [SESSION_CONNECTING] = {[SESSION_OPEN] = true, [SESSION_CLOSING] = true},
        [SESSION_OPEN] = {[SESSION_CLOSING] = true},
        [SESSION_CLOSING] = {[SESSION_CLOSED] = true},
    };
    ASSERT(legal[s->state][to]);
    s->state = (uint8_t)to;
}

/* When the queue will have been above the soft bound for too long. */
static uint64_t soft_due_ms(const struct session *s)
{
    if (s->state != SESSION_OPEN || sendq_bytes(&s->queue) <= s->opts->queue_soft_bytes) {
        return TIMERS_NONE;
    }
    uint32_t spent_ms = (uint32_t)s->kit->now_ms - s->soft_since_ms;
    return s->kit->now_ms - spent_ms + s->opts->queue_soft_time_ms;
}

static void arm_earliest(struct session *s)
{
    uint64_t soft_ms = soft_due_ms(s);
    timer_arm(&s->kit->timers, &s->timer, soft_ms < s->due_ms ? soft_ms : s->due_ms);
}

static void arm(struct session *s, uint64_t deadline_ms)
{
    s->due_ms = deadline_ms;
    arm_earliest(s);
}

static bool is_ending(const struct session *s)
{
    return s->state >= SESSION_CLOSING;
}

/* -- end -------------------------------------------------------------------------------------- */

static void reap(struct turn_task *task)
{
    struct session *s = CONTAINER_OF(task, struct session, task);
    sendq_fini(&s->queue);
    mem_free(s->close_reason);
    mem_free(s);
}

static void log_end(const struct session *s)
{
    char id[SID_PUBLIC_CHARS];
    char reason[LOG_QUOTED_BYTES];
    sid_print_public(s->public_id, id);
    LOG(LOG_INFO, "session closed",
        "id=%.*s dialect=%s transport=%s code=%u reason=%s in=%llu out=%llu duration_ms=%llu",
        SID_PUBLIC_CHARS, id, s->dialect->name, s->last_transport != NULL ? s->last_transport : "-",
        s->close_code, log_quoted(span_str(s->close_reason), reason), (unsigned long long)s->n_in,
        (unsigned long long)s->n_out, (unsigned long long)(s->kit->now_ms - s->opened_ms));
}

/* Nobody can reach the session any more. Its queue stays whole until the turn's end: a drain may be
 * on the stack. */
static void destroy(struct session *s)
{
    ASSERT(s->carrier == NULL && s->binding == NULL);
    move(s, SESSION_CLOSED);
    log_end(s);
    timer_cancel(&s->kit->timers, &s->timer);
    turn_cancel(&s->kit->turn, TURN_SESSION, &s->task);
    if (s->registry != NULL) {
        registry_remove(s->registry, s);
    }
    LIST_REMOVE(s, all);
    while (!LIST_EMPTY(&s->refs)) {
        struct session_ref *ref = LIST_FIRST(&s->refs);
        LIST_REMOVE(ref, next);
        ref->session = NULL;
        if (ref->on_change != NULL) {
            ref->on_change(ref);
        }
    }
    s->kit->counters.sessions_open--;
    s->kit->counters.sessions_closed++;
    turn_schedule(&s->kit->turn, TURN_REAP, &s->task, reap);
}

/* The input is open again, or for good (to be dropped): tells who holds some. A callback may
 * release any reference, pause again or end the session. */
static void tell_refs(struct session *s)
{
    struct session_ref *ref = LIST_FIRST(&s->refs);
    while (ref != NULL && ref->session == s && !s->is_input_paused) {
        struct session_ref *following = LIST_NEXT(ref, next);
        if (ref->on_change != NULL) {
            ref->on_change(ref);
        }
        ref = following;
    }
}

static void set_input_paused(struct session *s, bool is_paused)
{
    s->is_input_paused = is_paused;
    if (s->carrier != NULL && s->carrier->ops->pause != NULL) {
        s->carrier->ops->pause(s->carrier, is_paused);
    }
    if (!is_paused) {
        tell_refs(s);
    }
}

/* Every end begins here: tells the uplink, once, and lets go of input that was held for it. The
 * state moves first, so that whatever the uplink does from inside finds an ending session. True: go
 * on with the end; false: the callbacks have aborted the session already. */
static bool start_closing(struct session *s, unsigned code, struct span reason)
{
    if (s->state == SESSION_CONNECTING) {
        sendq_drop(&s->queue, s->queue.n_messages); /* for a client that was never let in */
    }
    move(s, SESSION_CLOSING);
    s->close_code = (uint16_t)code;
    s->close_reason = reason.len != 0 ? mem_copy_string(reason.ptr, reason.len) : NULL;
    void *binding = s->binding;
    s->binding = NULL;
    if (binding != NULL) {
        s->uplink->closed(binding, code, span_str(s->close_reason));
    }
    if (s->state == SESSION_CLOSING && s->is_input_paused) {
        set_input_paused(s, false);
    }
    return s->state == SESSION_CLOSING;
}

static void start_linger(struct session *s)
{
    arm(s, s->kit->now_ms + s->opts->disconnect_delay_ms);
}

/* Ends without a goodbye to a present carrier; whoever comes later with the same id hears one. */
static void end_silently(struct session *s, unsigned code, struct span reason)
{
    if (!start_closing(s, code, reason)) {
        return;
    }
    if (s->registry == NULL || !s->said_hello) {
        destroy(s);
    } else {
        start_linger(s);
    }
}

/* Ends with nothing left to say to anybody. */
static void end_for_good(struct session *s, unsigned code, struct span reason)
{
    if (start_closing(s, code, reason)) {
        destroy(s);
    }
}

/* -- out -------------------------------------------------------------------------------------- */

static void write_frame(struct session *s, const struct frame *frame)
{
    s->last_write_ms = s->kit->now_ms;
    s->carrier->ops->write(s->carrier, frame);
}

/* Says goodbye on `carrier`, which is not (or no more) the session's. */
static void say_bye(struct session *s, struct carrier *carrier, unsigned code, struct span reason)
{
    struct frame frame;
    unsigned transport_code = code;
    carrier->session = NULL;
    buf_clear(&s->kit->encode_scratch);
    if (s->dialect->bye(code, reason, &s->kit->encode_scratch, &frame, &transport_code)) {
        carrier->ops->write(carrier, &frame);
    }
    carrier->ops->finish(carrier, FINISH_BYE, transport_code, reason);
}

static void say_own_bye(struct session *s, struct carrier *carrier)
{
    if (s->was_lost) {
        say_bye(s, carrier, s->dialect->lost_code, span_str(s->dialect->lost_reason));
    } else {
        say_bye(s, carrier, s->close_code, span_str(s->close_reason));
    }
}

/* Encodes and writes `n` messages as one frame. */
static enum err write_messages(struct session *s, const struct message *messages, size_t n)
{
    struct frame frame;
    struct buf *scratch = &s->kit->encode_scratch;
    buf_clear(scratch);
    enum err e = s->dialect->encode(messages, n, s->carrier->ops->caps, scratch, &frame);
    if (UNLIKELY(e != ERR_OK)) {
        return e;
    }
    for (size_t i = 0; i < n; i++) {
        s->kit->counters.bytes_out += messages[i].data.len;
    }
    s->kit->counters.messages_out += n;
    s->n_out += n;
    write_frame(s, &frame);
    return ERR_OK;
}

static void fail_out(struct session *s, unsigned code, const char *reason)
{
    struct carrier *carrier = s->carrier;
    s->carrier = NULL;
    if (carrier == NULL) {
        end_silently(s, code, span_str(reason));
        return;
    }
    /* What is queued could only be sent in part: the client hears the end at once, and later
     * receivers hear the same. */
    sendq_drop(&s->queue, s->queue.n_messages);
    bool goes_on = start_closing(s, code, span_str(reason));
    say_own_bye(s, carrier);
    if (!goes_on) {
        return;
    }
    if (s->registry == NULL) {
        destroy(s);
    } else {
        start_linger(s);
    }
}

static void fail_slow(struct session *s, const char *reason)
{
    s->kit->counters.slow_consumers++;
    fail_out(s, CLOSE_POLICY, reason);
}

/* A message that could not be encoded: to leave it out would be a silent loss. */
static void fail_encode(struct session *s, enum err e)
{
    if (e == ERR_PROTO) {
        fail_out(s, CLOSE_UNSUPPORTED, "The client takes no binary messages");
        return;
    }
    s->kit->counters.out_of_memory++;
    fail_slow(s, "Out of memory");
}

static void tell_writable(struct session *s)
{
    if (s->is_unwritable && s->state == SESSION_OPEN &&
        sendq_bytes(&s->queue) <= s->opts->queue_soft_bytes / 2) {
        s->is_unwritable = false;
        s->uplink->writable(s->binding, true);
    }
}

static void drain(struct session *s)
{
    struct message batch[ENCODE_BATCH];
    while (s->carrier != NULL && s->state != SESSION_CONNECTING && !sendq_is_empty(&s->queue)) {
        if (s->carrier->ops->room(s->carrier) == 0) {
            break;
        }
        size_t n = sendq_peek(&s->queue, batch, s->dialect->joins_messages ? ENCODE_BATCH : 1);
        enum err e = write_messages(s, batch, n);
        if (e != ERR_OK) {
            fail_encode(s, e);
            return;
        }
        sendq_drop(&s->queue, n);
    }
    if (s->state == SESSION_CLOSED) {
        return;
    }
    tell_writable(s);
    if (s->state == SESSION_CLOSING && s->carrier != NULL && sendq_is_empty(&s->queue)) {
        struct carrier *carrier = s->carrier;
        s->carrier = NULL;
        say_own_bye(s, carrier);
    }
    if (s->state == SESSION_CLOSING && s->carrier == NULL && s->registry == NULL) {
        destroy(s);
    }
}

static void drain_task(struct turn_task *task)
{
    drain(CONTAINER_OF(task, struct session, task));
}

static void schedule_drain(struct session *s)
{
    turn_schedule(&s->kit->turn, TURN_SESSION, &s->task, drain_task);
}

static enum err enqueue(struct session *s, const struct message *message)
{
    enum err e = sendq_push(&s->queue, message);
    while (e == ERR_LIMIT && s->opts->slow_policy == SESSION_SLOW_DROP_OLDEST &&
           !sendq_is_empty(&s->queue)) {
        sendq_drop(&s->queue, 1);
        e = sendq_push(&s->queue, message);
    }
    if (e != ERR_OK) {
        fail_slow(s, e == ERR_LIMIT ? "Slow consumer" : "Out of memory");
        return e;
    }
    size_t bytes = sendq_bytes(&s->queue);
    if (bytes <= s->opts->queue_soft_bytes) {
        return ERR_OK;
    }
    if (bytes - SENDQ_RECORD_BYTES - message->data.len <= s->opts->queue_soft_bytes) {
        s->soft_since_ms = (uint32_t)s->kit->now_ms;
        arm_earliest(s);
    }
    if (!s->is_unwritable) {
        s->is_unwritable = true;
        s->uplink->writable(s->binding, false);
    }
    return ERR_OK;
}

enum err session_send(struct session *s, const struct message *message)
{
    struct carrier *carrier = s->carrier;
    if (LIKELY(carrier != NULL && s->state == SESSION_OPEN && sendq_is_empty(&s->queue) &&
               carrier->ops->behaviour == TRANSPORT_DUPLEX && carrier->ops->room(carrier) != 0)) {
        enum err e = write_messages(s, message, 1);
        if (e != ERR_OK) {
            fail_encode(s, e);
        }
        return e;
    }
    if (is_ending(s)) {
        return ERR_GONE;
    }
    enum err e = enqueue(s, message);
    if (e == ERR_OK && carrier != NULL && carrier->ops->behaviour != TRANSPORT_DUPLEX) {
        schedule_drain(s);
    }
    return e;
}

void session_flushed(struct session *s)
{
    drain(s);
}

/* -- timer ------------------------------------------------------------------------------------ */

/* While we do not read, the next heartbeat is due as if there were no pong to wait for. */
static void send_ping(struct session *s)
{
    uint64_t now_ms = s->kit->now_ms;
    s->last_write_ms = now_ms;
    if (!s->is_input_paused) {
        arm(s, now_ms + s->opts->pong_timeout_ms);
    } else if (!s->awaits_pong) {
        s->pong_left_ms = s->opts->pong_timeout_ms;
    }
    s->awaits_pong = true;
    s->carrier->ops->ping(s->carrier);
}

static void beat(struct session *s)
{
    struct frame frame;
    arm(s, s->kit->now_ms + s->opts->heartbeat_ms);
    if (s->carrier->ops->room(s->carrier) == 0) {
        return; /* not idle: its peer is judged by the write timeout, and could not see a ping */
    }
    if (s->carrier->ops->caps & CAP_SELF_PING) {
        send_ping(s);
    } else if (s->dialect->beat(&frame)) {
        write_frame(s, &frame);
    }
}

/* The queue was above the soft bound for too long. */
static void relieve_queue(struct session *s)
{
    if (s->opts->slow_policy == SESSION_SLOW_CLOSE) {
        fail_slow(s, "Slow consumer");
        return;
    }
    while (sendq_bytes(&s->queue) > s->opts->queue_soft_bytes) {
        sendq_drop(&s->queue, 1);
    }
    tell_writable(s);
}

static void on_open_timer(struct session *s)
{
    if (soft_due_ms(s) <= s->kit->now_ms) {
        relieve_queue(s);
        if (s->state != SESSION_OPEN) {
            return;
        }
    }
    if (s->due_ms > s->kit->now_ms) {
        arm_earliest(s);
        return;
    }
    if (s->carrier == NULL) {
        end_for_good(s, CLOSE_ABNORMAL, SPAN_LIT("Session timed out"));
        return;
    }
    if (s->awaits_pong && !s->is_input_paused) {
        struct carrier *carrier = s->carrier;
        s->carrier = NULL;
        carrier->session = NULL;
        carrier->ops->abort(carrier);
        s->was_lost = true;
        end_silently(s, CLOSE_ABNORMAL, SPAN_LIT("No pong"));
        return;
    }
    uint64_t due_ms = s->last_write_ms + s->opts->heartbeat_ms;
    if (due_ms > s->kit->now_ms) {
        arm(s, due_ms);
    } else {
        beat(s);
    }
}

static void on_timer(struct timer *timer)
{
    struct session *s = CONTAINER_OF(timer, struct session, timer);
    switch ((enum session_state)s->state) {
    case SESSION_CONNECTING:
        session_close(s, CLOSE_TRY_AGAIN, SPAN_LIT("No handler accepted the session"));
        break;
    case SESSION_OPEN:
        on_open_timer(s);
        break;
    case SESSION_CLOSING:
        if (s->carrier != NULL) {
            /* The peer took too long to read what was queued before the goodbye. */
            struct carrier *carrier = s->carrier;
            s->carrier = NULL;
            carrier->session = NULL;
            carrier->ops->abort(carrier);
        }
        destroy(s);
        break;
    case SESSION_CLOSED:
        break;
    }
}

/* -- carriers --------------------------------------------------------------------------------- */

static void open_on_carrier(struct session *s)
{
    struct frame frame;
    s->last_write_ms = s->kit->now_ms;
    s->awaits_pong = false;
    arm(s, s->kit->now_ms + s->opts->heartbeat_ms);
    if (!s->said_hello) {
        s->said_hello = true;
        if (s->dialect->hello(&frame)) {
            write_frame(s, &frame);
        }
    }
    schedule_drain(s);
}

void session_attach(struct session *s, struct carrier *carrier)
{
    if (s->state == SESSION_CLOSING && s->carrier == NULL) {
        s->carrier = carrier;
        drain(s); /* what was queued before the close, then the goodbye */
        return;
    }
    if (is_ending(s)) {
        say_own_bye(s, carrier); /* another one still takes what was queued */
        return;
    }
    if (s->carrier != NULL) {
        say_bye(s, carrier, s->dialect->conflict_code, span_str(s->dialect->conflict_reason));
        return;
    }
    s->carrier = carrier;
    s->last_transport = carrier->ops->name;
    if (s->is_input_paused && carrier->ops->pause != NULL) {
        carrier->ops->pause(carrier, true);
    }
    if (s->state == SESSION_OPEN) {
        open_on_carrier(s);
    }
}

void session_detach(struct session *s, enum detach_why why, unsigned code, struct span reason)
{
    s->carrier = NULL;
    if (s->state == SESSION_CLOSING) {
        if (s->registry == NULL) {
            destroy(s);
        }
        return;
    }
    if (why == DETACH_BYE) {
        end_for_good(s, code, reason);
    } else if (why == DETACH_LOST && s->dialect->lost_carrier_ends) {
        s->was_lost = true;
        end_silently(s, CLOSE_ABNORMAL, reason.len != 0 ? reason : SPAN_LIT("Connection lost"));
    } else if (s->state == SESSION_OPEN) {
        arm(s, s->kit->now_ms + s->opts->disconnect_delay_ms);
    }
}

bool session_settle(struct session *s)
{
    bool has_uplink = s->state == SESSION_CONNECTING || s->state == SESSION_OPEN;
    return !has_uplink || s->uplink->settle(s->binding);
}

void session_settled(struct session *s)
{
    if (s->carrier != NULL && s->carrier->ops->settled != NULL) {
        s->carrier->ops->settled(s->carrier);
    }
}

void session_alive(struct session *s)
{
    s->awaits_pong = false;
}

/* -- in --------------------------------------------------------------------------------------- */

enum err session_receive(struct session *s, struct span in, bool is_text, const char **why)
{
    s->awaits_pong = false;
    if (UNLIKELY(is_ending(s))) {
        return ERR_GONE;
    }
    return s->dialect->decode(s, in, is_text, &s->kit->decode_scratch, why);
}

void session_deliver(struct session *s, const struct message *message)
{
    if (LIKELY(s->binding != NULL)) {
        s->n_in++;
        s->kit->counters.messages_in++;
        s->kit->counters.bytes_in += message->data.len;
        s->uplink->message(s->binding, message);
    }
}

void session_pause_input(struct session *s, bool is_paused)
{
    if (s->is_input_paused == is_paused || is_ending(s)) {
        return;
    }
    if (s->awaits_pong && s->carrier != NULL) {
        /* It may lie unread in the kernel: its time stands still until we read again. */
        uint64_t now_ms = s->kit->now_ms;
        if (is_paused) {
            s->pong_left_ms = s->due_ms > now_ms ? (uint32_t)(s->due_ms - now_ms) : 0;
        } else {
            arm(s, now_ms + s->pong_left_ms);
        }
    }
    set_input_paused(s, is_paused);
}

/* -- birth and close -------------------------------------------------------------------------- */

enum err session_create(const struct session_birth *birth, struct session **out)
{
    if (birth->sid.len > SID_MAX_BYTES) {
        return ERR_LIMIT;
    }
    struct kit *kit = birth->kit;
    struct session *s = mem_new(1, sizeof *s + birth->sid.len);
    if (s == NULL) {
        kit->counters.out_of_memory++;
        return ERR_NOMEM;
    }
    s->kit = kit;
    s->opts = birth->opts;
    s->dialect = birth->dialect;
    s->uplink = birth->uplink;
    s->registry = birth->registry;
    s->state = birth->must_wait ? SESSION_CONNECTING : SESSION_OPEN;
    s->opened_ms = kit->now_ms;
    s->sid_len = (uint8_t)birth->sid.len;
    if (birth->sid.len != 0) {
        memcpy(s->sid, birth->sid.ptr, birth->sid.len);
    }
    rand_bytes(&kit->rand, &s->public_id, sizeof s->public_id);
    sendq_init(&s->queue, birth->opts->queue_hard_bytes);
    LIST_INIT(&s->refs);
    if (s->registry != NULL && registry_add(s->registry, s) != ERR_OK) {
        kit->counters.out_of_memory++;
        mem_free(s);
        return ERR_NOMEM;
    }
    LIST_INSERT_HEAD(birth->all, s, all);
    timer_init(&s->timer, on_timer);
    arm(s, kit->now_ms +
               (birth->must_wait ? s->opts->accept_timeout_ms : s->opts->disconnect_delay_ms));
    kit->counters.sessions_open++;
    kit->counters.sessions_opened++;
    *out = s;
    return ERR_OK;
}

/* Answers a handshake that waits. False: the handler chose what the client did not offer. */
static bool answer_handshake(struct session *s, struct span subprotocol)
{
    if (s->carrier == NULL || !s->dialect->handshake_opens || s->carrier->ops->accepted == NULL) {
        return true;
    }
    return s->carrier->ops->accepted(s->carrier, subprotocol) == ERR_OK;
}

static void refuse_choice(struct session *s, struct span subprotocol)
{
    char id[SID_PUBLIC_CHARS];
    char quoted[LOG_QUOTED_BYTES];
    sid_print_public(s->public_id, id);
    LOG(LOG_WARN, "handler chose a subprotocol that was not offered", "id=%.*s subprotocol=%s",
        SID_PUBLIC_CHARS, id, log_quoted(subprotocol, quoted));
    session_close(s, CLOSE_INTERNAL, SPAN_LIT("Subprotocol was not offered"));
}

void session_accept(struct session *s, struct span subprotocol)
{
    if (s->state != SESSION_CONNECTING) {
        return;
    }
    if (!answer_handshake(s, subprotocol)) {
        refuse_choice(s, subprotocol);
        return;
    }
    move(s, SESSION_OPEN);
    s->soft_since_ms = (uint32_t)s->kit->now_ms; /* until now it was not the client who kept us */
    if (s->carrier != NULL) {
        open_on_carrier(s);
    } else {
        arm(s, s->kit->now_ms + s->opts->disconnect_delay_ms);
    }
}

void session_close(struct session *s, unsigned code, struct span reason)
{
    if (is_ending(s)) {
        return;
    }
    if (start_closing(s, code, reason)) {
        start_linger(s);
        schedule_drain(s);
    }
}

void session_abort(struct session *s)
{
    struct carrier *carrier = s->carrier;
    s->carrier = NULL;
    if (carrier != NULL) {
        carrier->session = NULL;
        carrier->ops->abort(carrier);
    }
    if (!is_ending(s)) {
        end_for_good(s, CLOSE_GOING_AWAY, SPAN_LIT("Server shutting down"));
    } else if (s->state == SESSION_CLOSING) {
        destroy(s);
    }
}

/* -- references ------------------------------------------------------------------------------- */

void session_hold(struct session *s, struct session_ref *ref)
{
    ref->session = s;
    LIST_INSERT_HEAD(&s->refs, ref, next);
}

void session_release(struct session_ref *ref)
{
    if (ref->session != NULL) {
        LIST_REMOVE(ref, next);
        ref->session = NULL;
    }
}
