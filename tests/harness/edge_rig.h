/*
 * edge_rig: the whole gateway but its sockets: two mounts with real HTTP, dialects, transports,
 * sessions, bindings and links over scripted connections, with clients on one side and handlers on
 * the other. Both sides keep account, and end the process when the gateway breaks its word:
 *
 *   handler side  numbers without a gap; a session is open at one link at a time, and nothing comes
 *                 for it behind CLOSE or MOVED; a handle is given again only after that was
 *                 acknowledged; sequences in order, and none left out but what was acknowledged; a
 *                 message comes once, or else says "again", which it does only when a link was lost
 *   client side   frames of a WebSocket are whole and legal; nothing follows a goodbye; a message
 *                 comes once and in order
 *
 * Messages are known by their tags (harness/edge_tag.h). No cmocka: the fuzz target uses it.
 */
#ifndef POSTERN_HARNESS_EDGE_RIG_H
#define POSTERN_HARNESS_EDGE_RIG_H

#include <stdio.h>

#include "base/log.h"
#include "core/sid.h"
#include "dialect/raw.h"
#include "dialect/sockjs.h"
#include "edge/admit.h"
#include "harness/edge_tag.h"
#include "harness/scripted_io.h"
#include "http/http_conn.h"
#include "transports/eventsource.h"
#include "transports/htmlfile.h"
#include "transports/jsonp.h"
#include "transports/websocket.h"
#include "transports/xhr.h"
#include "wire/ws_frame.h"

enum {
    EDGE_N_MOUNTS = 2,
    EDGE_N_CLIENTS = 4,
    EDGE_N_HANDLERS = 2,
    EDGE_N_LIVES = 64, /* connections of clients in one run */
    EDGE_N_SESSIONS = 64,
    EDGE_N_TAGS = 64,    /* of one life or session */
    EDGE_N_HANDLES = 64, /* of one link; more sessions there cannot be */
    EDGE_N_KNOWN = 1024, /* of the messages of a session, and of the deliveries of a link: the
                          * first, and the last; a run seldom has more */
    EDGE_MAX_MESSAGE_BYTES = 2048,
    EDGE_WINDOW_BYTES = 1024,
    EDGE_PENDING_BYTES = 256,
    EDGE_MAX_UNSENT_BYTES = 1 << 20,
};

enum edge_speaks {
    EDGE_HTTP,
    EDGE_SOCKJS, /* a WebSocket was the first thing that the connection asked for */
    EDGE_RAW,
    EDGE_UNKNOWN, /* bytes of the fuzzer's went in: no rule holds for what comes */
};

struct edge_client {
    struct scripted io;
    struct conn *conn; /* dangling once io.n_closes is 1 */
    unsigned life;     /* index of this connection among all */
    unsigned n_said;   /* tags sent */
    enum edge_speaks speaks;
    bool has_asked;
    size_t n_scanned;      /* of the output, for tags */
    size_t n_parsed;       /* of the output, as WebSocket frames; 0 = the head is not whole */
    bool has_heard_hello;  /* EDGE_SOCKJS: 'o' came */
    bool has_heard_bye;    /* EDGE_SOCKJS: c[...] came */
    bool has_heard_close;  /* a Close frame came */
    unsigned last_session; /* whose tag came last, and which */
    unsigned last_number;
};

struct edge_life {
    uint64_t seen; /* tags that a handler got */
    unsigned n_seen;
};

/* A session as handlers know it. */
struct edge_session {
    char id[SID_PUBLIC_CHARS];
    bool was_seen[EDGE_N_KNOWN];  /* by sequence */
    bool was_acked[EDGE_N_KNOWN]; /* likewise */
    uint64_t seen;                /* tags that a client got */
    unsigned n_said;
    unsigned last_life; /* whose tag came last as a new one, and which */
    unsigned last_number;
    bool is_open; /* at a living link */
    bool is_over; /* its CLOSE was acknowledged */
};

struct edge_handle {
    struct edge_session *session; /* NULL: never opened, or its end was acknowledged */
    uint64_t sequence;            /* of the last message */
    bool is_closed;               /* CLOSE or MOVED came, and is not acknowledged */
    bool is_moved;                /* it was MOVED */
    bool is_paused;
    uint64_t close_number;
};

