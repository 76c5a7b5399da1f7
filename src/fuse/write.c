/* SPDX-License-Identifier: MIT */
/* Writes. Read it from top to bottom: that is what happens to a direct write.
 *
 *	op_write (worker, or the engine's thread, which goes as far as it can without waiting)
 *	  which policy is it under, and does that let it through?
 *	  source_choose: policy -> the bounce copy, or the writer's own memory
 *	  fs_submit, held open for hold_ns; under DIO_BUFFERED when it is its turn
 *	  DIO_DETECT does not need that memory yet: it is found while the transfer runs
 *	  DIO_VERIFY, DIO_ADAPTIVE: before a stripe is released the array has the source confirm
 *	  what it gave; where that cannot, the copy is stored instead (stripe/write_confirm.c)
 *	write_logged (engine thread): the array has it in its log, and nobody is to look at the
 *	writer's memory once more: settle now; the buffer is kept until write_done
 *	the same (worker), a first write that the kernel writes back: answered, as above
 *	write_done (engine thread), transfer_over (the one that is later, under DIO_DETECT)
 *	  DIO_DETECT, and what the array has not confirmed at once: the writer's memory is looked at
 *	  once more
 *	memory_seen (a sampler's thread)
 *	  is it as it was? where not, and where only a part was stored from the copy:
 *	  mend: all is written once more from it -> write_mended (engine thread)
 *	settle (the thread that knows last)
 *	  O_DSYNC, O_SYNC: once it is durable (syncer.h)
 *	  record: counters; an event where the bytes changed in flight
 *	  the source is freed: from here on the writer's memory is not read
 *	  pages that somebody may have read meanwhile are dropped (coherence.h)
 *	answer -> the writer goes on; the kernel is told where its pages have taken blocks
 *
 * The bounce copy is the buffer that the request was received in: the kernel's one copy is ours.
 * docs/policies.md says what each policy promises. */
#include "fuse/write_req.h"

#include <assert.h>
#include <errno.h>
#include <sys/mount.h>
#include "base/clock.h"

/* Answered before they are stored, at most; and how long each may be. */
#define TAKEN_MAX       128u
#define TAKEN_MAX_BYTES (256u << 10)

static struct buffer *buffer_of(struct write_req *w)
{
	return (struct buffer *)((uint8_t *)w - offsetof(struct buffer, state));
}

static void memory_seen(struct source_check *check, int err);
static void write_mended(struct fs_io *fs_io, int err);
static void settle(struct write_req *w);
static void let_go(struct write_req *w);

/* ---- the source ---- */

/* An atomic write is committed as one: from one copy, whatever the policy. */
static bool wants_memory(const struct write_req *w)
{
	if (dio_policy_samples_live(w->policy))
		return !w->fs_io.atomic;
	return dio_policy_checks(w->policy);
}

static bool is_caught(const struct write_req *w)
{
	return w->policy == DIO_ADAPTIVE && w->f->processes &&
	       processes_is_bounced(w->f->processes, w->bounce.writer.pid);
}

/* Where the writer's memory is; NULL: unknown, and @w says why. */
static struct live_buffer *memory_locate(struct write_req *w)
{
	struct live_request want = {.tid = fuse_req_ctx(w->req)->pid,
		.offset_bytes = w->fs_io.offset_bytes,
		.len_bytes = w->fs_io.len_bytes,
		.ino = w->f->mount_dev ? w->fs_io.ino : 0,
		.dev = w->f->mount_dev,
		.append = w->append,
		.bytes = w->bounce.bounce};
	struct live_buffer *memory;
	w->miss = live_locate(w->f->live, &want, &memory, &w->bounce.writer);
	w->caught = is_caught(w);
	if (!w->caught)
		return memory;
	live_buffer_free(memory);
	return NULL;
}

static struct source *live_source(struct write_req *w)
{
	struct live_buffer *memory = memory_locate(w);
	if (!memory)
		return NULL;
	struct source_live_config config = {.sampler = w->f->sampler,
		.buffer = memory,
		.bounce = w->bounce.bounce,
		.len_bytes = w->fs_io.len_bytes,
		.writer = &w->bounce.writer,
		.watch_only = dio_policy_is_stable(w->policy),
		.keep_guarded = dio_policy_samples_live(w->policy) && dio_policy_checks(w->policy),
		.flip = w->flip};
	struct source *live = source_live_new(&config);
	if (!live)
		w->miss = STATS_MISS_UNREADABLE;
	return live;
}

