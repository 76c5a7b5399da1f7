/* SPDX-License-Identifier: MIT */
/* The demo: real volumes, real mounts, real races, on the verbs that users have. Every experiment
 * runs three times: zero-copy with the mutator, bounced with the mutator (the cure), and zero-copy
 * with a still buffer (the control). */
#ifndef STABLEFS_CLI_DEMO_H
#define STABLEFS_CLI_DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"
#include "report/json_read.h"

enum demo_cell { DEMO_ZEROCOPY, DEMO_BOUNCE, DEMO_STILL, DEMO_CELLS };

/* What one run of one experiment gave. */
struct demo_count {
	bool ran;
	uint64_t wrong, of;        /* in the experiment's unit */
	uint64_t writes;           /* direct writes of the mutator */
	uint64_t changed;          /* of these: changed in flight, by the mutator's own record */
	uint64_t seen;             /* of these: the daemon saw the change */
	uint64_t observed, direct; /* direct writes with live memory sampled, of all (zero-copy) */
	uint64_t writes_failed;
};

/* A 4K block of somebody's file that came back wrong. */
struct demo_victim {
	char path[64];
	uint64_t file_block, stripe;
	unsigned row, slot, member;
	char before[40], after[40]; /* the first bytes, printable */
};

struct demo_file {
	char path[64];
	uint64_t blocks_wrong;
};

#define DEMO_MAX_FILES   16u
#define DEMO_MAX_VICTIMS 4096u

/* One stripe, member by member, for the picture. */
struct demo_stripe {
	bool valid;
	uint64_t stripe;
	struct demo_column {
		char owner[64]; /* path, or "parity" */
		bool parity, gone, mutated;
	} columns[4];         /* by member */
	uint32_t ruined_rows; /* of the block column that is gone, bit i: row i */
	struct demo_victim victim;
};

struct demo_world; /* the scratch folder and what is mounted (demo_world.c) */

struct demo_outcome {
	struct demo_count cells[DEMO_CELLS];
	struct demo_file files[DEMO_MAX_FILES]; /* files ruined or hit, under zero-copy */
	unsigned file_count;
	struct demo_victim *victims; /* owned; experiment "victims" */
	unsigned victim_count;
	struct demo_stripe picture; /* of one of them */
};

#define DEMO_BLOCK_BYTES 65536u

struct demo_setup {
	uint64_t count; /* direct writes of DEMO_BLOCK_BYTES */
	uint64_t block_bytes;
	const char *hold; /* "200us" */
};

struct demo_experiment {
	const char *name;
	const char *title;
	const char *unit; /* "4K parity rows wrong" */
	const char *level, *members, *pi, *pi_check;
	const char *reality; /* what a real kernel gave */
	bool strangers;      /* the file is laid out between idle files */
	/* Measure, after the mutator ran on the mounted volume. May unmount. */
	int (*measure)(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
		struct demo_outcome *out, struct errmsg *why);
};

extern const struct demo_experiment demo_experiments[];
extern const unsigned demo_experiment_count;

/* ---- demo_world.c: verbs run as a user would ---- */

int demo_world_new(const char *parent, struct demo_world **out, struct errmsg *why);
/* Unmount, remove everything, whatever state it is in. Accepts NULL. */
void demo_world_free(struct demo_world *w);
const char *demo_mountpoint(const struct demo_world *w);
const char *demo_volume(const struct demo_world *w);

/* Run this program with @argv (NULL-terminated, without its own name); *@out is what it printed, as
 * JSON, where @out is not NULL. @status gets the exit status; NULL: anything but 0 is an error. */
int demo_verb(struct demo_world *w, const char *const *argv, int *status, struct json_value **out,
	struct errmsg *why);
int demo_mount(struct demo_world *w, const char *options, struct errmsg *why);
int demo_unmount(struct demo_world *w, struct errmsg *why); /* also waits for the daemon's end */
int demo_remove_volume(struct demo_world *w, struct errmsg *why);
int demo_hide_member(struct demo_world *w, unsigned index, struct errmsg *why);
bool demo_interrupted(void);

/* Read a JSON file of the control directory. */
int demo_control(
	struct demo_world *w, const char *name, struct json_value **out, struct errmsg *why);

/* ---- demo_strangers.c: idle files between the mutator's blocks ---- */

/* Write, in turn, one block of the mutator's file "a" and one of each of two idle files, so that
 * each stripe holds all three. */
int demo_strangers_write(struct demo_world *w, const struct demo_setup *setup, struct errmsg *why);
/* With one member gone: read the idle files back and compare. */
int demo_strangers_measure(struct demo_world *w, const struct demo_setup *setup,
	enum demo_cell cell, struct demo_outcome *out, struct errmsg *why);

/* ---- demo_picture.c ---- */

/* Draw a stripe with a ruined block on stdout, with colours or plain. Nothing where !valid. */
void demo_picture(const struct demo_stripe *picture, bool color);

/* The same as an SVG file. 0 or -errno. */
int demo_picture_svg(const struct demo_stripe *picture, const char *path, struct errmsg *why);

#endif
