/* SPDX-License-Identifier: MIT */
/* What each policy makes of a direct write, and which of them counts. The writer is a thread of
 * this process that waits in write(2), at a pipe that is full: so its memory is found, and it
 * changes when the test says so. */
#include "kernel_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <cmocka.h>
#include "fake_fs.h"

#define LEN 4096u

static struct kernel_message message;
static uint8_t block[3 * LEN];

/* ---- the writer ---- */

struct writer {
	pthread_t thread;
	int pipe[2];
	uint8_t *memory; /* LEN bytes */
	_Atomic pid_t tid;
};

static void *write_and_wait(void *arg)
{
	struct writer *w = arg;
	w->tid = (pid_t)syscall(SYS_gettid);
	ssize_t n = write(w->pipe[1], w->memory, LEN);
	assert_true(n < 0); /* nobody reads from it any more */
	return NULL;
}

static void writer_start(struct writer *w)
{
	*w = (struct writer){.memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
	assert_ptr_not_equal(w->memory, MAP_FAILED);
	memset(w->memory, 'a', LEN);
	assert_int_equal(pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(w->pipe[1], block, sizeof(block)) > 0)
		;
	while (write(w->pipe[1], block, 1) > 0)
		;
	assert_int_equal(fcntl(w->pipe[1], F_SETFL, 0), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, write_and_wait, w), 0);
	while (!w->tid)
		sched_yield();
}

static void writer_end(struct writer *w)
{
	close(w->pipe[0]);
	pthread_join(w->thread, NULL);
	close(w->pipe[1]);
	munmap(w->memory, LEN);
}

/* ---- the scene ---- */

struct scene {
	struct kernel_rig rig;
	struct writer writer;
	struct rig_file file;
};

static void scene_begin(struct scene *s, enum dio_policy policy)
{
	*s = (struct scene){.rig.options.dio = policy};
	rig_start(&s->rig, RIG_OFFERS, NULL);
	writer_start(&s->writer);
	s->rig.tid = s->writer.tid;
	s->file = rig_create(&s->rig, "f", O_RDWR | O_DIRECT);
	fake_fs_hold(s->rig.fs, true);
}

static void scene_end(struct scene *s)
{
	writer_end(&s->writer);
	rig_end(&s->rig);
}

/* What the kernel would send: the writer's bytes as they are now. */
static uint64_t scene_send(struct scene *s)
{
	uint64_t unique = rig_send_write(&s->rig, &s->file, 0, s->writer.memory, LEN, 0);
	fake_fs_wait_held(s->rig.fs, 1);
	return unique;
}

static int scene_answer(struct scene *s, uint64_t unique)
{
	rig_receive(&s->rig, &message);
	assert_int_equal(message.head.unique, unique);
	return message.head.error;
}

/* The transfer under way ends; then, where @mended, the second one. */
static int scene_finish(struct scene *s, uint64_t unique, int err, bool mended)
{
	fake_fs_finish(s->rig.fs, err);
	if (mended) {
		struct fs_io *io = fake_fs_wait_held(s->rig.fs, 1);
		assert_true(io->source->stable);
		assert_int_equal(io->hold_ns, 0);
		fake_fs_finish(s->rig.fs, 0);
	}
	return scene_answer(s, unique);
}

static void expect_stored(struct scene *s, uint8_t byte)
{
	const uint8_t *data = fake_fs_data(s->rig.fs, s->file.node);
	for (unsigned i = 0; i < LEN; i++)
		assert_int_equal(data[i], byte);
}

/* ---- those that look ---- */

static void detect_stores_the_copy_and_counts_what_changed(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_DETECT);
	uint64_t unique = scene_send(&s);
	s.writer.memory[100] = 'b';
	assert_int_equal(scene_finish(&s, unique, 0, false), 0);
	expect_stored(&s, 'a');
	struct stats *stats = &s.rig.front.stats;
	assert_int_equal(stats->observed, 1);
	assert_int_equal(stats->mutated_by[DIO_DETECT], 1);
	assert_int_equal(stats->redone, 0);
	scene_end(&s);
}

