/* SPDX-License-Identifier: MIT */
/* The file system: a POSIX namespace and extents in SQLite over the system area; file data on the
 * array.
 * Owner thread: any thread may call; one lock guards the database, a lock per inode its extent map
 * (order: database before inode; neither is held across I/O of the array, docs/locking.md).
 * Invariants: I1 data is durable before the extent that points to it is committed: a new extent is
 *   pending in memory until its data was written, and a commit flushes the array first. I2 blocks
 *   freed by a transaction are not used again before it is committed, nor while a transfer that
 *   mapped them is under way. I3 a byte never written reads as zero: holes, and the rest of
 *   fresh blocks. I4 an overwrite of allocated blocks needs no transaction, nor does its fdatasync.
 *   I5 what was committed survives; what was not leaves no trace.
 * May use: volume, stripe, inflight, base, SQLite. Must not know: FUSE, policies. */
#ifndef STABLEFS_FS_FS_H
#define STABLEFS_FS_FS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include "fs/times.h"
#include "inflight/source.h"
#include "stripe/stripe.h"
#include "volume/volume.h"

struct fs;

#define FS_ROOT_INO UINT64_C(1)
#define FS_NAME_MAX 255u
#define FS_LINK_MAX 2147483647u /* names of a file, subdirectories of a directory */

/* Make an empty file system (a root directory owned by @uid, @gid, mode 0755) on a fresh volume. */
int fs_format(struct volume *v, uid_t uid, gid_t gid, struct errmsg *why);

struct fs_options {
	bool read_only;
	uint64_t commit_ns; /* commit at least that often where the volume is threaded; 0: 5 s */
};

/* Open what fs_format made; recovers the database after an unclean end, reclaims files that were
 * unlinked while open. -EUCLEAN: the database is damaged, -EPROTONOSUPPORT: another schema. */
int fs_open(
	struct volume *v, const struct fs_options *options, struct fs **out, struct errmsg *why);

/* How reads move atimes, from now on; before, by relatime. Any thread. A day's worth of them is
 * kept in memory under lazy, where nothing else is to be committed. */
struct fs_atime_options {
	enum fs_atime rule;
	bool no_directories; /* nodiratime */
	bool lazy;           /* lazytime */
};
void fs_set_atime(struct fs *fs, const struct fs_atime_options *options);
enum fs_atime fs_atime_rule(struct fs *fs);

/* Read-only: everything is committed and durable when it returns, and every change fails with
 * -EROFS from then on. Not so: changes are taken; -EROFS where the volume cannot be written. 0, or
 * the error that stops changes. Any thread but the engine's; one call at a time. */
int fs_set_read_only(struct fs *fs, bool read_only);
bool fs_is_read_only(struct fs *fs);

/* Commit at least that often from now on (0: 5 s), where the volume is threaded. Any thread. */
void fs_set_commit_interval(struct fs *fs, uint64_t ns);

/* Commit everything and close. No transfer may be under way. 0 or the first error; freed in any
 * case. */
int fs_close(struct fs *fs);

/* Everything so far is committed and durable. */
int fs_sync(struct fs *fs);

/* ---- namespace. All return 0 or -errno. Times are set as POSIX says. Names are NUL-terminated
 * bytes; -ENAMETOOLONG above FS_NAME_MAX. Nobody checks permissions here: the kernel does. ---- */

/* Who makes something. The mask counts where the directory has no default ACL. */
struct fs_owner {
	uid_t uid;
	gid_t gid;
	mode_t umask;
};

/* A lookup, and each call that creates or links, takes a reference on the inode that it returns in
 * @st; fs_forget() gives @count back. An inode without links lives until its references and opens
 * are gone; one with links may leave memory meanwhile, and comes back from its row. st_blocks
 * counts allocated 512-byte units. "." leads to the inode itself, of any type, as long as it has a
 * name (for handles), ".." to the directory that a directory is in. */
int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st);
void fs_forget(struct fs *fs, uint64_t ino, uint64_t count);
int fs_getattr(struct fs *fs, uint64_t ino, struct stat *st);

/* When the inode was made: never changed by anybody. */
int fs_birth_time(struct fs *fs, uint64_t ino, struct timespec *out);

/* A handle that outlives a mount is an inode's number with this: so that one of another file system
 * that was at the same place, or one that was guessed, leads nowhere. Numbers themselves are given
 * out once, also across crashes. Not 0; never changes. */
uint32_t fs_generation(const struct fs *fs, uint64_t ino);

/* What fs_setattr() is to change. */
enum fs_set {
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_ATIME = 16,
	FS_SET_MTIME = 32,
	FS_SET_CTIME = 64,
	FS_SET_ATIME_NOW = 128,
	FS_SET_MTIME_NOW = 256,
};
int fs_setattr(
	struct fs *fs, uint64_t ino, unsigned set, const struct stat *values, struct stat *out);

