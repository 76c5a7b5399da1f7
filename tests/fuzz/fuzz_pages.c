/* SPDX-License-Identifier: MIT */
/* Fuzz target: pages of the database are changed, with checksums that are right, on all copies; the
 * file system is then used and mended (fs_world.h says what must hold). Each step is 8 bytes:
 *
 *	0	what
 *	1	page, counted round
 *	2, 3	offset in the page
 *	4, 5	length, or the other page
 *	6, 7	value */
#include "fs_world.h"

#include <string.h>
#include "base/block.h"
#include "base/endian.h"
#include "base/mem.h"
#include "fs/area_disk.h"
#include "fuzz.h"

#define STEP_BYTES 8u
#define MAX_STEPS  24u
#define PAGE       AREA_PAGE_BYTES

enum what { XOR, PUT16, PUT32, FILL, SWAP, COPY, LOSE, WHATS };

struct area {
	struct sysarea *area;
	struct area_layout layout;
	uint64_t pages;
	uint8_t *page, *other; /* owned */
};

static void page_read(struct area *a, uint64_t number, uint8_t *out)
{
	fuzz_demand(sysarea_read(a->area, a->layout.db_offset + number * PAGE, out, PAGE) == 0);
}

static void page_write(struct area *a, uint64_t number, uint8_t *page)
{
	area_page_seal(page, (uint32_t)number + 1, a->layout.salt);
	fuzz_demand(sysarea_write(a->area, a->layout.db_offset + number * PAGE, page, PAGE) == 0);
}

static void area_begin(struct area *a, struct sysarea *area)
{
	*a = (struct area){
		.area = area, .page = mem_alloc_blocks(PAGE), .other = mem_alloc_blocks(PAGE)};
	fuzz_demand(a->page && a->other);
	fuzz_demand(sysarea_read(area, AREA_HEADER_BYTES, a->page, PAGE) == 0);
	fuzz_demand(area_header_decode(a->page, sysarea_size_bytes(area), &a->layout) == 0);
	page_read(a, 0, a->page);
	a->pages = get_be32(a->page + 28);
	fuzz_demand(a->pages > 0 && a->pages <= a->layout.db_bytes / PAGE);
}

static void area_end(struct area *a)
{
	free(a->page);
	free(a->other);
}

/* Where cells and headers are is more of interest than where nothing is. */
static uint32_t offset_of(const uint8_t *in)
{
	uint32_t at = get_le16(in + 2);
	return at & 0x8000 ? at % PAGE : at % 128;
}

static void step_do(struct area *a, const uint8_t *in)
{
	uint64_t page = in[1] % a->pages, other = get_le16(in + 4) % a->pages;
	uint32_t at = min_u64(offset_of(in), PAGE - 4);
	page_read(a, page, a->page);
	switch (in[0] % WHATS) {
	case XOR:
		a->page[at] ^= in[6];
		break;
	case PUT16:
		put_be16(a->page + at, get_le16(in + 6));
		break;
	case PUT32:
		put_be32(a->page + at, get_le16(in + 6) % 64);
		break;
	case FILL:
		memset(a->page + at, in[6], min_u64(get_le16(in + 4) % PAGE, PAGE - at));
		break;
	case SWAP:
		page_read(a, other, a->other);
		page_write(a, page, a->other);
		page_write(a, other, a->page);
		return;
	case COPY:
		page_read(a, other, a->page);
		break;
	default: /* right on no copy */
		area_page_seal(a->page, (uint32_t)page + 1, ~a->layout.salt + 1);
		a->page[at] ^= 1;
		fuzz_demand(sysarea_write(a->area, a->layout.db_offset + page * PAGE, a->page,
				    PAGE) == 0);
		return;
	}
	page_write(a, page, a->page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct fw_trial trial;
	struct area area;
	fw_begin(&trial);
	fw_open(&trial, false);
	area_begin(&area, volume_sysarea(trial.volume));
	size_t steps = min_u64(len_bytes / STEP_BYTES, MAX_STEPS);
	for (size_t i = 0; i < steps; i++)
		step_do(&area, data + i * STEP_BYTES);
	area_end(&area);
	fw_close(&trial);
	fw_run(&trial, false);
	fw_end(&trial);
	return 0;
}

/* ---- the corpus it begins with ---- */

static const struct {
	const char *name;
	uint8_t step[STEP_BYTES];
} seeds[] = {
	{"untouched", {XOR, 0, 0, 0, 0, 0, 0, 0}},
	{"page-size", {PUT16, 0, 16, 0, 0, 0, 0, 2}},
	{"write-version", {FILL, 0, 18, 0, 2, 0, 1, 0}},
	{"reserved", {FILL, 0, 20, 0, 1, 0, 0, 0}},
	{"database-size", {PUT32, 0, 28, 0, 0, 0, 63, 0}},
	{"freelist", {PUT32, 0, 32, 0, 0, 0, 3, 0}},
	{"vacuum", {PUT32, 0, 52, 0, 0, 0, 3, 0}},
	{"encoding", {PUT32, 0, 56, 0, 0, 0, 2, 0}},
	{"schema-cell", {XOR, 0, 200, 0x8f, 0, 0, 1, 0}},
	{"tree-type", {XOR, 2, 0, 0, 0, 0, 8, 0}},
	{"cell-count", {PUT16, 2, 3, 0, 0, 0, 0xff, 0x7f}},
	{"cell-content", {PUT16, 3, 5, 0, 0, 0, 1, 0}},
	{"cell-pointer", {PUT16, 4, 8, 0, 0, 0, 0xff, 0xf}},
	{"free-block", {PUT16, 4, 1, 0, 0, 0, 90, 0}},
	{"swapped", {SWAP, 2, 0, 0, 4, 0, 0, 0}},
	{"copied", {COPY, 3, 0, 0, 5, 0, 0, 0}},
	{"lost-root", {LOSE, 2, 0, 0, 0, 0, 0, 0}},
	{"lost-first", {LOSE, 0, 0, 0, 0, 0, 0, 0}},
	{"zeros", {FILL, 4, 0, 0, 255, 15, 0, 0}},
};

static bool pages_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return false;
	memcpy(out, seeds[n].step, STEP_BYTES);
	memset(out + STEP_BYTES, 0, 2 * STEP_BYTES);
	*len_bytes = 3 * STEP_BYTES;
	*name = seeds[n].name;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = FUZZ_SLOWDOWN > 1 ? 0 : 3, .seed = pages_seed};
