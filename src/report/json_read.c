/* SPDX-License-Identifier: MIT */
/* The JSON reader: recursive descent over the grammar of RFC 8259, section 2 and following. Each
 * read_*() stands at the first character of its rule and leaves @r behind the last one. */
#include "report/json_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "report/json.h"
#include "report/utf8.h"

struct reader {
	const char *text;
	size_t len, at;
	unsigned depth;
	struct errmsg *why;
};

static int read_value(struct reader *r, struct json_value **out);

/* Refuse at the place where the reader stands. */
static int refuse(struct reader *r, const char *what)
{
	size_t line = 1, column = 1;
	for (size_t i = 0; i < r->at; i++) {
		column++;
		if (r->text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	return errmsg_set(
		r->why, -EINVAL, "no valid JSON at line %zu, column %zu: %s", line, column, what);
}

/* The next character; 0 at the end (where a NUL in the text is refused by every rule too). */
static char peek(const struct reader *r)
{
	return r->at < r->len ? r->text[r->at] : '\0';
}

static void skip_space(struct reader *r)
{
	while (r->at < r->len && strchr(" \t\r\n", r->text[r->at]) && r->text[r->at])
		r->at++;
}

/* Step over @c if it is next. */
static bool accept(struct reader *r, char c)
{
	if (r->at >= r->len || r->text[r->at] != c)
		return false;
	r->at++;
	return true;
}

static struct json_value *value_new(enum json_kind kind)
{
	struct json_value *v = calloc(1, sizeof(*v));
	if (v)
		v->kind = kind;
	return v;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of a \u escape. */
static int read_hex4(struct reader *r, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(peek(r));
		if (digit < 0)
			return refuse(r, "\\u wants four hexadecimal digits");
		*out = *out << 4 | (uint32_t)digit;
		r->at++;
	}
	return 0;
}

/* Behind \u: one code point, for which a surrogate needs its other half. */
static int read_unicode_escape(struct reader *r, char *out, size_t *len)
{
	uint32_t point, low;
	int ret = read_hex4(r, &point);
	if (ret < 0)
		return ret;
	if (point >= 0xd800 && point <= 0xdbff) {
		if (!accept(r, '\\') || !accept(r, 'u'))
			return refuse(r, "half a surrogate pair");
		ret = read_hex4(r, &low);
		if (ret < 0)
			return ret;
		if (low < 0xdc00 || low > 0xdfff)
			return refuse(r, "half a surrogate pair");
		point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
	} else if (point >= 0xdc00 && point <= 0xdfff) {
		return refuse(r, "half a surrogate pair");
	}
	*len += utf8_encode(point, out + *len);
	return 0;
}

/* Behind a backslash. */
static int read_escape(struct reader *r, char *out, size_t *len)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	char c = peek(r);
	const char *found = c ? strchr(names, c) : NULL;
	if (found) {
		out[(*len)++] = values[found - names];
		r->at++;
		return 0;
	}
	if (!accept(r, 'u'))
		return refuse(r, "there is no such escape");
	return read_unicode_escape(r, out, len);
}

/* One character of a string as it stands. */
static int read_plain(struct reader *r, char *out, size_t *len)
{
	uint32_t point;
	size_t bytes = utf8_decode(r->text + r->at, r->len - r->at, &point);
	if (bytes == 0)
		return refuse(r, "not UTF-8");
	if (point < 0x20)
		return refuse(r, "a control character in a string");
	memcpy(out + *len, r->text + r->at, bytes);
	*len += bytes;
	r->at += bytes;
	return 0;
}

/* The string is never longer than it stands in the text: an escape shrinks (\uxxxx: 6 to at most 3
 * bytes, a pair 12 to 4). */
static int read_string(struct reader *r, char **out, size_t *len_bytes)
{
	size_t end = ++r->at;
	while (end < r->len && r->text[end] != '"')
		end += r->text[end] == '\\' ? 2 : 1;
	if (end >= r->len)
		return refuse(r, "a string without an end");
	cleanup(cleanup_freep) char *s = malloc(end - r->at + 1);
	if (!s)
		return -ENOMEM;
	size_t len = 0;
	while (r->at < end) {
		int ret = accept(r, '\\') ? read_escape(r, s, &len) : read_plain(r, s, &len);
		if (ret < 0)
			return ret;
	}
	r->at++;
	s[len] = '\0';
	*len_bytes = len;
	*out = take_ptr(&s);
	return 0;
}

static int read_digits(struct reader *r)
{
	if (!is_digit(peek(r)))
		return refuse(r, "a digit is missing");
	while (is_digit(peek(r)))
		r->at++;
	return 0;
}

/* -? int frac? exp? */
static int skip_number(struct reader *r)
{
	accept(r, '-');
	bool zero = peek(r) == '0';
	int ret = zero ? (r->at++, 0) : read_digits(r);
	if (ret == 0 && zero && is_digit(peek(r)))
		return refuse(r, "a number does not begin with 0");
	if (ret == 0 && accept(r, '.'))
		ret = read_digits(r);
	if (ret == 0 && (accept(r, 'e') || accept(r, 'E'))) {
		if (!accept(r, '+'))
			accept(r, '-');
		ret = read_digits(r);
	}
	return ret;
}

static int read_number(struct reader *r, struct json_value *v)
{
	size_t start = r->at;
	int ret = skip_number(r);
	if (ret < 0)
		return ret;
	v->text_bytes = r->at - start;
	v->text = calloc(1, v->text_bytes + 1); /* the document need not end with a NUL */
	if (v->text)
		memcpy(v->text, r->text + start, v->text_bytes);
	return v->text ? 0 : -ENOMEM;
}

static int read_word(struct reader *r, const char *word)
{
	size_t len = strlen(word);
	if (r->len - r->at < len || memcmp(r->text + r->at, word, len) != 0)
		return refuse(r, "there is no such value");
	r->at += len;
	return 0;
}

/* "key": in an object. */
static int read_key(struct reader *r, char **key)
{
	size_t len;
	skip_space(r);
	if (peek(r) != '"')
		return refuse(r, "a key is missing");
	int ret = read_string(r, key, &len);
	if (ret < 0)
		return ret;
	if (strlen(*key) != len)
		return refuse(r, "a NUL in a key");
	skip_space(r);
	return accept(r, ':') ? 0 : refuse(r, "':' is missing");
}

static int read_item(struct reader *r, struct json_value *container, struct json_value **out)
{
	cleanup(cleanup_freep) char *key = NULL;
	int ret = container->kind == JSON_OBJECT ? read_key(r, &key) : 0;
	if (ret == 0)
		ret = read_value(r, out);
	if (ret == 0)
		(*out)->key = take_ptr(&key);
	return ret;
}

/* What stands between the brackets, up to @closer. */
static int read_items(struct reader *r, struct json_value *container, char closer)
{
	struct json_value **tail = &container->first;
	r->at++;
	skip_space(r);
	if (accept(r, closer))
		return 0;
	for (;;) {
		int ret = read_item(r, container, tail);
		if (ret < 0)
			return ret;
		tail = &(*tail)->next;
		skip_space(r);
		if (accept(r, closer))
			return 0;
		if (!accept(r, ','))
			return refuse(r, "',' or the end of the list is missing");
	}
}

static int read_container(struct reader *r, struct json_value *v, char closer)
{
	if (r->depth == JSON_MAX_DEPTH)
		return refuse(r, "nested too deeply");
	r->depth++;
	int ret = read_items(r, v, closer);
	r->depth--;
	return ret;
}

static enum json_kind kind_of(char c)
{
	switch (c) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
	case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

static int read_content(struct reader *r, struct json_value *v)
{
	switch (v->kind) {
	case JSON_OBJECT:
		return read_container(r, v, '}');
	case JSON_ARRAY:
		return read_container(r, v, ']');
	case JSON_STRING:
		return read_string(r, &v->text, &v->text_bytes);
	case JSON_BOOL:
		v->truth = peek(r) == 't';
		return read_word(r, v->truth ? "true" : "false");
	case JSON_NULL:
		return read_word(r, "null");
	case JSON_NUMBER:
		break;
	}
	if (peek(r) != '-' && !is_digit(peek(r)))
		return refuse(r, "a value is missing");
	return read_number(r, v);
}

static int read_value(struct reader *r, struct json_value **out)
{
	skip_space(r);
	cleanup(json_value_freep) struct json_value *v = value_new(kind_of(peek(r)));
	if (!v)
		return -ENOMEM;
	int ret = read_content(r, v);
	if (ret < 0)
		return ret;
	*out = take_ptr(&v);
	return 0;
}

int json_parse(const char *text, size_t len_bytes, struct json_value **out, struct errmsg *why)
{
	struct reader r = {.text = text, .len = len_bytes, .why = why};
	cleanup(json_value_freep) struct json_value *v = NULL;
	int ret = read_value(&r, &v);
	if (ret < 0)
		return ret;
	skip_space(&r);
	if (r.at != r.len)
		return refuse(&r, "something stands behind the document");
	*out = take_ptr(&v);
	return 0;
}

/* Recursion goes into containers only, so it is as deep as the document was nested. */
void json_value_free(struct json_value *v)
{
	while (v) {
		struct json_value *next = v->next;
		json_value_free(v->first);
		free(v->key);
		free(v->text);
		free(v);
		v = next;
	}
}

const struct json_value *json_get(const struct json_value *v, const char *key)
{
	if (!v || v->kind != JSON_OBJECT)
		return NULL;
	json_for_each(item, v)
	{
		if (strcmp(item->key, key) == 0)
			return item;
	}
	return NULL;
}

static bool is_number(const struct json_value *v)
{
	return v && v->kind == JSON_NUMBER;
}

bool json_value_u64(const struct json_value *v, uint64_t *out)
{
	if (!is_number(v) || !is_digit(v->text[0]))
		return false;
	char *end;
	errno = 0;
	unsigned long long n = strtoull(v->text, &end, 10);
	if (errno || *end)
		return false;
	*out = n;
	return true;
}

bool json_value_i64(const struct json_value *v, int64_t *out)
{
	if (!is_number(v))
		return false;
	char *end;
	errno = 0;
	long long n = strtoll(v->text, &end, 10);
	if (errno || *end)
		return false;
	*out = n;
	return true;
}

bool json_value_double(const struct json_value *v, double *out)
{
	if (!is_number(v))
		return false;
	*out = strtod(v->text, NULL);
	return true;
}

const char *json_get_string(const struct json_value *v, const char *key, const char *otherwise)
{
	const struct json_value *item = json_get(v, key);
	return item && item->kind == JSON_STRING ? item->text : otherwise;
}

uint64_t json_get_u64(const struct json_value *v, const char *key, uint64_t otherwise)
{
	uint64_t n;
	return json_value_u64(json_get(v, key), &n) ? n : otherwise;
}

int64_t json_get_i64(const struct json_value *v, const char *key, int64_t otherwise)
{
	int64_t n;
	return json_value_i64(json_get(v, key), &n) ? n : otherwise;
}

double json_get_double(const struct json_value *v, const char *key, double otherwise)
{
	double n;
	return json_value_double(json_get(v, key), &n) ? n : otherwise;
}

bool json_get_bool(const struct json_value *v, const char *key, bool otherwise)
{
	const struct json_value *item = json_get(v, key);
	return item && item->kind == JSON_BOOL ? item->truth : otherwise;
}
