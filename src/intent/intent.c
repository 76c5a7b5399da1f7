/* SPDX-License-Identifier: MIT */
/* The life of a mark, in memory.
 *
 *	             write_begin                 round_end                 write_ended (last)
 *	unmarked ----------------> wanted -----------------> wanted, durable -----------> on ended
 *	   ^                                                     ^    ^ write_begin: free       |
 *	   | tick's round, at its start                          |    +-------------------------+
 *	   +------------------------------------------------ durable only <---------------------+
 *	                                                                     flushed(epoch)
 *
 * A region that is written again before the next tick costs nothing: its mark is still durable. */
#include "intent/internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

uint64_t intent_regions(const struct intent_log *log)
{
	return log->regions;
}

uint64_t intent_region_of(const struct intent_log *log, uint64_t member_block)
{
	return member_block / log->super.region_blocks;
}

bool intent_is_marked(const struct intent_log *log, uint64_t region)
{
	return region_set_has(log->wanted, region) || region_set_has(log->durable, region);
}

uint64_t intent_marked_count(const struct intent_log *log)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < log->words; i++)
		n += (uint64_t)__builtin_popcountll(log->wanted[i] | log->durable[i]);
	return n;
}

void intent_set_member(struct intent_log *log, unsigned index, struct member *m)
{
	assert(index < INTENT_MAX_MEMBERS);
	struct intent_member *im = &log->members[index];
	if (index >= log->members_count)
		log->members_count = index + 1;
	im->log = log;
	im->member = m;
	im->failed = false;
	im->stale = im->fresh = m != NULL;
	if (m && !log->writing)
		intent_round_start(log, false);
}

bool intent_busy(const struct intent_log *log)
{
	return log->writing;
}

uint32_t intent_failed_members(const struct intent_log *log)
{
	uint32_t failed = 0;
	for (unsigned i = 0; i < INTENT_MAX_MEMBERS; i++) /* absent ones have not failed */
		failed |= (uint32_t)log->members[i].failed << i;
	return failed;
}

bool intent_write_begin(struct intent_log *log, struct intent_wait *wait)
{
	assert(wait->region < log->regions);
	struct intent_region *r = &log->region[wait->region];
	r->busy++;
	if (list_linked(&r->node))
		list_remove(&r->node);
	region_set_add(log->wanted, wait->region);
	if (region_set_has(log->durable, wait->region))
		return true;
	if (log->writing && region_set_has(log->sent, wait->region)) {
		list_push_back(&log->round_waits, &wait->node);
		return false;
	}
	list_push_back(&log->next_waits, &wait->node);
	if (!log->writing)
		intent_round_start(log, false);
	return false;
}

static void region_now_idle(struct intent_log *log, uint64_t region)
{
	struct intent_region *r = &log->region[region];
	if (r->busy || region_set_has(log->found, region))
		return;
	r->ended_epoch = log->epoch;
	list_push_back(&log->ended, &r->node);
}

void intent_write_ended(struct intent_log *log, uint64_t region)
{
	assert(log->region[region].busy);
	log->region[region].busy--;
	region_now_idle(log, region);
}

void intent_region_synced(struct intent_log *log, uint64_t region)
{
	if (!region_set_has(log->found, region))
		return;
	region_set_remove(log->found, region);
	region_now_idle(log, region);
}

uint64_t intent_epoch(struct intent_log *log)
{
	return ++log->epoch;
}

void intent_flushed(struct intent_log *log, uint64_t epoch)
{
	while (!list_empty(&log->ended)) {
		struct intent_region *r =
			container_of(list_first(&log->ended), struct intent_region, node);
		if (r->ended_epoch >= epoch)
			return;
		list_remove(&r->node);
		region_set_remove(log->wanted, (uint64_t)(r - log->region));
	}
}

static bool unmarks_pending(const struct intent_log *log)
{
	for (uint32_t i = 0; i < log->words; i++)
		if (log->durable[i] & ~log->wanted[i])
			return true;
	return false;
}

void intent_idle_tick(struct intent_log *log)
{
	if (!log->writing && unmarks_pending(log))
		intent_round_start(log, true);
}

static int round_run(struct intent_log *log)
{
	while (log->writing) {
		int ret = io_run(log->io, true);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int intent_clear_all(struct intent_log *log)
{
	int err = round_run(log);
	if (err < 0)
		return err;
	for (uint64_t r = 0; r < log->regions; r++) {
		assert(!log->region[r].busy);
		if (list_linked(&log->region[r].node))
			list_remove(&log->region[r].node);
	}
	memset(log->wanted, 0, log->words * sizeof(uint64_t));
	memset(log->found, 0, log->words * sizeof(uint64_t));
	for (unsigned i = 0; i < log->members_count; i++)
		log->members[i].stale = log->members[i].member != NULL;
	intent_round_start(log, true);
	err = round_run(log);
	return err < 0 ? err : log->round_err;
}
