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
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "fuse/event_rate.h"
#include "report/json_read.h"

#define RING       4096u
#define NOBODY_PID (1 << 22) /* above every pid */

static void emit_of(struct front_events *e, enum event_kind kind, pid_t pid, uint64_t offset)
{
	struct event event = event_new(kind);
	event.time_ns = UINT64_C(1700000000000000007);
	event.file_offset_bytes = offset;
	event.len_bytes = 4096;
	event.first_changed = 12;
	event.changed_bytes = 8;
	event.ino = 42;
	event.writer =
		(struct event_writer){.pid = pid, .tid = pid, .comm = "writer", .call = "pwrite64"};
	event_emit(front_events_sink(e), &event);
}

static void emit(struct front_events *e, uint64_t offset)
{
	emit_of(e, EVENT_MUTATION, NOBODY_PID, offset);
}

static void run(struct front_events *e, const struct events_config *config)
{
	assert_int_equal(events_start(e, config), 0);
	events_stop(e);
}

static const struct events_config plain;

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
	run(e, &plain);
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
		emit_of(e, EVENT_REPAIRED, NOBODY_PID, i);
	struct front_event_totals t = front_events_totals(e);
	assert_int_equal(t.repaired, RING + 5);
	assert_int_equal(t.dropped, 5);
	run(e, &plain);
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
	const struct events_config config = {.rate = 100, .grown = grown, .ctx = &size};
	assert_int_equal(events_start(e, &config), 0);
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
			emit_of(e, EVENT_REPAIRED, NOBODY_PID, i);
		run(e, &plain);
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
static struct geometry geometry = {
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
	for (uint64_t end = volume_block + blocks; volume_block < end && volume_block < 8;) {
		uint64_t part_end = volume_block < 4 ? 4 : 8;
		struct fs_extent x = {.ino = volume_block < 4 ? 42 : 43,
			.file_block = volume_block % 4,
			.volume_block = volume_block,
			.blocks = (part_end < end ? part_end : end) - volume_block};
		if ((x.ino == 42 || neighbour_is_there) && !each(ctx, &x))
			break;
		volume_block = part_end;
	}
	return 0;
}

/* Of blocks 0 and 1, block 1 changed. */
static struct json_value *mutation_json(const char *policy, const char *what, int error)
{
	const struct events_world world = {(struct fs *)&super, (struct volume *)&super, NULL};
	struct event event = event_new(EVENT_MUTATION);
	event.ino = 42;
	event.len_bytes = 2 * 4096;
	event.first_changed = 5000;
	event.error = error;
	event.policy = policy;
	event.what = what;
	size_t len;
	char *line = event_json(&event, &world, &len);
	struct json_value *v = parse(line, len);
	free(line);
	return v;
}

static void parity_made_from_other_bytes_hits_whoever_shares_its_rows(void **unused)
{
	(void)unused;
	geometry.level = RAID_RAID5;
	super = (struct super){.pi = PI_NONE};
	neighbour_is_there = true;
	struct json_value *v = mutation_json("zerocopy", "stored", 0);
	assert_string_equal(json_get_string(v, "blast", ""), "strangers");
	assert_string_equal(json_get_string(v, "policy", ""), "zerocopy");
	assert_string_equal(json_get_string(v, "what", ""), "stored");
	const struct json_value *list = json_get(v, "strangers");
	assert_int_equal(json_get_u64(list->first, "ino", 0), 43);
	assert_int_equal(json_get_u64(list->first, "blocks", 0), 1);
	assert_null(list->first->next);
	json_value_free(v);
}

