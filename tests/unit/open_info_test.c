/* open_info: what a handler learns of a session: valid JSON whatever the client sent, its brief
 * part, and no session id anywhere. */
#include <arpa/inet.h>

#include "base/jsontext.h"
#include "edge/open_info.h"
#include "harness/test.h"
#include "http/http_req.h"
#include "net/conn.h"
#include "wire/ws_handshake.h"

static struct http1_head head;
static struct conn_peer peer;
static struct http_req req;
static struct open_info info;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    memset(&head, 0, sizeof head);
    peer = (struct conn_peer){.family = AF_INET, .port = 4711};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &peer.address), 1);
    req = (struct http_req){
        .head = &head, .target = {.path = SPAN_LIT("/chat/websocket")}, .peer = &peer};
    info = (struct open_info){.public_id = 0x7f3a90c2,
                              .mount = SPAN_LIT("/chat"),
                              .dialect = "raw",
                              .transport = "websocket"};
    buf_init(&out, 1 << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static void add_field(const char *name, struct span value)
{
    head.fields[head.n_fields++] = (struct http1_field){span_str(name), value};
}

/* Writes the object and checks that it, and its brief part, are JSON once the brace is there. */
static size_t write_checked(void)
{
    size_t brief = 0;
    buf_clear(&out);
    assert_int_equal(open_info_write(&info, &req, &out, &brief), ERR_OK);
    size_t lens[] = {brief, buf_len(&out)};
    for (size_t i = 0; i < N_OF(lens); i++) {
        char text[8192];
        assert_true(lens[i] + 1 < sizeof text);
        memcpy(text, out.data, lens[i]);
        text[lens[i]] = '}';
        struct json_scan scan;
        struct json_token token;
        struct fault fault = {0};
        json_scan_init(&scan, span_of(text, lens[i] + 1));
        do {
            assert_int_equal(json_next(&scan, &token, &fault), ERR_OK);
        } while (token.type != JSON_DONE);
    }
    return brief;
}

static bool says(const char *text)
{
    return memmem(out.data, buf_len(&out), text, strlen(text)) != NULL;
}

static void it_says_what_the_protocol_names(void **state)
{
    (void)state;
    req.target.query = SPAN_LIT("a=1&b=%20");
    add_field("Origin", SPAN_LIT("http://a.example"));
    add_field("USER-AGENT", SPAN_LIT("Mozilla \"5\""));
    add_field("Cookie", SPAN_LIT("secret=1"));
    add_field("Authorization", SPAN_LIT("Bearer x"));
    add_field("Host", SPAN_LIT("h.example"));
    size_t brief = write_checked();
    static const char want[] =
        "{\"id\":\"000000007f3a90c2\",\"mount\":\"/chat\",\"path\":\"/chat/websocket\","
        "\"query\":\"a=1&b=%20\",\"dialect\":\"raw\",\"transport\":\"websocket\","
        "\"remote\":\"192.0.2.7\",\"origin\":\"http://a.example\"";
    check_span("brief", span_of(out.data, brief), span_str(want));
    check_span("headers", span_skip(buf_span(&out), brief),
               SPAN_LIT(",\"subprotocols\":[],\"headers\":{\"user-agent\":\"Mozilla \\\"5\\\"\","
                        "\"host\":\"h.example\"}"));
}

static void it_appends_to_what_is_there(void **state)
{
    (void)state;
    size_t brief = 0;
    assert_int_equal(buf_append(&out, "xyz", 3), ERR_OK);
    assert_int_equal(open_info_write(&info, &req, &out, &brief), ERR_OK);
    assert_true(memcmp(out.data, "xyz{\"id\"", 8) == 0);
    check_span("headers", span_skip(buf_span(&out), 3 + brief),
               SPAN_LIT(",\"subprotocols\":[],\"headers\":{}"));
}

static void what_was_offered_and_what_is_spoken(void **state)
{
    (void)state;
    static const struct ws_subprotocols offers = {
        .n = 2, .names = {SPAN_LIT_INIT("chat"), SPAN_LIT_INIT("echo.v1")}};
    size_t brief = 0;
    info.offers = &offers;
    assert_int_equal(open_info_write(&info, &req, &out, &brief), ERR_OK);
    check_span("offers", span_skip(buf_span(&out), brief),
               SPAN_LIT(",\"subprotocols\":[\"chat\",\"echo.v1\"],\"headers\":{}"));
    buf_clear(&out);
    assert_int_equal(
        open_info_finish(&out, &(struct open_info_rest){.subprotocol = SPAN_LIT("chat")}), ERR_OK);
    assert_int_equal(open_info_finish(&out, &(struct open_info_rest){.is_resumed = true,
                                                                     .state = SPAN_LIT("\xff!")}),
                     ERR_OK);
    check_span("end", buf_span(&out),
               SPAN_LIT(",\"subprotocol\":\"chat\",\"resumed\":false}"
                        ",\"subprotocol\":\"\",\"resumed\":true,\"state\":\"/yE=\"}"));
}

static void a_session_id_is_never_shown(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t at;
        size_t len;
        const char *want;
    } cases[] = {
        {"/chat/000/s3cr3t/xhr", 10, 6, "\"path\":\"/chat/000/-/xhr\""},
        {"/chat/s3cr3t/s3cr3t/xhr/", 13, 6, "\"path\":\"/chat/s3cr3t/-/xhr/\""},
        {"/chat/0/s", 8, 1, "\"path\":\"/chat/0/-\""},
        {"s", 0, 1, "\"path\":\"-\""},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        req.target.path = span_str(cases[i].path);
        info.sid = span_of(cases[i].path + cases[i].at, cases[i].len);
        (void)write_checked();
        CHECK(cases[i].path, says(cases[i].want));
    }
}

