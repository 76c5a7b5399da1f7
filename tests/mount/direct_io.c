/* SPDX-License-Identifier: MIT */
/* Direct I/O in many shapes, by every engine. Right on any filesystem with direct I/O at multiples
 * of 512 bytes. usage: direct_io DIR [TEXT...] */
#include "cases.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECTOR 512u

/* ---- all sizes at once ---- */

/* So many operations over ranges that do not meet, in one piece of memory. */
struct plan {
	unsigned count;
	struct op ops[ENGINE_DEPTH];
	struct iovec iov[ENGINE_DEPTH];
	uint8_t *memory; /* what is transferred, each at a multiple of a sector */
	uint8_t *model;  /* what the file is to hold */
	size_t memory_bytes, file_bytes;
};

static size_t size_of_op(unsigned i, uint64_t *seed)
{
	static const size_t large[] = {
		16 * MIB, 4 * MIB, 4 * MIB - SECTOR, MIB, MIB + PAGE, MIB - PAGE};
	if (i < sizeof(large) / sizeof(large[0]))
		return large[i];
	return SECTOR * (1 + draw(seed, i % 4 ? 16 : 128));
}

static struct plan *plan_new(int fd, unsigned count, uint64_t seed)
{
	struct plan *p = calloc(1, sizeof(*p));
	size_t memory = 0, offset = 0;
	p->count = count;
	for (unsigned i = 0; i < count; i++) {
		size_t len = size_of_op(i, &seed);
		p->iov[i] = (struct iovec){(void *)memory, len};
		p->ops[i] = (struct op){
			.fd = fd, .iov = &p->iov[i], .iovs = 1, .offset = (off_t)offset};
		memory += len + SECTOR * draw(&seed, 3);
		offset += len + SECTOR * (draw(&seed, 2) ? draw(&seed, 20) : 0);
	}
	p->memory_bytes = memory;
	p->file_bytes = (size_t)p->ops[count - 1].offset + p->iov[count - 1].iov_len;
	p->memory = memory_new(memory);
	p->model = memory_new(p->file_bytes);
	for (unsigned i = 0; i < count; i++)
		p->iov[i].iov_base = p->memory + (size_t)p->iov[i].iov_base;
	return p;
}

static void plan_run(const struct engine *e, struct plan *p, bool write)
{
	/* Not in the order of their places. */
	for (unsigned i = p->count - 1; i > 0; i--) {
		unsigned j = (i * 7919u + 13) % (i + 1);
		struct op other = p->ops[i];
		p->ops[i] = p->ops[j];
		p->ops[j] = other;
	}
	for (unsigned i = 0; i < p->count; i++)
		p->ops[i].write = write;
	e->run(e, p->ops, p->count, (struct engine_memory){p->memory, p->memory_bytes});
	for (unsigned i = 0; i < p->count; i++)
		must(p->ops[i].result == (ssize_t)p->ops[i].iov->iov_len, "%s of %zu at %ld: %zd",
			write ? "write" : "read", p->ops[i].iov->iov_len, (long)p->ops[i].offset,
			p->ops[i].result);
}

static void plan_write(const struct engine *e, struct plan *p, uint64_t seed)
{
	fill(p->memory, p->memory_bytes, seed, 0);
	for (unsigned i = 0; i < p->count; i++)
		memcpy(p->model + p->ops[i].offset, p->ops[i].iov->iov_base,
			p->ops[i].iov->iov_len);
	plan_run(e, p, true);
}

static void plan_read(const struct engine *e, struct plan *p)
{
	memset(p->memory, 0, p->memory_bytes);
	plan_run(e, p, false);
	for (unsigned i = 0; i < p->count; i++)
		expect_bytes(p->ops[i].iov->iov_base, p->model + p->ops[i].offset,
			p->ops[i].iov->iov_len, "what was read");
}

static void all_sizes(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT);
	struct plan *p = plan_new(fd, ENGINE_DEPTH, 1);
	plan_write(e, p, 10);
	plan_read(e, p);
	plan_write(e, p, 11);
	plan_read(e, p);
	expect_file("f", p->model, p->file_bytes);
}

