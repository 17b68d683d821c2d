/*
 * handler: a backend in the same thread as the gateway: echoes, kicks and floods as its clients
 * ask, and comes back soon when its link is lost.
 *
 *   text with "kick": KICK 4000 "bye"     text with "flood": HANDLER_FLOOD_MESSAGES at once
 *   all other messages come back as they are, in a BATCH with their ACK
 *
 * It keeps the books of its link: every OPEN must be followed by its CLOSE.
 */
#ifndef POSTERN_FAULT_HANDLER_H
#define POSTERN_FAULT_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    HANDLER_FLOOD_MESSAGES = 24,
    HANDLER_RETRY_MS = 100,     /* after a loss; after handler_leave it comes at once */
    HANDLER_FLOOD_BYTES = 6000, /* each: together more than a connection and the soft bound hold */
};

struct handler {
    const char *path;
    int fd; /* -1: not connected */
    struct buf in;
    struct buf out;
    uint64_t retry_ms; /* not before */
    bool is_away;      /* does not connect */
    bool is_mute;      /* reads, and keeps its answers, but for HELLO */
    bool is_linked;    /* WELCOME has come */
    unsigned n_open;   /* sessions of this link */
    unsigned n_messages;
};

void handler_init(struct handler *handler, const char *path);
/* Reads, answers, connects where it has lost its link. */
void handler_pump(struct handler *handler);
/* Ends the link; handler_pump connects again unless is_away. */
void handler_leave(struct handler *handler);
void handler_fini(struct handler *handler);

#endif
