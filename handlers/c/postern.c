/*
 * postern: see postern.h; the wire is described in handlers/PROTOCOL.md.
 *
 * One turn: read once, take every whole frame in the buffer and call back, then write once.
 *
 *     socket -> in [ ......whole frames......|part of one ]
 *                          callbacks
 *     socket <- out [ unsent | slot | MSG MSG MSG ACK ]       the open batch, always last
 *                     start          ^ batch_at          end
 *
 * A batch opens with a slot left free for its header, because its length is known only when it
 * closes; then the header is written against the frames. Closing adds one ACK for all deliveries
 * whose callback has returned, so answers and acknowledgement reach the gateway in one atomic
 * frame. While the kernel takes nothing the batch stays open and grows; above UNSENT_PAUSE_BYTES no
 * more is read or delivered, so a slow gateway costs no memory here.
 *
 * Sessions lie in pages indexed by their handle, one cache line each: no hash and, on the message
 * path, no malloc.
 */
#include "postern.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 1024,  /* a frame's first line, with its LF; the protocol's limit */
    READ_BYTES = 64 * 1024, /* one read; the buffer grows only for a frame larger than this */
    UNSENT_PAUSE_BYTES = 1024 * 1024, /* above this nothing is read */
    BATCH_SLOT_BYTES = 32,            /* "BATCH 18446744073709551615\n" is 27 */
    ACK_BYTES = 32,                   /* "ACK 18446744073709551615 0\n\n" is 28 */
    TAIL_BYTES = ACK_BYTES + 1,       /* kept free behind every frame: the ACK and the batch's LF */
    HEAD_BYTES = 96,                  /* more than any frame of ours has around its payload */
    REASON_MAX_BYTES = 123,           /* what a WebSocket close frame has room for */
    BASE64_STATE_BYTES = (POSTERN_MAX_STATE + 2) / 3 * 4 + 2, /* with its quotes */
    MAX_FRAME_CEILING = 1024 * 1024 * 1024,
    MIN_FRAME = 4096,
    PAGE_SESSIONS = 256,
    RETRY_FIRST_MS = 50,
    RETRY_MAX_MS = 1000,
    WELCOME_TIMEOUT_MS = 10000, /* a gateway that accepts and says nothing is treated as dead */
    WHY_BYTES = 256,
};

/* The verbs that a gateway sends. X(NAME, arguments: n number, h handle, q sequence, k t|b, c code,
 * with or without a word behind it, w word) */
#define VERB_MAP(X)                                                                                \
    X(MSG, "nhqk")                                                                                 \
    X(OPEN, "nh")                                                                                  \
    X(CLOSE, "nhc")                                                                                \
    X(MOVED, "nh")                                                                                 \
    X(PING, "")                                                                                    \
    X(PAUSE, "h")                                                                                  \
    X(RESUME, "h")                                                                                 \
    X(DRAIN, "")                                                                                   \
    X(ERROR, "w")                                                                                  \
    X(WELCOME, "c")

enum verb {
#define X(name, args) VERB_##name,
    VERB_MAP(X)
#undef X
    VERB_UNKNOWN
};

struct piece {
    const char *ptr;
    size_t len;
};

struct frame {
    enum verb verb;
    uint64_t number;
    uint64_t sequence;
    uint32_t handle;
    uint32_t code;
    char kind;
    bool is_again;
    struct piece word;
    struct piece payload;
};

/* 64 bytes, one cache line: a broadcast walks thousands of them. */
struct postern_session {
    struct postern_handler *handler;
    void *user;
    char *info; /* POSTERN_N_INFO strings, one behind the other, then state_len bytes of state */
    uint64_t sequence;
    uint32_t handle; /* 0 = free slot */
    uint16_t state_len;
    bool is_ended; /* kicked or rejected: CLOSE is on its way */
    bool is_resumed;
    bool is_again; /* the message being delivered */
    uint8_t prefix_len;
    char prefix[16]; /* "MSG 4294967295 ", ready to copy */
};

struct page {
    size_t n_used;
    struct postern_session slots[PAGE_SESSIONS];
};

enum link_state {
    LINK_DOWN,  /* no fd; connect at retry_at_ms */
    LINK_HELLO, /* HELLO is queued or sent; WELCOME is due at retry_at_ms */
    LINK_UP,
};

struct bytes {
    char *data;
    size_t start, end, cap;
};

struct postern_handler {
    int fd;
    enum link_state state;
    struct bytes in;
    size_t need;      /* size of the frame at in.start, once its first line is known; else 0 */
    bool has_frames;  /* delivering stopped early: `in` may hold whole frames */
    bool read_filled; /* the last read filled the buffer, so there is probably more */
    struct bytes out;
    size_t batch_at; /* offset in out of the open batch's first frame; 0 = none is open */
    size_t batch_frames;
    uint64_t done;    /* deliveries whose callback has returned */
    uint64_t acked;   /* deliveries whose ACK is in `out` or sent */
    size_t max_frame; /* agreed on this link */
    struct page **pages;
    size_t n_pages;
    size_t n_sessions;
    const struct postern_session *opening; /* inside on_open, with its JSON */
    struct piece opening_json;
    int64_t retry_at_ms;
    int retry_ms;
    atomic_bool is_stopping; /* lock-free: also from a signal handler or another thread */
    int stop_fds[2];
    bool is_deaf;   /* writing has failed: only an ERROR is still of interest */
    bool is_broken; /* the link ends with this turn; `why` says why */
    char why[WHY_BYTES];
    void *ctx;
    struct postern_callbacks on;
    size_t hello_max_frame;
    size_t max_unsent;
    bool accepts_by_hand;
    char *hello; /* the whole HELLO frame */
    size_t hello_len;
    struct sockaddr_un address;
};

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first reason counts: what follows is usually its consequence. */
static void break_link(struct postern_handler *h, const char *why)
{
    if (!h->is_broken) {
        h->is_broken = true;
        (void)snprintf(h->why, sizeof h->why, "%s", why);
    }
}

