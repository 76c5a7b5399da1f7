/* SPDX-License-Identifier: MIT */
/* stablefs check: does a program change its direct-I/O buffers in flight?
 *
 * This process is the program's parent and serves the mount that it runs on, so that it may read
 * the program's memory also where only ancestors may (Yama).
 *
 *	main thread                                 conductor
 *	folder -> launch_new -> volume -> serve
 *	                          ready ----------> launch_go, until all have ended
 *	                                            read stats.json, processes.json
 *	                          ends <----------- stop_fd
 *	verdict <- folder removed */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/check_report.h"
#include "cli/check_world.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/serve.h"
#include "pi/pi.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs check [OPTION]... [--] CMD [ARGUMENT]...\n"
	"Run CMD on a scratch volume and say whether it changes its direct-I/O buffers while\n"
	"writes are in flight. It runs in the mounted folder; {} in its arguments becomes the\n"
	"folder's path.\n\n"
	"  --dio=POLICY      detect (default), verify, adaptive or zerocopy\n"
	"  --hold TIME       keep direct writes open that long (default 200us)\n"
	"  --level LEVEL     raid5 (default), raid6, raid1 or single\n"
	"  --members N       how many (default: 4, 4, 2, 1 by level)\n"
	"  --size SIZE       of data that the volume holds (default 1G; blocks are used as they\n"
	"                    are written)\n"
	"  --chunk SIZE      4K to 1M, a power of two (default 64K)\n"
	"  --pi TYPE         none, t10 (default), crc32c or crc64\n"
	"  --pi-check WHO    device or none (default)\n"
	"  --write-hole HOW  journal (default with parity) or bitmap\n"
	"  --dir DIR         where to make the scratch folder (default: TMPDIR, or /var/tmp)\n"
	"  --keep            leave the volume there\n"
	"  --json            the verdict as JSON; what CMD prints goes to stderr\n"
	"  -h, --help        this text\n\n"
	"Exit status: 0 still, or no direct writes; 3 mutated; 1 CMD could not be run, was\n"
	"stopped, or most of its writes could not be observed; 2 usage. CMD's own status is said\n"
	"and changes nothing.\n";

#define DEFAULT_HOLD_NS (200 * NS_PER_US)
#define REST_GRACE_MS   5000 /* for processes that outlive CMD, or a signal */
#define KILL_WAIT_MS    2000
#define PROGRESS_MS     500

struct check {
	/* What is asked for. */
	enum dio_policy policy;
	uint64_t hold_ns;
	struct shape shape;
	const char *dir;
	bool keep, json;
	char **cmd; /* owned */
	/* The world. */
	struct check_world world;
	struct launch *launch; /* owned */
	struct trees *trees;   /* owned */
	int stop_fd;           /* owned */
	pthread_t conductor;
	bool conducted;
	atomic_bool unserved; /* the mount is gone, or was never there */
	/* What came of it; the conductor's until it was joined. */
	int err;
	struct errmsg why;
	bool stopped, ended_rest, shown;
	struct json_value *stats, *processes; /* owned */
};

/* ---- options ---- */

static int take_policy(struct check *c, const char *name)
{
	if (!dio_policy_parse(name, &c->policy))
		return cli_usage(
			"there is no policy --dio=%s: detect, verify, adaptive, zerocopy", name);
	if (!dio_policy_checks(c->policy) && !dio_policy_samples_live(c->policy))
		return cli_usage("--dio=%s does not look at the program's memory: choose detect, "
				 "verify, adaptive or zerocopy",
			name);
	return -1;
}

static int take_hold(struct check *c, const char *value)
{
	struct errmsg why = {0};
	if (duration_parse(value, &c->hold_ns, &why) < 0)
		return cli_usage("--hold: %s", why.text);
	if (c->hold_ns > FRONT_MAX_HOLD_NS)
		return cli_usage("--hold %s is too long: at most 10s", value);
	return -1;
}

enum { OPT_DIO = 256, OPT_HOLD, OPT_DIR, OPT_KEEP, OPT_JSON };

