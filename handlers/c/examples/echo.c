/*
 * echo: sends every message back. Usage: handler-echo SOCKET
 */
#include "postern.h"
#include <stdio.h>

static void on_message(void *ctx, struct postern_session *session, const char *data, size_t len,
                       bool is_text)
{
    (void)ctx;
    (void)postern_send(session, data, len, is_text);
}

static void on_unlink(void *ctx, const char *why)
{
    (void)ctx;
    (void)fprintf(stderr, "echo: %s\n", why);
}

int main(int argc, char **argv)
{
    struct postern_options options = {
        .path = argc == 2 ? argv[1] : NULL,
        .app = "echo",
        .on = {.on_message = on_message, .on_unlink = on_unlink},
    };
    struct postern_handler *handler = postern_create(&options);
    if (handler == NULL) {
        (void)fprintf(stderr, "usage: handler-echo SOCKET\n");
        return 2;
    }
    int error = postern_run(handler);
    postern_destroy(handler);
    return error == 0 ? 0 : 1;
}