static bool is_utf8_tail(const unsigned char *p, size_t n, unsigned char low, unsigned char high)
{
    if (p[1] < low || p[1] > high) {
        return false;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return false;
        }
    }
    return true;
}

/* Length of the valid character at p, or 0. RFC 3629: no surrogates, no overlong forms, up to
 * U+10FFFF. */
static size_t utf8_char_len(const unsigned char *p, size_t room)
{
    unsigned char c = p[0];
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xC2 || c > 0xF4) {
        return 0;
    }
    size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return room >= n && is_utf8_tail(p, n, low, high) ? n : 0;
}

static bool is_utf8(const void *text, size_t len)
{
    const unsigned char *p = text;
    size_t at = 0;
    while (at < len) {
        uint64_t eight = 0;
        while (len - at >= sizeof eight) {
            memcpy(&eight, p + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) != 0) {
                break;
            }
            at += sizeof eight;
        }
        if (at == len) {
            break;
        }
        size_t n = utf8_char_len(p + at, len - at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return true;
}

static char *put_bytes(char *to, const void *data, size_t len)
{
    if (len != 0) {
        memcpy(to, data, len);
    }
    return to + len;
}

static char *put_text(char *to, const char *text)
{
    return put_bytes(to, text, strlen(text));
}

static char *put_number(char *to, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return put_bytes(to, digits + at, sizeof digits - at);
}

/* ---- JSON, only as much as OPEN, WELCOME and HELLO need ---- */

static const char *json_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

/* p is at the opening quote; returns what follows the closing one, or NULL. */
static const char *json_skip_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\') {
            p++;
        }
    }
    return NULL;
}

/* Returns what follows the value at p, or NULL. Counts brackets instead of recursing: depth costs
 * no stack. */
static const char *json_skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = json_skip_string(p, end);
            if (p == NULL || depth == 0) {
                return p;
            }
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (depth == 0 && (*p == ',' || *p == '}' || *p == ']')) {
            return p;
        } else if (*p == '}' || *p == ']') {
            p++;
            if (--depth == 0) {
                return p;
            }
        } else {
            p++;
        }
    }
    return depth == 0 ? p : NULL;
}

/* The raw value of `key` in the object `json` (keys compared as they are spelled); a NULL piece
 * when absent. */
static struct piece json_find(struct piece json, const char *key)
{
    const char *end = json.ptr + json.len;
    const char *p = json_skip_space(json.ptr, end);
    if (p == end || *p != '{') {
        return (struct piece){0};
    }
    for (p = json_skip_space(p + 1, end); p < end && *p == '"'; p = json_skip_space(p + 1, end)) {
        const char *name = p + 1;
        p = json_skip_string(p, end);
        if (p == NULL) {
            break;
        }
        size_t name_len = (size_t)(p - name) - 1;
        p = json_skip_space(p, end);
        if (p == end || *p != ':') {
            break;
        }
        const char *value = json_skip_space(p + 1, end);
        p = json_skip_value(value, end);
        if (p == NULL) {
            break;
        }
        if (name_len == strlen(key) && memcmp(name, key, name_len) == 0) {
            return (struct piece){.ptr = value, .len = (size_t)(p - value)};
        }
        p = json_skip_space(p, end);
        if (p == end || *p != ',') {
            break;
        }
    }
    return (struct piece){0};
}

static uint32_t json_hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 0;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xE0 | c >> 12);
        } else {
            *to++ = (char)(0xF0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (c & 0x3F));
    return to;
}

/* The character of the \uXXXX at *p, which it passes; NUL and lone surrogates become U+FFFD. */
static uint32_t json_unicode(const char **p, const char *end)
{
    if (end - *p < 6) {
        *p = end;
        return 0xFFFD;
    }
    uint32_t c = json_hex4(*p + 2);
    *p += 6;
    if (c >= 0xD800 && c < 0xDC00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = json_hex4(*p + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            *p += 6;
            return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return c == 0 || (c >= 0xD800 && c < 0xE000) ? 0xFFFD : c;
}

static char json_escape(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

/* Decodes the raw string `value` to `to`, which has room for value.len + 1 bytes, NUL-ended;
 * anything that is not a string gives "". Returns the length. */
static size_t json_text(struct piece value, char *to)
{
    char *at = to;
    if (value.len >= 2 && value.ptr[0] == '"') {
        const char *p = value.ptr + 1;
        const char *end = value.ptr + value.len - 1;
        while (p < end) {
            if (*p != '\\') {
                *at++ = *p++;
            } else if (end - p >= 2 && p[1] == 'u') {
                at = put_utf8(at, json_unicode(&p, end));
            } else {
                *at++ = json_escape(p[1]);
                p += 2;
            }
        }
    }
    *at = '\0';
    return (size_t)(at - to);
}

/* The value of a base64 digit (RFC 4648, section 4), or -1. */
static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Decodes the raw string `value`, which holds base64, to `to`, which has room for value.len bytes.
 * Returns the length; what is no base64 ends it, and anything that is not a string gives 0. */
static size_t json_base64(struct piece value, char *to)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    char *at = to;
    size_t end = value.len >= 2 && value.ptr[0] == '"' ? value.len - 1 : 0;
    for (size_t i = 1; i < end && base64_digit(value.ptr[i]) >= 0; i++) {
        bits = bits << 6 | (uint32_t)base64_digit(value.ptr[i]);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *at++ = (char)(bits >> n_bits);
        }
    }
    return (size_t)(at - to);
}

static uint64_t json_number(struct piece value, uint64_t otherwise)
{
    uint64_t number = 0;
    if (value.len == 0 || value.len > 18) {
        return otherwise;
    }
    for (size_t i = 0; i < value.len && value.ptr[i] != ' '; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return otherwise;
        }
        number = number * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    return number;
}

static void json_write_text(FILE *to, const char *text)
{
    (void)fputc('"', to);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            (void)fprintf(to, "\\%c", *p);
        } else if ((unsigned char)*p < 0x20) {
            (void)fprintf(to, "\\u%04x", (unsigned)*p);
        } else {
            (void)fputc(*p, to);
        }
    }
    (void)fputc('"', to);
}

