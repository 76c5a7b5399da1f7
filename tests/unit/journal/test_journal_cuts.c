/* SPDX-License-Identifier: MIT */
/* Many writes side by side, rings that wrap, and an end at any moment, of the power or of the
 * program: what was durable and is needed is found, and nothing that is older. */
#include "rings.h"
#include "unit/random.h"

#define STRIPES 12u
#define ROUNDS  4u

/* What a ring may show of a stripe: nothing, or one of these tags. */
enum may { MAY_NOTHING = 1, MAY_LAST = 2, MAY_NEXT = 4 };

struct stripe_model {
	struct rings_append x;
	bool under_way; /* appended; it may have ended */
	bool next_is_record;
	uint8_t last, next; /* tags; 0: none, superseded */
	bool needed;        /* the newest record, until a flush that began behind its write */
	uint64_t ended_at;
};

struct model {
	struct rings r;
	struct random rnd;
	unsigned members; /* mask: to whose rings records go */
	struct stripe_model stripes[STRIPES];
	uint64_t clock, flush_began, flush_epoch;
	bool flushing;
	bool large; /* three records fill a ring */
	uint8_t tag;
};

static uint8_t next_tag(struct model *m)
{
	m->tag = m->tag == 250 ? 1 : m->tag + 1;
	return m->tag;
}

/* ---- steps ---- */

static void append(struct model *m, uint64_t stripe, struct journal_run run, uint8_t tag)
{
	struct stripe_model *s = &m->stripes[stripe];
	s->next_is_record = !run.superseded;
	s->next = run.superseded ? 0 : tag;
	s->under_way = true;
	rings_append_to(&m->r, &s->x, m->members, stripe, run, tag);
}

static bool is_held(const struct model *m, uint64_t stripe)
{
	bool held = false;
	for (unsigned i = 0; m->members >> i; i++)
		held |= m->members >> i & 1 && journal_holds(m->r.j, i, stripe, 0);
	return held;
}

/* A write of row 0 in part, or of the whole row. */
static void write_starts(struct model *m, uint64_t stripe)
{
	struct stripe_model *s = &m->stripes[stripe];
	unsigned rows = random_below(&m->rnd, 4) ? 1 : 1 + random_below(&m->rnd, 16);
	rows = m->large ? 16 : rows;
	if (random_below(&m->rnd, 4)) {
		append(m, stripe, rings_row(0, rows, 1), next_tag(m));
	} else if (is_held(m, stripe)) {
		append(m, stripe, (struct journal_run){.row = 0, .rows = 1, .superseded = true}, 0);
	} else {
		s->last = 0; /* it is written without a word */
		s->needed = false;
	}
}

/* Its append has ended well, and so has its write. */
static void write_ends(struct model *m, uint64_t stripe)
{
	struct stripe_model *s = &m->stripes[stripe];
	assert_int_equal(rings_wait(&m->r, &s->x), 0);
	journal_ended(m->r.j, &s->x.a);
	s->under_way = false;
	s->last = s->next;
	s->needed = true;
	s->ended_at = ++m->clock;
}

static void flush_step(struct model *m)
{
	if (!m->flushing) {
		m->flush_epoch = journal_epoch(m->r.j);
		m->flush_began = ++m->clock;
	} else {
		for (uint64_t i = 0; i < STRIPES; i++)
			if (m->stripes[i].ended_at < m->flush_began)
				m->stripes[i].needed = false;
		journal_flushed(m->r.j, m->flush_epoch);
	}
	m->flushing = !m->flushing;
}

static void step(struct model *m)
{
	uint64_t stripe = random_below(&m->rnd, STRIPES);
	struct stripe_model *s = &m->stripes[stripe];
	switch (random_below(&m->rnd, 8)) {
	case 0:
		flush_step(m);
		break;
	case 1:
	case 2:
	case 3:
		(void)io_run(m->r.rig.io, random_below(&m->rnd, 2));
		break;
	default:
		if (!s->under_way)
			write_starts(m, stripe);
		else if (s->x.ended && !s->x.err)
			write_ends(m, stripe);
	}
}

