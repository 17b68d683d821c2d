/* ws_handshake: the example of RFC 6455 and every way to get it wrong. */
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
        LINE UPGRADE KEY VERSION "Content-Length: 0\r\n" END,
        LINE UPGRADE "sec-websocket-key:\tdGhlIHNhbXBsZSBub25jZQ== \r\n" VERSION END,
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_handshake out = {""};
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
        {"POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION END, 400},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION END, 400},
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
        {LINE UPGRADE KEY END, 400},
        {LINE UPGRADE KEY VERSION VERSION END, 400},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 14\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 013\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n" END, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version:\r\n" END, 426},
        {LINE UPGRADE "Sec-WebSocket-Version: 8\r\n" END, 426}, /* the version comes first */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
