/* SPDX-License-Identifier: MIT */
/* Buffers whose pages are away while threads, system calls and children use them. A test that hangs
 * is ended by an alarm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/block.h"
#include "inflight/cow.h"

#define TIME_LIMIT_S 60u
#define PAGES(n)     ((size_t)(n)*BLOCK_BYTES)

static struct cow *cow;

static int set_up(void **unused)
{
	struct errmsg why = {0};
	(void)unused;
	alarm(TIME_LIMIT_S);
	if (cow_new(&cow, &why) < 0) {
		print_error("[  SKIPPED ] %s\n", why.text);
		exit(77);
	}
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	cow_free(cow);
	alarm(0);
	return 0;
}

static uint8_t *map_memory(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static uint8_t *pages_filled(size_t pages, int with)
{
	uint8_t *p = map_memory(PAGES(pages), MAP_PRIVATE);
	memset(p, with, PAGES(pages));
	return p;
}

static struct cow_hold take(const void *memory, size_t len)
{
	struct cow_hold hold;
	enum cow_refusal refusal = cow_take(cow, memory, len, &hold);
	if (refusal)
		fail_msg("refused: %s", cow_refusal_name(refusal));
	return hold;
}

static void refused(const void *memory, size_t len, enum cow_refusal why)
{
	struct cow_hold hold;
	uint64_t before = cow_stats(cow).refused[why];
	assert_int_equal(cow_take(cow, memory, len, &hold), why);
	assert_int_equal(cow_stats(cow).refused[why], before + 1);
}

static bool all_are(const uint8_t *p, int value, size_t len)
{
	size_t i = 0;
	while (i < len && p[i] == value)
		i++;
	return i == len;
}

static void the_program_stores_and_the_hold_keeps_the_old_bytes(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(4, 'a');
	struct cow_hold hold = take(p, PAGES(4));
	p[5000] = 'b';
	assert_true(all_are(hold.data, 'a', PAGES(4)));
	assert_int_equal(p[5000], 'b');
	assert_int_equal(p[5001], 'a');
	cow_give_back(cow, &hold);
	assert_int_equal(p[5000], 'b');
	p[5000] = 'a';
	assert_true(all_are(p, 'a', PAGES(4)));
	assert_int_equal(cow_stats(cow).faults, 1);
	munmap(p, PAGES(4));
}

static void a_read_in_flight_sees_the_bytes(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(3, 'a');
	struct cow_hold hold = take(p, PAGES(3));
	assert_true(all_are(p, 'a', PAGES(3)));
	cow_give_back(cow, &hold);
	assert_true(all_are(p, 'a', PAGES(3)));
	munmap(p, PAGES(3));
}

static void what_nobody_touched_is_not_copied_and_not_watched_afterwards(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(64, 'a');
	for (unsigned i = 0; i < 10; i++) {
		struct cow_hold hold = take(p, PAGES(64));
		cow_give_back(cow, &hold);
	}
	madvise(p, PAGES(64), MADV_DONTNEED);
	assert_true(all_are(p, 0, PAGES(64)));
	struct cow_stats stats = cow_stats(cow);
	assert_int_equal(stats.taken, 10);
	assert_int_equal(stats.faults + stats.pages_copied, 0);
	munmap(p, PAGES(64));
}

static void pages_never_touched_before_are_zeros_for_both(void **unused)
{
	(void)unused;
	uint8_t *p = map_memory(PAGES(4), MAP_PRIVATE);
	p[PAGES(1)] = 'x';
	struct cow_hold hold = take(p, PAGES(4));
	p[PAGES(3)] = 'y';
	assert_int_equal(p[0], 0);
	assert_int_equal(hold.data[0], 0);
	assert_int_equal(hold.data[PAGES(1)], 'x');
	assert_int_equal(hold.data[PAGES(3)], 0);
	cow_give_back(cow, &hold);
	assert_int_equal(p[PAGES(3)], 'y');
	assert_int_equal(p[PAGES(2)], 0);
	munmap(p, PAGES(4));
}

static void a_page_dropped_by_its_program_in_flight_is_zeros(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(2, 'a');
	struct cow_hold hold = take(p, PAGES(2));
	p[0] = 'b';
	madvise(p, PAGES(1), MADV_DONTNEED);
	assert_int_equal(p[0], 0);
	assert_int_equal(p[PAGES(1)], 'a');
	cow_give_back(cow, &hold);
	munmap(p, PAGES(2));
}

static void system_calls_store_into_held_pages(void **unused)
{
	int ends[2];
	char text[] = "from a system call";
	(void)unused;
	uint8_t *p = pages_filled(2, 'a');
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], text, sizeof(text)), sizeof(text));
	struct cow_hold hold = take(p, PAGES(2));
	assert_int_equal(read(ends[0], p + PAGES(1) - 9, sizeof(text)), sizeof(text));
	assert_string_equal((char *)p + PAGES(1) - 9, text);
	assert_true(all_are(hold.data, 'a', PAGES(2)));
	cow_give_back(cow, &hold);
	assert_string_equal((char *)p + PAGES(1) - 9, text);
	close(ends[0]);
	close(ends[1]);
	munmap(p, PAGES(2));
}

static void what_others_share_or_cannot_move_is_refused(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(2, 'a'), *shared = map_memory(PAGES(2), MAP_SHARED);
	refused(p + 512, PAGES(1), COW_UNALIGNED);
	refused(p, 512, COW_UNALIGNED);
	refused(shared, PAGES(2), COW_NOT_PLAIN);
	refused(&set_up, 0, COW_UNALIGNED);
	refused(p, COW_MAX_BYTES + BLOCK_BYTES, COW_TOO_LONG);
	int fd = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, PAGES(2)), 0);
	void *file = mmap(NULL, PAGES(2), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	*(char *)file = 'x';
	refused(file, PAGES(2), COW_NOT_PLAIN);
	mprotect(p + PAGES(1), PAGES(1), PROT_READ);
	refused(p, PAGES(2), COW_NOT_PLAIN);
	close(fd);
	munmap(file, PAGES(2));
	munmap(shared, PAGES(2));
	munmap(p, PAGES(2));
}

static void the_main_threads_stack_is_refused(void **unused)
{
	(void)unused;
	/* Not an array: a sanitizer may put that elsewhere. */
	uint8_t *room = alloca(3 * BLOCK_BYTES);
	memset(room, 'a', 3 * BLOCK_BYTES);
	refused((void *)round_up_u64((uintptr_t)room, BLOCK_BYTES), PAGES(1), COW_NOT_PLAIN);
}

