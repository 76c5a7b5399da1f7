/* SPDX-License-Identifier: MIT */
/* What was counted, summed up and said. */
#include "cli/check_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "report/json.h"
#include "report/json_copy.h"
#include "report/table.h"

#define ROWS_SHOWN 20u

enum check_verdict check_judge(const struct check_counts *c)
{
	if (c->mutated || c->reads_mutated)
		return CHECK_MUTATED;
	if (!c->writes)
		return CHECK_NONE;
	return c->observed < c->writes - c->observed ? CHECK_UNKNOWN : CHECK_STILL;
}

const char *check_verdict_name(enum check_verdict verdict)
{
	static const char *const names[] = {[CHECK_STILL] = "still",
		[CHECK_MUTATED] = "mutated",
		[CHECK_UNKNOWN] = "unknown",
		[CHECK_NONE] = "no direct writes"};
	return names[verdict];
}

int check_exit_status(enum check_verdict verdict, bool stopped)
{
	static const int statuses[] = {[CHECK_STILL] = CLI_DONE,
		[CHECK_MUTATED] = CLI_DAMAGE,
		[CHECK_UNKNOWN] = CLI_FAILED,
		[CHECK_NONE] = CLI_DONE};
	return stopped && statuses[verdict] == CLI_DONE ? CLI_FAILED : statuses[verdict];
}

/* ---- sums ---- */

static struct check_counts counts_of(const struct json_value *row)
{
	struct check_counts c = {.writes = json_get_u64(row, "writes", 0),
		.observed = json_get_u64(row, "observed", 0),
		.mutated = json_get_u64(row, "mutated", 0),
		.reads = json_get_u64(row, "reads", 0),
		.reads_mutated = json_get_u64(row, "reads_mutated", 0)};
	/* Counters are read one after the other: no share may exceed one. */
	c.observed = c.observed < c.writes ? c.observed : c.writes;
	return c;
}

static void add_counts(struct check_counts *to, struct check_counts c)
{
	to->writes += c.writes;
	to->observed += c.observed;
	to->mutated += c.mutated;
	to->reads += c.reads;
	to->reads_mutated += c.reads_mutated;
}

struct check_counts check_count(const struct json_value *processes)
{
	struct check_counts sum = {0};
	json_for_each(row, json_get(processes, "processes")) add_counts(&sum, counts_of(row));
	return sum;
}

