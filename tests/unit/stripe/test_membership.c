/* SPDX-License-Identifier: MIT */
/* Members that fail while the engine works: what they missed is acknowledged when they are out. */
#include "script.h"

#include <errno.h>
#include "base/mem.h"

#define CHUNK   4u
#define STRIPES 6u

static struct rig *rig_of(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = CHUNK,
		.stripes = STRIPES,
		.pi = pi,
		.pi_check = pi ? PI_CHECK_DEVICE : PI_CHECK_NONE,
		.members_fail = true,
		.seed = 99});
	script_fill_volume(rig);
	return rig;
}

static unsigned member_of(struct rig *rig, uint64_t stripe, unsigned slot)
{
	return geometry_member(&rig->geometry, stripe, slot);
}

static void arm_disk(struct rig *rig, enum sim_fault_kind kind, unsigned member, unsigned count)
{
	struct sim_fault fault = {
		.kind = kind, .name = rig_disk(member), .count = count, .per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

/* Every write of the member's data area fails. */
static void fail_writes(struct rig *rig, unsigned member, unsigned count)
{
	const struct super *super = member_super(rig->members[member]);
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.name = rig_disk(member),
		.offset_bytes = super->data.offset_bytes,
		.len_bytes = super->data.len_bytes,
		.count = count,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

static bool is_out(const struct rig *rig, unsigned member)
{
	return rig->missing >> member & 1;
}

/* Its error; nobody is told before @member is out. */
static int wait_for(struct rig_io *io, unsigned member)
{
	while (!io->ended) {
		bool out = is_out(io->rig, member);
		assert_true(rig_run(io->rig, true) >= 0);
		assert_true(!io->ended || out || is_out(io->rig, member));
	}
	assert_true(is_out(io->rig, member));
	int err = io->err;
	rig_io_free(io);
	return err;
}

static struct rig_io *write_begin(struct rig *rig, uint64_t offset, uint32_t len, const void *data)
{
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, offset, len, data);
	rig_io_start(io);
	return io;
}

/* ---- the volume's bytes, as they should be ---- */

static uint8_t *model_of_old(struct rig *rig)
{
	uint8_t *model = mem_alloc_blocks(rig->volume_bytes);
	assert_non_null(model);
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		rig_fill_block(model + b * BLOCK_BYTES, b, 'o');
	return model;
}

static void assert_reads(struct rig *rig, const uint8_t *model)
{
	uint8_t got[BLOCK_BYTES];
	for (uint64_t at = 0; at < rig->volume_bytes; at += BLOCK_BYTES) {
		assert_int_equal(rig_read(rig, at, got, BLOCK_BYTES), 0);
		assert_memory_equal(got, model + at, BLOCK_BYTES);
	}
}

/* With what is there, after a power cut, and with the member back and each other one away. */
static void assert_holds(struct rig *rig, const uint8_t *model, unsigned member)
{
	assert_reads(rig, model);
	assert_int_equal(rig_flush(rig), 0);
	sim_world_disarm_all(rig->world);
	rig_reboot(rig);
	assert_true(is_out(rig, member));
	assert_reads(rig, model);
	assert_true(rig_is_clean(rig));
	rig_return_member(rig, member);
	assert_reads(rig, model);
	assert_int_equal(rig_rebuild(rig, member), 0);
	assert_true(rig_is_clean(rig));
	rig_fail_member(rig, (member + 1) % rig->config.members);
	assert_reads(rig, model);
}

/* ---- writes ---- */

struct shape {
	uint32_t offset_bytes, len_bytes; /* in stripe 1; len 0: to its end */
};

static const struct shape shapes[] = {
	{0, 0},                                               /* all of the stripe */
	{0, BLOCK_BYTES},                                     /* a block */
	{BLOCK_BYTES + 100, 700},                             /* a part of one */
	{100, 3 * BLOCK_BYTES},                               /* both ends partial */
	{CHUNK * BLOCK_BYTES - BLOCK_BYTES, 2 * BLOCK_BYTES}, /* over a chunk's border */
};

static void write_with_a_failing_slot(
	struct rig *rig, const struct shape *shape, unsigned slot, bool two)
{
	uint64_t stripe_bytes = (uint64_t)geometry_stripe_blocks(&rig->geometry) * BLOCK_BYTES;
	uint64_t offset = stripe_bytes + shape->offset_bytes;
	uint32_t len = shape->len_bytes ? shape->len_bytes : (uint32_t)stripe_bytes;
	len = (uint32_t)min_u64(len, 2 * stripe_bytes - offset);
	unsigned member = member_of(rig, 1, slot);
	uint8_t *model = model_of_old(rig);
	random_fill(&rig->random, model + offset, len);
	if (two)
		random_fill(&rig->random, model + 2 * stripe_bytes - 300, 300);
	fail_writes(rig, member, 0);
	struct rig_io *other = NULL;
	struct rig_io *io = write_begin(rig, offset, len, model + offset);
	if (two)
		other = write_begin(
			rig, 2 * stripe_bytes - 300, 300, model + 2 * stripe_bytes - 300);
	bool concerned = false;
	while (!io->ended || (other && !other->ended)) {
		assert_true(rig_run(rig, true) >= 0);
		concerned |= rig->failing;
	}
	assert_int_equal(io->err, 0);
	rig_io_free(io);
	if (other) {
		assert_int_equal(other->err, 0);
		rig_io_free(other);
	}
	assert_int_equal(is_out(rig, member), concerned);
	assert_int_equal(rig->failed[member] > 0, concerned);
	if (concerned)
		assert_holds(rig, model, member);
	free(model);
}

static void a_write_that_a_member_fails_is_right_without_it(void **unused)
{
	(void)unused;
	static const enum pi_type types[] = {PI_NONE, PI_T10};
	for (unsigned i = 0; i < 2 * 2 * 4 * sizeof(shapes) / sizeof(shapes[0]); i++) {
		enum pi_type pi = types[i % 2];
		bool two = i / 2 % 2;
		unsigned slot = i / 4 % 4;
		struct rig *rig = rig_of(RAID_RAID5, 4, pi);
		write_with_a_failing_slot(rig, &shapes[i / 16], slot, two);
		rig_free(rig);
		rig = rig_of(RAID_RAID1, 2 + slot % 2, pi);
		write_with_a_failing_slot(rig, &shapes[i / 16], slot % 2, two);
		rig_free(rig);
	}
}

static void nobody_is_told_of_a_write_before_the_member_is_out(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = rig_of(i ? RAID_RAID1 : RAID_RAID5, 3, PI_T10);
		uint8_t block[BLOCK_BYTES];
		unsigned member = member_of(rig, 0, 0);
		rig_fill_block(block, 0, 'n');
		fail_writes(rig, member, 1);
		assert_int_equal(wait_for(write_begin(rig, 0, BLOCK_BYTES, block), member), 0);
		assert_true(rig_reads(rig, 0, 'n'));
		assert_int_equal(rig_flush(rig), 0);
		rig_reboot(rig);
		assert_true(rig_reads(rig, 0, 'n'));
		rig_free(rig);
	}
}

static void writes_wait_while_a_member_leaves_and_reads_do_not(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	uint8_t block[BLOCK_BYTES];
	unsigned member = member_of(rig, 0, 0);
	uint64_t elsewhere = geometry_volume_block(&rig->geometry, 3, 1, 0);
	fail_writes(rig, member, 0);
	struct rig_io *first = write_begin(rig, 0, BLOCK_BYTES, block);
	while (!rig->failing)
		assert_true(rig_run(rig, true) >= 0);
	rig_fill_block(block, elsewhere, 'n');
	struct rig_io *second = write_begin(rig, elsewhere * BLOCK_BYTES, BLOCK_BYTES, block);
	for (uint64_t b = 0; b < geometry_stripe_blocks(&rig->geometry); b++)
		assert_true(rig_reads(rig, b + 4 * geometry_stripe_blocks(&rig->geometry), 'o'));
	assert_false(is_out(rig, member));
	assert_false(second->ended);
	assert_int_equal(wait_for(second, member), 0);
	assert_int_equal(wait_for(first, member), 0);
	assert_true(rig_reads(rig, elsewhere, 'n'));
	rig_free(rig);
}

static void the_last_good_member_stays_and_the_writer_gets_the_error(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		enum raid_level level = i == 0 ? RAID_SINGLE : i == 1 ? RAID_RAID1 : RAID_RAID5;
		struct rig *rig = rig_of(level, i + 1, PI_T10);
		unsigned member = member_of(rig, 0, 0);
		if (i)
			rig_fail_member(rig, member_of(rig, 0, i));
		fail_writes(rig, member, 1);
		assert_int_equal(rig_write_block(rig, 0, 'n'), -EIO);
		assert_false(is_out(rig, member));
		assert_true(rig_reads(rig, 1, 'o'));
		assert_int_equal(rig_write_block(rig, 0, 'm'), 0);
		assert_true(rig_reads(rig, 0, 'm'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void of_two_that_fail_one_leaves_and_the_other_gives_the_error(void **unused)
{
	(void)unused;
	for (unsigned pi = 0; pi < 2; pi++) {
		struct rig *rig = rig_of(RAID_RAID5, 4, pi ? PI_T10 : PI_NONE);
		uint64_t bytes = (uint64_t)geometry_stripe_blocks(&rig->geometry) * BLOCK_BYTES;
		uint8_t *data = mem_alloc_blocks(bytes);
		uint8_t got[BLOCK_BYTES];
		for (uint64_t b = 0; b < bytes / BLOCK_BYTES; b++)
			rig_fill_block(data + b * BLOCK_BYTES, b, 'n');
		fail_writes(rig, member_of(rig, 0, 0), 1);
		fail_writes(rig, member_of(rig, 0, 1), 1);
		assert_int_equal(rig_write(rig, 0, data, 2 * CHUNK * BLOCK_BYTES), -EIO);
		assert_int_equal(__builtin_popcount(rig->missing), 1);
		rig_settle(rig);
		for (uint64_t b = 2 * CHUNK; b < 3 * CHUNK; b++) /* at rest */
			assert_true(rig_reads(rig, b, 'o'));
		for (uint64_t b = 0; b < 2 * CHUNK; b++) { /* old or new */
			assert_int_equal(rig_read(rig, b * BLOCK_BYTES, got, BLOCK_BYTES), 0);
			assert_true(rig_reads(rig, b, 'o') || rig_reads(rig, b, 'n'));
		}
		assert_true(rig_is_clean(rig));
		free(data);
		rig_free(rig);
	}
}

static void a_refused_write_and_a_failed_member_leave_the_stripe_right(void **unused)
{
	(void)unused;
	for (unsigned failing = 0; failing < 4; failing++) {
		struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
		uint64_t stripe_blocks = geometry_stripe_blocks(&rig->geometry);
		fail_writes(rig, member_of(rig, 1, failing), 1);
		/* Slots 0 and 1; the changed block is that of slot 0, which is refused unwritten.
		 */
		assert_int_equal(script_write(rig, stripe_blocks + 3, 2, 0, "nnx"), -EILSEQ);
		rig_settle(rig);
		assert_int_equal(rig->missing != 0, failing == 1 || failing == 3);
		assert_true(rig_is_clean(rig));
		for (uint64_t b = stripe_blocks; b < 2 * stripe_blocks; b++)
			if (b != stripe_blocks + 3 && b != stripe_blocks + 4)
				assert_true(rig_reads(rig, b, 'o'));
		rig_free(rig);
	}
}

/* ---- flushes, logs, reads ---- */

static void a_flush_that_a_member_fails_counts_when_it_is_out(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	assert_int_equal(rig_write_block(rig, 5, 'n'), 0);
	rig_settle(rig);
	arm_disk(rig, SIM_FLUSH_ERROR, 2, 1);
	assert_int_equal(rig_flush(rig), 0);
	assert_true(is_out(rig, 2));
	rig_reboot(rig);
	assert_true(rig_reads(rig, 5, 'n'));
	rig_free(rig);
	rig = rig_of(RAID_SINGLE, 1, PI_T10);
	rig_settle(rig);
	arm_disk(rig, SIM_FLUSH_ERROR, 0, 1);
	assert_int_equal(rig_flush(rig), -EIO);
	assert_int_equal(rig_flush(rig), 0);
	rig_free(rig);
}

static void a_member_that_fails_the_intent_log_is_taken_out(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_NONE);
	const struct super *super = member_super(rig->members[1]);
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.name = rig_disk(1),
		.offset_bytes = super->intent.offset_bytes,
		.len_bytes = super->intent.len_bytes,
		.per_mille = 1000};
	rig_reopen(rig); /* without marks */
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	assert_int_equal(rig_write_block(rig, 0, 'n'), 0);
	rig_settle(rig);
	assert_true(is_out(rig, 1));
	assert_true(rig_reads(rig, 0, 'n'));
	rig_free(rig);
}

static void reads_of_a_member_that_is_gone_come_from_the_others_at_once(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = rig_of(i ? RAID_RAID1 : RAID_RAID5, 3, PI_T10);
		arm_disk(rig, SIM_GONE, 1, 1);
		for (uint64_t b = 0; b < geometry_stripe_blocks(&rig->geometry); b++)
			assert_true(rig_reads(rig, b, 'o'));
		assert_int_equal(rig->failed[1], 1);
		assert_int_equal(rig->erred[1], 0);
		assert_int_equal(rig->failing, 1u << 1);
		rig_settle(rig);
		assert_true(is_out(rig, 1));
		assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
		rig_free(rig);
	}
}

static void a_write_whose_old_data_are_gone_runs_without_the_member(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = rig_of(RAID_RAID5, 4, slot % 2 ? PI_T10 : PI_NONE);
		uint8_t *model = model_of_old(rig);
		unsigned member = member_of(rig, 0, slot);
		memset(model + 5000, 'n', 100);
		arm_disk(rig, SIM_GONE, member, 1);
		assert_int_equal(rig_write(rig, 5000, model + 5000, 100), 0);
		rig_settle(rig);
		if (is_out(rig, member)) /* else nothing was read or written there */
			assert_holds(rig, model, member);
		else
			assert_reads(rig, model);
		free(model);
		rig_free(rig);
	}
}