static void *hold_own_stack(void *arg)
{
	uint8_t *room = alloca(4 * BLOCK_BYTES);
	memset(room, 'a', 4 * BLOCK_BYTES);
	uint8_t *p = (uint8_t *)round_up_u64((uintptr_t)room, BLOCK_BYTES);
	struct cow_hold hold;
	*(int *)arg = (int)cow_take(cow, p, PAGES(2), &hold);
	if (*(int *)arg)
		return NULL;
	p[7] = 'b';
	*(int *)arg = hold.data[7] == 'a' && p[7] == 'b' ? 0 : -1;
	cow_give_back(cow, &hold);
	return NULL;
}

static void a_threads_stack_can_be_held(void **unused)
{
	(void)unused;
	pthread_t t;
	int result = -1;
	assert_int_equal(pthread_create(&t, NULL, hold_own_stack, &result), 0);
	pthread_join(t, NULL);
	assert_int_equal(result, 0);
}

static void the_heap_can_be_held(void **unused)
{
	(void)unused;
	void *p = NULL;
	assert_int_equal(posix_memalign(&p, BLOCK_BYTES, PAGES(8)), 0);
	memset(p, 'a', PAGES(8));
	struct cow_hold hold = take(p, PAGES(8));
	memset(p, 'b', PAGES(3));
	assert_true(all_are(hold.data, 'a', PAGES(8)));
	cow_give_back(cow, &hold);
	assert_true(all_are(p, 'b', PAGES(3)));
	free(p);
}

