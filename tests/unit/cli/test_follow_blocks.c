/* SPDX-License-Identifier: MIT */
/* cli/follow_blocks: control blocks of libaio, read from this very process. */
#include "cli/follow_blocks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

static struct iocb block_of(unsigned opcode, uint64_t buf, uint64_t nbytes, int64_t offset)
{
	return (struct iocb){.aio_lio_opcode = (uint16_t)opcode,
		.aio_buf = buf,
		.aio_nbytes = nbytes,
		.aio_offset = offset};
}

static void reads_and_writes_have_a_range(void **unused)
{
	(void)unused;
	struct iovec room[AIO_MAX_PIECES];
	struct aio_entry e = {.pieces = room};
	struct iocb write = block_of(IOCB_CMD_PWRITE, 0x1000, 4096, 8192);
	struct iocb read = block_of(IOCB_CMD_PREAD, 0x1000, 512, 0);
	assert_true(follow_block_range(&write, &e));
	assert_false(e.is_read);
	assert_int_equal(e.offset_bytes, 8192);
	assert_int_equal(e.len_bytes, 4096);
	assert_int_equal(e.piece_count, 1);
	assert_int_equal((uintptr_t)e.pieces[0].iov_base, 0x1000);
	assert_true(follow_block_range(&read, &e));
	assert_true(e.is_read);
}

static void what_transfers_nothing_has_none(void **unused)
{
	(void)unused;
	struct iovec room[AIO_MAX_PIECES];
	struct aio_entry e = {.pieces = room};
	struct iocb blocks[] = {block_of(IOCB_CMD_FSYNC, 0, 0, 0), block_of(IOCB_CMD_POLL, 0, 1, 0),
		block_of(999, 0, 4096, 0), block_of(IOCB_CMD_PWRITE, 0x1000, 4096, -1)};
	for (unsigned i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		assert_false(follow_block_range(&blocks[i], &e));
}

static void blocks_are_read_through_their_pointers(void **unused)
{
	(void)unused;
	static struct iocb found[FOLLOW_MAX_BLOCKS];
	struct iocb a = block_of(IOCB_CMD_PWRITE, 1, 2, 3), b = block_of(IOCB_CMD_PREAD, 4, 5, 6);
	struct iocb *pointers[] = {&b, &a, &b};
	assert_int_equal(follow_read_blocks(getpid(), ADDRESS(pointers), 3, found), 3);
	assert_memory_equal(&found[0], &b, sizeof(b));
	assert_memory_equal(&found[1], &a, sizeof(a));
	assert_int_equal(follow_read_blocks(getpid(), ADDRESS(pointers), 0, found), 0);
}

static void wild_pointers_are_errors(void **unused)
{
	(void)unused;
	static struct iocb found[FOLLOW_MAX_BLOCKS];
	struct iocb a = block_of(IOCB_CMD_PWRITE, 1, 2, 3);
	struct iocb *pointers[] = {&a, NULL, &a};
	assert_int_equal(follow_read_blocks(getpid(), ADDRESS(pointers), 3, found), 1);
	assert_int_equal(follow_read_blocks(getpid(), 0, 1, found), -EFAULT);
	/* An array that goes on where nothing is mapped. */
	assert_true(follow_read_blocks(getpid(), ADDRESS(pointers), UINT64_MAX, found) <=
		    (int)FOLLOW_MAX_BLOCKS);
}

static void pieces_that_touch_become_one(void **unused)
{
	(void)unused;
	struct iovec v[] = {{(void *)0x1000, 512}, {(void *)0x1200, 512}, {NULL, 0},
		{(void *)0x1400, 1024}, {(void *)0x9000, 512}, {(void *)0x7000, 512}};
	struct aio_entry e = {.pieces = v};
	assert_int_equal(follow_join_vector(6, &e), 0);
	assert_int_equal(e.len_bytes, 3072);
	assert_int_equal(e.piece_count, 3);
	assert_int_equal((uintptr_t)e.pieces[0].iov_base, 0x1000);
	assert_int_equal(e.pieces[0].iov_len, 2048);
	assert_int_equal((uintptr_t)e.pieces[1].iov_base, 0x9000);
	assert_int_equal((uintptr_t)e.pieces[2].iov_base, 0x7000);
}

static void a_vector_is_read_with_all_its_pieces(void **unused)
{
	(void)unused;
	static struct iovec v[AIO_MAX_PIECES], room[AIO_MAX_PIECES];
	struct aio_entry e = {.pieces = room};
	for (unsigned i = 0; i < AIO_MAX_PIECES; i++)
		v[i] = (struct iovec){(void *)(uintptr_t)(0x10000 * (i + 1)), 512};
	struct iocb block = block_of(IOCB_CMD_PWRITEV, ADDRESS(v), AIO_MAX_PIECES, 0);
	assert_int_equal(follow_read_vector(getpid(), &block, &e), 0);
	assert_int_equal(e.piece_count, AIO_MAX_PIECES);
	assert_int_equal(e.len_bytes, 512 * AIO_MAX_PIECES);
	assert_memory_equal(room, v, sizeof(v));
}

static void absurd_vectors_are_refused(void **unused)
{
	(void)unused;
	struct iovec room[AIO_MAX_PIECES], v[] = {{(void *)0x1000, INT64_MAX}, {(void *)0x2000, 2}};
	struct aio_entry e = {.pieces = room};
	struct iocb none = block_of(IOCB_CMD_PWRITEV, ADDRESS(v), 0, 0);
	struct iocb many = block_of(IOCB_CMD_PWRITEV, ADDRESS(v), AIO_MAX_PIECES + 1, 0);
	struct iocb two = block_of(IOCB_CMD_PWRITEV, ADDRESS(v), 2, 0);
	struct iocb wild = block_of(IOCB_CMD_PWRITEV, 8, 2, 0);
	assert_int_equal(follow_read_vector(getpid(), &none, &e), -EINVAL);
	assert_int_equal(follow_read_vector(getpid(), &many, &e), -EINVAL);
	assert_int_equal(follow_read_vector(getpid(), &two, &e), -EINVAL);
	assert_int_equal(follow_read_vector(getpid(), &wild, &e), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_have_a_range),
		cmocka_unit_test(what_transfers_nothing_has_none),
		cmocka_unit_test(blocks_are_read_through_their_pointers),
		cmocka_unit_test(wild_pointers_are_errors),
		cmocka_unit_test(pieces_that_touch_become_one),
		cmocka_unit_test(a_vector_is_read_with_all_its_pieces),
		cmocka_unit_test(absurd_vectors_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
