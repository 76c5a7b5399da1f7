/* SPDX-License-Identifier: MIT */
/* The injecting engine, over the simulated engine and over io_uring: each fault does what it does
 * in a simulated world; and with nothing armed nothing happens. */
#include <pthread.h>
#include "io/draw.h"
#include "io/inject.h"
#include "io/simulated.h"
#include "uring_rig.h"

#define DISK_BYTES (64 * BLOCK_BYTES)

/* An injecting engine over another, with a file of DISK_BYTES. */
struct stand {
	bool real;
	char dir[64], path[96];
	struct sim_world *sim;
	struct io_factory factory;
	struct inject_world *world;
	struct io_engine *io;
	struct io_file *file;
};

static void stand_connect(struct stand *s, unsigned flags)
{
	struct errmsg why = {""};
	const struct io_factory *f = inject_world_factory(s->world);
	assert_int_equal(f->engine_new(f, &s->io, &why), 0);
	assert_int_equal(io_open(s->io, s->path, flags, DISK_BYTES, &s->file, &why), 0);
}

static void stand_open(struct stand *s, bool real, uint64_t seed)
{
	*s = (struct stand){.real = real, .dir = "/tmp/stablefs-inject-XXXXXX", .path = "a"};
	if (real) {
		assert_non_null(mkdtemp(s->dir));
		snprintf(s->path, sizeof(s->path), "%s/member", s->dir);
		s->factory = uring_factory;
	} else {
		s->sim = sim_world_new(seed);
		s->factory = sim_factory(s->sim);
	}
	s->world = inject_world_new(&s->factory, seed);
	assert_non_null(s->world);
	stand_connect(s, IO_OPEN_CREATE);
}

static void stand_disconnect(struct stand *s)
{
	io_close(s->file);
	io_engine_free(s->io);
}

static void stand_close(struct stand *s)
{
	stand_disconnect(s);
	inject_world_free(s->world);
	sim_world_free(s->sim);
	if (s->real) {
		unlink(s->path);
		rmdir(s->dir);
	}
}

/* The power comes back: another world over the same members, without faults. */
static void stand_reboot(struct stand *s)
{
	stand_disconnect(s);
	inject_world_free(s->world);
	s->world = inject_world_new(&s->factory, 1);
	stand_connect(s, 0);
}

static int stand_arm(struct stand *s, enum fault_kind kind, unsigned count)
{
	struct fault f = {.kind = kind, .count = count, .per_mille = 1000};
	snprintf(f.name, sizeof(f.name), "%s", s->path);
	int id = inject_world_arm(s->world, &f);
	assert_true(id > 0);
	return id;
}

static int stand_write(struct stand *s, uint64_t at, unsigned blocks, uint64_t tag)
{
	size_t len_bytes = (size_t)blocks * BLOCK_BYTES;
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(len_bytes);
	fill_sectors(buf, len_bytes, at * 8, tag);
	return op_now(IO_WRITE, s->file, at * BLOCK_BYTES, buf, len_bytes);
}

static int stand_flush(struct stand *s)
{
	return op_now(IO_FLUSH, s->file, 0, NULL, 0);
}

static int stand_read(struct stand *s, uint64_t at, void *buf)
{
	return op_now(IO_READ, s->file, at * BLOCK_BYTES, buf, BLOCK_BYTES);
}

/* How many sectors of the block hold @tag, all of them in front, the others @old (0: zeros); -1:
 * anything else. */
static int stand_prefix(struct stand *s, uint64_t at, uint64_t tag, uint64_t old)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	int count = 0;
	assert_int_equal(stand_read(s, at, buf), 0);
	while (count < 8 && holds_sectors(buf + count * 512, 512, at * 8 + (unsigned)count, tag))
		count++;
	size_t rest = (size_t)(8 - count) * 512;
	bool is_old = old ? holds_sectors(buf + count * 512, rest, at * 8 + (unsigned)count, old)
			  : is_zeros(buf + count * 512, rest);
	return is_old ? count : -1;
}

