/* SPDX-License-Identifier: MIT */
/* A FUSE server that passes everything on to a directory of another file system, in one thread:
 * what a user-space file system costs that has nothing of its own to do. It is what stablefs's
 * namespace is measured against (bench/files.py).
 *
 * As cheap as it can be made: the low-level API (no paths are built), one system call on the
 * backing directory for most requests, relative to a descriptor of the parent. Only directories
 * keep one open (O_PATH): one for each file, as libfuse's example has it, is more than many
 * machines allow at a million files. The kernel caches what it may, as long as it likes, as a user
 * who owns the directory alone would set it. No links of any kind: nothing here needs them. */
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define TIMEOUT_S 86400.0
#define BUCKETS   (UINT64_C(1) << 20)

/* A file that the kernel knows: its number below, and where its name stands. */
struct node {
	struct node *hash_next;
	struct node *parent; /* counted as a child */
	char *name;          /* owned */
	uint64_t ino, lookups, children;
	int fd; /* owned, directories only: O_PATH; else -1 */
};

static struct node root;
static struct node *buckets[BUCKETS];

/* ---- nodes ---- */

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static struct node **bucket_of(uint64_t ino)
{
	return &buckets[(ino * UINT64_C(0x9E3779B97F4A7C15) >> 40) & (BUCKETS - 1)];
}

static void node_place(struct node *n, struct node *parent, const char *name)
{
	char *copy = strdup(name);
	if (!copy)
		return;
	free(n->name);
	n->name = copy;
	if (n->parent)
		n->parent->children--;
	n->parent = parent;
	parent->children++;
}

/* One lookup more of the file that was found as @name. */
static struct node *node_take(struct node *parent, const char *name, const struct stat *st)
{
	struct node **bucket = bucket_of(st->st_ino), *n = *bucket;
	while (n && n->ino != st->st_ino)
		n = n->hash_next;
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return NULL;
		n->ino = st->st_ino;
		n->fd = -1;
		if (S_ISDIR(st->st_mode))
			n->fd = openat(parent->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
		n->hash_next = *bucket;
		*bucket = n;
	}
	if (n->parent != parent || strcmp(n->name, name) != 0)
		node_place(n, parent, name);
	n->lookups++;
	return n;
}

static void node_drop_unused(struct node *n)
{
	while (n && n != &root && n->lookups == 0 && n->children == 0) {
		struct node *parent = n->parent, **at = bucket_of(n->ino);
		while (*at != n)
			at = &(*at)->hash_next;
		*at = n->hash_next;
		if (n->fd >= 0)
			close(n->fd);
		free(n->name);
		free(n);
		if (parent)
			parent->children--;
		n = parent;
	}
}

static void node_forget(fuse_ino_t ino, uint64_t count)
{
	struct node *n = node_of(ino);
	if (n == &root)
		return;
	n->lookups -= count < n->lookups ? count : n->lookups;
	node_drop_unused(n);
}

static int node_stat(struct node *n, struct stat *st)
{
	int ret = n->fd >= 0 ? fstatat(n->fd, "", st, AT_EMPTY_PATH)
			     : fstatat(n->parent->fd, n->name, st, AT_SYMLINK_NOFOLLOW);
	return ret < 0 ? errno : 0;
}

/* 0 or an errno. */
static int entry_make(struct node *parent, const char *name, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S};
	if (fstatat(parent->fd, name, &e->attr, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	struct node *n = node_take(parent, name, &e->attr);
	e->ino = (uintptr_t)n;
	return n ? 0 : ENOMEM;
}

static void reply_entry(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	int err = entry_make(node_of(parent), name, &e);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &e);
}

static void reply_ret(fuse_req_t req, int ret)
{
	fuse_reply_err(req, ret < 0 ? errno : 0);
}

/* ---- names ---- */

static void pass_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_PARALLEL_DIROPS |
					      FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->time_gran = 1;
}

static void pass_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	int err = entry_make(node_of(parent), name, &e);
	if (err && err != ENOENT) {
		fuse_reply_err(req, err);
		return;
	}
	if (err) /* a name that is not there is remembered as well */
		e.ino = 0;
	fuse_reply_entry(req, &e);
}

