/* load_opts: see load_opts.h. A new option is a row of `longs`, a case, and a line of the usage. */
#include "load_opts.h"

#include "load_echo.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 1000000
#define INFLIGHT_MAX    4096
#define SIZE_MAX_BYTES  (1U << 20)
#define RATE_MAX        10000000
#define SECONDS_MAX     86400.0

static const char usage[] =
    "usage: postern-load --url http://ADDRESS:PORT/PATH [options]\n"
    "  --transport T       raw-ws (default) | sockjs-ws | xhr_streaming | xhr\n"
    "  --mode M            echo (default) | idle\n"
    "  --tls               speak TLS 1.3 and verify nothing; the URL still says http\n"
    "  --deflate           idle WebSockets: offer permessage-deflate, and want it agreed\n"
    "  --connections N     sessions (100)\n"
    "  --inflight K        messages each session keeps under way (1)\n"
    "  --rate N            echo: messages a second of all sessions, in turn (as many as come "
    "back)\n"
    "  --size BYTES        of a message's text (32)\n"
    "  --warmup SEC        echo, not measured (1)\n"
    "  --duration SEC      echo, measured (5)\n"
    "  --settle SEC        idle: wait before memory is read (3)\n"
    "  --opening N         handshakes under way at once (128)\n"
    "  --sources N         spread over the client addresses 127.0.0.2 .. (1: do not bind)\n"
    "  --server-pid P,...  processes whose CPU time and memory are reported\n"
    "  --json              one JSON object on stdout; the words go to stderr\n"
    "Ends 0 when every message came back once, in order and unchanged, else 1; 2 on bad options.\n";

static const struct option longs[] = {
    {"url", required_argument, NULL, 'u'},
    {"transport", required_argument, NULL, 't'},
    {"mode", required_argument, NULL, 'm'},
    {"connections", required_argument, NULL, 'c'},
    {"inflight", required_argument, NULL, 'k'},
    {"rate", required_argument, NULL, 'r'},
    {"size", required_argument, NULL, 's'},
    {"warmup", required_argument, NULL, 'w'},
    {"duration", required_argument, NULL, 'd'},
    {"settle", required_argument, NULL, 'e'},
    {"opening", required_argument, NULL, 'o'},
    {"sources", required_argument, NULL, 'a'},
    {"server-pid", required_argument, NULL, 'p'},
    {"tls", no_argument, NULL, 'T'},
    {"deflate", no_argument, NULL, 'D'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char *const transport_names[] = {
    [LOAD_RAW_WS] = "raw-ws",
    [LOAD_SOCKJS_WS] = "sockjs-ws",
    [LOAD_XHR_STREAMING] = "xhr_streaming",
    [LOAD_XHR] = "xhr",
};

static bool complain(const char *what, const char *value)
{
    (void)fprintf(stderr, "postern-load: %s: %s\n", what, value);
    return false;
}

static bool parse_unsigned(const char *text, unsigned least, unsigned most, unsigned *value)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most) {
        return complain("not a number in range", text);
    }
    *value = (unsigned)number;
    return true;
}

static bool parse_seconds(const char *text, double *value)
{
    char *end = NULL;
    *value = strtod(text, &end);
    if (end == text || *end != '\0' || !(*value >= 0 && *value <= SECONDS_MAX)) {
        return complain("not a time in seconds", text);
    }
    return true;
}

/* Numeric addresses only: a name could resolve to somebody else's machine. */
static bool parse_url(struct load_opts *opts, const char *url)
{
    char address[32] = "";
    unsigned port = 0;
    size_t skip = strncmp(url, "http://", 7) == 0 ? 7 : 0;
    size_t n_host = skip > 0 ? strcspn(url + skip, "/") : 0;
    const char *path = url + skip + n_host;
    const char *colon = memchr(url + skip, ':', n_host);
    size_t n_address = colon != NULL ? (size_t)(colon - (url + skip)) : 0;
    if (n_address == 0 || n_address >= sizeof address || n_host >= sizeof opts->host ||
        strlen(path) >= sizeof opts->path) {
        return complain("not http://ADDRESS:PORT/PATH", url);
    }
    memcpy(address, url + skip, n_address);
    memcpy(opts->host, url + skip, n_host);
    opts->host[n_host] = '\0';
    (void)snprintf(opts->path, sizeof opts->path, "%s", *path != '\0' ? path : "/");
    if (!parse_unsigned(opts->host + n_address + 1, 1, 65535, &port)) {
        return false;
    }
    opts->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &opts->server.sin_addr) != 1) {
        return complain("not a numeric IPv4 address", address);
    }
    return true;
}

