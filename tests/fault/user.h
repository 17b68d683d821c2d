/*
 * user: one client of the gateway, on any transport, with its own small WebSocket, HTTP and SockJS.
 *
 * It checks what it hears: messages come in the order and with the bytes in which the script
 * expects them. That a connection ends, or a request is refused, is an end like another; that
 * nothing happens until the budget is used up is not.
 */
#ifndef POSTERN_FAULT_USER_H
#define POSTERN_FAULT_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <zlib.h>

#include "base/span.h"
#include "fault/line.h"
#include "fault/stage.h"

enum user_transport {
    USER_RAW,     /* a bare WebSocket */
    USER_DEFLATE, /* one that offers permessage-deflate */
    USER_WS,      /* SockJS from here on */
    USER_STREAM,
    USER_POLL,
    USER_JSONP,
};

enum user_fate {
    USER_LIVES,
    USER_ENDED,  /* the gateway ended it, in whatever way */
    USER_CLOSED, /* with the close that was asked for */
    USER_STUCK,  /* it waits for ever */
    USER_WRONG,  /* it heard what nobody said */
};

struct user {
    struct stage *stage;
    enum user_transport transport;
    enum stage_door door;
    const char *base; /* path of the mount */
    enum user_fate fate;
    const char *note; /* what it waited for, or what was wrong */
    char sid[16];
    struct line down;
    struct line up;   /* xhr_send, jsonp_send */
    bool has_head;    /* STREAM: the head of the present answer was read */
    bool is_asking;   /* STREAM, POLL, JSONP: a request is under way */
    bool has_deflate; /* it was agreed */
    z_stream inflate; /* of this WebSocket; zlib's own memory, which never fails */
    unsigned n_retries;
    char frame[LINE_IN_BYTES]; /* the last one */
    char told[LINE_IN_BYTES];  /* SockJS: messages of the last frame, each behind its quote */
    size_t n_told;
    size_t told_from; /* where the next one begins */
};

/* Connects and opens a session; check `fate`. */
void user_open(struct user *user, struct stage *stage, enum user_transport transport,
               enum stage_door door, const char *base);
/* Sends messages: texts of a JSON string's inside, which need no unescaping to be compared. */
void user_say(struct user *user, const char *const *texts, size_t n);
/* Expects this message next. */
void user_hear(struct user *user, struct span want);
/* A WebSocket message in two fragments, and a ping between them. */
void user_say_split(struct user *user, const char *text);
/* Expects the end with this code: fate becomes USER_CLOSED. */
void user_hear_close(struct user *user, unsigned code);
/* Leaves: a WebSocket politely, others by hanging up. */
void user_leave(struct user *user);
/* Gives the connections back, whatever the fate. */
void user_hang_up(struct user *user);

#endif
