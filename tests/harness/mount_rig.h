/*
 * mount_rig: a SockJS mount at /echo over scripted connections: real HTTP, dialect, transports and
 * sessions, with fake uplinks behind them. What edge/admit decides is done here in its plainest
 * form. Requests go in as text, answers come out as bytes, without their Date line.
 */
#ifndef POSTERN_HARNESS_MOUNT_RIG_H
#define POSTERN_HARNESS_MOUNT_RIG_H

#include "base/log.h"
#include "core/registry.h"
#include "core/session.h"
#include "dialect/sockjs.h"
#include "harness/fake_uplink.h"
#include "harness/scripted_io.h"
#include "http/http_conn.h"
#include "http/http_req.h"
#include "http/http_resp.h"
#include "transports/eventsource.h"
#include "transports/htmlfile.h"
#include "transports/jsonp.h"
#include "transports/websocket.h"
#include "transports/xhr.h"

enum {
    MOUNT_N_CLIENTS = 6,
    MOUNT_MAX_MESSAGE_BYTES = 70000,
    MOUNT_MAX_FRAGMENTS = 100,
    MOUNT_RESPONSE_LIMIT_BYTES = 4096,
    MOUNT_HEARTBEAT_MS = 25000,
    MOUNT_PONG_MS = 10000,
    MOUNT_DELAY_MS = 5000,
    MOUNT_MESSAGE_MS = 15000,
    MOUNT_MIN_RATE = 1000,
};

struct mount_client {
    struct scripted io;
    struct conn *conn;
};

struct mount_rig {
    struct rig rig;
    struct http_server http;
    struct registry registry;
    struct session_list all;
    struct session_opts session;
    struct cors_policy cors;
    struct sockjs_opts sockjs;
    struct transport_opts transports[SOCKJS_N_ROUTES];
    struct mount_client clients[MOUNT_N_CLIENTS];
    struct fake_uplink uplinks[MOUNT_N_CLIENTS]; /* in order of the sessions */
    struct session *sessions[MOUNT_N_CLIENTS];   /* likewise; may be gone */
    size_t n_sessions;
    enum err last_open; /* what the transport said */
    bool must_wait;     /* sessions wait for session_accept */
};

static inline struct session *mount_session(struct mount_rig *m, const struct route *route)
{
    const struct dialect_route *to = &sockjs_dialect.routes[route->index];
    struct session *session = to->has_session_id ? registry_find(&m->registry, route->sid) : NULL;
    if (session != NULL || to->must_exist) {
        return session;
    }
    const struct session_birth birth = {.kit = &m->rig.kit,
                                        .opts = &m->session,
                                        .dialect =
                                            to->speaks != NULL ? to->speaks : &sockjs_dialect,
                                        .uplink = &fake_uplink_ops,
                                        .registry = to->has_session_id ? &m->registry : NULL,
                                        .all = &m->all,
                                        .sid = to->has_session_id ? route->sid : SPAN_NONE,
                                        .must_wait = m->must_wait};
    assert_true(m->n_sessions < MOUNT_N_CLIENTS);
    assert_int_equal(session_create(&birth, &session), ERR_OK);
    session->binding = &m->uplinks[m->n_sessions];
    m->sessions[m->n_sessions++] = session;
    return session;
}

static inline void mount_request(void *ctx, struct http_req *req)
{
    struct mount_rig *m = ctx;
    struct route route;
    struct span prefix = SPAN_LIT("/echo");
    assert_true(span_starts_with(req->target.path, prefix));
    sockjs_dialect.classify(&m->sockjs, req, span_skip(req->target.path, prefix.len), &route);
    if (route.kind == ROUTE_PAGE) {
        sockjs_dialect.page(&m->sockjs, &route, req, &m->rig.kit);
        return;
    }
    if (route.kind == ROUTE_NOT_FOUND) {
        http_resp_text(req->resp, 404, SPAN_LIT("Not found.\n"));
        return;
    }
    const struct transport_opts *opts = &m->transports[route.index];
    if (opts->ops->check != NULL && opts->ops->check(req, opts) != ERR_OK) {
        return;
    }
    struct session *session = mount_session(m, &route);
    if (session == NULL) {
        http_resp_text(req->resp, 404, SPAN_LIT("Not found.\n"));
        return;
    }
    m->last_open = opts->ops->open(req, opts, session);
}

