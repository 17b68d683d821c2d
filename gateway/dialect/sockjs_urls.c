/*
 * sockjs_urls: see sockjs_urls.h. Paths are judged on the bytes as sent: slashes are not collapsed
 * and nothing is decoded, since the routing must see what a proxy in front saw.
 */
#include "dialect/sockjs_urls.h"

#include <stdio.h>
#include <time.h>

#include "base/kit.h"
#include "core/sid.h"
#include "dialect/sockjs.h"
#include "http/http_file.h"
#include "http/http_req.h"
#include "http/http_resp.h"

enum page {
    PAGE_GREETING,
    PAGE_INFO,
    PAGE_IFRAME,
    PAGE_CLIENT, /* the script of the iframe page */
    PAGE_PREFLIGHT,
    PAGE_BAD_METHOD,
};

/* How each transport is asked for: below /server/session/, but the raw one. */
static const struct {
    struct span name;
    enum http_method method;
    const char *allow;
    bool has_preflight; /* asked by XMLHttpRequest; a <script>, form or EventSource makes none */
} urls[SOCKJS_N_ROUTES] = {
    [SOCKJS_WEBSOCKET] = {SPAN_LIT_INIT("websocket"), HTTP_GET, "GET", false},
    [SOCKJS_XHR_STREAMING] = {SPAN_LIT_INIT("xhr_streaming"), HTTP_POST, "OPTIONS, POST", true},
    [SOCKJS_XHR] = {SPAN_LIT_INIT("xhr"), HTTP_POST, "OPTIONS, POST", true},
    [SOCKJS_XHR_SEND] = {SPAN_LIT_INIT("xhr_send"), HTTP_POST, "OPTIONS, POST", true},
    [SOCKJS_EVENTSOURCE] = {SPAN_LIT_INIT("eventsource"), HTTP_GET, "GET", false},
    [SOCKJS_HTMLFILE] = {SPAN_LIT_INIT("htmlfile"), HTTP_GET, "GET", false},
    [SOCKJS_JSONP] = {SPAN_LIT_INIT("jsonp"), HTTP_GET, "GET", false},
    [SOCKJS_JSONP_SEND] = {SPAN_LIT_INIT("jsonp_send"), HTTP_POST, "POST", false},
    [SOCKJS_RAW_WEBSOCKET] = {SPAN_LIT_INIT(""), HTTP_GET, "GET", false},
};

#define CLIENT_NAME "/sockjs.min.js"

#define NOT_CACHED "Cache-Control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n"

/* -- URLs ------------------------------------------------------------------------------------- */

static bool is_hex_digit_above(char c, char low)
{
    return (c >= '0' && c <= '9' && c >= low) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A coded control byte: %00-%1f or %7f. */
static bool has_coded_control(struct span part)
{
    for (size_t i = 0; i + 2 < part.len; i++) {
        const char *at = part.ptr + i;
        if (at[0] == '%' && (((at[1] == '0' || at[1] == '1') && is_hex_digit_above(at[2], '0')) ||
                             (at[1] == '7' && (at[2] == 'f' || at[2] == 'F')))) {
            return true;
        }
    }
    return false;
}

/* One part of /server/session/transport: not empty, without a dot. */
static bool is_part(struct span part)
{
    return part.len != 0 && span_find(part, '.') == part.len && !has_coded_control(part);
}

/* Takes "/part" off the front of `rest`. */
static bool next_part(struct span *rest, struct span *part)
{
    if (rest->len == 0 || rest->ptr[0] != '/') {
        return false;
    }
    struct span after = span_skip(*rest, 1);
    *part = span_of(after.ptr, span_find(after, '/'));
    *rest = span_skip(after, part->len);
    return true;
}

static void set_page(struct route *out, enum page page, const char *allow)
{
    *out = (struct route){.kind = ROUTE_PAGE, .index = page, .allow = allow};
}

static void get_page(const struct http_req *req, struct route *out, enum page page)
{
    bool is_get = req->head->method == HTTP_GET || req->head->method == HTTP_HEAD;
    set_page(out, is_get ? page : PAGE_BAD_METHOD, "GET");
}

static bool is_iframe_name(struct span suffix)
{
    struct span head = SPAN_LIT("/iframe");
    struct span tail = SPAN_LIT(".html");
    if (!span_starts_with(suffix, head) || suffix.len < head.len + tail.len ||
        !span_eq(span_skip(suffix, suffix.len - tail.len), tail)) {
        return false;
    }
    for (size_t i = head.len; i < suffix.len; i++) {
        char c = suffix.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
              c == '-')) {
            return false;
        }
    }
    return true;
}

