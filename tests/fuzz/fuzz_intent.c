/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as the intent area of a member, beside one whose area is good. The log
 * loads whatever they are, marks what the good one marks, serves, and is empty when it is cleared.
 *
 * The first byte of the input: bit 0, make the sectors' checksums fit; bit 1, the member is alone;
 * bit 2, some member is out of date. Then the area. */
#include "area_world.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "intent/intent.h"
#include "intent/intent_disk.h"

#define STRIPES    5000u /* a region each: two sectors a map */
#define MARKED     4321u
#define AREA_BYTES 8192u

enum flag { FLAG_SEAL = 1, FLAG_ALONE = 2, FLAG_DEGRADED = 4 };

static void area_seal(const struct super *super, uint8_t *area)
{
	uint32_t sectors = INTENT_MAPS * intent_disk_sectors(super_regions(super));
	for (uint32_t n = 0; n < sectors; n++) {
		uint8_t covered[16 + INTENT_SECTOR_BYTES];
		uint8_t *sector = area + intent_disk_sector_offset(n);
		put_le32(sector, 0);
		memcpy(covered, super->volume_uuid, 16);
		memcpy(covered + 16, sector, INTENT_SECTOR_BYTES);
		put_le32(sector, crc32c(covered, sizeof(covered)));
	}
}

static void area_good(const struct super *super, uint64_t region, uint8_t *area)
{
	uint32_t sectors = intent_disk_sectors(super_regions(super));
	memset(area, 0, AREA_BYTES);
	intent_disk_header_encode(super, area);
	for (uint32_t n = 0; n < INTENT_MAPS * sectors; n++) {
		uint64_t words[INTENT_SECTOR_WORDS] = {0};
		if (n == region / INTENT_SECTOR_REGIONS)
			words[region % INTENT_SECTOR_REGIONS / 64] |= UINT64_C(1) << region % 64;
		intent_disk_sector_encode(super, n, words, area + intent_disk_sector_offset(n));
	}
}

static void counts_agree(const struct intent_log *log)
{
	uint64_t marked = 0, stale = 0;
	for (uint64_t r = 0; r < intent_regions(log); r++) {
		marked += intent_is_marked(log, r);
		stale += intent_is_stale(log, r);
	}
	fuzz_demand(marked == intent_marked_count(log) && marked <= STRIPES);
	fuzz_demand(stale == intent_stale_count(log) && stale <= STRIPES);
}

static bool ended;

static void marked(struct intent_wait *wait, int err)
{
	fuzz_demand(err == 0);
	ended = true;
}

static void use_log(struct io_engine *io, struct intent_log *log)
{
	struct intent_wait wait = {.region = STRIPES - 1, .marked = marked};
	intent_stale_collect(log, false);
	ended = intent_write_begin(log, &wait);
	while (!ended)
		fuzz_demand(io_run(io, true) >= 0);
	fuzz_demand(intent_is_marked(log, STRIPES - 1) && intent_is_stale(log, STRIPES - 1));
	intent_write_ended(log, STRIPES - 1);
	fuzz_demand(intent_clear_all(log) == 0);
	fuzz_demand(intent_marked_count(log) == 0);
	counts_agree(log);
}

static void load(struct area_world *aw, unsigned flags)
{
	struct intent_log *log;
	struct member *members[AW_MEMBERS] = {
		aw->members[0], flags & FLAG_ALONE ? NULL : aw->members[1]};
	fuzz_demand(intent_load(aw->io, members, AW_MEMBERS, &log, NULL) == 0);
	counts_agree(log);
	fuzz_demand((flags & FLAG_ALONE) || intent_is_marked(log, MARKED));
	fuzz_demand((flags & FLAG_DEGRADED) || intent_stale_count(log) == 0);
	use_log(aw->io, log);
	uint64_t stale = intent_stale_count(log);
	intent_free(log);
	fuzz_demand(intent_load(aw->io, members, AW_MEMBERS, &log, NULL) == 0);
	fuzz_demand(intent_marked_count(log) == 0);
	fuzz_demand(intent_stale_count(log) == (flags & FLAG_DEGRADED ? stale : 0));
	intent_free(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	uint8_t area[AREA_BYTES] = {0};
	struct area_world aw;
	if (!len_bytes)
		return 0;
	struct super super = aw_super(STRIPES, 4);
	super.stale_since = data[0] & FLAG_DEGRADED ? 1 : 0;
	fuzz_demand(intent_disk_image_bytes(super_regions(&super)) <= AREA_BYTES);
	aw_init(&aw, &super);
	area_good(&super, MARKED, area);
	aw_poke(&aw, 1, super.intent.offset_bytes, area, AREA_BYTES);
	memset(area, 0, AREA_BYTES);
	memcpy(area, data + 1, min_u64(len_bytes - 1, AREA_BYTES));
	if (data[0] & FLAG_SEAL)
		area_seal(&super, area);
	aw_poke(&aw, 0, super.intent.offset_bytes, area, AREA_BYTES);
	load(&aw, data[0]);
	aw_fini(&aw);
	return 0;
}

static bool intent_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	static const char *const names[] = {"together", "sealed", "alone", "alone-sealed",
		"degraded", "degraded-sealed", "degraded-alone", "degraded-alone-sealed"};
	if (n >= sizeof(names) / sizeof(*names))
		return false;
	struct super super = aw_super(STRIPES, 4);
	out[0] = (uint8_t)n;
	area_good(&super, n * 600, out + 1);
	*len_bytes = 1 + BLOCK_BYTES + 4 * INTENT_SECTOR_BYTES;
	*name = names[n];
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = 400, .seed = intent_seed};
