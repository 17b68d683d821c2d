/*
 * config: the one config file (JSON with comments and trailing commas) as an immutable snapshot.
 *
 * config_load reads and checks everything in one pass and reports every problem with file:line:col,
 * the source line with a caret and the nearest known name. The field table in config_fields.c is
 * the single source of path, type, unit, range, default and help (the same table will make the JSON
 * Schema and the man page); the comments here only name the key. Other rooms never see this header:
 * compose.c turns the snapshot into each room's `_opts`. Threads: loaded by the supervisor;
 * read-only afterwards.
 */
#ifndef POSTERN_SERVER_CONFIG_H
#define POSTERN_SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/span.h"

enum {
    CONFIG_MAX_MOUNTS = 256, /* mounts are searched one by one, also by the loader */
    CONFIG_MAX_WORKERS = 256,
    CONFIG_WORKERS_AUTO = 0, /* what "auto" is until config_parse puts the number of cores there */
    CONFIG_REPORT_MAX_BYTES =
        1 << 17, /* a report of this ceiling has room for every problem shown */
};

/* A list of NUL-ended strings. */
struct config_strings {
    char **items;
    size_t n;
};

/* Bits for the transports of a mount; names as in the SockJS URLs. The last three are for pages of
 * other sites in browsers without CORS, and for no other list than `*` on by default. */
enum config_transport {
    CONFIG_WEBSOCKET = 1 << 0,
    CONFIG_XHR_STREAMING = 1 << 1,
    CONFIG_XHR = 1 << 2, /* xhr polling */
    CONFIG_EVENTSOURCE = 1 << 3,
    CONFIG_HTMLFILE = 1 << 4,
    CONFIG_JSONP = 1 << 5,
    CONFIG_IFRAME = 1 << 6, /* the iframe page; with origins "*" always on */
};

enum config_dialect {
    CONFIG_SOCKJS = 1 << 0,
    CONFIG_RAW = 1 << 1, /* bare WebSocket: at PATH/websocket beside sockjs, else at PATH itself */
};

enum config_accept {
    CONFIG_ACCEPT_AT_ONCE, /* the client is told it is open at once (default) */
    CONFIG_ACCEPT_HANDLER, /* only when the handler sent ACCEPT; none in 10 s = close 1013 */
};

enum config_slow_policy {
    CONFIG_SLOW_CLOSE,       /* at the hard bound the session is closed (default) */
    CONFIG_SLOW_DROP_OLDEST, /* at the hard bound the oldest queued message is dropped */
};

struct config_mount {
    char *path;          /* "/" or "/a/b": whole segments, no '/' at the end; unique */
    unsigned dialects;   /* bits of enum config_dialect, at least one */
    unsigned transports; /* bits of enum config_transport, at least one */
    /* "same-origin", "*", "null", "scheme://host[:port]", and "!" before one of the last two; >= 1
     */
    struct config_strings origins;
    struct config_strings subprotocols; /* of WebSocket; tokens; may be empty */
    uint64_t heartbeat_ms;
    uint64_t disconnect_delay_ms;  /* a session without a receiver lives so long */
    uint64_t response_limit_bytes; /* a streaming response ends after so much */
    uint64_t max_message_bytes;    /* one message or one POST body */
    uint64_t queue_hard_bytes;     /* >= 2 * max_message_bytes */
    uint64_t queue_soft_bytes;     /* <= queue_hard_bytes; the handler is told to PAUSE */
    uint64_t queue_soft_time_ms;   /* above queue_soft_bytes for so long = slow_policy */
    enum config_slow_policy slow_policy;
    enum config_accept accept;
    bool hixie76;                     /* WebSocket handshakes of 2010 are taken too */
    bool cookie_needed;               /* "cookie": JSESSIONID for sticky balancers */
    bool deflate;                     /* permessage-deflate is offered to WebSockets */
    bool deflate_takeover;            /* windows are kept from message to message */
    unsigned deflate_window;          /* bits, 9 to 15 */
    uint64_t deflate_threshold_bytes; /* messages below it are not compressed */
    bool secrets;                     /* messages hold some: never `deflate` */
    char *sockjs_url; /* script of the iframe page: '/...', http:// or https://; "" = our own */
};

