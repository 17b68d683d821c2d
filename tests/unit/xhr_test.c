/* xhr: polling, streaming and sending over real HTTP, byte for byte; limits, ends, and input that
 * is held while the backend cannot take more. */
#include "harness/mount_rig.h"

#define FIELDS                                                                                     \
    "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"              \
    "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"
#define SCRIPT                                                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: application/javascript; charset=UTF-8\r\n"                   \
    "X-Content-Type-Options: nosniff\r\n" FIELDS
#define POLLED(length, body) SCRIPT "Content-Length: " length "\r\n\r\n" body
#define STREAMED             SCRIPT "Transfer-Encoding: chunked\r\n\r\n"
#define PLAIN                "\r\nContent-Type: text/plain; charset=UTF-8\r\n" FIELDS
#define TAKEN                "HTTP/1.1 204 No Content" PLAIN "\r\n"
#define REFUSED(length, why)                                                                       \
    "HTTP/1.1 500 Internal Server Error" PLAIN "Content-Length: " length "\r\n\r\n" why

static struct mount_rig rig;

static int set_up(void **state)
{
    (void)state;
    mount_start(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mount_stop(&rig);
    return 0;
}

static void say(int i, const char *text)
{
    mount_say(&rig, i, span_str(text));
}

static void poll(int i)
{
    mount_post(&rig, i, "/0/sid/xhr", "");
}

static void stream(int i)
{
    mount_post(&rig, i, "/0/sid/xhr_streaming", "");
}

static void post(int i, const char *body)
{
    mount_post(&rig, i, "/0/sid/xhr_send", body);
}

#define HEARD(i, want) check_span(__func__, mount_heard(&rig, i), span_str(want))
#define TOLD(want)     CHECK_RECORD(&rig.uplinks[0].record, want)

static void open_by_poll(void)
{
    poll(0);
    HEARD(0, POLLED("2", "o\n"));
}

/* -- polling ----------------------------------------------------------------------------------- */

static void polls_are_answered_one_by_one(void **state)
{
    (void)state;
    open_by_poll();
    poll(0); /* on the same connection */
    HEARD(0, "");
    mount_send(&rig, 0, "a");
    mount_send(&rig, 0, "b\n");
    rig_turn(&rig.rig);
    HEARD(0, POLLED("13", "a[\"a\",\"b\\n\"]\n"));
    mount_send(&rig, 0, "c");
    rig_turn(&rig.rig);
    HEARD(0, "");
    poll(0);
    HEARD(0, POLLED("7", "a[\"c\"]\n"));
    assert_int_equal(rig.n_sessions, 1);
}

static void a_poll_ends_with_the_heartbeat(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, POLLED("2", "h\n"));
}

static void a_second_poll_is_a_conflict(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    poll(1);
    HEARD(1, POLLED("40", "c[2010,\"Another connection still open\"]\n"));
    HEARD(0, "");
    mount_send(&rig, 0, "x");
    rig_turn(&rig.rig);
    HEARD(0, POLLED("7", "a[\"x\"]\n"));
}

static void a_lost_poll_is_noticed_at_once(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection lost>");
    poll(1);
    HEARD(1, POLLED("33", "c[1002,\"Connection interrupted\"]\n"));
    rig_pass(&rig.rig, MOUNT_DELAY_MS);
    poll(1);
    HEARD(1, POLLED("2", "o\n")); /* a new session */
    assert_int_equal(rig.n_sessions, 2);
}

static void a_closed_session_says_so_to_every_poll(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    session_close(rig.sessions[0], 3000, SPAN_LIT("Go away!"));
    rig_turn(&rig.rig);
    HEARD(0, POLLED("19", "c[3000,\"Go away!\"]\n"));
    poll(0);
    HEARD(0, POLLED("19", "c[3000,\"Go away!\"]\n"));
    rig_pass(&rig.rig, MOUNT_DELAY_MS);
    poll(0);
    HEARD(0, POLLED("2", "o\n"));
}

