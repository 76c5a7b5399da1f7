/* SPDX-License-Identifier: MIT */
/* raid/geometry: I1 and I2 over all levels and widths, md's table, and what is refused. */
#include "raid/geometry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define STRIPES 40u

/* Every geometry that there is, with 5 sizes of chunk. */
static void for_all_geometries(void (*check)(const struct geometry *g))
{
	static const struct {
		enum raid_level level;
		unsigned min, max;
	} widths[] = {
		{RAID_SINGLE, 1, 1}, {RAID_RAID1, 2, 8}, {RAID_RAID5, 3, 16}, {RAID_RAID6, 4, 16}};
	static const unsigned chunks[] = {1, 2, 4, 16, 256};
	unsigned checked = 0;
	for (unsigned w = 0; w < 4; w++) {
		for (unsigned m = widths[w].min; m <= widths[w].max; m++) {
			for (unsigned c = 0; c < 5; c++, checked++) {
				struct geometry g = {widths[w].level, m, chunks[c], STRIPES};
				assert_int_equal(geometry_check(&g, NULL), 0);
				check(&g);
			}
		}
	}
	assert_int_equal(checked, (1 + 7 + 14 + 13) * 5);
}

static void check_inverse(const struct geometry *g)
{
	uint64_t block = 0;
	for (uint64_t stripe = 0; stripe < g->stripes; stripe++) {
		for (unsigned slot = 0; slot < geometry_data_slots(g); slot++) {
			for (unsigned row = 0; row < g->chunk_blocks; row++, block++) {
				struct geometry_place p = geometry_locate(g, block);
				assert_true(p.stripe == stripe);
				assert_int_equal(p.slot, slot);
				assert_int_equal(p.row, row);
				assert_true(geometry_volume_block(g, stripe, slot, row) == block);
			}
		}
	}
	assert_true(block == geometry_volume_blocks(g));
}

static void volume_blocks_and_places_are_one_to_one(void **unused)
{
	(void)unused;
	for_all_geometries(check_inverse);
}

static void check_members(const struct geometry *g)
{
	for (uint64_t stripe = 0; stripe < g->stripes; stripe++) {
		unsigned seen = 0;
		for (unsigned slot = 0; slot < geometry_slots(g); slot++) {
			unsigned member = geometry_member(g, stripe, slot);
			assert_true(member < g->members);
			assert_int_equal(geometry_slot(g, stripe, member), slot);
			seen |= 1u << member;
		}
		assert_int_equal(seen, (1u << g->members) - 1);
	}
}

static void the_slots_of_a_stripe_lie_on_different_members(void **unused)
{
	(void)unused;
	for_all_geometries(check_members);
}

/* Counting through the stripes and rows of a member meets its blocks in order, without a gap. */
static void check_member_blocks(const struct geometry *g)
{
	uint64_t next = 0;
	for (uint64_t stripe = 0; stripe < g->stripes; stripe++) {
		for (unsigned row = 0; row < g->chunk_blocks; row++)
			assert_true(geometry_member_block(g, stripe, row) == next++);
	}
}

static void stripes_lie_one_behind_the_other_on_a_member(void **unused)
{
	(void)unused;
	for_all_geometries(check_member_blocks);
}

/* md's ALGORITHM_LEFT_SYMMETRIC, 4 members: numbers are chunks of the volume, -1 the parity. */
static void four_members_are_laid_out_as_md_does(void **unused)
{
	(void)unused;
	static const int table[5][4] = {
		{0, 1, 2, -1},
		{4, 5, -1, 3},
		{8, -1, 6, 7},
		{-1, 9, 10, 11},
		{12, 13, 14, -1},
	};
	const struct geometry g = {RAID_RAID5, 4, 16, STRIPES};
	for (unsigned stripe = 0; stripe < 5; stripe++) {
		for (unsigned member = 0; member < 4; member++) {
			unsigned slot = geometry_slot(&g, stripe, member);
			uint64_t block = geometry_volume_block(&g, stripe, slot, 0);
			int chunk = slot == 3 ? -1 : (int)(block / g.chunk_blocks);
			assert_int_equal(chunk, table[stripe][member]);
		}
	}
}

