/* SPDX-License-Identifier: MIT */
/* Reads and writes whose memory is a mapping of a file of the same mount, or not there in part: by
 * every engine, direct and through the page cache. They end, with the right count or EFAULT, and
 * leave no bytes that nobody wrote. Right on XFS; ext4 (Linux 6.18) takes direct writes behind the
 * end that fail for collisions with buffered ones, after which the file cannot be read directly.
 * usage: faulting_io DIR [TEXT...] */
#include "cases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECTOR 512u

/* One request of the kernel's, and several. */
static const size_t sizes[] = {64 * KIB, 3 * MIB};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static const struct {
	const char *name;
	int flags;
} ways[] = {{"direct", O_DIRECT}, {"cached", 0}};
#define WAYS 2u

/* ---- files and mappings ---- */

/* A new file of @len bytes made of @seed; its bytes. */
static uint8_t *file_make(const char *name, size_t len, uint64_t seed)
{
	uint8_t *model = memory_new(len);
	int fd = file_open(name, O_RDWR | O_CREAT | O_TRUNC);
	fill(model, len, seed, 0);
	put(fd, model, len, 0);
	close(fd);
	return model;
}

static uint8_t *map(const char *name, size_t len)
{
	int fd = file_open(name, O_RDWR);
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap: %s", strerror(errno));
	close(fd);
	return p;
}

static void expect_result(ssize_t got, size_t want, const char *way)
{
	must(got == (ssize_t)want, "%s: %zd instead of %zu", way, got, want);
}

/* ---- sources in mappings ---- */

static void onto_itself(const struct engine *e)
{
	for (unsigned i = 0; i < SIZES * WAYS * 2; i++) {
		size_t len = sizes[i % SIZES];
		const char *way = ways[i / SIZES % WAYS].name;
		uint8_t *model = file_make("f", len, 1);
		uint8_t *view = map("f", len);
		int fd = file_open("f", O_RDWR | ways[i / SIZES % WAYS].flags);
		if (i >= SIZES * WAYS) /* dirty */
			for (size_t at = 0; at < len; at += 3 * PAGE)
				view[at] = model[at] = 0x5a;
		expect_result(engine_one(e, true, fd, view, len, 0), len, way);
		expect_bytes(view, model, len, way);
		munmap(view, len);
		close(fd);
		expect_file("f", model, len);
	}
}

static void to_another_place(const struct engine *e)
{
	for (unsigned i = 0; i < SIZES * WAYS; i++) {
		size_t len = sizes[i % SIZES];
		const char *way = ways[i / SIZES].name;
		uint8_t *model = file_make("f", 2 * len, 2);
		uint8_t *view = map("f", 2 * len);
		int fd = file_open("f", O_RDWR | ways[i / SIZES].flags);
		expect_result(engine_one(e, true, fd, view, len, (off_t)len), len, way);
		memcpy(model + len, model, len);
		expect_bytes(view, model, 2 * len, way);
		expect_result(
			engine_one(e, true, fd, view + PAGE, len, (off_t)(2 * len)), len, way);
		close(fd);
		munmap(view, 2 * len);
		uint8_t *longer = memory_new(3 * len);
		memcpy(longer, model, 2 * len);
		memcpy(longer + 2 * len, model + PAGE, len);
		expect_file("f", longer, 3 * len);
	}
}

/* Half of it is overwritten by itself. A copy page by page may see what it has written. */
static void onto_half_of_itself(const struct engine *e)
{
	for (unsigned i = 0; i < 2 * WAYS; i++) {
		size_t len = 64 * KIB, from = i % 2 ? 0 : len / 2, to = len / 2 - from;
		const char *way = ways[i / 2].name;
		uint8_t *model = file_make("f", 2 * len, 3);
		uint8_t *view = map("f", 2 * len);
		int fd = file_open("f", O_RDWR | ways[i / 2].flags);
		expect_bytes(view, model, 2 * len, "before");
		expect_result(engine_one(e, true, fd, view + from, len, (off_t)to), len, way);
		close(fd);
		if (ways[i / 2].flags) {
			memmove(model + to, model + from, len);
			expect_bytes(view, model, 2 * len, way);
			expect_file("f", model, 2 * len);
		}
		uint8_t *seen = memory_new(2 * len);
		memcpy(seen, view, 2 * len);
		munmap(view, 2 * len);
		expect_file("f", seen, 2 * len);
	}
}

