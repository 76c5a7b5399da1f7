/* SPDX-License-Identifier: MIT */
/* Each policy against a thread that stores into the buffer all the time. */
#include "unit/lib/rig.h"

#define LEN 65536u

struct tally {
	unsigned stored, failed, refused;
};

/* @count writes of a buffer that changes, over the same place. */
static struct tally write_under_fire(struct rig *rig, enum stablefs_policy policy, unsigned count)
{
	struct mutator m;
	struct tally t = {0};
	uint8_t *p = rig_memory(LEN, 'm');
	assert_int_equal(stablefs_pwrite(rig->f, p, LEN, 0, STABLEFS_BOUNCE), LEN);
	mutator_start(&m, p, LEN);
	for (unsigned i = 0; i < count; i++) {
		int64_t got = stablefs_pwrite(rig->f, p, LEN, 0, policy);
		t.stored += got == LEN;
		t.failed += got == -EIO;
		t.refused += got == -EILSEQ;
	}
	mutator_stop(&m);
	munmap(p, LEN);
	assert_int_equal(t.stored + t.failed + t.refused, count);
	return t;
}

/* Until one of them changed in flight: a thread may be kept from storing for some time. */
static struct tally write_until_changed(
	struct rig *rig, enum stablefs_policy policy, unsigned count)
{
	struct tally sum = {0};
	for (unsigned i = 0; i < 50 && !sum.failed && !sum.refused && !rig_stats(rig).changed;
		i++) {
		struct tally t = write_under_fire(rig, policy, count);
		sum.stored += t.stored;
		sum.failed += t.failed;
		sum.refused += t.refused;
	}
	return sum;
}

static struct rig *rig_unchecked(enum stablefs_level level, unsigned members)
{
	struct stablefs_create_options o = STABLEFS_CREATE_DEFAULTS;
	o.level = level;
	o.members = members;
	o.pi_unchecked = true;
	return rig_new(o);
}

static void zerocopy_is_refused_by_members_that_check(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	struct tally t = write_until_changed(rig, STABLEFS_ZEROCOPY, 200);
	assert_true(t.refused > 0);
	assert_int_equal(t.failed, 0);
	assert_true(rig_stats(rig).refused > 0);
	rig_free(rig);
}

struct seen {
	unsigned calls;
	bool named;
};

static void look_at_damage(void *ctx, const struct stablefs_damage *d)
{
	struct seen *s = ctx;
	s->calls++;
	for (unsigned i = 0; i < d->place_count; i++)
		s->named = s->named || !strcmp(d->places[i].path, "/file");
}

static void zerocopy_damages_a_volume_that_does_not_check_and_scrub_names_the_file(void **unused)
{
	(void)unused;
	struct rig *rig = rig_unchecked(STABLEFS_RAID5, 4);
	struct seen seen = {0};
	struct stablefs_scrub_options o = {.damage = look_at_damage, .ctx = &seen};
	struct stablefs_scrub_result r = {0};
	for (unsigned i = 0; i < 50 && !r.damage; i++) {
		assert_int_equal(write_under_fire(rig, STABLEFS_ZEROCOPY, 50).stored, 50);
		seen = (struct seen){0};
		assert_int_equal(stablefs_scrub(rig->v, &o, &r), 0);
	}
	assert_true(r.damage > 0);
	assert_int_equal(seen.calls, r.damage);
	assert_true(seen.named);
	rig_free(rig);
}

/* What every sample of a write sees the same of cannot do harm: no event, no refusal, no damage. */
static void stays_sound(struct rig *rig, enum stablefs_policy policy, unsigned count)
{
	assert_int_equal(write_under_fire(rig, policy, count).stored, count);
	assert_int_equal(rig_stats(rig).refused, 0);
	assert_int_equal(rig_scrub(rig).damage, 0);
	rig_free(rig);
}

static void bounce_stays_sound(void **unused)
{
	(void)unused;
	stays_sound(rig_raid5(), STABLEFS_BOUNCE, 100);
	stays_sound(rig_unchecked(STABLEFS_RAID1, 2), STABLEFS_BOUNCE, 100);
}

