/* SPDX-License-Identifier: MIT */
/* The kernel's side of the protocol, as far as the tests need it. */
#include "kernel_rig.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "fake_fs.h"

#define SOCKET_BYTES (4 << 20)

static void *serve(void *arg)
{
	struct kernel_rig *rig = arg;
	struct errmsg why = {0};
	assert_int_equal(session_serve(&rig->front, &why), 0);
	return NULL;
}

static void session_on(struct kernel_rig *rig, int fd)
{
	static const struct fuse_custom_io io = {.read = wire_read, .writev = wire_writev};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&args, "test");
	fuse_opt_add_arg(&args, "-omax_read=1048576");
	rig->front.session = fuse_session_new(&args, &front_ops, sizeof(front_ops), &rig->front);
	assert_non_null(rig->front.session);
	assert_int_equal(fuse_session_custom_io(rig->front.session, &io, fd), 0);
	fuse_opt_free_args(&args);
}

static void handshake(struct kernel_rig *rig, uint64_t offers, struct kernel_message *init)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 1 << 20,
		.flags = (uint32_t)offers,
		.flags2 = (uint32_t)(offers >> 32)};
	assert_int_equal(rig_call(rig, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, m), 0);
	if (init)
		*init = *m;
	free(m);
}

void rig_start(struct kernel_rig *rig, uint64_t offers, struct kernel_message *init)
{
	int fds[2], room = SOCKET_BYTES;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2; i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	}
	rig->fd = fds[0];
	rig->fs = fake_fs_new();
	rig->options.fs = rig->fs;
	rig->options.workers = 1;
	rig->options.ignore_signals = true;
	rig->options.mountpoint = "/nowhere";
	assert_int_equal(front_init(&rig->front, &rig->options), 0);
	session_on(rig, fds[1]);
	assert_int_equal(pthread_create(&rig->server, NULL, serve, rig), 0);
	handshake(rig, offers, init);
}

void rig_end(struct kernel_rig *rig)
{
	shutdown(rig->fd, SHUT_WR);
	pthread_join(rig->server, NULL);
	front_wait_transfers(&rig->front);
	control_stop(rig->front.control);
	fuse_session_destroy(rig->front.session);
	front_fini(&rig->front);
	assert_int_equal(fake_fs_opens(rig->fs), 0);
	close(rig->fd);
	fake_fs_free(rig->fs);
}

uint64_t rig_send(struct kernel_rig *rig, uint32_t opcode, uint64_t node, const void *body,
	size_t len, const void *extra, size_t extra_len)
{
	struct fuse_in_header head = {.len = (uint32_t)(sizeof(head) + len + extra_len),
		.opcode = opcode,
		.unique = 2 * ++rig->unique,
		.nodeid = node,
		.uid = 1000,
		.gid = 1000,
		.pid = (uint32_t)(rig->tid ? rig->tid : getpid())};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, len},
		{(void *)(uintptr_t)extra, extra_len}};
	assert_int_equal(writev(rig->fd, iov, 3), head.len);
	return head.unique;
}

bool rig_has_reply(struct kernel_rig *rig, int ms)
{
	struct pollfd p = {.fd = rig->fd, .events = POLLIN};
	return poll(&p, 1, ms) == 1;
}

static void receive_any(struct kernel_rig *rig, struct kernel_message *m)
{
	assert_true(rig_has_reply(rig, 10000));
	ssize_t len = read(rig->fd, m, sizeof(*m));
	assert_true(len >= (ssize_t)sizeof(m->head));
	assert_int_equal(m->head.len, len);
}

/* Of attributes alone: it may come at any time. */
static bool is_of_no_pages(const struct kernel_message *m)
{
	struct fuse_notify_inval_inode_out out;
	memcpy(&out, m->body, sizeof(out));
	return !m->head.unique && m->head.error == FUSE_NOTIFY_INVAL_INODE && out.off < 0;
}

void rig_receive(struct kernel_rig *rig, struct kernel_message *m)
{
	do {
		receive_any(rig, m);
	} while (is_of_no_pages(m) && !rig->see_blocks);
}

int rig_call(struct kernel_rig *rig, uint32_t opcode, uint64_t node, const void *body, size_t len,
	const void *extra, size_t extra_len, struct kernel_message *reply)
{
	uint64_t unique = rig_send(rig, opcode, node, body, len, extra, extra_len);
	do {
		rig_receive(rig, reply);
	} while (!reply->head.unique); /* a notification, which may come at any time */
	assert_int_equal(reply->head.unique, unique);
	return reply->head.error;
}

