/* SPDX-License-Identifier: MIT */
/* UTF-8, strictly (Unicode 15, table 3-7): no surrogates, nothing overlong, nothing above 10FFFF.
 * Pure; any thread. */
#ifndef STABLEFS_REPORT_UTF8_H
#define STABLEFS_REPORT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at @s, of which @left bytes (at least 1) may be looked at: returns its length in
 * bytes, 1 to 4, and the code point; 0 where there is no valid one. */
size_t utf8_decode(const char *s, size_t left, uint32_t *point);

/* Encode a code point that may stand in UTF-8 into at most 4 bytes; returns how many. */
size_t utf8_encode(uint32_t point, char *out);

/* Columns that @s takes in a terminal: one a character (wide and combining characters are not
 * told apart), one for each byte that is no UTF-8. */
size_t utf8_columns(const char *s);

#endif