/* ---- Sessions ---- */

static struct postern_session *session_find(const struct postern_handler *h, uint32_t handle)
{
    size_t page = handle / PAGE_SESSIONS;
    if (page >= h->n_pages || h->pages[page] == NULL) {
        return NULL;
    }
    struct postern_session *s = &h->pages[page]->slots[handle % PAGE_SESSIONS];
    return s->handle != 0 ? s : NULL;
}

static struct page *page_make(struct postern_handler *h, size_t index)
{
    if (index >= h->n_pages) {
        size_t n = h->n_pages * 2 > index + 1 ? h->n_pages * 2 : index + 1;
        struct page **pages = realloc(h->pages, n * sizeof(struct page *));
        if (pages == NULL) {
            return NULL;
        }
        for (size_t i = h->n_pages; i < n; i++) {
            pages[i] = NULL;
        }
        h->pages = pages;
        h->n_pages = n;
    }
    if (h->pages[index] == NULL) {
        h->pages[index] = calloc(1, sizeof(struct page));
    }
    return h->pages[index];
}

static const char *const info_keys[POSTERN_N_INFO] = {
    "id", "mount", "path", "query", "dialect", "transport", "remote", "origin", "subprotocol"};

static char *info_make(struct piece json, uint16_t *state_len)
{
    struct piece values[POSTERN_N_INFO];
    struct piece state = json_find(json, "state");
    state.len = state.len <= BASE64_STATE_BYTES ? state.len : 0;
    size_t size = state.len;
    for (size_t i = 0; i < POSTERN_N_INFO; i++) {
        values[i] = json_find(json, info_keys[i]);
        size += values[i].len + 1;
    }
    char *info = malloc(size);
    if (info != NULL) {
        char *at = info;
        for (size_t i = 0; i < POSTERN_N_INFO; i++) {
            at += json_text(values[i], at) + 1;
        }
        *state_len = (uint16_t)json_base64(state, at);
    }
    return info;
}

static struct postern_session *session_add(struct postern_handler *h, uint32_t handle,
                                           struct piece json)
{
    struct page *page = page_make(h, handle / PAGE_SESSIONS);
    uint16_t state_len = 0;
    char *info = page != NULL ? info_make(json, &state_len) : NULL;
    if (page == NULL || info == NULL) {
        free(info);
        return NULL;
    }
    struct postern_session *s = &page->slots[handle % PAGE_SESSIONS];
    struct piece resumed = json_find(json, "resumed");
    *s = (struct postern_session){
        .handler = h,
        .info = info,
        .handle = handle,
        .state_len = state_len,
        .is_resumed = resumed.len >= 4 && memcmp(resumed.ptr, "true", 4) == 0,
    };
    char *end = put_text(s->prefix, "MSG ");
    end = put_number(end, handle);
    *end++ = ' ';
    s->prefix_len = (uint8_t)(end - s->prefix);
    page->n_used++;
    h->n_sessions++;
    return s;
}

static void session_forget(struct postern_session *s)
{
    struct postern_handler *h = s->handler;
    s->is_ended = true;
    if (h->on.on_forget != NULL) {
        h->on.on_forget(h->ctx, s);
    }
    size_t index = s->handle / PAGE_SESSIONS;
    free(s->info);
    *s = (struct postern_session){0};
    h->n_sessions--;
    if (--h->pages[index]->n_used == 0) {
        free(h->pages[index]);
        h->pages[index] = NULL;
    }
}

/* ---- Output ---- */

static size_t unsent(const struct postern_handler *h)
{
    return h->out.end - h->out.start;
}

/* Bytes of `out` that may be sent: all but the open batch. */
static size_t sendable(const struct postern_handler *h)
{
    return (h->batch_at != 0 ? h->batch_at - BATCH_SLOT_BYTES : h->out.end) - h->out.start;
}

static void out_move_to_front(struct postern_handler *h)
{
    size_t by = h->out.start;
    memmove(h->out.data, h->out.data + by, unsent(h));
    h->out.start = 0;
    h->out.end -= by;
    if (h->batch_at != 0) {
        h->batch_at -= by;
    }
}

/* Makes room for n more bytes. 0, -ENOBUFS or -ENOMEM. */
static int out_reserve(struct postern_handler *h, size_t n)
{
    struct bytes *out = &h->out;
    if (out->cap - out->end >= n) {
        return 0;
    }
    if (unsent(h) + n > h->max_unsent) {
        return -ENOBUFS;
    }
    /* Only when the gap is at least what is moved: then moving is paid for by what was sent. */
    if (out->start != 0 && out->start >= unsent(h)) {
        out_move_to_front(h);
    }
    if (out->cap - out->end >= n) {
        return 0;
    }
    size_t cap = out->cap != 0 ? out->cap * 2 : READ_BYTES;
    while (cap - out->end < n) {
        cap *= 2;
    }
    char *data = realloc(out->data, cap);
    if (data == NULL) {
        return -ENOMEM;
    }
    out->data = data;
    out->cap = cap;
    return 0;
}

static void send_some(struct postern_handler *h)
{
    size_t n = sendable(h);
    if (n == 0 || h->is_broken) {
        return;
    }
    ssize_t sent = send(h->fd, h->out.data + h->out.start, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return;
        }
        /* It may have left an ERROR for us to read: reading goes on until then. */
        h->is_deaf = true;
        sent = (ssize_t)n;
    }
    h->out.start += (size_t)sent;
    if (h->out.start == h->out.end) {
        h->out.start = 0;
        h->out.end = 0;
    }
}

static char *put_ack(char *to, uint64_t number)
{
    to = put_text(to, "ACK ");
    to = put_number(to, number);
    return put_text(to, " 0\n\n");
}

