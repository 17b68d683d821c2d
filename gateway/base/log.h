/*
 * log: levelled lines for operators, key=value text on one line each:
 *     2026-11-22T17:48:20.123Z info  event="session closed" worker=0 reason=timeout
 *
 * The sink is the one process global of the house (with a mutex: workers share stderr). log_quoted
 * escapes control bytes and quotes; a control byte that reaches a line all the same becomes `?`. A
 * line is cut at LOG_MAX_LINE bytes, its end of line included. Secrets (session ids that a client
 * can present, cookies) are never passed in. errno is kept. Threads: any.
 */
#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
};

enum {
    LOG_MAX_LINE = 2048
};

/* Lines below `level` are dropped before they are formatted. Default LOG_INFO, sink stderr. */
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error"; false for another word. */
bool log_level_parse(struct span word, enum log_level *level);
/* Where lines go: a file descriptor that stays open (default 2). For tests and `--log-file`. */
void log_set_fd(int fd);

bool log_is_on(enum log_level level);

/* `event` is a constant sentence; `format` gives further key=value pairs, after one blank if the
 * caller likes. Use log_quoted for a value that a peer chose. One write(2) a line; what the sink
 * does not take is lost. */
void log_line(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

enum {
    LOG_QUOTED_BYTES = 256
};
/* Writes `value` to `out`, quoted, control bytes / quotes / backslashes / bytes >= 0x7f as \xNN,
 * cut when long, with "..." behind the closing quote. Returns out, for use inside the arguments of
 * log_line. */
const char *log_quoted(struct span value, char out[LOG_QUOTED_BYTES]);

/* The format must be a literal, "" for no pairs: the blank before it avoids a warning. */
#define LOG(level, event, ...)                                                                     \
    (log_is_on(level) ? log_line(level, event, " " __VA_ARGS__) : (void)0)

#endif
