/* SPDX-License-Identifier: MIT */
/* stablefs fsck: check the file system of a volume that is not mounted, and mend it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "fs/check.h"
#include "io/uring.h"
#include "report/json.h"

static const char usage[] =
	"Usage: stablefs fsck [OPTION]... VOLUME...\n"
	"Check the file system of a volume that is not mounted: the copies of its system\n"
	"area, its database, every file, name and block. Exit status 3 where something is\n"
	"wrong, mended or not.\n\n"
	"  --repair       mend what can be: what lost its name goes to lost+found, blocks that\n"
	"                 two files claim are cut out of one of them, a damaged database is\n"
	"                 copied as far as it can be read. Says what was done\n"
	"  --json         the report as JSON (clean, problems, repaired, remaining,\n"
	"                 findings, ...)\n"
	"  -h, --help     this text\n";

#define FINDINGS_SHOWN 1000u

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

struct fsck {
	char *const *paths;
	unsigned count;
	bool repair, json, begun;
	struct progress progress;
	struct json out; /* where @json */
	uint64_t shown;
};

/* ---- findings ---- */

/* Names can hold any byte: what is none of a text is written as \ooo. */
static void print_escaped(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p == 0x7f || *p == '\\')
			printf("\\%03o", *p);
		else
			putchar(*p);
	}
}

static void print_finding(const struct check_finding *f)
{
	if (f->path)
		print_escaped(f->path);
	if (f->path && f->ino)
		printf(" (inode %llu): ", (unsigned long long)f->ino);
	else if (f->ino)
		printf("inode %llu: ", (unsigned long long)f->ino);
	print_escaped(f->what);
	if (f->done)
		printf(" -- %s", f->done);
	putchar('\n');
}

static void write_finding(struct json *j, const struct check_finding *f)
{
	json_object_begin(j);
	json_field_string(j, "kind", check_kind_name(f->kind));
	if (f->ino)
		json_field_u64(j, "ino", f->ino);
	if (f->path)
		json_field_string(j, "path", f->path);
	json_field_string(j, "what", f->what);
	if (f->done)
		json_field_string(j, "done", f->done);
	json_object_end(j);
}

static void found(void *ctx, const struct check_finding *f)
{
	struct fsck *k = ctx;
	if (k->shown++ >= FINDINGS_SHOWN)
		return;
	if (k->json)
		write_finding(&k->out, f);
	else
		print_finding(f);
}

static bool step(void *ctx, uint64_t done, uint64_t total)
{
	struct fsck *k = ctx;
	progress_step(&k->progress, done, total);
	return !interrupted;
}

/* ---- the report ---- */

/* It failed on the way. */
static void end_report(struct fsck *k, int err, const struct errmsg *why)
{
	json_array_end(&k->out);
	json_field_string(&k->out, "error", why->text[0] ? why->text : strerror(-err));
	json_object_end(&k->out);
	json_finish(&k->out);
}

static void write_report(struct fsck *k, const struct check_result *r)
{
	struct json *j = &k->out;
	json_array_end(j);
	json_field_u64(j, "findings_found", k->shown);
	json_field_bool(j, "clean", r->problems == 0);
	json_field_bool(j, "repair", k->repair);
	json_field_bool(j, "incomplete", r->incomplete);
	json_field_u64(j, "problems", r->problems);
	json_field_u64(j, "repaired", r->mended);
	json_field_u64(j, "remaining", r->remaining);
	json_field_u64(j, "orphans", r->orphans);
	json_field_u64(j, "inodes", r->inodes);
	json_field_u64(j, "entries", r->entries);
	json_field_u64(j, "extents", r->extents);
	json_field_u64(j, "used_blocks", r->used_blocks);
	json_field_u64(j, "total_blocks", r->total_blocks);
	json_key(j, "system_area");
	json_object_begin(j);
	json_field_u64(j, "pages", r->area.pages);
	json_field_u64(j, "damaged", r->area.damaged);
	json_field_u64(j, "differing", r->area.differing);
	json_field_u64(j, "repaired", r->area.repaired);
	json_field_u64(j, "lost", r->area.lost);
	json_object_end(j);
	json_object_end(j);
	json_finish(j);
}

