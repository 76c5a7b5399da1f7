/* SPDX-License-Identifier: MIT */
/* Transfers by one who must not wait: what goes on at once, and each reason for which it does not.
 * Whatever would wait would run the engine here, or take db_lock: the test holds that. */
#include "rig.h"

#include "fs/internal.h"

struct transfer_of {
	struct fs_io io;
	struct source source;
	struct volume_waiter waiter;
	struct volume *v;
	uint8_t data[3 * BLOCK_BYTES];
};

static void note_done(struct fs_io *io, int err)
{
	struct transfer_of *t = container_of(io, struct transfer_of, io);
	volume_signal(t->v, &t->waiter, err);
}

static void prepare(struct transfer_of *t, struct rig *rig, enum stripe_kind kind, uint64_t ino,
	uint64_t offset, uint32_t len)
{
	*t = (struct transfer_of){.v = rig->v};
	memset(t->data, 'n', sizeof(t->data));
	source_init_bounce(&t->source, t->data, len);
	t->io = (struct fs_io){.kind = kind,
		.ino = ino,
		.offset_bytes = offset,
		.len_bytes = len,
		.source = &t->source,
		.data = t->data,
		.done = note_done};
}

/* Nobody else may use the database meanwhile, so whoever waited for it would not come back. */
static bool submit_now(struct rig *rig, struct transfer_of *t)
{
	pthread_mutex_lock(&rig->fs->db_lock);
	bool goes_on = fs_submit_now(rig->fs, &t->io);
	pthread_mutex_unlock(&rig->fs->db_lock);
	return goes_on;
}

static int wait_for(struct rig *rig, struct transfer_of *t)
{
	volume_wait(rig->v, &t->waiter);
	return t->waiter.err;
}

static int rest(struct rig *rig, struct transfer_of *t)
{
	assert_false(t->waiter.ready);
	fs_submit_rest(rig->fs, &t->io);
	return wait_for(rig, t);
}

static uint64_t file_of_bytes(struct rig *rig, const char *name, uint32_t len)
{
	uint64_t ino = rig_create(rig, FS_ROOT_INO, name);
	uint8_t *data = calloc(1, len + 1);
	memset(data, 'o', len);
	assert_int_equal(fs_write(rig->fs, ino, 0, data, len), len);
	free(data);
	return ino;
}

static void assert_bytes(struct rig *rig, uint64_t ino, uint64_t offset, uint32_t len, char byte)
{
	uint8_t *got = calloc(1, len);
	assert_int_equal(fs_read(rig->fs, ino, offset, got, len), len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(got[i], byte);
	free(got);
}

static struct rig *new_rig(void)
{
	return rig_new(8, 64 * MIB, 8 * MIB);
}

static void what_is_in_memory_goes_on_at_once(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", 8 * BLOCK_BYTES);
	prepare(&t, rig, STRIPE_READ, ino, BLOCK_BYTES, BLOCK_BYTES);
	assert_true(submit_now(rig, &t));
	assert_int_equal(wait_for(rig, &t), 0);
	assert_int_equal(t.io.done_bytes, BLOCK_BYTES);
	assert_int_equal(t.data[0], 'o');
	prepare(&t, rig, STRIPE_WRITE, ino, 3 * BLOCK_BYTES, BLOCK_BYTES);
	assert_true(submit_now(rig, &t));
	assert_int_equal(wait_for(rig, &t), 0);
	prepare(&t, rig, STRIPE_WRITE, ino, 20 * BLOCK_BYTES, BLOCK_BYTES);
	assert_true(submit_now(rig, &t)); /* allocates, and grows */
	assert_int_equal(wait_for(rig, &t), 0);
	assert_bytes(rig, ino, 3 * BLOCK_BYTES, BLOCK_BYTES, 'n');
	assert_bytes(rig, ino, 20 * BLOCK_BYTES, BLOCK_BYTES, 'n');
	prepare(&t, rig, STRIPE_READ, ino, 10 * BLOCK_BYTES, BLOCK_BYTES);
	assert_true(submit_now(rig, &t)); /* a hole: it is done by then */
	assert_true(t.waiter.ready);
	rig_free(rig);
}

static void an_inode_that_is_not_in_memory_has_to_be_waited_for(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	rig_remount(rig);
	prepare(&t, rig, STRIPE_READ, ino, 0, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), 0);
	assert_int_equal(t.data[0], 'o');
	prepare(&t, rig, STRIPE_READ, ino, 0, BLOCK_BYTES);
	assert_true(submit_now(rig, &t));
	assert_int_equal(wait_for(rig, &t), 0);
	rig_free(rig);
}

static void a_map_that_is_not_in_memory_has_to_be_waited_for(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	rig_remount(rig);
	(void)rig_stat(rig, ino);
	prepare(&t, rig, STRIPE_WRITE, ino, 0, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), 0);
	assert_bytes(rig, ino, 0, BLOCK_BYTES, 'n');
	rig_free(rig);
}

