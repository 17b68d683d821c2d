/*
 * chat: one room. Every text goes to all who are here; who comes and goes is told. Usage:
 * handler-chat SOCKET
 *
 * Shows: sending to sessions other than the one that spoke, and ending cleanly on a signal.
 */
#include "postern.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct postern_handler *handler;

struct line {
    const char *text;
    size_t len;
    const struct postern_session *except; /* NULL = nobody */
};

static void send_line(void *ctx, struct postern_session *session)
{
    const struct line *line = ctx;
    if (session != line->except) {
        /* A session that has just ended refuses the line; the others still get it. */
        (void)postern_send(session, line->text, line->len, true);
    }
}

static void tell(const struct postern_session *about, const char *what,
                 const struct postern_session *except)
{
    char text[128];
    (void)snprintf(text, sizeof text, "* %.64s %s", postern_session_info(about, POSTERN_ID), what);
    struct line line = {.text = text, .len = strlen(text), .except = except};
    postern_each_session(handler, send_line, &line);
}

static void on_open(void *ctx, struct postern_session *session)
{
    (void)ctx;
    /* A resumed session has been here all the time; only its handler is new. */
    if (!postern_session_is_resumed(session)) {
        tell(session, "has joined", NULL);
    }
}

static void on_message(void *ctx, struct postern_session *session, const char *data, size_t len,
                       bool is_text)
{
    (void)ctx;
    (void)session;
    if (is_text) {
        struct line line = {.text = data, .len = len};
        postern_each_session(handler, send_line, &line);
    }
}

static void on_close(void *ctx, struct postern_session *session, unsigned code, const char *reason,
                     size_t reason_len)
{
    (void)ctx;
    (void)code;
    (void)reason;
    (void)reason_len;
    tell(session, "has left", session);
}

static void on_unlink(void *ctx, const char *why)
{
    (void)ctx;
    (void)fprintf(stderr, "chat: %s\n", why);
}

static void on_signal(int number)
{
    (void)number;
    postern_stop(handler); /* NOLINT(bugprone-signal-handler): async-signal-safe by design */
}

int main(int argc, char **argv)
{
    struct postern_options options = {
        .path = argc == 2 ? argv[1] : NULL,
        .app = "chat",
        .on = {.on_open = on_open,
               .on_message = on_message,
               .on_close = on_close,
               .on_unlink = on_unlink},
    };
    handler = postern_create(&options);
    if (handler == NULL) {
        (void)fprintf(stderr, "usage: handler-chat SOCKET\n");
        return 2;
    }
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    int error = postern_run(handler);
    postern_destroy(handler);
    return error == 0 ? 0 : 1;
}
