/* SPDX-License-Identifier: MIT */
#include "fs_world.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include "base/log.h"
#include "fs/fs.h"
#include "fuzz.h"
#include "io/sim_snapshot.h"

#define MIB     UINT64_C(1048576)
#define LISTED  200u /* entries of a directory that are looked at */
#define DEEPEST 8u

static char *const names[] = {(char *)"d0"};

void fw_open(struct fw_trial *trial, bool read_only)
{
	struct volume_open_options options = {
		.factory = &trial->factory, .paths = names, .count = 1, .read_only = read_only};
	fuzz_demand(volume_open(&options, &trial->volume, NULL) == 0);
}

void fw_close(struct fw_trial *trial)
{
	fuzz_demand(volume_close(trial->volume) == 0);
	trial->volume = NULL;
}

/* ---- the prepared one ---- */

static void fill(struct fs *fs)
{
	static const struct fs_owner owner = {1, 2};
	static uint8_t data[5 * 4096];
	struct stat st;
	memset(data, 'd', sizeof(data));
	fuzz_demand(fs_mknod(fs, 1, "dir", S_IFDIR | 0755, 0, &owner, &st) == 0);
	fuzz_demand(fs_mknod(fs, 2, "file", S_IFREG | 0644, 0, &owner, &st) == 0);
	fuzz_demand(fs_write(fs, 3, 0, data, sizeof(data)) > 0);
	fuzz_demand(fs_write(fs, 3, 10 * 4096, data, 4096) > 0);
	fuzz_demand(fs_mknod(fs, 2, "sub", S_IFDIR | 0755, 0, &owner, &st) == 0);
	fuzz_demand(fs_mknod(fs, 4, "deep", S_IFREG | 0644, 0, &owner, &st) == 0);
	fuzz_demand(fs_write(fs, 5, 100, data, 5000) > 0);
	fuzz_demand(fs_symlink(fs, 1, "link", "dir/file", &owner, &st) == 0);
	fuzz_demand(fs_mknod(fs, 1, "pipe", S_IFIFO | 0644, 0, &owner, &st) == 0);
	fuzz_demand(fs_link(fs, 3, 1, "hard", &st) == 0);
	fuzz_demand(fs_setxattr(fs, 3, "user.name", "value", 5, 0) == 0);
	for (unsigned i = 8; i <= FW_INODES; i++) {
		char name[8] = {'n', (char)('0' + i)};
		fuzz_demand(fs_mknod(fs, 1, name, S_IFREG | 0644, 0, &owner, &st) == 0);
		fuzz_demand(fs_write(fs, i, 0, data, 4096 * (i % 3)) >= 0);
	}
	fuzz_demand(fs_fallocate(fs, 8, 0, 0, 65536) == 0);
}

static struct sim_world *prepare(void)
{
	struct fw_trial t = {.world = sim_world_new(1)};
	struct volume_create_options create = {.level = RAID_SINGLE,
		.members = 1,
		.size_bytes = 16 * MIB,
		.chunk_bytes = 65536,
		.system_bytes = 2 * MIB};
	struct fs *fs;
	struct fs_options options = {0};
	t.factory = sim_factory(t.world);
	fuzz_demand(volume_create(&t.factory, names, 1, &create, NULL) == 0);
	fw_open(&t, false);
	fuzz_demand(fs_format(t.volume, 0, 0, NULL) == 0);
	fuzz_demand(fs_open(t.volume, &options, &fs, NULL) == 0);
	fill(fs);
	fuzz_demand(fs_close(fs) == 0);
	fw_close(&t);
	return t.world;
}

void fw_begin(struct fw_trial *trial)
{
	static struct sim_world *prepared;
	log_set_level(LOG_LEVEL_NONE);
	if (!prepared)
		prepared = prepare();
	*trial = (struct fw_trial){.world = sim_world_snapshot(prepared, 1)};
	fuzz_demand(trial->world);
	trial->factory = sim_factory(trial->world);
}

void fw_end(struct fw_trial *trial)
{
	sim_world_free(trial->world);
}

/* ---- use ---- */

struct listing {
	struct fs *fs;
	unsigned depth, count;
};

static void use_attributes(struct fs *fs, uint64_t ino)
{
	static char buf[65536];
	(void)fs_getxattr(fs, ino, "user.name", buf, sizeof(buf));
	(void)fs_listxattr(fs, ino, NULL, 0);
	(void)fs_listxattr(fs, ino, buf, sizeof(buf));
	(void)fs_readlink(fs, ino, buf, 4096);
	(void)fs_path(fs, ino, buf, 4096);
	(void)fs_setxattr(fs, ino, "user.more", "x", 1, 0);
	(void)fs_removexattr(fs, ino, "user.name");
}

static bool any_extent(void *ctx, const struct fs_extent *extent)
{
	return true;
}