static bool stand_holds(struct stand *s, uint64_t at, uint64_t tag)
{
	return stand_prefix(s, at, tag, 0) == 8;
}

static void on_both(void (*body)(struct stand *s))
{
	for (unsigned real = 0; real < 2; real++) {
		struct stand s;
		stand_open(&s, real, 1);
		body(&s);
		stand_close(&s);
	}
}

/* ---- nothing armed ---- */

static void pass_through(struct stand *s)
{
	struct op ops[64];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(DISK_BYTES);
	fill_sectors(buf, DISK_BYTES, 0, 5);
	for (unsigned i = 0; i < 64; i++)
		op_transfer(&ops[i], IO_WRITE, s->file, i * BLOCK_BYTES, buf + i * BLOCK_BYTES,
			BLOCK_BYTES);
	ops_wait(ops, 64);
	assert_int_equal(stand_flush(s), 0);
	memset(buf, 0, DISK_BYTES);
	assert_int_equal(op_now(IO_READ, s->file, 0, buf, DISK_BYTES), 0);
	assert_true(holds_sectors(buf, DISK_BYTES, 0, 5));
	assert_int_equal(io_file_size_bytes(s->file), DISK_BYTES);
	assert_int_equal(io_zero(s->file, 0, BLOCK_BYTES), 0);
	assert_true(stand_prefix(s, 0, 5, 0) == 0);
	assert_int_equal(op_now(IO_READ, s->file, DISK_BYTES, buf, BLOCK_BYTES), -EIO);
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(ops[i].err, 0);
		assert_int_equal(ops[i].times, 1);
		assert_ptr_equal(ops[i].req.file, s->file);
	}
}

static void with_nothing_armed_it_is_the_engine_below(void **unused)
{
	(void)unused;
	on_both(pass_through);
}

/* ---- each fault ---- */

static void errors(struct stand *s)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	struct io_file *again;
	assert_int_equal(stand_write(s, 0, 1, 1), 0);
	stand_arm(s, FAULT_READ_ERROR, 1);
	assert_int_equal(stand_read(s, 0, buf), -EIO);
	assert_int_equal(stand_read(s, 0, buf), 0);
	stand_arm(s, FAULT_WRITE_ERROR, 1);
	assert_int_equal(stand_write(s, 0, 1, 2), -EIO);
	assert_true(stand_holds(s, 0, 1));
	stand_arm(s, FAULT_FLUSH_ERROR, 1);
	assert_int_equal(stand_flush(s), -EIO);
	assert_int_equal(stand_flush(s), 0);
	int gone = stand_arm(s, FAULT_GONE, 1);
	assert_int_equal(stand_write(s, 0, 1, 2), -ENODEV);
	assert_int_equal(stand_read(s, 0, buf), -ENODEV);
	assert_int_equal(stand_flush(s), -ENODEV);
	assert_int_equal(io_zero(s->file, 0, BLOCK_BYTES), -ENODEV);
	assert_int_equal(io_open(s->io, s->path, 0, 0, &again, NULL), -ENODEV);
	assert_int_equal(inject_world_disarm(s->world, gone), 0);
	assert_int_equal(inject_world_disarm(s->world, gone), -ENOENT);
	assert_true(stand_holds(s, 0, 1));
}

static void errors_fail_their_transfers_and_store_nothing(void **unused)
{
	(void)unused;
	on_both(errors);
}

static void lies(struct stand *s)
{
	assert_int_equal(stand_write(s, 0, 4, 1), 0);
	stand_arm(s, FAULT_LOST_WRITE, 1);
	assert_int_equal(stand_write(s, 0, 1, 2), 0);
	assert_true(stand_holds(s, 0, 1));
	stand_arm(s, FAULT_TORN_WRITE, 1);
	assert_int_equal(stand_write(s, 0, 1, 2), 0);
	assert_in_range(stand_prefix(s, 0, 2, 1), 1, 7);
	stand_arm(s, FAULT_MISDIRECTED, 2);
	assert_int_equal(stand_write(s, 2, 1, 2), 0);
	assert_true(stand_holds(s, 2, 1));
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(stand_read(s, 3, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 2 * 8, 2));
	assert_int_equal(stand_write(s, 62, 2, 2), 0); /* half of it beyond the end */
	assert_int_equal(stand_read(s, 63, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 62 * 8, 2));
}