static void parts_of_a_transparent_huge_page_can_be_held(void **unused)
{
	const size_t huge = 2 << 20;
	(void)unused;
	uint8_t *room = map_memory(3 * huge, MAP_PRIVATE);
	uint8_t *p = (uint8_t *)round_up_u64((uintptr_t)room, huge);
	madvise(p, 2 * huge, MADV_HUGEPAGE);
	memset(p, 'a', 2 * huge);
	struct cow_hold part = take(p + PAGES(3), PAGES(5)),
			rest = take(p + PAGES(16), 2 * huge - PAGES(16));
	memset(p, 'b', 2 * huge);
	assert_true(all_are(part.data, 'a', PAGES(5)));
	assert_true(all_are(rest.data, 'a', 2 * huge - PAGES(16)));
	cow_give_back(cow, &rest);
	cow_give_back(cow, &part);
	assert_true(all_are(p, 'b', 2 * huge));
	munmap(room, 3 * huge);
}

static void explicit_huge_pages_are_refused(void **unused)
{
	(void)unused;
	const size_t huge = 2 << 20;
	void *p = mmap(NULL, huge, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return; /* the machine has none, so there is nothing to refuse */
	refused(p, huge, COW_NOT_PLAIN);
	munmap(p, huge);
}

static void writes_of_the_same_pages_share_them_and_the_last_brings_them_home(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(8, 'a');
	struct cow_hold all = take(p, PAGES(8)), part = take(p + PAGES(2), PAGES(3));
	assert_ptr_equal(part.data, all.data + PAGES(2));
	cow_give_back(cow, &all);
	assert_true(all_are(part.data, 'a', PAGES(3)));
	p[PAGES(3)] = 'b';
	assert_true(all_are(part.data, 'a', PAGES(3)));
	cow_give_back(cow, &part);
	assert_int_equal(p[PAGES(3)], 'b');
	assert_int_equal(cow_stats(cow).shared, 1);
	munmap(p, PAGES(8));
}

static void a_write_after_a_store_holds_the_new_bytes_beside_the_old(void **unused)
{
	(void)unused;
	struct cow_hold holds[8];
	uint8_t *p = pages_filled(2, 'a');
	for (int i = 0; i < 8; i++) {
		memset(p, 'a' + i, PAGES(2));
		holds[i] = take(p, PAGES(2));
	}
	for (int i = 0; i < 8; i++) {
		assert_true(all_are(holds[i].data, 'a' + i, PAGES(2)));
		cow_give_back(cow, &holds[i]);
	}
	assert_true(all_are(p, 'h', PAGES(2)));
	munmap(p, PAGES(2));
}

static void a_range_that_is_away_only_in_part_is_refused(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(4, 'a');
	struct cow_hold hold = take(p, PAGES(2));
	refused(p + PAGES(1), PAGES(2), COW_OVERLAP);
	p[0] = 'b';
	refused(p, PAGES(2), COW_OVERLAP);
	cow_give_back(cow, &hold);
	hold = take(p + PAGES(1), PAGES(2));
	cow_give_back(cow, &hold);
	munmap(p, PAGES(4));
}

static void pieces_of_any_size_can_be_taken_again_after_stores(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(64, 'a');
	unsigned seed = 7;
	for (unsigned i = 0; i < 2000; i++) {
		size_t first = (size_t)rand_r(&seed) % 64,
		       count = 1 + (size_t)rand_r(&seed) % (64 - first);
		struct cow_hold hold = take(p + PAGES(first), PAGES(count));
		for (unsigned n = (unsigned)rand_r(&seed) % 3; n; n--)
			p[PAGES((size_t)rand_r(&seed) % 64) + n] = (uint8_t)i;
		cow_give_back(cow, &hold);
	}
	munmap(p, PAGES(64));
}

static void a_child_of_a_fork_in_flight_finds_its_bytes(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(4, 'a');
	struct cow_hold hold = take(p, PAGES(4));
	p[0] = 'b';
	pid_t child = fork();
	if (child == 0) {
		struct cow_hold none;
		bool right = p[0] == 'b' && all_are(p + 1, 'a', PAGES(4) - 1) &&
			     cow_take(cow, p, PAGES(4), &none) == COW_GONE;
		_exit(right ? 0 : 1);
	}
	int status = -1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	p[PAGES(2)] = 'c';
	assert_true(all_are(hold.data, 'a', PAGES(4)));
	cow_give_back(cow, &hold);
	assert_int_equal(p[PAGES(2)], 'c');
	munmap(p, PAGES(4));
}

static int read_number(const char *path)
{
	char text[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? atoi(text) : -1;
}

/* Not everybody may answer faults of system calls: without the right to there is no cow. */
static void without_the_permission_it_says_how_to_get_it(void **unused)
{
	(void)unused;
	bool for_all = read_number("/proc/sys/vm/unprivileged_userfaultfd") == 1;
	pid_t child = fork();
	if (child == 0) {
		struct errmsg why = {0};
		struct cow *none = NULL;
		bool dropped = geteuid() != 0 || setresuid(65534, 65534, 65534) == 0;
		int err = dropped ? cow_new(&none, &why) : -1;
		bool said = strstr(why.text, "CAP_SYS_PTRACE") != NULL;
		_exit(for_all ? err != 0 : err != -EPERM || !said);
	}
	int status = -1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void what_is_mapped_anew_in_flight_is_left_alone(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(4, 'a');
	struct cow_hold hold = take(p, PAGES(4));
	void *again = mmap(p, PAGES(4), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(again, p);
	assert_true(all_are(p, 0, PAGES(4)));
	assert_true(all_are(hold.data, 'a', PAGES(4)));
	cow_give_back(cow, &hold);
	assert_true(all_are(p, 0, PAGES(4)));
	assert_int_equal(cow_stats(cow).vanished, 1);
	munmap(p, PAGES(4));
}

static void what_is_unmapped_in_flight_hangs_nobody(void **unused)
{
	(void)unused;
	uint8_t *p = pages_filled(4, 'a');
	struct cow_hold hold = take(p, PAGES(4));
	munmap(p, PAGES(4));
	assert_true(all_are(hold.data, 'a', PAGES(4)));
	cow_give_back(cow, &hold);
	assert_int_equal(cow_stats(cow).vanished, 1);
}

/* ---- threads ---- */

struct storm {
	uint64_t *words;
	size_t count;
	atomic_uint_fast64_t started, finished; /* rounds */
	atomic_bool stop;
};

/* Round n stores n into every word. */
static void *store_rounds(void *arg)
{
	struct storm *s = arg;
	for (uint64_t n = 1; !atomic_load(&s->stop); n++) {
		atomic_store(&s->started, n);
		for (size_t i = 0; i < s->count; i++)
			__atomic_store_n(&s->words[i], n, __ATOMIC_RELAXED);
		atomic_store(&s->finished, n);
	}
	return NULL;
}

static uint64_t lowest(const uint64_t *words, size_t count, uint64_t *highest)
{
	uint64_t low = UINT64_MAX;
	*highest = 0;
	for (size_t i = 0; i < count; i++) {
		low = min_u64(low, words[i]);
		*highest = max_u64(*highest, words[i]);
	}
	return low;
}

/* What is held was there at the moment of taking, and stays: no word is from a round that began
 * later or that a finished one has replaced. */
static void check_one_hold(struct storm *s, uint8_t *copy)
{
	size_t len = s->count * sizeof(uint64_t);
	uint64_t high, before = atomic_load(&s->finished);
	struct cow_hold hold = take(s->words, len);
	uint64_t after = atomic_load(&s->started);
	memcpy(copy, hold.data, len);
	assert_true(lowest((const uint64_t *)copy, s->count, &high) >= before);
	assert_true(high <= after);
	while (atomic_load(&s->finished) < after + 1)
		sched_yield();
	assert_memory_equal(copy, hold.data, len);
	cow_give_back(cow, &hold);
}

static void a_thread_that_stores_all_the_time_changes_no_hold(void **unused)
{
	(void)unused;
	struct storm s = {.words = (uint64_t *)pages_filled(4, 0), .count = PAGES(4) / 8};
	uint8_t *copy = malloc(PAGES(4));
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, store_rounds, &s), 0);
	for (unsigned i = 0; i < 500; i++)
		check_one_hold(&s, copy);
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
	free(copy);
	munmap(s.words, PAGES(4));
}

struct crossing {
	uint8_t *first, *second;
	unsigned failures;
};

static void *take_both(void *arg)
{
	struct crossing *x = arg;
	for (unsigned i = 0; i < 3000; i++) {
		struct cow_hold a, b;
		bool has_a = cow_take(cow, x->first, PAGES(2), &a) == COW_TAKEN;
		__atomic_fetch_add(&x->first[i % PAGES(2)], 1, __ATOMIC_RELAXED);
		bool has_b = cow_take(cow, x->second, PAGES(2), &b) == COW_TAKEN;
		__atomic_fetch_add(&x->second[i % PAGES(2)], 1, __ATOMIC_RELAXED);
		if (has_a)
			cow_give_back(cow, &a);
		if (has_b)
			cow_give_back(cow, &b);
		x->failures += !has_a && !has_b;
	}
	return NULL;
}

/* Refusals are counted, not waited for: the order of A and B does not matter. */
static void two_threads_take_two_buffers_in_opposite_order(void **unused)
{
	(void)unused;
	uint8_t *a = pages_filled(2, 'a'), *b = pages_filled(2, 'b');
	struct crossing ab = {a, b, 0}, ba = {b, a, 0};
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, take_both, &ba), 0);
	take_both(&ab);
	pthread_join(t, NULL);
	struct cow_stats stats = cow_stats(cow);
	uint64_t refusals = stats.refused[COW_OVERLAP];
	for (unsigned i = 1; i < COW_REFUSAL_COUNT; i++)
		if (i != COW_OVERLAP)
			assert_int_equal(stats.refused[i], 0);
	assert_int_equal(stats.taken + refusals, 4 * 3000);
	assert_true(stats.taken > 0);
	munmap(a, PAGES(2));
	munmap(b, PAGES(2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_program_stores_and_the_hold_keeps_the_old_bytes),
		TEST(a_read_in_flight_sees_the_bytes),
		TEST(what_nobody_touched_is_not_copied_and_not_watched_afterwards),
		TEST(pages_never_touched_before_are_zeros_for_both),
		TEST(a_page_dropped_by_its_program_in_flight_is_zeros),
		TEST(system_calls_store_into_held_pages),
		TEST(what_others_share_or_cannot_move_is_refused),
		TEST(the_main_threads_stack_is_refused),
		TEST(a_threads_stack_can_be_held),
		TEST(the_heap_can_be_held),
		TEST(parts_of_a_transparent_huge_page_can_be_held),
		TEST(explicit_huge_pages_are_refused),
		TEST(writes_of_the_same_pages_share_them_and_the_last_brings_them_home),
		TEST(a_write_after_a_store_holds_the_new_bytes_beside_the_old),
		TEST(a_range_that_is_away_only_in_part_is_refused),
		TEST(pieces_of_any_size_can_be_taken_again_after_stores),
		TEST(a_child_of_a_fork_in_flight_finds_its_bytes),
		TEST(without_the_permission_it_says_how_to_get_it),
		TEST(what_is_mapped_anew_in_flight_is_left_alone),
		TEST(what_is_unmapped_in_flight_hangs_nobody),
		TEST(a_thread_that_stores_all_the_time_changes_no_hold),
		TEST(two_threads_take_two_buffers_in_opposite_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