struct edge_delivery {
    struct edge_session *session;
    uint64_t sequence; /* 0 = not a message */
};

struct edge_handler {
    struct scripted io;
    struct conn *conn; /* dangling once io.n_closes is 1 */
    bool is_mute;      /* does not answer PING */
    bool is_wild;      /* bytes of the fuzzer's went in: it may have acknowledged anything */
    bool is_late;      /* the link has ended: what it said last may be older than what others say */
    bool is_over;      /* and was forgotten */
    bool was_told_error;
    bool was_told_drain;
    size_t n_parsed;
    uint64_t n_deliveries;
    struct edge_delivery deliveries[EDGE_N_KNOWN]; /* by number modulo their count */
    struct edge_handle handles[EDGE_N_HANDLES];
};

struct edge_rig {
    struct rig rig; /* kept over runs */
    struct http_server http;
    struct mount mounts[EDGE_N_MOUNTS];
    struct router router;
    struct sockjs_opts sockjs;
    struct binds_opts binds_opts;
    struct binds binds;
    struct admit admit;
    struct edge_client clients[EDGE_N_CLIENTS];
    struct edge_handler handlers[EDGE_N_HANDLERS];
    struct edge_life lives[EDGE_N_LIVES];
    struct edge_session sessions[EDGE_N_SESSIONS];
    unsigned n_lives;
    unsigned n_sessions;
    unsigned n_links_lost;
    bool was_wild;   /* a handler was */
    uint64_t n_msgs; /* that handlers read, each once */
};

static inline void edge_must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

/* -- handlers -----------------------------------------------------------------------------------
 */

/* The link lives; its connection may outlive it (ERROR leaves, then the drain). */
static inline bool edge_is_linked(const struct edge_handler *h)
{
    return h->conn != NULL && h->io.n_closes == 0 && h->conn->owner != NULL;
}

static inline uint64_t edge_arg(const struct link_verb *verb, unsigned i)
{
    uint64_t value = 0;
    edge_must(i < verb->n_args && link_arg_u64(verb->args[i], UINT64_MAX, &value) == ERR_OK,
              "the gateway's arguments are numbers");
    return value;
}

static inline struct edge_session *edge_session_of(struct edge_rig *r, struct span json)
{
    struct span key = SPAN_LIT("{\"id\":\"");
    edge_must(span_starts_with(json, key) && json.len > key.len + SID_PUBLIC_CHARS,
              "OPEN begins with the id");
    const char *id = json.ptr + key.len;
    for (unsigned i = 0; i < r->n_sessions; i++) {
        if (memcmp(r->sessions[i].id, id, SID_PUBLIC_CHARS) == 0) {
            return &r->sessions[i];
        }
    }
    edge_must(r->n_sessions < EDGE_N_SESSIONS, "there are not so many sessions");
    struct edge_session *s = &r->sessions[r->n_sessions++];
    memcpy(s->id, id, sizeof s->id);
    return s;
}

static inline bool edge_is_living(const struct edge_rig *r, const struct edge_session *session)
{
    const struct session *s = NULL;
    LIST_FOREACH (s, &r->admit.sessions, all) {
        char id[SID_PUBLIC_CHARS];
        sid_print_public(s->public_id, id);
        if (s->state < SESSION_CLOSING && memcmp(id, session->id, sizeof id) == 0) {
            return true;
        }
    }
    return false;
}

static inline void edge_take_open(struct edge_rig *r, const struct edge_handler *h,
                                  struct edge_handle *handle, struct span json)
{
    struct edge_session *s = edge_session_of(r, json);
    bool is_free = handle->session == NULL || (handle->is_closed && h->is_wild);
    edge_must(is_free, "a handle is free before it is given again");
    edge_must(h->is_late || !s->is_open, "a session is open once at a time");
    edge_must(h->is_late || !s->is_over || r->n_links_lost != 0, "a session that is over is over");
    edge_must(!h->was_told_drain || !edge_is_living(r, s),
              "behind DRAIN comes only what is left of ended sessions");
    s->is_open = true;
    *handle = (struct edge_handle){.session = s};
}

/* The message of a client, for the first time: in order; and nothing is missing as long as no link
 * was lost, since then a WebSocket's messages can only be in one place. */
