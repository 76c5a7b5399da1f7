/* SPDX-License-Identifier: MIT */
/* The io_uring engine on real files: transfers, errors, alarms. Wakes, threads: test_uring_wake. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include "uring_rig.h"

#define MANY 500

static void write_and_read_many(struct rig *rig)
{
	static struct op ops[MANY];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(MANY * BLOCK_BYTES);
	rig_make_member(rig, MANY * BLOCK_BYTES);
	fill_sectors(buf, MANY * BLOCK_BYTES, 0, 7);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned at = (i * 263 + 11) % MANY * BLOCK_BYTES; /* 263 is coprime to MANY */
		op_transfer(&ops[i], IO_WRITE, rig->file, at, buf + at, BLOCK_BYTES);
	}
	ops_wait(ops, MANY);
	memset(buf, 0xEE, MANY * BLOCK_BYTES);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(ops[i].err, 0);
		unsigned at = i * BLOCK_BYTES;
		op_transfer(&ops[i], IO_READ, rig->file, at, buf + at, BLOCK_BYTES);
	}
	ops_wait(ops, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(ops[i].err, 0);
		assert_int_equal(ops[i].times, 1);
	}
	assert_true(holds_sectors(buf, MANY * BLOCK_BYTES, 0, 7));
}

static void more_requests_than_the_ring_holds_all_arrive(void **unused)
{
	(void)unused;
	on_each_medium(8, write_and_read_many);
	on_each_medium(2, write_and_read_many);
}

static void send_vector(
	struct op *op, enum io_kind kind, struct rig *rig, struct iovec *iov, unsigned count)
{
	*op = (struct op){.req = {.kind = kind,
				  .file = rig->file,
				  .offset_bytes = BLOCK_BYTES,
				  .iov = iov,
				  .iov_count = count}};
	op_submit(rig->io, op);
}

/* Pieces of unlike length, in memory in the reverse order of the file. */
static void write_and_read_vectors(struct rig *rig)
{
	enum { PIECES = IO_MAX_IOV, UNIT = 1024 };
	struct iovec iov[PIECES];
	struct op op;
	size_t len = 0, total = 2 * PIECES * UNIT;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(total);
	cleanup(cleanup_freep) char *flat = mem_alloc_blocks(total);
	rig_make_member(rig, total + BLOCK_BYTES);
	for (unsigned i = 0; i < PIECES; i++) {
		size_t piece = i % 3 == 0 ? UNIT : 2 * UNIT;
		len += piece;
		iov[i] = (struct iovec){.iov_base = buf + total - len, .iov_len = piece};
		fill_sectors(iov[i].iov_base, piece, (len - piece) / 512, 1);
	}
	send_vector(&op, IO_WRITE, rig, iov, PIECES);
	assert_int_equal(op_wait(&op), 0);
	assert_int_equal(op_now(IO_READ, rig->file, BLOCK_BYTES, flat, len), 0);
	assert_true(holds_sectors(flat, len, 0, 1));
	memset(buf, 0, total);
	send_vector(&op, IO_READ, rig, iov, PIECES);
	assert_int_equal(op_wait(&op), 0);
	for (size_t i = 0, at = 0; i < PIECES; at += iov[i++].iov_len)
		assert_true(holds_sectors(iov[i].iov_base, iov[i].iov_len, at / 512, 1));
}

static void vectors_arrive_in_their_order(void **unused)
{
	(void)unused;
	on_each_medium(8, write_and_read_vectors);
}

static void use_registered_memory(struct rig *rig)
{
	enum { LEN = 16 * BLOCK_BYTES };
	char *buf = mem_alloc_blocks(3 * LEN); /* announced: the first and the last third */
	int one = io_register_memory(rig->io, buf, LEN);
	int two = io_register_memory(rig->io, buf + 2 * LEN, LEN);
	print_message("registered: %d %d\n", one, two);
	rig_make_member(rig, 3 * LEN);
	fill_sectors(buf, 3 * LEN, 0, 3);
	struct op ops[3];
	for (unsigned i = 0; i < 3; i++) /* the second one straddles a border */
		op_transfer(&ops[i], IO_WRITE, rig->file, i * LEN, buf + i * LEN, LEN);
	ops_wait(ops, 3);
	memset(buf, 0, 3 * LEN);
	size_t half = LEN / 2;
	op_transfer(&ops[0], IO_READ, rig->file, 0, buf, half);
	op_transfer(&ops[1], IO_READ, rig->file, half, buf + half, 2 * LEN);
	op_transfer(&ops[2], IO_READ, rig->file, half + 2 * LEN, buf + half + 2 * LEN, half);
	ops_wait(ops, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ops[i].err, 0);
	assert_true(holds_sectors(buf, 3 * LEN, 0, 3));
	io_close(rig->file);
	rig->file = NULL;
	io_engine_free(rig->io); /* before the memory, as the contract says */
	rig->io = NULL;
	free(buf);
}

