/* SPDX-License-Identifier: MIT */
/* stablefs demo: the experiment, end to end, in a scratch volume: each case with the mutator under
 * zero-copy, with the mutator under the bounce buffer (the cure), and without a mutator (the
 * control). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/demo.h"
#include "report/json.h"
#include "report/size.h"
#include "report/table.h"

static const char usage[] =
	"Usage: stablefs demo [OPTION]... [EXPERIMENT... | STUDY [PART]...]\n"
	"Run the experiment: direct writes of 64K while a second thread stores into the buffer,\n"
	"on volumes made for it. Experiments (default: all): parity, victims, mirror, metadata,\n"
	"disk. Studies, one at a time (PART: a policy, or a row of truth by its name in JSON):\n\n"
	"  cures        every policy on the same writes: cost, damage, who is named\n"
	"  reads        readers that store into their buffer\n"
	"  truth        the same as on a real kernel, number by number\n"
	"  neighbours   what an idle user loses by another user's writes (needs root)\n"
	"  write-hole   a power cut and a lost member, with and without the log\n"
	"  bitrot       bits flip on a medium, without and with PI\n"
	"  misdirected  writes go astray, without and with PI\n\n"
	"  --count N    direct writes in each run (default 500)\n"
	"  --hold TIME  keep each write open that long before its data is sampled (default 200us)\n"
	"  --dir DIR    where the scratch volumes go (default: TMPDIR or /var/tmp)\n"
	"  --svg FILE   draw the ruined stripe (cures: cost and damage) into FILE too\n"
	"  --json       the results as JSON\n"
	"  -h, --help   this text\n\n"
	"Exit status 0 where the cure and the control show no damage, 1 where they do.\n";

static const struct demo_study *const studies[] = {&demo_cures, &demo_reads, &demo_truth,
	&demo_neighbours, &demo_write_hole, &demo_bitrot, &demo_misdirected};
#define STUDIES (sizeof(studies) / sizeof(studies[0]))

struct demo_args {
	struct demo_setup setup;
	const char *dir, *svg;
	bool json;
};

/* ---- showing ---- */

static void add_count(struct table *t, const struct demo_count *c)
{
	if (c->ran)
		table_add_cell(
			t, "%llu of %llu", (unsigned long long)c->wrong, (unsigned long long)c->of);
	else
		table_add_cell(t, "-");
}