struct config {
    struct config_strings listen;     /* "IPV4:PORT", "[IPV6]:PORT", "PORT" (all of IPv4); >= 1 */
    struct config_strings tls_listen; /* addresses that speak TLS; needs cert and key */
    char *tls_cert;                   /* PEM file with the chain; "" = none */
    char *tls_key;                    /* PEM file */

    /* "flash": listeners that answer the policy requests of Flash players as well */
    struct config_strings flash_listen;  /* addresses; needs domains */
    struct config_strings flash_domains; /* "*", "a.example", "*.a.example" */
    struct config_strings flash_ports;   /* "*", "80", "8000-8099"; empty = those listened on */

    unsigned workers;         /* threads, 1 to CONFIG_MAX_WORKERS */
    enum log_level log_level; /* "log.level" */
    uint64_t drain_ms;        /* on SIGTERM sessions are told and given so long */

    /* "handlers": the unix socket that backend handlers connect to */
    char *handlers_socket;                /* at most 107 bytes; never NULL after a load */
    unsigned handlers_mode;               /* file mode bits of the socket */
    struct config_strings handlers_users; /* names or ids of users of this system; may be empty */
    uint64_t handlers_grace_ms;           /* sessions wait so long for a handler */
    uint64_t handlers_timeout_ms;         /* no PONG in so long = dead link */
    uint64_t handlers_window_bytes;       /* unacknowledged bytes in flight on a link */
    uint64_t handlers_pending_bytes;      /* per session, what waits while no handler is there */

    /* "limits": one row each in docs/CONFIG.md with the attack that it answers */
    uint64_t max_connections;             /* "connections" */
    uint64_t max_connections_per_address; /* "connections_per_address"; 0 = no limit */
    uint64_t head_bytes;                  /* "head" */
    uint64_t url_bytes;                   /* "url", <= head_bytes */
    uint64_t header_fields;
    uint64_t head_timeout_ms;    /* first byte to blank line */
    uint64_t body_timeout_ms;    /* + bytes / min_rate */
    uint64_t message_timeout_ms; /* + bytes / min_rate; WebSocket */
    uint64_t min_rate_bytes;     /* per second */
    uint64_t keepalive_timeout_ms;
    uint64_t write_timeout_ms;     /* a peer that takes nothing for so long */
    uint64_t deflate_memory_bytes; /* "deflate_memory": of all workers together */

    struct config_mount *mounts; /* at least one unless demo */
    size_t n_mounts;

    bool demo; /* serve the demo page at / and its handler */
};

/* Command-line values that stand in for required keys. NULL / false = not given. */
struct config_overrides {
    const char *listen;          /* replaces "listen" */
    const char *handlers_socket; /* replaces "handlers.socket" */
    bool demo;                   /* true turns "demo" on */
};

/* A config with every default and no mounts, listeners or socket; `workers` is CONFIG_WORKERS_AUTO
 * yet. NULL when out of memory. */
struct config *config_create_default(void) MUST_CHECK;
/* Parses `text` (named `name` in messages; NULL: the command line, nothing to point at).
 * `overrides` may be NULL. All problems are appended to `report`, ready to print, in the form shown
 * in config_report.h. ERR_OK and *out (destroy with config_destroy), or ERR_CONFIG with at least
 * one problem, or ERR_NOMEM; *out is NULL then. */
enum err config_parse(const char *name, struct span text, const struct config_overrides *overrides,
                      struct config **out, struct buf *report) MUST_CHECK;
/* The same from a file: cannot be read = ERR_CONFIG with the reason (and what to do) in `report`. A
 * NULL path stands for a file with one mount at /sockjs and nothing else (with overrides->demo: an
 * empty one), for `posternd --listen 8080 --handlers ./app.sock`. */
enum err config_load(const char *path, const struct config_overrides *overrides,
                     struct config **out, struct buf *report) MUST_CHECK;
/* NULL is allowed. */
void config_destroy(struct config *config);
/* The table of docs/CONFIG.md in Markdown: one row for each field with type, default, what is
 * allowed and help, from the field table. */
enum err config_describe_fields(struct buf *out) MUST_CHECK;

#endif
