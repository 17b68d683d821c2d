/* jsonc: what is accepted and where it stands, every mistake with its report byte for byte, limits.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "harness/test.h"
#include "server/jsonc.h"

enum {
    REPORT_BYTES = 1 << 16
};

static enum err parse(const char *text, size_t len, struct jsonc *doc, struct buf *out)
{
    struct config_report report = {.name = "t.json", .text = span_of(text, len), .out = out};
    enum err e = jsonc_parse(doc, &report);
    if (e == ERR_CONFIG) {
        assert_true(report.n_problems != 0);
    }
    return e;
}

/* ---- mistakes ---- */

static const struct {
    const char *name;
    const char *in; /* NULs are written as "@" */
    const char *want;
} mistakes[] = {
    {"empty", "",
     "t.json:1:1: there is no value: a config is { ... }\n"
     "    1 | \n"
     "      | ^\n"},
    {"only a comment", "// nothing\n",
     "t.json:2:1: there is no value: a config is { ... }\n"
     "    2 | \n"
     "      | ^\n"},
    {"comment without end",
     "{\n"
     "  /* on and on\n"
     "}\n",
     "t.json:2:3: this comment never ends\n"
     "    2 |   /* on and on\n"
     "      |   ^~ add \"*/\" where it ends\n"},
    {"string without end",
     "{\"a\": \"x\n"
     "}",
     "t.json:1:7: this string does not end on its line\n"
     "    1 | {\"a\": \"x\n"
     "      |       ^~ add the closing \"\n"},
    {"string without end at the end of the text", "[\"x",
     "t.json:1:2: this string does not end on its line\n"
     "    1 | [\"x\n"
     "      |  ^~ add the closing \"\n"},
    {"object without end", "{\"a\": {\"b\": 1}\n",
     "t.json:1:1: this \"{\" is never closed\n"
     "    1 | {\"a\": {\"b\": 1}\n"
     "      | ^ add \"}\" where it ends\n"},
    {"list without end",
     "{\n"
     "  \"a\": [1, 2",
     "t.json:2:8: this \"[\" is never closed\n"
     "    2 |   \"a\": [1, 2\n"
     "      |        ^ add \"]\" where it ends\n"},
    {"wrong bracket", "{\"a\": [1}",
     "t.json:1:9: expected \",\" or \"]\" here, for the \"[\" of 1:7\n"
     "    1 | {\"a\": [1}\n"
     "      |         ^\n"},
    {"missing comma",
     "{\n"
     "  \"a\": 1\n"
     "  \"b\": 2\n"
     "}",
     "t.json:2:9: a comma is missing after this value\n"
     "    2 |   \"a\": 1\n"
     "      |         ^ add \",\"\n"},
    {"two commas", "[1,, 2]",
     "t.json:1:4: expected a value here\n"
     "    1 | [1,, 2]\n"
     "      |    ^\n"},
    {"two commas at the end", "[1,,]",
     "t.json:1:4: expected a value here\n"
     "    1 | [1,,]\n"
     "      |    ^\n"},
    {"comma alone", "[,]",
     "t.json:1:2: expected a value here\n"
     "    1 | [,]\n"
     "      |  ^\n"},
    {"key without quotes", "{heartbeat: 1}",
     "t.json:1:2: a key needs double quotes\n"
     "    1 | {heartbeat: 1}\n"
     "      |  ^~~~~~~~~ write \"heartbeat\"?\n"},
    {"single quotes", "{'a': 1}",
     "t.json:1:2: expected a key: text needs double quotes\n"
     "    1 | {'a': 1}\n"
     "      |  ^ write \" instead of '\n"},
    {"value without quotes", "{\"a\": 25s}",
     "t.json:1:7: expected a value: text needs double quotes\n"
     "    1 | {\"a\": 25s}\n"
     "      |       ^~~ write \"25s\"?\n"},
    {"path without quotes", "{\"a\": /echo}",
     "t.json:1:7: expected a value: text needs double quotes\n"
     "    1 | {\"a\": /echo}\n"
     "      |       ^~~~~ write \"/echo\"?\n"},
    {"octal number", "{\"a\": 0660}",
     "t.json:1:7: expected a value: text needs double quotes\n"
     "    1 | {\"a\": 0660}\n"
     "      |       ^~~~ write \"0660\"?\n"},
    {"capital letters", "{\"a\": True}",
     "t.json:1:7: write true in small letters\n"
     "    1 | {\"a\": True}\n"
     "      |       ^~~~\n"},
    {"key without value", "{\"a\"}",
     "t.json:1:2: this key has no value\n"
     "    1 | {\"a\"}\n"
     "      |  ^~~ write : and a value behind it\n"},
    {"key, colon, no value", "{\"a\":}",
     "t.json:1:6: expected a value here\n"
     "    1 | {\"a\":}\n"
     "      |      ^\n"},
    {"unexpected byte", "{\"a\": ;}",
     "t.json:1:7: expected a value here\n"
     "    1 | {\"a\": ;}\n"
     "      |       ^\n"},
    {"nul byte", "{\"a\": @}",
     "t.json:1:7: expected a value here\n"
     "    1 | {\"a\": ?}\n"
     "      |       ^\n"},
    {"text behind the end", "{} {}",
     "t.json:1:4: text after the end of the config\n"
     "    1 | {} {}\n"
     "      |    ^ is there a bracket too many before?\n"},
    {"bracket behind the end", "{}}",
     "t.json:1:3: text after the end of the config\n"
     "    1 | {}}\n"
     "      |   ^ is there a bracket too many before?\n"},
    {"unknown escape", "[\"C:\\dir\"]",
     "t.json:1:5: unknown escape in a string\n"
     "    1 | [\"C:\\dir\"]\n"
     "      |     ^ write \\\\ for a backslash\n"},
    {"bad \\u", "[\"\\u12g4\"]",
     "t.json:1:3: \\u needs four hexadecimal digits\n"
     "    1 | [\"\\u12g4\"]\n"
     "      |   ^~\n"},
    {"zero character", "[\"\\u0000\"]",
     "t.json:1:3: \\u0000 is not allowed in a string\n"
     "    1 | [\"\\u0000\"]\n"
     "      |   ^~~~~~ remove it\n"},
    {"lone high half", "[\"\\ud800x\"]",
     "t.json:1:3: half of a surrogate pair is no character\n"
     "    1 | [\"\\ud800x\"]\n"
     "      |   ^~~~~~ write the character itself\n"},
    {"lone low half", "[\"\\udc00\"]",
     "t.json:1:3: half of a surrogate pair is no character\n"
     "    1 | [\"\\udc00\"]\n"
     "      |   ^~~~~~ write the character itself\n"},
    {"two high halves", "[\"\\ud83d\\ud83d\"]",
     "t.json:1:3: half of a surrogate pair is no character\n"
     "    1 | [\"\\ud83d\\ud83d\"]\n"
     "      |   ^~~~~~ write the character itself\n"},
    {"tab in a string", "[\"a\tb\"]",
     "t.json:1:4: control byte 0x09 in a string\n"
     "    1 | [\"a\tb\"]\n"
     "      |    ^ write \\t\n"},
    {"control byte in a string",
     "[\"a\x01"
     "b\"]",
     "t.json:1:4: control byte 0x01 in a string\n"
     "    1 | [\"a?b\"]\n"
     "      |    ^ remove it\n"},
    {"bad UTF-8",
     "{\n"
     "  // caf\xe9\n"
     "}",
     "t.json:2:9: this byte (0xe9) is not UTF-8\n"
     "    2 |   // caf?\n"
     "      |         ^ save the file as UTF-8\n"},
    {"cut UTF-8", "[\"\xe2\x82",
     "t.json:1:3: this byte (0xe2) is not UTF-8\n"
     "    1 | [\"??\n"
     "      |   ^ save the file as UTF-8\n"},
    {"tabs before the caret",
     "{\n"
     "\t\t\"a\":\tb\n"
     "}",
     "t.json:2:8: expected a value: text needs double quotes\n"
     "    2 | \t\t\"a\":\tb\n"
     "      | \t\t    \t^ write \"b\"?\n"},
    {"wide characters before the caret",
     "[\"gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac\", x]",
     "t.json:1:17: expected a value: text needs double quotes\n"
     "    1 | [\"gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac\", x]\n"
     "      |             ^ write \"x\"?\n"},
    {"carriage returns",
     "{\r\n"
     "  \"a\" 1\r\n"
     "}",
     "t.json:2:3: this key has no value\n"
     "    2 |   \"a\" 1\n"
     "      |   ^~~ write : and a value behind it\n"},
    {"number of 64 characters",
     "[1111111111111111111111111111111111111111111111111111111111111111]",
     "t.json:1:2: a number of more than 63 characters\n"
     "    1 | [1111111111111111111111111111111111111111111111111111111111111111]\n"
     "      |  ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n"},
    {"double key",
     "{\"a\": 1,\n"
     " \"b\": 2, \"a\": 3}",
     "t.json:2:10: the key \"a\" stands twice in this object, first at 1:2\n"
     "    2 |  \"b\": 2, \"a\": 3}\n"
     "      |          ^~~ remove one of the two\n"},
    {"double key by escape", "{\"a\": 1, \"\\u0061\": 3}",
     "t.json:1:10: the key \"\\u0061\" stands twice in this object, first at 1:2\n"
     "    1 | {\"a\": 1, \"\\u0061\": 3}\n"
     "      |          ^~~~~~~~ remove one of the two\n"},
    {"double keys and three of one", "{\"a\": 1, \"a\": 2, \"a\": 3}",
     "t.json:1:10: the key \"a\" stands twice in this object, first at 1:2\n"
     "    1 | {\"a\": 1, \"a\": 2, \"a\": 3}\n"
     "      |          ^~~ remove one of the two\n"
     "t.json:1:18: the key \"a\" stands twice in this object, first at 1:2\n"
     "    1 | {\"a\": 1, \"a\": 2, \"a\": 3}\n"
     "      |                  ^~~ remove one of the two\n"},
    {"long line",
     "[\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", "
     "\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", "
     "\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", "
     "\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", "
     "\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", "
     "\"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", x, 1, 1, 1, "
     "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
     "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
     "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
     "1, 1, 1, 1]",
     "t.json:1:422: expected a value: text needs double quotes\n"
     "    1 | ...9\", \"0123456789\", \"0123456789\", \"0123456789\", \"0123456789\", x, 1, 1, 1, "
     "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...\n"
     "      |                                                                ^ write \"x\"?\n"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(mistakes); i++) {
        char text[1024];
        size_t len = strlen(mistakes[i].in);
        assert_true(len < sizeof text);
        for (size_t k = 0; k < len; k++) {
            text[k] = mistakes[i].in[k];
            if (text[k] == '@') {
                text[k] = '\0';
            }
        }
        struct buf out;
        buf_init(&out, REPORT_BYTES);
        struct jsonc doc;
        if (parse(text, len, &doc, &out) == ERR_OK) {
            jsonc_fini(&doc);
        }
        check_span(mistakes[i].name, buf_span(&out), span_str(mistakes[i].want));
        buf_fini(&out);
    }
}