static void errors_that_redundancy_makes_good_are_told(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	unsigned rotten = member_of(rig, 0, 0), sick = member_of(rig, 0, 1);
	rig_rot_data(rig, 0, 0, 1);
	rig_arm(rig, SIM_READ_ERROR, 0, 1, 2, 1, 1);
	assert_true(rig_reads(rig, 1, 'o'));
	assert_int_equal(rig->erred[rotten], 1);
	assert_true(rig_reads(rig, CHUNK + 2, 'o'));
	assert_int_equal(rig->erred[sick], 1);
	rig_settle(rig);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rig->failed[i], 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* ---- checks ---- */

static void a_member_that_fails_a_repair_goes_and_the_repair_runs_again(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
		struct stripe_check check;
		unsigned member = member_of(rig, 1, slot);
		uint8_t *model = model_of_old(rig);
		rig_rot_data(rig, 1, slot, 2);
		fail_writes(rig, member, 0);
		assert_int_equal(rig_check(rig, STRIPE_REPAIR, 1, &check), 0);
		assert_true(is_out(rig, member));
		assert_int_equal(rows_count(&check.guard_bad[slot]), 0); /* as it is now */
		assert_holds(rig, model, member);
		free(model);
		rig_free(rig);
	}
}

static void a_member_that_is_gone_does_not_stop_a_scrub(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	arm_disk(rig, SIM_GONE, 2, 1);
	struct rig_scrub s = rig_scrub(rig, STRIPE_CHECK);
	assert_int_equal(s.err, 0);
	assert_int_equal(s.unreadable + s.guard_bad + s.parity_bad, 0);
	assert_true(is_out(rig, 2));
	rig_free(rig);
}