static void a_still_write_is_observed_and_left_alone(void **unused)
{
	(void)unused;
	static const enum dio_policy policies[] = {
		DIO_ZEROCOPY, DIO_DETECT, DIO_VERIFY, DIO_ADAPTIVE};
	for (unsigned i = 0; i < 4; i++) {
		struct scene s;
		scene_begin(&s, policies[i]);
		assert_int_equal(scene_finish(&s, scene_send(&s), 0, false), 0);
		struct stats *stats = &s.rig.front.stats;
		assert_int_equal(stats->observed, 1);
		assert_int_equal(stats->mutated, 0);
		assert_int_equal(stats->redone, 0);
		scene_end(&s);
	}
}

/* Its memory is looked at until it is stored, or longer. */
static void only_what_comes_from_the_copy_alone_is_answered_early(void **unused)
{
	(void)unused;
	static const enum dio_policy policies[] = {
		DIO_BOUNCE, DIO_BUFFERED, DIO_ZEROCOPY, DIO_DETECT, DIO_VERIFY, DIO_ADAPTIVE};
	for (unsigned i = 0; i < 6; i++) {
		struct scene s;
		scene_begin(&s, policies[i]);
		uint64_t unique = scene_send(&s);
		bool early = fake_fs_wait_held(s.rig.fs, 1)->logged;
		assert_int_equal(early, policies[i] == DIO_BOUNCE);
		fake_fs_finish(s.rig.fs, 0);
		do
			rig_receive(&s.rig, &message);
		while (message.head.unique != unique); /* pages are dropped before some */
		scene_end(&s);
	}
}

static void zerocopy_stores_what_the_memory_holds(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_ZEROCOPY);
	uint64_t unique = scene_send(&s);
	memset(s.writer.memory, 'b', LEN);
	assert_int_equal(scene_finish(&s, unique, 0, false), 0);
	expect_stored(&s, 'b');
	assert_int_equal(s.rig.front.stats.mutated, 1);
	scene_end(&s);
}

static void verify_rejects_a_write_that_changed_and_stores_the_copy(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_VERIFY);
	uint64_t unique = scene_send(&s);
	fake_fs_sample(s.rig.fs);
	memset(s.writer.memory, 'b', LEN);
	assert_int_equal(scene_finish(&s, unique, 0, true), -EIO);
	expect_stored(&s, 'a');
	struct stats *stats = &s.rig.front.stats;
	assert_int_equal(stats->rejected, 1);
	assert_int_equal(stats->redone, 1);
	assert_int_equal(stats->failed, 0);
	scene_end(&s);
}

/* The samples agree with each other and with the memory: nothing is torn. */
static void verify_takes_a_change_before_the_first_sample(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_VERIFY);
	uint64_t unique = scene_send(&s);
	memset(s.writer.memory, 'b', LEN);
	fake_fs_sample(s.rig.fs);
	assert_int_equal(scene_finish(&s, unique, 0, false), 0);
	expect_stored(&s, 'b');
	struct stats *stats = &s.rig.front.stats;
	assert_int_equal(stats->mutated, 1);
	assert_int_equal(stats->rejected, 0);
	assert_int_equal(stats->missed, 0);
	scene_end(&s);
}

static void adaptive_does_a_changed_write_again_and_bounces_the_next(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_ADAPTIVE);
	uint64_t unique = scene_send(&s);
	fake_fs_sample(s.rig.fs);
	memset(s.writer.memory, 'b', LEN);
	assert_int_equal(scene_finish(&s, unique, 0, true), 0);
	expect_stored(&s, 'a');
	unique = scene_send(&s);
	memset(s.writer.memory, 'c', LEN);
	assert_int_equal(scene_finish(&s, unique, 0, false), 0);
	expect_stored(&s, 'b');
	struct stats *stats = &s.rig.front.stats;
	assert_int_equal(stats->redone, 1);
	assert_int_equal(stats->bounced_adaptive, 1);
	assert_int_equal(stats->observed, 1);
	scene_end(&s);
}

static void a_refusal_by_a_pi_disk_of_changed_bytes_is_mended(void **unused)
{
	(void)unused;
	static const struct {
		enum dio_policy policy;
		int err;
	} cases[] = {{DIO_VERIFY, -EIO}, {DIO_ADAPTIVE, 0}};
	for (unsigned i = 0; i < 2; i++) {
		struct scene s;
		scene_begin(&s, cases[i].policy);
		uint64_t unique = scene_send(&s);
		memset(s.writer.memory, 'b', LEN);
		fake_fs_sample(s.rig.fs);
		assert_int_equal(scene_finish(&s, unique, -EILSEQ, true), cases[i].err);
		expect_stored(&s, 'a');
		scene_end(&s);
	}
}

