/* SPDX-License-Identifier: MIT */
/* A set of rows of one chunk. A row is the set of blocks at the same offset of each member's
 * chunk; a chunk has at most 256 (1 MiB). Plain values, copied freely. */
#ifndef STABLEFS_RAID_ROWS_H
#define STABLEFS_RAID_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#define ROWS_MAX 256u

struct rows {
	uint64_t bits[ROWS_MAX / 64];
};

static inline void rows_add(struct rows *r, unsigned row)
{
	r->bits[row / 64] |= UINT64_C(1) << (row % 64);
}

static inline void rows_remove(struct rows *r, unsigned row)
{
	r->bits[row / 64] &= ~(UINT64_C(1) << (row % 64));
}

static inline bool rows_has(const struct rows *r, unsigned row)
{
	return r->bits[row / 64] >> (row % 64) & 1;
}

static inline void rows_add_range(struct rows *r, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		rows_add(r, i);
}

static inline void rows_add_all(struct rows *r, const struct rows *other)
{
	for (unsigned i = 0; i < ROWS_MAX / 64; i++)
		r->bits[i] |= other->bits[i];
}

/* The algebra of sets, on values: a or b, a and b, a but not b. */
static inline struct rows rows_or(struct rows a, struct rows b)
{
	for (unsigned i = 0; i < ROWS_MAX / 64; i++)
		a.bits[i] |= b.bits[i];
	return a;
}

static inline struct rows rows_and(struct rows a, struct rows b)
{
	for (unsigned i = 0; i < ROWS_MAX / 64; i++)
		a.bits[i] &= b.bits[i];
	return a;
}

static inline struct rows rows_without(struct rows a, struct rows b)
{
	for (unsigned i = 0; i < ROWS_MAX / 64; i++)
		a.bits[i] &= ~b.bits[i];
	return a;
}

static inline bool rows_empty(const struct rows *r)
{
	return !(r->bits[0] | r->bits[1] | r->bits[2] | r->bits[3]);
}

static inline unsigned rows_count(const struct rows *r)
{
	unsigned n = 0;
	for (unsigned i = 0; i < ROWS_MAX / 64; i++)
		n += (unsigned)__builtin_popcountll(r->bits[i]);
	return n;
}

/* The first row at or after @from that is in (or with @in false: not in) the set; ROWS_MAX where
 * there is none. */
static inline unsigned rows_find(const struct rows *r, unsigned from, bool in)
{
	for (unsigned i = from / 64; i < ROWS_MAX / 64; i++) {
		uint64_t word = in ? r->bits[i] : ~r->bits[i];
		if (i == from / 64)
			word &= ~UINT64_C(0) << (from % 64);
		if (word)
			return i * 64 + (unsigned)__builtin_ctzll(word);
	}
	return ROWS_MAX;
}

/* The next run of consecutive rows at or after *@row: true, with its first row and length; *@row
 * moves behind it. Start with *@row = 0. */
static inline bool rows_next_run(
	const struct rows *r, unsigned *row, unsigned *first, unsigned *count)
{
	if (*row >= ROWS_MAX)
		return false;
	*first = rows_find(r, *row, true);
	if (*first == ROWS_MAX)
		return false;
	*row = rows_find(r, *first, false);
	*count = *row - *first;
	return true;
}

static inline unsigned rows_runs(const struct rows *r)
{
	unsigned at = 0, first, count, n = 0;
	while (rows_next_run(r, &at, &first, &count))
		n++;
	return n;
}

#endif
