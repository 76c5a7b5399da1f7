/* SPDX-License-Identifier: MIT */
/* Making the log: format its area, load what the rings hold, begin an epoch.
 *
 * Loading one ring:
 *
 *	headers_scan	every block of the ring that is a batch header of this epoch
 *	newest_find	the newest whose payload is whole; one behind it may be torn
 *	run_trace	down from there, number by number, to its tail: where one is missing or
 *			damaged, whatever is older does not count (I5)
 *	batch_apply	of that run, oldest first: the newest block of each slot stays
 *
 * What an image can cost is bounded by the size of its ring, which is 64 MiB at most. */
#include "journal/internal.h"

#include <stdlib.h>
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"

#define READ_BYTES (UINT64_C(1) << 20)

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

/* ---- one ring ---- */

struct ring_load {
	struct journal_member *jm;
	uint8_t *ring;                      /* owned; as read */
	struct journal_disk_batch *batches; /* owned; headers found, then in order of numbers */
	uint32_t count;
	uint32_t newest; /* of the batches: */
	uint32_t *run;   /* owned; those that count, newest first */
	uint32_t run_count;
	unsigned damaged; /* pieces that could not be read */
};

static void ring_load_fini(struct ring_load *load)
{
	free(load->ring);
	free(load->batches);
	free(load->run);
}

static uint8_t *ring_block(const struct ring_load *load, uint32_t at)
{
	return load->ring + (size_t)at * BLOCK_BYTES;
}

static int ring_load_init(struct ring_load *load)
{
	uint32_t blocks = load->jm->j->ring_blocks;
	load->ring = mem_alloc_blocks((size_t)blocks * BLOCK_BYTES);
	load->batches = calloc(blocks, sizeof(*load->batches));
	load->run = calloc(blocks, sizeof(*load->run));
	return load->ring && load->batches && load->run ? 0 : -ENOMEM;
}

/* What cannot be read stays zeros. */
static void ring_read(struct ring_load *load)
{
	struct member *m = load->jm->member;
	uint64_t at = member_super(m)->journal.offset_bytes + BLOCK_BYTES;
	uint64_t len = (uint64_t)load->jm->j->ring_blocks * BLOCK_BYTES;
	for (uint64_t done = 0; done < len; done += READ_BYTES) {
		uint64_t n = min_u64(READ_BYTES, len - done);
		if (io_sync_read(member_file(m), at + done, load->ring + done, n) == 0)
			continue;
		memset(load->ring + done, 0, n);
		load->damaged++;
	}
}

