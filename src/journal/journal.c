/* SPDX-License-Identifier: MIT */
/* The life of a record: one batch being written a member; what arrives meanwhile shares the next.
 *
 *	journal_append -> waiting --batch_gather--> sent --batch_stored--> stored()
 *						       --flush_ended--> done()
 *			     |  no room: until journal_flushed()
 *			     |  member gone: done(-ENODEV)
 *	(each for every copy of the record; done() when the last one has ended)
 *	journal_ended -> its batch is less busy; when nothing keeps it --journal_flushed--> free
 *
 * A batch is one write: its header, then the callers' blocks where they lie; and a flush of the
 * member behind it. A write that is durable in itself would be one request less, but whoever waits
 * for stored() alone would wait for the medium, too. The next batch does not wait for the flush:
 * writes stand behind each other, and beside them flushes do, each for all that was written when it
 * began. So several batches may be lost or torn by a power cut, in any pattern; each says what was
 * durable when it was made, for a loader to tell them from damage (I5, I7).
 *
 * Two of them do not share an operation on a stripe: that goes on, and releases its stripe, when
 * its record is durable. So it makes no difference which of them a loader finds. The batch's number
 * is used up also where the write fails: no two batches of an epoch bear the same. */
#include "journal/internal.h"

#include <string.h>
#include <sys/random.h>
#include "base/crc32c.h"

/* Appends share a batch up to this; a larger one has a batch for itself. */
#define SHARED_PAYLOAD_BLOCKS 256u

static void batch_start(struct journal_member *jm);

static void copy_end(struct journal_copy *copy, int err)
{
	struct journal_append *a = copy->append;
	int first = 0;
	copy->err = err;
	copy->seq = err < 0 ? 0 : copy->seq;
	if (--a->pending)
		return;
	for (unsigned i = 0; i < a->copy_count; i++)
		first = first ? first : a->copies[i].err;
	a->done(a, first);
}

/* ---- refusals: in the engine's loop, never within the call ---- */

static void refusals_told(struct io_req *io, int err)
{
	struct journal *j = container_of(io, struct journal, alarm);
	struct list refused;
	(void)err;
	list_init(&refused);
	list_splice_back(&refused, &j->refused);
	j->refusing = false;
	struct list_node *n;
	while ((n = list_pop_front(&refused))) {
		struct journal_copy *copy = container_of(n, struct journal_copy, node);
		copy_end(copy, copy->err);
	}
}

static void refuse(struct journal *j, struct journal_copy *copy, int err)
{
	copy->err = err;
	list_push_back(&j->refused, &copy->node);
	if (j->refusing)
		return;
	j->refusing = true;
	j->alarm = (struct io_req){
		.kind = IO_ALARM, .due_ns = io_now_ns(j->io), .done = refusals_told};
	io_submit(j->io, &j->alarm);
}

/* ---- the end of a batch ---- */

static void copies_end(struct list *copies, int err)
{
	struct list_node *n;
	while ((n = list_pop_front(copies)))
		copy_end(container_of(n, struct journal_copy, node), err);
}

/* None of those that wait will be in a batch. */
static void waiting_end(struct journal_member *jm, int err)
{
	struct list waiting;
	list_init(&waiting);
	list_splice_back(&waiting, &jm->waiting);
	list_for_each (n, &waiting) {
		const struct journal_copy *copy = container_of(n, struct journal_copy, node);
		struct journal_stripe *s =
			journal_stripe_find(jm->j, jm->index, copy->append->stripe);
		if (s)
			s->waiting--;
	}
	copies_end(&waiting, err);
}

/* Of the copies under way, those in batches @first to @last. */
static void sent_end(struct journal_member *jm, uint64_t first, uint64_t last, int err)
{
	struct list ended;
	list_init(&ended);
	list_for_each_safe (n, &jm->sent) {
		uint64_t seq = container_of(n, struct journal_copy, node)->seq;
		if (seq < first || seq > last)
			continue;
		list_remove(n);
		list_push_back(&ended, n);
	}
	copies_end(&ended, err);
}

/* What a failed batch may have left in the ring is as good as any other record, but nobody waits
 * for it. */
static void batches_failed(struct journal_member *jm, uint64_t first, uint64_t last, int err)
{
	jm->failed = jm->failed || err != -ESHUTDOWN; /* without power it is no fault of its own */
	if (jm->fresh) {
		journal_member_renew(jm);
		return;
	}
	for (uint64_t seq = max_u64(first, jm->oldest_seq); seq <= last; seq++)
		batch_of(jm, seq)->busy = 0;
}

static void flush_start(struct journal_member *jm);

