/* SPDX-License-Identifier: MIT */
/* stablefs status: a volume in a few lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/target.h"
#include "cli/work_print.h"
#include "report/json_read.h"
#include "report/size.h"
#include "report/table.h"

static const char usage[] =
	"Usage: stablefs status [OPTION]... VOLUME...|MOUNTPOINT\n"
	"Say what a volume is, how full, how its members are, and what is done in the\n"
	"background. Exit status 3 where a member is missing or being rebuilt.\n\n"
	"  --json       as JSON\n"
	"  -h, --help   this text\n";

static void print_members(const struct json_value *status)
{
	struct table *t = table_new(
		"rlrrrrrrl", (const char *[]){"member", "state", "reads", "writes", "errors",
				     "unreadable", "bad guard", "stale", "path"});
	json_for_each(m, json_get(status, "members"))
	{
		static const char *const counts[] = {"reads", "writes", "errors", "read_errors",
			"check_errors", "stale_stripes"};
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(m, "index", 0));
		table_add_cell(t, "%s", json_get_string(m, "state", "?"));
		for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
			table_add_cell(
				t, "%llu", (unsigned long long)json_get_u64(m, counts[i], 0));
		table_add_cell(t, "%s", json_get_string(m, "path", ""));
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
}

/* What does not fit into the table: why members are out, and who waits. */
static void print_reasons(const struct json_value *status)
{
	json_for_each(m, json_get(status, "members"))
	{
		const char *reason = json_get_string(m, "reason", "");
		if (*reason)
			printf("member %llu: %s\n", (unsigned long long)json_get_u64(m, "index", 0),
				reason);
	}
	json_for_each(spare, json_get(status, "spares"))
	{
		printf("spare    %s\n", spare->text);
	}
}

static void print_status(const struct json_value *status)
{
	char chunk[SIZE_TEXT_BYTES], data[SIZE_TEXT_BYTES], free_size[SIZE_TEXT_BYTES];
	size_format(json_get_u64(status, "chunk_bytes", 0), chunk);
	size_format(json_get_u64(status, "data_bytes", 0), data);
	size_format(json_get_u64(status, "free_bytes", 0), free_size);
	const char *label = json_get_string(status, "label", "");
	printf("volume   %s%s%s\n", json_get_string(status, "volume_uuid", "?"), *label ? "  " : "",
		label);
	printf("level    %s, chunk %s, PI %s%s, write hole: %s\n",
		json_get_string(status, "level", "?"), chunk, json_get_string(status, "pi", "?"),
		strcmp(json_get_string(status, "pi_check", ""), "device")
			? ""
			: " checked by the device",
		json_get_string(status, "write_hole", "?"));
	printf("state    %s, generation %llu%s%s\n", json_get_string(status, "state", "?"),
		(unsigned long long)json_get_u64(status, "generation", 0),
		json_get(status, "mountpoint") ? ", mounted at " : ", not mounted",
		json_get_string(status, "mountpoint", ""));
	printf("data     %s, %s free, %llu inodes\n\n", data, free_size,
		(unsigned long long)json_get_u64(status, "inodes", 0));
	print_members(status);
	print_reasons(status);
	work_print_lines(status);
}

static bool is_whole(const struct json_value *status)
{
	const char *state = json_get_string(status, "state", "");
	return !strcmp(state, "healthy") || !strcmp(state, "resyncing");
}

static int run(int argc, char **argv)
{
	bool as_json = false;
	int usage_status = cli_json_option(argc, argv, &as_json);
	if (usage_status >= 0)
		return usage_status;
	unsigned count = (unsigned)(argc - optind);
	if (!count)
		return cli_usage("which VOLUME or MOUNTPOINT?");
	struct errmsg why = {0};
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *status = NULL;
	int err = count == 1 && target_is_mount(argv[optind])
			  ? target_status(argv[optind], &text, &why)
			  : target_ask(argv + optind, count, "status", &text, &why);
	if (!err)
		err = json_parse(text, strlen(text), &status, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (as_json)
		fputs(text, stdout);
	else
		print_status(status);
	return is_whole(status) ? CLI_DONE : CLI_DAMAGE;
}

const struct cli_verb verb_status = {
	"status", "what a volume is and how its members are", usage, run};
