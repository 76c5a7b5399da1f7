/* SPDX-License-Identifier: MIT */
/* The size of the cache of old blocks.
 *
 * Why a sixteenth: the cache pays where what is being rewritten fits, and a machine that runs a
 * database beside this daemon has given the most of its memory to that. Why not more than 1 GiB:
 * beyond it a random write mostly misses anyway, on volumes that are large enough for such a
 * machine, and who knows better says so. */
#include "cli/cache_size.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "base/block.h"

#define SHARE     16u
#define MOST      (UINT64_C(1) << 30)
#define GROUP_MAX "/sys/fs/cgroup/memory.max"

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* "max" is no number. */
static uint64_t group_bytes(void)
{
	uint64_t bytes = UINT64_MAX;
	FILE *f = fopen(GROUP_MAX, "re");
	if (!f)
		return UINT64_MAX;
	if (fscanf(f, "%" SCNu64, &bytes) != 1)
		bytes = UINT64_MAX;
	fclose(f);
	return bytes;
}

uint64_t cache_size_for(uint64_t memory_bytes)
{
	uint64_t share = memory_bytes / SHARE;
	return min_u64(share - share % BLOCK_BYTES, MOST);
}

uint64_t cache_size_default(void)
{
	return cache_size_for(min_u64(machine_bytes(), group_bytes()));
}