static void a_member_that_fails_a_resync_goes_and_the_stripe_is_settled(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot += 3) {
		struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
		uint8_t *model = model_of_old(rig);
		unsigned member = member_of(rig, 1, slot);
		uint64_t block = geometry_volume_block(&rig->geometry, 1, 1, 1);
		rig_rot_data(rig, 1, slot, 2);
		assert_int_equal(rig_write_block(rig, block, 'o'), 0);
		rig->on_demand = true;
		rig_reboot(rig);
		fail_writes(rig, member, 0);
		assert_true(rig_reads(rig, block, 'o'));
		assert_true(is_out(rig, member));
		assert_int_equal(stripe_engine_unsettled(rig->eng), 0);
		rig->on_demand = false;
		assert_holds(rig, model, member);
		free(model);
		rig_free(rig);
	}
}

/* ---- changes ---- */

static void quiet(struct stripe_member_change *change)
{
	change->number = UINT64_MAX;
}

static void a_change_is_quiet_when_those_that_knew_the_member_have_ended(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	struct stripe_member_change change = {.quiet = quiet};
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, 0, BLOCK_BYTES, NULL);
	io->req.hold_ns = 1000000;
	rig_io_start(io);
	rig_run(rig, false);
	stripe_engine_set_member(rig->eng, 3, NULL, false, &change);
	assert_int_not_equal(change.number, UINT64_MAX);
	assert_true(rig_reads(rig, 40, 'o')); /* that one began later */
	while (!io->ended) {
		assert_int_not_equal(change.number, UINT64_MAX);
		rig_run(rig, true);
	}
	rig_settle(rig);
	assert_int_equal(change.number, UINT64_MAX);
	rig_io_free(io);
	rig->missing |= 1u << 3;
	rig_free(rig);
}

