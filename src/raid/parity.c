/* SPDX-License-Identifier: MIT */
/* Parity by isa-l.
 *
 * The code. Bytes are elements of GF(2^8): polynomials over GF(2) modulo x^8 + x^4 + x^3 + x^2 + 1
 * (0x11d), whose powers of x (2) run through all 255 elements that are not 0. A row of n data
 * blocks fulfils one check for each of its parities:
 *
 *	check 0		D_0 +   D_1 +   D_2 + ... +         D_(n-1) + P     = 0
 *	check 1		D_0 + 2 D_1 + 4 D_2 + ... + 2^(n-1) D_(n-1)     + Q = 0
 *
 * With the weights in a matrix h, and B the blocks of all slots, that is h B = 0. For n = 3:
 *
 *		slot	0 1 2 P Q
 *	h =		1 1 1 1 0
 *			1 2 4 0 1
 *
 * Columns of two slots are independent: of two data x < y the determinant is 2^y - 2^x, which is 0
 * only where y - x is a multiple of 255; a data column has no 0; the parities' are the unit
 * vectors. All that follows rests on it.
 *
 * Rebuilding. To get slot v without slot u, add up the checks so that u cancels out of them, check
 * 0 times h(1, u) and check 1 times h(0, u) (+ and - are the same):
 *
 *	c(j) = h(1, u) h(0, j) + h(0, u) h(1, j)	sum over j of c(j) B_j = 0, c(u) = 0
 *	B_v  = sum over j other than u and v of c(j) / c(v) B_j
 *
 * c(v) is the determinant of two columns, hence not 0. This is all: with u = Q, c is check 0, "the
 * sum of all others"; with u = P it is check 1; with two data it is what the textbook gets from P
 * and Q without both. Where nothing but v is missing, the parity that is not needed is left out:
 * Q, or for v = Q, P. Of two missing slots the second is rebuilt from all others and the first.
 *
 * Locating. The checks of a row that is wrong in slot z alone, by e, sum up to e times column z:
 * (s_0, s_1) = (h(0, z) e, h(1, z) e). Columns are independent in pairs, so that h(0, z) s_1 =
 * h(1, z) s_0 for one z and no other: every byte that is wrong names its slot, and one slot must be
 * named by all (Anvin, section 4, takes logarithms of s_1 / s_0 for the same).
 *
 * isa-l loads a stride of every source before it stores the results, 64 bytes at most. That is what
 * makes a destination among the sources safe; the unit tests sweep it. */
#include "raid/parity.h"

#include <assert.h>
#include <errno.h>
#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>
#include <limits.h>
#include <string.h>

/* isa-l insists on two sources. */
void parity_xor(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes)
{
	void *vectors[PARITY_MAX_SOURCES + 1];
	assert(count >= 1 && count <= PARITY_MAX_SOURCES && len_bytes <= INT_MAX);
	if (count == 1) {
		if (dest != sources[0])
			memcpy(dest, sources[0], len_bytes);
		return;
	}
	memcpy(vectors, sources, count * sizeof(sources[0]));
	vectors[count] = dest;
	int ret = xor_gen((int)count + 1, (int)len_bytes, vectors);
	assert(ret == 0);
	(void)ret;
}

static uint32_t data_slots(const struct parity_code *code)
{
	return (UINT32_C(1) << code->data) - 1;
}

static unsigned count_slots(uint32_t slots)
{
	return (unsigned)__builtin_popcount(slots);
}

/* h(p, slot) */
uint8_t parity_weight(const struct parity_code *code, unsigned p, unsigned slot)
{
	static const uint8_t powers[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1d, 0x3a,
		0x74, 0xe8, 0xcd, 0x87, 0x13, 0x26};
	assert(p < code->parities && slot < code->data + code->parities);
	if (slot >= code->data)
		return slot - code->data == p;
	return p == 0 ? 1 : powers[slot];
}

/* ---- weighted sums ---- */