static void lost_torn_and_misdirected_writes_are_acknowledged(void **unused)
{
	(void)unused;
	on_both(lies);
}

static void flip(struct stand *s)
{
	cleanup(cleanup_freep) unsigned char *buf = mem_alloc_blocks(BLOCK_BYTES);
	cleanup(cleanup_freep) unsigned char *want = mem_alloc_blocks(BLOCK_BYTES);
	struct fault f = {.kind = FAULT_BIT_FLIP,
		.offset_bytes = 1024,
		.len_bytes = 512,
		.count = 1,
		.per_mille = 1000};
	unsigned bits = 0, outside = 0;
	assert_int_equal(stand_write(s, 0, 1, 1), 0);
	assert_true(inject_world_arm(s->world, &f) > 0);
	assert_int_equal(stand_read(s, 0, buf), 0);
	fill_sectors(want, BLOCK_BYTES, 0, 1);
	for (unsigned i = 0; i < BLOCK_BYTES; i++) {
		bits += (unsigned)__builtin_popcount(buf[i] ^ want[i]);
		outside += buf[i] != want[i] && i / 512 != 2;
	}
	assert_int_equal(bits, 1);
	assert_int_equal(outside, 0);
	assert_int_equal(stand_read(s, 0, want), 0);
	assert_memory_equal(buf, want, BLOCK_BYTES); /* and on the medium */
}

static void a_flipped_bit_is_read_and_stays(void **unused)
{
	(void)unused;
	on_both(flip);
}

static void stale(struct stand *s)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(stand_write(s, 0, 2, 1), 0);
	stand_arm(s, FAULT_STALE_READ, 2);
	assert_int_equal(stand_write(s, 0, 1, 2), 0);
	assert_int_equal(stand_write(s, 0, 1, 3), 0);
	assert_int_equal(stand_read(s, 0, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 2));
	assert_int_equal(stand_read(s, 1, buf), 0); /* not written since */
	assert_true(holds_sectors(buf, BLOCK_BYTES, 8, 1));
	assert_int_equal(stand_read(s, 0, buf), 0); /* spent */
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 3));
}

static void a_stale_read_returns_what_writes_since_the_arming_replaced(void **unused)
{
	(void)unused;
	on_both(stale);
}

static void latency(struct stand *s)
{
	struct fault f = {
		.kind = FAULT_LATENCY, .count = 1, .per_mille = 1000, .latency_ns = 30 * NS_PER_MS};
	assert_true(inject_world_arm(s->world, &f) > 0);
	uint64_t start_ns = io_now_ns(s->io);
	assert_int_equal(stand_write(s, 0, 1, 1), 0);
	assert_true(io_now_ns(s->io) - start_ns >= 30 * NS_PER_MS);
	assert_true(stand_holds(s, 0, 1));
}

static void a_slow_transfer_is_slow_and_right(void **unused)
{
	(void)unused;
	on_both(latency);
}

/* ---- hangs ---- */

static void *disarm_soon(void *arg)
{
	struct timespec nap = {.tv_nsec = 20000000};
	nanosleep(&nap, NULL);
	assert_int_equal(inject_world_disarm(arg, 0), 0);
	return NULL;
}

static void a_hung_transfer_goes_on_when_another_thread_disarms(void **unused)
{
	(void)unused;
	struct stand s;
	pthread_t thread;
	stand_open(&s, true, 1);
	stand_arm(&s, FAULT_HANG, 0);
	pthread_create(&thread, NULL, disarm_soon, s.world);
	assert_int_equal(stand_write(&s, 0, 1, 1), 0);
	pthread_join(thread, NULL);
	assert_true(stand_holds(&s, 0, 1));
	stand_close(&s);
}

