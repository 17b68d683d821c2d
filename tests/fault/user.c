/* user: see user.h. */
#include "fault/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/fault.h"

enum {
    OUT_BYTES = 1 << 18,
    HEAD_BYTES = 512,
    MAX_RETRIES = 3,
    PARTING_STEPS = 12, /* the FIN after a Close needs no timer */
};

static char out[OUT_BYTES];

static void end(struct user *u, enum user_fate fate, const char *note)
{
    if (u->fate == USER_LIVES) {
        u->fate = fate;
        u->note = note;
    }
}

/* The world turns once; false: this user's part is over. */
static bool wait_more(struct user *u, const char *note)
{
    if (u->fate != USER_LIVES) {
        return false;
    }
    if (!stage_step(u->stage)) {
        end(u, USER_STUCK, note);
        return false;
    }
    line_pump(&u->down);
    line_pump(&u->up);
    return true;
}

static bool open_line(struct user *u, struct line *line)
{
    line_close(line);
    enum line_result result = line_open(line, u->stage, u->door);
    while (result == LINE_AGAIN && wait_more(u, "the TLS handshake")) {
        result = line_shake(line);
    }
    if (result == LINE_LOST) {
        end(u, USER_ENDED, "the connection was not to be had");
    }
    return result == LINE_DONE;
}

static void send_all(struct user *u, struct line *line, size_t n)
{
    struct span rest = span_of(out, n);
    enum line_result result = LINE_AGAIN;
    while (u->fate == USER_LIVES && result == LINE_AGAIN) {
        result = line_send(line, &rest);
        if (result == LINE_AGAIN) {
            (void)wait_more(u, "room to send");
        }
    }
    if (result == LINE_LOST) {
        end(u, USER_ENDED, "the connection ended while we sent");
    }
}

/* -- HTTP ------------------------------------------------------------------------------------- */

/* What the transports over HTTP differ in. */
static const struct way {
    const char *method;
    const char *receiver;
    const char *sender;
    const char *type;   /* field line of what is sent */
    const char *before; /* of its payload */
    const char *taken;  /* status */
} ways[] = {
    [USER_STREAM] = {"POST", "xhr_streaming", "xhr_send", "", "", "204"},
    [USER_POLL] = {"POST", "xhr", "xhr_send", "", "", "204"},
    [USER_JSONP] = {"GET", "jsonp?c=cb", "jsonp_send",
                    "Content-Type: application/x-www-form-urlencoded\r\n", "d=", "200"},
};

static void request(struct user *u, struct line *line, const char *method, const char *what,
                    struct span body)
{
    const char *type = body.len != 0 ? ways[u->transport].type : "";
    int n = snprintf(out, HEAD_BYTES,
                     "%s %s/000/%s/%s HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
                     "User-Agent: fault\r\n%sContent-Length: %zu\r\n\r\n",
                     method, u->base, u->sid, what, type, body.len);
    if (body.len != 0) {
        memmove(out + n, body.ptr, body.len);
    }
    send_all(u, line, (size_t)n + body.len);
}

/* The head of an answer: its bytes, 0 = not whole yet. */
static size_t head_bytes(const struct line *line)
{
    const char *blank = memmem(line->in, line->n_in, "\r\n\r\n", 4);
    return blank != NULL ? (size_t)(blank - line->in) + 4 : 0;
}

static bool has_status(const struct line *line, const char *status)
{
    return line->n_in > 12 && memcmp(line->in + 9, status, 3) == 0;
}

static size_t content_length(const struct line *line, size_t head)
{
    static const char name[] = "Content-Length: ";
    const char *field = memmem(line->in, head, name, sizeof name - 1);
    return field != NULL ? strtoul(field + sizeof name - 1, NULL, 10) : 0;
}

static bool has_answer(const struct line *line)
{
    size_t head = head_bytes(line);
    return head != 0 && line->n_in >= head + content_length(line, head);
}

/* A request for frames is under way, if need be on a fresh connection. */
static bool ask(struct user *u)
{
    if (u->is_asking) {
        return true;
    }
    if (u->down.is_over && !open_line(u, &u->down)) {
        return false;
    }
    const struct way *way = &ways[u->transport];
    request(u, &u->down, way->method, way->receiver, SPAN_NONE);
    u->is_asking = true;
    u->has_head = false;
    return u->fate == USER_LIVES;
}

