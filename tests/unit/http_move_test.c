/*
 * http_move: a request is parsed on one worker and answered on another. Two workers in one thread,
 * one scripted peer between them: the path says which worker a request is for (/0 or /1 in front of
 * a path of harness/http_rig.h), and a connection moves by on_move straight into the other's loop.
 * The same requests, however they are cut and wherever they are served, have the same answers.
 */
#include "base/mem.h"
#include "harness/http_rig.h"

/* The connection, compiled into this program with an allocator that can be told to fail. */
static bool has_no_conn;
static bool has_no_rest;

static void *failing_mem_new(size_t n, size_t size)
{
    return has_no_conn ? NULL : mem_new(n, size);
}

static enum err failing_append(struct buf *b, const void *bytes, size_t n)
{
    return has_no_rest ? ERR_NOMEM : buf_append(b, bytes, n);
}

#define mem_new    failing_mem_new
#define buf_append failing_append
#include "net/conn.c" /* NOLINT(bugprone-suspicious-include): see above */
#undef mem_new
#undef buf_append

#include "harness/test.h" /* behind conn.c, for cmocka makes a macro of `fail` */

/* -- two workers --------------------------------------------------------------------------------
 */

struct side {
    struct http_rig h;
    unsigned n_asked; /* requests that on_request was called for */
};

struct stage {
    struct side sides[2];
    struct conn *conn; /* wherever it is; dangling once the peer's n_closes is 1 */
    bool is_misled;    /* the second worker sends back what is meant for it */
    unsigned n_moves;
};

static struct stage stage;

static struct scripted *peer_of_stage(void)
{
    return &stage.sides[0].h.peer;
}

static bool is_dead(void)
{
    return peer_of_stage()->n_closes != 0;
}

static void on_move(void *ctx, struct conn_parcel *parcel, unsigned worker)
{
    const struct side *side = ctx;
    assert_ptr_equal(side, &stage.sides[1 - worker]);
    struct side *target = &stage.sides[worker];
    struct conn_parcel letter = *parcel;
    memset(parcel, 0xee, sizeof *parcel);
    stage.n_moves++;
    if (conn_adopt(target->h.rig.loop, &letter, &stage.conn) == ERR_OK) {
        assert_int_equal(http_conn_create(&target->h.server, stage.conn), ERR_OK);
    }
}

static void on_request(void *ctx, struct http_req *req)
{
    struct side *side = ctx;
    unsigned self = side->h.rig.kit.id;
    side->n_asked++;
    struct span path = req->target.path;
    bool is_for_one = span_starts_with(path, SPAN_LIT("/1"));
    unsigned owner = is_for_one && !(stage.is_misled && self == 1) ? 1 : 0;
    if (owner != self) {
        http_resp_move(req->resp, owner);
        return;
    }
    if (is_for_one || span_starts_with(path, SPAN_LIT("/0"))) {
        req->target.path = span_skip(path, 2);
    }
    http_rig_on_request(&side->h, req);
}

static void stage_start(void)
{
    stage.n_moves = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &stage.sides[i];
        http_rig_start(&side->h);
        side->n_asked = 0;
        side->h.rig.kit.id = i;
        side->h.rig.kit.n_workers = 2;
        side->h.server.on_request = on_request;
        side->h.server.ctx = side;
        side->h.server.on_move = on_move;
        side->h.server.move_ctx = side;
    }
    stage.conn = stage.sides[0].h.conn;
}

/* The second first: the connection that the first one's rig looks for may be there. */
static void stage_stop(void)
{
    http_rig_stop(&stage.sides[1].h);
    http_rig_stop(&stage.sides[0].h);
}

static void stage_free(void)
{
    http_rig_free(&stage.sides[0].h);
    http_rig_free(&stage.sides[1].h);
}

static void turns(void)
{
    do {
        rig_turn(&stage.sides[0].h.rig);
        rig_turn(&stage.sides[1].h.rig);
    } while (!turn_is_idle(&stage.sides[0].h.rig.kit.turn));
}

static void pass(uint64_t ms)
{
    rig_pass(&stage.sides[0].h.rig, ms);
    rig_pass(&stage.sides[1].h.rig, ms);
    turns();
}

/* Readiness until nothing is read any more, wherever the connection is. */
static void run(void)
{
    const struct scripted *peer = peer_of_stage();
    turns();
    for (bool goes_on = true; goes_on && !is_dead();) {
        unsigned n_reads = peer->n_reads;
        conn_poke(stage.conn);
        turns();
        goes_on = peer->n_reads != n_reads && !scripted_is_read_out(peer) &&
                  STAILQ_FIRST(&peer->pieces)->len != 0;
    }
}

static void feed_stage(struct span bytes)
{
    if (bytes.len != 0 && !is_dead()) {
        scripted_feed(peer_of_stage(), bytes);
        run();
    }
}

