/* SPDX-License-Identifier: MIT */
/* Which copy of the superblock counts, and what is said where none does. */
#include "rig.h"

#define SEED 7u

static int probe_disk(struct rig *rig, struct member_probe *probe, struct errmsg *why)
{
	*why = (struct errmsg){0};
	int err = member_probe(rig->io, RIG_DISK, IO_OPEN_READONLY, probe, why);
	io_close(probe->file);
	return err;
}

static void scribble(struct rig *rig, uint64_t offset_bytes)
{
	assert_int_equal(sim_disk_poke(rig->world, RIG_DISK, offset_bytes, "damage", 6), 0);
}

static uint64_t copy_b(struct rig *rig)
{
	return super_b_offset(io_file_size_bytes(member_file(rig->m)));
}

static void either_copy_serves_alone(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, 64);

	scribble(&rig, SUPER_A_OFFSET + 1000);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_true(probe.copy_a_bad && !probe.copy_b_bad);
	assert_int_equal(member_super_write(rig.m), 0);

	scribble(&rig, copy_b(&rig) + 20);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_true(probe.copy_b_bad && !probe.copy_a_bad);
	assert_int_equal(probe.super.stripes, 64);
	rig_fini(&rig);
}

static void a_copy_that_cannot_be_read_counts_as_damaged(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, 64);
	rig_arm(&rig, SIM_READ_ERROR, SUPER_A_OFFSET, SUPER_BYTES, 0);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_true(probe.copy_a_bad);
	rig_arm(&rig, SIM_READ_ERROR, copy_b(&rig), SUPER_BYTES, 0);
	assert_int_equal(probe_disk(&rig, &probe, &why), -EIO);
	assert_non_null(strstr(why.text, RIG_DISK));
	rig_fini(&rig);
}

static void both_damaged_names_both(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, 64);
	scribble(&rig, SUPER_A_OFFSET + 1000);
	scribble(&rig, copy_b(&rig) + 1000);
	assert_int_equal(probe_disk(&rig, &probe, &why), -EUCLEAN);
	assert_non_null(strstr(why.text, RIG_DISK));
	assert_non_null(strstr(why.text, "copy A at byte 4096"));
	assert_non_null(strstr(why.text, "copy B at byte"));
	rig_fini(&rig);
}

static void a_file_without_superblocks_is_not_a_member(void **unused)
{
	(void)unused;
	static const uint64_t sizes[] = {512, 4096, 8192, 8 << 20};
	for (unsigned i = 0; i < 4; i++) {
		struct rig rig;
		struct io_file *file;
		struct member_probe probe;
		struct errmsg why;
		rig_init_empty(&rig, SEED);
		assert_int_equal(
			io_open(rig.io, RIG_DISK, IO_OPEN_CREATE, sizes[i], &file, NULL), 0);
		io_close(file);
		assert_int_equal(probe_disk(&rig, &probe, &why), -ENOMSG);
		assert_non_null(strstr(why.text, RIG_DISK));
		rig_fini(&rig);
	}
}

static void a_truncated_member_is_told_by_its_sizes(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	uint8_t block[SUPER_BYTES];
	struct super super = rig_super(PI_T10, PI_CHECK_NONE, 256);
	struct io_file *file;
	rig_init_empty(&rig, SEED);
	assert_int_equal(io_open(rig.io, RIG_DISK, IO_OPEN_CREATE, 1 << 20, &file, NULL), 0);
	io_close(file);
	super_encode(&super, block);
	sim_disk_poke(rig.world, RIG_DISK, SUPER_A_OFFSET, block, SUPER_BYTES);
	assert_int_equal(probe_disk(&rig, &probe, &why), -EUCLEAN);
	char expected[200];
	snprintf(expected, sizeof(expected),
		RIG_DISK " is 1048576 bytes, the volume needs %llu: truncated?",
		(unsigned long long)super.member_bytes);
	assert_string_equal(why.text, expected);
	rig_fini(&rig);
}

static void put_copy(struct rig *rig, uint64_t offset_bytes, uint8_t uuid, uint64_t created_ns,
	uint64_t generation)
{
	uint8_t block[SUPER_BYTES];
	struct super super = *member_super(rig->m);
	memset(super.volume_uuid, uuid, 16);
	super.created_ns = created_ns;
	super.generation = generation;
	super_encode(&super, block);
	sim_disk_poke(rig->world, RIG_DISK, offset_bytes, block, SUPER_BYTES);
}

static void the_higher_generation_counts(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, 64);
	put_copy(&rig, SUPER_A_OFFSET, 1, 1000, 8);
	put_copy(&rig, copy_b(&rig), 1, 1000, 9);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_int_equal(probe.super.generation, 9);
	put_copy(&rig, SUPER_A_OFFSET, 1, 1000, 10);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_int_equal(probe.super.generation, 10);
	rig_fini(&rig);
}

static void of_two_volumes_the_one_made_later_counts(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, 64);
	put_copy(&rig, SUPER_A_OFFSET, 1, 2000, 1);
	put_copy(&rig, copy_b(&rig), 2, 1000, 500);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_int_equal(probe.super.created_ns, 2000);
	rig_fini(&rig);
}

/* Cut at every write, again with other seeds for another fate of the torn one. */
static void a_superblock_survives_every_power_cut_old_or_new(void **unused)
{
	(void)unused;
	for (unsigned seed = 1; seed <= 20; seed++) {
		int err = -ESHUTDOWN;
		for (unsigned n = 0; err; n++) {
			struct rig rig;
			rig_init(&rig, seed, PI_T10, PI_CHECK_NONE, 64);
			member_super(rig.m)->generation = 2;
			sim_world_cut_power_after(rig.world, n);
			err = member_super_write(rig.m);
			rig_reboot(&rig);
			uint64_t generation = member_super(rig.m)->generation;
			assert_true(generation == 2 || (err && generation == 1));
			assert_true(n <= 2);
			rig_fini(&rig);
		}
	}
}

static void copy_b_follows_the_end_of_a_file_that_grew(void **unused)
{
	(void)unused;
	struct rig rig;
	struct member_probe probe;
	struct errmsg why;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, 64);
	rig_init_empty(&rig, SEED);
	struct member_probe larger = {.super = super};
	assert_int_equal(io_open(rig.io, RIG_DISK, IO_OPEN_CREATE, super.member_bytes + (1 << 20),
				 &larger.file, NULL),
		0);
	assert_int_equal(member_open(rig.io, RIG_DISK, &larger, &rig.m), 0);
	assert_int_equal(member_super_write(rig.m), 0);
	scribble(&rig, SUPER_A_OFFSET);
	assert_int_equal(probe_disk(&rig, &probe, &why), 0);
	assert_true(probe.copy_a_bad);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(either_copy_serves_alone),
		cmocka_unit_test(a_copy_that_cannot_be_read_counts_as_damaged),
		cmocka_unit_test(both_damaged_names_both),
		cmocka_unit_test(a_file_without_superblocks_is_not_a_member),
		cmocka_unit_test(a_truncated_member_is_told_by_its_sizes),
		cmocka_unit_test(the_higher_generation_counts),
		cmocka_unit_test(of_two_volumes_the_one_made_later_counts),
		cmocka_unit_test(a_superblock_survives_every_power_cut_old_or_new),
		cmocka_unit_test(copy_b_follows_the_end_of_a_file_that_grew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
