/* SPDX-License-Identifier: MIT */
/* Names, links, attributes: what POSIX says, and that it is there again after a mount. */
#include "rig.h"

#include <linux/fs.h>
#include <sys/xattr.h>
#include "fs/internal.h"

#define SEED UINT64_C(0x4A3E)

static struct rig *new_rig(void)
{
	return rig_new(SEED, 16 * MIB, 8 * MIB);
}

/* ---- listing ---- */

struct listing {
	char names[512][16];
	unsigned count, limit;
	uint64_t cookie;
};

static bool listing_fill(void *ctx, const struct fs_dirent *e)
{
	struct listing *l = ctx;
	if (l->count == l->limit)
		return false;
	snprintf(l->names[l->count++], 16, "%s", e->name);
	l->cookie = e->cookie;
	return true;
}

static unsigned listing_has(const struct listing *l, const char *name)
{
	unsigned n = 0;
	for (unsigned i = 0; i < l->count; i++)
		n += strcmp(l->names[i], name) == 0;
	return n;
}

/* ---- tests ---- */

static void what_was_created_is_found_with_its_attributes_after_a_mount(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	uint64_t file = rig_create(rig, dir, "f");
	assert_int_equal(fs_mknod(rig->fs, dir, "dev", S_IFCHR | 0600, 0x1234, &rig_owner, &st), 0);
	rig_remount(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "d", dir), 0);
	assert_int_equal(rig_lookup(rig, dir, "f", file), 0);
	st = rig_stat(rig, file);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 100);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(fs_lookup(rig->fs, dir, "dev", &st), 0);
	assert_int_equal(st.st_rdev, 0x1234);
	assert_int_equal(rig_stat(rig, dir).st_nlink, 2);
	assert_int_equal(rig_stat(rig, FS_ROOT_INO).st_nlink, 3);
	assert_int_equal(rig_stat(rig, FS_ROOT_INO).st_uid, 7);
	rig_free(rig);
}

static void names_are_any_bytes_up_to_255(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	char name[258];
	memset(name, 0xFE, sizeof(name));
	name[0] = '\n';
	name[256] = '\0';
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, name, S_IFREG, 0, &rig_owner, &st), -ENAMETOOLONG);
	name[255] = '\0';
	uint64_t ino = rig_create(rig, FS_ROOT_INO, name);
	rig_remount(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, name, ino), 0);
	name[254] = '\0';
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, name, 0), -ENOENT);
	rig_free(rig);
}

static void creating_a_name_twice_or_in_a_file_is_refused(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t file = rig_create(rig, FS_ROOT_INO, "f");
	assert_int_equal(fs_mknod(rig->fs, FS_ROOT_INO, "f", S_IFDIR, 0, &rig_owner, &st), -EEXIST);
	assert_int_equal(fs_mknod(rig->fs, file, "x", S_IFREG, 0, &rig_owner, &st), -ENOTDIR);
	assert_int_equal(rig_lookup(rig, file, "x", 0), -ENOTDIR);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "g", 0), -ENOENT);
	assert_int_equal(fs_stats(rig->fs).inodes, 2);
	rig_free(rig);
}

static void a_setgid_directory_passes_its_group_on(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	st = (struct stat){.st_mode = 02775, .st_gid = 555};
	assert_int_equal(fs_setattr(rig->fs, dir, FS_SET_MODE | FS_SET_GID, &st, &st), 0);
	uint64_t file = rig_create(rig, dir, "f"), sub = rig_mkdir(rig, dir, "s");
	assert_int_equal(rig_stat(rig, file).st_gid, 555);
	assert_int_equal(rig_stat(rig, file).st_mode & 07000, 0);
	assert_int_equal(rig_stat(rig, sub).st_gid, 555);
	assert_int_equal(rig_stat(rig, sub).st_mode & 07000, S_ISGID);
	rig_free(rig);
}

static void links_count_and_the_last_one_frees_the_blocks(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t file = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_write(rig->fs, file, 0, "hello", 5), 5);
	assert_int_equal(fs_link(rig->fs, file, FS_ROOT_INO, "b", &st), 0);
	assert_int_equal(st.st_nlink, 2);
	fs_forget(rig->fs, file, 2);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, file).st_nlink, 1);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free - 1);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "b"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	assert_int_equal(fs_getattr(rig->fs, file, &st), -ENOENT);
	rig_free(rig);
}

