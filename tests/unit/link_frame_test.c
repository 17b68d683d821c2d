/* link_frame: what handlers send and what we send; refusals; each limit at the limit and over. */
#include <stdio.h>

#include "harness/drive_link_frame.h"
#include "harness/test.h"
#include "harness/wire_test.h"
#include "wire/link_frame.h"

struct link_case {
    const char *name;
    struct span in;
    const char *want;
};

#define CASE(name, in, want)                                                                       \
    {                                                                                              \
        name, SPAN_LIT_INIT(in), want                                                              \
    }

static void check_table(const struct link_case *cases, size_t n, uint64_t max, bool exactly)
{
    struct drive_link drive = {.max_payload = max};
    struct feed feed = drive_link_feed(&drive);

    for (size_t i = 0; i < n; i++) {
        wire_check(&feed, cases[i].name, cases[i].in, cases[i].want, exactly);
    }
    transcript_free(&drive.transcript);
}

static void reads_frames(void **state)
{
    static const struct link_case cases[] = {
        CASE("no argument", "PONG 0\n\n", "PONG(PONG)[] "),
        CASE("message", "MSG 7 t 5\nhello\n", "MSG(MSG,7,t)[hello] "),
        CASE("raw payload", "MSG 7 b 4\n\0\n\xff \n", "MSG(MSG,7,b)[\\x00\\x0a\\xff ] "),
        CASE("two frames", "ACK 3 0\n\nKICK 1 4000 2\n{}\n", "ACK(ACK,3)[] KICK(KICK,1,4000)[{}] "),
        CASE("unknown verb", "FUTURE a b/c,! 2\nxy\n", "?(FUTURE,a,b/c,!)[xy] "),
        CASE("lower case is unknown", "msg 7 t 0\n\n", "?(msg,7,t)[] "),
        CASE("one letter", "X 0\n\n", "?(X)[] "),
        CASE("every visible byte", "! ~ 0\n\n", "?(!,~)[] "),
        CASE("not whole", "PONG 0\n", ""),
        CASE("line not whole", "PONG", ""),
        CASE("whole and a part", "PONG 0\n\nPO", "PONG(PONG)[] "),
    };
    (void)state;
    check_table(cases, N_OF(cases), 1000, true);
}

static void refuses_bad_frames(void **state)
{
    static const struct link_case cases[] = {
        CASE("empty line", "\n", "!syntax words must have"),
        CASE("blank first", " PONG 0\n\n", "!syntax words must have"),
        CASE("two blanks", "PONG  0\n\n", "!syntax words must have"),
        CASE("blank at the end", "PONG 0 \n\n", "!syntax words must have"),
        CASE("CRLF", "PONG 0\r\n\n", "!syntax the line has a CR"),
        CASE("tab", "PONG\t0\n\n", "!syntax the line has a byte"),
        CASE("NUL", "PONG\0 0\n\n", "!syntax the line has a byte"),
        CASE("DEL", "PONG \x7f 0\n\n", "!syntax the line has a byte"),
        CASE("high byte", "PONG \xc3\xa4 0\n\n", "!syntax the line has a byte"),
        CASE("one word", "PONG\n\n", "!syntax the line must end in the payload's length @0"),
        CASE("a number alone", "5\nhello\n", "!syntax the line must end in the payload's"),
        CASE("length is a word", "MSG 7 t\nhello\n", "!syntax the last word must be"),
        CASE("length with plus", "PONG +0\n\n", "!syntax the last word must be"),
        CASE("length with minus", "PONG -1\n\n", "!syntax the last word must be"),
        CASE("length with zeros", "STATE 1 005\nhello\n", "!syntax the last word must be"),
        CASE("length of two zeros", "PONG 00\n\n", "!syntax the last word must be"),
        CASE("hex length", "PONG 0x1\n\n", "!syntax the last word must be"),
        CASE("fraction", "PONG 1.0\n\n", "!syntax the last word must be"),
        CASE("length of 21 digits", "PONG 000000000000000000000\n", "!syntax the last word"),
        CASE("one over the limit", "PONG 11\n", "!limit the payload's length"),
        CASE("2^64", "PONG 18446744073709551616\n", "!limit the payload's length"),
        CASE("2^64-1", "PONG 18446744073709551615\n", "!limit the payload's length"),
        CASE("99999999999999999999", "PONG 99999999999999999999\n", "!limit the payload's"),
        CASE("payload too long", "PONG 1\nab\n", "!syntax no LF behind"),
        CASE("payload too short", "PONG 3\nab\nPONG 0\n\n", "!syntax no LF behind"),
        CASE("the second frame", "PONG 0\n\n PONG", "PONG(PONG)[] !syntax words must"),
    };
    (void)state;
    check_table(cases, N_OF(cases), 10, false);
}

