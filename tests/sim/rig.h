/* SPDX-License-Identifier: MIT */
/* A stripe engine over members on simulated disks, for unit tests and sweeps: everything that
 * happens follows from the seed. Requests run in virtual time while the rig is pumped; a call that
 * waits pumps. The tests say what should be there by a model: an array of bytes.
 *
 *	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5, .members = 3, ...});
 *	rig_write(rig, offset, data, len); rig_flush(rig); rig_reboot(rig); rig_read(...)
 *	rig_free(rig); */
#ifndef STABLEFS_TESTS_SIM_RIG_H
#define STABLEFS_TESTS_SIM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/simulated.h"
#include "stripe/stripe.h"
#include "unit/random.h"

#define RIG_MAX_EVENTS 256u

struct rig_config {
	enum raid_level level;
	unsigned members, chunk_blocks;
	uint64_t stripes;
	enum pi_type pi;
	enum pi_check pi_check;
	uint64_t seed;
	const char *dir; /* members are files in there, on io_uring; NULL: simulated disks */
	/* Members that fail are taken out, as a volume does it (rig_members.c); without it the
	 * engine has no hooks, and who asks gets the errors. */
	bool members_fail;
	bool journal;         /* with a partial-write log */
	uint64_t cache_bytes; /* of old blocks; 0: none */
	uint64_t arena_bytes; /* of the engine; 0: 4 MiB. A page: buffers come from the heap */
};

struct rig {
	struct rig_config config;
	struct geometry geometry;
	uint64_t volume_bytes;
	struct sim_world *world; /* NULL: io_uring */
	struct io_engine *io;
	struct member *members[RAID_MAX_MEMBERS]; /* open; also those that count as missing */
	uint32_t missing;                         /* bit i: member i */
	bool no_resync; /* rig_reboot() forgets which regions are marked */
	bool on_demand; /* rig_reboot() leaves stripes in doubt to those who want them */
	bool clean_end; /* the rig was closed in order before it was opened */
	struct intent_log *intent;
	struct journal *journal; /* NULL: none */
	struct stripe_engine *eng;
	struct event_sink sink;
	struct event events[RIG_MAX_EVENTS];
	unsigned event_count; /* since the last rig_events_forget() */
	struct random random;
	/* rig_members.c: members that failed and are not out yet, those whose time has come, those
	 * under rebuild; what the hooks were told. */
	uint32_t failing, due, rebuilding;
	uint64_t stale_since, generation;
	struct io_req out_alarm;
	unsigned erred[RAID_MAX_MEMBERS], failed[RAID_MAX_MEMBERS];
};

/* Create the members and open the engine over them. Regions of the intent log are as small as the
 * format bears, so that tests of few stripes have several. */
struct rig *rig_new(const struct rig_config *config);
void rig_free(struct rig *rig); /* accepts NULL; nothing under way */

/* The same over the disks that a rig of the same @config has left in @world, which it takes over.
 * The members of the mask @missing count as missing. No marked region is resynced yet. */
struct rig *rig_adopt(const struct rig_config *config, struct sim_world *world, uint32_t missing);

/* Close everything in order, without marks, and open it again: what is durable or in a disk's cache
 * stays. */
void rig_reopen(struct rig *rig);

/* Cut the power when the @n-th write from now is about to reach a disk; that one is torn or lost.
 * */
void rig_power_cut_after(struct rig *rig, uint64_t n);

/* The power comes back after a cut (or fails now); nothing may be under way. Regions that the log
 * has marked are brought into agreement (STRIPE_RESYNC), as at the start of a volume; with
 * on_demand each stripe only when it is wanted. */
void rig_reboot(struct rig *rig);

/* The same, with another cut at the @n-th write behind the start. The power may be off on return.
 * */
void rig_reboot_cut(struct rig *rig, uint64_t n);
/* The same where the program alone has ended: what reached a disk is there, flushed or not. */
void rig_restart_cut(struct rig *rig, uint64_t n);

/* From now on @index counts as missing; what is under way ends first. */
void rig_remove_member(struct rig *rig, unsigned index);

/* Run the engine once, and do what the volume would have to do beside it: take members out. What
 * pumps without it gets stuck where members fail. Returns what stripe_engine_run() does. */
int rig_run(struct rig *rig, bool wait);

/* Run the engine until nothing is under way. */
void rig_settle(struct rig *rig);

