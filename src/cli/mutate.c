/* SPDX-License-Identifier: MIT */
/* The mutator's run: slots, the turn of their transfers, and reading back.
 *
 *	begin -> engine->submit ... look_around (engine->reap), nap ... -> end
 *
 * A look first reads how many stores there were, then asks which transfers have ended: those that
 * have not were in flight while these stores were made (I2). */
#include "cli/mutate.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/mutate_internal.h"

#define MAX_BLOCK      (UINT64_C(1) << 30)
#define MAX_BUFFERS    (UINT64_C(4) << 30)
#define MAX_WRITES     (UINT64_C(1) << 26)
#define NAP_NS         (10 * 1000)
#define TIMER_SLACK_NS 1ul

static const struct mutate_engine_ops *const engines[] = {
	[MUTATE_PSYNC] = &mutate_psync,
	[MUTATE_URING] = &mutate_uring,
	[MUTATE_AIO] = &mutate_aio,
	[MUTATE_POSIXAIO] = &mutate_posixaio,
};
#define ENGINES (sizeof(engines) / sizeof(engines[0]))

const char *mutate_engine_name(enum mutate_engine engine)
{
	return engines[engine]->name;
}

bool mutate_engine_parse(const char *name, enum mutate_engine *out)
{
	for (unsigned i = 0; i < ENGINES; i++) {
		if (strcmp(name, engines[i]->name) == 0) {
			*out = (enum mutate_engine)i;
			return true;
		}
	}
	return false;
}

/* ---- one transfer ---- */

/* Until the storing thread has stored once more: on a busy machine it may be waiting for a CPU, and
 * a write begun then would meet nobody. */
static void await_a_store(struct mutate_slot *slot)
{
	uint64_t done = atomic_load(&slot->done);
	while (atomic_load(&slot->done) == done)
		sched_yield();
}

static void ask_for_a_store(struct mutator *m, struct mutate_slot *slot)
{
	uint64_t random = mutate_mix(m->options->seed ^ mutate_mix(slot->number + 1));
	slot->due_ns = slot->started_ns + random % (m->options->delay_ns + 1);
	slot->random = mutate_mix(random);
	slot->asked++;
}

static bool stores_now(const struct mutator *m, enum mutate_stores stores)
{
	return m->options->stores == stores && (m->reading || !m->options->read);
}

static int begin(
	struct mutator *m, struct mutate_slot *slot, struct mutate_transfer *t, uint64_t number)
{
	const struct mutate_options *o = m->options;
	t->offset_bytes = o->offset_bytes + number % o->count * o->stride_bytes;
	slot->transfer = t;
	slot->number = number;
	slot->ended = false;
	if (!m->reading)
		mutate_stamp(m, slot->buffer, number);
	if (stores_now(m, MUTATE_CONTINUOUS))
		await_a_store(slot);
	slot->started_ns = clock_monotonic_ns();
	slot->certain = slot->begun_before = atomic_load(&slot->begun);
	if (stores_now(m, MUTATE_ONE_STORE))
		ask_for_a_store(m, slot);
	int err = m->engine->submit(m, slot);
	if (err == 0 && slot->ended) /* a call that waited */
		slot->certain = atomic_load(&slot->done);
	return err;
}

static void end(struct mutator *m, struct mutate_slot *slot, struct mutate_tally *tally)
{
	struct mutate_transfer *t = take_ptr(&slot->transfer);
	t->time_ns = clock_monotonic_ns() - slot->started_ns;
	tally->time_ns += t->time_ns;
	t->last_store = atomic_load(&slot->begun);
	t->stores = slot->certain > slot->begun_before ? slot->certain - slot->begun_before : 0;
	t->error = slot->result < 0 ? (int)-slot->result : 0;
	t->done_bytes = slot->result < 0 ? 0 : (uint64_t)slot->result;
	tally->total++;
	tally->changed += t->stores > 0;
	tally->failed += t->error || t->done_bytes < m->options->block_bytes;
	if (!tally->first_error)
		tally->first_error = t->error;
	while (slot->done < slot->asked) /* a late store must not meet the next transfer */
		sched_yield();
}

