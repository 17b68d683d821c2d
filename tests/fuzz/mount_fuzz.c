/*
 * mount: clients and handlers around the whole gateway (harness/edge_rig.h), moved by a byte code:
 * each step is a letter and its arguments, of which only the low four bits count, so that seeds can
 * be read. What must hold is written in edge_rig.h; besides, when all peers have left, deadlines
 * end every connection and session, and nothing is left over.
 *
 *   The first byte: its lowest bit = the worker ends at once; else all peers leave and time passes.
 *
 *   a C        client C connects                 i T      time passes
 *   b C N ...  N bytes of the fuzzer's           j H F    handler H links; form of its HELLO
 *   c C K S    a request; S: which session id    k H S F  MSG for handle S + 1
 *              (kinds > and ?: N and N bytes)
 *   d C F      a message on a WebSocket          l H S V  ACCEPT, REJECT, KICK, STATE
 *   e C F      a control frame                   m H F    DONE of the last, of all
 *   f C        FIN                               n H N .. N bytes of the fuzzer's
 *   g C        reset                             o H F    FIN, reset, silence, slow reader, DRAIN
 *   h C N      the client reads N * 64 bytes     p        the worker drains
 */
#include <stdint.h>

#include "harness/edge_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MAX_STEPS = 100,
    MAX_WAITS = 1000,
    MAX_END_MS = 200000,
    MAX_ACKS = 16,
};

struct script {
    struct span rest;
    bool is_over;
};

static unsigned take(struct script *s)
{
    if (s->rest.len == 0) {
        s->is_over = true;
        return 0;
    }
    unsigned byte = (unsigned char)s->rest.ptr[0];
    s->rest = span_skip(s->rest, 1);
    return byte;
}

static unsigned take_below(struct script *s, unsigned bound)
{
    return take(s) % 16 % bound;
}

static struct span take_bytes(struct script *s)
{
    size_t len = take(s);
    struct span bytes = span_of(s->rest.ptr, len < s->rest.len ? len : s->rest.len);
    s->rest = span_skip(s->rest, bytes.len);
    return bytes;
}

/* -- clients ---------------------------------------------------------------------------------- */

static void say(struct edge_client *c, struct span bytes)
{
    if (edge_is_connected(c) && bytes.len != 0) {
        scripted_feed(&c->io, bytes);
    }
}

static void say_raw(struct edge_rig *r, struct script *s)
{
    struct edge_client *c = edge_connect(r, (int)take_below(s, EDGE_N_CLIENTS));
    c->speaks = EDGE_UNKNOWN;
    say(c, take_bytes(s));
}

#define UPGRADE                                                                                    \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

enum {
    MAX_WILD_BYTES = 255
};

enum request_kind {
    REQUEST_POLL,
    REQUEST_STREAM,
    REQUEST_SEND,
    REQUEST_SEND_TWO,
    REQUEST_SEND_BROKEN,
    REQUEST_SOCKJS_WS,
    REQUEST_RAW_WS,
    REQUEST_ACCEPT_WS,
    REQUEST_INFO,
    REQUEST_POLL_OTHER_ORIGIN,
    REQUEST_EVENTSOURCE,
    REQUEST_HTMLFILE,
    REQUEST_JSONP,
    REQUEST_FORM,
    REQUEST_WILD_CALLBACK, /* of the fuzzer's bytes */
    REQUEST_WILD_FORM,     /* likewise */
    N_REQUESTS,
};

