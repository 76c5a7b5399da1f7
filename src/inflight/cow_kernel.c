/* SPDX-License-Identifier: MIT */
/* The system calls of cow.c. Structures that are younger than the oldest kernel headers we build
 * with are spelled out here, from include/uapi/linux/userfaultfd.h and fs.h. */
#include "inflight/cow_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/block.h"
#include "base/cleanup.h"

/* Linux 6.8 */
struct move_request {
	__u64 dst, src, len, mode;
	__s64 moved;
};
#define REQUEST_MOVE _IOWR(UFFDIO, 0x05, struct move_request)

/* Linux 6.11: one mapping of /proc/PID/maps, in binary. */
struct map_query {
	__u64 size, query_flags, query_addr;
	__u64 start, end, flags, page_size, offset, inode;
	__u32 dev_major, dev_minor, name_size, build_id_size;
	__u64 name_addr, build_id_addr;
};
#define REQUEST_MAP_QUERY _IOWR('f', 17, struct map_query)
#define MAP_IS_READABLE   0x01u
#define MAP_IS_WRITABLE   0x02u
#define MAP_IS_SHARED     0x08u

/* Linux 6.1: a descriptor for whoever may open the device. */
#define REQUEST_NEW _IO(0xAA, 0x00)

/* ---- what lies at an address ---- */

struct place {
	uintptr_t start, end;
	bool plain;
};

static bool query_place(const struct cow_kernel *k, uintptr_t addr, struct place *out)
{
	struct map_query q = {.size = sizeof(q), .query_addr = addr};
	if (ioctl(k->maps_fd, REQUEST_MAP_QUERY, &q) < 0)
		return false;
	const unsigned wanted = MAP_IS_READABLE | MAP_IS_WRITABLE;
	*out = (struct place){.start = q.start,
		.end = q.end,
		.plain = (q.flags & wanted) == wanted && !(q.flags & MAP_IS_SHARED) && !q.inode &&
			 q.page_size == BLOCK_BYTES};
	return true;
}

/* Call @each on every line until it returns false. Shared, file and huge mappings have an inode. */
static void maps_each(bool (*each)(void *ctx, const struct place *m, const char *name), void *ctx)
{
	char line[512], perms[8], name[64];
	FILE *f = fopen("/proc/self/maps", "re");
	bool more = f != NULL;
	while (more && fgets(line, sizeof(line), f)) {
		unsigned long start, end, inode;
		name[0] = '\0';
		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu %63s", &start, &end, perms, &inode,
			    name) < 4)
			continue;
		struct place m = {
			start, end, !strncmp(perms, "rw", 2) && perms[3] == 'p' && !inode};
		more = each(ctx, &m, name);
	}
	if (f)
		fclose(f);
}

struct lookup {
	uintptr_t addr;
	struct place *out;
	bool found;
};

static bool look_for_address(void *ctx, const struct place *m, const char *name)
{
	struct lookup *l = ctx;
	l->found = l->addr >= m->start && l->addr < m->end;
	if (l->found)
		*l->out = *m;
	return !l->found && m->start <= l->addr;
}

static bool find_place(const struct cow_kernel *k, uintptr_t addr, struct place *out)
{
	if (query_place(k, addr, out))
		return true;
	struct lookup l = {.addr = addr, .out = out};
	maps_each(look_for_address, &l);
	return l.found;
}

bool cow_kernel_is_plain(const struct cow_kernel *k, uintptr_t addr, size_t len)
{
	for (uintptr_t at = addr, end = addr + len; at < end;) {
		struct place m;
		if (!find_place(k, at, &m) || !m.plain || m.end == k->stack_end)
			return false;
		at = m.end;
	}
	return true;
}

size_t cow_kernel_run(const struct cow_kernel *k, uintptr_t addr, size_t len)
{
	struct place m;
	return find_place(k, addr, &m) ? min_u64(m.end - addr, len) : 0;
}

static bool look_for_stack(void *ctx, const struct place *m, const char *name)
{
	struct cow_kernel *k = ctx;
	if (strcmp(name, "[stack]") != 0)
		return true;
	k->stack_end = m->end;
	return false;
}

/* ---- userfaultfd ---- */

static int open_device(void)
{
	cleanup(cleanup_closep) int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	return ioctl(fd, REQUEST_NEW, O_CLOEXEC | O_NONBLOCK);
}

/* UFFD_USER_MODE_ONLY would do without privilege, but then a system call that stores into the
 * buffer fails with EFAULT: a program must not notice that much. */