/* ---- all of them ---- */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

static int look_around(struct mutator *m)
{
	for (unsigned i = 0; i < m->depth; i++)
		m->slots[i].seen = atomic_load(&m->slots[i].done);
	int err = m->engine->reap ? m->engine->reap(m) : 0;
	for (unsigned i = 0; i < m->depth; i++)
		if (m->slots[i].transfer && !m->slots[i].ended)
			m->slots[i].certain = m->slots[i].seen;
	return err;
}

/* The volume's answer to what it cannot store or read, in contrast to a run that cannot go on. */
static bool is_result(int error)
{
	return error == 0 || error == EILSEQ || error == EIO;
}

static int say_why(const struct mutator *m, const struct mutate_transfer *t, struct errmsg *why)
{
	if (is_result(t->error))
		return 0;
	return errmsg_set(why, -t->error, "%s: cannot %s at %llu: %s", m->options->path,
		m->reading ? "read" : "write", (unsigned long long)t->offset_bytes,
		strerror(t->error));
}

/* A batch: what is to be transferred, and how far it is. */
struct batch {
	struct mutate_transfer *transfers; /* borrowed */
	uint64_t count, begun, in_flight;
	struct mutate_tally *tally; /* borrowed */
	int err;                    /* the first; nothing is begun after it */
};

/* The block of the next transfer is still under way, of an earlier pass: the later one must be the
 * one that stays. */
static bool must_wait(const struct mutator *m, const struct batch *b)
{
	uint64_t blocks = m->options->count;
	for (unsigned i = 0; i < m->depth; i++)
		if (m->slots[i].transfer && m->slots[i].number % blocks == b->begun % blocks)
			return true;
	return false;
}

static void fill_slots(struct mutator *m, struct batch *b, struct errmsg *why)
{
	for (unsigned i = 0; i < m->depth && b->begun < b->count && !b->err; i++) {
		struct mutate_slot *slot = &m->slots[i];
		if (slot->transfer)
			continue;
		if (must_wait(m, b))
			return;
		int err = begin(m, slot, &b->transfers[b->begun], b->begun);
		if (err < 0) {
			slot->transfer = NULL;
			b->err = errmsg_set(why, err, "%s: cannot submit: %s", m->options->path,
				strerror(-err));
			return;
		}
		b->begun++;
		b->in_flight++;
	}
}

static bool empty_slots(struct mutator *m, struct batch *b, struct errmsg *why)
{
	bool any = false;
	for (unsigned i = 0; i < m->depth; i++) {
		struct mutate_slot *slot = &m->slots[i];
		const struct mutate_transfer *t = slot->transfer;
		if (!t || !slot->ended)
			continue;
		end(m, slot, b->tally);
		int err = say_why(m, t, why);
		b->err = b->err ? b->err : err;
		b->in_flight--;
		any = true;
	}
	return any;
}

/* What was begun is waited for also after an error: its buffer is not ours until it has ended. */
static int transfer_all(struct mutator *m, struct mutate_transfer *transfers, uint64_t count,
	struct mutate_tally *tally, struct errmsg *why)
{
	struct batch b = {.transfers = transfers, .count = count, .tally = tally};
	uint64_t cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	while (b.in_flight || (b.begun < b.count && !b.err)) {
		fill_slots(m, &b, why);
		int err = look_around(m);
		if (err < 0) /* closing the engine waits for what is in flight */
			return errmsg_set(why, err, "%s: %s", m->options->path, strerror(-err));
		if (!empty_slots(m, &b, why) && b.in_flight)
			nap();
	}
	tally->cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	return b.err;
}

/* ---- reading back ---- */

static bool failed(const struct mutator *m, const struct mutate_transfer *t)
{
	return t->error || t->done_bytes < m->options->block_bytes;
}

