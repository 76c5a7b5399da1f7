/* SPDX-License-Identifier: MIT */
/* The turn of the io_uring engine: submit queues, run hands over and reaps.
 *
 *	submit -> backlog -> entry -> kernel -> reap -> done()
 *	             ^                           | rest of a short transfer, -EAGAIN
 *	             +---------------------------+
 *
 * Invariants: I1 at most depth - 1 requests are in the ring, so that each finds an entry, the poll
 * of the eventfd finds one too, and completions never overflow (of the watch there may be no end of
 * completions: those that find no room wait in the kernel). I2 a request is in exactly one of
 * ring, backlog, settled, alarms. I3 a wake is used up only by a run that returns 0.
 * Owning thread: the one that runs; only engine_wake() and now_ns() are for others. */
#include "io/uring.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/uring_internal.h"

static struct io_req *req_of(struct list_node *node)
{
	return container_of(node, struct io_req, node);
}

static void settle(struct uring_engine *e, struct io_req *req, int err)
{
	req->result = err;
	list_push_back(&e->settled, &req->node);
}

static void start(struct uring_engine *e, struct io_req *req, uint64_t now_ns)
{
	const struct uring_file *f = uring_file_of(req->file);
	struct uring_flight *flight = NULL;
	if (f->timeout_ns) {
		flight = uring_flight_begin(e, req, now_ns);
		if (!flight) {
			settle(e, req, -ENOMEM);
			return;
		}
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
	assert(sqe); /* I1 */
	uring_request_prepare(e, req, flight, sqe);
	e->in_flight++;
}

static void start_backlog(struct uring_engine *e)
{
	uint64_t now_ns =
		list_empty(&e->timed_files) || list_empty(&e->backlog) ? 0 : clock_monotonic_ns();
	while (e->in_flight < e->depth - 1 && !list_empty(&e->backlog))
		start(e, req_of(list_pop_front(&e->backlog)), now_ns);
}

/* Alarms mostly come with rising due times, so the place is near the end. */
static void alarm_insert(struct uring_engine *e, struct io_req *req)
{
	struct list_node *at = e->alarms.head.prev;
	while (at != &e->alarms.head && req_of(at)->due_ns > req->due_ns)
		at = at->prev;
	list_insert_before(at->next, &req->node);
}

static int range_error(const struct io_req *req)
{
	uint64_t len = 0, size = uring_file_of(req->file)->size_bytes;
	for (unsigned i = 0; i < req->iov_count; i++)
		len += req->iov[i].iov_len;
	if (req->offset_bytes <= size && len <= size - req->offset_bytes)
		return 0;
	return req->kind == IO_READ ? -EIO : -ENOSPC;
}

static void engine_submit(struct io_engine *io, struct io_req *req)
{
	struct uring_engine *e = uring_engine_of(io);
	req->done_bytes = 0;
	req->tries = 0;
	req->result = 0;
	req->record = NULL;
	if (req->kind == IO_ALARM) {
		alarm_insert(e, req);
		return;
	}
	uring_file_of(req->file)->under_way++;
	if (req->kind != IO_FLUSH)
		req->result = range_error(req);
	if (uring_file_of(req->file)->timed_out)
		req->result = -ETIMEDOUT;
	bool copied = !req->result && uring_request_is_copy(e, req);
	if (copied)
		uring_request_copy(e, req);
	/* The ring is not touched here: it may still be a former owner's. */
	list_push_back(req->result || copied ? &e->settled : &e->backlog, &req->node);
}

static void finish(struct io_req *req, int err)
{
	if (req->kind != IO_ALARM)
		uring_file_of(req->file)->under_way--;
	req->done(req, err);
}

/* Only what is there at the start: done() may submit more, which waits for the next turn. */
static int finish_settled(struct uring_engine *e)
{
	struct list batch;
	int ran = 0;
	list_init(&batch);
	list_splice_back(&batch, &e->settled);
	for (; !list_empty(&batch); ran++) {
		struct io_req *req = req_of(list_pop_front(&batch));
		finish(req, req->result);
	}
	return ran;
}

static int fire_alarms(struct uring_engine *e)
{
	struct list batch;
	int ran = 0;
	if (list_empty(&e->alarms))
		return 0;
	list_init(&batch);
	uint64_t now_ns = clock_monotonic_ns();
	while (!list_empty(&e->alarms) && req_of(list_first(&e->alarms))->due_ns <= now_ns)
		list_push_back(&batch, list_pop_front(&e->alarms));
	for (; !list_empty(&batch); ran++)
		finish(req_of(list_pop_front(&batch)), 0);
	return ran;
}

/* A request left the ring with @res. Returns how many done() ran. */
static int request_completed(struct uring_engine *e, struct io_req *req, int res)
{
	e->in_flight--;
	bool again = uring_request_advance(req, res);
	if (again && uring_file_of(req->file)->timed_out) {
		again = false;
		req->result = -ETIMEDOUT;
	}
	if (again) {
		list_push_front(&e->backlog, &req->node);
		return 0;
	}
	finish(req, req->result);
	return 1;
}

/* A flight left the ring; its request may have left it before. */
static int flight_completed(struct uring_engine *e, struct uring_flight *flight, int res)
{
	struct io_req *req = uring_flight_completed(e, flight, &res);
	return req ? request_completed(e, req, res) : 0;
}

/* Who is told of the end of a request may send the next one over what is watched, and that is to be
 * on its way while others are told: so then there are a few of them in a turn. */
#define WATCHED_TURN 4

static int reap(struct uring_engine *e)
{
	struct io_uring_cqe *cqe;
	int ran = 0, most = e->watch.its ? WATCHED_TURN : INT_MAX;
	/* The head moves before done() runs, so that the entry is free whatever done() does. */
	for (unsigned left = io_uring_cq_ready(&e->ring); left && ran < most; left--) {
		if (io_uring_peek_cqe(&e->ring, &cqe) < 0)
			break;
		uint64_t tag = cqe->user_data;
		uint32_t flags = cqe->flags;
		int res = cqe->res;
		io_uring_cqe_seen(&e->ring, cqe);
		if (tag == URING_TAG_WAKE)
			e->wake_armed = flags & IORING_CQE_F_MORE;
		else if ((tag & URING_TAG_BITS) == URING_TAG_WATCH)
			uring_watch_told(e, tag, flags);
		else if (uring_flight_of_tag(tag))
			ran += flight_completed(e, uring_flight_of_tag(tag), res);
		else if (tag != LIBURING_UDATA_TIMEOUT && tag != URING_TAG_CANCEL)
			ran += request_completed(e, (struct io_req *)(uintptr_t)tag, res);
	}
	return ran;
}

static int collect(struct uring_engine *e)
{
	int ran = reap(e);
	uring_flight_expire(e);
	ran += finish_settled(e) + fire_alarms(e);
	return ran + uring_watch_serve(e, ran > 0);
}

static void arm_wake(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
	assert(sqe); /* I1 */
	io_uring_prep_poll_multishot(sqe, e->wake_fd, POLLIN);
	sqe->user_data = URING_TAG_WAKE;
	e->wake_armed = true;
}

/* When somebody has to be told something, whatever the kernel does; UINT64_MAX: never. */
static uint64_t next_due_ns(struct uring_engine *e)
{
	uint64_t due_ns = uring_flight_next_deadline(e);
	if (!list_empty(&e->alarms))
		due_ns = min_u64(due_ns, req_of(list_first(&e->alarms))->due_ns);
	return due_ns;
}

/* Hand over the entries and sleep until a completion, a wake, the first alarm or deadline. */
static int enter_and_sleep(struct uring_engine *e)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts, *timeout = NULL;
	uint64_t due_ns = next_due_ns(e);
	if (due_ns != UINT64_MAX) {
		uint64_t now_ns = clock_monotonic_ns();
		uint64_t rest_ns = due_ns > now_ns ? due_ns - now_ns : 0;
		ts.tv_sec = (long long)(rest_ns / NS_PER_S);
		ts.tv_nsec = (long long)(rest_ns % NS_PER_S);
		timeout = &ts;
	}
	atomic_store(&e->sleeping, true);
	int ret = atomic_load(&e->woken)
			  ? io_uring_submit(&e->ring)
			  : io_uring_submit_and_wait_timeout(&e->ring, &cqe, 1, timeout, NULL);
	atomic_store(&e->sleeping, false);
	return ret;
}

