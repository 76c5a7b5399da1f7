/* SPDX-License-Identifier: MIT */
/* The report of a scrub as text. */
#include "cli/scrub_print.h"

#include <stdio.h>
#include <string.h>
#include "report/size.h"
#include "report/table.h"

#define FILES_SHOWN  20u
#define RANGES_SHOWN 20u

static uint64_t blocks_concerned(const struct json_value *file)
{
	return json_get_u64(file, "parity_blocks", 0) + json_get_u64(file, "mirror_blocks", 0) +
	       json_get_u64(file, "guard_blocks", 0) + json_get_u64(file, "unreadable_blocks", 0);
}

static void add_file(struct table *t, const struct json_value *file)
{
	char offset[SIZE_TEXT_BYTES];
	const struct json_value *ranges = json_get(file, "ranges");
	size_format(json_get_u64(ranges ? ranges->first : NULL, "offset", 0), offset);
	table_add_cell(t, "  %s", json_get_string(file, "path", "?"));
	table_add_cell(t, "%llu", (unsigned long long)blocks_concerned(file));
	table_add_cell(t, "%llu", (unsigned long long)json_get_u64(file, "lost_blocks", 0));
	table_add_cell(t, "from %s on, %llu places", offset,
		(unsigned long long)json_get_u64(file, "ranges_found", 0));
}

static void print_files(const struct json_value *report)
{
	struct table *t = table_new("lrrl", (const char *[]){"  file", "blocks", "lost", "where"});
	unsigned total = 0;
	json_for_each(file, json_get(report, "files"))
	{
		if (++total <= FILES_SHOWN)
			add_file(t, file);
	}
	if (total)
		printf("Files concerned (4K blocks):\n");
	if (total && t)
		table_print(t, stdout);
	if (total > FILES_SHOWN)
		printf("  ... and %u more: see --json\n", total - FILES_SHOWN);
	table_free(t);
}

/* What cannot be read any more, place by place. */
static void print_lost(const struct json_value *report)
{
	struct table *t = table_new("lrr", (const char *[]){"  file", "offset", "bytes"});
	unsigned total = 0;
	json_for_each(file, json_get(report, "files"))
	{
		json_for_each(range, json_get(file, "lost_ranges"))
		{
			if (++total > RANGES_SHOWN)
				continue;
			table_add_cell(t, "  %s", json_get_string(file, "path", "?"));
			table_add_cell(
				t, "%llu", (unsigned long long)json_get_u64(range, "offset", 0));
			table_add_cell(
				t, "%llu", (unsigned long long)json_get_u64(range, "length", 0));
		}
	}
	if (total)
		printf("Beyond repair; reading them fails, all else can be read:\n");
	if (total && t)
		table_print(t, stdout);
	if (total > RANGES_SHOWN)
		printf("  ... and %u more: see --json\n", total - RANGES_SHOWN);
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
			printf("  wrong on member %llu (%s): %llu blocks\n",
				(unsigned long long)json_get_u64(m, "index", 0),
				json_get_string(m, "path", "?"), (unsigned long long)wrong);
	}
}

/* Nothing where its copies agree. */
static void print_area(const struct json_value *report)
{
	static const struct {
		const char *key, *words;
	} lines[] = {{"damaged", "damaged on a member"},
		{"differing", "of another age than the first member's"},
		{"repaired", "written back"}, {"lost", "right on no member: see stablefs fsck"}};
	const struct json_value *area = json_get(report, "system_area");
	for (unsigned i = 0; area && i < sizeof(lines) / sizeof(lines[0]); i++) {
		uint64_t n = json_get_u64(area, lines[i].key, 0);
		if (n)
			printf("  system area: %llu pages %s\n", (unsigned long long)n,
				lines[i].words);
	}
}

static void print_count(const struct json_value *report, const char *key, const char *what)
{
	printf("  %-28s %llu\n", what, (unsigned long long)json_get_u64(report, key, 0));
}

/* Two sides disagree, and neither can be asked for a proof. */
static void print_judgement(const struct json_value *report)
{
	const char *right = json_get_string(report, "right_by", "pi");
	bool data = !strcmp(right, "data");
	if (!strcmp(right, "pi") || !(json_get_u64(report, "parity_mismatches", 0) +
					    json_get_u64(report, "mirror_mismatches", 0)))
		return;
	printf("Without PI nobody can know which side is right. %s: %s.\n",
		json_get_bool(report, "repair", false) ? "What was done" : "What --repair does",
		data ? "the data is taken for right, and parity made from it"
		     : "the first mirror is taken for right, and copied over the others");
}

void scrub_print_report(const struct json_value *report)
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
	print_area(report);
	print_members(report);
	print_judgement(report);
	print_files(report);
	print_lost(report);
	uint64_t unowned = json_get_u64(report, "blocks_without_file", 0);
	if (unowned)
		printf("  %llu of the blocks belong to no file\n", (unsigned long long)unowned);
}
