/* SPDX-License-Identifier: MIT */
/* Parity of a row: one (P, raid5) or two (P and Q, raid6), as one linear code; by isa-l.
 * Owner thread: none; pure functions on blocks.
 * Invariants: I1 all parities of a row are linear in its blocks, so an old row, a delta, and a part
 *   of a row are summed by the same function. I2 any @parities blocks of a row can be computed from
 *   the others.
 * May use: base. Must not know: members, PI, why a block is missing.
 *
 * Notation, as in plan.h: D_0 .. D_(n-1) the data of a row, slot i holding D_i; then P in slot n,
 * and Q in slot n + 1. Sums are XOR, products are of GF(2^8) with the polynomial 0x11d:
 *
 *	P = D_0 + D_1 + ... + D_(n-1)
 *	Q = D_0 + 2 D_1 + ... + 2^(n-1) D_(n-1)
 *
 * which is what md stores (Linux, lib/raid6; H. P. Anvin, "The mathematics of RAID-6"). parity.c
 * derives the rest. The plain oracle is parity_plain.h. */
#ifndef STABLEFS_RAID_PARITY_H
#define STABLEFS_RAID_PARITY_H

#include <stdbool.h>
#include <stdint.h>
#include "raid/geometry.h"

#define PARITY_MAX_SOURCES 64u
#define PARITY_MAX         2u /* parities of a row */

/* *@dest = XOR of @count sources (1 to PARITY_MAX_SOURCES) of @len_bytes each. All pointers are
 * aligned to 32 bytes, @len_bytes is a multiple of 32. @dest may be one of the sources. */
void parity_xor(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes);

/* The shape of a row. Below, all blocks are aligned to 32 bytes and @len_bytes, the same for all of
 * them, is a multiple of 64. */
struct parity_code {
	unsigned data;     /* n: data slots, 1 to 15 */
	unsigned parities; /* 1 or 2, in slots n and n + 1 */
};

/* The code of a level that has one (geometry_has_parity()). */
static inline struct parity_code parity_code_of(const struct geometry *g)
{
	return (struct parity_code){geometry_data_slots(g), geometry_parity_slots(g)};
}

/* By how much the block of @slot counts in check @p: 0 = sum over all slots of h(p, slot) * block.
 * Data: 1 for P, 2^slot for Q. A parity: 1 in its own check, 0 in the other one. */
uint8_t parity_weight(const struct parity_code *code, unsigned p, unsigned slot);

/* One term of a sum: a block with the weight of its slot. */
struct parity_term {
	unsigned slot;
	const void *block;
};

/* *@dests[p] = sum over @terms of h(p, slot) * block, for each parity p whose @dests is not NULL
 * (@dests has PARITY_MAX entries). A slot may come more than once. A destination may be the block
 * of a term of its own parity's slot, and no other term. 1 to PARITY_MAX_SOURCES terms.
 *
 *	all new data					the parities of the row
 *	the old parities, old and new of some data	read-modify-write
 *	old parities and old data of what is written	the partial parities: of the rest alone
 *	the rest itself					the same
 *	partial parities, and what was written		the parities of the row
 *	all slots					the syndromes: zeros where the row is right
 */
void parity_sum(const struct parity_code *code, const struct parity_term *terms, unsigned count,
	void *const *dests, uint32_t len_bytes);

/* Compute the blocks of the @wanted slots from the others that are not @missing (both are sets of
 * slots, @wanted lies within @missing), into blocks[slot]. Of @missing slots that are not wanted
 * nothing is touched, so their pointers may be NULL; nor is a parity touched that is not needed: P
 * comes before Q. 0, or -EIO where more slots are missing than there are parities. */
int parity_rebuild(const struct parity_code *code, void *const *blocks, uint32_t missing,
	uint32_t wanted, uint32_t len_bytes);

/* The slots that parity_rebuild() reads where these are @missing: all data that are left, and as
 * many parities, P first, as data are missing. 0 where too many are missing. */
uint32_t parity_sources(const struct parity_code *code, uint32_t missing);

/* Do all blocks of a row fit together? Every slot is there. (Where fewer are missing than there are
 * parities: rebuild them, and this tells whether the others had fitted.) */
bool parity_is_consistent(const struct parity_code *code, void *const *blocks, uint32_t len_bytes);

/* Which one of the blocks of a row, all of them there, is wrong? Its slot; -ENOENT where the row is
 * consistent; -EIO where more than one must be wrong, or where one parity alone cannot tell. Two
 * wrong blocks can look like a third one only where every byte that differs agrees on it: for
 * blocks that differ in one byte that is the case about n times in 255, for whole blocks it is not
 * to be feared. */
int parity_locate_error(const struct parity_code *code, void *const *blocks, uint32_t len_bytes);

#endif