/* One system call at most. Errors that pass by themselves are none. */
static int enter(struct uring_engine *e, bool sleep)
{
	e->copied_bytes = 0;
	uring_watch_arm(e);
	start_backlog(e);
	if (!e->wake_armed && !e->shared)
		arm_wake(e);
	if (!list_empty(&e->settled) || io_uring_cq_ready(&e->ring))
		sleep = false;
	int ret = sleep ? enter_and_sleep(e) : io_uring_submit(&e->ring);
	if (ret >= 0 || ret == -ETIME || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY)
		return 0;
	return ret;
}

static int engine_run(struct io_engine *io, bool wait)
{
	struct uring_engine *e = uring_engine_of(io);
	int ret = uring_ring_own(e);
	if (ret < 0)
		return ret;
	int ran = finish_settled(e) + fire_alarms(e);
	bool sleep;
	do {
		sleep = wait && ran == 0 && !e->watch.ready && !atomic_load(&e->woken);
		ret = enter(e, sleep);
		if (ret < 0)
			return ran ? ran : ret;
		ran += collect(e);
	} while (sleep && ran == 0);
	if (ran == 0)
		atomic_exchange(&e->woken, false); /* I3 */
	return ran;
}

/* Not beside others that are on their way: the disk is busy, and neighbours that are handed over
 * together become one transfer. What the kernel refuses now goes with the next run, which hears of
 * it. */