static void who_loses_by_a_mutation_follows_from_level_pi_policy_and_outcome(void **unused)
{
	(void)unused;
	static const struct {
		enum raid_level level;
		enum pi_type pi;
		enum pi_check check;
		bool neighbour;
		const char *policy, *what;
		int error;
		const char *blast;
	} cases[] = {
		/* Sampled from live memory, and stored. */
		{RAID_RAID5, PI_NONE, 0, true, "zerocopy", "stored", 0, "strangers"},
		{RAID_RAID5, PI_NONE, 0, false, "zerocopy", "stored", 0, "writer"},
		{RAID_RAID5, PI_T10, PI_CHECK_NONE, true, "zerocopy", "stored", 0, "strangers"},
		{RAID_RAID5, PI_T10, PI_CHECK_DEVICE, true, "zerocopy", "stored", 0, "writer"},
		{RAID_RAID1, PI_NONE, 0, true, "zerocopy", "stored", 0, "writer"},
		{RAID_RAID1, PI_T10, PI_CHECK_NONE, true, "zerocopy", "stored", 0, "writer"},
		{RAID_SINGLE, PI_NONE, 0, true, "zerocopy", "stored", 0, "writer"},
		/* Whoever knows no policy is promised nothing. */
		{RAID_RAID5, PI_NONE, 0, true, NULL, NULL, 0, "strangers"},
		{RAID_RAID5, PI_NONE, 0, true, "nonsense", "stored", 0, "strangers"},
		/* A PI disk keeps what it had; without one that error is of the medium. */
		{RAID_RAID5, PI_T10, PI_CHECK_DEVICE, true, "zerocopy", "refused", -EILSEQ,
			"nobody"},
		{RAID_RAID1, PI_T10, PI_CHECK_DEVICE, true, "adaptive", "refused", -EILSEQ,
			"nobody"},
		{RAID_RAID5, PI_T10, PI_CHECK_NONE, true, "zerocopy", "failed", -EILSEQ,
			"strangers"},
		/* What failed its check was stored before. */
		{RAID_RAID5, PI_NONE, 0, true, "verify", "failed", -EIO, "strangers"},
		{RAID_RAID5, PI_NONE, 0, false, "verify", "failed", -EIO, "writer"},
		{RAID_RAID1, PI_NONE, 0, true, "verify", "failed", -EIO, "writer"},
		{RAID_RAID5, PI_NONE, 0, true, "verify", "rejected", -EIO, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "verify", "verified", 0, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "adaptive", "stored", 0, "strangers"},
		/* From one copy. */
		{RAID_RAID5, PI_NONE, 0, true, "adaptive", "redone", 0, "nobody"},
		{RAID_RAID1, PI_NONE, 0, true, "adaptive", "redone", 0, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "adaptive", "copy stored", 0, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "detect", "copy stored", 0, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "detect", "failed", -EIO, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "bounce", NULL, 0, "nobody"},
		{RAID_RAID1, PI_NONE, 0, true, "buffered", NULL, 0, "nobody"},
		{RAID_RAID5, PI_NONE, 0, true, "cow", "stored", 0, "nobody"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		geometry.level = cases[i].level;
		super = (struct super){.pi = cases[i].pi, .pi_check = cases[i].check};
		neighbour_is_there = cases[i].neighbour;
		struct json_value *v =
			mutation_json(cases[i].policy, cases[i].what, cases[i].error);
		if (strcmp(json_get_string(v, "blast", ""), cases[i].blast) != 0)
			fail_msg("case %u: %s, not %s", i, json_get_string(v, "blast", ""),
				cases[i].blast);
		assert_int_equal(
			json_get(v, "strangers") != NULL, strcmp(cases[i].blast, "strangers") == 0);
		json_value_free(v);
	}
}

static void a_reader_that_stores_into_its_buffer_endangers_nobody(void **unused)
{
	(void)unused;
	const struct events_world world = {(struct fs *)&super, (struct volume *)&super, NULL};
	geometry.level = RAID_RAID5;
	super = (struct super){.pi = PI_T10};
	neighbour_is_there = true;
	struct event event = event_new(EVENT_READ_MUTATION);
	event.ino = 42;
	event.len_bytes = 8192;
	event.first_changed = 4096;
	event.error = -EILSEQ;
	event.what = "repaired for nothing";
	size_t len;
	char *line = event_json(&event, &world, &len);
	struct json_value *v = parse(line, len);
	assert_string_equal(json_get_string(v, "event", ""), "read_mutation");
	assert_string_equal(json_get_string(v, "blast", ""), "nobody");
	assert_string_equal(json_get_string(v, "what", ""), "repaired for nothing");
	assert_string_equal(json_get_string(v, "error", ""), "EILSEQ");
	assert_string_equal(json_get_string(v, "file", ""), "/file-42");
	assert_int_equal(json_get_u64(v, "first_changed", 0), 4096);
	json_value_free(v);
	free(line);
}

/* ---- damage ---- */

static struct json_value *damage_json(const struct event *event)
{
	const struct events_world world = {(struct fs *)&super, (struct volume *)&super, NULL};
	size_t len;
	neighbour_is_there = true;
	char *line = event_json(event, &world, &len);
	struct json_value *v = parse(line, len);
	free(line);
	return v;
}

/* Blocks 2 to 5: two files have two each. */
static struct event damaged(enum event_kind kind)
{
	struct event event = event_new(kind);
	event.member = 1;
	event.member_block = 7;
	event.volume_block = 2;
	event.volume_blocks = 4;
	return event;
}

static void damage_names_the_files_whose_blocks_it_is_and_not_who_asked(void **unused)
{
	(void)unused;
	struct event event = damaged(EVENT_UNREPAIRABLE);
	event.ino = 99;
	event.len_bytes = 1 << 20;
	struct json_value *v = damage_json(&event);
	const struct json_value *more = json_get(v, "more_files");
	assert_string_equal(json_get_string(v, "file", ""), "/file-42");
	assert_int_equal(json_get_u64(v, "offset", 0), 2 * 4096);
	assert_int_equal(json_get_u64(v, "length", 0), 2 * 4096);
	assert_int_equal(json_get_u64(v, "member", 0), 1);
	assert_int_equal(json_get_u64(v, "member_block", 0), 7);
	assert_string_equal(json_get_string(more->first, "file", ""), "/file-43");
	assert_int_equal(json_get_u64(more->first, "offset", 1), 0);
	assert_int_equal(json_get_u64(more->first, "length", 0), 2 * 4096);
	assert_null(more->first->next);
	json_value_free(v);
}

static void damage_that_no_file_owns_names_who_asked(void **unused)
{
	(void)unused;
	struct event event = damaged(EVENT_REPAIRED);
	event.ino = 99;
	event.volume_block = 8;
	struct json_value *v = damage_json(&event);
	assert_string_equal(json_get_string(v, "file", ""), "/file-99");
	assert_null(json_get(v, "more_files"));
	json_value_free(v);
}

static void a_change_of_a_member_says_which_and_what(void **unused)
{
	(void)unused;
	struct event event = event_new(EVENT_MEMBER_STATE);
	event.member = 2;
	event.what = "failed";
	struct json_value *v = damage_json(&event);
	assert_string_equal(json_get_string(v, "event", ""), "member_state");
	assert_string_equal(json_get_string(v, "what", ""), "failed");
	assert_int_equal(json_get_u64(v, "member", 0), 2);
	assert_null(json_get(v, "member_block"));
	assert_null(json_get(v, "file"));
	json_value_free(v);
}

/* ---- the rate ---- */

struct counted {
	uint64_t lines, dropped, dropped_of_pid;
};

static struct counted count_lines(struct front_events *e, pid_t pid)
{
	struct counted c = {0};
	char *text = text_of(e);
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		struct json_value *v = parse(line, (size_t)(end - line));
		uint64_t count = json_get_u64(v, "count", 0);
		c.lines += strcmp(json_get_string(v, "event", ""), "dropped") != 0;
		c.dropped += count;
		c.dropped_of_pid += json_get_i64(v, "pid", -1) == pid ? count : 0;
		json_value_free(v);
	}
	free(text);
	return c;
}

