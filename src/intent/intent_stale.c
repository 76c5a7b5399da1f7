/* SPDX-License-Identifier: MIT */
/* Stale regions: what a member that is away, or under rebuild, has missed.
 *
 *	         write_begin or collect, while collecting             round_end
 *	current ------------------------------------------> wanted -------------> wanted, durable
 *	   ^                                                   |                        |
 *	   +---------------------------------------------------+------------------------+
 *	                     region_current, clear: durable with the next round
 *
 * One map serves all members that are out of date: a region leaves it when none needs it. */
#include "intent/internal.h"

#include <assert.h>
#include <string.h>

/* Bits of regions that do not exist stay clear, so that they can be counted. */
static void stale_add_all(struct intent_log *log)
{
	for (uint64_t r = 0; r < log->regions; r++)
		region_set_add(log->stale.wanted, r);
}

void intent_stale_collect(struct intent_log *log, bool all)
{
	log->collecting = true;
	for (uint32_t i = 0; i < log->words; i++)
		log->stale.wanted[i] |= log->marks.wanted[i] | log->marks.durable[i];
	if (all)
		stale_add_all(log);
	intent_round_want(log);
}

void intent_stale_collect_end(struct intent_log *log)
{
	log->collecting = false;
}

void intent_stale_clear(struct intent_log *log)
{
	log->collecting = false;
	memset(log->stale.wanted, 0, log->words * sizeof(uint64_t));
}

bool intent_is_stale(const struct intent_log *log, uint64_t region)
{
	return region_set_has(log->stale.wanted, region);
}

uint64_t intent_stale_count(const struct intent_log *log)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < log->words; i++)
		n += (uint64_t)__builtin_popcountll(log->stale.wanted[i]);
	return n;
}

void intent_region_current(struct intent_log *log, uint64_t region)
{
	assert(region < log->regions);
	if (!log->collecting)
		region_set_remove(log->stale.wanted, region);
}

bool intent_stale_unwritten(const struct intent_log *log)
{
	for (uint32_t i = 0; i < log->words; i++)
		if (log->stale.wanted[i] & ~log->stale.durable[i])
			return true;
	return false;
}

void intent_sync(struct intent_log *log, struct intent_sync *sync)
{
	list_push_back(&log->next_syncs, &sync->node);
	intent_round_want(log);
}
