/*
 * conformance-handler: the handler behind scripts/conformance. Usage: conformance-handler SOCKET
 * [--name N]
 *
 * What a session gets is decided by its mount (the table below) when it opens and kept in its user
 * pointer. An ordinary handler: nothing here is known to the gateway. Prints `linked` once, when
 * the gateway has welcomed it for the first time.
 */
#include "postern.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_FRAME_BYTES = 16 * 1024 * 1024, /* the largest message of /ws */
    AMPLIFY_MAX_POWER = 18,
};

/* One row for each mount; a session's user pointer is its row. */
struct mount {
    const char *path;
    void (*on_open)(struct postern_session *session);
    void (*on_message)(struct postern_handler *handler, struct postern_session *session,
                       const char *data, size_t len, bool is_text);
};

/* A failed send means that the session has just ended or the link is going down: there is nobody to
 * tell. */
static void echo(struct postern_handler *handler, struct postern_session *session, const char *data,
                 size_t len, bool is_text)
{
    (void)handler;
    (void)postern_send(session, data, len, is_text);
}

static void go_away(struct postern_session *session)
{
    (void)postern_kick(session, 3000, "Go away!");
}

/* The number at the start of a message, which is not NUL-ended; -1 when there is none up to `max`.
 */
static int leading_number(const char *data, size_t len, int max, size_t *n_digits)
{
    int value = 0;
    size_t at = 0;
    while (at < len && data[at] >= '0' && data[at] <= '9' && value <= max) {
        value = value * 10 + (data[at++] - '0');
    }
    *n_digits = at;
    return at != 0 && value <= max ? value : -1;
}

/* "n" gives 2^n times `x`. */
static void amplify(struct postern_handler *handler, struct postern_session *session,
                    const char *data, size_t len, bool is_text)
{
    static char xs[1 << AMPLIFY_MAX_POWER];
    (void)handler;
    (void)is_text;
    size_t n_digits = 0;
    int power = leading_number(data, len, AMPLIFY_MAX_POWER, &n_digits);
    if (power >= 1 && n_digits == len) {
        memset(xs, 'x', sizeof xs);
        (void)postern_send(session, xs, (size_t)1 << power, true);
    }
}

/* "CODE REASON" closes the session so. */
static void close_with(struct postern_handler *handler, struct postern_session *session,
                       const char *data, size_t len, bool is_text)
{
    (void)handler;
    (void)is_text;
    size_t n_digits = 0;
    int code = leading_number(data, len, 4999, &n_digits);
    if (code < 0) {
        return;
    }
    size_t skip = n_digits < len && data[n_digits] == ' ' ? n_digits + 1 : n_digits;
    char reason[124];
    (void)snprintf(reason, sizeof reason, "%.*s", (int)(len - skip < 123 ? len - skip : 123),
                   data + skip);
    (void)postern_kick(session, (unsigned)code, reason);
}

struct broadcast {
    const struct mount *mount;
    const char *data;
    size_t len;
};

static void send_broadcast(void *ctx, struct postern_session *session)
{
    const struct broadcast *b = ctx;
    if (postern_session_user(session) == b->mount) {
        (void)postern_send(session, b->data, b->len, true);
    }
}

/* Text beginning `B` goes to every session of the same mount, everything else back to its sender.
 */
static void bench(struct postern_handler *handler, struct postern_session *session,
                  const char *data, size_t len, bool is_text)
{
    if (is_text && len != 0 && data[0] == 'B') {
        struct broadcast b = {.mount = postern_session_user(session), .data = data, .len = len};
        postern_each_session(handler, send_broadcast, &b);
    } else {
        (void)postern_send(session, data, len, is_text);
    }
}

static struct mount mounts[] = {
    {"/echo", NULL, echo},
    {"/disabled_websocket_echo", NULL, echo},
    {"/cookie_needed_echo", NULL, echo},
    {"/guarded", NULL, echo},
    {"/close", go_away, NULL},
    {"/amplify", NULL, amplify},
    {"/closecode", NULL, close_with},
    {"/ws", NULL, echo},
    {"/ws-small", NULL, echo},
    {"/bench", NULL, bench},
    {"/native", NULL, bench},
};

enum {
    N_MOUNTS = sizeof mounts / sizeof mounts[0],
};

struct app {
    struct postern_handler *handler;
    bool has_linked;
};

static void on_link(void *ctx)
{
    struct app *app = ctx;
    if (!app->has_linked) {
        app->has_linked = true;
        (void)puts("linked");
        (void)fflush(stdout);
    }
}

static void on_open(void *ctx, struct postern_session *session)
{
    (void)ctx;
    const char *path = postern_session_info(session, POSTERN_MOUNT);
    for (size_t i = 0; i < N_MOUNTS; i++) {
        if (strcmp(mounts[i].path, path) == 0) {
            postern_session_set_user(session, &mounts[i]);
            if (mounts[i].on_open != NULL) {
                mounts[i].on_open(session);
            }
            return;
        }
    }
    (void)postern_reject(session, 4404, "no such mount in the conformance handler");
}

static void on_message(void *ctx, struct postern_session *session, const char *data, size_t len,
                       bool is_text)
{
    const struct app *app = ctx;
    const struct mount *mount = postern_session_user(session);
    if (mount != NULL && mount->on_message != NULL) {
        mount->on_message(app->handler, session, data, len, is_text);
    }
}

static const char *app_name(int argc, char **argv)
{
    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--name") == 0) {
            return argv[i + 1];
        }
    }
    return "conformance";
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct postern_options options = {
        .path = argc >= 2 ? argv[1] : NULL,
        .app = app_name(argc, argv),
        .client = "conformance/0.1",
        .max_frame = MAX_FRAME_BYTES,
        .ctx = &app,
        .on = {.on_link = on_link, .on_open = on_open, .on_message = on_message},
    };
    app.handler = postern_create(&options);
    if (app.handler == NULL) {
        (void)fprintf(stderr, "usage: conformance-handler SOCKET [--name N]\n");
        return 2;
    }
    int error = postern_run(app.handler);
    postern_destroy(app.handler);
    return error == 0 ? 0 : 1;
}