static void whatever_the_client_sent_is_json(void **state)
{
    (void)state;
    req.target.path = SPAN_LIT("/a\"b\\c%00");
    req.target.query = SPAN_LIT("\xff\"");
    add_field("Origin", SPAN_LIT("\"},\"id\":\"forged"));
    add_field("User-Agent", SPAN_LIT("tab\there \u00e9"));
    add_field("Referer", SPAN_LIT("latin \xe9"));
    add_field("Accept-Language", SPAN_LIT(""));
    (void)write_checked();
    assert_true(says("\"path\":\"/a\\\"b\\\\c%00\""));
    assert_true(says("\"query\":\"\"")); /* not UTF-8: left out rather than guessed */
    assert_true(says("\"origin\":\"\\\"},\\\"id\\\":\\\"forged\""));
    assert_true(says("\"user-agent\":\"tab\\there \u00e9\""));
    assert_false(says("referer"));
    assert_true(says("\"accept-language\":\"\""));
}

static void addresses_have_one_form(void **state)
{
    (void)state;
    peer.family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &peer.address), 1);
    (void)write_checked();
    assert_true(says("\"remote\":\"2001:db8::1\""));
    peer.family = AF_UNIX;
    (void)write_checked();
    assert_true(says("\"remote\":\"unix\""));
    assert_true(says("\"origin\":\"\""));
}

static void without_room_it_fails(void **state)
{
    (void)state;
    size_t brief = 0;
    assert_int_equal(open_info_write(&info, &req, &out, &brief), ERR_OK);
    size_t need = buf_len(&out);
    for (size_t max = 1; max <= need; max++) {
        buf_fini(&out);
        buf_init(&out, max);
        assert_int_equal(open_info_write(&info, &req, &out, &brief),
                         max < need ? ERR_LIMIT : ERR_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_says_what_the_protocol_names),
        TEST(it_appends_to_what_is_there),
        TEST(a_session_id_is_never_shown),
        TEST(whatever_the_client_sent_is_json),
        TEST(what_was_offered_and_what_is_spoken),
        TEST(addresses_have_one_form),
        TEST(without_room_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
