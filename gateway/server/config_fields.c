/*
 * config_fields: the table, its look-up, and the manual's rows. See config_fields.h.
 * A new key is one row here, one member in config.h and one line in docs/CONFIG.md (the test prints
 * the row that it wants).
 */
#include "server/config_fields.h"

#include <stdio.h>
#include <string.h>

#include "server/config.h"

/* Milliseconds and bytes. */
#define SECONDS(n) ((uint64_t)(n)*1000)
#define MINUTES(n) ((uint64_t)(n)*60 * 1000)
#define HOURS(n)   ((uint64_t)(n)*60 * 60 * 1000)
#define KIB(n)     ((uint64_t)(n) << 10)
#define MIB(n)     ((uint64_t)(n) << 20)
#define GIB(n)     ((uint64_t)(n) << 30)

#define IN_TOP(member)                                                                             \
    .part = CONFIG_PART_TOP, .offset = offsetof(struct config, member),                            \
    .bytes = sizeof(((struct config *)0)->member)
#define IN_MOUNT(member)                                                                           \
    .part = CONFIG_PART_MOUNT, .offset = offsetof(struct config_mount, member),                    \
    .bytes = sizeof(((struct config_mount *)0)->member)

#define RANGE(least, most) .min = (least), .max = (most)

static const struct config_word auto_words[] = {
    {"auto", CONFIG_WORKERS_AUTO},
    {NULL, 0},
};
static const struct config_word level_words[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}, {NULL, 0},
};
static const struct config_word dialect_words[] = {
    {"sockjs", CONFIG_SOCKJS},
    {"raw", CONFIG_RAW},
    {NULL, 0},
};
static const struct config_word transport_words[] = {
    {"websocket", CONFIG_WEBSOCKET},
    {"xhr_streaming", CONFIG_XHR_STREAMING},
    {"xhr", CONFIG_XHR},
    {"eventsource", CONFIG_EVENTSOURCE},
    {"htmlfile", CONFIG_HTMLFILE},
    {"jsonp", CONFIG_JSONP},
    {"iframe", CONFIG_IFRAME},
    {NULL, 0},
};
static const struct config_word slow_words[] = {
    {"close", CONFIG_SLOW_CLOSE},
    {"drop-oldest", CONFIG_SLOW_DROP_OLDEST},
    {NULL, 0},
};
static const struct config_word accept_words[] = {
    {"at-once", CONFIG_ACCEPT_AT_ONCE},
    {"handler", CONFIG_ACCEPT_HANDLER},
    {NULL, 0},
};

