/*
 * config_loader: what the two halves of the loader share: config.c walks the file key by key,
 * config_check.c then looks at what only shows across keys. Private to these two.
 */
#ifndef POSTERN_SERVER_CONFIG_LOADER_H
#define POSTERN_SERVER_CONFIG_LOADER_H

#include <stdbool.h>

#include "server/config.h"
#include "server/config_fields.h"
#include "server/config_report.h"
#include "server/jsonc.h"

struct config_loader {
    struct config *config;
    const struct config_overrides *overrides; /* may be NULL */
    struct config_report *report;
    struct jsonc doc;
    /* By index of the field: where its value stands (of mount fields: in the mount that is being
     * read), NULL when it does not, and whether it was refused. */
    const struct jsonc_node *given[CONFIG_MAX_FIELDS];
    bool is_refused[CONFIG_MAX_FIELDS];
};

/* An object whose keys are read. */
struct config_scope {
    const char *prefix; /* of its fields' paths: "", "log.", "mounts[]." */
    const char *label;  /* the same in messages: "", "log.", "mounts[3]." */
    void *part;         /* struct config or struct config_mount */
    const struct jsonc_node *node;
};

/* Checks the mount that was just read; raises or lowers defaults that follow other values. */
void config_check_mount(struct config_loader *ld, const struct config_scope *scope);
/* Puts the command line's values in, then checks everything outside the mounts. */
void config_check_top(struct config_loader *ld);

#endif
