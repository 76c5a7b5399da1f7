/* SPDX-License-Identifier: MIT */
/* Fuzz target: any 4096 bytes as a superblock, as they are and with a checksum that matches (so
 * that the checks behind it are reached too). What is accepted must encode and decode to itself.
 * With clang: -fsanitize=fuzzer,address,undefined; else replay.c runs it over files. */
#include <string.h>
#include "base/crc32c.h"
#include "base/endian.h"
#include "fuzz.h"
#include "member/super.h"

#define CRC_OFFSET 12

static void try_block(const uint8_t *block)
{
	struct super super, again;
	struct errmsg why = {0};
	uint8_t encoded[SUPER_BYTES];
	int err = super_decode(block, UINT64_MAX, &super, &why);
	if (err < 0) {
		fuzz_demand(why.text[0] != 0);
		return;
	}
	fuzz_demand(super_regions(&super) <= SUPER_MAX_REGIONS);
	fuzz_demand(super.data.offset_bytes + super_data_blocks(&super) * BLOCK_BYTES <=
		    super.member_bytes - SUPER_TAIL_BYTES);
	super_encode(&super, encoded);
	fuzz_demand(super_decode(encoded, super.member_bytes, &again, NULL) == 0);
	fuzz_demand(super_decode(encoded, super.member_bytes - 1, &again, NULL) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	uint8_t block[SUPER_BYTES] = {0};
	memcpy(block, data, min_u64(len_bytes, SUPER_BYTES));
	try_block(block);
	put_le32(block + CRC_OFFSET, 0);
	put_le32(block + CRC_OFFSET, crc32c(block, SUPER_BYTES));
	try_block(block);
	return 0;
}

static const struct super_seed {
	const char *name;
	unsigned level, members, index;
	enum pi_type pi;
	uint64_t stripes;
} super_seeds[] = {
	{"single-none", 0, 1, 0, PI_NONE, 1},
	{"raid1-crc32c", 1, 2, 1, PI_CRC32C, 1000},
	{"raid5-t10", 5, 3, 2, PI_T10, 64},
	{"raid5-crc64", 5, 16, 0, PI_CRC64, 1 << 20},
	{"spare", 5, 4, SUPER_INDEX_SPARE, PI_T10, 64},
};

/* The fields alone: what is behind them is zero, and LLVMFuzzerTestOneInput() adds it. */
#define SEED_BYTES 512u

static bool super_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	if (n >= sizeof(super_seeds) / sizeof(*super_seeds))
		return false;
	const struct super_seed *seed = &super_seeds[n];
	struct super super = {.level = seed->level,
		.members = seed->members,
		.index = seed->index,
		.pi = seed->pi,
		.chunk_blocks = 16,
		.generation = 8,
		.write_hole = seed->level == 5 ? SUPER_HOLE_JOURNAL : SUPER_HOLE_BITMAP,
		.stale_since = n % 2 ? 6 : 0,
		.label = "seed"};
	uint8_t block[SUPER_BYTES];
	for (unsigned i = 0; i < seed->members; i++) {
		super.states[i] = (enum super_member_state)(i % 3);
		memset(super.peers[i], (int)i + 1, 16);
	}
	memset(super.volume_uuid, 0xa5, 16);
	fuzz_demand(super_layout(&super, seed->stripes, 65536, NULL) == 0);
	super_encode(&super, block);
	memcpy(out, block, SEED_BYTES);
	*len_bytes = SEED_BYTES;
	*name = seed->name;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = 2000, .seed = super_seed};