static void limits_the_payload(void **state)
{
    static const struct link_case cases[] = {
        CASE("at", "PONG 10\n0123456789\n", "PONG(PONG)[0123456789] "),
        CASE("over", "PONG 11\n", "!limit the payload's length is over the limit of this link @5"),
    };
    static const struct link_case huge[] = {
        CASE("no wrap", "PONG 18446744073709551615\n", "!limit"),
        CASE("no wrap with the line", "PONG 18446744073709550591\n", "!limit"),
        CASE("only waits", "PONG 18446744073709550590\nab", ""),
    };
    (void)state;
    check_table(cases, N_OF(cases), 10, true);
    check_table(huge, N_OF(huge), UINT64_MAX, false);
}

static void limits_the_line(void **state)
{
    struct drive_link drive = {.max_payload = 10};
    struct feed feed = drive_link_feed(&drive);
    char text[LINK_MAX_LINE_BYTES + 8];
    (void)state;
    memset(text, 'A', sizeof text);
    feed_copy(text + LINK_MAX_LINE_BYTES - 3, " 0\n\n", 4);
    wire_check(&feed, "1024", span_of(text, LINK_MAX_LINE_BYTES + 1), "?(AAA", false);
    wire_check(&feed, "1023 without end", span_of(text, LINK_MAX_LINE_BYTES - 4), "", true);
    memset(text, 'A', sizeof text);
    feed_copy(text + LINK_MAX_LINE_BYTES - 2, " 0\n\n", 4);
    wire_check(&feed, "1025", span_of(text, LINK_MAX_LINE_BYTES + 2), "!syntax the line is over",
               false);
    wire_check(&feed, "1024 without end", span_of(text, LINK_MAX_LINE_BYTES),
               "!syntax the line is over", false);
    transcript_free(&drive.transcript);
}

static void limits_the_words(void **state)
{
    struct drive_link drive = {.max_payload = 10};
    struct feed feed = drive_link_feed(&drive);
    char text[256];
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        int n = snprintf(text, sizeof text, "DONE");
        for (int i = 0; i < LINK_MAX_ARGS + extra; i++) {
            n += snprintf(text + n, sizeof text - (size_t)n, " 1");
        }
        n += snprintf(text + n, sizeof text - (size_t)n, " 0\n\n");
        wire_check(&feed, extra == 0 ? "64" : "65", span_of(text, (size_t)n),
                   extra == 0 ? "DONE(DONE,1" : "!syntax the line has too many words", false);
    }
    transcript_free(&drive.transcript);
}

/* Each verb is known by its own name, and by nothing one byte off. */
static void knows_verbs(void **state)
{
    struct link_verb verb;
    struct fault fault;
    size_t n = 0;
    size_t needed = 0;
    (void)state;
    for (int id = 0; id < LINK_UNKNOWN; id++) {
        const char *name = link_verb_name((enum link_verb_id)id);
        size_t len = strlen(name);
        for (size_t change = 0; change <= len + 1; change++) {
            char text[32];
            int text_len = snprintf(text, sizeof text, "%s%s 0\n\n", name, change > len ? "S" : "");
            if (change < len) {
                text[change] ^= 0x20;
            }
            assert_int_equal(
                link_frame_parse(span_of(text, (size_t)text_len), 0, &verb, &n, &needed, &fault),
                ERR_OK);
            assert_int_equal(verb.id, change == len ? (enum link_verb_id)id : LINK_UNKNOWN);
        }
    }
    assert_string_equal(link_verb_name(LINK_MSG), "MSG");
    assert_string_equal(link_verb_name(LINK_UNKNOWN), "?");
}

