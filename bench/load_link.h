/*
 * load_link: one non-blocking TCP connection of a session, plain or with TLS on it. Writes go
 * straight to the socket; only what a short write leaves is kept. Reads go to the shared buffer,
 * behind what the last one left.
 */
#ifndef POSTERN_BENCH_LOAD_LINK_H
#define POSTERN_BENCH_LOAD_LINK_H

#include "load.h"

enum load_link_got {
    LOAD_LINK_DATA,
    LOAD_LINK_NOTHING,
    LOAD_LINK_EOF,
    LOAD_LINK_BROKEN, /* errno says how */
};

void load_link_init(struct load_link *link, struct load_user *user);
void load_link_close(struct load_link *link);

/* Starts to connect and watches the socket. False with errno when that cannot even begin. */
bool load_link_open(struct load *load, struct load_link *link);

/* The socket became writable, or readable while it connects: goes on with the handshakes, then
 * with what a short write left. */
bool load_link_on_writable(struct load *load, struct load_link *link);

bool load_link_write(struct load *load, struct load_link *link, const void *data, size_t n);

/* One recv, or all that TLS can give. *got lies in load->rx and is good until the next read on any
 * link. */
enum load_link_got load_link_read(struct load *load, struct load_link *link, struct slice *got);

/* Does TLS hold bytes that the socket will not announce again? */
bool load_link_has_more(const struct load_link *link);

/* Keeps the unconsumed end of a read for the next one. */
void load_link_keep(struct load_link *link, struct slice rest);

#endif
