/* SPDX-License-Identifier: MIT */
/* Numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
 * Number Generators, 2014). A stream is one word, which the caller keeps. */
#ifndef STABLEFS_IO_DRAW_H
#define STABLEFS_IO_DRAW_H

#include <stdint.h>

static inline uint64_t draw_next(uint64_t *stream)
{
	uint64_t z = *stream += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* From @low to @high, both possible. */
static inline uint64_t draw_range(uint64_t *stream, uint64_t low, uint64_t high)
{
	return low + draw_next(stream) % (high - low + 1);
}

#endif