static void pass_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	node_forget(ino, count);
	fuse_reply_none(req);
}

static void pass_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		node_forget(forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void pass_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (mkdirat(node_of(parent)->fd, name, mode) < 0)
		fuse_reply_err(req, errno);
	else
		reply_entry(req, parent, name);
}

static void pass_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_ret(req, unlinkat(node_of(parent)->fd, name, 0));
}

static void pass_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_ret(req, unlinkat(node_of(parent)->fd, name, AT_REMOVEDIR));
}

/* The kernel has looked the old name up: its node learns the new one. */
static void pass_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct node *from = node_of(parent), *to = node_of(new_parent);
	struct stat st;
	int ret = fstatat(from->fd, name, &st, AT_SYMLINK_NOFOLLOW);
	if (ret == 0)
		ret = renameat2(from->fd, name, to->fd, new_name, flags);
	if (ret == 0) {
		struct node *n = node_take(to, new_name, &st);
		if (n)
			n->lookups--;
		node_drop_unused(n);
	}
	reply_ret(req, ret);
}

/* ---- attributes ---- */

static void reply_attr(fuse_req_t req, struct node *n)
{
	struct stat st;
	int err = node_stat(n, &st);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_attr(req, &st, TIMEOUT_S);
}

static void pass_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	reply_attr(req, node_of(ino));
}

static int set_size(struct node *n, const struct fuse_file_info *fi, off_t size)
{
	if (fi)
		return ftruncate((int)fi->fh, size);
	int fd = openat(n->parent->fd, n->name, O_WRONLY | O_NOFOLLOW);
	int ret = fd < 0 ? -1 : ftruncate(fd, size);
	if (fd >= 0)
		close(fd);
	return ret;
}