static void http_1_0_is_told_of_the_end(void **state)
{
    (void)state;
    say(0, "POST /echo/0/sid/xhr HTTP/1.0\r\n\r\n");
    HEARD(0, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
             "Content-Type: application/javascript; charset=UTF-8\r\n"
             "X-Content-Type-Options: nosniff\r\n" FIELDS "Content-Length: 2\r\n\r\no\n");
    assert_int_equal(rig.clients[0].io.n_shutdowns, 1);
}

static void the_cookie_comes_back_as_it_came(void **state)
{
    (void)state;
    rig.sockjs.cookie_needed = true;
    say(0, "POST /echo/0/sid/xhr HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n"
           "Origin: http://a\r\nCookie: x=1; JSESSIONID=abc=d; y=2\r\n\r\n");
    HEARD(0, "HTTP/1.1 200 OK\r\nContent-Type: application/javascript; charset=UTF-8\r\n"
             "X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-cache, "
             "no-transform, must-revalidate, max-age=0\r\n"
             "Access-Control-Allow-Origin: http://a\r\nAccess-Control-Allow-Credentials: true\r\n"
             "Vary: Origin\r\nSet-Cookie: JSESSIONID=abc=d; path=/\r\n"
             "Content-Length: 2\r\n\r\no\n");
    post(1, "[\"x\"]");
    HEARD(1, "HTTP/1.1 204 No Content" PLAIN "Set-Cookie: JSESSIONID=dummy; path=/\r\n\r\n");
    TOLD("(x)");
}

/* The heap is empty when the answer is written: what the client was to hear is gone. */
static void a_poll_that_cannot_be_answered_is_lost(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    conn_out(rig.clients[0].conn)->max = 64;
    mount_send(&rig, 0, "a");
    rig_turn(&rig.rig);
    HEARD(0, "");
    TOLD("<closed 1006 Connection lost>");
    poll(1);
    HEARD(1, POLLED("33", "c[1002,\"Connection interrupted\"]\n"));
}

/* -- streaming --------------------------------------------------------------------------------- */

/* Takes the head and the prelude off what client `i` heard: 2,048 h and LF in a chunk of their own.
 */
static struct span after_prelude(int i)
{
    static const char head[] = STREAMED "801\r\n";
    struct span got = mount_heard(&rig, i);
    assert_true(got.len >= sizeof head - 1 + 2049 + 2);
    check_span("head", span_of(got.ptr, sizeof head - 1), SPAN_LIT(STREAMED "801\r\n"));
    got = span_skip(got, sizeof head - 1);
    for (size_t k = 0; k < 2048; k++) {
        assert_true(got.ptr[k] == 'h');
    }
    assert_true(memcmp(got.ptr + 2048, "\n\r\n", 3) == 0);
    return span_skip(got, 2051);
}

static void open_by_stream(void)
{
    stream(0);
    check_span("hello", after_prelude(0), SPAN_LIT("2\r\no\n\r\n"));
}

static void every_frame_is_a_chunk(void **state)
{
    (void)state;
    open_by_stream();
    mount_send(&rig, 0, "a");
    mount_send(&rig, 0, "b");
    rig_turn(&rig.rig);
    mount_send(&rig, 0, "0123456789");
    rig_turn(&rig.rig);
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "b\r\na[\"a\",\"b\"]\n\r\n10\r\na[\"0123456789\"]\n\r\n2\r\nh\n\r\n");
}

static void a_stream_ends_with_the_goodbye(void **state)
{
    (void)state;
    open_by_stream();
    mount_send(&rig, 0, "a");
    session_close(rig.sessions[0], 3000, SPAN_LIT("Go away!"));
    rig_turn(&rig.rig);
    HEARD(0, "7\r\na[\"a\"]\n\r\n13\r\nc[3000,\"Go away!\"]\n\r\n0\r\n\r\n");
    stream(0);
    check_span("again", after_prelude(0), SPAN_LIT("13\r\nc[3000,\"Go away!\"]\n\r\n0\r\n\r\n"));
}

