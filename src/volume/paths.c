/* SPDX-License-Identifier: MIT */
/* VOLUME arguments: directories stand for the members that they hold. */
#include "volume/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/cleanup.h"

#define NAME_PREFIX "member-"
#define MAX_DIGITS  4

int member_file_number(const char *name)
{
	if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return -1;
	const char *digits = name + strlen(NAME_PREFIX);
	size_t len = strlen(digits);
	if (len == 0 || len > MAX_DIGITS || (digits[0] == '0' && len > 1))
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)digits[i]))
			return -1;
	}
	return atoi(digits);
}

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Takes @path in every case. */
static int add_path(struct volume_paths *out, char *path)
{
	char **paths = path ? realloc(out->paths, (out->count + 1) * sizeof(*paths)) : NULL;
	if (!paths) {
		free(path);
		return -ENOMEM;
	}
	paths[out->count++] = path;
	out->paths = paths;
	return 0;
}

static int is_member_entry(const struct dirent *entry)
{
	return member_file_number(entry->d_name) >= 0;
}

static int compare_numbers(const struct dirent **a, const struct dirent **b)
{
	return member_file_number((*a)->d_name) - member_file_number((*b)->d_name);
}

static int add_entries(
	const char *dir, struct dirent **entries, int count, struct volume_paths *out)
{
	int err = 0;
	for (int i = 0; i < count && err == 0; i++) {
		char *path;
		if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
			path = NULL;
		err = add_path(out, path);
	}
	return err;
}

static int add_directory(const char *dir, struct volume_paths *out, struct errmsg *why)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, is_member_entry, compare_numbers);
	if (count < 0)
		return errmsg_set(
			why, -errno, "cannot read the directory %s: %s", dir, strerror(errno));
	int err = add_entries(dir, entries, count, out);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	if (err == 0 && count == 0)
		return errmsg_set(why, -ENOENT,
			"the directory %s holds no volume: no files named member-0, member-1, ...",
			dir);
	return err;
}

int volume_paths_find(
	char *const *args, unsigned count, struct volume_paths *out, struct errmsg *why)
{
	*out = (struct volume_paths){0};
	int err = 0;
	for (unsigned i = 0; i < count && err == 0; i++) {
		if (is_directory(args[i]))
			err = add_directory(args[i], out, why);
		else
			err = add_path(out, strdup(args[i]));
	}
	if (err < 0)
		volume_paths_free(out);
	return err;
}

void volume_paths_free(struct volume_paths *p)
{
	for (unsigned i = 0; i < p->count; i++)
		free(p->paths[i]);
	free(p->paths);
	*p = (struct volume_paths){0};
}