/* ---- what is accepted ---- */

static const struct {
    const char *in;
    const char *want; /* as cJSON prints it */
} good[] = {
    {"{}", "{}"},
    {"\xef\xbb\xbf{}", "{}"},
    {" \t\r\n 1 // end", "1"},
    {"// a\n/* b * / ** */ [ /**/ 1 /* , */ , // ]\n 2, /* x */ ] /**/", "[1,2]"},
    {"{\"a\": [1, {\"b\": 2,},], }", "{\"a\":[1,{\"b\":2}]}"},
    {"[\"// no comment\", \"/* none */\", \",]\", \"\\\"//\"]",
     "[\"// no comment\",\"/* none */\",\",]\",\"\\\"//\"]"},
    {"[true,false,null,-0,-1,1.5,10e2,1E-2]", "[true,false,null,-0,-1,1.5,1000,0.01]"},
    {"\"\\u00e9\\ud83d\\ude00\\b\\f\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80\\b\\f/\""},
    {"[\"\",[],{},[[]],[{}]]", "[\"\",[],{},[[]],[{}]]"},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(good); i++) {
        struct buf out;
        buf_init(&out, REPORT_BYTES);
        struct jsonc doc;
        CHECK_INT(good[i].in, parse(good[i].in, strlen(good[i].in), &doc, &out), ERR_OK);
        check_span(good[i].in, buf_span(&out), SPAN_LIT(""));
        char *printed = cJSON_PrintUnformatted(doc.root);
        check_span(good[i].in, span_str(printed), span_str(good[i].want));
        cJSON_free(printed);
        jsonc_fini(&doc);
        buf_fini(&out);
    }
}

