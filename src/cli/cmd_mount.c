/* SPDX-License-Identifier: MIT */
/* stablefs mount: assemble a volume, open its file system, serve it by FUSE.
 *
 *	parse -> (fork) -> serve_volume
 *
 * In the background the first process waits until the mount is usable and returns; the daemon's
 * messages up to then go to the same terminal, later ones to the system log. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/serve.h"
#include "fuse/front.h"
#include "report/size.h"

#define MAX_EVENT_RATE        1000000u
#define MAX_MAX_ERRORS        1000000000u
#define MIN_MEMBER_TIMEOUT_NS (10 * NS_PER_MS)

static const char usage[] =
	"Usage: stablefs mount [-f] [-o OPTION,...] VOLUME... MOUNTPOINT\n"
	"Mount a volume; returns when it is usable. End it with umount(8) or fusermount3 -u.\n\n"
	"  -f, --foreground   stay; end on SIGINT, SIGTERM or umount\n"
	"  -o OPTION,...      options:\n"
	"      dio=POLICY         of direct I/O (docs/policies.md):\n"
	"                         bounce (default): one copy at submission, all is made of it;\n"
	"                         zerocopy: guard, parity and data are sampled from live memory;\n"
	"                         buffered: one write of a file at a time, from the copy;\n"
	"                         refuse: direct I/O fails with EINVAL;\n"
	"                         detect: bounce, then compare the copy with live memory;\n"
	"                         verify: zerocopy, and a write that changed fails with EIO;\n"
	"                         adaptive: zerocopy, a write that changed is done again, and\n"
	"                         its process is bounced from then on\n"
	"      dio-weaken=WHO     who may choose policies for files and processes that are not\n"
	"                         stable (zerocopy, verify, adaptive): root (default) or owner\n"
	"      event-rate=N       mutation events a second for each process (default 100)\n"
	"      hold=TIME          keep direct writes open that long before their data is sampled\n"
	"                         (200us, 1ms; default 0)\n"
	"      dio-align=BYTES    direct I/O must be aligned to that (default 512)\n"
	"      member-timeout=TIME  a member that does not answer for so long is failed (default\n"
	"                         30s; never: it may take for ever)\n"
	"      max-errors=N       so is one after so many errors that the others made good\n"
	"                         (default 20)\n"
	"      background-rate=SIZE  of resync, rebuild and scrub each, a second and member\n"
	"                         (default: as fast as they go beside the volume's users)\n"
	"      scrub-every=TIME   scrub in the background, and again that long after each end\n"
	"                         (24h; default: not)\n"
	"      ro                 read-only\n"
	"      degraded           leave members out that cannot be used\n"
	"      allow_other        other users may use it (default where root mounts)\n"
	"      noallow_other      they may not\n"
	"      writethrough       do without the kernel's write-back cache\n"
	"      exacttimes         direct writes move a file's times at once (slower; default:\n"
	"                         when it is closed)\n"
	"      workers=N          threads that receive requests\n"
	"      fsname=NAME        the source that mount(8) lists (default: VOLUME)\n"
	"      inject             faults can be injected while it is mounted (stablefs-inject)\n"
	"      inject=FAULT;...   and these from the start; may be repeated\n"
	"      noatime, nodev, nosuid, noexec and the like go to the kernel\n"
	"  -h, --help         this text\n";

struct mount_args {
	struct front_options front;
	struct serve_config serve; /* but for front and paths */
	bool foreground;
	char inject_first[4096];
	char kernel_opts[512];
	char fsname[256];
	char mountpoint[PATH_MAX];
	struct volume_paths paths; /* owned */
};

/* ---- options ---- */

static int option_dio(struct mount_args *a, const char *value)
{
	if (!dio_policy_parse(value, &a->front.dio))
		return cli_usage("there is no policy dio=%s: %s", value, dio_policy_names());
	return -1;
}

static int option_weaken(struct mount_args *a, const char *value)
{
	a->front.dio_weaken = !strcmp(value, "owner");
	if (!a->front.dio_weaken && strcmp(value, "root"))
		return cli_usage("dio-weaken takes root or owner, not '%s'", value);
	return -1;
}

static int option_event_rate(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	uint64_t n;
	if (count_parse(value, &n, &why) < 0 || n < 1 || n > MAX_EVENT_RATE)
		return cli_usage("event-rate takes 1 to 1000000, not '%s'", value);
	a->front.event_rate = (unsigned)n;
	return -1;
}

