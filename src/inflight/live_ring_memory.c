/* SPDX-License-Identifier: MIT */
/* Finding, attaching and reading rings. */
#include "inflight/live_ring_memory.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "inflight/live_maps.h"
#include "inflight/live_procfs.h"
#include "inflight/live_ring_abi.h"

#define RING_NAME "anon_inode:[io_uring]"

/* ---- by the process's own mapping ---- */

/* 0: the mapping at @begin still is this part of the ring. */
static int check_mapping(int maps_fd, uint64_t begin, const struct ring_memory *m, uint64_t offset)
{
	struct live_mapping now;
	int ret = live_maps_at(maps_fd, begin, &now);
	if (ret < 0)
		return ret;
	bool same = now.begin == begin && now.ino == m->ino && now.offset == offset;
	return same ? 0 : -ENOENT;
}

static int check_mappings(const struct ring_memory *m, int maps_fd)
{
	int ret = check_mapping(maps_fd, m->ring, m, 0);
	return ret < 0 ? ret : check_mapping(maps_fd, m->sqes, m, RING_OFFSET_SQES);
}

/* A line of a ring: "begin-end perms offset major:minor inode name". */
static bool parse_ring_line(
	const char *line, uint64_t *begin, uint64_t *end, uint64_t *offset, uint64_t *ino)
{
	return strstr(line, RING_NAME) &&
	       sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*x:%*x %" SCNu64, begin, end,
		       offset, ino) == 4;
}

/* The ring of that number, perhaps a new one; NULL: too many. */
static struct ring_memory *ring_of(struct ring_memory *all, int *count, pid_t pid, uint64_t ino)
{
	for (int i = 0; i < *count; i++) {
		if (all[i].ino == ino)
			return &all[i];
	}
	if (*count == RING_MAX_RINGS)
		return NULL;
	all[*count] = (struct ring_memory){.way = RING_BY_MAPPING, .pid = pid, .ino = ino};
	return &all[(*count)++];
}

static void add_mapping(struct ring_memory *all, int *count, pid_t pid, const char *line)
{
	uint64_t begin, end, offset, ino;
	if (!parse_ring_line(line, &begin, &end, &offset, &ino))
		return;
	struct ring_memory *m = ring_of(all, count, pid, ino);
	if (!m)
		return;
	if (offset == RING_OFFSET_SQES) {
		m->sqes = begin;
		m->sqes_bytes = end - begin;
	} else if (offset == 0) {
		m->ring = begin;
		m->ring_bytes = end - begin;
	}
}

static int scan_mappings(pid_t pid, struct ring_memory *out)
{
	cleanup(cleanup_closep) int fd = procfs_open("/proc/%d/maps", pid);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file)
		return fd < 0 ? fd : -errno;
	take_fd(&fd);
	char line[512]; /* a longer one is another file's */
	int count = 0, whole = 0;
	while (fgets(line, sizeof(line), file))
		add_mapping(out, &count, pid, line);
	fclose(file);
	for (int i = 0; i < count; i++) {
		if (out[i].ring && out[i].sqes)
			out[whole++] = out[i];
	}
	return whole;
}

/* ---- by descriptor ---- */

static bool is_ring_link(DIR *dir, const char *name)
{
	char link[sizeof(RING_NAME) + 1];
	ssize_t n = readlinkat(dirfd(dir), name, link, sizeof(link));
	return n == sizeof(RING_NAME) - 1 && memcmp(link, RING_NAME, (size_t)n) == 0;
}

static int scan_descriptors(pid_t pid, struct ring_memory *out)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return -errno;
	int count = 0;
	const struct dirent *e;
	while ((e = readdir(dir)) && count < (int)RING_MAX_RINGS) {
		struct procfs_fd info;
		int fd = atoi(e->d_name);
		if (!is_ring_link(dir, e->d_name) || procfs_read_fd(pid, fd, &info) < 0)
			continue;
		out[count++] = (struct ring_memory){
			.way = RING_BY_DESCRIPTOR, .pid = pid, .ino = info.ino, .remote_fd = fd};
	}
	closedir(dir);
	return count;
}

/* A descriptor of our own of the process's @remote_fd. */
static int duplicate(pid_t pid, int remote_fd)
{
	cleanup(cleanup_closep) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, remote_fd, 0);
	if (fd < 0)
		return errno == EBADF ? -ENOENT : -errno;
	return fd;
}

