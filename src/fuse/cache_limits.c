/* SPDX-License-Identifier: MIT */
/* What the kernel's page cache may do for this mount. For FUSE it assumes the worst: it reads ahead
 * by 128 KiB, less than a stripe, and grants a hundredth of all dirty pages, so that writers wait
 * for the array where they would only copy. A mount gets what a disk has, and reads ahead by
 * several stripes. Only root may set it: a mount of a user keeps the kernel's limits.
 *
 * The limit of dirty pages has a reason: a daemon that writes through the page cache itself waits
 * there for pages to become clean that only it can write. Members take direct I/O, but not on every
 * file system. So the limit is lifted only where no member is written through the cache, or where
 * the daemon is not made to wait (PR_SET_IO_FLUSHER, which needs CAP_SYS_RESOURCE). */
#include "fuse/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define READ_AHEAD_KIB 2048u /* figures: docs/performance.md */

/* Without effect where it may not be written. */
static void limit_set(dev_t dev, const char *name, unsigned value)
{
	char path[128];
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/%s", major(dev), minor(dev), name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!dprintf(fd, "%u\n", value);
	close(fd);
}

static bool writes_through_cache(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_DIRECT) &&
	       fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

/* Of all descriptors but the standard ones. */
static bool any_writes_through_cache(void)
{
	DIR *dir = opendir("/proc/self/fd");
	bool any = !dir;
	for (struct dirent *entry; dir && !any && (entry = readdir(dir));) {
		int fd = atoi(entry->d_name);
		any = fd > STDERR_FILENO && writes_through_cache(fd);
	}
	if (dir)
		closedir(dir);
	return any;
}

void cache_limits_set(const struct front *f)
{
	if (!f->mount_dev)
		return;
	limit_set(f->mount_dev, "read_ahead_kb", READ_AHEAD_KIB);
	bool throttled = prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) != 1;
	if (throttled && any_writes_through_cache())
		return;
	limit_set(f->mount_dev, "max_ratio", 100);
	limit_set(f->mount_dev, "strict_limit", 0);
}
