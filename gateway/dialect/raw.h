/*
 * raw: the dialect of a bare WebSocket: a frame is a message, nothing of ours is on the wire, and
 * the application's close code and reason go into the Close frame. At PATH/websocket of a SockJS
 * mount.
 */
#ifndef POSTERN_DIALECT_RAW_H
#define POSTERN_DIALECT_RAW_H

#include "core/dialect.h"

extern const struct dialect_ops raw_dialect;

#endif
