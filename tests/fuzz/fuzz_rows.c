/* SPDX-License-Identifier: MIT */
/* Fuzz target: values put into rows, and rows put into tables, of a small file system, which is
 * then used and mended (fs_world.h says what must hold). Each step is 12 bytes:
 *
 *	0	what (low 4 bits), table (high 4)
 *	1	which row: the n-th of it, counted round
 *	2	which column (low 4 bits), kind of value (high 4)
 *	3	length of a blob or text
 *	4 to 11	the value, little-endian */
#include "fs_world.h"

#include <stdio.h>
#include <string.h>
#include "base/block.h"
#include "base/endian.h"
#include "fuzz.h"

#define STEP_BYTES 12u
#define MAX_STEPS  24u

enum what { SET, SET_SMALL, INSERT, COPY, DELETE, WHATS };

static const struct {
	const char *name, *columns[14];
	unsigned count;
} tables[] = {
	{"inode",
		{"ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blocks", "atime", "mtime",
			"ctime", "parent", "cookie", "btime"},
		14},
	{"dirent", {"parent", "cookie", "name", "ino", "type"}, 5},
	{"symlink", {"ino", "target"}, 2},
	{"xattr", {"ino", "name", "value"}, 3},
	{"extent", {"ino", "file_block", "volume_block", "blocks", "flags"}, 5},
	{"meta", {"key", "value"}, 2},
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

enum { TEXT_NULL, TEXT_REAL, TEXT_TEXT, TEXT_BLOB, TEXT_EDGE, TEXT_KINDS = 16 };

/* The value as SQL. */
static void value_text(const uint8_t *in, char *out, size_t size)
{
	static const int64_t edges[] = {0, 1, -1, INT64_MAX, INT64_MIN, 16384, 32768, 40960, 4096,
		UINT32_MAX, INT64_C(1) << 62, 65535, 255, 256, 2, 3};
	static const char hex[] = "0123456789abcdef";
	uint64_t number = get_le64(in + 4);
	size_t len = min_u64(in[3], (size - 8) / 2), at = 2;
	switch (in[2] >> 4) {
	case TEXT_NULL:
		snprintf(out, size, "NULL");
		return;
	case TEXT_REAL:
		snprintf(out, size, "%d.25", (int)number);
		return;
	case TEXT_TEXT:
		snprintf(out, size, "'%u'", (unsigned)number);
		return;
	case TEXT_EDGE:
		snprintf(out, size, "%lld", (long long)edges[number % 16]);
		return;
	case TEXT_BLOB:
		break;
	default:
		snprintf(out, size, "%lld", (long long)number);
		return;
	}
	memcpy(out, "x'", 2);
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = in[4 + i % 8];
		out[at++] = hex[byte >> 4];
		out[at++] = hex[byte & 15];
	}
	memcpy(out + at, "'", 2);
}

/* The condition that finds the n-th row, without ORDER BY: any will do. */
static void row_condition(unsigned t, unsigned n, char *out, size_t size)
{
	const char *a = tables[t].columns[0], *b = tables[t].columns[1];
	snprintf(out, size,
		"(%s, %s) IN (SELECT %s, %s FROM %s LIMIT 1 OFFSET"
		" %u %% (SELECT max(count(*), 1) FROM %s))",
		a, b, a, b, tables[t].name, n, tables[t].name);
}

static void insert_text(unsigned t, const uint8_t *in, char *out, size_t size)
{
	char value[600];
	size_t at =
		(size_t)snprintf(out, size, "INSERT OR REPLACE INTO %s VALUES(", tables[t].name);
	for (unsigned i = 0; i < tables[t].count; i++) {
		uint8_t own[STEP_BYTES];
		memcpy(own, in, STEP_BYTES);
		if (i != (in[2] & 15) % tables[t].count)
			put_le64(own + 4, in[4 + i % 8]);
		own[2] = (uint8_t)(i == (in[2] & 15) % tables[t].count ? own[2] : 0xf0);
		value_text(own, value, sizeof(value));
		at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "," : "", value);
	}
	snprintf(out + at, size - at, ")");
}