static void preallocated(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT);
	struct plan *p = plan_new(fd, 64, 2);
	must(!posix_fallocate(fd, 0, (off_t)p->file_bytes), "posix_fallocate");
	plan_read(e, p);
	plan_write(e, p, 20);
	plan_read(e, p);
	expect_file("f", p->model, p->file_bytes);
}

/* ---- extending, side by side ---- */

#define PARTS 192u

struct growth {
	struct op ops[PARTS];
	struct iovec iov[PARTS];
	uint8_t *model;
	atomic_bool over;
};

/* What was answered is there; the size covers it and never goes back. */
static void *watch_growth(void *arg)
{
	struct growth *g = arg;
	int fd = file_open("f", O_RDONLY | O_DIRECT);
	uint8_t *got = memory_new(PAGE);
	int64_t size = 0;
	for (unsigned round = 0; !atomic_load(&g->over); round++) {
		struct op *op = &g->ops[round % PARTS];
		bool answered = atomic_load(&op->is_done);
		int64_t now = file_size(fd);
		must(now >= size, "the size went back from %ld to %ld", (long)size, (long)now);
		size = now;
		if (!answered)
			continue;
		must(now >= op->offset + (int64_t)PAGE, "answered behind the end");
		must(pread(fd, got, PAGE, op->offset) == PAGE, "short read of what was answered");
		expect_bytes(got, g->model + op->offset, PAGE, "what was answered");
	}
	return NULL;
}

static void extending(const struct engine *e)
{
	struct growth g = {.model = memory_new(PARTS * PAGE)};
	int fds[2] = {
		file_open("f", O_RDWR | O_CREAT | O_DIRECT), file_open("f", O_RDWR | O_DIRECT)};
	pthread_t watcher;
	fill(g.model, PARTS * PAGE, 3, 0);
	for (unsigned i = 0; i < PARTS; i++) {
		unsigned part = i * 71 % PARTS;
		g.iov[i] = (struct iovec){g.model + part * PAGE, PAGE};
		g.ops[i] = (struct op){.write = true,
			.fd = fds[i % 2],
			.iov = &g.iov[i],
			.iovs = 1,
			.offset = (off_t)part * PAGE};
	}
	must(!pthread_create(&watcher, NULL, watch_growth, &g), "pthread_create");
	e->run(e, g.ops, PARTS, (struct engine_memory){g.model, PARTS * PAGE});
	atomic_store(&g.over, true);
	pthread_join(watcher, NULL);
	for (unsigned i = 0; i < PARTS; i++)
		must(g.ops[i].result == PAGE, "write %u: %zd", i, g.ops[i].result);
	expect_file("f", g.model, PARTS * PAGE);
}

/* ---- appending, side by side ---- */

#define WRITERS 3u
#define RECORDS 48u

static void append_records(const struct engine *e, unsigned writer)
{
	bool by_flag = writer == 0; /* RWF_APPEND; the others by O_APPEND */
	int fd = file_open("f", O_RDWR | O_DIRECT | (by_flag ? 0 : O_APPEND));
	uint8_t *data = memory_new(RECORDS * PAGE);
	struct op ops[RECORDS];
	struct iovec iov[RECORDS];
	for (unsigned i = 0; i < RECORDS; i++) {
		memset(data + i * PAGE, (int)(1 + writer * RECORDS + i), PAGE);
		iov[i] = (struct iovec){data + i * PAGE, PAGE};
		ops[i] = (struct op){.write = true,
			.fd = fd,
			.iov = &iov[i],
			.iovs = 1,
			.rwf = by_flag ? RWF_APPEND : 0};
	}
	engine_run(e, ops, RECORDS);
	for (unsigned i = 0; i < RECORDS; i++)
		must(ops[i].result == PAGE, "append: %zd", ops[i].result);
}

