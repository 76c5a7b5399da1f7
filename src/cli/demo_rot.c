/* SPDX-License-Identifier: MIT */
/* The studies "bitrot" and "misdirected": a member gives back other bytes than were written, and
 * says nothing. The same faults on a volume without PI, where the reader gets them, and on one with
 * PI, where they are found, repaired from redundancy and named; beside them reads without a fault.
 *
 *	write the file -> [fault] -> (misdirected: write again) -> read, compare -> mount anew, read
 *	-> scrub */
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

#define FILE_NAME   "ledger.db"
#define FILE_BLOCKS 192u
#define FAULTS      16u /* at every twelfth block */
#define FAULT_STEP  (FILE_BLOCKS / FAULTS)
#define SEED        "20261"

static const struct demo_experiment volumes[] = {
	{.title = "RAID5, no PI", DEMO_RAID5("none", "none")},
	{.title = "RAID1, no PI", DEMO_RAID1("none", "none")},
	{.title = "RAID5, PI (t10)", DEMO_RAID5("t10", "device")},
	{.title = "RAID1, PI (t10)", DEMO_RAID1("t10", "device")},
};
#define VOLUMES (sizeof(volumes) / sizeof(volumes[0]))

struct rot {
	const char *fault; /* of inject; NULL: none, the control */
	const char *title;
	bool at_write;
};

static const struct rot bitrot[] = {{NULL, "no fault", false},
	{"bit-flip", "one bit of a block flipped on the medium", false}, {0}};
static const struct rot misdirected[] = {{NULL, "no fault", true},
	{"misdirected", "a write lands one block further", true},
	{"lost-write", "a write is acknowledged and lost", true},
	{"torn-write", "a write stores its first sectors only", true}, {0}};

static const struct demo_sheet_column columns[] = {{"volume", "volume", 'l'},
	{"fault", "fault", 'l'}, {"fired", "faults", 'r'}, {"silent", "read wrong, silently", 'r'},
	{"failed", "read errors", 'r'}, {"repaired", "blocks repaired", 'r'},
	{"named", "named member and file", 'r'}, {"wrong_later", "wrong after remount", 'r'},
	{"scrub", "scrub finds", 'r'}, {"left", "wrong after --repair", 'r'}, {0}};

struct rot_count {
	uint64_t fired, silent, failed, repaired, named, wrong_later, scrub, left;
};

/* ---- the file ---- */

static void fill_block(uint8_t *block, unsigned version, unsigned number)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "ledger, page %u, version %u. ", number, version);
	for (unsigned at = 0; at < BLOCK_BYTES; at++)
		block[at] = (uint8_t)line[at % (unsigned)len];
}

static int open_file(struct demo_world *w, int flags, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", demo_mountpoint(w), FILE_NAME);
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0644);
	return fd < 0 ? errmsg_set(why, -errno, "%s: %s", path, strerror(errno)) : fd;
}

/* Block after block, as a database would. */
static int write_file(struct demo_world *w, unsigned version, struct errmsg *why)
{
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(BLOCK_BYTES);
	cleanup(cleanup_closep) int fd = open_file(w, O_WRONLY | O_CREAT, why);
	if (!block || fd < 0)
		return fd < 0 ? fd : -ENOMEM;
	for (unsigned b = 0; b < FILE_BLOCKS; b++) {
		fill_block(block, version, b);
		if (pwrite(fd, block, BLOCK_BYTES, (off_t)b * BLOCK_BYTES) != BLOCK_BYTES)
			return errmsg_set(why, -EIO, "writing %s: %s", FILE_NAME, strerror(errno));
	}
	return fsync(fd) == 0 ? 0 : errmsg_set(why, -errno, "fsync: %s", strerror(errno));
}

