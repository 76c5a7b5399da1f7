/* SPDX-License-Identifier: MIT */
/* The session: what is negotiated, who owns a request's memory, when replies leave. */
#include "kernel_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "fake_fs.h"

#define PAGE 4096u

static uint8_t payload[1 << 20];
static struct kernel_message message;

static void a_modern_kernel_is_asked_for_coherent_direct_io(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, &message);
	struct fuse_init_out out;
	memcpy(&out, message.body, sizeof(out));
	assert_true(out.flags & FUSE_INIT_EXT);
	assert_true(((uint64_t)out.flags2 << 32) & RIG_DIRECT_IO_ALLOW_MMAP);
	assert_true(out.flags & FUSE_HANDLE_KILLPRIV_V2);
	assert_true(out.flags & FUSE_WRITEBACK_CACHE);
	assert_int_equal(out.max_write, 1 << 20);
	assert_int_equal(out.max_pages, 256);
	rig_end(&rig);
}

static void an_old_kernel_is_asked_for_nothing_that_it_did_not_offer(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, FUSE_MAX_PAGES | FUSE_BIG_WRITES, &message);
	struct fuse_init_out out;
	memcpy(&out, message.body, sizeof(out));
	assert_int_equal(out.flags2, 0);
	assert_false(out.flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_WRITEBACK_CACHE));
	struct rig_file direct = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	assert_false(direct.open_flags & (FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES));
	rig_end(&rig);
}

static void direct_opens_go_around_the_cache_side_by_side(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file created = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct rig_file opened = rig_open(&rig, created.node, O_WRONLY | O_DIRECT);
	assert_true(created.open_flags & FOPEN_DIRECT_IO);
	assert_true(created.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	assert_true(opened.open_flags & FOPEN_DIRECT_IO);
	assert_true(opened.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	rig_end(&rig);
}

static void ordinary_opens_keep_the_cache(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file created = rig_create(&rig, "o", O_WRONLY | O_APPEND);
	struct rig_file opened = rig_open(&rig, created.node, O_RDONLY);
	assert_int_equal(created.open_flags, FOPEN_KEEP_CACHE);
	assert_int_equal(opened.open_flags, FOPEN_KEEP_CACHE);
	rig_end(&rig);
}

static void exact_times_leave_direct_writers_to_the_kernels_own_path(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.options.exact_times = true};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file writer = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct rig_file reader = rig_open(&rig, writer.node, O_RDONLY | O_DIRECT);
	assert_int_equal(writer.open_flags, FOPEN_KEEP_CACHE);
	assert_true(reader.open_flags & FOPEN_DIRECT_IO);
	rig_end(&rig);
}

static void a_payload_of_any_size_lies_at_a_page_boundary(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	fake_fs_hold(rig.fs, true);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	const uint32_t sizes[] = {512, PAGE, 65536 + 512, sizeof(payload)};
	for (unsigned i = 0; i < 4; i++) {
		memset(payload, 'a' + (int)i, sizes[i]);
		rig_send_write(&rig, &file, 0, payload, sizes[i], 0);
		struct fs_io *io = fake_fs_wait_held(rig.fs, 1);
		assert_int_equal((uintptr_t)io->source->bounce % PAGE, 0);
		assert_int_equal(io->len_bytes, sizes[i]);
		assert_memory_equal(io->source->bounce, payload, sizes[i]);
		fake_fs_finish(rig.fs, 0);
		rig_receive(&rig, &message);
		assert_int_equal(message.head.error, 0);
	}
	rig_end(&rig);
}

/* The only worker goes on with another buffer; the first stays as it was. */
static void a_writes_memory_is_its_own_until_the_write_has_ended(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	fake_fs_hold(rig.fs, true);
	memset(payload, 'x', PAGE);
	uint64_t unique = rig_send_write(&rig, &file, 0, payload, PAGE, 0);
	struct fs_io *io = fake_fs_wait_held(rig.fs, 1);
	const uint8_t *bounce = io->source->bounce;
	fake_fs_hold(rig.fs, false);
	memset(payload, 'y', sizeof(payload));
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(rig_write(&rig, &file, PAGE, payload, sizeof(payload) - PAGE), 0);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(bounce[i], 'x');
	fake_fs_finish(rig.fs, 0);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, unique);
	assert_int_equal(rig_read(&rig, &file, 0, PAGE, &message), 0);
	assert_int_equal(message.body[PAGE - 1], 'x');
	rig_end(&rig);
}

