/* SPDX-License-Identifier: MIT */
/* The rig's membership: what a volume does when members fail, return, are replaced and rebuilt, in
 * the same order and with the same superblocks. Where the volume has a thread for it, here the pump
 * does it between two turns of the engine. */
#include "rig.h"

#include <errno.h>
#include "base/clock.h"

#define OUT_AFTER_NS NS_PER_MS /* so that operations go on beside it */
#define MAX_TURNS    1000000u

static unsigned redundancy(const struct rig *rig)
{
	return geometry_redundancy(&rig->geometry);
}

static unsigned absent(const struct rig *rig)
{
	return (unsigned)__builtin_popcount(rig->missing | rig->failing | rig->rebuilding);
}

static bool power_is_cut(const struct rig *rig)
{
	return rig->world && sim_world_power_is_cut(rig->world);
}

/* ---- what the superblocks say ---- */

/* To all that are present. Unlike a volume's, an error is not looked at: only the power can fail
 * what the tests care for. */
static void supers_write(struct rig *rig)
{
	rig->generation++;
	for (unsigned i = 0; i < rig->config.members; i++) {
		struct super *super = member_super(rig->members[i]);
		if (rig->missing >> i & 1)
			continue;
		super->generation = rig->generation;
		super->stale_since = rig->stale_since;
		for (unsigned k = 0; k < rig->config.members && k < SUPER_MAX_MEMBERS; k++)
			super->states[k] = rig->missing >> k & 1      ? SUPER_MEMBER_MISSING
					   : rig->rebuilding >> k & 1 ? SUPER_MEMBER_REBUILDING
								      : SUPER_MEMBER_ACTIVE;
		(void)member_super_write(rig->members[i]);
	}
}

/* The newest superblock counts. */
static void supers_read(struct rig *rig)
{
	const struct super *newest = member_super(rig->members[0]);
	for (unsigned i = 1; i < rig->config.members; i++)
		if (member_super(rig->members[i])->generation > newest->generation)
			newest = member_super(rig->members[i]);
	rig->generation = newest->generation;
	rig->stale_since = newest->stale_since;
	rig->rebuilding = 0;
	for (unsigned i = 0; i < rig->config.members && i < SUPER_MAX_MEMBERS; i++) {
		if (newest->states[i] == SUPER_MEMBER_MISSING)
			rig->missing |= 1u << i;
		if (newest->states[i] == SUPER_MEMBER_REBUILDING)
			rig->rebuilding |= 1u << i;
	}
}

/* ---- hooks ---- */

static void out_due(struct io_req *alarm, int err)
{
	struct rig *rig = container_of(alarm, struct rig, out_alarm);
	(void)err;
	rig->due = rig->failing;
}

static void member_erred(void *ctx, unsigned index, int err)
{
	struct rig *rig = ctx;
	assert_true(err == -EIO || err == -EILSEQ);
	rig->erred[index]++;
}

static bool member_failed(void *ctx, unsigned index, int err)
{
	struct rig *rig = ctx;
	assert_true(err < 0);
	rig->failed[index]++;
	if (rig->failing >> index & 1)
		return true;
	if (!(rig->rebuilding >> index & 1) && absent(rig) + 1 > redundancy(rig))
		return false;
	bool waits = rig->failing;
	rig->failing |= 1u << index;
	if (waits)
		return true;
	rig->out_alarm = (struct io_req){
		.kind = IO_ALARM, .due_ns = io_now_ns(rig->io) + OUT_AFTER_NS, .done = out_due};
	io_submit(rig->io, &rig->out_alarm);
	return true;
}

static const struct stripe_member_hooks hooks = {.erred = member_erred, .failed = member_failed};

void rig_members_load(struct rig *rig, struct stripe_config *config)
{
	rig->failing = rig->due = 0;
	supers_read(rig);
	if (rig->config.members_fail) {
		config->hooks = &hooks;
		config->hooks_ctx = rig;
	}
}

void rig_members_start(struct rig *rig)
{
	uint32_t stale = rig->rebuilding & ~rig->missing;
	if (rig->missing && rig->stale_since)
		intent_stale_collect(rig->intent, false);
	for (unsigned i = 0; stale >> i; i++)
		if (stale >> i & 1)
			stripe_engine_set_member(rig->eng, i, rig->members[i], true, NULL);
}

static void logs_set_member(struct rig *rig, unsigned index, struct member *m)
{
	intent_set_member(rig->intent, index, m);
	if (rig->journal)
		journal_set_member(rig->journal, index, m);
}

/* ---- taking out ---- */

struct sync_wait {
	struct intent_sync sync;
	bool ended;
};

static void synced(struct intent_sync *sync, int err)
{
	(void)err;
	container_of(sync, struct sync_wait, sync)->ended = true;
}