static void registered_memory_carries_the_same_bytes(void **unused)
{
	(void)unused;
	on_each_medium(8, use_registered_memory);
}

/* How many of the requests that were submitted have their result without the kernel's threads. */
static unsigned count_copied(struct rig *rig)
{
	unsigned n = 0;
	list_for_each (at, &uring_engine_of(rig->io)->settled)
		n++;
	return n;
}

/* @kind: all of a member in memory, in pieces, in one turn. Returns how many were copied. */
static unsigned transfer_in_one_turn(struct rig *rig, enum io_kind kind, char *buf)
{
	enum { PIECES = 16, LEN = 64 << 10 };
	struct op ops[PIECES];
	for (unsigned i = 0; i < PIECES; i++)
		op_transfer(&ops[i], kind, rig->file, i * LEN, buf + i * LEN, LEN);
	unsigned copied = count_copied(rig);
	ops_wait(ops, PIECES);
	for (unsigned i = 0; i < PIECES; i++)
		assert_int_equal(ops[i].err, 0);
	return copied;
}

static void of_much_that_is_read_from_memory_the_owner_copies_a_part(void **unused)
{
	(void)unused;
	enum { LEN = 1 << 20 };
	struct rig rig;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	rig_open(&rig, "/dev/shm", 32);
	rig_make_member(&rig, LEN);
	fill_sectors(buf, LEN, 0, 5);
	assert_int_equal(transfer_in_one_turn(&rig, IO_WRITE, buf), 16);
	for (unsigned turn = 0; turn < 2; turn++) {
		memset(buf, 0, LEN);
		assert_int_equal(transfer_in_one_turn(&rig, IO_READ, buf), 4);
		assert_true(holds_sectors(buf, LEN, 0, 5));
	}
	rig_close(&rig);
}

static bool file_holds(struct rig *rig, const void *wanted, size_t len)
{
	cleanup(cleanup_freep) char *got = mem_alloc_blocks(len);
	int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = pread(fd, got, len, 0);
	close(fd);
	return n == (ssize_t)len && memcmp(got, wanted, len) == 0;
}

/* Large enough that it is not copied at once where the file is in memory. */
static void push_a_write(struct rig *rig)
{
	enum { LEN = 64 * BLOCK_BYTES };
	struct op op;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	rig_make_member(rig, LEN);
	fill_sectors(buf, LEN, 0, 5);
	assert_int_equal(io_run(rig->io, false), 0);
	op_transfer(&op, IO_WRITE, rig->file, 0, buf, LEN);
	io_push(rig->io);
	for (unsigned i = 0; i < 5000 && !file_holds(rig, buf, LEN); i++)
		poll(NULL, 0, 1);
	assert_true(file_holds(rig, buf, LEN));
	assert_int_equal(op.times, 0);
	assert_int_equal(op_wait(&op), 0);
}

static void what_is_pushed_is_written_before_the_next_run(void **unused)
{
	(void)unused;
	on_each_medium(8, push_a_write);
}

static void reach_beyond_the_end(struct rig *rig)
{
	struct op ops[3];
	struct stat st;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(2 * BLOCK_BYTES);
	rig_make_member(rig, 4 * BLOCK_BYTES);
	op_transfer(&ops[0], IO_READ, rig->file, 3 * BLOCK_BYTES, buf, 2 * BLOCK_BYTES);
	op_transfer(&ops[1], IO_WRITE, rig->file, 4 * BLOCK_BYTES, buf, BLOCK_BYTES);
	op_transfer(&ops[2], IO_READ, rig->file, UINT64_MAX - 4095, buf, BLOCK_BYTES);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ops[i].times, 0); /* never from io_submit() */
	ops_wait(ops, 3);
	assert_int_equal(ops[0].err, -EIO);
	assert_int_equal(ops[1].err, -ENOSPC);
	assert_int_equal(ops[2].err, -EIO);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_size, 4 * BLOCK_BYTES);
}