static void between_files(const struct engine *e)
{
	for (unsigned i = 0; i < SIZES * WAYS; i++) {
		size_t len = sizes[i % SIZES];
		const char *way = ways[i / SIZES].name;
		uint8_t *model = file_make("f", len, 4);
		file_make("g", len, 5);
		uint8_t *view = map("f", len);
		int fd = file_open("g", O_RDWR | ways[i / SIZES].flags);
		view[5] = model[5] = 0x5a;
		expect_result(engine_one(e, true, fd, view, len, 0), len, way);
		close(fd);
		munmap(view, len);
		expect_file("g", model, len);
		expect_file("f", model, len);
	}
}

/* ---- destinations in mappings ---- */

static void reads_into_mappings(const struct engine *e)
{
	for (unsigned i = 0; i < SIZES * WAYS; i++) {
		size_t len = sizes[i % SIZES];
		const char *way = ways[i / SIZES].name;
		uint8_t *model = file_make("f", 2 * len, 6);
		file_make("g", len, 7);
		uint8_t *own = map("f", 2 * len), *other = map("g", len);
		int fd = file_open("f", O_RDWR | ways[i / SIZES].flags);
		expect_result(engine_one(e, false, fd, own, len, 0), len, way);
		expect_bytes(own, model, 2 * len, "onto itself");
		expect_result(engine_one(e, false, fd, own + len, len, 0), len, way);
		memcpy(model + len, model, len);
		expect_bytes(own, model, 2 * len, "to another place");
		expect_result(engine_one(e, false, fd, other, len, (off_t)len), len, way);
		close(fd);
		munmap(own, 2 * len);
		munmap(other, len);
		expect_file("f", model, 2 * len);
		expect_file("g", model, len);
	}
}

/* ---- memory that is not there ---- */

enum gap { GAP_PROT_NONE, GAP_UNMAPPED, GAP_BEHIND_END, GAP_READ_ONLY, GAPS };

/* @len bytes, of which those from @good on are not to be used. For GAP_READ_ONLY: not to be stored
 * into. */
static uint8_t *memory_with_gap(enum gap gap, size_t len, size_t good)
{
	if (gap == GAP_BEHIND_END) {
		int fd = file_open("gap", O_RDWR | O_CREAT | O_TRUNC);
		must(!ftruncate(fd, (off_t)len), "ftruncate");
		close(fd);
		uint8_t *view = map("gap", len);
		fd = file_open("gap", O_RDWR);
		must(!ftruncate(fd, (off_t)good), "ftruncate");
		close(fd);
		return view;
	}
	uint8_t *memory = memory_new(len);
	if (gap == GAP_UNMAPPED)
		munmap(memory + good, len - good);
	else
		mprotect(memory + good, len - good, gap == GAP_PROT_NONE ? PROT_NONE : PROT_READ);
	return memory;
}

/* A count that is not more than what could be had, or EFAULT. */
static size_t expect_part(ssize_t got, size_t good, const char *way)
{
	must(got == -EFAULT || (got > 0 && (size_t)got <= good), "%s: %zd of %zu", way, got, good);
	return got < 0 ? 0 : (size_t)got;
}

/* Each sector of @got is the one of @old or, before @good, of @new; up to @sure all are new. */
static void expect_old_or_new(const uint8_t *got, const uint8_t *old, const uint8_t *new_bytes,
	size_t len, size_t good, size_t sure, bool told)
{
	for (size_t at = 0; at < len; at += SECTOR) {
		bool is_new = at < good && !memcmp(got + at, new_bytes + at, SECTOR);
		bool is_old = !memcmp(got + at, old + at, SECTOR);
		must(at >= sure || is_new, "byte %zu was counted as written, and is not", at);
		must(is_new || is_old, "bytes from %zu on are neither the old nor the new ones",
			at);
		must(told || at < sure || is_old, "byte %zu was written, and not counted", at);
	}
}

static void read_all(const char *name, int flags, uint8_t *into, size_t len)
{
	int fd = file_open(name, O_RDONLY | flags);
	size_t n = get(fd, into, len, 0);
	must(n == len, "%s has %zu bytes, not %zu", name, n, len);
	close(fd);
}