static void appending(const struct engine *e)
{
	file_open("f", O_RDWR | O_CREAT);
	int status;
	for (unsigned w = 0; w < WRITERS; w++) {
		if (fork() == 0) {
			alarm(LIMIT_S);
			append_records(e, w);
			_exit(0);
		}
	}
	for (unsigned w = 0; w < WRITERS; w++)
		must(wait(&status) > 0 && status == 0, "a writer failed");
	unsigned seen[256] = {0};
	uint8_t *got = memory_new((WRITERS * RECORDS + 1) * PAGE);
	size_t n = get(file_open("f", O_RDONLY | O_DIRECT), got, (WRITERS * RECORDS + 1) * PAGE, 0);
	must(n == WRITERS * RECORDS * PAGE, "%zu bytes", n);
	for (uint8_t *record = got; record < got + n; record += PAGE) {
		for (unsigned i = 1; i < PAGE; i++)
			must(record[i] == record[0], "a torn record");
		seen[record[0]]++;
	}
	for (unsigned i = 1; i <= WRITERS * RECORDS; i++)
		must(seen[i] == 1, "record %u is there %u times", i, seen[i]);
}

/* ---- the end, holes, what is unwritten ---- */

static void expect_read(const struct engine *e, int fd, off_t offset, size_t len, size_t want)
{
	uint8_t *into = memory_new(len);
	ssize_t n = engine_one(e, false, fd, into, len, offset);
	must(n == (ssize_t)want, "read of %zu at %ld: %zd, not %zu", len, (long)offset, n, want);
}

static void past_the_end(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT), cached = file_open("f", O_RDWR);
	uint8_t *data = memory_new(16 * MIB);
	expect_read(e, fd, 0, PAGE, 0);
	put(cached, data, 10000, 0);
	expect_read(e, fd, 8192, PAGE, 10000 - 8192);
	expect_read(e, fd, 0, 16 * MIB, 10000);
	expect_read(e, fd, 12288, PAGE, 0);
	expect_read(e, fd, (off_t)1 << 40, MIB, 0);
	must(engine_one(e, true, fd, data, PAGE, 3 * MIB) == PAGE, "write behind the end");
	must(file_size(fd) == 3 * MIB + PAGE, "size %ld", (long)file_size(fd));
	expect_read(e, fd, 0, 16 * MIB, 3 * MIB + PAGE);
	must(!ftruncate(cached, 3 * MIB + 1), "ftruncate");
	expect_read(e, fd, 3 * MIB, MIB, 1);
}

/* Dirty pages that only the kernel has, behind holes. */
static void in_front_of_dirty_pages(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT), cached = file_open("f", O_RDWR);
	uint8_t data[100];
	memset(data, 'd', sizeof(data));
	put(cached, data, sizeof(data), MIB);
	expect_read(e, fd, 0, PAGE, PAGE);
	put(cached, data, sizeof(data), 40 * MIB);
	expect_read(e, fd, 2 * MIB, 16 * MIB, 16 * MIB);
	expect_read(e, fd, 40 * MIB, PAGE, sizeof(data));
}

static void mixed_extents(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT);
	size_t size = 2 * MIB;
	uint8_t *model = memory_new(size), *got = memory_new(size);
	must(!posix_fallocate(fd, MIB, MIB), "posix_fallocate");
	for (unsigned i = 0; i < 20; i++) {
		size_t len = SECTOR * (1 + i * 5 % 16), at = i * 100 * KIB;
		fill(model + at, len, 5, at);
		must(engine_one(e, true, fd, model + at, len, (off_t)at) == (ssize_t)len, "write");
	}
	must(engine_one(e, false, fd, got, size, 0) == (ssize_t)size, "read");
	expect_bytes(got, model, size, "data, holes, unwritten");
	fill(model + 100, 0, 0, 0);
	fill(model, size - SECTOR, 6, 0);
	must(engine_one(e, true, fd, model, size - SECTOR, 0) == (ssize_t)(size - SECTOR), "write");
	expect_file("f", model, size);
}

/* ---- shapes of memory, alignment, flags ---- */

#define SEGMENTS 1024

static void segments(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT);
	uint8_t *memory = memory_new(SEGMENTS * 2 * SECTOR), *model = memory_new(SEGMENTS * SECTOR);
	struct iovec iov[SEGMENTS];
	fill(model, SEGMENTS * SECTOR, 7, 0);
	for (unsigned i = 0; i < SEGMENTS; i++) {
		unsigned place = i * 387 % SEGMENTS;
		iov[i] = (struct iovec){memory + place * 2 * SECTOR, SECTOR};
		memcpy(iov[i].iov_base, model + i * SECTOR, SECTOR);
	}
	struct op op = {.write = true, .fd = fd, .iov = iov, .iovs = SEGMENTS};
	engine_run(e, &op, 1);
	must(op.result == SEGMENTS * SECTOR, "writev: %zd", op.result);
	expect_file("f", model, SEGMENTS * SECTOR);
	memset(memory, 0, SEGMENTS * 2 * SECTOR);
	op = (struct op){.fd = fd, .iov = iov, .iovs = SEGMENTS};
	engine_run(e, &op, 1);
	must(op.result == SEGMENTS * SECTOR, "readv: %zd", op.result);
	for (unsigned i = 0; i < SEGMENTS; i++)
		expect_bytes(iov[i].iov_base, model + i * SECTOR, SECTOR, "segment");
}

