/* log: lines as they arrive in a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "harness/test.h"

static int sink[2];
static char got[4 * LOG_MAX_LINE];

/* Everything that is in the pipe now. */
static struct span taken(void)
{
    ssize_t n = read(sink[0], got, sizeof got - 1);
    size_t len = n > 0 ? (size_t)n : 0;
    got[len] = '\0';
    return span_of(got, len);
}

/* The line behind its time stamp. */
static struct span taken_text(void)
{
    struct span line = taken();
    assert_true(line.len > 25);
    return span_skip(line, 25);
}

static int setup(void **state)
{
    (void)state;
    if (pipe2(sink, O_NONBLOCK) != 0) {
        return -1;
    }
    log_set_fd(sink[1]);
    return 0;
}

static int before_each(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    (void)taken();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_fd(2);
    return close(sink[0]) != 0 || close(sink[1]) != 0;
}

static void a_line_is_time_level_event_pairs(void **state)
{
    (void)state;
    LOG(LOG_INFO, "session closed", "worker=%d reason=%s", 3, "timeout");
    struct span line = taken();
    int year, month, day, hour, minute, second, ms, n = 0;
    /* NOLINTNEXTLINE(cert-err34-c): our own digits, counted by %n */
    int fields = sscanf(line.ptr, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour,
                        &minute, &second, &ms, &n);
    assert_int_equal(fields, 7);
    assert_int_equal(n, 25);
    assert_in_range(year, 2020, 9999);
    check_span("line", span_skip(line, 25),
               SPAN_LIT("info  event=\"session closed\" worker=3 reason=timeout\n"));
}

static void levels_are_named_and_aligned(void **state)
{
    (void)state;
    log_set_level(LOG_DEBUG);
    LOG(LOG_DEBUG, "e", "");
    check_span("debug", taken_text(), SPAN_LIT("debug event=\"e\"\n"));
    LOG(LOG_WARN, "e", "");
    check_span("warn", taken_text(), SPAN_LIT("warn  event=\"e\"\n"));
    LOG(LOG_ERROR, "e", "a=1");
    check_span("error", taken_text(), SPAN_LIT("error event=\"e\" a=1\n"));
    log_line(LOG_ERROR, "e", "a=%d", 2);
    check_span("without the macro", taken_text(), SPAN_LIT("error event=\"e\" a=2\n"));
}

static int n_evaluated;

static int evaluate(void)
{
    return ++n_evaluated;
}

static void check_written_or_not(enum log_level level, bool is_on)
{
    n_evaluated = 0;
    LOG(level, "e", "n=%d", evaluate());
    assert_int_equal(n_evaluated, is_on);
    assert_int_equal(taken().len != 0, is_on);
    log_line(level, "e", "n=%d", 1);
    assert_int_equal(taken().len != 0, is_on);
    assert_int_equal(log_is_on(level), is_on);
}

static void below_the_level_nothing_is_written_or_evaluated(void **state)
{
    (void)state;
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    for (size_t lowest = 0; lowest < N_OF(levels); lowest++) {
        log_set_level(levels[lowest]);
        for (size_t i = 0; i < N_OF(levels); i++) {
            check_written_or_not(levels[i], i >= lowest);
        }
    }
}

static void level_names_are_parsed(void **state)
{
    (void)state;
    static const char *const words[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < N_OF(words); i++) {
        enum log_level level = LOG_ERROR;
        assert_true(log_level_parse(span_str(words[i]), &level));
        assert_int_equal(level, i);
    }
    static const char *const others[] = {"", "Info", "info ", "warning", "err", "in"};
    for (size_t i = 0; i < N_OF(others); i++) {
        enum log_level level = LOG_WARN;
        CHECK(others[i], !log_level_parse(span_str(others[i]), &level));
        assert_int_equal(level, LOG_WARN);
    }
}

