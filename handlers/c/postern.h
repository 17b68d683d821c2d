/*
 * postern: the C handler library. Copy postern.h and postern.c into your program; they need POSIX
 * and nothing else.
 *
 * A handler connects to the gateway's unix socket and sees every client as a session with text and
 * binary messages, whatever the browser used to get there. The wire protocol is described in
 * handlers/PROTOCOL.md; this library speaks version 1 of it. A whole echo program is
 * handlers/c/examples/echo.c.
 *
 * Threads: one handler belongs to one thread; only postern_stop may be called from elsewhere (a
 * signal handler). Several handlers may live in one process, each with its own thread or loop.
 * Turns: the library reads once, calls your callbacks for all that came, then writes every answer
 * together with the acknowledgement in one write. A callback that blocks holds up every session of
 * this handler. Ownership: sessions belong to the library. A session pointer is good from on_open
 * until on_forget has returned. Everything that a callback is given by pointer (message, reason) is
 * good until it returns. Errors: functions that can fail return 0 or a negative errno value and
 * then have done nothing. Failures of the link are not returned: the library reports on_unlink,
 * waits 50 ms (then longer, up to 1 s) and connects again. Units: sizes in bytes, times in
 * milliseconds. Strings are UTF-8 and end with NUL unless a length is given.
 */
#ifndef POSTERN_H
#define POSTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct postern_handler;
struct postern_session;

enum {
    POSTERN_DEFAULT_MAX_FRAME = 1024 * 1024,
    POSTERN_DEFAULT_MAX_UNSENT = 256 * 1024 * 1024,
    POSTERN_MAX_STATE = 4096, /* postern_state */
};

/* Who calls: postern_step and postern_run, never another function of this library, except that
 * on_unlink and on_forget also come from postern_destroy. Any callback may be NULL. Callbacks may
 * call every function below but postern_run, postern_step and postern_destroy. */
struct postern_callbacks {
    /* The gateway has welcomed us; sessions follow. */
    void (*on_link)(void *ctx);
    /* The link has ended, or could not be made; `why` is a sentence for the log. */
    void (*on_unlink)(void *ctx, const char *why);
    /* A client is here. When this returns without postern_reject or postern_kick the session is
     * accepted, unless the option accepts_by_hand is set. */
    void (*on_open)(void *ctx, struct postern_session *session);
    /* One whole message; text is valid UTF-8 and not NUL-ended. */
    void (*on_message)(void *ctx, struct postern_session *session, const char *data, size_t len,
                       bool is_text);
    /* The client has gone, also after our own kick or reject. Nothing can be sent to it any more.
     */
    void (*on_close)(void *ctx, struct postern_session *session, unsigned code, const char *reason,
                     size_t reason_len);
    /* This process no longer holds the session: release its user pointer here. Comes once for each
     * session, after on_close, or without it when the link has ended, or after postern_drain: then
     * the client is still there and comes back with on_open, here or at another handler, with
     * postern_session_is_resumed. Nothing can be sent to it here. */
    void (*on_forget)(void *ctx, struct postern_session *session);
    /* The client takes less than we send (is_paused), or can take more again. Sending is still
     * allowed, up to the bound that the mount sets. */
    void (*on_pause)(void *ctx, struct postern_session *session, bool is_paused);
    /* The gateway is about to end: no new sessions will come on this link. */
    void (*on_drain)(void *ctx);
};

/* All is copied by postern_create. Zero and NULL mean the default. */
struct postern_options {
    const char *path;          /* the gateway's handler socket; required; at most 107 bytes */
    const char *app;           /* our name in the gateway's log; "app" */
    const char *client;        /* the software's name and version; "c/0.1" */
    const char *token;         /* shown to the gateway where the config asks for one; none */
    const char *const *mounts; /* NULL-ended list of mount paths to serve; all mounts */
    size_t
        max_frame; /* largest message either way; the gateway may lower it; 1 MiB, at most 1 GiB */
    size_t max_unsent;    /* answers that wait for the gateway; 256 MiB, at least 2 * max_frame */
    bool accepts_by_hand; /* sessions wait until postern_accept, which may come after on_open */
    void *ctx;            /* first argument of every callback */
    struct postern_callbacks on;
};

/* NULL with errno set: EINVAL (no path), ENAMETOOLONG (path), ENOMEM, EMFILE. Does not connect yet.
 */
struct postern_handler *postern_create(const struct postern_options *options);
/* Ends the link, forgets the sessions (on_forget for each) and frees the handler. NULL is allowed.
 */
void postern_destroy(struct postern_handler *handler);

/* Connects, serves and connects again until postern_stop; returns 0, or a negative errno value if
 * poll fails. */
int postern_run(struct postern_handler *handler);
/* Ends postern_run after the turn in progress. Async-signal-safe; final: a stopped handler can only
 * be destroyed. */