/* What the array says of a write that it looked at itself. */
struct looked {
	enum dio_policy policy;
	uint32_t confirmed, replaced;
	bool unlike_guard;
	bool mended; /* written once more */
	int err;
	unsigned redone, rejected;
};

static void expect_outcome_of(const struct looked *looked)
{
	struct scene s;
	scene_begin(&s, looked->policy);
	uint64_t unique = scene_send(&s);
	struct source_findings *found = &fake_fs_wait_held(s.rig.fs, 1)->source->found;
	fake_fs_sample(s.rig.fs);
	memset(s.writer.memory, 'b', LEN); /* too late, where the array has looked at all of it */
	found->confirmed_bytes = looked->confirmed;
	found->replaced_bytes = looked->replaced;
	found->unlike_guard = looked->unlike_guard;
	assert_int_equal(scene_finish(&s, unique, 0, looked->mended), looked->err);
	struct stats *stats = &s.rig.front.stats;
	assert_int_equal(stats->redone, looked->redone);
	assert_int_equal(stats->rejected, looked->rejected);
	assert_int_equal(stats->failed, 0);
	scene_end(&s);
}

static void what_the_array_has_looked_at_is_not_looked_at_again(void **unused)
{
	(void)unused;
	expect_outcome_of(&(struct looked){DIO_VERIFY, .confirmed = LEN});
	expect_outcome_of(&(struct looked){DIO_ADAPTIVE, .confirmed = LEN});
}

static void a_write_of_several_stripes_is_looked_at_once_more_at_its_end(void **unused)
{
	(void)unused;
	expect_outcome_of(&(struct looked){DIO_VERIFY, .confirmed = LEN / 2, .mended = true,
		.err = -EIO, .redone = 1, .rejected = 1});
}

static void what_the_array_has_replaced_is_not_written_again(void **unused)
{
	(void)unused;
	struct looked looked = {DIO_VERIFY, .confirmed = LEN, .replaced = LEN, .unlike_guard = true,
		.err = -EIO, .redone = 1, .rejected = 1};
	expect_outcome_of(&looked);
	looked.policy = DIO_ADAPTIVE;
	looked.err = 0;
	looked.rejected = 0;
	expect_outcome_of(&looked);
}

static void a_write_that_the_array_has_replaced_in_part_is_written_again(void **unused)
{
	(void)unused;
	expect_outcome_of(&(struct looked){DIO_VERIFY, .confirmed = LEN / 2, .replaced = LEN / 2,
		.unlike_guard = true, .mended = true, .err = -EIO, .redone = 1, .rejected = 1});
}

static void memory_that_the_array_could_not_look_at_fails_nobody(void **unused)
{
	(void)unused;
	expect_outcome_of(
		&(struct looked){DIO_VERIFY, .confirmed = LEN, .replaced = LEN, .redone = 1});
}

static void a_refusal_of_still_bytes_reaches_the_writer(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_VERIFY);
	uint64_t unique = scene_send(&s);
	fake_fs_sample(s.rig.fs);
	assert_int_equal(scene_finish(&s, unique, -EILSEQ, false), -EILSEQ);
	assert_int_equal(s.rig.front.stats.refused, 1);
	scene_end(&s);
}

static void memory_that_cannot_be_looked_at_is_written_from_the_copy(void **unused)
{
	(void)unused;
	static const enum dio_policy policies[] = {DIO_VERIFY, DIO_ADAPTIVE};
	for (unsigned i = 0; i < 2; i++) {
		struct scene s;
		scene_begin(&s, policies[i]);
		uint64_t unique = scene_send(&s);
		fake_fs_sample(s.rig.fs);
		assert_int_equal(mprotect(s.writer.memory, LEN, PROT_NONE), 0);
		assert_int_equal(scene_finish(&s, unique, 0, true), 0);
		expect_stored(&s, 'a');
		struct stats *stats = &s.rig.front.stats;
		assert_int_equal(stats->unobserved[STATS_MISS_UNREADABLE], 1);
		assert_int_equal(stats->mutated, 0);
		assert_int_equal(stats->bounced_adaptive, 0);
		scene_end(&s);
	}
}

