/* SPDX-License-Identifier: MIT */
/* stablefs create: make the members of a volume and an empty file system on them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/shape.h"
#include "fuse/volume_json.h"
#include "report/json.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs create [OPTION]... VOLUME...\n"
	"Make a volume: member files in a directory, or on the given files and devices.\n\n"
	"  --level LEVEL      raid5 (default), raid6, raid1 or single\n"
	"  --members N        how many (default: 4, 4, 2, 1 by level; with a list: its length)\n"
	"  --size SIZE        of data that it holds (default: 1G in a directory, else what fits)\n"
	"  --chunk SIZE       4K to 1M, a power of two (default 64K)\n"
	"  --pi TYPE          none, t10 (default), crc32c or crc64\n"
	"  --pi-check WHO     device: members refuse what does not match its guard; or none\n"
	"  --write-hole HOW   journal (default with parity): a log, so that a crash and then lost\n"
	"                     members cost nothing that was at rest; bitmap: marks alone\n"
	"  --system SIZE      of the area for names and extents (default: a sixteenth of --size)\n"
	"  --label TEXT       a name for people, to 31 bytes\n"
	"  --force            overwrite a volume or file system that is there\n"
	"  --json             say what was made as JSON\n"
	"  -h, --help         this text\n";

struct create_args {
	struct shape shape;
	bool json;
};

enum { OPT_SYSTEM = 256, OPT_LABEL, OPT_FORCE, OPT_JSON };

static const struct option long_options[] = {SHAPE_OPTIONS,
	{"system", required_argument, NULL, OPT_SYSTEM},
	{"label", required_argument, NULL, OPT_LABEL}, {"force", no_argument, NULL, OPT_FORCE},
	{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, 'h'}, {0}};

/* -1 to go on, or the exit status. */
static int take_option(int opt, char **argv, struct create_args *args)
{
	if (opt >= SHAPE_LEVEL)
		return shape_take_option(&args->shape, opt, optarg);
	switch (opt) {
	case OPT_SYSTEM:
		return shape_take_size(optarg, &args->shape.options.system_bytes);
	case OPT_LABEL:
		args->shape.options.label = optarg;
		return -1;
	case OPT_FORCE:
		args->shape.options.force = true;
		return -1;
	case OPT_JSON:
		args->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static void print_made(const struct create_args *args, bool json, char *const *paths)
{
	const struct volume_create_options *o = &args->shape.options;
	if (json) {
		struct json j;
		json_init_file(&j, stdout, JSON_INDENTED);
		json_object_begin(&j);
		json_field_string(&j, "volume", paths[0]);
		json_field_string(&j, "level", raid_level_name(o->level));
		json_field_u64(&j, "members", o->members);
		json_field_u64(&j, "size_bytes", o->size_bytes);
		json_field_u64(&j, "chunk_bytes", o->chunk_bytes);
		json_field_string(&j, "pi", pi_name(o->pi));
		json_field_string(
			&j, "pi_check", o->pi_check == PI_CHECK_DEVICE ? "device" : "none");
		json_field_string(&j, "write_hole", volume_json_write_hole(o->write_hole));
		json_object_end(&j);
		json_finish(&j);
		return;
	}
	char size[SIZE_TEXT_BYTES] = "what fits", chunk[SIZE_TEXT_BYTES];
	if (o->size_bytes)
		size_format(o->size_bytes, size);
	size_format(o->chunk_bytes, chunk);
	printf("%s: %s of %u members, %s, chunk %s, PI %s%s\n", paths[0], raid_level_name(o->level),
		o->members, size, chunk, pi_name(o->pi),
		o->pi_check == PI_CHECK_DEVICE ? " checked by the device" : "");
}

static int run(int argc, char **argv)
{
	struct create_args args = {0};
	int opt, status = -1;
	shape_init(&args.shape);
	while (status < 0 && (opt = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
		status = take_option(opt, argv, &args);
	if (status >= 0)
		return status;
	unsigned count = (unsigned)(argc - optind);
	if (!count)
		return cli_usage("which VOLUME? A directory, or its members");
	status = shape_check(&args.shape);
	if (status >= 0)
		return status;
	struct errmsg why = {0};
	struct progress progress = {.what = "create"};
	args.shape.options.progress = progress_step;
	args.shape.options.progress_ctx = &progress;
	int err = shape_make(&args.shape, argv + optind, count, &why);
	progress_end(&progress);
	if (err == -EINVAL)
		return cli_usage("%s", why.text[0] ? why.text : strerror(EINVAL));
	if (err < 0)
		return cli_fail(err, &why);
	print_made(&args, args.json, argv + optind);
	return CLI_DONE;
}

const struct cli_verb verb_create = {"create", "make a volume", usage, run};
