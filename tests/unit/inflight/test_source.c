/* SPDX-License-Identifier: MIT */
/* inflight/source: I2, I3 and I5, over a buffer whose bytes and failures the test decides. */
#include "inflight/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "inflight/live.h"

#define LEN 8192u

/* Stands for live.c and sampler.c: memory of "another process" that is an array here. */
struct live_buffer {
	uint8_t memory[LEN];
	int fail_with; /* 0: readable */
	unsigned reads, frees;
};

int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes)
{
	buffer->reads++;
	if (buffer->fail_with) {
		memset(out, 0xee, len_bytes / 2); /* a part had been copied */
		return buffer->fail_with;
	}
	memcpy(out, buffer->memory + offset_bytes, len_bytes);
	return 0;
}

void sampler_post(struct sampler *s, struct sampler_job *job)
{
	int err = job->buffer->fail_with;
	job->buffer->reads++;
	job->seen(job, err ? NULL : job->buffer->memory + job->offset_bytes, err);
}

void live_buffer_free(struct live_buffer *buffer)
{
	buffer->frees++;
}

struct rig {
	struct live_buffer live;
	uint8_t bounce[LEN], scratch[LEN];
	struct source *src;
};

static void rig_start_as(struct rig *rig, bool watch_only, bool keep_guarded)
{
	memset(rig, 0, sizeof(*rig));
	for (unsigned i = 0; i < LEN; i++)
		rig->bounce[i] = rig->live.memory[i] = (uint8_t)(i * 7 + i / 256);
	struct event_writer writer = {.pid = 4711, .tid = 4712, .comm = "writer"};
	struct source_live_config config = {.buffer = &rig->live,
		.bounce = rig->bounce,
		.len_bytes = LEN,
		.writer = &writer,
		.watch_only = watch_only,
		.keep_guarded = keep_guarded};
	rig->src = source_live_new(&config);
	assert_non_null(rig->src);
}

static void rig_start(struct rig *rig)
{
	rig_start_as(rig, false, false);
}

struct looked {
	struct source_check check;
	unsigned times;
	int err;
};

static void look_is_over(struct source_check *check, int err)
{
	struct looked *looked = container_of(check, struct looked, check);
	looked->times++;
	looked->err = err;
}

/* The look before completion; what it ends with must be @err. Does the memory differ? */
static bool rig_check(struct rig *rig, enum source_check_kind kind, int err)
{
	struct looked looked = {.check = {.src = rig->src, .kind = kind, .done = look_is_over}};
	source_check(&looked.check);
	assert_int_equal(looked.times, 1);
	assert_int_equal(looked.err, err);
	return looked.check.differs;
}

/* What the pipeline gets at @point for a part of the write. */
static const uint8_t *rig_sample(
	struct rig *rig, enum sample_point point, uint32_t offset, uint32_t len)
{
	memset(rig->scratch, 0, sizeof(rig->scratch));
	return source_sample(rig->src, point, offset, len, rig->scratch);
}

static void a_bounce_source_gives_the_copy_itself_at_every_point(void **unused)
{
	(void)unused;
	uint8_t data[64] = {1, 2, 3};
	struct source src;
	source_init_bounce(&src, data, sizeof(data));
	assert_true(src.stable);
	assert_ptr_equal(source_sample(&src, SAMPLE_GUARD, 0, 64, NULL), data);
	assert_ptr_equal(source_sample(&src, SAMPLE_PARITY, 16, 8, NULL), data + 16);
	assert_ptr_equal(source_sample(&src, SAMPLE_DATA, 63, 1, NULL), data + 63);
	assert_false(source_mutated(&src));
	assert_int_equal(src.found.samples, 0);
	source_free(&src);
}

static void an_unchanged_buffer_is_no_mutation(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	assert_false(rig.src->stable);
	for (int point = SAMPLE_GUARD; point <= SAMPLE_DATA; point++)
		assert_memory_equal(rig_sample(&rig, point, 0, LEN), rig.bounce, LEN);
	assert_false(source_mutated(rig.src));
	assert_int_equal(rig.src->found.samples, 3);
	assert_int_equal(rig.src->found.failed, 0);
	assert_int_equal(rig.src->found.changed_bytes, 0);
	source_free(rig.src);
}

