/* SPDX-License-Identifier: MIT */
/* The content by which a block is known again. A sector of a buffer, for sector s of write w:
 *
 *	byte 0	   the word that is stored into: value_of(number of the store), 0 before the first
 *	byte 8	   w
 *	byte 16..  a pattern of the seed and s
 *
 * So whatever mixture of moments reaches a member, each byte tells whether it was ever there. */
#include <string.h>
#include "cli/mutate_internal.h"

/* An odd factor and its inverse modulo 2^64: from numbers to values that differ in most bytes, and
 * back. */
#define SPREAD   UINT64_C(0x9e3779b97f4a7c15)
#define UNSPREAD UINT64_C(0xf1de83e19937733d)

uint64_t mutate_mix(uint64_t z)
{
	z = (z ^ z >> 31) * SPREAD;
	return z ^ z >> 29;
}

uint64_t mutate_value_of(const struct mutator *m, uint64_t store)
{
	return (store * SPREAD) ^ mutate_mix(m->options->seed);
}

static uint64_t store_of(const struct mutator *m, uint64_t value)
{
	return (value ^ mutate_mix(m->options->seed)) * UNSPREAD;
}

void mutate_fill_pattern(const struct mutator *m, uint8_t *buffer)
{
	for (uint64_t s = 0; s < m->sectors; s++) {
		uint8_t *sector = buffer + s * MUTATE_SECTOR;
		uint64_t v = mutate_value_of(m, 0);
		memcpy(sector, &v, sizeof(v));
		for (unsigned at = 16; at < MUTATE_SECTOR; at += sizeof(v)) {
			v = mutate_mix(m->options->seed + s * MUTATE_SECTOR + at);
			memcpy(sector + at, &v, sizeof(v));
		}
	}
}

void mutate_stamp(const struct mutator *m, uint8_t *buffer, uint64_t write)
{
	for (uint64_t s = 0; s < m->sectors; s++)
		memcpy(buffer + s * MUTATE_SECTOR + 8, &write, sizeof(write));
}

bool mutate_block_is_right(
	const struct mutator *m, const uint8_t *block, uint64_t write, uint64_t last_store)
{
	for (uint64_t s = 0; s < m->sectors; s++) {
		const uint8_t *got = block + s * MUTATE_SECTOR;
		uint64_t value, stamp;
		memcpy(&value, got, sizeof(value));
		memcpy(&stamp, got + 8, sizeof(stamp));
		if (stamp != write || store_of(m, value) > last_store ||
			memcmp(got + 16, m->expected + s * MUTATE_SECTOR + 16, MUTATE_SECTOR - 16))
			return false;
	}
	return true;
}
