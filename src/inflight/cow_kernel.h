/* SPDX-License-Identifier: MIT */
/* What cow.c asks of the kernel: userfaultfd(2), mremap(2), what lies at an address. Any thread; no
 * state but the descriptors. All return 0 or -errno. */
#ifndef STABLEFS_INFLIGHT_COW_KERNEL_H
#define STABLEFS_INFLIGHT_COW_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/errmsg.h"

struct cow_kernel {
	int uffd, maps_fd;   /* owned; -1: none */
	void *nowhere;       /* owned: a page that cannot be read */
	uintptr_t stack_end; /* of the main thread's stack */
};

/* -EOPNOTSUPP, -EPERM and @why. Undoes what it made when it fails. */
int cow_kernel_open(struct cow_kernel *k, struct errmsg *why);
void cow_kernel_close(struct cow_kernel *k);

/* Is [addr, addr + len) private anonymous memory with small pages, readable and writable? */
bool cow_kernel_is_plain(const struct cow_kernel *k, uintptr_t addr, size_t len);

/* How much of [addr, addr + len) lies in the mapping at @addr; 0: nothing is mapped. */
size_t cow_kernel_run(const struct cow_kernel *k, uintptr_t addr, size_t len);

/* Faults on missing pages of the range wait for us from now on; and no longer. */
int cow_kernel_watch(const struct cow_kernel *k, uintptr_t addr, size_t len);
int cow_kernel_unwatch(const struct cow_kernel *k, uintptr_t addr, size_t len);

/* Is the page at @addr, which is missing, still watched? */
bool cow_kernel_is_watched(const struct cow_kernel *k, uintptr_t addr);

/* Move all pages; the old place, which is one mapping, stays mapped, and empty. What was mapped at
 * @to goes. */
int cow_kernel_move(uintptr_t from, uintptr_t to, size_t len);

/* Put pages into missing ones of a watched range: the very pages where the kernel can (Linux 6.8)
 * and nobody else has them, else copies of them. */
int cow_kernel_put(const struct cow_kernel *k, uintptr_t to, uintptr_t from, size_t len);
int cow_kernel_put_copy(const struct cow_kernel *k, uintptr_t to, uintptr_t from, size_t len);
int cow_kernel_put_zeros(const struct cow_kernel *k, uintptr_t to, size_t len);

/* Who waits for a fault in the range tries again. */
void cow_kernel_wake(const struct cow_kernel *k, uintptr_t addr, size_t len);

/* Addresses of faults that wait, up to @max of them; does not block. */
size_t cow_kernel_read_faults(const struct cow_kernel *k, uintptr_t *addrs, size_t max);

#endif
