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
	return region_set_has(log->marks.wanted, region) ||
	       region_set_has(log->marks.durable, region);
}

uint64_t intent_marked_count(const struct intent_log *log)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < log->words; i++)
		n += (uint64_t)__builtin_popcountll(log->marks.wanted[i] | log->marks.durable[i]);
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
	im->outdated = im->fresh = m != NULL;
	if (m && !log->writing)
		intent_round_start(log, false);
}

struct intent_stats intent_stats(const struct intent_log *log)
{
	return (struct intent_stats){
		.rounds = counter_get(&log->counters.rounds),
		.waits = counter_get(&log->counters.waits),
		.written_bytes = counter_get(&log->counters.written_bytes),
	};
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

/* The round under way makes it ready. */
static bool region_is_sent(const struct intent_log *log, uint64_t region)
{
	return region_set_has(log->marks.sent, region) &&
	       (!log->collecting || region_set_has(log->stale.sent, region));
}

bool intent_write_begin(struct intent_log *log, struct intent_wait *wait)
{
	assert(wait->region < log->regions);
	struct intent_region *r = &log->region[wait->region];
	r->busy++;
	if (list_linked(&r->node))
		list_remove(&r->node);
	region_set_add(log->marks.wanted, wait->region);
	if (log->collecting)
		region_set_add(log->stale.wanted, wait->region);
	if (region_is_ready(log, wait->region))
		return true;
	counter_add(&log->counters.waits, 1);
	if (log->writing && region_is_sent(log, wait->region)) {
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
		region_set_remove(log->marks.wanted, (uint64_t)(r - log->region));
	}
}

static bool map_has_removals(const struct intent_log *log, const struct intent_map *map)
{
	for (uint32_t i = 0; i < log->words; i++)
		if (map->durable[i] & ~map->wanted[i])
			return true;
	return false;
}

void intent_idle_tick(struct intent_log *log)
{
	if (log->writing)
		return;
	if (map_has_removals(log, &log->marks) || map_has_removals(log, &log->stale))
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

/* What is to be stale is so durably, before the marks that say the same go. */
static int stale_settle(struct intent_log *log)
{
	int err = round_run(log);
	if (err < 0 || !intent_stale_unwritten(log))
		return err;
	intent_round_start(log, false);
	err = round_run(log);
	return err < 0 || !intent_stale_unwritten(log) ? err : log->round_err;
}

int intent_clear_all(struct intent_log *log)
{
	int err = stale_settle(log);
	if (err < 0)
		return err;
	for (uint64_t r = 0; r < log->regions; r++) {
		assert(!log->region[r].busy);
		if (list_linked(&log->region[r].node))
			list_remove(&log->region[r].node);
	}
	memset(log->marks.wanted, 0, log->words * sizeof(uint64_t));
	memset(log->found, 0, log->words * sizeof(uint64_t));
	for (unsigned i = 0; i < log->members_count; i++)
		log->members[i].outdated = log->members[i].member != NULL;
	intent_round_start(log, true);
	err = round_run(log);
	return err < 0 ? err : log->round_err;
}
