/* SPDX-License-Identifier: MIT */
/* Errors that came after an answer, and which open file was told of them.
 *
 * An inode counts the writes that failed after they were answered, the file system the flushes that
 * failed; an open file remembers how many of each it knows of. So each hears of an error once,
 * whoever else was told before, as with the kernel's errseq_t. */
#include "fs/internal.h"

void lost_note(struct lost *lost, int err)
{
	lost->count++;
	lost->err = err;
	lost->unheard = true;
}

void fs_note_flush_error(struct fs *fs, int err)
{
	atomic_store(&fs->flush_error, err);
	atomic_fetch_add(&fs->flush_errors, 1);
}

void fs_heard_init(struct fs *fs, uint64_t ino, struct fs_heard *heard)
{
	struct inode *inode;
	*heard = (struct fs_heard){.flushes = atomic_load(&fs->flush_errors)};
	if (inode_get(fs, ino, &inode) < 0)
		return;
	pthread_mutex_lock(&inode->lock);
	heard->writes = inode->lost.count - inode->lost.unheard;
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
}

int fs_heard_check(struct fs *fs, uint64_t ino, struct fs_heard *heard)
{
	struct inode *inode;
	int err = inode_get(fs, ino, &inode);
	if (err < 0)
		return err;
	pthread_mutex_lock(&inode->lock);
	uint32_t flushes = atomic_load(&fs->flush_errors);
	if (heard->flushes != flushes)
		err = atomic_load(&fs->flush_error);
	if (heard->writes != inode->lost.count)
		err = inode->lost.err;
	*heard = (struct fs_heard){inode->lost.count, flushes};
	inode->lost.unheard = false;
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	return err;
}