static void every_sample_shows_the_memory_of_its_own_moment(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	assert_memory_equal(rig_sample(&rig, SAMPLE_GUARD, 0, LEN), rig.bounce, LEN);
	rig.live.memory[5000] ^= 0xff;
	assert_memory_equal(rig_sample(&rig, SAMPLE_DATA, 0, LEN), rig.live.memory, LEN);
	rig.live.memory[300] ^= 0x01;
	assert_memory_equal(rig_sample(&rig, SAMPLE_DATA, 0, LEN), rig.live.memory, LEN);
	source_free(rig.src);
}

static void findings_name_the_lowest_byte_and_the_most_bytes_of_one_pass(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	rig.live.memory[4096] ^= 1;
	rig.live.memory[4100] ^= 1;
	rig.live.memory[8191] ^= 1;
	rig_sample(&rig, SAMPLE_PARITY, 0, 4096);
	assert_false(source_mutated(rig.src));
	rig_sample(&rig, SAMPLE_PARITY, 4096, 4096);
	assert_int_equal(rig.src->found.first_changed, 4096);
	assert_int_equal(rig.src->found.changed_bytes, 3);
	rig.live.memory[17] ^= 1; /* seen at the other point only */
	rig_sample(&rig, SAMPLE_DATA, 0, 4096);
	assert_int_equal(rig.src->found.first_changed, 17);
	assert_int_equal(rig.src->found.changed_bytes, 3);
	rig_sample(&rig, SAMPLE_DATA, 4096, 4096);
	assert_int_equal(rig.src->found.changed_bytes, 4);
	source_free(rig.src);
}

static void a_byte_that_two_members_were_sent_counts_once(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	rig.live.memory[10] ^= 1;
	rig.live.memory[4106] ^= 1;
	for (uint32_t offset = 0; offset < LEN; offset += 4096) { /* block by block */
		rig_sample(&rig, SAMPLE_DATA, offset, 4096);
		rig_sample(&rig, SAMPLE_DATA, offset, 4096);
	}
	assert_int_equal(rig.src->found.changed_bytes, 2);
	for (uint32_t offset = 0; offset < LEN; offset += 4096) /* and pass by pass */
		rig_sample(&rig, SAMPLE_DATA, offset, 4096);
	assert_int_equal(rig.src->found.changed_bytes, 2);
	source_free(rig.src);
}

static void after_one_failed_reading_the_rest_of_the_write_is_the_bounce_copy(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	memset(rig.live.memory, 0x55, LEN);
	assert_memory_equal(rig_sample(&rig, SAMPLE_GUARD, 0, 4096), rig.live.memory, 4096);
	rig.live.fail_with = -EFAULT;
	assert_memory_equal(rig_sample(&rig, SAMPLE_GUARD, 4096, 4096), rig.bounce + 4096, 4096);
	rig.live.fail_with = 0;
	unsigned reads = rig.live.reads;
	assert_memory_equal(rig_sample(&rig, SAMPLE_DATA, 0, LEN), rig.bounce, LEN);
	assert_int_equal(rig.live.reads, reads);
	assert_int_equal(rig.src->found.samples, 1);
	assert_int_equal(rig.src->found.failed, 2);
	source_free(rig.src);
}

static void what_could_never_be_read_is_no_mutation_but_unobserved(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	rig.live.fail_with = -ESRCH;
	memset(rig.live.memory, 0x55, LEN);
	assert_memory_equal(rig_sample(&rig, SAMPLE_DATA, 0, LEN), rig.bounce, LEN);
	assert_false(source_mutated(rig.src));
	assert_int_equal(rig.src->found.samples, 0);
	assert_int_equal(rig.src->found.failed, 1);
	source_free(rig.src);
}

static void a_live_source_keeps_its_writer_and_frees_its_buffer_once(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	assert_int_equal(rig.src->writer.tid, 4712);
	assert_string_equal(rig.src->writer.comm, "writer");
	assert_int_equal(rig.live.frees, 0);
	source_free(rig.src);
	assert_int_equal(rig.live.frees, 1);
	source_free(NULL);
}

