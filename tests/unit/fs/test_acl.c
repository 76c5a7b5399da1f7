/* SPDX-License-Identifier: MIT */
#include "fs/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include "rig.h"

#define SEED   UINT64_C(16)
#define NOBODY UINT32_MAX

#define LIST(name, ...)                                                                            \
	static const struct acl name = {                                                           \
		.count = sizeof((struct acl_entry[]){__VA_ARGS__}) / sizeof(struct acl_entry),     \
		.entries = {__VA_ARGS__}}

/* rw-r----x; with a mask: u:1001:rwx, g:100:rx, mask r-x. */
LIST(plain, {ACL_TAG_USER_OBJ, 6, NOBODY}, {ACL_TAG_GROUP_OBJ, 4, NOBODY},
	{ACL_TAG_OTHER, 1, NOBODY});
LIST(named, {ACL_TAG_USER_OBJ, 6, NOBODY}, {ACL_TAG_USER, 7, 1001}, {ACL_TAG_GROUP_OBJ, 4, NOBODY},
	{ACL_TAG_GROUP, 5, 100}, {ACL_TAG_MASK, 5, NOBODY}, {ACL_TAG_OTHER, 1, NOBODY});
LIST(masked, {ACL_TAG_USER_OBJ, 6, NOBODY}, {ACL_TAG_GROUP_OBJ, 4, NOBODY},
	{ACL_TAG_MASK, 0, NOBODY}, {ACL_TAG_OTHER, 1, NOBODY});

/* ---- values ---- */

static int decode(const struct acl *acl, struct acl *out)
{
	uint8_t bytes[ACL_MAX_BYTES];
	return acl_decode(bytes, acl_encode(acl, bytes), out);
}

static void what_is_encoded_is_decoded(void **unused)
{
	(void)unused;
	const struct acl *all[] = {&plain, &named, &masked};
	for (unsigned i = 0; i < 3; i++) {
		struct acl back;
		assert_int_equal(decode(all[i], &back), 0);
		assert_int_equal(back.count, all[i]->count);
		assert_memory_equal(
			back.entries, all[i]->entries, back.count * sizeof(struct acl_entry));
	}
}

static void the_bytes_are_those_of_linux(void **unused)
{
	(void)unused;
	static const uint8_t want[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255,
		255, 255, 255, 32, 0, 1, 0, 255, 255, 255, 255};
	uint8_t bytes[ACL_MAX_BYTES];
	assert_int_equal(acl_encode(&plain, bytes), sizeof(want));
	assert_memory_equal(bytes, want, sizeof(want));
}

static void no_entries_mean_no_list(void **unused)
{
	(void)unused;
	struct acl none = {.count = 0}, back = plain;
	assert_int_equal(decode(&none, &back), 0);
	assert_int_equal(back.count, 0);
}

static void one_entry_changed_makes_it_malformed(void **unused)
{
	(void)unused;
	static const struct {
		unsigned at;
		struct acl_entry entry;
	} bad[] = {
		{0, {ACL_TAG_GROUP_OBJ, 6, NOBODY}}, /* no owner */
		{1, {ACL_TAG_USER, 7, NOBODY}},      /* nobody's name */
		{1, {ACL_TAG_USER_OBJ, 7, NOBODY}},  /* two owners */
		{1, {ACL_TAG_USER, 8, 1001}},        /* unknown rights */
		{2, {ACL_TAG_GROUP, 4, 7}},          /* no group */
		{2, {ACL_TAG_MASK, 4, NOBODY}},      /* two masks, out of order */
		{4, {ACL_TAG_GROUP, 5, 101}},        /* names, and no mask */
		{5, {ACL_TAG_MASK, 5, NOBODY}},      /* no others */
		{5, {0x40, 5, NOBODY}},              /* unknown tag */
	};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct acl acl = named, back;
		acl.entries[bad[i].at] = bad[i].entry;
		assert_int_equal(decode(&acl, &back), -EINVAL);
	}
}

static void every_cut_of_a_value_is_refused(void **unused)
{
	(void)unused;
	uint8_t bytes[ACL_MAX_BYTES];
	struct acl back;
	size_t size = acl_encode(&named, bytes);
	for (size_t cut = 0; cut < size; cut++)
		if (cut != 4) /* no entries */
			assert_int_equal(acl_decode(bytes, cut, &back), -EINVAL);
	bytes[0] = 3;
	assert_int_equal(acl_decode(bytes, size, &back), -EOPNOTSUPP);
}

