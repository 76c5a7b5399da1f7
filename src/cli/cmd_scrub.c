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
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "report/json_copy.h"
#include "report/json_read.h"
#include "report/size.h"
#include "report/table.h"

static const char usage[] =
	"Usage: stablefs scrub [OPTION]... VOLUME...|MOUNTPOINT\n"
	"Compare parity, mirrors and guards of every stripe, mounted or not. Exit status 3 where\n"
	"something is wrong and was not repaired.\n\n"
	"  --repair     put right what can be: PI decides; without PI data counts as right\n"
	"               against parity, and the first mirror against the others\n"
	"  --json       the report as JSON (parity_mismatches, mirror_mismatches,\n"
	"               guard_mismatches, files, ...)\n"
	"  -h, --help   this text\n";

#define FILES_SHOWN 20u

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* ---- the report for people ---- */

static void print_files(const struct json_value *report)
{
	struct table *t = table_new("lrrl", (const char *[]){"  file", "blocks", "lost", "where"});
	unsigned shown = 0, total = 0;
	json_for_each(file, json_get(report, "files"))
	{
		char offset[SIZE_TEXT_BYTES];
		const struct json_value *ranges = json_get(file, "ranges");
		uint64_t blocks = json_get_u64(file, "parity_blocks", 0) +
				  json_get_u64(file, "mirror_blocks", 0) +
				  json_get_u64(file, "guard_blocks", 0) +
				  json_get_u64(file, "unreadable_blocks", 0);
		if (++total > FILES_SHOWN)
			continue;
		shown++;
		size_format(json_get_u64(ranges ? ranges->first : NULL, "offset", 0), offset);
		table_add_cell(t, "  %s", json_get_string(file, "path", "?"));
		table_add_cell(t, "%llu", (unsigned long long)blocks);
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(file, "lost_blocks", 0));
		table_add_cell(t, "from %s on, %llu places", offset,
			(unsigned long long)json_get_u64(file, "ranges_found", 0));
	}
	if (shown)
		printf("Files concerned (4K blocks):\n");
	if (shown && t)
		table_print(t, stdout);
	if (total > shown)
		printf("  ... and %u more: see --json\n", total - shown);
	table_free(t);
}

static void print_members(const struct json_value *report)
{
	json_for_each(m, json_get(report, "members"))
	{
		uint64_t wrong = json_get_u64(m, "wrong_blocks", 0);
		if (!json_get_bool(m, "present", true))
			printf("  member %llu is missing\n",
				(unsigned long long)json_get_u64(m, "index", 0));
		else if (wrong)
			printf("  member %llu (%s): %llu blocks are wrong\n",
				(unsigned long long)json_get_u64(m, "index", 0),
				json_get_string(m, "path", "?"), (unsigned long long)wrong);
	}
}

static void print_count(const struct json_value *report, const char *key, const char *what)
{
	printf("  %-28s %llu\n", what, (unsigned long long)json_get_u64(report, key, 0));
}

static void print_report(const struct json_value *report)
{
	printf("Scrubbed %llu stripes, %llu rows of 4K, in %.1f s (%s, PI %s).\n",
		(unsigned long long)json_get_u64(report, "stripes", 0),
		(unsigned long long)json_get_u64(report, "rows", 0),
		json_get_double(report, "seconds", 0), json_get_string(report, "level", "?"),
		json_get_string(report, "pi", "?"));
	print_count(report, "parity_mismatches", "parity rows wrong");
	print_count(report, "mirror_mismatches", "mirrored blocks that differ");
	print_count(report, "guard_mismatches", "blocks that fail their guard");
	print_count(report, "unreadable", "blocks the media cannot read");
	if (json_get_u64(report, "repaired", 0) || json_get_u64(report, "lost", 0)) {
		print_count(report, "repaired", "repaired");
		print_count(report, "lost", "lost: nothing can rebuild");
	}
	print_members(report);
	print_files(report);
	uint64_t unowned = json_get_u64(report, "blocks_without_file", 0);
	if (unowned)
		printf("  %llu of the blocks belong to no file\n", (unsigned long long)unowned);
}

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
		if (strcmp(json_get_string(v, "state", ""), "running") != 0) {
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

/* *@report points into *@tree. */
static int scrub_mounted(const char *mountpoint, bool repair, struct json_value **tree,
	const struct json_value **report, struct errmsg *why)
{
	cleanup(cleanup_freep) char *reply = NULL;
	int err = target_query(mountpoint, repair ? "scrub repair" : "scrub", &reply, why);
	free(take_ptr(&reply));
	if (!err)
		err = watch(mountpoint, &reply, why);
	if (!err)
		err = json_parse(reply, strlen(reply), tree, why);
	if (err < 0)
		return err;
	*report = json_get(*tree, "report");
	if (!*report)
		return errmsg_set(why, -EIO, "the scrub ended early: %s",
			json_get_string(*tree, "error", "unknown error"));
	return 0;
}

/* ---- a volume that is not mounted ---- */

static bool step(void *ctx, uint64_t done, uint64_t total)
{
	progress_step(ctx, done, total);
	return !interrupted;
}

static int scrub_here(char *const *args, unsigned count, bool repair, struct json_value **tree,
	const struct json_value **report, struct errmsg *why)
{
	struct target_volume t;
	int err = target_open(args, count, repair, &t, why);
	if (err < 0)
		return err;
	cleanup(cleanup_freep) char *text = NULL;
	size_t len = 0;
	struct progress progress = {.what = "scrub"};
	FILE *out = open_memstream(&text, &len);
	err = out ? service_scrub(&t.service, repair, step, &progress, out) : -ENOMEM;
	progress_end(&progress);
	if (out)
		fclose(out);
	int closed = target_close(&t);
	if (err == -ECANCELED)
		return errmsg_set(why, err, "the scrub ended early: stopped");
	if (!err)
		err = closed;
	if (!err)
		err = json_parse(text, len, tree, why);
	*report = *tree;
	return err;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"repair", no_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	bool repair = false, as_json = false;
	for (int opt; (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		int status = cli_common_option(opt, argv);
		if (opt == 'r')
			repair = true;
		else if (opt == 'j')
			as_json = true;
		else if (status >= 0)
			return status;
	}
	unsigned count = (unsigned)(argc - optind);
	if (!count)
		return cli_usage("which VOLUME or MOUNTPOINT?");
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	struct errmsg why = {0};
	cleanup(json_value_freep) struct json_value *tree = NULL;
	const struct json_value *report = NULL;
	int err = count == 1 && target_is_mount(argv[optind])
			  ? scrub_mounted(argv[optind], repair, &tree, &report, &why)
			  : scrub_here(argv + optind, count, repair, &tree, &report, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (as_json)
		json_print_value(report, stdout);
	else
		print_report(report);
	return json_get_u64(report, "remaining", 0) ? CLI_DAMAGE : CLI_DONE;
}

const struct cli_verb verb_scrub = {
	"scrub", "compare parity, mirrors and guards; name the damage", usage, run};
