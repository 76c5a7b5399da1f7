/* SPDX-License-Identifier: MIT */
/* The block: the unit of PI (one tuple a block), of parity rows, of allocation. */
#ifndef STABLEFS_BASE_BLOCK_H
#define STABLEFS_BASE_BLOCK_H

#include <stdint.h>

#define BLOCK_BYTES 4096u
#define BLOCK_SHIFT 12

/* isa-l wants 32 bytes, AVX-512 64; O_DIRECT wants the logical block: a page serves all. */
#define BLOCK_ALIGN 4096u

static inline uint64_t round_up_u64(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

static inline uint64_t round_down_u64(uint64_t v, uint64_t unit)
{
	return v / unit * unit;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