static void set_transport(const struct sockjs_opts *opts, const struct http_req *req,
                          enum sockjs_route index, struct span sid, struct route *out)
{
    /* Browsers send an Origin with every WebSocket handshake. */
    bool is_websocket = index == SOCKJS_WEBSOCKET || index == SOCKJS_RAW_WEBSOCKET;
    enum http_method method = req->head->method;
    if (!(opts->enabled & 1U << index) || sid.len > SID_MAX_BYTES) {
        return;
    }
    if (method == urls[index].method) {
        *out = (struct route){.kind = ROUTE_TRANSPORT, .index = index, .sid = sid};
        out->is_embedded = method == HTTP_GET && !is_websocket;
    } else if (method == HTTP_OPTIONS && urls[index].has_preflight) {
        set_page(out, PAGE_PREFLIGHT, urls[index].allow);
    } else {
        set_page(out, PAGE_BAD_METHOD, urls[index].allow);
    }
}

static void classify_session_url(const struct sockjs_opts *opts, const struct http_req *req,
                                 struct span suffix, struct route *out)
{
    struct span server, session, transport;
    if (!next_part(&suffix, &server) || !next_part(&suffix, &session) ||
        !next_part(&suffix, &transport) || !is_part(server) || !is_part(session)) {
        return;
    }
    if (suffix.len != 0 && !span_eq(suffix, SPAN_LIT("/"))) {
        return;
    }
    for (unsigned i = 0; i < SOCKJS_N_ROUTES && transport.len != 0; i++) {
        if (span_eq(urls[i].name, transport)) {
            set_transport(opts, req, (enum sockjs_route)i, session, out);
            return;
        }
    }
}

void sockjs_classify(const void *opts_of_mount, const struct http_req *req, struct span suffix,
                     struct route *out)
{
    const struct sockjs_opts *opts = opts_of_mount;
    *out = (struct route){.kind = ROUTE_NOT_FOUND};
    if (suffix.len == 0 || span_eq(suffix, SPAN_LIT("/"))) {
        get_page(req, out, PAGE_GREETING);
        out->skips_origin = true;
    } else if (span_eq(suffix, SPAN_LIT("/info")) || span_eq(suffix, SPAN_LIT("/info/"))) {
        bool is_get = req->head->method == HTTP_GET || req->head->method == HTTP_HEAD;
        bool is_options = req->head->method == HTTP_OPTIONS;
        set_page(out,
                 is_get       ? PAGE_INFO
                 : is_options ? PAGE_PREFLIGHT
                              : PAGE_BAD_METHOD,
                 "OPTIONS, GET");
    } else if (opts->has_iframe && is_iframe_name(suffix)) {
        get_page(req, out, PAGE_IFRAME);
        out->is_embedded = true;
    } else if (opts->client.len != 0 && span_eq(suffix, SPAN_LIT(CLIENT_NAME))) {
        get_page(req, out, PAGE_CLIENT);
        out->skips_origin = true;
    } else if (span_eq(suffix, SPAN_LIT("/websocket")) ||
               span_eq(suffix, SPAN_LIT("/websocket/"))) {
        set_transport(opts, req, SOCKJS_RAW_WEBSOCKET, SPAN_NONE, out);
    } else {
        classify_session_url(opts, req, suffix, out);
    }
}

/* -- answers ---------------------------------------------------------------------------------- */

enum err sockjs_dress(const void *opts_of_mount, const struct http_req *req, struct buf *fields)
{
    const struct sockjs_opts *opts = opts_of_mount;
    enum err e = buf_append_span(fields, SPAN_LIT(NOT_CACHED));
    if (e == ERR_OK) {
        e = cors_put(fields, opts->cors, req);
    }
    if (e == ERR_OK && opts->cookie_needed) {
        struct span cookie = http_req_cookie(req, SPAN_LIT("JSESSIONID"));
        if (cookie.len == 0) {
            cookie = SPAN_LIT("dummy");
        }
        e = buf_printf(fields, "Set-Cookie: JSESSIONID=%.*s; path=/\r\n", SPAN_FMT(cookie));
    }
    return e;
}

