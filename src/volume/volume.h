/* SPDX-License-Identifier: MIT */
/* A volume: its members put together, the engine thread that serves it, and its system area.
 * Owner thread: whoever opened it opens and closes; the engine thread serves; others post.
 * Invariants: I1 members of different volumes, twice the same index, or of an older generation
 *   never serve one array. I2 the generation grows, durably on all present members, before the
 *   first write of a mount. I3 a volume is marked clean only when everything is written and no
 *   region is marked. I4 a read-only volume writes nothing.
 * May use: stripe, intent, member, raid, pi, inflight, io, base. Must not know: files, FUSE.
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
	void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL */
	void *progress_ctx;
};

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
	bool degraded; /* leave unusable and stale members out; too few are refused in any case */
	bool unlocked; /* do not lock the members: to look at a volume in use (implies read_only) */
	bool threaded; /* start an engine thread; else volume_wait() runs the engine (tests) */
	struct event_sink *events; /* borrowed; may be NULL */
};

/* Assemble and start. Members that are absent, out of date or doubled are said in @why, by path and
 * index; a mount that goes on without a member says so by log_warn(). After an unclean end the
 * marked regions are brought into agreement before this returns.
 * -EBUSY (in use), -ENODEV (too few), -ESTALE, -EINVAL (foreign, doubled), -EUCLEAN (damaged). */
int volume_open(const struct volume_open_options *options, struct volume **out, struct errmsg *why);

/* Stop: flush, clear marks, mark clean (unless read-only or a write failed for good), release.
 * Everything posted must be done. 0, or the first error (the volume is released all the same). */
int volume_close(struct volume *v);

struct stripe_engine *volume_engine(struct volume *v);
struct sysarea *volume_sysarea(struct volume *v);
const struct super *volume_super(const struct volume *v); /* of the first present member */
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

struct volume_member_info {
	const char *path; /* "" where missing */
	bool present;
	struct member_stats stats;
};
struct volume_member_info volume_member(const struct volume *v, unsigned index);
/* NULL where that member is missing. As it was when the volume was opened or last written. */
const struct super *volume_member_super(const struct volume *v, unsigned index);
unsigned volume_missing(const struct volume *v); /* how many members are missing */

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
struct scrub_result {
	uint64_t stripes;           /* looked at */
	uint64_t rows;              /* rows compared */
	uint64_t parity_mismatches; /* 4K rows */
	uint64_t mirror_mismatches; /* 4K blocks that differ between copies */
	uint64_t guard_mismatches;  /* blocks on members that fail guard or ref tag */
	uint64_t unreadable;
	uint64_t repaired, lost;
	struct scrub_damage *damage; /* owned; at most SCRUB_MAX_DAMAGE, in order */
	uint64_t damage_count;       /* found in all, may be more than listed */
};
#define SCRUB_MAX_DAMAGE 65536u
int volume_scrub(struct volume *v, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
	struct scrub_result *out);
void scrub_result_free(struct scrub_result *r);

#endif