/* 31 frames of 134 bytes and the hello are 4,156 >= 4,096; 30 are not. The prelude does not count.
 */
static void a_stream_ends_after_the_frame_that_reaches_the_limit(void **state)
{
    (void)state;
    char text[129];
    memset(text, 'x', 128);
    text[128] = '\0';
    open_by_stream();
    for (int i = 1; i <= 32; i++) {
        mount_send(&rig, 0, text);
        rig_turn(&rig.rig);
        struct span got = mount_heard(&rig, 0);
        bool has_end = got.len > 5 && memcmp(got.ptr + got.len - 7, "\r\n0\r\n\r\n", 7) == 0;
        assert_int_equal(has_end, i == 31);
        assert_int_equal(got.len == 0, i == 32);
    }
    TOLD("");
    stream(0); /* what did not fit goes on here */
    struct span got = after_prelude(0);
    assert_int_equal(got.len, 4 + 134 + 2);
    assert_int_equal(rig.n_sessions, 1);
}

static void the_limit_is_exact(void **state)
{
    (void)state;
    /* "o\n" and this frame make the limit, or one byte less. */
    for (size_t less = 0; less <= 1; less++) {
        static char text[MOUNT_RESPONSE_LIMIT_BYTES];
        size_t n = MOUNT_RESPONSE_LIMIT_BYTES - 2 - sizeof "a[\"\"]" - less;
        memset(text, 'x', n);
        text[n] = '\0';
        open_by_stream();
        mount_send(&rig, 0, text);
        rig_turn(&rig.rig);
        struct span got = mount_heard(&rig, 0);
        assert_int_equal(memcmp(got.ptr + got.len - 7, "\r\n0\r\n\r\n", 7) == 0, less == 0);
        mount_stop(&rig);
        mount_start(&rig);
    }
}

static void a_stream_without_room_waits_for_it(void **state)
{
    (void)state;
    static char text[CONN_HIGH_WATER_BYTES];
    memset(text, 'x', sizeof text - 1);
    rig.transports[SOCKJS_XHR_STREAMING].response_limit_bytes = 1 << 20;
    open_by_stream();
    rig.clients[0].io.write_room = 10;
    mount_send(&rig, 0, text);
    rig_turn(&rig.rig);
    mount_send(&rig, 0, "b");
    rig_turn(&rig.rig);
    mount_send(&rig, 0, "c");
    rig_turn(&rig.rig);
    assert_int_equal(mount_heard(&rig, 0).len, 10);
    rig.clients[0].io.write_room = SIZE_MAX;
    conn_poke(rig.clients[0].conn);
    rig_turn(&rig.rig);
    struct span got = mount_heard(&rig, 0);
    const char want[] = "\r\nb\r\na[\"b\",\"c\"]\n\r\n";
    check_span("rest", span_skip(got, got.len - (sizeof want - 1)), span_str(want));
    TOLD("<unwritable> <writable>");
}

static void a_lost_stream_ends_the_session(void **state)
{
    (void)state;
    open_by_stream();
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection lost>");
    stream(1);
    check_span("next", after_prelude(1),
               SPAN_LIT("21\r\nc[1002,\"Connection interrupted\"]\n\r\n0\r\n\r\n"));
}

/* The frame that reaches the limit fits into what is left of the heap, the end of the answer not:
 * none of it leaves. */
static void a_stream_that_cannot_end_is_lost(void **state)
{
    (void)state;
    static char text[MOUNT_RESPONSE_LIMIT_BYTES];
    size_t n = MOUNT_RESPONSE_LIMIT_BYTES - sizeof "a[\"\"]";
    memset(text, 'x', n);
    open_by_stream();
    conn_out(rig.clients[0].conn)->max = MOUNT_RESPONSE_LIMIT_BYTES + sizeof "1000\r\n\r\n";
    mount_send(&rig, 0, text);
    rig_turn(&rig.rig);
    HEARD(0, "");
    TOLD("<closed 1006 Connection lost>");
}

