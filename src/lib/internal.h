/* SPDX-License-Identifier: MIT */
/* The public library: stablefs.h over the file system, the array and the sources of a write.
 * Owner thread: any; the engine's thread completes, the worker's does again what changed.
 * Invariants: L1 an io completes once, and the library touches neither it nor its buffer after
 *   that. L2 what was allocated for it is given back before. L3 the file system is called from the
 *   caller's thread or the worker's, never from the engine's: it may block. L4 a page of the
 *   caller's memory is looked at only between submission and completion.
 * May use: fs, volume, stripe, raid, pi, member, inflight, io, base. Must not know: FUSE. */
#ifndef STABLEFS_LIB_INTERNAL_H
#define STABLEFS_LIB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/cleanup.h"
#include "base/list.h"
#include "fs/fs.h"
#include "inflight/cow.h"
#include "stablefs/stablefs.h"
#include "volume/volume.h"

#define LIB_EVENTS_MAX  1024u
#define LIB_PIECE_BYTES 1048576u /* what one fs_io takes */

struct lib_events {
	struct event_sink sink;
	/* lock protects all below; taken alone. */
	pthread_mutex_t lock;
	pthread_cond_t came;
	struct event *ring; /* owned; LIB_EVENTS_MAX */
	unsigned first, count;
	uint64_t dropped;
	void (*notify)(void *ctx);
	void *notify_ctx;
};

struct lib_counters {
	atomic_uint_fast64_t reads, read_bytes, writes, write_bytes, trusted, copied_bytes, changed,
		redone, failed, by_policy[STABLEFS_POLICY_COUNT], cow_unavailable;
};

struct stablefs {
	struct volume *volume; /* owned */
	struct fs *fs;         /* owned */
	struct cow *cow;       /* owned; NULL: cow_missing says why */
	struct errmsg cow_missing;
	bool read_only;
	enum stablefs_policy policy;
	atomic_bool adaptive_bounced;
	atomic_uint under_way, files;
	struct lib_counters count;
	struct lib_events events;

	/* lock protects the completion queue, the state of ios on it, and jobs; taken alone. */
	pthread_mutex_t lock;
	pthread_cond_t completed, job_came;
	struct stablefs_io *first_done, *last_done;
	struct list jobs;
	bool stop;
	pthread_t worker;
	bool has_worker;
};

struct stablefs_file {
	struct stablefs *v; /* borrowed, outlives the file */
	uint64_t ino;
	atomic_uint under_way;
	struct fs_heard heard;
};

/* ---- transfers ---- */

struct lib_op;

/* A source on the caller's own memory that remembers the CRC-32C of each block when it was first
 * sampled (guarded.c). */
struct guarded_source {
	struct source src; /* first */
	uint32_t *crcs;    /* borrowed: one a block */
};
void guarded_source_init(
	struct guarded_source *out, const void *data, uint32_t len_bytes, uint32_t *crcs);

/* Which blocks are not what they were: how many; @first is the lowest one. Caller's memory. */
uint32_t guarded_source_changed(const struct guarded_source *g, uint32_t *first);

struct lib_piece {
	struct lib_op *op;
	struct fs_io io;
	struct guarded_source source;
	const uint8_t *data; /* of the caller's buffer */
	uint8_t *copy;       /* owned, of the engine's registered memory; NULL: none */
	bool changed;
	int err;
};

struct lib_op {
	struct stablefs *v;
	struct stablefs_io *io;
	enum stablefs_policy policy; /* what is done, after all rules */
	atomic_uint pending;
	bool redoing;
	int err; /* of the write as its caller shall hear it, when it was redone */
	struct cow_hold hold;
	uint32_t *crcs;        /* owned; verify, adaptive */
	struct list_node node; /* of v->jobs */
	void (*run)(struct lib_op *op);
	unsigned count;
	struct lib_piece pieces[];
};

/* io.c: start the pieces (L3: hands them to the worker where this is the engine's thread). */
void lib_op_start(struct lib_op *op);
/* The end: results into the io, everything given back, completed. Takes @op. */
void lib_op_finish(struct lib_op *op, int err);
/* Have @run called on the worker's thread. */
void lib_op_post(struct lib_op *op, void (*run)(struct lib_op *op));

int lib_worker_start(struct stablefs *v);
void lib_worker_stop(struct stablefs *v);

/* write.c. Choose what is done about a write and make its sources; 0 or -errno. */
int lib_write_prepare(struct lib_op *op);
void lib_write_release(struct lib_op *op);
/* The members have answered all pieces. Takes @op. */
void lib_write_answered(struct lib_op *op);

/* ---- events ---- */

int lib_events_init(struct lib_events *e);
void lib_events_free(struct lib_events *e);

#endif
