/* SPDX-License-Identifier: MIT */
/* The empty server of nullfuse.c over io_uring, the transport that FUSE has since Linux 6.14, and
 * libfuse since 3.18: what it would bring. Without libfuse, since the one at hand may be older.
 *
 *	INIT by read(2) and write(2), which switches the connection over; then
 *	REGISTER of each entry --> the kernel fills one with a request and completes it
 *	  --> served --> COMMIT_AND_FETCH answers and waits for the next, one system call for all
 *
 * The kernel has a queue for each processor, and hands a request to that of the one that it came
 * from. With -s one thread serves all of them from one ring; without it each queue has a thread on
 * its processor. Forgets and interrupts still come by read(2). The kernel has to be told to offer
 * it: /sys/module/fuse/parameters/enable_uring. Runs as root, in the foreground. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <linux/fuse.h>

#define FILE_INO      2
#define FILE_NAME     "file"
#define FILE_BYTES    (UINT64_C(1) << 40)
#define TIMEOUT_S     3600
#define PAYLOAD_BYTES (1u << 20)
#define DEPTH         32u /* entries of a queue */
#define QUEUES_MAX    64u

/* Of protocol 7.42, newer than the headers of many systems: <linux/fuse.h> of Linux 6.14. */
#define INIT_OVER_IO_URING (UINT64_C(1) << 41)
enum { RING_REGISTER = 1, RING_COMMIT_AND_FETCH = 2 };

struct ring_header {
	union {
		struct fuse_in_header in;
		struct fuse_out_header out;
		uint8_t in_out[128];
	};
	uint8_t op_in[128]; /* a request's own structure; what is behind it is in the payload */
	uint64_t flags, commit_id;
	uint32_t payload_bytes, padding;
	uint64_t reserved;
};
_Static_assert(sizeof(struct ring_header) == 288, "as the kernel has it");

struct ring_command {
	uint64_t flags, commit_id;
	uint16_t queue;
	uint8_t padding[6];
};

struct entry {
	struct ring_header *header;
	uint8_t *payload;
	struct iovec iov[2]; /* these two */
	uint16_t queue;
};

struct server {
	int fd;
	unsigned first_queue, queues;
	struct io_uring ring;
	struct entry *entries;
	pthread_t thread;
};

/* ---- what is answered: the length of the payload, or -errno ---- */

static struct fuse_attr attr_of(uint64_t ino)
{
	bool root = ino == FUSE_ROOT_ID;
	return (struct fuse_attr){.ino = ino,
		.nlink = root ? 2 : 1,
		.mode = root ? S_IFDIR | 0755 : S_IFREG | 0644,
		.size = root ? 0 : FILE_BYTES};
}

static int answer_lookup(const struct fuse_in_header *in, uint8_t *payload)
{
	struct fuse_entry_out out = {.nodeid = FILE_INO,
		.entry_valid = TIMEOUT_S,
		.attr_valid = TIMEOUT_S,
		.attr = attr_of(FILE_INO)};
	if (in->nodeid != FUSE_ROOT_ID || strcmp((const char *)payload, FILE_NAME) != 0)
		return -ENOENT;
	memcpy(payload, &out, sizeof(out));
	return sizeof(out);
}

static int answer_attr(const struct fuse_in_header *in, uint8_t *payload)
{
	struct fuse_attr_out out = {.attr_valid = TIMEOUT_S, .attr = attr_of(in->nodeid)};
	memcpy(payload, &out, sizeof(out));
	return sizeof(out);
}

static int answer_open(const struct fuse_in_header *in, uint8_t *payload)
{
	struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
	if (in->nodeid != FILE_INO)
		return -EISDIR;
	memcpy(payload, &out, sizeof(out));
	return sizeof(out);
}

static int answer_write(const void *op_in, uint8_t *payload)
{
	struct fuse_write_out out = {.size = ((const struct fuse_write_in *)op_in)->size};
	memcpy(payload, &out, sizeof(out));
	return sizeof(out);
}

/* Whatever is in the buffer: it is handed out as it is. */
static int answer_read(const void *op_in)
{
	uint32_t size = ((const struct fuse_read_in *)op_in)->size;
	return (int)(size < PAYLOAD_BYTES ? size : PAYLOAD_BYTES);
}

static int answer(const struct fuse_in_header *in, const void *op_in, uint8_t *payload)
{
	switch (in->opcode) {
	case FUSE_LOOKUP:
		return answer_lookup(in, payload);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return answer_attr(in, payload);
	case FUSE_OPEN:
		return answer_open(in, payload);
	case FUSE_WRITE:
		return answer_write(op_in, payload);
	case FUSE_READ:
		return answer_read(op_in);
	case FUSE_FSYNC:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_DESTROY:
		return 0;
	default:
		return -ENOSYS;
	}
}

/* ---- the ring ---- */

static void prepare(struct server *s, struct entry *e, unsigned command, uint64_t commit_id)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
	struct ring_command c = {.commit_id = commit_id, .queue = e->queue};
	if (!sqe)
		errx(1, "no room in the ring");
	memset(sqe, 0, 2 * sizeof(*sqe)); /* IORING_SETUP_SQE128 */
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = s->fd;
	sqe->cmd_op = command;
	sqe->user_data = (uintptr_t)e;
	if (command == RING_REGISTER) {
		sqe->addr = (uintptr_t)e->iov;
		sqe->len = 2;
	}
	memcpy(sqe->cmd, &c, sizeof(c));
}