static void hung_with_timeout(struct stand *s)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	struct op ops[3];
	io_set_timeout(s->file, 50 * NS_PER_MS);
	int id = stand_arm(s, FAULT_HANG, 2);
	uint64_t start_ns = io_now_ns(s->io);
	op_transfer(&ops[0], IO_READ, s->file, 0, buf, BLOCK_BYTES);
	op_transfer(&ops[1], IO_FLUSH, s->file, 0, NULL, 0);
	assert_int_equal(op_wait(&ops[0]), -ETIMEDOUT);
	assert_int_equal(op_wait(&ops[1]), -ETIMEDOUT);
	assert_true(io_now_ns(s->io) - start_ns >= 50 * NS_PER_MS);
	assert_int_equal(stand_read(s, 0, buf), -ETIMEDOUT); /* at once, and without a fault */
	assert_int_equal(inject_world_disarm(s->world, id), 0);
	io_set_timeout(s->file, 50 * NS_PER_MS);
	assert_int_equal(stand_read(s, 0, buf), 0);
	assert_int_equal(ops[0].times, 1);
}

static void a_hung_transfer_ends_at_its_deadline(void **unused)
{
	(void)unused;
	on_both(hung_with_timeout);
}

static void an_engine_with_a_hung_transfer_can_be_freed(void **unused)
{
	(void)unused;
	struct stand s;
	struct op op;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	stand_open(&s, false, 1);
	stand_arm(&s, FAULT_HANG, 0);
	op_transfer(&op, IO_READ, s.file, 0, buf, BLOCK_BYTES);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(io_run(s.io, true), 0);
	assert_int_equal(op.err, OP_PENDING);
	stand_close(&s);
}

/* ---- power cuts ---- */

struct fates {
	unsigned kept, torn, lost;
};

static void cut_once(bool real, uint64_t seed, struct fates *fates)
{
	struct stand s;
	stand_open(&s, real, seed);
	assert_int_equal(stand_write(&s, 0, 3, 1), 0);
	struct fault f = {.kind = FAULT_POWER_CUT, .skip = 2, .count = 1, .per_mille = 1000};
	assert_true(inject_world_arm(s.world, &f) > 0);
	assert_int_equal(stand_write(&s, 0, 1, 2), 0);
	assert_int_equal(stand_flush(&s), 0);
	assert_int_equal(stand_write(&s, 1, 1, 2), 0);
	assert_false(inject_world_power_is_cut(s.world));
	assert_int_equal(stand_write(&s, 2, 1, 2), -ESHUTDOWN);
	assert_true(inject_world_power_is_cut(s.world));
	assert_int_equal(stand_flush(&s), -ESHUTDOWN);
	assert_int_equal(io_zero(s.file, 0, BLOCK_BYTES), -ESHUTDOWN);
	stand_reboot(&s);
	assert_true(stand_holds(&s, 0, 2)); /* flushed */
	int prefix = stand_prefix(&s, 1, 2, 1);
	assert_in_range(prefix, 0, 8);
	fates->kept += prefix == 8;
	fates->lost += prefix == 0;
	fates->torn += prefix > 0 && prefix < 8;
	assert_in_range(stand_prefix(&s, 2, 2, 1), 0, 7);
	stand_close(&s);
}

static void a_power_cut_keeps_what_was_flushed_and_decides_about_the_rest(void **unused)
{
	(void)unused;
	for (unsigned real = 0; real < 2; real++) {
		struct fates fates = {0}, again = {0};
		for (uint64_t seed = 1; seed <= 30; seed++)
			cut_once(real, seed, &fates);
		for (uint64_t seed = 1; seed <= 30; seed++)
			cut_once(real, seed, &again);
		print_message("seeds 1 to 30: %u kept, %u torn, %u lost\n", fates.kept, fates.torn,
			fates.lost);
		assert_true(fates.kept > 0 && fates.torn > 0 && fates.lost > 0);
		assert_memory_equal(&fates, &again, sizeof(fates)); /* the seed decides */
	}
}

