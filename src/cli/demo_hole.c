/* SPDX-License-Identifier: MIT */
/* The study "write-hole": the power goes while a program writes into its own file, and afterwards a
 * member is gone. What has become of files that nobody touched, which only shared stripes with it?
 *
 * The same writes, the same cut and the same loss, on a volume that has marks alone and on one that
 * keeps the partial-write log; beside them the cut alone and the loss alone, which must do no
 * harm. The members are files whose unflushed writes the injected power cut keeps, tears or loses,
 * as a disk's cache would. No buffer changes in flight: this damage needs no mutator. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "cli/demo.h"

#define WRITE_BYTES 16384u /* a quarter of a chunk: a partial write of its stripe */
#define MAX_WRITES  100u
#define SEED        "20261"

static const struct demo_experiment volumes[] = {
	{.name = "none", .title = "RAID5, no PI", DEMO_RAID5("none", "none")},
	{.name = "metadata", .title = "RAID5, PI (t10)", DEMO_RAID5("t10", "none")},
};

static const struct trial {
	const char *name, *title;
	bool cut, lose;
} trials[] = {
	{"cut_and_loss", "power cut, then a member lost", true, true},
	{"cut", "power cut alone", true, false},
	{"loss", "a member lost alone", false, true},
};
#define TRIALS (sizeof(trials) / sizeof(trials[0]))

static const char *const logs[] = {"bitmap", "journal"};

static const struct demo_sheet_column columns[] = {{"volume", "volume", 'l'},
	{"happens", "what happens", 'l'}, {"write_hole", "--write-hole", 'l'},
	{"writes", "busy writes before", 'r'}, {"idle_wrong", "idle 4K blocks lost", 'r'},
	{"idle_silent", "silently wrong", 'r'}, {"idle_unreadable", "unreadable", 'r'}, {0}};

static int inject(struct demo_world *w, const char *fault, struct errmsg *why)
{
	const char *argv[] = {"inject", "--seed", SEED, demo_mountpoint(w), fault, NULL};
	return demo_verb(w, argv, NULL, NULL, why);
}

/* The next write meets the cut; that it fails is how we know. */
static int provoke_cut(struct demo_world *w, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/a", demo_mountpoint(w));
	cleanup(cleanup_freep) void *block = mem_alloc_blocks(BLOCK_BYTES);
	cleanup(cleanup_closep) int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (!block || fd < 0)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	memset(block, 'm', BLOCK_BYTES);
	if (pwrite(fd, block, BLOCK_BYTES, 0) >= 0)
		return errmsg_set(why, -EIO, "the power did not go at a write that was to meet it");
	return 0;
}

/* What was written since the first line is unflushed when the power goes. */
static int write_and_cut(struct demo_world *w, const struct demo_setup *setup, bool cut,
	struct demo_count *c, struct errmsg *why)
{
	int err = cut ? inject(w, "power-cut skip=1000000", why) : 0;
	if (!err)
		err = demo_trial_mutate(w, setup, c, why);
	if (!err && cut)
		err = inject(w, "power-cut", why);
	return !err && cut ? provoke_cut(w, why) : err;
}

static int run_trial(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, const struct trial *t, const char *log,
	struct demo_count *c, struct errmsg *why)
{
	struct demo_outcome out = {0};
	int err = demo_create(w, e, "64M", log, why);
	if (!err)
		err = demo_mount(w, "dio=bounce", why);
	if (!err)
		err = demo_strangers_write(w, setup, why);
	if (!err)
		err = demo_unmount(w, why); /* all of it is at rest now */
	if (!err)
		err = demo_mount(w, "dio=bounce,inject", why);
	if (!err)
		err = write_and_cut(w, setup, t->cut, c, why);
	if (!err)
		err = t->lose ? demo_strangers_measure(w, setup, DEMO_STILL, &out, why)
			      : demo_strangers_look(w, setup, DEMO_STILL, &out, why);
	int unmounted = demo_unmount(w, why);
	c->wrong = out.cells[DEMO_STILL].wrong;
	c->unreadable = out.cells[DEMO_STILL].unreadable;
	c->of = out.cells[DEMO_STILL].of;
	return err < 0 ? err : unmounted;
}

static void add_row(struct demo_report *r, struct demo_sheet *s, const struct demo_experiment *e,
	const struct trial *t, const char *log, const struct demo_count *c)
{
	bool may_be_harmed = t->cut && t->lose && !strcmp(log, "bitmap");
	demo_sheet_text(r, s, "%s", e->title);
	demo_sheet_text(r, s, "%s", t->title);
	demo_sheet_text(r, s, "%s", log);
	demo_sheet_count(r, s, c->writes);
	demo_sheet_share(r, s, c->wrong, c->of);
	demo_sheet_count(r, s, c->wrong - c->unreadable);
	demo_sheet_count(r, s, c->unreadable);
	if (c->wrong && !may_be_harmed)
		demo_report_damage(r, "%s, %s, %s: idle blocks were lost", e->title, t->title, log);
}

static int run(struct demo_world *w, const struct demo_setup *base, struct demo_report *r,
	struct errmsg *why)
{
	struct demo_sheet *s = demo_report_add(r, "write_hole", "The write hole", columns);
	struct demo_setup setup = *base;
	int err = 0;
	setup.block_bytes = WRITE_BYTES;
	setup.stride_bytes = DEMO_CHUNK_BYTES;
	setup.count = min_u64(setup.count, MAX_WRITES);
	setup.still = true;
	for (unsigned v = 0; v < sizeof(volumes) / sizeof(volumes[0]); v++) {
		for (unsigned t = 0; t < TRIALS; t++) {
			for (unsigned l = 0; !err && l < sizeof(logs) / sizeof(logs[0]); l++) {
				struct demo_count c = {0};
				demo_trial_say(
					"%s, %s, %s", volumes[v].title, trials[t].title, logs[l]);
				err = run_trial(
					w, &volumes[v], &setup, &trials[t], logs[l], &c, why);
				add_row(r, s, &volumes[v], &trials[t], logs[l], &c);
				if (!err && demo_interrupted())
					err = errmsg_set(why, -EINTR, "interrupted");
			}
		}
	}
	return err;
}

const struct demo_study demo_write_hole = {.name = "write-hole",
	.summary = "a power cut and a lost member, without and with the partial-write log",
	.run = run,
	.notes =
		"A program writes 16K into each of its chunks; idle files hold the other chunks of "
		"these stripes.\nThe power goes with the writes in the members' caches, and one "
		"member does not come back.\nLost: of the idle files' blocks on that member in "
		"rows that were being written.\n"};