static inline void mount_set_transport(struct mount_rig *m, enum sockjs_route route,
                                       const struct transport_ops *ops,
                                       const struct costume *costume)
{
    m->transports[route] =
        (struct transport_opts){.ops = ops,
                                .costume = costume,
                                .response_limit_bytes = MOUNT_RESPONSE_LIMIT_BYTES,
                                .max_message_bytes = MOUNT_MAX_MESSAGE_BYTES,
                                .max_fragments = MOUNT_MAX_FRAGMENTS,
                                .message_timeout_ms = MOUNT_MESSAGE_MS,
                                .min_rate_bytes_per_s = MOUNT_MIN_RATE,
                                .dress = sockjs_dress,
                                .dress_ctx = &m->sockjs};
}

static inline void mount_start(struct mount_rig *m)
{
    const struct http_opts http = {.limits = HTTP1_LIMITS_DEFAULT,
                                   .head_timeout_ms = 10000,
                                   .body_timeout_ms = 25000,
                                   .keepalive_timeout_ms = 75000,
                                   .min_rate_bytes_per_s = 4096};
    log_set_level(LOG_ERROR);
    memset(m, 0, sizeof *m);
    rig_start(&m->rig);
    http_server_init(&m->http, &m->rig.kit, &http, mount_request, m);
    registry_init(&m->registry, m->rig.kit.table_key);
    LIST_INIT(&m->all);
    m->session = (struct session_opts){.heartbeat_ms = MOUNT_HEARTBEAT_MS,
                                       .pong_timeout_ms = MOUNT_PONG_MS,
                                       .disconnect_delay_ms = MOUNT_DELAY_MS,
                                       .accept_timeout_ms = 10000,
                                       .queue_hard_bytes = 1 << 20,
                                       .queue_soft_bytes = 64 << 10,
                                       .queue_soft_time_ms = 10000};
    m->cors.any = true;
    m->sockjs = (struct sockjs_opts){.cors = &m->cors,
                                     .enabled = (1U << SOCKJS_N_ROUTES) - 1,
                                     .has_iframe = true,
                                     .script_url = "/sockjs.js",
                                     .client = SPAN_LIT("var SockJS")};
    mount_set_transport(m, SOCKJS_WEBSOCKET, &websocket_transport, NULL);
    mount_set_transport(m, SOCKJS_RAW_WEBSOCKET, &websocket_transport, NULL);
    mount_set_transport(m, SOCKJS_XHR_STREAMING, &xhr_streaming_transport, &xhr_streaming_costume);
    mount_set_transport(m, SOCKJS_XHR, &xhr_transport, &xhr_costume);
    mount_set_transport(m, SOCKJS_XHR_SEND, &xhr_send_transport, &xhr_send_costume);
    mount_set_transport(m, SOCKJS_EVENTSOURCE, &eventsource_transport, &eventsource_costume);
    mount_set_transport(m, SOCKJS_HTMLFILE, &htmlfile_transport, &htmlfile_costume);
    mount_set_transport(m, SOCKJS_JSONP, &jsonp_transport, &jsonp_costume);
    mount_set_transport(m, SOCKJS_JSONP_SEND, &jsonp_send_transport, &jsonp_send_costume);
}