static void a_failed_write_gives_its_writer_the_error(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	fake_fs_hold(rig.fs, true);
	rig_send_write(&rig, &file, 0, payload, PAGE, 0);
	fake_fs_wait_held(rig.fs, 1);
	fake_fs_finish(rig.fs, -EILSEQ);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.error, -EILSEQ);
	assert_int_equal(rig.front.stats.refused, 1);
	rig_end(&rig);
}

static void unaligned_direct_io_is_refused_and_buffered_io_is_not(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file direct = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct rig_file cached = rig_open(&rig, direct.node, O_RDWR);
	assert_int_equal(rig_write(&rig, &direct, 100, payload, 512), -EINVAL);
	assert_int_equal(rig_write(&rig, &direct, 512, payload, 100), -EINVAL);
	assert_int_equal(rig_read(&rig, &direct, 0, 100, &message), -EINVAL);
	assert_int_equal(rig_write(&rig, &direct, 512, payload, 512), 0);
	assert_int_equal(rig_write(&rig, &cached, 100, payload, 100), 0);
	rig_end(&rig);
}

/* The page cache's own writes carry the flags of some open, which may be a direct one. */
static void a_write_of_the_page_cache_is_not_direct(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file direct = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	rig_send_write(&rig, &direct, 0, payload, 100, FUSE_WRITE_CACHE);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.error, 0);
	assert_int_equal(rig.front.stats.direct_writes, 0);
	assert_int_equal(rig.front.stats.cached_writes, 1);
	rig_end(&rig);
}

/* Also where the read was over before the write came: the kernel may have begun the write
 * earlier. */
static void a_write_where_pages_were_read_is_answered_after_they_are_dropped(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file direct = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct rig_file cached = rig_open(&rig, direct.node, O_RDONLY);
	assert_int_equal(rig_read(&rig, &cached, 0, 4 * PAGE, &message), 0);
	uint64_t write = rig_send_write(&rig, &direct, PAGE, payload, PAGE, 0);
	rig_receive(&rig, &message);
	struct fuse_notify_inval_inode_out drop;
	memcpy(&drop, message.body, sizeof(drop));
	assert_int_equal(message.head.unique, 0);
	assert_int_equal(message.head.error, FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(drop.ino, direct.node);
	assert_int_equal(drop.off, 0);
	assert_int_equal(drop.len, COHERENCE_REGION_BYTES);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, write);
	assert_int_equal(rig_write(&rig, &direct, PAGE, payload, PAGE), 0);
	rig_end(&rig);
}

static void direct_reads_and_writes_drop_nothing(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
		assert_int_equal(rig_read(&rig, &file, 0, PAGE, &message), 0);
	}
	assert_int_equal(coherence_drop_count(rig.front.coherence), 0);
	rig_end(&rig);
}

/* Names of the inode are dropped, so that its next lookup brings the right times. */
static void closing_corrects_times_that_direct_writes_have_left_stale(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct fuse_flush_in in = {.fh = file.fh};
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
	uint64_t flush = rig_send(&rig, FUSE_FLUSH, file.node, &in, sizeof(in), NULL, 0);
	rig_receive(&rig, &message);
	struct fuse_notify_inval_entry_out drop;
	memcpy(&drop, message.body, sizeof(drop));
	assert_int_equal(message.head.error, FUSE_NOTIFY_INVAL_ENTRY);
	assert_int_equal(drop.parent, FUSE_ROOT_ID);
	assert_string_equal((char *)message.body + sizeof(drop), "d");
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, flush);
	assert_int_equal(
		rig_call(&rig, FUSE_FLUSH, file.node, &in, sizeof(in), NULL, 0, &message), 0);
	rig_end(&rig);
}

static void a_write_without_the_right_to_keep_them_takes_privileges_away(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	fake_fs_set_mode(rig.fs, file.node, S_IFREG | 06777);
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
	assert_int_equal(fake_fs_mode(rig.fs, file.node), S_IFREG | 06777);
	rig_send_write(&rig, &file, 0, payload, PAGE, FUSE_WRITE_KILL_SUIDGID);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.error, 0);
	assert_int_equal(fake_fs_mode(rig.fs, file.node), S_IFREG | 0777);
	rig_end(&rig);
}