static void a_writer_that_is_not_found_is_bounced_and_counted(void **unused)
{
	(void)unused;
	struct scene s;
	scene_begin(&s, DIO_VERIFY);
	s.rig.tid = getpid(); /* this thread, which is in no such call */
	uint64_t unique = scene_send(&s);
	memset(s.writer.memory, 'b', LEN);
	assert_int_equal(scene_finish(&s, unique, 0, false), 0);
	expect_stored(&s, 'a');
	uint64_t unobserved = 0;
	for (unsigned i = 0; i < STATS_MISS_COUNT; i++)
		unobserved += s.rig.front.stats.unobserved[i];
	assert_int_equal(unobserved, 1);
	scene_end(&s);
}

static void an_atomic_file_is_written_from_the_copy_under_every_policy(void **unused)
{
	(void)unused;
	static const enum dio_policy policies[] = {
		DIO_BOUNCE, DIO_ZEROCOPY, DIO_VERIFY, DIO_ADAPTIVE, DIO_DETECT};
	for (unsigned i = 0; i < 5; i++) {
		struct scene s;
		scene_begin(&s, policies[i]);
		assert_int_equal(
			rig_set_xattr(&s.rig, s.file.node, "user.stablefs.atomic", "1"), 0);
		uint64_t unique = scene_send(&s);
		assert_true(fake_fs_wait_held(s.rig.fs, 1)->atomic);
		memset(s.writer.memory, 'b', LEN);
		assert_int_equal(scene_finish(&s, unique, 0, false), 0);
		expect_stored(&s, 'a');
		scene_end(&s);
	}
}

/* ---- buffered ---- */

static void buffered_opens_are_left_to_the_kernels_path(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BUFFERED};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file made = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	assert_int_equal(made.open_flags, FOPEN_KEEP_CACHE);
	assert_int_equal(
		rig_open(&rig, made.node, O_WRONLY | O_DIRECT).open_flags, FOPEN_KEEP_CACHE);
	rig_end(&rig);
}

/* The pages go first: the answer to the notification is the kernel's own business. */
static void expect_dropped_then_answered(struct kernel_rig *rig, uint64_t unique, int err)
{
	struct fuse_notify_inval_inode_out out;
	rig_receive(rig, &message);
	assert_int_equal(message.head.unique, 0);
	assert_int_equal(message.head.error, FUSE_NOTIFY_INVAL_INODE);
	memcpy(&out, message.body, sizeof(out));
	assert_int_equal(out.off, 0);
	assert_true(out.len >= LEN);
	rig_receive(rig, &message);
	assert_int_equal(message.head.unique, unique);
	assert_int_equal(message.head.error, err);
}

/* Opened before the policy came: the kernel sends them side by side. */
static void buffered_writes_of_a_file_go_one_at_a_time_in_order(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BOUNCE};
	uint64_t unique[3];
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file one = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	struct rig_file two = rig_open(&rig, one.node, O_RDWR | O_DIRECT);
	struct rig_file other = rig_create(&rig, "g", O_RDWR | O_DIRECT);
	rig.front.policy = DIO_BUFFERED;
	fake_fs_hold(rig.fs, true);
	for (unsigned i = 0; i < 3; i++) {
		memset(block, 'a' + (int)i, LEN);
		unique[i] = rig_send_write(&rig, i % 2 ? &two : &one, 0, block, LEN, 0);
	}
	uint64_t aside = rig_send_write(&rig, &other, 0, block, LEN, 0);
	assert_int_equal(fake_fs_wait_held(rig.fs, 2)->ino, other.node);
	for (unsigned i = 0; i < 3; i++) {
		struct fs_io *io = fake_fs_held(rig.fs, one.node);
		assert_int_equal(io->source->bounce[0], 'a' + (int)i);
		fake_fs_finish_one(rig.fs, io, i == 1 ? -EIO : 0);
		expect_dropped_then_answered(&rig, unique[i], i == 1 ? -EIO : 0);
		if (i < 2)
			fake_fs_wait_held(rig.fs, 2);
	}
	assert_int_equal(fake_fs_data(rig.fs, one.node)[0], 'c');
	fake_fs_finish(rig.fs, 0);
	expect_dropped_then_answered(&rig, aside, 0);
	assert_int_equal(rig.front.stats.buffered, 4);
	assert_int_equal(rig.front.stats.failed, 1);
	rig_end(&rig);
}

