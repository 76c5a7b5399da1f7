/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "inflight/aio_table.h"

#define TGID 4711
#define KIB  UINT64_C(1024)
#define MIB  (1024 * KIB)

/* A supervisor's table, and the daemon's view of it. */
struct rig {
	int memfd;
	struct aio_table *supervisor, *daemon;
	struct iovec pieces[AIO_MAX_PIECES]; /* of what was found last */
};

static struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	assert_int_equal(aio_table_new(&rig->memfd, &rig->supervisor), 0);
	assert_int_equal(aio_table_map(rig->memfd, &rig->daemon), 0);
	return rig;
}

static void rig_free(struct rig *rig)
{
	aio_table_free(rig->daemon);
	aio_table_free(rig->supervisor);
	close(rig->memfd);
	free(rig);
}

/* With its pieces in @piece, one of them so far. */
static struct aio_entry entry_of(
	uint64_t offset, uint64_t len, uintptr_t buffer, struct iovec *piece)
{
	piece[0] = (struct iovec){(void *)buffer, len};
	return (struct aio_entry){.tgid = TGID,
		.ino = 7,
		.dev = 3,
		.offset_bytes = offset,
		.len_bytes = len,
		.piece_count = 1,
		.pieces = piece};
}

static void rig_put(struct rig *rig, uint64_t offset, uint64_t len, uintptr_t buffer)
{
	struct iovec piece;
	struct aio_entry e = entry_of(offset, len, buffer, &piece);
	aio_table_put(rig->supervisor, &e);
}

/* Piece i of @count, of 512 bytes each, lies at @buffer + i KiB: none touches another one. */
static void rig_put_scattered(struct rig *rig, uint64_t offset, unsigned count, uintptr_t buffer)
{
	struct iovec pieces[AIO_MAX_PIECES];
	struct aio_entry e = entry_of(offset, UINT64_C(512) * count, 0, pieces);
	for (unsigned i = 0; i < count; i++)
		pieces[i] = (struct iovec){(void *)(buffer + i * KIB), 512};
	e.piece_count = count;
	aio_table_put(rig->supervisor, &e);
}

static void assert_scattered(const struct aio_entry *e, unsigned count, uintptr_t buffer)
{
	assert_int_equal(e->piece_count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal((uintptr_t)e->pieces[i].iov_base, buffer + i * KIB);
		assert_int_equal(e->pieces[i].iov_len, 512);
	}
}

static struct aio_wanted wanted_of(uint64_t offset, uint32_t len)
{
	return (struct aio_wanted){
		.tgid = TGID, .ino = 7, .dev = 3, .offset_bytes = offset, .len_bytes = len};
}

static enum aio_found rig_find(
	struct rig *rig, uint64_t offset, uint32_t len, struct aio_entry *out)
{
	struct aio_wanted w = wanted_of(offset, len);
	out->pieces = rig->pieces;
	return aio_table_find(rig->daemon, &w, out);
}

static uintptr_t buffer_of(const struct aio_entry *e)
{
	return (uintptr_t)e->pieces[0].iov_base;
}

/* ---- what is found ---- */

static void a_submission_is_found_with_all_that_was_said(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct iovec pieces[2];
	struct aio_entry e = entry_of(4096, 8192, 0x10000, pieces), found;
	e.piece_count = 2;
	e.pieces[0].iov_len = 4096;
	e.pieces[1] = (struct iovec){(void *)0x90000, 4096};
	aio_table_put(rig->supervisor, &e);
	assert_int_equal(rig_find(rig, 4096, 8192, &found), AIO_FOUND);
	assert_int_equal(found.tgid, TGID);
	assert_int_equal(found.offset_bytes, 4096);
	assert_int_equal(found.len_bytes, 8192);
	assert_int_equal(found.piece_count, 2);
	assert_memory_equal(found.pieces, e.pieces, 2 * sizeof(e.pieces[0]));
	rig_free(rig);
}

static void nothing_is_found_twice(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

static void parts_of_a_long_submission_are_found_in_any_order(void **unused)
{
	(void)unused;
	static const uint64_t order[] = {3, 0, 2, 4, 1};
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 3 * MIB + 512, 5 * MIB, 0x1000000);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t at = 3 * MIB + 512 + order[i] * MIB;
		assert_int_equal(rig_find(rig, at, MIB, &found), AIO_FOUND);
		assert_int_equal(rig_find(rig, at, MIB, &found), AIO_NOT_FOUND);
		assert_int_equal(rig_find(rig, at + 4096, 4096, &found), AIO_NOT_FOUND);
	}
	rig_free(rig);
}

