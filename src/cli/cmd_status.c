/* SPDX-License-Identifier: MIT */
/* stablefs status: a volume in a few lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/target.h"
#include "report/json_read.h"
#include "report/size.h"
#include "report/table.h"

static const char usage[] =
	"Usage: stablefs status [OPTION]... VOLUME...|MOUNTPOINT\n"
	"Say what a volume is, how full, and how its members are. Exit status 3 where one is\n"
	"missing.\n\n"
	"  --json       as JSON\n"
	"  -h, --help   this text\n";

static void print_members(const struct json_value *status)
{
	struct table *t = table_new(
		"rlrrrl", (const char *[]){"member", "state", "reads", "writes", "errors", "path"});
	json_for_each(m, json_get(status, "members"))
	{
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(m, "index", 0));
		table_add_cell(t, "%s", json_get_string(m, "state", "?"));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(m, "reads", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(m, "writes", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(m, "errors", 0));
		table_add_cell(t, "%s", json_get_string(m, "path", ""));
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
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
	printf("level    %s, chunk %s, PI %s%s\n", json_get_string(status, "level", "?"), chunk,
		json_get_string(status, "pi", "?"),
		strcmp(json_get_string(status, "pi_check", ""), "device")
			? ""
			: ", checked by the device");
	printf("state    %s, generation %llu%s%s\n", json_get_string(status, "state", "?"),
		(unsigned long long)json_get_u64(status, "generation", 0),
		json_get(status, "mountpoint") ? ", mounted at " : ", not mounted",
		json_get_string(status, "mountpoint", ""));
	printf("data     %s, %s free, %llu inodes\n\n", data, free_size,
		(unsigned long long)json_get_u64(status, "inodes", 0));
	print_members(status);
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
	int err = target_ask(argv + optind, count, "status", &text, &why);
	if (!err)
		err = json_parse(text, strlen(text), &status, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (as_json)
		fputs(text, stdout);
	else
		print_status(status);
	return strcmp(json_get_string(status, "state", ""), "healthy") ? CLI_DAMAGE : CLI_DONE;
}

const struct cli_verb verb_status = {
	"status", "what a volume is and how its members are", usage, run};
