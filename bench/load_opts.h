/*
 * load_opts: the command line of postern-load, checked once so that nothing behind it has to be.
 */
#ifndef POSTERN_BENCH_LOAD_OPTS_H
#define POSTERN_BENCH_LOAD_OPTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_PIDS_MAX 16

enum load_transport {
    LOAD_RAW_WS,
    LOAD_SOCKJS_WS,
    LOAD_XHR_STREAMING,
    LOAD_XHR,
};

struct load_opts {
    struct sockaddr_in server;
    char host[64];  /* as for the Host field, with the port */
    char path[256]; /* of the URL, without a trailing slash unless it is all there is */
    enum load_transport transport;
    const char *transport_name;
    bool is_idle;
    bool wants_json;
    bool wants_tls;
    bool wants_deflate; /* idle WebSockets: permessage-deflate is offered and must be agreed */
    unsigned connections;
    unsigned inflight;
    unsigned rate; /* messages a second of all sessions together; 0: as many as come back */
    unsigned size_bytes;
    unsigned sources;     /* client addresses 127.0.0.2 and up; 1: the system's choice */
    unsigned opening_max; /* handshakes under way at once */
    double warmup_s;
    double duration_s;
    double settle_s;
    pid_t pids[LOAD_PIDS_MAX];
    unsigned n_pids;
};

/* Fills *opts. On a mistake prints a sentence to stderr and returns false. */
bool load_opts_parse(struct load_opts *opts, int argc, char **argv);

#endif
