/* SPDX-License-Identifier: MIT */
/* inflight/live: the memory of writers that really wait in the kernel, for a FUSE server. Random
 * bytes are the oracle: live memory equals the copy that came with the request only where each byte
 * was looked for in the right place. */
#include "inflight/live.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <cmocka.h>
#include "fuse_rig.h"
#include "inflight/live_threads.h"
#include "inflight/source.h"
#include "../random.h"

#define KIB    1024u
#define MIB    (1024u * KIB)
#define NOBODY 65534

enum how { WRITE, PWRITE, WRITEV, PWRITEV, PWRITEV2, PWRITEV2_POSITION };

struct writing {
	const char *name; /* of the system call */
	enum how how;
	unsigned open_flags;
	off_t offset;
	uint32_t len_bytes;
	unsigned pieces; /* of odd sizes; 0: not vectored */
	unsigned requests_min, requests_max;
	bool cached_open; /* without FOPEN_DIRECT_IO: all requests of a call at once */
	enum live_miss miss;
};

static uint8_t *random_buffer(size_t len_bytes)
{
	struct random r = {(uint64_t)getpid()};
	uint8_t *p =
		mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < len_bytes; i += 8) {
		uint64_t v = random_u64(&r);
		memcpy(p + i, &v, len_bytes - i < 8 ? len_bytes - i : 8);
	}
	return p;
}

/* Cut @len_bytes into @n pieces of odd sizes, some empty, which lie apart in memory, backwards. */
static void cut_into_pieces(struct iovec *iov, unsigned n, uint32_t len_bytes)
{
	struct random r = {n};
	uint8_t *memory = random_buffer((size_t)len_bytes + 16 * (size_t)n);
	uint8_t *end = memory + len_bytes + 16 * (size_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = i % 7 == 3 ? 0 : random_below(&r, 2 * len_bytes / n) | 1;
		part = i == n - 1 || part > len_bytes ? len_bytes : part;
		len_bytes -= part;
		end -= part + 13;
		iov[i] = (struct iovec){end, part};
	}
}

static ssize_t write_once(int fd, const struct writing *w)
{
	static struct iovec iov[IOV_MAX];
	if (w->pieces)
		cut_into_pieces(iov, w->pieces, w->len_bytes);
	int n = (int)w->pieces;
	switch (w->how) {
	case WRITE:
		return write(fd, random_buffer(w->len_bytes), w->len_bytes);
	case PWRITE:
		return pwrite(fd, random_buffer(w->len_bytes), w->len_bytes, w->offset);
	case WRITEV:
		return writev(fd, iov, n);
	case PWRITEV:
		return pwritev(fd, iov, n, w->offset);
	case PWRITEV2:
		return pwritev2(fd, iov, n, w->offset, RWF_DSYNC);
	case PWRITEV2_POSITION:
		return pwritev2(fd, iov, n, -1, 0);
	}
	return -1;
}

static int write_body(struct rig *rig, const char *path, const void *arg)
{
	const struct writing *w = arg;
	int fd = open(path, O_WRONLY | O_DIRECT | (int)w->open_flags);
	if (fd < 0 || lseek(fd, w->offset, SEEK_SET) < 0)
		return 1;
	/* Twice: the second call of those that use the position begins where the first ended. */
	for (unsigned i = 0; i < 2; i++) {
		if (write_once(fd, w) != w->len_bytes)
			return 2;
	}
	return close(fd) == 0 ? 0 : 3;
}

static void check_writing(struct rig *rig, const struct writing *w)
{
	rig->direct_io = !w->cached_open;
	int status = rig_run(rig, write_body, w);
	rig->direct_io = true;
	uint64_t total = 0;
	if (status != 0 || rig->seen_count < 2 * w->requests_min ||
		rig->seen_count > 2 * w->requests_max)
		fail_msg("%s of %u bytes: status %#x, %u requests", w->name, w->len_bytes, status,
			rig->seen_count);
	for (unsigned i = 0; i < rig->seen_count; i++) {
		const struct rig_seen *seen = &rig->seen[i];
		total += seen->len_bytes;
		if (seen->miss != w->miss || seen->same != (w->miss == LIVE_FOUND) ||
			strcmp(seen->writer.call, w->name) != 0)
			fail_msg("%s of %u bytes, request %u: %s, %s, in %s", w->name, w->len_bytes,
				i, live_miss_name(seen->miss), seen->same ? "same" : "different",
				seen->writer.call);
	}
	assert_true(total == 2 * (uint64_t)w->len_bytes);
}

