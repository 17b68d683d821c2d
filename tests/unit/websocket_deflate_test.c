/* websocket_deflate: permessage-deflate from the handshake on, over a scripted connection. What the
 * streams do with every byte is for ws_inflate_test; here they meet frames, sessions and limits. */
#include <malloc.h>

#include "harness/mount_rig.h"
#include "wire/ws_compress.h"
#include "wire/ws_frame.h"
#include "wire/ws_inflate.h"

#define REQUEST                                                                                    \
    "GET /echo/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"     \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define OFFER       "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
#define NO_TAKEOVER "; server_no_context_takeover; client_no_context_takeover"
#define HELLO       "\xf2\x48\xcd\xc9\xc9\x07\x00"
#define AGAIN       "\xf2\x00\x11\x00\x00"

enum {
    FIN = 0x80,
    RSV1 = 0x40,
    BUDGET_BYTES = 1 << 20,
    MAX_PACKED_BYTES = 2 * MOUNT_MAX_MESSAGE_BYTES,
};

static struct mount_rig rig;
static struct record frames;
static struct ws_deflate_opts opts;
static struct ws_deflate_pool *pool;      /* the worker's */
static struct ws_deflate_pool *peer_pool; /* the client's */

static void start(size_t budget_bytes)
{
    frames.len = 0;
    opts = (struct ws_deflate_opts){.max_window_bits = 12, .level = 6, .threshold_bytes = 100};
    mount_start(&rig);
    assert_int_equal(ws_deflate_pool_create(budget_bytes, &pool), ERR_OK);
    assert_int_equal(ws_deflate_pool_create(BUDGET_BYTES, &peer_pool), ERR_OK);
    rig.rig.kit.deflate_pool = pool;
    rig.transports[SOCKJS_RAW_WEBSOCKET].deflate = &opts;
}

/* Every stream is given back by then, or the pool's end fails. */
static void stop(void)
{
    mount_stop(&rig);
    ws_deflate_pool_destroy(pool);
    ws_deflate_pool_destroy(peer_pool);
}

