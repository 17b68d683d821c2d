/* sockjs: see sockjs.h. This file is the frames; sockjs_urls.c is the URLs and pages. */
#include "dialect/sockjs.h"

#include "base/jsontext.h"
#include "core/session.h"
#include "dialect/raw.h"
#include "dialect/sockjs_urls.h"

static bool hello(struct frame *out)
{
    *out = (struct frame){SPAN_LIT("o"), true};
    return true;
}

static bool beat(struct frame *out)
{
    *out = (struct frame){SPAN_LIT("h"), true};
    return true;
}

static enum err encode(const struct message *messages, size_t n, unsigned caps, struct buf *scratch,
                       struct frame *out)
{
    (void)caps;
    enum err e = buf_append(scratch, "a[", 2);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        if (i != 0) {
            e = buf_append_char(scratch, ',');
        }
        if (e == ERR_OK) {
            e = json_quote(scratch, messages[i].data, JSON_SOCKJS);
        }
    }
    if (e == ERR_OK) {
        e = buf_append_char(scratch, ']');
    }
    *out = (struct frame){buf_span(scratch), true};
    return e;
}

static bool bye(unsigned code, struct span reason, struct buf *scratch, struct frame *out,
                unsigned *transport_code)
{
    *transport_code = 1000;
    if (buf_printf(scratch, "c[%u,", code) != ERR_OK ||
        json_quote(scratch, reason, JSON_SOCKJS) != ERR_OK ||
        buf_append_char(scratch, ']') != ERR_OK) {
        *out = (struct frame){SPAN_LIT("c[1011,\"\"]"), true};
        return true;
    }
    *out = (struct frame){buf_span(scratch), true};
    return true;
}

/* -- decode ----------------------------------------------------------------------------------- */

static const char broken[] = "Broken JSON encoding.";
static const char no_payload[] = "Payload expected.";
static const char too_many[] = "Too many messages in one payload.";

/* Strings of the array as {uint32 length, bytes} records, so that nothing is delivered before all
 * of it is known to be good. */
static enum err put_record(struct buf *records, const struct json_token *token)
{
    char *to = buf_reserve(records, sizeof(uint32_t) + token->raw.len);
    if (to == NULL) {
        return ERR_NOMEM;
    }
    uint32_t len = (uint32_t)json_unescape(token->raw, to + sizeof len);
    memcpy(to, &len, sizeof len);
    buf_commit(records, sizeof len + len);
    return ERR_OK;
}

static void deliver_records(struct session *session, struct span records)
{
    while (records.len != 0) {
        uint32_t len = 0;
        memcpy(&len, records.ptr, sizeof len);
        struct message message = {span_of(records.ptr + sizeof len, len), true};
        records = span_skip(records, sizeof len + len);
        session_deliver(session, &message);
    }
}

/* One string, whole: the usual send of a client that types. */
static enum err deliver_one(struct session *session, const struct json_token *token,
                            struct buf *scratch)
{
    struct message message = {token->raw, true};
    if (token->has_escapes) {
        char *to = buf_reserve(scratch, token->raw.len);
        if (to == NULL) {
            return ERR_NOMEM;
        }
        message.data = span_of(to, json_unescape(token->raw, to));
    }
    session_deliver(session, &message);
    return ERR_OK;
}

/* Reads the elements after the opening bracket, to the end of the text. */
static enum err decode_array(struct session *session, struct json_scan *scan, struct buf *scratch,
                             const char **why)
{
    struct json_token token;
    struct json_token only = {.type = JSON_DONE};
    struct fault fault;
    size_t n = 0;
    for (;;) {
        enum err e = json_next(scan, &token, &fault);
        if (e == ERR_LIMIT && scan->n_elements == JSON_MAX_ELEMENTS) {
            *why = too_many;
            return ERR_LIMIT;
        }
        if (e != ERR_OK || (token.type != JSON_STRING && token.type != JSON_ARRAY_END)) {
            *why = broken;
            return ERR_SYNTAX;
        }
        if (token.type == JSON_ARRAY_END) {
            break;
        }
        if (n == 1 && put_record(scratch, &only) != ERR_OK) {
            return ERR_NOMEM;
        }
        if (n != 0 && put_record(scratch, &token) != ERR_OK) {
            return ERR_NOMEM;
        }
        only = token;
        n++;
    }
    if (json_next(scan, &token, &fault) != ERR_OK) {
        *why = broken;
        return ERR_SYNTAX;
    }
    if (n == 1) {
        return deliver_one(session, &only, scratch);
    }
    deliver_records(session, buf_span(scratch));
    return ERR_OK;
}

static enum err decode(struct session *session, struct span in, bool is_text, struct buf *scratch,
                       const char **why)
{
    (void)is_text; /* a binary frame with JSON in it is read all the same */
    bool is_frame = session_is_duplex(session);
    *why = no_payload;
    if (in.len == 0) {
        return is_frame ? ERR_OK : ERR_SYNTAX;
    }
    buf_clear(scratch);
    struct json_scan scan;
    struct json_token token;
    struct fault fault;
    json_scan_init(&scan, in);
    if (json_next(&scan, &token, &fault) != ERR_OK) {
        *why = broken;
        return ERR_SYNTAX;
    }
    if (token.type == JSON_ARRAY_BEGIN) {
        return decode_array(session, &scan, scratch, why);
    }
    if (token.type == JSON_STRING && is_frame) {
        struct json_token end;
        if (json_next(&scan, &end, &fault) == ERR_OK) {
            return deliver_one(session, &token, scratch);
        }
        *why = broken;
        return ERR_SYNTAX;
    }
    /* Well-formed but not an array, or not well-formed further on: the client hears which. */
    while (token.type != JSON_DONE) {
        if (json_next(&scan, &token, &fault) != ERR_OK) {
            *why = broken;
            break;
        }
    }
    return ERR_SYNTAX;
}

static const struct dialect_route routes[SOCKJS_N_ROUTES] = {
    [SOCKJS_WEBSOCKET] = {.transport = "websocket"},
    [SOCKJS_XHR_STREAMING] = {.transport = "xhr_streaming", .has_session_id = true},
    [SOCKJS_XHR] = {.transport = "xhr", .has_session_id = true},
    [SOCKJS_XHR_SEND] = {.transport = "xhr_send", .has_session_id = true, .must_exist = true},
    [SOCKJS_EVENTSOURCE] = {.transport = "eventsource", .has_session_id = true},
    [SOCKJS_HTMLFILE] = {.transport = "htmlfile", .has_session_id = true},
    [SOCKJS_JSONP] = {.transport = "jsonp", .has_session_id = true},
    [SOCKJS_JSONP_SEND] = {.transport = "jsonp_send", .has_session_id = true, .must_exist = true},
    [SOCKJS_RAW_WEBSOCKET] = {.transport = "websocket", .speaks = &raw_dialect},
};

const struct dialect_ops sockjs_dialect = {
    .name = "sockjs",
    .routes = routes,
    .n_routes = SOCKJS_N_ROUTES,
    .joins_messages = true,
    .lost_carrier_ends = true,
    .conflict_code = 2010,
    .conflict_reason = "Another connection still open",
    .lost_code = 1002,
    .lost_reason = "Connection interrupted",
    .classify = sockjs_classify,
    .page = sockjs_page,
    .hello = hello,
    .encode = encode,
    .decode = decode,
    .beat = beat,
    .bye = bye,
};
