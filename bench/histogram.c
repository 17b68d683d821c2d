/* histogram: see histogram.h. Values below 64 have a bucket each; above, the top seven bits do. */
#include "histogram.h"

#define SUB_COUNT (1U << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift) - SUB_COUNT;
}

static uint64_t middle_of(unsigned bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t low = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
    return low + ((uint64_t)1 << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->n++;
    histogram->counts[bucket_of(value)]++;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->n);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] > 0 && seen >= wanted) {
            return middle_of(i);
        }
    }
    return 0;
}
