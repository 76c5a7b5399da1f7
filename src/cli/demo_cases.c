/* SPDX-License-Identifier: MIT */
/* The experiments of the demo, and how each is measured. What a real kernel gave stands in
 * docs/ground-truth.md. */
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

/* ---- measuring by scrub: parity rows, mirrors ---- */

static void note_files(struct demo_outcome *out, const struct json_value *report, const char *key)
{
	json_for_each(file, json_get(report, "files"))
	{
		if (out->file_count == DEMO_MAX_FILES)
			return;
		struct demo_file *f = &out->files[out->file_count++];
		snprintf(f->path, sizeof(f->path), "%s", json_get_string(file, "path", "?"));
		f->blocks_wrong = json_get_u64(file, key, 0);
	}
}

/* Rows of 4K that the writes touched, in a file that lies in one piece from a stripe's beginning:
 * three data chunks share a row's parity. */
static uint64_t rows_written(const struct demo_setup *setup)
{
	uint64_t chunks = setup->count * setup->stride_bytes / DEMO_CHUNK_BYTES;
	uint64_t bytes =
		setup->block_bytes < DEMO_CHUNK_BYTES ? setup->block_bytes : DEMO_CHUNK_BYTES;
	return (chunks + 2) / 3 * (bytes / BLOCK_BYTES);
}

int demo_measure_parity(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *report = NULL;
	int err = demo_trial_scrub(w, &report, why);
	if (err < 0)
		return err;
	out->cells[cell].of = rows_written(setup);
	out->cells[cell].wrong = json_get_u64(report, "parity_mismatches", 0);
	if (cell == DEMO_ZEROCOPY)
		note_files(out, report, "parity_blocks");
	return 0;
}

int demo_measure_mirrors(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *report = NULL;
	int err = demo_trial_scrub(w, &report, why);
	if (err < 0)
		return err;
	out->cells[cell].of = setup->count * setup->block_bytes / BLOCK_BYTES;
	out->cells[cell].wrong = json_get_u64(report, "mirror_mismatches", 0);
	if (cell == DEMO_ZEROCOPY)
		note_files(out, report, "mirror_blocks");
	return 0;
}

/* ---- measuring by reading back ---- */

/* How many of the mutator's writes cannot be read back. */
int demo_measure_readback(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/a", demo_mountpoint(w));
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(setup->block_bytes);
	if (fd < 0 || !buf)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	struct demo_count *c = &out->cells[cell];
	c->of = setup->count;
	for (uint64_t i = 0; i < setup->count && !demo_interrupted(); i++)
		c->wrong += pread(fd, buf, setup->block_bytes, (off_t)(i * setup->stride_bytes)) !=
			    (ssize_t)setup->block_bytes;
	if (cell == DEMO_ZEROCOPY && c->wrong) {
		snprintf(out->files[0].path, sizeof(out->files[0].path), "/a");
		out->files[0].blocks_wrong = c->wrong * setup->block_bytes / BLOCK_BYTES;
		out->file_count = 1;
	}
	return 0;
}

/* Writes that the PI disk refused: the mutator has counted them. */
int demo_measure_refused(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	(void)w;
	(void)why;
	out->cells[cell].of = setup->count;
	out->cells[cell].wrong = out->cells[cell].writes_failed;
	return 0;
}

int demo_measure_reads(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	(void)w;
	(void)setup;
	(void)why;
	out->cells[cell].of = out->cells[cell].reads;
	out->cells[cell].wrong = out->cells[cell].reads_failed;
	return 0;
}

const struct demo_experiment demo_experiments[] = {
	{.name = "parity",
		.title = "RAID5, no PI: parity goes wrong",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		.reality = "md, skip_copy=1: all",
		.measure = demo_measure_parity},
	{.name = "victims",
		.title = "... then a member fails: idle files of others",
		.unit = "idle 4K blocks ruined",
		DEMO_RAID5("none", "none"),
		.reality = "md: 99 %",
		.strangers = true,
		.measure = demo_strangers_measure},
	{.name = "mirror",
		.title = "RAID1, no PI: the mirrors diverge",
		.unit = "4K blocks differ",
		DEMO_RAID1("none", "none"),
		.reality = "md: 93 to 99 %",
		.measure = demo_measure_mirrors},
	{.name = "metadata",
		.title = "RAID1, PI as plain metadata: unreadable",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "none"),
		.reality = "btrfs, Linux 6.1: all",
		.measure = demo_measure_readback},
	{.name = "disk",
		.title = "A PI disk that checks: refused",
		.unit = "writes fail with EILSEQ",
		.level = "single",
		.members = "1",
		.pi = "t10",
		.pi_check = "device",
		.reality = "Linux: 99 to 100 %",
		.measure = demo_measure_refused},
};
const unsigned demo_experiment_count = sizeof(demo_experiments) / sizeof(demo_experiments[0]);
