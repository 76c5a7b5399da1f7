/* SPDX-License-Identifier: MIT */
/* The guard: a fork that holds nothing but the abort file of the connection. */
#include "fuse/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"

/* Nobody else sends this one: a guard shares no process group with anybody. */
#define DEATH_SIGNAL (SIGRTMAX - 1)

/* The control filesystem without a place in the tree: it is seldom mounted in containers. */
static int mount_control(void)
{
	int fs = fsopen("fusectl", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int dir = -1;
	if (!fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		dir = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return dir;
}

/* The file that ends the connection when it is written to; -1: there is none for us. */
static int open_abort(uint64_t dev)
{
	char path[96];
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(dev));
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int dir = mount_control();
	if (dir < 0)
		return -1;
	snprintf(path, sizeof(path), "%u/abort", minor(dev));
	fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	close(dir);
	return fd;
}

/* In the new process, of which other threads' locks are no part: system calls alone, without what a
 * sanitizer puts in front of them. Every signal is blocked. */
static void stand_guard(int abort_fd, pid_t daemon)
{
	sigset_t death;
	sigemptyset(&death);
	sigaddset(&death, DEATH_SIGNAL);
	setsid(); /* whoever ends the daemon's process group is to leave us to our work */
	syscall(SYS_prctl, PR_SET_PDEATHSIG, DEATH_SIGNAL, 0, 0, 0);
	syscall(SYS_prctl, PR_SET_NAME, "stablefs-guard", 0, 0, 0);
	/* Else /dev/fuse and the members would be ours, too. */
	if (abort_fd > 0)
		close_range(0, (unsigned)abort_fd - 1, 0);
	close_range((unsigned)abort_fd + 1, ~0U, 0);
	if (getppid() == daemon)
		while (syscall(SYS_rt_sigtimedwait, &death, NULL, NULL, _NSIG / 8) < 0)
			;
	syscall(SYS_write, abort_fd, "1", 1);
	syscall(SYS_exit_group, 0);
}

/* A fork that says nothing when it ends: whoever waits for any child of the daemon's process, which
 * `run` and `check` do, does not meet it (wait(2), __WCLONE). */
static pid_t fork_unheard(void)
{
	return (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
}

void guard_start(struct guard *g, uint64_t dev)
{
	sigset_t all, old;
	g->pid = 0;
	int abort_fd = dev ? open_abort(dev) : -1;
	if (abort_fd < 0)
		return;
	pid_t daemon = getpid();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork_unheard();
	if (!pid)
		stand_guard(abort_fd, daemon);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(abort_fd);
	if (pid < 0)
		log_warn("no process to guard the mount: a kill may leave it hanging");
	else
		g->pid = pid;
}

void guard_stop(struct guard *g)
{
	if (g->pid <= 0)
		return;
	kill(g->pid, SIGKILL);
	while (waitpid(g->pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	g->pid = 0;
}
