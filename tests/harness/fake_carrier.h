/*
 * fake_carrier: a carrier without a socket. It records what the session asks of it, ends by itself
 * like a poll or a stream at its limit, and calls back into the test where a real one could.
 */
#ifndef POSTERN_HARNESS_FAKE_CARRIER_H
#define POSTERN_HARNESS_FAKE_CARRIER_H

#include "core/session.h"
#include "core/transport.h"
#include "harness/record.h"

struct fake_carrier {
    struct carrier base;
    struct record *record;
    size_t n_room;   /* frames that still find room; SIZE_MAX = any number */
    size_t n_frames; /* frames until it ends by itself (POLL: 1); SIZE_MAX = never */
    bool is_over;    /* finished, aborted or ended: the session must not use it again */
    bool ends_when_settled;
    void (*on_write)(struct fake_carrier *fake);
    void *ctx;
};

static inline struct fake_carrier *fake_of(struct carrier *carrier)
{
    struct fake_carrier *fake = CONTAINER_OF(carrier, struct fake_carrier, base);
    assert_false(fake->is_over);
    return fake;
}

/* The carrier lets go of its session first, as the interface wants. */
static inline void fake_carrier_detach(struct fake_carrier *fake, enum detach_why why,
                                       unsigned code, const char *reason)
{
    struct session *session = fake->base.session;
    fake->base.session = NULL;
    fake->is_over = true;
    if (session != NULL) {
        session_detach(session, why, code, span_str(reason));
    }
}

static inline void fake_write(struct carrier *carrier, const struct frame *frame)
{
    struct fake_carrier *fake = fake_of(carrier);
    record_add(fake->record, "%s%.*s", frame->is_text ? "" : "bin:", SPAN_FMT(frame->bytes));
    if (fake->n_room != 0 && fake->n_room != SIZE_MAX) {
        fake->n_room--;
    }
    if (fake->on_write != NULL) {
        fake->on_write(fake);
    }
    if (fake->n_frames != SIZE_MAX && --fake->n_frames == 0 && fake->base.session != NULL) {
        fake_carrier_detach(fake, DETACH_ENDED, 0, "");
    }
}

static inline size_t fake_room(struct carrier *carrier)
{
    return fake_of(carrier)->n_room;
}

static inline void fake_settled(struct carrier *carrier)
{
    struct fake_carrier *fake = fake_of(carrier);
    record_add(fake->record, "<settled>");
    if (fake->ends_when_settled) {
        fake_carrier_detach(fake, DETACH_BYE, 1002, "settled");
    }
}

static inline void fake_ping(struct carrier *carrier)
{
    record_add(fake_of(carrier)->record, "<ping>");
}

static inline void fake_pause(struct carrier *carrier, bool is_paused)
{
    record_add(fake_of(carrier)->record, is_paused ? "<pause>" : "<resume>");
}

static inline void fake_finish(struct carrier *carrier, enum finish_why why, unsigned code,
                               struct span reason)
{
    struct fake_carrier *fake = fake_of(carrier);
    assert_int_equal(why, FINISH_BYE);
    assert_null(carrier->session);
    record_add(fake->record, "<finish %u %.*s>", code, SPAN_FMT(reason));
    fake->is_over = true;
}

static inline void fake_abort(struct carrier *carrier)
{
    struct fake_carrier *fake = fake_of(carrier);
    record_add(fake->record, "<abort>");
    fake->is_over = true;
}

static const struct transport_ops fake_duplex = {
    .name = "fake_duplex",
    .behaviour = TRANSPORT_DUPLEX,
    .caps = CAP_MANY_FRAMES | CAP_BINARY | CAP_CLOSE_CODE | CAP_SELF_PING,
    .settled = fake_settled,
    .write = fake_write,
    .room = fake_room,
    .ping = fake_ping,
    .pause = fake_pause,
    .finish = fake_finish,
    .abort = fake_abort,
};

static const struct transport_ops fake_stream = {
    .name = "fake_stream",
    .behaviour = TRANSPORT_STREAM,
    .caps = CAP_MANY_FRAMES,
    .write = fake_write,
    .room = fake_room,
    .finish = fake_finish,
    .abort = fake_abort,
};

static const struct transport_ops fake_poll = {
    .name = "fake_poll",
    .behaviour = TRANSPORT_POLL,
    .write = fake_write,
    .room = fake_room,
    .finish = fake_finish,
    .abort = fake_abort,
};

/* Attaches a fresh carrier that has room for everything. */
static inline void fake_carrier_attach(struct fake_carrier *fake, const struct transport_ops *ops,
                                       struct session *session, struct record *record)
{
    *fake = (struct fake_carrier){.base = {ops, session},
                                  .record = record,
                                  .n_room = SIZE_MAX,
                                  .n_frames = ops->behaviour == TRANSPORT_POLL ? 1 : SIZE_MAX};
    session_attach(session, &fake->base);
}

#endif
