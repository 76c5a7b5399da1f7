/* SPDX-License-Identifier: MIT */
/* From a request to the writer's (or reader's) memory.
 *
 *	live_locate	describe_lately		who is it? (see live_threads.h)
 *	locate_waiting	it waits:
 *	  locate_in_wait	in which call, with which arguments? (live_call.h)
 *	  locate_in_rings	or has it a ring? (live_ring.h)
 *	  locate_in_aio		or does it use libaio? (live_aio.h)
 *	locate_running	it runs: rings first, then it is waited for
 *	make_buffer	the pieces of memory that belong to the request, if they can be read
 *
 * Invariants: I1 the writer waits for our answer, so its call and arguments stay as they are until
 *   then; the bytes do not. I2 nothing here enters our own file system, which would wait for us
 *   (see live_procfs.h): no memory is read, neither iovecs nor a buffer, before it was found to lie
 *   outside of mappings of our files (see live_maps.h). */
#include "inflight/live.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "inflight/live_aio.h"
#include "inflight/live_buffer.h"
#include "inflight/live_call.h"
#include "inflight/live_file.h"
#include "inflight/live_handle.h"
#include "inflight/live_procfs.h"
#include "inflight/live_ring.h"
#include "inflight/live_threads.h"

struct live {
	struct live_threads threads;
	struct live_files files;
	struct live_handles handles;
	struct live_rings *rings; /* owned */
	struct trees *trees;      /* borrowed; may be NULL */
};

const char *live_miss_name(enum live_miss miss)
{
	static const char *const names[LIVE_MISS_COUNT] = {
		[LIVE_FOUND] = "found",
		[LIVE_NOT_PERMITTED] = "not permitted",
		[LIVE_NOT_IN_CALL] = "not in a synchronous call",
		[LIVE_NO_MATCH] = "no match",
		[LIVE_GONE] = "gone",
		[LIVE_OWN_MAPPING] = "a mapping of this mount",
		[LIVE_AMBIGUOUS] = "ambiguous",
		[LIVE_RING_HIDDEN] = "ring hidden",
		[LIVE_AIO_UNSEEN] = "libaio not followed",
	};
	return names[miss];
}

static enum live_miss miss_of_error(int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:
		return LIVE_NOT_PERMITTED;
	case ENOENT:
	case ESRCH:
		return LIVE_GONE;
	case EAGAIN: /* it runs: whatever it wrote, it does not wait for that */
		return LIVE_NOT_IN_CALL;
	default:
		return LIVE_NO_MATCH;
	}
}

/* What is known of a request while it is looked for. */
struct search {
	struct live *live;
	const struct live_request *req;
	struct event_writer *writer;
	struct live_buffer **out;
	struct live_handle *handle; /* of the thread */
	struct procfs_syscall now;  /* what the thread waits in */
};

/* LIVE_FOUND: these pieces can be read, and nobody will ask us for them. */
static enum live_miss check_mappings(
	const struct search *s, const struct iovec *pieces, unsigned count)
{
	int ret = live_handle_ask_maps(s->handle, pieces, count, s->req->dev);
	if (ret < 0)
		return miss_of_error(ret);
	return ret ? LIVE_OWN_MAPPING : LIVE_FOUND;
}

static void buffer_freep(struct live_buffer **buffer)
{
	live_buffer_free(*buffer);
}

/* The part of @iov that is the request, if it can be read. @tid: a thread of that process that
 * stays. */
static enum live_miss make_buffer(const struct search *s, pid_t tid, const struct iovec *iov,
	unsigned count, uint64_t skip_bytes)
{
	cleanup(buffer_freep) struct live_buffer *buffer =
		live_buffer_new(tid, iov, count, skip_bytes, s->req->len_bytes);
	if (!buffer)
		return LIVE_NO_MATCH;
	unsigned pieces_count;
	const struct iovec *pieces = live_buffer_pieces(buffer, &pieces_count);
	enum live_miss miss = check_mappings(s, pieces, pieces_count);
	if (miss == LIVE_FOUND)
		*s->out = take_ptr(&buffer);
	return miss;
}

static void set_call(struct event_writer *writer, const char *name)
{
	snprintf(writer->call, sizeof(writer->call), "%s", name);
}

/* ---- synchronous calls ---- */

/* The memory that the call writes from. @iov has room for IOV_MAX. LIVE_FOUND or why not. */
static enum live_miss iovec_read(
	const struct search *s, const struct live_call *call, struct iovec *iov, unsigned *count)
{
	const struct procfs_syscall *now = &s->now;
	void *where = (void *)(uintptr_t)now->args[1];
	*count = 1;
	iov[0] = (struct iovec){where, now->args[2]};
	if (!call->vectored)
		return LIVE_FOUND;
	if (now->args[2] == 0 || now->args[2] > IOV_MAX) /* no such call can have reached us */
		return LIVE_NO_MATCH;
	*count = (unsigned)now->args[2];
	struct iovec array = {where, *count * sizeof(*iov)};
	enum live_miss miss = check_mappings(s, &array, 1);
	if (miss != LIVE_FOUND)
		return miss;
	int ret = live_memory_read(s->req->tid, &array, 1, iov, array.iov_len);
	return ret < 0 ? miss_of_error(ret) : LIVE_FOUND;
}

