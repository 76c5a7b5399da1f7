/* SPDX-License-Identifier: MIT */
/* The mutator's two threads, and the content by which a block is known again.
 *
 * A sector of the buffer, for sector s of write w:
 *
 *	byte 0	   the word that is stored into: value_of(number of the store), 0 before the first
 *	byte 8	   w
 *	byte 16..  a pattern of the seed and s
 *
 * So whatever mixture of moments reaches a member, each byte tells whether it was ever there. */
#include "cli/mutate.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"

#define MAX_BLOCK  (UINT64_C(1) << 30)
#define MAX_WRITES (UINT64_C(1) << 26)
#define MAX_PIECES 4u

#define STORING_NICE (-15)

/* An odd factor and its inverse modulo 2^64: from numbers to values that differ in most bytes, and
 * back. */
#define SPREAD   UINT64_C(0x9e3779b97f4a7c15)
#define UNSPREAD UINT64_C(0xf1de83e19937733d)

struct mutator {
	const struct mutate_options *options; /* borrowed */
	uint8_t *buffer, *expected;           /* owned; the storing thread stores into buffer */
	uint64_t sectors;
	int fd; /* owned */

	/* Stores are numbered from 1. The storing thread sets these, the writer reads them. */
	_Atomic uint64_t begun, done;
	/* MUTATE_ONE_STORE: writes that have begun, by the writer; answered by as many stores. */
	_Atomic uint64_t turn;
	_Atomic bool stop;
};

static const char *const call_names[] = {
	[MUTATE_PWRITE] = "pwrite",
	[MUTATE_WRITE] = "write",
	[MUTATE_PWRITEV] = "pwritev",
	[MUTATE_PWRITEV2] = "pwritev2",
	[MUTATE_WRITEV] = "writev",
};

const char *mutate_call_name(enum mutate_call call)
{
	return call_names[call];
}

bool mutate_call_parse(const char *name, enum mutate_call *out)
{
	for (unsigned i = 0; i < sizeof(call_names) / sizeof(call_names[0]); i++) {
		if (strcmp(name, call_names[i]) == 0) {
			*out = (enum mutate_call)i;
			return true;
		}
	}
	return false;
}

/* ---- content ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 31) * SPREAD;
	return z ^ z >> 29;
}

static uint64_t value_of(const struct mutator *m, uint64_t store)
{
	return (store * SPREAD) ^ mix(m->options->seed);
}

static uint64_t store_of(const struct mutator *m, uint64_t value)
{
	return (value ^ mix(m->options->seed)) * UNSPREAD;
}

static void fill_pattern(const struct mutator *m, uint8_t *buffer)
{
	for (uint64_t s = 0; s < m->sectors; s++) {
		uint8_t *sector = buffer + s * MUTATE_SECTOR;
		uint64_t v = value_of(m, 0);
		memcpy(sector, &v, sizeof(v));
		for (unsigned at = 16; at < MUTATE_SECTOR; at += sizeof(v)) {
			v = mix(m->options->seed + s * MUTATE_SECTOR + at);
			memcpy(sector + at, &v, sizeof(v));
		}
	}
}

/* Leaves the words alone that the other thread may be storing into. */
static void stamp_write(const struct mutator *m, uint8_t *buffer, uint64_t write)
{
	for (uint64_t s = 0; s < m->sectors; s++)
		memcpy(buffer + s * MUTATE_SECTOR + 8, &write, sizeof(write));
}

/* ---- the storing thread ---- */

static void store_next(struct mutator *m, uint64_t sector)
{
	uint64_t number = atomic_load_explicit(&m->begun, memory_order_relaxed) + 1;
	uint64_t *word = (uint64_t *)(m->buffer + sector * MUTATE_SECTOR);
	atomic_store_explicit(&m->begun, number, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* begun is seen before the word */
	__atomic_store_n(word, value_of(m, number), __ATOMIC_RELAXED);
	atomic_store_explicit(&m->done, number, memory_order_release);
}

/* On a busy machine the storing thread should not wait for a CPU while a write goes by. Needs
 * CAP_SYS_NICE; without it the race is as it comes. */
static void ask_for_cpu(void)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), STORING_NICE);
}

static void *store_continuously(void *arg)
{
	struct mutator *m = arg;
	ask_for_cpu();
	for (uint64_t sector = 0; !m->stop; sector = (sector + 1) % m->sectors)
		store_next(m, sector);
	return NULL;
}

static void *store_once_a_write(void *arg)
{
	struct mutator *m = arg;
	for (uint64_t turn = 1;; turn++) {
		while (m->turn < turn && !m->stop)
			sched_yield();
		if (m->stop)
			return NULL;
		uint64_t begun_ns = clock_monotonic_ns();
		uint64_t random = mix(m->options->seed ^ mix(turn));
		uint64_t delay_ns = random % (m->options->delay_ns + 1);
		while (clock_monotonic_ns() - begun_ns < delay_ns)
			;
		store_next(m, mix(random) % m->sectors);
	}
}

