/* handler: see handler.h. */
#include "fault/handler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault/fault.h"
#include "wire/link_frame.h"

enum {
    MAX_BYTES = 4 << 20,
    MAX_FRAME_BYTES = 1 << 20,
    KICK_CODE = 4000,
};

static void must(enum err e)
{
    if (e != ERR_OK) {
        abort();
    }
}

static void lose(struct handler *h)
{
    handler_leave(h);
    h->retry_ms = fault_now_ms() + HANDLER_RETRY_MS;
}

void handler_leave(struct handler *h)
{
    if (h->fd >= 0) {
        (void)close(h->fd);
    }
    h->fd = -1;
    h->is_linked = false;
    h->n_open = 0;
    buf_clear(&h->in);
    buf_clear(&h->out);
}

void handler_init(struct handler *h, const char *path)
{
    *h = (struct handler){.path = path, .fd = -1};
    buf_init(&h->in, MAX_BYTES);
    buf_init(&h->out, MAX_BYTES);
}

void handler_fini(struct handler *h)
{
    handler_leave(h);
    buf_fini(&h->in);
    buf_fini(&h->out);
}

static void connect_now(struct handler *h)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(h->path);
    memcpy(addr.sun_path, h->path, len < sizeof addr.sun_path ? len : 0);
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || connect(h->fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        handler_leave(h);
        return;
    }
    const uint64_t version = 1;
    must(link_put(&h->out, "HELLO", &version, 1,
                  SPAN_LIT("{\"app\":\"fault\",\"mounts\":[\"*\"],\"features\":[\"batch\"]}")));
}

/* -- verbs ------------------------------------------------------------------------------------ */

static uint64_t arg(const struct link_verb *verb, unsigned i)
{
    uint64_t value = 0;
    must(link_arg_u64(verb->args[i], UINT64_MAX, &value));
    return value;
}

static void acknowledge(struct buf *out, const struct link_verb *verb)
{
    const uint64_t number = arg(verb, 0);
    must(link_put(out, "ACK", &number, 1, SPAN_NONE));
}

static void put_message(struct buf *out, uint64_t handle, struct span kind, struct span payload)
{
    char word[64];
    struct buf line;
    buf_init(&line, sizeof word);
    must(buf_printf(&line, "MSG %llu %.*s", (unsigned long long)handle, SPAN_FMT(kind)));
    must(buf_append_char(&line, '\0'));
    must(link_put(out, buf_span(&line).ptr, NULL, 0, payload));
    buf_fini(&line);
}

static void put_flood(struct buf *out, uint64_t handle)
{
    char payload[HANDLER_FLOOD_BYTES];
    for (unsigned i = 0; i < HANDLER_FLOOD_MESSAGES; i++) {
        memset(payload, 'a' + (int)i, sizeof payload);
        put_message(out, handle, SPAN_LIT("t"), span_of(payload, sizeof payload));
    }
}

static bool has_word(struct span text, const char *word)
{
    return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

static void take_message(struct handler *h, const struct link_verb *verb)
{
    uint64_t handle = arg(verb, 1);
    struct buf batch;
    buf_init(&batch, MAX_FRAME_BYTES);
    h->n_messages++;
    if (has_word(verb->payload, "kick")) {
        const uint64_t args[] = {handle, KICK_CODE};
        must(link_put(&batch, "KICK", args, 2, SPAN_LIT("bye")));
    } else if (has_word(verb->payload, "flood")) {
        put_flood(&batch, handle);
    } else {
        put_message(&batch, handle, verb->args[3], verb->payload);
    }
    acknowledge(&batch, verb);
    must(link_put(&h->out, "BATCH", NULL, 0, buf_span(&batch)));
    buf_fini(&batch);
}

static void take(struct handler *h, const struct link_verb *verb)
{
    switch ((unsigned)verb->id) {
    case LINK_WELCOME:
        h->is_linked = true;
        break;
    case LINK_OPEN: {
        const uint64_t handle = arg(verb, 1);
        h->n_open++;
        must(link_put(&h->out, "ACCEPT", &handle, 1, SPAN_NONE));
        acknowledge(&h->out, verb);
        break;
    }
    case LINK_MSG:
        take_message(h, verb);
        break;
    case LINK_CLOSE:
        h->n_open--;
        acknowledge(&h->out, verb);
        break;
    case LINK_PING:
        must(link_put(&h->out, "PONG", NULL, 0, verb->payload));
        break;
    case LINK_ERROR:
        lose(h);
        break;
    default:
        break;
    }
}

static void take_frames(struct handler *h)
{
    while (h->fd >= 0) {
        struct link_verb verb;
        struct fault fault;
        size_t used = 0;
        size_t needed = 0;
        struct span in = buf_span(&h->in);
        enum err e = link_frame_parse(in, MAX_FRAME_BYTES, &verb, &used, &needed, &fault);
        if (e == ERR_AGAIN) {
            return;
        }
        must(e); /* the gateway may be hurt, but not speak nonsense */
        take(h, &verb);
        if (h->fd >= 0) {
            buf_consume(&h->in, used);
        }
    }
}

/* -- bytes ------------------------------------------------------------------------------------ */

static void read_all(struct handler *h)
{
    char bytes[16384];
    while (h->fd >= 0) {
        ssize_t n = recv(h->fd, bytes, sizeof bytes, 0);
        if (n < 0) {
            if (errno != EAGAIN) {
                lose(h);
            }
            return;
        }
        if (n == 0) {
            lose(h);
            return;
        }
        must(buf_append(&h->in, bytes, (size_t)n));
        take_frames(h);
    }
}

static void write_all(struct handler *h)
{
    while (h->fd >= 0 && buf_len(&h->out) != 0) {
        struct span bytes = buf_span(&h->out);
        ssize_t n = send(h->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                lose(h);
            }
            return;
        }
        buf_consume(&h->out, (size_t)n);
    }
}

void handler_pump(struct handler *h)
{
    if (h->fd < 0 && !h->is_away && fault_now_ms() >= h->retry_ms) {
        connect_now(h);
    }
    read_all(h);
    if (!h->is_mute || !h->is_linked) {
        write_all(h);
    }
}
