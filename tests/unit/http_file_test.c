/* http_file: which If-None-Match has a tag. The answers are tested where they are given: the iframe
 * page and its script in sockjs_test.c, the assets on the wire. */
#include "harness/test.h"
#include "http/http_file.h"

static void tags_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool want;
    } cases[] = {
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"*", true},
        {"\"x\", \"abc\"", true},
        {"\"x\",W/\"abc\" ,\"y\"", true},
        {" \t\"abc\"\t", true},
        {"", false},
        {",", false},
        {"\"abc", false},
        {"abc", false},
        {"\"ab\"", false},
        {"\"abcd\"", false},
        {"w/\"abc\"", false},
        {"\"x\", \"y\"", false},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        bool got = http_file_has_tag(span_str(cases[i].field), SPAN_LIT("\"abc\""));
        CHECK(cases[i].field, got == cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