static bool keep(struct user *u, const char *bytes, size_t n, struct span *frame)
{
    memcpy(u->frame, bytes, n);
    *frame = span_of(u->frame, n);
    return true;
}

/* The frame in a call of the page's function, quoted once more. */
static bool keep_call(struct user *u, const char *bytes, size_t n, struct span *frame)
{
    struct span call = span_of(bytes, n);
    struct span head = SPAN_LIT("/**/cb(\"");
    struct span tail = SPAN_LIT("\");\r\n");
    bool is_call = span_starts_with(call, head) && n > head.len + tail.len &&
                   span_eq(span_skip(call, n - tail.len), tail);
    if (!is_call) {
        end(u, USER_WRONG, "not a call of the callback");
        return false;
    }
    size_t n_frame = 0;
    for (size_t i = head.len; i < n - tail.len; i++) {
        i += bytes[i] == '\\';
        u->frame[n_frame++] = bytes[i];
    }
    *frame = span_of(u->frame, n_frame);
    return true;
}

static bool poll_take(struct user *u, struct span *frame)
{
    if (!ask(u)) {
        return false;
    }
    size_t head = head_bytes(&u->down);
    size_t body = content_length(&u->down, head);
    if (head == 0 || u->down.n_in < head + body) {
        return false;
    }
    if (!has_status(&u->down, "200")) {
        end(u, USER_ENDED, "the poll was refused");
        return false;
    }
    u->is_asking = false;
    const char *bytes = u->down.in + head;
    bool is_frame = body != 0 && (u->transport == USER_JSONP ? keep_call(u, bytes, body, frame)
                                                             : keep(u, bytes, body - 1, frame));
    line_consume(&u->down, head + body);
    return is_frame;
}

static bool stream_head(struct user *u)
{
    size_t head = head_bytes(&u->down);
    if (u->has_head || head == 0) {
        return u->has_head;
    }
    if (!has_status(&u->down, "200")) {
        end(u, USER_ENDED, "the stream was refused");
        return false;
    }
    line_consume(&u->down, head);
    u->has_head = true;
    return true;
}

static bool stream_take(struct user *u, struct span *frame)
{
    while (ask(u) && stream_head(u)) {
        const char *crlf = memmem(u->down.in, u->down.n_in, "\r\n", 2);
        if (crlf == NULL) {
            return false;
        }
        size_t line = (size_t)(crlf - u->down.in) + 2;
        size_t size = strtoul(u->down.in, NULL, 16);
        if (u->down.n_in < line + size + 2) {
            return false;
        }
        u->is_asking = size != 0;
        bool is_frame = size != 0 && memcmp(u->down.in + line, "hh", 2) != 0; /* or the prelude */
        if (is_frame) {
            (void)keep(u, u->down.in + line, size - 1, frame);
        }
        line_consume(&u->down, line + size + 2);
        if (is_frame) {
            return true;
        }
    }
    return false;
}

/* -- WebSocket -------------------------------------------------------------------------------- */

/* Appends a masked frame (with the mask 0) to `out`. */
static size_t put_frame(size_t at, unsigned first, struct span payload)
{
    unsigned char *to = (unsigned char *)out + at;
    size_t n = 0;
    to[n++] = (unsigned char)first;
    if (payload.len < 126) {
        to[n++] = (unsigned char)(0x80 | payload.len);
    } else {
        unsigned n_bytes = payload.len < 65536 ? 2 : 8;
        to[n++] = (unsigned char)(n_bytes == 2 ? 0x80 | 126 : 0x80 | 127);
        for (unsigned i = n_bytes; i != 0; i--) {
            to[n++] = (unsigned char)(payload.len >> (8 * (i - 1)));
        }
    }
    memset(to + n, 0, 4);
    n += 4;
    if (payload.len != 0) {
        memcpy(to + n, payload.ptr, payload.len);
    }
    return at + n + payload.len;
}

static bool ws_head(const struct line *line, size_t *head, size_t *len)
{
    const unsigned char *in = (const unsigned char *)line->in;
    if (line->n_in < 2) {
        return false;
    }
    *head = in[1] < 126 ? 2 : in[1] == 126 ? 4 : 10;
    *len = in[1] < 126 ? in[1] : 0;
    for (size_t i = 2; i < *head && *head <= line->n_in; i++) {
        *len = *len << 8 | in[i];
    }
    return line->n_in >= *head && line->n_in - *head >= *len;
}

