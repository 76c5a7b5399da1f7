/* SPDX-License-Identifier: MIT */
/* inflight/sampler: over memory that answers, fails or hangs as the test wants, and over that of a
 * real process that hangs. */
#include "inflight/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define LEN     4096u
#define PATIENT 2000u /* looks at something that will come, a millisecond apart */

/* Stands for live.c: memory of a process that is an array here, or (remote) really its own. */
struct live_buffer {
	_Atomic unsigned holders, looks;
	pid_t tid; /* 0: our own */
	int fail_with;
	bool hangs;
	sem_t go; /* hangs: until it is posted */
	void *remote;
	uint8_t memory[LEN];
};

bool live_buffer_is_own(const struct live_buffer *buffer)
{
	return buffer->tid == 0;
}

pid_t live_buffer_tid(const struct live_buffer *buffer)
{
	return buffer->tid;
}

static int buffer_begin(struct live_buffer *buffer)
{
	buffer->looks++;
	if (buffer->hangs)
		sem_wait(&buffer->go);
	return buffer->fail_with;
}

int live_buffer_read(
	struct live_buffer *buffer, uint32_t offset_bytes, void *out, uint32_t len_bytes)
{
	int err = buffer_begin(buffer);
	if (buffer->remote) {
		struct iovec local = {out, len_bytes}, remote = {buffer->remote, len_bytes};
		ssize_t n = process_vm_readv(buffer->tid, &local, 1, &remote, 1, 0);
		return n == (ssize_t)len_bytes ? 0 : -EFAULT;
	}
	if (!err)
		memcpy(out, buffer->memory + offset_bytes, len_bytes);
	return err;
}

int live_buffer_write(
	struct live_buffer *buffer, uint32_t offset_bytes, const void *data, uint32_t len_bytes)
{
	int err = buffer_begin(buffer);
	if (!err)
		memcpy(buffer->memory + offset_bytes, data, len_bytes);
	return err;
}

void live_buffer_hold(struct live_buffer *buffer)
{
	buffer->holders++;
}

void live_buffer_free(struct live_buffer *buffer)
{
	buffer->holders--;
}

static void buffer_init(struct live_buffer *buffer, pid_t tid)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->holders = 1;
	buffer->tid = tid;
	sem_init(&buffer->go, 0, 0);
	for (unsigned i = 0; i < LEN; i++)
		buffer->memory[i] = (uint8_t)(i * 7 + i / 256);
}

/* ---- processes that memory can be said to belong to ---- */

struct child {
	pid_t pid;
	_Atomic pid_t other_thread;
	void *memory; /* nobody will ever page it in; NULL: the kernel does not let us */
};

static void *sleep_for_ever(void *arg)
{
	struct child *child = arg;
	child->other_thread = (pid_t)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

/* Memory whose faults wait for a handler that does not come. */
static void *unanswered_memory(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};
	void *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register all = {
		.range = {(uintptr_t)at, LEN}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (fd < 0 || at == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) < 0 ||
		ioctl(fd, UFFDIO_REGISTER, &all) < 0)
		return NULL;
	return at;
}

static void child_main(struct child *shared, int ready)
{
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared->memory = unanswered_memory();
	pthread_create(&thread, NULL, sleep_for_ever, shared);
	while (!shared->other_thread)
		usleep(100);
	(void)!write(ready, "", 1);
	for (;;)
		pause();
}