static inline void edge_take_client_tag(struct edge_rig *r, struct edge_session *s, unsigned life,
                                        unsigned n, bool is_late)
{
    struct edge_life *l = &r->lives[life % EDGE_N_LIVES];
    uint64_t bit = UINT64_C(1) << (n % EDGE_N_TAGS);
    edge_must(!(l->seen & bit), "a client's message comes once");
    l->seen |= bit;
    edge_must(is_late || r->n_links_lost != 0 || s->last_life != life + 1 || n > s->last_number,
              "a client's messages are in order");
    for (int i = 0; i < EDGE_N_CLIENTS; i++) {
        const struct edge_client *c = &r->clients[i];
        bool is_socket = c->speaks == EDGE_SOCKJS || c->speaks == EDGE_RAW;
        if (c->conn != NULL && c->life == life && is_socket && r->n_links_lost == 0 && !is_late) {
            edge_must(n == l->n_seen, "no message of a client is lost");
        }
    }
    l->n_seen++;
    s->last_life = life + 1;
    s->last_number = n;
}

/* In order, and nothing left out but what a handler has finished. */
static inline void edge_check_sequence(const struct edge_rig *r, const struct edge_handle *handle,
                                       uint64_t sequence)
{
    edge_must(sequence > handle->sequence, "sequences are in order");
    for (uint64_t i = handle->sequence + 1; i < sequence && i < EDGE_N_KNOWN; i++) {
        edge_must(handle->session->was_acked[i] || r->was_wild, "sequences have no gap");
    }
}

static inline void edge_take_msg(struct edge_rig *r, struct edge_handler *h,
                                 struct edge_handle *handle, const struct link_verb *verb)
{
    struct edge_session *s = handle->session;
    unsigned life = 0;
    unsigned n = 0;
    uint64_t sequence = edge_arg(verb, 2);
    bool is_again = verb->n_args == 5 && span_eq(verb->args[4], SPAN_LIT("again"));
    edge_must(verb->n_args == 4 || is_again, "the fifth word of MSG is again");
    edge_must(!is_again || h->is_late || r->n_links_lost != 0,
              "again is said when a link was lost");
    edge_check_sequence(r, handle, sequence);
    handle->sequence = sequence;
    h->deliveries[h->n_deliveries % EDGE_N_KNOWN] = (struct edge_delivery){s, sequence};
    if (sequence >= EDGE_N_KNOWN) {
        r->n_msgs += !is_again;
        return;
    }
    edge_must(is_again || !s->was_seen[sequence], "a message comes once, or says again");
    if (s->was_seen[sequence]) {
        return;
    }
    s->was_seen[sequence] = true;
    r->n_msgs++;
    if (verb->payload.len == EDGE_TAG_CHARS && edge_read_tag(verb->payload, '#', &life, &n)) {
        edge_take_client_tag(r, s, life, n, h->is_late);
    }
}

static inline struct edge_handle *
edge_handle_of(struct edge_handler *h, const struct link_verb *verb, unsigned arg, bool must_live)
{
    uint64_t number = edge_arg(verb, arg);
    edge_must(number >= 1 && number <= EDGE_N_HANDLES, "handles are small");
    struct edge_handle *handle = &h->handles[number - 1];
    if (must_live) {
        edge_must(handle->session != NULL && !handle->is_closed,
                  "nothing comes for a handle that is not open");
    }
    return handle;
}

static inline void edge_take_close(struct edge_handler *h, struct edge_handle *handle,
                                   bool is_moved)
{
    handle->session->is_open = false;
    handle->is_moved = is_moved;
    handle->is_closed = true;
    handle->close_number = h->n_deliveries;
}

static inline void edge_take_delivery(struct edge_rig *r, struct edge_handler *h,
                                      const struct link_verb *verb)
{
    edge_must(edge_arg(verb, 0) == h->n_deliveries + 1, "delivery numbers have no gap");
    h->n_deliveries++;
    h->deliveries[h->n_deliveries % EDGE_N_KNOWN] = (struct edge_delivery){NULL, 0};
    struct edge_handle *handle = edge_handle_of(h, verb, 1, verb->id != LINK_OPEN);
    if (verb->id == LINK_OPEN) {
        edge_take_open(r, h, handle, verb->payload);
    } else if (verb->id == LINK_MSG) {
        edge_take_msg(r, h, handle, verb);
    } else {
        edge_take_close(h, handle, verb->id == LINK_MOVED);
    }
}

