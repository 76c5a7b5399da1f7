/* SPDX-License-Identifier: MIT */
/* What a list of mount options means, and what is said of words that mean nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <cmocka.h>
#include "base/clock.h"
#include "cli/mount_options.h"

static struct mount_options o;
static struct errmsg why;

/* Root's, from the start. */
static int parse(const char *list)
{
	why.text[0] = '\0';
	mount_options_init(&o, true);
	return mount_options_parse(&o, list, &why);
}

static int parse_user(const char *list)
{
	why.text[0] = '\0';
	mount_options_init(&o, false);
	int err = mount_options_parse(&o, list, &why);
	return err < 0 ? err : mount_options_check(&o, false, &why);
}

static void assert_says(const char *part)
{
	if (!strstr(why.text, part))
		fail_msg("'%s' is not in: %s", part, why.text);
}

static void nothing_said_is_the_default(void **unused)
{
	(void)unused;
	assert_int_equal(parse(""), 0);
	assert_int_equal(o.dio, DIO_BOUNCE);
	assert_int_equal(o.flags, 0);
	assert_true(o.allow_other);
	assert_false(o.read_only);
	assert_string_equal(o.subtype, "stablefs");
	assert_int_equal(parse_user(""), 0);
	assert_int_equal(o.flags, MS_NOSUID | MS_NODEV);
	assert_false(o.allow_other);
}

static void every_option_is_taken(void **unused)
{
	(void)unused;
	assert_int_equal(
		parse("dio=detect,dio-weaken=owner,event-rate=7,hold=2ms,dio-align=4K,"
		      "commit=30,background-rate=1M,ro,degraded,norecovery,noallow_other,"
		      "writethrough,exacttimes,awake,workers=3,max-errors=9,member-timeout=1s,"
		      "scrub-every=24h,cache=3M,fsname=n,subtype=s,inject=a;b,inject=c"),
		0);
	assert_int_equal(o.dio, DIO_DETECT);
	assert_true(o.dio_weaken && o.read_only && o.degraded && o.no_recovery);
	assert_true(o.write_through && o.exact_times && o.awake && o.inject && !o.allow_other);
	assert_int_equal(o.event_rate, 7);
	assert_int_equal(o.hold_ns, 2 * NS_PER_MS);
	assert_int_equal(o.dio_align, 4096);
	assert_int_equal(o.commit_ns, 30 * NS_PER_S);
	assert_int_equal(o.background_rate, 1 << 20);
	assert_int_equal(o.workers, 3);
	assert_int_equal(o.max_errors, 9);
	assert_int_equal(o.cache_bytes, 3 << 20);
	assert_int_equal(o.member_timeout_ns, NS_PER_S);
	assert_int_equal(o.scrub_every_ns, 86400 * NS_PER_S);
	assert_string_equal(o.fsname, "n");
	assert_string_equal(o.subtype, "s");
	assert_string_equal(o.inject_first, "a;b;c;");
}

static void the_last_word_on_a_thing_counts(void **unused)
{
	(void)unused;
	assert_int_equal(parse("dio=detect,ro,nodev,noexec,dio=verify,rw,dev,inject=x"), 0);
	assert_int_equal(o.dio, DIO_VERIFY);
	assert_false(o.read_only);
	assert_int_equal(o.flags, MS_NOEXEC);
	assert_int_equal(
		parse("noatime,strictatime,nodiratime,lazytime,relatime,subtype=x,nosubtype"), 0);
	assert_int_equal(o.flags, MS_RELATIME | MS_NODIRATIME | MS_LAZYTIME);
	assert_string_equal(o.subtype, "");
}

static void commas_may_be_quoted_or_escaped(void **unused)
{
	(void)unused;
	assert_int_equal(parse("fsname=\"a,b\",ro"), 0);
	assert_string_equal(o.fsname, "a,b");
	assert_true(o.read_only);
	assert_int_equal(parse("fsname=a\\,b,,ro,"), 0);
	assert_string_equal(o.fsname, "a,b");
	assert_true(o.read_only);
	assert_int_equal(parse("fsname=\"never ended,ro"), 0);
	assert_string_equal(o.fsname, "never ended,ro");
}

static void words_for_others_mean_nothing(void **unused)
{
	(void)unused;
	struct mount_options plain;
	assert_int_equal(parse(""), 0);
	plain = o;
	assert_int_equal(parse("defaults,auto,noauto,user,user=joe,nouser,users,owner,group,nofail,"
			       "_netdev,comment=c,x-systemd.automount,x-systemd.idle-timeout=1min,"
			       "X-mount.mkdir,default_permissions,acl,user_xattr,noquota,nomand"),
		0);
	assert_memory_equal(&o, &plain, sizeof(o));
}

static void an_unknown_word_is_refused_with_the_nearest(void **unused)
{
	(void)unused;
	assert_int_equal(parse("ro,noatim"), -EINVAL);
	assert_says("'noatim'");
	assert_says("'noatime'");
	assert_int_equal(parse("comit=3"), -EINVAL);
	assert_says("'commit'");
	assert_int_equal(parse("frobnicate=yes"), -EINVAL);
	assert_says("there is no mount option 'frobnicate'");
	assert_null(strstr(why.text, "did you mean"));
	assert_null(mount_options_nearest("a word that is much longer than all options are"));
}

static void a_sloppy_list_may_hold_anything(void **unused)
{
	(void)unused;
	mount_options_init(&o, true);
	o.sloppy = true;
	assert_int_equal(mount_options_parse(&o, "frobnicate=yes,ro", &why), 0);
	assert_true(o.read_only);
}

