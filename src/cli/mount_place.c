/* SPDX-License-Identifier: MIT */
/* Which volume, and where: what can be said of both before anything is opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/mount_holder.h"
#include "cli/mount_run.h"

/* ---- the words that stand for a volume ---- */

static int add_word(char ***words, unsigned *count, const char *start, size_t len)
{
	char **more = realloc(*words, (*count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	*words = more;
	char *word = strndup(start, len), *to = word;
	if (!word)
		return -ENOMEM;
	for (const char *from = word; *from; from++) {
		from += from[0] == '\\' && from[1] == ':';
		*to++ = *from;
	}
	*to = '\0';
	more[(*count)++] = word;
	return 0;
}

/* How long the name is that begins here: to the next colon that is not part of it. */
static size_t name_len(const char *text)
{
	size_t len = 0;
	while (text[len] && text[len] != ':')
		len += text[len] == '\\' && text[len + 1] == ':' ? 2 : 1;
	return len;
}

int mount_split_source(const char *source, char ***words, unsigned *count)
{
	int err = 0;
	*words = NULL;
	*count = 0;
	if (access(source, F_OK) == 0)
		return add_word(words, count, source, strlen(source));
	for (const char *at = source; !err && *at;) {
		size_t len = name_len(at);
		if (len)
			err = add_word(words, count, at, len);
		at += len + (at[len] == ':');
	}
	return err;
}

/* The daemon leaves this directory: its paths must not depend on it. */
static int make_absolute(struct volume_paths *p, struct errmsg *why)
{
	for (unsigned i = 0; i < p->count; i++) {
		char *full = realpath(p->paths[i], NULL);
		if (!full)
			return errmsg_set(why, -errno, "%s: %s", p->paths[i], strerror(errno));
		free(p->paths[i]);
		p->paths[i] = full;
	}
	return 0;
}

/* What mount(8) lists as the source: the words as they can be given to it again, absolute. */
static void name_source(struct mount_job *j, char *const *words, unsigned count)
{
	char *name = j->options.fsname;
	size_t room = sizeof(j->options.fsname), len = 0;
	for (unsigned i = 0; i < count && len < room; i++) {
		char full[PATH_MAX];
		const char *word = realpath(words[i], full) ? full : words[i];
		len += (size_t)snprintf(name + len, room - len, "%s%s", i ? ":" : "", word);
	}
}

/* ---- the place ---- */

static int find_mountpoint(struct mount_job *j, const char *path, struct errmsg *why)
{
	struct stat st;
	if (stat(path, &st) < 0 || !realpath(path, j->mountpoint))
		return errmsg_set(why, -errno, "the mount point %s: %s%s", path, strerror(errno),
			errno == ENOENT     ? " (make it with mkdir)"
			: errno == ENOTCONN ? " (a dead mount is there: umount -l it)"
					    : "");
	if (!S_ISDIR(st.st_mode))
		return errmsg_set(why, -ENOTDIR, "the mount point %s is not a directory", path);
	return 0;
}

static bool lies_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	return !strcmp(dir, "/") || (!strncmp(path, dir, len) && path[len] == '/');
}

/* Members are opened again while it is mounted (a spare, one that comes back): by then their names
 * would lead into the mount itself, whose daemon would wait for itself. */
static int check_not_hidden(const struct mount_job *j, struct errmsg *why)
{
	for (unsigned i = 0; i < j->paths.count; i++)
		if (lies_below(j->paths.paths[i], j->mountpoint))
			return errmsg_set(why, -EINVAL,
				"the mount point %s would hide the volume's own member %s",
				j->mountpoint, j->paths.paths[i]);
	return 0;
}

/* ---- is it mounted somewhere? ---- */

static bool is_locked(const char *member)
{
	cleanup(cleanup_closep) int fd = open(member, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* A daemon that is about to end is waited for by who opens the members; one that serves is not. */
static int check_not_mounted(const struct mount_job *j, struct errmsg *why)
{
	char where[PATH_MAX];
	for (unsigned i = 0; i < j->paths.count; i++) {
		const char *member = j->paths.paths[i];
		if (is_locked(member) && mount_holder_find(member, where))
			return errmsg_set(why, -EBUSY, "%s is in use: its volume is mounted at %s",
				member, where);
	}
	return 0;
}

int mount_job_find(struct mount_job *j, char *const *words, unsigned count, const char *mountpoint,
	struct errmsg *why)
{
	int err = find_mountpoint(j, mountpoint, why);
	if (!err)
		err = volume_paths_find(words, count, &j->paths, why);
	if (!err)
		err = make_absolute(&j->paths, why);
	if (!err)
		err = check_not_hidden(j, why);
	if (!err)
		err = check_not_mounted(j, why);
	if (!err && !j->options.fsname[0])
		name_source(j, words, count);
	return err;
}