static void mutations_above_the_rate_are_counted_by_process(void **unused)
{
	(void)unused;
	const struct events_config slow = {.rate = 3};
	struct front_events *e;
	assert_int_equal(front_events_new(&e), 0);
	assert_int_equal(events_start(e, &slow), 0);
	for (unsigned i = 0; i < 10; i++)
		emit_of(e, EVENT_MUTATION, NOBODY_PID, i);
	emit_of(e, EVENT_READ_MUTATION, NOBODY_PID, 0);
	for (unsigned i = 0; i < 2; i++)
		emit_of(e, EVENT_MUTATION, NOBODY_PID + 1, i);
	for (unsigned i = 0; i < 20; i++)
		emit_of(e, EVENT_REPAIRED, NOBODY_PID, i);
	events_stop(e);
	struct counted c = count_lines(e, NOBODY_PID);
	struct front_event_totals t = front_events_totals(e);
	assert_int_equal(t.mutations, 13);
	assert_int_equal(c.lines + c.dropped, 33);
	assert_int_equal(c.dropped, t.dropped);
	assert_int_equal(c.dropped, t.above_rate);
	assert_int_equal(c.dropped, c.dropped_of_pid);
	/* A second may have gone by in the middle of it: then more are let through. */
	assert_in_range(c.dropped, 1, 8);
	front_events_free(e);
}

static void what_was_dropped_is_said_when_its_second_is_over(void **unused)
{
	(void)unused;
	const struct events_config slow = {.rate = 1};
	struct front_events *e;
	assert_int_equal(front_events_new(&e), 0);
	assert_int_equal(events_start(e, &slow), 0);
	for (unsigned i = 0; i < 5; i++)
		emit(e, i);
	/* Nothing wakes its thread any more but the time. */
	struct counted c = {0};
	while (c.lines + c.dropped < 5) {
		usleep(10000);
		c = count_lines(e, NOBODY_PID);
	}
	assert_in_range(c.dropped, 1, 4);
	events_stop(e);
	front_events_free(e);
}

