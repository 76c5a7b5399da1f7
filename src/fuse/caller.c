/* SPDX-License-Identifier: MIT */
/* Who asks, by /proc/PID/status (proc(5)). */
#include "fuse/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "fuse/internal.h"

/* 65,536 groups of ten digits, and the rest. */
#define STATUS_MAX_BYTES (1u << 20)

/* The text behind "NAME:" at the start of a line; NULL: there is none. */
static const char *field_of(const char *status, const char *name)
{
	size_t len = strlen(name);
	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

bool caller_parse_capable(const char *status, unsigned capability, bool *capable)
{
	const char *field = field_of(status, "CapEff");
	unsigned long long set;
	if (!field || sscanf(field, "%llx", &set) != 1)
		return false;
	*capable = set >> capability & 1;
	return true;
}

bool caller_parse_in_group(const char *status, gid_t gid)
{
	const char *at = field_of(status, "Groups");
	for (char *end; at; at = end) {
		at += strspn(at, " \t");
		unsigned long group = strtoul(at, &end, 10);
		if (*at == '\n' || end == at)
			return false;
		if (group == gid)
			return true;
	}
	return false;
}

/* NULL: not known. */
static char *status_read(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	cleanup(cleanup_closep) int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char *text = fd >= 0 ? malloc(STATUS_MAX_BYTES) : NULL;
	size_t used = 0;
	for (ssize_t n = 1; text && n > 0; used += n > 0 ? (size_t)n : 0)
		n = read(fd, text + used, STATUS_MAX_BYTES - 1 - used);
	if (text)
		text[used] = '\0';
	return text;
}

bool caller_is_capable(fuse_req_t req, unsigned capability)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	cleanup(cleanup_freep) char *status = status_read(ctx->pid);
	bool capable;
	if (status && caller_parse_capable(status, capability, &capable))
		return capable;
	return ctx->uid == 0;
}

bool caller_is_in_group(fuse_req_t req, gid_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	if (ctx->gid == gid)
		return true;
	cleanup(cleanup_freep) char *status = status_read(ctx->pid);
	return status && caller_parse_in_group(status, gid);
}
