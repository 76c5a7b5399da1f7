/* SPDX-License-Identifier: MIT */
/* The bytes of a superblock (docs/format.md, "Superblock"); nobody else knows them.
 *
 * Little-endian. The first 16 bytes (magic, version, checksum) keep their place and meaning in
 * every version, so that damage and "too new" can be told apart. The decoder trusts nothing: a
 * checksum that matches proves that the bytes were not damaged, not that they mean well. */
#include "member/super.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "base/crc32c.h"
#include "base/endian.h"

#define SUPER_MAGIC         "STABLEFS"
#define SUPER_VERSION_LEAST 2u
#define SUPER_VERSION       3u /* its partial-write log can have gaps: only where there is one */
#define FLAG_CLEAN          1u

enum offset {
	OFF_MAGIC = 0,
	OFF_VERSION = 8,
	OFF_CRC = 12,
	OFF_GENERATION = 16,
	OFF_CREATED_NS = 24,
	OFF_VOLUME_UUID = 32,
	OFF_MEMBER_UUID = 48,
	OFF_LABEL = 64,
	OFF_FLAGS = 96,
	OFF_LEVEL = 100,
	OFF_MEMBERS = 104,
	OFF_INDEX = 108,
	OFF_CHUNK_BLOCKS = 112,
	OFF_PI = 116,
	OFF_PI_CHECK = 120,
	OFF_WRITE_HOLE = 124,
	OFF_STRIPES = 128,
	OFF_REGION_BLOCKS = 136,
	OFF_MEMBER_BYTES = 144,
	OFF_STALE_SINCE = 152,
	OFF_INTENT = 160,
	OFF_JOURNAL = 176,
	OFF_SYSTEM = 192,
	OFF_TUPLES = 208,
	OFF_DATA = 224,
	OFF_STATES = 240,
	OFF_PEERS = 256,
	OFF_END = 512,
};

_Static_assert(OFF_LABEL + SUPER_LABEL_BYTES == OFF_FLAGS, "label");
_Static_assert(OFF_STATES + SUPER_MAX_MEMBERS == OFF_PEERS, "states");
_Static_assert(OFF_PEERS + SUPER_MAX_MEMBERS * 16 == OFF_END, "peers");

static void area_encode(const struct super_area *area, uint8_t *out)
{
	put_le64(out, area->offset_bytes);
	put_le64(out + 8, area->len_bytes);
}

static struct super_area area_decode(const uint8_t *in)
{
	return (struct super_area){get_le64(in), get_le64(in + 8)};
}

/* CRC-32C of the block with the checksum's own field as zeros. */
static uint32_t block_crc(const uint8_t *block)
{
	uint8_t copy[SUPER_BYTES];
	memcpy(copy, block, SUPER_BYTES);
	put_le32(copy + OFF_CRC, 0);
	return crc32c(copy, SUPER_BYTES);
}

static uint32_t version_of(const struct super *super)
{
	return super->write_hole == SUPER_HOLE_JOURNAL ? SUPER_VERSION : SUPER_VERSION_LEAST;
}

void super_encode(const struct super *super, uint8_t *out)
{
	memset(out, 0, SUPER_BYTES);
	memcpy(out + OFF_MAGIC, SUPER_MAGIC, 8);
	put_le32(out + OFF_VERSION, version_of(super));
	put_le64(out + OFF_GENERATION, super->generation);
	put_le64(out + OFF_CREATED_NS, super->created_ns);
	memcpy(out + OFF_VOLUME_UUID, super->volume_uuid, 16);
	memcpy(out + OFF_MEMBER_UUID, super->member_uuid, 16);
	memcpy(out + OFF_LABEL, super->label, strnlen(super->label, SUPER_LABEL_BYTES - 1));
	put_le32(out + OFF_FLAGS, super->clean ? FLAG_CLEAN : 0);
	put_le32(out + OFF_LEVEL, super->level);
	put_le32(out + OFF_MEMBERS, super->members);
	put_le32(out + OFF_INDEX, super->index);
	put_le32(out + OFF_CHUNK_BLOCKS, super->chunk_blocks);
	put_le32(out + OFF_PI, super->pi);
	put_le32(out + OFF_PI_CHECK, super->pi_check);
	put_le32(out + OFF_WRITE_HOLE, super->write_hole);
	put_le64(out + OFF_STALE_SINCE, super->stale_since);
	put_le64(out + OFF_STRIPES, super->stripes);
	put_le64(out + OFF_REGION_BLOCKS, super->region_blocks);
	put_le64(out + OFF_MEMBER_BYTES, super->member_bytes);
	area_encode(&super->intent, out + OFF_INTENT);
	area_encode(&super->journal, out + OFF_JOURNAL);
	area_encode(&super->system, out + OFF_SYSTEM);
	area_encode(&super->tuples, out + OFF_TUPLES);
	area_encode(&super->data, out + OFF_DATA);
	for (unsigned i = 0; i < super->members && i < SUPER_MAX_MEMBERS; i++) {
		out[OFF_STATES + i] = (uint8_t)super->states[i];
		memcpy(out + OFF_PEERS + i * 16, super->peers[i], 16);
	}
	put_le32(out + OFF_CRC, block_crc(out));
}

