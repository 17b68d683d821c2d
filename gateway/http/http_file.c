/* http_file: see http_file.h. */
#include "http/http_file.h"

#include <stdio.h>

#include "base/hmap.h"
#include "http/http_req.h"
#include "http/http_resp.h"

bool http_file_has_tag(struct span if_none_match, struct span tag)
{
    struct span rest = if_none_match;
    while (rest.len != 0) {
        size_t end = span_find(rest, ',');
        struct span one = span_trim(span_of(rest.ptr, end));
        rest = span_skip(rest, end < rest.len ? end + 1 : end);
        if (span_starts_with(one, SPAN_LIT("W/"))) {
            one = span_skip(one, 2);
        }
        if (span_eq(one, tag) || span_eq(one, SPAN_LIT("*"))) {
            return true;
        }
    }
    return false;
}

/* A fixed key: no peer chooses the bytes, and the tag must outlive the process. */
static uint64_t hash_pieces(const struct span *pieces, size_t n)
{
    struct hash_key key = {0x706f737465726e31, 0x66696c6573303031};
    for (size_t i = 0; i < n; i++) {
        key.k0 ^= hash_bytes(&key, pieces[i]);
    }
    return key.k0;
}

void http_file_answer(struct http_req *req, struct span type, struct span fields,
                      const struct span *pieces, size_t n)
{
    char text[24];
    (void)snprintf(text, sizeof text, "\"%016llx\"", (unsigned long long)hash_pieces(pieces, n));
    struct span tag = span_str(text);
    bool is_same = http_file_has_tag(http_req_field(req, SPAN_LIT("if-none-match")), tag);
    http_resp_start(req->resp, is_same ? 304 : 200);
    http_resp_field(req->resp, SPAN_LIT("ETag"), tag);
    http_resp_fields(req->resp, fields);
    if (is_same) {
        http_resp_finish(req->resp, SPAN_NONE);
        return;
    }
    http_resp_field(req->resp, SPAN_LIT("Content-Type"), type);
    http_resp_finish_pieces(req->resp, pieces, n);
}
