/* SPDX-License-Identifier: MIT */
/* The row tag: what a parity's tuple says of the data of its row.
 * Owner thread: none; pure functions, any thread.
 * Invariants: I1 a tag depends on the guard of every data slot of the row, and on nothing else
 *   (but for lost slots, below). I2
 *   it is never the escape's application tag.
 * May use: pi. Must not know: blocks, members, why a slot is missing.
 *
 * A parity block and a data block may each fit their own tuple and yet not belong together: one is
 * of before a write, the other of after it. What is rebuilt from them is garbage, and where the
 * tuple of the missing block went with its member nothing says so. But for the tag, which lies in
 * the application tag of the parity's tuple and is written with it:
 *
 *	T = (c_0 g_0 + c_1 g_1 + ... + c_(n-1) g_(n-1)) mod 65519
 *
 * where g_i is the guard in the tuple of data slot i (of a block never written: that of zeros). The
 * rebuilt block's guard and those of the others must give the tag.
 *
 * Why sums of integers: CRCs are linear over GF(2). The XOR of the guards of a row is known from
 * the guard of its parity, so it fits garbage as well. 65519 is a prime, and no quotient of two c_i
 * is a sum of three or fewer signed powers of two: to change the guards of two slots by the same
 * bits must not leave the tag as it is. Garbage fits by chance once in 65,519.
 *
 * What is left of the 16 bits says of a row with two parities that the parities agree with the data
 * that are there, and that of one missing slot it is known that its block is lost: the others are
 * not to be lost with it when one more member goes. Such a tag stays until that slot is written. */
#ifndef STABLEFS_STRIPE_ROW_TAG_H
#define STABLEFS_STRIPE_ROW_TAG_H

#include "pi/pi.h"

#define ROW_TAG_MAX_SLOTS 15u

/* @tag with the term of data slot @slot, whose guard is @guard; without it. A tag begins as 0. One
 * that names a lost slot stays as it is. */
uint16_t row_tag_with(uint16_t tag, unsigned slot, uint64_t guard);
uint16_t row_tag_without(uint16_t tag, unsigned slot, uint64_t guard);

/* The guard that a data block's tuple stands for. Not for PI_NONE, as all below. */
uint64_t row_tag_guard(enum pi_type type, const uint8_t *tuple);

/* The tag in a parity's tuple, of a row of @data_slots. A parity never written says that no data of
 * the row was. */
uint16_t row_tag_get(enum pi_type type, unsigned data_slots, const uint8_t *tuple);

/* The tag that names @slot as lost; the slot that @tag names, or -1. */
uint16_t row_tag_of_lost(unsigned slot);
int row_tag_lost(uint16_t tag);

/* May blocks of the @wanted slots, that were rebuilt, be given? @tag: the parity's; @found: that of
 * the guards of the row with what was rebuilt. */
static inline bool row_tag_allows(uint16_t tag, uint16_t found, uint32_t wanted)
{
	int lost = row_tag_lost(tag);
	return lost < 0 ? tag == found : !(wanted >> lost & 1);
}

#endif
