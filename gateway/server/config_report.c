/*
 * config_report: see config_report.h. One problem is put together in small arrays on the stack and
 * appended whole, so a report that reaches its buffer's ceiling still ends with a complete problem.
 */
#include "server/config_report.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

enum {
    MESSAGE_BYTES = 768,
    WINDOW_BYTES = 120,  /* of a source line: a minified file is one line of any length */
    WINDOW_BEFORE = 60,  /* of these, before the place */
    MAX_WORD_BYTES = 40, /* longer words have no near name and would cost time */
};

struct config_position config_position_of(struct span text, size_t at)
{
    struct config_position position = {1, 1};
    for (size_t i = 0; i < at && i < text.len; i++) {
        position.column++;
        if (text.ptr[i] == '\n') {
            position.line++;
            position.column = 1;
        }
    }
    return position;
}

static bool is_inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

const char *config_quote(struct span word, char out[CONFIG_QUOTE_BYTES])
{
    size_t len = word.len;
    const char *more = "";
    if (len >= CONFIG_QUOTE_BYTES) {
        more = "...";
        len = CONFIG_QUOTE_BYTES - sizeof "...";
        while (len != 0 && is_inside_character(word.ptr[len])) {
            len--;
        }
    }
    (void)snprintf(out, CONFIG_QUOTE_BYTES, "%.*s%s", (int)len, len != 0 ? word.ptr : "", more);
    return out;
}

/* The part of the source line around `at` that is shown. */
struct window {
    struct span bytes;
    size_t caret; /* index of the place in bytes; may be bytes.len */
    bool is_cut_before;
    bool is_cut_after;
};

static struct window window_of(struct span text, size_t at)
{
    size_t begin = at;
    while (begin != 0 && text.ptr[begin - 1] != '\n') {
        begin--;
    }
    size_t end = at + span_find(span_skip(text, at), '\n');
    if (end > at && text.ptr[end - 1] == '\r') {
        end--;
    }
    struct window w = {0};
    if (end - begin > WINDOW_BYTES) {
        size_t from = at - begin > WINDOW_BEFORE ? at - WINDOW_BEFORE : begin;
        while (from < at && is_inside_character(text.ptr[from])) {
            from++;
        }
        size_t to = end - from > WINDOW_BYTES ? from + WINDOW_BYTES : end;
        while (to < end && to > at && is_inside_character(text.ptr[to])) {
            to--;
        }
        w.is_cut_before = from != begin;
        w.is_cut_after = to != end;
        begin = from;
        end = to;
    }
    w.bytes = span_of(text.ptr + begin, end - begin);
    w.caret = at - begin;
    return w;
}

/* Source bytes reach a terminal here: control bytes (except tab) and broken UTF-8 become '?', byte
 * for byte, so that columns stay true. */
static void put_printable(struct span line, bool is_utf8, char *out)
{
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
        out[i] = line.ptr[i];
        if (is_control || (c >= 0x80 && !is_utf8)) {
            out[i] = '?';
        }
    }
    out[line.len] = '\0';
}

/* NUL behind the end. */
static char byte_at(struct span s, size_t i)
{
    if (i < s.len) {
        return s.ptr[i];
    }
    return '\0';
}

/* Blanks up to the caret (tabs as in the source, one column for each character), then ^~~~. */
static void put_caret(const struct window *w, size_t len, bool is_utf8, char *out)
{
    size_t n = 0;
    size_t end = w->caret + (len != 0 ? len : 1);
    for (size_t i = 0; i < end && (i <= w->caret || i < w->bytes.len); i++) {
        char c = byte_at(w->bytes, i);
        if (is_utf8 && i != w->caret && is_inside_character(c)) {
            continue;
        }
        char mark = '~';
        if (i == w->caret) {
            mark = '^';
        } else if (i < w->caret && c == '\t') {
            mark = c;
        } else if (i < w->caret) {
            mark = ' ';
        }
        out[n++] = mark;
    }
    out[n] = '\0';
}

/* Whether the next problem is shown, and counts it. */
static bool is_shown(struct config_report *report)
{
    return ++report->n_problems <= CONFIG_MAX_PROBLEMS;
}

/* The report's ceiling drops a problem; only want of memory is an error of the load. */
static void note_append(struct config_report *report, enum err e)
{
    if (e == ERR_NOMEM) {
        report->err = e;
    }
}

static void append_plain(struct config_report *report, const char *label, const char *hint,
                         const char *message)
{
    const char *separator = hint[0] != '\0' ? "; " : "";
    note_append(report, buf_printf(report->out, "%s: %s%s%s\n", label, message, separator, hint));
}

static void append_placed(struct config_report *report, struct config_place place, const char *hint,
                          const char *message)
{
    char line[WINDOW_BYTES + 1];
    char caret[WINDOW_BYTES + 2];
    struct config_position position = config_position_of(report->text, place.at);
    struct window w = window_of(report->text, place.at);
    bool is_utf8 = utf8_is_valid(w.bytes);
    put_printable(w.bytes, is_utf8, line);
    put_caret(&w, place.len, is_utf8, caret);
    note_append(report,
                buf_printf(report->out,
                           "%s:%u:%u: %s\n"
                           "%5u | %s%s%s\n"
                           "      | %s%s%s%s\n",
                           report->name, position.line, position.column, message, position.line,
                           w.is_cut_before ? "..." : "", line, w.is_cut_after ? "..." : "",
                           w.is_cut_before ? "   " : "", caret, hint[0] != '\0' ? " " : "", hint));
}

void config_problem(struct config_report *report, struct config_place place, const char *hint,
                    const char *format, ...)
{
    if (!is_shown(report)) {
        return;
    }
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (report->name == NULL) {
        append_plain(report, "command line", hint, message);
    } else {
        append_placed(report, place, hint, message);
    }
}

void config_problem_plain(struct config_report *report, const char *label, const char *hint,
                          const char *format, ...)
{
    if (!is_shown(report)) {
        return;
    }
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    append_plain(report, label, hint, message);
}

void config_report_end(struct config_report *report)
{
    if (report->n_problems > CONFIG_MAX_PROBLEMS) {
        note_append(report, buf_printf(report->out, "%s: %u more problems are not shown\n",
                                       report->name != NULL ? report->name : "command line",
                                       report->n_problems - CONFIG_MAX_PROBLEMS));
    }
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) between two short words; case does not count.
 */
static unsigned edit_distance(struct span a, struct span b)
{
    unsigned rows[3][MAX_WORD_BYTES + 1];
    for (unsigned j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above2 = rows[(i + 1) % 3];
        char x = span_lower_char(a.ptr[i - 1]);
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char y = span_lower_char(b.ptr[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            bool is_swap = i > 1 && j > 1 && x == span_lower_char(b.ptr[j - 2]) &&
                           span_lower_char(a.ptr[i - 2]) == y;
            if (is_swap) {
                row[j] = least(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

void config_nearest_begin(struct config_nearest *nearest, struct span query)
{
    /* Short words are near to everything: one edit for 3 bytes, two up to 7, three above. */
    unsigned allowed = query.len <= 3 ? 1 : 2;
    *nearest =
        (struct config_nearest){.query = query, .distance = (query.len > 7 ? 3 : allowed) + 1};
}

void config_nearest_offer(struct config_nearest *nearest, struct span name)
{
    if (nearest->query.len > MAX_WORD_BYTES || name.len > MAX_WORD_BYTES ||
        nearest->query.len == 0) {
        return;
    }
    unsigned distance = edit_distance(nearest->query, name);
    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->name = name.ptr;
        nearest->name_len = name.len;
    }
}