/* sum of weights[i] * blocks[i] */
struct sum {
	unsigned count;
	uint8_t weights[PARITY_MAX_SOURCES];
	const void *blocks[PARITY_MAX_SOURCES];
};

/* A block that does not count is not read. */
static void sum_add(struct sum *s, uint8_t weight, const void *block)
{
	assert(s->count < PARITY_MAX_SOURCES);
	s->weights[s->count] = weight;
	s->blocks[s->count] = block;
	s->count += weight != 0;
}

static bool sum_is_xor(const struct sum *s)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->weights[i] != 1)
			return false;
	return true;
}

static void sum_multiply(struct sum *s, void *dest, uint32_t len_bytes)
{
	uint8_t tables[32 * PARITY_MAX_SOURCES], *sources[PARITY_MAX_SOURCES], *dests[] = {dest};
	memcpy(sources, s->blocks, s->count * sizeof(sources[0]));
	ec_init_tables((int)s->count, 1, s->weights, tables);
	ec_encode_data((int)len_bytes, (int)s->count, 1, tables, sources, dests);
}

static void sum_make(struct sum *s, void *dest, uint32_t len_bytes)
{
	assert(len_bytes % 64 == 0 && len_bytes <= INT_MAX);
	if (!s->count)
		memset(dest, 0, len_bytes);
	else if (sum_is_xor(s))
		parity_xor(s->blocks, s->count, dest, len_bytes);
	else
		sum_multiply(s, dest, len_bytes);
}

/* ---- parities ---- */

/* The data of the row, all in order: what isa-l has a faster function for. */
static bool terms_are_the_data(
	const struct parity_code *code, const struct parity_term *terms, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (terms[i].slot != i)
			return false;
	return count == code->data;
}

static void make_both(
	const struct parity_term *terms, unsigned count, void *const *dests, uint32_t len_bytes)
{
	void *vectors[RAID_MAX_SLOTS];
	for (unsigned i = 0; i < count; i++)
		vectors[i] = (void *)(uintptr_t)terms[i].block;
	vectors[count] = dests[0];
	vectors[count + 1] = dests[1];
	int ret = pq_gen((int)count + 2, (int)len_bytes, vectors);
	assert(ret == 0);
	(void)ret;
}

void parity_sum(const struct parity_code *code, const struct parity_term *terms, unsigned count,
	void *const *dests, uint32_t len_bytes)
{
	bool both = code->parities == 2 && dests[0] && dests[1];
	if (both && count >= 2 && terms_are_the_data(code, terms, count)) {
		make_both(terms, count, dests, len_bytes);
		return;
	}
	for (unsigned p = 0; p < code->parities; p++) {
		struct sum s;
		s.count = 0;
		for (unsigned i = 0; dests[p] && i < count; i++)
			sum_add(&s, parity_weight(code, p, terms[i].slot), terms[i].block);
		if (dests[p])
			sum_make(&s, dests[p], len_bytes);
	}
}

/* ---- rebuilding ---- */

uint32_t parity_sources(const struct parity_code *code, uint32_t missing)
{
	uint32_t sources = data_slots(code) & ~missing;
	unsigned needed = count_slots(missing & data_slots(code));
	if (count_slots(missing) > code->parities)
		return 0;
	for (unsigned slot = code->data; needed; slot++) {
		if (missing >> slot & 1)
			continue;
		sources |= UINT32_C(1) << slot;
		needed--;
	}
	return sources;
}

/* What is left out for slot @v where it is missing alone, or else the other @missing one. */
static unsigned slot_to_cancel(const struct parity_code *code, uint32_t missing, unsigned v)
{
	unsigned q = code->data + 1;
	uint32_t other = missing & ~(UINT32_C(1) << v);
	if (other)
		return (unsigned)__builtin_ctz(other);
	return v == q ? code->data : q;
}

/* c(j); the check of P where that is the only one */
static uint8_t weight_without(const struct parity_code *code, unsigned u, unsigned j)
{
	if (code->parities == 1)
		return parity_weight(code, 0, j);
	return gf_mul(parity_weight(code, 1, u), parity_weight(code, 0, j)) ^
	       gf_mul(parity_weight(code, 0, u), parity_weight(code, 1, j));
}

