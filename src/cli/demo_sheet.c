/* SPDX-License-Identifier: MIT */
/* Sheets of results. */
#include "cli/demo_sheet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "report/table.h"

struct demo_sheet *demo_report_add(struct demo_report *r, const char *name, const char *title,
	const struct demo_sheet_column *columns)
{
	struct demo_sheet **end = &r->first, *s = calloc(1, sizeof(*s));
	if (!s) {
		r->err = -ENOMEM;
		return NULL;
	}
	*s = (struct demo_sheet){.name = name, .title = title, .columns = columns};
	while (columns[s->column_count].key)
		s->column_count++;
	while (*end)
		end = &(*end)->next;
	return *end = s;
}

void demo_report_end(struct demo_report *r)
{
	while (r->first) {
		struct demo_sheet *s = r->first;
		r->first = s->next;
		free(s->cells);
		free(s);
	}
}

void demo_report_damage(struct demo_report *r, const char *fmt, ...)
{
	va_list ap;
	if (r->damaged[0])
		return;
	va_start(ap, fmt);
	vsnprintf(r->damaged, sizeof(r->damaged), fmt, ap);
	va_end(ap);
}

/* ---- cells ---- */

static void add(struct demo_report *r, struct demo_sheet *s, const struct demo_sheet_cell *cell)
{
	if (!s || r->err)
		return;
	if (s->cell_count == s->room) {
		unsigned room = s->room ? 2 * s->room : 64;
		struct demo_sheet_cell *more = realloc(s->cells, room * sizeof(*more));
		if (!more) {
			r->err = -ENOMEM;
			return;
		}
		s->cells = more;
		s->room = room;
	}
	s->cells[s->cell_count++] = *cell;
}

void demo_sheet_text(struct demo_report *r, struct demo_sheet *s, const char *fmt, ...)
{
	struct demo_sheet_cell cell = {.kind = CELL_TEXT};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cell.text, sizeof(cell.text), fmt, ap);
	va_end(ap);
	add(r, s, &cell);
}

void demo_sheet_count(struct demo_report *r, struct demo_sheet *s, uint64_t n)
{
	add(r, s, &(struct demo_sheet_cell){.kind = CELL_COUNT, .n = n});
}

void demo_sheet_share(struct demo_report *r, struct demo_sheet *s, uint64_t n, uint64_t of)
{
	add(r, s, &(struct demo_sheet_cell){.kind = CELL_SHARE, .n = n, .of = of});
}

void demo_sheet_number(struct demo_report *r, struct demo_sheet *s, double v, unsigned decimals)
{
	add(r, s,
		&(struct demo_sheet_cell){.kind = CELL_NUMBER, .number = v, .decimals = decimals});
}

void demo_sheet_none(struct demo_report *r, struct demo_sheet *s)
{
	add(r, s, &(struct demo_sheet_cell){.kind = CELL_NONE});
}

unsigned demo_sheet_rows(const struct demo_sheet *s)
{
	return s->cell_count / s->column_count;
}

const struct demo_sheet_cell *demo_sheet_cell(
	const struct demo_sheet *s, unsigned row, const char *key)
{
	for (unsigned i = 0; i < s->column_count && row < demo_sheet_rows(s); i++)
		if (!strcmp(s->columns[i].key, key))
			return &s->cells[row * s->column_count + i];
	return NULL;
}

/* ---- text ---- */

static void print_cell(struct table *t, const struct demo_sheet_cell *c)
{
	switch (c->kind) {
	case CELL_NONE:
		table_add_cell(t, "-");
		return;
	case CELL_TEXT:
		table_add_cell(t, "%s", c->text);
		return;
	case CELL_COUNT:
		table_add_cell(t, "%llu", (unsigned long long)c->n);
		return;
	case CELL_SHARE:
		table_add_cell(
			t, "%llu of %llu", (unsigned long long)c->n, (unsigned long long)c->of);
		return;
	case CELL_NUMBER:
		table_add_cell(t, "%.*f", (int)c->decimals, c->number);
		return;
	}
}

#define MAX_COLUMNS 24u

static int print_sheet(const struct demo_sheet *s, FILE *out)
{
	char align[MAX_COLUMNS + 1] = "";
	const char *titles[MAX_COLUMNS];
	unsigned shown = 0;
	for (unsigned i = 0; i < s->column_count && shown < MAX_COLUMNS; i++) {
		if (!s->columns[i].title[0])
			continue;
		titles[shown] = s->columns[i].title;
		align[shown++] = s->columns[i].align;
	}
	struct table *t = table_new(align, titles);
	if (!t)
		return -ENOMEM;
	for (unsigned i = 0; i < s->cell_count; i++)
		if (s->columns[i % s->column_count].title[0])
			print_cell(t, &s->cells[i]);
	fprintf(out, "%s\n\n", s->title);
	int err = table_print(t, out);
	table_free(t);
	fputc('\n', out);
	return err;
}

int demo_report_print(const struct demo_report *r, FILE *out)
{
	int err = r->err;
	for (const struct demo_sheet *s = r->first; s && !err; s = s->next)
		err = print_sheet(s, out);
	return err;
}

/* ---- JSON ---- */

static void write_cell(struct json *j, const struct demo_sheet_cell *c)
{
	switch (c->kind) {
	case CELL_NONE:
		json_null(j);
		return;
	case CELL_TEXT:
		json_string(j, c->text);
		return;
	case CELL_COUNT:
		json_u64(j, c->n);
		return;
	case CELL_SHARE:
		json_object_begin(j);
		json_field_u64(j, "wrong", c->n);
		json_field_u64(j, "of", c->of);
		json_object_end(j);
		return;
	case CELL_NUMBER:
		json_double(j, c->number);
		return;
	}
}

static void write_sheet(struct json *j, const struct demo_sheet *s)
{
	json_object_begin(j);
	json_field_string(j, "name", s->name);
	json_field_string(j, "title", s->title);
	json_key(j, "rows");
	json_array_begin(j);
	for (unsigned i = 0; i < s->cell_count; i++) {
		unsigned column = i % s->column_count;
		if (!column)
			json_object_begin(j);
		json_key(j, s->columns[column].key);
		write_cell(j, &s->cells[i]);
		if (column + 1 == s->column_count)
			json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

void demo_report_json(const struct demo_report *r, struct json *j)
{
	json_key(j, "sheets");
	json_array_begin(j);
	for (const struct demo_sheet *s = r->first; s; s = s->next)
		write_sheet(j, s);
	json_array_end(j);
}
