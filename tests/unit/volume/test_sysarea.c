/* SPDX-License-Identifier: MIT */
/* The system area against an array of bytes. */
#include "rig.h"

#include "../random.h"

static struct sysarea *area_of(struct rig *rig)
{
	return volume_sysarea(rig->v);
}

static struct rig *open_rig(enum raid_level level, unsigned members)
{
	struct rig *rig = rig_new(level, members, PI_T10);
	rig_open(rig);
	return rig;
}

/* Where the area begins on a member. */
static uint64_t area_offset(struct rig *rig)
{
	return volume_super(rig->v)->system.offset_bytes;
}

static void the_area_has_a_copy_on_every_member(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID5, 4);
	char back[6] = "";
	assert_int_equal(sysarea_copies(area_of(rig)), 4);
	assert_int_equal(sysarea_size_bytes(area_of(rig)), 8 * MIB);
	assert_int_equal(sysarea_write(area_of(rig), 8191, "hello", 5), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(
			sim_disk_peek(rig->world, rig_names[i], area_offset(rig) + 8191, back, 5),
			0);
		assert_string_equal(back, "hello");
	}
	rig_free(rig);
}

#define MODEL_BYTES 300000u

static void model_step(struct sysarea *area, struct random *r, uint8_t *model, uint8_t *buf)
{
	uint64_t offset = random_below(r, MODEL_BYTES);
	uint64_t max = MODEL_BYTES - offset, len;
	switch (random_below(r, 4)) {
	case 0:
		len = min_u64(random_below(r, 200), max);
		break;
	case 1:
		offset = round_down_u64(offset, BLOCK_BYTES);
		len = min_u64((uint64_t)random_below(r, 40) * BLOCK_BYTES, MODEL_BYTES - offset);
		break;
	default:
		len = min_u64(random_below(r, 150000), max);
	}
	uint8_t *at = buf + random_below(r, 2) * 3; /* aligned, or not */
	switch (random_below(r, 6)) {
	case 0:
		assert_int_equal(sysarea_zero(area, offset, len), 0);
		memset(model + offset, 0, len);
		return;
	case 1:
	case 2:
	case 3:
		rig_fill(at, len, (unsigned)random_u64(r));
		assert_int_equal(sysarea_write(area, offset, at, len), 0);
		memcpy(model + offset, at, len);
		return;
	default:
		assert_int_equal(sysarea_read(area, offset, at, len), 0);
		assert_memory_equal(at, model + offset, len);
	}
}

static void transfers_of_any_offset_and_length_agree_with_an_array(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 3);
	struct random r = random_start(__func__, 4242);
	uint8_t *model = calloc(1, MODEL_BYTES), *copy = malloc(MODEL_BYTES);
	uint8_t *buf = aligned_alloc(4096, 311296);
	for (unsigned i = 0; i < 1500; i++)
		model_step(area_of(rig), &r, model, buf);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sysarea_read_copy(area_of(rig), i, 0, copy, MODEL_BYTES), 0);
		assert_memory_equal(copy, model, MODEL_BYTES);
	}
	free(buf);
	free(copy);
	free(model);
	rig_free(rig);
}

static void a_transfer_beyond_the_end_is_refused(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	char c = 0;
	assert_int_equal(sysarea_write(area_of(rig), 8 * MIB, &c, 1), -EINVAL);
	assert_int_equal(sysarea_read(area_of(rig), UINT64_MAX, &c, 1), -EINVAL);
	assert_int_equal(sysarea_read_copy(area_of(rig), 2, 0, &c, 1), -EINVAL);
	assert_int_equal(sysarea_zero(area_of(rig), 8 * MIB - 1, 2), -EINVAL);
	assert_int_equal(sysarea_write(area_of(rig), 8 * MIB - 1, &c, 1), 0);
	rig_free(rig);
}

static void a_read_goes_on_to_a_copy_that_can_be_read(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	char back[4] = "";
	assert_int_equal(sysarea_write(area_of(rig), 0, "abc", 3), 0);
	struct sim_fault fault = {.kind = SIM_READ_ERROR, .name = "d0", .per_mille = 1000};
	sim_world_arm(rig->world, &fault);
	assert_int_equal(sysarea_read_copy(area_of(rig), 0, 0, back, 3), -EIO);
	assert_int_equal(sysarea_read(area_of(rig), 0, back, 3), 0);
	assert_string_equal(back, "abc");
	assert_int_equal(sysarea_copies(area_of(rig)), 2);
	rig_free(rig);
}

static void a_repair_mends_one_copy_and_touches_no_other(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	uint8_t good[10000], back[10000];
	rig_fill(good, sizeof(good), 1);
	assert_int_equal(sysarea_write(area_of(rig), 5000, good, sizeof(good)), 0);
	assert_int_equal(sim_disk_poke(rig->world, "d1", area_offset(rig) + 7000, "junk", 4), 0);
	assert_int_equal(sysarea_read_copy(area_of(rig), 1, 5000, back, sizeof(back)), 0);
	assert_memory_not_equal(back, good, sizeof(good));
	uint64_t before = sim_world_writes(rig->world);
	assert_int_equal(sysarea_repair(area_of(rig), 1, 5000, good, sizeof(good)), 0);
	assert_in_range(sim_world_writes(rig->world) - before, 1, 3);
	assert_int_equal(sysarea_read_copy(area_of(rig), 1, 5000, back, sizeof(back)), 0);
	assert_memory_equal(back, good, sizeof(good));
	rig_free(rig);
}

