/* hixie76: the examples of the draft, every way to get its keys wrong, frames in every cut. */
#include "harness/drive_hixie76.h"
#include "harness/test.h"
#include "harness/wire_test.h"

#define LINE     "GET / HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE  "Upgrade: WebSocket\r\nConnection: Upgrade\r\n"
#define KEY1     "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
#define KEY2     "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: sample\r\n"
#define END      "\r\n"

static const struct http1_head *parse(const char *text)
{
    static struct http1_head head;
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;

    CHECK_INT(text, http1_request_parse(span_str(text), &limits, &scanned, &head, &n, &fault),
              ERR_OK);
    return &head;
}

/* -- handshake --------------------------------------------------------------------------------- */

static void the_examples_of_the_draft(void **state)
{
    static const struct {
        const char *key1;
        uint32_t number1;
        const char *key2;
        uint32_t number2;
        const char *nonce;
        const char *answer;
    } cases[] = {
        {"4 @1  46546xW%0l 1 5", 829309203, "12998 5 Y3 1  .P00", 259970620, "^n:ds[4U",
         "8jKS'y:G*Co,Wxa-"},
        {"18x 6]8vM;54 *(5:  {   U1]8  z [  8", 155712099, "1_ tx7X d  <  nf  334J702) 7]o}` 0",
         173347027, "Tm[K T2u", "fQJ,fN/4F4!~K~MH"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct hixie76_keys keys = {{0, 0}};
        char answer[HIXIE76_ANSWER_BYTES];
        CHECK_INT(cases[i].key1, hixie76_key_number(span_str(cases[i].key1), &keys.numbers[0]),
                  ERR_OK);
        CHECK_INT(cases[i].key2, hixie76_key_number(span_str(cases[i].key2), &keys.numbers[1]),
                  ERR_OK);
        CHECK(cases[i].key1, keys.numbers[0] == cases[i].number1);
        CHECK(cases[i].key2, keys.numbers[1] == cases[i].number2);
        hixie76_answer(&keys, cases[i].nonce, answer);
        check_span(cases[i].nonce, span_of(answer, sizeof answer), span_str(cases[i].answer));
    }
}

static void numbers_of_keys(void **state)
{
    static const struct {
        const char *key;
        enum err want;
        uint32_t number;
    } cases[] = {
        {"1 2", ERR_OK, 12},
        {"x1 2 4y", ERR_OK, 62},
        {"0 0", ERR_OK, 0},
        {"4294967295 ", ERR_OK, 4294967295U},
        {" 4294967295", ERR_OK, 4294967295U},
        {"000000000000000000000000000007 ", ERR_OK, 7},
        {"", ERR_PROTO, 0},
        {"12", ERR_PROTO, 0},           /* no blank */
        {"12\t", ERR_PROTO, 0},         /* a tab is no blank */
        {" ", ERR_PROTO, 0},            /* no digit */
        {"a b", ERR_PROTO, 0},          /* likewise */
        {"1 2 3", ERR_PROTO, 0},        /* 123 / 2 */
        {"4294967296 ", ERR_PROTO, 0},  /* over 32 bits */
        {"42949672950 ", ERR_PROTO, 0}, /* likewise */
        {"8589934592  ", ERR_PROTO, 0}, /* also where the quotient would fit */
        {"99999999999999999999999999999999999999 ", ERR_PROTO, 0},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        uint32_t number = 0;
        CHECK_INT(cases[i].key, hixie76_key_number(span_str(cases[i].key), &number), cases[i].want);
        CHECK(cases[i].key, number == cases[i].number);
    }
}

static void only_both_keys_without_a_version_ask(void **state)
{
    static const struct {
        const char *head;
        bool want;
    } cases[] = {
        {LINE UPGRADE KEY1 KEY2 END, true},
        {LINE "SEC-WEBSOCKET-KEY2: x\r\nsec-websocket-key1: y\r\n" END, true},
        {LINE UPGRADE KEY1 END, false},
        {LINE UPGRADE KEY2 END, false},
        {LINE UPGRADE END, false},
        {LINE UPGRADE KEY1 KEY2 "Sec-WebSocket-Version: 13\r\n" END, false},
        {LINE UPGRADE KEY1 KEY2 "Sec-WebSocket-Version:\r\n" END, false},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        CHECK(cases[i].head, hixie76_is_asked(parse(cases[i].head)) == cases[i].want);
    }
}

static void refused_handshakes(void **state)
{
    static const char *const cases[] = {
        "POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY1 KEY2 END,
        "GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY1 KEY2 END,
        LINE UPGRADE KEY1 KEY2 "Content-Length: 8\r\n" END,
        LINE "Connection: Upgrade\r\n" KEY1 KEY2 END,
        LINE "Upgrade: WebSocket\r\n" KEY1 KEY2 END,
        LINE "Upgrade: WebSocket\r\nConnection: close\r\n" KEY1 KEY2 END,
        LINE UPGRADE KEY1 KEY1 KEY2 END,
        LINE UPGRADE KEY1 KEY2 KEY2 END,
        LINE UPGRADE "Sec-WebSocket-Key1: 12\r\n" KEY2 END,
        LINE UPGRADE KEY1 "Sec-WebSocket-Key2: 1 2 3\r\n" END,
        LINE UPGRADE KEY1 "Sec-WebSocket-Key2:\r\n" END,
        LINE UPGRADE KEY1 KEY2 "Sec-WebSocket-Protocol: a b\r\n" END,
        LINE UPGRADE KEY1 KEY2 "Sec-WebSocket-Protocol: a, a\r\n" END,
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct hixie76_handshake out;
        const char *why = NULL;
        CHECK_INT(cases[i], hixie76_check(parse(cases[i]), &out, &why), ERR_PROTO);
        CHECK(cases[i], why != NULL);
    }
}

static void a_good_handshake(void **state)
{
    struct hixie76_handshake out;
    const char *why = NULL;
    (void)state;
    assert_int_equal(hixie76_check(parse(LINE KEY2 UPGRADE PROTOCOL KEY1 END), &out, &why), ERR_OK);
    assert_int_equal(out.keys.numbers[0], 829309203);
    assert_int_equal(out.keys.numbers[1], 259970620);
    assert_int_equal(out.offers.n, 1);
    check_span("offer", out.offers.names[0], SPAN_LIT("sample"));
}

/* -- frames ------------------------------------------------------------------------------------ */

#define NOT_UTF8 "!1007 a text message is not UTF-8"
#define NOT_TEXT "!1002 a frame is not text"
#define TOO_BIG  "!1009 the message is over the limit"

static void frames(void **state)
{
    static const struct {
        const char *name;
        struct span in;
        const char *want;
    } cases[] = {
        {"nothing", SPAN_LIT_INIT(""), ""},
        {"text", SPAN_LIT_INIT("\0hi\xff"), "[hi] "},
        {"empty ones", SPAN_LIT_INIT("\0\xff\0\xff"), "[] [] "},
        {"several", SPAN_LIT_INIT("\0a\xff\0b\xff\0c"), "[a] [b] "},
        {"NUL inside", SPAN_LIT_INIT("\0a\0b\xff"), "[a\\x00b] "},
        {"UTF-8", SPAN_LIT_INIT("\0\xc3\xa5\xe2\x82\xac\xf0\x9f\x9a\x80\xff"),
         "[\\xc3\\xa5\\xe2\\x82\\xac\\xf0\\x9f\\x9a\\x80] "},
        {"as long as allowed",
         SPAN_LIT_INIT("\000"
                       "12345678901234567890\xff"),
         "[12345678901234567890] "},
        {"one byte longer",
         SPAN_LIT_INIT("\000"
                       "123456789012345678901\xff"),
         TOO_BIG},
        {"one byte longer, without an end",
         SPAN_LIT_INIT("\000"
                       "123456789012345678901"),
         TOO_BIG},
        {"not UTF-8, then one byte longer", SPAN_LIT_INIT("\0\xe4x23456789012345678901\xff"),
         NOT_UTF8},
        {"one byte longer, then not UTF-8", SPAN_LIT_INIT("\0y2345678901234567890\xc3\xe4\xff"),
         TOO_BIG},
        {"close", SPAN_LIT_INIT("\xff\0"), "close"},
        {"what follows a close is nothing", SPAN_LIT_INIT("\xff\0\0late\xff\x81\xff"), "close"},
        {"text, then close", SPAN_LIT_INIT("\0a\xff\xff\0"), "[a] close"},
        {"close inside of text", SPAN_LIT_INIT("\0a\xff\0\xff\0b\xff"), "[a] [] [b] "},
        {"UTF-8 cut off", SPAN_LIT_INIT("\0\xc3\xff"), NOT_UTF8},
        {"a surrogate", SPAN_LIT_INIT("\0\xed\xa0\x80\xff"), NOT_UTF8},
        {"overlong", SPAN_LIT_INIT("\0\xc0\xaf\xff"), NOT_UTF8},
        {"bad before its end", SPAN_LIT_INIT("\0ab\xfe"), NOT_UTF8},
        {"another sentinel frame", SPAN_LIT_INIT("\001x\xff"), NOT_TEXT},
        {"the last sentinel frame", SPAN_LIT_INIT("\x7f\xff"), NOT_TEXT},
        {"a length", SPAN_LIT_INIT("\x80\x01x"), NOT_TEXT},
        {"a length without an end", SPAN_LIT_INIT("\x80\x80\x80\x80\x80\x80"), NOT_TEXT},
        {"a frame of RFC 6455", SPAN_LIT_INIT("\x81\x82\0\0\0\0hi"), NOT_TEXT},
        {"0xFE", SPAN_LIT_INIT("\xfe\0"), NOT_TEXT},
        {"0xFF with a length", SPAN_LIT_INIT("\xff\x01x"), "!1002 a frame has a length"},
        {"0xFF twice", SPAN_LIT_INIT("\0a\xff\xff\xff"), "[a] !1002 a frame has a length"},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct drive_hixie76 drive = {.max_message_bytes = 20};
        struct feed feed = drive_hixie76_feed(&drive);
        wire_check(&feed, cases[i].name, cases[i].in, cases[i].want, true);
        transcript_free(&drive.transcript);
        transcript_free(&drive.message);
    }
}

static void what_is_in_a_frame(void **state)
{
    static const struct {
        struct span in;
        bool want;
    } cases[] = {
        {SPAN_LIT_INIT(""), false},        {SPAN_LIT_INIT("\0"), true},
        {SPAN_LIT_INIT("\0a"), true},      {SPAN_LIT_INIT("\0a\xff"), false},
        {SPAN_LIT_INIT("\xff"), true},     {SPAN_LIT_INIT("\xff\0"), false},
        {SPAN_LIT_INIT("\0\xff\0"), true},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct hixie76_parser parser = {0};
        struct span rest = cases[i].in;
        while (rest.len != 0) {
            struct hixie76_event event;
            struct ws_fault fault;
            size_t n = 0;
            assert_int_equal(hixie76_parse(&parser, 20, rest, &n, &event, &fault), ERR_OK);
            rest = span_skip(rest, n);
        }
        CHECK_INT("case", hixie76_is_in_frame(&parser), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_draft),
        cmocka_unit_test(numbers_of_keys),
        cmocka_unit_test(only_both_keys_without_a_version_ask),
        cmocka_unit_test(refused_handshakes),
        cmocka_unit_test(a_good_handshake),
        cmocka_unit_test(frames),
        cmocka_unit_test(what_is_in_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
