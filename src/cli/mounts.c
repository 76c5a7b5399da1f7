/* SPDX-License-Identifier: MIT */
/* Mounts of ours, by the paths that somebody names. */
#include "cli/mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

#define FS_TYPE "fuse.stablefs"

void mounts_free(struct mounts *m)
{
	for (unsigned i = 0; i < m->count; i++)
		free(m->paths[i]);
	*m = (struct mounts){0};
}

int mounts_add(struct mounts *m, const char *mountpoint)
{
	for (unsigned i = 0; i < m->count; i++)
		if (!strcmp(m->paths[i], mountpoint))
			return 0;
	if (m->count == MOUNTS_MAX)
		return -ENOSPC;
	char *copy = strdup(mountpoint);
	if (!copy)
		return -ENOMEM;
	m->paths[m->count++] = copy;
	return 0;
}

/* "\040" and the like become what they stand for. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' &&
			     from[2] >= '0' && from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
		if (octal)
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
		else
			*to = *from;
		from += octal ? 4 : 1;
	}
	*to = '\0';
}

/* "ID PARENT DEV ROOT POINT OPTIONS [TAG].. - TYPE SOURCE OPTIONS": POINT and TYPE, in place. */
static bool split_line(char *line, char **point, char **type)
{
	char *behind = strstr(line, " - ");
	if (!behind)
		return false;
	*type = behind + 3;
	(*type)[strcspn(*type, " \n")] = '\0';
	*behind = '\0';
	for (unsigned field = 0; field < 4; field++) {
		line = strchr(line, ' ');
		if (!line)
			return false;
		line++;
	}
	*point = line;
	line[strcspn(line, " ")] = '\0';
	unescape(line);
	return true;
}

static bool lies_in(const char *path, const char *point)
{
	size_t len = strlen(point);
	return !strcmp(point, "/") ||
	       (!strncmp(path, point, len) && (path[len] == '/' || !path[len]));
}

bool mounts_find(FILE *mountinfo, const char *path, char *out, size_t room)
{
	cleanup(cleanup_freep) char *line = NULL;
	size_t line_room = 0, longest = 0;
	bool ours = false;
	out[0] = '\0';
	while (getline(&line, &line_room, mountinfo) >= 0) {
		char *point, *type;
		/* Of two at one place the later one covers the earlier one. */
		if (!split_line(line, &point, &type) || !lies_in(path, point) ||
			strlen(point) < longest || strlen(point) >= room)
			continue;
		longest = strlen(point);
		memcpy(out, point, longest + 1);
		ours = !strcmp(type, FS_TYPE);
	}
	return ours;
}

/* Without links, as far as it is there. */
static bool resolve(const char *path, char out[PATH_MAX])
{
	char parent[PATH_MAX];
	if (realpath(path, out))
		return true;
	size_t len = strlen(path);
	if (errno != ENOENT || len >= sizeof(parent))
		return false;
	memcpy(parent, path, len + 1);
	char *slash = strrchr(parent, '/');
	if (!slash)
		return false;
	slash[slash == parent] = '\0';
	return realpath(parent, out);
}

int mounts_add_of(struct mounts *m, const char *path)
{
	char full[PATH_MAX], point[PATH_MAX];
	if (!resolve(path, full))
		return 0;
	FILE *mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!mountinfo)
		return 0;
	bool ours = mounts_find(mountinfo, full, point, sizeof(point));
	fclose(mountinfo);
	return ours ? mounts_add(m, point) : 0;
}

int mounts_add_of_words(struct mounts *m, char *const *words)
{
	int err = 0;
	for (; *words && !err; words++) {
		const char *value = strchr(*words, '=');
		if (strchr(*words, '/'))
			err = mounts_add_of(m, *words);
		if (!err && value && strchr(value, '/'))
			err = mounts_add_of(m, value + 1);
	}
	return err;
}
