/* SPDX-License-Identifier: MIT */
/* Page-aligned memory. */
#ifndef STABLEFS_BASE_MEM_H
#define STABLEFS_BASE_MEM_H

#include <stdlib.h>
#include <string.h>
#include "base/block.h"

/* @len_bytes zeroed bytes at a page boundary, or NULL; release with free(). */
static inline void *mem_alloc_blocks(size_t len_bytes)
{
	void *p = NULL;
	if (posix_memalign(&p, BLOCK_ALIGN, len_bytes ? len_bytes : BLOCK_ALIGN))
		return NULL;
	memset(p, 0, len_bytes);
	return p;
}

#endif
