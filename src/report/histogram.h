/* SPDX-License-Identifier: MIT */
/* A histogram of times or sizes, with percentiles: buckets by powers of two, each in
 * HISTOGRAM_PARTS equal parts, so that a percentile is off by at most 1 / HISTOGRAM_PARTS of
 * itself. A plain value of fixed size: zeroed is empty, copying copies, nothing allocates.
 *
 * One thread adds; for several keep one each and histogram_merge(). */
#ifndef STABLEFS_REPORT_HISTOGRAM_H
#define STABLEFS_REPORT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PART_BITS 3u
#define HISTOGRAM_PARTS     (1u << HISTOGRAM_PART_BITS)
#define HISTOGRAM_BUCKETS   ((64u - HISTOGRAM_PART_BITS + 1) * HISTOGRAM_PARTS)

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t count, sum; /* sum wraps beyond 2^64 */
	uint64_t min, max;   /* valid where count > 0 */
};

void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that @per_mille thousandths of all values do not exceed: 500 is the median, 1000 the
 * maximum (exact, as is the minimum at 0). Never outside [min, max]; 0 where empty. */
uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille);

double histogram_mean(const struct histogram *h); /* 0 where empty */

/* Values counted in [2^exponent, 2^(exponent + 1)); exponent 0 holds 0 and 1. For drawing. */
uint64_t histogram_octave(const struct histogram *h, unsigned exponent);

#endif