/* The storing thread has ended, so a buffer is free to read into. True where the block is right. */
static bool verify_block(struct mutator *m, uint64_t number, const struct mutate_transfer *w,
	struct mutate_result *out)
{
	const struct mutate_options *o = m->options;
	uint8_t *buffer = m->slots[0].buffer;
	ssize_t n = pread(m->fd, buffer, o->block_bytes, (off_t)w->offset_bytes);
	out->verified++;
	if (n < 0) {
		out->first_read_error = out->unreadable++ ? out->first_read_error : errno;
		return false;
	}
	bool right = (uint64_t)n == o->block_bytes &&
		     mutate_block_is_right(m, buffer, number, w->last_store);
	out->wrong += !right;
	return right;
}

/* How many reads of that block failed, in all passes. */
static uint64_t count_failed_reads(
	const struct mutator *m, const struct mutate_transfer *reads, uint64_t block)
{
	uint64_t n = 0;
	for (unsigned pass = 0; pass < m->options->passes; pass++)
		n += failed(m, &reads[pass * m->options->count + block]);
	return n;
}

/* @reads: NULL, or what was read meanwhile. */
static int verify_all(struct mutator *m, const struct mutate_transfer *writes, uint64_t written,
	const struct mutate_transfer *reads, struct mutate_result *out)
{
	uint64_t count = m->options->count;
	m->expected = mem_alloc_blocks(m->options->block_bytes);
	if (!m->expected)
		return -ENOMEM;
	mutate_fill_pattern(m, m->expected);
	for (uint64_t i = written - count; i < written; i++) {
		if (failed(m, &writes[i]))
			continue;
		bool right = verify_block(m, i, &writes[i], out);
		if (right && reads)
			out->false_errors += count_failed_reads(m, reads, i % count);
	}
	return 0;
}

/* ---- options ---- */

/* With what 0 stands for. */
static struct mutate_options complete(const struct mutate_options *options)
{
	struct mutate_options o = *options;
	o.stride_bytes = o.stride_bytes ? o.stride_bytes : o.block_bytes;
	o.passes = o.passes ? o.passes : 1;
	o.depth = o.depth ? o.depth : 1;
	return o;
}

static int check_engine(const struct mutate_options *o, struct errmsg *why)
{
	const struct mutate_engine_ops *engine = engines[o->engine];
	if (o->depth > MUTATE_MAX_DEPTH || o->block_bytes > MAX_BUFFERS / o->depth)
		return errmsg_set(why, -EINVAL,
			"up to %u transfers are in flight, with 4 GiB of buffers",
			MUTATE_MAX_DEPTH);
	if (o->depth > 1 && !engine->deep)
		return errmsg_set(why, -EINVAL, "%s has one transfer in flight", engine->name);
	if (o->call != MUTATE_PWRITE && o->engine != MUTATE_PSYNC)
		return errmsg_set(why, -EINVAL, "only psync has a choice of calls");
	if (o->vectored && !engine->vectored)
		return errmsg_set(why, -EINVAL, "%s has no vectored writes of its own%s",
			engine->name, o->engine == MUTATE_PSYNC ? " (choose a call)" : "");
	if ((o->fixed || o->sqpoll) && !engine->fixed)
		return errmsg_set(why, -EINVAL,
			"%s has neither registered buffers nor a polling thread", engine->name);
	if (o->fixed && o->vectored)
		return errmsg_set(why, -EINVAL, "a registered buffer is written in one piece");
	return 0;
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
	return check_engine(&o, why);
}

/* ---- the run ---- */

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

/* The kernel waits in submission for a write that extends its file, and nobody sees it under way:
 * engines that do not wait get the file's size before. */
