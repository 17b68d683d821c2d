/*
 * histogram: durations in log-linear buckets (64 to a power of two, so within 1.6 %). Fixed size,
 * no allocation: recording is two shifts and an increment.
 */
#ifndef POSTERN_BENCH_HISTOGRAM_H
#define POSTERN_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t n;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The value below which the share (0 to 1) of the recorded ones lies; 0 when there are none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

#endif