/* Two seconds go by, with a flush at their end: marks that are not needed are taken away. */
void rig_pass_time(struct rig *rig);

/* ---- members that fail and return (rig_members.c) ---- */

/* Take @index out as a volume does, durably: it is missing after a reboot too. */
void rig_fail_member(struct rig *rig, unsigned index);

/* A member that was taken out comes back, stale where the log says so; an empty disk in its place,
 * which is stale everywhere. */
void rig_return_member(struct rig *rig, unsigned index);
void rig_replace_member(struct rig *rig, unsigned index);

/* Rebuild every stale stripe of @index; where nothing is left it is up to date, durably. The first
 * error of a stripe. */
int rig_rebuild(struct rig *rig, unsigned index);

/* Tell the intent log of the regions that have been rebuilt, and flushed since. */
void rig_rebuild_note(struct rig *rig);

/* The part of a turn that belongs to the volume. */
void rig_members_run(struct rig *rig);
/* Set what the superblocks say of the members before the engine starts, the hooks; after it. */
void rig_members_load(struct rig *rig, struct stripe_config *config);
void rig_members_start(struct rig *rig);
void rig_member_create(struct rig *rig, unsigned index); /* an empty disk */
void rig_member_reopen(struct rig *rig, unsigned index); /* rig->members[] */

/* ---- requests ---- */

/* A request with memory of its own. */
struct rig_io {
	struct rig *rig;
	struct stripe_req req;
	struct source bounce; /* the source, unless the test sets another */
	uint8_t *data;        /* page-aligned; owned, but for rig_io_start() of a caller's */
	bool ended;
	int err;
};

/* A read of a range, or a write of what @data says (NULL: fill io->data before rig_io_start()). */
struct rig_io *rig_io_new(struct rig *rig, enum stripe_kind kind, uint64_t offset_bytes,
	uint32_t len_bytes, const void *data);
void rig_io_start(struct rig_io *io);
int rig_io_wait(struct rig_io *io); /* pumps; returns its error */
void rig_io_free(struct rig_io *io);

/* Start, wait, free. */
int rig_write(struct rig *rig, uint64_t offset_bytes, const void *data, uint32_t len_bytes);
int rig_write_from(struct rig *rig, uint64_t offset_bytes, struct source *source);
int rig_read(struct rig *rig, uint64_t offset_bytes, void *data, uint32_t len_bytes);
int rig_flush(struct rig *rig);

/* A block of the volume filled with @tag and its number, so that no two are the same. */
void rig_fill_block(void *data, uint64_t volume_block, unsigned tag);
int rig_write_block(struct rig *rig, uint64_t volume_block, unsigned tag);
bool rig_reads(struct rig *rig, uint64_t volume_block, unsigned tag); /* and no error */

/* ---- whole stripes ---- */

/* Run @check, of which mode, stripe and buffers are set; it gets the results. */
int rig_check_run(struct rig *rig, struct stripe_check *check);
int rig_check(
	struct rig *rig, enum stripe_check_mode mode, uint64_t stripe, struct stripe_check *out);

/* Every stripe of the volume, added up. */
struct rig_scrub {
	unsigned guard_bad, unreadable, mirror_bad, parity_bad, rebuilt, lost;
	int err; /* the first */
};
struct rig_scrub rig_scrub(struct rig *rig, enum stripe_check_mode mode);

/* True where nothing is wrong in any stripe. */
bool rig_is_clean(struct rig *rig);

/* ---- the test's hand on the media: behind the members' backs ---- */

const char *rig_disk(unsigned member);

/* The block of a slot on its member's medium. */
void rig_peek(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row, void *block);

/* Flip bits of a block's data, or of its tuple (which must not be in the member's cache:
 * rig_reopen() after a flush). */
void rig_rot_data(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row);
void rig_rot_tuple(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row);

/* Arm a fault for the data of @rows rows of a slot. @count 0: for ever. */
void rig_arm(struct rig *rig, enum sim_fault_kind kind, uint64_t stripe, unsigned slot,
	unsigned row, unsigned rows, unsigned count);

/* Events of a kind since the last rig_events_forget(). */
unsigned rig_events(const struct rig *rig, enum event_kind kind);
const struct event *rig_event(const struct rig *rig, enum event_kind kind); /* the first; fails */
void rig_events_forget(struct rig *rig);

#endif
