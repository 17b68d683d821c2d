/*
 * The C handler library against a scripted gateway: this test is the other end of a real unix
 * socket and moves the library with postern_step, so every turn is under its control. What the
 * handler sends goes through a strict reader of its own (`describe`), not through the gateway's
 * codec.
 */
#include "postern.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/test.h"

enum {
    SMALL_FRAME = 4096,
    BIG_FRAME = 16 * 1024 * 1024,
    PATIENCE_MS = 5000,
};

struct text {
    char *data;
    size_t len, cap;
};

static void text_add(struct text *t, const void *bytes, size_t n)
{
    if (t->len + n + 1 > t->cap) {
        t->cap = (t->len + n + 1) * 2;
        t->data = realloc(t->data, t->cap);
        assert_non_null(t->data);
    }
    if (n != 0) {
        memcpy(t->data + t->len, bytes, n);
    }
    t->len += n;
    t->data[t->len] = '\0';
}

__attribute__((format(printf, 2, 3))) static void text_printf(struct text *t, const char *format,
                                                              ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof line);
    text_add(t, line, (size_t)n);
}

static void text_clear(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

/* What the handler under test does with a message; NULL = echo. */
struct rig;
typedef void (*on_text)(struct rig *rig, struct postern_session *s, const char *data, size_t len);

struct rig {
    char folder[64];
    struct sockaddr_un address;
    int listen_fd;
    int fd; /* the gateway's end of the link; -1 = none */
    struct postern_handler *handler;
    struct text events; /* what the callbacks saw */
    struct text got;    /* what the handler has sent and nobody has looked at */
    on_text on_text;
    bool is_silent; /* no echo */
};

/* ---- the handler's side ---- */

static void log_link(void *ctx)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "link\n");
}

static void log_unlink(void *ctx, const char *why)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "unlink: %s\n", why);
}

static void log_open(void *ctx, struct postern_session *s)
{
    struct rig *rig = ctx;
    size_t state_len = 0;
    const char *left = postern_session_state(s, &state_len);
    assert_int_equal(left != NULL, state_len != 0);
    text_printf(&rig->events, "open %s %s%s", postern_session_info(s, POSTERN_ID),
                postern_session_info(s, POSTERN_MOUNT),
                postern_session_is_resumed(s) ? " resumed" : "");
    text_printf(&rig->events, state_len != 0 ? " state=%.*s\n" : "\n", (int)state_len, left);
    if (strcmp(postern_session_info(s, POSTERN_MOUNT), "/close") == 0) {
        assert_int_equal(postern_kick(s, 3000, "Go away!"), 0);
    }
}

static void log_message(void *ctx, struct postern_session *s, const char *data, size_t len,
                        bool is_text)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "msg %s %llu %c %zu%s\n", postern_session_info(s, POSTERN_ID),
                (unsigned long long)postern_session_sequence(s), is_text ? 't' : 'b', len,
                postern_session_is_again(s) ? " again" : "");
    if (rig->on_text != NULL) {
        rig->on_text(rig, s, data, len);
    } else if (!rig->is_silent) {
        assert_int_equal(postern_send(s, data, len, is_text), 0);
    }
}

static void log_close(void *ctx, struct postern_session *s, unsigned code, const char *reason,
                      size_t reason_len)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "close %s %u %.*s\n", postern_session_info(s, POSTERN_ID), code,
                (int)reason_len, reason);
    assert_int_equal(postern_send(s, "x", 1, true), -ENOTCONN);
}

static void log_forget(void *ctx, struct postern_session *s)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "forget %s\n", postern_session_info(s, POSTERN_ID));
    assert_int_equal(postern_send(s, "x", 1, true), -ENOTCONN);
    free(postern_session_user(s));
}

static void log_pause(void *ctx, struct postern_session *s, bool is_paused)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "%s %s\n", is_paused ? "pause" : "resume",
                postern_session_info(s, POSTERN_ID));
}

static void log_drain(void *ctx)
{
    struct rig *rig = ctx;
    text_printf(&rig->events, "drain\n");
}

/* ---- the gateway's side ---- */

static void rig_init(struct rig *rig, const struct postern_options *wanted)
{
    *rig = (struct rig){.folder = "/tmp/postern-sdk-XXXXXX", .fd = -1};
    assert_non_null(mkdtemp(rig->folder));
    rig->address.sun_family = AF_UNIX;
    (void)snprintf(rig->address.sun_path, sizeof rig->address.sun_path, "%s/link", rig->folder);
    rig->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(rig->listen_fd >= 0);
    assert_int_equal(bind(rig->listen_fd, (struct sockaddr *)&rig->address, sizeof rig->address),
                     0);
    assert_int_equal(listen(rig->listen_fd, 4), 0);
    struct postern_options options = {0};
    if (wanted != NULL) {
        options = *wanted;
    }
    options.path = rig->address.sun_path;
    options.ctx = rig;
    options.on = (struct postern_callbacks){log_link,  log_unlink, log_open,  log_message,
                                            log_close, log_forget, log_pause, log_drain};
    rig->handler = postern_create(&options);
    assert_non_null(rig->handler);
}

static void rig_fini(struct rig *rig)
{
    postern_destroy(rig->handler);
    if (rig->fd >= 0) {
        (void)close(rig->fd);
    }
    (void)close(rig->listen_fd);
    (void)unlink(rig->address.sun_path);
    (void)rmdir(rig->folder);
    text_clear(&rig->events);
    text_clear(&rig->got);
}

