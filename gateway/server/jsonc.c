/*
 * jsonc: blank, scan, then cJSON. See jsonc.h.
 *
 * The scanner stops at the first byte that is not JSON: what stands behind it can't be told. Its
 * messages answer the mistakes people make by hand: a comma forgotten, single quotes, keys without
 * quotes, a value with a unit but without quotes.
 */
#include "server/jsonc.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

struct scan {
    struct span text; /* blanked */
    size_t at;
    unsigned depth;
    struct jsonc *doc;
    struct config_report *report;
};

/* A problem at `at`; `len` bytes are underlined. */
#define FAIL(report, at, len, hint, ...)                                                           \
    (config_problem(report, (struct config_place){(uint32_t)(at), (uint32_t)(len)}, hint,          \
                    __VA_ARGS__),                                                                  \
     ERR_CONFIG)

/* ---- blanking ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The offset after the comment that begins at `at`; 0 when it has no end. */
static size_t comment_end(struct span text, size_t at)
{
    struct span rest = span_skip(text, at + 2);
    if (text.ptr[at + 1] == '/') {
        return at + 2 + span_find(rest, '\n');
    }
    const char *close = memmem(rest.ptr, rest.len, "*/", 2);
    return close != NULL ? (size_t)(close - text.ptr) + 2 : 0;
}

/* The offset after the string that begins at `at`. A line's end stops it: the scanner complains. */
static size_t string_end(struct span text, size_t at)
{
    for (at++; at < text.len && text.ptr[at] != '\n'; at++) {
        if (text.ptr[at] == '"') {
            return at + 1;
        }
        if (text.ptr[at] == '\\' && at + 1 < text.len && text.ptr[at + 1] != '\n') {
            at++;
        }
    }
    return at;
}

static void blank_bytes(char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            bytes[i] = ' ';
        }
    }
}

static bool is_comment(struct span text, size_t at)
{
    return text.ptr[at] == '/' && at + 1 < text.len &&
           (text.ptr[at + 1] == '/' || text.ptr[at + 1] == '*');
}

/* A comma is trailing when a value stands before it and a closing bracket after it. */
struct comma {
    size_t at;
    bool is_pending;
};

static void blank_comma(char *bytes, struct comma *comma, char before, size_t at)
{
    char c = bytes[at];
    if (comma->is_pending && (c == ']' || c == '}')) {
        bytes[comma->at] = ' ';
    }
    comma->at = at;
    comma->is_pending = c == ',' && before != '\0' && strchr(",:[{", before) == NULL;
}

/* Overwrites comments and trailing commas of `bytes` by blanks. */
static enum err blank(char *bytes, size_t n, struct config_report *report)
{
    struct span text = span_of(bytes, n);
    struct comma comma = {0};
    char before = '\0'; /* the last byte that is neither blank nor comment */
    if (span_starts_with(text, SPAN_LIT("\xef\xbb\xbf"))) {
        blank_bytes(bytes, 3); /* editors on Windows put a byte order mark in front */
    }
    for (size_t at = 0; at < n;) {
        if (is_comment(text, at)) {
            size_t end = comment_end(text, at);
            if (end == 0) {
                return FAIL(report, at, 2, "add \"*/\" where it ends", "this comment never ends");
            }
            blank_bytes(bytes + at, end - at);
            at = end;
            continue;
        }
        if (is_blank(bytes[at])) {
            at++;
            continue;
        }
        blank_comma(bytes, &comma, before, at);
        before = bytes[at];
        at = before == '"' ? string_end(text, at) : at + 1;
    }
    return ERR_OK;
}

/* ---- scanning ---- */

/* NUL behind the end (a NUL in the text is caught as an unexpected byte). */
static char byte_at(const struct scan *s, size_t at)
{
    if (at < s->text.len) {
        return s->text.ptr[at];
    }
    return '\0';
}

/* The byte at the scanner, behind blanks. */
static char peek(struct scan *s)
{
    while (s->at < s->text.len && is_blank(s->text.ptr[s->at])) {
        s->at++;
    }
    return byte_at(s, s->at);
}

