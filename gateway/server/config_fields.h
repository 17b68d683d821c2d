/*
 * config_fields: the one table of everything that can stand in the config file.
 *
 * The loader, the defaults, the messages and the manual all read it: a key exists exactly when it
 * has a row here. A path is "key", "section.key" or "list[].key"; sections and lists exist through
 * the paths of their fields. The value of a default is the text that a user would write and goes
 * through the same parser. Pure; any thread.
 */
#ifndef POSTERN_SERVER_CONFIG_FIELDS_H
#define POSTERN_SERVER_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "server/config_forms.h"

/* X(SUFFIX, name in the manual, what a value must be, in messages) */
#define CONFIG_TYPE_MAP(X)                                                                         \
    X(BOOL, "boolean", "true or false")                                                            \
    X(UNSIGNED, "number", "a whole number")                                                        \
    X(SIZE, "size", "a size such as \"64k\" or a number of bytes")                                 \
    X(DURATION, "duration", "a duration such as \"25s\"")                                          \
    X(MODE, "octal mode", "a file mode in quotes such as \"0660\"")                                \
    X(STRING, "string", "a string")                                                                \
    X(WORD, "word", "a word in quotes")                                                            \
    X(WORDS, "list of words", "a list of words")                                                   \
    X(STRINGS, "list of strings", "a string or a list of strings")

enum config_type {
#define X(suffix, name, text) CONFIG_TYPE_##suffix,
    CONFIG_TYPE_MAP(X)
#undef X
};

/* A word and what it stands for; an array of them ends with a NULL word. */
struct config_word {
    const char *word;
    unsigned value;
};

/* The parts of a struct config that fields are offsets into. */
enum config_part {
    CONFIG_PART_TOP,   /* struct config */
    CONFIG_PART_MOUNT, /* struct config_mount */
};

struct config_field {
    const char *path;
    enum config_type type;
    enum config_form form; /* STRING and STRINGS: what each string must look like */
    uint64_t min;          /* BOOL, WORD(S), STRING(S): not used. Bytes, milliseconds or plain */
    uint64_t max;
    const char *fallback;            /* the default as JSON text; NULL: the key is required */
    const char *example;             /* for a required key: what to add, as JSON text */
    const char *option;              /* for a required key: the option that stands in, or NULL */
    const struct config_word *words; /* WORD and WORDS; UNSIGNED: one word instead of a number */
    enum config_part part;
    size_t offset; /* of the member in its part */
    size_t bytes;  /* of the member */
    const char *help;
};

extern const struct config_field config_fields[];
extern const size_t config_n_fields;
/* An upper bound of config_n_fields, for arrays with an entry for each field. */
enum {
    CONFIG_MAX_FIELDS = 64
};

/* The field with exactly this path; NULL when there is none. */
const struct config_field *config_field_find(const char *path);
/* Whether some field's path begins with `prefix` ("log.", "mounts[]."). */
bool config_field_has_prefix(const char *prefix);
/* The key that field i has in the object whose paths begin with `prefix` ("" for the top): "log"
 * for "log.level" at the top. Empty when the field is not in there, or has the key of field i - 1.
 */
struct span config_field_key_in(size_t i, const char *prefix);
/* The last part of the path: "level" for "log.level". */
struct span config_field_name(const struct config_field *field);

enum {
    CONFIG_NUMBER_BYTES = 24
};
/* `value` in the unit that a user would write: "25s", "64k", "0660", "100". Returns out. */
const char *config_format_number(enum config_type type, uint64_t value,
                                 char out[CONFIG_NUMBER_BYTES]);
/* The units of a type with their factors, largest first, ending with a NULL word; NULL for a type
 * without units. */
const struct config_word *config_units(enum config_type type);

#endif
