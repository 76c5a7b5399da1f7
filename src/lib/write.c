/* SPDX-License-Identifier: MIT */
/* What is done about one write: a policy is a choice of source and a check at the end.
 *
 *	bounce, detect     source: a copy in registered memory. detect compares it at the end
 *	zerocopy, trusted  source: the caller's memory in place
 *	verify, adaptive   source: the caller's memory in place, with a CRC of each block when its
 *	                   guard is made. Changed (or refused by a member, which can mean that):
 *	                   a copy is made now, and written over it by the worker, so that data,
 *	                   parity and guards agree again
 *	cow                source: the pages, taken away from the caller (inflight/cow.h)
 *
 * Threads: preparing on the caller's, checking on the engine's, doing again on the worker's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"
#include "inflight/policy.h"
#include "lib/internal.h"

#define SECTOR_BYTES 512u

/* ---- which policy ---- */

static bool is_direct(enum stablefs_policy policy)
{
	return policy == STABLEFS_ZEROCOPY || policy == STABLEFS_VERIFY ||
	       policy == STABLEFS_ADAPTIVE || policy == STABLEFS_COW;
}

/* Every span of the write is used where it lies. */
static bool lies_in_place(const struct stablefs_io *io)
{
	return (uintptr_t)io->buffer % SECTOR_BYTES == 0 && io->offset % BLOCK_BYTES == 0 &&
	       io->len % BLOCK_BYTES == 0;
}

/* The policy that the caller asks for, or -EINVAL. */
static int policy_asked(const struct stablefs *v, const struct stablefs_io *io)
{
	unsigned policy = io->policy ? io->policy : v->policy;
	if (policy >= STABLEFS_POLICY_COUNT || io->flags & ~(unsigned)STABLEFS_TRUSTED)
		return -EINVAL;
	bool direct = is_direct(policy) || io->flags & STABLEFS_TRUSTED;
	if (direct && (io->offset % SECTOR_BYTES || io->len % SECTOR_BYTES))
		return -EINVAL;
	return (int)policy;
}

static enum stablefs_policy policy_possible(
	const struct stablefs *v, const struct stablefs_io *io, enum stablefs_policy asked)
{
	if (io->flags & STABLEFS_TRUSTED)
		return STABLEFS_ZEROCOPY;
	if (asked == STABLEFS_ADAPTIVE && atomic_load(&v->adaptive_bounced))
		return STABLEFS_BOUNCE;
	if (is_direct(asked) && asked != STABLEFS_ZEROCOPY && asked != STABLEFS_COW &&
		!lies_in_place(io))
		return STABLEFS_BOUNCE;
	return asked;
}

/* ---- sources ---- */

static int piece_copy(struct lib_op *op, struct lib_piece *p)
{
	struct stripe_engine *eng = volume_engine(op->v->volume);
	p->copy = stripe_buffer_alloc(eng, p->io.len_bytes);
	if (!p->copy)
		return -ENOMEM;
	memcpy(p->copy, p->data, p->io.len_bytes);
	source_init_bounce(&p->source.src, p->copy, p->io.len_bytes);
	return 0;
}

static int prepare_copies(struct lib_op *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		if (piece_copy(op, &op->pieces[i]) < 0)
			return -ENOMEM;
	}
	op->io->happened |= STABLEFS_COPIED;
	atomic_fetch_add(&op->v->count.copied_bytes, op->io->len);
	return 0;
}

static void prepare_in_place(struct lib_op *op, const uint8_t *data)
{
	for (unsigned i = 0; i < op->count; i++)
		source_init_bounce(&op->pieces[i].source.src, data + (size_t)i * LIB_PIECE_BYTES,
			op->pieces[i].io.len_bytes);
	if (!lies_in_place(op->io))
		op->io->happened |= STABLEFS_COPIED;
}

static int prepare_guarded(struct lib_op *op)
{
	op->crcs = malloc(op->io->len / BLOCK_BYTES * sizeof(*op->crcs));
	if (!op->crcs)
		return -ENOMEM;
	for (unsigned i = 0; i < op->count; i++)
		guarded_source_init(&op->pieces[i].source, op->pieces[i].data,
			op->pieces[i].io.len_bytes,
			op->crcs + (size_t)i * (LIB_PIECE_BYTES / BLOCK_BYTES));
	return 0;
}

static int prepare_cow(struct lib_op *op)
{
	struct stablefs *v = op->v;
	if (!v->cow)
		atomic_fetch_add(&v->count.cow_unavailable, 1);
	if (!v->cow || cow_take(v->cow, op->io->buffer, op->io->len, &op->hold) != COW_TAKEN) {
		op->policy = STABLEFS_BOUNCE;
		return prepare_copies(op);
	}
	prepare_in_place(op, op->hold.data);
	op->io->happened |= STABLEFS_HELD;
	return 0;
}

static int prepare_sources(struct lib_op *op)
{
	switch (op->policy) {
	case STABLEFS_ZEROCOPY:
		prepare_in_place(op, op->io->buffer);
		return 0;
	case STABLEFS_VERIFY:
	case STABLEFS_ADAPTIVE:
		return prepare_guarded(op);
	case STABLEFS_COW:
		return prepare_cow(op);
	default:
		return prepare_copies(op);
	}
}

static void copies_free(struct lib_op *op)
{
	struct stripe_engine *eng = volume_engine(op->v->volume);
	for (unsigned i = 0; i < op->count; i++) {
		struct lib_piece *p = &op->pieces[i];
		if (p->copy)
			stripe_buffer_free(eng, p->copy, p->io.len_bytes);
		p->copy = NULL;
	}
}

void lib_write_release(struct lib_op *op)
{
	copies_free(op);
	if (op->hold.extent)
		cow_give_back(op->v->cow, &op->hold);
	free(op->crcs);
	op->crcs = NULL;
}

