/* SPDX-License-Identifier: MIT */
/* Numbers of inodes. A number is given out once: handles that name it outlive the file, a mount,
 * and a crash, also one after which nothing is left of a file that had it. So numbers are promised,
 * durably, before any of them is given out: all below meta.next_ino may have been. They end with
 * FS_INO_MAX, which only a volume sees that was made to. */
#include "fs/internal.h"

#define NUMBERS_AHEAD 65536u /* more than are given out between two commits */

bool inode_numbers_short(const struct fs *fs)
{
	return fs->numbers_end <= FS_INO_MAX &&
	       atomic_load(&fs->next_ino) + NUMBERS_AHEAD / 2 > fs->numbers_end;
}

uint64_t inode_number_take(struct fs *fs)
{
	uint64_t next = atomic_load(&fs->next_ino);
	if (next > FS_INO_MAX)
		return 0;
	atomic_store(&fs->next_ino, next + 1);
	return next;
}

int inode_numbers_promise(struct fs *fs)
{
	uint64_t next = atomic_load(&fs->next_ino);
	if (fs->closing ? fs->numbers_end == next : !inode_numbers_short(fs))
		return 0;
	uint64_t end = fs->closing ? next : min_u64(next + NUMBERS_AHEAD, FS_INO_MAX + 1);
	int ret = fs->closing ? db_begin(&fs->db) : 0;
	if (ret == 0 && !fs->db.in_transaction)
		return 0;
	if (ret == 0)
		ret = db_exec(&fs->db, DB_META_PUT, "zu", "next_ino", end);
	if (ret == 0)
		fs->numbers_end = end;
	return ret;
}

/* From the key of the file system (the finalizer of splitmix64). */
uint32_t fs_generation(const struct fs *fs, uint64_t ino)
{
	uint64_t mixed = fs->hash_key + ino * UINT64_C(0x9E3779B97F4A7C15);
	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
	uint32_t generation = (uint32_t)(mixed >> 32);
	return generation ? generation : 1;
}
