/* SPDX-License-Identifier: MIT */
/* Background work: resync, rebuild, scrub, one piece at a time.
 * Threads: the work thread ("stablefs-work") does it, and handles members that fail in between; in
 *   a volume without threads volume_work() does. Others look and ask: `lock`.
 * May use: stripe, intent, member, io, base. */
#ifndef STABLEFS_VOLUME_WORK_H
#define STABLEFS_VOLUME_WORK_H

#include <pthread.h>
#include "volume/volume.h"

struct work {
	/* lock protects what follows, down to the next line. */
	pthread_mutex_t lock;
	struct volume_work_info info[VOLUME_WORK_KINDS];
	bool paused[VOLUME_WORK_KINDS];
	bool scrub_wanted, scrub_active; /* to be done; the work thread is at it */
	uint64_t scrub_every_ns, scrub_due_ns;
	struct scrub_result found; /* owned; of the scrub under way, or the last */
	/* The work thread's. */
	bool resync_failed;                  /* it could not be done: not tried again */
	uint64_t last_post_ns, last_cost_ns; /* of the stripe that was looked at last */
	uint64_t due_ns;                     /* by the rate */
	uint64_t scrub_from;
	uint64_t area_at; /* UINT64_MAX: the system area was scrubbed */
	uint64_t scrub_room;
	pthread_t thread; /* valid where has_thread */
	bool has_thread;
	/* volume->lock protects: */
	uint64_t retry_ns[RAID_MAX_MEMBERS]; /* of a rebuild that could not be completed */
	bool working;                        /* a piece of work is under way */
	bool wake, stop, end; /* look again; begin nothing more; the thread is to end */
};

struct sweep;
enum sweep_step;

void work_init(struct volume *v, const struct volume_open_options *options);
void work_fini(struct volume *v);
int work_start(struct volume *v); /* threaded volumes */

/* No more background work: what is under way ends first. Members that fail are still handled, until
 * work_end(). */
void work_stop(struct volume *v);
void work_end(struct volume *v);

/* Something has changed: look again what there is to do. Any thread; not with volume->lock. */
void work_wake(struct volume *v);

/* volume->lock is held: whoever sleeps between two pieces of work is to look again. */
bool work_is_disturbed(const struct volume *v);

/* Is @kind what is to be done now? */
bool work_may_go_on(struct volume *v, enum volume_work_kind kind);

/* Before another stripe (or as much of the system area) of @bytes of every member begins: keep to
 * the rate, and leave half of the time to others. May sleep. */
enum sweep_step work_pace(
	struct volume *v, enum volume_work_kind kind, uint64_t bytes, unsigned under_way);
void work_piece_done(struct volume *v);

/* The info of @kind, to be changed: locks. */
struct volume_work_info *work_info_begin(struct volume *v, enum volume_work_kind kind);
void work_info_end(struct volume *v);

/* A piece of work begins and ends: state, times, error. */
void work_begun(struct volume *v, enum volume_work_kind kind, uint64_t total);
void work_ended(struct volume *v, enum volume_work_kind kind, int err);

/* volume_flush(), for the work thread. */
int work_flush(struct volume *v);

/* Add what a check has rebuilt and found lost. */
void work_count_blocks(
	struct volume *v, enum volume_work_kind kind, const struct stripe_check *check);

/* ---- resync.c, rebuild.c, scrub_work.c: each goes on until it is done or may not go on ---- */

void resync_announce(struct volume *v); /* at the start */
bool resync_is_wanted(struct volume *v);
void resync_run(struct volume *v);

/* The member to be rebuilt now, -1: none. */
int rebuild_next(struct volume *v);
void rebuild_run(struct volume *v, unsigned index);

bool scrub_is_wanted(struct volume *v); /* work.lock is held */
void scrub_run(struct volume *v);

#endif
