/* SPDX-License-Identifier: MIT */
/* A volume: its members put together, the engine thread that serves it, and its system area.
 * Owner thread: whoever opened it opens and closes; the engine thread serves; others post.
 * Invariants: I1 members of different volumes, twice the same index, or of an older generation
 *   never serve one array. I2 the generation grows, durably on all present members, before the
 *   first write of a mount. I3 a volume is marked clean only when everything is written and no
 *   region is marked. I4 a read-only volume writes nothing. I5 a member that misses a write is out,
 *   durably, before that write is acknowledged. I6 members fail as long as the level's redundancy
 *   lasts; the last good ones stay, and who asks gets the error.
 * May use: stripe, journal, intent, member, raid, pi, inflight, io, base. Must not know: files,
 * FUSE.
 *
 * VOLUME on the command line is a directory that holds members (files named member-N), or the list
 * of members, devices or files. */
#ifndef STABLEFS_VOLUME_VOLUME_H
#define STABLEFS_VOLUME_VOLUME_H

#include "stripe/stripe.h"

struct volume;
struct sysarea;

/* Member paths that VOLUME arguments stand for: a directory gives its member-* files in order of
 * their number, anything else stands for itself. */
struct volume_paths {
	char **paths; /* owned */
	unsigned count;
};
int volume_paths_find(
	char *const *args, unsigned count, struct volume_paths *out, struct errmsg *why);
void volume_paths_free(struct volume_paths *p);

struct volume_create_options {
	enum raid_level level;
	unsigned members;
	uint64_t size_bytes; /* of data the volume holds; 0: as much as the members (devices, files
				* that exist) can; at least 16 MiB */
	uint64_t chunk_bytes;
	enum pi_type pi;
	enum pi_check pi_check;
	uint64_t system_bytes;                                      /* 0: chosen from the size */
	bool force;                                                 /* overwrite what is there */
	const char *label;                                          /* may be NULL */
	enum super_write_hole write_hole;                           /* JOURNAL: raid5, raid6 */
	void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL */
	void *progress_ctx;
};

/* How a new volume of @level protects stripes that a crash interrupts, if nothing is asked for. */
enum super_write_hole volume_default_write_hole(enum raid_level level);

/* Make the members: files member-0 .. in a directory, or the given files and devices. One argument
 * that is a directory, or nothing yet, is a directory (made if need be). Refuses what holds a
 * volume or anything that libblkid knows unless @force (-EEXIST). Undoes what it made when it
 * fails; what @force overwrote stays overwritten. The system area, where its size is not given, is
 * a sixteenth of the data, at least 64 MiB; an eighth, at least 8 MiB, below 512 MiB of data; never
 * above 16 GiB. It is left empty: the file system formats it (fs_format).
 * -EINVAL (options), -ENOSPC (members too small), -EOPNOTSUPP (PI), -EBUSY (in use). */
int volume_create(const struct io_factory *factory, char *const *args, unsigned count,
	const struct volume_create_options *options, struct errmsg *why);

struct volume_open_options {
	const struct io_factory *factory; /* borrowed, outlives the volume */
	char *const *paths;               /* of members */
	unsigned count;
	bool read_only;
	bool degraded; /* leave out members that cannot be used (unreadable, damaged, gone apart);
			* too few are refused in any case */
	bool unlocked; /* do not lock the members: to look at a volume in use (implies read_only) */
	bool threaded; /* start threads for the engine and background work; else volume_wait()
			* runs the engine and volume_work() the rest (tests) */
	struct event_sink *events; /* borrowed; may be NULL */
	/* 0: a default. A member is failed that does not answer for so long (30 s; UINT64_MAX: it
	 * may take for ever), or after so many reads that failed (20; their number is halved every
	 * hour). Blocks that fail their check count for nothing here: a program that changes its
	 * buffer in flight can make as many of them as it likes. */
	uint64_t member_timeout_ns;
	unsigned max_errors;
	/* Of resync, rebuild and scrub each, bytes a second of every member; 0: as fast as they
	 * can, but no more than half of the time while others use the volume. */
	uint64_t background_rate;
	/* Memory for old blocks, which small writes need not read then (stripe/block_cache.h); it
	 * is taken as it fills. 0: none. */
	uint64_t cache_bytes;
};