/* The node of each value is tied to cJSON's and knows its bytes. */
static void test_places(void **state)
{
    (void)state;
    static const char text[] = "{ /* x */ \"a\": [10, \"s\",], \"b\" : {\"c\": true} }";
    struct buf out;
    buf_init(&out, REPORT_BYTES);
    struct jsonc doc;
    assert_int_equal(parse(text, strlen(text), &doc, &out), ERR_OK);
    static const struct {
        const char *key;
        const char *value;
    } want[] = {{"", "{"},     {"\"a\"", "["}, {"", "10"},
                {"", "\"s\""}, {"\"b\"", "{"}, {"\"c\"", "true"}};
    assert_int_equal(doc.n_nodes, N_OF(want));
    for (size_t i = 0; i < N_OF(want); i++) {
        struct config_place key = doc.nodes[i].key;
        struct config_place value = doc.nodes[i].value;
        check_span("key", span_of(text + key.at, key.len), span_str(want[i].key));
        check_span("value", span_of(text + value.at, value.len), span_str(want[i].value));
    }
    const struct jsonc_node *a = jsonc_find(&doc, &doc.nodes[0], "a");
    ASSERT(a == &doc.nodes[1]); /* ASSERT: the compiler sees that it does not return */
    assert_int_equal(jsonc_count(&doc, a), 2);
    assert_string_equal(doc.nodes[3].item->valuestring, "s");
    const struct jsonc_node *b = jsonc_next(&doc, a);
    ASSERT(b == &doc.nodes[4]);
    assert_ptr_equal(jsonc_find(&doc, b, "c"), &doc.nodes[5]);
    assert_true(cJSON_IsTrue(doc.nodes[5].item));
    assert_null(jsonc_find(&doc, b, "a"));
    assert_null(jsonc_next(&doc, b));
    jsonc_fini(&doc);
    buf_fini(&out);
}

