/*
 * load_user: a session's life whatever its transport: started, opened, fed, failed. Called by
 * load.c (the loop) and by the transports.
 */
#ifndef POSTERN_BENCH_LOAD_USER_H
#define POSTERN_BENCH_LOAD_USER_H

#include "load.h"

void load_user_init(struct load *load, struct load_user *user, uint32_t number);
void load_user_fini(struct load_user *user);

/* Begins to open the session. */
void load_user_start(struct load *load, struct load_user *user);

/* epoll said something about one of its links. */
void load_user_on_event(struct load *load, struct load_link *link, uint32_t events);

/* Puts the session on the list of those that write at the end of this turn; idempotent. */
void load_user_mark(struct load *load, struct load_user *user);

/* Lets every marked session write. */
void load_user_flush_marked(struct load *load);

/* --- for the transports --- */

/* Ends the session for this run and says why; the first few reasons are printed. */
void load_user_fail(struct load *load, struct load_user *user, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void load_user_opened(struct load *load, struct load_user *user);

/* How many messages the session owes the server now; 0 outside the echo phases. */
unsigned load_user_due(const struct load *load, const struct load_user *user);

/* A message of the application came. */
void load_user_on_message(struct load *load, struct load_user *user, const char *text, size_t n);

/* A SockJS frame came: o, h, a[...] or c[...]. */
void load_user_on_sockjs(struct load *load, struct load_user *user, struct slice frame);

#endif
