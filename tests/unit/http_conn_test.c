/*
 * http_conn: whole connections over a scripted peer (harness/http_rig.h has the handler). A table
 * of request bytes and answer bytes, each row fed whole, byte by byte and at every split; then
 * deadlines, ends, and peers that send or read too much or too little.
 */
#include "harness/http_rig.h"
#include "harness/test.h"
#include "http/http_conn.h"

#define TYPE             "Content-Type: text/plain; charset=UTF-8\r\n"
#define LENGTH(n)        "Content-Length: " n "\r\n\r\n"
#define TEXT(status, n)  "HTTP/1.1 " status "\r\n" TYPE LENGTH(n)
#define LAST(status, n)  "HTTP/1.1 " status "\r\nConnection: close\r\n" TYPE LENGTH(n)
#define HELLO            TEXT("200 OK", "6") "hello\n"
#define LATER            TEXT("200 OK", "6") "later\n"
#define NOTHING          TEXT("404 Not Found", "8") "nothing\n"
#define FINISH(n)        "HTTP/1.1 200 OK\r\n" LENGTH(n)
#define REFUSED(status)  LAST(status, "*") "*"
#define CHUNKED          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define STREAMED         "5\r\n<one>\r\nf\r\n<fifteen bytes>\r\n0\r\n\r\n"
#define GET(path)        "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, more) "POST " path " HTTP/1.1\r\nHost: a\r\n" more "\r\n"
#define CONTINUE         "HTTP/1.1 100 Continue\r\n\r\n"
#define AWAITS           "Expect: 100-continue\r\n"
#define OF(n)            "Content-Length: " n "\r\n"
#define IN_CHUNKS        "Transfer-Encoding: chunked\r\n"

struct row {
    const char *name;
    const char *sent;
    const char *want; /* answers without Date, |what the handler heard|open, fin or dead; * = any */
};

