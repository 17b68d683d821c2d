/*
 * demo: `posternd --demo`: mounts /echo and /chat, the demo page at /, and a handler of our own in
 * a child process that links over the real unix socket like any other. Threads: main, before any
 * worker exists.
 */
#ifndef POSTERN_SERVER_DEMO_H
#define POSTERN_SERVER_DEMO_H

#include <stdbool.h>

#include "base/span.h"

/* The config that --demo stands for, without a file. */
struct span demo_config_text(void);

enum {
    DEMO_PATH_BYTES = 108
};
/* A private folder with a path for the handler socket in it; false with errno set. */
bool demo_make_socket_path(char path[DEMO_PATH_BYTES]);
void demo_remove_socket_path(const char *path);

/* Starts the handler process; it ends with its parent. Returns its pid, or -1. */
int demo_start_handler(const char *socket_path);
/* Ends it and waits for its end. */
void demo_stop_handler(int pid);

#endif
