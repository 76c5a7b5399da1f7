/* SPDX-License-Identifier: MIT */
/* What procfs tells of a thread that waits for us. Private to src/inflight.
 *
 * The thread may be inside our own file system, so nothing here may enter that: only procfs is
 * opened, and files behind /proc/TID/fd are asked for nothing but their device, without a sync (a
 * FUSE file answers that from the kernel's own memory). Formats: proc(5).
 * Errors are -errno of procfs: -ENOENT or -ESRCH (no such thread), -EACCES or -EPERM. */
#ifndef STABLEFS_INFLIGHT_LIVE_PROCFS_H
#define STABLEFS_INFLIGHT_LIVE_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/event.h"

struct procfs_syscall {
	long nr; /* -1: blocked outside of a system call */
	uint64_t args[6];
	uint64_t sp, pc;
};

/* A descriptor of a file of procfs, whose path is made as by printf. */
__attribute__((format(printf, 1, 2))) int procfs_open(const char *fmt, ...);

/* The call that a thread waits in. A thread that has just handed us its request may not be asleep
 * yet: asks again for up to @patience_ns, then gives -EAGAIN (the thread runs). */
int procfs_read_syscall(pid_t tid, uint64_t patience_ns, struct procfs_syscall *out);

/* The same with a descriptor of that file, any number of times. Without patience: asks once. */
int procfs_reread_syscall(int fd, uint64_t patience_ns, struct procfs_syscall *out);

/* An open file of that thread. */
struct procfs_fd {
	int64_t pos;
	unsigned flags; /* of open(2) */
	uint64_t ino;   /* 0: the kernel does not say (before Linux 5.14) */
};

int procfs_read_fd(pid_t tid, int fd, struct procfs_fd *out);

/* st_dev of that file. */
int procfs_read_fd_dev(pid_t tid, int fd, uint64_t *dev);

/* Of the text of /proc/PID/stat: the parent, and when the process started (the kernel's ticks after
 * boot), which tells apart two processes that had one number. -EPROTO: it is no such text. */
struct procfs_kin {
	pid_t parent;
	uint64_t start_ticks;
};

int procfs_parse_stat(const char *text, struct procfs_kin *out);
int procfs_read_kin(pid_t pid, struct procfs_kin *out);

/* pid, effective uid and comm; fields stay as they are where nothing is told. */
int procfs_read_writer(pid_t tid, struct event_writer *out);

#endif
