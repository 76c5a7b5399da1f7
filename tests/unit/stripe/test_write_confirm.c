/* SPDX-License-Identifier: MIT */
/* Writes whose memory is looked at once more while their stripe is held. */
#include "script.h"

#include <errno.h>

#define SEED 4711

/* ---- a writer who changes its memory at a known moment ---- */

/* Tags of its blocks as rig_fill_block() writes them: the copy says 'c'; the memory 'n', but for
 * the block @changed: what it says each time that it is read is the next of @moments (the last goes
 * on; '?': it cannot be read). */
struct writer {
	struct source base;
	uint64_t volume_block; /* of the first block */
	uint32_t skip_bytes;   /* of that */
	unsigned changed;      /* 0-based in the write */
	const char *moments;
	uint8_t copy[SCRIPT_MAX_BLOCKS * BLOCK_BYTES], guarded[SCRIPT_MAX_BLOCKS * BLOCK_BYTES];
};

/* The bytes [offset, offset + len) of the write. */
static void fill(const struct writer *w, uint32_t offset, uint32_t len, uint8_t *out, char changed)
{
	uint8_t block[BLOCK_BYTES];
	for (uint32_t at = offset, n; at < offset + len; at += n) {
		uint32_t in_volume = w->skip_bytes + at;
		bool is_changed = in_volume / BLOCK_BYTES == w->changed;
		n = (uint32_t)min_u64(BLOCK_BYTES - in_volume % BLOCK_BYTES, offset + len - at);
		rig_fill_block(block, w->volume_block + in_volume / BLOCK_BYTES,
			(unsigned char)(changed == 'c' || is_changed ? changed : 'n'));
		memcpy(out + (at - offset), block + in_volume % BLOCK_BYTES, n);
	}
}

static void writer_fetch(struct source *src, struct source_fetch *fetch)
{
	struct writer *w = container_of(src, struct writer, base);
	uint32_t first = (w->skip_bytes + fetch->offset_bytes) / BLOCK_BYTES;
	uint32_t last = (w->skip_bytes + fetch->offset_bytes + fetch->len_bytes - 1) / BLOCK_BYTES;
	bool covers = first <= w->changed && w->changed <= last;
	char now = *w->moments;
	fetch->err = covers && now == '?' ? -EFAULT : 0;
	fill(w, fetch->offset_bytes, fetch->len_bytes, fetch->dest, now);
	if (covers && w->moments[1])
		w->moments++;
	fetch->done(fetch);
}

static const void *writer_accept(
	struct source *src, enum sample_point point, const struct source_fetch *fetch)
{
	struct writer *w = container_of(src, struct writer, base);
	if (point == SAMPLE_GUARD)
		memcpy(w->guarded + fetch->offset_bytes, fetch->dest, fetch->len_bytes);
	src->found.first_changed = 0;
	return fetch->dest;
}

static const void *writer_sample(struct source *src, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, void *scratch)
{
	(void)src, (void)point, (void)offset_bytes, (void)len_bytes, (void)scratch;
	fail_msg("what takes its time is fetched");
	return NULL;
}

static enum source_verdict writer_confirm(struct source *src, const struct source_fetch *fetch)
{
	struct writer *w = container_of(src, struct writer, base);
	if (fetch->err)
		return SOURCE_UNSEEN;
	bool same = memcmp(w->guarded + fetch->offset_bytes, fetch->dest, fetch->len_bytes) == 0;
	src->found.unlike_guard = src->found.unlike_guard || !same;
	return same ? SOURCE_SAME : SOURCE_CHANGED;
}

static const struct source_ops writer_ops = {.sample = writer_sample,
	.fetch = writer_fetch,
	.accept = writer_accept,
	.confirm = writer_confirm,
	.free = script_free};

static void writer_init(struct writer *w, uint64_t offset_bytes, uint32_t len_bytes,
	unsigned changed, const char *moments)
{
	*w = (struct writer){.volume_block = offset_bytes / BLOCK_BYTES,
		.skip_bytes = (uint32_t)(offset_bytes % BLOCK_BYTES),
		.changed = changed,
		.moments = moments};
	w->base = (struct source){.ops = &writer_ops,
		.bounce = w->copy,
		.len_bytes = len_bytes,
		.writer = {.pid = 78, .comm = "mutator"},
		.found.first_changed = UINT32_MAX};
	fill(w, 0, len_bytes, w->copy, 'c');
}

/* ---- the array ---- */