static int extend_file(const struct mutator *m, struct errmsg *why)
{
	const struct mutate_options *o = m->options;
	uint64_t end = o->offset_bytes + (o->count - 1) * o->stride_bytes + o->block_bytes;
	struct stat st;
	if (!m->engine->deep || fstat(m->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		(uint64_t)st.st_size >= end || ftruncate(m->fd, (off_t)end) == 0)
		return 0;
	return errmsg_set(why, -errno, "%s: cannot extend it: %s", o->path, strerror(errno));
}

static void cut_buffer(const struct mutator *m, struct mutate_slot *slot)
{
	unsigned n = m->sectors < MUTATE_MAX_PIECES ? (unsigned)m->sectors : MUTATE_MAX_PIECES;
	uint64_t part = m->sectors / n * MUTATE_SECTOR;
	for (unsigned i = 0; i < n; i++)
		slot->iov[i] = (struct iovec){slot->buffer + i * part, part};
	slot->iov[n - 1].iov_len = m->options->block_bytes - (n - 1) * part;
	slot->pieces = n;
}

static int make_slots(struct mutator *m)
{
	size_t bytes = m->depth * sizeof(*m->slots);
	if (posix_memalign((void **)&m->slots, _Alignof(struct mutate_slot), bytes))
		return -ENOMEM;
	memset(m->slots, 0, bytes);
	for (unsigned i = 0; i < m->depth; i++) {
		m->slots[i].buffer = mem_alloc_blocks(m->options->block_bytes);
		if (!m->slots[i].buffer)
			return -ENOMEM;
		mutate_fill_pattern(m, m->slots[i].buffer);
		cut_buffer(m, &m->slots[i]);
	}
	return 0;
}

static void mutator_cleanup(struct mutator *m)
{
	if (m->engine_state)
		m->engine->close(m);
	cleanup_closep(&m->fd);
	for (unsigned i = 0; m->slots && i < m->depth; i++)
		free(m->slots[i].buffer);
	free(m->slots);
	free(m->expected);
}

/* Transfer all with the other thread at work, and leave without it. */
static int transfer_raced(struct mutator *m, struct mutate_result *out, uint64_t count,
	struct mutate_tally *tally, struct errmsg *why)
{
	enum mutate_stores stores = m->options->stores;
	pthread_t thread;
	if (stores != MUTATE_STILL) {
		int err = pthread_create(&thread, NULL,
			stores == MUTATE_ONE_STORE ? mutate_store_when_asked
						   : mutate_store_continuously,
			m);
		if (err)
			return errmsg_set(why, -err, "no thread: %s", strerror(err));
	}
	int ret = transfer_all(m, out->records, count, tally, why);
	m->stop = true;
	if (stores != MUTATE_STILL)
		pthread_join(thread, NULL);
	for (unsigned i = 0; i < m->depth; i++)
		out->stores += m->slots[i].done;
	return ret;
}

static int run_writes(struct mutator *m, struct mutate_result *out, struct errmsg *why)
{
	uint64_t count = m->options->count * m->options->passes;
	int err = transfer_raced(m, out, count, &out->writes, why);
	return err < 0 || !m->options->verify ? err : verify_all(m, out->records, count, NULL, out);
}

static int run_reads(struct mutator *m, struct mutate_result *out, struct errmsg *why)
{
	const struct mutate_options *o = m->options;
	cleanup(cleanup_freep) struct mutate_transfer *writes = calloc(o->count, sizeof(*writes));
	if (!writes)
		return -ENOMEM;
	int err = transfer_all(m, writes, o->count, &out->writes, why);
	if (err < 0)
		return err;
	m->reading = true;
	err = transfer_raced(m, out, o->count * o->passes, &out->reads, why);
	return err < 0 ? err : verify_all(m, writes, o->count, out->records, out);
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
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	cleanup(mutator_cleanup) struct mutator m = {.options = &o,
		.engine = engines[o.engine],
		.fd = -1,
		.depth = o.depth,
		.sectors = o.block_bytes / MUTATE_SECTOR};
	out->records = calloc(o.count * o.passes, sizeof(*out->records));
	if (!out->records || make_slots(&m) < 0)
		return -ENOMEM;
	ret = open_direct(o.path, &m.fd, why);
	if (ret == 0)
		ret = extend_file(&m, why);
	if (ret == 0 && m.engine->open)
		ret = m.engine->open(&m, why);
	if (ret < 0)
		return ret;
	return o.read ? run_reads(&m, out, why) : run_writes(&m, out, why);
}

void mutate_result_free(struct mutate_result *result)
{
	free(result->records);
	result->records = NULL;
}
