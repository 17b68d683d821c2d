/*
 * record: what a fake saw, as words with one blank between: "o a[\"x\"] <finish 1000>". Reading it
 * empties it, so each step of a test names just what it caused.
 */
#ifndef POSTERN_HARNESS_RECORD_H
#define POSTERN_HARNESS_RECORD_H

#include <stdio.h>

#include "base/err.h"
#include "harness/test.h"

struct record {
    char text[16384];
    size_t len;
};

static inline void PRINTF_LIKE(2, 3) record_add(struct record *record, const char *format, ...)
{
    va_list args;
    if (record->len != 0) {
        record->text[record->len++] = ' ';
    }
    size_t room = sizeof record->text - record->len;
    va_start(args, format);
    int n = vsnprintf(record->text + record->len, room, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n + 1 < room);
    record->len += (size_t)n;
}

#define CHECK_RECORD(record, want) check_record(record, want, __FILE__, __LINE__)

static inline void check_record(struct record *record, const char *want, const char *file, int line)
{
    record->text[record->len] = '\0';
    record->len = 0;
    if (strcmp(record->text, want) != 0) {
        print_error("got  %s\nwant %s\n", record->text, want);
        _fail(file, line);
    }
}

#endif
