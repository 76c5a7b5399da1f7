/* SPDX-License-Identifier: MIT */
/* raid/rows.h against an array of bools. */
#include "raid/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"

struct model {
	bool in[ROWS_MAX];
};

/* A random set and its model, in runs, so that words are crossed and filled. */
static struct rows random_rows(struct random *r, struct model *model)
{
	struct rows rows = {0};
	memset(model, 0, sizeof(*model));
	for (unsigned n = random_below(r, 6); n > 0; n--) {
		unsigned first = random_below(r, ROWS_MAX);
		unsigned count = 1 + random_below(r, ROWS_MAX - first);
		rows_add_range(&rows, first, count);
		memset(model->in + first, true, count);
	}
	return rows;
}

static void assert_rows(const struct rows *rows, const struct model *model)
{
	unsigned count = 0, runs = 0;
	for (unsigned i = 0; i < ROWS_MAX; i++) {
		assert_int_equal(rows_has(rows, i), model->in[i]);
		count += model->in[i];
		runs += model->in[i] && (i == 0 || !model->in[i - 1]);
	}
	assert_int_equal(rows_count(rows), count);
	assert_int_equal(rows_runs(rows), runs);
	assert_int_equal(rows_empty(rows), count == 0);
}

static void sets_agree_with_their_model(void **unused)
{
	(void)unused;
	struct random r = random_start("rows", 0x5eed0006);
	for (unsigned i = 0; i < 300; i++) {
		struct model ma, mb, want;
		struct rows a = random_rows(&r, &ma), b = random_rows(&r, &mb), got;
		assert_rows(&a, &ma);
		for (unsigned k = 0; k < ROWS_MAX; k++)
			want.in[k] = ma.in[k] || mb.in[k];
		got = rows_or(a, b);
		assert_rows(&got, &want);
		rows_add_all(&a, &b);
		assert_rows(&a, &want);
		a = random_rows(&r, &ma);
		for (unsigned k = 0; k < ROWS_MAX; k++)
			want.in[k] = ma.in[k] && mb.in[k];
		got = rows_and(a, b);
		assert_rows(&got, &want);
		for (unsigned k = 0; k < ROWS_MAX; k++)
			want.in[k] = ma.in[k] && !mb.in[k];
		got = rows_without(a, b);
		assert_rows(&got, &want);
	}
}

static void a_row_is_added_and_removed_alone(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROWS_MAX; i++) {
		struct rows rows = {0};
		struct model model = {{false}};
		rows_add(&rows, i);
		model.in[i] = true;
		assert_rows(&rows, &model);
		rows_add_range(&rows, 0, ROWS_MAX);
		rows_remove(&rows, i);
		memset(model.in, true, sizeof(model.in));
		model.in[i] = false;
		assert_rows(&rows, &model);
	}
}

static void find_stops_at_the_first_row_from_where_it_starts(void **unused)
{
	(void)unused;
	struct random r = random_start("rows_find", 0x5eed0007);
	for (unsigned i = 0; i < 50; i++) {
		struct model model;
		struct rows rows = random_rows(&r, &model);
		for (unsigned from = 0; from < ROWS_MAX; from++) {
			unsigned in = from, out = from;
			while (in < ROWS_MAX && !model.in[in])
				in++;
			while (out < ROWS_MAX && model.in[out])
				out++;
			assert_int_equal(rows_find(&rows, from, true), in);
			assert_int_equal(rows_find(&rows, from, false), out);
		}
	}
}

static void runs_come_in_order_and_cover_the_set(void **unused)
{
	(void)unused;
	struct random r = random_start("rows_next_run", 0x5eed0008);
	for (unsigned i = 0; i < 300; i++) {
		struct model model;
		struct rows rows = random_rows(&r, &model), sum = {0};
		unsigned at = 0, first, count, behind = 0;
		while (rows_next_run(&rows, &at, &first, &count)) {
			assert_true(count > 0 && first + count <= ROWS_MAX);
			assert_true(first >= behind);
			behind = first + count + 1; /* runs do not touch */
			rows_add_range(&sum, first, count);
		}
		assert_rows(&sum, &model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_agree_with_their_model),
		cmocka_unit_test(a_row_is_added_and_removed_alone),
		cmocka_unit_test(find_stops_at_the_first_row_from_where_it_starts),
		cmocka_unit_test(runs_come_in_order_and_cover_the_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