/* Ends what is pending, on both. */
static void settle(void)
{
    while (http_rig_step(&stage.sides[0].h) || http_rig_step(&stage.sides[1].h)) {
        run();
    }
}

static int start(void **state)
{
    (void)state;
    memset(&stage, 0, sizeof stage);
    stage_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stage_stop();
    stage_free();
    return 0;
}

static void feed_text(const char *text)
{
    feed_stage(span_str(text));
}

/* -- what is served where -----------------------------------------------------------------------
 */

#define GET(path)        "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, more) "POST " path " HTTP/1.1\r\nHost: a\r\n" more "\r\n"
#define OF(n)            "Content-Length: " n "\r\n"
#define AWAITS           "Expect: 100-continue\r\n"
#define IN_CHUNKS        "Transfer-Encoding: chunked\r\n"

struct row {
    const char *name;
    const char *sent;
    unsigned n_moves;
    unsigned n_served[2];
};

static const struct row rows[] = {
    {"here", GET("/0/text"), 0, {1, 0}},
    {"there", GET("/1/text"), 1, {0, 1}},
    {"and what follows", GET("/1/text") GET("/1/pieces"), 1, {0, 2}},
    {"here, then there", GET("/0/text") GET("/1/text"), 1, {1, 1}},
    {"there, then here", GET("/1/text") GET("/0/text"), 2, {1, 1}},
    {"to and fro", GET("/1/text") GET("/0/204") GET("/1/stream") GET("/0/empty"), 4, {2, 2}},
    {"behind a pending one", GET("/0/later") GET("/1/later") GET("/0/text"), 2, {2, 1}},
    {"behind a stream", GET("/0/ticks") GET("/1/ticks"), 1, {1, 1}},
    {"an empty line before it", GET("/0/text") "\r\n" GET("/1/text"), 1, {1, 1}},
    {"a body", POST("/1/body", OF("5")) "hello" GET("/1/text"), 1, {0, 2}},
    {"a body in chunks", POST("/1/body", IN_CHUNKS) "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 1, {0, 1}},
    {"bodies in between",
     POST("/0/body", OF("3")) "one" POST("/1/body", OF("3")) "two" POST("/0/body", OF("5")) "three",
     2,
     {2, 1}},
    {"a body that nobody reads", POST("/1/x", OF("3")) "one" GET("/0/text"), 2, {1, 1}},
    {"a body that is too long", POST("/1/body", OF("17")), 1, {0, 1}},
    {"100 is sent once", POST("/1/body", AWAITS OF("2")) "hi" GET("/0/text"), 2, {1, 1}},
    {"HEAD", "HEAD /1/text HTTP/1.1\r\nHost: a\r\n\r\n" GET("/0/text"), 2, {1, 1}},
    {"1.0 closes", "GET /1/text HTTP/1.0\r\n\r\n", 1, {0, 1}},
    {"malformed behind it", GET("/1/text") "GET\r\n\r\n", 1, {0, 1}},
    {"upgrade", GET("/1/up") "left over", 1, {0, 1}},
    {"abort", GET("/1/abort"), 1, {0, 1}},
};

static void feed_start(void *ctx)
{
    (void)ctx;
    if (stage.sides[0].h.rig.loop != NULL) {
        stage_stop();
    }
    transcript_clear(&stage.sides[0].h.said);
    transcript_clear(&stage.sides[1].h.said);
    stage_start();
}

static size_t feed_take(void *ctx, char *bytes, size_t len, bool *stop_it)
{
    (void)ctx;
    (void)stop_it;
    feed_stage(span_of(bytes, len));
    return len;
}

static const char *feed_text_of(void *ctx)
{
    (void)ctx;
    settle();
    return http_rig_text(&stage.sides[0].h);
}

/* The same requests without their numbers go to one worker: its answers are what must come. */
static char *one_workers_answers(const char *sent)
{
    char *plain = feed_alloc(strlen(sent) + 1);
    size_t len = 0;
    for (const char *at = sent; *at != '\0'; at++) {
        bool is_number = at[0] == '/' && (at[1] == '0' || at[1] == '1') && at[2] == '/';
        at += is_number ? 2 : 0;
        plain[len++] = *at;
    }
    struct http_rig h = {.rig.loop = NULL};
    struct feed feeder = http_rig_feeder(&h);
    char *whole = feed_whole(&feeder, span_of(plain, len));
    free(plain);
    http_rig_stop(&h);
    http_rig_free(&h);
    return whole;
}

static size_t answers_len(const char *text)
{
    return strcspn(text, "|");
}

static void answers_are_those_of_one_worker_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(rows); i++) {
        memset(&stage, 0, sizeof stage);
        const struct feed feeder = {NULL, feed_start, feed_take, feed_text_of};
        char *got = feed_every_way(&feeder, span_str(rows[i].sent));
        CHECK(rows[i].name, got != NULL);
        char *want = one_workers_answers(rows[i].sent);
        check_span(rows[i].name, span_of(got, answers_len(got)), span_of(want, answers_len(want)));
        check_span(rows[i].name, span_str(strrchr(got, '|')), span_str(strrchr(want, '|')));
        CHECK_INT(rows[i].name, stage.n_moves, rows[i].n_moves);
        for (int side = 0; side < 2; side++) {
            const struct counters *counters = &stage.sides[side].h.rig.kit.counters;
            CHECK_INT(rows[i].name, counters->requests, rows[i].n_served[side]);
        }
        free(got);
        free(want);
        stage_stop();
        stage_free();
    }
}

