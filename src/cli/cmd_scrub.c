/* SPDX-License-Identifier: MIT */
/* stablefs scrub: compare parity, mirrors and guards; say what is wrong, where, and in which files.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/scrub_print.h"
#include "cli/target.h"
#include "report/json_copy.h"
#include "report/json_read.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs scrub [OPTION]... VOLUME...|MOUNTPOINT\n"
	"Compare parity, mirrors and guards of every stripe, mounted or not. Exit status 3 where\n"
	"something is wrong and was not repaired.\n\n"
	"  --repair       put right what can be. With PI the side that fits it is right. Without\n"
	"                 PI nobody can know which side is right: data is taken for right against\n"
	"                 parity, and the first mirror against the others\n"
	"  --json         the report as JSON (parity_mismatches, mirror_mismatches,\n"
	"                 guard_mismatches, files, ...)\n"
	"  -h, --help     this text\n\n"
	"Of a mounted volume (see stablefs work for progress, pause and rate):\n"
	"  --background   begin, and return\n"
	"  --every TIME   the same, and again that long after each end, until the volume is\n"
	"                 unmounted\n"
	"  --stop         end the one that is under way, and what --every has begun\n"
	"  --last         the report of the last one that has ended\n";

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

enum scrub_action { SCRUB_WATCH, SCRUB_BEGIN, SCRUB_STOP, SCRUB_LAST };

struct scrub_args {
	char *const *paths;
	unsigned count;
	enum scrub_action action;
	bool repair, json;
	uint64_t every_ns;
	struct errmsg why;
};

/* ---- a mounted volume: start, watch, take the report ---- */

static int watch(const char *mountpoint, char **reply, struct errmsg *why)
{
	struct progress progress = {.what = "scrub"};
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	bool stop_sent = false;
	for (;;) {
		cleanup(json_value_freep) struct json_value *v = NULL;
		int err = target_query(mountpoint, "scrub status", reply, why);
		if (!err)
			err = json_parse(*reply, strlen(*reply), &v, why);
		if (err < 0)
			return err;
		const char *state = json_get_string(v, "state", "");
		if (strcmp(state, "running") != 0 && strcmp(state, "paused") != 0) {
			progress_end(&progress);
			return 0;
		}
		progress_step(&progress, json_get_u64(v, "done", 0), json_get_u64(v, "total", 0));
		if (interrupted && !stop_sent) {
			char *ignored = NULL;
			stop_sent = target_query(mountpoint, "scrub stop", &ignored, NULL) == 0;
			free(ignored);
		}
		free(take_ptr(reply));
		nanosleep(&pause, NULL);
	}
}

/* The report in the reply to "scrub status"; it stays a part of *@tree. */
static int take_report(struct scrub_args *a, const char *reply, struct json_value **tree,
	const struct json_value **report)
{
	int err = json_parse(reply, strlen(reply), tree, &a->why);
	if (err < 0)
		return err;
	const char *state = json_get_string(*tree, "state", "");
	*report = json_get(*tree, "report");
	if (*report && (*report)->kind == JSON_OBJECT)
		return 0;
	if (!strcmp(state, "none"))
		return errmsg_set(
			&a->why, -ENOENT, "no scrub has ended since the volume was mounted");
	if (strcmp(state, "done") != 0)
		return errmsg_set(&a->why, -EBUSY, "a scrub is under way");
	return errmsg_set(&a->why, -EIO, "the scrub ended early: %s",
		json_get_string(*tree, "error", "unknown error"));
}

static int request(struct scrub_args *a, char **reply)
{
	char line[64] = "scrub status";
	if (a->action == SCRUB_STOP)
		snprintf(line, sizeof(line), "scrub stop");
	else if (a->action != SCRUB_LAST)
		snprintf(line, sizeof(line), "scrub%s every %llu", a->repair ? " repair" : "",
			(unsigned long long)a->every_ns);
	return target_query(a->paths[0], line, reply, &a->why);
}

static int scrub_mounted(
	struct scrub_args *a, struct json_value **tree, const struct json_value **report)
{
	cleanup(cleanup_freep) char *reply = NULL;
	int err = request(a, &reply);
	if (err < 0 || a->action == SCRUB_BEGIN || a->action == SCRUB_STOP)
		return err;
	if (a->action == SCRUB_WATCH) {
		free(take_ptr(&reply));
		err = watch(a->paths[0], &reply, &a->why);
	}
	return err < 0 ? err : take_report(a, reply, tree, report);
}

