/* SPDX-License-Identifier: MIT */
/* A ruined stripe that a teacher can project: as text, and as SVG. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/demo.h"

#define ROWS  16u
#define WIDTH 22

enum look { LOOK_PLAIN, LOOK_MUTATED, LOOK_RUINED, LOOK_PARITY };

static enum look look_of(const struct demo_stripe *p, unsigned member, unsigned row)
{
	const struct demo_column *c = &p->columns[member];
	if (c->gone)
		return p->ruined_rows >> row & 1 ? LOOK_RUINED : LOOK_PLAIN;
	return c->mutated ? LOOK_MUTATED : c->parity ? LOOK_PARITY : LOOK_PLAIN;
}

static const char *role_of(const struct demo_column *c)
{
	return c->gone      ? "idle, yet RUINED"
	       : c->mutated ? "changed in flight"
	       : c->parity  ? "made of other bytes"
			    : "idle, still whole";
}

/* ---- text ---- */

static void print_cell(enum look look, bool color)
{
	static const char *const fill[] = {"····················", "▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
		"████████████████████", "≠ ≠ ≠ ≠ ≠ ≠ ≠ ≠ ≠ ≠ "};
	static const char *const tint[] = {"\033[2m", "\033[33m", "\033[1;31m", "\033[35m"};
	printf(" %s%s%s │", color ? tint[look] : "", fill[look], color ? "\033[0m" : "");
}

static void print_rule(const char *left, const char *middle, const char *right)
{
	printf("         %s", left);
	for (unsigned m = 0; m < 4; m++) {
		for (unsigned i = 0; i < WIDTH; i++)
			printf("─");
		printf("%s", m < 3 ? middle : right);
	}
	putchar('\n');
}

static void print_titles(const struct demo_stripe *p)
{
	printf("          ");
	for (unsigned m = 0; m < 4; m++)
		printf("member %u%-*s", m, WIDTH - 7, p->columns[m].gone ? " (failed)" : "");
	putchar('\n');
	print_rule("┌", "┬", "┐");
	printf("         │");
	for (unsigned m = 0; m < 4; m++)
		printf(" %-*.*s│", WIDTH - 1, WIDTH - 1, p->columns[m].owner);
	printf("\n         │");
	for (unsigned m = 0; m < 4; m++)
		printf(" %-*.*s│", WIDTH - 1, WIDTH - 1, role_of(&p->columns[m]));
	putchar('\n');
	print_rule("├", "┼", "┤");
}

void demo_picture(const struct demo_stripe *p, bool color)
{
	if (!p->valid)
		return;
	printf("\nStripe %llu, as it is after member %u failed. Nobody ever touched %s again:\n\n",
		(unsigned long long)p->stripe, p->victim.member, p->victim.path);
	print_titles(p);
	for (unsigned row = 0; row < ROWS; row++) {
		printf("  row %2u │", row);
		for (unsigned m = 0; m < 4; m++)
			print_cell(look_of(p, m, row), color);
		putchar('\n');
	}
	print_rule("└", "┴", "┘");
	printf("\n  %s, block %llu\n    was: %s\n    is:  %s\n", p->victim.path,
		(unsigned long long)p->victim.file_block, p->victim.before, p->victim.after);
}

/* ---- SVG ---- */

struct svg {
	FILE *out;
};

static void svg_text(struct svg *s, unsigned x, unsigned y, const char *style, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Text with what XML reserves left out: names and dumps only. */
static void svg_text(struct svg *s, unsigned x, unsigned y, const char *style, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if (strchr("<>&", *c))
			*c = '.';
	fprintf(s->out, "<text x=\"%u\" y=\"%u\" %s>%s</text>\n", x, y, style, text);
}

static void svg_column(struct svg *s, const struct demo_stripe *p, unsigned m)
{
	static const char *const fill[] = {"#dfe6ec", "#f2b134", "#c8102e", "#8e5fb0"};
	unsigned x = 90 + m * 205;
	const struct demo_column *c = &p->columns[m];
	svg_text(s, x, 92, "font-size=\"17\" font-weight=\"bold\"", "member %u%s", m,
		c->gone ? " (failed)" : "");
	svg_text(s, x, 116, "font-size=\"17\"", "%s", c->owner);
	svg_text(s, x, 138, "font-size=\"14\" fill=\"#555\"", "%s", role_of(c));
	for (unsigned row = 0; row < ROWS; row++)
		fprintf(s->out,
			"<rect x=\"%u\" y=\"%u\" width=\"190\" height=\"15\" fill=\"%s\"/>\n", x,
			150 + row * 18, fill[look_of(p, m, row)]);
}

int demo_picture_svg(const struct demo_stripe *p, const char *path, struct errmsg *why)
{
	struct svg s = {.out = fopen(path, "we")};
	if (!s.out)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 930 530\" "
	      "font-family=\"DejaVu Sans, Helvetica, sans-serif\">\n"
	      "<rect width=\"930\" height=\"530\" fill=\"white\"/>\n",
		s.out);
	svg_text(&s, 20, 36, "font-size=\"22\" font-weight=\"bold\"",
		"A program changed its O_DIRECT buffer in flight. Then member %u failed.",
		p->victim.member);
	svg_text(&s, 20, 60, "font-size=\"15\" fill=\"#555\"",
		"Stripe %llu of a RAID5 array; each bar is 4 KiB. Nobody wrote %s again.",
		(unsigned long long)p->stripe, p->victim.path);
	for (unsigned row = 0; row < ROWS; row += 5)
		svg_text(&s, 20, 162 + row * 18, "font-size=\"13\" fill=\"#555\"", "row %u", row);
	for (unsigned m = 0; m < 4; m++)
		svg_column(&s, p, m);
	svg_text(&s, 20, 470, "font-size=\"15\"", "%s, block %llu, was:", p->victim.path,
		(unsigned long long)p->victim.file_block);
	svg_text(&s, 290, 470, "font-size=\"15\" font-family=\"monospace\" xml:space=\"preserve\"",
		"%s", p->victim.before);
	svg_text(&s, 20, 498, "font-size=\"15\" fill=\"#c8102e\"",
		"and is now, rebuilt from parity:");
	svg_text(&s, 290, 498,
		"font-size=\"15\" fill=\"#c8102e\" font-family=\"monospace\" "
		"xml:space=\"preserve\"",
		"%s", p->victim.after);
	fputs("</svg>\n", s.out);
	return fclose(s.out) == 0 ? 0 : errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
}
