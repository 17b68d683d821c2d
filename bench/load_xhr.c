/*
 * load_xhr: SockJS xhr-streaming and long polling, as sockjs-client does them. Called through
 * struct load_carrier.
 *
 *   down   POST .../xhr_streaming or .../xhr, the next one as soon as an answer has ended
 *   up     POST .../xhr_send with everything due as one array; the next after the answer, so that
 *          order is kept. Two connections, as browsers use them: a poll that waits blocks its own.
 *
 * Both are kept alive and opened anew when the server closes them between two answers.
 */
#include "load_link.h"
#include "load_user.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_HEAD_MAX 1024

/* Room for it is in front of the body in load->tx; see send_messages(). */
static size_t write_head(const struct load *load, const struct load_user *user, const char *verb,
                         size_t body_bytes, char *to)
{
    int n = snprintf(to, REQUEST_HEAD_MAX,
                     "POST %s/%03u/%08x%07u/%s HTTP/1.1\r\nHost: %s\r\n"
                     "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                     load->opts.path, user->number % 1000, load->run_id, user->number, verb,
                     load->opts.host, body_bytes);
    return n > 0 && n < REQUEST_HEAD_MAX ? (size_t)n : 0;
}

/* Is the link ready for a request? Starts to open it when it is closed. */
static bool is_ready(struct load *load, struct load_user *user, struct load_link *link)
{
    if (link->fd < 0 && !load_link_open(load, link)) {
        load_user_fail(load, user, "cannot connect: %s", strerror(errno));
        return false;
    }
    return !link->is_connecting && link->out.n == 0;
}

static void send_receiver(struct load *load, struct load_user *user)
{
    char head[REQUEST_HEAD_MAX];
    const char *verb = load->opts.transport == LOAD_XHR ? "xhr" : "xhr_streaming";
    size_t n = write_head(load, user, verb, 0, head);
    user->is_asked = true;
    if (!load_link_write(load, &user->down, head, n)) {
        load_user_fail(load, user, "cannot send a receiving request: %s", strerror(errno));
    }
}

/* The body is written behind the widest head there can be, the head then moved up to it. */
static void send_messages(struct load *load, struct load_user *user, unsigned due)
{
    char head[REQUEST_HEAD_MAX];
    uint8_t *body = load->tx + REQUEST_HEAD_MAX;
    uint64_t now_ns = load_now_ns();
    size_t n = 0;
    body[n++] = '[';
    for (; due > 0; due--) {
        load_echo_send(&user->book, &load->format, user->number, now_ns, body + n);
        n += load->format.wire_bytes;
    }
    body[n - 1] = ']'; /* in the place of the last comma */
    size_t n_head = write_head(load, user, "xhr_send", n, head);
    memcpy(body - n_head, head, n_head);
    user->is_up_busy = true;
    if (!load_link_write(load, &user->up, body - n_head, n_head + n)) {
        load_user_fail(load, user, "cannot send: %s", strerror(errno));
    }
}

static void flush(struct load *load, struct load_user *user)
{
    if (!user->is_asked && is_ready(load, user, &user->down)) {
        send_receiver(load, user);
    }
    unsigned due = load_user_due(load, user);
    if (due > 0 && !user->is_up_busy && is_ready(load, user, &user->up)) {
        send_messages(load, user, due);
    }
}

/* SockJS frames end with a line feed; one may come in several pieces. */
static void on_body(struct load *load, struct load_user *user, struct slice piece)
{
    while (piece.n > 0 && user->state != LOAD_USER_FAILED) {
        const char *end = memchr(piece.at, '\n', piece.n);
        if (end == NULL) {
            bytes_append(&user->line, piece.at, piece.n);
            return;
        }
        struct slice frame = {piece.at, (size_t)(end - piece.at)};
        piece.at += frame.n + 1;
        piece.n -= frame.n + 1;
        if (user->line.n == 0) {
            load_user_on_sockjs(load, user, frame);
            continue;
        }
        bytes_append(&user->line, frame.at, frame.n);
        load_user_on_sockjs(load, user, (struct slice){bytes_data(&user->line), user->line.n});
        bytes_fini(&user->line);
    }
}

static void on_answer_end(struct load *load, struct load_user *user, struct load_link *link)
{
    bool is_down = link == &user->down;
    const struct http_in *http = is_down ? &user->down_http : &user->up_http;
    if (is_down && user->line.n > 0) {
        load_user_fail(load, user, "an answer ended in the middle of a frame");
        return;
    }
    if (is_down) {
        user->is_asked = false;
    } else {
        user->is_up_busy = false;
    }
    if (http->will_close) {
        load_link_close(link);
    }
}

static void on_event(struct load *load, struct load_user *user, struct load_link *link,
                     enum http_in_event event, struct slice part)
{
    bool is_down = link == &user->down;
    int status = is_down ? user->down_http.status : user->up_http.status;
    switch (event) {
    case HTTP_IN_GOT_HEAD:
        if (is_down ? status != 200 : status != 204 && status != 200) {
            load_user_fail(load, user, "%s was answered %d", is_down ? "receiving" : "xhr_send",
                           status);
        }
        break;
    case HTTP_IN_GOT_BODY:
        if (is_down) {
            on_body(load, user, part);
        }
        break;
    case HTTP_IN_GOT_END:
        on_answer_end(load, user, link);
        break;
    case HTTP_IN_BAD:
        load_user_fail(load, user, "an answer is not HTTP/1.1");
        break;
    case HTTP_IN_MORE:
        break;
    }
}

static void on_bytes(struct load *load, struct load_user *user, struct load_link *link,
                     struct slice *in)
{
    struct http_in *http = link == &user->down ? &user->down_http : &user->up_http;
    enum http_in_event event = HTTP_IN_GOT_HEAD;
    while (event != HTTP_IN_MORE && user->state != LOAD_USER_FAILED && link->fd >= 0) {
        struct slice part = {0};
        bool is_awaited = link == &user->down ? user->is_asked : user->is_up_busy;
        if (!is_awaited && in->n > 0) {
            load_user_fail(load, user, "bytes that no request asked for");
            return;
        }
        event = http_in_next(http, in, &part);
        on_event(load, user, link, event, part);
    }
}

static void on_eof(struct load *load, struct load_user *user, struct load_link *link)
{
    bool is_down = link == &user->down;
    bool is_awaited = is_down ? user->is_asked : user->is_up_busy;
    struct http_in *http = is_down ? &user->down_http : &user->up_http;
    if (is_awaited && !http_in_may_end(http)) {
        load_user_fail(load, user, "the server closed the connection in the middle of %s",
                       is_down ? "a receiving request" : "an xhr_send");
        return;
    }
    if (is_awaited) {
        on_answer_end(load, user, link);
    }
    *http = (struct http_in){0};
    load_link_close(link);
}

const struct load_carrier load_xhr = {
    .flush = flush,
    .on_bytes = on_bytes,
    .on_eof = on_eof,
};
