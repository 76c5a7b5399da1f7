/* SPDX-License-Identifier: MIT */
/* From an index to a path, and from a path to a file. */
#include "inflight/live_ring_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "inflight/live_procfs.h"

#define FILES_FIELD "UserFiles:"

/* The process's number of the ring's descriptor, or -ENOENT. */
static int ring_find_fd(const struct ring_memory *ring)
{
	if (ring->way == RING_BY_DESCRIPTOR)
		return ring->remote_fd;
	cleanup(cleanup_freep) struct ring_memory *all = calloc(RING_MAX_RINGS, sizeof(*all));
	int count = all ? ring_memory_scan(ring->pid, RING_BY_DESCRIPTOR, all) : -ENOMEM;
	for (int i = 0; i < count; i++) {
		if (all[i].ino == ring->ino)
			return all[i].remote_fd;
	}
	return count < 0 ? count : -ENOENT;
}

/* The path in a line "   12: PATH" of that index. */
static bool parse_file(char *line, uint32_t index, const char **path)
{
	char *end;
	unsigned long at = strtoul(line, &end, 10);
	if (end == line || strncmp(end, ": ", 2) != 0 || at != index)
		return false;
	end[strcspn(end, "\n")] = '\0';
	*path = end + 2;
	return true;
}

static int registered_path(FILE *info, uint32_t index, char *out)
{
	cleanup(cleanup_freep) char *line = NULL;
	size_t room = 0;
	bool in_files = false;
	while (getline(&line, &room, info) > 0) {
		const char *path;
		bool is_entry = line[0] == ' ';
		if (!is_entry)
			in_files = strncmp(line, FILES_FIELD, strlen(FILES_FIELD)) == 0;
		else if (in_files && parse_file(line, index, &path))
			return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	return -ENOENT;
}

static int ring_read_path(const struct ring_memory *ring, uint32_t index, char *out)
{
	int remote_fd = ring_find_fd(ring);
	if (remote_fd < 0)
		return remote_fd;
	cleanup(cleanup_closep) int fd = procfs_open("/proc/%d/fdinfo/%d", ring->pid, remote_fd);
	FILE *info = fd < 0 ? NULL : fdopen(fd, "r");
	if (!info)
		return fd < 0 ? fd : -errno;
	take_fd(&fd);
	int ret = registered_path(info, index, out);
	fclose(info);
	return ret;
}

/* 1, 0 or -errno, as far as the process's descriptor tells. */
static int descriptor_is(pid_t pid, int fd, const struct live_request *req)
{
	struct procfs_fd info;
	uint64_t dev = 0;
	int ret = procfs_read_fd(pid, fd, &info);
	if (ret == 0 && req->dev)
		ret = procfs_read_fd_dev(pid, fd, &dev);
	if (ret < 0)
		return ret;
	return (!info.ino || info.ino == req->ino) && dev == req->dev;
}

int live_ring_file_ask(
	const struct ring_memory *ring, uint32_t index, const struct live_request *req)
{
	cleanup(cleanup_freep) char *wanted = malloc(2 * PATH_MAX);
	if (!wanted)
		return -ENOMEM;
	int ret = ring_read_path(ring, index, wanted);
	if (ret < 0)
		return ret;
	char name[64], *link = wanted + PATH_MAX;
	snprintf(name, sizeof(name), "/proc/%d/fd", ring->pid);
	DIR *dir = opendir(name);
	if (!dir)
		return -errno;
	const struct dirent *e;
	ret = -ENOENT;
	while (ret == -ENOENT && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, PATH_MAX - 1);
		link[n > 0 ? n : 0] = '\0';
		if (n > 0 && strcmp(link, wanted) == 0)
			ret = descriptor_is(ring->pid, atoi(e->d_name), req);
	}
	closedir(dir);
	return ret;
}