static void what_is_not_offered_is_refused_by_name(void **unused)
{
	static const char *const words[][2] = {{"usrquota", "quotas"}, {"grpquota", "quotas"},
		{"usrjquota=aquota.user", "quotas"}, {"context=system_u:object_r:x_t", "SELinux"},
		{"seclabel", "SELinux"}, {"nodefault_permissions", "kernel"}, {"mand", "locks"},
		{"allow_root", "allow_other"}, {"uid=3", "owners"}, {"bind", "mount --bind"}};
	(void)unused;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_int_equal(parse(words[i][0]), -EINVAL);
		assert_says(words[i][1]);
	}
}

static void values_stand_where_they_belong(void **unused)
{
	static const char *const lists[] = {"ro=1", "noatime=0", "dio", "commit",
		"hold=", "commit=x", "commit=99999999999", "commit=1ms", "fsname=", "subtype=a b",
		"subtype=", "workers=65", "workers=0", "workers=-1", "event-rate=1000001",
		"max-errors=0", "dio-align=3", "dio-align=8192", "hold=11s", "member-timeout=1ms",
		"dio-weaken=all", "dio=cow", "cache=much", "cache=2T"};
	(void)unused;
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (parse(lists[i]) != -EINVAL)
			fail_msg("%s is taken", lists[i]);
		assert_true(why.text[0]);
	}
	assert_int_equal(parse("commit=0"), 0);
	assert_int_equal(o.commit_ns, 0);
	assert_int_equal(parse("commit=500ms"), 0);
	assert_int_equal(o.commit_ns, 500 * NS_PER_MS);
}

static void texts_that_are_too_long_are_refused(void **unused)
{
	static char list[PATH_MAX + 64];
	(void)unused;
	memset(list, 'x', sizeof(list) - 1);
	memcpy(list, "fsname=", 7);
	assert_int_equal(parse(list), -EINVAL);
	memcpy(list, "inject=", 7);
	assert_int_equal(parse(list), -EINVAL);
	memcpy(list, "subtype", 7);
	list[7] = '=';
	assert_int_equal(parse(list), -EINVAL);
}

static void users_get_no_devices_and_no_suid(void **unused)
{
	(void)unused;
	assert_int_equal(parse_user("suid"), -EPERM);
	assert_says("suid");
	assert_int_equal(parse_user("nosuid,dev"), -EPERM);
	assert_says("dev");
	assert_int_equal(parse_user("dev,nodev,exec,noatime"), 0);
	assert_int_equal(o.flags, MS_NOSUID | MS_NODEV | MS_NOATIME);
	assert_int_equal(parse_user("nosymfollow"), -EPERM);
	assert_int_equal(parse_user("remount,ro"), -EPERM);
}

static void the_kernels_own_words_are_for_remounts(void **unused)
{
	(void)unused;
	assert_int_equal(parse("rw,user_id=0,group_id=0,max_read=1048576"), 0);
	assert_int_equal(mount_options_check(&o, true, &why), -EINVAL);
	assert_says("user_id");
	assert_int_equal(parse("rw,remount,user_id=0,group_id=0,max_read=1048576,allow_other"), 0);
	assert_int_equal(mount_options_check(&o, true, &why), 0);
}

static void without_recovery_nothing_can_be_written(void **unused)
{
	(void)unused;
	assert_int_equal(parse("norecovery"), 0);
	assert_int_equal(mount_options_check(&o, true, &why), -EINVAL);
	assert_int_equal(parse("noload,ro"), 0);
	assert_int_equal(mount_options_check(&o, true, &why), 0);
}

static void a_remount_names_what_it_cannot_change(void **unused)
{
	struct mount_options before;
	static const char *const lists[][2] = {{"workers=2", "workers="}, {"fsname=x", "fsname="},
		{"nosubtype", "subtype"}, {"noallow_other", "allow_other"}, {"inject", "inject"},
		{"exacttimes", "exacttimes"}, {"awake", "awake"},
		{"scrub-every=1h", "scrub-every="}, {"member-timeout=1s", "member-timeout="},
		{"max-errors=1", "max-errors="}, {"writethrough", "writethrough"},
		{"cache=0", "cache="}, {"inject=y", "inject="}};
	(void)unused;
	assert_int_equal(parse("inject=x"), 0);
	o.inject_first[0] = '\0';
	o.inject = false;
	before = o;
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		assert_int_equal(parse(lists[i][0]), 0);
		if (!strcmp(lists[i][1], "inject="))
			o.inject = false;
		const char *name = mount_options_fixed(&before, &o);
		assert_non_null(name);
		assert_string_equal(name, lists[i][1]);
	}
	assert_int_equal(parse("dio=verify,ro,hold=1ms,noexec,commit=1,event-rate=2,dio-align=1K,"
			       "dio-weaken=owner,background-rate=1M"),
		0);
	assert_null(mount_options_fixed(&before, &o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_the_default),
		cmocka_unit_test(every_option_is_taken),
		cmocka_unit_test(the_last_word_on_a_thing_counts),
		cmocka_unit_test(commas_may_be_quoted_or_escaped),
		cmocka_unit_test(words_for_others_mean_nothing),
		cmocka_unit_test(an_unknown_word_is_refused_with_the_nearest),
		cmocka_unit_test(a_sloppy_list_may_hold_anything),
		cmocka_unit_test(what_is_not_offered_is_refused_by_name),
		cmocka_unit_test(values_stand_where_they_belong),
		cmocka_unit_test(texts_that_are_too_long_are_refused),
		cmocka_unit_test(users_get_no_devices_and_no_suid),
		cmocka_unit_test(the_kernels_own_words_are_for_remounts),
		cmocka_unit_test(without_recovery_nothing_can_be_written),
		cmocka_unit_test(a_remount_names_what_it_cannot_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
