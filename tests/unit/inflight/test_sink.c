/* SPDX-License-Identifier: MIT */
/* inflight/sink: I2 and what is found, over memory whose failures the test decides. */
#include "inflight/sink.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "inflight/live.h"

#define LEN 8192u

/* Stands for live.c and sampler.c. */
struct live_buffer {
	uint8_t memory[LEN];
	int fail_with; /* 0: accessible */
	unsigned accesses, frees;
};

void sampler_post(struct sampler *s, struct sampler_job *job)
{
	struct live_buffer *buffer = job->buffer;
	uint8_t *at = buffer->memory + job->offset_bytes;
	buffer->accesses++;
	if (!buffer->fail_with && job->data)
		memcpy(at, job->data, job->len_bytes);
	job->seen(job, buffer->fail_with ? NULL : at, buffer->fail_with);
}

/* For writes. */
int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes)
{
	return -ENOSYS;
}

void live_buffer_free(struct live_buffer *buffer)
{
	buffer->frees++;
}

static struct sink *sink_over(struct live_buffer *memory)
{
	struct event_writer reader = {.pid = 4711, .tid = 4712, .comm = "reader"};
	memset(memory, 0, sizeof(*memory));
	struct sink *sink = sink_new(NULL, memory, LEN, &reader);
	assert_non_null(sink);
	return sink;
}

static unsigned moves_done;

static void move_is_done(struct sink_move *move)
{
	moves_done++;
}

/* Begin, wait, accept. */
static bool place(struct sink *sink, uint32_t offset_bytes, void *data, uint32_t len_bytes)
{
	struct sink_move move = {offset_bytes, len_bytes, data, move_is_done};
	moves_done = 0;
	sink_place(sink, &move);
	assert_int_equal(moves_done, 1);
	return sink_accept_placed(sink, &move);
}

static bool view(struct sink *sink, uint32_t offset_bytes, void *out, uint32_t len_bytes)
{
	struct sink_move move = {offset_bytes, len_bytes, out, move_is_done};
	moves_done = 0;
	sink_view(sink, &move);
	assert_int_equal(moves_done, 1);
	return sink_accept_viewed(sink, &move);
}

static void what_is_placed_is_in_the_readers_memory_and_seen_there(void **unused)
{
	(void)unused;
	struct live_buffer memory;
	struct sink *sink = sink_over(&memory);
	uint8_t block[4096], seen[4096];
	memset(block, 'a', sizeof(block));
	assert_true(place(sink, 4096, block, sizeof(block)));
	assert_memory_equal(memory.memory + 4096, block, sizeof(block));
	memory.memory[5000] = 'b';
	assert_true(view(sink, 4096, seen, sizeof(seen)));
	assert_int_equal(seen[5000 - 4096], 'b');
	assert_int_equal(sink->found.views, 1);
	assert_string_equal(sink->reader.comm, "reader");
	sink_free(sink);
	assert_int_equal(memory.frees, 1);
	sink_free(NULL);
}

static void a_sink_that_failed_to_be_placed_into_is_not_used_again(void **unused)
{
	(void)unused;
	struct live_buffer memory;
	struct sink *sink = sink_over(&memory);
	uint8_t block[512] = {0}, seen[512] = {7};
	memory.fail_with = -ETIME;
	assert_false(place(sink, 0, block, sizeof(block)));
	memory.fail_with = 0;
	assert_false(place(sink, 0, block, sizeof(block)));
	assert_false(view(sink, 0, seen, sizeof(seen)));
	assert_int_equal(seen[0], 7);
	assert_int_equal(memory.accesses, 1);
	assert_true(sink->found.failed);
	assert_int_equal(sink->found.views, 0);
	sink_free(sink);
}

static void a_sink_that_failed_to_be_seen_is_not_used_again(void **unused)
{
	(void)unused;
	struct live_buffer memory;
	struct sink *sink = sink_over(&memory);
	uint8_t block[512] = {0}, seen[512] = {7};
	assert_true(place(sink, 0, block, sizeof(block)));
	memory.fail_with = -EFAULT;
	assert_false(view(sink, 0, seen, sizeof(seen)));
	memory.fail_with = 0;
	assert_false(place(sink, 0, block, sizeof(block)));
	assert_int_equal(seen[0], 7);
	assert_int_equal(memory.accesses, 2);
	sink_free(sink);
}

static void what_was_viewed_before_another_part_failed_is_still_to_be_checked(void **unused)
{
	(void)unused;
	struct live_buffer memory;
	struct sink *sink = sink_over(&memory);
	uint8_t one[512], two[512];
	struct sink_move first = {0, 512, one, move_is_done},
			 second = {512, 512, two, move_is_done};
	sink_view(sink, &first); /* both are under way at once */
	memory.fail_with = -ETIME;
	sink_view(sink, &second);
	assert_false(sink_accept_viewed(sink, &second));
	assert_true(sink_accept_viewed(sink, &first));
	assert_true(sink->found.failed);
	sink_free(sink);
}

static void the_lowest_changed_block_is_remembered_and_all_are_counted(void **unused)
{
	(void)unused;
	struct live_buffer memory;
	struct sink *sink = sink_over(&memory);
	assert_int_equal(sink->found.first_changed, UINT32_MAX);
	sink_note_changed(sink, 4096);
	sink_note_changed(sink, 0);
	sink_note_changed(sink, 4096);
	assert_int_equal(sink->found.first_changed, 0);
	assert_int_equal(sink->found.changed_blocks, 3);
	sink_free(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_placed_is_in_the_readers_memory_and_seen_there),
		cmocka_unit_test(a_sink_that_failed_to_be_placed_into_is_not_used_again),
		cmocka_unit_test(a_sink_that_failed_to_be_seen_is_not_used_again),
		cmocka_unit_test(what_was_viewed_before_another_part_failed_is_still_to_be_checked),
		cmocka_unit_test(the_lowest_changed_block_is_remembered_and_all_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
