/* SPDX-License-Identifier: MIT */
/* Mounting and its opposite: what can be wrong with the place is said before anything is done, and
 * nothing is left behind where it fails. Owner thread: the one that runs the front. */
#include "fuse/internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "fuse/patience.h"

#define SUBTYPE     "stablefs"
#define NOSYMFOLLOW 256ul /* MS_NOSYMFOLLOW of mount(2), since Linux 5.10 */

extern char **environ;

/* ---- libfuse's messages ---- */

static struct {
	pthread_mutex_t lock;
	struct errmsg *why; /* NULL: to the log */
} capture = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void log_line(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512];
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	const char *text = strncmp(line, "fuse: ", 6) ? line : line + 6;
	pthread_mutex_lock(&capture.lock);
	struct errmsg *why = capture.why;
	if (why)
		errmsg_set(why, 0, "%s", text);
	pthread_mutex_unlock(&capture.lock);
	if (!why)
		log_message(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "%s", text);
}

void mount_capture_log(struct errmsg *why)
{
	pthread_mutex_lock(&capture.lock);
	capture.why = why;
	pthread_mutex_unlock(&capture.lock);
	fuse_set_log_func(log_line);
}

/* ---- /proc/self/mountinfo (proc(5)) ---- */

struct mount_info {
	uint64_t dev;
	char type[64]; /* "fuse.stablefs"; "": nothing is mounted there */
};

/* "\040" and the like, in place. */
static void unescape_octal(char *s)
{
	char *out = s;
	for (; *s; out++) {
		unsigned c;
		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*out = (char)c;
			s += 4;
		} else {
			*out = *s++;
		}
	}
	*out = '\0';
}

/* The last, which is the topmost, mount at @path, an absolute path without links. */
static void mount_info_find(const char *path, struct mount_info *out)
{
	*out = (struct mount_info){0};
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	while (f && getline(&line, &room, f) > 0) {
		cleanup(cleanup_freep) char *point = NULL;
		unsigned major, minor;
		const char *type = strstr(line, " - ");
		if (sscanf(line, "%*d %*d %u:%u %*s %ms", &major, &minor, &point) != 3 || !type)
			continue;
		unescape_octal(point);
		if (strcmp(point, path))
			continue;
		out->dev = makedev(major, minor);
		sscanf(type, " - %63s", out->type);
	}
	free(line);
	if (f)
		fclose(f);
}

/* Under another name (subtype=) it is known by the files that it has. */
static bool is_ours(const struct mount_info *there, const char *path)
{
	char file[PATH_MAX + sizeof("/" FRONT_CONTROL_NAME "/query")];
	if (!strcmp(there->type, "fuse." SUBTYPE))
		return true;
	if (strcmp(there->type, "fuse") != 0 && strncmp(there->type, "fuse.", 5) != 0)
		return false;
	snprintf(file, sizeof(file), "%s/" FRONT_CONTROL_NAME "/query", path);
	return access(file, F_OK) == 0;
}

/* ---- before ---- */

static int check_place(const char *path, struct errmsg *why)
{
	struct stat st;
	char full[PATH_MAX];
	struct statfs asked;
	/* The kernel may know enough of a dead mount to answer stat(2), but not this. */
	if (stat(path, &st) < 0 || !realpath(path, full) || statfs(path, &asked) < 0) {
		int err = -errno;
		if (err == -ENOENT)
			return errmsg_set(why, err, "%s does not exist", path);
		if (err == -ENOTCONN)
			return errmsg_set(why, err,
				"%s is a mount whose daemon has died; remove it with: umount -l %s",
				path, path);
		return errmsg_set(why, err, "%s: %s", path, strerror(-err));
	}
	if (!S_ISDIR(st.st_mode))
		return errmsg_set(why, -ENOTDIR, "%s is not a directory", path);
	struct mount_info there;
	mount_info_find(full, &there);
	if (is_ours(&there, full))
		return errmsg_set(why, -EBUSY, "%s has a stablefs mounted already", path);
	return 0;
}