static void a_second_of_a_process_begins_with_its_first_event(void **unused)
{
	(void)unused;
	struct event_rate *r = malloc(sizeof(*r));
	struct event_rate_drop drop;
	event_rate_init(r, 2);
	assert_true(event_rate_admit(r, 7, 5 * NS_PER_S));
	assert_true(event_rate_admit(r, 7, 5 * NS_PER_S + 1));
	assert_false(event_rate_admit(r, 7, 6 * NS_PER_S - 1));
	assert_true(event_rate_admit(r, 8, 6 * NS_PER_S - 1));
	assert_int_equal(r->due_ns, 6 * NS_PER_S);
	assert_false(event_rate_take(r, 6 * NS_PER_S - 1, false, &drop));
	assert_true(event_rate_admit(r, 7, 6 * NS_PER_S));
	assert_true(event_rate_take(r, 6 * NS_PER_S, false, &drop));
	assert_int_equal(drop.pid, 7);
	assert_int_equal(drop.count, 1);
	assert_false(event_rate_take(r, 6 * NS_PER_S, false, &drop));
	assert_int_equal(r->due_ns, UINT64_MAX);
	free(r);
}

static void processes_beyond_the_table_share_a_limit_and_lose_no_count(void **unused)
{
	(void)unused;
	struct event_rate *r = malloc(sizeof(*r));
	struct event_rate_drop drop;
	uint64_t passed = 0, dropped = 0;
	event_rate_init(r, 1);
	for (pid_t pid = 1; pid <= 3000; pid++)
		for (unsigned i = 0; i < 2; i++)
			passed += event_rate_admit(r, pid, NS_PER_S);
	while (event_rate_take(r, NS_PER_S, true, &drop))
		dropped += drop.count;
	assert_int_equal(passed + dropped, 6000);
	assert_int_equal(passed, EVENT_RATE_PROCESSES + 1);
	free(r);
}

/* ---- the warning ---- */

static void a_warning_is_one_line_that_says_who_which_file_and_what_it_means(void **unused)
{
	(void)unused;
	const struct events_world world = {(struct fs *)&super, (struct volume *)&super, NULL};
	geometry.level = RAID_RAID5;
	super = (struct super){.pi = PI_NONE};
	neighbour_is_there = true;
	struct event event = event_new(EVENT_MUTATION);
	event.ino = 42;
	event.len_bytes = 8192;
	event.policy = "zerocopy";
	event.what = "stored";
	event.writer = (struct event_writer){.pid = NOBODY_PID, .comm = "bad\nname"};
	char *text = event_warning(&event, &world);
	assert_non_null(strstr(text, "bad?name"));
	assert_non_null(strstr(text, "4194304"));
	assert_non_null(strstr(text, "/file-42"));
	assert_non_null(strstr(text, "dio=zerocopy"));
	assert_non_null(strstr(text, "other files"));
	assert_null(strchr(text, '\n'));
	free(text);
	event.policy = "detect";
	event.what = "copy stored";
	text = event_warning(&event, &world);
	assert_non_null(strstr(text, "no data is at risk"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_becomes_one_line),
		cmocka_unit_test(what_finds_the_ring_full_is_counted_and_said),
		cmocka_unit_test(whoever_follows_hears_of_each_growth),
		cmocka_unit_test(discarded_lines_read_as_empty_ones_and_the_rest_keeps_its_offset),
		cmocka_unit_test(parity_made_from_other_bytes_hits_whoever_shares_its_rows),
		cmocka_unit_test(who_loses_by_a_mutation_follows_from_level_pi_policy_and_outcome),
		cmocka_unit_test(a_reader_that_stores_into_its_buffer_endangers_nobody),
		cmocka_unit_test(damage_names_the_files_whose_blocks_it_is_and_not_who_asked),
		cmocka_unit_test(damage_that_no_file_owns_names_who_asked),
		cmocka_unit_test(a_change_of_a_member_says_which_and_what),
		cmocka_unit_test(mutations_above_the_rate_are_counted_by_process),
		cmocka_unit_test(what_was_dropped_is_said_when_its_second_is_over),
		cmocka_unit_test(a_second_of_a_process_begins_with_its_first_event),
		cmocka_unit_test(processes_beyond_the_table_share_a_limit_and_lose_no_count),
		cmocka_unit_test(a_warning_is_one_line_that_says_who_which_file_and_what_it_means),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
