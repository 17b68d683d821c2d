/* admit: who may come in, whose session it is, and what everyone else is answered; over real HTTP,
 * with a scripted handler behind. */
#include "edge/admit.h"
#include "edge/handoff.h"
#include "harness/mount_rig.h"

static struct mount_rig rig;
static struct mount mounts[2];
static struct router router;
static struct binds binds;
static struct binds_opts binds_opts;
static struct admit admit;
static struct scripted handler;
static struct conn *handler_conn;

static const char *const origins[] = {"http://good"};

static int set_up(void **state)
{
    (void)state;
    mount_start(&rig);
    for (unsigned i = 0; i < N_OF(mounts); i++) {
        mounts[i] = (struct mount){.path = i == 0 ? SPAN_LIT("/echo") : SPAN_LIT("/two"),
                                   .index = i,
                                   .dialect = &sockjs_dialect,
                                   .dialect_opts = &rig.sockjs,
                                   .session = rig.session,
                                   .cors = {.origins = origins, .n_origins = 1}};
        memcpy(mounts[i].transports, rig.transports, sizeof rig.transports);
    }
    rig.sockjs.cors = &mounts[0].cors;
    router = (struct router){mounts, N_OF(mounts)};
    binds_opts = (struct binds_opts){.link = {.max_frame_bytes = 1 << 20,
                                              .window_bytes = 1 << 20,
                                              .timeout_ms = 15000,
                                              .n_workers = 1,
                                              .version = "t"},
                                     .grace_ms = 30000,
                                     .pending_bytes = 1 << 16,
                                     .write_timeout_ms = 15000};
    binds_init(&binds, &rig.rig.kit, &binds_opts);
    assert_int_equal(admit_init(&admit, &rig.rig.kit, &router, &binds), ERR_OK);
    rig.http.on_request = admit_request;
    rig.http.ctx = &admit;
    handler_conn = scripted_conn(&rig.rig, &handler);
    binds_accept(&binds, handler_conn);
    scripted_feed(&handler, SPAN_LIT("HELLO 1 2\n{}\n"));
    conn_poke(handler_conn);
    rig_turn(&rig.rig);
    scripted_forget_written(&handler);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conn_end_all(rig.rig.loop);
    binds_fini(&binds);
    admit_fini(&admit);
    assert_true(rig.rig.kit.counters.sessions_open == 0);
    rig_turn(&rig.rig);
    scripted_fini(&handler);
    mount_stop(&rig);
    return 0;
}

/* Sends "METHOD PATH" with further field lines, and checks the status. Returns the answer. */
static struct span ask(int i, const char *line, const char *fields, unsigned status)
{
    char text[1024];
    char want[32];
    int n = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", line, fields);
    mount_say(&rig, i, span_of(text, (size_t)n));
    struct span got = mount_heard(&rig, i);
    (void)snprintf(want, sizeof want, "HTTP/1.1 %u ", status);
    CHECK(line, span_starts_with(got, span_str(want)));
    return got;
}

static bool says(struct span answer, const char *text)
{
    return memmem(answer.ptr, answer.len, text, strlen(text)) != NULL;
}

#define GOOD "Origin: http://good\r\n"
#define EVIL "Origin: http://evil\r\n"
#define UPGRADE                                                                                    \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static bool serve_other(void *ctx, struct http_req *req)
{
    if (!span_eq(req->target.path, SPAN_LIT("/page"))) {
        return false;
    }
    http_resp_text(req->resp, 200, span_str(ctx));
    return true;
}

static char page_text[] = "a page\n";

static void what_no_mount_has_is_for_others(void **state)
{
    (void)state;
    (void)ask(0, "GET /page", "", 404);
    admit.other = serve_other;
    admit.other_ctx = page_text;
    assert_true(says(ask(0, "GET /page", "", 200), "a page\n"));
    (void)ask(0, "GET /echoes", "", 404);
    (void)ask(0, "GET /echo/nothing", "", 404);
}

static void a_refused_origin_gets_nothing(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "GET /echo/info",      "OPTIONS /echo/info",           "OPTIONS /echo/0/s/xhr",
        "POST /echo/0/s/xhr",  "POST /echo/0/s/xhr_streaming", "POST /echo/0/s/xhr_send",
        "GET /echo/websocket", "GET /echo/0/s/websocket",      "GET /echo/0/s/xhr",
    };
    for (size_t i = 0; i < N_OF(lines); i++) {
        struct span got = ask(0, lines[i], EVIL UPGRADE, 403);
        CHECK(lines[i], !says(got, "Access-Control"));
        (void)ask(0, lines[i], "Origin: null\r\n", 403);
    }
    assert_true(rig.rig.kit.counters.sessions_opened == 0);
    (void)ask(0, "GET /echo/", EVIL, 200); /* the greeting says nothing of anybody */
}