static struct child child_start(void)
{
	int ready[2];
	char byte;
	struct child *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		child_main(shared, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	struct child child = {pid, shared->other_thread, shared->memory};
	munmap(shared, sizeof(*shared));
	return child;
}

static void child_end(const struct child *child)
{
	if (!child->pid)
		return;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
}

/* Made before any thread of ours; several, since penalties are the process's. */
static struct child one, two, silent;

/* The penalties of a test are those of its own sampler. */
static struct sampler *sampler(unsigned threads)
{
	struct sampler *s;
	assert_int_equal(sampler_new(threads, &s), 0);
	return s;
}

static void await_hanging(struct sampler *s, unsigned count)
{
	for (unsigned i = 0; i < PATIENT && sampler_stats(s).hanging != count; i++)
		usleep(1000);
	assert_int_equal(sampler_stats(s).hanging, count);
}

static void await_released(struct live_buffer *buffer)
{
	for (unsigned i = 0; i < PATIENT && buffer->holders; i++)
		usleep(1000);
	assert_int_equal(buffer->holders, 0);
}

/* Somebody else's machine may be busy: who is not to blame is served, at the latest then. */
static int read_patiently(struct sampler *s, struct live_buffer *buffer, void *out)
{
	int err = -ETIME;
	for (unsigned i = 0; i < 20 && err == -ETIME; i++)
		err = sampler_read(s, buffer, 0, out, LEN);
	return err;
}

/* ---- jobs ---- */

struct posted {
	struct sampler_job job;
	_Atomic unsigned seen;
	sem_t *over;
	int err;
	bool same, on_own_thread, blocks_signals;
	pthread_t poster;
};

static void posted_seen(struct sampler_job *job, const void *bytes, int err)
{
	struct posted *p = container_of(job, struct posted, job);
	sigset_t blocked;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	p->blocks_signals = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1);
	p->on_own_thread = pthread_equal(p->poster, pthread_self());
	p->err = err;
	p->same = bytes &&
		  memcmp(bytes, job->buffer->memory + job->offset_bytes, job->len_bytes) == 0;
	p->seen++;
	sem_post(p->over);
}

static void post_job(struct sampler *s, struct posted *p, struct live_buffer *buffer, sem_t *over)
{
	*p = (struct posted){.job = {.buffer = buffer, .len_bytes = LEN, .seen = posted_seen},
		.over = over,
		.poster = pthread_self()};
	sampler_post(s, &p->job);
}

/* Store, and wait for it. */
static int write_part(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes,
	const void *data, uint32_t len_bytes)
{
	sem_t over;
	sem_init(&over, 0, 0);
	struct posted p = {.job = {.buffer = buffer,
				   .offset_bytes = offset_bytes,
				   .len_bytes = len_bytes,
				   .data = data,
				   .seen = posted_seen},
		.over = &over};
	sampler_post(s, &p.job);
	sem_wait(&over);
	return p.err;
}

/* ---- looking ---- */

static void reads_and_writes_a_part_of_the_memory(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(2);
	struct live_buffer buffer;
	buffer_init(&buffer, one.pid);
	uint8_t out[100], expected[LEN];
	memcpy(expected, buffer.memory, LEN);
	assert_int_equal(sampler_read(s, &buffer, 1000, out, 100), 0);
	assert_memory_equal(out, expected + 1000, 100);
	memset(expected + 50, 'x', 100);
	assert_int_equal(write_part(s, &buffer, 50, expected + 50, 100), 0);
	assert_memory_equal(buffer.memory, expected, LEN);
	assert_int_equal(sampler_stats(s).reads, 1);
	assert_int_equal(sampler_stats(s).writes, 1);
	assert_int_equal(buffer.holders, 1);
	sampler_free(s);
}

static void hands_on_why_memory_could_not_be_read(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(2);
	struct live_buffer buffer;
	uint8_t out[LEN] = {7};
	buffer_init(&buffer, one.pid);
	buffer.fail_with = -EFAULT;
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -EFAULT);
	assert_int_equal(write_part(s, &buffer, 0, out, LEN), -EFAULT);
	assert_int_equal(out[0], 7);
	assert_int_equal(sampler_stats(s).reads, 0);
	sampler_free(s);
}

static void our_own_memory_needs_no_thread(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(2);
	struct live_buffer buffer;
	uint8_t out[LEN];
	buffer_init(&buffer, 0);
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), 0);
	assert_memory_equal(out, buffer.memory, LEN);
	assert_int_equal(write_part(s, &buffer, 0, out, LEN), 0);
	assert_int_equal(sampler_stats(s).threads, 0);
	sampler_free(s);
}

static void every_posted_job_is_seen_once_on_a_thread_that_takes_no_signals(void **unused)
{
	(void)unused;
	enum { JOBS = 300 };
	struct sampler *s = sampler(3);
	static struct live_buffer buffers[JOBS];
	static struct posted jobs[JOBS];
	sem_t over;
	sem_init(&over, 0, 0);
	for (unsigned i = 0; i < JOBS; i++) {
		buffer_init(&buffers[i], i % 2 ? one.pid : two.pid);
		post_job(s, &jobs[i], &buffers[i], &over);
	}
	for (unsigned i = 0; i < JOBS; i++)
		sem_wait(&over);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(jobs[i].seen, 1);
		if (jobs[i].err == -ETIME) /* a busy machine: it waited too long in the queue */
			continue;
		assert_int_equal(jobs[i].err, 0);
		assert_true(jobs[i].same && !jobs[i].on_own_thread && jobs[i].blocks_signals);
	}
	assert_in_range(sampler_stats(s).reads, 1, JOBS);
	sampler_free(s);
}

