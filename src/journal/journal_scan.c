/* SPDX-License-Identifier: MIT */
/* Reading one ring after an unclean end:
 *
 *	headers_scan	every block of the ring that is a batch header of this epoch
 *	newest_find	the newest whose payload is whole; one behind it may be torn
 *	run_trace	down from there, number by number, to its tail: where one is missing or
 *			damaged, whatever is older does not count (I5)
 *	records_list	which records the run has
 *
 * What an image can cost is bounded by the size of its ring, which is 64 MiB at most: headers may
 * claim each other's blocks, so how many blocks are looked at is counted. The ring itself is not
 * kept; who wants a batch reads it again. */
#include "journal/internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"

#define READ_BYTES (UINT64_C(1) << 20)

/* Of payloads, times the ring: once each, and some torn ones that others came behind. */
#define LOOKS_MAX 4u

struct reading {
	struct journal_scan *scan;
	struct journal_member *jm;
	uint8_t *ring; /* owned; as read */
	uint64_t cookie;
	uint64_t looked;  /* blocks of payloads */
	unsigned damaged; /* pieces that could not be read */
};

static void reading_fini(struct reading *r)
{
	free(r->ring);
}

void journal_scan_fini(struct journal_scan *scan)
{
	free(scan->batches);
	free(scan->run);
	free(scan->records);
	free(scan->voids_said.at);
	free(scan->voids_new.at);
}

static uint8_t *ring_block(const struct reading *r, uint32_t at)
{
	return r->ring + (size_t)at * BLOCK_BYTES;
}

static int reading_init(struct reading *r)
{
	uint32_t blocks = r->jm->j->ring_blocks;
	r->ring = mem_alloc_blocks((size_t)blocks * BLOCK_BYTES);
	r->scan->batches = calloc(blocks, sizeof(*r->scan->batches));
	r->scan->run = calloc(blocks, sizeof(*r->scan->run));
	return r->ring && r->scan->batches && r->scan->run ? 0 : -ENOMEM;
}

/* What cannot be read stays zeros. */
static void ring_read(struct reading *r)
{
	struct member *m = r->jm->member;
	uint64_t at = member_super(m)->journal.offset_bytes + BLOCK_BYTES;
	uint64_t len = (uint64_t)r->jm->j->ring_blocks * BLOCK_BYTES;
	for (uint64_t done = 0; done < len; done += READ_BYTES) {
		uint64_t n = min_u64(READ_BYTES, len - done);
		if (io_sync_read(member_file(m), at + done, r->ring + done, n) == 0)
			continue;
		memset(r->ring + done, 0, n);
		r->damaged++;
	}
}