static void a_cut_puts_back_older_writes_behind_newer_ones(void **unused)
{
	(void)unused;
	unsigned seen = 0;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct stand s;
		stand_open(&s, false, seed);
		assert_int_equal(stand_write(&s, 0, 1, 1), 0);
		struct fault f = {
			.kind = FAULT_POWER_CUT, .skip = 2, .count = 1, .per_mille = 1000};
		assert_true(inject_world_arm(s.world, &f) > 0);
		assert_int_equal(stand_write(&s, 0, 1, 2), 0);
		assert_int_equal(stand_write(&s, 0, 1, 3), 0);
		assert_int_equal(stand_write(&s, 9, 1, 9), -ESHUTDOWN);
		stand_reboot(&s);
		cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
		assert_int_equal(stand_read(&s, 0, buf), 0);
		/* Each sector is of one of the three, and never an older behind a newer prefix's.
		 * */
		unsigned at = 0;
		for (unsigned tag = 3; tag >= 1; tag--) {
			while (at < 8 && holds_sectors(buf + at * 512, 512, at, tag)) {
				seen |= 1u << tag;
				at++;
			}
		}
		assert_int_equal(at, 8);
		stand_close(&s);
	}
	assert_int_equal(seen, 0xE);
}

static void a_durable_write_survives_a_cut(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct stand s;
		struct op op = {0};
		cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
		stand_open(&s, false, seed);
		struct fault f = {
			.kind = FAULT_POWER_CUT, .skip = 1, .count = 1, .per_mille = 1000};
		assert_true(inject_world_arm(s.world, &f) > 0);
		fill_sectors(buf, BLOCK_BYTES, 0, 2);
		op.iov = (struct iovec){.iov_base = buf, .iov_len = BLOCK_BYTES};
		op.req = (struct io_req){.kind = IO_WRITE,
			.file = s.file,
			.iov = &op.iov,
			.iov_count = 1,
			.durable = true};
		op_submit(s.io, &op);
		assert_int_equal(op_wait(&op), 0);
		assert_int_equal(stand_write(&s, 9, 1, 9), -ESHUTDOWN);
		stand_reboot(&s);
		assert_true(stand_holds(&s, 0, 2));
		stand_close(&s);
	}
}

static void one_cut_is_for_all_engines_of_a_world(void **unused)
{
	(void)unused;
	struct stand s;
	struct io_engine *other;
	struct io_file *file;
	const struct io_factory *f;
	stand_open(&s, true, 1);
	f = inject_world_factory(s.world);
	assert_int_equal(f->engine_new(f, &other, NULL), 0);
	assert_int_equal(io_open(other, s.path, 0, 0, &file, NULL), 0);
	stand_arm(&s, FAULT_POWER_CUT, 1);
	assert_int_equal(stand_write(&s, 0, 1, 1), -ESHUTDOWN);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(op_now(IO_READ, file, 0, buf, BLOCK_BYTES), -ESHUTDOWN);
	struct io_file *third;
	assert_int_equal(io_open(other, s.path, 0, 0, &third, NULL), -ESHUTDOWN);
	io_close(file);
	io_engine_free(other);
	stand_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_nothing_armed_it_is_the_engine_below),
		cmocka_unit_test(errors_fail_their_transfers_and_store_nothing),
		cmocka_unit_test(lost_torn_and_misdirected_writes_are_acknowledged),
		cmocka_unit_test(a_flipped_bit_is_read_and_stays),
		cmocka_unit_test(a_stale_read_returns_what_writes_since_the_arming_replaced),
		cmocka_unit_test(a_slow_transfer_is_slow_and_right),
		cmocka_unit_test(a_hung_transfer_goes_on_when_another_thread_disarms),
		cmocka_unit_test(a_hung_transfer_ends_at_its_deadline),
		cmocka_unit_test(an_engine_with_a_hung_transfer_can_be_freed),
		cmocka_unit_test(a_power_cut_keeps_what_was_flushed_and_decides_about_the_rest),
		cmocka_unit_test(a_cut_puts_back_older_writes_behind_newer_ones),
		cmocka_unit_test(a_durable_write_survives_a_cut),
		cmocka_unit_test(one_cut_is_for_all_engines_of_a_world),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
