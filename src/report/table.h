/* SPDX-License-Identifier: MIT */
/* Tables of text for people: columns as wide as their widest cell, numbers to the right.
 *
 *	struct table *t = table_new("lr", (const char *[]){"member", "reads"});
 *	table_add_cell(t, "%s", path);
 *	table_add_cell(t, "%" PRIu64, reads);		// full: the next begins a row
 *	int err = table_print(t, stdout);
 *	table_free(t);
 */
#ifndef STABLEFS_REPORT_TABLE_H
#define STABLEFS_REPORT_TABLE_H

#include <stdio.h>

struct table;

/* @align: one character a column, 'l' or 'r'. @titles: one a column, copied; NULL: no head.
 * NULL: out of memory. */
struct table *table_new(const char *align, const char *const *titles);
void table_free(struct table *t); /* accepts NULL */

static inline void table_freep(struct table **t)
{
	table_free(*t);
}

/* The next cell, from left to right and top to bottom. Control characters are shown as '?'. Running
 * out of memory is kept for table_print(). */
void table_add_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write it: two spaces between columns, none at the end of a line. A last row that is not full
 * ends where its cells end. 0 or -errno. */
int table_print(const struct table *t, FILE *out);

#endif