static void http_1_0_streams_until_the_end_of_the_connection(void **state)
{
    (void)state;
    say(0, "POST /echo/0/sid/xhr_streaming HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct span got = mount_heard(&rig, 0);
    assert_null(memmem(got.ptr, got.len, "chunked", 7));
    assert_null(memmem(got.ptr, got.len, "Content-Length", 14));
    assert_true(memcmp(got.ptr + got.len - 4, "h\no\n", 4) == 0);
    session_close(rig.sessions[0], 3000, SPAN_LIT("x"));
    rig_turn(&rig.rig);
    HEARD(0, "c[3000,\"x\"]\n");
    assert_int_equal(rig.clients[0].io.n_shutdowns, 1);
}

/* The connection is lost while the prelude is written: the session must not keep a dead receiver,
 * nor lose the living one that it has. */
static void a_stream_that_cannot_begin_leaves_the_session_alone(void **state)
{
    (void)state;
    open_by_poll();
    poll(0);
    mount_connect(&rig, 1);
    conn_out(rig.clients[1].conn)->max = 1000; /* as if the heap were empty */
    stream(1);
    assert_int_equal(rig.last_open, ERR_NOMEM);
    TOLD("");
    mount_send(&rig, 0, "x");
    rig_turn(&rig.rig);
    HEARD(0, POLLED("7", "a[\"x\"]\n"));
}

/* -- sending ----------------------------------------------------------------------------------- */

static void sends_are_taken(void **state)
{
    (void)state;
    post(1, "[\"a\"]");
    HEARD(1, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=UTF-8\r\n"
             "Content-Length: 11\r\n\r\nNot found.\n");
    open_by_poll();
    post(1, "[\"a\",\"b\"]");
    HEARD(1, TAKEN);
    TOLD("(a) (b)");
    post(1, "[]");
    HEARD(1, TAKEN);
    TOLD("");
}

static void bad_bodies_are_refused_and_the_session_lives_on(void **state)
{
    (void)state;
    open_by_poll();
    post(1, "");
    HEARD(1, REFUSED("17", "Payload expected."));
    post(1, "[\"a\"");
    HEARD(1, REFUSED("21", "Broken JSON encoding."));
    post(1, "\"a\"");
    HEARD(1, REFUSED("17", "Payload expected."));
    post(1, "[\"good\"]");
    HEARD(1, TAKEN);
    TOLD("(good)");
}

static void a_body_comes_in_any_form(void **state)
{
    (void)state;
    open_by_poll();
    say(1, "POST /echo/0/sid/xhr_send?t=1 HTTP/1.1\r\nHost: h\r\nContent-Type: T\r\n"
           "Transfer-Encoding: chunked\r\n\r\n3\r\n[\"a\r\n");
    HEARD(1, "");
    say(1, "2\r\n\"]\r\n0\r\n\r\n");
    HEARD(1, TAKEN);
    TOLD("(a)");
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
           "Expect: 100-continue\r\n\r\n");
    HEARD(1, "HTTP/1.1 100 Continue\r\n\r\n");
    say(1, "[\"b\"]");
    HEARD(1, TAKEN);
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\n\r\n"); /* no body at all */
    HEARD(1, REFUSED("17", "Payload expected."));
    TOLD("(b)");
}

static void pipelined_sends_keep_their_order(void **state)
{
    (void)state;
    open_by_poll();
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"a\"]"
           "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"b\"]");
    HEARD(1, TAKEN TAKEN);
    TOLD("(a) (b)");
}

static void say_body(int i, size_t n)
{
    static char text[MOUNT_MAX_MESSAGE_BYTES + 256];
    int head = snprintf(text, sizeof text,
                        "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\n"
                        "Content-Length: %zu\r\n\r\n[\"",
                        n);
    memset(text + head, 'x', n - 4);
    memcpy(text + (size_t)head + n - 4, "\"]", 2);
    struct span rest = span_of(text, (size_t)head - 2 + n);
    while (rest.len != 0) { /* as much as one read takes */
        size_t k = rest.len < 60000 ? rest.len : 60000;
        mount_say(&rig, i, span_of(rest.ptr, k));
        rest = span_skip(rest, k);
    }
}