/* ---- the writer ---- */

static unsigned cut_buffer(const struct mutator *m, struct iovec *iov)
{
	unsigned n = m->sectors < MAX_PIECES ? (unsigned)m->sectors : MAX_PIECES;
	uint64_t part = m->sectors / n * MUTATE_SECTOR;
	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){m->buffer + i * part, part};
	iov[n - 1].iov_len = m->options->block_bytes - (n - 1) * part;
	return n;
}

static ssize_t call_write(const struct mutator *m, off_t offset)
{
	struct iovec iov[MAX_PIECES];
	int n = (int)cut_buffer(m, iov);
	switch (m->options->call) {
	case MUTATE_PWRITE:
		return pwrite(m->fd, m->buffer, m->options->block_bytes, offset);
	case MUTATE_WRITE:
		return write(m->fd, m->buffer, m->options->block_bytes);
	case MUTATE_PWRITEV:
		return pwritev(m->fd, iov, n, offset);
	case MUTATE_PWRITEV2:
		return pwritev2(m->fd, iov, n, offset, 0);
	case MUTATE_WRITEV:
		return writev(m->fd, iov, n);
	}
	return 0;
}

/* A call of the kind that uses the file's position needs it set before. */
static int seek_to(const struct mutator *m, off_t offset)
{
	bool positioned = m->options->call == MUTATE_WRITE || m->options->call == MUTATE_WRITEV;
	return positioned && lseek(m->fd, offset, SEEK_SET) < 0 ? -errno : 0;
}

/* Until the storing thread has stored once more: on a busy machine it may be waiting for a CPU, and
 * a write begun then would meet nobody. */
static void await_a_store(struct mutator *m)
{
	uint64_t done = atomic_load(&m->done);
	while (atomic_load(&m->done) == done)
		sched_yield();
}

/* The call itself, between the two readings of the counters that make I2. */
static void write_observed(struct mutator *m, struct mutate_write *w, uint64_t *in_call_ns)
{
	bool one = m->options->stores == MUTATE_ONE_STORE;
	if (m->options->stores == MUTATE_CONTINUOUS)
		await_a_store(m);
	uint64_t begun_ns = clock_monotonic_ns();
	uint64_t begun = atomic_load(&m->begun);
	if (one)
		m->turn++;
	ssize_t n = call_write(m, (off_t)w->offset_bytes);
	w->error = n < 0 ? errno : 0;
	uint64_t done = atomic_load(&m->done);
	*in_call_ns += clock_monotonic_ns() - begun_ns;
	w->last_store = atomic_load(&m->begun);
	w->stores = done > begun ? done - begun : 0;
	w->written_bytes = n < 0 ? 0 : (uint64_t)n;
	while (one && m->done < m->turn) /* a late store must not meet the next write */
		sched_yield();
}

static bool write_failed(const struct mutator *m, const struct mutate_write *w)
{
	return w->error || w->written_bytes < m->options->block_bytes;
}

static void count_write(
	const struct mutator *m, const struct mutate_write *w, struct mutate_result *out)
{
	out->writes++;
	out->changed += w->stores > 0;
	out->failed += write_failed(m, w);
	if (!out->first_error)
		out->first_error = w->error;
}

/* The volume's answer to a write that it cannot store, in contrast to a run that cannot go on. */
static bool is_result(int error)
{
	return error == 0 || error == EILSEQ || error == EIO;
}

static int write_all(struct mutator *m, struct mutate_result *out, struct errmsg *why)
{
	const struct mutate_options *o = m->options;
	for (uint64_t i = 0; i < o->count * o->passes; i++) {
		struct mutate_write *w = &out->records[i];
		w->offset_bytes = o->offset_bytes + i % o->count * o->stride_bytes;
		stamp_write(m, m->buffer, i);
		int err = seek_to(m, (off_t)w->offset_bytes);
		if (err < 0)
			return errmsg_set(why, err, "%s: cannot seek: %s", o->path, strerror(-err));
		write_observed(m, w, &out->in_call_ns);
		count_write(m, w, out);
		if (!is_result(w->error))
			return errmsg_set(why, -w->error, "%s: cannot write at %llu: %s", o->path,
				(unsigned long long)w->offset_bytes, strerror(w->error));
	}
	return 0;
}

/* ---- reading back ---- */

static bool block_is_right(const struct mutator *m, uint64_t write, uint64_t last_store)
{
	for (uint64_t s = 0; s < m->sectors; s++) {
		const uint8_t *got = m->buffer + s * MUTATE_SECTOR;
		uint64_t value, stamp;
		memcpy(&value, got, sizeof(value));
		memcpy(&stamp, got + 8, sizeof(stamp));
		if (stamp != write || store_of(m, value) > last_store ||
			memcmp(got + 16, m->expected + s * MUTATE_SECTOR + 16, MUTATE_SECTOR - 16))
			return false;
	}
	return true;
}