static void a_request_beyond_the_end_fails_and_changes_nothing(void **unused)
{
	(void)unused;
	on_each_medium(8, reach_beyond_the_end);
}

static void read_what_was_cut_off(struct rig *rig)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(4 * BLOCK_BYTES);
	rig_make_member(rig, 4 * BLOCK_BYTES);
	assert_int_equal(truncate(rig->path, 2 * BLOCK_BYTES), 0);
	assert_int_equal(op_now(IO_READ, rig->file, 0, buf, 4 * BLOCK_BYTES), -EIO);
	assert_int_equal(op_now(IO_READ, rig->file, 3 * BLOCK_BYTES, buf, BLOCK_BYTES), -EIO);
	assert_int_equal(op_now(IO_READ, rig->file, 0, buf, 2 * BLOCK_BYTES), 0);
}

static void a_member_that_shrank_gives_an_error_and_not_half_the_bytes(void **unused)
{
	(void)unused;
	on_each_medium(8, read_what_was_cut_off);
}

static void write_from_forbidden_memory(struct rig *rig)
{
	char *buf = mmap(
		NULL, 4 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(buf, MAP_FAILED);
	assert_int_equal(mprotect(buf + 2 * BLOCK_BYTES, 2 * BLOCK_BYTES, PROT_NONE), 0);
	rig_make_member(rig, 4 * BLOCK_BYTES);
	assert_int_equal(op_now(IO_WRITE, rig->file, 0, buf, 4 * BLOCK_BYTES), -EFAULT);
	assert_int_equal(op_now(IO_WRITE, rig->file, 0, buf, 2 * BLOCK_BYTES), 0);
	munmap(buf, 4 * BLOCK_BYTES);
}

static void memory_that_cannot_be_read_fails_its_request_alone(void **unused)
{
	(void)unused;
	on_each_medium(8, write_from_forbidden_memory);
}

static void flush_among_writes(struct rig *rig)
{
	struct op write, flush;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	op_transfer(&write, IO_WRITE, rig->file, 0, buf, BLOCK_BYTES);
	op_transfer(&flush, IO_FLUSH, rig->file, 0, NULL, 0);
	assert_int_equal(op_wait(&write), 0);
	assert_int_equal(op_wait(&flush), 0);
}

static void a_flush_completes_beside_writes(void **unused)
{
	(void)unused;
	on_each_medium(8, flush_among_writes);
}

/* A chain: each done() submits the next request, which reuses its memory. */
struct chain {
	struct op op;
	unsigned left;
};

static void link_done(struct io_req *req, int err)
{
	struct chain *chain = container_of(req, struct chain, op.req);
	assert_int_equal(err, 0);
	if (chain->left-- > 1)
		io_submit(req->file->engine, req);
}

static void submit_from_done(struct rig *rig)
{
	struct chain chain = {.left = 100};
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	chain.op.iov = (struct iovec){.iov_base = buf, .iov_len = BLOCK_BYTES};
	chain.op.req = (struct io_req){.kind = IO_WRITE,
		.file = rig->file,
		.iov = &chain.op.iov,
		.iov_count = 1,
		.done = link_done};
	io_submit(rig->io, &chain.op.req);
	int ran = 0;
	while (chain.left)
		ran += io_run(rig->io, true);
	assert_int_equal(ran, 100);
}

static void done_may_submit_its_request_again(void **unused)
{
	(void)unused;
	on_each_medium(2, submit_from_done);
}

static void alarms_fire_in_order_and_never_early(void **unused)
{
	enum { ALARMS = 20 };
	static const unsigned order[] = {7, 2, 9, 4, 0, 5, 1, 8, 3, 6};
	(void)unused;
	struct op ops[ALARMS];
	struct io_engine *io = NULL;
	uint64_t least_late_ns = UINT64_MAX;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	uint64_t start_ns = io_now_ns(io);
	for (unsigned i = 0; i < ALARMS; i++) /* two of each due time */
		op_alarm(&ops[i], io, start_ns + (1 + order[i % 10]) * NS_PER_MS);
	ops_wait(ops, ALARMS);
	for (unsigned i = 0; i < ALARMS; i++) {
		assert_int_equal(ops[i].err, 0);
		assert_true(ops[i].done_ns >= ops[i].req.due_ns);
		least_late_ns = min_u64(least_late_ns, ops[i].done_ns - ops[i].req.due_ns);
		for (unsigned k = 0; k < ALARMS; k++) {
			if (ops[i].req.due_ns < ops[k].req.due_ns)
				assert_true(ops[i].place < ops[k].place);
		}
	}
	print_message("least late by %llu ns\n", (unsigned long long)least_late_ns);
	assert_true(least_late_ns < NS_PER_MS);
	io_engine_free(io);
}

static void alarms_are_not_early_for_who_polls(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	for (unsigned i = 0; i < 10; i++) {
		op_alarm(&op, io, io_now_ns(io) + NS_PER_MS);
		while (op.err == OP_PENDING)
			assert_true(io_run(io, false) >= 0);
		assert_true(op.done_ns >= op.req.due_ns);
	}
	io_engine_free(io);
}

static void an_alarm_of_the_past_fires_at_once_but_not_from_submit(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	op_alarm(&op, io, 1);
	assert_int_equal(op.times, 0);
	assert_int_equal(io_run(io, false), 1);
	assert_int_equal(op.times, 1);
	io_engine_free(io);
}

static void a_run_that_may_not_wait_returns_0_where_nothing_is_done(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	assert_int_equal(io_run(io, false), 0);
	op_alarm(&op, io, io_now_ns(io) + 60 * NS_PER_S);
	assert_int_equal(io_run(io, false), 0);
	io_engine_free(io); /* forgets the alarm */
	assert_int_equal(op.times, 0);
}

static void signal_arrived(int number)
{
	(void)number;
}

static void a_signal_does_not_end_a_wait(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	struct sigaction action = {.sa_handler = signal_arrived}, old;
	struct itimerval every_ms = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &every_ms, NULL);
	op_alarm(&op, io, io_now_ns(io) + 20 * NS_PER_MS);
	int ran = io_run(io, true);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(ran, 1);
	assert_int_equal(op.err, 0);
	io_engine_free(io);
}

