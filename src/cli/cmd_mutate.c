/* SPDX-License-Identifier: MIT */
/* stablefs mutate: the bundled mutator. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/mutate.h"
#include "report/json.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs mutate [OPTION]... FILE\n"
	"Write FILE with O_DIRECT while a second thread stores into the buffer, and tell what is "
	"certain\n"
	"about each write. Writes that fail with EILSEQ or EIO are counted. Exit status 3 where "
	"--verify\n"
	"finds damage.\n\n"
	"  --block SIZE      of a write (default 64K; a multiple of 512)\n"
	"  --count N         blocks to write (default 200)\n"
	"  --offset SIZE     of the first block in the file (default 0)\n"
	"  --stride SIZE     from one block to the next (default: the block's size)\n"
	"  --passes N        how often to write them all (default 1)\n"
	"  --call CALL       pwrite (default), write, pwritev, pwritev2 or writev\n"
	"  --still           no stores: the control\n"
	"  --one-store       one store a write, at a random time, instead of stores without pause\n"
	"  --delay TIME      the latest that one store comes after its write began (default "
	"200us)\n"
	"  --verify          read all back afterwards: could the buffer ever have held these "
	"bytes?\n"
	"  --seed N          of the bytes, words and times (default 1)\n"
	"  --record OUTPUT   a line of JSON for each write into this file\n"
	"  --json            the summary as JSON\n"
	"  -h, --help        this text\n";

struct mutate_args {
	struct mutate_options options;
	const char *record; /* path, or NULL */
	bool json;
};

enum {
	OPT_BLOCK = 256,
	OPT_COUNT,
	OPT_OFFSET,
	OPT_STRIDE,
	OPT_PASSES,
	OPT_CALL,
	OPT_STILL,
	OPT_ONE_STORE,
	OPT_DELAY,
	OPT_VERIFY,
	OPT_SEED,
	OPT_RECORD,
	OPT_JSON
};

