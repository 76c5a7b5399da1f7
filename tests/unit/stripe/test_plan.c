/* SPDX-License-Identifier: MIT */
/* stripe/plan: pictures of the classic cases, sweeps over all widths, chunks, writes and failures
 * with every plan carried out on real bytes (plan_model.h), and what is refused. */
#include "stripe/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"
#include "plan_model.h"

#define HEALTHY 0u
#define LOST(i) (1u << (i))

static const enum plan_preference preferences[] = {
	PLAN_FEWEST_IOS, PLAN_PREFER_RMW, PLAN_PREFER_RCW};

/* --- Pictures ------------------------------------------------------------------------------- */

/* A slot is a word, a row of it a letter. The parities are the last words of read and store.
 *	write	W whole, p in part, . not		read, store	x, .
 *	rows	F full, M rmw, C rcw, B rebuild, N noparity, . untouched */
struct picture {
	const char *name;
	enum raid_level level;
	uint32_t missing;
	enum plan_preference preference;
	const char *write, *rows, *read, *store;
};

static const struct picture pictures[] = {
	{"a full stripe reads nothing", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS, "WW WW WW", "FF",
		".. .. .. ..", "xx xx xx xx"},
	{"full rows stay full under a preference", RAID_RAID5, HEALTHY, PLAN_PREFER_RMW, "WW WW WW",
		"FF", ".. .. .. ..", "xx xx xx xx"},
	{"one of two: rcw needs the other one alone", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS, "W .",
		"C", ". x .", "x . x"},
	{"one of three: a tie, and the parity is made anew", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"W . .", "C", ". x x .", "x . . x"},
	{"one of four: old data and parity are fewer", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"W . . .", "M", "x . . . x", "x . . . x"},
	{"two of four: the two others are fewer", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS, "W W . .",
		"C", ". . x x .", "x x . . x"},
	{"two of six: old data and parity are fewer", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"W W . . . .", "M", "x x . . . . x", "x x . . . . x"},
	{"rmw where asked for", RAID_RAID5, HEALTHY, PLAN_PREFER_RMW, "W .", "M", "x . x", "x . x"},
	{"rcw where asked for", RAID_RAID5, HEALTHY, PLAN_PREFER_RCW, "W . . .", "C", ". x x x .",
		"x . . . x"},
	{"rcw reads a partial block too", RAID_RAID5, HEALTHY, PLAN_PREFER_RCW, "p . .", "C",
		"x x x .", "x . . x"},
	{"a partial block makes rmw the cheaper way", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS, "p . .",
		"M", "x . . x", "x . . x"},
	{"a partial block keeps its row from being full", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"W p W", "C", ". x . .", "x x x x"},
	{"full rows beside others", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS, ".WW .WW WWW", "CFF",
		"x.. x.. ... ...", ".xx .xx xxx xxx"},
	{"fewer I/Os win over fewer blocks", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"pWpWp pWpWp .....", "MMMMM", "xxxxx xxxxx ..... xxxxx", "xxxxx xxxxx ..... xxxxx"},
	{"at equal I/Os fewer blocks win", RAID_RAID5, HEALTHY, PLAN_FEWEST_IOS,
		"WWWW W... .... ....", "MMMM", "xxxx x... .... .... xxxx",
		"xxxx x... .... .... xxxx"},
	{"missing and not written: only rmw works", RAID_RAID5, LOST(1), PLAN_PREFER_RCW, "W . .",
		"M", "x . . x", "x . . x"},
	{"missing and written whole: only rcw works", RAID_RAID5, LOST(0), PLAN_PREFER_RMW, "W . .",
		"C", ". x x .", ". . . x"},
	{"missing and written in part: it is rebuilt", RAID_RAID5, LOST(0), PLAN_FEWEST_IOS,
		"p . .", "B", ". x x x", ". . . x"},
	{"rebuilding reads what is overwritten too", RAID_RAID5, LOST(0), PLAN_FEWEST_IOS, "p W .",
		"B", ". x x x", ". x . x"},
	{"a full row is full without a member", RAID_RAID5, LOST(2), PLAN_FEWEST_IOS, "W W W", "F",
		". . . .", "x x . x"},
	{"degraded rows go their own ways", RAID_RAID5, LOST(1), PLAN_FEWEST_IOS,
		"WW..W .WpW. ....W", "MCBCM", "x.xxx ..... .xxxx x.x.x", "xx..x ..... ....x xxxxx"},
	{"raid6: both parities of a full row are made", RAID_RAID6, HEALTHY, PLAN_FEWEST_IOS,
		"WW WW WW", "FF", ".. .. .. .. ..", "xx xx xx xx xx"},
	{"raid6: one of four: old data and two parities tie with the others", RAID_RAID6, HEALTHY,
		PLAN_FEWEST_IOS, "W . . .", "C", ". x x x . .", "x . . . x x"},
	{"raid6: one of five: old data and two parities are fewer", RAID_RAID6, HEALTHY,
		PLAN_FEWEST_IOS, "W . . . .", "M", "x . . . . x x", "x . . . . x x"},
	{"raid6: without Q, P is kept as raid5's", RAID_RAID6, LOST(5), PLAN_FEWEST_IOS, "W . . .",
		"M", "x . . . x .", "x . . . x ."},
	{"raid6: without P, Q is kept in the same way", RAID_RAID6, LOST(4), PLAN_FEWEST_IOS,
		"W . . .", "M", "x . . . . x", "x . . . . x"},
	{"raid6: a full row without P makes Q", RAID_RAID6, LOST(3), PLAN_FEWEST_IOS, "W W W", "F",
		". . . . .", "x x x . x"},
	{"raid6: one missing and not written: only rmw works, of both parities", RAID_RAID6,
		LOST(1), PLAN_PREFER_RCW, "W . .", "M", "x . . x x", "x . . x x"},
	{"raid6: one missing, written in part: P alone gives it back", RAID_RAID6, LOST(0),
		PLAN_FEWEST_IOS, "p . .", "B", ". x x x .", ". . . x x"},
	{"raid6: and Q does where P is missing too", RAID_RAID6, LOST(0) | LOST(3), PLAN_FEWEST_IOS,
		"p . .", "B", ". x x . x", ". . . . x"},
	{"raid6: two missing, neither written: both stay folded in", RAID_RAID6, LOST(1) | LOST(2),
		PLAN_PREFER_RCW, "W . .", "M", "x . . x x", "x . . x x"},
	{"raid6: two missing, both written whole: the others are enough", RAID_RAID6,
		LOST(0) | LOST(1), PLAN_PREFER_RMW, "W W .", "C", ". . x . .", ". . . x x"},
	{"raid6: two missing, one written whole: it must be known, and cannot be", RAID_RAID6,
		LOST(0) | LOST(1), PLAN_FEWEST_IOS, "W . .", "B", ". . x x x", ". . . x x"},
	{"raid6: two missing, in all mixtures", RAID_RAID6, LOST(0) | LOST(1), PLAN_FEWEST_IOS,
		"W.Wp.W .WWpp. WWWW..", "BBFBBB", "...... ...... xx.xxx xx.xxx xx.xxx",
		"...... ...... xxxx.. xxxxxx xxxxxx"},
	{"raid6: without parities nothing is computed", RAID_RAID6, LOST(3) | LOST(4),
		PLAN_FEWEST_IOS, "WW p. ..", "NN", ".. x. .. .. ..", "xx x. .. .. .."},
	{"without parity nothing is computed", RAID_RAID5, LOST(3), PLAN_FEWEST_IOS, "WW p. ..",
		"NN", ".. x. .. ..", "xx x. .. .."},
	{"every copy is written, one is read", RAID_RAID1, HEALTHY, PLAN_FEWEST_IOS, "Wp.", "NN.",
		".x. ... ...", "xx. xx. xx."},
	{"the first copy present is read", RAID_RAID1, LOST(0) | LOST(2), PLAN_FEWEST_IOS, "Wp.",
		"NN.", "... .x. ... ...", "... xx. ... xx."},
	{"a single member has no choice", RAID_SINGLE, HEALTHY, PLAN_PREFER_RCW, "Wp.", "NN.",
		".x.", "xx."},
};