static void a_body_over_the_limit_is_refused(void **state)
{
    (void)state;
    open_by_poll();
    say_body(1, MOUNT_MAX_MESSAGE_BYTES);
    HEARD(1, TAKEN);
    assert_int_equal(rig.sessions[0]->n_in, 1);
    rig.uplinks[0].record.len = 0;
    say_body(1, MOUNT_MAX_MESSAGE_BYTES + 1);
    struct span got = mount_heard(&rig, 1);
    assert_true(span_starts_with(got, SPAN_LIT("HTTP/1.1 413 ")));
    TOLD("");
    post(2, "[\"on\"]");
    HEARD(2, TAKEN);
}

static void input_is_held_while_the_backend_is_full(void **state)
{
    (void)state;
    open_by_poll();
    session_pause_input(rig.sessions[0], true);
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"a\"]"
           "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"b\"]");
    HEARD(1, "");
    TOLD("");
    session_pause_input(rig.sessions[0], false);
    TOLD(""); /* not inside the call */
    rig_turn(&rig.rig);
    HEARD(1, TAKEN TAKEN);
    TOLD("(a) (b)");
}

/* No deadline of the connection runs while we are the ones who wait: only the session's end does.
 */
static void held_input_waits_as_long_as_the_session_lives(void **state)
{
    (void)state;
    stream(0);
    (void)mount_heard(&rig, 0);
    session_pause_input(rig.sessions[0], true);
    post(1, "[\"a\"]");
    for (int i = 0; i < 20; i++) {
        rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    }
    HEARD(1, "");
    assert_int_equal(rig.clients[1].io.n_shutdowns, 0);
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    HEARD(1, TAKEN);
    TOLD("(a)");
}

/* 1 MiB of empty strings is 350,000 messages: too much work for whoever takes them at once. */
static void too_many_messages_in_one_body_are_refused(void **state)
{
    (void)state;
    static char text[MOUNT_MAX_MESSAGE_BYTES];
    enum {
        N_MESSAGES = 10000
    };
    open_by_poll();
    int n = snprintf(text, sizeof text,
                     "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: "
                     "%d\r\n\r\n[",
                     3 * N_MESSAGES + 1);
    for (int i = 0; i < N_MESSAGES; i++) {
        memcpy(text + n + 3 * i, "\"\",", 3);
    }
    n += 3 * N_MESSAGES;
    text[n - 1] = ']'; /* in the place of the last comma */
    mount_say(&rig, 1, span_of(text, (size_t)n));
    HEARD(1, "HTTP/1.1 413 Content Too Large" PLAIN
             "Content-Length: 33\r\n\r\nToo many messages in one payload.");
    TOLD("");
    post(1, "[\"on\"]");
    HEARD(1, TAKEN);
}

static void pause_again(struct fake_uplink *fake, const struct message *message)
{
    (void)message;
    session_pause_input(fake->ctx, true);
}

static void held_input_is_let_in_one_by_one(void **state)
{
    (void)state;
    open_by_poll();
    rig.uplinks[0].ctx = rig.sessions[0];
    rig.uplinks[0].on_message = pause_again;
    session_pause_input(rig.sessions[0], true);
    post(1, "[\"a\"]");
    post(2, "[\"b\"]");
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    struct record *record = &rig.uplinks[0].record;
    assert_int_equal(record->len, 3); /* one of the two */
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    assert_int_equal(record->len, 7);
    record->len = 0;
    HEARD(1, TAKEN);
    HEARD(2, TAKEN);
}

static void held_input_of_a_closed_session_is_answered_at_once(void **state)
{
    (void)state;
    open_by_poll();
    session_pause_input(rig.sessions[0], true);
    post(1, "[\"a\"]");
    session_close(rig.sessions[0], 3000, SPAN_LIT("x"));
    rig_turn(&rig.rig);
    HEARD(1, TAKEN); /* the receiving side tells the client */
    TOLD("<closed 3000 x>");
    post(1, "[\"late\"]");
    HEARD(1, TAKEN);
}

