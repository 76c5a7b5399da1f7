/* SPDX-License-Identifier: MIT */
/* One kind of operation on many files, timed: what bench/files.py runs on each target.
 *
 *	fileops OPERATION DIRECTORY FILES DIRECTORIES [FIRST]
 *
 * Files are DIRECTORY/dDDDD/fIIIIIII, numbered from FIRST (0) on, spread over the directories in
 * turns of whole directories, and worked on in the order of their making; a walk takes what is
 * there. Prints seconds, and how many files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct job {
	unsigned files, dirs, first;
	int fd;    /* of the directory that is worked in */
	char *buf; /* of a block */
};

static void die(const char *what)
{
	fprintf(stderr, "fileops: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "f%07u", i);
}

/* ---- operations on one file: 0 or -1 with errno ---- */

static int op_create(const struct job *job, const char *name)
{
	int fd = openat(job->fd, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	return fd < 0 ? -1 : close(fd);
}

static int op_write(const struct job *job, const char *name)
{
	int fd = openat(job->fd, name, O_WRONLY);
	if (fd < 0 || write(fd, job->buf, 4096) != 4096)
		return -1;
	return close(fd);
}

static int op_read(const struct job *job, const char *name)
{
	int fd = openat(job->fd, name, O_RDONLY);
	if (fd < 0 || read(fd, job->buf, 4096) != 4096)
		return -1;
	return close(fd);
}

static int op_stat(const struct job *job, const char *name)
{
	struct stat st;
	return fstatat(job->fd, name, &st, AT_SYMLINK_NOFOLLOW);
}

static int op_rename(const struct job *job, const char *name)
{
	char other[40];
	snprintf(other, sizeof(other), "r%s", name);
	return renameat(job->fd, name, job->fd, other);
}

static int op_unlink(const struct job *job, const char *name)
{
	char other[40];
	snprintf(other, sizeof(other), "r%s", name);
	return unlinkat(job->fd, other, 0);
}

typedef int op_fn(const struct job *job, const char *name);

static const struct {
	const char *name;
	op_fn *op; /* NULL: the walk */
} operations[] = {
	{"create", op_create},
	{"write", op_write},
	{"read", op_read},
	{"stat", op_stat},
	{"rename", op_rename},
	{"unlink", op_unlink},
	{"walk", NULL},
};

/* ---- all files ---- */

static void dir_enter(struct job *job, const char *top, unsigned dir, bool make)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/d%04u", top, dir);
	if (make && mkdir(path, 0755) < 0 && errno != EEXIST)
		die(path);
	job->fd = open(path, O_RDONLY | O_DIRECTORY);
	if (job->fd < 0)
		die(path);
}

static unsigned run(struct job *job, const char *top, op_fn *op)
{
	unsigned done = 0, each = (job->files + job->dirs - 1) / job->dirs;
	for (unsigned dir = 0; dir < job->dirs && done < job->files; dir++) {
		dir_enter(job, top, dir, op == op_create);
		for (unsigned i = 0; i < each && done < job->files; i++, done++) {
			char name[32];
			name_of(job->first + done, name);
			if (op(job, name) < 0)
				die(name);
		}
		close(job->fd);
	}
	return done;
}

/* As find(1) does that shows sizes: each entry, and its attributes. */
static unsigned walk(struct job *job, const char *top)
{
	unsigned seen = 0;
	for (unsigned dir = 0; dir < job->dirs; dir++) {
		dir_enter(job, top, dir, false);
		DIR *d = fdopendir(job->fd);
		struct dirent *e;
		while (d && (e = readdir(d))) {
			struct stat st;
			if (e->d_name[0] == '.')
				continue;
			if (fstatat(job->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				die(e->d_name);
			seen++;
		}
		closedir(d);
	}
	return seen;
}

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 5 && argc != 6) {
		fprintf(stderr, "usage: fileops OPERATION DIRECTORY FILES DIRECTORIES [FIRST]\n");
		return 2;
	}
	struct job job = {.files = (unsigned)strtoul(argv[3], NULL, 10),
		.dirs = (unsigned)strtoul(argv[4], NULL, 10),
		.first = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0,
		.buf = calloc(1, 4096)};
	size_t o = 0, count = sizeof(operations) / sizeof(operations[0]);
	while (o < count && strcmp(operations[o].name, argv[1]) != 0)
		o++;
	if (o == count || !job.files || !job.dirs || !job.buf) {
		fprintf(stderr, "fileops: no such operation, or no files\n");
		return 2;
	}
	double start = now_s();
	unsigned done =
		operations[o].op ? run(&job, argv[2], operations[o].op) : walk(&job, argv[2]);
	printf("%.6f %u\n", now_s() - start, done);
	free(job.buf);
	return done == job.files ? 0 : 1;
}
