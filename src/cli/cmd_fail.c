/* SPDX-License-Identifier: MIT */
/* stablefs fail: take a member of a mounted volume out. */
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/members.h"
#include "report/json_copy.h"

static const char usage[] =
	"Usage: stablefs fail [OPTION]... MOUNTPOINT MEMBER\n"
	"Take a member of a mounted volume out: the others serve its data from now on, and say\n"
	"so durably. Refused where the volume cannot do without it. MEMBER is its number or its\n"
	"path. A spare takes its place by itself; or see stablefs replace.\n\n"
	"  --json       what the member is now, as JSON\n"
	"  -h, --help   this text\n";

static int fail_member(const char *mountpoint, const char *name, struct json_value **status,
	unsigned *index, struct errmsg *why)
{
	char line[32];
	int err = members_status(mountpoint, status, why);
	if (!err)
		err = members_find(*status, name, index, why);
	if (err < 0)
		return err;
	snprintf(line, sizeof(line), "fail %u", *index);
	err = members_request(mountpoint, line, why);
	json_value_free(take_ptr(status));
	return err < 0 ? err : members_status(mountpoint, status, why);
}

static int run(int argc, char **argv)
{
	bool as_json = false;
	int usage_status = cli_json_option(argc, argv, &as_json);
	if (usage_status >= 0)
		return usage_status;
	if (argc - optind != 2)
		return cli_usage("it takes a MOUNTPOINT and a MEMBER");
	struct errmsg why = {0};
	cleanup(json_value_freep) struct json_value *status = NULL;
	unsigned index = 0;
	int err = fail_member(argv[optind], argv[optind + 1], &status, &index, &why);
	if (err < 0)
		return cli_fail(err, &why);
	const struct json_value *member = members_get(status, index);
	if (as_json)
		json_print_value(member, stdout);
	else
		printf("member %u is %s, the volume is %s\n", index,
			json_get_string(member, "state", "?"),
			json_get_string(status, "state", "?"));
	return CLI_DONE;
}

const struct cli_verb verb_fail = {"fail", "take a member out", usage, run};
