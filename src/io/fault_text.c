/* SPDX-License-Identifier: MIT */
/* Faults as lines of text: a table of words, each with its reader.
 * Owning thread: any; pure. */
#include "io/fault_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"

/* Which words go with which kind of request. */
enum { OF_FAULT = 1, OF_MUTATION = 2, OF_LATENCY = 4 };

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {{"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20},
	{"G", UINT64_C(1) << 30}, {"T", UINT64_C(1) << 40}, {"", 1}, {NULL, 0}};
static const struct unit time_units[] = {
	{"s", NS_PER_S}, {"ms", NS_PER_MS}, {"us", NS_PER_US}, {"ns", 1}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static bool read_number(const char *text, const struct unit *units, uint64_t *out)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	if (errno)
		return false;
	for (; units->name; units++) {
		if (strcmp(units->name, end) == 0)
			return !__builtin_mul_overflow(n, units->factor, out);
	}
	return false;
}

static bool read_unsigned(const char *text, unsigned *out)
{
	uint64_t n;
	if (!read_number(text, no_units, &n) || n > INT32_MAX)
		return false;
	*out = (unsigned)n;
	return true;
}

static bool read_member(struct fault_request *r, const char *value)
{
	unsigned n;
	if (!read_unsigned(value, &n) || n > 255)
		return false;
	r->member = (int)n;
	return true;
}

static bool read_area(struct fault_request *r, const char *value)
{
	static const char *const areas[] = {
		"data", "tuples", "system", "intent", "journal", "super"};
	for (unsigned i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		if (strcmp(areas[i], value) == 0)
			strcpy(r->area, value);
	}
	return r->area[0] != '\0';
}

static bool read_file(struct fault_request *r, const char *value)
{
	if (value[0] != '/' || strlen(value) >= sizeof(r->file))
		return false;
	strcpy(r->file, value);
	return true;
}

static bool read_offset(struct fault_request *r, const char *value)
{
	r->has_offset = true;
	return read_number(value, size_units, &r->fault.offset_bytes);
}

static bool read_len(struct fault_request *r, const char *value)
{
	r->has_len = true;
	return read_number(value, size_units, &r->fault.len_bytes) && r->fault.len_bytes;
}

static bool read_count(struct fault_request *r, const char *value)
{
	return read_unsigned(value, &r->fault.count);
}

static bool read_skip(struct fault_request *r, const char *value)
{
	return read_unsigned(value, &r->fault.skip);
}

static bool read_probability(struct fault_request *r, const char *value)
{
	char *end;
	double p = strtod(value, &end);
	if (end == value || *end || !(p >= 0.001 && p <= 1))
		return false;
	r->fault.per_mille = (unsigned)(p * 1000 + 0.5);
	return true;
}

static bool read_latency(struct fault_request *r, const char *value)
{
	return read_number(value, time_units, &r->fault.latency_ns) && r->fault.latency_ns;
}

static bool read_write(struct fault_request *r, const char *value)
{
	return read_number(value, no_units, &r->write) && r->write;
}

static bool read_xor(struct fault_request *r, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 16);
	if (end == value || *end || n == 0 || n > 255)
		return false;
	r->xor_byte = (uint8_t)n;
	return true;
}

static bool read_at(struct fault_request *r, const char *value)
{
	r->at_data = strcmp(value, "data") == 0;
	return r->at_data || strcmp(value, "parity") == 0;
}

static const struct word {
	const char *name;
	unsigned of;
	bool (*read)(struct fault_request *r, const char *value);
	const char *takes;
} words[] = {
	{"member", OF_FAULT | OF_LATENCY, read_member, "the number of a member"},
	{"area", OF_FAULT | OF_LATENCY, read_area,
		"data, tuples, system, intent, journal or super"},
	{"file", OF_FAULT | OF_LATENCY | OF_MUTATION, read_file,
		"a path from the mount's root (/db/x)"},
	{"offset", OF_FAULT | OF_LATENCY | OF_MUTATION, read_offset, "bytes (4096, 64K)"},
	{"len", OF_FAULT | OF_LATENCY | OF_MUTATION, read_len, "bytes (4096, 64K), not 0"},
	{"count", OF_FAULT | OF_LATENCY, read_count, "a number; 0: for ever"},
	{"skip", OF_FAULT | OF_LATENCY, read_skip, "a number"},
	{"p", OF_FAULT | OF_LATENCY, read_probability, "a probability from 0.001 to 1"},
	{"latency", OF_LATENCY, read_latency, "a time (20ms), not 0"},
	{"write", OF_MUTATION, read_write, "a number from 1"},
	{"xor", OF_MUTATION, read_xor, "a byte from 01 to ff"},
	{"at", OF_MUTATION, read_at, "parity or data"},
};

