/*
 * fault_sys: the system calls of the gateway, libevent and OpenSSL, defined in the program so that
 * they stand in front of libc's (or a sanitizer's), which does the work unless the plan says no.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fault/fault.h"

/* libc's own names for the parameters begin with underscores. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* The program is built with hidden symbols; the libraries must find these. */
#define SEEN __attribute__((visibility("default")))

/* `real`: what `name` is without us. POSIX guarantees the conversion. */
#define REAL(result, name, ...)                                                                    \
    static result (*real)(__VA_ARGS__);                                                            \
    if (real == NULL) {                                                                            \
        *(void **)&real = dlsym(RTLD_NEXT, name);                                                  \
    }

#define FAIL_IF_STRUCK(call)                                                                       \
    if (fault_strikes(call)) {                                                                     \
        errno = fault_error();                                                                     \
        return -1;                                                                                 \
    }

enum {
    SINGLE_BYTES = 1500, /* so many calls of a run move one byte; then it would take too long */
    FEW_BYTES = 1021,
};

/* -- bytes ------------------------------------------------------------------------------------ */

/* False: the call fails with errno set. A short one goes on with one byte. */
static bool may_move(enum fault_call call, size_t *len)
{
    if (!fault_strikes(call)) {
        return true;
    }
    if (fault_error() != FAULT_SHORT) {
        errno = fault_error();
        return false;
    }
    static unsigned n_short;
    static unsigned run;
    if (run != fault_run()) {
        run = fault_run();
        n_short = 0;
    }
    size_t few = n_short++ < SINGLE_BYTES ? 1 : FEW_BYTES;
    *len = *len < few ? *len : few;
    return true;
}

static ssize_t moved(ssize_t n)
{
    if (n >= 0) {
        fault_count_progress();
    }
    return n;
}

static bool is_socket(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

SEEN ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    REAL(ssize_t, "recv", int, void *, size_t, int)
    return may_move(FAULT_RECV, &len) ? moved(real(fd, bytes, len, flags)) : -1;
}

/* What _FORTIFY_SOURCE makes of recv where it knows the buffer. */
SEEN ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t room, int flags);
SEEN ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t room, int flags)
{
    REAL(ssize_t, "__recv_chk", int, void *, size_t, size_t, int)
    return may_move(FAULT_RECV, &len) ? moved(real(fd, bytes, len, room, flags)) : -1;
}

SEEN ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int)
    return may_move(FAULT_SEND, &len) ? moved(real(fd, bytes, len, flags)) : -1;
}

SEEN ssize_t read(int fd, void *bytes, size_t len)
{
    REAL(ssize_t, "read", int, void *, size_t)
    if (!is_socket(fd)) {
        return real(fd, bytes, len);
    }
    return may_move(FAULT_RECV, &len) ? moved(real(fd, bytes, len)) : -1;
}

SEEN ssize_t write(int fd, const void *bytes, size_t len)
{
    REAL(ssize_t, "write", int, const void *, size_t)
    if (!is_socket(fd)) {
        return real(fd, bytes, len);
    }
    return may_move(FAULT_SEND, &len) ? moved(real(fd, bytes, len)) : -1;
}

/* -- sockets ---------------------------------------------------------------------------------- */

/* glibc declares these two with a union of all address types. */
SEEN int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
    REAL(int, "accept4", int, struct sockaddr *, socklen_t *, int)
    FAIL_IF_STRUCK(FAULT_ACCEPT)
    return (int)moved(real(fd, address.__sockaddr__, len, flags));
}

SEEN int socket(int family, int type, int protocol)
{
    REAL(int, "socket", int, int, int)
    FAIL_IF_STRUCK(FAULT_SOCKET)
    return real(family, type, protocol);
}

SEEN int socketpair(int family, int type, int protocol, int fds[2])
{
    REAL(int, "socketpair", int, int, int, int[2])
    FAIL_IF_STRUCK(FAULT_SOCKETPAIR)
    return real(family, type, protocol, fds);
}

SEEN int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    REAL(int, "bind", int, const struct sockaddr *, socklen_t)
    FAIL_IF_STRUCK(FAULT_BIND)
    return real(fd, address.__sockaddr__, len);
}

SEEN int listen(int fd, int backlog)
{
    REAL(int, "listen", int, int)
    FAIL_IF_STRUCK(FAULT_LISTEN)
    return real(fd, backlog);
}

SEEN int shutdown(int fd, int how)
{
    REAL(int, "shutdown", int, int)
    FAIL_IF_STRUCK(FAULT_SHUTDOWN)
    fault_count_progress();
    return real(fd, how);
}

SEEN int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    REAL(int, "setsockopt", int, int, int, const void *, socklen_t)
    FAIL_IF_STRUCK(FAULT_SETSOCKOPT)
    return real(fd, level, name, value, len);
}

SEEN int fcntl(int fd, int command, ...)
{
    REAL(int, "fcntl", int, int, ...)
    va_list args;
    va_start(args, command);
    long value = va_arg(args, long); /* every command of ours takes an int or nothing */
    va_end(args);
    FAIL_IF_STRUCK(FAULT_FCNTL)
    return real(fd, command, value);
}

/* -- the loop --------------------------------------------------------------------------------- */

SEEN int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    REAL(int, "poll", struct pollfd *, nfds_t, int)
    FAIL_IF_STRUCK(FAULT_POLL)
    return real(fds, n, timeout_ms);
}

SEEN int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    REAL(int, "epoll_ctl", int, int, int, struct epoll_event *)
    if (operation != EPOLL_CTL_DEL) { /* which needs nothing that could run out */
        FAIL_IF_STRUCK(FAULT_EPOLL_CTL)
    }
    return real(epoll, operation, fd, event);
}

SEEN int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    REAL(int, "epoll_wait", int, struct epoll_event *, int, int)
    (void)timeout_ms; /* the clock is virtual: nobody may sleep */
    FAIL_IF_STRUCK(FAULT_EPOLL_WAIT)
    return real(epoll, events, max, 0);
}

SEEN int epoll_create1(int flags)
{
    REAL(int, "epoll_create1", int)
    FAIL_IF_STRUCK(FAULT_EPOLL_CREATE)
    return real(flags);
}

SEEN int epoll_create(int size)
{
    REAL(int, "epoll_create", int)
    FAIL_IF_STRUCK(FAULT_EPOLL_CREATE)
    return real(size);
}

SEEN int eventfd(unsigned first, int flags)
{
    REAL(int, "eventfd", unsigned, int)
    FAIL_IF_STRUCK(FAULT_EVENTFD)
    return real(first, flags);
}

SEEN int pipe(int fds[2])
{
    REAL(int, "pipe", int[2])
    FAIL_IF_STRUCK(FAULT_PIPE)
    return real(fds);
}

SEEN int pipe2(int fds[2], int flags)
{
    REAL(int, "pipe2", int[2], int)
    FAIL_IF_STRUCK(FAULT_PIPE)
    return real(fds, flags);
}

SEEN int clock_gettime(clockid_t clock, struct timespec *out)
{
    REAL(int, "clock_gettime", clockid_t, struct timespec *)
    if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) {
        uint64_t now_ms = fault_now_ms();
        out->tv_sec = (time_t)(now_ms / 1000);
        out->tv_nsec = (long)(now_ms % 1000 * 1000000);
        return 0;
    }
    return real(clock, out);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
