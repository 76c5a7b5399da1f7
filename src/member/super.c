/* SPDX-License-Identifier: MIT */
/* The layout of a member: which area lies where, and how many stripes fit.
 *
 *	0	4 KiB	64 KiB	1 MiB					    end - 64 KiB	end
 *	| free	| copy A | intent | journal | system | tuples | (gap) data ... | copy B	|
 *
 * The data area begins at a multiple of 1 MiB, so that chunks keep the alignment of the device.
 * Every length grows with the number of stripes, so super_fit_stripes() can search by halves. */
#include "member/super.h"

#include <errno.h>
#include <inttypes.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

#define INTENT_OFFSET     (64 * KIB)
#define INTENT_END        MIB
#define JOURNAL_MIN_BYTES (256 * KIB)
#define JOURNAL_MAX_BYTES (64 * MIB)
#define JOURNAL_RECORDS   3  /* the largest that fit at least: a partial write of a whole stripe */
#define JOURNAL_SHARE     16 /* of the data: one sixteenth, within the bounds above */
#define DATA_ALIGN_BYTES  MIB

/* One bit covers at least 1 MiB; a bitmap of this many regions is written as one block. */
#define REGION_MIN_BLOCKS UINT64_C(256)
#define REGIONS_ONE_BLOCK UINT64_C(31744)

_Static_assert(INTENT_END - INTENT_OFFSET >= SUPER_INTENT_MIN_BYTES, "room for the intent log");
_Static_assert(REGIONS_ONE_BLOCK <= SUPER_MAX_REGIONS, "the layout keeps to the format");

/* A record is a header and every block of a stripe; the ring has a header too. Only levels with
 * parity keep one. */
static uint64_t journal_least_bytes(const struct super *super)
{
	uint64_t record = 1 + (uint64_t)super->chunk_blocks * super->members;
	uint64_t least = round_up_u64((1 + JOURNAL_RECORDS * record) * BLOCK_BYTES, 64 * KIB);
	return super->level > 1 ? max_u64(least, JOURNAL_MIN_BYTES) : JOURNAL_MIN_BYTES;
}

static uint64_t journal_bytes(const struct super *super, uint64_t data_bytes)
{
	uint64_t share = round_up_u64(data_bytes / JOURNAL_SHARE, 64 * KIB);
	return min_u64(max_u64(share, journal_least_bytes(super)), JOURNAL_MAX_BYTES);
}

/* REGION_MIN_BLOCKS is a multiple of every chunk size, so no stripe lies in two regions. */
static uint64_t region_blocks(uint64_t data_blocks)
{
	uint64_t least = (data_blocks + REGIONS_ONE_BLOCK - 1) / REGIONS_ONE_BLOCK;
	return round_up_u64(max_u64(least, 1), REGION_MIN_BLOCKS);
}

static uint64_t area_place(struct super_area *area, uint64_t offset_bytes, uint64_t len_bytes)
{
	*area = (struct super_area){offset_bytes, len_bytes};
	return offset_bytes + len_bytes;
}

static bool stripes_too_many(const struct super *super, uint64_t stripes, uint64_t system_bytes)
{
	return stripes > SUPER_MAX_MEMBER_BYTES / BLOCK_BYTES / super->chunk_blocks ||
	       system_bytes > SUPER_MAX_MEMBER_BYTES;
}

int super_layout(struct super *super, uint64_t stripes, uint64_t system_bytes, struct errmsg *why)
{
	if (!stripes)
		return errmsg_set(why, -EINVAL, "a member needs room for one stripe at least");
	if (stripes_too_many(super, stripes, system_bytes))
		return errmsg_set(
			why, -EFBIG, "%" PRIu64 " stripes are beyond the format's limit", stripes);
	uint64_t data_blocks = stripes * super->chunk_blocks;
	uint64_t tuple_bytes = round_up_u64(data_blocks * pi_tuple_bytes(super->pi), BLOCK_BYTES);

	super->stripes = stripes;
	super->region_blocks = region_blocks(data_blocks);
	uint64_t at = area_place(&super->intent, INTENT_OFFSET, INTENT_END - INTENT_OFFSET);
	at = area_place(&super->journal, at, journal_bytes(super, data_blocks * BLOCK_BYTES));
	at = area_place(&super->system, at, round_up_u64(system_bytes, BLOCK_BYTES));
	at = area_place(&super->tuples, at, tuple_bytes);
	at = area_place(
		&super->data, round_up_u64(at, DATA_ALIGN_BYTES), data_blocks * BLOCK_BYTES);
	super->member_bytes = max_u64(
		round_up_u64(at, SUPER_TAIL_BYTES) + SUPER_TAIL_BYTES, SUPER_MIN_MEMBER_BYTES);
	if (super->member_bytes > SUPER_MAX_MEMBER_BYTES)
		return errmsg_set(why, -EFBIG,
			"a member of %" PRIu64 " bytes is beyond the format's limit",
			super->member_bytes);
	return 0;
}

uint64_t super_fit_stripes(const struct super *super, uint64_t member_bytes, uint64_t system_bytes)
{
	struct super trial = *super;
	uint64_t fits = 0;
	uint64_t beyond =
		min_u64(member_bytes, SUPER_MAX_MEMBER_BYTES) / BLOCK_BYTES / super->chunk_blocks +
		1;

	while (fits + 1 < beyond) {
		uint64_t stripes = fits + (beyond - fits) / 2;
		if (super_layout(&trial, stripes, system_bytes, NULL) == 0 &&
			trial.member_bytes <= member_bytes)
			fits = stripes;
		else
			beyond = stripes;
	}
	return fits;
}