/* Whether the handler has sent something that was taken. */
static bool gateway_read(struct rig *rig)
{
    static char chunk[256 * 1024];
    ssize_t n = rig->fd >= 0 ? recv(rig->fd, chunk, sizeof chunk, MSG_DONTWAIT) : -1;
    if (n > 0) {
        text_add(&rig->got, chunk, (size_t)n);
    }
    return n > 0;
}

/* Sends all of it, moving the handler while its buffers are full. */
static void gateway_send(struct rig *rig, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t n = send(rig->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else {
            assert_int_equal(errno, EAGAIN);
            postern_step(rig->handler);
            (void)gateway_read(rig);
        }
    }
}

static void say(struct rig *rig, const char *bytes)
{
    gateway_send(rig, bytes, strlen(bytes));
}

static void say_frame(struct rig *rig, const char *head, const char *payload, size_t len)
{
    char line[128];
    (void)snprintf(line, sizeof line, "%s %zu\n", head, len);
    say(rig, line);
    gateway_send(rig, payload, len);
    say(rig, "\n");
}

/* Moves both ends until neither has anything left to do. */
static void settle(struct rig *rig)
{
    int idle = 0;
    while (idle < 3) {
        postern_step(rig->handler);
        idle = gateway_read(rig) ? 0 : idle + 1;
    }
}

/* Waits, in real time, for the handler to connect; takes its HELLO, answers WELCOME. */
static void welcome(struct rig *rig, const char *json)
{
    struct pollfd waiting = {.fd = rig->listen_fd, .events = POLLIN};
    for (int ms = 0; ms < PATIENCE_MS && poll(&waiting, 1, 1) == 0; ms++) {
        postern_step(rig->handler);
    }
    rig->fd = accept(rig->listen_fd, NULL, NULL);
    assert_true(rig->fd >= 0);
    settle(rig);
    say_frame(rig, "WELCOME 1", json, strlen(json));
}

static void link_up(struct rig *rig)
{
    welcome(rig, "{\"server\":\"test/1\",\"max_frame\":16777216,\"features\":[\"batch\"]}");
    settle(rig);
    text_clear(&rig->got);
    text_clear(&rig->events);
}

static void say_open(struct rig *rig, unsigned number, unsigned handle, const char *mount)
{
    char json[128];
    char head[64];
    (void)snprintf(json, sizeof json, "{\"id\":\"s%u\",\"mount\":\"%s\"}", handle, mount);
    (void)snprintf(head, sizeof head, "OPEN %u %u", number, handle);
    say_frame(rig, head, json, strlen(json));
}

/* ---- the strict reader: frames as `HEAD 'payload'` words, a batch in brackets ---- */

static void describe_frames(const char *p, const char *end, struct text *out);

static const char *describe_frame(const char *p, const char *end, struct text *out)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    assert_non_null(lf);
    assert_true(lf - p < 1024);
    for (const char *at = p; at < lf; at++) {
        assert_true((*at > ' ' && *at < 0x7F) || (*at == ' ' && at != p && at[-1] != ' '));
    }
    const char *length = lf;
    while (length > p && length[-1] != ' ') {
        length--;
    }
    assert_true(length > p && length < lf && (*length != '0' || lf - length == 1));
    char *digits_end = NULL;
    size_t len = strtoul(length, &digits_end, 10);
    assert_ptr_equal(digits_end, lf);
    assert_true((size_t)(end - lf - 1) > len && lf[1 + len] == '\n');
    bool is_batch = length - p == 6 && memcmp(p, "BATCH ", 6) == 0;
    text_add(out, p, (size_t)(length - p) - 1);
    if (is_batch) {
        text_add(out, "[", 1);
        describe_frames(lf + 1, lf + 1 + len, out);
        text_add(out, "]", 1);
    } else if (len > 64) {
        text_printf(out, " <%zu>", len);
    } else if (len != 0) {
        text_printf(out, " '%.*s'", (int)len, lf + 1);
    }
    return lf + 1 + len + 1;
}

static void describe_frames(const char *p, const char *end, struct text *out)
{
    for (bool is_first = true; p < end; is_first = false) {
        if (!is_first) {
            text_add(out, ", ", 2);
        }
        p = describe_frame(p, end, out);
    }
}

static void expect_sent(struct rig *rig, const char *want)
{
    settle(rig);
    struct text shown = {0};
    text_add(&shown, "", 0);
    text_add(&rig->got, "", 0);
    describe_frames(rig->got.data, rig->got.data + rig->got.len, &shown);
    assert_string_equal(shown.data, want);
    text_clear(&shown);
    text_clear(&rig->got);
}

static void expect_events(struct rig *rig, const char *want)
{
    text_add(&rig->events, "", 0);
    assert_string_equal(rig->events.data, want);
    text_clear(&rig->events);
}

/* ---- tests ---- */

static void test_handshake(void **state)
{
    (void)state;
    const char *const mounts[] = {"/chat", "/a\"b", NULL};
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.app = "te\\st\n", .mounts = mounts, .token = "k"});
    postern_step(rig.handler);
    rig.fd = accept(rig.listen_fd, NULL, NULL);
    settle(&rig);
    const char *json = "{\"client\":\"c/0.1\",\"app\":\"te\\\\st\\u000a\",\"mounts\":[\"/chat\","
                       "\"/a\\\"b\"],\"token\":\"k\",\"max_frame\":1048576,"
                       "\"features\":[\"batch\"]}";
    char want[512];
    (void)snprintf(want, sizeof want, "HELLO 1 %zu\n%s\n", strlen(json), json);
    assert_string_equal(rig.got.data, want);
    text_clear(&rig.got);
    expect_events(&rig, "");
    say(&rig, "WELCOME 1 2\n{}\n");
    expect_sent(&rig, "");
    expect_events(&rig, "link\n");
    rig_fini(&rig);
}

