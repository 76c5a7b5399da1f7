/* SPDX-License-Identifier: MIT */
/* Making and removing the scratch folder; the program's words. */
#include "cli/check_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int check_world_new(struct check_world *w, const char *parent, struct errmsg *why)
{
	char found[PATH_MAX];
	*w = (struct check_world){0};
	if (!parent)
		parent = getenv("TMPDIR");
	if (!parent || !*parent)
		parent = "/var/tmp";
	if (!realpath(parent, found))
		return errmsg_set(why, -errno, "%s: %s (--dir takes another folder)", parent,
			strerror(errno));
	int n = snprintf(w->dir, sizeof(w->dir), "%s/stablefs-check-XXXXXX", found);
	if (n < 0 || (size_t)n >= sizeof(w->dir) || !mkdtemp(w->dir)) {
		w->dir[0] = '\0';
		return errmsg_set(why, -errno,
			"cannot make a folder in %s: %s (--dir takes another)", parent,
			strerror(errno));
	}
	snprintf(w->volume, sizeof(w->volume), "%s/vol", w->dir);
	snprintf(w->mountpoint, sizeof(w->mountpoint), "%s/mnt", w->dir);
	/* Programs that give up root, as servers do, must reach the mount. */
	if (mkdir(w->mountpoint, 0755) < 0 || chmod(w->dir, 0711) < 0)
		return errmsg_set(why, -errno, "%s: %s", w->mountpoint, strerror(errno));
	return 0;
}

int check_world_make_volume(struct check_world *w, struct shape *shape, struct errmsg *why)
{
	char *paths[] = {w->volume};
	int err = shape_make(shape, paths, 1, why);
	return err < 0 ? err : volume_paths_find(paths, 1, &w->members, why);
}

static int remove_volume(struct check_world *w, struct errmsg *why)
{
	for (unsigned i = 0; i < w->members.count; i++)
		if (unlink(w->members.paths[i]) < 0)
			return errmsg_set(why, -errno, "%s is left behind: %s", w->members.paths[i],
				strerror(errno));
	if (rmdir(w->volume) < 0 && errno != ENOENT)
		return errmsg_set(why, -errno, "%s is left behind: %s", w->volume, strerror(errno));
	return 0;
}

int check_world_free(struct check_world *w, bool keep, struct errmsg *why)
{
	if (!w->dir[0])
		return 0;
	keep = keep && w->members.count;
	int err = keep ? 0 : remove_volume(w, why);
	if (rmdir(w->mountpoint) < 0 && errno != ENOENT && !err)
		err = errmsg_set(
			why, -errno, "%s is left behind: %s", w->mountpoint, strerror(errno));
	if (!keep && !err && rmdir(w->dir) < 0)
		err = errmsg_set(why, -errno, "%s is left behind: %s", w->dir, strerror(errno));
	volume_paths_free(&w->members);
	return err;
}

/* ---- words ---- */

static char *replace_braces(const char *word, const char *path)
{
	size_t count = 0;
	for (const char *at = word; (at = strstr(at, "{}")); at += 2)
		count++;
	char *out = malloc(strlen(word) + count * strlen(path) + 1), *to = out;
	if (!out)
		return NULL;
	for (const char *at; (at = strstr(word, "{}")); word = at + 2) {
		to = mempcpy(to, word, (size_t)(at - word));
		to = stpcpy(to, path);
	}
	strcpy(to, word);
	return out;
}

char **check_words(char *const *words, const char *mountpoint)
{
	unsigned count = 0;
	while (words[count])
		count++;
	char **out = calloc(count + 1, sizeof(*out));
	for (unsigned i = 0; out && i < count; i++) {
		out[i] = replace_braces(words[i], mountpoint);
		if (!out[i]) {
			check_words_free(out);
			return NULL;
		}
	}
	return out;
}

void check_words_free(char **words)
{
	for (char **word = words; word && *word; word++)
		free(*word);
	free(words);
}
