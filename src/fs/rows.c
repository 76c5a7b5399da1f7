/* SPDX-License-Identifier: MIT */
/* Between inodes in memory and their rows. What is in memory is the truth; a row is made to follow
 * it at a commit, so far as that commit's flush covers the data (I1 of fs.h).
 *
 * An extent is written so that a reader after a crash sees durable bytes or zeros:
 *
 *	CLEAN, or WRITTEN in an epoch that was flushed	as it is
 *	UNWRITTEN					as unwritten
 *	PENDING or WRITTEN since, reserved		as unwritten
 *	WRITTEN since by an atomic write		as what it replaced (replaced.c)
 *	PENDING or WRITTEN since, else			not at all */
#include "fs/internal.h"

#include <errno.h>
#include <stdlib.h>

#define ROW_UNWRITTEN 1

/* ---- the inode's row ---- */

int inode_read_row(struct fs *fs, uint64_t ino, struct inode_attr *attr, uint64_t *blocks)
{
	int ret = db_run(&fs->db, DB_INODE_GET, "u", ino);
	if (ret <= 0)
		return ret < 0 ? ret : -ENOENT;
	const char *bad = row_inode(db_row(&fs->db, DB_INODE_GET), 0, attr, blocks);
	db_end(&fs->db, DB_INODE_GET);
	return bad ? fs_damaged(fs, ino, bad) : 0;
}

int inode_write_row(struct fs *fs, struct inode *inode, uint64_t epoch, bool divided)
{
	pthread_mutex_lock(&inode->lock);
	struct inode_attr a = inode->attr;
	uint64_t blocks = inode->db_blocks;
	bool whole = inode->size_epoch <= epoch;
	if (!whole)
		a.size = min_u64(a.size, inode->size_before);
	uint64_t stored = max_u64(inode->row_size, inode->stored_end);
	bool grows = a.size > stored, shrinks = a.size < inode->row_size;
	bool held_back = divided && S_ISREG(a.mode) && (grows || shrinks);
	if (held_back)
		a.size = grows ? stored : inode->row_size;
	bool wanted = inode->attr_dirty || (inode->times_dirty && !divided);
	inode->times_dirty &= !wanted;
	inode->attr_dirty = !whole || held_back;
	if (wanted)
		inode->row_size = a.size;
	if (wanted)
		inode->transaction = atomic_load(&fs->transaction);
	pthread_mutex_unlock(&inode->lock);
	if (!whole)
		inode_mark_dirty(fs, inode);
	if (!wanted)
		return 0;
	pthread_mutex_lock(&fs->table.lock);
	inode->stored = true;
	pthread_mutex_unlock(&fs->table.lock);
	return db_exec(&fs->db, DB_INODE_PUT, "uuuuuuuuiiiuui", inode->ino, (uint64_t)a.mode,
		(uint64_t)a.nlink, (uint64_t)a.uid, (uint64_t)a.gid, a.rdev, a.size, blocks,
		a.atime, a.mtime, a.ctime, a.parent, a.cookie, a.btime);
}

/* ---- extents to rows ---- */

struct row {
	uint64_t file_block, volume_block, blocks;
	bool unwritten;
};

struct row_list {
	struct row *rows; /* owned */
	size_t count, capacity;
};

