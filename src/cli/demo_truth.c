/* SPDX-License-Identifier: MIT */
/* The study "truth": what was measured on a real kernel, done again here, row by row.
 *
 * The numbers of the real kernel are those of docs/ground-truth.md, the mean of its runs; each row
 * says in which section they stand. docs/fidelity.md says why rows differ. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/demo.h"

#define KIB UINT64_C(1024)

#define SINGLE(pi_, check_)    .level = "single", .members = "1", .pi = pi_, .pi_check = check_
#define REAL(wrong, of, where) .real_wrong = wrong, .real_of = of, .real_where = where
/* Blocks lie 64K apart, as they did there. */
#define BLOCKS_4K  .block_bytes = 4 * KIB, .stride_bytes = 64 * KIB, .overwrites = true
#define BLOCKS_64K .block_bytes = 64 * KIB, .overwrites = true

static const struct demo_experiment rows[] = {
	{.name = "raid5-4k",
		.title = "RAID5, 4K",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		BLOCKS_4K,
		REAL(167, 167, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "raid5-64k",
		.title = "RAID5, 64K",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		BLOCKS_64K,
		REAL(2672, 2672, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "raid5-192k",
		.title = "RAID5, 192K (full stripes)",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		.block_bytes = 192 * KIB,
		.overwrites = true,
		REAL(7995, 8000, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "victims-4k",
		.title = "RAID5, 4K, then a member fails",
		.unit = "idle 4K blocks ruined",
		DEMO_RAID5("none", "none"),
		.block_bytes = 4 * KIB,
		.stride_bytes = 64 * KIB,
		.strangers = true,
		.max_count = 200,
		REAL(99, 100, "2"),
		.reality = "md, skip_copy=1",
		.measure = demo_strangers_measure},
	{.name = "victims-64k",
		.title = "RAID5, 64K, then a member fails",
		.unit = "idle 4K blocks ruined",
		DEMO_RAID5("none", "none"),
		.strangers = true,
		.max_count = 200,
		REAL(1584, 1600, "2"),
		.reality = "md, skip_copy=1",
		.measure = demo_strangers_measure},
	{.name = "raid1-4k",
		.title = "RAID1, 4K",
		.unit = "4K blocks differ",
		DEMO_RAID1("none", "none"),
		BLOCKS_4K,
		REAL(421, 500, "3"),
		.reality = "md",
		.measure = demo_measure_mirrors},
	{.name = "raid1-64k",
		.title = "RAID1, 64K",
		.unit = "4K blocks differ",
		DEMO_RAID1("none", "none"),
		BLOCKS_64K,
		REAL(7761, 8000, "3"),
		.reality = "md",
		.measure = demo_measure_mirrors},
	{.name = "raid1-256k",
		.title = "RAID1, 256K",
		.unit = "4K blocks differ",
		DEMO_RAID1("none", "none"),
		.block_bytes = 256 * KIB,
		.overwrites = true,
		.max_count = 240,
		REAL(14238, 15360, "3"),
		.reality = "md",
		.measure = demo_measure_mirrors},
	{.name = "disk-4k",
		.title = "PI disk, 4K",
		.unit = "writes fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_4K,
		REAL(467, 500, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_refused},
	{.name = "disk-64k",
		.title = "PI disk, 64K",
		.unit = "writes fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_64K,
		REAL(498, 500, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_refused},
	{.name = "reads-4k",
		.title = "PI disk, reads of 4K",
		.unit = "reads fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_4K,
		.read = true,
		.max_count = 300,
		REAL(300, 300, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_reads},
	{.name = "reads-64k",
		.title = "PI disk, reads of 64K",
		.unit = "reads fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_64K,
		.read = true,
		.max_count = 300,
		REAL(300, 300, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_reads},
	{.name = "raid1-disks-writes",
		.title = "RAID1 of PI disks, 64K",
		.unit = "writes fail",
		DEMO_RAID1("t10", "device"),
		BLOCKS_64K,
		.max_count = 200,
		REAL(59, 200, "4"),
		.reality = "md",
		.measure = demo_measure_refused},
	{.name = "raid1-disks-reads",
		.title = "RAID1 of PI disks, 64K",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "device"),
		BLOCKS_64K,
		.max_count = 200,
		REAL(78, 200, "4"),
		.reality = "md",
		.measure = demo_measure_readback},
	{.name = "raid5-disks-writes",
		.title = "RAID5 of PI disks, 64K",
		.unit = "writes fail",
		DEMO_RAID5("t10", "device"),
		BLOCKS_64K,
		.max_count = 200,
		REAL(89, 200, "4"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_refused},
	{.name = "raid5-disks-reads",
		.title = "RAID5 of PI disks, 64K",
		.unit = "writes cannot be read back",
		DEMO_RAID5("t10", "device"),
		BLOCKS_64K,
		.max_count = 200,
		REAL(105, 200, "4"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_readback},
	{.name = "metadata-4k",
		.title = "PI as metadata, 4K",
		.unit = "writes cannot be read back",
		SINGLE("t10", "none"),
		BLOCKS_4K,
		REAL(443, 500, "5"),
		.reality = "dm-integrity, bitmap",
		.measure = demo_measure_readback},
	{.name = "metadata-64k",
		.title = "PI as metadata, 64K",
		.unit = "writes cannot be read back",
		SINGLE("t10", "none"),
		BLOCKS_64K,
		REAL(500, 500, "5"),
		.reality = "dm-integrity, bitmap",
		.measure = demo_measure_readback},
	{.name = "raid1-metadata-4k",
		.title = "RAID1, PI as metadata, 4K",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "none"),
		BLOCKS_4K,
		REAL(367, 500, "5"),
		.reality = "md on dm-integrity",
		.measure = demo_measure_readback},
	{.name = "raid1-metadata-64k",
		.title = "RAID1, PI as metadata, 64K",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "none"),
		BLOCKS_64K,
		REAL(352, 500, "5"),
		.reality = "md on dm-integrity",
		.measure = demo_measure_readback},
	{.name = "raid1-checksums-4k",
		.title = "RAID1, checksums, 4K",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "none"),
		BLOCKS_4K,
		REAL(478, 500, "6"),
		.reality = "btrfs, Linux 6.1",
		.measure = demo_measure_readback},
	{.name = "raid1-checksums-64k",
		.title = "RAID1, checksums, 64K",
		.unit = "writes cannot be read back",
		DEMO_RAID1("t10", "none"),
		BLOCKS_64K,
		REAL(500, 500, "6"),
		.reality = "btrfs, Linux 6.1",
		.measure = demo_measure_readback},
	{.name = "raid5-metadata-64k",
		.title = "RAID5, PI as metadata, 64K",
		.unit = "writes cannot be read back",
		DEMO_RAID5("t10", "none"),
		BLOCKS_64K,
		REAL(8000, 8000, "5"),
		.reality = "md on dm-integrity",
		.measure = demo_measure_readback},
	{.name = "one-raid5-4k",
		.title = "one store: RAID5, 4K",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		BLOCKS_4K,
		.delay = "200us",
		REAL(90, 167, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "one-raid5-64k",
		.title = "one store: RAID5, 64K",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		BLOCKS_64K,
		.delay = "200us",
		REAL(69, 2672, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "one-1ms-raid5-64k",
		.title = "one store in 1 ms: RAID5, 64K",
		.unit = "4K parity rows wrong",
		DEMO_RAID5("none", "none"),
		BLOCKS_64K,
		.delay = "1ms",
		REAL(182, 2672, "1"),
		.reality = "md, skip_copy=1",
		.measure = demo_measure_parity},
	{.name = "one-raid1-64k",
		.title = "one store: RAID1, 64K",
		.unit = "4K blocks differ",
		DEMO_RAID1("none", "none"),
		BLOCKS_64K,
		.delay = "200us",
		REAL(96, 8000, "3"),
		.reality = "md",
		.measure = demo_measure_mirrors},
	{.name = "one-disk-4k",
		.title = "one store: PI disk, 4K",
		.unit = "writes fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_4K,
		.delay = "200us",
		REAL(220, 500, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_refused},
	{.name = "one-disk-64k",
		.title = "one store: PI disk, 64K",
		.unit = "writes fail with EILSEQ",
		SINGLE("t10", "device"),
		BLOCKS_64K,
		.delay = "200us",
		REAL(48, 500, "4"),
		.reality = "scsi_debug, DIF 1 and DIX",
		.measure = demo_measure_refused},
	{.name = "one-metadata-64k",
		.title = "one store: PI as metadata, 64K",
		.unit = "writes cannot be read back",
		SINGLE("t10", "none"),
		BLOCKS_64K,
		.delay = "200us",
		REAL(134, 500, "5"),
		.reality = "dm-integrity, bitmap",
		.measure = demo_measure_readback},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const struct demo_sheet_column columns[] = {{"name", "", 'l'}, {"what", "what", 'l'},
	{"unit", "unit", 'l'}, {"real", "real kernel", 'r'}, {"by", "by", 'l'},
	{"section", "section", 'r'}, {"zerocopy_mutator", "zero-copy, mutator", 'r'},
	{"ratio", "ours/real", 'r'}, {"within_factor_2", "within 2", 'l'},
	{"bounce_mutator", "bounce, mutator", 'r'}, {"zerocopy_still", "zero-copy, still", 'r'},
	{0}};

static double share(uint64_t wrong, uint64_t of)
{
	return of ? (double)wrong / (double)of : 0;
}

static void add_cell(struct demo_report *r, struct demo_sheet *s, const struct demo_count *c)
{
	demo_sheet_share(r, s, c->wrong, c->of);
}

static void add_row(struct demo_report *r, struct demo_sheet *s, const struct demo_experiment *e,
	const struct demo_outcome *o)
{
	const struct demo_count *c = o->cells;
	double ratio = share(c[DEMO_ZEROCOPY].wrong, c[DEMO_ZEROCOPY].of) /
		       share(e->real_wrong, e->real_of);
	demo_sheet_text(r, s, "%s", e->name);
	demo_sheet_text(r, s, "%s", e->title);
	demo_sheet_text(r, s, "%s", e->unit);
	demo_sheet_share(r, s, e->real_wrong, e->real_of);
	demo_sheet_text(r, s, "%s", e->reality);
	demo_sheet_text(r, s, "%s", e->real_where);
	add_cell(r, s, &c[DEMO_ZEROCOPY]);
	demo_sheet_number(r, s, ratio, 2);
	demo_sheet_text(r, s, "%s", ratio >= 0.5 && ratio <= 2 ? "yes" : "no: see fidelity");
	add_cell(r, s, &c[DEMO_BOUNCE]);
	add_cell(r, s, &c[DEMO_STILL]);
	if (c[DEMO_BOUNCE].wrong || c[DEMO_STILL].wrong)
		demo_report_damage(r, "%s: damage under the cure or in the control", e->title);
}

static int run(struct demo_world *w, const struct demo_setup *setup, struct demo_report *r,
	struct errmsg *why)
{
	struct demo_sheet *s = demo_report_add(r, "truth",
		"What a real kernel did (sections of docs/ground-truth.md), and what is done here",
		columns);
	int err = 0;
	for (unsigned i = 0; !err && i < ROWS; i++) {
		struct demo_outcome o = {0};
		if (!demo_part_is_chosen(setup, rows[i].name))
			continue;
		for (unsigned cell = 0; !err && cell < DEMO_CELLS; cell++) {
			demo_trial_say("%s, %s (%u of 3)", rows[i].title, rows[i].unit, cell + 1);
			err = demo_trial_run(w, &rows[i], setup, cell, &o, why);
		}
		free(o.victims);
		if (!err)
			add_row(r, s, &rows[i], &o);
	}
	return err;
}

static bool has_part(const char *name)
{
	for (unsigned i = 0; i < ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return true;
	return false;
}

const struct demo_study demo_truth = {.name = "truth",
	.summary = "the same as on a real kernel",
	.run = run,
	.has_part = has_part,
	.notes = "Shares are compared, not counts. docs/fidelity.md explains what differs.\n"};
