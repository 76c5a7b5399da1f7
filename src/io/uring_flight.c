/* SPDX-License-Identifier: MIT */
/* Requests of files with a timeout, while the kernel has them.
 *
 * A request that is out of time ends for its caller, although the kernel cannot give it back. Its
 * flight stays behind as an orphan, and takes the late completion. What of the caller's memory can
 * the kernel still touch then? A write or a flush harms nobody: it reads pages that may hold
 * something else by now, for a member that has failed. A read must not reach memory that has a new
 * use, so it is sent in one of three ways:
 *   - into registered memory: the kernel holds the pages, by whatever way it gets there. They are
 *     taken from under the caller's addresses, and the region is no longer used as a registered
 *     one;
 *   - with RWF_NOWAIT: when the system call returns the pages are held, or it has failed with
 *     -EAGAIN; never does a worker look the addresses up later. They are taken away as above;
 *   - where that failed: into memory of ours (staging), copied when it has come. What is orphaned
 *     keeps it, for ever if it must be.
 *
 *	start -> flights of the file --completion--> uring.c
 *	             | deadline
 *	             +-> done(-ETIMEDOUT), orphan --late completion--> idle
 *
 * Invariants: I1 a flight without a request is an orphan, and counts for orphan_count of its file
 * and no longer for in_flight. I2 nothing expires while entries wait to be handed over: the kernel
 * has not looked at their addresses. I3 flights of a file are in order of their deadlines.
 * Owning thread: the engine's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "base/block.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/uring_internal.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

/* How long a dying engine waits for what it has cancelled. */
#define DRAIN_NS (100 * NS_PER_MS)

static struct uring_flight *flight_of(struct list_node *node)
{
	return container_of(node, struct uring_flight, node);
}

static struct uring_file *timed_file_of(struct list_node *node)
{
	return container_of(node, struct uring_file, timed_node);
}

static struct io_req *req_of(struct list_node *node)
{
	return container_of(node, struct io_req, node);
}

void uring_file_set_timeout(struct io_file *file, uint64_t timeout_ns)
{
	struct uring_file *f = uring_file_of(file);
	f->timeout_ns = timeout_ns;
	f->timed_out = false;
	list_remove(&f->timed_node);
	if (timeout_ns)
		list_push_back(&uring_engine_of(file->engine)->timed_files, &f->timed_node);
}

static void insert_by_deadline(struct uring_file *f, struct uring_flight *flight)
{
	struct list_node *at = f->flights.head.prev;
	while (at != &f->flights.head && flight_of(at)->deadline_ns > flight->deadline_ns)
		at = at->prev;
	list_insert_before(at->next, &flight->node); /* I3 */
}

struct uring_flight *uring_flight_begin(struct uring_engine *e, struct io_req *req, uint64_t now_ns)
{
	struct uring_flight *flight;
	if (list_empty(&e->idle_flights))
		flight = malloc(sizeof(*flight));
	else
		flight = flight_of(list_pop_front(&e->idle_flights));
	if (!flight)
		return NULL;
	struct uring_file *f = uring_file_of(req->file);
	*flight =
		(struct uring_flight){.req = req, .file = f, .deadline_ns = now_ns + f->timeout_ns};
	insert_by_deadline(f, flight);
	return flight;
}

static void flight_end(struct uring_engine *e, struct uring_flight *flight)
{
	free(flight->staging);
	list_remove(&flight->node);
	list_push_back(&e->idle_flights, &flight->node);
}

/* What came into our memory goes to the caller's. */
static void copy_staged(const struct uring_flight *flight, uint64_t len_bytes)
{
	const struct io_req *req = flight->req;
	const char *from = flight->staging;
	uint64_t skip = req->done_bytes;
	for (unsigned i = 0; i < req->iov_count && len_bytes; i++) {
		uint64_t part = req->iov[i].iov_len;
		if (skip >= part) {
			skip -= part;
			continue;
		}
		part = min_u64(part - skip, len_bytes);
		memcpy((char *)req->iov[i].iov_base + skip, from, part);
		from += part;
		len_bytes -= part;
		skip = 0;
	}
}

/* An orphan came home. The file may have waited for that to be closed. */
static void orphan_ended(struct uring_engine *e, struct uring_flight *flight)
{
	struct uring_file *f = flight->file;
	flight_end(e, flight);
	f->orphan_count--; /* I1 */
	e->orphan_count--;
	if (f->closed && f->orphan_count == 0)
		uring_file_free(f);
}

struct io_req *uring_flight_completed(struct uring_engine *e, struct uring_flight *flight, int *res)
{
	struct io_req *req = flight->req;
	if (!req) {
		orphan_ended(e, flight);
		return NULL;
	}
	if (flight->err)
		*res = flight->err;
	if (flight->staging && *res > 0)
		copy_staged(flight, (uint64_t)*res);
	if (flight->nowait && (*res == -EAGAIN || *res == -EOPNOTSUPP)) {
		flight->file->no_nowait |= *res == -EOPNOTSUPP;
		req->record = req; /* the next try is staged */
		*res = -EAGAIN;
	}
	flight_end(e, flight);
	return req;
}

/* ---- out of time ---- */

static bool overlaps(uintptr_t start, uintptr_t end, const struct iovec *iov, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uintptr_t base = (uintptr_t)iov[i].iov_base;
		if (start < base + iov[i].iov_len && base < end)
			return true;
	}
	return false;
}

