/* SPDX-License-Identifier: MIT */
/* The JSON writer, and the reader as its mirror. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "report/json.h"
#include "report/json_read.h"
#include "report/utf8.h"

static void taken_is(struct json *j, const char *want)
{
	size_t len;
	char *text = json_take(j, &len);
	assert_non_null(text);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

static void written_is(const char *s, size_t len, const char *want)
{
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_string_len(&j, s, len);
	taken_is(&j, want);
}

static void write_sample(struct json *j)
{
	json_object_begin(j);
	json_field_u64(j, "u", UINT64_MAX);
	json_field_i64(j, "i", INT64_MIN);
	json_key(j, "list");
	json_array_begin(j);
	json_bool(j, true);
	json_null(j);
	json_object_begin(j);
	json_object_end(j);
	json_array_end(j);
	json_field_string(j, "none", NULL);
	json_object_end(j);
}

static void a_compact_document_is_one_line(void **unused)
{
	(void)unused;
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	write_sample(&j);
	taken_is(&j, "{\"u\":18446744073709551615,\"i\":-9223372036854775808,"
		     "\"list\":[true,null,{}],\"none\":null}");
}

static void an_indented_document_has_a_line_an_item(void **unused)
{
	(void)unused;
	struct json j;
	json_init_buffer(&j, JSON_INDENTED);
	write_sample(&j);
	taken_is(&j, "{\n  \"u\": 18446744073709551615,\n  \"i\": -9223372036854775808,\n"
		     "  \"list\": [\n    true,\n    null,\n    {}\n  ],\n  \"none\": null\n}\n");
}

static void control_characters_quotes_and_backslashes_are_escaped(void **unused)
{
	(void)unused;
	written_is("\"\\\b\f\n\r\t\x01\x1f\x7f", 10,
		"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"");
	written_is("\0", 1, "\"\\u0000\"");
	written_is("\xc2\x9b", 2, "\"\\u009b\"");
}

static void valid_utf8_passes_as_it_is(void **unused)
{
	(void)unused;
	written_is("\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe", 9,
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe\"");
}

static void bytes_that_are_no_utf8_become_replacement_characters(void **unused)
{
	(void)unused;
	written_is("a\xff"
		   "b",
		3, "\"a\\ufffdb\"");
	written_is("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");                       /* overlong */
	written_is("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");            /* surrogate */
	written_is("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* above 10FFFF */
	written_is("\xe2\x82", 2, "\"\\ufffd\\ufffd\"");                       /* cut off */
}

static void doubles_read_back_as_the_same_number(void **unused)
{
	(void)unused;
	static const double numbers[] = {0, 0.1, 1.0 / 3, -2.5e300, 1e-308, 12345678.9};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct json j;
		json_init_buffer(&j, JSON_COMPACT);
		json_double(&j, numbers[i]);
		size_t len;
		char *text = json_take(&j, &len);
		struct json_value *v = NULL;
		assert_int_equal(json_parse(text, len, &v, NULL), 0);
		double back = 0;
		assert_true(json_value_double(v, &back));
		assert_true(back == numbers[i]);
		json_value_free(v);
		free(text);
	}
}

static void a_double_that_json_cannot_hold_becomes_null(void **unused)
{
	(void)unused;
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_array_begin(&j);
	json_double(&j, NAN);
	json_double(&j, -INFINITY);
	json_array_end(&j);
	taken_is(&j, "[null,null]");
}

static void a_full_device_is_reported_at_the_end(void **unused)
{
	(void)unused;
	FILE *full = fopen("/dev/full", "w");
	assert_non_null(full);
	struct json j;
	json_init_file(&j, full, JSON_COMPACT);
	write_sample(&j);
	assert_int_equal(json_finish(&j), -ENOSPC);
	fclose(full);
}

/* Every string of one or two bytes goes through writer and reader: what comes out is valid, and is
 * what went in where that was UTF-8. */
static void any_bytes_make_a_document_that_reads_back(void **unused)
{
	(void)unused;
	for (unsigned n = 0; n < 0x10000; n++) {
		char in[2] = {(char)(n >> 8), (char)n};
		struct json j;
		json_init_buffer(&j, JSON_COMPACT);
		json_string_len(&j, in, 2);
		size_t len;
		char *text = json_take(&j, &len);
		struct json_value *v = NULL;
		assert_int_equal(json_parse(text, len, &v, NULL), 0);
		uint32_t point;
		bool valid = (in[0] & 0x80) == 0 && (in[1] & 0x80) == 0;
		valid = valid || utf8_decode(in, 2, &point) == 2;
		if (valid) {
			assert_int_equal(v->text_bytes, 2);
			assert_memory_equal(v->text, in, 2);
		}
		json_value_free(v);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_compact_document_is_one_line),
		cmocka_unit_test(an_indented_document_has_a_line_an_item),
		cmocka_unit_test(control_characters_quotes_and_backslashes_are_escaped),
		cmocka_unit_test(valid_utf8_passes_as_it_is),
		cmocka_unit_test(bytes_that_are_no_utf8_become_replacement_characters),
		cmocka_unit_test(doubles_read_back_as_the_same_number),
		cmocka_unit_test(a_double_that_json_cannot_hold_becomes_null),
		cmocka_unit_test(a_full_device_is_reported_at_the_end),
		cmocka_unit_test(any_bytes_make_a_document_that_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