static void test_all_of_a_turn_is_one_batch(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say_open(&rig, 1, 1, "/echo");
    say_open(&rig, 2, 2, "/close");
    say(&rig, "MSG 3 1 7 t 5\nhello\nMSG 4 1 8 b 0\n\nNEW x y 3\n\n\n\n\nMSG 5 2 1 t 1\n?\n");
    postern_step(rig.handler); /* one turn: one write */
    assert_true(gateway_read(&rig));
    expect_sent(&rig, "BATCH[ACCEPT 1, KICK 2 3000 'Go away!', MSG 1 t 'hello', MSG 1 b, ACK 5]");
    say(&rig, "CLOSE 6 2 3000 8\nGo away!\nCLOSE 7 1 1006 0\n\n");
    expect_sent(&rig, "ACK 7");
    expect_events(&rig, "open s1 /echo\nopen s2 /close\nmsg s1 7 t 5\nmsg s1 8 b 0\n"
                        "close s2 3000 Go away!\nforget s2\nclose s1 1006 \nforget s1\n");
    assert_int_equal(postern_n_sessions(rig.handler), 0);
    rig_fini(&rig);
}

static void test_verbs_without_a_number(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say_open(&rig, 1, 9, "/echo");
    say(&rig, "PING 3\nabc\nPAUSE 9 0\n\nRESUME 9 0\n\nPAUSE 10 0\n\nDRAIN 0\n\nPING 0\n\n");
    expect_sent(&rig, "BATCH[ACCEPT 9, ACK 1], PONG 'abc', PONG");
    expect_events(&rig, "open s9 /echo\npause s9\nresume s9\ndrain\n");
    assert_int_equal(postern_drain(rig.handler), 0);
    expect_sent(&rig, "DRAIN");
    rig_fini(&rig);
}

static const char split_input[] = "OPEN 1 1 27\n{\"id\":\"s1\",\"mount\":\"/echo\"}\n"
                                  "MSG 2 1 1 t 5\nh\nl\no\n"
                                  "LATER 1 2 3\nMSG\n"
                                  "PING 2\nok\n"
                                  "MSG 3 1 2 b 0\n\n"
                                  "CLOSE 4 1 1000 3\nbye\n";
static const char split_events[] = "open s1 /echo\nmsg s1 1 t 5\nmsg s1 2 b 0\n"
                                   "close s1 1000 bye\nforget s1\n";

/* How answers are grouped depends on the split; what they say must not. */
static void without_groups(struct text *shown)
{
    struct text bare = {0};
    text_add(&bare, "", 0);
    const char *p = shown->data;
    while (*p != '\0') {
        size_t n = strcspn(p, ",");
        bool is_ack = strncmp(p, "ACK", 3) == 0 || strncmp(p, "BATCH[ACK", 9) == 0;
        if (!is_ack) {
            const char *from = strncmp(p, "BATCH[", 6) == 0 ? p + 6 : p;
            size_t len = (size_t)(p + n - from);
            text_add(&bare, from, len != 0 && from[len - 1] == ']' ? len - 1 : len);
            text_add(&bare, ";", 1);
        }
        p += n;
        p += strspn(p, ", ");
    }
    text_clear(shown);
    *shown = bare;
}

static void run_split(size_t first, size_t step)
{
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    size_t len = sizeof split_input - 1;
    for (size_t at = 0; at < len;) {
        size_t n = at == 0 ? first : step;
        n = n < len - at ? n : len - at;
        gateway_send(&rig, split_input + at, n);
        at += n;
        postern_step(rig.handler);
    }
    settle(&rig);
    struct text shown = {0};
    describe_frames(rig.got.data, rig.got.data + rig.got.len, &shown);
    assert_non_null(strstr(shown.data, "ACK 4"));
    without_groups(&shown);
    assert_string_equal(shown.data, "ACCEPT 1;MSG 1 t 'h\nl\no';PONG 'ok';MSG 1 b;");
    text_clear(&shown);
    expect_events(&rig, split_events);
    rig_fini(&rig);
}

static void test_every_split(void **state)
{
    (void)state;
    for (size_t at = 1; at < sizeof split_input; at++) {
        run_split(at, sizeof split_input);
    }
    run_split(1, 1);
    run_split(3, 7);
}

/* The largest message cannot share a batch with its acknowledgement: it stands alone and the ACK
 * follows. */
static void test_big_messages(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.max_frame = BIG_FRAME});
    link_up(&rig);
    char *payload = malloc(BIG_FRAME);
    assert_non_null(payload);
    for (size_t i = 0; i < BIG_FRAME; i++) {
        payload[i] = (char)(i * 31);
    }
    say_open(&rig, 1, 1, "/ws");
    expect_sent(&rig, "BATCH[ACCEPT 1, ACK 1]");
    say_frame(&rig, "MSG 2 1 1 b", payload, BIG_FRAME);
    settle(&rig);
    const char *body = memchr(rig.got.data, '\n', 64);
    assert_non_null(body);
    assert_memory_equal(body + 1, payload, BIG_FRAME);
    expect_sent(&rig, "MSG 1 b <16777216>, ACK 2");
    say_frame(&rig, "MSG 3 1 2 b", payload, BIG_FRAME - 256);
    expect_sent(&rig, "BATCH[MSG 1 b <16776960>, ACK 3]");
    free(payload);
    rig_fini(&rig);
}

