/* SPDX-License-Identifier: MIT */
/* The power goes at the n-th write, n = 0, 1, ..., while members fail, come back, are replaced, and
 * spares take over. What was flushed is there afterwards, whoever serves it; what was being written
 * is old or new, byte by byte. */
#include "rig.h"

#include "unit/random.h"

#define SPAN_BYTES 400000u
#define WRITE_MAX  20000u

struct shape {
	enum raid_level level;
	unsigned members;
	enum pi_type pi;
	enum super_write_hole hole;
};

/* Degraded stripes are safe over a power cut where the log protects them, or mirrors do. */
static const struct shape shapes[] = {
	{RAID_RAID1, 2, PI_NONE, SUPER_HOLE_BITMAP},
	{RAID_RAID5, 3, PI_T10, SUPER_HOLE_JOURNAL},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

struct life {
	struct rig *rig;
	uint8_t *sure;  /* owned: flushed */
	uint8_t *maybe; /* owned: and written since */
	struct random random;
	bool ended; /* the power is off */
};

static void life_write(struct life *l)
{
	uint32_t len = 1 + random_below(&l->random, WRITE_MAX);
	uint32_t at = random_below(&l->random, SPAN_BYTES - len);
	if (l->ended)
		return;
	rig_fill(l->maybe + at, len, (unsigned)random_u64(&l->random));
	int err = volume_write(l->rig->v, at, l->maybe + at, len);
	if (err == 0)
		err = volume_flush(l->rig->v);
	l->ended = err < 0;
	if (err == 0)
		memcpy(l->sure + at, l->maybe + at, len);
	else
		assert_true(sim_world_power_is_cut(l->rig->world));
}

static void life_writes(struct life *l, unsigned count)
{
	while (count--)
		life_write(l);
}

/* A change of membership fails without power alone. */
static void life_did(struct life *l, int err)
{
	l->ended = l->ended || err < 0;
	assert_true(err == 0 || sim_world_power_is_cut(l->rig->world));
}

/* What was not sure is now, one way or the other. */
static void life_look(struct life *l)
{
	uint8_t *buf = malloc(SPAN_BYTES);
	assert_int_equal(volume_read(l->rig->v, 0, buf, SPAN_BYTES), 0);
	for (uint32_t i = 0; i < SPAN_BYTES; i++) {
		if (buf[i] != l->sure[i] && buf[i] != l->maybe[i])
			fail_msg("byte %u is neither old nor new", i);
	}
	memcpy(l->sure, buf, SPAN_BYTES);
	memcpy(l->maybe, buf, SPAN_BYTES);
	free(buf);
}

static struct life life_new(const struct shape *s)
{
	struct life l = {.sure = calloc(1, SPAN_BYTES),
		.maybe = calloc(1, SPAN_BYTES),
		.random = {RIG_SEED}};
	l.rig = rig_new_with(s->level, s->members, s->pi, s->hole);
	rig_disk(l.rig, "new", rig_member_bytes(l.rig, "d1"));
	rig_open(l.rig);
	life_writes(&l, 3);
	return l;
}

static void life_free(struct life *l)
{
	rig_free(l->rig);
	free(l->sure);
	free(l->maybe);
}

/* ---- what is cut ---- */

static void fails_and_comes_back(struct life *l)
{
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR, .name = "d1", .per_mille = 1000};
	sim_world_arm(l->rig->world, &fault);
	life_writes(l, 2);
	sim_world_disarm_all(l->rig->world);
	life_writes(l, 1);
	if (!l->ended)
		life_did(l, volume_replace_member(l->rig->v, 1, "d1", false, &l->rig->why));
	life_writes(l, 1);
	if (!l->ended)
		life_did(l, volume_work(l->rig->v));
	life_writes(l, 1);
}

static void is_replaced(struct life *l)
{
	life_did(l, volume_replace_member(l->rig->v, 1, "new", true, &l->rig->why));
	life_writes(l, 2);
	if (!l->ended)
		life_did(l, volume_work(l->rig->v));
	life_writes(l, 1);
}

static void gives_way_to_a_spare(struct life *l)
{
	struct sim_fault gone = {.kind = SIM_GONE, .name = "d1", .per_mille = 1000};
	life_did(l, volume_add_spare(l->rig->v, "new", true, &l->rig->why));
	sim_world_arm(l->rig->world, &gone);
	life_writes(l, 1);
	if (!l->ended)
		life_did(l, volume_work(l->rig->v));
	life_writes(l, 1);
	sim_world_disarm_all(l->rig->world);
}

/* ---- after the cut ---- */

/* Everybody is given; a disk that is no member yet is left out. */
static void reopen(struct life *l, const struct shape *s)
{
	char *paths[4] = {(char *)"new"};
	for (unsigned i = 0; i < s->members; i++)
		paths[i + 1] = rig_names[i];
	struct volume_open_options o = {.paths = paths, .count = s->members + 1, .degraded = true};
	int err = rig_open_with(l->rig, o);
	if (err < 0)
		fail_msg("open: %s", l->rig->why.text);
}

static void all_members_agree(struct life *l, const struct shape *s)
{
	struct scrub_result result;
	assert_int_equal(volume_work(l->rig->v), 0);
	assert_int_equal(volume_missing(l->rig->v), 0);
	life_look(l);
	assert_int_equal(volume_scrub(l->rig->v, false, NULL, NULL, &result), 0);
	assert_int_equal(result.damage_count, 0);
	scrub_result_free(&result);
	for (unsigned i = 0; i < s->members; i += s->members - 1) {
		assert_int_equal(volume_fail_member(l->rig->v, i, "test", &l->rig->why), 0);
		life_look(l);
		assert_int_equal(volume_replace_member(l->rig->v, i, NULL, false, &l->rig->why), 0);
		assert_int_equal(volume_work(l->rig->v), 0);
	}
}

static bool cut_at(const struct shape *s, void (*happens)(struct life *l), uint64_t n)
{
	struct life l = life_new(s);
	sim_world_cut_power_after(l.rig->world, n);
	happens(&l);
	(void)rig_close(l.rig);
	bool cut = sim_world_power_is_cut(l.rig->world);
	if (!cut)
		sim_world_cut_power_after(l.rig->world, 0);
	sim_world_disarm_all(l.rig->world);
	sim_world_reboot(l.rig->world);
	reopen(&l, s);
	life_look(&l);
	all_members_agree(&l, s);
	life_free(&l);
	return cut;
}

static void cut_everywhere(void (*happens)(struct life *l), unsigned step)
{
	for (size_t i = 0; i < SHAPES; i++) {
		uint64_t n = 0;
		while (cut_at(&shapes[i], happens, n))
			n += n < 16 ? 1 : 1 + random_below(&(struct random){n}, step);
		assert_true(n > 60);
	}
}

static void a_cut_while_a_member_fails_and_comes_back_loses_nothing(void **unused)
{
	(void)unused;
	cut_everywhere(fails_and_comes_back, 10);
}

static void a_cut_while_a_member_is_replaced_loses_nothing(void **unused)
{
	(void)unused;
	cut_everywhere(is_replaced, 200);
}

static void a_cut_while_a_spare_takes_over_loses_nothing(void **unused)
{
	(void)unused;
	cut_everywhere(gives_way_to_a_spare, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cut_while_a_member_fails_and_comes_back_loses_nothing),
		cmocka_unit_test(a_cut_while_a_member_is_replaced_loses_nothing),
		cmocka_unit_test(a_cut_while_a_spare_takes_over_loses_nothing),
	};
	print_message("seed %#llx\n", (unsigned long long)RIG_SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