int lib_write_prepare(struct lib_op *op)
{
	struct stablefs *v = op->v;
	struct stablefs_io *io = op->io;
	int asked = policy_asked(v, io);
	if (v->read_only || asked < 0)
		return v->read_only ? -EROFS : asked;
	op->policy = policy_possible(v, io, asked);
	int err = prepare_sources(op);
	if (err < 0) {
		lib_write_release(op);
		return err;
	}
	atomic_fetch_add(&v->count.by_policy[asked], 1);
	if (io->flags & STABLEFS_TRUSTED)
		atomic_fetch_add(&v->count.trusted, 1);
	return 0;
}

/* ---- checks ---- */

static void op_note_change(struct lib_op *op, uint32_t first, uint32_t bytes)
{
	struct stablefs_io *io = op->io;
	if (!(io->happened & STABLEFS_CHANGED) || first < io->first_changed)
		io->first_changed = first;
	io->happened |= STABLEFS_CHANGED;
	io->changed_bytes += bytes;
}

/* Bytes that differ; @first is the lowest of them. */
static uint32_t bytes_differ(const uint8_t *a, const uint8_t *b, uint32_t len, uint32_t *first)
{
	uint32_t n = 0;
	if (memcmp(a, b, len) == 0)
		return 0;
	for (uint32_t i = 0; i < len; i++)
		if (a[i] != b[i] && !n++)
			*first = i;
	return n;
}

static void compare_copies(struct lib_op *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		const struct lib_piece *p = &op->pieces[i];
		uint32_t first = 0;
		uint32_t n = bytes_differ(p->data, p->copy, p->io.len_bytes, &first);
		if (n)
			op_note_change(op, i * LIB_PIECE_BYTES + first, n);
	}
}

/* Which pieces have to be written again: those that changed, and those that a member refused, since
 * that may have seen a change that has gone. */
static bool compare_guarded(struct lib_op *op)
{
	bool any = false;
	for (unsigned i = 0; i < op->count; i++) {
		struct lib_piece *p = &op->pieces[i];
		uint32_t first = 0, blocks = 0;
		if (!p->err || p->err == -EILSEQ)
			blocks = guarded_source_changed(&p->source, &first);
		if (blocks)
			op_note_change(op, i * LIB_PIECE_BYTES + first * BLOCK_BYTES,
				blocks * BLOCK_BYTES);
		p->changed = blocks || p->err == -EILSEQ;
		any = any || p->changed;
	}
	return any;
}

static void emit_changed(struct lib_op *op, const char *what, int err)
{
	static const enum dio_policy policies[STABLEFS_POLICY_COUNT] = {
		[STABLEFS_DETECT] = DIO_DETECT,
		[STABLEFS_VERIFY] = DIO_VERIFY,
		[STABLEFS_ADAPTIVE] = DIO_ADAPTIVE};
	const struct stablefs_io *io = op->io;
	struct event e = event_new(EVENT_MUTATION);
	e.time_ns = clock_read_ns(CLOCK_REALTIME);
	e.ino = io->file->ino;
	e.file_offset_bytes = io->offset;
	e.len_bytes = (uint32_t)io->len;
	e.first_changed = io->first_changed;
	e.changed_bytes = io->changed_bytes;
	e.error = err;
	e.what = what;
	e.policy = dio_policy_name(policies[op->policy]);
	atomic_fetch_add(&op->v->count.changed, 1);
	event_emit(&op->v->events.sink, &e);
}

/* ---- done again ---- */

/* On the worker. The source of the first attempt is not used any more: the engine is through. */
static void redo_start(struct lib_op *op)
{
	int err = 0;
	for (unsigned i = 0; i < op->count && !err; i++) {
		if (!op->pieces[i].changed)
			continue;
		op->pieces[i].io.mend = true; /* the old parity may be wrong */
		err = piece_copy(op, &op->pieces[i]);
	}
	if (err < 0) {
		emit_changed(op, "failed", err);
		lib_op_finish(op, err);
		return;
	}
	lib_op_start(op);
}

/* What a copy is refused for as well is damage on the members, and nobody's change. */
static void redo_answered(struct lib_op *op, int err)
{
	if (!err) {
		op->io->happened |= STABLEFS_REDONE | STABLEFS_CHANGED;
		atomic_fetch_add(&op->v->count.redone, 1);
	}
	if (!(op->io->happened & STABLEFS_CHANGED)) {
		lib_op_finish(op, err);
		return;
	}
	if (op->policy == STABLEFS_ADAPTIVE)
		atomic_store(&op->v->adaptive_bounced, true);
	if (!err && op->policy == STABLEFS_VERIFY)
		err = -EIO;
	emit_changed(op, op->io->happened & STABLEFS_REDONE ? "redone" : "failed", err);
	lib_op_finish(op, err);
}

static int first_error(const struct lib_op *op)
{
	int err = 0;
	for (unsigned i = 0; i < op->count && !err; i++)
		err = op->pieces[i].err;
	return err;
}

void lib_write_answered(struct lib_op *op)
{
	bool guarded = op->policy == STABLEFS_VERIFY || op->policy == STABLEFS_ADAPTIVE;
	if (op->redoing) {
		redo_answered(op, first_error(op));
		return;
	}
	if (guarded && compare_guarded(op)) {
		op->redoing = true;
		lib_op_post(op, redo_start);
		return;
	}
	if (op->policy == STABLEFS_DETECT)
		compare_copies(op);
	if (op->policy == STABLEFS_DETECT && op->io->happened & STABLEFS_CHANGED)
		emit_changed(op, "copy stored", first_error(op));
	lib_op_finish(op, first_error(op));
}