static void send_many(struct rig *rig, struct postern_session *s, const char *data, size_t len)
{
    (void)rig;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(postern_send(s, data, len, true), 0);
    }
}

/* What one delivery caused may need several batches: only the last acknowledges it. */
static void test_batches_stay_under_max_frame(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.max_frame = SMALL_FRAME});
    link_up(&rig);
    say_open(&rig, 1, 1, "/echo");
    expect_sent(&rig, "BATCH[ACCEPT 1, ACK 1]");
    rig.on_text = send_many;
    char text[200];
    memset(text, 'y', sizeof text);
    say_frame(&rig, "MSG 2 1 1 t", text, sizeof text);
    settle(&rig);
    size_t n_batches = 0;
    const char *p = rig.got.data;
    const char *end = p + rig.got.len;
    while (p < end) {
        struct text shown = {0};
        const char *next = describe_frame(p, end, &shown);
        assert_true(next - p <= SMALL_FRAME + 16);
        assert_int_equal(strncmp(shown.data, "BATCH[", 6), 0);
        assert_int_equal(strstr(shown.data, "ACK 2") != NULL, next == end);
        text_clear(&shown);
        n_batches++;
        p = next;
    }
    assert_in_range(n_batches, 5, 10);
    rig_fini(&rig);
}

/* A gateway that does not read: the handler stops reading too, and loses nothing. */
static void test_backpressure(void **state)
{
    (void)state;
    enum {
        N = 3000,
        SIZE = 2000
    };
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say_open(&rig, 1, 1, "/echo");
    expect_sent(&rig, "BATCH[ACCEPT 1, ACK 1]");
    struct text input = {0};
    char body[SIZE];
    for (unsigned i = 0; i < N; i++) {
        memset(body, 'a' + (int)(i % 26), sizeof body);
        text_printf(&input, "MSG %u 1 %u t %d\n", i + 2, i, SIZE);
        text_add(&input, body, sizeof body);
        text_add(&input, "\n", 1);
    }
    size_t sent = 0;
    for (int idle = 0; idle < 10; idle++) {
        ssize_t n = send(rig.fd, input.data + sent, input.len - sent, MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
            idle = 0;
        }
        postern_step(rig.handler);
    }
    assert_true(sent < input.len); /* it has stopped taking */
    assert_int_equal(postern_poll_events(rig.handler), POLLOUT);
    gateway_send(&rig, input.data + sent, input.len - sent);
    settle(&rig);
    size_t n_messages = 0;
    const char *end = rig.got.data + rig.got.len;
    const char *line = rig.got.data;
    for (const char *lf; (lf = memchr(line, '\n', (size_t)(end - line))) != NULL; line = lf + 1) {
        if (lf - line == 12 && memcmp(line, "MSG 1 t 2000", 12) == 0) {
            assert_int_equal(lf[1], 'a' + (int)(n_messages % 26));
            n_messages++;
        }
    }
    assert_int_equal(n_messages, N);
    struct text shown = {0};
    describe_frames(rig.got.data, rig.got.data + rig.got.len, &shown);
    assert_non_null(strstr(shown.data, "ACK 3001]"));
    text_clear(&shown);
    text_clear(&input);
    rig_fini(&rig);
}

static void test_reconnect(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say_open(&rig, 1, 1, "/echo");
    say_open(&rig, 2, 70000, "/echo");
    expect_sent(&rig, "BATCH[ACCEPT 1, ACCEPT 70000, ACK 2]");
    (void)close(rig.fd);
    rig.fd = -1;
    settle(&rig);
    assert_int_equal(postern_fd(rig.handler), -1);
    assert_in_range(postern_timeout_ms(rig.handler), 0, 60);
    expect_events(&rig, "open s1 /echo\nopen s70000 /echo\n"
                        "unlink: the gateway has closed the link\nforget s1\nforget s70000\n");
    assert_int_equal(postern_n_sessions(rig.handler), 0);
    link_up(&rig);
    say(&rig, "OPEN 1 1 42\n{\"resumed\":true,\"id\":\"s1\",\"mount\":\"/echo\"}\n");
    expect_sent(&rig, "BATCH[ACCEPT 1, ACK 1]");
    expect_events(&rig, "open s1 /echo resumed\n");
    rig_fini(&rig);
}

static void say_resumed(struct rig *rig, unsigned number, unsigned handle, const char *more)
{
    char json[128];
    char head[64];
    (void)snprintf(json, sizeof json, "{\"id\":\"s%u\",\"mount\":\"/echo\",\"resumed\":true%s}",
                   handle, more);
    (void)snprintf(head, sizeof head, "OPEN %u %u", number, handle);
    say_frame(rig, head, json, strlen(json));
}

