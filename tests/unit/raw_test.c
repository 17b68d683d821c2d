/* raw: one URL, and frames that are messages, untouched. */
#include "dialect/raw.h"
#include "harness/mount_rig.h"

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

static void the_one_url_is_the_mounts(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *suffix;
        enum route_kind kind;
    } cases[] = {
        {HTTP_GET, "", ROUTE_TRANSPORT},      {HTTP_GET, "/", ROUTE_TRANSPORT},
        {HTTP_POST, "", ROUTE_PAGE},          {HTTP_HEAD, "/", ROUTE_PAGE},
        {HTTP_OPTIONS, "", ROUTE_PAGE},       {HTTP_GET, "//", ROUTE_NOT_FOUND},
        {HTTP_GET, "/x", ROUTE_NOT_FOUND},    {HTTP_POST, "/x", ROUTE_NOT_FOUND},
        {HTTP_GET, "/info", ROUTE_NOT_FOUND},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        const struct http1_head head = {.method = cases[i].method};
        const struct http_req req = {.head = &head};
        struct route route;
        raw_dialect.classify(NULL, &req, span_str(cases[i].suffix), &route);
        CHECK_INT(cases[i].suffix, route.kind, cases[i].kind);
        if (route.kind == ROUTE_TRANSPORT) {
            CHECK(cases[i].suffix, route.index < raw_dialect.n_routes && route.sid.len == 0);
            CHECK(cases[i].suffix, !raw_dialect.routes[route.index].has_session_id);
        }
    }
}

static void answer_by_page(void *ctx, struct http_req *req)
{
    const struct route route = {.kind = ROUTE_PAGE};
    raw_dialect.page(NULL, &route, req, ctx);
}

static void another_method_is_told_what_is_allowed(void **state)
{
    (void)state;
    rig.http.on_request = answer_by_page;
    rig.http.ctx = &rig.rig.kit;
    mount_say(&rig, 0, SPAN_LIT("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
    CHECK_HEARD(&rig, 0,
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n");
}

static void messages_pass_untouched(void **state)
{
    (void)state;
    static const struct message messages[] = {
        {SPAN_LIT_INIT("x"), true},
        {SPAN_LIT_INIT("a\0\"\\\n"), true},
        {SPAN_LIT_INIT("\xff\0\xfe"), false},
        {SPAN_LIT_INIT(""), true},
    };
    assert_false(raw_dialect.joins_messages);
    for (size_t i = 0; i < N_OF(messages); i++) {
        struct frame frame;
        struct buf scratch;
        buf_init(&scratch, 1);
        assert_int_equal(raw_dialect.encode(&messages[i], 1, CAP_BINARY, &scratch, &frame), ERR_OK);
        assert_ptr_equal(frame.bytes.ptr, messages[i].data.ptr); /* no copy */
        assert_int_equal(frame.bytes.len, messages[i].data.len);
        assert_int_equal(frame.is_text, messages[i].is_text);
    }
}

static void binary_needs_a_carrier_for_it(void **state)
{
    (void)state;
    static const struct message binary = {SPAN_LIT_INIT("x"), false};
    static const struct message text = {SPAN_LIT_INIT("x"), true};
    struct frame frame;
    struct buf scratch;
    buf_init(&scratch, 1);
    assert_int_equal(raw_dialect.encode(&binary, 1, CAP_MANY_FRAMES, &scratch, &frame), ERR_PROTO);
    assert_int_equal(raw_dialect.encode(&text, 1, CAP_MANY_FRAMES, &scratch, &frame), ERR_OK);
}

static const char *taken_ptr;

static void note_ptr(struct fake_uplink *fake, const struct message *message)
{
    (void)fake;
    taken_ptr = message->data.ptr;
}

static void input_is_not_copied(void **state)
{
    (void)state;
    const struct route route = {.kind = ROUTE_TRANSPORT, .index = SOCKJS_RAW_WEBSOCKET};
    struct session *session = mount_session(&rig, &route);
    const struct span in = SPAN_LIT("[\"x\"");
    const char *why = NULL;
    rig.uplinks[0].on_message = note_ptr;
    assert_int_equal(session_receive(session, in, true, &why), ERR_OK);
    assert_ptr_equal(taken_ptr, in.ptr);
    assert_int_equal(session_receive(session, SPAN_NONE, false, &why), ERR_OK);
    CHECK_RECORD(&rig.uplinks[0].record, "([\"x\") bin()");
}

static void there_are_no_frames_of_ours(void **state)
{
    (void)state;
    struct frame frame;
    struct buf scratch;
    unsigned code = 0;
    buf_init(&scratch, 100);
    assert_false(raw_dialect.hello(&frame));
    assert_false(raw_dialect.beat(&frame));
    assert_false(raw_dialect.bye(3456, SPAN_LIT("r"), &scratch, &frame, &code));
    assert_int_equal(code, 3456); /* the WebSocket itself says it */
    assert_int_equal(buf_len(&scratch), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_one_url_is_the_mounts), TEST(another_method_is_told_what_is_allowed),
        TEST(messages_pass_untouched),   TEST(binary_needs_a_carrier_for_it),
        TEST(input_is_not_copied),       TEST(there_are_no_frames_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
