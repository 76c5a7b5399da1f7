/* SPDX-License-Identifier: MIT */
/* Times of files where the kernel and we must agree: it does not move atimes, and keeps from us the
 * reads that it answers from its page cache.
 *
 * So an open for reading of a file whose atime a read would move has the file's first pages dropped
 * before it is answered: then a read of them comes to us. That is once for each time that the atime
 * is due, not for each open. Of a symlink the kernel keeps the text: it is dropped when the link's
 * times are set.
 *
 * And with its write-back cache it keeps mtimes itself, and misses direct writes that went around
 * the cache. Who asks for the attributes of such a file, or closes it, is answered when the kernel
 * was told (times_push.c); until then it is to remember no attributes of the file.
 * Owner thread: workers; answers leave from the coherence thread and the pusher. */
#ifndef STABLEFS_FUSE_TIMES_H
#define STABLEFS_FUSE_TIMES_H

#include "base/clock.h"
#include "fuse/internal.h"
#include "fuse/patience.h"

/* True: the open will be answered when pages were dropped. */
bool times_open(fuse_req_t req, const struct fuse_file_info *fi, struct coherence_file *file);

/* A file that was just made is open. */
void times_created(struct front *f, const struct coherence_file *file);

/* True: the setattr will be answered when the symlink's text was dropped. */
bool times_symlink_set(fuse_req_t req, const struct stat *st);

/* So long somebody who asks for a file's times waits for the pusher, who may wait for a writer. */
#define TIMES_PATIENCE_NS (200 * NS_PER_MS)

/* True: the getattr will be answered when the kernel knows the file's mtime, or after a moment. */
bool times_getattr(fuse_req_t req, uint64_t ino);
/* True: it will be answered when the kernel knows the file's mtime. */
bool times_flush(fuse_req_t req, struct coherence_file *file);

/* The kernel hears of the mtime: a syncer_fn. May wait for a direct writer of the file. */
int times_push(void *ctx, uint64_t ino, bool unused);
/* The setattr is the pusher's. */
bool times_is_push(fuse_req_t req);

/* A read with these flags of its open file leaves the atime alone: O_NOATIME; and one through a
 * descriptor that cannot read, which is the kernel's, to fill up a page. */
static inline bool times_read_is_silent(int flags)
{
	return (flags & O_NOATIME) || (flags & O_ACCMODE) == O_WRONLY;
}

#endif