static void test_another_handlers_sessions(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        const char *want;
    } cases[] = {
        {"", ""},
        {",\"state\":\"YWJj\"", " state=abc"},
        {",\"state\":\"YWI=\"", " state=ab"},
        {",\"state\":\"YQ==\"", " state=a"},
        {",\"state\":\"YWJjZGVmZ2hpamtsbW5vcA==\"", " state=abcdefghijklmnop"},
        {",\"state\":\"\"", ""},
        {",\"state\":\"Y\"", ""},
        {",\"state\":\"YWJj*WJj\"", " state=abc"},
        {",\"state\":null", ""},
        {",\"state\":123456", ""},
    };
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    for (unsigned i = 1; i <= N_OF(cases); i++) {
        char want[128];
        say_resumed(&rig, i, i, cases[i - 1].more);
        settle(&rig);
        (void)snprintf(want, sizeof want, "open s%u /echo resumed%s\n", i, cases[i - 1].want);
        expect_events(&rig, want);
    }
    text_clear(&rig.got);
    say(&rig, "MSG 11 1 7 t again 2\nhi\nMSG 12 1 8 b again 0\n\nMSG 13 1 9 t 2\nho\n");
    expect_sent(&rig, "BATCH[MSG 1 t 'hi', MSG 1 b, MSG 1 t 'ho', ACK 13]");
    expect_events(&rig, "msg s1 7 t 2 again\nmsg s1 8 b 0 again\nmsg s1 9 t 2\n");
    rig_fini(&rig);
}

struct state_check {
    size_t want_len;
    unsigned n_opened;
};

static void check_state(void *ctx, struct postern_session *s)
{
    struct state_check *check = ctx;
    size_t len = 0;
    const char *bytes = postern_session_state(s, &len);
    assert_int_equal(len, check->want_len);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(bytes[i], (char)0xff);
    }
    check->n_opened++;
}

/* Up to the most that may be left; more cannot come, and is as if there were none. */
static void test_a_large_state(void **state)
{
    (void)state;
    enum {
        MOST_DIGITS = (POSTERN_MAX_STATE + 2) / 3 * 4
    };
    static char json[8192];
    struct state_check check = {0};
    struct rig rig;
    rig_init(&rig, NULL);
    struct postern_options options = {
        .path = rig.address.sun_path, .ctx = &check, .on = {.on_open = check_state}};
    postern_destroy(rig.handler);
    rig.handler = postern_create(&options);
    link_up(&rig);
    for (unsigned n = 1; n <= 2; n++) {
        size_t n_digits = n == 1 ? MOST_DIGITS : MOST_DIGITS + 4;
        char head[64];
        size_t len = (size_t)snprintf(json, sizeof json, "{\"state\":\"");
        memset(json + len, '/', n_digits);
        len += n_digits;
        len += (size_t)snprintf(json + len, sizeof json - len, "\"}");
        check.want_len = n == 1 ? (size_t)MOST_DIGITS / 4 * 3 : 0;
        (void)snprintf(head, sizeof head, "OPEN %u %u", n, n);
        say_frame(&rig, head, json, len);
        settle(&rig);
    }
    assert_int_equal(check.n_opened, 2);
    rig_fini(&rig);
}

/* After DRAIN: the session goes on elsewhere, and its handle is free. */
static void test_moved(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say_open(&rig, 1, 1, "/echo");
    say_open(&rig, 2, 2, "/echo");
    assert_int_equal(postern_drain(rig.handler), 0);
    say(&rig, "MOVED 3 1 0\n\nMSG 4 2 1 t 2\nhi\n");
    settle(&rig);
    expect_events(&rig, "open s1 /echo\nopen s2 /echo\nforget s1\nmsg s2 1 t 2\n");
    expect_sent(&rig, "DRAIN, BATCH[ACCEPT 1, ACCEPT 2, MSG 2 t 'hi', ACK 4]");
    assert_int_equal(postern_n_sessions(rig.handler), 1);
    say_open(&rig, 5, 1, "/echo");
    settle(&rig);
    expect_events(&rig, "open s1 /echo\n");
    rig_fini(&rig);
}

static void test_waits_for_a_gateway(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    (void)close(rig.listen_fd);
    (void)unlink(rig.address.sun_path);
    postern_step(rig.handler);
    text_add(&rig.events, "", 0);
    assert_non_null(strstr(rig.events.data, "unlink: cannot connect to "));
    assert_in_range(postern_timeout_ms(rig.handler), 0, 50);
    rig.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(rig.listen_fd, (struct sockaddr *)&rig.address, sizeof rig.address), 0);
    assert_int_equal(listen(rig.listen_fd, 4), 0);
    link_up(&rig);
    rig_fini(&rig);
}

/* The gateway explains itself and closes while we still write: its words are what is reported. */
static void test_error_is_reported(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    say(&rig, "OPEN 1 1 2\n{}\nERROR bad-handle 9\nno handle\nMSG 2 1 1 t 1\nx\n");
    (void)close(rig.fd);
    rig.fd = -1;
    settle(&rig);
    expect_events(&rig, "open  \nunlink: the gateway says bad-handle: no handle\nforget \n");
    rig_fini(&rig);

    rig_init(&rig, NULL);
    postern_step(rig.handler);
    rig.fd = accept(rig.listen_fd, NULL, NULL);
    say(&rig, "ERROR version 16\nspeak version 1.\n");
    (void)close(rig.fd);
    rig.fd = -1;
    settle(&rig);
    expect_events(&rig, "unlink: the gateway says version: speak version 1.\n");
    rig_fini(&rig);
}

