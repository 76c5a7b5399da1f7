/* SPDX-License-Identifier: MIT */
/* Making the log: format its area, load what the rings hold, begin an epoch.
 *
 *	journal_scan_read	what counts of each ring			journal_scan.c
 *	journal_agree		which records are void				journal_agree.c
 *	batch_apply		the others, oldest first: the newest block of each slot stays */
#include "journal/internal.h"

#include <stdlib.h>
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "raid/geometry.h"

/* Room for thousands of records that are void: more than can be under way. */
#define RESERVE_MAX_BLOCKS 16u

static void journal_freep(struct journal **j)
{
	journal_free(*j);
}

/* ---- format ---- */

int journal_format(struct member *m)
{
	const struct super *super = member_super(m);
	const struct super_area *area = &super->journal;
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(BLOCK_BYTES);
	if (!block)
		return -ENOMEM;
	journal_disk_header_encode(super, &(struct journal_disk_header){0}, block);
	int err = io_zero(member_file(m), area->offset_bytes, area->len_bytes);
	if (err == 0 && area->len_bytes)
		err = io_sync_write(member_file(m), area->offset_bytes, block, BLOCK_BYTES);
	return err < 0 ? err : io_sync_flush(member_file(m));
}

/* ---- what a batch says ---- */

static struct journal_row *row_of(struct journal_stripe *s, unsigned row)
{
	struct journal_row *r = s->found;
	while (r && r->row != row)
		r = r->next;
	return r;
}

static void row_remove(struct journal_stripe *s, struct journal_row *row)
{
	struct journal_row **at = &s->found;
	while (*at != row)
		at = &(*at)->next;
	*at = row->next;
	journal_row_free(row);
}

static struct journal_row *row_get(struct journal_stripe *s, unsigned row)
{
	struct journal_row *r = row_of(s, row);
	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->row = row;
	r->next = s->found;
	s->found = r;
	return r;
}

static int block_put(uint8_t **copy, const uint8_t *block)
{
	if (!*copy)
		*copy = mem_alloc_blocks(BLOCK_BYTES);
	if (!*copy)
		return -ENOMEM;
	memcpy(*copy, block, BLOCK_BYTES);
	return 0;
}

static void rows_supersede(struct journal_stripe *s, const struct journal_run *run)
{
	for (unsigned i = 0; i < run->rows; i++) {
		struct journal_row *r = row_of(s, run->row + i);
		if (r)
			row_remove(s, r);
	}
}

/* A write in part makes every parity of the row anew: one that its record lacks was on a member
 * that was away. Should that be back, it has a newer one than older records do. */
static void stale_parities_drop(
	const struct super *super, struct journal_row *r, const struct journal_run *run)
{
	const struct geometry g = {.level = super->level, .members = super->members};
	for (unsigned slot = geometry_data_slots(&g); slot < geometry_slots(&g); slot++) {
		if (run->slots >> slot & 1)
			continue;
		free(r->block[slot]);
		r->block[slot] = NULL;
	}
}

static int rows_put(const struct super *super, struct journal_stripe *s,
	const struct journal_run *run, const uint8_t *payload)
{
	for (unsigned i = 0; i < run->rows; i++) {
		struct journal_row *r = row_get(s, run->row + i);
		const uint8_t *block = payload + (size_t)i * BLOCK_BYTES;
		if (!r)
			return -ENOMEM;
		stale_parities_drop(super, r, run);
		for (unsigned slot = 0; run->slots >> slot; slot++) {
			if (!(run->slots >> slot & 1))
				continue;
			if (block_put(&r->block[slot], block) < 0)
				return -ENOMEM;
			block += (size_t)run->rows * BLOCK_BYTES;
		}
	}
	return 0;
}

static int run_apply(struct journal_member *jm, uint64_t seq,
	const struct journal_disk_record *record, const struct journal_run *run,
	const uint8_t *payload)
{
	struct journal_stripe *s;
	int err = journal_stripe_get(jm, record->stripe, run, 1, &s);
	if (err < 0 || !s)
		return err;
	journal_stripe_note(jm, s, run, 1, seq);
	if (run->superseded) {
		rows_supersede(s, run);
		return 0;
	}
	s->found_seq = s->found ? s->found_seq : seq;
	return rows_put(&jm->j->super, s, run, payload);
}

