/* SPDX-License-Identifier: MIT */
/* Sizes and durations: a table of units each way. */
#include "report/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/clock.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},
	{"B", 1},
	{"K", UINT64_C(1) << 10},
	{"KB", UINT64_C(1) << 10},
	{"KiB", UINT64_C(1) << 10},
	{"M", UINT64_C(1) << 20},
	{"MB", UINT64_C(1) << 20},
	{"MiB", UINT64_C(1) << 20},
	{"G", UINT64_C(1) << 30},
	{"GB", UINT64_C(1) << 30},
	{"GiB", UINT64_C(1) << 30},
	{"T", UINT64_C(1) << 40},
	{"TB", UINT64_C(1) << 40},
	{"TiB", UINT64_C(1) << 40},
	{"P", UINT64_C(1) << 50},
	{"PB", UINT64_C(1) << 50},
	{"PiB", UINT64_C(1) << 50},
	{NULL, 0},
};

static const struct unit duration_units[] = {
	{"ns", 1},
	{"us", NS_PER_US},
	{"ms", NS_PER_MS},
	{"s", NS_PER_S},
	{"m", 60 * NS_PER_S},
	{"h", 3600 * NS_PER_S},
	{NULL, 0},
};

/* The whole number at the start of *@text, which moves behind it. */
static int parse_number(const char **text, uint64_t *out)
{
	const char *s = *text;
	uint64_t n = 0;
	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return -ERANGE;
	}
	*text = s;
	*out = n;
	return 0;
}

static const struct unit *find_unit(
	const struct unit *units, const char *name, int (*compare)(const char *, const char *))
{
	for (; units->name; units++) {
		if (compare(units->name, name) == 0)
			return units;
	}
	return NULL;
}

int size_parse(const char *text, uint64_t *bytes, struct errmsg *why)
{
	const char *rest = text;
	uint64_t n = 0;
	int ret = parse_number(&rest, &n);
	if (ret == -EINVAL)
		return errmsg_set(why, ret,
			"'%s' is not a size: write a number and a unit, as 64K or 1GiB", text);
	const struct unit *unit = ret == 0 ? find_unit(size_units, rest, strcasecmp) : NULL;
	if (ret == 0 && !unit)
		return errmsg_set(
			why, -EINVAL, "'%s' is not a size: units are K, M, G, T, P", text);
	if (ret < 0 || __builtin_mul_overflow(n, unit->factor, &n))
		return errmsg_set(why, -ERANGE, "'%s' is too large", text);
	*bytes = n;
	return 0;
}

int duration_parse(const char *text, uint64_t *ns, struct errmsg *why)
{
	const char *rest = text;
	uint64_t n = 0;
	int ret = parse_number(&rest, &n);
	if (ret == -EINVAL)
		return errmsg_set(why, ret,
			"'%s' is not a duration: write a number and a unit, as 200us or 5s", text);
	if (ret == 0 && n == 0 && !*rest) {
		*ns = 0;
		return 0;
	}
	const struct unit *unit = ret == 0 ? find_unit(duration_units, rest, strcmp) : NULL;
	if (ret == 0 && !unit)
		return errmsg_set(why, -EINVAL,
			"'%s' is not a duration: units are ns, us, ms, s, m, h", text);
	if (ret < 0 || __builtin_mul_overflow(n, unit->factor, &n))
		return errmsg_set(why, -ERANGE, "'%s' is too large", text);
	*ns = n;
	return 0;
}

int count_parse(const char *text, uint64_t *count, struct errmsg *why)
{
	const char *rest = text;
	uint64_t n = 0;
	int ret = parse_number(&rest, &n);
	if (ret == -ERANGE)
		return errmsg_set(why, ret, "'%s' is too large", text);
	if (ret < 0 || *rest)
		return errmsg_set(why, -EINVAL, "'%s' is not a number", text);
	*count = n;
	return 0;
}

/* @value in units of @factor, with one decimal (cut, not rounded) where it is not whole. */
static void format_scaled(
	uint64_t value, uint64_t factor, const char *unit, char out[SIZE_TEXT_BYTES])
{
	uint64_t tenths = value % factor / (factor / 10 ? factor / 10 : 1);
	if (tenths > 9)
		tenths = 9;
	if (factor > 1 && tenths)
		snprintf(out, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", value / factor, tenths,
			unit);
	else
		snprintf(out, SIZE_TEXT_BYTES, "%" PRIu64 " %s", value / factor, unit);
}

void size_format(uint64_t bytes, char out[SIZE_TEXT_BYTES])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned i = 0;
	while (i < 5 && bytes >> (10 * (i + 1)))
		i++;
	format_scaled(bytes, UINT64_C(1) << (10 * i), names[i], out);
}

void duration_format(uint64_t ns, char out[SIZE_TEXT_BYTES])
{
	if (ns == 0 || ns >= NS_PER_S)
		format_scaled(ns, NS_PER_S, "s", out);
	else if (ns >= NS_PER_MS)
		format_scaled(ns, NS_PER_MS, "ms", out);
	else if (ns >= NS_PER_US)
		format_scaled(ns, NS_PER_US, "us", out);
	else
		format_scaled(ns, 1, "ns", out);
}

void size_format_exact(uint64_t bytes, char out[SIZE_TEXT_BYTES])
{
	static const char units[] = " KMGTP";
	unsigned i = 0;
	while (i < 5 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	snprintf(out, SIZE_TEXT_BYTES, i ? "%" PRIu64 "%c" : "%" PRIu64, bytes, units[i]);
}
