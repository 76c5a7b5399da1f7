/* SPDX-License-Identifier: MIT */
/* inflight/live_ring*: the memory of writers and readers that use io_uring, for a FUSE server, as
 * in test_live.c: random bytes are the oracle. Every test runs in both ways of reading a ring. */
#include "inflight/live_ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <cmocka.h>
#include "../random.h"
#include "fuse_rig.h"
#include "raw_ring.h"

#define BLOCK     4096u
#define BATCH     8u
#define ROUNDS    3u
#define MUCH      (3u << 20) /* more than a request carries */
#define NO_KERNEL 77         /* this kernel does not know such a ring */

enum buffers { PLAIN, VECTORED, FIXED, FIXED_VECTORED };

struct ring_case {
	const char *what;
	unsigned setup;
	enum buffers buffers;
	unsigned sqe_flags;
	unsigned entries;   /* of the ring; 0: BATCH */
	unsigned len_bytes; /* of a write; 0: BLOCK */
	bool registered_file, at_position, appends, other_thread, closed_fd, backwards;
	bool is_read;
};

static uint32_t len_of(const struct ring_case *c)
{
	return c->len_bytes ? c->len_bytes : BLOCK;
}

static uint8_t *random_memory(size_t len_bytes, uint64_t seed)
{
	struct random r = {seed};
	uint8_t *p =
		mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < len_bytes; i += 8) {
		uint64_t v = random_u64(&r);
		memcpy(p + i, &v, 8);
	}
	return p;
}

/* ---- the writer ---- */

struct writer {
	struct raw_ring ring;
	int fd;
	uint8_t *memory; /* BATCH buffers */
	struct iovec iov[BATCH][3];
};

static struct io_uring_sqe entry_of(struct writer *w, const struct ring_case *c, unsigned i)
{
	static const uint8_t opcodes[] = {
		IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED, RAW_OP_WRITEV_FIXED};
	uint32_t len = len_of(c);
	uint8_t *buffer = w->memory + (size_t)i * len;
	bool vectored = c->buffers == VECTORED || c->buffers == FIXED_VECTORED;
	/* Three pieces, backwards in memory. */
	w->iov[i][0] = (struct iovec){buffer + len - 512, 512};
	w->iov[i][1] = (struct iovec){buffer + 512, len - 1024};
	w->iov[i][2] = (struct iovec){buffer, 512};
	struct io_uring_sqe sqe = {.opcode = opcodes[c->buffers],
		.flags = (uint8_t)c->sqe_flags,
		.fd = w->fd,
		.off = c->at_position ? UINT64_MAX : (uint64_t)i * len,
		.addr = vectored ? (uintptr_t)w->iov[i] : (uintptr_t)buffer,
		.len = vectored ? 3 : len,
		.user_data = i};
	if (c->is_read)
		sqe.opcode = vectored ? IORING_OP_READV : IORING_OP_READ;
	if (c->registered_file) {
		sqe.fd = 1;
		sqe.flags |= IOSQE_FIXED_FILE;
	}
	return sqe;
}

static int writer_open(struct writer *w, const struct ring_case *c, const char *path)
{
	w->fd = open(path, O_RDWR | O_DIRECT | (c->appends ? O_APPEND : 0));
	if (w->fd < 0)
		return 1;
	if (raw_ring_open(&w->ring, c->entries ? c->entries : BATCH, c->setup) < 0)
		return NO_KERNEL;
	struct iovec all = {w->memory, (size_t)BATCH * len_of(c)};
	bool fixed = c->buffers == FIXED || c->buffers == FIXED_VECTORED;
	if (fixed && raw_ring_register(&w->ring, IORING_REGISTER_BUFFERS, &all, 1) < 0)
		return 2;
	int files[2] = {-1, w->fd};
	if (c->registered_file && raw_ring_register(&w->ring, IORING_REGISTER_FILES, files, 2) < 0)
		return 3;
	return 0;
}

/* At most as many at once as the ring holds; linked ones end with one that is not. */
static int write_batch(struct writer *w, const struct ring_case *c)
{
	unsigned at_once = w->ring.p.sq_entries < BATCH ? w->ring.p.sq_entries : BATCH;
	for (unsigned i = 0; i < BATCH; i += at_once) {
		for (unsigned k = 0; k < at_once; k++) {
			struct io_uring_sqe sqe = entry_of(w, c, i + k);
			if (k == at_once - 1)
				sqe.flags &= (uint8_t)~IOSQE_IO_LINK;
			raw_ring_put(&w->ring, c->backwards ? at_once - 1 - k : k, &sqe);
		}
		if (raw_ring_run(&w->ring, at_once) < 0 ||
			raw_ring_reap(&w->ring, at_once, (int)len_of(c)) < 0)
			return c->buffers == FIXED_VECTORED ? NO_KERNEL : 4;
	}
	return 0;
}