static void an_unlinked_file_lives_while_it_is_open(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	char buf[5];
	uint64_t file = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_file_open(rig->fs, file), 0);
	fs_forget(rig->fs, file, 1);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fs_write(rig->fs, file, 0, "hello", 5), 5);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_read(rig->fs, file, 0, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(rig_stat(rig, file).st_nlink, 0);
	fs_file_release(rig->fs, file);
	assert_int_equal(fs_getattr(rig->fs, file, &st), -ENOENT);
	rig_free(rig);
}

static void a_file_that_was_unlinked_while_open_is_reclaimed_after_a_crash(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t file = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_file_open(rig->fs, file), 0);
	assert_int_equal(fs_write(rig->fs, file, 8192, "hello", 5), 5);
	assert_int_equal(fs_setxattr(rig->fs, file, "user.x", "y", 1, 0), 0);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	rig_crash(rig);
	assert_int_equal(fs_getattr(rig->fs, file, &st), -ENOENT);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	assert_int_equal(fs_stats(rig->fs).inodes, 1);
	rig_free(rig);
}

static uint64_t tmpfile_of(struct rig *rig, uint64_t dir)
{
	struct stat st;
	assert_int_equal(fs_tmpfile(rig->fs, dir, 0640, &rig_owner, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(fs_file_open(rig->fs, st.st_ino), 0);
	return st.st_ino;
}

static void a_file_without_a_name_goes_when_it_is_closed(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t free = fs_stats(rig->fs).free_blocks, dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	struct timespec mtime = rig_stat(rig, dir).st_mtim;
	uint64_t file = tmpfile_of(rig, dir);
	assert_int_equal(fs_write(rig->fs, file, 0, "hello", 5), 5);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free - 1);
	st = rig_stat(rig, dir);
	assert_memory_equal(&st.st_mtim, &mtime, sizeof(mtime));
	assert_int_equal(fs_rmdir(rig->fs, FS_ROOT_INO, "d"), 0);
	fs_forget(rig->fs, file, 1);
	fs_file_release(rig->fs, file);
	assert_int_equal(fs_getattr(rig->fs, file, &st), -ENOENT);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	assert_int_equal(fs_tmpfile(rig->fs, dir, 0640, &rig_owner, &st), -ENOENT);
	rig_free(rig);
}

static void a_file_without_a_name_that_gets_one_stays(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	char buf[5];
	uint64_t file = tmpfile_of(rig, FS_ROOT_INO);
	assert_int_equal(fs_write(rig->fs, file, 0, "hello", 5), 5);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_link(rig->fs, file, FS_ROOT_INO, "f", &st), 0);
	assert_int_equal(st.st_nlink, 1);
	fs_file_release(rig->fs, file);
	fs_forget(rig->fs, file, 2);
	assert_int_equal(fs_sync(rig->fs), 0);
	rig_crash(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "f", file), 0);
	assert_int_equal(rig_stat(rig, file).st_nlink, 1);
	assert_int_equal(fs_read(rig->fs, file, 0, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	rig_free(rig);
}

static void a_crash_takes_files_without_names(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t file = tmpfile_of(rig, FS_ROOT_INO);
	assert_int_equal(fs_write(rig->fs, file, 0, "hello", 5), 5);
	assert_int_equal(fs_sync(rig->fs), 0);
	/* The name is not committed. */
	assert_int_equal(fs_link(rig->fs, file, FS_ROOT_INO, "f", &st), 0);
	rig_crash(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "f", 0), -ENOENT);
	assert_int_equal(fs_getattr(rig->fs, file, &st), -ENOENT);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	assert_int_equal(fs_stats(rig->fs).inodes, 1);
	rig_free(rig);
}

/* Set the number of links: to come near the limit in reasonable time. */
static void set_nlink(struct rig *rig, uint64_t ino, uint32_t nlink)
{
	struct inode *inode;
	assert_int_equal(inode_get(rig->fs, ino, &inode), 0);
	inode->attr.nlink = nlink;
	inode_unpin(rig->fs, inode);
}