static bool parse_transport(struct load_opts *opts, const char *text)
{
    for (size_t i = 0; i < sizeof transport_names / sizeof *transport_names; i++) {
        if (strcmp(text, transport_names[i]) == 0) {
            opts->transport = (enum load_transport)i;
            opts->transport_name = transport_names[i];
            return true;
        }
    }
    return complain("unknown transport", text);
}

static bool parse_mode(struct load_opts *opts, const char *text)
{
    opts->is_idle = strcmp(text, "idle") == 0;
    return opts->is_idle || strcmp(text, "echo") == 0 || complain("unknown mode", text);
}

static bool parse_pids(struct load_opts *opts, const char *text)
{
    const char *at = text;
    for (;;) {
        char *end = NULL;
        long pid = strtol(at, &end, 10);
        if (end == at || pid <= 0 || opts->n_pids == LOAD_PIDS_MAX) {
            return complain("not a list of at most 16 process ids", text);
        }
        opts->pids[opts->n_pids++] = (pid_t)pid;
        if (*end == '\0') {
            return true;
        }
        at = end + (*end == ',' ? 1 : 0);
    }
}

static bool parse_option(struct load_opts *opts, int option, const char *value)
{
    switch (option) {
    case 'u':
        return parse_url(opts, value);
    case 't':
        return parse_transport(opts, value);
    case 'm':
        return parse_mode(opts, value);
    case 'c':
        return parse_unsigned(value, 1, CONNECTIONS_MAX, &opts->connections);
    case 'k':
        return parse_unsigned(value, 1, INFLIGHT_MAX, &opts->inflight);
    case 'r':
        return parse_unsigned(value, 1, RATE_MAX, &opts->rate);
    case 's':
        return parse_unsigned(value, LOAD_ECHO_MIN_BYTES, SIZE_MAX_BYTES, &opts->size_bytes);
    case 'w':
        return parse_seconds(value, &opts->warmup_s);
    case 'd':
        return parse_seconds(value, &opts->duration_s);
    case 'e':
        return parse_seconds(value, &opts->settle_s);
    case 'o':
        return parse_unsigned(value, 1, CONNECTIONS_MAX, &opts->opening_max);
    case 'a':
        return parse_unsigned(value, 1, 250, &opts->sources);
    case 'p':
        return parse_pids(opts, value);
    case 'T':
        opts->wants_tls = true;
        return true;
    case 'D':
        opts->wants_deflate = true;
        return true;
    case 'j':
        opts->wants_json = true;
        return true;
    default:
        (void)fputs(usage, stderr);
        return false;
    }
}

bool load_opts_parse(struct load_opts *opts, int argc, char **argv)
{
    *opts = (struct load_opts){
        .transport_name = transport_names[LOAD_RAW_WS],
        .connections = 100,
        .inflight = 1,
        .size_bytes = 32,
        .sources = 1,
        .opening_max = 128,
        .warmup_s = 1,
        .duration_s = 5,
        .settle_s = 3,
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (!parse_option(opts, option, optarg)) {
            return false;
        }
    }
    if (optind != argc || opts->host[0] == '\0') {
        (void)fputs(usage, stderr);
        return false;
    }
    bool is_websocket = opts->transport == LOAD_RAW_WS || opts->transport == LOAD_SOCKJS_WS;
    if (opts->wants_deflate && !(opts->is_idle && is_websocket)) {
        return complain("--deflate needs a WebSocket and --mode idle", opts->transport_name);
    }
    /* Session URLs are made below the path: a trailing slash would double there. */
    size_t n = strlen(opts->path);
    if (opts->transport != LOAD_RAW_WS && opts->path[n - 1] == '/') {
        opts->path[n - 1] = '\0';
    }
    return true;
}