static void what_the_kernel_writes_back_does_not_wait_for_a_turn(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BUFFERED};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	fake_fs_hold(rig.fs, true);
	uint64_t direct = rig_send_write(&rig, &file, 0, block, LEN, 0);
	fake_fs_wait_held(rig.fs, 1);
	uint64_t cached = rig_send_write(&rig, &file, LEN, block, LEN, FUSE_WRITE_CACHE);
	struct fs_io *io = fake_fs_wait_held(rig.fs, 2);
	assert_int_equal(io->offset_bytes, LEN);
	fake_fs_finish_one(rig.fs, io, 0);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, cached);
	fake_fs_finish(rig.fs, 0);
	expect_dropped_then_answered(&rig, direct, 0);
	rig_end(&rig);
}

static void buffered_takes_what_is_not_aligned(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BUFFERED};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	uint64_t unique = rig_send_write(&rig, &file, 7, block, 3, 0);
	expect_dropped_then_answered(&rig, unique, 0);
	rig.front.policy = DIO_BOUNCE;
	assert_int_equal(rig_write(&rig, &file, 7, block, 3), -EINVAL);
	rig_end(&rig);
}

/* ---- refuse ---- */

static void refuse_fails_direct_opens_and_leaves_nothing_behind(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_REFUSE};
	rig_start(&rig, RIG_OFFERS, NULL);
	assert_int_equal(rig_try_create(&rig, "f", O_RDWR | O_DIRECT), -EINVAL);
	assert_int_equal(rig_lookup(&rig, FUSE_ROOT_ID, "f"), 0);
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	assert_int_equal(rig_try_open(&rig, file.node, O_RDONLY | O_DIRECT), -EINVAL);
	assert_int_equal(rig.front.stats.refused_open, 2);
	assert_int_equal(rig_write(&rig, &file, 0, block, LEN), 0);
	rig_end(&rig);
}

static void refuse_fails_direct_writes_of_files_that_were_open_before(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BOUNCE};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	assert_int_equal(rig_write(&rig, &file, 0, block, LEN), 0);
	rig.front.policy = DIO_REFUSE;
	assert_int_equal(rig_write(&rig, &file, 0, block, LEN), -EINVAL);
	assert_int_equal(rig.front.stats.refused_io, 1);
	rig_end(&rig);
}

/* ---- whose word counts ---- */

static enum dio_policy policy_now(struct kernel_rig *rig, const struct rig_file *file)
{
	return front_policy_of(&rig->front, (struct coherence_file *)(uintptr_t)file->fh, getpid());
}

static void a_files_attribute_counts_before_the_mounts_policy_at_once(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BOUNCE};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.dio", "detect"), 0);
	assert_int_equal(policy_now(&rig, &file), DIO_DETECT);
	assert_int_equal(rig_set_xattr(&rig, file.node, "trusted.stablefs.dio", "zerocopy"), 0);
	assert_int_equal(policy_now(&rig, &file), DIO_ZEROCOPY);
	struct rig_file again = rig_open(&rig, file.node, O_RDWR | O_DIRECT);
	assert_int_equal(policy_now(&rig, &again), DIO_ZEROCOPY);
	assert_int_equal(rig_set_xattr(&rig, file.node, "trusted.stablefs.dio", NULL), 0);
	assert_int_equal(policy_now(&rig, &again), DIO_DETECT);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.dio", NULL), 0);
	assert_int_equal(policy_now(&rig, &file), DIO_BOUNCE);
	rig_end(&rig);
}

static void an_attribute_is_remembered_from_the_first_open_on(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_BOUNCE};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	rig_release(&rig, &file);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.dio", "refuse"), 0);
	assert_int_equal(rig_try_open(&rig, file.node, O_RDWR | O_DIRECT), -EINVAL);
	file = rig_open(&rig, file.node, O_RDWR);
	assert_int_equal(policy_now(&rig, &file), DIO_REFUSE);
	rig_end(&rig);
}