static void no_more_links_than_the_limit(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	struct fs *fs = rig->fs;
	uint64_t file = rig_create(rig, FS_ROOT_INO, "f"), dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	uint64_t sub = rig_mkdir(rig, FS_ROOT_INO, "s");
	set_nlink(rig, file, FS_LINK_MAX - 1);
	assert_int_equal(fs_link(fs, file, FS_ROOT_INO, "g", &st), 0);
	assert_int_equal(st.st_nlink, FS_LINK_MAX);
	assert_int_equal(fs_link(fs, file, FS_ROOT_INO, "h", &st), -EMLINK);
	assert_int_equal(fs_unlink(fs, FS_ROOT_INO, "g"), 0);
	assert_int_equal(fs_link(fs, file, FS_ROOT_INO, "h", &st), 0);
	set_nlink(rig, dir, FS_LINK_MAX);
	assert_int_equal(fs_mknod(fs, dir, "x", S_IFDIR, 0, &rig_owner, &st), -EMLINK);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "s", dir, "s", 0), -EMLINK);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "s", sub), 0);
	rig_create(rig, dir, "f");
	rig_free(rig);
}

static void a_file_has_as_many_names_as_are_wanted(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 16 * MIB);
	struct stat st;
	char name[16];
	uint64_t file = rig_create(rig, FS_ROOT_INO, "f");
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	for (unsigned i = 1; i < 66000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(fs_link(rig->fs, file, dir, name, &st), 0);
	}
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, file).st_nlink, 66000);
	assert_int_equal(rig_lookup(rig, dir, "65536", file), 0);
	assert_int_equal(fs_unlink(rig->fs, dir, "65536"), 0);
	assert_int_equal(rig_stat(rig, file).st_nlink, 65999);
	rig_free(rig);
}

static void only_empty_directories_are_removed(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	rig_create(rig, dir, "f");
	assert_int_equal(fs_rmdir(rig->fs, FS_ROOT_INO, "d"), -ENOTEMPTY);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "d"), -EISDIR);
	assert_int_equal(fs_rmdir(rig->fs, dir, "f"), -ENOTDIR);
	assert_int_equal(fs_unlink(rig->fs, dir, "f"), 0);
	assert_int_equal(fs_rmdir(rig->fs, FS_ROOT_INO, "d"), 0);
	assert_int_equal(rig_stat(rig, FS_ROOT_INO).st_nlink, 2);
	/* Still referenced: nothing can be made in it. */
	assert_int_equal(fs_mknod(rig->fs, dir, "g", S_IFREG, 0, &rig_owner, &st), -ENOENT);
	rig_free(rig);
}

static void rename_moves_replaces_and_exchanges(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t d = rig_mkdir(rig, FS_ROOT_INO, "d"), e = rig_mkdir(rig, d, "e");
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a"), b = rig_create(rig, d, "b");
	struct fs *fs = rig->fs;
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "a", d, "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "a", d, "b", RENAME_EXCHANGE), 0);
	assert_int_equal(rig_lookup(rig, d, "b", a), 0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "a", b), 0);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "a", d, "b", 0), 0);
	assert_int_equal(rig_lookup(rig, d, "b", b), 0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "a", 0), -ENOENT);
	assert_int_equal(rig_stat(rig, a).st_nlink, 0);
	assert_int_equal(fs_rename(fs, d, "e", FS_ROOT_INO, "e", 0), 0);
	assert_int_equal(rig_stat(rig, d).st_nlink, 2);
	assert_int_equal(rig_stat(rig, FS_ROOT_INO).st_nlink, 4);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "d", FS_ROOT_INO, "e", 0), 0);
	assert_int_equal(rig_stat(rig, FS_ROOT_INO).st_nlink, 3);
	rig_remount(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "e", d), 0);
	assert_int_equal(rig_lookup(rig, d, "b", b), 0);
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, e, &st), -ENOENT);
	rig_free(rig);
}