/* Everything up to the batch that the flush began behind is durable; or nothing is of what was
 * stored by now, for a failed flush may have dropped that, too. */
static void flush_ended(struct io_req *io, int err)
{
	struct journal_member *jm = container_of(io, struct journal_member, flush);
	uint64_t last = jm->flush_seq;
	jm->flushing = false;
	err = jm->written_to ? err : -ENODEV;
	if (err < 0) {
		last = jm->stored_seq;
		if (jm->written_to)
			batches_failed(jm, jm->durable_seq + 1, last, err);
	} else {
		jm->fresh = false;
		jm->durable_seq = last;
		jm->durable_tail = batch_of(jm, last)->tail;
		journal_stripes_release(jm);
		if (jm->stored_seq > last)
			flush_start(jm);
	}
	sent_end(jm, 0, last, err);
	batch_start(jm);
}

static void flush_start(struct journal_member *jm)
{
	jm->flushing = true;
	jm->flush_seq = jm->stored_seq;
	jm->flush = (struct io_req){
		.kind = IO_FLUSH, .file = member_file(jm->written_to), .done = flush_ended};
	io_submit(jm->j->io, &jm->flush);
}

static void batch_lost(struct journal_member *jm, uint64_t seq, int err)
{
	jm->writing = false;
	if (jm->written_to)
		batches_failed(jm, seq, seq, err);
	sent_end(jm, seq, seq, jm->written_to ? err : -ENODEV);
	batch_start(jm);
}

/* The flush goes on its way first: nobody below waits for what stored() does. */
static void batch_stored(struct io_req *io, int err)
{
	struct journal_member *jm = container_of(io, struct journal_member, io);
	uint64_t seq = jm->next_seq - 1;
	if (err < 0 || !jm->written_to) {
		batch_lost(jm, seq, err);
		return;
	}
	jm->stored_seq = seq;
	if (!jm->flushing)
		flush_start(jm);
	list_for_each (n, &jm->sent) {
		struct journal_copy *copy = container_of(n, struct journal_copy, node);
		struct journal_append *a = copy->append;
		if (copy->seq == seq && --a->unstored == 0 && a->stored)
			a->stored(a);
	}
	jm->writing = false;
	batch_start(jm);
}

/* ---- a batch ---- */

struct gathering {
	uint32_t at; /* in the ring */
	uint32_t payload_blocks, record_bytes;
	uint64_t number; /* the first record's */
	unsigned count;
};

/* True where @a fits into the batch as well; then its place may be another. */
static bool gathering_admits(
	const struct journal_member *jm, struct gathering *g, const struct journal_append *a)
{
	uint32_t payload = g->payload_blocks + a->payload_blocks;
	uint32_t records = g->record_bytes + journal_disk_record_bytes(a->run_count);
	if (g->count && (payload > SHARED_PAYLOAD_BLOCKS || payload >= jm->j->batch_blocks))
		return false;
	return jm->io.iov_count + a->iov_count <= IO_MAX_IOV &&
	       records <= JOURNAL_BATCH_RECORDS_MAX && journal_ring_admits(jm, 1 + payload, &g->at);
}

static void gather(struct journal_member *jm, struct gathering *g, struct journal_copy *copy)
{
	const struct journal_append *a = copy->append;
	uint8_t *header = jm->block + BLOCK_BYTES;
	list_remove(&copy->node);
	list_push_back(&jm->sent, &copy->node);
	copy->seq = jm->next_seq;
	g->number = g->count ? g->number : a->number;
	g->record_bytes = journal_disk_record_encode(a, g->record_bytes, header);
	g->payload_blocks += a->payload_blocks;
	g->count++;
	memcpy(jm->iov + jm->io.iov_count, a->iov, a->iov_count * sizeof(*a->iov));
	jm->io.iov_count += a->iov_count;
	struct journal_stripe *s = journal_stripe_find(jm->j, jm->index, a->stripe);
	if (s) {
		s->waiting--;
		journal_stripe_note(jm, s, a->runs, a->run_count, copy->seq);
	}
}

static void copy_must_wait(struct journal_member *jm, struct journal_copy *copy)
{
	if (!copy->waited)
		counter_add(&jm->j->counters.waits, 1);
	copy->waited = true;
}

static void batch_gather(struct journal_member *jm, struct gathering *g)
{
	struct list_node *n;
	jm->io.iov_count = 1;
	while ((n = list_first(&jm->waiting))) {
		struct journal_copy *copy = container_of(n, struct journal_copy, node);
		uint32_t at = g->at;
		if (!gathering_admits(jm, g, copy->append)) {
			g->at = at;
			if (!g->count)
				copy_must_wait(jm, copy);
			return;
		}
		gather(jm, g, copy);
	}
}

