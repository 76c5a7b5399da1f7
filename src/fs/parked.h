/* SPDX-License-Identifier: MIT */
/* How many lookups the kernel holds of inodes that are not in memory: it keeps a million of them as
 * long as it has room, and 16 bytes each are what we keep in turn. A table with open addressing,
 * linear probing, at most three quarters full; pure.
 * Owner thread: whoever holds the inode table's lock. */
#ifndef STABLEFS_FS_PARKED_H
#define STABLEFS_FS_PARKED_H

#include <stddef.h>
#include <stdint.h>

struct parked_slot {
	uint64_t ino; /* 0: free */
	uint64_t lookups;
};

struct parked {
	struct parked_slot *slots; /* owned; NULL: none yet */
	size_t capacity, count;    /* capacity: 0 or a power of two */
};

void parked_clear(struct parked *p);

/* Add lookups (not 0) of @ino (not 0). -ENOMEM: nothing is changed. */
int parked_add(struct parked *p, uint64_t ino, uint64_t lookups);
/* Take all of them out; 0: there are none. */
uint64_t parked_take(struct parked *p, uint64_t ino);
/* Take up to @lookups of them out. */
void parked_drop(struct parked *p, uint64_t ino, uint64_t lookups);

#endif
