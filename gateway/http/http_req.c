/* http_req: see http_req.h. */
#include "http/http_req.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "net/conn.h"

struct span http_req_field(const struct http_req *req, struct span name)
{
    const struct http1_field *field = http1_field_find(req->head, name);
    return field != NULL ? field->value : SPAN_NONE;
}

struct span http_req_cookie(const struct http_req *req, struct span name)
{
    for (uint16_t i = 0; i < req->head->n_fields; i++) {
        const struct http1_field *field = &req->head->fields[i];
        if (!span_eq_nocase(field->name, SPAN_LIT("cookie"))) {
            continue;
        }
        struct span rest = field->value;
        while (rest.len != 0) {
            size_t end = span_find(rest, ';');
            struct span pair = span_trim(span_of(rest.ptr, end));
            rest = span_skip(rest, end < rest.len ? end + 1 : end);
            size_t equals = span_find(pair, '=');
            if (equals < pair.len && span_eq(span_of(pair.ptr, equals), name)) {
                return span_skip(pair, equals + 1);
            }
        }
    }
    return SPAN_NONE;
}

const char *http_req_peer_text(const struct http_req *req, char out[HTTP_PEER_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct conn_peer *peer = req->peer;
    if (peer->family == AF_INET) {
        (void)inet_ntop(AF_INET, peer->address.s6_addr + 12, host, sizeof host);
        (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "%s:%u", host, peer->port);
    } else if (peer->family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &peer->address, host, sizeof host);
        (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "[%s]:%u", host, peer->port);
    } else {
        (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "unix");
    }
    return out;
}
