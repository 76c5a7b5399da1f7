/* SPDX-License-Identifier: MIT */
/* Random numbers for tests: the same seed, the same run. STABLEFS_TEST_SEED overrides the seed;
 * every test that uses one prints it. */
#ifndef STABLEFS_TESTS_RANDOM_H
#define STABLEFS_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
	uint64_t state;
};

/* The stream for the test called @name, which starts at the seed and says so. */
static inline struct random random_start(const char *name, uint64_t seed)
{
	const char *given = getenv("STABLEFS_TEST_SEED");
	if (given)
		seed = strtoull(given, NULL, 0);
	printf("%s: seed %#llx\n", name, (unsigned long long)seed);
	return (struct random){seed};
}

/* A Weyl sequence through a multiplicative mixer (the splitmix64 construction). */
static inline uint64_t random_u64(struct random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 .. @bound - 1; the bias is far below what a test can see. */
static inline unsigned random_below(struct random *r, unsigned bound)
{
	return (unsigned)(random_u64(r) % bound);
}

static inline void random_fill(struct random *r, void *data, size_t len_bytes)
{
	uint8_t *p = data;
	for (size_t i = 0; i < len_bytes; i++)
		p[i] = (uint8_t)random_u64(r);
}

#endif