/* Assemble and start. Members that are absent or doubled are said in @why, by path and index; a
 * volume that goes on without a member says so by log_warn(). A member that is out of date comes
 * back as one to be rebuilt: only where it differs, if the stale regions reach back to its
 * generation, else everywhere. Refused (or, with @degraded, left out) is one that was written
 * without the others. One that was replaced is left out, and so is one that is out of date where
 * the volume is read-only. Spares among the paths are kept in hand; where an earlier mount lost a
 * member for good, the first takes its place. After an unclean end the
 * marked regions are brought into agreement in the background; a stripe that is used before its
 * turn is brought into agreement first.
 * -EBUSY (in use), -ENODEV (too few), -ESTALE (gone apart), -EINVAL (foreign, doubled), -EUCLEAN
 * (damaged). */
int volume_open(const struct volume_open_options *options, struct volume **out, struct errmsg *why);

/* Stop: flush, clear marks, mark clean (unless read-only or a write failed for good), release.
 * Everything posted must be done. 0, or the first error (the volume is released all the same). */
int volume_close(struct volume *v);

struct stripe_engine *volume_engine(struct volume *v);
struct sysarea *volume_sysarea(struct volume *v);
const struct super *volume_super(const struct volume *v); /* as it was when it was opened */
const struct geometry *volume_geometry(const struct volume *v);
uint64_t volume_blocks(const struct volume *v);
bool volume_is_read_only(const struct volume *v);
bool volume_is_threaded(const struct volume *v); /* as it was opened */

/* Blocking: everything completed before is durable on all present members. Any thread but the
 * engine's. */
int volume_flush(struct volume *v);

/* Blocking: read or write bytes of the volume (tests, tools). Any thread but the engine's. */
int volume_read(struct volume *v, uint64_t offset_bytes, void *buf, uint32_t len_bytes);
int volume_write(struct volume *v, uint64_t offset_bytes, const void *buf, uint32_t len_bytes);

/* Wait until *@flag is set by a done() callback through volume_signal(). In an unthreaded volume
 * this runs the engine. */
struct volume_waiter {
	bool ready;
	int err;
};
void volume_wait(struct volume *v, struct volume_waiter *waiter);
void volume_signal(struct volume *v, struct volume_waiter *waiter, int err);

enum volume_member_state {
	VOLUME_MEMBER_MISSING,    /* was not there, or was failed before */
	VOLUME_MEMBER_ACTIVE,     /* everything on it is up to date */
	VOLUME_MEMBER_REBUILDING, /* up to date but for stale_stripes */
	VOLUME_MEMBER_FAILED,     /* since this volume was opened */
};
const char *volume_member_state_name(enum volume_member_state state);

struct volume_member_info {
	char path[4096]; /* "" where MISSING */
	bool present;    /* ACTIVE or REBUILDING */
	enum volume_member_state state;
	char reason[128]; /* why it failed; "" */
	struct member_stats stats;
	/* Made good by redundancy since the volume was opened (or the member came). */
	uint64_t read_errors, check_errors;
	uint64_t stale_stripes; /* still to be rebuilt */
};
struct volume_member_info volume_member(struct volume *v, unsigned index); /* any thread */
/* NULL where that member was missing or out of date. As it was when the volume was opened. */
const struct super *volume_member_super(const struct volume *v, unsigned index);
/* How many members are missing, failed or being rebuilt; any thread. */
unsigned volume_missing(const struct volume *v);

/* ---- changing members: any thread but the engine's; blocking until it is durable ---- */

/* Take member @index out. -EBUSY: the volume cannot do without it; -ENODEV: it is out already. */
int volume_fail_member(struct volume *v, unsigned index, const char *reason, struct errmsg *why);

/* Put @path (a file, made if there is none, or a device) in the place of member @index, which is
 * missing, failed or (then it is failed first) active; @path NULL: the first spare, or else the
 * path that the member had. What @path holds is refused as by volume_create() without @force; the
 * same member coming back is brought up to date only where it differs. Returns when the rebuild has
 * begun; it goes on in the background and over restarts. -ENOSPC: too small; -EBUSY; -EEXIST. */
int volume_replace_member(
	struct volume *v, unsigned index, const char *path, bool force, struct errmsg *why);

/* Keep @path as a spare: it takes the place of the next member that fails, by itself. */
int volume_add_spare(struct volume *v, const char *path, bool force, struct errmsg *why);

/* Paths of the spares in hand; returns how many there are, fills at most @room. Any thread. */
unsigned volume_spares(struct volume *v, char (*paths)[4096], unsigned room);