/* A whole message from `at` on: with permessage-deflate as one stored block, and the empty one. */
static size_t put_message(const struct user *u, size_t at, const char *text)
{
    static char block[OUT_BYTES];
    size_t len = strlen(text);
    if (!u->has_deflate) {
        return put_frame(at, 0x81, span_of(text, len));
    }
    block[1] = (char)(len & 255);
    block[2] = (char)(len >> 8);
    block[3] = (char)~block[1];
    block[4] = (char)~block[2];
    memcpy(block + 5, text, len);
    block[5 + len] = 0;
    return put_frame(at, 0xc1, span_of(block, len + 6));
}

/* A compressed message of the gateway. */
static bool keep_inflated(struct user *u, const char *bytes, size_t n, struct span *frame)
{
    static const char tail[] = "\x00\x00\xff\xff";
    static char packed[LINE_IN_BYTES + sizeof tail];
    memcpy(packed, bytes, n);
    memcpy(packed + n, tail, 4);
    u->inflate.next_in = (Bytef *)packed;
    u->inflate.avail_in = (uInt)n + 4;
    u->inflate.next_out = (Bytef *)u->frame;
    u->inflate.avail_out = sizeof u->frame;
    if (inflate(&u->inflate, Z_SYNC_FLUSH) != Z_OK || u->inflate.avail_in != 0) {
        end(u, USER_WRONG, "a message that does not inflate");
        return false;
    }
    *frame = span_of(u->frame, sizeof u->frame - u->inflate.avail_out);
    return true;
}

/* The peer's Close, as the frame that SockJS would have sent before it. */
static bool ws_closed(struct user *u, const unsigned char *payload, size_t len, struct span *frame)
{
    unsigned code = len >= 2 ? (unsigned)payload[0] << 8 | payload[1] : 1005;
    if (u->transport == USER_WS) {
        end(u, USER_ENDED, "a Close without its SockJS frame");
        return false;
    }
    int n = snprintf(u->frame, sizeof u->frame, "c[%u,", code);
    *frame = span_of(u->frame, (size_t)n);
    return true;
}

static bool ws_take(struct user *u, struct span *frame)
{
    size_t head = 0;
    size_t len = 0;
    while (u->fate == USER_LIVES && ws_head(&u->down, &head, &len)) {
        unsigned opcode = (unsigned char)u->down.in[0] & 15;
        char *payload = u->down.in + head;
        bool is_frame = opcode == 1 || opcode == 2;
        if (is_frame && (u->down.in[0] & 0x40) != 0) {
            is_frame = keep_inflated(u, payload, len, frame);
        } else if (is_frame) {
            (void)keep(u, payload, len, frame);
        } else if (opcode == 8) {
            is_frame = ws_closed(u, (unsigned char *)payload, len, frame);
        }
        line_consume(&u->down, head + len);
        if (opcode == 9 || opcode == 8) {
            send_all(u, &u->down, put_frame(0, opcode == 8 ? 0x88 : 0x8a, SPAN_NONE));
        }
        if (is_frame) {
            return true;
        }
    }
    return false;
}

