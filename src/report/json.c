/* SPDX-License-Identifier: MIT */
/* The JSON writer. Punctuation is written before a value, never after: begin_value() knows from the
 * open container whether a comma, a newline or nothing has to come first. */
#include "report/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "report/utf8.h"

#define FIRST_ROOM 256u

void json_init_file(struct json *j, FILE *file, enum json_style style)
{
	*j = (struct json){.file = file, .style = style};
}

void json_init_buffer(struct json *j, enum json_style style)
{
	*j = (struct json){.style = style};
}

/* Room for @more bytes and a final NUL. */
static bool make_room(struct json *j, size_t more)
{
	if (j->room - j->len > more)
		return true;
	size_t room = j->room ? j->room : FIRST_ROOM;
	while (room - j->len <= more)
		room *= 2;
	char *buf = realloc(j->buf, room);
	if (!buf) {
		j->err = -ENOMEM;
		return false;
	}
	j->buf = buf;
	j->room = room;
	return true;
}

static void put(struct json *j, const char *s, size_t len)
{
	if (j->err)
		return;
	if (j->file) {
		errno = 0;
		if (fwrite(s, 1, len, j->file) != len)
			j->err = errno ? -errno : -EIO;
		return;
	}
	if (!make_room(j, len))
		return;
	memcpy(j->buf + j->len, s, len);
	j->len += len;
	j->buf[j->len] = '\0';
}

static void put_char(struct json *j, char c)
{
	put(j, &c, 1);
}

static void put_format(struct json *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put_format(struct json *j, const char *fmt, ...)
{
	char text[64];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert(len >= 0 && (size_t)len < sizeof(text));
	put(j, text, (size_t)len);
}

static void put_newline(struct json *j)
{
	if (j->style != JSON_INDENTED)
		return;
	put_char(j, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		put(j, "  ", 2);
}

static bool in_object(const struct json *j)
{
	return j->depth > 0 && j->closers[j->depth - 1] == '}';
}

static void begin_item(struct json *j)
{
	if (j->has_items)
		put_char(j, ',');
	if (j->depth > 0)
		put_newline(j);
	j->has_items = true;
}

static void begin_value(struct json *j)
{
	if (in_object(j)) {
		assert(j->after_key);
		j->after_key = false;
		return;
	}
	assert(j->depth > 0 || !j->has_items);
	begin_item(j);
}

static void begin_container(struct json *j, char opener, char closer)
{
	assert(j->depth < JSON_MAX_DEPTH);
	begin_value(j);
	put_char(j, opener);
	j->closers[j->depth++] = closer;
	j->has_items = false;
}

static void end_container(struct json *j, char closer)
{
	assert(j->depth > 0 && j->closers[j->depth - 1] == closer && !j->after_key);
	j->depth--;
	if (j->has_items)
		put_newline(j);
	put_char(j, closer);
	j->has_items = true;
}

void json_object_begin(struct json *j)
{
	begin_container(j, '{', '}');
}

void json_object_end(struct json *j)
{
	end_container(j, '}');
}

void json_array_begin(struct json *j)
{
	begin_container(j, '[', ']');
}

void json_array_end(struct json *j)
{
	end_container(j, ']');
}

/* The two-character escape of @c, or 0. */
static char short_escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 0;
	}
}

/* One character at @s, of @left bytes; returns how many bytes it took. Control characters of all
 * kinds (C1 too) are escaped, since the text may meet a terminal. */
static size_t put_character(struct json *j, const char *s, size_t left)
{
	uint32_t point;
	size_t len = utf8_decode(s, left, &point);
	if (len == 0) {
		put(j, "\\ufffd", 6);
		return 1;
	}
	char escape = point < 0x80 ? short_escape((unsigned char)point) : 0;
	if (escape)
		put_format(j, "\\%c", escape);
	else if (point < 0x20 || (point >= 0x7f && point < 0xa0))
		put_format(j, "\\u%04" PRIx32, point);
	else
		put(j, s, len);
	return len;
}

static void put_string(struct json *j, const char *s, size_t len)
{
	put_char(j, '"');
	for (size_t at = 0; at < len;)
		at += put_character(j, s + at, len - at);
	put_char(j, '"');
}

void json_key(struct json *j, const char *key)
{
	assert(in_object(j) && !j->after_key);
	begin_item(j);
	put_string(j, key, strlen(key));
	put_char(j, ':');
	if (j->style == JSON_INDENTED)
		put_char(j, ' ');
	j->after_key = true;
}

void json_string_len(struct json *j, const char *s, size_t len_bytes)
{
	begin_value(j);
	put_string(j, s, len_bytes);
}

void json_string(struct json *j, const char *s)
{
	if (s)
		json_string_len(j, s, strlen(s));
	else
		json_null(j);
}

void json_u64(struct json *j, uint64_t v)
{
	begin_value(j);
	put_format(j, "%" PRIu64, v);
}

void json_i64(struct json *j, int64_t v)
{
	begin_value(j);
	put_format(j, "%" PRIi64, v);
}

/* The shortest of two precisions that reads back as the same number; a point in every locale. */
void json_double(struct json *j, double v)
{
	if (!isfinite(v)) {
		json_null(j);
		return;
	}
	char text[40];
	snprintf(text, sizeof(text), "%.15g", v);
	if (strtod(text, NULL) != v)
		snprintf(text, sizeof(text), "%.17g", v);
	for (char *c = text; *c; c++) {
		if (*c == ',')
			*c = '.';
	}
	begin_value(j);
	put(j, text, strlen(text));
}

void json_bool(struct json *j, bool v)
{
	begin_value(j);
	put_format(j, "%s", v ? "true" : "false");
}

void json_null(struct json *j)
{
	begin_value(j);
	put(j, "null", 4);
}

int json_finish(struct json *j)
{
	assert(j->err || (j->depth == 0 && j->has_items));
	if (j->style == JSON_INDENTED)
		put_char(j, '\n');
	if (j->file && !j->err && fflush(j->file) != 0)
		j->err = -errno;
	return j->err;
}

char *json_take(struct json *j, size_t *len_bytes)
{
	assert(!j->file);
	if (json_finish(j) < 0) {
		json_free(j);
		return NULL;
	}
	char *text = j->buf;
	if (len_bytes)
		*len_bytes = j->len;
	json_init_buffer(j, j->style);
	return text;
}

void json_free(struct json *j)
{
	free(j->buf);
	json_init_buffer(j, j->style);
}

void json_field_string(struct json *j, const char *key, const char *s)
{
	json_key(j, key);
	json_string(j, s);
}

void json_field_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

void json_field_i64(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_i64(j, v);
}

void json_field_double(struct json *j, const char *key, double v)
{
	json_key(j, key);
	json_double(j, v);
}

void json_field_bool(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_bool(j, v);
}

void json_field_null(struct json *j, const char *key)
{
	json_key(j, key);
	json_null(j);
}