/* Whether the memory is made of whole pages that are nobody else's: not shared, of no file. */
static bool is_ours_alone(const struct iovec *iov, unsigned count)
{
	char line[512], perms[8];
	bool alone = true;
	for (unsigned i = 0; i < count; i++)
		alone &= ((uintptr_t)iov[i].iov_base | iov[i].iov_len) % BLOCK_BYTES == 0;
	FILE *maps = alone ? fopen("/proc/self/maps", "re") : NULL;
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end, inode;
		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &start, &end, perms, &inode) == 4 &&
			(perms[3] != 'p' || inode))
			alone &= !overlaps(start, end, iov, count);
	}
	alone &= maps != NULL;
	if (maps)
		fclose(maps);
	return alone;
}

/* Fresh zero pages at the caller's addresses: the kernel holds the old ones, and nobody else. */
static bool take_pages(struct uring_engine *e, const struct iovec *iov, unsigned count)
{
	if (!is_ours_alone(iov, count))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (madvise(iov[i].iov_base, iov[i].iov_len, MADV_DONTNEED) < 0 &&
			madvise(iov[i].iov_base, iov[i].iov_len, MADV_DONTNEED_LOCKED) < 0)
			return false;
		uring_ring_forget_region(e, iov[i].iov_base, iov[i].iov_len);
	}
	return true;
}

static bool memory_is_safe(struct uring_engine *e, struct uring_flight *flight)
{
	unsigned count;
	if (flight->req->kind != IO_READ || flight->staging || flight->err)
		return true;
	const struct iovec *iov = uring_request_rest(flight->req, &count);
	return take_pages(e, iov, count);
}

static void settle(struct uring_engine *e, struct io_req *req)
{
	req->result = -ETIMEDOUT;
	list_push_back(&e->settled, &req->node);
}

/* The caller gets it back, the kernel does not give it. */
static void orphan(struct uring_engine *e, struct uring_flight *flight)
{
	list_remove(&flight->node);
	list_push_back(&e->orphans, &flight->node);
	settle(e, flight->req);
	flight->req = NULL; /* I1 */
	flight->file->orphan_count++;
	e->orphan_count++;
	e->in_flight--;
}

static void end_backlog_of(struct uring_engine *e, const struct uring_file *f)
{
	list_for_each_safe (n, &e->backlog) {
		if (uring_file_of(req_of(n)->file) != f)
			continue;
		list_remove(n);
		settle(e, req_of(n));
	}
}

/* What a worker of the kernel has not begun never will, and what can be interrupted is. */
static void cancel_orphans(struct uring_engine *e)
{
	list_for_each (n, &e->orphans) {
		struct uring_flight *flight = flight_of(n);
		struct io_uring_sqe *sqe = flight->cancelled ? NULL : io_uring_get_sqe(&e->ring);
		if (!sqe)
			continue;
		flight->cancelled = true;
		io_uring_prep_cancel64(sqe, uring_flight_tag(flight), 0);
		sqe->user_data = URING_TAG_CANCEL;
	}
}

static void file_timed_out(struct uring_engine *e, struct uring_file *f)
{
	f->timed_out = true;
	list_for_each_safe (n, &f->flights) {
		struct uring_flight *flight = flight_of(n);
		if (memory_is_safe(e, flight))
			orphan(e, flight);
		else
			flight->deadline_ns = UINT64_MAX; /* it waits on */
	}
	end_backlog_of(e, f);
}

static uint64_t first_deadline(struct uring_file *f)
{
	return list_empty(&f->flights) ? UINT64_MAX
				       : flight_of(list_first(&f->flights))->deadline_ns;
}

void uring_flight_expire(struct uring_engine *e)
{
	if (list_empty(&e->timed_files) || io_uring_sq_ready(&e->ring)) /* I2 */
		return;
	uint64_t now_ns = clock_monotonic_ns();
	bool any = false;
	list_for_each (n, &e->timed_files) {
		struct uring_file *f = timed_file_of(n);
		if (first_deadline(f) > now_ns)
			continue;
		file_timed_out(e, f);
		any = true;
	}
	if (any)
		cancel_orphans(e);
}

uint64_t uring_flight_next_deadline(struct uring_engine *e)
{
	uint64_t next_ns = UINT64_MAX;
	list_for_each (n, &e->timed_files)
		next_ns = min_u64(next_ns, first_deadline(timed_file_of(n)));
	return next_ns;
}

/* ---- the end of a ring and of an engine ---- */

void uring_flights_abandon(struct uring_engine *e)
{
	while (!list_empty(&e->orphans)) {
		struct uring_flight *flight = flight_of(list_first(&e->orphans));
		flight->staging = NULL; /* the kernel may yet fill it: left behind knowingly */
		orphan_ended(e, flight);
	}
}

void uring_flights_drain(struct uring_engine *e)
{
	uint64_t end_ns = clock_monotonic_ns() + DRAIN_NS;
	cancel_orphans(e);
	while (e->orphan_count && clock_monotonic_ns() < end_ns) {
		struct io_uring_cqe *cqe;
		struct __kernel_timespec ts = {.tv_nsec = DRAIN_NS / 10};
		(void)io_uring_submit_and_wait_timeout(&e->ring, &cqe, 1, &ts, NULL);
		while (io_uring_peek_cqe(&e->ring, &cqe) == 0) {
			struct uring_flight *flight = uring_flight_of_tag(cqe->user_data);
			io_uring_cqe_seen(&e->ring, cqe);
			if (flight)
				orphan_ended(e, flight);
		}
	}
}

void uring_flights_free(struct uring_engine *e)
{
	while (!list_empty(&e->idle_flights))
		free(flight_of(list_pop_front(&e->idle_flights)));
}
