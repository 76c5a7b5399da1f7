// SPDX-License-Identifier: MIT
/* /init of the census' guest: one workload on the disk /dev/vda (ext4), then power off.
 *
 *	workload=files	files written by write(2) and fsync: nobody changes what is being written
 *	workload=mmap	a mapping that one thread stores into while another syncs it: legal, and
 *			the guest's page cache goes to the disk while it changes
 *	workload=direct	O_DIRECT from buffers that keep still
 *
 * Built statically by tools/census/guest. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES (4u << 20)

static atomic_bool stop;

static void load(const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static void *store(void *arg)
{
	volatile uint64_t *words = arg;
	for (uint64_t n = 0; !stop; n++)
		words[n * 64 % (FILE_BYTES / 8)] = n;
	return NULL;
}

static void map_and_sync(void)
{
	int fd = open("/mnt/mapped", O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, FILE_BYTES) < 0)
		return;
	void *map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pthread_t thread;
	if (map == MAP_FAILED || pthread_create(&thread, NULL, store, map))
		return;
	for (int i = 0; i < 30; i++)
		msync(map, FILE_BYTES, MS_SYNC);
	stop = true;
	pthread_join(thread, NULL);
}

static void write_files(int flags)
{
	char *buf = NULL;
	if (posix_memalign((void **)&buf, 4096, 65536))
		return;
	memset(buf, 'x', 65536);
	for (int i = 0; i < 40; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/mnt/file-%d", i);
		int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
		for (int n = 0; fd >= 0 && n < 16; n++)
			if (write(fd, buf, 65536) < 0)
				perror(path);
		fsync(fd);
		close(fd);
	}
}

int main(void)
{
	static const char *const modules[] = {"virtio_ring", "virtio", "virtio_pci_modern_dev",
		"virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"};
	char line[512] = "";
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mkdir("/mnt", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	for (unsigned i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		load(modules[i]);
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		perror("/proc/cmdline");
	for (int i = 0; i < 100 && access("/dev/vda", F_OK); i++)
		usleep(100000);
	if (mount("/dev/vda", "/mnt", "ext4", 0, NULL))
		perror("/dev/vda");
	else if (strstr(line, "workload=mmap"))
		map_and_sync();
	else
		write_files(strstr(line, "workload=direct") ? O_DIRECT : 0);
	sync();
	umount("/mnt");
	printf("census guest: done\n");
	reboot(RB_POWER_OFF);
	return 0;
}