static void says_what_it_needs(void **state)
{
    static const char text[] = "MSG 7 t 5\nhello\n";
    struct link_verb verb;
    struct fault fault;
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        size_t n = 99;
        size_t needed = 99;
        assert_int_equal(link_frame_parse(span_of(text, len), 5, &verb, &n, &needed, &fault),
                         ERR_AGAIN);
        assert_int_equal(n, 0);
        assert_int_equal(needed, len < 10 ? 0 : sizeof text - 1);
    }
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *in;
        uint64_t max;
        enum err want;
        uint64_t value;
    } cases[] = {
        {"0", 0, ERR_OK, 0},
        {"1", 0, ERR_SYNTAX, 0},
        {"65535", 65535, ERR_OK, 65535},
        {"65536", 65535, ERR_SYNTAX, 0},
        {"007", 7, ERR_SYNTAX, 0},
        {"00", 7, ERR_SYNTAX, 0},
        {"18446744073709551615", UINT64_MAX, ERR_OK, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, ERR_SYNTAX, 0},
        {"28446744073709551615", UINT64_MAX, ERR_SYNTAX, 0},
        {"", 9, ERR_SYNTAX, 0},
        {"-1", UINT64_MAX, ERR_SYNTAX, 0},
        {"+1", UINT64_MAX, ERR_SYNTAX, 0},
        {"1-2", UINT64_MAX, ERR_SYNTAX, 0},
        {"/", UINT64_MAX, ERR_SYNTAX, 0},
        {":", UINT64_MAX, ERR_SYNTAX, 0},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        uint64_t value = 0;
        assert_int_equal(link_arg_u64(span_str(cases[i].in), cases[i].max, &value), cases[i].want);
        if (cases[i].want == ERR_OK) {
            assert_int_equal(value, cases[i].value);
        }
    }
}

static void assert_holds(const struct buf *b, const char *want)
{
    assert_int_equal(buf_len(b), strlen(want));
    assert_memory_equal(buf_span(b).ptr, want, strlen(want));
}

static void writes_frames(void **state)
{
    static const uint64_t args[] = {0, 12, UINT64_MAX};
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(link_put(&b, "PING", NULL, 0, SPAN_NONE), ERR_OK);
    assert_int_equal(link_put(&b, "X", args, 3, SPAN_LIT("{}")), ERR_OK);
    assert_int_equal(link_put_msg(&b, 0, 0, 0, SPAN_LIT("t"), SPAN_NONE), ERR_OK);
    assert_int_equal(link_put_msg(&b, UINT64_MAX, UINT32_MAX, UINT64_MAX, SPAN_LIT("b again"),
                                  SPAN_LIT("hello")),
                     ERR_OK);
    assert_holds(&b, "PING 0\n\n"
                     "X 0 12 18446744073709551615 2\n{}\n"
                     "MSG 0 0 0 t 0\n\n"
                     "MSG 18446744073709551615 4294967295 18446744073709551615 b again 5\nhello\n");
    buf_fini(&b);
}

static void writes_whole_or_not_at_all(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 20); /* "MSG 1 2 3 t 5\nhello\n" has 20 bytes */
    assert_int_equal(link_put_msg(&b, 1, 2, 3, SPAN_LIT("t"), SPAN_LIT("hello!")), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(link_put_msg(&b, 1, 2, 3, SPAN_LIT("t"), SPAN_LIT("hello")), ERR_OK);
    assert_holds(&b, "MSG 1 2 3 t 5\nhello\n");
    assert_int_equal(link_put(&b, "PING", NULL, 0, SPAN_NONE), ERR_LIMIT);
    assert_holds(&b, "MSG 1 2 3 t 5\nhello\n");
    buf_fini(&b);
}

