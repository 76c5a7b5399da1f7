/* SPDX-License-Identifier: MIT */
/* A file system whose transfers end when the test says so: to see what the front end does
 * meanwhile. One directory of up to FAKE_FILES files of up to FAKE_FILE_BYTES. Any thread. */
#ifndef TESTS_FUSE_FAKE_FS_H
#define TESTS_FUSE_FAKE_FS_H

#include "fs/fs.h"

#define FAKE_FILES      8u
#define FAKE_FILE_BYTES (2u << 20)
#define FAKE_XATTRS     4u
#define FAKE_NAMELESS   "?" /* what fs_tmpfile() made is called for the test */
#define FAKE_GENERATION 77u
#define FAKE_BIRTH_S    1234567 /* and as many nanoseconds as the inode's number */

struct fs *fake_fs_new(void);
void fake_fs_free(struct fs *fs);

/* From now on transfers wait (or do not: then they end within fs_submit(), as at first). */
void fake_fs_hold(struct fs *fs, bool on);

/* Wait until @count transfers wait, and give the newest of them. */
struct fs_io *fake_fs_wait_held(struct fs *fs, unsigned count);

/* The oldest that waits, a write, takes its bytes now, and once: not when it ends. */
void fake_fs_sample(struct fs *fs);

/* Do and end the oldest that waits, on the calling thread, with @err. */
void fake_fs_finish(struct fs *fs, int err);
void fake_fs_finish_one(struct fs *fs, struct fs_io *io, int err); /* this one */

/* The only one of file @ino that waits: asserted. */
struct fs_io *fake_fs_held(struct fs *fs, uint64_t ino);

/* How often it was synced, whole, and by its data alone; what it is to fail with from now on. */
struct fake_syncs {
	unsigned full, data;
};
struct fake_syncs fake_fs_syncs(struct fs *fs);
void fake_fs_fail_syncs(struct fs *fs, int err);
void fake_fs_set_free(struct fs *fs, uint64_t bytes); /* of statfs; none at first */

unsigned fake_fs_opens(struct fs *fs);     /* fs_file_open() without fs_file_release() */
int64_t fake_fs_references(struct fs *fs); /* lookups without forgets */

/* A privilege that was given to file @ino: mode 06777; and what it is now. */
void fake_fs_set_mode(struct fs *fs, uint64_t ino, mode_t mode);
mode_t fake_fs_mode(struct fs *fs, uint64_t ino);

/* What file @ino holds; FAKE_FILE_BYTES, the test's to look at while nothing is under way. */
const uint8_t *fake_fs_data(struct fs *fs, uint64_t ino);

#endif
