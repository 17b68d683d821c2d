/*
 * fake_uplink: the backend side of a session: records what it hears, and calls back into the test
 * from inside each call, where a real one could close the session.
 */
#ifndef POSTERN_HARNESS_FAKE_UPLINK_H
#define POSTERN_HARNESS_FAKE_UPLINK_H

#include "core/uplink.h"
#include "harness/record.h"

struct fake_uplink {
    struct record record;
    bool is_closed; /* no call may follow */
    bool is_behind; /* settle says no: the test calls session_settled */
    void (*on_message)(struct fake_uplink *fake, const struct message *message);
    void (*on_writable)(struct fake_uplink *fake, bool is_writable);
    void (*on_closed)(struct fake_uplink *fake);
    void *ctx;
};

static inline void fake_message(void *binding, const struct message *message)
{
    struct fake_uplink *fake = binding;
    assert_false(fake->is_closed);
    const char *kind = message->is_text ? "" : "bin";
    if (message->data.len > 100) {
        record_add(&fake->record, "%s(%zu bytes)", kind, message->data.len);
    } else {
        record_add(&fake->record, "%s(%.*s)", kind, SPAN_FMT(message->data));
    }
    if (fake->on_message != NULL) {
        fake->on_message(fake, message);
    }
}

static inline void fake_writable(void *binding, bool is_writable)
{
    struct fake_uplink *fake = binding;
    assert_false(fake->is_closed);
    record_add(&fake->record, is_writable ? "<writable>" : "<unwritable>");
    if (fake->on_writable != NULL) {
        fake->on_writable(fake, is_writable);
    }
}

static inline bool fake_settle(void *binding)
{
    const struct fake_uplink *fake = binding;
    assert_false(fake->is_closed);
    return !fake->is_behind;
}

static inline void fake_closed(void *binding, unsigned code, struct span reason)
{
    struct fake_uplink *fake = binding;
    assert_false(fake->is_closed);
    fake->is_closed = true;
    if (fake->on_closed != NULL) {
        fake->on_closed(fake);
    }
    /* Recorded last: `reason` must have survived what the callback did. */
    record_add(&fake->record, "<closed %u %.*s>", code, SPAN_FMT(reason));
}

static const struct uplink_ops fake_uplink_ops = {
    .message = fake_message,
    .writable = fake_writable,
    .settle = fake_settle,
    .closed = fake_closed,
};

#endif
