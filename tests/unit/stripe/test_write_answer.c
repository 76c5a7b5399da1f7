/* SPDX-License-Identifier: MIT */
/* Writes that are answered when they are in the partial-write log (stripe.h, logged()), and what
 * may happen before they are done. */
#include "script.h"

#include <errno.h>

#define SEED       4711
#define MEMBERS    4u
#define CHUNK      4u
#define ROW_BLOCKS ((MEMBERS - 1) * CHUNK) /* of a stripe */
#define LONG_NS    UINT64_C(5000000000)

static struct rig *new_rig(bool journal, bool members_fail)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = MEMBERS,
		.chunk_blocks = CHUNK,
		.stripes = 5,
		.pi = PI_T10,
		.seed = SEED,
		.journal = journal,
		.members_fail = members_fail});
	script_fill_volume(rig);
	assert_int_equal(rig_flush(rig), 0);
	return rig;
}

/* A write that notes what it hears. */
struct write {
	struct rig_io *io;
	unsigned logged;      /* how often */
	bool done_before_log; /* then it was too late */
};

static void note_logged(struct stripe_req *req)
{
	struct write *w = (struct write *)(uintptr_t)req->ino;
	w->logged++;
	w->done_before_log = w->io->ended;
}

static struct write *write_new(struct rig *rig, uint64_t block, unsigned blocks, unsigned tag)
{
	struct write *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	w->io = rig_io_new(rig, STRIPE_WRITE, block * BLOCK_BYTES, blocks * BLOCK_BYTES, NULL);
	for (unsigned i = 0; i < blocks; i++)
		rig_fill_block(w->io->data + (size_t)i * BLOCK_BYTES, block + i, tag);
	w->io->req.logged = note_logged;
	w->io->req.ino = (uintptr_t)w;
	return w;
}

/* Wait, free; how often it was answered early. */
static unsigned write_end(struct write *w, int err)
{
	assert_int_equal(rig_io_wait(w->io), err);
	assert_false(w->done_before_log);
	unsigned logged = w->logged;
	rig_io_free(w->io);
	free(w);
	return logged;
}

static unsigned write_run(struct rig *rig, uint64_t block, unsigned blocks)
{
	struct write *w = write_new(rig, block, blocks, 'n');
	rig_io_start(w->io);
	return write_end(w, 0);
}

static void wait_for_answer(struct rig *rig, const struct write *w)
{
	while (!w->logged) {
		assert_false(w->io->ended);
		rig_run(rig, true);
	}
}

/* Member writes of a slot take their time. */
static void delay(struct rig *rig, uint64_t stripe, unsigned slot, uint64_t ns)
{
	struct sim_fault fault = {.kind = SIM_LATENCY,
		.name = rig_disk(geometry_member(&rig->geometry, stripe, slot)),
		.offset_bytes = member_super(rig->members[0])->data.offset_bytes,
		.len_bytes = member_super(rig->members[0])->data.len_bytes,
		.per_mille = 1000,
		.latency_ns = ns};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

/* ---- who is answered early ---- */

static void a_write_in_part_is_answered_once_before_it_is_done(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	assert_int_equal(write_run(rig, 2, 1), 1);
	assert_true(rig_reads(rig, 2, 'n'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void full_rows_are_not_answered_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	assert_int_equal(write_run(rig, 0, ROW_BLOCKS), 0);
	assert_int_equal(write_run(rig, ROW_BLOCKS + 1, ROW_BLOCKS - 1), 0); /* 3 full rows of 4 */
	rig_free(rig);
}

static void a_write_of_two_stripes_is_answered_when_both_have_logged_it(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	assert_int_equal(write_run(rig, ROW_BLOCKS - 1, 2), 1);
	/* All of the second stripe is written in full. */
	assert_int_equal(write_run(rig, 2 * ROW_BLOCKS - 1, ROW_BLOCKS + 1), 0);
	rig_free(rig);
}

static void without_a_log_nothing_is_answered_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false, false);
	assert_int_equal(write_run(rig, 2, 1), 0);
	rig_free(rig);
}

static void without_its_parity_member_a_stripe_answers_nothing_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	rig_remove_member(rig, geometry_member(&rig->geometry, 0, MEMBERS - 1));
	assert_int_equal(write_run(rig, 2, 1), 0);
	rig_free(rig);
}