static const struct row rows[] = {
    /* answers */
    {"text", GET("/text"), HELLO "|GET/text |open"},
    {"empty", GET("/empty"), FINISH("0") "|GET/empty |open"},
    {"pieces", GET("/pieces"), FINISH("3") "abc|GET/pieces |open"},
    {"204 has no length", GET("/204") GET("/text"),
     "HTTP/1.1 204 No Content\r\n\r\n" HELLO "|GET/204 GET/text |open"},
    {"304 has no length", GET("/304"), "HTTP/1.1 304 Not Modified\r\n\r\n|GET/304 |open"},
    {"a status without a reason", GET("/429"), "HTTP/1.1 429 \r\n" LENGTH("0") "|GET/429 |open"},
    {"unknown path", GET("/x"), NOTHING "|GET/x |open"},
    {"HEAD has the length and no body", "HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n" GET("/text"),
     TEXT("200 OK", "6") HELLO "|HEAD/text GET/text |open"},
    {"HEAD of 204", "HEAD /204 HTTP/1.1\r\nHost: a\r\n\r\n",
     "HTTP/1.1 204 No Content\r\n\r\n|HEAD/204 |open"},
    {"stream", GET("/stream") GET("/text"), CHUNKED STREAMED HELLO "|GET/stream GET/text |open"},
    {"stream for HTTP/1.0 ends with the connection", "GET /stream HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<one><fifteen bytes>|GET/stream |fin"},
    {"also if it asked for more", "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<one><fifteen bytes>|GET/stream |fin"},
    {"HEAD of a stream has no chunk, not the last one either",
     "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" GET("/text"),
     CHUNKED HELLO "|HEAD/stream GET/text |open"},
    {"HEAD of a stream by HTTP/1.0", "HEAD /stream HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n|HEAD/stream |fin"},
    {"ticks", GET("/ticks") GET("/text"),
     CHUNKED "6\r\n<tick>\r\n6\r\n<tick>\r\n0\r\n\r\n" HELLO "|GET/ticks GET/text |open"},
    {"abort", GET("/abort") GET("/text"), "|GET/abort |dead"},

    /* keep-alive and close */
    {"1.0 closes", "GET /text HTTP/1.0\r\n\r\n" GET("/text"),
     LAST("200 OK", "6") "hello\n|GET/text |fin"},
    {"1.0 stays when asked to",
     "GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /204 HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200 OK\r\n" TYPE "Connection: keep-alive\r\n" LENGTH(
         "6") "hello\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n|GET/text GET/204 |fin"},
    {"1.1 closes when asked to",
     "GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/text"),
     LAST("200 OK", "6") "hello\n|GET/text |fin"},
    {"the handler closes", GET("/close") GET("/text"), LAST("200 OK", "4") "bye\n|GET/close |fin"},
    {"an empty line between requests", GET("/text") "\r\n" GET("/text"),
     HELLO HELLO "|GET/text GET/text |open"},
    {"half a request", "GET /text HT", "||open"},

    /* pipelining */
    {"three in a row", GET("/text") GET("/204") GET("/stream"),
     HELLO "HTTP/1.1 204 No Content\r\n\r\n" CHUNKED STREAMED "|GET/text GET/204 GET/stream |open"},
    {"in order behind a pending one", GET("/text") GET("/later") GET("/text") GET("/later"),
     HELLO LATER HELLO LATER "|GET/text GET/later GET/text GET/later |open"},
    {"a close while more waits",
     "GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/text"),
     LAST("200 OK", "6") "later\n|GET/later |fin"},
    {"bodies in between", POST("/body", OF("3")) "one" GET("/later") POST("/body", OF("3")) "two",
     FINISH("3") "one" LATER FINISH(
         "3") "two|POST/body body(one) GET/later POST/body body(two) |open"},

    /* bodies */
    {"by length", POST("/body", OF("5")) "hello", FINISH("5") "hello|POST/body body(hello) |open"},
    {"of length 0", POST("/body", OF("0")), FINISH("0") "|POST/body body() |open"},
    {"none", POST("/body", ""), FINISH("0") "|POST/body body() |open"},
    {"at the limit", POST("/body", OF("16")) "0123456789abcdef",
     FINISH("16") "0123456789abcdef|POST/body body(0123456789abcdef) |open"},
    {"over the limit", POST("/body", OF("17")) "0123456789abcdefg",
     REFUSED("413 Content Too Large") "|POST/body void(gone) |fin"},
    {"far over the limit", POST("/body", OF("9223372036854775807")),
     REFUSED("413 Content Too Large") "|POST/body void(gone) |fin"},
    {"in chunks",
     POST("/body", IN_CHUNKS) "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: x\r\n\r\n" GET("/text"),
     FINISH("5") "hello" HELLO "|POST/body body(hello) GET/text |open"},
    {"in no chunks", POST("/body", IN_CHUNKS) "0\r\n\r\n", FINISH("0") "|POST/body body() |open"},
    {"chunks at the limit", POST("/body", IN_CHUNKS) "8\r\n01234567\r\n8\r\n89abcdef\r\n0\r\n\r\n",
     FINISH("16") "0123456789abcdef|POST/body body(0123456789abcdef) |open"},
    {"chunks over the limit",
     POST("/body", IN_CHUNKS) "8\r\n01234567\r\n9\r\n89abcdefg\r\n0\r\n\r\n",
     REFUSED("413 Content Too Large") "|POST/body void(gone) |fin"},
    {"a chunk that is none", POST("/body", IN_CHUNKS) "2\r\nhe\r\nx\r\n" GET("/text"),
     REFUSED("400 Bad Request") "|POST/body void(gone) |fin"},
    {"the same with a watch", POST("/body-watch", IN_CHUNKS) "x",
     REFUSED("400 Bad Request") "|POST/body-watch void(gone) |fin"},
    {"a body, then a pending answer", POST("/body-later", OF("2")) "hi" GET("/text"),
     LATER HELLO "|POST/body-later body(hi) GET/text |open"},
    {"answered before the body is whole", POST("/body-later", OF("5")) "hel",
     LATER "|POST/body-later |open"},
    {"answered without waiting for the body", POST("/early", OF("5")) "hello" GET("/text"),
     FINISH("5") "early" HELLO "|POST/early GET/text |open"},
    {"the same in chunks", POST("/early", IN_CHUNKS) "5\r\nhello\r\n0\r\n\r\n" GET("/text"),
     FINISH("5") "early" HELLO "|POST/early GET/text |open"},
    {"early, but there is no body", POST("/early", "") GET("/text"),
     FINISH("0") HELLO "|POST/early body() GET/text |open"},
    {"early, but the body is refused", POST("/early", OF("17")),
     REFUSED("413 Content Too Large") "|POST/early void(gone) |fin"},
    {"answered, and then the body is malformed", POST("/early", IN_CHUNKS) "x" GET("/text"),
     FINISH("5") "early|POST/early |fin"},

    /* Expect: 100-continue */
    {"continue", POST("/body", AWAITS OF("2")) "hi" GET("/text"),
     CONTINUE FINISH("2") "hi" HELLO "|POST/body body(hi) GET/text |open"},
    {"continue in chunks", POST("/body", AWAITS IN_CHUNKS) "2\r\nhi\r\n0\r\n\r\n",
     CONTINUE FINISH("2") "hi|POST/body body(hi) |open"},
    {"nothing to continue with", POST("/body", AWAITS OF("0")),
     FINISH("0") "|POST/body body() |open"},
    {"a body that we will not read is not asked for", POST("/body", AWAITS OF("17")),
     REFUSED("413 Content Too Large") "|POST/body void(gone) |fin"},
    {"not asked for, and it may come or not", POST("/x", AWAITS OF("2")) "hi" GET("/text"),
     LAST("404 Not Found", "8") "nothing\n|POST/x |fin"},
    {"the same when the answer comes later", POST("/later", AWAITS OF("2")) "hi" GET("/text"),
     LAST("200 OK", "6") "later\n|POST/later |fin"},
    {"early, with the body under way", POST("/early", AWAITS OF("2")) "hi" GET("/text"),
     CONTINUE FINISH("5") "early" HELLO "|POST/early GET/text |open"},
    {"HTTP/1.0 knows no 100", "POST /body HTTP/1.0\r\n" AWAITS OF("2") "\r\nhi",
     "HTTP/1.1 200 OK\r\nConnection: close\r\n" LENGTH("2") "hi|POST/body body(hi) |fin"},

    /* bodies that nobody reads */
    {"read over behind 404", POST("/x", OF("5")) "hello" GET("/text"),
     NOTHING HELLO "|POST/x GET/text |open"},
    {"read over in chunks", POST("/x", IN_CHUNKS) "5\r\nhello\r\n0\r\n\r\n" GET("/text"),
     NOTHING HELLO "|POST/x GET/text |open"},
    {"read over behind a pending answer", POST("/later", OF("5")) "hello" GET("/text"),
     LATER HELLO "|POST/later GET/text |open"},
    {"read over, malformed: no second answer", POST("/x", IN_CHUNKS) "5\r\nhelloX" GET("/text"),
     NOTHING "|POST/x |fin"},
    {"malformed behind a pending answer", POST("/later", IN_CHUNKS) "X" GET("/text"),
     REFUSED("400 Bad Request") "|POST/later gone |fin"},
    {"malformed behind a stream", POST("/ticks", IN_CHUNKS) "X" GET("/text"),
     CHUNKED "|POST/ticks gone |fin"},

    /* malformed heads: exactly one answer, and the end */
    {"no head at all", "\x16\x03\x01\x02", REFUSED("400 Bad Request") "||fin"},
    {"two words", "GET /text\r\n\r\n" GET("/text"), REFUSED("400 Bad Request") "||fin"},
    {"no Host", "GET /text HTTP/1.1\r\n\r\n" GET("/text"), REFUSED("400 Bad Request") "||fin"},
    {"bare LF", "GET /text HTTP/1.1\nHost: a\n\n", REFUSED("400 Bad Request") "||fin"},
    {"a bad target", "GET text HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED("400 Bad Request") "||fin"},
    {"a bad target of HEAD", "HEAD text HTTP/1.1\r\nHost: a\r\n\r\n",
     REFUSED("400 Bad Request") "||fin"},
    {"smuggling", POST("/body", OF("5") IN_CHUNKS) "0\r\n\r\n" GET("/text"),
     REFUSED("400 Bad Request") "||fin"},
    {"other coding", POST("/body", "Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n",
     REFUSED("501 Not Implemented") "||fin"},
    {"other version", "GET /text HTTP/2.0\r\nHost: a\r\n\r\n",
     REFUSED("505 HTTP Version Not Supported") "||fin"},
    {"other expectation", POST("/body", "Expect: more\r\n" OF("5")) "hello",
     REFUSED("417 Expectation Failed") "||fin"},
    {"malformed behind a good one", GET("/text") "GET\r\n" GET("/text"),
     HELLO REFUSED("400 Bad Request") "|GET/text |fin"},
    {"malformed behind HEAD", "HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n",
     TEXT("200 OK", "6") REFUSED("400 Bad Request") "|HEAD/text |fin"},
    {"malformed behind a pending one", GET("/later") " ",
     LATER REFUSED("400 Bad Request") "|GET/later |fin"},

    /* upgrades */
    {"upgrade", GET("/up"),
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n|GET/up |open"},
    {"upgrade with bytes behind it", GET("/up") "left over",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nLEFT OVER|GET/up |open"},
    {"upgrade later", GET("/up-later") "left over",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nLEFT OVER|GET/up-later |open"},
    {"upgrade behind others", GET("/later") GET("/up") GET("/text"),
     LATER "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nGET /TEXT HTTP/1.1\r\nHOST: "
           "A\r\n\r\n|GET/later GET/up |open"},
};

/* Whether `text` is `pattern`, in which each * stands for any bytes. */
static bool matches(const char *text, const char *pattern)
{
    while (*pattern != '\0' && *pattern != '*') {
        if (*text++ != *pattern++) {
            return false;
        }
    }
    if (*pattern == '\0') {
        return *text == '\0';
    }
    for (; *text != '\0'; text++) {
        if (matches(text, pattern + 1)) {
            return true;
        }
    }
    return matches(text, pattern + 1);
}

/* A * must not hide a second answer. */
static unsigned count_answers(const char *text)
{
    unsigned n = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")) != NULL; text++) {
        n += text[9] >= '1' && text[9] <= '5';
    }
    return n;
}

static void rows_hold_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(rows); i++) {
        struct http_rig h = {.rig.loop = NULL};
        struct feed feeder = http_rig_feeder(&h);
        char *got = feed_every_way(&feeder, span_str(rows[i].sent));
        CHECK(rows[i].name, got != NULL);
        if (!matches(got, rows[i].want)) {
            print_error("case \"%s\":\n got  %s\n want %s\n", rows[i].name, got, rows[i].want);
            fail();
        }
        CHECK_INT(rows[i].name, count_answers(got), count_answers(rows[i].want));
        free(got);
        http_rig_stop(&h);
        http_rig_free(&h);
    }
}

/* Only the first bytes of a connection are a preface's request, and only exactly these. */
static void a_preface_is_answered_however_it_is_cut(void **state)
{
    (void)state;
    static const struct http_preface preface = {SPAN_LIT_INIT("<ask/>\0"), SPAN_LIT_INIT("told")};
    static const struct {
        const char *name;
        struct span sent;
        const char *want;
    } cases[] = {
        {"asked", SPAN_LIT_INIT("<ask/>\0"), "told||fin"},
        {"what follows is dropped", SPAN_LIT_INIT("<ask/>\0" GET("/text")), "told||fin"},
        {"not the byte at its end", SPAN_LIT_INIT("<ask/>x"), REFUSED("400 Bad Request") "||fin"},
        {"a line's end there", SPAN_LIT_INIT("<ask/>\r\n"), REFUSED("400 Bad Request") "||fin"},
        {"another name", SPAN_LIT_INIT("<asks/>\0"), REFUSED("400 Bad Request") "||fin"},
        {"another case", SPAN_LIT_INIT("<ASK/>\0"), REFUSED("400 Bad Request") "||fin"},
        {"a blank before it", SPAN_LIT_INIT(" <ask/>\0"), REFUSED("400 Bad Request") "||fin"},
        {"an empty line before it", SPAN_LIT_INIT("\r\n<ask/>\0"),
         REFUSED("400 Bad Request") "||fin"},
        {"not whole", SPAN_LIT_INIT("<ask/>"), "||open"},
        {"a request", SPAN_LIT_INIT(GET("/text")), HELLO "|GET/text |open"},
        {"behind a request", SPAN_LIT_INIT(GET("/text") "<ask/>\0"),
         HELLO REFUSED("400 Bad Request") "|GET/text |fin"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct http_rig h = {.preface = &preface};
        struct feed feeder = http_rig_feeder(&h);
        char *got = feed_every_way(&feeder, cases[i].sent);
        CHECK(cases[i].name, got != NULL);
        if (!matches(got, cases[i].want)) {
            print_error("case \"%s\":\n got  %s\n want %s\n", cases[i].name, got, cases[i].want);
            fail();
        }
        free(got);
        http_rig_stop(&h);
        http_rig_free(&h);
    }
}

/* -- one connection at a time -------------------------------------------------------------------
 */

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

static void feed(const char *bytes)
{
    http_rig_feed(&h, span_str(bytes));
}

/* `n` times the same byte, in pieces. */
static void feed_many(char c, size_t n)
{
    char piece[4096];
    memset(piece, c, sizeof piece);
    for (size_t at = 0; at < n; at += sizeof piece) {
        size_t len = n - at < sizeof piece ? n - at : sizeof piece;
        http_rig_feed(&h, span_of(piece, len));
    }
}

static void is_now(const char *want)
{
    const char *got = http_rig_text(&h);
    if (!matches(got, want) || count_answers(got) != count_answers(want)) {
        print_error("got  %s\nwant %s\n", got, want);
        fail();
    }
}

static void pass(uint64_t ms)
{
    rig_pass(&h.rig, ms);
}

static void end_of_input(void)
{
    scripted_feed_eof(&h.peer);
    conn_poke(h.conn);
    rig_turn(&h.rig);
}

static void reset_of_connection(void)
{
    scripted_feed_error(&h.peer);
    conn_poke(h.conn);
    rig_turn(&h.rig);
}

/* -- deadlines ----------------------------------------------------------------------------------
 */

static void a_silent_peer_is_closed_without_a_word(void **state)
{
    (void)state;
    pass(HTTP_RIG_HEAD_MS - 1);
    is_now("||open");
    pass(1);
    is_now("||fin");
}

static void a_slow_head_gets_408_however_it_drips(void **state)
{
    (void)state;
    pass(HTTP_RIG_HEAD_MS - 1); /* the first byte has a deadline of its own */
    feed("G");
    for (int i = 0; i < 9; i++) {
        pass(HTTP_RIG_HEAD_MS / 10);
        feed("E");
    }
    pass(HTTP_RIG_HEAD_MS / 10 - 1);
    is_now("||open");
    pass(1);
    is_now(REFUSED("408 Request Timeout") "||fin");
}

static void a_head_in_time_is_served(void **state)
{
    (void)state;
    feed("GET /text HTTP/1.1\r\nHost: a\r\n\r");
    pass(HTTP_RIG_HEAD_MS - 1);
    feed("\n");
    pass(HTTP_RIG_HEAD_MS); /* it does not go on behind the head */
    is_now(HELLO "|GET/text |open");
}

static void a_slow_head_behind_a_head_request_gets_a_whole_408(void **state)
{
    (void)state;
    feed("HEAD /text HTTP/1.1\r\nHost: a\r\n\r\nGET");
    scripted_forget_written(&h.peer);
    pass(HTTP_RIG_HEAD_MS);
    is_now(LAST("408 Request Timeout", "34") "The request head came too slowly.\n|HEAD/text |fin");
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    feed(GET("/text"));
    pass(HTTP_RIG_IDLE_MS - 1);
    is_now(HELLO "|GET/text |open");
    feed(GET("/text")); /* and each request starts it anew */
    pass(HTTP_RIG_IDLE_MS - 1);
    is_now(HELLO HELLO "|GET/text GET/text |open");
    pass(1);
    is_now(HELLO HELLO "|GET/text GET/text |fin");
}

static void an_empty_line_alone_leaves_it_idle(void **state)
{
    (void)state;
    static const char *const lines[] = {"\r\n", "\r"};
    for (size_t i = 0; i < N_OF(lines); i++) {
        feed(lines[i]);
        pass(HTTP_RIG_HEAD_MS - 1);
        is_now("||open");
        pass(1);
        is_now("||fin");
        assert_int_equal(stop(state), 0);
        assert_int_equal(start(state), 0);
        feed(GET("/text"));
        pass(HTTP_RIG_IDLE_MS - HTTP_RIG_HEAD_MS);
        feed(lines[i]); /* moves nothing */
        pass(HTTP_RIG_HEAD_MS - 1);
        is_now(HELLO "|GET/text |open");
        pass(1);
        is_now(HELLO "|GET/text |fin");
        assert_int_equal(stop(state), 0);
        assert_int_equal(start(state), 0);
    }
}

static void behind_an_empty_line_a_head_has_its_own_time(void **state)
{
    (void)state;
    feed("\r\n");
    pass(HTTP_RIG_HEAD_MS - 1);
    feed("G");
    pass(HTTP_RIG_HEAD_MS - 1);
    is_now("||open");
    pass(1);
    is_now(REFUSED("408 Request Timeout") "||fin");
}

static void half_a_preface_has_the_deadline_of_a_head(void **state)
{
    (void)state;
    static const struct http_preface preface = {SPAN_LIT_INIT("<ask/>\0"), SPAN_LIT_INIT("told")};
    assert_int_equal(stop(state), 0);
    h = (struct http_rig){.preface = &preface};
    http_rig_start(&h);
    feed("<");
    pass(HTTP_RIG_HEAD_MS / 2);
    feed("ask");
    pass(HTTP_RIG_HEAD_MS / 2 - 1);
    is_now("||open");
    pass(1);
    is_now(REFUSED("408 Request Timeout") "||fin");
}

static void a_pending_answer_has_no_deadline_here(void **state)
{
    (void)state;
    feed(GET("/later"));
    pass(10 * HTTP_RIG_IDLE_MS);
    is_now("|GET/later |open");
    http_rig_settle(&h);
    is_now(LATER "|GET/later |open");
}

static void a_slow_body_gets_408(void **state)
{
    (void)state;
    feed(POST("/body", OF("9")) "12345678");
    /* 8 bytes have earned 1 ms (1.95 rounded down). */
    pass(HTTP_RIG_BODY_MS);
    is_now("|POST/body |open");
    pass(1);
    is_now(REFUSED("408 Request Timeout") "|POST/body void(gone) |fin");
}

static void a_body_in_time_is_taken(void **state)
{
    (void)state;
    feed(POST("/body", OF("2")) "1");
    pass(HTTP_RIG_BODY_MS - 1);
    feed("2");
    is_now(FINISH("2") "12|POST/body body(12) |open");
    pass(HTTP_RIG_BODY_MS);
    is_now(FINISH("2") "12|POST/body body(12) |open");
}

static void bytes_earn_time_at_the_least_rate(void **state)
{
    (void)state;
    feed(POST("/x", OF("100000")));
    feed_many('x', 2 * HTTP_RIG_MIN_RATE);
    pass(HTTP_RIG_BODY_MS + 2000 - 1);
    is_now(NOTHING "|POST/x |open");
    pass(1);
    is_now(NOTHING "|POST/x |fin"); /* it was answered: no second answer */
}

/* 120 bytes on the wire with 20 of content: 4 ms, not 29. */
static void the_framing_of_tiny_chunks_earns_no_time(void **state)
{
    (void)state;
    feed(POST("/x", IN_CHUNKS));
    for (int i = 0; i < 20; i++) {
        feed("1\r\nx\r\n");
    }
    pass(HTTP_RIG_BODY_MS + 3);
    is_now(NOTHING "|POST/x |open");
    pass(1);
    is_now(NOTHING "|POST/x |fin");
}

static void a_slow_body_behind_a_pending_answer(void **state)
{
    (void)state;
    feed(POST("/later", OF("5")) "12");
    pass(HTTP_RIG_BODY_MS);
    is_now(REFUSED("408 Request Timeout") "|POST/later gone |fin");
    assert_true(LIST_EMPTY(&h.exchanges));
}

static void a_slow_body_behind_a_stream(void **state)
{
    (void)state;
    feed(POST("/ticks", OF("5")) "12");
    http_rig_settle_one(&h);
    pass(HTTP_RIG_BODY_MS);
    is_now(CHUNKED "6\r\n<tick>\r\n|POST/ticks gone |fin"); /* cut: no last chunk */
    assert_true(LIST_EMPTY(&h.exchanges));
}

/* -- the peer goes ------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    const char *sent;
    const char *said;
} goings[] = {
    {"before the first byte", "", ""},
    {"inside a head", "GET /", ""},
    {"between requests", GET("/text"), "GET/text "},
    {"an answer is pending", GET("/later"), "GET/later gone "},
    {"an answer is pending, more is pipelined", GET("/later") GET("/text"), "GET/later gone "},
    {"a stream goes on", GET("/ticks"), "GET/ticks gone "},
    {"a body is awaited", POST("/body", OF("5")) "he", "POST/body void(gone) "},
    {"a body is awaited by one who watches", POST("/body-watch", OF("5")) "he",
     "POST/body-watch void(gone) "},
    {"a body was read, the answer is pending", POST("/body-later", OF("2")) "hi",
     "POST/body-later body(hi) gone "},
    {"a body is read over, the answer is pending", POST("/later", OF("5")) "he",
     "POST/later gone "},
    {"a body is read over, the answer is out", POST("/x", OF("5")) "he", "POST/x "},
    {"upgraded", GET("/up"), "GET/up gone "},
};

static void whoever_waits_hears_once_that_the_peer_went(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(goings); i++) {
        for (int how = 0; how < 3; how++) {
            assert_int_equal(start(state), 0);
            feed(goings[i].sent);
            if (how == 0) {
                end_of_input();
            } else if (how == 1) {
                reset_of_connection();
            } else {
                conn_end_all(h.rig.loop);
                rig_turn(&h.rig);
            }
            check_span(goings[i].name, span_str(transcript_text(&h.said)),
                       span_str(goings[i].said));
            CHECK(goings[i].name, LIST_EMPTY(&h.exchanges));
            CHECK(goings[i].name, h.peer.n_closes == 1);
            assert_int_equal(stop(state), 0);
        }
    }
}

static void answers_leave_before_the_end_that_the_peer_has_sent(void **state)
{
    (void)state;
    h.peer.write_room = 0;
    feed(GET("/text") GET("/text"));
    end_of_input();
    is_now("|GET/text GET/text |open");
    h.peer.write_room = SIZE_MAX;
    conn_poke(h.conn);
    is_now(HELLO HELLO "|GET/text GET/text |fin");
    rig_turn(&h.rig);
}

static void a_peer_that_reads_nothing_is_a_peer_that_has_gone(void **state)
{
    (void)state;
    h.peer.write_room = 0;
    feed(GET("/ticks"));
    pass(SCRIPTED_WRITE_TIMEOUT_MS);
    is_now("|GET/ticks gone |dead");
}

/* -- too much -----------------------------------------------------------------------------------
 */

static void a_head_may_have_its_limit_and_no_byte_more(void **state)
{
    (void)state;
    static const char front[] = "GET /text HTTP/1.1\r\nHost: a\r\nX: ";
    for (size_t more = 0; more < 2; more++) {
        assert_int_equal(start(state), 0);
        feed(front);
        feed_many('x', 16384 - (sizeof front - 1) - 4 + more);
        feed("\r\n\r\n");
        is_now(more == 0 ? HELLO "|GET/text |open"
                         : REFUSED("431 Request Header Fields Too Large") "||fin");
        assert_int_equal(stop(state), 0);
    }
}

static void a_body_that_nobody_wants_is_read_over_up_to_its_limit(void **state)
{
    (void)state;
    feed(POST("/x", OF("2097152")));
    feed_many('x', HTTP_DRAIN_BODY_BYTES);
    feed(GET("/text"));
    is_now(NOTHING HELLO "|POST/x GET/text |open");
}

static void one_byte_more_closes(void **state)
{
    (void)state;
    feed(POST("/x", OF("2097153")));
    is_now(LAST("404 Not Found", "8") "nothing\n|POST/x |fin");
}

static void chunks_that_nobody_wants_are_read_over_up_to_the_same_limit(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        assert_int_equal(start(state), 0);
        feed(POST("/x", IN_CHUNKS) "200000\r\n");
        feed_many('x', HTTP_DRAIN_BODY_BYTES);
        feed(more == 0 ? "\r\n0\r\n\r\n" GET("/text") : "\r\n1\r\nx\r\n0\r\n\r\n" GET("/text"));
        is_now(more == 0 ? NOTHING HELLO "|POST/x GET/text |open" : NOTHING "|POST/x |fin");
        assert_int_equal(stop(state), 0);
    }
}

/* Requests of 32 bytes each, so that a limit is met exactly. */
#define REQUEST_32 "GET /204 HTTP/1.1\r\nHost: abc\r\n\r\n"

static void feed_requests(size_t n)
{
    assert_int_equal(sizeof REQUEST_32 - 1, 32);
    for (size_t i = 0; i < n; i++) {
        scripted_feed(&h.peer, SPAN_LIT(REQUEST_32));
    }
    http_rig_run(&h);
}

static unsigned answers(void)
{
    return count_answers(http_rig_text(&h));
}

static void reading_pauses_when_too_much_is_pipelined(void **state)
{
    (void)state;
    size_t n_fit = HTTP_PIPELINE_BYTES / 32;
    feed(GET("/later"));
    feed_requests(n_fit);
    assert_true(scripted_is_read_out(&h.peer));
    unsigned n_reads = h.peer.n_reads;
    conn_poke(h.conn);
    assert_int_equal(h.peer.n_reads, n_reads + 1); /* at the limit it still reads */
    feed_requests(1);
    assert_true(scripted_is_read_out(&h.peer)); /* that is one too many */
    n_reads = h.peer.n_reads;
    feed_requests(1);
    assert_int_equal(h.peer.n_reads, n_reads);
    assert_false(scripted_is_read_out(&h.peer));
    http_rig_settle(&h);
    assert_int_equal(answers(), 1 + n_fit + 2); /* and all of it goes on */
    assert_true(matches(http_rig_text(&h), LATER "*|open"));
}

static void feed_bigs(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        scripted_feed(&h.peer, SPAN_LIT(GET("/big")));
    }
    http_rig_run(&h);
}

