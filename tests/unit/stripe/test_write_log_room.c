/* SPDX-License-Identifier: MIT */
/* The partial-write log where its ring gets full, and where a write that it has does not happen. */
#include "script.h"

#include <errno.h>

#define SEED    9907
#define CHUNK   4u
#define STRIPES 24u
#define FLOOD   300u /* writes: several times what a ring has room for */
#define DEPTH   48u

static const struct shape {
	enum raid_level level;
	unsigned members;
} shapes[] = {{RAID_RAID5, 4}, {RAID_RAID6, 5}};

static struct rig *new_rig(const struct shape *s, enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = s->level,
		.members = s->members,
		.chunk_blocks = CHUNK,
		.stripes = STRIPES,
		.pi = pi,
		.pi_check = pi ? PI_CHECK_DEVICE : PI_CHECK_NONE,
		.seed = SEED,
		.journal = true});
	script_fill_volume(rig);
	return rig;
}

/* Writes of one block each, DEPTH at a time, to @stripes stripes from @first on; the last data slot
 * is left out, so that no row is written in full. */
struct flood {
	struct rig *rig;
	struct rig_io *io[DEPTH];
	uint64_t first, stripes, next;
};

static void flood_start(struct flood *f, unsigned i, unsigned tag)
{
	const struct geometry *g = &f->rig->geometry;
	uint64_t n = f->next++, place = n / f->stripes;
	uint64_t block = geometry_volume_block(
		g, f->first + n % f->stripes, (unsigned)(place % 2), (unsigned)(place / 2 % CHUNK));
	f->io[i] = rig_io_new(f->rig, STRIPE_WRITE, block * BLOCK_BYTES, BLOCK_BYTES, NULL);
	rig_fill_block(f->io[i]->data, block, tag);
	rig_io_start(f->io[i]);
}

static int flood_end(struct flood *f, unsigned i)
{
	int err = rig_io_wait(f->io[i]);
	rig_io_free(f->io[i]);
	return err;
}

static void flood(struct rig *rig, uint64_t first, uint64_t stripes, unsigned writes, unsigned tag)
{
	struct flood f = {.rig = rig, .first = first, .stripes = stripes};
	for (unsigned i = 0; i < writes; i++) {
		if (i >= DEPTH)
			assert_int_equal(flood_end(&f, i % DEPTH), 0);
		flood_start(&f, i % DEPTH, tag);
	}
	for (unsigned i = writes < DEPTH ? 0 : writes - DEPTH; i < writes; i++)
		assert_int_equal(flood_end(&f, i % DEPTH), 0);
}

static uint64_t stripe_blocks(const struct rig *rig)
{
	return geometry_stripe_blocks(&rig->geometry);
}

static void lose_as_many_as_may_be(struct rig *rig)
{
	for (unsigned i = 0; i < geometry_redundancy(&rig->geometry); i++)
		rig_remove_member(rig, (i + 1) % rig->config.members);
}

/* Nobody asks for a flush: the engine does when rings fill up, and writes wait for it. */
static void writes_go_on_when_the_rings_are_full(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < 2; s++) {
		struct rig *rig = new_rig(&shapes[s], PI_NONE);
		uint64_t stripe = stripe_blocks(rig); /* one: its rings get it all */
		flood(rig, 0, 1, FLOOD, 'n');
		struct journal_stats stats = journal_stats(rig->journal);
		assert_true(stats.written_bytes > 2 * stats.ring_bytes);
		rig_reboot(rig);
		lose_as_many_as_may_be(rig);
		for (uint64_t b = 0; b < stripe; b++)
			assert_true(rig_reads(rig, b, 'n') || rig_reads(rig, b, 'o'));
		for (uint64_t b = stripe; b < STRIPES * stripe; b++)
			assert_true(rig_reads(rig, b, 'o'));
		rig_free(rig);
	}
}

static void delay_data(struct rig *rig, uint64_t ns)
{
	for (unsigned i = 0; i < rig->config.members; i++) {
		const struct super *super = member_super(rig->members[i]);
		struct sim_fault fault = {.kind = SIM_LATENCY,
			.name = rig_disk(i),
			.offset_bytes = super->data.offset_bytes,
			.len_bytes = super->data.len_bytes,
			.per_mille = 1000,
			.latency_ns = ns};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	}
}