static void test_handle_is_used_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    for (unsigned i = 0; i < 300; i++) {
        char close_line[64];
        say_open(&rig, i * 2 + 1, 1, "/echo");
        (void)snprintf(close_line, sizeof close_line, "CLOSE %u 1 1000 0\n\n", i * 2 + 2);
        say(&rig, close_line);
        postern_step(rig.handler);
    }
    settle(&rig);
    struct text shown = {0};
    describe_frames(rig.got.data, rig.got.data + rig.got.len, &shown);
    assert_non_null(strstr(shown.data, "ACK 600"));
    text_clear(&shown);
    rig_fini(&rig);
}

/* A gateway that breaks the protocol is told so, and the link ends. */
static void test_bad_gateway(void **state)
{
    (void)state;
    char long_line[1100];
    memset(long_line, 'x', sizeof long_line);
    long_line[sizeof long_line - 1] = '\0';
    const struct {
        const char *name, *in, *code;
    } cases[] = {
        {"no length", "PING\n", "bad-frame"},
        {"length is no number", "PING x\n", "bad-frame"},
        {"negative length", "PING -1\n", "bad-frame"},
        {"two blanks", "PING  1\nx\n", "bad-frame"},
        {"carriage return", "PING 0\r\n\n", "bad-frame"},
        {"no line feed after the payload", "PING 1\nxy", "bad-frame"},
        {"a line without an end", long_line, "bad-frame"},
        {"over max_frame", "PING 16777217\n", "too-big"},
        {"length that overflows", "PING 99999999999999999999\n", "bad-frame"},
        {"handle 0", "OPEN 1 0 2\n{}\n", "bad-frame"},
        {"handle over 32 bits", "OPEN 1 4294967296 2\n{}\n", "bad-frame"},
        {"kind", "MSG 1 1 1 x 0\n\n", "bad-frame"},
        {"missing argument", "MSG 1 1 t 0\n\n", "bad-frame"},
        {"number with a gap", "OPEN 2 1 2\n{}\n", "bad-verb"},
        {"number repeated", "OPEN 1 1 2\n{}\nMSG 1 1 1 t 0\n\n", "bad-verb"},
        {"unknown handle", "MSG 1 1 1 t 0\n\n", "bad-handle"},
        {"handle in use", "OPEN 1 1 2\n{}\nOPEN 2 1 2\n{}\n", "bad-handle"},
        {"handle after CLOSE", "OPEN 1 1 2\n{}\nCLOSE 2 1 1 0\n\nMSG 3 1 1 t 0\n\n", "bad-handle"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct rig rig;
        rig_init(&rig, &(struct postern_options){.max_frame = BIG_FRAME});
        link_up(&rig);
        say(&rig, cases[i].in);
        settle(&rig);
        struct text shown = {0};
        char want[64];
        (void)snprintf(want, sizeof want, "ERROR %s ", cases[i].code);
        text_add(&rig.got, "", 0);
        describe_frames(rig.got.data, rig.got.data + rig.got.len, &shown);
        CHECK(cases[i].name, shown.data != NULL && strstr(shown.data, want) != NULL);
        CHECK(cases[i].name, postern_fd(rig.handler) == -1);
        text_clear(&shown);
        rig_fini(&rig);
    }
}

static void test_welcome_must_come_first(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    postern_step(rig.handler);
    rig.fd = accept(rig.listen_fd, NULL, NULL);
    settle(&rig);
    text_clear(&rig.got);
    say(&rig, "OPEN 1 1 2\n{}\n");
    expect_sent(&rig, "ERROR bad-verb 'the first frame is not WELCOME'");
    assert_int_equal(postern_fd(rig.handler), -1);
    rig_fini(&rig);
}

static void check_refusals(struct rig *rig, struct postern_session *s, const char *data, size_t len)
{
    (void)rig;
    (void)data;
    (void)len;
    static const char *const bad_texts[] = {
        "\x80",
        "a\xC3",
        "\xC0\xAF",
        "\xE0\x80\xAF",
        "\xED\xA0\x80",
        "\xF4\x90\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "12345678\xFF",
        "12345678\xE2\x82",
    };
    for (size_t i = 0; i < N_OF(bad_texts); i++) {
        CHECK(bad_texts[i], postern_send(s, bad_texts[i], strlen(bad_texts[i]), true) == -EILSEQ);
        CHECK(bad_texts[i], postern_kick(s, 3000, bad_texts[i]) == -EILSEQ);
    }
    static const char *const good_texts[] = {"",
                                             "\x7F",
                                             "\xC2\x80",
                                             "\xED\x9F\xBF\xEE\x80\x80",
                                             "\xF4\x8F\xBF\xBF",
                                             "12345678\xE2\x82\xAC-12345678"};
    for (size_t i = 0; i < N_OF(good_texts); i++) {
        CHECK(good_texts[i], postern_send(s, good_texts[i], strlen(good_texts[i]), true) == 0);
    }
    char reason[125];
    memset(reason, 'r', sizeof reason);
    reason[124] = '\0';
    static const unsigned bad_codes[] = {0, 999, 1001, 1005, 2999, 5000};
    for (size_t i = 0; i < N_OF(bad_codes); i++) {
        assert_int_equal(postern_kick(s, bad_codes[i], ""), -EINVAL);
        assert_int_equal(postern_reject(s, bad_codes[i], ""), -EINVAL);
    }
    assert_int_equal(postern_kick(s, 4999, reason), -EMSGSIZE);
    static char big[SMALL_FRAME + 1];
    assert_int_equal(postern_send(s, big, sizeof big, false), -EMSGSIZE);
    assert_int_equal(postern_state(s, big, sizeof big), -EMSGSIZE);
    assert_int_equal(postern_state(s, "st", 2), 0);
    assert_int_equal(postern_kick(s, 1000, NULL), 0);
    assert_int_equal(postern_send(s, "x", 1, true), -ENOTCONN);
    assert_int_equal(postern_kick(s, 1000, NULL), -ENOTCONN);
    assert_int_equal(postern_accept(s), -ENOTCONN);
}

/* Nothing that the gateway would answer with ERROR leaves the library. */
static void test_refusals(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.max_frame = SMALL_FRAME});
    link_up(&rig);
    rig.on_text = check_refusals;
    say_open(&rig, 1, 1, "/echo");
    say(&rig, "MSG 2 1 1 t 1\nx\n");
    expect_sent(&rig, "BATCH[ACCEPT 1, MSG 1 t, MSG 1 t '\x7F', MSG 1 t '\xC2\x80', "
                      "MSG 1 t '\xED\x9F\xBF\xEE\x80\x80', MSG 1 t '\xF4\x8F\xBF\xBF', "
                      "MSG 1 t '12345678\xE2\x82\xAC-12345678', STATE 1 'st', KICK 1 1000, ACK 2]");
    rig_fini(&rig);
}

