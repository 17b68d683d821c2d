/*
 * uplink: all that a session knows of backends. `binding` is the uplink's own object for this
 * session. Threads: the owning worker.
 */
#ifndef POSTERN_CORE_UPLINK_H
#define POSTERN_CORE_UPLINK_H

#include <stdbool.h>

#include "core/frame.h"

struct uplink_ops {
    /* A message from the client, in order. The bytes are gone after the call. Taking it cannot
     * fail: when the uplink holds enough it calls session_pause_input. */
    void (*message)(void *binding, const struct message *message);
    /* false: the client does not keep up, the queue passed its soft bound; true: it is well below
     * again. */
    void (*writable)(void *binding, bool is_writable);
    /* Whether the handler has finished all that it was given of this session: then what that caused
     * was sent. If not, session_settled follows once, unless the session ends before. */
    bool (*settle)(void *binding);
    /* The session has ended; `code` as in WebSocket close codes (1006 = lost). Called once; no call
     * on this binding follows, in either direction. */
    void (*closed)(void *binding, unsigned code, struct span reason);
};

#endif