static int option_hold(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	if (duration_parse(value, &a->front.hold_ns, &why) < 0)
		return cli_usage("hold: %s", why.text);
	if (a->front.hold_ns > UINT64_C(10000000000))
		return cli_usage("hold=%s is too long: at most 10s", value);
	return -1;
}

static int option_align(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	uint64_t bytes;
	if (size_parse(value, &bytes, &why) < 0)
		return cli_usage("dio-align: %s", why.text);
	if (bytes < 1 || bytes > BLOCK_BYTES || (bytes & (bytes - 1)))
		return cli_usage("dio-align takes a power of two from 1 to 4096, not %s", value);
	a->front.dio_align = (unsigned)bytes;
	return -1;
}

static int option_workers(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	uint64_t n;
	if (count_parse(value, &n, &why) < 0 || n < 1 || n > 64)
		return cli_usage("workers takes 1 to 64, not '%s'", value);
	a->front.workers = (unsigned)n;
	return -1;
}

static int option_timeout(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	a->serve.member_timeout_ns = UINT64_MAX;
	if (!strcmp(value, "never"))
		return -1;
	if (duration_parse(value, &a->serve.member_timeout_ns, &why) < 0)
		return cli_usage("member-timeout: %s", why.text);
	if (a->serve.member_timeout_ns < MIN_MEMBER_TIMEOUT_NS)
		return cli_usage("member-timeout=%s is too short: 10ms and more, or never", value);
	return -1;
}

static int option_max_errors(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	uint64_t n;
	if (count_parse(value, &n, &why) < 0 || n < 1 || n > MAX_MAX_ERRORS)
		return cli_usage("max-errors takes 1 to 1000000000, not '%s'", value);
	a->serve.max_errors = (unsigned)n;
	return -1;
}

static int option_rate(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	if (size_parse(value, &a->serve.background_rate, &why) < 0)
		return cli_usage("background-rate: %s", why.text);
	return -1;
}

static int option_scrub_every(struct mount_args *a, const char *value)
{
	struct errmsg why = {0};
	if (duration_parse(value, &a->serve.scrub_every_ns, &why) < 0)
		return cli_usage("scrub-every: %s", why.text);
	return -1;
}

/* Whether they mean something is seen when the files are there. */
static int option_inject(struct mount_args *a, const char *value)
{
	size_t used = strlen(a->inject_first), room = sizeof(a->inject_first) - used;
	a->serve.inject = true;
	if ((size_t)snprintf(a->inject_first + used, room, "%s;", value) >= room)
		return cli_usage("inject= has at most %zu characters", sizeof(a->inject_first) - 1);
	return -1;
}

static int option_fsname(struct mount_args *a, const char *value)
{
	snprintf(a->fsname, sizeof(a->fsname), "%s", value);
	return -1;
}

static const struct valued_option {
	const char *name;
	int (*take)(struct mount_args *a, const char *value);
} valued_options[] = {{"dio", option_dio}, {"dio-weaken", option_weaken},
	{"event-rate", option_event_rate}, {"hold", option_hold}, {"dio-align", option_align},
	{"workers", option_workers}, {"fsname", option_fsname}, {"member-timeout", option_timeout},
	{"max-errors", option_max_errors}, {"background-rate", option_rate},
	{"scrub-every", option_scrub_every}, {"inject", option_inject}};

