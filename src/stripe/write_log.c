/* SPDX-License-Identifier: MIT */
/* The partial-write log's part in a write (journal.h): what the operation is about to store goes
 * durably to the log before any of it is sent.
 *
 *	write_log_start		parity is made: which rows need a record? append it
 *		--> stored	it is on the rings' media: write_log_answer()
 *		--> logged	and durable	--> write_promised()		write.c
 *				a parity member fails: when it is out, without its log
 *	write_log_answer	writers may be answered (stripe.h, logged())
 *	write_log_cancel	something was refused or failed: what was logged is not to come
 *				back after a crash --> cancelled --> write_finish()
 *	write_log_end		the operation ends: its record may go after a flush
 *
 * A row that is written in full needs none: no block of it is at rest. It only sees to it that an
 * older record of the row does not come back (superseded). What is logged is what the parity was
 * made of, whatever the writer's memory holds by then. The record goes to each parity member that
 * is there, with all parities, so any one of them is enough to put the stripe right.
 *
 * Owner thread: the engine's. */
#include <stdlib.h>
#include "base/clock.h"
#include "stripe/write.h"

struct write_log {
	struct write_op *op;
	struct journal_append append;
	bool stored;              /* a flush would make it durable */
	bool appended;            /* done() said that it is */
	struct journal_run *runs; /* behind this */
	unsigned run_count;
	struct iovec iov[JOURNAL_MAX_IOV];
	unsigned iov_count;
	uint32_t blocks;
	struct engine_parked parked;
};

static struct journal *journal_of(const struct write_op *op)
{
	return op->eng->config.journal;
}

/* Those that are there. */
static uint32_t parity_slots(const struct write_op *op)
{
	uint32_t data = (1u << op->eng->data_slots) - 1, all = (1u << op->eng->slots) - 1;
	return all & ~data & ~op->view.missing;
}

static uint16_t parity_members(const struct write_op *op)
{
	uint16_t members = 0;
	for (unsigned slot = op->eng->data_slots; slot < op->eng->slots; slot++)
		if (parity_slots(op) >> slot & 1)
			members |= (uint16_t)(1u << geometry_member(&op->eng->config.geometry,
						      op->view.stripe, slot));
	return members;
}

/* ---- what is to be logged ---- */

static bool log_is_used(const struct write_op *op)
{
	return journal_of(op) && write_has_parity(op) && parity_slots(op);
}

static uint16_t slots_to_log(const struct write_op *op, unsigned row)
{
	uint32_t slots = parity_slots(op);
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		if (*write_span_at(op, slot, row))
			slots |= 1u << slot;
	return (uint16_t)slots;
}

static bool is_held(const struct write_op *op, unsigned row)
{
	uint16_t members = parity_members(op);
	for (unsigned i = 0; members >> i; i++)
		if (members >> i & 1 && journal_holds(journal_of(op), i, op->view.stripe, row))
			return true;
	return false;
}

/* What @row needs: false where it is not touched, or full without anything to supersede. */
static bool row_needs(const struct write_op *op, unsigned row, struct journal_run *out)
{
	if (op->plan.row[row] == PLAN_ROW_UNTOUCHED)
		return false;
	bool full = op->plan.row[row] == PLAN_ROW_FULL;
	*out = (struct journal_run){.row = (uint16_t)row,
		.rows = 1,
		.superseded = full,
		.slots = full ? 0 : slots_to_log(op, row)};
	return !full || is_held(op, row);
}

static bool run_continues(const struct journal_run *last, const struct journal_run *next)
{
	return last->row + last->rows == next->row && last->superseded == next->superseded &&
	       last->slots == next->slots;
}

static unsigned runs_make(const struct write_op *op, struct journal_run *runs)
{
	unsigned n = 0;
	struct journal_run next;
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++) {
		if (!row_needs(op, row, &next))
			continue;
		if (n && run_continues(&runs[n - 1], &next))
			runs[n - 1].rows++;
		else if (runs)
			runs[n++] = next;
	}
	return n;
}

/* ---- where its bytes are ---- */

static bool piece_add(struct write_log *log, const uint8_t *blocks, unsigned rows)
{
	size_t len = (size_t)rows * BLOCK_BYTES;
	struct iovec *last = log->iov_count ? &log->iov[log->iov_count - 1] : NULL;
	log->blocks += rows;
	if (last && (uint8_t *)last->iov_base + last->iov_len == blocks) {
		last->iov_len += len;
		return true;
	}
	if (log->iov_count == JOURNAL_MAX_IOV)
		return false;
	log->iov[log->iov_count++] = (struct iovec){(void *)(uintptr_t)blocks, len};
	return true;
}

