/* SPDX-License-Identifier: MIT */
/* inflight/live_maps: pieces of this process's own memory, by both ways, and lists of mappings as
 * text. */
#include "inflight/live_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "../random.h"

#define PAGE  4096u
#define PAGES 64u

typedef int ask_way(int fd, const struct live_maps_question *q);

static int ask(ask_way *way, const struct live_maps_question *q)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	int ret = way(fd, q);
	close(fd);
	return ret;
}

/* Some pages of @memory become pages of the file, as @is_file then says; some go. */
static void patch(struct random *r, uint8_t *memory, int fd, bool is_file[PAGES])
{
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned what = random_below(r, 4);
		is_file[i] = what == 0;
		void *p = memory + (size_t)i * PAGE;
		if (what == 0)
			assert_ptr_equal(
				mmap(p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), p);
		if (what == 1)
			assert_int_equal(munmap(p, PAGE), 0);
	}
}

/* Pieces of random places and lengths; whether a page of the file is among them. */
static bool make_pieces(struct random *r, uint8_t *memory, const bool is_file[PAGES],
	struct iovec *pieces, unsigned count)
{
	bool touches = false;
	for (unsigned i = 0; i < count; i++) {
		size_t begin = random_below(r, PAGES * PAGE), len = random_below(r, 2 * PAGE);
		len = begin + len > PAGES * PAGE ? PAGES * PAGE - begin : len;
		pieces[i] = (struct iovec){memory + begin, len};
		for (size_t at = begin; at < begin + len; at++)
			touches |= is_file[at / PAGE];
	}
	return touches;
}

/* An unlinked file, and its device. */
static int open_file(uint64_t *dev)
{
	char name[] = "/tmp/stablefs-maps-XXXXXX";
	struct stat st;
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(fstat(fd, &st), 0);
	*dev = st.st_dev;
	return fd;
}

