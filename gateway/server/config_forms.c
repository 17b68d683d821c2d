/*
 * config_forms: see config_forms.h. The forms are narrow on purpose: a value that can never match
 * (an origin with a path, a mount with a '/' at the end) is better refused at start than silent.
 */
#include "server/config_forms.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wire/http1_head.h"

enum {
    MAX_HOST_BYTES = 253
}; /* of a DNS name */

static bool fail(struct config_form_fault *fault, const char *why)
{
    fault->why = why;
    fault->hint[0] = '\0';
    return false;
}

#define FAIL_HINT(fault, why, ...)                                                                 \
    (fail(fault, why), (void)snprintf((fault)->hint, sizeof(fault)->hint, __VA_ARGS__), false)

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether every byte is a letter, a digit or one of `others`. */
static bool has_only(struct span s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alnum(s.ptr[i]) && strchr(others, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- listen ---- */

/* net/listener.c binds the address: literal ones only, no resolver. */
#define LISTEN_FORMS                                                                               \
    "is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" and \"PORT\" "         \
    "(all of IPv4)"

struct address {
    bool is_v6;
    unsigned char bytes[sizeof(struct in6_addr)]; /* IPv4 uses the first four */
    uint64_t port;
};

static bool parse_port(struct span digits, uint64_t *port)
{
    return digits.len <= 5 && decimal_parse(digits, UINT16_MAX, port) == ERR_OK;
}

static bool parse_ip(int family, struct span host, unsigned char *bytes)
{
    char text[INET6_ADDRSTRLEN];
    if (host.len >= sizeof text) {
        return false;
    }
    (void)snprintf(text, sizeof text, "%.*s", SPAN_FMT(host));
    return inet_pton(family, text, bytes) == 1;
}

/* The index after the last colon; 0 when there is none. */
static size_t port_at(struct span text)
{
    size_t at = text.len;
    while (at != 0 && text.ptr[at - 1] != ':') {
        at--;
    }
    return at;
}

static bool parse_address(const char *string, struct address *out)
{
    struct span text = span_of(string, strlen(string));
    size_t at = port_at(text);
    *out = (struct address){0};
    if (!parse_port(span_skip(text, at), &out->port)) {
        return false;
    }
    if (at == 0) {
        return true;
    }
    struct span host = span_of(text.ptr, at - 1);
    out->is_v6 = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (out->is_v6) {
        host = span_of(host.ptr + 1, host.len - 2);
    }
    return parse_ip(out->is_v6 ? AF_INET6 : AF_INET, host, out->bytes);
}

static bool check_listen(const char *value, struct config_form_fault *fault)
{
    struct address address;
    struct span text = span_of(value, strlen(value));
    if (parse_address(value, &address)) {
        return true;
    }
    /* The usual slips: no port, IPv6 without brackets, a name. */
    if (parse_ip(AF_INET, text, address.bytes)) {
        return FAIL_HINT(fault, LISTEN_FORMS, "write \"%s:8080\"", value);
    }
    if (parse_ip(AF_INET6, text, address.bytes)) {
        return FAIL_HINT(fault, LISTEN_FORMS, "write \"[%s]:8080\"", value);
    }
    size_t at = port_at(text);
    if (at != 0 && parse_port(span_skip(text, at), &address.port)) {
        bool is_local = span_eq_nocase(span_of(value, at), SPAN_LIT("localhost:"));
        return FAIL_HINT(fault, LISTEN_FORMS, "write \"%s:%u\"%s",
                         is_local ? "127.0.0.1" : "0.0.0.0", (unsigned)address.port,
                         is_local ? "" : " or a literal address: names are not looked up");
    }
    if (at != 0 && has_only(span_skip(text, at), "")) {
        return FAIL_HINT(fault, LISTEN_FORMS, "the port is a number up to 65535");
    }
    return FAIL_HINT(fault, LISTEN_FORMS, "write e.g. \"127.0.0.1:8080\"");
}

bool config_listen_is_same(const char *a, const char *b)
{
    struct address x;
    struct address y;
    return parse_address(a, &x) && parse_address(b, &y) && x.port == y.port && x.port != 0 &&
           x.is_v6 == y.is_v6 && memcmp(x.bytes, y.bytes, sizeof x.bytes) == 0;
}

/* ---- origins ---- */

#define ORIGIN_FORMS                                                                               \
    "is no origin: allowed are \"same-origin\", \"*\", \"null\", \"scheme://host[:port]\" and "    \
    "\"!\" before one of the last two"

/* "host", "host:port" or "[v6]:port" behind the "://". */
static bool is_authority(struct span authority)
{
    struct span host = authority;
    uint64_t port = 0;
    size_t bracket = span_find(authority, ']');
    size_t from = bracket != authority.len ? bracket : 0;
    size_t colon = from + span_find(span_skip(authority, from), ':');
    if (colon != authority.len) {
        host = span_of(authority.ptr, colon);
        if (!parse_port(span_skip(authority, colon + 1), &port) || port == 0) {
            return false;
        }
    }
    if (host.len > 2 && host.ptr[0] == '[') {
        unsigned char bytes[sizeof(struct in6_addr)];
        return host.ptr[host.len - 1] == ']' &&
               parse_ip(AF_INET6, span_of(host.ptr + 1, host.len - 2), bytes);
    }
    return host.len != 0 && host.len <= MAX_HOST_BYTES && has_only(host, "-._");
}

/* Browsers leave the scheme's own port out of the header: an origin with it would never match. */
static size_t own_port_len(struct span origin)
{
    if (span_starts_with(origin, SPAN_LIT("https://")) && origin.len > 4 &&
        memcmp(origin.ptr + origin.len - 4, ":443", 4) == 0) {
        return 4;
    }
    if (span_starts_with(origin, SPAN_LIT("http://")) && origin.len > 3 &&
        memcmp(origin.ptr + origin.len - 3, ":80", 3) == 0) {
        return 3;
    }
    return 0;
}

static bool has_upper(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

/* What to write for a value that is no origin; `bang` stands before it ("" or "!"). */
static void hint_origin(struct span origin, const char *bang, struct config_form_fault *fault)
{
    static const char *const words[] = {"same-origin", "null"};
    struct config_nearest nearest;
    config_nearest_begin(&nearest, origin);
    for (size_t i = bang[0] == '!' ? 1 : 0; i < sizeof words / sizeof words[0]; i++) {
        config_nearest_offer(&nearest, span_str(words[i]));
    }
    const char *scheme = memmem(origin.ptr, origin.len, "://", 3);
    const char *slash = NULL;
    if (scheme != NULL) {
        slash = memchr(scheme + 3, '/', origin.len - (size_t)(scheme + 3 - origin.ptr));
    }
    if (nearest.name != NULL) {
        (void)snprintf(fault->hint, sizeof fault->hint, "did you mean \"%s%s\"?", bang,
                       nearest.name);
    } else if (span_find(origin, '*') != origin.len) {
        (void)snprintf(fault->hint, sizeof fault->hint,
                       "\"*\" only stands alone: name each origin");
    } else if (slash != NULL) {
        (void)snprintf(fault->hint, sizeof fault->hint, "an origin ends before the \"/\"");
    } else if (scheme == NULL && is_authority(origin)) {
        (void)snprintf(fault->hint, sizeof fault->hint, "write \"%shttps://%.*s\"", bang,
                       SPAN_FMT(origin));
    }
}

static bool is_word_for_many(struct span origin)
{
    return span_eq(origin, SPAN_LIT("same-origin")) || span_eq(origin, SPAN_LIT("*"));
}

static bool check_origin(const char *value, struct config_form_fault *fault)
{
    const char *bang = value[0] == '!' ? "!" : "";
    struct span origin = span_str(value + strlen(bang));
    if (bang[0] == '!' && is_word_for_many(origin)) {
        return FAIL_HINT(fault, "can't refuse a word for many origins",
                         "write e.g. \"!http://app.example\"");
    }
    if (is_word_for_many(origin) || span_eq(origin, SPAN_LIT("null"))) {
        return true;
    }
    size_t scheme_len = span_find(origin, ':');
    struct span rest = span_skip(origin, scheme_len);
    bool is_origin = scheme_len != 0 && has_only(span_of(origin.ptr, scheme_len), "+-.") &&
                     span_starts_with(rest, SPAN_LIT("://")) && is_authority(span_skip(rest, 3));
    if (!is_origin) {
        (void)fail(fault, ORIGIN_FORMS);
        hint_origin(origin, bang, fault);
        return false;
    }
    if (has_upper(origin)) {
        return FAIL_HINT(fault, "would never match", "browsers send it in small letters");
    }
    size_t port_len = own_port_len(origin);
    if (port_len != 0) {
        return FAIL_HINT(fault, "would never match: browsers leave the scheme's own port out",
                         "write \"%s%.*s\"", bang, (int)(origin.len - port_len), origin.ptr);
    }
    return true;
}

/* ---- Flash ---- */

static bool check_flash_domain(const char *value, struct config_form_fault *fault)
{
    struct span host = span_str(value);
    if (span_eq(host, SPAN_LIT("*"))) {
        return true;
    }
    if (span_starts_with(host, SPAN_LIT("*."))) {
        host = span_skip(host, 2);
    }
    if (host.len != 0 && host.len <= MAX_HOST_BYTES && has_only(host, "-.")) {
        return true;
    }
    (void)fail(fault, "is no host for Flash: allowed are \"*\", \"a.example\", \"*.a.example\" and "
                      "an IPv4 address");
    const char *scheme = strstr(value, "://");
    if (scheme != NULL) {
        (void)snprintf(fault->hint, sizeof fault->hint, "write the host alone: \"%.*s\"",
                       (int)strcspn(scheme + 3, ":/"), scheme + 3);
    } else if (span_find(host, ':') != host.len) {
        (void)snprintf(fault->hint, sizeof fault->hint, "ports stand in flash.ports");
    }
    return false;
}

static bool check_flash_ports(const char *value, struct config_form_fault *fault)
{
    struct span text = span_str(value);
    size_t dash = span_find(text, '-');
    uint64_t first = 0;
    uint64_t last = 0;
    if (span_eq(text, SPAN_LIT("*"))) {
        return true;
    }
    if (!parse_port(span_of(value, dash), &first) || first == 0 ||
        (dash != text.len && !parse_port(span_skip(text, dash + 1), &last))) {
        return FAIL_HINT(fault, "is no port: allowed are \"843\", \"8000-8099\" and \"*\"",
                         "a port is a number from 1 to 65535");
    }
    if (dash != text.len && last < first) {
        return fail(fault, "is a range that ends before it begins");
    }
    return true;
}

/* ---- paths and URLs ---- */

/* Whether a segment of the path is "", "." or "..". */
static bool has_odd_segment(struct span path)
{
    while (path.len != 0) {
        path = span_skip(path, 1);
        struct span segment = span_of(path.ptr, span_find(path, '/'));
        if (segment.len == 0 || span_eq(segment, SPAN_LIT(".")) ||
            span_eq(segment, SPAN_LIT(".."))) {
            return true;
        }
        path = span_skip(path, segment.len);
    }
    return false;
}

static bool check_mount_path(const char *value, struct config_form_fault *fault)
{
    struct span path = span_str(value);
    if (path.len > CONFIG_MAX_MOUNT_PATH) {
        return fail(fault, "is longer than 255 bytes");
    }
    if (!has_only(path, "/-._~!$&'()*+,;=:@")) {
        return FAIL_HINT(fault, "has a byte that a URL path can't hold as it is",
                         "letters, digits and -._~ are safe");
    }
    if (path.len == 0 || path.ptr[0] != '/') {
        return FAIL_HINT(fault, "must begin with \"/\"", "write \"/%s\"", value);
    }
    if (path.len == 1) {
        return true;
    }
    if (path.ptr[path.len - 1] == '/') {
        size_t len = path.len;
        while (len > 1 && value[len - 1] == '/') {
            len--;
        }
        return FAIL_HINT(fault, "must not end with \"/\"", "write \"%.*s\"", (int)len, value);
    }
    if (has_odd_segment(path)) {
        return fail(fault, "has an empty, \".\" or \"..\" segment");
    }
    return true;
}

static bool check_script_url(const char *value, struct config_form_fault *fault)
{
    struct span url = span_str(value);
    if (!has_only(url, "/-._~!$&()*+,;=:@%?#[]")) {
        return FAIL_HINT(fault, "has a byte that a URL can't hold as it is",
                         "write it as %%XX in hexadecimal");
    }
    if (url.len != 0 && !span_starts_with(url, SPAN_LIT("/")) &&
        !span_starts_with(url, SPAN_LIT("http://")) &&
        !span_starts_with(url, SPAN_LIT("https://"))) {
        return fail(fault, "must begin with \"/\", \"http://\" or \"https://\"");
    }
    return true;
}

static bool check_socket_path(const char *value, struct config_form_fault *fault)
{
    size_t len = strlen(value);
    if (len == 0) {
        return fail(fault, "must name a file");
    }
    if (len > CONFIG_MAX_SOCKET_PATH) {
        return FAIL_HINT(fault, "is longer than the 107 bytes that a unix socket allows",
                         "this one has %zu", len);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) {
            return fail(fault, "has a control byte");
        }
    }
    return true;
}

static bool check_token(const char *value, struct config_form_fault *fault)
{
    return http1_is_token(span_str(value)) ||
           fail(fault, "is no token: letters, digits and !#$%&'*+-.^_`|~ alone, at least one");
}

/* ---- the table ---- */

static const struct {
    bool (*check)(const char *value, struct config_form_fault *fault);
    const char *name;
} forms[] = {
    [CONFIG_FORM_ANY] = {NULL, ""},
    [CONFIG_FORM_LISTEN] = {check_listen, "`IPV4:PORT`, `[IPV6]:PORT` or `PORT`"},
    [CONFIG_FORM_ORIGIN] = {check_origin,
                            "`same-origin`, `*`, `null`, `scheme://host[:port]` or `!` before one "
                            "of the last two"},
    [CONFIG_FORM_MOUNT_PATH] = {check_mount_path, "`/` or `/a/b`, at most 255 bytes"},
    [CONFIG_FORM_SCRIPT_URL] = {check_script_url,
                                "begins with `/`, `http://` or `https://`, or is empty"},
    [CONFIG_FORM_TOKEN] = {check_token, "tokens such as `chat.v1`"},
    [CONFIG_FORM_FLASH_DOMAIN] = {check_flash_domain,
                                  "`*`, `a.example`, `*.a.example` or an IPv4 address"},
    [CONFIG_FORM_FLASH_PORTS] = {check_flash_ports, "`843`, `8000-8099` or `*`"},
    [CONFIG_FORM_USER] = {NULL, "user names or ids"},
    [CONFIG_FORM_SOCKET_PATH] = {check_socket_path, "a path of at most 107 bytes"},
};

bool config_form_check(enum config_form form, const char *value, struct config_form_fault *fault)
{
    return forms[form].check == NULL || forms[form].check(value, fault);
}

const char *config_form_name(enum config_form form)
{
    return forms[form].name;
}