static void sync_log(struct rig *rig)
{
	struct sync_wait wait = {.sync.done = synced};
	intent_sync(rig->intent, &wait.sync);
	for (unsigned n = 0; !wait.ended; n++) {
		assert_true(stripe_engine_run(rig->eng, true) >= 0);
		assert_true(n < MAX_TURNS);
	}
}

struct change_wait {
	struct stripe_member_change change;
	bool quiet;
};

static void went_quiet(struct stripe_member_change *change)
{
	container_of(change, struct change_wait, change)->quiet = true;
}

/* Until nobody knows the former member, as far as the volume can tell. */
static void set_member(struct rig *rig, unsigned index, struct member *m, bool stale)
{
	struct change_wait wait = {.change.quiet = went_quiet};
	stripe_engine_set_member(rig->eng, index, m, stale, &wait.change);
	for (unsigned n = 0; !wait.quiet; n++) {
		assert_true(rig_run(rig, true) >= 0);
		assert_true(n < MAX_TURNS);
	}
}

/* Without power nothing comes of it: what the superblocks say after the next start counts. */
static void take_out(struct rig *rig, uint32_t out)
{
	uint64_t before = rig->generation;
	uint32_t missing = rig->missing;
	rig->missing |= out;
	rig->rebuilding &= ~out;
	rig->stale_since = rig->stale_since ? rig->stale_since : before;
	supers_write(rig);
	for (unsigned i = 0; out >> i; i++)
		if (out >> i & 1)
			logs_set_member(rig, i, NULL);
	intent_stale_collect(rig->intent, false);
	sync_log(rig);
	bool cut = power_is_cut(rig);
	rig->failing &= ~out;
	rig->missing = cut ? missing : rig->missing;
	for (unsigned i = 0; out >> i; i++)
		if (out >> i & 1)
			stripe_engine_set_member(
				rig->eng, i, cut ? rig->members[i] : NULL, false, NULL);
}

void rig_members_run(struct rig *rig)
{
	uint32_t out = rig->due;
	rig->due = 0;
	take_out(rig, out);
	rig->due = rig->failing; /* that failed meanwhile */
}

void rig_fail_member(struct rig *rig, unsigned index)
{
	take_out(rig, 1u << index);
	rig_settle(rig);
}

/* ---- coming back ---- */

static void come_back(struct rig *rig, unsigned index)
{
	if (rig->journal)
		assert_int_equal(journal_format(rig->members[index]), 0);
	rig->missing &= ~(1u << index);
	rig->rebuilding |= 1u << index;
	supers_write(rig);
	logs_set_member(rig, index, rig->members[index]);
	sync_log(rig);
	set_member(rig, index, rig->members[index], true);
	if (!rig->missing)
		intent_stale_collect_end(rig->intent);
}

void rig_return_member(struct rig *rig, unsigned index)
{
	assert_true(rig->missing >> index & 1);
	come_back(rig, index);
}

void rig_replace_member(struct rig *rig, unsigned index)
{
	assert_true(rig->missing >> index & 1);
	rig_settle(rig);
	member_free(rig->members[index]);
	assert_int_equal(sim_disk_remove(rig->world, rig_disk(index)), 0);
	rig_member_create(rig, index);
	rig_member_reopen(rig, index);
	intent_stale_collect(rig->intent, true);
	sync_log(rig);
	come_back(rig, index);
}

static bool region_is_current(const struct rig *rig, uint64_t region)
{
	for (unsigned i = 0; i < rig->config.members; i++)
		if (stripe_engine_stale_in_region(rig->eng, i, region))
			return false;
	return true;
}

void rig_rebuild_note(struct rig *rig)
{
	for (uint64_t region = 0; region < intent_regions(rig->intent); region++)
		if (!rig->missing && intent_is_stale(rig->intent, region) &&
			region_is_current(rig, region))
			intent_region_current(rig->intent, region);
}

int rig_rebuild(struct rig *rig, unsigned index)
{
	int first = 0;
	for (uint64_t stripe = stripe_engine_next_open(rig->eng, (int)index, 0);
		stripe < rig->config.stripes;
		stripe = stripe_engine_next_open(rig->eng, (int)index, stripe + 1)) {
		struct stripe_check check = {
			.mode = STRIPE_REBUILD, .stripe = stripe, .member = index};
		int err = rig_check_run(rig, &check);
		first = first ? first : err;
	}
	if (first == -ESHUTDOWN || rig_flush(rig) < 0 || rig->missing >> index & 1)
		return first;
	rig_rebuild_note(rig);
	if (stripe_engine_stale(rig->eng, index))
		return first;
	rig->rebuilding &= ~(1u << index);
	bool all = !rig->missing && !rig->rebuilding;
	rig->stale_since = all ? 0 : rig->stale_since;
	supers_write(rig);
	if (all)
		intent_stale_clear(rig->intent);
	return first;
}
