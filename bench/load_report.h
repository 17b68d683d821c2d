/*
 * load_report: what a run tells. Called by load.c; reads struct load, changes only readings.
 */
#ifndef POSTERN_BENCH_LOAD_REPORT_H
#define POSTERN_BENCH_LOAD_REPORT_H

#include "load.h"

/* Notes what the server's processes have used by now. False when one of them is gone. */
bool load_report_read(const struct load *load, struct load_reading *reading);

/* Prints the result; returns whether every message came back once, in order and unchanged. */
bool load_report_print(const struct load *load);

#endif
