/* SPDX-License-Identifier: MIT */
/* Mounts of ours, by the paths that somebody names. */
#include "cli/mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"

#define FS_TYPE      "fuse.stablefs"
#define CONTROL_FILE "/.stablefs/query"

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

/* "ID PARENT DEV ROOT POINT OPTIONS [TAG].. - TYPE SOURCE OPTIONS" */
struct mount_line {
	char *point, *options; /* of the mount */
	char *type, *super;    /* of the file system: its type and options */
};

/* The next field of *@rest, ended by a NUL; *@rest moves behind it. */
static char *next_field(char **rest)
{
	char *field = *rest;
	*rest += strcspn(*rest, " \n");
	if (**rest)
		*(*rest)++ = '\0';
	return field;
}

/* In place. */
static bool split_line(char *line, struct mount_line *out)
{
	char *behind = strstr(line, " - ");
	if (!behind)
		return false;
	*behind = '\0';
	behind += 3;
	out->type = next_field(&behind);
	next_field(&behind);
	out->super = next_field(&behind);
	for (unsigned field = 0; field < 4; field++)
		next_field(&line);
	out->point = next_field(&line);
	out->options = next_field(&line);
	unescape(out->point);
	return *out->point;
}

static bool is_fuse(const char *type)
{
	return !strcmp(type, "fuse") || !strncmp(type, "fuse.", 5);
}

/* By its type; under another name (subtype=) by the files that it has. */
static bool is_ours(const char *type, const char *point)
{
	if (!strcmp(type, FS_TYPE))
		return true;
	char file[PATH_MAX];
	if (!is_fuse(type))
		return false;
	int len = snprintf(file, sizeof(file), "%s" CONTROL_FILE, point);
	return len > 0 && (size_t)len < sizeof(file) && access(file, F_OK) == 0;
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
	char type[64] = "";
	out[0] = '\0';
	while (getline(&line, &line_room, mountinfo) >= 0) {
		struct mount_line l;
		/* Of two at one place the later one covers the earlier one. */
		if (!split_line(line, &l) || !lies_in(path, l.point) || strlen(l.point) < longest ||
			strlen(l.point) >= room)
			continue;
		longest = strlen(l.point);
		memcpy(out, l.point, longest + 1);
		snprintf(type, sizeof(type), "%s", l.type);
	}
	return is_ours(type, out);
}

void mounts_add_fuse(struct mounts *m)
{
	cleanup(cleanup_freep) char *line = NULL;
	size_t room = 0;
	FILE *mountinfo = fopen("/proc/self/mountinfo", "re");
	while (mountinfo && getline(&line, &room, mountinfo) >= 0) {
		struct mount_line l;
		if (split_line(line, &l) && is_fuse(l.type))
			(void)mounts_add(m, l.point);
	}
	if (mountinfo)
		fclose(mountinfo);
}

char *mounts_options(const char *point)
{
	cleanup(cleanup_freep) char *line = NULL;
	size_t room = 0;
	char *options = NULL;
	FILE *mountinfo = fopen("/proc/self/mountinfo", "re");
	while (mountinfo && getline(&line, &room, mountinfo) >= 0) {
		struct mount_line l;
		if (!split_line(line, &l) || strcmp(l.point, point) != 0)
			continue;
		free(options);
		if (asprintf(&options, "%s,%s", l.super, l.options) < 0)
			options = NULL;
	}
	if (mountinfo)
		fclose(mountinfo);
	return options;
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
