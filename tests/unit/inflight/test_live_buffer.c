/* SPDX-License-Identifier: MIT */
/* inflight/live_buffer: readings of one buffer by several threads. */
#include "inflight/live_buffer.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PIECE_BYTES 4096u
#define PIECES      8u
#define LEN         (PIECES * PIECE_BYTES)
#define READERS     4u
#define ROUNDS      20000u

/* Byte @i of the buffer: each piece is filled with its number. */
static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(1 + i / PIECE_BYTES);
}

struct reader {
	struct live_buffer *buffer;
	uint32_t offset;
	unsigned wrong;
	pthread_t thread;
};

static void *read_on_and_on(void *arg)
{
	struct reader *r = arg;
	uint8_t got[2 * PIECE_BYTES];
	for (unsigned i = 0; i < ROUNDS; i++) {
		bool right = live_buffer_read(r->buffer, r->offset, got, sizeof(got)) == 0;
		right = right && got[0] == byte_at(r->offset) &&
			got[sizeof(got) - 1] == byte_at(r->offset + sizeof(got) - 1);
		r->wrong += !right;
	}
	return NULL;
}

static pid_t start_owner(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

/* Pieces in another order than in memory. */
static struct live_buffer *buffer_of(pid_t pid, uint8_t *memory)
{
	struct iovec iov[PIECES];
	for (unsigned i = 0; i < PIECES; i++) {
		iov[i] = (struct iovec){memory + (PIECES - 1 - i) * PIECE_BYTES, PIECE_BYTES};
		memset(iov[i].iov_base, byte_at(i * PIECE_BYTES), PIECE_BYTES);
	}
	return live_buffer_new(pid, iov, PIECES, 0, LEN);
}

static void threads_that_read_parts_of_one_buffer_each_get_their_own(void **unused)
{
	(void)unused;
	uint8_t *memory =
		mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	pid_t pid = start_owner();
	struct live_buffer *buffer = buffer_of(pid, memory);
	assert_non_null(buffer);
	struct reader readers[READERS];
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.buffer = buffer, .offset = i * 2 * PIECE_BYTES - i};
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_on_and_on, &readers[i]), 0);
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].wrong, 0);
	}
	live_buffer_free(buffer);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(memory, LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_that_read_parts_of_one_buffer_each_get_their_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