/* Adds what is to be acknowledged, to the open batch if there is one; else it is its own frame. */
static void add_ack(struct postern_handler *h)
{
    if (h->done == h->acked || (h->batch_at == 0 && out_reserve(h, ACK_BYTES) != 0)) {
        return; /* no room: the next turn tries again */
    }
    h->out.end = (size_t)(put_ack(h->out.data + h->out.end, h->done) - h->out.data);
    h->acked = h->done;
    if (h->batch_at != 0) {
        h->batch_frames++;
    }
}

/* Writes the header against the frames, then closes the gap to what is unsent before them. One
 * frame alone needs no batch around it. */
static void close_batch(struct postern_handler *h)
{
    add_ack(h);
    if (h->batch_at == 0) {
        return;
    }
    char head[BATCH_SLOT_BYTES];
    size_t head_len = 0;
    char *data = h->out.data;
    if (h->batch_frames > 1) {
        char *end = put_text(head, "BATCH ");
        end = put_number(end, h->out.end - h->batch_at);
        *end++ = '\n';
        head_len = (size_t)(end - head);
        data[h->out.end++] = '\n';
    }
    size_t slot = h->batch_at - BATCH_SLOT_BYTES;
    size_t from = h->batch_at - head_len;
    (void)put_bytes(data + from, head, head_len);
    if (slot == h->out.start) {
        h->out.start = from;
    } else {
        memmove(data + slot, data + from, h->out.end - from);
        h->out.end -= from - slot;
    }
    h->batch_at = 0;
}

/* Where a frame of at most n bytes may be written; frame_end follows. Opens a batch, or closes a
 * full one and sends it so that a broadcast does not pile up; a frame too large for any batch
 * stands alone. NULL with *error set. */
static char *frame_begin(struct postern_handler *h, size_t n, int *error)
{
    if (h->batch_at != 0 && h->out.end - h->batch_at + n + ACK_BYTES > h->max_frame) {
        close_batch(h);
        send_some(h);
    }
    *error = out_reserve(h, BATCH_SLOT_BYTES + n + TAIL_BYTES);
    if (*error != 0) {
        return NULL;
    }
    if (h->batch_at == 0 && n + ACK_BYTES <= h->max_frame) {
        h->batch_at = h->out.end + BATCH_SLOT_BYTES;
        h->out.end = h->batch_at;
        h->batch_frames = 0;
    }
    return h->out.data + h->out.end;
}

static void frame_end(struct postern_handler *h, const char *end)
{
    h->out.end = (size_t)(end - h->out.data);
    h->batch_frames++;
}

/* Frames about the link itself stand outside batches. */
static void put_link_frame(struct postern_handler *h, const char *head, struct piece payload)
{
    close_batch(h);
    if (out_reserve(h, HEAD_BYTES + payload.len) != 0) {
        break_link(h, "no room for an answer about the link");
        return;
    }
    char *to = put_text(h->out.data + h->out.end, head);
    to = put_number(to, payload.len);
    *to++ = '\n';
    to = put_bytes(to, payload.ptr, payload.len);
    *to++ = '\n';
    h->out.end = (size_t)(to - h->out.data);
}

/* At the end of a turn. While the kernel takes nothing the batch stays open, so it is not cut into
 * small ones. */
static void finish_output(struct postern_handler *h)
{
    send_some(h);
    if (sendable(h) == 0) {
        close_batch(h);
        send_some(h);
    }
}

/* Tells the gateway what is wrong with what it sent, and gives the link up. */
static void refuse(struct postern_handler *h, const char *code, const char *why)
{
    if (h->is_broken) {
        return;
    }
    char head[32];
    (void)snprintf(head, sizeof head, "ERROR %s ", code);
    put_link_frame(h, head, (struct piece){.ptr = why, .len = strlen(why)});
    finish_output(h);
    break_link(h, why);
}

/* ---- Input: frames ---- */

/* Digits at p, then a blank or the line's end. Returns what follows the digits, or NULL. */
static const char *take_number(const char *p, uint64_t max, uint64_t *value)
{
    uint64_t v = 0;
    const char *first = p;
    while (*p >= '0' && *p <= '9' && p - first < 19) {
        v = v * 10 + (uint64_t)(*p++ - '0');
    }
    *value = v;
    return p != first && v <= max && (*p == ' ' || *p == '\n') ? p : NULL;
}

static const char *take_word(const char *p, struct piece *word)
{
    const char *first = p;
    while (*p != ' ' && *p != '\n') {
        p++;
    }
    *word = (struct piece){.ptr = first, .len = (size_t)(p - first)};
    return p != first ? p : NULL;
}

/* One argument of kind `what` (see VERB_MAP); p is behind the blank. */
static const char *take_arg(char what, const char *p, struct frame *f)
{
    uint64_t value = 0;
    switch (what) {
    case 'n':
        return take_number(p, UINT64_MAX, &f->number);
    case 'q':
        return take_number(p, UINT64_MAX, &f->sequence);
    case 'h':
        p = take_number(p, UINT32_MAX, &value);
        f->handle = (uint32_t)value;
        return value != 0 ? p : NULL;
    case 'c':
        p = take_number(p, UINT16_MAX, &value);
        f->code = (uint32_t)value;
        return p;
    case 'k':
        f->kind = *p;
        if (*p != 't' && *p != 'b') {
            return NULL;
        }
        f->is_again = strncmp(p + 1, " again ", 7) == 0;
        return f->is_again ? p + sizeof "t again" - 1 : p + 1;
    default:
        return take_word(p, &f->word);
    }
}

/* The verb at p; *args says what follows it. Returns what follows the verb's word. */
static const char *take_verb(const char *p, enum verb *verb, const char **args)
{
    static const struct {
        const char *name;
        size_t len;
        const char *args;
    } verbs[] = {
#define X(name, args) {#name, sizeof #name - 1, args},
        VERB_MAP(X)
#undef X
    };
    struct piece word;
    p = take_word(p, &word);
    *verb = VERB_UNKNOWN;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (verbs[i].len == word.len && memcmp(verbs[i].name, word.ptr, word.len) == 0) {
            *verb = (enum verb)i;
            *args = verbs[i].args;
            break;
        }
    }
    return p;
}

