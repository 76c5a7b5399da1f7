/* SPDX-License-Identifier: MIT */
/* The bytes of the journal area, little-endian.
 *
 *	header	0 magic, 8 CRC-32C, 12 zero, 16 volume UUID, 32 cookie, 40 blocks of the ring,
 *		48 generation, 56 number, zeros
 *	batch	0 magic, 8 CRC-32C, 12 payload blocks, 16 volume UUID, 32 cookie, 40 sequence
 *		number, 48 tail, 56 block of the ring, 60 bytes of records, 62 records, 64 number,
 *		72 records, zeros, 4088 durable
 *	record	0 stripe, 8 checksum of its payload, 12 runs, 14 members, 16 number, 24 runs
 *		(without runs: all zeros but the number, which is void)
 *	run	0 first row, 1 rows - 1, 2 slots (none: superseded, no payload)
 *
 * Both headers' checksums cover their whole block, with zeros in their own place. That of a payload
 * is a chain over its blocks: journal_disk_crc_add(). */
#include "journal/journal_disk.h"

#include <string.h>
#include "base/crc32c.h"
#include "base/endian.h"

#define AREA_MAGIC     "SFSJRNAL"
#define BATCH_MAGIC    "SFSPWLG3"
#define BATCH_MAGIC_V2 "SFSPWLOG" /* has no "durable", and records in its place */

enum area_offset {
	AREA_CRC = 8,
	AREA_UUID = 16,
	AREA_COOKIE = 32,
	AREA_RING_BLOCKS = 40,
	AREA_GENERATION = 48,
	AREA_NUMBER = 56,
};

enum batch_offset {
	BATCH_CRC = 8,
	BATCH_PAYLOAD = 12,
	BATCH_UUID = 16,
	BATCH_COOKIE = 32,
	BATCH_SEQ = 40,
	BATCH_TAIL = 48,
	BATCH_AT = 56,
	BATCH_RECORD_BYTES = 60,
	BATCH_RECORD_COUNT = 62,
	BATCH_NUMBER = 64,
	BATCH_RECORDS = 72,
	BATCH_DURABLE = 4088,
};

enum record_offset {
	RECORD_STRIPE = 0,
	RECORD_CRC = 8,
	RECORD_RUNS = 12,
	RECORD_MEMBERS = 14,
	RECORD_NUMBER = 16,
	RECORD_RUN = 24,
};

enum run_offset {
	RUN_ROW = 0,
	RUN_ROWS = 1,
	RUN_SLOTS = 2,
	RUN_BYTES = 4,
};

_Static_assert(BATCH_RECORDS == JOURNAL_BATCH_HEADER, "the header's size");
_Static_assert(BATCH_DURABLE + JOURNAL_BATCH_TRAILER == BLOCK_BYTES, "the last of the block");
_Static_assert(RECORD_RUN + 256 * RUN_BYTES <= JOURNAL_BATCH_RECORDS_MAX,
	"the record of any write fits into a batch");
_Static_assert(SUPER_MAX_MEMBERS <= 16, "slots, and members, are 16 bits");

uint32_t journal_disk_ring_blocks(const struct super *super)
{
	uint64_t blocks = super->journal.len_bytes / BLOCK_BYTES;
	return blocks ? (uint32_t)min_u64(blocks - 1, JOURNAL_RING_MAX_BLOCKS) : 0;
}

uint32_t journal_disk_crc_add(uint32_t chain, const uint8_t *block)
{
	uint8_t link[8];
	put_le32(link, chain);
	put_le32(link + 4, crc32c(block, BLOCK_BYTES));
	return crc32c(link, sizeof(link));
}

uint32_t journal_disk_run_blocks(const struct journal_run *run)
{
	return run->superseded ? 0 : run->rows * (unsigned)__builtin_popcount(run->slots);
}

static uint32_t block_crc(const uint8_t *block, unsigned crc_at)
{
	uint8_t copy[BLOCK_BYTES];
	memcpy(copy, block, BLOCK_BYTES);
	put_le32(copy + crc_at, 0);
	return crc32c(copy, BLOCK_BYTES);
}

/* ---- the area's header ---- */