/* The same of md's level 6: -2 is Q. */
static void five_members_of_raid6_are_laid_out_as_md_does(void **unused)
{
	(void)unused;
	static const int table[6][5] = {
		{-2, 0, 1, 2, -1},
		{3, 4, 5, -1, -2},
		{7, 8, -1, -2, 6},
		{11, -1, -2, 9, 10},
		{-1, -2, 12, 13, 14},
		{-2, 15, 16, 17, -1},
	};
	const struct geometry g = {RAID_RAID6, 5, 16, STRIPES};
	for (unsigned stripe = 0; stripe < 6; stripe++) {
		for (unsigned member = 0; member < 5; member++) {
			unsigned slot = geometry_slot(&g, stripe, member);
			uint64_t block = geometry_volume_block(&g, stripe, slot, 0);
			int chunk = slot >= 3 ? 2 - (int)slot : (int)(block / g.chunk_blocks);
			assert_int_equal(chunk, table[stripe][member]);
		}
	}
}

/* The formulas of md's raid5_compute_sector, in its own words. */
static void all_widths_are_laid_out_as_md_does(void **unused)
{
	(void)unused;
	for (unsigned disks = 3; disks <= 16; disks++) {
		const struct geometry g = {RAID_RAID5, disks, 1, 3 * disks};
		unsigned data_disks = disks - 1;
		for (unsigned chunk = 0; chunk < geometry_volume_blocks(&g); chunk++) {
			unsigned stripe = chunk / data_disks;
			unsigned pd = data_disks - stripe % disks;
			unsigned dd = (pd + 1 + chunk % data_disks) % disks;
			struct geometry_place p = geometry_locate(&g, chunk);
			assert_int_equal(geometry_member(&g, p.stripe, p.slot), dd);
			assert_int_equal(geometry_member(&g, p.stripe, data_disks), pd);
		}
	}
}

static void all_widths_of_raid6_are_laid_out_as_md_does(void **unused)
{
	(void)unused;
	for (unsigned disks = 4; disks <= 16; disks++) {
		const struct geometry g = {RAID_RAID6, disks, 1, 3 * disks};
		unsigned data_disks = disks - 2;
		for (unsigned chunk = 0; chunk < geometry_volume_blocks(&g); chunk++) {
			unsigned stripe = chunk / data_disks;
			unsigned pd = disks - 1 - stripe % disks;
			unsigned qd = (pd + 1) % disks;
			unsigned dd = (pd + 2 + chunk % data_disks) % disks;
			struct geometry_place p = geometry_locate(&g, chunk);
			assert_int_equal(geometry_member(&g, p.stripe, p.slot), dd);
			assert_int_equal(geometry_member(&g, p.stripe, data_disks), pd);
			assert_int_equal(geometry_member(&g, p.stripe, data_disks + 1), qd);
		}
	}
}

static void mirrors_hold_the_same_block_at_the_same_place(void **unused)
{
	(void)unused;
	const struct geometry g = {RAID_RAID1, 3, 16, STRIPES};
	assert_int_equal(geometry_data_slots(&g), 1);
	assert_int_equal(geometry_slots(&g), 3);
	assert_int_equal(geometry_redundancy(&g), 2);
	assert_int_equal(geometry_parity_slots(&g), 0);
	assert_false(geometry_has_parity(&g));
	assert_true(geometry_volume_blocks(&g) == STRIPES * 16);
	for (unsigned member = 0; member < 3; member++)
		assert_int_equal(geometry_slot(&g, 5, member), member);
}

static void raid5_bears_the_loss_of_one_member(void **unused)
{
	(void)unused;
	const struct geometry g = {RAID_RAID5, 5, 16, STRIPES};
	assert_int_equal(geometry_data_slots(&g), 4);
	assert_int_equal(geometry_redundancy(&g), 1);
	assert_int_equal(geometry_parity_slots(&g), 1);
	assert_true(geometry_has_parity(&g));
	assert_int_equal(geometry_stripe_blocks(&g), 64);
	assert_true(geometry_volume_blocks(&g) == STRIPES * 64);
}

static void raid6_bears_the_loss_of_two_members(void **unused)
{
	(void)unused;
	const struct geometry g = {RAID_RAID6, 6, 16, STRIPES};
	assert_int_equal(geometry_data_slots(&g), 4);
	assert_int_equal(geometry_redundancy(&g), 2);
	assert_int_equal(geometry_parity_slots(&g), 2);
	assert_true(geometry_has_parity(&g));
	assert_int_equal(geometry_stripe_blocks(&g), 64);
	assert_true(geometry_volume_blocks(&g) == STRIPES * 64);
}

static void a_single_member_bears_nothing(void **unused)
{
	(void)unused;
	const struct geometry g = {RAID_SINGLE, 1, 16, STRIPES};
	assert_int_equal(geometry_redundancy(&g), 0);
	assert_false(geometry_has_parity(&g));
}