/* Reads the line p..lf. False when it is malformed. */
static bool parse_line(const char *p, const char *lf, struct frame *f)
{
    const char *args = "";
    p = take_verb(p, &f->verb, &args);
    if (p == NULL) {
        return false;
    }
    if (f->verb == VERB_UNKNOWN) {
        /* A later version's verb: whatever its arguments, the length comes last. */
        const char *last = lf;
        while (last > p && last[-1] != ' ') {
            last--;
        }
        p = last > p ? last - 1 : lf;
    }
    for (; *args != '\0'; args++) {
        p = *p == ' ' ? take_arg(*args, p + 1, f) : NULL;
        if (p == NULL) {
            return false;
        }
    }
    uint64_t len = 0;
    p = *p == ' ' ? take_number(p + 1, UINT64_MAX, &len) : NULL;
    f->payload = (struct piece){.ptr = lf + 1, .len = (size_t)len};
    return p == lf;
}

/* Takes one frame from `in`; false when none is whole, or the link is broken. */
static bool next_frame(struct postern_handler *h, struct frame *f)
{
    const char *p = h->in.data + h->in.start;
    size_t have = h->in.end - h->in.start;
    if (have == 0 || have < h->need) {
        return false;
    }
    const char *lf = memchr(p, '\n', have < LINE_MAX_BYTES ? have : LINE_MAX_BYTES);
    if (lf == NULL) {
        if (have >= LINE_MAX_BYTES) {
            refuse(h, "bad-frame", "a frame's first line is longer than 1024 bytes");
        }
        return false;
    }
    if (!parse_line(p, lf, f)) {
        refuse(h, "bad-frame", "a frame's first line is not VERB arguments LENGTH");
        return false;
    }
    if (f->payload.len > h->max_frame) {
        refuse(h, "too-big", "a payload is larger than the agreed max_frame");
        return false;
    }
    size_t size = (size_t)(lf + 1 - p) + f->payload.len + 1;
    h->need = size;
    if (have < size) {
        return false;
    }
    if (p[size - 1] != '\n') {
        refuse(h, "bad-frame", "a payload is not followed by a line feed");
        return false;
    }
    h->need = 0;
    h->in.start += size;
    return true;
}

/* ---- Input: what the verbs do ---- */

static void take_welcome(struct postern_handler *h, const struct frame *f)
{
    uint64_t max_frame = json_number(json_find(f->payload, "max_frame"), h->hello_max_frame);
    if (max_frame < h->max_frame) {
        h->max_frame = max_frame > MIN_FRAME ? (size_t)max_frame : MIN_FRAME;
    }
    h->state = LINK_UP;
    h->retry_ms = RETRY_FIRST_MS;
    if (h->on.on_link != NULL) {
        h->on.on_link(h->ctx);
    }
}

static void take_open(struct postern_handler *h, const struct frame *f)
{
    if (session_find(h, f->handle) != NULL) {
        refuse(h, "bad-handle", "OPEN for a handle that is in use");
        return;
    }
    struct postern_session *s = session_add(h, f->handle, f->payload);
    if (s == NULL) {
        break_link(h, "out of memory for a session");
        return;
    }
    if (h->on.on_open != NULL) {
        h->opening = s;
        h->opening_json = f->payload;
        h->on.on_open(h->ctx, s);
        h->opening = NULL;
    }
    if (!h->accepts_by_hand && !s->is_ended && postern_accept(s) != 0) {
        break_link(h, "no room to accept a session");
    }
}

static void take_close(struct postern_handler *h, struct postern_session *s, const struct frame *f)
{
    s->is_ended = true;
    if (h->on.on_close != NULL) {
        h->on.on_close(h->ctx, s, f->code, f->payload.ptr, f->payload.len);
    }
    session_forget(s);
}

/* OPEN, MSG, CLOSE and MOVED: their numbers have no gap, so a lost or repeated delivery cannot pass
 * unseen. */
static void take_delivery(struct postern_handler *h, const struct frame *f)
{
    if (f->number != h->done + 1) {
        refuse(h, "bad-verb", "a delivery's number does not follow the one before");
        return;
    }
    if (f->verb == VERB_OPEN) {
        take_open(h, f);
    } else {
        struct postern_session *s = session_find(h, f->handle);
        if (s == NULL) {
            refuse(h, "bad-handle", "a delivery for a handle that is not open");
            return;
        }
        if (f->verb == VERB_CLOSE) {
            take_close(h, s, f);
        } else if (f->verb == VERB_MOVED) {
            session_forget(s);
        } else if (!s->is_ended && h->on.on_message != NULL) {
            s->sequence = f->sequence;
            s->is_again = f->is_again;
            h->on.on_message(h->ctx, s, f->payload.ptr, f->payload.len, f->kind == 't');
        }
    }
    h->done = f->number;
}

static void take_pause(struct postern_handler *h, const struct frame *f)
{
    struct postern_session *s = session_find(h, f->handle);
    if (s != NULL && !s->is_ended && h->on.on_pause != NULL) {
        h->on.on_pause(h->ctx, s, f->verb == VERB_PAUSE);
    }
}

static void take_error(struct postern_handler *h, const struct frame *f)
{
    char why[WHY_BYTES];
    (void)snprintf(why, sizeof why, "the gateway says %.*s: %.*s", (int)f->word.len, f->word.ptr,
                   (int)(f->payload.len < WHY_BYTES ? f->payload.len : WHY_BYTES), f->payload.ptr);
    break_link(h, why);
}