static void check_random_pieces(ask_way *way, struct random *r)
{
	bool is_file[PAGES];
	uint64_t dev;
	int fd = open_file(&dev);
	unsigned found = 0;
	uint8_t *memory = mmap(
		NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	patch(r, memory, fd, is_file);
	for (unsigned round = 0; round < 500; round++) {
		struct iovec pieces[4];
		struct live_maps_question q = {pieces, 1 + random_below(r, 4), dev};
		bool touches = make_pieces(r, memory, is_file, pieces, q.count);
		int ret = ask(way, &q);
		if (ret != touches)
			fail_msg("round %u: %d, not %d", round, ret, touches);
		found += touches;
	}
	assert_in_range(found, 50, 490); /* both answers were due */
	munmap(memory, PAGES * PAGE);
	close(fd);
}

static void pieces_in_mappings_are_found_by_query(void **unused)
{
	(void)unused;
	struct random r = random_start("by query", 11);
	struct iovec piece = {&r, 1};
	if (ask(live_maps_query, &(struct live_maps_question){&piece, 1, 1}) == -ENOTTY)
		skip();
	check_random_pieces(live_maps_query, &r);
}

static void pieces_in_mappings_are_found_by_reading_the_list(void **unused)
{
	(void)unused;
	struct random r = random_start("by reading the list", 12);
	check_random_pieces(live_maps_scan, &r);
}

/* ---- the text ---- */

static int scan_text(const char *text, const struct live_maps_question *q)
{
	FILE *file = tmpfile();
	assert_non_null(file);
	fputs(text, file);
	rewind(file);
	int ret = live_maps_scan(fileno(file), q);
	fclose(file);
	return ret;
}

#define LINE_A "00001000-00003000 r-xp 00000000 fe:00 1234    /bin/a\n"
#define LINE_B "00003000-00004000 rw-p 00000000 00:00 0 \n"
#define LINE_C "00005000-00006000 rw-s 00000000 00:2a 7       /mnt/f (deleted)\n"
#define LINE_D "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n"

static void lines_of_the_list_are_understood(void **unused)
{
	(void)unused;
	const struct {
		const char *what, *text;
		uint64_t begin, len, dev;
		int answer;
	} cases[] = {
		{"inside", LINE_A LINE_B LINE_C LINE_D, 0x5800, 16, makedev(0, 0x2a), 1},
		{"its last byte", LINE_A LINE_B LINE_C, 0x5fff, 1, makedev(0, 0x2a), 1},
		{"behind it", LINE_A LINE_B LINE_C, 0x6000, 4096, makedev(0, 0x2a), 0},
		{"up to it", LINE_A LINE_B LINE_C, 0x3000, 0x2000, makedev(0, 0x2a), 0},
		{"into it", LINE_A LINE_B LINE_C, 0x3000, 0x2001, makedev(0, 0x2a), 1},
		{"all memory", LINE_A LINE_B LINE_C, 0, UINT64_MAX, makedev(0, 0x2a), 1},
		{"over the end of memory", LINE_C LINE_D, 0x5800, UINT64_MAX, makedev(0, 0x2a), 1},
		{"nothing", LINE_A LINE_C, 0x5800, 0, makedev(0, 0x2a), 0},
		{"another device", LINE_A LINE_C, 0x5800, 16, makedev(0, 0x2b), 0},
		{"a block device", LINE_A, 0x2fff, 1, makedev(0xfe, 0), 1},
		{"unknown device, no block device", LINE_A LINE_C, 0x5800, 16, 0, 1},
		{"unknown device, a block device", LINE_A LINE_C, 0x1000, 16, 0, 0},
		{"unknown device, no file", LINE_A LINE_B LINE_C, 0x3000, 16, 0, 0},
		{"no mappings", "", 0x5800, 16, makedev(0, 0x2a), 0},
		{"no list", "damaged\n", 0x5800, 16, makedev(0, 0x2a), -EPROTO},
		{"nothing above is read", LINE_A LINE_C "damaged\n", 0x1000, 16, 1, 0},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct iovec piece = {(void *)(uintptr_t)cases[i].begin, cases[i].len};
		int ret = scan_text(
			cases[i].text, &(struct live_maps_question){&piece, 1, cases[i].dev});
		if (ret != cases[i].answer)
			fail_msg("%s: %d", cases[i].what, ret);
	}
}

static void names_longer_than_a_line_holds_do_no_harm(void **unused)
{
	(void)unused;
	static char text[3 * 4096];
	struct iovec piece = {(void *)0x5800, 16};
	struct live_maps_question q = {&piece, 1, makedev(0, 0x2a)};
	/* The name holds what a careless reader would take for a line. */
	for (unsigned len = 0; len < 200; len++) {
		int n = snprintf(text, sizeof(text), "00001000-00003000 r-xp 00000000 fe:00 1 /%*s",
			(int)len, "");
		snprintf(text + n, sizeof(text) - (size_t)n,
			"00005000-00006000 rw-s 00000000 00:2a 7 %4000s\n" LINE_B, "");
		if (scan_text(text, &q) != 0)
			fail_msg("a name of %u bytes is taken for a mapping", len);
	}
	strcat(text, LINE_C);
	assert_int_equal(scan_text(text, &q), 1);
}

/* ---- who is asked ---- */

static void a_process_without_memory_is_told(void **unused)
{
	(void)unused;
	struct iovec piece = {&piece, 1};
	struct live_maps_question q = {&piece, 1, 1};
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	int dead = live_maps_ask(child, &q);
	waitpid(child, NULL, 0);
	int gone = live_maps_ask(child, &q);
	assert_true(dead == -ESRCH || dead == -ENOENT);
	assert_true(gone == -ESRCH || gone == -ENOENT);
	assert_int_equal(live_maps_ask(getpid(), &q), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_in_mappings_are_found_by_query),
		cmocka_unit_test(pieces_in_mappings_are_found_by_reading_the_list),
		cmocka_unit_test(lines_of_the_list_are_understood),
		cmocka_unit_test(names_longer_than_a_line_holds_do_no_harm),
		cmocka_unit_test(a_process_without_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
