/* SPDX-License-Identifier: MIT */
/* From a tree back to text. */
#include "report/json_copy.h"

#include <stdlib.h>

static void copy_number(struct json *j, const struct json_value *v)
{
	uint64_t u;
	int64_t i;
	double d;
	if (json_value_u64(v, &u))
		json_u64(j, u);
	else if (json_value_i64(v, &i))
		json_i64(j, i);
	else if (json_value_double(v, &d))
		json_double(j, d);
	else
		json_null(j);
}

static void copy_items(struct json *j, const struct json_value *v)
{
	json_for_each(item, v)
	{
		if (v->kind == JSON_OBJECT)
			json_key(j, item->key);
		json_copy_value(j, item);
	}
}

/* Depth is bounded by the reader (JSON_MAX_DEPTH). */
void json_copy_value(struct json *j, const struct json_value *v)
{
	switch (v ? v->kind : JSON_NULL) {
	case JSON_NULL:
		json_null(j);
		break;
	case JSON_BOOL:
		json_bool(j, v->truth);
		break;
	case JSON_NUMBER:
		copy_number(j, v);
		break;
	case JSON_STRING:
		json_string_len(j, v->text, v->text_bytes);
		break;
	case JSON_ARRAY:
		json_array_begin(j);
		copy_items(j, v);
		json_array_end(j);
		break;
	case JSON_OBJECT:
		json_object_begin(j);
		copy_items(j, v);
		json_object_end(j);
		break;
	}
}

int json_print_value(const struct json_value *v, FILE *out)
{
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_copy_value(&j, v);
	return json_finish(&j);
}
