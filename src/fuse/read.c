/* SPDX-License-Identifier: MIT */
/* Reads: into the payload of the buffer that the request came in, and from there to the reader.
 *
 *	op_read (worker, or the engine's thread, which goes as far as it can without waiting)
 *	  of a direct read: which policy is it under, and does that let it through?
 *	  sink_choose: DIO_ZEROCOPY, DIO_VERIFY, with PI -> the reader's own memory as well
 *	  fs_submit; with a sink it is held open for hold_ns between placing and checking
 *	read_done (engine thread)
 *	  DIO_VERIFY, where the reader's memory failed its check for good:
 *	  read_again, without a sink -> read_done
 *	  at the end of the file, where the kernel may have pages behind it that we do not know of:
 *	  have them written back, and read again -> read_done
 *	settle
 *	  record: counters; an event where the reader's memory changed (read_record.c)
 *	  the sink is freed: from here on the reader's memory is not touched
 *	  reply: from our memory, which holds what was checked
 *
 * docs/policies.md says what each policy promises. */
#include "fuse/read_req.h"

#include <errno.h>
#include "base/clock.h"
#include "fuse/times.h"
#include "volume/volume.h"

/* So many reads in a row whose memory changed, and a handle is not tried again (DIO_VERIFY). */
#define HANDLE_MAX_CHANGED 3u

static void read_done(struct fs_io *fs_io, int err);

static struct buffer *buffer_of(struct read_req *r)
{
	return (struct buffer *)((uint8_t *)r - offsetof(struct buffer, state));
}

/* ---- the sink ---- */

static bool volume_has_pi(const struct front *f)
{
	return f->volume && volume_super(f->volume)->pi != PI_NONE;
}

static bool wants_memory(const struct read_req *r)
{
	if (!r->direct || !dio_policy_reads_live(r->policy) || !volume_has_pi(r->f))
		return false;
	return r->policy != DIO_VERIFY || r->file->reads_changed < HANDLE_MAX_CHANGED;
}

static struct sink *sink_make(struct read_req *r)
{
	struct live_request want = {.tid = fuse_req_ctx(r->req)->pid,
		.offset_bytes = r->fs_io.offset_bytes,
		.len_bytes = r->fs_io.len_bytes,
		.ino = r->f->mount_dev ? r->fs_io.ino : 0,
		.dev = r->f->mount_dev,
		.is_read = true};
	struct live_buffer *memory;
	r->miss = live_locate(r->f->live, &want, &memory, &r->reader);
	if (r->miss != LIVE_FOUND)
		return NULL;
	struct sink *sink = sink_new(r->f->sampler, memory, r->fs_io.len_bytes, &r->reader);
	if (!sink)
		r->miss = STATS_MISS_UNREADABLE;
	return sink;
}

static void sink_choose(struct read_req *r)
{
	r->reader.tid = fuse_req_ctx(r->req)->pid;
	r->reader.uid = fuse_req_ctx(r->req)->uid;
	if (!wants_memory(r))
		return;
	r->wanted = true;
	r->sink = sink_make(r);
	r->fs_io.sink = r->sink;
	r->fs_io.hold_ns = r->f->hold_ns;
}

/* ---- completion ---- */

static void settle(struct read_req *r, int err)
{
	struct front *f = r->f;
	struct buffer *b = buffer_of(r);
	r->err = err;
	read_record(r);
	sink_free(r->sink);
	if (err < 0)
		reply_err(r->req, err);
	else
		fuse_reply_buf(r->req, (char *)buffer_payload(b), r->fs_io.done_bytes);
	buffer_put(b);
	front_transfer_end(f);
}

/* On the engine's thread, since something was viewed. A handle that is bounced stays so. */
static void note_on_handle(struct read_req *r)
{
	if (!r->sink->found.views || r->file->reads_changed >= HANDLE_MAX_CHANGED)
		return;
	if (!read_is_changed(r))
		r->file->reads_changed = 0;
	else if (++r->file->reads_changed == HANDLE_MAX_CHANGED)
		stats_add(&r->f->stats.handles_bounced, 1);
}