static int set_up(void **state)
{
    (void)state;
    start(BUDGET_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    return 0;
}

/* -- the client -------------------------------------------------------------------------------- */

static const struct ws_deflate_terms peer_terms = {
    .is_on = true, .server_bits = 12, .client_bits = 12};

/* The payload of a compressed message; valid until the next call. */
static struct span pack(struct span message)
{
    static char out[MAX_PACKED_BYTES];
    struct ws_compress compress;
    ws_compress_init(&compress, peer_pool, &peer_terms, 6);
    size_t n = ws_compress(&compress, message, out, ws_compress_room(&compress, message.len));
    ws_compress_fini(&compress);
    assert_true(n != 0);
    return span_of(out, n);
}

/* A frame with the key 0, which changes nothing. */
static void say(int i, unsigned first, struct span payload)
{
    static char bytes[MAX_PACKED_BYTES];
    size_t n = ws_put_head(bytes, WS_BINARY, 0, payload.len);
    bytes[0] = (char)first;
    bytes[1] = (char)(bytes[1] | 0x80);
    memset(bytes + n, 0, 4);
    memcpy(bytes + n + 4, payload.ptr, payload.len);
    struct span rest = span_of(bytes, n + 4 + payload.len);
    while (rest.len != 0) {
        size_t len = rest.len < 60000 ? rest.len : 60000;
        mount_say(&rig, i, span_of(rest.ptr, len));
        rest = span_skip(rest, len);
    }
}

static void connect_as(int i, const char *offer, const char *answer)
{
    char text[1024];
    (void)snprintf(text, sizeof text, REQUEST "%s\r\n", offer);
    mount_say(&rig, i, span_str(text));
    (void)snprintf(text, sizeof text, SWITCHED "%s\r\n", answer);
    check_span(offer, mount_heard(&rig, i), span_str(text));
}

static void connect_deflating(int i)
{
    connect_as(i, OFFER,
               "Sec-WebSocket-Extensions: permessage-deflate" NO_TAKEOVER
               "; client_max_window_bits=12\r\n");
}

static void connect_with_takeover(int i)
{
    opts.allow_takeover = true;
    connect_as(i, OFFER,
               "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n");
}

/* A whole compressed message of the server as words. */
static void read_packed(struct span payload)
{
    struct ws_inflate inflate;
    struct ws_event event = {.opcode = WS_BINARY, .is_last = true};
    struct ws_fault fault;
    struct span out;
    ws_inflate_init(&inflate, peer_pool, &peer_terms, MOUNT_MAX_MESSAGE_BYTES);
    assert_int_equal(ws_inflate_step(&inflate, &event, &payload, &out, &fault), ERR_OK);
    record_add(&frames, "packed(%.*s)", (int)(out.len < 20 ? out.len : 20), out.ptr);
    ws_inflate_fini(&inflate);
}

/* What client `i` heard: "text(hi) packed(aaaa) close(1009 why)". */
static void read_frames(int i)
{
    struct span in = mount_heard(&rig, i);
    while (in.len != 0) {
        unsigned first = (unsigned char)in.ptr[0];
        size_t len = (unsigned char)in.ptr[1];
        size_t head = 2;
        if (len == 126) {
            len = (size_t)(unsigned char)in.ptr[2] << 8 | (unsigned char)in.ptr[3];
            head = 4;
        }
        assert_true(len < 127 || head == 4);
        in = span_skip(in, head);
        assert_true(len <= in.len);
        if ((first & RSV1) != 0) {
            read_packed(span_of(in.ptr, len));
        } else if ((first & 15) == WS_CLOSE) {
            record_add(&frames, "close(%u %.*s)",
                       (unsigned)(unsigned char)in.ptr[0] << 8 | (unsigned char)in.ptr[1],
                       (int)len - 2, in.ptr + 2);
        } else {
            record_add(&frames, "plain(%.*s)", (int)(len < 20 ? len : 20), in.ptr);
        }
        in = span_skip(in, len);
    }
}

#define HEARD(i, want)                                                                             \
    do {                                                                                           \
        read_frames(i);                                                                            \
        CHECK_RECORD(&frames, want);                                                               \
    } while (0)
#define TOLD(session, want) CHECK_RECORD(&rig.uplinks[session].record, want)

/* -- the handshake ------------------------------------------------------------------------------
 */

static void offers_are_answered(void **state)
{
    (void)state;
    connect_deflating(0);
    connect_as(1, "", "");
    connect_as(2, "Sec-WebSocket-Extensions: permessage-deflate; x\r\n", "");
    connect_as(3,
               "Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
               "Sec-WebSocket-Extensions: permessage-deflate" NO_TAKEOVER "\r\n");
    connect_with_takeover(4);
    assert_true(rig.rig.kit.counters.deflate_upgrades == 3);
    rig.transports[SOCKJS_RAW_WEBSOCKET].deflate = NULL;
    connect_as(5, OFFER, "");
}

static void what_is_no_list_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        mount_say(&rig, i,
                  SPAN_LIT(REQUEST "Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n"));
        assert_true(span_starts_with(mount_heard(&rig, i), SPAN_LIT("HTTP/1.1 400 ")));
        rig.transports[SOCKJS_RAW_WEBSOCKET].deflate = NULL;
    }
    assert_int_equal(rig.n_sessions, 0);
}

static void a_used_budget_gives_no_takeover(void **state)
{
    (void)state;
    stop();
    start(80 << 10); /* one of 49 KiB, and no second one */
    connect_with_takeover(0);
    connect_deflating(1);
    stop();
    start(BUDGET_BYTES);
}

/* -- messages -----------------------------------------------------------------------------------
 */

