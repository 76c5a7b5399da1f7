/* SPDX-License-Identifier: MIT */
/* stablefs inspect: superblocks, a stripe with its tuples, where a file lies, who shares its
 * stripes. */
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
	"Usage: stablefs inspect [OPTION]... super VOLUME...|MOUNTPOINT\n"
	"       stablefs inspect [OPTION]... stripe N VOLUME...|MOUNTPOINT\n"
	"       stablefs inspect [OPTION]... file PATH VOLUME...|MOUNTPOINT\n"
	"       stablefs inspect [OPTION]... shares PATH VOLUME...|MOUNTPOINT\n"
	"Look at a superblock, at a stripe with its tuples, at a file's extents, or at the files\n"
	"that share stripes with a file. PATH is absolute inside the volume, or below\n"
	"MOUNTPOINT.\n\n"
	"  --json       as JSON\n"
	"  -h, --help   this text\n";

static void print_scalar(const struct json_value *v)
{
	if (v->kind == JSON_BOOL)
		printf("%s\n", v->truth ? "yes" : "no");
	else
		printf("%s\n", v->text ? v->text : "-");
}

static void print_peers(const struct json_value *peers)
{
	putchar('\n');
	json_for_each(peer, peers)
	{
		printf("  member %-5llu %s, %s\n",
			(unsigned long long)json_get_u64(peer, "index", 0),
			json_get_string(peer, "member_uuid", "?"),
			json_get_string(peer, "state", "?"));
	}
}

static void print_super(const struct json_value *doc)
{
	json_for_each(super, json_get(doc, "superblocks"))
	{
		json_for_each(field, super)
		{
			printf("%-14s ", field->key);
			if (field->kind == JSON_OBJECT)
				printf("at %llu, %llu bytes\n",
					(unsigned long long)json_get_u64(field, "offset", 0),
					(unsigned long long)json_get_u64(field, "length", 0));
			else if (field->kind == JSON_ARRAY)
				print_peers(field);
			else
				print_scalar(field);
		}
		putchar('\n');
	}
}

static void print_slot(const struct json_value *slot)
{
	struct table *t = table_new(
		"rlllrl", (const char *[]){"row", "state", "guard", "of data", "ref", "file"});
	json_for_each(row, json_get(slot, "rows"))
	{
		char ref[24] = "", file[4200];
		uint64_t tag = json_get_u64(row, "ref_tag", UINT64_MAX);
		if (tag != UINT64_MAX)
			snprintf(ref, sizeof(ref), "%llu", (unsigned long long)tag);
		snprintf(file, sizeof(file), "%s", json_get_string(row, "file", ""));
		if (file[0])
			snprintf(file + strlen(file), 40, " at %llu",
				(unsigned long long)json_get_u64(row, "file_offset", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(row, "row", 0));
		table_add_cell(t, "%s", json_get_string(row, "state", "?"));
		table_add_cell(
			t, "%s", json_get_string(row, "guard", json_get_string(row, "tuple", "-")));
		table_add_cell(t, "%s", json_get_string(row, "guard_of_data", "-"));
		table_add_cell(t, "%s", ref);
		table_add_cell(t, "%s", file);
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
}

static void print_stripe(const struct json_value *doc)
{
	printf("stripe %llu: %llu parity rows wrong, %llu mirrored rows differ\n",
		(unsigned long long)json_get_u64(doc, "stripe", 0),
		(unsigned long long)json_get_u64(doc, "parity_mismatches", 0),
		(unsigned long long)json_get_u64(doc, "mirror_mismatches", 0));
	json_for_each(slot, json_get(doc, "slots"))
	{
		printf("\nmember %llu, %s%s, from block %llu on\n",
			(unsigned long long)json_get_u64(slot, "member", 0),
			json_get_string(slot, "role", "?"),
			json_get_bool(slot, "present", true) ? "" : ", missing",
			(unsigned long long)json_get_u64(slot, "member_block", 0));
		if (json_get_bool(slot, "present", true))
			print_slot(slot);
	}
}

static void print_file(const struct json_value *doc)
{
	struct table *t = table_new("rrrrr",
		(const char *[]){"offset", "length", "volume block", "stripes", "first member"});
	printf("%s, inode %llu\n", json_get_string(doc, "path", "?"),
		(unsigned long long)json_get_u64(doc, "ino", 0));
	json_for_each(e, json_get(doc, "extents"))
	{
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(e, "file_offset", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(e, "length", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(e, "volume_block", 0));
		table_add_cell(t, "%llu-%llu",
			(unsigned long long)json_get_u64(e, "first_stripe", 0),
			(unsigned long long)json_get_u64(e, "last_stripe", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(e, "first_member", 0));
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
	const struct json_value *shares = json_get(doc, "shares_stripes_with");
	if (shares)
		printf("\nFiles in the same stripes:%s\n", shares->first ? "" : " none");
	json_for_each(other, shares)
		printf("  %s, %llu blocks\n", json_get_string(other, "path", "?"),
			(unsigned long long)json_get_u64(other, "blocks", 0));
}

struct inspect_kind {
	const char *name;
	bool takes_word;
	void (*print)(const struct json_value *doc);
};

static const struct inspect_kind kinds[] = {{"super", false, print_super},
	{"stripe", true, print_stripe}, {"file", true, print_file}, {"shares", true, print_file}};

static const struct inspect_kind *find_kind(const char *name)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static int ask_and_print(const struct inspect_kind *kind, const char *word, char *const *args,
	unsigned count, bool as_json)
{
	char line[4200];
	struct errmsg why = {0};
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *doc = NULL;
	snprintf(line, sizeof(line), "inspect %s%s%s", kind->name, word ? " " : "",
		word ? word : "");
	int err = target_ask(args, count, line, &text, &why);
	if (!err)
		err = json_parse(text, strlen(text), &doc, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (as_json)
		fputs(text, stdout);
	else
		kind->print(doc);
	return CLI_DONE;
}

static int run(int argc, char **argv)
{
	bool as_json = false;
	int usage_status = cli_json_option(argc, argv, &as_json);
	if (usage_status >= 0)
		return usage_status;
	if (optind == argc)
		return cli_usage("what? super, stripe, file or shares");
	const struct inspect_kind *kind = find_kind(argv[optind]);
	if (!kind)
		return cli_usage(
			"cannot inspect '%s': super, stripe, file or shares", argv[optind]);
	optind++;
	const char *word = NULL;
	if (kind->takes_word && optind < argc)
		word = argv[optind++];
	if (optind == argc)
		return cli_usage(kind->takes_word && !word ? "%s of what?"
							   : "%s: which VOLUME or MOUNTPOINT?",
			kind->name);
	return ask_and_print(kind, word, argv + optind, (unsigned)(argc - optind), as_json);
}

const struct cli_verb verb_inspect = {"inspect",
	"a superblock, a stripe, a file's extents, who shares "
	"its stripes",
	usage, run};
