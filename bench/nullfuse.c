/* SPDX-License-Identifier: MIT */
/* A FUSE server with an empty back end: one file, writes are dropped, reads are zeros. What the
 * same transport costs without an array: the limit of anything that sits behind libfuse.
 *
 * Direct I/O with parallel direct writes, requests of up to 1 MiB, no splice: as stablefs has it.
 * libfuse's own loop; with -s one thread (no hand-over, no wake-up of another), without it several,
 * with -o clone_fd each on a descriptor of its own. Which is fastest depends on depth and size, so
 * the benchmark measures both and takes the better one as the limit.
 *
 * With -o store=FILE it is not empty: bytes go to that file and come from it, in order to tell what
 * storing them at all costs, with one system call a request and nothing else. */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <linux/fuse.h>
#include <unistd.h>

#define FILE_INO   2
#define FILE_NAME  "file"
#define FILE_BYTES (UINT64_C(1) << 40)
#define TIMEOUT_S  3600.0

#define MAX_BACKGROUND 256

static char zeros[1 << 20];
static _Thread_local char stored[1 << 20]; /* what the thread has read */
static int store = -1;                     /* -1: none */

static void fill_stat(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = ino == FUSE_ROOT_ID ? 2 : 1;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_size = ino == FUSE_ROOT_ID ? 0 : (off_t)FILE_BYTES;
}

static void null_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_write = sizeof(zeros);
	conn->want |= conn->capable & FUSE_CAP_ASYNC_DIO;
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_background = MAX_BACKGROUND;
}

static void reply_entry(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {
		.ino = FILE_INO, .attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S};
	if (parent != FUSE_ROOT_ID || strcmp(name, FILE_NAME) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(FILE_INO, &e.attr);
	fuse_reply_entry(req, &e);
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_entry(req, parent, name);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct stat st;
	fill_stat(ino, &st);
	fuse_reply_attr(req, &st, TIMEOUT_S);
}

static void null_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	(void)attr;
	(void)to_set;
	null_getattr(req, ino, fi);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	if (ino != FILE_INO) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	/* By hand: the library before 3.15 knows no parallel direct writes. */
	struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
	fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ssize_t len = store < 0 ? (ssize_t)size : pwrite(store, buf, size, off);
	if (len < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)len);
}

static void null_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	size_t most = size < sizeof(zeros) ? size : sizeof(zeros);
	ssize_t len = store < 0 ? (ssize_t)most : pread(store, stored, most, off);
	if (len < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_buf(req, store < 0 ? zeros : stored, (size_t)len);
}

static void null_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {.init = null_init,
	.lookup = null_lookup,
	.getattr = null_getattr,
	.setattr = null_setattr,
	.open = null_open,
	.write = null_write,
	.read = null_read,
	.fsync = null_fsync};

static int serve(struct fuse_args *args, const struct fuse_cmdline_opts *opts)
{
	struct fuse_session *se = fuse_session_new(args, &ops, sizeof(ops), NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int err = 1;
	fuse_loop_cfg_set_clone_fd(config, opts->clone_fd);
	fuse_loop_cfg_set_max_threads(config, opts->max_threads);
	/* Threads that come and go cost more than threads that wait. */
	fuse_loop_cfg_set_idle_threads(config, opts->max_threads);
	if (se && config && fuse_set_signal_handlers(se) == 0) {
		if (fuse_session_mount(se, opts->mountpoint) == 0) {
			err = opts->singlethread ? fuse_session_loop(se)
						 : fuse_session_loop_mt(se, config);
			fuse_session_unmount(se);
		}
		fuse_remove_signal_handlers(se);
	}
	if (se)
		fuse_session_destroy(se);
	fuse_loop_cfg_destroy(config);
	return err ? 1 : 0;
}

struct null_options {
	char *store;
};

static const struct fuse_opt null_opts[] = {
	{"store=%s", offsetof(struct null_options, store), 0}, FUSE_OPT_END};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct null_options null_options = {0};
	struct fuse_cmdline_opts opts;
	if (fuse_opt_parse(&args, &null_options, null_opts, NULL) != 0 ||
		fuse_parse_cmdline(&args, &opts) != 0 || !opts.mountpoint) {
		fprintf(stderr, "usage: nullfuse -f [-s] [-o clone_fd,max_threads=N,store=FILE] "
				"MOUNTPOINT\n");
		return 2;
	}
	if (null_options.store) {
		store = open(null_options.store, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (store < 0) {
			perror(null_options.store);
			return 1;
		}
	}
	int status = serve(&args, &opts);
	free(null_options.store);
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return status;
}