static int compare_seq(const void *a, const void *b)
{
	const struct journal_disk_batch *x = a, *y = b;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void headers_scan(struct reading *r)
{
	const struct journal *j = r->jm->j;
	struct journal_scan *scan = r->scan;
	for (uint32_t at = 0; at < j->ring_blocks; at++)
		scan->count += journal_disk_batch_decode(
			&j->super, r->cookie, at, ring_block(r, at), &scan->batches[scan->count]);
	qsort(scan->batches, scan->count, sizeof(*scan->batches), compare_seq);
}

static uint32_t payload_crc(const uint8_t *payload, uint32_t blocks)
{
	uint32_t chain = 0;
	for (uint32_t i = 0; i < blocks; i++)
		chain = journal_disk_crc_add(chain, payload + (size_t)i * BLOCK_BYTES);
	return chain;
}

/* A batch that was decoded, of which the payload lies behind the header. */
static bool payload_is_whole(const uint8_t *header, const struct journal_disk_batch *b)
{
	const uint8_t *payload = header + BLOCK_BYTES;
	uint32_t at = 0;
	for (unsigned i = 0; i < b->record_count; i++) {
		struct journal_disk_record record;
		journal_disk_record_decode(header, &at, &record);
		if (payload_crc(payload, record.payload_blocks) != record.crc)
			return false;
		payload += (size_t)record.payload_blocks * BLOCK_BYTES;
	}
	return true;
}

static bool batch_is_whole(struct reading *r, const struct journal_disk_batch *b)
{
	r->looked += b->payload_blocks;
	return r->looked <= (uint64_t)LOOKS_MAX * r->jm->j->ring_blocks &&
	       payload_is_whole(ring_block(r, b->at), b);
}

/* The batch of number @seq at or below index @i that is whole; of a torn one and the one that took
 * its number after the next start it is the latter. scan->count where there is none. */
static uint32_t whole_of_seq(struct reading *r, uint32_t i, uint64_t seq)
{
	const struct journal_disk_batch *batches = r->scan->batches;
	for (uint32_t n = i + 1; n && batches[n - 1].seq >= seq; n--)
		if (batches[n - 1].seq == seq && batch_is_whole(r, &batches[n - 1]))
			return n - 1;
	return r->scan->count;
}

/* The newest, or where that is torn the one before it. Where neither is whole the medium has lost
 * what was durable, and nothing older can be trusted. */
static bool newest_find(struct reading *r)
{
	struct journal_scan *scan = r->scan;
	if (!scan->count)
		return false;
	uint64_t seq = scan->batches[scan->count - 1].seq;
	scan->newest = whole_of_seq(r, scan->count - 1, seq);
	if (scan->newest == scan->count)
		scan->newest = whole_of_seq(r, scan->count - 1, seq - 1);
	return scan->newest < scan->count;
}

static void run_trace(struct reading *r)
{
	struct journal_scan *scan = r->scan;
	uint64_t tail = scan->batches[scan->newest].tail;
	uint32_t i = scan->newest;
	for (;;) {
		scan->run[scan->run_count++] = i;
		uint64_t seq = scan->batches[i].seq;
		if (seq == tail)
			return;
		i = whole_of_seq(r, i, seq - 1);
		if (i == scan->count)
			return;
	}
}

/* A run whose batches overlap was never written by us; room would be counted wrongly. */
static bool run_is_possible(const struct journal_scan *scan)
{
	uint64_t blocks = 0;
	for (uint32_t n = scan->run_count; n; n--) {
		const struct journal_disk_batch *b = &scan->batches[scan->run[n - 1]];
		blocks += 1 + b->payload_blocks;
		if (n == scan->run_count)
			continue;
		const struct journal_disk_batch *before = &scan->batches[scan->run[n]];
		if (b->at != 0 && b->at != before->at + 1 + before->payload_blocks)
			return false;
	}
	return blocks <= scan->jm->j->ring_blocks;
}

/* No batch counts, and the newest, which is torn, says that older ones were needed. */
static bool lost_needed(const struct journal_scan *scan)
{
	if (!scan->count || scan->run_count)
		return false;
	const struct journal_disk_batch *last = &scan->batches[scan->count - 1];
	return last->tail < last->seq;
}

/* ---- the records of the run ---- */

static int compare_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

_Static_assert(offsetof(struct journal_record_id, number) == 0, "compare_number() reads it");

bool journal_scan_has(const struct journal_scan *scan, uint64_t number)
{
	return scan->record_count && bsearch(&number, scan->records, scan->record_count,
					     sizeof(*scan->records), compare_number);
}

bool journal_numbers_have(const struct journal_numbers *numbers, uint64_t number)
{
	return numbers->count &&
	       bsearch(&number, numbers->at, numbers->count, sizeof(*numbers->at), compare_number);
}

int journal_numbers_add(struct journal_numbers *numbers, uint64_t number)
{
	if ((numbers->count & (numbers->count - 1)) == 0) { /* as large as a power of two */
		size_t room = numbers->count ? 2 * numbers->count : 1;
		uint64_t *at = realloc(numbers->at, room * sizeof(*at));
		if (!at)
			return -ENOMEM;
		numbers->at = at;
	}
	numbers->at[numbers->count++] = number;
	return 0;
}

bool journal_scan_is_void(const struct journal_scan *scan, uint64_t number)
{
	return journal_numbers_have(&scan->voids_said, number) ||
	       journal_numbers_have(&scan->voids_new, number);
}

static size_t records_in(const struct journal_scan *scan)
{
	size_t count = 0;
	for (uint32_t n = 0; n < scan->run_count; n++)
		count += scan->batches[scan->run[n]].record_count;
	return count;
}

static int batch_list(struct reading *r, const struct journal_disk_batch *b)
{
	struct journal_scan *scan = r->scan;
	uint32_t at = 0;
	for (unsigned i = 0; i < b->record_count; i++) {
		struct journal_disk_record record;
		journal_disk_record_decode(ring_block(r, b->at), &at, &record);
		if (record.run_count)
			scan->records[scan->record_count++] = (struct journal_record_id){
				.number = record.number, .members = record.members};
		else if (journal_numbers_add(&scan->voids_said, record.number) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int records_list(struct reading *r)
{
	struct journal_scan *scan = r->scan;
	scan->records = calloc(records_in(scan) + 1, sizeof(*scan->records));
	if (!scan->records)
		return -ENOMEM;
	for (uint32_t n = 0; n < scan->run_count; n++)
		if (batch_list(r, &scan->batches[scan->run[n]]) < 0)
			return -ENOMEM;
	qsort(scan->records, scan->record_count, sizeof(*scan->records), compare_number);
	if (scan->voids_said.count)
		qsort(scan->voids_said.at, scan->voids_said.count, sizeof(*scan->voids_said.at),
			compare_number);
	return 0;
}

/* ---- all of it ---- */

static void what_counts(struct reading *r, const struct journal_disk_header *header)
{
	struct journal_scan *scan = r->scan;
	headers_scan(r);
	if (newest_find(r))
		run_trace(r);
	bool possible = run_is_possible(scan);
	bool lost = lost_needed(scan) || !possible;
	if (r->damaged || lost)
		log_warn("%s: the partial-write log is damaged: older records do not count",
			member_path(r->jm->member));
	scan->run_count = possible ? scan->run_count : 0;
	if (scan->run_count)
		scan->from = scan->batches[scan->run[scan->run_count - 1]].number;
	else if (!lost)
		scan->from = header->number;
	if (r->damaged)
		scan->from = UINT64_MAX;
}

int journal_scan_read(struct journal_scan *scan, struct journal_member *jm,
	const struct journal_disk_header *header)
{
	cleanup(reading_fini) struct reading r = {.scan = scan, .jm = jm, .cookie = header->cookie};
	scan->jm = jm;
	scan->from = UINT64_MAX;
	if (reading_init(&r) < 0)
		return -ENOMEM;
	ring_read(&r);
	what_counts(&r, header);
	return records_list(&r);
}

int journal_scan_batch(const struct journal_scan *scan, uint32_t n, uint8_t *buffer)
{
	const struct journal_member *jm = scan->jm;
	const struct journal_disk_batch *b = &scan->batches[scan->run[n]];
	struct journal_disk_batch now;
	uint64_t at = member_super(jm->member)->journal.offset_bytes +
		      (1 + (uint64_t)b->at) * BLOCK_BYTES;
	int err = io_sync_read(member_file(jm->member), at, buffer,
		(1 + (uint64_t)b->payload_blocks) * BLOCK_BYTES);
	if (err < 0)
		return err;
	bool same =
		journal_disk_batch_decode(&jm->j->super, jm->header.cookie, b->at, buffer, &now) &&
		now.seq == b->seq && now.payload_blocks == b->payload_blocks;
	return same && payload_is_whole(buffer, &now) ? 0 : -EIO;
}
