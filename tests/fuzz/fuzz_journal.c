/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as the journal area of a member. The log loads whatever they are, within
 * the members' bounds, and can be asked for every row and begun anew.
 *
 * The first byte of the input: bit 0, make the checksums of header and batches fit; bit 1, begin a
 * new epoch afterwards. Then the area: header, batches. */
#include "area_world.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "journal/journal.h"
#include "journal/journal_disk.h"

#define STRIPES    16u
#define AREA_BYTES 61440u
#define COOKIE     UINT64_C(0x1234567890abcdef)

enum flag { FLAG_SEAL = 1, FLAG_BEGIN = 2 };

static const uint8_t area_magic[] = "SFSJRNAL", batch_magic[] = "SFSPWL"; /* of all versions */

static void block_seal(uint8_t *block)
{
	put_le32(block + 8, 0);
	put_le32(block + 8, crc32c(block, BLOCK_BYTES));
}

static uint32_t payload_crc(const uint8_t *payload, uint32_t blocks)
{
	uint32_t chain = 0;
	for (uint32_t i = 0; i < blocks; i++)
		chain = journal_disk_crc_add(chain, payload + i * (size_t)BLOCK_BYTES);
	return chain;
}

/* The payload's checksums too, as far as the records say sensible things. */
static void batch_seal(const struct super *super, uint8_t *area, uint32_t at)
{
	uint8_t *block = area + (at + 1) * (size_t)BLOCK_BYTES;
	struct journal_disk_batch batch;
	uint32_t record_at = 0, payload_at = at + 2;
	block_seal(block);
	if (!journal_disk_batch_decode(super, get_le64(area + 32), at, block, &batch))
		return;
	for (unsigned i = 0; i < batch.record_count; i++) {
		struct journal_disk_record record;
		uint8_t *crc = block + JOURNAL_BATCH_HEADER + record_at + 8;
		journal_disk_record_decode(block, &record_at, &record);
		if ((payload_at + record.payload_blocks) * (size_t)BLOCK_BYTES > AREA_BYTES)
			break;
		put_le32(crc, payload_crc(area + payload_at * (size_t)BLOCK_BYTES,
				      record.payload_blocks));
		payload_at += record.payload_blocks;
	}
	block_seal(block);
}

static void area_seal(const struct super *super, uint8_t *area)
{
	if (memcmp(area, area_magic, 8) == 0)
		block_seal(area);
	for (uint32_t at = AREA_BYTES / BLOCK_BYTES - 1; at-- > 0;)
		if (memcmp(area + (at + 1) * (size_t)BLOCK_BYTES, batch_magic, 6) == 0)
			batch_seal(super, area, at);
}

/* The whole block can be read. */
static void touch(const uint8_t *block)
{
	volatile uint8_t ends = block[0] ^ block[BLOCK_BYTES - 1];
	(void)ends;
}

static void ask_for_all(struct journal *j, const struct super *super)
{
	for (uint64_t stripe = 0; stripe < STRIPES; stripe++) {
		for (unsigned m = 0; m < AW_MEMBERS; m++)
			for (unsigned row = 0; row < super->chunk_blocks; row++) {
				struct journal_found found;
				if (!journal_find(j, m, stripe, row, &found))
					continue;
				fuzz_demand(found.slots && found.slots >> AW_MEMBERS == 0);
				for (unsigned slot = 0; slot < AW_MEMBERS; slot++)
					if (found.slots >> slot & 1)
						touch(found.block[slot]);
				(void)journal_holds(j, m, stripe, row);
			}
		if (stripe % 2)
			journal_forget(j, stripe);
	}
}