/* ---- what is found ---- */

static unsigned may_find(const struct stripe_model *s, bool power_went)
{
	if (s->under_way && s->x.ended && !s->x.err)
		return s->next ? MAY_NEXT : MAY_NOTHING;
	/* The program's end takes nothing of what was said to be stored. */
	if (s->under_way && s->x.stored && !power_went)
		return s->next ? MAY_NEXT : MAY_NOTHING;
	unsigned may = s->last ? MAY_LAST : MAY_NOTHING;
	if (!s->needed)
		may |= MAY_NOTHING;
	if (s->under_way)
		may |= s->next ? MAY_NEXT : MAY_NOTHING;
	return may;
}

static unsigned found(struct model *m, unsigned member, uint64_t stripe)
{
	const struct stripe_model *s = &m->stripes[stripe];
	struct journal_found f;
	if (!journal_find(m->r.j, member, stripe, 0, &f))
		return MAY_NOTHING;
	uint8_t tag = f.block[RINGS_PARITY][0];
	if (s->under_way && s->next && tag == s->next)
		return MAY_NEXT;
	return s->last && tag == s->last ? MAY_LAST : 0;
}

static void look(struct model *m, uint64_t stripe, bool power_went)
{
	struct stripe_model *s = &m->stripes[stripe];
	unsigned in[RINGS_MEMBERS], any = 0, may = may_find(s, power_went);
	for (unsigned i = 0; i < RINGS_MEMBERS; i++) {
		if (!(m->members >> i & 1))
			continue;
		in[i] = found(m, i, stripe);
		if (!(in[i] & may))
			fail_msg("stripe %u, ring %u: %#x was found, of %#x", (unsigned)stripe, i,
				in[i], may);
		/* Of several rings each says that what is not durable happened, or none does. */
		any |= in[i];
		assert_true(!(any & MAY_NEXT) || in[i] == MAY_NEXT);
	}
	s->last = any & MAY_NEXT ? s->next : any & MAY_LAST ? s->last : 0;
	s->needed = !(any & MAY_NOTHING);
	s->under_way = false;
	s->ended_at = ++m->clock;
}

/* ---- a round ---- */

static void end_of_all(struct model *m, bool power_went)
{
	rings_settle(&m->r);
	(power_went ? rings_reboot : rings_restart)(&m->r);
	m->flushing = false;
	for (uint64_t i = 0; i < STRIPES; i++) {
		free(m->stripes[i].x.iov.iov_base);
		m->stripes[i].x.iov.iov_base = NULL;
		look(m, i, power_went);
	}
}

static void round_live(struct model *m)
{
	unsigned steps = random_below(&m->rnd, 400);
	bool power_goes = random_below(&m->rnd, 4);
	if (power_goes)
		sim_world_cut_power_after(m->r.rig.world, random_below(&m->rnd, 40));
	for (unsigned i = 0; i < steps && !sim_world_power_is_cut(m->r.rig.world); i++)
		step(m);
	end_of_all(m, power_goes);
	if (random_below(&m->rnd, 2))
		end_of_all(m, true); /* once more, before anything was done */
	for (uint64_t i = 0; i < STRIPES; i++)
		journal_forget(m->r.j, i);
}

static void live(uint64_t seed, unsigned members)
{
	struct model m = {.rnd = {seed}, .members = members};
	m.large = random_below(&m.rnd, 2);
	rings_init(&m.r, seed);
	for (unsigned i = 0; i < ROUNDS; i++)
		round_live(&m);
	rings_fini(&m.r);
}

static void sweep(const char *name, unsigned members)
{
	struct random r = random_start(name, 1);
	for (unsigned n = 0; n < 500; n++)
		live(random_u64(&r), members);
}

static void one_ring_shows_what_is_needed_and_nothing_older(void **unused)
{
	(void)unused;
	sweep(__func__, 1);
}

static void two_rings_show_the_same(void **unused)
{
	(void)unused;
	sweep(__func__, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_ring_shows_what_is_needed_and_nothing_older),
		cmocka_unit_test(two_rings_show_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