struct errand {
	struct writer *w;
	const struct ring_case *c;
	int status;
};

static void *write_in_thread(void *arg)
{
	struct errand *errand = arg;
	errand->status = write_batch(errand->w, errand->c);
	return NULL;
}

static int write_round(struct writer *w, const struct ring_case *c, uint64_t round)
{
	struct errand errand = {w, c, 0};
	pthread_t thread;
	uint8_t *fresh = random_memory((size_t)BATCH * len_of(c), round + 1);
	memcpy(w->memory, fresh, (size_t)BATCH * len_of(c));
	munmap(fresh, (size_t)BATCH * len_of(c));
	if (!c->other_thread)
		return write_batch(w, c);
	if (pthread_create(&thread, NULL, write_in_thread, &errand))
		return 5;
	pthread_join(thread, NULL);
	return errand.status;
}

/* The same ranges in each round, from the same buffers with other bytes. */
static int case_body(struct rig *rig, const char *path, const void *arg)
{
	const struct ring_case *c = arg;
	static struct writer w;
	w.memory = random_memory((size_t)BATCH * len_of(c), 1);
	if (c->is_read)
		memcpy(rig->shared->page, w.memory, sizeof(rig->shared->page));
	int status = writer_open(&w, c, path);
	for (unsigned round = 0; round < ROUNDS && !status; round++)
		status = write_round(&w, c, round);
	return status;
}

/* ---- the server ---- */

static void check_seen(const struct rig *rig, const char *what)
{
	for (unsigned i = 0; i < rig->seen_count && i < RIG_MAX_SEEN; i++) {
		const struct rig_seen *seen = &rig->seen[i];
		if (seen->miss != LIVE_FOUND || !seen->same ||
			strcmp(seen->writer.call, "io_uring") != 0)
			fail_msg("%s, request %u: %s, %s, by %s", what, i,
				live_miss_name(seen->miss), seen->same ? "same" : "different",
				seen->writer.call);
	}
}

static void check_case(struct rig *rig, const struct ring_case *c)
{
	int status = rig_run(rig, case_body, c);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_KERNEL) {
		print_message("%s: not on this kernel\n", c->what);
		return;
	}
	if (status != 0 || rig->seen_count < BATCH * ROUNDS)
		fail_msg("%s: status %#x, %u requests", c->what, status, rig->seen_count);
	check_seen(rig, c->what);
}

