/* SPDX-License-Identifier: MIT */
/* Events: nobody who emits waits, nothing is lost in silence, bytes of the text keep their
 * place. */
#include "fuse/events.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "report/json_read.h"

#define RING 4096u

static void emit(struct front_events *e, uint64_t offset)
{
	struct event event = event_new(EVENT_MUTATION);
	event.time_ns = UINT64_C(1700000000000000007);
	event.file_offset_bytes = offset;
	event.len_bytes = 4096;
	event.first_changed = 12;
	event.changed_bytes = 8;
	event.ino = 42;
	event.writer = (struct event_writer){
		.pid = 1 << 22, .tid = 1 << 22, .comm = "writer", .call = "pwrite64"};
	event_emit(front_events_sink(e), &event);
}

static char *text_of(struct front_events *e)
{
	size_t size = front_events_size(e);
	char *text = calloc(1, size + 1);
	assert_int_equal(front_events_read(e, 0, text, size), size);
	return text;
}

static struct json_value *parse(const char *line, size_t len)
{
	struct json_value *v = NULL;
	assert_int_equal(json_parse(line, len, &v, NULL), 0);
	return v;
}

static void an_event_becomes_one_line(void **unused)
{
	(void)unused;
	struct front_events *e;
	assert_int_equal(front_events_new(&e), 0);
	emit(e, 8192);
	assert_int_equal(events_start(e, NULL, NULL, NULL, NULL), 0);
	events_stop(e);
	char *text = text_of(e);
	char *end = strchr(text, '\n');
	assert_non_null(end);
	assert_string_equal(end, "\n");
	struct json_value *v = parse(text, (size_t)(end - text));
	assert_string_equal(json_get_string(v, "time", ""), "2023-11-14T22:13:20.000000007Z");
	assert_string_equal(json_get_string(v, "event", ""), "mutation");
	assert_string_equal(json_get_string(v, "comm", ""), "writer");
	assert_string_equal(json_get_string(v, "call", ""), "pwrite64");
	assert_int_equal(json_get_u64(v, "offset", 0), 8192);
	assert_int_equal(json_get_u64(v, "first_changed", 0), 12);
	json_value_free(v);
	free(text);
	front_events_free(e);
}

static void what_finds_the_ring_full_is_counted_and_said(void **unused)
{
	(void)unused;
	struct front_events *e;
	assert_int_equal(front_events_new(&e), 0);
	for (unsigned i = 0; i < RING + 5; i++)
		emit(e, i);
	struct front_event_totals t = front_events_totals(e);
	assert_int_equal(t.mutations, RING + 5);
	assert_int_equal(t.dropped, 5);
	assert_int_equal(events_start(e, NULL, NULL, NULL, NULL), 0);
	events_stop(e);
	char *text = text_of(e);
	struct json_value *v = parse(text, strcspn(text, "\n"));
	assert_string_equal(json_get_string(v, "event", ""), "dropped");
	assert_int_equal(json_get_u64(v, "count", 0), 5);
	json_value_free(v);
	free(text);
	assert_int_equal(front_events_totals(e).emitted, RING + 1);
	front_events_free(e);
}

static void grown(void *ctx, uint64_t size_bytes)
{
	uint64_t *size = ctx;
	assert_true(size_bytes > *size);
	*size = size_bytes;
}

static void whoever_follows_hears_of_each_growth(void **unused)
{
	(void)unused;
	struct front_events *e;
	uint64_t size = 0;
	assert_int_equal(front_events_new(&e), 0);
	assert_int_equal(events_start(e, NULL, NULL, grown, &size), 0);
	for (unsigned i = 0; i < 100; i++)
		emit(e, i);
	events_stop(e);
	assert_int_equal(size, front_events_size(e));
	assert_int_equal(front_events_totals(e).emitted, 100);
	front_events_free(e);
}

/* More than 32 MiB of lines, in rounds that fit into the ring. */
static void discarded_lines_read_as_empty_ones_and_the_rest_keeps_its_offset(void **unused)
{
	(void)unused;
	struct front_events *e;
	char before[4096], after[4096];
	assert_int_equal(front_events_new(&e), 0);
	uint64_t kept = 0;
	while (front_events_size(e) < (33u << 20)) {
		for (unsigned i = 0; i < RING; i++)
			emit(e, i);
		assert_int_equal(events_start(e, NULL, NULL, NULL, NULL), 0);
		events_stop(e);
		if (!kept && front_events_size(e) > (30u << 20)) {
			kept = front_events_size(e) - sizeof(before);
			front_events_read(e, kept, before, sizeof(before));
		}
	}
	assert_int_equal(front_events_read(e, kept, after, sizeof(after)), sizeof(after));
	assert_memory_equal(before, after, sizeof(after));
	assert_int_equal(front_events_read(e, 0, after, sizeof(after)), sizeof(after));
	for (unsigned i = 0; i < sizeof(after); i++)
		assert_int_equal(after[i], '\n');
	assert_int_equal(front_events_read(e, front_events_size(e), after, 1), 0);
	front_events_free(e);
}

