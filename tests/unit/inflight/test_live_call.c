/* SPDX-License-Identifier: MIT */
/* inflight/live_call: which part of a call a request is, over every way to say the offset. */
#include "inflight/live_call.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <cmocka.h>

#define KIB      UINT64_C(1024)
#define NOAPPEND 0x20 /* RWF_NOAPPEND of linux/fs.h */
#define NO       UINT64_MAX

static void requests_are_placed_in_their_call(void **unused)
{
	(void)unused;
	static const struct {
		const char *what;
		long nr;
		uint64_t arg_offset, rwf; /* fourth and sixth argument */
		int64_t pos;              /* of the descriptor */
		unsigned open_flags;
		uint64_t total, req_offset;
		uint32_t req_len;
		bool req_append;
		uint64_t skip; /* NO: not a part of the call */
	} cases[] = {
		{"write: whole", SYS_write, 99, 0, 8192, 0, 4096, 8192, 4096, false, 0},
		{"write: last quarter", SYS_write, 99, 0, 0, 0, 4 * KIB, 3 * KIB, 1024, false,
			3 * KIB},
		{"write: before it", SYS_write, 99, 0, 8192, 0, 4096, 4096, 4096, false, NO},
		{"write: begins behind it", SYS_write, 0, 0, 0, 0, 4096, 8192, 4096, false, NO},
		{"write: ends behind it", SYS_write, 0, 0, 0, 0, 4096, 512, 4096, false, NO},
		{"pwrite64: the argument counts", SYS_pwrite64, 8192, 0, 77, 0, 4096, 8192, 4096,
			false, 0},
		{"pwrite64: the position does not", SYS_pwrite64, 77, 0, 8192, 0, 4096, 8192, 4096,
			false, NO},
		{"pwrite64: beyond 4 GiB", SYS_pwrite64, 5ULL << 32, 0, 0, 0, 16384,
			(5ULL << 32) + 512, 512, false, 512},
		{"writev: position", SYS_writev, 0, 0, 512, 0, 8192, 4608, 4096, false, 4096},
		{"pwritev: argument", SYS_pwritev, 512, 0, 0, 0, 8192, 4608, 4096, false, 4096},
		{"pwritev: -1 is no position there", SYS_pwritev, -1ULL, 0, 512, 0, 8192, 512, 4096,
			false, NO},
		{"pwritev2: argument", SYS_pwritev2, 512, 0, 0, 0, 8192, 4608, 4096, false, 4096},
		{"pwritev2: -1 is the position", SYS_pwritev2, -1ULL, 0, 4096, 0, 8192, 8192, 4096,
			false, 4096},
		{"append: all of the call, anywhere", SYS_write, 0, 0, 0, O_APPEND, 4096, 1 << 30,
			4096, false, 0},
		{"append: pwrite64 appends, too", SYS_pwrite64, 0, 0, 0, O_APPEND, 4096, 8192, 4096,
			false, 0},
		{"append: a part", SYS_write, 0, 0, 0, O_APPEND, 8192, 4096, 4096, false, NO},
		{"append: a part that seems to fit", SYS_pwrite64, 4096, 0, 4096, O_APPEND, 8192,
			4096, 4096, false, NO},
		{"append: known to the caller only", SYS_write, 0, 0, 0, 0, 4096, 65536, 4096, true,
			0},
		{"RWF_APPEND", SYS_pwritev2, 0, RWF_APPEND, 0, 0, 4096, 8192, 4096, false, 0},
		{"RWF_APPEND: a part", SYS_pwritev2, 0, RWF_APPEND, 0, 0, 8192, 0, 4096, false, NO},
		{"RWF_NOAPPEND", SYS_pwritev2, 512, NOAPPEND, 0, O_APPEND, 8192, 1024, 512, true,
			512},
		{"pwritev has no flags", SYS_pwritev, 512, RWF_APPEND, 0, 0, 8192, 1024, 512, false,
			512},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct procfs_syscall now = {
			.nr = cases[i].nr, .args = {3, 0, 0, cases[i].arg_offset, 0, cases[i].rwf}};
		struct procfs_fd fd = {.pos = cases[i].pos, .flags = cases[i].open_flags};
		struct live_request req = {.offset_bytes = cases[i].req_offset,
			.len_bytes = cases[i].req_len,
			.append = cases[i].req_append};
		const struct live_call *call = live_call_find(now.nr);
		assert_non_null(call);
		uint64_t skip;
		bool match = live_call_match(call, &now, &fd, &req, cases[i].total, &skip);
		if (match != (cases[i].skip != NO) || (match && skip != cases[i].skip))
			fail_msg("%s: match %d, skip %llu", cases[i].what, match,
				(unsigned long long)skip);
	}
}

static void calls_that_write_are_told_from_those_that_read(void **unused)
{
	(void)unused;
	static const long writing[] = {
		SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2};
	for (unsigned i = 0; i < sizeof(writing) / sizeof(writing[0]); i++)
		assert_true(live_call_find(writing[i])->writes);
	assert_false(live_call_find(SYS_io_uring_enter)->writes);
	assert_false(live_call_find(SYS_io_submit)->writes);
	assert_false(live_call_find(SYS_read)->writes);
	assert_true(live_call_find(SYS_read)->reads);
	assert_null(live_call_find(SYS_sendfile));
	assert_null(live_call_find(-1));
}

static void threads_of_another_word_size_are_told_apart(void **unused)
{
	(void)unused;
	struct procfs_syscall native = {.nr = 1, .sp = 0x7ffe8c39a368, .pc = 0x401000};
	struct procfs_syscall i386 = {.nr = 4, .sp = 0xffb2c510, .pc = 0xf7f03579};
	struct procfs_syscall x32 = {.nr = 0x40000000 + 1, .sp = 0x7ffe8c39a368, .pc = 0x401000};
	struct procfs_syscall blocked = {.nr = -1, .args = {0x7ffe8c39a368, 0x401000}};
	assert_false(live_call_is_foreign(&native));
	assert_false(live_call_is_foreign(&blocked));
	assert_true(live_call_is_foreign(&i386));
	assert_true(live_call_is_foreign(&x32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_placed_in_their_call),
		cmocka_unit_test(calls_that_write_are_told_from_those_that_read),
		cmocka_unit_test(threads_of_another_word_size_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
