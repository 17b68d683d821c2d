/* load_user: see load_user.h. */
#include "load_user.h"

#include "load_link.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

/* When a server goes away every session has the same story: a few are enough. */
#define REASONS_PRINTED 5

void load_user_init(struct load *load, struct load_user *user, uint32_t number)
{
    *user = (struct load_user){.number = number};
    load_link_init(&user->down, user);
    load_link_init(&user->up, user);
    load_echo_book_init(&user->book, load->opts.inflight);
}

static void close_links(struct load_user *user)
{
    load_link_close(&user->down);
    load_link_close(&user->up);
    bytes_fini(&user->line);
    bytes_fini(&user->pong);
}

void load_user_fini(struct load_user *user)
{
    close_links(user);
    load_echo_book_fini(&user->book);
}

void load_user_fail(struct load *load, struct load_user *user, const char *format, ...)
{
    if (user->state == LOAD_USER_FAILED) {
        return;
    }
    if (load->n_failed++ < REASONS_PRINTED) {
        va_list args;
        va_start(args, format);
        (void)fprintf(stderr, "postern-load: session %u: ", user->number);
        (void)vfprintf(stderr, format, args);
        (void)fputc('\n', stderr);
        va_end(args);
    }
    load->n_open -= user->state == LOAD_USER_OPEN;
    user->state = LOAD_USER_FAILED;
    close_links(user);
}

void load_user_start(struct load *load, struct load_user *user)
{
    user->state = LOAD_USER_OPENING;
    if (!load_link_open(load, &user->down)) {
        load_user_fail(load, user, "cannot connect: %s", strerror(errno));
    }
}

void load_user_opened(struct load *load, struct load_user *user)
{
    if (user->state != LOAD_USER_OPENING) {
        load_user_fail(load, user, "the session was opened twice");
        return;
    }
    user->state = LOAD_USER_OPEN;
    load->n_open++;
    load->progress_ns = load_now_ns();
}

void load_user_mark(struct load *load, struct load_user *user)
{
    if (!user->is_dirty) {
        user->is_dirty = true;
        user->next_dirty = load->dirty;
        load->dirty = user;
    }
}

void load_user_flush_marked(struct load *load)
{
    while (load->dirty != NULL) {
        struct load_user *user = load->dirty;
        load->dirty = user->next_dirty;
        user->is_dirty = false;
        if (user->state != LOAD_USER_FAILED) {
            load->carrier->flush(load, user);
        }
    }
}

unsigned load_user_due(const struct load *load, const struct load_user *user)
{
    bool is_sending = load->phase == LOAD_WARMUP || load->phase == LOAD_MEASURE;
    if (!is_sending || user->state != LOAD_USER_OPEN) {
        return 0;
    }
    unsigned room = load->opts.inflight - user->book.n;
    uint64_t granted = user->n_granted - user->book.next_sequence;
    return load->opts.rate != 0 && granted < room ? (unsigned)granted : room;
}

void load_user_on_message(struct load *load, struct load_user *user, const char *text, size_t n)
{
    uint64_t sent_ns = 0;
    if (!load_echo_take(&user->book, &load->format, user->number, text, n, &sent_ns)) {
        return;
    }
    load->n_total++;
    if (load->phase == LOAD_MEASURE) {
        load->n_messages++;
        histogram_add(&load->latency_ns, load->read_ns - sent_ns);
    }
}

/* The strings of an array. Our text has nothing that JSON escapes, so a slice up to the next quote
 * is the message; one that came escaped differs from what was sent and is counted as changed. */
static void on_sockjs_array(struct load *load, struct load_user *user, struct slice array)
{
    const char *end = array.at + array.n;
    const char *open = memchr(array.at, '"', array.n);
    while (open != NULL) {
        const char *close = memchr(open + 1, '"', (size_t)(end - open - 1));
        if (close == NULL) {
            load_user_fail(load, user, "a string without an end in an a[] frame");
            return;
        }
        load_user_on_message(load, user, open + 1, (size_t)(close - open - 1));
        open = memchr(close + 1, '"', (size_t)(end - close - 1));
    }
}

void load_user_on_sockjs(struct load *load, struct load_user *user, struct slice frame)
{
    char kind = '\0';
    if (frame.n > 0) {
        kind = *frame.at;
    }
    switch (kind) {
    case 'a':
        on_sockjs_array(load, user, frame);
        break;
    case 'h': /* a heartbeat, or the 2 KiB of them that begin a stream */
        break;
    case 'o':
        load_user_opened(load, user);
        break;
    case 'c':
        load_user_fail(load, user, "closed by the server: %.*s", (int)frame.n, frame.at);
        break;
    default:
        load_user_fail(load, user, "not a SockJS frame: %.*s", (int)(frame.n < 64 ? frame.n : 64),
                       frame.at);
        break;
    }
}

static void read_once(struct load *load, struct load_user *user, struct load_link *link)
{
    struct slice in = {0};
    switch (load_link_read(load, link, &in)) {
    case LOAD_LINK_NOTHING:
        break;
    case LOAD_LINK_BROKEN:
        load_user_fail(load, user, "the connection broke: %s", strerror(errno));
        break;
    case LOAD_LINK_EOF:
        load->carrier->on_eof(load, user, link);
        break;
    case LOAD_LINK_DATA:
        load->read_ns = load_now_ns();
        load->carrier->on_bytes(load, user, link, &in);
        if (link->fd >= 0) {
            load_link_keep(link, in);
        }
        break;
    }
}

static void on_readable(struct load *load, struct load_user *user, struct load_link *link)
{
    do {
        read_once(load, user, link);
    } while (load_link_has_more(link));
}

void load_user_on_event(struct load *load, struct load_link *link, uint32_t events)
{
    struct load_user *user = link->user;
    if (link->fd < 0) {
        return; /* closed by an earlier event of this turn */
    }
    if ((link->is_connecting || (events & EPOLLOUT) != 0) && !load_link_on_writable(load, link)) {
        load_user_fail(load, user, "the connection failed: %s", strerror(errno));
        return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        on_readable(load, user, link);
    }
    load_user_mark(load, user);
}