static void buffers_of_every_synchronous_call_are_found(void **state)
{
	static const struct writing all[] = {
		{"pwrite64", PWRITE, 0, 0, 4096, 0, 1, 1},
		{"pwrite64", PWRITE, 0, 5 * MIB + 512, 64 * KIB, 0, 1, 1},
		{"pwrite64", PWRITE, 0, 3, 1001, 0, 1, 1},
		{"write", WRITE, 0, 0, 4096, 0, 1, 1},
		{"write", WRITE, 0, 777, 100 * KIB + 1, 0, 1, 1},
		{"writev", WRITEV, 0, 4096, 64 * KIB, 5, 1, 1},
		{"writev", WRITEV, 0, 512, 1001, 1, 1, 1},
		{"pwritev", PWRITEV, 0, 9999, 300 * KIB, 17, 1, 2},
		{"pwritev2", PWRITEV2, 0, 8192, 64 * KIB, 3, 1, 1},
		{"pwritev2", PWRITEV2_POSITION, 0, 1 * MIB, 32 * KIB, 4, 1, 1},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_writing(*state, &all[i]);
}

static void every_request_of_a_large_call_is_found(void **state)
{
	static const struct writing all[] = {
		{"pwrite64", PWRITE, 0, 1 * MIB + 4096, 16 * MIB, 0, 16, 17},
		{"write", WRITE, 0, 4096, 16 * MIB, 0, 16, 17},
		{"pwritev", PWRITEV, 0, 512, 16 * MIB, IOV_MAX, 16, 32},
		{"writev", WRITEV, 0, 512, 5 * MIB, 100, 5, 32},
		{"pwrite64", PWRITE, 0, 0, 16 * MIB, 0, 16, 17, .cached_open = true},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_writing(*state, &all[i]);
}

static void an_appending_call_is_found_only_as_a_whole(void **state)
{
	static const struct writing all[] = {
		{"write", WRITE, O_APPEND, 4096, 64 * KIB, 0, 1, 1},
		{"pwrite64", PWRITE, O_APPEND, 4096, 64 * KIB, 0, 1, 1},
		{"writev", WRITEV, O_APPEND, 0, 64 * KIB, 6, 1, 1},
		{"write", WRITE, O_APPEND, 0, 4 * MIB, 0, 4, 5, .miss = LIVE_NO_MATCH},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_writing(*state, &all[i]);
}

/* ---- who writes ---- */

static void *write_in_thread(void *path)
{
	prctl(PR_SET_NAME, "one of many");
	int fd = open(path, O_WRONLY | O_DIRECT);
	return write(fd, random_buffer(4096), 4096) == 4096 ? path : NULL;
}

static int thread_body(struct rig *rig, const char *path, const void *arg)
{
	pthread_t thread;
	void *ret = NULL;
	if (pthread_create(&thread, NULL, write_in_thread, (void *)path))
		return 1;
	pthread_join(thread, &ret);
	return ret ? 0 : 2;
}

static void a_thread_is_told_from_its_process(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(rig_run(rig, thread_body, NULL), 0);
	assert_int_equal(rig->seen_count, 1);
	const struct rig_seen *seen = &rig->seen[0];
	assert_int_equal(seen->miss, LIVE_FOUND);
	assert_true(seen->same);
	assert_true(seen->writer.pid > 0);
	assert_int_not_equal(seen->writer.tid, seen->writer.pid);
	assert_int_equal(seen->writer.uid, geteuid());
	assert_string_equal(seen->writer.comm, "one of many");
}

/* ---- what is not found ---- */

static const struct writing plain_write = {"pwrite64", PWRITE, 0, 8192, 16384, 0, 1, 1};

/* The same request, with one thing changed at a time. */
static void locate_altered(struct rig *rig, const struct live_request *req, const void *data)
{
	struct live_request altered[] = {*req, *req, *req, *req, *req};
	altered[0].offset_bytes -= 512;
	altered[1].offset_bytes += 1;
	altered[2].len_bytes += 1;
	altered[3].ino += 1;
	altered[4].dev += 1;
	enum live_miss *misses = rig->result;
	for (unsigned i = 0; i < 5; i++) {
		struct live_buffer *buffer;
		struct event_writer writer;
		misses[i] = rig_locate(&altered[i], &buffer, &writer);
		live_buffer_free(buffer);
	}
}

static void another_range_or_file_does_not_match(void **state)
{
	struct rig *rig = *state;
	enum live_miss misses[5] = {0};
	rig->result = misses;
	rig->on_write = locate_altered;
	int status = rig_run(rig, write_body, &plain_write);
	rig->on_write = rig_observe;
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(misses[i], LIVE_NO_MATCH);
}

/* Look for the request as another user. */
static void locate_as_nobody(struct rig *rig, const struct live_request *req, const void *data)
{
	int status = 0;
	pid_t reader = fork();
	if (reader == 0) {
		struct live_buffer *buffer;
		struct event_writer writer;
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(100);
		_exit(live_locate(rig_live(), req, &buffer, &writer));
	}
	waitpid(reader, &status, 0);
	*(int *)rig->result = status;
}

static void a_stranger_may_not_look(void **state)
{
	if (geteuid() != 0)
		skip();
	struct rig *rig = *state;
	int status = -1;
	rig->result = &status;
	rig->on_write = locate_as_nobody;
	int writer = rig_run(rig, write_body, &plain_write);
	rig->on_write = rig_observe;
	assert_int_equal(writer, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), LIVE_NOT_PERMITTED);
}

static int aio_body(struct rig *rig, const char *path, const void *arg)
{
	aio_context_t ctx = 0;
	struct io_event done;
	int fd = open(path, O_WRONLY | O_DIRECT);
	struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uint64_t)(uintptr_t)random_buffer(4096),
		.aio_nbytes = 4096};
	struct iocb *list = &cb;
	if (syscall(SYS_io_setup, 1, &ctx) || syscall(SYS_io_submit, ctx, 1, &list) != 1)
		return 1;
	return syscall(SYS_io_getevents, ctx, 1, 1, &done, NULL) == 1 && done.res == 4096 ? 0 : 2;
}

