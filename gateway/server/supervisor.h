/*
 * supervisor: the process: binds, starts the workers, waits for signals, ends them. Threads: main.
 */
#ifndef POSTERN_SERVER_SUPERVISOR_H
#define POSTERN_SERVER_SUPERVISOR_H

#include "base/err.h"

struct config;

/* Binds everything the config names. On failure a sentence on stderr says which address or path,
 * why, and by what option to change it. Returns the exit code of the process after it was told to
 * stop: 0, or 1 when it could not start. `on_ready` (may be NULL) runs once everything listens. */
int supervisor_run(const struct config *config, void (*on_ready)(const struct config *config));

#endif