static void held_input_of_a_session_that_is_gone_is_404(void **state)
{
    (void)state;
    open_by_poll();
    session_pause_input(rig.sessions[0], true);
    post(1, "[\"a\"]");
    rig_pass(&rig.rig, MOUNT_DELAY_MS);
    TOLD("<closed 1006 Session timed out>");
    struct span got = mount_heard(&rig, 1);
    assert_true(span_starts_with(got, SPAN_LIT("HTTP/1.1 404 ")));
}

static void a_client_may_leave_while_its_input_is_held(void **state)
{
    (void)state;
    open_by_poll();
    session_pause_input(rig.sessions[0], true);
    post(1, "[\"a\"]");
    mount_leave(&rig, 1);
    session_pause_input(rig.sessions[0], false);
    rig_turn(&rig.rig);
    TOLD("");
}

static void a_session_may_end_while_the_body_is_on_its_way(void **state)
{
    (void)state;
    open_by_poll();
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"a");
    rig_pass(&rig.rig, MOUNT_DELAY_MS);
    assert_true(LIST_EMPTY(&rig.all));
    say(1, "\"]");
    struct span got = mount_heard(&rig, 1);
    assert_true(span_starts_with(got, SPAN_LIT("HTTP/1.1 404 ")));
    TOLD("<closed 1006 Session timed out>");
}

static void a_client_may_leave_inside_its_body(void **state)
{
    (void)state;
    open_by_poll();
    say(1, "POST /echo/0/sid/xhr_send HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[\"a");
    mount_leave(&rig, 1);
    TOLD("");
    assert_false(LIST_EMPTY(&rig.all));
}

static void echo_over_poll_and_send(void **state)
{
    (void)state;
    open_by_poll();
    mount_echo(&rig, 0);
    poll(0);
    post(1, "[\"a\",\"\\u2028\\ud800\"]");
    HEARD(1, TAKEN);
    HEARD(0, POLLED("22", "a[\"a\",\"\\u2028\\ufffd\"]\n"));
    rig.uplinks[0].record.len = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(polls_are_answered_one_by_one),
        TEST(a_poll_ends_with_the_heartbeat),
        TEST(a_second_poll_is_a_conflict),
        TEST(a_lost_poll_is_noticed_at_once),
        TEST(a_closed_session_says_so_to_every_poll),
        TEST(http_1_0_is_told_of_the_end),
        TEST(the_cookie_comes_back_as_it_came),
        TEST(a_poll_that_cannot_be_answered_is_lost),
        TEST(every_frame_is_a_chunk),
        TEST(a_stream_ends_with_the_goodbye),
        TEST(a_stream_ends_after_the_frame_that_reaches_the_limit),
        TEST(the_limit_is_exact),
        TEST(a_stream_without_room_waits_for_it),
        TEST(a_lost_stream_ends_the_session),
        TEST(a_stream_that_cannot_end_is_lost),
        TEST(http_1_0_streams_until_the_end_of_the_connection),
        TEST(a_stream_that_cannot_begin_leaves_the_session_alone),
        TEST(sends_are_taken),
        TEST(bad_bodies_are_refused_and_the_session_lives_on),
        TEST(a_body_comes_in_any_form),
        TEST(pipelined_sends_keep_their_order),
        TEST(a_body_over_the_limit_is_refused),
        TEST(input_is_held_while_the_backend_is_full),
        TEST(held_input_waits_as_long_as_the_session_lives),
        TEST(too_many_messages_in_one_body_are_refused),
        TEST(held_input_is_let_in_one_by_one),
        TEST(held_input_of_a_closed_session_is_answered_at_once),
        TEST(held_input_of_a_session_that_is_gone_is_404),
        TEST(a_client_may_leave_while_its_input_is_held),
        TEST(a_session_may_end_while_the_body_is_on_its_way),
        TEST(a_client_may_leave_inside_its_body),
        TEST(echo_over_poll_and_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