static void unaligned(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT);
	uint8_t *data = memory_new(2 * PAGE);
	put(fd, data, PAGE, 0);
	for (int write = 0; write < 2; write++) {
		ssize_t n = engine_one(e, write, fd, data, PAGE, 100);
		must(n == -EINVAL, "offset 100: %zd", n);
		n = engine_one(e, write, fd, data, 100, 0);
		must(n == -EINVAL, "100 bytes: %zd", n);
	}
	must(file_size(fd) == PAGE, "the size changed");
}

static void synchronous(const struct engine *e)
{
	static const struct {
		int open_flags, rwf;
	} ways[] = {{O_SYNC, 0}, {O_DSYNC, 0}, {0, RWF_DSYNC}, {0, RWF_SYNC}, {0, RWF_HIPRI & 0}};
	uint8_t *model = memory_new(64 * PAGE);
	for (unsigned w = 0; w < 5; w++) {
		int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT | ways[w].open_flags);
		struct op ops[64];
		struct iovec iov[64];
		fill(model, 64 * PAGE, 8 + w, 0);
		for (unsigned i = 0; i < 64; i++) {
			iov[i] = (struct iovec){model + i * PAGE, PAGE};
			ops[i] = (struct op){.write = true,
				.fd = fd,
				.iov = &iov[i],
				.iovs = 1,
				.offset = i * PAGE,
				.rwf = ways[w].rwf};
		}
		engine_run(e, ops, 64);
		for (unsigned i = 0; i < 64; i++)
			must(ops[i].result == PAGE, "way %u: %zd", w, ops[i].result);
		expect_file("f", model, 64 * PAGE);
		close(fd);
	}
}

/* fcntl(2) takes O_DIRECT away: any offset and length, and others still see it at once. */
static void no_longer_direct(const struct engine *e)
{
	int fd = file_open("f", O_RDWR | O_CREAT | O_DIRECT), cached = file_open("f", O_RDWR);
	uint8_t *model = memory_new(4 * PAGE), got[16];
	fill(model, 4 * PAGE, 9, 0);
	put(cached, model, 4 * PAGE, 0);
	must(!fcntl(fd, F_SETFL, 0), "F_SETFL");
	for (unsigned i = 0; i < 50; i++) {
		unsigned at = i * 331 % (4 * PAGE - 8);
		memset(model + at, (int)i, 7);
		must(engine_one(e, true, fd, model + at, 7, at) == 7, "write");
		must(get(cached, got, 8, at) == 8, "cached read");
		expect_bytes(got, model + at, 8, "cached");
		must(engine_one(e, false, fd, got, 9, at) >= 8, "read");
		expect_bytes(got, model + at, 8, "by itself");
	}
	expect_file("f", model, 4 * PAGE);
}

int main(int argc, char **argv)
{
	static const struct io_case cases[] = {
		{"256 at once, of 512 bytes to 16 MiB, land where they belong", all_sizes},
		{"the same in preallocated space", preallocated},
		{"extending writes side by side leave no hole and never a shorter file", extending},
		{"appends of several processes come one behind the other, whole", appending},
		{"reads end where the file does, writes behind it leave a hole", past_the_end},
		{"a hole in front of dirty pages is read in its full length",
			in_front_of_dirty_pages},
		{"one transfer crosses data, holes and what is unwritten", mixed_extents},
		{"1024 segments are one transfer", segments},
		{"offsets and lengths that are no multiple of 512 fail with EINVAL", unaligned},
		{"synchronous ones by their open or their own flag", synchronous},
		{"without O_DIRECT any offset and length will do", no_longer_direct},
	};
	return cases_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