/* What the call writes in all; 0 where the lengths are absurd (write(2) takes up to SSIZE_MAX). */
static uint64_t iovec_total(const struct iovec *iov, unsigned count)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < count; i++) {
		if (iov[i].iov_len > SSIZE_MAX - total)
			return 0;
		total += iov[i].iov_len;
	}
	return total;
}

/* The thread is in @call. Is the request a part of it? */
static enum live_miss locate_in_call(const struct search *s, const struct live_call *call)
{
	struct iovec iov[IOV_MAX];
	unsigned count;
	enum live_miss miss = iovec_read(s, call, iov, &count);
	if (miss != LIVE_FOUND)
		return miss;
	struct procfs_fd info;
	struct live_file_question question = {s->writer->pid, s->req->tid, (int)s->now.args[0],
		live_call_is_at_position(call, &s->now)};
	int ret = live_file_ask(&s->live->files, &question, s->req, &info);
	if (ret < 0) /* a descriptor that another thread has closed tells nothing */
		return ret == -ENOENT ? LIVE_NO_MATCH : miss_of_error(ret);
	uint64_t skip;
	if (!ret || !live_call_match(call, &s->now, &info, s->req, iovec_total(iov, count), &skip))
		return LIVE_NO_MATCH;
	return make_buffer(s, s->req->tid, iov, count, skip);
}

/* The thread waits. In a call that the request is of? */
static enum live_miss locate_in_wait(const struct search *s)
{
	if (live_call_is_foreign(&s->now))
		return LIVE_NO_MATCH;
	const struct live_call *call = live_call_find(s->now.nr);
	if (!call)
		return LIVE_NOT_IN_CALL;
	bool right_way = s->req->is_read ? call->reads : call->writes;
	if (right_way || (!call->reads && !call->writes))
		set_call(s->writer, call->name);
	if (!right_way)
		return LIVE_NOT_IN_CALL;
	live_threads_waited(&s->live->threads, s->req->tid);
	return locate_in_call(s, call);
}

/* ---- rings ---- */

/* Does that memory of the process hold the bytes of the request? */
static bool holds_bytes(void *ctx, const struct iovec *pieces, unsigned count, uint64_t skip_bytes)
{
	const struct search *s = ctx;
	cleanup(buffer_freep) struct live_buffer *buffer =
		live_buffer_new(s->writer->pid, pieces, count, skip_bytes, s->req->len_bytes);
	unsigned own_count;
	if (!buffer)
		return false;
	const struct iovec *own = live_buffer_pieces(buffer, &own_count);
	return check_mappings(s, own, own_count) == LIVE_FOUND &&
	       live_buffer_compare(buffer, s->req->bytes, s->req->len_bytes) == 0;
}

/* @sure: the thread is a ring's. @must_hold: it may be on its way into another call. */
static enum live_miss locate_in_rings(struct search *s, bool is_sure, bool must_hold)
{
	struct iovec pieces[IOV_MAX];
	struct live_ring_question question = {.req = s->req,
		.tgid = s->writer->pid,
		.is_sure = is_sure,
		.must_hold = must_hold,
		.holds_bytes = holds_bytes,
		.ctx = s};
	struct live_ring_answer answer = {.pieces = pieces};
	enum live_miss miss = live_rings_find(s->live->rings, &question, &answer);
	if (miss != LIVE_FOUND)
		return miss;
	set_call(s->writer, "io_uring");
	live_threads_set_way(&s->live->threads, s->req->tid, LIVE_WAY_RING);
	return make_buffer(s, s->writer->pid, pieces, answer.count, answer.skip_bytes);
}

/* ---- libaio ---- */

static enum live_miss locate_in_aio(struct search *s, enum live_miss otherwise)
{
	struct live_threads *threads = &s->live->threads;
	struct live_aio_question question = {.req = s->req,
		.tgid = s->writer->pid,
		.trees = s->live->trees,
		.now = &s->now,
		.did_before = live_threads_way(threads, s->req->tid) == LIVE_WAY_AIO,
		.holds_bytes = holds_bytes,
		.ctx = s};
	struct iovec pieces[AIO_MAX_PIECES];
	struct aio_entry entry = {.pieces = pieces};
	enum live_miss miss = live_aio_find(&s->live->files, s->handle, &question, &entry);
	if (miss == LIVE_NOT_IN_CALL)
		return otherwise;
	live_threads_set_way(threads, s->req->tid, LIVE_WAY_AIO);
	set_call(s->writer, "libaio");
	if (miss != LIVE_FOUND)
		return miss;
	return make_buffer(s, s->writer->pid, entry.pieces, entry.piece_count,
		s->req->offset_bytes - entry.offset_bytes);
}

/* ---- the thread ---- */

