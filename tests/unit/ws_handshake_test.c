/* ws_handshake: the example of RFC 6455 and every way to get it wrong. */
#include <stdio.h>

#include "harness/test.h"
#include "wire/ws_handshake.h"

#define LINE    "GET / HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define END     "\r\n"

static enum err check(const char *text, struct ws_handshake *out, unsigned *status,
                      const char **why)
{
    static struct http1_head head;
    struct http1_limits limits = HTTP1_LIMITS_DEFAULT;
    struct http1_fault fault;
    uint32_t scanned = 0;
    size_t n = 0;

    enum err e = http1_request_parse(span_str(text), &limits, &scanned, &head, &n, &fault);
    CHECK_INT(text, e, ERR_OK);
    return ws_handshake_check(&head, out, status, why);
}

static void accepts(void **state)
{
    static const char *const cases[] = {
        LINE UPGRADE KEY VERSION END,
        LINE VERSION KEY UPGRADE END,
        "GET / HTTP/1.9\r\nHost: a\r\n" UPGRADE KEY VERSION END,
        LINE "UPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\n" KEY VERSION END,
        LINE "Upgrade: h2c, websocket\r\nConnection: x\r\nConnection: upgrade\r\n" KEY VERSION END,
        LINE
        "Upgrade: ,h2c/1,\r\nUpgrade: , websocket ,,\r\nConnection: ,Upgrade,\r\n" KEY VERSION END,
        LINE UPGRADE KEY VERSION "Content-Length: 0\r\n" END,
        LINE UPGRADE "sec-websocket-key:\tdGhlIHNhbXBsZSBub25jZQ== \r\n" VERSION END,
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_handshake out;
        memset(&out, 0, sizeof out);
        unsigned status = 0;
        const char *why = NULL;
        CHECK_INT(cases[i], check(cases[i], &out, &status, &why), ERR_OK);
        /* RFC 6455 1.3 */
        check_span(cases[i], span_of(out.accept, sizeof out.accept),
                   SPAN_LIT("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

static void refuses(void **state)
{
    static const struct {
        const char *in;
        unsigned status;
    } cases[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION END, 405},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION END, 405},
        {"GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY VERSION END, 400},
        {LINE UPGRADE KEY VERSION "Content-Length: 1\r\n" END, 400},
        {LINE UPGRADE KEY VERSION "Transfer-Encoding: chunked\r\n" END, 400},
        {LINE "Connection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket/13\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: xwebsocket\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade:\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket, a b\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket, a/\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket, /1\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: \"websocket\"\r\nConnection: Upgrade\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket\r\nConnection: Upgrade;x\r\n" KEY VERSION END, 400},
        {LINE "Upgrade: websocket\r\nConnection: Upgrade, a@b\r\n" KEY VERSION END, 400},
        {LINE UPGRADE KEY END, 400},
        {LINE UPGRADE KEY VERSION VERSION END, 400},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 14\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 013\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version:\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 1 3\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: +13\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" VERSION END, 400},
        /* the version comes first */
        {LINE UPGRADE "Sec-WebSocket-Version: 8\r\n" END, 426},
        {LINE UPGRADE "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 8\r\n" END, 426},
        {LINE UPGRADE "Sec-WebSocket-Protocol: a, a\r\nSec-WebSocket-Version: 8\r\n" END, 426},
        {LINE UPGRADE VERSION END, 400},
        {LINE UPGRADE KEY KEY VERSION END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key:\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: x\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWQ=\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWVk\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2-jZQ==\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ====\r\n" END, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, a\r\n" END, 400},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_handshake out;
        unsigned status = 0;
        const char *why = NULL;
        CHECK_INT(cases[i].in, check(cases[i].in, &out, &status, &why), ERR_PROTO);
        CHECK_INT(cases[i].in, status, cases[i].status);
        CHECK(cases[i].in, why != NULL);
    }
}

#define OFFER(text) LINE UPGRADE KEY VERSION text END
#define P           "Sec-WebSocket-Protocol: "

/* The offers joined by blanks. */
static void subprotocols_are_one_list_over_all_lines(void **state)
{
    static const struct {
        const char *in;
        const char *want; /* NULL: 400 */
    } cases[] = {
        {OFFER(""), ""},
        {OFFER(P "\r\n"), ""},
        {OFFER(P ", ,\t,\r\n"), ""},
        {OFFER(P "chat\r\n"), "chat"},
        {OFFER(P "chat, superchat\r\n"), "chat superchat"},
        {OFFER(P ",b ,\t, a,\r\n"), "b a"},
        {OFFER(P "b\r\nX: y\r\nsec-websocket-protocol: ,a\r\n" P "\r\n" P "c\r\n"), "b a c"},
        {OFFER(P "chat, Chat\r\n"), "chat Chat"}, /* case counts */
        {OFFER(P "!#$%&'*+-.^_`|~09azAZ\r\n"), "!#$%&'*+-.^_`|~09azAZ"},
        {OFFER(P "chat, chat\r\n"), NULL},
        {OFFER(P "chat\r\n" P "a, chat\r\n"), NULL},
        {OFFER(P "a b\r\n"), NULL},
        {OFFER(P "a, b c\r\n"), NULL},
        {OFFER(P "a;b\r\n"), NULL},
        {OFFER(P "\"a\"\r\n"), NULL},
        {OFFER(P "\"a,b\"\r\n"), NULL},
        {OFFER(P "a/b\r\n"), NULL},
        {OFFER(P "a=1\r\n"), NULL},
        {OFFER(P "caf\xc3\xa9\r\n"), NULL},
        {OFFER(P "good\r\n" P "(bad)\r\n"), NULL},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_handshake out;
        memset(&out, 0, sizeof out);
        unsigned status = 0;
        const char *why = NULL;
        char joined[128] = "";
        enum err e = check(cases[i].in, &out, &status, &why);
        CHECK_INT(cases[i].in, e, cases[i].want != NULL ? ERR_OK : ERR_PROTO);
        CHECK_INT(cases[i].in, status, cases[i].want != NULL ? 0 : 400);
        for (size_t j = 0; e == ERR_OK && j < out.offers.n; j++) {
            (void)snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%.*s",
                           j != 0 ? " " : "", SPAN_FMT(out.offers.names[j]));
        }
        check_span(cases[i].in, span_str(joined), span_str(cases[i].want));
    }
}

/* One token of 15 KB passes; one more than the bound, and thousands of empty items, cost a look. */
static void subprotocols_are_bounded(void **state)
{
    static char text[16000];
    struct ws_handshake out;
    unsigned status = 0;
    const char *why = NULL;
    (void)state;
    (void)snprintf(text, sizeof text, OFFER(P "%015000d\r\n"), 7);
    assert_int_equal(check(text, &out, &status, &why), ERR_OK);
    assert_int_equal(out.offers.n, 1);
    assert_int_equal(out.offers.names[0].len, 15000);
    for (unsigned n = WS_MAX_SUBPROTOCOLS; n <= WS_MAX_SUBPROTOCOLS + 1; n++) {
        size_t len = (size_t)snprintf(text, sizeof text, LINE UPGRADE KEY VERSION P);
        for (unsigned i = 0; i < n; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "p%u,,,,", i);
        }
        (void)snprintf(text + len, sizeof text - len, "\r\n" END);
        assert_int_equal(check(text, &out, &status, &why),
                         n == WS_MAX_SUBPROTOCOLS ? ERR_OK : ERR_PROTO);
    }
    assert_int_equal(status, 400);
}

static void the_clients_order_decides(void **state)
{
    static const char *const names[] = {"echo.v1", "chat"};
    static const struct {
        const char *in;
        const char *want;
    } cases[] = {
        {OFFER(P "chat, echo.v1\r\n"), "chat"},
        {OFFER(P "x\r\n" P "echo.v1, chat\r\n"), "echo.v1"},
        {OFFER(P "Chat, echo.v1\r\n"), "echo.v1"},
        {OFFER(P "CHAT, echo.v11\r\n"), ""},
        {OFFER(""), ""},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_handshake out;
        unsigned status = 0;
        const char *why = NULL;
        CHECK_INT(cases[i].in, check(cases[i].in, &out, &status, &why), ERR_OK);
        check_span(cases[i].in, ws_subprotocols_choose(&out.offers, names, N_OF(names)),
                   span_str(cases[i].want));
        check_span(cases[i].in, ws_subprotocols_choose(&out.offers, NULL, 0), SPAN_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(subprotocols_are_one_list_over_all_lines),
        cmocka_unit_test(subprotocols_are_bounded),
        cmocka_unit_test(the_clients_order_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