static void buffers_of_every_kind_of_ring_and_entry_are_found(void **state)
{
	static const struct ring_case all[] = {
		{"plain"},
		{"vectored", .buffers = VECTORED},
		{"registered buffers", .buffers = FIXED},
		{"vectors of registered buffers", .buffers = FIXED_VECTORED},
		{"registered file", .registered_file = true},
		{"both registered", .buffers = FIXED, .registered_file = true},
		{"forced to workers", .sqe_flags = IOSQE_ASYNC},
		{"linked", .sqe_flags = IOSQE_IO_LINK},
		{"a thread of the kernel submits", .setup = IORING_SETUP_SQPOLL},
		{"that, with registered files", .setup = IORING_SETUP_SQPOLL,
			.registered_file = true},
		{"another thread's ring", .other_thread = true},
		{"slots in another order", .backwards = true},
		{"a ring smaller than what is in flight", .entries = 2},
		{"a ring of one", .entries = 1},
		{"a large ring", .entries = 1024},
		{"no indices", .setup = RAW_SETUP_NO_SQARRAY},
		{"no indices, large", .setup = RAW_SETUP_NO_SQARRAY, .entries = 256},
		{"large entries", .setup = IORING_SETUP_SQE128},
		{"large entries, many", .setup = IORING_SETUP_SQE128, .entries = 256},
		{"large completions", .setup = IORING_SETUP_CQE32},
		{"large completions, many", .setup = IORING_SETUP_CQE32, .entries = 256},
		{"many requests a write", .len_bytes = MUCH},
		{"many requests a vector", .len_bytes = MUCH, .buffers = VECTORED},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_case(*state, &all[i]);
}

/* ---- which of several ---- */

/* Both writes of the same range are in the ring when the first is looked for. */
static int twice_body(struct rig *rig, const char *path, const void *arg)
{
	const bool *different = arg;
	static const struct ring_case linked = {.sqe_flags = IOSQE_IO_LINK};
	struct writer w = {.memory = random_memory((size_t)BATCH * BLOCK, 1)};
	if (!*different)
		memset(w.memory, 7, (size_t)BATCH * BLOCK);
	if (writer_open(&w, &linked, path))
		return 1;
	for (unsigned i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = entry_of(&w, &linked, i);
		sqe.off = 0;
		sqe.flags = i ? 0 : IOSQE_IO_LINK;
		raw_ring_put(&w.ring, i, &sqe);
	}
	return raw_ring_run(&w.ring, 2) < 0 || raw_ring_reap(&w.ring, 2, BLOCK) < 0 ? 2 : 0;
}

static void two_buffers_for_one_range_are_told_apart_by_their_bytes(void **state)
{
	struct rig *rig = *state;
	bool different = true;
	assert_int_equal(rig_run(rig, twice_body, &different), 0);
	assert_int_equal(rig->seen_count, 2);
	check_seen(rig, "two of one range");
}

static void two_buffers_with_the_same_bytes_are_ambiguous(void **state)
{
	struct rig *rig = *state;
	bool different = false;
	assert_int_equal(rig_run(rig, twice_body, &different), 0);
	assert_int_equal(rig->seen_count, 2);
	assert_int_equal(rig->seen[0].miss, LIVE_AMBIGUOUS);
}

/* What a ring keeps of old writes of a range is not taken for a later one that is not its own. */
static int old_entry_body(struct rig *rig, const char *path, const void *arg)
{
	static const struct ring_case plain = {"plain"};
	struct writer w = {.memory = random_memory((size_t)BATCH * BLOCK, 1)};
	if (writer_open(&w, &plain, path))
		return 1;
	struct io_uring_sqe sqe = entry_of(&w, &plain, 0);
	raw_ring_put(&w.ring, 0, &sqe);
	if (raw_ring_run(&w.ring, 1) < 0 || raw_ring_reap(&w.ring, 1, BLOCK) < 0)
		return 2;
	/* By a way that shows no buffer: from a pipe. */
	int ends[2];
	if (pipe(ends) || write(ends[1], w.memory + BLOCK, BLOCK) != BLOCK)
		return 3;
	return splice(ends[0], NULL, w.fd, &(off_t){0}, BLOCK, 0) == BLOCK ? 0 : 4;
}

static void an_old_entry_is_not_taken_for_a_new_write(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(rig_run(rig, old_entry_body, NULL), 0);
	assert_int_equal(rig->seen_count, 2);
	assert_int_equal(rig->seen[0].miss, LIVE_FOUND);
	assert_int_not_equal(rig->seen[1].miss, LIVE_FOUND);
}

/* An entry for the same range of another file, which the server never sees. */
static int other_file_body(struct rig *rig, const char *path, const void *arg)
{
	const bool *registered = arg;
	const struct ring_case c = {.registered_file = *registered};
	struct writer w = {.memory = random_memory((size_t)BATCH * BLOCK, 1)};
	char elsewhere[] = "/tmp/stablefs-ring-XXXXXX";
	int files[2] = {mkstemp(elsewhere), -1};
	unlink(elsewhere);
	if (writer_open(&w, &(struct ring_case){"plain"}, path))
		return 1;
	files[1] = w.fd;
	if (raw_ring_register(&w.ring, IORING_REGISTER_FILES, files, 2) < 0)
		return 2;
	for (unsigned i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = entry_of(&w, &c, i);
		sqe.off = 0;
		if (i == 0)
			sqe.fd = *registered ? 0 : files[0];
		raw_ring_put(&w.ring, i, &sqe);
		if (raw_ring_run(&w.ring, 1) < 0 || raw_ring_reap(&w.ring, 1, BLOCK) < 0)
			return 3;
	}
	return 0;
}

static void an_entry_of_another_file_does_not_match(void **state)
{
	struct rig *rig = *state;
	for (unsigned registered = 0; registered < 2; registered++) {
		bool arg = registered;
		assert_int_equal(rig_run(rig, other_file_body, &arg), 0);
		assert_int_equal(rig->seen_count, 1);
		check_seen(rig, "the same range of two files");
	}
}

/* ---- several rings, positions, appending, reading ---- */

static int two_rings_body(struct rig *rig, const char *path, const void *arg)
{
	static const struct ring_case plain = {"plain"};
	static struct writer w[2];
	for (unsigned i = 0; i < 2; i++) {
		w[i].memory = random_memory((size_t)BATCH * BLOCK, i + 1);
		if (writer_open(&w[i], &plain, path))
			return 1;
	}
	for (unsigned n = 0; n < 4; n++) {
		if (write_round(&w[n % 2], &plain, n))
			return 2;
	}
	raw_ring_close(&w[0].ring);
	return write_round(&w[1], &plain, 9);
}

static void buffers_of_two_rings_are_found(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(rig_run(rig, two_rings_body, NULL), 0);
	assert_int_equal(rig->seen_count, 5 * BATCH);
	check_seen(rig, "two rings");
}

static void writes_without_an_offset_are_found(void **state)
{
	check_case(*state,
		&(struct ring_case){"position", .at_position = true, .sqe_flags = IOSQE_IO_LINK});
	check_case(
		*state, &(struct ring_case){"append", .appends = true, .sqe_flags = IOSQE_IO_LINK});
}

/* A reader's buffer still holds what it held before. */
static void observe_read(struct rig *rig, const struct live_request *req)
{
	struct rig_seen *seen = rig_seen_next(rig);
	struct live_buffer *buffer;
	*seen = (struct rig_seen){.len_bytes = req->len_bytes};
	seen->miss = rig_locate(req, &buffer, &seen->writer);
	rig->seen_count++;
	uint8_t old[BLOCK], mark[BLOCK], now[BLOCK];
	memset(mark, (int)rig->seen_count, sizeof(mark));
	seen->same = seen->miss == LIVE_FOUND && live_buffer_read(buffer, 0, old, BLOCK) == 0 &&
		     live_buffer_write(buffer, 0, mark, BLOCK) == 0 &&
		     live_buffer_read(buffer, 0, now, BLOCK) == 0 &&
		     memcmp(now, mark, BLOCK) == 0 && memcmp(old, mark, BLOCK) != 0;
	live_buffer_free(buffer);
}

static void readers_buffers_are_found(void **state)
{
	struct rig *rig = *state;
	rig->on_read = observe_read;
	check_case(rig, &(struct ring_case){"reads", .is_read = true});
	check_case(
		rig, &(struct ring_case){"vectored reads", .is_read = true, .buffers = VECTORED});
	rig->on_read = NULL;
}

/* ---- what cannot be seen ---- */

static void a_ring_in_the_programs_own_memory_is_hidden(void **state)
{
	struct rig *rig = *state;
	int status =
		rig_run(rig, case_body, &(struct ring_case){"own", .setup = RAW_SETUP_NO_MMAP});
	if (WEXITSTATUS(status) == NO_KERNEL)
		skip();
	assert_int_equal(status, 0);
	assert_true(rig->seen_count >= 1);
	for (unsigned i = 0; i < rig->seen_count; i++)
		assert_int_equal(rig->seen[i].miss, LIVE_RING_HIDDEN);
}

/* ---- the two ways ---- */

static int set_up(void **state)
{
	static struct rig rig;
	if (!rig_start(&rig)) {
		print_message("FUSE cannot be used here\n");
		exit(getenv("CI") ? 1 : 77);
	}
	*state = &rig;
	return 0;
}

static int set_up_by_descriptor(void **state)
{
	*rig_live_place() = NULL;
	return live_new_by(NULL, RING_BY_DESCRIPTOR, rig_live_place()) < 0 ? -1 : set_up(state);
}

static int tear_down(void **state)
{
	rig_stop(*state);
	live_free(*rig_live_place());
	*rig_live_place() = NULL;
	return 0;
}

/* Rings are seen through the process's own mappings, or with an argument through descriptors. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_of_every_kind_of_ring_and_entry_are_found),
		cmocka_unit_test(two_buffers_for_one_range_are_told_apart_by_their_bytes),
		cmocka_unit_test(two_buffers_with_the_same_bytes_are_ambiguous),
		cmocka_unit_test(an_old_entry_is_not_taken_for_a_new_write),
		cmocka_unit_test(an_entry_of_another_file_does_not_match),
		cmocka_unit_test(buffers_of_two_rings_are_found),
		cmocka_unit_test(writes_without_an_offset_are_found),
		cmocka_unit_test(readers_buffers_are_found),
		cmocka_unit_test(a_ring_in_the_programs_own_memory_is_hidden),
	};
	(void)argv;
	return cmocka_run_group_tests(tests, argc > 1 ? set_up_by_descriptor : set_up, tear_down);
}