static void cow_stays_sound(void **unused)
{
	(void)unused;
	stays_sound(rig_raid5(), STABLEFS_COW, 500);
	stays_sound(rig_unchecked(STABLEFS_RAID1, 2), STABLEFS_COW, 100);
}

static void detect_stores_the_copy_and_tells(void **unused)
{
	(void)unused;
	struct stablefs_event e;
	struct rig *rig = rig_raid5();
	assert_true(write_until_changed(rig, STABLEFS_DETECT, 100).stored >= 100);
	assert_true(rig_stats(rig).changed > 0);
	assert_int_equal(stablefs_event_next(rig->v, &e, 0), 1);
	assert_int_equal(e.kind, STABLEFS_EVENT_CHANGED);
	assert_string_equal(e.path, "/file");
	assert_string_equal(e.what, "copy stored");
	assert_string_equal(e.policy, "detect");
	assert_int_equal(e.len, LEN);
	assert_int_equal(e.first_changed % 512 < 8, 1);
	assert_true(e.changed_bytes > 0 && e.changed_bytes <= LEN / 512 * 8);
	assert_int_equal(e.blast, STABLEFS_BLAST_NOBODY);
	assert_int_equal(rig_scrub(rig).damage, 0);
	rig_free(rig);
}

/* Six members: a write of one chunk is cheapest as a read-modify-write, which trusts old parity. */
static void verify_fails_what_changed_and_leaves_the_volume_sound(void **unused)
{
	(void)unused;
	struct rig *rig = rig_unchecked(STABLEFS_RAID5, 6);
	struct tally t = write_until_changed(rig, STABLEFS_VERIFY, 100);
	struct stablefs_event e;
	assert_true(t.failed > 0);
	assert_int_equal(rig_stats(rig).redone, t.failed);
	assert_int_equal(stablefs_event_next(rig->v, &e, 0), 1);
	assert_string_equal(e.what, "redone");
	assert_int_equal(e.error, -EIO);
	assert_int_equal(e.blast, STABLEFS_BLAST_NOBODY);
	assert_int_equal(rig_scrub(rig).damage, 0);
	rig_free(rig);
}

static void without_a_member_a_changed_write_is_said_to_concern_strangers(void **unused)
{
	(void)unused;
	struct stablefs_create_options create = STABLEFS_CREATE_DEFAULTS;
	struct stablefs_event e;
	char member[96];
	create.level = STABLEFS_RAID5;
	create.members = 4;
	create.pi = STABLEFS_PI_NONE; /* with tuples it fails: the old blocks do not fit them */
	struct rig *rig = rig_new(create);
	rig_close(rig);
	snprintf(member, sizeof(member), "%s/member-1", rig->dir);
	assert_int_equal(unlink(member), 0);
	rig_open(rig, STABLEFS_DEFAULT);
	assert_true(write_until_changed(rig, STABLEFS_VERIFY, 100).failed > 0);
	assert_int_equal(stablefs_event_next(rig->v, &e, 0), 1);
	assert_string_equal(e.what, "redone");
	assert_int_equal(e.blast, STABLEFS_BLAST_STRANGERS);
	rig_free(rig);
}

static void verify_is_right_where_members_refuse_first(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	struct tally t = write_until_changed(rig, STABLEFS_VERIFY, 100);
	assert_true(t.failed > 0);
	assert_int_equal(t.refused, 0);
	assert_int_equal(rig_scrub(rig).damage, 0);
	rig_free(rig);
}

static void adaptive_stores_all_and_bounces_from_the_first_change_on(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	assert_true(write_until_changed(rig, STABLEFS_ADAPTIVE, 300).stored >= 300);
	struct stablefs_stats s = rig_stats(rig);
	assert_true(s.adaptive_bounced);
	assert_int_equal(s.changed, 1);
	assert_int_equal(s.redone, 1);
	assert_true(s.by_policy[STABLEFS_ADAPTIVE] >= 300);
	assert_int_equal(rig_scrub(rig).damage, 0);
	rig_free(rig);
}

/* A buffer that is still during one write and changes before the next one: the file holds the bytes
 * at submission, and nobody waits for anybody. */
