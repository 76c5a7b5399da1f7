/* SPDX-License-Identifier: MIT */
/* Everything that is said of an inode, in all tables, put side by side: six statements, each in
 * order of inodes, step together.
 *
 * An inode that has lost its row gets one where something of it is left: a directory that names
 * lead out of, a file with blocks, a symbolic link with a target. What it was else is lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/check_internal.h"

enum stream { INODES, ENTRIES, CHILDREN, EXTENTS, SYMLINKS, XATTRS, STREAMS };

static const char *const sqls[STREAMS] = {
	[INODES] = "SELECT ino, " ROW_INODE " FROM inode WHERE ino >= ?1 ORDER BY ino",
	[ENTRIES] = "SELECT ino, parent, cookie, type FROM dirent WHERE ino >= ?1"
		    " ORDER BY ino, parent, cookie",
	[CHILDREN] = "SELECT parent, count(*), sum(type = 16384) FROM dirent WHERE parent >= ?1"
		     " GROUP BY parent ORDER BY parent",
	[EXTENTS] = "SELECT ino, sum(min(max(blocks, 0), 4294967296)),"
		    " max(min(max(file_block + blocks, 0), 4503599627370496)) FROM extent"
		    " WHERE ino >= ?1 GROUP BY ino ORDER BY ino",
	[SYMLINKS] = "SELECT ino, length(target) FROM symlink WHERE ino >= ?1 ORDER BY ino",
	[XATTRS] = "SELECT ino, count(*) FROM xattr WHERE ino >= ?1 GROUP BY ino ORDER BY ino",
};

struct place {
	uint64_t parent, cookie;
	uint32_t type;
};

/* What the tables say of one inode. */
struct subject {
	uint64_t ino;
	bool has_row, row_bad;
	struct inode_attr attr;
	uint64_t blocks;      /* as its row says */
	struct place *places; /* owned: names that lead to it */
	size_t place_count, place_capacity;
	uint64_t children, subdirs;
	uint64_t extent_blocks, extent_end; /* 0: none */
	bool has_symlink;
	uint64_t target_len;
	bool has_xattrs;
};

struct census {
	struct check *c;
	unsigned what;
	sqlite3_stmt *stmts[STREAMS];
	bool there[STREAMS];
	uint64_t at[STREAMS];
	struct subject s;
};

/* ---- the streams ---- */

static int stream_step(struct census *n, enum stream i)
{
	int ret = check_next(n->c, n->stmts[i]);
	n->there[i] = ret > 0;
	if (ret > 0)
		n->at[i] = (uint64_t)sqlite3_column_int64(n->stmts[i], 0);
	return ret < 0 ? ret : check_step(n->c);
}

static int streams_begin(struct census *n, uint64_t from)
{
	int ret = 0;
	for (unsigned i = 0; i < STREAMS && ret == 0; i++) {
		ret = check_prepare(n->c, sqls[i], &n->stmts[i]);
		if (ret == 0)
			ret = check_bind(n->stmts[i], "u", from);
		if (ret == 0)
			ret = stream_step(n, (enum stream)i);
	}
	return ret;
}

static void streams_end(struct census *n)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		sqlite3_finalize(n->stmts[i]);
		n->stmts[i] = NULL;
	}
}

/* False: all are at their end. */
static bool next_ino(const struct census *n, uint64_t *ino)
{
	bool any = false;
	for (unsigned i = 0; i < STREAMS; i++) {
		if (n->there[i] && (!any || n->at[i] < *ino))
			*ino = n->at[i];
		any |= n->there[i];
	}
	return any;
}

static uint64_t column(const struct census *n, enum stream i, int which)
{
	return (uint64_t)sqlite3_column_int64(n->stmts[i], which);
}