static void the_end_waits_for_what_is_under_way(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	fake_fs_hold(rig.fs, true);
	rig_send_write(&rig, &file, 0, payload, PAGE, 0);
	fake_fs_wait_held(rig.fs, 1);
	shutdown(rig.fd, SHUT_WR);
	assert_false(rig_has_reply(&rig, 20));
	fake_fs_finish(rig.fs, 0);
	rig_receive(&rig, &message);
	rig_end(&rig);
}

/* ---- writes that are answered when they are in the array's log ---- */

/* A direct write of 'x', answered and not done. */
static struct fs_io *answered_write(struct kernel_rig *rig, struct rig_file *file)
{
	rig_start(rig, RIG_OFFERS, NULL);
	*file = rig_create(rig, "d", O_RDWR | O_DIRECT);
	fake_fs_hold(rig->fs, true);
	memset(payload, 'x', PAGE);
	uint64_t unique = rig_send_write(rig, file, 0, payload, PAGE, 0);
	struct fs_io *io = fake_fs_wait_held(rig->fs, 1);
	io->logged(io);
	rig_receive(rig, &message);
	assert_int_equal(message.head.unique, unique);
	assert_int_equal(message.head.error, 0);
	return io;
}

static void a_write_in_the_log_is_answered_once_and_keeps_its_memory(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	struct rig_file file;
	const uint8_t *bounce = answered_write(&rig, &file)->source->bounce;
	fake_fs_hold(rig.fs, false);
	memset(payload, 'y', sizeof(payload));
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(rig_write(&rig, &file, PAGE, payload, sizeof(payload) - PAGE), 0);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(bounce[i], 'x');
	fake_fs_finish(rig.fs, 0);
	assert_false(rig_has_reply(&rig, 20));
	assert_int_equal(rig.front.stats.direct_writes, 21);
	rig_end(&rig);
}

static void an_answered_write_that_fails_is_counted(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	struct rig_file file;
	(void)answered_write(&rig, &file);
	assert_int_equal(rig.front.stats.failed, 0);
	fake_fs_finish(rig.fs, -EIO);
	assert_int_equal(rig.front.stats.failed, 1);
	rig_end(&rig);
}

struct finisher {
	struct fs *fs;
	atomic_bool began;
};

static void *finish_a_little_later(void *arg)
{
	struct finisher *f = arg;
	usleep(50000);
	f->began = true;
	fake_fs_finish(f->fs, 0);
	return NULL;
}

/* The file is closed already. */
static void the_end_waits_for_what_was_answered(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	struct rig_file file;
	pthread_t thread;
	(void)answered_write(&rig, &file);
	rig_release(&rig, &file);
	struct finisher finisher = {.fs = rig.fs};
	assert_int_equal(pthread_create(&thread, NULL, finish_a_little_later, &finisher), 0);
	front_wait_transfers(&rig.front);
	assert_true(finisher.began);
	pthread_join(thread, NULL);
	rig_end(&rig);
}

static void pages_are_dropped_before_an_early_answer_too(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file direct = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	struct rig_file cached = rig_open(&rig, direct.node, O_RDONLY);
	assert_int_equal(rig_read(&rig, &cached, 0, 4 * PAGE, &message), 0);
	fake_fs_hold(rig.fs, true);
	uint64_t write = rig_send_write(&rig, &direct, PAGE, payload, PAGE, 0);
	struct fs_io *io = fake_fs_wait_held(rig.fs, 1);
	io->logged(io);
	fake_fs_finish(rig.fs, 0); /* perhaps before the answer */
	rig_receive(&rig, &message);
	assert_int_equal(message.head.error, FUSE_NOTIFY_INVAL_INODE);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, write);
	rig_end(&rig);
}

static void what_the_kernel_writes_back_is_not_answered_early(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR);
	fake_fs_hold(rig.fs, true);
	rig_send_write(&rig, &file, 0, payload, PAGE, FUSE_WRITE_CACHE);
	assert_null(fake_fs_wait_held(rig.fs, 1)->logged);
	fake_fs_finish(rig.fs, 0);
	rig_receive(&rig, &message);
	rig_end(&rig);
}