static void fill_up(struct rig *rig, struct postern_session *s, const char *data, size_t len)
{
    (void)data;
    (void)len;
    static char chunk[SMALL_FRAME / 2];
    int error = 0;
    size_t n = 0;
    while (error == 0 && n < 100000) {
        error = postern_send(s, chunk, sizeof chunk, false);
        n++;
    }
    text_printf(&rig->events, "error %d\n", -error);
}

/* A gateway that takes nothing does not make the handler grow without end. */
static void test_max_unsent(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.max_frame = SMALL_FRAME, .max_unsent = 1 << 20});
    link_up(&rig);
    rig.on_text = fill_up;
    say_open(&rig, 1, 1, "/echo");
    say(&rig, "MSG 2 1 1 t 1\nx\n");
    postern_step(rig.handler);
    char want[64];
    (void)snprintf(want, sizeof want, "open s1 /echo\nmsg s1 1 t 1\nerror %d\n", ENOBUFS);
    expect_events(&rig, want);
    settle(&rig);
    struct text shown = {0};
    describe_frames(rig.got.data, rig.got.data + rig.got.len, &shown);
    assert_non_null(strstr(shown.data, "ACK 2"));
    text_clear(&shown);
    rig_fini(&rig);
}

struct seen {
    struct rig *rig;
    struct postern_session *last;
};

static void see(void *ctx, struct postern_session *s)
{
    struct seen *seen = ctx;
    text_printf(&seen->rig->events, "each %s\n", postern_session_info(s, POSTERN_ID));
    seen->last = s;
}

static void test_accept_by_hand(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, &(struct postern_options){.accepts_by_hand = true});
    link_up(&rig);
    say_open(&rig, 1, 5, "/echo");
    say_open(&rig, 2, 3, "/echo");
    expect_sent(&rig, "ACK 2");
    struct seen seen = {.rig = &rig};
    postern_each_session(rig.handler, see, &seen);
    expect_events(&rig, "open s5 /echo\nopen s3 /echo\neach s3\neach s5\n");
    assert_int_equal(postern_reject(seen.last, 4001, "no"), 0);
    assert_int_equal(postern_poll_events(rig.handler), POLLIN | POLLOUT);
    expect_sent(&rig, "REJECT 5 4001 'no'");
    assert_int_equal(postern_poll_events(rig.handler), POLLIN);
    say(&rig, "CLOSE 3 5 4001 2\nno\n");
    expect_sent(&rig, "ACK 3");
    postern_each_session(rig.handler, see, &seen);
    postern_session_set_user(seen.last, strdup("freed by on_forget"));
    assert_int_equal(postern_accept(seen.last), 0);
    assert_int_equal(postern_send(seen.last, "in", 2, true), 0);
    expect_sent(&rig, "BATCH[ACCEPT 3, MSG 3 t 'in']");
    char offered[8];
    assert_int_equal(postern_session_offered(seen.last, 0, offered, sizeof offered), -1);
    assert_int_equal(postern_accept_as(seen.last, "echo.v1"), 0);
    expect_sent(&rig, "ACCEPT 3 'echo.v1'");
    assert_int_equal(postern_accept_as(seen.last, "a b"), -EINVAL);
    assert_int_equal(postern_accept_as(seen.last, "a\n"), -EINVAL);
    assert_int_equal(postern_accept_as(seen.last, ""), 0);
    expect_sent(&rig, "ACCEPT 3");
    rig_fini(&rig);
}

struct info_check {
    char header[64];
    int header_len, missing_len;
};

