/* SPDX-License-Identifier: MIT */
/* The picture of the study "cures": for each policy a bar of harm beside a bar of throughput, one
 * panel a volume. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/demo.h"

#define PANEL_WIDTH 620u
#define LEFT        110u
#define TOP         168u
#define ROW         58u
#define BAR         20u
#define FULL        290u /* pixels of the longest bar */
#define INK         "#1c2733"
#define SOFT        "#5b6875"
#define BAD         "#c8102e"
#define GOOD        "#2f7d5b"

static double harm_of(const struct demo_sheet *s, unsigned row)
{
	const struct demo_sheet_cell *idle = demo_sheet_cell(s, row, "idle_wrong");
	return idle && idle->of ? (double)idle->n / (double)idle->of : 0;
}

/* All panels have one scale. */
static double most_throughput(const struct demo_report *report)
{
	double most = 1;
	for (const struct demo_sheet *s = report->first; s; s = s->next) {
		for (unsigned i = 0; i < demo_sheet_rows(s); i++) {
			double v = demo_sheet_cell(s, i, "throughput")->number;
			most = v > most ? v : most;
		}
	}
	return most;
}

/* What XML reserves is left out. */
static void draw_text(
	FILE *out, unsigned x, unsigned y, unsigned size, const char *fill, const char *text)
{
	fprintf(out, "<text x=\"%u\" y=\"%u\" font-size=\"%u\" fill=\"%s\">", x, y, size, fill);
	for (; *text; text++)
		fputc(strchr("<>&", *text) ? '.' : *text, out);
	fputs("</text>\n", out);
}

static void draw_bar(FILE *out, unsigned x, unsigned y, double share, const char *fill)
{
	fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"%.1f\" height=\"%u\" fill=\"%s\"/>\n", x, y,
		share * FULL < 1 ? 1 : share * FULL, BAR, fill);
}

static void draw_row(FILE *out, const struct demo_sheet *s, unsigned row, unsigned x, double most)
{
	const struct demo_sheet_cell *speed = demo_sheet_cell(s, row, "throughput");
	const struct demo_sheet_cell *idle = demo_sheet_cell(s, row, "idle_wrong");
	const struct demo_sheet_cell *failed = demo_sheet_cell(s, row, "writes_failed");
	unsigned y = TOP + row * ROW, bars = x + LEFT;
	char text[128];
	draw_text(out, x, y + 26, 17, INK, demo_sheet_cell(s, row, "policy")->text);
	draw_bar(out, bars, y, speed->number / most, GOOD);
	if (speed->kind == CELL_NUMBER)
		snprintf(text, sizeof(text), "%.2f", speed->number);
	else
		snprintf(text, sizeof(text), "no direct I/O");
	draw_text(out, bars + (unsigned)(speed->number / most * FULL) + 8, y + 15, 14, SOFT, text);
	draw_bar(out, bars, y + BAR + 2, harm_of(s, row), BAD);
	int n = snprintf(text, sizeof(text), "%llu of %llu", (unsigned long long)idle->n,
		(unsigned long long)idle->of);
	if (failed->kind == CELL_COUNT && failed->n)
		snprintf(text + n, sizeof(text) - (size_t)n, "; %llu writes failed",
			(unsigned long long)failed->n);
	draw_text(out, bars + (unsigned)(harm_of(s, row) * FULL) + 8, y + BAR + 17, 14, SOFT, text);
}

static void draw_panel(FILE *out, const struct demo_sheet *s, unsigned x, double most)
{
	draw_text(out, x, TOP - 22, 19, INK, s->title);
	for (unsigned row = 0; row < demo_sheet_rows(s); row++)
		draw_row(out, s, row, x, most);
}

static void draw_key(FILE *out)
{
	draw_text(out, 20, 40, 24, INK, "What a cure costs, and what it saves");
	draw_bar(out, 20, 62, 0.07, GOOD);
	draw_text(out, 50, 78, 15, SOFT,
		"throughput of a program that keeps its buffer still (zerocopy = 1)");
	draw_bar(out, 20, 88, 0.07, BAD);
	draw_text(out, 50, 104, 15, SOFT,
		"idle 4K blocks of others that are lost when a member fails after a mutator ran");
}

int demo_cures_draw(const struct demo_report *report, const char *path, struct errmsg *why)
{
	unsigned panels = 0, rows = 0;
	for (const struct demo_sheet *s = report->first; s; s = s->next, panels++)
		rows = demo_sheet_rows(s) > rows ? demo_sheet_rows(s) : rows;
	FILE *out = fopen(path, "we");
	if (!out)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	unsigned width = 20 + panels * PANEL_WIDTH, height = TOP + rows * ROW + 10;
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" "
		"font-family=\"DejaVu Sans, Helvetica, sans-serif\">\n"
		"<rect width=\"%u\" height=\"%u\" fill=\"white\"/>\n",
		width, height, width, height);
	draw_key(out);
	unsigned x = 20;
	double most = most_throughput(report);
	for (const struct demo_sheet *s = report->first; s; s = s->next, x += PANEL_WIDTH)
		draw_panel(out, s, x, most);
	fputs("</svg>\n", out);
	return fclose(out) == 0 ? 0 : errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
}
