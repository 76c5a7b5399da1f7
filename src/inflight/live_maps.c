/* SPDX-License-Identifier: MIT */
/* Mappings of other processes, by address or by reading the list of all. */
#include "inflight/live_maps.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"
#include "inflight/live_procfs.h"

#ifndef PROCMAP_QUERY /* include/uapi/linux/fs.h of Linux 6.11 */
#define PROCMAP_QUERY                      _IOWR('f', 17, struct procmap_query)
#define PROCMAP_QUERY_VMA_EXECUTABLE       UINT64_C(0x04)
#define PROCMAP_QUERY_COVERING_OR_NEXT_VMA UINT64_C(0x10)
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset;
	uint64_t inode;
	uint32_t dev_major, dev_minor;
	uint32_t vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#endif
_Static_assert(sizeof(struct procmap_query) == 104, "as the kernel has it");

#define LINE_BYTES 128u /* holds all of a line but the name of its file */
#define MAX_LINES  1000000u

static uint64_t piece_begin(const struct iovec *piece)
{
	return (uintptr_t)piece->iov_base;
}

/* One that would run over the end of all memory ends there. */
static uint64_t piece_end(const struct iovec *piece)
{
	uint64_t begin = piece_begin(piece);
	return piece->iov_len > UINT64_MAX - begin ? UINT64_MAX : begin + piece->iov_len;
}

static bool is_of_dev(const struct live_mapping *m, uint64_t dev)
{
	return dev ? m->dev == dev : m->dev && major(m->dev) == 0;
}

/* ---- by address ---- */

/* The mapping that holds @addr or, where none does, the next above it. 0 or -errno; -ENOENT: there
 * is none. */
static int query_next(int fd, uint64_t addr, struct live_mapping *out)
{
	struct procmap_query query = {.size = sizeof(query),
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
		.query_addr = addr};
	if (ioctl(fd, PROCMAP_QUERY, &query) < 0)
		return -errno;
	*out = (struct live_mapping){.begin = query.vma_start,
		.end = query.vma_end,
		.dev = makedev(query.dev_major, query.dev_minor),
		.ino = query.inode,
		.offset = query.vma_offset,
		.executable = query.vma_flags & PROCMAP_QUERY_VMA_EXECUTABLE};
	return 0;
}

int live_maps_at(int fd, uint64_t addr, struct live_mapping *out)
{
	int ret = query_next(fd, addr, out);
	if (ret < 0)
		return ret;
	return addr >= out->begin ? 0 : -ENOENT;
}

/* @m: the mapping that was asked for last. Pieces mostly share it. */
static int query_piece(int fd, const struct iovec *piece, uint64_t dev, struct live_mapping *m)
{
	uint64_t addr = piece_begin(piece), end = piece_end(piece);
	while (addr < end) {
		int ret = addr >= m->begin && addr < m->end ? 0 : query_next(fd, addr, m);
		if (ret < 0)
			return ret == -ENOENT ? 0 : ret;
		if (m->begin >= end)
			return 0;
		if (is_of_dev(m, dev))
			return 1;
		addr = m->end;
	}
	return 0;
}

int live_maps_query(int fd, const struct live_maps_question *q)
{
	struct live_mapping last = {0};
	for (unsigned i = 0; i < q->count; i++) {
		int ret = query_piece(fd, &q->pieces[i], q->dev, &last);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- by reading the list ---- */

/* "begin-end perms offset major:minor inode name", all but the inode in hexadecimal. */
static bool parse_mapping(const char *line, struct live_mapping *out)
{
	unsigned dev_major, dev_minor;
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*x %x:%x", &out->begin, &out->end,
		    &dev_major, &dev_minor) != 4)
		return false;
	out->dev = makedev(dev_major, dev_minor);
	return true;
}

/* The next line, cut to what @line holds. */
static bool read_line(FILE *file, char *line)
{
	if (!fgets(line, LINE_BYTES, file))
		return false;
	if (!strchr(line, '\n'))
		for (int c = 0; c != EOF && c != '\n';)
			c = getc_unlocked(file);
	return true;
}

static bool touches(const struct live_maps_question *q, const struct live_mapping *m)
{
	for (unsigned i = 0; i < q->count; i++) {
		uint64_t begin = piece_begin(&q->pieces[i]), end = piece_end(&q->pieces[i]);
		if (begin < end && begin < m->end && m->begin < end)
			return true;
	}
	return false;
}

static uint64_t highest_end(const struct live_maps_question *q)
{
	uint64_t highest = 0;
	for (unsigned i = 0; i < q->count; i++) {
		uint64_t end = piece_end(&q->pieces[i]);
		highest = end > highest ? end : highest;
	}
	return highest;
}

static int scan_lines(FILE *file, const struct live_maps_question *q)
{
	uint64_t end = highest_end(q);
	char line[LINE_BYTES];
	struct live_mapping m;
	for (unsigned n = 0; n < MAX_LINES; n++) {
		if (!read_line(file, line))
			return ferror(file) ? -EIO : 0;
		if (!parse_mapping(line, &m))
			return -EPROTO;
		if (m.begin >= end) /* they ascend */
			return 0;
		if (is_of_dev(&m, q->dev) && touches(q, &m))
			return 1;
	}
	return -E2BIG;
}

int live_maps_scan(int fd, const struct live_maps_question *q)
{
	cleanup(cleanup_closep) int copy = dup(fd);
	FILE *file = copy < 0 ? NULL : fdopen(copy, "r");
	if (!file)
		return -errno;
	take_fd(&copy);
	char room[16384];
	setvbuf(file, room, _IOFBF, sizeof(room));
	int ret = scan_lines(file, q);
	fclose(file);
	return ret;
}

int live_maps_ask(pid_t tid, const struct live_maps_question *q)
{
	static _Atomic bool too_old; /* the kernel: it will not learn it while we run */
	cleanup(cleanup_closep) int fd = procfs_open("/proc/%d/maps", tid);
	if (fd < 0)
		return fd;
	int ret = too_old ? -ENOTTY : live_maps_query(fd, q);
	if (ret != -ENOTTY)
		return ret;
	too_old = true;
	return live_maps_scan(fd, q);
}