static void describe_lately(struct live *live, pid_t tid, struct event_writer *writer)
{
	uint64_t now_ns = clock_monotonic_ns();
	writer->tid = tid;
	if (live_threads_recall(&live->threads, tid, now_ns, writer))
		return;
	if (procfs_read_writer(tid, writer) == 0)
		live_threads_describe(&live->threads, tid, now_ns, writer);
}

/* What it is in, as soon as it is asleep. 0 or -errno as procfs_read_syscall(). */
static int await_call(struct search *s)
{
	struct live_threads *threads = &s->live->threads;
	pid_t tid = s->req->tid;
	uint64_t begun_ns = clock_monotonic_ns();
	uint64_t patience_ns = live_threads_patience_ns(threads, tid, begun_ns);
	int ret = live_handle_read_syscall(s->handle, patience_ns, &s->now);
	if (ret == -EAGAIN)
		live_threads_ran(threads, tid, begun_ns, clock_monotonic_ns());
	return ret;
}

/* Workers of the kernel for rings, and rings' own threads, have no calls of their own. */
static bool is_ring_worker(const struct event_writer *writer)
{
	return strncmp(writer->comm, "iou-wrk-", 8) == 0 ||
	       strncmp(writer->comm, "iou-sqp-", 8) == 0;
}

/* True where the search is over. */
static bool is_final(enum live_miss miss)
{
	return miss != LIVE_NOT_IN_CALL && miss != LIVE_NO_MATCH;
}

/* The thread waits in s->now. */
static enum live_miss locate_waiting(struct search *s)
{
	enum live_miss miss = locate_in_wait(s);
	if (is_final(miss))
		return miss;
	enum live_miss in_rings = locate_in_rings(s, s->now.nr == SYS_io_uring_enter, false);
	if (is_final(in_rings))
		return in_rings;
	if (in_rings == LIVE_NO_MATCH)
		miss = in_rings;
	return locate_in_aio(s, miss);
}

/* Where it wrote from the last time, unless that was a call: then it will fall asleep in one. */
static enum live_miss locate_as_before(struct search *s, enum live_way way)
{
	return way == LIVE_WAY_AIO ? locate_in_aio(s, LIVE_NOT_IN_CALL)
				   : locate_in_rings(s, false, way != LIVE_WAY_RING);
}

/* The thread runs: it has not fallen asleep yet, or does not wait for its requests. */
static enum live_miss locate_running(struct search *s)
{
	enum live_way way = live_threads_way(&s->live->threads, s->req->tid);
	enum live_miss miss = locate_as_before(s, way);
	if (miss == LIVE_FOUND || (way == LIVE_WAY_RING && is_final(miss)))
		return miss;
	int ret = await_call(s);
	if (ret == 0)
		return locate_waiting(s);
	if (ret != -EAGAIN)
		return miss_of_error(ret);
	s->now = (struct procfs_syscall){.nr = -1};
	miss = locate_in_rings(s, false, false);
	return is_final(miss) ? miss : locate_in_aio(s, miss);
}

static enum live_miss locate(struct search *s)
{
	if (is_ring_worker(s->writer)) {
		enum live_miss miss = locate_in_rings(s, true, false);
		if (miss != LIVE_NOT_IN_CALL)
			return miss;
	}
	int ret = live_handle_read_syscall(s->handle, 0, &s->now);
	if (ret == -EAGAIN)
		return locate_running(s);
	return ret < 0 ? miss_of_error(ret) : locate_waiting(s);
}

enum live_miss live_locate(struct live *live, const struct live_request *req,
	struct live_buffer **out, struct event_writer *writer)
{
	*out = NULL;
	if (req->tid <= 0) /* the kernel's own, or of a PID namespace that we do not see */
		return LIVE_NOT_IN_CALL;
	/* First, since it gives the thread the time to fall asleep. */
	describe_lately(live, req->tid, writer);
	struct live_handle handle;
	live_handle_take(&live->handles, req->tid, &handle);
	struct search s = {live, req, writer, out, &handle, {.nr = -1}};
	enum live_miss miss = locate(&s);
	live_handle_give(&live->handles, &handle);
	return miss;
}

static void live_freep(struct live **live)
{
	live_free(*live);
}

int live_new_by(struct trees *trees, enum ring_way way, struct live **out)
{
	cleanup(live_freep) struct live *live = calloc(1, sizeof(*live));
	if (!live)
		return -ENOMEM;
	live->trees = trees;
	pthread_mutex_init(&live->threads.lock, NULL);
	pthread_mutex_init(&live->files.lock, NULL);
	live_handles_init(&live->handles);
	int ret = live_rings_new(&live->files, way, &live->rings);
	if (ret < 0)
		return ret;
	*out = take_ptr(&live);
	return 0;
}

int live_new(struct trees *trees, struct live **out)
{
	return live_new_by(trees, RING_BY_MAPPING, out);
}

void live_free(struct live *live)
{
	if (!live)
		return;
	live_rings_free(live->rings);
	live_handles_destroy(&live->handles);
	pthread_mutex_destroy(&live->threads.lock);
	pthread_mutex_destroy(&live->files.lock);
	free(live);
}
