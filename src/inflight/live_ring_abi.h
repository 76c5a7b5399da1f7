/* SPDX-License-Identifier: MIT */
/* What the shared memory of an io_uring looks like from outside. Private to src/inflight; pure
 * values but for one ring of our own, whose parameters tell where this kernel has the fields.
 *
 * io_uring_setup(2) tells these places to the ring's owner alone. They are the same for all rings
 * of a kernel, except for what depends on flags that nobody else is told: the array of indices lies
 * behind the completions, which may be of 16 or 32 bytes, or there is none
 * (IORING_SETUP_NO_SQARRAY), and submission entries may be of 64 or 128 bytes. That is concluded
 * from the memory itself. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_ABI_H
#define STABLEFS_INFLIGHT_LIVE_RING_ABI_H

#include <stdbool.h>
#include <stdint.h>

#define RING_SQE_BYTES        64u
#define RING_MAX_ENTRIES      32768u
#define RING_HEADER_BYTES     64u /* of ring memory: holds all of struct ring_header */
#define RING_OFFSET_SQES      UINT64_C(0x10000000)
#define RING_OFFSET_CQ        UINT64_C(0x8000000)
#define RING_POSITION         UINT64_MAX /* an entry's offset: at the file's position */
#define RING_SQE_FIXED_FILE   1u
#define RING_SQE_BUFFER_GROUP 32u

struct ring_header {
	uint32_t head, tail; /* of submissions; they run on over 2^32 */
	uint32_t entries;    /* of submissions: a power of two */
	uint32_t cq_entries;
};

/* False: no ring has such numbers. @memory: RING_HEADER_BYTES. */
bool ring_header_decode(const uint8_t *memory, struct ring_header *out);

/* Where the array of indices may be: behind completions of 16 bytes; behind all of that doubled, as
 * kernels to this day leave room for completions of 32 bytes; behind just these. In that order; the
 * second is the furthest. */
#define RING_ARRAY_PLACES 3u
void ring_array_places(const struct ring_header *h, uint64_t places[RING_ARRAY_PLACES]);

/* A read or write as it was submitted. */
struct ring_sqe {
	bool is_read, vectored;
	bool fixed_file;   /* @fd is an index into the ring's table of files */
	bool buffer_group; /* the kernel chooses the buffer; @addr says nothing */
	int fd;
	uint64_t offset_bytes; /* or RING_POSITION */
	uint64_t addr;         /* of the buffer or, vectored, of the iovecs */
	uint32_t len;          /* bytes or, vectored, how many iovecs */
	uint32_t rw_flags;     /* RWF_* */
};

/* False: it is neither a read nor a write. @memory: RING_SQE_BYTES. */
bool ring_sqe_decode(const uint8_t *memory, struct ring_sqe *out);

#endif
