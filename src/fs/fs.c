/* SPDX-License-Identifier: MIT */
/* The file system as a whole: format, open, close, figures. */
#include "fs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "base/log.h"
#include "fs/area_scrub.h"

/* What one small file costs in the database, for the number of files still possible. */
#define BYTES_PER_FILE 160u

static uint64_t random_u64(void)
{
	uint64_t v;
	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		v = clock_read_ns(CLOCK_REALTIME) * UINT64_C(0x9E3779B97F4A7C15);
	return v;
}

/* ---- format ---- */

static int root_create(struct db *db, uid_t uid, gid_t gid)
{
	int64_t now = time_now_ns();
	uint64_t key = random_u64() >> 1;
	int ret = db_begin(db);
	if (ret == 0)
		ret = db_exec(db, DB_META_PUT, "zu", "hash_key", key);
	if (ret == 0)
		ret = db_exec(db, DB_META_PUT, "zu", "inodes", UINT64_C(1));
	if (ret == 0)
		ret = db_exec(db, DB_META_PUT, "zu", "next_ino", FS_ROOT_INO + 1);
	if (ret == 0)
		ret = db_exec(db, DB_INODE_PUT, "uuuuuuuuiiiuui", FS_ROOT_INO,
			(uint64_t)(S_IFDIR | 0755), UINT64_C(2), (uint64_t)uid, (uint64_t)gid,
			UINT64_C(0), UINT64_C(0), UINT64_C(0), now, now, now, FS_ROOT_INO,
			UINT64_C(0), now);
	return ret < 0 ? ret : db_commit(db);
}

int fs_format(struct volume *v, uid_t uid, gid_t gid, struct errmsg *why)
{
	struct sysarea *area = volume_sysarea(v);
	if (sysarea_is_read_only(area))
		return errmsg_set(why, -EROFS, "the volume is read-only");
	int ret = area_vfs_format(area, random_u64(), why);
	if (ret == 0)
		ret = db_create(area, why);
	struct db db;
	if (ret == 0)
		ret = db_open(&db, area, why);
	if (ret < 0)
		return ret;
	ret = root_create(&db, uid, gid);
	int closed = db_close(&db);
	ret = ret < 0 ? ret : closed;
	return ret < 0 ? errmsg_set(why, ret, "the root directory cannot be made") : 0;
}

/* ---- open ---- */

/* Called by a volume's scrub, whose thread takes members out that fail: it must not wait for those
 * who may be waiting for that. */
