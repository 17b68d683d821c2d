/* http_octets: see http_octets.h. Over HTTP/1 the stream is the connection itself. */
#include "http/http_octets.h"

#include "net/conn.h"

static struct conn *conn_of(struct http_octets *octets)
{
    return (struct conn *)(void *)octets;
}

void http_octets_set_owner(struct http_octets *octets, const struct octets_ops *ops, void *owner)
{
    conn_set_owner(conn_of(octets), ops, owner);
}

struct buf *http_octets_out(struct http_octets *octets)
{
    return conn_out(conn_of(octets));
}

void http_octets_wrote(struct http_octets *octets)
{
    conn_wrote(conn_of(octets));
}

size_t http_octets_room(struct http_octets *octets)
{
    return conn_room(conn_of(octets));
}

bool http_octets_is_drained(struct http_octets *octets)
{
    return conn_is_drained(conn_of(octets));
}

void http_octets_pause(struct http_octets *octets)
{
    conn_pause(conn_of(octets));
}

void http_octets_resume(struct http_octets *octets)
{
    conn_resume(conn_of(octets));
}

void http_octets_close(struct http_octets *octets)
{
    conn_close(conn_of(octets));
}

void http_octets_abort(struct http_octets *octets)
{
    conn_abort(conn_of(octets));
}