static void answers_that_nobody_reads_do_not_pile_up(void **state)
{
    (void)state;
    h.peer.write_room = 0;
    feed(GET("/big") GET("/big") GET("/big"));
    assert_in_range(buf_len(conn_out(h.conn)), HTTP_RIG_BIG_BYTES, HTTP_RIG_BIG_BYTES + 1000);
    feed_bigs(5);
    assert_in_range(buf_len(conn_out(h.conn)), HTTP_RIG_BIG_BYTES, HTTP_RIG_BIG_BYTES + 1000);
    unsigned n_reads = h.peer.n_reads;
    conn_poke(h.conn);
    assert_int_equal(h.peer.n_reads, n_reads); /* nor is more read */
    h.peer.write_room = SIZE_MAX;
    http_rig_run(&h);
    http_rig_run(&h);
    assert_int_equal(answers(), 8);
    /* Between them as ever: the idle deadline. */
    pass(HTTP_RIG_IDLE_MS - 1);
    assert_int_equal(h.peer.n_shutdowns, 0);
    pass(1);
    assert_int_equal(h.peer.n_shutdowns, 1);
}

static void small_answers_that_nobody_reads_stop_at_the_high_water_mark(void **state)
{
    (void)state;
    h.peer.write_room = 0;
    feed_requests(4096);
    assert_in_range(buf_len(conn_out(h.conn)), CONN_HIGH_WATER_BYTES, CONN_HIGH_WATER_BYTES + 1000);
    h.peer.write_room = SIZE_MAX;
    for (int i = 0; i < 20; i++) {
        http_rig_run(&h);
    }
    assert_int_equal(answers(), 4096);
}

