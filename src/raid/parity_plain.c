/* SPDX-License-Identifier: MIT */
/* The plain oracle: slow, short, and without a table or a matrix. */
#include "raid/parity_plain.h"

#include <assert.h>

void parity_xor_plain(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++) {
		uint8_t sum = 0;
		for (unsigned s = 0; s < count; s++)
			sum ^= ((const uint8_t *)sources[s])[i];
		((uint8_t *)dest)[i] = sum;
	}
}

/* Twice @a: where x^8 comes out it is replaced by x^4 + x^3 + x^2 + 1. */
static uint8_t gf_double(uint8_t a)
{
	return (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0));
}

uint8_t gf_multiply_plain(uint8_t a, uint8_t b)
{
	uint8_t product = 0;
	for (; b; b >>= 1, a = gf_double(a))
		product ^= b & 1 ? a : 0;
	return product;
}

/* a^255 = 1, so a^254 is the inverse. */
uint8_t gf_inverse_plain(uint8_t a)
{
	uint8_t inverse = 1;
	for (unsigned i = 0; i < 254; i++)
		inverse = gf_multiply_plain(inverse, a);
	return inverse;
}

/* One byte of every slot of a row, and of the Q that a row with P alone does not store. */
struct bytes {
	uint8_t at[RAID_MAX_SLOTS + 1];
};

static uint8_t power_of_two(unsigned exponent)
{
	uint8_t power = 1;
	while (exponent--)
		power = gf_double(power);
	return power;
}

/* P and Q over all data but @x and @y. */
static uint8_t p_without(const struct parity_code *c, const struct bytes *b, unsigned x, unsigned y)
{
	uint8_t p = 0;
	for (unsigned i = 0; i < c->data; i++)
		p ^= i == x || i == y ? 0 : b->at[i];
	return p;
}

static uint8_t q_without(const struct parity_code *c, const struct bytes *b, unsigned x, unsigned y)
{
	uint8_t q = 0;
	for (unsigned i = c->data; i-- > 0;) /* Horner's scheme */
		q = gf_double(q) ^ (i == x || i == y ? 0 : b->at[i]);
	return q;
}

/* Two data: D_x = A (P + Pxy) + B (Q + Qxy), with A and B from the two equations of P and Q. */
static void bytes_rebuild_two(const struct parity_code *c, struct bytes *b, unsigned x, unsigned y)
{
	uint8_t ratio = power_of_two(y - x);
	uint8_t below = gf_inverse_plain(ratio ^ 1);
	uint8_t a_factor = gf_multiply_plain(ratio, below);
	uint8_t b_factor = gf_multiply_plain(gf_inverse_plain(power_of_two(x)), below);
	uint8_t p = b->at[c->data] ^ p_without(c, b, x, y);
	uint8_t q = b->at[c->data + 1] ^ q_without(c, b, x, y);
	b->at[x] = gf_multiply_plain(a_factor, p) ^ gf_multiply_plain(b_factor, q);
	b->at[y] = p ^ b->at[x];
}

/* One data block: from P, or where that is missing too, from Q. */
static void bytes_rebuild_one(
	const struct parity_code *c, struct bytes *b, unsigned x, bool p_missing)
{
	if (!p_missing) {
		b->at[x] = b->at[c->data] ^ p_without(c, b, x, x);
		return;
	}
	uint8_t q = b->at[c->data + 1] ^ q_without(c, b, x, x);
	b->at[x] = gf_multiply_plain(q, gf_inverse_plain(power_of_two(x)));
}

static void bytes_rebuild(const struct parity_code *c, struct bytes *b, uint32_t missing)
{
	uint32_t data = missing & ((1u << c->data) - 1);
	unsigned x = data ? (unsigned)__builtin_ctz(data) : 0;
	assert((unsigned)__builtin_popcount(missing) <= c->parities);
	if (data & (data - 1))
		bytes_rebuild_two(c, b, x, (unsigned)__builtin_ctz(data & (data - 1)));
	else if (data)
		bytes_rebuild_one(c, b, x, missing >> c->data & 1);
	b->at[c->data] = p_without(c, b, c->data, c->data);
	b->at[c->data + 1] = q_without(c, b, c->data, c->data);
}

void parity_rebuild_plain(
	const struct parity_code *code, void *const *blocks, uint32_t missing, uint32_t len_bytes)
{
	unsigned slots = code->data + code->parities;
	for (uint32_t i = 0; i < len_bytes; i++) {
		struct bytes b = {{0}};
		for (unsigned slot = 0; slot < slots; slot++)
			b.at[slot] = ((const uint8_t *)blocks[slot])[i];
		bytes_rebuild(code, &b, missing);
		for (unsigned slot = 0; slot < slots; slot++)
			if (missing >> slot & 1)
				((uint8_t *)blocks[slot])[i] = b.at[slot];
	}
}

void parity_make_plain(const struct parity_code *code, void *const *blocks, uint32_t len_bytes)
{
	uint32_t all = (1u << code->parities) - 1;
	parity_rebuild_plain(code, blocks, all << code->data, len_bytes);
}