static void a_whiteout_takes_the_old_name(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a"), b = rig_create(rig, FS_ROOT_INO, "b");
	const unsigned both = RENAME_WHITEOUT | RENAME_NOREPLACE;
	struct fs *fs = rig->fs;
	assert_int_equal(
		fs_rename_whiteout(fs, FS_ROOT_INO, "a", FS_ROOT_INO, "b", both, &rig_owner),
		-EEXIST);
	assert_int_equal(fs_rename_whiteout(fs, FS_ROOT_INO, "a", FS_ROOT_INO, "b",
				 RENAME_WHITEOUT | RENAME_EXCHANGE, &rig_owner),
		-EINVAL);
	assert_int_equal(
		fs_rename(fs, FS_ROOT_INO, "a", FS_ROOT_INO, "b", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(fs_stats(fs).inodes, 3);
	assert_int_equal(fs_rename_whiteout(fs, FS_ROOT_INO, "a", FS_ROOT_INO, "b", RENAME_WHITEOUT,
				 &rig_owner),
		0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "b", a), 0);
	rig_remount(rig);
	assert_int_equal(fs_lookup(rig->fs, FS_ROOT_INO, "a", &st), 0);
	assert_int_equal(st.st_mode, S_IFCHR);
	assert_int_equal(st.st_rdev, 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "b", a), 0);
	assert_int_equal(fs_getattr(rig->fs, b, &st), -ENOENT);
	rig_free(rig);
}

static void rename_refuses_what_would_make_no_tree(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct fs *fs = rig->fs;
	uint64_t d = rig_mkdir(rig, FS_ROOT_INO, "d"), e = rig_mkdir(rig, d, "e");
	rig_create(rig, FS_ROOT_INO, "f");
	rig_create(rig, e, "g");
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "d", e, "x", 0), -EINVAL);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "d", FS_ROOT_INO, "f", 0), -ENOTDIR);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "f", FS_ROOT_INO, "d", 0), -EISDIR);
	rig_mkdir(rig, FS_ROOT_INO, "h");
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "h", FS_ROOT_INO, "d", 0), -ENOTEMPTY);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "nix", FS_ROOT_INO, "d", 0), -ENOENT);
	assert_int_equal(fs_rename(fs, FS_ROOT_INO, "d", e, "g", RENAME_EXCHANGE), -EINVAL);
	rig_free(rig);
}

static void a_listing_gives_each_entry_once_while_others_come_and_go(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	char name[16];
	static struct listing all, part;
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "stay%u", i);
		rig_create(rig, dir, name);
		snprintf(name, sizeof(name), "go%u", i);
		rig_create(rig, dir, name);
	}
	memset(&all, 0, sizeof(all));
	memset(&part, 0, sizeof(part));
	for (unsigned round = 0; round < 100; round++) {
		part.limit = part.count + 7;
		unsigned before = part.count;
		assert_int_equal(fs_readdir(rig->fs, dir, part.cookie, listing_fill, &part), 0);
		if (part.count == before)
			break;
		snprintf(name, sizeof(name), "go%u", round);
		assert_int_equal(fs_unlink(rig->fs, dir, name), 0);
		snprintf(name, sizeof(name), "new%u", round);
		rig_create(rig, dir, name);
	}
	assert_int_equal(listing_has(&part, "."), 1);
	assert_int_equal(listing_has(&part, ".."), 1);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "stay%u", i);
		assert_int_equal(listing_has(&part, name), 1);
	}
	rig_free(rig);
}

static void symlinks_keep_their_targets(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	char target[4096], got[4097];
	memset(target, 'x', sizeof(target));
	target[4095] = '\0';
	assert_int_equal(fs_symlink(rig->fs, FS_ROOT_INO, "s", target, &rig_owner, &st), 0);
	rig_remount(rig);
	assert_int_equal(fs_readlink(rig->fs, st.st_ino, got, sizeof(got)), 0);
	assert_string_equal(got, target);
	assert_int_equal(rig_stat(rig, st.st_ino).st_size, 4095);
	assert_int_equal(fs_readlink(rig->fs, FS_ROOT_INO, got, sizeof(got)), -EINVAL);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "s"), 0);
	rig_free(rig);
}