/* The handler has said that these are finished. */
static inline void edge_note_acked(struct edge_handler *h, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        const struct edge_delivery *d = &h->deliveries[i % EDGE_N_KNOWN];
        if (d->session != NULL && d->sequence < EDGE_N_KNOWN && i + EDGE_N_KNOWN > last) {
            d->session->was_acked[d->sequence] = true;
        }
    }
    for (int i = 0; i < EDGE_N_HANDLES; i++) {
        struct edge_handle *handle = &h->handles[i];
        if (handle->is_closed && handle->close_number >= first && handle->close_number <= last) {
            handle->session->is_over = handle->session->is_over || !handle->is_moved;
            *handle = (struct edge_handle){0};
        }
    }
}

static inline void edge_take_verb(struct edge_rig *r, struct edge_handler *h,
                                  const struct link_verb *verb)
{
    edge_must(!h->was_told_error, "nothing follows ERROR");
    switch ((unsigned)verb->id) {
    case LINK_OPEN:
    case LINK_MSG:
    case LINK_CLOSE:
    case LINK_MOVED:
        edge_take_delivery(r, h, verb);
        break;
    case LINK_PAUSE:
    case LINK_RESUME: {
        struct edge_handle *handle = edge_handle_of(h, verb, 0, true);
        edge_must(handle->is_paused == (verb->id == LINK_RESUME), "PAUSE and RESUME take turns");
        handle->is_paused = verb->id == LINK_PAUSE;
        break;
    }
    case LINK_PING:
        if (!h->is_mute && edge_is_linked(h)) {
            scripted_feed(&h->io, SPAN_LIT("PONG 0\n\n"));
        }
        break;
    case LINK_ERROR:
        h->was_told_error = true;
        break;
    case LINK_DRAIN:
        h->was_told_drain = true;
        break;
    default:
        edge_must(verb->id == LINK_WELCOME, "the gateway says only what PROTOCOL.md has");
        break;
    }
}

/* The link has ended: what it had is open nowhere. */
static inline void edge_forget_link(struct edge_rig *r, struct edge_handler *h)
{
    for (int i = 0; i < EDGE_N_HANDLES; i++) {
        if (h->handles[i].session != NULL && !h->handles[i].is_closed) {
            h->handles[i].session->is_open = false;
        }
        h->handles[i] = (struct edge_handle){0};
    }
    h->is_over = true;
    r->n_links_lost++;
}

static inline void edge_read_handler(struct edge_rig *r, struct edge_handler *h)
{
    struct span rest = span_skip(scripted_written(&h->io), h->n_parsed);
    enum err e = ERR_OK;
    while (rest.len != 0 && e == ERR_OK) {
        struct link_verb verb;
        struct fault fault = {0};
        size_t used = 0;
        size_t needed = 0;
        e = link_frame_parse(rest, LINK_DEFAULT_MAX_FRAME_BYTES, &verb, &used, &needed, &fault);
        if (e == ERR_OK) {
            edge_take_verb(r, h, &verb);
        }
        edge_must(e == ERR_OK || e == ERR_AGAIN, "the gateway's frames are frames");
        h->n_parsed += used;
        rest = span_skip(rest, used);
    }
}

/* -- clients ------------------------------------------------------------------------------------
 */

static inline bool edge_is_connected(const struct edge_client *c)
{
    return c->conn != NULL && c->io.n_closes == 0;
}

static inline void edge_take_handler_tag(struct edge_rig *r, struct edge_client *c, unsigned who,
                                         unsigned n)
{
    struct edge_session *s = &r->sessions[who % EDGE_N_SESSIONS];
    uint64_t bit = UINT64_C(1) << (n % EDGE_N_TAGS);
    edge_must(!(s->seen & bit), "a handler's message comes once");
    s->seen |= bit;
    edge_must(c->last_session != who + 1 || n > c->last_number,
              "a handler's messages are in order");
    c->last_session = who + 1;
    c->last_number = n;
}

