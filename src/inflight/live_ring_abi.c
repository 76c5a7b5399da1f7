/* SPDX-License-Identifier: MIT */
/* Bytes of a ring's shared memory, decoded. */
#include "inflight/live_ring_abi.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers of newer kernels than the headers that this may be built with. */
#define OP_READV_FIXED  60u /* Linux 6.15 */
#define OP_WRITEV_FIXED 61u

#define ARRAY_ALIGNMENT 64u
#define CQE_BYTES       16u

_Static_assert(sizeof(struct io_uring_sqe) == RING_SQE_BYTES, "an entry without its second half");
_Static_assert(IOSQE_FIXED_FILE == RING_SQE_FIXED_FILE, "as the kernel has it");
_Static_assert(IOSQE_BUFFER_SELECT == RING_SQE_BUFFER_GROUP, "as the kernel has it");
_Static_assert(IORING_OFF_SQES == RING_OFFSET_SQES, "as the kernel has it");
_Static_assert(IORING_OFF_CQ_RING == RING_OFFSET_CQ, "as the kernel has it");

struct places {
	uint32_t head, tail, mask, entries, cq_entries, cqes;
};
/* As all kernels from 5.4 to 6.18 have it: for where we may not make a ring. */
static struct places places = {0, 4, 16, 24, 28, 64};
static pthread_once_t places_once = PTHREAD_ONCE_INIT;

static void places_ask(void)
{
	struct io_uring_params p = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	if (fd < 0)
		return;
	close(fd);
	const struct places told = {p.sq_off.head, p.sq_off.tail, p.sq_off.ring_mask,
		p.sq_off.ring_entries, p.cq_off.ring_entries, p.cq_off.cqes};
	const uint32_t *all = (const uint32_t *)&told;
	for (unsigned i = 0; i < sizeof(told) / sizeof(*all); i++) {
		if (all[i] > RING_HEADER_BYTES - (i == 5 ? 0 : sizeof(uint32_t)))
			return; /* a form that we do not know */
	}
	places = told;
}

static uint32_t u32_at(const uint8_t *memory, uint32_t place)
{
	uint32_t v;
	memcpy(&v, memory + place, sizeof(v));
	return v;
}

static bool is_power_of_two(uint32_t v)
{
	return v && !(v & (v - 1));
}

bool ring_header_decode(const uint8_t *memory, struct ring_header *out)
{
	pthread_once(&places_once, places_ask);
	*out = (struct ring_header){u32_at(memory, places.head), u32_at(memory, places.tail),
		u32_at(memory, places.entries), u32_at(memory, places.cq_entries)};
	return is_power_of_two(out->entries) && out->entries <= RING_MAX_ENTRIES &&
	       u32_at(memory, places.mask) == out->entries - 1 &&
	       is_power_of_two(out->cq_entries) && out->cq_entries <= 2 * RING_MAX_ENTRIES;
}

static uint64_t array_align(uint64_t offset)
{
	return (offset + ARRAY_ALIGNMENT - 1) & ~(uint64_t)(ARRAY_ALIGNMENT - 1);
}

void ring_array_places(const struct ring_header *h, uint64_t out[RING_ARRAY_PLACES])
{
	pthread_once(&places_once, places_ask);
	uint64_t end = places.cqes + (uint64_t)h->cq_entries * CQE_BYTES;
	out[0] = array_align(end);
	out[1] = array_align(2 * end);
	out[2] = array_align(places.cqes + (uint64_t)h->cq_entries * 2 * CQE_BYTES);
}

bool ring_sqe_decode(const uint8_t *memory, struct ring_sqe *out)
{
	struct io_uring_sqe sqe;
	memcpy(&sqe, memory, sizeof(sqe));
	*out = (struct ring_sqe){.fixed_file = sqe.flags & IOSQE_FIXED_FILE,
		.buffer_group = sqe.flags & IOSQE_BUFFER_SELECT,
		.fd = sqe.fd,
		.offset_bytes = sqe.off,
		.addr = sqe.addr,
		.len = sqe.len,
		.rw_flags = sqe.rw_flags};
	switch (sqe.opcode) {
	case IORING_OP_READV:
	case OP_READV_FIXED:
		out->is_read = out->vectored = true;
		return true;
	case IORING_OP_READ:
	case IORING_OP_READ_FIXED:
		out->is_read = true;
		return true;
	case IORING_OP_WRITEV:
	case OP_WRITEV_FIXED:
		out->vectored = true;
		return true;
	case IORING_OP_WRITE:
	case IORING_OP_WRITE_FIXED:
		return true;
	default:
		return false;
	}
}