void postern_stop(struct postern_handler *handler);

/* For a loop of your own: wait until postern_fd has one of postern_poll_events (POLLIN, POLLOUT),
 * or for postern_timeout_ms; then call postern_step, which never blocks. Ask again before each
 * wait: the fd changes with every new link and is -1 between links. */
int postern_fd(const struct postern_handler *handler);
short postern_poll_events(const struct postern_handler *handler);
int postern_timeout_ms(const struct postern_handler *handler); /* -1 = no limit */
void postern_step(struct postern_handler *handler);

/* Sends one message. -EMSGSIZE: larger than max_frame. -EILSEQ: text that is not UTF-8. -ENOBUFS:
 * max_unsent is reached. -ENOTCONN: the session has ended (or was kicked), or the link is going
 * down. -ENOMEM. */
int postern_send(struct postern_session *session, const void *data, size_t len, bool is_text);
/* Ends the client's session: `code` is 1000 or 3000..4999 (else -EINVAL), `reason` UTF-8 of at most
 * 123 bytes (else -EMSGSIZE), NULL = none. No on_message comes afterwards; on_close does. Other
 * errors as above. */
int postern_kick(struct postern_session *session, unsigned code, const char *reason);
/* With accepts_by_hand: lets a waiting client in, or turns it away; code and reason as for
 * postern_kick. */
int postern_accept(struct postern_session *session);
/* The same, and says which WebSocket subprotocol is spoken: one that the client offered, else the
 * gateway answers it with an error and ends the session with 1011. NULL and "" leave the choice to
 * the mount's config. Only a raw WebSocket of a mount with `accept: "handler"` waits for it.
 * -EINVAL: no token of HTTP. */
int postern_accept_as(struct postern_session *session, const char *subprotocol);
int postern_reject(struct postern_session *session, unsigned code, const char *reason);
/* Leaves up to POSTERN_MAX_STATE bytes with the gateway, for whichever handler takes the session
 * over; the last ones count. Called in on_message it takes effect together with what is sent there,
 * and with the acknowledgement. */
int postern_state(struct postern_session *session, const void *data, size_t len);
/* Asks the gateway for no new sessions, before a planned end; those that are here go on at another
 * handler where there is one, each when it has nothing in flight (on_forget). */
int postern_drain(struct postern_handler *handler);

/* The user pointer: NULL at first, yours. */
void postern_session_set_user(struct postern_session *session, void *user);
void *postern_session_user(const struct postern_session *session);

/* What is known of a session from its opening; "" where the gateway said nothing. Good as long as
 * the session. */
enum postern_info {
    POSTERN_ID,          /* public id: safe to log, the same after a change of handler */
    POSTERN_MOUNT,       /* "/chat" */
    POSTERN_PATH,        /* as requested */
    POSTERN_QUERY,       /* without '?' */
    POSTERN_DIALECT,     /* "sockjs", "raw" */
    POSTERN_TRANSPORT,   /* "websocket", "xhr_streaming", ... */
    POSTERN_REMOTE,      /* the client's address */
    POSTERN_ORIGIN,      /* of the page */
    POSTERN_SUBPROTOCOL, /* of WebSocket, as the mount's config chose it */
    POSTERN_N_INFO
};
const char *postern_session_info(const struct postern_session *session, enum postern_info what);
/* Whether another link had this session before. */
bool postern_session_is_resumed(const struct postern_session *session);
/* What postern_state had left for us, at another handler or on an earlier link, as it was when the
 * session was opened here; *len bytes, good as long as the session. NULL = nothing. */
const void *postern_session_state(const struct postern_session *session, size_t *len);
/* The session's own number of the message being delivered: stable across links, so it tells
 * duplicates. */
uint64_t postern_session_sequence(const struct postern_session *session);
/* Inside on_message: whether another link had this message before, and died before it was finished.
 * Its handler may have done everything but what it would have sent: that was dropped. */
bool postern_session_is_again(const struct postern_session *session);
/* Only inside on_open: copies the request header `name` (lower case) into `value`, NUL-ended and
 * cut to `size`; returns its full length, or -1 when there is none. */
int postern_session_header(const struct postern_session *session, const char *name, char *value,
                           size_t size);

/* Likewise: the WebSocket subprotocol that the client offered as number `i`, from 0, its favourite
 * first. */
int postern_session_offered(const struct postern_session *session, size_t i, char *value,
                            size_t size);

/* Calls `fn` for every session, in order of handles. `fn` may send and kick. */
void postern_each_session(struct postern_handler *handler,
                          void (*fn)(void *ctx, struct postern_session *session), void *ctx);
size_t postern_n_sessions(const struct postern_handler *handler);

#ifdef __cplusplus
}
#endif

#endif