/* The rows of one slot, span by span, as the parity saw them. */
static bool slot_add(struct write_log *log, const struct journal_run *run, unsigned slot)
{
	unsigned end = run->row + run->rows;
	for (unsigned row = run->row; row < end;) {
		const struct span *s = *write_span_at(log->op, slot, row);
		unsigned rows = (unsigned)min_u64(s->row + s->rows, end) - row;
		if (!piece_add(log, s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES, rows))
			return false;
		row += rows;
	}
	return true;
}

static bool run_add(struct write_log *log, const struct journal_run *run)
{
	struct write_op *op = log->op;
	if (run->superseded)
		return true;
	for (unsigned slot = 0; run->slots >> slot; slot++) {
		if (!(run->slots >> slot & 1))
			continue;
		if (slot < op->eng->data_slots
				? !slot_add(log, run, slot)
				: !piece_add(log, write_parity_at(op, slot, run->row), run->rows))
			return false;
	}
	return true;
}

/* False where the writes are too scattered for one record. */
static bool pieces_make(struct write_log *log)
{
	log->iov_count = log->blocks = 0;
	for (unsigned i = 0; i < log->run_count; i++)
		if (!run_add(log, &log->runs[i]))
			return false;
	return true;
}

/* ---- appending ---- */

static void stored(struct journal_append *a)
{
	struct write_log *log = container_of(a, struct write_log, append);
	log->stored = true;
	write_log_answer(log->op);
}

static void append(struct write_log *log, void (*done)(struct journal_append *a, int err))
{
	struct write_op *op = log->op;
	log->append = (struct journal_append){.stripe = op->view.stripe,
		.members = parity_members(op),
		.runs = log->runs,
		.run_count = log->run_count,
		.iov = log->iov,
		.iov_count = log->iov_count,
		.payload_blocks = log->blocks,
		.stored = log->blocks ? stored : NULL,
		.done = done};
	journal_append(journal_of(op), &log->append);
}

static const struct member *copy_member(const struct write_op *op, unsigned i)
{
	unsigned slot = geometry_slot(
		&op->eng->config.geometry, op->view.stripe, op->log->append.copies[i].member);
	return op->view.member[slot];
}

/* Those that were to keep the log are out, and the parities with them; or one stays, with its
 * error. */
static void parity_members_settled(struct engine_parked *parked)
{
	struct write_log *log = container_of(parked, struct write_log, parked);
	struct write_op *op = log->op;
	int err = 0;
	for (unsigned i = 0; i < log->append.copy_count; i++)
		if (log->append.copies[i].err &&
			engine_member_fate(op->eng, copy_member(op, i)) != MEMBER_OUT)
			err = -EIO;
	write_promised(op, err);
}

/* What becomes of a copy's member: out where the copy is not missed. */
static enum member_fate copy_fate(struct write_op *op, unsigned i)
{
	int err = op->log->append.copies[i].err;
	if (!err)
		return MEMBER_OUT;
	if (!member_error_is_its_own(err) || err == -EFBIG)
		return MEMBER_STAYS;
	return engine_member_failed(op->eng, copy_member(op, i), err);
}

static bool any_copy_is_durable(const struct journal_append *a)
{
	for (unsigned i = 0; i < a->copy_count; i++)
		if (!a->copies[i].err)
			return true;
	return false;
}

static void logged(struct journal_append *a, int err)
{
	struct write_log *log = container_of(a, struct write_log, append);
	struct write_op *op = log->op;
	(void)err; /* each copy has its own */
	assert_engine_thread(op->eng);
	log->appended = any_copy_is_durable(a);
	bool leaves = false;
	int stays = 0;
	for (unsigned i = 0; i < a->copy_count; i++) {
		enum member_fate fate = copy_fate(op, i);
		leaves |= fate == MEMBER_LEAVES;
		stays = fate == MEMBER_STAYS && !stays ? a->copies[i].err : stays;
	}
	if (stays || !leaves) {
		write_promised(op, stays);
		return;
	}
	log->parked.resume = parity_members_settled;
	engine_park(op->eng, &log->parked);
}

static int log_new(struct write_op *op)
{
	op->log = calloc(1, sizeof(*op->log) + op->row_count * sizeof(*op->log->runs));
	if (!op->log)
		return -ENOMEM;
	op->log->op = op;
	op->log->runs = (struct journal_run *)(op->log + 1);
	return 0;
}

static bool any_row_needs(const struct write_op *op)
{
	struct journal_run run;
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++)
		if (row_needs(op, row, &run))
			return true;
	return false;
}