static int take_option(int opt, char **argv, struct check *c)
{
	if (opt >= SHAPE_LEVEL)
		return shape_take_option(&c->shape, opt, optarg);
	switch (opt) {
	case OPT_DIO:
		return take_policy(c, optarg);
	case OPT_HOLD:
		return take_hold(c, optarg);
	case OPT_DIR:
		c->dir = optarg;
		return -1;
	case OPT_KEEP:
		c->keep = true;
		return -1;
	case OPT_JSON:
		c->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static int take_options(int argc, char **argv, struct check *c)
{
	static const struct option options[] = {SHAPE_OPTIONS,
		{"dio", required_argument, NULL, OPT_DIO},
		{"hold", required_argument, NULL, OPT_HOLD},
		{"dir", required_argument, NULL, OPT_DIR}, {"keep", no_argument, NULL, OPT_KEEP},
		{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, 'h'}, {0}};
	int status = -1;
	/* "+": what follows CMD is CMD's. */
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1;)
		status = take_option(opt, argv, c);
	if (status < 0)
		status = shape_check(&c->shape);
	if (status < 0 && optind == argc)
		status = cli_usage("which CMD?");
	return status;
}

/* ---- what the mount counted ---- */

static int read_control(struct check *c, const char *name, struct json_value **out)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/" FRONT_CONTROL_NAME "/%s", c->world.mountpoint, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return errmsg_set(&c->why, -errno, "%s: %s", path, strerror(errno));
	cleanup(cleanup_freep) char *text = NULL;
	size_t room = 0;
	ssize_t len = getdelim(&text, &room, '\0', file);
	fclose(file);
	if (len < 0)
		return errmsg_set(&c->why, -EIO, "%s cannot be read", path);
	return json_parse(text, (size_t)len, out, &c->why);
}

/* Only where the terminal shows nothing else. */
static void show_progress(struct check *c)
{
	struct json_value *stats = NULL;
	struct errmsg kept = c->why;
	if (!isatty(STDERR_FILENO) || read_control(c, "stats.json", &stats) < 0) {
		c->why = kept;
		return;
	}
	const struct json_value *w = json_get(stats, "direct_writes");
	fprintf(stderr, "\r\033[Kstablefs check: %llu direct writes, %llu observed, %llu mutated",
		(unsigned long long)json_get_u64(w, "total", 0),
		(unsigned long long)json_get_u64(w, "observed", 0),
		(unsigned long long)json_get_u64(w, "mutated", 0));
	c->shown = true;
	json_value_free(stats);
}

static void end_progress(struct check *c)
{
	if (c->shown)
		fputs("\r\033[K", stderr);
}

/* ---- the conductor ---- */

/* Until nobody is left. After a signal, or when CMD has ended, the rest has a while. */
static void wait_for_all(struct check *c)
{
	int left_ms = -1;
	for (;;) {
		enum launch_event event = launch_next(c->launch, PROGRESS_MS);
		if (event == LAUNCH_ALL_ENDED)
			return;
		if (event == LAUNCH_SIGNALED && c->stopped)
			left_ms = 0; /* the second one */
		c->stopped |= event == LAUNCH_SIGNALED;
		if (event != LAUNCH_TIMEOUT && left_ms < 0)
			left_ms = REST_GRACE_MS;
		if (event == LAUNCH_TIMEOUT && left_ms > 0)
			left_ms = left_ms > PROGRESS_MS ? left_ms - PROGRESS_MS : 0;
		if (left_ms == 0 || atomic_load(&c->unserved))
			break;
		show_progress(c);
	}
	c->ended_rest = true;
	launch_kill(c->launch, KILL_WAIT_MS);
}

static void *conduct(void *ctx)
{
	struct check *c = ctx;
	c->err = launch_go(c->launch, &c->why);
	if (!c->err)
		wait_for_all(c);
	end_progress(c);
	if (!c->err)
		c->err = read_control(c, "stats.json", &c->stats);
	if (!c->err)
		c->err = read_control(c, "processes.json", &c->processes);
	eventfd_write(c->stop_fd, 1);
	return NULL;
}