static void the_largest_volume_is_computed_without_overflow(void **unused)
{
	(void)unused;
	struct geometry g = {RAID_RAID5, 16, 256, INT64_MAX / (16ull * 256 * BLOCK_BYTES)};
	assert_int_equal(geometry_check(&g, NULL), 0);
	uint64_t last = geometry_volume_blocks(&g) - 1;
	assert_true(last < INT64_MAX / BLOCK_BYTES);
	struct geometry_place p = geometry_locate(&g, last);
	assert_true(p.stripe == g.stripes - 1 && p.slot == 14 && p.row == 255);
	assert_true(geometry_volume_block(&g, p.stripe, p.slot, p.row) == last);
	g.stripes++;
	assert_int_equal(geometry_check(&g, NULL), -EINVAL);
}

static void a_broken_rule_is_refused_by_name(void **unused)
{
	(void)unused;
	static const struct {
		struct geometry g;
		const char *says;
	} cases[] = {
		{{(enum raid_level)4, 4, 16, 1}, "level number 4"},
		{{RAID_SINGLE, 0, 16, 1}, "single has exactly 1 member"},
		{{RAID_SINGLE, 2, 16, 1}, "single has exactly 1 member"},
		{{RAID_RAID1, 1, 16, 1}, "raid1 has 2 to 8 members, not 1"},
		{{RAID_RAID1, 9, 16, 1}, "raid1 has 2 to 8 members, not 9"},
		{{RAID_RAID5, 2, 16, 1}, "raid5 has 3 to 16 members, not 2"},
		{{RAID_RAID5, 17, 16, 1}, "raid5 has 3 to 16 members, not 17"},
		{{RAID_RAID6, 3, 16, 1}, "raid6 has 4 to 16 members, not 3"},
		{{RAID_RAID6, 17, 16, 1}, "raid6 has 4 to 16 members, not 17"},
		{{RAID_RAID5, 4, 0, 1}, "power of two"},
		{{RAID_RAID5, 4, 3, 1}, "power of two"},
		{{RAID_RAID5, 4, 512, 1}, "power of two"},
		{{RAID_RAID5, 4, 16, 0}, "stripes"},
		{{RAID_RAID5, 4, 16, UINT64_MAX}, "stripes"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct errmsg why = {0};
		assert_int_equal(geometry_check(&cases[i].g, &why), -EINVAL);
		if (!strstr(why.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", why.text, cases[i].says);
	}
}

static void levels_and_names_belong_together(void **unused)
{
	(void)unused;
	enum raid_level level;
	assert_string_equal(raid_level_name(RAID_SINGLE), "single");
	assert_string_equal(raid_level_name(RAID_RAID1), "raid1");
	assert_string_equal(raid_level_name(RAID_RAID5), "raid5");
	assert_string_equal(raid_level_name(RAID_RAID6), "raid6");
	assert_string_equal(raid_level_name((enum raid_level)4), "unknown");
	assert_true(raid_level_parse("single", &level) && level == RAID_SINGLE);
	assert_true(raid_level_parse("raid1", &level) && level == RAID_RAID1);
	assert_true(raid_level_parse("raid5", &level) && level == RAID_RAID5);
	assert_true(raid_level_parse("raid6", &level) && level == RAID_RAID6);
	assert_false(raid_level_parse("raid4", &level));
	assert_false(raid_level_parse("", &level));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volume_blocks_and_places_are_one_to_one),
		cmocka_unit_test(the_slots_of_a_stripe_lie_on_different_members),
		cmocka_unit_test(stripes_lie_one_behind_the_other_on_a_member),
		cmocka_unit_test(four_members_are_laid_out_as_md_does),
		cmocka_unit_test(five_members_of_raid6_are_laid_out_as_md_does),
		cmocka_unit_test(all_widths_are_laid_out_as_md_does),
		cmocka_unit_test(all_widths_of_raid6_are_laid_out_as_md_does),
		cmocka_unit_test(mirrors_hold_the_same_block_at_the_same_place),
		cmocka_unit_test(raid5_bears_the_loss_of_one_member),
		cmocka_unit_test(raid6_bears_the_loss_of_two_members),
		cmocka_unit_test(a_single_member_bears_nothing),
		cmocka_unit_test(the_largest_volume_is_computed_without_overflow),
		cmocka_unit_test(a_broken_rule_is_refused_by_name),
		cmocka_unit_test(levels_and_names_belong_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
