/* SPDX-License-Identifier: MIT */
/* One request as entries of the ring: short transfers, errors, which operation is used. */
#include "uring_rig.h"

/* An engine that only prepare needs: tables, but no ring. */
struct parts {
	struct uring_engine engine;
	struct uring_file file;
	struct iovec iov[3];
	struct io_req req;
};

static char memory[64 * 1024] __attribute__((aligned(4096)));

static void parts_init(struct parts *p, enum io_kind kind, unsigned iov_count)
{
	*p = (struct parts){.file = {.fd = 9, .slot = -1}};
	p->req = (struct io_req){.kind = kind,
		.file = &p->file.base,
		.offset_bytes = 8192,
		.iov = p->iov,
		.iov_count = iov_count};
	for (unsigned i = 0; i < 3; i++)
		p->iov[i] = (struct iovec){.iov_base = memory + i * 16384, .iov_len = 4096};
}

static struct io_uring_sqe prepared(struct parts *p)
{
	struct io_uring_sqe sqe;
	memset(&sqe, 0, sizeof(sqe));
	uring_request_prepare(&p->engine, &p->req, NULL, &sqe);
	assert_ptr_equal((void *)(uintptr_t)sqe.user_data, &p->req);
	return sqe;
}

static void a_short_transfer_goes_on_where_it_stopped(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_WRITE, 1);
	assert_true(uring_request_advance(&p.req, 512));
	assert_true(uring_request_advance(&p.req, 1024));
	struct io_uring_sqe sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_WRITE);
	assert_int_equal(sqe.off, 8192 + 1536);
	assert_int_equal(sqe.addr, (uintptr_t)memory + 1536);
	assert_int_equal(sqe.len, 4096 - 1536);
	assert_false(uring_request_advance(&p.req, 4096 - 1536));
	assert_int_equal(p.req.result, 0);
}

static void the_rest_of_a_vector_is_the_rest_of_a_piece_and_then_the_others(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_READ, 3);
	struct io_uring_sqe sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_READV);
	assert_int_equal(sqe.len, 3);
	assert_true(uring_request_advance(&p.req, 512)); /* within the first piece */
	sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_READ);
	assert_int_equal(sqe.addr, (uintptr_t)memory + 512);
	assert_int_equal(sqe.len, 4096 - 512);
	assert_true(uring_request_advance(&p.req, 4096 - 512)); /* at a border */
	sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_READV);
	assert_int_equal(sqe.addr, (uintptr_t)&p.iov[1]);
	assert_int_equal(sqe.len, 2);
	assert_int_equal(sqe.off, 8192 + 4096);
	assert_true(uring_request_advance(&p.req, 4096 + 1024)); /* within the last piece */
	sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_READ);
	assert_int_equal(sqe.addr, (uintptr_t)memory + 2 * 16384 + 1024);
	assert_false(uring_request_advance(&p.req, 4096 - 1024));
	assert_int_equal(p.req.result, 0);
}

static void a_transfer_that_stops_before_its_end_is_an_error(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_READ, 1);
	assert_true(uring_request_advance(&p.req, 512));
	assert_false(uring_request_advance(&p.req, 0));
	assert_int_equal(p.req.result, -EIO);
	parts_init(&p, IO_WRITE, 1);
	assert_false(uring_request_advance(&p.req, 0));
	assert_int_equal(p.req.result, -ENOSPC);
}

static void errors_are_final_except_those_that_pass(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_WRITE, 1);
	assert_true(uring_request_advance(&p.req, -EAGAIN));
	assert_true(uring_request_advance(&p.req, -EINTR));
	assert_false(uring_request_advance(&p.req, -EIO));
	assert_int_equal(p.req.result, -EIO);
	parts_init(&p, IO_FLUSH, 0);
	unsigned tries = 0;
	while (uring_request_advance(&p.req, -EAGAIN))
		tries++;
	assert_int_equal(tries, URING_MAX_TRIES);
	assert_int_equal(p.req.result, -EAGAIN);
}

static void memory_of_a_region_uses_the_fixed_operations(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_WRITE, 1);
	p.engine.regions[0] = (struct uring_region){memory + 32768, 16384, 0};
	p.engine.regions[1] = (struct uring_region){memory, 8192, 1};
	p.engine.region_count = 2;
	struct io_uring_sqe sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_WRITE_FIXED);
	assert_int_equal(sqe.buf_index, 1);
	p.req.kind = IO_READ;
	p.iov[0].iov_base = memory + 4096; /* up to the last byte */
	assert_int_equal(prepared(&p).opcode, IORING_OP_READ_FIXED);
	p.iov[0].iov_base = memory + 4608; /* one sector too far */
	assert_int_equal(prepared(&p).opcode, IORING_OP_READ);
	p.iov[0].iov_base = memory + 16384; /* between the regions */
	assert_int_equal(prepared(&p).opcode, IORING_OP_READ);
	p.iov[0].iov_base = memory;
	p.engine.regions[1].slot = -1; /* refused by the kernel */
	assert_int_equal(prepared(&p).opcode, IORING_OP_READ);
}

static void a_file_with_a_slot_is_addressed_by_it(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_FLUSH, 0);
	assert_int_equal(prepared(&p).fd, 9);
	assert_int_equal(prepared(&p).flags, 0);
	p.file.slot = 5;
	assert_int_equal(prepared(&p).opcode, IORING_OP_FSYNC);
	assert_int_equal(prepared(&p).fsync_flags, IORING_FSYNC_DATASYNC);
	assert_int_equal(prepared(&p).fd, 5);
	assert_int_equal(prepared(&p).flags, IOSQE_FIXED_FILE);
}

static void a_durable_write_is_durable_in_all_its_entries(void **unused)
{
	(void)unused;
	struct parts p;
	parts_init(&p, IO_WRITE, 3);
	assert_int_equal(prepared(&p).rw_flags, 0);
	p.req.durable = true;
	assert_int_equal(prepared(&p).rw_flags, RWF_DSYNC); /* a vector */
	assert_true(uring_request_advance(&p.req, 512));
	assert_int_equal(prepared(&p).rw_flags, RWF_DSYNC); /* the rest of a piece */
	p.engine.region_count = 1;
	p.engine.regions[0] = (struct uring_region){.base = memory, .len_bytes = sizeof(memory)};
	struct io_uring_sqe sqe = prepared(&p);
	assert_int_equal(sqe.opcode, IORING_OP_WRITE_FIXED);
	assert_int_equal(sqe.rw_flags, RWF_DSYNC);
	p.req.kind = IO_READ;
	assert_int_equal(prepared(&p).rw_flags, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_short_transfer_goes_on_where_it_stopped),
		cmocka_unit_test(the_rest_of_a_vector_is_the_rest_of_a_piece_and_then_the_others),
		cmocka_unit_test(a_transfer_that_stops_before_its_end_is_an_error),
		cmocka_unit_test(errors_are_final_except_those_that_pass),
		cmocka_unit_test(memory_of_a_region_uses_the_fixed_operations),
		cmocka_unit_test(a_file_with_a_slot_is_addressed_by_it),
		cmocka_unit_test(a_durable_write_is_durable_in_all_its_entries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