/* Fields whose type in memory is narrower in meaning than 32 bits (enums) are checked by
 * check_counts() before anybody else sees them. */
static void fields_decode(const uint8_t *in, struct super *out)
{
	*out = (struct super){0};
	out->generation = get_le64(in + OFF_GENERATION);
	out->created_ns = get_le64(in + OFF_CREATED_NS);
	memcpy(out->volume_uuid, in + OFF_VOLUME_UUID, 16);
	memcpy(out->member_uuid, in + OFF_MEMBER_UUID, 16);
	memcpy(out->label, in + OFF_LABEL, SUPER_LABEL_BYTES);
	out->clean = get_le32(in + OFF_FLAGS) & FLAG_CLEAN;
	out->level = get_le32(in + OFF_LEVEL);
	out->members = get_le32(in + OFF_MEMBERS);
	out->index = get_le32(in + OFF_INDEX);
	out->chunk_blocks = get_le32(in + OFF_CHUNK_BLOCKS);
	out->pi = get_le32(in + OFF_PI);
	out->pi_check = get_le32(in + OFF_PI_CHECK);
	out->write_hole = get_le32(in + OFF_WRITE_HOLE);
	out->stale_since = get_le64(in + OFF_STALE_SINCE);
	out->stripes = get_le64(in + OFF_STRIPES);
	out->region_blocks = get_le64(in + OFF_REGION_BLOCKS);
	out->member_bytes = get_le64(in + OFF_MEMBER_BYTES);
	out->intent = area_decode(in + OFF_INTENT);
	out->journal = area_decode(in + OFF_JOURNAL);
	out->system = area_decode(in + OFF_SYSTEM);
	out->tuples = area_decode(in + OFF_TUPLES);
	out->data = area_decode(in + OFF_DATA);
	for (unsigned i = 0; i < SUPER_MAX_MEMBERS; i++) {
		out->states[i] = in[OFF_STATES + i];
		memcpy(out->peers[i], in + OFF_PEERS + i * 16, 16);
	}
}

static bool bytes_are_zero(const uint8_t *in, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (in[i])
			return false;
	return true;
}

static bool members_suit_level(const struct super *super)
{
	switch (super->level) {
	case 0:
		return super->members == 1;
	case 1:
		return super->members >= 2 && super->members <= 8;
	case 5:
		return super->members >= 3 && super->members <= SUPER_MAX_MEMBERS;
	case 6:
		return super->members >= 4 && super->members <= SUPER_MAX_MEMBERS;
	default:
		return false;
	}
}

static int wrong(struct errmsg *why, const char *what)
{
	return errmsg_set(why, -EUCLEAN, "the superblock has a good checksum but %s", what);
}

static int check_reserved(const uint8_t *in, struct errmsg *why)
{
	if (get_le32(in + OFF_FLAGS) & ~FLAG_CLEAN)
		return wrong(why, "unknown flags");
	if (!bytes_are_zero(in + OFF_END, SUPER_BYTES - OFF_END))
		return wrong(why, "reserved bytes that are not zero");
	if (!memchr(in + OFF_LABEL, 0, SUPER_LABEL_BYTES))
		return wrong(why, "a label without an end");
	return 0;
}

static int check_states(const struct super *super, struct errmsg *why)
{
	for (unsigned i = 0; i < SUPER_MAX_MEMBERS; i++) {
		unsigned state = super->states[i];
		if (state > SUPER_MEMBER_REBUILDING || (state && i >= super->members))
			return wrong(why, "a member state that does not exist");
		if (i >= super->members && !bytes_are_zero(super->peers[i], 16))
			return wrong(why, "the name of a member that does not exist");
	}
	return 0;
}

