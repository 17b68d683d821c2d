/* main: argv, exit codes. The rest is server/supervisor. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "server/config.h"
#include "server/demo.h"
#include "server/supervisor.h"

enum {
    MAX_REPORT_BYTES = 1 << 20,
    EXIT_USAGE = 2,
};

static const char usage[] =
    "posternd: a fallback gateway: SockJS and WebSocket sessions for legacy web apps\n"
    "\n"
    "  posternd --config FILE                       run with a config file\n"
    "  posternd --listen ADDRESS --handlers SOCKET  run without one: a mount at /sockjs\n"
    "  posternd --demo [--listen ADDRESS]           demo page with echo and chat\n"
    "  posternd -t --config FILE                    check the config, start nothing\n"
    "\n"
    "  -c, --config FILE      JSON with comments; default /etc/postern/postern.json\n"
    "  -l, --listen ADDRESS   HOST:PORT, [V6]:PORT or PORT; replaces \"listen\"\n"
    "  -s, --handlers SOCKET  unix socket that handlers connect to; replaces \"handlers.socket\"\n"
    "      --demo             serve the demo page at / and its handler\n"
    "  -t, --test             check the config: exit 0 if it is good, 1 with all problems\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this\n";

struct arguments {
    const char *config;
    struct config_overrides overrides;
    bool is_test;
};

/* Returns -1 to go on, else the exit code. */
static int read_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},   {"listen", required_argument, NULL, 'l'},
        {"handlers", required_argument, NULL, 's'}, {"demo", no_argument, NULL, 'd'},
        {"test", no_argument, NULL, 't'},           {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "c:l:s:tVh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            out->config = optarg;
            break;
        case 'l':
            out->overrides.listen = optarg;
            break;
        case 's':
            out->overrides.handlers_socket = optarg;
            break;
        case 'd':
            out->overrides.demo = true;
            break;
        case 't':
            out->is_test = true;
            break;
        case 'V':
            (void)printf("posternd %s\n", POSTERN_VERSION);
            return 0;
        case 'h':
            (void)fputs(usage, stdout);
            return 0;
        default:
            (void)fputs("Try posternd --help.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "posternd: unexpected argument \"%s\"; try posternd --help\n",
                      argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static struct config *load(struct arguments *args)
{
    struct buf report;
    struct config *config = NULL;
    enum err e = ERR_OK;
    buf_init(&report, MAX_REPORT_BYTES);
    if (args->config == NULL && args->overrides.demo) {
        e = config_parse("demo", demo_config_text(), &args->overrides, &config, &report);
    } else {
        bool needs_file = args->overrides.listen == NULL || args->overrides.handlers_socket == NULL;
        if (args->config == NULL && needs_file) {
            args->config = "/etc/postern/postern.json";
        }
        e = config_load(args->config, &args->overrides, &config, &report);
    }
    struct span text = buf_span(&report);
    (void)fwrite(text.ptr != NULL ? text.ptr : "", 1, text.len, stderr);
    if (e == ERR_NOMEM) {
        (void)fputs("posternd: out of memory while reading the config\n", stderr);
    }
    buf_fini(&report);
    return e == ERR_OK ? config : NULL;
}

static void say_where(const struct config *config)
{
    bool is_plain = config->listen.n != 0;
    (void)printf("posternd: demo at %s://%s/\n", is_plain ? "http" : "https",
                 is_plain ? config->listen.items[0] : config->tls_listen.items[0]);
    (void)fflush(stdout);
}

static int run_demo(const struct config *config, const char *socket_path)
{
    int handler = demo_start_handler(socket_path);
    if (handler < 0) {
        (void)fprintf(stderr, "posternd: cannot start the demo handler: %s\n", strerror(errno));
        return 1;
    }
    int code = supervisor_run(config, say_where);
    demo_stop_handler(handler);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments args = {0};
    char socket_path[DEMO_PATH_BYTES] = "";
    int code = read_arguments(argc, argv, &args);
    if (code >= 0) {
        return code;
    }
    if (args.overrides.demo) {
        if (args.overrides.listen == NULL && args.config == NULL) {
            args.overrides.listen = "127.0.0.1:8080";
        }
        if (args.overrides.handlers_socket == NULL && args.config == NULL) {
            if (!demo_make_socket_path(socket_path)) {
                (void)fprintf(stderr, "posternd: cannot make a folder in /tmp: %s\n",
                              strerror(errno));
                return 1;
            }
            args.overrides.handlers_socket = socket_path;
        }
    }
    struct config *config = load(&args);
    code = 1;
    if (config != NULL && args.is_test) {
        (void)printf("posternd: the config is good\n");
        code = 0;
    } else if (config != NULL && config->demo) {
        code = run_demo(config, config->handlers_socket);
    } else if (config != NULL) {
        code = supervisor_run(config, NULL);
    }
    config_destroy(config);
    if (socket_path[0] != '\0') {
        demo_remove_socket_path(socket_path);
    }
    return code;
}
