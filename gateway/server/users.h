/*
 * users: users of this system, as the config names them. Reads the system's user database, so for
 * the start only; one thread at a time.
 */
#ifndef POSTERN_SERVER_USERS_H
#define POSTERN_SERVER_USERS_H

#include <stdbool.h>
#include <stdint.h>

/* `user`: a name, or an id in decimal, which need not have a name. False: there is no such user. */
bool users_find(const char *user, uint32_t *uid);

#endif
