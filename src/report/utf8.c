/* SPDX-License-Identifier: MIT */
/* UTF-8, one character at a time. */
#include "report/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static bool is_surrogate(uint32_t point)
{
	return point >= 0xd800 && point <= 0xdfff;
}

/* How long the sequence that begins with @first is, and the bits of the code point in it; 0 where
 * no sequence begins so. */
static size_t sequence_of(unsigned char first, uint32_t *bits)
{
	if (first < 0x80) {
		*bits = first;
		return 1;
	}
	if ((first & 0xe0) == 0xc0) {
		*bits = first & 0x1f;
		return 2;
	}
	if ((first & 0xf0) == 0xe0) {
		*bits = first & 0x0f;
		return 3;
	}
	*bits = first & 0x07;
	return (first & 0xf8) == 0xf0 ? 4 : 0;
}

size_t utf8_decode(const char *s, size_t left, uint32_t *point)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t value;
	size_t len = sequence_of((unsigned char)s[0], &value);
	if (len == 0 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if ((c & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (c & 0x3f);
	}
	if (value < lowest[len] || value > 0x10ffff || is_surrogate(value))
		return 0;
	*point = value;
	return len;
}

size_t utf8_encode(uint32_t point, char *out)
{
	assert(point <= 0x10ffff && !is_surrogate(point));
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	out[0] = (char)(first[len] | point);
	return len;
}

size_t utf8_columns(const char *s)
{
	size_t columns = 0, left = strlen(s);
	while (left > 0) {
		uint32_t point;
		size_t len = utf8_decode(s, left, &point);
		s += len ? len : 1;
		left -= len ? len : 1;
		columns++;
	}
	return columns;
}
