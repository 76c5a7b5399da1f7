/* SPDX-License-Identifier: MIT */
/* stablefs create: make the members of a volume and an empty file system on them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "fs/fs.h"
#include "io/uring.h"
#include "report/json.h"
#include "report/size.h"
#include "volume/volume.h"

static const char usage[] =
	"Usage: stablefs create [OPTION]... VOLUME...\n"
	"Make a volume: member files in a directory, or on the given files and devices.\n\n"
	"  --level LEVEL      raid5 (default), raid1 or single\n"
	"  --members N        how many (default: 4, 2, 1 by level; with a list: its length)\n"
	"  --size SIZE        of data that it holds (default: 1G in a directory, else what fits)\n"
	"  --chunk SIZE       4K to 1M, a power of two (default 64K)\n"
	"  --pi TYPE          none, t10 (default), crc32c or crc64\n"
	"  --pi-check WHO     device: members refuse what does not match its guard; or none\n"
	"  --system SIZE      of the area for names and extents (default: a sixteenth of --size)\n"
	"  --label TEXT       a name for people, to 31 bytes\n"
	"  --force            overwrite a volume or file system that is there\n"
	"  --json             say what was made as JSON\n"
	"  -h, --help         this text\n";

struct create_args {
	struct volume_create_options options;
	bool members_given, json;
};

static int parse_level(const char *text, struct create_args *args)
{
	if (!raid_level_parse(text, &args->options.level))
		return cli_usage("there is no level '%s': raid5, raid1 or single", text);
	return -1;
}

static int parse_pi(const char *text, struct create_args *args)
{
	if (!pi_parse(text, &args->options.pi))
		return cli_usage("there is no PI '%s': none, t10, crc32c or crc64", text);
	if (!pi_supported(args->options.pi))
		return cli_usage(
			"PI %s needs isa-l 2.31 or newer, and this program was built with an "
			"older one: choose crc32c or t10",
			text);
	return -1;
}

static int parse_pi_check(const char *text, struct create_args *args)
{
	if (!strcmp(text, "device"))
		args->options.pi_check = PI_CHECK_DEVICE;
	else if (!strcmp(text, "none"))
		args->options.pi_check = PI_CHECK_NONE;
	else
		return cli_usage("--pi-check takes 'device' or 'none', not '%s'", text);
	return -1;
}

static int parse_size_into(const char *text, uint64_t *out)
{
	struct errmsg why = {0};
	return size_parse(text, out, &why) < 0 ? cli_usage("%s", why.text) : -1;
}

static int parse_members(const char *text, struct create_args *args)
{
	struct errmsg why = {0};
	uint64_t n;
	if (count_parse(text, &n, &why) < 0)
		return cli_usage("--members: %s", why.text);
	if (n < 1 || n > RAID_MAX_MEMBERS)
		return cli_usage("--members takes 1 to %u, not %s", RAID_MAX_MEMBERS, text);
	args->options.members = (unsigned)n;
	args->members_given = true;
	return -1;
}

enum {
	OPT_LEVEL = 256,
	OPT_MEMBERS,
	OPT_SIZE,
	OPT_CHUNK,
	OPT_PI,
	OPT_PI_CHECK,
	OPT_SYSTEM,
	OPT_LABEL,
	OPT_FORCE,
	OPT_JSON
};

static const struct option long_options[] = {{"level", required_argument, NULL, OPT_LEVEL},
	{"members", required_argument, NULL, OPT_MEMBERS},
	{"size", required_argument, NULL, OPT_SIZE}, {"chunk", required_argument, NULL, OPT_CHUNK},
	{"pi", required_argument, NULL, OPT_PI},
	{"pi-check", required_argument, NULL, OPT_PI_CHECK},
	{"system", required_argument, NULL, OPT_SYSTEM},
	{"label", required_argument, NULL, OPT_LABEL}, {"force", no_argument, NULL, OPT_FORCE},
	{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, 'h'}, {0}};

/* -1 to go on, or the exit status. */
static int take_option(int opt, char **argv, struct create_args *args)
{
	switch (opt) {
	case OPT_LEVEL:
		return parse_level(optarg, args);
	case OPT_MEMBERS:
		return parse_members(optarg, args);
	case OPT_SIZE:
		return parse_size_into(optarg, &args->options.size_bytes);
	case OPT_CHUNK:
		return parse_size_into(optarg, &args->options.chunk_bytes);
	case OPT_PI:
		return parse_pi(optarg, args);
	case OPT_PI_CHECK:
		return parse_pi_check(optarg, args);
	case OPT_SYSTEM:
		return parse_size_into(optarg, &args->options.system_bytes);
	case OPT_LABEL:
		args->options.label = optarg;
		return -1;
	case OPT_FORCE:
		args->options.force = true;
		return -1;
	case OPT_JSON:
		args->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static unsigned default_members(enum raid_level level)
{
	return level == RAID_RAID5 ? 4 : level == RAID_RAID1 ? 2 : 1;
}

/* Many members are a list, and so is one that is there and no directory: they give the size. */
static void fill_defaults(struct create_args *args, char *const *volume, unsigned count)
{
	struct stat st;
	bool is_list = count > 1 || (stat(volume[0], &st) == 0 && !S_ISDIR(st.st_mode));
	if (!args->members_given)
		args->options.members = count > 1 ? count : default_members(args->options.level);
	if (!args->options.size_bytes && !is_list)
		args->options.size_bytes = UINT64_C(1) << 30;
}

static int format_volume(char **paths, unsigned count, struct errmsg *why)
{
	cleanup(volume_paths_free) struct volume_paths found = {0};
	struct volume *v = NULL;
	int err = volume_paths_find(paths, count, &found, why);
	if (err < 0)
		return err;
	struct volume_open_options open = {.factory = &uring_factory,
		.paths = found.paths,
		.count = found.count,
		.threaded = true};
	err = volume_open(&open, &v, why);
	if (err < 0)
		return err;
	err = fs_format(v, getuid(), getgid(), why);
	int closed = volume_close(v);
	return err < 0 ? err : closed;
}

static void print_made(const struct create_args *args, bool json, char *const *paths)
{
	const struct volume_create_options *o = &args->options;
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
	struct create_args args = {.options = {.level = RAID_RAID5,
					   .chunk_bytes = 64 << 10,
					   .pi = PI_T10,
					   .pi_check = PI_CHECK_NONE}};
	int opt, status = -1;
	while (status < 0 && (opt = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
		status = take_option(opt, argv, &args);
	if (status >= 0)
		return status;
	unsigned count = (unsigned)(argc - optind);
	if (!count)
		return cli_usage("which VOLUME? A directory, or its members");
	if (args.options.pi == PI_NONE && args.options.pi_check == PI_CHECK_DEVICE)
		return cli_usage(
			"--pi-check device has nothing to check without PI: choose a --pi");
	fill_defaults(&args, argv + optind, count);
	struct errmsg why = {0};
	struct progress progress = {.what = "create"};
	args.options.progress = progress_step;
	args.options.progress_ctx = &progress;
	int err = volume_create(&uring_factory, argv + optind, count, &args.options, &why);
	progress_end(&progress);
	if (err == -EINVAL)
		return cli_usage("%s", why.text[0] ? why.text : strerror(EINVAL));
	if (!err)
		err = format_volume(argv + optind, count, &why);
	if (err < 0)
		return cli_fail(err, &why);
	print_made(&args, args.json, argv + optind);
	return CLI_DONE;
}

const struct cli_verb verb_create = {"create", "make a volume", usage, run};