static void check_info(void *ctx, struct postern_session *s)
{
    struct info_check *check = ctx;
    assert_string_equal(postern_session_info(s, POSTERN_ID), "x1");
    assert_string_equal(postern_session_info(s, POSTERN_MOUNT), "/m");
    assert_string_equal(postern_session_info(s, POSTERN_PATH), "/m/\xE2\x82\xAC\xF0\x9F\x9A\x80");
    assert_string_equal(postern_session_info(s, POSTERN_QUERY), "a=\"1\"&b=\\/\n\t\r\b\f");
    assert_string_equal(postern_session_info(s, POSTERN_DIALECT), "sockjs");
    assert_string_equal(postern_session_info(s, POSTERN_TRANSPORT), "");
    assert_string_equal(postern_session_info(s, POSTERN_REMOTE), "");
    assert_string_equal(postern_session_info(s, POSTERN_ORIGIN), "\xEF\xBF\xBD|\xEF\xBF\xBD|");
    char small[4];
    assert_int_equal(postern_session_header(s, "cookie", small, sizeof small), 8);
    assert_string_equal(small, "a=1");
    check->header_len =
        postern_session_header(s, "user-agent", check->header, sizeof check->header);
    check->missing_len = postern_session_header(s, "nope", small, sizeof small);
    assert_string_equal(postern_session_info(s, POSTERN_SUBPROTOCOL), "echo.v1");
    assert_int_equal(postern_session_offered(s, 0, small, sizeof small), 4);
    assert_string_equal(small, "cha");
    assert_int_equal(postern_session_offered(s, 1, NULL, 0), 7);
    assert_int_equal(postern_session_offered(s, 2, small, sizeof small), -1);
}

static void test_session_info(void **state)
{
    (void)state;
    static const char json[] =
        "{ \"headers\" : {\"mount\":\"/wrong\",\"user-agent\":\"A \\\"B\\\" {\",\"cookie\":"
        "\"a=1; b=2\"}, \"list\":[1,[\"]\"],{\"id\":\"wrong\"}], \"n\": -1.5e3 ,\"id\":\"x1\",\n"
        "\"mount\":\"/m\",\"path\":\"/m/\\u20ac\\ud83d\\uDE80\",\"query\":"
        "\"a=\\\"1\\\"&b=\\\\\\/\\n\\t\\r\\b\\f\",\"dialect\":\"sockjs\",\"transport\":null,"
        "\"subprotocols\":[\"chat\", \"echo.v1\"],\"subprotocol\":\"echo.v1\","
        "\"origin\":\"\\ud800|\\u0000|\",\"resumed\":false}";
    struct info_check check = {.header_len = -2, .missing_len = -2};
    struct rig rig;
    rig_init(&rig, NULL);
    struct postern_options options = {
        .path = rig.address.sun_path, .ctx = &check, .on = {.on_open = check_info}};
    postern_destroy(rig.handler);
    rig.handler = postern_create(&options);
    link_up(&rig);
    say_frame(&rig, "OPEN 1 1", json, sizeof json - 1);
    expect_sent(&rig, "BATCH[ACCEPT 1, ACK 1]");
    assert_int_equal(check.header_len, 7);
    assert_string_equal(check.header, "A \"B\" {");
    assert_int_equal(check.missing_len, -1);
    rig_fini(&rig);
}

/* Cut and broken JSON gives empty values, never a read outside it (the sanitizers look). */
static void test_broken_json(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":{\"b\":[\"\\u12\"]},\"id\":\"\\u20ac\\\",\"mount\":\"/m\"}";
    struct rig rig;
    rig_init(&rig, NULL);
    link_up(&rig);
    for (unsigned len = 0; len < sizeof json; len++) {
        char head[64];
        (void)snprintf(head, sizeof head, "OPEN %u %u", len + 1, len + 1);
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, json, len);
        say_frame(&rig, head, copy, len);
        free(copy);
        settle(&rig);
    }
    assert_int_equal(postern_n_sessions(rig.handler), sizeof json);
    rig_fini(&rig);
}

static void test_bad_options(void **state)
{
    (void)state;
    char path[200];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    errno = 0;
    assert_null(postern_create(&(struct postern_options){0}));
    assert_int_equal(errno, EINVAL);
    assert_null(postern_create(&(struct postern_options){.path = path}));
    assert_int_equal(errno, ENAMETOOLONG);
    postern_destroy(NULL);
}

static void *run_handler(void *handler)
{
    return postern_run(handler) == 0 ? handler : NULL;
}

/* The blocking loop: serves while it waits, and ends when it is told to from outside. */
static void test_run_and_stop(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_handler, rig.handler), 0);
    rig.fd = accept(rig.listen_fd, NULL, NULL);
    static const char input[] = "WELCOME 1 2\n{}\nOPEN 1 1 2\n{}\nMSG 2 1 1 t 2\nhi\n";
    assert_int_equal(send(rig.fd, input, sizeof input - 1, 0), sizeof input - 1);
    struct pollfd readable = {.fd = rig.fd, .events = POLLIN};
    while (rig.got.len == 0 || strstr(rig.got.data, "ACK 2") == NULL) {
        assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        assert_true(gateway_read(&rig));
    }
    postern_stop(rig.handler);
    void *result = NULL;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
    expect_events(&rig, "link\nopen  \nmsg  1 t 2\n");
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_all_of_a_turn_is_one_batch),
        cmocka_unit_test(test_verbs_without_a_number),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_big_messages),
        cmocka_unit_test(test_batches_stay_under_max_frame),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_max_unsent),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_another_handlers_sessions),
        cmocka_unit_test(test_a_large_state),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_waits_for_a_gateway),
        cmocka_unit_test(test_error_is_reported),
        cmocka_unit_test(test_handle_is_used_again),
        cmocka_unit_test(test_bad_gateway),
        cmocka_unit_test(test_welcome_must_come_first),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_accept_by_hand),
        cmocka_unit_test(test_session_info),
        cmocka_unit_test(test_broken_json),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_run_and_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