static int read_file(struct demo_world *w, unsigned version, uint64_t *silent, uint64_t *failed,
	struct errmsg *why)
{
	cleanup(cleanup_freep) uint8_t *blocks = mem_alloc_blocks(2 * BLOCK_BYTES);
	cleanup(cleanup_closep) int fd = open_file(w, O_RDONLY, why);
	if (!blocks || fd < 0)
		return fd < 0 ? fd : -ENOMEM;
	uint8_t *was = blocks, *is = blocks + BLOCK_BYTES;
	for (unsigned b = 0; b < FILE_BLOCKS; b++) {
		ssize_t n = pread(fd, is, BLOCK_BYTES, (off_t)b * BLOCK_BYTES);
		fill_block(was, version, b);
		*failed += n < 0;
		*silent += n >= 0 && memcmp(was, is, BLOCK_BYTES) != 0;
	}
	return 0;
}

/* ---- faults, and what was told of them ---- */

static int arm(struct demo_world *w, const struct rot *rot, struct errmsg *why)
{
	char specs[FAULTS][96];
	const char *argv[4 + FAULTS + 1] = {"inject", "--seed", SEED, demo_mountpoint(w)};
	for (unsigned i = 0; rot->fault && i < FAULTS; i++) {
		snprintf(specs[i], sizeof(specs[i]), "%s file=/%s offset=%u len=4096 count=1",
			rot->fault, FILE_NAME, i * FAULT_STEP * BLOCK_BYTES);
		argv[4 + i] = specs[i];
	}
	return rot->fault ? demo_verb(w, argv, NULL, NULL, why) : 0;
}

static int count_fired(struct demo_world *w, uint64_t *fired, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *doc = NULL;
	int err = demo_control(w, "inject", &doc, why);
	json_for_each(fault, json_get(doc, "faults")) *fired += json_get_u64(fault, "fired", 0);
	return err;
}

/* Blocks that the events call repaired, and how many of these events say whose they were. */
static int count_repairs(struct demo_world *w, struct rot_count *c, struct errmsg *why)
{
	char path[PATH_MAX];
	cleanup(cleanup_freep) char *line = NULL;
	size_t room = 0;
	snprintf(path, sizeof(path), "%s/.stablefs/events.jsonl", demo_mountpoint(w));
	FILE *f = fopen(path, "re");
	if (!f)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	for (ssize_t n; (n = getline(&line, &room, f)) > 0;) {
		cleanup(json_value_freep) struct json_value *event = NULL;
		if (json_parse(line, (size_t)n, &event, NULL) < 0 ||
			strcmp(json_get_string(event, "event", ""), "repaired"))
			continue;
		uint64_t blocks = json_get_u64(event, "volume_blocks", 1);
		c->repaired += blocks;
		if (json_get(event, "member") && strstr(line, FILE_NAME))
			c->named += blocks;
	}
	fclose(f);
	return 0;
}

/* What is wrong on any member; a repair goes with it. */
static int count_scrub(struct demo_world *w, struct rot_count *c, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *report = NULL;
	const char *argv[] = {"scrub", "--json", "--repair", demo_mountpoint(w), NULL};
	int status, err = demo_verb(w, argv, &status, &report, why);
	uint64_t guards = json_get_u64(report, "guard_mismatches", 0);
	c->scrub = guards ? guards
			  : json_get_u64(report, "parity_mismatches", 0) +
				    json_get_u64(report, "mirror_mismatches", 0);
	return err;
}

/* ---- a trial ---- */

static int mount_anew(struct demo_world *w, struct errmsg *why)
{
	int err = demo_unmount(w, why);
	return err < 0 ? err : demo_mount(w, "dio=bounce,inject", why);
}

/* The file is there, and the faults have happened or will at the next read. */
static int prepare(struct demo_world *w, const struct demo_experiment *e, const struct rot *rot,
	struct rot_count *c, struct errmsg *why)
{
	int err = demo_create(w, e, "32M", NULL, why);
	if (!err)
		err = demo_mount(w, "dio=bounce,inject", why);
	if (!err)
		err = write_file(w, 1, why);
	if (!err)
		err = mount_anew(w, why);
	if (!err)
		err = arm(w, rot, why);
	if (!err && rot->at_write)
		err = write_file(w, 2, why);
	if (!err && rot->at_write)
		err = count_fired(w, &c->fired, why);
	if (!err && rot->at_write) /* a write that reads the old block may find it */
		err = count_repairs(w, c, why);
	return !err && rot->at_write ? mount_anew(w, why) : err;
}