static void a_write_that_began_without_a_member_is_not_missed_when_it_returns(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	uint8_t *model = model_of_old(rig);
	unsigned member = member_of(rig, 4, 0);
	uint64_t offset = geometry_volume_block(&rig->geometry, 4, 0, 0) * BLOCK_BYTES;
	memset(model + offset, 'n', 100);
	rig_reopen(rig); /* without marks */
	rig_fail_member(rig, member);
	struct rig_io *io = write_begin(rig, offset, 100, model + offset);
	rig_run(rig, false); /* it reads; its region is not marked, nor stale */
	assert_int_equal(intent_stale_count(rig->intent), 0);
	intent_set_member(rig->intent, member, rig->members[member]);
	stripe_engine_set_member(rig->eng, member, rig->members[member], true, NULL);
	rig->missing = 0;
	rig->rebuilding = 1u << member;
	assert_int_equal(stripe_engine_stale(rig->eng, member), 1);
	assert_int_equal(stripe_engine_next_open(rig->eng, (int)member, 0), 4);
	assert_int_equal(rig_io_wait(io), 0);
	rig_io_free(io);
	assert_reads(rig, model);
	assert_int_equal(rig_rebuild(rig, member), 0);
	rig_fail_member(rig, member_of(rig, 4, 1));
	assert_reads(rig, model);
	free(model);
	rig_free(rig);
}

