/*
 * config_value: one JSON value into one member of the config, by the rules of its field.
 * Called by config.c for the file, the defaults and the command line. Threads: its caller's.
 */
#ifndef POSTERN_SERVER_CONFIG_VALUE_H
#define POSTERN_SERVER_CONFIG_VALUE_H

#include <stdbool.h>

#include "server/config_fields.h"
#include "server/config_report.h"
#include "server/jsonc.h"

/* Where a value goes. */
struct config_target {
    const struct config_field *field;
    void *part;        /* the struct config or struct config_mount, by field->part */
    const char *label; /* "mounts[0].heartbeat", for messages */
};

/* Reads the value of `node` into the target; an older value is freed. False: a problem was reported
 * (or report->err is set) and the target is unchanged. */
bool config_value_set(const struct config_target *target, const struct jsonc *doc,
                      const struct jsonc_node *node, struct config_report *report);
/* The same for a string that stands in no file: `option` names it in messages. STRING and STRINGS.
 */
bool config_value_set_option(const struct config_target *target, const char *option,
                             const char *value, struct config_report *report);
/* Frees what the member holds. */
void config_value_clear(const struct config_field *field, void *part);

#endif