static int open_uffd(struct errmsg *why)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOSYS)
		return errmsg_set(why, -EOPNOTSUPP, "this kernel has no userfaultfd");
	if (fd < 0)
		fd = open_device();
	if (fd < 0)
		return errmsg_set(why, -EPERM,
			"userfaultfd for faults of system calls is not permitted (it needs "
			"CAP_SYS_PTRACE, vm.unprivileged_userfaultfd=1 or access to "
			"/dev/userfaultfd)");
	struct uffdio_api api = {.api = UFFD_API};
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		int err = -errno;
		close(fd);
		return errmsg_set(why, err, "userfaultfd: %s", strerror(-err));
	}
	return fd;
}

int cow_kernel_open(struct cow_kernel *k, struct errmsg *why)
{
	*k = (struct cow_kernel){.uffd = -1, .maps_fd = -1};
	void *nowhere = mmap(NULL, BLOCK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (nowhere == MAP_FAILED)
		return errmsg_set(why, -ENOMEM, "out of memory");
	k->nowhere = nowhere;
	k->uffd = open_uffd(why);
	if (k->uffd < 0) {
		int err = k->uffd;
		cow_kernel_close(k);
		return err;
	}
	k->maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	maps_each(look_for_stack, k);
	return 0;
}

void cow_kernel_close(struct cow_kernel *k)
{
	cleanup_closep(&k->uffd);
	cleanup_closep(&k->maps_fd);
	if (k->nowhere)
		munmap(k->nowhere, BLOCK_BYTES);
	*k = (struct cow_kernel){.uffd = -1, .maps_fd = -1};
}

int cow_kernel_watch(const struct cow_kernel *k, uintptr_t addr, size_t len)
{
	struct uffdio_register r = {.range = {addr, len}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	return ioctl(k->uffd, UFFDIO_REGISTER, &r) < 0 ? -errno : 0;
}

int cow_kernel_unwatch(const struct cow_kernel *k, uintptr_t addr, size_t len)
{
	struct uffdio_range r = {addr, len};
	return ioctl(k->uffd, UFFDIO_UNREGISTER, &r) < 0 ? -errno : 0;
}

/* The kernel looks for the range before it looks at the bytes. */
bool cow_kernel_is_watched(const struct cow_kernel *k, uintptr_t addr)
{
	struct uffdio_copy c = {.dst = addr, .src = (uintptr_t)k->nowhere, .len = BLOCK_BYTES};
	return ioctl(k->uffd, UFFDIO_COPY, &c) < 0 && errno == EFAULT;
}

int cow_kernel_move(uintptr_t from, uintptr_t to, size_t len)
{
	void *at = mremap((void *)from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		(void *)to);
	return at == MAP_FAILED ? -errno : 0;
}

int cow_kernel_put_copy(const struct cow_kernel *k, uintptr_t to, uintptr_t from, size_t len)
{
	while (len) {
		struct uffdio_copy c = {.dst = to, .src = from, .len = len};
		if (ioctl(k->uffd, UFFDIO_COPY, &c) < 0 && errno != EAGAIN)
			return -errno;
		size_t done = c.copy > 0 ? (size_t)c.copy : 0;
		to += done;
		from += done;
		len -= done;
	}
	return 0;
}

int cow_kernel_put(const struct cow_kernel *k, uintptr_t to, uintptr_t from, size_t len)
{
	struct move_request m = {.dst = to, .src = from, .len = len};
	if (ioctl(k->uffd, REQUEST_MOVE, &m) == 0)
		return 0;
	size_t done = m.moved > 0 ? (size_t)m.moved : 0;
	return cow_kernel_put_copy(k, to + done, from + done, len - done);
}

int cow_kernel_put_zeros(const struct cow_kernel *k, uintptr_t to, size_t len)
{
	struct uffdio_zeropage z = {.range = {to, len}};
	return ioctl(k->uffd, UFFDIO_ZEROPAGE, &z) < 0 ? -errno : 0;
}

void cow_kernel_wake(const struct cow_kernel *k, uintptr_t addr, size_t len)
{
	struct uffdio_range r = {addr, len};
	(void)ioctl(k->uffd, UFFDIO_WAKE, &r);
}

size_t cow_kernel_read_faults(const struct cow_kernel *k, uintptr_t *addrs, size_t max)
{
	struct uffd_msg msgs[16];
	size_t n = 0;
	max = max < 16 ? max : 16;
	ssize_t got = read(k->uffd, msgs, max * sizeof(msgs[0]));
	for (ssize_t i = 0; i * (ssize_t)sizeof(msgs[0]) < got; i++)
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			addrs[n++] = round_down_u64(msgs[i].arg.pagefault.address, BLOCK_BYTES);
	return n;
}