/* What the kernel or fusermount3 understands by itself. */
static bool is_kernel_option(const char *name)
{
	static const char *const names[] = {"rw", "dev", "nodev", "suid", "nosuid", "exec",
		"noexec", "atime", "noatime", "relatime", "norelatime", "diratime", "nodiratime",
		"sync", "async", "dirsync", "lazytime", "nolazytime"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int take_flag(struct mount_args *a, const char *name)
{
	if (!strcmp(name, "ro"))
		a->front.read_only = true;
	else if (!strcmp(name, "degraded"))
		a->serve.degraded = true;
	else if (!strcmp(name, "inject"))
		a->serve.inject = true;
	else if (!strcmp(name, "allow_other"))
		a->front.allow_other = true;
	else if (!strcmp(name, "noallow_other"))
		a->front.allow_other = false;
	else if (!strcmp(name, "writethrough"))
		a->front.write_through = true;
	else if (!strcmp(name, "exacttimes"))
		a->front.exact_times = true;
	else if (is_kernel_option(name))
		snprintf(a->kernel_opts + strlen(a->kernel_opts),
			sizeof(a->kernel_opts) - strlen(a->kernel_opts), "%s%s",
			a->kernel_opts[0] ? "," : "", name);
	else
		return cli_usage("there is no mount option '%s'", name);
	return -1;
}

static int take_mount_option(struct mount_args *a, char *text)
{
	char *value = strchr(text, '=');
	if (!value)
		return take_flag(a, text);
	*value++ = '\0';
	for (unsigned i = 0; i < sizeof(valued_options) / sizeof(valued_options[0]); i++)
		if (!strcmp(valued_options[i].name, text))
			return valued_options[i].take(a, value);
	return cli_usage("there is no mount option '%s='", text);
}

static int take_mount_options(struct mount_args *a, char *list)
{
	int status = -1;
	for (char *rest = list, *one; status < 0 && (one = strsep(&rest, ","));)
		if (*one)
			status = take_mount_option(a, one);
	return status;
}

/* ---- what to mount, and where ---- */

static int find_mountpoint(struct mount_args *a, const char *path, struct errmsg *why)
{
	struct stat st;
	if (stat(path, &st) < 0 || !realpath(path, a->mountpoint))
		return errmsg_set(why, -errno, "the mount point %s: %s%s", path, strerror(errno),
			errno == ENOENT     ? " (make it with mkdir)"
			: errno == ENOTCONN ? " (a dead mount is there: fusermount3 -u it)"
					    : "");
	if (!S_ISDIR(st.st_mode))
		return errmsg_set(why, -ENOTDIR, "the mount point %s is not a directory", path);
	return 0;
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

/* ---- serving ---- */

struct daemon {
	struct mount_args *args;
	int ready_fd; /* tells the first process; -1 in the foreground */
	bool ready;   /* it has been told: messages go to the log from now on */
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

static void on_ready(void *ctx)
{
	struct daemon *d = ctx;
	d->ready = true;
	if (d->ready_fd < 0) {
		fprintf(stderr, "stablefs: mounted at %s\n", d->args->mountpoint);
		return;
	}
	report_to_parent(d, CLI_DONE);
	log_to_syslog(true);
	leave_terminal();
}

static int serve(struct daemon *d)
{
	struct errmsg why = {0};
	struct serve_config config = d->args->serve;
	config.front = d->args->front;
	config.paths = &d->args->paths;
	config.inject_first = d->args->inject_first;
	config.ready = on_ready;
	config.ctx = d;
	int err = serve_volume(&config, &why);
	if (err < 0) {
		if (d->ready)
			log_error("%s: %s", d->args->mountpoint,
				why.text[0] ? why.text : strerror(-err));
		else
			cli_fail(err, &why);
	}
	report_to_parent(d, err < 0 ? CLI_FAILED : CLI_DONE);
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
		return wait_until_ready(child, fds[0]);
	}
	close(fds[0]);
	d->ready_fd = fds[1];
	setsid();
	/* The verb ends here: the daemon must not run what its parent's main still has to do. */
	exit(serve(d));
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"foreground", no_argument, NULL, 'f'},
		{"options", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct mount_args args = {.front = {.allow_other = getuid() == 0}};
	int status = -1;
	for (int opt;
		status < 0 && (opt = getopt_long(argc, argv, ":fo:h", options, NULL)) != -1;) {
		if (opt == 'f')
			args.foreground = true;
		else if (opt == 'o')
			status = take_mount_options(&args, optarg);
		else
			status = cli_common_option(opt, argv);
	}
	if (status >= 0)
		return status;
	unsigned count = (unsigned)(argc - optind);
	if (count < 2)
		return cli_usage("it takes a VOLUME and a MOUNTPOINT");
	struct errmsg why = {0};
	int err = find_mountpoint(&args, argv[argc - 1], &why);
	if (!err)
		err = volume_paths_find(argv + optind, count - 1, &args.paths, &why);
	if (!err)
		err = make_absolute(&args.paths, &why);
	if (err < 0) {
		volume_paths_free(&args.paths);
		return cli_fail(err, &why);
	}
	if (!args.fsname[0])
		snprintf(args.fsname, sizeof(args.fsname), "%s", argv[optind]);
	args.front.mountpoint = args.mountpoint;
	args.front.fsname = args.fsname;
	args.front.mount_opts = args.kernel_opts[0] ? args.kernel_opts : NULL;
	struct daemon d = {.args = &args, .ready_fd = -1};
	status = args.foreground ? serve(&d) : run_in_background(&d);
	volume_paths_free(&args.paths);
	return status;
}

const struct cli_verb verb_mount = {"mount", "mount a volume", usage, run};