static void take_frame(struct postern_handler *h, const struct frame *f)
{
    if (h->is_deaf && f->verb != VERB_ERROR) {
        return;
    }
    if (h->state != LINK_UP && f->verb != VERB_WELCOME && f->verb != VERB_ERROR) {
        refuse(h, "bad-verb", "the first frame is not WELCOME");
        return;
    }
    switch (f->verb) {
    case VERB_MSG:
    case VERB_OPEN:
    case VERB_CLOSE:
    case VERB_MOVED:
        take_delivery(h, f);
        break;
    case VERB_PING:
        put_link_frame(h, "PONG ", f->payload);
        break;
    case VERB_PAUSE:
    case VERB_RESUME:
        take_pause(h, f);
        break;
    case VERB_DRAIN:
        if (h->on.on_drain != NULL) {
            h->on.on_drain(h->ctx);
        }
        break;
    case VERB_ERROR:
        take_error(h, f);
        break;
    case VERB_WELCOME:
        if (h->state == LINK_HELLO) {
            take_welcome(h, f);
        }
        break;
    case VERB_UNKNOWN:
        break;
    }
}

static void take_frames(struct postern_handler *h)
{
    struct frame f = {0};
    while (unsent(h) <= UNSENT_PAUSE_BYTES) {
        if (h->is_broken || !next_frame(h, &f)) {
            h->has_frames = false;
            return;
        }
        take_frame(h, &f);
    }
    h->has_frames = true;
}

/* Room for the rest of the frame that has begun, or for one read. */
static bool in_reserve(struct postern_handler *h)
{
    struct bytes *in = &h->in;
    if (in->start != 0) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    size_t cap = h->need > READ_BYTES ? h->need : READ_BYTES;
    if (in->cap < cap) {
        char *data = realloc(in->data, cap);
        if (data == NULL) {
            break_link(h, "out of memory for a message");
            return false;
        }
        in->data = data;
        in->cap = cap;
    }
    return true;
}

static void read_some(struct postern_handler *h)
{
    if (!in_reserve(h)) {
        return;
    }
    size_t room = h->in.cap - h->in.end;
    ssize_t n = recv(h->fd, h->in.data + h->in.end, room, MSG_DONTWAIT);
    h->read_filled = n == (ssize_t)room;
    if (n > 0) {
        h->in.end += (size_t)n;
    } else if (n == 0) {
        break_link(h, "the gateway has closed the link");
    } else if (h->is_deaf || (errno != EAGAIN && errno != EINTR)) {
        break_link(h, h->is_deaf ? "the gateway has closed the link" : strerror(errno));
    }
}

/* ---- The link ---- */

static void link_down(struct postern_handler *h)
{
    if (h->fd >= 0) {
        (void)close(h->fd);
    }
    h->fd = -1;
    h->state = LINK_DOWN;
    h->in.start = 0;
    h->in.end = 0;
    h->need = 0;
    h->has_frames = false;
    h->read_filled = false;
    h->retry_at_ms = now_ms() + h->retry_ms;
    h->retry_ms = h->retry_ms * 2 < RETRY_MAX_MS ? h->retry_ms * 2 : RETRY_MAX_MS;
    if (h->on.on_unlink != NULL) {
        h->on.on_unlink(h->ctx, h->why);
    }
    h->is_broken = true; /* what on_forget may send goes nowhere */
    for (size_t page = 0; page < h->n_pages; page++) {
        for (size_t i = 0; i < PAGE_SESSIONS && h->pages[page] != NULL; i++) {
            if (h->pages[page]->slots[i].handle != 0) {
                session_forget(&h->pages[page]->slots[i]);
            }
        }
    }
    h->out.start = 0;
    h->out.end = 0;
    h->batch_at = 0;
    h->is_deaf = false;
    h->is_broken = false;
}

static void link_begin(struct postern_handler *h)
{
    h->state = LINK_HELLO;
    h->retry_at_ms = now_ms() + WELCOME_TIMEOUT_MS;
    h->done = 0;
    h->acked = 0;
    h->max_frame = h->hello_max_frame;
    if (out_reserve(h, h->hello_len) != 0) {
        break_link(h, "out of memory for HELLO");
        return;
    }
    h->out.end = (size_t)(put_bytes(h->out.data, h->hello, h->hello_len) - h->out.data);
}

