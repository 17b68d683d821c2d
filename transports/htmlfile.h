/*
 * htmlfile: the SockJS transport of old Internet Explorer: an endless page in a hidden iframe, in
 * which each frame is a <script> that calls its parent.
 */
#ifndef POSTERN_TRANSPORTS_HTMLFILE_H
#define POSTERN_TRANSPORTS_HTMLFILE_H

#include "core/transport.h"

extern const struct transport_ops htmlfile_transport;
extern const struct costume htmlfile_costume;

#endif
