/* SPDX-License-Identifier: MIT */
/* What is remembered of a write. Each direct write counts once as one of: bounced, buffered,
 * bounced_adaptive, observed, unobserved. */
#include "fuse/write_req.h"

#include <errno.h>
#include "base/clock.h"
#include "base/log.h"

/* ---- at submission ---- */

/* Said once: it concerns all writers of that user. */
static void explain_permission(const struct event_writer *writer)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	if (atomic_flag_test_and_set(&said))
		return;
	log_warn("the memory of process %d (%s) may not be read: its direct writes are bounced and "
		 "count as unobserved. To allow it, let the daemon run as the same user, or as "
		 "root (CAP_SYS_PTRACE); under Yama's ptrace_scope 1 also let the program call "
		 "prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY), or set kernel.yama.ptrace_scope to 0. "
		 "Said once",
		(int)(writer->pid ? writer->pid : writer->tid), writer->comm);
}

static bool wants_memory(const struct write_req *w)
{
	return w->live || w->miss != LIVE_FOUND;
}

void write_record_source(const struct write_req *w)
{
	struct stats *s = &w->f->stats;
	if (w->caught)
		stats_add(&s->bounced_adaptive, 1);
	else if (w->policy == DIO_BUFFERED)
		stats_add(&s->buffered, 1);
	else if (!wants_memory(w))
		stats_add(&s->bounced, 1);
	else if (!w->live)
		stats_add(&s->unobserved[w->miss], 1);
	if (w->miss == LIVE_NOT_PERMITTED)
		explain_permission(&w->bounce.writer);
}

/* ---- at the end ---- */

static bool is_complete(const struct source *live)
{
	return live->found.samples && !live->found.failed;
}

static bool is_mutated(const struct write_req *w)
{
	return w->live && (source_mutated(w->live) || w->changed);
}

/* Failed although it could be written: DIO_VERIFY. */
static bool was_rejected(const struct write_req *w)
{
	return w->err && w->changed && w->mended;
}

/* What became of it (event.what). */
static const char *outcome(const struct write_req *w)
{
	if (w->changed && w->mended)
		return w->err ? "rejected" : "redone";
	if (w->err)
		return w->err == -EILSEQ ? "refused" : "failed";
	if (w->mended || w->live->stable)
		return "copy stored";
	return dio_policy_checks(w->policy) && !w->live->found.torn ? "verified" : "stored";
}

/* Who loses by it is found out by the thread that completes events. */
static void mutation_emit(const struct write_req *w)
{
	struct event e = event_new(EVENT_MUTATION);
	e.time_ns = clock_read_ns(CLOCK_REALTIME);
	e.writer = w->live->writer;
	e.ino = w->fs_io.ino;
	e.file_offset_bytes = w->fs_io.offset_bytes;
	e.len_bytes = w->fs_io.len_bytes;
	e.first_changed = w->live->found.first_changed;
	e.changed_bytes = w->live->found.changed_bytes;
	e.error = w->err;
	e.what = outcome(w);
	e.policy = dio_policy_name(w->policy);
	if (w->f->options->events)
		event_emit(front_events_sink(w->f->options->events), &e);
}

static void record_live(const struct write_req *w)
{
	struct stats *s = &w->f->stats;
	stats_add(is_complete(w->live) ? &s->observed : &s->unobserved[STATS_MISS_UNREADABLE], 1);
	stats_add(&s->redone, w->mended);
	stats_add(&s->rejected, was_rejected(w));
	stats_add(&s->missed, w->live->found.torn && !w->changed && !w->mended && !w->err);
	if (!is_mutated(w))
		return;
	stats_add(&s->mutated, 1);
	stats_add(&s->mutated_by[w->policy], 1);
	mutation_emit(w);
}

/* Under policies that do not look, the thread is all that is known of the writer. */
static void record_process(const struct write_req *w)
{
	struct process_io io = {.writer = w->live ? &w->live->writer : &w->bounce.writer,
		.ino = w->fs_io.ino,
		.bytes = w->err ? 0 : w->fs_io.len_bytes,
		.observed = w->live && is_complete(w->live),
		.mutated = is_mutated(w),
		.error = w->err};
	io.unobserved = !w->caught && wants_memory(w) && !io.observed;
	processes_count(w->f->processes, &io);
}

static void record_direct(const struct write_req *w)
{
	struct stats *s = &w->f->stats;
	stats_add(&s->direct_writes, 1);
	stats_add(&s->direct_write_bytes, w->err ? 0 : w->fs_io.len_bytes);
	stats_add_time(s, STATS_DIRECT_WRITE, clock_monotonic_ns() - w->begun_ns);
	if (w->err && !was_rejected(w))
		stats_add(w->err == -EILSEQ ? &s->refused : &s->failed, 1);
	if (w->live)
		record_live(w);
	if (w->f->processes)
		record_process(w);
}

void write_record_loss(const struct write_req *w, int err)
{
	struct stats *s = &w->f->stats;
	stats_add(err == -EILSEQ ? &s->refused : &s->failed, 1);
}

void write_record(const struct write_req *w)
{
	struct stats *s = &w->f->stats;
	if (w->direct) {
		record_direct(w);
		return;
	}
	stats_add(&s->cached_writes, 1);
	stats_add(&s->cached_write_bytes, w->err ? 0 : w->fs_io.len_bytes);
	stats_add_time(s, STATS_CACHED_WRITE, clock_monotonic_ns() - w->begun_ns);
}
