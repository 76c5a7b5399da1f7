/* SPDX-License-Identifier: MIT */
/* Reads: into the payload of the buffer that the request came in, and from there to the reader.
 *
 *	op_read -> fs_submit -> read_done (engine thread) -> reply */
#include "fuse/internal.h"

#include <errno.h>
#include "base/clock.h"

struct read_req {
	fuse_req_t req;
	struct front *f;
	struct fs_io fs_io;
	bool direct;
	uint64_t begun_ns;
};
_Static_assert(sizeof(struct read_req) <= BUFFER_STATE_BYTES, "lives in its buffer");

static struct buffer *buffer_of(struct read_req *r)
{
	return (struct buffer *)((uint8_t *)r - offsetof(struct buffer, state));
}

static void count(struct read_req *r, uint32_t bytes)
{
	struct stats *s = &r->f->stats;
	stats_add(r->direct ? &s->direct_reads : &s->cached_reads, 1);
	stats_add(r->direct ? &s->direct_read_bytes : &s->cached_read_bytes, bytes);
	stats_add_time(s, r->direct ? STATS_DIRECT_READ : STATS_CACHED_READ,
		clock_monotonic_ns() - r->begun_ns);
}

static void read_done(struct fs_io *fs_io, int err)
{
	struct read_req *r = container_of(fs_io, struct read_req, fs_io);
	struct front *f = r->f;
	struct buffer *b = buffer_of(r);
	count(r, err ? 0 : fs_io->done_bytes);
	if (err < 0)
		reply_err(r->req, err);
	else
		fuse_reply_buf(r->req, (char *)buffer_payload(b), fs_io->done_bytes);
	buffer_put(b);
	front_transfer_end(f);
}

static bool is_aligned(const struct front *f, size_t size, off_t offset)
{
	return !(((uint64_t)offset | size) & (f->dio_align - 1));
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_read(f->control, req, ino, size, offset, fi);
		return;
	}
	bool direct = is_direct(fi);
	if (direct && !is_aligned(f, size, offset)) {
		stats_add(&f->stats.unaligned, 1);
		reply_err(req, -EINVAL);
		return;
	}
	struct buffer *b = session_take_buffer();
	struct read_req *r = (struct read_req *)b->state;
	*r = (struct read_req){
		.req = req, .f = f, .direct = direct, .begun_ns = clock_monotonic_ns()};
	r->fs_io = (struct fs_io){.kind = STRIPE_READ,
		.ino = ino,
		.offset_bytes = (uint64_t)offset,
		.len_bytes = (uint32_t)min_u64(size, BUFFER_PAYLOAD_BYTES),
		.data = buffer_payload(b),
		.done = read_done};
	front_transfer_begin(f);
	if (wire_request_fills_cache())
		coherence_read_begins(file_of(fi), r->fs_io.offset_bytes, r->fs_io.len_bytes);
	fs_submit(f->fs, &r->fs_io);
}
