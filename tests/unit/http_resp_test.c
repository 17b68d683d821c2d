/*
 * http_resp: what is hard to see in http_conn_test's table: the Date line, chunk sizes, fields, and
 * the room that producers see.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness/http_rig.h"
#include "harness/test.h"
#include "http/http_resp.h"

#define GET(path) SPAN_LIT("GET " path " HTTP/1.1\r\nHost: a\r\n\r\n")

static struct http_rig h;

static int start(void **state)
{
    (void)state;
    h = (struct http_rig){.rig.loop = NULL};
    http_rig_start(&h);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_rig_stop(&h);
    http_rig_free(&h);
    return 0;
}

/* The pending answer of a request for `path`. */
static struct exchange *pending(struct span request)
{
    http_rig_feed(&h, request);
    struct exchange *x = LIST_FIRST(&h.exchanges);
    assert_non_null(x);
    assert_true(x->is_pending);
    return x;
}

static void wrote(const char *want)
{
    rig_turn(&h.rig);
    check_span("written", scripted_written(&h.peer), span_str(want));
    scripted_forget_written(&h.peer);
}

/* -- Date ---------------------------------------------------------------------------------------
 */

/* Reads the Date of the answer that was written; fails unless its form is exactly IMF-fixdate. */
static time_t date_of_answer(void)
{
    char again[64];
    struct tm utc = {0};
    struct span rest = scripted_written(&h.peer);
    assert_true(span_starts_with(rest, SPAN_LIT("HTTP/1.1 200 OK\r\nDate: ")));
    rest = span_skip(rest, sizeof "HTTP/1.1 200 OK\r\n" - 1);
    assert_int_equal(http_rig_date_len(rest), 37);
    struct span line = span_of(rest.ptr, 37);
    char copy[38];
    memcpy(copy, line.ptr, line.len);
    copy[line.len] = '\0';
    assert_non_null(strptime(copy, "Date: %a, %d %b %Y %H:%M:%S GMT", &utc));
    time_t when = timegm(&utc);
    (void)strftime(again, sizeof again, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&when));
    check_span("date", line, span_str(again)); /* day of the week and zeros as well */
    scripted_forget_written(&h.peer);
    return when;
}

static void the_date_is_now(void **state)
{
    (void)state;
    time_t before = time(NULL);
    http_rig_feed(&h, GET("/text"));
    time_t date = date_of_answer();
    assert_true(date >= before && date <= time(NULL));
}

static void the_date_is_made_once_a_second_of_the_monotonic_clock(void **state)
{
    (void)state;
    http_rig_feed(&h, GET("/text"));
    (void)date_of_answer();
    memcpy(h.server.date, "Date: Sun, 06 Nov 1994", 22); /* a mark */
    rig_pass(&h.rig, 999);
    http_rig_feed(&h, GET("/text"));
    assert_true(date_of_answer() < 800000000);
    rig_pass(&h.rig, 1);
    http_rig_feed(&h, GET("/text"));
    assert_true(date_of_answer() > 800000000);
}

/* -- chunks -------------------------------------------------------------------------------------
 */

static void a_chunk_has_its_size_in_hex(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        const char *size;
    } cases[] = {
        {1, "1"},     {9, "9"},      {10, "a"},      {15, "f"},       {16, "10"},       {255, "ff"},
        {256, "100"}, {4095, "fff"}, {4096, "1000"}, {65535, "ffff"}, {65536, "10000"},
    };
    struct exchange *x = pending(GET("/ticks"));
    scripted_forget_written(&h.peer);
    char *bytes = calloc(1, 65536);
    assert_non_null(bytes);
    for (size_t i = 0; i < N_OF(cases); i++) {
        /* In two pieces, one of them perhaps empty. */
        const struct span pieces[] = {span_of(bytes, cases[i].n / 2),
                                      span_of(bytes, cases[i].n - cases[i].n / 2)};
        http_resp_chunk(x->resp, pieces, 2);
        rig_turn(&h.rig);
        struct span got = scripted_written(&h.peer);
        size_t digits = strlen(cases[i].size);
        CHECK_INT(cases[i].size, got.len, digits + 2 + cases[i].n + 2);
        check_span(cases[i].size, span_of(got.ptr, digits), span_str(cases[i].size));
        check_span(cases[i].size, span_of(got.ptr + digits, 2), SPAN_LIT("\r\n"));
        check_span(cases[i].size, span_of(got.ptr + got.len - 2, 2), SPAN_LIT("\r\n"));
        scripted_forget_written(&h.peer);
    }
    free(bytes);
}