static int place_add(struct subject *s, const struct place *p)
{
	if (s->place_count == s->place_capacity) {
		size_t capacity = s->place_capacity ? 2 * s->place_capacity : 8;
		struct place *bigger = realloc(s->places, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		s->places = bigger;
		s->place_capacity = capacity;
	}
	s->places[s->place_count++] = *p;
	return 0;
}

static int take_row(struct census *n, enum stream i)
{
	struct subject *s = &n->s;
	switch (i) {
	case INODES:
		s->has_row = true;
		s->row_bad = row_inode(n->stmts[i], 1, &s->attr, &s->blocks);
		return 0;
	case ENTRIES: {
		struct place p = {column(n, i, 1), column(n, i, 2), (uint32_t)column(n, i, 3)};
		return place_add(s, &p);
	}
	case CHILDREN:
		s->children = column(n, i, 1);
		s->subdirs = column(n, i, 2);
		return 0;
	case EXTENTS:
		s->extent_blocks = column(n, i, 1);
		s->extent_end = column(n, i, 2);
		return 0;
	case SYMLINKS:
		s->has_symlink = true;
		s->target_len = column(n, i, 1);
		return 0;
	default:
		s->has_xattrs = true;
		return 0;
	}
}

static int subject_collect(struct census *n, uint64_t ino)
{
	struct subject *s = &n->s;
	struct place *places = s->places;
	size_t capacity = s->place_capacity;
	*s = (struct subject){.ino = ino, .places = places, .place_capacity = capacity};
	int ret = 0;
	for (unsigned i = 0; i < STREAMS; i++) {
		while (ret == 0 && n->there[i] && n->at[i] == ino) {
			ret = take_row(n, (enum stream)i);
			if (ret == 0)
				ret = stream_step(n, (enum stream)i);
		}
	}
	return ret;
}

/* ---- an inode without a row ---- */

/* What it was, by what is left. 0: nothing is. */
static uint32_t type_left(const struct subject *s)
{
	if (s->children || s->ino == FS_ROOT_INO)
		return S_IFDIR;
	if (s->has_symlink)
		return S_IFLNK;
	for (size_t i = 0; i < s->place_count; i++) {
		if (s->places[i].type == S_IFDIR)
			return S_IFDIR;
	}
	return s->extent_end ? S_IFREG : 0;
}

static int entries_delete(struct check *c, const struct subject *s, size_t from)
{
	int ret = 0;
	for (size_t i = from; i < s->place_count && ret == 0; i++)
		ret = fixes_add(
			c, FIX_ENTRY_DELETE, s->ino, s->places[i].parent, s->places[i].cookie);
	return ret;
}

/* A row of that type, and names that say so: one for a directory, at least one for a file. */
static int become(struct check *c, const struct subject *s, uint32_t mode, uint64_t size)
{
	uint32_t type = mode & S_IFMT;
	size_t names = type == S_IFDIR ? min_u64(s->place_count, 1) : s->place_count;
	int ret = fixes_add(c, FIX_INODE_MAKE, s->ino, mode, size);
	for (size_t i = 0; i < names && ret == 0; i++) {
		const struct place *p = &s->places[i];
		if (p->type != type)
			ret = fixes_add(c, FIX_ENTRY, s->ino, p->parent, p->cookie);
	}
	if (ret == 0)
		ret = entries_delete(c, s, names);
	if (ret == 0 && !names && type != S_IFDIR)
		ret = fixes_add(c, FIX_CONNECT, s->ino, 0, 0);
	if (ret == 0 && s->extent_end && type != S_IFREG)
		ret = fixes_add(c, FIX_EXTENTS_DELETE, s->ino, 0, 0);
	if (ret == 0 && s->has_symlink && type != S_IFLNK)
		ret = fixes_add(c, FIX_SYMLINK_DELETE, s->ino, 0, 0);
	return ret;
}

static int row_make(struct check *c, const struct subject *s, uint32_t type)
{
	uint32_t bits = type == S_IFDIR ? 0700 : type == S_IFLNK ? 0777 : 0600;
	uint64_t size = type == S_IFREG   ? min_u64(s->extent_end << BLOCK_SHIFT, FS_MAX_BYTES)
			: type == S_IFLNK ? s->target_len
					  : 0;
	check_found(c, CHECK_INODE, s->ino, "made anew, of root, its size as far as it has blocks",
		"its row is lost: mode, owner, times and size are not known");
	return become(c, s, type | bits, size);
}

static int rowless(struct census *n)
{
	struct subject *s = &n->s;
	uint32_t type = type_left(s);
	if (type)
		return row_make(n->c, s, type);
	int ret = 0;
	for (size_t i = 0; i < s->place_count; i++)
		check_found(n->c, CHECK_ENTRY, s->places[i].parent, "removed",
			"an entry of the directory leads to inode %llu, which is not there",
			(unsigned long long)s->ino);
	ret = entries_delete(n->c, s, 0);
	if (ret < 0 || !s->has_xattrs)
		return ret;
	check_found(n->c, CHECK_XATTR, s->ino, "removed", "extended attributes of no inode");
	return fixes_add(n->c, FIX_XATTRS_DELETE, s->ino, 0, 0);
}

/* ---- names ---- */

static int types_check(struct check *c, const struct subject *s)
{
	uint32_t type = s->attr.mode & S_IFMT;
	int ret = 0;
	for (size_t i = 0; i < s->place_count && ret == 0; i++) {
		if (s->places[i].type == type)
			continue;
		check_found(c, CHECK_ENTRY, s->ino, "set right",
			"an entry in inode %llu calls it another type of file",
			(unsigned long long)s->places[i].parent);
		ret = fixes_add(c, FIX_ENTRY, s->ino, s->places[i].parent, s->places[i].cookie);
	}
	return ret;
}

/* The one that the directory itself names comes first. */
static void places_sort(struct subject *s)
{
	for (size_t i = 1; i < s->place_count; i++) {
		struct place p = s->places[i];
		if (p.parent != s->attr.parent || p.cookie != s->attr.cookie)
			continue;
		s->places[i] = s->places[0];
		s->places[0] = p;
	}
}

/* A directory has one name, the root none. */
static int directory_names(struct check *c, struct subject *s)
{
	size_t allowed = s->ino == FS_ROOT_INO ? 0 : 1;
	if (s->place_count <= allowed)
		return 0;
	places_sort(s);
	check_found(c, CHECK_ENTRY, s->ino, "removed but for one",
		"%zu names lead to the directory, %zu may", s->place_count, allowed);
	return entries_delete(c, s, allowed);
}

/* Without a name; a directory that leads nowhere is the tree's matter (check_tree.c). */
static int nameless(struct check *c, const struct subject *s)
{
	if (s->place_count || s->ino == FS_ROOT_INO)
		return 0;
	if (s->attr.nlink == 0 && !s->children) {
		check_found(c, CHECK_ORPHAN, s->ino, "reclaimed",
			"unlinked while it was open, to be reclaimed at the next mount");
		return 0;
	}
	if (S_ISDIR(s->attr.mode))
		return 0;
	check_found(c, CHECK_UNREACHABLE, s->ino, "put into lost+found", "no name leads to it");
	return fixes_add(c, FIX_CONNECT, s->ino, 0, 0);
}

static int children_check(struct check *c, const struct subject *s)
{
	if (!s->children || S_ISDIR(s->attr.mode))
		return 0;
	check_found(c, CHECK_INODE, s->ino, "made a directory",
		"it is no directory, and %llu entries are in it", (unsigned long long)s->children);
	return become(c, s, S_IFDIR | 0700, 0);
}

/* ---- what belongs to it ---- */

static int extents_check(struct check *c, const struct subject *s)
{
	if (!s->extent_end || S_ISREG(s->attr.mode))
		return 0;
	check_found(c, CHECK_EXTENT, s->ino, "removed", "it is no regular file, and has blocks");
	return fixes_add(c, FIX_EXTENTS_DELETE, s->ino, 0, 0);
}

static int symlink_check(struct check *c, const struct subject *s)
{
	bool is_link = S_ISLNK(s->attr.mode);
	if (s->has_symlink && !is_link) {
		check_found(c, CHECK_SYMLINK, s->ino, "removed",
			"it is no symbolic link, and has a target");
		return fixes_add(c, FIX_SYMLINK_DELETE, s->ino, 0, 0);
	}
	if (!is_link || s->has_symlink)
		return 0;
	check_found(c, CHECK_SYMLINK, s->ino, "removed", "the symbolic link has no target");
	int ret = entries_delete(c, s, 0);
	return ret < 0 ? ret : fixes_add(c, FIX_INODE_DELETE, s->ino, 0, 0);
}

static int things(struct census *n)
{
	struct check *c = n->c;
	struct subject *s = &n->s;
	int ret = children_check(c, s);
	if (ret == 0 && s->children && !S_ISDIR(s->attr.mode))
		return 0;
	if (S_ISLNK(s->attr.mode) && !s->has_symlink)
		return symlink_check(c, s);
	if (ret == 0)
		ret = extents_check(c, s);
	if (ret == 0)
		ret = symlink_check(c, s);
	if (ret == 0 && S_ISDIR(s->attr.mode))
		ret = directory_names(c, s);
	if (ret == 0)
		ret = types_check(c, s);
	return ret < 0 ? ret : nameless(c, s);
}

/* ---- numbers ---- */

static int links_check(struct check *c, const struct subject *s)
{
	bool is_dir = S_ISDIR(s->attr.mode);
	if (!s->place_count && s->ino != FS_ROOT_INO)
		return 0; /* an orphan, or what the tree sees to */
	uint64_t links = is_dir ? 2 + s->subdirs : s->place_count;
	if (links == s->attr.nlink)
		return 0;
	check_found(c, CHECK_LINKS, s->ino, "set right", "its link count is %u, and should be %llu",
		s->attr.nlink, (unsigned long long)links);
	return fixes_add(c, FIX_LINKS, s->ino, links, 0);
}

/* A file may remember a name that it has lost: it has others. A directory has only this one. */
static int parent_check(struct check *c, const struct subject *s)
{
	if (!S_ISDIR(s->attr.mode) || (!s->place_count && s->ino != FS_ROOT_INO))
		return 0;
	struct place root = {.parent = FS_ROOT_INO};
	const struct place *p = s->ino == FS_ROOT_INO ? &root : &s->places[0];
	if (s->attr.parent == p->parent && s->attr.cookie == p->cookie)
		return 0;
	check_found(c, CHECK_PARENT, s->ino, "set right",
		"the directory calls inode %llu its parent, and is in %llu",
		(unsigned long long)s->attr.parent, (unsigned long long)p->parent);
	return fixes_add(c, FIX_PARENT, s->ino, p->parent, p->cookie);
}

static int blocks_check(struct check *c, const struct subject *s)
{
	if (s->blocks == s->extent_blocks)
		return 0;
	check_found(c, CHECK_BLOCKS, s->ino, "set right",
		"its row says %llu blocks, and it has %llu", (unsigned long long)s->blocks,
		(unsigned long long)s->extent_blocks);
	return fixes_add(c, FIX_BLOCKS, s->ino, s->extent_blocks, 0);
}

static int size_check(struct check *c, const struct subject *s)
{
	if (!S_ISLNK(s->attr.mode) || !s->has_symlink || s->attr.size == s->target_len)
		return 0;
	check_found(c, CHECK_SYMLINK, s->ino, "set right",
		"the symbolic link's size is %llu, and its target is %llu bytes long",
		(unsigned long long)s->attr.size, (unsigned long long)s->target_len);
	return fixes_add(c, FIX_SIZE, s->ino, s->target_len, 0);
}

static int counts(struct census *n)
{
	struct check *c = n->c;
	int ret = links_check(c, &n->s);
	if (ret == 0)
		ret = parent_check(c, &n->s);
	if (ret == 0)
		ret = blocks_check(c, &n->s);
	return ret < 0 ? ret : size_check(c, &n->s);
}

/* ---- all of them ---- */

static int subject_check(struct census *n)
{
	if (!n->s.has_row)
		return n->what & CENSUS_THINGS ? rowless(n) : 0;
	if (n->s.row_bad)
		return 0; /* named already */
	int ret = n->what & CENSUS_THINGS ? things(n) : 0;
	return ret == 0 && n->what & CENSUS_COUNTS ? counts(n) : ret;
}

/* From *@from on, until enough is noted. 1: there is more. */
static int census_piece(struct census *n, uint64_t *from)
{
	uint64_t ino = *from;
	int ret = streams_begin(n, *from);
	while (ret == 0 && !fixes_full(n->c) && next_ino(n, &ino)) {
		ret = subject_collect(n, ino);
		if (ret == 0)
			ret = subject_check(n);
		*from = ino + 1;
	}
	streams_end(n);
	return ret < 0 ? ret : fixes_full(n->c);
}

/* A root without a row is seen too: it is looked at even where no table knows it. */
static int root_check(struct check *c)
{
	struct subject root = {.ino = FS_ROOT_INO};
	int ret = check_run(c, NULL, "SELECT 1 FROM inode WHERE ino = 1", "");
	if (ret == 0)
		ret = check_run(c, NULL, "SELECT 1 FROM dirent WHERE parent = 1 OR ino = 1", "");
	else
		return ret < 0 ? ret : 0;
	return ret ? (ret < 0 ? ret : 0) : row_make(c, &root, S_IFDIR);
}

int check_census(struct check *c, unsigned what)
{
	struct census n = {.c = c, .what = what};
	uint64_t from = 1;
	int ret = what & CENSUS_THINGS ? root_check(c) : 0, more = 1;
	while (ret == 0 && more) {
		more = census_piece(&n, &from);
		ret = more < 0 ? more : c->repair ? fixes_apply(c) : 0;
	}
	free(n.s.places);
	return ret;
}