static void a_slow_reader_is_not_an_idle_peer(void **state)
{
    (void)state;
    h.peer.write_room = 0;
    feed(GET("/big") GET("/text"));
    /* It keeps just above the least rate, so it takes longer than a connection may idle. */
    for (uint64_t ms = 0; ms <= HTTP_RIG_IDLE_MS; ms += SCRIPTED_WRITE_TIMEOUT_MS) {
        h.peer.write_room = CONN_MIN_RATE_BYTES_PER_S * SCRIPTED_WRITE_TIMEOUT_MS / 1000;
        conn_poke(h.conn);
        pass(SCRIPTED_WRITE_TIMEOUT_MS);
    }
    assert_int_equal(h.peer.n_shutdowns, 0);
    h.peer.write_room = SIZE_MAX;
    http_rig_run(&h);
    http_rig_run(&h);
    assert_int_equal(answers(), 2);
}

static void an_upgrade_takes_over_a_paused_connection(void **state)
{
    (void)state;
    feed(GET("/up-later"));
    feed_many('x', HTTP_PIPELINE_BYTES + 1);
    scripted_feed(&h.peer, SPAN_LIT("end"));
    conn_poke(h.conn);
    assert_false(scripted_is_read_out(&h.peer));
    scripted_forget_written(&h.peer);
    http_rig_settle(&h);
    http_rig_run(&h);
    assert_true(scripted_is_read_out(&h.peer));
    is_now("HTTP/1.1 101 *XEND|GET/up-later |open");
}

