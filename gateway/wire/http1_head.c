/*
 * http1_head: see http1_head.h. Two steps, so that dripped bytes cost linear time and the answer
 * does not depend on how the bytes were split: find_end    looks at each new byte once, for the
 * blank line and for what is wrong at once: the method, control bytes, CR or LF alone, an over-long
 * target; the rest    runs when the head is whole, line by line, then judges the framing fields
 * together. Every refusal closes the connection: behind a doubtful head no byte has a sure meaning.
 */
#include "wire/http1_head.h"

#include "base/text.h"
#include "wire/http1_chars.h"
#include "wire/url.h"

enum {
    MAX_METHOD_BYTES = 32, /* the longest registered name has 17 (RFC 9110 16.1.1) */
    VERSION_BYTES = 8,     /* HTTP/1.1 */
};

/* clang-format off */
const unsigned char http1_char_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    4, 7, 6, 7, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, /* 20 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, /* 30 */
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* 40 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7, /* 50 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* 60 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0, /* 70 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* 80 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* 90 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* a0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* b0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* c0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* d0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* e0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* f0 */
};
/* clang-format on */

/* What the fields say about the message as a whole, gathered on the way, judged at the end. */
struct facts {
    struct span host;
    struct span length;
    struct span coding;
    struct span expectation; /* the one that we cannot meet */
    uint16_t n_host;
    uint16_t n_length;
    uint16_t n_coding;
    bool says_close;
    bool says_keep_alive;
    bool says_upgrade;
    bool has_upgrade;
    bool expects_100;
    bool expects_other;
};

static enum err refuse(struct http1_fault *fault, uint16_t status, size_t offset, const char *why)
{
    *fault = (struct http1_fault){.status = status, .offset = offset, .why = why};
    return status == 414 || status == 431 ? ERR_LIMIT : ERR_SYNTAX;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- step 1: is the head whole? ---- */

/* Checks the method at `start`; *blank is the index of the blank behind it. A peer that speaks
 * something else (TLS, SSH, a proxy header) is refused by its first byte. */
static enum err scan_method(struct span in, size_t start, size_t *blank, struct http1_fault *fault)
{
    size_t stop = smaller(in.len, start + MAX_METHOD_BYTES + 1);

    for (size_t i = start; i < stop; i++) {
        if (LIKELY(http1_char_is(in.ptr[i], HTTP1_CHAR_TOKEN))) {
            continue;
        }
        if (in.ptr[i] == ' ' && i != start) {
            *blank = i;
            return ERR_OK;
        }
        return refuse(fault, 400, i, "the method is not a token and a blank");
    }
    if (stop == start + MAX_METHOD_BYTES + 1) {
        return refuse(fault, 501, stop - 1, "the method is longer than any that is known");
    }
    return ERR_AGAIN;
}

/* Goes on from *at to `stop`. ERR_OK: *at is one past the blank line; ERR_AGAIN: *at is where to go
 * on, which is a CR when its LF has not come yet. */
static enum err scan_lines(struct span in, size_t *at, size_t stop, struct http1_fault *fault)
{
    size_t i = *at;

    while (i < stop) {
        char c = in.ptr[i];
        if (LIKELY(http1_char_is(c, HTTP1_CHAR_TEXT))) {
            i++;
            continue;
        }
        if (c != '\r') {
            return refuse(fault, 400, i, c == '\n' ? "LF without CR" : "a control byte");
        }
        if (i + 1 == in.len) {
            break;
        }
        if (in.ptr[i + 1] != '\n') {
            return refuse(fault, 400, i, "CR without LF");
        }
        i += 2;
        if (in.ptr[i - 3] == '\n') {
            *at = i;
            return ERR_OK;
        }
    }
    *at = i;
    return ERR_AGAIN;
}

/* Whether no byte of `in` ends a target. */
static bool is_all_target(struct span in)
{
    return span_find(in, ' ') == in.len && span_find(in, '\r') == in.len;
}

/* Scans up to the byte that makes a target at `target_at` too long if it is still the target's: the
 * 414 is told before the end of the target comes. */
static enum err scan_long_target(struct span in, size_t target_at, size_t max, size_t *at,
                                 struct http1_fault *fault)
{
    size_t over = target_at + max;