static const struct {
    const char *method;
    const char *path; /* %: which session id */
    const char *fields;
} requests[N_REQUESTS] = {
    [REQUEST_POLL] = {"POST", "/e/0/%/xhr", "Origin: http://a\r\n"},
    [REQUEST_STREAM] = {"POST", "/e/0/%/xhr_streaming", ""},
    [REQUEST_SEND] = {"POST", "/e/0/%/xhr_send", ""},
    [REQUEST_SEND_TWO] = {"POST", "/e/0/%/xhr_send", ""},
    [REQUEST_SEND_BROKEN] = {"POST", "/e/0/%/xhr_send", ""},
    [REQUEST_SOCKJS_WS] = {"GET", "/e/0/%/websocket", UPGRADE},
    [REQUEST_RAW_WS] = {"GET", "/e/websocket", UPGRADE},
    [REQUEST_ACCEPT_WS] = {"GET", "/r", UPGRADE},
    [REQUEST_INFO] = {"GET", "/e/info", ""},
    [REQUEST_POLL_OTHER_ORIGIN] = {"POST", "/e/0/%/xhr", "Origin: http://b\r\n"},
    [REQUEST_EVENTSOURCE] = {"GET", "/e/0/%/eventsource", ""},
    [REQUEST_HTMLFILE] = {"GET", "/e/0/%/htmlfile?callback=cb", ""},
    [REQUEST_JSONP] = {"GET", "/e/0/%/jsonp?c=cb", "Referer: http://a/\r\n"},
    [REQUEST_FORM] = {"POST", "/e/0/%/jsonp_send?i=1", FORM "Origin: http://a\r\n"},
    [REQUEST_WILD_CALLBACK] = {"GET", "/e/0/%/jsonp?", ""},
    [REQUEST_WILD_FORM] = {"POST", "/e/0/%/jsonp_send", FORM},
};

_Static_assert(N_REQUESTS <= 16, "take_below has no more");

/* The next tag of this client; false when it has had its share. */
static bool next_tag(struct edge_client *c, char out[EDGE_TAG_CHARS + 1])
{
    if (c->n_said == EDGE_N_TAGS) {
        return false;
    }
    edge_put_tag(out, '#', c->life, c->n_said++);
    return true;
}

/* Bytes of the fuzzer's; in a target only those that can stand there. */
static void put_wild(struct script *s, bool is_target, char *out)
{
    struct span bytes = take_bytes(s);
    size_t n = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        bool is_sent = is_target ? c > ' ' && c <= '~' && c != '#' : c != '\0';
        out[n] = c;
        n += is_sent;
    }
    out[n] = '\0';
}

static void put_body(struct edge_client *c, unsigned kind, char *out, size_t size)
{
    char one[EDGE_TAG_CHARS + 1];
    char two[EDGE_TAG_CHARS + 1];
    out[0] = '\0';
    if (kind == REQUEST_SEND && next_tag(c, one)) {
        (void)snprintf(out, size, "[\"%s\"]", one);
    } else if (kind == REQUEST_SEND_TWO && next_tag(c, one) && next_tag(c, two)) {
        (void)snprintf(out, size, "[\"%s\",\"%s\"]", one, two);
    } else if (kind == REQUEST_FORM && next_tag(c, one)) {
        (void)snprintf(out, size, "a=b&d=%%5B%%22%s%%22+%%5D", one);
    } else if (kind == REQUEST_SEND_BROKEN) {
        (void)snprintf(out, size, "[\"x");
    }
}

static void ask(struct edge_rig *r, struct script *s)
{
    struct edge_client *c = edge_connect(r, (int)take_below(s, EDGE_N_CLIENTS));
    unsigned kind = take_below(s, N_REQUESTS);
    char sid = (char)('s' + take_below(s, 3));
    char path[64 + MAX_WILD_BYTES];
    char body[128 + MAX_WILD_BYTES];
    char text[1024];
    bool is_socket = kind >= REQUEST_SOCKJS_WS && kind <= REQUEST_ACCEPT_WS;
    if (is_socket && !c->has_asked && c->speaks == EDGE_HTTP) {
        c->speaks = kind == REQUEST_SOCKJS_WS ? EDGE_SOCKJS : EDGE_RAW;
    } else if (is_socket || c->speaks != EDGE_HTTP) {
        c->speaks = EDGE_UNKNOWN;
    }
    c->has_asked = true;
    put_body(c, kind, body, sizeof body);
    size_t n = 0;
    for (const char *p = requests[kind].path; *p != '\0'; p++) {
        path[n++] = *p == '%' ? sid : *p;
    }
    path[n] = '\0';
    if (kind == REQUEST_WILD_CALLBACK || kind == REQUEST_WILD_FORM) {
        put_wild(s, kind == REQUEST_WILD_CALLBACK, kind == REQUEST_WILD_CALLBACK ? path + n : body);
    }
    int len = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n%s", requests[kind].method,
                       path, requests[kind].fields);
    if (!is_socket) {
        len += snprintf(text + len, sizeof text - (size_t)len, "Content-Length: %zu\r\n",
                        strlen(body));
    }
    len += snprintf(text + len, sizeof text - (size_t)len, "\r\n%s", body);
    say(c, span_of(text, (size_t)len));
}

