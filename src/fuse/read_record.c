/* SPDX-License-Identifier: MIT */
/* What is remembered of a read. Each direct read counts once as one of: bounced, observed,
 * unobserved. */
#include "fuse/read_req.h"

#include "base/clock.h"

/* Nothing of it had a tuple (holes): there was nothing to look at. */
static bool is_unprotected(const struct read_req *r)
{
	return r->sink && !r->sink->found.failed && !r->sink->found.views;
}

static bool is_observed(const struct read_req *r)
{
	return r->sink && !r->sink->found.failed && r->sink->found.views;
}

static bool is_unobserved(const struct read_req *r)
{
	return r->wanted && !is_observed(r) && !is_unprotected(r);
}

static void mutation_emit(const struct read_req *r)
{
	struct event e = event_new(EVENT_READ_MUTATION);
	e.time_ns = clock_read_ns(CLOCK_REALTIME);
	e.writer = r->reader;
	e.ino = r->fs_io.ino;
	e.file_offset_bytes = r->fs_io.offset_bytes;
	e.len_bytes = r->fs_io.len_bytes;
	e.first_changed = r->sink->found.first_changed;
	e.error = r->err;
	e.policy = dio_policy_name(r->policy);
	if (r->f->options->events)
		event_emit(front_events_sink(r->f->options->events), &e);
}

static void record_process(const struct read_req *r)
{
	struct process_io io = {.writer = &r->reader,
		.ino = r->fs_io.ino,
		.is_read = true,
		.bytes = r->err ? 0 : r->fs_io.done_bytes,
		.observed = is_observed(r),
		.unobserved = is_unobserved(r),
		.mutated = read_is_changed(r),
		.error = r->err};
	processes_count(r->f->processes, &io);
}

static void record_sight(const struct read_req *r)
{
	struct stats *s = &r->f->stats;
	if (is_observed(r))
		stats_add(&s->reads_observed, 1);
	else if (is_unobserved(r))
		stats_add(&s->reads_unobserved[r->sink ? STATS_MISS_UNREADABLE : r->miss], 1);
	else
		stats_add(&s->reads_bounced, 1);
	stats_add(&s->reads_again, r->again);
	if (!read_is_changed(r))
		return;
	stats_add(&s->reads_mutated, 1);
	mutation_emit(r);
}

void read_record(const struct read_req *r)
{
	struct stats *s = &r->f->stats;
	uint32_t bytes = r->err ? 0 : r->fs_io.done_bytes;
	stats_add(r->direct ? &s->direct_reads : &s->cached_reads, 1);
	stats_add(r->direct ? &s->direct_read_bytes : &s->cached_read_bytes, bytes);
	stats_add_time(s, r->direct ? STATS_DIRECT_READ : STATS_CACHED_READ,
		clock_monotonic_ns() - r->begun_ns);
	if (!r->direct)
		return;
	stats_add(&s->reads_failed, r->err != 0);
	record_sight(r);
	if (r->f->processes)
		record_process(r);
}