    if (*at > over) {
        return ERR_AGAIN; /* judged by an earlier call */
    }
    enum err e = scan_lines(in, at, smaller(in.len, over + 1), fault);
    if (e == ERR_AGAIN && *at > over && is_all_target(span_of(in.ptr + target_at, max + 1))) {
        return refuse(fault, 414, over, "the target is over the limit");
    }
    return e;
}

/* ERR_OK: the head has *end bytes. The order of the checks is the order of the bytes, so a request
 * that is wrong twice gets the same answer however it was split. */
static enum err find_end(struct span in, const struct http1_limits *limits, uint32_t *scanned,
                         size_t *end, struct http1_fault *fault)
{
    if (in.len == 0 || (in.len == 1 && in.ptr[0] == '\r')) {
        return ERR_AGAIN;
    }
    size_t start = in.ptr[0] == '\r' && in.ptr[1] == '\n' ? 2 : 0;
    size_t blank = 0;
    enum err e = scan_method(in, start, &blank, fault);
    if (e != ERR_OK) {
        return e;
    }
    size_t at = *scanned > blank ? *scanned : blank;
    e = scan_long_target(in, blank + 1, limits->max_target_bytes, &at, fault);
    if (e == ERR_AGAIN) {
        e = scan_lines(in, &at, in.len, fault);
    }
    *scanned = (uint32_t)at;
    *end = at;
    return e;
}

/* ---- step 2: the lines ---- */

/* One line of a whole head, without its CRLF; step 1 has seen that CR and LF come as pairs only. */
static struct span next_line(struct span *rest)
{
    struct span line = span_of(rest->ptr, span_find(*rest, '\r'));