/* Fields of one section stand together: the list of known keys relies on it. */
const struct config_field config_fields[] = {
    {.path = "listen",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_LISTEN,
     .example = "\"127.0.0.1:8080\"",
     .option = "--listen",
     IN_TOP(listen),
     .help = "Addresses to accept clients on; port 0 lets the system choose. "
             "`--listen` stands in for it."},
    {.path = "workers",
     .type = CONFIG_TYPE_UNSIGNED,
     RANGE(1, CONFIG_MAX_WORKERS),
     .words = auto_words,
     .fallback = "\"auto\"",
     IN_TOP(workers),
     .help = "Threads that serve clients; `auto`: one for each core that the process may run on."},
    {.path = "drain",
     .type = CONFIG_TYPE_DURATION,
     RANGE(0, MINUTES(10)),
     .fallback = "\"3s\"",
     IN_TOP(drain_ms),
     .help = "On SIGTERM every session is told to go; the process ends when all were told, at the "
             "latest after this time."},
    {.path = "demo",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_TOP(demo),
     .help = "Serve the demo page at `/` with its own echo handler. `--demo` turns it on."},
    {.path = "log.level",
     .type = CONFIG_TYPE_WORD,
     .words = level_words,
     .fallback = "\"info\"",
     IN_TOP(log_level),
     .help = "Lines below this level are not written."},

    {.path = "tls.listen",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_LISTEN,
     .fallback = "[]",
     IN_TOP(tls_listen),
     .help =
         "Addresses to accept clients on by TLS 1.2 and 1.3; with them `listen` may be absent."},
    {.path = "tls.cert",
     .type = CONFIG_TYPE_STRING,
     .fallback = "\"\"",
     IN_TOP(tls_cert),
     .help = "PEM file with the certificate and its chain; needed for `tls.listen`."},
    {.path = "tls.key",
     .type = CONFIG_TYPE_STRING,
     .fallback = "\"\"",
     IN_TOP(tls_key),
     .help = "PEM file with the certificate's private key; needed for `tls.listen`."},

    {.path = "flash.listen",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_LISTEN,
     .fallback = "[]",
     IN_TOP(flash_listen),
     .help = "Addresses to accept clients on that also answer the policy request of a Flash player "
             "(players ask on port 843 and on the one that they want); they come on top of "
             "`listen`."},
    {.path = "flash.domains",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_FLASH_DOMAIN,
     .fallback = "[]",
     IN_TOP(flash_domains),
     .help = "Hosts whose Flash pages may open sockets to us; needed for `flash.listen`. Answers "
             "foreign pages, as far as players are honest: what they send is checked as ever."},
    {.path = "flash.ports",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_FLASH_PORTS,
     .fallback = "[]",
     IN_TOP(flash_ports),
     .help = "Ports that they may open sockets to; `[]`: those of `listen` and `flash.listen`."},

    {.path = "handlers.socket",
     .type = CONFIG_TYPE_STRING,
     .form = CONFIG_FORM_SOCKET_PATH,
     .example = "\"/run/postern/handlers.sock\"",
     .option = "--handlers",
     IN_TOP(handlers_socket),
     .help = "The unix socket that your handlers connect to. `--handlers` stands in for it."},
    {.path = "handlers.mode",
     .type = CONFIG_TYPE_MODE,
     RANGE(0, 0777),
     .fallback = "\"0660\"",
     IN_TOP(handlers_mode),
     .help = "Permissions of that socket: whoever may connect speaks for your application."},
    {.path = "handlers.users",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_USER,
     .fallback = "[]",
     IN_TOP(handlers_users),
     .help =
         "Users whose processes may be handlers, by name or id; empty: all that the permissions "
         "let connect."},
    {.path = "handlers.grace",
     .type = CONFIG_TYPE_DURATION,
     RANGE(0, HOURS(1)),
     .fallback = "\"30s\"",
     IN_TOP(handlers_grace_ms),
     .help = "Sessions wait so long for a handler to come (back) before they are closed."},
    {.path = "handlers.timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(SECONDS(1), MINUTES(10)),
     .fallback = "\"15s\"",
     IN_TOP(handlers_timeout_ms),
     .help = "A handler that answers no PING for so long counts as dead."},
    {.path = "handlers.window",
     .type = CONFIG_TYPE_SIZE,
     RANGE(KIB(64), GIB(1)),
     .fallback = "\"4m\"",
     IN_TOP(handlers_window_bytes),
     .help = "Bytes on the way to one handler that it has not acknowledged; more waits. Answers "
             "handlers that stop reading."},
    {.path = "handlers.pending",
     .type = CONFIG_TYPE_SIZE,
     RANGE(KIB(1), MIB(64)),
     .fallback = "\"64k\"",
     IN_TOP(handlers_pending_bytes),
     .help = "What one session may have waiting for a handler; above it the client's sending "
             "waits. Answers clients that send faster than your handler takes."},

    {.path = "limits.connections",
     .type = CONFIG_TYPE_UNSIGNED,
     RANGE(1, 10000000),
     .fallback = "100000",
     IN_TOP(max_connections),
     .help =
         "Open client connections, or what the descriptor limit leaves after some for handlers; "
         "above, new ones are closed at once. Answers connection floods."},
    {.path = "limits.connections_per_address",
     .type = CONFIG_TYPE_UNSIGNED,
     RANGE(0, 10000000),
     .fallback = "0",
     IN_TOP(max_connections_per_address),
     .help = "Of these from one IPv4 address or IPv6 /64 network; 0: no limit, as behind a reverse "
             "proxy all come from one. Set it where clients connect directly. Answers one host "
             "that takes every connection."},
    {.path = "limits.head",
     .type = CONFIG_TYPE_SIZE,
     RANGE(KIB(1), KIB(64)),
     .fallback = "\"16k\"",
     IN_TOP(head_bytes),
     .help = "A request's head, first byte to blank line. Answers heads that never end."},
    {.path = "limits.url",
     .type = CONFIG_TYPE_SIZE,
     RANGE(256, KIB(32)),
     .fallback = "\"8k\"",
     IN_TOP(url_bytes),
     .help = "A request's target; not above `limits.head` (the default follows a lower head). "
             "Answers giant URLs."},
    {.path = "limits.header_fields",
     .type = CONFIG_TYPE_UNSIGNED,
     RANGE(8, 100),
     .fallback = "100",
     IN_TOP(header_fields),
     .help = "Header fields of a request. Answers floods of tiny fields that cost time each."},
    {.path = "limits.head_timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"10s\"",
     IN_TOP(head_timeout_ms),
     .help = "A head must be whole in so long; a TLS handshake counts as part of the first one. "
             "Answers Slowloris (heads sent byte by byte)."},
    {.path = "limits.body_timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"25s\"",
     IN_TOP(body_timeout_ms),
     .help = "A body must be whole in so long, plus its bytes / `limits.min_rate`. Answers slow "
             "POSTs."},
    {.path = "limits.message_timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"25s\"",
     IN_TOP(message_timeout_ms),
     .help = "A WebSocket message, first byte of its first frame to last byte, must be whole in so "
             "long, plus its bytes / `limits.min_rate`; not counting the time that a slow handler "
             "keeps us from reading. Answers messages sent byte by byte."},
    {.path = "limits.min_rate",
     .type = CONFIG_TYPE_SIZE,
     RANGE(1, GIB(1)),
     .fallback = "\"4k\"",
     IN_TOP(min_rate_bytes),
     .help = "Bytes per second that a body or message must come with on average; see "
             "`limits.body_timeout` and `limits.message_timeout`. Answers slow uploads."},
    {.path = "limits.keepalive_timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, HOURS(1)),
     .fallback = "\"75s\"",
     IN_TOP(keepalive_timeout_ms),
     .help =
         "A connection may idle so long between requests. Answers connections held for nothing."},
    {.path = "limits.write_timeout",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"30s\"",
     IN_TOP(write_timeout_ms),
     .help = "A client that takes no byte for so long is cut. Answers readers that never read."},
    {.path = "limits.deflate_memory",
     .type = CONFIG_TYPE_SIZE,
     RANGE(MIB(1), GIB(64)),
     .fallback = "\"64m\"",
     IN_TOP(deflate_memory_bytes),
     .help = "All compression together, streams and half-inflated messages: shared out evenly to "
             "the workers, each with room for one largest message and 512k (the default is raised "
             "to that). Near it no window is kept, at it messages go uncompressed and clients that "
             "send compressed ones are closed with 1013. Answers many compressors, and small "
             "messages that inflate to large ones."},

    {.path = "mounts[].path",
     .type = CONFIG_TYPE_STRING,
     .form = CONFIG_FORM_MOUNT_PATH,
     .example = "\"/echo\"",
     IN_MOUNT(path),
     .help = "Where clients reach this mount: the URL prefix that you give to SockJS. Unique."},
    {.path = "mounts[].dialects",
     .type = CONFIG_TYPE_WORDS,
     .words = dialect_words,
     .fallback = "[\"sockjs\"]",
     IN_MOUNT(dialects),
     .help = "What is spoken here. `sockjs` has a raw WebSocket at PATH/websocket; `raw` alone "
             "is a bare WebSocket at PATH."},
    {.path = "mounts[].transports",
     .type = CONFIG_TYPE_WORDS,
     .words = transport_words,
     .fallback = "[\"websocket\", \"xhr_streaming\", \"xhr\", \"eventsource\"]",
     IN_MOUNT(transports),
     .help = "Transports that are offered; requests for another one get 404. Where `origins` has "
             "`*`, the default has `htmlfile` and `jsonp` too, and `iframe` is always on."},
    {.path = "mounts[].origins",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_ORIGIN,
     .fallback = "[\"same-origin\"]",
     IN_MOUNT(origins),
     .help = "Pages that may connect; with `!` before it an origin may not, whatever else allows "
             "it. Answers foreign pages that use a visitor's cookies (cross-site WebSocket "
             "hijacking)."},
    {.path = "mounts[].subprotocols",
     .type = CONFIG_TYPE_STRINGS,
     .form = CONFIG_FORM_TOKEN,
     .fallback = "[]",
     IN_MOUNT(subprotocols),
     .help =
         "WebSocket subprotocols that your application speaks: the client's first offer that is "
         "in this list is chosen, none if none is. With `accept` a handler may choose "
         "otherwise."},
    {.path = "mounts[].heartbeat",
     .type = CONFIG_TYPE_DURATION,
     RANGE(SECONDS(1), HOURS(1)),
     .fallback = "\"25s\"",
     IN_MOUNT(heartbeat_ms),
     .help = "A quiet session gets a heartbeat so often; below the idle timeout of proxies."},
    {.path = "mounts[].disconnect_delay",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"5s\"",
     IN_MOUNT(disconnect_delay_ms),
     .help = "A session whose client has no connection open ends after so long. Answers sessions "
             "that are opened and abandoned."},
    {.path = "mounts[].response_limit",
     .type = CONFIG_TYPE_SIZE,
     RANGE(1, GIB(1)),
     .fallback = "\"128k\"",
     IN_MOUNT(response_limit_bytes),
     .help = "A streaming response ends after so much and the client opens the next. Answers "
             "browsers and proxies, which keep the whole of it in memory."},
    {.path = "mounts[].max_message",
     .type = CONFIG_TYPE_SIZE,
     RANGE(1, MIB(64)),
     .fallback = "\"1m\"",
     IN_MOUNT(max_message_bytes),
     .help = "One message, or the body of one POST (of at most 9999 messages), from a client. "
             "Answers giant messages, and thousands of tiny ones for one handler at once."},
    {.path = "mounts[].queue_hard",
     .type = CONFIG_TYPE_SIZE,
     RANGE(KIB(4), GIB(1)),
     .fallback = "\"256k\"",
     IN_MOUNT(queue_hard_bytes),
     .help = "What may wait for one client before `slow_policy` acts; at least twice "
             "`max_message` (the default is raised to it). Answers clients that read slowly."},
    {.path = "mounts[].queue_soft",
     .type = CONFIG_TYPE_SIZE,
     RANGE(1, GIB(1)),
     .fallback = "\"64k\"",
     IN_MOUNT(queue_soft_bytes),
     .help = "When so much waits for one client, its handler is told to pause; not above "
             "`queue_hard` (the default is at most half of it). Answers clients that read slowly."},
    {.path = "mounts[].queue_soft_time",
     .type = CONFIG_TYPE_DURATION,
     RANGE(100, MINUTES(10)),
     .fallback = "\"10s\"",
     IN_MOUNT(queue_soft_time_ms),
     .help = "A queue above `queue_soft` for so long without a break meets `slow_policy`. Answers "
             "clients that read just enough to stay below `queue_hard`."},
    {.path = "mounts[].slow_policy",
     .type = CONFIG_TYPE_WORD,
     .words = slow_words,
     .fallback = "\"close\"",
     IN_MOUNT(slow_policy),
     .help = "At `queue_hard`, and after `queue_soft_time`: close the session with 1008, or drop "
             "its oldest waiting messages (after `queue_soft_time`: down to `queue_soft`)."},
    {.path = "mounts[].accept",
     .type = CONFIG_TYPE_WORD,
     .words = accept_words,
     .fallback = "\"at-once\"",
     IN_MOUNT(accept),
     .help = "When a client is told that its session is open: at once, or after your handler's "
             "ACCEPT (none in 10 s closes it with 1013). For a raw WebSocket that is the answer to "
             "its handshake: 101 after ACCEPT, 403 after REJECT, 503 for none."},
    {.path = "mounts[].cookie",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_MOUNT(cookie_needed),
     .help = "Set a JSESSIONID cookie, for balancers that keep clients on one server by it."},
    {.path = "mounts[].hixie76",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_MOUNT(hixie76),
     .help = "Take the WebSocket handshake of 2010 (draft 76) as well, with keys instead of a "
             "version; for clients that nobody can replace. Text only."},
    {.path = "mounts[].deflate",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_MOUNT(deflate),
     .help =
         "Compress WebSocket messages (permessage-deflate) for clients that offer it. Not where "
         "`secrets` are."},
    {.path = "mounts[].deflate_threshold",
     .type = CONFIG_TYPE_SIZE,
     RANGE(0, MIB(64)),
     .fallback = "512",
     IN_MOUNT(deflate_threshold_bytes),
     .help = "Messages to clients below it are sent as they are: short ones cost more time than "
             "they save."},
    {.path = "mounts[].deflate_takeover",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_MOUNT(deflate_takeover),
     .help = "Keep each client's window from message to message: similar messages get far smaller, "
             "for the memory of `deflate_window` in each session that compresses."},
    {.path = "mounts[].deflate_window",
     .type = CONFIG_TYPE_UNSIGNED,
     RANGE(9, 15),
     .fallback = "12",
     IN_MOUNT(deflate_window),
     .help = "Window in bits, at most: 9 takes 12k to compress and 8k to inflate, 12 takes 38k and "
             "11k, 15 takes 262k and 39k. Clients that give no say in theirs use 15."},
    {.path = "mounts[].secrets",
     .type = CONFIG_TYPE_BOOL,
     .fallback = "false",
     IN_MOUNT(secrets),
     .help = "Messages hold secrets such as tokens beside text that others choose: `deflate` is "
             "refused. Answers guesses at a secret by the size of what was compressed with it "
             "(CRIME, BREACH)."},
    {.path = "mounts[].sockjs_url",
     .type = CONFIG_TYPE_STRING,
     .form = CONFIG_FORM_SCRIPT_URL,
     .fallback = "\"\"",
     IN_MOUNT(sockjs_url),
     .help = "The client script that the iframe page loads, of the very version that your pages "
             "have; empty: the gateway's own, at PATH/sockjs.min.js."},
};