/* A line that we would refuse is never written. */
static void never_writes_a_long_line(void **state)
{
    uint64_t args[LINK_MAX_ARGS + 1];
    char word[LINK_MAX_LINE_BYTES + 1];
    struct buf b;
    (void)state;
    for (size_t i = 0; i < N_OF(args); i++) {
        args[i] = UINT64_MAX;
    }
    memset(word, 'A', sizeof word);
    word[LINK_MAX_LINE_BYTES] = '\0';
    buf_init(&b, 8192);
    assert_int_equal(link_put(&b, "DONE", args, LINK_MAX_ARGS, SPAN_NONE), ERR_LIMIT);
    assert_int_equal(link_put(&b, "DONE", args, LINK_MAX_ARGS + 1, SPAN_NONE), ERR_LIMIT);
    assert_int_equal(link_put(&b, "DONE", args, 49, SPAN_NONE), ERR_LIMIT);
    assert_int_equal(link_put(&b, word, NULL, 0, SPAN_NONE), ERR_LIMIT);
    word[LINK_MAX_LINE_BYTES - 2] = '\0'; /* and " 0\n": one over */
    assert_int_equal(link_put(&b, word, NULL, 0, SPAN_NONE), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
    word[LINK_MAX_LINE_BYTES - 3] = '\0';
    assert_int_equal(link_put(&b, word, NULL, 0, SPAN_NONE), ERR_OK);
    assert_int_equal(buf_len(&b), LINK_MAX_LINE_BYTES + 1);
    assert_int_equal(link_put(&b, "DONE", args, 48, SPAN_NONE), ERR_OK);
    buf_fini(&b);
}

/* What we write, we read. */
static void reads_what_it_writes(void **state)
{
    struct link_verb verb;
    struct fault fault;
    struct buf b;
    uint64_t number = 1;
    (void)state;
    buf_init(&b, 4096);
    for (int bits = 0; bits < 64; bits++, number = number << 1 | 1) {
        size_t n = 0;
        size_t needed = 0;
        uint64_t value = 0;
        char payload[64];
        memset(payload, '\n', sizeof payload);
        struct span sent = span_of(payload, (size_t)bits);
        buf_clear(&b);
        struct span kind = bits % 2 == 0 ? SPAN_LIT("b") : SPAN_LIT("t again");
        assert_int_equal(link_put_msg(&b, number, (uint32_t)number, number, kind, sent), ERR_OK);
        assert_int_equal(link_frame_parse(buf_span(&b), 64, &verb, &n, &needed, &fault), ERR_OK);
        assert_int_equal(n, buf_len(&b));
        assert_int_equal(verb.id, LINK_MSG);
        assert_int_equal(verb.n_args, bits % 2 == 0 ? 4 : 5);
        assert_int_equal(link_arg_u64(verb.args[0], UINT64_MAX, &value), ERR_OK);
        assert_true(value == number);
        assert_int_equal(link_arg_u64(verb.args[1], UINT32_MAX, &value), ERR_OK);
        assert_true(value == (uint32_t)number);
        assert_true(span_eq(verb.args[3], bits % 2 == 0 ? SPAN_LIT("b") : SPAN_LIT("t")));
        assert_true(span_eq(verb.payload, sent));
    }
    buf_fini(&b);
}

static void forwards_with_another_first_argument(void **state)
{
    static const struct {
        const char *in;
        uint64_t first;
        const char *want;
    } cases[] = {
        {"MSG 7 t 5\nhello\n", 123456, "MSG 123456 t 5\nhello\n"},
        {"MSG 4294967295 b 3\n\n\n\n\n", 1, "MSG 1 b 3\n\n\n\n\n"},
        {"ACCEPT 1 0\n\n", UINT64_MAX, "ACCEPT 18446744073709551615 0\n\n"},
        {"KICK 10 3000 2\nno\nKICK 1 3000 0\n\n", 9, "KICK 9 3000 2\nno\n"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct link_verb verb;
        struct fault fault;
        struct buf b;
        size_t n = 0;
        size_t needed = 0;
        struct span in = span_str(cases[i].in);
        buf_init(&b, strlen(cases[i].want));
        assert_int_equal(link_frame_parse(in, 64, &verb, &n, &needed, &fault), ERR_OK);
        assert_int_equal(link_put_forward(&b, &verb, cases[i].first), ERR_OK);
        check_span(cases[i].in, buf_span(&b), span_str(cases[i].want));
        assert_int_equal(link_put_forward(&b, &verb, 1), ERR_LIMIT);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_frames),
        cmocka_unit_test(refuses_bad_frames),
        cmocka_unit_test(limits_the_payload),
        cmocka_unit_test(limits_the_line),
        cmocka_unit_test(limits_the_words),
        cmocka_unit_test(knows_verbs),
        cmocka_unit_test(says_what_it_needs),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(writes_frames),
        cmocka_unit_test(writes_whole_or_not_at_all),
        cmocka_unit_test(never_writes_a_long_line),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(forwards_with_another_first_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
