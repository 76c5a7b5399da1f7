/* SPDX-License-Identifier: MIT */
/* The child is forked early, while there is one thread, and waits for the word:
 *
 *	parent                          child
 *	launch_new: fork                waits
 *	launch_go: "go"         ->      chdir, follow_install()
 *	                        <-      the listener, or why there is none
 *	follower_start()                execvp()
 *	                        <-      end of file: it runs; or why it does not */
#include "cli/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define KILL_ROUND_MS 20

struct launch {
	pid_t pid;
	int socket;                /* owned */
	int signals;               /* owned: a signalfd */
	int table;                 /* borrowed from the follower; -1: none */
	struct follower *follower; /* owned */
	char unfollowed[160];      /* "": it is followed */
	bool ended, reported, alone;
	int status; /* as a shell has it */
};

/* What the child says. */
struct note {
	enum { NOTE_FOLLOWED, NOTE_UNFOLLOWED, NOTE_NO_DIR, NOTE_NO_EXEC } kind;
	int err; /* errno */
};

/* ---- the child ---- */

static void send_note(int sock, struct note note, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {&note, sizeof(note)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

_Noreturn static void fail_child(int sock, int kind)
{
	send_note(sock, (struct note){kind, errno}, -1);
	_exit(127);
}

/* Replaces the child by CMD. @file: what to run; argv[0] stays what was given. */
_Noreturn static void run_child(
	int sock, const struct launch_config *config, const char *file, const sigset_t *mask)
{
	char go;
	if (recv(sock, &go, 1, 0) != 1)
		_exit(127); /* the parent gave up, or is gone */
	if (config->dir && chdir(config->dir) < 0)
		fail_child(sock, NOTE_NO_DIR);
	if (config->out_fd >= 0 && dup2(config->out_fd, STDOUT_FILENO) < 0)
		fail_child(sock, NOTE_NO_EXEC);
	int listener = follow_install();
	if (listener >= 0)
		send_note(sock, (struct note){NOTE_FOLLOWED, 0}, listener);
	else
		send_note(sock, (struct note){NOTE_UNFOLLOWED, -listener}, -1);
	if (listener >= 0)
		close(listener);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(file, config->argv);
	fail_child(sock, NOTE_NO_EXEC);
}

/* ---- making it ---- */

/* A path that counts from this directory, although the program starts in another one. */
static int find_file(const char *name, char *out, size_t room, struct errmsg *why)
{
	char here[PATH_MAX];
	bool relative = name[0] != '/' && strchr(name, '/');
	if (relative && !getcwd(here, sizeof(here)))
		return errmsg_set(why, -errno, "the current directory: %s", strerror(errno));
	int n = snprintf(out, room, "%s%s%s", relative ? here : "", relative ? "/" : "", name);
	return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

static int block_signals(struct launch *l, sigset_t *before)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
	sigset_t set;
	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0 || pthread_sigmask(SIG_BLOCK, &set, before))
		return -errno;
	return 0;
}

static int make_child(struct launch *l, const struct launch_config *config, struct errmsg *why)
{
	char file[2 * PATH_MAX];
	int sockets[2];
	sigset_t before;
	int err = find_file(config->argv[0], file, sizeof(file), why);
	if (!err)
		err = block_signals(l, &before);
	if (err < 0)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	fflush(NULL);
	l->pid = fork();
	if (l->pid == 0) {
		close(sockets[0]);
		run_child(sockets[1], config, file, &before);
	}
	err = l->pid < 0 ? -errno : 0;
	close(sockets[1]);
	l->socket = sockets[0];
	return err;
}

int launch_new(const struct launch_config *config, struct launch **out, struct errmsg *why)
{
	struct launch *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->socket = l->signals = l->table = -1;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int err = make_child(l, config, why);
	if (!err)
		err = follower_new(&l->table, &l->follower);
	if (err < 0) {
		launch_free(l);
		return errmsg_set(why, err, "cannot make a process: %s", strerror(-err));
	}
	*out = l;
	return 0;
}

int launch_table(const struct launch *l)
{
	return l->table;
}

const char *launch_unfollowed(const struct launch *l)
{
	return l->unfollowed[0] ? l->unfollowed : NULL;
}

struct follow_stats launch_follow_stats(const struct launch *l)
{
	return follower_stats(l->follower);
}

/* ---- letting it run ---- */

/* 1: a note, 0: the end of file. *@fd: what came with it, or -1. */
static int receive_note(int sock, struct note *note, int *fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {note, sizeof(*note)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n;
	*fd = -1;
	while ((n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(head), sizeof(*fd));
	return n == (ssize_t)sizeof(*note) ? 1 : n == 0 ? 0 : -EPROTO;
}

static void say_unfollowed(struct launch *l, int err)
{
	const char *reason = err == EBUSY ? "somebody else follows them already"
			     : err == ENOSYS || err == EINVAL
				     ? "this kernel has no user notifications of seccomp"
				     : strerror(err);
	snprintf(l->unfollowed, sizeof(l->unfollowed), "%s", reason);
}

static void follow(struct launch *l, const struct note *note, int listener)
{
	int err = listener >= 0 ? -follower_start(l->follower, listener) : note->err;
	if (err)
		say_unfollowed(l, err);
}

static int explain_failure(const struct note *note, struct errmsg *why)
{
	if (note->kind == NOTE_NO_DIR)
		return errmsg_set(why, -note->err, "the working directory of the program: %s",
			strerror(note->err));
	return errmsg_set(why, -note->err, "cannot run the program: %s", strerror(note->err));
}

int launch_go(struct launch *l, struct errmsg *why)
{
	struct note note = {0};
	int listener;
	if (send(l->socket, "g", 1, MSG_NOSIGNAL) != 1)
		return errmsg_set(why, -errno, "the program's process: %s", strerror(errno));
	int got = receive_note(l->socket, &note, &listener);
	if (got == 1 && note.kind != NOTE_NO_DIR) {
		follow(l, &note, listener);
		got = receive_note(l->socket, &note, &listener);
	}
	close(take_fd(&l->socket));
	return got == 0 ? 0 : explain_failure(&note, why);
}

/* ---- waiting ---- */

/* Children that have ended are waited for. False: there is none left, ended or not. */
static bool reap(struct launch *l)
{
	int how;
	pid_t pid;
	while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
		if (pid != l->pid)
			continue;
		l->ended = true;
		l->status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
	}
	return pid == 0 || errno != ECHILD;
}

/* Our children: their pids are theirs until reap(). Calls @each on them. */
static void each_child(void (*each)(pid_t pid, int arg), int arg)
{
	DIR *proc = opendir("/proc");
	for (struct dirent *e; proc && (e = readdir(proc));) {
		char path[64], text[512];
		pid_t pid = atoi(e->d_name), parent = 0;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		cleanup(cleanup_closep) int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		const char *at = strrchr(text, ')');
		if (at && sscanf(at + 1, " %*c %d", &parent) == 1 && parent == getpid())
			each(pid, arg);
	}
	if (proc)
		closedir(proc);
}

static void send_signal(pid_t pid, int number)
{
	kill(pid, number);
}

static void pass_on(struct launch *l, const struct signalfd_siginfo *info)
{
	if (info->ssi_code == SI_KERNEL)
		return; /* the terminal's: it has sent it to the whole group */
	if (l->ended)
		each_child(send_signal, (int)info->ssi_signo);
	else
		kill(l->pid, (int)info->ssi_signo);
}

/* True where a signal came that was passed on. */
static bool take_signals(struct launch *l)
{
	struct signalfd_siginfo info;
	bool passed = false;
	while (read(l->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		pass_on(l, &info);
		passed = true;
	}
	return passed;
}

enum launch_event launch_next(struct launch *l, int timeout_ms)
{
	struct pollfd fd = {.fd = l->signals, .events = POLLIN};
	uint64_t begun_ns = clock_monotonic_ns();
	for (;;) {
		if (!l->alone)
			l->alone = !reap(l);
		if (l->alone)
			return LAUNCH_ALL_ENDED;
		if (l->ended && !l->reported) {
			l->reported = true;
			return LAUNCH_CMD_ENDED;
		}
		int64_t passed_ms = (int64_t)((clock_monotonic_ns() - begun_ns) / NS_PER_MS);
		if (timeout_ms >= 0 && passed_ms >= timeout_ms)
			return LAUNCH_TIMEOUT;
		poll(&fd, 1, timeout_ms < 0 ? -1 : (int)(timeout_ms - passed_ms));
		if (take_signals(l))
			return LAUNCH_SIGNALED;
	}
}

int launch_status(const struct launch *l)
{
	return l->status;
}

bool launch_kill(struct launch *l, int timeout_ms)
{
	/* The children of those who end become ours, so once is not enough. */
	for (int left_ms = timeout_ms; left_ms >= 0; left_ms -= KILL_ROUND_MS) {
		each_child(send_signal, SIGKILL);
		for (enum launch_event event = LAUNCH_SIGNALED; event != LAUNCH_TIMEOUT;)
			if ((event = launch_next(l, KILL_ROUND_MS)) == LAUNCH_ALL_ENDED)
				return true;
	}
	return false;
}

void launch_free(struct launch *l)
{
	if (!l)
		return;
	if (l->socket >= 0)
		close(l->socket); /* a child that waits for the word ends */
	if (l->pid > 0 && !l->alone)
		launch_kill(l, 1000);
	follower_free(l->follower);
	if (l->signals >= 0)
		close(l->signals);
	free(l);
}
