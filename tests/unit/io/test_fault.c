/* SPDX-License-Identifier: MIT */
/* The set of armed faults: which transfer meets which, how often, and what stays the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/block.h"
#include "io/fault.h"

static struct fault fault_of(enum fault_kind kind, const char *name)
{
	struct fault f = {.kind = kind, .per_mille = 1000};
	strcpy(f.name, name);
	return f;
}

static int arm(struct fault_set *set, struct fault fault)
{
	int id = fault_set_arm(set, &fault);
	assert_true(id > 0);
	return id;
}

/* The id of the fault that a transfer of one block meets, 0: none. */
static int meet(struct fault_set *set, const char *name, enum io_kind kind, uint64_t block)
{
	return fault_set_meet(set, name, kind, block * BLOCK_BYTES, BLOCK_BYTES).id;
}

static void every_kind_has_a_name_that_leads_back_to_it(void **unused)
{
	(void)unused;
	enum fault_kind kind;
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		assert_true(fault_kind_parse(fault_kind_name((enum fault_kind)i), &kind));
		assert_int_equal(kind, i);
	}
	assert_false(fault_kind_parse("unknown", &kind));
	assert_false(fault_kind_parse("", &kind));
}

static void a_fault_passes_over_what_it_skips_and_is_spent_after_its_count(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	struct fault f = fault_of(FAULT_READ_ERROR, "a");
	struct fault_listed listed[2];
	f.skip = 2;
	f.count = 3;
	int id = arm(set, f);
	static const bool expected[] = {false, false, true, true, true, false, false};
	for (unsigned i = 0; i < sizeof(expected); i++) {
		assert_int_equal(fault_set_has(set, FAULT_READ_ERROR), i < 5);
		assert_int_equal(meet(set, "a", IO_READ, i), expected[i] ? id : 0);
	}
	assert_int_equal(fault_set_list(set, listed, 2), 1);
	assert_int_equal(listed[0].met, 5);
	assert_int_equal(listed[0].fired, 3);
	assert_true(fault_set_is_armed(set, id));
	fault_set_free(set);
}

static void a_member_that_is_gone_is_gone_for_all_its_transfers_until_disarmed(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	int error = arm(set, fault_of(FAULT_READ_ERROR, ""));
	struct fault f = fault_of(FAULT_GONE, "");
	f.count = 1;
	int gone = arm(set, f);
	assert_int_equal(meet(set, "a", IO_READ, 0), error);
	assert_false(fault_set_is_gone(set, "a"));
	assert_int_equal(meet(set, "a", IO_WRITE, 0), gone);
	assert_int_equal(meet(set, "a", IO_READ, 0), gone); /* before what was armed before */
	assert_int_equal(meet(set, "a", IO_FLUSH, 0), gone);
	assert_int_equal(meet(set, "b", IO_WRITE, 0), 0); /* one member: count */
	assert_true(fault_set_is_gone(set, "a"));
	assert_int_equal(fault_set_disarm(set, gone), 0);
	assert_int_equal(fault_set_disarm(set, gone), -ENOENT);
	assert_int_equal(meet(set, "a", IO_WRITE, 0), 0);
	assert_false(fault_set_is_gone(set, "a"));
	fault_set_free(set);
}

static void a_flush_meets_its_own_error_anywhere_and_others_without_a_range(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	struct fault f = fault_of(FAULT_LATENCY, "");
	f.offset_bytes = BLOCK_BYTES;
	f.latency_ns = 5;
	arm(set, f);
	assert_int_equal(meet(set, "a", IO_FLUSH, 0), 0);
	f.kind = FAULT_FLUSH_ERROR;
	f.count = 1;
	int error = arm(set, f);
	assert_int_equal(meet(set, "a", IO_FLUSH, 0), error);
	int slow =
		arm(set, (struct fault){.kind = FAULT_LATENCY, .per_mille = 1000, .latency_ns = 7});
	struct fault_hit hit = fault_set_meet(set, "a", IO_FLUSH, 0, 0);
	assert_int_equal(hit.id, slow);
	assert_int_equal(hit.latency_ns, 7);
	fault_set_free(set);
}

static void a_hit_says_where_fault_and_transfer_overlap(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	struct fault f = fault_of(FAULT_BIT_FLIP, "a");
	f.offset_bytes = 1000;
	f.len_bytes = 500;
	arm(set, f);
	assert_false(fault_set_meet(set, "a", IO_READ, 0, 1000).hit);
	assert_false(fault_set_meet(set, "a", IO_READ, 1500, 1000).hit);
	struct fault_hit hit = fault_set_meet(set, "a", IO_READ, 1400, 4096);
	assert_true(hit.hit);
	assert_int_equal(hit.first_bytes, 1400);
	assert_int_equal(hit.end_bytes, 1500);
	uint64_t offset_bytes;
	unsigned bit;
	fault_hit_choose_bit(&hit, &offset_bytes, &bit);
	assert_in_range(offset_bytes, 1400, 1499);
	assert_in_range(bit, 0, 7);
	fault_set_free(set);
}

