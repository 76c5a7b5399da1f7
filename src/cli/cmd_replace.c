/* SPDX-License-Identifier: MIT */
/* stablefs replace: put a new disk, or the same again, in the place of a member. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/members.h"
#include "cli/work_wait.h"
#include "report/json_copy.h"

static const char usage[] =
	"Usage: stablefs replace [OPTION]... MOUNTPOINT MEMBER [PATH]\n"
	"Put PATH, a device or a file (made where there is none), in the place of a member of a\n"
	"mounted volume, and rebuild what it is to hold, in the background and over restarts.\n"
	"Without PATH: the first spare, or else where the member was before. A member that\n"
	"comes back is brought up to date only where it differs. MEMBER is its number or path.\n\n"
	"  --force      overwrite a volume or file system that is there\n"
	"  --wait       return when it is up to date; progress on stderr. Exit status 3 where\n"
	"               blocks could not be rebuilt\n"
	"  --json       what the member is now, as JSON\n"
	"  -h, --help   this text\n";

struct replace {
	const char *mountpoint;
	unsigned index;
	bool force, wait, json;
	struct json_value *status; /* owned */
	struct errmsg why;
};

/* -1 to go on, or the exit status. */
static int take_options(int argc, char **argv, struct replace *r)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'},
		{"wait", no_argument, NULL, 'w'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	int status = -1;
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		r->force |= opt == 'f';
		r->wait |= opt == 'w';
		r->json |= opt == 'j';
		status = cli_common_option(opt, argv);
	}
	int words = argc - optind;
	if (status < 0 && words != 2 && words != 3)
		status = cli_usage("it takes a MOUNTPOINT, a MEMBER and perhaps a PATH");
	return status;
}

static int request(struct replace *r, const char *name, const char *path)
{
	char full[PATH_MAX] = "", line[PATH_MAX + 64];
	int err = members_status(r->mountpoint, &r->status, &r->why);
	if (!err)
		err = members_find(r->status, name, &r->index, &r->why);
	if (!err && path)
		err = members_absolute_path(path, full, &r->why);
	if (err < 0)
		return err;
	snprintf(line, sizeof(line), "replace %u%s%s%s", r->index, r->force ? " force" : "",
		path ? " " : "", full);
	err = members_request(r->mountpoint, line, &r->why);
	json_value_free(take_ptr(&r->status));
	return err < 0 ? err : members_status(r->mountpoint, &r->status, &r->why);
}

static void print_begun(const struct replace *r)
{
	const struct json_value *m = members_get(r->status, r->index);
	uint64_t stale = json_get_u64(m, "stale_stripes", 0);
	uint64_t stripes = json_get_u64(r->status, "stripes", 0);
	if (!r->json)
		printf("member %u, %s: %llu of %llu stripes to be rebuilt\n", r->index,
			json_get_string(m, "path", "?"), (unsigned long long)stale,
			(unsigned long long)stripes);
}

static int wait_for_it(struct replace *r)
{
	json_value_free(take_ptr(&r->status));
	return work_wait(r->mountpoint, "rebuild", &r->status, &r->why);
}

/* The exit status: it is up to date, or why it is not. */
static int print_ended(const struct replace *r)
{
	const struct json_value *m = members_get(r->status, r->index);
	const struct json_value *work = work_of(r->status, "rebuild");
	const char *state = json_get_string(m, "state", "?");
	uint64_t left = json_get_u64(m, "stale_stripes", 0);
	if (!strcmp(state, "active")) {
		if (!r->json)
			printf("member %u is up to date, the volume is %s\n", r->index,
				json_get_string(r->status, "state", "?"));
		return CLI_DONE;
	}
	fprintf(stderr, "stablefs replace: member %u is %s: %s\n", r->index, state,
		json_get_string(m, "reason", json_get_string(work, "error", "unknown reason")));
	if (strcmp(state, "rebuilding") != 0)
		return CLI_FAILED;
	fprintf(stderr, "%llu stripes hold blocks that nothing can rebuild: scrub names them\n",
		(unsigned long long)left);
	return CLI_DAMAGE;
}

static int run(int argc, char **argv)
{
	struct replace r = {0};
	int result = take_options(argc, argv, &r);
	if (result >= 0)
		return result;
	r.mountpoint = argv[optind];
	int err = request(&r, argv[optind + 1], argc - optind == 3 ? argv[optind + 2] : NULL);
	if (!err)
		print_begun(&r);
	if (!err && r.wait)
		err = wait_for_it(&r);
	result = err < 0 ? cli_fail(err, &r.why) : r.wait ? print_ended(&r) : CLI_DONE;
	if (!err && r.json)
		json_print_value(members_get(r.status, r.index), stdout);
	json_value_free(r.status);
	return result;
}

const struct cli_verb verb_replace = {
	"replace", "put a disk in the place of a member, and rebuild it", usage, run};
