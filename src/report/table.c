/* SPDX-License-Identifier: MIT */
/* Tables: all cells in one array, row by row; widths are found when the table is printed. */
#include "report/table.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "report/utf8.h"

#define MAX_COLUMNS 32u

struct table {
	char align[MAX_COLUMNS + 1];
	unsigned columns;
	char **cells; /* owned, each too */
	size_t count, room;
	int err;
};

struct table *table_new(const char *align, const char *const *titles)
{
	struct table *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->columns = (unsigned)strlen(align);
	assert(t->columns >= 1 && t->columns <= MAX_COLUMNS);
	memcpy(t->align, align, t->columns);
	for (unsigned i = 0; titles && i < t->columns; i++)
		table_add_cell(t, "%s", titles[i]);
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

static bool make_room(struct table *t)
{
	if (t->count < t->room)
		return true;
	size_t room = t->room ? t->room * 2 : 4 * (size_t)t->columns;
	char **cells = realloc(t->cells, room * sizeof(*cells));
	if (!cells)
		return false;
	t->cells = cells;
	t->room = room;
	return true;
}

/* A cell stays in its line, whatever a name holds. */
static void mask_controls(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
}

void table_add_cell(struct table *t, const char *fmt, ...)
{
	char *text;
	va_list ap;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0) {
		t->err = -ENOMEM;
		return;
	}
	mask_controls(text);
	if (!make_room(t)) {
		t->err = -ENOMEM;
		free(text);
		return;
	}
	t->cells[t->count++] = text;
}

static void find_widths(const struct table *t, size_t *widths)
{
	for (size_t i = 0; i < t->count; i++) {
		size_t columns = utf8_columns(t->cells[i]);
		size_t *width = &widths[i % t->columns];
		if (columns > *width)
			*width = columns;
	}
}

static void print_cell(const struct table *t, size_t index, size_t width, FILE *out)
{
	unsigned column = (unsigned)(index % t->columns);
	const char *cell = t->cells[index];
	int pad = (int)(width - utf8_columns(cell));
	bool last = column == t->columns - 1 || index == t->count - 1;
	if (column > 0)
		fputs("  ", out);
	if (t->align[column] == 'r')
		fprintf(out, "%*s%s", pad, "", cell);
	else
		fprintf(out, "%s%*s", cell, last ? 0 : pad, "");
	if (last)
		fputc('\n', out);
}

int table_print(const struct table *t, FILE *out)
{
	size_t widths[MAX_COLUMNS] = {0};
	if (t->err)
		return t->err;
	find_widths(t, widths);
	for (size_t i = 0; i < t->count; i++)
		print_cell(t, i, widths[i % t->columns], out);
	return ferror(out) ? -EIO : 0;
}
