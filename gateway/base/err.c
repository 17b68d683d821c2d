/* err: the table of results and the end of a broken process. See err.h. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    const char *text;
} table[] = {
#define X(suffix, name, text) [ERR_##suffix] = {name, text},
    ERR_MAP(X)
#undef X
};

const char *err_name(enum err e)
{
    return (unsigned)e < ERR_COUNT_ ? table[e].name : "unknown";
}

const char *err_text(enum err e)
{
    return (unsigned)e < ERR_COUNT_ ? table[e].text : "unknown result";
}

void err_assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "postern: assertion failed at %s:%d: %s\n", file, line, condition);
    abort();
}
