/* SPDX-License-Identifier: MIT */
/* How much memory a mount takes for old blocks where nobody says it. */
#ifndef STABLEFS_CLI_CACHE_SIZE_H
#define STABLEFS_CLI_CACHE_SIZE_H

#include <stdint.h>

/* A sixteenth of the memory that this process may have, at most 1 GiB: of the machine's, or of what
 * a control group at /sys/fs/cgroup leaves. 0 where nothing can be known. */
uint64_t cache_size_default(void);

/* The rule alone. */
uint64_t cache_size_for(uint64_t memory_bytes);

#endif
