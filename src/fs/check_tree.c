/* SPDX-License-Identifier: MIT */
/* Directories that the root does not reach. Each has one name at most by now; so whatever is cut
 * off hangs either from a directory without a name, or from a circle. The first is put into
 * lost+found, and of a circle one name is taken away first. */
#include <errno.h>
#include <stdlib.h>
#include "fs/check_internal.h"

struct stray {
	uint64_t ino;
	bool has_name; /* in another stray one */
	bool seen;
};

struct strays {
	struct stray *list; /* owned; sorted */
	size_t count, capacity;
	size_t *stack; /* owned: of the walk */
};

static const char stray_sql[] =
	"WITH RECURSIVE reached(ino) AS (VALUES(1) UNION"
	" SELECT d.ino FROM reached r JOIN dirent d ON d.parent = r.ino WHERE d.type = 16384)"
	" SELECT i.ino FROM inode i WHERE (i.mode & 61440) = 16384"
	" AND i.ino NOT IN (SELECT ino FROM reached)"
	" AND (i.nlink > 0 OR EXISTS (SELECT 1 FROM dirent d WHERE d.parent = i.ino))"
	" ORDER BY i.ino";

static int stray_add(struct strays *s, uint64_t ino)
{
	if (s->count == s->capacity) {
		size_t capacity = s->capacity ? 2 * s->capacity : 64;
		struct stray *bigger = realloc(s->list, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		s->list = bigger;
		s->capacity = capacity;
	}
	s->list[s->count++] = (struct stray){.ino = ino};
	return 0;
}

static struct stray *stray_find(struct strays *s, uint64_t ino)
{
	size_t low = 0, high = s->count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (s->list[mid].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->count && s->list[low].ino == ino ? &s->list[low] : NULL;
}

static int strays_load(struct check *c, struct strays *s)
{
	sqlite3_stmt *stmt = NULL;
	int ret = check_prepare(c, stray_sql, &stmt);
	while (ret == 0 && (ret = check_next(c, stmt)) > 0)
		ret = stray_add(s, (uint64_t)sqlite3_column_int64(stmt, 0));
	sqlite3_finalize(stmt);
	s->stack = calloc(s->count + 1, sizeof(*s->stack));
	return ret < 0 ? ret : s->stack ? 0 : -ENOMEM;
}

/* The stray directories in a stray one, each handed to @each. */
static int children_each(struct check *c, struct strays *s, const struct stray *dir,
	void (*each)(struct strays *s, struct stray *child, void *ctx), void *ctx)
{
	sqlite3_stmt *stmt = NULL;
	int ret = check_prepare(
		c, "SELECT ino FROM dirent WHERE parent = ?1 AND type = 16384", &stmt);
	if (ret == 0)
		ret = check_bind(stmt, "u", dir->ino);
	while (ret == 0 && (ret = check_next(c, stmt)) > 0) {
		struct stray *child = stray_find(s, (uint64_t)sqlite3_column_int64(stmt, 0));
		ret = 0;
		if (child)
			each(s, child, ctx);
	}
	sqlite3_finalize(stmt);
	return ret;
}

static void mark_named(struct strays *s, struct stray *child, void *ctx)
{
	child->has_name = true;
}

static void push_unseen(struct strays *s, struct stray *child, void *ctx)
{
	size_t *depth = ctx;
	if (child->seen)
		return;
	child->seen = true;
	s->stack[(*depth)++] = (size_t)(child - s->list);
}

/* All below @from. */
static int walk(struct check *c, struct strays *s, struct stray *from)
{
	size_t depth = 0;
	int ret = 0;
	push_unseen(s, from, &depth);
	while (ret == 0 && depth > 0)
		ret = children_each(c, s, &s->list[s->stack[--depth]], push_unseen, &depth);
	return ret;
}

/* The name that closes the circle goes. */
static int circle_cut(struct check *c, uint64_t ino)
{
	sqlite3_stmt *stmt = NULL;
	int ret = check_prepare(c, "SELECT parent, cookie FROM dirent WHERE ino = ?1", &stmt);
	if (ret == 0)
		ret = check_bind(stmt, "u", ino);
	while (ret == 0 && (ret = check_next(c, stmt)) > 0)
		ret = fixes_add(c, FIX_ENTRY_DELETE, ino, (uint64_t)sqlite3_column_int64(stmt, 0),
			(uint64_t)sqlite3_column_int64(stmt, 1));
	sqlite3_finalize(stmt);
	return ret;
}

static int stray_mend(struct check *c, struct strays *s, struct stray *dir)
{
	int ret = 0;
	check_found(c, CHECK_UNREACHABLE, dir->ino, "put into lost+found",
		dir->has_name ? "the directory is inside itself"
			      : "no name leads to the directory");
	if (dir->has_name)
		ret = circle_cut(c, dir->ino);
	if (ret == 0)
		ret = fixes_add(c, FIX_CONNECT, dir->ino, 0, 0);
	return ret < 0 ? ret : walk(c, s, dir);
}

static int strays_check(struct check *c, struct strays *s)
{
	int ret = 0;
	for (size_t i = 0; i < s->count && ret == 0; i++)
		ret = children_each(c, s, &s->list[i], mark_named, NULL);
	for (size_t i = 0; i < s->count && ret == 0; i++) {
		if (!s->list[i].has_name)
			ret = stray_mend(c, s, &s->list[i]);
	}
	for (size_t i = 0; i < s->count && ret == 0; i++) {
		if (!s->list[i].seen)
			ret = stray_mend(c, s, &s->list[i]);
	}
	return ret;
}

int check_tree(struct check *c)
{
	struct strays s = {0};
	int ret = strays_load(c, &s);
	if (ret == 0)
		ret = strays_check(c, &s);
	free(s.list);
	free(s.stack);
	return ret;
}