static void on_ready(void *ctx)
{
	struct check *c = ctx;
	int err = pthread_create(&c->conductor, NULL, conduct, c);
	c->conducted = !err;
	if (err) {
		c->err = -err;
		eventfd_write(c->stop_fd, 1);
	}
}

/* ---- the main thread ---- */

static int add_tree(struct check *c)
{
	struct tree_config tree = {.root = getpid()};
	int err = aio_table_map(launch_table(c->launch), &tree.aio);
	if (!err)
		err = trees_new(&c->trees);
	if (err < 0) {
		aio_table_free(tree.aio);
		return err;
	}
	err = trees_add(c->trees, &tree);
	return err < 0 ? err : 0;
}

static int serve(struct check *c)
{
	struct serve_config config = {.paths = &c->world.members,
		.ready = on_ready,
		.ctx = c,
		.front = {.mountpoint = c->world.mountpoint,
			.trees = c->trees,
			.dio = c->policy,
			.hold_ns = c->hold_ns,
			.allow_other = getuid() == 0,
			.fsname = "stablefs-check",
			.mount_flags = MS_NODEV | MS_NOSUID,
			.ignore_signals = true,
			.stop_fd = c->stop_fd}};
	struct errmsg why = {0};
	int err = serve_volume(&config, &why);
	atomic_store(&c->unserved, true);
	if (c->conducted)
		pthread_join(c->conductor, NULL);
	if (c->err)
		return c->err;
	if (err < 0)
		c->why = why;
	return err;
}

/* The program's process is made first: later there are threads. */
static int run_program(struct check *c)
{
	struct launch_config launch = {
		.argv = c->cmd, .dir = c->world.mountpoint, .out_fd = c->json ? STDERR_FILENO : -1};
	int err = launch_new(&launch, &c->launch, &c->why);
	if (!err)
		err = check_world_make_volume(&c->world, &c->shape, &c->why);
	if (!err)
		err = add_tree(c);
	if (!err)
		err = serve(c);
	return err;
}

static int print_report(struct check *c)
{
	struct check_report r = {.cmd = c->cmd,
		.cmd_status = launch_status(c->launch),
		.stopped = c->stopped,
		.ended_rest = c->ended_rest,
		.policy = dio_policy_name(c->policy),
		.level = raid_level_name(c->shape.options.level),
		.pi = pi_name(c->shape.options.pi),
		.hold_ns = c->hold_ns,
		.unfollowed = launch_unfollowed(c->launch),
		.follow = launch_follow_stats(c->launch),
		.stats = c->stats,
		.processes = c->processes,
		.kept = c->keep ? c->world.volume : NULL};
	int err = c->json ? check_print_json(&r, stdout) : check_print_text(&r, stdout);
	if (err < 0)
		return cli_fail(err, NULL);
	struct check_counts counts = check_count(c->processes);
	return check_exit_status(check_judge(&counts), c->stopped);
}

static int check(struct check *c, char *const *words)
{
	int err = check_world_new(&c->world, c->dir, &c->why);
	if (!err) {
		c->cmd = check_words(words, c->world.mountpoint);
		c->stop_fd = eventfd(0, EFD_CLOEXEC);
		err = !c->cmd ? -ENOMEM : c->stop_fd < 0 ? -errno : run_program(c);
	}
	int status = err < 0 ? cli_fail(err, &c->why) : print_report(c);
	launch_free(c->launch);
	trees_free(c->trees);
	struct errmsg why = {0};
	err = check_world_free(&c->world, c->keep, &why);
	if (err < 0) {
		cli_fail(err, &why);
		status = status == CLI_DONE ? CLI_FAILED : status;
	}
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	check_words_free(c->cmd);
	json_value_free(c->stats);
	json_value_free(c->processes);
	return status;
}

static int run(int argc, char **argv)
{
	struct check c = {.policy = DIO_DETECT, .hold_ns = DEFAULT_HOLD_NS, .stop_fd = -1};
	shape_init(&c.shape);
	int status = take_options(argc, argv, &c);
	if (status >= 0)
		return status;
	log_set_level(LOG_LEVEL_WARN);
	return check(&c, argv + optind);
}

const struct cli_verb verb_check = {
	"check", "does a program change its buffers in flight?", usage, run};
