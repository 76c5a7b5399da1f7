/* SPDX-License-Identifier: MIT */
/* The JSON reader: what it gives, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "report/json.h"
#include "report/json_read.h"

static struct json_value *parse(const char *text)
{
	struct json_value *v = NULL;
	struct errmsg why = {0};
	if (json_parse(text, strlen(text), &v, &why) < 0)
		fail_msg("%s: %s", text, why.text);
	return v;
}

static void an_object_gives_its_fields_by_name(void **unused)
{
	(void)unused;
	struct json_value *v = parse(" {\"s\" : \"x\",\n\"u\":18446744073709551615, \"i\":-7,"
				     " \"d\":2.5e1, \"t\":true} ");
	assert_string_equal(json_get_string(v, "s", ""), "x");
	assert_true(json_get_u64(v, "u", 0) == UINT64_MAX);
	assert_int_equal(json_get_i64(v, "i", 0), -7);
	assert_true(json_get_double(v, "d", 0) == 25.0);
	assert_true(json_get_bool(v, "t", false));
	json_value_free(v);
}

static void what_is_missing_or_of_another_kind_gives_the_default(void **unused)
{
	(void)unused;
	struct json_value *v = parse("{\"s\":1,\"n\":-1,\"f\":1.5,\"big\":18446744073709551616}");
	assert_string_equal(json_get_string(v, "s", "other"), "other");
	assert_int_equal(json_get_u64(v, "none", 9), 9);
	assert_int_equal(json_get_u64(v, "n", 9), 9);
	assert_int_equal(json_get_u64(v, "f", 9), 9);
	assert_int_equal(json_get_u64(v, "big", 9), 9);
	assert_null(json_get(NULL, "s"));
	json_value_free(v);
}

static void an_array_is_walked_in_order(void **unused)
{
	(void)unused;
	struct json_value *v = parse("[1,2,3]");
	uint64_t want = 1, n;
	json_for_each(item, v)
	{
		assert_true(json_value_u64(item, &n));
		assert_int_equal(n, want++);
	}
	assert_int_equal(want, 4);
	json_value_free(v);
}

static void escapes_become_characters(void **unused)
{
	(void)unused;
	struct json_value *v = parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u20AC\\ud83d\\udcbe\"");
	assert_string_equal(v->text, "\"\\/\b\f\n\r\t\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe");
	json_value_free(v);
}

static void what_is_no_json_is_refused(void **unused)
{
	(void)unused;
	static const char *const bad[] = {"", " ", "{", "[", "[1", "[1,", "[1,]", "[,1]", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "01", "-", "+1", "1.", ".5", "1e",
		"1e+", "--1", "0x1", "nul", "truee", "True", "nan", "\"", "\"\\\"", "\"\\x\"",
		"\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
		"\"a\nb\"", "\"\xff\"", "\"\xe2\x82\"", "1 2", "[] []", "{\"a\\u0000\":1}", "'a'",
		"]", "}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct json_value *v = NULL;
		struct errmsg why = {0};
		if (json_parse(bad[i], strlen(bad[i]), &v, &why) != -EINVAL || v || !why.text[0])
			fail_msg("accepted: %s", bad[i]);
	}
}

static void a_refusal_names_line_and_column(void **unused)
{
	(void)unused;
	struct json_value *v = NULL;
	struct errmsg why = {0};
	const char *text = "{\n  \"a\": x\n}";
	assert_int_equal(json_parse(text, strlen(text), &v, &why), -EINVAL);
	assert_non_null(strstr(why.text, "line 2, column 8"));
}

static void nesting_is_bounded(void **unused)
{
	(void)unused;
	char text[2 * JSON_MAX_DEPTH + 3];
	for (unsigned depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		struct json_value *v = NULL;
		int ret = json_parse(text, 2 * (size_t)depth, &v, NULL);
		assert_int_equal(ret, depth == JSON_MAX_DEPTH ? 0 : -EINVAL);
		json_value_free(v);
	}
}

/* The text is copied into memory of its exact size, so that a sanitizer sees a step too far. */
static void cut_or_damaged_documents_never_lead_beyond_their_end(void **unused)
{
	(void)unused;
	static const char sample[] =
		"{\"a\":[1,-2.5e3,\"\\u00e4\\ud83d\\udcbe\\n\",true,null],\"b\":{}}";
	unsigned seed = 4711, refused = 0;
	print_message("seed %u\n", seed);
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(sample);
		char *text = malloc(len ? len : 1);
		memcpy(text, sample, len);
		for (int hits = rand_r(&seed) % 3; hits > 0 && len; hits--)
			text[(size_t)rand_r(&seed) % len] = (char)rand_r(&seed);
		struct json_value *v = NULL;
		refused += json_parse(text, len, &v, NULL) < 0;
		json_value_free(v);
		free(text);
	}
	assert_in_range(refused, 15000, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_gives_its_fields_by_name),
		cmocka_unit_test(what_is_missing_or_of_another_kind_gives_the_default),
		cmocka_unit_test(an_array_is_walked_in_order),
		cmocka_unit_test(escapes_become_characters),
		cmocka_unit_test(what_is_no_json_is_refused),
		cmocka_unit_test(a_refusal_names_line_and_column),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(cut_or_damaged_documents_never_lead_beyond_their_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