/* The header of the batch; that of the area stands before it, and goes along where it is new (then
 * the batch is the first of the ring). */
static void header_make(struct journal_member *jm, const struct gathering *g)
{
	struct journal *j = jm->j;
	struct journal_disk_batch batch = {.seq = jm->next_seq,
		.tail = journal_ring_tail(jm),
		.durable = jm->durable_seq,
		.number = g->number,
		.at = g->at,
		.payload_blocks = g->payload_blocks,
		.record_count = (uint16_t)g->count,
		.record_bytes = (uint16_t)g->record_bytes};
	journal_disk_batch_encode(&j->super, jm->header.cookie, &batch, jm->block + BLOCK_BYTES);
	jm->header.number = jm->fresh ? g->number : jm->header.number;
	if (jm->fresh)
		journal_disk_header_encode(&j->super, &jm->header, jm->block);
	unsigned blocks = jm->fresh ? 2 : 1;
	jm->iov[0] = (struct iovec){
		jm->block + (2 - blocks) * BLOCK_BYTES, (size_t)blocks * BLOCK_BYTES};
}

static void batch_send(struct journal_member *jm, const struct gathering *g)
{
	struct journal *j = jm->j;
	uint64_t at = member_super(jm->member)->journal.offset_bytes +
		      (jm->fresh ? 0 : (1 + (uint64_t)g->at) * BLOCK_BYTES);
	header_make(jm, g);
	*batch_of(jm, jm->next_seq) = (struct journal_batch){.at = g->at,
		.blocks = 1 + g->payload_blocks,
		.busy = g->count,
		.tail = journal_ring_tail(jm)};
	jm->next_seq++;
	jm->head = g->at + 1 + g->payload_blocks;
	jm->writing = true;
	jm->written_to = jm->member;
	jm->io = (struct io_req){.kind = IO_WRITE,
		.file = member_file(jm->member),
		.offset_bytes = at,
		.iov = jm->iov,
		.iov_count = jm->io.iov_count,
		.done = batch_stored};
	counter_add(&j->counters.batches, 1);
	counter_add(&j->counters.written_bytes, (1 + (uint64_t)g->payload_blocks) * BLOCK_BYTES);
	io_submit(j->io, &jm->io);
}

static void batch_start(struct journal_member *jm)
{
	struct gathering g = {0};
	if (jm->writing || !jm->member || list_empty(&jm->waiting))
		return;
	if (jm->flushing && (jm->fresh || !jm->written_to))
		return;
	batch_gather(jm, &g);
	if (g.count)
		batch_send(jm, &g);
}

/* ---- appending ---- */

uint32_t journal_max_blocks(const struct journal *j)
{
	return j->batch_blocks ? j->batch_blocks - 1 : 0;
}

static uint32_t payload_crc(const struct journal_append *a)
{
	uint32_t chain = 0;
	for (unsigned i = 0; i < a->iov_count; i++)
		for (size_t at = 0; at < a->iov[i].iov_len; at += BLOCK_BYTES)
			chain = journal_disk_crc_add(
				chain, (const uint8_t *)a->iov[i].iov_base + at);
	return chain;
}

/* What can be said of @a before it waits. */
static int append_check(struct journal_member *jm, const struct journal_append *a)
{
	struct journal_stripe *s;
	if (!jm->member)
		return -ENODEV;
	if (a->payload_blocks > journal_max_blocks(jm->j) || a->iov_count > JOURNAL_MAX_IOV ||
		journal_disk_record_bytes(a->run_count) > JOURNAL_BATCH_RECORDS_MAX)
		return -EFBIG;
	int err = journal_stripe_get(jm, a->stripe, a->runs, a->run_count, &s);
	if (s)
		s->waiting++;
	return err;
}

static void copy_start(struct journal *j, struct journal_copy *copy)
{
	struct journal_member *jm = &j->members[copy->member];
	int err = append_check(jm, copy->append);
	if (err < 0) {
		refuse(j, copy, err);
		return;
	}
	list_push_back(&jm->waiting, &copy->node);
	batch_start(jm);
}

void journal_append(struct journal *j, struct journal_append *a)
{
	assert(a->members && !(a->members >> j->members_count) && a->run_count);
	a->number = j->next_number++;
	a->crc = payload_crc(a);
	a->copy_count = 0;
	for (unsigned i = 0; i < j->members_count; i++) {
		if (!(a->members >> i & 1))
			continue;
		assert(a->copy_count < JOURNAL_MAX_RINGS);
		a->copies[a->copy_count++] = (struct journal_copy){.append = a, .member = i};
	}
	a->pending = a->unstored = a->copy_count;
	counter_add(&j->counters.appends, 1);
	for (unsigned i = 0; i < a->copy_count; i++)
		copy_start(j, &a->copies[i]);
}