/* Which of 64 reads meet a fault that fires with probability 1/2, as bits. */
static uint64_t pattern(struct fault_set *set)
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < 64; i++)
		bits |= (uint64_t)(meet(set, "a", IO_READ, i) != 0) << i;
	return bits;
}

static void what_is_hit_follows_from_the_seed_and_not_from_faults_that_match_nothing(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(7), *other = fault_set_new(7);
	struct fault f = fault_of(FAULT_READ_ERROR, "a");
	f.per_mille = 500;
	arm(other, fault_of(FAULT_WRITE_ERROR, "a"));
	arm(other, fault_of(FAULT_READ_ERROR, "b"));
	arm(set, f);
	arm(other, f);
	uint64_t bits = pattern(set);
	assert_true(bits != 0 && bits != UINT64_MAX);
	assert_true(pattern(other) == bits);
	assert_true(pattern(set) != bits); /* the stream goes on */
	fault_set_seed(set, 7);
	assert_int_equal(fault_set_get_seed(set), 7);
	assert_true(pattern(set) == bits);
	fault_set_seed(set, 8);
	assert_true(pattern(set) != bits);
	fault_set_free(set);
	fault_set_free(other);
}

static void a_bent_write_stays_inside_its_file_and_its_length(void **unused)
{
	(void)unused;
	for (uint64_t draw = 0; draw < 200; draw++) {
		struct fault_hit hit = {.hit = true, .kind = FAULT_TORN_WRITE, .draw = draw};
		uint64_t offset = 0, len = 4096;
		assert_int_equal(fault_hit_bend_write(&hit, 1 << 20, &offset, &len), 0);
		assert_int_equal(offset, 0);
		assert_int_equal(len % 512, 0);
		assert_in_range(len, 512, 3584);
		len = 512;
		assert_int_equal(fault_hit_bend_write(&hit, 1 << 20, &offset, &len), 0);
		assert_int_equal(len, 0);
	}
	struct fault_hit hit = {.hit = true, .kind = FAULT_MISDIRECTED};
	uint64_t offset = 8192, len = 8192;
	assert_int_equal(fault_hit_bend_write(&hit, 16384, &offset, &len), 0);
	assert_int_equal(offset, 12288);
	assert_int_equal(len, 4096);
	offset = 12288;
	assert_int_equal(fault_hit_bend_write(&hit, 16384, &offset, &len), 0);
	assert_int_equal(len, 0);
}

static void further_ranges_of_a_fault_count_with_it_and_go_with_it(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	struct fault f = fault_of(FAULT_READ_ERROR, "a");
	struct fault_listed listed;
	f.len_bytes = BLOCK_BYTES;
	f.skip = 1;
	f.count = 2;
	int id = arm(set, f);
	struct fault other = fault_of(FAULT_READ_ERROR, "b");
	other.with = id;
	arm(set, other);
	assert_int_equal(meet(set, "b", IO_READ, 5), 0); /* skipped */
	assert_int_equal(meet(set, "b", IO_READ, 5), id);
	assert_int_equal(meet(set, "a", IO_READ, 0), id);
	assert_int_equal(meet(set, "b", IO_READ, 5), 0); /* spent together */
	assert_int_equal(fault_set_list(set, &listed, 1), 1);
	assert_int_equal(listed.id, id);
	assert_int_equal(listed.met, 3);
	assert_int_equal(listed.fired, 2);
	assert_int_equal(fault_set_disarm(set, id), 0);
	assert_true(fault_set_is_empty(set));
	assert_int_equal(fault_set_arm(set, &other), -ENOENT);
	fault_set_free(set);
}

static void an_unknown_kind_is_refused(void **unused)
{
	(void)unused;
	struct fault_set *set = fault_set_new(1);
	struct fault f = {.kind = (enum fault_kind)FAULT_KINDS};
	assert_int_equal(fault_set_arm(set, &f), -EINVAL);
	assert_true(fault_set_is_empty(set));
	assert_string_equal(fault_kind_name((enum fault_kind)FAULT_KINDS), "unknown");
	fault_set_free(set);
	fault_set_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_a_name_that_leads_back_to_it),
		cmocka_unit_test(a_fault_passes_over_what_it_skips_and_is_spent_after_its_count),
		cmocka_unit_test(
			a_member_that_is_gone_is_gone_for_all_its_transfers_until_disarmed),
		cmocka_unit_test(a_flush_meets_its_own_error_anywhere_and_others_without_a_range),
		cmocka_unit_test(a_hit_says_where_fault_and_transfer_overlap),
		cmocka_unit_test(
			what_is_hit_follows_from_the_seed_and_not_from_faults_that_match_nothing),
		cmocka_unit_test(a_bent_write_stays_inside_its_file_and_its_length),
		cmocka_unit_test(further_ranges_of_a_fault_count_with_it_and_go_with_it),
		cmocka_unit_test(an_unknown_kind_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
