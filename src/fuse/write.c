/* SPDX-License-Identifier: MIT */
/* Writes. Read it from top to bottom: that is what happens to a direct write.
 *
 *	op_write (worker)
 *	  classify: direct, or the page cache's -> is it aligned?
 *	  source_choose: policy -> the bounce copy, or the writer's own memory
 *	  fs_submit, held open for hold_ns
 *	write_done (engine thread)
 *	  record: counters; an event where the bytes changed in flight
 *	  the source is freed: from here on the writer's memory is not read
 *	  pages that somebody may have read meanwhile are dropped (coherence.h)
 *	answer -> the writer goes on
 *
 * The bounce copy is the buffer that the request was received in: the kernel's one copy is ours. */
#include "fuse/internal.h"

#include <assert.h>
#include <errno.h>
#include "base/clock.h"
#include "inflight/live.h"
#include "inflight/source.h"

struct write_req {
	fuse_req_t req;
	struct front *f;
	struct coherence_file *file;
	struct coherence_drop drop;
	struct fs_io fs_io;
	struct source bounce; /* used where @live is NULL */
	struct source *live;  /* owned */
	enum live_miss miss;  /* why it is not live, where it was to be */
	bool direct;
	int err;
	uint64_t begun_ns;
};
_Static_assert(sizeof(struct write_req) <= BUFFER_STATE_BYTES, "lives in its buffer");

static struct buffer *buffer_of(struct write_req *w)
{
	return (struct buffer *)((uint8_t *)w - offsetof(struct buffer, state));
}

/* ---- the source ---- */

static struct source *live_source(struct write_req *w, const struct fuse_file_info *fi)
{
	struct live_request want = {.tid = fuse_req_ctx(w->req)->pid,
		.offset_bytes = w->fs_io.offset_bytes,
		.len_bytes = w->fs_io.len_bytes,
		.ino = w->f->mount_dev ? w->fs_io.ino : 0,
		.dev = w->f->mount_dev,
		.append = fi->flags & O_APPEND};
	struct live_buffer *memory;
	w->miss = live_locate(w->f->live, &want, &memory, &w->bounce.writer);
	if (w->miss != LIVE_FOUND)
		return NULL;
	struct source_live_config config = {.sampler = w->f->sampler,
		.buffer = memory,
		.bounce = w->bounce.bounce,
		.len_bytes = w->fs_io.len_bytes,
		.writer = &w->bounce.writer};
	struct source *live = source_live_new(&config);
	if (!live)
		w->miss = STATS_MISS_UNREADABLE;
	return live;
}

static void source_choose(struct write_req *w, const struct fuse_file_info *fi)
{
	struct stats *s = &w->f->stats;
	source_init_bounce(&w->bounce, buffer_payload(buffer_of(w)), w->fs_io.len_bytes);
	w->fs_io.source = &w->bounce;
	if (!w->direct)
		return;
	w->fs_io.hold_ns = w->f->hold_ns;
	if (w->f->policy != DIO_ZEROCOPY) {
		stats_add(&s->bounced, 1);
		return;
	}
	w->live = live_source(w, fi);
	if (w->live)
		w->fs_io.source = w->live;
	else
		stats_add(&s->unobserved[w->miss], 1);
}

/* ---- completion ---- */

static void answer(struct write_req *w)
{
	struct front *f = w->f;
	if (w->err < 0)
		reply_err(w->req, w->err);
	else
		fuse_reply_write(w->req, w->fs_io.len_bytes);
	buffer_put(buffer_of(w));
	front_transfer_end(f);
}

static void pages_dropped(struct coherence_drop *drop)
{
	answer(container_of(drop, struct write_req, drop));
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
	if (w->f->options->events)
		event_emit(front_events_sink(w->f->options->events), &e);
}

static void record_live(struct write_req *w)
{
	struct stats *s = &w->f->stats;
	bool complete = w->live->found.samples && !w->live->found.failed;
	stats_add(complete ? &s->observed : &s->unobserved[STATS_MISS_UNREADABLE], 1);
	if (!source_mutated(w->live))
		return;
	stats_add(&s->mutated, 1);
	mutation_emit(w);
}

static void record(struct write_req *w)
{
	struct stats *s = &w->f->stats;
	uint64_t bytes = w->err ? 0 : w->fs_io.len_bytes;
	stats_add(w->direct ? &s->direct_writes : &s->cached_writes, 1);
	stats_add(w->direct ? &s->direct_write_bytes : &s->cached_write_bytes, bytes);
	stats_add_time(s, w->direct ? STATS_DIRECT_WRITE : STATS_CACHED_WRITE,
		clock_monotonic_ns() - w->begun_ns);
	if (w->direct && w->err)
		stats_add(w->err == -EILSEQ ? &s->refused : &s->failed, 1);
	if (w->live)
		record_live(w);
}

static void write_done(struct fs_io *fs_io, int err)
{
	struct write_req *w = container_of(fs_io, struct write_req, fs_io);
	w->err = err;
	record(w);
	source_free(w->live);
	if (w->direct && front_leaves_times_stale(w->f))
		coherence_set_times_stale(w->file);
	if (!w->direct ||
		!coherence_write_ended(w->file, fs_io->offset_bytes, fs_io->len_bytes, &w->drop)) {
		answer(w);
		return;
	}
	w->drop.done = pages_dropped;
	coherence_drop(w->f->coherence, &w->drop);
}

/* ---- submission ---- */

static void submit(struct write_req *w, const struct fuse_file_info *fi)
{
	struct front *f = w->f;
	source_choose(w, fi);
	front_transfer_begin(f);
	fs_submit(f->fs, &w->fs_io);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_write(f->control, req, ino, data, size, fi);
		return;
	}
	bool direct = is_direct(fi);
	if (direct && (((uint64_t)offset | size) & (f->dio_align - 1))) {
		stats_add(&f->stats.unaligned, 1);
		reply_err(req, -EINVAL);
		return;
	}
	if (wire_request_kills_privs() && coherence_may_have_privs(file_of(fi)))
		attr_kill_privs(f, ino);
	struct buffer *b = session_take_buffer();
	assert((const uint8_t *)data == buffer_payload(b));
	struct write_req *w = (struct write_req *)b->state;
	*w = (struct write_req){.req = req,
		.f = f,
		.file = file_of(fi),
		.direct = direct,
		.begun_ns = clock_monotonic_ns()};
	w->fs_io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = ino,
		.offset_bytes = (uint64_t)offset,
		.len_bytes = (uint32_t)size,
		.keep_times = fi->writepage && !f->options->write_through,
		.done = write_done};
	submit(w, fi);
}