static void a_session_belongs_to_the_origin_that_opened_it(void **state)
{
    (void)state;
    mounts[0].cors.any = true;
    (void)ask(0, "POST /echo/0/s/xhr", GOOD "Content-Length: 0\r\n", 200);
    (void)ask(1, "POST /echo/0/s/xhr", EVIL "Content-Length: 0\r\n", 404);
    (void)ask(1, "POST /echo/0/s/xhr_send", EVIL "Content-Length: 0\r\n", 404);
    (void)ask(1, "POST /echo/9/s/xhr_send", GOOD "Content-Length: 0\r\n",
              500); /* empty, but its own */
    (void)ask(1, "POST /echo/0/s/xhr_send", "Content-Length: 0\r\n", 500);
    assert_true(rig.rig.kit.counters.sessions_opened == 1);
}

static void the_first_origin_counts_also_when_it_comes_later(void **state)
{
    (void)state;
    mounts[0].cors.any = true;
    (void)ask(0, "POST /echo/0/s/xhr", "Content-Length: 0\r\n", 200); /* as by a jsonp GET */
    (void)ask(1, "POST /echo/0/s/xhr_send", GOOD "Content-Length: 0\r\n", 500);
    (void)ask(1, "POST /echo/0/s/xhr_send", EVIL "Content-Length: 0\r\n", 404);
}

static void mounts_have_sessions_of_their_own(void **state)
{
    (void)state;
    (void)ask(0, "POST /echo/0/s/xhr", "Content-Length: 0\r\n", 200);
    (void)ask(1, "POST /two/0/s/xhr_send", "Content-Length: 0\r\n", 404);
    (void)ask(1, "POST /two/0/s/xhr", "Content-Length: 0\r\n", 200);
    assert_true(rig.rig.kit.counters.sessions_open == 2);
}

static void a_transport_that_is_off_is_not_found(void **state)
{
    (void)state;
    mounts[0].transports[SOCKJS_XHR].ops = NULL;
    (void)ask(0, "POST /echo/0/s/xhr", "Content-Length: 0\r\n", 404);
    assert_true(rig.rig.kit.counters.sessions_opened == 0);
}

static void a_bad_upgrade_opens_no_session(void **state)
{
    (void)state;
    (void)ask(0, "GET /echo/websocket", "Upgrade: h2c\r\nConnection: Upgrade\r\n", 400);
    assert_true(rig.rig.kit.counters.sessions_opened == 0);
}

static void a_draining_worker_takes_no_new_sessions(void **state)
{
    (void)state;
    (void)ask(0, "POST /echo/0/old/xhr", "Content-Length: 0\r\n", 200);
    admit.is_draining = true;
    struct span got = ask(1, "POST /echo/0/new/xhr", "Content-Length: 0\r\n", 503);
    assert_true(says(got, "\r\nConnection: close\r\n"));
    (void)ask(0, "POST /echo/0/old/xhr_send", "Content-Length: 0\r\n", 500);
    (void)ask(2, "GET /echo/websocket", UPGRADE, 503);
}

/* -- other workers ------------------------------------------------------------------------------
 */

enum {
    N_SIDS = 20,
};

static unsigned n_moved_to[2];

static void on_move(void *ctx, struct conn_parcel *parcel, unsigned worker)
{
    assert_ptr_equal(ctx, &rig);
    assert_in_range(worker, 0, N_OF(n_moved_to) - 1);
    n_moved_to[worker]++;
    conn_parcel_drop(parcel);
}

static void be_one_of_two(void)
{
    memset(n_moved_to, 0, sizeof n_moved_to);
    rig.rig.kit.n_workers = 2;
    rig.http.on_move = on_move;
    rig.http.move_ctx = &rig;
}

/* Whether this worker owns session "sid<i>". */
static bool is_ours(int i)
{
    char sid[16];
    unsigned owner = 0;
    struct span s = span_of(sid, (size_t)snprintf(sid, sizeof sid, "sid%d", i));
    bool is_here = handoff_ask(&rig.rig.kit, s, &owner) == HANDOFF_LOCAL;
    assert_int_equal(owner, is_here ? 0 : 1);
    return is_here;
}

/* Asks for "PATH sid<i> REST" on a new connection. Returns whether it moved away, unanswered. */
static bool moves(const char *before, int i, const char *after, const char *fields)
{
    char text[1024];
    unsigned n_moved = n_moved_to[1];
    int n = snprintf(text, sizeof text, "%ssid%d%s HTTP/1.1\r\nHost: h\r\n%s\r\n", before, i, after,
                     fields);
    mount_connect(&rig, 0);
    mount_say(&rig, 0, span_of(text, (size_t)n));
    bool has_moved = n_moved_to[1] != n_moved;
    bool is_answered = mount_heard(&rig, 0).len != 0;
    CHECK(text, has_moved != is_answered);
    if (!has_moved) {
        scripted_feed_error(&rig.clients[0].io);
        conn_poke(rig.clients[0].conn);
        rig_turn(&rig.rig);
    }
    return has_moved;
}

