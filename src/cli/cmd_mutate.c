/* SPDX-License-Identifier: MIT */
/* stablefs mutate: the bundled mutator. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/mutate.h"
#include "report/histogram.h"
#include "report/json.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs mutate [OPTION]... FILE\n"
	"Write FILE with O_DIRECT while a second thread stores into the buffer, and tell what is "
	"certain\n"
	"about each write. Transfers that fail with EILSEQ or EIO are counted. Exit status 3 where "
	"\n--verify or --read finds damage.\n\n"
	"  --block SIZE      of a write (default 64K; a multiple of 512)\n"
	"  --count N         blocks to write (default 200)\n"
	"  --offset SIZE     of the first block in the file (default 0)\n"
	"  --stride SIZE     from one block to the next (default: the block's size)\n"
	"  --passes N        how often to write them all (default 1)\n"
	"  --engine ENGINE   psync (default), uring, aio or posixaio\n"
	"  --call CALL       of psync: pwrite (default), write, pwritev, pwritev2 or writev\n"
	"  --depth N         transfers in flight, each from its own buffer (default 1; not psync)\n"
	"  --vectored        from up to four pieces of the buffer (uring, aio)\n"
	"  --fixed           from registered buffers (uring)\n"
	"  --sqpoll          submitted by a thread of the kernel (uring)\n"
	"  --still           no stores: the control\n"
	"  --one-store       one store a write, at a random time, instead of stores without pause\n"
	"  --delay TIME      the latest that one store comes after its write began (default "
	"200us)\n"
	"  --read            write without stores, then read all with stores into the read buffer\n"
	"  --verify          read all back afterwards: could the buffer ever have held these "
	"bytes?\n"
	"  --seed N          of the bytes, words and times (default 1)\n"
	"  --record OUTPUT   a line of JSON for each write (read) into this file\n"
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
	OPT_ENGINE,
	OPT_CALL,
	OPT_DEPTH,
	OPT_VECTORED,
	OPT_FIXED,
	OPT_SQPOLL,
	OPT_READ,
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
	{"engine", required_argument, NULL, OPT_ENGINE},
	{"call", required_argument, NULL, OPT_CALL}, {"depth", required_argument, NULL, OPT_DEPTH},
	{"vectored", no_argument, NULL, OPT_VECTORED}, {"fixed", no_argument, NULL, OPT_FIXED},
	{"sqpoll", no_argument, NULL, OPT_SQPOLL}, {"read", no_argument, NULL, OPT_READ},
	{"still", no_argument, NULL, OPT_STILL}, {"one-store", no_argument, NULL, OPT_ONE_STORE},
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

/* A number of which 0 would make no sense. */
static int parse_positive(const char *option, unsigned *out)
{
	uint64_t n = 0;
	int status = parse_into(count_parse, &n);
	if (status < 0 && (n < 1 || n > UINT32_MAX))
		return cli_usage("%s takes a number from 1 on", option);
	*out = (unsigned)n;
	return status;
}

static int parse_engine(struct mutate_options *o)
{
	if (!mutate_engine_parse(optarg, &o->engine))
		return cli_usage("there is no engine '%s': psync, uring, aio or posixaio", optarg);
	return -1;
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

static int take_flag(int opt, char **argv, struct mutate_options *o)
{
	struct {
		int opt;
		bool *flag;
	} const flags[] = {{OPT_VERIFY, &o->verify}, {OPT_READ, &o->read},
		{OPT_VECTORED, &o->vectored}, {OPT_FIXED, &o->fixed}, {OPT_SQPOLL, &o->sqpoll}};
	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (flags[i].opt == opt) {
			*flags[i].flag = true;
			return -1;
		}
	}
	return cli_common_option(opt, argv);
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
		return parse_positive("--passes", &o->passes);
	case OPT_DEPTH:
		return parse_positive("--depth", &o->depth);
	case OPT_ENGINE:
		return parse_engine(o);
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
	case OPT_JSON:
		args->json = true;
		return -1;
	default:
		return take_flag(opt, argv, o);
	}
}

