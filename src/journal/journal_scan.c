/* SPDX-License-Identifier: MIT */
/* Reading one ring after an unclean end:
 *
 *	headers_scan	every block of the ring that is a batch header of this epoch
 *	newest_find	the newest whose payload is whole; those behind it are torn
 *	run_trace	down from there, number by number, to its tail: where one that was durable
 *			is missing or damaged, whatever is older does not count (I5)
 *	gaps_list	the others that are missing: the power went before they were durable
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
	free(scan->gaps.at);
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

/* What any header says was durable, also that of a batch which is torn. */
static uint64_t known_durable(const struct journal_scan *scan)
{
	uint64_t durable = 0;
	for (uint32_t i = 0; i < scan->count; i++)
		durable = max_u64(durable, scan->batches[i].durable);
	return durable;
}

/* Where not even what was durable is whole, the medium has lost it, and nothing older can be
 * trusted. */
static bool newest_find(struct reading *r)
{
	struct journal_scan *scan = r->scan;
	scan->durable = known_durable(scan);
	for (uint32_t n = scan->count; n && scan->batches[n - 1].seq >= scan->durable; n--) {
		scan->newest = n - 1;
		if (batch_is_whole(r, &scan->batches[n - 1]))
			return true;
	}
	return false;
}

/* A batch of number @seq that is not there, or torn, was lost with the power, before anybody relied
 * upon it. Of those that are not durable a ring can have one a block. */
static bool may_lack(const struct reading *r, uint64_t seq)
{
	const struct journal_scan *scan = r->scan;
	return seq > scan->durable && !r->damaged &&
	       scan->batches[scan->newest].seq - seq < r->jm->j->ring_blocks;
}

static void run_trace(struct reading *r)
{
	struct journal_scan *scan = r->scan;
	uint64_t seq = scan->batches[scan->newest].seq, tail = scan->batches[scan->newest].tail;
	uint32_t i = scan->newest;
	scan->run[scan->run_count++] = i;
	while (seq > tail) {
		uint32_t found = whole_of_seq(r, i, --seq);
		if (found < scan->count)
			scan->run[scan->run_count++] = i = found;
		else if (!may_lack(r, seq))
			return;
	}
}

static const struct journal_disk_batch *run_batch(const struct journal_scan *scan, uint32_t n)
{
	return &scan->batches[scan->run[n]];
}

/* From the oldest batch of the run to the @n-th, in blocks, once around at most. */
static uint32_t run_offset(const struct journal_scan *scan, uint32_t n)
{
	uint32_t ring = scan->jm->j->ring_blocks;
	uint32_t from = run_batch(scan, scan->run_count - 1)->at;
	return (run_batch(scan, n)->at + ring - from) % ring;
}

static uint32_t run_offset_behind(const struct journal_scan *scan, uint32_t n)
{
	return run_offset(scan, n) + 1 + run_batch(scan, n)->payload_blocks;
}

/* Batches between the @n-th of the run and the older one before it. */
static uint64_t run_gap(const struct journal_scan *scan, uint32_t n)
{
	return n + 1 < scan->run_count ? run_batch(scan, n)->seq - run_batch(scan, n + 1)->seq - 1
				       : 0;
}

/* A run whose batches overlap was never written by us; room would be counted wrongly. What is
 * missing had room between the others: a block each at least. */
static bool run_is_possible(const struct journal_scan *scan)
{
	uint64_t end = 0;
	for (uint32_t n = scan->run_count; n; n--) {
		if (run_offset(scan, n - 1) < end + run_gap(scan, n - 1))
			return false;
		end = run_offset_behind(scan, n - 1);
	}
	return end <= scan->jm->j->ring_blocks;
}

/* An empty batch before the @n-th of the run, @i batches behind the older one. */
static void gap_add(struct journal_scan *scan, uint32_t n, uint32_t i)
{
	const struct journal_disk_batch *oldest = run_batch(scan, scan->run_count - 1);
	uint32_t at = oldest->at + run_offset_behind(scan, n + 1) + i;
	scan->gaps.at[scan->gaps.count++] =
		(struct journal_disk_batch){.seq = run_batch(scan, n + 1)->seq + 1 + i,
			.tail = oldest->seq,
			.durable = scan->durable,
			.number = run_batch(scan, n)->number,
			.at = at % scan->jm->j->ring_blocks};
}

/* What is to stand where those that are missing stood: a later load, for which they are older than
 * what is durable, is to find no gap. */
static int gaps_list(struct journal_scan *scan)
{
	uint64_t missing = 0;
	for (uint32_t n = 0; n < scan->run_count; n++)
		missing += run_gap(scan, n);
	scan->gaps.at = missing ? calloc(missing, sizeof(*scan->gaps.at)) : NULL;
	if (missing && !scan->gaps.at)
		return -ENOMEM;
	for (uint32_t n = scan->run_count; n; n--)
		for (uint32_t i = 0; i < run_gap(scan, n - 1); i++)
			gap_add(scan, n - 1, i);
	return 0;
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

/* Until a batch of the epoch was durable the ring had overwritten nothing. */
static uint64_t complete_from(const struct reading *r, const struct journal_disk_header *header)
{
	const struct journal_scan *scan = r->scan;
	if (!scan->durable)
		return header->number;
	return scan->run_count ? run_batch(scan, scan->run_count - 1)->number : UINT64_MAX;
}

static void what_counts(struct reading *r, const struct journal_disk_header *header)
{
	struct journal_scan *scan = r->scan;
	headers_scan(r);
	if (newest_find(r))
		run_trace(r);
	bool possible = run_is_possible(scan);
	bool lost = (scan->durable && !scan->run_count) || !possible;
	if (r->damaged || lost)
		log_warn("%s: the partial-write log is damaged: older records do not count",
			member_path(r->jm->member));
	scan->run_count = possible ? scan->run_count : 0;
	scan->from = r->damaged || lost ? UINT64_MAX : complete_from(r, header);
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
	return gaps_list(scan) < 0 ? -ENOMEM : records_list(&r);
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
