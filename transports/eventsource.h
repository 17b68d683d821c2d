/*
 * eventsource: SockJS over server-sent events (the WHATWG HTML standard, section 9.2): a frame is
 * an event of one data line.
 */
#ifndef POSTERN_TRANSPORTS_EVENTSOURCE_H
#define POSTERN_TRANSPORTS_EVENTSOURCE_H

#include "core/transport.h"

extern const struct transport_ops eventsource_transport;
extern const struct costume eventsource_costume;

#endif
