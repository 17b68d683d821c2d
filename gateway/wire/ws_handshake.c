/*
 * ws_handshake: see ws_handshake.h. Whether the origin is welcome, and which subprotocols there are
 * to choose from, is decided above this room.
 */
/* SHA1_Init and its kin are library code that takes no memory and no lock, and so cannot fail. The
 * one-call SHA1 of OpenSSL 3 fetches the digest anew each time, and leaves the output as it was
 * when there is no memory for that. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "wire/ws_handshake.h"

#include <openssl/sha.h>

#include "base/text.h"

enum {
    KEY_BYTES = 16,
    KEY_CHARS = 24, /* of 16 bytes in base64 */
};

static const char ACCEPT_GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */

static bool is_valid_key(struct span key)
{
    char bytes[KEY_CHARS / 4 * 3];
    size_t n = 0;

    return key.len == KEY_CHARS && base64_decode(key, bytes, &n) == ERR_OK && n == KEY_BYTES;
}

static enum err refuse(unsigned *status, unsigned value, const char **why, const char *text)
{
    *status = value;
    *why = text;
    return ERR_PROTO;
}

/* "name" or "name/version" (RFC 9110 7.8). */
static bool is_protocol(struct span item)
{
    size_t slash = span_find(item, '/');

    return http1_is_token(span_of(item.ptr, slash)) &&
           (slash == item.len || http1_is_token(span_skip(item, slash + 1)));
}

/* Whether all items of all field lines of the name are of the form. */
static bool is_list_of(const struct http1_head *head, struct span name,
                       bool (*has_form)(struct span item))
{
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (!span_eq_nocase(head->fields[i].name, name)) {
            continue;
        }
        struct span rest = head->fields[i].value;
        struct span item;
        while (http1_list_next(&rest, &item)) {
            if (!has_form(item)) {
                return false;
            }
        }
    }
    return true;
}

enum err ws_handshake_check_upgrade(const struct http1_head *head, unsigned *status,
                                    const char **why)
{
    if (head->method != HTTP_GET) {
        return refuse(status, 405, why, "A WebSocket handshake is a GET request.");
    }
    if (head->minor == 0) {
        return refuse(status, 400, why, "A WebSocket handshake needs HTTP/1.1.");
    }
    /* Bytes of a body would be read as frames by one hop and as a body by another. */
    if (head->framing == HTTP1_BODY_CHUNKED ||
        (head->framing == HTTP1_BODY_LENGTH && head->content_length != 0)) {
        return refuse(status, 400, why, "A WebSocket handshake has no body.");
    }
    if (!http1_list_has(head, SPAN_LIT("upgrade"), SPAN_LIT("websocket")) ||
        !is_list_of(head, SPAN_LIT("upgrade"), is_protocol)) {
        return refuse(status, 400, why, "Can \"Upgrade\" only to \"WebSocket\".");
    }
    if (!http1_list_has(head, SPAN_LIT("connection"), SPAN_LIT("upgrade")) ||
        !is_list_of(head, SPAN_LIT("connection"), http1_is_token)) {
        return refuse(status, 400, why, "\"Connection\" must be \"Upgrade\".");
    }
    return ERR_OK;
}

static enum err check_version(const struct http1_head *head, unsigned *status, const char **why)
{
    const struct http1_field *version = http1_field_only(head, SPAN_LIT("sec-websocket-version"));

    if (version == NULL) {
        return refuse(status, 400, why, "One Sec-WebSocket-Version is needed.");
    }
    return span_eq(version->value, SPAN_LIT("13"))
               ? ERR_OK
               : refuse(status, 426, why, "Sec-WebSocket-Version must be 13.");
}

static bool is_offered(const struct ws_subprotocols *offers, struct span name)
{
    for (size_t i = 0; i < offers->n; i++) {
        if (span_eq(offers->names[i], name)) {
            return true;
        }
    }
    return false;
}

static enum err add_offers(struct span rest, struct ws_subprotocols *out)
{
    struct span name;

    while (http1_list_next(&rest, &name)) {
        if (!http1_is_token(name) || is_offered(out, name)) {
            return ERR_SYNTAX;
        }
        if (out->n == WS_MAX_SUBPROTOCOLS) {
            return ERR_LIMIT;
        }
        out->names[out->n++] = name;
    }
    return ERR_OK;
}

enum err ws_subprotocols_read(const struct http1_head *head, struct ws_subprotocols *out)
{
    out->n = 0;
    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct http1_field *field = &head->fields[i];
        if (span_eq_nocase(field->name, SPAN_LIT("sec-websocket-protocol"))) {
            enum err e = add_offers(field->value, out);
            if (e != ERR_OK) {
                return e;
            }
        }
    }
    return ERR_OK;
}

struct span ws_subprotocols_choose(const struct ws_subprotocols *offers, const char *const *names,
                                   size_t n_names)
{
    for (size_t i = 0; i < offers->n; i++) {
        for (size_t j = 0; j < n_names; j++) {
            if (span_eq(offers->names[i], span_str(names[j]))) {
                return span_str(names[j]);
            }
        }
    }
    return SPAN_NONE;
}

static void put_accept(struct span key, char out[WS_ACCEPT_CHARS])
{
    SHA_CTX sha;
    unsigned char digest[SHA_DIGEST_LENGTH];

    (void)SHA1_Init(&sha);
    (void)SHA1_Update(&sha, key.ptr, KEY_CHARS);
    (void)SHA1_Update(&sha, ACCEPT_GUID, sizeof ACCEPT_GUID - 1);
    (void)SHA1_Final(digest, &sha);
    (void)base64_encode(span_of((const char *)digest, sizeof digest), out);
}

enum err ws_handshake_check(const struct http1_head *head, struct ws_handshake *out,
                            unsigned *status, const char **why)
{
    enum err e = ws_handshake_check_upgrade(head, status, why);
    if (e == ERR_OK) {
        e = check_version(head, status, why);
    }
    if (e != ERR_OK) {
        return e;
    }
    const struct http1_field *key = http1_field_only(head, SPAN_LIT("sec-websocket-key"));
    if (key == NULL || !is_valid_key(key->value)) {
        return refuse(status, 400, why, "One Sec-WebSocket-Key of 16 bytes in base64 is needed.");
    }
    e = ws_subprotocols_read(head, &out->offers);
    if (e != ERR_OK) {
        return refuse(status, 400, why,
                      e == ERR_LIMIT ? "Sec-WebSocket-Protocol offers too many."
                                     : "Sec-WebSocket-Protocol is a list of different tokens.");
    }
    put_accept(key->value, out->accept);
    return ERR_OK;
}