static struct timespec time_of(int set, int plain, int now, struct timespec value)
{
	if (set & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return set & plain ? value : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static void pass_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *v, int set, struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	int dir = n->fd >= 0 ? n->fd : n->parent->fd;
	const char *name = n->fd >= 0 ? "." : n->name;
	int ret = 0;
	if (set & FUSE_SET_ATTR_MODE)
		ret = fchmodat(dir, name, v->st_mode, 0);
	if (ret == 0 && (set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		ret = fchownat(dir, name, set & FUSE_SET_ATTR_UID ? v->st_uid : (uid_t)-1,
			set & FUSE_SET_ATTR_GID ? v->st_gid : (gid_t)-1, AT_SYMLINK_NOFOLLOW);
	if (ret == 0 && (set & FUSE_SET_ATTR_SIZE))
		ret = set_size(n, fi, v->st_size);
	if (ret == 0 && (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))) {
		struct timespec times[2] = {
			time_of(set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, v->st_atim),
			time_of(set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, v->st_mtim)};
		ret = utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
	}
	if (ret < 0)
		fuse_reply_err(req, errno);
	else
		reply_attr(req, n);
}

static void pass_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	(void)ino;
	if (fstatvfs(root.fd, &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* ---- files ---- */

/* With the write-back cache the kernel reads what it writes only a part of. */
static int widened(int flags)
{
	if ((flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return (flags & ~O_APPEND) | O_NOFOLLOW;
}

static void pass_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	int fd = openat(n->parent->fd, n->name, widened(fi->flags) & ~O_CREAT);
	if (fd < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	fi->fh = (uint64_t)fd;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void pass_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	int fd = openat(node_of(parent)->fd, name, widened(fi->flags) | O_CREAT, mode);
	int err = fd < 0 ? errno : entry_make(node_of(parent), name, &e);
	if (err) {
		if (fd >= 0)
			close(fd);
		fuse_reply_err(req, err);
		return;
	}
	fi->fh = (uint64_t)fd;
	fi->keep_cache = 1;
	fuse_reply_create(req, &e, fi);
}

static void pass_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	close((int)fi->fh);
	fuse_reply_err(req, 0);
}

static void pass_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
	(void)ino;
	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = (int)fi->fh;
	buf.buf[0].pos = offset;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

static void pass_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)ino;
	ssize_t done = pwrite((int)fi->fh, data, size, offset);
	if (done < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)done);
}

static void pass_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	(void)ino;
	reply_ret(req, data_only ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

/* ---- directories ---- */

struct listing {
	DIR *dir;
	struct dirent *held; /* read, and did not fit */
	off_t at;
};

static void pass_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = calloc(1, sizeof(*l));
	int fd = openat(node_of(ino)->fd, ".", O_RDONLY | O_DIRECTORY);
	if (l && fd >= 0)
		l->dir = fdopendir(fd);
	if (!l || !l->dir) {
		free(l);
		fuse_reply_err(req, errno);
		return;
	}
	fi->fh = (uintptr_t)l;
	fuse_reply_open(req, fi);
}

/* One more entry into the buffer; 0 where it does not fit. */
static size_t entry_add(
	fuse_req_t req, struct node *dir, struct dirent *d, char *buf, size_t room, bool plus)
{
	bool dots = strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0;
	struct stat st = {.st_ino = d->d_ino, .st_mode = (mode_t)d->d_type << 12};
	struct fuse_entry_param e = {.attr = st};
	if (!plus) {
		size_t need = fuse_add_direntry(req, buf, room, d->d_name, &st, d->d_off);
		return need <= room ? need : 0;
	}
	size_t need = fuse_add_direntry_plus(req, NULL, 0, d->d_name, NULL, 0);
	if (need > room || (!dots && entry_make(dir, d->d_name, &e) != 0))
		return 0;
	return fuse_add_direntry_plus(req, buf, room, d->d_name, &e, d->d_off);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	const struct fuse_file_info *fi, bool plus)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;
	char *buf = malloc(size);
	size_t used = 0;
	if (l->at != offset) {
		seekdir(l->dir, offset);
		l->held = NULL;
		l->at = offset;
	}
	while (buf && (l->held || (l->held = readdir(l->dir)))) {
		size_t n = entry_add(req, node_of(ino), l->held, buf + used, size - used, plus);
		if (!n)
			break;
		used += n;
		l->at = l->held->d_off;
		l->held = NULL;
	}
	if (buf)
		fuse_reply_buf(req, buf, used);
	else
		fuse_reply_err(req, ENOMEM);
	free(buf);
}

static void pass_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, false);
}

static void pass_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, true);
}

static void pass_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;
	(void)ino;
	closedir(l->dir);
	free(l);
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {
	.init = pass_init,
	.lookup = pass_lookup,
	.forget = pass_forget,
	.forget_multi = pass_forget_multi,
	.getattr = pass_getattr,
	.setattr = pass_setattr,
	.mkdir = pass_mkdir,
	.unlink = pass_unlink,
	.rmdir = pass_rmdir,
	.rename = pass_rename,
	.open = pass_open,
	.create = pass_create,
	.release = pass_release,
	.read = pass_read,
	.write = pass_write,
	.fsync = pass_fsync,
	.opendir = pass_opendir,
	.readdir = pass_readdir,
	.readdirplus = pass_readdirplus,
	.releasedir = pass_releasedir,
	.statfs = pass_statfs,
};

static int serve(struct fuse_args *args, const char *mountpoint)
{
	struct fuse_session *se = fuse_session_new(args, &ops, sizeof(ops), NULL);
	int ret = 1;
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, mountpoint) == 0) {
		printf("mounted\n");
		fflush(stdout);
		ret = fuse_session_loop(se) != 0;
		fuse_session_unmount(se);
	}
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return ret;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: passthrough DIRECTORY MOUNTPOINT (in the foreground; "
				"prints \"mounted\")\n");
		return 2;
	}
	root.fd = open(argv[1], O_PATH | O_DIRECTORY);
	if (root.fd < 0) {
		perror(argv[1]);
		return 1;
	}
	umask(0);
	char *words[] = {argv[0], (char *)"-odefault_permissions,fsname=passthrough"};
	struct fuse_args args = FUSE_ARGS_INIT(2, words);
	return serve(&args, argv[2]);
}