static void say_frame(struct edge_client *c, unsigned first, struct span payload)
{
    static const char mask[4] = {0x12, (char)0xfe, 0x45, 0x07};
    char out[WS_MAX_HEAD_BYTES + 4 + 200];
    size_t n = ws_put_head(out, WS_TEXT, 0, payload.len);
    out[0] = (char)first;
    out[1] = (char)(out[1] | 0x80);
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < payload.len; i++) {
        out[n + i] = (char)(payload.ptr[i] ^ mask[i % 4]);
    }
    say(c, span_of(out, n + payload.len));
}

static void say_message(struct edge_rig *r, struct script *s)
{
    struct edge_client *c = &r->clients[take_below(s, EDGE_N_CLIENTS)];
    unsigned form = take_below(s, 16);
    char tag[EDGE_TAG_CHARS + 1];
    char text[64];
    if (!edge_is_connected(c) || c->speaks == EDGE_HTTP || !next_tag(c, tag)) {
        return;
    }
    bool is_quoted = c->speaks != EDGE_RAW;
    int n = snprintf(text, sizeof text, is_quoted ? "[\"%s\"]" : "%s", tag);
    struct span all = span_of(text, (size_t)n);
    size_t cut = form & 2 ? (size_t)n / 2 : 0;
    unsigned opcode = form & 1 ? WS_BINARY : WS_TEXT;
    if (form & 2) {
        say_frame(c, opcode, span_of(text, cut));
        if (form & 4) {
            say_frame(c, 0x80 | WS_PING, SPAN_LIT("p"));
        }
        opcode = WS_CONTINUATION;
    }
    say_frame(c, 0x80 | opcode, span_skip(all, cut));
}

static void say_control(struct edge_rig *r, struct script *s)
{
    struct edge_client *c = &r->clients[take_below(s, EDGE_N_CLIENTS)];
    unsigned form = take_below(s, 5);
    if (!edge_is_connected(c) || c->speaks == EDGE_HTTP) {
        return;
    }
    if (form == 0) {
        say_frame(c, 0x80 | WS_PONG, SPAN_NONE);
    } else if (form == 1) {
        say_frame(c, 0x80 | WS_PING, SPAN_LIT("ping"));
    } else if (form == 2) {
        say_frame(c, 0x80 | WS_CLOSE, SPAN_NONE);
    } else if (form == 3) {
        say_frame(c, 0x80 | WS_CLOSE,
                  SPAN_LIT("\x0b\xb8"
                           "bye"));
    } else {
        say_frame(c, 0x80 | 3, SPAN_NONE); /* no such opcode */
    }
}

static void move_client(struct edge_rig *r, struct script *s, unsigned step)
{
    struct edge_client *c = &r->clients[take_below(s, EDGE_N_CLIENTS)];
    unsigned n = step == 8 ? take_below(s, 16) : 0;
    if (!edge_is_connected(c)) {
        return;
    }
    if (step == 6) {
        scripted_feed_eof(&c->io);
    } else if (step == 7) {
        scripted_feed_error(&c->io);
    } else {
        c->io.write_room = n == 15 ? SIZE_MAX : (size_t)n * 64;
    }
}

/* -- handlers --------------------------------------------------------------------------------- */

static void order(struct edge_handler *h, struct span bytes)
{
    if (edge_is_linked(h) && bytes.len != 0) {
        scripted_feed(&h->io, bytes);
    }
}

static void order_frame(struct edge_handler *h, const char *words, struct span payload,
                        bool is_batch)
{
    char frame[256];
    char batch[300];
    int n = snprintf(frame, sizeof frame, "%s %zu\n%.*s\n", words, payload.len, SPAN_FMT(payload));
    if (is_batch) {
        int len = snprintf(batch, sizeof batch, "BATCH %d\n%s\n", n, frame);
        order(h, span_of(batch, (size_t)len));
    } else {
        order(h, span_of(frame, (size_t)n));
    }
}