static void a_member_that_stays_after_all_gives_its_error(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of(RAID_RAID5, 4, PI_T10);
	uint8_t block[BLOCK_BYTES] = {0};
	unsigned member = member_of(rig, 0, 0);
	fail_writes(rig, member, 1);
	struct rig_io *io = write_begin(rig, 0, BLOCK_BYTES, block);
	while (!rig->failing)
		rig_run(rig, false);
	rig->failing = 0;
	stripe_engine_set_member(rig->eng, member, rig->members[member], false, NULL);
	assert_int_equal(rig_io_wait(io), -EIO);
	rig_io_free(io);
	assert_int_equal(rig_write_block(rig, 0, 'n'), 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_that_a_member_fails_is_right_without_it),
		cmocka_unit_test(nobody_is_told_of_a_write_before_the_member_is_out),
		cmocka_unit_test(writes_wait_while_a_member_leaves_and_reads_do_not),
		cmocka_unit_test(the_last_good_member_stays_and_the_writer_gets_the_error),
		cmocka_unit_test(of_two_that_fail_one_leaves_and_the_other_gives_the_error),
		cmocka_unit_test(a_refused_write_and_a_failed_member_leave_the_stripe_right),
		cmocka_unit_test(a_flush_that_a_member_fails_counts_when_it_is_out),
		cmocka_unit_test(a_member_that_fails_the_intent_log_is_taken_out),
		cmocka_unit_test(reads_of_a_member_that_is_gone_come_from_the_others_at_once),
		cmocka_unit_test(a_write_whose_old_data_are_gone_runs_without_the_member),
		cmocka_unit_test(errors_that_redundancy_makes_good_are_told),
		cmocka_unit_test(a_member_that_fails_a_repair_goes_and_the_repair_runs_again),
		cmocka_unit_test(a_member_that_is_gone_does_not_stop_a_scrub),
		cmocka_unit_test(a_member_that_fails_a_resync_goes_and_the_stripe_is_settled),
		cmocka_unit_test(a_change_is_quiet_when_those_that_knew_the_member_have_ended),
		cmocka_unit_test(a_write_that_began_without_a_member_is_not_missed_when_it_returns),
		cmocka_unit_test(a_member_that_stays_after_all_gives_its_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
