/*
 * octets: what the owner of a two-way byte stream must give, whatever carries the stream (a TCP
 * connection now; TLS and an HTTP/2 stream fit the same four calls). All run on the owning worker,
 * and each may close the stream.
 */
#ifndef POSTERN_BASE_OCTETS_H
#define POSTERN_BASE_OCTETS_H

#include <stddef.h>

#include "base/err.h"

struct octets_ops {
    /* New bytes (behind those left over from before). Returns how many it consumed; the rest comes
     * again in front of the next bytes. The bytes may be changed in place; they are gone when the
     * call returns. */
    size_t (*on_data)(void *owner, char *bytes, size_t len);
    /* The peer ended its sending side, after all its bytes were delivered. Writing still works. */
    void (*on_eof)(void *owner);
    /* The output is empty again after the room had been asked for and was 0, or after it had been
     * asked whether all has left. */
    void (*on_drained)(void *owner);
    /* Reset, error or write timeout. The stream is closed already; the owner must forget it. */
    void (*on_gone)(void *owner, enum err why);
};

#endif
