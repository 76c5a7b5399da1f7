/* SPDX-License-Identifier: MIT */
/* The filter, and the thread that answers it.
 *
 *	io_submit -> filter -> receive() -> read_submission() -> record() -> go_on()
 *
 * The watcher looks whether the supervising thread hangs in one submission, and lets a new one
 * take over then. Each has its own memory, so that one that is left to itself harms nobody; it ends
 * when it comes back. */
#include "cli/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/follow_blocks.h"

/* Newer than some headers (Linux 5.19, 6.6). */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#endif

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE_ARCH AUDIT_ARCH_RISCV64
#endif

#define KNOWN_THREADS  64u
#define KNOWN_MOUNTS   16u
#define MOUNT_KNOWN_NS NS_PER_S
#define KNOWN_FILES    64u
#define FILE_KNOWN_NS  (5 * NS_PER_MS)
#define BATCH_PIECES   (16 * AIO_MAX_PIECES)

/* ---- the filter ---- */

#ifdef NATIVE_ARCH

static int install(const struct sock_fprog *program, unsigned long flags)
{
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
}

int follow_install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_submit, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	/* A signal must not begin a submission anew that was recorded already. */
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW |
			      SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	int fd = install(&program, flags);
	if (fd < 0 && errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		fd = install(&program, flags);
	if (fd < 0 && errno == EINVAL) {
		flags &= ~(unsigned long)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
		fd = install(&program, flags);
	}
	return fd < 0 ? -errno : fd;
}

#else

int follow_install(void)
{
	return -ENOSYS;
}

#endif

/* ---- who, and which file ---- */

struct known_thread {
	pid_t tid, tgid;
};

struct known_mount {
	int id;
	uint64_t dev, asked_ns;
};

struct file_id {
	pid_t tgid;
	unsigned fd;
	unsigned flags; /* of open(2) */
	uint64_t ino, dev;
	uint64_t asked_ns;
};

/* What one supervising thread works with. */
struct worker {
	struct follower *follower;
	_Atomic uint64_t busy_since_ns; /* 0: it waits for submissions */
	atomic_bool relieved;           /* another one supervises */
	struct known_thread threads[KNOWN_THREADS];
	struct known_mount mounts[KNOWN_MOUNTS];
	struct file_id files[KNOWN_FILES];
	struct seccomp_notif *notif;       /* owned; sizes are the kernel's */
	struct seccomp_notif_resp *answer; /* owned */
	size_t notif_bytes, answer_bytes;
	struct iocb blocks[FOLLOW_MAX_BLOCKS];
	/* What was read and is not recorded yet. */
	unsigned entry_count, piece_count;
	struct aio_entry entries[FOLLOW_MAX_BLOCKS];
	struct iovec pieces[BATCH_PIECES]; /* of the entries */
};

struct follower {
	struct aio_table *table; /* owned */
	int memfd;               /* owned */
	int listener;            /* owned; -1: not started */
	int stop_fd;             /* owned: an eventfd */
	bool watched;
	pthread_t watcher;
	/* lock protects puts into the table, and what follows. */
	pthread_mutex_t lock;
	pthread_cond_t none; /* no worker is left but those that hang */
	struct worker *now;  /* the one that supervises; NULL: none */
	unsigned running, stalled;
	atomic_uint holders; /* the maker, and each worker: the last one frees */
	_Atomic uint64_t submissions, recorded, unreadable;
};

static int read_text(char *text, size_t room, const char *path)
{
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, room - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

/* The number behind "@name" in lines of procfs, base as strtoull(3). */
static uint64_t number_of(const char *text, const char *name, int base)
{
	const char *at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, base) : 0;
}

/* The process of a thread; 0: it is gone. What is remembered is asked of the kernel again, which is
 * quick. */
static pid_t tgid_of(struct worker *w, pid_t tid)
{
	struct known_thread *known = &w->threads[(unsigned)tid % KNOWN_THREADS];
	if (known->tid == tid && (syscall(SYS_tgkill, known->tgid, tid, 0) == 0 || errno == EPERM))
		return known->tgid;
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_text(text, sizeof(text), path) < 0)
		return 0;
	*known = (struct known_thread){tid, (pid_t)number_of(text, "\nTgid:", 10)};
	return known->tgid;
}

/* st_dev behind a descriptor, which is asked of no file system: for a file of ours, we might be the
 * ones who have to answer. One for each mount is enough for a while. */
static uint64_t dev_of(struct worker *w, pid_t tid, unsigned fd, int mount_id)
{
	struct known_mount *known = &w->mounts[(unsigned)mount_id % KNOWN_MOUNTS];
	uint64_t now_ns = clock_monotonic_ns();
	if (known->dev && known->id == mount_id && now_ns - known->asked_ns < MOUNT_KNOWN_NS)
		return known->dev;
	char path[64];
	struct statx st;
	snprintf(path, sizeof(path), "/proc/%d/fd/%u", tid, fd);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) < 0)
		return 0;
	*known =
		(struct known_mount){mount_id, makedev(st.stx_dev_major, st.stx_dev_minor), now_ns};
	return known->dev;
}

