/* SPDX-License-Identifier: MIT */
/* What the examples share: a small volume in a temporary directory, a thread that stores into a
 * buffer all the time, and a way out. */
#ifndef STABLEFS_EXAMPLES_SCRATCH_H
#define STABLEFS_EXAMPLES_SCRATCH_H

#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "stablefs/stablefs.h"

static char scratch_dir[64];

/* raid5 of four member files, guards kept but not checked by the members, as on most real disks. */
static inline struct stablefs *scratch_open(struct stablefs_file **file)
{
	struct stablefs_create_options create = STABLEFS_CREATE_DEFAULTS;
	struct stablefs_error why = {""};
	struct stablefs *v;
	create.size_bytes = 32 << 20;
	create.pi_unchecked = true;
	strcpy(scratch_dir, "/var/tmp/stablefs-example.XXXXXX");
	if (!mkdtemp(scratch_dir))
		err(1, "mkdtemp");
	const char *paths[] = {scratch_dir};
	if (stablefs_create(paths, 1, &create, &why) < 0 ||
		stablefs_open(paths, 1, NULL, &v, &why) < 0)
		errx(1, "%s", why.text);
	if (stablefs_file_open(v, "/file", STABLEFS_CREATE, file) < 0)
		errx(1, "cannot make a file");
	return v;
}

static inline void scratch_close(struct stablefs *v, struct stablefs_file *file)
{
	if (stablefs_file_close(file) < 0 || stablefs_close(v) < 0)
		errx(1, "cannot close the volume");
	for (int i = 0; i < 4; i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/member-%d", scratch_dir, i);
		unlink(path);
	}
	rmdir(scratch_dir);
}

/* Zero-copy wants a buffer at a multiple of 512, cow one of whole pages. */
static inline unsigned char *scratch_buffer(size_t len)
{
	void *p;
	if (posix_memalign(&p, 4096, len))
		errx(1, "out of memory");
	return memset(p, 'a', len);
}

struct storing {
	pthread_t thread;
	_Atomic unsigned char *buffer;
	size_t len;
	atomic_bool stop;
};

static inline void *storing_run(void *arg)
{
	struct storing *s = arg;
	for (unsigned char n = 0; !s->stop; n++)
		for (size_t i = 0; i < s->len; i += 512)
			s->buffer[i] = n;
	return NULL;
}

static inline void storing_start(struct storing *s, unsigned char *buffer, size_t len)
{
	*s = (struct storing){.buffer = (_Atomic unsigned char *)buffer, .len = len};
	if (pthread_create(&s->thread, NULL, storing_run, s))
		errx(1, "no thread");
}

static inline void storing_stop(struct storing *s)
{
	s->stop = true;
	pthread_join(s->thread, NULL);
}

#endif