static void more_than_a_page_is_too_big(void **unused)
{
	(void)unused;
	static uint8_t bytes[4 + 8 * (ACL_MAX_ENTRIES + 1)];
	struct acl back;
	bytes[0] = 2;
	assert_int_equal(acl_decode(bytes, sizeof(bytes), &back), -E2BIG);
}

/* ---- list and mode ---- */

static void the_mask_is_the_groups_bits_of_the_mode(void **unused)
{
	(void)unused;
	assert_int_equal(acl_mode(&plain, S_IFREG | 04777), S_IFREG | 04641);
	assert_int_equal(acl_mode(&named, S_IFREG), S_IFREG | 0651);
	assert_int_equal(acl_mode(&masked, S_IFDIR | 02770), S_IFDIR | 02601);
}

static void a_mode_says_it_all_where_nobody_is_named_and_there_is_no_mask(void **unused)
{
	(void)unused;
	assert_true(acl_is_mode(&plain));
	assert_false(acl_is_mode(&named));
	assert_false(acl_is_mode(&masked));
}

static void after_a_chmod_list_and_mode_agree(void **unused)
{
	(void)unused;
	const struct acl *all[] = {&plain, &named, &masked};
	for (unsigned i = 0; i < 3; i++) {
		for (mode_t mode = 0; mode <= 0777; mode++) {
			struct acl acl = *all[i];
			acl_chmod(&acl, S_IFREG | mode);
			assert_int_equal(acl_mode(&acl, 0), mode);
			assert_int_equal(acl.count, all[i]->count);
		}
	}
}

static void a_chmod_leaves_named_ones_and_the_group_beside_a_mask_alone(void **unused)
{
	(void)unused;
	struct acl acl = named;
	acl_chmod(&acl, 0777);
	assert_int_equal(acl.entries[1].rights, 7);
	assert_int_equal(acl.entries[2].rights, 4);
	assert_int_equal(acl.entries[3].rights, 5);
	assert_int_equal(acl.entries[4].rights, 7);
}

static void what_is_inherited_grants_no_more_than_was_asked_for(void **unused)
{
	(void)unused;
	const struct acl *all[] = {&plain, &named, &masked};
	for (unsigned i = 0; i < 3; i++) {
		for (mode_t mode = 0; mode <= 0777; mode++) {
			struct acl acl = *all[i];
			mode_t got = acl_inherit(&acl, S_IFREG | mode);
			assert_int_equal(got, S_IFREG | (mode & acl_mode(all[i], 0)));
			assert_int_equal(acl_mode(&acl, 0), got & 0777);
		}
	}
}

/* ---- in a file system ---- */

static int set(struct rig *rig, uint64_t ino, const char *name, const struct acl *acl, int flags)
{
	uint8_t bytes[ACL_MAX_BYTES];
	size_t size = acl_encode(acl, bytes);
	return fs_setxattr(rig->fs, ino, name, bytes, size, flags);
}

static int get(struct rig *rig, uint64_t ino, const char *name, struct acl *out)
{
	uint8_t bytes[ACL_MAX_BYTES];
	ssize_t size = fs_getxattr(rig->fs, ino, name, bytes, sizeof(bytes));
	return size < 0 ? (int)size : acl_decode(bytes, (size_t)size, out);
}

static mode_t mode_of(struct rig *rig, uint64_t ino)
{
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, ino, &st), 0);
	return st.st_mode;
}

static uint64_t make(struct rig *rig, uint64_t parent, const char *name, mode_t mode, mode_t umask)
{
	struct fs_owner owner = {.uid = 1000, .gid = 100, .umask = umask};
	struct stat st;
	assert_int_equal(fs_mknod(rig->fs, parent, name, mode, 0, &owner, &st), 0);
	return st.st_ino;
}

static void a_list_is_kept_and_the_mode_follows_it(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	struct acl back;
	uint64_t ino = make(rig, FS_ROOT_INO, "f", S_IFREG | 02700, 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_ACCESS, &named, 0), 0);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 02651);
	rig_remount(rig);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 02651);
	assert_int_equal(get(rig, ino, ACL_XATTR_ACCESS, &back), 0);
	assert_int_equal(back.count, named.count);
	rig_free(rig);
}

