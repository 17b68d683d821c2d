/* http_resp: see http_resp.h. Everything is appended to the connection's output; the turn's end
 * sends it. */
#include "http/http_resp.h"

#include <time.h>

#include "base/kit.h"
#include "base/text.h"
#include "http/http_conn_internal.h"

static const struct {
    unsigned status;
    const char *line;
} status_lines[] = {
    {101, "HTTP/1.1 101 Switching Protocols\r\n"},
    {200, "HTTP/1.1 200 OK\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {304, "HTTP/1.1 304 Not Modified\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {403, "HTTP/1.1 403 Forbidden\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    {408, "HTTP/1.1 408 Request Timeout\r\n"},
    {413, "HTTP/1.1 413 Content Too Large\r\n"},
    {414, "HTTP/1.1 414 URI Too Long\r\n"},
    {417, "HTTP/1.1 417 Expectation Failed\r\n"},
    {426, "HTTP/1.1 426 Upgrade Required\r\n"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n"},
    {501, "HTTP/1.1 501 Not Implemented\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
};

static void put(struct http_conn *hc, struct span bytes)
{
    if (hc->is_over || hc->has_failed) {
        return;
    }
    if (conn_write(hc->conn, bytes) != ERR_OK) {
        hc->has_failed = true;
        hc->server->kit->counters.out_of_memory++;
    }
}

static void put_status_line(struct http_conn *hc, unsigned status)
{
    for (size_t i = 0; i < sizeof status_lines / sizeof status_lines[0]; i++) {
        if (status_lines[i].status == status) {
            put(hc, span_str(status_lines[i].line));
            return;
        }
    }
    char digits[DECIMAL_MAX_CHARS];
    size_t n = decimal_put(digits, status);
    put(hc, SPAN_LIT("HTTP/1.1 "));
    put(hc, span_of(digits, n));
    put(hc, SPAN_LIT(" \r\n")); /* the reason may be empty (RFC 9112 4) */
}

/* Made anew once a second: formatting a date costs as much as a whole small answer. */
static struct span date_line(struct http_server *server)
{
    uint64_t second = server->kit->now_ms / 1000;
    if (server->date_len == 0 || server->date_second != second) {
        time_t now = time(NULL);
        struct tm utc;
        (void)gmtime_r(&now, &utc);
        server->date_second = second;
        server->date_len = (uint8_t)strftime(server->date, sizeof server->date,
                                             "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
    }
    return span_of(server->date, server->date_len);
}

/* What every answer begins with besides its status line. */
static void begin_answer(struct http_conn *hc, unsigned status)
{
    ASSERT(hc->answer == ANSWER_NONE);
    hc->answer = ANSWER_HEAD;
    hc->status = (uint16_t)status;
    bool is_body_unread = hc->input == INPUT_REQUEST || hc->input == INPUT_BODY;
    if (is_body_unread && !http_conn_can_drain(hc)) {
        hc->keep_alive = false;
    }
}

void http_resp_start(struct http_resp *resp, unsigned status)
{
    struct http_conn *hc = http_conn_of(resp);
    begin_answer(hc, status);
    put_status_line(hc, status);
    if (status == 101) {
        return;
    }
    put(hc, date_line(hc->server));
    if (!hc->keep_alive) {
        put(hc, SPAN_LIT("Connection: close\r\n"));
    }
}

void http_resp_start_switching(struct http_resp *resp, struct span reason)
{
    struct http_conn *hc = http_conn_of(resp);
    begin_answer(hc, 101);
    put(hc, SPAN_LIT("HTTP/1.1 101 "));
    put(hc, reason);
    put(hc, SPAN_LIT("\r\n"));
}

void http_resp_field(struct http_resp *resp, struct span name, struct span value)
{
    struct http_conn *hc = http_conn_of(resp);
    put(hc, name);
    put(hc, SPAN_LIT(": "));
    put(hc, value);
    put(hc, SPAN_LIT("\r\n"));
}

void http_resp_fields(struct http_resp *resp, struct span lines)
{
    put(http_conn_of(resp), lines);
}

/* False: it cannot be completed, and the connection has ended. */
static bool fail_or_answered(struct http_conn *hc)
{
    hc->answer = ANSWER_DONE;
    hc->watch = NULL;
    if (hc->has_failed && !hc->is_over) {
        conn_abort(hc->conn);
        http_conn_release(hc);
        return false;
    }
    http_conn_answered(hc);
    return true;
}

static size_t total_len(const struct span *pieces, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += pieces[i].len;
    }
    return total;
}

bool http_resp_finish_pieces(struct http_resp *resp, const struct span *pieces, size_t n)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->answer == ANSWER_HEAD);
    if (hc->keep_alive && hc->minor == 0) {
        put(hc, SPAN_LIT("Connection: keep-alive\r\n")); /* HTTP/1.0 must be told */
    }
    if (hc->status == 204 || hc->status == 304) {
        put(hc, SPAN_LIT("\r\n"));
        return fail_or_answered(hc);
    }
    char digits[DECIMAL_MAX_CHARS];
    size_t n_digits = decimal_put(digits, total_len(pieces, n));
    put(hc, SPAN_LIT("Content-Length: "));
    put(hc, span_of(digits, n_digits));
    put(hc, SPAN_LIT("\r\n\r\n"));
    for (size_t i = 0; i < n && !hc->is_head_method; i++) {
        put(hc, pieces[i]);
    }
    return fail_or_answered(hc);
}

bool http_resp_finish(struct http_resp *resp, struct span body)
{
    return http_resp_finish_pieces(resp, &body, 1);
}

void http_resp_text(struct http_resp *resp, unsigned status, struct span body)
{
    http_resp_start(resp, status);
    http_resp_fields(resp, SPAN_LIT("Content-Type: text/plain; charset=UTF-8\r\n"));
    (void)http_resp_finish(resp, body);
}

void http_resp_stream(struct http_resp *resp)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->answer == ANSWER_HEAD);
    hc->answer = ANSWER_STREAM;
    hc->is_chunked = hc->minor == 1;
    if (!hc->is_chunked && hc->keep_alive) {
        hc->keep_alive = false; /* the end of the connection is the end of the body */
        put(hc, SPAN_LIT("Connection: close\r\n"));
    }
    put(hc, hc->is_chunked ? SPAN_LIT("Transfer-Encoding: chunked\r\n\r\n") : SPAN_LIT("\r\n"));
}