static unsigned count_words(const char *picture)
{
	unsigned n = 1;
	for (; *picture; picture++)
		n += *picture == ' ';
	return n;
}

static struct geometry picture_geometry(const struct picture *p)
{
	unsigned chunk = 1;
	while (chunk < strlen(p->rows))
		chunk *= 2;
	return (struct geometry){p->level, count_words(p->store), chunk, 1};
}

static void parse_write(const char *picture, struct plan_input *in)
{
	for (unsigned slot = 0, row = 0; *picture; picture++, row++) {
		if (*picture == ' ') {
			slot++;
			row = UINT32_MAX; /* 0 at the next letter */
			continue;
		}
		if (*picture != '.')
			rows_add(&in->write[slot], row);
		if (*picture == 'p')
			rows_add(&in->partial[slot], row);
	}
}

static void draw_sets(const struct rows *sets, unsigned slots, unsigned rows, char *out)
{
	for (unsigned slot = 0; slot < slots; slot++) {
		for (unsigned row = 0; row < rows; row++)
			*out++ = rows_has(&sets[slot], row) ? 'x' : '.';
		*out++ = slot + 1 < slots ? ' ' : '\0';
	}
}

static void draw_rows(const struct plan *plan, unsigned rows, char *out)
{
	for (unsigned row = 0; row < rows; row++)
		*out++ = ".FMCBN"[plan->row[row]];
	*out = '\0';
}

