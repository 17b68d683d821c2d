/*
 * inbound: the behaviour INBOUND: a request whose body brings messages for a session. The answer
 * comes when the session has taken them: while the session's input is paused the request is held
 * (backpressure). Threads: the owning worker.
 */
#ifndef POSTERN_TRANSPORTS_INBOUND_H
#define POSTERN_TRANSPORTS_INBOUND_H

#include "core/transport.h"

enum err inbound_open(struct http_req *req, const struct transport_opts *opts,
                      struct session *session);

#endif