#define DELAY_NS UINT64_C(10000000000)

/* Old data take their time, then all is logged at once, and while the new data take theirs the
 * rings are full; then the power goes. */
static void crash_with_full_rings(struct rig *rig)
{
	struct flood f = {.rig = rig, .stripes = STRIPES / 2};
	uint64_t start = io_now_ns(rig->io);
	delay_data(rig, DELAY_NS);
	for (unsigned i = 0; i < DEPTH; i++)
		flood_start(&f, i, 'n');
	while (io_now_ns(rig->io) < start + DELAY_NS + DELAY_NS / 2)
		rig_run(rig, true);
	rig_power_cut_after(rig, 0);
	for (unsigned i = 0; i < DEPTH; i++) {
		int err = flood_end(&f, i);
		assert_true(err == 0 || err == -ESHUTDOWN);
	}
	sim_world_disarm_all(rig->world);
	rig->on_demand = true;
	rig_reboot(rig);
}

/* Of the first half. */
static unsigned stripes_in_doubt(const struct rig *rig)
{
	unsigned n = 0;
	for (uint64_t s = stripe_engine_next_open(rig->eng, -1, 0); s < STRIPES / 2;
		s = stripe_engine_next_open(rig->eng, -1, s + 1))
		n++;
	return n;
}

/* Of the stripes that the rings still show nobody wants one: the engine resyncs them for room. */
static void records_found_after_a_crash_make_room_by_resyncs(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < 2; s++) {
		struct rig *rig = new_rig(&shapes[s], PI_NONE);
		uint64_t half = STRIPES * stripe_blocks(rig) / 2;
		crash_with_full_rings(rig);
		unsigned before = stripes_in_doubt(rig);
		flood(rig, STRIPES / 2, STRIPES / 2, 2 * FLOOD, 'm');
		unsigned after = stripes_in_doubt(rig);
		assert_true(before > 0 && after < before);
		rig->on_demand = false;
		rig_reboot(rig);
		lose_as_many_as_may_be(rig);
		for (uint64_t b = 0; b < half; b++)
			assert_true(rig_reads(rig, b, 'o') || rig_reads(rig, b, 'n'));
		rig_free(rig);
	}
}

/* ---- what did not happen ---- */

/* What was logged is what the parity saw; the disk saw other bytes and refused them. */
static void a_refused_write_does_not_come_back_after_a_crash(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < 2; s++) {
		for (unsigned slot = 0; slot < 3; slot++) {
			struct rig *rig = new_rig(&shapes[s], PI_T10);
			uint64_t block = geometry_volume_block(&rig->geometry, 1, slot, 2);
			assert_int_equal(script_write(rig, block, 1, 0, "aab"), -EILSEQ);
			assert_true(journal_stats(rig->journal).appends > 1);
			rig_reboot(rig);
			assert_true(rig_reads(rig, block, 'o'));
			assert_true(rig_is_clean(rig));
			lose_as_many_as_may_be(rig);
			for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
				assert_true(rig_reads(rig, b, 'o'));
			rig_free(rig);
		}
	}
}

/* In the same row another was answered, and not flushed: that one comes back. */
static void a_refused_write_leaves_what_was_answered_before(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < 2; s++) {
		struct rig *rig = new_rig(&shapes[s], PI_T10);
		uint64_t block = geometry_volume_block(&rig->geometry, 1, 0, 2);
		uint64_t other = geometry_volume_block(&rig->geometry, 1, 1, 2);
		assert_int_equal(rig_write_block(rig, other, 'm'), 0);
		assert_int_equal(script_write(rig, block, 1, 0, "aab"), -EILSEQ);
		assert_int_equal(rig_flush(rig), 0);
		rig_reboot(rig);
		lose_as_many_as_may_be(rig);
		assert_true(rig_reads(rig, other, 'm'));
		assert_true(rig_reads(rig, block, 'o'));
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_go_on_when_the_rings_are_full),
		cmocka_unit_test(records_found_after_a_crash_make_room_by_resyncs),
		cmocka_unit_test(a_refused_write_does_not_come_back_after_a_crash),
		cmocka_unit_test(a_refused_write_leaves_what_was_answered_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
