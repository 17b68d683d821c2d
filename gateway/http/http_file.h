/*
 * http_file: bytes that do not change while the process runs, with a tag by which clients and
 * caches ask whether they still have them (RFC 9110 8.8.3). Threads: the owning worker.
 */
#ifndef POSTERN_HTTP_HTTP_FILE_H
#define POSTERN_HTTP_HTTP_FILE_H

#include "base/span.h"

struct http_req;

/* Answers a GET or HEAD with the pieces, joined, or with 304 where If-None-Match has their tag. The
 * tag is a hash of the bytes: the same in every process, and after a restart. `type`: value of
 * Content-Type. `fields`: field lines of both answers, each with its CRLF, e.g. Cache-Control. */
void http_file_answer(struct http_req *req, struct span type, struct span fields,
                      const struct span *pieces, size_t n);

/* Whether the value of an If-None-Match has `tag` (with its quotes), or is `*`. Weak comparison
 * (RFC 9110 13.1.2): a proxy that compresses the answer makes its tag a weak one. */
bool http_file_has_tag(struct span if_none_match, struct span tag);

#endif
