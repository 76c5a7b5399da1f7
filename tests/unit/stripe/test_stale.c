/* SPDX-License-Identifier: MIT */
/* Members that lose a write, data and tuple: each of their blocks fits its tuple, and the row tag
 * (stripe/row_tag.h) says what does not belong together. Without PI nothing does. */
#include "script.h"

#include <errno.h>

#define SEED   4711
#define STRIPE 1u
#define ROW    2u

struct stored {
	uint8_t block[BLOCK_BYTES], tuple[PI_MAX_TUPLE_BYTES];
};

static struct rig *new_rig(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 4,
		.pi = pi,
		.members_fail = true,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static const char *disk_of(struct rig *rig, unsigned slot)
{
	return rig_disk(geometry_member(&rig->geometry, STRIPE, slot));
}

static uint64_t tuple_offset(struct rig *rig, unsigned slot)
{
	unsigned index = geometry_member(&rig->geometry, STRIPE, slot);
	return member_super(rig->members[index])->tuples.offset_bytes +
	       geometry_member_block(&rig->geometry, STRIPE, ROW) * pi_tuple_bytes(rig->config.pi);
}

static uint64_t block_offset(struct rig *rig, unsigned slot)
{
	unsigned index = geometry_member(&rig->geometry, STRIPE, slot);
	return member_super(rig->members[index])->data.offset_bytes +
	       geometry_member_block(&rig->geometry, STRIPE, ROW) * BLOCK_BYTES;
}

/* Everything is on the media, and no cache knows better. */
static void start_again(struct rig *rig)
{
	assert_int_equal(rig_flush(rig), 0);
	rig_reopen(rig);
	rig_events_forget(rig);
}

static void remember(struct rig *rig, unsigned slot, struct stored *s)
{
	unsigned tuple = pi_tuple_bytes(rig->config.pi);
	start_again(rig);
	assert_int_equal(sim_disk_peek(rig->world, disk_of(rig, slot), block_offset(rig, slot),
				 s->block, BLOCK_BYTES),
		0);
	if (tuple)
		assert_int_equal(sim_disk_peek(rig->world, disk_of(rig, slot),
					 tuple_offset(rig, slot), s->tuple, tuple),
			0);
}

static void roll_back(struct rig *rig, unsigned slot, const struct stored *s)
{
	unsigned tuple = pi_tuple_bytes(rig->config.pi);
	start_again(rig);
	assert_int_equal(sim_disk_poke(rig->world, disk_of(rig, slot), block_offset(rig, slot),
				 s->block, BLOCK_BYTES),
		0);
	if (tuple)
		assert_int_equal(sim_disk_poke(rig->world, disk_of(rig, slot),
					 tuple_offset(rig, slot), s->tuple, tuple),
			0);
	rig_reopen(rig);
}

static uint64_t block_of(struct rig *rig, unsigned slot)
{
	return geometry_volume_block(&rig->geometry, STRIPE, slot, ROW);
}

/* The slots of the row from @first on, @count of them, become 'n' in one write a slot, or (@count
 * 0) all of the stripe in one write. */
static void write_new(struct rig *rig, unsigned first, unsigned count)
{
	for (unsigned slot = first; slot < first + count; slot++)
		assert_int_equal(rig_write_block(rig, block_of(rig, slot), 'n'), 0);
	if (count)
		return;
	uint64_t start = geometry_volume_block(&rig->geometry, STRIPE, 0, 0);
	unsigned blocks = geometry_data_slots(&rig->geometry) * rig->config.chunk_blocks;
	uint8_t *data = malloc((size_t)blocks * BLOCK_BYTES);
	assert_non_null(data);
	for (unsigned b = 0; b < blocks; b++)
		rig_fill_block(data + (size_t)b * BLOCK_BYTES, start + b, 'n');
	assert_int_equal(rig_write(rig, start * BLOCK_BYTES, data, blocks * BLOCK_BYTES), 0);
	free(data);
}

static struct stripe_check check(struct rig *rig, enum stripe_check_mode mode)
{
	struct stripe_check c;
	assert_int_equal(rig_check(rig, mode, STRIPE, &c), 0);
	return c;
}

/* The slot named stale in the row, -1: none. */
static int stale_slot(const struct stripe_check *c)
{
	int found = -1;
	for (unsigned slot = 0; slot < RAID_MAX_SLOTS; slot++) {
		if (!rows_has(&c->stale[slot], ROW))
			continue;
		assert_int_equal(found, -1);
		found = (int)slot;
	}
	return found;
}

static const struct {
	enum raid_level level;
	unsigned members;
} volumes[] = {{RAID_RAID5, 3}, {RAID_RAID5, 5}, {RAID_RAID6, 6}};
static const enum pi_type kinds[] = {PI_T10, PI_CRC32C};

/* ---- all members there ---- */

static void lose_data(struct rig *rig, unsigned slot, bool alone)
{
	struct stored old;
	remember(rig, slot, &old);
	write_new(rig, slot, alone);
	roll_back(rig, slot, &old);
	assert_true(rig_reads(rig, block_of(rig, slot), 'o')); /* a read cannot tell */
	struct stripe_check c = check(rig, STRIPE_CHECK);
	assert_int_equal(stale_slot(&c), slot);
	c = check(rig, STRIPE_REPAIR);
	assert_true(rows_has(&c.rebuilt[slot], ROW));
	assert_string_equal(rig_event(rig, EVENT_REPAIRED)->what, "row tag");
	assert_true(rig_reads(rig, block_of(rig, slot), 'n'));
	assert_true(rig_is_clean(rig));
}

static void a_write_that_a_member_lost_is_found_by_the_row_tag_and_made_good(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 12; i++) {
		struct rig *rig =
			new_rig(volumes[i % 3].level, volumes[i % 3].members, kinds[i / 3 % 2]);
		for (unsigned slot = 0; slot < geometry_data_slots(&rig->geometry); slot++) {
			script_fill_volume(rig);
			lose_data(rig, slot, i / 6);
		}
		rig_free(rig);
	}
}

