/* script: which callbacks are taken, and what a frame looks like as a string of a script. */
#include "harness/test.h"
#include "transports/script.h"

#define REQUIRED "\"callback\" parameter required"
#define INVALID  "invalid \"callback\" parameter"
#define NAME_32  "abcdefghijklmnopqrstuvwxyz012345"

static void callbacks(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *want; /* the name, or why there is none */
    } cases[] = {
        {"c=callback", "callback"},
        {"c=%63allback", "callback"},
        {"callback=cb", "cb"},
        {"c=_jp.a1B2-c", "_jp.a1B2-c"},
        {"c=%5fjp%2Ea", "_jp.a"},
        {"c=0", "0"},
        {"t=1&c=a&x=2", "a"},
        {"c=a&callback=b", "a"},
        {"callback=b&c=a", "a"},
        {"c=a&c=b", "a"},
        {"c=" NAME_32, NAME_32},
        {"", REQUIRED},
        {"c", REQUIRED},
        {"c=", REQUIRED},
        {"callback=", REQUIRED},
        {"c=&callback=b", REQUIRED},
        {"C=a", REQUIRED},
        {"cc=a", REQUIRED},
        {"%63=a", REQUIRED}, /* names are judged as sent */
        {"c=%20", INVALID},
        {"c=+", INVALID},
        {"c=*", INVALID},
        {"c=abc(", INVALID},
        {"c=abc%28", INVALID},
        {"c=a%00", INVALID},
        {"c=a%0a", INVALID},
        {"c=a%", INVALID},
        {"c=a%4", INVALID},
        {"c=a%zz", INVALID},
        {"c=%c3%a9", INVALID},
        {"c=<script>", INVALID},
        {"c=a=b", INVALID},
        {"c=a/b", INVALID},
        {"c=a,b", INVALID},
        {"c=a;b", INVALID},
        {"c=a@b", INVALID},
        {"c=a[b", INVALID},
        {"c=a`b", INVALID},
        {"c=a{b", INVALID},
        {"c=" NAME_32 "6", INVALID},
        {"c=" NAME_32 NAME_32 NAME_32, INVALID},
        {"c=" NAME_32 NAME_32 NAME_32 "a", INVALID}, /* longer than a coded one can be */
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct script_callback callback;
        const char *why = script_callback_read(span_str(cases[i].query), &callback);
        struct span got = why != NULL ? span_str(why) : span_of(callback.text, callback.len);
        check_span(cases[i].query, got, span_str(cases[i].want));
        CHECK(cases[i].query, (why != NULL) == (callback.len == 0));
    }
}

static void a_coded_callback_may_be_as_long(void **state)
{
    (void)state;
    char query[2 + 3 * SCRIPT_CALLBACK_MAX_BYTES] = "c=";
    struct script_callback callback;
    for (size_t i = 2; i < sizeof query; i += 3) {
        memcpy(query + i, "%61", 3);
    }
    assert_null(script_callback_read(span_of(query, sizeof query), &callback));
    assert_int_equal(callback.len, SCRIPT_CALLBACK_MAX_BYTES);
    assert_memory_equal(callback.text, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", callback.len);
}

static void frames_are_quoted_for_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *frame;
        const char *want;
    } cases[] = {
        {"o", "\"o\""},
        {"a[\"x\"]", "\"a[\\\"x\\\"]\""},
        {"a[\"\\n\\u2028\"]", "\"a[\\\"\\\\n\\\\u2028\\\"]\""},
        {"a[\"</script><script>alert(1)//\"]",
         "\"a[\\\"\\u003c/script>\\u003cscript>alert(1)//\\\"]\""},
        {"a[\"<!--\"]", "\"a[\\\"\\u003c!--\\\"]\""},
        {"a[\"\u2028\u2029\"]", "\"a[\\\"\\u2028\\u2029\\\"]\""},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct buf out;
        buf_init(&out, 4096);
        assert_int_equal(script_quote(&out, span_str(cases[i].frame)), ERR_OK);
        check_span(cases[i].frame, buf_span(&out), span_str(cases[i].want));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks),
        cmocka_unit_test(a_coded_callback_may_be_as_long),
        cmocka_unit_test(frames_are_quoted_for_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