static inline void edge_scan_tags(struct edge_rig *r, struct edge_client *c)
{
    struct span rest = span_skip(scripted_written(&c->io), c->n_scanned);
    size_t at = span_find(rest, '@');
    while (at < rest.len && rest.len - at >= EDGE_TAG_CHARS) {
        unsigned who = 0;
        unsigned n = 0;
        bool is_tag = edge_read_tag(span_skip(rest, at), '@', &who, &n);
        if (is_tag) {
            edge_take_handler_tag(r, c, who, n);
        }
        rest = span_skip(rest, at + (is_tag ? EDGE_TAG_CHARS : 1));
        at = span_find(rest, '@');
    }
    c->n_scanned = c->io.n_written - (rest.len - at);
}

static inline void edge_take_frame(struct edge_client *c, unsigned first, struct span payload)
{
    unsigned opcode = first & 15;
    bool is_data = opcode == WS_TEXT || opcode == WS_BINARY;
    edge_must((first & 0x80) != 0 && (first & 0x70) == 0, "frames of the gateway are whole");
    edge_must(is_data || (opcode >= WS_CLOSE && opcode <= WS_PONG), "frames have an opcode");
    edge_must(is_data || payload.len <= WS_MAX_CONTROL_PAYLOAD, "control frames are short");
    edge_must(!c->has_heard_close, "nothing follows the Close frame");
    edge_must(!c->has_heard_bye || opcode == WS_CLOSE || !is_data, "no message follows a goodbye");
    if (opcode == WS_CLOSE) {
        c->has_heard_close = true;
    } else if (is_data && c->speaks == EDGE_SOCKJS) {
        edge_must(payload.len != 0, "a SockJS frame is not empty");
        edge_must((payload.ptr[0] == 'o') == !c->has_heard_hello || payload.ptr[0] == 'c',
                  "the first SockJS frame is o, and it comes once");
        c->has_heard_hello = true;
        c->has_heard_bye = payload.ptr[0] == 'c';
    }
}

/* Size of the frame head at the front of `s`, and of its payload; 0 = incomplete. */
static inline size_t edge_frame_head(struct span s, size_t *payload)
{
    if (s.len < 2) {
        return 0;
    }
    const unsigned char *bytes = (const unsigned char *)s.ptr;
    size_t len = bytes[1];
    edge_must(len < 128 && len != 127, "frames of the gateway are unmasked and not so large");
    if (len < 126) {
        *payload = len;
        return 2;
    }
    if (s.len < 4) {
        return 0;
    }
    *payload = (size_t)bytes[2] << 8 | bytes[3];
    return 4;
}

static inline void edge_read_socket(struct edge_client *c)
{
    struct span all = scripted_written(&c->io);
    if (c->n_parsed == 0) {
        const char *end = all.len != 0 ? memmem(all.ptr, all.len, "\r\n\r\n", 4) : NULL;
        if (end == NULL) {
            return;
        }
        if (!span_starts_with(all, SPAN_LIT("HTTP/1.1 101 "))) {
            c->speaks = EDGE_HTTP;
            return;
        }
        c->n_parsed = (size_t)(end - all.ptr) + 4;
    }
    for (;;) {
        struct span rest = span_skip(all, c->n_parsed);
        size_t payload = 0;
        size_t head = edge_frame_head(rest, &payload);
        if (head == 0 || rest.len < head + payload) {
            return;
        }
        edge_take_frame(c, (unsigned char)rest.ptr[0], span_of(rest.ptr + head, payload));
        c->n_parsed += head + payload;
    }
}

/* -- turns --------------------------------------------------------------------------------------
 */

static inline void edge_check_sessions(const struct edge_rig *r)
{
    const struct session *s = NULL;
    LIST_FOREACH (s, &r->admit.sessions, all) {
        bool is_ending = s->state >= SESSION_CLOSING;
        edge_must(sendq_bytes(&s->queue) <= s->opts->queue_hard_bytes, "queues are bounded");
        edge_must((s->binding == NULL) == is_ending, "a session has a binding until it ends");
    }
}

