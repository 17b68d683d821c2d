/* jsonp: see jsonp.h. */
#include "transports/jsonp.h"

#include "http/http_req.h"
#include "transports/answer.h"
#include "transports/inbound.h"
#include "transports/script.h"
#include "wire/url.h"

/* The field `d` of a form, decoded. What is no good form has no payload. */
static size_t unwrap_form(char *body, size_t len)
{
    struct span coded = SPAN_NONE;
    size_t n = 0;
    if (!url_query_find(span_of(body, len), SPAN_LIT("d"), &coded)) {
        return 0;
    }
    memmove(body, coded.ptr, coded.len);
    return url_decode(span_of(body, coded.len), true, body, &n) == ERR_OK ? n : 0;
}

/* A form is what browsers send; every other body is the payload itself, as with xhr_send. */
static costume_unwrap_fn *unwrapper(const struct http_req *req)
{
    struct span type = http_req_field(req, SPAN_LIT("content-type"));
    type = span_trim(span_of(type.ptr, span_find(type, ';')));
    return span_eq_nocase(type, SPAN_LIT("application/x-www-form-urlencoded")) ? unwrap_form : NULL;
}

const struct transport_ops jsonp_transport = {
    .name = "jsonp",
    .behaviour = TRANSPORT_POLL,
    .check = script_check,
    .open = poll_open,
    .write = poll_write,
    .room = poll_room,
    .finish = poll_finish,
    .abort = answer_abort,
};

const struct transport_ops jsonp_send_transport = {
    .name = "jsonp_send",
    .behaviour = TRANSPORT_INBOUND,
    .open = inbound_open,
};

const struct costume jsonp_costume = {
    .fields = SPAN_LIT_INIT("Content-Type: application/javascript; charset=UTF-8\r\n"
                            "X-Content-Type-Options: nosniff\r\n"),
    /* The comment: else the page chooses the first bytes, and with them a file of another kind
     * (Rosetta Flash). */
    .pre = {SPAN_LIT_INIT("/**/"), SPAN_LIT_INIT("(")},
    .post = SPAN_LIT_INIT(");\r\n"),
    .escape = script_quote,
    .has_callback = true,
};

const struct costume jsonp_send_costume = {
    .fields = SPAN_LIT_INIT("Content-Type: text/plain; charset=UTF-8\r\n"),
    .inbound_status = 200,
    .inbound_body = SPAN_LIT_INIT("ok"), /* Konqueror does weird things on 204 */
    .unwrapper = unwrapper,
};
