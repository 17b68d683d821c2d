/*
 * log: one line, one write. See log.h.
 *
 * A line is built on the caller's stack; the mutex covers only the choice of the descriptor and the
 * write, so that after log_set_fd no line can still go to the old one, and lines never mix.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};
enum {
    N_LEVELS = sizeof level_names / sizeof level_names[0]
};

static atomic_uint lowest_level = LOG_INFO;
static pthread_mutex_t sink_mutex = PTHREAD_MUTEX_INITIALIZER;
static int sink_fd = STDERR_FILENO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&lowest_level, (unsigned)level, memory_order_relaxed);
}

bool log_level_parse(struct span word, enum log_level *level)
{
    for (unsigned i = 0; i < N_LEVELS; i++) {
        if (span_eq(word, span_str(level_names[i]))) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_fd(int fd)
{
    (void)pthread_mutex_lock(&sink_mutex);
    sink_fd = fd;
    (void)pthread_mutex_unlock(&sink_mutex);
}

bool log_is_on(enum log_level level)
{
    return (unsigned)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

/* A line under construction; what does not fit is cut. One byte is kept for the end of line. */
struct line {
    char text[LOG_MAX_LINE];
    size_t len;
};

static void PRINTF_LIKE(2, 0) add_formatted(struct line *line, const char *format, va_list args)
{
    size_t room = LOG_MAX_LINE - line->len;
    int n = vsnprintf(line->text + line->len, room, format, args);
    if (n > 0) {
        line->len += (size_t)n < room ? (size_t)n : room - 1;
    }
}

static void PRINTF_LIKE(2, 3) add(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_formatted(line, format, args);
    va_end(args);
}

static void add_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    add(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
        utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000));
}

/* Whatever a caller forgot to quote cannot forge a second line or drive a terminal. */
static void end_line(struct line *line)
{
    while (line->len != 0 && line->text[line->len - 1] == ' ') {
        line->len--;
    }
    for (size_t i = 0; i < line->len; i++) {
        if ((unsigned char)line->text[i] < 0x20 || line->text[i] == 0x7F) {
            line->text[i] = '?';
        }
    }
    line->text[line->len++] = '\n';
}

static void write_line(const struct line *line)
{
    (void)pthread_mutex_lock(&sink_mutex);
    ssize_t n;
    do {
        n = write(sink_fd, line->text, line->len);
    } while (n < 0 && errno == EINTR);
    /* A full disk or a closed pipe must not end the service: the line is lost. */
    (void)pthread_mutex_unlock(&sink_mutex);
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (!log_is_on(level)) {
        return;
    }
    int saved_errno = errno;
    struct line line;
    line.len = 0;
    add_time(&line);
    add(&line, " %-5s event=\"%s\" ", level_names[level], event);
    va_list args;
    va_start(args, format);
    add_formatted(&line, format[0] == ' ' ? format + 1 : format, args);
    va_end(args);
    end_line(&line);
    write_line(&line);
    errno = saved_errno;
}

const char *log_quoted(struct span value, char out[LOG_QUOTED_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    /* Behind the content: closing quote, three dots, NUL. */
    const char *limit = out + LOG_QUOTED_BYTES - 5;
    char *to = out;
    *to++ = '"';
    size_t i = 0;
    for (; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool is_plain = c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
        if (limit - to < (is_plain ? 1 : 4)) {
            break;
        }
        if (is_plain) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = 'x';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to++ = '"';
    memcpy(to, "...", 4);
    if (i == value.len) {
        *to = '\0';
    }
    return out;
}