/* ---- limits ---- */

/* Parses and, when it is refused, checks the message behind the position. */
static void check_limit(const char *name, const char *text, size_t len, const char *want)
{
    struct buf out;
    buf_init(&out, REPORT_BYTES);
    struct jsonc doc;
    enum err e = parse(text, len, &doc, &out);
    CHECK_INT(name, e, want == NULL ? ERR_OK : ERR_CONFIG);
    if (e == ERR_OK) {
        jsonc_fini(&doc);
    }
    struct span report = buf_span(&out);
    CHECK(name, want == NULL || memmem(report.ptr, report.len, want, strlen(want)) != NULL);
    buf_fini(&out);
}

static void test_depth(void **state)
{
    (void)state;
    for (size_t depth = JSONC_MAX_DEPTH; depth <= JSONC_MAX_DEPTH + 1; depth++) {
        char text[2 * JSONC_MAX_DEPTH + 2];
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        check_limit("depth", text, 2 * depth,
                    depth > JSONC_MAX_DEPTH ? "t.json:1:33: more than 32 levels of brackets\n"
                                            : NULL);
    }
}

static void test_values(void **state)
{
    (void)state;
    static char text[2 * JSONC_MAX_VALUES + 2];
    for (size_t n = JSONC_MAX_VALUES; n <= JSONC_MAX_VALUES + 1; n++) {
        size_t len = 0;
        text[len++] = '[';
        for (size_t i = 1; i < n; i++) {
            text[len++] = '1';
            text[len++] = ',';
        }
        text[len++] = ']'; /* behind a trailing comma */
        check_limit("values", text, len,
                    n > JSONC_MAX_VALUES ? ": more than 16384 values in one file\n" : NULL);
    }
}

static void test_size(void **state)
{
    (void)state;
    static char text[JSONC_MAX_BYTES + 1];
    memset(text, ' ', sizeof text);
    text[0] = '{';
    text[1] = '}';
    check_limit("size", text, JSONC_MAX_BYTES, NULL);
    check_limit("size", text, JSONC_MAX_BYTES + 1,
                "t.json: larger than 1048576 bytes: this is no config file\n");
}

static void test_number_length(void **state)
{
    (void)state;
    char text[JSONC_MAX_NUMBER_BYTES + 1];
    memset(text, '1', sizeof text);
    check_limit("number", text, JSONC_MAX_NUMBER_BYTES, NULL);
    check_limit("number", text, JSONC_MAX_NUMBER_BYTES + 1, "more than 63 characters\n");
}

/* A text cut anywhere is refused with a report, or still whole; never anything else. */
static void test_every_prefix(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, -2.5e3, \"x\\u00e9\\ud83d\\ude00\", true], // c\n /* d */ \"b\": {},}";
    for (size_t len = 0; len < strlen(text); len++) {
        check_limit("prefix", text, len, "t.json:");
    }
    check_limit("whole", text, strlen(text), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_places),        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_size),
        cmocka_unit_test(test_number_length), cmocka_unit_test(test_every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