static void messages_both_ways(void **state)
{
    static char a[200];
    (void)state;
    memset(a, 'a', sizeof a);
    connect_deflating(0);
    mount_echo(&rig, 0);
    say(0, FIN | RSV1 | WS_TEXT, SPAN_LIT(HELLO));
    say(0, FIN | WS_TEXT, SPAN_LIT("Hello"));
    say(0, FIN | RSV1 | WS_TEXT, pack(span_of(a, sizeof a)));
    say(0, FIN | WS_BINARY, span_of(a, sizeof a));
    say(0, FIN | WS_BINARY, span_of(a, 99));
    say(0, FIN | RSV1 | WS_TEXT, SPAN_LIT("\0"));
    HEARD(0, "plain(Hello) plain(Hello) packed(aaaaaaaaaaaaaaaaaaaa) packed(aaaaaaaaaaaaaaaaaaaa) "
             "plain(aaaaaaaaaaaaaaaaaaaa) plain()");
    rig.uplinks[0].record.len = 0;
}

static void fragments_with_pings_between(void **state)
{
    (void)state;
    connect_with_takeover(0);
    for (size_t cut = 0; cut <= 7; cut++) {
        say(0, RSV1 | WS_TEXT, span_of(HELLO, cut));
        say(0, FIN | WS_PING, SPAN_LIT("p"));
        say(0, WS_CONTINUATION, SPAN_LIT(""));
        say(0, FIN | WS_CONTINUATION, span_skip(SPAN_LIT(HELLO), cut));
    }
    say(0, FIN | RSV1 | WS_TEXT, SPAN_LIT(AGAIN));
    TOLD(0, "(Hello) (Hello) (Hello) (Hello) (Hello) (Hello) (Hello) (Hello) (Hello)");
    HEARD(0, "plain(p) plain(p) plain(p) plain(p) plain(p) plain(p) plain(p) plain(p)");
}

static void a_message_of_many_steps(void **state)
{
    static char a[MOUNT_MAX_MESSAGE_BYTES + 1];
    (void)state;
    memset(a, 'a', sizeof a);
    connect_deflating(0);
    say(0, FIN | RSV1 | WS_BINARY, pack(span_of(a, MOUNT_MAX_MESSAGE_BYTES)));
    TOLD(0, "bin(70000 bytes)");
    say(0, FIN | RSV1 | WS_BINARY, pack(span_of(a, MOUNT_MAX_MESSAGE_BYTES + 1)));
    HEARD(0, "close(1009 Inflated message is over the limit)");
}

/* What cannot get smaller may get a little bigger on the wire. */
static void noise_of_the_largest_size(void **state)
{
    static char stored[MOUNT_MAX_MESSAGE_BYTES + 20];
    size_t n = 0;
    (void)state;
    for (size_t left = MOUNT_MAX_MESSAGE_BYTES; left != 0;) {
        size_t len = left < 65535 ? left : 65535;
        stored[n + 1] = (char)(len & 255);
        stored[n + 2] = (char)(len >> 8);
        stored[n + 3] = (char)~stored[n + 1];
        stored[n + 4] = (char)~stored[n + 2];
        n += 5 + len;
        left -= len;
    }
    connect_deflating(0);
    say(0, FIN | RSV1 | WS_BINARY, span_of(stored, n + 1));
    TOLD(0, "bin(70000 bytes)");
}

