/* SPDX-License-Identifier: MIT */
/* Times of files where the kernel and we must agree: it does not move atimes, and keeps from us the
 * reads that it answers from its page cache.
 *
 * So an open for reading of a file whose atime a read would move has the file's first pages dropped
 * before it is answered: then a read of them comes to us. That is once for each time that the atime
 * is due, not for each open. Of a symlink the kernel keeps the text: it is dropped when the link's
 * times are set.
 * Owner thread: workers; answers leave from the coherence thread. */
#ifndef STABLEFS_FUSE_TIMES_H
#define STABLEFS_FUSE_TIMES_H

#include "fuse/internal.h"

/* True: the open will be answered when pages were dropped. */
bool times_open(fuse_req_t req, const struct fuse_file_info *fi, struct coherence_file *file);

/* A file that was just made is open. */
void times_created(struct front *f, const struct coherence_file *file);

/* True: the setattr will be answered when the symlink's text was dropped. */
bool times_symlink_set(fuse_req_t req, const struct stat *st);

/* A read with these flags of its open file leaves the atime alone: O_NOATIME; and one through a
 * descriptor that cannot read, which is the kernel's, to fill up a page. */
static inline bool times_read_is_silent(int flags)
{
	return (flags & O_NOATIME) || (flags & O_ACCMODE) == O_WRONLY;
}

#endif