static int record_apply(struct journal_member *jm, uint64_t seq,
	const struct journal_disk_record *record, const uint8_t *payload)
{
	for (unsigned i = 0; i < record->run_count; i++) {
		struct journal_run run = journal_disk_run(record, i);
		int err = run_apply(jm, seq, record, &run, payload);
		if (err < 0)
			return err;
		payload += (size_t)journal_disk_run_blocks(&run) * BLOCK_BYTES;
	}
	return 0;
}

/* @header: the batch in memory. */
static int batch_apply(
	const struct journal_scan *scan, const struct journal_disk_batch *b, const uint8_t *header)
{
	const uint8_t *payload = header + BLOCK_BYTES;
	uint32_t at = 0;
	for (unsigned i = 0; i < b->record_count; i++) {
		struct journal_disk_record record;
		journal_disk_record_decode(header, &at, &record);
		int err = journal_scan_is_void(scan, record.number)
				  ? 0
				  : record_apply(scan->jm, b->seq, &record, payload);
		if (err < 0)
			return err;
		payload += (size_t)record.payload_blocks * BLOCK_BYTES;
	}
	return 0;
}

static int batches_apply(const struct journal_scan *scan)
{
	struct journal_member *jm = scan->jm;
	cleanup(cleanup_freep) uint8_t *buffer =
		mem_alloc_blocks((size_t)jm->j->batch_blocks * BLOCK_BYTES);
	if (!buffer)
		return -ENOMEM;
	for (uint32_t n = scan->run_count; n; n--) {
		const struct journal_disk_batch *b = &scan->batches[scan->run[n - 1]];
		int err = journal_scan_batch(scan, n - 1, buffer);
		if (err < 0)
			return -EIO;
		*batch_of(jm, b->seq) =
			(struct journal_batch){.at = b->at, .blocks = 1 + b->payload_blocks};
		err = batch_apply(scan, b, buffer);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < scan->gaps.count; i++)
		*batch_of(jm, scan->gaps.at[i].seq) =
			(struct journal_batch){.at = scan->gaps.at[i].at, .blocks = 1};
	return 0;
}

/* The log goes on behind the newest; the batches that stripes were found in are kept. */
static int scan_apply(const struct journal_scan *scan)
{
	struct journal_member *jm = scan->jm;
	const struct journal_disk_batch *newest = &scan->batches[scan->newest];
	jm->oldest_seq = jm->durable_tail = scan->batches[scan->run[scan->run_count - 1]].seq;
	jm->next_seq = newest->seq + 1;
	jm->head = newest->at + 1 + newest->payload_blocks;
	int err = batches_apply(scan);
	if (err == -EIO) { /* it was whole a moment ago */
		log_warn("%s: the partial-write log cannot be read: its records do not count",
			member_path(jm->member));
		journal_member_renew(jm);
		return 0;
	}
	list_for_each (n, &jm->stripes) {
		const struct journal_stripe *s = container_of(n, struct journal_stripe, node);
		if (s->found)
			batch_of(jm, s->found_seq)->busy++;
	}
	return err;
}

/* ---- all rings ---- */

static int member_scan(struct journal_member *jm, struct journal_scan *scan)
{
	const struct super *super = member_super(jm->member);
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(BLOCK_BYTES);
	if (!block)
		return -ENOMEM;
	struct journal_disk_header header;
	int err = io_sync_read(
		member_file(jm->member), super->journal.offset_bytes, block, BLOCK_BYTES);
	if (err < 0 || !journal_disk_header_decode(super, block, &header)) {
		log_warn("%s: the partial-write log's header is damaged: its records do not count",
			member_path(jm->member));
		return 0;
	}
	if (!header.cookie) /* formatted, never begun */
		return 0;
	jm->header = header;
	return journal_scan_read(scan, jm, &header);
}

/* What counts of @scan is the member's; where nothing does, its ring begins anew. */
static int member_take(struct journal_member *jm, struct journal_scan *scan)
{
	if (!scan->run_count) {
		journal_member_renew(jm);
		return 0;
	}
	jm->fresh = false;
	int err = scan_apply(scan);
	if (err == 0 && !jm->fresh) {
		jm->gaps = scan->gaps;
		scan->gaps = (struct journal_gaps){0};
		jm->voids = scan->voids_new;
		scan->voids_new = (struct journal_numbers){0};
	}
	return err;
}

static int members_load(struct journal *j, struct journal_scan *scans)
{
	int err = 0;
	for (unsigned i = 0; i < j->members_count && err == 0; i++)
		if (j->members[i].member)
			err = member_scan(&j->members[i], &scans[i]);
	if (err == 0)
		err = journal_agree(j, scans);
	j->next_number = err == 0 ? journal_next_number(j, scans) : 1;
	for (unsigned i = 0; i < j->members_count && err == 0; i++)
		if (j->members[i].member)
			err = member_take(&j->members[i], &scans[i]);
	return err;
}