static void a_write_that_is_held_open_is_not_answered_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	struct write *w = write_new(rig, 2, 1, 'n');
	w->io->req.hold_ns = 1000;
	rig_io_start(w->io);
	assert_int_equal(write_end(w, 0), 0);
	rig_free(rig);
}

static void a_source_that_may_change_is_not_answered_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	struct script script;
	script_init(&script, 2, 1, 0, "nnn");
	struct write *w = write_new(rig, 2, 1, 'n');
	w->io->req.source = &script.base;
	rig_io_start(w->io);
	assert_int_equal(write_end(w, 0), 0);
	rig_free(rig);
}

/* ---- between the answer and the end ---- */

static void readers_and_writers_wait_for_the_end(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	delay(rig, 0, 0, LONG_NS);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	wait_for_answer(rig, w);
	struct rig_io *read = rig_io_new(rig, STRIPE_READ, 2 * BLOCK_BYTES, BLOCK_BYTES, NULL);
	rig_io_start(read);
	struct write *next = write_new(rig, 2, 1, 'm');
	rig_io_start(next->io);
	while (!w->io->ended) {
		assert_false(read->ended || next->logged);
		rig_run(rig, true);
	}
	uint8_t wanted[BLOCK_BYTES];
	rig_fill_block(wanted, 2, 'n');
	assert_int_equal(rig_io_wait(read), 0);
	assert_memory_equal(read->data, wanted, BLOCK_BYTES);
	rig_io_free(read);
	assert_int_equal(write_end(w, 0), 1);
	assert_int_equal(write_end(next, 0), 1);
	assert_true(rig_reads(rig, 2, 'm'));
	rig_free(rig);
}

struct flush {
	struct stripe_flush flush;
	bool ended;
	int err;
};

static void flush_done(struct stripe_flush *flush, int err)
{
	struct flush *f = container_of(flush, struct flush, flush);
	f->ended = true;
	f->err = err;
}

static void a_flush_waits_for_what_was_answered_before_it(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	delay(rig, 0, 0, LONG_NS);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	wait_for_answer(rig, w);
	struct flush f = {.flush.done = flush_done};
	stripe_flush(rig->eng, &f.flush);
	/* What is answered behind the flush is nothing to it. */
	struct write *later = write_new(rig, ROW_BLOCKS + 2, 1, 'n');
	delay(rig, 1, 0, 3 * LONG_NS);
	rig_io_start(later->io);
	while (!w->io->ended) {
		assert_false(f.ended);
		rig_run(rig, true);
	}
	while (!f.ended)
		rig_run(rig, true);
	assert_int_equal(f.err, 0);
	assert_int_equal(later->logged, 1);
	assert_false(later->io->ended);
	assert_int_equal(write_end(w, 0), 1);
	assert_int_equal(write_end(later, 0), 1);
	rig_free(rig);
}

/* After the flush nothing needs the log: the ring is of no use where its member is lost. */
static void what_was_answered_and_flushed_survives_the_power_cut_and_its_log(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	delay(rig, 0, 0, LONG_NS);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	wait_for_answer(rig, w);
	assert_int_equal(rig_flush(rig), 0);
	assert_true(w->io->ended);
	assert_int_equal(write_end(w, 0), 1);
	sim_world_disarm_all(rig->world);
	rig_power_cut_after(rig, 0);
	rig->missing |= 1u << geometry_member(&rig->geometry, 0, MEMBERS - 1);
	rig_reboot(rig);
	assert_true(rig_reads(rig, 2, 'n'));
	rig_free(rig);
}

