/* proc_stat: see proc_stat.h. */
#include "proc_stat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

/* The command name (field 2) may hold blanks and brackets: fields are counted from the last ')'. */
static bool parse_ticks(const char *line, unsigned long long *ticks)
{
    const char *at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 14; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return false;
    }
    char *end = NULL;
    unsigned long long user = strtoull(at, &end, 10);
    unsigned long long kernel = strtoull(end, &end, 10);
    *ticks = user + kernel;
    return true;
}

bool proc_stat_cpu(pid_t pid, double *seconds)
{
    char line[1024];
    FILE *file = open_proc(pid, "stat");
    if (file == NULL) {
        return false;
    }
    unsigned long long ticks = 0;
    bool is_read = fgets(line, sizeof line, file) != NULL && parse_ticks(line, &ticks);
    (void)fclose(file);
    *seconds = (double)ticks / (double)sysconf(_SC_CLK_TCK);
    return is_read;
}

bool proc_stat_pss(pid_t pid, int64_t *bytes)
{
    char line[256];
    FILE *file = open_proc(pid, "smaps_rollup");
    if (file == NULL) {
        return false;
    }
    bool is_found = false;
    while (!is_found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "Pss:", 4) == 0) {
            *bytes = strtoll(line + 4, NULL, 10) * 1024;
            is_found = true;
        }
    }
    (void)fclose(file);
    return is_found;
}