static void a_write_by_libaio_is_told_from_one_in_no_call(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(rig_run(rig, aio_body, NULL), 0);
	assert_int_equal(rig->seen_count, 1);
	assert_int_equal(rig->seen[0].miss, LIVE_AIO_UNSEEN);
	assert_string_equal(rig->seen[0].writer.call, "libaio");
}

/* A process that does @wait for ever. */
static pid_t start_waiting(void (*wait_for)(int fd), int fd)
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		alarm(RIG_SECONDS);
		prctl(PR_SET_NAME, "waiting");
		wait_for(fd);
		_exit(1);
	}
	return child;
}

static void stop_waiting(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void wait_in_read(int fd)
{
	char c;
	if (read(fd, &c, 1) < 0)
		_exit(2);
}

static void wait_running(int fd)
{
	for (volatile unsigned long i = 0;; i++)
		;
}

/* Into a pipe that is full. */
static void wait_in_write(int fd)
{
	static char much[1 * MIB];
	if (write(fd, much, sizeof(much)) < 0)
		_exit(2);
}

/* Until the child is where it shall be, then what is found of it. */
static enum live_miss locate_waiting(
	pid_t child, uint64_t dev, uint64_t ino, struct event_writer *writer)
{
	struct live_request req = {.tid = child, .len_bytes = 4096, .ino = ino, .dev = dev};
	struct live_buffer *buffer;
	usleep(50000);
	enum live_miss miss = rig_locate(&req, &buffer, writer);
	live_buffer_free(buffer);
	return miss;
}

static void a_thread_that_does_not_write_is_not_in_a_call(void **state)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	void (*const ways[])(int fd) = {wait_in_read, wait_running};
	for (unsigned i = 0; i < 2; i++) {
		struct event_writer writer = {0};
		pid_t child = start_waiting(ways[i], ends[0]);
		enum live_miss miss = locate_waiting(child, 0, 0, &writer);
		stop_waiting(child);
		assert_int_equal(miss, LIVE_NOT_IN_CALL);
		assert_int_equal(writer.pid, child);
		assert_string_equal(writer.comm, "waiting");
		assert_string_equal(writer.call, "");
	}
	close(ends[0]);
	close(ends[1]);
}

static void a_thread_that_writes_elsewhere_does_not_match(void **state)
{
	int ends[2];
	struct stat st;
	struct event_writer writer = {0};
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fstat(ends[1], &st), 0);
	pid_t child = start_waiting(wait_in_write, ends[1]);
	enum live_miss own = locate_waiting(child, st.st_dev, st.st_ino, &writer);
	enum live_miss other = locate_waiting(child, st.st_dev, st.st_ino + 1, &writer);
	stop_waiting(child);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(own, LIVE_FOUND); /* the control: only the file makes the difference */
	assert_int_equal(other, LIVE_NO_MATCH);
	assert_string_equal(writer.call, "write");
}