static void engine_push(struct io_engine *io)
{
	struct uring_engine *e = uring_engine_of(io);
	if (e->in_flight || !uring_ring_is_ours(e))
		return;
	start_backlog(e);
	(void)io_uring_submit(&e->ring);
}

static void engine_wake(struct io_engine *io)
{
	struct uring_engine *e = uring_engine_of(io);
	if (atomic_exchange(&e->woken, true))
		return; /* who set it sees to the rest */
	if (!atomic_exchange(&e->sleeping, false))
		return; /* the owner looks at woken before it sleeps */
	int saved_errno = errno;
	uint64_t one = 1;
	ssize_t ignored = write(e->wake_fd, &one, sizeof(one)); /* fails only if full: readable */
	(void)ignored;
	errno = saved_errno;
}

static int engine_share(struct io_engine *io)
{
	struct uring_engine *e = uring_engine_of(io);
	assert(e->in_flight == 0);
	uring_ring_free(e);
	e->shared = true;
	return uring_ring_new(e, NULL);
}

static int engine_register_memory(struct io_engine *io, void *base, uint64_t len_bytes)
{
	return uring_ring_add_region(uring_engine_of(io), base, len_bytes);
}

static uint64_t engine_now_ns(struct io_engine *io)
{
	(void)io;
	return clock_monotonic_ns();
}

static void engine_free(struct io_engine *io)
{
	struct uring_engine *e = uring_engine_of(io);
	assert(e->in_flight == 0);
	if (e->orphan_count && uring_ring_is_ours(e))
		uring_flights_drain(e);
	uring_ring_free(e);
	uring_flights_free(e);
	if (e->wake_fd >= 0)
		close(e->wake_fd);
	free(e);
}

static const struct io_engine_ops uring_ops = {
	.name = "uring",
	.open = uring_file_open,
	.close = uring_file_close,
	.size_bytes = uring_file_size_bytes,
	.zero = uring_file_zero,
	.set_timeout = uring_file_set_timeout,
	.submit = engine_submit,
	.run = engine_run,
	.push = engine_push,
	.wake = engine_wake,
	.share = engine_share,
	.watch = uring_watch_begin,
	.unwatch = uring_watch_end,
	.register_memory = engine_register_memory,
	.now_ns = engine_now_ns,
	.free = engine_free,
};

static struct uring_engine *engine_alloc(unsigned depth)
{
	struct uring_engine *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->base.ops = &uring_ops;
	e->depth = depth;
	e->lock_wait_ns = IO_LOCK_WAIT_NS;
	list_init(&e->backlog);
	list_init(&e->settled);
	list_init(&e->alarms);
	list_init(&e->timed_files);
	list_init(&e->orphans);
	list_init(&e->idle_flights);
	e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return e;
}

int uring_engine_new(unsigned depth, struct io_engine **out, struct errmsg *why)
{
	if (depth < 2 || depth > 32768 || (depth & (depth - 1)))
		return errmsg_set(why, -EINVAL,
			"io_uring depth %u is not a power of two from 2 to 32768", depth);
	struct uring_engine *e = engine_alloc(depth);
	if (!e)
		return errmsg_set(why, -ENOMEM, "out of memory");
	cleanup(io_engine_freep) struct io_engine *io = &e->base;
	if (e->wake_fd < 0)
		return errmsg_set(why, -errno, "cannot make an eventfd: %s", strerror(errno));
	int ret = uring_ring_new(e, why);
	if (ret < 0)
		return ret;
	*out = take_ptr(&io);
	return 0;
}

void uring_engine_set_lock_wait(struct io_engine *io, uint64_t wait_ns)
{
	uring_engine_of(io)->lock_wait_ns = wait_ns;
}

#define URING_DEFAULT_DEPTH 256

static int factory_engine_new(
	const struct io_factory *factory, struct io_engine **out, struct errmsg *why)
{
	(void)factory;
	return uring_engine_new(URING_DEFAULT_DEPTH, out, why);
}

const struct io_factory uring_factory = {.engine_new = factory_engine_new};