static void serve(struct server *s, struct entry *e)
{
	struct ring_header *h = e->header;
	int len = answer(&h->in, h->op_in, e->payload);
	uint64_t unique = h->in.unique;
	h->out = (struct fuse_out_header){.unique = unique,
		.error = len < 0 ? len : 0,
		.len = (uint32_t)(sizeof(h->out) + (len > 0 ? (size_t)len : 0))};
	h->payload_bytes = len > 0 ? (uint32_t)len : 0;
	prepare(s, e, RING_COMMIT_AND_FETCH, h->commit_id);
}

static void *aligned(size_t len)
{
	void *p = NULL;
	if (posix_memalign(&p, 4096, len))
		err(1, "memory");
	memset(p, 0, len);
	return p;
}

static void register_entries(struct server *s)
{
	unsigned count = s->queues * DEPTH;
	s->entries = calloc(count, sizeof(*s->entries));
	if (!s->entries)
		err(1, "memory");
	for (unsigned i = 0; i < count; i++) {
		struct entry *e = &s->entries[i];
		e->queue = (uint16_t)(s->first_queue + i / DEPTH);
		e->header = aligned(4096);
		e->payload = aligned(PAYLOAD_BYTES);
		e->iov[0] = (struct iovec){e->header, sizeof(*e->header)};
		e->iov[1] = (struct iovec){e->payload, PAYLOAD_BYTES};
		prepare(s, e, RING_REGISTER, 0);
	}
}

static void ring_make(struct server *s)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL |
						  IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN};
	unsigned size = 1;
	while (size < s->queues * DEPTH)
		size *= 2;
	int ret = io_uring_queue_init_params(size, &s->ring, &params);
	if (ret < 0)
		errx(1, "io_uring: %s", strerror(-ret));
}

static void bind_to(unsigned cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* Until the connection ends, which ends every entry. */
static void *server_run(void *arg)
{
	struct server *s = arg;
	if (s->queues == 1)
		bind_to(s->first_queue);
	ring_make(s);
	register_entries(s);
	for (;;) {
		struct io_uring_cqe *cqe;
		int ret = io_uring_submit_and_wait(&s->ring, 1);
		if (ret < 0 && ret != -EINTR)
			errx(1, "io_uring: %s", strerror(-ret));
		while (io_uring_peek_cqe(&s->ring, &cqe) == 0) {
			struct entry *e = (struct entry *)(uintptr_t)cqe->user_data;
			ret = cqe->res;
			io_uring_cqe_seen(&s->ring, cqe);
			if (ret < 0)
				return NULL;
			serve(s, e);
		}
	}
}

/* ---- the connection ---- */

static int mount_at(const char *where)
{
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		fd);
	if (mount("nullring", where, "fuse.nullring", MS_NOSUID | MS_NODEV, options) < 0)
		err(1, "%s", where);
	return fd;
}

static void send_reply(int fd, uint64_t unique, int error, const void *body, size_t len)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + len), .error = error, .unique = unique};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, len}};
	if (writev(fd, iov, 2) < 0 && errno != ENOENT && errno != ENODEV)
		err(1, "a reply");
}

static void handshake(int fd, const char *where)
{
	_Alignas(8) uint8_t buf[64 << 10];
	struct fuse_in_header *in = (void *)buf;
	const struct fuse_init_in *init = (void *)(in + 1);
	if (read(fd, buf, sizeof(buf)) < (ssize_t)(sizeof(*in) + sizeof(*init)))
		err(1, "INIT");
	bool offered = (uint64_t)init->flags2 << 32 & INIT_OVER_IO_URING;
	struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = init->max_readahead,
		.flags = FUSE_INIT_EXT | FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO |
			 FUSE_MAX_PAGES,
		.flags2 = INIT_OVER_IO_URING >> 32,
		.max_background = 256,
		.congestion_threshold = 192,
		.max_write = PAYLOAD_BYTES,
		.max_pages = PAYLOAD_BYTES / 4096,
		.time_gran = 1};
	if (!offered) {
		umount2(where, MNT_DETACH);
		errx(1, "the kernel does not offer it (fuse's parameter enable_uring)");
	}
	send_reply(fd, in->unique, 0, &out, sizeof(out));
}

/* Forgets and interrupts want no answer. */
static void serve_the_rest(int fd)
{
	_Alignas(8) static uint8_t buf[PAYLOAD_BYTES + 4096];
	const struct fuse_in_header *in = (void *)buf;
	for (;;) {
		ssize_t len = read(fd, buf, sizeof(buf));
		if (len < 0 && errno == ENODEV)
			return;
		if (len < (ssize_t)sizeof(*in) || in->opcode == FUSE_FORGET ||
			in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
			continue;
		send_reply(fd, in->unique, in->opcode == FUSE_DESTROY ? 0 : -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static struct server servers[QUEUES_MAX];
	bool one_thread = false;
	for (int opt; (opt = getopt(argc, argv, "fs")) != -1;) {
		one_thread |= opt == 's';
		if (opt == '?')
			return 2;
	}
	unsigned queues = (unsigned)get_nprocs_conf();
	if (optind != argc - 1 || queues > QUEUES_MAX) {
		fprintf(stderr, "usage: nullring -f [-s] MOUNTPOINT\n");
		return 2;
	}
	int fd = mount_at(argv[optind]);
	handshake(fd, argv[optind]);
	unsigned threads = one_thread ? 1 : queues;
	for (unsigned i = 0; i < threads; i++) {
		servers[i] = (struct server){
			.fd = fd, .first_queue = i, .queues = one_thread ? queues : 1};
		if (pthread_create(&servers[i].thread, NULL, server_run, &servers[i]))
			errx(1, "no thread");
	}
	serve_the_rest(fd);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(servers[i].thread, NULL);
	return 0;
}