static int check_device(struct errmsg *why)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == EACCES || errno == EPERM)
		return errmsg_set(why, -EACCES,
			"/dev/fuse: %s; users need it with mode 0666, and "
			"a container needs the device passed in",
			strerror(errno));
	return errmsg_set(
		why, -ENODEV, "/dev/fuse: %s; load it with: modprobe fuse", strerror(errno));
}

static bool is_in_path(const char *program)
{
	const char *path = getenv("PATH");
	cleanup(cleanup_freep) char *dirs = strdup(path ? path : "/usr/bin:/bin");
	char *rest = dirs;
	for (char *dir; dirs && (dir = strsep(&rest, ":"));) {
		char file[PATH_MAX];
		snprintf(file, sizeof(file), "%s/%s", dir, program);
		if (!access(file, X_OK))
			return true;
	}
	return !access("/usr/bin/fusermount3", X_OK);
}

int mount_check(const char *path, struct errmsg *why)
{
	int err = check_place(path, why);
	if (!err)
		err = check_device(why);
	if (!err && geteuid() != 0 && !is_in_path("fusermount3"))
		err = errmsg_set(why, -ENOENT,
			"fusermount3, by which users mount, is missing; "
			"install the package fuse3, or mount as root");
	return err;
}

/* ---- mounting ---- */

static int add_named(char **list, const char *name, const char *value)
{
	cleanup(cleanup_freep) char *text = NULL;
	if (asprintf(&text, "%s=%s", name, value) < 0) {
		text = NULL;
		return -1;
	}
	return fuse_opt_add_opt_escaped(list, text);
}

/* Those that libfuse and fusermount3 know; libfuse means nosuid,nodev where neither is said. */
static int add_flags(char **list, unsigned long flags)
{
	static const struct {
		unsigned long flag;
		const char *set, *clear;
	} words[] = {{MS_NOSUID, "nosuid", "suid"}, {MS_NODEV, "nodev", "dev"},
		{MS_NOEXEC, "noexec", NULL}, {MS_SYNCHRONOUS, "sync", NULL},
		{MS_DIRSYNC, "dirsync", NULL}, {MS_NOATIME, "noatime", NULL}};
	int err = 0;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *word = flags & words[i].flag ? words[i].set : words[i].clear;
		if (word)
			err |= fuse_opt_add_opt(list, word);
	}
	return err;
}

/* The rest. The file system's own rules of times do not depend on these: they are what others are
 * shown, and nosymfollow. */
static int set_flags(const struct front *f, struct errmsg *why)
{
	const unsigned long more = MS_NODIRATIME | MS_STRICTATIME | MS_LAZYTIME | NOSYMFOLLOW;
	unsigned long flags = f->options->mount_flags;
	if (!(flags & more) || geteuid() != 0)
		return 0;
	flags |= MS_REMOUNT | (f->options->read_only ? MS_RDONLY : 0);
	if (mount("none", f->mountpoint, NULL, flags, NULL) == 0)
		return 0;
	return errmsg_set(why, -errno, "%s: its flags: %s", f->mountpoint, strerror(errno));
}

static int add_options(const struct front_options *o, char **list)
{
	char max_read[32];
	const char *type = o->subtype ? o->subtype : SUBTYPE;
	snprintf(max_read, sizeof(max_read), "max_read=%u", BUFFER_PAYLOAD_BYTES);
	int err = add_named(list, "fsname", o->fsname ? o->fsname : SUBTYPE);
	if (*type)
		err |= add_named(list, "subtype", type);
	err |= fuse_opt_add_opt(list, "default_permissions");
	err |= fuse_opt_add_opt(list, max_read);
	if (o->allow_other)
		err |= fuse_opt_add_opt(list, "allow_other");
	if (o->read_only)
		err |= fuse_opt_add_opt(list, "ro");
	return err || add_flags(list, o->mount_flags) ? -ENOMEM : 0;
}

