/* SPDX-License-Identifier: MIT */
/* Transfers: submission, completion, waiting.
 *
 *	stablefs_write -> lib_write_prepare (source) -> lib_op_start -> fs_submit, piece by piece
 *	piece_done -> the last one: lib_write_answered (checks; may do it again) -> lib_op_finish
 *	lib_op_finish -> done(), or the queue of what has completed -> stablefs_wait, stablefs_reap
 *
 * Threads: fs_submit() may block, so what a completion callback submits is started by the worker
 * (L3); a callback knows the engine's thread by completing_here. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include "base/block.h"
#include "base/clock.h"
#include "lib/internal.h"

enum io_state { IO_IDLE, IO_UNDER_WAY, IO_QUEUED };

/* This thread runs a completion: it may be the engine's. */
static _Thread_local bool completing_here;

/* ---- the worker ---- */

static struct lib_op *job_next(struct stablefs *v)
{
	pthread_mutex_lock(&v->lock);
	while (list_empty(&v->jobs) && !v->stop)
		pthread_cond_wait(&v->job_came, &v->lock);
	struct list_node *n = list_pop_front(&v->jobs);
	pthread_mutex_unlock(&v->lock);
	return n ? container_of(n, struct lib_op, node) : NULL;
}

static void *worker_run(void *arg)
{
	struct lib_op *op;
	while ((op = job_next(arg)))
		op->run(op);
	return NULL;
}

int lib_worker_start(struct stablefs *v)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&v->worker, NULL, worker_run, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	v->has_worker = err == 0;
	if (v->has_worker)
		pthread_setname_np(v->worker, "stablefs-worker");
	return -err;
}

void lib_worker_stop(struct stablefs *v)
{
	if (!v->has_worker)
		return;
	pthread_mutex_lock(&v->lock);
	v->stop = true;
	pthread_cond_broadcast(&v->job_came);
	pthread_mutex_unlock(&v->lock);
	pthread_join(v->worker, NULL);
	v->has_worker = false;
}

void lib_op_post(struct lib_op *op, void (*run)(struct lib_op *op))
{
	struct stablefs *v = op->v;
	op->run = run;
	pthread_mutex_lock(&v->lock);
	list_push_back(&v->jobs, &op->node);
	pthread_cond_signal(&v->job_came);
	pthread_mutex_unlock(&v->lock);
}

/* ---- completion ---- */

static void queue_push(struct stablefs *v, struct stablefs_io *io)
{
	pthread_mutex_lock(&v->lock);
	io->next = NULL;
	io->state = IO_QUEUED;
	if (v->last_done)
		v->last_done->next = io;
	else
		v->first_done = io;
	v->last_done = io;
	pthread_cond_broadcast(&v->completed);
	pthread_mutex_unlock(&v->lock);
}

/* L1: from done() on, or once it is queued, nothing of the io is touched. The volume waits for this
 * thread before it goes: for the engine's and the worker's; another one is in a call of its own. */
static void io_complete(struct stablefs *v, struct stablefs_io *io)
{
	bool nested = completing_here;
	atomic_fetch_sub(&io->file->under_way, 1);
	atomic_fetch_sub(&v->under_way, 1);
	if (!io->done) {
		queue_push(v, io);
		return;
	}
	completing_here = true;
	io->done(io);
	completing_here = nested;
}

static int64_t op_result(const struct lib_op *op, int err)
{
	int64_t bytes = 0;
	if (err < 0)
		return err;
	for (unsigned i = 0; i < op->count; i++)
		bytes += op->pieces[i].io.done_bytes;
	return bytes;
}

static bool is_write(const struct lib_op *op)
{
	return op->pieces[0].io.kind == STRIPE_WRITE;
}

void lib_op_finish(struct lib_op *op, int err)
{
	struct stablefs *v = op->v;
	struct stablefs_io *io = op->io;
	io->result = op_result(op, err);
	if (err < 0)
		atomic_fetch_add(&v->count.failed, 1);
	if (is_write(op))
		lib_write_release(op);
	free(op);
	io_complete(v, io);
}

static int first_error(const struct lib_op *op)
{
	int err = 0;
	for (unsigned i = 0; i < op->count && !err; i++)
		err = op->pieces[i].err;
	return err;
}

static void op_answered(struct lib_op *op)
{
	if (is_write(op))
		lib_write_answered(op);
	else
		lib_op_finish(op, first_error(op));
}

static void piece_done(struct fs_io *fio, int err)
{
	struct lib_piece *p = container_of(fio, struct lib_piece, io);
	struct lib_op *op = p->op;
	p->err = err;
	if (atomic_fetch_sub(&op->pending, 1) == 1)
		op_answered(op);
}

/* ---- submission ---- */

static bool takes_part(const struct lib_op *op, const struct lib_piece *p)
{
	return !op->redoing || p->changed;
}

/* The op counts as one piece more while that goes on, so that it cannot end early. */
static void pieces_submit(struct lib_op *op)
{
	struct fs *fs = op->v->fs;
	atomic_store(&op->pending, 1);
	for (unsigned i = 0; i < op->count; i++) {
		if (!takes_part(op, &op->pieces[i]))
			continue;
		atomic_fetch_add(&op->pending, 1);
		fs_submit(fs, &op->pieces[i].io);
	}
	if (atomic_fetch_sub(&op->pending, 1) == 1)
		op_answered(op);
}