static void cow_stores_the_bytes_at_submission(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(LEN, 0), *expected = rig_memory(LEN, 0);
	for (unsigned i = 1; i < 200; i++) {
		struct stablefs_io io = {
			.file = rig->f, .buffer = p, .len = LEN, .policy = STABLEFS_COW};
		memset(p, (int)i, LEN);
		memset(expected, (int)i, LEN);
		assert_int_equal(stablefs_write(&io), 0);
		memset(p, 0xee, LEN);
		assert_int_equal(stablefs_wait(&io), LEN);
		assert_int_equal(io.happened, STABLEFS_HELD);
		rig_reads(rig, expected, LEN, 0);
	}
	struct stablefs_stats s = rig_stats(rig);
	assert_int_equal(s.cow_held, 199);
	assert_true(s.cow_pages_copied > 0);
	assert_int_equal(s.refused, 0);
	munmap(p, LEN);
	munmap(expected, LEN);
	rig_free(rig);
}

/* A thread that stores at full speed when it is let, and is known to be still when it is not. */
struct gated {
	uint64_t *words;
	atomic_bool go, still, stop;
	pthread_t thread;
};

RACES_ON_PURPOSE static void *gated_run(void *arg)
{
	struct gated *g = arg;
	for (uint64_t n = 1; !atomic_load(&g->stop); n++) {
		bool go = atomic_load(&g->go);
		atomic_store(&g->still, !go);
		for (size_t i = 0; go && i < LEN / 8; i += 64)
			__atomic_store_n(&g->words[i], n, __ATOMIC_RELAXED);
		if (!go)
			sched_yield();
	}
	return NULL;
}

static void gate_set(struct gated *g, bool go)
{
	atomic_store(&g->go, go);
	while (atomic_load(&g->still) == go)
		sched_yield();
}

/* Bytes are known at submission; from then to the completion a thread stores all the time. */
static void cow_stores_the_bytes_at_submission_while_a_thread_storms(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(LEN, 0), *expected = rig_memory(LEN, 0);
	struct gated g = {.words = (uint64_t *)p, .still = true};
	assert_int_equal(pthread_create(&g.thread, NULL, gated_run, &g), 0);
	for (unsigned i = 0; i < 500; i++) {
		uint32_t len = 4096u << i % 5;
		uint64_t offset = i % 7 * 4096;
		struct stablefs_io io = {.file = rig->f,
			.offset = offset,
			.buffer = p,
			.len = len,
			.policy = STABLEFS_COW};
		memset(p, (int)i, len);
		memset(expected, (int)i, len);
		assert_int_equal(stablefs_write(&io), 0);
		gate_set(&g, true);
		assert_int_equal(stablefs_wait(&io), len);
		gate_set(&g, false);
		rig_reads(rig, expected, len, offset);
	}
	atomic_store(&g.stop, true);
	pthread_join(g.thread, NULL);
	struct stablefs_stats s = rig_stats(rig);
	assert_int_equal(s.cow_held, 500);
	assert_int_equal(s.refused + s.failed, 0);
	assert_int_equal(rig_scrub(rig).damage, 0);
	munmap(p, LEN);
	munmap(expected, LEN);
	rig_free(rig);
}

struct crossing {
	struct rig *rig;
	uint8_t *first, *second;
	unsigned failures;
};

/* Two writes under way at once, of the two buffers, in this thread's order; stores in between. */
RACES_ON_PURPOSE static void *write_both(void *arg)
{
	struct crossing *x = arg;
	uint64_t base = x->first < x->second ? 0 : 8 * LEN;
	for (unsigned i = 0; i < 300; i++) {
		struct stablefs_io a = {.file = x->rig->f,
			.offset = base,
			.buffer = x->first,
			.len = LEN,
			.policy = STABLEFS_COW};
		struct stablefs_io b = a;
		b.buffer = x->second;
		b.offset = base + LEN;
		x->failures += stablefs_write(&a) < 0;
		__atomic_fetch_add(&x->first[i], 1, __ATOMIC_RELAXED);
		x->failures += stablefs_write(&b) < 0;
		__atomic_fetch_add(&x->second[i], 1, __ATOMIC_RELAXED);
		x->failures += stablefs_wait(&a) != LEN;
		x->failures += stablefs_wait(&b) != LEN;
	}
	return NULL;
}