int write_log_start(struct write_op *op)
{
	if (!log_is_used(op))
		return 0;
	if (op->log)
		journal_ended(journal_of(op), &op->log->append);
	else if (!any_row_needs(op))
		return 0;
	else if (log_new(op) < 0)
		return -ENOMEM;
	struct write_log *log = op->log;
	log->run_count = runs_make(op, log->runs);
	if (!pieces_make(log))
		return -E2BIG;
	append(log, logged);
	return 1;
}

/* ---- who may be answered ---- */

/* Some of its rows are written in full, which is not logged. */
static bool any_row_full(const struct write_op *op, const struct stripe_part *part)
{
	for (unsigned i = 0; i < op->span_count; i++) {
		const struct span *s = &op->spans[i];
		for (unsigned row = s->row; s->part == part && row < s->row + s->rows; row++)
			if (op->plan.row[row] == PLAN_ROW_FULL)
				return true;
	}
	return false;
}

/* The mark must be there as well: without it nobody would look for the record. */
void write_log_answer(struct write_op *op)
{
	struct write_log *log = op->log;
	if (!log || !(log->stored || log->appended) || !op->marked || op->again)
		return;
	list_for_each (n, &op->parts) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		const struct source *source = part->req->source;
		bool settled = source->stable && !source->ops->confirm && !part->req->hold_ns;
		if (settled && !any_row_full(op, part))
			part_logged(op->eng, part);
	}
}

/* ---- what did not happen ---- */

static void cancelled(struct journal_append *a, int err)
{
	struct write_log *log = container_of(a, struct write_log, append);
	(void)err; /* the writers hear of what failed first */
	log->appended = false;
	write_finish(log->op, log->op->finish_err);
}

static bool any_part_failed(const struct write_op *op)
{
	list_for_each (n, &op->parts)
		if (container_of(n, struct stripe_part, node)->err < 0)
			return true;
	return false;
}

/* Then its bytes stay in the log, for a crash to bring them back. */
static bool any_answered_failed(const struct write_op *op, int err)
{
	list_for_each (n, &op->parts) {
		const struct stripe_part *part = container_of(n, struct stripe_part, node);
		if (part->req->answered && (err < 0 || part->err < 0))
			return true;
	}
	return false;
}

bool write_log_cancel(struct write_op *op, int err)
{
	struct write_log *log = op->log;
	if (!log || !log->appended || err == -ESHUTDOWN || (!err && !any_part_failed(op)) ||
		any_answered_failed(op, err) || !log_is_used(op))
		return false;
	list_for_each (n, &op->parts)
		part_unlogged(container_of(n, struct stripe_part, node));
	journal_ended(journal_of(op), &log->append);
	for (unsigned i = 0; i < log->run_count; i++) {
		log->runs[i].superseded = true;
		log->runs[i].slots = 0;
	}
	log->iov_count = log->blocks = 0;
	op->finish_err = err;
	append(log, cancelled);
	return true;
}

void write_log_end(struct write_op *op)
{
	if (op->log)
		journal_ended(journal_of(op), &op->log->append);
	free(op->log);
}

/* ---- room ---- */

#define RETRY_NS (100 * NS_PER_MS)

static void flush_for_room_ended(struct stripe_flush *flush, int err)
{
	struct engine_log *log = container_of(flush, struct engine_log, flush);
	log->flushing = false;
	if (err == 0)
		return;
	log->flush_after_ns = io_now_ns(flush->eng->config.io) + RETRY_NS;
	journal_flush_failed(flush->eng->config.journal, err);
}

static void resync_for_room_ended(struct stripe_check *check, int err)
{
	struct engine_log *log = container_of(check, struct engine_log, resync);
	log->resyncing = false;
	if (err != -ENOMEM) /* there is no other try */
		journal_forget(log->eng->config.journal, check->stripe);
}

void write_log_run(struct stripe_engine *eng)
{
	struct journal *j = eng->config.journal;
	struct engine_log *log = &eng->log;
	uint64_t stripe;
	if (!j || eng->config.read_only)
		return;
	if (!log->flushing && !eng->flush_running && journal_wants_flush(j) &&
		io_now_ns(eng->config.io) >= log->flush_after_ns) {
		log->flushing = true;
		log->flush = (struct stripe_flush){.done = flush_for_room_ended};
		flush_accept(eng, &log->flush);
		flush_start(eng);
	}
	if (!log->resyncing && journal_wants_resync(j, &stripe)) {
		log->resyncing = true;
		log->eng = eng;
		log->resync = (struct stripe_check){
			.mode = STRIPE_RESYNC, .stripe = stripe, .done = resync_for_room_ended};
		stripe_check(eng, &log->resync);
	}
}