static int area_step(void *ctx, bool repair, uint64_t *at, struct scrub_area *found)
{
	struct fs *fs = ctx;
	if (pthread_mutex_trylock(&fs->db_lock) != 0)
		return -EBUSY;
	int ret = area_scrub_step(fs->db.vfs, repair, at, found);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

int fs_damaged(struct fs *fs, uint64_t ino, const char *what)
{
	return damage_say(&fs->db.damage, ino, what);
}

/* Free space is what no extent covers. Two extents on one block, or one outside, are damage. */
static int allocator_load(struct fs *fs, struct errmsg *why)
{
	const struct geometry *g = volume_geometry(fs->volume);
	int ret =
		allocator_new(volume_blocks(fs->volume), geometry_stripe_blocks(g), &fs->allocator);
	if (ret < 0)
		return ret;
	ret = db_run(&fs->db, DB_EXTENT_ALL, "");
	while (ret > 0) {
		struct row_extent row;
		ret = extent_row_read(fs, DB_EXTENT_ALL, &row);
		if (ret == 0)
			ret = allocator_mark(fs->allocator, row.volume_block, row.blocks);
		if (ret < 0)
			errmsg_set(why, ret,
				"inode %llu has blocks of another file, or outside the volume: see"
				" stablefs fsck",
				(unsigned long long)row.ino);
		else
			ret = db_next(&fs->db, DB_EXTENT_ALL);
	}
	db_end(&fs->db, DB_EXTENT_ALL);
	return ret;
}

/* One number, of @s alone or of the key @key. Nothing at all is damage too. */
static int number_load(
	struct fs *fs, enum db_statement s, const char *key, uint64_t max, uint64_t *out)
{
	int ret = key ? db_run(&fs->db, s, "z", key) : db_run(&fs->db, s, "");
	struct row_reader row = {.stmt = db_row(&fs->db, s)};
	if (ret > 0)
		*out = row_u64(&row, 0, "number", 0, max);
	db_end(&fs->db, s);
	if (ret == 0 || row.bad)
		return fs_damaged(fs, 0, key ? key : "numbers of inodes");
	return ret < 0 ? ret : 0;
}

static int numbers_load(struct fs *fs, struct errmsg *why)
{
	uint64_t max = 0, count = 0, next = 0;
	int ret = number_load(fs, DB_INODE_MAX, NULL, FS_INO_MAX, &max);
	if (ret == 0)
		ret = number_load(fs, DB_META_GET, "inodes", FS_INO_MAX, &count);
	if (ret == 0)
		ret = number_load(fs, DB_META_GET, "next_ino", INT64_MAX, &next);
	if (ret == 0)
		ret = number_load(fs, DB_META_GET, "hash_key", INT64_MAX, &fs->hash_key);
	if (ret < 0)
		return ret;
	if (!row_next_ino_is_legal(max, next))
		return errmsg_set(why, -EUCLEAN,
			"all inode numbers below %llu are said to have been given out, and the last"
			" inode has %llu: see stablefs fsck",
			(unsigned long long)next, (unsigned long long)max);
	fs->numbers_end = max_u64(next, max_u64(max, FS_ROOT_INO) + 1);
	atomic_store(&fs->next_ino, fs->numbers_end);
	atomic_store(&fs->inodes, count);
	fs->inodes_stored = count;
	fs_measure_room(fs);
	return 0;
}

/* The root is there, and a directory; it stays in memory. */
static int root_load(struct fs *fs)
{
	struct inode *root;
	int ret = inode_get(fs, FS_ROOT_INO, &root);
	if (ret < 0)
		return ret == -ENOENT ? fs_damaged(fs, FS_ROOT_INO, "missing") : ret;
	bool good = S_ISDIR(root->attr.mode) && root->attr.nlink >= 2;
	inode_reference(fs, root);
	inode_unpin(fs, root);
	return good ? 0 : fs_damaged(fs, FS_ROOT_INO, "no directory");
}

static struct fs *fs_new(struct volume *v, const struct fs_options *options)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	if (!fs || inode_table_init(&fs->table) < 0) {
		free(fs);
		return NULL;
	}
	fs->volume = v;
	fs->read_only = options->read_only || volume_is_read_only(v) ||
			sysarea_is_read_only(volume_sysarea(v));
	fs->commit_ns = options->commit_ns;
	atomic_store(&fs->epoch, 1);
	atomic_store(&fs->transaction, 1);
	taken_init(&fs->taken);
	pthread_mutex_init(&fs->db_lock, NULL);
	pthread_mutex_init(&fs->commit_lock, NULL);
	pthread_cond_init(&fs->commit_cond, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&fs->commit_wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return fs;
}

/* The database is closed. */
static void fs_free(struct fs *fs)
{
	inode_table_free(&fs->table);
	allocator_free(fs->allocator);
	taken_fini(&fs->taken);
	pthread_mutex_destroy(&fs->db_lock);
	pthread_mutex_destroy(&fs->commit_lock);
	pthread_cond_destroy(&fs->commit_cond);
	pthread_cond_destroy(&fs->commit_wake);
	free(fs);
}

/* What an earlier mount left behind goes when this one may write for the first time. */
static int reap_first(struct fs *fs)
{
	int ret = fs->orphans_reaped ? 0 : inodes_reap_orphans(fs);
	fs->orphans_reaped = ret == 0;
	return ret;
}

static int fs_load(struct fs *fs, struct errmsg *why)
{
	int ret = allocator_load(fs, why);
	if (ret == 0)
		ret = numbers_load(fs, why);
	if (ret == 0)
		ret = root_load(fs);
	if (ret == 0 && !fs->read_only)
		ret = reap_first(fs);
	if (ret == 0) {
		fs->threaded = volume_is_threaded(fs->volume);
		ret = fs_commit_start(fs);
	}
	if (ret < 0)
		errmsg_set(why, ret,
			ret == -EUCLEAN ? "the database is damaged: see stablefs fsck"
					: "the database cannot be read");
	return ret;
}

int fs_open(struct volume *v, const struct fs_options *options, struct fs **out, struct errmsg *why)
{
	struct fs *fs = fs_new(v, options);
	if (!fs)
		return -ENOMEM;
	int ret = db_open(&fs->db, volume_sysarea(v), why);
	if (ret == 0)
		ret = fs_load(fs, why);
	if (ret < 0) {
		db_close(&fs->db);
		fs_free(fs);
		return ret;
	}
	volume_set_area_scrub(v, &(struct volume_area_scrub){.step = area_step, .ctx = fs});
	*out = fs;
	return 0;
}

int fs_close(struct fs *fs)
{
	volume_set_area_scrub(fs->volume, NULL);
	fs_commit_stop(fs);
	fs->closing = true;
	int ret = fs_sync(fs);
	if (fs->read_only)
		ret = 0;
	int closed = db_close(&fs->db);
	/* A log that cannot be emptied at the end is replayed at the next open: no loss. */
	if (closed < 0 && !fs->read_only)
		ret = ret < 0 ? ret : closed;
	fs_free(fs);
	return ret;
}

/* ---- read-only, and back ---- */

bool fs_is_read_only(struct fs *fs)
{
	return fs->read_only;
}

static bool anything_left(struct fs *fs)
{
	pthread_mutex_lock(&fs->table.lock);
	bool dirty = fs->table.dirty_count > 0;
	pthread_mutex_unlock(&fs->table.lock);
	return dirty || taken_any(fs) || atomic_load(&fs->unflushed) || atomic_load(&fs->changes);
}

/* What was begun before nobody may begin any more is committed as well. */
static int become_read_only(struct fs *fs)
{
	int ret;
	while ((ret = fs_sync(fs)) == 0) {
		fs->read_only = true;
		if (!anything_left(fs))
			break;
		fs->read_only = false;
	}
	return ret;
}

static int become_writable(struct fs *fs)
{
	if (volume_is_read_only(fs->volume) || sysarea_is_read_only(volume_sysarea(fs->volume)))
		return -EROFS;
	if (atomic_load(&fs->error))
		return atomic_load(&fs->error);
	fs->read_only = false;
	int ret = reap_first(fs);
	if (ret == 0)
		ret = fs_commit_start(fs);
	if (ret < 0)
		fs->read_only = true;
	return ret;
}

int fs_set_read_only(struct fs *fs, bool read_only)
{
	if (read_only == fs->read_only)
		return read_only ? 0 : atomic_load(&fs->error);
	return read_only ? become_read_only(fs) : become_writable(fs);
}

/* ---- figures ---- */

int fs_statfs(struct fs *fs, struct statvfs *st)
{
	uint64_t free = allocator_free_blocks(fs->allocator);
	free += allocator_deferred_blocks(fs->allocator) + atomic_load(&fs->replaced_blocks);
	pthread_mutex_lock(&fs->db_lock);
	int64_t pages = db_available_pages(&fs->db);
	pthread_mutex_unlock(&fs->db_lock);
	uint64_t more = pages > 0 ? (uint64_t)pages * AREA_PAGE_BYTES / BYTES_PER_FILE : 0;
	*st = (struct statvfs){
		.f_bsize = BLOCK_BYTES,
		.f_frsize = BLOCK_BYTES,
		.f_blocks = volume_blocks(fs->volume),
		.f_bfree = free,
		.f_bavail = free,
		.f_files = atomic_load(&fs->inodes) + more,
		.f_ffree = more,
		.f_favail = more,
		.f_flag = fs->read_only ? ST_RDONLY : 0,
		.f_namemax = FS_NAME_MAX,
	};
	return 0;
}

struct fs_stats fs_stats(struct fs *fs)
{
	struct fs_stats s = {
		.free_blocks = allocator_free_blocks(fs->allocator),
		.inodes = atomic_load(&fs->inodes),
	};
	pthread_mutex_lock(&fs->db_lock);
	s.database_pages = db_page_count(&fs->db);
	pthread_mutex_unlock(&fs->db_lock);
	pthread_mutex_lock(&fs->table.lock);
	s.inodes_in_memory = fs->table.count;
	pthread_mutex_unlock(&fs->table.lock);
	pthread_mutex_lock(&fs->commit_lock);
	s.commits = fs->commits;
	pthread_mutex_unlock(&fs->commit_lock);
	return s;
}