static void attributes_of_a_file_are_set_listed_and_removed(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct fs *fs = rig->fs;
	static char value[65537], got[65536];
	memset(value, 'v', sizeof(value));
	uint64_t f = rig_create(rig, FS_ROOT_INO, "f");
	assert_int_equal(fs_getxattr(fs, f, "user.a", NULL, 0), -ENODATA);
	assert_int_equal(fs_setxattr(fs, f, "user.a", value, 65536, XATTR_CREATE), 0);
	assert_int_equal(fs_setxattr(fs, f, "user.a", "1", 1, XATTR_CREATE), -EEXIST);
	assert_int_equal(fs_setxattr(fs, f, "user.b", "1", 1, XATTR_REPLACE), -ENODATA);
	assert_int_equal(fs_setxattr(fs, f, "user.b", value, 65537, 0), -E2BIG);
	assert_int_equal(fs_setxattr(fs, f, "user.b", "", 0, 0), 0);
	rig_remount(rig);
	fs = rig->fs;
	assert_int_equal(fs_getxattr(fs, f, "user.a", NULL, 0), 65536);
	assert_int_equal(fs_getxattr(fs, f, "user.a", got, 100), -ERANGE);
	assert_int_equal(fs_getxattr(fs, f, "user.a", got, sizeof(got)), 65536);
	assert_memory_equal(got, value, 65536);
	assert_int_equal(fs_getxattr(fs, f, "user.b", got, 10), 0);
	assert_int_equal(fs_listxattr(fs, f, NULL, 0), 14);
	assert_int_equal(fs_listxattr(fs, f, got, 13), -ERANGE);
	assert_int_equal(fs_listxattr(fs, f, got, 14), 14);
	assert_memory_equal(got, "user.a\0user.b\0", 14);
	assert_int_equal(fs_removexattr(fs, f, "user.a"), 0);
	assert_int_equal(fs_removexattr(fs, f, "user.a"), -ENODATA);
	rig_free(rig);
}

static void times_and_modes_are_kept(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t f = rig_create(rig, FS_ROOT_INO, "f");
	struct stat st = {.st_mode = 04755,
		.st_uid = 5,
		.st_mtim = {.tv_sec = 123456789, .tv_nsec = 987654321},
		.st_atim = {.tv_sec = -5, .tv_nsec = 1}};
	struct stat out;
	assert_int_equal(fs_setattr(rig->fs, f,
				 FS_SET_MODE | FS_SET_UID | FS_SET_MTIME | FS_SET_ATIME, &st, &out),
		0);
	rig_remount(rig);
	out = rig_stat(rig, f);
	assert_int_equal(out.st_mode, S_IFREG | 04755);
	assert_int_equal(out.st_uid, 5);
	assert_int_equal(out.st_gid, 100);
	assert_int_equal(out.st_mtim.tv_sec, 123456789);
	assert_int_equal(out.st_mtim.tv_nsec, 987654321);
	assert_int_equal(out.st_atim.tv_sec, -5);
	assert_int_equal(out.st_atim.tv_nsec, 1);
	rig_free(rig);
}

static void paths_lead_there_and_back(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	char path[256];
	uint64_t ino, d = rig_mkdir(rig, FS_ROOT_INO, "d"), e = rig_mkdir(rig, d, "e");
	uint64_t f = rig_create(rig, e, "f");
	assert_int_equal(fs_path(rig->fs, f, path, sizeof(path)), 0);
	assert_string_equal(path, "/d/e/f");
	assert_int_equal(fs_path(rig->fs, f, path, 7), 0);
	assert_int_equal(fs_path(rig->fs, f, path, 6), -ENAMETOOLONG);
	assert_int_equal(fs_resolve(rig->fs, "/d//e/./f", &ino), 0);
	assert_int_equal(ino, f);
	assert_int_equal(fs_resolve(rig->fs, "/d/x/f", &ino), -ENOENT);
	assert_int_equal(fs_path(rig->fs, FS_ROOT_INO, path, 2), 0);
	assert_string_equal(path, "/");
	/* The link that it remembers goes; another one is found. */
	assert_int_equal(fs_link(rig->fs, f, d, "g", &st), 0);
	assert_int_equal(fs_unlink(rig->fs, d, "g"), 0);
	assert_int_equal(fs_rename(rig->fs, FS_ROOT_INO, "d", FS_ROOT_INO, "D", 0), 0);
	assert_int_equal(fs_path(rig->fs, f, path, sizeof(path)), 0);
	assert_string_equal(path, "/D/e/f");
	assert_int_equal(fs_unlink(rig->fs, e, "f"), 0);
	assert_int_equal(fs_path(rig->fs, f, path, sizeof(path)), 0);
	assert_non_null(strstr(path, "(unlinked inode "));
	rig_free(rig);
}

