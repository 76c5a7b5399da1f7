/* SPDX-License-Identifier: MIT */
/* Filling a member that is stale: only where it differs, while writes go on, and over restarts. */
#include "script.h"

#include <errno.h>
#include "workload.h"

struct volume_kind {
	enum raid_level level;
	unsigned members, chunk_blocks;
	enum pi_type pi;
};

static const struct volume_kind kinds[] = {
	{RAID_RAID5, 4, 2, PI_NONE},
	{RAID_RAID5, 3, 4, PI_T10},
	{RAID_RAID5, 5, 1, PI_CRC32C},
	{RAID_RAID1, 2, 4, PI_NONE},
	{RAID_RAID1, 3, 2, PI_T10},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

#define STRIPES 40u

static struct rig *rig_of(const struct volume_kind *kind)
{
	return rig_new(&(struct rig_config){.level = kind->level,
		.members = kind->members,
		.chunk_blocks = kind->chunk_blocks,
		.stripes = STRIPES,
		.pi = kind->pi,
		.members_fail = true,
		.seed = 31 + kind->members});
}

static void steps(struct workload *w, unsigned n)
{
	while (n--)
		workload_step(w);
}

/* Whole stripes of it are left alone, so that there is something to skip. */
static void use_a_part(struct workload *w)
{
	w->first_byte = 0;
	w->end_byte = w->rig->volume_bytes / 4;
}

static void use_all(struct workload *w)
{
	w->first_byte = 0;
	w->end_byte = w->rig->volume_bytes;
}

static void assert_right(struct workload *w)
{
	workload_verify(w);
	assert_int_equal(w->errors, 0);
	assert_int_equal(w->mismatches, 0);
}

/* Whatever other member goes: what was rebuilt serves. */
static void assert_right_without_others(struct workload *w, unsigned member)
{
	struct rig *rig = w->rig;
	use_all(w);
	assert_right(w);
	assert_true(rig_is_clean(rig));
	rig_fail_member(rig, (member + 1) % rig->config.members);
	if (geometry_redundancy(&rig->geometry) > 1)
		rig_fail_member(rig, (member + 2) % rig->config.members);
	assert_right(w);
}

static void a_returning_member_is_filled_where_it_differs(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2 * KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i / 2]);
		struct workload w;
		unsigned member = i % 2 ? rig->config.members - 1 : 0;
		workload_init(&w, rig);
		steps(&w, 150);
		workload_drain(&w);
		assert_int_equal(rig_flush(rig), 0);
		rig_reopen(rig); /* no marks */
		rig_fail_member(rig, member);
		use_a_part(&w);
		steps(&w, 40);
		assert_right(&w);
		rig_return_member(rig, member);
		uint64_t stale = stripe_engine_stale(rig->eng, member);
		assert_in_range(stale, 1, STRIPES - 1);
		use_all(&w);
		assert_right(&w);
		assert_int_equal(rig_rebuild(rig, member), 0);
		assert_int_equal(stripe_engine_stale(rig->eng, member), 0);
		assert_int_equal(rig->stale_since, 0);
		assert_right_without_others(&w, member);
		workload_fini(&w);
		rig_free(rig);
	}
}

/* Every stripe of @member, with requests beside each check. */
static void rebuild_under_load(struct workload *w, unsigned member)
{
	struct rig *rig = w->rig;
	for (uint64_t s = stripe_engine_next_open(rig->eng, (int)member, 0); s < STRIPES;
		s = stripe_engine_next_open(rig->eng, (int)member, s + 1)) {
		struct stripe_check check = {.mode = STRIPE_REBUILD, .stripe = s, .member = member};
		uint64_t bytes = (uint64_t)geometry_stripe_blocks(&rig->geometry) * BLOCK_BYTES;
		w->first_byte = s * bytes;
		w->end_byte = (s + 1) * bytes;
		steps(w, 3);
		use_all(w);
		steps(w, 3);
		assert_int_equal(rig_check_run(rig, &check), 0);
	}
}

static void a_new_disk_is_filled_while_writes_go_on(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i]);
		struct workload w;
		unsigned member = i % rig->config.members;
		workload_init(&w, rig);
		steps(&w, 150);
		workload_drain(&w);
		rig_fail_member(rig, member);
		rig_replace_member(rig, member);
		assert_int_equal(stripe_engine_stale(rig->eng, member), STRIPES);
		rebuild_under_load(&w, member);
		workload_drain(&w);
		assert_int_equal(rig_rebuild(rig, member), 0);
		assert_int_equal(rig->rebuilding, 0);
		assert_right_without_others(&w, member);
		workload_fini(&w);
		rig_free(rig);
	}
}