/* ---- hanging ---- */

static void who_looks_at_a_hanging_process_waits_to_the_limit_and_no_longer(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(2);
	struct live_buffer buffer;
	buffer_init(&buffer, one.pid);
	buffer.hangs = true;
	uint8_t *out = malloc(LEN);
	memset(out, 7, LEN);
	uint64_t begun_ns = clock_monotonic_ns();
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -ETIME);
	uint64_t took_ns = clock_monotonic_ns() - begun_ns;
	assert_in_range(took_ns, SAMPLER_LIMIT_NS, 20 * SAMPLER_LIMIT_NS);
	assert_int_equal(sampler_stats(s).hanging, 1);
	assert_int_equal(sampler_stats(s).timeouts, 1);
	sem_post(&buffer.go);
	await_hanging(s, 0);
	for (unsigned i = 0; i < LEN; i++)
		assert_int_equal(out[i], 7);
	free(out);
	sampler_free(s);
}

static void what_is_being_stored_into_a_hanging_process_is_not_given_up(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(1);
	struct live_buffer hanging, other;
	uint8_t data[LEN], out[LEN];
	sem_t over;
	sem_init(&over, 0, 0);
	memset(data, 'x', LEN);
	buffer_init(&hanging, one.pid);
	buffer_init(&other, two.pid);
	hanging.hangs = true;
	struct posted posted = {
		.job = {.buffer = &hanging, .len_bytes = LEN, .data = data, .seen = posted_seen},
		.over = &over};
	sampler_post(s, &posted.job);
	await_hanging(s, 1);
	assert_int_equal(read_patiently(s, &other, out), 0); /* nobody else waits for it */
	assert_int_equal(posted.seen, 0);
	sem_post(&hanging.go);
	sem_wait(&over);
	assert_int_equal(posted.err, 0);
	assert_memory_equal(hanging.memory, data, LEN);
	await_hanging(s, 0);
	assert_int_equal(sampler_read(s, &hanging, 0, out, LEN), -ETIME); /* the penalty */
	sampler_free(s);
}

static void a_process_that_hung_is_not_looked_at_again_by_any_of_its_threads(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(2);
	struct live_buffer buffer, again, other_thread, other_process;
	uint8_t out[LEN];
	buffer_init(&buffer, one.pid);
	buffer_init(&again, one.pid);
	buffer_init(&other_thread, one.other_thread);
	buffer_init(&other_process, two.pid);
	buffer.hangs = true;
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -ETIME);
	assert_int_equal(sampler_read(s, &again, 0, out, LEN), -ETIME);
	assert_int_equal(write_part(s, &again, 0, out, LEN), -ETIME);
	assert_int_equal(sampler_read(s, &other_thread, 0, out, LEN), -ETIME);
	assert_int_equal(again.looks, 0);
	assert_int_equal(other_thread.looks, 0);
	assert_int_equal(read_patiently(s, &other_process, out), 0);
	sem_post(&buffer.go);
	await_hanging(s, 0);
	assert_int_equal(sampler_read(s, &again, 0, out, LEN), -ETIME); /* the penalty goes on */
	assert_int_equal(again.looks, 0);
	sampler_free(s);
}

static void others_are_served_while_the_only_thread_hangs(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(1);
	struct live_buffer hanging, other;
	struct posted posted;
	uint8_t out[LEN];
	sem_t over;
	sem_init(&over, 0, 0);
	buffer_init(&hanging, one.pid);
	buffer_init(&other, two.pid);
	hanging.hangs = true;
	post_job(s, &posted, &hanging, &over);
	assert_int_equal(read_patiently(s, &other, out), 0);
	assert_memory_equal(out, other.memory, LEN);
	sem_wait(&over);
	assert_int_equal(posted.err, -ETIME);
	assert_false(posted.same);
	sem_post(&hanging.go);
	await_hanging(s, 0);
	sampler_free(s);
}

