/* SPDX-License-Identifier: MIT */
#include "cases.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the process of a case ---- */

void fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

int file_open(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0644);
	must(fd >= 0, "open %s: %s", name, strerror(errno));
	return fd;
}

int64_t file_size(int fd)
{
	struct stat st;
	must(!fstat(fd, &st), "fstat: %s", strerror(errno));
	return st.st_size;
}

uint8_t *memory_new(size_t len_bytes)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

uint64_t draw(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

void fill(uint8_t *to, size_t len_bytes, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len_bytes; i += 8) {
		uint64_t state = seed * UINT64_C(0x100000001b3) + offset + i;
		uint64_t word = draw(&state, UINT64_MAX);
		memcpy(to + i, &word, len_bytes - i < 8 ? len_bytes - i : 8);
	}
}

void put(int fd, const uint8_t *data, size_t len_bytes, off_t offset)
{
	ssize_t n = pwrite(fd, data, len_bytes, offset);
	must(n == (ssize_t)len_bytes, "pwrite %zu at %ld: %zd (%s)", len_bytes, (long)offset, n,
		n < 0 ? strerror(errno) : "short");
}

size_t get(int fd, uint8_t *into, size_t len_bytes, off_t offset)
{
	size_t done = 0;
	while (done < len_bytes) {
		ssize_t n = pread(fd, into + done, len_bytes - done, offset + (off_t)done);
		must(n >= 0, "pread %zu at %ld: %s", len_bytes, (long)offset, strerror(errno));
		if (n == 0)
			break;
		done += (size_t)n;
		if (done % PAGE)
			break;
	}
	return done;
}

void expect_bytes(const uint8_t *got, const uint8_t *want, size_t len_bytes, const char *what)
{
	for (size_t i = 0; i < len_bytes; i++)
		must(got[i] == want[i], "%s: byte %zu is %02x, not %02x", what, i, got[i], want[i]);
}

void expect_file(const char *name, const uint8_t *want, size_t len_bytes)
{
	static const struct {
		const char *how;
		int flags;
	} ways[] = {
		{"cached", O_RDONLY}, {"direct", O_RDONLY | O_DIRECT}, {"cached again", O_RDONLY}};
	size_t room = (len_bytes + 2 * PAGE) & ~(size_t)(PAGE - 1);
	uint8_t *got = memory_new(room);
	for (unsigned i = 0; i < 3; i++) {
		int fd = file_open(name, ways[i].flags);
		size_t n = get(fd, got, room, 0);
		must(n == len_bytes, "%s: %zu bytes, not %zu", ways[i].how, n, len_bytes);
		expect_bytes(got, want, len_bytes, ways[i].how);
		close(fd);
	}
	munmap(got, room);
}

/* ---- the program ---- */

static char top[4096];

static void case_directory(const struct engine *engine, unsigned number, char dir[])
{
	size_t len = strlen(top);
	snprintf(dir, sizeof(top) + 64, "%s/%u-%s", top, number, engine->name);
	for (char *s = dir + len; *s; s++)
		*s = *s == ' ' ? '-' : *s;
}

/* In its process and directory. */
static void case_run(const struct io_case *c, const struct engine *engine, unsigned number)
{
	char dir[sizeof(top) + 64];
	case_directory(engine, number, dir);
	alarm(LIMIT_S);
	must(!mkdir(dir, 0755) && !chdir(dir), "%s: %s", dir, strerror(errno));
	c->run(engine);
	fflush(stdout);
	_exit(0);
}

/* What the process wrote goes to @said. */
static int case_watch(const struct io_case *c, const struct engine *engine, unsigned number,
	char *said, size_t room)
{
	int pipes[2], status;
	size_t len = 0;
	fflush(stdout);
	if (pipe(pipes))
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		case_run(c, engine, number);
	}
	close(pipes[1]);
	for (ssize_t n = 1; n > 0 && len<room - 1; len += n> 0 ? (size_t)n : 0)
		n = read(pipes[0], said + len, room - 1 - len);
	said[len] = '\0';
	close(pipes[0]);
	waitpid(pid, &status, 0);
	return status;
}

static bool report(const struct io_case *c, const struct engine *engine, int status, char *said)
{
	printf("%s %s: %s\n", status ? "not ok" : "ok", engine->name, c->name);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("# not over after %u s\n", LIMIT_S);
	else if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
	fflush(stdout);
	return !status;
}

/* What the case has left in its directory. */
static void case_clean(const struct io_case *c, const struct engine *engine, unsigned number)
{
	char dir[sizeof(top) + 64];
	case_directory(engine, number, dir);
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	if (rmdir(dir))
		printf("# %s stays: %s\n", c->name, strerror(errno));
}

static bool is_wanted(const struct io_case *c, const struct engine *e, char **texts)
{
	char line[512];
	snprintf(line, sizeof(line), "%s: %s", e->name, c->name);
	for (char **text = texts; *text; text++)
		if (strstr(line, *text))
			return true;
	return !*texts;
}

int cases_main(int argc, char **argv, const struct io_case *cases, unsigned count)
{
	bool all = true;
	if (argc < 2 || !realpath(argv[1], top)) {
		fprintf(stderr, "usage: %s DIR [TEXT...]\n", argv[0]);
		return 2;
	}
	for (const struct engine *e = engines; e->name; e++) {
		for (unsigned i = 0; i < count; i++) {
			char said[4096];
			if (!is_wanted(&cases[i], e, argv + 2))
				continue;
			int status = case_watch(&cases[i], e, i, said, sizeof(said));
			all &= report(&cases[i], e, status, said);
			case_clean(&cases[i], e, i);
		}
	}
	return all ? 0 : 1;
}