static void a_read_only_mount_changes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t f = rig_create(rig, FS_ROOT_INO, "f");
	assert_int_equal(fs_write(rig->fs, f, 0, "hello", 5), 5);
	assert_int_equal(fs_sync(rig->fs), 0);
	/* After a crash: what is in the log only is to be read too. */
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_unmount(rig);
	sim_world_reboot(rig->world);
	uint64_t writes = sim_world_writes(rig->world);
	assert_int_equal(rig_try_mount(rig, true), 0);
	char buf[5];
	assert_int_equal(fs_read(rig->fs, f, 0, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(fs_mknod(rig->fs, FS_ROOT_INO, "g", S_IFREG, 0, &rig_owner, &st), -EROFS);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "f"), -EROFS);
	assert_int_equal(fs_write(rig->fs, f, 0, "x", 1), -EROFS);
	assert_int_equal(rig_truncate(rig, f, 0), -EROFS);
	assert_int_equal(rig_unmount(rig), 0);
	assert_int_equal(sim_world_writes(rig->world), writes);
	rig_free(rig);
}

static void files_and_directories_take_named_attributes_over_from_their_directory(void **unused)
{
	(void)unused;
	static const char *const names[] = {"user.down", "user.other", NULL};
	struct rig *rig = new_rig();
	char got[8];
	struct stat st;
	fs_inherit_xattrs(rig->fs, names);
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d");
	assert_int_equal(fs_setxattr(rig->fs, dir, "user.down", "yes", 3, 0), 0);
	assert_int_equal(fs_setxattr(rig->fs, dir, "user.stays", "no", 2, 0), 0);
	uint64_t inner = rig_mkdir(rig, dir, "inner");
	uint64_t file = rig_create(rig, inner, "f");
	assert_int_equal(fs_symlink(rig->fs, dir, "l", "f", &rig_owner, &st), 0);
	rig_remount(rig);
	assert_int_equal(fs_getxattr(rig->fs, file, "user.down", got, sizeof(got)), 3);
	assert_memory_equal(got, "yes", 3);
	assert_int_equal(fs_listxattr(rig->fs, file, NULL, 0), sizeof("user.down"));
	assert_int_equal(fs_listxattr(rig->fs, inner, NULL, 0), sizeof("user.down"));
	assert_int_equal(fs_listxattr(rig->fs, st.st_ino, NULL, 0), 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_created_is_found_with_its_attributes_after_a_mount),
		cmocka_unit_test(names_are_any_bytes_up_to_255),
		cmocka_unit_test(creating_a_name_twice_or_in_a_file_is_refused),
		cmocka_unit_test(a_setgid_directory_passes_its_group_on),
		cmocka_unit_test(links_count_and_the_last_one_frees_the_blocks),
		cmocka_unit_test(an_unlinked_file_lives_while_it_is_open),
		cmocka_unit_test(a_file_that_was_unlinked_while_open_is_reclaimed_after_a_crash),
		cmocka_unit_test(a_file_without_a_name_goes_when_it_is_closed),
		cmocka_unit_test(a_file_without_a_name_that_gets_one_stays),
		cmocka_unit_test(a_crash_takes_files_without_names),
		cmocka_unit_test(no_more_links_than_the_limit),
		cmocka_unit_test(a_file_has_as_many_names_as_are_wanted),
		cmocka_unit_test(a_whiteout_takes_the_old_name),
		cmocka_unit_test(only_empty_directories_are_removed),
		cmocka_unit_test(rename_moves_replaces_and_exchanges),
		cmocka_unit_test(rename_refuses_what_would_make_no_tree),
		cmocka_unit_test(a_listing_gives_each_entry_once_while_others_come_and_go),
		cmocka_unit_test(symlinks_keep_their_targets),
		cmocka_unit_test(attributes_of_a_file_are_set_listed_and_removed),
		cmocka_unit_test(
			files_and_directories_take_named_attributes_over_from_their_directory),
		cmocka_unit_test(times_and_modes_are_kept),
		cmocka_unit_test(paths_lead_there_and_back),
		cmocka_unit_test(a_read_only_mount_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
