/*
 * mailbox: how other threads speak to a worker: letters, delivered on the worker's own thread.
 *
 * Many writers, one reader. Letters of one turn are appended under a short lock and announced by
 * one eventfd write, however many they are; the reader takes the whole list at once. A letter is
 * moved: after mailbox_post it belongs to the reader. This and base/log hold the only locks of the
 * process. Threads: mailbox_post from any; the rest from the owning worker.
 */
#ifndef POSTERN_NET_MAILBOX_H
#define POSTERN_NET_MAILBOX_H

#include <sys/queue.h>

#include "base/err.h"

struct loop;
struct mailbox;

/* Embedded at the start of what is sent. */
struct letter {
    STAILQ_ENTRY(letter) next;
    /* Runs on the reader's thread and owns the letter (frees it). `ctx` is the mailbox's. */
    void (*open)(struct letter *letter, void *ctx);
    /* Runs instead when the mailbox goes away unread: release what the letter owns. */
    void (*burn)(struct letter *letter);
};

/* `ctx` is handed to every letter's `open`. ERR_NOMEM, ERR_IO. */
enum err mailbox_create(struct loop *loop, void *ctx, struct mailbox **out) MUST_CHECK;
/* Burns unread letters. No one may post any more. */
void mailbox_destroy(struct mailbox *mailbox);
void mailbox_post(struct mailbox *mailbox, struct letter *letter);

#endif