void lib_op_start(struct lib_op *op)
{
	if (completing_here)
		lib_op_post(op, pieces_submit);
	else
		pieces_submit(op);
}

static struct lib_op *op_new(struct stablefs_io *io, enum stripe_kind kind)
{
	unsigned count = (unsigned)((io->len + LIB_PIECE_BYTES - 1) / LIB_PIECE_BYTES);
	struct lib_op *op = calloc(1, sizeof(*op) + count * sizeof(op->pieces[0]));
	if (!op)
		return NULL;
	op->v = io->file->v;
	op->io = io;
	op->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct lib_piece *p = &op->pieces[i];
		size_t at = (size_t)i * LIB_PIECE_BYTES;
		uint8_t *data = (uint8_t *)io->buffer + at;
		p->op = op;
		p->data = data;
		p->io = (struct fs_io){.kind = kind,
			.ino = io->file->ino,
			.offset_bytes = io->offset + at,
			.len_bytes = (uint32_t)min_u64(io->len - at, LIB_PIECE_BYTES),
			.data = kind == STRIPE_READ ? data : NULL,
			.source = kind == STRIPE_WRITE ? &p->source.src : NULL,
			.done = piece_done};
	}
	return op;
}

static int submit(struct stablefs_io *io, enum stripe_kind kind)
{
	if (!io->file || !io->buffer || !io->len || io->len > STABLEFS_MAX_BYTES)
		return -EINVAL;
	struct stablefs *v = io->file->v;
	struct lib_op *op = op_new(io, kind);
	if (!op)
		return -ENOMEM;
	io->result = 0;
	io->happened = io->first_changed = io->changed_bytes = 0;
	io->state = IO_UNDER_WAY;
	int err = kind == STRIPE_WRITE ? lib_write_prepare(op) : 0;
	if (err < 0) {
		free(op);
		return err;
	}
	bool write = kind == STRIPE_WRITE;
	atomic_fetch_add(write ? &v->count.writes : &v->count.reads, 1);
	atomic_fetch_add(write ? &v->count.write_bytes : &v->count.read_bytes, io->len);
	atomic_fetch_add(&v->under_way, 1);
	atomic_fetch_add(&io->file->under_way, 1);
	lib_op_start(op);
	return 0;
}

int stablefs_write(struct stablefs_io *io)
{
	return submit(io, STRIPE_WRITE);
}

int stablefs_read(struct stablefs_io *io)
{
	return submit(io, STRIPE_READ);
}

/* ---- waiting ---- */

static void queue_remove(struct stablefs *v, struct stablefs_io *io)
{
	struct stablefs_io *before = NULL, *at = v->first_done;
	while (at != io) {
		before = at;
		at = at->next;
	}
	if (before)
		before->next = io->next;
	else
		v->first_done = io->next;
	if (v->last_done == io)
		v->last_done = before;
	io->state = IO_IDLE;
}

int64_t stablefs_wait(struct stablefs_io *io)
{
	struct stablefs *v = io->file->v;
	pthread_mutex_lock(&v->lock);
	while (io->state == IO_UNDER_WAY)
		pthread_cond_wait(&v->completed, &v->lock);
	if (io->state == IO_QUEUED)
		queue_remove(v, io);
	pthread_mutex_unlock(&v->lock);
	return io->result;
}

static void deadline_after(int timeout_ms, struct timespec *out)
{
	uint64_t due = clock_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	*out = (struct timespec){(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};
}

int stablefs_reap(struct stablefs *v, struct stablefs_io **ios, unsigned max, int timeout_ms)
{
	struct timespec due;
	int n = 0, err = 0;
	deadline_after(timeout_ms > 0 ? timeout_ms : 0, &due);
	pthread_mutex_lock(&v->lock);
	while (max && !v->first_done && timeout_ms && !err)
		err = timeout_ms < 0 ? pthread_cond_wait(&v->completed, &v->lock)
				     : pthread_cond_timedwait(&v->completed, &v->lock, &due);
	while (v->first_done && (unsigned)n < max) {
		ios[n] = v->first_done;
		queue_remove(v, ios[n++]);
	}
	pthread_mutex_unlock(&v->lock);
	return n;
}

static int64_t submit_and_wait(struct stablefs_io *io, enum stripe_kind kind)
{
	int err = submit(io, kind);
	return err < 0 ? err : stablefs_wait(io);
}

int64_t stablefs_pwrite(struct stablefs_file *f, const void *buffer, size_t len, uint64_t offset,
	enum stablefs_policy policy)
{
	struct stablefs_io io = {.file = f,
		.offset = offset,
		.buffer = (void *)(uintptr_t)buffer,
		.len = len,
		.policy = policy};
	return submit_and_wait(&io, STRIPE_WRITE);
}

int64_t stablefs_pread(struct stablefs_file *f, void *buffer, size_t len, uint64_t offset)
{
	struct stablefs_io io = {.file = f, .offset = offset, .buffer = buffer, .len = len};
	return submit_and_wait(&io, STRIPE_READ);
}