static void print_results(const struct demo_experiment *const *chosen, unsigned count,
	const struct demo_outcome *results)
{
	struct table *t = table_new(
		"llrrrl", (const char *[]){"experiment", "", "zero-copy, mutator",
				  "bounce, mutator", "zero-copy, still", "a real kernel"});
	for (unsigned i = 0; i < count; i++) {
		table_add_cell(t, "%s", chosen[i]->title);
		table_add_cell(t, "%s", chosen[i]->unit);
		for (unsigned cell = 0; cell < DEMO_CELLS; cell++)
			add_count(t, &results[i].cells[cell]);
		table_add_cell(t, "%s", chosen[i]->reality);
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
}

/* The claims beside the truth: what the mutator knows that it changed, what the daemon saw. */
static void print_truth(const struct demo_experiment *const *chosen, unsigned count,
	const struct demo_outcome *results)
{
	printf("\nWrites changed in flight: by the mutator's own record, and as the daemon saw "
	       "them in live memory\n");
	for (unsigned i = 0; i < count; i++) {
		const struct demo_count *c = &results[i].cells[DEMO_ZEROCOPY];
		const struct demo_count *s = &results[i].cells[DEMO_STILL];
		printf("  %-9s changed %llu, seen %llu (still buffer: %llu, %llu); observed %llu "
		       "of %llu direct writes\n",
			chosen[i]->name, (unsigned long long)c->changed,
			(unsigned long long)c->seen, (unsigned long long)s->changed,
			(unsigned long long)s->seen,
			(unsigned long long)(c->observed + s->observed),
			(unsigned long long)(c->direct + s->direct));
	}
}

static void print_files(const struct demo_experiment *e, const struct demo_outcome *r)
{
	if (!r->file_count)
		return;
	printf("\n%s:\n", e->title);
	for (unsigned i = 0; i < r->file_count; i++)
		printf("  %-16s %llu blocks of 4K%s\n", r->files[i].path,
			(unsigned long long)r->files[i].blocks_wrong,
			e->strangers ? " ruined; its owner did nothing" : "");
}

static void write_cells(struct json *j, const struct demo_outcome *r)
{
	static const char *const keys[] = {"zerocopy_mutator", "bounce_mutator", "zerocopy_still"};
	for (unsigned cell = 0; cell < DEMO_CELLS; cell++) {
		const struct demo_count *c = &r->cells[cell];
		json_key(j, keys[cell]);
		json_object_begin(j);
		json_field_u64(j, "wrong", c->wrong);
		json_field_u64(j, "of", c->of);
		json_field_u64(j, "writes", c->writes);
		json_field_u64(j, "changed", c->changed);
		json_field_u64(j, "seen", c->seen);
		json_field_u64(j, "direct_writes", c->direct);
		json_field_u64(j, "observed", c->observed);
		json_object_end(j);
	}
}

static void print_json(const struct demo_experiment *const *chosen, unsigned count,
	const struct demo_outcome *results, double seconds)
{
	struct json j;
	json_init_file(&j, stdout, JSON_INDENTED);
	json_object_begin(&j);
	json_field_double(&j, "seconds", seconds);
	json_key(&j, "experiments");
	json_array_begin(&j);
	for (unsigned i = 0; i < count; i++) {
		json_object_begin(&j);
		json_field_string(&j, "name", chosen[i]->name);
		json_field_string(&j, "title", chosen[i]->title);
		json_field_string(&j, "unit", chosen[i]->unit);
		json_field_string(&j, "reality", chosen[i]->reality);
		write_cells(&j, &results[i]);
		json_key(&j, "files");
		json_array_begin(&j);
		for (unsigned f = 0; f < results[i].file_count; f++) {
			json_object_begin(&j);
			json_field_string(&j, "path", results[i].files[f].path);
			json_field_u64(&j, "blocks", results[i].files[f].blocks_wrong);
			json_object_end(&j);
		}
		json_array_end(&j);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
	json_finish(&j);
}

/* ---- the whole ---- */

static int choose(char *const *names, unsigned count, const struct demo_experiment **chosen)
{
	if (!count) {
		for (unsigned i = 0; i < demo_experiment_count; i++)
			chosen[i] = &demo_experiments[i];
		return (int)demo_experiment_count;
	}
	for (unsigned n = 0; n < count; n++) {
		chosen[n] = NULL;
		for (unsigned i = 0; i < demo_experiment_count; i++)
			if (!strcmp(demo_experiments[i].name, names[n]))
				chosen[n] = &demo_experiments[i];
		if (!chosen[n])
			return -(int)n - 1;
	}
	return (int)count;
}

/* The cure and the control have no damage. */
static bool is_as_promised(const struct demo_outcome *results, unsigned count)
{
	bool promised = true;
	for (unsigned i = 0; i < count; i++)
		promised &=
			!results[i].cells[DEMO_BOUNCE].wrong && !results[i].cells[DEMO_STILL].wrong;
	return promised;
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static int run_all(const struct demo_args *args, const struct demo_experiment *const *chosen,
	unsigned count, struct demo_outcome *results, struct errmsg *why)
{
	static const char *const cells[] = {
		"zero-copy, mutator", "bounce, mutator", "zero-copy, still buffer"};
	struct demo_world *w;
	int err = demo_world_new(args->dir, &w, why);
	if (err < 0)
		return err;
	for (unsigned i = 0; !err && i < count; i++) {
		for (unsigned cell = 0; !err && cell < DEMO_CELLS; cell++) {
			demo_trial_say("%s: %s", chosen[i]->name, cells[cell]);
			err = demo_trial_run(w, chosen[i], &args->setup, cell, &results[i], why);
		}
	}
	end_progress();
	demo_world_free(w);
	return err;
}

static int show_all(const struct demo_args *args, const struct demo_experiment *const *chosen,
	unsigned count, const struct demo_outcome *results, double seconds, struct errmsg *why)
{
	const struct demo_stripe *picture = NULL;
	for (unsigned i = 0; i < count; i++)
		picture = results[i].picture.valid ? &results[i].picture : picture;
	if (args->svg && picture && demo_picture_svg(picture, args->svg, why) < 0)
		return -EIO;
	if (args->json) {
		print_json(chosen, count, results, seconds);
		return 0;
	}
	printf("%llu direct writes of 64K in each run; a second thread stores into the buffer "
	       "(mutator) or does not (still)\n\n",
		(unsigned long long)args->setup.count);
	print_results(chosen, count, results);
	print_truth(chosen, count, results);
	for (unsigned i = 0; i < count; i++)
		print_files(chosen[i], &results[i]);
	if (picture)
		demo_picture(picture, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
	printf("\n%.1f s. Try it yourself: stablefs create, mount -o dio=zerocopy,hold=200us, "
	       "mutate, scrub.\n",
		seconds);
	return 0;
}

static int run_demo(
	const struct demo_args *args, const struct demo_experiment *const *chosen, unsigned count)
{
	struct errmsg why = {0};
	uint64_t started = clock_monotonic_ns();
	struct demo_outcome *results = calloc(count, sizeof(*results));
	if (!results)
		return cli_fail(-ENOMEM, NULL);
	int err = run_all(args, chosen, count, results, &why);
	if (!err)
		err = show_all(args, chosen, count, results,
			(double)(clock_monotonic_ns() - started) / 1e9, &why);
	bool promised = is_as_promised(results, count);
	for (unsigned i = 0; i < count; i++)
		free(results[i].victims);
	free(results);
	if (err < 0)
		return cli_fail(err, &why);
	if (!promised) {
		errmsg_set(&why, -EIO, "there was damage under the cure or in the control: a bug");
		return cli_fail(-EIO, &why);
	}
	return CLI_DONE;
}

/* ---- a study ---- */

static void print_study_json(const struct demo_args *args, const struct demo_study *study,
	const struct demo_report *report, double seconds)
{
	struct json j;
	json_init_file(&j, stdout, JSON_INDENTED);
	json_object_begin(&j);
	json_field_string(&j, "study", study->name);
	json_field_u64(&j, "count", args->setup.count);
	json_field_string(&j, "hold", args->setup.hold);
	json_field_double(&j, "seconds", seconds);
	json_field_string(&j, "damaged", report->damaged[0] ? report->damaged : NULL);
	demo_report_json(report, &j);
	json_object_end(&j);
	json_finish(&j);
}

static int show_study(const struct demo_args *args, const struct demo_study *study,
	const struct demo_report *report, double seconds, struct errmsg *why)
{
	if (report->err < 0)
		return report->err;
	if (args->svg && study->draw) {
		int err = study->draw(report, args->svg, why);
		if (err < 0)
			return err;
	}
	if (args->json) {
		print_study_json(args, study, report, seconds);
		return 0;
	}
	printf("%llu direct transfers in each run, hold=%s\n\n",
		(unsigned long long)args->setup.count, args->setup.hold);
	int err = demo_report_print(report, stdout);
	printf("%s%.1f s.\n", study->notes, seconds);
	return err;
}

static int run_study(const struct demo_args *args, const struct demo_study *study)
{
	struct errmsg why = {0};
	struct demo_report report = {0};
	struct demo_world *w;
	uint64_t started = clock_monotonic_ns();
	if (args->svg && !study->draw)
		return cli_usage("%s has no picture", study->name);
	int err = demo_world_new(args->dir, &w, &why);
	if (err < 0)
		return cli_fail(err, &why);
	err = study->run(w, &args->setup, &report, &why);
	end_progress();
	demo_world_free(w);
	if (!err)
		err = show_study(
			args, study, &report, (double)(clock_monotonic_ns() - started) / 1e9, &why);
	if (!err && report.damaged[0])
		err = errmsg_set(&why, -EIO, "%s: a bug", report.damaged);
	demo_report_end(&report);
	return err < 0 ? cli_fail(err, &why) : CLI_DONE;
}

static const struct demo_study *find_study(const char *name)
{
	for (unsigned i = 0; i < STUDIES; i++)
		if (!strcmp(studies[i]->name, name))
			return studies[i];
	return NULL;
}

/* What follows a study's name: parts of it. -1 to go on, or the exit status. */
static int take_parts(const struct demo_study *study, char *const *names, unsigned count,
	struct demo_setup *setup)
{
	for (unsigned i = 0; i < count; i++)
		if (!study->has_part || !study->has_part(names[i]))
			return cli_usage("%s has no part '%s'", study->name, names[i]);
	setup->parts = names;
	setup->part_count = count;
	return -1;
}

static int take_option(int opt, char **argv, struct demo_args *args)
{
	struct errmsg why = {0};
	uint64_t ns;
	switch (opt) {
	case 'c':
		if (count_parse(optarg, &args->setup.count, &why) < 0 || !args->setup.count ||
			args->setup.count > 500)
			return cli_usage("--count takes 1 to 500, not '%s'", optarg);
		return -1;
	case 'o':
		if (duration_parse(optarg, &ns, &why) < 0)
			return cli_usage("--hold: %s", why.text);
		args->setup.hold = optarg;
		return -1;
	case 'd':
		args->dir = optarg;
		return -1;
	case 's':
		args->svg = optarg;
		return -1;
	case 'j':
		args->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"count", required_argument, NULL, 'c'},
		{"hold", required_argument, NULL, 'o'}, {"dir", required_argument, NULL, 'd'},
		{"svg", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct demo_args args = {.setup = {.count = 500,
					 .block_bytes = DEMO_BLOCK_BYTES,
					 .stride_bytes = DEMO_BLOCK_BYTES,
					 .hold = "200us"}};
	const struct demo_experiment *chosen[64];
	int status = -1;
	args.dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;)
		status = take_option(opt, argv, &args);
	if (status >= 0)
		return status;
	unsigned given = (unsigned)(argc - optind);
	if (given > 64)
		return cli_usage("so many experiments?");
	const struct demo_study *study = given ? find_study(argv[optind]) : NULL;
	if (study) {
		status = take_parts(study, argv + optind + 1, given - 1, &args.setup);
		return status >= 0 ? status : run_study(&args, study);
	}
	int count = choose(argv + optind, given, chosen);
	if (count < 0)
		return cli_usage("there is no experiment '%s' (studies go first, one at a time)",
			argv[optind - count - 1]);
	return run_demo(&args, chosen, (unsigned)count);
}

const struct cli_verb verb_demo = {
	"demo", "the experiment, end to end, in a scratch volume", usage, run};