/* Regular files, directories (mkdir), devices, FIFOs, sockets: by the type bits of @mode. A
 * directory with the setgid bit passes its group, and to directories the bit, on. */
int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	const struct fs_owner *owner, struct stat *st);
/* A regular file without a name, as fs_mknod() would make it in @parent: it goes with its last
 * reference, or at the next mount, unless fs_link() gives it one. */
int fs_tmpfile(
	struct fs *fs, uint64_t parent, mode_t mode, const struct fs_owner *owner, struct stat *st);
int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	const struct fs_owner *owner, struct stat *st);
int fs_readlink(struct fs *fs, uint64_t ino, char *target, size_t size); /* NUL-terminated */
/* -EMLINK above FS_LINK_MAX. What has no name gets one where it is referenced still. */
int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st);
int fs_unlink(struct fs *fs, uint64_t parent, const char *name);
int fs_rmdir(struct fs *fs, uint64_t parent, const char *name);
/* @flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags);
/* With RENAME_WHITEOUT, and perhaps RENAME_NOREPLACE: a character device 0, 0 of @owner takes the
 * old name. */
int fs_rename_whiteout(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags, const struct fs_owner *owner);

/* Entries behind @cookie (0: from the start, "." and ".." included), in an order that does not
 * change while others are added and removed: each entry that was there all the time is given
 * exactly once. @fill returns false when it is full. */
struct fs_dirent {
	const char *name;
	uint64_t ino;
	uint32_t type;   /* S_IFMT bits */
	uint64_t cookie; /* continue behind this entry */
};
int fs_readdir(struct fs *fs, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx);

/* fs_lookup() of what fs_readdir() gave: without a search, unless names came or went anywhere since
 * @version, which is what fs_names_version() said before. */
uint64_t fs_names_version(struct fs *fs);
int fs_lookup_listed(struct fs *fs, uint64_t parent, const char *name, uint64_t ino,
	uint64_t version, struct stat *st);

/* Extended attributes: any namespace; values to 64 KiB, the list of names too (-ENOSPC). @size 0
 * asks for the length. Return the length or -errno (-ENODATA, -ERANGE, -EEXIST by XATTR_CREATE).
 * system.posix_acl_access and _default are access control lists (acl.h): one that says no more than
 * a mode becomes that mode; else the mode follows it, and it follows fs_setattr(FS_SET_MODE). */
#define FS_XATTR_DROP_SGID 0x10000 /* with an access list: the setgid bit goes */
ssize_t fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size);
int fs_setxattr(
	struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags);
ssize_t fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size);
int fs_removexattr(struct fs *fs, uint64_t ino, const char *name);

/* From now on files and directories take these attributes over from the directory that they are
 * made in, in the same transaction. @names: short-valued ones, ended by NULL; borrowed until
 * fs_close(). Before anything is made. */
void fs_inherit_xattrs(struct fs *fs, const char *const *names);

int fs_statfs(struct fs *fs, struct statvfs *st);

/* ---- files ---- */

/* What an open file knows of errors that came after an answer: of a write that failed after
 * logged(), of a flush. fs_heard_init() when it is opened; fs_heard_check() behind each fs_fsync(),
 * also one that failed: the error that this open file was not told of yet, or 0. So each file that
 * was open hears of it once; an error of a write that nobody heard of is told to one that is opened
 * later, too (as with the kernel's errseq_t). @ino is open. */
struct fs_heard {
	uint32_t writes, flushes;
};
void fs_heard_init(struct fs *fs, uint64_t ino, struct fs_heard *heard);
int fs_heard_check(struct fs *fs, uint64_t ino, struct fs_heard *heard);

/* An open file keeps its inode. fs_release() of the last one of an unlinked file reclaims it. */
int fs_file_open(struct fs *fs, uint64_t ino);
void fs_file_release(struct fs *fs, uint64_t ino);

/* A file is opened through the kernel's page cache, for reading or not. True: a read would move its
 * atime, and might be answered from pages that the kernel has already, without us. */
bool fs_cache_hides_read(struct fs *fs, uint64_t ino, bool reads);

/* Data (and with !@data_only all attributes) of the file are durable. Not said here: that a write
 * failed after logged(): fs_heard_check(). */
int fs_fsync(struct fs *fs, uint64_t ino, bool data_only);

/* fallocate(2): 0, FALLOC_FL_KEEP_SIZE, with PUNCH_HOLE or ZERO_RANGE; else -EOPNOTSUPP. */
int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t len);

/* SEEK_DATA and SEEK_HOLE: the offset, or -ENXIO. */
int64_t fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence);