/* The storing thread has ended, so the buffer is free to read into. */
static int verify_all(struct mutator *m, struct mutate_result *out)
{
	const struct mutate_options *o = m->options;
	m->expected = mem_alloc_blocks(o->block_bytes);
	if (!m->expected)
		return -ENOMEM;
	fill_pattern(m, m->expected);
	for (uint64_t i = o->count * (o->passes - 1); i < o->count * o->passes; i++) {
		const struct mutate_write *w = &out->records[i];
		if (write_failed(m, w))
			continue;
		ssize_t n = pread(m->fd, m->buffer, o->block_bytes, (off_t)w->offset_bytes);
		out->verified++;
		if (n < 0) {
			out->first_read_error = out->unreadable++ ? out->first_read_error : errno;
			continue;
		}
		out->wrong += (uint64_t)n < o->block_bytes || !block_is_right(m, i, w->last_store);
	}
	return 0;
}

/* ---- the run ---- */

/* With what 0 stands for. */
static struct mutate_options complete(const struct mutate_options *options)
{
	struct mutate_options o = *options;
	o.stride_bytes = o.stride_bytes ? o.stride_bytes : o.block_bytes;
	o.passes = o.passes ? o.passes : 1;
	return o;
}

int mutate_options_check(const struct mutate_options *options, struct errmsg *why)
{
	struct mutate_options o = complete(options);
	if (!o.block_bytes || o.block_bytes % MUTATE_SECTOR || o.block_bytes > MAX_BLOCK)
		return errmsg_set(why, -EINVAL, "a block has a multiple of %u bytes, up to 1 GiB",
			MUTATE_SECTOR);
	if (o.stride_bytes % MUTATE_SECTOR || o.stride_bytes < o.block_bytes)
		return errmsg_set(why, -EINVAL,
			"the stride is a multiple of %u bytes and no less than a block",
			MUTATE_SECTOR);
	if (o.offset_bytes % MUTATE_SECTOR)
		return errmsg_set(
			why, -EINVAL, "the offset is a multiple of %u bytes", MUTATE_SECTOR);
	if (!o.count || o.count > MAX_WRITES / o.passes)
		return errmsg_set(
			why, -EINVAL, "a run has 1 to %llu writes", (unsigned long long)MAX_WRITES);
	if (o.offset_bytes > INT64_MAX || o.stride_bytes > (INT64_MAX - o.offset_bytes) / o.count)
		return errmsg_set(why, -EINVAL, "the last block would end beyond any file");
	return 0;
}

static int open_direct(const char *path, int *fd, struct errmsg *why)
{
	*fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
	if (*fd >= 0)
		return 0;
	int err = -errno;
	if (err == -EINVAL)
		return errmsg_set(why, err, "%s: direct I/O is refused there", path);
	return errmsg_set(why, err, "%s: cannot open: %s", path, strerror(-err));
}

static void mutator_cleanup(struct mutator *m)
{
	cleanup_closep(&m->fd);
	free(m->buffer);
	free(m->expected);
}

/* Write all with the other thread at work, and leave without it. */
static int run_threads(struct mutator *m, struct mutate_result *out, struct errmsg *why)
{
	enum mutate_stores stores = m->options->stores;
	pthread_t thread;
	if (stores != MUTATE_STILL) {
		int err = pthread_create(&thread, NULL,
			stores == MUTATE_ONE_STORE ? store_once_a_write : store_continuously, m);
		if (err)
			return errmsg_set(why, -err, "no thread: %s", strerror(err));
	}
	int ret = write_all(m, out, why);
	m->stop = true;
	if (stores != MUTATE_STILL)
		pthread_join(thread, NULL);
	out->stores = m->done;
	return ret;
}

int mutate_run(const struct mutate_options *options, struct mutate_result *out, struct errmsg *why)
{
	struct mutate_options o = complete(options);
	*out = (struct mutate_result){0};
	int ret = mutate_options_check(options, why);
	if (ret < 0)
		return ret;
	/* Under Yama's ptrace_scope 1 nobody else may read our memory; without Yama it fails. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	cleanup(mutator_cleanup) struct mutator m = {
		.options = &o, .fd = -1, .sectors = o.block_bytes / MUTATE_SECTOR};
	m.buffer = mem_alloc_blocks(o.block_bytes);
	out->records = calloc(o.count * o.passes, sizeof(*out->records));
	if (!m.buffer || !out->records)
		return -ENOMEM;
	ret = open_direct(o.path, &m.fd, why);
	if (ret < 0)
		return ret;
	fill_pattern(&m, m.buffer);
	ret = run_threads(&m, out, why);
	if (ret == 0 && o.verify)
		ret = verify_all(&m, out);
	return ret;
}

void mutate_result_free(struct mutate_result *result)
{
	free(result->records);
	result->records = NULL;
}