int rig_try_create(struct kernel_rig *rig, const char *name, int flags)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_create_in in = {.flags = (uint32_t)flags | O_CREAT, .mode = S_IFREG | 0644};
	int err = rig_call(
		rig, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), name, strlen(name) + 1, m);
	free(m);
	return err;
}

int rig_try_open(struct kernel_rig *rig, uint64_t node, int flags)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_open_in in = {.flags = (uint32_t)flags};
	int err = rig_call(rig, FUSE_OPEN, node, &in, sizeof(in), NULL, 0, m);
	free(m);
	return err;
}

int rig_set_xattr(struct kernel_rig *rig, uint64_t node, const char *name, const char *value)
{
	struct kernel_message *m = malloc(sizeof(*m));
	char text[128];
	struct fuse_setxattr_in in = {.size = value ? (uint32_t)strlen(value) : 0};
	int len = snprintf(text, sizeof(text), "%s%c%s", name, 0, value ? value : "");
	int err = value ? rig_call(rig, FUSE_SETXATTR, node, &in, FUSE_COMPAT_SETXATTR_IN_SIZE,
				  text, (size_t)len, m)
			: rig_call(rig, FUSE_REMOVEXATTR, node, name, strlen(name) + 1, NULL, 0, m);
	free(m);
	return err;
}

struct rig_file rig_create(struct kernel_rig *rig, const char *name, int flags)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_create_in in = {.flags = (uint32_t)flags | O_CREAT, .mode = S_IFREG | 0644};
	assert_int_equal(rig_call(rig, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), name,
				 strlen(name) + 1, m),
		0);
	struct fuse_entry_out entry;
	struct fuse_open_out out;
	memcpy(&entry, m->body, sizeof(entry));
	memcpy(&out, m->body + sizeof(entry), sizeof(out));
	free(m);
	return (struct rig_file){
		.node = entry.nodeid, .fh = out.fh, .open_flags = out.open_flags, .flags = flags};
}

struct rig_file rig_open(struct kernel_rig *rig, uint64_t node, int flags)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_open_in in = {.flags = (uint32_t)flags};
	assert_int_equal(rig_call(rig, FUSE_OPEN, node, &in, sizeof(in), NULL, 0, m), 0);
	struct fuse_open_out out;
	memcpy(&out, m->body, sizeof(out));
	free(m);
	return (struct rig_file){
		.node = node, .fh = out.fh, .open_flags = out.open_flags, .flags = flags};
}

void rig_release(struct kernel_rig *rig, const struct rig_file *file)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_release_in in = {.fh = file->fh, .flags = (uint32_t)file->flags};
	assert_int_equal(rig_call(rig, FUSE_RELEASE, file->node, &in, sizeof(in), NULL, 0, m), 0);
	free(m);
}

uint64_t rig_lookup(struct kernel_rig *rig, uint64_t parent, const char *name)
{
	struct kernel_message *m = malloc(sizeof(*m));
	struct fuse_entry_out entry = {0};
	if (!rig_call(rig, FUSE_LOOKUP, parent, name, strlen(name) + 1, NULL, 0, m))
		memcpy(&entry, m->body, sizeof(entry));
	free(m);
	return entry.nodeid;
}

uint64_t rig_send_write(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset,
	const void *data, uint32_t len, uint32_t write_flags)
{
	struct fuse_write_in in = {.fh = file->fh,
		.offset = offset,
		.size = len,
		.write_flags = write_flags,
		.flags = (uint32_t)file->flags};
	return rig_send(rig, FUSE_WRITE, file->node, &in, sizeof(in), data, len);
}

uint64_t rig_send_read(
	struct kernel_rig *rig, const struct rig_file *file, uint64_t offset, uint32_t len)
{
	bool direct = file->flags & O_DIRECT;
	struct fuse_read_in in = {.fh = file->fh,
		.offset = offset,
		.size = len,
		.read_flags = direct ? FUSE_READ_LOCKOWNER : 0,
		.lock_owner = direct ? 1 : 0,
		.flags = (uint32_t)file->flags};
	return rig_send(rig, FUSE_READ, file->node, &in, sizeof(in), NULL, 0);
}

int rig_write(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset,
	const void *data, uint32_t len)
{
	struct kernel_message *m = malloc(sizeof(*m));
	uint64_t unique = rig_send_write(rig, file, offset, data, len, 0);
	rig_receive(rig, m);
	assert_int_equal(m->head.unique, unique);
	int err = m->head.error;
	free(m);
	return err;
}

int rig_read(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset, uint32_t len,
	struct kernel_message *reply)
{
	uint64_t unique = rig_send_read(rig, file, offset, len);
	rig_receive(rig, reply);
	assert_int_equal(reply->head.unique, unique);
	return reply->head.error;
}
