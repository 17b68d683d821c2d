/*
 * flash_policy: the socket policy that a Flash player asks for before it opens a socket, made of
 * the section "flash" of the config. Pure; any thread.
 */
#ifndef POSTERN_SERVER_FLASH_POLICY_H
#define POSTERN_SERVER_FLASH_POLICY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct config;

enum {
    FLASH_POLICY_MAX_BYTES = 20000, /* players refuse a longer one */
};

/* What a player sends, and all that it sends. */
#define FLASH_POLICY_REQUEST SPAN_LIT("<policy-file-request/>\0")

/* Whether the policy would name any port: `flash.ports`, or those of `listen` and `flash.listen`
 * that are not left to the system. */
bool flash_policy_has_ports(const struct config *config);
/* Appends the policy with the NUL at its end; `out` has a ceiling of FLASH_POLICY_MAX_BYTES. The
 * values have been checked by config_forms and need no escapes. ERR_NOMEM; ERR_LIMIT: too long. */
enum err flash_policy_put(const struct config *config, struct buf *out) MUST_CHECK;

#endif
