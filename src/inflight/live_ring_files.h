/* SPDX-License-Identifier: MIT */
/* Files that are registered with a ring (IORING_REGISTER_FILES). Private to src/inflight.
 *
 * fdinfo of the ring lists them by index and path. Which file a path is may not be asked for: it is
 * one of ours, perhaps. But the process mostly has it open, too, and then its descriptor tells.
 * Costs tens of microseconds. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_FILES_H
#define STABLEFS_INFLIGHT_LIVE_RING_FILES_H

#include <stdint.h>
#include "inflight/live.h"
#include "inflight/live_ring_memory.h"

/* 1: the file with that index is the request's; 0: it is another one; -errno: it cannot be told. */
int live_ring_file_ask(
	const struct ring_memory *ring, uint32_t index, const struct live_request *req);

#endif