static bool is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("+-._/:$@*", c) != NULL);
}

/* The run of bytes at `at` that someone may have meant as one value. */
static struct span word_at(const struct scan *s, size_t at)
{
    size_t end = at;
    while (end < s->text.len && is_word_byte(s->text.ptr[end])) {
        end++;
    }
    return span_of(s->text.ptr + at, end - at);
}

/* What stands at the scanner can't begin a value or a key. `what` was expected. */
static enum err fail_unexpected(const struct scan *s, const char *what)
{
    char quoted[CONFIG_QUOTE_BYTES];
    char hint[CONFIG_HINT_BYTES];
    if (s->at >= s->text.len) {
        return FAIL(s->report, s->text.len, 1, "", "the text ends where %s is expected", what);
    }
    struct span word = word_at(s, s->at);
    if (word.len != 0) {
        (void)snprintf(hint, sizeof hint, "write \"%s\"?", config_quote(word, quoted));
        return FAIL(s->report, s->at, word.len, hint, "expected %s: text needs double quotes",
                    what);
    }
    if (s->text.ptr[s->at] == '\'') {
        return FAIL(s->report, s->at, 1, "write \" instead of '",
                    "expected %s: text needs double quotes", what);
    }
    return FAIL(s->report, s->at, 1, "", "expected %s here", what);
}

static enum err add_node(struct scan *s, struct config_place key, uint32_t *index)
{
    struct jsonc *doc = s->doc;
    if (doc->n_nodes == JSONC_MAX_VALUES) {
        return FAIL(s->report, s->at, 1, "", "more than %d values in one file", JSONC_MAX_VALUES);
    }
    if (doc->n_nodes == doc->cap_nodes) {
        size_t cap = doc->cap_nodes != 0 ? doc->cap_nodes * 2 : 32;
        struct jsonc_node *nodes = mem_resize(doc->nodes, cap * sizeof *nodes);
        if (nodes == NULL) {
            return ERR_NOMEM;
        }
        doc->nodes = nodes;
        doc->cap_nodes = cap;
    }
    *index = (uint32_t)doc->n_nodes++;
    doc->nodes[*index] = (struct jsonc_node){.key = key, .value = {(uint32_t)s->at, 1}};
    return ERR_OK;
}

