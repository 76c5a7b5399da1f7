/* SPDX-License-Identifier: MIT */
/* Numbers of inodes. A number is given out once: handles that name it outlive the file, a mount,
 * and a crash, also one after which nothing is left of a file that had it. So numbers are promised,
 * durably, before any of them is given out: all below meta.next_ino may have been. */
#include "fs/internal.h"

#define NUMBERS_AHEAD 65536u /* more than are given out between two commits */

bool inode_numbers_short(const struct fs *fs)
{
	return atomic_load(&fs->next_ino) + NUMBERS_AHEAD / 2 > fs->numbers_end;
}

int inode_numbers_promise(struct fs *fs)
{
	uint64_t next = atomic_load(&fs->next_ino);
	if (fs->closing ? fs->numbers_end == next : !inode_numbers_short(fs))
		return 0;
	uint64_t end = next + (fs->closing ? 0 : NUMBERS_AHEAD);
	int ret = fs->closing ? db_begin(&fs->db) : 0;
	if (ret == 0 && !fs->db.in_transaction)
		return 0;
	if (ret == 0)
		ret = db_exec(&fs->db, DB_META_PUT, "zu", "next_ino", end);
	if (ret == 0)
		fs->numbers_end = end;
	return ret;
}