static void memory_find(struct write_req *w)
{
	if (wants_memory(w))
		w->live = live_source(w);
	write_record_source(w);
}

/* All samples come from the copy: where the memory is can be found out meanwhile. */
static bool finds_memory_meanwhile(const struct write_req *w)
{
	return w->direct && dio_policy_is_stable(w->policy) && dio_policy_checks(w->policy);
}

static void source_choose(struct write_req *w)
{
	source_init_bounce(&w->bounce, buffer_payload(buffer_of(w)), w->fs_io.len_bytes);
	w->fs_io.source = &w->bounce;
	if (!w->direct)
		return;
	w->fs_io.hold_ns = w->f->hold_ns;
	w->fs_io.atomic = front_policy_is_atomic(w->file);
	w->bounce.writer.tid = fuse_req_ctx(w->req)->pid;
	w->bounce.writer.uid = fuse_req_ctx(w->req)->uid;
	if (finds_memory_meanwhile(w))
		return;
	memory_find(w);
	if (w->live)
		w->fs_io.source = w->live;
}

/* ---- completion: the look at the writer's memory ---- */

/* A sample could not be taken: the stripe may have got a part of the copy and a part of what the
 * memory held. */
static bool is_blind(const struct write_req *w)
{
	return w->live->found.failed && !w->live->stable;
}

/* fs_submit() is not for the thread that this is found out on. */
static void mend_now(struct later_job *job)
{
	struct write_req *w = container_of(job, struct write_req, later);
	w->fs_io.source = &w->bounce;
	w->fs_io.hold_ns = 0;
	w->fs_io.mend = true;
	w->fs_io.done = write_mended;
	fs_submit(w->f->fs, &w->fs_io);
}

/* Mirrors, parity and tuples agree again when all of it was written from one copy. */
static void mend(struct write_req *w)
{
	w->later.run = mend_now;
	later_post(w->f->later, &w->later);
}

static void note_changed(struct write_req *w)
{
	w->changed = true;
	if (w->policy == DIO_ADAPTIVE && w->f->processes)
		processes_set_bounced(w->f->processes, &w->live->writer);
}

static void memory_changed(struct write_req *w)
{
	note_changed(w);
	mend(w);
}

/* It was written from the copy, as a whole. */
static void copy_stored(struct write_req *w, int err)
{
	w->mended = err == 0;
	w->err = w->changed && w->policy == DIO_VERIFY ? -EIO : err;
	settle(w);
}

/* The array has stored the copy, of some of its stripes at least. */
static void was_replaced(struct write_req *w)
{
	if (w->live->found.unlike_guard)
		note_changed(w);
	if (w->live->found.replaced_bytes < w->fs_io.len_bytes || w->err < 0)
		mend(w);
	else
		copy_stored(w, 0);
}

/* Nothing was stored since the array looked. */
static bool is_confirmed(const struct write_req *w)
{
	return w->err == 0 && w->live->found.confirmed_bytes == w->fs_io.len_bytes;
}

static void transfer_over(struct write_req *w)
{
	int err = w->err;
	bool checks = w->live && dio_policy_checks(w->policy);
	if (!checks || (err < 0 && err != -EILSEQ)) {
		settle(w);
	} else if (w->live->found.replaced_bytes) {
		was_replaced(w);
	} else if (is_confirmed(w)) {
		settle(w);
	} else if (is_blind(w)) {
		mend(w);
	} else if (err == -EILSEQ) {
		if (source_mutated(w->live))
			memory_changed(w);
		else
			settle(w);
	} else {
		w->check = (struct source_check){.src = w->live,
			.kind = w->live->stable ? SOURCE_CHECK_COPY : SOURCE_CHECK_GUARD,
			.done = memory_seen};
		source_check(&w->check);
	}
}

/* Of what is done side by side a part is over. */
static void part_over(struct write_req *w)
{
	if (atomic_fetch_sub(&w->parts, 1) == 1)
		transfer_over(w);
}

static void write_done(struct fs_io *fs_io, int err)
{
	struct write_req *w = container_of(fs_io, struct write_req, fs_io);
	if (w->early) {
		if (err < 0)
			write_record_loss(w, err);
		let_go(w);
		return;
	}
	w->err = err;
	part_over(w);
}

