/* SPDX-License-Identifier: MIT */
/* Fuzz target: any 4096 bytes as a superblock, as they are and with a checksum that matches (so
 * that the checks behind it are reached too). What is accepted must encode and decode to itself.
 * With clang: -fsanitize=fuzzer,address,undefined; else replay.c runs it over files. */
#include <stddef.h>
#include <stdlib.h>
#include "base/crc32c.h"
#include "base/endian.h"
#include "member/super.h"

#define CRC_OFFSET 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void try_block(const uint8_t *block)
{
	struct super super, again;
	struct errmsg why = {0};
	uint8_t encoded[SUPER_BYTES];
	int err = super_decode(block, UINT64_MAX, &super, &why);
	if (err < 0) {
		demand(why.text[0] != 0);
		return;
	}
	demand(super_regions(&super) <= SUPER_MAX_REGIONS);
	demand(super.data.offset_bytes + super_data_blocks(&super) * BLOCK_BYTES <=
		super.member_bytes - SUPER_TAIL_BYTES);
	super_encode(&super, encoded);
	demand(super_decode(encoded, super.member_bytes, &again, NULL) == 0);
	demand(super_decode(encoded, super.member_bytes - 1, &again, NULL) < 0);
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