/* The kernel does not ask for it where it goes around its page cache. */
static void a_synchronous_direct_write_is_answered_when_it_was_synced(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT);
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
	assert_int_equal(fake_fs_syncs(rig.fs).data + fake_fs_syncs(rig.fs).full, 0);
	file.flags |= O_DSYNC; /* of the open, or RWF_DSYNC */
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
	assert_int_equal(fake_fs_syncs(rig.fs).data, 1);
	file.flags |= O_SYNC;
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), 0);
	assert_int_equal(fake_fs_syncs(rig.fs).full, 1);
	file.flags &= ~O_DIRECT; /* fcntl(2): the open still goes around the cache */
	assert_int_equal(rig_write(&rig, &file, 0, payload, 100), 0);
	assert_int_equal(fake_fs_syncs(rig.fs).full, 2);
	rig_end(&rig);
}

static void a_sync_that_fails_is_the_error_of_its_write(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "d", O_RDWR | O_DIRECT | O_DSYNC);
	fake_fs_fail_syncs(rig.fs, -EIO);
	assert_int_equal(rig_write(&rig, &file, 0, payload, PAGE), -EIO);
	rig_end(&rig);
}

static void what_the_kernel_syncs_itself_is_not_synced_twice(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "c", O_RDWR | O_DSYNC);
	rig_send_write(&rig, &file, 0, payload, PAGE, FUSE_WRITE_CACHE);
	do {
		rig_receive(&rig, &message);
	} while (!message.head.unique);
	assert_int_equal(fake_fs_syncs(rig.fs).data, 0);
	rig_end(&rig);
}

/* Receive until a notification of the inode comes; its range is in @out. */
static void receive_inval(struct kernel_rig *rig, struct fuse_notify_inval_inode_out *out)
{
	do {
		rig_receive(rig, &message);
	} while (message.head.unique);
	assert_int_equal(message.head.error, FUSE_NOTIFY_INVAL_INODE);
	memcpy(out, message.body, sizeof(*out));
}

/* In front of dirty pages a hole is none of the pages that the kernel writes back by itself. */
static void a_direct_read_in_front_of_dirty_pages_does_not_end_too_early(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file cached = rig_create(&rig, "f", O_RDWR);
	struct rig_file direct = rig_open(&rig, cached.node, O_RDONLY | O_DIRECT);
	fake_fs_hold(rig.fs, true);
	rig_send_read(&rig, &direct, 0, PAGE);
	fake_fs_wait_held(rig.fs, 1);
	fake_fs_finish(rig.fs, 0);
	struct fuse_notify_inval_inode_out drop;
	receive_inval(&rig, &drop);
	assert_int_equal(drop.off, 0);
	fake_fs_wait_held(rig.fs, 1);
	struct stat longer = {.st_size = 2 * PAGE};
	fs_setattr(rig.fs, cached.node, FS_SET_SIZE, &longer, &longer);
	fake_fs_finish(rig.fs, 0);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.len, sizeof(message.head) + PAGE);
	rig_end(&rig);
}

static void without_buffered_writers_the_end_is_the_end(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file direct = rig_create(&rig, "f", O_RDWR | O_DIRECT);
	assert_int_equal(rig_read(&rig, &direct, 0, PAGE, &message), 0);
	assert_int_equal(message.head.len, sizeof(message.head));
	rig_end(&rig);
}

static void the_kernel_hears_of_blocks_that_its_pages_have_taken(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.see_blocks = true};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "c", O_RDWR);
	struct fuse_notify_inval_inode_out drop;
	rig_send_write(&rig, &file, 0, payload, PAGE, FUSE_WRITE_CACHE);
	receive_inval(&rig, &drop);
	assert_int_equal(drop.ino, file.node);
	assert_true(drop.off < 0); /* no pages */
	rig_send_write(&rig, &file, 0, payload, PAGE, FUSE_WRITE_CACHE);
	rig_receive(&rig, &message);
	assert_false(rig_has_reply(&rig, 50)); /* it has taken none */
	rig_end(&rig);
}

static int get_attributes(struct kernel_rig *rig, const struct rig_file *file, bool of_open)
{
	struct fuse_getattr_in in = {
		.getattr_flags = of_open ? FUSE_GETATTR_FH : 0, .fh = of_open ? file->fh : 0};
	return rig_call(rig, FUSE_GETATTR, file->node, &in, sizeof(in), NULL, 0, &message);
}

static void fail_to_write_back(struct kernel_rig *rig, const struct rig_file *file)
{
	struct fuse_notify_inval_inode_out drop;
	fake_fs_hold(rig->fs, true);
	rig_send_write(rig, file, 0, payload, PAGE, FUSE_WRITE_CACHE);
	fake_fs_wait_held(rig->fs, 1);
	fake_fs_finish(rig->fs, -ENOSPC);
	receive_inval(rig, &drop);
	assert_true(drop.off < 0);
}