const size_t config_n_fields = sizeof config_fields / sizeof config_fields[0];

_Static_assert(sizeof config_fields / sizeof config_fields[0] <= CONFIG_MAX_FIELDS,
               "raise CONFIG_MAX_FIELDS");

static const struct config_word duration_units[] = {
    {"h", 60 * 60 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct config_word size_units[] = {
    {"g", 1U << 30},
    {"m", 1U << 20},
    {"k", 1U << 10},
    {NULL, 0},
};

const struct config_word *config_units(enum config_type type)
{
    if (type == CONFIG_TYPE_DURATION) {
        return duration_units;
    }
    return type == CONFIG_TYPE_SIZE ? size_units : NULL;
}

const struct config_field *config_field_find(const char *path)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        if (strcmp(config_fields[i].path, path) == 0) {
            return &config_fields[i];
        }
    }
    return NULL;
}

bool config_field_has_prefix(const char *prefix)
{
    for (size_t i = 0; i < config_n_fields; i++) {
        if (span_starts_with(span_str(config_fields[i].path), span_str(prefix))) {
            return true;
        }
    }
    return false;
}

static struct span key_in(const struct config_field *field, const char *prefix)
{
    size_t prefix_len = strlen(prefix);
    if (strncmp(field->path, prefix, prefix_len) != 0) {
        return SPAN_NONE;
    }
    const char *key = field->path + prefix_len;
    return span_of(key, strcspn(key, ".["));
}