static void a_job_that_was_given_up_is_its_posters_while_the_buffer_stays(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(1);
	struct live_buffer buffer;
	sem_t over;
	sem_init(&over, 0, 0);
	buffer_init(&buffer, one.pid);
	buffer.hangs = true;
	struct posted *posted = malloc(sizeof(*posted));
	post_job(s, posted, &buffer, &over);
	sem_wait(&over);
	assert_int_equal(posted->err, -ETIME);
	memset(posted, 0xee, sizeof(*posted));
	free(posted);
	live_buffer_free(&buffer);
	assert_int_equal(buffer.holders, 1);
	sem_post(&buffer.go);
	await_released(&buffer);
	sampler_free(s);
}

static void a_sampler_can_be_freed_while_threads_hang(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(1);
	struct live_buffer buffer;
	uint8_t out[LEN];
	buffer_init(&buffer, one.pid);
	buffer.hangs = true;
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -ETIME);
	sampler_free(s);
	live_buffer_free(&buffer);
	assert_int_equal(buffer.holders, 1);
	sem_post(&buffer.go);
	await_released(&buffer);
}

static void where_all_threads_hang_nobody_waits_and_afterwards_all_are_served(void **unused)
{
	(void)unused;
	struct sampler *s = sampler(SAMPLER_MAX_THREADS);
	static struct live_buffer buffers[SAMPLER_MAX_THREADS], other;
	struct posted jobs[SAMPLER_MAX_THREADS];
	uint8_t out[LEN];
	sem_t over;
	sem_init(&over, 0, 0);
	for (unsigned i = 0; i < SAMPLER_MAX_THREADS; i++) {
		buffer_init(&buffers[i], one.pid);
		buffers[i].hangs = true;
		post_job(s, &jobs[i], &buffers[i], &over);
	}
	for (unsigned i = 0; i < SAMPLER_MAX_THREADS; i++)
		sem_wait(&over);
	await_hanging(s, SAMPLER_MAX_THREADS);
	buffer_init(&other, two.pid);
	assert_int_equal(sampler_read(s, &other, 0, out, LEN), -ETIME);
	assert_int_equal(other.looks, 0);
	for (unsigned i = 0; i < SAMPLER_MAX_THREADS; i++)
		sem_post(&buffers[i].go);
	await_hanging(s, 0);
	assert_int_equal(read_patiently(s, &other, out), 0);
	sampler_free(s);
}

static void memory_that_a_real_process_never_pages_in_costs_the_limit(void **unused)
{
	(void)unused;
	if (!silent.memory)
		skip(); /* userfaultfd(2) is not ours to use */
	struct sampler *s = sampler(2);
	struct live_buffer buffer, other;
	uint8_t out[LEN];
	buffer_init(&buffer, silent.pid);
	buffer_init(&other, two.pid);
	buffer.remote = silent.memory;
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -ETIME);
	assert_int_equal(sampler_stats(s).hanging, 1);
	assert_int_equal(sampler_read(s, &buffer, 0, out, LEN), -ETIME);
	assert_int_equal(buffer.looks, 1);
	assert_int_equal(read_patiently(s, &other, out), 0);
	sampler_free(s);
	live_buffer_free(&buffer);
	child_end(&silent);
	silent.pid = 0;
	await_released(&buffer);
}

static int start_children(void **unused)
{
	(void)unused;
	one = child_start();
	two = child_start();
	silent = child_start();
	return 0;
}

static int end_children(void **unused)
{
	(void)unused;
	child_end(&one);
	child_end(&two);
	child_end(&silent);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_a_part_of_the_memory),
		cmocka_unit_test(hands_on_why_memory_could_not_be_read),
		cmocka_unit_test(our_own_memory_needs_no_thread),
		cmocka_unit_test(every_posted_job_is_seen_once_on_a_thread_that_takes_no_signals),
		cmocka_unit_test(who_looks_at_a_hanging_process_waits_to_the_limit_and_no_longer),
		cmocka_unit_test(what_is_being_stored_into_a_hanging_process_is_not_given_up),
		cmocka_unit_test(a_process_that_hung_is_not_looked_at_again_by_any_of_its_threads),
		cmocka_unit_test(others_are_served_while_the_only_thread_hangs),
		cmocka_unit_test(a_job_that_was_given_up_is_its_posters_while_the_buffer_stays),
		cmocka_unit_test(a_sampler_can_be_freed_while_threads_hang),
		cmocka_unit_test(where_all_threads_hang_nobody_waits_and_afterwards_all_are_served),
		cmocka_unit_test(memory_that_a_real_process_never_pages_in_costs_the_limit),
	};
	return cmocka_run_group_tests(tests, start_children, end_children);
}
