/*
 * fault: makes the n-th allocation or system call of the gateway fail, and keeps its clock.
 *
 * Injected are the house's own allocations (fault_mem.c takes the place of base/mem), those of
 * libevent and OpenSSL (through their own hooks), and the system calls that the gateway and these
 * libraries make (fault_sys.c defines them in this program). Only what happens while `fault_enter`
 * holds is counted and can fail: client and handler play in the same thread and must not. Time is
 * virtual: CLOCK_MONOTONIC stands still until fault_pass_ms. One thread.
 */
#ifndef POSTERN_FAULT_FAULT_H
#define POSTERN_FAULT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(SUFFIX, name) */
#define FAULT_CALL_MAP(X)                                                                          \
    X(MEMORY, "memory") /* of ours, libevent and cJSON */                                          \
    X(SSL_MEMORY, "ssl-memory")                                                                    \
    X(ACCEPT, "accept4")                                                                           \
    X(RECV, "recv") /* recv, and read on a socket (OpenSSL) */                                     \
    X(SEND, "send") /* likewise */                                                                 \
    X(EPOLL_CTL, "epoll_ctl")                                                                      \
    X(EPOLL_WAIT, "epoll_wait")                                                                    \
    X(EPOLL_CREATE, "epoll_create1")                                                               \
    X(EVENTFD, "eventfd")                                                                          \
    X(PIPE, "pipe")                                                                                \
    X(SOCKET, "socket")                                                                            \
    X(SOCKETPAIR, "socketpair")                                                                    \
    X(BIND, "bind")                                                                                \
    X(LISTEN, "listen")                                                                            \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(POLL, "poll")                                                                                \
    X(FCNTL, "fcntl")                                                                              \
    X(SETSOCKOPT, "setsockopt")

enum fault_call {
#define X(suffix, name) FAULT_##suffix,
    FAULT_CALL_MAP(X)
#undef X
    FAULT_CALLS
};

enum {
    FAULT_SHORT = -1 /* in place of an errno: the call moves one byte */
};

struct fault_plan {
    enum fault_call call;
    int error;     /* errno value or FAULT_SHORT */
    unsigned n;    /* the n-th call since fault_arm, from 1; 0 = none */
    bool persists; /* and all that follow, until fault_lift */
};

/* Hooks the libraries' allocators. Before anything else of theirs is called. */
void fault_init(void);
void fault_arm(const struct fault_plan *plan);
/* From now on nothing fails; the counts stay. */
void fault_lift(void);
/* Whether the planned point was reached. */
bool fault_has_struck(void);
/* Whether the plan is to fail allocations of the house. */
bool fault_is_of_memory(void);
/* How often fault_arm was called. */
unsigned fault_run(void);
/* Calls since fault_arm. */
unsigned fault_n_calls(enum fault_call call);
const char *fault_call_name(enum fault_call call);
/* Where the first failure was injected. */
void fault_print_stack(void);

/* The gateway runs between these two. */
void fault_enter(void);
void fault_leave(void);

/* For fault_sys.c and the allocators: counts a call and says whether it fails. */
bool fault_strikes(enum fault_call call);
int fault_error(void);
/* Bytes moved, connections made: it grows while anything goes on, on any side. */
void fault_count_progress(void);
uint64_t fault_progress(void);

/* Blocks that are allocated and not freed: of the house (and libevent), and of OpenSSL. */
long fault_n_blocks(void);
long fault_n_ssl_blocks(void);

void *fault_malloc(size_t n);
void *fault_calloc(size_t n, size_t size);
void *fault_realloc(void *block, size_t n);
void fault_free(void *block);

uint64_t fault_now_ms(void);
void fault_pass_ms(uint64_t ms);

#endif