static void an_empty_chunk_sends_nothing(void **state)
{
    (void)state;
    static const struct span nothing[] = {{NULL, 0}, {"", 0}};
    struct exchange *x = pending(GET("/ticks"));
    scripted_forget_written(&h.peer);
    http_resp_chunk(x->resp, nothing, 2);
    http_resp_chunk(x->resp, NULL, 0);
    wrote(""); /* "0" would be the end of the body */
}

/* -- heads --------------------------------------------------------------------------------------
 */

static void fields_come_in_order(void **state)
{
    (void)state;
    struct exchange *x = pending(GET("/later"));
    struct http_resp *resp = x->resp;
    exchange_end(x);
    http_resp_start(resp, 200);
    http_resp_field(resp, SPAN_LIT("X-One"), SPAN_LIT("1"));
    http_resp_fields(resp, SPAN_LIT("X-Two: 2\r\nX-Three: 3\r\n"));
    http_resp_field(resp, SPAN_LIT("X-Empty"), SPAN_NONE);
    http_resp_finish(resp, SPAN_LIT("body"));
    rig_turn(&h.rig);
    struct span got = scripted_written(&h.peer);
    size_t front = sizeof "HTTP/1.1 200 OK\r\n" - 1 + 37;
    check_span("fields", span_skip(got, front),
               SPAN_LIT("X-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nX-Empty: \r\n"
                        "Content-Length: 4\r\n\r\nbody"));
}

static void every_status_has_its_line(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *line;
    } cases[] = {
        {200, "HTTP/1.1 200 OK\r\n"},
        {403, "HTTP/1.1 403 Forbidden\r\n"},
        {404, "HTTP/1.1 404 Not Found\r\n"},
        {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
        {426, "HTTP/1.1 426 Upgrade Required\r\n"},
        {500, "HTTP/1.1 500 Internal Server Error\r\n"},
        {503, "HTTP/1.1 503 Service Unavailable\r\n"},
        {502, "HTTP/1.1 502 \r\n"}, /* one that has no name here */
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        exchange_text(pending(GET("/later")), cases[i].status, SPAN_LIT("x"));
        rig_turn(&h.rig);
        CHECK(cases[i].line, span_starts_with(scripted_written(&h.peer), span_str(cases[i].line)));
        scripted_forget_written(&h.peer);
    }
}

static void the_version_is_told(void **state)
{
    (void)state;
    assert_false(http_resp_is_http10(pending(GET("/later"))->resp));
    http_rig_settle(&h);
    assert_true(http_resp_is_http10(pending(SPAN_LIT("GET /later HTTP/1.0\r\n\r\n"))->resp));
}

/* -- room ---------------------------------------------------------------------------------------
 */

static void a_producer_is_told_of_room(void **state)
{
    (void)state;
    struct exchange *x = pending(GET("/ticks"));
    assert_int_equal(http_resp_room(x->resp), CONN_HIGH_WATER_BYTES);
    char *bytes = calloc(1, CONN_HIGH_WATER_BYTES);
    const struct span piece = span_of(bytes, CONN_HIGH_WATER_BYTES);
    assert_non_null(bytes);
    http_resp_chunk(x->resp, &piece, 1);
    free(bytes);
    assert_int_equal(http_resp_room(x->resp), 0);
    rig_turn(&h.rig);
    assert_string_equal(transcript_text(&h.said), "GET/ticks room ");
    assert_int_equal(http_resp_room(x->resp), CONN_HIGH_WATER_BYTES);
}

/* The room that one answer asked for must not be told to the next. */
static void room_is_told_to_nobody_else(void **state)
{
    (void)state;
    struct exchange *x = pending(GET("/ticks"));
    struct http_resp *resp = x->resp;
    char *bytes = calloc(1, CONN_HIGH_WATER_BYTES);
    const struct span piece = span_of(bytes, CONN_HIGH_WATER_BYTES);
    assert_non_null(bytes);
    h.peer.write_room = 0;
    http_resp_chunk(resp, &piece, 1);
    free(bytes);
    assert_int_equal(http_resp_room(resp), 0);
    exchange_end(x);
    http_resp_end(resp);
    h.peer.write_room = SIZE_MAX;
    conn_poke(h.conn);
    rig_turn(&h.rig);
    assert_string_equal(transcript_text(&h.said), "GET/ticks ");
}

#define ON_CONN(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CONN(the_date_is_now),
        ON_CONN(the_date_is_made_once_a_second_of_the_monotonic_clock),
        ON_CONN(a_chunk_has_its_size_in_hex),
        ON_CONN(an_empty_chunk_sends_nothing),
        ON_CONN(fields_come_in_order),
        ON_CONN(every_status_has_its_line),
        ON_CONN(the_version_is_told),
        ON_CONN(a_producer_is_told_of_room),
        ON_CONN(room_is_told_to_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
