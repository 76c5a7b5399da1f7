/* SPDX-License-Identifier: MIT */
/* A study's results: sheets of rows, printed as tables or written as JSON by one piece of code.
 * Cells are added row by row, from left to right. Running out of memory is kept for the end. */
#ifndef STABLEFS_CLI_DEMO_SHEET_H
#define STABLEFS_CLI_DEMO_SHEET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "report/json.h"

/* A column ends the list with key NULL. An empty title: in JSON alone. */
struct demo_sheet_column {
	const char *key, *title;
	char align; /* 'l' or 'r' */
};

enum demo_cell_kind { CELL_NONE, CELL_TEXT, CELL_COUNT, CELL_SHARE, CELL_NUMBER };

struct demo_sheet_cell {
	enum demo_cell_kind kind;
	char text[96];
	uint64_t n, of; /* CELL_COUNT: n; CELL_SHARE: both */
	double number;
	unsigned decimals;
};

struct demo_sheet {
	struct demo_sheet *next; /* owned by the report */
	const char *name, *title;
	const struct demo_sheet_column *columns; /* borrowed, static */
	unsigned column_count, cell_count, room;
	struct demo_sheet_cell *cells; /* owned */
};

struct demo_report {
	struct demo_sheet *first; /* owned */
	char damaged[256]; /* what the cure or the control has lost; "": nothing, as it must */
	int err;
};

/* NULL: out of memory, noted in the report; the functions below accept it. */
struct demo_sheet *demo_report_add(struct demo_report *r, const char *name, const char *title,
	const struct demo_sheet_column *columns);
void demo_report_end(struct demo_report *r);

/* The cure or the control shows damage: the first time counts. */
void demo_report_damage(struct demo_report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void demo_sheet_text(struct demo_report *r, struct demo_sheet *s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void demo_sheet_count(struct demo_report *r, struct demo_sheet *s, uint64_t n);
void demo_sheet_share(struct demo_report *r, struct demo_sheet *s, uint64_t n, uint64_t of);
void demo_sheet_number(struct demo_report *r, struct demo_sheet *s, double v, unsigned decimals);
void demo_sheet_none(struct demo_report *r, struct demo_sheet *s);

unsigned demo_sheet_rows(const struct demo_sheet *s);
/* The cell of a column; NULL where there is none. */
const struct demo_sheet_cell *demo_sheet_cell(
	const struct demo_sheet *s, unsigned row, const char *key);

int demo_report_print(const struct demo_report *r, FILE *out);
/* Field "sheets" of the object that is open. */
void demo_report_json(const struct demo_report *r, struct json *j);

#endif
