/*
 * http_resp: the answer to one request, written straight into the connection's output.
 *
 *     http_resp_start -> http_resp_field* -> http_resp_finish               one body, its length
 *                                         -> http_resp_stream
 *                                              -> http_resp_chunk* -> http_resp_end      endless
 *                                         -> http_resp_upgrade              101
 *     http_resp_move                        another worker answers
 *
 * Streaming is chunked for HTTP/1.1, and ends with the connection for HTTP/1.0. A failure (memory)
 * is remembered and ends the connection; finish and end, which are the last to know, return false
 * then. After finish, end, upgrade and move the pointer is dead. Threads: the owning worker.
 */
#ifndef POSTERN_HTTP_HTTP_RESP_H
#define POSTERN_HTTP_HTTP_RESP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct http_octets;
struct http_resp;

/* The status line, Date, and Connection where it is needed. */
void http_resp_start(struct http_resp *resp, unsigned status);
/* 101, with another reason phrase than the status has. */
void http_resp_start_switching(struct http_resp *resp, struct span reason);
/* `value` must be free of CR, LF and NUL: what came through http1_head is. */
void http_resp_field(struct http_resp *resp, struct span name, struct span value);
/* Constant field lines, each with its CRLF. */
void http_resp_fields(struct http_resp *resp, struct span lines);
/* Ends the head with Content-Length (none for 204 and 304) and sends the body (not for HEAD). */
bool http_resp_finish(struct http_resp *resp, struct span body);
/* The same with a body in pieces. */
bool http_resp_finish_pieces(struct http_resp *resp, const struct span *pieces, size_t n);
/* start + Content-Type text/plain + finish: for errors and other small answers. */
void http_resp_text(struct http_resp *resp, unsigned status, struct span body);

/* Ends the head of a streaming answer. */
void http_resp_stream(struct http_resp *resp);
/* Sends the pieces, joined, as one chunk; an empty sum sends nothing. */
void http_resp_chunk(struct http_resp *resp, const struct span *pieces, size_t n);
bool http_resp_end(struct http_resp *resp);
/* The connection closes after this answer. Before http_resp_start. */
void http_resp_close_after(struct http_resp *resp);

/* Ends the head of a 101 and hands over the stream, whose owner must be set before this turn ends.
 */
struct http_octets *http_resp_upgrade(struct http_resp *resp);

/* Instead of an answer: the connection goes to `worker` (not this one), which parses the request
 * again, with all that follows it. Only from inside on_request, before anything else was asked of
 * `resp`, which is dead then. Earlier answers leave first, and on_request is not called for what
 * lies behind. A request that was moved already is answered 503: workers that disagree on whose it
 * is must not play ping-pong with it; the next one on that connection may move. */
void http_resp_move(struct http_resp *resp, unsigned worker);

/* Bytes that a streaming producer should still add; 0 = wait for on_room. */
size_t http_resp_room(struct http_resp *resp);
/* Whether the request was HTTP/1.0 (no chunked coding: a stream ends with the connection). */
bool http_resp_is_http10(const struct http_resp *resp);

/* Who is told while the answer is pending or streaming. */
struct http_watch {
    void (*on_room)(void *ctx);
    /* The answer is void and `resp` dead: the peer has gone (reset, FIN, write timeout), or the
     * body that nobody wanted turned out malformed, too long or too slow. Not called while a body
     * is awaited: then on_body hears of it, and of the two only that. */
    void (*on_gone)(void *ctx);
};
void http_resp_watch(struct http_resp *resp, const struct http_watch *watch, void *ctx);
/* Ends the connection at once (the peer then sees a reset or a cut answer). `resp` is dead. */
void http_resp_abort(struct http_resp *resp);

/* Collects the request's body, up to `max_bytes`, sends 100 Continue where it is awaited, and calls
 * `on_body` once: ERR_OK with the bytes (valid during the call), or ERR_GONE: the request is void
 * and `resp` dead. A body that is malformed, too slow or over the limit is answered here (400, 408,
 * 413) and gives ERR_GONE too; for 413 the rest of the body is read over, so that the client sees
 * the answer. May call back before it returns. */
typedef void http_body_fn(void *ctx, enum err e, struct span body);
void http_resp_read_body(struct http_resp *resp, uint64_t max_bytes, http_body_fn *on_body,
                         void *ctx);

#endif