/* Four hex digits at `at`, or -1. */
static int hex4_at(const struct scan *s, size_t at)
{
    int value = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = span_lower_char(byte_at(s, i));
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (c - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

/* Steps over the \uXXXX (or the surrogate pair) at the scanner. */
static enum err scan_unicode_escape(struct scan *s)
{
    int high = hex4_at(s, s->at + 2);
    if (high < 0) {
        return FAIL(s->report, s->at, 2, "", "\\u needs four hexadecimal digits");
    }
    if (high == 0) {
        return FAIL(s->report, s->at, 6, "remove it", "\\u0000 is not allowed in a string");
    }
    if (high < 0xd800 || high > 0xdfff) {
        s->at += 6;
        return ERR_OK;
    }
    bool has_low = s->at + 12 <= s->text.len && memcmp(s->text.ptr + s->at + 6, "\\u", 2) == 0;
    int low = has_low ? hex4_at(s, s->at + 8) : -1;
    if (high > 0xdbff || low < 0xdc00 || low > 0xdfff) {
        return FAIL(s->report, s->at, 6, "write the character itself",
                    "half of a surrogate pair is no character");
    }
    s->at += 12;
    return ERR_OK;
}

static enum err scan_escape(struct scan *s)
{
    char c = byte_at(s, s->at + 1);
    if (c == 'u') {
        return scan_unicode_escape(s);
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
        return FAIL(s->report, s->at, 1, "write \\\\ for a backslash",
                    "unknown escape in a string");
    }
    s->at += 2;
    return ERR_OK;
}

/* Steps over the string at the scanner and tells where it stands. */
static enum err scan_string(struct scan *s, struct config_place *place)
{
    size_t begin = s->at++;
    while (s->at < s->text.len && s->text.ptr[s->at] != '"') {
        unsigned char c = (unsigned char)s->text.ptr[s->at];
        if (c == '\n' || c == '\r') {
            break;
        }
        if (c < 0x20) {
            return FAIL(s->report, s->at, 1, c == '\t' ? "write \\t" : "remove it",
                        "control byte 0x%02x in a string", (unsigned)c);
        }
        if (c != '\\') {
            s->at++;
            continue;
        }
        enum err e = scan_escape(s);
        if (e != ERR_OK) {
            return e;
        }
    }
    if (s->at >= s->text.len || s->text.ptr[s->at] != '"') {
        return FAIL(s->report, begin, s->at - begin, "add the closing \"",
                    "this string does not end on its line");
    }
    s->at++;
    *place = (struct config_place){(uint32_t)begin, (uint32_t)(s->at - begin)};
    return ERR_OK;
}

static size_t skip_digits(struct span word, size_t i)
{
    while (i < word.len && word.ptr[i] >= '0' && word.ptr[i] <= '9') {
        i++;
    }
    return i;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool is_number(struct span word)
{
    size_t i = word.len != 0 && word.ptr[0] == '-';
    size_t end = skip_digits(word, i);
    if (end == i || (word.ptr[i] == '0' && end - i > 1)) {
        return false;
    }
    if (end < word.len && word.ptr[end] == '.') {
        i = end + 1;
        end = skip_digits(word, i);
        if (end == i) {
            return false;
        }
    }
    if (end < word.len && span_lower_char(word.ptr[end]) == 'e') {
        i = end + 1;
        i += i < word.len && (word.ptr[i] == '+' || word.ptr[i] == '-');
        end = skip_digits(word, i);
        if (end == i) {
            return false;
        }
    }
    return end == word.len;
}

static enum err fail_word(const struct scan *s, struct span word)
{
    static const char *const literals[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        if (span_eq_nocase(word, span_str(literals[i]))) {
            return FAIL(s->report, s->at, word.len, "", "write %s in small letters", literals[i]);
        }
    }
    return fail_unexpected(s, "a value");
}

/* true, false, null and numbers. */
static enum err scan_word(struct scan *s, struct config_place *place)
{
    struct span word = word_at(s, s->at);
    bool is_literal = span_eq(word, SPAN_LIT("true")) || span_eq(word, SPAN_LIT("false")) ||
                      span_eq(word, SPAN_LIT("null"));
    if (!is_literal && !is_number(word)) {
        return fail_word(s, word);
    }
    if (word.len > JSONC_MAX_NUMBER_BYTES) {
        return FAIL(s->report, s->at, word.len, "", "a number of more than %d characters",
                    JSONC_MAX_NUMBER_BYTES);
    }
    *place = (struct config_place){(uint32_t)s->at, (uint32_t)word.len};
    s->at += word.len;
    return ERR_OK;
}

static enum err scan_value(struct scan *s, struct config_place key, uint32_t *index);

static enum err fail_key(struct scan *s)
{
    struct span word = word_at(s, s->at);
    size_t len = span_find(word, ':');
    if (len == 0) {
        return fail_unexpected(s, "a key");
    }
    char quoted[CONFIG_QUOTE_BYTES];
    char hint[CONFIG_HINT_BYTES];
    (void)snprintf(hint, sizeof hint, "write \"%s\"?",
                   config_quote(span_of(word.ptr, len), quoted));
    return FAIL(s->report, s->at, len, hint, "a key needs double quotes");
}

/* The key and its colon. */
static enum err scan_key(struct scan *s, struct config_place *key)
{
    if (peek(s) != '"') {
        return fail_key(s);
    }
    enum err e = scan_string(s, key);
    if (e != ERR_OK) {
        return e;
    }
    if (peek(s) != ':') {
        return FAIL(s->report, key->at, key->len, "write : and a value behind it",
                    "this key has no value");
    }
    s->at++;
    return ERR_OK;
}

/* After a member comes neither a comma nor the closing bracket. */
static enum err fail_separator(struct scan *s, size_t open, char close, size_t member_end)
{
    char c = peek(s);
    if (s->at >= s->text.len) {
        char hint[] = "add \"?\" where it ends";
        hint[sizeof "add \"" - 1] = close;
        return FAIL(s->report, open, 1, hint, "this \"%c\" is never closed", s->text.ptr[open]);
    }
    if (c == '"' || c == '{' || c == '[' || is_word_byte(c)) {
        return FAIL(s->report, member_end, 1, "add \",\"", "a comma is missing after this value");
    }
    struct config_position opened = config_position_of(s->text, open);
    return FAIL(s->report, s->at, 1, "", "expected \",\" or \"%c\" here, for the \"%c\" of %u:%u",
                close, s->text.ptr[open], opened.line, opened.column);
}

static enum err scan_member(struct scan *s, char close, uint32_t *index)
{
    struct config_place key = {0};
    if (close == '}') {
        enum err e = scan_key(s, &key);
        if (e != ERR_OK) {
            return e;
        }
    }
    return scan_value(s, key, index);
}

/* The members of the array or object whose bracket is at the scanner. */
static enum err scan_members(struct scan *s, uint32_t parent, char close)
{
    size_t open = s->at++;
    if (s->depth == JSONC_MAX_DEPTH) {
        return FAIL(s->report, open, 1, "", "more than %d levels of brackets", JSONC_MAX_DEPTH);
    }
    s->depth++;
    uint32_t last = 0;
    for (char c = peek(s); c != close; c = peek(s)) {
        if (s->at >= s->text.len) {
            return fail_separator(s, open, close, s->at);
        }
        uint32_t index = 0;
        enum err e = scan_member(s, close, &index);
        if (e != ERR_OK) {
            return e;
        }
        *(last != 0 ? &s->doc->nodes[last].next : &s->doc->nodes[parent].first_child) = index;
        last = index;
        size_t member_end = s->at;
        if (peek(s) == close) {
            break;
        }
        if (peek(s) != ',') {
            return fail_separator(s, open, close, member_end);
        }
        s->at++;
        /* Trailing commas are blanked: a bracket after this one means two commas. */
        if (peek(s) == close) {
            return fail_unexpected(s, close == '}' ? "a key" : "a value");
        }
    }
    s->at++;
    s->depth--;
    return ERR_OK;
}

static enum err scan_value(struct scan *s, struct config_place key, uint32_t *index)
{
    char c = peek(s);
    enum err e = add_node(s, key, index);
    if (e != ERR_OK) {
        return e;
    }
    if (c == '{' || c == '[') {
        return scan_members(s, *index, c == '{' ? '}' : ']');
    }
    struct config_place place = {0};
    e = c == '"' ? scan_string(s, &place) : scan_word(s, &place);
    s->doc->nodes[*index].value = place;
    return e;
}

static enum err scan_text(struct scan *s)
{
    if (peek(s) == '\0' && s->at >= s->text.len) {
        return FAIL(s->report, s->text.len, 1, "", "there is no value: a config is { ... }");
    }
    uint32_t root;
    enum err e = scan_value(s, (struct config_place){0}, &root);
    if (e != ERR_OK) {
        return e;
    }
    (void)peek(s);
    if (s->at < s->text.len) {
        return FAIL(s->report, s->at, 1, "is there a bracket too many before?",
                    "text after the end of the config");
    }
    return ERR_OK;
}

/* ---- the whole ---- */

/* The offset of the first character that is not UTF-8, or text.len. */
static size_t find_bad_utf8(struct span text)
{
    uint8_t state = UTF8_ACCEPT;
    size_t begin = 0; /* of the character that is being read */
    for (size_t i = 0; i < text.len; i++) {
        begin = state == UTF8_ACCEPT ? i : begin;
        state = utf8_feed(state, span_of(text.ptr + i, 1));
        if (state == UTF8_REJECT) {
            return begin;
        }
    }
    return state == UTF8_ACCEPT ? text.len : begin;
}

/* Both trees were built from the same bytes: children stand in the same order. */
static void tie(struct jsonc *doc, uint32_t index, const struct cJSON *item)
{
    doc->nodes[index].item = item;
    const struct cJSON *child = item->child;
    for (uint32_t i = doc->nodes[index].first_child; i != 0; i = doc->nodes[i].next) {
        ASSERT(child != NULL);
        tie(doc, i, child);
        child = child->next;
    }
    ASSERT(child == NULL);
}

static void check_key(const struct jsonc *doc, const struct jsonc_node *object,
                      const struct jsonc_node *member, struct config_report *report)
{
    const struct jsonc_node *first = jsonc_find(doc, object, member->item->string);
    if (first == member || first == NULL) {
        return;
    }
    char quoted[CONFIG_QUOTE_BYTES];
    struct config_position place = config_position_of(report->text, first->key.at);
    struct span key = span_of(report->text.ptr + member->key.at, member->key.len);
    config_problem(report, member->key, "remove one of the two",
                   "the key %s stands twice in this object, first at %u:%u",
                   config_quote(key, quoted), place.line, place.column);
}

static void check_double_keys(const struct jsonc *doc, struct config_report *report)
{
    for (size_t i = 0; i < doc->n_nodes; i++) {
        const struct jsonc_node *object = &doc->nodes[i];
        const struct jsonc_node *member = jsonc_first(doc, object);
        while (member != NULL && member->key.len != 0) {
            check_key(doc, object, member, report);
            member = jsonc_next(doc, member);
        }
    }
}

static enum err parse_copy(struct jsonc *doc, char *copy, struct config_report *report)
{
    size_t len = report->text.len;
    enum err e = blank(copy, len, report);
    if (e != ERR_OK) {
        return e;
    }
    struct scan s = {.text = span_of(copy, len), .doc = doc, .report = report};
    e = scan_text(&s);
    if (e != ERR_OK) {
        return e;
    }
    const char *end = NULL;
    doc->root = cJSON_ParseWithLengthOpts(copy, len, &end, 0);
    if (doc->root == NULL) {
        return ERR_NOMEM; /* the text is well-formed: the scanner is stricter than cJSON */
    }
    tie(doc, 0, doc->root);
    check_double_keys(doc, report);
    return ERR_OK;
}

enum err jsonc_parse(struct jsonc *doc, struct config_report *report)
{
    *doc = (struct jsonc){0};
    struct span text = report->text;
    if (text.len > JSONC_MAX_BYTES) {
        config_problem_plain(report, report->name != NULL ? report->name : "command line", "",
                             "larger than %d bytes: this is no config file", JSONC_MAX_BYTES);
        return ERR_CONFIG;
    }
    size_t bad = find_bad_utf8(text);
    if (bad != text.len) {
        return FAIL(report, bad, 1, "save the file as UTF-8", "this byte (0x%02x) is not UTF-8",
                    (unsigned)(unsigned char)text.ptr[bad]);
    }
    char *copy = mem_copy_string(text.ptr, text.len);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    enum err e = parse_copy(doc, copy, report);
    mem_free(copy);
    if (e != ERR_OK) {
        jsonc_fini(doc);
    }
    return e;
}

void jsonc_fini(struct jsonc *doc)
{
    cJSON_Delete(doc->root);
    mem_free(doc->nodes);
    *doc = (struct jsonc){0};
}

const struct jsonc_node *jsonc_find(const struct jsonc *doc, const struct jsonc_node *object,
                                    const char *key)
{
    const struct jsonc_node *node = jsonc_first(doc, object);
    while (node != NULL && (node->item->string == NULL || strcmp(node->item->string, key) != 0)) {
        node = jsonc_next(doc, node);
    }
    return node;
}

size_t jsonc_count(const struct jsonc *doc, const struct jsonc_node *parent)
{
    size_t n = 0;
    const struct jsonc_node *node = jsonc_first(doc, parent);
    for (; node != NULL; node = jsonc_next(doc, node)) {
        n++;
    }
    return n;
}
