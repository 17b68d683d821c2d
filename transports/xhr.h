/*
 * xhr: the XMLHttpRequest transports of SockJS: xhr_streaming, xhr (long polling), xhr_send.
 */
#ifndef POSTERN_TRANSPORTS_XHR_H
#define POSTERN_TRANSPORTS_XHR_H

#include "core/transport.h"

extern const struct transport_ops xhr_streaming_transport;
extern const struct transport_ops xhr_transport;
extern const struct transport_ops xhr_send_transport;

/* Their looks on a SockJS mount. */
extern const struct costume xhr_streaming_costume;
extern const struct costume xhr_costume;
extern const struct costume xhr_send_costume;

#endif