/* The kernel asks on behalf of the open before it accepts a write, and nobody else does. */
static void who_writes_on_hears_that_pages_found_no_space(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {.see_blocks = true};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "c", O_RDWR);
	assert_int_equal(get_attributes(&rig, &file, true), 0);
	fail_to_write_back(&rig, &file);
	assert_int_equal(get_attributes(&rig, &file, false), 0);
	assert_int_equal(get_attributes(&rig, &file, true), -ENOSPC);
	assert_int_equal(get_attributes(&rig, &file, true), 0); /* once */
	fail_to_write_back(&rig, &file);
	fake_fs_set_free(rig.fs, 1 << 20);
	assert_int_equal(get_attributes(&rig, &file, true), 0);
	rig_end(&rig);
}

static void an_open_that_was_never_released_is_closed_at_the_end(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file first = rig_create(&rig, "a", O_RDWR);
	rig_open(&rig, first.node, O_RDONLY);
	rig_release(&rig, &first);
	assert_int_equal(fake_fs_opens(rig.fs), 1);
	rig_end(&rig); /* asserts that none is left */
}

static void forgets_give_references_back(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file file = rig_create(&rig, "a", O_RDWR);
	assert_int_equal(rig_lookup(&rig, FUSE_ROOT_ID, "a"), file.node);
	assert_int_equal(rig_lookup(&rig, FUSE_ROOT_ID, "none"), 0);
	assert_int_equal(fake_fs_references(rig.fs), 2);
	struct fuse_forget_in forget = {.nlookup = 2};
	rig_send(&rig, FUSE_FORGET, file.node, &forget, sizeof(forget), NULL, 0);
	rig_release(&rig, &file);
	assert_int_equal(fake_fs_references(rig.fs), 0);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_modern_kernel_is_asked_for_coherent_direct_io),
		cmocka_unit_test(an_old_kernel_is_asked_for_nothing_that_it_did_not_offer),
		cmocka_unit_test(direct_opens_go_around_the_cache_side_by_side),
		cmocka_unit_test(ordinary_opens_keep_the_cache),
		cmocka_unit_test(exact_times_leave_direct_writers_to_the_kernels_own_path),
		cmocka_unit_test(a_payload_of_any_size_lies_at_a_page_boundary),
		cmocka_unit_test(a_writes_memory_is_its_own_until_the_write_has_ended),
		cmocka_unit_test(a_failed_write_gives_its_writer_the_error),
		cmocka_unit_test(unaligned_direct_io_is_refused_and_buffered_io_is_not),
		cmocka_unit_test(a_write_of_the_page_cache_is_not_direct),
		cmocka_unit_test(a_write_where_pages_were_read_is_answered_after_they_are_dropped),
		cmocka_unit_test(direct_reads_and_writes_drop_nothing),
		cmocka_unit_test(closing_corrects_times_that_direct_writes_have_left_stale),
		cmocka_unit_test(a_write_without_the_right_to_keep_them_takes_privileges_away),
		cmocka_unit_test(the_end_waits_for_what_is_under_way),
		cmocka_unit_test(a_write_in_the_log_is_answered_once_and_keeps_its_memory),
		cmocka_unit_test(an_answered_write_that_fails_is_counted),
		cmocka_unit_test(the_end_waits_for_what_was_answered),
		cmocka_unit_test(pages_are_dropped_before_an_early_answer_too),
		cmocka_unit_test(what_the_kernel_writes_back_is_not_answered_early),
		cmocka_unit_test(a_synchronous_direct_write_is_answered_when_it_was_synced),
		cmocka_unit_test(a_sync_that_fails_is_the_error_of_its_write),
		cmocka_unit_test(what_the_kernel_syncs_itself_is_not_synced_twice),
		cmocka_unit_test(a_direct_read_in_front_of_dirty_pages_does_not_end_too_early),
		cmocka_unit_test(without_buffered_writers_the_end_is_the_end),
		cmocka_unit_test(the_kernel_hears_of_blocks_that_its_pages_have_taken),
		cmocka_unit_test(who_writes_on_hears_that_pages_found_no_space),
		cmocka_unit_test(an_open_that_was_never_released_is_closed_at_the_end),
		cmocka_unit_test(forgets_give_references_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
