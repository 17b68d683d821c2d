/*
 * url: no cuts here (targets come whole), so the oracles are others: the parts, put together, are
 * the target again; decoding in place is decoding; pairs of a query, put together, are the query.
 */
#include <stdint.h>
#include <stdlib.h>

#include "harness/feed.h"
#include "wire/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static bool is_tail(struct span whole, struct span part)
{
    return part.len <= whole.len && span_eq(span_skip(whole, whole.len - part.len), part);
}

/* `target` ends in path[?query], and what is before it is the scheme and the authority. */
static void check_parts(struct span target, const struct url_target *parts)
{
    struct span rest = target;

    if (parts->has_query) {
        must(is_tail(rest, parts->query));
        rest.len -= parts->query.len + 1;
        must(target.ptr[rest.len] == '?');
    }
    bool is_added = parts->form == URL_ABSOLUTE && !is_tail(rest, parts->path);
    must(!is_added || span_eq(parts->path, SPAN_LIT("/")));
    if (!is_added) {
        must(is_tail(rest, parts->path));
        rest.len -= parts->path.len;
    }
    switch (parts->form) {
    case URL_ORIGIN:
        must(rest.len == 0 && parts->path.ptr[0] == '/');
        break;
    case URL_ABSOLUTE:
        must(is_tail(rest, parts->authority) && url_is_valid_authority(parts->authority));
        rest.len -= parts->authority.len;
        must(span_eq_nocase(rest, SPAN_LIT("http://")) ||
             span_eq_nocase(rest, SPAN_LIT("https://")));
        break;
    case URL_AUTHORITY:
        must(span_eq(rest, parts->authority) && url_is_valid_authority(rest));
        break;
    case URL_ASTERISK:
        must(span_eq(rest, SPAN_LIT("*")));
        break;
    }
}

static void check_split(struct span target)
{
    static const struct span methods[] = {SPAN_LIT_INIT("GET"), SPAN_LIT_INIT("CONNECT"),
                                          SPAN_LIT_INIT("OPTIONS")};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct url_target parts;
        struct fault fault = {0, NULL};
        if (url_split(methods[i], target, &parts, &fault) == ERR_OK) {
            check_parts(target, &parts);
        } else {
            must(fault.why != NULL && fault.offset <= target.len);
        }
    }
}

static void check_decode(struct span in, bool plus_is_blank)
{
    char *apart = feed_alloc(in.len);
    char *in_place = feed_alloc(in.len);
    size_t n = 0;
    size_t n_in_place = 0;

    feed_copy(in_place, in.ptr, in.len);
    enum err e = url_decode(in, plus_is_blank, apart, &n);
    must(url_decode(span_of(in_place, in.len), plus_is_blank, in_place, &n_in_place) == e);
    if (e == ERR_OK) {
        must(n <= in.len && span_eq(span_of(apart, n), span_of(in_place, n_in_place)));
    }
    free(apart);
    free(in_place);
}

/* Walks the pairs and, beside them, the bytes between. */
static void check_query(struct span query)
{
    struct span rest = query;
    struct span name;
    struct span value;
    size_t at = 0;

    while (url_query_next(&rest, &name, &value)) {
        while (query.ptr[at] == '&') {
            at++;
        }
        must(name.ptr == query.ptr + at && span_find(name, '=') == name.len);
        must(span_find(name, '&') == name.len && span_find(value, '&') == value.len);
        at += name.len;
        if (at < query.len && query.ptr[at] == '=') {
            at++;
            must(value.ptr == query.ptr + at);
            at += value.len;
        } else {
            must(value.len == 0);
        }
        must(at == query.len || query.ptr[at] == '&');
        struct span found;
        must(url_query_find(query, name, &found) && found.ptr <= value.ptr);
    }
    for (; at < query.len; at++) {
        must(query.ptr[at] == '&');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);

    check_split(in);
    check_decode(in, false);
    check_decode(in, true);
    if (size <= 4096) { /* the check is quadratic */
        check_query(in);
    }
    return 0;
}
