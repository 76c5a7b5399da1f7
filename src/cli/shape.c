/* SPDX-License-Identifier: MIT */
/* Options that shape a volume, and making one. */
#include "cli/shape.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "fs/fs.h"
#include "io/uring.h"
#include "report/size.h"

void shape_init(struct shape *s)
{
	*s = (struct shape){.options = {.level = RAID_RAID5,
				    .chunk_bytes = 64 << 10,
				    .pi = PI_T10,
				    .pi_check = PI_CHECK_NONE}};
}

static int take_level(struct shape *s, const char *text)
{
	if (!raid_level_parse(text, &s->options.level))
		return cli_usage("there is no level '%s': raid5, raid6, raid1 or single", text);
	return -1;
}

static int take_pi(struct shape *s, const char *text)
{
	if (!pi_parse(text, &s->options.pi))
		return cli_usage("there is no PI '%s': none, t10, crc32c or crc64", text);
	if (!pi_supported(s->options.pi))
		return cli_usage(
			"PI %s needs isa-l 2.31 or newer, and this program was built with an "
			"older one: choose crc32c or t10",
			text);
	return -1;
}

static int take_pi_check(struct shape *s, const char *text)
{
	if (!strcmp(text, "device"))
		s->options.pi_check = PI_CHECK_DEVICE;
	else if (!strcmp(text, "none"))
		s->options.pi_check = PI_CHECK_NONE;
	else
		return cli_usage("--pi-check takes 'device' or 'none', not '%s'", text);
	return -1;
}

static int take_write_hole(struct shape *s, const char *text)
{
	s->write_hole_given = true;
	if (!strcmp(text, "journal"))
		s->options.write_hole = SUPER_HOLE_JOURNAL;
	else if (!strcmp(text, "bitmap"))
		s->options.write_hole = SUPER_HOLE_BITMAP;
	else
		return cli_usage("--write-hole takes 'journal' or 'bitmap', not '%s'", text);
	return -1;
}

int shape_take_size(const char *value, uint64_t *out)
{
	struct errmsg why = {0};
	return size_parse(value, out, &why) < 0 ? cli_usage("%s", why.text) : -1;
}

static int take_members(struct shape *s, const char *text)
{
	struct errmsg why = {0};
	uint64_t n;
	if (count_parse(text, &n, &why) < 0)
		return cli_usage("--members: %s", why.text);
	if (n < 1 || n > RAID_MAX_MEMBERS)
		return cli_usage("--members takes 1 to %u, not %s", RAID_MAX_MEMBERS, text);
	s->options.members = (unsigned)n;
	s->members_given = true;
	return -1;
}

int shape_take_option(struct shape *s, int opt, const char *value)
{
	switch (opt) {
	case SHAPE_LEVEL:
		return take_level(s, value);
	case SHAPE_MEMBERS:
		return take_members(s, value);
	case SHAPE_SIZE:
		return shape_take_size(value, &s->options.size_bytes);
	case SHAPE_CHUNK:
		return shape_take_size(value, &s->options.chunk_bytes);
	case SHAPE_PI:
		return take_pi(s, value);
	case SHAPE_WRITE_HOLE:
		return take_write_hole(s, value);
	default:
		return take_pi_check(s, value);
	}
}

int shape_check(const struct shape *s)
{
	if (s->options.pi == PI_NONE && s->options.pi_check == PI_CHECK_DEVICE)
		return cli_usage(
			"--pi-check device has nothing to check without PI: choose a --pi");
	if (s->write_hole_given && s->options.write_hole == SUPER_HOLE_JOURNAL &&
		volume_default_write_hole(s->options.level) != SUPER_HOLE_JOURNAL)
		return cli_usage("--write-hole journal is for levels with parity: %s has none",
			raid_level_name(s->options.level));
	return -1;
}

static unsigned default_members(enum raid_level level)
{
	return level == RAID_RAID5 || level == RAID_RAID6 ? 4 : level == RAID_RAID1 ? 2 : 1;
}

/* Many members are a list, and so is one that is there and no directory: they give the size. */
static void fill_defaults(struct shape *s, char *const *paths, unsigned count)
{
	struct stat st;
	bool is_list = count > 1 || (stat(paths[0], &st) == 0 && !S_ISDIR(st.st_mode));
	if (!s->members_given)
		s->options.members = count > 1 ? count : default_members(s->options.level);
	if (!s->options.size_bytes && !is_list)
		s->options.size_bytes = UINT64_C(1) << 30;
	if (!s->write_hole_given)
		s->options.write_hole = volume_default_write_hole(s->options.level);
}

static int format_volume(char *const *paths, unsigned count, struct errmsg *why)
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

int shape_make(struct shape *s, char *const *paths, unsigned count, struct errmsg *why)
{
	fill_defaults(s, paths, count);
	int err = volume_create(&uring_factory, paths, count, &s->options, why);
	return err < 0 ? err : format_volume(paths, count, why);
}