/* ---- background work: one piece at a time, in this order of precedence ---- */

enum volume_work_kind { VOLUME_RESYNC, VOLUME_REBUILD, VOLUME_SCRUB };
#define VOLUME_WORK_KINDS 3u

enum volume_work_state { VOLUME_WORK_IDLE, VOLUME_WORK_RUNNING, VOLUME_WORK_PAUSED };

struct volume_work_info {
	enum volume_work_state state;
	int member;                    /* REBUILD: the one under rebuild, -1 */
	bool repair;                   /* SCRUB */
	uint64_t done, total;          /* stripes */
	uint64_t started_ns, ended_ns; /* CLOCK_REALTIME; 0: never */
	uint64_t rate;           /* limit, bytes a second of each member; 0: none but fairness */
	uint64_t repaired, lost; /* blocks */
	int err;                 /* what the last one ended with */
};
struct volume_work_info volume_work_info(struct volume *v, enum volume_work_kind kind);

/* Any thread; acknowledged when they return. A pause lasts until resume or the end of the mount. */
int volume_work_pause(struct volume *v, enum volume_work_kind kind);
int volume_work_resume(struct volume *v, enum volume_work_kind kind);
int volume_work_set_rate(struct volume *v, enum volume_work_kind kind, uint64_t bytes_per_second);

/* Scrub in the background; -EBUSY: one is under way. What it found: volume_scrub_found(), a copy to
 * be freed with scrub_result_free(). @every_ns: again that long after each end (0: once). */
int volume_scrub_start(struct volume *v, bool repair, uint64_t every_ns, struct errmsg *why);
int volume_scrub_stop(struct volume *v); /* and none again; -ESRCH: there was none */
struct scrub_result;
int volume_scrub_found(struct volume *v, struct scrub_result *out);

/* Unthreaded: do what background work there is until it is done (or cannot go on). 0, or what a
 * piece of it ended with. Threaded: -EBUSY, the work thread does it. */
int volume_work(struct volume *v);

/* Scrub: every stripe, a bounded number at a time, beside foreground I/O. Blocking; any thread but
 * the engine's. @progress may be NULL and returns false to stop (-ECANCELED). */
struct scrub_damage {
	enum scrub_kind { SCRUB_PARITY, SCRUB_MIRROR, SCRUB_GUARD, SCRUB_UNREADABLE } kind;
	uint64_t stripe;
	unsigned row;
	int member;            /* the one that is wrong where PI can tell; -1: cannot be told */
	uint64_t member_block; /* of that member; of the row where none */
	uint64_t volume_block; /* of the data block; UINT64_MAX for a parity row */
	bool repaired, lost;
};
/* The copies of the system area, 4 KiB pages. */
struct scrub_area {
	uint64_t pages;     /* looked at, on all copies each */
	uint64_t damaged;   /* wrong or unreadable on a copy, right on another */
	uint64_t differing; /* right by its own seal, and another one than the first copy's */
	uint64_t repaired;  /* of both */
	uint64_t lost;      /* right on no copy */
	uint64_t wrong[RAID_MAX_MEMBERS]; /* of each member */
};
struct scrub_result {
	uint64_t stripes;           /* looked at */
	uint64_t rows;              /* rows compared */
	uint64_t parity_mismatches; /* 4K rows */
	uint64_t mirror_mismatches; /* 4K blocks that differ between copies */
	uint64_t guard_mismatches;  /* blocks on members that fail guard or ref tag */
	uint64_t unreadable;
	uint64_t repaired, lost;
	struct scrub_area area;
	struct scrub_damage *damage; /* owned; at most SCRUB_MAX_DAMAGE, in order */
	uint64_t damage_count;       /* found in all, may be more than listed */
};
#define SCRUB_MAX_DAMAGE 65536u
/* How the copies of the system area are compared: the volume does not know its pages. A scrub calls
 * step() from *@at = 0 on, on its own thread, until it returns 0 or -errno; 1: there is more;
 * -EBUSY: later, from the same place. It must not wait for anybody who may wait for the volume.
 * @how NULL: nobody does; returns when no step is under way. */
struct volume_area_scrub {
	int (*step)(void *ctx, bool repair, uint64_t *at, struct scrub_area *found);
	void *ctx;
};
void volume_set_area_scrub(struct volume *v, const struct volume_area_scrub *how);

int volume_scrub(struct volume *v, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
	struct scrub_result *out);
void scrub_result_free(struct scrub_result *r);

#endif
