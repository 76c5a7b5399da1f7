/* SPDX-License-Identifier: MIT */
/* Reading and parsing the few files of procfs that a located write needs. */
#include "inflight/live_procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define PROC_PATH_BYTES  64u
#define RUNNING_YIELD_NS (100 * NS_PER_US)
#define RUNNING_SLEEP_NS 50000L

int procfs_open(const char *fmt, ...)
{
	char path[PROC_PATH_BYTES];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* The file as text from its beginning, cut to what @text holds. 0 or -errno. */
static int read_text(int fd, char *text, size_t room)
{
	ssize_t n = pread(fd, text, room - 1, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

static int read_proc(int fd, char *text, size_t room)
{
	cleanup(cleanup_closep) int owned = fd;
	return owned < 0 ? owned : read_text(owned, text, room);
}

/* What follows "@key:" and white space at the start of a line, or NULL. */
static const char *find_field(const char *text, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " \t");
	}
	return NULL;
}

/* "NR 0xARG0 .. 0xARG5 0xSP 0xPC", "-1 0xSP 0xPC" or "running". */
static int parse_syscall(const char *text, struct procfs_syscall *out)
{
	if (strncmp(text, "running", 7) == 0)
		return -EAGAIN;
	char *end;
	*out = (struct procfs_syscall){.nr = strtol(text, &end, 10)};
	uint64_t values[8]; /* six arguments, or none; then stack pointer and program counter */
	unsigned n = 0;
	for (const char *at = end; n < 8; n++) {
		values[n] = strtoull(at, &end, 16);
		if (end == at)
			break;
		at = end;
	}
	if (n < 8)
		return n == 2 && out->nr == -1 ? 0 : -EPROTO;
	memcpy(out->args, values, sizeof(out->args));
	out->sp = values[6];
	out->pc = values[7];
	return 0;
}

/* To yield is quickest where a processor is free, and else may last as long as the time slices of
 * all others: nothing for who has little patience. */
static void wait_a_moment(uint64_t waited_ns, uint64_t patience_ns)
{
	if (waited_ns < RUNNING_YIELD_NS && patience_ns > RUNNING_YIELD_NS)
		sched_yield();
	else
		nanosleep(&(struct timespec){.tv_nsec = RUNNING_SLEEP_NS}, NULL);
}

int procfs_reread_syscall(int fd, uint64_t patience_ns, struct procfs_syscall *out)
{
	uint64_t begun_ns = patience_ns ? clock_monotonic_ns() : 0;
	for (;;) {
		char text[256];
		int ret = read_text(fd, text, sizeof(text));
		if (ret == 0)
			ret = parse_syscall(text, out);
		if (ret != -EAGAIN || !patience_ns)
			return ret;
		uint64_t waited_ns = clock_monotonic_ns() - begun_ns;
		if (waited_ns > patience_ns)
			return ret;
		wait_a_moment(waited_ns, patience_ns);
	}
}

int procfs_read_syscall(pid_t tid, uint64_t patience_ns, struct procfs_syscall *out)
{
	cleanup(cleanup_closep) int fd = procfs_open("/proc/%d/syscall", tid);
	return fd < 0 ? fd : procfs_reread_syscall(fd, patience_ns, out);
}

int procfs_read_fd(pid_t tid, int fd, struct procfs_fd *out)
{
	char text[512];
	int ret = read_proc(procfs_open("/proc/%d/fdinfo/%d", tid, fd), text, sizeof(text));
	if (ret < 0)
		return ret;
	const char *pos = find_field(text, "pos");
	const char *flags = find_field(text, "flags");
	const char *ino = find_field(text, "ino");
	*out = (struct procfs_fd){0};
	if (!pos || sscanf(pos, "%" SCNd64, &out->pos) != 1)
		return -EPROTO;
	if (!flags || sscanf(flags, "%o", &out->flags) != 1)
		return -EPROTO;
	if (ino)
		sscanf(ino, "%" SCNu64, &out->ino);
	return 0;
}

int procfs_read_fd_dev(pid_t tid, int fd, uint64_t *dev)
{
	char path[PROC_PATH_BYTES];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	struct statx st;
	/* Asks for no field: the device comes all the same, and no file system is called for it. */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) < 0)
		return -errno;
	*dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	return 0;
}

int procfs_read_writer(pid_t tid, struct event_writer *out)
{
	char text[512]; /* the fields stand within the first 300 bytes */
	int ret = read_proc(procfs_open("/proc/%d/status", tid), text, sizeof(text));
	if (ret < 0)
		return ret;
	const char *name = find_field(text, "Name");
	const char *tgid = find_field(text, "Tgid");
	const char *uids = find_field(text, "Uid"); /* real, effective, saved, file system */
	if (name) {
		size_t len = strcspn(name, "\n");
		len = len < sizeof(out->comm) ? len : sizeof(out->comm) - 1;
		memcpy(out->comm, name, len);
		out->comm[len] = '\0';
	}
	if (tgid)
		sscanf(tgid, "%d", &out->pid);
	if (uids)
		sscanf(uids, "%*u %u", &out->uid);
	return 0;
}

/* ---- /proc/PID/stat: "PID (COMM) STATE PPID ..", the start time is the 22nd field ---- */

#define STAT_START_TIME 22u

/* The name may hold brackets and blanks: the last bracket ends it. */
int procfs_parse_stat(const char *text, struct procfs_kin *out)
{
	const char *at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %d", &out->parent) != 1)
		return -EPROTO;
	for (unsigned field = 2; at && field < STAT_START_TIME; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, "%" SCNu64, &out->start_ticks) == 1 ? 0 : -EPROTO;
}

int procfs_read_kin(pid_t pid, struct procfs_kin *out)
{
	cleanup(cleanup_closep) int fd = procfs_open("/proc/%d/stat", pid);
	if (fd < 0)
		return fd;
	char text[1024];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return procfs_parse_stat(text, out);
}
