/* SPDX-License-Identifier: MIT */
/* An io_uring without liburing, so that a test can use every form of it: any flags, any order of
 * slots. Slots are the caller's to choose. Functions return -1 where something fails. */
#ifndef STABLEFS_TESTS_RAW_RING_H
#define STABLEFS_TESTS_RAW_RING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RAW_SETUP_NO_MMAP    (1U << 14) /* Linux 6.5 */
#define RAW_SETUP_NO_SQARRAY (1U << 16) /* Linux 6.6 */
#define RAW_OP_WRITEV_FIXED  61         /* Linux 6.15 */

struct raw_ring {
	int fd;
	struct io_uring_params p;
	uint8_t *ring, *sqes;
};

/* -1: this kernel does not know the flags. */
static inline int raw_ring_open(struct raw_ring *r, unsigned entries, unsigned flags)
{
	*r = (struct raw_ring){.p = {.flags = flags, .sq_thread_idle = 50}};
	if (flags & RAW_SETUP_NO_MMAP) {
		r->sqes = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		r->ring = r->sqes + 4096;
		uint64_t sqes = (uintptr_t)r->sqes, ring = (uintptr_t)r->ring;
		memcpy(&r->p.sq_off.resv2, &sqes, sizeof(sqes));
		memcpy((uint8_t *)&r->p.cq_off + sizeof(r->p.cq_off) - 8, &ring, sizeof(ring));
	}
	r->fd = (int)syscall(SYS_io_uring_setup, entries, &r->p);
	if (r->fd < 0 || (flags & RAW_SETUP_NO_MMAP))
		return r->fd < 0 ? -1 : 0;
	unsigned cqe = flags & IORING_SETUP_CQE32 ? 32 : 16,
		 sqe = flags & IORING_SETUP_SQE128 ? 128 : 64;
	size_t cqes = r->p.cq_off.cqes + (size_t)r->p.cq_entries * cqe;
	size_t array = r->p.sq_off.array + (size_t)r->p.sq_entries * 4;
	r->ring = mmap(NULL, cqes > array ? cqes : array, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, (size_t)r->p.sq_entries * sqe, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	return r->ring == MAP_FAILED || r->sqes == MAP_FAILED ? -1 : 0;
}

static inline void raw_ring_close(struct raw_ring *r)
{
	close(r->fd);
}

static inline uint32_t *raw_ring_u32(struct raw_ring *r, uint32_t place)
{
	return (uint32_t *)(r->ring + place);
}

/* Publish an entry in @slot. */
static inline void raw_ring_put(struct raw_ring *r, unsigned slot, const struct io_uring_sqe *sqe)
{
	uint32_t *tail = raw_ring_u32(r, r->p.sq_off.tail), mask = r->p.sq_entries - 1;
	if (r->p.flags & RAW_SETUP_NO_SQARRAY)
		slot = *tail & mask;
	else
		raw_ring_u32(r, r->p.sq_off.array)[*tail & mask] = slot;
	memcpy(r->sqes + (size_t)slot * (r->p.flags & IORING_SETUP_SQE128 ? 128 : 64), sqe,
		sizeof(*sqe));
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
}

/* Submit @count and wait for as many. */
static inline int raw_ring_run(struct raw_ring *r, unsigned count)
{
	unsigned flags = IORING_ENTER_GETEVENTS;
	if (r->p.flags & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	int n = (int)syscall(SYS_io_uring_enter, r->fd, count, count, flags, NULL, 0);
	return n < 0 || (unsigned)n != count ? -1 : 0;
}

/* Take @count completions, each of which must have this result. */
static inline int raw_ring_reap(struct raw_ring *r, unsigned count, int result)
{
	uint32_t *head = raw_ring_u32(r, r->p.cq_off.head);
	uint32_t *tail = raw_ring_u32(r, r->p.cq_off.tail), mask = r->p.cq_entries - 1;
	unsigned size = r->p.flags & IORING_SETUP_CQE32 ? 32 : 16;
	for (unsigned i = 0; i < count; i++) {
		while (__atomic_load_n(tail, __ATOMIC_ACQUIRE) == *head)
			if (syscall(SYS_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL,
				    0) < 0)
				return -1;
		const struct io_uring_cqe *cqe =
			(const struct io_uring_cqe *)(const void *)(r->ring + r->p.cq_off.cqes +
								    (size_t)(*head & mask) * size);
		if (cqe->res != result)
			return -1;
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	}
	return 0;
}

static inline int raw_ring_register(
	struct raw_ring *r, unsigned what, const void *arg, unsigned count)
{
	return (int)syscall(SYS_io_uring_register, r->fd, what, arg, count);
}

#endif
