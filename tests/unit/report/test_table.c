/* SPDX-License-Identifier: MIT */
/* Tables of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include "report/table.h"

static void expect_print(struct table *t, const char *want)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(table_print(t, out), 0);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
	table_free(t);
}

static void columns_are_as_wide_as_their_widest_cell(void **unused)
{
	(void)unused;
	struct table *t = table_new("lrl", (const char *[]){"member", "reads", "state"});
	table_add_cell(t, "0");
	table_add_cell(t, "%d", 1234567);
	table_add_cell(t, "active");
	table_add_cell(t, "/a/long/path");
	table_add_cell(t, "1");
	table_add_cell(t, "gone");
	expect_print(t, "member          reads  state\n"
			"0             1234567  active\n"
			"/a/long/path        1  gone\n");
}

static void a_table_without_a_head_begins_with_its_cells(void **unused)
{
	(void)unused;
	struct table *t = table_new("ll", NULL);
	table_add_cell(t, "a");
	table_add_cell(t, "b");
	expect_print(t, "a  b\n");
}

static void a_row_that_is_not_full_ends_where_its_cells_end(void **unused)
{
	(void)unused;
	struct table *t = table_new("ll", (const char *[]){"long title", "x"});
	table_add_cell(t, "a");
	expect_print(t, "long title  x\na\n");
}

static void characters_count_once_whatever_their_bytes(void **unused)
{
	(void)unused;
	struct table *t = table_new("ll", NULL);
	table_add_cell(t, "\xc3\xa4");
	table_add_cell(t, "1");
	table_add_cell(t, "ab");
	table_add_cell(t, "2");
	expect_print(t, "\xc3\xa4   1\nab  2\n");
}

static void a_cell_stays_in_its_line(void **unused)
{
	(void)unused;
	struct table *t = table_new("l", NULL);
	table_add_cell(t, "a\nb\033[2J");
	expect_print(t, "a?b?[2J\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(a_table_without_a_head_begins_with_its_cells),
		cmocka_unit_test(a_row_that_is_not_full_ends_where_its_cells_end),
		cmocka_unit_test(characters_count_once_whatever_their_bytes),
		cmocka_unit_test(a_cell_stays_in_its_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