/* ---- a volume that is not mounted ---- */

static bool step(void *ctx, uint64_t done, uint64_t total)
{
	progress_step(ctx, done, total);
	return !interrupted;
}

static int scrub_here(
	struct scrub_args *a, struct json_value **tree, const struct json_value **report)
{
	struct target_volume t;
	if (a->action != SCRUB_WATCH)
		return errmsg_set(&a->why, -EINVAL,
			"%s is not a mount point: mount the volume first", a->paths[0]);
	int err = target_open(a->paths, a->count, a->repair, &t, &a->why);
	if (err < 0)
		return err;
	cleanup(cleanup_freep) char *text = NULL;
	size_t len = 0;
	struct progress progress = {.what = "scrub"};
	FILE *out = open_memstream(&text, &len);
	err = out ? service_scrub(&t.service, a->repair, step, &progress, out) : -ENOMEM;
	progress_end(&progress);
	if (out)
		fclose(out);
	int closed = target_close(&t);
	if (err == -ECANCELED)
		return errmsg_set(&a->why, err, "the scrub ended early: stopped");
	if (!err)
		err = closed;
	if (!err)
		err = json_parse(text, len, tree, &a->why);
	*report = *tree;
	return err;
}

/* ---- options ---- */

enum { OPT_REPAIR = 256, OPT_JSON, OPT_BACKGROUND, OPT_EVERY, OPT_STOP, OPT_LAST };

static int take_action(struct scrub_args *a, enum scrub_action action)
{
	if (a->action != SCRUB_WATCH && a->action != action)
		return cli_usage("--background or --every, --stop and --last exclude each other");
	a->action = action;
	return -1;
}

static int take_every(struct scrub_args *a, const char *value)
{
	if (duration_parse(value, &a->every_ns, &a->why) < 0)
		return cli_usage("--every: %s", a->why.text);
	if (!a->every_ns)
		return cli_usage("--every takes a time above 0");
	return take_action(a, SCRUB_BEGIN);
}

/* -1 to go on, or the exit status. */
static int take_option(int opt, char **argv, struct scrub_args *a)
{
	switch (opt) {
	case OPT_REPAIR:
		a->repair = true;
		return -1;
	case OPT_JSON:
		a->json = true;
		return -1;
	case OPT_BACKGROUND:
		return take_action(a, SCRUB_BEGIN);
	case OPT_EVERY:
		return take_every(a, optarg);
	case OPT_STOP:
		return take_action(a, SCRUB_STOP);
	case OPT_LAST:
		return take_action(a, SCRUB_LAST);
	default:
		return cli_common_option(opt, argv);
	}
}

static int take_options(int argc, char **argv, struct scrub_args *a)
{
	static const struct option options[] = {{"repair", no_argument, NULL, OPT_REPAIR},
		{"json", no_argument, NULL, OPT_JSON},
		{"background", no_argument, NULL, OPT_BACKGROUND},
		{"every", required_argument, NULL, OPT_EVERY},
		{"stop", no_argument, NULL, OPT_STOP}, {"last", no_argument, NULL, OPT_LAST},
		{"help", no_argument, NULL, 'h'}, {0}};
	int status = -1;
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;)
		status = take_option(opt, argv, a);
	a->paths = argv + optind;
	a->count = (unsigned)(argc - optind);
	if (status < 0 && !a->count)
		status = cli_usage("which VOLUME or MOUNTPOINT?");
	return status;
}

static int run(int argc, char **argv)
{
	struct scrub_args args = {0};
	int status = take_options(argc, argv, &args);
	if (status >= 0)
		return status;
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	cleanup(json_value_freep) struct json_value *tree = NULL;
	const struct json_value *report = NULL;
	int err = args.count == 1 && target_is_mount(args.paths[0])
			  ? scrub_mounted(&args, &tree, &report)
			  : scrub_here(&args, &tree, &report);
	if (err < 0)
		return cli_fail(err, &args.why);
	if (!report)
		return CLI_DONE;
	if (args.json)
		json_print_value(report, stdout);
	else
		scrub_print_report(report);
	return json_get_u64(report, "remaining", 0) ? CLI_DAMAGE : CLI_DONE;
}

const struct cli_verb verb_scrub = {
	"scrub", "compare parity, mirrors and guards; name the damage", usage, run};
