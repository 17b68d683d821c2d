/* demo: see demo.h. The handler is built on the C SDK, as a user's would be. */
#include "server/demo.h"

#include "postern.h"
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct span demo_config_text(void)
{
    return SPAN_LIT("{\n"
                    "  \"mounts\": [\n"
                    "    { \"path\": \"/echo\" },\n"
                    "    { \"path\": \"/chat\" }\n"
                    "  ]\n"
                    "}\n");
}

bool demo_make_socket_path(char path[DEMO_PATH_BYTES])
{
    char folder[] = "/tmp/postern-demo-XXXXXX";
    if (mkdtemp(folder) == NULL) {
        return false;
    }
    (void)snprintf(path, DEMO_PATH_BYTES, "%s/handlers.sock", folder);
    return true;
}

void demo_remove_socket_path(const char *path)
{
    char folder[DEMO_PATH_BYTES];
    (void)unlink(path);
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
        (void)rmdir(folder);
    }
}

/* -- the handler process ---------------------------------------------------------------------- */

static struct postern_handler *handler;

static void on_signal(int sig)
{
    (void)sig;
    postern_stop(handler); /* NOLINT(bugprone-signal-handler): async-signal-safe by design */
}

struct line {
    const char *data;
    size_t len;
    bool is_text;
};

static void send_line(void *ctx, struct postern_session *session)
{
    const struct line *line = ctx;
    if (strcmp(postern_session_info(session, POSTERN_MOUNT), "/chat") == 0) {
        (void)postern_send(session, line->data, line->len, line->is_text);
    }
}

static void say(const char *text)
{
    struct line line = {text, strlen(text), true};
    postern_each_session(handler, send_line, &line);
}

static bool is_chat(const struct postern_session *session)
{
    return strcmp(postern_session_info(session, POSTERN_MOUNT), "/chat") == 0;
}

static void on_open(void *ctx, struct postern_session *session)
{
    (void)ctx;
    if (is_chat(session)) {
        say("* somebody joined");
    }
}

static void on_message(void *ctx, struct postern_session *session, const char *data, size_t len,
                       bool is_text)
{
    (void)ctx;
    if (is_chat(session)) {
        struct line line = {data, len, is_text};
        postern_each_session(handler, send_line, &line);
    } else {
        (void)postern_send(session, data, len, is_text);
    }
}

static void on_close(void *ctx, struct postern_session *session, unsigned code, const char *reason,
                     size_t reason_len)
{
    (void)ctx;
    (void)code;
    (void)reason;
    (void)reason_len;
    if (is_chat(session)) {
        say("* somebody left");
    }
}

static int serve(const char *socket_path)
{
    const struct postern_options options = {
        .path = socket_path,
        .app = "demo",
        .on = {.on_open = on_open, .on_message = on_message, .on_close = on_close}};
    handler = postern_create(&options);
    if (handler == NULL) {
        return 1;
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, SIG_IGN); /* ^C goes to the group: the parent ends us when it is done */
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int result = postern_run(handler);
    postern_destroy(handler);
    return result == 0 ? 0 : 1;
}

int demo_start_handler(const char *socket_path)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(1); /* the parent died before the line above */
        }
        _exit(serve(socket_path));
    }
    return pid;
}

void demo_stop_handler(int pid)
{
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
}