/* Of a descriptor, as it was within the last FILE_KNOWN_NS: should it have become another file's
 * meanwhile, then the submission will not be found, and no other one instead. NULL: there is no
 * such descriptor. */
static const struct file_id *identify(struct worker *w, pid_t tid, pid_t tgid, unsigned fd)
{
	struct file_id *known = &w->files[((unsigned)tgid * 31 + fd) % KNOWN_FILES];
	uint64_t now_ns = clock_monotonic_ns();
	if (known->tgid == tgid && known->fd == fd && now_ns - known->asked_ns < FILE_KNOWN_NS)
		return known;
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%u", tid, fd);
	if (read_text(text, sizeof(text), path) < 0)
		return NULL;
	*known = (struct file_id){.tgid = tgid,
		.fd = fd,
		.flags = (unsigned)number_of(text, "flags:", 8),
		.ino = number_of(text, "\nino:", 10),
		.asked_ns = now_ns};
	known->dev = dev_of(w, tid, fd, (int)number_of(text, "mnt_id:", 10));
	return known;
}

/* ---- a submission ---- */

/* The entry of one block; out->tgid is set. False: there is nothing to record. With O_APPEND the
 * block's offset is not where it goes. */
static bool describe(struct worker *w, pid_t tid, const struct iocb *block, struct aio_entry *out)
{
	if (!follow_block_range(block, out))
		return false;
	const struct file_id *id = identify(w, tid, out->tgid, block->aio_fildes);
	if (!id)
		return false;
	if (!out->is_read && ((id->flags & O_APPEND) || (block->aio_rw_flags & RWF_APPEND)))
		return false;
	if (follow_block_is_vectored(block) && follow_read_vector(tid, block, out) < 0)
		return false;
	out->ino = id->ino;
	out->dev = id->dev;
	return out->len_bytes > 0;
}

/* I2: what was read is that thread's, and not of a later one with its number. */
static bool is_waiting(struct worker *w)
{
	return ioctl(w->follower->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &w->notif->id) == 0;
}

static void record(struct worker *w)
{
	struct follower *f = w->follower;
	unsigned count = w->entry_count;
	w->entry_count = w->piece_count = 0;
	if (!count || !is_waiting(w))
		return;
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < count; i++)
		aio_table_put(f->table, &w->entries[i]);
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->recorded, count);
}

static void read_block(struct worker *w, pid_t tid, pid_t tgid, const struct iocb *block)
{
	if (w->piece_count > BATCH_PIECES - AIO_MAX_PIECES)
		record(w);
	struct aio_entry *e = &w->entries[w->entry_count];
	*e = (struct aio_entry){.tgid = tgid, .pieces = &w->pieces[w->piece_count]};
	if (!describe(w, tid, block, e))
		return;
	w->entry_count++;
	w->piece_count += e->piece_count;
}

static void read_submission(struct worker *w)
{
	const struct seccomp_data *call = &w->notif->data;
	pid_t tid = (pid_t)w->notif->pid, tgid = tid ? tgid_of(w, tid) : 0;
	int count =
		tgid ? follow_read_blocks(tid, call->args[2], call->args[1], w->blocks) : -ESRCH;
	if (count < 0)
		atomic_fetch_add(&w->follower->unreadable, 1);
	for (int i = 0; i < count; i++)
		read_block(w, tid, tgid, &w->blocks[i]);
}

/* Fails only where the thread is gone. */
static void go_on(struct worker *w)
{
	memset(w->answer, 0, w->answer_bytes);
	w->answer->id = w->notif->id;
	w->answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(w->follower->listener, SECCOMP_IOCTL_NOTIF_SEND, w->answer);
}

static bool receive(struct worker *w)
{
	memset(w->notif, 0, w->notif_bytes);
	return ioctl(w->follower->listener, SECCOMP_IOCTL_NOTIF_RECV, w->notif) == 0;
}

/* False: the end; nobody is left who could submit, or we are to stop. */
static bool wait_for_submission(struct worker *w)
{
	struct pollfd fds[] = {{.fd = w->follower->listener, .events = POLLIN},
		{.fd = w->follower->stop_fd, .events = POLLIN}};
	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return !fds[1].revents && (fds[0].revents & POLLIN);
}

/* ---- the threads ---- */