static bool set_flags(int fd)
{
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

/* A unix socket connects at once or not at all: EAGAIN here means that the gateway's queue is full.
 */
static void link_connect(struct postern_handler *h)
{
    h->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (h->fd < 0 || !set_flags(h->fd) ||
        connect(h->fd, (const struct sockaddr *)&h->address, sizeof h->address) != 0) {
        char why[WHY_BYTES];
        (void)snprintf(why, sizeof why, "cannot connect to %s: %s", h->address.sun_path,
                       strerror(errno));
        break_link(h, why);
        return;
    }
    link_begin(h);
}

static void link_turn(struct postern_handler *h)
{
    if (unsent(h) > UNSENT_PAUSE_BYTES) {
        send_some(h);
    }
    if (unsent(h) <= UNSENT_PAUSE_BYTES) {
        if (!h->has_frames) {
            read_some(h);
        }
        take_frames(h);
    }
    if (!h->is_broken) {
        finish_output(h);
    }
    if (h->state == LINK_HELLO && now_ms() >= h->retry_at_ms) {
        break_link(h, "the gateway did not answer HELLO with WELCOME");
    }
}

void postern_step(struct postern_handler *h)
{
    if (h->is_stopping) {
        return;
    }
    if (h->state != LINK_DOWN) {
        link_turn(h);
    } else if (now_ms() >= h->retry_at_ms) {
        link_connect(h);
        if (!h->is_broken) {
            finish_output(h);
        }
    }
    if (h->is_broken) {
        link_down(h);
    }
}

int postern_fd(const struct postern_handler *h)
{
    return h->fd;
}

short postern_poll_events(const struct postern_handler *h)
{
    if (unsent(h) == 0) {
        return POLLIN;
    }
    return unsent(h) <= UNSENT_PAUSE_BYTES ? POLLIN | POLLOUT : POLLOUT;
}

int postern_timeout_ms(const struct postern_handler *h)
{
    if (h->state == LINK_UP) {
        bool has_work = h->has_frames || h->read_filled || h->is_deaf;
        return has_work && unsent(h) <= UNSENT_PAUSE_BYTES ? 0 : -1;
    }
    int64_t left = h->retry_at_ms - now_ms();
    return left > 0 ? (int)left : 0;
}

int postern_run(struct postern_handler *h)
{
    while (!h->is_stopping) {
        int timeout = postern_timeout_ms(h);
        if (timeout != 0) {
            struct pollfd fds[2] = {
                {.fd = h->fd, .events = postern_poll_events(h)},
                {.fd = h->stop_fds[0], .events = POLLIN},
            };
            if (poll(fds, 2, timeout) < 0 && errno != EINTR) {
                return -errno;
            }
        }
        postern_step(h);
    }
    return 0;
}

void postern_stop(struct postern_handler *h)
{
    int saved = errno;
    atomic_store(&h->is_stopping, true);
    /* Wakes a poll that has begun, or begins before it sees the flag. A full pipe wakes just as
     * well. */
    ssize_t ignored = write(h->stop_fds[1], "", 1);
    (void)ignored;
    errno = saved;
}

/* ---- Creation ---- */

static void write_hello(FILE *to, const struct postern_options *o, size_t max_frame)
{
    (void)fputs("{\"client\":", to);
    json_write_text(to, o->client != NULL ? o->client : "c/0.1");
    (void)fputs(",\"app\":", to);
    json_write_text(to, o->app != NULL ? o->app : "app");
    if (o->mounts != NULL) {
        (void)fputs(",\"mounts\":", to);
        for (size_t i = 0; o->mounts[i] != NULL; i++) {
            (void)fputc(i == 0 ? '[' : ',', to);
            json_write_text(to, o->mounts[i]);
        }
        (void)fputs(o->mounts[0] != NULL ? "]" : "[]", to);
    }
    if (o->token != NULL) {
        (void)fputs(",\"token\":", to);
        json_write_text(to, o->token);
    }
    (void)fprintf(to, ",\"max_frame\":%zu,\"features\":[\"batch\"]}", max_frame);
}

static bool make_hello(struct postern_handler *h, const struct postern_options *o)
{
    char *json = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&json, &len);
    if (to == NULL) {
        return false;
    }
    write_hello(to, o, h->hello_max_frame);
    bool is_whole = fclose(to) == 0 && json != NULL;
    h->hello = is_whole ? malloc(len + HEAD_BYTES) : NULL;
    if (h->hello != NULL) {
        char *end = put_text(h->hello, "HELLO 1 ");
        end = put_number(end, len);
        *end++ = '\n';
        end = put_bytes(end, json, len);
        *end++ = '\n';
        h->hello_len = (size_t)(end - h->hello);
    }
    free(json);
    return h->hello != NULL;
}

static bool open_stop_pipe(struct postern_handler *h)
{
    int fds[2];
    if (pipe(fds) != 0) {
        return false;
    }
    h->stop_fds[0] = fds[0];
    h->stop_fds[1] = fds[1];
    return set_flags(fds[0]) && set_flags(fds[1]);
}

static size_t clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void take_options(struct postern_handler *h, const struct postern_options *o)
{
    size_t max_frame = o->max_frame != 0 ? o->max_frame : POSTERN_DEFAULT_MAX_FRAME;
    size_t max_unsent = o->max_unsent != 0 ? o->max_unsent : POSTERN_DEFAULT_MAX_UNSENT;
    h->hello_max_frame = clamp(max_frame, MIN_FRAME, MAX_FRAME_CEILING);
    h->max_unsent = clamp(max_unsent, 2 * h->hello_max_frame + READ_BYTES, SIZE_MAX / 4);
    h->max_frame = h->hello_max_frame;
    h->accepts_by_hand = o->accepts_by_hand;
    h->ctx = o->ctx;
    h->on = o->on;
}

struct postern_handler *postern_create(const struct postern_options *o)
{
    size_t path_len = o->path != NULL ? strlen(o->path) : 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path_len == 0 || path_len >= sizeof address.sun_path) {
        errno = path_len == 0 ? EINVAL : ENAMETOOLONG;
        return NULL;
    }
    struct postern_handler *h = malloc(sizeof *h);
    if (h == NULL) {
        return NULL;
    }
    memcpy(address.sun_path, o->path, path_len + 1);
    *h = (struct postern_handler){
        .fd = -1, .stop_fds = {-1, -1}, .retry_ms = RETRY_FIRST_MS, .address = address};
    take_options(h, o);
    if (!open_stop_pipe(h) || !make_hello(h, o)) {
        int saved = errno;
        postern_destroy(h);
        errno = saved;
        return NULL;
    }
    return h;
}

void postern_destroy(struct postern_handler *h)
{
    if (h == NULL) {
        return;
    }
    if (h->state != LINK_DOWN) {
        break_link(h, "stopped");
        link_down(h);
    }
    for (size_t i = 0; i < 2; i++) {
        if (h->stop_fds[i] >= 0) {
            (void)close(h->stop_fds[i]);
        }
    }
    free(h->pages);
    free(h->in.data);
    free(h->out.data);
    free(h->hello);
    free(h);
}

/* ---- What handlers call ---- */

int postern_send(struct postern_session *s, const void *data, size_t len, bool is_text)
{
    struct postern_handler *h = s->handler;
    if (s->is_ended || h->is_broken) {
        return -ENOTCONN;
    }
    if (len > h->max_frame) {
        return -EMSGSIZE;
    }
    if (is_text && !is_utf8(data, len)) {
        return -EILSEQ;
    }
    int error = 0;
    char *to = frame_begin(h, HEAD_BYTES + len, &error);
    if (to == NULL) {
        return error;
    }
    memcpy(to, s->prefix, sizeof s->prefix);
    to += s->prefix_len;
    *to++ = is_text ? 't' : 'b';
    *to++ = ' ';
    to = put_number(to, len);
    *to++ = '\n';
    to = put_bytes(to, data, len);
    *to++ = '\n';
    frame_end(h, to);
    return 0;
}

