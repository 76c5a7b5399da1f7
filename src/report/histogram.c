/* SPDX-License-Identifier: MIT */
/* Histograms. With p = HISTOGRAM_PART_BITS, a value below 2^p has a bucket of its own; any other is
 * (1 followed by p bits) << shift, and its bucket is shift * 2^p + those p + 1 bits. So buckets are
 * in order of their values, and bucket b begins where bucket_first(b) says. */
#include "report/histogram.h"

static unsigned bucket_of(uint64_t value)
{
	if (value < HISTOGRAM_PARTS)
		return (unsigned)value;
	unsigned top = 63 - (unsigned)__builtin_clzll(value);
	unsigned shift = top - HISTOGRAM_PART_BITS;
	return shift * HISTOGRAM_PARTS + (unsigned)(value >> shift);
}

static uint64_t bucket_first(unsigned bucket)
{
	if (bucket < 2 * HISTOGRAM_PARTS)
		return bucket;
	unsigned shift = bucket / HISTOGRAM_PARTS - 1;
	return (uint64_t)(bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS) << shift;
}

static uint64_t bucket_last(unsigned bucket)
{
	return bucket + 1 < HISTOGRAM_BUCKETS ? bucket_first(bucket + 1) - 1 : UINT64_MAX;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->counts[bucket_of(value)]++;
	h->sum += value;
	if (h->count == 0 || value < h->min)
		h->min = value;
	if (h->count == 0 || value > h->max)
		h->max = value;
	h->count++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->count == 0)
		return;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->counts[i] += from->counts[i];
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (into->count == 0 || from->max > into->max)
		into->max = from->max;
	into->sum += from->sum;
	into->count += from->count;
}

/* ceil(count * per_mille / 1000) without overflow. */
static uint64_t rank_of(uint64_t count, unsigned per_mille)
{
	return count / 1000 * per_mille + (count % 1000 * per_mille + 999) / 1000;
}

uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille)
{
	if (h->count == 0)
		return 0;
	uint64_t rank = rank_of(h->count, per_mille), seen = 0;
	if (rank == 0)
		return h->min;
	unsigned bucket = 0;
	while (seen + h->counts[bucket] < rank)
		seen += h->counts[bucket++];
	uint64_t value = bucket_last(bucket);
	if (value < h->min)
		return h->min;
	return value > h->max ? h->max : value;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}

uint64_t histogram_octave(const struct histogram *h, unsigned exponent)
{
	uint64_t n = 0, low = exponent ? UINT64_C(1) << exponent : 0;
	uint64_t high = (UINT64_C(2) << exponent) - 1; /* wraps to UINT64_MAX at 63 */
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t first = bucket_first(i);
		if (first >= low && first <= high)
			n += h->counts[i];
	}
	return n;
}