static int take_word(struct fault_request *r, unsigned of, char *text, struct errmsg *why)
{
	char *value = strchr(text, '=');
	if (value)
		*value++ = '\0';
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].name, text) != 0)
			continue;
		if (!(words[i].of & of))
			return errmsg_set(why, -EINVAL, "%s takes no '%s'",
				r->mutate ? "mutate" : fault_kind_name(r->fault.kind), text);
		if (!value || !words[i].read(r, value))
			return errmsg_set(why, -EINVAL, "%s= takes %s, not '%s'", text,
				words[i].takes, value ? value : "");
		return 0;
	}
	return errmsg_set(why, -EINVAL, "there is no word '%s' of a fault", text);
}

/* What single words cannot tell. */
static int check(const struct fault_request *r, struct errmsg *why)
{
	if (r->mutate && (!r->file[0] || !r->xor_byte || !r->write))
		return errmsg_set(why, -EINVAL, "mutate needs file=, write= and xor=");
	if (!r->mutate && r->fault.kind == FAULT_LATENCY && !r->fault.latency_ns)
		return errmsg_set(why, -EINVAL, "latency needs latency=");
	if (r->file[0] && r->area[0])
		return errmsg_set(why, -EINVAL, "a fault has file= or area=, not both");
	if (r->fault.offset_bytes > UINT64_MAX - r->fault.len_bytes)
		return errmsg_set(why, -EINVAL, "offset= and len= are too large");
	return 0;
}

int fault_parse(const char *text, struct fault_request *out, struct errmsg *why)
{
	char copy[FAULT_TEXT_MAX], *rest = copy, *one;
	if (strlen(text) >= sizeof(copy))
		return errmsg_set(
			why, -EINVAL, "a fault has at most %u characters", FAULT_TEXT_MAX - 1);
	strcpy(copy, text);
	*out = (struct fault_request){.member = -1, .fault = {.per_mille = 1000}};
	bool first = true;
	unsigned of = 0;
	int ret = 0;
	while (ret == 0 && (one = strsep(&rest, " \t\n"))) {
		if (!*one)
			continue;
		if (!first) {
			ret = take_word(out, of, one, why);
			continue;
		}
		first = false;
		out->mutate = strcmp(one, "mutate") == 0;
		if (!out->mutate && !fault_kind_parse(one, &out->fault.kind))
			return errmsg_set(why, -EINVAL, "there is no fault '%s'", one);
		of = out->mutate                        ? OF_MUTATION
		     : out->fault.kind == FAULT_LATENCY ? OF_LATENCY
							: OF_FAULT;
	}
	if (first)
		return errmsg_set(why, -EINVAL, "a fault begins with its kind (read-error, ...)");
	return ret < 0 ? ret : check(out, why);
}

/* The largest unit that keeps the number whole. */
static void format_number(char *out, size_t size, uint64_t n, const struct unit *units)
{
	const struct unit *best = NULL;
	for (; units->name; units++) {
		if (n % units->factor == 0 && (!best || units->factor > best->factor))
			best = units;
	}
	snprintf(out, size, "%" PRIu64 "%s", best ? n / best->factor : n,
		best && n ? best->name : "");
}

static int add(char *out, size_t size, int at, const char *name, const char *value)
{
	size_t used = min_u64((uint64_t)at, size);
	return at + snprintf(out + used, size - used, " %s=%s", name, value);
}

static int add_number(
	char *out, size_t size, int at, const char *name, uint64_t n, const struct unit *units)
{
	char value[32];
	format_number(value, sizeof(value), n, units);
	return add(out, size, at, name, value);
}

static int format_mutation(const struct fault_request *r, char *out, size_t size, int at)
{
	char byte[4];
	snprintf(byte, sizeof(byte), "%02x", r->xor_byte);
	at = add_number(out, size, at, "write", r->write, no_units);
	at = add(out, size, at, "xor", byte);
	return r->at_data ? add(out, size, at, "at", "data") : at;
}

int fault_format(const struct fault_request *r, char *out, size_t size)
{
	const struct fault *f = &r->fault;
	char p[16];
	int at = snprintf(out, size, "%s", r->mutate ? "mutate" : fault_kind_name(f->kind));
	if (r->member >= 0)
		at = add_number(out, size, at, "member", (uint64_t)r->member, no_units);
	if (r->area[0])
		at = add(out, size, at, "area", r->area);
	if (r->file[0])
		at = add(out, size, at, "file", r->file);
	if (f->offset_bytes)
		at = add_number(out, size, at, "offset", f->offset_bytes, size_units);
	if (f->len_bytes)
		at = add_number(out, size, at, "len", f->len_bytes, size_units);
	if (f->skip)
		at = add_number(out, size, at, "skip", f->skip, no_units);
	if (f->count)
		at = add_number(out, size, at, "count", f->count, no_units);
	snprintf(p, sizeof(p), "%g", f->per_mille / 1000.0);
	if (f->per_mille < 1000)
		at = add(out, size, at, "p", p);
	if (f->latency_ns)
		at = add_number(out, size, at, "latency", f->latency_ns, time_units);
	return r->mutate ? format_mutation(r, out, size, at) : at;
}