static void a_watched_write_is_the_copy_and_its_memory_is_looked_at_once(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, true, false);
	memset(rig.live.memory + 4000, 0x55, 200);
	assert_true(rig.src->stable);
	assert_ptr_equal(rig_sample(&rig, SAMPLE_GUARD, 0, LEN), rig.bounce);
	assert_int_equal(rig.live.reads, 0);
	assert_false(source_mutated(rig.src));
	assert_true(rig_check(&rig, SOURCE_CHECK_COPY, 0));
	assert_int_equal(rig.live.reads, 1);
	assert_int_equal(rig.src->found.samples, 1);
	assert_int_equal(rig.src->found.first_changed, rig.bounce[4000] == 0x55 ? 4001 : 4000);
	assert_in_range(rig.src->found.changed_bytes, 195, 200);
	source_free(rig.src);
}

static void a_watched_write_of_a_still_buffer_differs_in_nothing(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, true, false);
	assert_false(rig_check(&rig, SOURCE_CHECK_COPY, 0));
	assert_false(source_mutated(rig.src));
	assert_int_equal(rig.src->found.changed_bytes, 0);
	source_free(rig.src);
}

static void a_look_that_fails_finds_nothing_and_is_counted(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, true, false);
	memset(rig.live.memory, 0x55, LEN);
	rig.live.fail_with = -ETIME;
	assert_false(rig_check(&rig, SOURCE_CHECK_COPY, -ETIME));
	assert_int_equal(rig.src->found.failed, 1);
	assert_int_equal(rig.src->found.samples, 0);
	assert_false(source_mutated(rig.src));
	source_free(rig.src);
}

static void after_a_sample_that_failed_nobody_looks_again_before_completion(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig.live.fail_with = -ETIME;
	rig_sample(&rig, SAMPLE_GUARD, 0, LEN);
	rig.live.fail_with = 0;
	memset(rig.live.memory, 0x55, LEN);
	assert_false(rig_check(&rig, SOURCE_CHECK_GUARD, -ETIME));
	assert_int_equal(rig.live.reads, 1);
	source_free(rig.src);
}

