/* SPDX-License-Identifier: MIT */
/* cli/demo_sheet: rows in, tables and JSON out. cli/demo_plot: a picture of a sheet. */
#include "cli/demo_sheet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "cli/demo.h"
#include "report/json_read.h"

static const struct demo_sheet_column columns[] = {{"name", "name", 'l'}, {"hidden", "", 'l'},
	{"share", "share", 'r'}, {"count", "count", 'r'}, {"ratio", "ratio", 'r'}, {0}};

static void fill(struct demo_report *r)
{
	struct demo_sheet *s = demo_report_add(r, "one", "The first", columns);
	demo_sheet_text(r, s, "a %s", "<row>");
	demo_sheet_text(r, s, "unseen");
	demo_sheet_share(r, s, 3, 4);
	demo_sheet_count(r, s, 7);
	demo_sheet_number(r, s, 1.234, 2);
	demo_sheet_text(r, s, "b");
	demo_sheet_text(r, s, "unseen");
	for (unsigned i = 0; i < 3; i++)
		demo_sheet_none(r, s);
}

static char *print(const struct demo_report *r)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(demo_report_print(r, out), 0);
	fclose(out);
	return text;
}

static void a_table_shows_the_columns_that_have_a_title(void **unused)
{
	(void)unused;
	struct demo_report r = {0};
	fill(&r);
	char *text = print(&r);
	assert_string_equal(text, "The first\n\n"
				  "name      share  count  ratio\n"
				  "a <row>  3 of 4      7   1.23\n"
				  "b             -      -      -\n\n");
	free(text);
	demo_report_end(&r);
}

static void json_has_every_column_by_its_key(void **unused)
{
	(void)unused;
	struct demo_report r = {0};
	struct json j;
	size_t len;
	fill(&r);
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	demo_report_json(&r, &j);
	json_object_end(&j);
	char *text = json_take(&j, &len);
	assert_string_equal(text,
		"{\"sheets\":[{\"name\":\"one\",\"title\":\"The first\",\"rows\":["
		"{\"name\":\"a <row>\",\"hidden\":\"unseen\",\"share\":{\"wrong\":3,\"of\":4},"
		"\"count\":7,\"ratio\":1.234},"
		"{\"name\":\"b\",\"hidden\":\"unseen\",\"share\":null,\"count\":null,"
		"\"ratio\":null}]}]}");
	free(text);
	demo_report_end(&r);
}

static void a_cell_is_found_by_row_and_key(void **unused)
{
	(void)unused;
	struct demo_report r = {0};
	fill(&r);
	assert_int_equal(demo_sheet_rows(r.first), 2);
	assert_int_equal(demo_sheet_cell(r.first, 0, "count")->n, 7);
	assert_string_equal(demo_sheet_cell(r.first, 1, "name")->text, "b");
	assert_null(demo_sheet_cell(r.first, 2, "name"));
	assert_null(demo_sheet_cell(r.first, 0, "nobody"));
	demo_report_end(&r);
}

static void many_rows_are_kept_in_order(void **unused)
{
	(void)unused;
	static const struct demo_sheet_column one[] = {{"n", "n", 'r'}, {0}};
	struct demo_report r = {0};
	struct demo_sheet *s = demo_report_add(&r, "many", "Many", one);
	for (unsigned i = 0; i < 1000; i++)
		demo_sheet_count(&r, s, i);
	assert_int_equal(demo_sheet_rows(s), 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(demo_sheet_cell(s, i, "n")->n, i);
	demo_report_end(&r);
}

static void the_first_damage_is_the_one_that_is_told(void **unused)
{
	(void)unused;
	struct demo_report r = {0};
	assert_string_equal(r.damaged, "");
	demo_report_damage(&r, "row %d", 1);
	demo_report_damage(&r, "row %d", 2);
	assert_string_equal(r.damaged, "row 1");
}

/* A sheet with the columns that the picture shows. */
static void fill_cures(struct demo_report *r)
{
	static const struct demo_sheet_column cures[] = {{"policy", "policy", 'l'},
		{"throughput", "MB/s", 'r'}, {"writes_failed", "failed", 'r'},
		{"idle_wrong", "lost", 'r'}, {0}};
	struct demo_sheet *s = demo_report_add(r, "none", "RAID5 <1>", cures);
	demo_sheet_text(r, s, "zerocopy");
	demo_sheet_number(r, s, 1, 2);
	demo_sheet_count(r, s, 0);
	demo_sheet_share(r, s, 50, 100);
	demo_sheet_text(r, s, "refuse");
	demo_sheet_none(r, s);
	demo_sheet_text(r, s, "open refused");
	demo_sheet_share(r, s, 0, 100);
}

static void the_picture_has_a_bar_of_harm_as_long_as_its_share(void **unused)
{
	(void)unused;
	char path[] = "/tmp/stablefs-plot-XXXXXX", text[8192] = "";
	struct demo_report r = {0};
	struct errmsg why = {0};
	close(mkstemp(path));
	fill_cures(&r);
	assert_int_equal(demo_cures_draw(&r, path, &why), 0);
	FILE *in = fopen(path, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, in) > 0);
	fclose(in);
	unlink(path);
	assert_non_null(strstr(text, "width=\"145.0\"")); /* half of 290 */
	assert_non_null(strstr(text, ">50 of 100<"));
	assert_non_null(strstr(text, ">no direct I/O<"));
	assert_null(strstr(text, "RAID5 <1>")); /* as text, not as an element */
	demo_report_end(&r);
}

static void a_picture_that_cannot_be_written_says_where(void **unused)
{
	(void)unused;
	struct demo_report r = {0};
	struct errmsg why = {0};
	assert_true(demo_cures_draw(&r, "/nonexistent/plot.svg", &why) < 0);
	assert_non_null(strstr(why.text, "/nonexistent/plot.svg"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_shows_the_columns_that_have_a_title),
		cmocka_unit_test(json_has_every_column_by_its_key),
		cmocka_unit_test(a_cell_is_found_by_row_and_key),
		cmocka_unit_test(many_rows_are_kept_in_order),
		cmocka_unit_test(the_first_damage_is_the_one_that_is_told),
		cmocka_unit_test(the_picture_has_a_bar_of_harm_as_long_as_its_share),
		cmocka_unit_test(a_picture_that_cannot_be_written_says_where),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
