/* SPDX-License-Identifier: MIT */
/* A volume is served at its mount point, in the foreground or by a daemon.
 *
 *	mount_job_find -> (fork) -> serve_volume
 *
 * In the background the first process waits until the mount is usable and returns; the daemon's
 * messages up to then go to the same terminal, later ones to the system log. */
#include "cli/mount_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cache_size.h"
#include "cli/cli.h"
#include "cli/mount_record.h"
#include "cli/remount.h"
#include "cli/serve.h"

struct daemon {
	struct mount_job *job;
	struct remount *remount; /* owned */
	int ready_fd;            /* tells the first process; -1 in the foreground */
	bool ready;              /* it has been told: messages go to the log from now on */
};

static void report_to_parent(struct daemon *d, unsigned char status)
{
	if (d->ready_fd < 0)
		return;
	ssize_t n = write(d->ready_fd, &status, 1);
	(void)n; /* nobody waits any more: then nobody minds */
	close(take_fd(&d->ready_fd));
}

static void leave_terminal(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null_fd >= 0 && fd < 3; fd++)
		dup2(null_fd, fd);
	if (null_fd > 2)
		close(null_fd);
	if (chdir("/") < 0)
		log_warn("cannot leave the current directory: %s", strerror(errno));
}

static void record(const struct mount_job *j)
{
	mount_record_helper(j->options.fsname, j->options.subtype, j->mountpoint);
}

static void on_ready(void *ctx)
{
	struct daemon *d = ctx;
	d->ready = true;
	if (d->ready_fd < 0) {
		record(d->job);
		fprintf(stderr, "stablefs: mounted at %s\n", d->job->mountpoint);
		return;
	}
	report_to_parent(d, CLI_DONE);
	log_to_syslog(true);
	leave_terminal();
}

static int on_remount(
	void *ctx, const struct serve_world *world, const char *line, struct errmsg *why)
{
	struct daemon *d = ctx;
	return remount_answer(d->remount, world, line, why);
}

/* Faults are to be met: so where they can be injected, writes read what they need. */
static uint64_t cache_bytes(const struct mount_options *o)
{
	if (o->cache_bytes != MOUNT_CACHE_BY_MEMORY)
		return o->cache_bytes;
	return o->inject ? 0 : cache_size_default();
}

static struct serve_config config_of(struct daemon *d)
{
	const struct mount_options *o = &d->job->options;
	return (struct serve_config){.front = {.mountpoint = d->job->mountpoint,
					     .dio = o->dio,
					     .hold_ns = o->hold_ns,
					     .dio_weaken = o->dio_weaken,
					     .dio_align = o->dio_align,
					     .event_rate = o->event_rate,
					     .read_only = o->read_only,
					     .allow_other = o->allow_other,
					     .write_through = o->write_through,
					     .exact_times = o->exact_times,
					     .awake = o->awake,
					     .workers = o->workers,
					     .fsname = o->fsname,
					     .subtype = o->subtype,
					     .mount_flags = o->flags},
		.paths = &d->job->paths,
		.no_recovery = o->no_recovery,
		.degraded = o->degraded,
		.commit_ns = o->commit_ns,
		.member_timeout_ns = o->member_timeout_ns,
		.max_errors = o->max_errors,
		.background_rate = o->background_rate,
		.cache_bytes = cache_bytes(o),
		.scrub_every_ns = o->scrub_every_ns,
		.inject = o->inject,
		.inject_first = o->inject_first,
		.remount = on_remount,
		.ready = on_ready,
		.ctx = d};
}

static int serve(struct daemon *d)
{
	struct errmsg why = {0};
	int err = remount_new(&d->job->options, &d->remount);
	if (!err) {
		struct serve_config config = config_of(d);
		err = serve_volume(&config, &why);
	}
	if (err < 0) {
		if (d->ready)
			log_error("%s: %s", d->job->mountpoint,
				why.text[0] ? why.text : strerror(-err));
		else
			cli_fail(err, &why);
	}
	report_to_parent(d, err < 0 ? CLI_FAILED : CLI_DONE);
	remount_free(d->remount);
	return err < 0 ? CLI_FAILED : CLI_DONE;
}

/* ---- the background ---- */

static int wait_until_ready(pid_t child, int fd)
{
	unsigned char status;
	ssize_t n;
	while ((n = read(fd, &status, 1)) < 0 && errno == EINTR)
		;
	if (n == 1 && status == CLI_DONE)
		return CLI_DONE;
	int how = 0;
	waitpid(child, &how, 0);
	if (n == 1)
		return status;
	struct errmsg why = {0};
	if (WIFSIGNALED(how))
		errmsg_set(&why, -EIO, "the daemon was ended by signal %d", WTERMSIG(how));
	return cli_fail(-EIO, &why);
}

static int run_in_background(struct daemon *d)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return cli_fail(-errno, NULL);
	pid_t child = fork();
	if (child < 0)
		return cli_fail(-errno, NULL);
	if (child > 0) {
		close(fds[1]);
		int status = wait_until_ready(child, fds[0]);
		if (status == CLI_DONE)
			record(d->job);
		return status;
	}
	close(fds[0]);
	d->ready_fd = fds[1];
	setsid();
	/* The verb ends here: the daemon must not run what its parent's main still has to do. */
	exit(serve(d));
}

int mount_job_run(struct mount_job *j)
{
	struct daemon d = {.job = j, .ready_fd = -1};
	if (j->check_only)
		return CLI_DONE;
	return j->foreground ? serve(&d) : run_in_background(&d);
}

void mount_job_release(struct mount_job *j)
{
	volume_paths_free(&j->paths);
}