struct span config_field_key_in(size_t i, const char *prefix)
{
    struct span key = key_in(&config_fields[i], prefix);
    bool is_again = i != 0 && span_eq(key, key_in(&config_fields[i - 1], prefix));
    return is_again ? SPAN_NONE : key;
}

struct span config_field_name(const struct config_field *field)
{
    const char *dot = strrchr(field->path, '.');
    return span_str(dot != NULL ? dot + 1 : field->path);
}

const char *config_format_number(enum config_type type, uint64_t value,
                                 char out[CONFIG_NUMBER_BYTES])
{
    if (type == CONFIG_TYPE_MODE) {
        (void)snprintf(out, CONFIG_NUMBER_BYTES, "%04o", (unsigned)value);
        return out;
    }
    uint64_t factor = 1;
    const char *name = "";
    const struct config_word *unit = value != 0 ? config_units(type) : NULL;
    for (; unit != NULL && unit->word != NULL; unit++) {
        if (value % unit->value == 0) {
            factor = unit->value;
            name = unit->word;
            break;
        }
    }
    (void)snprintf(out, CONFIG_NUMBER_BYTES, "%llu%s", (unsigned long long)(value / factor), name);
    return out;
}

/* ---- the manual ---- */

static const char *const type_names[] = {
#define X(suffix, name, text) [CONFIG_TYPE_##suffix] = (name),
    CONFIG_TYPE_MAP(X)
#undef X
};