static void assert_picture(const struct picture *p)
{
	char rows[32], read[256], store[256];
	struct geometry g = picture_geometry(p);
	struct plan_input in = {
		.geometry = &g, .missing_slots = p->missing, .preference = p->preference};
	struct plan plan;
	unsigned len = (unsigned)strlen(p->rows);
	parse_write(p->write, &in);
	assert_int_equal(plan_write(&in, &plan), 0);
	draw_rows(&plan, len, rows);
	draw_sets(plan.read, g.members, len, read);
	draw_sets(plan.write, g.members, len, store);
	if (strcmp(rows, p->rows) || strcmp(read, p->read) || strcmp(store, p->store))
		fail_msg("%s:\nwrite %s\nrows  %s, not %s\nread  %s, not %s\nstore %s, not %s",
			p->name, p->write, rows, p->rows, read, p->read, store, p->store);
}

static void the_classic_cases_look_as_drawn(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++)
		assert_picture(&pictures[i]);
}

/* --- Sweeps --------------------------------------------------------------------------------- */

static void fail_plan(const struct plan_input *in, const char *wrong)
{
	char write[RAID_MAX_SLOTS * (ROWS_MAX + 1)], partial[sizeof(write)];
	const struct geometry *g = in->geometry;
	draw_sets(in->write, geometry_data_slots(g), g->chunk_blocks, write);
	draw_sets(in->partial, geometry_data_slots(g), g->chunk_blocks, partial);
	fail_msg("%s\n%s, %u members, missing %#x, preference %d\nwrite   %s\npartial %s", wrong,
		raid_level_name(g->level), g->members, in->missing_slots, in->preference, write,
		partial);
}

static struct plan checked_plan(const struct model *m, const struct plan_input *in)
{
	struct plan plan;
	if (plan_write(in, &plan) < 0)
		fail_plan(in, "a good input is refused");
	const char *wrong = model_check(m, in, &plan);
	if (wrong)
		fail_plan(in, wrong);
	return plan;
}

/* A preference must change nothing where data are missing, or all parities. */
static void check_preferences(const struct model *m, struct plan_input *in)
{
	uint32_t data = (1u << model_data(m)) - 1;
	in->preference = PLAN_FEWEST_IOS;
	struct plan plan = checked_plan(m, in), other;
	for (unsigned p = 1; p < 3; p++) {
		in->preference = preferences[p];
		if (!(in->missing_slots & data)) {
			checked_plan(m, in);
			continue;
		}
		plan_write(in, &other);
		if (memcmp(&plan, &other, sizeof(plan)) != 0)
			fail_plan(in, "a preference changes a degraded plan");
	}
}

/* Healthy, without each member in turn, and where the level bears it without any two. */
static void check_all_states(const struct model *m, struct plan_input *in)
{
	unsigned bears = geometry_redundancy(&m->g);
	in->missing_slots = HEALTHY;
	check_preferences(m, in);
	for (unsigned a = 0; bears > 0 && a < m->g.members; a++) {
		in->missing_slots = LOST(a);
		check_preferences(m, in);
		for (unsigned b = a + 1; bears > 1 && model_parities(m) && b < m->g.members; b++) {
			in->missing_slots = LOST(a) | LOST(b);
			check_preferences(m, in);
		}
	}
}