static void defects_have_their_codes(void **state)
{
    static const struct {
        unsigned first;
        struct span payload;
        const char *want;
    } cases[] = {
        {FIN | RSV1 | WS_TEXT, SPAN_LIT_INIT("\x07"), "close(1007 Message is not DEFLATE data)"},
        {FIN | RSV1 | WS_TEXT, SPAN_LIT_INIT("\xf2\x48"), "close(1007 DEFLATE data is cut short)"},
        {RSV1 | WS_TEXT, SPAN_LIT_INIT("\x00\x01\x00\xfe\xff\xff"),
         "close(1007 Text message is not UTF-8)"},
        {FIN | RSV1 | WS_CONTINUATION, SPAN_LIT_INIT(""), "close(1002 a continuation of nothing)"},
        {FIN | RSV1 | WS_PING, SPAN_LIT_INIT(""), "close(1002 RSV1 on a control frame)"},
        {FIN | WS_TEXT, SPAN_LIT_INIT("\xff"), "close(1007 a text message is not UTF-8)"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        stop();
        start(BUDGET_BYTES);
        connect_deflating(0);
        say(0, cases[i].first, cases[i].payload);
        HEARD(0, cases[i].want);
        assert_true(rig.uplinks[0].is_closed);
    }
    stop();
    start(BUDGET_BYTES);
    connect_as(0, "", "");
    say(0, FIN | RSV1 | WS_TEXT, SPAN_LIT(HELLO));
    HEARD(0, "close(1002 RSV1 without a meaning here)");
}

/* -- memory -------------------------------------------------------------------------------------
 */

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void);
static size_t heap_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static size_t heap_bytes(void)
{
    return mallinfo2().uordblks;
}
#endif

static void connect_plain(int i)
{
    connect_as(i, "", "");
}

/* Without what the test itself keeps of the answer. */
static size_t cost_of(int i, void (*connect)(int i))
{
    size_t before = heap_bytes();
    connect(i);
    return heap_bytes() - before - rig.clients[i].io.cap;
}

static void an_idle_one_has_no_stream(void **state)
{
    (void)state;
    (void)cost_of(0, connect_plain); /* what all share */
    size_t plain = cost_of(1, connect_plain);
    CHECK("plain", plain <= 1024);
    /* Small blocks that were freed count for glibc: 96 bytes more are in truth in use. */
    CHECK("deflating", cost_of(2, connect_deflating) <= 1536);
#if defined(__SANITIZE_ADDRESS__)
    CHECK("exactly", cost_of(3, connect_deflating) == plain + 96);
#endif
    CHECK("takeover", cost_of(4, connect_with_takeover) <= 1536);
}

static void no_room_for_a_stream(void **state)
{
    static char a[200];
    (void)state;
    stop();
    start(1000);
    memset(a, 'a', sizeof a);
    connect_deflating(0);
    mount_echo(&rig, 0);
    say(0, FIN | WS_TEXT, span_of(a, sizeof a));
    say(0, FIN | RSV1 | WS_TEXT, SPAN_LIT(HELLO));
    HEARD(0, "plain(aaaaaaaaaaaaaaaaaaaa) close(1013 No memory for compressed messages now)");
    assert_true(rig.rig.kit.counters.deflate_starved == 1);
    rig.uplinks[0].record.len = 0;
    stop();
    start(BUDGET_BYTES);
}

/* A kilobyte on the wire would pin 64 each. */
static void what_is_gathered_has_room_or_ends(void **state)
{
    static char a[MOUNT_MAX_MESSAGE_BYTES];
    (void)state;
    stop();
    start(200 << 10);
    memset(a, 'a', sizeof a);
    for (int i = 0; i < 3; i++) {
        connect_deflating(i);
        say(i, RSV1 | WS_BINARY, pack(span_of(a, sizeof a)));
    }
    CHECK("used", ws_deflate_pool_used_bytes(pool) <= 200 << 10);
    HEARD(2, "close(1013 No memory for compressed messages now)");
    say(0, FIN | WS_CONTINUATION, SPAN_LIT(""));
    TOLD(0, "bin(70000 bytes)");
    stop();
    start(BUDGET_BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(offers_are_answered),
        TEST(what_is_no_list_is_refused),
        TEST(a_used_budget_gives_no_takeover),
        TEST(messages_both_ways),
        TEST(fragments_with_pings_between),
        TEST(a_message_of_many_steps),
        TEST(noise_of_the_largest_size),
        TEST(defects_have_their_codes),
        TEST(an_idle_one_has_no_stream),
        TEST(no_room_for_a_stream),
        TEST(what_is_gathered_has_room_or_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