#define FS_ATOMIC_MIN 512u
#define FS_ATOMIC_MAX 65536u

/* One read or write of a file. The caller owns it until done(). */
struct fs_io {
	enum stripe_kind kind;
	uint64_t ino;
	uint64_t offset_bytes;
	uint32_t len_bytes;    /* at most 1 MiB */
	struct source *source; /* write; borrowed until done() */
	uint8_t *data;         /* read; page-aligned for speed */
	struct sink *sink;     /* read; NULL: data alone. Borrowed until done(); see stripe.h */
	uint64_t hold_ns;
	/* Write: all or nothing across a power cut, the size of the file included; and alone in its
	 * blocks, so that a read beside it gives old bytes or new. Durable only after fs_fsync().
	 * -EINVAL, without any effect, unless it is a power of two from FS_ATOMIC_MIN to
	 * FS_ATOMIC_MAX bytes at a multiple of its length. The source must be stable. Needs as much
	 * free space as it writes: what it replaces is free after the next commit. */
	bool atomic;
	bool mend;       /* write: see STRIPE_MEND */
	bool keep_times; /* write from the page cache: the kernel sends times itself; read: the
			  * atime stays */
	/* Write; NULL: done() is enough. On the engine thread, at most once, before done(): the
	 * array has all of it durably in its log, and it counts as written for everybody who asks
	 * the file system, so the writer may be answered. @io stays borrowed until done(). Of
	 * overwrites of allocated blocks inside the file, where stripe_req.logged() says so. Where
	 * done() has an error all the same, fs_heard_check() tells it. */
	void (*logged)(struct fs_io *io);
	/* Write, page-cache kind (keep_times); NULL: done() is enough. At most once, before done(),
	 * also from within fs_submit(): the bytes are taken, and whoever wrote them may be
	 * answered, for all of them go to blocks that no row points to: a crash before the next
	 * commit takes them in any case, and that commit, as any fs_fsync(), waits for them. They
	 * count as written for everybody who asks the file system. @io, its source with it, stays
	 * borrowed until done(). Where done() has an error all the same, the range is a hole, and
	 * fs_heard_check() tells it. */
	void (*taken)(struct fs_io *io);
	/* On the engine thread, or from within fs_submit() where nothing had to be read or written.
	 * @err: 0 or -errno; io->done_bytes says how much was read (short at the end of file). */
	void (*done)(struct fs_io *io, int err);
	uint32_t done_bytes;
	bool allocated; /* a write has taken blocks: st_blocks has grown */
	/* The file system's. */
	struct fs *fs;
	void *map;
};

/* Map, allocate, post. Blocks only for the database, and (writes into space to be allocated) for
 * space that a commit frees. Any thread but the engine's. A write extends the file when its data is
 * written. -ENOSPC, -EFBIG. */
void fs_submit(struct fs *fs, struct fs_io *io);

/* The same without waiting: any thread, the engine's too. False: that would have to wait, for the
 * database (the inode or its map is not in memory), for a commit (changes have piled up, no space),
 * or for the rest of a block to be zeroed; or it is an atomic write, or one that fails. It has no
 * effect then, nobody waits for it, and fs_submit_rest() goes on, on a thread that may wait. */
bool fs_submit_now(struct fs *fs, struct fs_io *io);
void fs_submit_rest(struct fs *fs, struct fs_io *io);

/* fs_submit(), waiting for the end: for tests and tools. Bytes, or -errno. */
ssize_t fs_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, uint32_t len);
ssize_t fs_write(struct fs *fs, uint64_t ino, uint64_t offset, const void *buf, uint32_t len);

/* ---- who owns what: for scrub, events, inspect ---- */

struct fs_extent {
	uint64_t ino;
	uint64_t file_block, volume_block, blocks;
};

/* Extents of one file in file order, those still in memory included. */
int fs_file_extents(struct fs *fs, uint64_t ino,
	bool (*each)(void *ctx, const struct fs_extent *extent), void *ctx);

/* The parts of extents that lie in [volume_block, volume_block + blocks), in volume order. */
int fs_owners(struct fs *fs, uint64_t volume_block, uint64_t blocks,
	bool (*each)(void *ctx, const struct fs_extent *part), void *ctx);

/* A path of @ino from the root ("/a/b"; one of several links), or "(unlinked inode N)". */
int fs_path(struct fs *fs, uint64_t ino, char *path, size_t size);

/* The inode at an absolute path inside the file system. */
int fs_resolve(struct fs *fs, const char *path, uint64_t *ino);

struct fs_stats {
	uint64_t commits, database_pages, free_blocks, inodes;
	uint64_t inodes_in_memory;
};
struct fs_stats fs_stats(struct fs *fs);

#endif
