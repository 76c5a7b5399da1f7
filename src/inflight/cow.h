/* SPDX-License-Identifier: MIT */
/* Copy-on-write of a buffer in flight, in our own process: the write keeps the bytes that it was
 * submitted with, and the program goes on with a copy of each page that it touches meanwhile.
 * Owner thread: any; one lock. A thread of its own answers faults.
 * Invariants: cow.c.
 * May use: base. Must not know: stripes, files, policies. */
#ifndef STABLEFS_INFLIGHT_COW_H
#define STABLEFS_INFLIGHT_COW_H

#include <stddef.h>
#include <stdint.h>
#include "base/errmsg.h"

struct cow;
struct cow_extent;

/* Why memory was not taken: use a copy then. */
enum cow_refusal {
	COW_TAKEN,
	COW_UNALIGNED,  /* not whole pages: others' data would share one */
	COW_TOO_LONG,   /* above COW_MAX_BYTES */
	COW_NOT_PLAIN,  /* shared, a file's, huge pages, not writable, or the main thread's stack */
	COW_OVERLAP,    /* a part of it is away with other writes, a part is not */
	COW_FRAGMENTED, /* the kernel would not move it: its limit of mappings was met */
	COW_BUSY,       /* another userfaultfd watches it; or out of memory */
	COW_GONE,       /* after fork(2), in the child */
	COW_REFUSAL_COUNT
};
const char *cow_refusal_name(enum cow_refusal refusal); /* "unaligned", ... */

#define COW_MAX_BYTES (UINT64_C(64) << 20)

/* Try out what the kernel has to offer. -EOPNOTSUPP or -EPERM, and why: there is no userfaultfd, or
 * none for faults of the kernel itself (a program that reads a file into its buffer), or no
 * mremap(MREMAP_DONTUNMAP). */
int cow_new(struct cow **out, struct errmsg *why);

/* Everything was given back. Accepts NULL. */
void cow_free(struct cow *c);

/* Memory that a write holds: @data has its bytes as they were, at any time until it is given back,
 * for the processor and for io_uring. */
struct cow_hold {
	const uint8_t *data;
	struct cow_extent *extent;
};

/* Hold the pages of @memory (page-aligned, whole pages). The program may read and store there as it
 * likes, from any thread and in system calls; who does waits some microseconds for a copy of that
 * page. It must not unmap, move or register it elsewhere (another io_uring's fixed buffers, RDMA:
 * these keep the page that the write has) before it is given back. The same memory may be taken
 * again at any time. Any thread. */
enum cow_refusal cow_take(
	struct cow *c, const void *memory, size_t len_bytes, struct cow_hold *out);

/* The write is over: untouched pages go back. Any thread, in any order of the holds. */
void cow_give_back(struct cow *c, struct cow_hold *hold);

struct cow_stats {
	uint64_t taken, shared; /* shared: of them, those that found the pages already away */
	uint64_t refused[COW_REFUSAL_COUNT];
	uint64_t faults;       /* of the program, on pages that were away */
	uint64_t pages_copied; /* for the program, or because others of the same write were */
	uint64_t vanished;     /* given back to memory that was no longer there */
};
struct cow_stats cow_stats(struct cow *c);

#endif