static void a_depth_that_is_no_power_of_two_is_refused(void **unused)
{
	(void)unused;
	static const unsigned depths[] = {0, 1, 3, 100, 65536};
	for (unsigned i = 0; i < 5; i++) {
		struct io_engine *io = NULL;
		struct errmsg why = {""};
		assert_int_equal(uring_engine_new(depths[i], &io, &why), -EINVAL);
		assert_true(why.text[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_requests_than_the_ring_holds_all_arrive),
		cmocka_unit_test(vectors_arrive_in_their_order),
		cmocka_unit_test(registered_memory_carries_the_same_bytes),
		cmocka_unit_test(of_much_that_is_read_from_memory_the_owner_copies_a_part),
		cmocka_unit_test(what_is_pushed_is_written_before_the_next_run),
		cmocka_unit_test(a_request_beyond_the_end_fails_and_changes_nothing),
		cmocka_unit_test(a_member_that_shrank_gives_an_error_and_not_half_the_bytes),
		cmocka_unit_test(memory_that_cannot_be_read_fails_its_request_alone),
		cmocka_unit_test(a_flush_completes_beside_writes),
		cmocka_unit_test(done_may_submit_its_request_again),
		cmocka_unit_test(alarms_fire_in_order_and_never_early),
		cmocka_unit_test(alarms_are_not_early_for_who_polls),
		cmocka_unit_test(an_alarm_of_the_past_fires_at_once_but_not_from_submit),
		cmocka_unit_test(a_run_that_may_not_wait_returns_0_where_nothing_is_done),
		cmocka_unit_test(a_signal_does_not_end_a_wait),
		cmocka_unit_test(a_depth_that_is_no_power_of_two_is_refused),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
