/* SPDX-License-Identifier: MIT */
/* stablefs add: a spare for a mounted volume. */
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/members.h"
#include "report/json_copy.h"

static const char usage[] =
	"Usage: stablefs add [OPTION]... MOUNTPOINT PATH\n"
	"Keep PATH, a device or a file (made where there is none), as a spare of a mounted\n"
	"volume: it takes the place of the next member that fails, by itself.\n\n"
	"  --force      overwrite a volume or file system that is there\n"
	"  --json       the spares in hand, as JSON\n"
	"  -h, --help   this text\n";

static int add_spare(const char *mountpoint, const char *path, bool force,
	struct json_value **status, struct errmsg *why)
{
	char full[PATH_MAX], line[PATH_MAX + 32];
	int err = members_status(mountpoint, status, why);
	if (!err)
		err = members_absolute_path(path, full, why);
	if (err < 0)
		return err;
	snprintf(line, sizeof(line), "add %s%s", force ? "force " : "", full);
	err = members_request(mountpoint, line, why);
	json_value_free(take_ptr(status));
	return err < 0 ? err : members_status(mountpoint, status, why);
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	bool force = false, as_json = false;
	for (int opt; (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		int status = cli_common_option(opt, argv);
		force |= opt == 'f';
		as_json |= opt == 'j';
		if (status >= 0)
			return status;
	}
	if (argc - optind != 2)
		return cli_usage("it takes a MOUNTPOINT and a PATH");
	struct errmsg why = {0};
	cleanup(json_value_freep) struct json_value *status = NULL;
	int err = add_spare(argv[optind], argv[optind + 1], force, &status, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (as_json)
		json_print_value(json_get(status, "spares"), stdout);
	else
		printf("%s waits as a spare\n", argv[optind + 1]);
	return CLI_DONE;
}

const struct cli_verb verb_add = {"add", "keep a spare for the next member that fails", usage, run};