static void ws_upgrade(struct user *u)
{
    int n = snprintf(
        out, HEAD_BYTES,
        "GET %s%s/websocket HTTP/1.1\r\nHost: localhost\r\n"
        "Origin: http://localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Protocol: other, test\r\nUser-Agent: fault\r\n%s\r\n",
        u->base, u->transport == USER_WS ? "/000/ws" : "",
        u->transport == USER_DEFLATE ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    send_all(u, &u->down, (size_t)n);
    size_t head = 0;
    while ((head = head_bytes(&u->down)) == 0 && !u->down.is_over &&
           wait_more(u, "the answer to the upgrade")) {
    }
    if (u->fate != USER_LIVES) {
        return;
    }
    if (head == 0 || !has_status(&u->down, "101")) {
        end(u, USER_ENDED, "the upgrade was refused");
        return;
    }
    static const char accept[] = "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n";
    if (memmem(u->down.in, head, accept, sizeof accept - 1) == NULL) {
        end(u, USER_WRONG, "the proof of the handshake");
        return;
    }
    static const char extensions[] = "Sec-WebSocket-Extensions: permessage-deflate";
    u->has_deflate = memmem(u->down.in, head, extensions, sizeof extensions - 1) != NULL;
    if (u->has_deflate) {
        (void)inflateInit2(&u->inflate, -15);
    }
    line_consume(&u->down, head);
}

/* -- frames ----------------------------------------------------------------------------------- */

static bool is_raw(const struct user *u)
{
    return u->transport == USER_RAW || u->transport == USER_DEFLATE;
}

static bool is_websocket(const struct user *u)
{
    return is_raw(u) || u->transport == USER_WS;
}

/* A receiver that was cut off asks again, as no SockJS client does but a proxy may: the session
 * must have ended or go on without a gap. What a socket had taken already is lost unseen: there
 * is no acknowledgement in SockJS. */
static bool may_retry(struct user *u)
{
    if (is_websocket(u) || !fault_is_of_memory() || u->n_retries == MAX_RETRIES) {
        return false;
    }
    u->n_retries++;
    u->is_asking = false;
    return true;
}

static bool next_frame(struct user *u, struct span *frame, const char *note)
{
    do {
        bool is_poll = u->transport == USER_POLL || u->transport == USER_JSONP;
        bool is_there = is_poll                       ? poll_take(u, frame)
                        : u->transport == USER_STREAM ? stream_take(u, frame)
                                                      : ws_take(u, frame);
        if (is_there) {
            return true;
        }
        if (u->down.is_over && !may_retry(u)) {
            end(u, USER_ENDED, "the connection ended");
        }
    } while (wait_more(u, note));
    return false;
}

static bool begins(struct span frame, const char *with)
{
    size_t n = strlen(with);
    return frame.len >= n && memcmp(frame.ptr, with, n) == 0;
}

/* The next message of the frame `a[...]` in `told`; false: there is none left. */
static bool next_told(struct user *u, struct span *text)
{
    size_t at = u->told_from;
    while (at < u->n_told && u->told[at] != '"') {
        at++;
    }
    size_t from = ++at;
    while (at < u->n_told && u->told[at] != '"') {
        at += u->told[at] == '\\' ? 2 : 1;
    }
    if (at >= u->n_told) {
        return false;
    }
    *text = span_of(u->told + from, at - from);
    u->told_from = at + 1;
    return true;
}

static bool next_message(struct user *u, struct span *text, const char *note)
{
    struct span frame;
    while (is_raw(u) || !next_told(u, text)) {
        if (!next_frame(u, &frame, note)) {
            return false;
        }
        if (begins(frame, "c[")) {
            end(u, USER_ENDED, "the session was closed");
            return false;
        }
        if (is_raw(u)) {
            *text = frame;
            return true;
        }
        if (begins(frame, "a[")) {
            memcpy(u->told, frame.ptr, frame.len);
            u->n_told = frame.len;
            u->told_from = 0;
        } else if (!begins(frame, "h")) {
            /* An o: the session has ended so long ago that this is another one. */
            end(u, begins(frame, "o") ? USER_ENDED : USER_WRONG, "a frame that is none");
            return false;
        }
    }
    return true;
}

/* -- the script's words ----------------------------------------------------------------------- */

void user_open(struct user *u, struct stage *stage, enum user_transport transport,
               enum stage_door door, const char *base)
{
    static unsigned n_users;
    u->stage = stage;
    u->transport = transport;
    u->door = door;
    u->base = base;
    u->fate = USER_LIVES;
    u->note = "";
    user_hang_up(u);
    u->has_head = u->is_asking = false;
    u->n_told = u->told_from = 0;
    u->n_retries = 0;
    (void)snprintf(u->sid, sizeof u->sid, "sid%u", ++n_users);
    stage_grant(stage);
    if (is_websocket(u) && open_line(u, &u->down)) {
        ws_upgrade(u);
    }
    struct span frame;
    if (!is_raw(u) && next_frame(u, &frame, "the frame o") && !begins(frame, "o")) {
        end(u, begins(frame, "c[") ? USER_ENDED : USER_WRONG, "not the frame o");
    }
}

static void post_up(struct user *u, struct span body)
{
    if (u->up.is_over && !open_line(u, &u->up)) {
        return;
    }
    const struct way *way = &ways[u->transport];
    request(u, &u->up, "POST", way->sender, body);
    while (!has_answer(&u->up) && wait_more(u, "the answer to what was sent")) {
        if (u->up.is_over) {
            end(u, USER_ENDED, "what was sent was not answered");
        }
    }
    if (u->fate == USER_LIVES && !has_status(&u->up, way->taken)) {
        end(u, USER_ENDED, "what was sent was refused");
    }
    if (u->fate == USER_LIVES) {
        size_t head = head_bytes(&u->up);
        line_consume(&u->up, head + content_length(&u->up, head));
    }
}

/* The array of strings that SockJS sends, behind `before`. */
static struct span array_of(const char *before, const char *const *texts, size_t n)
{
    size_t from = OUT_BYTES / 2;
    size_t at = from + (size_t)sprintf(out + from, "%s", before);
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(out + at, OUT_BYTES - at, "%c\"%s\"", i == 0 ? '[' : ',', texts[i]);
        at += (size_t)len;
    }
    out[at++] = ']';
    return span_of(out + from, at - from);
}

