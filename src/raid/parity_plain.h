/* SPDX-License-Identifier: MIT */
/* The plain oracle of parity.h, byte by byte, for tests: products by shifting, and each loss by its
 * own formula of H. P. Anvin, "The mathematics of RAID-6", sections 2 to 4. Any length and
 * alignment; pure, any thread. */
#ifndef STABLEFS_RAID_PARITY_PLAIN_H
#define STABLEFS_RAID_PARITY_PLAIN_H

#include "raid/parity.h"

void parity_xor_plain(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes);

uint8_t gf_multiply_plain(uint8_t a, uint8_t b);
uint8_t gf_inverse_plain(uint8_t a); /* a != 0 */

/* All parities of the row from its data. */
void parity_make_plain(const struct parity_code *code, void *const *blocks, uint32_t len_bytes);

/* All @missing slots of the row, no more of them than there are parities. */
void parity_rebuild_plain(
	const struct parity_code *code, void *const *blocks, uint32_t missing, uint32_t len_bytes);

#endif