static int worse_first(const void *a, const void *b)
{
	const struct check_file *x = a, *y = b;
	uint64_t mutated_x = x->counts.mutated + x->counts.reads_mutated;
	uint64_t mutated_y = y->counts.mutated + y->counts.reads_mutated;
	if (mutated_x != mutated_y)
		return mutated_x < mutated_y ? 1 : -1;
	if (x->counts.writes != y->counts.writes)
		return x->counts.writes < y->counts.writes ? 1 : -1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int add_file(struct check_file **files, unsigned *count, const struct json_value *row)
{
	uint64_t ino = json_get_u64(row, "ino", 0);
	unsigned i = 0;
	while (i < *count && (*files)[i].ino != ino)
		i++;
	if (i == *count) {
		struct check_file *more = realloc(*files, (i + 1) * sizeof(**files));
		if (!more)
			return -ENOMEM;
		*files = more;
		more[i] =
			(struct check_file){.name = json_get_string(row, "file", NULL), .ino = ino};
		(*count)++;
	}
	add_counts(&(*files)[i].counts, counts_of(row));
	return 0;
}

int check_sum_files(const struct json_value *processes, struct check_file **files)
{
	cleanup(cleanup_freep) struct check_file *all = NULL;
	unsigned count = 0;
	json_for_each(process, json_get(processes, "processes"))
	{
		json_for_each(row, json_get(process, "files"))
		{
			int err = add_file(&all, &count, row);
			if (err < 0)
				return err;
		}
	}
	if (count)
		qsort(all, count, sizeof(*all), worse_first);
	*files = take_ptr(&all);
	return (int)count;
}

/* ---- text ---- */

static unsigned long long number(uint64_t n)
{
	return (unsigned long long)n;
}

static void print_verdict(const struct check_counts *c, const char *cmd, FILE *out)
{
	switch (check_judge(c)) {
	case CHECK_MUTATED:
		fprintf(out,
			"mutated: '%s' changed its buffers in flight, in %llu of %llu observed "
			"direct writes (of %llu)",
			cmd, number(c->mutated), number(c->observed), number(c->writes));
		if (c->reads_mutated)
			fprintf(out, " and in %llu direct reads", number(c->reads_mutated));
		fprintf(out, ".\n");
		break;
	case CHECK_STILL:
		fprintf(out,
			"still: '%s' left its buffers alone in all of %llu observed direct writes "
			"(of %llu).\n",
			cmd, number(c->observed), number(c->writes));
		break;
	case CHECK_UNKNOWN:
		fprintf(out,
			"unknown: of %llu direct writes of '%s' only %llu could be observed, and "
			"none of these was changed.\n",
			number(c->writes), cmd, number(c->observed));
		break;
	case CHECK_NONE:
		fprintf(out,
			"no direct writes: '%s' wrote nothing with O_DIRECT on the scratch volume, "
			"so there is nothing that it could change in flight.\n",
			cmd);
	}
}

static void add_counts_cells(struct table *t, const struct check_counts *c)
{
	table_add_cell(t, "%llu", number(c->writes));
	table_add_cell(t, "%llu", number(c->observed));
	table_add_cell(t, "%llu", number(c->mutated));
}

static void add_process_rows(
	struct table *t, const struct json_value *process, unsigned *left, unsigned *hidden)
{
	json_for_each(file, json_get(process, "files"))
	{
		struct check_counts c = counts_of(file);
		if (!c.writes && !c.reads_mutated)
			continue;
		if (!*left) {
			(*hidden)++;
			continue;
		}
		(*left)--;
		const char *name = json_get_string(file, "file", NULL);
		table_add_cell(t, "  %s", json_get_string(process, "comm", "(others)"));
		table_add_cell(t, "%lld", (long long)json_get_i64(process, "pid", 0));
		table_add_cell(t, "%s", json_get_string(process, "call", ""));
		if (name)
			table_add_cell(t, "%s", name);
		else
			table_add_cell(
				t, "(inode %llu, removed)", number(json_get_u64(file, "ino", 0)));
		add_counts_cells(t, &c);
	}
}

static int print_table(const struct check_report *r, FILE *out)
{
	unsigned left = ROWS_SHOWN, hidden = 0;
	cleanup(table_freep) struct table *t =
		table_new("lrllrrr", (const char *[]){"  process", "pid", "call", "file", "writes",
					     "observed", "mutated"});
	if (!t)
		return -ENOMEM;
	json_for_each(process, json_get(r->processes, "processes"))
		add_process_rows(t, process, &left, &hidden);
	if (left == ROWS_SHOWN)
		return 0;
	int err = table_print(t, out);
	if (hidden)
		fprintf(out, "  ... and %u rows more: see --json\n", hidden);
	return err;
}

static const struct json_value *reasons(const struct check_report *r)
{
	return json_get(json_get(r->stats, "direct_writes"), "unobserved_by_reason");
}

static void print_reasons(const struct check_report *r, FILE *out)
{
	json_for_each(reason, reasons(r))
	{
		uint64_t n;
		if (!json_value_u64(reason, &n) || !n)
			continue;
		fprintf(out, "  %llu writes unobserved: ", number(n));
		for (const char *at = reason->key; *at; at++)
			fputc(*at == '_' ? ' ' : *at, out);
		fputc('\n', out);
	}
}

static void print_remarks(const struct check_report *r, const struct check_counts *c, FILE *out)
{
	if (r->unfollowed && c->observed < c->writes)
		fprintf(out, "  libaio submissions were not followed: %s\n", r->unfollowed);
	if (r->stopped)
		fprintf(out, "  It was stopped by a signal: the verdict is about what ran.\n");
	else if (r->cmd_status > 128)
		fprintf(out, "  '%s' was ended by signal %d.\n", r->cmd[0], r->cmd_status - 128);
	else if (r->cmd_status)
		fprintf(out, "  '%s' failed with exit status %d.\n", r->cmd[0], r->cmd_status);
	if (r->ended_rest)
		fprintf(out, "  Processes that outlived it were ended.\n");
	if (r->kept)
		fprintf(out, "  The volume is kept: %s\n", r->kept);
}

int check_print_text(const struct check_report *r, FILE *out)
{
	struct check_counts c = check_count(r->processes);
	print_verdict(&c, r->cmd[0], out);
	int err = print_table(r, out);
	print_reasons(r, out);
	print_remarks(r, &c, out);
	return err;
}

/* ---- JSON ---- */

static void write_counts(struct json *j, const struct check_counts *c)
{
	json_field_u64(j, "writes", c->writes);
	json_field_u64(j, "observed", c->observed);
	json_field_u64(j, "unobserved", c->writes - c->observed);
	json_field_u64(j, "mutated", c->mutated);
	json_field_u64(j, "reads", c->reads);
	json_field_u64(j, "reads_mutated", c->reads_mutated);
}

static void write_program(struct json *j, const struct check_report *r)
{
	json_key(j, "cmd");
	json_array_begin(j);
	for (char *const *word = r->cmd; *word; word++)
		json_string(j, *word);
	json_array_end(j);
	json_field_i64(j, "cmd_status", r->cmd_status);
	json_field_bool(j, "stopped", r->stopped);
	json_field_bool(j, "ended_rest", r->ended_rest);
}

static void write_setup(struct json *j, const struct check_report *r)
{
	json_field_string(j, "policy", r->policy);
	json_field_u64(j, "hold_ns", r->hold_ns);
	json_field_string(j, "level", r->level);
	json_field_string(j, "pi", r->pi);
	if (r->kept)
		json_field_string(j, "kept", r->kept);
	json_key(j, "libaio");
	json_object_begin(j);
	json_field_bool(j, "followed", !r->unfollowed);
	if (r->unfollowed)
		json_field_string(j, "reason", r->unfollowed);
	json_field_u64(j, "submissions", r->follow.submissions);
	json_field_u64(j, "recorded", r->follow.recorded);
	json_field_u64(j, "unreadable", r->follow.unreadable);
	json_object_end(j);
}

static int write_files(struct json *j, const struct check_report *r)
{
	cleanup(cleanup_freep) struct check_file *files = NULL;
	int count = check_sum_files(r->processes, &files);
	json_key(j, "files");
	json_array_begin(j);
	for (int i = 0; i < count; i++) {
		json_object_begin(j);
		json_field_string(j, "file", files[i].name);
		json_field_u64(j, "ino", files[i].ino);
		write_counts(j, &files[i].counts);
		json_object_end(j);
	}
	json_array_end(j);
	return count < 0 ? count : 0;
}

int check_print_json(const struct check_report *r, FILE *out)
{
	struct check_counts c = check_count(r->processes);
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_field_string(&j, "verdict", check_verdict_name(check_judge(&c)));
	write_counts(&j, &c);
	write_program(&j, r);
	write_setup(&j, r);
	json_key(&j, "unobserved_by_reason");
	json_copy_value(&j, reasons(r));
	json_key(&j, "processes");
	json_copy_value(&j, json_get(r->processes, "processes"));
	int err = write_files(&j, r);
	json_object_end(&j);
	int finished = json_finish(&j);
	return err < 0 ? err : finished;
}