static int check_counts(const struct super *super, struct errmsg *why)
{
	if (!members_suit_level(super))
		return wrong(why, "a level and a number of members that do not exist together");
	if (super->index >= super->members && super->index != SUPER_INDEX_SPARE)
		return wrong(why, "an index beyond its members");
	if (!super->chunk_blocks || super->chunk_blocks > 256 ||
		(super->chunk_blocks & (super->chunk_blocks - 1)))
		return wrong(why, "a chunk size that is not 4 KiB to 1 MiB");
	if ((unsigned)super->pi > PI_CRC64 || (unsigned)super->pi_check > PI_CHECK_DEVICE)
		return wrong(why, "an unknown kind of protection information");
	if ((unsigned)super->write_hole > SUPER_HOLE_JOURNAL)
		return wrong(why, "an unknown way to close the write hole");
	if (!super->stripes ||
		super->stripes > SUPER_MAX_MEMBER_BYTES / BLOCK_BYTES / super->chunk_blocks)
		return wrong(why, "an impossible number of stripes");
	if (!super->region_blocks || super->region_blocks > SUPER_MAX_MEMBER_BYTES ||
		super->region_blocks % super->chunk_blocks ||
		super_regions(super) > SUPER_MAX_REGIONS)
		return wrong(why, "impossible regions of the write-intent log");
	if (super->member_bytes < SUPER_MIN_MEMBER_BYTES ||
		super->member_bytes > SUPER_MAX_MEMBER_BYTES ||
		super->member_bytes % SUPER_TAIL_BYTES)
		return wrong(why, "an impossible member size");
	return check_states(super, why);
}

/* Areas stand in this order, each behind the one before, within the two copies. */
static int check_areas(const struct super *super, struct errmsg *why)
{
	const struct super_area *const areas[] = {
		&super->intent, &super->journal, &super->system, &super->tuples, &super->data};
	uint64_t at = SUPER_A_OFFSET + SUPER_BYTES;
	uint64_t end = super->member_bytes - SUPER_TAIL_BYTES;

	for (unsigned i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		if ((areas[i]->offset_bytes | areas[i]->len_bytes) % BLOCK_BYTES)
			return wrong(why, "an area that is not made of whole blocks");
		if (areas[i]->offset_bytes < at || areas[i]->offset_bytes > end ||
			areas[i]->len_bytes > end - areas[i]->offset_bytes)
			return wrong(why, "areas that overlap or leave the member");
		at = areas[i]->offset_bytes + areas[i]->len_bytes;
	}
	uint64_t blocks = super_data_blocks(super);
	if (super->intent.len_bytes < SUPER_INTENT_MIN_BYTES)
		return wrong(why, "too little room for the write-intent log");
	if (super->data.len_bytes / BLOCK_BYTES < blocks)
		return wrong(why, "a data area that is smaller than its stripes");
	if (super->tuples.len_bytes < blocks * pi_tuple_bytes(super->pi))
		return wrong(why, "too little room for its tuples");
	return 0;
}

int super_decode(const uint8_t *in, uint64_t member_bytes, struct super *out, struct errmsg *why)
{
	if (memcmp(in + OFF_MAGIC, SUPER_MAGIC, 8) != 0)
		return errmsg_set(why, -ENOMSG, "there is no stablefs superblock");
	if (get_le32(in + OFF_CRC) != block_crc(in))
		return errmsg_set(why, -EUCLEAN, "the superblock's checksum is wrong");
	uint32_t version = get_le32(in + OFF_VERSION);
	if (version < SUPER_VERSION_LEAST || version > SUPER_VERSION)
		return errmsg_set(why, -EPROTONOSUPPORT,
			"the superblock is of version %" PRIu32
			", this program knows versions %u to %u",
			version, SUPER_VERSION_LEAST, SUPER_VERSION);
	int err = check_reserved(in, why);
	if (err < 0)
		return err;
	struct super super;
	fields_decode(in, &super);
	err = check_counts(&super, why);
	if (err < 0)
		return err;
	err = check_areas(&super, why);
	if (err < 0)
		return err;
	if (super.member_bytes > member_bytes)
		return errmsg_set(why, -EUCLEAN,
			"%" PRIu64 " bytes, the volume needs %" PRIu64 ": truncated?", member_bytes,
			super.member_bytes);
	*out = super;
	return 0;
}
