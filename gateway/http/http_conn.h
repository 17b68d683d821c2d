/*
 * http_conn: the server side of one HTTP/1 connection: head -> body -> answer -> next request.
 *
 *   input:   IDLE --first byte--> HEAD --blank line--> BODY --last byte--> DONE
 *   answer:  NONE --start--> HEAD --stream--> STREAM --end--> DONE
 *
 * Both DONE: IDLE again, or the close. Instead of answering, a handler may move the connection to
 * another worker, head and all (http_resp_move): HEAD --on_request--> MOVING, until what was
 * answered before has left; then the connection is detached and handed to on_move.
 *
 * Requests on one connection are served one after another; pipelined bytes wait unread (at most
 * HTTP_PIPELINE_BYTES, then reading pauses). Whatever is ambiguous got one 4xx and the close from
 * wire/http1_head. Every phase has an absolute deadline (threat model row 8): first byte and head,
 * body, idle. Threads: the owning worker.
 */
#ifndef POSTERN_HTTP_HTTP_CONN_H
#define POSTERN_HTTP_HTTP_CONN_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/span.h"
#include "wire/http1_head.h"

struct conn;
struct conn_parcel;
struct http_req;
struct kit;

enum {
    HTTP_PIPELINE_BYTES = 32 << 10, /* unread bytes behind a pending answer before reading pauses */
    HTTP_DRAIN_BODY_BYTES =
        2 << 20, /* of a body that nobody wants; a larger rest closes the connection */
};

struct http_opts {
    struct http1_limits limits;
    uint32_t head_timeout_ms;      /* first byte to blank line; default 10000 */
    uint32_t body_timeout_ms;      /* plus bytes / min_rate; default 25000 */
    uint32_t keepalive_timeout_ms; /* between requests; default 75000 */
    uint32_t min_rate_bytes_per_s; /* default 4096 */
};

/* A request of another protocol that may stand at the very start of a connection, and its one
 * answer, after which the connection closes: Flash players ask so for a policy (docs/CONFIG.md).
 * Both outlive the connection. `request` begins with a byte that no HTTP method has. */
struct http_preface {
    struct span request;
    struct span answer;
};

/* What all connections of a worker share. */
struct http_server {
    struct kit *kit;
    struct http_opts opts;
    /* A whole head has come. Must answer, now or later, through req->resp (or read the body first).
     */
    void (*on_request)(void *ctx, struct http_req *req);
    void *ctx;
    /* Carries a moved connection to `worker`, which shall conn_adopt it and http_conn_create on it.
     * Takes over what is in `parcel` (which itself is gone afterwards). Set after http_server_init;
     * may stay NULL where nothing calls http_resp_move. */
    void (*on_move)(void *ctx, struct conn_parcel *parcel, unsigned worker);
    void *move_ctx;
    struct mem_pool pool;   /* of struct http_conn */
    struct http1_head head; /* of the request being parsed: one at a time */
    uint64_t date_second;   /* what `date` was made for */
    char date[40];          /* "Date: ...\r\n" */
    uint8_t date_len;
};

void http_server_init(struct http_server *server, struct kit *kit, const struct http_opts *opts,
                      void (*on_request)(void *ctx, struct http_req *req), void *ctx);
void http_server_fini(struct http_server *server);

/* Serves `conn`, new or adopted, which it owns from now on, also when this fails. */
enum err http_conn_create(struct http_server *server, struct conn *conn) MUST_CHECK;
/* Likewise; where the first bytes are exactly `preface->request`, it gets that answer. They have
 * the deadline of a head; whatever differs from them is read as HTTP from its first byte on. NULL:
 * as above. */
enum err http_conn_create_with_preface(struct http_server *server, struct conn *conn,
                                       const struct http_preface *preface) MUST_CHECK;

#endif