/* -- memory ends --------------------------------------------------------------------------------
 */

/* The output takes `n` bytes and no more. */
static void limit_output(uint32_t n)
{
    h.conn->out.max = n;
}

static void an_answer_that_does_not_fit_is_cut(void **state)
{
    (void)state;
    static const char *const paths[] = {GET("/text"), GET("/stream"), GET("/204"), " ",
                                        POST("/body", AWAITS OF("3")) "abc"};
    for (size_t i = 0; i < N_OF(paths); i++) {
        assert_int_equal(start(state), 0);
        limit_output(20);
        feed(paths[i]);
        CHECK_INT(paths[i], h.peer.n_closes, 1);
        CHECK_INT(paths[i], h.peer.n_written, 0);
        CHECK(paths[i], h.rig.kit.counters.out_of_memory != 0);
        assert_int_equal(stop(state), 0);
    }
}

static void a_stream_that_does_not_fit_is_told(void **state)
{
    (void)state;
    feed(GET("/ticks"));
    limit_output(10);
    struct exchange *x = LIST_FIRST(&h.exchanges);
    exchange_stream(x, SPAN_LIT("more than fits"));
    assert_true(LIST_EMPTY(&h.exchanges));
    rig_turn(&h.rig);
    is_now(CHUNKED "|GET/ticks gone |dead");
}