static int members_init(struct journal *j, struct member *const *members, unsigned count)
{
	j->members_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct journal_member *jm = &j->members[i];
		*jm = (struct journal_member){.j = j,
			.index = i,
			.member = members[i],
			.oldest_seq = 1,
			.next_seq = 1,
			.durable_tail = 1};
		list_init(&jm->waiting);
		list_init(&jm->sent);
		list_init(&jm->stripes);
		jm->block = mem_alloc_blocks(2 * BLOCK_BYTES);
		jm->batches = calloc(max_u64(j->ring_blocks, 1), sizeof(*jm->batches));
		if (!jm->block || !jm->batches)
			return -ENOMEM;
		journal_member_renew(jm);
	}
	return 0;
}

static struct member *first_present(struct member *const *members, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (members[i])
			return members[i];
	return NULL;
}

static int journal_new(
	struct io_engine *io, struct member *const *members, unsigned count, struct journal **out)
{
	cleanup(journal_freep) struct journal *j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->io = io;
	j->super = *member_super(first_present(members, count));
	j->ring_blocks = journal_disk_ring_blocks(&j->super);
	j->batch_blocks = j->ring_blocks / 3;
	j->reserve_blocks = (uint32_t)min_u64(1 + j->ring_blocks / 16, RESERVE_MAX_BLOCKS);
	j->next_number = 1;
	list_init(&j->refused);
	int err = members_init(j, members, count);
	if (err < 0)
		return err;
	*out = take_ptr(&j);
	return 0;
}

static int rings_load(struct journal *j)
{
	cleanup(cleanup_freep) struct journal_scan *scans =
		calloc(j->members_count, sizeof(*scans));
	if (!scans)
		return -ENOMEM;
	int err = members_load(j, scans);
	for (unsigned i = 0; i < j->members_count; i++)
		journal_scan_fini(&scans[i]);
	return err;
}

int journal_load(struct io_engine *io, struct member *const *members, unsigned count, bool clean,
	struct journal **out, struct errmsg *why)
{
	if (count > JOURNAL_MAX_MEMBERS || !first_present(members, count))
		return errmsg_set(why, -EINVAL, "no member to load the partial-write log from");
	cleanup(journal_freep) struct journal *j = NULL;
	int err = journal_new(io, members, count, &j);
	if (err == 0 && journal_max_blocks(j) < j->super.chunk_blocks * j->super.members)
		return errmsg_set(why, -EUCLEAN,
			"the journal area is too small for a partial write of a whole stripe");
	if (err == 0 && !clean && j->ring_blocks)
		err = rings_load(j);
	if (err < 0)
		return errmsg_set(why, err, "no memory for the partial-write log");
	*out = take_ptr(&j);
	return 0;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	for (unsigned i = 0; i < j->members_count; i++) {
		struct journal_member *jm = &j->members[i];
		if (!jm->j)
			break;
		assert(!journal_member_busy(jm));
		list_for_each (n, &jm->stripes)
			container_of(n, struct journal_stripe, node)->waiting = 0;
		journal_stripes_drop(jm);
		free(jm->batches);
		free(jm->block);
		free(jm->gaps.at);
		free(jm->voids.at);
	}
	free(j);
}

/* ---- an epoch ---- */

static int member_begin(struct journal_member *jm, uint64_t generation)
{
	const struct super *super = member_super(jm->member);
	journal_member_renew(jm);
	jm->header.generation = generation;
	jm->header.number = jm->j->next_number;
	journal_disk_header_encode(super, &jm->header, jm->block);
	int err = io_sync_write(
		member_file(jm->member), super->journal.offset_bytes, jm->block, BLOCK_BYTES);
	if (err == 0)
		err = io_sync_flush(member_file(jm->member));
	jm->fresh = err < 0;
	return err;
}

int journal_begin(struct journal *j, uint64_t generation)
{
	int first = 0;
	for (unsigned i = 0; i < j->members_count && j->ring_blocks; i++) {
		struct journal_member *jm = &j->members[i];
		jm->header.generation = generation;
		int err = jm->member ? member_begin(jm, generation) : 0;
		jm->failed = jm->failed || err < 0;
		first = first ? first : err;
	}
	return first;
}
