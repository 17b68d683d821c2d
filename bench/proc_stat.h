/*
 * proc_stat: what a set of processes has cost so far, from /proc. Used by the load generator on
 * the server's processes, so that a figure needs no help from the server measured.
 */
#ifndef POSTERN_BENCH_PROC_STAT_H
#define POSTERN_BENCH_PROC_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* utime + stime of the process with all its threads, in seconds; resolution is a clock tick. */
bool proc_stat_cpu(pid_t pid, double *seconds);

/* Proportional set size in bytes: private pages whole, shared ones by the number of sharers. */
bool proc_stat_pss(pid_t pid, int64_t *bytes);

#endif