static void an_upgrade_that_does_not_fit_is_told_to_the_new_owner(void **state)
{
    (void)state;
    limit_output(40);
    feed(GET("/up"));
    is_now("|GET/up gone |dead");
}

#define ON_CONN(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold_however_they_are_cut),
        cmocka_unit_test(a_preface_is_answered_however_it_is_cut),
        ON_CONN(a_silent_peer_is_closed_without_a_word),
        ON_CONN(a_slow_head_gets_408_however_it_drips),
        ON_CONN(a_head_in_time_is_served),
        ON_CONN(a_slow_head_behind_a_head_request_gets_a_whole_408),
        ON_CONN(an_idle_connection_is_closed_without_a_word),
        ON_CONN(an_empty_line_alone_leaves_it_idle),
        ON_CONN(behind_an_empty_line_a_head_has_its_own_time),
        ON_CONN(half_a_preface_has_the_deadline_of_a_head),
        ON_CONN(a_pending_answer_has_no_deadline_here),
        ON_CONN(a_slow_body_gets_408),
        ON_CONN(a_body_in_time_is_taken),
        ON_CONN(bytes_earn_time_at_the_least_rate),
        ON_CONN(the_framing_of_tiny_chunks_earns_no_time),
        ON_CONN(a_slow_body_behind_a_pending_answer),
        ON_CONN(a_slow_body_behind_a_stream),
        cmocka_unit_test(whoever_waits_hears_once_that_the_peer_went),
        ON_CONN(answers_leave_before_the_end_that_the_peer_has_sent),
        ON_CONN(a_peer_that_reads_nothing_is_a_peer_that_has_gone),
        cmocka_unit_test(a_head_may_have_its_limit_and_no_byte_more),
        ON_CONN(a_body_that_nobody_wants_is_read_over_up_to_its_limit),
        ON_CONN(one_byte_more_closes),
        cmocka_unit_test(chunks_that_nobody_wants_are_read_over_up_to_the_same_limit),
        ON_CONN(reading_pauses_when_too_much_is_pipelined),
        ON_CONN(answers_that_nobody_reads_do_not_pile_up),
        ON_CONN(small_answers_that_nobody_reads_stop_at_the_high_water_mark),
        ON_CONN(a_slow_reader_is_not_an_idle_peer),
        ON_CONN(an_upgrade_takes_over_a_paused_connection),
        cmocka_unit_test(an_answer_that_does_not_fit_is_cut),
        ON_CONN(a_stream_that_does_not_fit_is_told),
        ON_CONN(an_upgrade_that_does_not_fit_is_told_to_the_new_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