static uint64_t map_part(int fd, uint64_t offset, uint64_t len_bytes)
{
	void *p = mmap(NULL, len_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	return p == MAP_FAILED ? 0 : (uintptr_t)p;
}

static void unmap_part(uint64_t *addr, uint64_t len_bytes)
{
	if (*addr)
		munmap((void *)(uintptr_t)*addr, len_bytes);
	*addr = 0;
}

/* Ranges of a mapping may have no memory behind them, and copying from there must fail, not kill:
 * so the kernel copies, into a file in memory and out of it. */
static int read_through_file(
	const struct iovec *ranges, unsigned count, void *out, size_t len_bytes)
{
	cleanup(cleanup_closep) int fd = memfd_create("stablefs-ring", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = pwritev(fd, ranges, (int)count, 0);
	if (n < 0 || (size_t)n != len_bytes)
		return n < 0 ? -errno : -EFAULT;
	n = pread(fd, out, len_bytes, 0);
	return n == (ssize_t)len_bytes ? 0 : -EFAULT;
}

static int read_header(int fd, struct ring_header *out)
{
	uint8_t memory[RING_HEADER_BYTES];
	uint64_t page = map_part(fd, 0, sizeof(memory));
	if (!page)
		return -EFAULT;
	struct iovec range = {(void *)(uintptr_t)page, sizeof(memory)};
	int ret = read_through_file(&range, 1, memory, sizeof(memory));
	unmap_part(&page, sizeof(memory));
	if (ret < 0)
		return ret;
	return ring_header_decode(memory, out) ? 0 : -EFAULT;
}

/* The largest of these lengths that is there. */
static uint64_t map_largest(int fd, uint64_t offset, const uint64_t *lens, uint64_t *len_bytes)
{
	for (unsigned i = 0; lens[i]; i++) {
		uint64_t addr = map_part(fd, offset, lens[i]);
		*len_bytes = lens[i];
		if (addr)
			return addr;
	}
	return 0;
}

static int map_all(struct ring_memory *m, int fd)
{
	struct ring_header h;
	int ret = read_header(fd, &h);
	if (ret < 0)
		return ret;
	uint64_t array_bytes = sizeof(uint32_t) * (uint64_t)h.entries;
	uint64_t places[RING_ARRAY_PLACES];
	ring_array_places(&h, places);
	const uint64_t ring_lens[] = {places[1] + array_bytes, places[2] + array_bytes,
		places[0] + array_bytes, places[0], 0};
	const uint64_t sqes_bytes = (uint64_t)RING_SQE_BYTES * h.entries;
	const uint64_t sqes_lens[] = {2 * sqes_bytes, sqes_bytes, 0};
	m->ring = map_largest(fd, 0, ring_lens, &m->ring_bytes);
	m->sqes = map_largest(fd, RING_OFFSET_SQES, sqes_lens, &m->sqes_bytes);
	if (m->ring && m->sqes)
		return 0;
	ring_memory_detach(m);
	return -EFAULT;
}

static int attach_descriptor(struct ring_memory *m)
{
	cleanup(cleanup_closep) int fd = duplicate(m->pid, m->remote_fd);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_ino != m->ino) /* the number is another file's now */
		return -ENOENT;
	return map_all(m, fd);
}

/* ---- either way ---- */

int ring_memory_attach(struct ring_memory *m, int maps_fd)
{
	return m->way == RING_BY_MAPPING ? check_mappings(m, maps_fd) : attach_descriptor(m);
}

void ring_memory_detach(struct ring_memory *m)
{
	if (m->way == RING_BY_MAPPING)
		return;
	unmap_part(&m->ring, m->ring_bytes);
	unmap_part(&m->sqes, m->sqes_bytes);
}

int ring_memory_read(
	const struct ring_memory *m, const struct iovec *ranges, unsigned count, void *out)
{
	size_t len_bytes = 0;
	for (unsigned i = 0; i < count; i++)
		len_bytes += ranges[i].iov_len;
	if (m->way == RING_BY_DESCRIPTOR)
		return read_through_file(ranges, count, out, len_bytes);
	struct iovec local = {out, len_bytes};
	ssize_t n = process_vm_readv(m->pid, &local, 1, ranges, count, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EFAULT;
}

int ring_memory_scan(pid_t pid, enum ring_way way, struct ring_memory *out)
{
	return way == RING_BY_MAPPING ? scan_mappings(pid, out) : scan_descriptors(pid, out);
}

bool ring_memory_has_other(pid_t pid, const uint64_t *inos, unsigned count)
{
	struct ring_memory *all = calloc(RING_MAX_RINGS, sizeof(*all));
	int n = all ? scan_descriptors(pid, all) : 0;
	bool other = false;
	for (int i = 0; i < n && !other; i++) {
		bool known = false;
		for (unsigned k = 0; k < count && !known; k++)
			known = inos[k] == all[i].ino;
		other = !known;
	}
	free(all);
	return other;
}