static void use_file(struct fs *fs, uint64_t ino)
{
	static uint8_t data[32768];
	struct stat st = {.st_size = 7000};
	(void)fs_read(fs, ino, 0, data, sizeof(data));
	(void)fs_seek(fs, ino, 0, SEEK_HOLE);
	(void)fs_seek(fs, ino, 4096, SEEK_DATA);
	(void)fs_write(fs, ino, 3000, data, 9000);
	(void)fs_file_extents(fs, ino, any_extent, NULL);
	(void)fs_fallocate(fs, ino, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096, 8192);
	(void)fs_setattr(fs, ino, FS_SET_SIZE, &st, &st);
	(void)fs_fsync(fs, ino, false);
}

static void use_inode(struct fs *fs, uint64_t ino)
{
	struct stat st;
	if (fs_getattr(fs, ino, &st) < 0)
		return;
	use_attributes(fs, ino);
	use_file(fs, ino);
}

static bool list_entry(void *ctx, const struct fs_dirent *entry)
{
	struct listing *l = ctx;
	if (entry->cookie <= 2)
		return true;
	if (++l->count > LISTED)
		return false;
	struct stat st;
	uint64_t parent_free = entry->ino;
	if (l->depth < DEEPEST) {
		struct listing below = {l->fs, l->depth + 1, 0};
		(void)fs_readdir(l->fs, parent_free, 0, list_entry, &below);
	}
	(void)fs_getattr(l->fs, entry->ino, &st);
	return true;
}

static void use_names(struct fs *fs)
{
	static const char *const all[] = {"dir", "file", "sub", "deep", "link", "pipe", "hard"};
	static const struct fs_owner owner = {3, 4};
	struct listing l = {.fs = fs};
	struct stat st;
	(void)fs_readdir(fs, 1, 0, list_entry, &l);
	for (uint64_t dir = 1; dir <= 4; dir++) {
		for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			if (fs_lookup(fs, dir, all[i], &st) == 0)
				fs_forget(fs, st.st_ino, 1);
		}
	}
	(void)fs_rename(fs, 2, "sub", 4, "inside", 0);
	(void)fs_rename(fs, 2, "sub", 1, "moved", 0);
	(void)fs_rename(fs, 1, "hard", 2, "file", RENAME_EXCHANGE);
	if (fs_link(fs, 3, 4, "again", &st) == 0)
		fs_forget(fs, st.st_ino, 1);
	if (fs_mknod(fs, 4, "new", S_IFREG | 0600, 0, &owner, &st) == 0)
		fs_forget(fs, st.st_ino, 1);
	(void)fs_unlink(fs, 1, "link");
	(void)fs_unlink(fs, 1, "hard");
	(void)fs_rmdir(fs, 2, "sub");
	(void)fs_unlink(fs, 2, "file");
}

void fw_use(struct fw_trial *trial)
{
	struct fs_options options = {0};
	struct statvfs st;
	struct fs *fs;
	fw_open(trial, false);
	if (fs_open(trial->volume, &options, &fs, NULL) == 0) {
		for (uint64_t ino = 1; ino <= FW_INODES + 2; ino++)
			use_inode(fs, ino);
		(void)fs_owners(fs, 0, UINT64_MAX, any_extent, NULL);
		use_names(fs);
		(void)fs_statfs(fs, &st);
		(void)fs_sync(fs);
		for (uint64_t ino = 1; ino <= FW_INODES + 2; ino++)
			use_inode(fs, ino);
		(void)fs_close(fs);
	}
	fw_close(trial);
}

/* For somebody who looks into an input: FUZZ_SAY in the environment. */
static void found(void *ctx, const struct check_finding *f)
{
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "%s: inode %llu %s: %s -- %s\n", check_kind_name(f->kind),
			(unsigned long long)f->ino, f->path ? f->path : "?", f->what,
			f->done ? f->done : "");
}

bool fw_repair(struct fw_trial *trial)
{
	struct check_options options = {.repair = true, .found = found};
	struct check_result result = {0};
	struct errmsg why = {0};
	fw_open(trial, false);
	int ret = fs_check(trial->volume, &options, &result, &why);
	fw_close(trial);
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "repair: %d (%s), %llu left\n", ret, why.text,
			(unsigned long long)result.remaining);
	return ret == 0 && result.remaining == 0;
}

static bool mounts(struct fw_trial *trial)
{
	struct fs_options options = {0};
	struct fs *fs;
	fw_open(trial, false);
	int ret = fs_open(trial->volume, &options, &fs, NULL);
	if (ret == 0)
		(void)fs_close(fs);
	fw_close(trial);
	return ret == 0;
}

void fw_run(struct fw_trial *trial, bool must_mend)
{
	struct check_options look = {0};
	struct check_result result;
	fw_open(trial, true);
	(void)fs_check(trial->volume, &look, &result, NULL);
	fw_close(trial);
	fw_use(trial);
	bool mended = fw_repair(trial);
	fuzz_demand(mended || !must_mend);
	if (!mended)
		return;
	fuzz_demand(mounts(trial));
	fw_use(trial);
	fuzz_demand(fw_repair(trial));
}