static inline void edge_look(struct edge_rig *r)
{
    edge_check_sessions(r);
    /* Those that ended first: their sessions may have been offered to the others already. */
    for (int i = 0; i < EDGE_N_HANDLERS; i++) {
        struct edge_handler *h = &r->handlers[i];
        if (h->conn != NULL && !h->is_over && !edge_is_linked(h)) {
            h->is_late = true;
            edge_read_handler(r, h);
            edge_forget_link(r, h);
        }
        if (h->conn != NULL && h->io.n_closes != 0) {
            h->conn = NULL;
            scripted_fini(&h->io);
        }
    }
    for (int i = 0; i < EDGE_N_HANDLERS; i++) {
        if (edge_is_linked(&r->handlers[i])) {
            edge_read_handler(r, &r->handlers[i]);
        }
    }
    for (int i = 0; i < EDGE_N_CLIENTS; i++) {
        struct edge_client *c = &r->clients[i];
        if (c->conn != NULL) {
            edge_scan_tags(r, c);
        }
        if (c->conn != NULL && (c->speaks == EDGE_SOCKJS || c->speaks == EDGE_RAW)) {
            edge_read_socket(c);
        }
        if (edge_is_connected(c)) {
            edge_must(buf_len(&c->conn->out) <= EDGE_MAX_UNSENT_BYTES, "output is bounded");
        }
    }
}

static inline void edge_poke(struct scripted *io, struct conn *conn)
{
    if (conn != NULL && io->n_closes == 0 &&
        (!scripted_is_read_out(io) || buf_len(&conn->out) != 0)) {
        conn_poke(conn);
    }
}

/* Whatever is ready: bytes for us, or room for ours. */
static inline void edge_turn(struct edge_rig *r)
{
    for (int i = 0; i < EDGE_N_HANDLERS; i++) {
        edge_poke(&r->handlers[i].io, r->handlers[i].conn);
    }
    for (int i = 0; i < EDGE_N_CLIENTS; i++) {
        edge_poke(&r->clients[i].io, r->clients[i].conn);
    }
    rig_turn(&r->rig);
    edge_look(r);
}

/* -- life ---------------------------------------------------------------------------------------
 */

static inline struct edge_client *edge_connect(struct edge_rig *r, int i)
{
    struct edge_client *c = &r->clients[i];
    if (edge_is_connected(c) || r->n_lives == EDGE_N_LIVES) {
        return c;
    }
    if (c->conn != NULL) {
        scripted_fini(&c->io);
    }
    *c = (struct edge_client){.life = r->n_lives++};
    c->conn = scripted_conn(&r->rig, &c->io);
    edge_must(http_conn_create(&r->http, c->conn) == ERR_OK, "there is memory");
    return c;
}

static inline void edge_link(struct edge_rig *r, int i)
{
    struct edge_handler *h = &r->handlers[i];
    if (h->conn == NULL) {
        *h = (struct edge_handler){.conn = NULL};
        h->conn = scripted_conn(&r->rig, &h->io);
        binds_accept(&r->binds, h->conn);
    }
}

static inline void edge_set_transport(struct edge_rig *r, enum sockjs_route route,
                                      const struct transport_ops *ops,
                                      const struct costume *costume)
{
    r->mounts[0].transports[route] =
        (struct transport_opts){.ops = ops,
                                .costume = costume,
                                .response_limit_bytes = 512,
                                .max_message_bytes = EDGE_MAX_MESSAGE_BYTES,
                                .max_fragments = 16,
                                .message_timeout_ms = 25000,
                                .min_rate_bytes_per_s = 4096,
                                .hixie76 = true,
                                .dress = sockjs_dress,
                                .dress_ctx = &r->sockjs};
}

