/* SPDX-License-Identifier: MIT */
/* Tuples: one table gives the layout of all types, everything else follows from it.
 *
 *	| guard | application tag, 2 bytes | reference tag |		big-endian throughout
 *
 * The 10 bytes behind crc32c's application tag and the 6 behind crc64's are NVMe's storage and
 * reference space (NVM Command Set 1.0, section 5.2.1) with a storage tag of 0 bits. Numbers of
 * blocks have 64 bits, so the upper two of those 10 bytes are always 0, and are checked. */
#include "pi/pi.h"

#include <assert.h>
#include <string.h>
#include "base/endian.h"

#define APP_BYTES 2u

struct pi_layout {
	const char *name;
	uint8_t guard_bytes;
	uint8_t ref_bytes;
};

static const struct pi_layout layouts[] = {
	[PI_NONE] = {"none", 0, 0},
	[PI_T10] = {"t10", 2, 4},
	[PI_CRC32C] = {"crc32c", 4, 10},
	[PI_CRC64] = {"crc64", 8, 6},
};

#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static const struct pi_layout *layout_of(enum pi_type type)
{
	assert((unsigned)type < LAYOUTS);
	return &layouts[type];
}

static void put_field(uint8_t *field, unsigned bytes, uint64_t v)
{
	for (unsigned i = bytes; i-- > 0; v >>= 8)
		field[i] = (uint8_t)v;
}

static uint64_t get_field(const uint8_t *field, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | field[i];
	return v;
}

unsigned pi_tuple_bytes(enum pi_type type)
{
	const struct pi_layout *l = layout_of(type);
	return type == PI_NONE ? 0 : l->guard_bytes + APP_BYTES + l->ref_bytes;
}

const char *pi_name(enum pi_type type)
{
	return (unsigned)type < LAYOUTS ? layouts[type].name : "unknown";
}

bool pi_parse(const char *name, enum pi_type *out)
{
	for (unsigned i = 0; i < LAYOUTS; i++) {
		if (strcmp(name, layouts[i].name) == 0) {
			*out = (enum pi_type)i;
			return true;
		}
	}
	return false;
}

void pi_encode(enum pi_type type, const struct pi_tuple *tuple, uint8_t *out)
{
	const struct pi_layout *l = layout_of(type);
	if (type == PI_NONE)
		return;
	put_field(out, l->guard_bytes, tuple->guard);
	put_be16(out + l->guard_bytes, tuple->app_tag);
	put_field(out + l->guard_bytes + APP_BYTES, l->ref_bytes, tuple->ref_tag);
}

struct pi_tuple pi_decode(enum pi_type type, const uint8_t *in)
{
	const struct pi_layout *l = layout_of(type);
	if (type == PI_NONE)
		return (struct pi_tuple){0};
	return (struct pi_tuple){
		.guard = get_field(in, l->guard_bytes),
		.app_tag = get_be16(in + l->guard_bytes),
		.ref_tag = get_field(in + l->guard_bytes + APP_BYTES, l->ref_bytes),
	};
}

void pi_generate(enum pi_type type, const void *data, uint32_t blocks, uint64_t member_block,
	uint8_t *tuples)
{
	if (type == PI_NONE)
		return;
	const uint8_t *block = data;
	for (uint32_t i = 0; i < blocks; i++, block += BLOCK_BYTES) {
		struct pi_tuple tuple = {
			.guard = pi_guard(type, block, BLOCK_BYTES),
			.app_tag = PI_APP_WRITTEN,
			.ref_tag = member_block + i,
		};
		pi_encode(type, &tuple, tuples);
		tuples += pi_tuple_bytes(type);
	}
}

void pi_fill_escape(enum pi_type type, uint32_t blocks, uint8_t *tuples)
{
	if (type != PI_NONE) /* else @tuples may be NULL */
		memset(tuples, 0xff, (size_t)blocks * pi_tuple_bytes(type));
}

uint16_t pi_app_tag(enum pi_type type, const uint8_t *tuple)
{
	assert(type != PI_NONE);
	return get_be16(tuple + layout_of(type)->guard_bytes);
}

void pi_set_app_tag(enum pi_type type, uint16_t app_tag, uint8_t *tuple)
{
	assert(type != PI_NONE);
	put_be16(tuple + layout_of(type)->guard_bytes, app_tag);
}

bool pi_is_escape(enum pi_type type, const uint8_t *tuple)
{
	static const uint8_t escape[PI_MAX_TUPLE_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	return type != PI_NONE && memcmp(tuple, escape, pi_tuple_bytes(type)) == 0;
}

static bool app_tag_is_escape(const struct pi_layout *l, const uint8_t *tuple)
{
	return get_be16(tuple + l->guard_bytes) == PI_APP_ESCAPE;
}

/* Compares the whole field, so that damage in bytes that are always 0 is found too. */
static bool ref_matches(const struct pi_layout *l, uint64_t member_block, const uint8_t *tuple)
{
	uint8_t want[PI_MAX_TUPLE_BYTES];
	put_field(want, l->ref_bytes, member_block);
	return memcmp(tuple + l->guard_bytes + APP_BYTES, want, l->ref_bytes) == 0;
}

/* The order of checks is I2: the guard is the dear one, and a block that a misdirected write has
 * put here has a good guard. */
enum pi_verdict pi_verify(
	enum pi_type type, const void *block, uint64_t member_block, const uint8_t *tuple)
{
	const struct pi_layout *l = layout_of(type);
	if (type == PI_NONE)
		return PI_GOOD;
	if (pi_is_escape(type, tuple))
		return PI_ESCAPED;
	if (!ref_matches(l, member_block, tuple))
		return PI_BAD_REF;
	if (app_tag_is_escape(l, tuple) ||
		get_field(tuple, l->guard_bytes) != pi_guard(type, block, BLOCK_BYTES))
		return PI_BAD_GUARD;
	return PI_GOOD;
}

const char *pi_verdict_name(enum pi_verdict verdict)
{
	switch (verdict) {
	case PI_GOOD:
		return "good";
	case PI_ESCAPED:
		return "escaped";
	case PI_BAD_REF:
		return "ref tag";
	case PI_BAD_GUARD:
		return "guard";
	}
	return "unknown";
}
