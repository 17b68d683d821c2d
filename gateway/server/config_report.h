/*
 * config_report: problems of one config text, written the way a compiler writes them:
 *
 *     postern.json:14:7: unknown key "heartbeet" in mounts[0]
 *        14 |       "heartbeet": "25s",
 *           |       ^~~~~~~~~~~ did you mean "heartbeat"?
 *
 * Called by the rooms that read the config (jsonc, config_value, config). A report collects
 * problems and never stops its caller; whoever owns it looks at `n_problems` and `err` at the end.
 * Limits: CONFIG_MAX_PROBLEMS are shown, a long source line is cut around the caret, so that a
 * report has a bounded size for any input. Threads: belongs to its caller.
 */
#ifndef POSTERN_SERVER_CONFIG_REPORT_H
#define POSTERN_SERVER_CONFIG_REPORT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    CONFIG_MAX_PROBLEMS = 50, /* further ones are only counted */
    CONFIG_HINT_BYTES = 512,  /* room for a hint with its NUL; longer ones are cut */
    CONFIG_QUOTE_BYTES = 64,  /* room for a word of the user in a message */
};

struct config_report {
    const char *name; /* of the text, in messages; NULL: the command line, nothing to point at */
    struct span text; /* the source as the user sees it */
    struct buf *out;
    unsigned n_problems; /* also those that were not shown */
    enum err err;        /* ERR_NOMEM: a problem could not be written (or a value not be kept) */
};

/* Bytes of the source text. */
struct config_place {
    uint32_t at;
    uint32_t len;
};

/* Appends one problem at `place`. `hint` (may be "") stands after the caret and says what to do. */
void config_problem(struct config_report *report, struct config_place place, const char *hint,
                    const char *format, ...) PRINTF_LIKE(4, 5);
/* The same for something that stands in no file: `label` is an option or a file name. */
void config_problem_plain(struct config_report *report, const char *label, const char *hint,
                          const char *format, ...) PRINTF_LIKE(4, 5);
/* Says how many problems were not shown. Once, after the last problem. */
void config_report_end(struct config_report *report);

/* Line and column (in bytes) of an offset, both from 1. */
struct config_position {
    unsigned line;
    unsigned column;
};
struct config_position config_position_of(struct span text, size_t at);

/* A word of the user for a message: cut with "..." at a character's edge. Returns out. */
const char *config_quote(struct span word, char out[CONFIG_QUOTE_BYTES]);

/* The nearest of several names, for "did you mean": begin with the query, offer every name. */
struct config_nearest {
    struct span query;
    const char *name; /* the nearest so far, NULL when none is near */
    size_t name_len;
    unsigned distance;
};

/* The query is borrowed until the last offer. A name is near at 1 to 3 edits, by its length. */
void config_nearest_begin(struct config_nearest *nearest, struct span query);
/* `name` is borrowed for as long as the result is used. */
void config_nearest_offer(struct config_nearest *nearest, struct span name);

#endif
