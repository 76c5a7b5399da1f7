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
	job->seen(job, job->buffer->memory, 0);
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

static void rig_start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	for (unsigned i = 0; i < LEN; i++)
		rig->bounce[i] = rig->live.memory[i] = (uint8_t)(i * 7 + i / 256);
	struct event_writer writer = {.pid = 4711, .tid = 4712, .comm = "writer"};
	struct source_live_config config = {
		.buffer = &rig->live, .bounce = rig->bounce, .len_bytes = LEN, .writer = &writer};
	rig->src = source_live_new(&config);
	assert_non_null(rig->src);
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
