/* SPDX-License-Identifier: MIT */
/* The layout of a member. */
#include "rig.h"

static struct super of_kind(unsigned chunk_blocks, enum pi_type pi)
{
	return (struct super){.level = 1, .members = 2, .chunk_blocks = chunk_blocks, .pi = pi};
}

static const uint64_t stripe_counts[] = {
	1, 2, 63, 64, 4096, 1u << 20, UINT64_C(1) << 30, UINT64_C(1) << 35};
static const unsigned chunks[] = {1, 16, 128, 256};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void check_areas(const struct super *super, uint64_t blocks)
{
	assert_true(super->intent.offset_bytes >= 8192);
	assert_true(super->intent.len_bytes >= SUPER_INTENT_MIN_BYTES);
	assert_int_equal(
		super->journal.offset_bytes, super->intent.offset_bytes + super->intent.len_bytes);
	assert_int_equal(
		super->system.offset_bytes, super->journal.offset_bytes + super->journal.len_bytes);
	assert_int_equal(super->system.len_bytes, 126976);
	assert_int_equal(
		super->tuples.offset_bytes, super->system.offset_bytes + super->system.len_bytes);
	assert_true(super->tuples.len_bytes >= blocks * pi_tuple_bytes(super->pi));
	assert_true(
		super->data.offset_bytes >= super->tuples.offset_bytes + super->tuples.len_bytes);
	assert_int_equal(super->data.offset_bytes % (1 << 20), 0);
	assert_int_equal(super->data.len_bytes, blocks * BLOCK_BYTES);
	assert_true(super->member_bytes >=
		    super->data.offset_bytes + super->data.len_bytes + SUPER_TAIL_BYTES);
	assert_true(super->member_bytes >= SUPER_MIN_MEMBER_BYTES);
	assert_int_equal(super->member_bytes % SUPER_TAIL_BYTES, 0);
}

static void check_regions(const struct super *super)
{
	assert_true(super->region_blocks >= 256);
	assert_int_equal(super->region_blocks % super->chunk_blocks, 0);
	assert_true(super_regions(super) <= 31744);
	assert_true(super_regions(super) * super->region_blocks >= super_data_blocks(super));
}

static void areas_follow_each_other_and_regions_are_whole_stripes(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < COUNT(stripe_counts); s++)
		for (unsigned c = 0; c < COUNT(chunks); c++)
			for (enum pi_type pi = PI_NONE; pi <= PI_CRC64; pi++) {
				struct super super = of_kind(chunks[c], pi);
				assert_int_equal(
					super_layout(&super, stripe_counts[s], 123456, NULL), 0);
				check_areas(&super, stripe_counts[s] * chunks[c]);
				check_regions(&super);
			}
}

static void check_fit(unsigned chunk_blocks, uint64_t member_bytes)
{
	struct super super = of_kind(chunk_blocks, PI_CRC32C);
	uint64_t fits = super_fit_stripes(&super, member_bytes, 1 << 20);
	assert_true(fits > 0);
	assert_int_equal(super.stripes, 0);
	assert_int_equal(super_layout(&super, fits, 1 << 20, NULL), 0);
	assert_true(super.member_bytes <= member_bytes);
	assert_int_equal(super_layout(&super, fits + 1, 1 << 20, NULL), 0);
	assert_true(super.member_bytes > member_bytes);
}

static void the_most_stripes_that_fit_do_fit_and_one_more_does_not(void **unused)
{
	(void)unused;
	static const uint64_t sizes[] = {8 << 20, (8 << 20) + 4096, 100 << 20,
		(UINT64_C(3) << 40) + 65536, UINT64_C(1) << 50};
	for (unsigned i = 0; i < COUNT(sizes); i++)
		for (unsigned c = 0; c < COUNT(chunks); c++)
			check_fit(chunks[c], sizes[i]);
}

static void little_is_lost_to_metadata_on_a_large_member(void **unused)
{
	(void)unused;
	struct super super = of_kind(16, PI_T10);
	uint64_t bytes = UINT64_C(1) << 40;
	uint64_t data = super_fit_stripes(&super, bytes, 64 << 20) * 16 * BLOCK_BYTES;
	assert_true(data > bytes / 1000 * 995);
}

static void no_stripes_fit_where_the_system_area_fills_the_member(void **unused)
{
	(void)unused;
	struct super super = of_kind(16, PI_T10);
	assert_int_equal(super_fit_stripes(&super, 8 << 20, 8 << 20), 0);
	assert_int_equal(super_fit_stripes(&super, 4 << 20, 4096), 0);
	assert_int_equal(super_fit_stripes(&super, 0, 0), 0);
}

static void layouts_beyond_the_limits_are_refused(void **unused)
{
	(void)unused;
	static const uint64_t counts[] = {
		UINT64_MAX, UINT64_MAX / 256, UINT64_C(1) << 44, (UINT64_C(1) << 36) + 1};
	struct super super = of_kind(256, PI_T10);
	for (unsigned i = 0; i < COUNT(counts); i++) {
		struct errmsg why = {0};
		assert_int_equal(super_layout(&super, counts[i], 4096, &why), -EFBIG);
		assert_true(why.text[0]);
	}
	assert_int_equal(super_layout(&super, 1, UINT64_MAX, NULL), -EFBIG);
	assert_int_equal(super_layout(&super, 0, 4096, NULL), -EINVAL);
}

static void copy_b_stands_in_the_last_whole_64_kib(void **unused)
{
	(void)unused;
	assert_int_equal(super_b_offset(8 << 20), (8 << 20) - 65536);
	assert_int_equal(super_b_offset((8 << 20) + 65535), (8 << 20) - 65536);
	assert_int_equal(super_b_offset((8 << 20) + 65536), 8 << 20);
	assert_int_equal(super_b_offset((8 << 20) - 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(areas_follow_each_other_and_regions_are_whole_stripes),
		cmocka_unit_test(the_most_stripes_that_fit_do_fit_and_one_more_does_not),
		cmocka_unit_test(little_is_lost_to_metadata_on_a_large_member),
		cmocka_unit_test(no_stripes_fit_where_the_system_area_fills_the_member),
		cmocka_unit_test(layouts_beyond_the_limits_are_refused),
		cmocka_unit_test(copy_b_stands_in_the_last_whole_64_kib),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