static enum err describe_allowed(struct buf *out, const struct config_field *field)
{
    char least[CONFIG_NUMBER_BYTES];
    char most[CONFIG_NUMBER_BYTES];
    enum err e = ERR_OK;
    switch (field->type) {
    case CONFIG_TYPE_UNSIGNED:
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
    case CONFIG_TYPE_MODE:
        if (field->words != NULL) {
            e = buf_printf(out, "`\"%s\"`, ", field->words->word);
        }
        return e != ERR_OK ? e
                           : buf_printf(out, "%s to %s",
                                        config_format_number(field->type, field->min, least),
                                        config_format_number(field->type, field->max, most));
    case CONFIG_TYPE_WORD:
    case CONFIG_TYPE_WORDS:
        for (const struct config_word *w = field->words; w->word != NULL && e == ERR_OK; w++) {
            e = buf_printf(out, "%s`%s`", w != field->words ? ", " : "", w->word);
        }
        return e;
    case CONFIG_TYPE_BOOL:
        return buf_printf(out, "`true`, `false`");
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_STRINGS:
        break;
    }
    return buf_printf(out, "%s", config_form_name(field->form));
}

static enum err describe_field(struct buf *out, const struct config_field *field)
{
    enum err e = buf_printf(out, "| `%s` | %s | ", field->path, type_names[field->type]);
    if (e == ERR_OK) {
        e = field->fallback != NULL ? buf_printf(out, "`%s` | ", field->fallback)
                                    : buf_printf(out, "required | ");
    }
    if (e == ERR_OK) {
        e = describe_allowed(out, field);
    }
    return e == ERR_OK ? buf_printf(out, " | %s |\n", field->help) : e;
}

enum err config_describe_fields(struct buf *out)
{
    enum err e = buf_printf(out, "| Key | Type | Default | Allowed | What it does |\n"
                                 "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < config_n_fields && e == ERR_OK; i++) {
        e = describe_field(out, &config_fields[i]);
    }
    return e;
}
