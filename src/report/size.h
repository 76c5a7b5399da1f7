/* SPDX-License-Identifier: MIT */
/* Sizes and durations as people write them. Pure; any thread.
 *
 * A size is a whole number and a unit: none or B (bytes), K, M, G, T, P (also KiB ..): powers of
 * 1024; KB .. PB mean the same, as they do for chunks everywhere in this field. A duration is a
 * whole number and a unit: ns, us, ms, s, m (minutes), h. Case of a size's unit does not count.
 * Nothing else may stand in the text: no sign, no fraction, no spaces. */
#ifndef STABLEFS_REPORT_SIZE_H
#define STABLEFS_REPORT_SIZE_H

#include <stdint.h>
#include "base/errmsg.h"

#define SIZE_TEXT_BYTES 32u

/* 0, -EINVAL, -ERANGE (does not fit); @why quotes the text and says what is wrong. */
int size_parse(const char *text, uint64_t *bytes, struct errmsg *why);
int duration_parse(const char *text, uint64_t *ns, struct errmsg *why); /* a bare 0 needs no unit */
int count_parse(const char *text, uint64_t *count, struct errmsg *why); /* a bare number */

/* Short for people: "512 B", "64 KiB", "1.5 GiB" (one decimal where it is not whole). */
void size_format(uint64_t bytes, char out[SIZE_TEXT_BYTES]);

/* "0 s", "200 us", "1.5 ms", "90 s". */
void duration_format(uint64_t ns, char out[SIZE_TEXT_BYTES]);

/* What size_parse() reads back as the same number: "65536" gives "64K". */
void size_format_exact(uint64_t bytes, char out[SIZE_TEXT_BYTES]);

#endif
