/*
 * frame: the two small values that cross the interfaces of core. Views; valid during the call.
 */
#ifndef POSTERN_CORE_FRAME_H
#define POSTERN_CORE_FRAME_H

#include <stdbool.h>

#include "base/span.h"

/* Application payload: text is valid UTF-8. */
struct message {
    struct span data;
    bool is_text;
};

/* What one carrier write delivers: a dialect's packets, before the transport's costume. */
struct frame {
    struct span bytes;
    bool is_text;
};

#endif
