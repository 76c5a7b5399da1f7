/* SPDX-License-Identifier: MIT */
/* The io_urings of other processes: which of their entries a request comes from. Private to
 * src/inflight.
 *
 * A request of a ring comes from the thread that submitted it, from a worker of the kernel
 * (iou-wrk-*) or from the ring's own thread (iou-sqp-*), all of which are threads of the process:
 * so all rings of the process are looked at. What a match is: a read or a write, like the request;
 * of its file; its range is the entry's or a part of it. An entry matches once
 * (live_ring_entries.h).
 *
 * Where several entries of different buffers match, the one that holds the request's bytes is
 * taken, if there is exactly one; else it is LIVE_AMBIGUOUS: a wrong buffer would be worse than
 * none. The same where an entry's file is an index into the ring's table of registered files: what
 * is there is told as a path (in fdinfo of the ring), and which file that is only where the process
 * has it open, too.
 *
 * New rings are looked for where nothing was found: at once where the thread is a ring's and its
 * process has another size than at the last look; else at most a tenth of the time goes into that,
 * and where neither is the case it is done each LIVE_RINGS_LOOK_NS. So the first request of a new
 * ring may be missed where its thread has run on, and the process grows and shrinks all the time.
 *
 * Where the memory is, and what it costs to hold it: live_ring_memory.h. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_H
#define STABLEFS_INFLIGHT_LIVE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "base/clock.h"
#include "inflight/live.h"
#include "inflight/live_file.h"
#include "inflight/live_ring_memory.h"

#define LIVE_RINGS_PROCESSES 64u
#define LIVE_RINGS_LOOK_NS   (100 * NS_PER_MS)
#define LIVE_RINGS_MAPS_NS   (100 * NS_PER_MS) /* how old a descriptor of a process's maps gets */

struct live_rings;

/* @files: borrowed, outlives the rings. @way: the one to begin with; RING_BY_MAPPING falls back by
 * itself. 0 or -ENOMEM. */
int live_rings_new(struct live_files *files, enum ring_way way, struct live_rings **out);
void live_rings_free(struct live_rings *rings); /* accepts NULL */

/* A locator that reads rings in that way, whatever the kernel can: live_new() with a choice. */
struct trees;
int live_new_by(struct trees *trees, enum ring_way way, struct live **out);

struct live_ring_question {
	const struct live_request *req;
	pid_t tgid; /* the process of req->tid */
	/* The thread is known to have come from a ring: rings are looked for in any case. */
	bool is_sure;
	/* The thread may have come from elsewhere: only a buffer that holds the bytes is taken. */
	bool must_hold;
	/* Does that memory hold the bytes of the request? Asked where several buffers could be
	 * it, or where the file is in doubt. False also where it cannot be read. */
	bool (*holds_bytes)(
		void *ctx, const struct iovec *pieces, unsigned count, uint64_t skip_bytes);
	void *ctx;
};

struct live_ring_answer {
	struct iovec *pieces; /* room for IOV_MAX: all of the entry */
	unsigned count;
	uint64_t skip_bytes; /* how far into them the request begins */
};

/* LIVE_FOUND, LIVE_NOT_IN_CALL (the process has no ring), LIVE_NO_MATCH, LIVE_AMBIGUOUS,
 * LIVE_RING_HIDDEN, LIVE_NOT_PERMITTED, LIVE_GONE. Any thread. A request is found once. */
enum live_miss live_rings_find(
	struct live_rings *rings, const struct live_ring_question *q, struct live_ring_answer *out);

#endif