static void the_guard_is_compared_with_what_it_was_made_of_not_with_the_copy(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig.live.memory[100] ^= 1; /* before the guard is made: the guard is of these bytes */
	rig_sample(&rig, SAMPLE_GUARD, 0, 4096);
	rig_sample(&rig, SAMPLE_GUARD, 4096, 4096);
	rig_sample(&rig, SAMPLE_DATA, 0, LEN);
	assert_false(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	assert_true(source_mutated(rig.src)); /* it did change, and harmed nothing */
	rig.live.memory[100] ^= 1;            /* as the copy again, but not as the guard */
	assert_true(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	source_free(rig.src);
}

static void a_guard_that_is_made_once_more_is_made_of_the_later_bytes(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig_sample(&rig, SAMPLE_GUARD, 0, LEN);
	rig.live.memory[5000] ^= 1;
	rig_sample(&rig, SAMPLE_GUARD, 4096, 4096);
	assert_false(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	source_free(rig.src);
}

static void without_guards_the_first_sample_of_each_byte_counts(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	const uint32_t cuts[] = {0, 1, 63, 64, 65, 1000, 4097, LEN}; /* of no alignment */
	for (unsigned i = 0; i + 1 < sizeof(cuts) / sizeof(*cuts); i++)
		rig_sample(&rig, SAMPLE_DATA, cuts[i], cuts[i + 1] - cuts[i]);
	for (uint32_t i = 0; i < LEN; i += 777) {
		rig.live.memory[i] ^= 1;
		rig_sample(&rig, SAMPLE_DATA, 0, LEN); /* the second mirror's */
		assert_true(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
		rig.live.memory[i] ^= 1;
		assert_false(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	}
	source_free(rig.src);
}

static void samples_that_overlap_keep_only_what_is_new_in_them(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig_sample(&rig, SAMPLE_PARITY, 10, 20);
	rig.live.memory[15] ^= 1; /* sampled before: the old byte counts */
	rig.live.memory[35] ^= 1; /* not sampled before: this one counts */
	rig_sample(&rig, SAMPLE_DATA, 0, 64);
	assert_true(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	rig.live.memory[15] ^= 1;
	assert_false(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	source_free(rig.src);
}

static void note_fetched(struct source_fetch *fetch)
{
	fetch->dest = NULL; /* so that it is seen to have run */
}

static enum source_verdict rig_confirm(struct rig *rig, uint32_t offset, uint32_t len)
{
	struct source_fetch fetch = {.offset_bytes = offset,
		.len_bytes = len,
		.dest = rig->scratch,
		.done = note_fetched};
	rig->src->ops->fetch(rig->src, &fetch);
	assert_null(fetch.dest);
	fetch.dest = rig->scratch;
	return rig->src->ops->confirm(rig->src, &fetch);
}

static void a_part_is_confirmed_by_what_its_own_guard_was_made_of(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig.live.memory[100] ^= 1;
	rig_sample(&rig, SAMPLE_GUARD, 0, LEN);
	rig.live.memory[5000] ^= 1;
	assert_int_equal(rig_confirm(&rig, 0, 4096), SOURCE_SAME);
	assert_false(rig.src->found.unlike_guard);
	assert_int_equal(rig_confirm(&rig, 4096, 4096), SOURCE_CHANGED);
	assert_true(rig.src->found.unlike_guard);
	assert_int_equal(rig.src->found.failed, 0);
	source_free(rig.src);
}

static void what_cannot_be_looked_at_is_not_confirmed(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig_sample(&rig, SAMPLE_GUARD, 0, LEN);
	rig.live.fail_with = -ETIME;
	assert_int_equal(rig_confirm(&rig, 0, LEN), SOURCE_UNSEEN);
	assert_false(rig.src->found.unlike_guard);
	assert_int_equal(rig.src->found.failed, 1);
	source_free(rig.src);
}

static void only_sources_that_keep_their_guards_confirm(void **unused)
{
	(void)unused;
	struct rig rig;
	for (unsigned watch_only = 0; watch_only < 2; watch_only++) {
		rig_start_as(&rig, watch_only, false);
		assert_null(rig.src->ops->confirm);
		source_free(rig.src);
	}
}

static void bytes_that_were_never_sampled_are_compared_with_the_copy(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start_as(&rig, false, true);
	rig_sample(&rig, SAMPLE_GUARD, 0, 4096);
	rig.live.memory[5000] ^= 1;
	assert_true(rig_check(&rig, SOURCE_CHECK_GUARD, 0));
	assert_int_equal(rig.src->found.first_changed, 5000);
	source_free(rig.src);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bounce_source_gives_the_copy_itself_at_every_point),
		cmocka_unit_test(an_unchanged_buffer_is_no_mutation),
		cmocka_unit_test(every_sample_shows_the_memory_of_its_own_moment),
		cmocka_unit_test(findings_name_the_lowest_byte_and_the_most_bytes_of_one_pass),
		cmocka_unit_test(a_byte_that_two_members_were_sent_counts_once),
		cmocka_unit_test(after_one_failed_reading_the_rest_of_the_write_is_the_bounce_copy),
		cmocka_unit_test(what_could_never_be_read_is_no_mutation_but_unobserved),
		cmocka_unit_test(a_live_source_keeps_its_writer_and_frees_its_buffer_once),
		cmocka_unit_test(a_watched_write_is_the_copy_and_its_memory_is_looked_at_once),
		cmocka_unit_test(a_watched_write_of_a_still_buffer_differs_in_nothing),
		cmocka_unit_test(a_look_that_fails_finds_nothing_and_is_counted),
		cmocka_unit_test(after_a_sample_that_failed_nobody_looks_again_before_completion),
		cmocka_unit_test(the_guard_is_compared_with_what_it_was_made_of_not_with_the_copy),
		cmocka_unit_test(a_guard_that_is_made_once_more_is_made_of_the_later_bytes),
		cmocka_unit_test(without_guards_the_first_sample_of_each_byte_counts),
		cmocka_unit_test(samples_that_overlap_keep_only_what_is_new_in_them),
		cmocka_unit_test(bytes_that_were_never_sampled_are_compared_with_the_copy),
		cmocka_unit_test(a_part_is_confirmed_by_what_its_own_guard_was_made_of),
		cmocka_unit_test(what_cannot_be_looked_at_is_not_confirmed),
		cmocka_unit_test(only_sources_that_keep_their_guards_confirm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
