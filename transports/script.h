/*
 * script: what htmlfile and jsonp share: a frame comes as the argument of a call of a JavaScript
 * function, which the page names in its request (`c` or `callback` in the query).
 *
 * The name becomes part of a script that runs in the gateway's origin, or in the page's: letters,
 * digits, `-`, `_` and `.`, and not many of them (CVE-2020-8823 is a server that looked less
 * closely). A frame is quoted once more as a string, with `<` as \u003c: a `</script>` that any
 * peer put into a message would end the script, and what follows it would run. Pure; any thread.
 */
#ifndef POSTERN_TRANSPORTS_SCRIPT_H
#define POSTERN_TRANSPORTS_SCRIPT_H

#include <stdint.h>

#include "core/transport.h"

enum {
    SCRIPT_CALLBACK_MAX_BYTES = 32
};

struct script_callback {
    char text[SCRIPT_CALLBACK_MAX_BYTES];
    uint8_t len; /* 0: none */
};

/* Reads the name out of a query. NULL, or why it is refused (and `out` is empty then): a sentence
 * for the client, which never has the value in it. */
const char *script_callback_read(struct span query, struct script_callback *out);

/* transport_ops.check: answers 500 to a request whose callback is not acceptable. */
enum err script_check(struct http_req *req, const struct transport_opts *opts);

/* costume.escape: the frame as a JavaScript string with its quotes. */
enum err script_quote(struct buf *out, struct span frame) MUST_CHECK;

#endif