    *rest = span_skip(*rest, smaller(line.len + 2, rest->len));
    return line;
}

/* The common methods by length; the names are case-sensitive (RFC 9110 9.1). */
static enum http_method method_of(struct span name)
{
    switch (name.len) {
    case 3:
        if (memcmp(name.ptr, "GET", 3) == 0) {
            return HTTP_GET;
        }
        return memcmp(name.ptr, "PUT", 3) == 0 ? HTTP_PUT : HTTP_OTHER;
    case 4:
        if (memcmp(name.ptr, "POST", 4) == 0) {
            return HTTP_POST;
        }
        return memcmp(name.ptr, "HEAD", 4) == 0 ? HTTP_HEAD : HTTP_OTHER;
    case 5:
        if (memcmp(name.ptr, "PATCH", 5) == 0) {
            return HTTP_PATCH;
        }
        return memcmp(name.ptr, "TRACE", 5) == 0 ? HTTP_TRACE : HTTP_OTHER;
    case 6:
        return memcmp(name.ptr, "DELETE", 6) == 0 ? HTTP_DELETE : HTTP_OTHER;
    case 7:
        if (memcmp(name.ptr, "OPTIONS", 7) == 0) {
            return HTTP_OPTIONS;
        }
        return memcmp(name.ptr, "CONNECT", 7) == 0 ? HTTP_CONNECT : HTTP_OTHER;
    default:
        return HTTP_OTHER;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum err parse_version(struct span version, size_t offset, uint8_t *minor,
                              struct http1_fault *fault)
{
    const char *v = version.ptr;

    if (version.len != VERSION_BYTES || memcmp(v, "HTTP/", 5) != 0 || !is_digit(v[5]) ||
        v[6] != '.' || !is_digit(v[7])) {
        return refuse(fault, 400, offset, "the request line does not end in HTTP/x.y");
    }
    if (v[5] != '1') {
        return refuse(fault, 505, offset, "the major version is not 1");
    }
    /* A later minor version is a 1.1 to us (RFC 9110 2.5). */
    *minor = v[7] == '0' ? 0 : 1;
    return ERR_OK;
}

/* method SP target SP version (RFC 9112 section 3): single blanks, nothing behind. */
static enum err parse_request_line(struct span in, struct span line, struct http1_head *head,
                                   struct http1_fault *fault)
{
    size_t offset = (size_t)(line.ptr - in.ptr);
    size_t blank = span_find(line, ' ');

    head->method_name = span_of(line.ptr, blank);
    head->method = method_of(head->method_name);
    struct span rest = span_skip(line, blank + 1);
    head->target = span_of(rest.ptr, span_find(rest, ' '));
    offset += blank + 1;
    for (size_t i = 0; i < head->target.len; i++) {
        if (!http1_char_is(head->target.ptr[i], HTTP1_CHAR_VISIBLE)) {
            return refuse(fault, 400, offset + i,
                          "the target has a byte that is not visible ASCII");
        }
    }
    if (head->target.len == 0 || head->target.len == rest.len) {
        return refuse(fault, 400, offset, "the request line is not three words with single blanks");
    }
    return parse_version(span_skip(rest, head->target.len + 1), offset + head->target.len + 1,
                         &head->minor, fault);
}

static enum err parse_field(struct span in, struct span line, struct http1_field *field,
                            struct http1_fault *fault)
{
    size_t offset = (size_t)(line.ptr - in.ptr);
    size_t n = 0;

    while (n < line.len && http1_char_is(line.ptr[n], HTTP1_CHAR_TOKEN)) {
        n++;
    }
    if (n == 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
        /* A fold, or white space before the first field: hops differ in where the value goes. */
        return refuse(fault, 400, offset, "a field line begins with white space");
    }
    if (n == line.len || line.ptr[n] != ':') {
        return refuse(fault, 400, offset + n, "a field line is not token, colon and value");
    }
    if (n == 0) {
        return refuse(fault, 400, offset, "an empty field name");
    }
    field->name = span_of(line.ptr, n);
    field->value = span_trim(span_skip(line, n + 1));
    return ERR_OK;
}

/* ---- step 2: what the fields mean for the message ---- */

static void note_connection(struct facts *facts, struct span rest)
{
    struct span item;

    while (http1_list_next(&rest, &item)) {
        facts->says_close |= span_eq_nocase(item, SPAN_LIT("close"));
        facts->says_keep_alive |= span_eq_nocase(item, SPAN_LIT("keep-alive"));
        facts->says_upgrade |= span_eq_nocase(item, SPAN_LIT("upgrade"));
    }
}

static void note_expect(struct facts *facts, struct span rest)
{
    struct span item;

    while (http1_list_next(&rest, &item)) {
        if (span_eq_nocase(item, SPAN_LIT("100-continue"))) {
            facts->expects_100 = true;
        } else {
            facts->expects_other = true;
            facts->expectation = item;
        }
    }
}

static void note_field(struct facts *facts, const struct http1_field *field)
{
    struct span name = field->name;

    switch (name.len) {
    case 4:
        if (span_eq_nocase(name, SPAN_LIT("host"))) {
            facts->n_host++;
            facts->host = field->value;
        }
        break;
    case 6:
        if (span_eq_nocase(name, SPAN_LIT("expect"))) {
            note_expect(facts, field->value);
        }
        break;
    case 7:
        facts->has_upgrade |= span_eq_nocase(name, SPAN_LIT("upgrade"));
        break;
    case 10:
        if (span_eq_nocase(name, SPAN_LIT("connection"))) {
            note_connection(facts, field->value);
        }
        break;
    case 14:
        if (span_eq_nocase(name, SPAN_LIT("content-length"))) {
            facts->n_length++;
            facts->length = field->value;
        }
        break;
    case 17:
        if (span_eq_nocase(name, SPAN_LIT("transfer-encoding"))) {
            facts->n_coding++;
            facts->coding = field->value;
        }
        break;
    default:
        break;
    }
}

static enum err parse_fields(struct span in, struct span rest, uint16_t max_fields,
                             struct http1_head *head, struct facts *facts,
                             struct http1_fault *fault)
{
    head->n_fields = 0;
    while (rest.len > 2) { /* 2: the blank line */
        struct span line = next_line(&rest);
        if (head->n_fields >= max_fields || head->n_fields >= HTTP1_MAX_FIELDS) {
            /* Never a cut list: a field that we drop may be the one that the next hop obeys. */
            return refuse(fault, 431, (size_t)(line.ptr - in.ptr), "too many fields");
        }
        struct http1_field *field = &head->fields[head->n_fields];
        enum err e = parse_field(in, line, field, fault);
        if (e != ERR_OK) {
            return e;
        }
        head->n_fields++;
        note_field(facts, field);
    }
    return ERR_OK;
}

/* "gzip, chunked": codings with optional parameters, the last is chunked, none before it is. */
static bool is_other_coding_then_chunked(struct span rest)
{
    struct span item;
    bool is_chunked = false;
    unsigned n = 0;

    while (http1_list_next(&rest, &item)) {
        struct span name = span_trim(span_of(item.ptr, span_find(item, ';')));
        if (is_chunked || !http1_is_token(name)) {
            return false;
        }
        is_chunked = span_eq_nocase(item, SPAN_LIT("chunked"));
        n++;
    }
    return is_chunked && n > 1;
}

/* RFC 9112 6.1 and 6.3, without the leniency: CL.TE, TE.CL and lists are how requests are smuggled.
 */
static enum err judge_coding(struct span in, const struct facts *facts, struct http1_head *head,
                             struct http1_fault *fault)
{
    size_t offset = (size_t)(facts->coding.ptr - in.ptr);

    if (facts->n_length != 0) {
        return refuse(fault, 400, offset, "Transfer-Encoding together with Content-Length");
    }
    if (head->minor == 0) {
        return refuse(fault, 400, offset, "Transfer-Encoding in HTTP/1.0");
    }
    if (facts->n_coding > 1) {
        return refuse(fault, 400, offset, "more than one Transfer-Encoding");
    }
    if (!span_eq_nocase(facts->coding, SPAN_LIT("chunked"))) {
        bool is_known_form = is_other_coding_then_chunked(facts->coding);
        return refuse(fault, is_known_form ? 501 : 400, offset,
                      "a Transfer-Encoding other than chunked");
    }
    head->framing = HTTP1_BODY_CHUNKED;
    return ERR_OK;
}

static enum err judge_length(struct span in, const struct facts *facts, struct http1_head *head,
                             struct http1_fault *fault)
{
    size_t offset = (size_t)(facts->length.ptr - in.ptr);

    if (facts->n_length > 1) {
        return refuse(fault, 400, offset, "more than one Content-Length");
    }
    /* Half of the range, so that sums with it do not wrap. */
    if (decimal_parse(facts->length, INT64_MAX, &head->content_length) != ERR_OK) {
        return refuse(fault, 400, offset, "Content-Length is not one number in range");
    }
    head->framing = HTTP1_BODY_LENGTH;
    return ERR_OK;
}

static enum err judge_framing(struct span in, const struct facts *facts, struct http1_head *head,
                              struct http1_fault *fault)
{
    head->framing = HTTP1_BODY_NONE;
    head->content_length = 0;
    if (facts->n_coding != 0) {
        return judge_coding(in, facts, head, fault);
    }
    return facts->n_length != 0 ? judge_length(in, facts, head, fault) : ERR_OK;
}

static enum err judge_host(struct span in, const struct facts *facts, struct http1_head *head,
                           struct http1_fault *fault)
{
    head->host = facts->host;
    if (facts->n_host == 0) {
        return head->minor == 0 ? ERR_OK : refuse(fault, 400, 0, "HTTP/1.1 without Host");
    }
    size_t offset = (size_t)(facts->host.ptr - in.ptr);
    if (facts->n_host > 1) {
        return refuse(fault, 400, offset, "more than one Host");
    }
    return url_is_valid_authority(facts->host) ? ERR_OK
                                               : refuse(fault, 400, offset, "Host is not valid");
}

static enum err judge(struct span in, const struct facts *facts, struct http1_head *head,
                      struct http1_fault *fault)
{
    bool is_11 = head->minor != 0;

    enum err e = judge_host(in, facts, head, fault);
    if (e == ERR_OK) {
        e = judge_framing(in, facts, head, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    if (facts->expects_other) {
        return refuse(fault, 417, (size_t)(facts->expectation.ptr - in.ptr),
                      "an expectation other than 100-continue");
    }
    /* HTTP/1.0 knows neither (RFC 9110 10.1.1 and 7.8): both are read over there. */
    head->expects_100 = is_11 && facts->expects_100;
    head->has_upgrade = is_11 && facts->says_upgrade && facts->has_upgrade;
    head->keep_alive = !facts->says_close && (is_11 || facts->says_keep_alive);
    return ERR_OK;
}

enum err http1_request_parse(struct span in, const struct http1_limits *limits, uint32_t *scanned,
                             struct http1_head *head, size_t *head_bytes, struct http1_fault *fault)
{
    struct facts facts = {.n_host = 0};
    struct span view = span_of(in.ptr, smaller(in.len, limits->max_head_bytes));
    size_t end = 0;

    ASSERT(*scanned <= view.len);
    enum err e = find_end(view, limits, scanned, &end, fault);
    if (e == ERR_AGAIN && in.len >= limits->max_head_bytes) {
        return refuse(fault, 431, limits->max_head_bytes, "the head is over the limit");
    }
    if (e != ERR_OK) {
        return e;
    }
    struct span rest = span_of(in.ptr, end);
    if (rest.ptr[0] == '\r') {
        rest = span_skip(rest, 2);
    }
    e = parse_request_line(in, next_line(&rest), head, fault);
    if (e == ERR_OK) {
        e = parse_fields(in, rest, limits->max_fields, head, &facts, fault);
    }
    if (e == ERR_OK) {
        e = judge(in, &facts, head, fault);
    }
    if (e == ERR_OK) {
        *scanned = 0;
        *head_bytes = end;
    }
    return e;
}

/* ---- fields and lists of a parsed head ---- */

const struct http1_field *http1_field_find(const struct http1_head *head, struct span name)
{
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (span_eq_nocase(head->fields[i].name, name)) {
            return &head->fields[i];
        }
    }
    return NULL;
}

const struct http1_field *http1_field_only(const struct http1_head *head, struct span name)
{
    const struct http1_field *only = NULL;
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (!span_eq_nocase(head->fields[i].name, name)) {
            continue;
        }
        if (only != NULL) {
            return NULL;
        }
        only = &head->fields[i];
    }
    return only;
}

static bool list_value_has(struct span rest, struct span token)
{
    struct span item;

    while (http1_list_next(&rest, &item)) {
        if (span_eq_nocase(item, token)) {
            return true;
        }
    }
    return false;
}

bool http1_list_has(const struct http1_head *head, struct span name, struct span token)
{
    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct http1_field *field = &head->fields[i];
        if (span_eq_nocase(field->name, name) && list_value_has(field->value, token)) {
            return true;
        }
    }
    return false;
}

bool http1_list_next(struct span *rest, struct span *item)
{
    while (rest->len != 0) {
        size_t comma = span_find(*rest, ',');
        *item = span_trim(span_of(rest->ptr, comma));
        *rest = span_skip(*rest, comma < rest->len ? comma + 1 : comma);
        if (item->len != 0) {
            return true;
        }
    }
    return false;
}

bool http1_is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!http1_char_is(s.ptr[i], HTTP1_CHAR_TOKEN)) {
            return false;
        }
    }
    return s.len != 0;
}
