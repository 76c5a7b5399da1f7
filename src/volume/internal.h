/* SPDX-License-Identifier: MIT */
/* What the files of this folder share: the volume itself, and its parts that nobody else sees. */
#ifndef STABLEFS_VOLUME_INTERNAL_H
#define STABLEFS_VOLUME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "journal/journal.h"
#include "volume/members.h"
#include "volume/sysarea.h"
#include "volume/volume.h"
#include "volume/work.h"

struct volume {
	const struct io_factory *factory; /* borrowed */
	struct io_engine *io;             /* owned */
	/* Owned; NULL: missing. The engine thread's; which they are changes under lock. */
	struct member *members[RAID_MAX_MEMBERS];
	struct intent_log *intent;             /* owned */
	struct journal *journal;               /* owned; NULL: none */
	struct stripe_engine *eng;             /* owned */
	struct sysarea *sysarea;               /* owned */
	struct super super;                    /* as it was when the volume was opened */
	struct super supers[RAID_MAX_MEMBERS]; /* of each member, the same */
	struct geometry geometry;
	struct event_sink *events; /* borrowed; may be NULL */
	bool read_only, threaded;
	uint64_t timeout_ns; /* of members' files */
	uint64_t cache_bytes;
	bool marked_dirty; /* the superblocks say so: the close has to take it back */
	struct members set;
	struct work work;
	pthread_mutex_t area_lock; /* area_scrub; held across a step of it; taken first */
	struct volume_area_scrub area_scrub;
	pthread_t thread; /* valid where has_thread */
	bool has_thread;
	atomic_bool stop;
	pthread_mutex_t lock; /* protects every volume_waiter of this volume, and places */
	pthread_cond_t ready; /* with lock: some waiter became ready, or a member is to go */
};

/* In the simulated world a member's name is no path: nothing to stat, make or remove. */
static inline bool engine_names_are_paths(const struct io_engine *io)
{
	return strcmp(io->ops->name, "simulated") != 0;
}

/* ---- assemble.c ---- */

/* What the paths come to. */
struct assembled {
	struct member *members[RAID_MAX_MEMBERS]; /* up to date; owned */
	struct returning {
		struct member *m; /* owned; NULL: none */
		bool all;         /* nothing on it counts */
	} returning[RAID_MAX_MEMBERS];
	char *absent[RAID_MAX_MEMBERS]; /* owned; why a member is left out, where that is known */
	struct assembled_spare {
		char *path; /* owned */
		struct super super;
	} spares[SPARES_MAX];
	unsigned spare_count;
	struct super newest; /* the superblock that counts */
};

/* Probe what @options names and take what makes one volume. On an error nothing is left open. Reads
 * only. */
int assemble_members(struct io_engine *io, const struct volume_open_options *options,
	struct assembled *out, struct errmsg *why);
void assembled_release(struct assembled *a);

/* ---- the partial-write log, where there is one ---- */

static inline void hole_set_member(struct volume *v, unsigned index, struct member *m)
{
	if (v->journal)
		journal_set_member(v->journal, index, m);
}

static inline bool hole_busy(const struct volume *v)
{
	return v->journal && journal_busy(v->journal);
}

static inline int hole_format(struct member *m)
{
	return member_super(m)->write_hole == SUPER_HOLE_JOURNAL ? journal_format(m) : 0;
}

/* ---- paths.c ---- */

/* The number of a member file's name ("member-7"), -1 for any other name. */
int member_file_number(const char *name);

/* ---- engine.c: the engine thread, and waiting for it ---- */

int volume_thread_start(
	pthread_t *out, void *(*run)(void *arg), struct volume *v, const char *name);
int engine_thread_start(struct volume *v);

/* The engine stops for good, when it is quiet and no member is about to go. */
void engine_stop(struct volume *v);

/* Something to be done on the engine thread, and waited for. What run() returns is its result;
 * ENGINE_ERRAND_LATER: engine_errand_end() will be called. */
struct engine_errand {
	struct engine_call call;
	struct volume *volume;
	struct volume_waiter waiter;
	int (*run)(struct engine_errand *errand);
};
#define ENGINE_ERRAND_LATER 1
int engine_errand_run(struct volume *v, struct engine_errand *errand);
void engine_errand_end(struct engine_errand *errand, int err);

/* Wait until engine time @due_ns; sooner where a member fails or work is disturbed. The work
 * thread, or, without one, whoever does the work. */
void engine_sleep_until(struct volume *v, uint64_t due_ns);

/* As volume_wait(), for the work thread, which has to handle members that fail meanwhile: what it
 * waits for may wait for that. */
void volume_wait_working(struct volume *v, struct volume_waiter *waiter);

/* ---- sweep.c: many stripes, a bounded number at a time ---- */

enum sweep_step { SWEEP_GO, SWEEP_DRAIN, SWEEP_END };

struct sweep {
	struct volume *volume;
	enum stripe_check_mode mode;
	unsigned member; /* STRIPE_REBUILD */
	uint64_t from;   /* where to begin; then the first stripe that was not looked at */
	/* The first stripe to look at from @from on; the number of stripes where none is left. */
	uint64_t (*next)(struct sweep *sweep, uint64_t from);
	/* May another stripe begin? On the caller's thread, and may sleep. SWEEP_DRAIN: ask again
	 * when one less is under way. NULL: always. */
	enum sweep_step (*step)(struct sweep *sweep, unsigned under_way);
	/* On the caller's thread, in order of stripes. An error ends the sweep. */
	int (*result)(struct sweep *sweep, const struct stripe_check *check, int err);
	/* volume_wait() or volume_wait_working() */
	void (*wait)(struct volume *v, struct volume_waiter *waiter);
};

/* Blocking; any thread but the engine's. 0 or the first error of result(). */
int sweep_run(struct sweep *sweep);

/* ---- scrub.c ---- */

struct scrub {
	struct sweep sweep;
	struct scrub_result *out; /* borrowed */
	uint64_t room;            /* entries allocated in out->damage */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

/* The system area: all of it, or (the work thread) until something else is to be done. 0: done; 1:
 * interrupted, to go on from *@at; -errno. */
int scrub_area(struct volume *v, bool repair, struct scrub_area *found);
int scrub_area_work(struct volume *v, bool repair, uint64_t *at, struct scrub_area *found);

/* Count and list what is wrong with the stripe of @check. */
int scrub_take(struct scrub *s, const struct stripe_check *check, int err);

#endif