static void changes_that_have_piled_up_have_to_be_waited_for_by_writes(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES), before = fs_stats(rig->fs).commits;
	atomic_store(&rig->fs->file_full, true);
	prepare(&t, rig, STRIPE_READ, ino, 0, BLOCK_BYTES);
	assert_true(submit_now(rig, &t));
	assert_int_equal(wait_for(rig, &t), 0);
	prepare(&t, rig, STRIPE_WRITE, ino, 0, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(fs_stats(rig->fs).commits, before);
	assert_int_equal(rest(rig, &t), 0);
	assert_true(fs_stats(rig->fs).commits > before);
	rig_free(rig);
}

static void the_rest_of_a_last_block_has_to_be_waited_for(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	assert_int_equal(rig_truncate(rig, ino, 1000), 0);
	prepare(&t, rig, STRIPE_WRITE, ino, 2 * BLOCK_BYTES, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rig_stat(rig, ino).st_size, 1000);
	assert_int_equal(rest(rig, &t), 0);
	assert_bytes(rig, ino, 0, 1000, 'o');
	assert_bytes(rig, ino, 1000, 2 * BLOCK_BYTES - 1000, 0);
	assert_bytes(rig, ino, 2 * BLOCK_BYTES, BLOCK_BYTES, 'n');
	rig_free(rig);
}

static void fill(struct rig *rig, uint64_t ino)
{
	static uint8_t data[MIB];
	uint64_t at = 0;
	for (uint32_t len = MIB; len >= BLOCK_BYTES;) {
		ssize_t put = fs_write(rig->fs, ino, at, data, len);
		if (put == -ENOSPC)
			len /= 2;
		else
			at += (uint64_t)put;
	}
}

/* It takes nothing and leaves nothing while it waits to be taken up: others go on. */
static void space_that_a_commit_frees_has_to_be_waited_for(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t, other;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	uint64_t gone = file_of_bytes(rig, "gone", 64 * BLOCK_BYTES);
	assert_int_equal(fs_sync(rig->fs), 0);
	fill(rig, rig_create(rig, FS_ROOT_INO, "full"));
	fs_forget(rig->fs, gone, 1);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "gone"), 0);
	prepare(&t, rig, STRIPE_WRITE, ino, 0, 3 * BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	prepare(&other, rig, STRIPE_WRITE, ino, 0, BLOCK_BYTES);
	assert_true(submit_now(rig, &other)); /* where there are blocks already */
	assert_int_equal(wait_for(rig, &other), 0);
	assert_int_equal(rig_truncate(rig, ino, 2 * BLOCK_BYTES), 0);
	assert_int_equal(rest(rig, &t), 0);
	assert_bytes(rig, ino, 0, 3 * BLOCK_BYTES, 'n');
	rig_free(rig);
}

static void without_any_space_the_rest_fails_and_takes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	fill(rig, rig_create(rig, FS_ROOT_INO, "full"));
	prepare(&t, rig, STRIPE_WRITE, ino, 0, 2 * BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), -ENOSPC);
	assert_int_equal(rig_stat(rig, ino).st_size, BLOCK_BYTES);
	assert_bytes(rig, ino, 0, BLOCK_BYTES, 'o');
	rig_free(rig);
}

static void what_fails_and_what_is_atomic_is_left_to_the_rest(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", BLOCK_BYTES);
	prepare(&t, rig, STRIPE_READ, FS_ROOT_INO, 0, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), -EISDIR);
	prepare(&t, rig, STRIPE_WRITE, ino, (uint64_t)INT64_MAX, BLOCK_BYTES);
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), -EFBIG);
	prepare(&t, rig, STRIPE_WRITE, ino, 0, BLOCK_BYTES);
	t.io.atomic = true;
	assert_false(submit_now(rig, &t));
	assert_int_equal(rest(rig, &t), 0);
	assert_bytes(rig, ino, 0, BLOCK_BYTES, 'n');
	rig_free(rig);
}

static void one_that_is_held_back_goes_on_by_itself(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct transfer_of t;
	uint64_t ino = file_of_bytes(rig, "f", 4 * BLOCK_BYTES);
	struct inode *inode;
	struct barrier b;
	assert_int_equal(inode_get(rig->fs, ino, &inode), 0);
	barrier_begin(rig->fs, inode, &b, 1, 2);
	prepare(&t, rig, STRIPE_WRITE, ino, BLOCK_BYTES, BLOCK_BYTES);
	assert_true(submit_now(rig, &t));
	assert_false(t.waiter.ready);
	barrier_end(rig->fs, inode, &b);
	inode_unpin(rig->fs, inode);
	assert_int_equal(wait_for(rig, &t), 0);
	assert_bytes(rig, ino, BLOCK_BYTES, BLOCK_BYTES, 'n');
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_memory_goes_on_at_once),
		cmocka_unit_test(an_inode_that_is_not_in_memory_has_to_be_waited_for),
		cmocka_unit_test(a_map_that_is_not_in_memory_has_to_be_waited_for),
		cmocka_unit_test(changes_that_have_piled_up_have_to_be_waited_for_by_writes),
		cmocka_unit_test(the_rest_of_a_last_block_has_to_be_waited_for),
		cmocka_unit_test(space_that_a_commit_frees_has_to_be_waited_for),
		cmocka_unit_test(without_any_space_the_rest_fails_and_takes_nothing),
		cmocka_unit_test(what_fails_and_what_is_atomic_is_left_to_the_rest),
		cmocka_unit_test(one_that_is_held_back_goes_on_by_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