/* "/e" speaks SockJS; "/r" bare WebSocket, whose handler must accept. */
static inline void edge_make_mounts(struct edge_rig *r)
{
    const struct session_opts session = {.heartbeat_ms = 25000,
                                         .pong_timeout_ms = 10000,
                                         .disconnect_delay_ms = 5000,
                                         .accept_timeout_ms = 10000,
                                         .queue_hard_bytes = 600, /* some 28 tags */
                                         .queue_soft_bytes = 256,
                                         .queue_soft_time_ms = 10000};
    for (unsigned i = 0; i < EDGE_N_MOUNTS; i++) {
        r->mounts[i] = (struct mount){.path = i == 0 ? SPAN_LIT("/e") : SPAN_LIT("/r"),
                                      .index = i,
                                      .dialect = i == 0 ? &sockjs_dialect : &raw_dialect,
                                      .dialect_opts = &r->sockjs,
                                      .session = session,
                                      .cors = {.any = true},
                                      .must_accept = i == 1};
    }
    r->sockjs = (struct sockjs_opts){.cors = &r->mounts[0].cors,
                                     .enabled = (1U << SOCKJS_N_ROUTES) - 1,
                                     .has_iframe = true,
                                     .script_url = "/sockjs.js"};
    edge_set_transport(r, SOCKJS_WEBSOCKET, &websocket_transport, NULL);
    edge_set_transport(r, SOCKJS_RAW_WEBSOCKET, &websocket_transport, NULL);
    edge_set_transport(r, SOCKJS_XHR_STREAMING, &xhr_streaming_transport, &xhr_streaming_costume);
    edge_set_transport(r, SOCKJS_XHR, &xhr_transport, &xhr_costume);
    edge_set_transport(r, SOCKJS_XHR_SEND, &xhr_send_transport, &xhr_send_costume);
    edge_set_transport(r, SOCKJS_EVENTSOURCE, &eventsource_transport, &eventsource_costume);
    edge_set_transport(r, SOCKJS_HTMLFILE, &htmlfile_transport, &htmlfile_costume);
    edge_set_transport(r, SOCKJS_JSONP, &jsonp_transport, &jsonp_costume);
    edge_set_transport(r, SOCKJS_JSONP_SEND, &jsonp_send_transport, &jsonp_send_costume);
    r->mounts[1].transports[0] = r->mounts[0].transports[SOCKJS_RAW_WEBSOCKET];
    r->mounts[1].session.slow_policy = SESSION_SLOW_DROP_OLDEST;
    r->router = (struct router){r->mounts, EDGE_N_MOUNTS};
}

/* `r` is zeroed before the first run, and made ready by the run before for all others. */
static inline void edge_start(struct edge_rig *r)
{
    const struct http_opts http = {.limits = HTTP1_LIMITS_DEFAULT,
                                   .head_timeout_ms = 10000,
                                   .body_timeout_ms = 25000,
                                   .keepalive_timeout_ms = 75000,
                                   .min_rate_bytes_per_s = 4096};
    if (r->rig.loop == NULL) {
        log_set_level((enum log_level)(LOG_ERROR + 1)); /* a message that is given up is logged */
        rig_start(&r->rig);
        rig_reset(&r->rig);
        edge_make_mounts(r);
    }
    r->binds_opts = (struct binds_opts){.link = {.max_frame_bytes = LINK_LEAST_MAX_FRAME_BYTES,
                                                 .window_bytes = EDGE_WINDOW_BYTES,
                                                 .timeout_ms = 15000,
                                                 .n_workers = 1,
                                                 .version = "0"},
                                        .grace_ms = 30000,
                                        .pending_bytes = EDGE_PENDING_BYTES,
                                        .write_timeout_ms = SCRIPTED_WRITE_TIMEOUT_MS};
    binds_init(&r->binds, &r->rig.kit, &r->binds_opts);
    edge_must(admit_init(&r->admit, &r->rig.kit, &r->router, &r->binds) == ERR_OK, "memory");
    http_server_init(&r->http, &r->rig.kit, &http, admit_request, &r->admit);
    memset(r->clients, 0, sizeof r->clients);
    memset(r->handlers, 0, sizeof r->handlers);
    memset(r->lives, 0, sizeof r->lives);
    memset(r->sessions, 0, sizeof r->sessions);
    r->n_lives = 0;
    r->n_sessions = 0;
    r->n_links_lost = 0;
    r->was_wild = false;
    r->n_msgs = 0;
}

/* As worker_destroy. Nothing may be left: rig_reset looks. */
static inline void edge_stop(struct edge_rig *r)
{
    conn_end_all(r->rig.loop);
    binds_fini(&r->binds);
    admit_fini(&r->admit);
    rig_turn(&r->rig);
    for (int i = 0; i < EDGE_N_CLIENTS; i++) {
        if (r->clients[i].conn != NULL) {
            edge_must(r->clients[i].io.n_closes == 1, "a connection is closed once");
            scripted_fini(&r->clients[i].io);
        }
    }
    for (int i = 0; i < EDGE_N_HANDLERS; i++) {
        if (r->handlers[i].conn != NULL) {
            edge_must(r->handlers[i].io.n_closes == 1, "a connection is closed once");
            scripted_fini(&r->handlers[i].io);
        }
    }
    http_server_fini(&r->http);
    rig_reset(&r->rig);
}

#endif