static void attributes_take_names_of_policies_and_switches_only(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_ZEROCOPY};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	static const char *const wrong[] = {"", "bounced", "cow", "bounce ", "a name that is long"};
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(
			rig_set_xattr(&rig, file.node, "user.stablefs.dio", wrong[i]), -EINVAL);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.atomic", "yes"), -EINVAL);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.atomic", "0"), 0);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.other", "bounced"), 0);
	rig_end(&rig);
}

static void owners_weaken_a_stable_mount_only_where_it_lets_them(void **unused)
{
	(void)unused;
	for (int weaken = 0; weaken < 2; weaken++) {
		struct kernel_rig rig = {.options = {.dio = DIO_BOUNCE, .dio_weaken = weaken}};
		rig_start(&rig, RIG_OFFERS, NULL);
		struct rig_file file = rig_create(&rig, "f", O_RDWR);
		assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.dio", "zerocopy"),
			weaken ? 0 : -EPERM);
		assert_int_equal(policy_now(&rig, &file), weaken ? DIO_ZEROCOPY : DIO_BOUNCE);
		rig_end(&rig);
	}
}

/* Said while the mount was no more stable itself. */
static void a_weak_attribute_does_not_count_once_the_mount_is_stable(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.dio = DIO_ZEROCOPY};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	assert_int_equal(rig_set_xattr(&rig, file.node, "user.stablefs.dio", "verify"), 0);
	assert_int_equal(policy_now(&rig, &file), DIO_VERIFY);
	rig.front.policy = DIO_DETECT;
	assert_int_equal(policy_now(&rig, &file), DIO_DETECT);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(detect_stores_the_copy_and_counts_what_changed),
		cmocka_unit_test(a_still_write_is_observed_and_left_alone),
		cmocka_unit_test(only_what_comes_from_the_copy_alone_is_answered_early),
		cmocka_unit_test(zerocopy_stores_what_the_memory_holds),
		cmocka_unit_test(verify_rejects_a_write_that_changed_and_stores_the_copy),
		cmocka_unit_test(verify_takes_a_change_before_the_first_sample),
		cmocka_unit_test(adaptive_does_a_changed_write_again_and_bounces_the_next),
		cmocka_unit_test(a_refusal_by_a_pi_disk_of_changed_bytes_is_mended),
		cmocka_unit_test(what_the_array_has_looked_at_is_not_looked_at_again),
		cmocka_unit_test(a_write_of_several_stripes_is_looked_at_once_more_at_its_end),
		cmocka_unit_test(what_the_array_has_replaced_is_not_written_again),
		cmocka_unit_test(a_write_that_the_array_has_replaced_in_part_is_written_again),
		cmocka_unit_test(memory_that_the_array_could_not_look_at_fails_nobody),
		cmocka_unit_test(a_refusal_of_still_bytes_reaches_the_writer),
		cmocka_unit_test(memory_that_cannot_be_looked_at_is_written_from_the_copy),
		cmocka_unit_test(a_writer_that_is_not_found_is_bounced_and_counted),
		cmocka_unit_test(an_atomic_file_is_written_from_the_copy_under_every_policy),
		cmocka_unit_test(buffered_opens_are_left_to_the_kernels_path),
		cmocka_unit_test(buffered_writes_of_a_file_go_one_at_a_time_in_order),
		cmocka_unit_test(what_the_kernel_writes_back_does_not_wait_for_a_turn),
		cmocka_unit_test(buffered_takes_what_is_not_aligned),
		cmocka_unit_test(refuse_fails_direct_opens_and_leaves_nothing_behind),
		cmocka_unit_test(refuse_fails_direct_writes_of_files_that_were_open_before),
		cmocka_unit_test(a_files_attribute_counts_before_the_mounts_policy_at_once),
		cmocka_unit_test(an_attribute_is_remembered_from_the_first_open_on),
		cmocka_unit_test(attributes_take_names_of_policies_and_switches_only),
		cmocka_unit_test(owners_weaken_a_stable_mount_only_where_it_lets_them),
		cmocka_unit_test(a_weak_attribute_does_not_count_once_the_mount_is_stable),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
