/* SPDX-License-Identifier: MIT */
/* A member that hangs: its requests end at their deadline, and what the medium still delivers after
 * that touches nobody's memory. */
#include "hang_rig.h"
#include "uring_rig.h"

#define TIMEOUT_NS (200 * NS_PER_MS)
#define MANY       8u

static struct hang_rig hang;

struct hung {
	struct io_engine *io;
	struct io_file *file;
	char *memory; /* MANY blocks */
};

static void hung_open(struct hung *h, bool registered)
{
	struct errmsg why = {""};
	*h = (struct hung){.memory = mmap(NULL, MANY * BLOCK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
	assert_ptr_not_equal(h->memory, MAP_FAILED);
	memset(h->memory, 1, MANY * BLOCK_BYTES);
	assert_int_equal(uring_engine_new(16, &h->io, &why), 0);
	if (io_open(h->io, hang.path, 0, 0, &h->file, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(io_file_size_bytes(h->file), HANG_SIZE);
	if (registered && io_register_memory(h->io, h->memory, MANY * BLOCK_BYTES) < 0)
		print_message("memory cannot be registered here\n");
	io_set_timeout(h->file, TIMEOUT_NS);
}

static void hung_close(struct hung *h)
{
	io_close(h->file);
	io_engine_free(h->io);
	munmap(h->memory, MANY * BLOCK_BYTES);
}

static void submit_reads(struct hung *h, struct op *ops)
{
	for (unsigned i = 0; i < MANY; i++)
		op_transfer(&ops[i], IO_READ, h->file, i * BLOCK_BYTES, h->memory + i * BLOCK_BYTES,
			BLOCK_BYTES);
}

static bool all_bytes_are(const char *memory, size_t len_bytes, unsigned char byte)
{
	for (size_t i = 0; i < len_bytes; i++) {
		if ((unsigned char)memory[i] != byte)
			return false;
	}
	return true;
}

/* Let the kernel deliver what it still has, and the engine take it. */
static void let_late_ones_come(struct hung *h)
{
	struct uring_engine *e = uring_engine_of(h->io);
	struct op alarm;
	hang_release(&hang);
	for (unsigned i = 0; i < 200 && e->orphan_count; i++) {
		op_alarm(&alarm, h->io, io_now_ns(h->io) + 10 * NS_PER_MS);
		op_wait(&alarm);
	}
	assert_int_equal(e->orphan_count, 0);
}

static void hung_reads_end_and_leave_memory_alone(bool registered)
{
	struct hung h;
	struct op ops[MANY];
	hung_open(&h, registered);
	assert_int_equal(op_now(IO_READ, h.file, 0, h.memory, BLOCK_BYTES), 0);
	assert_true(all_bytes_are(h.memory, BLOCK_BYTES, HANG_BYTE));
	hang.shared->hangs = true;
	uint64_t start_ns = io_now_ns(h.io);
	submit_reads(&h, ops);
	ops_wait(ops, MANY);
	assert_true(io_now_ns(h.io) - start_ns >= TIMEOUT_NS);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(ops[i].err, -ETIMEDOUT);
	memset(h.memory, 0x5A, MANY * BLOCK_BYTES); /* it has a new use */
	let_late_ones_come(&h);
	assert_true(all_bytes_are(h.memory, MANY * BLOCK_BYTES, 0x5A));
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(ops[i].times, 1);
	/* The file is as good as new with a new timeout, and reads reach the memory again. */
	assert_int_equal(op_now(IO_READ, h.file, 0, h.memory, BLOCK_BYTES), -ETIMEDOUT);
	io_set_timeout(h.file, TIMEOUT_NS);
	assert_int_equal(op_now(IO_READ, h.file, 0, h.memory, BLOCK_BYTES), 0);
	assert_true(all_bytes_are(h.memory, BLOCK_BYTES, HANG_BYTE));
	hung_close(&h);
}

static void hung_reads_into_registered_memory_end_and_leave_it_alone(void **unused)
{
	(void)unused;
	hung_reads_end_and_leave_memory_alone(true);
}

static void hung_reads_into_any_memory_end_and_leave_it_alone(void **unused)
{
	(void)unused;
	hung_reads_end_and_leave_memory_alone(false);
}

static void hung_writes_and_flushes_end_and_later_requests_do_at_once(void **unused)
{
	(void)unused;
	struct hung h;
	struct op write, flush, later;
	hung_open(&h, true);
	hang.shared->hangs = true;
	op_transfer(&write, IO_WRITE, h.file, 0, h.memory, BLOCK_BYTES);
	op_transfer(&flush, IO_FLUSH, h.file, 0, NULL, 0);
	assert_int_equal(op_wait(&write), -ETIMEDOUT);
	assert_int_equal(op_wait(&flush), -ETIMEDOUT);
	uint64_t start_ns = io_now_ns(h.io);
	op_transfer(&later, IO_WRITE, h.file, 0, h.memory, BLOCK_BYTES);
	assert_int_equal(op_wait(&later), -ETIMEDOUT);
	assert_true(io_now_ns(h.io) - start_ns < TIMEOUT_NS);
	let_late_ones_come(&h);
	assert_int_equal(write.times, 1);
	hung_close(&h);
}

static void other_files_go_on_beside_a_hung_one(void **unused)
{
	(void)unused;
	struct hung h;
	struct op ops[MANY];
	struct io_file *other;
	struct errmsg why = {""};
	char path[] = "/tmp/stablefs-other-XXXXXX";
	cleanup(cleanup_closep) int fd = mkstemp(path);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	hung_open(&h, true);
	assert_int_equal(io_open(h.io, path, 0, 0, &other, &why), 0);
	io_set_timeout(other, 30 * NS_PER_S);
	unlink(path);
	hang.shared->hangs = true;
	submit_reads(&h, ops);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	memset(buf, 7, BLOCK_BYTES);
	do { /* also while the others' time runs out */
		assert_int_equal(op_now(IO_WRITE, other, 0, buf, BLOCK_BYTES), 0);
		assert_int_equal(op_now(IO_READ, other, 0, buf, BLOCK_BYTES), 0);
	} while (ops[MANY - 1].err == OP_PENDING);
	ops_wait(ops, MANY);
	assert_int_equal(ops[0].err, -ETIMEDOUT);
	assert_int_equal(op_now(IO_READ, other, 0, buf, BLOCK_BYTES), 0);
	assert_true(all_bytes_are(buf, BLOCK_BYTES, 7));
	io_close(other);
	let_late_ones_come(&h);
	hung_close(&h);
}

static void a_read_into_shared_memory_waits_for_its_medium(void **unused)
{
	(void)unused;
	struct hung h;
	struct op op, alarm;
	hung_open(&h, false);
	char *shared =
		mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (io_register_memory(h.io, shared, BLOCK_BYTES) < 0)
		skip(); /* it is staged then */
	hang.shared->hangs = true;
	op_transfer(&op, IO_READ, h.file, 0, shared, BLOCK_BYTES);
	op_alarm(&alarm, h.io, io_now_ns(h.io) + 2 * TIMEOUT_NS);
	assert_int_equal(op_wait(&alarm), 0);
	assert_int_equal(op.err, OP_PENDING);
	hang_release(&hang);
	assert_int_equal(op_wait(&op), 0);
	assert_true(all_bytes_are(shared, BLOCK_BYTES, HANG_BYTE));
	hung_close(&h);
	munmap(shared, BLOCK_BYTES);
}

static void a_file_with_hung_requests_can_be_closed_and_its_engine_freed(void **unused)
{
	(void)unused;
	struct hung h;
	struct op ops[MANY];
	hung_open(&h, true);
	hang.shared->hangs = true;
	submit_reads(&h, ops);
	ops_wait(ops, MANY);
	uint64_t start_ns = clock_monotonic_ns();
	io_close(h.file);
	io_engine_free(h.io);
	assert_true(clock_monotonic_ns() - start_ns < 10 * NS_PER_S);
	memset(h.memory, 0x5A, MANY * BLOCK_BYTES);
	hang_release(&hang);
	struct timespec nap = {.tv_nsec = 50000000};
	nanosleep(&nap, NULL);
	assert_true(all_bytes_are(h.memory, MANY * BLOCK_BYTES, 0x5A));
	munmap(h.memory, MANY * BLOCK_BYTES);
}

static void a_closed_file_stays_locked_until_its_last_request_came_home(void **unused)
{
	(void)unused;
	struct hung h;
	struct op op;
	struct io_file *again = NULL;
	hung_open(&h, true);
	io_close(h.file);
	assert_int_equal(io_open(h.io, hang.path, IO_OPEN_LOCK, 0, &h.file, NULL), 0);
	io_set_timeout(h.file, TIMEOUT_NS);
	hang.shared->hangs = true;
	op_transfer(&op, IO_WRITE, h.file, 0, h.memory, BLOCK_BYTES);
	assert_int_equal(op_wait(&op), -ETIMEDOUT);
	io_close(h.file);
	uring_engine_set_lock_wait(h.io, 0);
	assert_int_equal(io_open(h.io, hang.path, IO_OPEN_LOCK, 0, &again, NULL), -EBUSY);
	let_late_ones_come(&h);
	assert_int_equal(io_open(h.io, hang.path, IO_OPEN_LOCK, 0, &again, NULL), 0);
	h.file = again;
	hung_close(&h);
}

/* All ways that a read can take, on real media, with all sizes; nothing hangs. */
static void transfers_with_a_timeout_are_right(struct rig *rig)
{
	rig_make_member(rig, 4 << 20);
	io_set_timeout(rig->file, 60 * NS_PER_S);
	cleanup(cleanup_freep) char *out = mem_alloc_blocks(4 << 20);
	cleanup(cleanup_freep) char *in = mem_alloc_blocks(4 << 20);
	fill_sectors(out, 4 << 20, 0, 3);
	assert_int_equal(op_now(IO_WRITE, rig->file, 0, out, 4 << 20), 0);
	assert_int_equal(op_now(IO_FLUSH, rig->file, 0, NULL, 0), 0);
	struct op ops[64];
	for (unsigned i = 0; i < 64; i++)
		op_transfer(&ops[i], IO_READ, rig->file, i * 65536, in + i * 65536, 65536);
	ops_wait(ops, 64);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(ops[i].err, 0);
	assert_memory_equal(in, out, 4 << 20);
	struct iovec iov[3] = {{in + 8192, 4096}, {in, 8192}, {in + 16384, 12288}};
	struct op op = {.req = {.kind = IO_READ, .file = rig->file, .iov = iov, .iov_count = 3}};
	memset(in, 0, 32768);
	op_submit(rig->io, &op);
	assert_int_equal(op_wait(&op), 0);
	assert_memory_equal(in + 8192, out, 4096);
	assert_memory_equal(in, out + 4096, 8192);
	assert_memory_equal(in + 16384, out + 12288, 12288);
}

static void transfers_with_a_timeout_are_right_on_each_medium(void **unused)
{
	(void)unused;
	on_each_medium(16, transfers_with_a_timeout_are_right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transfers_with_a_timeout_are_right_on_each_medium),
		cmocka_unit_test(hung_reads_into_registered_memory_end_and_leave_it_alone),
		cmocka_unit_test(hung_reads_into_any_memory_end_and_leave_it_alone),
		cmocka_unit_test(hung_writes_and_flushes_end_and_later_requests_do_at_once),
		cmocka_unit_test(other_files_go_on_beside_a_hung_one),
		cmocka_unit_test(a_read_into_shared_memory_waits_for_its_medium),
		cmocka_unit_test(a_file_with_hung_requests_can_be_closed_and_its_engine_freed),
		cmocka_unit_test(a_closed_file_stays_locked_until_its_last_request_came_home),
	};
	int missing = uring_missing();
	if (missing)
		return missing;
	if (!hang_start(&hang)) {
		fprintf(stderr, "skipped: FUSE cannot be used here\n");
		return 77;
	}
	alarm(HANG_ALARM);
	int ret = cmocka_run_group_tests(tests, NULL, NULL);
	hang_stop(&hang);
	return ret;
}
