/* SPDX-License-Identifier: MIT */
/* stablefs run: start a program whose direct I/O, with that of all that descend from it, has a
 * policy of its own on mounted volumes; and let their daemons see its libaio submissions.
 *
 *	launch_new -> a line to /.stablefs/run of each mount -> launch_go -> all have ended
 *
 * The daemons believe what the line says for as long as its descriptor is open. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/mounts.h"
#include "cli/target.h"
#include "inflight/policy.h"

static const char usage[] =
	"Usage: stablefs run [OPTION]... [--] CMD [ARGUMENT]...\n"
	"Run CMD with a policy of its own for its direct I/O on mounted volumes, and let their\n"
	"daemons see what it submits by libaio. Returns when CMD and all that it started have\n"
	"ended, with the exit status of CMD.\n\n"
	"  --dio=POLICY         bounce, zerocopy, buffered, refuse, detect, verify or adaptive\n"
	"                       (default: what the mount and its files say)\n"
	"  --mount MOUNTPOINT   a stablefs that this is for; may be repeated (default: those of\n"
	"                       the current directory and of the paths among CMD's arguments)\n"
	"  -h, --help           this text\n\n"
	"Exit status: that of CMD (128 and the signal that ended it); 126 or 127 where CMD cannot\n"
	"be run, 1 where the mounts cannot be told, 2 usage.\n";

#define CONTROL_FILE "/.stablefs/run"

enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct run_args {
	bool has_policy;
	enum dio_policy policy;
	struct mounts mounts; /* owned */
	char *const *cmd;
};

/* ---- which mounts ---- */

static int take_mount(struct run_args *a, const char *path)
{
	char full[PATH_MAX];
	struct mounts found = {0};
	if (!realpath(path, full))
		return cli_usage("--mount %s: %s", path, strerror(errno));
	int err = mounts_add_of(&found, full);
	if (!err && found.count)
		err = mounts_add(&a->mounts, found.paths[0]);
	bool ours = found.count > 0;
	mounts_free(&found);
	if (err < 0)
		return cli_fail(err, NULL);
	return ours ? -1 : cli_usage("--mount %s: no stablefs is mounted there", path);
}

static int find_mounts(struct run_args *a, struct errmsg *why)
{
	if (a->mounts.count)
		return 0;
	int err = mounts_add_of(&a->mounts, ".");
	if (!err)
		err = mounts_add_of_words(&a->mounts, a->cmd);
	if (err < 0)
		return errmsg_set(why, err, "the mounts of CMD's paths: %s", strerror(-err));
	if (!a->mounts.count)
		return errmsg_set(why, -ENODEV,
			"neither the current directory nor a path among CMD's arguments lies in a "
			"mounted stablefs: name it by --mount");
	return 0;
}

/* ---- telling the daemons ---- */

static int explain_refusal(
	const struct run_args *a, const char *mountpoint, int err, struct errmsg *why)
{
	if (err == EPERM && a->has_policy && !dio_policy_is_stable(a->policy))
		return errmsg_set(why, -err,
			"%s refuses dio=%s: a policy that is not stable puts the data of others at "
			"risk, so it takes root, or a mount with -o dio-weaken=owner",
			mountpoint, dio_policy_name(a->policy));
	return errmsg_set(why, -err, "%s%s: %s%s", mountpoint, CONTROL_FILE, strerror(err),
		err == ENOENT   ? " (its daemon is of an older version)"
		: err == EPERM  ? " (its daemon may not look at this process)"
		: err == ENOSPC ? " (it serves too many runs already)"
				: "");
}

/* The descriptor, which stays open for as long as the run lasts; or -errno. */
static int write_line(const char *mountpoint, const struct run_args *a, int table)
{
	char path[PATH_MAX], line[128];
	if ((size_t)snprintf(path, sizeof(path), "%s" CONTROL_FILE, mountpoint) >= sizeof(path))
		return -ENAMETOOLONG;
	int len = snprintf(line, sizeof(line), "root=%d", getpid());
	if (a->has_policy)
		len += snprintf(line + len, sizeof(line) - (size_t)len, " dio=%s",
			dio_policy_name(a->policy));
	if (table >= 0)
		snprintf(line + len, sizeof(line) - (size_t)len, " aio=%d", table);
	return target_say(path, line);
}

/* Where the daemon may not take the table, its policy can still be told. */
static int register_at(
	const char *mountpoint, const struct run_args *a, int table, struct errmsg *why)
{
	int fd = write_line(mountpoint, a, table);
	if (fd == -EPERM) {
		int bare = write_line(mountpoint, a, -1);
		if (bare >= 0)
			fprintf(stderr,
				"stablefs run: the daemon of %s may not look at this process: "
				"libaio submissions are not followed there\n",
				mountpoint);
		fd = bare >= 0 ? bare : fd;
	}
	return fd >= 0 ? fd : explain_refusal(a, mountpoint, -fd, why);
}

/* @fds: one for each mount. */
static int register_run(const struct run_args *a, int table, int *fds, struct errmsg *why)
{
	int err = 0;
	/* Under Yama, taking a descriptor of ours is for our parents alone, unless we allow it. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	for (unsigned i = 0; i < a->mounts.count && !err; i++) {
		fds[i] = register_at(a->mounts.paths[i], a, table, why);
		err = fds[i] < 0 ? fds[i] : 0;
	}
	prctl(PR_SET_PTRACER, 0, 0, 0, 0);
	return err;
}

/* ---- the run ---- */

static int run_program(struct launch *l, struct errmsg *why)
{
	int err = launch_go(l, why);
	if (err < 0) {
		cli_fail(err, why);
		return err == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	}
	if (launch_unfollowed(l))
		fprintf(stderr,
			"stablefs run: libaio submissions are not followed, and count as "
			"unobserved: %s\n",
			launch_unfollowed(l));
	while (launch_next(l, -1) != LAUNCH_ALL_ENDED)
		;
	return launch_status(l);
}

static int run_registered(const struct run_args *a)
{
	struct errmsg why = {0};
	struct launch_config config = {.argv = a->cmd, .out_fd = -1};
	struct launch *l = NULL;
	int fds[MOUNTS_MAX];
	for (unsigned i = 0; i < MOUNTS_MAX; i++)
		fds[i] = -1;
	int err = launch_new(&config, &l, &why);
	if (!err)
		err = register_run(a, launch_table(l), fds, &why);
	int status = err < 0 ? cli_fail(err, &why) : run_program(l, &why);
	launch_free(l);
	for (unsigned i = 0; i < MOUNTS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return status;
}

static int take_option(int opt, char **argv, struct run_args *a)
{
	switch (opt) {
	case 'd':
		a->has_policy = true;
		if (dio_policy_parse(optarg, &a->policy))
			return -1;
		return cli_usage("there is no policy --dio=%s: %s", optarg, dio_policy_names());
	case 'm':
		return take_mount(a, optarg);
	default:
		return cli_common_option(opt, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"dio", required_argument, NULL, 'd'},
		{"mount", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct run_args args = {0};
	int status = -1;
	/* "+": what follows CMD is CMD's. */
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1;)
		status = take_option(opt, argv, &args);
	args.cmd = argv + optind;
	if (status < 0 && !*args.cmd)
		status = cli_usage("which CMD?");
	struct errmsg why = {0};
	int err = status < 0 ? find_mounts(&args, &why) : 0;
	if (err < 0)
		status = cli_fail(err, &why);
	if (status < 0)
		status = run_registered(&args);
	mounts_free(&args.mounts);
	return status;
}

const struct cli_verb verb_run = {"run", "run a program under a policy of its own", usage, run};