static void a_line_is_cut_at_its_limit(void **state)
{
    (void)state;
    static char value[LOG_MAX_LINE + 100];
    memset(value, 'v', sizeof value - 1);
    const size_t overhead = 25 + strlen("info  event=\"e\" v=\n");
    const int exact = (int)(LOG_MAX_LINE - overhead);
    static const int extra[] = {-1, 0, 1, 50};
    for (size_t i = 0; i < N_OF(extra); i++) {
        LOG(LOG_INFO, "e", "v=%.*s", exact + extra[i], value);
        struct span line = taken();
        assert_int_equal(line.len, extra[i] < 0 ? LOG_MAX_LINE - 1 : LOG_MAX_LINE);
        assert_int_equal(line.ptr[line.len - 1], '\n');
        assert_int_equal(line.ptr[line.len - 2], 'v');
    }
}

static void control_bytes_cannot_forge_a_line(void **state)
{
    (void)state;
    LOG(LOG_INFO, "e", "v=%s", "a\n2026 \r\x1b[2J\x7f.");
    check_span("forged", taken_text(), SPAN_LIT("info  event=\"e\" v=a?2026 ??[2J?.\n"));
}

static void quoted_values(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        const char *want;
    } cases[] = {
        {"empty", SPAN_LIT_INIT(""), "\"\""},
        {"plain", SPAN_LIT_INIT("GET /a b~"), "\"GET /a b~\""},
        {"quote", SPAN_LIT_INIT("a\"b"), "\"a\\x22b\""},
        {"backslash", SPAN_LIT_INIT("\\"), "\"\\x5c\""},
        {"controls", SPAN_LIT_INIT("\0\n\x1f"), "\"\\x00\\x0a\\x1f\""},
        {"high", SPAN_LIT_INIT("\x7f\x80\xff"), "\"\\x7f\\x80\\xff\""},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char out[LOG_QUOTED_BYTES];
        const char *text = log_quoted(cases[i].in, out);
        assert_ptr_equal(text, out);
        check_span(cases[i].name, span_str(text), span_str(cases[i].want));
    }
}

static void long_values_are_cut_and_say_so(void **state)
{
    (void)state;
    /* Two quotes, three dots and the NUL leave 250 characters; an escape is whole or not there. */
    static const struct {
        const char *name;
        char fill;
        size_t n_in, n_kept, chars_each;
    } cases[] = {
        {"at the limit", 'a', 250, 250, 1},     {"one over", 'a', 251, 250, 1},
        {"far over", 'a', 2000, 250, 1},        {"escapes at the limit", '\n', 62, 62, 4},
        {"escapes, one over", '\n', 63, 62, 4},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        char in[2000];
        char out[LOG_QUOTED_BYTES];
        memset(in, cases[i].fill, sizeof in);
        struct span text = span_of(out, strlen(log_quoted(span_of(in, cases[i].n_in), out)));
        bool is_cut = cases[i].n_in > cases[i].n_kept;
        CHECK_INT(cases[i].name, text.len,
                  2 + cases[i].n_kept * cases[i].chars_each + (is_cut ? 3 : 0));
        struct span end = span_skip(text, text.len - 4);
        CHECK_INT(cases[i].name, span_eq(end, SPAN_LIT("\"...")), is_cut);
    }
}

static void errno_is_kept_also_when_the_sink_fails(void **state)
{
    (void)state;
    errno = ENOENT;
    LOG(LOG_INFO, "e", "");
    assert_int_equal(errno, ENOENT);
    log_set_fd(-1);
    LOG(LOG_INFO, "lost", "");
    assert_int_equal(errno, ENOENT);
    log_set_fd(sink[1]);
    check_span("only the first", taken_text(), SPAN_LIT("info  event=\"e\"\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_is_time_level_event_pairs, before_each),
        cmocka_unit_test_setup(levels_are_named_and_aligned, before_each),
        cmocka_unit_test_setup(below_the_level_nothing_is_written_or_evaluated, before_each),
        cmocka_unit_test_setup(level_names_are_parsed, before_each),
        cmocka_unit_test_setup(a_line_is_cut_at_its_limit, before_each),
        cmocka_unit_test_setup(control_bytes_cannot_forge_a_line, before_each),
        cmocka_unit_test_setup(quoted_values, before_each),
        cmocka_unit_test_setup(long_values_are_cut_and_say_so, before_each),
        cmocka_unit_test_setup(errno_is_kept_also_when_the_sink_fails, before_each),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
