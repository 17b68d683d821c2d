/*
 * jsonp: long polling by <script> elements, and sending by forms (jsonp_send): what is left to
 * SockJS in a browser that has nothing else.
 */
#ifndef POSTERN_TRANSPORTS_JSONP_H
#define POSTERN_TRANSPORTS_JSONP_H

#include "core/transport.h"

extern const struct transport_ops jsonp_transport;
extern const struct transport_ops jsonp_send_transport;
extern const struct costume jsonp_costume;
extern const struct costume jsonp_send_costume;

#endif
