/*
 * load: what the parts of the load generator share.
 *
 *   load.c        phases: opening -> warm-up -> measured -> draining, or opening -> settling
 *   load_user     a session's life, the list of those with something to write, echoes judged
 *   load_ws       raw and SockJS WebSocket       \  a struct load_carrier each
 *   load_xhr      xhr-streaming and long polling /
 *   load_link     one TCP connection
 *   load_tls      TLS on it, with --tls
 *   load_echo     the messages and the book kept of them
 *   load_report   words, JSON, the exit status
 *
 * One thread, one epoll. Reading never writes: an event only changes a session and puts it on the
 * dirty list, and at the end of the loop turn each dirty session writes once per connection.
 */
#ifndef POSTERN_BENCH_LOAD_H
#define POSTERN_BENCH_LOAD_H

#include "bytes.h"
#include "histogram.h"
#include "http_in.h"
#include "load_echo.h"
#include "load_opts.h"
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a turn may write besides messages: a request head, or pongs. */
#define LOAD_TX_SPARE 8192

struct load_user;

struct load_link {
    int fd;             /* -1: closed */
    SSL *tls;           /* NULL: plain, or TCP is still connecting */
    bool is_connecting; /* TCP's handshake, and TLS's behind it, is not at its end */
    bool wants_out;  /* EPOLLOUT is asked for: connecting, or a short write left something in out */
    struct bytes in; /* an incomplete unit at the end of the last read */
    struct bytes out;
    struct load_user *user;
};

enum load_user_state {
    LOAD_USER_NEW,
    LOAD_USER_OPENING, /* from connect() to the 101 or the SockJS `o` */
    LOAD_USER_OPEN,
    LOAD_USER_FAILED,
};

/* One session as an application sees it. */
struct load_user {
    uint32_t number;
    enum load_user_state state;
    bool is_dirty;
    struct load_user *next_dirty;
    struct load_link down; /* the WebSocket, or the receiving requests */
    struct load_link up;   /* xhr_send requests; opened with the first message */
    struct http_in down_http;
    struct http_in up_http;
    bool is_asked;  /* the upgrade, poll or streaming request is out and its answer not at an end */
    bool is_raised; /* the 101 is in: WebSocket frames follow */
    bool is_up_busy;    /* an xhr_send has not been answered */
    struct bytes line;  /* the beginning of a SockJS frame that ended in the middle of a read */
    struct bytes pong;  /* pongs owed */
    uint64_t n_granted; /* messages that the rate allows it in all; unused without one */
    struct load_echo_book book;
};

enum load_phase {
    LOAD_OPEN,
    LOAD_WARMUP,
    LOAD_MEASURE,
    LOAD_DRAIN,
    LOAD_SETTLE,
    LOAD_DONE,
};

/* What the server's processes had used at one moment. */
struct load_reading {
    uint64_t at_ns;
    double cpu_s;
    double own_cpu_s;
    int64_t pss_bytes;
    int64_t pss_each[LOAD_PIDS_MAX];
};

struct load {
    struct load_opts opts;
    struct load_echo_format format;
    const struct load_carrier *carrier;
    int epoll_fd;
    SSL_CTX *tls_context; /* NULL: plain */
    enum load_phase phase;
    uint64_t phase_end_ns;
    uint64_t progress_ns; /* last time a session opened */
    uint64_t echo_ns;     /* when the first message was due */
    uint64_t n_granted; /* messages that the rate has allowed to all sessions, one after another */
    uint32_t run_id;    /* part of session ids, so that a second run does not meet the first */
    struct load_user *users;
    struct load_user *dirty;
    bool is_first_open; /* the others may follow */
    unsigned n_started;
    unsigned n_open;
    unsigned n_failed;
    char *rx; /* every read goes here first; sized so that an unfinished unit always fits */
    size_t rx_bytes;
    uint8_t *tx; /* what a session writes in one turn is put together here */
    size_t tx_bytes;
    uint64_t read_ns;    /* when the bytes in hand were read */
    uint64_t n_messages; /* echoes in the measured part */
    uint64_t n_total;    /* echoes in all */
    struct histogram latency_ns;
    struct load_reading before;  /* one session open */
    struct load_reading opened;  /* every session open */
    struct load_reading started; /* beginning of the measured part */
    struct load_reading ended;   /* its end; idle: after settling */
};

/* How a transport is spoken; every slot is called by load_user only. */
struct load_carrier {
    /* End of a turn: write what is due on the session's links. */
    void (*flush)(struct load *load, struct load_user *user);
    /* Bytes came: consume whole units from the front of *in; what stays is offered again. */
    void (*on_bytes)(struct load *load, struct load_user *user, struct load_link *link,
                     struct slice *in);
    /* The server closed the link. */
    void (*on_eof)(struct load *load, struct load_user *user, struct load_link *link);
};

extern const struct load_carrier load_ws;
extern const struct load_carrier load_xhr;

uint64_t load_now_ns(void);

#endif
