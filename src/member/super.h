/* SPDX-License-Identifier: MIT */
/* What a superblock says, decoded; its bytes are super_disk.c's alone (docs/format.md).
 *
 * A member begins and ends with a copy: copy A at 4 KiB, copy B in the last whole 64 KiB of the
 * file or device, so that either is found without the other. */
#ifndef STABLEFS_MEMBER_SUPER_H
#define STABLEFS_MEMBER_SUPER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/block.h"
#include "base/errmsg.h"
#include "pi/pi.h"

#define SUPER_BYTES            4096u
#define SUPER_A_OFFSET         UINT64_C(4096)
#define SUPER_MAX_MEMBERS      16u
#define SUPER_LABEL_BYTES      32u
#define SUPER_TAIL_BYTES       UINT64_C(65536) /* copy B stands at the start of the last 64 KiB */
#define SUPER_MIN_MEMBER_BYTES (UINT64_C(8) << 20)
#define SUPER_MAX_MEMBER_BYTES (UINT64_C(1) << 56)
#define SUPER_MAX_REGIONS      UINT64_C(262144) /* of the intent log */
#define SUPER_INTENT_MIN_BYTES UINT64_C(131072) /* holds the log of SUPER_MAX_REGIONS */
#define SUPER_INDEX_SPARE      255u             /* super.index of a member that waits its turn */

enum pi_check { PI_CHECK_NONE = 0, PI_CHECK_DEVICE = 1 };

/* What protects a stripe that a crash interrupts: marks alone, or the partial-write log too. */
enum super_write_hole { SUPER_HOLE_BITMAP = 0, SUPER_HOLE_JOURNAL = 1 };

/* The state of each member as the volume last recorded it. A member that is being rebuilt is up to
 * date but for the stripes of the regions that the intent log calls stale. */
enum super_member_state {
	SUPER_MEMBER_MISSING = 0,
	SUPER_MEMBER_ACTIVE = 1,
	SUPER_MEMBER_REBUILDING = 2,
};

/* A range of the member, in bytes; multiples of 4 KiB. */
struct super_area {
	uint64_t offset_bytes, len_bytes;
};

struct super {
	uint8_t volume_uuid[16];
	uint8_t member_uuid[16];
	char label[SUPER_LABEL_BYTES]; /* NUL-terminated */
	uint64_t created_ns;           /* CLOCK_REALTIME */
	uint64_t generation;           /* grows at each mount and each change of membership */
	bool clean;                    /* the last mount ended with everything written */
	unsigned level;                /* enum raid_level */
	unsigned members, index;       /* index: SUPER_INDEX_SPARE for a spare */
	unsigned chunk_blocks;
	uint64_t stripes;
	enum pi_type pi;
	enum pi_check pi_check;
	enum super_write_hole write_hole;
	enum super_member_state states[SUPER_MAX_MEMBERS];
	/* Who each member is: a returning one that was replaced meanwhile is told by that. */
	uint8_t peers[SUPER_MAX_MEMBERS][16]; /* member_uuid by index; zeros behind members */
	/* The generation under which every member was last up to date, where one is not now: the
	 * intent log's stale regions are all that changed since. 0: every member is up to date. */
	uint64_t stale_since;
	struct super_area intent;  /* write-intent and stale bitmaps */
	struct super_area journal; /* the partial-write log */
	struct super_area system;  /* the mirrored system area */
	struct super_area tuples;  /* PI; empty without */
	struct super_area data;
	uint64_t region_blocks; /* member blocks covered by one intent bit */
	uint64_t member_bytes;  /* what the volume needs of the file or device; 64 KiB multiple */
};

/* Where copy B stands in a file or device of @file_bytes bytes; 0 where it is too small for one. */
static inline uint64_t super_b_offset(uint64_t file_bytes)
{
	uint64_t end = round_down_u64(file_bytes, SUPER_TAIL_BYTES);
	return end < SUPER_MIN_MEMBER_BYTES ? 0 : end - SUPER_TAIL_BYTES;
}

/* Blocks of the data area that stripes use, and the intent regions that cover them. */
static inline uint64_t super_data_blocks(const struct super *super)
{
	return super->stripes * super->chunk_blocks;
}

static inline uint64_t super_regions(const struct super *super)
{
	return (super_data_blocks(super) + super->region_blocks - 1) / super->region_blocks;
}

/* Choose the areas for @super (level, members, chunk_blocks, pi are set) so that @stripes stripes
 * fit; sets stripes, areas, region_blocks, member_bytes. -EINVAL: no stripes. -EFBIG beyond the
 * format's limits. */
int super_layout(struct super *super, uint64_t stripes, uint64_t system_bytes, struct errmsg *why);

/* The most stripes that fit into members of @member_bytes with a system area of @system_bytes;
 * 0 where none does. */
uint64_t super_fit_stripes(const struct super *super, uint64_t member_bytes, uint64_t system_bytes);

/* Encode into SUPER_BYTES bytes, little-endian, with version and CRC-32C. */
void super_encode(const struct super *super, uint8_t *out);

/* Decode and check everything that a hostile image could have wrong (areas inside the member and
 * not overlapping, counts within bounds, geometry consistent). Never reads beyond @in.
 * @member_bytes: size of the file or device; UINT64_MAX where it does not matter.
 * -ENOMSG: no magic (not a member); -EPROTONOSUPPORT: a newer version; -EUCLEAN: a magic, but
 * checksum or content are damaged. */
int super_decode(const uint8_t *in, uint64_t member_bytes, struct super *out, struct errmsg *why);

#endif