static void print_report(struct fsck *k, const struct check_result *r)
{
	if (k->shown > FINDINGS_SHOWN)
		printf("... and %llu more\n", (unsigned long long)(k->shown - FINDINGS_SHOWN));
	if (r->incomplete)
		printf("Files and names were not looked at, since the database is damaged:"
		       " --repair copies what can be read of it.\n");
	else
		printf("%llu inodes, %llu names, %llu extents; %llu of %llu blocks in use.\n",
			(unsigned long long)r->inodes, (unsigned long long)r->entries,
			(unsigned long long)r->extents, (unsigned long long)r->used_blocks,
			(unsigned long long)r->total_blocks);
	if (r->orphans)
		printf("%llu unlinked files %s.\n", (unsigned long long)r->orphans,
			k->repair ? "reclaimed" : "to be reclaimed at the next mount");
	if (!r->problems)
		printf("The file system is clean.\n");
	else if (!k->repair)
		printf("%llu problems found.\n", (unsigned long long)r->problems);
	else if (!r->remaining)
		printf("%llu problems found and mended; a second look finds none.\n",
			(unsigned long long)r->problems);
	else
		printf("%llu problems found; %llu are left after the repair.\n",
			(unsigned long long)r->problems, (unsigned long long)r->remaining);
}

/* ---- the check ---- */

static int open_volume(struct fsck *k, struct volume **out, struct errmsg *why)
{
	cleanup(volume_paths_free) struct volume_paths paths = {0};
	int err = volume_paths_find(k->paths, k->count, &paths, why);
	if (err < 0)
		return err;
	struct volume_open_options options = {.factory = &uring_factory,
		.paths = paths.paths,
		.count = paths.count,
		.read_only = !k->repair,
		.threaded = true};
	return volume_open(&options, out, why);
}

static int check(struct fsck *k, struct check_result *result, struct errmsg *why)
{
	struct volume *v;
	struct check_options options = {
		.repair = k->repair, .found = found, .progress = step, .ctx = k};
	int err = open_volume(k, &v, why);
	if (err < 0)
		return err;
	k->begun = true;
	if (k->json) {
		json_init_file(&k->out, stdout, JSON_INDENTED);
		json_object_begin(&k->out);
		json_key(&k->out, "findings");
		json_array_begin(&k->out);
	}
	err = fs_check(v, &options, result, why);
	progress_end(&k->progress);
	int closed = volume_close(v);
	return err < 0 ? err : closed;
}

static int take_options(int argc, char **argv, struct fsck *k)
{
	static const struct option options[] = {{"repair", no_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	for (int opt; (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		int status = cli_common_option(opt, argv);
		if (status >= 0)
			return status;
		k->repair |= opt == 'r';
		k->json |= opt == 'j';
	}
	k->paths = argv + optind;
	k->count = (unsigned)(argc - optind);
	return k->count ? -1 : cli_usage("which VOLUME?");
}

static int run(int argc, char **argv)
{
	struct fsck k = {.progress = {.what = "fsck"}};
	struct check_result result = {0};
	struct errmsg why = {0};
	int status = take_options(argc, argv, &k);
	if (status >= 0)
		return status;
	if (k.count == 1 && target_is_mount(k.paths[0]))
		return cli_fail(errmsg_set(&why, -EBUSY,
					"%s is mounted: unmount it first (a mounted volume is"
					" checked by stablefs scrub)",
					k.paths[0]),
			&why);
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	int err = check(&k, &result, &why);
	if (err < 0 && k.json && k.begun)
		end_report(&k, err, &why);
	if (err == -ECANCELED)
		(void)errmsg_set(&why, err, "the check was stopped");
	if (err < 0)
		return cli_fail(err, &why);
	if (k.json)
		write_report(&k, &result);
	else
		print_report(&k, &result);
	return result.problems ? CLI_DAMAGE : CLI_DONE;
}

const struct cli_verb verb_fsck = {
	"fsck", "check files, names and blocks of an unmounted volume; mend them", usage, run};
