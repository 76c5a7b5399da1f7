/* SPDX-License-Identifier: MIT */
/* Row tags: sums modulo 65519, and the 15 values from there to the escape. */
#include "stripe/row_tag.h"

#include <assert.h>

#define MODULUS 65519u

_Static_assert(MODULUS + ROW_TAG_MAX_SLOTS <= PI_APP_ESCAPE, "no tag is the escape (I2)");

/* On disk: never change one. tests/unit/stripe/test_row_tag.c holds them to what row_tag.h says. */
static const uint16_t weights[ROW_TAG_MAX_SLOTS] = {41823, 17741, 49615, 24497, 53115, 62765, 49491,
	43733, 51855, 60043, 38615, 17341, 1861, 27749, 57851};

/* Guards of a block of zeros. */
static const uint64_t zero_guards[] = {
	[PI_T10] = 0,
	[PI_CRC32C] = 0x98f94189,
	[PI_CRC64] = UINT64_C(0x6482d367eb22b64e),
};

static uint32_t term(unsigned slot, uint64_t guard)
{
	assert(slot < ROW_TAG_MAX_SLOTS);
	return weights[slot] * (uint32_t)(guard % MODULUS) % MODULUS;
}

uint16_t row_tag_with(uint16_t tag, unsigned slot, uint64_t guard)
{
	if (row_tag_lost(tag) >= 0)
		return tag;
	return (uint16_t)((tag + term(slot, guard)) % MODULUS);
}

uint16_t row_tag_without(uint16_t tag, unsigned slot, uint64_t guard)
{
	if (row_tag_lost(tag) >= 0)
		return tag;
	return (uint16_t)((tag + MODULUS - term(slot, guard)) % MODULUS);
}

uint64_t row_tag_guard(enum pi_type type, const uint8_t *tuple)
{
	return pi_is_escape(type, tuple) ? zero_guards[type] : pi_decode(type, tuple).guard;
}

uint16_t row_tag_get(enum pi_type type, unsigned data_slots, const uint8_t *tuple)
{
	uint16_t tag = 0;
	if (!pi_is_escape(type, tuple))
		return pi_app_tag(type, tuple);
	for (unsigned slot = 0; slot < data_slots; slot++)
		tag = row_tag_with(tag, slot, zero_guards[type]);
	return tag;
}

uint16_t row_tag_of_lost(unsigned slot)
{
	assert(slot < ROW_TAG_MAX_SLOTS);
	return (uint16_t)(MODULUS + slot);
}

int row_tag_lost(uint16_t tag)
{
	return tag >= MODULUS ? (int)(tag - MODULUS) : -1;
}