/* fs_submit() is not for the thread that this is found out on. */
static void read_again(struct later_job *job)
{
	struct read_req *r = container_of(job, struct read_req, later);
	r->fs_io.sink = NULL;
	r->fs_io.hold_ns = 0;
	fs_submit(r->f->fs, &r->fs_io);
}

/* The kernel writes back what is dirty in the range before a direct read. But where the range is a
 * hole in front of dirty pages, only the kernel knows that the file goes on. */
static bool ends_too_early(const struct read_req *r)
{
	return r->direct && !r->flushed && r->fs_io.done_bytes < r->fs_io.len_bytes &&
	       coherence_may_be_longer(r->f->coherence, r->fs_io.ino);
}

static void pages_written_back(struct coherence_drop *drop)
{
	struct read_req *r = container_of(drop, struct read_req, drop);
	r->flushed = true;
	read_again(&r->later);
}

/* By the thread for that: it waits for our workers. */
static void write_pages_back(struct read_req *r)
{
	r->drop = (struct coherence_drop){.ino = r->fs_io.ino, .done = pages_written_back};
	coherence_drop(r->f->coherence, &r->drop);
}

static void read_done(struct fs_io *fs_io, int err)
{
	struct read_req *r = container_of(fs_io, struct read_req, fs_io);
	if (fs_io->sink && r->policy == DIO_VERIFY)
		note_on_handle(r);
	if (fs_io->sink && r->policy == DIO_VERIFY && err == -EILSEQ && read_is_changed(r)) {
		r->again = true;
		r->later.run = read_again;
		later_post(r->f->later, &r->later);
		return;
	}
	if (err == 0 && ends_too_early(r))
		write_pages_back(r);
	else
		settle(r, err);
}

/* ---- submission ---- */

static struct read_req *read_new(
	fuse_req_t req, const struct fuse_file_info *fi, enum dio_policy policy)
{
	struct buffer *b = receiver_take_buffer();
	struct read_req *r = (struct read_req *)b->state;
	*r = (struct read_req){.req = req,
		.f = front_of(req),
		.file = file_of(fi),
		.policy = policy,
		.direct = is_direct(fi),
		.begun_ns = clock_monotonic_ns()};
	return r;
}

static void submit(struct read_req *r)
{
	if (r->direct)
		sink_choose(r);
	fs_submit_rest(r->f->fs, &r->fs_io);
}

/* By a worker, what the engine's thread has received. */
static void go_on(struct buffer *b)
{
	submit((struct read_req *)b->state);
}

static void submit_now(struct read_req *r)
{
	bool heavy = wants_memory(r);
	if (!heavy && r->direct)
		sink_choose(r);
	if (heavy || !fs_submit_now(r->f->fs, &r->fs_io))
		receiver_hand(r->f, buffer_of(r), go_on);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_read(f->control, req, ino, size, offset, fi);
		return;
	}
	enum dio_policy policy;
	int err = front_policy_classify(req, fi, size, offset, &policy);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	struct read_req *r = read_new(req, fi, policy);
	r->fs_io = (struct fs_io){.kind = STRIPE_READ,
		.ino = ino,
		.offset_bytes = (uint64_t)offset,
		.len_bytes = (uint32_t)min_u64(size, BUFFER_PAYLOAD_BYTES),
		.data = buffer_payload(buffer_of(r)),
		.keep_times = times_read_is_silent(fi->flags),
		.done = read_done};
	front_transfer_begin(f);
	if (wire_request_fills_cache())
		coherence_read_begins(r->file, r->fs_io.offset_bytes, r->fs_io.len_bytes);
	if (receiver_is_engine())
		submit_now(r);
	else
		submit(r);
}