static void the_setgid_bit_goes_where_the_caller_is_no_member(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	uint64_t ino = make(rig, FS_ROOT_INO, "f", S_IFREG | 02700, 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_ACCESS, &plain, FS_XATTR_DROP_SGID), 0);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 0641);
	rig_free(rig);
}

static void a_list_that_is_a_mode_leaves_none(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	struct acl back;
	uint64_t ino = make(rig, FS_ROOT_INO, "f", S_IFREG | 0700, 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_ACCESS, &named, 0), 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_ACCESS, &plain, 0), 0);
	assert_int_equal(get(rig, ino, ACL_XATTR_ACCESS, &back), -ENODATA);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 0641);
	rig_free(rig);
}

static void a_chmod_is_seen_in_the_list(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	struct acl back;
	struct stat st = {.st_mode = 0720};
	uint64_t ino = make(rig, FS_ROOT_INO, "f", S_IFREG | 0700, 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_ACCESS, &named, 0), 0);
	assert_int_equal(fs_setattr(rig->fs, ino, FS_SET_MODE, &st, &st), 0);
	rig_remount(rig);
	assert_int_equal(get(rig, ino, ACL_XATTR_ACCESS, &back), 0);
	assert_int_equal(acl_mode(&back, 0), 0720);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 0720);
	rig_free(rig);
}

static void what_is_made_inherits_and_the_umask_counts_elsewhere(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	struct acl back;
	uint64_t dir = make(rig, FS_ROOT_INO, "d", S_IFDIR | 0755, 0);
	assert_int_equal(set(rig, dir, ACL_XATTR_DEFAULT, &named, 0), 0);
	uint64_t file = make(rig, dir, "f", S_IFREG | 0666, 077);
	assert_int_equal(mode_of(rig, file), S_IFREG | 0640);
	assert_int_equal(get(rig, file, ACL_XATTR_ACCESS, &back), 0);
	assert_int_equal(get(rig, file, ACL_XATTR_DEFAULT, &back), -ENODATA);
	uint64_t sub = make(rig, dir, "s", S_IFDIR | 0777, 077);
	assert_int_equal(mode_of(rig, sub), S_IFDIR | 0651);
	assert_int_equal(get(rig, sub, ACL_XATTR_DEFAULT, &back), 0);
	assert_int_equal(back.entries[4].rights, 5);
	uint64_t other = make(rig, FS_ROOT_INO, "o", S_IFREG | 06777, 027);
	assert_int_equal(mode_of(rig, other), S_IFREG | 06750);
	rig_free(rig);
}

static void a_default_list_is_for_directories_alone(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	uint64_t ino = make(rig, FS_ROOT_INO, "f", S_IFREG | 0700, 0);
	assert_int_equal(set(rig, ino, ACL_XATTR_DEFAULT, &named, 0), -EACCES);
	assert_int_equal(fs_setxattr(rig->fs, ino, ACL_XATTR_ACCESS, "nonsense", 8, 0), -EINVAL);
	assert_int_equal(mode_of(rig, ino), S_IFREG | 0700);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(the_bytes_are_those_of_linux),
		cmocka_unit_test(no_entries_mean_no_list),
		cmocka_unit_test(one_entry_changed_makes_it_malformed),
		cmocka_unit_test(every_cut_of_a_value_is_refused),
		cmocka_unit_test(more_than_a_page_is_too_big),
		cmocka_unit_test(the_mask_is_the_groups_bits_of_the_mode),
		cmocka_unit_test(a_mode_says_it_all_where_nobody_is_named_and_there_is_no_mask),
		cmocka_unit_test(after_a_chmod_list_and_mode_agree),
		cmocka_unit_test(a_chmod_leaves_named_ones_and_the_group_beside_a_mask_alone),
		cmocka_unit_test(what_is_inherited_grants_no_more_than_was_asked_for),
		cmocka_unit_test(a_list_is_kept_and_the_mode_follows_it),
		cmocka_unit_test(the_setgid_bit_goes_where_the_caller_is_no_member),
		cmocka_unit_test(a_list_that_is_a_mode_leaves_none),
		cmocka_unit_test(a_chmod_is_seen_in_the_list),
		cmocka_unit_test(what_is_made_inherits_and_the_umask_counts_elsewhere),
		cmocka_unit_test(a_default_list_is_for_directories_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