void journal_ended(struct journal *j, struct journal_append *a)
{
	for (unsigned i = 0; i < a->copy_count; i++) {
		struct journal_copy *copy = &a->copies[i];
		if (copy->seq)
			batch_part_ended(&j->members[copy->member], copy->seq);
		copy->seq = 0;
	}
}

/* ---- flushes ---- */

uint64_t journal_epoch(struct journal *j)
{
	return ++j->epoch;
}

static bool oldest_is_idle(const struct journal_member *jm)
{
	return jm->oldest_seq < jm->next_seq && !batch_of(jm, jm->oldest_seq)->busy;
}

void journal_flushed(struct journal *j, uint64_t epoch)
{
	for (unsigned i = 0; i < j->members_count; i++) {
		struct journal_member *jm = &j->members[i];
		while (oldest_is_idle(jm) && batch_of(jm, jm->oldest_seq)->ended_epoch < epoch)
			jm->oldest_seq++;
		batch_start(jm);
	}
}

void journal_flush_failed(struct journal *j, int err)
{
	for (unsigned i = 0; i < j->members_count; i++)
		if (!journal_member_busy(&j->members[i]))
			waiting_end(&j->members[i], err);
}

static bool waits_for_room(const struct journal_member *jm)
{
	return !journal_member_busy(jm) && !list_empty(&jm->waiting);
}

bool journal_wants_flush(const struct journal *j)
{
	for (unsigned i = 0; i < j->members_count; i++) {
		const struct journal_member *jm = &j->members[i];
		if (jm->member && oldest_is_idle(jm) &&
			(journal_ring_used(jm) > j->ring_blocks / 2 || waits_for_room(jm)))
			return true;
	}
	return false;
}

bool journal_wants_resync(const struct journal *j, uint64_t *stripe)
{
	for (unsigned i = 0; i < j->members_count; i++) {
		const struct journal_member *jm = &j->members[i];
		if (!jm->member || !waits_for_room(jm))
			continue;
		list_for_each (n, (struct list *)&jm->stripes) {
			const struct journal_stripe *s =
				container_of(n, struct journal_stripe, node);
			if (!s->found || s->found_seq != jm->oldest_seq)
				continue;
			*stripe = s->stripe;
			return true;
		}
	}
	return false;
}

/* ---- members ---- */

/* Without random numbers time will do: what counts is that nobody who
 * writes data can know it before, and that no earlier epoch had it. */
void journal_member_renew(struct journal_member *jm)
{
	uint64_t cookie = 0;
	if (getrandom(&cookie, sizeof(cookie), GRND_NONBLOCK) != sizeof(cookie))
		cookie = io_now_ns(jm->j->io) ^ (uintptr_t)jm;
	jm->header.cookie = cookie;
	jm->fresh = true;
	jm->head = 0;
	jm->oldest_seq = jm->durable_tail = jm->next_seq;
	jm->durable_seq = 0;
	jm->gaps.count = 0;
	jm->voids.count = 0;
	journal_stripes_drop(jm);
}

void journal_set_member(struct journal *j, unsigned index, struct member *m)
{
	assert(index < j->members_count);
	struct journal_member *jm = &j->members[index];
	jm->member = m;
	jm->written_to = NULL; /* what is under way is for nobody any more */
	jm->failed = false;
	journal_member_renew(jm);
	waiting_end(jm, -ENODEV);
}

bool journal_busy(const struct journal *j)
{
	for (unsigned i = 0; i < j->members_count; i++)
		if (journal_member_busy(&j->members[i]))
			return true;
	return j->refusing;
}

uint32_t journal_failed_members(const struct journal *j)
{
	uint32_t failed = 0;
	for (unsigned i = 0; i < JOURNAL_MAX_MEMBERS; i++) /* absent ones have not failed */
		failed |= (uint32_t)j->members[i].failed << i;
	return failed;
}

struct journal_stats journal_stats(const struct journal *j)
{
	const struct journal_counters *c = &j->counters;
#define LOAD(field) .field = atomic_load_explicit(&c->field, memory_order_relaxed)
	return (struct journal_stats){LOAD(appends), LOAD(batches), LOAD(written_bytes),
		LOAD(waits), .ring_bytes = (uint64_t)j->ring_blocks * BLOCK_BYTES};
#undef LOAD
}