/* Everything must be gone afterwards: the sanitizer watches. */
static inline void mount_stop(struct mount_rig *m)
{
    conn_end_all(m->rig.loop);
    while (!LIST_EMPTY(&m->all)) {
        session_abort(LIST_FIRST(&m->all));
    }
    rig_turn(&m->rig);
    assert_true(m->registry.by_sid.n_nodes == 0);
    assert_true(m->rig.kit.counters.connections_open == 0);
    assert_true(timers_next_ms(&m->rig.kit.timers) == TIMERS_NONE);
    for (size_t i = 0; i < m->n_sessions; i++) {
        assert_true(m->uplinks[i].is_closed);
    }
    for (int i = 0; i < MOUNT_N_CLIENTS; i++) {
        if (m->clients[i].conn != NULL) {
            assert_int_equal(m->clients[i].io.n_closes, 1);
            scripted_fini(&m->clients[i].io);
        }
    }
    registry_fini(&m->registry);
    http_server_fini(&m->http);
    rig_stop(&m->rig);
}

/* A new connection of client `i`. */
static inline void mount_connect(struct mount_rig *m, int i)
{
    struct mount_client *client = &m->clients[i];
    if (client->conn != NULL) {
        scripted_fini(&client->io);
    }
    client->conn = scripted_conn(&m->rig, &client->io);
    assert_int_equal(http_conn_create(&m->http, client->conn), ERR_OK);
}

/* The client's bytes arrive; then the turn ends. Connects it first if it never was. */
static inline void mount_say(struct mount_rig *m, int i, struct span bytes)
{
    struct mount_client *client = &m->clients[i];
    if (client->conn == NULL) {
        mount_connect(m, i);
    }
    scripted_feed(&client->io, bytes);
    conn_poke(client->conn);
    rig_turn(&m->rig);
}

static inline void mount_post(struct mount_rig *m, int i, const char *path, const char *body)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "POST /echo%s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", path,
                     strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof text);
    mount_say(m, i, span_of(text, (size_t)n));
}

static inline void mount_get(struct mount_rig *m, int i, const char *path)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "GET /echo%s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    assert_true(n > 0 && (size_t)n < sizeof text);
    mount_say(m, i, span_of(text, (size_t)n));
}

/* The client's end of the connection is gone: FIN. */
static inline void mount_leave(struct mount_rig *m, int i)
{
    scripted_feed_eof(&m->clients[i].io);
    conn_poke(m->clients[i].conn);
    rig_turn(&m->rig);
}

/* Takes each "Date: ...\r\n" out of answers; returns the new length. */
static inline size_t mount_cut_dates(char *text, size_t len)
{
    char *date = memmem(text, len, "Date: ", 6);
    while (date != NULL) {
        size_t rest = len - (size_t)(date - text);
        char *end = memmem(date, rest, "\r\n", 2);
        assert_non_null(end);
        size_t n = (size_t)(end - date) + 2;
        memmove(date, date + n, rest - n);
        len -= n;
        date = memmem(date, rest - n, "Date: ", 6);
    }
    return len;
}

/* What came to client `i` since the last call, as a string; valid until the next call. */
static inline struct span mount_heard(struct mount_rig *m, int i)
{
    static char text[1 << 20];
    struct scripted *io = &m->clients[i].io;
    assert_true(io->n_written < sizeof text);
    if (io->n_written != 0) {
        memcpy(text, io->written, io->n_written);
    }
    size_t len = mount_cut_dates(text, io->n_written);
    text[len] = '\0';
    scripted_forget_written(io);
    return span_of(text, len);
}

#define CHECK_HEARD(m, i, want) check_span(__func__, mount_heard(m, i), span_str(want))

/* The uplink sends back what it gets; `ctx` is its session. */
static inline void mount_echo_message(struct fake_uplink *fake, const struct message *message)
{
    (void)!session_send(fake->ctx, message);
}

static inline void mount_echo(struct mount_rig *m, size_t session)
{
    m->uplinks[session].ctx = m->sessions[session];
    m->uplinks[session].on_message = mount_echo_message;
}

static inline void mount_send(struct mount_rig *m, size_t session, const char *text)
{
    const struct message message = {span_str(text), true};
    assert_int_equal(session_send(m->sessions[session], &message), ERR_OK);
}

#endif