static int row_list_add(struct row_list *rows, const struct row *r)
{
	struct row *last = rows->count ? &rows->rows[rows->count - 1] : NULL;
	if (last && last->file_block + last->blocks == r->file_block &&
		last->volume_block + last->blocks == r->volume_block &&
		last->unwritten == r->unwritten) {
		last->blocks += r->blocks;
		return 0;
	}
	if (rows->count == rows->capacity) {
		size_t capacity = rows->capacity ? rows->capacity * 2 : 16;
		struct row *bigger = realloc(rows->rows, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		rows->rows = bigger;
		rows->capacity = capacity;
	}
	rows->rows[rows->count++] = *r;
	return 0;
}

/* What the database is to hold of an extent. False: nothing. */
static bool row_of(const struct extent *e, uint64_t epoch, struct row *out)
{
	bool durable = extent_is_durable(e, epoch);
	bool unwritten = e->state == EXTENT_UNWRITTEN || (!durable && e->reserved);
	*out = (struct row){e->file_block, e->volume_block, e->blocks, unwritten};
	return durable || unwritten;
}

/* The rows of a part of the map: its own, or where atomic writes replaced something that the rows
 * shall go on pointing to, those of that. */
static int part_collect(
	const struct inode *inode, const struct extent *part, uint64_t epoch, struct row_list *out)
{
	uint64_t at = part->file_block, end = extent_end(part);
	int ret = 0;
	while (ret == 0 && at < end) {
		struct extent old, piece;
		struct row row;
		bool kept = extent_map_find(&inode->replaced.stored, at, &old);
		bool here = kept && old.file_block <= at;
		if (here)
			piece = extent_clip(&old, at, end);
		else
			piece = extent_clip(part, at, kept ? min_u64(old.file_block, end) : end);
		if (row_of(&piece, epoch, &row))
			ret = row_list_add(out, &row);
		at = extent_end(&piece);
	}
	return ret;
}

/* Collect what the rows of a range are to be (under inode->lock), and move on what is durable. */
static int range_collect(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch,
	struct row_list *out)
{
	struct extent e;
	uint64_t at = range.first;
	int ret = replaced_advance(fs, inode, range, epoch);
	while (ret == 0 && at < range.end && extent_map_find(&inode->map, at, &e) &&
		e.file_block < range.end) {
		/* What stood before @at may have been merged with this one. */
		uint64_t first = max_u64(e.file_block, at), end = extent_end(&e);
		struct extent part = extent_clip(&e, first, range.end);
		ret = part_collect(inode, &part, epoch, out);
		if (e.state == EXTENT_WRITTEN && e.tag <= epoch)
			(void)extent_map_restate(
				&inode->map, e.file_block, e.blocks, EXTENT_CLEAN, 0, false);
		else if (e.state == EXTENT_WRITTEN)
			range_set_add(&inode->changed, first, min_u64(end, range.end));
		at = end;
	}
	return ret;
}

/* Widen a range to the rows that reach into it or touch it, so that they are merged. */
static int range_widen(struct fs *fs, uint64_t ino, struct range *range)
{
	int ret = db_run(&fs->db, DB_EXTENT_BEFORE, "uu", ino, range->first);
	struct row_extent row = {0};
	if (ret > 0)
		ret = extent_row_read(fs, DB_EXTENT_BEFORE, &row) < 0 ? -EUCLEAN : 1;
	if (ret > 0 && row.file_block + row.blocks >= range->first)
		range->first = row.file_block;
	db_end(&fs->db, DB_EXTENT_BEFORE);
	if (ret < 0 || range->end >= FS_MAX_BLOCKS)
		return ret < 0 ? ret : 0;
	ret = db_run(&fs->db, DB_EXTENT_BEFORE, "uu", ino, range->end + 1);
	if (ret > 0)
		ret = extent_row_read(fs, DB_EXTENT_BEFORE, &row) < 0 ? -EUCLEAN : 1;
	if (ret > 0)
		range->end = max_u64(range->end, row.file_block + row.blocks);
	db_end(&fs->db, DB_EXTENT_BEFORE);
	return ret < 0 ? ret : 0;
}

static int rows_replace(
	struct fs *fs, uint64_t ino, struct range range, const struct row_list *rows)
{
	uint64_t end = min_u64(range.end, FS_MAX_BLOCKS);
	int ret = db_exec(&fs->db, DB_EXTENT_DELETE, "uuu", ino, range.first, end);
	for (size_t i = 0; i < rows->count && ret == 0; i++) {
		const struct row *r = &rows->rows[i];
		ret = db_exec(&fs->db, DB_EXTENT_PUT, "uuuuu", ino, r->file_block, r->volume_block,
			r->blocks, (uint64_t)(r->unwritten ? ROW_UNWRITTEN : 0));
	}
	return ret;
}

static uint64_t row_list_blocks(const struct row_list *rows)
{
	uint64_t blocks = 0;
	for (size_t i = 0; i < rows->count; i++)
		blocks += rows->rows[i].blocks;
	return blocks;
}

struct range_rows {
	uint64_t blocks; /* that they hold */
	uint64_t stop;   /* where they end: at the next row, or as the range */
};

/* The rows of a range, so many of them at most. */
static int range_look(
	struct fs *fs, uint64_t ino, struct range range, uint64_t most, struct range_rows *out)
{
	struct row_extent row;
	int ret = db_run(&fs->db, DB_EXTENT_OF, "uu", ino, range.first);
	*out = (struct range_rows){.stop = range.end};
	while (ret > 0) {
		ret = extent_row_read(fs, DB_EXTENT_OF, &row);
		if (ret < 0 || row.file_block >= range.end)
			break;
		if (most-- == 0) {
			out->stop = row.file_block;
			break;
		}
		out->blocks += row.blocks;
		ret = db_next(&fs->db, DB_EXTENT_OF);
	}
	db_end(&fs->db, DB_EXTENT_OF);
	return ret < 0 ? ret : 0;
}

static int range_write(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch)
{
	struct range_rows before;
	int ret = range_widen(fs, inode->ino, &range);
	if (ret == 0)
		ret = range_look(fs, inode->ino, range, UINT64_MAX, &before);
	if (ret < 0)
		return ret;
	struct row_list rows = {0};
	pthread_mutex_lock(&inode->lock);
	ret = range_collect(fs, inode, range, epoch, &rows);
	uint64_t blocks = inode->db_blocks + row_list_blocks(&rows) - before.blocks;
	inode->attr_dirty |= blocks != inode->db_blocks;
	inode->db_blocks = blocks;
	pthread_mutex_unlock(&inode->lock);
	if (ret == 0)
		ret = rows_replace(fs, inode->ino, range, &rows);
	free(rows.rows);
	return ret;
}

/* ---- a file's extents, in pieces that the log holds ---- */

/* A row that comes or goes changes leaves of two trees, and may divide them; those beside it in the
 * file are written anew, and lie anywhere in the tree of places. */
#define ROW_PAGES 8u

/* Where so many extents of the map end, or @range does. Under inode->lock. */
static uint64_t map_stop(const struct inode *inode, struct range range, uint64_t most)
{
	struct extent e;
	uint64_t at = range.first;
	for (; most > 0 && at < range.end; most--)
		at = extent_map_find(&inode->map, at, &e) ? extent_end(&e) : range.end;
	return min_u64(at, range.end);
}

/* The first part of a range that one transaction surely holds; all of it where an atomic write may
 * be in it. What a truncation cuts off is a part by itself: one step of it goes at once. */
static int piece_of(struct fs *fs, struct inode *inode, struct range range, struct range *out)
{
	uint64_t most = db_log_slack_pages(&fs->db) / ROW_PAGES;
	struct range_rows found = {.stop = range.end};
	pthread_mutex_lock(&inode->lock);
	uint64_t end = (inode->attr.size + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	bool shrinks = inode->attr.size < inode->row_size;
	bool whole = inode->atomics > 0 || inode->replaced.stored.extents > 0 ||
		     inode->replaced.sealed.extents > 0;
	if (shrinks && range.first >= end)
		most = fs_extents_at_once(fs);
	else if (shrinks && !whole)
		range.end = min_u64(range.end, end);
	if (!whole)
		range.end = map_stop(inode, range, most);
	pthread_mutex_unlock(&inode->lock);
	int ret = whole ? 0 : range_look(fs, inode->ino, range, most, &found);
	*out = (struct range){range.first, min_u64(found.stop, range.end)};
	return ret;
}

static void stored_up_to(struct inode *inode, uint64_t blocks)
{
	pthread_mutex_lock(&inode->lock);
	inode->stored_end = min_u64(blocks, FS_MAX_BLOCKS - 1) << BLOCK_SHIFT;
	pthread_mutex_unlock(&inode->lock);
}

static int range_write_in_pieces(
	struct fs *fs, struct inode *inode, struct range range, struct commit_rest *rest)
{
	int ret = 0;
	while (ret == 0 && range.first < range.end) {
		struct range piece;
		if (db_log_is_full(&fs->db))
			ret = commit_divide(fs, rest);
		if (ret == 0)
			ret = piece_of(fs, inode, range, &piece);
		if (ret == 0)
			ret = range_write(fs, inode, piece, rest->epoch);
		if (ret == 0) {
			stored_up_to(inode, piece.end);
			range.first = piece.end;
		}
	}
	return ret;
}

int inode_write_extents(struct fs *fs, struct inode *inode, struct commit_rest *rest)
{
	pthread_mutex_lock(&inode->lock);
	struct range_set changed = inode->changed;
	inode->changed = (struct range_set){0};
	inode->new_extents = 0;
	if (changed.count || changed.everything)
		inode->transaction = atomic_load(&fs->transaction);
	pthread_mutex_unlock(&inode->lock);
	int ret = 0;
	if (changed.everything)
		ret = range_write_in_pieces(fs, inode, (struct range){0, FS_MAX_BLOCKS}, rest);
	for (size_t i = 0; i < changed.count && ret == 0 && !changed.everything; i++)
		ret = range_write_in_pieces(fs, inode, changed.ranges[i], rest);
	range_set_clear(&changed);
	stored_up_to(inode, 0);
	pthread_mutex_lock(&inode->lock);
	bool more = inode->changed.count || inode->changed.everything;
	pthread_mutex_unlock(&inode->lock);
	if (more)
		inode_mark_dirty(fs, inode);
	return ret;
}

/* ---- rows to the map ---- */

int extent_row_read(struct fs *fs, enum db_statement s, struct row_extent *out)
{
	const char *bad = row_extent(db_row(&fs->db, s), volume_blocks(fs->volume), out);
	return bad ? fs_damaged(fs, out->ino, bad) : 0;
}

static int map_read(struct fs *fs, uint64_t ino, struct extent_map *map)
{
	int ret = db_run(&fs->db, DB_EXTENT_OF, "uu", ino, UINT64_C(0));
	uint64_t end = 0;
	while (ret > 0) {
		struct row_extent row;
		ret = extent_row_read(fs, DB_EXTENT_OF, &row);
		if (ret == 0 && row.file_block < end)
			ret = fs_damaged(fs, ino, "extents that overlap in the file");
		struct extent e = {.file_block = row.file_block,
			.volume_block = row.volume_block,
			.blocks = row.blocks,
			.state = row.unwritten ? EXTENT_UNWRITTEN : EXTENT_CLEAN};
		if (ret == 0)
			ret = extent_map_insert(map, &e);
		end = extent_end(&e);
		if (ret == 0)
			ret = db_next(&fs->db, DB_EXTENT_OF);
	}
	db_end(&fs->db, DB_EXTENT_OF);
	return ret;
}

int inode_load_map(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool loaded = inode->map_loaded;
	pthread_mutex_unlock(&inode->lock);
	if (loaded)
		return 0;
	struct extent_map map;
	extent_map_init(&map);
	pthread_mutex_lock(&fs->db_lock);
	int ret = map_read(fs, inode->ino, &map);
	pthread_mutex_lock(&inode->lock);
	if (ret == 0 && !inode->map_loaded) {
		inode->map = map;
		inode->map_loaded = true;
		extent_map_init(&map);
	}
	pthread_mutex_unlock(&inode->lock);
	pthread_mutex_unlock(&fs->db_lock);
	extent_map_clear(&map);
	return ret;
}