static struct rig *new_rig(enum raid_level level, unsigned members, enum pi_check pi_check)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 5,
		.pi = PI_T10,
		.pi_check = pi_check,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static bool read_as(struct rig *rig, uint64_t first, uint64_t count, unsigned tag)
{
	for (uint64_t b = first; b < first + count; b++)
		if (!rig_reads(rig, b, tag))
			return false;
	return true;
}

static bool others_are_old(struct rig *rig, uint64_t first, uint64_t count)
{
	uint64_t end = rig->volume_bytes / BLOCK_BYTES;
	return read_as(rig, 0, first, 'o') && read_as(rig, first + count, end - first - count, 'o');
}

static struct rig_io *start(struct rig *rig, uint64_t first, unsigned count, struct source *source)
{
	struct rig_io *io =
		rig_io_new(rig, STRIPE_WRITE, first * BLOCK_BYTES, count * BLOCK_BYTES, NULL);
	if (source)
		io->req.source = source;
	else
		for (unsigned i = 0; i < count; i++)
			rig_fill_block(io->data + i * BLOCK_BYTES, first + i, 's');
	rig_io_start(io);
	return io;
}

static int finish(struct rig_io *io)
{
	int err = rig_io_wait(io);
	rig_io_free(io);
	return err;
}

static const enum raid_level LEVELS[] = {RAID_RAID1, RAID_RAID5};
static const enum pi_check CHECKS[] = {PI_CHECK_NONE, PI_CHECK_DEVICE};

/* ---- behaviour ---- */

static void changed_bytes_are_replaced_before_a_reader_comes_to_them(void **unused)
{
	(void)unused;
	static const char *const moments[] = {"ab", "aab", "aaab", "abcd", "abab"};
	for (unsigned i = 0; i < 20; i++) {
		struct rig *rig = new_rig(LEVELS[i % 2], 4, CHECKS[i / 2 % 2]);
		struct writer w;
		writer_init(&w, BLOCK_BYTES, 2 * BLOCK_BYTES, 1, moments[i / 4]);
		struct rig_io *write = start(rig, 1, 2, &w.base);
		struct rig_io *read =
			rig_io_new(rig, STRIPE_READ, BLOCK_BYTES, 2 * BLOCK_BYTES, NULL);
		rig_io_start(read);
		assert_int_equal(rig_io_wait(read), 0);
		assert_memory_equal(read->data, w.copy, 2 * BLOCK_BYTES);
		rig_io_free(read);
		assert_int_equal(finish(write), 0);
		assert_int_equal(w.base.found.replaced_bytes, 2 * BLOCK_BYTES);
		assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
		assert_true(rig_is_clean(rig));
		assert_true(others_are_old(rig, 1, 2));
		rig_free(rig);
	}
}

