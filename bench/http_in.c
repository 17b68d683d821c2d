/* http_in: see http_in.h. No allocation, no copies. */
#include "http_in.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Moves one line with its CRLF from *in to *line (without it); false while it is incomplete. */
static bool take_line(struct slice *in, struct slice *line)
{
    const char *end = memmem(in->at, in->n, "\r\n", 2);
    if (end == NULL) {
        return false;
    }
    *line = (struct slice){in->at, (size_t)(end - in->at)};
    in->n -= line->n + 2;
    in->at = end + 2;
    return true;
}

bool http_in_field(struct slice head, const char *name, struct slice *value)
{
    struct slice line = {0};
    size_t n = strlen(name);
    while (take_line(&head, &line)) {
        if (line.n <= n || line.at[n] != ':' || strncasecmp(line.at, name, n) != 0) {
            continue;
        }
        *value = (struct slice){line.at + n + 1, line.n - n - 1};
        while (value->n > 0 && *value->at == ' ') {
            value->at++;
            value->n--;
        }
        return true;
    }
    return false;
}

bool http_in_has_word(struct slice value, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= value.n; i++) {
        if (strncasecmp(value.at + i, word, n) == 0) {
            return true;
        }
    }
    return false;
}

/* A number that begins the slice; the byte behind it stops strtoull, as CRLF is always there. */
static bool parse_number(struct slice text, int base, uint64_t *value)
{
    char *end = NULL;
    *value = strtoull(text.at, &end, base);
    return text.n > 0 && end != text.at && end <= text.at + text.n;
}

static bool parse_head(struct http_in *http, struct slice head)
{
    struct slice value = {0};
    if (head.n < 12 || memcmp(head.at, "HTTP/1.", 7) != 0) {
        return false;
    }
    http->status = (int)strtol(head.at + 9, NULL, 10);
    http->will_close = head.at[7] == '0';
    if (http_in_field(head, "connection", &value) && http_in_has_word(value, "close")) {
        http->will_close = true;
    }
    http->is_chunked =
        http_in_field(head, "transfer-encoding", &value) && http_in_has_word(value, "chunked");
    http->has_length = http_in_field(head, "content-length", &value);
    http->left = 0;
    return !http->has_length || parse_number(value, 10, &http->left);
}

static enum http_in_state body_state(const struct http_in *http)
{
    if (http->status < 200 || http->status == 204 || http->status == 304) {
        return HTTP_IN_END;
    }
    if (http->is_chunked) {
        return HTTP_IN_CHUNK_SIZE;
    }
    if (!http->has_length) {
        return HTTP_IN_TO_EOF;
    }
    return http->left > 0 ? HTTP_IN_LENGTH : HTTP_IN_END;
}

static enum http_in_event next_head(struct http_in *http, struct slice *in, struct slice *part)
{
    const char *end = memmem(in->at, in->n, "\r\n\r\n", 4);
    if (end == NULL) {
        return in->n > HTTP_IN_HEAD_MAX ? HTTP_IN_BAD : HTTP_IN_MORE;
    }
    *part = (struct slice){in->at, (size_t)(end - in->at) + 4};
    in->at += part->n;
    in->n -= part->n;
    if (!parse_head(http, *part)) {
        return HTTP_IN_BAD;
    }
    http->state = body_state(http);
    return HTTP_IN_GOT_HEAD;
}

/* At most `left` bytes of body; `then` is the state once they are all here. */
static enum http_in_event next_body(struct http_in *http, struct slice *in, struct slice *part,
                                    enum http_in_state then)
{
    if (in->n == 0) {
        return HTTP_IN_MORE;
    }
    *part = (struct slice){in->at, in->n < http->left ? in->n : (size_t)http->left};
    in->at += part->n;
    in->n -= part->n;
    http->left -= part->n;
    if (http->left == 0) {
        http->state = then;
    }
    return HTTP_IN_GOT_BODY;
}

/* One line of the chunked coding that carries no body; MORE also means "go on" when it was had. */
static enum http_in_event next_line(struct http_in *http, struct slice *in, bool *is_had)
{
    struct slice line = {0};
    *is_had = take_line(in, &line);
    if (!*is_had) {
        return HTTP_IN_MORE;
    }
    if (http->state == HTTP_IN_CHUNK_CRLF) {
        http->state = HTTP_IN_CHUNK_SIZE;
        return line.n == 0 ? HTTP_IN_MORE : HTTP_IN_BAD;
    }
    if (http->state == HTTP_IN_TRAILER) {
        http->state = line.n == 0 ? HTTP_IN_END : HTTP_IN_TRAILER;
        return HTTP_IN_MORE;
    }
    if (!parse_number(line, 16, &http->left)) {
        return HTTP_IN_BAD;
    }
    http->state = http->left > 0 ? HTTP_IN_CHUNK_DATA : HTTP_IN_TRAILER;
    return HTTP_IN_MORE;
}

enum http_in_event http_in_next(struct http_in *http, struct slice *in, struct slice *part)
{
    for (;;) {
        bool is_had = false;
        enum http_in_event event = HTTP_IN_MORE;
        switch (http->state) {
        case HTTP_IN_HEAD:
            return next_head(http, in, part);
        case HTTP_IN_LENGTH:
            return next_body(http, in, part, HTTP_IN_END);
        case HTTP_IN_CHUNK_DATA:
            return next_body(http, in, part, HTTP_IN_CHUNK_CRLF);
        case HTTP_IN_TO_EOF:
            http->left = UINT64_MAX;
            return next_body(http, in, part, HTTP_IN_TO_EOF);
        case HTTP_IN_END:
            http->state = HTTP_IN_HEAD;
            return HTTP_IN_GOT_END;
        case HTTP_IN_CHUNK_SIZE:
        case HTTP_IN_CHUNK_CRLF:
        case HTTP_IN_TRAILER:
            event = next_line(http, in, &is_had);
            if (!is_had || event == HTTP_IN_BAD) {
                return event;
            }
            break;
        }
    }
}

bool http_in_may_end(const struct http_in *http)
{
    return http->state == HTTP_IN_TO_EOF;
}