/* `VERB handle LENGTH` or, with a code, `VERB handle code LENGTH`. */
static int put_session_frame(struct postern_session *s, const char *verb, unsigned code,
                             struct piece payload)
{
    struct postern_handler *h = s->handler;
    if (s->is_ended || h->is_broken) {
        return -ENOTCONN;
    }
    int error = 0;
    char *to = frame_begin(h, HEAD_BYTES + payload.len, &error);
    if (to == NULL) {
        return error;
    }
    to = put_text(to, verb);
    *to++ = ' ';
    to = put_number(to, s->handle);
    *to++ = ' ';
    if (code != 0) {
        to = put_number(to, code);
        *to++ = ' ';
    }
    to = put_number(to, payload.len);
    *to++ = '\n';
    to = put_bytes(to, payload.ptr, payload.len);
    *to++ = '\n';
    frame_end(h, to);
    return 0;
}

static int end_session(struct postern_session *s, const char *verb, unsigned code,
                       const char *reason)
{
    struct piece text = {.ptr = reason, .len = reason != NULL ? strlen(reason) : 0};
    if (code != 1000 && (code < 3000 || code > 4999)) {
        return -EINVAL;
    }
    if (text.len > REASON_MAX_BYTES) {
        return -EMSGSIZE;
    }
    if (!is_utf8(text.ptr, text.len)) {
        return -EILSEQ;
    }
    int error = put_session_frame(s, verb, code, text);
    if (error == 0) {
        s->is_ended = true;
    }
    return error;
}

int postern_kick(struct postern_session *s, unsigned code, const char *reason)
{
    return end_session(s, "KICK", code, reason);
}

int postern_reject(struct postern_session *s, unsigned code, const char *reason)
{
    return end_session(s, "REJECT", code, reason);
}

int postern_accept(struct postern_session *s)
{
    return postern_accept_as(s, NULL);
}

/* RFC 9110 5.6.2. */
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

int postern_accept_as(struct postern_session *s, const char *subprotocol)
{
    struct piece name = {.ptr = subprotocol, .len = subprotocol != NULL ? strlen(subprotocol) : 0};
    for (size_t i = 0; i < name.len; i++) {
        if (!is_token_char(name.ptr[i])) {
            return -EINVAL;
        }
    }
    return put_session_frame(s, "ACCEPT", 0, name);
}

int postern_state(struct postern_session *s, const void *data, size_t len)
{
    if (len > POSTERN_MAX_STATE) {
        return -EMSGSIZE;
    }
    return put_session_frame(s, "STATE", 0, (struct piece){.ptr = data, .len = len});
}

int postern_drain(struct postern_handler *h)
{
    if (h->state != LINK_UP || h->is_broken) {
        return -ENOTCONN;
    }
    put_link_frame(h, "DRAIN ", (struct piece){0});
    return 0;
}

void postern_session_set_user(struct postern_session *s, void *user)
{
    s->user = user;
}

void *postern_session_user(const struct postern_session *s)
{
    return s->user;
}

const char *postern_session_info(const struct postern_session *s, enum postern_info what)
{
    const char *text = s->info;
    for (unsigned i = 0; i < (unsigned)what; i++) {
        text += strlen(text) + 1;
    }
    return text;
}

bool postern_session_is_resumed(const struct postern_session *s)
{
    return s->is_resumed;
}

const void *postern_session_state(const struct postern_session *s, size_t *len)
{
    const char *last = postern_session_info(s, POSTERN_N_INFO - 1);
    *len = s->state_len;
    return s->state_len != 0 ? last + strlen(last) + 1 : NULL;
}

bool postern_session_is_again(const struct postern_session *s)
{
    return s->is_again;
}

uint64_t postern_session_sequence(const struct postern_session *s)
{
    return s->sequence;
}

static void copy_out(const char *text, size_t len, char *value, size_t size)
{
    if (size != 0) {
        size_t n = len < size ? len : size - 1;
        memcpy(value, text, n);
        value[n] = '\0';
    }
}

int postern_session_header(const struct postern_session *s, const char *name, char *value,
                           size_t size)
{
    const struct postern_handler *h = s->handler;
    if (h->opening != s) {
        return -1;
    }
    struct piece headers = json_find(h->opening_json, "headers");
    struct piece raw = headers.ptr != NULL ? json_find(headers, name) : headers;
    char *text = raw.ptr != NULL ? malloc(raw.len + 1) : NULL;
    if (text == NULL) {
        return -1;
    }
    size_t len = json_text(raw, text);
    copy_out(text, len, value, size);
    free(text);
    return (int)len;
}

int postern_session_offered(const struct postern_session *s, size_t i, char *value, size_t size)
{
    const struct postern_handler *h = s->handler;
    if (h->opening != s) {
        return -1;
    }
    /* A list of tokens: no escapes, and no quote but those around each. */
    struct piece list = json_find(h->opening_json, "subprotocols");
    const char *end = list.ptr + list.len;
    const char *name = list.len != 0 ? memchr(list.ptr, '"', list.len) : NULL;
    while (name != NULL) {
        const char *quote = memchr(name + 1, '"', (size_t)(end - name - 1));
        if (quote == NULL) {
            return -1;
        }
        if (i-- == 0) {
            size_t len = (size_t)(quote - name - 1);
            copy_out(name + 1, len, value, size);
            return (int)len;
        }
        name = memchr(quote + 1, '"', (size_t)(end - quote - 1));
    }
    return -1;
}

void postern_each_session(struct postern_handler *h,
                          void (*fn)(void *ctx, struct postern_session *s), void *ctx)
{
    for (size_t page = 0; page < h->n_pages; page++) {
        for (size_t i = 0; i < PAGE_SESSIONS && h->pages[page] != NULL; i++) {
            struct postern_session *s = &h->pages[page]->slots[i];
            if (s->handle != 0) {
                fn(ctx, s);
            }
        }
    }
}

size_t postern_n_sessions(const struct postern_handler *h)
{
    return h->n_sessions;
}