static void a_request_over_a_megabyte_line_is_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, MIB - 8 * KIB, 64 * KIB, 0x10000);
	assert_int_equal(rig_find(rig, MIB + 4 * KIB, 4096, &found), AIO_FOUND);
	rig_free(rig);
}

static void too_scattered_parts_are_missed_not_given_twice(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 8 * MIB, 0x1000000);
	unsigned hits = 0;
	for (uint64_t i = 0; i < 64; i++)
		hits += rig_find(rig, i * 128 * KIB, 4096, &found) == AIO_FOUND;
	assert_in_range(hits, 8, 63);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

static void of_two_with_one_buffer_each_is_found_once(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	rig_put(rig, 0, 4096, 0x10000);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

/* ---- what must not be ---- */

static void two_buffers_for_one_range_are_ambiguous_for_both_requests(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	rig_put(rig, 0, 4096, 0x20000);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	rig_put(rig, 0, 4096, 0x30000); /* the second request may still be under way */
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

/* The buffer that holds the bytes; 0: all do. */
static bool holds(void *ctx, const struct iovec *pieces, unsigned count, uint64_t skip_bytes)
{
	assert_int_equal(skip_bytes, 0);
	assert_int_equal(count, 1);
	uintptr_t holder = *(uintptr_t *)ctx;
	return !holder || (uintptr_t)pieces[0].iov_base == holder;
}

static enum aio_found rig_find_by_bytes(struct rig *rig, uintptr_t holder, struct aio_entry *out)
{
	struct aio_wanted w = wanted_of(512, 1024);
	w.holds = holds;
	w.ctx = &holder;
	out->pieces = rig->pieces;
	return aio_table_find(rig->daemon, &w, out);
}

static void the_buffer_with_the_bytes_is_meant(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	rig_put(rig, 512, 1024, 0x20000);
	rig_put(rig, 0, 4096, 0x30000);
	assert_int_equal(rig_find_by_bytes(rig, 0x20000, &found), AIO_FOUND);
	assert_int_equal(buffer_of(&found), 0x20000);
	assert_int_equal(rig_find_by_bytes(rig, 0x10200, &found), AIO_FOUND);
	assert_int_equal(buffer_of(&found), 0x10200);
	assert_int_equal(found.pieces[0].iov_len, 1024);
	assert_int_equal(rig_find_by_bytes(rig, 0, &found), AIO_FOUND); /* one is left */
	assert_int_equal(buffer_of(&found), 0x30200);
	assert_int_equal(rig_find_by_bytes(rig, 0, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

static void bytes_that_none_or_several_hold_are_ambiguous(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	rig_put(rig, 0, 4096, 0x20000);
	assert_int_equal(rig_find_by_bytes(rig, 0, &found), AIO_AMBIGUOUS);
	assert_int_equal(rig_find_by_bytes(rig, 0x50000, &found), AIO_AMBIGUOUS);
	assert_int_equal(rig_find_by_bytes(rig, 0x20200, &found), AIO_FOUND);
	assert_int_equal(buffer_of(&found), 0x20200);
	/* The other one is alone now; but it may be what the first request was of. */
	assert_int_equal(rig_find_by_bytes(rig, 0x50000, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

static void an_unknown_buffer_may_hold_the_bytes(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct iovec piece;
	struct aio_entry found, unknown = entry_of(0, 4096, 0, &piece);
	unknown.piece_count = 0;
	aio_table_put(rig->supervisor, &unknown);
	rig_put(rig, 0, 4096, 0x10000);
	assert_int_equal(rig_find_by_bytes(rig, 0x10200, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

static void too_many_buffers_are_not_chosen_from(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	for (uintptr_t i = 1; i <= 100; i++)
		rig_put(rig, 512, 1024, i << 16);
	assert_int_equal(rig_find_by_bytes(rig, 5 << 16, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

static void ambiguity_ends(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put(rig, 0, 4096, 0x10000);
	rig_put(rig, 0, 4096, 0x20000);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	usleep(AIO_AMBIGUOUS_NS / NS_PER_US / 2);
	rig_put(rig, 0, 4096, 0x30000); /* drawn in, but not for another whole term */
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	usleep(AIO_AMBIGUOUS_NS / NS_PER_US / 2 + 50000);
	rig_put(rig, 0, 4096, 0x40000);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	assert_int_equal(buffer_of(&found), 0x40000);
	rig_free(rig);
}

static void an_unknown_buffer_hides_what_could_be_mistaken_for_it(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct iovec piece;
	struct aio_entry found, unknown = entry_of(0, 4096, 0, &piece);
	unknown.piece_count = 0;
	aio_table_put(rig->supervisor, &unknown);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	rig_put(rig, 0, 4096, 0x10000);
	aio_table_put(rig->supervisor, &unknown);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

static void others_submissions_are_not_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found = {.pieces = rig->pieces};
	struct aio_wanted wrong[] = {wanted_of(0, 4096), wanted_of(0, 4096), wanted_of(0, 4096),
		wanted_of(0, 4096), wanted_of(4096, 4096), wanted_of(0, 8192),
		wanted_of(2048, 4096)};
	wrong[0].tgid++;
	wrong[1].ino++;
	wrong[2].dev++;
	wrong[3].is_read = true;
	rig_put(rig, 0, 4096, 0x10000);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(aio_table_find(rig->daemon, &wrong[i], &found), AIO_NOT_FOUND);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	rig_free(rig);
}

static void an_unknown_file_is_not_checked(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct iovec piece;
	struct aio_entry e = entry_of(0, 4096, 0x10000, &piece), found;
	e.ino = e.dev = 0;
	aio_table_put(rig->supervisor, &e);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_FOUND);
	rig_free(rig);
}

static void old_entries_make_room(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	for (uint64_t i = 0; i < AIO_TABLE_ENTRIES + 100; i++)
		rig_put(rig, i * 4096, 4096, 0x10000 + i * 4096);
	uint64_t last = AIO_TABLE_ENTRIES + 99;
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	assert_int_equal(rig_find(rig, 50 * 4096, 4096, &found), AIO_NOT_FOUND);
	assert_int_equal(rig_find(rig, last * 4096, 4096, &found), AIO_FOUND);
	assert_int_equal(buffer_of(&found), 0x10000 + last * 4096);
	rig_free(rig);
}

/* ---- strangers ---- */

static void what_is_no_table_is_refused(void **unused)
{
	(void)unused;
	struct aio_table *t = NULL;
	struct rig *rig = rig_new();
	struct stat st;
	assert_int_equal(fstat(rig->memfd, &st), 0);
	int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(plain, st.st_size), 0);
	assert_int_equal(aio_table_map(plain, &t), -EINVAL); /* could shrink */
	assert_int_equal(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(aio_table_map(plain, &t), -EINVAL); /* no header */
	int small = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(small, 4096), 0);
	assert_int_equal(fcntl(small, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(aio_table_map(small, &t), -EINVAL);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(aio_table_map(null_fd, &t), -EINVAL);
	assert_int_equal(aio_table_map(-1, &t), -EINVAL);
	assert_int_equal(ftruncate(rig->memfd, 0), -1); /* and ours cannot be made small */
	close(null_fd);
	close(small);
	close(plain);
	rig_free(rig);
}

static void any_content_is_survived(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct stat st;
	struct aio_entry found;
	unsigned seed = 20260101;
	assert_int_equal(fstat(rig->memfd, &st), 0);
	size_t words = (size_t)st.st_size / 8;
	uint64_t *raw =
		mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memfd, 0);
	assert_ptr_not_equal(raw, MAP_FAILED);
	print_message("seed %u\n", seed);
	for (unsigned round = 0; round < 40; round++) {
		rig_put(rig, 0, 4096, 0x10000);
		for (unsigned i = 0; i < 20000; i++) {
			uint64_t small = (uint64_t)rand_r(&seed) % 64;
			raw[(size_t)rand_r(&seed) * 7919 % words] =
				i % 3 ? small : (uint64_t)rand_r(&seed) << 33 | small;
		}
		if (round % 3 == 0)
			raw[3] = (uint64_t)rand_r(&seed) << 20; /* the head jumps */
		for (unsigned i = 0; i < 200; i++) {
			enum aio_found how = rig_find(rig, i * 512, 512, &found);
			assert_true(how != AIO_FOUND || found.piece_count <= AIO_MAX_PIECES);
		}
	}
	munmap(raw, (size_t)st.st_size);
	rig_free(rig);
}

/* ---- two sides at a time ---- */

#define HITS_WANTED 2000u

struct putter {
	struct rig *rig;
	atomic_bool stop;
	_Atomic uint64_t last; /* entry that was put */
};

/* Each entry says one number in three ways. */
static void *put_all_the_time(void *ctx)
{
	struct putter *p = ctx;
	for (uint64_t i = 1; !atomic_load(&p->stop); i++) {
		struct iovec piece;
		struct aio_entry e = entry_of(i * 4096, 4096, i << 12, &piece);
		e.ino = i;
		aio_table_put(p->rig->supervisor, &e);
		atomic_store(&p->last, i);
	}
	return NULL;
}

static void entries_are_read_whole_while_they_are_replaced(void **unused)
{
	(void)unused;
	struct putter p = {.rig = rig_new()};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, put_all_the_time, &p), 0);
	for (unsigned hits = 0; hits < HITS_WANTED;) {
		struct aio_entry found = {.pieces = p.rig->pieces};
		uint64_t number = atomic_load(&p.last);
		struct aio_wanted w = wanted_of(number * 4096, 4096);
		w.ino = 0;
		if (aio_table_find(p.rig->daemon, &w, &found) != AIO_FOUND)
			continue;
		hits++;
		assert_int_equal(found.ino, number);
		assert_int_equal(buffer_of(&found), number << 12);
	}
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	rig_free(p.rig);
}

#define SCATTERED 96u /* pieces of each; 512 bytes of a number that all of them show */

/* More pieces than the ring holds between two looks of the reader. */
static void *put_scattered_all_the_time(void *ctx)
{
	struct putter *p = ctx;
	for (uint64_t i = 1; !atomic_load(&p->stop); i++) {
		rig_put_scattered(p->rig, i * MIB, SCATTERED, i << 20);
		atomic_store(&p->last, i);
	}
	return NULL;
}

static void pieces_are_read_whole_while_they_are_replaced(void **unused)
{
	(void)unused;
	struct putter p = {.rig = rig_new()};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, put_scattered_all_the_time, &p), 0);
	for (unsigned hits = 0; hits < HITS_WANTED;) {
		struct aio_entry found;
		uint64_t number = atomic_load(&p.last);
		if (rig_find(p.rig, number * MIB, SCATTERED * 512, &found) != AIO_FOUND)
			continue;
		hits++;
		assert_scattered(&found, SCATTERED, number << 20);
	}
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	rig_free(p.rig);
}

/* ---- pieces ---- */

static void as_many_pieces_as_a_call_takes_are_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 4096, AIO_MAX_PIECES, 0x10000000);
	assert_int_equal(rig_find(rig, 4096, AIO_MAX_PIECES * 512, &found), AIO_FOUND);
	assert_scattered(&found, AIO_MAX_PIECES, 0x10000000);
	rig_free(rig);
}

static void a_part_is_found_with_its_pieces_alone(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 0, 256, 0x10000000);
	assert_int_equal(rig_find(rig, 100 * 512, 50 * 512, &found), AIO_FOUND);
	assert_int_equal(found.offset_bytes, 100 * 512);
	assert_int_equal(found.len_bytes, 50 * 512);
	assert_scattered(&found, 50, 0x10000000 + 100 * KIB);
	rig_free(rig);
}

static void pieces_that_do_not_make_up_the_whole_are_an_unknown_buffer(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct iovec piece;
	struct aio_entry found, e = entry_of(0, 4096, 0x10000, &piece);
	piece.iov_len = 4095;
	aio_table_put(rig->supervisor, &e);
	assert_int_equal(rig_find(rig, 0, 4096, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

/* Both rings of pieces wrap around many times, at places that no number of pieces divides. */
static void pieces_are_right_wherever_their_rings_wrap(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	for (uint64_t i = 0; i < 5 * AIO_KEPT_PIECES / 700; i++) {
		unsigned count = 600 + (unsigned)(i * 37 % 400);
		rig_put_scattered(rig, i * MIB, count, i << 20);
		assert_int_equal(rig_find(rig, i * MIB, count * 512, &found), AIO_FOUND);
		assert_scattered(&found, count, i << 20);
	}
	rig_free(rig);
}

/* How many submissions of AIO_MAX_PIECES take all places of pieces. */
#define TO_FILL (AIO_TABLE_PIECES / AIO_MAX_PIECES)

static void fill_pieces(struct rig *rig, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		rig_put_scattered(rig, (i + 1) * MIB, AIO_MAX_PIECES, 0x40000000);
}

static void pieces_that_were_replaced_before_they_were_read_are_not_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 0, 16, 0x10000000);
	fill_pieces(rig, TO_FILL); /* the entry is still there */
	assert_int_equal(rig_find(rig, 0, 16 * 512, &found), AIO_NOT_FOUND);
	assert_int_equal(rig_find(rig, TO_FILL * MIB, AIO_MAX_PIECES * 512, &found), AIO_FOUND);
	rig_free(rig);
}

static void pieces_that_are_just_not_replaced_are_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 0, AIO_MAX_PIECES, 0x10000000);
	fill_pieces(rig, TO_FILL - 1);
	assert_int_equal(rig_find(rig, 0, AIO_MAX_PIECES * 512, &found), AIO_FOUND);
	assert_scattered(&found, AIO_MAX_PIECES, 0x10000000);
	rig_free(rig);
}

static void pieces_that_were_replaced_after_they_were_read_are_not_found(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 0, 16, 0x10000000);
	for (unsigned i = 0; i < TO_FILL; i++) {
		rig_put_scattered(rig, (i + 1) * MIB, AIO_MAX_PIECES, 0x40000000);
		assert_int_equal(
			rig_find(rig, (i + 1) * MIB, AIO_MAX_PIECES * 512, &found), AIO_FOUND);
	}
	assert_int_equal(rig_find(rig, 0, 16 * 512, &found), AIO_NOT_FOUND);
	rig_free(rig);
}

/* What it was nobody knows any more; so it may be what is asked for now. */
static void a_submission_that_lost_its_pieces_still_makes_others_ambiguous(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new();
	struct aio_entry found;
	rig_put_scattered(rig, 0, 16, 0x10000000);
	fill_pieces(rig, TO_FILL);
	rig_put_scattered(rig, 0, 16, 0x20000000);
	assert_int_equal(rig_find(rig, 0, 16 * 512, &found), AIO_AMBIGUOUS);
	rig_free(rig);
}

static void a_slice_lies_where_the_pieces_say(void **unused)
{
	(void)unused;
	struct iovec pieces[3], out[3];
	struct aio_entry e = entry_of(1000, 3000, 0, pieces);
	e.piece_count = 3;
	for (unsigned i = 0; i < 3; i++)
		e.pieces[i] = (struct iovec){(void *)(uintptr_t)(0x10000 * (i + 1)), 1000};
	assert_int_equal(aio_entry_slice(&e, 1500, 2000, out), 3);
	assert_int_equal((uintptr_t)out[0].iov_base, 0x10000 + 500);
	assert_int_equal(out[0].iov_len, 500);
	assert_int_equal((uintptr_t)out[1].iov_base, 0x20000);
	assert_int_equal(out[1].iov_len, 1000);
	assert_int_equal((uintptr_t)out[2].iov_base, 0x30000);
	assert_int_equal(out[2].iov_len, 500);
	assert_int_equal(aio_entry_slice(&e, 2000, 1000, out), 1);
	assert_int_equal(aio_entry_slice(&e, 999, 10, out), 0);
	assert_int_equal(aio_entry_slice(&e, 3000, 1001, out), 0);
	e.piece_count = 0;
	assert_int_equal(aio_entry_slice(&e, 1000, 10, out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_submission_is_found_with_all_that_was_said),
		cmocka_unit_test(nothing_is_found_twice),
		cmocka_unit_test(parts_of_a_long_submission_are_found_in_any_order),
		cmocka_unit_test(a_request_over_a_megabyte_line_is_found),
		cmocka_unit_test(too_scattered_parts_are_missed_not_given_twice),
		cmocka_unit_test(of_two_with_one_buffer_each_is_found_once),
		cmocka_unit_test(two_buffers_for_one_range_are_ambiguous_for_both_requests),
		cmocka_unit_test(the_buffer_with_the_bytes_is_meant),
		cmocka_unit_test(bytes_that_none_or_several_hold_are_ambiguous),
		cmocka_unit_test(an_unknown_buffer_may_hold_the_bytes),
		cmocka_unit_test(too_many_buffers_are_not_chosen_from),
		cmocka_unit_test(ambiguity_ends),
		cmocka_unit_test(an_unknown_buffer_hides_what_could_be_mistaken_for_it),
		cmocka_unit_test(others_submissions_are_not_found),
		cmocka_unit_test(an_unknown_file_is_not_checked),
		cmocka_unit_test(old_entries_make_room),
		cmocka_unit_test(what_is_no_table_is_refused),
		cmocka_unit_test(any_content_is_survived),
		cmocka_unit_test(entries_are_read_whole_while_they_are_replaced),
		cmocka_unit_test(pieces_are_read_whole_while_they_are_replaced),
		cmocka_unit_test(as_many_pieces_as_a_call_takes_are_found),
		cmocka_unit_test(a_part_is_found_with_its_pieces_alone),
		cmocka_unit_test(pieces_that_do_not_make_up_the_whole_are_an_unknown_buffer),
		cmocka_unit_test(pieces_are_right_wherever_their_rings_wrap),
		cmocka_unit_test(pieces_that_were_replaced_before_they_were_read_are_not_found),
		cmocka_unit_test(pieces_that_are_just_not_replaced_are_found),
		cmocka_unit_test(pieces_that_were_replaced_after_they_were_read_are_not_found),
		cmocka_unit_test(a_submission_that_lost_its_pieces_still_makes_others_ambiguous),
		cmocka_unit_test(a_slice_lies_where_the_pieces_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