static void follower_release(struct follower *f)
{
	if (atomic_fetch_sub(&f->holders, 1) != 1)
		return;
	aio_table_free(f->table);
	if (f->listener >= 0)
		close(f->listener);
	close(f->memfd);
	close(f->stop_fd);
	pthread_cond_destroy(&f->none);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void worker_free(struct worker *w)
{
	if (!w)
		return;
	free(w->notif);
	free(w->answer);
	free(w);
}

static struct worker *worker_new(struct follower *f)
{
	struct seccomp_notif_sizes sizes = {0};
	struct worker *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->follower = f;
	syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
	w->notif_bytes =
		sizes.seccomp_notif > sizeof(*w->notif) ? sizes.seccomp_notif : sizeof(*w->notif);
	w->answer_bytes = sizes.seccomp_notif_resp > sizeof(*w->answer) ? sizes.seccomp_notif_resp
									: sizeof(*w->answer);
	w->notif = malloc(w->notif_bytes);
	w->answer = malloc(w->answer_bytes);
	if (w->notif && w->answer)
		return w;
	worker_free(w);
	return NULL;
}

static void worker_end(struct worker *w)
{
	struct follower *f = w->follower;
	pthread_mutex_lock(&f->lock);
	if (atomic_load(&w->relieved))
		f->stalled--;
	else
		f->now = NULL;
	if (!--f->running || f->running == f->stalled)
		pthread_cond_signal(&f->none);
	pthread_mutex_unlock(&f->lock);
	worker_free(w);
	follower_release(f);
}

static void handle(struct worker *w)
{
	atomic_store(&w->busy_since_ns, clock_monotonic_ns());
	atomic_fetch_add(&w->follower->submissions, 1);
	read_submission(w);
	record(w);
	go_on(w);
	atomic_store(&w->busy_since_ns, 0);
}

static void *supervise(void *ctx)
{
	struct worker *w = ctx;
	while (!atomic_load(&w->relieved) && wait_for_submission(w))
		if (receive(w))
			handle(w);
	worker_end(w);
	return NULL;
}

/* With the lock held. */
static int start_worker(struct follower *f)
{
	struct worker *w = worker_new(f);
	if (!w)
		return -ENOMEM;
	pthread_t thread;
	atomic_fetch_add(&f->holders, 1);
	int err = pthread_create(&thread, NULL, supervise, w);
	if (err) {
		atomic_fetch_sub(&f->holders, 1);
		worker_free(w);
		return -err;
	}
	pthread_detach(thread);
	f->now = w;
	f->running++;
	return 0;
}

/* With the lock held: I3. */
static void relieve_stalled(struct follower *f)
{
	struct worker *w = f->now;
	uint64_t since_ns = w ? atomic_load(&w->busy_since_ns) : 0;
	if (!since_ns || clock_monotonic_ns() - since_ns < FOLLOW_STALL_NS ||
		f->stalled >= FOLLOW_MAX_STALLED)
		return;
	if (start_worker(f) < 0)
		return;
	atomic_store(&w->relieved, true);
	f->stalled++;
}

static void *watch(void *ctx)
{
	struct follower *f = ctx;
	struct pollfd stop = {.fd = f->stop_fd, .events = POLLIN};
	while (poll(&stop, 1, FOLLOW_STALL_NS / NS_PER_MS) <= 0) {
		pthread_mutex_lock(&f->lock);
		relieve_stalled(f);
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

/* ---- from outside ---- */

int follower_new(int *memfd, struct follower **out)
{
	struct follower *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->listener = -1;
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	int err = f->stop_fd < 0 ? -errno : aio_table_new(&f->memfd, &f->table);
	if (err < 0) {
		if (f->stop_fd >= 0)
			close(f->stop_fd);
		free(f);
		return err;
	}
	atomic_store(&f->holders, 1);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->none, NULL);
	*memfd = f->memfd;
	*out = f;
	return 0;
}

int follower_start(struct follower *f, int listener)
{
	f->listener = listener;
	/* The waiting thread and its supervisor take turns: quicker on one processor. An older
	 * kernel cannot. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	pthread_mutex_lock(&f->lock);
	int err = start_worker(f);
	pthread_mutex_unlock(&f->lock);
	if (err < 0)
		return err;
	err = -pthread_create(&f->watcher, NULL, watch, f);
	f->watched = !err;
	return err;
}

void follower_free(struct follower *f)
{
	if (!f)
		return;
	eventfd_write(f->stop_fd, 1);
	if (f->watched)
		pthread_join(f->watcher, NULL);
	pthread_mutex_lock(&f->lock);
	while (f->running > f->stalled)
		pthread_cond_wait(&f->none, &f->lock);
	pthread_mutex_unlock(&f->lock);
	follower_release(f);
}

struct follow_stats follower_stats(struct follower *f)
{
	pthread_mutex_lock(&f->lock);
	struct follow_stats stats = {.submissions = atomic_load(&f->submissions),
		.recorded = atomic_load(&f->recorded),
		.unreadable = atomic_load(&f->unreadable),
		.stalled = f->stalled};
	pthread_mutex_unlock(&f->lock);
	return stats;
}