static const struct option long_options[] = {{"block", required_argument, NULL, OPT_BLOCK},
	{"count", required_argument, NULL, OPT_COUNT},
	{"offset", required_argument, NULL, OPT_OFFSET},
	{"stride", required_argument, NULL, OPT_STRIDE},
	{"passes", required_argument, NULL, OPT_PASSES},
	{"call", required_argument, NULL, OPT_CALL}, {"still", no_argument, NULL, OPT_STILL},
	{"one-store", no_argument, NULL, OPT_ONE_STORE},
	{"delay", required_argument, NULL, OPT_DELAY}, {"verify", no_argument, NULL, OPT_VERIFY},
	{"seed", required_argument, NULL, OPT_SEED},
	{"record", required_argument, NULL, OPT_RECORD}, {"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'}, {0}};

/* -1 to go on, or the exit status; so do the functions below. */
static int parse_into(int (*parse)(const char *, uint64_t *, struct errmsg *), uint64_t *out)
{
	struct errmsg why = {0};
	return parse(optarg, out, &why) < 0 ? cli_usage("%s", why.text) : -1;
}

static int parse_passes(struct mutate_options *o)
{
	uint64_t n = 0;
	int status = parse_into(count_parse, &n);
	if (status < 0 && (n < 1 || n > UINT32_MAX))
		return cli_usage("--passes takes a number from 1 on");
	o->passes = (unsigned)n;
	return status;
}

static int parse_call(struct mutate_options *o)
{
	if (!mutate_call_parse(optarg, &o->call))
		return cli_usage(
			"there is no call '%s': pwrite, write, pwritev, pwritev2 or writev",
			optarg);
	return -1;
}

static int choose_stores(struct mutate_options *o, enum mutate_stores stores)
{
	if (o->stores != MUTATE_CONTINUOUS && o->stores != stores)
		return cli_usage("--still and --one-store exclude each other");
	o->stores = stores;
	return -1;
}

static int take_option(int opt, char **argv, struct mutate_args *args)
{
	struct mutate_options *o = &args->options;
	switch (opt) {
	case OPT_BLOCK:
		return parse_into(size_parse, &o->block_bytes);
	case OPT_COUNT:
		return parse_into(count_parse, &o->count);
	case OPT_OFFSET:
		return parse_into(size_parse, &o->offset_bytes);
	case OPT_STRIDE:
		return parse_into(size_parse, &o->stride_bytes);
	case OPT_PASSES:
		return parse_passes(o);
	case OPT_CALL:
		return parse_call(o);
	case OPT_STILL:
		return choose_stores(o, MUTATE_STILL);
	case OPT_ONE_STORE:
		return choose_stores(o, MUTATE_ONE_STORE);
	case OPT_DELAY:
		return parse_into(duration_parse, &o->delay_ns);
	case OPT_SEED:
		return parse_into(count_parse, &o->seed);
	case OPT_RECORD:
		args->record = optarg;
		return -1;
	case OPT_VERIFY:
		o->verify = true;
		return -1;
	case OPT_JSON:
		args->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static int parse_args(int argc, char **argv, struct mutate_args *args)
{
	args->options = (struct mutate_options){.block_bytes = 64 * 1024,
		.count = 200,
		.passes = 1,
		.delay_ns = 200 * 1000,
		.seed = 1};
	for (int opt; (opt = getopt_long(argc, argv, ":h", long_options, NULL)) != -1;) {
		int status = take_option(opt, argv, args);
		if (status >= 0)
			return status;
	}
	if (argc - optind != 1)
		return cli_usage(argc == optind ? "which FILE?" : "one FILE at a time");
	args->options.path = argv[optind];
	struct errmsg why = {0};
	return mutate_options_check(&args->options, &why) < 0 ? cli_usage("%s", why.text) : -1;
}

/* ---- showing ---- */

static void print_error(const char *count_of, uint64_t n, int error)
{
	printf("%-20s %llu", count_of, (unsigned long long)n);
	if (error)
		printf("  (%s)", strerror(error));
	putchar('\n');
}

static void print_text(const struct mutate_args *args, const struct mutate_result *r)
{
	static const char *const ways[] = {
		"stores without pause", "one store a write", "no stores"};
	const struct mutate_options *o = &args->options;
	char block[SIZE_TEXT_BYTES], time[SIZE_TEXT_BYTES];
	size_format(o->block_bytes, block);
	duration_format(r->writes ? r->in_call_ns / r->writes : 0, time);
	printf("%s: direct writes of %s by %s, %s, seed %llu\n", o->path, block,
		mutate_call_name(o->call), ways[o->stores], (unsigned long long)o->seed);
	printf("%-20s %llu  (%s each)\n", "writes", (unsigned long long)r->writes, time);
	printf("%-20s %llu  (at least)\n", "changed in flight", (unsigned long long)r->changed);
	printf("%-20s %llu\n", "stores", (unsigned long long)r->stores);
	print_error("failed", r->failed, r->first_error);
	if (!o->verify)
		return;
	printf("%-20s %llu\n", "blocks read back", (unsigned long long)r->verified);
	print_error("  unreadable", r->unreadable, r->first_read_error);
	printf("%-20s %llu\n", "  wrong", (unsigned long long)r->wrong);
}

static void add_error(struct json *j, const char *key, int error)
{
	json_key(j, key);
	json_string(j, error ? strerror(error) : NULL);
}

static void add_options(struct json *j, const struct mutate_options *o)
{
	static const char *const ways[] = {"continuous", "one", "none"};
	json_field_string(j, "file", o->path);
	json_field_u64(j, "block_bytes", o->block_bytes);
	json_field_string(j, "call", mutate_call_name(o->call));
	json_field_string(j, "store_pattern", ways[o->stores]);
	json_field_u64(j, "seed", o->seed);
}

static int print_json(const struct mutate_args *args, const struct mutate_result *r)
{
	struct json j;
	json_init_file(&j, stdout, JSON_INDENTED);
	json_object_begin(&j);
	add_options(&j, &args->options);
	json_field_u64(&j, "writes", r->writes);
	json_field_u64(&j, "changed", r->changed);
	json_field_u64(&j, "failed", r->failed);
	add_error(&j, "first_error", r->first_error);
	json_field_u64(&j, "stores", r->stores);
	json_field_u64(&j, "in_call_ns", r->in_call_ns);
	if (args->options.verify) {
		json_field_u64(&j, "verified", r->verified);
		json_field_u64(&j, "unreadable", r->unreadable);
		json_field_u64(&j, "wrong", r->wrong);
		add_error(&j, "first_read_error", r->first_read_error);
	}
	json_object_end(&j);
	return json_finish(&j);
}

static int write_record(FILE *out, uint64_t number, const struct mutate_write *w)
{
	struct json j;
	json_init_file(&j, out, JSON_COMPACT);
	json_object_begin(&j);
	json_field_u64(&j, "write", number);
	json_field_u64(&j, "offset", w->offset_bytes);
	json_field_u64(&j, "written", w->written_bytes);
	json_field_bool(&j, "changed", w->stores > 0);
	json_field_u64(&j, "stores", w->stores);
	json_field_i64(&j, "errno", w->error);
	add_error(&j, "error", w->error);
	json_object_end(&j);
	int err = json_finish(&j);
	return err == 0 && putc('\n', out) == EOF ? -errno : err;
}

static int write_records(const char *path, const struct mutate_result *r, struct errmsg *why)
{
	FILE *out = fopen(path, "we");
	if (!out)
		return errmsg_set(why, -errno, "%s: cannot write: %s", path, strerror(errno));
	int err = 0;
	for (uint64_t i = 0; i < r->writes && !err; i++)
		err = write_record(out, i, &r->records[i]);
	if (fclose(out) != 0 && !err)
		err = -errno;
	return err < 0 ? errmsg_set(why, err, "%s: cannot write: %s", path, strerror(-err)) : 0;
}

/* What there is to show is shown, also of a run that ended early. */
static int show(const struct mutate_args *args, const struct mutate_result *r, struct errmsg *why)
{
	int err = 0;
	if (args->record)
		err = write_records(args->record, r, why);
	if (!args->json) {
		print_text(args, r);
		return err;
	}
	int printed = print_json(args, r);
	return err < 0 ? err : printed;
}

static int run(int argc, char **argv)
{
	struct mutate_args args = {0};
	int status = parse_args(argc, argv, &args);
	if (status >= 0)
		return status;
	struct errmsg why = {0};
	struct mutate_result result;
	int err = mutate_run(&args.options, &result, &why);
	if (err == 0 || result.writes) {
		int shown = show(&args, &result, &why);
		err = err < 0 ? err : shown;
	}
	bool damaged = result.unreadable || result.wrong;
	mutate_result_free(&result);
	if (err < 0)
		return cli_fail(err, &why);
	return damaged ? CLI_DAMAGE : CLI_DONE;
}

const struct cli_verb verb_mutate = {
	"mutate", "write a file while changing the buffer", usage, run};
