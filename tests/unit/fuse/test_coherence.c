/* SPDX-License-Identifier: MIT */
/* Coherence: which direct writes have pages dropped, and what is known of open files. */
#include "fuse/coherence.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define PAGE   4096u
#define REGION COHERENCE_REGION_BYTES

struct rig {
	struct coherence *c;
	struct coherence_file *direct, *cached;
	unsigned drops; /* calls of the drop function */
	unsigned busy;  /* so many of them still fail */
	sem_t done;
	struct coherence_drop drop;
};

static int drop_pages(void *ctx, const struct coherence_drop *drop)
{
	struct rig *rig = ctx;
	(void)drop;
	rig->drops++;
	if (!rig->busy)
		return 0;
	rig->busy--;
	return -EBUSY;
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){0};
	sem_init(&rig->done, 0, 0);
	assert_int_equal(coherence_new(drop_pages, rig, &rig->c), 0);
	rig->direct = coherence_open(rig->c, 7, true, true);
	rig->cached = coherence_open(rig->c, 7, false, false);
}

static void rig_fini(struct rig *rig)
{
	coherence_free(rig->c, NULL, NULL);
}

static bool must_drop(struct rig *rig, uint64_t offset, uint32_t len)
{
	return coherence_write_ended(rig->direct, offset, len, &rig->drop);
}

/* It may have been answered before the write was even received. */
static void a_write_where_the_cache_was_read_must_drop_the_region(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_read_begins(rig.cached, REGION + 3 * PAGE, PAGE);
	assert_true(must_drop(&rig, REGION, PAGE));
	assert_int_equal(rig.drop.ino, 7);
	assert_int_equal(rig.drop.offset_bytes, REGION);
	assert_int_equal(rig.drop.len_bytes, REGION);
	rig_fini(&rig);
}

static void a_write_across_two_regions_drops_both(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_read_begins(rig.cached, 2 * REGION, PAGE);
	assert_true(must_drop(&rig, 2 * REGION - PAGE, 2 * PAGE));
	assert_int_equal(rig.drop.offset_bytes, REGION);
	assert_int_equal(rig.drop.len_bytes, 2 * REGION);
	rig_fini(&rig);
}

static void writes_elsewhere_and_to_other_files_need_not_drop(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	struct coherence_file *other = coherence_open(rig.c, 8, true, false);
	coherence_read_begins(other, 0, PAGE);
	coherence_read_begins(rig.cached, REGION, PAGE);
	assert_false(must_drop(&rig, REGION - PAGE, PAGE));
	assert_false(must_drop(&rig, 2 * REGION, PAGE));
	rig_fini(&rig);
}

static void reads_without_a_direct_open_leave_no_mark(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_release(rig.c, rig.direct);
	coherence_read_begins(rig.cached, 0, PAGE);
	rig.direct = coherence_open(rig.c, 7, true, true);
	assert_false(must_drop(&rig, 0, PAGE));
	rig_fini(&rig);
}

static void a_direct_write_by_an_ordinary_open_always_drops(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_true(coherence_write_ended(rig.cached, 0, PAGE, &rig.drop));
	rig_fini(&rig);
}

static void beyond_what_can_be_marked_every_write_drops(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_read_begins(rig.cached, UINT64_C(1) << 60, PAGE);
	assert_true(must_drop(&rig, 0, PAGE));
	rig_fini(&rig);
}

static void drop_done(struct coherence_drop *drop)
{
	struct rig *rig = container_of(drop, struct rig, drop);
	sem_post(&rig->done);
}

static void drop_now(struct rig *rig)
{
	rig->drop.done = drop_done;
	coherence_drop(rig->c, &rig->drop);
	sem_wait(&rig->done);
}

static void a_drop_takes_the_mark_away(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_read_begins(rig.cached, 0, PAGE);
	assert_true(must_drop(&rig, 0, PAGE));
	drop_now(&rig);
	assert_false(must_drop(&rig, 0, PAGE));
	rig_fini(&rig);
}

static void a_read_since_the_drop_began_keeps_the_mark(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_read_begins(rig.cached, 0, PAGE);
	assert_true(must_drop(&rig, 0, PAGE));
	coherence_read_begins(rig.cached, 0, PAGE);
	drop_now(&rig);
	assert_true(must_drop(&rig, 0, PAGE));
	rig_fini(&rig);
}

static void a_drop_that_failed_keeps_the_mark(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	rig.busy = 1000;
	coherence_read_begins(rig.cached, 0, PAGE);
	assert_true(must_drop(&rig, 0, PAGE));
	drop_now(&rig);
	assert_true(must_drop(&rig, 0, PAGE));
	rig_fini(&rig);
}