static int parse_args(int argc, char **argv, struct mutate_args *args)
{
	args->options = (struct mutate_options){.block_bytes = 64 * 1024,
		.count = 200,
		.passes = 1,
		.depth = 1,
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

/* NULL: by no call of psync. */
static const char *call_name(const struct mutate_options *o)
{
	if (o->engine != MUTATE_PSYNC)
		return NULL;
	return o->read ? mutate_read_call_name(o->call) : mutate_call_name(o->call);
}

/* "uring at depth 4, vectored" */
static void print_way(const struct mutate_options *o)
{
	const char *call = call_name(o);
	printf("%s", call ? call : mutate_engine_name(o->engine));
	if (o->depth > 1)
		printf(" at depth %u", o->depth);
	printf("%s%s%s", o->vectored ? ", vectored" : "", o->fixed ? ", registered buffers" : "",
		o->sqpoll ? ", SQPOLL" : "");
}

static void print_tally(const char *what, const struct mutate_tally *t)
{
	char time[SIZE_TEXT_BYTES];
	duration_format(t->total ? t->time_ns / t->total : 0, time);
	printf("%-20s %llu  (%s each)\n", what, (unsigned long long)t->total, time);
	printf("%-20s %llu  (at least)\n", "changed in flight", (unsigned long long)t->changed);
	print_error("failed", t->failed, t->first_error);
}

static void print_text(const struct mutate_args *args, const struct mutate_result *r)
{
	static const char *const ways[] = {"stores without pause", "one store each", "no stores"};
	const struct mutate_options *o = &args->options;
	char block[SIZE_TEXT_BYTES];
	size_format(o->block_bytes, block);
	printf("%s: direct %s of %s by ", o->path, o->read ? "reads" : "writes", block);
	print_way(o);
	printf(", %s, seed %llu\n", ways[o->stores], (unsigned long long)o->seed);
	print_tally(o->read ? "reads" : "writes", o->read ? &r->reads : &r->writes);
	printf("%-20s %llu\n", "stores", (unsigned long long)r->stores);
	if (!o->verify && !o->read)
		return;
	printf("%-20s %llu\n", "blocks read back", (unsigned long long)r->verified);
	print_error("  unreadable", r->unreadable, r->first_read_error);
	printf("%-20s %llu\n", "  wrong", (unsigned long long)r->wrong);
	if (o->read)
		printf("%-20s %llu  (reads that failed, of blocks that are right)\n",
			"false errors", (unsigned long long)r->false_errors);
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
	json_field_string(j, "engine", mutate_engine_name(o->engine));
	json_field_string(j, "call", call_name(o));
	json_field_u64(j, "depth", o->depth);
	json_field_bool(j, "vectored", o->vectored);
	json_field_bool(j, "fixed", o->fixed);
	json_field_bool(j, "sqpoll", o->sqpoll);
	json_field_string(j, "store_pattern", ways[o->stores]);
	json_field_u64(j, "seed", o->seed);
}

/* As the program sees it: from the beginning of a transfer to its end. */
static void add_latency(struct json *j, const struct mutate_result *r, uint64_t count)
{
	struct histogram h = {0};
	for (uint64_t i = 0; i < count; i++)
		histogram_add(&h, r->records[i].time_ns);
	json_key(j, "latency_ns");
	json_object_begin(j);
	json_field_u64(j, "p50", histogram_percentile(&h, 500));
	json_field_u64(j, "p99", histogram_percentile(&h, 990));
	json_field_u64(j, "max", h.max);
	json_object_end(j);
}

/* Fields of the object that is open. */
static void add_tally(struct json *j, const char *what, const struct mutate_tally *t)
{
	json_field_u64(j, what, t->total);
	json_field_u64(j, "changed", t->changed);
	json_field_u64(j, "failed", t->failed);
	add_error(j, "first_error", t->first_error);
	json_field_u64(j, "in_call_ns", t->time_ns);
	json_field_u64(j, "cpu_ns", t->cpu_ns);
}

static void add_reads(struct json *j, const struct mutate_result *r)
{
	json_key(j, "read");
	json_object_begin(j);
	add_tally(j, "reads", &r->reads);
	json_field_u64(j, "false_errors", r->false_errors);
	json_object_end(j);
}

static int print_json(const struct mutate_args *args, const struct mutate_result *r)
{
	struct json j;
	json_init_file(&j, stdout, JSON_INDENTED);
	json_object_begin(&j);
	add_options(&j, &args->options);
	add_tally(&j, "writes", &r->writes);
	json_field_u64(&j, "stores", r->stores);
	if (args->options.read)
		add_reads(&j, r);
	add_latency(&j, r, args->options.read ? r->reads.total : r->writes.total);
	if (args->options.verify || args->options.read) {
		json_field_u64(&j, "verified", r->verified);
		json_field_u64(&j, "unreadable", r->unreadable);
		json_field_u64(&j, "wrong", r->wrong);
		add_error(&j, "first_read_error", r->first_read_error);
	}
	json_object_end(&j);
	return json_finish(&j);
}

static int write_record(FILE *out, uint64_t number, bool is_read, const struct mutate_transfer *w)
{
	struct json j;
	json_init_file(&j, out, JSON_COMPACT);
	json_object_begin(&j);
	json_field_u64(&j, is_read ? "read" : "write", number);
	json_field_u64(&j, "offset", w->offset_bytes);
	json_field_u64(&j, is_read ? "bytes" : "written", w->done_bytes);
	json_field_bool(&j, "changed", w->stores > 0);
	json_field_u64(&j, "stores", w->stores);
	json_field_i64(&j, "errno", w->error);
	add_error(&j, "error", w->error);
	json_object_end(&j);
	int err = json_finish(&j);
	return err == 0 && putc('\n', out) == EOF ? -errno : err;
}

static int write_records(
	const struct mutate_args *args, const struct mutate_result *r, struct errmsg *why)
{
	const char *path = args->record;
	bool read = args->options.read;
	uint64_t count = read ? r->reads.total : r->writes.total;
	FILE *out = fopen(path, "we");
	if (!out)
		return errmsg_set(why, -errno, "%s: cannot write: %s", path, strerror(errno));
	int err = 0;
	for (uint64_t i = 0; i < count && !err; i++)
		err = write_record(out, i, read, &r->records[i]);
	if (fclose(out) != 0 && !err)
		err = -errno;
	return err < 0 ? errmsg_set(why, err, "%s: cannot write: %s", path, strerror(-err)) : 0;
}

/* What there is to show is shown, also of a run that ended early. */
static int show(const struct mutate_args *args, const struct mutate_result *r, struct errmsg *why)
{
	int err = 0;
	if (args->record)
		err = write_records(args, r, why);
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
	if (err == 0 || result.writes.total) {
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