static void link_up(struct edge_rig *r, struct script *s)
{
    static const char *const hellos[] = {
        "HELLO 1 2\n{}\n",
        "HELLO 1 17\n{\"mounts\":[\"/e\"]}\n",
        "HELLO 1 19\n{\"max_frame\":65536}\n",
        "",
    };
    unsigned i = take_below(s, EDGE_N_HANDLERS);
    unsigned form = take_below(s, 4);
    if (r->handlers[i].conn == NULL) {
        edge_link(r, (int)i);
        order(&r->handlers[i], span_str(hellos[form]));
    }
}

static void send_msg(struct edge_rig *r, struct script *s)
{
    struct edge_handler *h = &r->handlers[take_below(s, EDGE_N_HANDLERS)];
    unsigned i = take_below(s, 8);
    unsigned form = take_below(s, 16);
    char words[32];
    char tag[EDGE_TAG_CHARS + 1] = "x";
    struct edge_session *session = h->handles[i].session;
    if (session != NULL && session->n_said < EDGE_N_TAGS) {
        edge_put_tag(tag, '@', (unsigned)(session - r->sessions), session->n_said++);
    }
    (void)snprintf(words, sizeof words, "MSG %u %c", i + 1, form & 1 ? 'b' : 't');
    order_frame(h, words, span_str(tag), form & 2);
}

static void send_verb(struct edge_rig *r, struct script *s)
{
    static const struct {
        const char *word;
        const char *code;
    } verbs[] = {
        {"ACCEPT", ""}, {"REJECT", " 4001"}, {"KICK", " 3000"}, {"KICK", " 1000"}, {"STATE", ""}};
    struct edge_handler *h = &r->handlers[take_below(s, EDGE_N_HANDLERS)];
    unsigned i = take_below(s, 8);
    unsigned which = take_below(s, 5);
    char words[32];
    (void)snprintf(words, sizeof words, "%s %u%s", verbs[which].word, i + 1, verbs[which].code);
    order_frame(h, words, which == 0 ? SPAN_NONE : SPAN_LIT("why"), false);
}

/* Acknowledges what was read so far, from delivery `first` on. */
static void acknowledge(struct edge_handler *h, uint64_t first)
{
    uint64_t last = h->n_deliveries;
    char words[64];
    if (!edge_is_linked(h) || last == 0) {
        return;
    }
    (void)snprintf(words, sizeof words, "DONE %llu-%llu", (unsigned long long)first,
                   (unsigned long long)last);
    order_frame(h, words, SPAN_NONE, false);
    edge_note_acked(h, first, last);
}

/* Of what was read so far: only the last, or all. */
static void send_ack(struct edge_rig *r, struct script *s)
{
    struct edge_handler *h = &r->handlers[take_below(s, EDGE_N_HANDLERS)];
    acknowledge(h, take_below(s, 3) == 0 ? h->n_deliveries : 1);
}

static void order_raw(struct edge_rig *r, struct script *s)
{
    struct edge_handler *h = &r->handlers[take_below(s, EDGE_N_HANDLERS)];
    h->is_wild = true;
    r->was_wild = true;
    order(h, take_bytes(s));
}

static void move_handler(struct edge_rig *r, struct script *s)
{
    struct edge_handler *h = &r->handlers[take_below(s, EDGE_N_HANDLERS)];
    unsigned form = take_below(s, 8);
    if (!edge_is_linked(h)) {
        return;
    }
    if (form == 0) {
        scripted_feed_eof(&h->io);
    } else if (form == 1) {
        scripted_feed_error(&h->io);
    } else if (form == 2) {
        h->is_mute = !h->is_mute;
    } else if (form == 7) {
        order(h, SPAN_LIT("DRAIN 0\n\n"));
    } else {
        h->io.write_room = form == 3 ? SIZE_MAX : (size_t)(form - 4) * 100;
    }
}

/* -- time ------------------------------------------------------------------------------------- */

/* In the steps in which timers want to be run. */
static void pass(struct edge_rig *r, uint64_t ms)
{
    struct kit *kit = &r->rig.kit;
    uint64_t end_ms = kit->now_ms + ms;
    for (int i = 0; i < MAX_WAITS && kit->now_ms < end_ms; i++) {
        uint64_t next_ms = timers_next_ms(&kit->timers);
        next_ms = next_ms <= kit->now_ms ? kit->now_ms + 1 : next_ms;
        rig_pass(&r->rig, (next_ms < end_ms ? next_ms : end_ms) - kit->now_ms);
        edge_turn(r);
    }
}