/* One write of consecutive half blocks of the stripe. */
static void add_halves(
	const struct geometry *g, unsigned first, unsigned end, struct plan_input *in)
{
	for (unsigned block = first / 2; 2 * block < end; block++) {
		unsigned slot = block / g->chunk_blocks, row = block % g->chunk_blocks;
		rows_add(&in->write[slot], row);
		if (first > 2 * block || end < 2 * block + 2)
			rows_add(&in->partial[slot], row);
	}
}

/* Every contiguous write whose ends are multiples of @step half blocks: 1 for all, 2 for those
 * of whole blocks. */
static void sweep_contiguous(struct geometry g, unsigned step, struct random *r)
{
	static struct model m;
	model_init(&m, g, r);
	unsigned halves = 2 * geometry_stripe_blocks(&g);
	for (unsigned first = 0; first < halves; first += step) {
		for (unsigned end = first + step; end <= halves; end += step) {
			struct plan_input in = {.geometry = &g};
			add_halves(&g, first, end, &in);
			check_all_states(&m, &in);
		}
	}
}

static void every_contiguous_write_of_a_small_chunk_keeps_the_stripe_whole(void **unused)
{
	(void)unused;
	struct random r = random_start("small chunks", 0x5eed000a);
	for (unsigned members = 3; members <= 8; members++) {
		for (unsigned chunk = 1; chunk <= 4; chunk *= 2)
			sweep_contiguous((struct geometry){RAID_RAID5, members, chunk, 1}, 1, &r);
	}
}

static void every_contiguous_write_of_a_64k_chunk_keeps_the_stripe_whole(void **unused)
{
	(void)unused;
	struct random r = random_start("64K chunks", 0x5eed000b);
	for (unsigned members = 3; members <= 8; members++)
		sweep_contiguous(
			(struct geometry){RAID_RAID5, members, 16, 1}, members <= 6 ? 1 : 2, &r);
}

static void every_contiguous_write_of_16_members_keeps_the_stripe_whole(void **unused)
{
	(void)unused;
	struct random r = random_start("16 members", 0x5eed000c);
	for (unsigned chunk = 1; chunk <= 4; chunk *= 2)
		sweep_contiguous(
			(struct geometry){RAID_RAID5, 16, chunk, 1}, chunk <= 2 ? 1 : 2, &r);
}

static void every_contiguous_write_of_raid6_keeps_the_stripe_whole(void **unused)
{
	(void)unused;
	struct random r = random_start("raid6", 0x5eed0010);
	for (unsigned members = 4; members <= 8; members++) {
		for (unsigned chunk = 1; chunk <= 4; chunk *= 2)
			sweep_contiguous((struct geometry){RAID_RAID6, members, chunk, 1},
				chunk <= 2 || members <= 6 ? 1 : 2, &r);
	}
	sweep_contiguous((struct geometry){RAID_RAID6, 5, 16, 1}, 2, &r);
	sweep_contiguous((struct geometry){RAID_RAID6, 16, 1, 1}, 1, &r);
}

static void every_contiguous_write_reaches_all_copies(void **unused)
{
	(void)unused;
	struct random r = random_start("copies", 0x5eed000d);
	sweep_contiguous((struct geometry){RAID_SINGLE, 1, 16, 1}, 1, &r);
	for (unsigned members = 2; members <= 8; members++)
		sweep_contiguous((struct geometry){RAID_RAID1, members, 16, 1}, 1, &r);
}

/* Blocks anywhere, some in part: as merged writes of several files have them. */
static void scatter(const struct geometry *g, struct random *r, struct plan_input *in)
{
	unsigned data = geometry_data_slots(g);
	unsigned written = 1 + random_below(r, 100), partial = random_below(r, 60);
	for (unsigned i = 0; i < data * g->chunk_blocks; i++) {
		unsigned slot = i / g->chunk_blocks, row = i % g->chunk_blocks;
		if (random_below(r, 100) >= written)
			continue;
		rows_add(&in->write[slot], row);
		if (random_below(r, 100) < partial)
			rows_add(&in->partial[slot], row);
	}
	rows_add(&in->write[random_below(r, data)], random_below(r, g->chunk_blocks));
}

