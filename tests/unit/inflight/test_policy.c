/* SPDX-License-Identifier: MIT */
/* inflight/policy: names. */
#include "inflight/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_policy_of_a_mount_is_read_back_from_its_name(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < DIO_POLICY_COUNT; i++) {
		enum dio_policy read = DIO_POLICY_COUNT;
		assert_int_equal(dio_policy_parse(dio_policy_name(i), &read), i != DIO_COW);
		if (i == DIO_COW)
			continue;
		assert_int_equal(read, i);
		assert_non_null(strstr(dio_policy_names(), dio_policy_name(i)));
	}
}

/* ---- which one counts ---- */

static enum dio_policy choose(enum dio_policy mount, struct dio_say file, struct dio_say tree)
{
	struct dio_choice c = {.mount = mount, .file = file, .tree = tree};
	return dio_policy_choose(&c);
}

static struct dio_say by_user(enum dio_policy policy)
{
	return (struct dio_say){.said = true, .policy = policy};
}

static struct dio_say by_root(enum dio_policy policy)
{
	return (struct dio_say){.said = true, .by_root = true, .policy = policy};
}

static const struct dio_say nothing = {0};

static void the_tree_counts_before_the_file_and_the_file_before_the_mount(void **unused)
{
	(void)unused;
	assert_int_equal(choose(DIO_BOUNCE, nothing, nothing), DIO_BOUNCE);
	assert_int_equal(choose(DIO_BOUNCE, by_user(DIO_DETECT), nothing), DIO_DETECT);
	assert_int_equal(choose(DIO_BOUNCE, by_user(DIO_DETECT), by_user(DIO_REFUSE)), DIO_REFUSE);
}

static void a_user_cannot_risk_the_stripes_of_others(void **unused)
{
	(void)unused;
	static const enum dio_policy risky[] = {DIO_ZEROCOPY, DIO_VERIFY, DIO_ADAPTIVE};
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(choose(DIO_BOUNCE, by_user(risky[i]), nothing), DIO_BOUNCE);
		assert_int_equal(choose(DIO_DETECT, nothing, by_user(risky[i])), DIO_DETECT);
		assert_int_equal(choose(DIO_BOUNCE, by_root(risky[i]), nothing), risky[i]);
		assert_int_equal(choose(DIO_BOUNCE, nothing, by_root(risky[i])), risky[i]);
	}
	/* What does not count hides nothing that does. */
	assert_int_equal(
		choose(DIO_BOUNCE, by_user(DIO_DETECT), by_user(DIO_ZEROCOPY)), DIO_DETECT);
}

static void a_mount_can_let_owners_choose(void **unused)
{
	(void)unused;
	struct dio_choice c = {.mount = DIO_BOUNCE, .file = by_user(DIO_ZEROCOPY), .weaken = true};
	assert_int_equal(dio_policy_choose(&c), DIO_ZEROCOPY);
}

static void nobody_weakens_what_is_weakest(void **unused)
{
	(void)unused;
	assert_int_equal(choose(DIO_ZEROCOPY, by_user(DIO_VERIFY), nothing), DIO_VERIFY);
	assert_int_equal(choose(DIO_ADAPTIVE, nothing, by_user(DIO_ADAPTIVE)), DIO_ADAPTIVE);
	assert_int_equal(choose(DIO_ADAPTIVE, nothing, by_user(DIO_ZEROCOPY)), DIO_ADAPTIVE);
}

static void unknown_names_are_refused(void **unused)
{
	(void)unused;
	static const char *const bad[] = {"", "bounc", "bounced", "Bounce", "zero-copy", " bounce"};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		enum dio_policy read = DIO_ZEROCOPY;
		assert_false(dio_policy_parse(bad[i], &read));
		assert_int_equal(read, DIO_ZEROCOPY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_of_a_mount_is_read_back_from_its_name),
		cmocka_unit_test(the_tree_counts_before_the_file_and_the_file_before_the_mount),
		cmocka_unit_test(a_user_cannot_risk_the_stripes_of_others),
		cmocka_unit_test(a_mount_can_let_owners_choose),
		cmocka_unit_test(nobody_weakens_what_is_weakest),
		cmocka_unit_test(unknown_names_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
