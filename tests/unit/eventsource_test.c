/* eventsource: events byte for byte, what is percent-coded in them, and that the codes count for
 * the response limit. What all streams share is tested in xhr_test.c. */
#include "harness/mount_rig.h"

#define OTHER_FIELDS                                                                               \
    "Content-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n"                       \
    "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"              \
    "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"
#define BEGUN "HTTP/1.1 200 OK\r\n" OTHER_FIELDS "Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n"

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

#define HEARD(i, want) check_span(__func__, mount_heard(&rig, i), span_str(want))
#define TOLD(want)     CHECK_RECORD(&rig.uplinks[0].record, want)

static void open_stream(void)
{
    mount_get(&rig, 0, "/0/sid/eventsource");
    HEARD(0, BEGUN "b\r\ndata: o\r\n\r\n\r\n");
}

static void every_frame_is_an_event(void **state)
{
    (void)state;
    open_stream();
    mount_send(&rig, 0, "a");
    mount_send(&rig, 0, "b\r\n");
    rig_turn(&rig.rig);
    HEARD(0, "18\r\ndata: a[\"a\",\"b\\r\\n\"]\r\n\r\n\r\n");
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "b\r\ndata: h\r\n\r\n\r\n");
    session_close(rig.sessions[0], 3000, SPAN_LIT("100%"));
    rig_turn(&rig.rig);
    HEARD(0, "1a\r\ndata: c[3000,\"100%25\"]\r\n\r\n\r\n0\r\n\r\n");
}

static void a_second_one_is_a_conflict(void **state)
{
    (void)state;
    open_stream();
    mount_get(&rig, 1, "/0/sid/eventsource");
    HEARD(1, BEGUN "31\r\ndata: c[2010,\"Another connection still open\"]\r\n\r\n\r\n0\r\n\r\n");
    HEARD(0, "");
}

static void a_lost_one_ends_the_session(void **state)
{
    (void)state;
    open_stream();
    mount_leave(&rig, 0);
    TOLD("<closed 1006 Connection lost>");
    mount_get(&rig, 1, "/0/sid/eventsource");
    HEARD(1, BEGUN "2a\r\ndata: c[1002,\"Connection interrupted\"]\r\n\r\n\r\n0\r\n\r\n");
}

static void http_1_0_has_no_chunks(void **state)
{
    (void)state;
    mount_say(&rig, 0, SPAN_LIT("GET /echo/0/sid/eventsource HTTP/1.0\r\n\r\n"));
    HEARD(0, "HTTP/1.1 200 OK\r\nConnection: close\r\n" OTHER_FIELDS "\r\n\r\ndata: o\r\n\r\n");
    session_close(rig.sessions[0], 3000, SPAN_LIT("x"));
    rig_turn(&rig.rig);
    HEARD(0, "data: c[3000,\"x\"]\r\n\r\n");
    assert_int_equal(rig.clients[0].io.n_shutdowns, 1);
}

/* -- escapes ----------------------------------------------------------------------------------- */

static void what_would_change_is_coded(void **state)
{
    (void)state;
    static const struct {
        struct span frame;
        const char *want;
    } cases[] = {
        {SPAN_LIT_INIT(""), ""},
        {SPAN_LIT_INIT("o"), "o"},
        {SPAN_LIT_INIT("%"), "%25"},
        {SPAN_LIT_INIT("%%20%"), "%25%2520%25"},
        {SPAN_LIT_INIT("a\r\n\nb\0c"), "a%0D%0A%0Ab%00c"},
        {SPAN_LIT_INIT(" a+b\u00e9\\n/?#"), " a+b\u00e9\\n/?#"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct buf out;
        buf_init(&out, 4096);
        assert_int_equal(eventsource_costume.escape(&out, cases[i].frame), ERR_OK);
        check_span(cases[i].want, buf_span(&out), span_str(cases[i].want));
        buf_fini(&out);
    }
}

static void without_room_nothing_is_coded(void **state)
{
    (void)state;
    for (size_t max = 1; max <= 5; max++) {
        struct buf out;
        buf_init(&out, max);
        enum err e = eventsource_costume.escape(&out, SPAN_LIT("a%b"));
        assert_int_equal(e, max < 5 ? ERR_LIMIT : ERR_OK);
        buf_fini(&out);
    }
}

/* The hello's event is 11 bytes, an event of n signs is 15 and 3 n. */
static void codes_count_for_the_limit(void **state)
{
    (void)state;
    char text[1358];
    memset(text, '%', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    _Static_assert(11 + 15 + 3 * (sizeof text - 1) > MOUNT_RESPONSE_LIMIT_BYTES, "reaches it");
    _Static_assert(11 + 15 + 3 * (sizeof text - 2) <= MOUNT_RESPONSE_LIMIT_BYTES, "just so");
    for (size_t less = 0; less <= 1; less++) {
        mount_stop(&rig);
        mount_start(&rig);
        rig.transports[SOCKJS_EVENTSOURCE].response_limit_bytes =
            11 + 15 + 3 * (sizeof text - 1) + less;
        open_stream();
        mount_send(&rig, 0, text);
        rig_turn(&rig.rig);
        struct span got = mount_heard(&rig, 0);
        assert_true(got.len > 7);
        bool has_end = memcmp(got.ptr + got.len - 7, "\r\n0\r\n\r\n", 7) == 0;
        assert_int_equal(has_end, less == 0);
    }
}

/* The heap is empty while a frame is coded: it can't be told, so the client must hear of the loss.
 */
static void an_event_that_cannot_be_coded_is_lost(void **state)
{
    (void)state;
    open_stream();
    buf_fini(&rig.rig.kit.dress_scratch);
    buf_init(&rig.rig.kit.dress_scratch, 2);
    mount_send(&rig, 0, "%");
    rig_turn(&rig.rig);
    HEARD(0, "");
    TOLD("<closed 1006 Connection lost>");
    assert_int_equal(rig.rig.kit.counters.out_of_memory, 1);
    assert_int_equal(rig.clients[0].io.n_closes, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_frame_is_an_event),
        TEST(a_second_one_is_a_conflict),
        TEST(a_lost_one_ends_the_session),
        TEST(http_1_0_has_no_chunks),
        cmocka_unit_test(what_would_change_is_coded),
        cmocka_unit_test(without_room_nothing_is_coded),
        TEST(codes_count_for_the_limit),
        TEST(an_event_that_cannot_be_coded_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