static void two_threads_write_two_buffers_with_cow_in_opposite_order(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *a = rig_memory(LEN, 'a'), *b = rig_memory(LEN, 'b');
	struct crossing ab = {rig, a, b, 0}, ba = {rig, b, a, 0};
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, write_both, &ba), 0);
	write_both(&ab);
	pthread_join(t, NULL);
	assert_int_equal(ab.failures + ba.failures, 0);
	assert_int_equal(rig_stats(rig).refused, 0);
	assert_int_equal(rig_scrub(rig).damage, 0);
	munmap(a, LEN);
	munmap(b, LEN);
	rig_free(rig);
}

static void cow_of_shared_memory_is_bounced_and_counted(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	void *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 's', LEN);
	assert_int_equal(stablefs_pwrite(rig->f, p, LEN, 0, STABLEFS_COW), LEN);
	struct stablefs_stats s = rig_stats(rig);
	unsigned reasons = 0;
	for (unsigned i = 0; i < STABLEFS_COW_REASONS; i++)
		reasons += s.cow_bounced_by[i].writes &&
			   !strcmp(s.cow_bounced_by[i].reason, "not plain memory");
	assert_int_equal(s.cow_bounced, 1);
	assert_int_equal(reasons, 1);
	rig_reads(rig, p, LEN, 0);
	munmap(p, LEN);
	rig_free(rig);
}

static bool note_neighbour(void *ctx, const char *path)
{
	char *names = ctx;
	size_t used = strlen(names);
	snprintf(names + used, 4096 - used, "%s", path);
	return true;
}

static void neighbours_are_the_files_that_share_parity(void **unused)
{
	(void)unused;
	char names[4096] = "";
	struct rig *rig = rig_raid5();
	struct stablefs_file *other;
	uint8_t *p = rig_memory(192 * KIB, 'n');
	assert_int_equal(stablefs_file_open(rig->v, "/other", STABLEFS_CREATE, &other), 0);
	assert_int_equal(stablefs_pwrite(rig->f, p, 192 * KIB, 0, STABLEFS_BOUNCE), 192 * KIB);
	assert_int_equal(stablefs_pwrite(other, p, 192 * KIB, 0, STABLEFS_BOUNCE), 192 * KIB);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(
			stablefs_pwrite(rig->f, p, 4096, MIB + i * 4096, STABLEFS_BOUNCE), 4096);
		assert_int_equal(
			stablefs_pwrite(other, p, 64 * KIB, MIB + i * 64 * KIB, STABLEFS_BOUNCE),
			64 * KIB);
	}
	assert_int_equal(stablefs_neighbours(rig->f, 0, 2 * MIB, note_neighbour, names), 0);
	assert_string_equal(names, "/other");
	assert_int_equal(stablefs_file_close(other), 0);
	munmap(p, 192 * KIB);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zerocopy_is_refused_by_members_that_check),
		cmocka_unit_test(
			zerocopy_damages_a_volume_that_does_not_check_and_scrub_names_the_file),
		cmocka_unit_test(bounce_stays_sound),
		cmocka_unit_test(cow_stays_sound),
		cmocka_unit_test(detect_stores_the_copy_and_tells),
		cmocka_unit_test(verify_fails_what_changed_and_leaves_the_volume_sound),
		cmocka_unit_test(without_a_member_a_changed_write_is_said_to_concern_strangers),
		cmocka_unit_test(verify_is_right_where_members_refuse_first),
		cmocka_unit_test(adaptive_stores_all_and_bounces_from_the_first_change_on),
		cmocka_unit_test(cow_stores_the_bytes_at_submission),
		cmocka_unit_test(cow_stores_the_bytes_at_submission_while_a_thread_storms),
		cmocka_unit_test(two_threads_write_two_buffers_with_cow_in_opposite_order),
		cmocka_unit_test(cow_of_shared_memory_is_bounced_and_counted),
		cmocka_unit_test(neighbours_are_the_files_that_share_parity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