/* The answer is a part of its own: pages may have to be dropped before it. */
static void write_logged(struct fs_io *fs_io)
{
	struct write_req *w = container_of(fs_io, struct write_req, fs_io);
	w->early = true;
	atomic_fetch_add(&w->parts, 1);
	settle(w);
}

static void memory_seen(struct source_check *check, int err)
{
	struct write_req *w = container_of(check, struct write_req, check);
	if (w->live->stable)
		settle(w);
	else if (err < 0)
		mend(w);
	else if (check->differs)
		memory_changed(w);
	else
		settle(w);
}

static void write_mended(struct fs_io *fs_io, int err)
{
	copy_stored(container_of(fs_io, struct write_req, fs_io), err);
}

/* ---- the answer ---- */

static void turn_has_come(struct later_job *job)
{
	struct write_req *w = container_of(job, struct write_req, later);
	fs_submit(w->f->fs, &w->fs_io);
}

/* Before the answer: then the file may be closed. */
static struct write_req *next_in_turn(struct write_req *w)
{
	if (!w->direct || w->policy != DIO_BUFFERED)
		return NULL;
	struct coherence_turn *next = coherence_pass_turn(w->file);
	return next ? container_of(next, struct write_req, turn) : NULL;
}

static void let_go(struct write_req *w)
{
	struct front *f = w->f;
	if (w->early && atomic_fetch_sub(&w->parts, 1) > 1)
		return;
	if (w->taken)
		atomic_fetch_sub(&f->taken_writes, 1);
	buffer_put(buffer_of(w));
	front_transfer_end(f);
}

static void blocks_told(struct coherence_drop *drop)
{
	let_go(container_of(drop, struct write_req, drop));
}

/* Not before the answer: whoever evicts the inode may wait for it. */
static void tell_blocks(struct write_req *w)
{
	w->drop = (struct coherence_drop){.ino = w->fs_io.ino, .blocks = true, .done = blocks_told};
	coherence_drop(w->f->coherence, &w->drop);
}

/* Of pages that were written back. What the kernel is made to ask for again also brings it to us
 * before it accepts the next write (ops_attr.c). */
static bool must_tell_blocks(struct write_req *w)
{
	if (!w->fs_io.keep_times || (!w->fs_io.allocated && w->err != -ENOSPC))
		return false;
	if (w->err == -ENOSPC)
		coherence_set_no_space(w->file);
	return coherence_set_blocks_stale(w->file);
}

static void answer(struct write_req *w)
{
	struct front *f = w->f;
	struct write_req *next = next_in_turn(w);
	bool tell = must_tell_blocks(w);
	if (w->err < 0)
		reply_err(w->req, w->err);
	else
		fuse_reply_write(w->req, w->fs_io.len_bytes);
	if (next) {
		next->later.run = turn_has_come;
		later_post(f->later, &next->later);
	}
	if (tell)
		tell_blocks(w);
	else
		let_go(w);
}

static void pages_dropped(struct coherence_drop *drop)
{
	answer(container_of(drop, struct write_req, drop));
}

/* Pages that may be older than the write; under DIO_BUFFERED in any case. */
static bool must_drop_pages(struct write_req *w)
{
	if (!w->around)
		return false;
	bool marked =
		coherence_write_ended(w->file, w->fs_io.offset_bytes, w->fs_io.len_bytes, &w->drop);
	return marked || w->policy == DIO_BUFFERED;
}

static void is_durable(struct sync_job *job, int err)
{
	struct write_req *w = container_of(job, struct write_req, sync);
	int late = fs_heard_check(w->f->fs, w->fs_io.ino, &w->file->heard);
	w->err = err < 0 ? err : late;
	settle(w);
}

/* As O_SYNC wants it, or as O_DSYNC, which is one of its bits. */
static void make_durable(struct write_req *w)
{
	w->syncs = false;
	w->sync.ino = w->fs_io.ino;
	w->sync.done = is_durable;
	syncer_post(w->f->syncer, &w->sync);
}

static void settle(struct write_req *w)
{
	if (w->syncs && w->err == 0) {
		make_durable(w);
		return;
	}
	write_record(w);
	source_free(w->live);
	if (w->around && front_leaves_times_stale(w->f))
		coherence_set_times_stale(w->file);
	if (!must_drop_pages(w)) {
		answer(w);
		return;
	}
	w->drop.done = pages_dropped;
	coherence_drop(w->f->coherence, &w->drop);
}

