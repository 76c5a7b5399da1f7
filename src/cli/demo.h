/* SPDX-License-Identifier: MIT */
/* The demo: real volumes, real mounts, real races, on the verbs that users have. Every experiment
 * runs three times: zero-copy with the mutator, bounced with the mutator (the cure), and zero-copy
 * with a still buffer (the control). Studies ask more: they have runs and tables of their own, with
 * cures and controls beside what they show. */
#ifndef STABLEFS_CLI_DEMO_H
#define STABLEFS_CLI_DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/errmsg.h"
#include "cli/demo_sheet.h"
#include "report/json_read.h"

enum demo_cell { DEMO_ZEROCOPY, DEMO_BOUNCE, DEMO_STILL, DEMO_CELLS };

/* What one run of one experiment gave. */
struct demo_count {
	bool ran;
	uint64_t wrong, of;        /* in the experiment's unit */
	uint64_t unreadable;       /* of the wrong ones (idle blocks): reading them fails */
	uint64_t writes;           /* direct writes of the mutator */
	uint64_t changed;          /* of these: changed in flight, by the mutator's own record */
	uint64_t seen;             /* of these: the daemon saw the change */
	uint64_t observed, direct; /* direct writes with live memory sampled, of all (zero-copy) */
	uint64_t writes_failed;
	uint64_t reads, reads_failed; /* the mutator's, with setup.read */
	uint64_t false_errors;        /* of these: nothing was wrong with the block */
	uint64_t bytes, cpu_ns;       /* of the mutator's writes, and its writing thread's time */
	uint64_t time_ns, p50_ns, p99_ns;
	bool open_refused;
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
#define DEMO_CHUNK_BYTES 65536u

/* What the mutator does. */
struct demo_setup {
	uint64_t count; /* direct writes of block_bytes */
	uint64_t block_bytes;
	uint64_t stride_bytes; /* from one to the next */
	unsigned passes;       /* 0: one */
	const char *hold;      /* "200us" */
	const char *delay;     /* "200us": one store a write, no later than that; NULL: no pause */
	bool still;
	bool read;           /* it reads, instead */
	uid_t uid;           /* and does it as this user; 0: as ours */
	bool may_be_refused; /* an open that is refused is a result */
	/* Of a study: these parts alone; count 0: all. Borrowed. */
	char *const *parts;
	unsigned part_count;
};

struct demo_experiment {
	const char *name;
	const char *title;
	const char *unit; /* "4K parity rows wrong" */
	const char *level, *members, *pi, *pi_check;
	const char *reality; /* what a real kernel gave */
	bool strangers;      /* the file is laid out between idle files */
	bool overwrites;     /* the file is there before, in one piece */
	/* 0: the setup's. */
	uint64_t block_bytes, stride_bytes, max_count;
	const char *delay;
	bool read;
	/* The real kernel's count, where it is a number, and where docs/ground-truth.md has it. */
	uint64_t real_wrong, real_of;
	const char *real_where;
	/* Measure, after the mutator ran on the mounted volume. May unmount. */
	int (*measure)(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
		struct demo_outcome *out, struct errmsg *why);
};

/* The shapes of volume that the tables of experiments and studies are made of. */
#define DEMO_RAID5(pi_, check_) .level = "raid5", .members = "4", .pi = pi_, .pi_check = check_
#define DEMO_RAID1(pi_, check_) .level = "raid1", .members = "2", .pi = pi_, .pi_check = check_

extern const struct demo_experiment demo_experiments[];
extern const unsigned demo_experiment_count;

/* Ways to measure. */
typedef int demo_measure(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why);
demo_measure demo_measure_parity, demo_measure_mirrors, demo_measure_readback, demo_measure_refused,
	demo_measure_reads;

/* A study: named explicitly, run by itself. */
struct demo_study {
	const char *name;
	const char *summary;
	int (*run)(struct demo_world *w, const struct demo_setup *setup, struct demo_report *out,
		struct errmsg *why);
	/* Draw the results; NULL: there is no picture. */
	int (*draw)(const struct demo_report *report, const char *path, struct errmsg *why);
	const char *notes; /* printed below the tables */
	/* Whether a part of it has that name: parts can be chosen. NULL: there are none. */
	bool (*has_part)(const char *name);
};
extern const struct demo_study demo_cures, demo_reads, demo_truth, demo_neighbours, demo_write_hole,
	demo_bitrot, demo_misdirected;

/* Is that part of a study to be run? */
bool demo_part_is_chosen(const struct demo_setup *setup, const char *name);

int demo_cures_draw(const struct demo_report *report, const char *path, struct errmsg *why);

/* ---- demo_trial.c: the steps of a run ---- */

/* A new volume instead of the one that was there. @write_hole: NULL: as the level has it. */
int demo_create(struct demo_world *w, const struct demo_experiment *e, const char *size,
	const char *write_hole, struct errmsg *why);
int demo_trial_create(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, struct errmsg *why);
/* The file "a" that the mutator will overwrite, in one piece. */
int demo_trial_lay_out(struct demo_world *w, const struct demo_setup *setup, struct errmsg *why);
int demo_trial_mutate(struct demo_world *w, const struct demo_setup *setup, struct demo_count *c,
	struct errmsg *why);
/* Add what the daemon saw of the direct writes. */
int demo_trial_take_stats(struct demo_world *w, struct demo_count *c, struct errmsg *why);
int demo_trial_scrub(struct demo_world *w, struct json_value **report, struct errmsg *why);
int demo_trial_set_policy(struct demo_world *w, const char *policy, struct errmsg *why);
void demo_trial_say(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* progress */

/* All of it for one cell of an experiment. */
int demo_trial_run(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, enum demo_cell cell, struct demo_outcome *out,
	struct errmsg *why);

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
/* The same as another user. */
int demo_verb_as(struct demo_world *w, uid_t uid, const char *const *argv, int *status,
	struct json_value **out, struct errmsg *why);
/* Other users may pass through the scratch folder. */
int demo_open_to_others(struct demo_world *w, struct errmsg *why);
bool demo_interrupted(void);

/* Read a JSON file of the control directory. */
int demo_control(
	struct demo_world *w, const char *name, struct json_value **out, struct errmsg *why);

/* ---- demo_policy.c: what a policy leaves of everybody's data ---- */

/* The policies of a mount, NULL-terminated, the one that does harm first. */
extern const char *const demo_policies[];

struct demo_users {
	uid_t busy, idle; /* 0: ours */
};

struct demo_aftermath {
	struct demo_count writes; /* the mutator's */
	uint64_t own_unreadable;  /* of its writes */
	uint64_t parity_rows;     /* wrong, as a scrub finds */
	uint64_t lost_blocks;     /* that nothing can rebuild, as a scrub finds */
	struct demo_count idle;   /* 4K blocks of idle files, with one member gone */
	unsigned processes_named; /* with changed writes, in the control directory's list */
};

/* The mutator's file between idle files; it writes under @policy; then a member fails. */
int demo_policy_run(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, const struct demo_users *users, const char *policy,
	struct demo_aftermath *out, struct errmsg *why);

/* Blocks and rows that are wrong in any way. */
uint64_t demo_policy_damage(const struct demo_aftermath *a);

bool demo_policy_exists(const char *name);

/* A mutator must do no harm under this policy: that of verify is told, and mended. */
bool demo_policy_is_cure(const char *policy);

/* ---- demo_strangers.c: idle files between the mutator's blocks ---- */

/* Write, in turn, one block of the mutator's file "a" and one of each of two idle files, so that
 * each stripe holds all three. */
int demo_strangers_write(struct demo_world *w, const struct demo_setup *setup, struct errmsg *why);
/* Give the mutator's file to one user and the idle ones to another. */
int demo_strangers_give(struct demo_world *w, uid_t busy, uid_t idle, struct errmsg *why);
/* Mounted anew, read the idle files back and compare. Counts the blocks that lie on one member
 * (that which goes), in rows that were written to. */
int demo_strangers_look(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why);
/* The same with that member gone. */
int demo_strangers_measure(struct demo_world *w, const struct demo_setup *setup,
	enum demo_cell cell, struct demo_outcome *out, struct errmsg *why);

/* ---- demo_picture.c ---- */

/* Draw a stripe with a ruined block on stdout, with colours or plain. Nothing where !valid. */
void demo_picture(const struct demo_stripe *picture, bool color);

/* The same as an SVG file. 0 or -errno. */
int demo_picture_svg(const struct demo_stripe *picture, const char *path, struct errmsg *why);

#endif
