/* mailbox: see mailbox.h. */
#include "net/mailbox.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop.h"

STAILQ_HEAD(letter_list, letter);

struct mailbox {
    struct event event;
    struct loop *loop;
    void *ctx;
    int fd;
    pthread_mutex_t lock;
    struct letter_list letters; /* guarded by lock */
};

static struct letter_list take_all(struct mailbox *mailbox)
{
    struct letter_list taken = STAILQ_HEAD_INITIALIZER(taken);
    (void)pthread_mutex_lock(&mailbox->lock);
    struct letter *first = STAILQ_FIRST(&mailbox->letters);
    STAILQ_FIRST(&taken) = first;
    STAILQ_INIT(&mailbox->letters);
    (void)pthread_mutex_unlock(&mailbox->lock);
    return taken;
}

/* The descriptor is edge-triggered and each write is an edge, so its count is never read. */
static void on_mail(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct mailbox *mailbox = ctx;
    loop_touch_clock(mailbox->loop);
    struct letter_list letters = take_all(mailbox);
    for (struct letter *letter = STAILQ_FIRST(&letters), *next = NULL; letter != NULL;
         letter = next) {
        next = STAILQ_NEXT(letter, next);
        letter->open(letter, mailbox->ctx);
    }
}

enum err mailbox_create(struct loop *loop, void *ctx, struct mailbox **out)
{
    struct mailbox *mailbox = MEM_NEW(struct mailbox);
    if (mailbox == NULL) {
        return ERR_NOMEM;
    }
    mailbox->loop = loop;
    mailbox->ctx = ctx;
    STAILQ_INIT(&mailbox->letters);
    (void)pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mailbox->fd < 0) {
        goto fail;
    }
    if (event_assign(&mailbox->event, loop_base(loop), mailbox->fd, EV_READ | EV_PERSIST | EV_ET,
                     on_mail, mailbox) != 0 ||
        event_add(&mailbox->event, NULL) != 0) {
        (void)close(mailbox->fd);
        goto fail;
    }
    *out = mailbox;
    return ERR_OK;
fail:
    (void)pthread_mutex_destroy(&mailbox->lock);
    mem_free(mailbox);
    return ERR_IO;
}

void mailbox_destroy(struct mailbox *mailbox)
{
    struct letter_list letters = take_all(mailbox);
    for (struct letter *letter = STAILQ_FIRST(&letters), *next = NULL; letter != NULL;
         letter = next) {
        next = STAILQ_NEXT(letter, next);
        letter->burn(letter);
    }
    (void)event_del(&mailbox->event);
    (void)close(mailbox->fd);
    (void)pthread_mutex_destroy(&mailbox->lock);
    mem_free(mailbox);
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    bool was_empty = STAILQ_EMPTY(&mailbox->letters);
    STAILQ_INSERT_TAIL(&mailbox->letters, letter, next);
    (void)pthread_mutex_unlock(&mailbox->lock);
    if (was_empty) {
        uint64_t one = 1;
        (void)!write(mailbox->fd, &one, sizeof one);
    }
}