/* Any old blocks, where no slot is missing. */
static void cache_some(struct random *r, struct plan_input *in)
{
	unsigned cached = random_below(r, 101);
	for (unsigned slot = 0; slot < in->geometry->members; slot++)
		for (unsigned row = 0; row < in->geometry->chunk_blocks; row++)
			if (random_below(r, 100) < cached)
				rows_add(&in->cached[slot], row);
}

/* None, one or two members, as the level bears it. */
static uint32_t random_loss(const struct geometry *g, struct random *r)
{
	uint32_t missing = HEALTHY;
	for (unsigned n = random_below(r, geometry_redundancy(g) + 1); n > 0; n--)
		missing |= LOST(random_below(r, g->members));
	return missing;
}

static void sweep_scattered(enum raid_level level, struct random *r)
{
	static const unsigned chunks[] = {1, 2, 4, 16, 64, 256};
	static struct model m;
	unsigned least = level == RAID_RAID6 ? 4 : 3;
	for (unsigned i = 0; i < 600; i++) {
		unsigned members = i % 9 == 8 ? 16 : least + i % 9 % 6;
		struct geometry g = {level, members, chunks[random_below(r, 6)], 1};
		model_init(&m, g, r);
		for (unsigned n = 256 / g.chunk_blocks + 1; n > 0; n--) {
			struct plan_input in = {.geometry = &g};
			scatter(&g, r, &in);
			in.preference = preferences[random_below(r, 3)];
			in.missing_slots = random_loss(&g, r);
			checked_plan(&m, &in);
			in.missing_slots = HEALTHY;
			cache_some(r, &in);
			checked_plan(&m, &in);
		}
	}
}

static void random_scattered_writes_keep_the_stripe_whole(void **unused)
{
	(void)unused;
	struct random r = random_start("scattered", 0x5eed000e);
	sweep_scattered(RAID_RAID5, &r);
	sweep_scattered(RAID_RAID6, &r);
}

static void mirrors_bear_every_loss_but_that_of_all(void **unused)
{
	(void)unused;
	static struct model m;
	struct random r = random_start("mirrors", 0x5eed000f);
	for (unsigned members = 1; members <= 8; members++) {
		struct geometry g = {members == 1 ? RAID_SINGLE : RAID_RAID1, members, 16, 1};
		model_init(&m, g, &r);
		for (uint32_t missing = 0; missing < LOST(members); missing++) {
			struct plan_input in = {.geometry = &g, .missing_slots = missing};
			struct plan plan;
			scatter(&g, &r, &in);
			if (missing == LOST(members) - 1)
				assert_int_equal(plan_write(&in, &plan), -EIO);
			else
				checked_plan(&m, &in);
		}
	}
}

static void of_two_ways_the_one_whose_blocks_are_cached_is_taken(void **unused)
{
	(void)unused;
	struct geometry g = {RAID_RAID5, 5, 1, 1};
	struct plan_input in = {.geometry = &g};
	struct plan plan;
	rows_add(&in.write[1], 0);
	rows_add(&in.cached[1], 0);
	rows_add(&in.cached[4], 0);
	assert_int_equal(plan_write(&in, &plan), 0);
	assert_int_equal(plan.row[0], PLAN_ROW_RMW);
	assert_int_equal(plan.read_ios, 0);
	in.cached[4] = in.cached[1] = (struct rows){0};
	for (unsigned slot = 0; slot < 4; slot++)
		if (slot != 1)
			rows_add(&in.cached[slot], 0);
	assert_int_equal(plan_write(&in, &plan), 0);
	assert_int_equal(plan.row[0], PLAN_ROW_RCW);
	assert_int_equal(plan.read_ios, 0);
}

/* --- Refusals ------------------------------------------------------------------------------- */

static const struct geometry four = {RAID_RAID5, 4, 16, 1};

/* One whole block at slot 0, row 0, of four members. */
static struct plan_input good_input(void)
{
	struct plan_input in = {.geometry = &four};
	rows_add(&in.write[0], 0);
	return in;
}

/* Refused, and the plan is left as it was. */
static void assert_refused(const struct plan_input *in, int err)
{
	struct plan plan, before;
	memset(&plan, 0xa5, sizeof(plan));
	before = plan;
	assert_int_equal(plan_write(in, &plan), err);
	assert_memory_equal(&plan, &before, sizeof(plan));
}