/* The bytes beside a small write stay as they are on each copy: damage does not spread. */
static void damage_beside_a_small_write_stays_on_its_copy(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	char back[5] = "";
	assert_int_equal(sysarea_write(area_of(rig), 4096, "good", 4), 0);
	assert_int_equal(sysarea_write(area_of(rig), 40960, "else", 4), 0);
	assert_int_equal(sim_disk_poke(rig->world, "d0", area_offset(rig) + 4096, "junk", 4), 0);
	assert_int_equal(sysarea_write(area_of(rig), 4200, "x", 1), 0);
	assert_int_equal(sysarea_write(area_of(rig), 4201, "y", 1), 0);
	assert_int_equal(sysarea_read_copy(area_of(rig), 1, 4096, back, 4), 0);
	assert_string_equal(back, "good");
	rig_free(rig);
}

static void small_appends_read_nothing_again(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	assert_int_equal(sysarea_write(area_of(rig), 100, "first", 5), 0);
	struct sim_fault no_reads = {.kind = SIM_READ_ERROR, .per_mille = 1000};
	sim_world_arm(rig->world, &no_reads);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(sysarea_write(area_of(rig), 105 + i * 7, "another", 7), 0);
	sim_world_disarm_all(rig->world);
	char back[6] = "";
	assert_int_equal(sysarea_read_copy(area_of(rig), 1, 100, back, 5), 0);
	assert_string_equal(back, "first");
	rig_free(rig);
}

static void fail_writes_of(struct rig *rig, const char *name)
{
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.name = name,
		.offset_bytes = area_offset(rig),
		.len_bytes = 8 * MIB,
		.per_mille = 1000};
	log_set_level(LOG_LEVEL_ERROR);
	sim_world_arm(rig->world, &fault);
}

static void a_member_that_fails_a_write_is_left_out_for_good(void **unused)
{
	(void)unused;
	static const unsigned lens[] = {3, 4096, 70000};
	uint8_t buf[70000] = {1};
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = open_rig(RAID_RAID1, 3);
		fail_writes_of(rig, "d1");
		assert_int_equal(sysarea_write(area_of(rig), 0, buf, lens[i]), 0);
		assert_int_equal(sysarea_copies(area_of(rig)), 2);
		sim_world_disarm_all(rig->world);
		assert_int_equal(rig_close(rig), 0);
		rig_open(rig);
		assert_int_equal(volume_member(rig->v, 1).state, VOLUME_MEMBER_REBUILDING);
		assert_int_equal(sysarea_copies(area_of(rig)), 2);
		assert_int_equal(sysarea_read(area_of(rig), 0, buf, 1), 0);
		assert_int_equal(buf[0], 1);
		assert_int_equal(volume_work(rig->v), 0);
		assert_int_equal(sysarea_copies(area_of(rig)), 3);
		assert_int_equal(sysarea_read_copy(area_of(rig), 1, 0, buf, 1), 0);
		assert_int_equal(buf[0], 1);
		rig_free(rig);
	}
}

/* The power goes right after the write was acknowledged: the copy that missed it must not serve. */
static void a_member_left_out_stays_out_over_a_power_failure(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	char back[4] = "";
	fail_writes_of(rig, "d0");
	assert_int_equal(sysarea_write(area_of(rig), 0, "new", 3), 0);
	assert_int_equal(sysarea_flush(area_of(rig)), 0);
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_close(rig);
	sim_world_disarm_all(rig->world);
	sim_world_reboot(rig->world);
	rig_open(rig);
	assert_int_equal(volume_member(rig->v, 0).state, VOLUME_MEMBER_REBUILDING);
	assert_int_equal(sysarea_read(area_of(rig), 0, back, 3), 0);
	assert_string_equal(back, "new");
	rig_free(rig);
}

static void the_last_copy_is_never_left_out(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID1, 2);
	fail_writes_of(rig, NULL);
	assert_int_equal(sysarea_write(area_of(rig), 0, "abc", 3), -EIO);
	assert_int_equal(sysarea_copies(area_of(rig)), 2);
	sim_world_disarm_all(rig->world);
	assert_int_equal(sysarea_write(area_of(rig), 0, "abc", 3), 0);
	rig_free(rig);
}

static void what_was_flushed_survives_a_power_failure(void **unused)
{
	(void)unused;
	struct rig *rig = open_rig(RAID_RAID5, 3);
	uint8_t want[20000], back[20000];
	rig_fill(want, sizeof(want), 3);
	assert_int_equal(sysarea_write(area_of(rig), 777, want, sizeof(want)), 0);
	assert_int_equal(sysarea_flush(area_of(rig)), 0);
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_close(rig);
	sim_world_reboot(rig->world);
	rig_open(rig);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sysarea_read_copy(area_of(rig), i, 777, back, sizeof(back)), 0);
		assert_memory_equal(back, want, sizeof(want));
	}
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_area_has_a_copy_on_every_member),
		cmocka_unit_test(transfers_of_any_offset_and_length_agree_with_an_array),
		cmocka_unit_test(a_transfer_beyond_the_end_is_refused),
		cmocka_unit_test(a_read_goes_on_to_a_copy_that_can_be_read),
		cmocka_unit_test(a_repair_mends_one_copy_and_touches_no_other),
		cmocka_unit_test(damage_beside_a_small_write_stays_on_its_copy),
		cmocka_unit_test(small_appends_read_nothing_again),
		cmocka_unit_test(a_member_that_fails_a_write_is_left_out_for_good),
		cmocka_unit_test(a_member_left_out_stays_out_over_a_power_failure),
		cmocka_unit_test(the_last_copy_is_never_left_out),
		cmocka_unit_test(what_was_flushed_survives_a_power_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
