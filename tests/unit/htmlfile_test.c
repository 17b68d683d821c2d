/* htmlfile: the page's head with its callback, frames as scripts that no message can end, and
 * requests without a good callback. */
#include "harness/mount_rig.h"

#define FIELDS                                                                                     \
    "Content-Type: text/html; charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\n"                \
    "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"              \
    "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"
#define PAGE_OF(callback)                                                                          \
    "<!doctype html>\n<html><head>\n"                                                              \
    "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"                              \
    "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"                \
    "</head><body><h2>Don't panic!</h2>\n  <script>\n"                                             \
    "    document.domain = document.domain;\n    var c = parent." callback ";\n"                   \
    "    c.start();\n    function p(d) {c.message(d);};\n"                                         \
    "    window.onload = function() {c.stop();};\n  </script>"
#define REFUSED(length, why)                                                                       \
    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=UTF-8\r\n"            \
    "Content-Length: " length "\r\n\r\n" why

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

/* Takes the head and the page's beginning off what client `i` heard: one chunk of more than 1,024
 * bytes, the page and blanks. */
static struct span after_prelude(int i, const char *page)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n" FIELDS "Transfer-Encoding: chunked\r\n\r\n";
    struct span got = mount_heard(&rig, i);
    assert_true(span_starts_with(got, span_str(head)));
    got = span_skip(got, sizeof head - 1);
    char *end = NULL;
    size_t size = strtoul(got.ptr, &end, 16);
    assert_true(size > 1024);
    got = span_skip(got, (size_t)(end - got.ptr) + 2);
    assert_true(span_starts_with(got, span_str(page)));
    for (size_t k = strlen(page); k < size; k++) {
        assert_non_null(strchr(" \r\n", got.ptr[k]));
    }
    got = span_skip(got, size);
    assert_true(span_starts_with(got, SPAN_LIT("\r\n")));
    return span_skip(got, 2);
}

static void open_page(void)
{
    mount_get(&rig, 0, "/0/sid/htmlfile?c=%63allback");
    check_span("hello", after_prelude(0, PAGE_OF("callback")),
               SPAN_LIT("1c\r\n<script>\np(\"o\");\n</script>\r\n\r\n"));
}

static void every_frame_is_a_script(void **state)
{
    (void)state;
    open_page();
    mount_send(&rig, 0, "x");
    rig_turn(&rig.rig);
    HEARD(0, "23\r\n<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n\r\n");
    rig_pass(&rig.rig, MOUNT_HEARTBEAT_MS);
    HEARD(0, "1c\r\n<script>\np(\"h\");\n</script>\r\n\r\n");
    session_close(rig.sessions[0], 3000, SPAN_LIT("</script>"));
    rig_turn(&rig.rig);
    HEARD(0, "35\r\n<script>\np(\"c[3000,\\\"\\u003c/script>\\\"]\");\n</script>\r\n\r\n0\r\n\r\n");
}

static void no_message_ends_its_script(void **state)
{
    (void)state;
    open_page();
    mount_send(&rig, 0, "</script><script>alert(1)</script><!--");
    rig_turn(&rig.rig);
    struct span got = mount_heard(&rig, 0);
    const char *first = strchr(got.ptr, '<'); /* the script's own beginning and end only */
    assert_non_null(first);
    const char *last = strchr(first + 1, '<');
    assert_non_null(last);
    assert_true(strncmp(last, "</script>\r\n\r\n", 13) == 0 && strchr(last + 1, '<') == NULL);
}

static void the_longest_callback(void **state)
{
    (void)state;
    mount_get(&rig, 0, "/0/sid/htmlfile?callback=abcdefghijklmnopqrstuvwxyz012345");
    (void)after_prelude(0, PAGE_OF("abcdefghijklmnopqrstuvwxyz012345"));
}

static void the_shortest_callback_has_1024_bytes_too(void **state)
{
    (void)state;
    mount_get(&rig, 0, "/0/sid/htmlfile?c=a");
    (void)after_prelude(0, PAGE_OF("a"));
}

/* The hello is 28 bytes, a frame of n times `<` 34 and 6 n. */
static void escapes_count_for_the_limit(void **state)
{
    (void)state;
    for (size_t less = 0; less <= 1; less++) {
        mount_stop(&rig);
        mount_start(&rig);
        rig.transports[SOCKJS_HTMLFILE].response_limit_bytes = 28 + 34 + 6 * 4 + less;
        open_page();
        mount_send(&rig, 0, "<<<<");
        rig_turn(&rig.rig);
        struct span got = mount_heard(&rig, 0);
        assert_true(got.len > 7);
        bool has_end = memcmp(got.ptr + got.len - 7, "\r\n0\r\n\r\n", 7) == 0;
        assert_int_equal(has_end, less == 0);
    }
}

static void without_a_good_callback_there_is_no_session(void **state)
{
    (void)state;
    mount_get(&rig, 0, "/0/sid/htmlfile");
    HEARD(0, REFUSED("29", "\"callback\" parameter required"));
    mount_get(&rig, 0, "/0/sid/htmlfile?c=");
    HEARD(0, REFUSED("29", "\"callback\" parameter required"));
    mount_get(&rig, 0, "/0/sid/htmlfile?c=%3Cscript%3E");
    HEARD(0, REFUSED("28", "invalid \"callback\" parameter"));
    assert_int_equal(rig.n_sessions, 0);
}

static void http_1_0_has_no_chunks(void **state)
{
    (void)state;
    mount_say(&rig, 0, SPAN_LIT("GET /echo/0/sid/htmlfile?c=x HTTP/1.0\r\n\r\n"));
    static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n" FIELDS "\r\n";
    static const char tail[] = " \r\n\r\n<script>\np(\"o\");\n</script>\r\n";
    struct span got = mount_heard(&rig, 0);
    assert_true(span_starts_with(got, span_str(head)));
    assert_true(span_starts_with(span_skip(got, sizeof head - 1), SPAN_LIT(PAGE_OF("x"))));
    assert_string_equal(got.ptr + got.len - (sizeof tail - 1), tail);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_frame_is_a_script),     TEST(no_message_ends_its_script),
        TEST(the_longest_callback),        TEST(the_shortest_callback_has_1024_bytes_too),
        TEST(escapes_count_for_the_limit), TEST(without_a_good_callback_there_is_no_session),
        TEST(http_1_0_has_no_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
