/* SPDX-License-Identifier: MIT */
/* Looking at other processes' memory without being held up by them.
 * Owner thread: any; the looking is done by threads of the sampler's own, which are made when there
 *   is something to look at.
 * Invariants: I1 nobody waits for another process longer than the limit (time in which our own
 *   threads wait for a processor does not count): what takes longer fails
 *   with -ETIME, and the thread that hangs in it is left to itself (it holds the buffer and works
 *   in memory of its own, so that nothing of the caller's is touched afterwards). Only who stores
 *   into a process waits for that process. I2 a process
 *   that made somebody wait to the limit is not looked at for SAMPLER_PENALTY_NS, nor as long as a
 *   thread hangs in it: -ETIME at once. I3 the number of threads is bounded; where all hang (or
 *   none can be made), jobs fail with -ETIME at once.
 * May use: live, procfs, base. Must not know: sources, policies.
 *
 * The limit is kept to within a tenth of it and what the scheduler adds.
 *
 * Why: process_vm_readv(2) waits for the mmap lock of that process, and for whoever pages its
 * memory in (userfaultfd(2), another file system). Both may be waiting for us. */
#ifndef STABLEFS_INFLIGHT_SAMPLER_H
#define STABLEFS_INFLIGHT_SAMPLER_H

#include <stdint.h>
#include "base/clock.h"
#include "base/list.h"
#include "inflight/live.h"

#define SAMPLER_LIMIT_NS    (100 * NS_PER_MS)
#define SAMPLER_PENALTY_NS  (10 * NS_PER_S)
#define SAMPLER_MAX_THREADS 16u

struct sampler;

/* @threads: how many look side by side (more are made where some hang); 0: chosen from the CPUs. */
int sampler_new(unsigned threads, struct sampler **out);

/* No job may be under way but those that hang; their threads are left behind, detached. Accepts
 * NULL. */
void sampler_free(struct sampler *s);

/* Read a part of a located buffer, waiting for it. 0; -ETIME; else as live_buffer_read(). Any
 * thread: it waits at most SAMPLER_LIMIT_NS, and that once for each process in SAMPLER_PENALTY_NS.
 * A buffer of our own process is read directly. */
int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes);

/* The same without waiting: read the bytes and hand them to @seen, which may take its time
 * (compare, answer the writer).
 *
 * Or write them. A store that is under way cannot be taken back, and one that comes when its owner
 * thinks that it will not would ruin what he has there by then. So a write is not given up: where
 * it hangs, the process gets its penalty and others are served, and it ends when it can. */
struct sampler_job {
	struct live_buffer *buffer; /* borrowed until seen() */
	uint32_t offset_bytes, len_bytes;
	const void *data; /* a write: what to store, borrowed until seen(); NULL: a read */
	/* Once, on a sampler's thread, or from within the call where it fails at once or is of our
	 * own memory. @bytes: what the memory holds, NULL where @err < 0; valid during the call.
	 * The job may be freed. */
	void (*seen)(struct sampler_job *job, const void *bytes, int err);
	/* The sampler's. */
	struct list_node node;
	uint64_t due_ns;
};
void sampler_post(struct sampler *s, struct sampler_job *job);

struct sampler_stats {
	uint64_t reads, writes, timeouts;
	unsigned threads, hanging;
};
struct sampler_stats sampler_stats(struct sampler *s); /* any thread */

#endif