/* B_v */
static void rebuild_slot(const struct parity_code *code, void *const *blocks, uint32_t missing,
	unsigned v, uint32_t len_bytes)
{
	unsigned u = slot_to_cancel(code, missing, v), slots = code->data + code->parities;
	uint8_t scale = gf_inv(weight_without(code, u, v));
	struct sum s;
	s.count = 0;
	for (unsigned j = 0; j < slots; j++)
		if (j != v)
			sum_add(&s, gf_mul(scale, weight_without(code, u, j)), blocks[j]);
	sum_make(&s, blocks[v], len_bytes);
}

int parity_rebuild(const struct parity_code *code, void *const *blocks, uint32_t missing,
	uint32_t wanted, uint32_t len_bytes)
{
	assert(!(wanted & ~missing) && !(missing >> (code->data + code->parities)));
	if (count_slots(missing) > code->parities)
		return -EIO;
	for (; wanted; wanted &= wanted - 1) {
		rebuild_slot(code, blocks, missing, (unsigned)__builtin_ctz(wanted), len_bytes);
		missing &= ~(wanted & -wanted);
	}
	return 0;
}

/* ---- checking ---- */

bool parity_is_consistent(const struct parity_code *code, void *const *blocks, uint32_t len_bytes)
{
	void *vectors[RAID_MAX_SLOTS];
	int slots = (int)(code->data + code->parities);
	memcpy(vectors, blocks, (size_t)slots * sizeof(vectors[0]));
	if (code->parities == 2 && code->data >= 2)
		return pq_check(slots, (int)len_bytes, vectors) == 0;
	return xor_check(slots, (int)len_bytes, vectors) == 0;
}

#define TILE_BYTES 512u

/* s_0 and s_1 of @len_bytes of the row from @at on. */
static void syndromes(const struct parity_code *code, void *const *blocks, uint32_t at,
	uint32_t len_bytes, uint8_t (*sums)[TILE_BYTES])
{
	struct parity_term terms[RAID_MAX_SLOTS];
	unsigned slots = code->data + code->parities;
	for (unsigned slot = 0; slot < slots; slot++)
		terms[slot] = (struct parity_term){slot, (const uint8_t *)blocks[slot] + at};
	parity_sum(code, terms, slots, (void *[]){sums[0], sums[1]}, len_bytes);
}

/* The slots of @suspects whose being wrong explains these syndromes of a byte. */
static uint32_t explaining(
	const struct parity_code *code, uint32_t suspects, uint8_t s_0, uint8_t s_1)
{
	uint32_t explain = 0;
	for (uint32_t left = suspects; left && (s_0 || s_1); left &= left - 1) {
		unsigned z = (unsigned)__builtin_ctz(left);
		if (gf_mul(parity_weight(code, 0, z), s_1) ==
			gf_mul(parity_weight(code, 1, z), s_0))
			explain |= UINT32_C(1) << z;
	}
	return s_0 || s_1 ? explain : suspects;
}

int parity_locate_error(const struct parity_code *code, void *const *blocks, uint32_t len_bytes)
{
	_Alignas(64) uint8_t sums[PARITY_MAX][TILE_BYTES];
	uint32_t all = (UINT32_C(1) << (code->data + code->parities)) - 1, suspects = all;
	if (parity_is_consistent(code, blocks, len_bytes))
		return -ENOENT;
	if (code->parities < 2)
		return -EIO;
	for (uint32_t at = 0; at < len_bytes; at += TILE_BYTES) {
		uint32_t len = len_bytes - at < TILE_BYTES ? len_bytes - at : TILE_BYTES;
		syndromes(code, blocks, at, len, sums);
		for (uint32_t i = 0; i < len; i++)
			suspects = explaining(code, suspects, sums[0][i], sums[1][i]);
	}
	return suspects ? __builtin_ctz(suspects) : -EIO;
}