static void a_process_that_has_ended_is_gone(void **state)
{
	struct event_writer writer = {.uid = 7, .comm = "kept"};
	pid_t child = start_waiting(wait_running, -1);
	stop_waiting(child);
	assert_int_equal(locate_waiting(child, 0, 0, &writer), LIVE_GONE);
	assert_int_equal(writer.uid, 7);
	assert_string_equal(writer.comm, "kept");
	struct live_request nobody = {.tid = 0, .len_bytes = 1};
	struct live_buffer *buffer;
	assert_int_equal(live_locate(rig_live(), &nobody, &buffer, &writer), LIVE_NOT_IN_CALL);
	assert_null(buffer);
}

/* ---- buffers in mappings of files ---- */

#define MAP_LEN (1 * MIB)

enum whose { OWN_SHARED, OWN_PRIVATE, OTHER_FILE, SHARED_MEMORY, PLAIN };

struct mapped_write {
	const char *what;
	enum whose piece[3]; /* each of a third of the write */
	unsigned pieces;
	enum whose array; /* where the iovecs are; used with more than one piece */
	enum live_miss miss;
};

static int open_elsewhere(void)
{
	char name[] = "/tmp/stablefs-mapped-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	return ftruncate(fd, MAP_LEN) == 0 ? fd : -1;
}

/* MAP_LEN bytes of that kind; where they are of the file, it is the writer's to say what it holds
 * (rig_shared.page). */