static int compare_seq(const void *a, const void *b)
{
	const struct journal_disk_batch *x = a, *y = b;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void headers_scan(struct ring_load *load)
{
	const struct journal *j = load->jm->j;
	for (uint32_t at = 0; at < j->ring_blocks; at++) {
		struct journal_disk_batch *b = &load->batches[load->count];
		load->count += journal_disk_batch_decode(
			&j->super, load->jm->header.cookie, at, ring_block(load, at), b);
	}
	qsort(load->batches, load->count, sizeof(*load->batches), compare_seq);
}

static uint32_t payload_crc(const uint8_t *payload, uint32_t blocks)
{
	uint32_t chain = 0;
	for (uint32_t i = 0; i < blocks; i++)
		chain = journal_disk_crc_add(chain, payload + (size_t)i * BLOCK_BYTES);
	return chain;
}

static bool batch_is_whole(const struct ring_load *load, const struct journal_disk_batch *b)
{
	const uint8_t *header = ring_block(load, b->at), *payload = header + BLOCK_BYTES;
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

/* The batch of number @seq at or below index @i that is whole; of a torn one and the one that took
 * its number after the next start it is the latter. load->count where there is none. */
static uint32_t whole_of_seq(const struct ring_load *load, uint32_t i, uint64_t seq)
{
	for (uint32_t n = i + 1; n && load->batches[n - 1].seq >= seq; n--)
		if (load->batches[n - 1].seq == seq && batch_is_whole(load, &load->batches[n - 1]))
			return n - 1;
	return load->count;
}

/* The newest, or where that is torn the one before it. Where neither is whole the medium has lost
 * what was durable, and nothing older can be trusted. */
static bool newest_find(struct ring_load *load)
{
	if (!load->count)
		return false;
	uint64_t seq = load->batches[load->count - 1].seq;
	load->newest = whole_of_seq(load, load->count - 1, seq);
	if (load->newest == load->count)
		load->newest = whole_of_seq(load, load->count - 1, seq - 1);
	return load->newest < load->count;
}

static void run_trace(struct ring_load *load)
{
	uint64_t tail = load->batches[load->newest].tail;
	uint32_t i = load->newest;
	for (;;) {
		load->run[load->run_count++] = i;
		uint64_t seq = load->batches[i].seq;
		if (seq == tail)
			return;
		i = whole_of_seq(load, i, seq - 1);
		if (i == load->count)
			return;
	}
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

static int rows_put(struct journal_stripe *s, const struct journal_run *run, const uint8_t *payload)
{
	for (unsigned i = 0; i < run->rows; i++) {
		struct journal_row *r = row_get(s, run->row + i);
		const uint8_t *block = payload + (size_t)i * BLOCK_BYTES;
		if (!r || block_put(&r->parity, block) < 0)
			return -ENOMEM;
		for (unsigned slot = 0; run->written_slots >> slot; slot++) {
			if (!(run->written_slots >> slot & 1))
				continue;
			block += (size_t)run->rows * BLOCK_BYTES;
			if (block_put(&r->data[slot], block) < 0)
				return -ENOMEM;
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
	return rows_put(s, run, payload);
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

static int batch_apply(const struct ring_load *load, const struct journal_disk_batch *b)
{
	const uint8_t *header = ring_block(load, b->at), *payload = header + BLOCK_BYTES;
	uint32_t at = 0;
	for (unsigned i = 0; i < b->record_count; i++) {
		struct journal_disk_record record;
		journal_disk_record_decode(header, &at, &record);
		int err = record_apply(load->jm, b->seq, &record, payload);
		if (err < 0)
			return err;
		payload += (size_t)record.payload_blocks * BLOCK_BYTES;
	}
	return 0;
}

/* The log goes on behind the newest; the batches that stripes were found in are kept. */
static int batches_apply(struct ring_load *load)
{
	struct journal_member *jm = load->jm;
	const struct journal_disk_batch *newest = &load->batches[load->newest];
	jm->oldest_seq = jm->durable_tail = load->batches[load->run[load->run_count - 1]].seq;
	jm->next_seq = newest->seq + 1;
	jm->head = newest->at + 1 + newest->payload_blocks;
	for (uint32_t n = load->run_count; n; n--) {
		const struct journal_disk_batch *b = &load->batches[load->run[n - 1]];
		*batch_of(jm, b->seq) =
			(struct journal_batch){.at = b->at, .blocks = 1 + b->payload_blocks};
		int err = batch_apply(load, b);
		if (err < 0)
			return err;
	}
	list_for_each (n, &jm->stripes) {
		const struct journal_stripe *s = container_of(n, struct journal_stripe, node);
		if (s->found)
			batch_of(jm, s->found_seq)->busy++;
	}
	return 0;
}

/* ---- all rings ---- */

/* A run whose batches overlap was never written by us; room would be counted wrongly. */
static bool run_is_possible(const struct ring_load *load)
{
	uint64_t blocks = 0;
	for (uint32_t n = load->run_count; n; n--) {
		const struct journal_disk_batch *b = &load->batches[load->run[n - 1]];
		blocks += 1 + b->payload_blocks;
		if (n == load->run_count)
			continue;
		const struct journal_disk_batch *before = &load->batches[load->run[n]];
		if (b->at != 0 && b->at != before->at + 1 + before->payload_blocks)
			return false;
	}
	return blocks <= load->jm->j->ring_blocks;
}

/* No batch counts, and the newest, which is torn, says that older ones were needed. */
static bool lost_needed(const struct ring_load *load, bool found)
{
	if (!load->count || found)
		return false;
	const struct journal_disk_batch *last = &load->batches[load->count - 1];
	return last->tail < last->seq;
}

static int ring_load(struct journal_member *jm)
{
	cleanup(ring_load_fini) struct ring_load load = {.jm = jm};
	if (ring_load_init(&load) < 0)
		return -ENOMEM;
	ring_read(&load);
	headers_scan(&load);
	bool found = newest_find(&load);
	if (found)
		run_trace(&load);
	if (load.damaged || lost_needed(&load, found) || (found && !run_is_possible(&load)))
		log_warn("%s: the partial-write log is damaged: older records do not count",
			member_path(jm->member));
	if (!found || !run_is_possible(&load)) {
		journal_member_renew(jm);
		return 0;
	}
	return batches_apply(&load);
}

static int member_load(struct journal_member *jm, bool clean)
{
	const struct super *super = member_super(jm->member);
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(BLOCK_BYTES);
	if (!block)
		return -ENOMEM;
	journal_member_renew(jm);
	if (clean || !jm->j->ring_blocks)
		return 0;
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
	jm->fresh = false;
	return ring_load(jm);
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
	list_init(&j->refused);
	int err = members_init(j, members, count);
	if (err < 0)
		return err;
	*out = take_ptr(&j);
	return 0;
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
	for (unsigned i = 0; i < count && err == 0; i++)
		if (members[i])
			err = member_load(&j->members[i], clean);
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
		assert(!jm->writing);
		list_for_each (n, &jm->stripes)
			container_of(n, struct journal_stripe, node)->waiting = 0;
		journal_stripes_drop(jm);
		free(jm->batches);
		free(jm->block);
	}
	free(j);
}

/* ---- an epoch ---- */

static int member_begin(struct journal_member *jm, uint64_t generation)
{
	const struct super *super = member_super(jm->member);
	journal_member_renew(jm);
	jm->header.generation = generation;
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
