/* SPDX-License-Identifier: MIT */
/* Coherence: which direct writes have pages dropped, and what is known of open files. */
#include "fuse/coherence.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define PAGE 4096u

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

static void a_write_overlapped_by_a_read_must_drop_whichever_began_first(void **unused)
{
	(void)unused;
	struct rig rig;
	struct coherence_io read, write;
	rig_init(&rig);
	coherence_begin(rig.cached, &read, false, 0, 2 * PAGE);
	coherence_begin(rig.direct, &write, true, PAGE, PAGE);
	assert_true(coherence_end(rig.direct, &write));
	coherence_begin(rig.direct, &write, true, PAGE, PAGE);
	assert_false(coherence_end(rig.cached, &read));
	assert_true(coherence_end(rig.direct, &write));
	rig_fini(&rig);
}

static void a_read_that_ended_before_the_write_began_does_not_count(void **unused)
{
	(void)unused;
	struct rig rig;
	struct coherence_io read, write;
	rig_init(&rig);
	coherence_begin(rig.cached, &read, false, 0, PAGE);
	coherence_end(rig.cached, &read);
	coherence_begin(rig.direct, &write, true, 0, PAGE);
	assert_false(coherence_end(rig.direct, &write));
	rig_fini(&rig);
}

/* Half a page each: the page that they share is what the kernel has cached. */
static void transfers_of_one_page_overlap_though_their_bytes_do_not(void **unused)
{
	(void)unused;
	struct rig rig;
	struct coherence_io read, write;
	rig_init(&rig);
	coherence_begin(rig.direct, &write, true, 0, 512);
	coherence_begin(rig.cached, &read, false, 3584, 512);
	coherence_end(rig.cached, &read);
	assert_true(coherence_end(rig.direct, &write));
	rig_fini(&rig);
}

static void neighbours_other_files_and_other_writes_do_not_overlap(void **unused)
{
	(void)unused;
	struct rig rig;
	struct coherence_io read, elsewhere, write, second;
	rig_init(&rig);
	struct coherence_file *other = coherence_open(rig.c, 8, false, false);
	coherence_begin(rig.direct, &write, true, PAGE, PAGE);
	coherence_begin(rig.cached, &read, false, 0, PAGE);
	coherence_begin(other, &elsewhere, false, PAGE, PAGE);
	coherence_begin(rig.direct, &second, true, PAGE, PAGE);
	assert_false(coherence_end(rig.direct, &write));
	assert_false(coherence_end(rig.direct, &second));
	coherence_end(rig.cached, &read);
	coherence_end(other, &elsewhere);
	rig_fini(&rig);
}

static void drop_done(struct coherence_drop *drop)
{
	struct rig *rig = container_of(drop, struct rig, drop);
	sem_post(&rig->done);
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
		cmocka_unit_test(a_write_overlapped_by_a_read_must_drop_whichever_began_first),
		cmocka_unit_test(a_read_that_ended_before_the_write_began_does_not_count),
		cmocka_unit_test(transfers_of_one_page_overlap_though_their_bytes_do_not),
		cmocka_unit_test(neighbours_other_files_and_other_writes_do_not_overlap),
		cmocka_unit_test(pages_that_are_dirtied_meanwhile_are_dropped_in_another_try),
		cmocka_unit_test(requested_drops_are_done_before_the_end),
		cmocka_unit_test(only_files_open_for_writing_may_be_dirty),
		cmocka_unit_test(stale_times_are_taken_by_the_last_that_has_the_file_open),
		cmocka_unit_test(privileges_are_looked_for_until_none_were_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