static void a_rebuild_goes_on_where_it_was_after_a_power_cut(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i]);
		struct stripe_check check = {.mode = STRIPE_REBUILD, .member = 0};
		struct workload w;
		workload_init(&w, rig);
		steps(&w, 100);
		workload_drain(&w);
		rig_fail_member(rig, 0);
		rig_replace_member(rig, 0);
		for (check.stripe = 0; check.stripe < STRIPES / 2; check.stripe++)
			assert_int_equal(rig_check_run(rig, &check), 0);
		assert_int_equal(rig_flush(rig), 0);
		rig_rebuild_note(rig);
		rig_pass_time(rig);
		rig_reboot(rig);
		assert_int_equal(rig->rebuilding, 1);
		assert_in_range(stripe_engine_stale(rig->eng, 0), 1, STRIPES - 1);
		assert_right(&w);
		assert_int_equal(rig_rebuild(rig, 0), 0);
		assert_right_without_others(&w, 0);
		workload_fini(&w);
		rig_free(rig);
	}
}

static void a_rebuild_that_the_power_cuts_anywhere_is_begun_again(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(&kinds[1]);
	struct workload w;
	workload_init(&w, rig);
	steps(&w, 100);
	workload_drain(&w);
	assert_int_equal(rig_flush(rig), 0);
	rig_fail_member(rig, 1);
	rig_replace_member(rig, 1);
	for (unsigned cut = 0; cut < 60; cut += 3) {
		rig_power_cut_after(rig, cut);
		(void)rig_rebuild(rig, 1);
		rig_reboot(rig);
		assert_right(&w);
		if (!rig->rebuilding)
			break;
	}
	assert_int_equal(rig_rebuild(rig, 1), 0);
	assert_right_without_others(&w, 1);
	workload_fini(&w);
	rig_free(rig);
}

static void rows_that_were_never_written_stay_so(void **unused)
{
	(void)unused;
	static uint8_t tuples[5 * 4 * 16];
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i]);
		unsigned slots = rig->config.members, chunk = rig->config.chunk_blocks;
		unsigned tuple_bytes = pi_tuple_bytes(rig->config.pi);
		if (!tuple_bytes)
			goto next;
		assert_int_equal(rig_write_block(rig, 0, 'n'), 0);
		rig_fail_member(rig, 0);
		rig_replace_member(rig, 0);
		assert_int_equal(rig_rebuild(rig, 0), 0);
		for (uint64_t stripe = 0; stripe < 2; stripe++) {
			struct stripe_check check = {
				.mode = STRIPE_CHECK, .stripe = stripe, .tuples = tuples};
			assert_int_equal(rig_check_run(rig, &check), 0);
			unsigned escaped = 0;
			for (unsigned t = 0; t < slots * chunk; t++)
				escaped += pi_is_escape(
					rig->config.pi, tuples + (size_t)t * tuple_bytes);
			assert_true(stripe == 0 ? escaped >= slots * (chunk - 1)
						: escaped == slots * chunk);
		}
		assert_true(rig_reads(rig, 0, 'n'));
	next:
		rig_free(rig);
	}
}

static void a_second_fault_loses_its_row_and_nothing_else(void **unused)
{
	(void)unused;
	const struct volume_kind kind = {RAID_RAID5, 4, 4, PI_T10};
	for (unsigned bad = 1; bad < 4; bad++) {
		struct rig *rig = rig_of(&kind);
		unsigned member = geometry_member(&rig->geometry, 5, 0);
		script_fill_volume(rig);
		rig_fail_member(rig, member);
		rig_replace_member(rig, member);
		rig_rot_data(rig, 5, bad, 2);
		assert_int_equal(rig_rebuild(rig, member), -EIO);
		assert_int_equal(stripe_engine_stale(rig->eng, member), 1);
		assert_int_equal(stripe_engine_next_open(rig->eng, (int)member, 0), 5);
		assert_true(rig->rebuilding);
		struct stripe_check check = {.mode = STRIPE_REBUILD, .stripe = 5, .member = member};
		assert_int_equal(rig_check_run(rig, &check), -EIO);
		assert_true(rows_has(&check.lost[0], 2));
		assert_int_equal(rows_count(&check.lost[0]), 1);
		assert_int_equal(rows_count(&check.rebuilt[0]), 3);
		unsigned failed = 0;
		for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++) {
			struct geometry_place p = geometry_locate(&rig->geometry, b);
			bool lost = p.stripe == 5 && p.row == 2 && (p.slot == 0 || p.slot == bad);
			assert_int_equal(rig_reads(rig, b, 'o'), !lost);
			failed += lost;
		}
		assert_int_equal(failed, bad == 3 ? 1 : 2);
		rig_free(rig);
	}
}

static void a_bad_copy_is_mended_on_the_way(void **unused)
{
	(void)unused;
	const struct volume_kind kind = {RAID_RAID1, 3, 4, PI_T10};
	struct rig *rig = rig_of(&kind);
	script_fill_volume(rig);
	rig_fail_member(rig, 0);
	rig_replace_member(rig, 0);
	rig_rot_data(rig, 5, 1, 2);
	assert_int_equal(rig_rebuild(rig, 0), 0);
	assert_true(rig_is_clean(rig));
	assert_int_equal(rig->erred[1], 1);
	rig_free(rig);
}