static void *map_of(enum whose whose, const char *path)
{
	int flags = whose == OWN_PRIVATE || whose == PLAIN ? MAP_PRIVATE : MAP_SHARED;
	bool own = whose == OWN_SHARED || whose == OWN_PRIVATE;
	int fd = own ? open(path, O_RDWR) : whose == OTHER_FILE ? open_elsewhere() : -1;
	void *p = mmap(
		NULL, MAP_LEN, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (p != MAP_FAILED && !own)
		memset(p, (int)whose, MAP_LEN);
	return p;
}

static int mapped_body(struct rig *rig, const char *path, const void *arg)
{
	const struct mapped_write *w = arg;
	struct iovec iov[3];
	for (unsigned i = 0; i < w->pieces; i++)
		iov[i] = (struct iovec){map_of(w->piece[i], path), 8192};
	memcpy(rig->shared->page, iov, sizeof(iov)); /* before it is read */
	struct iovec *array = map_of(w->array, path);
	if (w->array == PLAIN)
		memcpy(array, iov, sizeof(iov));
	int fd = open(path, O_WRONLY | O_DIRECT);
	ssize_t n = w->pieces == 1 ? pwrite(fd, iov[0].iov_base, 8192, 0)
				   : pwritev(fd, array, (int)w->pieces, 0);
	return n == 8192 * (ssize_t)w->pieces ? 0 : 1;
}

/* Look for it with the file's pages gone, so that each access to them asks us. */
static void observe_without_pages(struct rig *rig, const struct live_request *req, const void *data)
{
	fuse_lowlevel_notify_inval_inode(rig->se, RIG_INO, 0, 0);
	rig_observe(rig, req, data);
}

static void check_mapped(struct rig *rig, const struct mapped_write *w)
{
	rig->on_write = observe_without_pages;
	int status = rig_run(rig, mapped_body, w);
	rig->on_write = rig_observe;
	const struct rig_seen *seen = &rig->seen[0];
	if (status != 0 || rig->seen_count != 1)
		fail_msg("%s: status %#x, %u requests", w->what, status, rig->seen_count);
	if (seen->miss != w->miss || seen->same != (w->miss == LIVE_FOUND))
		fail_msg("%s: %s, %s", w->what, live_miss_name(seen->miss),
			seen->same ? "same" : "different");
}

static void memory_that_we_would_have_to_page_in_ourselves_is_left_alone(void **state)
{
	static const struct mapped_write all[] = {
		{"shared", {OWN_SHARED}, 1, PLAIN, LIVE_OWN_MAPPING},
		{"private", {OWN_PRIVATE}, 1, PLAIN, LIVE_OWN_MAPPING},
		{"one piece of three", {PLAIN, PLAIN, OWN_SHARED}, 3, PLAIN, LIVE_OWN_MAPPING},
		{"the iovecs", {PLAIN, PLAIN}, 2, OWN_SHARED, LIVE_OWN_MAPPING},
		{"the iovecs, private", {PLAIN, PLAIN}, 2, OWN_PRIVATE, LIVE_OWN_MAPPING},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_mapped(*state, &all[i]);
}

static void mappings_of_other_files_are_read(void **state)
{
	static const struct mapped_write all[] = {
		{"a file elsewhere", {OTHER_FILE}, 1, PLAIN, LIVE_FOUND},
		{"shared memory", {SHARED_MEMORY}, 1, PLAIN, LIVE_FOUND},
		{"iovecs in a file elsewhere", {OTHER_FILE, PLAIN, SHARED_MEMORY}, 3, PLAIN,
			LIVE_FOUND},
	};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check_mapped(*state, &all[i]);
}

/* One call of two requests, of which the second reaches into a mapping of the file. */
static int half_mapped_body(struct rig *rig, const char *path, const void *arg)
{
	uint8_t *memory = random_buffer(2 * MIB);
	int fd = open(path, O_WRONLY | O_DIRECT), own = open(path, O_RDWR);
	if (mmap(memory + 2 * MIB - 4096, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, own, 0) ==
		MAP_FAILED)
		return 1;
	return pwrite(fd, memory, 2 * MIB, 0) == 2 * MIB ? 0 : 2;
}

static void only_the_requests_that_touch_such_memory_are_missed(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(rig_run(rig, half_mapped_body, NULL), 0);
	assert_true(rig->seen_count >= 2 && rig->seen_count < RIG_MAX_SEEN);
	for (unsigned i = 0; i < rig->seen_count; i++) {
		bool last = i == rig->seen_count - 1;
		assert_int_equal(rig->seen[i].miss, last ? LIVE_OWN_MAPPING : LIVE_FOUND);
		assert_int_equal(rig->seen[i].same, !last);
	}
}

/* ---- threads that do not wait ---- */

static uint64_t time_lookup_ns(pid_t tid)
{
	struct live_request req = {.tid = tid, .len_bytes = 4096};
	struct event_writer writer;
	struct live_buffer *buffer;
	uint64_t begun_ns = clock_monotonic_ns();
	assert_int_equal(live_locate(rig_live(), &req, &buffer, &writer), LIVE_NOT_IN_CALL);
	return clock_monotonic_ns() - begun_ns;
}

/* In full patience none can be shorter than that, and on a busy machine many are longer. */
static void a_thread_that_never_waits_is_given_up_early(void **unused)
{
	(void)unused;
	uint64_t shortest_ns = UINT64_MAX;
	pid_t child = start_waiting(wait_running, -1);
	usleep(20000); /* it has started */
	for (unsigned i = 0; i < 200 && shortest_ns >= LIVE_PATIENCE_NS; i++) {
		uint64_t ns = time_lookup_ns(child);
		shortest_ns = ns < shortest_ns ? ns : shortest_ns;
	}
	stop_waiting(child);
	assert_true(shortest_ns < LIVE_PATIENCE_NS);
}

/* ---- memory that changes, or goes away, while the write is in flight ---- */

#define SHARED_LEN (64u * KIB)

/* What a second thread of the writer does when it is asked. */
struct deed {
	struct rig *rig;
	uint8_t *buffer;
	bool unmap; /* its second half; else change two words */
};

static void *do_deed(void *arg)
{
	struct deed *deed = arg;
	rig_await_request(deed->rig);
	if (deed->unmap)
		munmap(deed->buffer + SHARED_LEN / 2, SHARED_LEN / 2);
	else
		for (unsigned i = 0; i < 8; i++) {
			deed->buffer[1000 + i] ^= 0xff;
			deed->buffer[50000 + i] ^= 0xff;
		}
	deed->rig->shared->done = true;
	return NULL;
}

static int deed_body(struct rig *rig, const char *path, const void *arg)
{
	struct deed deed = {rig, random_buffer(SHARED_LEN), *(const bool *)arg};
	pthread_t thread;
	int fd = open(path, O_WRONLY | O_DIRECT);
	if (pthread_create(&thread, NULL, do_deed, &deed))
		return 1;
	ssize_t n = pwrite(fd, deed.buffer, SHARED_LEN, 0);
	pthread_join(thread, NULL);
	return n == SHARED_LEN ? 0 : 2;
}

struct samples {
	bool found, before_same, first_half_same, second_half_same;
	struct source_findings findings;
	int read_error;
};

/* Sample, let the writer's other thread do its deed, and sample both halves again. */
static void sample_around_deed(struct rig *rig, const struct live_request *req, const void *data)
{
	struct samples *out = rig->result;
	const uint8_t *bounce = data;
	struct live_buffer *buffer;
	struct event_writer writer;
	uint8_t *scratch = malloc(SHARED_LEN);
	uint32_t half = SHARED_LEN / 2;
	out->found = rig_locate(req, &buffer, &writer) == LIVE_FOUND;
	if (out->found) {
		struct sampler *sampler;
		sampler_new(1, &sampler);
		struct source_live_config config = {.sampler = sampler,
			.buffer = buffer,
			.bounce = data,
			.len_bytes = SHARED_LEN,
			.writer = &writer};
		struct source *src = source_live_new(&config);
		out->before_same = memcmp(source_sample(src, SAMPLE_GUARD, 0, SHARED_LEN, scratch),
					   bounce, SHARED_LEN) == 0;
		rig_ask_writer(rig);
		out->read_error = live_buffer_read(buffer, 0, scratch, SHARED_LEN);
		out->first_half_same = memcmp(source_sample(src, SAMPLE_DATA, 0, half, scratch),
					       bounce, half) == 0;
		out->second_half_same = memcmp(source_sample(src, SAMPLE_DATA, half, half, scratch),
						bounce + half, half) == 0;
		out->findings = src->found;
		source_free(src);
		sampler_free(sampler);
	} else {
		rig_ask_writer(rig);
	}
	free(scratch);
}

static struct samples run_deed(struct rig *rig, bool unmap)
{
	struct samples samples = {0};
	rig->result = &samples;
	rig->on_write = sample_around_deed;
	int status = rig_run(rig, deed_body, &unmap);
	rig->on_write = rig_observe;
	assert_int_equal(status, 0);
	assert_true(samples.found);
	assert_true(samples.before_same);
	return samples;
}

static void a_store_in_flight_is_seen_at_its_byte(void **state)
{
	struct samples samples = run_deed(*state, false);
	assert_int_equal(samples.read_error, 0);
	assert_false(samples.first_half_same);
	assert_false(samples.second_half_same);
	assert_int_equal(samples.findings.first_changed, 1000);
	assert_int_equal(samples.findings.changed_bytes, 16);
	assert_int_equal(samples.findings.samples, 3);
	assert_int_equal(samples.findings.failed, 0);
}

static void memory_that_goes_away_in_flight_leaves_the_bounce_copy(void **state)
{
	struct samples samples = run_deed(*state, true);
	assert_int_equal(samples.read_error, -EFAULT);
	assert_true(samples.first_half_same);
	assert_true(samples.second_half_same);
	assert_int_equal(samples.findings.first_changed, UINT32_MAX);
	assert_int_equal(samples.findings.samples, 2);
	assert_int_equal(samples.findings.failed, 1);
}

int main(void)
{
	static struct rig rig;
	struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_of_every_synchronous_call_are_found),
		cmocka_unit_test(every_request_of_a_large_call_is_found),
		cmocka_unit_test(an_appending_call_is_found_only_as_a_whole),
		cmocka_unit_test(a_thread_is_told_from_its_process),
		cmocka_unit_test(another_range_or_file_does_not_match),
		cmocka_unit_test(a_stranger_may_not_look),
		cmocka_unit_test(a_write_by_libaio_is_told_from_one_in_no_call),
		cmocka_unit_test(a_thread_that_does_not_write_is_not_in_a_call),
		cmocka_unit_test(a_thread_that_writes_elsewhere_does_not_match),
		cmocka_unit_test(a_process_that_has_ended_is_gone),
		cmocka_unit_test(memory_that_we_would_have_to_page_in_ourselves_is_left_alone),
		cmocka_unit_test(mappings_of_other_files_are_read),
		cmocka_unit_test(only_the_requests_that_touch_such_memory_are_missed),
		cmocka_unit_test(a_thread_that_never_waits_is_given_up_early),
		cmocka_unit_test(a_store_in_flight_is_seen_at_its_byte),
		cmocka_unit_test(memory_that_goes_away_in_flight_leaves_the_bounce_copy),
	};
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tests[i].initial_state = &rig;
	if (!rig_start(&rig)) {
		bool ci = getenv("CI") && strcmp(getenv("CI"), "true") == 0;
		fprintf(stderr, "%s: no FUSE mount can be made here (is there /dev/fuse?)\n",
			ci ? "failed" : "skipped");
		rig_stop(&rig);
		return ci ? 1 : 77;
	}
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_stop(&rig);
	return failed;
}