static int session_make(struct front *f, struct errmsg *why)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	cleanup(cleanup_freep) char *list = NULL;
	int err = add_options(f->options, &list);
	if (!err && (fuse_opt_add_arg(&args, "stablefs") || fuse_opt_add_arg(&args, "-o") ||
			    fuse_opt_add_arg(&args, list)))
		err = -ENOMEM;
	if (!err) {
		f->session = fuse_session_new(&args, &front_ops, sizeof(front_ops), f);
		if (!f->session)
			err = errmsg_set(why, -EINVAL, "the mount options are not understood");
	}
	fuse_opt_free_args(&args);
	return err;
}

static void session_drop(struct front *f)
{
	if (f->session)
		fuse_session_destroy(f->session);
	f->session = NULL;
}

int mount_attach(struct front *f, struct errmsg *why)
{
	static const struct fuse_custom_io io = {.read = wire_read, .writev = wire_writev};
	struct mount_info info;
	mount_capture_log(why);
	int err = session_make(f, why);
	/* The path as it is before: a look at it later would ask us, who do not serve yet. */
	if (!err && !realpath(f->options->mountpoint, f->mountpoint))
		err = -errno;
	if (!err && fuse_session_mount(f->session, f->mountpoint))
		err = errmsg_set(why, -EPERM, "mounting on %s failed", f->mountpoint);
	bool mounted = !err;
	if (!err)
		err = set_flags(f, why);
	if (!err && fuse_session_custom_io(f->session, &io, fuse_session_fd(f->session)))
		err = errmsg_set(why, -ENOMEM, "out of memory");
	if (err < 0 && mounted)
		fuse_session_unmount(f->session);
	mount_capture_log(NULL);
	if (err < 0) {
		session_drop(f);
		return err;
	}
	mount_info_find(f->mountpoint, &info);
	f->mount_dev = info.dev;
	guard_start(&f->guard, f->mount_dev);
	return 0;
}

/* ---- the end ---- */

static void run_fusermount(const char *mountpoint)
{
	const char *argv[] = {"fusermount3", "-u", "-z", "-q", "--", mountpoint, NULL};
	pid_t pid;
	int status;
	if (!posix_spawnp(&pid, argv[0], NULL, NULL, (char **)argv, environ))
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
}

/* syncfs(2), by a process that does not have /dev/fuse: it waits for what our workers serve, and
 * cannot be killed meanwhile. Were it one of our threads, we could not be killed either. */
static void write_back(const char *mountpoint)
{
	int status = 0;
	pid_t pid = vfork();
	if (!pid) {
		close_range(0, ~0U, 0);
		int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_exit(fd >= 0 && syncfs(fd) < 0 ? errno : 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		log_warn("%s: writing back: %s", mountpoint, strerror(WEXITSTATUS(status)));
}

void mount_detach(struct front *f)
{
	const char *mountpoint = f->mountpoint;
	/* Those who keep it busy lose it: what they have written must not go with it. */
	write_back(mountpoint);
	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno == EPERM)
		run_fusermount(mountpoint);
}

/* libfuse leaves the mount point alone where its descriptor polls as broken: it was unmounted
 * already, and something else may be mounted there now. A pipe without a reader is broken, too. */
void mount_sever(struct front *f)
{
	int ends[2];
	if (!f->session)
		return;
	if (!pipe2(ends, O_CLOEXEC)) {
		close(ends[0]);
		dup3(ends[1], fuse_session_fd(f->session), O_CLOEXEC);
		close(ends[1]);
	}
	/* It may have waited for this very mount; its calls fail now, its answers go nowhere. */
	syncer_free(f->pusher);
	f->pusher = NULL;
	patience_free(f->patience);
	f->patience = NULL;
	fuse_session_unmount(f->session);
	session_drop(f);
	guard_stop(&f->guard);
}