static void drain(struct edge_rig *r)
{
    if (!r->admit.is_draining) {
        r->admit.is_draining = true;
        binds_drain(&r->binds);
        admit_close_all(&r->admit, 1012, SPAN_LIT("Service restart"));
    }
}

/* Whether each session had a handler, and has one still. */
static bool all_were_served(const struct edge_rig *r)
{
    const struct counters *counters = &r->rig.kit.counters;
    return r->n_sessions == counters->sessions_opened && counters->ends_untold == 0 &&
           TAILQ_EMPTY(&r->binds.waiting) && TAILQ_EMPTY(&r->binds.blocked) &&
           r->n_links_lost <= BINDS_MAX_REDELIVERIES && !r->was_wild;
}

/* Clients leave while handlers read and acknowledge: what a session had taken arrives, although it
 * has ended, and although handlers were lost. */
static void clients_leave(struct edge_rig *r)
{
    for (int i = 0; i < EDGE_N_CLIENTS; i++) {
        if (edge_is_connected(&r->clients[i])) {
            scripted_feed_eof(&r->clients[i].io);
        }
    }
    edge_turn(r);
    for (int turns = 0; turns < MAX_ACKS; turns++) {
        for (unsigned i = 0; i < EDGE_N_HANDLERS; i++) {
            r->handlers[i].io.write_room = SIZE_MAX;
            acknowledge(&r->handlers[i], 1);
        }
        edge_turn(r);
        pass(r, 100);
    }
    edge_must(!all_were_served(r) || r->n_msgs == r->rig.kit.counters.messages_in,
              "what a session has taken reaches a handler");
}

static void handlers_leave(struct edge_rig *r)
{
    struct kit *kit = &r->rig.kit;
    uint64_t end_ms = kit->now_ms + MAX_END_MS;
    for (int i = 0; i < EDGE_N_HANDLERS; i++) {
        if (edge_is_linked(&r->handlers[i])) {
            scripted_feed_eof(&r->handlers[i].io);
        }
    }
    edge_turn(r);
    while (kit->counters.connections_open != 0 || kit->counters.sessions_open != 0) {
        edge_must(timers_next_ms(&kit->timers) != TIMERS_NONE, "who is left has a deadline");
        edge_must(kit->now_ms < end_ms, "when all peers have left, deadlines end everything");
        pass(r, 1000);
    }
}

static void step(struct edge_rig *r, struct script *s)
{
    static const unsigned waits_ms[16] = {1,     10,    500,   1000,  2000,  5000,  10000, 15000,
                                          25000, 30000, 75000, 35000, 20000, 40000, 64,    4096};
    unsigned what = take_below(s, 16);
    switch (what) {
    case 0:
        drain(r);
        break;
    case 1:
        (void)edge_connect(r, (int)take_below(s, EDGE_N_CLIENTS));
        break;
    case 2:
        say_raw(r, s);
        break;
    case 3:
        ask(r, s);
        break;
    case 4:
        say_message(r, s);
        break;
    case 5:
        say_control(r, s);
        break;
    case 9:
        pass(r, waits_ms[take_below(s, 16)]);
        break;
    case 10:
        link_up(r, s);
        break;
    case 11:
        send_msg(r, s);
        break;
    case 12:
        send_verb(r, s);
        break;
    case 13:
        send_ack(r, s);
        break;
    case 14:
        order_raw(r, s);
        break;
    case 15:
        move_handler(r, s);
        break;
    default:
        move_client(r, s, what);
        break;
    }
    edge_turn(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct edge_rig r;
    struct script s = {.rest = span_of((const char *)data, size)};

    edge_start(&r);
    bool ends_at_once = take(&s) & 1;
    for (int i = 0; i < MAX_STEPS && !s.is_over; i++) {
        step(&r, &s);
    }
    if (!ends_at_once) {
        clients_leave(&r);
        handlers_leave(&r);
    }
    edge_stop(&r);
    return 0;
}
