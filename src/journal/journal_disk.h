/* SPDX-License-Identifier: MIT */
/* The bytes of the journal area (docs/format.md, "Partial-write log"): a header block, then the
 * ring. A batch is a header block with records and, behind it, the records' payload blocks. Only
 * journal_disk.c knows the bytes; pure, no I/O. Decoders trust nothing. */
#ifndef STABLEFS_JOURNAL_JOURNAL_DISK_H
#define STABLEFS_JOURNAL_JOURNAL_DISK_H

#include "journal/journal.h"
#include "member/super.h"

#define JOURNAL_RING_MAX_BLOCKS   16384u /* 64 MiB, whatever a superblock says */
#define JOURNAL_BATCH_HEADER      72u
#define JOURNAL_BATCH_TRAILER     8u /* behind the records: what was durable */
#define JOURNAL_BATCH_RECORDS_MAX (BLOCK_BYTES - JOURNAL_BATCH_HEADER - JOURNAL_BATCH_TRAILER)

/* The blocks of the ring; 0 where the area is too small for one. */
uint32_t journal_disk_ring_blocks(const struct super *super);

/* ---- the area's header ---- */

struct journal_disk_header {
	uint64_t cookie;     /* drawn for each epoch: what no data of a user can guess */
	uint64_t generation; /* of the volume, when the epoch began; for people */
	uint64_t number;     /* records for this ring from this one on are in it */
};

void journal_disk_header_encode(
	const struct super *super, const struct journal_disk_header *header, uint8_t *out);
bool journal_disk_header_decode(
	const struct super *super, const uint8_t *in, struct journal_disk_header *out);

/* ---- batches ---- */

struct journal_disk_batch {
	uint64_t seq;     /* its number */
	uint64_t tail;    /* the oldest that was needed when it was written; not above durable */
	uint64_t durable; /* the newest that was durable then; 0: none of this epoch */
	uint64_t number; /* records for this ring from this one on are in this batch or behind it */
	uint32_t at;     /* block of the ring */
	uint32_t payload_blocks;
	uint16_t record_count, record_bytes;
};

static inline uint32_t journal_disk_record_bytes(unsigned run_count)
{
	return 24 + 4 * run_count;
}

/* The checksum of a payload: 0, then this for each block. */
uint32_t journal_disk_crc_add(uint32_t chain, const uint8_t *block);

/* Payload blocks of a run. */
uint32_t journal_disk_run_blocks(const struct journal_run *run);

/* Append @a's record to the records in the batch header @block, from @at_bytes on (0 first), where
 * there is room. Returns where the next goes. @a->number and @a->crc (of its payload) are set. */
uint32_t journal_disk_record_encode(
	const struct journal_append *a, uint32_t at_bytes, uint8_t *block);

/* The same of a record that says that record @number of this ring is void. */
uint32_t journal_disk_void_encode(uint64_t number, uint32_t at_bytes, uint8_t *block);

/* Complete the header; the records are in place. */
void journal_disk_batch_encode(const struct super *super, uint64_t cookie,
	const struct journal_disk_batch *batch, uint8_t *block);

/* True where @block, at block @at of the ring, is a batch header of this epoch, and all that it
 * says is possible in this volume. Its payload is not looked at. One that was written by a program
 * which knew superblocks of version 2 alone had all before it durable. */
bool journal_disk_batch_decode(const struct super *super, uint64_t cookie, uint32_t at,
	const uint8_t *block, struct journal_disk_batch *out);

struct journal_disk_record {
	uint64_t stripe, number;
	uint16_t members; /* whose rings it is for */
	uint32_t crc, payload_blocks;
	unsigned run_count;  /* 0: the record of that number is void */
	const uint8_t *runs; /* borrowed from the block */
};

/* The record at *@at_bytes (0 first) of a header that was decoded; moves behind it. */
void journal_disk_record_decode(
	const uint8_t *block, uint32_t *at_bytes, struct journal_disk_record *out);
struct journal_run journal_disk_run(const struct journal_disk_record *record, unsigned i);

#endif
