/*
 * url: see url.h. Targets come from anyone; what is let through here is what routing and the
 * upstream request are built from, so each form is matched whole and nothing is repaired.
 */
#include "wire/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "wire/http1_chars.h"

enum {
    MAX_PORT_DIGITS = 5,
    MAX_PORT = 65535,
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 0 to 15, or -1. */
static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    c = span_lower_char(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_hex_pair(struct span s)
{
    return s.len >= 2 && hex_value(s.ptr[0]) >= 0 && hex_value(s.ptr[1]) >= 0;
}

/* ---- authority (RFC 3986 section 3.2) ---- */

static bool is_valid_port(struct span port)
{
    unsigned value = 0;

    if (port.len == 0 || port.len > MAX_PORT_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < port.len; i++) {
        if (!is_digit(port.ptr[i])) {
            return false;
        }
        value = value * 10 + (unsigned)(port.ptr[i] - '0');
    }
    return value >= 1 && value <= MAX_PORT;
}

/* unreserved / sub-delims */
static bool is_reg_name_char(char c)
{
    if (is_digit(c) || (span_lower_char(c) >= 'a' && span_lower_char(c) <= 'z')) {
        return true;
    }
    return c != '\0' && strchr("-._~!$&'()*+,;=", c) != NULL;
}

static bool is_valid_reg_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '%') {
            if (!is_hex_pair(span_skip(name, i + 1))) {
                return false;
            }
            i += 2;
        } else if (!is_reg_name_char(name.ptr[i])) {
            return false;
        }
    }
    return name.len != 0;
}

/* The text between the brackets. inet_pton knows no zone ("%eth0"), and a Host must have none. */
static bool is_valid_ipv6(struct span text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* Cuts "host[:port]" (not empty) at its colon. False: brackets without end, or bytes between ']'
 * and ':'. */
static bool split_port(struct span authority, struct span *host, struct span *port, bool *has_port)
{
    size_t host_len = span_find(authority, ':');

    if (authority.ptr[0] == '[') {
        host_len = span_find(authority, ']') + 1;
        if (host_len > authority.len) {
            return false;
        }
    }
    struct span rest = span_skip(authority, host_len);
    *host = span_of(authority.ptr, host_len);
    *has_port = rest.len != 0;
    *port = SPAN_NONE;
    if (*has_port) {
        *port = span_skip(rest, 1);
    }
    return rest.len == 0 || rest.ptr[0] == ':';
}

static bool is_valid_authority(struct span authority, bool needs_port)
{
    struct span host;
    struct span port;
    bool has_port;

    if (authority.len == 0 || !split_port(authority, &host, &port, &has_port)) {
        return false;
    }
    if (has_port ? !is_valid_port(port) : needs_port) {
        return false;
    }
    if (host.len != 0 && host.ptr[0] == '[') {
        return is_valid_ipv6(span_of(host.ptr + 1, host.len - 2));
    }
    return is_valid_reg_name(host);
}

bool url_is_valid_authority(struct span host)
{
    return is_valid_authority(host, false);
}

/* ---- targets (RFC 9112 section 3.2) ---- */

static enum err refuse(struct fault *fault, size_t offset, const char *why)
{
    *fault = (struct fault){offset, why};
    return ERR_SYNTAX;
}

/* Length of "http://" or "https://" at the front, in any case; 0 for anything else. */
static size_t scheme_len(struct span target)
{
    static const struct span schemes[] = {SPAN_LIT_INIT("http://"), SPAN_LIT_INIT("https://")};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = schemes[i].len;
        if (target.len >= len && span_eq_nocase(span_of(target.ptr, len), schemes[i])) {
            return len;
        }
    }
    return 0;
}

static void split_path(struct span rest, struct url_target *out)
{
    size_t mark = span_find(rest, '?');

    out->path = span_of(rest.ptr, mark);
    out->has_query = mark < rest.len;
    if (out->has_query) {
        out->query = span_skip(rest, mark + 1);
    }
}

static enum err split_absolute(struct span target, struct url_target *out, struct fault *fault)
{
    size_t at = scheme_len(target);

    if (at == 0) {
        return refuse(fault, 0, "the target is neither a path nor an http URL");
    }
    struct span rest = span_skip(target, at);
    size_t end = span_find(rest, '/');
    size_t mark = span_find(rest, '?');
    if (mark < end) {
        end = mark;
    }
    out->form = URL_ABSOLUTE;
    out->authority = span_of(rest.ptr, end);
    if (!is_valid_authority(out->authority, false)) {
        return refuse(fault, at, "the authority of the target is not valid");
    }
    split_path(span_skip(rest, end), out);
    if (out->path.len == 0) {
        out->path = SPAN_LIT("/");
    }
    return ERR_OK;
}

static enum err check_target_bytes(struct span target, struct fault *fault)
{
    for (size_t i = 0; i < target.len; i++) {
        if (!http1_char_is(target.ptr[i], HTTP1_CHAR_VISIBLE)) {
            return refuse(fault, i, "the target has a byte that is not visible ASCII");
        }
        /* A fragment never travels (RFC 9110 4.2.5); two hops may cut it or not. */
        if (target.ptr[i] == '#') {
            return refuse(fault, i, "the target has a fragment");
        }
    }
    return target.len != 0 ? ERR_OK : refuse(fault, 0, "the target is empty");
}

enum err url_split(struct span method, struct span target, struct url_target *out,
                   struct fault *fault)
{
    *out = (struct url_target){.form = URL_ORIGIN};
    enum err e = check_target_bytes(target, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (span_eq(method, SPAN_LIT("CONNECT"))) {
        out->form = URL_AUTHORITY;
        out->authority = target;
        return is_valid_authority(target, true)
                   ? ERR_OK
                   : refuse(fault, 0, "CONNECT needs host:port as its target");
    }
    if (target.ptr[0] == '/') {
        split_path(target, out);
        return ERR_OK;
    }
    if (target.len == 1 && target.ptr[0] == '*') {
        out->form = URL_ASTERISK;
        return span_eq(method, SPAN_LIT("OPTIONS"))
                   ? ERR_OK
                   : refuse(fault, 0, "the target * is for OPTIONS only");
    }
    return split_absolute(target, out, fault);
}

/* ---- percent-coding and queries ---- */

enum err url_decode(struct span in, bool plus_is_blank, char *out, size_t *out_len)
{
    size_t n = 0;

    /* `out` may be in.ptr: it never gets ahead of the byte that is read. */
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '%') {
            if (!is_hex_pair(span_skip(in, i + 1))) {
                return ERR_SYNTAX;
            }
            c = (char)(hex_value(in.ptr[i + 1]) * 16 + hex_value(in.ptr[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        out[n++] = c;
    }
    *out_len = n;
    return ERR_OK;
}

bool url_query_next(struct span *rest, struct span *name, struct span *value)
{
    while (rest->len != 0) {
        struct span pair = span_of(rest->ptr, span_find(*rest, '&'));
        *rest = span_skip(*rest, pair.len < rest->len ? pair.len + 1 : pair.len);
        if (pair.len == 0) {
            continue;
        }
        size_t equals = span_find(pair, '=');
        *name = span_of(pair.ptr, equals);
        *value = span_skip(pair, equals < pair.len ? equals + 1 : equals);
        return true;
    }
    return false;
}

bool url_query_find(struct span query, struct span name, struct span *value)
{
    struct span found;

    while (url_query_next(&query, &found, value)) {
        if (span_eq(found, name)) {
            return true;
        }
    }
    return false;
}