/* ---- submission ---- */

/* It comes from the copy, and is over when that is stored. Nobody waits for what the kernel writes
 * back; and one at a time means stored. */
static bool may_be_early(const struct write_req *w)
{
	return w->direct && !w->live && !w->syncs && w->policy != DIO_BUFFERED;
}

/* Whoever closes a file, or sets its times, waits for what the kernel writes back: not for the
 * array, unless so much is under way that the array is what all wait for. Large pieces are written
 * back beside their writer. */
static bool may_be_taken(struct write_req *w)
{
	if (!w->fs_io.keep_times || w->fs_io.len_bytes > TAKEN_MAX_BYTES)
		return false;
	w->taken = atomic_fetch_add(&w->f->taken_writes, 1) < TAKEN_MAX;
	if (!w->taken)
		atomic_fetch_sub(&w->f->taken_writes, 1);
	return w->taken;
}

/* For the thread that has received it, be it the engine's: nothing of it waits. */
static void prepare(struct write_req *w)
{
	source_choose(w);
	if (may_be_taken(w))
		w->fs_io.taken = write_logged;
	bool meanwhile = finds_memory_meanwhile(w);
	if (may_be_early(w) && !meanwhile)
		w->fs_io.logged = write_logged;
	w->parts = meanwhile ? 2 : 1;
	front_transfer_begin(w->f);
}

/* By a worker. */
static void submit(struct write_req *w)
{
	struct front *f = w->f;
	if (w->strips)
		attr_kill_privs(w->req, w->fs_io.ino, w->strips_bits);
	prepare(w);
	bool meanwhile = finds_memory_meanwhile(w);
	bool waits =
		w->direct && w->policy == DIO_BUFFERED && !coherence_take_turn(w->file, &w->turn);
	if (!waits)
		fs_submit(f->fs, &w->fs_io);
	if (meanwhile) {
		memory_find(w);
		part_over(w);
	}
}

/* By a worker, what the engine's thread has received. */
static void submit_later(struct buffer *b)
{
	submit((struct write_req *)b->state);
}

static void go_on(struct buffer *b)
{
	struct write_req *w = (struct write_req *)b->state;
	fs_submit_rest(w->f->fs, &w->fs_io);
}

/* On the engine's thread. */
static void submit_now(struct write_req *w)
{
	bool looks = w->direct && (wants_memory(w) || w->policy == DIO_BUFFERED);
	if (looks || w->strips) {
		receiver_hand(w->f, buffer_of(w), submit_later);
		return;
	}
	prepare(w);
	if (!fs_submit_now(w->f->fs, &w->fs_io))
		receiver_hand(w->f, buffer_of(w), go_on);
}

static struct write_req *write_new(
	fuse_req_t req, const struct fuse_file_info *fi, enum dio_policy policy)
{
	struct buffer *b = receiver_take_buffer();
	struct write_req *w = (struct write_req *)b->state;
	*w = (struct write_req){.req = req,
		.f = front_of(req),
		.file = file_of(fi),
		.policy = policy,
		.direct = is_direct(fi),
		.around = !fi->writepage && (is_direct(fi) || file_of(fi)->around_cache),
		.begun_ns = clock_monotonic_ns()};
	w->append = fi->flags & O_APPEND;
	/* The page cache's writers have lost theirs when they wrote to it. */
	w->strips = !fi->writepage && coherence_may_have_privs(w->file);
	w->strips_bits = wire_request_kills_privs();
	bool syncs = fi->flags & O_DSYNC || w->f->mount_flags & MS_SYNCHRONOUS;
	w->syncs = w->around && w->file->around_cache && syncs;
	w->sync.data_only = (fi->flags & O_SYNC) != O_SYNC;
	return w;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_write(f->control, req, ino, data, size, fi);
		return;
	}
	enum dio_policy policy;
	int err = front_policy_classify(req, fi, size, offset, &policy);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	struct write_req *w = write_new(req, fi, policy);
	if (w->direct)
		w->flip = flip_set_meet(f->options->flips, ino);
	assert((const uint8_t *)data == buffer_payload(buffer_of(w)));
	w->fs_io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = ino,
		.offset_bytes = (uint64_t)offset,
		.len_bytes = (uint32_t)size,
		.keep_times = fi->writepage && !f->options->write_through,
		.done = write_done};
	if (receiver_is_engine())
		submit_now(w);
	else
		submit(w);
}