static void load(struct area_world *aw, const struct super *super, unsigned flags)
{
	struct journal *j;
	fuzz_demand(journal_load(aw->io, aw->members, AW_MEMBERS, false, &j, NULL) == 0);
	ask_for_all(j, super);
	if (flags & FLAG_BEGIN)
		fuzz_demand(journal_begin(j, 4) == 0);
	else
		fuzz_demand(journal_resume(j) == 0);
	journal_free(j);
	if (!(flags & FLAG_BEGIN))
		return;
	fuzz_demand(journal_load(aw->io, aw->members, AW_MEMBERS, false, &j, NULL) == 0);
	for (uint64_t stripe = 0; stripe < STRIPES; stripe++)
		for (unsigned row = 0; row < super->chunk_blocks; row++) {
			struct journal_found found;
			fuzz_demand(!journal_find(j, 0, stripe, row, &found));
		}
	journal_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t area[AREA_BYTES];
	struct area_world aw;
	if (!len_bytes)
		return 0;
	struct super super = aw_super(STRIPES, 4);
	aw_init(&aw, &super);
	for (unsigned i = 1; i < AW_MEMBERS; i++)
		fuzz_demand(journal_format(aw.members[i]) == 0);
	memset(area, 0, AREA_BYTES);
	memcpy(area, data + 1, min_u64(len_bytes - 1, AREA_BYTES));
	if (data[0] & FLAG_SEAL)
		area_seal(&super, area);
	aw_poke(&aw, 0, super.journal.offset_bytes, area, AREA_BYTES);
	load(&aw, &super, data[0]);
	aw_fini(&aw);
	return 0;
}

/* ---- the corpus it begins with ---- */

/* A batch of one record with @rows rows of @stripe; gives the block behind it. */
static uint32_t batch_put(const struct super *super, uint8_t *area, uint32_t at, uint64_t seq,
	uint64_t tail, uint64_t durable, uint64_t stripe, unsigned rows, bool superseded)
{
	uint8_t *block = area + (at + 1) * (size_t)BLOCK_BYTES, *payload = block + BLOCK_BYTES;
	struct journal_run run = {.row = 0,
		.rows = (uint16_t)rows,
		.superseded = superseded,
		.slots = superseded ? 0 : 5};
	uint32_t blocks = journal_disk_run_blocks(&run);
	memset(payload, (int)seq, blocks * (size_t)BLOCK_BYTES);
	struct journal_append append = {.stripe = stripe,
		.members = 1,
		.number = seq,
		.runs = &run,
		.run_count = 1,
		.payload_blocks = blocks,
		.crc = payload_crc(payload, blocks)};
	struct journal_disk_batch batch = {.seq = seq,
		.tail = tail,
		.durable = durable,
		.number = tail,
		.at = at,
		.payload_blocks = blocks,
		.record_count = 1,
		.record_bytes = (uint16_t)journal_disk_record_encode(&append, 0, block)};
	journal_disk_batch_encode(super, COOKIE, &batch, block);
	return at + 1 + blocks;
}

static bool journal_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	static const char *const names[] = {
		"one", "sealed", "several", "several-sealed", "gap", "gap-sealed"};
	if (n >= sizeof(names) / sizeof(*names))
		return false;
	struct super super = aw_super(STRIPES, 4);
	struct journal_disk_header header = {.cookie = COOKIE, .generation = 2};
	memset(out, 0, 1 + AREA_BYTES);
	out[0] = (uint8_t)(n % 4);
	journal_disk_header_encode(&super, &header, out + 1);
	uint32_t at = batch_put(&super, out + 1, 0, 1, 1, 0, 2, 1, false);
	if (n >= 2) {
		at = batch_put(&super, out + 1, at, 2, 1, 1, 5, 2, false);
		uint32_t third = at;
		at = batch_put(&super, out + 1, at, 3, 2, 2, 2, 4, true);
		at = batch_put(&super, out + 1, at, 4, 2, 2, 5, 1, false);
		if (n >= 4)
			memset(out + 1 + (third + 1) * (size_t)BLOCK_BYTES, 0, BLOCK_BYTES);
	}
	*len_bytes = 1 + (at + 1) * (size_t)BLOCK_BYTES;
	*name = names[n];
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = 400, .seed = journal_seed};
