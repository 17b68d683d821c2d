/*
 * err: one enum for every result, its names, and the assertion of the house.
 *
 * Functions that can fail return `enum err` and give results by out-parameter. Parsers add a
 * `struct fault` that says where and why. Peer input never reaches an ASSERT: assertions state
 * what our own code guarantees. Threads: everything here is pure.
 */
#ifndef POSTERN_BASE_ERR_H
#define POSTERN_BASE_ERR_H

#include <stddef.h>

/* X(SUFFIX, name in logs, text for people) */
#define ERR_MAP(X)                                                                                 \
    X(OK, "ok", "success")                                                                         \
    X(AGAIN, "again", "not now: more input or room is needed")                                     \
    X(EOF, "eof", "the peer has ended its side")                                                   \
    X(NOMEM, "nomem", "out of memory")                                                             \
    X(LIMIT, "limit", "a configured limit is reached")                                             \
    X(SYNTAX, "syntax", "not well-formed")                                                         \
    X(PROTO, "proto", "well-formed, but not allowed by the protocol here")                         \
    X(TIMEOUT, "timeout", "a deadline has passed")                                                 \
    X(DENIED, "denied", "not permitted")                                                           \
    X(GONE, "gone", "the object has ended")                                                        \
    X(BUSY, "busy", "already in use")                                                              \
    X(IO, "io", "an operating system call failed")                                                 \
    X(TLS, "tls", "a TLS operation failed")                                                        \
    X(CONFIG, "config", "the configuration is wrong")                                              \
    X(INTERNAL, "internal", "a defect in postern")

enum err {
#define X(suffix, name, text) ERR_##suffix,
    ERR_MAP(X)
#undef X
    ERR_COUNT_
};

/* The short name ("proto") and the text of `e`; never NULL, also for a value outside the enum. */
const char *err_name(enum err e);
const char *err_text(enum err e);

/* Where and why a parser refused its input. `why` is a string constant; `offset` counts bytes. */
struct fault {
    size_t offset;
    const char *why;
};

#define MUST_CHECK          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)   __attribute__((format(printf, f, a)))
#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Always on, also in release: a broken invariant ends the process instead of corrupting a
 * session. */
#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (UNLIKELY(!(condition))) {                                                              \
            err_assert_failed(#condition, __FILE__, __LINE__);                                     \
        }                                                                                          \
    } while (0)

_Noreturn void err_assert_failed(const char *condition, const char *file, int line);

/* The struct that embeds `member`, from a pointer to the member. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