static int run_trial(struct demo_world *w, const struct demo_experiment *e, const struct rot *rot,
	struct rot_count *c, struct errmsg *why)
{
	unsigned version = rot->at_write ? 2 : 1;
	uint64_t later[2] = {0}, left[2] = {0};
	int err = prepare(w, e, rot, c, why);
	if (!err)
		err = read_file(w, version, &c->silent, &c->failed, why);
	if (!err && !rot->at_write)
		err = count_fired(w, &c->fired, why);
	if (!err)
		err = count_repairs(w, c, why);
	if (!err)
		err = mount_anew(w, why);
	if (!err)
		err = read_file(w, version, &later[0], &later[1], why);
	if (!err)
		err = count_scrub(w, c, why);
	if (!err)
		err = read_file(w, version, &left[0], &left[1], why);
	c->wrong_later = later[0] + later[1];
	c->left = left[0] + left[1];
	int unmounted = demo_unmount(w, why);
	return err < 0 ? err : unmounted;
}

static void add_row(struct demo_report *r, struct demo_sheet *s, const struct demo_experiment *e,
	const struct rot *rot, const struct rot_count *c)
{
	bool protected = strcmp(e->pi, "none") || !rot->fault;
	demo_sheet_text(r, s, "%s", e->title);
	demo_sheet_text(r, s, "%s", rot->title);
	demo_sheet_count(r, s, c->fired);
	demo_sheet_count(r, s, c->silent);
	demo_sheet_count(r, s, c->failed);
	demo_sheet_count(r, s, c->repaired);
	demo_sheet_count(r, s, c->named);
	demo_sheet_count(r, s, c->wrong_later);
	demo_sheet_count(r, s, c->scrub);
	demo_sheet_count(r, s, c->left);
	if (protected && (c->silent || c->failed || c->wrong_later || c->left))
		demo_report_damage(r, "%s, %s: blocks were wrong", e->title, rot->title);
}

static int run_all(struct demo_world *w, const struct rot *rots, struct demo_sheet *s,
	struct demo_report *r, struct errmsg *why)
{
	int err = 0;
	for (unsigned v = 0; v < VOLUMES; v++) {
		for (const struct rot *rot = rots; !err && rot->title; rot++) {
			struct rot_count c = {0};
			demo_trial_say("%s, %s", volumes[v].title, rot->title);
			err = run_trial(w, &volumes[v], rot, &c, why);
			add_row(r, s, &volumes[v], rot, &c);
			if (!err && demo_interrupted())
				err = errmsg_set(why, -EINTR, "interrupted");
		}
	}
	return err;
}

static int run_bitrot(struct demo_world *w, const struct demo_setup *setup, struct demo_report *r,
	struct errmsg *why)
{
	(void)setup;
	return run_all(w, bitrot, demo_report_add(r, "bitrot", "Bit rot", columns), r, why);
}

static int run_misdirected(struct demo_world *w, const struct demo_setup *setup,
	struct demo_report *r, struct errmsg *why)
{
	(void)setup;
	return run_all(w, misdirected,
		demo_report_add(r, "misdirected", "Misdirected, lost and torn writes", columns), r,
		why);
}

static const char notes[] =
	"A file of 192 blocks of 4K, 16 faults in one member each. Read wrong, silently: the "
	"reader got\nother bytes than were written, and no error. Without PI a scrub sees that "
	"copies or parity\ndisagree, and cannot know which side is right: its repair takes data, "
	"or the first mirror, for right.\nWith PI it finds and repairs the mirrors, too, that "
	"nobody has read.\n";

const struct demo_study demo_bitrot = {.name = "bitrot",
	.summary = "bits flip on a medium, without and with PI",
	.run = run_bitrot,
	.notes = notes};

const struct demo_study demo_misdirected = {.name = "misdirected",
	.summary = "writes go astray, without and with PI",
	.run = run_misdirected,
	.notes = notes};