void journal_disk_header_encode(
	const struct super *super, const struct journal_disk_header *header, uint8_t *out)
{
	memset(out, 0, BLOCK_BYTES);
	memcpy(out, AREA_MAGIC, 8);
	memcpy(out + AREA_UUID, super->volume_uuid, 16);
	put_le64(out + AREA_COOKIE, header->cookie);
	put_le64(out + AREA_RING_BLOCKS, journal_disk_ring_blocks(super));
	put_le64(out + AREA_GENERATION, header->generation);
	put_le64(out + AREA_NUMBER, header->number);
	put_le32(out + AREA_CRC, block_crc(out, AREA_CRC));
}

/* But for three fields nothing in it is free to vary: good is what we would write. */
bool journal_disk_header_decode(
	const struct super *super, const uint8_t *in, struct journal_disk_header *out)
{
	uint8_t expected[BLOCK_BYTES];
	struct journal_disk_header header = {
		.cookie = get_le64(in + AREA_COOKIE),
		.generation = get_le64(in + AREA_GENERATION),
		.number = get_le64(in + AREA_NUMBER),
	};
	journal_disk_header_encode(super, &header, expected);
	if (memcmp(in, expected, BLOCK_BYTES) != 0 || header.number >> 62)
		return false;
	*out = header;
	return true;
}

/* ---- encoding ---- */

static void run_encode(const struct journal_run *run, uint8_t *out)
{
	out[RUN_ROW] = (uint8_t)run->row;
	out[RUN_ROWS] = (uint8_t)(run->rows - 1);
	put_le16(out + RUN_SLOTS, run->superseded ? 0 : run->slots);
}

uint32_t journal_disk_record_encode(
	const struct journal_append *a, uint32_t at_bytes, uint8_t *block)
{
	uint8_t *out = block + BATCH_RECORDS + at_bytes;
	put_le64(out + RECORD_STRIPE, a->stripe);
	put_le32(out + RECORD_CRC, a->crc);
	put_le16(out + RECORD_RUNS, (uint16_t)a->run_count);
	put_le16(out + RECORD_MEMBERS, a->members);
	put_le64(out + RECORD_NUMBER, a->number);
	for (unsigned i = 0; i < a->run_count; i++)
		run_encode(&a->runs[i], out + RECORD_RUN + i * RUN_BYTES);
	return at_bytes + journal_disk_record_bytes(a->run_count);
}

uint32_t journal_disk_void_encode(uint64_t number, uint32_t at_bytes, uint8_t *block)
{
	return journal_disk_record_encode(
		&(struct journal_append){.number = number}, at_bytes, block);
}

void journal_disk_batch_encode(const struct super *super, uint64_t cookie,
	const struct journal_disk_batch *batch, uint8_t *block)
{
	uint32_t end = BATCH_RECORDS + batch->record_bytes;
	memset(block, 0, BATCH_RECORDS);
	memset(block + end, 0, BLOCK_BYTES - end);
	memcpy(block, BATCH_MAGIC, 8);
	put_le32(block + BATCH_PAYLOAD, batch->payload_blocks);
	memcpy(block + BATCH_UUID, super->volume_uuid, 16);
	put_le64(block + BATCH_COOKIE, cookie);
	put_le64(block + BATCH_SEQ, batch->seq);
	put_le64(block + BATCH_TAIL, batch->tail);
	put_le64(block + BATCH_NUMBER, batch->number);
	put_le64(block + BATCH_DURABLE, batch->durable);
	put_le32(block + BATCH_AT, batch->at);
	put_le16(block + BATCH_RECORD_BYTES, batch->record_bytes);
	put_le16(block + BATCH_RECORD_COUNT, batch->record_count);
	put_le32(block + BATCH_CRC, crc32c(block, BLOCK_BYTES));
}

/* ---- decoding ---- */

/* The payload blocks of a run; -1 where the volume has no such rows or slots. */
static int run_check(const struct super *super, const uint8_t *in)
{
	unsigned rows = in[RUN_ROWS] + 1u;
	uint16_t slots = get_le16(in + RUN_SLOTS);
	if (in[RUN_ROW] + rows > super->chunk_blocks || slots >> super->members)
		return -1;
	return (int)(rows * (unsigned)__builtin_popcount(slots));
}

/* One that says what is void. */
static bool void_check(const uint8_t *in)
{
	return !get_le64(in + RECORD_STRIPE) && !get_le32(in + RECORD_CRC) &&
	       !get_le16(in + RECORD_MEMBERS);
}

