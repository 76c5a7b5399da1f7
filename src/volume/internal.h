/* SPDX-License-Identifier: MIT */
/* What the files of this folder share: the volume itself, and its parts that nobody else sees. */
#ifndef STABLEFS_VOLUME_INTERNAL_H
#define STABLEFS_VOLUME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "volume/sysarea.h"
#include "volume/volume.h"

struct volume {
	struct io_engine *io;                     /* owned */
	struct member *members[RAID_MAX_MEMBERS]; /* owned; NULL: missing */
	struct intent_log *intent;                /* owned */
	struct stripe_engine *eng;                /* owned */
	struct sysarea *sysarea;                  /* owned */
	struct geometry geometry;
	bool read_only, threaded;
	bool marked_dirty;  /* the superblocks say so: the close has to take it back */
	bool resync_failed; /* marks remain for the next open */
	pthread_t thread;   /* valid where has_thread */
	bool has_thread;
	atomic_bool stop;
	pthread_mutex_t lock; /* protects every volume_waiter of this volume */
	pthread_cond_t ready; /* with lock: some waiter became ready */
};

/* In the simulated world a member's name is no path: nothing to stat, make or remove. */
static inline bool engine_names_are_paths(const struct io_engine *io)
{
	return strcmp(io->ops->name, "simulated") != 0;
}

/* ---- assemble.c ---- */

/* Probe what @options names and take what makes one volume: members[index], NULL where missing. On
 * an error nothing is left open. Reads only. */
int assemble_members(struct io_engine *io, const struct volume_open_options *options,
	struct member *members[RAID_MAX_MEMBERS], struct errmsg *why);

/* ---- paths.c ---- */

/* The number of a member file's name ("member-7"), -1 for any other name. */
int member_file_number(const char *name);

/* ---- sweep.c: many stripes, a bounded number at a time ---- */

struct sweep {
	struct volume *volume;
	enum stripe_check_mode mode;
	/* The first stripe to look at from @from on; the number of stripes where none is left. */
	uint64_t (*next)(struct sweep *sweep, uint64_t from);
	/* A stripe was looked at; on the engine thread, in any order. May be NULL. */
	void (*checked)(struct sweep *sweep, const struct stripe_check *check, int err);
	/* The same on the caller's thread, in order of stripes. An error ends the sweep. */
	int (*result)(struct sweep *sweep, const struct stripe_check *check, int err);
};

/* Blocking; any thread but the engine's. 0 or the first error of result(). */
int sweep_run(struct sweep *sweep);

/* ---- resync.c ---- */

/* The regions that were marked when the log was loaded; an opaque list to be freed with free().
 * Before the engine thread starts. NULL in *@out: none. */
struct resync;
int resync_collect(struct volume *v, struct resync **out);

/* Make the stripes of those regions consistent. Blocking. Damage, and errors of single stripes, are
 * logged and survived: their marks stay (v->resync_failed). Other errors are returned. */
int resync_run(struct resync *resync, struct errmsg *why);

#endif
