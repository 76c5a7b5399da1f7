/* SPDX-License-Identifier: MIT */
/* The shape of a new volume, as the options of a verb say it. */
#ifndef STABLEFS_CLI_SHAPE_H
#define STABLEFS_CLI_SHAPE_H

#include <getopt.h>
#include <stdbool.h>
#include "base/errmsg.h"
#include "volume/volume.h"

struct shape {
	struct volume_create_options options;
	bool members_given, write_hole_given;
};

enum {
	SHAPE_LEVEL = 512,
	SHAPE_MEMBERS,
	SHAPE_SIZE,
	SHAPE_CHUNK,
	SHAPE_PI,
	SHAPE_PI_CHECK,
	SHAPE_WRITE_HOLE
};

/* For a verb's table of getopt_long(3). */
#define SHAPE_OPTIONS                                                                              \
	{"level", required_argument, NULL, SHAPE_LEVEL},                                           \
		{"members", required_argument, NULL, SHAPE_MEMBERS},                               \
		{"size", required_argument, NULL, SHAPE_SIZE},                                     \
		{"chunk", required_argument, NULL, SHAPE_CHUNK},                                   \
		{"pi", required_argument, NULL, SHAPE_PI},                                         \
		{"write-hole", required_argument, NULL, SHAPE_WRITE_HOLE},                         \
	{                                                                                          \
		"pi-check", required_argument, NULL, SHAPE_PI_CHECK                                \
	}

/* RAID5, chunks of 64K, PI t10 that nobody checks. The write hole is closed by the log where the
 * level has one (raid5), unless the options say bitmap. */
void shape_init(struct shape *s);

/* One of the options above. -1 to go on, or the exit status. */
int shape_take_option(struct shape *s, int opt, const char *value);
int shape_take_size(const char *value, uint64_t *out); /* the same for any size */

/* When all are taken: do they fit together? -1 to go on, or the exit status. */
int shape_check(const struct shape *s);

/* Make the volume @paths, with an empty file system. What is not given is filled in. -EINVAL:
 * options that cannot be; else as volume_create(). */
int shape_make(struct shape *s, char *const *paths, unsigned count, struct errmsg *why);

#endif