/* Where the record at @at ends in the block; 0 where it is impossible. Adds its payload. */
static uint32_t record_check(const struct super *super, const uint8_t *block, uint32_t at,
	uint32_t end, uint64_t *payload)
{
	if (end - at < RECORD_RUN)
		return 0;
	const uint8_t *in = block + at;
	unsigned runs = get_le16(in + RECORD_RUNS);
	uint32_t bytes = journal_disk_record_bytes(runs);
	if (bytes > end - at || get_le64(in + RECORD_STRIPE) >= super->stripes ||
		get_le64(in + RECORD_NUMBER) >> 62)
		return 0;
	if (runs ? get_le16(in + RECORD_MEMBERS) >> super->members : !void_check(in))
		return 0;
	for (unsigned i = 0; i < runs; i++) {
		int blocks = run_check(super, in + RECORD_RUN + i * RUN_BYTES);
		if (blocks < 0)
			return 0;
		*payload += (unsigned)blocks;
	}
	return at + bytes;
}

static bool records_check(const struct super *super, const uint8_t *block,
	const struct journal_disk_batch *batch, uint32_t room_end)
{
	uint32_t at = BATCH_RECORDS, end = BATCH_RECORDS + batch->record_bytes;
	uint64_t payload = 0;
	if (end > room_end)
		return false;
	for (unsigned i = 0; i < batch->record_count; i++) {
		at = record_check(super, block, at, end, &payload);
		if (!at)
			return false;
	}
	return at == end && payload == batch->payload_blocks;
}

bool journal_disk_batch_decode(const struct super *super, uint64_t cookie, uint32_t at,
	const uint8_t *block, struct journal_disk_batch *out)
{
	bool v2 = memcmp(block, BATCH_MAGIC_V2, 8) == 0;
	if ((!v2 && memcmp(block, BATCH_MAGIC, 8) != 0) ||
		get_le64(block + BATCH_COOKIE) != cookie ||
		memcmp(block + BATCH_UUID, super->volume_uuid, 16) != 0 ||
		get_le32(block + BATCH_CRC) != block_crc(block, BATCH_CRC))
		return false;
	struct journal_disk_batch batch = {
		.seq = get_le64(block + BATCH_SEQ),
		.tail = get_le64(block + BATCH_TAIL),
		.number = get_le64(block + BATCH_NUMBER),
		.durable = v2 ? get_le64(block + BATCH_SEQ) - 1 : get_le64(block + BATCH_DURABLE),
		.at = get_le32(block + BATCH_AT),
		.payload_blocks = get_le32(block + BATCH_PAYLOAD),
		.record_bytes = get_le16(block + BATCH_RECORD_BYTES),
		.record_count = get_le16(block + BATCH_RECORD_COUNT),
	};
	uint32_t ring = journal_disk_ring_blocks(super);
	if (batch.at != at || at >= ring || batch.payload_blocks > ring - at - 1)
		return false;
	if (!batch.tail || batch.tail > batch.seq || (batch.seq | batch.number) >> 62 ||
		batch.durable >= batch.seq)
		return false;
	if (!records_check(super, block, &batch, v2 ? BLOCK_BYTES : BATCH_DURABLE))
		return false;
	*out = batch;
	return true;
}

void journal_disk_record_decode(
	const uint8_t *block, uint32_t *at_bytes, struct journal_disk_record *out)
{
	const uint8_t *in = block + BATCH_RECORDS + *at_bytes;
	*out = (struct journal_disk_record){.stripe = get_le64(in + RECORD_STRIPE),
		.number = get_le64(in + RECORD_NUMBER),
		.members = get_le16(in + RECORD_MEMBERS),
		.crc = get_le32(in + RECORD_CRC),
		.run_count = get_le16(in + RECORD_RUNS),
		.runs = in + RECORD_RUN};
	for (unsigned i = 0; i < out->run_count; i++) {
		struct journal_run run = journal_disk_run(out, i);
		out->payload_blocks += journal_disk_run_blocks(&run);
	}
	*at_bytes += journal_disk_record_bytes(out->run_count);
}

struct journal_run journal_disk_run(const struct journal_disk_record *record, unsigned i)
{
	const uint8_t *in = record->runs + i * RUN_BYTES;
	uint16_t slots = get_le16(in + RUN_SLOTS);
	return (struct journal_run){.row = in[RUN_ROW],
		.rows = (uint16_t)(in[RUN_ROWS] + 1),
		.superseded = !slots,
		.slots = slots};
}
