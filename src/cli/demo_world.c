/* SPDX-License-Identifier: MIT */
/* The demo's scratch folder: one volume, one mount point, and this program's own verbs run as
 * separate processes, as a user would run them. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/demo.h"

#define DAEMON_END_TRIES 1000 /* of 10 ms */

extern char **environ;

struct demo_world {
	char dir[PATH_MAX], volume[PATH_MAX + 8], mountpoint[PATH_MAX + 8], log[PATH_MAX + 8];
	char self[PATH_MAX];
	bool mounted;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

bool demo_interrupted(void)
{
	return interrupted;
}

const char *demo_mountpoint(const struct demo_world *w)
{
	return w->mountpoint;
}

const char *demo_volume(const struct demo_world *w)
{
	return w->volume;
}

int demo_world_new(const char *parent, struct demo_world **out, struct errmsg *why)
{
	struct demo_world *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	ssize_t n = readlink("/proc/self/exe", w->self, sizeof(w->self) - 1);
	snprintf(w->dir, sizeof(w->dir), "%s/stablefs-demo-XXXXXX", parent);
	if (n < 0 || !mkdtemp(w->dir)) {
		int err = errmsg_set(why, -errno,
			"cannot make a folder in %s: %s (--dir takes another)", parent,
			strerror(errno));
		free(w);
		return err;
	}
	snprintf(w->volume, sizeof(w->volume), "%s/vol", w->dir);
	snprintf(w->mountpoint, sizeof(w->mountpoint), "%s/mnt", w->dir);
	snprintf(w->log, sizeof(w->log), "%s/log", w->dir);
	if (mkdir(w->mountpoint, 0755) < 0) {
		int err = errmsg_set(why, -errno, "%s: %s", w->mountpoint, strerror(errno));
		rmdir(w->dir);
		free(w);
		return err;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	struct sigaction act = {.sa_handler = on_signal};
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	*out = w;
	return 0;
}

/* ---- processes ---- */

/* Start @argv with its output to @out_fd (-1: dropped) and its messages to the log. */
static int spawn(struct demo_world *w, const char *const *argv, int out_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (out_fd >= 0)
		posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(
		&actions, STDERR_FILENO, w->log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int err =
		posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* The same as another user. The program is opened before, since its path need not be open to that
 * user; its descriptor is closed by the exec. */
static int spawn_as(
	struct demo_world *w, uid_t uid, const char *const *argv, int out_fd, pid_t *pid)
{
	cleanup(cleanup_closep) int self = open(w->self, O_RDONLY | O_CLOEXEC);
	cleanup(cleanup_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup(cleanup_closep) int log =
		open(w->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (self < 0 || null < 0 || log < 0)
		return -errno;
	*pid = fork();
	if (*pid)
		return *pid < 0 ? -errno : 0;
	dup2(null, STDIN_FILENO);
	dup2(out_fd >= 0 ? out_fd : null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 &&
		setresuid(uid, uid, uid) == 0 && chdir("/") == 0)
		fexecve(self, (char *const *)(uintptr_t)argv, environ);
	dprintf(STDERR_FILENO, "cannot run as user %u: %s\n", uid, strerror(errno));
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *slurp(int fd)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	char buf[16384];
	ssize_t n;
	while (out && ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			fwrite(buf, 1, (size_t)n, out);
	if (out)
		fclose(out);
	return text;
}

/* The last thing that a process said on stderr. */
static void last_message(struct demo_world *w, char *out, size_t size)
{
	cleanup(cleanup_closep) int fd = open(w->log, O_RDONLY | O_CLOEXEC);
	cleanup(cleanup_freep) char *text = fd >= 0 ? slurp(fd) : NULL;
	size_t len = text ? strlen(text) : 0;
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	snprintf(out, size, "%s", len ? text : "it said nothing");
}

/* @uid: 0: ours. */
static int run(struct demo_world *w, uid_t uid, const char *const *argv, int *status, char **output,
	struct errmsg *why)
{
	cleanup(cleanup_closep) int read_end = -1;
	cleanup(cleanup_closep) int write_end = -1;
	int fds[2];
	pid_t pid;
	if (output && pipe2(fds, O_CLOEXEC) == 0) {
		read_end = fds[0];
		write_end = fds[1];
	}
	int err = uid ? spawn_as(w, uid, argv, write_end, &pid) : spawn(w, argv, write_end, &pid);
	if (err < 0)
		return errmsg_set(why, err, "cannot run %s: %s", argv[0], strerror(-err));
	if (output) {
		close(take_fd(&write_end));
		*output = slurp(read_end);
	}
	int code = wait_for(pid);
	if (status)
		*status = code;
	if (code == 0 || (status && code != 1 && code != 2))
		return 0;
	char said[400];
	last_message(w, said, sizeof(said));
	return errmsg_set(why, -EIO, "%s %s failed (status %d): %s", argv[0], argv[1], code, said);
}

int demo_verb(struct demo_world *w, const char *const *argv, int *status, struct json_value **out,
	struct errmsg *why)
{
	return demo_verb_as(w, 0, argv, status, out, why);
}

int demo_verb_as(struct demo_world *w, uid_t uid, const char *const *argv, int *status,
	struct json_value **out, struct errmsg *why)
{
	const char *full[32] = {w->self};
	cleanup(cleanup_freep) char *text = NULL;
	for (unsigned i = 0; argv[i] && i < 30; i++)
		full[i + 1] = argv[i];
	int err = run(w, uid, full, status, out ? &text : NULL, why);
	if (err < 0 || !out)
		return err;
	return text ? json_parse(text, strlen(text), out, why) : -ENOMEM;
}

/* ---- mounting ---- */

int demo_mount(struct demo_world *w, const char *options, struct errmsg *why)
{
	const char *argv[] = {"mount", "-o", options, w->volume, w->mountpoint, NULL};
	int err = demo_verb(w, argv, NULL, NULL, why);
	w->mounted = err == 0;
	return err;
}

/* Daemons become this process's children when the mount verb that started them ends (see
 * demo_world_new). One has ended, with everything written, when it can be reaped. */
static int wait_for_daemon(struct demo_world *w, struct errmsg *why)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	for (int i = 0; i < DAEMON_END_TRIES; i++) {
		pid_t ended = waitpid(-1, NULL, WNOHANG);
		if (ended < 0 && errno == ECHILD)
			return 0;
		if (ended <= 0)
			nanosleep(&pause, NULL);
	}
	return errmsg_set(why, -EBUSY, "the daemon of %s does not end", w->volume);
}

int demo_unmount(struct demo_world *w, struct errmsg *why)
{
	if (!w->mounted)
		return 0;
	int err = 0;
	if (umount2(w->mountpoint, 0) < 0) {
		const char *argv[] = {"fusermount3", "-u", w->mountpoint, NULL};
		err = run(w, 0, argv, NULL, NULL, why);
	}
	if (err < 0)
		return err;
	w->mounted = false;
	return wait_for_daemon(w, why);
}

/* ---- files ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int demo_remove_volume(struct demo_world *w, struct errmsg *why)
{
	if (nftw(w->volume, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
		errno != ENOENT)
		return errmsg_set(why, -errno, "cannot remove %s: %s", w->volume, strerror(errno));
	return 0;
}

/* The folders on the way must let others pass, too. */
int demo_open_to_others(struct demo_world *w, struct errmsg *why)
{
	if (chmod(w->dir, 0711) < 0)
		return errmsg_set(why, -errno, "%s: %s", w->dir, strerror(errno));
	char path[PATH_MAX];
	if (!realpath(w->dir, path))
		return errmsg_set(why, -errno, "%s: %s", w->dir, strerror(errno));
	for (char *slash; (slash = strrchr(path, '/')) && slash != path;) {
		struct stat st;
		*slash = '\0';
		if (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH))
			return errmsg_set(why, -EACCES,
				"%s cannot be entered by other users (--dir takes another folder)",
				path);
	}
	return 0;
}

int demo_hide_member(struct demo_world *w, unsigned index, struct errmsg *why)
{
	char from[PATH_MAX + 32], to[PATH_MAX + 32];
	snprintf(from, sizeof(from), "%s/member-%u", w->volume, index);
	snprintf(to, sizeof(to), "%s/gone-%u", w->volume, index);
	if (rename(from, to) < 0)
		return errmsg_set(why, -errno, "%s: %s", from, strerror(errno));
	return 0;
}

int demo_control(
	struct demo_world *w, const char *name, struct json_value **out, struct errmsg *why)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/.stablefs/%s", w->mountpoint, name);
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	cleanup(cleanup_freep) char *text = slurp(fd);
	return text ? json_parse(text, strlen(text), out, why) : -ENOMEM;
}

void demo_world_free(struct demo_world *w)
{
	if (!w)
		return;
	if (w->mounted && demo_unmount(w, NULL) < 0) {
		umount2(w->mountpoint, MNT_DETACH);
		wait_for_daemon(w, NULL);
	}
	demo_remove_volume(w, NULL);
	nftw(w->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(w);
}