static void what_changed_before_the_first_sample_only_is_stored_as_it_is(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 4; i++) {
		struct rig *rig = new_rig(LEVELS[i % 2], 4, CHECKS[i / 2]);
		struct writer w;
		writer_init(&w, BLOCK_BYTES, 2 * BLOCK_BYTES, 1, "a");
		assert_int_equal(rig_write_from(rig, BLOCK_BYTES, &w.base), 0);
		assert_true(rig_reads(rig, 1, 'n') && rig_reads(rig, 2, 'a'));
		assert_int_equal(w.base.found.confirmed_bytes, 2 * BLOCK_BYTES);
		assert_int_equal(w.base.found.replaced_bytes, 0);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void memory_that_cannot_be_looked_at_is_replaced_and_not_said_to_differ(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = new_rig(LEVELS[i], 4, PI_CHECK_NONE);
		struct writer w;
		/* The guard's, the parity's or the mirrors' samples, and the look. */
		writer_init(&w, BLOCK_BYTES, BLOCK_BYTES, 0, i ? "aaa?" : "aaaaa?");
		assert_int_equal(rig_write_from(rig, BLOCK_BYTES, &w.base), 0);
		assert_true(rig_reads(rig, 1, 'c'));
		assert_int_equal(w.base.found.replaced_bytes, BLOCK_BYTES);
		assert_false(w.base.found.unlike_guard);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void a_part_of_a_block_is_replaced_beside_what_it_leaves(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = new_rig(LEVELS[i], 4, PI_CHECK_NONE);
		uint8_t wanted[BLOCK_BYTES], got[BLOCK_BYTES];
		struct writer w;
		writer_init(&w, BLOCK_BYTES + 100, 200, 0, "ab");
		assert_int_equal(rig_write_from(rig, BLOCK_BYTES + 100, &w.base), 0);
		rig_fill_block(wanted, 1, 'o');
		memcpy(wanted + 100, w.copy, 200);
		assert_int_equal(rig_read(rig, BLOCK_BYTES, got, BLOCK_BYTES), 0);
		assert_memory_equal(got, wanted, BLOCK_BYTES);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* Blocks 2..9 of the stripe's 12: the missing slot is written, or not, or in part of the rows. */
static void what_is_replaced_beside_a_missing_member_ruins_no_block_of_it(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 24; i++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, CHECKS[i % 2]);
		unsigned missing = i / 2 % 4;
		unsigned first = i / 8 == 0 ? 2 : 5, count = i / 8 == 0 ? 8 : i / 8;
		struct writer w;
		rig_remove_member(rig, geometry_member(&rig->geometry, 0, missing));
		writer_init(&w, first * BLOCK_BYTES, count * BLOCK_BYTES, 0, "aab");
		assert_int_equal(rig_write_from(rig, first * BLOCK_BYTES, &w.base), 0);
		assert_true(read_as(rig, first, count, 'c'));
		assert_true(others_are_old(rig, first, count));
		rig_free(rig);
	}
}

static void those_who_share_an_operation_with_a_writer_that_changes_lose_nothing(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 4; i++) {
		struct rig *rig = new_rig(LEVELS[i % 2], 4, CHECKS[i / 2]);
		struct writer changes, still;
		writer_init(&changes, 0, BLOCK_BYTES, 0, "ab");
		writer_init(&still, BLOCK_BYTES, BLOCK_BYTES, 0, "m");
		struct rig_io *ios[] = {start(rig, 0, 1, &changes.base),
			start(rig, 1, 1, &still.base), start(rig, 2, 1, NULL)};
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(finish(ios[n]), 0);
		assert_true(stripe_engine_stats(rig->eng).merged >= 3);
		assert_true(rig_reads(rig, 0, 'c'));
		assert_true(rig_reads(rig, 2, 's'));
		assert_true(rig_reads(rig, 1, 'm') || rig_reads(rig, 1, 'c'));
		assert_false(still.base.found.unlike_guard && CHECKS[i / 2] == PI_CHECK_NONE);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* Where nobody looks: script.h's writer is under zerocopy. */
static void nobody_is_refused_for_another_ones_bytes(void **unused)
{
	(void)unused;
	static const char *const points[] = {"a-bbbb", "aab"};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = new_rig(LEVELS[i], 4, PI_CHECK_DEVICE);
		struct script changes;
		struct writer still;
		script_init(&changes, 0, 1, 0, points[i]);
		writer_init(&still, 2 * BLOCK_BYTES, BLOCK_BYTES, 0, "n");
		struct rig_io *bad = start(rig, 0, 1, &changes.base);
		struct rig_io *good = start(rig, 1, 1, NULL);
		struct rig_io *good2 = start(rig, 2, 1, &still.base);
		assert_int_equal(finish(bad), -EILSEQ);
		assert_int_equal(finish(good), 0);
		assert_int_equal(finish(good2), 0);
		assert_true(stripe_engine_stats(rig->eng).merged >= 3);
		assert_true(rig_reads(rig, 0, 'o'));
		assert_true(rig_reads(rig, 1, 's'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* Of two who write the same blocks at once the later one's are there, whole. */
static void who_overwrites_a_replaced_write_is_not_overwritten_by_it(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 4; i++) {
		struct rig *rig = new_rig(LEVELS[i % 2], 4, CHECKS[i / 2]);
		struct writer changes;
		writer_init(&changes, BLOCK_BYTES, 3 * BLOCK_BYTES, 1, "ab");
		struct rig_io *first = start(rig, 1, 3, &changes.base);
		struct rig_io *second = start(rig, 1, 3, NULL);
		assert_int_equal(finish(second), 0);
		assert_int_equal(finish(first), 0);
		assert_true(read_as(rig, 1, 3, 's'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changed_bytes_are_replaced_before_a_reader_comes_to_them),
		cmocka_unit_test(what_changed_before_the_first_sample_only_is_stored_as_it_is),
		cmocka_unit_test(
			memory_that_cannot_be_looked_at_is_replaced_and_not_said_to_differ),
		cmocka_unit_test(a_part_of_a_block_is_replaced_beside_what_it_leaves),
		cmocka_unit_test(what_is_replaced_beside_a_missing_member_ruins_no_block_of_it),
		cmocka_unit_test(
			those_who_share_an_operation_with_a_writer_that_changes_lose_nothing),
		cmocka_unit_test(nobody_is_refused_for_another_ones_bytes),
		cmocka_unit_test(who_overwrites_a_replaced_write_is_not_overwritten_by_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