void user_say(struct user *u, const char *const *texts, size_t n)
{
    if (u->fate != USER_LIVES) {
        return;
    }
    size_t len = 0;
    if (is_raw(u)) {
        for (size_t i = 0; i < n; i++) {
            len = put_message(u, len, texts[i]);
        }
        send_all(u, &u->down, len);
    } else if (u->transport == USER_WS) {
        send_all(u, &u->down, put_frame(0, 0x81, array_of("", texts, n)));
    } else {
        post_up(u, array_of(ways[u->transport].before, texts, n));
    }
}

void user_say_split(struct user *u, const char *text)
{
    if (u->fate != USER_LIVES || !is_websocket(u)) {
        user_say(u, &text, 1);
        return;
    }
    struct span all = is_raw(u) ? span_str(text) : array_of("", &text, 1);
    unsigned first = 0x01;
    if (u->has_deflate) {
        size_t head = 6; /* of the whole message in one frame */
        all = span_of(out + head, put_message(u, 0, text) - head);
        first = 0x41;
    }
    struct span rest = span_skip(all, all.len / 2);
    char copy[HEAD_BYTES];
    size_t n = rest.len < sizeof copy ? rest.len : sizeof copy;
    memcpy(copy, rest.ptr, n);
    send_all(u, &u->down, put_frame(0, first, span_of(all.ptr, all.len / 2)));
    (void)wait_more(u, "a turn between two fragments");
    send_all(u, &u->down, put_frame(0, 0x89, SPAN_LIT("?")));
    (void)wait_more(u, "a turn between two fragments");
    send_all(u, &u->down, put_frame(0, 0x80, span_of(copy, n)));
}

void user_hear(struct user *u, struct span want)
{
    struct span text;
    if (u->fate == USER_LIVES && next_message(u, &text, "a message") && !span_eq(text, want)) {
        end(u, USER_WRONG, "another message than the next");
    }
}

void user_hear_close(struct user *u, unsigned code)
{
    struct span frame;
    char want[16];
    (void)snprintf(want, sizeof want, "c[%u,", code);
    while (u->fate == USER_LIVES && next_frame(u, &frame, "the close")) {
        if (begins(frame, want)) {
            end(u, USER_CLOSED, "");
        } else if (begins(frame, "c[")) {
            end(u, USER_ENDED, "closed with another code");
        } else if (!begins(frame, "h")) {
            end(u, USER_WRONG, "a message behind the last");
        }
    }
    if (u->fate == USER_CLOSED && u->transport == USER_WS) {
        /* The Close frame, and ours. */
        struct span bytes = span_of(out, put_frame(0, 0x88, SPAN_NONE));
        (void)line_send(&u->down, &bytes);
    }
    for (int i = 0; i < PARTING_STEPS && u->fate == USER_CLOSED && is_websocket(u); i++) {
        line_pump(&u->down);
        (void)stage_step(u->stage);
    }
}

void user_leave(struct user *u)
{
    if (u->fate == USER_LIVES && is_websocket(u)) {
        send_all(u, &u->down, put_frame(0, 0x88, SPAN_LIT("\x03\xe8")));
        while (!u->down.is_over && wait_more(u, "the answer to our Close")) {
            u->down.n_in = 0;
        }
    }
    end(u, USER_CLOSED, "");
    user_hang_up(u);
}

void user_hang_up(struct user *u)
{
    line_close(&u->down);
    line_close(&u->up);
    if (u->has_deflate) {
        (void)inflateEnd(&u->inflate);
        u->has_deflate = false;
    }
}