static void pages_that_are_dirtied_meanwhile_are_dropped_in_another_try(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	rig.busy = 2;
	rig.drop = (struct coherence_drop){.ino = 7, .done = drop_done};
	coherence_drop(rig.c, &rig.drop);
	sem_wait(&rig.done);
	assert_int_equal(rig.drops, 3);
	assert_int_equal(coherence_drop_count(rig.c), 1);
	rig_fini(&rig);
}

static void requested_drops_are_done_before_the_end(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	rig.drop = (struct coherence_drop){.ino = 7, .done = drop_done};
	coherence_drop(rig.c, &rig.drop);
	rig_fini(&rig);
	assert_int_equal(sem_trywait(&rig.done), 0);
}

static void only_files_open_for_writing_may_be_dirty(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_true(coherence_may_be_dirty(rig.c, 7));
	coherence_release(rig.c, rig.direct);
	assert_false(coherence_may_be_dirty(rig.c, 7));
	assert_false(coherence_may_be_dirty(rig.c, 8));
	rig_fini(&rig);
}

static void stale_times_are_taken_once_and_can_be_left(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_false(coherence_take_times(rig.c, 7));
	coherence_set_times_stale(rig.direct);
	assert_true(coherence_take_times(rig.c, 7));
	assert_false(coherence_take_times(rig.c, 7));
	coherence_leave_times(rig.c, 7);
	assert_true(coherence_take_times(rig.c, 7));
	assert_false(coherence_take_times(rig.c, 8));
	rig_fini(&rig);
}

static void times_are_unsure_while_they_are_stale_or_somebody_writes_around_the_cache(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_false(coherence_times_unsure(rig.c, 7));
	coherence_set_times_stale(rig.cached);
	assert_true(coherence_times_unsure(rig.c, 7));
	assert_true(coherence_take_times(rig.c, 7));
	assert_false(coherence_times_unsure(rig.c, 7));
	coherence_set_around_cache(rig.c, rig.direct);
	assert_true(coherence_times_unsure(rig.c, 7));
	coherence_release(rig.c, rig.direct);
	assert_false(coherence_times_unsure(rig.c, 7));
	rig_fini(&rig);
}

static void stale_times_are_taken_by_the_last_that_has_the_file_open(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	coherence_set_times_stale(rig.direct);
	assert_false(coherence_take_stale_times(rig.c, rig.cached));
	assert_false(coherence_release(rig.c, rig.direct));
	assert_true(coherence_take_stale_times(rig.c, rig.cached));
	assert_false(coherence_take_stale_times(rig.c, rig.cached));
	coherence_set_times_stale(rig.cached);
	assert_true(coherence_release(rig.c, rig.cached));
	rig_fini(&rig);
}

static void privileges_are_looked_for_until_none_were_found(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_true(coherence_may_have_privs(rig.direct));
	coherence_set_privs(rig.c, 7, false);
	assert_false(coherence_may_have_privs(rig.direct));
	coherence_set_privs(rig.c, 7, true);
	assert_true(coherence_may_have_privs(rig.cached));
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_where_the_cache_was_read_must_drop_the_region),
		cmocka_unit_test(a_write_across_two_regions_drops_both),
		cmocka_unit_test(writes_elsewhere_and_to_other_files_need_not_drop),
		cmocka_unit_test(reads_without_a_direct_open_leave_no_mark),
		cmocka_unit_test(a_direct_write_by_an_ordinary_open_always_drops),
		cmocka_unit_test(beyond_what_can_be_marked_every_write_drops),
		cmocka_unit_test(a_drop_takes_the_mark_away),
		cmocka_unit_test(a_read_since_the_drop_began_keeps_the_mark),
		cmocka_unit_test(a_drop_that_failed_keeps_the_mark),
		cmocka_unit_test(pages_that_are_dirtied_meanwhile_are_dropped_in_another_try),
		cmocka_unit_test(requested_drops_are_done_before_the_end),
		cmocka_unit_test(only_files_open_for_writing_may_be_dirty),
		cmocka_unit_test(stale_times_are_taken_once_and_can_be_left),
		cmocka_unit_test(
			times_are_unsure_while_they_are_stale_or_somebody_writes_around_the_cache),
		cmocka_unit_test(stale_times_are_taken_by_the_last_that_has_the_file_open),
		cmocka_unit_test(privileges_are_looked_for_until_none_were_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