/* Answered, and cut before a member has any of it; then @lost (MEMBERS: none) is lost as well. */
static void cut_behind_the_answer(unsigned lost)
{
	struct rig *rig = new_rig(true, false);
	for (unsigned slot = 0; slot < MEMBERS; slot++)
		delay(rig, 0, slot, LONG_NS);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	wait_for_answer(rig, w);
	rig_power_cut_after(rig, 0);
	assert_int_equal(write_end(w, -ESHUTDOWN), 1);
	sim_world_disarm_all(rig->world);
	rig->missing |= lost < MEMBERS ? 1u << lost : 0;
	rig_reboot(rig);
	assert_true(rig_reads(rig, 2, 'n'));
	for (unsigned b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		assert_true(b == 2 || rig_reads(rig, b, 'o'));
	rig_free(rig);
}

static void a_power_cut_behind_the_answer_loses_nothing(void **unused)
{
	(void)unused;
	cut_behind_the_answer(MEMBERS);
}

static void nor_does_it_with_any_member_but_that_of_the_log(void **unused)
{
	(void)unused;
	struct geometry g = {.level = RAID_RAID5, .members = MEMBERS, .chunk_blocks = CHUNK};
	for (unsigned i = 0; i < MEMBERS; i++)
		if (i != geometry_member(&g, 0, MEMBERS - 1))
			cut_behind_the_answer(i);
}

static void a_member_that_fails_behind_the_answer_costs_nothing(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < MEMBERS; slot += MEMBERS - 1) {
		struct rig *rig = new_rig(true, true);
		rig_arm(rig, SIM_WRITE_ERROR, 0, slot, 0, CHUNK, 0);
		struct write *w = write_new(rig, 2, 1, 'n');
		rig_io_start(w->io);
		assert_int_equal(write_end(w, 0), 1);
		assert_true(rig->missing >> geometry_member(&rig->geometry, 0, slot) & 1);
		assert_true(rig_reads(rig, 2, 'n'));
		rig_free(rig);
	}
}

/* ---- an error behind the answer ---- */

static void a_write_that_fails_behind_its_answer_is_told_in_an_event(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	rig_arm(rig, SIM_WRITE_ERROR, 0, 0, 2, 1, 0);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	assert_int_equal(write_end(w, -EIO), 1);
	const struct event *last = &rig->events[rig->event_count - 1];
	assert_int_equal(last->kind, EVENT_MEMBER_ERROR);
	assert_string_equal(last->what, "lost after its answer");
	assert_int_equal(last->volume_block, 2);
	rig_free(rig);
}

static void and_comes_back_from_the_log_after_a_power_cut(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	rig_arm(rig, SIM_WRITE_ERROR, 0, 0, 2, 1, 0);
	struct write *w = write_new(rig, 2, 1, 'n');
	rig_io_start(w->io);
	assert_int_equal(write_end(w, -EIO), 1);
	sim_world_disarm_all(rig->world);
	assert_true(rig_reads(rig, 2, 'o'));
	rig_power_cut_after(rig, 0);
	rig_reboot(rig);
	assert_true(rig_reads(rig, 2, 'n'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void one_that_was_not_answered_does_not(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true, false);
	rig_arm(rig, SIM_WRITE_ERROR, 0, 0, 2, 1, 0);
	struct write *w = write_new(rig, 2, 1, 'n');
	w->io->req.logged = NULL;
	rig_io_start(w->io);
	assert_int_equal(write_end(w, -EIO), 0);
	sim_world_disarm_all(rig->world);
	rig_power_cut_after(rig, 0);
	rig_reboot(rig);
	assert_true(rig_reads(rig, 2, 'o'));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_in_part_is_answered_once_before_it_is_done),
		cmocka_unit_test(full_rows_are_not_answered_early),
		cmocka_unit_test(a_write_of_two_stripes_is_answered_when_both_have_logged_it),
		cmocka_unit_test(without_a_log_nothing_is_answered_early),
		cmocka_unit_test(without_its_parity_member_a_stripe_answers_nothing_early),
		cmocka_unit_test(a_write_that_is_held_open_is_not_answered_early),
		cmocka_unit_test(a_source_that_may_change_is_not_answered_early),
		cmocka_unit_test(readers_and_writers_wait_for_the_end),
		cmocka_unit_test(a_flush_waits_for_what_was_answered_before_it),
		cmocka_unit_test(what_was_answered_and_flushed_survives_the_power_cut_and_its_log),
		cmocka_unit_test(a_power_cut_behind_the_answer_loses_nothing),
		cmocka_unit_test(nor_does_it_with_any_member_but_that_of_the_log),
		cmocka_unit_test(a_member_that_fails_behind_the_answer_costs_nothing),
		cmocka_unit_test(a_write_that_fails_behind_its_answer_is_told_in_an_event),
		cmocka_unit_test(and_comes_back_from_the_log_after_a_power_cut),
		cmocka_unit_test(one_that_was_not_answered_does_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