/* ---- who loses by a mutation: a raid5 of 3 members, chunks of one block ---- */

static struct super super;
static const struct geometry geometry = {
	.level = RAID_RAID5, .members = 3, .chunk_blocks = 4, .stripes = 16};
static bool neighbour_is_there;

const struct super *volume_super(const struct volume *v)
{
	(void)v;
	return &super;
}

const struct geometry *volume_geometry(const struct volume *v)
{
	(void)v;
	return &geometry;
}

int fs_path(struct fs *fs, uint64_t ino, char *path, size_t size)
{
	(void)fs;
	snprintf(path, size, "/file-%lu", (unsigned long)ino);
	return 0;
}

/* File 42 has the first chunk of stripe 0: volume blocks 0 to 3. */
int fs_file_extents(struct fs *fs, uint64_t ino,
	bool (*each)(void *ctx, const struct fs_extent *extent), void *ctx)
{
	(void)fs;
	struct fs_extent x = {.ino = ino, .file_block = 0, .volume_block = 0, .blocks = 4};
	each(ctx, &x);
	return 0;
}

/* File 43 has the second: 4 to 7. */
int fs_owners(struct fs *fs, uint64_t volume_block, uint64_t blocks,
	bool (*each)(void *ctx, const struct fs_extent *part), void *ctx)
{
	(void)fs;
	struct fs_extent x = {.ino = volume_block < 4 ? 42 : 43,
		.file_block = volume_block % 4,
		.volume_block = volume_block,
		.blocks = blocks};
	assert_true(volume_block % 4 + blocks <= 4);
	if (x.ino == 42 || neighbour_is_there)
		each(ctx, &x);
	return 0;
}

static struct json_value *mutation_json(int error)
{
	struct event event = event_new(EVENT_MUTATION);
	event.ino = 42;
	event.len_bytes = 2 * 4096; /* blocks 0 and 1 ... */
	event.first_changed = 5000; /* ... of which 1 changed */
	event.error = error;
	size_t len;
	char *line = event_json(&event, (struct fs *)&super, (struct volume *)&super, &len);
	struct json_value *v = parse(line, len);
	free(line);
	return v;
}

static void parity_made_from_other_bytes_hits_whoever_shares_its_rows(void **unused)
{
	(void)unused;
	super = (struct super){.pi = PI_NONE};
	neighbour_is_there = true;
	struct json_value *v = mutation_json(0);
	assert_string_equal(json_get_string(v, "blast", ""), "strangers");
	const struct json_value *list = json_get(v, "strangers");
	assert_int_equal(json_get_u64(list->first, "ino", 0), 43);
	assert_int_equal(json_get_u64(list->first, "blocks", 0), 1);
	assert_null(list->first->next);
	json_value_free(v);
}

static void a_stripe_of_its_own_is_the_writers_loss(void **unused)
{
	(void)unused;
	super = (struct super){.pi = PI_NONE};
	neighbour_is_there = false;
	struct json_value *v = mutation_json(0);
	assert_string_equal(json_get_string(v, "blast", ""), "writer");
	json_value_free(v);
}

static void a_write_that_a_pi_disk_refused_hurts_nobody(void **unused)
{
	(void)unused;
	super = (struct super){.pi = PI_T10, .pi_check = PI_CHECK_DEVICE};
	neighbour_is_there = true;
	struct json_value *v = mutation_json(-EILSEQ);
	assert_string_equal(json_get_string(v, "blast", ""), "nobody");
	assert_string_equal(json_get_string(v, "error", ""), "EILSEQ");
	json_value_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_becomes_one_line),
		cmocka_unit_test(what_finds_the_ring_full_is_counted_and_said),
		cmocka_unit_test(whoever_follows_hears_of_each_growth),
		cmocka_unit_test(discarded_lines_read_as_empty_ones_and_the_rest_keeps_its_offset),
		cmocka_unit_test(parity_made_from_other_bytes_hits_whoever_shares_its_rows),
		cmocka_unit_test(a_stripe_of_its_own_is_the_writers_loss),
		cmocka_unit_test(a_write_that_a_pi_disk_refused_hurts_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