static void a_session_of_another_worker_is_opened_there(void **state)
{
    (void)state;
    be_one_of_two();
    unsigned n_here = 0;
    for (int i = 0; i < N_SIDS; i++) {
        n_here += is_ours(i);
        assert_int_equal(moves("POST /echo/0/", i, "/xhr", "Content-Length: 0\r\n"), !is_ours(i));
    }
    assert_in_range(n_here, 1, N_SIDS - 1);
    assert_int_equal(n_moved_to[0], 0);
    assert_int_equal(n_moved_to[1], N_SIDS - n_here);
    const struct counters *counters = &rig.rig.kit.counters;
    assert_true(counters->sessions_opened == n_here);
    assert_true(counters->requests == n_here);
}

/* The other worker says what is wrong with them, for it alone knows. */
static void requests_for_another_workers_session_move_unjudged(void **state)
{
    (void)state;
    be_one_of_two();
    admit.is_draining = true;
    int theirs = 0;
    while (is_ours(theirs)) {
        theirs++;
    }
    assert_true(moves("POST /echo/0/", theirs, "/xhr_send", "Content-Length: 5\r\n"));
    assert_true(moves("POST /echo/0/", theirs, "/xhr_streaming", GOOD));
    assert_true(moves("POST /two/0/", theirs, "/xhr", ""));
    assert_true(moves("POST /echo/0/", theirs, "/xhr_send",
                      "Expect: 100-continue\r\nContent-Length: 5\r\n"));
}

static void what_any_worker_can_answer_does_not_move(void **state)
{
    (void)state;
    be_one_of_two();
    for (int i = 0; i < N_SIDS; i++) {
        assert_false(moves("POST /echo/0/", i, "/xhr", EVIL)); /* 403 */
        assert_false(moves("OPTIONS /echo/0/", i, "/xhr", GOOD));
        assert_false(moves("GET /echo/0/", i, "/nothing", "")); /* 404 */
        /* A WebSocket's session lives where it comes. */
        assert_false(moves("GET /echo/0/", i, "/websocket", UPGRADE));
        assert_false(moves("GET /echo/info?", i, "", GOOD));
    }
    (void)ask(1, "GET /echo/websocket", UPGRADE, 101);
    assert_int_equal(n_moved_to[1], 0);
}

static void the_handler_never_sees_the_session_id(void **state)
{
    (void)state;
    (void)ask(0, "POST /echo/000/s3cr3t/xhr?t=1", "Content-Length: 0\r\n", 200);
    (void)ask(1, "GET /echo/000/s3cr3t/websocket", UPGRADE, 101);
    struct span got = scripted_written(&handler);
    assert_true(says(got, "\"path\":\"/echo/000/-/xhr\",\"query\":\"t=1\",\"dialect\":\"sockjs\""));
    assert_true(says(got, "\"path\":\"/echo/000/-/websocket\""));
    assert_false(says(got, "s3cr3t"));
}

static void closing_all_says_goodbye_to_each(void **state)
{
    (void)state;
    (void)ask(0, "POST /echo/0/a/xhr", "Content-Length: 0\r\n", 200);
    mount_post(&rig, 0, "/0/a/xhr", ""); /* waits */
    (void)ask(1, "GET /echo/websocket", UPGRADE, 101);
    admit_close_all(&admit, 1012, SPAN_LIT("Service restart"));
    rig_turn(&rig.rig);
    assert_true(says(mount_heard(&rig, 0), "c[1012,\"Service restart\"]\n"));
    assert_true(says(mount_heard(&rig, 1), "\x03\xf4Service restart"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_no_mount_has_is_for_others),
        TEST(a_refused_origin_gets_nothing),
        TEST(a_session_belongs_to_the_origin_that_opened_it),
        TEST(the_first_origin_counts_also_when_it_comes_later),
        TEST(mounts_have_sessions_of_their_own),
        TEST(a_transport_that_is_off_is_not_found),
        TEST(a_bad_upgrade_opens_no_session),
        TEST(a_draining_worker_takes_no_new_sessions),
        TEST(a_session_of_another_worker_is_opened_there),
        TEST(requests_for_another_workers_session_move_unjudged),
        TEST(what_any_worker_can_answer_does_not_move),
        TEST(the_handler_never_sees_the_session_id),
        TEST(closing_all_says_goodbye_to_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
