/* SPDX-License-Identifier: MIT */
/* Scope-bound release of resources: early returns instead of goto.
 *
 *	cleanup(member_closep) struct member *m = member_new();
 *	...
 *	*out = take_ptr(&m);        // the caller owns it now, cleanup sees NULL
 */
#ifndef STABLEFS_BASE_CLEANUP_H
#define STABLEFS_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((cleanup(fn)))

/* Hand the pointer in *@pp to somebody else: returns it and leaves NULL behind. */
#define take_ptr(pp)                                                                               \
	({                                                                                         \
		__typeof__(*(pp)) taken_ = *(pp);                                                  \
		*(pp) = NULL;                                                                      \
		taken_;                                                                            \
	})

static inline void cleanup_freep(void *pp)
{
	free(*(void **)pp);
}

static inline void cleanup_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* The same for descriptors: returns *@fd and leaves -1 behind. */
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#endif
