/* SPDX-License-Identifier: MIT */
/* Several rings that say the same (I6). A record for the rings of two members can be in one of them
 * alone after a crash: then it has protected nothing yet, for no block was sent. Taking it or
 * leaving it is both right. What is not right is to take it now and, when its ring is lost with the
 * next crash, not to have it: the other ring's older records would then be mixed with blocks that
 * are newer, and so would later records with one that was left. So it is void, and the ring that
 * has it says so before anything is written to a stripe:
 *
 *	journal_agree	at load: records that a ring lacks which it would have
 *	journal_resume	a batch of such numbers in the ring that has them
 *
 * A ring would have what was appended since its epoch began, less what it has overwritten, which
 * was needed no more: both are told by the numbers of records, which every ring gets in order. One
 * that is damaged where it counts says nothing about what it lacks. */
#include "journal/internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"

/* ---- what is void? ---- */

static bool lacks(const struct journal_scan *scan, uint64_t number)
{
	return scan->jm && number >= scan->from && !journal_scan_has(scan, number);
}

static int scan_agree(const struct journal *j, struct journal_scan *scans, unsigned index)
{
	struct journal_scan *scan = &scans[index];
	for (size_t i = 0; i < scan->record_count; i++) {
		const struct journal_record_id *id = &scan->records[i];
		bool is_void = false;
		for (unsigned m = 0; m < j->members_count; m++)
			is_void |=
				m != index && id->members >> m & 1 && lacks(&scans[m], id->number);
		if (!is_void || journal_numbers_have(&scan->voids_said, id->number))
			continue;
		if (journal_numbers_add(&scan->voids_new, id->number) < 0)
			return -ENOMEM;
	}
	return 0;
}

int journal_agree(const struct journal *j, struct journal_scan *scans)
{
	int err = 0;
	for (unsigned i = 0; i < j->members_count && err == 0; i++)
		err = scan_agree(j, scans, i);
	return err;
}

uint64_t journal_next_number(const struct journal *j, const struct journal_scan *scans)
{
	uint64_t next = j->next_number;
	for (unsigned i = 0; i < j->members_count; i++) {
		const struct journal_scan *s = &scans[i];
		next = max_u64(next, j->members[i].header.number);
		for (uint32_t n = 0; n < s->run_count; n++)
			next = max_u64(next, s->batches[s->run[n]].number);
		if (s->record_count)
			next = max_u64(next, s->records[s->record_count - 1].number + 1);
	}
	return next;
}

/* ---- saying so ---- */

#define VOIDS_OF_BATCH (JOURNAL_BATCH_RECORDS_MAX / 24u)

static int header_write(struct journal_member *jm, const struct journal_disk_batch *batch)
{
	uint8_t *block = jm->block + BLOCK_BYTES;
	journal_disk_batch_encode(&jm->j->super, jm->header.cookie, batch, block);
	return io_sync_write(member_file(jm->member),
		member_super(jm->member)->journal.offset_bytes +
			(1 + (uint64_t)batch->at) * BLOCK_BYTES,
		block, BLOCK_BYTES);
}

/* All that is written is durable then. */
static int ring_flush(struct journal_member *jm)
{
	int err = io_sync_flush(member_file(jm->member));
	if (err < 0)
		return err;
	jm->durable_seq = jm->next_seq - 1;
	jm->durable_tail = jm->oldest_seq;
	return 0;
}

/* What was found may be in a cache of the medium. */
static int gaps_fill(struct journal_member *jm)
{
	for (size_t i = 0; i < jm->gaps.count; i++) {
		int err = header_write(jm, &jm->gaps.at[i]);
		if (err < 0)
			return err;
	}
	return jm->oldest_seq < jm->next_seq ? ring_flush(jm) : 0;
}

/* A batch of @count numbers at block @at of the ring, durably. */
static int voids_write(
	struct journal_member *jm, const uint64_t *numbers, unsigned count, uint32_t at)
{
	struct journal_disk_batch batch = {.seq = jm->next_seq,
		.tail = jm->oldest_seq,
		.durable = jm->durable_seq,
		.number = jm->j->next_number,
		.at = at,
		.record_count = (uint16_t)count};
	for (unsigned i = 0; i < count; i++)
		batch.record_bytes = (uint16_t)journal_disk_void_encode(
			numbers[i], batch.record_bytes, jm->block + BLOCK_BYTES);
	int err = header_write(jm, &batch);
	if (err < 0)
		return err;
	*batch_of(jm, jm->next_seq++) = (struct journal_batch){.at = at, .blocks = 1};
	jm->head = at + 1;
	return ring_flush(jm);
}

/* Where there is no room they stay as they are: as many were never under way. */
static int voids_say(struct journal_member *jm)
{
	size_t done = 0;
	uint32_t at;
	while (done < jm->voids.count && journal_ring_place(jm, 1, &at)) {
		unsigned count = (unsigned)min_u64(jm->voids.count - done, VOIDS_OF_BATCH);
		int err = voids_write(jm, jm->voids.at + done, count, at);
		if (err < 0)
			return err;
		done += count;
	}
	if (done < jm->voids.count)
		log_warn("%s: the partial-write log has no room to say what is void",
			member_path(jm->member));
	return 0;
}

static int member_resume(struct journal_member *jm)
{
	int err = gaps_fill(jm);
	if (err == 0)
		err = voids_say(jm);
	if (err < 0)
		return err;
	free(jm->gaps.at);
	free(jm->voids.at);
	jm->gaps = (struct journal_gaps){0};
	jm->voids = (struct journal_numbers){0};
	return 0;
}

int journal_resume(struct journal *j)
{
	int first = 0;
	for (unsigned i = 0; i < j->members_count; i++) {
		struct journal_member *jm = &j->members[i];
		int err = jm->member ? member_resume(jm) : 0;
		jm->failed = jm->failed || err < 0;
		first = first ? first : err;
	}
	return first;
}