static void step_text(const uint8_t *in, char *out, size_t size)
{
	unsigned t = (in[0] >> 4) % TABLES;
	const char *column = tables[t].columns[(in[2] & 15) % tables[t].count];
	char value[600], condition[400];
	uint8_t small[STEP_BYTES];
	memcpy(small, in, STEP_BYTES);
	row_condition(t, in[1], condition, sizeof(condition));
	switch ((in[0] & 15) % WHATS) {
	case SET_SMALL:
	case SET:
		if ((in[0] & 15) % WHATS == SET_SMALL) {
			put_le64(small + 4, in[4] % 24);
			small[2] |= 0xf0;
		}
		value_text(small, value, sizeof(value));
		snprintf(out, size, "UPDATE OR REPLACE %s SET %s = %s WHERE %s", tables[t].name,
			column, value, condition);
		return;
	case INSERT:
		insert_text(t, in, out, size);
		return;
	case COPY:
		snprintf(out, size,
			"UPDATE OR REPLACE %s SET %s = (SELECT %s FROM %s LIMIT 1 OFFSET %u)"
			" WHERE %s",
			tables[t].name, column, column, tables[t].name, in[4], condition);
		return;
	default:
		snprintf(out, size, "DELETE FROM %s WHERE %s", tables[t].name, condition);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct fw_trial trial;
	struct db db;
	char sql[4096];
	fw_begin(&trial);
	fw_open(&trial, false);
	fuzz_demand(db_open_unchecked(&db, volume_sysarea(trial.volume), NULL, NULL) == 0);
	size_t steps = min_u64(len_bytes / STEP_BYTES, MAX_STEPS);
	for (size_t i = 0; i < steps; i++) {
		step_text(data + i * STEP_BYTES, sql, sizeof(sql));
		(void)sqlite3_exec(db.handle, sql, NULL, NULL, NULL);
	}
	fuzz_demand(db_close(&db) == 0);
	fw_close(&trial);
	fw_run(&trial, true);
	fw_end(&trial);
	return 0;
}

/* ---- the corpus it begins with ---- */

static const struct {
	const char *name;
	uint8_t step[STEP_BYTES];
} seeds[] = {
	{"untouched", {15, 0}},
	{"size-of-a-file", {SET, 2, 0xf6, 0, 1, 0, 0, 0, 0, 0, 0, 0x80}},
	{"mode-null", {SET, 2, TEXT_NULL << 4 | 1}},
	{"type-of-a-directory", {SET, 1, TEXT_EDGE << 4 | 1, 0, 6}},
	{"parent-of-a-directory", {SET_SMALL, 3, 11, 0, 5}},
	{"links-of-a-file", {SET_SMALL, 2, 2, 0, 0}},
	{"entry-name-blob", {SET | 1 << 4, 3, TEXT_BLOB << 4 | 2, 9, 'a', '/', 'b', 0, 'c'}},
	{"entry-name-text", {SET | 1 << 4, 2, TEXT_TEXT << 4 | 2, 9, 7}},
	{"entry-inode", {SET_SMALL | 1 << 4, 1, 3, 0, 2}},
	{"entry-parent", {SET_SMALL | 1 << 4, 1, 0, 0, 4}},
	{"entry-copied-name", {COPY | 1 << 4, 1, 2, 0, 4}},
	{"entry-deleted", {DELETE | 1 << 4, 3}},
	{"target-real", {SET | 2 << 4, 0, TEXT_REAL << 4 | 1, 0, 5}},
	{"target-long", {SET | 2 << 4, 0, TEXT_BLOB << 4 | 1, 255, 'x', 'y', 'z'}},
	{"attribute-name", {SET | 3 << 4, 0, TEXT_BLOB << 4 | 1, 4, 0, 0, 'z'}},
	{"attribute-inserted", {INSERT | 3 << 4, 0, TEXT_BLOB << 4 | 2, 40, 3, 9, 'z'}},
	{"extent-far", {SET | 4 << 4, 0, TEXT_EDGE << 4 | 2, 0, 3}},
	{"extent-negative", {SET | 4 << 4, 1, TEXT_EDGE << 4 | 1, 0, 2}},
	{"extent-shared", {COPY | 4 << 4, 2, 2, 0, 0}},
	{"extent-long", {SET | 4 << 4, 2, 0xf3, 0, 200}},
	{"extent-inserted", {INSERT | 4 << 4, 2, 0xf0, 0, 3, 1, 20, 9}},
	{"inode-inserted", {INSERT, 2, 0xf0, 0, 99, 1, 20, 9}},
	{"inode-deleted", {DELETE, 2}},
	{"root-deleted", {DELETE, 0}},
	{"meta-key", {SET | 5 << 4, 0, TEXT_TEXT << 4 | 1, 0, 3}},
	{"meta-deleted", {DELETE | 5 << 4, 1}},
};

static bool rows_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return false;
	memcpy(out, seeds[n].step, STEP_BYTES);
	memset(out + STEP_BYTES, 15, 2 * STEP_BYTES); /* for mutations: more steps */
	*len_bytes = 3 * STEP_BYTES;
	*name = seeds[n].name;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = FUZZ_SLOWDOWN > 1 ? 0 : 3, .seed = rows_seed};