static void without_pi_a_lost_write_cannot_be_told_from_wrong_parity(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 5, PI_NONE);
	struct stored old;
	remember(rig, 1, &old);
	write_new(rig, 0, 0);
	roll_back(rig, 1, &old);
	struct stripe_check c = check(rig, STRIPE_REPAIR);
	assert_int_equal(stale_slot(&c), -1);
	assert_true(rig_reads(rig, block_of(rig, 1), 'o'));
	rig_free(rig);
}

static void a_full_write_that_the_parity_member_lost_leaves_the_data_as_they_are(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 6; i++) {
		struct rig *rig =
			new_rig(volumes[i % 3].level, volumes[i % 3].members, kinds[i / 3]);
		unsigned data = geometry_data_slots(&rig->geometry);
		struct stored old;
		remember(rig, data, &old);
		write_new(rig, 0, 0);
		roll_back(rig, data, &old);
		struct stripe_check c = check(rig, STRIPE_REPAIR);
		assert_int_equal(stale_slot(&c), -1);
		assert_true(rows_has(&c.rebuilt[data], ROW));
		for (unsigned slot = 0; slot < data; slot++)
			assert_true(rig_reads(rig, block_of(rig, slot), 'n'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* What one parity cannot tell: which of the two members that a small write went to has lost it. */
static void a_small_write_that_a_parity_member_lost_is_undone_but_by_two_parities(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = new_rig(volumes[i].level, volumes[i].members, PI_T10);
		struct stored old;
		unsigned data = geometry_data_slots(&rig->geometry);
		remember(rig, data, &old);
		write_new(rig, 1, 1);
		roll_back(rig, data, &old);
		(void)check(rig, STRIPE_REPAIR);
		assert_true(rig_reads(
			rig, block_of(rig, 1), volumes[i].level == RAID_RAID6 ? 'n' : 'o'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void a_parity_of_other_bytes_than_were_stored_is_known_by_its_tag(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = new_rig(volumes[i].level, volumes[i].members, PI_T10);
		assert_int_equal(script_write(rig, block_of(rig, 1), 1, 0, "aba"), 0);
		struct stripe_check c = check(rig, STRIPE_REPAIR);
		assert_true(rows_has(&c.parity_bad, ROW));
		assert_int_equal(stale_slot(&c), -1);
		assert_true(rig_reads(rig, block_of(rig, 1), 'a'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* ---- a member is missing ---- */

/* raid5 of 4: slot 1 has lost a write, and slot 0 is taken out. */
static struct rig *rig_of_garbage(enum pi_type pi)
{
	struct rig *rig = new_rig(RAID_RAID5, 4, pi);
	struct stored old;
	remember(rig, 1, &old);
	write_new(rig, 1, 1);
	roll_back(rig, 1, &old);
	rig_fail_member(rig, geometry_member(&rig->geometry, STRIPE, 0));
	rig_events_forget(rig);
	return rig;
}

static int read_missing(struct rig *rig, uint8_t *block)
{
	return rig_read(rig, block_of(rig, 0) * BLOCK_BYTES, block, BLOCK_BYTES);
}

static void assert_lost(struct rig *rig)
{
	uint8_t block[BLOCK_BYTES];
	rig_events_forget(rig);
	assert_int_equal(read_missing(rig, block), -EILSEQ);
	assert_string_equal(rig_event(rig, EVENT_UNREPAIRABLE)->what, "row tag");
}

static void garbage_is_an_error_with_pi_and_given_without(void **unused)
{
	(void)unused;
	uint8_t block[BLOCK_BYTES];
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = rig_of_garbage(kinds[i]);
		assert_lost(rig);
		assert_true(rig_reads(rig, block_of(rig, 2), 'o'));
		assert_true(rig_reads(rig, block_of(rig, 0) + 1, 'o'));
		struct stripe_check c = check(rig, STRIPE_CHECK);
		assert_true(rows_has(&c.lost[0], ROW));
		assert_int_equal(rows_count(&c.lost[0]), 1);
		rig_free(rig);
	}
	struct rig *rig = rig_of_garbage(PI_NONE);
	assert_int_equal(read_missing(rig, block), 0);
	assert_false(rig_reads(rig, block_of(rig, 0), 'o'));
	rig_free(rig);
}

static void writes_beside_garbage_do_not_make_it_valid(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_garbage(PI_T10);
	assert_int_equal(rig_write_block(rig, block_of(rig, 2), 'x'), 0);
	assert_lost(rig);
	assert_int_equal(rig_write_block(rig, block_of(rig, 1), 'y'), 0);
	assert_lost(rig);
	assert_int_equal(check(rig, STRIPE_REPAIR).lost[0].bits[0] != 0, 1);
	assert_lost(rig);
	rig_free(rig);
}

static void garbage_cannot_be_written_in_part_and_as_a_whole_it_is_gone(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_garbage(PI_T10);
	uint64_t block = block_of(rig, 0);
	assert_int_equal(rig_write(rig, block * BLOCK_BYTES + 512, "part", 4), -EILSEQ);
	assert_lost(rig);
	assert_int_equal(rig_write_block(rig, block, 'z'), 0);
	assert_true(rig_reads(rig, block, 'z'));
	assert_true(rig_reads(rig, block_of(rig, 2), 'o'));
	rig_free(rig);
}

static void a_new_member_is_not_filled_with_garbage(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_garbage(PI_T10);
	unsigned index = geometry_member(&rig->geometry, STRIPE, 0);
	rig_replace_member(rig, index);
	assert_int_equal(rig_rebuild(rig, index), -EIO);
	assert_lost(rig);
	assert_int_equal(rig_write_block(rig, block_of(rig, 0), 'z'), 0);
	assert_int_equal(rig_rebuild(rig, index), 0);
	assert_true(rig_reads(rig, block_of(rig, 0), 'z'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* Of two parities one is of another write: the other one has the block, and heals the first. */
static void of_two_parities_the_one_that_fits_is_taken(void **unused)
{
	(void)unused;
	for (unsigned p = 0; p < 2; p++) {
		struct rig *rig = new_rig(RAID_RAID6, 6, PI_T10);
		struct stored old;
		remember(rig, 4 + p, &old);
		write_new(rig, 1, 1);
		roll_back(rig, 4 + p, &old);
		rig_fail_member(rig, geometry_member(&rig->geometry, STRIPE, 0));
		assert_true(rig_reads(rig, block_of(rig, 0), 'o'));
		rig_settle(rig);
		(void)check(rig, STRIPE_REPAIR);
		rig_fail_member(rig, geometry_member(&rig->geometry, STRIPE, 2));
		assert_true(rig_reads(rig, block_of(rig, 0), 'o'));
		assert_true(rig_reads(rig, block_of(rig, 2), 'o'));
		assert_true(rig_reads(rig, block_of(rig, 1), 'n'));
		rig_free(rig);
	}
}

/* ---- power cuts ---- */

#define WRITES 4u
#define STRIDE 7u /* no two of them share a row */

struct outcome {
	unsigned failed, wrong, cuts; /* blocks at rest that are errors, that are wrong */
};

/* Some blocks are written, with marks alone; the power goes at write @n, and member @lost with it.
 * Blocks that were not written must be right or fail. False: it was done before. */
static bool cut_and_look(
	const struct rig_config *config, unsigned n, unsigned lost, struct outcome *out)
{
	struct rig *rig = rig_new(config);
	uint8_t got[BLOCK_BYTES];
	script_fill_volume(rig);
	uint64_t blocks = rig->volume_bytes / BLOCK_BYTES, first = config->seed % blocks;
	rig_power_cut_after(rig, n);
	for (unsigned i = 0; i < WRITES; i++)
		(void)rig_write_block(rig, (first + STRIDE * i) % blocks, 'n');
	(void)rig_flush(rig);
	bool cut = sim_world_power_is_cut(rig->world);
	rig->missing |= 1u << lost;
	rig_reboot(rig);
	for (uint64_t b = 0; b < blocks; b++) {
		uint64_t distance = (b + blocks - first) % blocks;
		if (distance % STRIDE == 0 && distance / STRIDE < WRITES)
			continue;
		bool read = rig_read(rig, b * BLOCK_BYTES, got, BLOCK_BYTES) == 0;
		out->failed += !read;
		out->wrong += read && !rig_reads(rig, b, 'o');
	}
	out->cuts += cut;
	rig_free(rig);
	return cut;
}

/* At every write, with each member, a few times over. */
static struct outcome sweep(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig_config config = {.level = level,
		.members = members,
		.chunk_blocks = 2,
		.stripes = 6,
		.pi = pi,
		.seed = SEED};
	struct outcome out = {0};
	for (unsigned round = 0; round < 4; round++) {
		bool cut = true;
		for (unsigned n = 0; cut; n++) {
			config.seed++;
			for (unsigned lost = 0; lost < members; lost++)
				cut = cut_and_look(&config, n, lost, &out);
		}
	}
	assert_true(out.cuts > 100);
	return out;
}

static void what_a_cut_and_a_loss_take_with_marks_alone_is_an_error(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 4; i++) {
		struct outcome out = sweep(RAID_RAID5, i / 2 ? 5 : 3, kinds[i % 2]);
		assert_true(out.failed > 0);
		assert_int_equal(out.wrong, 0);
	}
}

static void without_pi_it_is_wrong_bytes(void **unused)
{
	(void)unused;
	struct outcome out = sweep(RAID_RAID5, 4, PI_NONE);
	assert_int_equal(out.failed, 0);
	assert_true(out.wrong > 0);
}

static void with_two_parities_it_is_an_error_as_well(void **unused)
{
	(void)unused;
	struct outcome out = sweep(RAID_RAID6, 5, PI_T10);
	assert_int_equal(out.wrong, 0);
}

/* Both parities of before the write beside the new block, and slot 0 is gone with the power. */
static struct rig *rig_of_old_parities(unsigned written)
{
	struct rig *rig = new_rig(RAID_RAID6, 6, PI_T10);
	struct stored old[2];
	for (unsigned p = 0; p < 2; p++)
		remember(rig, 4 + p, &old[p]);
	write_new(rig, 1, written);
	for (unsigned p = 0; p < 2; p++)
		roll_back(rig, 4 + p, &old[p]);
	rig_power_cut_after(rig, 6); /* marked on all members, and no more than that */
	(void)rig_write_block(rig, geometry_volume_block(&rig->geometry, STRIPE, 1, 0), 'm');
	assert_true(sim_world_power_is_cut(rig->world));
	rig->missing |= 1u << geometry_member(&rig->geometry, STRIPE, 0);
	rig_reboot(rig);
	assert_true(rig_reads(rig, block_of(rig, 1), 'n'));
	return rig;
}

static void without_the_one_new_block_two_old_parities_tell_the_missing_one(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old_parities(1);
	assert_true(rig_reads(rig, block_of(rig, 0), 'o'));
	rig_remove_member(rig, geometry_member(&rig->geometry, STRIPE, 3));
	assert_true(rig_reads(rig, block_of(rig, 3), 'o'));
	rig_free(rig);
}

static void a_lost_block_takes_no_other_with_it_when_a_second_member_goes(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old_parities(2);
	assert_lost(rig);
	rig_remove_member(rig, geometry_member(&rig->geometry, STRIPE, 3));
	assert_lost(rig);
	assert_true(rig_reads(rig, block_of(rig, 3), 'o'));
	assert_int_equal(rig_write_block(rig, block_of(rig, 3), 'x'), 0);
	assert_lost(rig);
	assert_true(rig_reads(rig, block_of(rig, 3), 'x'));
	assert_int_equal(rig_write_block(rig, block_of(rig, 0), 'y'), 0);
	assert_true(rig_reads(rig, block_of(rig, 0), 'y'));
	assert_true(rig_reads(rig, block_of(rig, 3), 'x'));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_that_a_member_lost_is_found_by_the_row_tag_and_made_good),
		cmocka_unit_test(without_pi_a_lost_write_cannot_be_told_from_wrong_parity),
		cmocka_unit_test(
			a_full_write_that_the_parity_member_lost_leaves_the_data_as_they_are),
		cmocka_unit_test(
			a_small_write_that_a_parity_member_lost_is_undone_but_by_two_parities),
		cmocka_unit_test(a_parity_of_other_bytes_than_were_stored_is_known_by_its_tag),
		cmocka_unit_test(garbage_is_an_error_with_pi_and_given_without),
		cmocka_unit_test(writes_beside_garbage_do_not_make_it_valid),
		cmocka_unit_test(garbage_cannot_be_written_in_part_and_as_a_whole_it_is_gone),
		cmocka_unit_test(a_new_member_is_not_filled_with_garbage),
		cmocka_unit_test(of_two_parities_the_one_that_fits_is_taken),
		cmocka_unit_test(what_a_cut_and_a_loss_take_with_marks_alone_is_an_error),
		cmocka_unit_test(without_pi_it_is_wrong_bytes),
		cmocka_unit_test(with_two_parities_it_is_an_error_as_well),
		cmocka_unit_test(without_the_one_new_block_two_old_parities_tell_the_missing_one),
		cmocka_unit_test(a_lost_block_takes_no_other_with_it_when_a_second_member_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
