/* SPDX-License-Identifier: MIT */
/* The table of handlers, and what is negotiated with the kernel.
 *
 * Not in the table, on purpose: access (the kernel's permissions), getlk, setlk and flock
 * (local locks), copy_file_range (the kernel copies), bmap, poll. */
#include "fuse/internal.h"

static void want(struct fuse_conn_info *conn, unsigned caps, bool on)
{
	conn->want = on ? conn->want | (caps & conn->capable) : conn->want & ~caps;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *f = userdata;
	/* Whatever changes a file comes through the kernel: it knows what its caches hold. */
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
	/* A link whose text is cached is read without us: its atime would not move again. */
	want(conn, FUSE_CAP_CACHE_SYMLINKS, fs_atime_rule(f->fs) != FS_ATIME_STRICT);
	want(conn, FUSE_CAP_WRITEBACK_CACHE, !f->options->write_through);
	want(conn, FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ, true);
	/* The kernel enforces lists and caches them; what they do to modes, and the umask, which
	 * counts where a directory has none, is the file system's. */
	want(conn, FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK, true);
	/* Whoever lists a directory mostly looks at what is in it: its attributes come along. The
	 * kernel's own guess gives those of the first page, and then asks one by one. */
	want(conn, FUSE_CAP_READDIRPLUS, true);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
	/* Payloads are received where they stay. */
	want(conn, FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE, false);
	/* A handle is looked up as "." of its inode. */
	want(conn, FUSE_CAP_EXPORT_SUPPORT, true);
	/* Truncation comes as a setattr of its own. Privileges: wire_caps.kill_privs. */
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV, false);
	conn->max_write = BUFFER_PAYLOAD_BYTES;
	conn->max_read = BUFFER_PAYLOAD_BYTES;
	conn->max_readahead = BUFFER_PAYLOAD_BYTES;
	/* Asynchronous direct I/O counts as background: deep queues must fit. */
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops front_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.ioctl = op_ioctl,
};