/* Good for a year: Cache-Control for today's caches, Expires for yesterday's. */
static enum err put_cached(struct buf *fields)
{
    const time_t year = 31536000;
    time_t then = time(NULL) + year;
    struct tm utc;
    char date[40];
    (void)gmtime_r(&then, &utc);
    (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    return buf_printf(fields, "Cache-Control: public, max-age=%lld\r\nExpires: %s\r\n",
                      (long long)year, date);
}

static void info(const struct sockjs_opts *opts, struct http_req *req, struct kit *kit)
{
    struct buf *fields = &kit->encode_scratch;
    char body[160];
    int n = snprintf(body, sizeof body,
                     "{\"websocket\":%s,\"origins\":[\"*:*\"],\"cookie_needed\":%s,\"entropy\":%u}",
                     opts->enabled & 1U << SOCKJS_WEBSOCKET ? "true" : "false",
                     opts->cookie_needed ? "true" : "false", rand_u32(&kit->rand));
    buf_clear(fields);
    if (buf_append_span(fields, SPAN_LIT(NOT_CACHED)) != ERR_OK ||
        cors_put(fields, opts->cors, req) != ERR_OK) {
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return;
    }
    http_resp_start(req->resp, 200);
    http_resp_fields(req->resp, SPAN_LIT("Content-Type: application/json; charset=UTF-8\r\n"));
    http_resp_fields(req->resp, buf_span(fields));
    http_resp_finish(req->resp, span_of(body, (size_t)n));
}

static void preflight(const struct sockjs_opts *opts, struct http_req *req, struct span methods,
                      struct kit *kit)
{
    struct buf *fields = &kit->encode_scratch;
    buf_clear(fields);
    if (put_cached(fields) != ERR_OK || cors_put(fields, opts->cors, req) != ERR_OK ||
        cors_put_preflight(fields, req, methods) != ERR_OK) {
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return;
    }
    http_resp_start(req->resp, 204);
    http_resp_fields(req->resp, buf_span(fields));
    http_resp_finish(req->resp, SPAN_NONE);
}

/* The page is cached for a year where any site may embed it. Where only some may, the list travels
 * with the page, and a change of the list must reach those who have it. */
static enum err put_iframe_fields(struct buf *fields, const struct sockjs_opts *opts)
{
    if (opts->cors->any) {
        return put_cached(fields);
    }
    enum err e = buf_append_span(fields, SPAN_LIT("Cache-Control: no-cache\r\n"
                                                  "Content-Security-Policy: frame-ancestors"));
    if (e == ERR_OK) {
        e = cors_put_ancestors(fields, opts->cors);
    }
    return e == ERR_OK ? buf_append_span(fields, SPAN_LIT("\r\n")) : e;
}

static void iframe(const struct sockjs_opts *opts, struct http_req *req, struct kit *kit)
{
    static const char head[] = "<!DOCTYPE html>\n"
                               "<html>\n"
                               "<head>\n"
                               "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
                               "  <meta http-equiv=\"Content-Type\" content=\"text/html; "
                               "charset=UTF-8\" />\n"
                               "  <script src=\"";
    static const char tail[] = "\"></script>\n"
                               "  <script>\n"
                               "    document.domain = document.domain;\n"
                               "    SockJS.bootstrap_iframe();\n"
                               "  </script>\n"
                               "</head>\n"
                               "<body>\n"
                               "  <h2>Don't panic!</h2>\n"
                               "  <p>This is a SockJS hidden iframe. It's used for cross domain "
                               "magic.</p>\n"
                               "</body>\n"
                               "</html>";
    bool is_own = opts->script_url[0] == '\0';
    const struct span pieces[] = {
        span_of(head, sizeof head - 1), is_own ? opts->path : span_str(opts->script_url),
        is_own ? SPAN_LIT(CLIENT_NAME) : SPAN_NONE, span_of(tail, sizeof tail - 1)};
    struct buf *fields = &kit->encode_scratch;
    buf_clear(fields);
    if (put_iframe_fields(fields, opts) != ERR_OK) {
        http_resp_text(req->resp, 503, SPAN_LIT("Out of memory.\n"));
        return;
    }
    http_file_answer(req, SPAN_LIT("text/html; charset=UTF-8"), buf_span(fields), pieces, 4);
}

void sockjs_page(const void *opts_of_mount, const struct route *route, struct http_req *req,
                 struct kit *kit)
{
    const struct sockjs_opts *opts = opts_of_mount;
    switch ((enum page)route->index) {
    case PAGE_GREETING:
        http_resp_text(req->resp, 200, SPAN_LIT("Welcome to SockJS!\n"));
        break;
    case PAGE_INFO:
        info(opts, req, kit);
        break;
    case PAGE_IFRAME:
        iframe(opts, req, kit);
        break;
    case PAGE_CLIENT:
        /* Asked for again each time: a client of another version refuses to work with the page. */
        http_file_answer(req, SPAN_LIT("text/javascript; charset=UTF-8"),
                         SPAN_LIT("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"),
                         &opts->client, 1);
        break;
    case PAGE_PREFLIGHT:
        preflight(opts, req, span_str(route->allow), kit);
        break;
    case PAGE_BAD_METHOD:
        http_resp_start(req->resp, 405);
        http_resp_field(req->resp, SPAN_LIT("Allow"), span_str(route->allow));
        http_resp_finish(req->resp, SPAN_NONE);
        break;
    }
}