static void a_member_that_fails_its_rebuild_goes_and_comes_again(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i]);
		struct workload w;
		workload_init(&w, rig);
		steps(&w, 100);
		workload_drain(&w);
		rig_fail_member(rig, 1);
		rig_replace_member(rig, 1);
		rig_arm(rig, SIM_WRITE_ERROR, 20, geometry_slot(&rig->geometry, 20, 1), 0, 1, 0);
		assert_int_equal(rig_rebuild(rig, 1), -ENODEV);
		assert_int_equal(rig->missing, 1u << 1);
		assert_int_equal(rig->rebuilding, 0);
		steps(&w, 30);
		assert_right(&w);
		sim_world_disarm_all(rig->world);
		rig_return_member(rig, 1);
		assert_right(&w);
		assert_int_equal(rig_rebuild(rig, 1), 0);
		assert_right_without_others(&w, 1);
		workload_fini(&w);
		rig_free(rig);
	}
}

static void with_a_stale_and_a_missing_slot_only_the_stale_stripes_fail(void **unused)
{
	(void)unused;
	const struct volume_kind kind = {RAID_RAID5, 4, 2, PI_NONE};
	struct rig *rig = rig_of(&kind);
	uint8_t block[BLOCK_BYTES];
	script_fill_volume(rig);
	rig_reopen(rig);
	rig_fail_member(rig, 0);
	assert_int_equal(rig_write_block(rig, 0, 'n'), 0);
	rig_return_member(rig, 0);
	uint64_t stale = stripe_engine_stale(rig->eng, 0);
	assert_in_range(stale, 1, STRIPES - 1);
	assert_true(stripe_engine_next_open(rig->eng, 0, 0) == 0);
	rig_remove_member(rig, 1); /* as if it were cut off */
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++) {
		struct geometry_place p = geometry_locate(&rig->geometry, b);
		unsigned m = geometry_member(&rig->geometry, p.stripe, p.slot);
		bool fails = stripe_engine_next_open(rig->eng, 0, p.stripe) == p.stripe && m < 2;
		assert_int_equal(
			rig_read(rig, b * BLOCK_BYTES, block, BLOCK_BYTES), fails ? -EIO : 0);
	}
	struct stripe_check check;
	assert_int_equal(rig_write_block(rig, 0, 'm'), -EIO);
	assert_int_equal(rig_write(rig, 5, block, 100), -EIO);
	for (enum stripe_check_mode mode = STRIPE_CHECK; mode <= STRIPE_RESYNC; mode++)
		assert_int_equal(rig_check(rig, mode, 0, &check), 0);
	check = (struct stripe_check){.mode = STRIPE_REBUILD, .stripe = 0, .member = 0};
	assert_int_equal(rig_check_run(rig, &check), -EIO);
	uint64_t last = rig->volume_bytes / BLOCK_BYTES - 1;
	assert_int_equal(rig_write_block(rig, last, 'm'), 0);
	assert_true(rig_reads(rig, last, 'm'));
	rig_free(rig);
}

static void members_may_fail_and_return_again_and_again(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig *rig = rig_of(&kinds[i]);
		struct random *r = &rig->random;
		struct workload w;
		workload_init(&w, rig);
		for (unsigned round = 0; round < 12; round++) {
			unsigned member = random_below(r, rig->config.members);
			const struct super *super = member_super(rig->members[member]);
			struct sim_fault fault = {
				.kind = random_below(r, 2) ? SIM_WRITE_ERROR : SIM_GONE,
				.name = rig_disk(member),
				.offset_bytes = super->data.offset_bytes,
				.len_bytes = super->data.len_bytes,
				.per_mille = 300};
			steps(&w, 20);
			assert_int_equal(sim_world_arm(rig->world, &fault), 0);
			steps(&w, 60);
			workload_drain(&w);
			rig_settle(rig);
			sim_world_disarm_all(rig->world);
			if (random_below(r, 3) == 0) {
				assert_int_equal(rig_flush(rig), 0);
				rig_reboot(rig);
			}
			if (rig->missing >> member & 1) {
				if (random_below(r, 3))
					rig_return_member(rig, member);
				else
					rig_replace_member(rig, member);
				rebuild_under_load(&w, member);
				use_all(&w);
				workload_drain(&w);
				assert_int_equal(rig_rebuild(rig, member), 0);
			}
			assert_int_equal(rig->missing | rig->rebuilding, 0);
			assert_right(&w);
			assert_true(rig_is_clean(rig));
		}
		workload_fini(&w);
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_returning_member_is_filled_where_it_differs),
		cmocka_unit_test(a_new_disk_is_filled_while_writes_go_on),
		cmocka_unit_test(a_rebuild_goes_on_where_it_was_after_a_power_cut),
		cmocka_unit_test(a_rebuild_that_the_power_cuts_anywhere_is_begun_again),
		cmocka_unit_test(rows_that_were_never_written_stay_so),
		cmocka_unit_test(a_second_fault_loses_its_row_and_nothing_else),
		cmocka_unit_test(a_bad_copy_is_mended_on_the_way),
		cmocka_unit_test(a_member_that_fails_its_rebuild_goes_and_comes_again),
		cmocka_unit_test(with_a_stale_and_a_missing_slot_only_the_stale_stripes_fail),
		cmocka_unit_test(members_may_fail_and_return_again_and_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