/* Hexadecimal size and CRLF. Returns the length. */
static size_t put_chunk_size(char out[18], size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t digits = 1;
    while (digits < 16 && n >> (4 * digits) != 0) {
        digits++;
    }
    for (size_t i = 0; i < digits; i++) {
        out[i] = hex[(n >> (4 * (digits - 1 - i))) & 15];
    }
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

void http_resp_chunk(struct http_resp *resp, const struct span *pieces, size_t n)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->answer == ANSWER_STREAM);
    size_t total = total_len(pieces, n);
    if (total == 0 || hc->is_head_method) {
        return;
    }
    if (hc->is_chunked) {
        char size[18];
        put(hc, span_of(size, put_chunk_size(size, total)));
    }
    for (size_t i = 0; i < n; i++) {
        put(hc, pieces[i]);
    }
    if (hc->is_chunked) {
        put(hc, SPAN_LIT("\r\n"));
    }
    if (hc->has_failed && !hc->is_over) {
        http_conn_lose(hc);
    }
}

bool http_resp_end(struct http_resp *resp)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->answer == ANSWER_STREAM);
    if (hc->is_chunked && !hc->is_head_method) {
        put(hc, SPAN_LIT("0\r\n\r\n"));
    }
    return fail_or_answered(hc);
}

void http_resp_close_after(struct http_resp *resp)
{
    http_conn_of(resp)->keep_alive = false;
}

struct http_octets *http_resp_upgrade(struct http_resp *resp)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->answer == ANSWER_HEAD && hc->status == 101);
    put(hc, SPAN_LIT("\r\n"));
    struct conn *conn = hc->conn;
    if (hc->has_failed) {
        conn_fail(conn); /* the new owner hears of it */
    }
    if (hc->is_paused) {
        conn_resume(conn); /* what waits behind the request is for the new owner */
    }
    http_conn_release(hc);
    return (struct http_octets *)(void *)conn;
}

void http_resp_move(struct http_resp *resp, unsigned worker)
{
    struct http_conn *hc = http_conn_of(resp);
    ASSERT(hc->input == INPUT_REQUEST && hc->answer == ANSWER_NONE && hc->watch == NULL);
    if (hc->was_moved) {
        http_resp_text(resp, 503, SPAN_LIT("The session lives on another worker.\n"));
        return;
    }
    ASSERT(hc->server->on_move != NULL && worker != hc->server->kit->id);
    hc->move_to = worker;
    http_conn_move(hc);
}

size_t http_resp_room(struct http_resp *resp)
{
    struct http_conn *hc = http_conn_of(resp);
    return hc->is_over ? 0 : conn_room(hc->conn);
}

bool http_resp_is_http10(const struct http_resp *resp)
{
    return ((const struct http_conn *)(const void *)resp)->minor == 0;
}

void http_resp_watch(struct http_resp *resp, const struct http_watch *watch, void *ctx)
{
    struct http_conn *hc = http_conn_of(resp);
    hc->watch = watch;
    hc->watch_ctx = ctx;
}

void http_resp_abort(struct http_resp *resp)
{
    struct http_conn *hc = http_conn_of(resp);
    if (!hc->is_over) {
        conn_abort(hc->conn);
        http_conn_release(hc);
    }
}