static void a_write_of_nothing_is_refused(void **unused)
{
	(void)unused;
	struct plan_input in = {.geometry = &four};
	assert_refused(&in, -EINVAL);
}

static void a_partial_block_that_is_not_written_is_refused(void **unused)
{
	(void)unused;
	struct plan_input in = good_input();
	rows_add(&in.partial[0], 1);
	assert_refused(&in, -EINVAL);
	in = good_input();
	rows_add(&in.partial[1], 0);
	assert_refused(&in, -EINVAL);
}

static void rows_behind_the_chunk_are_refused(void **unused)
{
	(void)unused;
	for (unsigned row = 16; row < ROWS_MAX; row++) {
		struct plan_input in = good_input();
		rows_add(&in.write[2], row);
		assert_refused(&in, -EINVAL);
	}
}

static void slots_without_data_are_refused(void **unused)
{
	(void)unused;
	for (unsigned slot = 3; slot < RAID_MAX_SLOTS; slot++) {
		struct plan_input in = good_input();
		rows_add(&in.write[slot], 0);
		assert_refused(&in, -EINVAL);
	}
	const struct geometry mirror = {RAID_RAID1, 3, 16, 1};
	struct plan_input in = good_input();
	in.geometry = &mirror;
	rows_add(&in.write[1], 0);
	assert_refused(&in, -EINVAL);
}

static void missing_slots_that_do_not_exist_are_refused(void **unused)
{
	(void)unused;
	struct plan_input in = good_input();
	in.missing_slots = LOST(4);
	assert_refused(&in, -EINVAL);
	in.missing_slots = LOST(31);
	assert_refused(&in, -EINVAL);
}

static void two_missing_members_are_beyond_raid5(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < 4; a++) {
		for (unsigned b = a + 1; b < 4; b++) {
			struct plan_input in = good_input();
			in.missing_slots = LOST(a) | LOST(b);
			assert_refused(&in, -EIO);
		}
	}
}

static void three_missing_members_are_beyond_raid6(void **unused)
{
	(void)unused;
	const struct geometry six = {RAID_RAID6, 6, 16, 1};
	for (uint32_t missing = 0; missing < LOST(6); missing++) {
		struct plan_input in = good_input();
		struct plan plan;
		in.geometry = &six;
		in.missing_slots = missing;
		if (__builtin_popcount(missing) > 2)
			assert_refused(&in, -EIO);
		else
			assert_int_equal(plan_write(&in, &plan), 0);
	}
}

static void every_row_mode_has_its_name(void **unused)
{
	(void)unused;
	static const char *const names[] = {
		"untouched", "full", "rmw", "rcw", "rebuild", "noparity", "unknown"};
	for (unsigned i = 0; i < 7; i++)
		assert_string_equal(plan_row_name((enum plan_row)i), names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_classic_cases_look_as_drawn),
		cmocka_unit_test(every_contiguous_write_of_a_small_chunk_keeps_the_stripe_whole),
		cmocka_unit_test(every_contiguous_write_of_a_64k_chunk_keeps_the_stripe_whole),
		cmocka_unit_test(every_contiguous_write_of_16_members_keeps_the_stripe_whole),
		cmocka_unit_test(every_contiguous_write_of_raid6_keeps_the_stripe_whole),
		cmocka_unit_test(every_contiguous_write_reaches_all_copies),
		cmocka_unit_test(random_scattered_writes_keep_the_stripe_whole),
		cmocka_unit_test(of_two_ways_the_one_whose_blocks_are_cached_is_taken),
		cmocka_unit_test(mirrors_bear_every_loss_but_that_of_all),
		cmocka_unit_test(a_write_of_nothing_is_refused),
		cmocka_unit_test(a_partial_block_that_is_not_written_is_refused),
		cmocka_unit_test(rows_behind_the_chunk_are_refused),
		cmocka_unit_test(slots_without_data_are_refused),
		cmocka_unit_test(missing_slots_that_do_not_exist_are_refused),
		cmocka_unit_test(two_missing_members_are_beyond_raid5),
		cmocka_unit_test(three_missing_members_are_beyond_raid6),
		cmocka_unit_test(every_row_mode_has_its_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
