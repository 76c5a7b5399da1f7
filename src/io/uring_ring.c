/* SPDX-License-Identifier: MIT */
/* The kernel's ring: made, handed from thread to thread, with its tables of files and buffers.
 *
 * The flags that save the most bind a ring to one thread for life. An engine is made on one thread,
 * may be run there (to read superblocks), and is then given to another. So a ring starts disabled,
 * belongs to the thread that first runs it, and is replaced by a new one when another thread does.
 * Where threads take turns all the time (io_share) the ring does without these flags instead.
 * Invariants: I1 a ring is replaced only while no request is in it. I2 the eventfd survives the
 * ring and is never read, only polled, so an old ring cannot swallow a wake. I3 files[] and
 * regions[] are the truth; the kernel's tables are copies, and a copy that fails costs speed only.
 * Owning thread: whoever owns the engine. */
#include "io/uring_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A number that no other thread has had or will have: pthread_self() and tids come again. */
static uint64_t thread_number(void)
{
	static atomic_uint_fast64_t last;
	static _Thread_local uint64_t mine;
	if (!mine)
		mine = atomic_fetch_add(&last, 1) + 1;
	return mine;
}

/* A shared ring has none of the flags that bind it to a thread, and is enabled from the start. */
static int ring_init_shared(struct uring_engine *e)
{
	struct io_uring_params params = {0};
	return io_uring_queue_init_params(e->depth, &e->ring, &params);
}

static int ring_init(struct uring_engine *e)
{
	static const unsigned choices[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 6.1 */
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG, /* 5.19 */
		IORING_SETUP_R_DISABLED,           /* 5.10 */
	};
	int ret = -EINVAL;
	for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]) && ret == -EINVAL; i++) {
		struct io_uring_params params = {.flags = choices[i]};
		ret = io_uring_queue_init_params(e->depth, &e->ring, &params);
	}
	return ret;
}

/* liburing declares io_uring_enable_rings(), but its library exports it only since 2.4. */
static int ring_enable(struct uring_engine *e)
{
	long ret = syscall(
		__NR_io_uring_register, e->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return ret < 0 ? -errno : 0;
}

static int explain_init_error(struct errmsg *why, int err)
{
	switch (err) {
	case -EPERM:
		return errmsg_set(why, err,
			"io_uring is forbidden here (see /proc/sys/kernel/io_uring_disabled, or "
			"the container's seccomp profile)");
	case -ENOSYS:
		return errmsg_set(
			why, err, "this kernel has no io_uring (Linux 5.10 or later has)");
	case -ENOMEM:
		return errmsg_set(why, err,
			"io_uring got no memory for its ring (raise the memlock limit, ulimit -l)");
	default:
		return errmsg_set(why, err, "cannot set up io_uring: %s", strerror(-err));
	}
}

static void register_file(struct uring_engine *e, unsigned slot)
{
	struct uring_file *f = e->files[slot];
	f->slot = -1;
	if (!e->has_file_table)
		return;
	if (io_uring_register_files_update(&e->ring, slot, &f->fd, 1) == 1)
		f->slot = (int)slot;
}

static int register_region(struct uring_engine *e, unsigned slot)
{
	struct uring_region *r = &e->regions[slot];
	struct iovec iov = {.iov_base = r->base, .iov_len = r->len_bytes};
	__u64 tag = 0;
	r->slot = -1;
	if (!e->has_buffer_table)
		return -EOPNOTSUPP;
	int ret = io_uring_register_buffers_update_tag(&e->ring, slot, &iov, &tag, 1);
	if (ret < 0)
		return ret;
	r->slot = (int)slot;
	return 0;
}

static void fill_tables(struct uring_engine *e)
{
	e->has_file_table = io_uring_register_files_sparse(&e->ring, URING_FILES) == 0;
	e->has_buffer_table = io_uring_register_buffers_sparse(&e->ring, URING_REGIONS) == 0;
	for (unsigned i = 0; i < URING_FILES; i++) {
		if (e->files[i])
			register_file(e, i);
	}
	for (unsigned i = 0; i < e->region_count; i++)
		(void)register_region(e, i);
}

int uring_ring_new(struct uring_engine *e, struct errmsg *why)
{
	int ret = e->shared ? ring_init_shared(e) : ring_init(e);
	if (ret < 0)
		return explain_init_error(why, ret);
	e->ring_ok = true;
	e->wake_armed = false;
	uring_watch_forget(e);
	e->owner = 0;
	fill_tables(e);
	return 0;
}

void uring_ring_free(struct uring_engine *e)
{
	if (e->ring_ok)
		io_uring_queue_exit(&e->ring);
	e->ring_ok = false;
	uring_flights_abandon(e);
}

/* Give the ring to nobody, where another thread owns it. */
static int disown(struct uring_engine *e, uint64_t me)
{
	if (e->ring_ok && (e->shared || !e->owner || e->owner == me))
		return 0;
	if (e->in_flight)
		return -EBUSY;
	uring_ring_free(e);
	return uring_ring_new(e, NULL);
}

int uring_ring_touch(struct uring_engine *e)
{
	return disown(e, thread_number());
}

bool uring_ring_is_ours(const struct uring_engine *e)
{
	return e->ring_ok && (e->shared || e->owner == thread_number());
}

int uring_ring_own(struct uring_engine *e)
{
	uint64_t me = thread_number();
	if (uring_ring_is_ours(e))
		return 0;
	int ret = disown(e, me);
	if (ret < 0)
		return ret;
	ret = ring_enable(e);
	if (ret < 0)
		return ret;
	e->owner = me;
	/* A wait with a timeout is late by up to the thread's timer slack. */
	(void)prctl(PR_SET_TIMERSLACK, 1000);
	return 0;
}

void uring_ring_add_file(struct uring_engine *e, struct uring_file *f)
{
	f->slot = -1;
	if (uring_ring_touch(e) < 0)
		return;
	for (unsigned i = 0; i < URING_FILES; i++) {
		if (!e->files[i]) {
			e->files[i] = f;
			register_file(e, i);
			return;
		}
	}
}

void uring_ring_remove_file(struct uring_engine *e, struct uring_file *f)
{
	for (unsigned i = 0; i < URING_FILES; i++) {
		if (e->files[i] != f)
			continue;
		e->files[i] = NULL; /* first, so that a new ring does not get it */
		int none = -1;
		uint64_t old_owner = e->owner;
		if (f->slot >= 0 && uring_ring_touch(e) == 0 && e->owner == old_owner)
			(void)io_uring_register_files_update(&e->ring, i, &none, 1);
	}
}

int uring_ring_add_region(struct uring_engine *e, void *base, uint64_t len_bytes)
{
	if (e->region_count == URING_REGIONS)
		return -ENOSPC;
	int ret = uring_ring_touch(e);
	if (ret < 0)
		return ret;
	e->regions[e->region_count] = (struct uring_region){.base = base, .len_bytes = len_bytes};
	ret = register_region(e, e->region_count);
	if (ret == 0)
		e->region_count++;
	return ret;
}

void uring_ring_forget_region(struct uring_engine *e, void *base, uint64_t len_bytes)
{
	const char *start = base, *end = start + len_bytes;
	for (unsigned i = 0; i < e->region_count; i++) {
		struct uring_region *r = &e->regions[i];
		if (start < r->base + r->len_bytes && r->base < end)
			r->slot = -1; /* a ring made anew takes the pages that are there then */
	}
}
