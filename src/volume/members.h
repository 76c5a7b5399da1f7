/* SPDX-License-Identifier: MIT */
/* Who is in the array: the one authority over members' states, generations and superblocks.
 * Threads: the engine thread decides that a member fails (members_hooks), under volume->lock; what
 *   follows is done by the thread that handles changes: the work thread, or, in a volume without
 *   threads, whoever waits. `change` lets one change of membership go on at a time.
 * Invariants are in members.c.
 * May use: stripe, intent, journal, member, io, base. Must not know: background work. */
#ifndef STABLEFS_VOLUME_MEMBERS_H
#define STABLEFS_VOLUME_MEMBERS_H

#include <pthread.h>
#include "volume/volume.h"

#define SPARES_MAX           8u
#define MEMBERS_MAX_ERRORS   20u                           /* volume_open_options.max_errors, 0 */
#define MEMBERS_TIMEOUT_NS   (UINT64_C(30) * 1000000000)   /* .member_timeout_ns, 0 */
#define MEMBERS_HALF_LIFE_NS (UINT64_C(3600) * 1000000000) /* of the errors that were counted */

/* A member's place in the array. */
struct place {
	enum volume_member_state state;
	bool failing;     /* it is to be taken out: decided, and not done */
	bool written_out; /* the superblocks say that it is out */
	bool must_stay;   /* that was tried, and the others could not be written */
	bool told;        /* the log says that the array cannot do without it */
	bool vacant;      /* a spare may take the place */
	bool retiring;    /* somebody may still know the former member */
	char *path;       /* owned; of the member that is or was there; NULL: not known */
	char reason[128];
	uint64_t read_errors, check_errors;
	uint64_t score, score_ns; /* errors, halved every MEMBERS_HALF_LIFE_NS */
};

/* A member that waits its turn: its file is open on the system area's engine, and locked. */
struct spare {
	char *path;       /* owned */
	struct member *m; /* owned; use with the system area's lock held */
};

struct members {
	/* volume->lock protects: */
	struct place places[RAID_MAX_MEMBERS];
	struct spare spares[SPARES_MAX];
	unsigned spare_count;
	unsigned spares_held; /* spares take no place by themselves while it is not 0 */
	bool changing;        /* a change is under way, by whoever holds `change` */
	struct list retiring; /* of struct retiree */
	/* The system area's lock protects: what the superblocks of all members say. */
	struct super says;
	unsigned max_errors;    /* constant */
	pthread_mutex_t change; /* one change of membership at a time */
	pthread_mutex_t manage; /* before change: one replace or add at a time */
};

struct volume;
struct assembled;

int members_init(
	struct volume *v, const struct volume_open_options *options, const struct assembled *found);
void members_fini(struct volume *v); /* engine stopped; the system area still open */

extern const struct stripe_member_hooks members_hooks; /* ctx: the volume */

/* sysarea_config.failed; ctx: the volume. */
bool members_area_failed(void *ctx, unsigned index, int err);

/* ---- superblocks ---- */

/* Step to the next generation: every member's superblock says the states of the places. A member
 * that cannot be written fails, as long as the array can do without it. Not the engine thread. */
int members_say(struct volume *v, struct errmsg *why);

/* Everything is written and no region is marked: say so. */
int members_say_clean(struct volume *v);

/* ---- changes ---- */

/* Members wait to be taken out (@urgent: that alone), or a former one to be closed. volume->lock is
 * held. */
bool members_pending_locked(const struct volume *v, bool urgent);

/* Take out those that are failing, close those that nobody knows any more. Returns at once where
 * this thread is in the middle of a change. Not the engine thread. */
void members_run(struct volume *v);

/* Begin and end a change: one at a time. */
void members_change_begin(struct volume *v);
void members_change_end(struct volume *v);

/* Wait until nobody knows a former member of @index any more. Not within a change. */
void members_wait_retired(struct volume *v, unsigned index);

/* Member @index has everything, flushed, the system area too: it is ACTIVE, by the superblocks, and
 * where all are nothing is stale any more. Not within a change. */
int members_rebuilt(struct volume *v, unsigned index);

/* volume->lock is held: can the array go on without @index? */
bool members_can_lose(const struct volume *v, unsigned index);

/* Places that are not ACTIVE; volume->lock is held. */
unsigned members_not_active(const struct volume *v);
unsigned members_missing(const struct volume *v); /* neither ACTIVE nor REBUILDING */

/* Event and log line about a change of @index. */
void members_tell(struct volume *v, unsigned index, const char *what, const char *detail);

/* ---- join.c ---- */

/* A member that comes: both handles, or the one on the system area's engine alone. */
struct joiner {
	const char *path;    /* borrowed */
	struct member *m;    /* on the stripe engine's; NULL: is opened */
	struct member *copy; /* on the system area's; NULL: is opened */
	bool all;            /* nothing on it counts: every region is to be rebuilt */
	bool fresh;          /* its system area holds zeros */
};

/* Put @j, whose superblock is known (member_super() of either handle), into the place @index, which
 * is free, as REBUILDING. Takes the handles in every case. */
int members_join(struct volume *v, unsigned index, struct joiner *j, struct errmsg *why);

/* Those that assembly found out of date come back. */
int members_join_returning(struct volume *v, struct assembled *found, struct errmsg *why);

/* Take the spares that assembly found in hand; those that cannot be opened are left out. */
void members_take_spares(struct volume *v, const struct assembled *found);
int members_add_spare(
	struct volume *v, const char *path, const struct super *super, struct errmsg *why);

/* Put spare number @at into the place @index. */
int members_join_spare(struct volume *v, unsigned index, unsigned at, struct errmsg *why);

/* Let the first spare take the first vacant place: true where it was tried. */
bool members_use_spare(struct volume *v);

/* Is there a vacant place and a spare for it? volume->lock is held. */
bool members_wants_spare(const struct volume *v);

/* Spares take no place by themselves. */
void members_hold_spares(struct volume *v, bool hold);

/* ---- prepare.c ---- */

/* Make @path a spare of the volume: format all of it but the data. What it holds is refused as by
 * volume_create() without @force. -ENOSPC: too small. */
int prepare_spare(
	struct volume *v, const char *path, bool force, struct super *out, struct errmsg *why);

/* What the superblock of @path says; -ENOMSG etc. as member_probe(). */
int prepare_probe(struct volume *v, const char *path, struct super *out, struct errmsg *why);

#endif