static void source_gap(const struct engine *e, enum gap gap, size_t len, unsigned way)
{
	size_t good = len / 2;
	uint8_t *old = file_make("f", len, 8), *data = memory_new(len), *got = memory_new(len);
	uint8_t *source = memory_with_gap(gap, len, good);
	int fd = file_open("f", O_RDWR | ways[way].flags);
	fill(data, len, 9, 0);
	memcpy(source, data, good);
	ssize_t n = engine_one(e, true, fd, source, len, 0);
	close(fd);
	size_t sure = expect_part(n, good, ways[way].name);
	/* What is counted is all: unless the whole call has failed. */
	read_all("f", 0, got, len);
	expect_old_or_new(got, old, data, len, good, sure, n < 0);
	read_all("f", O_DIRECT, got, len);
	expect_old_or_new(got, old, data, len, good, sure, n < 0);
	munmap(source, good);
}

static void sources_with_gaps(const struct engine *e)
{
	for (unsigned gap = GAP_PROT_NONE; gap <= GAP_BEHIND_END; gap++)
		for (unsigned i = 0; i < SIZES * WAYS; i++)
			source_gap(e, (enum gap)gap, sizes[i % SIZES], i / SIZES);
}

static void destination_gap(const struct engine *e, enum gap gap, size_t len, unsigned way)
{
	size_t good = len / 2;
	uint8_t *model = file_make("f", len, 10);
	uint8_t *into = memory_with_gap(gap, len, good);
	int fd = file_open("f", O_RDONLY | ways[way].flags);
	ssize_t n = engine_one(e, false, fd, into, len, 0);
	close(fd);
	expect_bytes(into, model, expect_part(n, good, ways[way].name), ways[way].name);
	munmap(into, good);
	expect_file("f", model, len);
}

static void destinations_with_gaps(const struct engine *e)
{
	for (unsigned gap = GAP_PROT_NONE; gap < GAPS; gap++)
		for (unsigned i = 0; i < SIZES * WAYS; i++)
			destination_gap(e, (enum gap)gap, sizes[i % SIZES], i / SIZES);
}

static void no_memory_at_all(const struct engine *e)
{
	uint8_t *model = file_make("f", 64 * KIB, 11), *nowhere = memory_new(64 * KIB);
	mprotect(nowhere, 64 * KIB, PROT_NONE);
	for (unsigned way = 0; way < WAYS; way++) {
		int fd = file_open("f", O_RDWR | ways[way].flags);
		for (int write = 0; write < 2; write++)
			for (off_t at = 0; at <= 64 * KIB; at += 64 * KIB) {
				ssize_t n = engine_one(e, write, fd, nowhere, 32 * KIB, at);
				bool nothing = !write && at > 0; /* at the end */
				must(n == (nothing ? 0 : -EFAULT) || n == -EFAULT, "%s at %ld: %zd",
					ways[way].name, (long)at, n);
			}
		close(fd);
	}
	expect_file("f", model, 64 * KIB);
}

/* The size ends where the bytes do. */
static void growth_from_a_gap(const struct engine *e)
{
	for (unsigned i = 0; i < SIZES * WAYS; i++) {
		size_t len = sizes[i % SIZES], good = len / 2, begin = 8 * KIB;
		uint8_t *old = file_make("f", begin, 12), *data = memory_new(begin + len);
		uint8_t *source = memory_with_gap(GAP_PROT_NONE, len, good);
		memcpy(data, old, begin);
		fill(data + begin, len, 13, 0);
		memcpy(source, data + begin, good);
		int fd = file_open("f", O_RDWR | ways[i / SIZES].flags);
		ssize_t n = engine_one(e, true, fd, source, len, (off_t)begin);
		size_t sure = expect_part(n, good, ways[i / SIZES].name);
		int64_t size = file_size(fd);
		close(fd);
		must(n < 0 ? size <= (int64_t)(begin + good) : size == (int64_t)(begin + sure),
			"%s: %zd, and the size is %ld", ways[i / SIZES].name, n, (long)size);
		if (n > 0)
			expect_file("f", data, begin + sure);
		munmap(source, good);
	}
}

int main(int argc, char **argv)
{
	static const struct io_case cases[] = {
		{"a write from a mapping of its own place changes nothing", onto_itself},
		{"a write from a mapping of another place of the file copies it", to_another_place},
		{"a write from a mapping that it overlaps copies what was there",
			onto_half_of_itself},
		{"a write from a mapping of another file copies it", between_files},
		{"reads into mappings of the file and of others", reads_into_mappings},
		{"a source that ends half-way gives a count or EFAULT", sources_with_gaps},
		{"a destination that ends half-way gives a count or EFAULT",
			destinations_with_gaps},
		{"no memory at all is EFAULT and nothing else", no_memory_at_all},
		{"a file grows by what was written of a source that ends half-way",
			growth_from_a_gap},
	};
	return cases_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