/* -- the move itself ----------------------------------------------------------------------------
 */

static void wrote(const char *want)
{
    const char *got = http_rig_text(&stage.sides[0].h);
    size_t len = answers_len(got);
    check_span("written", span_of(got, len), span_str(want));
}

static const struct counters *counters(int side)
{
    return &stage.sides[side].h.rig.kit.counters;
}

#define TYPE  "Content-Type: text/plain; charset=UTF-8\r\n"
#define HELLO "HTTP/1.1 200 OK\r\n" TYPE "Content-Length: 6\r\n\r\nhello\n"
#define ELSEWHERE                                                                                  \
    "HTTP/1.1 503 Service Unavailable\r\n" TYPE                                                    \
    "Content-Length: 37\r\n\r\nThe session lives on another worker.\n"

static void a_half_read_body_is_finished_there(void **state)
{
    (void)state;
    feed_text(POST("/1/body", OF("5")) "he");
    assert_int_equal(stage.n_moves, 1);
    assert_int_equal(counters(1)->connections_open, 2); /* with the rig's own */
    feed_text("llo");
    wrote("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(stage.sides[0].n_asked, 1);
    assert_int_equal(stage.sides[1].n_asked, 1);
}

/* A large request behind it: more than may be left unread by one that is not paused. */
static void all_that_was_read_goes_along(void **state)
{
    (void)state;
    char body[100 << 10];
    int n = snprintf(body, sizeof body, POST("/1/body", OF("%zu")), sizeof body - 100);
    assert_in_range(n, 1, 99);
    memset(body + n, 'x', sizeof body - (size_t)n);
    feed_stage(span_of(body, 60 << 10));
    assert_int_equal(stage.n_moves, 1);
    assert_int_equal(counters(1)->requests_refused, 1); /* 413 by the worker that owns it */
    feed_stage(span_of(body + (60 << 10), sizeof body - (60 << 10)));
    assert_int_equal(stage.sides[1].n_asked, 1);
}

static void the_old_worker_lets_go_of_everything(void **state)
{
    (void)state;
    feed_text(GET("/1/later"));
    assert_int_equal(counters(0)->connections_open, 0);
    assert_true(timers_next_ms(&stage.sides[0].h.rig.kit.timers) == TIMERS_NONE);
    assert_int_equal(stage.sides[0].h.server.pool.n_free, MEM_IS_WATCHED ? 0 : 1); /* given back */
    settle();
    assert_int_equal(counters(1)->connections_moved, 1);
}

static void what_was_answered_before_leaves_first(void **state)
{
    (void)state;
    peer_of_stage()->write_room = 10;
    feed_text(GET("/0/text") GET("/1/text") GET("/0/text"));
    assert_int_equal(stage.n_moves, 0);
    unsigned n_reads = peer_of_stage()->n_reads;
    feed_text("never mind"); /* is not read meanwhile */
    assert_int_equal(peer_of_stage()->n_reads, n_reads);
    assert_int_equal(stage.sides[0].n_asked, 2);
    assert_int_equal(stage.sides[1].n_asked, 0);
    peer_of_stage()->write_room = SIZE_MAX;
    run();
    assert_int_equal(stage.n_moves, 2);
    wrote(HELLO HELLO HELLO);
}

static void a_peer_that_takes_nothing_meanwhile_is_cut(void **state)
{
    (void)state;
    peer_of_stage()->write_room = 0;
    feed_text(GET("/0/big") GET("/1/text"));
    pass(SCRIPTED_WRITE_TIMEOUT_MS - 1);
    assert_false(is_dead());
    pass(1);
    assert_true(is_dead());
    assert_int_equal(stage.n_moves, 0);
}

static void a_reset_meanwhile_is_an_ordinary_end(void **state)
{
    (void)state;
    peer_of_stage()->write_room = 0;
    feed_text(GET("/0/text") GET("/1/text"));
    peer_of_stage()->is_write_broken = true;
    conn_poke(stage.conn);
    assert_true(is_dead());
    turns();
    assert_int_equal(stage.n_moves, 0);
}

/* Between on_request and the turn's end. */
static void a_reset_in_the_same_turn_is_too(void **state)
{
    (void)state;
    scripted_feed(peer_of_stage(), SPAN_LIT(GET("/1/text")));
    conn_poke(stage.conn);
    assert_int_equal(stage.sides[0].n_asked, 1);
    conn_end_all(stage.sides[0].h.rig.loop);
    assert_true(is_dead());
    turns();
    assert_int_equal(stage.n_moves, 0);
}

static void a_failure_in_the_same_turn_is_too(void **state)
{
    (void)state;
    scripted_feed(peer_of_stage(), SPAN_LIT(GET("/1/text")));
    conn_poke(stage.conn);
    conn_fail(stage.conn);
    turns();
    assert_true(is_dead());
    assert_int_equal(stage.n_moves, 0);
}

static void a_fin_behind_the_request_does_not_stop_it(void **state)
{
    (void)state;
    scripted_feed(peer_of_stage(), SPAN_LIT(GET("/0/text") GET("/1/text")));
    scripted_feed_eof(peer_of_stage());
    conn_poke(stage.conn);
    conn_poke(stage.conn);
    assert_int_equal(stage.sides[0].n_asked, 2);
    turns();
    assert_int_equal(stage.n_moves, 1);
    wrote(HELLO HELLO);
    assert_false(is_dead());
    run(); /* now the new worker sees it */
    assert_true(is_dead());
}

/* -- deadlines ----------------------------------------------------------------------------------
 */

static void the_new_worker_has_its_deadlines(void **state)
{
    (void)state;
    feed_text(POST("/1/body", OF("5")) "he");
    pass(HTTP_RIG_BODY_MS - 1);
    assert_ptr_equal(stage.conn->loop, stage.sides[1].h.rig.loop);
    assert_null(strstr(http_rig_text(&stage.sides[0].h), "408"));
    pass(10);
    assert_non_null(strstr(http_rig_text(&stage.sides[0].h), "408"));
}

static void a_pending_answer_there_has_none(void **state)
{
    (void)state;
    feed_text(GET("/1/later"));
    pass(10 * HTTP_RIG_IDLE_MS);
    assert_false(is_dead());
    settle();
    pass(HTTP_RIG_IDLE_MS);
    assert_int_equal(peer_of_stage()->n_shutdowns, 1);
}

/* -- ping-pong ----------------------------------------------------------------------------------
 */

static void a_request_moves_once(void **state)
{
    (void)state;
    stage.is_misled = true;
    feed_text(GET("/1/text"));
    wrote(ELSEWHERE);
    assert_int_equal(stage.n_moves, 1);
    assert_int_equal(counters(0)->requests, 0);
    assert_int_equal(counters(1)->requests, 1);
}

static void the_request_behind_may_move_again(void **state)
{
    (void)state;
    stage.is_misled = true;
    feed_text(POST("/1/text", OF("3")) "abc" GET("/0/text") GET("/1/text"));
    assert_int_equal(stage.n_moves, 3);
    wrote(ELSEWHERE HELLO ELSEWHERE);
}

/* -- without memory -----------------------------------------------------------------------------
 */

static void without_memory_for_the_rest_it_ends(void **state)
{
    (void)state;
    has_no_rest = true;
    feed_text(GET("/1/text"));
    has_no_rest = false;
    assert_true(is_dead());
    assert_int_equal(stage.n_moves, 0);
    assert_int_equal(counters(0)->out_of_memory, 1);
}

static void without_memory_on_the_other_side_it_ends(void **state)
{
    (void)state;
    has_no_conn = true;
    feed_text(GET("/1/text"));
    has_no_conn = false;
    assert_true(is_dead());
    assert_int_equal(stage.n_moves, 1);
    assert_int_equal(counters(1)->out_of_memory, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_one_worker_however_they_are_cut),
        TEST(a_half_read_body_is_finished_there),
        TEST(all_that_was_read_goes_along),
        TEST(the_old_worker_lets_go_of_everything),
        TEST(what_was_answered_before_leaves_first),
        TEST(a_peer_that_takes_nothing_meanwhile_is_cut),
        TEST(a_reset_meanwhile_is_an_ordinary_end),
        TEST(a_reset_in_the_same_turn_is_too),
        TEST(a_failure_in_the_same_turn_is_too),
        TEST(a_fin_behind_the_request_does_not_stop_it),
        TEST(the_new_worker_has_its_deadlines),
        TEST(a_pending_answer_there_has_none),
        TEST(a_request_moves_once),
        TEST(the_request_behind_may_move_again),
        TEST(without_memory_for_the_rest_it_ends),
        TEST(without_memory_on_the_other_side_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
