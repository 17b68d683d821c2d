/*
 * http_octets: the byte stream that is left of an HTTP exchange after its upgrade (101). Transports
 * see this and never a connection, so that another carrier (HTTP/2, RFC 8441) can take its place.
 * Threads: the owning worker.
 */
#ifndef POSTERN_HTTP_HTTP_OCTETS_H
#define POSTERN_HTTP_HTTP_OCTETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/octets.h"

struct http_octets;

void http_octets_set_owner(struct http_octets *octets, const struct octets_ops *ops, void *owner);
/* The unsent output, for encoders that append straight into it; then http_octets_wrote. Sent at the
 * turn's end. */
struct buf *http_octets_out(struct http_octets *octets);
void http_octets_wrote(struct http_octets *octets);
/* Bytes that should still be added; 0 arms on_drained. */
size_t http_octets_room(struct http_octets *octets);
/* Whether nothing waits to be sent; if something does, arms on_drained. */
bool http_octets_is_drained(struct http_octets *octets);
void http_octets_pause(struct http_octets *octets);
void http_octets_resume(struct http_octets *octets);
/* After what is queued: FIN, bounded drain. The owner is not called any more. */
void http_octets_close(struct http_octets *octets);
/* At once. The owner is not called any more. */
void http_octets_abort(struct http_octets *octets);

#endif
